//! Deliveries sent again, by the API.

use serde_json::json;

use super::stage::{EVENT, Stage, endpoint};
use crate::ServerSettings;

#[tokio::test]
async fn a_replay_is_counted_first_shown_and_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let mut to = endpoint("b", "borealis", "http://127.0.0.1:9/in");
    to.retry_ms = vec![];
    let stage = Stage::open(folder.path(), &[to], ServerSettings::default()).await;
    let post = async |body: serde_json::Value| stage.post_json("/v1/replays", &body).await;
    insta::assert_snapshot!(post(json!({})).await.problem(), @"400 bad_request: say which deliveries: `ids`, `endpoint`, `state`, `since`, `until` or `event_type`");
    insta::assert_snapshot!(post(json!({"state": "held"})).await.problem(), @"400 bad_request: `state` is one of `due`, `delivered` and `dead`");
    insta::assert_snapshot!(post(json!({"ids": ["x"]})).await.problem(), @"400 bad_request: `x` is not the id of a delivery, `dlv_…`");
    assert_eq!(post(json!({"endpoints": "b"})).await.status(), 400);

    for id in ["m1", "m2"] {
        stage.post(id, EVENT).await;
    }
    stage.deliver("b").await;
    // The stage's clock stands still, so what was received at this moment is named by its state, not by a span.
    let dead = stage.get("/v1/deliveries?state=dead").await.json();
    let ids: Vec<_> = dead["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].clone())
        .collect();
    assert_eq!(ids.len(), 2);
    let count = stage
        .post_json(
            "/v1/replays?dry_run=true",
            &json!({"endpoint": "b", "since": "2026-01-01T00:00:00Z"}),
        )
        .await;
    assert_eq!((count.status(), count.json()["id"].clone()), (200, json!(null)));
    assert_eq!(
        stage.get("/v1/replays").await.json()["data"],
        json!([]),
        "nothing was begun"
    );

    let begun = post(json!({"ids": ids})).await;
    assert_eq!(
        (begun.status(), begun.json()["state"].clone()),
        (202, json!("running"))
    );
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    let shown = stage.get(&format!("/v1/replays/{id}")).await.json();
    assert_eq!(
        (&shown["begun"], &shown["made_at"]),
        (&json!(0), &json!("2026-11-23T06:00:00Z"))
    );
    let cancelled = stage
        .post_json(&format!("/v1/replays/{id}/cancel"), &json!({}))
        .await;
    assert_eq!(cancelled.json()["state"], "cancelled");
    assert!(!stage.replayer.round().await.unwrap());
    let told = stage
        .post_json(&format!("/v1/replays/{id}/cancel"), &json!({}))
        .await;
    insta::assert_snapshot!(told.problem(), @"409 not_running: the replay is cancelled already");
    insta::assert_snapshot!(stage.get("/v1/replays/rpl_1").await.problem(), @"400 bad_request: the id is not that of a replay, `rpl_…`");
    assert_eq!(stage.get("/v1/replays").await.json()["data"][0]["id"], id);
}

#[tokio::test]
async fn what_is_only_pulled_is_asked_for_in_its_feed_again() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(
        folder.path(),
        &[endpoint("r", "borealis", "")],
        ServerSettings::default(),
    )
    .await;
    stage.post("m1", EVENT).await;
    for query in ["", "?dry_run=true"] {
        let body = json!({"endpoint": "r", "arrived": true});
        let refused = stage.post_json(&format!("/v1/replays{query}"), &body).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(refused.problem(), @"409 only_pulled: nothing is sent to the endpoint `r`, which has no `url`: its partner pulls what it has not had, and what it has had by going back in its feed, with an earlier `cursor` or without one");
        }
    }
    let unknown = stage
        .post_json("/v1/replays", &json!({"endpoint": "nobody"}))
        .await;
    insta::assert_snapshot!(unknown.problem(), @"404 not_found: there is no endpoint `nobody`");
    let listed = stage.get("/v1/deliveries").await.json();
    let id = listed["data"][0]["id"].as_str().unwrap();
    let path = format!("/v1/deliveries/{id}/retry");
    let refused = stage.post_json(&path, &json!({})).await.problem();
    assert!(refused.starts_with("409 only_pulled: "), "{refused}");
    assert_eq!(
        stage.get("/v1/deliveries").await.json(),
        listed,
        "nothing was moved"
    );
}
