//! What is pulled is what is sent.

use std::sync::Arc;

use ledger::DeliveryState::{Dead, Delivered, Due};
use ledger::{Attempt, EventPlace, Next};
use policy::{Rules, SharingPolicy};

use super::stage::{Sink, Stage, endpoint, limits};
use crate::{Dispatch, NotPulled, PulledPart, Switch, note_pulled, pull};

async fn pulled(stage: &Stage, name: &str, after: EventPlace) -> Result<PulledPart, NotPulled> {
    pull(
        &*stage.ledger,
        &stage.settings,
        name,
        after,
        10,
        stage.clock.now(),
    )
    .await
}

#[tokio::test]
async fn what_is_pulled_is_what_is_sent_but_for_our_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.policy = SharingPolicy::of("test", Rules::only(vec!["name".parse().unwrap()]));
    to.headers = vec![("authorization".into(), "Bearer theirs".into())];
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    let body =
        r#"{"type":"custom.x","timestamp":"2026-11-23T06:00:00Z","data":{"id":"1","name":"n","price":"9"}}"#;
    stage.post_body("m1", body).await.unwrap();
    let before = pulled(&stage, "b", EventPlace::default()).await.unwrap();
    assert_eq!(stage.deliver("b").await, None);
    let after = pulled(&stage, "b", EventPlace::default()).await.unwrap();
    assert_eq!(before, after, "whether it was sent makes no difference");

    let (sent, one) = (&sink.received()[0], &after.data[0]);
    assert_eq!(one.body, sent.body);
    assert!(!String::from_utf8_lossy(&one.body).contains("price"));
    for (name, value) in &one.headers {
        assert_eq!(sent.header(name), value, "{name}");
    }
    for name in [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "webhook-hops",
        "webhook-sequence",
        "content-type",
    ] {
        assert!(one.headers.contains_key(name), "{name}");
    }
    assert!(!one.headers.contains_key("authorization"));

    assert_eq!((one.sequence, sent.header("webhook-sequence")), (Some(1), "1"));

    // Who goes on from there gets what is new alone.
    let nothing = pulled(&stage, "b", after.place).await.unwrap();
    assert_eq!((nothing.data.len(), nothing.more), (0, false));
    stage.post_body("m2", body).await.unwrap();
    assert_eq!(pulled(&stage, "b", nothing.place).await.unwrap().data.len(), 1);
}

#[tokio::test]
async fn what_is_paused_tells_nothing_and_nobody_pulls_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let stage = Stage::open(folder.path(), &[endpoint("b", "borealis", &sink)], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();
    let switch = Switch::new(
        stage.ledger.clone(),
        stage.settings.clone(),
        stage.handover.clone(),
        Arc::new(|_: &str| {}),
        stage.clock.clock(),
    );
    switch.pause("b", "their contract ended").await.unwrap();
    let refused = pulled(&stage, "b", EventPlace::default()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the endpoint `b` is paused: their contract ended"
    );
    switch.resume("b").await.unwrap();
    assert_eq!(
        pulled(&stage, "b", EventPlace::default())
            .await
            .unwrap()
            .data
            .len(),
        1
    );
    let unknown = pulled(&stage, "c", EventPlace::default()).await;
    assert!(matches!(unknown, Err(NotPulled::Unknown(_))), "{unknown:?}");
}

#[tokio::test]
async fn where_nothing_is_sent_what_was_pulled_has_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.url = String::new();
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    for message in ["m1", "m2"] {
        stage.post(message, "deal.won").await.unwrap();
    }
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(
        (sink.count(), stage.states("b").await),
        (0, vec![(Due, 0), (Due, 0)])
    );

    let part = pulled(&stage, "b", EventPlace::default()).await.unwrap();
    assert_eq!(part.data.len(), 2);
    // An operator who looks takes nothing away.
    assert_eq!(stage.states("b").await, [(Due, 0), (Due, 0)]);
    stage.post("m3", "deal.won").await.unwrap();
    let noted = note_pulled(&*stage.ledger, &stage.settings, "b", &part, stage.clock.now());
    noted.await.unwrap();
    let states = stage.states("b").await;
    let arrived = states.iter().filter(|stands| **stands == (Delivered, 0));
    assert_eq!((arrived.count(), states.contains(&(Due, 0))), (2, true));
    // Whoever lost the answer asks again.
    assert_eq!(
        pulled(&stage, "b", EventPlace::default())
            .await
            .unwrap()
            .data
            .len(),
        3
    );
    let rest = pulled(&stage, "b", part.place).await.unwrap();
    note_pulled(&*stage.ledger, &stage.settings, "b", &rest, stage.clock.now())
        .await
        .unwrap();
    assert_eq!(stage.states("b").await, [(Delivered, 0); 3]);
}

#[tokio::test]
async fn where_nothing_is_sent_nobody_looks() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let (to, mut reader) = (endpoint("b", "borealis", &sink), endpoint("r", "borealis", &sink));
    reader.url = String::new();
    let stage = Stage::open(folder.path(), &[to, reader], limits()).await;
    let dispatch = Dispatch::new(stage.deliverer.clone(), Arc::new(|_: &str, _| {}));
    let dispatch = Arc::new(dispatch);
    for name in ["b", "r"] {
        dispatch.nudge(name);
        dispatch.look(name);
    }
    assert!(dispatch.runs("b") && !dispatch.runs("r"));
    assert!(dispatch.is_only_pulled("r") && !dispatch.is_only_pulled("b"));
    // Whoever is not configured is looked at, and complained about.
    assert!(!dispatch.is_only_pulled("c"));
    dispatch.stop().await;
}

#[tokio::test]
async fn what_cannot_be_told_is_given_up_once_however_often_it_is_pulled() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.url = String::new();
    to.policy.until = Some("2026-01-01T00:00:00Z".parse().unwrap());
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    for message in ["m1", "m2"] {
        stage.post(message, "deal.won").await.unwrap();
        stage.clock.forward_s(1);
    }
    // The first was tried while there was somewhere to send it to.
    let (first, at) = (stage.deliveries("b").await[0].id, stage.clock.now());
    let tried = Attempt {
        delivery: first,
        number: 1,
        at,
        duration_ms: 1,
        status: None,
        error: "nobody was there".to_owned(),
        next: Next::Retry(at),
        told: None,
    };
    stage.ledger.settle(None, vec![tried]).await.unwrap();

    for _ in 0..3 {
        stage.clock.forward_s(1);
        let part = pulled(&stage, "b", EventPlace::default()).await.unwrap();
        assert_eq!((part.data.len(), part.unreadable.len()), (0, 2));
        note_pulled(&*stage.ledger, &stage.settings, "b", &part, stage.clock.now())
            .await
            .unwrap();
        assert_eq!(stage.states("b").await, [(Dead, 2), (Dead, 1)]);
        assert_eq!(stage.ledger.attempts(first).await.unwrap().len(), 2);
    }
}
