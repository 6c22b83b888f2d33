//! Journeys: where a version of a record went, and what became of it there.

use async_trait::async_trait;
use jiff::Timestamp;
use model::{EventId, RecordId, RunId};

use crate::{LedgerError, Push};

/// What became of writing a record to a system, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The record.
    pub record: RecordId,
    /// The version that was written.
    pub version: u64,
    /// The connection.
    pub connection: String,
    /// The object.
    pub object: String,
    /// The object's id there; empty when it is not known.
    pub external_id: String,
    /// When it was known.
    pub at: Timestamp,
    /// The run that wrote it.
    pub run: RunId,
    /// What became of it.
    pub outcome: PushOutcome,
    /// What the system said, for a person, at most [`PUSHED_DETAIL_CHARS_MAX`] characters; empty when it went well.
    pub detail: String,
}

/// Characters that are kept of what a system said to a write.
pub const PUSHED_DETAIL_CHARS_MAX: usize = 500;

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The object was made.
    Created,
    /// It was changed.
    Written,
    /// It was deleted with its record.
    Deleted,
    /// It is not there any more.
    Gone,
    /// The system refused it.
    Refused,
    /// Nobody heard what became of it; it is written again.
    Unheard,
}

impl PushOutcome {
    const ALL: [PushOutcome; 6] = [
        PushOutcome::Created,
        PushOutcome::Written,
        PushOutcome::Deleted,
        PushOutcome::Gone,
        PushOutcome::Refused,
        PushOutcome::Unheard,
    ];

    /// The outcome's word in rows, API and command line.
    pub fn word(self) -> &'static str {
        match self {
            PushOutcome::Created => "created",
            PushOutcome::Written => "written",
            PushOutcome::Deleted => "deleted",
            PushOutcome::Gone => "gone",
            PushOutcome::Refused => "refused",
            PushOutcome::Unheard => "unheard",
        }
    }

    /// The outcome of a word.
    pub fn parse(word: &str) -> Option<PushOutcome> {
        PushOutcome::ALL
            .into_iter()
            .find(|outcome| outcome.word() == word)
    }

    /// Whether the system has the version now.
    pub fn arrived(self) -> bool {
        matches!(
            self,
            PushOutcome::Created | PushOutcome::Written | PushOutcome::Deleted
        )
    }
}

/// Where records went.
#[async_trait]
pub trait Journeys: Send + Sync {
    /// What became of a record's writes, oldest first. At most `limit`, the newest.
    async fn pushed(&self, record: RecordId, limit: usize) -> Result<Vec<Pushed>, LedgerError>;
    /// Pushes of a record that are owed. Looks through all that are owed.
    async fn owed_of(&self, record: RecordId) -> Result<Vec<Push>, LedgerError>;
    /// The event that a source told under a name, see [`crate::NewEvent::dedupe`].
    async fn event_named(&self, source: &str, dedupe: &str) -> Result<Option<EventId>, LedgerError>;
}
