//! Jobs: keys that say what to look at, run by apalis workers.
//!
//! A **job** ([`Job`]) is a key, never a payload. A **nudge** ([`Nudge`]) asks for it to be looked at, now or later.
//! A **look** ([`Look`]) is what the hub does when its turn has come; it reads the ledger, makes the world agree with it,
//! and ends in a **verdict** ([`Verdict`]). A [`Queue`] holds jobs, in memory or in Redis; [`Workers`] run looks.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # async fn example(look: Arc<dyn queue::Look>) -> Result<(), queue::QueueError> {
//! use queue::{Job, Nudge, Queue, Settings, WorkerSettings, Workers};
//!
//! let queue = Queue::redis("redis://127.0.0.1/", Settings::default()).await?;
//! queue.nudge(&[Nudge::now(Job::Sweep)]).await?;
//! Workers::run(&queue, look, WorkerSettings::default(), std::future::pending()).await
//! # }
//! ```
//!
//! # Promised
//!
//! - *Unique by key.* A job is queued at most once and runs at most once at a time; a nudge during its run means one more.
//! - *At least once.* A look may run again after a crash, an outage or a lost lease. It must be safe to repeat.
//! - *In order of priority*, strictly: live, retry, backfill; then by due time. Never before its time.
//! - *Bounded.* Attempts back off and end in the dead set. A job that kills its worker ends there too,
//!   and does not take others along: suspects run one at a time per process.
//! - *Nothing left behind.* A finished job has no row and no key.
//! - *Repairs itself.* Redis may stop, restart empty, or be flushed at any moment: workers wait, running looks go on
//!   under their leases, and what was queued comes back with the next sweep of the ledger.
//!
//! # Not promised
//!
//! - Durability: the ledger owns what is owed; the queue only says "look". That is why there is no job table.
//! - Exactly once, and fairness between priorities: live work can hold back backfill for as long as it lasts.
//! - Mutual exclusion beyond the lease: a process that stalls for longer than its lease may look at the same time as
//!   its successor until it notices. The ledger's own fenced lease makes that harmless.
//!
//! # Why apalis's storage crates are not used
//!
//! apalis 1.0 is a good worker loop with tower layers and a monitor, and that is what it does here (`backend.rs`).
//! Its storage crates at 1.0.0 were built and measured, and none of the three was safe for this work:
//! a poll timer that registers no waker, so that jobs wait for the next heartbeat; heartbeats and acknowledgements that
//! run only while the fetch buffer is empty, so that a saturated worker's jobs are run twice; in Redis an unbounded
//! `unpack` that wedges the queue above some 8,000 due jobs, a retry limit fixed at 25, a crash that counts no attempt (so
//! a poison job lives for ever), and a restart of the server that ends the worker; in SQLite an acknowledgement that
//! costs more with every finished job; in all of them rows that stay for ever, and no restart under the same name for
//! minutes. Each that applies has a test of its name in `contract/`.
//!
//! So the worker only receives from a bounded channel (`backend.rs`), and three independent tasks claim, renew and settle
//! (`keeper.rs`) over a store of our own: [`Queue::memory`] or [`Queue::redis`].
//!
//! # Cost
//!
//! An idle node is woken by publish/subscribe and asks by itself once in `idle_poll_ms`: measured on Redis 7.0,
//! 3.5 commands a second with the default of 2,000 ms, those inside scripts counted.
//! `examples/jobs.rs` measures the rest on the machine at hand.

mod backend;
mod backoff;
mod held;
mod job;
mod keeper;
mod look;
mod memory_store;
mod queue;
mod redis_store;
mod settings;
mod store;
mod workers;

#[cfg(test)]
mod contract;

pub use job::{JOB_KEY_MAX_BYTES, Job, Nudge, ParseJobError, Priority};
pub use look::{Cancelled, Look, Seen, Verdict};
pub use queue::{Counts, LIST_MAX, Listed, Queue, QueueError, State};
pub use settings::{
    CONCURRENCY_MAX, Clock, LEASE_MIN_MS, PREFETCH_MAX, Settings, SystemClock, WorkerSettings,
};
pub use workers::Workers;
