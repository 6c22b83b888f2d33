//! A hub on a free port, with a real ledger in a file and a real client.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::{
    Decisions, HookAnswer, HookRefusal, Hub, HubParts, IncomingParts, Metric, MetricKind, Metrics,
    ServerSettings, SystemHooks,
};
use async_trait::async_trait;
use axum::http::StatusCode;
use bytes::Bytes;
use jiff::Timestamp;
use ledger::{Conflict, Ledger};
use outbound::header::{HeaderMap, HeaderName};
use outbound::{Client, Guard, Limits, Method, Request, Response, Sender, SenderLimits, Url};
use policy::SharingPolicy;
use relay::{
    Clock, Deliverer, Endpoint, EndpointSettings, Handover, Intake, Partner, Random, Refusals, RelayLimits,
    RelaySettings, Replayer, Switch, standard,
};
use serde_json::Value as Json;
use sync::{Decision, Unresolved};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) const SECRET: &str = concat!("whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
pub(crate) const EVENT: &str = r#"{"type":"deal.won","timestamp":"2026-11-23T06:00:00Z","data":{"id":"d1"}}"#;

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

/// Takes what it is told to take, in order; then everything.
#[derive(Default)]
pub(crate) struct Systems {
    pub(crate) answers: Mutex<VecDeque<HookRefusal>>,
    pub(crate) asked: Mutex<Option<HookAnswer>>,
    pub(crate) received: Mutex<Vec<(String, String, Bytes)>>,
}

#[async_trait]
impl SystemHooks for Systems {
    async fn receive(
        &self,
        connection: &str,
        request: IncomingParts,
        body: Bytes,
    ) -> Result<Option<HookAnswer>, HookRefusal> {
        if let Some(refusal) = self.answers.lock().unwrap().pop_front() {
            return Err(refusal);
        }
        let uri = request.uri.to_string();
        self.received
            .lock()
            .unwrap()
            .push((connection.to_owned(), uri, body));
        Ok(self.asked.lock().unwrap().take())
    }
}

/// Takes decisions as a hub without any sync does.
struct Desk(sync::Engine, Arc<Door>);

/// Where those wait who act by hand, while it is held.
#[derive(Default)]
pub(crate) struct Door {
    held: tokio::sync::Mutex<()>,
    /// How many came to it, and how many are done.
    pub(crate) came: watch::Sender<u32>,
    pub(crate) done: watch::Sender<u32>,
}

impl Door {
    /// Has something done by who comes to it.
    async fn through<T>(&self, work: impl Future<Output = T>) -> T {
        self.came.send_modify(|came| *came += 1);
        drop(self.hold().await);
        let done = work.await;
        self.done.send_modify(|done| *done += 1);
        done
    }

    /// Whoever comes from now on waits until this is dropped.
    pub(crate) async fn hold(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.held.lock().await
    }
}

struct Still(Timestamp, Random);

#[async_trait]
impl sync::World for Still {
    fn now(&self) -> Timestamp {
        self.0
    }

    async fn sleep(&self, _: u64) {
        tokio::task::yield_now().await;
    }

    fn random(&self) -> [u8; 10] {
        (self.1)()
    }
}

impl Desk {
    fn over(ledger: Arc<dyn Ledger>, now: Timestamp, door: Arc<Door>) -> Desk {
        let fan_out: sync::FanOut = Arc::new(|_| sync::Addressed::default());
        let world = Arc::new(Still(now, random(4)));
        let plan = sync::Plan::default();
        let engine = sync::Engine::new(ledger, plan, BTreeMap::new(), world, fan_out, "desk".to_owned());
        Desk(engine, door)
    }
}

#[async_trait]
impl Decisions for Desk {
    async fn decide(&self, decision: &Decision) -> Result<Conflict, Unresolved> {
        let run = self.0.begin_resolving();
        Ok(self.1.through(self.0.resolve(decision, run)).await?.conflict)
    }

    async fn act(&self, by: &str, act: &sync::Act) -> Result<sync::Done, sync::ActionError> {
        Box::pin(self.1.through(self.0.act(by, act))).await
    }

    async fn retry_parked(
        &self,
        which: &sync::WhichParked,
        dry_run: bool,
    ) -> Result<sync::Retried, ledger::LedgerError> {
        self.1.through(self.0.retry_parked(which, dry_run)).await
    }
}

/// Measures what waits for two endpoints.
struct Meter(Arc<dyn Ledger>);

#[async_trait]
impl Metrics for Meter {
    async fn measure(&self) -> Result<Vec<Metric>, ledger::LedgerError> {
        let names = ["acme-crm".to_owned(), "borealis-crm".to_owned()];
        let backlog = self.0.backlog(&[], &names, 100).await?;
        let samples = names.into_iter().zip(backlog.endpoints);
        let samples = samples.map(|(name, backlog)| (vec![("endpoint", name)], backlog.waiting));
        Ok(vec![Metric {
            name: "interconnect_deliveries_waiting",
            help: "Deliveries that are to be sent.",
            kind: MetricKind::Gauge,
            samples: samples.collect(),
        }])
    }
}

pub(crate) struct Stage {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) base: String,
    pub(crate) now: Timestamp,
    pub(crate) systems: Arc<Systems>,
    pub(crate) refusals: Refusals,
    pub(crate) door: Arc<Door>,
    pub(crate) deliverer: Arc<Deliverer>,
    pub(crate) replayer: Arc<Replayer>,
    pub(crate) client: Client,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

pub(crate) fn guard() -> Guard {
    Guard::allowing(["127.0.0.0/8".parse().unwrap()])
}

pub(crate) fn endpoint(name: &str, partner: &str, url: &str) -> EndpointSettings {
    EndpointSettings {
        name: name.into(),
        partner: partner.into(),
        url: url.into(),
        secrets: vec![SECRET.into()],
        policy: SharingPolicy::everything(),
        ..EndpointSettings::default()
    }
}

impl Stage {
    pub(crate) async fn open(
        folder: &Path,
        endpoints: &[EndpointSettings],
        settings: ServerSettings,
    ) -> Stage {
        let address = format!("sqlite:{}", folder.join("ledger.db").display());
        let ledger = ledger::open(&address, ledger::Settings::default()).await.unwrap();
        Stage::over(ledger, endpoints, settings).await
    }

    pub(crate) async fn over(
        ledger: Arc<dyn Ledger>,
        endpoints: &[EndpointSettings],
        settings: ServerSettings,
    ) -> Stage {
        settings.check().unwrap();
        let now: Timestamp = "2026-11-23T06:00:00Z".parse().unwrap();
        let clock: Clock = Arc::new(move || now);
        let partners = ["acme", "borealis"].map(|name| Partner::new(name, &[SECRET.into()]).unwrap());
        let endpoints = endpoints
            .iter()
            .map(|e| Endpoint::new(e, &guard()).unwrap())
            .collect();
        let limits = RelayLimits {
            look_ms: 5,
            ..RelayLimits::default()
        };
        let relay = Arc::new(RelaySettings::new(partners.into(), endpoints, limits).unwrap());
        let handover = Arc::new(Handover::default());
        let deliverer = Arc::new(Deliverer::new(
            ledger.clone(),
            relay.clone(),
            Sender::new(SenderLimits::default(), guard()).unwrap(),
            handover.clone(),
            clock.clone(),
            random(2),
            "here",
        ));
        let nudge = Arc::new(|_: &str| {});
        let intake = Intake::new(
            ledger.clone(),
            relay.clone(),
            handover.clone(),
            nudge.clone(),
            random(1),
        );
        let switch = Switch::new(
            ledger.clone(),
            relay.clone(),
            handover,
            nudge.clone(),
            clock.clone(),
        );
        let replayer = Replayer::new(
            ledger.clone(),
            relay.only_pulled(),
            Arc::new(|_: &str| {}),
            clock.clone(),
            random(4),
            "here",
            30_000,
        );
        let replayer = Arc::new(replayer);
        let systems = Arc::new(Systems::default());
        let refusals = Refusals::start(ledger.clone(), 1000);
        let door = Arc::new(Door::default());
        let settings = Arc::new(settings);
        let hub = Hub::new(HubParts {
            ledger: ledger.clone(),
            intake: Arc::new(intake),
            relay: relay.clone(),
            systems: systems.clone(),
            decisions: Arc::new(Desk::over(ledger.clone(), now, door.clone())),
            metrics: Arc::new(Meter(ledger.clone())),
            refusals: refusals.clone(),
            nudge,
            switch: Arc::new(switch),
            replayer: replayer.clone(),
            clock,
            random: random(3),
            settings: settings.clone(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let stop = async { stopped.await.unwrap_or(()) };
            crate::serve(listener, crate::router(hub), &settings, stop).await;
        });
        Stage {
            ledger,
            base,
            now,
            systems,
            refusals,
            door,
            deliverer,
            replayer,
            client: Client::new(Limits::default(), guard()).unwrap(),
            stop,
            server,
        }
    }

    /// The host and port, for a raw connection.
    pub(crate) fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    pub(crate) async fn call(&self, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> Answer {
        let url = Url::parse(&format!("{}{path}", self.base)).unwrap();
        let mut request = Request::new(method, url);
        request.headers = headers;
        request.body = body;
        Answer(self.client.call(request).await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, HeaderMap::new(), Bytes::new()).await
    }

    /// Posts JSON.
    pub(crate) async fn post_json(&self, path: &str, body: &Json) -> Answer {
        let body = Bytes::from(body.to_string());
        self.call(Method::POST, path, HeaderMap::new(), body).await
    }

    /// `acme` posts, signed now.
    pub(crate) async fn post(&self, id: &str, body: &str) -> Answer {
        let headers = self.signed(id, body, 0);
        self.call(
            Method::POST,
            "/hooks/acme",
            headers,
            Bytes::copy_from_slice(body.as_bytes()),
        )
        .await
    }

    /// The headers of a message that is signed so many seconds from now.
    pub(crate) fn signed(&self, id: &str, body: &str, from_now_s: i64) -> HeaderMap {
        let at = Timestamp::from_second(self.now.as_second() + from_now_s).unwrap();
        standard::sign(&[SECRET.parse().unwrap()], id, at, body.as_bytes())
    }

    /// Sends what an endpoint is owed.
    pub(crate) async fn deliver(&self, endpoint: &str) -> Option<Timestamp> {
        self.deliverer
            .deliver(endpoint, std::future::pending())
            .await
            .unwrap()
    }

    /// Tells the server to stop, and answers the task that ends when it has.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        self.stop.send(()).unwrap();
        self.server
    }
}

#[derive(Debug)]
pub(crate) struct Answer(Response);

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.0.status
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let name: HeaderName = name.parse().unwrap();
        self.0.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.0.body).unwrap_or_else(|bad| panic!("{bad}: {:?}", self.0.body))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.0.body).unwrap()
    }

    /// Status and code of a problem, after checking that it is a whole one.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let json = self.json();
        let text = |key: &str| {
            json[key]
                .as_str()
                .unwrap_or_else(|| panic!("{key}: {json}"))
                .to_owned()
        };
        assert_eq!(json["status"].as_u64(), Some(u64::from(self.status())));
        assert_eq!(text("type"), format!("urn:interconnect:problem:{}", text("code")));
        assert_eq!(text("trace_id").len(), 32);
        let title = StatusCode::from_u16(self.status()).unwrap();
        assert_eq!(text("title"), title.canonical_reason().unwrap());
        format!("{} {}: {}", self.status(), text("code"), text("detail"))
    }
}
