//! Events, their deliveries and attempts: what the relay keeps.

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use model::{DeliveryId, EventId};

use super::{About, Lease, LedgerError, Numbers};

/// Something that happened, to be kept and sent on.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// Its id.
    pub id: EventId,
    /// Its type, a name of `model::EventType`.
    pub event_type: String,
    /// Who said it: a partner's name, or `interconnect` for what we found ourselves.
    pub source: String,
    /// What makes it the same event when it is said twice: the source's own id for it.
    pub dedupe: String,
    /// The event as it is sent on, before it is projected by policy.
    pub body: Bytes,
    /// When it was received; its deliveries are due from then on.
    pub received_at: Timestamp,
    /// Ties together what belongs to one journey.
    pub trace: String,
    /// Through whom it came before its source said it, as the relay writes that; empty for most.
    pub hops: String,
    /// How it arrived, or why the hub says it, as the relay writes that; empty when there is nothing to tell.
    pub arrival: String,
    /// Whom it is for.
    pub deliveries: Vec<NewDelivery>,
}

/// One event for one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// The endpoint's name.
    pub endpoint: String,
    /// Deliveries to the endpoint with the same line arrive one after another, in the order of acceptance: each waits
    /// until the one before it has arrived or is dead. Those without one wait for nobody.
    pub line: Option<String>,
}

/// What became of an event that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is on disk, with its deliveries; these are the places in the [sequences](EndpointSequence) of their endpoints that
    /// they got, in their order.
    New(Vec<u64>),
    /// The source had said it before; this is the id it got then.
    Duplicate(EventId),
}

/// How far an endpoint's sequence has come. Each delivery gets the next number of its endpoint, from 1, in the transaction
/// that takes its event in, and keeps it: so there are no gaps, whoever dies when, and a larger number was accepted later.
/// Only when two nodes accept the very first ones of an endpoint at the same moment, either may come first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSequence {
    /// The endpoint.
    pub endpoint: String,
    /// The last number that was given; 0 before the first.
    pub last: u64,
    /// How many of them were folded.
    pub folded: u64,
}

/// A delivery that is due, with all that sending needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its event.
    pub event: EventId,
    /// The event's type.
    pub event_type: String,
    /// Who said it.
    pub source: String,
    /// The event as kept.
    pub body: Bytes,
    /// When it was received.
    pub received_at: Timestamp,
    /// Attempts made so far.
    pub attempts: u32,
    /// Ties together what belongs to one journey.
    pub trace: String,
    /// Through whom it came before its source said it, as the relay writes that; empty for most.
    pub hops: String,
    /// What it arrives in order with, if anything.
    pub line: Option<String>,
    /// Its place in the [sequence](EndpointSequence) of its endpoint; none when it is older than these.
    pub sequence: Option<u64>,
    /// The places of those that were folded into it; empty for most.
    pub stands_for: Numbers,
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It arrived.
    Delivered,
    /// It is tried again then.
    Retry(Timestamp),
    /// It is not tried again by itself.
    Dead,
}

/// One HTTP try of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The delivery.
    pub delivery: DeliveryId,
    /// 1 for the first.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: u32,
    /// The status that came back, if one came.
    pub status: Option<u16>,
    /// What went wrong, for a person; empty when nothing did.
    pub error: String,
    /// What becomes of the delivery.
    pub next: Next,
    /// Which record it told about, and by which terms; nothing when nothing left, or when that is about no record.
    pub told: Option<About>,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be sent, now or later.
    Due,
    /// To be sent when the one before it in its line has ended.
    Held,
    /// Arrived.
    Delivered,
    /// Given up; can be retried by hand.
    Dead,
    /// A newer one about the same record goes instead, and says so; see [`crate::Folds`].
    Folded,
}

impl DeliveryState {
    /// The state's word in rows, API and command line.
    pub fn word(self) -> &'static str {
        match self {
            DeliveryState::Due => "due",
            DeliveryState::Held => "held",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Dead => "dead",
            DeliveryState::Folded => "folded",
        }
    }

    /// The state of a word.
    pub fn parse(word: &str) -> Option<DeliveryState> {
        [
            DeliveryState::Due,
            DeliveryState::Held,
            DeliveryState::Delivered,
            DeliveryState::Dead,
            DeliveryState::Folded,
        ]
        .into_iter()
        .find(|s| s.word() == word)
    }
}

/// A delivery as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Its event.
    pub event: EventId,
    /// The event's type.
    pub event_type: String,
    /// Who said it.
    pub source: String,
    /// The endpoint.
    pub endpoint: String,
    /// How it stands.
    pub state: DeliveryState,
    /// Attempts made.
    pub attempts: u32,
    /// When the event was received.
    pub received_at: Timestamp,
    /// When it is tried next, while it is due.
    pub next_at: Option<Timestamp>,
    /// The last status, if any came back.
    pub last_status: Option<u16>,
    /// The last error; empty when there was none.
    pub last_error: String,
    /// Its place in the [sequence](EndpointSequence) of its endpoint; none when it is older than these.
    pub sequence: Option<u64>,
    /// The places of those that were folded into it; empty for most.
    pub stands_for: Numbers,
    /// Which one goes instead of it, when it was folded.
    pub folded_into: Option<DeliveryId>,
}

/// Which deliveries to list or to retry. Everything that is given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryFilter {
    /// These ids only.
    pub ids: Vec<DeliveryId>,
    /// This endpoint only.
    pub endpoint: Option<String>,
    /// To none of these endpoints.
    pub not_to: Vec<String>,
    /// This state only.
    pub state: Option<DeliveryState>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// Of this type only, or of a group, `deal.*`.
    pub event_type: Option<String>,
}

impl DeliveryFilter {
    pub(crate) fn event_types(&self) -> (Option<&str>, Option<&str>) {
        type_or_group(self.event_type.as_deref())
    }
}

/// The type that is asked for, or what those begin with that are.
pub(crate) fn type_or_group(pattern: Option<&str>) -> (Option<&str>, Option<&str>) {
    match pattern {
        None => (None, None),
        Some(pattern) => match pattern.strip_suffix('*') {
            Some(group) => (None, Some(group)),
            None => (Some(pattern), None),
        },
    }
}

/// Which events to list. Everything that is given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventFilter {
    /// Said by this source only.
    pub source: Option<String>,
    /// Of this type only, or of a group, `deal.*`.
    pub event_type: Option<String>,
    /// Received at or after, by its id, which begins with the moment.
    pub since: Option<Timestamp>,
    /// Of this journey only. No index knows traces: without `since`, all events that are kept are looked through.
    pub trace: Option<String>,
}

/// An event as it is listed, with what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub event_type: String,
    /// Who said it.
    pub source: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// Ties together what belongs to one journey.
    pub trace: String,
    /// Deliveries that are due or held.
    pub waiting: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Deliveries that were given up.
    pub dead: u64,
    /// Deliveries instead of which a newer one went.
    pub folded: u64,
}

/// An incoming webhook that was refused: its trace. No body, no headers: they are not trustworthy and may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// The partner or connection it was addressed to, as named in the path, cut to 100 characters.
    pub addressed_to: String,
    /// The status that was answered.
    pub status: u16,
    /// The code of the problem: `signature_missing`, `stale`, …
    pub code: String,
    /// The peer's claimed webhook id, cut to 100 characters; empty when there was none.
    pub webhook_id: String,
    /// The body's length, as far as it was read.
    pub body_bytes: u64,
}

/// How many refusals are kept; the oldest go first, so that a flood of bad requests cannot fill the disk.
pub const REFUSALS_MAX: u64 = 10_000;

/// Events, their deliveries and attempts.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Takes events in, grouped with whatever else arrives at the same moment; one answer an event, in order, given
    /// when they are on disk. This is the hot path of the relay.
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, LedgerError>;
    /// Due deliveries of an endpoint, in the order in which their events were accepted. At most `limit`.
    async fn due(&self, endpoint: &str, now: Timestamp, limit: usize) -> Result<Vec<Due>, LedgerError>;
    /// Writes attempts down, and what becomes of their deliveries; all or nothing. The same attempt (delivery, moment and
    /// number) is written once; a delivery that arrived, or was folded, stays so, whatever is said later; attempts of deliveries that
    /// are not known (any more) are left out. Where one of a line has ended, the next one is due.
    async fn settle(&self, lease: Option<&Lease>, attempts: Vec<Attempt>) -> Result<(), LedgerError>;
    /// Endpoints with deliveries to be sent, and when the first of them is due, or the endpoint's rest ends; ordered by
    /// that. The first of those never tried is the one accepted first, the first of the others the one with the earliest
    /// moment. Endpoints that are stopped are left out, here and in [`Deliveries::due`].
    async fn endpoints_due(&self) -> Result<Vec<(String, Timestamp)>, LedgerError>;
    /// The same for one endpoint.
    async fn endpoint_due(&self, endpoint: &str) -> Result<Option<Timestamp>, LedgerError>;
    /// Deliveries, newest first, after an id. At most `limit`.
    async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, LedgerError>;
    /// How far the sequences of endpoints have come, by name; that of one alone when it is named. Those that were never
    /// given anything are left out.
    async fn sequences(&self, endpoint: Option<&str>) -> Result<Vec<EndpointSequence>, LedgerError>;
    /// The attempts of a delivery, oldest first.
    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>, LedgerError>;
    /// Makes deliveries due again at a moment, with their attempts counted from 0; answers how many.
    /// Those that arrived already, are held, or were folded, stay as they are. The attempts that were made stay written.
    async fn retry(&self, filter: &DeliveryFilter, at: Timestamp) -> Result<u64, LedgerError>;
    /// An event with its deliveries, if it is known.
    async fn event(&self, id: EventId) -> Result<Option<NewEvent>, LedgerError>;
    /// Events, newest first, after an id. At most `limit`.
    async fn list_events(
        &self,
        filter: &EventFilter,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<EventRow>, LedgerError>;
    /// Notes that a webhook was refused; see [`REFUSALS_MAX`]. Answered when it is written.
    async fn refuse(&self, refusals: Vec<Refusal>) -> Result<(), LedgerError>;
    /// Refusals, newest first. At most `limit`.
    async fn refusals(&self, limit: usize) -> Result<Vec<Refusal>, LedgerError>;
}
