//! The admin's API.

use crate::ServerSettings;
use bytes::Bytes;
use jiff::Timestamp;
use ledger::{Change, Link, RecordWrite, SyncCommit};
use model::{Kind, Money, Provenance, Record, RecordId, RunId, Value, uuid_from};
use outbound::Method;
use outbound::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use serde_json::json;

use super::stage::{EVENT, Stage, endpoint};

fn header(name: outbound::header::HeaderName, value: &str) -> HeaderMap {
    [(name, value.parse().unwrap())].into_iter().collect()
}

pub(crate) fn uuid(byte: u8) -> uuid::Uuid {
    uuid_from("2026-11-23T05:00:00Z".parse().unwrap(), [byte; 10])
}

pub(crate) async fn keep_deals(stage: &Stage, count: u8) -> Vec<RecordId> {
    let mut commit = SyncCommit::default();
    for byte in 1..=count {
        let at: Timestamp = "2026-11-23T05:00:00Z".parse().unwrap();
        let mut record = Record::empty(RecordId::new(Kind::Deal, uuid(byte)), at);
        record.version = 1;
        let said = std::sync::Arc::new(Provenance {
            connection: "crm".into(),
            external_id: format!("006{byte}"),
            changed_at: at,
            observed_at: at,
        });
        let amount = Money::parse("1200.50", model::Currency::parse("EUR").unwrap()).unwrap();
        for (path, value) in [
            ("name", Value::text("Solar park")),
            ("amount", Value::Money(amount)),
        ] {
            record.fields.set(path, value);
            record.provenance.insert(path, said.clone());
        }
        commit.links.push(Link {
            connection: "crm".into(),
            object: "Opportunity".into(),
            external_id: format!("006{byte}"),
            record: record.id,
            base: Some(record.fields.clone()),
            wire: None,
            external_version: None,
            modified: None,
            seen_at: at,
            replaces: None,
            gone: false,
            ignored: false,
            made: false,
        });
        let change = Change {
            version: 1,
            path: "name".into(),
            before: serde_json::Value::Null,
            after: "Solar park".into(),
            reason: "filled".into(),
            connection: "crm".into(),
            external_id: format!("006{byte}"),
            changed_at: at,
            committed_at: at,
            run: RunId::from_uuid(uuid(99)),
            trace: "0af7651916cd43dd8448eb211c80319c".into(),
        };
        commit.records.push(RecordWrite {
            record,
            read_version: 0,
            changes: vec![change],
            match_keys: vec![],
        });
    }
    let ids = commit.records.iter().map(|write| write.record.id).collect();
    stage.ledger.commit(commit).await.unwrap();
    ids
}

#[tokio::test]
async fn a_record_shows_its_values_links_and_history() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], ServerSettings::default()).await;
    let ids = keep_deals(&stage, 1).await;
    let shown = stage.get(&format!("/v1/records/{}", ids[0])).await;
    let shown = serde_json::to_string_pretty(&shown.json()).unwrap();
    insta::assert_snapshot!(shown, @r#"
    {
      "conflicts": [],
      "history": [
        {
          "after": "Solar park",
          "before": null,
          "changed_at": "2026-11-23T05:00:00Z",
          "committed_at": "2026-11-23T05:00:00Z",
          "connection": "crm",
          "external_id": "0061",
          "field": "name",
          "reason": "filled",
          "run": "run_01m83ccy40edht6rv3cdhp6rv3",
          "trace": "0af7651916cd43dd8448eb211c80319c",
          "version": 1
        }
      ],
      "links": [
        {
          "base": {
            "amount": {
              "amount": "1200.50",
              "currency": "EUR"
            },
            "name": "Solar park"
          },
          "connection": "crm",
          "external_id": "0061",
          "external_version": null,
          "gone": false,
          "ignored": false,
          "object": "Opportunity",
          "seen_at": "2026-11-23T05:00:00Z",
          "unlinked": false
        }
      ],
      "parked": [],
      "record": {
        "created_at": "2026-11-23T05:00:00Z",
        "deleted_at": null,
        "fields": {
          "amount": {
            "because": null,
            "said_by": {
              "changed_at": "2026-11-23T05:00:00Z",
              "connection": "crm",
              "external_id": "0061",
              "observed_at": "2026-11-23T05:00:00Z"
            },
            "value": {
              "amount": "1200.50",
              "currency": "EUR"
            }
          },
          "name": {
            "because": {
              "rule": "filled",
              "run": "run_01m83ccy40edht6rv3cdhp6rv3",
              "trace": "0af7651916cd43dd8448eb211c80319c",
              "version": 1
            },
            "said_by": {
              "changed_at": "2026-11-23T05:00:00Z",
              "connection": "crm",
              "external_id": "0061",
              "observed_at": "2026-11-23T05:00:00Z"
            },
            "value": "Solar park"
          }
        },
        "id": "dea_01m83ccy40e40r2081040g2081",
        "kind": "deal",
        "merged_into": null,
        "updated_at": "2026-11-23T05:00:00Z",
        "version": 1
      }
    }
    "#);
    let unknown = RecordId::new(Kind::Deal, uuid(50));
    assert!(
        stage
            .get(&format!("/v1/records/{unknown}"))
            .await
            .problem()
            .starts_with("404 not_found")
    );
}

#[tokio::test]
async fn lists_come_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], ServerSettings::default()).await;
    let mut expected: Vec<String> = keep_deals(&stage, 7)
        .await
        .iter()
        .map(ToString::to_string)
        .collect();
    expected.sort();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = stage
            .get(&format!("/v1/records?kind=deal&limit=3{cursor}"))
            .await
            .json();
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 3);
        seen.extend(
            data.iter()
                .map(|record| record["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, expected);
    let mut told = Vec::new();
    for query in [
        "",
        "?kind=deals",
        "?kind=deal&limit=0",
        "?kind=deal&limit=x",
        "?kind=deal&cursor=x",
        "?kid=deal",
    ] {
        told.push(stage.get(&format!("/v1/records{query}")).await.problem());
    }
    told.push(stage.get("/v1/deliveries?state=stuck").await.problem());
    told.push(stage.get("/v1/deliveries/evt_1").await.problem());
    told.push(stage.get("/v1/deliveries/%ff").await.problem());
    insta::assert_snapshot!(told.join("\n"), @r"
    400 bad_request: the query cannot be read: missing field `kind`
    400 bad_request: `kind` is one of `partner`, `lead`, `deal`
    400 bad_request: `limit` is between 1 and 200, 0 is not
    400 bad_request: the query cannot be read: limit: invalid digit found in string
    400 bad_request: `x` is not a record id; they look like ptn_…, led_… or dea_… with 26 characters behind the underscore
    400 bad_request: the query cannot be read: kid: unknown field `kid`, expected one of `kind`, `cursor`, `limit`
    400 bad_request: `state` is one of `due`, `held`, `delivered`, `dead` and `folded`
    400 bad_request: the id is not the id of a delivery, `dlv_…`
    400 bad_request: the request could not be read
    ");
}

#[tokio::test]
async fn deliveries_are_listed_shown_and_retried_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let mut to = endpoint("b", "borealis", "http://127.0.0.1:9/in");
    to.retry_ms = vec![];
    let mut never = endpoint("n", "borealis", "http://127.0.0.1:9/in");
    never.subscriptions = vec!["deal.lost".into()];
    let stage = Stage::open(folder.path(), &[to, never], ServerSettings::default()).await;
    stage.post("m1", EVENT).await;
    stage.post("m2", &EVENT.replace("won", "lost")).await;
    assert_eq!(stage.deliver("b").await, None);

    let dead = stage.get("/v1/deliveries?state=dead&endpoint=b").await.json();
    assert_eq!(dead["data"].as_array().unwrap().len(), 2);
    let due = stage.get("/v1/deliveries?state=due").await.json();
    assert_eq!(
        (due["data"].as_array().unwrap().len(), &due["data"][0]["endpoint"]),
        (1, &"n".into())
    );
    let id = dead["data"][0]["id"].as_str().unwrap().to_owned();
    let shown = stage.get(&format!("/v1/deliveries/{id}")).await.json();
    assert_eq!(shown["delivery"]["state"], "dead");
    assert_eq!(
        (&shown["attempts"][0]["number"], &shown["attempts"][0]["decision"]),
        (&1.into(), &"dead".into())
    );
    assert!(
        shown["attempts"][0]["error"]
            .as_str()
            .unwrap()
            .starts_with("cannot connect to 127.0.0.1:9")
    );

    let path = format!("/v1/deliveries/{id}/retry");
    let retried = stage
        .call(Method::POST, &path, HeaderMap::new(), Bytes::new())
        .await;
    assert_eq!((retried.status(), &retried.json()["state"]), (202, &"due".into()));
    let due = stage.get("/v1/deliveries?state=due&endpoint=b").await.json();
    assert_eq!(
        (&due["data"][0]["id"], &due["data"][0]["attempts"]),
        (&id.into(), &0.into())
    );
}

#[tokio::test]
async fn what_has_arrived_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let sink = axum::Router::new().route("/in", axum::routing::post(|| async {}));
    tokio::spawn(async move { axum::serve(listener, sink).await });
    let stage = Stage::open(
        folder.path(),
        &[endpoint("b", "borealis", &url)],
        ServerSettings::default(),
    )
    .await;
    stage.post("m1", EVENT).await;
    stage.deliver("b").await;
    let listed = stage.get("/v1/deliveries").await.json();
    assert_eq!(listed["data"][0]["state"], "delivered");
    let path = format!(
        "/v1/deliveries/{}/retry",
        listed["data"][0]["id"].as_str().unwrap()
    );
    let told = stage
        .call(Method::POST, &path, HeaderMap::new(), Bytes::new())
        .await;
    insta::assert_snapshot!(told.problem(), @"409 delivered: the delivery has arrived already, so it is not sent again");
}

#[tokio::test]
async fn refusals_are_listed_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], ServerSettings::default()).await;
    for path in ["/hooks/nobody", "/hooks/acme"] {
        stage
            .call(Method::POST, path, HeaderMap::new(), EVENT.into())
            .await;
    }
    stage.refusals.flush().await;
    let listed = stage.get("/v1/refusals").await.json();
    let codes: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["signature_missing", "not_found"]);
}

#[tokio::test]
async fn with_a_key_the_api_wants_to_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let key = "0123456789abcdef01234567";
    let settings = ServerSettings {
        api_key: Some(key.parse().unwrap()),
        ..ServerSettings::default()
    };
    let stage = Stage::open(folder.path(), &[], settings).await;
    let get = async |headers| {
        stage
            .call(Method::GET, "/v1/refusals", headers, Bytes::new())
            .await
    };
    let shown = |text: &str| header(AUTHORIZATION, text);
    assert_eq!(get(shown(&format!("Bearer {key}"))).await.status(), 200);
    insta::assert_snapshot!(get(HeaderMap::new()).await.problem(), @"401 unauthorized: show the hub's key as `Authorization: Bearer …`");
    for wrong in [format!("Bearer {key}0"), format!("Basic {key}"), "Bearer ".into()] {
        let problem = get(shown(&wrong)).await.problem();
        assert!(problem.starts_with("401 unauthorized"), "{wrong}: {problem}");
    }
    assert_eq!(stage.get("/livez").await.status(), 200);
}

#[tokio::test]
async fn without_a_key_the_api_is_for_this_machine_and_not_for_pages_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], ServerSettings::default()).await;
    let get = async |headers| {
        stage
            .call(Method::GET, "/v1/refusals", headers, Bytes::new())
            .await
    };
    assert_eq!(get(HeaderMap::new()).await.status(), 200);
    assert_eq!(get(header(ORIGIN, "http://localhost:5173")).await.status(), 200);
    for headers in [
        header(HOST, "evil.example"),
        header(ORIGIN, "https://evil.example"),
        header(ORIGIN, "null"),
    ] {
        let problem = get(headers).await.problem();
        assert!(problem.starts_with("403 forbidden"), "{problem}");
    }
}

#[tokio::test]
async fn an_endpoint_is_shown_paused_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let to = endpoint("b", "borealis", "http://127.0.0.1:9/in?token=hidden");
    let stage = Stage::open(folder.path(), &[to], ServerSettings::default()).await;
    stage.post("m1", EVENT).await;
    let listed = stage.get("/v1/endpoints").await;
    assert!(!listed.text().contains("hidden"), "{}", listed.text());
    assert_eq!(
        listed.json()["data"][0],
        json!({"name": "b", "partner": "borealis", "host": "127.0.0.1:9", "events": ["*"],
            "subscriptions": [{"types": ["*"], "from": [], "where": null, "fold": false}], "shape": "full", "state": "ok",
            "reason": null, "stopped_at": null, "failures": 0, "failing_since": null, "rest_until": null,
            "sequence": 1, "folded": 0})
    );
    let shown = stage.get("/v1/endpoints/b").await.json();
    assert_eq!(
        (&shown["share"]["name"], &shown["share"]["allow"]),
        (&json!("everything"), &json!("everything"))
    );
    let told = stage.post_json("/v1/endpoints/b/resume", &json!({})).await;
    insta::assert_snapshot!(told.problem(), @"409 not_stopped: the endpoint `b` is not stopped");
    let told = stage.post_json("/v1/endpoints/nobody/pause", &json!({})).await;
    insta::assert_snapshot!(told.problem(), @"404 not_found: there is no endpoint `nobody`");
    let told = stage
        .post_json("/v1/endpoints/b/pause", &json!({"why": "?"}))
        .await;
    assert_eq!(told.status(), 400, "{}", told.text());

    let paused = stage
        .post_json("/v1/endpoints/b/pause", &json!({"reason": "their migration"}))
        .await;
    assert_eq!(
        paused.json(),
        json!({"name": "b", "state": "paused", "reason": "their migration"})
    );
    assert_eq!(stage.deliver("b").await, None);
    let shown = stage.get("/v1/endpoints/b").await.json();
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("paused"), &json!("their migration"))
    );
    let due = stage.get("/v1/deliveries?state=due").await.json();
    assert_eq!(due["data"][0]["attempts"], 0, "nothing was tried, and it is kept");

    let resumed = stage.post_json("/v1/endpoints/b/resume", &json!({})).await;
    assert_eq!(resumed.json()["state"], "ok");
    assert!(stage.deliver("b").await.is_some());
    assert_eq!(stage.get("/v1/endpoints/b").await.json()["state"], "failing");
}

#[tokio::test]
async fn metrics_are_told_to_who_has_the_key_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings {
        api_key: Some("0123456789abcdef01234567".parse().unwrap()),
        ..ServerSettings::default()
    };
    let stage = Stage::open(folder.path(), &[], settings).await;
    let event = |number: u8| ledger::NewEvent {
        id: model::EventId::from_uuid(uuid(number)),
        event_type: "deal.won".to_owned(),
        source: "acme".to_owned(),
        dedupe: number.to_string(),
        body: Bytes::from_static(b"{}"),
        received_at: stage.now,
        trace: String::new(),
        hops: String::new(),
        arrival: String::new(),
        deliveries: vec![ledger::NewDelivery {
            id: model::DeliveryId::from_uuid(uuid(number)),
            endpoint: "borealis-crm".to_owned(),
            line: None,
        }],
    };
    stage.ledger.accept(vec![event(1), event(2)]).await.unwrap();
    assert_eq!(stage.get("/metrics").await.status(), 401);
    let key = header(AUTHORIZATION, "Bearer 0123456789abcdef01234567");
    let told = stage.call(Method::GET, "/metrics", key, Bytes::new()).await;
    assert_eq!(
        told.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    insta::assert_snapshot!(told.text(), @r#"
    # HELP interconnect_deliveries_waiting Deliveries that are to be sent.
    # TYPE interconnect_deliveries_waiting gauge
    interconnect_deliveries_waiting{endpoint="acme-crm"} 0
    interconnect_deliveries_waiting{endpoint="borealis-crm"} 2
    "#);
}
