//! [`Alone`]: whether this process is the only one that writes to the ledger at present.
//!
//! Whoever is alone need not look for what others have accepted or stopped: what is accepted here is handed over or
//! announced here. So a run that has nothing to do may *stay*, which costs less than to end and to begin again, and one
//! that has much to do need not look beside it. One look for all of them tells when that is over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Looks in a row that must find nothing written by others.
const LOOKS_MIN: u32 = 5;

/// What the looks have told.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    is: AtomicBool,
    /// The number of the stretch in which all looks tell the same.
    stretch: AtomicU64,
}

/// One look after the other.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// What the ledger told last.
    told: Option<u64>,
    /// For how many looks it has told the same.
    same: u32,
}

/// The stretch in which somebody began to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watched(u64);

impl Alone {
    /// Whether nobody else has written since then, as far as the last look could tell, and for a while. Taken before
    /// anything is read, it counts for whatever is read afterwards.
    pub(crate) fn is(&self, since: Watched) -> bool {
        self.is.load(Ordering::Relaxed) && self.since() == since
    }

    pub(crate) fn since(&self) -> Watched {
        Watched(self.stretch.load(Ordering::Relaxed))
    }

    /// Takes over what a look has told, and nothing when the ledger does not know; whether everybody must look now.
    pub(crate) fn learn(&self, watch: &mut Watch, told: Option<u64>) -> bool {
        if told == watch.told {
            watch.same += u32::from(told.is_some());
        } else {
            self.stretch.fetch_add(1, Ordering::Relaxed);
            *watch = Watch { told, same: 0 };
        }
        let now = watch.same >= LOOKS_MIN;
        let before = self.is.swap(now, Ordering::Relaxed);
        before && !now
    }

    /// Nobody looks any more.
    pub(crate) fn forget(&self, watch: &mut Watch) {
        self.learn(watch, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_alone_has_seen_nobody_for_a_while() {
        let (alone, mut watch) = (Alone::default(), Watch::default());
        let mut learn = |told| {
            let look = alone.learn(&mut watch, told);
            (look, alone.is(alone.since()))
        };
        let before = alone.since();
        for _ in 0..5 {
            assert_eq!(learn(Some(7)), (false, false));
        }
        let first = alone.since();
        assert_eq!(learn(Some(7)), (false, true));
        assert!(alone.is(first) && !alone.is(before), "nobody looked before");
        assert_eq!(learn(Some(8)), (true, false));
        assert_eq!(learn(Some(9)), (false, false));
        for _ in 0..4 {
            assert_eq!(learn(Some(9)), (false, false));
        }
        let second = alone.since();
        assert_eq!(learn(Some(9)), (false, true));
        assert!(
            alone.is(second) && !alone.is(first),
            "it may have missed something"
        );
        assert_eq!(learn(None), (true, false), "the ledger did not answer");
        assert_eq!(learn(None), (false, false));
        for _ in 0..5 {
            assert_eq!(learn(Some(9)), (false, false));
        }
        assert_eq!(learn(Some(9)), (false, true));
        assert!(!alone.is(second), "there was a gap");
    }
}
