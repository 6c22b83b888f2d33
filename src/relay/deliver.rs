//! [`Deliverer`]: sends what an endpoint is owed.
//!
//! One *run* (`run.rs`) works for one endpoint at a time, under the ledger's lease on `deliver:<endpoint>`. Runs know
//! nothing of each other, so an endpoint that hangs holds up nobody but itself.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use ledger::{Ledger, LedgerError, Turn};
use outbound::Sender;
use tokio::sync::Semaphore;

use crate::alone::{Alone, Watch};
use crate::breaker::Breaker;
use crate::endpoint::{Endpoint, Order};
use crate::handed::{Clock, Random, later};
use crate::handover::Handover;
use crate::pace::Pace;
use crate::run::Run;
use crate::settings::RelaySettings;

/// Endpoints that ask the ledger something at the same time; half of the writes that may wait for it
/// ([`ledger::Settings::writes_waiting_max`]), so that many share a commit and there is room for others.
const ASKING_MAX: usize = 2_048;
/// Deliveries that a turn brings along when it begins. Whoever is owed more looks for it, beside those who write.
const FIRST_MAX: usize = 16;
/// How large bodies are taken to be, in bytes, before a look has brought any.
pub(crate) const BODY_BYTES_AT_FIRST: usize = 64 * 1024;

/// Sends deliveries. Share it by `Arc`.
pub struct Deliverer {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) settings: Arc<RelaySettings>,
    sender: Sender,
    /// Those of endpoints to which TLS is spoken in a way of their own.
    own_senders: HashMap<String, Sender>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) handover: Arc<Handover>,
    pub(crate) alone: Alone,
    holder: String,
    paces: Mutex<HashMap<String, Pace>>,
    /// Endpoints that were found to rest or to be stopped, and until when.
    resting: Mutex<HashMap<String, Timestamp>>,
    /// Endpoints that nobody has configured, and somebody was told of.
    unknown: Mutex<HashSet<String>>,
    /// The digests of terms that are known to be kept.
    kept_terms: Mutex<HashSet<String>>,
    /// One for each endpoint that may ask the ledger something at a time.
    asking: Semaphore,
}

impl fmt::Debug for Deliverer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliverer")
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

impl Deliverer {
    /// A deliverer. `holder` names this process among those that share the ledger; `handover` is the intake's.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        settings: Arc<RelaySettings>,
        sender: Sender,
        handover: Arc<Handover>,
        clock: Clock,
        random: Random,
        holder: impl Into<String>,
    ) -> Deliverer {
        let own_sender = |endpoint: &Arc<Endpoint>| {
            let tls = endpoint.tls.as_ref()?;
            Some((endpoint.name.clone(), sender.speaking(tls)))
        };
        Deliverer {
            ledger,
            own_senders: settings.endpoints().filter_map(own_sender).collect(),
            settings,
            sender,
            clock,
            random,
            handover,
            alone: Alone::default(),
            holder: holder.into(),
            paces: Mutex::default(),
            resting: Mutex::default(),
            unknown: Mutex::default(),
            kept_terms: Mutex::default(),
            asking: Semaphore::new(ASKING_MAX),
        }
    }

    /// Tells once of an endpoint that is owed something and not configured.
    pub(crate) fn tell_unknown(&self, endpoint: &str) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.insert(endpoint.to_owned()) {
            tracing::warn!(
                endpoint,
                "deliveries are owed to an endpoint that is not configured; they wait until there is one of that name again"
            );
        }
    }

    /// Sends what the endpoint is owed and answers when to look again; nothing when nothing is owed to it.
    ///
    /// It goes on while there is something to do, at most for `run_ms_max`, and stays for `look_ms` in case that more
    /// comes, or for `stay_ms` while nobody else writes to the ledger. When `stop` is ready, nothing new is begun, and
    /// what is in flight is waited for and written down.
    /// May be called at any time, twice, or late. An error means that the ledger failed: look again after a while.
    pub async fn deliver(
        &self,
        endpoint: &str,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let Some(endpoint) = self.settings.endpoint(endpoint) else {
            self.tell_unknown(endpoint);
            return Ok(None);
        };
        if endpoint.is_only_pulled() {
            // What it is owed waits until it is pulled.
            return Ok(None);
        }
        let now = (self.clock)();
        // Strict order is the ledger's order, so there nothing may overtake on a shorter way.
        let takes = endpoint.in_flight_max > 1 && endpoint.order == Order::None;
        let Some(open) = self.handover.open(&endpoint.name, takes) else {
            // Another call works on it, and looks again when it is told; unless it is about to leave.
            let told = self.handover.nudge(&endpoint.name);
            return Ok((!told).then_some(now));
        };
        self.keep_terms(endpoint).await?;
        let until = later(now, self.settings.limits.lease_ms);
        // What may be folded is folded before it is looked at.
        let first_max = match endpoint.folds_some() {
            true => 0,
            false => self.batch_max(BODY_BYTES_AT_FIRST).min(FIRST_MAX),
        };
        let watched = self.alone.since();
        let turn = self
            .ledger
            .begin_turn(&endpoint.name, &self.holder, now, until, first_max);
        let Some(Turn { lease, state, due }) = self.asking(turn).await? else {
            return Ok(Some(until));
        };
        let left_alone = state.left_alone_until(now);
        self.keep_resting(&endpoint.name, left_alone);
        if left_alone.is_some() {
            drop(open);
            return self
                .asking(self.ledger.end_turn(&lease, &endpoint.name, None))
                .await;
        }
        let pace = self.pace(endpoint, state.health.sent_at);
        let breaker = Breaker::new(endpoint.breaker, state.health);
        let mut run = Run::new(
            self,
            endpoint,
            (open, watched),
            (lease.clone(), until),
            pace,
            breaker,
        );
        run.found(due, first_max);
        let ended = Box::pin(run.run(stop)).await;
        if ended.is_err()
            && let Err(error) = self.ledger.release(&lease).await
        {
            // It runs out by itself.
            tracing::warn!(%error, endpoint = endpoint.name, "a lease was not given back");
        }
        ended
    }

    /// Asks the ledger something for an endpoint. However many endpoints there are, few of them ask at a time, so that who
    /// takes events in always has a place beside them.
    pub(crate) async fn asking<T>(&self, call: impl Future<Output = T> + Send) -> T {
        // It is never closed.
        let _place = self.asking.acquire().await;
        call.await
    }

    /// How many deliveries may wait for an endpoint, with as many as are sent to now.
    pub(crate) fn waiting_max(&self) -> usize {
        let share = self.settings.limits.waiting_max / self.handover.open_count().max(1);
        // Whoever reads one and finds one does not know whether that is all, and reads again.
        share.max(2)
    }

    /// How many bytes of bodies may wait for an endpoint, with as many as are sent to now.
    pub(crate) fn waiting_bytes_max(&self) -> usize {
        self.settings.limits.waiting_bytes_max / self.handover.open_count().max(1)
    }

    /// How many deliveries are read at once for an endpoint whose bodies are so large.
    pub(crate) fn batch_max(&self, body_bytes: usize) -> usize {
        let fit = (self.waiting_bytes_max() / body_bytes.max(1)).max(2);
        let waiting_max = self.waiting_max().min(fit);
        waiting_max.min(self.settings.limits.batch_max)
    }

    /// Looks for what others have written, and has all look who might not see it by themselves.
    pub(crate) async fn look_for_others(&self, watch: &mut Watch) {
        let told = match self.ledger.written_elsewhere().await {
            // So much is written that there is no place to ask: the next look tells.
            Err(LedgerError::Busy { .. }) => return,
            Err(_) => None,
            Ok(told) => told,
        };
        if self.alone.learn(watch, told) {
            self.handover.nudge_all();
        }
    }

    /// Keeps by what an endpoint is told things, before it is told anything.
    async fn keep_terms(&self, endpoint: &Endpoint) -> Result<(), LedgerError> {
        let digest = &endpoint.terms.digest;
        let kept = || self.kept_terms.lock().unwrap_or_else(PoisonError::into_inner);
        if kept().contains(digest) {
            return Ok(());
        }
        self.asking(async {
            // Many endpoints have the same terms.
            if !kept().contains(digest) {
                self.ledger.keep_terms(&endpoint.terms).await?;
                kept().insert(digest.clone());
            }
            Ok(())
        })
        .await
    }

    /// What sends to an endpoint.
    pub(crate) fn sender(&self, endpoint: &Endpoint) -> &Sender {
        self.own_senders.get(&endpoint.name).unwrap_or(&self.sender)
    }

    /// Whether an endpoint rests or is stopped, as far as this process knows.
    pub(crate) fn rests(&self, endpoint: &str) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.get(endpoint).is_some_and(|until| *until > (self.clock)())
    }

    pub(crate) fn keep_resting(&self, endpoint: &str, until: Option<Timestamp>) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        match until {
            Some(until) => resting.insert(endpoint.to_owned(), until),
            None => resting.remove(endpoint),
        };
    }

    /// A number from the whole range, of the bytes that nobody foresees.
    pub(crate) fn random_number(&self) -> u64 {
        let [.., a, b, c, d] = (self.random)();
        u64::from(u32::from_be_bytes([a, b, c, d])) << 32
    }

    fn pace(&self, endpoint: &Endpoint, sent_at: Option<Timestamp>) -> Pace {
        let kept = {
            let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
            paces.remove(&endpoint.name)
        };
        let mut pace = kept.unwrap_or_else(|| Pace::new(endpoint.in_flight_max, endpoint.rate_per_s));
        pace.catch_up(sent_at);
        pace
    }

    pub(crate) fn keep_pace(&self, endpoint: &str, pace: Pace) {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.insert(endpoint.to_owned(), pace);
    }
}
