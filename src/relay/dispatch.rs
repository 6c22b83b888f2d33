//! [`Dispatch`]: each endpoint that is sent to has a task of its own.
//!
//! So no endpoint waits for another one, nor for anything else that this process works at: an endpoint that hangs holds
//! its own task, and there are as many tasks as there are endpoints with something to send.
//! A *nudge* is a wish, from who has just accepted something; it costs next to nothing while an endpoint rests or is
//! stopped. A *look* is asked for by the queue, whose jobs are born of the ledger, and always looks.
//! Not here: durability. What is not looked at here is found by a sweep of the ledger.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::Deliverer;
use crate::alone::Watch;
use crate::handed::later;

/// How long the ledger is left alone after it failed, in milliseconds.
const LEDGER_WAIT_MS: u64 = 5_000;

/// Asks for an endpoint to be looked at again at a moment. Must not block.
pub type Later = Arc<dyn Fn(&str, Timestamp) + Send + Sync>;

/// Runs the deliverer, a task for each endpoint. Share it by `Arc`.
pub struct Dispatch {
    deliverer: Arc<Deliverer>,
    later: Later,
    state: Mutex<State>,
    stopping: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// Endpoints that have a task, and whether it shall go on when it has come to its end.
    running: HashMap<String, bool>,
    /// The task that looks for what others write.
    watch: Option<AbortHandle>,
    tasks: JoinSet<()>,
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch").finish_non_exhaustive()
    }
}

impl Dispatch {
    /// A dispatch. `later` is called with the moment at which an endpoint is to be looked at again.
    pub fn new(deliverer: Arc<Deliverer>, later: Later) -> Dispatch {
        Dispatch {
            deliverer,
            later,
            state: Mutex::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// Tells once of an endpoint that is owed something and not configured.
    pub fn tell_unknown(&self, endpoint: &str) {
        self.deliverer.tell_unknown(endpoint);
    }

    /// Something was accepted for an endpoint: looks at it, unless it rests or is stopped. Needs a runtime.
    pub fn nudge(self: &Arc<Dispatch>, endpoint: &str) {
        if !self.deliverer.rests(endpoint) {
            self.look(endpoint);
        }
    }

    /// Whether nothing is ever sent to an endpoint, so that there is nothing to look at.
    pub fn is_only_pulled(&self, endpoint: &str) -> bool {
        let endpoint = self.deliverer.settings.endpoint(endpoint);
        endpoint.is_some_and(|endpoint| endpoint.is_only_pulled())
    }

    /// Looks at an endpoint, in a task of its own; once more when one is at it. Needs a runtime.
    pub fn look(self: &Arc<Dispatch>, endpoint: &str) {
        if self.is_only_pulled(endpoint) {
            return;
        }
        let mut state = self.state();
        if *self.stopping.borrow() {
            return;
        }
        if let Some(again) = state.running.get_mut(endpoint) {
            *again = true;
            drop(state);
            self.deliverer.handover.nudge(endpoint);
            return;
        }
        state.running.insert(endpoint.to_owned(), false);
        while state.tasks.try_join_next().is_some() {}
        if state.watch.as_ref().is_none_or(AbortHandle::is_finished) {
            let dispatch = self.clone();
            state.watch = Some(state.tasks.spawn(async move { dispatch.watch().await }));
        }
        let (dispatch, endpoint) = (self.clone(), endpoint.to_owned());
        state.tasks.spawn(async move { dispatch.run(&endpoint).await });
    }

    /// Begins nothing new; ready when what was in flight has ended and is written down.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        loop {
            let mut tasks = std::mem::take(&mut self.state().tasks);
            if tasks.is_empty() {
                return;
            }
            while tasks.join_next().await.is_some() {}
        }
    }

    /// Whether an endpoint has a task.
    #[cfg(test)]
    pub(crate) fn runs(&self, endpoint: &str) -> bool {
        self.state().running.contains_key(endpoint)
    }

    async fn run(self: Arc<Dispatch>, endpoint: &str) {
        // Whatever happens, who asks next finds that nobody is at it.
        let mut leaving = Leaving {
            of: &self,
            endpoint,
            told: false,
        };
        loop {
            let mut stopping = self.stopping.subscribe();
            let stop = async move {
                // The sender lives as long as this task.
                let _gone = stopping.wait_for(|stopping| *stopping).await;
            };
            let next = match Box::pin(self.deliverer.deliver(endpoint, stop)).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, endpoint, "the ledger failed");
                    Some(later((self.deliverer.clock)(), LEDGER_WAIT_MS))
                }
            };
            let due = next.is_some_and(|at| at <= (self.deliverer.clock)());
            if *self.stopping.borrow() {
                // Whoever runs next sweeps the ledger.
                return;
            }
            leaving.told = !self.goes_on(endpoint, due);
            // Also when it goes on: whoever stays does not look by itself for what is due later.
            if let Some(at) = next.filter(|_| !due) {
                (self.later)(endpoint, at);
            }
            if leaving.told {
                return;
            }
        }
    }

    /// Looks for what others write, for all endpoints together, as long as any is sent to.
    async fn watch(self: Arc<Dispatch>) {
        let every = Duration::from_millis(self.deliverer.settings.limits.look_ms);
        let (mut stopping, mut watch) = (self.stopping.subscribe(), Watch::default());
        while self.watches_on(&mut watch) {
            self.deliverer.look_for_others(&mut watch).await;
            // The sender lives as long as this task.
            let _stops = timeout(every, stopping.wait_for(|stopping| *stopping)).await;
        }
    }

    fn watches_on(&self, watch: &mut Watch) -> bool {
        let mut state = self.state();
        let goes_on = !state.running.is_empty() && !*self.stopping.borrow();
        if !goes_on {
            // Before anybody can begin a run that goes unwatched.
            self.deliverer.alone.forget(watch);
            state.watch = None;
        }
        goes_on
    }

    /// Whether to go on: there is something due, or somebody asked meanwhile. If not, the next who asks begins a task.
    fn goes_on(&self, endpoint: &str, due: bool) -> bool {
        let mut state = self.state();
        let go_on = due || state.running.get(endpoint).copied().unwrap_or(false);
        if go_on {
            state.running.insert(endpoint.to_owned(), false);
        } else {
            state.running.remove(endpoint);
        }
        go_on
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An endpoint's task ends, one way or the other.
struct Leaving<'d> {
    of: &'d Dispatch,
    endpoint: &'d str,
    /// Its end is known already, and there may be another task by now.
    told: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.of.state().running.remove(self.endpoint);
        }
    }
}
