//! [`Handover`]: from intake to a delivery that goes on in the same process, without the way through the ledger.
//!
//! The ledger stays the truth: what is handed over is on disk already, and what is not taken here is read there.
//! A delivery may be handed over *and* read there, but must not be sent twice.
//! So intake takes a numbered *ticket* before the event is accepted: what a look at the ledger brings can only be handed
//! over by a ticket that was given out before the look ended. Until the last of those is back, the receiving end
//! remembers what it read.

use std::collections::{BTreeSet, HashMap, VecDeque};
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
    /// The number of the newest ticket.
    issued: u64,
    /// The numbers of tickets that are not back yet.
    out: BTreeSet<u64>,
    handed: VecDeque<Due>,
    nudged: bool,
    halted: bool,
    closed: bool,
}

/// The right to hand something over; back when it was used, and when it is dropped.
pub(crate) struct Ticket {
    slot: Arc<Slot>,
    number: u64,
}

/// What came in since the last time.
pub(crate) struct News {
    /// What was handed over.
    pub(crate) handed: VecDeque<Due>,
    /// Whether something was only announced, and must be read in the ledger.
    pub(crate) announced: bool,
    /// Whether the endpoint was stopped.
    pub(crate) halted: bool,
    /// Every ticket with a smaller number is back.
    pub(crate) back_below: u64,
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

    /// Tells all deliveries that go on here to look again.
    pub(crate) fn nudge_all(&self) {
        let slots: Vec<Arc<Slot>> = {
            let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
            slots.values().cloned().collect()
        };
        for slot in slots {
            slot.nudge();
        }
    }

    /// Tells a delivery that goes on here that its endpoint was stopped: it begins nothing more.
    pub(crate) fn halt(&self, endpoint: &str) {
        if let Some(slot) = self.slot(endpoint) {
            slot.state().halted = true;
            slot.changed.notify_one();
        }
    }

    /// A ticket for an endpoint that is being sent to.
    pub(crate) fn ticket(&self, endpoint: &str) -> Option<Ticket> {
        let slot = self.slot(endpoint)?;
        let mut state = slot.state();
        state.issued += 1;
        let number = state.issued;
        state.out.insert(number);
        drop(state);
        Some(Ticket { slot, number })
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

    /// How many endpoints are being sent to.
    pub(crate) fn open_count(&self) -> usize {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).len()
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
        if self.slot.takes && state.handed.len() < HANDED_MAX {
            state.handed.push_back(due);
        } else {
            state.nudged = true;
        }
        state.out.remove(&self.number);
        drop(state);
        self.slot.changed.notify_one();
        true
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.slot.state().out.remove(&self.number);
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

    /// What came in since the last time.
    pub(crate) fn take(&self) -> News {
        let mut state = self.slot.state();
        News {
            handed: std::mem::take(&mut state.handed),
            announced: std::mem::take(&mut state.nudged),
            halted: state.halted,
            back_below: state.out.first().copied().unwrap_or(state.issued + 1),
        }
    }

    /// The number of the newest ticket: none after it can hand over what was in the ledger by now.
    pub(crate) fn issued(&self) -> u64 {
        self.slot.state().issued
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
            hops: String::new(),
            line: None,
            sequence: None,
            stands_for: ledger::Numbers::default(),
        }
    }

    /// What came in: the handed deliveries, whether something was announced, and below which number all tickets are back.
    fn news(open: &Open) -> (VecDeque<Due>, bool, u64) {
        let news = open.take();
        (news.handed, news.announced, news.back_below)
    }

    #[test]
    fn what_is_handed_over_arrives_once_and_only_while_somebody_is_there() {
        let handover = Arc::new(Handover::default());
        assert!(handover.ticket("e").is_none() && !handover.nudge("e"));
        let open = handover.open("e", true).unwrap();
        assert!(handover.open("e", true).is_none());
        assert!(handover.ticket("e").unwrap().hand(due(1)));
        assert_eq!(news(&open), ([due(1)].into(), false, 2));
        assert_eq!(news(&open), ([].into(), false, 2));
        assert!(handover.nudge("e"));
        assert!(!open.close(), "what is announced must be looked for");
        assert_eq!(news(&open), ([].into(), true, 2));
        let late = handover.ticket("e").unwrap();
        assert!(open.close());
        assert!(!late.hand(due(2)));
        drop(open);
        assert!(handover.open("e", true).is_some());
    }

    #[test]
    fn tickets_are_known_until_they_are_back() {
        let handover = Arc::new(Handover::default());
        let open = handover.open("e", true).unwrap();
        let (first, second) = (handover.ticket("e").unwrap(), handover.ticket("e").unwrap());
        assert_eq!(open.issued(), 2);
        assert_eq!(news(&open).2, 1, "both are out");
        drop(second);
        assert_eq!(news(&open).2, 1, "the first is still out");
        assert!(first.hand(due(1)));
        assert_eq!(news(&open), ([due(1)].into(), false, 3));
        assert_eq!(handover.ticket("e").unwrap().number, 3);
    }

    #[test]
    fn too_many_and_endpoints_in_order_are_only_announced() {
        let handover = Arc::new(Handover::default());
        let open = handover.open("e", true).unwrap();
        for seed in 0..=255 {
            assert!(handover.ticket("e").unwrap().hand(due(seed)));
        }
        assert!(handover.ticket("e").unwrap().hand(due(0)));
        let (handed, announced, _) = news(&open);
        assert_eq!((handed.len(), announced), (HANDED_MAX, true));

        let in_order = handover.open("o", false).unwrap();
        assert!(handover.ticket("o").unwrap().hand(due(1)));
        assert_eq!(news(&in_order), ([].into(), true, 2));
    }
}
