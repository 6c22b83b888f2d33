//! One call: waiting, trying again, giving up.

use std::sync::Arc;

use serde_json::json;

use crate::clock::between;
use crate::testing::{ManualClock, Say, Server, hubspot, ok};
use crate::{BACKOFF_MAX_MS, Class, Clock, TRIES_MAX};

fn limited(retry_after: &str) -> Say {
    let body = json!({"status": "error", "policyName": "TEN_SECONDLY_ROLLING", "message": "rolling limit"});
    match retry_after {
        "" => Say::Json(429, body.to_string()),
        _ => Say::Header(429, "retry-after", "7", body.to_string()),
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_out_as_long_as_the_system_says() {
    let server = Server::script(vec![limited("7"), ok(r#"{"results":[]}"#)]).await;
    let clock = Arc::new(ManualClock::default());
    let start = clock.now();
    assert_eq!(hubspot(&server, &clock).fields("deals").await, Ok(Vec::new()));
    assert!((7_000..8_000).contains(&between(start, clock.now())));
    assert_eq!(server.got().len(), 2);
}

#[tokio::test]
async fn a_wait_beyond_the_bound_is_told_and_holds_up_the_next_call() {
    let body = json!({"status": "error", "message": "Migration in progress"}).to_string();
    let server = Server::script(vec![Say::Header(477, "retry-after", "3600", body)]).await;
    let clock = Arc::new(ManualClock::default());
    let connection = hubspot(&server, &clock);
    let until = crate::clock::later(clock.now(), 3_600_000);
    for _ in 0..2 {
        let failure = connection.fields("deals").await.unwrap_err();
        assert_eq!(failure.class, Class::RateLimited { until });
    }
    assert_eq!(server.got().len(), 1, "the second call does not leave");
}

#[tokio::test]
async fn a_system_that_stays_unwell_is_given_up() {
    let server = Server::start(|_| Say::Json(503, "<html>busy</html>".to_owned())).await;
    let clock = Arc::new(ManualClock::default());
    let start = clock.now();
    let failure = hubspot(&server, &clock).fields("deals").await.unwrap_err();
    assert_eq!((failure.class, failure.status), (Class::Transient, Some(503)));
    assert_eq!(server.got().len(), TRIES_MAX as usize);
    assert!(between(start, clock.now()) < u64::from(TRIES_MAX) * BACKOFF_MAX_MS);
}

#[tokio::test]
async fn a_good_status_with_something_else_than_json_is_a_defect() {
    let server = Server::start(|_| ok("<html>login</html>")).await;
    let failure = hubspot(&server, &Arc::default())
        .fields("deals")
        .await
        .unwrap_err();
    assert_eq!(failure.class, Class::Protocol);
    assert_eq!(server.got().len(), 1);
}

#[tokio::test]
async fn the_daily_share_stops_background_work() {
    let body = r#"{"results":[]}"#.to_owned();
    let server =
        Server::start(move |_| Say::Header(200, "x-hubspot-ratelimit-daily-remaining", "10", body.clone()))
            .await;
    let clock = Arc::new(ManualClock::default());
    let connection = hubspot(&server, &clock);
    // Without the other header nothing is learned.
    connection.fields("deals").await.unwrap();
    connection.fields("deals").await.unwrap();
    assert_eq!(server.got().len(), 2);
}
