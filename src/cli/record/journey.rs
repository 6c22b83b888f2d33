//! `interconnect record journey`: what brought a change, and where it went.

use std::fmt::Write as _;

use ledger::{Delivery, Ledger};
use serde_json::{Value as Json, json};
use sync::{Journey, Stop, Which, journeys};

use super::{change_json, find};
use crate::cli::out::table;
use crate::cli::{Exit, Out};

pub(super) async fn run(ledger: &dyn Ledger, id: &str, which: &Which, out: &Out) -> Result<Exit, String> {
    let Some(record) = find(ledger, id).await? else {
        return Ok(out.fail(&format!(
            "there is no record `{id}`; list them with `interconnect record list deal`"
        )));
    };
    let found = journeys(ledger, record.id, which)
        .await
        .map_err(|error| error.to_string())?;
    if found.is_empty() {
        let what = match which {
            Which::Last => "no change".to_owned(),
            Which::Version(version) => format!("no version {version}"),
            Which::Trace(trace) => format!("no change that came with {trace}"),
        };
        return Ok(out.fail(&format!(
            "{} has {what}; see `interconnect record show {} --history`",
            record.id, record.id
        )));
    }
    let json: Vec<Json> = found.iter().map(document).collect();
    out.data(json!({"data": json}), || {
        let told: Vec<String> = found.iter().map(text).collect();
        told.join("\n\n")
    });
    Ok(Exit::Ok)
}

fn document(journey: &Journey) -> Json {
    let event = journey.event.as_ref().map(|(id, deliveries)| {
        let deliveries: Vec<Json> = deliveries.iter().map(delivery).collect();
        json!({"id": id.to_string(), "deliveries": deliveries})
    });
    let changes: Vec<Json> = journey.changes.iter().map(change_json).collect();
    let stops: Vec<Json> = journey.stops.iter().map(stop).collect();
    json!({"record": journey.record.to_string(), "version": journey.version, "trace": journey.trace,
        "changes": changes, "event": event, "systems": stops})
}

fn delivery(delivery: &Delivery) -> Json {
    json!({"id": delivery.id.to_string(), "endpoint": delivery.endpoint, "state": delivery.state.word(),
        "attempts": delivery.attempts})
}

fn stop(stop: &Stop) -> Json {
    let writes = stop.writes.iter().map(|write| {
        json!({"at": write.at.to_string(), "version": write.version, "outcome": write.outcome.word(),
            "detail": write.detail, "run": write.run.to_string()})
    });
    let writes: Vec<Json> = writes.collect();
    json!({"connection": stop.connection, "object": stop.object, "external_id": stop.external_id,
        "state": stop.end.word(), "from_version": stop.before, "writes": writes})
}

fn text(journey: &Journey) -> String {
    let mut text = format!("{}  version {}", journey.record, journey.version);
    if !journey.trace.is_empty() {
        let _ = write!(text, ", trace {}", journey.trace);
    }
    if let Some(first) = journey.changes.first() {
        let _ = write!(
            text,
            "\narrived from {} {} at {}, {}",
            first.connection, first.external_id, first.committed_at, first.run
        );
    }
    let rows = journey.changes.iter().map(|change| {
        vec![
            change.path.clone(),
            format!("{} → {}", change.before, change.after),
            change.reason.clone(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let _ = write!(text, "\n\n{}", table(&["field", "change", "rule"], &rows));
    let rows: Vec<Vec<String>> = journey.stops.iter().map(row).collect();
    let _ = write!(
        text,
        "\n\n{}",
        table(&["system", "id", "", "when", "run", "said"], &rows)
    );
    if let Some((id, deliveries)) = &journey.event {
        let rows = deliveries
            .iter()
            .map(|delivery| vec![delivery.endpoint.clone(), delivery.state.word().to_owned()]);
        let rows: Vec<Vec<String>> = rows.collect();
        let _ = write!(text, "\n\nevent {id}");
        if !rows.is_empty() {
            let _ = write!(text, "\n\n{}", table(&["endpoint", ""], &rows));
        }
    }
    text
}

fn row(stop: &Stop) -> Vec<String> {
    let last = stop.writes.last();
    let state = match stop.end.word() {
        "nothing" => "nothing to write",
        word => word,
    };
    vec![
        format!("{}/{}", stop.connection, stop.object),
        stop.external_id.clone(),
        state.to_owned(),
        last.map(|write| write.at.to_string()).unwrap_or_default(),
        last.map(|write| write.run.to_string()).unwrap_or_default(),
        last.map(|write| write.detail.clone()).unwrap_or_default(),
    ]
}
