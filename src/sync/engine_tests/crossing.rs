//! What is read of an object while it is written.

use std::sync::Arc;

use ledger::{Ledger, SyncCommit};
use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;

use super::held::{Call, Held};
use super::hints::hint;
use super::shelf::Shelf;
use super::stage::{COUNTS, Stage};
use crate::{Depth, Engine, Report, SyncError};

/// A push whose update has arrived there.
async fn pushing(engine: &Arc<Engine>, there: &Shelf) -> JoinHandle<Result<Report, SyncError>> {
    let engine = Arc::clone(engine);
    let push = tokio::spawn(async move { engine.push("there", "things").await });
    there.called("PATCH", 1).await;
    push
}

/// The notes at both systems when there is nothing to do any more, and who said what they were in the record's history.
async fn notes(stage: &Stage, systems: &[Shelf; 2]) -> (Vec<Json>, Vec<(String, Json)>) {
    let engine = stage.node("later", Arc::clone(&stage.ledger));
    for _ in 0..2 {
        for connection in ["there", "here"] {
            engine.push(connection, "things").await.unwrap();
            engine.pull(connection, "things", Depth::All).await.unwrap();
        }
        stage.pass_hours(1);
    }
    let notes = systems.iter().map(|system| system.rows()[0]["note"].clone());
    let record = stage.partners().await.remove(0);
    let history = stage.ledger.history(record.id).await.unwrap().into_iter();
    let said = history.filter(|change| change.path == "description");
    (
        notes.collect(),
        said.map(|change| (change.connection, change.after)).collect(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_before_it_was_written_over_is_written_again() {
    let (stage, [here, there], [id, made]) = Stage::knowing().await;
    here.edit(&id, "note", json!("ours"));
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    there.hold_changes();
    let pushing = pushing(&engine, &there).await;
    // A person changes it last, and is read, before the write of what was there before takes effect.
    for note in ["their", "theirs"] {
        there.edit(&made, "note", json!(note));
    }
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    there.let_changes();
    pushing.await.unwrap().unwrap();
    let (notes, said) = notes(&stage, &[here, there]).await;
    assert_eq!(notes, [json!("theirs"), json!("theirs")]);
    let last = ("there".to_owned(), json!("theirs"));
    assert_eq!(said, [("here".to_owned(), json!("ours")), last]);
}

/// What was just made says nothing new, though what it names went before its system had answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_names_what_went_while_it_was_made_names_nobody_new() {
    let deal = json!({"name": "Rollout", "stage": "prospect"});
    let (stage, [here, there], engine, partners, _) =
        Stage::with_a_deal(&["Northwind", "Fabrikam"], deal).await;
    let pilot = here.put(json!({"name": "Pilot", "stage": "prospect", "partner": partners[0]}));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    there.forget_calls();
    there.hold_answers();
    let pusher = Arc::clone(&engine);
    let pushing = tokio::spawn(async move { pusher.push("there", "things").await });
    there.called("POST", 1).await;
    let made = there.rows().pop().unwrap();
    let gone = [made["partner"].as_str().unwrap().to_owned()];
    let mut gone = stage.ledger.linked("there", "things", &gone).await.unwrap();
    gone[0].link.gone = true;
    let commit = SyncCommit {
        links: vec![gone.remove(0).link],
        ..SyncCommit::default()
    };
    stage.ledger.commit(commit).await.unwrap();
    there.let_answers();
    pushing.await.unwrap().unwrap();
    // A person says who the partner really is, and another one, later, what it is called.
    here.edit(&pilot, "partner", json!(partners[1]));
    for name in ["Pilot 1", "Pilot 2"] {
        there.edit(made["id"].as_str().unwrap(), "name", json!(name));
    }
    for connection in ["here", "there"] {
        engine.pull(connection, "things", Depth::Changed).await.unwrap();
    }
    engine.push("here", "things").await.unwrap();
    let pilot = here.rows().pop().unwrap();
    assert_eq!(
        (&pilot["partner"], &pilot["name"]),
        (&json!(partners[1]), &json!("Pilot 2"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_while_a_push_is_prepared_is_not_written_over() {
    let (stage, [here, there], [id, made]) = Stage::knowing().await;
    here.edit(&id, "note", json!("ours"));
    let puller = stage.node("first", Arc::clone(&stage.ledger));
    puller.pull("here", "things", Depth::Changed).await.unwrap();
    let held = Arc::new(Held::over(Arc::clone(&stage.ledger)));
    let pusher = stage.node("second", Arc::clone(&held) as Arc<dyn Ledger>);
    held.hold(Call::Links);
    let pushing = tokio::spawn(async move { pusher.push("there", "things").await });
    held.called().await;
    for note in ["their", "theirs"] {
        there.edit(&made, "note", json!(note));
    }
    puller.pull("there", "things", Depth::Changed).await.unwrap();
    held.go_on();
    pushing.await.unwrap().unwrap();
    assert_eq!(there.rows()[0]["note"], json!("theirs"));
    let (notes, _) = notes(&stage, &[here, there]).await;
    assert_eq!(notes, [json!("theirs"), json!("theirs")]);
}

/// It is written while is absorbed what was read before, by a process whose clock is so much behind from then on.
async fn written_while_it_is_absorbed(depth: Depth, behind_ms: i64, for_long: bool) {
    let (stage, [here, there], [id, made]) = Stage::knowing().await;
    here.edit(&id, "note", json!("ours"));
    let pusher = stage.node("first", Arc::clone(&stage.ledger));
    pusher.pull("here", "things", Depth::Changed).await.unwrap();
    there.hold_changes();
    let pushing = pushing(&pusher, &there).await;
    // The page is read before the write, and looks up what is known of the object before the write is concluded.
    for note in ["their", "theirs"] {
        there.edit(&made, "note", json!(note));
    }
    let held = Arc::new(Held::over(Arc::clone(&stage.ledger)));
    let puller = stage.node("second", Arc::clone(&held) as Arc<dyn Ledger>);
    if depth == Depth::Named {
        assert!(puller.hint("there", &hint(&made, "update"), "t"));
    }
    held.hold(Call::Commit);
    let pulling = tokio::spawn(async move { puller.pull("there", "things", depth).await });
    held.called().await;
    stage.pass_ms(-behind_ms);
    there.let_changes();
    pushing.await.unwrap().unwrap();
    stage.pass_ms(if for_long { 0 } else { behind_ms });
    held.go_on();
    pulling.await.unwrap().unwrap();
    // What a person said a moment before is written over, at a system that heeds no versions; what is there now counts.
    let (notes, said) = notes(&stage, &[here, there]).await;
    assert_eq!(notes, [json!("ours"), json!("ours")]);
    assert_eq!(said, [("here".to_owned(), json!("ours"))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_while_a_page_is_absorbed_is_no_change_of_theirs() {
    written_while_it_is_absorbed(Depth::Changed, 0, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_what_a_process_wrote_whose_clock_is_behind() {
    written_while_it_is_absorbed(Depth::Changed, 1_000, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_what_was_written_after_the_clock_was_put_back() {
    written_while_it_is_absorbed(Depth::Changed, 3_600_000, true).await;
}

/// What is read by its id is held against what was known when it was asked for, whatever clocks say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_what_was_written_while_that_is_absorbed_which_a_hint_named() {
    written_while_it_is_absorbed(Depth::Named, 3_600_000, false).await;
}

/// Two writes, of which a listing still tells the first one, at a system that does not tell when it took them.
#[tokio::test]
async fn what_a_listing_tells_that_is_behind_is_no_change_of_theirs() {
    let (stage, [here, there], [id, _]) = Stage::knowing().await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    for note in ["first", "second"] {
        here.edit(&id, "note", json!(note));
        engine.pull("here", "things", Depth::Changed).await.unwrap();
        engine.push("there", "things").await.unwrap();
        if note == "first" {
            there.fall_behind();
        }
    }
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    there.catch_up();
    let (notes, said) = notes(&stage, &[here, there]).await;
    assert_eq!(notes, [json!("second"), json!("second")]);
    assert!(
        said.iter().all(|(connection, _)| connection == "here"),
        "{said:?}"
    );
}

/// Its last change and its end are told with one time, and who asks for it by its id is told nothing.
#[tokio::test]
async fn what_went_in_the_second_in_which_it_was_changed_is_gone() {
    let (mut stage, [here, there], [_, made]) = Stage::knowing().await;
    stage.deletes = [("here", COUNTS), ("there", COUNTS)].into();
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    there.edit(&made, "note", json!("theirs"));
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    there.meddle(&made, "deleted", json!(true));
    let report = engine.pull("there", "things", Depth::Changed).await.unwrap();
    assert_eq!((report.counts.gone, report.counts.deleted), (1, 1));
    engine.push("here", "things").await.unwrap();
    assert_eq!(here.rows()[0]["deleted"], json!(true));
}

/// It was last seen by a clock that was an hour ahead: what is changed elsewhere after it went is later than that all the same.
#[tokio::test]
async fn what_is_gone_without_a_trace_was_not_deleted_later_than_now() {
    let (mut stage, [here, there], [id, made]) = Stage::knowing().await;
    stage.deletes = [("here", COUNTS), ("there", COUNTS)].into();
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    stage.pass_hours(1);
    there.edit(&made, "note", json!("theirs"));
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    stage.pass_hours(-1);
    there.take(&made);
    engine.census("there", "things", 100).await.unwrap();
    assert!(stage.partners().await[0].deleted_at.is_some());
    here.edit(&id, "name", json!("Northwind Traders"));
    stage.pass_ms(10_000);
    for _ in 0..2 {
        engine.pull("here", "things", Depth::Changed).await.unwrap();
        engine.push("here", "things").await.unwrap();
    }
    assert_eq!(stage.partners().await[0].deleted_at, None);
    assert_eq!(here.rows()[0].get("deleted"), None);
}

/// Its clock is minutes ahead of ours, it does not tell when it took what we wrote, and its listing is behind.
#[tokio::test]
async fn what_was_changed_before_we_wrote_is_older_than_that_by_their_clock() {
    let (stage, [here, there], [id, made]) = Stage::knowing().await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    there.edit(&made, "note", json!("theirs"));
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    engine.push("here", "things").await.unwrap();
    there.tell_time("Thu, 26 Nov 2026 08:10:00 GMT");
    for domain in ["northwind.test", "northwind.example"] {
        there.edit(&made, "domain", json!(domain));
    }
    there.fall_behind();
    here.edit(&id, "note", json!("ours"));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    engine.push("there", "things").await.unwrap();
    stage.pass_ms(3_000);
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    engine.push("here", "things").await.unwrap();
    for system in [&here, &there] {
        let row = &system.rows()[0];
        let held = (&row["note"], &row["domain"]);
        assert_eq!(held, (&json!("ours"), &json!("northwind.example")));
    }
}
