//! What an operator says by the API.

use bytes::Bytes;
use outbound::Method;
use outbound::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::stage::{Answer, EVENT, Stage, endpoint};
use crate::ServerSettings;

async fn publish(stage: &Stage, key: Option<&str>, body: &str) -> Answer {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        let name = HeaderName::from_static("idempotency-key");
        headers.insert(name, HeaderValue::from_str(key).unwrap());
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    stage.call(Method::POST, "/v1/events", headers, body).await
}

#[tokio::test]
async fn an_event_is_published_once_for_each_key() {
    let folder = tempfile::tempdir().unwrap();
    let to = endpoint("b", "borealis", "http://127.0.0.1:9/in");
    let stage = Stage::open(folder.path(), &[to], ServerSettings::default()).await;
    let first = publish(&stage, Some("k-1"), EVENT).await;
    assert_eq!(
        (first.status(), first.header("idempotency-replayed")),
        (202, None)
    );
    let again = publish(&stage, Some("\"k-1\""), EVENT).await;
    assert_eq!(
        (again.status(), again.header("idempotency-replayed")),
        (202, Some("true"))
    );
    assert_eq!(again.json(), first.json(), "the first answer once more");
    let other = publish(&stage, Some("k-1"), &EVENT.replace("won", "lost")).await;
    insta::assert_snapshot!(other.problem(), @"422 idempotency_key_reused: the `Idempotency-Key` was used for an event with another body; use a new key for a new event");
    for bad in ["", "a b", &"x".repeat(129)] {
        assert_eq!(publish(&stage, Some(bad), EVENT).await.status(), 400, "{bad}");
    }
    // What it is not asked for is not passed over: somebody means it.
    let asked = stage
        .post_json("/v1/events?endpoint=b", &serde_json::from_str(EVENT).unwrap())
        .await;
    insta::assert_snapshot!(asked.problem(), @"400 bad_request: the query cannot be read: endpoint: unknown field `endpoint`, there are no fields");
    // Without a key each is an event of its own.
    let loose = [
        publish(&stage, None, EVENT).await.json(),
        publish(&stage, None, EVENT).await.json(),
    ];
    assert_ne!(loose[0], loose[1]);
    insta::assert_snapshot!(publish(&stage, None, "{}").await.problem(), @"422 not_an_event: the body is not an event `{\"type\", \"timestamp\", \"data\"}`: missing field `type` at line 1 column 2");
    assert_eq!(
        publish(&stage, None, &EVENT.replace("deal.won", "endpoint.disabled"))
            .await
            .status(),
        422
    );

    let id = first.json()["id"].as_str().unwrap().to_owned();
    let shown = stage.get(&format!("/v1/events/{id}")).await.json();
    assert_eq!(
        (&shown["source"], &shown["deliveries"][0]["endpoint"]),
        (&json!("interconnect"), &json!("b"))
    );
    assert_eq!(
        shown["body"],
        serde_json::from_str::<serde_json::Value>(EVENT).unwrap()
    );
    let all = stage.get("/v1/deliveries").await.json();
    assert_eq!(
        all["data"].as_array().unwrap().len(),
        3,
        "one a key, and two without"
    );
    assert_eq!(stage.get("/v1/events/evt_1").await.status(), 400);
}

#[tokio::test]
async fn the_same_key_at_the_same_moment_is_one_event() {
    let folder = tempfile::tempdir().unwrap();
    let to = endpoint("b", "borealis", "http://127.0.0.1:9/in");
    let stage = Stage::open(folder.path(), &[to], ServerSettings::default()).await;
    let answers = futures_util::future::join_all((0..30).map(|_| publish(&stage, Some("k"), EVENT))).await;
    let mut ids: Vec<String> = answers
        .iter()
        .map(|answer| answer.json()["id"].to_string())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let replayed = answers
        .iter()
        .filter(|answer| answer.header("idempotency-replayed").is_some());
    assert_eq!(replayed.count(), 29);
    // A partner's message of that id is another one: keys are the operator's, ids each partner's own.
    assert_eq!(stage.post("key:k", EVENT).await.status(), 202);
}

#[tokio::test]
async fn who_has_no_key_to_the_api_publishes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings {
        api_key: Some("0123456789abcdef0123456789abcdef".parse().unwrap()),
        ..ServerSettings::default()
    };
    let stage = Stage::open(folder.path(), &[], settings).await;
    assert_eq!(publish(&stage, None, EVENT).await.status(), 401);
    let rows = stage.ledger.row_counts().await.unwrap();
    assert!(rows.iter().any(|(table, count)| table == "events" && *count == 0));
}
