//! How long a job waits before its next attempt: exponential, capped, with jitter from a handed-in seed.
//!
//! A pure function: the same seed, job and attempt give the same wait, so schedules are tested without sleeping,
//! while two jobs that failed together, or the same job on two nodes, do not come back together.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::job::Job;

/// The bounds of the wait, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    pub(crate) base_ms: u64,
    pub(crate) max_ms: u64,
    pub(crate) seed: u64,
}

impl Backoff {
    /// The wait after attempt `attempt` (the first is 1) failed: between half and all of
    /// `base_ms * 2^(attempt-1)`, and never more than `max_ms`.
    pub(crate) fn wait_ms(&self, job: &Job, attempt: u32) -> u64 {
        let doublings = attempt.saturating_sub(1).min(32);
        let full = self
            .base_ms
            .saturating_mul(1 << doublings)
            .min(self.max_ms)
            .max(1);
        let half = full / 2;
        half + self.draw(job, attempt) % (full - half + 1)
    }

    fn draw(&self, job: &Job, attempt: u32) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, job, attempt).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deliver(endpoint: &str) -> Job {
        Job::Deliver {
            endpoint: endpoint.into(),
        }
    }

    proptest! {
        #[test]
        fn the_wait_lies_between_half_and_all_of_its_step(
            seed: u64, attempt in 1u32..200, base_ms in 1u64..5_000, max_ms in 1u64..1_000_000,
        ) {
            let backoff = Backoff { base_ms, max_ms, seed };
            let full = u128::from(base_ms)
                .saturating_mul(1 << (attempt - 1).min(64))
                .min(u128::from(max_ms)) as u64;
            let wait = backoff.wait_ms(&deliver("a"), attempt);
            prop_assert!((full / 2..=full).contains(&wait), "{} of {}", wait, full);
        }
    }

    #[test]
    fn the_seed_decides_and_jobs_part() {
        let backoff = |seed| Backoff {
            base_ms: 1_000,
            max_ms: 300_000,
            seed,
        };
        let waits = |seed| -> Vec<u64> {
            (0..50)
                .map(|n| backoff(seed).wait_ms(&deliver(&n.to_string()), 3))
                .collect()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
        let mut spread = waits(7);
        spread.sort_unstable();
        spread.dedup();
        assert!(spread.len() > 40, "jitter parts the jobs: {spread:?}");
    }
}
