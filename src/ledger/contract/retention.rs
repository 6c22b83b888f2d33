//! Forgetting: events that were kept for long enough are removed, a bite at a time.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Lease, LedgerError};

/// Which events are old enough. What is due, or held, is never removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OldEvents {
    /// Those that arrived everywhere they had to, or had to go nowhere, and were received before. None when nothing is said.
    pub arrived_before: Option<Timestamp>,
    /// Those with a delivery that is dead, and were received before. None when nothing is said.
    pub dead_before: Option<Timestamp>,
}

/// A place in the order of acceptance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPlace(pub(crate) i64);

/// What a bite came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Events that were removed, with their deliveries and attempts.
    pub removed: u64,
    /// Where the next bite begins; none when what follows is younger.
    pub next: Option<EventPlace>,
}

/// Forgetting.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Looks at the next `limit` events after a place, oldest first, and removes those that are old enough.
    async fn forget_events(
        &self,
        lease: &Lease,
        old: &OldEvents,
        after: EventPlace,
        limit: usize,
    ) -> Result<Forgotten, LedgerError>;
}

impl OldEvents {
    /// Nothing that was received from here on is removed.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.arrived_before.max(self.dead_before)
    }
}
