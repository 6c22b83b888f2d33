//! What a queue and its workers may be told, with the limits and their units.

use std::sync::Arc;

use jiff::Timestamp;

use crate::backoff::Backoff;
use crate::queue::QueueError;

/// The shortest lease a queue accepts, in milliseconds: below it, a busy machine loses leases that it still works under.
pub const LEASE_MIN_MS: u64 = 200;

/// The most looks one process may run at a time.
pub const CONCURRENCY_MAX: usize = 1_024;

/// The most jobs one process may hold that it has not begun.
pub const PREFETCH_MAX: usize = 1_024;

/// What time it is. Handed in, so that the memory backend is tested without sleeping.
///
/// Redis has its own: there, every comparison is made by the Redis server's clock, and a node's clock only tells how long
/// it is until a moment; so nodes need not agree.
pub trait Clock: Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// What all nodes of one queue agree on.
#[derive(Clone)]
pub struct Settings {
    /// How long a node may go silent before its jobs are given to another, in milliseconds.
    /// Leases are renewed at a third of it.
    pub lease_ms: u64,
    /// How many looks at a job may fail, or lose their worker, in a row before it is dead.
    pub attempts_max: u32,
    /// The wait after the first failed attempt, in milliseconds; doubled for each further one.
    pub backoff_base_ms: u64,
    /// The longest wait between attempts, in milliseconds.
    pub backoff_max_ms: u64,
    /// The source of the jitter in those waits.
    pub seed: u64,
    /// How often an idle node asks without being woken, in milliseconds.
    /// It bounds the delay after a lost wake-up, and how late an orphan is found after its lease.
    pub idle_poll_ms: u64,
    /// This node's clock.
    pub clock: Arc<dyn Clock>,
    /// What every Redis key begins with, so that several hubs share one Redis.
    pub redis_prefix: String,
    /// How long a connection to Redis may take to open, in milliseconds.
    pub redis_connect_timeout_ms: u64,
    /// How long Redis may take to answer, in milliseconds.
    pub redis_response_timeout_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_ms: 30_000,
            attempts_max: 12,
            backoff_base_ms: 1_000,
            backoff_max_ms: 300_000,
            seed: 0,
            idle_poll_ms: 2_000,
            clock: Arc::new(SystemClock),
            redis_prefix: "interconnect".to_owned(),
            redis_connect_timeout_ms: 2_000,
            redis_response_timeout_ms: 3_000,
        }
    }
}

impl Settings {
    /// Whether a queue can work with these settings.
    ///
    /// # Errors
    /// [`QueueError::Setting`] names the first setting that is out of its bounds, with the bounds.
    pub fn check(&self) -> Result<(), QueueError> {
        let at_least = |name, value: u64, least: u64| {
            (value >= least).then_some(()).ok_or_else(|| QueueError::Setting {
                name,
                value: value.to_string(),
                want: format!("at least {least}"),
            })
        };
        at_least("lease_ms", self.lease_ms, LEASE_MIN_MS)?;
        at_least("attempts_max", self.attempts_max.into(), 1)?;
        at_least("backoff_base_ms", self.backoff_base_ms, 1)?;
        at_least("backoff_max_ms", self.backoff_max_ms, self.backoff_base_ms)?;
        at_least("idle_poll_ms", self.idle_poll_ms, 10)?;
        at_least("redis_connect_timeout_ms", self.redis_connect_timeout_ms, 1)?;
        at_least("redis_response_timeout_ms", self.redis_response_timeout_ms, 1)?;
        if self.redis_prefix.is_empty() {
            return Err(QueueError::Setting {
                name: "redis_prefix",
                value: String::new(),
                want: "a word that no other user of this Redis begins its keys with".to_owned(),
            });
        }
        Ok(())
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff {
            base_ms: self.backoff_base_ms,
            max_ms: self.backoff_max_ms,
            seed: self.seed,
        }
    }
}

/// What one process decides for itself.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Who is shown as the holder of a running job. Names need not differ between nodes or between starts:
    /// nothing is decided by them.
    pub name: String,
    /// How many looks run at a time in this process.
    pub concurrency: usize,
    /// How many jobs beyond those are claimed ahead.
    /// Zero keeps a job from waiting behind a long look here while another node is idle.
    pub prefetch: usize,
    /// How long a stop may take, in milliseconds; looks that are still running then are cut short.
    pub stop_timeout_ms: u64,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            name: "interconnect".to_owned(),
            concurrency: 16,
            prefetch: 0,
            stop_timeout_ms: 10_000,
        }
    }
}

impl WorkerSettings {
    /// Whether workers can run with these settings.
    ///
    /// # Errors
    /// [`QueueError::Setting`] names the first setting that is out of its bounds, with the bounds.
    pub fn check(&self) -> Result<(), QueueError> {
        let within = |name, value: usize, least: usize, most: usize| {
            (least..=most)
                .contains(&value)
                .then_some(())
                .ok_or_else(|| QueueError::Setting {
                    name,
                    value: value.to_string(),
                    want: format!("{least} to {most}"),
                })
        };
        within("concurrency", self.concurrency, 1, CONCURRENCY_MAX)?;
        within("prefetch", self.prefetch, 0, PREFETCH_MAX)
    }
}
