//! The real clock and the real randomness: the only place that draws them for the hub's own parts.

use jiff::Timestamp;

/// The system's clock and random source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RealWorld;

impl RealWorld {
    /// Random bytes of the operating system.
    pub(crate) fn bytes<const N: usize>() -> [u8; N] {
        let mut bytes = [0; N];
        getrandom::fill(&mut bytes).expect("the operating system has randomness");
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
