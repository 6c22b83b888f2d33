//! `interconnect try`: object → record → object, field by field, with the difference.

use std::io::Read;
use std::sync::Arc;

use clap::Args;
use diagnostic::{Report, Source, suggestion};
use mapping::{Context, Explained, Mapping, Written, example_context};
use model::{Currency, Kind};
use serde_json::{Map, Value as Json, json};

use super::account::{Account, kind};
use super::out::table;
use super::{Common, Exit, Out};
use crate::hub;

/// Bytes that an object or a record may have.
const INPUT_BYTES_MAX: u64 = 1 << 20;

/// What to try a mapping on.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  interconnect try hubspot deal                          the mapping's own examples\n  \
    interconnect try hubspot deal --object deal.json       what is this object as a record?\n  \
    interconnect try hubspot deal --record deal.yaml       what is this record written as?\n  \
    interconnect try hubspot deal --id 123 --connection marketing\n\n\
    Exits 1 when a value does not fit."
)]
pub(crate) struct TrialArgs {
    /// The system, as its folder is named.
    system: String,
    /// The kind of record.
    #[arg(value_parser = kind)]
    record: Kind,
    /// An object as the system sends it, in JSON or YAML; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from_record", "id"])]
    object: Option<String>,
    /// A record as examples write it, in JSON or YAML; `-` is standard input.
    #[arg(
        long = "record",
        value_name = "FILE",
        id = "from_record",
        conflicts_with = "id"
    )]
    from_record: Option<String>,
    /// An object that a system holds now.
    #[arg(long, value_name = "ID", requires = "connection")]
    id: Option<String>,
    /// The connection that reads it.
    #[arg(long, value_name = "NAME", requires = "id")]
    connection: Option<String>,
}

/// What was tried, and what came of it.
struct Trial {
    json: Json,
    text: String,
    fits: bool,
}

pub(crate) async fn run(args: &TrialArgs, common: &Common, out: &Out) -> Exit {
    match trials(args, common, out).await {
        Ok(trials) => {
            let data: Vec<&Json> = trials.iter().map(|trial| &trial.json).collect();
            out.data(
                json!({"system": args.system, "kind": args.record.name(), "data": data}),
                || {
                    trials
                        .iter()
                        .map(|trial| trial.text.as_str())
                        .collect::<Vec<_>>()
                        .join("\n\n")
                },
            );
            if trials.iter().all(|trial| trial.fits) {
                Exit::Ok
            } else {
                Exit::Failed
            }
        }
        Err(exit) => exit,
    }
}

async fn trials(args: &TrialArgs, common: &Common, out: &Out) -> Result<Vec<Trial>, Exit> {
    let mapping = mapping(args, common, out)?;
    if let (Some(id), Some(connection)) = (&args.id, &args.connection) {
        return live(&mapping, id, connection, common, out)
            .await
            .map(|trial| vec![trial]);
    }
    if let Some(file) = &args.from_record {
        let record = input(file, out)?;
        let mut report = Report::new();
        let written = mapping.explain_record(&record, example_context(), &mut report);
        let written = written.ok_or_else(|| refused(&report, out))?;
        return Ok(vec![of_record(file, &written)]);
    }
    if let Some(file) = &args.object {
        let source = input(file, out)?;
        let mut report = Report::new();
        let object = diagnostic::Node::parse(&source, &mut report).ok_or_else(|| refused(&report, out))?;
        return Ok(vec![of_object(
            file,
            &mapping,
            &object.to_json(),
            example_context(),
        )]);
    }
    let examples = mapping.examples().zip(1..);
    let trials = examples
        .map(|(object, number)| of_object(&format!("example {number}"), &mapping, object, example_context()));
    Ok(trials.collect())
}

fn refused(report: &Report, out: &Out) -> Exit {
    out.findings(report);
    Exit::Usage
}

fn mapping(args: &TrialArgs, common: &Common, out: &Out) -> Result<Arc<Mapping>, Exit> {
    let (_, mut catalogue) = hub::load(&common.config, out)?;
    let mut report = Report::new();
    if let Some(mapping) = catalogue.compiled_mapping(&args.system, args.record, &mut report) {
        return Ok(mapping);
    }
    if report.has_errors() {
        return Err(refused(&report, out));
    }
    let (system, record) = (&args.system, args.record);
    let hint = suggestion(system, catalogue.systems().into_iter());
    out.fails(&format!(
        "there is no mapping mappings/{system}/{record}.yaml; {hint}"
    ));
    Err(Exit::Usage)
}

/// Reads a file, or standard input.
fn input(file: &str, out: &Out) -> Result<Source, Exit> {
    let mut text = String::new();
    let mut read = |from: &mut dyn Read| from.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text);
    let read = match file {
        "-" => read(&mut std::io::stdin().lock()),
        path => std::fs::File::open(path).and_then(|mut file| read(&mut file)),
    };
    let problem = match read {
        Err(error) => format!("{file} cannot be read: {error}"),
        Ok(bytes) if bytes as u64 > INPUT_BYTES_MAX => {
            format!("{file} has more than {INPUT_BYTES_MAX} bytes")
        }
        Ok(_) => return Ok(Source::new(file, text)),
    };
    out.fails(&problem);
    Err(Exit::Usage)
}

async fn live(mapping: &Mapping, id: &str, name: &str, common: &Common, out: &Out) -> Result<Trial, Exit> {
    let account = Account::open(common, name, out).await?;
    let system = account.connection.connector().system();
    if system != mapping.system() {
        out.fails(&format!(
            "connection `{name}` is one to {system}, not to {}",
            mapping.system()
        ));
        return Err(Exit::Usage);
    }
    let ids = [id.to_owned()];
    let found = account
        .connection
        .by_ids(mapping.object(), mapping.object_fields(), &ids)
        .await;
    let found = found.map_err(|failure| out.fail(&failure.text()))?;
    let Some(object) = found.into_iter().next() else {
        return Err(out.fail(&format!("{name} has no {} `{id}`", mapping.object())));
    };
    let currency = account.config.currency.as_deref();
    let context = Context {
        currency: currency.and_then(|code| Currency::parse(code).ok()),
        country: account.config.country.as_deref(),
        agreed: None,
    };
    let title = format!("{} {id} of {name}", mapping.object());
    Ok(of_object(&title, mapping, &object.body, context))
}

fn of_object(title: &str, mapping: &Mapping, object: &Json, context: Context<'_>) -> Trial {
    let fields = mapping.explain(object, context);
    let admitted = mapping.admits(object);
    let rows: Vec<Vec<String>> = fields.iter().map(object_row).collect();
    let note = if admitted {
        ""
    } else {
        ": `when` does not admit it"
    };
    let head = ["object", "holds", "record", "value", "written as", ""];
    Trial {
        json: json!({
            "title": title, "object": object, "admitted": admitted,
            "fields": fields.iter().map(object_json).collect::<Vec<_>>(),
        }),
        text: format!("{title}{note}\n\n{}", table(&head, &rows)),
        fits: fields.iter().all(|field| field.issue.is_none()),
    }
}

fn object_row(field: &Explained) -> Vec<String> {
    let names: Vec<&str> = field.wire.iter().map(|(name, _)| name.as_str()).collect();
    let held = field.wire.iter().map(|(_, json)| shown(json.as_ref()));
    let remark = match (&field.issue, field.reads, field.writes) {
        (Some(issue), _, _) => issue.clone(),
        (None, true, false) => "only read".to_owned(),
        (None, false, true) => "only written".to_owned(),
        _ if field.respelled() => "spelled differently".to_owned(),
        _ => String::new(),
    };
    vec![
        names.join(" + "),
        held.collect::<Vec<_>>().join(" + "),
        field.path.to_owned(),
        shown(field.value.as_ref()),
        field
            .back
            .iter()
            .map(|(_, json)| shown(Some(json)))
            .collect::<Vec<_>>()
            .join(" + "),
        remark,
    ]
}

fn object_json(field: &Explained) -> Json {
    let held = field.wire.iter();
    let held: Map<String, Json> = held
        .filter_map(|(name, json)| Some((name.clone(), json.clone()?)))
        .collect();
    json!({
        "record": field.path, "object": field.wire.iter().map(|(name, _)| name).collect::<Vec<_>>(), "holds": held,
        "lens": field.steps, "value": field.value, "written": field.back.iter().cloned().collect::<Map<_, _>>(),
        "respelled": field.respelled(), "reads": field.reads, "writes": field.writes, "issue": field.issue,
    })
}

fn of_record(title: &str, fields: &[Written]) -> Trial {
    let rows: Vec<Vec<String>> = fields.iter().map(record_row).collect();
    let head = ["record", "value", "object", "written as", "reads as", ""];
    Trial {
        json: json!({"title": title, "fields": fields.iter().map(record_json).collect::<Vec<_>>()}),
        text: format!("{title}\n\n{}", table(&head, &rows)),
        fits: fields.iter().all(|field| field.issue.is_none()),
    }
}

fn record_row(field: &Written) -> Vec<String> {
    let names: Vec<&str> = field.wire.iter().map(|(name, _)| name.as_str()).collect();
    let written = field.wire.iter().map(|(_, json)| shown(Some(json)));
    let remark = match &field.issue {
        Some(issue) => issue.clone(),
        None if !field.writes => "only read".to_owned(),
        None if field.coarser() => "reads as something else".to_owned(),
        None => String::new(),
    };
    vec![
        field.path.to_owned(),
        shown(field.value.as_ref()),
        names.join(" + "),
        written.collect::<Vec<_>>().join(" + "),
        shown(field.read.as_ref()),
        remark,
    ]
}

fn record_json(field: &Written) -> Json {
    json!({
        "record": field.path, "value": field.value, "written": field.wire.iter().cloned().collect::<Map<_, _>>(),
        "read": field.read, "coarser": field.coarser(), "reads": field.reads, "writes": field.writes,
        "issue": field.issue,
    })
}

/// Characters of a value that a table shows.
const VALUE_CHARS_MAX: usize = 40;

/// A value for a table: on one line, text without quotes.
fn shown(json: Option<&Json>) -> String {
    let text = match json {
        None => return String::new(),
        Some(Json::Null) => return "blank".to_owned(),
        Some(Json::String(text)) if text.is_empty() => return "blank".to_owned(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => match (other["amount"].as_str(), other["currency"].as_str()) {
            (Some(amount), Some(currency)) => format!("{amount} {currency}"),
            _ => other.to_string(),
        },
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
