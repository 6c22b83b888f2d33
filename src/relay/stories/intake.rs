//! Events come in.

use std::collections::HashSet;

use crate::{Refusals, Refused, standard};
use bytes::Bytes;
use futures_util::future::join_all;
use ledger::{Refusal, Settings};

use super::stage::{Sink, Stage, endpoint, limits, secret};

#[tokio::test]
async fn an_event_is_kept_once_and_fans_out_to_who_subscribes_but_not_back() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut won = endpoint("b-won", "borealis", &sink);
    won.subscriptions = vec!["deal.won".into()];
    let endpoints = [
        won,
        endpoint("c-all", "ceres", &sink),
        endpoint("a-all", "acme", &sink),
    ];
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;

    let first = stage.post("m1", "deal.won").await.unwrap();
    let other = stage.post("m2", "deal.lost").await.unwrap();
    let again = stage.post("m1", "deal.won").await.unwrap();
    assert!(!first.duplicate && !other.duplicate && first.event != other.event);
    assert_eq!((again.duplicate, again.event), (true, first.event));

    assert_eq!(stage.deliveries("b-won").await.len(), 1);
    assert_eq!(stage.deliveries("c-all").await.len(), 2);
    assert!(stage.deliveries("a-all").await.is_empty(), "acme said it");
    assert_eq!(*stage.nudged.lock().unwrap(), ["b-won", "c-all", "c-all"]);
    let kept = stage.ledger.event(first.event).await.unwrap().unwrap();
    assert_eq!(
        (kept.source.as_str(), kept.dedupe.as_str(), kept.trace.as_str()),
        ("acme", "m1", "trace")
    );
}

#[tokio::test]
async fn what_is_about_an_object_waits_at_its_inlet_with_the_event() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], limits()).await;
    let first = stage.post("m1", "custom.portal.note").await.unwrap();
    let again = stage.post("m1", "custom.portal.note").await.unwrap();
    stage.post("m2", "custom.other.note").await.unwrap();
    assert_eq!((again.duplicate, again.event), (true, first.event));
    assert_eq!(*stage.nudged.lock().unwrap(), ["portal/notes"]);
    // Whoever opens the ledger next finds it, as it was posted.
    let ledger = stage.ledger.clone();
    drop(stage);
    let due = ledger.due("portal/notes", jiff::Timestamp::MAX, 9).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(
        (due[0].event, due[0].source.as_str(), due[0].trace.as_str()),
        (first.event, "acme", "trace")
    );
}

#[tokio::test]
async fn the_same_message_at_the_same_moment_gets_one_id() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let stage = Stage::open(folder.path(), &[endpoint("b", "borealis", &sink)], limits()).await;
    let receipts = join_all((0..50).map(|_| stage.post("same", "deal.won"))).await;
    let receipts: Vec<_> = receipts.into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts.iter().map(|r| r.event).collect::<HashSet<_>>().len(), 1);
    assert_eq!(receipts.iter().filter(|r| !r.duplicate).count(), 1);
    assert_eq!(stage.deliveries("b").await.len(), 1);
}

/// Who counts ids anew would else lose events, and be told that they arrived.
#[tokio::test]
async fn another_event_under_a_used_id_is_refused_and_the_same_written_anew_is_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let stage = Stage::open(folder.path(), &[endpoint("b", "borealis", &sink)], limits()).await;
    let first = stage.post("m1", "deal.won").await.unwrap();
    let anew = r#"{ "data": {"id": "m1"}, "type": "deal.won", "timestamp": "2026-11-23T06:05:00Z" }"#;
    let again = stage.post_body("m1", anew).await.unwrap();
    assert_eq!((again.duplicate, again.event), (true, first.event));
    for other in [anew.replace("won", "lost"), anew.replace(r#""m1""#, r#""m2""#)] {
        let refused = stage.post_body("m1", &other).await.unwrap_err();
        assert_eq!(refused.code(), "webhook_id_reused");
        assert!(
            refused.to_string().contains(&first.event.to_string()),
            "{refused}"
        );
    }
    assert_eq!(stage.deliveries("b").await.len(), 1);
}

#[tokio::test]
async fn what_is_no_event_is_refused_and_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], limits()).await;
    let now = stage.clock.now();
    let mut told = Vec::new();
    for body in [
        "",
        "{",
        r#"["deal.won","2026-11-23T06:00:00Z",{}]"#,
        "7",
        r#"{"type":"deal.won","timestamp":"2026-11-23T06:00:00Z"}"#,
        r#"{"type":"deal.won","timestamp":"2026-11-23T06:00:00Z","data":[]}"#,
        r#"{"type":"deal.won","timestamp":"yesterday","data":{}}"#,
        r#"{"type":"deal.won","timestamp":"2026-11-23T06:00:00+01:00[Europe/Berlin]","data":{}}"#,
        r#"{"type":"deal.won","timestamp":"2026-11-23T06:00:00","data":{}}"#,
        r#"{"type":"deal.stolen","timestamp":"2026-11-23T06:00:00Z","data":{}}"#,
        r#"{"type":"deal.won","timestamp":"2026-11-23T06:00:00Z","data":{"x":"\ud800"}}"#,
        r#"{"type":"deal.won","timestamp":"2026-11-23T06:00:00Z","data":{"deal":{"stage":"sold"}}}"#,
        r#"{"type":"deal.won","version":2,"timestamp":"2026-11-23T06:00:00Z","data":{}}"#,
        r#"{"type":"deal.won","version":"2","timestamp":"2026-11-23T06:00:00Z","data":{}}"#,
    ] {
        let refused = stage.post_body("m", body).await.unwrap_err();
        told.push(format!("{}: {refused}", refused.code()));
    }
    let deep = format!(
        r#"{{"type":"deal.won","timestamp":"2026-11-23T06:00:00Z","data":{{"x":{}1{}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    told.push(stage.post_body("m", &deep).await.unwrap_err().code().to_owned());
    insta::assert_snapshot!(told.join("\n"), @r#"
    not_json: the body is not JSON: EOF while parsing a value at line 1 column 0
    not_json: the body is not JSON: EOF while parsing an object at line 1 column 1
    not_an_event: the body is not an event `{"type", "timestamp", "data"}`: it is an array
    not_an_event: the body is not an event `{"type", "timestamp", "data"}`: invalid type: integer `7`, expected an object at line 1 column 1
    not_an_event: the body is not an event `{"type", "timestamp", "data"}`: missing field `data` at line 1 column 54
    not_an_event: the body is not an event `{"type", "timestamp", "data"}`: invalid type: sequence, expected a map at line 1 column 61
    not_an_event: the body is not an event `{"type", "timestamp", "data"}`: `timestamp` is no moment with an offset (RFC 3339): write for example 2026-11-26T09:00:00Z
    not_an_event: the body is not an event `{"type", "timestamp", "data"}`: `timestamp` is no moment with an offset (RFC 3339): write for example 2026-11-26T09:00:00Z
    not_an_event: the body is not an event `{"type", "timestamp", "data"}`: `timestamp` is no moment with an offset (RFC 3339): failed to find offset component, which is required for parsing a timestamp
    event_type_unknown: `deal.stolen` is not an event type; known are partner.created, partner.updated, partner.merged, partner.unmerged, partner.deleted, lead.created, lead.updated, lead.converted, lead.merged, lead.unmerged, lead.deleted, deal.created, deal.updated, deal.stage_changed, deal.won, deal.lost, deal.merged, deal.unmerged, deal.deleted, endpoint.failing, endpoint.recovered, endpoint.disabled, secret.expiring and anything under `custom.`
    not_json: the body is not JSON: unexpected end of hex escape at line 1 column 74
    event_invalid: `data` is not that of `deal.won`, version 1: `data.deal.stage`: it is not one of "prospect", "qualified" or 6 other candidates; see /v1/event-types/deal.won
    event_version_unknown: `deal.won` has no version 2; there are: 1
    not_an_event: the body is not an event `{"type", "timestamp", "data"}`: invalid type: string "2", expected u32 at line 1 column 32
    not_json
    "#);

    let headers = standard::sign(&[secret()], "m", now, b"{}");
    let unknown = stage
        .intake
        .receive("nobody", &headers, Bytes::from_static(b"{}"), now, "")
        .await;
    assert!(matches!(unknown, Err(Refused::UnknownPartner)));
    let changed = stage
        .intake
        .receive("acme", &headers, Bytes::from_static(b"{ }"), now, "")
        .await;
    assert!(matches!(
        changed,
        Err(Refused::Unverified(standard::Unverified::WrongSignature))
    ));
    let rows = stage.ledger.row_counts().await.unwrap();
    assert!(
        rows.iter()
            .filter(|(table, _)| table == "events" || table == "deliveries")
            .all(|(_, rows)| *rows == 0)
    );
}

#[tokio::test]
async fn refusals_leave_traces_in_the_background_and_a_flood_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], limits()).await;
    let refusal = |n: u64| Refusal {
        at: stage.clock.now(),
        addressed_to: "acme".into(),
        status: 401,
        code: "signature_missing".into(),
        webhook_id: format!("m{n}"),
        body_bytes: n,
    };
    let refusals = Refusals::start(stage.ledger.clone(), 100);
    // The task cannot run before this one waits, so the line is full after 100.
    (0..150).for_each(|n| refusals.note(refusal(n)));
    assert_eq!(refusals.dropped(), 50);
    refusals.flush().await;
    assert_eq!(stage.ledger.refusals(1000).await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_ledger_that_takes_no_more_is_busy_and_what_was_accepted_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut stage = Stage::open(folder.path(), &[endpoint("b", "borealis", &sink)], limits()).await;
    let address = format!("sqlite:{}", folder.path().join("small.db").display());
    let settings = Settings {
        writes_waiting_max: 2,
        ..Settings::default()
    };
    stage.ledger = ledger::open(&address, settings).await.unwrap();
    stage.intake = crate::Intake::new(
        stage.ledger.clone(),
        stage.settings.clone(),
        stage.handover.clone(),
        std::sync::Arc::new(|_: &str| {}),
        super::stage::random(3),
    );
    let ids: Vec<String> = (0..300).map(|n| format!("m{n}")).collect();
    let receipts = join_all(ids.iter().map(|id| stage.post(id, "deal.won"))).await;
    let accepted = receipts.iter().filter(|receipt| receipt.is_ok()).count();
    let busy = receipts
        .iter()
        .filter(|receipt| matches!(receipt, Err(Refused::Busy)))
        .count();
    assert_eq!(accepted + busy, 300);
    assert!(accepted > 0 && busy > 0, "{accepted} accepted, {busy} busy");
    assert_eq!(stage.deliveries("b").await.len(), accepted);
}
