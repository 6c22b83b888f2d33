//! How conflicts are shown: two sides changed the same field.

use ledger::{Conflict, ConflictState};
use serde_json::{Value as Json, json};

/// A conflict as JSON.
pub(crate) fn document(conflict: &Conflict) -> Json {
    json!({
        "id": conflict.id.to_string(), "record": conflict.record.to_string(), "field": conflict.path,
        "connection": conflict.connection, "object": conflict.object, "external_id": conflict.external_id,
        "base": conflict.base, "ours": conflict.ours, "ours_by": conflict.ours_by, "theirs": conflict.theirs,
        "theirs_at": conflict.theirs_at.map(|at| at.to_string()), "kept": conflict.kept, "rule": conflict.rule,
        "winner": conflict.winner, "state": conflict.state.word(), "revision": conflict.revision,
        "run": conflict.run.map(|run| run.to_string()), "trace": conflict.trace,
        "found_at": conflict.found_at.to_string(), "closed_at": conflict.closed_at.map(|at| at.to_string()),
        "closed_by": conflict.closed_by,
    })
}

/// A conflict in one line.
pub(crate) fn line(conflict: &Conflict) -> String {
    let end = match conflict.state {
        ConflictState::Open => "waits for a decision".to_owned(),
        ConflictState::Decided => format!("decided by {}, kept {}", conflict.rule, conflict.kept),
        ConflictState::Resolved => format!("decided by {}, kept {}", conflict.closed_by, conflict.kept),
        ConflictState::Agreed => format!("both came to {}", conflict.kept),
        ConflictState::Withdrawn => format!("they went back to {}, kept {}", conflict.base, conflict.kept),
    };
    format!(
        "{}  {} with {}: ours {}, theirs {}; {end}",
        conflict.id, conflict.path, conflict.connection, conflict.ours, conflict.theirs
    )
}
