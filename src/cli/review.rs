//! `interconnect review`: what waits for a person because a rule cannot tell.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use ledger::Parked;
use model::{Record, Value, stored};
use serde_json::{Value as Json, json};
use sync::{Candidate, ObjectAt, Review, Settle};

use super::action::{By, Wrong, tell};
use super::out::table;
use super::{Common, Exit, Out};
use crate::hub::{self, Hub};

/// What to do with reviews.
#[derive(Subcommand)]
pub(crate) enum ReviewCommand {
    /// What waits, oldest first.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// One of them: what may be the same, side by side, and by which rule.
    #[command(after_help = "Example:\n  interconnect review show crm/Account/0015g00000XyZ")]
    Show {
        /// The object, as connection/object/id.
        object: String,
    },
    /// Settle one of them.
    #[command(
        after_help = "Examples:\n  interconnect review decide crm/Account/0015g00000XyZ --record ptn_01h455vb4pex5vsknk084sn02q\n  \
        interconnect review decide crm/Account/0015g00000XyZ --new"
    )]
    Decide(DecideArgs),
}

/// A decision.
#[derive(Args)]
pub(crate) struct DecideArgs {
    /// The object, as connection/object/id.
    object: String,
    #[command(flatten)]
    answer: Answer,
    /// Of two records that both have an object: the one that stays, as connection/object/id.
    #[arg(long, value_name = "OBJECT", requires = "record")]
    stay: Vec<String>,
    #[command(flatten)]
    by: By,
}

/// The answers, one of which is given.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Answer {
    /// It is this record; of two records, this one stands for both.
    #[arg(long, value_name = "ID")]
    record: Option<String>,
    /// It is a record of its own.
    #[arg(long)]
    new: bool,
    /// Two records stay two.
    #[arg(long)]
    leave: bool,
    /// What is gone is gone.
    #[arg(long)]
    accept: bool,
    /// Ask once more for what is gone.
    #[arg(long)]
    again: bool,
}

impl DecideArgs {
    fn settle(&self) -> Result<Settle, Wrong> {
        let Answer {
            record,
            new,
            leave,
            accept,
            ..
        } = &self.answer;
        Ok(match record {
            Some(record) => {
                let stay = self.stay.iter().map(|at| at.parse());
                Settle::Record(record.parse()?, stay.collect::<Result<_, _>>()?)
            }
            None if *new => Settle::New,
            None if *leave => Settle::Leave,
            None if *accept => Settle::Accept,
            None => Settle::Again,
        })
    }
}

pub(crate) async fn run(command: &ReviewCommand, common: &Common, out: &Out) -> Exit {
    let hub = match hub::open(&common.config, out).await {
        Ok(hub) => hub,
        Err(exit) => return exit,
    };
    match command {
        ReviewCommand::List { limit } => match hub.engine.reviews(usize::from(*limit)).await {
            Ok(reviews) => list(&reviews, out),
            Err(error) => out.fail(&error.to_string()),
        },
        ReviewCommand::Show { object } => match review(&hub, object).await {
            Ok(review) => show(&review, out),
            Err(wrong) => tell(Err(wrong), out),
        },
        ReviewCommand::Decide(args) => tell(decide(&hub, args).await, out),
    }
}

async fn review(hub: &Hub, object: &str) -> Result<Review, Wrong> {
    let at: ObjectAt = object.parse()?;
    Ok(hub.engine.review(&at).await?)
}

async fn decide(hub: &Hub, args: &DecideArgs) -> Result<sync::Done, Wrong> {
    let (at, settle): (ObjectAt, Settle) = (args.object.parse()?, args.settle()?);
    Ok(hub.engine.decide(&args.by.name(), &at, &settle).await?)
}

fn object_of(parked: &Parked) -> String {
    format!("{}/{}/{}", parked.connection, parked.object, parked.key)
}

fn document(parked: &Parked) -> Json {
    json!({
        "object": object_of(parked), "code": parked.code, "reason": parked.reason, "since": parked.since.to_string(),
        "records": parked.records.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn list(reviews: &[Parked], out: &Out) -> Exit {
    let data: Vec<Json> = reviews.iter().map(document).collect();
    out.data(json!({"data": data}), || {
        let row = |parked: &Parked| {
            vec![
                object_of(parked),
                parked.code.clone(),
                parked.since.to_string(),
                parked.reason.clone(),
            ]
        };
        let rows: Vec<Vec<String>> = reviews.iter().map(row).collect();
        table(&["object", "code", "since", "reason"], &rows)
    });
    Exit::Ok
}

fn show(review: &Review, out: &Out) -> Exit {
    let mut json = document(&review.parked);
    if let Json::Object(map) = &mut json {
        map.insert(
            "candidates".into(),
            review.candidates.iter().map(candidate_json).collect(),
        );
    }
    out.data(json, || text(review));
    Exit::Ok
}

fn title(record: &Record) -> &str {
    let mut paths = ["name", "display_name", "company.name"].iter();
    paths
        .find_map(|path| record.fields.text(path))
        .unwrap_or_default()
}

fn candidate_json(candidate: &Candidate) -> Json {
    let value = |value: Option<&Value>| value.map_or(Json::Null, stored::to_json);
    let sides = candidate.sides.iter();
    let sides = sides.map(|side| {
        json!({"field": side.path, "object": value(side.theirs.as_ref()), "record": value(side.ours.as_ref()),
            "alike": side.is_alike()})
    });
    let rule = candidate.rule.as_ref();
    json!({
        "record": candidate.record.id.to_string(), "name": title(&candidate.record),
        "rule": rule.map(|rule| json!({"fields": rule.fields, "confidence": rule.confidence.word()})),
        "fields": sides.collect::<Vec<_>>(),
    })
}

fn text(review: &Review) -> String {
    let mut text = format!("{}: {}", object_of(&review.parked), review.parked.reason);
    for candidate in &review.candidates {
        let by = candidate.rule.as_ref().map_or_else(String::new, |rule| {
            format!(
                "; alike in {} ({})",
                rule.fields.join(" and "),
                rule.confidence.word()
            )
        });
        let _ = write!(
            text,
            "\n\n{} {}{by}\n\n",
            candidate.record.id,
            title(&candidate.record)
        );
        let shown = |value: Option<&Value>| value.map_or_else(String::new, |value| format!("{value:?}"));
        let row = |side: &sync::Side| {
            let alike = if side.is_alike() { "=" } else { "≠" };
            vec![
                side.path.to_owned(),
                shown(side.theirs.as_ref()),
                alike.to_owned(),
                shown(side.ours.as_ref()),
            ]
        };
        let rows: Vec<Vec<String>> = candidate.sides.iter().map(row).collect();
        text.push_str(&table(&["field", "object", "", "record"], &rows));
    }
    text
}
