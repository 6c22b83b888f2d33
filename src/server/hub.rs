//! [`Hub`]: what the handlers may use.

use std::sync::Arc;

use ledger::Ledger;
use relay::{Clock, Intake, Nudge, Random, Refusals};
use tokio::sync::Semaphore;

use crate::{ServerSettings, SystemHooks};

/// The parts of the hub behind the HTTP surface. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) systems: Arc<dyn SystemHooks>,
    pub(crate) refusals: Refusals,
    pub(crate) nudge: Nudge,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) settings: Arc<ServerSettings>,
    pub(crate) requests: Arc<Semaphore>,
}

/// What a [`Hub`] is made of.
pub struct HubParts {
    /// The ledger, for what the API shows.
    pub ledger: Arc<dyn Ledger>,
    /// Takes partners' webhooks.
    pub intake: Arc<Intake>,
    /// Takes systems' webhooks.
    pub systems: Arc<dyn SystemHooks>,
    /// Where refused webhooks leave their trace.
    pub refusals: Refusals,
    /// Asks for an endpoint to be looked at, after a delivery was retried by hand.
    pub nudge: Nudge,
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
        let requests = Arc::new(Semaphore::new(parts.settings.requests_max));
        Hub {
            ledger: parts.ledger,
            intake: parts.intake,
            systems: parts.systems,
            refusals: parts.refusals,
            nudge: parts.nudge,
            clock: parts.clock,
            random: parts.random,
            settings: parts.settings,
            requests,
        }
    }
}
