//! [`Breaker`]: when an endpoint is left alone, as a function of values.
//!
//! Tries that fail by the endpoint's own fault, so many in a row, *open* its breaker: it *rests*. Then one try alone, a
//! *probe*, tells whether it is well again; if not it rests twice as long. An endpoint at which nothing has arrived for
//! long enough is to be disabled. A refusal of one event ([`Sign::Refused`]) opens nothing: who refuses is there.
//! What is kept between runs and nodes is the ledger's [`Health`].

use jiff::Timestamp;
use ledger::Health;

use crate::handed::later;

/// How long an endpoint rests at most: ten minutes.
pub const REST_MS_MAX: u64 = 600_000;
/// An endpoint is not disabled before so many tries in a row did not arrive, however long that took.
pub const DISABLE_TRIES_MIN: u32 = 20;

/// When an endpoint is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row after which it rests.
    pub failures_max: u32,
    /// How long it rests first, in milliseconds; twice as long each further time, up to [`REST_MS_MAX`].
    pub rest_ms: u64,
    /// For how long nothing may arrive before it is disabled, in milliseconds; 0 never disables.
    pub disable_after_ms: u64,
}

impl Default for BreakerSettings {
    fn default() -> BreakerSettings {
        BreakerSettings {
            failures_max: 10,
            rest_ms: 30_000,
            disable_after_ms: 432_000_000,
        }
    }
}

/// What a try says about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It is well.
    Arrived,
    /// It is there, and does not want this event, or not now.
    Refused,
    /// It is not well.
    Failed,
}

/// What a sign changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    /// It rests from now on.
    Opened,
    /// A probe failed: it rests again.
    Reopened,
    /// It is well again.
    Closed,
    /// It has failed for too long.
    TooLong,
}

/// An endpoint's breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    settings: BreakerSettings,
    pub(crate) health: Health,
}

impl Breaker {
    pub(crate) fn new(settings: BreakerSettings, health: Health) -> Breaker {
        Breaker { settings, health }
    }

    /// Whether one send alone may be in flight.
    pub(crate) fn probes(&self) -> bool {
        self.health.opened > 0
    }

    /// It rests until a moment; the longest rest counts.
    fn rest(&mut self, until: Timestamp) {
        self.health.rest_until = self.health.rest_until.max(Some(until));
    }

    /// Takes in what a try that ended `now` says, with which the endpoint asked for nothing before a moment; the longest such
    /// rest counts. To a probe that is no sign that it is well again.
    pub(crate) fn note_wait(&mut self, sign: Sign, until: Timestamp, now: Timestamp) -> Effect {
        let rests = self.health.rest_until.max(Some(until));
        let effect = match self.probes() {
            true => {
                self.did_not_arrive(now);
                match self.failed_too_long(now) {
                    true => Effect::TooLong,
                    false => Effect::Nothing,
                }
            }
            false => self.note(sign, now),
        };
        self.health.rest_until = rests;
        effect
    }

    /// Takes in what a try that ended `now` says.
    pub(crate) fn note(&mut self, sign: Sign, now: Timestamp) -> Effect {
        match sign {
            Sign::Arrived => {
                (self.health.failed, self.health.failing_since) = (0, None);
                self.is_there()
            }
            Sign::Refused => {
                self.did_not_arrive(now);
                match self.is_there() {
                    Effect::Nothing if self.failed_too_long(now) => Effect::TooLong,
                    effect => effect,
                }
            }
            Sign::Failed => {
                self.did_not_arrive(now);
                self.health.failures = self.health.failures.saturating_add(1);
                if self.failed_too_long(now) {
                    Effect::TooLong
                } else {
                    self.fails(now)
                }
            }
        }
    }

    fn did_not_arrive(&mut self, now: Timestamp) {
        self.health.failed = self.health.failed.saturating_add(1);
        self.health.failing_since = self.health.failing_since.or(Some(now));
    }

    fn is_there(&mut self) -> Effect {
        self.health.failures = 0;
        if self.health.opened == 0 {
            return Effect::Nothing;
        }
        (self.health.opened, self.health.rest_until) = (0, None);
        Effect::Closed
    }

    fn fails(&mut self, now: Timestamp) -> Effect {
        let turn = match self.health.opened {
            0 if self.health.failures < self.settings.failures_max => return Effect::Nothing,
            0 => Effect::Opened,
            // It was sent before the breaker opened, and says nothing new.
            _ if self.health.rests_until(now).is_some() => return Effect::Nothing,
            _ => Effect::Reopened,
        };
        let times = self.health.opened.min(20);
        let rest_ms = self.settings.rest_ms.saturating_mul(1 << times).min(REST_MS_MAX);
        self.health.opened = self.health.opened.saturating_add(1);
        self.rest(later(now, rest_ms));
        turn
    }

    fn failed_too_long(&self, now: Timestamp) -> bool {
        let after_ms = self.settings.disable_after_ms;
        after_ms > 0
            && self.health.failed >= DISABLE_TRIES_MIN
            && self
                .health
                .failing_since
                .is_some_and(|since| later(since, after_ms) <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn breaker(failures_max: u32) -> Breaker {
        let settings = BreakerSettings {
            failures_max,
            ..BreakerSettings::default()
        };
        Breaker::new(settings, Health::default())
    }

    #[test]
    fn rests_after_failures_in_a_row_and_longer_each_time() {
        let mut breaker = breaker(3);
        for sign in [
            Sign::Failed,
            Sign::Failed,
            Sign::Arrived,
            Sign::Failed,
            Sign::Failed,
        ] {
            assert_eq!(breaker.note(sign, at(0)), Effect::Nothing);
        }
        assert!(!breaker.probes());
        assert_eq!(breaker.note(Sign::Failed, at(0)), Effect::Opened);
        assert_eq!(breaker.health.rests_until(at(29)), Some(at(30)));
        assert_eq!(
            breaker.note(Sign::Failed, at(5)),
            Effect::Nothing,
            "it was in flight"
        );
        let mut now = 30;
        for rest in [60, 120, 240, 480, 600, 600] {
            assert_eq!(
                (breaker.health.rests_until(at(now)), breaker.probes()),
                (None, true)
            );
            assert_eq!(breaker.note(Sign::Failed, at(now)), Effect::Reopened);
            assert_eq!(breaker.health.rests_until(at(now)), Some(at(now + rest)));
            now += rest;
        }
        assert_eq!(breaker.note(Sign::Arrived, at(now)), Effect::Closed);
        assert_eq!(breaker.health, Health::default());
    }

    #[test]
    fn a_probe_that_is_asked_to_wait_waits_and_nothing_is_well() {
        let mut breaker = breaker(3);
        for _ in 0..3 {
            breaker.note(Sign::Failed, at(1));
        }
        assert_eq!(
            breaker.note_wait(Sign::Refused, at(3_640), at(40)),
            Effect::Nothing
        );
        assert_eq!(
            (breaker.probes(), breaker.health.rests_until(at(41))),
            (true, Some(at(3_640)))
        );
        assert_eq!(breaker.note(Sign::Arrived, at(3_641)), Effect::Closed);
        assert_eq!(
            breaker.note_wait(Sign::Refused, at(4_000), at(3_700)),
            Effect::Nothing
        );
        assert_eq!(
            (breaker.probes(), breaker.health.rests_until(at(3_701))),
            (false, Some(at(4_000)))
        );
    }

    #[test]
    fn who_refuses_is_there_but_nothing_arrives() {
        let mut breaker = breaker(3);
        for _ in 0..100 {
            assert_eq!(breaker.note(Sign::Refused, at(1)), Effect::Nothing);
        }
        assert_eq!((breaker.health.failures, breaker.health.failed), (0, 100));
        for _ in 0..3 {
            breaker.note(Sign::Failed, at(1));
        }
        assert_eq!(breaker.note(Sign::Refused, at(40)), Effect::Closed);
        assert_eq!(breaker.health.failing_since, Some(at(1)));
    }

    #[test]
    fn is_to_be_disabled_after_long_and_often_enough() {
        const FIVE_DAYS_S: i64 = 432_000;
        for sign in [Sign::Failed, Sign::Refused] {
            let mut often = breaker(u32::MAX);
            for _ in 0..99 {
                assert_eq!(often.note(sign, at(FIVE_DAYS_S - 1)), Effect::Nothing);
            }
            let mut breaker = breaker(u32::MAX);
            for n in 1..DISABLE_TRIES_MIN {
                assert_eq!(
                    breaker.note(sign, at(i64::from(n) * FIVE_DAYS_S)),
                    Effect::Nothing,
                    "{n}"
                );
            }
            assert_eq!(breaker.note(sign, at(40 * FIVE_DAYS_S)), Effect::TooLong);
            assert_eq!(breaker.note(Sign::Arrived, at(41 * FIVE_DAYS_S)), Effect::Nothing);
            assert_eq!(breaker.health, Health::default());
            breaker.settings.disable_after_ms = 0;
            for _ in 0..50 {
                breaker.note(sign, at(0));
            }
            assert_eq!(
                breaker.note(sign, at(400 * FIVE_DAYS_S)),
                Effect::Nothing,
                "never"
            );
        }
    }

    #[test]
    fn the_longest_rest_that_was_asked_for_counts() {
        let mut breaker = breaker(3);
        breaker.rest(at(60));
        breaker.rest(at(30));
        assert_eq!(breaker.health.rests_until(at(59)), Some(at(60)));
        assert_eq!(
            (breaker.health.rests_until(at(60)), breaker.probes()),
            (None, false)
        );
    }
}
