//! Rehearsal: what a sync would do, found out by doing it where it counts for nothing.
//!
//! An engine that *rehearses* is the same engine over a ledger that is put over the real one ([`ledger::overlay`]) and
//! connections that read and do not write ([`Connection::rehearsing`]). So it maps, meets, merges and prepares as the real
//! one would, and what it comes to is what the next run comes to, as far as that is in our hands. Beside the counts of its
//! reports it keeps what they do not tell: calls, duplicates, and the first few changes of each sort.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use connector::{CallCount, Connection, Outcome};
use ledger::{Ledger, LedgerError, Link, RecordWrite};
use model::{MatchKey, Record, RecordId};
use serde_json::Value as Json;

use crate::absorb::Place;
use crate::push::Owed;
use crate::{Engine, Report};

/// Where a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From a system into a record.
    In,
    /// From a record into a system.
    Out,
}

/// One change that would be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where it goes.
    pub way: Way,
    /// Whether what it changes would be new.
    pub new: bool,
    /// Whether it is deleted.
    pub deleted: bool,
    /// The record.
    pub record: RecordId,
    /// The object's id at its system; nothing where it would be new there.
    pub external_id: Option<String>,
    /// Each field with its values before and after: on the way in as records have them, on the way out as the system has
    /// them.
    pub fields: Vec<(String, Json, Json)>,
}

/// What is foreseen for an object of a connection, beside the counts of its pulls and pushes.
#[derive(Clone, Debug, Default)]
pub struct Foreseen {
    /// New records that have an identity in common with another one that is there or comes before them: the system has two
    /// of what seems to be one.
    pub duplicates: u64,
    /// The first of them: the object, and the records it is like.
    pub like: Vec<(String, Vec<RecordId>)>,
    /// The first changes: so many new and so many changed ones a way.
    pub samples: Vec<Sample>,
    /// Calls for reading.
    pub reading: CallCount,
    /// Calls for writing.
    pub writing: CallCount,
}

/// What is foreseen so far, by connection and object.
pub(crate) struct Rehearsal {
    /// Changes of one sort that are kept of an object.
    samples_max: usize,
    foreseen: Mutex<BTreeMap<(String, String), Foreseen>>,
}

impl Rehearsal {
    fn of<T>(&self, connection: &str, object: &str, note: impl FnOnce(&mut Foreseen) -> T) -> T {
        let mut all = self.foreseen.lock().unwrap_or_else(PoisonError::into_inner);
        note(all.entry((connection.to_owned(), object.to_owned())).or_default())
    }

    fn sample(&self, place: Place<'_>, sample: Sample) {
        self.of(place.connection, place.object, |foreseen| {
            let sort = |sample: &Sample| (sample.way, sample.new, sample.deleted);
            let alike = |other: &&Sample| sort(other) == sort(&sample);
            if foreseen.samples.iter().filter(alike).count() < self.samples_max {
                foreseen.samples.push(sample);
            }
        });
    }
}

impl Engine {
    /// An engine that rehearses what this one would do, over a ledger that may be written to: an overlay of the real one.
    /// It remembers so many changes of each sort for each object.
    pub fn rehearse(&self, over: Arc<dyn Ledger>, samples_max: usize) -> Engine {
        let connections = self.connections.iter();
        let connections = connections.map(|(name, system)| (name.clone(), Arc::new(system.rehearsing())));
        let mut engine = Engine::new(
            over,
            self.plan.clone(),
            connections.collect(),
            Arc::clone(&self.world),
            // Nobody is to hear of what did not happen.
            Arc::new(|_| crate::Addressed::default()),
            "rehearsal".to_owned(),
        );
        engine.rehearsal = Some(Rehearsal {
            samples_max,
            foreseen: Mutex::default(),
        });
        engine
    }

    /// What was foreseen, by connection and object; nothing where it was not a rehearsal.
    pub fn foreseen(&self) -> BTreeMap<(String, String), Foreseen> {
        let foreseen = self.rehearsal.as_ref().map(|rehearsal| &rehearsal.foreseen);
        let lock = |foreseen: &Mutex<BTreeMap<_, _>>| {
            foreseen.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        foreseen.map(lock).unwrap_or_default()
    }

    /// Counts the calls of a pull or a push.
    pub(crate) fn called(&self, system: &Connection, object: &str, way: Way, report: &mut Report) {
        let calls = system.calls();
        report.counts.called(&calls);
        report.counts.clock_ahead_ms = report.counts.clock_ahead_ms.max(system.clock_ahead_ms());
        if let Some(rehearsal) = &self.rehearsal {
            rehearsal.of(system.name(), object, |foreseen| match way {
                Way::In => foreseen.reading.add(&calls),
                Way::Out => foreseen.writing.add(&calls),
            });
        }
    }

    /// Keeps what was absorbed.
    pub(crate) async fn foresee_records(
        &self,
        place: Place<'_>,
        written: &[RecordWrite],
    ) -> Result<(), LedgerError> {
        let Some(rehearsal) = &self.rehearsal else {
            return Ok(());
        };
        for write in written {
            let external_id = write.changes.first().map(|change| change.external_id.clone());
            let fields = write.changes.iter();
            let fields =
                fields.map(|change| (change.path.clone(), change.before.clone(), change.after.clone()));
            let sample = Sample {
                way: Way::In,
                new: write.read_version == 0,
                deleted: write.record.deleted_at.is_some(),
                record: write.record.id,
                external_id,
                fields: fields.collect(),
            };
            rehearsal.sample(place, sample);
        }
        let new: Vec<&RecordWrite> = written.iter().filter(|write| write.read_version == 0).collect();
        let mut by_kind: BTreeMap<_, BTreeSet<&MatchKey>> = BTreeMap::new();
        for write in &new {
            by_kind
                .entry(write.record.kind())
                .or_default()
                .extend(&write.match_keys);
        }
        let mut holders: BTreeMap<MatchKey, Vec<RecordId>> = BTreeMap::new();
        for (kind, keys) in by_kind {
            let keys: Vec<MatchKey> = keys.into_iter().cloned().collect();
            for (key, id) in self.ledger.matching(kind, &keys).await? {
                holders.entry(key).or_default().push(id);
            }
        }
        let mut to_come: BTreeSet<RecordId> = new.iter().map(|write| write.record.id).collect();
        for write in new {
            let keys = write.match_keys.iter();
            let like: BTreeSet<RecordId> = keys
                .filter_map(|key| holders.get(key))
                .flatten()
                .copied()
                .collect();
            let like: Vec<RecordId> = like.difference(&to_come).copied().collect();
            to_come.remove(&write.record.id);
            if !like.is_empty() {
                let object = write.changes.first().map(|change| change.external_id.clone());
                rehearsal.of(place.connection, place.object, |foreseen| {
                    foreseen.duplicates += 1;
                    if foreseen.like.len() < rehearsal.samples_max {
                        foreseen.like.push((object.unwrap_or_default(), like));
                    }
                });
            }
        }
        Ok(())
    }

    /// Keeps what was taken as deleted.
    pub(crate) fn foresee_deletion(&self, place: Place<'_>, record: &Record, link: &Link) {
        let Some(rehearsal) = &self.rehearsal else {
            return;
        };
        let sample = Sample {
            way: Way::Out,
            new: false,
            deleted: true,
            record: record.id,
            external_id: Some(link.external_id.clone()),
            fields: Vec::new(),
        };
        rehearsal.sample(place, sample);
    }

    /// Keeps what was taken as written.
    pub(crate) fn foresee_writes(&self, place: Place<'_>, writes: &[Owed<'_>], outcomes: &[Outcome]) {
        let Some(rehearsal) = &self.rehearsal else {
            return;
        };
        for (owed, outcome) in writes.iter().zip(outcomes) {
            let Outcome::Written {
                created, left_out, ..
            } = outcome
            else {
                continue;
            };
            let held = owed.link.as_ref().and_then(|link| link.wire.as_ref());
            let before = |field: &str| held.and_then(|held| crate::wire::get(held, field)).cloned();
            let mut write = owed.write.clone();
            write.leave_out(left_out);
            let values = write
                .values
                .iter()
                .map(|(field, after)| (field.clone(), before(field).unwrap_or(Json::Null), after.clone()));
            let sample = Sample {
                way: Way::Out,
                new: *created,
                deleted: false,
                record: owed.record.id,
                external_id: owed.write.id.clone(),
                fields: values.collect(),
            };
            rehearsal.sample(place, sample);
        }
    }
}
