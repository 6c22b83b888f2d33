//! What a person of a system makes one.

use std::sync::Arc;

use ledger::ParkedFilter;
use serde_json::json;

use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::{Depth, Engine};

async fn read(names: &[&str]) -> (Stage, Shelf, Arc<Engine>) {
    let shelf = Shelf::start(Key::Read).await;
    let stage = Stage::new(&[("here", &shelf)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    for name in names {
        shelf.put(json!({"name": name}));
    }
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    (stage, shelf, engine)
}

#[tokio::test]
async fn a_link_moves_to_the_object_that_stands_for_both_now() {
    let (stage, shelf, engine) = read(&["Northwind"]).await;
    shelf.take("T1");
    let new = shelf.put(json!({"name": "Northwind", "note": "of two", "was": ["T1"]}));
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!((report.counts.created, report.counts.updated), (0, 1));
    assert_eq!(stage.links("Northwind").await, [("here".into(), new, false)]);
    let partners = stage.partners().await;
    assert_eq!(partners.len(), 1);
    assert_eq!(partners[0].fields.text("description"), Some("of two"));
}

#[tokio::test]
async fn a_deleted_row_says_what_it_has_become() {
    let (stage, shelf, engine) = read(&["Northwind"]).await;
    let kept = shelf.put(json!({"name": "Northwind Traders"}));
    shelf.edit("T1", "deleted", json!(true));
    shelf.edit("T1", "into", json!(kept));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(stage.partners().await.len(), 1);
    assert_eq!(
        stage.links("Northwind Traders").await,
        [("here".into(), kept, false)]
    );
    // Told again, it changes nothing.
    let report = engine.pull("here", "things", Depth::All).await.unwrap();
    assert!(!report.counts.changed_anything(), "{report:?}");
}

#[tokio::test]
async fn what_became_another_is_no_stranger_though_its_row_stays() {
    let (stage, shelf, engine) = read(&["Northwind"]).await;
    let kept = shelf.put(json!({"name": "Northwind Traders"}));
    shelf.edit("T1", "into", json!(kept));
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(report.counts.created, 0);
    assert_eq!(
        stage.links("Northwind Traders").await,
        [("here".into(), kept, false)]
    );
}

#[tokio::test]
async fn two_records_for_one_object_wait_for_a_person() {
    let (stage, shelf, engine) = read(&["Northwind", "Contoso"]).await;
    shelf.edit("T1", "deleted", json!(true));
    shelf.edit("T1", "into", json!("T2"));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(
        stage.links("Northwind").await,
        [("here".into(), "T1".into(), true)]
    );
    assert_eq!(
        stage.links("Contoso").await,
        [("here".into(), "T2".into(), false)]
    );
    let parked = stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap();
    let [parked] = parked.as_slice() else {
        panic!("{parked:?}")
    };
    assert_eq!((parked.key.as_str(), parked.code.as_str()), ("T1", "merged"));
    assert!(
        parked.reason.starts_with("it was merged into T2, which is ptn_"),
        "{}",
        parked.reason
    );
}

/// What was written there before the merge was heard of names an object that is no more.
#[tokio::test]
async fn what_refers_to_the_one_that_is_no_more_is_written_again() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    stage.deals = true;
    let engine = stage.node("first", stage.ledger.clone());
    let [first, other] = ["Northwind", "Contoso"].map(|name| here.put(json!({"name": name})));
    let deal = here.put(json!({"name": "Rollout", "stage": "prospect", "partner": first}));
    for connection in ["there", "here"] {
        engine.pull(connection, "things", Depth::Changed).await.unwrap();
    }
    for _ in 0..2 {
        engine.push("there", "things").await.unwrap();
        stage.pass_hours(1);
    }
    let named = || there.rows()[2]["partner"].clone();
    assert_eq!(named(), json!("T1"));

    let kept = there.put(json!({"name": "Contoso"}));
    there.edit("T2", "deleted", json!(true));
    there.edit("T2", "into", json!(kept));
    here.edit(&deal, "partner", json!(other));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    engine.push("there", "things").await.unwrap();
    assert_eq!(named(), json!("T2"));

    engine.pull("there", "things", Depth::Changed).await.unwrap();
    engine.push("there", "things").await.unwrap();
    assert_eq!(named(), json!(kept));
}
