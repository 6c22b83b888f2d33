//! What was kept for long enough is removed while traffic goes on.

use std::future::pending;
use std::sync::Arc;

use super::stage::{Answer, Sink, Stage, endpoint, limits};
use crate::{FORGET_BITE, Forgetter, RetentionSettings};

const DAY_S: i64 = 86_400;
const OWED: usize = FORGET_BITE + 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_events_go_in_bites_and_what_is_owed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, gone) = (Sink::start().await, Sink::start().await);
    gone.answer_always(Answer::Status(410));
    let mut endpoints = [endpoint("b", "borealis", &sink), endpoint("gone", "ceres", &gone)];
    endpoints[1].in_flight_max = 1;
    let stage = Arc::new(Stage::open(folder.path(), &endpoints, limits()).await);
    // More than a bite looks at: it must go past what stays.
    for n in 0..OWED {
        stage.post(&format!("owed{n}"), "deal.won").await.unwrap();
    }
    assert_eq!(stage.deliver("gone").await, None);
    stage.deliver("b").await;
    let stage_of_one = Stage::open(folder.path(), &endpoints[..1], limits()).await;
    // Their ids are made of the moment, and of the same random numbers.
    stage_of_one.clock.forward_s(1);
    for n in 0..700 {
        stage_of_one.post(&format!("m{n}"), "deal.won").await.unwrap();
    }
    stage_of_one.deliver("b").await;

    let settings = RetentionSettings {
        arrived_ms: Some(30 * 86_400_000),
        dead_ms: Some(90 * 86_400_000),
    };
    let forgetter = Forgetter::new(stage.ledger.clone(), settings, stage.clock.clock(), "here");
    stage.clock.forward_s(30 * DAY_S);
    assert_eq!(forgetter.pass(pending()).await.unwrap(), 0, "not yet");
    stage.clock.forward_s(2);
    // While it works, events come in and go out.
    let busy = stage.clone();
    let traffic = tokio::spawn(async move {
        for n in 0..50 {
            busy.post(&format!("new{n}"), "deal.won").await.unwrap();
        }
    });
    // The one beside them says that an endpoint is gone, to nobody.
    assert_eq!(forgetter.pass(pending()).await.unwrap(), 700 + 1);
    traffic.await.unwrap();
    stage.deliver("b").await;
    assert_eq!(stage.deliveries("b").await.len(), OWED + 50);
    assert!(
        !stage.post("m0", "deal.won").await.unwrap().duplicate,
        "it is forgotten"
    );
    assert!(stage.post("owed0", "deal.won").await.unwrap().duplicate);

    // What waits for an endpoint that is gone is kept, for it may go on; what was given up is not, after its time.
    stage.clock.forward_s(90 * DAY_S);
    assert_eq!(forgetter.pass(std::future::ready(())).await.unwrap(), 1);
    assert!(!stage.deliveries("gone").await.is_empty());
}
