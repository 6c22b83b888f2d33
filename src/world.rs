//! The real clock and the real randomness: the only place that draws them for the hub's own parts.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::SysRng;
use rand::{Rng, TryRng};

/// The system's clock and random source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RealWorld;

impl RealWorld {
    /// Random bytes that nobody foresees: of this thread's generator, which the operating system seeds.
    /// An event draws some five times, and a call of the system for each was 3 % of its cost.
    pub(crate) fn bytes<const N: usize>() -> [u8; N] {
        let mut bytes = [0; N];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    }

    /// The random part of an id. It grows with each that this process draws, so that what is listed by id is of the order in
    /// which it was drawn within a millisecond, too; four bytes nobody foresees.
    pub(crate) fn id_bytes() -> [u8; 10] {
        // From anywhere, so that two processes do not count alike, but far from where the count begins anew.
        static DRAWN: LazyLock<AtomicU64> =
            LazyLock::new(|| AtomicU64::new(u64::from_le_bytes(RealWorld::bytes()) >> 23));
        model::counted(DRAWN.fetch_add(1, Ordering::Relaxed), RealWorld::bytes())
    }

    /// Random bytes of the operating system itself, for secrets and what encrypts them.
    pub(crate) fn secret_bytes<const N: usize>() -> [u8; N] {
        let mut bytes = [0; N];
        SysRng
            .try_fill_bytes(&mut bytes)
            .expect("the operating system has randomness");
        bytes
    }
}

#[async_trait::async_trait]
impl sync::World for RealWorld {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    fn random(&self) -> [u8; 10] {
        RealWorld::id_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::uuid_from;

    #[test]
    fn ids_that_are_drawn_in_one_millisecond_are_of_the_order_in_which_they_were() {
        let ids: Vec<_> = (0..10_000)
            .map(|_| uuid_from(Timestamp::UNIX_EPOCH, RealWorld::id_bytes()))
            .collect();
        assert!(ids.is_sorted_by(|one, next| one < next));
    }
}
