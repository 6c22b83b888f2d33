//! What is handed in, so that schedules and ids are tested without sleeping and without luck.

use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Ten random bytes: the random part of an id, and with the last four of them the jitter of a wait. Those are unpredictable
/// outside of tests; the others may be a count, so that ids grow ([`model::counted`]).
pub type Random = Arc<dyn Fn() -> [u8; 10] + Send + Sync>;

/// Asks for an endpoint to be looked at soon. May be called often; must not block.
pub type Nudge = Arc<dyn Fn(&str) + Send + Sync>;

/// A moment some milliseconds later; the last moment there is when that is beyond it.
pub(crate) fn later(at: Timestamp, ms: u64) -> Timestamp {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    at.checked_add(jiff::SignedDuration::from_millis(ms))
        .unwrap_or(Timestamp::MAX)
}
