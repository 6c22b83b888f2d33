//! What no cursor tells is found by asking for everything that is linked.

use std::sync::Arc;

use ledger::ParkedFilter;
use serde_json::json;

use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::{Depth, Engine, GONE_MAX_PERCENT};

/// A system with so many partners, read completely, that moves no time of change from now on.
async fn silent(partners: usize) -> (Stage, Shelf, Arc<Engine>) {
    let shelf = Shelf::start(Key::Read).await;
    for number in 1..=partners {
        shelf.put(json!({"name": format!("Partner {number}")}));
    }
    let (stage, engine) = read(&shelf).await;
    (stage, shelf, engine)
}

async fn read(shelf: &Shelf) -> (Stage, Arc<Engine>) {
    let stage = Stage::new(&[("here", shelf)]).await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    shelf.silence();
    shelf.forget_calls();
    (stage, engine)
}

async fn parked(stage: &Stage) -> Vec<(String, String)> {
    let parked = stage.ledger.parked(&ParkedFilter::default(), 10).await.unwrap();
    let told = parked.into_iter().map(|parked| (parked.code, parked.reason));
    told.collect()
}

fn calls_by_id(shelf: &Shelf) -> usize {
    shelf.calls().iter().filter(|call| *call == "GET ids").count()
}

#[tokio::test]
async fn what_was_deleted_without_a_trace_is_gone_after_a_day() {
    let (stage, shelf, engine) = silent(3).await;
    shelf.take("T2");
    shelf.edit("T3", "note", json!("computed"));
    stage.pass_hours(23);
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(report.counts.read, 0, "not yet");
    stage.pass_hours(1);
    let report = engine.pull("here", "things", Depth::Named).await.unwrap();
    assert_eq!(report.counts.read, 0, "who has news is not held up");
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    let counts = report.counts;
    assert_eq!(
        (counts.read, counts.gone, counts.updated, counts.unchanged),
        (3, 1, 1, 1)
    );
    assert_eq!(
        stage.links("Partner 2").await,
        [("here".into(), "T2".into(), true)]
    );
    // Once a day, and what is gone is not asked for again.
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(report.counts.read, 0);
    stage.pass_hours(24);
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!((report.counts.read, report.counts.unchanged), (2, 2));
    assert_eq!(calls_by_id(&shelf), 2);
}

#[tokio::test]
async fn a_census_goes_on_where_it_stood() {
    let (stage, shelf, engine) = silent(1_200).await;
    stage.pass_hours(24);
    // In the second of three pages; the first call is that of the cursor.
    shelf.refuse_after(13);
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(calls_by_id(&shelf), 12, "fifty ids a call");
    let runs = stage.ledger.runs(1).await.unwrap();
    assert_eq!(
        (runs[0].direction.as_str(), runs[0].error.as_str()),
        (
            "census",
            "here: what was asked for does not exist at the system (not now)"
        )
    );
    // It rests a while; who knows nothing of that goes on.
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(report.counts.read, 0);
    let later = stage.node("another", Arc::clone(&stage.ledger));
    let report = later.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(report.counts.read, 700, "all but the first page");
    let report = later.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(report.counts.read, 0);
}

#[tokio::test]
async fn a_census_waits_for_room_and_news_does_not() {
    let (stage, shelf, engine) = silent(1).await;
    stage.pass_hours(24);
    shelf.tell_used(600);
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(calls_by_id(&shelf), 0, "half of the quota is not for it any more");
    shelf.tell_used(10);
    stage.pass_hours(1);
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(report.counts.read, 1);
}

#[tokio::test]
async fn when_much_is_gone_at_once_a_person_is_asked() {
    let (stage, shelf, engine) = silent(60).await;
    stage.pass_hours(24);
    shelf.show_only(45);
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!((report.counts.gone, report.counts.parked), (0, 1));
    assert_eq!(
        parked(&stage).await,
        [(
            "many_gone".to_owned(),
            "15 of 60 linked objects are not answered any more, and nothing was taken as gone: give the connection its \
             rights back, or say that they were deleted with `interconnect review decide here/things/#census --accept`"
                .to_owned()
        )]
    );
    // It was the right to see them.
    shelf.show_only(50);
    let report = engine.census("here", "things", GONE_MAX_PERCENT).await.unwrap();
    assert_eq!(report.counts.gone, 10, "so many may be gone at any time");
    assert!(parked(&stage).await.is_empty());
    // It was meant.
    shelf.show_only(10);
    let report = engine.census("here", "things", 100).await.unwrap();
    assert_eq!((report.counts.gone, report.counts.unchanged), (40, 10));
}

#[tokio::test]
async fn where_deletes_are_told_only_computed_values_are_worth_a_census() {
    let shelf = Shelf::start(Key::Read).await;
    shelf.tells_deletes();
    shelf.put(json!({"name": "Northwind"}));
    let (stage, engine) = read(&shelf).await;
    shelf.edit("T1", "note", json!("computed"));
    stage.pass_hours(24);
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(report.counts.read, 0);
    assert_eq!(shelf.calls(), ["GET changes", "GET fields"]);
    shelf.computes("note");
    stage.pass_hours(24);
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!((report.counts.read, report.counts.updated), (1, 1));
}
