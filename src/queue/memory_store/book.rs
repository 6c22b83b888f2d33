//! All jobs of the memory backend, and how they move; plain values, given the time.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use crate::job::{Job, Nudge, Priority};
use crate::queue::Listed;
use crate::store::{Claim, Lease, Outcome, SOLO_AFTER_LOSSES, STEP_MAX, Settle, bounded, due_ms};

/// A process has one life, and so has its queue.
const EPOCH: u64 = 0;

/// Where a job stands, with what its ordered set needs.
#[derive(Debug, Clone)]
enum Place {
    Ready { rank: u8 },
    Solo,
    Delayed,
    Running { until_ms: i64, token: u64, by: String },
    Dead { at_ms: i64 },
}

#[derive(Debug, Clone)]
struct Entry {
    place: Place,
    priority: Priority,
    due_ms: i64,
    attempts: u32,
    /// How often in a row its worker vanished.
    losses: u32,
    backing_off: bool,
    /// A nudge that came while it ran.
    again: Option<(Priority, i64)>,
    why: Option<String>,
}

impl Entry {
    /// A job that failed or lost its worker is no live work until it goes well.
    fn rank(&self) -> u8 {
        let least = u8::from(self.attempts > 0 || self.losses > 0);
        self.priority.rank().max(least)
    }

    /// It went well, or somebody decided that the past does not count.
    fn forgive(&mut self) {
        (self.attempts, self.losses, self.why) = (0, 0, None);
        self.backing_off = false;
    }

    /// When it is due after a run that did not end it; `None` if nothing is left to do.
    fn due_after(&mut self, outcome: &Outcome, now: i64) -> Option<i64> {
        let nudged = self.take_again();
        match outcome {
            Outcome::Done => {
                self.forgive();
                nudged
            }
            Outcome::Again { due_ms } => {
                self.forgive();
                Some(nudged.unwrap_or(*due_ms).min(*due_ms))
            }
            Outcome::Back => {
                self.attempts = self.attempts.saturating_sub(1);
                Some(nudged.unwrap_or(self.due_ms).min(self.due_ms))
            }
            // The nudge has raised the priority; the wait stands.
            Outcome::Retry { wait_ms, why } => {
                self.losses = 0;
                self.backing_off = true;
                self.why = Some(bounded(why).to_owned());
                Some(now.saturating_add_unsigned(*wait_ms))
            }
            Outcome::Dead { .. } => None,
        }
    }

    /// Take up the nudge that came during the run.
    fn take_again(&mut self) -> Option<i64> {
        let (priority, due_ms) = self.again.take()?;
        self.priority = self.priority.min(priority);
        Some(due_ms)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Refused,
    Gone,
    Requeued,
}

/// The first of a timed set, if its time has come.
fn pop_due(set: &mut BTreeSet<(i64, Job)>, now: i64) -> Option<(i64, Job)> {
    let (time, _) = set.first()?;
    if *time > now {
        return None;
    }
    set.pop_first()
}

/// All jobs, and the ordered sets that answer "which next".
#[derive(Default)]
pub(super) struct Book {
    jobs: HashMap<Job, Entry>,
    pub(super) ready: BTreeSet<(u8, i64, Job)>,
    pub(super) solo: BTreeSet<(i64, Job)>,
    pub(super) delayed: BTreeSet<(i64, Job)>,
    pub(super) running: BTreeSet<(i64, Job)>,
    pub(super) dead: BTreeSet<(i64, Job)>,
    last_token: u64,
}

impl Book {
    /// `true` if a worker may have more to do than before.
    pub(super) fn nudge(&mut self, nudge: &Nudge, now: i64) -> bool {
        let due_ms = nudge.at.map_or(now, due_ms);
        let Some(mut entry) = self.jobs.get(&nudge.job).cloned() else {
            let fresh = Entry {
                place: Place::Solo,
                priority: nudge.priority,
                due_ms,
                attempts: 0,
                losses: 0,
                backing_off: false,
                again: None,
                why: None,
            };
            self.queue(nudge.job.clone(), fresh, now);
            return true;
        };
        match entry.place {
            Place::Dead { .. } => false,
            Place::Running { .. } => {
                let (priority, due) = entry.again.unwrap_or((nudge.priority, due_ms));
                entry.again = Some((priority.min(nudge.priority), due.min(due_ms)));
                self.jobs.insert(nudge.job.clone(), entry);
                false
            }
            Place::Ready { .. } | Place::Solo | Place::Delayed => {
                let priority = entry.priority.min(nudge.priority);
                let due = if entry.backing_off {
                    entry.due_ms
                } else {
                    entry.due_ms.min(due_ms)
                };
                if (priority, due) == (entry.priority, entry.due_ms) {
                    return false;
                }
                self.lift(&nudge.job);
                (entry.priority, entry.due_ms) = (priority, due);
                self.queue(nudge.job.clone(), entry, now);
                true
            }
        }
    }

    /// Put a job where its due time and its past say.
    fn queue(&mut self, job: Job, mut entry: Entry, now: i64) {
        entry.place = if entry.due_ms > now {
            self.delayed.insert((entry.due_ms, job.clone()));
            Place::Delayed
        } else if entry.losses >= SOLO_AFTER_LOSSES {
            self.solo.insert((entry.due_ms, job.clone()));
            Place::Solo
        } else {
            let rank = entry.rank();
            self.ready.insert((rank, entry.due_ms, job.clone()));
            Place::Ready { rank }
        };
        self.jobs.insert(job, entry);
    }

    /// Take a job out of its ordered set.
    fn lift(&mut self, job: &Job) {
        let Some(entry) = self.jobs.get(job) else {
            return;
        };
        let due = entry.due_ms;
        match entry.place {
            Place::Ready { rank } => self.ready.remove(&(rank, due, job.clone())),
            Place::Solo => self.solo.remove(&(due, job.clone())),
            Place::Delayed => self.delayed.remove(&(due, job.clone())),
            Place::Running { until_ms, .. } => self.running.remove(&(until_ms, job.clone())),
            Place::Dead { at_ms } => self.dead.remove(&(at_ms, job.clone())),
        };
    }

    fn bury(&mut self, job: Job, mut entry: Entry, why: &str, now: i64) {
        entry.place = Place::Dead { at_ms: now };
        entry.again = None;
        entry.why = Some(bounded(why).to_owned());
        self.dead.insert((now, job.clone()));
        self.jobs.insert(job, entry);
    }

    /// Give jobs whose lease ended to whoever claims next; each loss was an attempt.
    pub(super) fn recover(&mut self, now: i64, attempts_max: u32) {
        for _ in 0..STEP_MAX {
            let Some((_, job)) = pop_due(&mut self.running, now) else {
                return;
            };
            let Some(mut entry) = self.jobs.get(&job).cloned() else {
                continue;
            };
            entry.losses += 1;
            if entry.attempts >= attempts_max {
                let why = format!("its worker vanished in attempt {}", entry.attempts);
                self.bury(job, entry, &why, now);
            } else {
                entry.take_again();
                entry.due_ms = now;
                self.queue(job, entry, now);
            }
        }
    }

    pub(super) fn promote(&mut self, now: i64) {
        for _ in 0..STEP_MAX {
            let Some((_, job)) = pop_due(&mut self.delayed, now) else {
                return;
            };
            if let Some(entry) = self.jobs.get(&job).cloned() {
                self.queue(job, entry, now);
            }
        }
    }

    pub(super) fn take_solo(&mut self, until_ms: i64, by: &str) -> Option<Claim> {
        let (_, job) = self.solo.pop_first()?;
        self.lease(job, until_ms, by, true)
    }

    pub(super) fn take_ready(&mut self, until_ms: i64, by: &str) -> Option<Claim> {
        let (_, _, job) = self.ready.pop_first()?;
        self.lease(job, until_ms, by, false)
    }

    fn lease(&mut self, job: Job, until_ms: i64, by: &str, solo: bool) -> Option<Claim> {
        let entry = self.jobs.get_mut(&job)?;
        self.last_token += 1;
        entry.attempts += 1;
        entry.backing_off = false;
        entry.place = Place::Running {
            until_ms,
            token: self.last_token,
            by: by.to_owned(),
        };
        self.running.insert((until_ms, job.clone()));
        Some(Claim {
            lease: Lease {
                token: self.last_token,
                epoch: EPOCH,
                priority: entry.priority,
                attempt: entry.attempts,
                job,
            },
            solo,
        })
    }

    pub(super) fn renew(&mut self, lease: &Lease, new_until_ms: i64) -> bool {
        let Some(entry) = self.jobs.get_mut(&lease.job) else {
            return false;
        };
        match &mut entry.place {
            Place::Running { until_ms, token, .. } if *token == lease.token => {
                self.running.remove(&(*until_ms, lease.job.clone()));
                self.running.insert((new_until_ms, lease.job.clone()));
                *until_ms = new_until_ms;
                true
            }
            _ => false,
        }
    }

    pub(super) fn settle(&mut self, settle: &Settle, now: i64, attempts_max: u32) -> Settled {
        let job = &settle.lease.job;
        let mut entry = match self.jobs.get(job) {
            Some(entry) => match entry.place {
                Place::Running { token, .. } if token == settle.lease.token => entry.clone(),
                _ => return Settled::Refused,
            },
            None => return Settled::Refused,
        };
        self.lift(job);
        match &settle.outcome {
            Outcome::Dead { why } => {
                self.bury(job.clone(), entry, why, now);
                return Settled::Gone;
            }
            Outcome::Retry { why, .. } if entry.attempts >= attempts_max => {
                self.bury(job.clone(), entry, why, now);
                return Settled::Gone;
            }
            outcome => match entry.due_after(outcome, now) {
                None => {
                    self.jobs.remove(job);
                    return Settled::Gone;
                }
                Some(due_ms) => entry.due_ms = due_ms,
            },
        }
        self.queue(job.clone(), entry, now);
        Settled::Requeued
    }

    pub(super) fn release_dead(&mut self, job: &Job, now: i64) -> bool {
        let Some(mut entry) = self.jobs.get(job).cloned() else {
            return false;
        };
        if !matches!(entry.place, Place::Dead { .. }) {
            return false;
        }
        self.lift(job);
        entry.forgive();
        entry.due_ms = now;
        self.queue(job.clone(), entry, now);
        true
    }

    pub(super) fn listed(&self, at_ms: i64, job: Job) -> Option<Listed> {
        let entry = self.jobs.get(&job)?;
        let held_by = match &entry.place {
            Place::Running { by, .. } => Some(by.clone()),
            _ => None,
        };
        Some(Listed {
            job,
            priority: entry.priority,
            at: Timestamp::from_millisecond(at_ms).ok()?,
            attempts: entry.attempts,
            held_by,
            reason: entry.why.clone(),
        })
    }
}
