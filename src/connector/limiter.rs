//! [`Limiter`]: waits for what a system allows, up to a bound, and learns from its answers.
//!
//! One limiter belongs to one connection, whatever runs on it, because that is how systems count.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use outbound::header::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::{Clock, later};
use crate::failure::{Class, Failure};
use crate::manifest::{Limit, LimitKind, Observe};

/// How long one call waits for its turn before it gives up with the time to come back.
pub const LIMIT_WAIT_MAX_MS: u64 = 30_000;

pub(crate) struct Limiter {
    limits: Vec<(Limit, Option<Arc<Semaphore>>)>,
    state: Mutex<Vec<State>>,
}

#[derive(Default)]
struct State {
    /// When calls were made, oldest first; only for windows.
    calls: VecDeque<Timestamp>,
    /// No call before this moment.
    blocked: Option<Timestamp>,
    /// Whether the block is about the quota.
    quota: bool,
}

/// Held while a call is under way.
pub(crate) struct Permit(#[expect(dead_code, reason = "held for its drop")] Vec<OwnedSemaphorePermit>);

impl Limiter {
    pub(crate) fn new(limits: &[Limit]) -> Limiter {
        let limits: Vec<_> = limits
            .iter()
            .map(|limit| {
                let semaphore = match limit.kind {
                    LimitKind::Concurrency { limit } => {
                        let permits = usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS);
                        Some(Arc::new(Semaphore::new(permits)))
                    }
                    _ => None,
                };
                (limit.clone(), semaphore)
            })
            .collect();
        let state = Mutex::new(limits.iter().map(|_| State::default()).collect());
        Limiter { limits, state }
    }

    /// Waits until a call of this group is allowed, and counts it.
    pub(crate) async fn acquire(&self, group: Option<&str>, clock: &dyn Clock) -> Result<Permit, Failure> {
        let mut permits = Vec::new();
        for (limit, semaphore) in &self.limits {
            if let Some(semaphore) = semaphore
                && limit.applies.to(group)
                && let Ok(permit) = Arc::clone(semaphore).acquire_owned().await
            {
                permits.push(permit);
            }
        }
        let start = clock.now();
        loop {
            let now = clock.now();
            let Some((until, quota)) = self.take(group, now) else {
                return Ok(Permit(permits));
            };
            if until > later(start, LIMIT_WAIT_MAX_MS) {
                let class = if quota {
                    Class::QuotaExhausted { until }
                } else {
                    Class::RateLimited { until }
                };
                let names: Vec<&str> = self
                    .limits
                    .iter()
                    .filter(|(limit, _)| limit.applies.to(group))
                    .map(|(limit, _)| limit.name.as_str())
                    .collect();
                return Err(Failure::new(class, format!("limits: {}", names.join(", "))));
            }
            clock.sleep(crate::clock::between(now, until).max(1)).await;
        }
    }

    /// Counts a call now, or says when the next one is allowed and whether the quota is why.
    fn take(&self, group: Option<&str>, now: Timestamp) -> Option<(Timestamp, bool)> {
        let mut states = self.lock();
        let mut wait: Option<(Timestamp, bool)> = None;
        for ((limit, _), state) in self.limits.iter().zip(states.iter_mut()) {
            if !limit.applies.to(group) {
                continue;
            }
            if state.blocked.is_some_and(|until| until <= now) {
                state.blocked = None;
            }
            let mut allowed = state.blocked.map(|until| (until, state.quota));
            if let LimitKind::Window { limit, per_ms, .. } = limit.kind {
                while state.calls.front().is_some_and(|at| later(*at, per_ms) <= now) {
                    state.calls.pop_front();
                }
                if state.calls.len() as u64 >= limit
                    && let Some(oldest) = state.calls.front()
                {
                    allowed = allowed.max(Some((later(*oldest, per_ms), false)));
                }
            }
            wait = wait.max(allowed);
        }
        if wait.is_none() {
            for ((limit, _), state) in self.limits.iter().zip(states.iter_mut()) {
                if limit.applies.to(group) && matches!(limit.kind, LimitKind::Window { .. }) {
                    state.calls.push_back(now);
                }
            }
        }
        wait
    }

    /// Learns from the headers of an answer.
    pub(crate) fn observe(&self, group: Option<&str>, headers: &HeaderMap, now: Timestamp) {
        let mut states = self.lock();
        for ((limit, _), state) in self.limits.iter().zip(states.iter_mut()) {
            if !limit.applies.to(group) {
                continue;
            }
            match &limit.kind {
                LimitKind::Window {
                    per_ms,
                    observe: Some(observe),
                    ..
                } => {
                    if let Some((used, allowed)) = usage(observe, headers)
                        && used >= allowed
                    {
                        state.blocked = state.blocked.max(Some(later(now, *per_ms)));
                    }
                }
                LimitKind::Quota {
                    share_percent,
                    probe_ms,
                    observe,
                } => {
                    if let Some((used, allowed)) = usage(observe, headers) {
                        let spent =
                            u128::from(used) * 100 >= u128::from(allowed) * u128::from(*share_percent);
                        state.blocked = spent.then(|| later(now, *probe_ms));
                        state.quota = true;
                    }
                }
                LimitKind::Window { .. } | LimitKind::Concurrency { .. } => {}
            }
        }
    }

    /// No call of this group before a moment: the system said so.
    pub(crate) fn block(&self, group: Option<&str>, until: Timestamp) {
        let mut states = self.lock();
        // The narrowest limit that applies stands for the group.
        let narrow = self
            .limits
            .iter()
            .position(|(limit, _)| limit.applies.group().is_some() && limit.applies.to(group))
            .or_else(|| self.limits.iter().position(|(limit, _)| limit.applies.to(group)));
        if let Some(state) = narrow.and_then(|at| states.get_mut(at)) {
            state.blocked = state.blocked.max(Some(until));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        // The state is whole after every statement, so that a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn usage(observe: &Observe, headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    match observe {
        Observe::Headers { limit, remaining } => {
            let limit: u64 = text(limit)?.trim().parse().ok()?;
            let remaining: u64 = text(remaining)?.trim().parse().ok()?;
            Some((limit.saturating_sub(remaining), limit))
        }
        Observe::UsedOf { header, after } => {
            let (_, rest) = text(header)?.split_once(after.as_str())?;
            let (used, rest) = rest.split_once('/')?;
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            Some((used.trim().parse().ok()?, rest[..digits].parse().ok()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Applies;
    use crate::testing::ManualClock;

    fn window(name: &str, applies: Applies, limit: u64, per_ms: u64) -> Limit {
        Limit {
            name: name.to_owned(),
            applies,
            kind: LimitKind::Window {
                limit,
                per_ms,
                observe: None,
            },
        }
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn a_window_never_holds_more_than_its_limit() {
        let clock = ManualClock::default();
        let limiter = Limiter::new(&[window("search", Applies::Only("search".into()), 5, 1_000)]);
        let mut calls = Vec::new();
        for _ in 0..23 {
            limiter.acquire(Some("search"), &clock).await.unwrap();
            calls.push(clock.now());
        }
        for five in calls.windows(6) {
            assert!(crate::clock::between(five[0], five[5]) >= 1_000, "{five:?}");
        }
        // Other groups are not held up.
        let before = clock.now();
        limiter.acquire(None, &clock).await.unwrap();
        assert_eq!(clock.now(), before);
    }

    #[tokio::test]
    async fn a_wait_beyond_the_bound_is_told_instead() {
        let clock = ManualClock::default();
        let limiter = Limiter::new(&[window("slow", Applies::All, 1, 60_000)]);
        limiter.acquire(None, &clock).await.unwrap();
        let failure = limiter.acquire(None, &clock).await.err().unwrap();
        let until = later(clock.now(), 60_000);
        assert_eq!(failure.class, Class::RateLimited { until });
    }

    #[tokio::test]
    async fn the_share_of_a_quota_is_learned_from_answers() {
        let clock = ManualClock::default();
        let quota = Limit {
            name: "daily".to_owned(),
            applies: Applies::All,
            kind: LimitKind::Quota {
                share_percent: 80,
                probe_ms: 900_000,
                observe: Observe::UsedOf {
                    header: "sforce-limit-info".to_owned(),
                    after: "api-usage=".to_owned(),
                },
            },
        };
        let limiter = Limiter::new(&[quota]);
        let said = |text| limiter.observe(None, &headers("sforce-limit-info", text), clock.now());
        said("api-usage=11999/15000");
        assert!(limiter.acquire(None, &clock).await.is_ok());
        said("api-usage=12000/15000; per-app-api-usage=17/250(appName=x)");
        let failure = limiter.acquire(None, &clock).await.err().unwrap();
        let until = later(clock.now(), 900_000);
        assert_eq!(failure.class, Class::QuotaExhausted { until });
        clock.advance(900_000);
        assert!(
            limiter.acquire(None, &clock).await.is_ok(),
            "one call finds out whether it is over"
        );
    }

    #[tokio::test]
    async fn concurrency_is_held_while_a_call_is_under_way() {
        let clock = ManualClock::default();
        let limit = Limit {
            name: "long".to_owned(),
            applies: Applies::All,
            kind: LimitKind::Concurrency { limit: 1 },
        };
        let limiter = Limiter::new(&[limit]);
        let held = limiter.acquire(None, &clock).await.unwrap();
        assert!(futures_util::FutureExt::now_or_never(limiter.acquire(None, &clock)).is_none());
        drop(held);
        assert!(limiter.acquire(None, &clock).await.is_ok());
    }
}
