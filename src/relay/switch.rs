//! [`Switch`]: persons pause endpoints and let them go on.
//!
//! A paused endpoint is sent nothing; what comes for it is kept, and is sent when it goes on, in its order.
//! What is in flight at that moment still ends. One that was disabled goes on the same way.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use ledger::{EndpointSequence, EndpointState, Ledger, LedgerError, Stop, StopKind};

use crate::handed::{Clock, Nudge};
use crate::{Endpoint, Handover, RelaySettings};

/// Characters that a reason may have.
pub const REASON_CHARS_MAX: usize = 200;

/// Why an endpoint was not switched.
#[derive(Debug, thiserror::Error)]
pub enum NotSwitched {
    /// There is none of that name.
    #[error("there is no endpoint `{0}`")]
    Unknown(String),
    /// It is not stopped.
    #[error("the endpoint `{0}` is not stopped")]
    NotStopped(String),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The word for how an endpoint stands: `ok`, `failing` (the last try did not arrive), `resting` (nothing is sent for a
/// while), `paused` or `disabled`.
pub fn state_word(state: &EndpointState, now: Timestamp) -> &'static str {
    match &state.stop {
        Some(stop) => stop.kind.word(),
        None if state.health.rest_until.is_some_and(|until| until > now) => "resting",
        None if state.health.failed > 0 => "failing",
        None => "ok",
    }
}

/// An endpoint, and how it stands.
#[derive(Debug)]
pub struct Stands {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Whether it is stopped, and how it has answered lately.
    pub state: EndpointState,
    /// How much it was to be told so far.
    pub sequence: EndpointSequence,
}

/// Pauses endpoints and lets them go on.
pub struct Switch {
    ledger: Arc<dyn Ledger>,
    settings: Arc<RelaySettings>,
    handover: Arc<Handover>,
    nudge: Nudge,
    clock: Clock,
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch").finish_non_exhaustive()
    }
}

impl Switch {
    /// A switch. `nudge` is called for endpoints that go on; `handover` is the intake's.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        settings: Arc<RelaySettings>,
        handover: Arc<Handover>,
        nudge: Nudge,
        clock: Clock,
    ) -> Switch {
        Switch {
            ledger,
            settings,
            handover,
            nudge,
            clock,
        }
    }

    /// All endpoints that are configured, by name, and how they stand.
    pub async fn list(&self) -> Result<Vec<Stands>, LedgerError> {
        let states = self.ledger.endpoint_states(None).await?.into_iter();
        let mut states: HashMap<_, _> = states.map(|state| (state.endpoint.clone(), state)).collect();
        let sequences = self.ledger.sequences(None).await?.into_iter();
        let mut sequences: HashMap<_, _> = sequences.map(|one| (one.endpoint.clone(), one)).collect();
        let mut endpoints: Vec<_> = self.settings.endpoints().cloned().collect();
        endpoints.sort_by(|one, other| one.name.cmp(&other.name));
        let stands = endpoints.into_iter().map(|endpoint| Stands {
            state: states.remove(&endpoint.name).unwrap_or_default(),
            sequence: sequences.remove(&endpoint.name).unwrap_or_default(),
            endpoint,
        });
        Ok(stands.collect())
    }

    /// One endpoint, and how it stands.
    pub async fn show(&self, endpoint: &str) -> Result<Stands, NotSwitched> {
        let endpoint = self.find(endpoint)?;
        let states = self.ledger.endpoint_states(Some(&endpoint.name)).await?;
        let sequences = self.ledger.sequences(Some(&endpoint.name)).await?;
        Ok(Stands {
            endpoint,
            state: states.into_iter().next().unwrap_or_default(),
            sequence: sequences.into_iter().next().unwrap_or_default(),
        })
    }

    /// Sends nothing more to an endpoint. One that is stopped already gets the new reason.
    pub async fn pause(&self, endpoint: &str, reason: &str) -> Result<Stop, NotSwitched> {
        let endpoint = self.find(endpoint)?;
        let stop = Stop {
            kind: StopKind::Paused,
            reason: reason.chars().take(REASON_CHARS_MAX).collect(),
            at: (self.clock)(),
        };
        self.ledger.stop_endpoint(&endpoint.name, Some(&stop)).await?;
        self.handover.halt(&endpoint.name);
        tracing::info!(endpoint = endpoint.name, reason, "an endpoint was paused");
        Ok(stop)
    }

    /// Lets an endpoint go on that was paused or disabled, with a health like new; answers why it was stopped.
    pub async fn resume(&self, endpoint: &str) -> Result<Stop, NotSwitched> {
        let endpoint = self.find(endpoint)?;
        if self.show(&endpoint.name).await?.state.stop.is_none() {
            return Err(NotSwitched::NotStopped(endpoint.name.clone()));
        }
        let before = self.ledger.stop_endpoint(&endpoint.name, None).await?;
        let stop = before
            .stop
            .ok_or_else(|| NotSwitched::NotStopped(endpoint.name.clone()))?;
        (self.nudge)(&endpoint.name);
        tracing::info!(endpoint = endpoint.name, "an endpoint goes on");
        Ok(stop)
    }

    fn find(&self, endpoint: &str) -> Result<Arc<Endpoint>, NotSwitched> {
        let found = self.settings.endpoint(endpoint).cloned();
        found.ok_or_else(|| NotSwitched::Unknown(endpoint.to_owned()))
    }
}
