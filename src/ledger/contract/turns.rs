//! Turns: whoever sends to an endpoint has a *turn* at it. They begin it, look for what is due, and end it.
//!
//! Very many endpoints may have a little to be sent at the same moment, so what a turn asks is asked for all of them
//! together: each call is grouped with whatever else is asked at that moment.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Due, EndpointState, Health, Lease, LedgerError, NewEvent, Stop};

/// A turn that has begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The right to send to the endpoint; its key is that of [`turn_key`].
    pub lease: Lease,
    /// How the endpoint stands; like new when nothing was ever noted of it.
    pub state: EndpointState,
    /// What is due, as [`Turns::look`] tells it; nothing while the endpoint rests.
    pub due: Vec<Due>,
}

/// What there is to be sent to an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// What is due, as [`Deliveries::due`](super::Deliveries::due) tells it.
    pub due: Vec<Due>,
    /// Whether the endpoint is stopped; then nothing is due.
    pub stopped: bool,
}

/// What a turn has found out about an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// How it has answered.
    pub health: Health,
    /// Why nothing more is to be sent to it; unless it is stopped already.
    pub stop: Option<Stop>,
    /// Events that tell of it.
    pub events: Vec<NewEvent>,
}

/// The key of the lease that a turn at an endpoint holds.
pub fn turn_key(endpoint: &str) -> String {
    format!("deliver:{endpoint}")
}

/// Who sends to which endpoint.
#[async_trait]
pub trait Turns: Send + Sync {
    /// Begins a turn at an endpoint until `until`, and looks for at most `limit` that is due, which is most often all there
    /// is; nothing while somebody else has one. Whoever dies having one has it until its time is over, or until the ledger
    /// is opened again where the store knows that nobody has it open, as SQLite does.
    async fn begin_turn(
        &self,
        endpoint: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Option<Turn>, LedgerError>;
    /// What is due at an endpoint, at most `limit`, and whether it is stopped.
    async fn look(&self, endpoint: &str, now: Timestamp, limit: usize) -> Result<Look, LedgerError>;
    /// Keeps a turn until `until`; answers whether the endpoint is stopped, and nothing when the turn is lost.
    async fn keep_turn(
        &self,
        lease: &Lease,
        endpoint: &str,
        until: Timestamp,
    ) -> Result<Option<bool>, LedgerError>;
    /// Ends a turn: takes down what it has found out, if there is anything, and gives the lease back; answers when
    /// the endpoint is to be looked at again, as [`Deliveries::endpoint_due`](super::Deliveries::endpoint_due) does. Who begins the
    /// next turn sees all that; what was accepted before the lease was free is in the answer. All or nothing.
    async fn end_turn(
        &self,
        lease: &Lease,
        endpoint: &str,
        note: Option<Note>,
    ) -> Result<Option<Timestamp>, LedgerError>;
    /// A number that differs from an earlier one when another process may have written meanwhile, also when it only asked for
    /// a turn that is ours; the same as long as none has. Nothing while the store does not know, as when others are
    /// connected to it that may write at any moment.
    async fn written_elsewhere(&self) -> Result<Option<u64>, LedgerError>;
}
