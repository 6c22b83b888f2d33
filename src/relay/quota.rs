//! [`Quota`]: how many messages of a partner are taken in a second, in this process.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Messages of a partner that may be taken in a second, at most.
pub const POSTS_PER_S_MAX: u32 = 100_000;
const SECOND_US: i64 = 1_000_000;

/// So many messages in a second; those of a second that was quiet may come at once.
///
/// Only messages whose signature is right count: nobody uses up the quota of another one.
#[derive(Debug)]
pub(crate) struct Quota {
    /// Microseconds that a message stands for.
    each_us: i64,
    /// When all that was taken is used up, in microseconds since 1970.
    used_until_us: Mutex<i64>,
}

impl Quota {
    pub(crate) fn new(per_s: u32) -> Quota {
        Quota {
            each_us: SECOND_US / i64::from(per_s.clamp(1, POSTS_PER_S_MAX)),
            used_until_us: Mutex::new(0),
        }
    }

    /// Takes one, or says after how many whole seconds there is room again.
    pub(crate) fn take(&self, now: Timestamp) -> Result<(), u32> {
        let now_us = now.as_microsecond();
        let mut used_until_us = self.used_until_us.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not shut a partner out: more than a second ahead cannot be.
        *used_until_us = (*used_until_us).clamp(now_us, now_us + SECOND_US);
        let after = *used_until_us + self.each_us;
        if after - now_us > SECOND_US {
            let wait_us = after - now_us - SECOND_US;
            return Err(u32::try_from(wait_us.div_euclid(SECOND_US) + 1).unwrap_or(1));
        }
        *used_until_us = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_so_many_and_a_quiet_one_no_more() {
        let quota = Quota::new(4);
        let at = |ms: i64| Timestamp::from_millisecond(1_764_000_000_000 + ms).unwrap();
        let taken = |ms: i64| (0..10).take_while(|_| quota.take(at(ms)).is_ok()).count();
        assert_eq!(taken(0), 4);
        assert_eq!(quota.take(at(0)), Err(1), "seconds to wait");
        assert_eq!((taken(249), taken(250), taken(750)), (0, 1, 2));
        assert_eq!(taken(60_000), 4, "what was not used is not saved up");
        assert_eq!(taken(-60_000), 0, "a clock that was set back");
        assert_eq!(taken(-59_000), 4);
    }
}
