//! [`Calls`]: requests that were sent, counted where they leave, by what pays for them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::connection::Connection;
use crate::lane::Lane;
use crate::limiter::Limiter;

/// Requests that were sent: every try counts, and so do signing in and asking for what mappings never see. Shared by all
/// copies of a connection that were made from the same [`Connection::counted`].
#[derive(Debug, Default)]
pub(crate) struct Calls {
    sent: Mutex<BTreeMap<(Lane, Option<String>), u64>>,
    ahead_ms: AtomicU64,
    /// The moment that the newest answer told, in milliseconds; 0 for none.
    told_ms: AtomicI64,
}

impl Calls {
    pub(crate) fn count(&self, lane: Lane, group: Option<&str>) {
        let mut calls = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry((lane, group.map(str::to_owned))).or_default() += 1;
    }

    /// Notes by how much our clock was found ahead of the system's.
    pub(crate) fn note_ahead(&self, ms: u64) {
        self.ahead_ms.fetch_max(ms, Ordering::Relaxed);
    }

    /// Notes when an answer was given, by the system's own clock.
    pub(crate) fn note_told(&self, at: Timestamp) {
        self.told_ms.store(at.as_millisecond(), Ordering::Relaxed);
    }

    fn told(&self) -> CallCount {
        CallCount(self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// How many requests were sent, by lane and by the group of the manifest that they belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCount(BTreeMap<(Lane, Option<String>), u64>);

impl CallCount {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.0.values().sum()
    }

    /// Those of a lane.
    pub fn of(&self, lane: Lane) -> u64 {
        let of = self.0.iter().filter(|((of, _), _)| *of == lane);
        of.map(|(_, calls)| calls).sum()
    }

    /// Adds another count.
    pub fn add(&mut self, other: &CallCount) {
        for (key, calls) in &other.0 {
            *self.0.entry(key.clone()).or_default() += calls;
        }
    }

    /// How long they take at least, in milliseconds, by the limits on calls in a span of time: a lane has its part of each
    /// limit together with those that make room for it.
    fn at_least_ms(&self, limiter: &Limiter) -> u64 {
        let within = |lane: Lane| {
            let of = self.0.iter().filter(move |((of, _), _)| *of >= lane);
            let of: Vec<_> = of.map(|((_, group), calls)| (group.as_deref(), *calls)).collect();
            limiter.at_least_ms(&of, lane)
        };
        Lane::ALL.into_iter().map(within).max().unwrap_or(0)
    }
}

impl Connection {
    /// The same account, with a count of its own that begins at 0; copies of it for a lane share the count.
    pub fn counted(&self) -> Connection {
        let mut connection = self.in_lane(self.caller.lane);
        connection.caller.calls = std::sync::Arc::default();
        connection
    }

    /// The requests that were sent since it was counted.
    pub fn calls(&self) -> CallCount {
        self.caller.calls.told()
    }

    /// By how many milliseconds our clock was found ahead of the system's since it was counted, where that held reading back:
    /// nothing is read beyond the present that its answers tell. 0 where it was not.
    pub fn clock_ahead_ms(&self) -> u64 {
        self.caller.calls.ahead_ms.load(Ordering::Relaxed)
    }

    /// When the newest answer to this or a copy of it was given, by the system's own clock, to the second; nothing where none
    /// told.
    pub fn told_at(&self) -> Option<Timestamp> {
        let told_ms = self.caller.all_calls.told_ms.load(Ordering::Relaxed);
        let told = Timestamp::from_millisecond(told_ms).ok();
        told.filter(|_| told_ms != 0)
    }

    /// The requests that were sent since the account was opened, by this and all its copies.
    pub fn all_calls(&self) -> CallCount {
        self.caller.all_calls.told()
    }

    /// How long so many requests take at least, in milliseconds, by the limits on calls in a span of time.
    pub fn at_least_ms(&self, calls: &CallCount) -> u64 {
        calls.at_least_ms(&self.caller.limiter)
    }
}
