//! [`Run`]: one stretch of sending to one endpoint, as one task.
//!
//! Five things go on at once, and none of them waits for another: sends that are in flight, attempts that are being
//! written down, a look at the ledger for more, the renewal of the lease, and listening for what intake hands over.
//! A delivery is *taken* from when it is known here until its attempt is on disk; a look never brings it a second time.
//! What a look brought is *seen* as long as it could still be handed over as well (see [`crate::handover`]).
//! Attempts are written as soon as the ones before them are on disk, so that batches grow with the load by themselves.

use std::collections::{HashSet, VecDeque};
use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use ledger::{Attempt, Due, Lease, LedgerError};
use model::DeliveryId;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::Endpoint;
use crate::attempt::{Tried, try_once};
use crate::deliver::Deliverer;
use crate::handed::later;
use crate::handover::Open;
use crate::pace::Pace;

/// Waits between tries of writing attempts down, while the ledger is busy or cannot be reached.
const SETTLE_RETRY_MS: [u64; 5] = [20, 100, 500, 2_000, 5_000];

/// Why a run begins nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// Nothing is due.
    Quiet,
    /// The process stops, or others wait for their turn.
    Stopped,
    /// The endpoint asked for a pause.
    Paused(Timestamp),
    /// The endpoint said 410.
    Gone,
    /// The endpoint was stopped by somebody else.
    Halted,
    /// Somebody else has the lease.
    Lost,
}

struct Look {
    due: Vec<Due>,
    limit: usize,
    halted: bool,
}

type Settled = (Vec<DeliveryId>, Result<(), LedgerError>);

pub(crate) struct Run<'a> {
    on: &'a Deliverer,
    endpoint: &'a Endpoint,
    open: Open,
    lease: Lease,
    lease_until: Timestamp,
    pace: Pace,
    waiting: VecDeque<Due>,
    taken: HashSet<DeliveryId>,
    seen: HashSet<DeliveryId>,
    /// What is seen, with the ticket after which none can hand it over; oldest first.
    seen_until: VecDeque<(u64, DeliveryId)>,
    sending: FuturesUnordered<BoxFuture<'a, Tried>>,
    done: Vec<Attempt>,
    settling: Option<BoxFuture<'a, Settled>>,
    looking: Option<BoxFuture<'a, Result<Look, LedgerError>>>,
    settled_while_looking: Vec<DeliveryId>,
    renewing: Option<BoxFuture<'a, Result<Option<Timestamp>, LedgerError>>>,
    look_owed: bool,
    worked: bool,
    closing: Option<Closing>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        on: &'a Deliverer,
        endpoint: &'a Endpoint,
        open: Open,
        lease: Lease,
        lease_until: Timestamp,
        pace: Pace,
    ) -> Run<'a> {
        Run {
            on,
            endpoint,
            open,
            lease,
            lease_until,
            pace,
            waiting: VecDeque::new(),
            taken: HashSet::new(),
            seen: HashSet::new(),
            seen_until: VecDeque::new(),
            sending: FuturesUnordered::new(),
            done: Vec::new(),
            settling: None,
            looking: None,
            settled_while_looking: Vec::new(),
            renewing: None,
            look_owed: true,
            worked: false,
            closing: None,
        }
    }

    /// Works until there is nothing to do or no right to do it; answers when to look again.
    pub(crate) async fn run(
        mut self,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let limits = &self.on.settings.limits;
        let mut stop = pin!(stop);
        let mut turn_over = pin!(sleep(Duration::from_millis(limits.run_ms_max)));
        let mut look = every(limits.look_ms);
        let mut renew = every(limits.lease_ms / 3);
        loop {
            self.begin_what_can_begin();
            match self.closing {
                Some(Closing::Lost) => break,
                Some(_) if self.nothing_in_flight() => break,
                _ => {}
            }
            let open = self.closing.is_none();
            tokio::select! {
                Some(tried) = self.sending.next(), if !self.sending.is_empty() => self.tried(tried),
                settled = ready(&mut self.settling) => self.settled(settled)?,
                looked = ready(&mut self.looking) => self.looked(looked),
                renewed = ready(&mut self.renewing) => self.renewed(renewed),
                () = self.open.changed(), if open => self.take_over(),
                _ = look.tick(), if open => self.look_or_leave(),
                _ = renew.tick() => self.begin_renewing(),
                () = &mut stop, if open => self.closing = Some(Closing::Stopped),
                () = &mut turn_over, if open => self.closing = Some(Closing::Stopped),
            }
        }
        self.end().await
    }

    fn nothing_in_flight(&self) -> bool {
        self.sending.is_empty() && self.done.is_empty() && self.settling.is_none()
    }

    fn begin_what_can_begin(&mut self) {
        if (self.on.clock)() >= self.lease_until {
            self.closing = Some(Closing::Lost);
            return;
        }
        let batch_max = self.on.settings.limits.batch_max;
        while self.closing.is_none()
            && self.sending.len() < self.pace.allowed()
            // When the ledger does not keep up with writing, sending waits for it.
            && self.done.len() < batch_max
            && let Some(due) = self.waiting.pop_front()
        {
            self.worked = true;
            self.sending.push(Box::pin(try_once(self.on, self.endpoint, due)));
        }
        if self.settling.is_none() && !self.done.is_empty() {
            self.begin_settling();
        }
        // Not while there is something to send, or no room for it: what is taken would be read once more beside what is
        // new, and an endpoint that hangs would have it read for ever.
        let room = self.waiting.is_empty() && self.sending.len() < self.pace.allowed();
        if self.closing.is_none() && self.looking.is_none() && self.look_owed && room {
            self.begin_looking();
        }
    }

    fn begin_settling(&mut self) {
        let attempts = std::mem::take(&mut self.done);
        let (on, lease) = (self.on, self.lease.clone());
        self.settling = Some(Box::pin(async move {
            let deliveries = attempts.iter().map(|attempt| attempt.delivery).collect();
            (deliveries, settle(on, &lease, attempts).await)
        }));
    }

    fn begin_looking(&mut self) {
        self.take_over();
        self.look_owed = false;
        // What is taken is still due in the ledger's eyes, and older than what is new.
        let limit = self.taken.len() + self.on.settings.limits.batch_max;
        let (on, endpoint) = (self.on, self.endpoint);
        self.looking = Some(Box::pin(async move {
            let due = on.ledger.due(&endpoint.name, (on.clock)(), limit).await?;
            let halted = on.ledger.stopped_endpoints().await?;
            let halted = halted.iter().any(|(name, _)| *name == endpoint.name);
            Ok(Look { due, limit, halted })
        }));
    }

    fn begin_renewing(&mut self) {
        if self.renewing.is_none() {
            let (on, lease) = (self.on, self.lease.clone());
            let until = later((on.clock)(), on.settings.limits.lease_ms);
            self.renewing = Some(Box::pin(async move {
                Ok(on.ledger.renew(&lease, until).await?.then_some(until))
            }));
        }
    }

    /// Takes a delivery; false when it is taken already.
    fn take(&mut self, due: Due) -> bool {
        let new = self.taken.insert(due.delivery);
        if new {
            self.waiting.push_back(due);
        }
        new
    }

    fn take_over(&mut self) {
        let news = self.open.take();
        self.look_owed |= news.announced;
        for due in news.handed {
            if !self.seen.contains(&due.delivery) {
                self.take(due);
            }
        }
        while let Some((ticket, delivery)) = self.seen_until.front()
            && *ticket < news.back_below
        {
            self.seen.remove(delivery);
            self.seen_until.pop_front();
        }
    }

    fn tried(&mut self, tried: Tried) {
        self.pace.note(tried.pacing);
        self.done.push(tried.attempt);
        if tried.gone {
            self.closing = Some(Closing::Gone);
        } else if self.closing.is_none()
            && let Some(until) = self.pace.paused_until((self.on.clock)())
        {
            self.closing = Some(Closing::Paused(until));
        }
    }

    fn settled(&mut self, (deliveries, result): Settled) -> Result<(), LedgerError> {
        match result {
            Ok(()) if self.looking.is_some() => self.settled_while_looking.extend(deliveries),
            Ok(()) => deliveries.iter().for_each(|delivery| {
                self.taken.remove(delivery);
            }),
            Err(LedgerError::LeaseLost(_)) => self.closing = Some(Closing::Lost),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn looked(&mut self, look: Result<Look, LedgerError>) {
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                // What is in flight is still waited for and written down, or tried to be.
                tracing::warn!(%error, endpoint = self.endpoint.name, "what is due could not be read");
                self.closing = self.closing.or(Some(Closing::Stopped));
                return;
            }
        };
        self.look_owed |= look.due.len() >= look.limit;
        let issued = self.open.issued();
        for due in look.due {
            let delivery = due.delivery;
            if self.take(due) && self.seen.insert(delivery) {
                self.seen_until.push_back((issued, delivery));
            }
        }
        // The look may have begun before these were written, so only now can no look bring them again.
        for delivery in self.settled_while_looking.drain(..) {
            self.taken.remove(&delivery);
        }
        if look.halted && self.closing.is_none() {
            self.closing = Some(Closing::Halted);
        }
    }

    fn renewed(&mut self, renewed: Result<Option<Timestamp>, LedgerError>) {
        match renewed {
            Ok(Some(until)) => self.lease_until = until,
            Ok(None) => self.closing = Some(Closing::Lost),
            // It is ours until it runs out; the next renewal may succeed before that.
            Err(error) => tracing::warn!(%error, endpoint = self.endpoint.name, "a lease was not renewed"),
        }
    }

    /// The time to look again has come: leave when nothing happened since the last one.
    fn look_or_leave(&mut self) {
        let busy = self.worked || self.look_owed || self.looking.is_some() || !self.waiting.is_empty();
        self.worked = false;
        if busy || !self.nothing_in_flight() {
            self.look_owed = true;
        } else if self.open.close() {
            self.closing = Some(Closing::Quiet);
        }
    }

    async fn end(self) -> Result<Option<Timestamp>, LedgerError> {
        let (on, name) = (self.on, &self.endpoint.name);
        on.keep_pace(name, self.pace);
        let now = (on.clock)();
        match self.closing {
            Some(Closing::Lost) => {
                tracing::warn!(endpoint = name, "the lease was lost; whoever has it goes on");
                Ok(Some(later(now, on.settings.limits.lease_ms)))
            }
            Some(Closing::Gone) => {
                tracing::warn!(endpoint = name, "the endpoint answered 410 Gone and is stopped");
                on.ledger
                    .stop_endpoint(name, Some("it answered 410 Gone"), now)
                    .await?;
                Ok(None)
            }
            Some(Closing::Halted) => Ok(None),
            Some(Closing::Paused(until)) => Ok(on.first_due(name).await?.map(|at| at.max(until))),
            Some(Closing::Quiet | Closing::Stopped) | None => on.first_due(name).await,
        }
    }
}

/// Writes attempts down, again and again while it may succeed: the sends they tell of have happened.
async fn settle(on: &Deliverer, lease: &Lease, attempts: Vec<Attempt>) -> Result<(), LedgerError> {
    for wait_ms in SETTLE_RETRY_MS {
        match on.ledger.settle(Some(lease), attempts.clone()).await {
            Err(error @ (LedgerError::Busy { .. } | LedgerError::Store(_))) => {
                tracing::warn!(%error, count = attempts.len(), "attempts were not written, trying again");
                sleep(Duration::from_millis(wait_ms)).await;
            }
            other => return other,
        }
    }
    on.ledger.settle(Some(lease), attempts).await
}

/// The value of what goes on in a slot, and empties it; never ready when nothing goes on.
async fn ready<T>(slot: &mut Option<BoxFuture<'_, T>>) -> T {
    match slot {
        Some(going_on) => {
            let value = going_on.await;
            *slot = None;
            value
        }
        None => pending().await,
    }
}

fn every(ms: u64) -> tokio::time::Interval {
    let period = Duration::from_millis(ms.max(1));
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
