//! [`Replayer`]: deliveries are sent again, many at a time, each under the `webhook-id` that it had.
//!
//! A replay is a row of the ledger: which deliveries, how many they were when it was made, how far it has come.
//! One node works at replays at a time, by a lease; it makes a bite of deliveries due and goes on when all of them were
//! tried, so a replay goes as fast as its endpoints take it, takes the place of nothing else for long, outlives a restart,
//! and ends at once when it is cancelled.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use ledger::{DeliveryFilter, Ledger, LedgerError, Replay, ReplayState, ReplayStep, Wanted};
use model::{ReplayId, uuid_from};

use crate::again::{NotAgain, sendable};
use crate::handed::{Clock, Nudge, Random, later};

/// Deliveries that a replay makes due at a time.
pub const BITE_MAX: usize = 200;
/// Replays that go on at the same time; more wait for their turn.
pub const RUNNING_MAX: usize = 20;
/// The lease under which replays go on.
const LEASE: &str = "replay";

/// Begins, continues and ends replays.
pub struct Replayer {
    ledger: Arc<dyn Ledger>,
    only_pulled: Vec<String>,
    look: Nudge,
    clock: Clock,
    random: Random,
    holder: String,
    lease_ms: u64,
}

impl fmt::Debug for Replayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replayer")
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

impl Replayer {
    /// A replayer that leaves out what endpoints are owed that are `only_pulled`. `look` is called for endpoints at which
    /// something became due; `holder` names this process.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        only_pulled: Vec<String>,
        look: Nudge,
        clock: Clock,
        random: Random,
        holder: impl Into<String>,
        lease_ms: u64,
    ) -> Replayer {
        Replayer {
            ledger,
            only_pulled,
            look,
            clock,
            random,
            holder: holder.into(),
            lease_ms,
        }
    }

    /// How many deliveries are meant at present.
    pub async fn count(&self, wanted: &Wanted) -> Result<u64, NotAgain> {
        let wanted = self.meant(wanted, (self.clock)()).await?;
        Ok(self.ledger.count_wanted(&wanted).await?)
    }

    /// Notes a replay of what is meant at present; it begins with the next round of a hub on this ledger.
    pub async fn begin(&self, wanted: &Wanted) -> Result<Replay, NotAgain> {
        let now = (self.clock)();
        // What comes from now on was never tried, and what fails from now on is not meant.
        let wanted = self.meant(wanted, now).await?;
        let total = self.ledger.count_wanted(&wanted).await?;
        // Ids are of the order of receipt, so what came earlier need not be passed over one by one.
        let place = wanted.filter.since.map(|since| uuid_from(since, [0; 10]).into());
        let replay = Replay {
            id: uuid_from(now, (self.random)()).into(),
            wanted,
            state: ReplayState::Running,
            total,
            begun: 0,
            place,
            made_at: now,
            ended_at: None,
        };
        self.ledger.begin_replay(&replay).await?;
        tracing::info!(replay = %replay.id, total, "a replay was made");
        Ok(replay)
    }

    /// Ends a replay; answers whether it was running. What is due already is still sent.
    pub async fn cancel(&self, id: ReplayId) -> Result<bool, LedgerError> {
        self.ledger.cancel_replay(id, (self.clock)()).await
    }

    /// One step of every replay that runs, unless another node is at it; answers whether any of them did something.
    pub async fn round(&self) -> Result<bool, LedgerError> {
        let running = self
            .ledger
            .replays(Some(ReplayState::Running), RUNNING_MAX)
            .await?;
        if running.is_empty() {
            return Ok(false);
        }
        let now = (self.clock)();
        let until = later(now, self.lease_ms);
        let Some(lease) = self.ledger.lease(LEASE, &self.holder, now, until).await? else {
            return Ok(false);
        };
        let mut worked = false;
        let mut stepped = Ok(());
        for replay in running {
            match self.ledger.step_replay(&lease, replay.id, BITE_MAX, now).await {
                Ok(ReplayStep::Bite(endpoints)) => {
                    worked = true;
                    endpoints.iter().for_each(|endpoint| (self.look)(endpoint));
                }
                Ok(ReplayStep::Waits) => {}
                Ok(ReplayStep::Ended) => {
                    tracing::info!(replay = %replay.id, begun = replay.begun, "a replay has ended");
                }
                Err(error) => {
                    stepped = Err(error);
                    break;
                }
            }
        }
        self.ledger.release(&lease).await?;
        stepped.map(|()| worked)
    }

    /// What is meant of that which was received before a moment, and is sent.
    async fn meant(&self, wanted: &Wanted, now: Timestamp) -> Result<Wanted, NotAgain> {
        let filter = sendable(&*self.ledger, &self.only_pulled, &wanted.filter).await?;
        Ok(Wanted {
            filter: DeliveryFilter {
                until: Some(filter.until.map_or(now, |until| until.min(now))),
                ..filter
            },
            arrived: wanted.arrived,
        })
    }
}
