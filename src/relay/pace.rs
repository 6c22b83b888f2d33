//! [`Pace`]: how much an endpoint is sent at once, and how much in a second.
//!
//! At once: one more after each round of successes, half of it after a sign of overload, never more than the endpoint's
//! own `in_flight_max`. That is a courtesy; a restart forgets it.
//! In a second: in any one second at most `rate_per_s` sends begin. That is a promise, across runs, nodes and restarts:
//! the next run is told when the one before it began its last send ([`Pace::catch_up`]), and a run that died held a lease
//! that outlasts the second.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::handed::later;
use crate::schedule::Pacing;

/// The span that a rate counts in.
const SECOND_MS: u64 = 1_000;

/// How much may be in flight, and when the next send may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    max: usize,
    allowed: usize,
    successes: usize,
    rate_per_s: Option<usize>,
    /// When the newest sends began, as many as may begin in a second at most; for those with a rate.
    begun: VecDeque<Timestamp>,
}

impl Pace {
    pub(crate) fn new(max: usize, rate_per_s: Option<usize>) -> Pace {
        Pace {
            max,
            allowed: max,
            successes: 0,
            rate_per_s,
            begun: VecDeque::new(),
        }
    }

    /// How many sends may be in flight.
    pub(crate) fn allowed(&self) -> usize {
        self.allowed
    }

    /// Somebody else began a send at this moment; how many before it is not known, so it counts for a full second.
    pub(crate) fn catch_up(&mut self, sent_at: Option<Timestamp>) {
        let (Some(rate), Some(at)) = (self.rate_per_s, sent_at) else {
            return;
        };
        if self.begun.back().is_none_or(|newest| *newest < at) {
            self.begun = vec![at; rate].into();
        }
    }

    /// When the next send may begin, if that is later than now. What began when a clock was ahead counts as begun now.
    pub(crate) fn wait(&mut self, now: Timestamp) -> Option<Timestamp> {
        let rate = self.rate_per_s?;
        for begun in self.begun.iter_mut().rev().take_while(|begun| **begun > now) {
            *begun = now;
        }
        let oldest = self.begun.front().filter(|_| self.begun.len() >= rate)?;
        Some(later(*oldest, SECOND_MS)).filter(|at| *at > now)
    }

    /// A send begins.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        if let Some(rate) = self.rate_per_s {
            if self.begun.len() >= rate {
                self.begun.pop_front();
            }
            self.begun.push_back(now);
        }
    }

    /// When the newest send began, for those with a rate.
    pub(crate) fn sent_at(&self) -> Option<Timestamp> {
        self.begun.back().copied()
    }

    /// Takes in what a try said.
    pub(crate) fn note(&mut self, pacing: Pacing) {
        match pacing {
            Pacing::Same => {}
            Pacing::Faster => {
                self.successes += 1;
                if self.successes >= self.allowed {
                    self.successes = 0;
                    self.allowed = (self.allowed + 1).min(self.max);
                }
            }
            Pacing::Slower(_) => {
                self.successes = 0;
                self.allowed = (self.allowed / 2).max(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn halves_on_overload_and_comes_back_one_by_one() {
        let mut pace = Pace::new(8, None);
        pace.note(Pacing::Slower(None));
        assert_eq!(pace.allowed(), 4);
        (0..10).for_each(|_| pace.note(Pacing::Slower(None)));
        assert_eq!(pace.allowed(), 1);
        (0..3).for_each(|_| pace.note(Pacing::Faster));
        assert_eq!(pace.allowed(), 3, "one after 1, then one after 2");
        (0..1000).for_each(|_| pace.note(Pacing::Faster));
        assert_eq!(pace.allowed(), 8);
    }

    #[test]
    fn without_a_rate_nothing_waits_and_nothing_is_kept() {
        let mut pace = Pace::new(8, None);
        (0..1000).for_each(|_| pace.begin(at(0)));
        pace.catch_up(Some(at(0)));
        assert_eq!((pace.wait(at(0)), pace.sent_at()), (None, None));
    }

    #[test]
    fn what_was_sent_when_a_clock_was_ahead_holds_up_for_a_second() {
        let mut pace = Pace::new(8, Some(3));
        pace.catch_up(Some(at(3_600_000)));
        assert_eq!(pace.wait(at(100)), Some(at(1_100)));
        assert_eq!(pace.wait(at(600)), Some(at(1_100)));
        assert_eq!(pace.wait(at(1_100)), None);
    }

    #[test]
    fn what_another_node_sent_counts() {
        let mut pace = Pace::new(8, Some(3));
        pace.catch_up(Some(at(100)));
        assert_eq!(pace.wait(at(200)), Some(at(1_100)));
        pace.catch_up(Some(at(50)));
        assert_eq!(pace.wait(at(200)), Some(at(1_100)), "older than what is known");
        pace.begin(at(1_100));
        assert_eq!((pace.wait(at(1_100)), pace.sent_at()), (None, Some(at(1_100))));
    }

    proptest! {
        #[test]
        fn in_no_second_begin_more_than_may(
            rate in 1..8_usize,
            steps in prop::collection::vec(0..700_i64, 1..200),
        ) {
            let mut pace = Pace::new(8, Some(rate));
            let (mut now, mut begun) = (0, Vec::new());
            for step in steps {
                // As long as it may, it sends; then time passes.
                while pace.wait(at(now)).is_none() {
                    pace.begin(at(now));
                    begun.push(now);
                }
                now += step;
            }
            for (n, first) in begun.iter().enumerate() {
                let within = begun[n..].iter().filter(|at| **at < first + 1_000).count();
                prop_assert!(within <= rate, "{} in the second from {}", within, first);
            }
        }
    }
}
