//! The tasks that keep a set of workers supplied: one claims, one renews, one settles.
//!
//! They are independent of the apalis worker and of each other, so a busy worker cannot starve a lease,
//! a slow claim cannot delay an acknowledgement, and an outage of the store ends none of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::backoff::Backoff;
use crate::held::{Held, Ticket};
use crate::job::{Job, Nudge};
use crate::look::Verdict;
use crate::queue::QueueError;
use crate::store::{Ask, BATCH_MAX, CLAIM_MAX, Claimed, Outcome, Settle, Store, Wakes, due_ms};

/// The waits between tries while the store does not answer, in milliseconds: doubled from the first to the last.
const OUTAGE_FIRST_MS: u64 = 50;
const OUTAGE_LAST_MS: u64 = 2_000;

/// How a job left its worker.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) job: Job,
    pub(crate) attempt: u32,
    pub(crate) end: End,
}

/// The ways to leave.
#[derive(Debug)]
pub(crate) enum End {
    /// The look came to a verdict.
    Verdict(Verdict),
    /// The look was cut short at the stop timeout.
    CutShort,
    /// The look was never begun.
    Unstarted,
}

impl Ended {
    fn outcome(self, backoff: Backoff) -> Outcome {
        match self.end {
            End::Verdict(Verdict::Done) => Outcome::Done,
            End::Verdict(Verdict::Again(at)) => Outcome::Again { due_ms: due_ms(at) },
            End::Verdict(Verdict::Retry(why)) => Outcome::Retry {
                wait_ms: backoff.wait_ms(&self.job, self.attempt),
                why,
            },
            End::Verdict(Verdict::Dead(why)) => Outcome::Dead { why },
            End::CutShort => Outcome::Retry {
                wait_ms: 0,
                why: "cut short by the stop of its worker".to_owned(),
            },
            End::Unstarted => Outcome::Back,
        }
    }
}

/// Claims jobs while there is room, and passes them to the worker.
pub(crate) struct Claimer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) held: Arc<Held>,
    pub(crate) tickets: mpsc::Sender<Ticket>,
    pub(crate) by: String,
    pub(crate) idle_poll_ms: u64,
}

impl Claimer {
    /// Run until the workers stop. A claim that is under way is never abandoned: its jobs would wait out their leases.
    pub(crate) async fn run(self) {
        let mut wakes = self.store.wakes();
        let mut outage = Outage::default();
        while !self.held.is_stopping() {
            let room = self.held.room();
            if room.free == 0 {
                self.wait(&mut wakes, None, true).await;
                continue;
            }
            // From here on, whatever changes ends the wait below.
            wakes.signal.mark_unchanged();
            let ask = Ask {
                max: room.free.min(CLAIM_MAX),
                solo: room.solo,
                by: self.by.clone(),
            };
            match self.store.claim(&ask).await {
                Ok(claimed) => {
                    outage.over();
                    let idle_ms = claimed.next_due_ms.unwrap_or(u64::MAX);
                    let found = !claimed.claims.is_empty();
                    self.pass_on(claimed).await;
                    if !found && idle_ms > 0 {
                        let idle_ms = idle_ms.min(self.idle_poll_ms);
                        // With a suspect in hand, others may be waiting for it to end.
                        self.wait(&mut wakes, Some(idle_ms), !room.solo).await;
                    }
                }
                Err(error) => {
                    let wait_ms = outage.report("claim", &error);
                    self.wait_only(wait_ms).await;
                }
            }
        }
    }

    async fn pass_on(&self, claimed: Claimed) {
        for claim in claimed.claims {
            let job = claim.lease.job.clone();
            match self.held.take(claim) {
                // The channel has room for everything that may be held, so this does not wait.
                Some(ticket) => {
                    if self.tickets.send(ticket).await.is_err() {
                        return;
                    }
                }
                // The run we still have may have looked before whatever this claim is about.
                None => {
                    if let Err(error) = self.store.nudge(&[Nudge::now(job)]).await {
                        tracing::debug!(%error, "a sweep has to find this again");
                    }
                }
            }
        }
    }

    async fn wait(&self, wakes: &mut Wakes, idle_ms: Option<u64>, freed: bool) {
        let idle = async {
            match idle_ms {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                None => std::future::pending().await,
            }
        };
        let woken = async {
            // A full worker has no use for news; and without a feeder there is none.
            if idle_ms.is_none() || wakes.signal.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = idle => {}
            () = woken => {}
            () = self.held.freed.notified(), if freed => {}
            () = self.held.until_stopping() => {}
        }
    }

    async fn wait_only(&self, ms: u64) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(ms)) => {}
            () = self.held.until_stopping() => {}
        }
    }
}

/// Renew the leases of all held jobs, at a third of the lease, for ever.
pub(crate) async fn renew(store: Arc<dyn Store>, held: Arc<Held>, lease_ms: u64) {
    let mut beat = tokio::time::interval(Duration::from_millis((lease_ms / 3).max(1)));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut outage = Outage::default();
    loop {
        beat.tick().await;
        for leases in held.leases().chunks(BATCH_MAX) {
            match store.renew(leases).await {
                Ok(kept) => {
                    outage.over();
                    for (lease, _) in leases.iter().zip(kept).filter(|(_, kept)| !kept) {
                        held.lost(lease);
                    }
                }
                Err(error) => {
                    outage.report("renew", &error);
                }
            }
        }
    }
}

/// Tell the store how jobs ended, in batches, until nothing is left that could end.
pub(crate) async fn settle(
    store: Arc<dyn Store>,
    held: Arc<Held>,
    mut ends: mpsc::Receiver<Ended>,
    backoff: Backoff,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut outage = Outage::default();
    while ends.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let settles: Vec<Settle> = batch
            .drain(..)
            .filter_map(|ended| {
                Some(Settle {
                    lease: held.end(&ended.job)?,
                    outcome: ended.outcome(backoff),
                })
            })
            .collect();
        let ours = loop {
            match store.settle(&settles).await {
                Ok(ours) => break ours,
                Err(error) => {
                    let wait_ms = outage.report("settle", &error);
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
            }
        };
        outage.over();
        for (settle, _) in settles.iter().zip(ours).filter(|(_, ours)| !ours) {
            // Somebody else has it, or the store was emptied: either way the ledger knows what is owed.
            tracing::info!(job = %settle.lease.job, "an outcome was refused: its lease was no longer ours");
        }
        held.let_go(settles.iter().map(|settle| &settle.lease));
    }
}

/// One stretch during which the store does not answer.
#[derive(Default)]
struct Outage {
    wait_ms: Option<u64>,
}

impl Outage {
    /// Log it, and say how long to wait before the next try.
    fn report(&mut self, doing: &'static str, error: &QueueError) -> u64 {
        let source = std::error::Error::source(error).map(ToString::to_string);
        let source = source.unwrap_or_default();
        let wait_ms = match self.wait_ms {
            None => {
                tracing::warn!(doing, %error, source, "the queue does not answer; trying again");
                OUTAGE_FIRST_MS
            }
            Some(last_ms) => {
                tracing::debug!(doing, %error, source, "the queue still does not answer");
                (last_ms * 2).min(OUTAGE_LAST_MS)
            }
        };
        self.wait_ms = Some(wait_ms);
        wait_ms
    }

    fn over(&mut self) {
        if self.wait_ms.take().is_some() {
            tracing::info!("the queue answers again");
        }
    }
}
