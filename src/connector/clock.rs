//! [`Clock`]: time and chance are handed in, so that windows, limits, retries and signatures are tested without either.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};

/// Says what time it is, and waits.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
    /// Returns after this many milliseconds.
    async fn sleep(&self, ms: u64);
    /// A text of letters and digits that was never given before and that nobody can guess.
    fn nonce(&self) -> String;
}

/// Bytes of chance in a nonce.
const NONCE_BYTES: usize = 16;

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    fn nonce(&self) -> String {
        let mut bytes = [0; NONCE_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the operating system gives random numbers");
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A moment some milliseconds later; the end of time at most.
pub(crate) fn later(moment: Timestamp, ms: u64) -> Timestamp {
    let millisecond = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(moment.as_millisecond().saturating_add(millisecond)).unwrap_or(Timestamp::MAX)
}

/// A moment some milliseconds earlier; the beginning of time at most.
pub(crate) fn earlier(moment: Timestamp, ms: u64) -> Timestamp {
    let millisecond = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(moment.as_millisecond().saturating_sub(millisecond)).unwrap_or(Timestamp::MIN)
}

/// Milliseconds from one moment to a later one; 0 if it is not later.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond().saturating_sub(from.as_millisecond())).unwrap_or(0)
}
