//! The same partner, made at two systems before anybody told either of the other one.

use std::sync::Arc;

use ledger::ParkedFilter;
use serde_json::{Value as Json, json};

use super::shelf::{Key, Shelf};
use super::stage::{COUNTS, Stage, makes_unheard};
use crate::{Depth, Engine, ObjectAt, Settle};

/// Two systems that were read completely and know nobody.
async fn empty() -> (Stage, Shelf, Shelf, Arc<Engine>) {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    for connection in ["here", "there"] {
        engine.pull(connection, "things", Depth::Changed).await.unwrap();
    }
    (stage, here, there, engine)
}

fn northwind() -> Json {
    json!({"name": "Northwind", "domain": "northwind.example"})
}

async fn pull(engine: &Engine, connection: &str) -> crate::Counts {
    let report = engine.pull(connection, "things", Depth::Changed).await.unwrap();
    report.counts
}

async fn push(engine: &Engine, connection: &str) -> crate::Counts {
    engine.push(connection, "things").await.unwrap().counts
}

/// Reads and writes both until nobody has anything to say.
async fn settle(engine: &Engine) {
    for connection in ["here", "there", "here", "there"] {
        pull(engine, connection).await;
        push(engine, connection).await;
    }
}

#[tokio::test]
async fn what_was_made_at_both_within_one_look_is_one_record() {
    let (stage, here, there, engine) = empty().await;
    here.put(northwind());
    pull(&engine, "here").await;
    // Nobody has told us of this one yet.
    there.put(northwind());
    there.forget_calls();
    let counts = push(&engine, "there").await;
    assert_eq!((counts.met, counts.created_there), (1, 0));
    assert!(!there.calls().contains(&"POST".to_owned()));
    settle(&engine).await;
    assert_eq!((here.rows().len(), there.rows().len()), (1, 1));
    assert_eq!(stage.partners().await.len(), 1);
}

#[tokio::test]
async fn who_has_looked_since_a_record_was_made_looks_no_more() {
    let (_stage, here, there, engine) = empty().await;
    here.put(northwind());
    pull(&engine, "here").await;
    pull(&engine, "there").await;
    there.forget_calls();
    assert_eq!(push(&engine, "there").await.created_there, 1);
    assert!(!there.calls().contains(&"GET changes".to_owned()));
}

#[tokio::test]
async fn what_no_rule_can_meet_is_made_at_once() {
    let (_stage, here, there, engine) = empty().await;
    here.put(json!({"name": "Northwind"}));
    pull(&engine, "here").await;
    there.forget_calls();
    assert_eq!(push(&engine, "there").await.created_there, 1);
    assert!(!there.calls().contains(&"GET changes".to_owned()));
}

#[tokio::test]
async fn a_duplicate_of_what_we_made_waits_for_a_person_and_goes_nowhere() {
    let (stage, here, there, engine) = empty().await;
    here.put(northwind());
    settle(&engine).await;
    let theirs = there.put(northwind());
    settle(&engine).await;
    assert_eq!((here.rows().len(), there.rows().len()), (1, 2));
    let parked = stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap();
    assert_eq!((parked.len(), &*parked[0].code), (1, "duplicate"));
    assert_eq!(parked[0].key, theirs);

    // People make the two one there: ours is the one that goes.
    let links = stage.links("Northwind").await;
    let made = &links.iter().find(|(at, ..)| at == "there").unwrap().1;
    there.edit(made, "into", json!(theirs));
    stage.pass_hours(1);
    settle(&engine).await;
    assert_eq!(
        stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap(),
        []
    );
    assert!(
        stage
            .links("Northwind")
            .await
            .contains(&("there".to_owned(), theirs, false))
    );
    assert_eq!(stage.partners().await.len(), 1);
}

#[tokio::test]
async fn two_of_their_own_are_two() {
    let (stage, here, there, engine) = empty().await;
    here.put(northwind());
    settle(&engine).await;
    here.put(northwind());
    settle(&engine).await;
    assert_eq!((here.rows().len(), there.rows().len()), (2, 2));
    assert_eq!(stage.partners().await.len(), 2);
}

#[tokio::test]
async fn what_was_deleted_and_made_again_is_the_same() {
    let (stage, here, there, engine) = empty().await;
    let first = here.put(northwind());
    settle(&engine).await;
    here.edit(&first, "deleted", json!(true));
    settle(&engine).await;
    let again = here.put(northwind());
    settle(&engine).await;
    assert_eq!(there.rows().len(), 1);
    assert_eq!(stage.partners().await.len(), 1);
    assert!(
        stage
            .links("Northwind")
            .await
            .contains(&("here".to_owned(), again, false))
    );
}

#[tokio::test]
async fn what_was_deleted_everywhere_and_made_again_is_new() {
    let (stage, here, there, engine) = empty().await;
    let first = here.put(northwind());
    settle(&engine).await;
    here.edit(&first, "deleted", json!(true));
    let made = there.rows()[0]["id"].as_str().unwrap().to_owned();
    there.edit(&made, "deleted", json!(true));
    settle(&engine).await;
    here.put(northwind());
    settle(&engine).await;
    assert_eq!(stage.partners().await.len(), 2);
    assert_eq!(there.rows().len(), 2);
}

/// What is edited while everything is read for the first time is passed over: only a second reading shows it.
#[tokio::test]
async fn nothing_is_made_before_a_second_reading_has_ended() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    here.put(northwind());
    there.put(northwind());
    there.pass_over_once();
    pull(&engine, "here").await;
    pull(&engine, "there").await;
    push(&engine, "there").await;
    settle(&engine).await;
    assert_eq!((here.rows().len(), there.rows().len()), (1, 1));
    assert_eq!(stage.partners().await.len(), 1);
}

#[tokio::test]
async fn what_carries_our_key_beside_one_that_was_met_is_a_duplicate() {
    let (stage, here, there, engine) = empty().await;
    here.put(northwind());
    pull(&engine, "here").await;
    let theirs = there.put(northwind());
    pull(&engine, "there").await;
    // What somebody of us made there meanwhile, and nobody heard of.
    let record = stage.partners().await[0].id;
    let mut ours = northwind();
    ours["key"] = json!(record.to_string());
    let ours = there.put(ours);
    settle(&engine).await;
    let parked = stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap();
    assert_eq!((parked.len(), &*parked[0].code), (1, "duplicate"));
    assert_eq!((&parked[0].key, &*parked[0].records), (&ours, &[record][..]));
    assert_eq!((here.rows().len(), there.rows().len()), (1, 2));
    assert!(
        stage
            .links("Northwind")
            .await
            .contains(&("there".to_owned(), theirs, false))
    );
}

/// A system hides our key, so that nothing tells which of the two we made but that we sent it.
#[tokio::test]
async fn what_was_made_unheard_beside_theirs_is_a_duplicate_though_our_key_is_hidden() {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Hidden).await);
    let stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    let first = stage.node("first", Arc::clone(&stage.ledger));
    pull(&first, "there").await;
    here.put(northwind());
    pull(&first, "here").await;
    makes_unheard(first, &there).await;
    there.put(northwind());

    stage.pass_hours(1);
    settle(&stage.node("second", Arc::clone(&stage.ledger))).await;
    let parked = stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap();
    assert_eq!((parked.len(), &*parked[0].code), (1, "duplicate"));
    assert_eq!((here.rows().len(), there.rows().len()), (1, 2));
    assert_eq!(stage.partners().await.len(), 1);
}

/// A partner whose deletion counts, and another one of theirs that waits for a person beside ours there; its id here, and the
/// other one's.
async fn waiting_beside() -> (Stage, [Shelf; 2], Arc<Engine>, [String; 2]) {
    let (mut stage, here, there, _) = empty().await;
    stage.deletes = [("here", COUNTS), ("there", COUNTS)].into();
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    let ours = here.put(northwind());
    settle(&engine).await;
    let theirs = there.put(northwind());
    settle(&engine).await;
    (stage, [here, there], engine, [ours, theirs])
}

/// It is a person who says that it is another one than the one that was deleted.
#[tokio::test]
async fn what_waited_beside_one_that_was_deleted_is_no_new_one_by_itself() {
    let (stage, [here, there], engine, [ours, theirs]) = waiting_beside().await;
    here.edit(&ours, "deleted", json!(true));
    for _ in 0..2 {
        settle(&engine).await;
        stage.pass_hours(1);
    }
    assert_eq!((here.rows().len(), there.rows().len()), (1, 2));
    assert_eq!(stage.partners().await.len(), 1);
    let parked = stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap();
    assert_eq!((&*parked[0].key, &*parked[0].code), (&*theirs, "duplicate"));
    assert!(
        parked[0]
            .reason
            .contains("which was deleted while this one waited"),
        "{}",
        parked[0].reason
    );

    let at = ObjectAt {
        connection: "there".to_owned(),
        object: "things".to_owned(),
        external_id: theirs,
    };
    engine.decide("Ada", &at, &Settle::New).await.unwrap();
    settle(&engine).await;
    assert_eq!((here.rows().len(), stage.partners().await.len()), (2, 2));
}

/// Nothing tells that people have made the two one; where deletions count, this is none.
#[tokio::test]
async fn what_waits_takes_the_place_of_ours_that_is_gone_without_a_trace() {
    let (stage, [here, there], engine, [_, theirs]) = waiting_beside().await;
    there.take("T1");
    engine.census("there", "things", 100).await.unwrap();
    settle(&engine).await;
    assert_eq!(here.rows()[0].get("deleted"), None);
    let links = stage.links("Northwind").await;
    assert!(links.contains(&("there".to_owned(), theirs, false)), "{links:?}");
    assert_eq!(
        stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap(),
        []
    );
}

/// Nor is what names ours left with the name of what is no more.
#[tokio::test]
async fn what_named_ours_names_what_takes_its_place() {
    let deal = json!({"name": "Rollout", "stage": "prospect"});
    let (_stage, [here, there], engine, partners, _) = Stage::with_a_deal(&["Northwind"], deal).await;
    here.edit(&partners[0], "domain", json!("northwind.example"));
    settle(&engine).await;
    let theirs = there.put(northwind());
    settle(&engine).await;
    assert_eq!(there.rows()[1]["partner"], "T1");
    there.take("T1");
    engine.census("there", "things", 100).await.unwrap();
    for _ in 0..2 {
        settle(&engine).await;
    }
    assert_eq!(there.rows()[0]["partner"], theirs, "{:?}", there.rows());
}

/// People made the two one, which took the note from ours; meanwhile it was cleared elsewhere.
#[tokio::test]
async fn what_stands_for_ours_says_nothing_by_what_it_has_of_it() {
    let (stage, [here, there], engine, [ours, theirs]) = waiting_beside().await;
    here.edit(&ours, "note", json!("call back"));
    settle(&engine).await;
    assert_eq!(there.rows()[0]["note"], "call back");
    there.edit(&theirs, "note", json!("call back"));
    there.take("T1");
    here.edit(&ours, "note", Json::Null);
    pull(&engine, "here").await;
    stage.pass_hours(1);
    engine.census("there", "things", 100).await.unwrap();
    for _ in 0..2 {
        settle(&engine).await;
        stage.pass_hours(1);
    }
    let links = stage.links("Northwind").await;
    assert!(links.contains(&("there".to_owned(), theirs, false)), "{links:?}");
    assert_eq!(
        (&here.rows()[0]["note"], &there.rows()[0]["note"]),
        (&Json::Null, &Json::Null)
    );
}

/// Ours goes, and so does what waits, as one page tells: nothing takes its place.
#[tokio::test]
async fn what_waits_and_goes_with_ours_takes_no_place() {
    let (stage, [here, there], engine, [_, theirs]) = waiting_beside().await;
    for gone in ["T1", &theirs] {
        there.edit(gone, "deleted", json!(true));
    }
    stage.pass_hours(1);
    settle(&engine).await;
    assert_eq!(here.rows()[0]["deleted"], json!(true));
    let record = stage.partners().await.remove(0);
    assert!(record.deleted_at.is_some());
    let parked = stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap();
    assert_eq!(parked, []);
}

/// People made the two one, and deleted that one, before anybody saw the first: the record is deleted.
#[tokio::test]
async fn what_stood_for_ours_and_is_gone_takes_the_record_along() {
    for waits_no_other in [true, false] {
        let (stage, [here, there], engine, [_, theirs]) = waiting_beside().await;
        let third = match waits_no_other {
            true => None,
            false => Some(there.put(northwind())),
        };
        settle(&engine).await;
        for gone in ["T1", &theirs] {
            there.take(gone);
        }
        stage.pass_hours(1);
        engine.census("there", "things", 100).await.unwrap();
        for _ in 0..2 {
            settle(&engine).await;
            stage.pass_hours(1);
        }
        let record = stage.partners().await.remove(0);
        assert_eq!(record.deleted_at.is_some(), waits_no_other);
        assert_eq!(
            here.rows()[0].get("deleted") == Some(&json!(true)),
            waits_no_other
        );
        let links = stage.links("Northwind").await;
        let living = links.iter().find(|(at, _, gone)| at == "there" && !gone);
        assert_eq!(living.map(|(_, id, _)| id), third.as_ref());
        let parked = stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap();
        assert_eq!(parked, []);
    }
}

#[tokio::test]
async fn what_waits_and_goes_waits_no_more() {
    for traceless in [true, false] {
        let (stage, here, there, engine) = empty().await;
        here.put(northwind());
        settle(&engine).await;
        let theirs = there.put(northwind());
        settle(&engine).await;
        assert_eq!(
            stage
                .ledger
                .parked(&ParkedFilter::default(), 10)
                .await
                .unwrap()
                .len(),
            1
        );
        if traceless {
            there.take(&theirs);
            stage.pass_hours(1);
        } else {
            there.edit(&theirs, "deleted", json!(true));
        }
        settle(&engine).await;
        assert_eq!(
            stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap(),
            []
        );
    }
}

#[tokio::test]
async fn what_was_made_while_another_node_met_theirs_waits_for_a_person_and_theirs_is_kept() {
    let (stage, here, there, engine) = empty().await;
    let second = stage.node("second", Arc::clone(&stage.ledger));
    here.put(northwind());
    pull(&engine, "here").await;
    pull(&engine, "there").await;
    let theirs = there.put(json!({"name": "Northwind", "domain": "northwind.example", "note": "theirs"}));
    there.show_only(1);
    there.hold_answers();
    let pushing = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { push(&engine, "there").await }
    });
    there.called("POST", 1).await;
    assert_eq!(pull(&second, "there").await.met, 1);
    there.answer();
    pushing.await.unwrap();
    there.show_only(usize::MAX);

    let made = there.rows()[1]["id"].as_str().unwrap().to_owned();
    let parked = stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap();
    assert_eq!(
        (parked.len(), &*parked[0].code, &parked[0].key),
        (1, "duplicate", &made)
    );
    settle(&engine).await;
    let linked = ("there".to_owned(), theirs.clone(), false);
    assert!(stage.links("Northwind").await.contains(&linked));
    assert_eq!(here.rows()[0]["note"], "theirs");
    assert_eq!(stage.partners().await.len(), 1);

    // People make the two one there.
    there.edit(&made, "into", json!(theirs));
    stage.pass_hours(1);
    settle(&engine).await;
    assert_eq!(
        stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap(),
        []
    );
    assert!(stage.links("Northwind").await.contains(&linked));
}

#[tokio::test]
async fn an_object_of_another_record_stays_that_records_whatever_a_system_answers() {
    let (stage, here, there, engine) = empty().await;
    here.put(northwind());
    settle(&engine).await;
    let made = there.rows()[0]["id"].as_str().unwrap().to_owned();
    here.put(json!({"name": "Southwind", "domain": "southwind.example"}));
    pull(&engine, "here").await;
    there.mistake_for(&made);
    push(&engine, "there").await;

    let parked = stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap();
    let [parked] = parked.as_slice() else {
        panic!("{parked:?}")
    };
    assert_eq!((&*parked.code, parked.inbound), ("duplicate", false));
    assert!(parked.reason.contains(&made), "{}", parked.reason);
    let linked = ("there".to_owned(), made, false);
    assert!(stage.links("Northwind").await.contains(&linked));
    assert!(stage.links("Southwind").await.iter().all(|(at, ..)| at == "here"));
}

#[tokio::test]
async fn what_was_passed_over_as_a_duplicate_is_read_when_it_takes_the_place_of_ours() {
    let (stage, here, there, engine) = empty().await;
    here.put(northwind());
    settle(&engine).await;
    let made = there.rows()[0]["id"].as_str().unwrap().to_owned();
    let theirs = there.put(json!({"name": "Northwind", "domain": "northwind.example", "note": "theirs"}));
    settle(&engine).await;
    assert_eq!(here.rows()[0]["note"], Json::Null);
    // What goes is told, and nothing more.
    there.edit(&made, "into", json!(theirs));
    there.list_only(1);
    pull(&engine, "there").await;
    there.list_only(usize::MAX);
    there.silence();
    settle(&engine).await;
    assert_eq!(here.rows()[0]["note"], "theirs");
    assert_eq!(
        stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap(),
        []
    );
}

/// What is parked on its way out: its code and why.
async fn parked_out(stage: &Stage) -> Vec<(String, String)> {
    let filter = ParkedFilter {
        inbound: Some(false),
        ..ParkedFilter::default()
    };
    let parked = stage.ledger.parked(&filter, 9).await.unwrap();
    parked
        .into_iter()
        .map(|parked| (parked.code, parked.reason))
        .collect()
}

#[tokio::test]
async fn what_its_system_takes_for_another_record_waits_for_a_person() {
    let (stage, here, there, engine) = empty().await;
    let other = there.put(json!({"name": "Contoso"}));
    settle(&engine).await;
    there.has_all_as(Some(&other));
    here.put(json!({"name": "Northwind"}));
    settle(&engine).await;
    let contoso = stage.ledger.linked("there", "things", &[other]).await.unwrap();
    let parked = parked_out(&stage).await;
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].0, "duplicate");
    assert!(
        parked[0].1.contains(&contoso[0].record.id.to_string()),
        "{parked:?}"
    );
    // It is not tried for ever.
    stage.pass_hours(1);
    there.forget_calls();
    settle(&engine).await;
    assert!(!there.calls().contains(&"POST".to_owned()));

    there.has_all_as(None);
    engine
        .retry_parked(&crate::WhichParked::default(), false)
        .await
        .unwrap();
    settle(&engine).await;
    assert_eq!(parked_out(&stage).await, []);
    assert_eq!(there.rows().len(), 2);
}

#[tokio::test]
async fn what_is_there_and_hidden_is_told_and_met_when_it_is_shown() {
    let (stage, here, there, engine) = empty().await;
    there.show_only(0);
    let hidden = there.put(json!({"name": "Northwind"}));
    there.has_all_as(Some(&hidden));
    here.put(json!({"name": "Northwind", "note": "ours"}));
    settle(&engine).await;
    let parked = parked_out(&stage).await;
    assert_eq!(parked.len(), 1);
    assert!(parked[0].1.contains("is not read as a partner"), "{parked:?}");
    there.show_only(usize::MAX);
    stage.pass_hours(1);
    push(&engine, "there").await;
    stage.pass_hours(1);
    settle(&engine).await;
    assert_eq!(parked_out(&stage).await, []);
    assert_eq!(
        (there.rows().len(), &there.rows()[0]["note"]),
        (1, &json!("ours"))
    );
}
