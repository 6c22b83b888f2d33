//! What an endpoint was to be told, pulled by the API.

use std::collections::HashMap;

use bytes::Bytes;
use outbound::Method;
use outbound::header::{AUTHORIZATION, HeaderMap};
use serde_json::json;

use super::stage::{EVENT, Stage, endpoint};
use crate::ServerSettings;

const KEY: &str = "a key of borealis that is long enough";

fn settings() -> ServerSettings {
    let key: String = KEY.replace(' ', "-");
    ServerSettings {
        api_key: Some("0123456789abcdef0123456789abcdef".parse().unwrap()),
        pull_keys: HashMap::from([("b".to_owned(), key.parse().unwrap())]),
        ..ServerSettings::default()
    }
}

#[tokio::test]
async fn who_has_the_endpoints_key_reads_its_events_page_by_page_and_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = "http://127.0.0.1:9/in";
    let endpoints = [
        endpoint("b", "borealis", nowhere),
        endpoint("c", "borealis", nowhere),
    ];
    let stage = Stage::open(folder.path(), &endpoints, settings()).await;
    for id in ["m1", "m2", "m3"] {
        stage.post(id, EVENT).await;
    }
    let key = format!("Bearer {}", KEY.replace(' ', "-"));
    let get = async |path: &str| {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, key.parse().unwrap())]);
        stage.call(Method::GET, path, headers, Bytes::new()).await
    };
    let first = get("/v1/endpoints/b/events?limit=2").await.json();
    assert_eq!(
        (first["data"].as_array().unwrap().len(), &first["more"]),
        (2, &json!(true))
    );
    let one = &first["data"][0];
    assert_eq!(
        (&one["event_type"], &one["headers"]["webhook-id"]),
        (&json!("deal.won"), &one["id"])
    );
    assert_eq!(one["body"], EVENT);
    assert_eq!(
        (&one["sequence"], &one["headers"]["webhook-sequence"]),
        (&json!(1), &json!("1"))
    );
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = get(&format!("/v1/endpoints/b/events?cursor={cursor}"))
        .await
        .json();
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), &rest["more"]),
        (1, &json!(false))
    );
    let end = get("/v1/endpoints/b/events?from=now").await.json();
    assert_eq!(
        (&end["data"], &end["next_cursor"]),
        (&json!([]), &rest["next_cursor"])
    );

    let refused = async |path: &str| get(path).await.problem();
    insta::assert_snapshot!(refused("/v1/endpoints/c/events").await, @"401 unauthorized: the key in `Authorization: Bearer …` is not this hub's");
    insta::assert_snapshot!(refused("/v1/endpoints/b").await, @"401 unauthorized: the key in `Authorization: Bearer …` is not this hub's");
    insta::assert_snapshot!(refused("/v1/endpoints/b/events?cursor=x").await, @"400 bad_request: `cursor` is not one that a page of this feed gave; leave it out to begin anew");
    insta::assert_snapshot!(refused("/v1/endpoints/b/events?from=then").await, @"400 bad_request: `from` is `oldest` or `now`");
    insta::assert_snapshot!(refused("/v1/endpoints/b/events?cursor=at_999").await, @"400 bad_request: `cursor` is beyond what this feed has; leave it out to begin anew");
    insta::assert_snapshot!(refused("/v1/endpoints/b/events?from=now&cursor=at_1").await, @"400 bad_request: `cursor` and `from` say two places; leave one out");
    assert_eq!(stage.get("/v1/endpoints/b/events").await.status(), 401);
}

/// A page of the largest bodies that are taken fits into memory.
#[tokio::test]
async fn a_page_holds_fewer_where_each_event_may_be_large() {
    let folder = tempfile::tempdir().unwrap();
    let endpoints = [endpoint("b", "borealis", "http://127.0.0.1:9/in")];
    let settings = ServerSettings {
        body_bytes_max: 16 << 20,
        ..settings()
    };
    let stage = Stage::open(folder.path(), &endpoints, settings).await;
    for id in ["m1", "m2", "m3"] {
        stage.post(id, EVENT).await;
    }
    let key = format!("Bearer {}", KEY.replace(' ', "-"));
    let headers = HeaderMap::from_iter([(AUTHORIZATION, key.parse().unwrap())]);
    let path = "/v1/endpoints/b/events?limit=200";
    let page = stage.call(Method::GET, path, headers, Bytes::new()).await.json();
    assert_eq!(
        (page["data"].as_array().unwrap().len(), &page["more"]),
        (2, &json!(true))
    );
}
