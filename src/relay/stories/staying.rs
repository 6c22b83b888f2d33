//! Who sends while nobody else writes to the ledger.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledger::{Stop, StopKind};
use tokio::sync::Notify;

use super::stage::{Answer, Sink, Stage, endpoint, limits};
use crate::{Dispatch, EndpointSettings, RelayLimits, Subscription};

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let looks = async {
        while !is() {
            tokio::task::yield_now().await;
        }
    };
    // Not a measure: a guard against a story that would hang.
    let came = tokio::time::timeout(Duration::from_secs(20), looks).await;
    came.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_alone_stays_and_sees_what_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, failing, slow) = (Sink::start().await, Sink::start().await, Sink::start().await);
    let to = |name: &str, sink: &Sink, of: &str| EndpointSettings {
        subscriptions: vec![Subscription::from(of)],
        ..endpoint(name, "borealis", sink)
    };
    let endpoints = [
        to("b", &sink, "deal.won"),
        to("c", &failing, "deal.lost"),
        to("d", &slow, "deal.created"),
    ];
    let limits = RelayLimits {
        stay_ms: 1_000_000,
        run_ms_max: 1_000_000,
        ..limits()
    };
    let stage = Stage::open(folder.path(), &endpoints, limits.clone()).await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let later = Arc::new(move |endpoint: &str, _| noted.lock().unwrap().push(endpoint.to_owned()));
    let dispatch = Arc::new(Dispatch::new(stage.deliverer.clone(), later));

    // Who sends does not leave, so it is looked for others meanwhile.
    let release = Arc::new(Notify::new());
    slow.answer_next(Answer::Held(release.clone()));
    stage.post("m0", "deal.created").await.unwrap();
    dispatch.look("d");
    let alone = || stage.deliverer.alone.is(stage.deliverer.alone.since());
    until("it is alone", alone).await;
    stage.post("m1", "deal.won").await.unwrap();
    dispatch.look("b");
    sink.arrived(1).await;
    // Each of these looks in vain and leaves, which takes as long as `b` would have stayed with others beside it.
    failing.answer_always(Answer::Status(500));
    for round in 1..=3 {
        stage.post(&format!("lost-{round}"), "deal.lost").await.unwrap();
        dispatch.look("c");
        failing.arrived(round).await;
        until("who failed leaves", || !dispatch.runs("c")).await;
    }
    assert!(dispatch.runs("b"));
    assert_eq!(
        *asked.lock().unwrap(),
        ["c", "c", "c"],
        "what failed is due later"
    );

    // Another process on the same file.
    let elsewhere = Stage::open(folder.path(), &endpoints, limits).await;
    // Both draw their ids from the same random sequence.
    stage.clock.forward_s(1);
    elsewhere.clock.forward_s(1);
    elsewhere.post("m2", "deal.won").await.unwrap();
    until("what others accepted is sent", || sink.count() == 2).await;
    until("who began before that stays no longer", || !dispatch.runs("b")).await;
    until("it is alone again", alone).await;
    stage.post("m3", "deal.won").await.unwrap();
    dispatch.look("b");
    sink.arrived(3).await;
    let stop = Stop {
        kind: StopKind::Paused,
        reason: "by hand".into(),
        at: stage.clock.now(),
    };
    assert!(dispatch.runs("b"));
    elsewhere.ledger.stop_endpoint("b", Some(&stop)).await.unwrap();
    until("who is stopped leaves", || !dispatch.runs("b")).await;
    release.notify_one();
    dispatch.stop().await;
    assert!(!alone(), "nobody looks any more");
    assert_eq!(sink.count(), 3, "each once");
}
