//! [`Report`]: what a pull or a push came to, and what it makes worth looking at next.

use std::collections::{BTreeMap, BTreeSet};

use connector::{CallCount, Lane};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

/// Counts of one pull or push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects read.
    pub read: u64,
    /// Records that were new.
    pub created: u64,
    /// Records that changed.
    pub updated: u64,
    /// Objects that said nothing new.
    pub unchanged: u64,
    /// Objects that no mapping wants.
    pub skipped: u64,
    /// Objects that met a record of another system.
    pub met: u64,
    /// Objects that are deleted there.
    pub gone: u64,
    /// Objects or records that were parked.
    pub parked: u64,
    /// Fields on which both sides differed.
    pub conflicts: u64,
    /// Objects written.
    pub written: u64,
    /// Objects created there.
    pub created_there: u64,
    /// Records that were deleted with their object.
    pub deleted: u64,
    /// Objects deleted there with their records.
    pub deleted_there: u64,
    /// Records that stay, or are back, although their object was deleted.
    pub outlived: u64,
    /// Pushes that had nothing to write.
    pub agreed: u64,
    /// Requests that were sent to the system, each try, also for signing in.
    pub calls: u64,
    /// Those of them that tried something again that had not worked before.
    pub calls_retry: u64,
    /// Those of them that made room for news.
    pub calls_backfill: u64,
    /// By how many milliseconds our clock was ahead of what the system's answers tell: nothing later was read.
    pub clock_ahead_ms: u64,
}

impl Counts {
    /// Adds another count.
    pub fn add(&mut self, other: &Counts) {
        self.read += other.read;
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.skipped += other.skipped;
        self.met += other.met;
        self.gone += other.gone;
        self.parked += other.parked;
        self.conflicts += other.conflicts;
        self.written += other.written;
        self.created_there += other.created_there;
        self.deleted += other.deleted;
        self.deleted_there += other.deleted_there;
        self.outlived += other.outlived;
        self.agreed += other.agreed;
        self.calls += other.calls;
        self.calls_retry += other.calls_retry;
        self.calls_backfill += other.calls_backfill;
        self.clock_ahead_ms = self.clock_ahead_ms.max(other.clock_ahead_ms);
    }

    pub(crate) fn called(&mut self, calls: &CallCount) {
        self.calls += calls.all();
        self.calls_retry += calls.of(Lane::Retry);
        self.calls_backfill += calls.of(Lane::Backfill);
    }

    /// Records and objects that were changed.
    pub fn changes(&self) -> u64 {
        self.created + self.updated + self.gone + self.written + self.deleted_there
    }

    /// Whether anything was changed, written or parked.
    pub fn changed_anything(&self) -> bool {
        self.changes() + self.met + self.parked + self.outlived > 0
    }

    /// The counts as JSON, without those that are zero.
    pub fn to_json(self) -> Json {
        let all = json!({
            "read": self.read, "created": self.created, "updated": self.updated, "unchanged": self.unchanged,
            "skipped": self.skipped, "met": self.met, "gone": self.gone, "parked": self.parked,
            "conflicts": self.conflicts, "written": self.written, "created_there": self.created_there,
            "deleted": self.deleted, "deleted_there": self.deleted_there, "outlived": self.outlived, "agreed": self.agreed, "calls": self.calls, "calls_retry": self.calls_retry,
            "calls_backfill": self.calls_backfill, "clock_ahead_ms": self.clock_ahead_ms,
        });
        match all {
            Json::Object(map) => map.into_iter().filter(|(_, n)| n.as_u64() != Some(0)).collect(),
            other => other,
        }
    }
}

/// What a pull or a push came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was done.
    pub counts: Counts,
    /// Connections and objects that are owed something now.
    pub owed: BTreeSet<(String, String)>,
    /// Endpoints that have something to receive now.
    pub endpoints: BTreeSet<String>,
    /// When to look again, if there is a moment that is known already.
    pub again: Option<Timestamp>,
    /// Why it ended early, for a person: a stop limit, or somebody wanted so.
    pub halted: Option<String>,
    /// What had not been seen although it should have been, by field; only where everything is compared.
    pub drift: BTreeMap<String, u64>,
    /// What was read on the way, as a run of its own.
    pub(crate) beside: Counts,
}

impl Report {
    pub(crate) fn look_again(&mut self, at: Timestamp) {
        self.again = Some(self.again.map_or(at, |again| again.min(at)));
    }

    /// Takes in what a run came to that was made on the way.
    pub(crate) fn add_beside(&mut self, other: Report) {
        self.beside.add(&other.counts);
        self.halted = self.halted.take().or(other.halted);
        self.owed.extend(other.owed);
        self.endpoints.extend(other.endpoints);
        if let Some(again) = other.again {
            self.look_again(again);
        }
    }
}
