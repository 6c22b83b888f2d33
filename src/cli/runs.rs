//! `interconnect sync runs`: what ran, and what it cost.

use ledger::Run;
use serde_json::{Value as Json, json};

use super::out::table;
use super::{Exit, Out};

/// Calls for a thousand changes; nothing where nothing was changed.
pub(super) fn per_thousand(calls: u64, changes: u64) -> Option<u64> {
    (changes > 0).then(|| (calls * 1_000).div_ceil(changes))
}

/// A count of a run; 0 where it has none.
fn count(run: &Run, name: &str) -> u64 {
    run.counts[name].as_u64().unwrap_or(0)
}

fn changes(run: &Run) -> u64 {
    ["created", "updated", "gone", "written"]
        .iter()
        .map(|name| count(run, name))
        .sum()
}

pub(super) fn show(runs: &[Run], out: &Out) -> Exit {
    let json: Vec<Json> = runs
        .iter()
        .map(|run| {
            json!({
                "id": run.id.to_string(), "connection": run.connection, "object": run.object,
                "direction": run.direction, "started_at": run.started_at.to_string(),
                "ended_at": run.ended_at.map(|at| at.to_string()), "counts": run.counts, "changes": changes(run),
                "calls_per_thousand_changes": per_thousand(count(run, "calls"), changes(run)), "error": run.error,
            })
        })
        .collect();
    out.data(json!({"data": json}), || {
        let row = |run: &Run| {
            let (calls, changes) = (count(run, "calls"), changes(run));
            let per_thousand = per_thousand(calls, changes);
            vec![
                run.started_at.to_string(),
                run.direction.clone(),
                run.connection.clone(),
                run.object.clone(),
                changes.to_string(),
                calls.to_string(),
                per_thousand.map_or_else(String::new, |calls| calls.to_string()),
                run.error.clone(),
            ]
        };
        let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
        let head = [
            "started",
            "way",
            "connection",
            "object",
            "changes",
            "calls",
            "per 1,000 changes",
            "stopped by",
        ];
        table(&head, &rows)
    });
    Exit::Ok
}

#[cfg(test)]
mod tests {
    use super::per_thousand;

    #[test]
    fn calls_are_told_for_a_thousand_changes() {
        let told = [(0, 0), (7, 0), (12, 1_000), (1, 3), (5, 5)]
            .map(|(calls, changes)| per_thousand(calls, changes));
        assert_eq!(told, [None, None, Some(12), Some(334), Some(1_000)]);
    }
}
