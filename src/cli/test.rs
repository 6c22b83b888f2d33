//! `interconnect test`: the connectors' and mappings' own tests: samples, examples and laws.

use std::sync::Arc;

use clap::Args;
use connector::Connector;
use diagnostic::{Report, Source, suggestion};
use mapping::{LAW_RECORDS, Mapping};
use model::Kind;
use serde_json::{Value as Json, json};

use super::out::table;
use super::progress::Progress;
use super::{Common, Exit, Out};
use crate::catalogue::Catalogue;
use crate::hub;

/// What to test.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  interconnect test                  every connector and mapping at hand\n  \
    interconnect test hubspot --json\n\n\
    Exits 1 when a test fails, 2 when the configuration cannot be read or a system is unknown."
)]
pub(crate) struct TestArgs {
    /// Only of these systems.
    systems: Vec<String>,
}

/// What the tests of one file came to.
struct Tested {
    file: Arc<str>,
    /// What was run, and how many of it.
    ran: Vec<(&'static str, u64)>,
    report: Report,
}

pub(crate) fn run(args: &TestArgs, common: &Common, out: &Out) -> Exit {
    let mut findings = Report::new();
    let catalogue = match hub::read(&common.config, &mut findings, out) {
        Ok(Some((_, catalogue))) => catalogue,
        Ok(None) => {
            out.findings(&findings);
            return Exit::Usage;
        }
        Err(exit) => return exit,
    };
    let systems = match chosen(&catalogue, &args.systems) {
        Ok(systems) => systems,
        Err(error) => {
            out.fails(&error);
            return Exit::Usage;
        }
    };
    let tested = tests(&catalogue, &systems);
    show(&tested, out);
    if tested.iter().any(|tested| tested.report.has_errors()) {
        Exit::Failed
    } else {
        Exit::Ok
    }
}

/// The systems of these names; all when none is named.
fn chosen<'c>(catalogue: &'c Catalogue, names: &'c [String]) -> Result<Vec<&'c str>, String> {
    let known = catalogue.systems();
    let unknown = names.iter().find(|name| !known.contains(&name.as_str()));
    match unknown {
        Some(name) => {
            let hint = suggestion(name, known.into_iter());
            Err(format!("there is no connector `{name}`; {hint}"))
        }
        None if names.is_empty() => Ok(known),
        None => Ok(names.iter().map(String::as_str).collect()),
    }
}

fn tests(catalogue: &Catalogue, systems: &[&str]) -> Vec<Tested> {
    let mut files = Vec::new();
    for system in systems {
        files.extend(catalogue.manifest(system).map(|source| (*system, source, true)));
        let mappings = Kind::ALL
            .into_iter()
            .filter_map(|kind| catalogue.mapping_file(system, kind));
        files.extend(mappings.map(|source| (*system, source, false)));
    }
    let mut progress = Progress::begin();
    progress.step("running samples, examples and laws", Some(files.len() as u64));
    let mut tested = Vec::new();
    for (system, source, is_manifest) in files {
        tested.push(if is_manifest {
            connector(catalogue, system, source)
        } else {
            mapping(catalogue, source)
        });
        progress.at(tested.len() as u64);
    }
    progress.end();
    tested
}

fn connector(catalogue: &Catalogue, system: &str, manifest: &Source) -> Tested {
    let mut report = Report::new();
    let samples = catalogue.samples(system);
    let ran = samples.len() as u64;
    if let Some(connector) = Connector::compile(manifest, &mut report) {
        report.merge(Arc::new(connector).lint(manifest, &samples));
    }
    Tested {
        file: manifest.file.clone(),
        ran: vec![("samples", ran)],
        report,
    }
}

fn mapping(catalogue: &Catalogue, source: &Source) -> Tested {
    let mut report = Report::new();
    let mut ran = Vec::new();
    if let Some(mapping) = Mapping::compile(source, &mut report) {
        ran = vec![
            ("examples", mapping.examples().count() as u64),
            ("generated records", LAW_RECORDS),
        ];
        report.merge(mapping.lint(&catalogue.sampled(&mapping)));
    }
    Tested {
        file: source.file.clone(),
        ran,
        report,
    }
}

fn show(tested: &[Tested], out: &Out) {
    let counts = |tested: &Tested| {
        let errors = tested.report.errors();
        (errors, tested.report.findings().len() - errors)
    };
    let json = |one: &Tested| {
        let (errors, warnings) = counts(one);
        let ran = one
            .ran
            .iter()
            .map(|(what, count)| ((*what).replace(' ', "_"), Json::from(*count)));
        json!({
            "file": one.file, "ran": ran.collect::<serde_json::Map<_, _>>(), "errors": errors, "warnings": warnings,
            "findings": one.report.findings(),
        })
    };
    let data: Vec<Json> = tested.iter().map(json).collect();
    let errors: usize = tested.iter().map(|one| one.report.errors()).sum();
    out.data(json!({"data": data, "errors": errors}), || {
        let row = |one: &Tested| {
            let ran = one.ran.iter().map(|(what, count)| format!("{count} {what}"));
            let outcome = match counts(one) {
                (0, 0) => "ok".to_owned(),
                (0, warnings) => format!("ok, {warnings} warnings"),
                (errors, _) => format!("{errors} errors"),
            };
            vec![one.file.to_string(), ran.collect::<Vec<_>>().join(", "), outcome]
        };
        let rows: Vec<Vec<String>> = tested.iter().map(row).collect();
        table(&["file", "ran", "outcome"], &rows)
    });
    for one in tested.iter().filter(|one| !one.report.is_empty() && !out.json) {
        out.note(&format!("\n{}", one.report.render(Out::colours())));
    }
}
