//! What every story needs: a real ledger in a file, a real sender, endpoints that do as they are told, and a clock
//! that stands still until it is moved.

use std::collections::VecDeque;
use std::future::pending;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{
    Clock, Deliverer, Endpoint, EndpointSettings, Handover, Intake, Partner, Random, Receipt, Refused,
    RelayLimits, RelaySettings, Secret, standard,
};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use axum::routing::post;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use ledger::{Delivery, DeliveryFilter, DeliveryState, Inlet, Ledger};
use outbound::{Guard, Sender, SenderLimits};
use policy::SharingPolicy;
use tokio::sync::Notify;

pub(crate) const SECRET: &str = concat!("whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
pub(crate) const OLD_SECRET: &str = concat!("whsec_", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");

pub(crate) fn secret() -> Secret {
    SECRET.parse().unwrap()
}

/// A moment that only the test moves.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<Mutex<Timestamp>>);

impl HandClock {
    pub(crate) fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    pub(crate) fn set(&self, at: Timestamp) {
        *self.0.lock().unwrap() = at;
    }

    pub(crate) fn forward_s(&self, seconds: i64) {
        self.set(self.now() + SignedDuration::from_secs(seconds));
    }

    pub(crate) fn clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

/// Different bytes each time, the same in each run.
pub(crate) fn random(seed: u64) -> Random {
    let next = AtomicU64::new(seed << 32);
    Arc::new(move || {
        let number = next
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    })
}

/// What a sink answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Status(u16),
    RetryAfter(u16, &'static str),
    /// Status, one byte of a body that never ends.
    Drip,
    /// Never.
    Hang,
    /// 200, when the test says so.
    Held(Arc<Notify>),
}

#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }
}

/// An endpoint's other side.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) url: String,
    inner: Arc<SinkState>,
}

struct SinkState {
    received: Mutex<Vec<Received>>,
    answers: Mutex<VecDeque<Answer>>,
    always: Mutex<Answer>,
    arrived: Notify,
    open: AtomicUsize,
    open_most: AtomicUsize,
}

impl Sink {
    pub(crate) async fn start() -> Sink {
        let inner = Arc::new(SinkState {
            received: Mutex::default(),
            answers: Mutex::default(),
            always: Mutex::new(Answer::Status(200)),
            arrived: Notify::new(),
            open: AtomicUsize::new(0),
            open_most: AtomicUsize::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/hooks", post(receive))
            .with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Sink { url, inner }
    }

    pub(crate) fn answer_always(&self, answer: Answer) {
        *self.inner.always.lock().unwrap() = answer;
    }

    pub(crate) fn answer_next(&self, answer: Answer) {
        self.inner.answers.lock().unwrap().push_back(answer);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.inner.received.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.inner.received.lock().unwrap().len()
    }

    /// How many were being answered at once, at most.
    pub(crate) fn open_most(&self) -> usize {
        self.inner.open_most.load(Ordering::SeqCst)
    }

    /// Waits until so many have arrived.
    pub(crate) async fn arrived(&self, count: usize) {
        loop {
            let next = self.inner.arrived.notified();
            if self.count() >= count {
                return;
            }
            next.await;
        }
    }
}

async fn receive(State(sink): State<Arc<SinkState>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let open = sink.open.fetch_add(1, Ordering::SeqCst) + 1;
    sink.open_most.fetch_max(open, Ordering::SeqCst);
    sink.received.lock().unwrap().push(Received { headers, body });
    sink.arrived.notify_waiters();
    let next = sink.answers.lock().unwrap().pop_front();
    let answer = next.unwrap_or_else(|| sink.always.lock().unwrap().clone());
    let status = |status: u16| Response::builder().status(status);
    let response = match answer {
        Answer::Status(code) => status(code).body(Body::from("said so")),
        Answer::RetryAfter(code, text) => status(code).header("retry-after", text).body(Body::empty()),
        Answer::Hang => pending().await,
        Answer::Held(release) => {
            release.notified().await;
            status(200).body(Body::empty())
        }
        Answer::Drip => {
            let first =
                futures_util::stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"x")) });
            let drip = futures_util::StreamExt::chain(first, futures_util::stream::pending());
            status(200)
                .header("content-length", "100")
                .body(Body::from_stream(drip))
        }
    };
    sink.open.fetch_sub(1, Ordering::SeqCst);
    response.unwrap()
}

/// One process of the hub, as far as the relay goes.
pub(crate) struct Stage {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) settings: Arc<RelaySettings>,
    pub(crate) handover: Arc<Handover>,
    pub(crate) intake: Intake,
    pub(crate) deliverer: Arc<Deliverer>,
    pub(crate) clock: HandClock,
    pub(crate) nudged: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn endpoint(name: &str, partner: &str, sink: &Sink) -> EndpointSettings {
    EndpointSettings {
        name: name.into(),
        partner: partner.into(),
        url: sink.url.clone(),
        secrets: vec![SECRET.into()],
        policy: SharingPolicy::everything(),
        ..EndpointSettings::default()
    }
}

pub(crate) fn limits() -> RelayLimits {
    // Nothing more comes in most stories, so that a run need not wait for it.
    RelayLimits {
        look_ms: 5,
        ..RelayLimits::default()
    }
}

impl Stage {
    /// Opens the ledger in a folder; the partner `acme` posts.
    pub(crate) async fn open(folder: &Path, endpoints: &[EndpointSettings], limits: RelayLimits) -> Stage {
        let address = format!("sqlite:{}", folder.join("ledger.db").display());
        let ledger = ledger::open(&address, ledger::Settings::default()).await.unwrap();
        let guard = Guard::allowing(["127.0.0.0/8".parse().unwrap()]);
        let partners =
            ["acme", "borealis", "ceres"].map(|name| Partner::new(name, &[SECRET.into()]).unwrap());
        let endpoints = endpoints
            .iter()
            .map(|e| Endpoint::new(e, &guard).unwrap())
            .collect();
        let settings = RelaySettings::new(partners.into(), endpoints, limits).unwrap();
        let notes = (Inlet::new("portal", "notes"), vec!["custom.portal.*".into()]);
        let settings = Arc::new(settings.with_inlets(vec![notes]));
        let handover = Arc::new(Handover::default());
        let nudged = Arc::new(Mutex::new(Vec::new()));
        let noted = nudged.clone();
        let nudge = Arc::new(move |endpoint: &str| noted.lock().unwrap().push(endpoint.to_owned()));
        let clock = HandClock(Arc::new(Mutex::new("2026-11-23T06:00:00Z".parse().unwrap())));
        let intake = Intake::new(
            ledger.clone(),
            settings.clone(),
            handover.clone(),
            nudge,
            random(1),
        );
        let sender = Sender::new(SenderLimits::default(), guard).unwrap();
        let deliverer = Deliverer::new(
            ledger.clone(),
            settings.clone(),
            sender,
            handover.clone(),
            clock.clock(),
            random(2),
            "here",
        );
        Stage {
            ledger,
            settings,
            handover,
            intake,
            deliverer: Arc::new(deliverer),
            clock,
            nudged,
        }
    }

    /// `acme` posts an event.
    pub(crate) async fn post(&self, id: &str, event_type: &str) -> Result<Receipt, Refused> {
        self.post_body(
            id,
            &format!(
                r#"{{"type":"{event_type}","timestamp":"2026-11-23T06:00:00Z","data":{{"id":"{id}"}}}}"#
            ),
        )
        .await
    }

    pub(crate) async fn post_body(&self, id: &str, body: &str) -> Result<Receipt, Refused> {
        let now = self.clock.now();
        let headers = standard::sign(&[secret()], id, now, body.as_bytes());
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.intake.receive("acme", &headers, body, now, "trace").await
    }

    /// Sends what an endpoint is owed, until nothing is left to do at present.
    pub(crate) async fn deliver(&self, endpoint: &str) -> Option<Timestamp> {
        let deliver = self.deliverer.deliver(endpoint, pending());
        // Not a measure: a guard against a story that would hang.
        tokio::time::timeout(Duration::from_secs(60), deliver)
            .await
            .expect("a run ends")
            .unwrap()
    }

    pub(crate) async fn deliveries(&self, endpoint: &str) -> Vec<Delivery> {
        let filter = DeliveryFilter {
            endpoint: Some(endpoint.into()),
            ..DeliveryFilter::default()
        };
        let mut all = self.ledger.list_deliveries(&filter, None, 10_000).await.unwrap();
        all.reverse();
        all
    }

    pub(crate) async fn states(&self, endpoint: &str) -> Vec<(DeliveryState, u32)> {
        let all = self.deliveries(endpoint).await;
        all.iter()
            .map(|delivery| (delivery.state, delivery.attempts))
            .collect()
    }
}
