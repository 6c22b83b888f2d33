//! What was written by somebody who died before they heard of it.

use jiff::Timestamp;
use ledger::{Sent, SyncCommit};
use serde_json::{Value as Json, json};

use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::{Deletes, Depth};

/// A note that the first node wrote before it died, and that people take back before anybody hears of it, so many hours
/// later; they change what else they like.
async fn taken_back(besides: &str, value: Json, hours: i64) {
    let (stage, [here, there], [id, made]) = Stage::knowing().await;
    let engine = stage.node("second", stage.ledger.clone());
    // The first node writes, it takes effect, and the node dies.
    here.edit(&id, "note", json!("call back"));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    let mut owed = stage
        .ledger
        .pushes("there", "things", Timestamp::MAX, 10)
        .await
        .unwrap();
    owed[0].sent.push(Sent {
        at: "2026-11-26T08:00:00Z".parse().unwrap(),
        values: json!({"note": "call back"}),
        creates: false,
    });
    let sending = SyncCommit {
        sending: owed,
        ..SyncCommit::default()
    };
    stage.ledger.commit(sending).await.unwrap();
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

/// Lines that we took out after we had written them unheard are no additions of theirs; what a person added is.
#[tokio::test]
async fn what_was_taken_out_of_a_set_is_not_added_again() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    stage.deals = true;
    let engine = stage.node("second", stage.ledger.clone());
    let partner = here.put(json!({"name": "Northwind"}));
    let deal = here.put(json!({"name": "Rollout", "stage": "prospect", "partner": partner, "lines": ["a"]}));
    for connection in ["there", "here"] {
        engine.pull(connection, "things", Depth::Changed).await.unwrap();
    }
    for _ in 0..2 {
        engine.push("there", "things").await.unwrap();
        stage.pass_hours(1);
        engine.pull("there", "things", Depth::Changed).await.unwrap();
    }

    here.edit(&deal, "lines", json!(["a", "b"]));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    let mut owed = stage
        .ledger
        .pushes("there", "things", Timestamp::MAX, 10)
        .await
        .unwrap();
    owed[0].sent.push(Sent {
        at: "2026-11-26T10:00:00Z".parse().unwrap(),
        values: json!({"lines": ["a", "b"]}),
        creates: false,
    });
    let sending = SyncCommit {
        sending: owed,
        ..SyncCommit::default()
    };
    stage.ledger.commit(sending).await.unwrap();
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
    there.hold_answers();
    let push = tokio::spawn(async move { first.push("there", "things").await });
    there.called("POST", 1).await;
    push.abort();
    assert!(push.await.unwrap_err().is_cancelled());
    there.answer();
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

/// Its deal names the one that was deleted, and is owed the new one, whoever finds out that there is one.
#[tokio::test]
async fn what_was_made_again_unheard_is_named_by_what_refers_to_it() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    stage.deals = true;
    let counts = Deletes {
        propagate: true,
        follow: true,
    };
    stage.deletes = [("here", counts), ("there", counts)].into();
    let first = stage.node("first", stage.ledger.clone());
    let partner = here.put(json!({"name": "Northwind"}));
    here.put(json!({"name": "Rollout", "stage": "prospect", "partner": partner}));
    for connection in ["there", "here"] {
        first.pull(connection, "things", Depth::Changed).await.unwrap();
    }
    for _ in 0..3 {
        first.push("there", "things").await.unwrap();
        stage.pass_hours(1);
    }
    let named = |thing: usize, field: &str| there.rows()[thing][field].clone();
    assert_eq!((there.rows().len(), named(1, "partner")), (2, named(0, "id")));

    // It is deleted here, and so there, and then it is back.
    here.edit(&partner, "deleted", json!(true));
    first.pull("here", "things", Depth::Changed).await.unwrap();
    first.push("there", "things").await.unwrap();
    assert_eq!(named(0, "deleted"), json!(true));
    here.edit(&partner, "deleted", json!(false));
    first.pull("here", "things", Depth::Changed).await.unwrap();
    there.hold_answers();
    let push = tokio::spawn(async move { first.push("there", "things").await });
    there.called("POST", 3).await;
    push.abort();
    assert!(push.await.unwrap_err().is_cancelled());
    there.answer();

    stage.pass_hours(1);
    let second = stage.node("second", stage.ledger.clone());
    for _ in 0..2 {
        second.push("there", "things").await.unwrap();
        stage.pass_hours(1);
    }
    assert_eq!(named(2, "name"), json!("Northwind"));
    assert_eq!(named(1, "partner"), named(2, "id"));
}

/// It is made there, nobody hears of it, and its record is deleted: it is that record's, and goes with it.
async fn deleted_before_it_was_heard_of(listed: bool) {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let counts = Deletes {
        propagate: true,
        follow: true,
    };
    stage.deletes = [("here", counts), ("there", counts)].into();
    let first = stage.node("first", stage.ledger.clone());
    let partner = here.put(json!({"name": "Northwind"}));
    for connection in ["there", "here"] {
        first.pull(connection, "things", Depth::Changed).await.unwrap();
    }
    there.hold_answers();
    let push = tokio::spawn(async move { first.push("there", "things").await });
    there.called("POST", 1).await;
    push.abort();
    assert!(push.await.unwrap_err().is_cancelled());
    there.answer();

    here.edit(&partner, "deleted", json!(true));
    let second = stage.node("second", stage.ledger.clone());
    second.pull("here", "things", Depth::Changed).await.unwrap();
    stage.pass_hours(1);
    if listed {
        second.pull("there", "things", Depth::Changed).await.unwrap();
    }
    second.push("there", "things").await.unwrap();
    second.pull("there", "things", Depth::Changed).await.unwrap();
    second.push("here", "things").await.unwrap();
    assert_eq!(there.rows()[0]["deleted"], json!(true));
    assert_eq!((here.rows().len(), stage.partners().await.len()), (1, 1));
}

#[tokio::test]
async fn what_was_made_unheard_goes_with_its_record() {
    deleted_before_it_was_heard_of(false).await;
}

#[tokio::test]
async fn what_was_made_unheard_and_is_listed_goes_with_its_record() {
    deleted_before_it_was_heard_of(true).await;
}
