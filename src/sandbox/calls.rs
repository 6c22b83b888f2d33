//! The calls a system has received, counted by method and route.
//!
//! Counts are kept per route pattern (`GET /services/data/{version}/query`), never per path: paths may carry tokens.
//! Calls to `/_sandbox/…` and through the library handles are not counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Single calls that are remembered in order, the newest ones.
pub const CALLS_KEPT_MAX: usize = 2_000;

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Asks for a token or revokes one.
    Auth,
    /// Changes nothing.
    Read,
    /// May change rows.
    Write,
}

/// How often one route was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteCount {
    /// The HTTP method.
    pub method: String,
    /// The route's pattern.
    pub route: String,
    /// What calls of this route are for.
    pub class: Class,
    /// Calls, refused ones included.
    pub count: u64,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    /// When it arrived, milliseconds since the epoch.
    pub at_ms: i64,
    /// The HTTP method.
    pub method: String,
    /// The route's pattern.
    pub route: String,
    /// What it was for.
    pub class: Class,
    /// The status it was answered with; 0 when the connection was cut instead.
    pub status: u16,
}

/// A reading of the counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Calls that read.
    pub reads: u64,
    /// Calls that may change rows, whether they succeeded or not.
    pub writes: u64,
    /// Calls for a token.
    pub auth: u64,
    /// Per route, in order of method and route.
    pub by_route: Vec<RouteCount>,
    /// The newest calls in order, at most [`CALLS_KEPT_MAX`].
    pub last: Vec<Call>,
}

#[derive(Debug, Default)]
struct Counters {
    routes: BTreeMap<(String, String), (Class, u64)>,
    last: VecDeque<Call>,
    total: u64,
}

/// The counters of one system.
#[derive(Debug, Default)]
pub(crate) struct CallBook(Mutex<Counters>);

impl CallBook {
    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record(&self, call: Call) {
        let mut counters = self.counters();
        let key = (call.method.clone(), call.route.clone());
        counters.routes.entry(key).or_insert((call.class, 0)).1 += 1;
        counters.total += 1;
        if counters.last.len() >= CALLS_KEPT_MAX {
            counters.last.pop_front();
        }
        counters.last.push_back(call);
    }

    /// Calls since the start, never reset: systems tell it in their limit headers.
    pub(crate) fn total(&self) -> u64 {
        self.counters().total
    }

    pub(crate) fn read(&self) -> Calls {
        let counters = self.counters();
        let mut calls = Calls {
            last: counters.last.iter().cloned().collect(),
            ..Calls::default()
        };
        for ((method, route), (class, count)) in &counters.routes {
            match class {
                Class::Auth => calls.auth += count,
                Class::Read => calls.reads += count,
                Class::Write => calls.writes += count,
            }
            calls.by_route.push(RouteCount {
                method: method.clone(),
                route: route.clone(),
                class: *class,
                count: *count,
            });
        }
        calls
    }

    pub(crate) fn reset(&self) {
        let mut counters = self.counters();
        counters.routes.clear();
        counters.last.clear();
    }
}
