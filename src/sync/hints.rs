//! Hints: ids that somebody said have changed, read before the cursor comes to them.
//!
//! A cursor reads behind the present, because what changed becomes visible late; an object that is named is read at once.
//! Hints live in this process only: one that is lost, or that another node has, costs the wait for the cursor and nothing
//! else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connector::{Class, Connection, Hint, Object};

use crate::absorb::{Batch, Place};
use crate::engine::SyncError;
use crate::{Engine, Report};

/// Ids of one object of a connection that are remembered at a time; with more, the cursor reads on.
pub(crate) const HINTED_MAX: usize = 10_000;
/// Hinted objects that are absorbed at a time.
const BATCH: usize = 200;

/// What was hinted at, by connection and object.
pub(crate) type Hinted = Mutex<BTreeMap<(String, String), Named>>;

/// What is known to have changed at an object of a connection.
#[derive(Default)]
pub(crate) struct Named {
    ids: BTreeMap<String, Said>,
    /// Whether something changed that nobody named.
    more: bool,
}

/// What was said of an object.
#[derive(Clone)]
struct Said {
    /// Whether it is gone.
    gone: bool,
    /// The trace of who said so.
    trace: String,
}

/// Whether a failure passes, by itself or when it is dealt with elsewhere.
fn passes(class: &Class) -> bool {
    matches!(
        class,
        Class::AuthExpired
            | Class::AuthRevoked
            | Class::RateLimited { .. }
            | Class::QuotaExhausted { .. }
            | Class::Transient
            | Class::Network
            | Class::SchemaDrift { .. }
    )
}

impl Engine {
    /// Remembers what a hint names for the next pull of its object; false when no sync wants that object.
    ///
    /// What it names is read with this trace. An empty id says that something changed, and the cursor finds what.
    pub fn hint(&self, connection: &str, hint: &Hint, trace: &str) -> bool {
        if self.plan.of(connection, &hint.object).next().is_none() {
            return false;
        }
        let system = self.connections.get(connection);
        let by_id = system.is_some_and(|system| system.reads_by_id(&hint.object));
        let mut hinted = self.hinted();
        let named = hinted
            .entry((connection.to_owned(), hint.object.clone()))
            .or_default();
        let room = named.ids.len() < HINTED_MAX || named.ids.contains_key(&hint.id);
        if hint.id.is_empty() || !by_id || !room {
            named.more = true;
        } else {
            // The last word counts: what was deleted may have been restored.
            let gone = matches!(hint.op.as_str(), "delete" | "erase");
            let trace = trace.to_owned();
            named.ids.insert(hint.id.clone(), Said { gone, trace });
        }
        true
    }

    /// Reads what was hinted at; says whether that was all, so that the cursor need not read on. What cannot be read now is
    /// remembered again, what cannot be read at all is left to the cursor.
    pub(crate) async fn read_named(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        fields: &[String],
        report: &mut Report,
    ) -> Result<bool, SyncError> {
        let key = (place.connection.to_owned(), place.object.to_owned());
        let Some(mut named) = self.hinted().remove(&key) else {
            return Ok(false);
        };
        while !named.ids.is_empty() {
            let some = named.ids.iter().take(BATCH);
            let some: BTreeMap<String, Said> = some.map(|(id, said)| (id.clone(), said.clone())).collect();
            if let Err(error) = self.read_some(system, place, fields, &some, report).await {
                if let SyncError::System { failure, .. } = &error
                    && !passes(&failure.class)
                {
                    // One id that the system does not take must not hold up the others: the cursor finds what it can.
                    tracing::warn!(connection = place.connection, object = place.object, %error, "hints are dropped");
                    return Ok(false);
                }
                let mut hinted = self.hinted();
                let again = hinted.entry(key).or_default();
                again.more |= named.more;
                for (id, said) in named.ids {
                    again.ids.entry(id).or_insert(said);
                }
                return Err(error);
            }
            named.ids.retain(|id, _| !some.contains_key(id));
        }
        Ok(!named.more)
    }

    async fn read_some(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        fields: &[String],
        ids: &BTreeMap<String, Said>,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let traces = ids.iter().map(|(id, said)| (id.clone(), said.trace.clone()));
        let trace = self.trace_of_named(traces.collect());
        let place = Place {
            trace: &trace,
            ..place
        };
        let names: Vec<String> = ids.keys().cloned().collect();
        let as_of = self.as_known(place, &names).await?;
        let objects = system.by_ids(place.object, fields, &names).await;
        let mut objects = objects.map_err(|failure| SyncError::System {
            connection: place.connection.to_owned(),
            failure,
        })?;
        // What is not answered may only be invisible for a moment, unless it was said to be gone.
        let answered: BTreeSet<&str> = objects.iter().map(|object| object.id.as_str()).collect();
        let gone = ids
            .iter()
            .filter(|(id, said)| said.gone && !answered.contains(id.as_str()));
        let gone: Vec<Object> = gone.map(|(id, _)| Object::deleted(id)).collect();
        objects.extend(gone);
        self.keep(place.lease).await?;
        let batch = Batch {
            objects: &objects,
            adopt: &BTreeMap::new(),
            as_of,
            cursor: None,
        };
        self.absorb(system, place, batch, report).await
    }

    fn hinted(&self) -> MutexGuard<'_, BTreeMap<(String, String), Named>> {
        // The map is whole after every statement, so that a panic elsewhere does not spoil it.
        self.hinted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
