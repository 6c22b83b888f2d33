//! [`Lookups`]: names that are being looked up now.
//!
//! The system's resolver keeps a thread until a name server has answered, or not, whoever waits for that. Where that
//! takes long, all calls to one name wait for one *lookup*: one thread for each name that nobody answers for, and
//! not one for each call to it. These threads are the runtime's, which a ledger needs, too, so there are at most
//! [`LOOKUPS_MAX`] lookups at a time, and other names wait.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;

/// Names that are looked up at a time: half of the threads that a runtime of tokio has for what blocks, where nobody sets
/// another number.
const LOOKUPS_MAX: usize = 256;

/// The addresses of a name; none when it is not known, or nobody answered.
type Found = Arc<[SocketAddr]>;
type Waiting = HashMap<String, Shared<BoxFuture<'static, Found>>>;

/// Names that are being looked up. Clones are the same.
#[derive(Clone)]
pub(crate) struct Lookups {
    waiting: Arc<Mutex<Waiting>>,
    places: Arc<Semaphore>,
}

impl Default for Lookups {
    fn default() -> Lookups {
        Lookups {
            waiting: Arc::default(),
            places: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }
}

impl Lookups {
    /// The addresses of a name, with whoever looks it up already. Nothing is kept when they are found.
    pub(crate) async fn find(&self, host: &str) -> Found {
        self.with(host, |name| async move {
            match tokio::net::lookup_host((name, 0)).await {
                Ok(found) => found.collect(),
                Err(_) => Vec::new(),
            }
        })
        .await
    }

    async fn with<F>(&self, host: &str, look: impl FnOnce(String) -> F) -> Found
    where
        F: Future<Output = Vec<SocketAddr>> + Send + 'static,
    {
        let lookup = {
            let mut waiting = self.waiting();
            match waiting.get(host) {
                Some(lookup) => lookup.clone(),
                None => {
                    let (name, all, looks) = (host.to_owned(), self.clone(), look(host.to_owned()));
                    // It goes on when whoever asked first has lost patience.
                    let task = tokio::spawn(async move {
                        // Nobody closes it.
                        let _place = all.places.acquire().await;
                        let found = AssertUnwindSafe(looks).catch_unwind().await;
                        all.waiting().remove(&name);
                        Found::from(found.unwrap_or_default())
                    });
                    let lookup = task.map(Result::unwrap_or_default).boxed().shared();
                    waiting.insert(host.to_owned(), lookup.clone());
                    lookup
                }
            }
        };
        lookup.await
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// A name server that answers when it is told to.
    #[derive(Clone, Default)]
    struct Server {
        asked: Arc<AtomicUsize>,
        answers: Arc<Notify>,
    }

    impl Server {
        async fn find(&self, lookups: &Lookups, host: &str) -> Found {
            let server = self.clone();
            let look = |_| async move {
                server.asked.fetch_add(1, Ordering::Relaxed);
                server.answers.notified().await;
                vec![SocketAddr::from(([192, 0, 2, 1], 0))]
            };
            lookups.with(host, look).await
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_for_all_who_ask_meanwhile() {
        let (server, lookups) = (Server::default(), Lookups::default());
        let mut all: Vec<_> = (0..50)
            .map(|_| Box::pin(server.find(&lookups, "slow.example")))
            .collect();
        for one in &mut all {
            assert!(one.now_or_never().is_none());
        }
        // Who asked first gives up; the others get its answer.
        drop(all.remove(0));
        let mut other = Box::pin(server.find(&lookups, "other.example"));
        assert!((&mut other).now_or_never().is_none());
        tokio::task::yield_now().await;
        assert_eq!(server.asked(), 2);
        server.answers.notify_waiters();
        for one in all {
            assert_eq!(one.await.len(), 1);
        }
        assert_eq!(other.await.len(), 1);
        assert!(lookups.waiting().is_empty());

        // What was found is not kept.
        let mut again = Box::pin(server.find(&lookups, "slow.example"));
        assert!((&mut again).now_or_never().is_none());
        tokio::task::yield_now().await;
        assert_eq!(server.asked(), 3);
    }

    #[tokio::test]
    async fn names_that_nobody_answers_for_leave_threads_to_others() {
        let (server, lookups) = (Server::default(), Lookups::default());
        let asks = (0..LOOKUPS_MAX + 1).map(|name| {
            let (server, lookups) = (server.clone(), lookups.clone());
            tokio::spawn(async move { server.find(&lookups, &format!("{name}.example")).await })
        });
        let asks: Vec<_> = asks.collect();
        while server.asked() < LOOKUPS_MAX {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            (server.asked(), lookups.waiting().len()),
            (LOOKUPS_MAX, LOOKUPS_MAX + 1)
        );
        server.answers.notify_one();
        while server.asked() == LOOKUPS_MAX {
            tokio::task::yield_now().await;
        }
        server.answers.notify_waiters();
        for ask in asks {
            assert_eq!(ask.await.unwrap().len(), 1);
        }
    }

    /// A lookup that fails on the way is none that everybody waits for from then on.
    #[tokio::test]
    async fn a_lookup_that_breaks_is_over() {
        let lookups = Lookups::default();
        let broken = |_| async { panic!("out of threads") };
        assert!(lookups.with("a.example", broken).await.is_empty());
        let found = lookups.with("a.example", |_| async {
            vec![SocketAddr::from(([192, 0, 2, 1], 0))]
        });
        assert_eq!(found.await.len(), 1);
    }
}
