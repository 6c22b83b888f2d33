//! What runs when a job's turn has come.
//!
//! A *look* reads the present state from the ledger and makes the world agree with it.
//! It may run at any time, twice, or late, and must be safe to repeat; it ends in a *verdict*.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::job::Job;

/// What the hub does for each job: one implementation for all kinds, so that there is one worker type.
#[async_trait]
pub trait Look: Send + Sync + 'static {
    /// Look at what `job` names and make the world agree with the ledger.
    ///
    /// A panic is caught and counts as [`Verdict::Retry`].
    async fn look(&self, job: Job, seen: Seen) -> Verdict;
}

/// What a look ended with, and so what becomes of its job.
///
/// A job that was nudged while it ran is looked at once more after [`Verdict::Done`] and [`Verdict::Again`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is left to do: the job leaves the queue without a trace.
    Done,
    /// It went well, and there is something to look at from this time on.
    Again(Timestamp),
    /// It failed for this reason: try again after the backoff, or die when the attempts are used up.
    Retry(String),
    /// It cannot succeed, for this reason: keep it aside until a person releases it.
    Dead(String),
}

impl Verdict {
    /// The word for logs.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Again(_) => "again",
            Self::Retry(_) => "retry",
            Self::Dead(_) => "dead",
        }
    }
}

/// Why a look should end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The process stops: finish soon, or return [`Verdict::Again`] with the present time.
    Stopping,
    /// Another worker may have the job by now: write nothing more. The verdict will be refused.
    LeaseLost,
}

/// What a look is told about itself.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which attempt this is; the first is 1. Attempts whose worker vanished count.
    pub attempt: u32,
    /// The attempt after which the job is dead if it fails.
    pub attempts_max: u32,
    cancel: watch::Receiver<Option<Cancelled>>,
}

impl Seen {
    /// For calling a [`Look`] without a queue: attempt 1 of 1, never cancelled.
    pub fn alone() -> Self {
        let (_, cancel) = watch::channel(None);
        Self {
            attempt: 1,
            attempts_max: 1,
            cancel,
        }
    }

    pub(crate) fn new(attempt: u32, attempts_max: u32, cancel: watch::Receiver<Option<Cancelled>>) -> Self {
        Self {
            attempt,
            attempts_max,
            cancel,
        }
    }

    /// Whether this look should end early, and why. Cheap: ask between pages.
    pub fn cancelled(&self) -> Option<Cancelled> {
        *self.cancel.borrow()
    }

    /// Wait until this look should end early; for use in `select!`. Never returns if that does not happen.
    pub async fn until_cancelled(&self) -> Cancelled {
        let mut cancel = self.cancel.clone();
        let seen = match cancel.wait_for(Option::is_some).await {
            Ok(cause) => *cause,
            Err(_) => None,
        };
        match seen {
            Some(cause) => cause,
            // Nobody can cancel any more.
            None => std::future::pending().await,
        }
    }
}
