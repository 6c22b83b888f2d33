//! The real clock and the real randomness: the only place that draws them for the hub's own parts.

use jiff::Timestamp;
use rand::rngs::SysRng;
use rand::{Rng, TryRng};

/// The system's clock and random source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RealWorld;

impl RealWorld {
    /// Random bytes that nobody foresees, for ids and waits: of this thread's generator, which the operating system seeds.
    /// An event draws some five times, and a call of the system for each was 3 % of its cost.
    pub(crate) fn bytes<const N: usize>() -> [u8; N] {
        let mut bytes = [0; N];
        rand::rng().fill_bytes(&mut bytes);
        bytes
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

impl sync::World for RealWorld {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn random(&self) -> [u8; 10] {
        RealWorld::bytes()
    }
}
