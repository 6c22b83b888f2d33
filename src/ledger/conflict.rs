//! Conflicts: every decision between two sides that changed the same field, and what waits for a person.

use async_trait::async_trait;
use jiff::Timestamp;
use model::{ConflictId, Kind, RecordId, RunId};
use serde_json::Value as Json;

use crate::LedgerError;

/// Two sides changed the same field.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// Its id; ids sort by when conflicts were found.
    pub id: ConflictId,
    /// The record.
    pub record: RecordId,
    /// The field.
    pub path: String,
    /// The connection that differs from us.
    pub connection: String,
    /// The object that differs; empty in rows of before it was kept, where its link is gone.
    pub object: String,
    /// The object's id there.
    pub external_id: String,
    /// What both last agreed on, in stored JSON form like all values here; `null` when it was blank, or when they never did.
    pub base: Json,
    /// Ours.
    pub ours: Json,
    /// Theirs.
    pub theirs: Json,
    /// What was kept, or stays until a person decides.
    pub kept: Json,
    /// Who had said ours: a connection, or [`model::BY_HAND`]; empty when it is not known.
    pub ours_by: String,
    /// When theirs was changed there, if that is known.
    pub theirs_at: Option<Timestamp>,
    /// What decided, or hands it to a person: a word of [`model::merge::Rule`]; empty in rows of before it was kept.
    pub rule: String,
    /// Whose value was kept: a word of [`model::merge::Winner`].
    pub winner: String,
    /// The run that brought their value, if that is known.
    pub run: Option<RunId>,
    /// The journey that their value came with; empty when it is not known.
    pub trace: String,
    /// When it was found.
    pub found_at: Timestamp,
    /// Counts, from 1, how often one of its sides moved on; who decides names what they saw by it.
    pub revision: u64,
    /// How it stands.
    pub state: ConflictState,
    /// When it was closed, unless it is open.
    pub closed_at: Option<Timestamp>,
    /// The person that closed it; empty when nobody had to.
    pub closed_by: String,
}

impl Conflict {
    /// Whether a person must decide.
    pub fn is_open(&self) -> bool {
        self.state == ConflictState::Open
    }
}

/// How a conflict stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictState {
    /// A person must decide; until then each side keeps its value.
    Open,
    /// A rule decided.
    Decided,
    /// A person decided.
    Resolved,
    /// Both sides came to the same value by themselves.
    Agreed,
    /// The system went back to what both had last agreed on.
    Withdrawn,
    /// The object is not there any more, so there is nothing to decide.
    Gone,
}

impl ConflictState {
    /// All of them.
    pub const ALL: [ConflictState; 6] = [
        ConflictState::Open,
        ConflictState::Decided,
        ConflictState::Resolved,
        ConflictState::Agreed,
        ConflictState::Withdrawn,
        ConflictState::Gone,
    ];

    /// The state's word in rows, API and command line.
    pub fn word(self) -> &'static str {
        match self {
            ConflictState::Open => "open",
            ConflictState::Decided => "decided",
            ConflictState::Resolved => "resolved",
            ConflictState::Agreed => "agreed",
            ConflictState::Withdrawn => "withdrawn",
            ConflictState::Gone => "gone",
        }
    }

    /// The state of a word.
    pub fn parse(word: &str) -> Option<ConflictState> {
        ConflictState::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// Which conflicts are meant. Everything that is given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConflictFilter {
    /// These ids only, unless it is empty.
    pub ids: Vec<ConflictId>,
    /// Only in this state.
    pub state: Option<ConflictState>,
    /// Only of this kind of record.
    pub kind: Option<Kind>,
    /// Only of this record.
    pub record: Option<RecordId>,
    /// Only with this connection.
    pub connection: Option<String>,
    /// Only about this field.
    pub path: Option<String>,
}

/// Looking at conflicts; they are written by [`crate::Records::commit`].
#[async_trait]
pub trait Conflicts: Send + Sync {
    /// Conflicts, oldest first, after an id. At most `limit`.
    async fn list_conflicts(
        &self,
        filter: &ConflictFilter,
        after: Option<ConflictId>,
        limit: usize,
    ) -> Result<Vec<Conflict>, LedgerError>;
    /// How many there are.
    async fn count_conflicts(&self, filter: &ConflictFilter) -> Result<u64, LedgerError>;
    /// The open conflicts of records, in no fixed order. Costs next to nothing while none is open.
    async fn open_conflicts(&self, records: &[RecordId]) -> Result<Vec<Conflict>, LedgerError>;
}
