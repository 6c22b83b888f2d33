//! Fields that a system does not know any more, or does not show any more.
//!
//! A *missing* field is in quarantine: it is not asked for and not written, and what was last seen in it stands, so that
//! the other fields of its object flow and nothing is taken for a change.
//! Now and then it is looked for among the system's fields; when it is back, it is one that nobody has read ([`crate::fields`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use connector::{Class, Connection};
use jiff::{SignedDuration, Timestamp};
use ledger::Quarantined;
use serde_json::Value as Json;

use crate::Engine;
use crate::absorb::Place;
use crate::engine::SyncError;

/// How often a missing field is looked for.
const LOOK_EVERY_MS: i64 = 600_000;

/// When each object's missing fields were last looked for, by connection and object.
pub(crate) type Looked = std::sync::Mutex<BTreeMap<(String, String), Timestamp>>;

/// The missing fields of an object.
#[derive(Debug, Default)]
pub(crate) struct Missing(BTreeSet<String>);

impl Missing {
    /// Whether a field is missing; systems do not agree with us about capitals.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.iter().any(|missing| missing.eq_ignore_ascii_case(field))
    }

    /// Puts what was last seen into the missing fields of an object.
    pub(crate) fn as_last_seen(&self, wire: &mut Json, seen: Option<&Json>) {
        let seen = seen.and_then(Json::as_object).into_iter().flatten();
        for (field, value) in seen.filter(|(field, _)| self.has(field)) {
            wire[field] = value.clone();
        }
    }
}

impl Engine {
    pub(crate) async fn missing(&self, connection: &str, object: &str) -> Result<Missing, SyncError> {
        let quarantined = self.ledger.quarantined(Some((connection, object))).await?;
        Ok(Missing(
            quarantined
                .into_iter()
                .map(|quarantined| quarantined.field)
                .collect(),
        ))
    }

    /// Whether a pull or a push is done. When the system did not know a field, that field is put into quarantine, and it
    /// is to be tried again without it.
    pub(crate) async fn learn_missing(
        &self,
        connection: &str,
        object: &str,
        missing: &mut Missing,
        result: Result<(), SyncError>,
    ) -> Result<bool, SyncError> {
        let Err(SyncError::System { failure, .. }) = &result else {
            return result.map(|()| true);
        };
        let Class::SchemaDrift { field: Some(field) } = &failure.class else {
            return result.map(|()| true);
        };
        let system = self.known(connection, object)?;
        let key = system.connector().key_field(object);
        let mapped = self.plan.object_fields(connection, object, None);
        let is_mapped = mapped.iter().any(|mapped| mapped.eq_ignore_ascii_case(field));
        // Without our key nothing can be written safely; what is missing already was not asked for.
        if !is_mapped || missing.has(field) || key.is_some_and(|key| key.eq_ignore_ascii_case(field)) {
            return result.map(|()| true);
        }
        tracing::error!(connection, object, field, %failure, "a field is missing; the others go on without it");
        let quarantined = Quarantined {
            connection: connection.to_owned(),
            object: object.to_owned(),
            field: field.clone(),
            reason: failure.text(),
            since: self.world.now(),
        };
        self.ledger.quarantine(&quarantined).await?;
        self.looked(connection, object);
        missing.0.insert(field.clone());
        Ok(false)
    }

    /// Looks for missing fields, when it is time. Those that are back end their quarantine, and were read with nothing: what
    /// they hold is read again.
    pub(crate) async fn look_again_for(
        &self,
        system: &Connection,
        place: Place<'_>,
    ) -> Result<Missing, SyncError> {
        let (connection, object) = (place.connection, place.object);
        let missing = Missing(place.missing.0.clone());
        if missing.0.is_empty() || !self.time_to_look(connection, object) {
            return Ok(missing);
        }
        self.looked(connection, object);
        let Ok(fields) = system.fields(object).await else {
            // The next look may be luckier; the object flows without the field.
            return Ok(missing);
        };
        let there = |field: &String| fields.iter().any(|known| known.name.eq_ignore_ascii_case(field));
        let (back, still): (Vec<String>, Vec<String>) = missing.0.into_iter().partition(there);
        if !back.is_empty() {
            tracing::info!(connection, object, fields = ?back, "missing fields are back; everything is read again with them");
            self.forget_read(system, place, &back).await?;
            self.ledger.release_fields(connection, object, &back).await?;
        }
        Ok(Missing(still.into_iter().collect()))
    }

    fn time_to_look(&self, connection: &str, object: &str) -> bool {
        let looked = self
            .looked_for_missing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = looked.get(&(connection.to_owned(), object.to_owned()));
        // A process that starts looks at once: starting it is what a person does after correcting something.
        last.is_none_or(|last| {
            self.world.now().duration_since(*last) >= SignedDuration::from_millis(LOOK_EVERY_MS)
        })
    }

    fn looked(&self, connection: &str, object: &str) {
        let mut looked = self
            .looked_for_missing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        looked.insert((connection.to_owned(), object.to_owned()), self.world.now());
    }
}
