//! What a push creates and a pull reads in the same moment is one record.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::held::{Call, Held};
use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::Depth;

/// How long a pull is given to do what it must not: waiting longer finds no more.
const GRACE: Duration = Duration::from_millis(300);

/// Two systems, both read completely; one has a partner that the other is owed.
async fn owed(key: Key) -> (Stage, Shelf, Shelf) {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(key).await);
    let stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    here.put(json!({"name": "Northwind"}));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    (stage, here, there)
}

/// The one partner is at both systems, linked once at each, and nothing is owed.
async fn agreed(stage: &Stage, here: &Shelf, there: &Shelf) {
    let partners = stage.partners().await;
    assert_eq!(partners.len(), 1, "{partners:?}");
    let links = stage.ledger.links(&[partners[0].id]).await.unwrap();
    assert_eq!(links.len(), 2, "{links:?}");
    let engine = stage.node("later", Arc::clone(&stage.ledger));
    for connection in ["here", "there", "here", "there"] {
        engine.pull(connection, "things", Depth::All).await.unwrap();
        engine.push(connection, "things").await.unwrap();
    }
    assert_eq!((here.rows().len(), there.rows().len()), (1, 1));
    assert_eq!(stage.partners().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_created_is_no_stranger_though_it_carries_no_key() {
    let (stage, here, there) = owed(Key::Hidden).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    there.hold_answers();
    let pushing = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.push("there", "things").await }
    });
    there.called("POST", 1).await;
    there.forget_calls();
    let mut pulling = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.pull("there", "things", Depth::Changed).await }
    });
    there.called("GET changes", 1).await;
    let early = tokio::time::timeout(GRACE, &mut pulling).await;
    there.answer();
    assert_eq!(pushing.await.unwrap().unwrap().counts.created_there, 1);
    assert!(
        early.is_err(),
        "it was read before anybody knew whose it is: {early:?}"
    );
    assert_eq!(pulling.await.unwrap().unwrap().counts.created, 0);
    agreed(&stage, &here, &there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_another_node_makes_meanwhile_is_no_other_objects() {
    let (stage, here, there) = owed(Key::Read).await;
    let pusher = stage.node("first", Arc::clone(&stage.ledger));
    let held = Arc::new(Held::over(Arc::clone(&stage.ledger)));
    let puller = stage.node("second", Arc::clone(&held) as Arc<dyn ledger::Ledger>);
    there.hold_answers();
    let pushing = tokio::spawn(async move { pusher.push("there", "things").await });
    there.called("POST", 1).await;
    // The object is there and has no link yet: the other node has looked that up, and is to look at its record.
    held.hold(Call::Links);
    let pulling = tokio::spawn(async move { puller.pull("there", "things", Depth::Changed).await });
    held.called().await;
    there.answer();
    assert_eq!(pushing.await.unwrap().unwrap().counts.created_there, 1);
    held.go_on();
    assert_eq!(pulling.await.unwrap().unwrap().counts.created, 0);
    agreed(&stage, &here, &there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_carries_our_key_is_met_before_its_link_is_made() {
    let (stage, here, there) = owed(Key::Read).await;
    let pusher = stage.node("first", Arc::clone(&stage.ledger));
    let puller = stage.node("second", Arc::clone(&stage.ledger));
    there.hold_answers();
    let pushing = tokio::spawn(async move { pusher.push("there", "things").await });
    there.called("POST", 1).await;
    let report = puller.pull("there", "things", Depth::Changed).await.unwrap();
    assert_eq!((report.counts.created, report.counts.met), (0, 1));
    there.answer();
    pushing.await.unwrap().unwrap();
    agreed(&stage, &here, &there).await;
}
