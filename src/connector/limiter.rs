//! [`Limiter`]: waits for what a system allows, up to a bound, and learns from its answers.
//!
//! One limiter belongs to one connection, whatever runs on it, because that is how systems count.
//! Each call has a [`Lane`], which has a part of every limit: however much can wait, what cannot finds room.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use outbound::header::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::{Clock, later};
use crate::failure::{Class, Failure};
use crate::lane::Lane;
use crate::manifest::{Limit, LimitKind, Observe};

/// How long one call waits for its turn before it gives up with the time to come back.
pub const LIMIT_WAIT_MAX_MS: u64 = 30_000;

pub(crate) struct Limiter {
    /// Each limit, and what is held at a time, by lane.
    limits: Vec<(Limit, Vec<Arc<Semaphore>>)>,
    state: Mutex<Vec<State>>,
}

#[derive(Default)]
struct State {
    /// When calls were made, oldest first; only for windows.
    calls: VecDeque<(Timestamp, Lane)>,
    /// How many they are, by lane.
    made: [u64; Lane::ALL.len()],
    /// No call before this moment, by lane.
    blocked: [Option<Timestamp>; Lane::ALL.len()],
    /// Whether the block is about the quota.
    quota: bool,
    /// What the last answer said of the quota: used, and allowed.
    told: Option<(u64, u64)>,
}

/// Held while a call is under way.
pub(crate) struct Permit(#[expect(dead_code, reason = "held for its drop")] Vec<OwnedSemaphorePermit>);

impl Limiter {
    pub(crate) fn new(limits: &[Limit]) -> Limiter {
        let limits: Vec<_> = limits
            .iter()
            .map(|limit| {
                let semaphores = match limit.kind {
                    LimitKind::Concurrency { limit } => Lane::ALL.map(|lane| semaphore(lane, limit)).into(),
                    _ => Vec::new(),
                };
                (limit.clone(), semaphores)
            })
            .collect();
        let state = Mutex::new(limits.iter().map(|_| State::default()).collect());
        Limiter { limits, state }
    }

    /// Waits until a call of this group is allowed, and counts it.
    pub(crate) async fn acquire(
        &self,
        group: Option<&str>,
        lane: Lane,
        clock: &dyn Clock,
    ) -> Result<Permit, Failure> {
        let mut permits = Vec::new();
        for (limit, semaphores) in &self.limits {
            // The smallest part first: who waits for it holds nothing that others want.
            for lane in lane.within().filter(|_| limit.applies.to(group)) {
                if let Some(semaphore) = semaphores.get(lane as usize)
                    && let Ok(permit) = Arc::clone(semaphore).acquire_owned().await
                {
                    permits.push(permit);
                }
            }
        }
        let start = clock.now();
        loop {
            let now = clock.now();
            let Some((until, quota)) = self.take(group, lane, now) else {
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
    fn take(&self, group: Option<&str>, lane: Lane, now: Timestamp) -> Option<(Timestamp, bool)> {
        let mut states = self.lock();
        let mut wait: Option<(Timestamp, bool)> = None;
        for ((limit, _), state) in self.limits.iter().zip(states.iter_mut()) {
            if !limit.applies.to(group) {
                continue;
            }
            let blocked = &mut state.blocked[lane as usize];
            if blocked.is_some_and(|until| until <= now) {
                *blocked = None;
            }
            let mut allowed = blocked.map(|until| (until, state.quota));
            if let LimitKind::Window { limit, per_ms, .. } = limit.kind {
                state.leave(per_ms, now);
                let full = state.full(limit, per_ms, lane);
                allowed = allowed.max(full.map(|until| (until, false)));
            }
            wait = wait.max(allowed);
        }
        if wait.is_none() {
            for ((limit, _), state) in self.limits.iter().zip(states.iter_mut()) {
                if limit.applies.to(group) && matches!(limit.kind, LimitKind::Window { .. }) {
                    state.calls.push_back((now, lane));
                    state.made[lane as usize] += 1;
                }
            }
        }
        wait
    }

    /// How long calls of groups in a lane take at least, by the windows that they are counted in.
    pub(crate) fn at_least_ms(&self, calls: &[(Option<&str>, u64)], lane: Lane) -> u64 {
        let windows = self.limits.iter().filter_map(|(limit, _)| match limit.kind {
            LimitKind::Window {
                limit: most, per_ms, ..
            } => Some((limit, lane.part(most), per_ms)),
            _ => None,
        });
        let spans = windows.map(|(limit, part, per_ms)| {
            let counted = calls.iter().filter(|(group, _)| limit.applies.to(*group));
            let counted: u64 = counted.map(|(_, calls)| calls).sum();
            // The last of them need not wait for their window to end.
            (counted.saturating_sub(1) / part).saturating_mul(per_ms)
        });
        spans.max().unwrap_or(0)
    }

    /// Calls that are left of a quota in a lane, as the last answer told.
    pub(crate) fn left(&self, lane: Lane) -> Option<u64> {
        let states = self.lock();
        let left = self
            .limits
            .iter()
            .zip(states.iter())
            .filter_map(|((limit, _), state)| {
                let LimitKind::Quota { share_percent, .. } = limit.kind else {
                    return None;
                };
                let (used, allowed) = state.told?;
                Some(
                    lane.part(allowed.saturating_mul(share_percent) / 100)
                        .saturating_sub(used),
                )
            });
        left.min()
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
                        state.block(later(now, *per_ms));
                    }
                }
                LimitKind::Quota {
                    share_percent,
                    probe_ms,
                    observe,
                } => {
                    if let Some((used, allowed)) = usage(observe, headers) {
                        // A lane has its part of our share, as of everything.
                        let spent = |lane: Lane| {
                            let share = u128::from(*share_percent) * u128::from(lane.percent());
                            u128::from(used) * 10_000 >= u128::from(allowed) * share
                        };
                        state.blocked = Lane::ALL.map(|lane| spent(lane).then(|| later(now, *probe_ms)));
                        state.quota = true;
                        state.told = Some((used, allowed));
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
            state.block(until);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        // The state is whole after every statement, so that a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the calls that have left a window.
    fn leave(&mut self, per_ms: u64, now: Timestamp) {
        while let Some((_, lane)) = self.calls.pop_front_if(|(at, _)| later(*at, per_ms) <= now) {
            self.made[lane as usize] -= 1;
        }
    }

    /// When a window has room again for a call in a lane; nothing if it has now.
    fn full(&self, limit: u64, per_ms: u64, lane: Lane) -> Option<Timestamp> {
        let full = lane.within().filter(|part| {
            let made: u64 = self.made[*part as usize..].iter().sum();
            made >= part.part(limit)
        });
        full.filter_map(|part| {
            let oldest = self.calls.iter().find(|(_, of)| *of >= part);
            oldest.map(|(at, _)| later(*at, per_ms))
        })
        .max()
    }

    fn block(&mut self, until: Timestamp) {
        self.blocked = self.blocked.map(|blocked| blocked.max(Some(until)));
    }
}

fn semaphore(lane: Lane, limit: u64) -> Arc<Semaphore> {
    let permits = usize::try_from(lane.part(limit)).unwrap_or(Semaphore::MAX_PERMITS);
    Arc::new(Semaphore::new(permits))
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
            limiter.acquire(Some("search"), Lane::Live, &clock).await.unwrap();
            calls.push(clock.now());
        }
        for five in calls.windows(6) {
            assert!(crate::clock::between(five[0], five[5]) >= 1_000, "{five:?}");
        }
        // Other groups are not held up.
        let before = clock.now();
        limiter.acquire(None, Lane::Live, &clock).await.unwrap();
        assert_eq!(clock.now(), before);
    }

    #[tokio::test]
    async fn a_wait_beyond_the_bound_is_told_instead() {
        let clock = ManualClock::default();
        let limiter = Limiter::new(&[window("slow", Applies::All, 1, 60_000)]);
        limiter.acquire(None, Lane::Live, &clock).await.unwrap();
        let failure = limiter.acquire(None, Lane::Live, &clock).await.err().unwrap();
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
        assert_eq!(limiter.left(Lane::Live), None, "nobody told yet");
        said("api-usage=11999/15000");
        assert!(limiter.acquire(None, Lane::Live, &clock).await.is_ok());
        assert_eq!(limiter.left(Lane::Live), Some(1));
        assert_eq!(limiter.left(Lane::Backfill), Some(0));
        said("api-usage=12000/15000; per-app-api-usage=17/250(appName=x)");
        let failure = limiter.acquire(None, Lane::Live, &clock).await.err().unwrap();
        let until = later(clock.now(), 900_000);
        assert_eq!(failure.class, Class::QuotaExhausted { until });
        clock.advance(900_000);
        assert!(
            limiter.acquire(None, Lane::Live, &clock).await.is_ok(),
            "one call finds out whether it is over"
        );
    }

    #[test]
    fn calls_are_forecast_by_the_part_that_their_lane_has() {
        let limits = [
            window("all", Applies::All, 100, 10_000),
            window("search", Applies::Only("search".into()), 4, 1_000),
        ];
        let limiter = Limiter::new(&limits);
        // Two searches a second: the first two at once, the last two after nine seconds.
        assert_eq!(
            limiter.at_least_ms(&[(Some("search"), 20), (None, 5)], Lane::Backfill),
            9_000
        );
        assert_eq!(limiter.at_least_ms(&[(None, 101)], Lane::Backfill), 20_000);
        assert_eq!(limiter.at_least_ms(&[(None, 100)], Lane::Live), 0);
        assert_eq!(limiter.left(Lane::Live), None);
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
        let held = limiter.acquire(None, Lane::Live, &clock).await.unwrap();
        assert!(futures_util::FutureExt::now_or_never(limiter.acquire(None, Lane::Live, &clock)).is_none());
        drop(held);
        assert!(limiter.acquire(None, Lane::Live, &clock).await.is_ok());
    }

    #[tokio::test]
    async fn what_can_wait_leaves_room_in_a_window_for_what_cannot() {
        let clock = ManualClock::default();
        let limiter = Limiter::new(&[window("burst", Applies::All, 8, 60_000)]);
        let room = async |lane| {
            let mut calls = 0;
            while limiter.acquire(None, lane, &clock).await.is_ok() {
                calls += 1;
            }
            calls
        };
        assert_eq!(room(Lane::Backfill).await, 4, "half");
        assert_eq!(room(Lane::Retry).await, 2, "three quarters together");
        assert_eq!(room(Lane::Live).await, 2, "the rest");
        // Who came later has room later: the half of a complete reading is that of any minute.
        clock.advance(60_000);
        assert_eq!(room(Lane::Live).await, 8);
        assert_eq!(room(Lane::Backfill).await, 0);
        // The smallest limit has room for everybody in turn.
        let one = Limiter::new(&[window("one", Applies::All, 1, 1_000)]);
        one.acquire(None, Lane::Backfill, &clock).await.unwrap();
        one.acquire(None, Lane::Live, &clock).await.unwrap();
        one.acquire(None, Lane::Backfill, &clock).await.unwrap();
    }

    #[tokio::test]
    async fn what_can_wait_holds_half_of_the_calls_at_a_time() {
        use futures_util::FutureExt as _;
        let clock = ManualClock::default();
        let limit = Limit {
            name: "long".to_owned(),
            applies: Applies::All,
            kind: LimitKind::Concurrency { limit: 4 },
        };
        let limiter = Limiter::new(&[limit]);
        let now = |lane| limiter.acquire(None, lane, &clock).now_or_never();
        let backfill: Vec<_> = (0..2).map(|_| now(Lane::Backfill).unwrap().unwrap()).collect();
        // Two readings wait in line, and hold up nobody else.
        let mut waiting = Box::pin(limiter.acquire(None, Lane::Backfill, &clock));
        assert!((&mut waiting).now_or_never().is_none());
        let live = [now(Lane::Live), now(Lane::Retry)].map(|permit| permit.unwrap().unwrap());
        assert!(now(Lane::Live).is_none());
        drop(live);
        assert!((&mut waiting).now_or_never().is_none());
        drop(backfill);
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_complete_reading_stops_at_half_of_our_share_of_a_quota() {
        let clock = ManualClock::default();
        let quota = Limit {
            name: "daily".to_owned(),
            applies: Applies::All,
            kind: LimitKind::Quota {
                share_percent: 80,
                probe_ms: 900_000,
                observe: Observe::UsedOf {
                    header: "used".to_owned(),
                    after: "=".to_owned(),
                },
            },
        };
        let limiter = Limiter::new(&[quota]);
        for (used, allowed) in [
            ("=399/1000", 3),
            ("=400/1000", 2),
            ("=600/1000", 1),
            ("=800/1000", 0),
        ] {
            limiter.observe(None, &headers("used", used), clock.now());
            for (number, lane) in Lane::ALL.into_iter().enumerate() {
                let permit = limiter.acquire(None, lane, &clock).await;
                assert_eq!(permit.is_ok(), number < allowed, "{used} {lane:?}");
                let until = later(clock.now(), 900_000);
                if let Some(failure) = permit.err() {
                    assert_eq!(failure.class, Class::QuotaExhausted { until });
                }
            }
        }
    }
}
