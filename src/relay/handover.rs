//! [`Handover`]: from intake to a delivery that goes on in the same process, without the way through the ledger.
//!
//! The ledger stays the truth: what is handed over is on disk already, and what is not taken here is read there.
//! What must not happen is that a delivery is handed over *and* read, because it would be sent twice.
//! So intake takes a *ticket* before the event is accepted; when the ledger was looked at after that, the ticket is
//! worth nothing any more, and the delivery is only announced.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ledger::Due;
use tokio::sync::Notify;

/// Deliveries that may wait to be taken over, for an endpoint.
const HANDED_MAX: usize = 256;

/// Which endpoints are being sent to in this process, and what was handed to them.
#[derive(Default)]
pub struct Handover {
    slots: RwLock<HashMap<String, Arc<Slot>>>,
}

struct Slot {
    state: Mutex<State>,
    changed: Notify,
    takes: bool,
}

#[derive(Default)]
struct State {
    looks: u64,
    handed: VecDeque<Due>,
    nudged: bool,
    closed: bool,
}

/// The right to hand something over, as long as the ledger is not looked at.
pub(crate) struct Ticket {
    slot: Arc<Slot>,
    looks: u64,
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked; if it did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nudge(&self) -> bool {
        let mut state = self.state();
        state.nudged = true;
        let open = !state.closed;
        drop(state);
        self.changed.notify_one();
        open
    }
}

impl Handover {
    /// Tells a delivery that goes on here to look again; false when none does, and a job is needed.
    pub fn nudge(&self, endpoint: &str) -> bool {
        self.slot(endpoint).is_some_and(|slot| slot.nudge())
    }

    /// A ticket for an endpoint that is being sent to.
    pub(crate) fn ticket(&self, endpoint: &str) -> Option<Ticket> {
        let slot = self.slot(endpoint)?;
        let looks = slot.state().looks;
        Some(Ticket { slot, looks })
    }

    /// Opens an endpoint; nothing when it is open already. `takes`: whether it takes deliveries over at all.
    pub(crate) fn open(self: &Arc<Handover>, endpoint: &str, takes: bool) -> Option<Open> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if slots.contains_key(endpoint) {
            return None;
        }
        let slot = Arc::new(Slot {
            state: Mutex::new(State::default()),
            changed: Notify::new(),
            takes,
        });
        slots.insert(endpoint.to_owned(), slot.clone());
        Some(Open {
            of: self.clone(),
            endpoint: endpoint.to_owned(),
            slot,
        })
    }

    fn slot(&self, endpoint: &str) -> Option<Arc<Slot>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(endpoint).cloned()
    }
}

impl Ticket {
    /// Hands a delivery over, or announces it; false when nobody is there any more, and a job is needed.
    pub(crate) fn hand(self, due: Due) -> bool {
        let mut state = self.slot.state();
        if state.closed {
            return false;
        }
        if self.slot.takes && state.looks == self.looks && state.handed.len() < HANDED_MAX {
            state.handed.push_back(due);
        } else {
            state.nudged = true;
        }
        drop(state);
        self.slot.changed.notify_one();
        true
    }
}

/// The receiving end; the endpoint is closed when it is dropped.
pub(crate) struct Open {
    of: Arc<Handover>,
    endpoint: String,
    slot: Arc<Slot>,
}

impl Open {
    /// Waits until something was handed over or announced since the last time.
    pub(crate) async fn changed(&self) {
        self.slot.changed.notified().await;
    }

    /// What was handed over, and whether something was announced.
    pub(crate) fn take(&self) -> (VecDeque<Due>, bool) {
        let mut state = self.slot.state();
        (
            std::mem::take(&mut state.handed),
            std::mem::take(&mut state.nudged),
        )
    }

    /// To be called before the ledger is looked at: spoils all tickets, and gives what was handed over before.
    pub(crate) fn look(&self) -> VecDeque<Due> {
        let mut state = self.slot.state();
        state.looks += 1;
        state.nudged = false;
        std::mem::take(&mut state.handed)
    }

    /// Closes, unless something has come in; whoever hands over from now on knows that a job is needed.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.slot.state();
        state.closed = state.handed.is_empty() && !state.nudged;
        state.closed
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.slot.state().closed = true;
        let mut slots = self.of.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.remove(&self.endpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use jiff::Timestamp;
    use model::{DeliveryId, EventId, uuid_from};

    fn due(seed: u8) -> Due {
        let uuid = uuid_from(Timestamp::UNIX_EPOCH, [seed; 10]);
        Due {
            delivery: DeliveryId::from_uuid(uuid),
            event: EventId::from_uuid(uuid),
            event_type: "deal.won".into(),
            source: "acme".into(),
            body: Bytes::new(),
            received_at: Timestamp::UNIX_EPOCH,
            attempts: 0,
            trace: String::new(),
        }
    }

    #[test]
    fn what_is_handed_over_arrives_once_and_only_while_somebody_is_there() {
        let handover = Arc::new(Handover::default());
        assert!(handover.ticket("e").is_none() && !handover.nudge("e"));
        let open = handover.open("e", true).unwrap();
        assert!(handover.open("e", true).is_none());
        assert!(handover.ticket("e").unwrap().hand(due(1)));
        assert_eq!(open.take(), ([due(1)].into(), false));
        assert_eq!(open.take(), ([].into(), false));
        let late = handover.ticket("e").unwrap();
        assert!(open.close());
        assert!(!late.hand(due(2)));
        drop(open);
        assert!(handover.open("e", true).is_some());
    }

    #[test]
    fn a_look_at_the_ledger_spoils_tickets_and_takes_what_is_there() {
        let handover = Arc::new(Handover::default());
        let open = handover.open("e", true).unwrap();
        let before = handover.ticket("e").unwrap();
        assert!(handover.ticket("e").unwrap().hand(due(1)));
        assert_eq!(open.look(), [due(1)]);
        assert!(before.hand(due(2)), "somebody is there, so it is announced");
        assert!(!open.close(), "and must be looked for");
        assert_eq!(open.take(), ([].into(), true));
        assert!(open.close());
    }

    #[test]
    fn too_many_and_endpoints_in_order_are_only_announced() {
        let handover = Arc::new(Handover::default());
        let open = handover.open("e", true).unwrap();
        for seed in 0..=255 {
            assert!(handover.ticket("e").unwrap().hand(due(seed)));
        }
        assert!(handover.ticket("e").unwrap().hand(due(0)));
        let (handed, announced) = open.take();
        assert_eq!((handed.len(), announced), (HANDED_MAX, true));

        let in_order = handover.open("o", false).unwrap();
        assert!(handover.ticket("o").unwrap().hand(due(1)));
        assert_eq!(in_order.take(), ([].into(), true));
    }
}
