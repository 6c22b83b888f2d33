//! [`Hub`]: what the handlers may use.

use std::ops::Deref;
use std::sync::Arc;

use ledger::Ledger;
use relay::{Clock, Intake, Nudge, Random, Refusals, RelaySettings, Replayer, Switch};
use tokio::sync::Semaphore;

use crate::bodies::Bodies;
use crate::{Decisions, Metrics, ServerSettings, SystemHooks};

/// Bytes of bodies that are on their way in, together; but room for two of the largest.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The parts of the hub behind the HTTP surface. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    parts: HubParts,
    /// Places for requests that are worked on.
    requests: Arc<Semaphore>,
    /// Bodies that are on their way in.
    bodies: Bodies,
}

/// What a [`Hub`] is made of.
pub struct HubParts {
    /// The ledger, for what the API shows.
    pub ledger: Arc<dyn Ledger>,
    /// Takes partners' webhooks.
    pub intake: Arc<Intake>,
    /// Who may post and who receives, and what events look like.
    pub relay: Arc<RelaySettings>,
    /// Takes systems' webhooks.
    pub systems: Arc<dyn SystemHooks>,
    /// Takes what persons decide about conflicts.
    pub decisions: Arc<dyn Decisions>,
    /// Measures the hub.
    pub metrics: Arc<dyn Metrics>,
    /// Where refused webhooks leave their trace.
    pub refusals: Refusals,
    /// Asks for an endpoint to be looked at, after a delivery was retried by hand.
    pub nudge: Nudge,
    /// Pauses endpoints and lets them go on.
    pub switch: Arc<Switch>,
    /// Sends deliveries again.
    pub replayer: Arc<Replayer>,
    /// Tells the time.
    pub clock: Clock,
    /// For trace ids.
    pub random: Random,
    /// The bounds.
    pub settings: Arc<ServerSettings>,
}

impl Hub {
    /// Puts a hub together.
    pub fn new(parts: HubParts) -> Hub {
        let settings = &parts.settings;
        let bytes_max = BODIES_BYTES_MAX.max(settings.body_bytes_max.saturating_mul(2));
        Hub(Arc::new(Inner {
            requests: Arc::new(Semaphore::new(settings.requests_max)),
            bodies: Bodies::new(settings.requests_max, bytes_max),
            parts,
        }))
    }

    pub(crate) fn requests(&self) -> &Arc<Semaphore> {
        &self.0.requests
    }

    pub(crate) fn bodies(&self) -> &Bodies {
        &self.0.bodies
    }
}

impl Deref for Hub {
    type Target = HubParts;

    fn deref(&self) -> &HubParts {
        &self.0.parts
    }
}
