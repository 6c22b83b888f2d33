//! Webhooks come in, and every kind of bad one is told so.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use crate::{HookAnswer, HookRefusal, ServerSettings};
use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use ledger::DeliveryState;
use outbound::Method;
use outbound::header::HeaderMap;

use super::stage::{EVENT, Stage, endpoint};

#[tokio::test]
async fn an_event_travels_from_partner_to_partner() {
    let received = Arc::new(Mutex::new(Vec::new()));
    let noted = received.clone();
    let sink = post(move |headers: HeaderMap, body: Bytes| async move {
        noted.lock().unwrap().push((headers, body));
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/in", sink)).await });
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(
        folder.path(),
        &[endpoint("b", "borealis", &url)],
        ServerSettings::default(),
    )
    .await;

    let first = stage.post("m1", EVENT).await;
    assert_eq!((first.status(), &first.json()["duplicate"]), (202, &false.into()));
    let again = stage.post("m1", EVENT).await;
    assert_eq!((again.status(), &again.json()["duplicate"]), (200, &true.into()));
    assert_eq!(first.json()["id"], again.json()["id"]);

    stage.deliver("b").await;
    let received = received.lock().unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!(
        (&received[0].0["webhook-id"], &received[0].1[..]),
        (
            &first.json()["id"].as_str().unwrap().parse().unwrap(),
            EVENT.as_bytes()
        )
    );
}

#[tokio::test]
async fn the_same_message_at_the_same_moment_gets_one_id() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], ServerSettings::default()).await;
    let answers = futures_util::future::join_all((0..20).map(|_| stage.post("same", EVENT))).await;
    let ids: HashSet<String> = answers
        .iter()
        .map(|answer| answer.json()["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1);
    let new = answers.iter().filter(|answer| answer.status() == 202).count();
    let again = answers.iter().filter(|answer| answer.status() == 200).count();
    assert_eq!((new, again), (1, 19));
}

#[tokio::test]
async fn each_kind_of_bad_webhook_gets_its_own_answer_and_leaves_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings {
        body_bytes_max: 1024,
        ..ServerSettings::default()
    };
    let stage = Stage::open(folder.path(), &[], settings).await;
    let send = async |path: &str, headers: HeaderMap, body: &str| {
        let body = Bytes::copy_from_slice(body.as_bytes());
        stage.call(Method::POST, path, headers, body).await.problem()
    };
    let acme = "/hooks/acme";
    let mut malformed = stage.signed("m1", EVENT, 0);
    malformed.insert("webhook-timestamp", "soon".parse().unwrap());
    let large = format!(r#"{{"data":"{}"}}"#, "x".repeat(1024));
    let unknown_type = EVENT.replace("deal.won", "deal.stolen");
    let mut told = vec![
        send(acme, HeaderMap::new(), EVENT).await,
        send(acme, malformed, EVENT).await,
        send(acme, stage.signed("m1", "other", 0), EVENT).await,
        send(acme, stage.signed("m1", EVENT, -301), EVENT).await,
        send(acme, stage.signed("m1", EVENT, 301), EVENT).await,
        send(acme, stage.signed("m1", &large, 0), &large).await,
        send(acme, stage.signed("m1", "<xml/>", 0), "<xml/>").await,
        send(acme, stage.signed("m1", "{}", 0), "{}").await,
        send(acme, stage.signed("m1", &unknown_type, 0), &unknown_type).await,
        send("/hooks/nobody", stage.signed("m1", EVENT, 0), EVENT).await,
    ];
    told.push(stage.get(acme).await.problem());
    told.push(stage.get("/hooks").await.problem());
    insta::assert_snapshot!(told.join("\n"), @r#"
    401 signature_missing: the header `webhook-id` is missing; sign as Standard Webhooks 1.0.0 says
    400 signature_malformed: the header `webhook-timestamp` cannot be read: it is not a number of seconds since 1970
    401 signature_wrong: no signature fits: sign the bytes that are sent, with this partner's secret, over `id.timestamp.body`
    401 stale: signed 301 s ago, more than the 300 s that are tolerated; sign anew for each try
    401 from_the_future: signed 301 s in the future, more than the 300 s that are tolerated; set the sender's clock
    413 too_large: the body is larger than 1024 bytes; send a reference to what is large
    400 not_json: the body is not JSON: expected value at line 1 column 1
    422 not_an_event: the body is not an event `{"type", "timestamp", "data"}`: missing field `type` at line 1 column 2
    422 event_type_unknown: `deal.stolen` is not an event type; known are partner.created, partner.updated, partner.merged, partner.unmerged, partner.deleted, lead.created, lead.updated, lead.converted, lead.merged, lead.unmerged, lead.deleted, deal.created, deal.updated, deal.stage_changed, deal.won, deal.lost, deal.merged, deal.unmerged, deal.deleted, endpoint.failing, endpoint.recovered, endpoint.disabled, secret.expiring and anything under `custom.`
    404 not_found: there is nothing at this address
    405 method_not_allowed: this address is there, but not for this method
    404 not_found: there is nothing at this address
    "#);

    stage.refusals.flush().await;
    let mut traces: Vec<String> = stage
        .ledger
        .refusals(100)
        .await
        .unwrap()
        .iter()
        .map(|refusal| {
            format!(
                "{} {} {} {} {}",
                refusal.addressed_to, refusal.status, refusal.code, refusal.webhook_id, refusal.body_bytes
            )
        })
        .collect();
    traces.reverse();
    insta::assert_snapshot!(traces.join("\n"), @r"
    acme 401 signature_missing  73
    acme 400 signature_malformed m1 73
    acme 401 signature_wrong m1 73
    acme 401 stale m1 73
    acme 401 from_the_future m1 73
    acme 413 too_large m1 0
    acme 400 not_json m1 6
    acme 422 not_an_event m1 2
    acme 422 event_type_unknown m1 76
    nobody 404 not_found m1 73
    ");
    let rows = stage.ledger.row_counts().await.unwrap();
    assert!(
        rows.contains(&("events".into(), 0)),
        "nothing of it is kept: {rows:?}"
    );
}

#[tokio::test]
async fn a_full_ledger_answers_503_and_when_to_come_back_and_keeps_what_it_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}", folder.path().join("ledger.db").display());
    let small = ledger::Settings {
        writes_waiting_max: 1,
        ..ledger::Settings::default()
    };
    let ledger = ledger::open(&address, small).await.unwrap();
    let endpoints = [endpoint("b", "borealis", "http://127.0.0.1:9/in")];
    let stage = Stage::over(ledger, &endpoints, ServerSettings::default()).await;
    let ids: Vec<String> = (0..200).map(|n| format!("m{n}")).collect();
    let answers = futures_util::future::join_all(ids.iter().map(|id| stage.post(id, EVENT))).await;
    let accepted = answers.iter().filter(|answer| answer.status() == 202).count();
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status() == 503).collect();
    assert_eq!(accepted + busy.len(), 200);
    assert!(accepted > 0 && !busy.is_empty(), "{accepted} accepted");
    assert_eq!(busy[0].header("retry-after"), Some("1"));
    insta::assert_snapshot!(busy[0].problem(), @"503 busy: too many events wait to be written; send it again shortly");
    let filter = ledger::DeliveryFilter {
        state: Some(DeliveryState::Due),
        ..Default::default()
    };
    assert_eq!(
        stage
            .ledger
            .list_deliveries(&filter, None, 1000)
            .await
            .unwrap()
            .len(),
        accepted
    );
}

#[tokio::test]
async fn systems_post_to_their_connections() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], ServerSettings::default()).await;
    let path = "/hooks/connections/crm?portal=1";
    let send = || stage.call(Method::POST, path, HeaderMap::new(), Bytes::from_static(b"[{}]"));
    let taken = send().await;
    assert_eq!((taken.status(), taken.header("content-type")), (204, None));
    let received = ("crm".to_owned(), path.to_owned(), Bytes::from_static(b"[{}]"));
    assert_eq!(*stage.systems.received.lock().unwrap(), [received]);

    *stage.systems.asked.lock().unwrap() = Some(HookAnswer {
        content_type: "text/plain; charset=utf-8",
        body: "<b>challenge</b>".into(),
    });
    let challenge = stage
        .call(Method::GET, path, HeaderMap::new(), Bytes::new())
        .await;
    assert_eq!((challenge.status(), challenge.text()), (200, "<b>challenge</b>"));
    assert_eq!(
        challenge.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(challenge.header("x-content-type-options"), Some("nosniff"));

    let mut told = Vec::new();
    for refusal in [
        HookRefusal::UnknownConnection,
        HookRefusal::Unsigned("the header `x-signature` is missing".into()),
        HookRefusal::Malformed("it is not base64".into()),
        HookRefusal::WrongSignature,
        HookRefusal::Stale("signed 400 s ago".into()),
        HookRefusal::Future("signed 400 s ahead".into()),
        HookRefusal::Unreadable("it is no list".into()),
        HookRefusal::CannotVerify("the secret `webhook_key` is not set".into()),
        HookRefusal::Busy,
        HookRefusal::Failed("the database at 10.0.0.7 is gone".into()),
    ] {
        stage.systems.answers.lock().unwrap().push_back(refusal);
        told.push(send().await.problem());
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    404 not_found: there is nothing at this address
    401 signature_missing: the header `x-signature` is missing
    400 signature_malformed: it is not base64
    401 signature_wrong: the signature does not fit the bytes that were sent
    401 stale: signed 400 s ago
    401 from_the_future: signed 400 s ahead
    422 unreadable: it is no list
    503 cannot_verify: the connection is not configured to verify webhooks; who runs the hub sees in its log what is missing
    503 busy: too much waits to be written; send it again shortly
    503 unavailable: the webhook could not be kept; send it again
    ");
    stage.refusals.flush().await;
    assert_eq!(
        stage.ledger.refusals(100).await.unwrap().len(),
        8,
        "what failed on our side is no refusal, and what is not configured is one"
    );
}

#[tokio::test]
async fn the_trace_of_the_caller_goes_with_the_event() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], ServerSettings::default()).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut headers = stage.signed("m1", EVENT, 0);
    headers.insert(
        "traceparent",
        format!("00-{trace}-b7ad6b7169203331-01").parse().unwrap(),
    );
    let answer = stage
        .call(Method::POST, "/hooks/acme", headers.clone(), EVENT.into())
        .await;
    let id = answer.json()["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(stage.ledger.event(id).await.unwrap().unwrap().trace, trace);
    let refused = stage
        .call(Method::POST, "/hooks/nobody", headers, EVENT.into())
        .await;
    assert_eq!(refused.json()["trace_id"], trace);
}
