//! What nobody told is found by comparing everything, told by field, and healed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::{Depth, GONE_OBJECT};

#[tokio::test]
async fn drift_is_told_by_field_and_healed_and_then_there_is_none() {
    let shelf = Shelf::start(Key::Read).await;
    let stage = Stage::new(&[("here", &shelf)]).await;
    let ids: Vec<String> = (0..250)
        .map(|number| shelf.put(json!({"name": format!("Partner {number}")})))
        .collect();
    let engine = stage.node("node", Arc::clone(&stage.ledger));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    stage.pass_hours(3);
    shelf.silence();
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    let clean = engine.reconcile("here", "things").await.unwrap();
    assert_eq!((clean.drift.len(), clean.counts.updated), (0, 0), "{clean:?}");
    assert!(clean.counts.calls_backfill >= 3, "{clean:?}");

    // Three that moved no time of change, one that went without a trace.
    shelf.meddle(&ids[3], "note", json!("a"));
    shelf.meddle(&ids[140], "note", json!("b"));
    shelf.meddle(&ids[249], "name", json!("Renamed"));
    shelf.take(&ids[7]);
    let pulled = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(pulled.counts.updated, 0, "nobody tells of it");
    let found = engine.reconcile("here", "things").await.unwrap();
    let expected = [("name", 1), ("note", 2), (GONE_OBJECT, 1)];
    let expected: BTreeMap<String, u64> = expected.map(|(field, number)| (field.to_owned(), number)).into();
    assert_eq!(found.drift, expected);
    assert_eq!((found.counts.updated, found.counts.gone), (3, 1), "it is healed");
    let runs = stage.ledger.runs(9).await.unwrap();
    let run = runs.iter().find(|run| run.direction == "reconcile").unwrap();
    assert_eq!(run.counts["drift"], json!({"name": 1, "note": 2}));

    let again = engine.reconcile("here", "things").await.unwrap();
    assert_eq!(
        (again.drift.len(), again.counts.updated, again.counts.gone),
        (0, 0, 0),
        "{again:?}"
    );
}
