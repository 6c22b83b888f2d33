//! One call: waiting, trying again, giving up.

use std::sync::Arc;

use serde_json::json;

use crate::clock::between;
use crate::testing::{ManualClock, Say, Server, hubspot, ok};
use crate::{BACKOFF_MAX_MS, Class, Clock, Lane, TRIES_MAX};

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
    hubspot(&server, &clock).fields("deals").await.unwrap();
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

#[tokio::test]
async fn a_complete_reading_and_what_is_live_share_an_account_and_its_limits() {
    let server = Server::start(|_| ok(r#"{"results":[{"id":"1","properties":{}}]}"#)).await;
    let clock = Arc::new(ManualClock::default());
    let live = hubspot(&server, &clock);
    let backfill = live.in_lane(Lane::Backfill);
    let start = clock.now();
    // Four searches a second are allowed, half of them to a complete reading.
    let fields = ["dealname".to_owned()];
    for _ in 0..2 {
        backfill.changes("deals", &fields, None).await.unwrap();
        assert_eq!(clock.now(), start);
    }
    live.changes("deals", &fields, None).await.unwrap();
    assert_eq!(clock.now(), start);
    backfill.changes("deals", &fields, None).await.unwrap();
    assert!(between(start, clock.now()) >= 1_000);
}

#[tokio::test]
async fn a_sign_in_that_all_wait_for_is_live_whoever_begins_it() {
    let manifest = r#"
apiVersion: interconnect/v1
kind: Connector
metadata: { name: acme, version: 1.0.0, title: Acme }
connection:
  config: { base_url: { help: where it is } }
  secrets: { client_id: of the app, client_secret: beside it }
  base_url: "{{ config.base_url }}"
  auth: [{ kind: oauth2_client_credentials, token_url: "{{ config.base_url }}/token" }]
  identity: { request: { method: GET, path: /me }, tenant: .id }
limits: [{ name: burst, kind: window, limit: 4, per: 5m }]
objects: { things: { id: .id } }
"#;
    let server = Server::start(|_| ok(r#"{"access_token":"t","expires_in":90,"id":"7"}"#)).await;
    let clock = Arc::new(ManualClock::default());
    let config = json!({"base_url": server.url});
    let secrets = [("client_id", "id"), ("client_secret", "s")];
    let live = crate::testing::connect(&crate::testing::connector(manifest), config, &secrets, &clock);
    let backfill = live.in_lane(Lane::Backfill);
    for _ in 0..2 {
        backfill.identity().await.unwrap();
    }
    // Its half is spent and the token, which all need, has ended: the sign-in has room, the reading has none.
    clock.advance(30_000);
    let failure = backfill.identity().await.unwrap_err();
    assert!(matches!(failure.class, Class::RateLimited { .. }), "{failure:?}");
    let lines = ["POST /token", "GET /me", "GET /me", "POST /token"];
    assert_eq!(server.lines(), lines);
}
