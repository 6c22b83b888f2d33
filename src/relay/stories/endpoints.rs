//! What is promised to each endpoint, and kept from the others.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use ledger::DeliveryState::{Delivered, Due};
use ledger::{DeliveryFilter, StopKind};
use model::{EventId, EventType, uuid_from};
use outbound::header::HeaderValue;

use super::stage::{Answer, Sink, Stage, endpoint, limits, random};
use crate::{Dispatch, EndpointSettings, Order, SecretWatch, Subscription, Switch};

/// An endpoint that an operator hears of the others' state by.
fn operators(sink: &Sink) -> EndpointSettings {
    EndpointSettings {
        subscriptions: vec!["endpoint.*".into()],
        ..endpoint("ops", "ceres", sink)
    }
}

/// How deliveries stand, sorted: those of one moment are listed in no order.
async fn stand(stage: &Stage, endpoint: &str) -> Vec<String> {
    let states = stage.states(endpoint).await;
    let mut told: Vec<String> = states
        .iter()
        .map(|(state, tries)| format!("{} {tries}", state.word()))
        .collect();
    told.sort();
    told
}

/// What a sink heard: type and id of each event.
fn heard(sink: &Sink) -> Vec<String> {
    let events = sink.received().into_iter().map(|one| {
        let event: serde_json::Value = serde_json::from_slice(&one.body).unwrap();
        assert!(event["type"].is_string(), "{event}");
        format!(
            "{} {}",
            event["type"].as_str().unwrap(),
            event["data"]["id"].as_str().unwrap()
        )
    });
    events.collect()
}

fn switch(stage: &Stage) -> Switch {
    Switch::new(
        stage.ledger.clone(),
        stage.settings.clone(),
        stage.handover.clone(),
        Arc::new(|_: &str| {}),
        stage.clock.clock(),
    )
}

/// The events of one record, told apart by their messages' ids.
async fn post_about(stage: &Stage, id: &str, event_type: &str, record: &str) {
    let body = format!(
        r#"{{"type":"{event_type}","timestamp":"2026-11-23T06:00:00Z","data":{{"id":"{record}","said":"{id}"}}}}"#
    );
    stage.post_body(id, &body).await.unwrap();
}

fn said(sink: &Sink) -> Vec<String> {
    let bodies = sink.received().into_iter().map(|one| {
        let event: serde_json::Value = serde_json::from_slice(&one.body).unwrap();
        event["data"]["said"].as_str().unwrap().to_owned()
    });
    bodies.collect()
}

#[tokio::test]
async fn in_a_second_begin_no_more_sends_than_may() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.rate_per_s = Some(3);
    let endpoints = [to];
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    for n in 0..8 {
        stage.post(&format!("m{n}"), "deal.won").await.unwrap();
    }
    let deliverer = stage.deliverer.clone();
    let stop = Arc::new(tokio::sync::Notify::new());
    let stopped = stop.clone();
    let run = tokio::spawn(async move { deliverer.deliver("b", stopped.notified()).await });
    sink.arrived(3).await;
    while stage
        .states("b")
        .await
        .iter()
        .filter(|(state, _)| *state == Delivered)
        .count()
        < 3
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        sink.count(),
        3,
        "the clock stands still, so the second is not over"
    );
    stage.clock.forward_s(1);
    sink.arrived(6).await;
    stop.notify_one();
    run.await.unwrap().unwrap();
    assert_eq!(sink.count(), 6);

    // Another process knows when they were sent by the ledger, and waits for the rest of the second.
    let now = stage.clock.now();
    let health = stage.ledger.endpoint_states(Some("b")).await.unwrap()[0].health;
    assert_eq!(health.sent_at, Some(now));
    drop(stage);
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    stage.clock.set(now);
    let (deliverer, stopped) = (stage.deliverer.clone(), stop.clone());
    let run = tokio::spawn(async move { deliverer.deliver("b", stopped.notified()).await });
    stage.clock.forward_s(1);
    sink.arrived(8).await;
    stop.notify_one();
    run.await.unwrap().unwrap();
    assert_eq!(stage.states("b").await, [(Delivered, 1); 8]);
}

/// Tokens that are a while in coming.
#[derive(Debug, Default)]
struct Late(tokio::sync::Notify, std::sync::atomic::AtomicUsize);

#[async_trait::async_trait]
impl crate::Authorize for Late {
    async fn authorization(&self, _: Option<u64>) -> Result<(u64, HeaderValue), String> {
        if self.1.fetch_add(1, Ordering::SeqCst) == 0 {
            self.0.notified().await;
        }
        Ok((0, HeaderValue::from_static("Bearer t0")))
    }
}

/// What waits for a token leaves when that is there, and no faster for having waited.
#[tokio::test]
async fn what_waited_for_a_token_is_sent_no_faster_than_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.rate_per_s = Some(3);
    let tokens = Arc::new(Late::default());
    to.authorize = Some(tokens.clone());
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    for n in 0..8 {
        stage.post(&format!("m{n}"), "deal.won").await.unwrap();
    }
    let deliverer = stage.deliverer.clone();
    let stop = Arc::new(tokio::sync::Notify::new());
    let stopped = stop.clone();
    let run = tokio::spawn(async move { deliverer.deliver("b", stopped.notified()).await });
    while tokens.1.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let waiting = tokens.1.load(Ordering::SeqCst);
    assert_eq!(waiting, 1, "what leaves with it is counted when it leaves");
    stage.clock.forward_s(2);
    tokens.0.notify_one();
    sink.arrived(3).await;
    while stage
        .states("b")
        .await
        .iter()
        .filter(|state| **state == (Delivered, 1))
        .count()
        < 3
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(sink.count(), 3, "the second in which the token came is not over");
    stage.clock.forward_s(1);
    sink.arrived(6).await;
    stop.notify_one();
    run.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_fails_holds_back_its_record_alone_and_the_order_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    sink.answer_next(Answer::Status(500));
    let mut to = endpoint("b", "borealis", &sink);
    to.order = Order::Record;
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    post_about(&stage, "x1", "deal.updated", "x").await;
    let retry = stage.deliver("b").await.unwrap();
    for (id, event_type, record) in [
        ("x2", "deal.won", "x"),
        ("y1", "deal.updated", "y"),
        ("x3", "deal.deleted", "x"),
        // A lead of the same id is another record.
        ("l1", "lead.created", "x"),
        ("y2", "deal.lost", "y"),
    ] {
        post_about(&stage, id, event_type, record).await;
    }
    assert_eq!(stage.deliver("b").await, Some(retry));
    let mut others = said(&sink)[1..].to_vec();
    assert!(others.iter().position(|id| id == "y1") < others.iter().position(|id| id == "y2"));
    others.sort();
    assert_eq!(others, ["l1", "y1", "y2"]);
    let told = stand(&stage, "b").await;
    assert_eq!(
        told,
        [
            "delivered 1",
            "delivered 1",
            "delivered 1",
            "due 1",
            "held 0",
            "held 0"
        ]
    );

    sink.answer_next(Answer::Status(503));
    stage.clock.set(retry);
    let retry = stage.deliver("b").await.unwrap();
    stage.clock.set(retry);
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(said(&sink)[4..], ["x1", "x1", "x2", "x3"]);
    assert_eq!(stand(&stage, "b").await[5], "delivered 3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_keeps_its_order_while_many_fail_and_many_come() {
    const RECORDS: usize = 8;
    const EVENTS: usize = 25;
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut to = endpoint("b", "borealis", &sink);
    to.order = Order::Record;
    to.retry_ms = vec![1; 20];
    to.breaker.failures_max = 1_000;
    let stage = Arc::new(Stage::open(folder.path(), &[to], limits()).await);
    (0..60).for_each(|n| sink.answer_next(Answer::Status(if n % 3 == 0 { 200 } else { 500 })));
    let posting = stage.clone();
    let post = tokio::spawn(async move {
        for n in 0..EVENTS * RECORDS {
            let (record, event) = (n % RECORDS, n / RECORDS);
            post_about(
                &posting,
                &format!("{record}-{event:03}"),
                "deal.updated",
                &record.to_string(),
            )
            .await;
        }
    });
    let arrived = |state: &(ledger::DeliveryState, u32)| state.0 == Delivered;
    while !post.is_finished() || !stage.states("b").await.iter().all(arrived) {
        stage.deliver("b").await;
        stage.clock.forward_s(1);
    }
    post.await.unwrap();
    for record in 0..RECORDS {
        let of_record = format!("{record}-");
        let mut told = said(&sink);
        told.retain(|id| id.starts_with(&of_record));
        // A failed try comes again, at once, before its successor.
        told.dedup();
        let wanted: Vec<_> = (0..EVENTS).map(|event| format!("{record}-{event:03}")).collect();
        assert_eq!(told, wanted);
    }
}

#[tokio::test]
async fn an_endpoint_that_fails_rests_is_probed_and_recovers_and_operators_hear_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, told, curious) = (Sink::start().await, Sink::start().await, Sink::start().await);
    sink.answer_always(Answer::Status(500));
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 1;
    to.breaker.failures_max = 3;
    let all = EndpointSettings {
        subscriptions: vec!["*".into()],
        ..endpoint("all", "ceres", &curious)
    };
    let mut endpoints = [to, operators(&told), all];
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    for n in 0..6 {
        stage.post(&format!("m{n}"), "deal.won").await.unwrap();
    }
    let began = stage.clock.now();
    let until = stage.deliver("b").await.unwrap();
    assert_eq!(until.duration_since(began).as_secs(), 30);
    assert_eq!(sink.count(), 3, "the other three wait, and count no try");
    assert_eq!(
        stand(&stage, "b").await,
        ["due 0", "due 0", "due 0", "due 1", "due 1", "due 1"]
    );

    // The ledger knows it, so a restart and another node do too; a probe is one alone, whatever may be in flight.
    drop(stage);
    endpoints[0].in_flight_max = 3;
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    stage.clock.set(began + jiff::SignedDuration::from_secs(29));
    assert_eq!(stage.deliver("b").await, Some(until));
    assert!(stage.deliverer.rests("b"));
    assert_eq!(sink.count(), 3);
    stage.clock.set(until);
    let again = stage.deliver("b").await.unwrap();
    assert_eq!(
        (sink.count(), again.duration_since(until).as_secs()),
        (4, 60),
        "one probe"
    );

    sink.answer_always(Answer::Status(200));
    stage.clock.set(again);
    while let Some(at) = stage.deliver("b").await {
        stage.clock.set(at.max(stage.clock.now()));
    }
    assert!(
        stage
            .states("b")
            .await
            .iter()
            .all(|(state, _)| *state == Delivered)
    );
    assert_eq!(
        stage.ledger.endpoint_states(Some("b")).await.unwrap()[0].health,
        ledger::Health::default()
    );

    stage.deliver("ops").await;
    stage.deliver("all").await;
    assert_eq!(heard(&told), ["endpoint.failing b", "endpoint.recovered b"]);
    assert!(heard(&curious).iter().all(|event| event.starts_with("deal.won")));
    let failing: serde_json::Value = serde_json::from_slice(&told.received()[0].body).unwrap();
    let data = &failing["data"];
    assert_eq!(
        (
            data["reason"].as_str(),
            data["failures"].as_u64(),
            data["partner"].as_str()
        ),
        (Some("it answered 500"), Some(3), Some("borealis"))
    );
    assert_eq!(
        data["rest_until"].as_str().unwrap().parse::<Timestamp>().unwrap(),
        until
    );
}

#[tokio::test]
async fn an_endpoint_at_which_nothing_arrives_for_days_is_disabled_with_notice_and_keeps_its_events() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, told) = (Sink::start().await, Sink::start().await);
    sink.answer_always(Answer::Status(404));
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 1;
    to.breaker.disable_after_ms = 86_400_000;
    let stage = Stage::open(folder.path(), &[to, operators(&told)], limits()).await;
    for n in 0..4 {
        stage.post(&format!("m{n}"), "deal.won").await.unwrap();
    }
    let began = stage.clock.now();
    while let Some(at) = stage.deliver("b").await {
        stage.clock.set(at);
    }
    assert!(stage.clock.now().duration_since(began).as_hours() >= 24);
    let stop = stage.ledger.endpoint_states(Some("b")).await.unwrap()[0]
        .stop
        .clone()
        .unwrap();
    assert_eq!(stop.kind, StopKind::Disabled);
    assert!(
        stop.reason
            .starts_with("nothing has arrived since 2026-11-23T06:00:00Z, in "),
        "{}",
        stop.reason
    );
    assert!(stop.reason.ends_with("; it answered 404"), "{}", stop.reason);
    let tries = sink.count();
    stage.post("late", "deal.won").await.unwrap();
    assert_eq!((stage.deliver("b").await, sink.count()), (None, tries));

    sink.answer_always(Answer::Status(200));
    let switch = switch(&stage);
    assert_eq!(switch.resume("b").await.unwrap(), stop);
    let all = DeliveryFilter {
        endpoint: Some("b".into()),
        ..DeliveryFilter::default()
    };
    stage.ledger.retry(&all, stage.clock.now()).await.unwrap();
    assert_eq!(stage.deliver("b").await, None);
    assert!(
        stage
            .states("b")
            .await
            .iter()
            .all(|(state, _)| *state == Delivered)
    );
    stage.deliver("ops").await;
    assert_eq!(heard(&told), ["endpoint.failing b", "endpoint.disabled b"]);
}

#[tokio::test]
async fn of_a_secret_that_ends_operators_are_told_once_at_each_step() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let mut operators = endpoint("ops", "borealis", &sink);
    operators.subscriptions = vec!["secret.*".into()];
    let everybody = endpoint("all", "borealis", &sink);
    let stage = Stage::open(folder.path(), &[operators, everybody], limits()).await;
    let now = stage.clock.now();
    let expiry = |endpoint: Option<&str>, days: i64| crate::Expiry {
        what: crate::Expiring::Secret,
        partner: "acme".into(),
        endpoint: endpoint.map(str::to_owned),
        number: 1,
        at: now + jiff::SignedDuration::from_hours(24 * days),
    };
    let certificate = crate::Expiry {
        what: crate::Expiring::Certificate,
        ..expiry(Some("a-crm"), 420)
    };
    let expiries = vec![expiry(None, 40), expiry(Some("a-crm"), 400), certificate];
    let (clock, nudge) = (stage.clock.clock(), Arc::new(|_: &str| {}));
    let watch = SecretWatch::new(
        stage.ledger.clone(),
        stage.settings.clone(),
        expiries,
        nudge,
        clock,
        random(7),
    );
    let mut told = Vec::new();
    for day in [0, 11, 12, 34, 39, 41, 371, 391, 401] {
        stage.clock.set(now + jiff::SignedDuration::from_hours(24 * day));
        let count = watch.round().await.unwrap();
        assert_eq!(watch.round().await.unwrap(), 0, "by whatever node");
        stage.deliver("ops").await;
        let last = sink.received();
        let said = (count > 0)
            .then(|| serde_json::from_slice::<serde_json::Value>(&last.last().unwrap().body).unwrap());
        let said = said.map(|said| format!(" {}", said["data"])).unwrap_or_default();
        told.push(format!("{day}: {count}{said}"));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    0: 0
    11: 1 {"endpoint":null,"expired":false,"expires_at":"2027-01-02T06:00:00Z","id":"acme","kind":"secret","number":1,"partner":"acme"}
    12: 0
    34: 1 {"endpoint":null,"expired":false,"expires_at":"2027-01-02T06:00:00Z","id":"acme","kind":"secret","number":1,"partner":"acme"}
    39: 1 {"endpoint":null,"expired":false,"expires_at":"2027-01-02T06:00:00Z","id":"acme","kind":"secret","number":1,"partner":"acme"}
    41: 1 {"endpoint":null,"expired":true,"expires_at":"2027-01-02T06:00:00Z","id":"acme","kind":"secret","number":1,"partner":"acme"}
    371: 1 {"endpoint":"a-crm","expired":false,"expires_at":"2027-12-28T06:00:00Z","id":"a-crm","kind":"secret","number":1,"partner":"acme"}
    391: 1 {"endpoint":"a-crm","expired":false,"expires_at":"2028-01-17T06:00:00Z","id":"a-crm","kind":"certificate","number":1,"partner":"acme"}
    401: 1 {"endpoint":"a-crm","expired":true,"expires_at":"2027-12-28T06:00:00Z","id":"a-crm","kind":"secret","number":1,"partner":"acme"}
    "#);
    assert!(stage.deliveries("all").await.is_empty(), "`*` does not mean it");
}

#[tokio::test]
async fn a_pause_takes_effect_while_sending_and_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let release = Arc::new(tokio::sync::Notify::new());
    sink.answer_next(Answer::Held(release.clone()));
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 1;
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    for n in 0..5 {
        stage.post(&format!("m{n}"), "deal.won").await.unwrap();
    }
    let deliverer = stage.deliverer.clone();
    let run = tokio::spawn(async move { deliverer.deliver("b", std::future::pending()).await });
    sink.arrived(1).await;
    let switch = switch(&stage);
    switch.pause("b", "their migration").await.unwrap();
    release.notify_one();
    assert_eq!(run.await.unwrap().unwrap(), None);
    assert_eq!(
        stand(&stage, "b").await,
        ["delivered 1", "due 0", "due 0", "due 0", "due 0"]
    );
    stage.post("meanwhile", "deal.won").await.unwrap();
    assert_eq!((stage.deliver("b").await, sink.count()), (None, 1));
    let state = switch.show("b").await.unwrap().state;
    assert_eq!(state.stop.unwrap().reason, "their migration");

    switch.resume("b").await.unwrap();
    assert!(switch.resume("b").await.is_err() && switch.pause("nobody", "").await.is_err());
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(stage.states("b").await, [(Delivered, 1); 6]);
}

#[tokio::test]
async fn no_partner_says_what_the_hub_alone_says() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], limits()).await;
    let refused = stage.post("m1", "endpoint.disabled").await.unwrap_err();
    assert_eq!(refused.code(), "event_type_reserved");
    assert!(EventType::parse("endpoint.disabled").is_ok_and(|known| known.is_ours_alone()));
}

/// What a dispatch asked to be looked at later.
type Asked = Arc<Mutex<Vec<(String, Timestamp)>>>;

fn dispatch(stage: &Stage) -> (Arc<Dispatch>, Asked) {
    let asked = Asked::default();
    let noted = asked.clone();
    let later = Arc::new(move |endpoint: &str, at| noted.lock().unwrap().push((endpoint.to_owned(), at)));
    (Arc::new(Dispatch::new(stage.deliverer.clone(), later)), asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_endpoints_are_looked_at_who_posts_finds_a_place() {
    const ENDPOINTS: usize = 6_000;
    const BEFORE: usize = 40_000;
    const POSTS: usize = 20;
    // More than may wait for the ledger.
    assert!(ENDPOINTS > ledger::Settings::default().writes_waiting_max);
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let to = |number: usize| EndpointSettings {
        subscriptions: vec![Subscription::from(if number == 0 { "*" } else { "deal.won" })],
        ..endpoint(&format!("e{number}"), "borealis", &sink)
    };
    let endpoints: Vec<EndpointSettings> = (0..ENDPOINTS).map(to).collect();
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    let (dispatch, asked) = dispatch(&stage);
    // The ledger has something else to write first, so all of them come while it does.
    let (ledger, now, random) = (stage.ledger.clone(), stage.clock.now(), random(9));
    let much = (0..BEFORE).map(|number| ledger::NewEvent {
        id: EventId::from_uuid(uuid_from(now, random())),
        event_type: "deal.won".into(),
        source: "ceres".into(),
        dedupe: format!("before {number}"),
        body: "{}".into(),
        received_at: now,
        trace: String::new(),
        hops: String::new(),
        arrival: String::new(),
        deliveries: Vec::new(),
    });
    let much = much.collect();
    let before = tokio::spawn(async move { ledger.accept(much).await });
    endpoints
        .iter()
        .for_each(|endpoint| dispatch.look(&endpoint.name));
    for number in 0..POSTS {
        stage.post(&format!("m{number}"), "deal.lost").await.unwrap();
        dispatch.nudge("e0");
    }
    sink.arrived(POSTS).await;
    dispatch.stop().await;
    before.await.unwrap().unwrap();
    assert_eq!(sink.count(), POSTS);
    // The ledger sent nobody away, to come back after a while.
    assert_eq!(*asked.lock().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_healthy_endpoints_get_theirs_while_forty_hang() {
    const HEALTHY: usize = 1_000;
    const HOSTILE: usize = 40;
    const EVENTS: usize = 2;
    let folder = tempfile::tempdir().unwrap();
    let (healthy, hanging, dripping) = (Sink::start().await, Sink::start().await, Sink::start().await);
    hanging.answer_always(Answer::Hang);
    dripping.answer_always(Answer::Drip);
    let to = |name: String, sink: &Sink| {
        let mut to = endpoint(&name, "borealis", sink);
        to.url = format!("{}?of={name}", sink.url);
        to.in_flight_max = 4;
        to.deadline_ms = 60_000;
        to
    };
    let mut endpoints = Vec::new();
    for n in 0..HOSTILE {
        endpoints.push(to(
            format!("a-hostile-{n}"),
            if n % 2 == 0 { &hanging } else { &dripping },
        ));
    }
    endpoints.extend((0..HEALTHY).map(|n| to(format!("healthy-{n}"), &healthy)));
    let stage = Stage::open(folder.path(), &endpoints, limits()).await;
    let (dispatch, _) = dispatch(&stage);
    for n in 0..EVENTS {
        stage.post(&format!("m{n}"), "deal.won").await.unwrap();
        for endpoint in &endpoints {
            dispatch.nudge(&endpoint.name);
        }
    }
    healthy.arrived(HEALTHY * EVENTS).await;
    hanging.arrived(HOSTILE / 2 * EVENTS).await;
    dripping.arrived(HOSTILE / 2 * EVENTS).await;
    assert_eq!(healthy.count(), HEALTHY * EVENTS, "each once");
    // Every try at those that hang is still under way: they have ended nothing, and nobody waited for them.
    let rows = stage.ledger.row_counts().await.unwrap();
    let attempts = rows.iter().find(|(table, _)| table == "attempts").unwrap().1;
    assert!(attempts <= (HEALTHY * EVENTS) as u64, "{attempts}");
    assert_eq!(stage.states("a-hostile-0").await, [(Due, 0); EVENTS]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatch_looks_when_it_is_told_and_asks_for_what_is_due_later() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    sink.answer_next(Answer::RetryAfter(429, "60"));
    let mut to = endpoint("b", "borealis", &sink);
    to.in_flight_max = 1;
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    let (dispatch, asked) = dispatch(&stage);
    stage.post("m0", "deal.won").await.unwrap();
    dispatch.nudge("b");
    let asked_for = |count: usize| {
        let asked = asked.clone();
        async move {
            while asked.lock().unwrap().len() < count {
                tokio::task::yield_now().await;
            }
            asked.lock().unwrap().last().unwrap().1
        }
    };
    let until = asked_for(1).await;
    assert_eq!(until.duration_since(stage.clock.now()).as_secs(), 60);
    // While it rests a nudge costs nothing, and a look finds out for itself.
    stage.post("m1", "deal.won").await.unwrap();
    dispatch.nudge("b");
    assert!(!dispatch.runs("b"));
    dispatch.look("b");
    assert_eq!(asked_for(2).await, until);
    stage.clock.set(until);
    dispatch.nudge("b");
    sink.arrived(3).await;
    dispatch.stop().await;
    assert_eq!(stand(&stage, "b").await, ["delivered 1", "delivered 2"]);
    // After the stop nothing is begun.
    stage.post("m2", "deal.won").await.unwrap();
    dispatch.look("b");
    dispatch.stop().await;
    assert_eq!(stand(&stage, "b").await[2], "due 0");
}

#[tokio::test]
async fn a_dead_delivery_lets_its_record_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    sink.answer_next(Answer::Status(400));
    let mut to = endpoint("b", "borealis", &sink);
    to.order = Order::Record;
    to.retry_ms = vec![];
    let stage = Stage::open(folder.path(), &[to], limits()).await;
    for id in ["x1", "x2"] {
        post_about(&stage, id, "deal.updated", "x").await;
    }
    assert_eq!(stage.deliver("b").await, None);
    assert_eq!(stand(&stage, "b").await, ["dead 1", "delivered 1"]);
}
