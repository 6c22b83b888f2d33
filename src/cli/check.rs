//! `interconnect check`: every finding of configuration, connectors and mappings at once, without any network unless it is
//! asked for with `--live`.

use clap::{Args, ValueEnum};
use connector::FieldInfo;
use diagnostic::Report;
use mapping::LiveField;
use serde_json::json;

use super::progress::Progress;
use super::{Common, Exit, Out};
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::hub;

/// What to check.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  interconnect check\n  interconnect check --all --strict --format github   \
    for CI: warnings count, findings stand beside their lines\n  \
    interconnect check --format sarif > interconnect.sarif      for code scanning\n  \
    interconnect check --live         do the systems have the fields and options that are mapped?\n\n\
    Exits 2 when there are errors, and with --strict when there are warnings."
)]
pub(crate) struct CheckArgs {
    /// Warnings count as errors.
    #[arg(long)]
    strict: bool,
    /// Every connector and mapping at hand, not only those that the configuration uses.
    #[arg(long)]
    all: bool,
    /// Also hold the mappings of every sync against the fields and options that its system has now.
    #[arg(long)]
    live: bool,
    /// How findings are shown; text when nothing is said, JSON with --json.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

/// A form in which findings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Carets, for people.
    Text,
    /// JSON, for programs.
    Json,
    /// Workflow commands of GitHub.
    Github,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

pub(crate) async fn run(args: &CheckArgs, common: &Common, out: &Out) -> Exit {
    let mut report = Report::new();
    match hub::read(&common.config, &mut report, out) {
        Ok(Some((config, mut catalogue))) => {
            if args.all {
                catalogue.compile_all(&mut report);
            }
            let mut progress = Progress::begin();
            progress.step("running samples, examples and laws", Some(catalogue.compiled()));
            catalogue.lint(&mut report, &mut |done| progress.at(done));
            progress.end();
            if !report.has_errors()
                && let Ok(source) = hub::read_config(&common.config)
            {
                hub::would_refuse(&config, &catalogue, &source, &mut report);
            }
            if args.live
                && let Err(error) = live(&config, &catalogue, &mut report).await
            {
                return out.fail(&error);
            }
        }
        Ok(None) => {}
        Err(exit) => return exit,
    }
    let errors = report.errors();
    let warnings = report.findings().len() - errors;
    show(&report, args.format, out);
    out.note(&format!("{errors} errors, {warnings} warnings"));
    if errors > 0 || (args.strict && warnings > 0) {
        Exit::Usage
    } else {
        Exit::Ok
    }
}

fn show(report: &Report, format: Option<Format>, out: &Out) {
    // Files are named from where the command runs, which in CI is the root of the checkout.
    let root = std::env::current_dir().unwrap_or_default();
    let errors = report.errors();
    match format.unwrap_or(if out.json { Format::Json } else { Format::Text }) {
        Format::Text | Format::Github if report.is_empty() => {}
        Format::Text => out.line(&report.render(Out::colours())),
        Format::Github => out.line(&report.github(&root)),
        // The form is not ours, so it carries no version of ours.
        Format::Sarif => out.line(&format!("{:#}", report.sarif(&root))),
        Format::Json => out.json(json!({
            "findings": report.findings(), "errors": errors, "warnings": report.findings().len() - errors,
        })),
    }
}

/// Holds the mapping of every sync against its object as the system describes it now.
async fn live(config: &Config, catalogue: &Catalogue, report: &mut Report) -> Result<(), String> {
    for (name, connection) in &config.connections {
        let syncs = config.syncs.iter().filter(|sync| sync.connection == *name);
        let mappings: Vec<_> = syncs
            .filter_map(|sync| catalogue.mapping(&connection.system, sync.record))
            .collect();
        if mappings.is_empty() {
            continue;
        }
        let open = hub::open_connection(config, catalogue, name, connection).await;
        let open = open.map_err(|error| error.to_string())?;
        for mapping in mappings {
            let fields = open.fields(mapping.object()).await;
            let fields = fields.map_err(|failure| format!("{name}: {}", failure.text()))?;
            let fields: Vec<LiveField> = fields.into_iter().map(live_field).collect();
            report.merge(mapping.against(&fields));
        }
    }
    Ok(())
}

fn live_field(field: FieldInfo) -> LiveField {
    LiveField {
        name: field.name,
        options: field.options.into_iter().map(|(value, _)| value).collect(),
        writable: field.writable,
        required: field.required,
    }
}
