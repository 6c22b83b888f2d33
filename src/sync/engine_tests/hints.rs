//! What a hint names is read by its id, at once.

use std::sync::Arc;

use connector::Hint;
use serde_json::json;

use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::{Depth, Engine};

pub(crate) fn hint(id: &str, op: &str) -> Hint {
    Hint {
        object: "things".to_owned(),
        id: id.to_owned(),
        op: op.to_owned(),
        tenant: None,
        origin: None,
        occurred: None,
        dedupe: None,
        merged_from: Vec::new(),
    }
}

/// A system with two partners, read completely; its calls so far are forgotten.
async fn read() -> (Stage, Shelf, Arc<Engine>) {
    let shelf = Shelf::start(Key::Read).await;
    let stage = Stage::new(&[("here", &shelf)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    shelf.put(json!({"name": "Northwind"}));
    shelf.put(json!({"name": "Contoso"}));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    shelf.forget_calls();
    (stage, shelf, engine)
}

#[tokio::test]
async fn what_is_named_is_read_by_its_id_and_nothing_else_is_asked() {
    let (_stage, shelf, engine) = read().await;
    shelf.edit("T1", "note", json!("news"));
    let new = shelf.put(json!({"name": "Fabrikam"}));
    assert!(engine.hint("here", &hint("T1", "update"), "t"));
    assert!(engine.hint("here", &hint(&new, "create"), "t"));
    let report = engine.pull("here", "things", Depth::Named).await.unwrap();
    assert_eq!(
        (report.counts.read, report.counts.updated, report.counts.created),
        (2, 1, 1)
    );
    assert_eq!(shelf.calls(), ["GET ids"]);
    // Once read, they are named no more; then only the cursor knows.
    let report = engine.pull("here", "things", Depth::Named).await.unwrap();
    assert_eq!((report.counts.read, report.counts.unchanged), (3, 3));
    assert_eq!(shelf.calls(), ["GET ids", "GET changes"]);
}

#[tokio::test]
async fn a_hint_without_a_name_lets_the_cursor_read_on() {
    let (_stage, shelf, engine) = read().await;
    engine.hint("here", &hint("T1", "update"), "t");
    engine.hint("here", &hint("", "update"), "t");
    engine.pull("here", "things", Depth::Named).await.unwrap();
    assert_eq!(shelf.calls(), ["GET ids", "GET changes"]);
    let elsewhere = Hint {
        object: "others".to_owned(),
        ..hint("T1", "update")
    };
    assert!(!engine.hint("here", &elsewhere, "t"), "no sync wants them");
}

#[tokio::test]
async fn only_what_is_said_to_be_gone_and_does_not_answer_is_gone() {
    let (stage, shelf, engine) = read().await;
    // The first is there again, the second is invisible for a moment.
    engine.hint("here", &hint("T1", "delete"), "t");
    shelf.take("T2");
    engine.hint("here", &hint("T2", "update"), "t");
    let report = engine.pull("here", "things", Depth::Named).await.unwrap();
    assert_eq!(report.counts.gone, 0);
    engine.hint("here", &hint("T2", "delete"), "t");
    let report = engine.pull("here", "things", Depth::Named).await.unwrap();
    assert_eq!(report.counts.gone, 1);
    assert_eq!(stage.links("Contoso").await, [("here".into(), "T2".into(), true)]);
    assert_eq!(
        stage.links("Northwind").await,
        [("here".into(), "T1".into(), false)]
    );
}

#[tokio::test]
async fn what_could_not_be_read_is_named_again() {
    let (_stage, shelf, engine) = read().await;
    shelf.edit("T1", "note", json!("news"));
    engine.hint("here", &hint("T1", "update"), "t");
    shelf.be_unwell(true);
    engine.pull("here", "things", Depth::Named).await.unwrap_err();
    shelf.be_unwell(false);
    let report = engine.pull("here", "things", Depth::Named).await.unwrap();
    assert_eq!(report.counts.updated, 1);
    assert_eq!(shelf.calls(), ["GET ids"]);
}

#[tokio::test]
async fn what_cannot_be_read_by_its_id_is_left_to_the_cursor() {
    let (stage, shelf, engine) = read().await;
    stage.pass_hours(1);
    shelf.edit("T1", "note", json!("news"));
    engine.hint("here", &hint("T1", "update"), "t");
    shelf.refuse_after(0);
    let report = engine.pull("here", "things", Depth::Named).await.unwrap();
    assert_eq!(report.counts.updated, 1);
    assert_eq!(shelf.calls(), ["GET changes"]);
}
