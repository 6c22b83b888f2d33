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
    /// The look is over; what is left is to tell the store.
    ended: bool,
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

    /// Hold a claimed job. `None` if its look still runs here: then that goes on under the new lease.
    ///
    /// That happens after the store was emptied and the job was queued anew before its lease was renewed.
    /// A look that is over does not count, although we may not have heard yet that the store took its outcome.
    pub(crate) fn take(&self, claim: Claim) -> Option<Ticket> {
        let mut jobs = self.jobs();
        if let Some(hold) = jobs.get_mut(&claim.lease.job)
            && !hold.ended
        {
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
            ended: false,
            cancel,
        };
        jobs.insert(ticket.job.clone(), hold);
        Some(ticket)
    }

    /// The look at this job is over: the lease to say so under.
    pub(crate) fn end(&self, job: &Job) -> Option<Lease> {
        let mut jobs = self.jobs();
        let hold = jobs.get_mut(job)?;
        hold.ended = true;
        Some(hold.lease.clone())
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

    /// No longer hold these jobs, unless they were claimed again meanwhile.
    pub(crate) fn let_go<'a>(&self, gone: impl Iterator<Item = &'a Lease>) {
        let mut jobs = self.jobs();
        for lease in gone {
            let held = jobs.get(&lease.job);
            if held.is_some_and(|hold| hold.lease.token == lease.token) {
                jobs.remove(&lease.job);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Priority;

    fn claim(token: u64) -> Claim {
        Claim {
            lease: Lease {
                job: Job::Sweep,
                token,
                epoch: 0,
                priority: Priority::Live,
                attempt: 1,
            },
            solo: false,
        }
    }

    #[test]
    fn a_job_claimed_again_before_we_heard_that_it_was_settled_begins_anew() {
        let held = Held::new(2, 1);
        assert!(held.take(claim(1)).is_some());
        let settled = held.end(&Job::Sweep).unwrap();
        // The store has settled it, and another nudge has made it ready; the claimer is quicker than the settler.
        assert!(held.take(claim(2)).is_some());
        held.let_go([settled].iter());
        assert_eq!(held.leases(), [claim(2).lease]);
        assert_eq!(held.room().free, 1);
    }

    #[test]
    fn a_job_claimed_again_while_its_look_runs_goes_on_under_the_new_lease() {
        let held = Held::new(2, 1);
        let ticket = held.take(claim(1)).unwrap();
        held.lost(&claim(1).lease);
        assert_eq!(ticket.seen.cancelled(), Some(Cancelled::LeaseLost));
        assert!(held.take(claim(2)).is_none());
        assert_eq!(ticket.seen.cancelled(), None);
        assert_eq!(held.end(&Job::Sweep), Some(claim(2).lease));
    }
}
