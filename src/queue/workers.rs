//! The workers of one process: supplied by the keeper's tasks, run by apalis, stopped within a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::backend::{Inbox, monitor};
use crate::held::{Held, Ticket};
use crate::keeper::{Claimer, End, Ended, renew, settle};
use crate::look::Look;
use crate::queue::{Queue, QueueError};
use crate::settings::WorkerSettings;

/// The part of the stop timeout that is kept for telling the store how the last jobs ended, in milliseconds,
/// if the timeout is long enough: never more than half of it.
const SETTLE_MS: u64 = 1_000;

/// Runs looks for the jobs of a queue.
pub struct Workers;

impl Workers {
    /// Run until `shutdown` is ready, then stop gracefully and return.
    ///
    /// On the stop, no further job is claimed, jobs that were not begun are handed back without an attempt counted,
    /// and running looks are told ([`crate::Seen::cancelled`]) and waited for.
    /// A look that is still running shortly before `stop_timeout_ms` is dropped at its next await;
    /// its job is queued again at once, with the attempt counted.
    /// A look that blocks its thread cannot be dropped: its lease runs out after the return.
    ///
    /// Nothing is registered, so any number of processes may run under one name, and a restart is accepted at once.
    /// Dropping the future is a crash: its jobs are found by other workers when their leases end.
    ///
    /// # Errors
    /// [`QueueError::Setting`] before anything is claimed; [`QueueError::Ended`] by a defect of this crate.
    /// An unreachable Redis is no error: it is waited for.
    pub async fn run(
        queue: &Queue,
        look: Arc<dyn Look>,
        settings: WorkerSettings,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), QueueError> {
        settings.check()?;
        let capacity = settings.concurrency + settings.prefetch;
        let held = Arc::new(Held::new(capacity, queue.settings.attempts_max));
        let (tickets, received) = mpsc::channel(capacity);
        let (ends, ended) = mpsc::channel(capacity);
        let inbox = Inbox::new(received, Arc::clone(&held));
        let mut supply = Supply::start(queue, &held, &settings.name, tickets, ended);

        let settle_ms = SETTLE_MS.min(settings.stop_timeout_ms / 2);
        let patience = Duration::from_millis(settings.stop_timeout_ms - settle_ms);
        let monitor = monitor(&settings.name, settings.concurrency, &inbox, ends.clone(), look)
            .with_terminator(async move { tokio::time::sleep(patience).await });
        let stop = async {
            shutdown.await;
            held.stop();
            Ok(())
        };
        let last_claim = NoMoreClaims(Arc::clone(&held));
        let ended_early = tokio::select! {
            // Of these futures the first is dropped first: when this one is dropped half way, the claimer stops before the
            // looks do, and takes no more of what they leave.
            () = last_claim.keep() => None,
            result = Box::pin(monitor.run_with_signal(stop)) => match result {
                Ok(()) if held.is_stopping() => None,
                _ => Some("worker"),
            },
            task = supply.breaks(&held) => Some(task),
        };
        if let Some(task) = ended_early {
            return Err(QueueError::Ended { task });
        }
        let last_words = supply.hand_back(&inbox, ends);
        if tokio::time::timeout(Duration::from_millis(settle_ms), last_words)
            .await
            .is_err()
        {
            tracing::warn!("stopped before all jobs were handed back; their leases will run out");
        }
        Ok(())
    }
}

/// The keeper's tasks; all are aborted when it goes.
struct Supply {
    claiming: JoinSet<()>,
    renewing: JoinSet<()>,
    settling: JoinSet<()>,
}

impl Supply {
    fn start(
        queue: &Queue,
        held: &Arc<Held>,
        by: &str,
        tickets: mpsc::Sender<Ticket>,
        ended: mpsc::Receiver<Ended>,
    ) -> Self {
        let store = || Arc::clone(&queue.store);
        let held = || Arc::clone(held);
        let settings = &queue.settings;
        let mut supply = Self {
            claiming: JoinSet::new(),
            renewing: JoinSet::new(),
            settling: JoinSet::new(),
        };
        let claimer = Claimer {
            store: store(),
            held: held(),
            tickets,
            by: by.to_owned(),
            idle_poll_ms: settings.idle_poll_ms,
        };
        supply.claiming.spawn(claimer.run());
        supply.renewing.spawn(renew(store(), held(), settings.lease_ms));
        supply
            .settling
            .spawn(settle(store(), held(), ended, settings.backoff()));
        supply
    }

    /// Ready when a task ended that should not have, with its name.
    async fn breaks(&mut self, held: &Held) -> &'static str {
        tokio::select! {
            Some(_) = self.renewing.join_next() => "renewer",
            Some(_) = self.settling.join_next() => "settler",
            // The claimer ends by itself at a stop.
            Some(()) = unless_stopping(&mut self.claiming, held) => "claimer",
        }
    }

    /// After the worker has ended: give back what it did not begin, and wait until the store knows everything.
    async fn hand_back(&mut self, inbox: &Inbox, ends: mpsc::Sender<Ended>) {
        // A claim may still be under way: its jobs go back as well.
        while self.claiming.join_next().await.is_some() {}
        for ticket in inbox.unstarted() {
            let unstarted = Ended {
                attempt: ticket.seen.attempt,
                job: ticket.job,
                end: End::Unstarted,
            };
            // The settler outlives this loop; if it does not take the job, the lease runs out.
            let _sent = ends.send(unstarted).await;
        }
        // The settler ends when the last look is gone and everything is told.
        drop(ends);
        while self.settling.join_next().await.is_some() {}
    }
}

/// Ready if the claimer ended although nobody stopped it.
async fn unless_stopping(claiming: &mut JoinSet<()>, held: &Held) -> Option<()> {
    let _ended = claiming.join_next().await;
    if held.is_stopping() {
        return std::future::pending().await;
    }
    Some(())
}

/// Stops the claimer when it goes.
struct NoMoreClaims(Arc<Held>);

impl NoMoreClaims {
    async fn keep(self) {
        std::future::pending::<()>().await;
    }
}

impl Drop for NoMoreClaims {
    fn drop(&mut self) {
        self.0.stop();
    }
}
