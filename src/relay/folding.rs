//! Folding: while an endpoint is slow or down, of several updates of the same record the newest goes, and stands for the others.
//!
//! A subscription asks for it by `fold`, and only where order is kept ([`Order::Record`]), for it is a line that says what is
//! about the same record. Events of one type are folded, and only when their turn comes: the first of a line is due, and
//! newer ones of its type wait behind it. They are *folded* into the newest, which goes under its own id and number at its
//! own place in the line, with the numbers that it stands for in `webhook-folded`: so a receiver that counts misses nothing.
//! What is in flight, or what a person asked for, is never folded. The feed tells all of them.

use ledger::{Lease, LedgerError, Look};
use model::{DeliveryId, EventType};
use outbound::header::HeaderName;

use crate::deliver::Deliverer;
use crate::endpoint::{Endpoint, Order};

/// The header of the numbers that a delivery stands for: `3-7, 12`.
pub const FOLDED: HeaderName = HeaderName::from_static("webhook-folded");
/// Types of events that are folded in a line one after another before anything of it is sent; the rest is sent as it is.
const ROUNDS_MAX: usize = 16;

impl Endpoint {
    /// Whether updates of some type may be folded.
    pub(crate) fn folds_some(&self) -> bool {
        self.order == Order::Record && self.subscriptions.iter().any(|one| one.fold)
    }

    /// Whether updates of this type are folded: when all subscriptions that mean it say so.
    pub(crate) fn folds(&self, event_type: &str) -> bool {
        if !self.folds_some() {
            return false;
        }
        let Ok(event_type) = EventType::parse(event_type) else {
            return false;
        };
        let mut meant = self.subscriptions.iter().filter(|one| one.means(&event_type));
        meant.next().is_some_and(|one| one.fold) && meant.all(|one| one.fold)
    }
}

/// What is due to an endpoint, after what waits in its lines was folded. `in_flight` has what is taken already.
pub(crate) async fn look(
    on: &Deliverer,
    endpoint: &Endpoint,
    lease: &Lease,
    in_flight: &[DeliveryId],
    limit: usize,
) -> Result<Look, LedgerError> {
    for _ in 0..ROUNDS_MAX {
        let look = on.ledger.look(&endpoint.name, (on.clock)(), limit).await?;
        let first: Vec<DeliveryId> = look
            .due
            .iter()
            .filter(|due| due.line.is_some() && endpoint.folds(&due.event_type))
            .map(|due| due.delivery)
            .filter(|delivery| !in_flight.contains(delivery))
            .collect();
        if first.is_empty() {
            return Ok(look);
        }
        let folded = on.ledger.fold(lease, &first, in_flight).await?;
        if folded == 0 {
            return Ok(look);
        }
        tracing::info!(
            endpoint = endpoint.name,
            folded,
            "updates were folded into newer ones"
        );
    }
    on.ledger.look(&endpoint.name, (on.clock)(), limit).await
}
