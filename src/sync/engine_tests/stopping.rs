//! More than was expected waits for a person, and costs the system nothing meanwhile.

use std::sync::Arc;

use ledger::Ledger;
use serde_json::json;

use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::{Depth, Engine, StopLimits, SyncError, What, halted};

/// Two systems that were read; the first has so many partners that the other is owed.
async fn owed(partners: usize, stop: StopLimits) -> (Stage, Shelf, Shelf, Vec<String>) {
    let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
    let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
    stage.stop = stop;
    let ids = (0..partners).map(|number| here.put(json!({"name": format!("Partner {number}")})));
    let ids = ids.collect();
    let engine = engine(&stage);
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    (stage, here, there, ids)
}

/// A process of its own.
fn engine(stage: &Stage) -> Arc<Engine> {
    stage.node("node", Arc::clone(&stage.ledger))
}

async fn owed_there(ledger: &dyn Ledger) -> usize {
    ledger
        .all_pushes("there", "things", None, 100)
        .await
        .unwrap()
        .len()
}

/// Nothing is done, and nothing asked of the system.
async fn stays_stopped(stage: &Stage, shelf: &Shelf, connection: &str) {
    shelf.forget_calls();
    let engine = engine(stage);
    let stopped = match connection {
        "here" => engine.pull(connection, "things", Depth::Changed).await,
        _ => engine.push(connection, "things").await,
    };
    assert!(matches!(stopped, Err(SyncError::Stopped { .. })), "{stopped:?}");
    assert_eq!(shelf.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn what_would_be_created_beyond_a_limit_waits_for_a_person() {
    let stop = StopLimits {
        creates_max: Some(2),
        ..StopLimits::default()
    };
    let (stage, _here, there, _) = owed(5, stop).await;
    let report = engine(&stage).push("there", "things").await.unwrap();
    assert_eq!(report.counts.created_there, 2);
    let reason = report.halted.unwrap();
    assert!(
        reason.contains("would come to 3 creates") && reason.contains("limit of 2"),
        "{reason}"
    );
    assert!(
        reason.contains("3 records are owed") && reason.contains("--allow creates=3"),
        "{reason}"
    );
    assert_eq!((there.rows().len(), owed_there(&*stage.ledger).await), (2, 3));
    let runs = stage.ledger.runs(9).await.unwrap();
    let run = runs.iter().find(|run| run.direction == "push").unwrap();
    assert_eq!((&run.error, &run.counts["created_there"]), (&reason, &json!(2)));

    stays_stopped(&stage, &there, "there").await;
    assert_eq!(
        halted(&*stage.ledger, "there", "things").await.unwrap(),
        Some(reason)
    );
    // Reading goes on.
    engine(&stage)
        .pull("there", "things", Depth::Changed)
        .await
        .unwrap();
    // A person allows one more, and then what is left.
    let resumed = engine(&stage)
        .resume("there", "things", &[(What::Creates, 1)])
        .await
        .unwrap();
    assert!(resumed);
    let report = engine(&stage).push("there", "things").await.unwrap();
    assert_eq!((report.counts.created_there, report.halted.is_some()), (1, true));
    stays_stopped(&stage, &there, "there").await;
    engine(&stage)
        .resume("there", "things", &[(What::Creates, 2)])
        .await
        .unwrap();
    let report = engine(&stage).push("there", "things").await.unwrap();
    assert_eq!((report.counts.created_there, report.halted), (2, None));
    assert_eq!((there.rows().len(), owed_there(&*stage.ledger).await), (5, 0));
}

#[tokio::test]
async fn a_raised_limit_lets_it_go_on_and_the_span_ends() {
    let stop = StopLimits {
        creates_max: Some(1),
        updates_max: Some(2),
        ..StopLimits::default()
    };
    let (mut stage, here, there, ids) = owed(2, stop).await;
    assert!(
        engine(&stage)
            .push("there", "things")
            .await
            .unwrap()
            .halted
            .is_some()
    );
    stage.stop.creates_max = Some(2);
    let report = engine(&stage).push("there", "things").await.unwrap();
    assert_eq!((report.counts.created_there, report.halted), (1, None));

    let update = async |stage: &Stage, round: u8| {
        for id in &ids {
            here.edit(id, "note", json!(format!("round {round}")));
        }
        let engine = engine(stage);
        engine.pull("here", "things", Depth::All).await.unwrap();
        engine.push("there", "things").await.unwrap()
    };
    assert_eq!(update(&stage, 0).await.counts.written, 2);
    // A day later the count begins anew.
    stage.pass_hours(25);
    let report = update(&stage, 1).await;
    assert_eq!((report.counts.written, report.halted), (2, None));
    stage.pass_hours(1);
    assert!(update(&stage, 2).await.halted.is_some());
    // What was halted waits for a person, however long.
    stage.pass_hours(25);
    stays_stopped(&stage, &there, "there").await;
    engine(&stage).resume("there", "things", &[]).await.unwrap();
    assert_eq!(
        engine(&stage)
            .push("there", "things")
            .await
            .unwrap()
            .counts
            .written,
        2
    );
    assert!(there.rows().iter().all(|row| row["note"] == "round 2"));
}

#[tokio::test]
async fn what_is_gone_beyond_a_limit_waits_for_a_person() {
    let stop = StopLimits {
        gone_max: Some(1),
        ..StopLimits::default()
    };
    let (stage, here, _there, ids) = owed(3, stop).await;
    for id in &ids {
        here.edit(id, "deleted", json!(true));
    }
    let report = engine(&stage)
        .pull("here", "things", Depth::Changed)
        .await
        .unwrap();
    let reason = report.halted.unwrap();
    assert!(
        reason.contains("would come to 3 gone") && reason.contains("--allow gone=3"),
        "{reason}"
    );
    assert_eq!(report.counts.gone, 0);
    let gone = async |name: &str| stage.links(name).await.iter().any(|(_, _, gone)| *gone);
    assert!(!gone("Partner 0").await, "nothing was taken as gone");
    stays_stopped(&stage, &here, "here").await;
    engine(&stage)
        .resume("here", "things", &[(What::Gone, 3)])
        .await
        .unwrap();
    let report = engine(&stage)
        .pull("here", "things", Depth::Changed)
        .await
        .unwrap();
    assert_eq!((report.counts.gone, report.halted), (3, None));
    assert!(gone("Partner 0").await);
}

#[tokio::test]
async fn what_is_cancelled_stays_so_until_it_is_resumed() {
    let (stage, here, there, _) = owed(3, StopLimits::default()).await;
    engine(&stage).cancel("there", "things").await.unwrap();
    stays_stopped(&stage, &there, "there").await;
    engine(&stage).cancel("here", "things").await.unwrap();
    stays_stopped(&stage, &here, "here").await;
    assert!(engine(&stage).is_at_rest("here", "things").await.unwrap());
    assert!(engine(&stage).resume("there", "things", &[]).await.unwrap());
    assert!(!engine(&stage).resume("there", "things", &[]).await.unwrap());
    assert_eq!(
        engine(&stage)
            .push("there", "things")
            .await
            .unwrap()
            .counts
            .created_there,
        3
    );
}

#[tokio::test]
async fn who_is_to_end_ends_between_two_pages_and_the_next_goes_on_there() {
    let here = Shelf::start(Key::Read).await;
    let stage = Stage::new(&[("here", &here)]).await;
    for number in 0..250 {
        here.put(json!({"name": format!("Partner {number}")}));
    }
    let first = engine(&stage);
    let pulling = tokio::spawn({
        let first = Arc::clone(&first);
        async move { first.pull("here", "things", Depth::Changed).await }
    });
    here.called("GET changes", 1).await;
    first.end_soon();
    let report = pulling.await.unwrap().unwrap();
    let read = report.counts.read;
    assert!(
        (100..=200).contains(&read) && report.halted.is_some(),
        "{report:?}"
    );
    here.forget_calls();
    let report = engine(&stage)
        .pull("here", "things", Depth::Changed)
        .await
        .unwrap();
    // The first reading is followed by one of what was edited meanwhile.
    let pages = here.calls().iter().filter(|call| *call == "GET changes").count() as u64;
    assert_eq!(report.counts.created, 250 - read);
    assert!(pages <= 5, "{pages} pages");
    assert_eq!(
        stage
            .ledger
            .list_records(model::Kind::Partner, None, 999)
            .await
            .unwrap()
            .len(),
        250
    );
}
