//! `interconnect status`: what is owed, what ran, what was refused, what is listened to.

use std::collections::BTreeSet;

use ledger::{ConflictFilter, ConflictState};
use serde_json::{Value as Json, json};

use super::names::is_configured;
use super::out::table;
use super::{Common, Exit, Out};
use crate::catalogue::Catalogue;
use crate::config::{Config, SyncConfig};
use crate::hub;
use crate::listen::Stand;

/// Runs and refusals that are shown.
const SHOWN: usize = 20;

pub(crate) async fn run(common: &Common, out: &Out) -> Exit {
    let (config, catalogue) = match hub::load(&common.config, out) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    let ledger = match ledger::open(&config.ledger, ledger::Settings::default()).await {
        Ok(ledger) => ledger,
        Err(error) => {
            out.fails(&error.to_string());
            return Exit::Usage;
        }
    };
    let (topics, objects) = (topics(&config, &catalogue), objects(&config, &catalogue));
    let known = |endpoint: &str| is_configured(endpoint, &config);
    match show(&*ledger, &topics, &objects, &known, out).await {
        Ok(()) => Exit::Ok,
        Err(error) => out.fail(&error.to_string()),
    }
}

/// Every topic that a connection's system may tell changes by: connection, object, topic.
fn topics(config: &Config, catalogue: &Catalogue) -> Vec<(String, String, String)> {
    let mut topics = Vec::new();
    for (name, connection) in &config.connections {
        let connector = catalogue.connector(&connection.system);
        for (object, topic) in connector.iter().flat_map(|connector| connector.topics()) {
            topics.push((name.clone(), object.to_owned(), topic.to_owned()));
        }
    }
    topics
}

/// Every object that a sync reads or writes: connection, object.
fn objects(config: &Config, catalogue: &Catalogue) -> BTreeSet<(String, String)> {
    let object = |sync: &SyncConfig| {
        let system = &config.connections.get(&sync.connection)?.system;
        let mapping = catalogue.mapping(system, sync.record)?;
        Some((sync.connection.clone(), mapping.object().to_owned()))
    };
    config.syncs.iter().filter_map(object).collect()
}

/// What is stopped, and why: connection, object, reason.
async fn halts(
    ledger: &dyn ledger::Ledger,
    objects: &BTreeSet<(String, String)>,
) -> Result<Vec<[String; 3]>, ledger::LedgerError> {
    let mut halts = Vec::new();
    for (connection, object) in objects {
        if let Some(reason) = sync::halted(ledger, connection, object).await? {
            halts.push([connection.clone(), object.clone(), reason]);
        }
    }
    Ok(halts)
}

/// What was ever listened to: connection, object, since when it stands where it does, and why it is refused.
async fn streams(
    ledger: &dyn ledger::Ledger,
    topics: &[(String, String, String)],
) -> Result<Vec<[String; 4]>, ledger::LedgerError> {
    let mut streams = Vec::new();
    for (connection, object, topic) in topics {
        if let Some(cursor) = ledger.cursor(connection, topic).await? {
            let refused = Stand::of(&cursor).refused;
            let since = cursor.stored_at.to_string();
            streams.push([connection.clone(), object.clone(), since, refused]);
        }
    }
    Ok(streams)
}

async fn show(
    ledger: &dyn ledger::Ledger,
    topics: &[(String, String, String)],
    objects: &BTreeSet<(String, String)>,
    known: &dyn Fn(&str) -> bool,
    out: &Out,
) -> Result<(), ledger::LedgerError> {
    let halts = halts(ledger, objects).await?;
    let streams = streams(ledger, topics).await?;
    let owed = ledger.owed().await?;
    let runs = ledger.runs(SHOWN).await?;
    let refusals = ledger.refusals(SHOWN).await?;
    let stopped: Vec<(String, String)> = ledger
        .endpoint_states(None)
        .await?
        .into_iter()
        .filter_map(|state| Some((state.endpoint, state.stop?.reason)))
        .collect();
    let rows = ledger.row_counts().await?;
    let standings = ledger.standings(None).await?;
    let quarantined = ledger.quarantined(None).await?;
    let open = ConflictFilter {
        state: Some(ConflictState::Open),
        ..ConflictFilter::default()
    };
    let open_conflicts = ledger.count_conflicts(&open).await?;
    let pushes: Vec<Json> = owed
        .pushes
        .iter()
        .map(|(connection, object, at)| json!({"connection": connection, "object": object, "due_at": at.to_string()}))
        .collect();
    let endpoints: Vec<Json> = owed
        .endpoints
        .iter()
        .map(|(endpoint, at)| {
            json!({"endpoint": endpoint, "due_at": at.to_string(), "configured": known(endpoint)})
        })
        .collect();
    let unknown = owed.endpoints.iter().filter(|(endpoint, _)| !known(endpoint));
    let unknown: Vec<&str> = unknown.map(|(endpoint, _)| endpoint.as_str()).collect();
    let run_rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let outcome = if run.error.is_empty() {
                run.counts.to_string()
            } else {
                run.error.clone()
            };
            vec![
                run.started_at.to_string(),
                run.direction.clone(),
                run.connection.clone(),
                run.object.clone(),
                outcome,
            ]
        })
        .collect();
    let refusal_rows: Vec<Vec<String>> = refusals
        .iter()
        .map(|r| {
            vec![
                r.at.to_string(),
                r.addressed_to.clone(),
                r.status.to_string(),
                r.code.clone(),
            ]
        })
        .collect();
    let standing_rows: Vec<Vec<String>> = standings
        .iter()
        .map(|standing| {
            let account = standing.account.clone().unwrap_or_default();
            vec![
                standing.connection.clone(),
                account,
                standing.since.to_string(),
                standing.reason.clone(),
            ]
        })
        .collect();
    let standings: Vec<Json> = standings
        .iter()
        .map(|standing| {
            json!({"connection": standing.connection, "account": standing.account, "code": standing.code,
                "reason": standing.reason, "since": standing.since.to_string()})
        })
        .collect();
    let missing_rows: Vec<Vec<String>> = quarantined
        .iter()
        .map(|q| {
            vec![
                q.connection.clone(),
                q.object.clone(),
                q.field.clone(),
                q.since.to_string(),
                q.reason.clone(),
            ]
        })
        .collect();
    let missing: Vec<Json> = quarantined
        .iter()
        .map(|q| {
            json!({"connection": q.connection, "object": q.object, "field": q.field, "since": q.since.to_string(),
                "reason": q.reason})
        })
        .collect();
    let json = json!({
        "missing_fields": missing, "open_conflicts": open_conflicts,
        "connections": standings,
        "streams": streams.iter().map(|[connection, object, since, refused]| {
            json!({"connection": connection, "object": object, "since": since, "refused": refused})
        }).collect::<Vec<Json>>(),
        "stopped_syncs": halts.iter().map(|[connection, object, reason]| {
            json!({"connection": connection, "object": object, "reason": reason})
        }).collect::<Vec<Json>>(),
        "pushes": pushes, "endpoints": endpoints,
        "runs": run_rows, "refusals": refusal_rows,
        "stopped_endpoints": stopped, "rows": rows.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    });
    out.data(json, || {
        let counts: Vec<Vec<String>> = rows
            .iter()
            .map(|(name, n)| vec![name.clone(), n.to_string()])
            .collect();
        format!(
            "{} objects and {} endpoints are owed something; {open_conflicts} conflicts wait for a decision\n\n{}\n\n{}\n\n{}\n\n{}\n\n{}\n\n{}\n\n{}",
            owed.pushes.len(),
            owed.endpoints.len(),
            table(
                &["connection", "account", "since", "stopped because"],
                &standing_rows
            ),
            table(
                &["connection", "object", "stopped because"],
                &halts.iter().map(|row| row.to_vec()).collect::<Vec<_>>()
            ),
            table(
                &["connection", "listens to", "since", "refused because"],
                &streams.iter().map(|row| row.to_vec()).collect::<Vec<_>>()
            ),
            table(
                &["connection", "object", "missing field", "since", "because"],
                &missing_rows
            ),
            table(&["started", "way", "connection", "object", "outcome"], &run_rows),
            table(&["refused", "addressed to", "status", "code"], &refusal_rows),
            table(&["rows of", "count"], &counts),
        )
    });
    tell_unknown(&unknown, out);
    Ok(())
}

/// Tells of endpoints that are owed something and not configured.
pub(super) fn tell_unknown(endpoints: &[&str], out: &Out) {
    if !endpoints.is_empty() {
        out.note(&format!(
            "not configured, and owed something: {}; it waits until there are endpoints of these names again, or is given up with: \
             interconnect delivery give-up",
            endpoints.join(", ")
        ));
    }
}
