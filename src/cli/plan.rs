//! `interconnect plan`: what the next sync would do, without doing it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use connector::CallCount;
use ledger::{Ledger, ParkedFilter};
use serde_json::{Map, Value as Json, json};
use sync::{Counts, Engine, Foreseen, Sample, Way, What};

use super::out::table;
use super::progress::span;
use super::rounds::{ROUNDS_MAX, Rounds, Tally, not_read_yet};
use super::{Common, Exit, Out};
use crate::hub;

/// Parked things of an object that are counted by their reasons.
const PARKED_COUNTED_MAX: usize = 10_000;
/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 60;

/// What to foresee.
#[derive(Args)]
pub(crate) struct PlanArgs {
    /// Read only this connection; what that changes elsewhere is told, too.
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Show so many changes of each sort for each object, field by field.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=1000))]
    sample: u16,
    /// Exit with 3 when there is something to do, with 0 when there is not.
    #[arg(long)]
    detailed_exitcode: bool,
}

pub(crate) async fn run(args: &PlanArgs, common: &Common, out: &Out) -> Exit {
    let hub = match hub::open(&common.config, out).await {
        Ok(hub) => hub,
        Err(exit) => return exit,
    };
    let only = args.connection.as_deref();
    let known = |name: &str| hub.engine.plan().syncs.iter().any(|sync| sync.connection == name);
    if let Some(name) = only.filter(|name| !known(name)) {
        out.fails(&format!(
            "no sync has a connection `{name}`; see: interconnect sync list"
        ));
        return Exit::Usage;
    }
    let over = match ledger::overlay(hub.ledger.clone()).await {
        Ok(over) => over,
        Err(error) => return out.fail(&error.to_string()),
    };
    let engine = hub.engine.rehearse(over.clone(), usize::from(args.sample));
    let rounds = Rounds::over(&engine, &*over, only);
    let (tally, settled) = rounds.run(false).await;
    let plan = match Plan::of((&engine, only), &*over, tally, settled).await {
        Ok(plan) => plan,
        Err(error) => return out.fail(&error.to_string()),
    };
    out.data(plan.json(), || plan.text());
    for error in &plan.errors {
        out.fails(error);
    }
    match (plan.errors.is_empty(), args.detailed_exitcode) {
        (false, _) => Exit::Failed,
        (true, true) if plan.objects.values().any(|object| object.has_changes()) => Exit::Changes,
        (true, _) => Exit::Ok,
    }
}

/// What is foreseen of one object of a connection.
struct Object {
    counts: Counts,
    foreseen: Foreseen,
    /// How many are parked afterwards, by code.
    parked: BTreeMap<String, u64>,
    at_least_ms: u64,
    /// The stop limits that would halt it.
    halts: Vec<String>,
}

impl Object {
    fn updated_there(&self) -> u64 {
        self.counts.written - self.counts.created_there
    }

    fn parked(&self) -> u64 {
        self.parked.values().sum()
    }

    fn has_changes(&self) -> bool {
        self.counts.changes() + self.counts.met > 0
    }

    fn calls(&self) -> u64 {
        self.foreseen.reading.all() + self.foreseen.writing.all()
    }
}

struct Plan {
    objects: BTreeMap<(String, String), Object>,
    /// By connection: calls, and how long they take at least in milliseconds.
    connections: BTreeMap<String, (u64, u64)>,
    /// Objects that are stopped until a person resumes them, and why.
    stopped: Vec<String>,
    unknown: Vec<String>,
    errors: Vec<String>,
}

impl Plan {
    async fn of(
        (engine, only): (&Engine, Option<&str>),
        over: &dyn Ledger,
        tally: Tally,
        settled: bool,
    ) -> Result<Plan, ledger::LedgerError> {
        let mut unknown = unknown(&tally, settled);
        unknown.extend(not_read_yet(engine, only));
        let mut foreseen = engine.foreseen();
        let (mut objects, mut calls) = (BTreeMap::new(), BTreeMap::<String, CallCount>::new());
        for ((connection, object), counts) in tally.objects {
            let filter = ParkedFilter {
                of: Some((connection.clone(), object.clone())),
                ..ParkedFilter::default()
            };
            let mut parked = BTreeMap::new();
            for parked_one in over.parked(&filter, PARKED_COUNTED_MAX).await? {
                *parked.entry(parked_one.code).or_default() += 1;
            }
            let more = [
                (What::Creates, counts.created_there),
                (What::Updates, counts.written - counts.created_there),
                (What::Gone, counts.gone),
                (What::Deletes, counts.deleted_there),
            ];
            let halts = engine.would_halt(&connection, &object, &more).await?;
            let key = (connection, object);
            let foreseen = foreseen.remove(&key).unwrap_or_default();
            let mut all = foreseen.reading.clone();
            all.add(&foreseen.writing);
            calls.entry(key.0.clone()).or_default().add(&all);
            let system = engine.connection(&key.0);
            let at_least_ms = system.map_or(0, |system| system.at_least_ms(&all));
            let object = Object {
                counts,
                foreseen,
                parked,
                at_least_ms,
                halts,
            };
            objects.insert(key, object);
        }
        let least = |(name, calls): (String, CallCount)| {
            let at_least = engine
                .connection(&name)
                .map_or(0, |system| system.at_least_ms(&calls));
            (name, (calls.all(), at_least))
        };
        let mut stopped = Vec::new();
        for (connection, object) in engine.plan().objects() {
            if let Some(reason) = sync::halted(over, connection, object).await? {
                stopped.push(format!("{object} of {connection} is stopped: {reason}"));
            }
        }
        Ok(Plan {
            objects,
            stopped,
            connections: calls.into_iter().map(least).collect(),
            unknown,
            errors: tally.errors,
        })
    }

    fn json(&self) -> Json {
        let objects = self.objects.iter().map(|((connection, object), plan)| {
            let counts = plan.counts;
            let samples = plan.foreseen.samples.iter().map(sample_json);
            let like = plan.foreseen.like.iter();
            let like = like.map(|(object, records)| json!({"object": object, "records": records.iter().map(ToString::to_string).collect::<Vec<_>>()}));
            json!({
                "connection": connection, "object": object, "read": counts.read,
                "records": {"created": counts.created, "updated": counts.updated, "linked": counts.met,
                    "unchanged": counts.unchanged, "skipped": counts.skipped, "deleted": counts.deleted, "outlived": counts.outlived},
                "system": {"created": counts.created_there, "updated": plan.updated_there(), "deleted": counts.deleted_there},
                "duplicates": plan.foreseen.duplicates, "conflicts": counts.conflicts, "gone": counts.gone,
                "parked": plan.parked, "calls": {"reading": plan.foreseen.reading.all(), "writing": plan.foreseen.writing.all()},
                "at_least_ms": plan.at_least_ms, "halts": plan.halts, "samples": samples.collect::<Vec<_>>(), "like": like.collect::<Vec<_>>(),
            })
        });
        let connections = self.connections.iter();
        let connections = connections.map(|(name, (calls, at_least_ms))| json!({"connection": name, "calls": calls, "at_least_ms": at_least_ms}));
        json!({
            "data": objects.collect::<Vec<_>>(), "connections": connections.collect::<Vec<_>>(),
            "stopped": self.stopped, "unknown": self.unknown, "errors": self.errors,
        })
    }

    fn text(&self) -> String {
        let row = |((connection, object), plan): (&(String, String), &Object)| {
            let counts = plan.counts;
            let numbers = [
                counts.read,
                counts.created,
                counts.updated,
                counts.met,
                plan.foreseen.duplicates,
                counts.conflicts,
                counts.gone,
                plan.parked(),
                counts.created_there,
                plan.updated_there(),
                counts.deleted_there,
                plan.calls(),
            ];
            let mut row = vec![connection.clone(), object.clone()];
            row.extend(numbers.map(|number| number.to_string()));
            row.push(span(Duration::from_millis(plan.at_least_ms)));
            row
        };
        let rows: Vec<Vec<String>> = self.objects.iter().map(row).collect();
        let head = [
            "connection",
            "object",
            "read",
            "new",
            "changed",
            "linked",
            "duplicates",
            "conflicts",
            "gone",
            "parked",
            "create there",
            "update there",
            "delete there",
            "calls",
            "at least",
        ];
        let mut text = table(&head, &rows);
        for ((connection, object), plan) in &self.objects {
            for sample in &plan.foreseen.samples {
                text.push_str(&format!("\n\n{}", sample_text(connection, object, sample)));
            }
            for (external_id, records) in &plan.foreseen.like {
                let records: Vec<String> = records.iter().map(ToString::to_string).collect();
                let records = records.join(", ");
                text.push_str(&format!(
                    "\n\n{object} {external_id} of {connection} is like {records}: a duplicate"
                ));
            }
            for halt in &plan.halts {
                text.push_str(&format!("\n\nstop: {halt}"));
            }
            for (code, number) in &plan.parked {
                text.push_str(&format!(
                    "\n\n{number} of {object} of {connection} parked: {code}"
                ));
            }
        }
        for stopped in &self.stopped {
            text.push_str(&format!("\n\n{stopped}"));
        }
        if !self.unknown.is_empty() {
            text.push_str(&format!(
                "\n\nNot known before it is done:\n  {}",
                self.unknown.join("\n  ")
            ));
        }
        text
    }
}

/// What a plan cannot know.
fn unknown(tally: &Tally, settled: bool) -> Vec<String> {
    let mut unknown = Vec::new();
    let written: BTreeSet<&str> = tally
        .objects
        .iter()
        .filter(|(_, counts)| counts.written > 0)
        .map(|((connection, _), _)| connection.as_str())
        .collect();
    if !written.is_empty() {
        let written = written.into_iter().collect::<Vec<_>>().join(", ");
        unknown.push(format!(
            "what {written} will refuse, and what it will fill in or change when it is written to"
        ));
        unknown.push(format!("calls that read what was written to {written} once more"));
    }
    for (connection, object) in &tally.unread {
        unknown.push(format!(
            "what {object} of {connection} will be owed: it is read completely first, and was not read here"
        ));
    }
    if !settled && tally.errors.is_empty() {
        unknown.push(format!(
            "what comes after {ROUNDS_MAX} rounds of reading and writing: something still waits"
        ));
    }
    unknown
}

fn sample_json(sample: &Sample) -> Json {
    let fields = sample.fields.iter();
    let fields: Map<String, Json> = fields
        .map(|(field, before, after)| (field.clone(), json!({"before": before, "after": after})))
        .collect();
    json!({
        "change": change(sample), "record": sample.record.to_string(), "external_id": sample.external_id, "fields": fields,
    })
}

/// The word of a change.
fn change(sample: &Sample) -> &'static str {
    match (sample.way, sample.new) {
        (Way::In, _) if sample.deleted => "delete_record",
        (Way::Out, _) if sample.deleted => "delete_there",
        (Way::In, true) => "create_record",
        (Way::In, false) => "update_record",
        (Way::Out, true) => "create_there",
        (Way::Out, false) => "update_there",
    }
}

fn sample_text(connection: &str, object: &str, sample: &Sample) -> String {
    let (record, id) = (sample.record, sample.external_id.as_deref().unwrap_or_default());
    let mut text = match (sample.way, sample.new) {
        (Way::In, _) if sample.deleted => format!("{record} is deleted with {object} {id} of {connection}"),
        (Way::Out, _) if sample.deleted => format!("{object} {id} of {connection} is deleted with {record}"),
        (Way::In, true) => format!("new {record} from {object} {id} of {connection}"),
        (Way::In, false) => format!("{record} changes by {object} {id} of {connection}"),
        (Way::Out, true) => format!("{record} is created at {connection} as {object}"),
        (Way::Out, false) => format!("{object} {id} of {connection} is updated from {record}"),
    };
    // What was not known and is blank is no news to a person.
    let news = sample.fields.iter().filter(|(_, before, after)| before != after);
    for (field, before, after) in news {
        let before = match before {
            Json::Null => String::new(),
            before => format!("{} → ", shown(before)),
        };
        text.push_str(&format!("\n  {field}: {before}{}", shown(after)));
    }
    text
}

fn shown(value: &Json) -> String {
    let text = match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
