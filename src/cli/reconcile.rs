//! `interconnect sync reconcile`: everything compared once more.

use serde_json::{Value as Json, json};

use super::out::table;
use super::progress::{Far, Progress};
use super::rounds::{asked, explain};
use super::{Exit, Out};
use crate::hub::Hub;

pub(super) async fn run(hub: &Hub, only: Option<&str>, out: &Out) -> Exit {
    let engine = &hub.engine;
    let (mut json, mut rows, mut errors) = (Vec::<Json>::new(), Vec::new(), Vec::new());
    let mut progress = Progress::begin();
    for (connection, object) in asked(engine, only) {
        progress.step(format!("comparing {object} of {connection}"), None);
        let before = engine.read_so_far();
        let far = || Far {
            done: engine.read_so_far() - before,
            of: engine.expected_objects(connection, object),
        };
        let report = match progress.during(engine.reconcile(connection, object), far).await {
            Ok(report) => report,
            Err(error) => {
                errors.push(explain(connection, object, &error));
                continue;
            }
        };
        errors.extend(report.halted.clone());
        json.push(json!({
            "connection": connection, "object": object, "counts": report.counts.to_json(), "drift": report.drift,
        }));
        let drift = report
            .drift
            .iter()
            .map(|(field, number)| format!("{field}: {number}"));
        rows.push(vec![
            connection.to_owned(),
            object.to_owned(),
            report.counts.read.to_string(),
            report.counts.calls.to_string(),
            report.counts.deleted.to_string(),
            drift.collect::<Vec<_>>().join(", "),
        ]);
    }
    progress.end();
    let head = ["connection", "object", "read", "calls", "deleted", "drift"];
    out.data(json!({"data": json, "errors": errors}), || table(&head, &rows));
    errors.iter().for_each(|error| out.fails(error));
    match errors.is_empty() {
        true => Exit::Ok,
        false => Exit::Failed,
    }
}
