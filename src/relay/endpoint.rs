//! [`Endpoint`]: where deliveries go, made from [`EndpointSettings`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use event::Shape;
use jiff::Timestamp;
use ledger::Terms;
use model::EventType;
use outbound::header::{HeaderMap, HeaderValue};
use outbound::{Guard, Target, Tls};
use policy::SharingPolicy;
use serde_json::Value as Json;

use crate::Secret;
use crate::breaker::{BreakerSettings, REST_MS_MAX};
use crate::disclosure;
use crate::finding::{BadSetting, Findings};
use crate::schedule::{RETRY_MS, Schedule};
use crate::subscription::{Said, Subscription};

/// Sends to one endpoint that may be in flight at once, at most.
pub const IN_FLIGHT_MAX: usize = 256;
/// Sends to one endpoint that may begin in a second, at most.
pub const RATE_PER_S_MAX: usize = 1_000;
/// Characters of a record's id by which its events are told apart.
pub(crate) const RECORD_CHARS_MAX: usize = 200;
/// What a deadline may be set to: Standard Webhooks 1.0.0 recommends 15 to 30 seconds.
pub const DEADLINE_MS: std::ops::RangeInclusive<u64> = 100..=60_000;

/// In which order an endpoint gets events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In none: what fails is overtaken.
    #[default]
    None,
    /// Those about one record in the order of acceptance: what fails holds back what comes after it about the same
    /// record, until it arrives or is dead, and nothing else.
    Record,
}

/// Shows an endpoint who we are by something that does not last.
#[async_trait]
pub trait Authorize: Send + Sync + fmt::Debug {
    /// What `Authorization` is to say now, and the number of what it shows. `refused` is the number of something that the
    /// endpoint did not believe, and that is renewed then. Otherwise why there is nothing to show, for a person.
    async fn authorization(&self, refused: Option<u64>) -> Result<(u64, HeaderValue), String>;
}

/// An endpoint as it is configured, before it is checked.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// Its name, unique among all endpoints.
    pub name: String,
    /// The partner that owns it; what they say is not sent back to it.
    pub partner: String,
    /// Where it is; empty when nothing is sent to it, because its partner pulls what it is to be told.
    pub url: String,
    /// Which events it gets: those that fit one of them.
    pub subscriptions: Vec<Subscription>,
    /// What it gets them as.
    pub shape: Shape,
    /// What we sign with; each message carries a signature of every one.
    pub secrets: Vec<String>,
    /// What of an event may flow there: nothing, until something is said.
    pub policy: SharingPolicy,
    /// Waits between the tries of a delivery, in milliseconds.
    pub retry_ms: Vec<u64>,
    /// Sends that may be in flight at once; 1 means one after the other, in the order of acceptance.
    pub in_flight_max: usize,
    /// Sends that may begin in any one second; no limit when nothing is said.
    pub rate_per_s: Option<usize>,
    /// In which order events arrive.
    pub order: Order,
    /// When it is left alone.
    pub breaker: BreakerSettings,
    /// From the first packet to the last byte of the answer, in milliseconds.
    pub deadline_ms: u64,
    /// What is sent with each delivery beside our own headers: names and values. Values are taken for secrets.
    pub headers: Vec<(String, String)>,
    /// What shows it who we are, where that does not last.
    pub authorize: Option<Arc<dyn Authorize>>,
    /// How TLS is spoken to it, where it asks for a certificate of ours, or has one of its own authority.
    pub tls: Option<Tls>,
}

impl Default for EndpointSettings {
    fn default() -> EndpointSettings {
        EndpointSettings {
            name: String::new(),
            partner: String::new(),
            url: String::new(),
            subscriptions: vec!["*".into()],
            shape: Shape::Full,
            secrets: Vec::new(),
            policy: SharingPolicy::default(),
            retry_ms: RETRY_MS.to_vec(),
            in_flight_max: 32,
            rate_per_s: None,
            order: Order::None,
            breaker: BreakerSettings::default(),
            deadline_ms: 15_000,
            headers: Vec::new(),
            authorize: None,
            tls: None,
        }
    }
}

/// A subscriber's URL, checked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) name: String,
    pub(crate) partner: String,
    /// Where to send; nothing is sent when there is none.
    pub(crate) target: Option<Target>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) shape: Shape,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) policy: SharingPolicy,
    /// Policy and shape, as they are kept with what is told.
    pub(crate) terms: Terms,
    pub(crate) schedule: Schedule,
    pub(crate) in_flight_max: usize,
    pub(crate) rate_per_s: Option<usize>,
    pub(crate) order: Order,
    pub(crate) breaker: BreakerSettings,
    pub(crate) deadline_ms: u64,
    /// Ours are put over them.
    pub(crate) headers: HeaderMap,
    pub(crate) authorize: Option<Arc<dyn Authorize>>,
    pub(crate) tls: Option<Tls>,
}

impl Endpoint {
    /// Checks an endpoint; every finding at once.
    pub fn new(settings: &EndpointSettings, guard: &Guard) -> Result<Endpoint, Vec<BadSetting>> {
        let mut findings = Findings::default();
        findings.name("name", &settings.name);
        findings.name("partner", &settings.partner);
        findings.subscriptions(&settings.subscriptions);
        if settings.order == Order::None && settings.subscriptions.iter().any(|one| one.fold) {
            findings.add("subscriptions", "`fold` needs `order: record`");
        }
        findings.range(
            "in_flight_max",
            settings.in_flight_max as u64,
            1..=IN_FLIGHT_MAX as u64,
        );
        if let Some(rate) = settings.rate_per_s {
            findings.range("rate_per_s", rate as u64, 1..=RATE_PER_S_MAX as u64);
        }
        let breaker = settings.breaker;
        findings.range("failures_max", breaker.failures_max.into(), 1..=1_000_000);
        findings.range("rest_ms", breaker.rest_ms, 1..=REST_MS_MAX);
        findings.range("deadline_ms", settings.deadline_ms, DEADLINE_MS);
        let secrets = findings.signing(&settings.secrets);
        let headers = findings.headers(&settings.headers);
        let target = match settings.url.as_str() {
            "" => Ok(None),
            url => Target::parse(url, guard)
                .map(Some)
                .map_err(|bad| findings.add("url", bad)),
        };
        let schedule = Schedule::new(settings.retry_ms.clone()).map_err(|bad| findings.add("retry_ms", bad));
        match (target, schedule) {
            (Ok(target), Ok(schedule)) if findings.0.is_empty() => Ok(Endpoint {
                name: settings.name.clone(),
                partner: settings.partner.clone(),
                target,
                subscriptions: settings.subscriptions.clone(),
                shape: settings.shape.clone(),
                secrets,
                policy: settings.policy.clone(),
                terms: disclosure::terms(&settings.partner, &settings.policy, &settings.shape),
                schedule,
                in_flight_max: settings.in_flight_max,
                rate_per_s: settings.rate_per_s,
                order: settings.order,
                breaker,
                deadline_ms: settings.deadline_ms,
                headers,
                authorize: settings.authorize.clone(),
                tls: settings.tls.clone(),
            }),
            _ => Err(findings.0),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether nothing is sent to it, because its partner pulls what it is to be told.
    pub fn is_only_pulled(&self) -> bool {
        self.target.is_none()
    }

    /// The partner that owns it.
    pub fn partner(&self) -> &str {
        &self.partner
    }

    /// Host and port that it is at, for a person; the rest of its address may hold a token. Empty when nothing is sent.
    pub fn host(&self) -> &str {
        self.target.as_ref().map_or("", Target::host)
    }

    /// Which events it gets.
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// The patterns of all its subscriptions.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.subscriptions
            .iter()
            .flat_map(|one| &one.types)
            .map(String::as_str)
    }

    /// Until when the certificate is good that we show it, if we do.
    pub fn certificate_ends_at(&self) -> Option<Timestamp> {
        let seconds = self.tls.as_ref()?.expires_at_s()?;
        Some(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
    }

    /// What it gets them as.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What of them it may know.
    pub fn policy(&self) -> &SharingPolicy {
        &self.policy
    }

    /// Whether it gets events of a type, when they come from whom and say what it asks for.
    pub fn hears_of(&self, event_type: &EventType) -> bool {
        self.subscriptions
            .iter()
            .any(|subscription| subscription.means(event_type))
    }

    /// What of an event may flow to it at a moment, in its shape; the very bytes that came in when that is all of it. Why nothing can
    /// be sent, otherwise.
    pub fn rendered(
        &self,
        event_type: &EventType,
        id: &str,
        body: &Bytes,
        now: Timestamp,
    ) -> Result<Bytes, String> {
        if self.policy.shares_everything(now) && self.shape.is_full() {
            return Ok(body.clone());
        }
        let body: Json = serde_json::from_slice(body)
            .map_err(|error| format!("the event cannot be read, so nothing of it is shared: {error}"))?;
        let projected =
            policy::project(&self.policy, event_type, &body, now).map_err(|withheld| withheld.to_string())?;
        // After the policy: a shape cannot show what is not shared.
        let shaped = self
            .shape
            .make(id, projected)
            .map_err(|no_shape| no_shape.to_string())?;
        Ok(serde_json::to_vec(&shaped).expect("JSON values serialise").into())
    }

    /// The line that an event stands in: where order is kept, all that one source says about one record of one kind.
    pub fn line(&self, event_type: &EventType, source: &str, record: Option<&str>) -> Option<String> {
        let record = record.filter(|_| self.order == Order::Record)?;
        let (kind, _) = event_type.name().rsplit_once('.')?;
        let record: String = record.chars().take(RECORD_CHARS_MAX).collect();
        Some(format!("{source}/{kind}/{record}"))
    }

    /// Whether it hears of an event by the name of the connection because of which it is said.
    pub(crate) fn asks_by_name(&self, said: &Said<'_>) -> bool {
        self.subscriptions.iter().any(|one| one.fits_by_name(said))
    }

    /// Whether an event is for it.
    pub(crate) fn wants(&self, said: &Said<'_>) -> bool {
        // A partner that hears its own words back would answer them, for ever.
        self.partner != said.source()
            && self
                .subscriptions
                .iter()
                .any(|subscription| subscription.fits(said))
            && self.policy.when.as_ref().is_none_or(|when| said.passes(when))
    }
}
