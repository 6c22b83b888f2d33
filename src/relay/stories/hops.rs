//! Partners that pass on what they heard.

use bytes::Bytes;
use outbound::header::HeaderValue;

use super::stage::{Sink, Stage, endpoint, limits, secret};
use crate::hops::{HOPS, HOPS_MAX};
use crate::{Receipt, Refused, standard};

const EVENT: &str = r#"{"type":"deal.won","timestamp":"2026-11-23T06:00:00Z","data":{"id":"D-1"}}"#;

/// A partner posts, with the hops that it was sent if it passes them on.
async fn post(
    stage: &Stage,
    partner: &str,
    id: &str,
    hops: Option<&HeaderValue>,
) -> Result<Receipt, Refused> {
    let now = stage.clock.now();
    let mut headers = standard::sign(&[secret()], id, now, EVENT.as_bytes());
    if let Some(hops) = hops {
        headers.insert(HOPS, hops.clone());
    }
    let body = Bytes::from_static(EVENT.as_bytes());
    stage.intake.receive(partner, &headers, body, now, "trace").await
}

/// Sends everything to everybody; the hops of what the newest delivery to each sink had, and how many came.
async fn deliver(stage: &Stage, sinks: &[(&str, &Sink)]) -> Vec<(usize, Option<HeaderValue>)> {
    let mut told = Vec::new();
    for (endpoint, sink) in sinks {
        stage.deliver(endpoint).await;
        let newest = sink
            .received()
            .last()
            .and_then(|one| one.headers.get(HOPS).cloned());
        told.push((sink.count(), newest));
    }
    told
}

#[tokio::test]
async fn an_event_that_is_passed_on_never_comes_back_to_those_through_whom_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, c) = (Sink::start().await, Sink::start().await, Sink::start().await);
    let endpoints = [
        endpoint("a", "acme", &a),
        endpoint("b", "borealis", &b),
        endpoint("c", "ceres", &c),
    ];
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    let sinks = [("a", &a), ("b", &b), ("c", &c)];

    post(&stage, "acme", "m1", None).await.unwrap();
    let told = deliver(&stage, &sinks).await;
    let by_acme = told[1].1.clone().unwrap();
    assert_eq!((told[0].0, told[1].0, told[2].0), (0, 1, 1));
    assert!(
        !by_acme.to_str().unwrap().contains("acme"),
        "who said it is not told"
    );

    // Borealis passes on what it heard: acme said it, so only ceres gets it.
    post(&stage, "borealis", "m2", Some(&by_acme)).await.unwrap();
    // The ledger keeps where it came through, so a restart changes nothing.
    drop(stage);
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    let told = deliver(&stage, &sinks).await;
    assert_eq!((told[0].0, told[1].0, told[2].0), (0, 1, 2));
    let by_both = told[2].1.clone().unwrap();
    assert!(
        by_both.to_str().unwrap().ends_with(by_acme.to_str().unwrap()),
        "{by_both:?}"
    );

    // Ceres passes that on in turn: there is nobody left.
    stage.clock.forward_s(1);
    post(&stage, "ceres", "m3", Some(&by_both)).await.unwrap();
    let told = deliver(&stage, &sinks).await;
    assert_eq!((told[0].0, told[1].0, told[2].0), (0, 1, 2));

    // Who leaves the hops out has said something of its own.
    post(&stage, "borealis", "m4", None).await.unwrap();
    let told = deliver(&stage, &sinks).await;
    assert_eq!((told[0].0, told[1].0, told[2].0), (1, 1, 3));
}

#[tokio::test]
async fn who_sends_in_circles_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], limits()).await;
    let many = ["0123456789abcdef"; HOPS_MAX + 1].join(", ");
    for (hops, code) in [(many.as_str(), "too_many_hops"), ("acme", "hops_malformed")] {
        let hops = HeaderValue::from_str(hops).unwrap();
        let refused = post(&stage, "acme", "m1", Some(&hops)).await.unwrap_err();
        assert_eq!(refused.code(), code);
    }
}
