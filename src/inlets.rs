//! Inlets: objects of connections that are cut from what partners post.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ledger::Inlet;
use queue::{Job, Nudge, Queue};
use relay::Subscription;

use crate::catalogue::Catalogue;
use crate::config::Config;

/// The inlets of a configuration, each with what it hears of: of several syncs of one object, what any of them wants.
pub(crate) fn inlets(config: &Config, catalogue: &Catalogue) -> Vec<(Inlet, Vec<Subscription>)> {
    let mut inlets: Vec<(Inlet, Vec<Subscription>)> = Vec::new();
    for sync in &config.syncs {
        let connection = config.connections.get(&sync.connection);
        let mapping = connection.and_then(|one| catalogue.mapping(&one.system, sync.record));
        let (Some(events), Some(mapping)) = (&sync.events, mapping) else {
            continue;
        };
        let inlet = Inlet::new(&sync.connection, mapping.object());
        match inlets.iter_mut().find(|(known, _)| *known == inlet) {
            Some((_, wants)) => wants.extend(events.iter().cloned()),
            None => inlets.push((inlet, events.clone())),
        }
    }
    inlets
}

/// Looks at what a delivery is to: an endpoint by itself, an inlet by a pull of its object.
pub(crate) fn look_at(endpoints: relay::Nudge, pulls: &Arc<Pulls>) -> relay::Nudge {
    let pulls = Arc::clone(pulls);
    Arc::new(move |endpoint: &str| match Inlet::parse(endpoint) {
        Some(inlet) => pulls.nudge(inlet),
        None => endpoints(endpoint),
    })
}

/// Nudges pulls of inlets. While a nudge is on its way to the queue, others of its object are that one.
pub(crate) struct Pulls {
    queue: Queue,
    on_their_way: Mutex<BTreeSet<Inlet>>,
}

impl Pulls {
    pub(crate) fn new(queue: &Queue) -> Arc<Pulls> {
        Arc::new(Pulls {
            queue: queue.clone(),
            on_their_way: Mutex::default(),
        })
    }

    /// Nudges the pull of an inlet, without waiting for the queue. Needs a runtime.
    fn nudge(self: &Arc<Pulls>, inlet: Inlet) {
        let new = self.on_their_way(|all| all.insert(inlet.clone()));
        if !new {
            return;
        }
        let pulls = Arc::clone(self);
        tokio::spawn(async move {
            // What is accepted from here on may be too late for this one.
            pulls.on_their_way(|all| all.remove(&inlet));
            if let Err(error) = pulls.queue.nudge(&[Nudge::now(pull(inlet))]).await {
                // The ledger knows what is due; the next sweep nudges again.
                tracing::warn!(%error, "the queue did not take a nudge");
            }
        });
    }

    fn on_their_way<T>(&self, look: impl FnOnce(&mut BTreeSet<Inlet>) -> T) -> T {
        look(&mut self.on_their_way.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The pull that reads what is due at an inlet.
pub(crate) fn pull(inlet: Inlet) -> Job {
    Job::Pull {
        connection: inlet.connection,
        object: inlet.object,
    }
}
