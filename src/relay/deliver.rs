//! [`Deliverer`]: sends what an endpoint is owed.
//!
//! One *run* (`run.rs`) works for one endpoint at a time, under the ledger's lease on `deliver:<endpoint>`. Runs know
//! nothing of each other, so an endpoint that hangs holds up nobody but itself.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use ledger::{Ledger, LedgerError};
use outbound::Sender;

use crate::handed::{Clock, Random, later};
use crate::handover::Handover;
use crate::pace::Pace;
use crate::run::Run;
use crate::settings::RelaySettings;

/// Sends deliveries. Share it by `Arc`.
pub struct Deliverer {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) settings: Arc<RelaySettings>,
    pub(crate) sender: Sender,
    pub(crate) clock: Clock,
    random: Random,
    handover: Arc<Handover>,
    holder: String,
    paces: Mutex<HashMap<String, Pace>>,
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
        Deliverer {
            ledger,
            settings,
            sender,
            clock,
            random,
            handover,
            holder: holder.into(),
            paces: Mutex::new(HashMap::new()),
        }
    }

    /// Sends what the endpoint is owed and answers when to look again; nothing when nothing is owed to it.
    ///
    /// It goes on while there is something to do, at most for `run_ms_max`, and stays for `look_ms` in case that more
    /// comes. When `stop` is ready, nothing new is begun, and what is in flight is waited for and written down.
    /// May be called at any time, twice, or late. An error means that the ledger failed: look again after a while.
    pub async fn deliver(
        &self,
        endpoint: &str,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let Some(endpoint) = self.settings.endpoint(endpoint) else {
            tracing::warn!(
                endpoint,
                "deliveries are owed to an endpoint that is not configured"
            );
            return Ok(None);
        };
        let now = (self.clock)();
        let pace = self.pace(&endpoint.name, endpoint.in_flight_max);
        if let Some(until) = pace.paused_until(now) {
            return Ok(Some(until));
        }
        // Strict order is the ledger's order, so there nothing may overtake on a shorter way.
        let takes = endpoint.in_flight_max > 1;
        let Some(open) = self.handover.open(&endpoint.name, takes) else {
            // Another call works on it, and looks again when it is told; unless it is about to leave.
            let told = self.handover.nudge(&endpoint.name);
            return Ok((!told).then_some(now));
        };
        let key = format!("deliver:{}", endpoint.name);
        let until = later(now, self.settings.limits.lease_ms);
        let Some(lease) = self.ledger.lease(&key, &self.holder, now, until).await? else {
            return Ok(Some(until));
        };
        let run = Run::new(self, endpoint, open, lease.clone(), until, pace);
        let ended = Box::pin(run.run(stop)).await;
        if let Err(error) = self.ledger.release(&lease).await {
            // It runs out by itself.
            tracing::warn!(%error, endpoint = endpoint.name, "a lease was not given back");
        }
        ended
    }

    /// When the first delivery of an endpoint is due.
    pub(crate) async fn first_due(&self, endpoint: &str) -> Result<Option<Timestamp>, LedgerError> {
        let all = self.ledger.endpoints_due().await?;
        Ok(all
            .into_iter()
            .find(|(name, _)| name == endpoint)
            .map(|(_, at)| at))
    }

    pub(crate) fn random_number(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = (self.random)();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn pace(&self, endpoint: &str, in_flight_max: usize) -> Pace {
        let paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces
            .get(endpoint)
            .copied()
            .unwrap_or_else(|| Pace::new(in_flight_max))
    }

    pub(crate) fn keep_pace(&self, endpoint: &str, pace: Pace) {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.insert(endpoint.to_owned(), pace);
    }
}
