//! Many events, while they are being sent.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use ledger::DeliveryState::Delivered;
use ledger::{Due, NewDelivery, NewEvent};
use model::{DeliveryId, EventId, uuid_from};
use tokio::sync::Notify;

use super::stage::{Answer, Sink, Stage, endpoint, limits};

/// Posts `count` events, `width` at a time, and answers their ids in the order of acceptance within each stripe.
async fn post_many(stage: &Stage, count: usize, width: usize) -> Vec<String> {
    let stripes = (0..width).map(|stripe| async move {
        let mut ids = Vec::new();
        for n in (stripe..count).step_by(width) {
            let receipt = stage.post(&format!("m{n}"), "deal.won").await.unwrap();
            ids.push(receipt.event.to_string());
        }
        ids
    });
    join_all(stripes).await.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_arrives_once_while_more_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 8;
    let mut limits = limits();
    limits.look_ms = 20;
    let stage = Arc::new(Stage::open(folder.path(), &[to], limits).await);
    let before = post_many(&stage, 100, 10).await;
    let sending = {
        let stage = stage.clone();
        tokio::spawn(async move {
            // As a queue would: again for each nudge that nobody took.
            while stage.states("b").await.len() < 1100
                || stage
                    .states("b")
                    .await
                    .iter()
                    .any(|(state, _)| *state != Delivered)
            {
                stage.deliver("b").await;
            }
        })
    };
    sink.arrived(1).await;
    let posting = stage.clone();
    let during: Vec<String> = {
        let stripes = (0..20).map(|stripe| {
            let stage = posting.clone();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for n in 0..50 {
                    let receipt = stage.post(&format!("d{stripe}-{n}"), "deal.won").await.unwrap();
                    ids.push(receipt.event.to_string());
                }
                ids
            })
        });
        join_all(stripes)
            .await
            .into_iter()
            .flat_map(Result::unwrap)
            .collect()
    };
    sending.await.unwrap();
    let arrived: Vec<String> = sink.received().iter().map(|one| one.id().to_owned()).collect();
    let distinct: HashSet<&String> = arrived.iter().collect();
    assert_eq!(
        (arrived.len(), distinct.len()),
        (1100, 1100),
        "none lost, none twice"
    );
    assert_eq!(distinct, before.iter().chain(&during).collect::<HashSet<_>>());
    assert!(sink.open_most() <= 8, "{} at once", sink.open_most());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_in_flight_events_arrive_in_the_order_of_acceptance() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 1;
    let stage = Arc::new(Stage::open(folder.path(), &[to], limits()).await);
    let mut posted = post_many(&stage, 50, 1).await;
    let sending = {
        let stage = stage.clone();
        tokio::spawn(async move {
            while stage
                .states("b")
                .await
                .iter()
                .filter(|(state, _)| *state == Delivered)
                .count()
                < 300
            {
                stage.deliver("b").await;
            }
        })
    };
    for n in 0..250 {
        posted.push(
            stage
                .post(&format!("d{n}"), "deal.won")
                .await
                .unwrap()
                .event
                .to_string(),
        );
    }
    sending.await.unwrap();
    let arrived: Vec<String> = sink.received().iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(arrived, posted);
    assert_eq!(sink.open_most(), 1);
}

#[tokio::test]
async fn an_overloaded_endpoint_gets_less_at_once_and_more_again() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 16;
    // Thirty-two failures in a row are not what this is about.
    to.breaker.failures_max = 100;
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    (0..16).for_each(|_| sink.answer_next(Answer::Status(503)));
    (0..16).for_each(|_| sink.answer_next(Answer::Status(502)));
    post_many(&stage, 200, 10).await;
    stage.deliver("b").await;
    let states = stage.states("b").await;
    assert_eq!(
        states.iter().filter(|(state, _)| *state == Delivered).count(),
        168
    );
    stage.clock.forward_s(60);
    assert_eq!(stage.deliver("b").await, None);
    assert!(
        stage
            .states("b")
            .await
            .iter()
            .all(|(state, _)| *state == Delivered)
    );
}

#[tokio::test]
async fn what_comes_in_during_a_run_need_not_wait_for_a_look_at_the_ledger() {
    for in_flight_max in [1, 8] {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::start().await;
        let mut to = endpoint("b", "borealis", &sink);
        to.in_flight_max = in_flight_max;
        let mut limits = limits();
        limits.look_ms = 1_000_000;
        limits.run_ms_max = 1_000_000;
        let stage = Stage::open(folder.path(), &[to], limits).await;
        stage.post("m0", "deal.won").await.unwrap();
        let stop = Arc::new(Notify::new());
        let (deliverer, stopped) = (stage.deliverer.clone(), stop.clone());
        let run = tokio::spawn(async move { deliverer.deliver("b", stopped.notified()).await });
        for n in 1..20 {
            sink.arrived(n).await;
            stage.post(&format!("m{n}"), "deal.won").await.unwrap();
        }
        sink.arrived(20).await;
        stop.notify_one();
        assert_eq!(run.await.unwrap().unwrap(), None);
        assert_eq!(sink.count(), 20);
        assert_eq!(
            stage.nudged.lock().unwrap().len(),
            1,
            "no job was needed after the first"
        );
    }
}

#[tokio::test]
async fn what_was_read_and_sent_is_not_sent_again_when_it_is_handed_over_late() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut limits = limits();
    limits.look_ms = 1_000_000;
    limits.run_ms_max = 1_000_000;
    let stage = Stage::open(folder.path(), &[endpoint("b", "borealis", &sink)], limits).await;
    stage.post("m0", "deal.won").await.unwrap();
    let stop = Arc::new(Notify::new());
    let (deliverer, stopped) = (stage.deliverer.clone(), stop.clone());
    let run = tokio::spawn(async move { deliverer.deliver("b", stopped.notified()).await });
    sink.arrived(1).await;

    // As intake does it, but for the time between accepting and handing over, in which anything may happen.
    let ticket = stage.handover.ticket("b").unwrap();
    let (now, uuid) = (stage.clock.now(), uuid_from(stage.clock.now(), [7; 10]));
    let event = NewEvent {
        id: EventId::from_uuid(uuid),
        event_type: "deal.won".into(),
        source: "acme".into(),
        dedupe: "m1".into(),
        body: Bytes::from_static(br#"{"type":"deal.won","timestamp":"2026-11-23T06:00:00Z","data":{}}"#),
        received_at: now,
        trace: "trace".into(),
        hops: String::new(),
        arrival: String::new(),
        deliveries: vec![NewDelivery {
            id: DeliveryId::from_uuid(uuid),
            endpoint: "b".into(),
            line: None,
        }],
    };
    let due = Due {
        delivery: event.deliveries[0].id,
        event: event.id,
        event_type: event.event_type.clone(),
        source: event.source.clone(),
        body: event.body.clone(),
        received_at: now,
        attempts: 0,
        trace: event.trace.clone(),
        hops: String::new(),
        line: None,
        sequence: Some(2),
        stands_for: ledger::Numbers::default(),
    };
    stage.ledger.accept(vec![event]).await.unwrap();
    assert!(stage.handover.nudge("b"), "the run looks, reads it and sends it");
    sink.arrived(2).await;
    while stage.states("b").await != [(Delivered, 1), (Delivered, 1)] {
        tokio::task::yield_now().await;
    }
    assert!(ticket.hand(due));

    // What is handed over after it is sent after it.
    stage.post("m2", "deal.won").await.unwrap();
    sink.arrived(3).await;
    stop.notify_one();
    assert_eq!(run.await.unwrap().unwrap(), None);
    assert_eq!(sink.count(), 3);
    assert_eq!(stage.states("b").await, [(Delivered, 1); 3]);
}

#[tokio::test]
async fn what_is_handed_over_beyond_what_may_wait_is_read_when_there_is_room() {
    handed_over_beyond(4, usize::MAX >> 24).await;
}

/// Two of them, whose bodies are of some dozens of bytes, are more than may wait.
#[tokio::test]
async fn what_is_handed_over_beyond_the_bytes_that_may_wait_is_read_when_there_is_room() {
    handed_over_beyond(1_000, 100).await;
}

async fn handed_over_beyond(waiting_max: usize, waiting_bytes_max: usize) {
    const MORE: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut limits = limits();
    // Nothing is read because of the time.
    limits.look_ms = 1_000_000;
    limits.run_ms_max = 1_000_000;
    (limits.waiting_max, limits.waiting_bytes_max) = (waiting_max, waiting_bytes_max);
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 2;
    let stage = Stage::open(folder.path(), &[to], limits).await;
    let releases = [0; 2].map(|_| Arc::new(Notify::new()));
    for (number, release) in releases.iter().enumerate() {
        sink.answer_next(Answer::Held(release.clone()));
        stage.post(&format!("held-{number}"), "deal.won").await.unwrap();
    }
    let stop = Arc::new(Notify::new());
    let (deliverer, stopped) = (stage.deliverer.clone(), stop.clone());
    let run = tokio::spawn(async move { deliverer.deliver("b", stopped.notified()).await });
    sink.arrived(2).await;
    for number in 0..MORE {
        stage.post(&format!("m{number}"), "deal.won").await.unwrap();
    }
    assert_eq!(sink.count(), 2);
    releases.iter().for_each(|release| release.notify_one());
    sink.arrived(2 + MORE).await;
    stop.notify_one();
    assert_eq!(run.await.unwrap().unwrap(), None);
    assert_eq!(sink.count(), 2 + MORE, "each once");
    assert_eq!(stage.states("b").await, [(Delivered, 1); 2 + MORE]);
}

#[tokio::test]
async fn where_many_are_sent_to_fewer_wait_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let mut limits = limits();
    (limits.waiting_max, limits.batch_max) = (40, 8);
    limits.waiting_bytes_max = 4_000;
    let stage = Stage::open(folder.path(), &[], limits).await;
    let mut open = Vec::new();
    for (endpoints, waiting, (small, large)) in [
        (0, 40, (8, 4)),
        (1, 40, (8, 4)),
        (2, 20, (8, 2)),
        (10, 4, (4, 2)),
        (30, 2, (2, 2)),
    ] {
        while open.len() < endpoints {
            open.extend(stage.handover.open(&format!("e{}", open.len()), true));
        }
        let deliverer = &stage.deliverer;
        assert_eq!(
            (
                deliverer.waiting_max(),
                (deliverer.batch_max(10), deliverer.batch_max(1_000))
            ),
            (waiting, (small, large)),
            "{endpoints}"
        );
    }
}
