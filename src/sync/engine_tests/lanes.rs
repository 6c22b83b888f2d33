//! Who has much to do lets those pass who have little: six tenths of the quota are used, and half is for what can wait.

use std::sync::Arc;

use serde_json::json;

use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::Depth;

fn calls(shelf: &Shelf, call: &str) -> usize {
    shelf.calls().iter().filter(|c| *c == call).count()
}

fn fill(shelf: &Shelf, rows: usize) {
    for number in 1..=rows {
        shelf.put(json!({"name": format!("Partner {number}")}));
    }
}

#[tokio::test]
async fn a_pull_of_more_than_five_pages_waits_with_the_others_that_can() {
    let shelf = Shelf::start(Key::Read).await;
    let stage = Stage::new(&[("here", &shelf)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    fill(&shelf, 720);
    shelf.tell_used(600);
    shelf.forget_calls();
    let error = engine.pull("here", "things", Depth::Changed).await.unwrap_err();
    assert!(error.to_string().contains("daily"), "{error}");
    assert_eq!(calls(&shelf, "GET changes"), 5);
    // The next one goes on, with five pages of its own.
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!((report.counts.created, stage.partners().await.len()), (220, 100));
}

#[tokio::test]
async fn a_push_of_more_than_five_batches_waits_with_the_others_that_can() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    fill(&here, 7);
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    there.tell_used(600);
    there.forget_calls();
    let error = engine.push("there", "things").await.unwrap_err();
    assert!(error.to_string().contains("daily"), "{error}");
    assert_eq!(calls(&there, "POST"), 5, "one a batch");
}
