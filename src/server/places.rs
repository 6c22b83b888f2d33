//! [`Places`]: the connections that are served. A connection that asks for nothing is *idle*, whether it was asked something
//! before or has sent half a question; when there are too many, the one that has been idle for the longest gives way to the
//! next one: whoever opens many and says nothing keeps nobody out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a connection is idle at least before it gives way: what was answered has left by then, and who has just come
/// has had time to ask.
const IDLE_MS: u64 = 1_000;

/// Places for connections.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    next: u64,
    /// In the order in which they became so.
    connections: BTreeMap<u64, (Instant, Arc<Notify>)>,
}

/// The place of one connection, until it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    gives_way: Arc<Notify>,
    asked: Mutex<Questions>,
    _free: OwnedSemaphorePermit,
}

/// What is being asked on a connection.
#[derive(Default)]
struct Questions {
    open: usize,
    /// Its number among those that are idle, when nothing is.
    idle: Option<u64>,
}

/// A question that is being answered on a connection; when the last one is dropped, the connection is idle again.
pub(crate) struct Asked(Arc<Place>);

/// The body of an answer: until it has left, the connection is not idle.
pub(crate) struct Answer {
    body: axum::body::Body,
    _asked: Asked,
}

impl Places {
    /// For so many connections at once.
    pub(crate) fn new(connections_max: usize) -> Arc<Places> {
        Arc::new(Places {
            free: Arc::new(Semaphore::new(connections_max)),
            idle: Mutex::default(),
        })
    }

    /// A place for one more, which waits for one while all are taken by who asks.
    pub(crate) async fn take(self: &Arc<Places>) -> Arc<Place> {
        let idle = Duration::from_millis(IDLE_MS);
        loop {
            let free = Arc::clone(&self.free).acquire_owned();
            // Whoever finds one free lets everybody stay.
            let free = tokio::select! {
                biased;
                free = free => Some(free),
                () = self.make_room(idle) => None,
            };
            if let Some(free) = free {
                let place = Arc::new(Place {
                    places: Arc::clone(self),
                    gives_way: Arc::new(Notify::new()),
                    asked: Mutex::default(),
                    _free: free.expect("the semaphore is never closed"),
                });
                place.rest();
                return place;
            }
        }
    }

    /// Lets the one give way that has been idle for the longest, when that was long enough; then gives it time to do so.
    async fn make_room(&self, idle: Duration) {
        let oldest = {
            let mut all = lock(&self.idle);
            let oldest = all.connections.first_entry();
            let oldest = oldest.filter(|entry| entry.get().0.elapsed() >= idle);
            oldest.map(|entry| entry.remove().1)
        };
        if let Some(oldest) = oldest {
            oldest.notify_one();
        }
        tokio::time::sleep(idle).await;
    }

    /// A connection is idle from now on; its number among them.
    fn note(&self, gives_way: &Arc<Notify>) -> u64 {
        let mut all = lock(&self.idle);
        let number = all.next;
        all.next += 1;
        all.connections
            .insert(number, (Instant::now(), Arc::clone(gives_way)));
        number
    }

    /// One is idle no more, if it was.
    fn forget(&self, number: Option<u64>) {
        if let Some(number) = number {
            lock(&self.idle).connections.remove(&number);
        }
    }

    /// Ready when no connection is there any more, of as many as there were places.
    pub(crate) async fn empty(&self, connections_max: usize) {
        let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
        let _closed = self.free.acquire_many(all).await;
    }
}

impl Place {
    /// It is asked something.
    pub(crate) fn asked(self: &Arc<Place>) -> Asked {
        let mut asked = lock(&self.asked);
        asked.open += 1;
        self.places.forget(asked.idle.take());
        drop(asked);
        Asked(Arc::clone(self))
    }

    fn rest(&self) {
        let mut asked = lock(&self.asked);
        if asked.open == 0 {
            asked.idle = Some(self.places.note(&self.gives_way));
        }
    }

    /// Ready when it has to give way: it was told so, and nobody has asked anything meanwhile.
    pub(crate) async fn gives_way(&self) {
        loop {
            self.gives_way.notified().await;
            if lock(&self.asked).idle.is_some() {
                return;
            }
        }
    }
}

impl Answer {
    /// What is answered to a question.
    pub(crate) fn new(body: axum::body::Body, asked: Asked) -> Answer {
        Answer { body, _asked: asked }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        lock(&self.0.asked).open -= 1;
        self.0.rest();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.forget(lock(&self.asked).idle.take());
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_idle_for_the_longest_gives_way() {
        let places = Places::new(2);
        let (first, second) = (places.take().await, places.take().await);
        let asked = first.asked();
        let mut third = Box::pin(places.take());
        assert!((&mut third).now_or_never().is_none());
        assert!(second.gives_way().now_or_never().is_none(), "it has just come");
        tokio::time::advance(Duration::from_millis(IDLE_MS)).await;
        assert!((&mut third).now_or_never().is_none());
        assert!(second.gives_way().now_or_never().is_some());
        assert!(
            first.gives_way().now_or_never().is_none(),
            "it is asked something"
        );
        drop(second);
        let third = third.await;

        // The first is idle from now on, and the third has been so for longer.
        let another = first.asked();
        drop(asked);
        assert_eq!(lock(&places.idle).connections.len(), 1);
        drop(another);
        assert_eq!(lock(&places.idle).connections.len(), 2);
        let mut fourth = Box::pin(places.take());
        tokio::time::advance(Duration::from_millis(2 * IDLE_MS)).await;
        assert!((&mut fourth).now_or_never().is_none());
        assert!(first.gives_way().now_or_never().is_none());
        // Who is asked while it is told to give way stays.
        let _asked = third.asked();
        assert!(third.gives_way().now_or_never().is_none());
        tokio::time::advance(Duration::from_millis(IDLE_MS)).await;
        assert!((&mut fourth).now_or_never().is_none());
        assert!(first.gives_way().now_or_never().is_some());
        drop(first);
        let _fourth = fourth.await;
        assert_eq!(lock(&places.idle).connections.len(), 1);
    }
}
