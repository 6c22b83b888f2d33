//! [`Pace`]: how much an endpoint is sent at once.
//!
//! One more after each round of successes, half of it after a sign of overload, never more than the endpoint's own
//! `in_flight_max`; and nothing before a moment when the endpoint asked for that.
//! It is a courtesy, not a promise: a restart forgets it.

use jiff::Timestamp;

use crate::schedule::Pacing;

/// How much may be in flight, and from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    max: usize,
    allowed: usize,
    successes: usize,
    not_before: Option<Timestamp>,
}

impl Pace {
    pub(crate) fn new(max: usize) -> Pace {
        Pace {
            max,
            allowed: max,
            successes: 0,
            not_before: None,
        }
    }

    /// How many sends may be in flight.
    pub(crate) fn allowed(&self) -> usize {
        self.allowed
    }

    /// Until when nothing may be sent, if that is still to come.
    pub(crate) fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.not_before.filter(|until| *until > now)
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
            Pacing::Slower(until) => {
                self.successes = 0;
                self.allowed = (self.allowed / 2).max(1);
                self.not_before = self.not_before.max(until);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_on_overload_and_comes_back_one_by_one() {
        let mut pace = Pace::new(8);
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
    fn the_longest_pause_counts() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let mut pace = Pace::new(8);
        pace.note(Pacing::Slower(Some(at(60))));
        pace.note(Pacing::Slower(Some(at(30))));
        pace.note(Pacing::Slower(None));
        assert_eq!(pace.paused_until(at(59)), Some(at(60)));
        assert_eq!(pace.paused_until(at(60)), None);
    }
}
