//! What is parked is tried again when a person says so.

use std::sync::Arc;

use ledger::ParkedCause;
use serde_json::json;

use super::hints::hint;
use super::shelf::{Key, Shelf};
use super::stage::{COUNTS, Stage, was_sent};
use crate::{Depth, Engine, WhichParked, advice};

async fn two() -> (Stage, Shelf, Shelf, Arc<Engine>) {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    stage.deals = true;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    for connection in ["here", "there"] {
        engine.pull(connection, "things", Depth::Changed).await.unwrap();
    }
    (stage, here, there, engine)
}

async fn pull(engine: &Engine, connection: &str) {
    engine.pull(connection, "things", Depth::Changed).await.unwrap();
}

async fn push(stage: &Stage, engine: &Engine, connection: &str) {
    engine.push(connection, "things").await.unwrap();
    stage.pass_hours(1);
}

/// The causes, each as connection, way, code, fields and count.
async fn causes(stage: &Stage) -> Vec<String> {
    let told = |cause: ParkedCause| {
        let way = if cause.inbound { "in" } else { "out" };
        let ParkedCause {
            connection,
            code,
            fields,
            count,
            ..
        } = cause;
        format!("{connection} {way} {code} {fields:?} {count}")
    };
    stage
        .ledger
        .parked_causes()
        .await
        .unwrap()
        .into_iter()
        .map(told)
        .collect()
}

#[tokio::test]
async fn what_was_refused_is_written_when_it_is_tried_again() {
    let (stage, here, there, engine) = two().await;
    there.forbid(Some("Berlin"));
    for name in ["Northwind", "Contoso", "Fabrikam"] {
        here.put(json!({"name": name, "note": if name == "Fabrikam" { "Paris" } else { "Berlin" }}));
    }
    pull(&engine, "here").await;
    push(&stage, &engine, "there").await;
    assert_eq!(
        (there.rows().len(), causes(&stage).await),
        (1, vec!["there out validation [] 2".to_owned()])
    );
    let cause = stage.ledger.parked_causes().await.unwrap().remove(0);
    assert_eq!(cause.reason, "that is not allowed here");
    assert!(
        advice(&cause).starts_with("the system refused it"),
        "{}",
        advice(&cause)
    );

    // Nothing goes on by itself, and counting changes nothing.
    let which = WhichParked {
        code: Some("validation".to_owned()),
        ..WhichParked::default()
    };
    assert_eq!(engine.retry_parked(&which, true).await.unwrap().count, 2);
    push(&stage, &engine, "there").await;
    assert_eq!(there.rows().len(), 1);

    // While nothing is corrected it is parked again, since the same moment.
    assert_eq!(engine.retry_parked(&which, false).await.unwrap().count, 2);
    push(&stage, &engine, "there").await;
    let again = stage.ledger.parked_causes().await.unwrap().remove(0);
    assert_eq!((again.count, again.first), (2, cause.first));

    there.forbid(None);
    let other = WhichParked {
        connection: Some("here".to_owned()),
        ..which.clone()
    };
    assert_eq!(engine.retry_parked(&other, false).await.unwrap().count, 0);
    let one = WhichParked {
        key: Some(cause.key.clone()),
        ..which.clone()
    };
    assert_eq!(engine.retry_parked(&one, true).await.unwrap().count, 1);
    for (which, rows) in [(one, 2), (which, 3)] {
        let retried = engine.retry_parked(&which, false).await.unwrap();
        assert_eq!((retried.count, retried.left.len()), (1, 0));
        assert!(
            retried
                .report
                .owed
                .contains(&("there".to_owned(), "things".to_owned()))
        );
        push(&stage, &engine, "there").await;
        assert_eq!(there.rows().len(), rows);
    }
    assert_eq!(causes(&stage).await, Vec::<String>::new());
}

/// The object says the same as ever; it is the mapping that understands it now.
#[tokio::test]
async fn what_was_left_out_is_read_when_the_mapping_was_corrected() {
    let (mut stage, here, _, engine) = two().await;
    let partner = here.put(json!({"name": "Northwind"}));
    here.put(json!({"name": "Rollout", "partner": partner, "stage": "prospect"}));
    let deal = here.put(json!({"name": "Pilot", "partner": partner, "stage": "prospect"}));
    for _ in 0..2 {
        pull(&engine, "here").await;
        stage.pass_hours(1);
    }
    here.edit(&deal, "stage", json!("warm"));
    here.edit(&deal, "name", json!("Pilot 2"));
    pull(&engine, "here").await;
    assert_eq!(causes(&stage).await, ["here in field [\"stage\"] 1"]);
    let field = |field: &str| WhichParked {
        field: Some(field.to_owned()),
        ..WhichParked::default()
    };
    assert_eq!(engine.retry_parked(&field("name"), false).await.unwrap().count, 0);
    assert_eq!(
        engine.retry_parked(&field("stage"), false).await.unwrap().count,
        1
    );
    pull(&engine, "here").await;
    assert_eq!(causes(&stage).await, ["here in field [\"stage\"] 1"]);
    // It was tried, and is not tried by itself again.
    here.forget_calls();
    pull(&engine, "here").await;
    assert_eq!(here.calls(), ["GET changes"]);

    // Whoever begins with another mapping tries again by themselves, and once.
    let begins = async |engine: &Engine| {
        engine.heed_corrections().await.unwrap();
        here.silence();
        here.forget_calls();
        pull(engine, "here").await;
        here.calls().len()
    };
    assert_eq!(begins(&engine).await, 2);
    assert_eq!(begins(&engine).await, 1);
    assert_eq!(causes(&stage).await, ["here in field [\"stage\"] 1"]);
    stage.corrected = true;
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    assert_eq!(begins(&engine).await, 2);
    assert_eq!(causes(&stage).await, Vec::<String>::new());
}

/// It has waited for hours, and would be read again after as many.
#[tokio::test]
async fn what_waits_for_another_object_is_read_again_when_that_is_here() {
    let (stage, here, _, engine) = two().await;
    here.list_only(0);
    let partner = here.put(json!({"name": "Northwind"}));
    let deal = here.put(json!({"name": "Rollout", "partner": partner, "stage": "prospect"}));
    engine.hint("here", &hint(&deal, "create"), "t");
    for _ in 0..3 {
        pull(&engine, "here").await;
        stage.pass_hours(2);
    }
    pull(&engine, "here").await;
    let waits = ["here in unresolved_reference [\"partner\"] 1"];
    assert_eq!(causes(&stage).await, waits);
    here.forget_calls();
    pull(&engine, "here").await;
    assert_eq!(here.calls(), ["GET changes"], "its time has not come");
    // Only the partner is listed.
    here.list_only(1);
    pull(&engine, "here").await;
    assert_eq!(causes(&stage).await, Vec::<String>::new());
    let deals = stage
        .ledger
        .list_records(model::Kind::Deal, None, 9)
        .await
        .unwrap();
    assert_eq!(deals.len(), 1);
}

/// Nobody would read it: it is told, and not marked.
#[tokio::test]
async fn what_no_sync_reads_is_left() {
    let (mut stage, here, _, engine) = two().await;
    let partner = here.put(json!({"name": "Northwind"}));
    here.put(json!({"name": "Rollout", "partner": partner, "stage": "warm"}));
    for _ in 0..2 {
        pull(&engine, "here").await;
    }
    assert_eq!(causes(&stage).await, ["here in mapping [\"stage\"] 1"]);
    stage.unread = Some("here");
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    let retried = engine.retry_parked(&WhichParked::default(), false).await.unwrap();
    let left: Vec<&str> = retried.left.iter().map(|(_, why)| *why).collect();
    assert_eq!(
        (retried.count, left),
        (0, vec!["no sync of the configuration reads it"])
    );
}

/// More than one reading takes: it goes on until all of it was tried.
#[tokio::test]
async fn all_that_is_tried_again_is_tried_in_one_go() {
    let (mut stage, here, _, engine) = two().await;
    let partner = here.put(json!({"name": "Northwind"}));
    pull(&engine, "here").await;
    for number in 0..501 {
        here.put(json!({"name": format!("Rollout {number}"), "partner": partner, "stage": "warm"}));
    }
    pull(&engine, "here").await;
    assert_eq!(causes(&stage).await, ["here in mapping [\"stage\"] 501"]);
    here.silence();
    stage.corrected = true;
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    engine.heed_corrections().await.unwrap();
    let mut created = Vec::new();
    loop {
        let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
        created.push(report.counts.created);
        if report.again.is_none() {
            break;
        }
    }
    assert_eq!(created, [500, 1]);
    assert_eq!(causes(&stage).await, Vec::<String>::new());
}

/// What a person decides about, and what nobody can be asked for, is told and left.
#[tokio::test]
async fn what_cannot_be_tried_again_is_told() {
    let (stage, here, there, engine) = two().await;
    here.put(json!({"name": "Northwind", "domain": "northwind.example"}));
    pull(&engine, "here").await;
    push(&stage, &engine, "there").await;
    there.put(json!({"name": "Northwind", "domain": "northwind.example"}));
    pull(&engine, "there").await;
    assert_eq!(causes(&stage).await, ["there in duplicate [] 1"]);
    let retried = engine.retry_parked(&WhichParked::default(), false).await.unwrap();
    let [(cause, why)] = retried.left.as_slice() else {
        panic!("{retried:?}")
    };
    assert_eq!((retried.count, cause.code.as_str()), (0, "duplicate"));
    assert!(why.contains("interconnect review"), "{why}");
}

/// A record that is gone before it could be written is no error any more.
#[tokio::test]
async fn what_is_owed_no_more_is_parked_no_more() {
    let (mut stage, here, there, _) = two().await;
    stage.deletes = [("here", COUNTS), ("there", COUNTS)].into();
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    there.forbid(Some("Berlin"));
    let ours = here.put(json!({"name": "Northwind", "note": "Berlin"}));
    here.put(json!({"name": "Contoso", "note": "Berlin"}));
    pull(&engine, "here").await;
    push(&stage, &engine, "there").await;
    assert_eq!(causes(&stage).await, ["there out validation [] 2"]);
    here.edit(&ours, "deleted", json!(true));
    pull(&engine, "here").await;
    push(&stage, &engine, "there").await;
    assert_eq!(causes(&stage).await, ["there out validation [] 1"]);
}

/// What was sent before may still arrive, and is no word of theirs then.
#[tokio::test]
async fn a_refusal_tells_nothing_of_what_was_sent_before() {
    let (stage, [here, there], [id, made]) = Stage::knowing().await;
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    here.edit(&id, "note", json!("call back"));
    pull(&engine, "here").await;
    was_sent(
        &stage,
        "2026-11-26T08:00:00Z",
        json!({"note": "call back"}),
        false,
    )
    .await;
    there.forbid(Some("Berlin"));
    here.edit(&id, "note", json!("Berlin"));
    pull(&engine, "here").await;
    engine.push("there", "things").await.unwrap();
    assert_eq!(causes(&stage).await, ["there out validation [] 1"]);

    // Of what was refused somebody has heard.
    let record = stage.partners().await[0].id;
    let sent = stage.ledger.sent("there", "things", &[record]).await.unwrap();
    let values: Vec<_> = sent[0].1.iter().map(|sent| sent.values.clone()).collect();
    assert_eq!(values, [json!({"note": "call back"})]);

    // It arrives, later than the new note was said.
    for _ in 0..3 {
        there.edit(&made, "note", json!("call back"));
    }
    pull(&engine, "there").await;
    let note = |record: &model::Record| record.fields.text("description").map(str::to_owned);
    assert_eq!(note(&stage.partners().await[0]).as_deref(), Some("Berlin"));
    // When it cannot arrive any more that is over, and the system is asked no more.
    for _ in 0..3 {
        stage.pass_hours(1);
        engine.push("there", "things").await.unwrap();
    }
    there.forget_calls();
    stage.pass_hours(1);
    engine.push("there", "things").await.unwrap();
    assert_eq!(there.calls(), Vec::<String>::new());

    there.forbid(None);
    engine.retry_parked(&WhichParked::default(), false).await.unwrap();
    engine.push("there", "things").await.unwrap();
    assert_eq!(
        (causes(&stage).await, &there.rows()[0]["note"]),
        (Vec::new(), &json!("Berlin"))
    );
}

/// A number that the system gives was given to somebody else at the same moment: that is nobody's fault.
#[tokio::test]
async fn a_creation_that_collided_is_tried_again_by_itself() {
    let (stage, here, there, engine) = two().await;
    there.collide(3);
    here.put(json!({"name": "Northwind"}));
    pull(&engine, "here").await;
    for rows in [0, 0, 0, 1] {
        push(&stage, &engine, "there").await;
        assert_eq!((there.rows().len(), causes(&stage).await), (rows, Vec::new()));
    }
    // What goes on and on is something else.
    there.collide(99);
    here.put(json!({"name": "Contoso"}));
    pull(&engine, "here").await;
    for _ in 0..7 {
        push(&stage, &engine, "there").await;
    }
    assert_eq!(causes(&stage).await, ["there out conflict [] 1"]);
}
