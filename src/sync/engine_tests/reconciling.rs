//! What nobody told is found by comparing everything, told by field, and healed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::{Depth, Engine, GONE_OBJECT, SyncError, reconciled};

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

#[tokio::test]
async fn it_is_done_when_it_is_due_and_goes_on_where_it_was_interrupted() {
    let shelf = Shelf::start(Key::Read).await;
    let stage = Stage::new(&[("here", &shelf)]).await;
    let ids: Vec<String> = (0..2_500)
        .map(|number| shelf.put(json!({"name": format!("Partner {number}")})))
        .collect();
    let day = Duration::from_secs(86_400);
    let node = || stage.node("node", Arc::clone(&stage.ledger));
    let engine = node();
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    let last = async || reconciled(&*stage.ledger, "here", "things").await.unwrap();
    let due = async |engine: &Engine| engine.reconcile_when_due("here", "things", day).await;

    // The first one is due in a day, whoever asks.
    let (report, next) = due(&engine).await.unwrap();
    assert_eq!((report.counts.read, last().await), (0, None));
    let (report, again) = due(&node()).await.unwrap();
    assert_eq!((report.counts.read, (next - again).get_seconds()), (0, 0));
    stage.pass_hours(25);
    shelf.silence();
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    shelf.meddle(&ids[2], "note", json!("nobody told"));

    // The second slice of it is refused.
    shelf.forget_calls();
    shelf.refuse_after(1 + 21);
    assert!(due(&engine).await.is_err());
    let interrupted = changes(&shelf);
    assert_eq!(last().await, None);
    shelf.forget_calls();
    let (report, next) = due(&node()).await.unwrap();
    assert!(
        changes(&shelf) < interrupted,
        "{} pages, {interrupted} before that",
        changes(&shelf)
    );
    assert_eq!(
        report.drift,
        BTreeMap::from([("note".to_owned(), 1)]),
        "found by the first slice"
    );
    let told = last().await.unwrap();
    assert_eq!(told.drift, report.drift);
    assert!(next > told.at);

    // Not again before its time, and then it finds nothing.
    shelf.forget_calls();
    due(&node()).await.unwrap();
    assert_eq!(shelf.calls(), Vec::<String>::new());
    stage.pass_hours(25);
    due(&engine).await.unwrap();
    assert_eq!(last().await.unwrap().drift, BTreeMap::new());
}

#[tokio::test]
async fn of_two_nodes_that_find_it_due_at_once_one_does_it() {
    let shelf = Shelf::start(Key::Read).await;
    let stage = Stage::new(&[("here", &shelf)]).await;
    shelf.put(json!({"name": "Northwind"}));
    let (one, other) = (
        stage.node("one", Arc::clone(&stage.ledger)),
        stage.node("other", Arc::clone(&stage.ledger)),
    );
    one.pull("here", "things", Depth::Changed).await.unwrap();
    let day = Duration::from_secs(86_400);
    let due = async |engine: &Engine| engine.reconcile_when_due("here", "things", day).await;
    due(&one).await.unwrap();
    stage.pass_hours(25);
    let both = tokio::join!(due(&one), due(&other));
    assert!(
        matches!(
            &both,
            (Ok(_), Err(SyncError::Taken)) | (Err(SyncError::Taken), Ok(_))
        ),
        "{both:?}"
    );
    // Who came too late finds it done.
    shelf.forget_calls();
    due(&one).await.unwrap();
    due(&other).await.unwrap();
    assert_eq!(shelf.calls(), Vec::<String>::new());
}

fn changes(shelf: &Shelf) -> usize {
    shelf.calls().iter().filter(|call| *call == "GET changes").count()
}
