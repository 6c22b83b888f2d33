//! What was written by somebody who died before they heard of it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::shelf::{Key, Shelf};
use super::stage::{COUNTS, Stage, makes_unheard, was_sent};
use crate::{Depth, Engine};

/// A note that the first node wrote before it died, and that people take back before anybody hears of it, so many hours
/// later; they change what else they like.
async fn taken_back(besides: &str, value: Json, hours: i64) {
    let (stage, [here, there], [id, made]) = Stage::knowing().await;
    let engine = stage.node("second", stage.ledger.clone());
    // The first node writes, it takes effect, and the node dies.
    here.edit(&id, "note", json!("call back"));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    was_sent(
        &stage,
        "2026-11-26T08:00:00Z",
        json!({"note": "call back"}),
        false,
    )
    .await;
    there.edit(&made, "note", json!("call back"));

    stage.pass_hours(hours);
    // Until the second one comes, people have taken it back: as far as it knows there is nothing to write.
    here.edit(&id, "note", Json::Null);
    here.edit(&id, besides, value);
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    for _ in 0..3 {
        for connection in ["there", "here"] {
            engine.push(connection, "things").await.unwrap();
            engine.pull(connection, "things", Depth::Changed).await.unwrap();
        }
        stage.pass_hours(1);
    }
    assert_eq!(
        (&here.rows()[0]["note"], &there.rows()[0]["note"]),
        (&Json::Null, &Json::Null)
    );
    // It is forgotten when it cannot arrive any more.
    assert_eq!(
        stage
            .ledger
            .pushes("there", "things", Timestamp::MAX, 10)
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn what_was_taken_back_meanwhile_is_no_change_of_theirs_when_it_arrives() {
    taken_back("note", Json::Null, 0).await;
}

/// What is written in its place says nothing about it, at a system that heeds no versions.
#[tokio::test]
async fn what_was_taken_back_is_no_change_of_theirs_when_something_else_is_written() {
    taken_back("name", json!("Northwind Traders"), 0).await;
}

/// Nor when nothing can arrive any more: it may be there since, and nobody has looked.
#[tokio::test]
async fn what_was_taken_back_is_no_change_of_theirs_when_something_else_is_written_much_later() {
    taken_back("name", json!("Northwind Traders"), 1).await;
}

/// What the hub could not even send, for its share of a quota was spent, is nothing that it has said.
#[tokio::test]
async fn whoever_says_what_was_never_sent_is_not_taken_for_us() {
    let (stage, [here, there], [id, made]) = Stage::knowing().await;
    let engine = stage.node("second", stage.ledger.clone());
    here.edit(&id, "note", json!("call back"));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    there.tell_used(990);
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    let refused = engine.push("there", "things").await.unwrap_err();
    assert!(refused.to_string().contains("daily"), "{refused}");
    assert_eq!(there.rows()[0]["note"], Json::Null);

    // People here think better of it, and later others write there what was to be written.
    here.edit(&id, "note", json!("wait"));
    for note in ["soon", "now", "call back"] {
        there.edit(&made, "note", json!(note));
    }
    there.tell_used(10);
    stage.pass_hours(1);
    for _ in 0..2 {
        for connection in ["here", "there"] {
            engine.pull(connection, "things", Depth::Changed).await.unwrap();
            engine.push(connection, "things").await.unwrap();
        }
    }
    assert_eq!(
        (&here.rows()[0]["note"], &there.rows()[0]["note"]),
        (&json!("call back"), &json!("call back"))
    );
}

/// Lines that we took out after we had written them unheard are no additions of theirs; what a person added is.
#[tokio::test]
async fn what_was_taken_out_of_a_set_is_not_added_again() {
    let deal = json!({"name": "Rollout", "stage": "prospect", "lines": ["a"]});
    let (stage, [here, there], engine, _, deal) = Stage::with_a_deal(&["Northwind"], deal).await;

    here.edit(&deal, "lines", json!(["a", "b"]));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    was_sent(
        &stage,
        "2026-11-26T11:00:00Z",
        json!({"lines": ["a", "b"]}),
        false,
    )
    .await;
    there.edit("T2", "lines", json!(["a", "b", "c"]));
    here.edit(&deal, "lines", json!(["a"]));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    for _ in 0..3 {
        for connection in ["there", "here"] {
            engine.pull(connection, "things", Depth::Changed).await.unwrap();
            engine.push(connection, "things").await.unwrap();
        }
        stage.pass_hours(1);
    }
    let lines = |shelf: &Shelf| shelf.rows()[1]["lines"].clone();
    assert_eq!(
        (lines(&here), lines(&there)),
        (json!(["a", "c"]), json!(["a", "c"]))
    );
}

#[tokio::test]
async fn what_was_edited_since_it_was_made_unheard_is_not_written_over() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let first = stage.node("first", stage.ledger.clone());
    here.put(json!({"name": "Northwind"}));
    for connection in ["here", "there"] {
        first.pull(connection, "things", Depth::Changed).await.unwrap();
    }

    // The first node makes it there, and dies before it hears of it.
    makes_unheard(first, &there).await;
    let made = there.rows()[0]["id"].as_str().unwrap().to_owned();
    there.edit(&made, "name", json!("Northwind Ltd"));

    // What people have made of it meanwhile is in no listing yet when the second one comes.
    there.list_only(0);
    stage.pass_hours(1);
    let second = stage.node("second", stage.ledger.clone());
    there.forget_calls();
    second.push("there", "things").await.unwrap();
    // It is there, so nothing of it can arrive any more, and it need not be looked at again.
    assert_eq!(there.calls(), ["GET key", "GET ids"]);
    for _ in 0..2 {
        for connection in ["there", "here"] {
            second.push(connection, "things").await.unwrap();
        }
    }
    let names = |shelf: &Shelf| -> Vec<Json> { shelf.rows().iter().map(|row| row["name"].clone()).collect() };
    assert_eq!(
        (names(&here), names(&there)),
        (vec![json!("Northwind Ltd")], vec![json!("Northwind Ltd")])
    );
}

/// What waits for what it refers to, for ever perhaps, remembers what was sent no longer than anything else.
#[tokio::test]
async fn what_waits_forgets_what_cannot_arrive_any_more() {
    let deal = json!({"name": "Rollout", "stage": "prospect"});
    let (stage, [here, there], engine, partners, deal) =
        Stage::with_a_deal(&["Northwind", "Contoso"], deal).await;
    // It is made one of a partner that is there no more.
    here.edit(&partners[1], "deleted", json!(true));
    here.edit(&deal, "partner", json!(partners[1]));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    engine.push("there", "things").await.unwrap();
    was_sent(
        &stage,
        "2026-11-26T11:00:00Z",
        json!({"stage": "qualified"}),
        false,
    )
    .await;
    for _ in 0..2 {
        stage.pass_hours(1);
        engine.push("there", "things").await.unwrap();
    }

    let rollout = |shelf: &Shelf| {
        shelf
            .rows()
            .into_iter()
            .find(|row| row["name"] == "Rollout")
            .unwrap()
    };
    let made = rollout(&there)["id"].as_str().unwrap().to_owned();
    there.edit(&made, "stage", json!("qualified"));
    for connection in ["there", "here"] {
        engine.pull(connection, "things", Depth::Changed).await.unwrap();
        engine.push(connection, "things").await.unwrap();
    }
    assert_eq!(rollout(&here)["stage"], "qualified");
}

/// Its deal names the one that was deleted, and is owed the new one, whoever finds out that there is one.
#[tokio::test]
async fn what_was_made_again_unheard_is_named_by_what_refers_to_it() {
    let deal = json!({"name": "Rollout", "stage": "prospect"});
    let (stage, [here, there], first, partners, _) = Stage::with_a_deal(&["Northwind"], deal).await;
    let partner = &partners[0];
    let named = |thing: usize, field: &str| there.rows()[thing][field].clone();
    assert_eq!((there.rows().len(), named(1, "partner")), (2, named(0, "id")));

    // It is deleted here, and so there, and then it is back.
    here.edit(partner, "deleted", json!(true));
    first.pull("here", "things", Depth::Changed).await.unwrap();
    first.push("there", "things").await.unwrap();
    assert_eq!(named(0, "deleted"), json!(true));
    here.edit(partner, "deleted", json!(false));
    first.pull("here", "things", Depth::Changed).await.unwrap();
    makes_unheard(first, &there).await;

    stage.pass_hours(1);
    let second = stage.node("second", stage.ledger.clone());
    for _ in 0..2 {
        second.push("there", "things").await.unwrap();
        stage.pass_hours(1);
    }
    assert_eq!(named(2, "name"), json!("Northwind"));
    assert_eq!(named(1, "partner"), named(2, "id"));
}

/// A partner that was made there, of which nobody heard, and whose record is deleted here since; a second node, and its id
/// there.
async fn deleted_before_it_was_heard_of() -> (Stage, [Shelf; 2], Arc<Engine>, String) {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    stage.deletes = [("here", COUNTS), ("there", COUNTS)].into();
    let first = stage.node("first", stage.ledger.clone());
    let partner = here.put(json!({"name": "Northwind"}));
    for connection in ["there", "here"] {
        first.pull(connection, "things", Depth::Changed).await.unwrap();
    }
    makes_unheard(first, &there).await;

    here.edit(&partner, "deleted", json!(true));
    let second = stage.node("second", stage.ledger.clone());
    second.pull("here", "things", Depth::Changed).await.unwrap();
    let made = there.rows()[0]["id"].as_str().unwrap().to_owned();
    (stage, [here, there], second, made)
}

/// It is that record's, and goes with it.
#[tokio::test]
async fn what_was_made_unheard_goes_with_its_record() {
    for listed in [false, true] {
        let (stage, [here, there], second, _) = deleted_before_it_was_heard_of().await;
        stage.pass_hours(1);
        if listed {
            second.pull("there", "things", Depth::Changed).await.unwrap();
        }
        second.push("there", "things").await.unwrap();
        second.pull("there", "things", Depth::Changed).await.unwrap();
        second.push("here", "things").await.unwrap();
        assert_eq!(there.rows()[0]["deleted"], json!(true), "{listed}");
        assert_eq!((here.rows().len(), stage.partners().await.len()), (1, 1));
    }
}

/// What people make of it after that is more than we sent: the record is back.
#[tokio::test]
async fn what_was_made_unheard_and_is_changed_after_its_record_was_deleted_revives_it() {
    let (stage, [here, there], second, made) = deleted_before_it_was_heard_of().await;
    for note in ["first", "second"] {
        there.edit(&made, "note", json!(note));
    }
    for _ in 0..2 {
        stage.pass_hours(1);
        for connection in ["there", "here"] {
            second.push(connection, "things").await.unwrap();
            second.pull(connection, "things", Depth::Changed).await.unwrap();
        }
    }
    let [record] = stage.partners().await.try_into().unwrap();
    assert_eq!(
        (record.deleted_at, record.fields.text("description")),
        (None, Some("second"))
    );
    assert_eq!(there.rows()[0].get("deleted"), None);
    // Where people deleted it, it is not made again.
    assert_eq!((here.rows().len(), &here.rows()[0]["deleted"]), (1, &json!(true)));
}

/// What may still be on its way when its record is deleted is remembered until it cannot arrive any more.
#[tokio::test]
async fn what_arrives_after_its_record_was_deleted_goes_with_it() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    stage.deletes = [("here", COUNTS), ("there", COUNTS)].into();
    let engine = stage.node("second", stage.ledger.clone());
    let partner = here.put(json!({"name": "Northwind"}));
    for connection in ["there", "here"] {
        engine.pull(connection, "things", Depth::Changed).await.unwrap();
    }
    was_sent(&stage, "2026-11-26T08:00:00Z", json!({"name": "Northwind"}), true).await;
    here.edit(&partner, "deleted", json!(true));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    engine.push("there", "things").await.unwrap();
    // It is not there yet.
    let record = stage.partners().await[0].id.to_string();
    there.put(json!({"name": "Northwind", "key": record}));
    for _ in 0..2 {
        stage.pass_ms(30_000);
        engine.pull("there", "things", Depth::Changed).await.unwrap();
        for connection in ["there", "here"] {
            engine.push(connection, "things").await.unwrap();
        }
    }
    assert_eq!(there.rows()[0]["deleted"], json!(true));
    assert_eq!((here.rows().len(), stage.partners().await.len()), (1, 1));
    // Then it is forgotten.
    stage.pass_hours(1);
    engine.push("there", "things").await.unwrap();
    let owed = stage.ledger.pushes("there", "things", Timestamp::MAX, 10).await;
    assert_eq!(owed.unwrap(), []);
}

/// What was to be created was there, and was written; a listing that is behind still tells what it was before.
#[tokio::test]
async fn what_was_there_when_it_was_to_be_made_is_not_undone_by_a_listing() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let engine = stage.node("first", stage.ledger.clone());
    here.put(json!({"name": "Northwind", "note": "call back"}));
    for connection in ["there", "here"] {
        engine.pull(connection, "things", Depth::Changed).await.unwrap();
    }
    let record = stage.partners().await[0].id.to_string();
    there.put(json!({"name": "Northwind", "note": null, "key": record}));
    there.fall_behind();
    assert_eq!(engine.push("there", "things").await.unwrap().counts.written, 1);
    assert!(!there.calls().contains(&"POST".to_owned()));
    stage.pass_ms(3_000);
    for connection in ["there", "here"] {
        engine.pull(connection, "things", Depth::Changed).await.unwrap();
        engine.push(connection, "things").await.unwrap();
    }
    assert_eq!(
        (&here.rows()[0]["note"], &there.rows()[0]["note"]),
        (&json!("call back"), &json!("call back"))
    );
}
