//! Conflicts that wait for a person.
//!
//! While one is open, each side keeps its value: the field is neither written to the system that differs nor taken from it,
//! and all other fields flow. What either side says meanwhile moves the conflict on. It closes by itself when both sides
//! come to the same value, when the system goes back to what was agreed on, when what we wrote before has come to be there, when
//! its object is not there any more, or when a rule decides that did not before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use ledger::{Conflict, ConflictState, LedgerError, Link, SyncCommit};
use model::merge::{Echoed, Merged, Policy, Winner};
use model::{ConflictId, Fields, Record, RecordId, Value, stored, uuid_from};
use serde_json::Value as Json;

use crate::Engine;
use crate::absorb::{Arrival, Place};

/// Open conflicts by record.
#[derive(Default)]
pub(crate) struct Waiting(HashMap<RecordId, Vec<Conflict>>);

fn json(value: Option<&Value>) -> Json {
    value.map_or(Json::Null, stored::to_json)
}

fn is_here(conflict: &Conflict, place: Place<'_>) -> bool {
    conflict.connection == place.connection && conflict.object == place.object
}

/// The field of a conflict, unless this version of the program has it no more.
fn path_of(conflict: &Conflict) -> Option<&'static model::Field> {
    conflict.record.kind.field(&conflict.path)
}

impl Waiting {
    fn here<'w>(&'w self, record: RecordId, place: Place<'w>) -> impl Iterator<Item = &'w Conflict> {
        let of_record = self.0.get(&record).into_iter().flatten();
        of_record.filter(move |conflict| is_here(conflict, place))
    }

    /// What a record and an object last agreed on: in fields that wait, that is older than what was last seen. Nothing when
    /// no field waits.
    pub(crate) fn base(&self, record: RecordId, place: Place<'_>, seen: Option<&Fields>) -> Option<Fields> {
        let mut waits = self.here(record, place).peekable();
        waits.peek()?;
        let mut base = seen?.clone();
        for conflict in waits {
            if let Some(field) = path_of(conflict)
                && let Some(value) = stored::from_json(field.field_type, &conflict.base)
            {
                base.set(field.path, value);
            }
        }
        Some(base)
    }

    /// The values to write to an object: in fields that wait those that it was last seen to have. Nothing when no field
    /// waits, and the record's own values are to be written.
    pub(crate) fn held_back(&self, record: &Record, place: Place<'_>, seen: &Fields) -> Option<Fields> {
        let mut waits = self.here(record.id, place).peekable();
        waits.peek()?;
        let mut fields = record.fields.clone();
        for field in waits.filter_map(path_of) {
            match seen.get(field.path) {
                Some(value) => fields.set(field.path, value.clone()),
                None => drop(fields.remove(field.path)),
            }
        }
        Some(fields)
    }

    /// Whether something waits that another system has said after a moment, or at one that it does not tell.
    pub(crate) fn is_later(&self, record: RecordId, place: Place<'_>, moment: Timestamp) -> bool {
        let mut elsewhere = self.0.get(&record).into_iter().flatten();
        elsewhere.any(|conflict| {
            !is_here(conflict, place) && conflict.theirs_at.is_none_or(|theirs_at| theirs_at > moment)
        })
    }

    fn take(&mut self, record: RecordId, wanted: impl Fn(&Conflict) -> bool) -> Option<Conflict> {
        let waits = self.0.get_mut(&record)?;
        let found = waits.iter().position(wanted)?;
        Some(waits.swap_remove(found))
    }

    /// Puts a conflict into a commit, and back if it still waits.
    fn note(&mut self, conflict: Conflict, commit: &mut SyncCommit) {
        if conflict.is_open() {
            self.0.entry(conflict.record).or_default().push(conflict.clone());
        }
        commit.conflicts.push(conflict);
    }

    fn close(&mut self, conflict: Conflict, state: ConflictState, now: Timestamp, commit: &mut SyncCommit) {
        let kept = match state {
            ConflictState::Withdrawn | ConflictState::Gone => Winner::Ours,
            _ => Winner::Both,
        };
        let closed = Conflict {
            winner: kept.word().to_owned(),
            state,
            closed_at: Some(now),
            ..conflict
        };
        self.note(closed, commit);
    }
}

impl Engine {
    /// The conflicts of records that wait for a person.
    pub(crate) async fn waiting(&self, records: &[RecordId]) -> Result<Waiting, LedgerError> {
        let mut waiting = Waiting::default();
        if records.is_empty() {
            return Ok(waiting);
        }
        for conflict in self.ledger.open_conflicts(records).await? {
            waiting.0.entry(conflict.record).or_default().push(conflict);
        }
        Ok(waiting)
    }

    /// Linked objects that are to be read before their records are written: what a person is to decide about would be
    /// written, or the object deleted, and a change of theirs that nobody has read yet would be lost by that; or a person has
    /// linked it, and nobody has read it at all. Those that were looked at already are left out.
    pub(crate) fn unread(
        &self,
        records: &BTreeMap<RecordId, Record>,
        links: &BTreeMap<RecordId, Link>,
        looked: &mut BTreeSet<RecordId>,
    ) -> Vec<String> {
        let mut ids = Vec::new();
        for (id, link) in links.iter().filter(|(_, link)| !link.gone) {
            let Some(record) = records.get(id) else { continue };
            let Some(seen) = &link.base else {
                if !link.ignored && looked.insert(*id) {
                    ids.push(link.external_id.clone());
                }
                continue;
            };
            if self.is_to_go(record, link) && looked.insert(*id) {
                ids.push(link.external_id.clone());
                continue;
            }
            let policies = self.plan.rules.policies.get(&record.kind());
            let by_hand = policies.into_iter().flat_map(|policies| &policies.0);
            let by_hand = by_hand.filter(|(_, policy)| **policy == Policy::Manual);
            let mut differ = by_hand.filter(|(path, _)| record.fields.get(path) != seen.get(path));
            if differ.next().is_some() && looked.insert(*id) {
                ids.push(link.external_id.clone());
            }
        }
        ids
    }

    /// Writes down what a merge decided or left to a person, and what it means for conflicts that wait already. Gives whether
    /// a person has something new to decide about.
    pub(crate) fn note_conflicts(
        &self,
        place: Place<'_>,
        arrival: &Arrival<'_>,
        record: &Record,
        (merged, echoed): (&Merged, &Echoed),
        waiting: &mut Waiting,
        commit: &mut SyncCommit,
    ) -> bool {
        let mut asks = false;
        for conflict in &merged.conflicts {
            let known = waiting.take(record.id, |known| {
                is_here(known, place) && known.path == conflict.path
            });
            let found = self.found(place, arrival, record.id, conflict);
            match known.map(|known| moved_on(known, found.clone())) {
                None => {
                    asks |= found.is_open();
                    waiting.note(found, commit);
                }
                Some((conflict, true)) => {
                    asks |= conflict.is_open();
                    waiting.note(conflict, commit);
                }
                // Nothing new: it goes on waiting as it is.
                Some((conflict, false)) => waiting.0.entry(record.id).or_default().push(conflict),
            }
        }
        self.close_here(place, arrival, record, (merged, echoed), waiting, commit);
        let now = self.world.now();
        for change in &merged.changes {
            let ours = stored::to_json(&change.after);
            let others: Vec<(String, String)> = waiting
                .0
                .get(&record.id)
                .into_iter()
                .flatten()
                .filter(|known| !is_here(known, place) && known.path == change.path)
                .map(|known| (known.connection.clone(), known.object.clone()))
                .collect();
            for (connection, object) in others {
                let known = waiting.take(record.id, |known| {
                    known.path == change.path && known.connection == connection && known.object == object
                });
                let Some(known) = known else { continue };
                let agreed = known.theirs == ours;
                let moved = Conflict {
                    kept: ours.clone(),
                    ours: ours.clone(),
                    ours_by: place.connection.to_owned(),
                    revision: known.revision + 1,
                    ..known
                };
                match agreed {
                    true => waiting.close(moved, ConflictState::Agreed, now, commit),
                    false => waiting.note(moved, commit),
                }
            }
        }
        asks
    }

    /// Closes conflicts with objects that a commit takes as gone: there is nothing to decide about them.
    pub(crate) async fn close_with_gone(&self, commit: &mut SyncCommit) -> Result<(), LedgerError> {
        let gone: Vec<Link> = commit.links.iter().filter(|link| link.gone).cloned().collect();
        let records: Vec<RecordId> = gone.iter().map(|link| link.record).collect();
        let waiting = self.waiting(&records).await?;
        for known in waiting.0.into_values().flatten() {
            let is_its = |link: &&Link| {
                link.record == known.record
                    && link.connection == known.connection
                    && link.object == known.object
            };
            if gone.iter().any(|link| is_its(&link)) {
                let last = Conflict {
                    kept: known.ours.clone(),
                    revision: known.revision + 1,
                    ..known
                };
                let mut closed = Waiting::default();
                closed.close(last, ConflictState::Gone, self.world.now(), commit);
            }
        }
        Ok(())
    }

    /// Closes conflicts with an object that has nothing against our value any more.
    fn close_here(
        &self,
        place: Place<'_>,
        arrival: &Arrival<'_>,
        record: &Record,
        (merged, echoed): (&Merged, &Echoed),
        waiting: &mut Waiting,
        commit: &mut SyncCommit,
    ) {
        let still = |path: &str| merged.conflicts.iter().any(|conflict| conflict.path == path);
        let over: Vec<(String, Json, ConflictState)> = waiting
            .here(record.id, place)
            .filter(|known| !still(&known.path))
            .filter_map(|known| {
                let theirs = arrival.forward.fields.get(&known.path)?;
                let state = match json(Some(theirs)) {
                    _ if record.fields.get(&known.path) == Some(theirs) => ConflictState::Agreed,
                    theirs if theirs == known.base => ConflictState::Withdrawn,
                    // What we wrote before has come to be there since.
                    _ if echoed.fields.contains(known.path.as_str()) => ConflictState::Withdrawn,
                    _ => return None,
                };
                Some((known.path.clone(), json(Some(theirs)), state))
            })
            .collect();
        for (path, theirs, state) in over {
            if let Some(known) = waiting.take(record.id, |known| is_here(known, place) && known.path == path)
            {
                let kept = json(record.fields.get(&path));
                let revision = known.revision + 1;
                let last = Conflict {
                    theirs,
                    kept,
                    revision,
                    ..known
                };
                waiting.close(last, state, self.world.now(), commit);
            }
        }
    }

    /// A conflict as it is written down when it is found.
    fn found(
        &self,
        place: Place<'_>,
        arrival: &Arrival<'_>,
        record: RecordId,
        conflict: &model::merge::Conflict,
    ) -> Conflict {
        let now = self.world.now();
        let open = conflict.is_open();
        Conflict {
            id: ConflictId::from_uuid(uuid_from(now, self.world.random())),
            record,
            path: conflict.path.to_owned(),
            connection: place.connection.to_owned(),
            object: place.object.to_owned(),
            external_id: arrival.object.id.clone(),
            base: json(conflict.base.as_ref()),
            ours: json(Some(&conflict.ours)),
            theirs: json(Some(&conflict.theirs)),
            kept: json(Some(&conflict.kept)),
            ours_by: conflict.ours_by.clone().unwrap_or_default(),
            theirs_at: Some(self.changed_at(place, arrival.object, now).unwrap_or(now)),
            rule: conflict.rule.word().to_owned(),
            winner: conflict.winner.word().to_owned(),
            run: Some(place.run),
            trace: place.trace.of(&arrival.object.id).to_owned(),
            found_at: now,
            revision: 1,
            state: if open {
                ConflictState::Open
            } else {
                ConflictState::Decided
            },
            closed_at: (!open).then_some(now),
            closed_by: String::new(),
        }
    }
}

/// A conflict that waits, found once more; and whether that says anything new.
fn moved_on(known: Conflict, found: Conflict) -> (Conflict, bool) {
    let theirs_moved = known.theirs != found.theirs;
    let moved = theirs_moved || known.ours != found.ours;
    if !moved && found.is_open() {
        return (known, false);
    }
    let cause = if theirs_moved { &found } else { &known };
    let conflict = Conflict {
        theirs_at: cause.theirs_at,
        run: cause.run,
        trace: cause.trace.clone(),
        id: known.id,
        base: known.base,
        found_at: known.found_at,
        revision: known.revision + u64::from(moved),
        ..found
    };
    (conflict, true)
}
