//! [`Lane`]: why a call is made, and so who makes room for whom.

/// The part of each limit that retries and complete readings may use together.
pub const RETRY_PERCENT: u64 = 75;
/// The part of each limit that complete readings may use.
pub const BACKFILL_PERCENT: u64 = 50;

/// Why a call is made. What can wait leaves room for what cannot: each lane has a part of every limit, which the lanes
/// after it use too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Something has just changed, or somebody waits.
    #[default]
    Live,
    /// It did not work before.
    Retry,
    /// Everything is read, for the first time or again.
    Backfill,
}

impl Lane {
    /// All lanes; those who come first are served first.
    pub const ALL: [Lane; 3] = [Lane::Live, Lane::Retry, Lane::Backfill];

    /// Its word, for runs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Lane::Live => "live",
            Lane::Retry => "retry",
            Lane::Backfill => "backfill",
        }
    }

    /// The lanes whose parts a call in this one counts to; the smallest part first.
    pub(crate) fn within(self) -> impl Iterator<Item = Lane> {
        Lane::ALL.into_iter().rev().filter(move |lane| *lane <= self)
    }

    pub(crate) fn percent(self) -> u64 {
        match self {
            Lane::Live => 100,
            Lane::Retry => RETRY_PERCENT,
            Lane::Backfill => BACKFILL_PERCENT,
        }
    }

    /// Its part of a limit; one at least, so that nothing waits for ever.
    pub(crate) fn part(self, limit: u64) -> u64 {
        (limit.saturating_mul(self.percent()) / 100).max(1)
    }
}
