//! [`Waiting`]: what waits in memory to be sent to an endpoint, and how much that is.

use std::collections::VecDeque;

use ledger::Due;

/// Deliveries that wait, in the order in which they came.
#[derive(Default)]
pub(crate) struct Waiting {
    deliveries: VecDeque<Due>,
    /// Of their bodies, together.
    bytes: usize,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Whether one more may wait where so many may, with bodies of so many bytes together. One may in any case.
    pub(crate) fn has_room(&self, due: &Due, deliveries_max: usize, bytes_max: usize) -> bool {
        let fits = self.bytes.saturating_add(due.body.len()) <= bytes_max;
        self.is_empty() || (fits && self.deliveries.len() < deliveries_max)
    }

    pub(crate) fn push(&mut self, due: Due) {
        self.bytes += due.body.len();
        self.deliveries.push_back(due);
    }

    /// Takes out the first that may go.
    pub(crate) fn take(&mut self, may_go: impl Fn(&Due) -> bool) -> Option<Due> {
        let at = self.deliveries.iter().position(may_go)?;
        let due = self.deliveries.remove(at)?;
        self.bytes -= due.body.len();
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;
    use model::{DeliveryId, EventId, uuid_from};

    use super::*;

    fn due(body: &'static str) -> Due {
        let uuid = uuid_from(Timestamp::UNIX_EPOCH, [7; 10]);
        Due {
            delivery: DeliveryId::from_uuid(uuid),
            event: EventId::from_uuid(uuid),
            event_type: String::new(),
            source: String::new(),
            body: Bytes::from_static(body.as_bytes()),
            received_at: Timestamp::UNIX_EPOCH,
            attempts: 0,
            trace: String::new(),
            hops: String::new(),
            line: None,
            sequence: None,
            stands_for: Default::default(),
        }
    }

    #[test]
    fn there_is_room_for_a_number_and_for_bytes_and_for_one_in_any_case() {
        let mut waiting = Waiting::default();
        assert!(waiting.has_room(&due("four"), 0, 0));
        waiting.push(due("four"));
        assert!(waiting.has_room(&due("four"), 2, 8));
        assert!(!waiting.has_room(&due("four"), 1, 8));
        assert!(!waiting.has_room(&due("fives"), 2, 8));
        waiting.push(due("six"));
        assert!(!waiting.has_room(&due("four"), 9, 10));
        assert!(waiting.take(|due| due.body.len() == 9).is_none());
        assert_eq!(waiting.take(|due| due.body.len() == 3).unwrap().body, "six");
        assert!(waiting.has_room(&due("four"), 9, 8));
        waiting.take(|_| true).unwrap();
        assert!(waiting.is_empty() && waiting.bytes == 0);
    }
}
