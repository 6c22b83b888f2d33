//! `interconnect map`: what a mapping leaves out, and what could fill it.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use connector::FieldInfo;
use diagnostic::{Report, suggestion};
use mapping::{Candidate, Mapping, Suggestion, suggestions};
use model::Kind;
use serde_json::{Value as Json, json};

use super::account::{Account, Of, kind};
use super::out::table;
use super::{Common, Exit, Out};
use crate::hub;

/// What to do with mappings.
#[derive(Subcommand)]
pub(crate) enum MapCommand {
    /// Fields of a live object that are probably fields of a record, the likeliest first, with the lines to write.
    #[command(after_help = "Example:\n  interconnect map suggest crm.Opportunity deal")]
    Suggest(SuggestArgs),
    /// Which fields of the records a system's mappings fill, and which required ones are missing.
    #[command(
        after_help = "Example:\n  interconnect map coverage hubspot\n\nExits 1 when a required field is not mapped."
    )]
    Coverage {
        /// The system, as its folder is named.
        system: String,
    },
}

/// Of what to which.
#[derive(Args)]
pub(crate) struct SuggestArgs {
    /// The connection and the object, as its connector names it.
    #[arg(value_name = "CONNECTION.OBJECT")]
    of: Of,
    /// The kind of record.
    #[arg(value_parser = kind)]
    record: Kind,
}

pub(crate) async fn run(command: &MapCommand, common: &Common, out: &Out) -> Exit {
    match command {
        MapCommand::Suggest(args) => suggest(args, common, out).await,
        MapCommand::Coverage { system } => coverage(system, common, out),
    }
}

async fn suggest(args: &SuggestArgs, common: &Common, out: &Out) -> Exit {
    let Of { connection, object } = &args.of;
    let account = match Account::open(common, connection, out).await {
        Ok(account) => account,
        Err(exit) => return exit,
    };
    let fields = match account.fields(object, out).await {
        Ok(fields) => fields,
        Err(exit) => return exit,
    };
    let mapping = account
        .mappings_of(object)
        .find(|mapping| mapping.kind() == args.record);
    let (mut paths, mut wires) = (Vec::new(), BTreeSet::new());
    for line in mapping.iter().flat_map(|mapping| mapping.mapped()) {
        paths.push(line.path);
        wires.extend(line.wire);
    }
    let free = fields.iter().filter(|field| !wires.contains(field.name.as_str()));
    let candidates: Vec<Candidate> = free.map(candidate).collect();
    let found = suggestions(args.record, &paths, &candidates);
    let data: Vec<Json> = found.iter().map(json_of).collect();
    out.data(json!({"data": data}), || {
        if found.is_empty() {
            return format!(
                "no field of {object} looks like one of the {}'s that are not mapped",
                args.record
            );
        }
        let rows: Vec<Vec<String>> = found.iter().map(row).collect();
        let head = ["record", "", "object", "label", "type", "alike"];
        format!("{}\n\nfields:\n{}", table(&head, &rows), lines(&found).join("\n"))
    });
    Exit::Ok
}

fn candidate(field: &FieldInfo) -> Candidate<'_> {
    Candidate {
        name: &field.name,
        label: &field.label,
        kind: &field.kind,
        options: &field.options,
        writable: field.writable,
    }
}

/// The line of the likeliest suggestion for each field of the record; no field of the object is used twice.
fn lines(found: &[Suggestion<'_>]) -> Vec<String> {
    let (mut paths, mut names) = (BTreeSet::new(), BTreeSet::new());
    let first = found.iter().filter(|suggestion| {
        let free = !paths.contains(suggestion.field.path) && !names.contains(suggestion.candidate.name);
        if free {
            paths.insert(suggestion.field.path);
            names.insert(suggestion.candidate.name);
        }
        free
    });
    first
        .map(|suggestion| format!("  {}", suggestion.line()))
        .collect()
}

fn row(suggestion: &Suggestion<'_>) -> Vec<String> {
    let Suggestion {
        field,
        candidate,
        percent,
    } = suggestion;
    vec![
        field.path.to_owned(),
        if field.required { "required" } else { "" }.to_owned(),
        candidate.name.to_owned(),
        candidate.label.to_owned(),
        candidate.kind.to_owned(),
        format!("{percent} %"),
    ]
}

fn json_of(suggestion: &Suggestion<'_>) -> Json {
    let Suggestion {
        field,
        candidate,
        percent,
    } = suggestion;
    json!({
        "record": field.path, "required": field.required, "object": candidate.name, "label": candidate.label,
        "type": candidate.kind, "percent": percent, "line": suggestion.line(),
    })
}

fn coverage(system: &str, common: &Common, out: &Out) -> Exit {
    let mut catalogue = match hub::load(&common.config, out) {
        Ok((_, catalogue)) => catalogue,
        Err(exit) => return exit,
    };
    let mut report = Report::new();
    let mappings = catalogue.mappings_of(system, &mut report);
    if report.has_errors() || mappings.is_empty() {
        let hint = suggestion(system, catalogue.systems().into_iter());
        out.findings(&report);
        out.fails(&format!(
            "there is no mapping of `{system}` that can be used; {hint}"
        ));
        return Exit::Usage;
    }
    let covered: Vec<Covered> = mappings.iter().map(|mapping| Covered::of(mapping)).collect();
    let data: Vec<Json> = covered.iter().map(Covered::json).collect();
    out.data(json!({"system": system, "data": data}), || {
        covered.iter().map(Covered::text).collect::<Vec<_>>().join("\n\n")
    });
    if covered.iter().all(|covered| covered.missing().next().is_none()) {
        Exit::Ok
    } else {
        Exit::Failed
    }
}

/// A field of the record: its path, whether it is required, and what it is mapped to, which way.
struct Field {
    path: &'static str,
    required: bool,
    mapped: Option<(String, &'static str)>,
}

/// What a mapping fills of its record.
struct Covered {
    title: String,
    kind: Kind,
    object: String,
    fields: Vec<Field>,
}

impl Covered {
    fn of(mapping: &Mapping) -> Covered {
        let fields = mapping.kind().fields().map(|field| {
            let line = mapping.mapped().find(|line| line.path == field.path);
            let mapped = line.map(|line| {
                let way = match (line.reads, line.writes) {
                    (true, true) => "both ways",
                    (true, false) => "in",
                    _ => "out",
                };
                (line.wire.join(" + "), way)
            });
            Field {
                path: field.path,
                required: field.required,
                mapped,
            }
        });
        let mut covered = Covered {
            title: String::new(),
            kind: mapping.kind(),
            object: mapping.object().to_owned(),
            fields: fields.collect(),
        };
        let mapped = covered
            .fields
            .iter()
            .filter(|field| field.mapped.is_some())
            .count();
        let all = covered.fields.len();
        covered.title = format!("{} is {}: {mapped} of {all} fields", covered.object, covered.kind);
        covered
    }

    /// Required fields that are not mapped.
    fn missing(&self) -> impl Iterator<Item = &Field> {
        self.fields
            .iter()
            .filter(|field| field.required && field.mapped.is_none())
    }

    fn text(&self) -> String {
        let row = |field: &Field| {
            let (object, way) = field.mapped.clone().unwrap_or_default();
            let required = if field.required { "required" } else { "" };
            vec![field.path.to_owned(), required.to_owned(), object, way.to_owned()]
        };
        let rows: Vec<Vec<String>> = self.fields.iter().map(row).collect();
        format!(
            "{}\n\n{}",
            self.title,
            table(&["record", "", "object", "way"], &rows)
        )
    }

    fn json(&self) -> Json {
        let field = |field: &Field| {
            let (object, way) = field.mapped.clone().unzip();
            json!({"record": field.path, "required": field.required, "object": object, "way": way})
        };
        let unmapped: Vec<&str> = self.missing().map(|field| field.path).collect();
        json!({
            "kind": self.kind.name(), "object": self.object, "required_and_unmapped": unmapped,
            "fields": self.fields.iter().map(field).collect::<Vec<_>>(),
        })
    }
}
