//! `interconnect status`: what is owed, what ran, what was refused.

use serde_json::{Value as Json, json};

use super::out::table;
use super::{Common, Exit, Out};
use crate::hub;

/// Runs and refusals that are shown.
const SHOWN: usize = 20;

pub(crate) async fn run(common: &Common, out: &Out) -> Exit {
    let ledger = match hub::open_ledger(&common.config, out).await {
        Ok(ledger) => ledger,
        Err(exit) => return exit,
    };
    match show(&*ledger, out).await {
        Ok(()) => Exit::Ok,
        Err(error) => out.fail(&error.to_string()),
    }
}

async fn show(ledger: &dyn ledger::Ledger, out: &Out) -> Result<(), ledger::LedgerError> {
    let owed = ledger.owed().await?;
    let runs = ledger.runs(SHOWN).await?;
    let refusals = ledger.refusals(SHOWN).await?;
    let stopped = ledger.stopped_endpoints().await?;
    let rows = ledger.row_counts().await?;
    let standings = ledger.standings(None).await?;
    let quarantined = ledger.quarantined(None).await?;
    let pushes: Vec<Json> = owed
        .pushes
        .iter()
        .map(|(connection, object, at)| json!({"connection": connection, "object": object, "due_at": at.to_string()}))
        .collect();
    let endpoints: Vec<Json> = owed
        .endpoints
        .iter()
        .map(|(endpoint, at)| json!({"endpoint": endpoint, "due_at": at.to_string()}))
        .collect();
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
        "missing_fields": missing,
        "connections": standings,
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
            "{} objects and {} endpoints are owed something\n\n{}\n\n{}\n\n{}\n\n{}\n\n{}",
            owed.pushes.len(),
            owed.endpoints.len(),
            table(
                &["connection", "account", "since", "stopped because"],
                &standing_rows
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
    Ok(())
}
