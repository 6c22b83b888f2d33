//! Partners: a signed webhook goes in at one and comes out at the others, once, signed, filtered.

use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};
use sha2::Sha256;

use crate::harness::{
    Folder, Hub, Redis, Sandbox, base64, database, eventually, exchange, expect, get, interconnect, json_of,
};

/// What acme signs with when it posts to the hub.
const ACME_KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Headers and body of a webhook that acme signs, at a time in seconds since 1970.
pub(crate) fn signed(id: &str, at: i64, body: &str) -> Vec<(String, String)> {
    let mut mac = Hmac::<Sha256>::new_from_slice(ACME_KEY).expect("keys of any length are taken");
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    let signature = format!("v1,{}", base64(&mac.finalize().into_bytes()));
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at.to_string()),
        ("webhook-signature", signature),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// That, as a configuration has it.
pub(crate) fn acme_secret() -> String {
    format!("whsec_{}", base64(ACME_KEY))
}

pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The configuration of a hub with acme, who posts, and two who receive.
pub(crate) fn config(
    folder: &Folder,
    sandbox: &Sandbox,
    more: &str,
) -> (PathBuf, Vec<(&'static str, String)>) {
    let ledger = format!("ledger: sqlite:{}", folder.path("hub.db").display());
    config_on(folder, sandbox, &ledger, more)
}

/// The same on a ledger, and a queue, that the caller names.
pub(crate) fn config_on(
    folder: &Folder,
    sandbox: &Sandbox,
    stores: &str,
    more: &str,
) -> (PathBuf, Vec<(&'static str, String)>) {
    let secret = |name: &str| {
        sandbox.said["partners"][name]["secret"]
            .as_str()
            .expect("a secret")
            .to_owned()
    };
    let text = format!(
        "listen: 127.0.0.1:0
{stores}
outbound: {{ allow: [127.0.0.0/8] }}
limits: {{ sweep_every_ms: 200, body_bytes_max: 4096 }}
partners:
  acme:
    secrets: [\"${{env:ACME_SECRET}}\"]
    endpoints:
      - {{ name: acme-self, url: \"{northwind}/self\", secret: \"${{env:NORTHWIND_SECRET}}\", events: ['*'], share: everything }}
  northwind:
    endpoints:
      - {{ name: northwind-all, url: \"{northwind}/hook\", secret: \"${{env:NORTHWIND_SECRET}}\", events: ['deal.*', custom.ping], share: everything, retry_ms: [100, 100] }}
  globex:
    endpoints:
      - {{ name: globex-won, url: \"{globex}/hook\", secret: \"${{env:GLOBEX_SECRET}}\", events: [deal.won], share: {{ allow: [id, deal.name] }}, retry_ms: [100, 100] }}
{more}",
        northwind = sandbox.url("northwind"),
        globex = sandbox.url("globex"),
    );
    let secrets = vec![
        ("ACME_SECRET", acme_secret()),
        ("NORTHWIND_SECRET", secret("northwind")),
        ("GLOBEX_SECRET", secret("globex")),
    ];
    (folder.write("interconnect.yaml", &text), secrets)
}

/// What a partner received, verified, oldest first.
pub(crate) fn received(sandbox: &Sandbox, partner: &str) -> Vec<Json> {
    let mut all = Vec::new();
    loop {
        let after = all
            .last()
            .map_or(0, |last: &Json| last["sequence"].as_u64().expect("a number"));
        let page = get(&format!(
            "{}/_sandbox/received?after={after}",
            sandbox.url(partner)
        ));
        let page = page["received"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| panic!("no list in {page}"));
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn body(webhook: &Json) -> Json {
    serde_json::from_str(webhook["body"].as_str().expect("a body")).expect("the body is JSON")
}

fn push(hub: &Hub, id: &str, at: i64, body: &str) -> (u16, Json) {
    let headers = signed(id, at, body);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let (status, answer) = exchange("POST", &format!("{}/hooks/acme", hub.url), Some(body), &headers);
    (status, serde_json::from_str(&answer).unwrap_or(Json::Null))
}

fn event(event_type: &str, data: &Json) -> String {
    json!({"type": event_type, "timestamp": "2026-11-23T10:00:00Z", "data": data}).to_string()
}

#[test]
fn a_webhook_goes_to_those_who_asked_for_it_once_and_filtered() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let hub = Hub::start(&config, &secrets);
    let data =
        json!({"id": "D-1", "deal": {"name": "Rollout", "amount": {"amount": "10.50", "currency": "EUR"}}});
    let (status, answer) = push(&hub, "msg_1", now(), &event("deal.won", &data));
    assert_eq!(status, 202, "{answer}");
    let (again, duplicate) = push(&hub, "msg_1", now(), &event("deal.won", &data));
    assert_eq!(
        (again, &duplicate["id"], &duplicate["duplicate"]),
        (200, &answer["id"], &json!(true))
    );
    assert_eq!(push(&hub, "msg_2", now(), &event("deal.updated", &data)).0, 202);

    eventually("two webhooks at northwind and one at globex", || {
        let counts = (
            received(&sandbox, "northwind").len(),
            received(&sandbox, "globex").len(),
        );
        expect(counts == (2, 1), format!("{counts:?}"))
    });
    let globex = &received(&sandbox, "globex")[0];
    assert_eq!(
        globex["id"], answer["id"],
        "the id stays the same over every try: {globex}"
    );
    assert_eq!(
        body(globex)["data"],
        json!({"id": "D-1", "deal": {"name": "Rollout"}}),
        "only what is shared"
    );
    let northwind = received(&sandbox, "northwind");
    assert!(
        northwind.iter().any(|webhook| body(webhook)["data"] == data),
        "{northwind:?}"
    );
}

#[test]
fn it_is_the_same_on_postgresql_and_redis() {
    let folder = Folder::new();
    let redis = Redis::start(&folder);
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let stores = format!("ledger: {}\nqueue: {}", database("partners"), redis.url);
    let (config, secrets) = config_on(&folder, &sandbox, &stores, "");
    let hub = Hub::start(&config, &secrets);
    let data = json!({"id": "D-1", "deal": {"name": "Rollout"}});
    let (status, answer) = push(&hub, "msg_1", now(), &event("deal.won", &data));
    assert_eq!(status, 202, "{answer}");
    eventually("the webhook at both", || {
        let counts = (
            received(&sandbox, "northwind").len(),
            received(&sandbox, "globex").len(),
        );
        expect(counts == (1, 1), format!("{counts:?}"))
    });
    hub.running.kill();
    let hub = Hub::start(&config, &secrets);
    let (again, duplicate) = push(&hub, "msg_1", now(), &event("deal.won", &data));
    assert_eq!(
        (again, &duplicate["id"]),
        (200, &answer["id"]),
        "what was accepted is known after a crash"
    );
    assert_eq!(push(&hub, "msg_2", now(), &event("deal.won", &data)).0, 202);
    eventually("the second webhook", || {
        // The first one comes again, under its id, when the kill fell between its arrival and the note of it.
        let all = received(&sandbox, "northwind");
        let ids: std::collections::BTreeSet<&str> = all.iter().filter_map(|one| one["id"].as_str()).collect();
        expect(ids.len() == 2, format!("{ids:?}"))
    });
    assert_eq!(hub.running.stop(), Some(0));
}

#[test]
fn what_cannot_be_delivered_is_dead_after_its_last_try_and_can_be_retried() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let path = config.to_str().expect("a path of text");
    let hub = Hub::start(&config, &secrets);
    sandbox.fault("northwind", &json!({"kind": "unavailable", "times": 3}));
    assert_eq!(
        push(&hub, "msg_1", now(), &event("deal.updated", &json!({"id": 1}))).0,
        202
    );
    let list = |state: &str| {
        let output = interconnect(
            &["--config", path, "delivery", "list", "--state", state, "--json"],
            &secrets,
        );
        json_of(&output)["data"].as_array().cloned().expect("a list")
    };
    let dead = eventually("a dead delivery", || {
        let dead = list("dead");
        expect(dead.len() == 1, format!("{dead:?}")).map(|()| dead)
    });
    assert_eq!(
        (&dead[0]["attempts"], &dead[0]["last_status"]),
        (&json!(3), &json!(503)),
        "{dead:?}"
    );
    let id = dead[0]["id"].as_str().expect("an id");
    let retried = json_of(&interconnect(
        &["--config", path, "delivery", "retry", id, "--json"],
        &secrets,
    ));
    assert_eq!(retried["retried"], 1);
    eventually("the retried delivery", || {
        let delivered = list("delivered");
        expect(
            delivered.len() == 1 && received(&sandbox, "northwind").len() == 1,
            format!("{delivered:?}"),
        )
    });
}

#[test]
fn every_bad_webhook_gets_its_own_refusal_and_leaves_a_trace() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let hub = Hub::start(&config, &secrets);
    let good = event("deal.won", &json!({"id": 1}));
    let send = |path: &str, headers: &[(String, String)], body: &str| {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let (status, answer) = exchange("POST", &format!("{}{path}", hub.url), Some(body), &headers);
        let answer: Json =
            serde_json::from_str(&answer).unwrap_or_else(|_| panic!("not a problem: {answer}"));
        assert_eq!(answer["status"], status);
        for key in ["type", "title", "detail", "trace_id"] {
            assert!(answer[key].is_string(), "a problem has `{key}`: {answer}");
        }
        (status, answer["code"].as_str().expect("a code").to_owned())
    };
    let wrong = signed("msg_2", now(), "another body");
    let large = event("deal.won", &json!({"note": "x".repeat(5_000)}));
    let answers = [
        send("/hooks/acme", &[], &good),
        send("/hooks/acme", &wrong, &good),
        send("/hooks/acme", &signed("msg_3", now() - 3_600, &good), &good),
        send("/hooks/acme", &signed("msg_4", now() + 3_600, &good), &good),
        send("/hooks/acme", &signed("msg_5", now(), &large), &large),
        send("/hooks/acme", &signed("msg_6", now(), "not json"), "not json"),
        send("/hooks/acme", &signed("msg_7", now(), "[1]"), "[1]"),
        send(
            "/hooks/acme",
            &signed("msg_8", now(), &event("deal.wonn", &json!({}))),
            &event("deal.wonn", &json!({})),
        ),
        send("/hooks/nobody", &signed("msg_9", now(), &good), &good),
    ];
    insta::assert_debug_snapshot!(answers, @r#"
    [
        (
            401,
            "signature_missing",
        ),
        (
            401,
            "signature_wrong",
        ),
        (
            401,
            "stale",
        ),
        (
            401,
            "from_the_future",
        ),
        (
            413,
            "too_large",
        ),
        (
            400,
            "not_json",
        ),
        (
            422,
            "not_an_event",
        ),
        (
            422,
            "event_type_unknown",
        ),
        (
            404,
            "not_found",
        ),
    ]
    "#);
    assert!(answers.iter().all(|(status, _)| (400..500).contains(status)));
    let traces = eventually("a trace of each", || {
        let traces = get(&format!("{}/v1/refusals", hub.url))["data"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        expect(traces.len() == answers.len(), format!("{traces:?}")).map(|()| traces)
    });
    let text = serde_json::to_string(&traces).expect("JSON serialises");
    assert!(
        !text.contains("MDEyMzQ1") && !text.contains("xxxxx"),
        "no secret and no body in a trace: {text}"
    );
    assert!(received(&sandbox, "northwind").is_empty());
}
