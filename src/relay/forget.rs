//! [`Forgetter`]: what was kept for long enough is removed.
//!
//! In bites, oldest first, one node at a time, and with rests between them that are longer than the bites: what comes in
//! and what goes out never waits for more than one bite. What is due, or held, is not removed, however old it is.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use ledger::{EventPlace, Ledger, LedgerError, OldEvents};

use crate::handed::{Clock, later};

/// Events that are looked at in a bite.
pub const FORGET_BITE: usize = 200;
/// How much longer the rest after a bite is than the bite, and how long it is at least.
const REST_FACTOR: u32 = 4;
const REST_MS_MIN: u64 = 20;
/// The lease under which it is done, and for how long it is taken; each bite renews it.
const LEASE: &str = "forget";
const LEASE_MS: u64 = 60_000;

/// How long events are kept, in milliseconds from when they were received; for ever where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Those that arrived everywhere, or had to go nowhere.
    pub arrived_ms: Option<u64>,
    /// Those with a delivery that was given up.
    pub dead_ms: Option<u64>,
}

/// Events are kept for a day at least: until then a message, or an `Idempotency-Key`, that comes again is recognised.
pub const RETENTION_MS_MIN: u64 = 86_400_000;

impl Default for RetentionSettings {
    /// Thirty days, and ninety for what was given up.
    fn default() -> RetentionSettings {
        RetentionSettings {
            arrived_ms: Some(30 * 86_400_000),
            dead_ms: Some(90 * 86_400_000),
        }
    }
}

/// Removes what was kept for long enough.
pub struct Forgetter {
    ledger: Arc<dyn Ledger>,
    settings: RetentionSettings,
    clock: Clock,
    holder: String,
}

impl fmt::Debug for Forgetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forgetter")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Forgetter {
    /// A forgetter; `holder` names this process.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        settings: RetentionSettings,
        clock: Clock,
        holder: impl Into<String>,
    ) -> Forgetter {
        Forgetter {
            ledger,
            settings,
            clock,
            holder: holder.into(),
        }
    }

    /// Goes once through all that is old enough; answers how many events it removed. Ends early when `stop` is ready,
    /// and at once when another node is at it.
    pub async fn pass(&self, stop: impl Future<Output = ()>) -> Result<u64, LedgerError> {
        let now = (self.clock)();
        let before = |ms: Option<u64>| {
            let span = SignedDuration::from_millis(i64::try_from(ms?).ok()?);
            now.checked_sub(span).ok()
        };
        let old = OldEvents {
            arrived_before: before(self.settings.arrived_ms),
            dead_before: before(self.settings.dead_ms),
        };
        let until = later(now, LEASE_MS);
        let Some(lease) = self.ledger.lease(LEASE, &self.holder, now, until).await? else {
            return Ok(0);
        };
        let mut stop = pin!(stop);
        let (mut place, mut removed) = (EventPlace::default(), 0);
        let passed = loop {
            let began = Instant::now();
            let bite = match self.ledger.forget_events(&lease, &old, place, FORGET_BITE).await {
                Ok(bite) => bite,
                Err(error) => break Err(error),
            };
            removed += bite.removed;
            let Some(next) = bite.next else {
                break Ok(removed);
            };
            place = next;
            let rest = (began.elapsed() * REST_FACTOR).max(Duration::from_millis(REST_MS_MIN));
            tokio::select! {
                () = &mut stop => break Ok(removed),
                () = tokio::time::sleep(rest) => {}
            }
            match self.ledger.renew(&lease, later((self.clock)(), LEASE_MS)).await {
                Ok(true) => {}
                Ok(false) => break Ok(removed),
                Err(error) => break Err(error),
            }
        };
        self.ledger.release(&lease).await?;
        if removed > 0 {
            tracing::info!(removed, "old events were removed");
        }
        passed
    }
}
