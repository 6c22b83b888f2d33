//! Hints of systems, however they came: what they name is remembered, and its pull is nudged.
//!
//! Nothing needs to be kept of a hint: what it speaks of is read from the system, and is read by the cursor even if the
//! hint is lost.

use std::collections::BTreeSet;

use connector::Hint;
use queue::{Job, Nudge, Queue, QueueError};
use sync::{Engine, Report, Resolved};

/// What a decision makes worth looking at.
pub(crate) fn nudges_of(resolved: &Resolved) -> Vec<Nudge> {
    let owed = resolved.owed.iter().cloned();
    let pushes = owed.map(|(connection, object)| Nudge::now(Job::Push { connection, object }));
    let endpoints = resolved.endpoints.iter().cloned();
    pushes
        .chain(endpoints.map(|endpoint| Nudge::now(Job::Deliver { endpoint })))
        .collect()
}

/// What an action makes worth looking at: what is owed is written, and what is to be read again is read.
pub(crate) fn nudges_after(report: &Report) -> Vec<Nudge> {
    let owed = report.owed.iter().cloned();
    let jobs = owed.flat_map(|(connection, object)| {
        let (at, of) = (connection.clone(), object.clone());
        let pull = Job::Pull {
            connection: at,
            object: of,
        };
        [Nudge::now(pull), Nudge::now(Job::Push { connection, object })]
    });
    let endpoints = report.endpoints.iter().cloned();
    jobs.chain(endpoints.map(|endpoint| Nudge::now(Job::Deliver { endpoint })))
        .collect()
}

/// Takes hints of a connection, which came with a trace: when this returns, a pull that knows of them is on its way.
pub(crate) async fn take(
    engine: &Engine,
    queue: &Queue,
    connection: &str,
    hints: &[Hint],
    trace: &str,
) -> Result<(), QueueError> {
    let known = hints.iter().filter(|hint| engine.hint(connection, hint, trace));
    let objects: BTreeSet<&str> = known.map(|hint| hint.object.as_str()).collect();
    let nudges = objects.into_iter().map(|object| {
        Nudge::now(Job::Pull {
            connection: connection.to_owned(),
            object: object.to_owned(),
        })
    });
    queue.nudge(&nudges.collect::<Vec<_>>()).await
}
