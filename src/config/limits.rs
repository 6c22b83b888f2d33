//! [`Limits`]: the numbers that bound everything, each with its unit in its name.

use std::ops::RangeInclusive;

use diagnostic::{Fields, Report};

/// The limits of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an incoming webhook.
    pub body_bytes_max: usize,
    /// Requests served at the same time; and as many bodies may be on their way beside them.
    pub requests_max: usize,
    /// Milliseconds that a request may take.
    pub request_timeout_ms: u64,
    /// Milliseconds that a signature may be old, or ahead.
    pub webhook_tolerance_ms: u64,
    /// Jobs worked on at the same time.
    pub workers_max: usize,
    /// Milliseconds between sweeps of the ledger.
    pub sweep_every_ms: u64,
    /// Milliseconds that a start waits for a ledger or a queue that does not answer.
    pub start_wait_ms: u64,
    /// Milliseconds that a stop waits for running work.
    pub stop_timeout_ms: u64,
    /// Milliseconds for which a node has an endpoint to itself before it says so again: what is owed to an endpoint waits
    /// for as long after its node has died.
    pub endpoint_lease_ms: u64,
    /// Milliseconds for which a node has an object of a connection to itself before it says so again, which it does with
    /// each page and batch: what is to be read or written there waits for as long after its node has died.
    pub object_lease_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: 1 << 20,
            requests_max: 1024,
            request_timeout_ms: 30_000,
            webhook_tolerance_ms: 300_000,
            workers_max: 16,
            sweep_every_ms: 5_000,
            start_wait_ms: 60_000,
            stop_timeout_ms: 20_000,
            endpoint_lease_ms: 30_000,
            object_lease_ms: 60_000,
        }
    }
}

pub(super) fn limits(fields: &mut Fields<'_>, report: &mut Report) -> Limits {
    let mut limits = Limits::default();
    let Some(node) = fields.optional("limits") else {
        return limits;
    };
    let Some(mut inner) = Fields::open(node, "`limits`", fields.source(), report) else {
        return limits;
    };
    let mut read = |key: &'static str, bounds: RangeInclusive<i64>, default: u64| {
        inner
            .optional_integer(key, bounds, report)
            .map_or(default, i64::unsigned_abs)
    };
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    limits.body_bytes_max = size(read(
        "body_bytes_max",
        1_024..=16_777_216,
        limits.body_bytes_max as u64,
    ));
    limits.requests_max = size(read("requests_max", 1..=100_000, limits.requests_max as u64));
    limits.request_timeout_ms = read("request_timeout_ms", 100..=600_000, limits.request_timeout_ms);
    limits.webhook_tolerance_ms = read(
        "webhook_tolerance_ms",
        1_000..=3_600_000,
        limits.webhook_tolerance_ms,
    );
    limits.workers_max = size(read("workers_max", 1..=1_024, limits.workers_max as u64));
    limits.sweep_every_ms = read("sweep_every_ms", 50..=3_600_000, limits.sweep_every_ms);
    limits.start_wait_ms = read("start_wait_ms", 0..=86_400_000, limits.start_wait_ms);
    limits.stop_timeout_ms = read("stop_timeout_ms", 100..=600_000, limits.stop_timeout_ms);
    limits.endpoint_lease_ms = read("endpoint_lease_ms", 1_000..=600_000, limits.endpoint_lease_ms);
    limits.object_lease_ms = read("object_lease_ms", 1_000..=600_000, limits.object_lease_ms);
    inner.finish(report);
    limits
}
