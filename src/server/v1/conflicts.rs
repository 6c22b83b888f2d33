//! `/v1/conflicts`: what two sides changed alike, what decided, and what waits for a person.

use jiff::Timestamp;
use ledger::Conflict;
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
pub(crate) struct ConflictView {
    id: String,
    record: String,
    path: String,
    /// Where they differ: connection, object, and the object's id.
    connection: String,
    object: String,
    external_id: String,
    /// What both last agreed on.
    base: Value,
    ours: Value,
    /// Who had said ours; empty when it is not known.
    ours_by: String,
    theirs: Value,
    theirs_at: Option<Timestamp>,
    kept: Value,
    rule: String,
    winner: String,
    /// `open`, `decided`, `resolved`, `agreed` or `withdrawn`.
    state: &'static str,
    revision: u64,
    run: Option<String>,
    trace: String,
    found_at: Timestamp,
    closed_at: Option<Timestamp>,
    closed_by: String,
}

impl From<Conflict> for ConflictView {
    fn from(conflict: Conflict) -> ConflictView {
        ConflictView {
            id: conflict.id.to_string(),
            record: conflict.record.to_string(),
            path: conflict.path,
            connection: conflict.connection,
            object: conflict.object,
            external_id: conflict.external_id,
            base: conflict.base,
            ours: conflict.ours,
            ours_by: conflict.ours_by,
            theirs: conflict.theirs,
            theirs_at: conflict.theirs_at,
            kept: conflict.kept,
            rule: conflict.rule,
            winner: conflict.winner,
            state: conflict.state.word(),
            revision: conflict.revision,
            run: conflict.run.map(|run| run.to_string()),
            trace: conflict.trace,
            found_at: conflict.found_at,
            closed_at: conflict.closed_at,
            closed_by: conflict.closed_by,
        }
    }
}
