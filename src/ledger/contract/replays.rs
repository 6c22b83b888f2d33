//! Replays: many deliveries made due again, a bite at a time.

use async_trait::async_trait;
use jiff::Timestamp;
use model::{DeliveryId, ReplayId};

use super::{DeliveryFilter, Lease, LedgerError};

/// How a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayState {
    /// There is more to make due.
    Running,
    /// All that it means was made due.
    Done,
    /// A person ended it.
    Cancelled,
}

impl ReplayState {
    /// The state's word in rows, API and command line.
    pub fn word(self) -> &'static str {
        match self {
            ReplayState::Running => "running",
            ReplayState::Done => "done",
            ReplayState::Cancelled => "cancelled",
        }
    }

    /// The state of a word.
    pub fn parse(word: &str) -> Option<ReplayState> {
        [ReplayState::Running, ReplayState::Done, ReplayState::Cancelled]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

/// Which deliveries a replay means. Those that were never tried, are held, or were folded, it leaves as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// What must hold.
    pub filter: DeliveryFilter,
    /// Whether those that arrived are sent again, too.
    pub arrived: bool,
}

/// Many deliveries that are made due again, oldest first, a *bite* at a time: the next one when all of the one before it
/// were tried. So it goes as fast as its endpoints take it, and one that is cancelled is over at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Which deliveries; none that was received after it was made.
    pub wanted: Wanted,
    /// How it stands.
    pub state: ReplayState,
    /// How many deliveries it meant when it was made.
    pub total: u64,
    /// How many it made due so far.
    pub begun: u64,
    /// The delivery that it came to.
    pub place: Option<DeliveryId>,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What a step of a replay came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayStep {
    /// Deliveries were made due at these endpoints.
    Bite(Vec<String>),
    /// Some of the bite before wait for their try.
    Waits,
    /// It has ended, now or earlier.
    Ended,
}

/// Replays.
#[async_trait]
pub trait Replays: Send + Sync {
    /// How many deliveries are meant at present.
    async fn count_wanted(&self, wanted: &Wanted) -> Result<u64, LedgerError>;
    /// Notes a new replay.
    async fn begin_replay(&self, replay: &Replay) -> Result<(), LedgerError>;
    /// Makes the next deliveries of a replay due at a moment, at most `limit`; each that still is as it was asked for.
    /// What waits at endpoints that are stopped or rest is not waited for.
    async fn step_replay(
        &self,
        lease: &Lease,
        id: ReplayId,
        limit: usize,
        at: Timestamp,
    ) -> Result<ReplayStep, LedgerError>;
    /// Ends a replay, if it runs; answers whether it did. What it made due already stays so.
    async fn cancel_replay(&self, id: ReplayId, at: Timestamp) -> Result<bool, LedgerError>;
    /// One replay.
    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, LedgerError>;
    /// Replays, newest first, those in a state alone if one is said. At most `limit`.
    async fn replays(&self, state: Option<ReplayState>, limit: usize) -> Result<Vec<Replay>, LedgerError>;
}
