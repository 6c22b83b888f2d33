//! One node at a time sends to an endpoint, and a restart loses nothing.

use std::sync::Arc;

use jiff::SignedDuration;
use ledger::DeliveryState::{Delivered, Due};
use tokio::sync::Notify;

use super::stage::{Answer, Sink, Stage, endpoint, limits};

#[tokio::test]
async fn what_was_accepted_before_a_restart_is_delivered_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let endpoints = [endpoint("b", "borealis", &sink)];
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    let receipt = stage.post("m1", "deal.won").await.unwrap();
    drop(stage);

    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    assert_eq!(
        stage.ledger.endpoints_due().await.unwrap().len(),
        1,
        "a sweep finds it"
    );
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(sink.received()[0].id(), receipt.event.to_string());
    assert!(
        stage.post("m1", "deal.won").await.unwrap().duplicate,
        "and it is still known"
    );
}

#[tokio::test]
async fn somebody_elses_lease_is_respected() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let stage = Stage::open(folder.path(), &[endpoint("b", "borealis", &sink)], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();
    let now = stage.clock.now();
    let until = now + SignedDuration::from_secs(20);
    let theirs = stage
        .ledger
        .lease("deliver:b", "there", now, until)
        .await
        .unwrap()
        .unwrap();
    assert!(stage.deliver("b").await.is_some(), "look again later");
    assert_eq!(sink.count(), 0);
    stage.ledger.release(&theirs).await.unwrap();
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(sink.count(), 1);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_writes_nothing_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let release = Arc::new(Notify::new());
    sink.answer_next(Answer::Held(release.clone()));
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 1;
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();
    stage.post("m2", "deal.won").await.unwrap();
    let deliverer = stage.deliverer.clone();
    let run = tokio::spawn(async move { deliverer.deliver("b", std::future::pending()).await });
    sink.arrived(1).await;
    // The ledger is told that much time has passed; the worker, whose own clock stands still, does not know.
    let much_later = stage.clock.now() + SignedDuration::from_hours(1);
    let until = much_later + SignedDuration::from_secs(20);
    let theirs = stage
        .ledger
        .lease("deliver:b", "there", much_later, until)
        .await
        .unwrap()
        .unwrap();
    release.notify_one();
    assert!(run.await.unwrap().unwrap().is_some());
    assert_eq!(
        stage.states("b").await,
        [(Due, 0), (Due, 0)],
        "its attempt is not written"
    );
    // What it sent meanwhile is at most what it may have in flight beside what it writes.
    let sent_by_the_loser = sink.count();
    assert!(sent_by_the_loser <= 2, "{sent_by_the_loser}");

    stage.ledger.release(&theirs).await.unwrap();
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(stage.states("b").await, [(Delivered, 1), (Delivered, 1)]);
    let received = sink.received();
    assert_eq!(received.len(), sent_by_the_loser + 2);
    assert_eq!(
        received[0].id(),
        received[sent_by_the_loser].id(),
        "sent twice, under the same id"
    );
}

#[tokio::test]
async fn a_clock_that_leaps_forward_sends_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let release = Arc::new(Notify::new());
    sink.answer_next(Answer::Held(release.clone()));
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 1;
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();
    stage.post("m2", "deal.won").await.unwrap();
    let deliverer = stage.deliverer.clone();
    let run = tokio::spawn(async move { deliverer.deliver("b", std::future::pending()).await });
    sink.arrived(1).await;
    // By this clock the lease has run out; nobody else has it.
    stage.clock.forward_s(3600);
    release.notify_one();
    assert_eq!(run.await.unwrap().unwrap(), None);
    assert_eq!(stage.states("b").await, [(Delivered, 1), (Delivered, 1)]);
    assert_eq!(sink.count(), 2, "what was in flight was written down");
}

#[tokio::test]
async fn stopping_waits_for_what_is_in_flight_and_begins_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let release = Arc::new(Notify::new());
    sink.answer_next(Answer::Held(release.clone()));
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 1;
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();
    stage.post("m2", "deal.won").await.unwrap();
    let stop = Arc::new(Notify::new());
    let (deliverer, stopped) = (stage.deliverer.clone(), stop.clone());
    let run = tokio::spawn(async move { deliverer.deliver("b", stopped.notified()).await });
    sink.arrived(1).await;
    stop.notify_one();
    release.notify_one();
    assert!(
        run.await
            .unwrap()
            .unwrap()
            .is_some_and(|at| at <= stage.clock.now()),
        "look again at once"
    );
    assert_eq!(stage.states("b").await, [(Delivered, 1), (Due, 0)]);
}
