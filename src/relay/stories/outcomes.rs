//! What an endpoint may answer, and what follows.

use std::sync::atomic::Ordering;

use crate::{Subscription, standard};
use ledger::DeliveryState::{Dead, Delivered, Due};
use ledger::{DeliveryFilter, Next, StopKind};
use outbound::header::{HeaderMap, HeaderValue};
use policy::{Rules, SharingPolicy};
use serde_json::{Value as Json, json};

use super::stage::{Answer, OLD_SECRET, SECRET, Sink, Stage, endpoint, limits};

fn verifies(headers: &HeaderMap, body: &bytes::Bytes, secret: &str, at: jiff::Timestamp) -> bool {
    standard::verify(&[secret.parse().unwrap()], headers, body.clone(), at, 0).is_ok()
}

#[tokio::test]
async fn a_delivery_carries_the_very_bytes_signed_with_every_secret() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.secrets = vec![SECRET.into(), OLD_SECRET.into()];
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    let body = "{ \"type\":\"deal.won\", \"timestamp\":\"2026-11-23T06:00:00+01:00\",\n \"data\":{\"amount\": 1200.50}, \"extra\":1 }";
    let receipt = stage.post_body("m1", body).await.unwrap();

    assert_eq!(stage.deliver("b").await, None);
    let [received] = &sink.received()[..] else {
        panic!("one delivery")
    };
    assert_eq!(
        (received.id(), &received.body[..]),
        (receipt.event.to_string().as_str(), body.as_bytes())
    );
    assert_eq!(received.header("content-type"), "application/json");
    assert!(verifies(
        &received.headers,
        &received.body,
        SECRET,
        stage.clock.now()
    ));
    assert!(verifies(
        &received.headers,
        &received.body,
        OLD_SECRET,
        stage.clock.now()
    ));

    let [delivery] = &stage.deliveries("b").await[..] else {
        panic!("one delivery")
    };
    assert_eq!((delivery.state, delivery.last_status), (Delivered, Some(200)));
    let attempts = stage.ledger.attempts(delivery.id).await.unwrap();
    assert_eq!(
        (attempts.len(), attempts[0].number, attempts[0].next),
        (1, 1, Next::Delivered)
    );
}

#[tokio::test]
async fn what_the_policy_does_not_share_does_not_leave() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    let only = |paths: &[&str]| paths.iter().map(|path| path.parse().unwrap()).collect();
    let rules = Rules {
        mask: only(&["name"]),
        ..Rules::only(only(&["name", "amount"]))
    };
    to.policy = SharingPolicy::of("test", rules);
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    let body = json!({"type": "deal.won", "timestamp": "2026-11-23T06:00:00Z",
        "data": {"name": "Solar park", "amount": {"amount": "1.10", "currency": "EUR"}, "contact": "a@acme.example"}});
    stage.post_body("m1", &body.to_string()).await.unwrap();

    stage.deliver("b").await;
    let received = &sink.received()[0];
    let sent: Json = serde_json::from_slice(&received.body).unwrap();
    assert_eq!(
        sent["data"],
        json!({"name": "***", "amount": {"amount": "1.10", "currency": "EUR"}})
    );
    assert!(
        verifies(&received.headers, &received.body, SECRET, stage.clock.now()),
        "signed as it was sent"
    );
}

#[tokio::test]
async fn a_policy_that_does_not_hold_shares_nothing_and_says_why_without_saying_what() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let to = |name: &str, policy: SharingPolicy| {
        let mut to = endpoint(name, "borealis", &sink);
        to.policy = policy;
        to
    };
    let over = "2026-01-01T00:00:00Z".parse().unwrap();
    let endpoints = [
        to(
            "ended",
            SharingPolicy {
                until: Some(over),
                ..SharingPolicy::everything()
            },
        ),
        to(
            "not-meant",
            SharingPolicy {
                when: Some(std::sync::Arc::new(
                    program::Program::compile(r#".data.name == "Wind park""#, &[]).unwrap(),
                )),
                ..SharingPolicy::everything()
            },
        ),
    ];
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    let body = r#"{"type":"deal.won","timestamp":"2026-11-23T06:00:00Z","data":{"name":"Solar park"}}"#;
    stage.post_body("m1", body).await.unwrap();
    stage.deliver("ended").await;
    stage.deliver("not-meant").await;
    assert!(sink.received().is_empty());
    let [given_up] = &stage.deliveries("ended").await[..] else {
        panic!("it was owed, until it was to be sent")
    };
    assert_eq!(given_up.state, Dead);
    insta::assert_snapshot!(given_up.last_error, @"the sharing policy `everything` ended at 2026-01-01T00:00:00Z, and nothing is shared by it any more");
    assert!(
        stage.deliveries("not-meant").await.is_empty(),
        "it is not owed at all"
    );
}

#[tokio::test]
async fn each_endpoint_gets_what_it_asked_for_in_the_shape_it_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let program = |text: &str, names: &[&'static str]| {
        std::sync::Arc::new(program::Program::compile(text, names).unwrap())
    };
    let to = |name: &str, filter: &str, shape: event::Shape| {
        let mut to = endpoint(name, "borealis", &sink);
        to.subscriptions = vec![Subscription {
            filter: Some(program(filter, &[])),
            ..Subscription::from("deal.*")
        }];
        let rules = Rules {
            omit: vec!["margin".parse().unwrap()],
            ..Rules::everything()
        };
        to.policy = SharingPolicy::of("test", rules);
        to.shape = shape;
        to
    };
    let mut from_others = to("from-others", "true", event::Shape::Full);
    from_others.subscriptions[0].from = vec!["ceres".into(), "crm".into()];
    let own = program("{which: $id, name: .data.name, margin: .data.margin}", &["id"]);
    let stage = Stage::open(
        folder.path(),
        &[
            to("thin", ".data.margin > 5", event::Shape::Thin),
            to("cloud", r#".data.name == "Solar park""#, event::Shape::CloudEvent),
            to("own", "true", event::Shape::Program(own)),
            to(
                "broken",
                "true",
                event::Shape::Program(program(".data.name", &[])),
            ),
            to("no", ".data.margin > 50", event::Shape::Full),
            from_others,
        ],
        limits(),
    )
    .await;
    let body = json!({"type": "deal.won", "timestamp": "2026-11-23T06:00:00Z",
        "data": {"id": "D-1", "name": "Solar park", "margin": 7}});
    let receipt = stage.post_body("m1", &body.to_string()).await.unwrap();

    let mut told = Vec::new();
    for name in ["thin", "cloud", "own"] {
        let before = sink.received().len();
        stage.deliver(name).await;
        let received = &sink.received()[before];
        assert!(
            verifies(&received.headers, &received.body, SECRET, stage.clock.now()),
            "{name}"
        );
        let text = String::from_utf8(received.body.to_vec()).unwrap();
        told.push(format!("{}: {text}", received.header("content-type")));
    }
    let told = told.join("\n").replace(&receipt.event.to_string(), "evt_…");
    insta::assert_snapshot!(told, @r#"
    application/json: {"data":{"id":"D-1"},"timestamp":"2026-11-23T06:00:00Z","type":"deal.won"}
    application/cloudevents+json: {"data":{"id":"D-1","name":"Solar park"},"datacontenttype":"application/json","id":"evt_…","source":"/interconnect","specversion":"1.0","subject":"D-1","time":"2026-11-23T06:00:00Z","type":"deal.won"}
    application/json: {"margin":null,"name":"Solar park","which":"evt_…"}
    "#);
    stage.deliver("broken").await;
    let [broken] = &stage.deliveries("broken").await[..] else {
        panic!("one delivery")
    };
    assert_eq!(broken.state, Dead);
    assert!(
        broken.last_error.contains("must give one object"),
        "{}",
        broken.last_error
    );
    for name in ["no", "from-others"] {
        assert!(stage.deliveries(name).await.is_empty(), "{name}");
    }
}

/// Gives tokens with numbers; none for the third time.
#[derive(Debug, Default)]
struct Numbers(std::sync::atomic::AtomicU64);

#[async_trait::async_trait]
impl crate::Authorize for Numbers {
    async fn authorization(&self, refused: Option<u64>) -> Result<(u64, HeaderValue), String> {
        let number = self.0.load(Ordering::SeqCst);
        let number = match refused {
            Some(refused) if refused == number => self.0.fetch_add(1, Ordering::SeqCst) + 1,
            _ => number,
        };
        match number {
            2 => Err("no token to show: they are closed".to_owned()),
            number => Ok((
                number,
                HeaderValue::from_str(&format!("Bearer t{number}")).unwrap(),
            )),
        }
    }
}

#[tokio::test]
async fn a_token_is_shown_and_one_that_is_refused_is_renewed_for_the_next_try() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.authorize = Some(std::sync::Arc::new(Numbers::default()));
    to.retry_ms = vec![1_000; 5];
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();
    sink.answer_next(Answer::Status(401));
    sink.answer_next(Answer::Status(401));
    while let Some(next) = stage.deliver("b").await {
        stage.clock.set(next);
        if stage.deliveries("b").await[0].attempts == 3 {
            break;
        }
    }
    let shown: Vec<_> = sink
        .received()
        .iter()
        .map(|one| one.header("authorization").to_owned())
        .collect();
    assert_eq!(
        shown,
        ["Bearer t0", "Bearer t1"],
        "the third try has nothing to show"
    );
    let delivery = &stage.deliveries("b").await[0];
    assert_eq!(delivery.last_error, "no token to show: they are closed");
    assert_eq!(delivery.state, Due, "it is tried again");
}

#[tokio::test]
async fn failures_are_tried_again_as_scheduled_and_are_dead_after_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    sink.answer_always(Answer::Status(500));
    let mut to = endpoint("b", "borealis", &sink);
    to.retry_ms = vec![10_000, 60_000];
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();

    for (number, wait_ms) in [(1, 10_000), (2, 60_000)] {
        let began = stage.clock.now();
        let next = stage.deliver("b").await.unwrap();
        let waited = next.duration_since(began).as_millis();
        assert!(
            waited >= wait_ms * 8 / 10 && waited <= wait_ms * 12 / 10,
            "{number}: {waited}"
        );
        assert_eq!(stage.states("b").await, [(Due, number)]);
        assert_eq!(stage.deliver("b").await, Some(next), "not before its time");
        stage.clock.set(next);
    }
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(stage.states("b").await, [(Dead, 3)]);
    let received = sink.received();
    assert_eq!(received.len(), 3);
    assert!(
        received.iter().all(|one| one.id() == received[0].id()),
        "the same id each time"
    );
    assert_ne!(
        received[0].header("webhook-timestamp"),
        received[2].header("webhook-timestamp")
    );
    let delivery = &stage.deliveries("b").await[0];
    let attempts = stage.ledger.attempts(delivery.id).await.unwrap();
    let told: Vec<_> = attempts
        .iter()
        .map(|a| (a.number, a.status, a.error.as_str()))
        .collect();
    let said = "answered 500: said so";
    assert_eq!(
        told,
        [(1, Some(500), said), (2, Some(500), said), (3, Some(500), said)]
    );

    sink.answer_always(Answer::Status(204));
    let filter = DeliveryFilter {
        ids: vec![delivery.id],
        ..DeliveryFilter::default()
    };
    assert_eq!(stage.ledger.retry(&filter, stage.clock.now()).await.unwrap(), 1);
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(stage.deliveries("b").await[0].state, Delivered);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    sink.answer_always(Answer::Status(307));
    let stage = Stage::open(folder.path(), &[endpoint("b", "borealis", &sink)], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();
    assert!(stage.deliver("b").await.is_some());
    assert_eq!((sink.count(), stage.states("b").await), (1, vec![(Due, 1)]));
}

#[tokio::test]
async fn gone_stops_the_endpoint_until_somebody_lets_it_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    sink.answer_next(Answer::Status(410));
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 1;
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    for id in ["m1", "m2", "m3"] {
        stage.post(id, "deal.won").await.unwrap();
    }
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(stage.states("b").await, [(Dead, 1), (Due, 0), (Due, 0)]);
    let stop = stage.ledger.endpoint_states(Some("b")).await.unwrap()[0]
        .stop
        .clone()
        .unwrap();
    assert_eq!(
        (stop.kind, stop.reason.as_str()),
        (StopKind::Disabled, "it answered 410 Gone")
    );
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(sink.count(), 1, "nothing more is sent");

    stage.ledger.stop_endpoint("b", None).await.unwrap();
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(
        stage.states("b").await,
        [(Dead, 1), (Delivered, 1), (Delivered, 1)]
    );
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_kept_for_all_of_the_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    sink.answer_next(Answer::RetryAfter(429, "120"));
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 1;
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();
    stage.post("m2", "deal.won").await.unwrap();
    let until = stage.deliver("b").await.unwrap();
    assert_eq!(until.duration_since(stage.clock.now()).as_secs(), 120);
    stage.clock.forward_s(119);
    assert_eq!(stage.deliver("b").await, Some(until));
    assert_eq!(sink.count(), 1);
    stage.clock.forward_s(1);
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(stage.states("b").await, [(Delivered, 2), (Delivered, 1)]);
}

#[tokio::test]
async fn an_answer_that_drips_ends_at_the_deadline_and_leaves_an_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    sink.answer_next(Answer::Drip);
    let mut to = endpoint("b", "borealis", &sink);
    to.deadline_ms = 100;
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();
    assert!(stage.deliver("b").await.is_some());
    let delivery = &stage.deliveries("b").await[0];
    assert_eq!(
        (delivery.state, delivery.attempts, delivery.last_status),
        (Due, 1, None)
    );
    assert!(
        delivery
            .last_error
            .ends_with("did not answer completely within 100 ms"),
        "{}",
        delivery.last_error
    );
}

#[tokio::test]
async fn an_endpoint_that_hangs_holds_up_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (hanging, healthy) = (Sink::start().await, Sink::start().await);
    hanging.answer_always(Answer::Hang);
    let endpoints = [
        endpoint("hanging", "borealis", &hanging),
        endpoint("healthy", "ceres", &healthy),
    ];
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    let ids: Vec<String> = (0..200).map(|n| format!("m{n}")).collect();
    for id in &ids {
        stage.post(id, "deal.won").await.unwrap();
    }
    let deliverer = stage.deliverer.clone();
    let hung = tokio::spawn(async move { deliverer.deliver("hanging", std::future::pending()).await });
    hanging.arrived(1).await;
    assert_eq!(stage.deliver("healthy").await, None);
    assert_eq!(healthy.count(), 200);
    assert!(hanging.count() <= 32, "no more than may be in flight");
    assert!(!hung.is_finished());
    hung.abort();
}

#[tokio::test]
async fn an_event_of_a_type_that_is_no_longer_known_is_dead_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let stage = Stage::open(folder.path(), &[endpoint("b", "borealis", &sink)], limits()).await;
    let receipt = stage.post("m1", "deal.won").await.unwrap();
    let mut event = stage.ledger.event(receipt.event).await.unwrap().unwrap();
    let uuid = |byte| model::uuid_from(stage.clock.now(), [byte; 10]);
    event.id = model::EventId::from_uuid(uuid(9));
    event.dedupe = "m2".into();
    event.event_type = "deal.abolished".into();
    event.deliveries = vec![ledger::NewDelivery {
        id: model::DeliveryId::from_uuid(uuid(8)),
        endpoint: "b".into(),
        line: None,
    }];
    stage.ledger.accept(vec![event]).await.unwrap();
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(stage.states("b").await, [(Delivered, 1), (Dead, 1)]);
    assert!(
        stage.deliveries("b").await[1]
            .last_error
            .contains("deal.abolished")
    );
}

#[tokio::test]
async fn an_endpoint_gets_the_headers_that_it_wants_beside_ours() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.headers = vec![
        ("Authorization".into(), "Bearer t-1".into()),
        ("X-Api-Key".into(), "k-1".into()),
    ];
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    stage.post("m1", "deal.won").await.unwrap();
    assert_eq!(stage.deliver("b").await, None);
    let received = &sink.received()[0];
    assert_eq!(
        (received.header("authorization"), received.header("x-api-key")),
        ("Bearer t-1", "k-1")
    );
    assert_eq!(received.header("content-type"), "application/json");
    assert!(verifies(
        &received.headers,
        &received.body,
        SECRET,
        stage.clock.now()
    ));
    let shown = format!("{:?}", stage.settings);
    assert!(
        !shown.contains("t-1") && !shown.contains("k-1"),
        "they are secrets"
    );
}

#[tokio::test]
async fn what_never_left_was_told_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut nobody = endpoint("a", "ceres", &sink);
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    nobody.url = format!("http://{closed}/hook");
    let stage = Stage::open(
        folder.path(),
        &[nobody, endpoint("b", "borealis", &sink)],
        limits(),
    )
    .await;
    let body = r#"{"type":"deal.won","timestamp":"2026-11-23T06:00:00Z","data":{"id":"dea_1"}}"#;
    stage.post_body("m1", body).await.unwrap();
    sink.answer_always(Answer::Status(503));
    for endpoint in ["a", "b"] {
        stage.deliver(endpoint).await;
    }
    let told = stage.ledger.disclosed("dea_1", None, 9).await.unwrap();
    let partners: Vec<&str> = told.iter().map(|told| told.terms.partner.as_str()).collect();
    assert_eq!(partners, ["borealis"], "though it would not take it");
}
