//! What partners were told about records, and by which terms.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use model::{DeliveryId, EventId};

use super::LedgerError;

/// By what an endpoint is told things: who may know what, and in which shape. Together with the event as it is kept that
/// gives what was told, also when the terms have changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What they are known by: a digest of the rest.
    pub digest: String,
    /// The partner that is told.
    pub partner: String,
    /// The terms, as the relay writes them.
    pub text: String,
}

/// Which record something was told about, and by which terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The record, by the name that the event has for it in `data.id`.
    pub record: String,
    /// The digest of the terms.
    pub terms: String,
}

/// How a partner came to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It was sent: the status that came back, if one came. Without one it may have arrived all the same.
    Sent(Option<u16>),
    /// The partner read it by itself, then for the first time by these terms.
    Pulled,
}

/// An event that a partner was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Disclosed {
    /// When.
    pub at: Timestamp,
    /// How.
    pub way: Way,
    /// Through which endpoint.
    pub endpoint: String,
    /// The event.
    pub event: EventId,
    /// Its type.
    pub event_type: String,
    /// The event as it is kept, of which the terms tell what was shared.
    pub body: Bytes,
    /// By which terms.
    pub terms: Terms,
}

/// What a partner was told about a record by events that are kept no more, summed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Through which endpoint.
    pub endpoint: String,
    /// The type of the events.
    pub event_type: String,
    /// By which terms.
    pub terms: Terms,
    /// When it was told first.
    pub first_at: Timestamp,
    /// When it was told last.
    pub last_at: Timestamp,
    /// How often: each attempt that left, and each reading.
    pub times: u64,
}

/// What partners were told about records.
#[async_trait]
pub trait Disclosures: Send + Sync {
    /// Keeps terms, before anything is told by them; those that are kept already stay as they are.
    async fn keep_terms(&self, terms: &Terms) -> Result<(), LedgerError>;
    /// Notes what was read at a moment by whom it is for, under terms that are kept; the first time counts.
    async fn note_pulled(&self, pulled: Vec<(DeliveryId, About)>, at: Timestamp) -> Result<(), LedgerError>;
    /// What was told about a record, by attempts and by pulling, newest first; to one partner, when one is named. As far as
    /// the events are kept. At most `limit`.
    async fn disclosed(
        &self,
        record: &str,
        partner: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Disclosed>, LedgerError>;
    /// What was told about a record by events that are kept no more, the last first; to one partner, when one is named. At
    /// most `limit`.
    async fn remembered(
        &self,
        record: &str,
        partner: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Remembered>, LedgerError>;
    /// Of pairs of a record and a partner, those where the partner was told about the record, by an attempt or by pulling,
    /// in an event that `source` said, whether that is kept or not.
    async fn told(
        &self,
        asked: &BTreeSet<(String, String)>,
        source: &str,
    ) -> Result<BTreeSet<(String, String)>, LedgerError>;
}
