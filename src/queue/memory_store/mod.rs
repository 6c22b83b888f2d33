//! The queue inside this process.
//!
//! One mutex around plain ordered sets: every operation is a few steps in memory, so nothing waits for long.
//! It keeps leases and tokens like the Redis store, because workers inside one process can be dropped or stall too.

mod book;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::job::{Job, Nudge};
use crate::queue::{Counts, Listed, QueueError, State};
use crate::settings::Settings;
use crate::store::{Ask, Claimed, Lease, Settle, Store, Wakes};
use book::{Book, Settled};

/// The memory backend.
pub(crate) struct MemoryStore {
    settings: Arc<Settings>,
    book: Mutex<Book>,
    wake: watch::Sender<u64>,
}

impl MemoryStore {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            book: Mutex::default(),
            wake: watch::channel(0).0,
        }
    }

    fn now_ms(&self) -> i64 {
        self.settings.clock.now().as_millisecond()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic under the lock would leave sets that disagree; no operation below can panic half way.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, changed: bool) {
        if changed {
            self.wake.send_modify(|version| *version += 1);
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn nudge(&self, nudges: &[Nudge]) -> Result<(), QueueError> {
        let now = self.now_ms();
        let mut changed = false;
        {
            let mut book = self.book();
            for nudge in nudges {
                changed |= book.nudge(nudge, now);
            }
        }
        self.wake(changed);
        Ok(())
    }

    async fn claim(&self, ask: &Ask) -> Result<Claimed, QueueError> {
        let now = self.now_ms();
        let mut book = self.book();
        book.recover(now, self.settings.attempts_max);
        book.promote(now);
        let until = now.saturating_add_unsigned(self.settings.lease_ms);
        let mut claims = Vec::new();
        if ask.solo && ask.max > 0 {
            claims.extend(book.take_solo(until, &ask.by));
        }
        while claims.len() < ask.max {
            match book.take_ready(until, &ask.by) {
                Some(claim) => claims.push(claim),
                None => break,
            }
        }
        let next_due_ms = book
            .delayed
            .first()
            .map(|(due, _)| due.saturating_sub(now).max(0).unsigned_abs());
        Ok(Claimed { claims, next_due_ms })
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<bool>, QueueError> {
        let until = self.now_ms().saturating_add_unsigned(self.settings.lease_ms);
        let mut book = self.book();
        Ok(leases.iter().map(|lease| book.renew(lease, until)).collect())
    }

    async fn settle(&self, settles: &[Settle]) -> Result<Vec<bool>, QueueError> {
        let now = self.now_ms();
        let attempts_max = self.settings.attempts_max;
        let mut requeued = false;
        let ours = {
            let mut book = self.book();
            settles
                .iter()
                .map(|settle| {
                    let settled = book.settle(settle, now, attempts_max);
                    requeued |= settled == Settled::Requeued;
                    settled != Settled::Refused
                })
                .collect()
        };
        self.wake(requeued);
        Ok(ours)
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        let now = self.now_ms();
        let book = self.book();
        let due = book.delayed.iter().take_while(|(due, _)| *due <= now);
        let due = due.count() as u64;
        Ok(Counts {
            ready: (book.ready.len() + book.solo.len()) as u64 + due,
            delayed: book.delayed.len() as u64 - due,
            running: book.running.len() as u64,
            dead: book.dead.len() as u64,
        })
    }

    async fn list(&self, state: State, limit: usize) -> Result<Vec<Listed>, QueueError> {
        let book = self.book();
        let timed =
            |set: &BTreeSet<(i64, Job)>| -> Vec<(i64, Job)> { set.iter().take(limit).cloned().collect() };
        let rows = match state {
            State::Ready => {
                let solo = book.solo.iter().map(|(due, job)| (*due, job.clone()));
                let ready = book.ready.iter().map(|(_, due, job)| (*due, job.clone()));
                solo.chain(ready).take(limit).collect()
            }
            State::Delayed => timed(&book.delayed),
            State::Running => timed(&book.running),
            State::Dead => timed(&book.dead),
        };
        Ok(rows
            .into_iter()
            .filter_map(|(at, job)| book.listed(at, job))
            .collect())
    }

    async fn release_dead(&self, job: &Job) -> Result<bool, QueueError> {
        let now = self.now_ms();
        let released = self.book().release_dead(job, now);
        self.wake(released);
        Ok(released)
    }

    fn wakes(&self) -> Wakes {
        Wakes {
            signal: self.wake.subscribe(),
            _feeder: None,
        }
    }
}
