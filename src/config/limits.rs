//! [`Limits`]: the numbers that bound everything, each with its unit in its name.

use diagnostic::{Fields, Report};

/// The limits of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an incoming webhook.
    pub body_bytes_max: usize,
    /// Requests served at the same time.
    pub requests_max: usize,
    /// Milliseconds that a request may take.
    pub request_timeout_ms: u64,
    /// Milliseconds that a signature may be old, or ahead.
    pub webhook_tolerance_ms: u64,
    /// Jobs worked on at the same time.
    pub workers_max: usize,
    /// Milliseconds between sweeps of the ledger.
    pub sweep_every_ms: u64,
    /// Milliseconds that a stop waits for running work.
    pub stop_timeout_ms: u64,
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
            stop_timeout_ms: 20_000,
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
    let mut read = |key: &'static str, bounds: std::ops::RangeInclusive<i64>, set: &mut dyn FnMut(u64)| {
        if let Some(number) = inner.optional_integer(key, bounds, report) {
            set(u64::try_from(number).expect("bounds are above zero"));
        }
    };
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    read("body_bytes_max", 1_024..=104_857_600, &mut |n| {
        limits.body_bytes_max = size(n)
    });
    read("requests_max", 1..=100_000, &mut |n| {
        limits.requests_max = size(n)
    });
    read("request_timeout_ms", 100..=600_000, &mut |n| {
        limits.request_timeout_ms = n
    });
    read("webhook_tolerance_ms", 1_000..=3_600_000, &mut |n| {
        limits.webhook_tolerance_ms = n
    });
    read("workers_max", 1..=1_024, &mut |n| limits.workers_max = size(n));
    read("sweep_every_ms", 50..=3_600_000, &mut |n| {
        limits.sweep_every_ms = n
    });
    read("stop_timeout_ms", 100..=600_000, &mut |n| {
        limits.stop_timeout_ms = n
    });
    inner.finish(report);
    limits
}
