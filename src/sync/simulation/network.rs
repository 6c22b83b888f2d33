//! [`Network`]: a clock that moves when it is told to, and requests that wait until somebody says what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use connector::Clock;
use jiff::{SignedDuration, Timestamp};
use outbound::{Error, Exchange, Request, Response};
use tokio::sync::oneshot;

use crate::World;

/// When every simulation begins.
pub(crate) const BEGINNING: &str = "2026-11-26T08:00:00Z";

/// Chance from a seed: SplitMix64, whose every state is a good one.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn of(seed: u64) -> Chance {
        Chance(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below a number that is not 0.
    pub(crate) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap_or(0)
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub(crate) fn ms(&mut self, most: i64) -> i64 {
        i64::try_from(self.next() % most.unsigned_abs().max(1)).unwrap_or(0)
    }
}

/// A request that waits.
pub(crate) struct Parked {
    /// Which life of the hub sent it, and when.
    pub(crate) life: u64,
    pub(crate) sent_ms: i64,
    pub(crate) request: Request,
    answer: oneshot::Sender<Result<Response, Error>>,
}

impl Parked {
    /// Lets its sender go on; a dead one does not hear it.
    pub(crate) fn answer(self, answer: Result<Response, Error>) {
        let _ = self.answer.send(answer);
    }
}

#[derive(Default)]
struct State {
    now_ms: i64,
    /// The moments that were told, in microseconds: no two are the same.
    told_us: BTreeSet<i64>,
    number: u64,
    parked: BTreeMap<u64, Parked>,
    sleepers: Vec<(i64, oneshot::Sender<()>)>,
}

/// Everything that is between the hub and its systems.
#[derive(Default)]
pub(crate) struct Network(Mutex<State>);

impl Network {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.state().now_ms
    }

    /// Lets time pass, and wakes who slept until then.
    pub(crate) fn pass(&self, ms: i64) {
        let mut state = self.state();
        state.now_ms += ms;
        let now = state.now_ms;
        let (awake, asleep) = std::mem::take(&mut state.sleepers)
            .into_iter()
            .partition(|(until, _)| *until <= now);
        state.sleepers = asleep;
        for (_, sleeper) in awake {
            let _ = sleeper.send(());
        }
    }

    /// How long until the first sleeper wakes.
    pub(crate) fn until_awake(&self) -> Option<i64> {
        let mut state = self.state();
        // Who died sleeps no more.
        state.sleepers.retain(|(_, sleeper)| !sleeper.is_closed());
        let first = state.sleepers.iter().map(|(until, _)| *until).min()?;
        Some((first - state.now_ms).max(1))
    }

    /// Requests that wait, by their numbers.
    pub(crate) fn waiting(&self) -> Vec<u64> {
        self.state().parked.keys().copied().collect()
    }

    pub(crate) fn take(&self, number: u64) -> Option<Parked> {
        self.state().parked.remove(&number)
    }

    fn count(&self) -> u64 {
        let mut state = self.state();
        state.number += 1;
        state.number
    }

    /// The present by a clock that is so far ahead, or behind.
    fn moment(&self, ahead_ms: i64) -> Timestamp {
        let began: Timestamp = BEGINNING.parse().unwrap();
        let mut state = self.state();
        let mut us = (state.now_ms + ahead_ms) * 1_000;
        while !state.told_us.insert(us) {
            us += 1;
        }
        began + SignedDuration::from_micros(us)
    }
}

/// The end of the network that one life of the hub holds.
pub(crate) struct End {
    pub(crate) life: u64,
    pub(crate) network: Arc<Network>,
    /// How far the clock of its machine is ahead, in milliseconds.
    pub(crate) ahead_ms: Arc<AtomicI64>,
}

impl End {
    fn moment(&self) -> Timestamp {
        self.network.moment(self.ahead_ms.load(Ordering::Relaxed))
    }

    async fn wait(&self, ms: u64) {
        let (wake, woken) = oneshot::channel();
        {
            let mut state = self.network.state();
            let until = state.now_ms + i64::try_from(ms).unwrap();
            state.sleepers.push((until, wake));
        }
        let _ = woken.await;
    }
}

impl Exchange for End {
    fn exchange(
        &self,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Response, Error>> + Send + '_>> {
        Box::pin(async move {
            let host = request.url.host_str().unwrap_or_default().to_owned();
            let number = self.network.count();
            let (answer, answered) = oneshot::channel();
            let parked = Parked {
                life: self.life,
                sent_ms: self.network.now_ms(),
                request,
                answer,
            };
            self.network.state().parked.insert(number, parked);
            let lost = |_| Error::Broken {
                host,
                reason: "nobody answered".to_owned(),
            };
            answered.await.map_err(lost)?
        })
    }
}

#[async_trait]
impl Clock for End {
    fn now(&self) -> Timestamp {
        self.moment()
    }

    async fn sleep(&self, ms: u64) {
        self.wait(ms).await;
    }

    fn nonce(&self) -> String {
        self.network.count().to_string()
    }
}

#[async_trait]
impl World for End {
    fn now(&self) -> Timestamp {
        self.moment()
    }

    async fn sleep(&self, ms: u64) {
        self.wait(ms).await;
    }

    fn random(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&self.network.count().to_be_bytes());
        bytes
    }
}
