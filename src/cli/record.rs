//! `interconnect record`: records, and who said each of their values.

use std::fmt::Write as _;

use clap::Subcommand;
use ledger::{Change, Conflict, ConflictFilter, Link};
use model::{Kind, Record, RecordId, stored};
use serde_json::{Map, Value as Json, json};

use super::out::table;
use super::{Common, Exit, Out, conflict};
use crate::hub;

/// Conflicts of one record that are shown.
const CONFLICTS_MAX: usize = 1_000;

/// What to do with records.
#[derive(Subcommand)]
pub(crate) enum RecordCommand {
    /// One record: its values, who said each, its copies at the systems, its history.
    #[command(after_help = "Example:\n  interconnect record show dea_01h455vb4pex5vsknk084sn02q")]
    Show {
        /// The record's id, or an object's id as connection/object/id.
        id: String,
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
}

pub(crate) async fn run(command: &RecordCommand, common: &Common, out: &Out) -> Exit {
    let ledger = match hub::open_ledger(&common.config, out).await {
        Ok(ledger) => ledger,
        Err(exit) => return exit,
    };
    let done = match command {
        RecordCommand::Show { id } => show(&*ledger, id, out).await,
        RecordCommand::List { kind, limit, after } => {
            list(&*ledger, kind, usize::from(*limit), after.as_deref(), out).await
        }
    };
    done.unwrap_or_else(|error| out.fail(&error))
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
    let json: Vec<Json> = records.iter().map(document).collect();
    out.data(json!({"data": json}), || {
        let row = |record: &Record| {
            let title = ["name", "display_name", "company.name"]
                .iter()
                .find_map(|p| record.fields.text(p));
            let state = ["stage", "status"]
                .iter()
                .find_map(|path| record.fields.text(path));
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

async fn show(ledger: &dyn ledger::Ledger, id: &str, out: &Out) -> Result<Exit, String> {
    let Some(record) = find(ledger, id).await? else {
        return Ok(out.fail(&format!(
            "there is no record `{id}`; list them with `interconnect record list deal`"
        )));
    };
    let fails = |error: ledger::LedgerError| error.to_string();
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
    let mut json = document(&record);
    if let Json::Object(map) = &mut json {
        map.insert("links".into(), links.iter().map(link_json).collect());
        map.insert("history".into(), history.iter().map(change_json).collect());
        map.insert(
            "conflicts".into(),
            conflicts.iter().map(conflict::document).collect(),
        );
    }
    out.data(json, || text(&record, &links, &history, &conflicts));
    Ok(Exit::Ok)
}

async fn find(ledger: &dyn ledger::Ledger, id: &str) -> Result<Option<Record>, String> {
    let fails = |error: ledger::LedgerError| error.to_string();
    if let [connection, object, external] = id.splitn(3, '/').collect::<Vec<_>>().as_slice() {
        let linked = ledger
            .linked(connection, object, &[(*external).to_owned()])
            .await
            .map_err(fails)?;
        return Ok(linked.into_iter().next().map(|linked| linked.record));
    }
    let id: RecordId = id
        .parse()
        .map_err(|error: model::NotARecordId| error.to_string())?;
    Ok(ledger.records(&[id]).await.map_err(fails)?.into_iter().next())
}

fn document(record: &Record) -> Json {
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
            (
                path.to_owned(),
                json!({"value": stored::to_json(value), "said_by": by}),
            )
        })
        .collect();
    json!({
        "id": record.id.to_string(), "kind": record.kind().name(), "version": record.version,
        "created_at": record.created_at.to_string(), "updated_at": record.updated_at.to_string(),
        "deleted_at": record.deleted_at.map(|at| at.to_string()), "fields": fields,
    })
}

fn link_json(link: &Link) -> Json {
    json!({"connection": link.connection, "object": link.object, "external_id": link.external_id,
        "gone": link.gone, "seen_at": link.seen_at.to_string(), "holds": link.wire})
}

fn change_json(change: &Change) -> Json {
    json!({"version": change.version, "field": change.path, "before": change.before, "after": change.after,
        "reason": change.reason, "connection": change.connection, "external_id": change.external_id,
        "changed_at": change.changed_at.to_string(), "run": change.run.to_string()})
}

fn text(record: &Record, links: &[Link], history: &[Change], conflicts: &[Conflict]) -> String {
    let mut text = format!(
        "{}  version {}, changed {}\n\n",
        record.id, record.version, record.updated_at
    );
    let row = |(path, value): (&'static str, &model::Value)| {
        let said = record.provenance.get(path);
        let by = said
            .map(|said| format!("{} {}", said.connection, said.external_id))
            .unwrap_or_default();
        let at = said.map(|said| said.changed_at.to_string()).unwrap_or_default();
        vec![path.to_owned(), format!("{value:?}"), by, at]
    };
    let filled = record.fields.iter().filter(|(_, value)| !value.is_blank());
    let rows: Vec<Vec<String>> = filled.map(row).collect();
    text.push_str(&table(&["field", "value", "said by", "changed there"], &rows));
    let row = |link: &Link| {
        let state = if link.gone { "gone" } else { "linked" };
        vec![
            link.connection.clone(),
            link.object.clone(),
            link.external_id.clone(),
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
    let row = |change: &Change| {
        vec![
            change.version.to_string(),
            change.path.clone(),
            format!("{} → {}", change.before, change.after),
            format!("{} ({})", change.connection, change.reason),
            change.changed_at.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = history.iter().map(row).collect();
    let _ = write!(
        text,
        "\n\n{}",
        table(&["version", "field", "change", "by", "changed there"], &rows)
    );
    for conflict in conflicts {
        let _ = write!(text, "\n\n{}", conflict::line(conflict));
    }
    text
}
