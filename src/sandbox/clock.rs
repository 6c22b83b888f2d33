//! Time, handed in: the sandbox never asks the machine directly, so a test decides what "now" is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time in milliseconds since 1970-01-01 UTC.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> i64;
}

/// The machine's own clock, or one that goes behind it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock {
    behind_ms: i64,
}

impl SystemClock {
    /// A clock that is `ms` milliseconds behind the machine's own, so that what is made now is that old elsewhere.
    #[must_use]
    pub fn behind_ms(ms: i64) -> Self {
        Self { behind_ms: ms }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        now.saturating_sub(self.behind_ms)
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock standing at `now_ms` milliseconds since the epoch.
    #[must_use]
    pub fn at(now_ms: i64) -> Self {
        Self(AtomicI64::new(now_ms))
    }

    /// Moves the clock forward by `ms` milliseconds.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// `2026-11-22T10:15:30.000` of a moment in UTC, without an offset: each system writes its own.
pub(crate) fn civil_ms(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%dT%H:%M:%S%.3f")
        .to_string()
}

/// Reads a moment with an offset (`Z`, `+01:00` or `+0100`), down to whole milliseconds.
pub(crate) fn parse_ms(text: &str) -> Option<i64> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.as_millisecond());
    }
    // Salesforce writes offsets without a colon.
    let (head, offset) = text.split_at_checked(text.len().checked_sub(5)?)?;
    let (hours, minutes) = offset.split_at_checked(3)?;
    if !head.contains('T') || !offset.starts_with(['+', '-']) {
        return None;
    }
    format!("{head}{hours}:{minutes}")
        .parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond)
}

/// Reads a calendar day: `2026-11-22` and nothing longer.
pub(crate) fn parse_day(text: &str) -> Option<jiff::civil::Date> {
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_every_offset_the_two_systems_write() {
        for text in [
            "2026-11-22T10:15:30.250Z",
            "2026-11-22T10:15:30.250+0000",
            "2026-11-22T12:15:30.250+02:00",
        ] {
            let at = parse_ms(text).expect(text);
            assert_eq!(civil_ms(at), "2026-11-22T10:15:30.250", "{text}");
        }
        assert_eq!(parse_ms("2026-11-22"), None);
        assert_eq!(parse_day("2026-11-22T00:00:00Z"), None);
        assert_eq!(parse_day("2026-02-30"), None);
    }
}
