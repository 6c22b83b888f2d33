//! [`Schedule`]: what becomes of a delivery after a try, as a function of values.
//!
//! A try has a number, and an [`Outcome`]; [`Schedule::judge`] answers with a [`Verdict`]: what is next for the
//! delivery, what the endpoint's pace should do, and whether the endpoint is gone.
//! The rules are those of Standard Webhooks 1.0.0: only 2xx is success, a redirect is a failure, 410 stops the
//! endpoint, 429, 502 and 504 ask for less, `Retry-After` is kept to.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use ledger::Next;

use crate::breaker::Sign;
use crate::handed::later;

/// Waits between tries when nothing else is set: the example of Standard Webhooks 1.0.0, ten tries in 75 hours.
pub const RETRY_MS: [u64; 9] = [
    5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 50_400_000, 72_000_000, 86_400_000,
];

/// Waits that a schedule may have at most.
pub const RETRIES_MAX: usize = 50;

/// A wait may have at most: a week.
pub const RETRY_MS_MAX: u64 = 604_800_000;

/// How long an endpoint may ask us to wait by `Retry-After`; what is longer counts as this. One hour.
pub const RETRY_AFTER_MS_MAX: u64 = 3_600_000;

/// Waits vary by this much both ways, so that what failed together does not come back together.
const JITTER_PERCENT: u64 = 20;

/// Waits between the tries of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    retry_ms: Vec<u64>,
}

/// Waits that make no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// More than [`RETRIES_MAX`].
    #[error("a schedule may have {RETRIES_MAX} waits, this one has {0}")]
    TooMany(usize),
    /// Longer than [`RETRY_MS_MAX`].
    #[error("a wait may be {RETRY_MS_MAX} ms long (a week), {0} is longer")]
    TooLong(u64),
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// A status came back, perhaps with a `Retry-After`.
    Answer {
        /// The status code.
        status: u16,
        /// The header, as it came.
        retry_after: Option<&'a str>,
    },
    /// No complete answer came.
    NoAnswer,
    /// Nobody was asked, and not by the endpoint's fault.
    NotTried,
}

/// What the endpoint's pace should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// It takes what it gets.
    Faster,
    /// Neither.
    Same,
    /// Send less at once; and nothing before a moment, if there is one.
    Slower(Option<Timestamp>),
}

/// What follows from a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// For the delivery.
    pub next: Next,
    /// For the endpoint's pace.
    pub pacing: Pacing,
    /// What it says about the endpoint, if anything.
    pub sign: Option<Sign>,
    /// The endpoint said that it is gone: stop sending to it.
    pub gone: bool,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule {
            retry_ms: RETRY_MS.to_vec(),
        }
    }
}

impl Schedule {
    /// A schedule with these waits; one try more than there are waits.
    pub fn new(retry_ms: Vec<u64>) -> Result<Schedule, BadSchedule> {
        if retry_ms.len() > RETRIES_MAX {
            return Err(BadSchedule::TooMany(retry_ms.len()));
        }
        match retry_ms.iter().find(|ms| **ms > RETRY_MS_MAX) {
            Some(ms) => Err(BadSchedule::TooLong(*ms)),
            None => Ok(Schedule { retry_ms }),
        }
    }

    /// How often a delivery is tried.
    pub fn tries_max(&self) -> u32 {
        u32::try_from(self.retry_ms.len()).map_or(u32::MAX, |waits| waits.saturating_add(1))
    }

    /// What follows from the try `number`, 1 for the first, that ended `now`; `random` decides the jitter.
    pub fn judge(&self, number: u32, outcome: Outcome<'_>, random: u64, now: Timestamp) -> Verdict {
        let (status, retry_after) = match outcome {
            Outcome::Answer { status, retry_after } => (Some(status), retry_after),
            Outcome::NoAnswer | Outcome::NotTried => (None, None),
        };
        if matches!(status, Some(200..=299)) {
            return Verdict {
                next: Next::Delivered,
                pacing: Pacing::Faster,
                sign: Some(Sign::Arrived),
                gone: false,
            };
        }
        if status == Some(410) {
            return Verdict {
                next: Next::Dead,
                pacing: Pacing::Same,
                sign: Some(Sign::Refused),
                gone: true,
            };
        }
        let asked_ms = retry_after
            .and_then(|text| wait_ms(text, now))
            .map(|ms| ms.min(RETRY_AFTER_MS_MAX));
        let pacing = match (status, asked_ms) {
            (Some(429 | 503), Some(ms)) => Pacing::Slower(Some(later(now, ms))),
            (None | Some(429 | 502 | 504), _) => Pacing::Slower(None),
            _ => Pacing::Same,
        };
        Verdict {
            next: self.next(number, asked_ms, random, now),
            pacing,
            sign: (outcome != Outcome::NotTried).then(|| sign(status, asked_ms.is_some())),
            gone: false,
        }
    }

    fn next(&self, number: u32, asked_ms: Option<u64>, random: u64, now: Timestamp) -> Next {
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        match self.retry_ms.get(index) {
            None => Next::Dead,
            Some(ms) => {
                let wait_ms = jittered(*ms, random).max(asked_ms.unwrap_or(0));
                Next::Retry(later(now, wait_ms))
            }
        }
    }
}

/// Whether a failed try is the endpoint's own fault. A status that is about the request's content (RFC 9110 §15.5) is not,
/// nor is the wish to wait.
fn sign(status: Option<u16>, asked: bool) -> Sign {
    match status {
        Some(400 | 406 | 409 | 411 | 412..=415 | 422 | 429 | 431) => Sign::Refused,
        Some(503) if asked => Sign::Refused,
        _ => Sign::Failed,
    }
}

/// A wait, moved by up to [`JITTER_PERCENT`] both ways.
fn jittered(ms: u64, random: u64) -> u64 {
    let spread = u128::from(ms) * u128::from(JITTER_PERCENT) * 2 / 100;
    let moved = (spread * u128::from(random)) >> 64;
    let least = u128::from(ms) * u128::from(100 - JITTER_PERCENT) / 100;
    u64::try_from(least + moved).unwrap_or(u64::MAX)
}

/// How long a `Retry-After` asks to wait: seconds, or a date (RFC 9110 §10.2.3).
fn wait_ms(text: &str, now: Timestamp) -> Option<u64> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<u64>().ok().map(|s| s.saturating_mul(1000));
    }
    let until = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(u64::try_from(until.as_millisecond() - now.as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        "2026-11-23T06:00:00Z".parse().unwrap()
    }

    fn answer(status: u16) -> Outcome<'static> {
        Outcome::Answer {
            status,
            retry_after: None,
        }
    }

    fn judge(number: u32, status: u16, retry_after: Option<&str>) -> Verdict {
        let outcome = Outcome::Answer { status, retry_after };
        Schedule::default().judge(number, outcome, 0, now())
    }

    #[test]
    fn ten_tries_in_75_hours_and_then_dead() {
        let schedule = Schedule::default();
        let middle = u64::MAX / 2 + 1;
        let mut at = now();
        for number in 1..schedule.tries_max() {
            let Next::Retry(next) = schedule.judge(number, answer(500), middle, at).next else {
                panic!("try {number} is not the last");
            };
            at = next;
        }
        assert_eq!(schedule.tries_max(), 10);
        assert_eq!(at.duration_since(now()).as_secs(), 75 * 3600 + 35 * 60 + 5);
        assert_eq!(schedule.judge(10, answer(500), middle, at).next, Next::Dead);
        assert_eq!(
            schedule.judge(u32::MAX, Outcome::NoAnswer, middle, at).next,
            Next::Dead
        );
    }

    #[test]
    fn only_2xx_is_success_and_410_is_the_end() {
        for status in [200, 202, 204, 299] {
            let verdict = judge(1, status, None);
            assert_eq!(
                (verdict.next, verdict.pacing),
                (Next::Delivered, Pacing::Faster),
                "{status}"
            );
        }
        for status in [100, 199, 301, 302, 304, 400, 404, 409, 500] {
            let verdict = judge(1, status, None);
            assert!(
                matches!(verdict.next, Next::Retry(_)) && !verdict.gone,
                "{status}"
            );
            assert_eq!(verdict.pacing, Pacing::Same, "{status}");
        }
        let gone = judge(1, 410, Some("5"));
        assert_eq!((gone.next, gone.gone), (Next::Dead, true));
    }

    #[test]
    fn who_refuses_an_event_or_asks_to_wait_has_not_failed() {
        for status in [400, 409, 413, 415, 422, 429] {
            assert_eq!(judge(1, status, None).sign, Some(Sign::Refused), "{status}");
        }
        for status in [301, 401, 403, 404, 408, 500, 502, 503, 504] {
            assert_eq!(judge(1, status, None).sign, Some(Sign::Failed), "{status}");
        }
        assert_eq!(judge(1, 503, Some("7")).sign, Some(Sign::Refused));
        let none = Schedule::default().judge(1, Outcome::NoAnswer, 0, now());
        assert_eq!(none.sign, Some(Sign::Failed));
        let ours = Schedule::default().judge(1, Outcome::NotTried, 0, now());
        assert_eq!(
            (ours.next, ours.pacing, ours.sign),
            (none.next, none.pacing, None)
        );
        assert_eq!(judge(1, 204, None).sign, Some(Sign::Arrived));
    }

    #[test]
    fn overload_slows_the_endpoint_down() {
        for status in [429, 502, 504] {
            assert_eq!(judge(1, status, None).pacing, Pacing::Slower(None), "{status}");
        }
        let none = Schedule::default().judge(1, Outcome::NoAnswer, 0, now());
        assert_eq!(none.pacing, Pacing::Slower(None));
        let until = Some(later(now(), 60_000));
        assert_eq!(judge(1, 503, Some("60")).pacing, Pacing::Slower(until));
        assert_eq!(judge(1, 500, Some("60")).pacing, Pacing::Same);
    }

    #[test]
    fn retry_after_is_kept_to_up_to_its_limit() {
        let wait = |number, text| match judge(number, 429, Some(text)).next {
            Next::Retry(at) => at.duration_since(now()).as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(1, "120"), 120_000);
        assert_eq!(wait(1, "Mon, 23 Nov 2026 06:02:00 GMT"), 120_000);
        assert_eq!(
            wait(1, "99999999999999999999"),
            4_000,
            "unreadable: the schedule's own, least jittered"
        );
        assert_eq!(wait(1, "999999"), 3_600_000, "the limit");
        assert_eq!(wait(1, "1"), 4_000, "less than the schedule's own");
        assert_eq!(wait(1, "Mon, 23 Nov 2020 06:02:00 GMT"), 4_000, "in the past");
        assert_eq!(wait(1, "soon"), 4_000);
        assert_eq!(judge(10, 429, Some("120")).next, Next::Dead);
    }

    #[test]
    fn schedules_have_limits() {
        assert_eq!(Schedule::new(vec![1; 51]), Err(BadSchedule::TooMany(51)));
        assert_eq!(
            Schedule::new(vec![1, 604_800_001]),
            Err(BadSchedule::TooLong(604_800_001))
        );
        let once = Schedule::new(vec![]).unwrap();
        assert_eq!(once.judge(1, answer(500), 0, now()).next, Next::Dead);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_a_fifth(ms in 0..=RETRY_MS_MAX, random in any::<u64>()) {
            let moved = jittered(ms, random);
            prop_assert!(moved >= ms * 8 / 10 && moved <= ms * 12 / 10, "{} {}", ms, moved);
        }
    }
}
