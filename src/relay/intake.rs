//! [`Intake`]: a partner's webhook becomes an event with its deliveries.
//!
//! The order is fixed: verify, count, read, fan out, write, answer. The *receipt* is given when the event and all its
//! deliveries are on disk; the same message said twice gets the receipt of the first time.
//! Not here: HTTP; what is refused is a [`Refused`], and `server` knows its status.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use event::Invalid;
use event::cloudevents::NoCloudEvent;
use jiff::Timestamp;
use ledger::{Accepted, Due, Ledger, LedgerError, NewDelivery, NewEvent};
use model::{DeliveryId, EventId, EventType, UnknownEventType, uuid_from};
use outbound::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::arrival::Arrival;
use crate::handed::{Nudge, Random};
use crate::handover::{Handover, Ticket};
use crate::hops::{BadHops, HOPS, Hops};
use crate::notice::SOURCE;
use crate::reading::{self, Read};
use crate::standard::{self, Unverified};
use crate::{Endpoint, RelaySettings, Said};

/// An event is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its id; that of the first time when it was said before.
    pub event: EventId,
    /// Whether the partner had said it before.
    pub duplicate: bool,
}

/// Why an event is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nobody of that name may post.
    #[error("there is no partner of that name")]
    UnknownPartner,
    /// The signature is missing, wrong, or of another time.
    #[error(transparent)]
    Unverified(#[from] Unverified),
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The body is a form or XML, and nobody said what event that is.
    #[error(
        "the body is {0} by its content-type, and the hub's configuration does not say what event that is (`takes` of the partner); an event is sent as application/json"
    )]
    NoProgram(&'static str),
    /// The body is not what its media type says.
    #[error("the body is not {0}: {1}")]
    Document(&'static str, String),
    /// The program that makes events does not make one of this body.
    #[error("the program `{0}` that takes what this partner posts makes no event of this body")]
    NotMade(String),
    /// The request is no CloudEvent that can be taken.
    #[error("this CloudEvent cannot be taken: {0}")]
    CloudEvent(#[from] NoCloudEvent),
    /// The partner posted more in a second than it may.
    #[error("too many messages in a second; send it again in {retry_after_s} s")]
    TooFast {
        /// When there is room again.
        retry_after_s: u32,
    },
    /// The body is JSON, but not an event.
    #[error("the body is not an event `{{\"type\", \"timestamp\", \"data\"}}`: {0}")]
    Shape(String),
    /// The event's type is not in the catalogue.
    #[error(transparent)]
    UnknownType(#[from] UnknownEventType),
    /// The event is not what its type says.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The event's type is one that the hub alone says.
    #[error("`{0}` tells of the hub's own state, and is said by it alone")]
    Reserved(EventType),
    /// Through whom it came cannot be read, or it came through too many.
    #[error(transparent)]
    Hops(#[from] BadHops),
    /// The key was used for another event.
    #[error("the `Idempotency-Key` was used for an event with another body; use a new key for a new event")]
    KeyReused,
    /// The `webhook-id` came with another event before.
    #[error(
        "another event came under this `webhook-id` before, as {0}; each event has an id of its own, which is the same only when that is sent again"
    )]
    IdReused(EventId),
    /// Too much waits to be written; try again shortly.
    #[error("too many events wait to be written")]
    Busy,
    /// The ledger failed; try again.
    #[error("the event could not be kept")]
    Ledger(#[source] LedgerError),
}

impl Refused {
    /// The word for the API and for traces.
    pub fn code(&self) -> &'static str {
        match self {
            Refused::UnknownPartner => "partner_unknown",
            Refused::Unverified(unverified) => unverified.code(),
            Refused::NotJson(_) => "not_json",
            Refused::NoProgram(_) => "form_unknown",
            Refused::Document(..) => "unreadable",
            Refused::NotMade(_) => "not_an_event",
            Refused::CloudEvent(_) => "not_a_cloudevent",
            Refused::TooFast { .. } => "too_fast",
            Refused::Shape(_) => "not_an_event",
            Refused::UnknownType(_) => "event_type_unknown",
            Refused::Invalid(Invalid::NoVersion { .. }) => "event_version_unknown",
            Refused::Invalid(Invalid::Data { .. }) => "event_invalid",
            Refused::Reserved(_) => "event_type_reserved",
            Refused::Hops(BadHops::Malformed) => "hops_malformed",
            Refused::Hops(BadHops::TooMany) => "too_many_hops",
            Refused::KeyReused => "idempotency_key_reused",
            Refused::IdReused(_) => "webhook_id_reused",
            Refused::Busy => "busy",
            Refused::Ledger(_) => "ledger_failed",
        }
    }
}

impl From<LedgerError> for Refused {
    fn from(error: LedgerError) -> Refused {
        match error {
            LedgerError::Busy { .. } => Refused::Busy,
            other => Refused::Ledger(other),
        }
    }
}

/// What an event looks like on the wire. Keys beside these are kept, and shared only with those who get everything.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Envelope {
    #[serde(rename = "type")]
    event_type: String,
    /// Of its type; the first when none is said.
    #[serde(default)]
    version: Option<u32>,
    timestamp: String,
    /// Read to its end, so that what is kept can always be projected later. `id` says which record it is about.
    data: Map<String, Json>,
}

/// Whom an event is for.
enum To<'n> {
    /// All who subscribe to it, but those through whom it came.
    SubscribersBut(Hops),
    /// One endpoint, whatever it subscribes to.
    Only(&'n str),
}

/// Takes webhooks in.
pub struct Intake {
    ledger: Arc<dyn Ledger>,
    settings: Arc<RelaySettings>,
    handover: Arc<Handover>,
    nudge: Nudge,
    random: Random,
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Intake {
    /// An intake. `nudge` is called for endpoints that nobody in this process is sending to, after the event is kept.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        settings: Arc<RelaySettings>,
        handover: Arc<Handover>,
        nudge: Nudge,
        random: Random,
    ) -> Intake {
        Intake {
            ledger,
            settings,
            handover,
            nudge,
            random,
        }
    }

    /// Takes a webhook in: its headers and its body as they came, from the partner it claims to be from.
    ///
    /// Answers when it is on disk. `trace` is kept with the event and goes with it. The same event under the same
    /// `webhook-id` is the first one, as long as that is kept; another one is refused.
    pub async fn receive(
        &self,
        partner: &str,
        headers: &HeaderMap,
        body: Bytes,
        now: Timestamp,
        trace: &str,
    ) -> Result<Receipt, Refused> {
        let partner = self.settings.partner(partner).ok_or(Refused::UnknownPartner)?;
        let tolerance_ms = self.settings.limits.tolerance_ms;
        let message = standard::verify(&partner.secrets, headers, body, now, tolerance_ms)?;
        if let Some(quota) = &partner.quota {
            quota
                .take(now)
                .map_err(|retry_after_s| Refused::TooFast { retry_after_s })?;
        }
        let arrival = Arrival {
            verified: Some(message.version.to_owned()),
            signed_at: Some(message.at),
            ..Arrival::default()
        };
        let arrival = arrival.with_headers(headers);
        let read = reading::read(
            headers,
            message.body.into_inner(),
            partner.takes.as_deref(),
            now,
            arrival,
        )?;
        let said = self.read(&read.body)?;
        let hops = Hops::read(headers.get(HOPS))?;
        let source = (partner.name.as_str(), message.id);
        let body = read.body.clone();
        let receipt = self
            .keep(self.event(said, source, read, now, trace, To::SubscribersBut(hops)))
            .await?;
        // Who counts ids anew would lose what comes under one that was used, and be told that it arrived.
        if receipt.duplicate
            && let Some(first) = self.ledger.event(receipt.event).await?
            && !is_same(&first.body, &body)
        {
            return Err(Refused::IdReused(receipt.event));
        }
        Ok(receipt)
    }

    /// Takes an event from somebody who may speak for the hub itself, as its own: for all that subscribe to it, or for the
    /// endpoint `only`, whatever it subscribes to.
    ///
    /// With a `key`, the same event under the same key is the first one, as long as that is kept: at least
    /// [`crate::RETENTION_MS_MIN`]. Another event under it is refused. Who comes while the first is being written waits
    /// for it, and gets its receipt.
    pub async fn publish(
        &self,
        key: Option<&str>,
        only: Option<&str>,
        body: Bytes,
        now: Timestamp,
        trace: &str,
    ) -> Result<Receipt, Refused> {
        let said = self.read(&body)?;
        let dedupe = match key {
            Some(key) => format!("key:{key}"),
            None => format!("once:{}", uuid_from(now, (self.random)()).simple()),
        };
        let to = only.map_or_else(|| To::SubscribersBut(Hops::default()), To::Only);
        let read = Read {
            body: body.clone(),
            arrival: Arrival::default(),
        };
        let event = self.event(said, (SOURCE, dedupe), read, now, trace, to);
        let receipt = self.keep(event).await?;
        if receipt.duplicate
            && let Some(first) = self.ledger.event(receipt.event).await?
            && first.body != body
        {
            return Err(Refused::KeyReused);
        }
        Ok(receipt)
    }

    fn event(
        &self,
        (event_type, record): (EventType, Option<String>),
        (source, dedupe): (&str, String),
        Read { body, arrival }: Read,
        now: Timestamp,
        trace: &str,
        whom: To<'_>,
    ) -> NewEvent {
        let to = |endpoint: &Arc<Endpoint>| NewDelivery {
            id: DeliveryId::from_uuid(uuid_from(now, (self.random)())),
            endpoint: endpoint.name.clone(),
            line: endpoint.line(&event_type, source, record.as_deref()),
        };
        let (deliveries, hops) = match whom {
            To::Only(name) => (
                self.settings.endpoint(name).map(to).into_iter().collect(),
                String::new(),
            ),
            To::SubscribersBut(hops) => {
                let said = Said::new(&event_type, source, None, &body);
                let all = self.settings.subscribers(&said);
                // It came through those already.
                let others = all.filter(|endpoint| !self.settings.came_through(&endpoint.partner, &hops));
                let inside = |name: &str| NewDelivery {
                    id: DeliveryId::from_uuid(uuid_from(now, (self.random)())),
                    endpoint: name.to_owned(),
                    line: None,
                };
                let inlets = self.settings.inlets(&said).map(inside);
                (others.map(to).chain(inlets).collect(), hops.to_kept())
            }
        };
        NewEvent {
            id: EventId::from_uuid(uuid_from(now, (self.random)())),
            event_type: event_type.name().to_owned(),
            source: source.to_owned(),
            dedupe,
            body,
            received_at: now,
            trace: trace.to_owned(),
            hops,
            arrival: arrival.to_kept(),
            deliveries,
        }
    }

    /// The type of an event, and the id of the record that it is about, if it says one.
    /// Only of bytes that are verified, or from somebody who showed a key.
    fn read(&self, body: &Bytes) -> Result<(EventType, Option<String>), Refused> {
        // An array of three would otherwise be read as the three fields.
        if body.trim_ascii_start().first() == Some(&b'[') {
            return Err(Refused::Shape("it is an array".into()));
        }
        let envelope: Envelope = serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Refused::Shape(error.to_string()),
            _ => Refused::NotJson(error.to_string()),
        })?;
        if let Err(reason) = moment(&envelope.timestamp) {
            return Err(Refused::Shape(format!(
                "`timestamp` is no moment with an offset (RFC 3339): {reason}"
            )));
        }
        let event_type = EventType::parse(&envelope.event_type)?;
        if event_type.is_ours_alone() {
            return Err(Refused::Reserved(event_type));
        }
        let data = Json::Object(envelope.data);
        self.settings.events.check(&event_type, envelope.version, &data)?;
        let record = match data.get("id") {
            Some(Json::String(id)) => Some(id.clone()),
            Some(Json::Number(id)) => Some(id.to_string()),
            _ => None,
        };
        Ok((event_type, record))
    }

    async fn keep(&self, event: NewEvent) -> Result<Receipt, Refused> {
        // Tickets first: see `Handover`.
        let mut sent_on: Vec<(String, Option<(Ticket, Due)>)> = Vec::with_capacity(event.deliveries.len());
        for delivery in &event.deliveries {
            let ticket = self.handover.ticket(&delivery.endpoint);
            let handed = ticket.map(|ticket| (ticket, due(&event, delivery.id)));
            sent_on.push((delivery.endpoint.clone(), handed));
        }
        let id = event.id;
        let sequences = match self.ledger.accept(vec![event]).await?.pop() {
            Some(Accepted::Duplicate(first)) => {
                return Ok(Receipt {
                    event: first,
                    duplicate: true,
                });
            }
            Some(Accepted::New(sequences)) => sequences,
            None => Vec::new(),
        };
        let mut sequences = sequences.into_iter();
        for (endpoint, handed) in sent_on {
            let sequence = sequences.next();
            let handed = handed.map(|(ticket, due)| ticket.hand(Due { sequence, ..due }));
            if handed != Some(true) {
                (self.nudge)(&endpoint);
            }
        }
        Ok(Receipt {
            event: id,
            duplicate: false,
        })
    }
}

/// Reads a moment as receivers read it: what else can be read here, such as the name of a zone, others do not know.
fn moment(text: &str) -> Result<Timestamp, String> {
    let written = |c: char| c.is_ascii_digit() || "-+:.TtZz".contains(c);
    match text.chars().all(written) {
        true => text.parse::<Timestamp>().map_err(|error| error.to_string()),
        false => Err("write for example 2026-11-26T09:00:00Z".to_owned()),
    }
}

/// Whether two bodies are one event: it may have been written down anew, with another moment of sending.
fn is_same(first: &Bytes, second: &Bytes) -> bool {
    let event = |body: &Bytes| {
        let mut event: Map<String, Json> = serde_json::from_slice(body).ok()?;
        event.remove("timestamp");
        Some(event)
    };
    first == second || event(first).is_some_and(|first| event(second) == Some(first))
}

/// The delivery as the ledger would give it back, but for its place in the sequence.
fn due(event: &NewEvent, delivery: DeliveryId) -> Due {
    Due {
        delivery,
        event: event.id,
        event_type: event.event_type.clone(),
        source: event.source.clone(),
        body: event.body.clone(),
        received_at: event.received_at,
        attempts: 0,
        trace: event.trace.clone(),
        hops: event.hops.clone(),
        line: None,
        sequence: None,
        stands_for: ledger::Numbers::default(),
    }
}
