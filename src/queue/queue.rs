//! The queue as the rest of the hub sees it: nudge, count, list, release.

use std::sync::Arc;

use jiff::Timestamp;

use crate::job::{JOB_KEY_MAX_BYTES, Job, Nudge, Priority};
use crate::memory_store::MemoryStore;
use crate::redis_store::RedisStore;
use crate::settings::Settings;
use crate::store::{BATCH_MAX, Store};

/// The most jobs one listing returns.
pub const LIST_MAX: usize = 1_000;

/// A queue of jobs; clones share it.
#[derive(Clone)]
pub struct Queue {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Arc<Settings>,
}

impl Queue {
    /// A queue inside this process. It is empty after a restart, which the sweep of the ledger makes good.
    ///
    /// # Errors
    /// [`QueueError::Setting`] if a setting is out of its bounds.
    pub fn memory(settings: Settings) -> Result<Self, QueueError> {
        settings.check()?;
        let settings = Arc::new(settings);
        Ok(Self {
            store: Arc::new(MemoryStore::new(Arc::clone(&settings))),
            settings,
        })
    }

    /// A queue in Redis 6 or later, shared by every node that uses the same URL and prefix.
    ///
    /// The URL is `redis://[[user]:password@]host[:port][/database]` or `unix://<path>`.
    ///
    /// # Errors
    /// [`QueueError::Url`], [`QueueError::Setting`], or [`QueueError::Redis`] if the server cannot be reached now;
    /// later losses of the connection are repaired by themselves.
    pub async fn redis(url: &str, settings: Settings) -> Result<Self, QueueError> {
        settings.check()?;
        let settings = Arc::new(settings);
        let store = RedisStore::open(url, Arc::clone(&settings)).await?;
        Ok(Self {
            store: Arc::new(store),
            settings,
        })
    }

    /// Ask for these jobs to be looked at.
    ///
    /// Unique by key: a job that is already queued keeps the earlier time and the higher priority.
    /// A job that is running is remembered and runs once more afterwards: a nudge during a run is never lost and never
    /// makes two runs at the same time.
    /// A job that is backing off after a failure keeps its wait, or a storm of nudges would burn its attempts.
    /// A dead job stays dead until [`Queue::release_dead`], or whatever kills it would come back with every sweep.
    ///
    /// # Errors
    /// [`QueueError::Key`] before anything is queued, or [`QueueError::Redis`], when the jobs before the failure may be
    /// queued. Nothing is lost by either: the ledger still holds what is owed.
    pub async fn nudge(&self, nudges: &[Nudge]) -> Result<(), QueueError> {
        for nudge in nudges {
            let key_bytes = nudge.job.key().len();
            if key_bytes > JOB_KEY_MAX_BYTES {
                return Err(QueueError::Key {
                    key: nudge.job.key().chars().take(80).collect(),
                    key_bytes,
                });
            }
        }
        for batch in nudges.chunks(BATCH_MAX) {
            self.store.nudge(batch).await?;
        }
        Ok(())
    }

    /// How many jobs are in each state.
    ///
    /// # Errors
    /// [`QueueError::Redis`] if the server does not answer.
    pub async fn counts(&self) -> Result<Counts, QueueError> {
        self.store.counts().await
    }

    /// The jobs of one state in their order, at most `limit` and at most [`LIST_MAX`].
    ///
    /// # Errors
    /// [`QueueError::Redis`] if the server does not answer.
    pub async fn list(&self, state: State, limit: usize) -> Result<Vec<Listed>, QueueError> {
        self.store.list(state, limit.min(LIST_MAX)).await
    }

    /// Make a dead job ready again, with fresh attempts. `false` if it is not dead.
    ///
    /// # Errors
    /// [`QueueError::Redis`] if the server does not answer.
    pub async fn release_dead(&self, job: &Job) -> Result<bool, QueueError> {
        self.store.release_dead(job).await
    }
}

/// How many jobs are in each state at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Due and waiting for a worker.
    pub ready: u64,
    /// Not due yet, or backing off.
    pub delayed: u64,
    /// Held by a worker.
    pub running: u64,
    /// Given up until released.
    pub dead: u64,
}

/// The state of a queued job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Due and waiting for a worker.
    Ready,
    /// Not due yet, or backing off.
    Delayed,
    /// Held by a worker.
    Running,
    /// Given up until released.
    Dead,
}

/// One job as an admin sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The job.
    pub job: Job,
    /// How urgent it is.
    pub priority: Priority,
    /// Since when it is due (ready), when it will be (delayed), until when its lease lasts (running), when it died (dead).
    pub at: Timestamp,
    /// How many attempts were begun since it last went well.
    pub attempts: u32,
    /// The name of the worker that holds it, while it runs.
    pub held_by: Option<String>,
    /// Why the last attempt failed, if it did; cut to 300 bytes.
    pub reason: Option<String>,
}

/// Why the queue could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The URL is not one of a Redis server. It is not repeated: it may hold a password.
    #[error(
        "the queue's URL is not one of a Redis server: expected `redis://[[user]:password@]host[:port][/database]`"
    )]
    Url {
        /// What the parser said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Redis did not answer, or refused.
    #[error("the queue's Redis at {address} failed to {doing}")]
    Redis {
        /// Host and port, or the socket's path; never credentials.
        address: String,
        /// What was asked of it.
        doing: &'static str,
        /// What the client said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A job's key is longer than [`JOB_KEY_MAX_BYTES`].
    #[error(
        "the key of job `{key}…` has {key_bytes} bytes: at most {JOB_KEY_MAX_BYTES} are allowed, so shorten the connection's, object's or endpoint's name"
    )]
    Key {
        /// How the key begins.
        key: String,
        /// Its length.
        key_bytes: usize,
    },
    /// A setting is out of its bounds.
    #[error("queue setting `{name}` is `{value}`: it must be {want}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        want: String,
    },
    /// The tasks that serve the workers ended by themselves, which is a defect of this crate.
    #[error("the workers' {task} ended unexpectedly: restart the process and report this")]
    Ended {
        /// Which of them.
        task: &'static str,
    },
}
