//! Reconciling: everything is compared once more, in the hope that nothing is found.
//!
//! What changed is read as it changes; a *reconciliation* reads all of an object beside that and looks for *drift*: what
//! differs although the ordinary reading should have seen it long ago. What it finds is told, field by field, and healed as
//! any other change is. It reads in the lane of complete readings, keeps its place beside the cursor, with what was found so
//! far, and lets go of the object between two slices, so that news is never held up. What the last one found is kept in the
//! same place ([`reconciled`]), until the next one begins.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connector::{Connection, Lane, Object};
use jiff::{SignedDuration, Timestamp};
use ledger::{Cursor, Ledger, LedgerError, Linked, SyncCommit};
use serde_json::{Value as Json, json};

use crate::absorb::{AsOf, Batch, Place};
use crate::engine::SyncError;
use crate::rehearsal::Way;
use crate::{Depth, Engine, GONE_MAX_PERCENT, Report};

/// Behind the object's name where the place of a reconciliation is kept.
const RECONCILE: &str = "#reconcile";
/// Pages of one slice.
const PAGES_MAX: usize = 20;
/// How old a change must be that the ordinary reading should have seen: systems show changes late, in their listings too.
const SEEN_AFTER_MS: i64 = 600_000;
/// Under which name it is told that an object was not known at all.
pub const UNKNOWN_OBJECT: &str = "(not known)";
/// Under which name it is told that an object was gone.
pub const GONE_OBJECT: &str = "(gone)";

/// What differs, by field, as far as it is found.
pub(crate) struct Drift {
    /// Changes before this moment should have been seen.
    before: Timestamp,
    found: Mutex<BTreeMap<String, u64>>,
}

/// What the last reconciliation of an object came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// When it ended.
    pub at: Timestamp,
    /// What differed, by field, as in [`Report::drift`].
    pub drift: BTreeMap<String, u64>,
}

/// What the last reconciliation of an object came to; nothing while there was none, or another one is under way.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn reconciled(
    ledger: &dyn Ledger,
    connection: &str,
    object: &str,
) -> Result<Option<Reconciled>, LedgerError> {
    let cursor = ledger.cursor(connection, &kept_under(object)).await?;
    let ended = cursor.filter(|cursor| cursor.position["ended"] == true);
    Ok(ended.map(|cursor| Reconciled {
        at: cursor.stored_at,
        drift: drift_of(&cursor.position),
    }))
}

fn kept_under(object: &str) -> String {
    format!("{object}{RECONCILE}")
}

fn drift_of(position: &Json) -> BTreeMap<String, u64> {
    let drift = position["drift"].as_object().into_iter().flatten();
    let drift = drift.filter_map(|(field, number)| Some((field.clone(), number.as_u64()?)));
    drift.collect()
}

/// Whether all that is linked is asked for: the last part of a reconciliation.
fn is_counting(position: &Json) -> bool {
    position["counting"] == true
}

/// Whether a reconciliation has begun and not ended.
fn is_under_way(position: &Json) -> bool {
    is_counting(position) || position.get("at").is_some()
}

impl Drift {
    fn add(&self, fields: Vec<String>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for field in fields {
            *found.entry(field).or_default() += 1;
        }
    }

    fn told(&self) -> BTreeMap<String, u64> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The fields in which an object differs from what was last seen, where that should have been seen before.
pub(crate) fn drifted(
    place: Place<'_>,
    object: &Object,
    known: Option<&Linked>,
    wire: Option<&Json>,
) -> Vec<String> {
    let Some(drift) = place.drift else {
        return Vec::new();
    };
    if object.modified.is_some_and(|modified| modified >= drift.before) {
        return Vec::new();
    }
    let (Some(known), Some(wire)) = (known, wire.and_then(Json::as_object)) else {
        return vec![UNKNOWN_OBJECT.to_owned()];
    };
    let seen = known.link.wire.as_ref().and_then(Json::as_object);
    let seen = |field: &str| seen.and_then(|seen| seen.get(field)).unwrap_or(&Json::Null);
    let differs = |field: &&String| *seen(field) != wire[*field];
    wire.keys().filter(differs).cloned().collect()
}

/// Tells what was found once it is committed.
pub(crate) fn tell(place: Place<'_>, drifted: Vec<String>) {
    if let Some(drift) = place.drift {
        drift.add(drifted);
    }
}

impl Engine {
    /// Compares all of an object with what is known of it, from where the last one stopped; what differs is absorbed.
    /// Everything that changed is read first, and all that is linked is asked for at the end.
    pub async fn reconcile(&self, connection: &str, object: &str) -> Result<Report, SyncError> {
        let (run, started) = (self.new_run(), self.world.now());
        let mut report = Report::default();
        let result = self.reconcile_all(connection, object, run, &mut report).await;
        let result = Self::ended_early(result, &mut report);
        let result = self.watched(connection, result).await;
        self.note(run, (connection, object, "reconcile"), started, &report, &result)
            .await?;
        result?;
        if report.halted.is_some() {
            return Ok(report);
        }
        // What is told of deletions is told by the census.
        if self.known(connection, object)?.reads_by_id(object) {
            let census = Box::pin(self.census(connection, object, GONE_MAX_PERCENT)).await?;
            if census.counts.gone > 0 {
                report.drift.insert(GONE_OBJECT.to_owned(), census.counts.gone);
            }
            report.add_beside(census);
        }
        report.counts.add(&std::mem::take(&mut report.beside));
        if report.halted.is_some() {
            return Ok(report);
        }
        let ended = json!({"ended": true, "drift": report.drift});
        self.keep_reconciling(connection, object, ended).await?;
        if !report.drift.is_empty() {
            tracing::warn!(connection, object, drift = ?report.drift, "a reconciliation found what had not been seen");
        }
        Ok(report)
    }

    /// Reconciles an object if that is due, or goes on with what was interrupted; says when it is due next. The first one is
    /// due when its span has passed since this was first asked.
    pub async fn reconcile_when_due(
        &self,
        connection: &str,
        object: &str,
        every: Duration,
    ) -> Result<(Report, Timestamp), SyncError> {
        self.known(connection, object)?;
        let stored = self.ledger.cursor(connection, &kept_under(object)).await?;
        let Some(stored) = stored else {
            self.keep_reconciling(connection, object, Json::Null).await?;
            return Ok((Report::default(), self.after(every)));
        };
        let every_ms = SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX);
        let due = stored.stored_at.checked_add(every_ms).unwrap_or(Timestamp::MAX);
        if !is_under_way(&stored.position) && due > self.world.now() {
            return Ok((Report::default(), due));
        }
        let report = self.reconcile(connection, object).await?;
        Ok((report, self.after(every)))
    }

    /// Keeps where a reconciliation stands between its parts.
    async fn keep_reconciling(
        &self,
        connection: &str,
        object: &str,
        position: Json,
    ) -> Result<(), LedgerError> {
        let cursor = Cursor::at(position, self.world.now());
        let commit = SyncCommit {
            cursor: Some((connection.to_owned(), kept_under(object), cursor)),
            ..SyncCommit::default()
        };
        self.ledger.commit(commit).await
    }

    async fn reconcile_all(
        &self,
        connection: &str,
        object: &str,
        run: model::RunId,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        loop {
            let pulled = Box::pin(self.pull(connection, object, Depth::Changed)).await?;
            let again = pulled.again.is_some_and(|again| again <= self.world.now());
            report.add_beside(pulled);
            if report.halted.is_some() {
                return Ok(());
            }
            if !again {
                break;
            }
        }
        let seen = SignedDuration::from_millis(SEEN_AFTER_MS);
        let stored = self.ledger.cursor(connection, &kept_under(object)).await?;
        let position = stored.map(|stored| stored.position);
        let position = position.filter(is_under_way).unwrap_or_default();
        let drift = Drift {
            before: self.world.now().checked_sub(seen).unwrap_or(Timestamp::MIN),
            found: Mutex::new(drift_of(&position)),
        };
        let system = Arc::new(self.ready(connection, object).await?.counted());
        let mut result = Ok(!is_counting(&position));
        while let Ok(true) = result {
            result = Box::pin(self.reconcile_slice(&system, object, run, &drift, report)).await;
        }
        self.called(&system, object, Way::In, report);
        report.drift = drift.told();
        result?;
        let counting = json!({"counting": true, "drift": report.drift});
        Ok(self.keep_reconciling(connection, object, counting).await?)
    }

    /// Compares some pages; says whether there are more.
    async fn reconcile_slice(
        &self,
        system: &Arc<Connection>,
        object: &str,
        run: model::RunId,
        drift: &Drift,
        report: &mut Report,
    ) -> Result<bool, SyncError> {
        let connection = system.name();
        let lease = self.turn("pull", connection, object).await?;
        let missing = self.missing(connection, object).await?;
        let trace = self.trace();
        let place = Place {
            drift: Some(drift),
            ..Place::new((connection, object), run, &lease, &missing, &trace)
        };
        let result = self.reconcile_pages(system, place, report).await;
        self.ledger.release(&lease).await?;
        result
    }

    async fn reconcile_pages(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        report: &mut Report,
    ) -> Result<bool, SyncError> {
        let fields = self.fields_of(system, place);
        let name = kept_under(place.object);
        let stored = self.ledger.cursor(place.connection, &name).await?;
        let mut position = stored.and_then(|cursor| cursor.position.get("at").cloned());
        let reading = system.in_lane(Lane::Backfill);
        for _ in 0..PAGES_MAX {
            self.keep_going(place, Way::In).await?;
            let asked_at = self.world.now();
            let page = reading.changes(place.object, &fields, position.as_ref()).await;
            let page = page.map_err(|failure| SyncError::System {
                connection: place.connection.to_owned(),
                failure,
            })?;
            self.keep(place.lease).await?;
            // What this page shows is told with the next one.
            let stands = match page.more {
                true => json!({"at": page.cursor, "drift": place.drift.map(Drift::told)}),
                false => json!({"counting": true, "drift": place.drift.map(Drift::told)}),
            };
            let cursor = Cursor::at(stands, self.world.now());
            let batch = Batch {
                objects: &page.objects,
                adopt: &BTreeMap::new(),
                as_of: AsOf::Listed(asked_at),
                cursor: Some((&name, cursor)),
            };
            self.absorb(system, place, batch, report).await?;
            if !page.more {
                return Ok(false);
            }
            if self.is_wanted_still(place.connection, place.object).await? {
                break;
            }
            position = Some(page.cursor);
        }
        Ok(true)
    }
}
