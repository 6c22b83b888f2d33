//! A mapping gains a line: everything is read again with it before it is written.

use std::sync::Arc;

use model::merge::Policy;
use serde_json::{Value as Json, json};

use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::{Depth, Engine};

async fn pull(engine: &Engine, connection: &str) {
    engine.pull(connection, "things", Depth::Changed).await.unwrap();
}

async fn push(engine: &Engine, connection: &str) {
    engine.push(connection, "things").await.unwrap();
}

/// The legal names at a system, by name.
fn legal(shelf: &Shelf) -> Vec<(String, Json)> {
    let named = |row: Json| (row["name"].as_str().unwrap().to_owned(), row["legal"].clone());
    let mut all: Vec<_> = shelf.rows().into_iter().map(named).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

#[tokio::test]
async fn what_nobody_has_read_is_not_written_over() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    stage.rule(
        "legal_name",
        Policy::Owner {
            connection: "there".into(),
            unless_blank: true,
        },
    );
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    let northwind = here.put(json!({"name": "Northwind", "legal": "Northwind Ltd"}));
    here.put(json!({"name": "Contoso", "legal": "Contoso Ltd"}));
    for connection in ["here", "there"] {
        pull(&engine, connection).await;
    }
    push(&engine, "there").await;
    pull(&engine, "there").await;
    let made = there
        .rows()
        .into_iter()
        .find(|row| row["name"] == "Northwind")
        .unwrap();
    there.edit(made["id"].as_str().unwrap(), "legal", json!("Northwind GmbH"));
    here.edit(&northwind, "note", json!("met in Berlin"));
    stage.pass_hours(2);
    pull(&engine, "there").await;
    here.silence();
    there.silence();

    stage.longer = true;
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    here.forget_calls();
    pull(&engine, "here").await;
    assert_eq!(here.calls(), ["GET changes"]);
    push(&engine, "there").await;
    let note = |row: &Json| row["note"] == "met in Berlin";
    assert!(there.rows().iter().any(note), "the rest flows");
    let [contoso, northwind] = [("Contoso", Json::Null), ("Northwind", json!("Northwind GmbH"))];
    let expected = [contoso, northwind].map(|(name, legal)| (name.to_owned(), legal));
    assert_eq!(legal(&there), expected);

    // What is known of it by then is written at last, and what they said is heard.
    pull(&engine, "there").await;
    for connection in ["there", "here"] {
        push(&engine, connection).await;
    }
    for shelf in [&here, &there] {
        let expected = [("Contoso", "Contoso Ltd"), ("Northwind", "Northwind GmbH")];
        let expected = expected.map(|(name, legal)| (name.to_owned(), json!(legal)));
        assert_eq!(legal(shelf), expected);
    }
    // That was it: nobody is shown anything who asks for changes only.
    let read = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(read.counts.read, 0);
}

#[tokio::test]
async fn another_node_goes_on_where_the_reading_stopped() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    for number in 0..250 {
        here.put(json!({"name": format!("Partner {number}"), "legal": format!("Partner {number} Ltd")}));
    }
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    for connection in ["here", "there"] {
        pull(&engine, connection).await;
    }
    let record = &stage.partners().await[0];
    assert_eq!(record.fields.text("legal_name"), None);
    here.silence();

    stage.longer = true;
    here.refuse_after(1);
    let second = stage.node("second", Arc::clone(&stage.ledger));
    second.pull("here", "things", Depth::Changed).await.unwrap_err();
    let third = stage.node("third", Arc::clone(&stage.ledger));
    here.forget_calls();
    pull(&third, "here").await;
    assert_eq!(here.calls(), ["GET changes"; 2]);
    let records = stage
        .ledger
        .list_records(model::Kind::Partner, None, 1_000)
        .await
        .unwrap();
    assert!(
        records
            .iter()
            .all(|record| record.fields.text("legal_name").is_some())
    );
    // A line that is taken away and comes back is new again.
    stage.longer = false;
    pull(&stage.node("fourth", Arc::clone(&stage.ledger)), "here").await;
    stage.longer = true;
    here.forget_calls();
    pull(&stage.node("fifth", Arc::clone(&stage.ledger)), "here").await;
    assert_eq!(here.calls(), ["GET changes"; 3]);
}

/// Nobody asks what such an object holds, and what others said in the new field is written there at once.
/// Who writes it next names the version that it has by then, though nothing of it is mapped that changed.
#[tokio::test]
async fn what_changes_in_no_mapped_field_is_known_by_its_new_version() {
    let here = Shelf::start(Key::Read).await;
    let stage = Stage::new(&[("here", &here)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    let id = here.put(json!({"name": "Northwind", "edition": "1"}));
    pull(&engine, "here").await;
    here.edit(&id, "edition", json!("2"));
    let read = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!((read.counts.read, read.counts.unchanged), (1, 1));
    let linked = stage.ledger.linked("here", "things", &[id]).await.unwrap();
    assert_eq!(linked[0].link.external_version.as_deref(), Some("2"));
    assert_eq!(linked[0].record.version, 1);
}

/// While nodes are replaced one by one, those with the mappings of before settle nothing that others owe.
#[tokio::test]
async fn what_a_longer_mapping_owes_is_not_settled_with_a_shorter_one() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let first = stage.node("first", Arc::clone(&stage.ledger));
    let northwind = here.put(json!({"name": "Northwind", "legal": "Northwind Ltd"}));
    for connection in ["here", "there"] {
        pull(&first, connection).await;
    }
    push(&first, "there").await;
    pull(&first, "there").await;
    assert_eq!(legal(&there), [("Northwind".to_owned(), Json::Null)]);

    stage.longer = true;
    let second = stage.node("second", Arc::clone(&stage.ledger));
    for connection in ["there", "here"] {
        pull(&second, connection).await;
    }
    push(&first, "there").await;
    assert_eq!(legal(&there), [("Northwind".to_owned(), Json::Null)]);
    push(&second, "there").await;
    assert_eq!(legal(&there), [("Northwind".to_owned(), json!("Northwind Ltd"))]);

    // Where the shorter one is the one that is meant, it goes on when it has read.
    here.edit(&northwind, "note", json!("met in Berlin"));
    for connection in ["here", "there"] {
        pull(&first, connection).await;
    }
    push(&first, "there").await;
    assert_eq!(there.rows()[0]["note"], "met in Berlin");
    assert_eq!(there.rows()[0]["legal"], "Northwind Ltd");
}

#[tokio::test]
async fn an_object_that_is_only_written_is_owed_what_its_mapping_has_gained() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    stage.unread = Some("there");
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    for name in ["Contoso", "Northwind"] {
        here.put(json!({"name": name, "legal": format!("{name} Ltd")}));
    }
    pull(&engine, "here").await;
    push(&engine, "there").await;
    there.forget_calls();
    push(&engine, "there").await;
    assert_eq!(there.calls(), [""; 0]);

    stage.longer = true;
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    pull(&engine, "here").await;
    pull(&engine, "here").await;
    push(&engine, "there").await;
    let expected = [("Contoso", "Contoso Ltd"), ("Northwind", "Northwind Ltd")];
    assert_eq!(
        legal(&there),
        expected.map(|(name, legal)| (name.to_owned(), json!(legal)))
    );
    there.forget_calls();
    push(&engine, "there").await;
    assert_eq!(there.calls(), [""; 0]);
}

/// So is what was said in it before it was mapped there.
#[tokio::test]
async fn what_others_said_long_ago_is_owed_where_the_mapping_gains_it() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    stage.unread = Some("there");
    stage.longer = true;
    stage.shorter_at = Some("there");
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    here.put(json!({"name": "Contoso", "legal": "Contoso Ltd"}));
    pull(&engine, "here").await;
    push(&engine, "there").await;
    assert_eq!(legal(&there), [("Contoso".to_owned(), Json::Null)]);

    stage.shorter_at = None;
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    push(&engine, "there").await;
    assert_eq!(legal(&there), [("Contoso".to_owned(), json!("Contoso Ltd"))]);
}
