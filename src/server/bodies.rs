//! [`Bodies`]: the bodies that are on their way in, which take no place among the requests that are worked on. When they are
//! too many or too large together, the one that has been on its way for the longest gives way: whoever sends slowly costs
//! whoever sends at once nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The bodies that are on their way in.
pub(crate) struct Bodies {
    bodies_max: usize,
    bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    next: u64,
    /// In the order in which they began.
    bodies: BTreeMap<u64, Body>,
    bytes: usize,
}

struct Body {
    bytes: usize,
    /// Tells the one who reads it to give way, by being dropped.
    _stays: oneshot::Sender<()>,
}

/// One body on its way in, until it is dropped.
pub(crate) struct OnItsWay<'b> {
    bodies: &'b Bodies,
    number: u64,
}

impl Bodies {
    /// With room for so many at once, and so many bytes of them together.
    pub(crate) fn new(bodies_max: usize, bytes_max: usize) -> Bodies {
        Bodies {
            bodies_max: bodies_max.max(1),
            bytes_max,
            held: Mutex::default(),
        }
    }

    /// One more, of which so many bytes are here; the receiver ends when it has to give way.
    pub(crate) fn join(&self, bytes: usize) -> (OnItsWay<'_>, oneshot::Receiver<()>) {
        let (sender, stays) = oneshot::channel();
        let mut held = self.lock();
        let number = held.next;
        held.next += 1;
        held.bytes += bytes;
        let body = Body {
            bytes,
            _stays: sender,
        };
        held.bodies.insert(number, body);
        self.make_room(&mut held);
        drop(held);
        let on_its_way = OnItsWay { bodies: self, number };
        (on_its_way, stays)
    }

    fn make_room(&self, held: &mut Held) {
        while held.bodies.len() > self.bodies_max || held.bytes > self.bytes_max {
            let Some((_, oldest)) = held.bodies.pop_first() else {
                break;
            };
            held.bytes -= oldest.bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OnItsWay<'_> {
    /// So many bytes more of it are here.
    pub(crate) fn grow(&self, bytes: usize) {
        let mut held = self.bodies.lock();
        if let Some(body) = held.bodies.get_mut(&self.number) {
            body.bytes += bytes;
            held.bytes += bytes;
            self.bodies.make_room(&mut held);
        }
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let mut held = self.bodies.lock();
        if let Some(body) = held.bodies.remove(&self.number) {
            held.bytes -= body.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Joined<'b> = (OnItsWay<'b>, oneshot::Receiver<()>);

    fn gave_way(body: &mut Joined<'_>) -> bool {
        body.1.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_oldest_gives_way_when_there_are_too_many() {
        let bodies = Bodies::new(2, 100);
        let (mut first, mut second) = (bodies.join(0), bodies.join(0));
        assert!(!gave_way(&mut first));
        let mut third = bodies.join(0);
        assert!(gave_way(&mut first) && !gave_way(&mut second) && !gave_way(&mut third));
        drop(second);
        let mut fourth = bodies.join(0);
        assert!(!gave_way(&mut third) && !gave_way(&mut fourth));
    }

    #[test]
    fn the_oldest_gives_way_when_they_are_too_large_together() {
        let bodies = Bodies::new(9, 100);
        let (mut first, mut second) = (bodies.join(60), bodies.join(40));
        assert!(!gave_way(&mut first));
        second.0.grow(1);
        assert!(gave_way(&mut first) && !gave_way(&mut second));
        // What gave way counts no more, though its reader has not noticed yet.
        first.0.grow(1_000);
        second.0.grow(59);
        assert!(!gave_way(&mut second));
        drop((first, second));
        assert_eq!(bodies.lock().bytes, 0);
    }
}
