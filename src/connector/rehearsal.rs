//! Rehearsing: all of a write but the write.
//!
//! A connection that *rehearses* reads as any other, and writes nothing: what it would send is counted as if it had been
//! sent, and taken as done. What only the system can tell is not known then: whether it refuses, what it fills in.
//! An object that would be new has a *made-up* id, a number that no system gives, and is not asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::connection::{Connection, Outcome};
use crate::manifest::{Call, WriteJob};
use crate::outcome::Outcomes;
use crate::write::Item;

/// Before the first made-up id: all digits, so that what reads ids as numbers can, and none that systems count up to.
const BEFORE_FIRST: u64 = 9_000_000_000_000_000;

/// The made-up ids of an account; shared by its copies.
#[derive(Debug, Default)]
pub(crate) struct Rehearsal {
    given: AtomicU64,
}

impl Rehearsal {
    fn make_up(&self) -> String {
        (BEFORE_FIRST + self.given.fetch_add(1, Ordering::Relaxed) + 1).to_string()
    }

    fn made_up(&self, id: &str) -> bool {
        let given = BEFORE_FIRST..=BEFORE_FIRST + self.given.load(Ordering::Relaxed);
        id.parse()
            .is_ok_and(|number: u64| number != BEFORE_FIRST && given.contains(&number))
    }
}

impl Connection {
    /// The same account, with writes that are only counted.
    pub fn rehearsing(&self) -> Connection {
        let mut connection = self.in_lane(self.caller.lane);
        connection.caller.rehearsal = Some(Arc::default());
        connection
    }

    /// Whether there is no such object, because its creation was only rehearsed.
    pub fn is_made_up(&self, id: &str) -> bool {
        let rehearsal = self.caller.rehearsal.as_ref();
        rehearsal.is_some_and(|rehearsal| rehearsal.made_up(id))
    }

    /// Counts a call of a write instead of sending it, when this is a rehearsal; says whether it is one.
    pub(crate) fn rehearses(&self, call: &Call) -> bool {
        if self.caller.rehearsal.is_some() {
            self.caller.calls.count(self.caller.lane, call.group.as_deref());
        }
        self.caller.rehearsal.is_some()
    }

    /// Counts the calls of one job instead of making it, when this is a rehearsal; says whether it is one.
    pub(crate) fn rehearses_job(&self, bulk: &WriteJob) -> bool {
        let (job, results) = (&bulk.job, bulk.results.iter().map(|part| &part.request));
        let calls = [&job.create.request, &bulk.upload, &bulk.start, &job.state.request];
        let calls = calls.into_iter().chain(results).chain(&job.delete);
        calls.fold(false, |_, call| self.rehearses(call))
    }

    /// Takes items as written.
    pub(crate) fn take_as_written(&self, ats: &[usize], items: &[Item], outcomes: &mut Outcomes) {
        let Some(rehearsal) = &self.caller.rehearsal else {
            return;
        };
        for at in ats {
            let item = &items[*at];
            outcomes[*at] = Some(Outcome::Written {
                id: item.id.clone().unwrap_or_else(|| rehearsal.make_up()),
                created: item.created,
                version: None,
                modified: None,
                left_out: item.left_out.clone(),
            });
        }
    }
}
