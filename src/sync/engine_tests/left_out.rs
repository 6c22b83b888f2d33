//! What a system was not written, because its manifest leaves it out, is not agreed on with it.

use std::sync::Arc;

use serde_json::json;

use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::Depth;

#[tokio::test]
async fn the_old_value_of_what_was_left_out_is_no_change_of_theirs() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    there.keeps_notes();
    let stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    let id = here.put(json!({"name": "Northwind", "note": "first"}));
    let both_ways = || async {
        for connection in ["here", "there", "here", "there"] {
            engine.pull(connection, "things", Depth::All).await.unwrap();
            engine.push(connection, "things").await.unwrap();
        }
        let partner = stage.partners().await.remove(0).fields;
        let of = |shelf: &Shelf| shelf.rows()[0]["note"].clone();
        let record = partner.text("description").map(str::to_owned);
        (
            record,
            of(&here),
            of(&there),
            partner.text("display_name").map(str::to_owned),
        )
    };
    let words = |record: &str, here: &str, there: &str, name: &str| {
        (
            Some(record.to_owned()),
            json!(here),
            json!(there),
            Some(name.to_owned()),
        )
    };
    assert_eq!(both_ways().await, words("first", "first", "first", "Northwind"));

    // Alone, and beside a field that is written.
    here.edit(&id, "note", json!("second"));
    assert_eq!(both_ways().await, words("second", "second", "first", "Northwind"));
    here.edit(&id, "note", json!("third"));
    here.edit(&id, "name", json!("Northwind Traders"));
    assert_eq!(
        both_ways().await,
        words("third", "third", "first", "Northwind Traders")
    );
    assert_eq!(there.rows()[0]["name"], "Northwind Traders");

    // And nothing goes on writing it.
    there.forget_calls();
    both_ways().await;
    assert!(
        there.calls().iter().all(|call| call.starts_with("GET")),
        "{:?}",
        there.calls()
    );
}

#[tokio::test]
async fn what_made_no_sense_and_is_cleared_then_is_cleared_everywhere() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    let id = here.put(json!({"name": "Northwind", "domain": "northwind.example"}));
    let both_ways = || async {
        for connection in ["here", "there", "here", "there"] {
            engine.pull(connection, "things", Depth::All).await.unwrap();
            engine.push(connection, "things").await.unwrap();
        }
        let of = |shelf: &Shelf| shelf.rows()[0]["domain"].clone();
        (of(&here), of(&there))
    };
    let agreed = json!("northwind.example");
    assert_eq!(both_ways().await, (agreed.clone(), agreed.clone()));
    here.edit(&id, "domain", json!("ask them"));
    assert_eq!(both_ways().await, (json!("ask them"), agreed.clone()));
    // What is written there meanwhile says nothing about it.
    let other = there.rows()[0]["id"].as_str().unwrap().to_owned();
    there.edit(&other, "note", json!("call back"));
    assert_eq!(both_ways().await, (json!("ask them"), agreed));
    assert_eq!(here.rows()[0]["note"], json!("call back"));
    here.edit(&id, "domain", json!(null));
    assert_eq!(both_ways().await, (json!(null), json!(null)));
}
