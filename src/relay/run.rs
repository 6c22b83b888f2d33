//! [`Run`]: one stretch of sending to one endpoint, as one task.
//!
//! Five things go on at once, and none of them waits for another: sends that are in flight, attempts that are being
//! written down, a look at the ledger for more, the renewal of the lease, and listening for what intake hands over.
//! A delivery is *taken* from when it is known here until its attempt is on disk; a look never brings it a second time.
//! What a look brought is *seen* as long as it could still be handed over as well (see [`crate::handover`]).
//! As long as nobody else writes to the ledger a run *stays* when there is nothing to do, and looks only when it is told to
//! (see [`crate::alone`]).
//! Attempts are written as soon as the ones before them are on disk, so that batches grow with the load by themselves.

use std::collections::{HashSet, VecDeque};
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;
use ledger::{Attempt, Due, Lease, LedgerError, Look, NewEvent, Next, Note, Stop, StopKind};
use model::{DeliveryId, EventType};
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval_at, sleep};

use crate::Endpoint;
use crate::alone::Watched;
use crate::attempt::{Showing, Tried, try_once};
use crate::breaker::{Breaker, Effect};
use crate::deliver::{BODY_BYTES_AT_FIRST, Deliverer};
use crate::endpoint::Order;
use crate::folding;
use crate::handed::later;
use crate::handover::Open;
use crate::notice::notice;
use crate::pace::Pace;
use crate::schedule::Pacing;
use crate::waiting::Waiting;

/// Waits between tries of writing attempts down, while the ledger is busy or cannot be reached; the last one from then on.
const SETTLE_RETRY_MS: [u64; 5] = [20, 100, 500, 2_000, 5_000];

/// Why a run begins nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// Nothing is due.
    Quiet,
    /// The process stops, or others wait for their turn.
    Stopped,
    /// The endpoint rests.
    Resting,
    /// The endpoint is to be stopped.
    Disabled,
    /// The endpoint was stopped by somebody else.
    Halted,
    /// Somebody else has the lease.
    Lost,
}

/// What a look brought, and how much it might have brought.
type Looked = Result<(Look, usize), LedgerError>;

/// Until when a lease was renewed, and whether its endpoint was stopped meanwhile; nothing when it was lost.
type Renewed = Result<Option<(Timestamp, bool)>, LedgerError>;

type Settled = (Vec<DeliveryId>, Result<(), LedgerError>);

pub(crate) struct Run<'a> {
    on: &'a Deliverer,
    endpoint: &'a Endpoint,
    open: Open,
    watched: Watched,
    lease: Lease,
    lease_until: Timestamp,
    pace: Pace,
    breaker: Breaker,
    /// As it was in the ledger, to know whether there is anything to note.
    noted: ledger::Health,
    stop: Option<Stop>,
    notices: Vec<NewEvent>,
    waiting: Waiting,
    /// The largest body that the last look brought.
    body_bytes: usize,
    /// The lines of what is being sent.
    lines: HashSet<String>,
    /// Sleeps until the endpoint's rate allows the next send.
    holding: Option<BoxFuture<'a, ()>>,
    /// A send waits for what it is to show. Nothing else begins meanwhile: what waited as well would leave at once, faster
    /// than the endpoint's rate allows.
    waits_to_show: bool,
    taken: HashSet<DeliveryId>,
    seen: HashSet<DeliveryId>,
    /// What is seen, with the ticket after which none can hand it over; oldest first.
    seen_until: VecDeque<(u64, DeliveryId)>,
    sending: FuturesUnordered<BoxFuture<'a, Tried>>,
    done: Vec<Attempt>,
    settling: Option<BoxFuture<'a, Settled>>,
    looking: Option<BoxFuture<'a, Looked>>,
    settled_while_looking: Vec<DeliveryId>,
    renewing: Option<BoxFuture<'a, Renewed>>,
    /// The last renewal failed: the next one waits for its time.
    renewal_failed: bool,
    /// Attempts cannot be written down at present.
    unwritten: Arc<AtomicBool>,
    look_owed: bool,
    /// Something was sent since the last time to look.
    worked: bool,
    /// And before that time, since the one before.
    worked_before: bool,
    /// Something did not arrive, and is due again at a moment that only the ledger knows.
    failed: bool,
    /// It waits for longer than until the next look, because it stays.
    staying: bool,
    closing: Option<Closing>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        on: &'a Deliverer,
        endpoint: &'a Endpoint,
        (open, watched): (Open, Watched),
        (lease, lease_until): (Lease, Timestamp),
        pace: Pace,
        breaker: Breaker,
    ) -> Run<'a> {
        Run {
            on,
            endpoint,
            open,
            watched,
            lease,
            lease_until,
            pace,
            noted: breaker.health,
            breaker,
            stop: None,
            notices: Vec::new(),
            waiting: Waiting::default(),
            body_bytes: BODY_BYTES_AT_FIRST,
            lines: HashSet::new(),
            holding: None,
            waits_to_show: false,
            taken: HashSet::new(),
            seen: HashSet::new(),
            seen_until: VecDeque::new(),
            sending: FuturesUnordered::new(),
            done: Vec::new(),
            settling: None,
            looking: None,
            settled_while_looking: Vec::new(),
            renewing: None,
            renewal_failed: false,
            unwritten: Arc::default(),
            look_owed: false,
            worked: false,
            worked_before: false,
            failed: false,
            staying: false,
            closing: None,
        }
    }

    /// Works until there is nothing to do or no right to do it; answers when to look again.
    pub(crate) async fn run(
        mut self,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<Option<Timestamp>, LedgerError> {
        match self.work(stop).await {
            Ok(()) => self.end().await,
            Err(error) => {
                self.on.keep_pace(&self.endpoint.name, self.pace);
                Err(error)
            }
        }
    }

    async fn work(&mut self, stop: impl Future<Output = ()> + Send) -> Result<(), LedgerError> {
        let limits = &self.on.settings.limits;
        let mut stop = pin!(stop);
        let mut turn_over = pin!(sleep(Duration::from_millis(limits.run_ms_max)));
        self.staying = self.stays();
        let mut look = pin!(sleep(self.look_after()));
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
                Some(tried) = self.sending.next(), if !self.sending.is_empty() => {
                    self.tried(tried);
                    self.come_sooner(look.as_mut());
                }
                settled = ready(&mut self.settling) => self.settled(settled)?,
                looked = ready(&mut self.looking) => self.looked(looked),
                renewed = ready(&mut self.renewing) => self.renewed(renewed),
                () = ready(&mut self.holding), if open => {}
                () = self.open.changed(), if open => {
                    self.take_over();
                    self.come_sooner(look.as_mut());
                }
                () = look.as_mut(), if open => {
                    self.look_or_leave();
                    self.staying = self.stays();
                    look.set(sleep(self.look_after()));
                }
                _ = renew.tick() => self.begin_renewing(),
                () = &mut stop, if open => self.closing = Some(Closing::Stopped),
                () = &mut turn_over, if open => self.closing = Some(Closing::Stopped),
            }
        }
        Ok(())
    }

    /// Whether it stays while there is nothing to do, and need not look for what nobody tells of.
    fn stays(&self) -> bool {
        self.on.alone.is(self.watched) && !self.failed
    }

    fn look_after(&self) -> Duration {
        let limits = &self.on.settings.limits;
        Duration::from_millis(match self.stays() {
            true => limits.stay_ms.max(limits.look_ms),
            false => limits.look_ms,
        })
    }

    /// Looks sooner when it stays no longer.
    fn come_sooner(&self, mut look: Pin<&mut Sleep>) {
        let soonest = Instant::now() + self.look_after();
        if look.deadline() > soonest {
            look.as_mut().reset(soonest);
        }
    }

    fn nothing_in_flight(&self) -> bool {
        self.sending.is_empty() && self.done.is_empty() && self.settling.is_none()
    }

    fn begin_what_can_begin(&mut self) {
        let now = (self.on.clock)();
        // This process stood still for long, or its clock leapt. Only the ledger knows whether the lease is still ours:
        // until it has said so nothing new begins, and what is in flight is waited for, because it has arrived perhaps.
        let ours = now < self.lease_until;
        if !ours && !self.renewal_failed {
            self.begin_renewing();
        }
        if self.closing.is_none() && self.breaker.health.rests_until(now).is_some() {
            self.closing = Some(Closing::Resting);
        }
        let batch_max = self.on.settings.limits.batch_max;
        while ours
            && self.closing.is_none()
            && self.sending.len() < self.allowed()
            // When the ledger does not keep up with writing, sending waits for it; and while it fails all the more, for
            // whatever is sent and not written down is sent again.
            && self.done.len() < batch_max
            && !self.unwritten.load(Ordering::Relaxed)
            && !self.waits_to_show
            && let Some(due) = self.next(now)
        {
            self.worked = true;
            self.pace.begin(now);
            let shown = self.shows();
            self.waits_to_show = matches!(shown, Some(Showing::Later(_)));
            self.sending
                .push(Box::pin(try_once(self.on, self.endpoint, due, shown)));
        }
        if self.settling.is_none() && !self.done.is_empty() {
            self.begin_settling();
        }
        // Not while there is something to send, or no room for it: what is taken would be read once more beside what is
        // new, and an endpoint that hangs would have it read for ever.
        let room = self.waiting.is_empty() && self.sending.len() < self.allowed();
        if self.closing.is_none() && self.looking.is_none() && self.look_owed && room {
            self.begin_looking();
        }
    }

    /// How many sends may be in flight.
    fn allowed(&self) -> usize {
        if self.breaker.probes() {
            1
        } else {
            self.pace.allowed()
        }
    }

    /// What a send shows, where the endpoint wants that. Mostly it is at hand.
    fn shows(&self) -> Option<Showing<'a>> {
        let mut showing = self.endpoint.authorize.as_ref()?.authorization(None);
        Some(match (&mut showing).now_or_never() {
            Some(shown) => Showing::Now(shown),
            None => Showing::Later(showing),
        })
    }

    /// The next one that may be sent now. Of a line one is sent at a time, whoever made several of it due.
    fn next(&mut self, now: Timestamp) -> Option<Due> {
        if self.holding.is_some() || self.waiting.is_empty() {
            return None;
        }
        if let Some(at) = self.pace.wait(now) {
            let wait_ms = at.as_millisecond() - now.as_millisecond();
            let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0).max(1));
            self.holding = Some(Box::pin(sleep(wait)));
            return None;
        }
        if self.endpoint.order == Order::None {
            return self.waiting.take(|_| true);
        }
        let free = |due: &Due| due.line.as_ref().is_none_or(|line| !self.lines.contains(line));
        let due = self.waiting.take(free)?;
        self.lines.extend(due.line.clone());
        Some(due)
    }

    fn begin_settling(&mut self) {
        let attempts = std::mem::take(&mut self.done);
        let (on, lease, unwritten) = (self.on, self.lease.clone(), self.unwritten.clone());
        self.settling = Some(Box::pin(async move {
            let deliveries = attempts.iter().map(|attempt| attempt.delivery).collect();
            let settle = || on.asking(on.ledger.settle(Some(&lease), attempts.clone()));
            let written = until_written(&unwritten, settle).await;
            (deliveries, written)
        }));
    }

    fn begin_looking(&mut self) {
        self.take_over();
        self.look_owed = false;
        // What is taken is still due in the ledger's eyes, and older than what is new.
        let limit = self.taken.len() + self.on.batch_max(self.body_bytes);
        let (on, endpoint, lease) = (self.on, self.endpoint, self.lease.clone());
        let in_flight: Vec<DeliveryId> = self.taken.iter().copied().collect();
        self.looking = Some(Box::pin(on.asking(async move {
            let look = folding::look(on, endpoint, &lease, &in_flight, limit).await?;
            Ok((look, limit))
        })));
    }

    fn begin_renewing(&mut self) {
        if self.renewing.is_none() {
            let (on, endpoint, lease) = (self.on, self.endpoint, self.lease.clone());
            let until = later((on.clock)(), on.settings.limits.lease_ms);
            self.renewing = Some(Box::pin(on.asking(async move {
                // It tells as well whether the endpoint is stopped: whoever hangs has no room for a look, which would.
                let kept = on.ledger.keep_turn(&lease, &endpoint.name, until).await?;
                Ok(kept.map(|halted| (until, halted)))
            })));
        }
    }

    /// Takes a delivery; false when it is taken already.
    fn take(&mut self, due: Due) -> bool {
        let new = self.taken.insert(due.delivery);
        if new {
            self.waiting.push(due);
        }
        new
    }

    fn take_over(&mut self) {
        let news = self.open.take();
        self.look_owed |= news.announced;
        if news.halted && self.closing.is_none() {
            self.closing = Some(Closing::Halted);
        }
        let (waiting_max, bytes_max) = (self.on.waiting_max(), self.on.waiting_bytes_max());
        for due in news.handed {
            if !self.waiting.has_room(&due, waiting_max, bytes_max) {
                // It is read when there is room.
                self.look_owed = true;
            } else if !self.seen.contains(&due.delivery) {
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
        if let Some(line) = &tried.line {
            self.lines.remove(line);
        }
        self.failed |= matches!(tried.attempt.next, Next::Retry(_));
        let now = (self.on.clock)();
        if tried.waited {
            // It left just now, and counts for this second.
            self.waits_to_show = false;
            self.pace.begin(now);
        }
        if tried.gone {
            self.disable("it answered 410 Gone".to_owned(), now);
        } else if let Some(sign) = tried.sign {
            let effect = match tried.pacing {
                Pacing::Slower(Some(until)) => self.breaker.note_wait(sign, until, now),
                _ => self.breaker.note(sign, now),
            };
            self.took_effect(effect, &tried.attempt, now);
        }
        self.done.push(tried.attempt);
    }

    fn took_effect(&mut self, effect: Effect, attempt: &Attempt, now: Timestamp) {
        // What the endpoint said goes to nobody else.
        let answer = || match attempt.status {
            Some(status) => format!("it answered {status}"),
            None => attempt.error.clone(),
        };
        match effect {
            Effect::Nothing | Effect::Reopened => {}
            Effect::Opened => self.tell(&EventType::ENDPOINT_FAILING, &answer(), now),
            Effect::Closed => self.tell(&EventType::ENDPOINT_RECOVERED, "it answers again", now),
            Effect::TooLong => {
                let health = &self.breaker.health;
                let since = health.failing_since.map(|at| at.to_string()).unwrap_or_default();
                let reason = format!(
                    "nothing has arrived since {since}, in {} tries; {}",
                    health.failed,
                    answer()
                );
                self.disable(reason, now);
            }
        }
    }

    fn disable(&mut self, reason: String, now: Timestamp) {
        self.closing = Some(Closing::Disabled);
        if self.stop.is_none() {
            self.tell(&EventType::ENDPOINT_DISABLED, &reason, now);
            self.stop = Some(Stop {
                kind: StopKind::Disabled,
                reason,
                at: now,
            });
        }
    }

    /// Tells of a change of the endpoint's state: in the log, and to those who subscribe to it.
    fn tell(&mut self, event_type: &EventType, reason: &str, now: Timestamp) {
        let health = &self.breaker.health;
        tracing::warn!(
            endpoint = self.endpoint.name,
            partner = self.endpoint.partner,
            reason,
            failures = health.failures,
            failing_since = health.failing_since.map(|at| at.to_string()),
            rest_until = health.rest_until.map(|at| at.to_string()),
            event_type = event_type.name(),
            "an endpoint's state changed"
        );
        let (on, endpoint) = (self.on, self.endpoint);
        self.notices.push(notice(
            &on.settings,
            &on.random,
            endpoint,
            event_type,
            (reason, health),
            now,
        ));
    }

    fn settled(&mut self, (deliveries, result): Settled) -> Result<(), LedgerError> {
        // What ended lets the next of its line be due.
        self.look_owed |= self.endpoint.order == Order::Record;
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

    /// Takes over what was due; what is as much as was asked for is not all.
    pub(crate) fn found(&mut self, due: Vec<Due>, limit: usize) {
        self.look_owed |= due.len() >= limit;
        if let Some(largest) = due.iter().map(|due| due.body.len()).max() {
            self.body_bytes = largest;
        }
        let issued = self.open.issued();
        for due in due {
            let delivery = due.delivery;
            if self.take(due) && self.seen.insert(delivery) {
                self.seen_until.push_back((issued, delivery));
            }
        }
    }

    fn looked(&mut self, looked: Looked) {
        let (look, limit) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                // What is in flight is still waited for and written down, or tried to be.
                tracing::warn!(%error, endpoint = self.endpoint.name, "what is due could not be read");
                self.closing = self.closing.or(Some(Closing::Stopped));
                return;
            }
        };
        self.found(look.due, limit);
        // The look may have begun before these were written, so only now can no look bring them again.
        for delivery in self.settled_while_looking.drain(..) {
            self.taken.remove(&delivery);
        }
        if look.stopped && self.closing.is_none() {
            self.closing = Some(Closing::Halted);
        }
    }

    fn renewed(&mut self, renewed: Renewed) {
        self.renewal_failed = renewed.is_err();
        match renewed {
            Ok(Some((until, halted))) => {
                self.lease_until = until;
                if halted && self.closing.is_none() {
                    self.closing = Some(Closing::Halted);
                }
            }
            Ok(None) => self.closing = Some(Closing::Lost),
            // It is ours until it runs out, and may be after that; the next renewal tells.
            Err(error) => tracing::warn!(%error, endpoint = self.endpoint.name, "a lease was not renewed"),
        }
    }

    /// The time to look again has come: leave when nothing happened since the last time. Whoever has only just begun to
    /// work looked then, and leaves soon.
    fn look_or_leave(&mut self) {
        if self.looking.is_some() {
            // Where very many look, a look takes longer than the time between two. What it brings comes first; to owe
            // another one already would go on for ever.
            return;
        }
        let worked_before = std::mem::replace(&mut self.worked_before, self.worked);
        let busy = self.look_owed || !self.waiting.is_empty() || !self.nothing_in_flight();
        if busy || (self.worked && worked_before) {
            self.look_owed |= !self.stays();
        } else if !self.worked && self.staying == self.stays() && self.open.close() {
            // What others accepted meanwhile is told when the turn ends.
            self.closing = Some(Closing::Quiet);
        }
        self.worked = false;
    }

    async fn end(self) -> Result<Option<Timestamp>, LedgerError> {
        let (on, name) = (self.on, &self.endpoint.name);
        // Nobody goes on with what is being asked, so it must not keep its place before the ledger.
        drop((self.looking, self.renewing));
        // Who hands over from now on finds nobody, and asks for a job.
        drop(self.open);
        let now = (on.clock)();
        let mut health = self.breaker.health;
        health.sent_at = self.pace.sent_at();
        on.keep_pace(name, self.pace);
        if self.closing == Some(Closing::Lost) {
            tracing::warn!(endpoint = name, "the lease was lost; whoever has it goes on");
            return Ok(Some(later(now, on.settings.limits.lease_ms)));
        }
        let stopped = self.stop.is_some() || self.closing == Some(Closing::Halted);
        let news = health != self.noted || self.stop.is_some() || !self.notices.is_empty();
        let note = news.then_some(Note {
            health,
            stop: self.stop,
            events: self.notices,
        });
        let until = if stopped {
            Some(Timestamp::MAX)
        } else {
            health.rest_until.filter(|until| *until > now)
        };
        on.keep_resting(name, until);
        on.asking(on.ledger.end_turn(&self.lease, name, note)).await
    }
}

/// Writes down, for as long as it takes: the sends that attempts tell of have happened, and would happen again. Meanwhile
/// they are `unwritten`. Only a stop of the process gives them up.
async fn until_written<W>(unwritten: &AtomicBool, mut write: impl FnMut() -> W) -> Result<(), LedgerError>
where
    W: Future<Output = Result<(), LedgerError>>,
{
    let [.., last_ms] = SETTLE_RETRY_MS;
    let mut waits_ms = SETTLE_RETRY_MS.into_iter();
    loop {
        match write().await {
            Err(error @ (LedgerError::Busy { .. } | LedgerError::Store(_))) => {
                tracing::warn!(%error, "attempts were not written, trying again");
                unwritten.store(true, Ordering::Relaxed);
                sleep(Duration::from_millis(waits_ms.next().unwrap_or(last_ms))).await;
            }
            other => {
                unwritten.store(false, Ordering::Relaxed);
                return other;
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger that is away for many times as long as all the waits take.
    #[tokio::test(start_paused = true)]
    async fn attempts_are_written_however_long_the_ledger_is_away() {
        let (unwritten, mut tries) = (AtomicBool::new(false), 0);
        let began = Instant::now();
        let written = until_written(&unwritten, || {
            tries += 1;
            let seen = unwritten.load(Ordering::Relaxed);
            assert_eq!(seen, tries > 1);
            let result = match tries {
                100 => Ok(()),
                _ => Err(LedgerError::Store("it is away".to_owned())),
            };
            async { result }
        });
        assert!(written.await.is_ok());
        assert!(began.elapsed() > Duration::from_secs(400));
        assert!(!unwritten.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn who_lost_the_lease_writes_no_more() {
        let unwritten = AtomicBool::new(false);
        let lost = || async { Err(LedgerError::LeaseLost("deliver:b".to_owned())) };
        let written = until_written(&unwritten, lost).await;
        assert!(matches!(written, Err(LedgerError::LeaseLost(_))));
    }
}
