//! The journal: what persons did with records, so that it can be told and undone.
//!
//! An *action* is one row, written in the transaction that did it ([`crate::SyncCommit::action`]). It is never changed, but
//! for one thing: the action that undid it is written into it, once.

use async_trait::async_trait;
use jiff::Timestamp;
use model::{ActionId, RecordId};
use serde_json::Value as Json;

use crate::LedgerError;

/// What a person did.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Its id.
    pub id: ActionId,
    /// When.
    pub at: Timestamp,
    /// Who: a name as it was given.
    pub by: String,
    /// What: `link`, `unlink`, `merge`, `create`, `dismiss`, `census`, `undo`.
    pub verb: String,
    /// The records that it is about.
    pub records: Vec<RecordId>,
    /// What undoing it needs, and what a person wants to read about it.
    pub detail: Json,
    /// The action that it undoes.
    pub undoes: Option<ActionId>,
    /// The action that undid it; when it is written, what is written here counts for nothing.
    pub undone_by: Option<ActionId>,
}

/// Which actions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionFilter {
    /// This one only.
    pub id: Option<ActionId>,
    /// Only what is about this record.
    pub record: Option<RecordId>,
    /// Only what came before this one.
    pub before: Option<ActionId>,
}

/// What persons did, and what that needs to know.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Actions, newest first. At most `limit`.
    async fn actions(&self, filter: &ActionFilter, limit: usize) -> Result<Vec<Action>, LedgerError>;
}
