//! The jobs that one set of workers holds, begun or not.
//!
//! A job is held from its claim until the store has taken its outcome, and its lease is renewed all that time:
//! whether a worker happens to be busy has no influence on it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::job::Job;
use crate::look::{Cancelled, Seen};
use crate::store::{Claim, Lease};

/// What the tasks of one [`crate::Workers::run`] share.
pub(crate) struct Held {
    jobs: Mutex<HashMap<Job, Hold>>,
    /// How many may be held.
    capacity: usize,
    attempts_max: u32,
    /// Signalled when a job is no longer held.
    pub(crate) freed: Notify,
    stopping: watch::Sender<bool>,
}

struct Hold {
    lease: Lease,
    solo: bool,
    cancel: watch::Sender<Option<Cancelled>>,
}

/// A job on its way to a worker.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) job: Job,
    pub(crate) seen: Seen,
}

/// How much more may be claimed.
pub(crate) struct Room {
    pub(crate) free: usize,
    /// Whether one of them may be a suspect.
    pub(crate) solo: bool,
}

impl Held {
    pub(crate) fn new(capacity: usize, attempts_max: u32) -> Self {
        Self {
            jobs: Mutex::default(),
            capacity,
            attempts_max,
            freed: Notify::new(),
            stopping: watch::channel(false).0,
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<Job, Hold>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn room(&self) -> Room {
        let jobs = self.jobs();
        Room {
            free: self.capacity.saturating_sub(jobs.len()),
            solo: !jobs.values().any(|hold| hold.solo),
        }
    }

    /// Hold a claimed job. `None` if it is held already: then the old run goes on under the new lease.
    ///
    /// That happens after the store was emptied and the job was queued anew before its lease was renewed.
    pub(crate) fn take(&self, claim: Claim) -> Option<Ticket> {
        let mut jobs = self.jobs();
        if let Some(hold) = jobs.get_mut(&claim.lease.job) {
            hold.lease = claim.lease;
            hold.cancel.send_if_modified(|cause| {
                let lost = *cause == Some(Cancelled::LeaseLost);
                if lost {
                    *cause = None;
                }
                lost
            });
            return None;
        }
        let early = self.is_stopping().then_some(Cancelled::Stopping);
        let (cancel, cancelled) = watch::channel(early);
        let ticket = Ticket {
            job: claim.lease.job.clone(),
            seen: Seen::new(claim.lease.attempt, self.attempts_max, cancelled),
        };
        let hold = Hold {
            lease: claim.lease,
            solo: claim.solo,
            cancel,
        };
        jobs.insert(ticket.job.clone(), hold);
        Some(ticket)
    }

    pub(crate) fn lease(&self, job: &Job) -> Option<Lease> {
        self.jobs().get(job).map(|hold| hold.lease.clone())
    }

    pub(crate) fn leases(&self) -> Vec<Lease> {
        self.jobs().values().map(|hold| hold.lease.clone()).collect()
    }

    /// Tell the look at this job that its lease is gone, unless it has a newer one by now.
    pub(crate) fn lost(&self, lease: &Lease) {
        let jobs = self.jobs();
        if let Some(hold) = jobs.get(&lease.job)
            && hold.lease.token == lease.token
        {
            hold.cancel.send_replace(Some(Cancelled::LeaseLost));
        }
    }

    /// No longer hold these jobs.
    pub(crate) fn let_go<'a>(&self, gone: impl Iterator<Item = &'a Lease>) {
        let mut jobs = self.jobs();
        for lease in gone {
            jobs.remove(&lease.job);
        }
        drop(jobs);
        self.freed.notify_one();
    }

    /// Claim no more, and tell the looks.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
        for hold in self.jobs().values() {
            hold.cancel.send_if_modified(|cause| {
                let first = cause.is_none();
                if first {
                    *cause = Some(Cancelled::Stopping);
                }
                first
            });
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Wait until [`Held::stop`] was called.
    pub(crate) async fn until_stopping(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as `self`, so this ends only by the stop.
        let _stopped = stopping.wait_for(|stopping| *stopping).await;
    }
}
