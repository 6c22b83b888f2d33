//! What the hub does for each job: one look a kind, each asking the ledger what there is to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use connector::Class;
use jiff::{SignedDuration, Timestamp};
use ledger::{Inlet, Ledger};
use queue::{Job, Look, Nudge, Priority, Queue, Seen, Verdict};
use relay::Dispatch;
use sync::{Depth, Engine, Report, SyncError};

use crate::inlets;

/// How long to wait for another worker that is at the same key.
const TAKEN_WAIT_MS: u64 = 250;
/// How long to wait after something that passes by itself.
const SOON_MS: u64 = 5_000;
/// How long a connection rests that a person must look after.
const REST_MS: u64 = 300_000;
/// How long until it is looked whether a stopped connection or object may go on; that costs one read of the ledger.
const STOPPED_MS: u64 = 10_000;

/// Looks after all jobs.
pub(crate) struct Looker {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) queue: Queue,
    pub(crate) engine: Arc<Engine>,
    pub(crate) dispatch: Arc<Dispatch>,
    /// How often each connection's object is pulled, in milliseconds.
    pub(crate) every_ms: BTreeMap<(String, String), u64>,
    pub(crate) sweep_every_ms: u64,
    /// How often each object is reconciled, in milliseconds; those that are not named are not.
    pub(crate) reconcile_every_ms: BTreeMap<(String, String), u64>,
    /// When each object is reconciled next, as far as this process knows.
    pub(crate) next_reconcile: Mutex<BTreeMap<(String, String), Timestamp>>,
    /// When each object is pulled next, so that a sweep does not pull before its time.
    pub(crate) next_pull: Mutex<BTreeMap<(String, String), Timestamp>>,
}

#[async_trait]
impl Look for Looker {
    async fn look(&self, job: Job, _: Seen) -> Verdict {
        match job {
            Job::Pull { connection, object } => self.pull(&connection, &object).await,
            Job::Push { connection, object } => self.push(&connection, &object).await,
            Job::Reconcile { connection, object } => self.reconcile(connection, object).await,
            Job::Deliver { endpoint } => match Inlet::parse(&endpoint) {
                Some(inlet) => self.pull(&inlet.connection, &inlet.object).await,
                None => {
                    // A worker is not held for as long as an endpoint takes.
                    self.dispatch.look(&endpoint);
                    Verdict::Done
                }
            },
            Job::Sweep => self.sweep().await,
        }
    }
}

impl Looker {
    async fn pull(&self, connection: &str, object: &str) -> Verdict {
        let key = (connection.to_owned(), object.to_owned());
        let every = self.every_ms.get(&key).copied().unwrap_or(30_000);
        let due = self.next_pulls().get(&key).copied();
        let early = due.filter(|due| *due > Timestamp::now());
        // Before its time a pull is asked for by hints alone.
        let depth = if early.is_some() {
            Depth::Named
        } else {
            Depth::Changed
        };
        match self.engine.pull(connection, object, depth).await {
            Ok(report) => {
                self.nudge_for(&report).await;
                if report.halted.is_some() {
                    return Verdict::Again(after_ms(STOPPED_MS));
                }
                let regular = early.unwrap_or_else(|| after_ms(every));
                let next = report.again.map_or(regular, |again| again.min(regular));
                self.next_pulls().insert(key, next);
                Verdict::Again(next)
            }
            Err(error) => verdict(&error, connection, object),
        }
    }

    fn next_pulls(&self) -> MutexGuard<'_, BTreeMap<(String, String), Timestamp>> {
        self.next_pull.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn push(&self, connection: &str, object: &str) -> Verdict {
        match self.engine.push(connection, object).await {
            Ok(report) => {
                self.nudge_for(&report).await;
                if report.halted.is_some() {
                    return Verdict::Again(after_ms(STOPPED_MS));
                }
                report.again.map_or(Verdict::Done, Verdict::Again)
            }
            Err(error) => verdict(&error, connection, object),
        }
    }

    /// Reconciles an object when it is due, whichever node did so last.
    async fn reconcile(&self, connection: String, object: String) -> Verdict {
        let key = (connection, object);
        let Some(every_ms) = self.reconcile_every_ms.get(&key) else {
            return Verdict::Done;
        };
        let every = Duration::from_millis(*every_ms);
        let reconciled = Box::pin(self.engine.reconcile_when_due(&key.0, &key.1, every));
        match reconciled.await {
            Ok((report, next)) => {
                self.nudge_for(&report).await;
                if report.halted.is_some() {
                    return Verdict::Again(after_ms(STOPPED_MS));
                }
                self.next_reconciliations().insert(key, next);
                Verdict::Again(next)
            }
            Err(error) => verdict(&error, &key.0, &key.1),
        }
    }

    fn next_reconciliations(&self) -> MutexGuard<'_, BTreeMap<(String, String), Timestamp>> {
        self.next_reconcile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_pulled(&self, inlet: &Inlet) -> bool {
        let key = (inlet.connection.clone(), inlet.object.clone());
        self.every_ms.contains_key(&key)
    }

    /// Nudges a job for everything that the ledger says is owed, and for every object that is due to be read.
    async fn sweep(&self) -> Verdict {
        let owed = match self.ledger.owed().await {
            Ok(owed) => owed,
            Err(error) => return ledger_failed(&error),
        };
        let mut nudges = Vec::new();
        for (connection, object, at) in owed.pushes {
            nudges.push(Nudge {
                job: Job::Push { connection, object },
                priority: Priority::Live,
                at: Some(at),
            });
        }
        for (endpoint, at) in owed.endpoints {
            let job = match Inlet::parse(&endpoint) {
                None if self.dispatch.is_only_pulled(&endpoint) => continue,
                None => Job::Deliver { endpoint },
                Some(inlet) if self.is_pulled(&inlet) => inlets::pull(inlet),
                // It waits for a configuration that knows it.
                Some(_) => continue,
            };
            nudges.push(Nudge {
                job,
                priority: Priority::Live,
                at: Some(at),
            });
        }
        let pulls = self.next_pulls().clone();
        for (connection, object) in self.every_ms.keys() {
            let at = pulls.get(&(connection.clone(), object.clone())).copied();
            let job = Job::Pull {
                connection: connection.clone(),
                object: object.clone(),
            };
            nudges.push(Nudge {
                job,
                priority: Priority::Live,
                at,
            });
        }
        let reconciliations = self.next_reconciliations().clone();
        for key in self.reconcile_every_ms.keys() {
            let (connection, object) = key.clone();
            nudges.push(Nudge {
                job: Job::Reconcile { connection, object },
                priority: Priority::Backfill,
                at: reconciliations.get(key).copied(),
            });
        }
        if let Err(error) = self.queue.nudge(&nudges).await {
            return Verdict::Retry(error.to_string());
        }
        Verdict::Again(after_ms(self.sweep_every_ms))
    }

    async fn nudge_for(&self, report: &Report) {
        let pushes = report.owed.iter().map(|(connection, object)| {
            Nudge::now(Job::Push {
                connection: connection.clone(),
                object: object.clone(),
            })
        });
        for endpoint in &report.endpoints {
            self.dispatch.nudge(endpoint);
        }
        let nudges: Vec<Nudge> = pushes.collect();
        if !nudges.is_empty()
            && let Err(error) = self.queue.nudge(&nudges).await
        {
            // The ledger knows what is owed; the next sweep nudges again.
            tracing::warn!(%error, "the queue did not take a nudge");
        }
    }

    /// The first nudges of a process: a sweep, which nudges all the rest; and objects that are only written, for a mapping
    /// may have gained a line since, which nothing but a push would notice.
    pub(crate) async fn start(&self) -> Result<(), queue::QueueError> {
        // A sweep that died in an earlier life must not stay dead: everything else hangs on it.
        self.queue.release_dead(&Job::Sweep).await?;
        let plan = self.engine.plan();
        let written = plan.objects().into_iter().filter(|(connection, object)| {
            let mut pulls = plan.of(connection, object).filter(|sync| sync.pull);
            pulls.next().is_none()
        });
        let pushes = written.map(|(connection, object)| {
            Nudge::now(Job::Push {
                connection: connection.to_owned(),
                object: object.to_owned(),
            })
        });
        let nudges: Vec<Nudge> = std::iter::once(Nudge::now(Job::Sweep)).chain(pushes).collect();
        self.queue.nudge(&nudges).await
    }
}

fn after_ms(wait_ms: u64) -> Timestamp {
    let wait = SignedDuration::from_millis(i64::try_from(wait_ms).unwrap_or(i64::MAX));
    Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// The ledger is looked at again soon, for as long as it takes: there is no work without it.
fn ledger_failed(error: &ledger::LedgerError) -> Verdict {
    tracing::warn!(%error, "the ledger failed");
    Verdict::Again(after_ms(SOON_MS))
}

/// What becomes of the job when a pull or a push stopped. None of these is the job's own fault, so none counts towards
/// its death: a system that is away for a day is looked at for a day.
fn verdict(error: &SyncError, connection: &str, object: &str) -> Verdict {
    let wait_ms = match error {
        SyncError::Taken => return Verdict::Again(after_ms(TAKEN_WAIT_MS)),
        SyncError::Unknown { .. } => return Verdict::Dead(error.to_string()),
        SyncError::Ledger(error) => return ledger_failed(error),
        SyncError::Stopped { .. } | SyncError::Halted { .. } => return Verdict::Again(after_ms(STOPPED_MS)),
        SyncError::System { failure, .. } => match failure.class {
            Class::RateLimited { until } | Class::QuotaExhausted { until } => return Verdict::Again(until),
            Class::AuthRevoked | Class::Permission | Class::Settings | Class::Protocol => REST_MS,
            _ => SOON_MS,
        },
    };
    tracing::warn!(connection, object, %error, "a system did not answer as needed");
    Verdict::Again(after_ms(wait_ms))
}
