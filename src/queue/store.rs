//! The contract between the queue and where its jobs are kept.
//!
//! A *claim* takes due jobs under a *lease*: a time until which nobody else may have them, and a token that fences.
//! Every later word about a job carries the token; a stale one is refused.
//! Two stores keep this contract, in memory and in Redis, and one suite (`contract/`) runs against both.
//!
//! The states of a job: *delayed* until its time, *ready*, *running* under a lease, *dead* until released.
//! A finished job has no state: nothing is kept of it.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::job::{Job, Nudge, Priority};
use crate::queue::{Counts, Listed, QueueError, State};

/// From this many lost workers on, a job is suspected of killing them:
/// a worker then runs at most one such job at a time, so that a killer does not take the same innocents down every time.
pub(crate) const SOLO_AFTER_LOSSES: u32 = 2;

/// The most jobs one claim takes; it also bounds the Redis script behind it.
pub(crate) const CLAIM_MAX: usize = 256;

/// The most nudges, renewals or settlements in one call to a store; callers split.
pub(crate) const BATCH_MAX: usize = 256;

/// The most orphans, and the most delayed jobs, that one claim moves; what is left over is moved by the next.
pub(crate) const STEP_MAX: usize = 512;

/// The longest reason that is kept with a job, in bytes.
pub(crate) const REASON_MAX_BYTES: usize = 300;

/// The latest time a job can be due, in milliseconds since 1970: the ready order packs it beside the priority.
pub(crate) const DUE_MAX_MS: i64 = 9_999_999_999_999;

/// What a claim asks for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// At most this many jobs; at most [`CLAIM_MAX`].
    pub(crate) max: usize,
    /// Whether one of them may be a job that is suspected of killing workers.
    pub(crate) solo: bool,
    /// Who is shown as the holder.
    pub(crate) by: String,
}

/// The right to a job until the lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) job: Job,
    /// Grows from claim to claim, also across a flush.
    pub(crate) token: u64,
    /// Which life of the store granted it: a flush begins another.
    pub(crate) epoch: u64,
    pub(crate) priority: Priority,
    pub(crate) attempt: u32,
}

/// One claimed job.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) lease: Lease,
    /// Whether it was claimed as a suspect.
    pub(crate) solo: bool,
}

/// What a claim came back with.
#[derive(Debug, Default)]
pub(crate) struct Claimed {
    pub(crate) claims: Vec<Claim>,
    /// In how many milliseconds the next delayed job falls due, if there is one.
    pub(crate) next_due_ms: Option<u64>,
}

/// What becomes of a job that its holder is through with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Leaves the queue.
    Done,
    /// Due again at this time, attempts forgotten.
    Again { due_ms: i64 },
    /// Due after this wait, which nudges do not shorten; dead if the attempts are used up.
    Retry { wait_ms: u64, why: String },
    /// Kept aside.
    Dead { why: String },
    /// Was never begun: the attempt does not count.
    Back,
}

/// An outcome under the lease that allows it.
#[derive(Debug, Clone)]
pub(crate) struct Settle {
    pub(crate) lease: Lease,
    pub(crate) outcome: Outcome,
}

/// Where jobs are kept. Batches hold at most [`BATCH_MAX`] items.
#[async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// Queue or remember these jobs, as [`crate::Queue::nudge`] promises.
    async fn nudge(&self, nudges: &[Nudge]) -> Result<(), QueueError>;

    /// Take back what lost its worker, promote what is due, and lease the most urgent jobs.
    async fn claim(&self, ask: &Ask) -> Result<Claimed, QueueError>;

    /// Extend these leases; `false` for each that is lost.
    async fn renew(&self, leases: &[Lease]) -> Result<Vec<bool>, QueueError>;

    /// Give these jobs up with their outcomes; `false` for each whose lease was no longer ours.
    async fn settle(&self, settles: &[Settle]) -> Result<Vec<bool>, QueueError>;

    async fn counts(&self) -> Result<Counts, QueueError>;

    async fn list(&self, state: State, limit: usize) -> Result<Vec<Listed>, QueueError>;

    /// Make a dead job ready with fresh attempts; `false` if it is not dead.
    async fn release_dead(&self, job: &Job) -> Result<bool, QueueError>;

    /// A signal that changes whenever a claim may find more than the last one did.
    fn wakes(&self) -> Wakes;
}

/// The wake-up signal of one set of workers, with the task that feeds it.
pub(crate) struct Wakes {
    pub(crate) signal: watch::Receiver<u64>,
    pub(crate) _feeder: Option<AbortOnDrop>,
}

/// Ends a task when its owner goes.
pub(crate) struct AbortOnDrop(pub(crate) JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Milliseconds since 1970, rounded up, so that a job is never early by less than a millisecond either.
pub(crate) fn due_ms(at: Timestamp) -> i64 {
    let floor = at.as_millisecond();
    let rounded = if at.as_nanosecond() > i128::from(floor) * 1_000_000 {
        floor + 1
    } else {
        floor
    };
    rounded.clamp(0, DUE_MAX_MS)
}

/// The reason as it is kept: bounded, cut between characters.
pub(crate) fn bounded(why: &str) -> &str {
    let mut end = why.len().min(REASON_MAX_BYTES);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    &why[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_due_time_is_never_rounded_down() {
        let at = |ns| Timestamp::from_nanosecond(ns).unwrap();
        assert_eq!(due_ms(at(5_000_000)), 5);
        assert_eq!(due_ms(at(5_000_001)), 6);
        assert_eq!(due_ms(at(-1)), 0);
        assert_eq!(due_ms(Timestamp::MAX), DUE_MAX_MS);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let long = "é".repeat(REASON_MAX_BYTES);
        assert_eq!(bounded(&long).len(), REASON_MAX_BYTES);
        let odd = format!("x{long}");
        assert_eq!(bounded(&odd).len(), REASON_MAX_BYTES - 1);
        assert_eq!(bounded("short"), "short");
    }
}
