//! While an endpoint is slow or down the newest update of a record goes for all, and the receiver can count them.

use std::collections::BTreeSet;
use std::sync::Arc;

use ledger::DeliveryState::{self, Delivered};
use tokio::sync::Notify;

use super::stage::{Answer, SECRET, Sink, Stage, endpoint, limits};
use crate::{Endpoint, EndpointSettings, Order, Subscription};

fn folding(sink: &Sink) -> EndpointSettings {
    EndpointSettings {
        subscriptions: vec![
            Subscription {
                fold: true,
                ..Subscription::from("lead.*")
            },
            Subscription {
                fold: true,
                ..Subscription::from("deal.updated")
            },
            Subscription::from("deal.won"),
        ],
        order: Order::Record,
        ..endpoint("b", "borealis", sink)
    }
}

async fn post(stage: &Stage, id: &str, event_type: &str, record: &str) {
    let body = format!(
        r#"{{"type":"{event_type}","timestamp":"2026-11-23T06:00:00Z","data":{{"id":"{record}","said":"{id}"}}}}"#
    );
    stage.post_body(id, &body).await.unwrap();
}

/// What arrived: what it said, its number, and those that it stands for.
fn arrived(sink: &Sink) -> Vec<String> {
    let told = sink.received().into_iter().map(|one| {
        let event: serde_json::Value = serde_json::from_slice(&one.body).unwrap();
        let header = |name: &str| one.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let said = event["data"]["said"].as_str().unwrap();
        let (number, folded) = (header("webhook-sequence"), header("webhook-folded"));
        format!("{said} {number} ({folded})")
    });
    told.collect()
}

#[tokio::test]
async fn while_an_endpoint_is_down_the_newest_update_goes_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    sink.answer_next(Answer::Status(503));
    let stage = Stage::open(folder.path(), &[folding(&sink)], limits()).await;
    post(&stage, "x1", "deal.updated", "x").await;
    let retry = stage.deliver("b").await.unwrap();
    for (id, event_type, record) in [
        ("x2", "deal.updated", "x"),
        ("y3", "deal.updated", "y"),
        ("x4", "deal.won", "x"),
        ("x5", "deal.updated", "x"),
    ] {
        post(&stage, id, event_type, record).await;
    }
    // Another record is not held up, and nothing of it waits.
    assert_eq!(
        stage.deliver("b").await,
        Some(retry),
        "the schedule stays as it is"
    );
    assert_eq!(arrived(&sink), ["x1 1 ()", "y3 3 ()"]);

    // Its turn comes: what is no update keeps its place, and the newest goes for the others under its own id.
    stage.clock.set(retry);
    sink.answer_next(Answer::Status(200));
    sink.answer_next(Answer::Status(500));
    let retry = stage.deliver("b").await.unwrap();
    assert_eq!(arrived(&sink)[2..], ["x4 4 ()", "x5 5 (1-2)"]);
    post(&stage, "x6", "deal.updated", "x").await;
    stage.clock.set(retry);
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(arrived(&sink)[4..], ["x6 6 (1-2, 5)"]);
    let mut states: Vec<DeliveryState> = stage
        .states("b")
        .await
        .into_iter()
        .map(|(state, _)| state)
        .collect();
    states.sort_by_key(|state| state.word());
    let folded = DeliveryState::Folded;
    assert_eq!(states, [Delivered, Delivered, Delivered, folded, folded, folded]);
    let sequence = &stage.ledger.sequences(Some("b")).await.unwrap()[0];
    assert_eq!((sequence.last, sequence.folded), (6, 3));
}

#[tokio::test]
async fn what_is_in_flight_is_not_folded_and_what_comes_meanwhile_is() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let release = Arc::new(Notify::new());
    sink.answer_next(Answer::Held(release.clone()));
    let stage = Stage::open(folder.path(), &[folding(&sink)], limits()).await;
    post(&stage, "x1", "deal.updated", "x").await;
    let deliverer = stage.deliverer.clone();
    let run = tokio::spawn(async move { deliverer.deliver("b", std::future::pending::<()>()).await });
    sink.arrived(1).await;
    for id in ["x2", "x3", "x4"] {
        post(&stage, id, "deal.updated", "x").await;
        stage.handover.nudge("b");
    }
    // A slow endpoint that has many records: looks come while the first is under way.
    post(&stage, "y5", "deal.updated", "y").await;
    stage.handover.nudge("b");
    sink.arrived(2).await;
    release.notify_one();
    assert_eq!(run.await.unwrap().unwrap(), None);
    assert_eq!(arrived(&sink), ["x1 1 ()", "y5 5 ()", "x4 4 (2-3)"]);
}

/// What a receiver that counts has when much came while it failed: every number, each once.
#[tokio::test]
async fn a_receiver_that_counts_misses_nothing() {
    const EVENTS: u64 = 300;
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = folding(&sink);
    to.retry_ms = vec![1; 50];
    to.breaker.failures_max = 1_000;
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    (0..40).for_each(|n| sink.answer_next(Answer::Status(if n % 4 == 0 { 200 } else { 503 })));
    for n in 0..EVENTS {
        let record = ["x", "y", "z"][usize::try_from(n % 3).unwrap()];
        post(&stage, &format!("{record}{n}"), "deal.updated", record).await;
        if n % 7 == 0 {
            stage.deliver("b").await;
            stage.clock.forward_s(1);
        }
    }
    while stage.deliver("b").await.is_some() {
        stage.clock.forward_s(1);
    }
    let states = stage.states("b").await;
    assert!(
        states
            .iter()
            .all(|(state, _)| matches!(state, Delivered | DeliveryState::Folded))
    );
    let counted = |one: &super::stage::Received| {
        let folded = one.headers.get("webhook-folded");
        let folded: ledger::Numbers = folded.map_or("", |text| text.to_str().unwrap()).parse().unwrap();
        let own: u64 = one.header("webhook-sequence").parse().unwrap();
        (1..=EVENTS).filter(move |number| *number == own || folded.contains(*number))
    };
    let all: BTreeSet<u64> = sink.received().iter().flat_map(counted).collect();
    assert_eq!(all, (1..=EVENTS).collect());
    let sent = stage.ledger.sequences(Some("b")).await.unwrap()[0].folded;
    assert!(sent > EVENTS / 2, "{sent}");
}

#[test]
fn folding_needs_an_order_and_that_nobody_wants_every_one() {
    let guard = outbound::Guard::default();
    let settings = |subscriptions: Vec<Subscription>, order| EndpointSettings {
        name: "b".into(),
        partner: "borealis".into(),
        url: "https://b.example/hooks".into(),
        secrets: vec![SECRET.into()],
        subscriptions,
        order,
        ..EndpointSettings::default()
    };
    let fold = |pattern: &str| Subscription {
        fold: true,
        ..Subscription::from(pattern)
    };
    let bad = Endpoint::new(&settings(vec![fold("deal.*")], Order::None), &guard).unwrap_err();
    assert_eq!(
        bad[0].to_string(),
        "`subscriptions`: `fold` needs `order: record`"
    );
    let both = vec![fold("deal.*"), "deal.won".into(), "lead.*".into()];
    let endpoint = Endpoint::new(&settings(both, Order::Record), &guard).unwrap();
    let folds =
        ["deal.updated", "deal.won", "lead.updated", "partner.updated"].map(|name| endpoint.folds(name));
    assert_eq!(folds, [true, false, false, false]);
}
