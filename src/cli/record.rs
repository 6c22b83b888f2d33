//! `interconnect record`: records, and who said each of their values.

mod journey;
mod told;

use std::fmt::Write as _;

use clap::Subcommand;
use ledger::{Change, Conflict, ConflictFilter, Link};
use model::{Kind, Record, RecordId, stored};
use serde_json::{Map, Value as Json, json};
use sync::{ObjectAt, Which, explained};

use super::action::{self, LinkArgs, MergeArgs, UnlinkArgs, UnmergeArgs};
use super::out::table;
use super::{Common, Exit, Out, conflict, error};
use crate::hub;

/// Conflicts of one record that are shown.
const CONFLICTS_MAX: usize = 1_000;

/// What to do with records.
#[derive(Subcommand)]
pub(crate) enum RecordCommand {
    /// One record: its values, who said each and why it counts, its copies at the systems, its history.
    #[command(
        after_help = "Examples:\n  interconnect record show dea_01h455vb4pex5vsknk084sn02q\n  \
                      interconnect record show crm/Opportunity/0065g00000AbCdE --history"
    )]
    Show {
        /// The record's id, or an object's id as connection/object/id.
        id: String,
        /// With every change, oldest first, and every conflict; JSON has them anyway.
        #[arg(long)]
        history: bool,
    },
    /// The journey of a change: what brought it, who heard of it, and every system that it reached.
    #[command(
        after_help = "Examples:\n  interconnect record journey dea_01h455vb4pex5vsknk084sn02q\n  \
                      interconnect record journey crm/Opportunity/0065g00000AbCdE --version 4 --json"
    )]
    Journey {
        /// The record's id, or an object's id as connection/object/id.
        id: String,
        /// The change that made this version; the last one when nothing is said.
        #[arg(long, value_name = "NUMBER", conflicts_with = "trace")]
        version: Option<u64>,
        /// The changes that came with this trace.
        #[arg(long, value_name = "TRACE")]
        trace: Option<String>,
    },
    /// What partners were told about a record: when, which fields, and by which policy.
    #[command(
        after_help = "Examples:\n  interconnect record told dea_01h455vb4pex5vsknk084sn02q\n  \
                      interconnect record told crm/Opportunity/0065g00000AbCdE --partner northwind --json"
    )]
    Told {
        /// The record's id, an object's id as connection/object/id, or a partner's own name for what it told of.
        id: String,
        /// To this partner only.
        #[arg(long, value_name = "NAME")]
        partner: Option<String>,
        /// At most so many, the newest.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Records of a kind.
    #[command(after_help = "Example:\n  interconnect record list deal --json")]
    List {
        /// partner, lead or deal.
        kind: String,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Those behind this id.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// Make an object a record's: it is read, and its values flow.
    #[command(
        after_help = "Example:\n  interconnect record link ptn_01h455vb4pex5vsknk084sn02q crm/Account/0015g00000XyZ"
    )]
    Link(LinkArgs),
    /// Take an object away from its record; it stays where it is, and does not find back.
    #[command(
        after_help = "Examples:\n  interconnect record unlink ptn_01h455vb4pex5vsknk084sn02q crm\n  \
        interconnect record unlink ptn_01h455vb4pex5vsknk084sn02q crm/Account --ignore"
    )]
    Unlink(UnlinkArgs),
    /// Make two records one: values, objects, and whatever refers to the one that goes, at every system.
    #[command(
        after_help = "Examples:\n  interconnect record merge ptn_01h455vb4pex5vsknk084sn02q ptn_01h2xcejqtf2nbrexx3vqjhp41\n  \
        interconnect record merge ptn_01h45… ptn_01h2x… --stay crm/Account/0015g00000XyZ"
    )]
    Merge(MergeArgs),
    /// Make a record its own again that was merged into another one.
    #[command(after_help = "Example:\n  interconnect record unmerge ptn_01h2xcejqtf2nbrexx3vqjhp41")]
    Unmerge(UnmergeArgs),
}

pub(crate) async fn run(command: &RecordCommand, common: &Common, out: &Out) -> Exit {
    if let RecordCommand::Show { id, .. } | RecordCommand::Journey { id, .. } = command
        && id.parse::<ObjectAt>().is_err()
        && let Err(error) = id.parse::<RecordId>()
    {
        out.fails(&format!(
            "{error}; an object at a system is named connection/object/id"
        ));
        return Exit::Usage;
    }
    match command {
        RecordCommand::Link(args) => action::link(args, common, out).await,
        RecordCommand::Unlink(args) => action::unlink(args, common, out).await,
        RecordCommand::Merge(args) => action::merge(args, common, out).await,
        RecordCommand::Unmerge(args) => action::unmerge(args, common, out).await,
        RecordCommand::Show { id, history } => match hub::open_ledger(&common.config, out).await {
            Ok(ledger) => show(&*ledger, id, *history, out)
                .await
                .unwrap_or_else(|error| out.fail(&error)),
            Err(exit) => exit,
        },
        RecordCommand::Told { id, partner, limit } => {
            let (config, ledger) = match hub::open_config_and_ledger(&common.config, out).await {
                Ok(opened) => opened,
                Err(exit) => return exit,
            };
            let stores = (&config, &*ledger);
            let told = told::run(stores, id, partner.as_deref(), usize::from(*limit), out).await;
            told.unwrap_or_else(|error| out.fail(&error))
        }
        RecordCommand::Journey { id, version, trace } => match hub::open_ledger(&common.config, out).await {
            Ok(ledger) => {
                let which = match (version, trace) {
                    (Some(version), _) => Which::Version(*version),
                    (None, Some(trace)) => Which::Trace(trace.clone()),
                    (None, None) => Which::Last,
                };
                let told = journey::run(&*ledger, id, &which, out).await;
                told.unwrap_or_else(|error| out.fail(&error))
            }
            Err(exit) => exit,
        },
        RecordCommand::List { kind, limit, after } => match hub::open_ledger(&common.config, out).await {
            Ok(ledger) => {
                let listed = list(&*ledger, kind, usize::from(*limit), after.as_deref(), out).await;
                listed.unwrap_or_else(|error| out.fail(&error))
            }
            Err(exit) => exit,
        },
    }
}

async fn list(
    ledger: &dyn ledger::Ledger,
    kind: &str,
    limit: usize,
    after: Option<&str>,
    out: &Out,
) -> Result<Exit, String> {
    let Some(kind) = Kind::parse(kind) else {
        out.fails(&format!(
            "`{kind}` is not a kind of record; write partner, lead or deal"
        ));
        return Ok(Exit::Usage);
    };
    let after = after
        .map(str::parse)
        .transpose()
        .map_err(|error: model::NotARecordId| error.to_string())?;
    let records = ledger
        .list_records(kind, after, limit)
        .await
        .map_err(|error| error.to_string())?;
    let json: Vec<Json> = records.iter().map(|record| document(record, &[])).collect();
    out.data(json!({"data": json}), || {
        let row = |record: &Record| {
            let title = ["name", "display_name", "company.name"]
                .iter()
                .find_map(|p| record.fields.text(p));
            let state = match (record.merged_into, record.deleted_at) {
                (Some(_), _) => Some("merged"),
                (None, Some(_)) => Some("deleted"),
                (None, None) => ["stage", "status"]
                    .iter()
                    .find_map(|path| record.fields.text(path)),
            };
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            vec![
                record.id.to_string(),
                text(title),
                text(state),
                record.version.to_string(),
            ]
        };
        let rows: Vec<Vec<String>> = records.iter().map(row).collect();
        table(&["id", "name", "state", "version"], &rows)
    });
    Ok(Exit::Ok)
}

async fn show(ledger: &dyn ledger::Ledger, id: &str, all: bool, out: &Out) -> Result<Exit, String> {
    let fails = |error: ledger::LedgerError| error.to_string();
    let Some(record) = find(ledger, id).await? else {
        let parked = match id.parse::<ObjectAt>() {
            Ok(at) => sync::parked_at(ledger, &at).await.map_err(fails)?,
            Err(_) => None,
        };
        let why = parked.map(|parked| format!("`{id}` has no record yet: {}", error::line(&parked)));
        let none = || format!("there is no record `{id}`; list them with `interconnect record list deal`");
        return Ok(out.fail(&why.unwrap_or_else(none)));
    };
    let links = ledger.links(&[record.id]).await.map_err(fails)?;
    let history = ledger.history(record.id).await.map_err(fails)?;
    let filter = ConflictFilter {
        record: Some(record.id),
        ..ConflictFilter::default()
    };
    let conflicts = ledger
        .list_conflicts(&filter, None, CONFLICTS_MAX)
        .await
        .map_err(fails)?;
    let parked = sync::parked_of_record(ledger, record.id, &links)
        .await
        .map_err(fails)?;
    let mut json = document(&record, &history);
    if let Json::Object(map) = &mut json {
        map.insert("parked".into(), parked.iter().map(error::document_of).collect());
        map.insert("links".into(), links.iter().map(link_json).collect());
        map.insert("history".into(), history.iter().map(change_json).collect());
        map.insert(
            "conflicts".into(),
            conflicts.iter().map(conflict::document).collect(),
        );
    }
    out.data(json, || {
        let parked = parked.iter().map(|parked| format!("\n\n{}", error::line(parked)));
        let parked: String = parked.collect();
        text(&record, &links, &history, &conflicts, all) + &parked
    });
    Ok(Exit::Ok)
}

pub(super) async fn find(ledger: &dyn ledger::Ledger, id: &str) -> Result<Option<Record>, String> {
    let fails = |error: ledger::LedgerError| error.to_string();
    if let Ok(at) = id.parse::<ObjectAt>() {
        let linked = ledger
            .linked(&at.connection, &at.object, &[at.external_id])
            .await
            .map_err(fails)?;
        return Ok(linked.into_iter().next().map(|linked| linked.record));
    }
    let id: RecordId = id
        .parse()
        .map_err(|error: model::NotARecordId| error.to_string())?;
    Ok(ledger.records(&[id]).await.map_err(fails)?.into_iter().next())
}

/// A record as JSON; each field says why it has its value, as far as its history tells.
fn document(record: &Record, history: &[Change]) -> Json {
    let why = explained(history);
    let fields: Map<String, Json> = record
        .fields
        .iter()
        .filter(|(_, value)| !value.is_blank())
        .map(|(path, value)| {
            let said = record.provenance.get(path);
            let by = said.map(|said| {
                json!({"connection": said.connection, "external_id": said.external_id,
                    "changed_at": said.changed_at.to_string(), "observed_at": said.observed_at.to_string()})
            });
            let because = why.get(path).map(|change| {
                json!({"version": change.version, "rule": change.reason, "run": change.run.to_string(),
                    "trace": change.trace})
            });
            let value = stored::to_json(value);
            (
                path.to_owned(),
                json!({"value": value, "said_by": by, "because": because}),
            )
        })
        .collect();
    json!({
        "id": record.id.to_string(), "kind": record.kind().name(), "version": record.version,
        "created_at": record.created_at.to_string(), "updated_at": record.updated_at.to_string(),
        "deleted_at": record.deleted_at.map(|at| at.to_string()),
        "merged_into": record.merged_into.map(|into| into.to_string()), "fields": fields,
    })
}

fn link_json(link: &Link) -> Json {
    json!({"connection": link.connection, "object": link.object, "external_id": link.external_id,
        "gone": link.gone, "ignored": link.ignored, "seen_at": link.seen_at.to_string(), "holds": link.wire})
}

/// Who said a change, by which rule; a person by name.
fn by(change: &Change) -> String {
    match change.connection == model::BY_HAND {
        true => format!("{} ({})", change.external_id, change.reason),
        false => format!("{} ({})", change.connection, change.reason),
    }
}

fn change_json(change: &Change) -> Json {
    json!({"version": change.version, "field": change.path, "before": change.before, "after": change.after,
        "reason": change.reason, "connection": change.connection, "external_id": change.external_id,
        "changed_at": change.changed_at.to_string(), "committed_at": change.committed_at.to_string(),
        "run": change.run.to_string(), "trace": change.trace})
}

fn text(record: &Record, links: &[Link], history: &[Change], conflicts: &[Conflict], all: bool) -> String {
    let mut text = format!(
        "{}  version {}, changed {}\n\n",
        record.id, record.version, record.updated_at
    );
    if let Some(into) = record.merged_into {
        let _ = write!(text, "merged into {into}; what it was before:\n\n");
    } else if let Some(at) = record.deleted_at {
        let _ = write!(text, "deleted at {at}; what it was before:\n\n");
    }
    let why = explained(history);
    let row = |(path, value): (&'static str, &model::Value)| {
        let said = record.provenance.get(path);
        let by = said
            .map(|said| format!("{} {}", said.connection, said.external_id))
            .unwrap_or_default();
        let at = said.map(|said| said.changed_at.to_string()).unwrap_or_default();
        let change = why.get(path);
        let rule = change.map(|change| change.reason.clone()).unwrap_or_default();
        let version = change
            .map(|change| change.version.to_string())
            .unwrap_or_default();
        vec![path.to_owned(), format!("{value:?}"), by, at, rule, version]
    };
    let filled = record.fields.iter().filter(|(_, value)| !value.is_blank());
    let rows: Vec<Vec<String>> = filled.map(row).collect();
    text.push_str(&table(
        &["field", "value", "said by", "changed there", "rule", "version"],
        &rows,
    ));
    let row = |link: &Link| {
        let (external_id, left) = sync::object_of(link);
        let state = match (left, link.ignored, link.gone) {
            (true, ..) => "unlinked",
            (_, true, _) => "ignored",
            (_, false, true) => "gone",
            (_, false, false) => "linked",
        };
        vec![
            link.connection.clone(),
            link.object.clone(),
            external_id.to_owned(),
            state.to_owned(),
            link.seen_at.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = links.iter().map(row).collect();
    let _ = write!(
        text,
        "\n\n{}",
        table(&["connection", "object", "id", "state", "seen"], &rows)
    );
    if all {
        let row = |change: &Change| {
            vec![
                change.version.to_string(),
                change.path.clone(),
                format!("{} → {}", change.before, change.after),
                by(change),
                change.changed_at.to_string(),
                change.committed_at.to_string(),
                change.run.to_string(),
            ]
        };
        let rows: Vec<Vec<String>> = history.iter().map(row).collect();
        let head = [
            "version",
            "field",
            "change",
            "by",
            "changed there",
            "observed",
            "run",
        ];
        let _ = write!(text, "\n\n{}", table(&head, &rows));
    }
    for conflict in conflicts.iter().filter(|conflict| all || conflict.is_open()) {
        let _ = write!(text, "\n\n{}", conflict::line(conflict));
    }
    text
}
