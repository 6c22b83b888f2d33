//! Deletes: what an object that is deleted means for its record, and for the other systems.
//!
//! Usually it means nothing to them: the link is *gone*, the record stays, and is not created there again. Where a sync
//! *propagates* deletions, the record is deleted with its object; systems whose sync *follows* delete theirs, and the others
//! keep theirs and go on agreeing among themselves. Both have to be said, each at its own sync.
//!
//! No change is lost to a deletion by somebody who did not know of it. A record that somebody changed elsewhere later than
//! it was deleted *outlives* the deletion, which only unlinks then. What is about to be deleted is read by its id first, and
//! where somebody changed it later, or where the deleted object is back, the record is *revived*: it is made again where we
//! had deleted it, and nowhere else. Each of these is a row of the record's history, under [`DELETED_AT`].
//!
//! The gap that is left: what is changed between that reading and the deletion, at a system that does not heed versions, is
//! deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use connector::{Connection, Hint, Lane, Object, Outcome, RecordClass, RecordError, Write};
use jiff::{SignedDuration, Timestamp};
use ledger::{Change, LedgerError, Link, Linked, Push, PushEnd, PushMark, RecordWrite, Sent, SyncCommit};
use model::merge::Merged;
use model::{Kind, Record, RecordId};
use serde_json::{Value as Json, json};

use crate::absorb::{Arrival, Place};
use crate::announce::Cause;
use crate::engine::SyncError;
use crate::linking::UNLINKED;
use crate::stop::What;
use crate::unheard::{Unanswered, end_refused, is_undone};
use crate::waiting::Waiting;
use crate::wire::sent;
use crate::{Engine, Report, Sync};

/// The path of the rows in a record's history that tell of its end: no kind of record has a field of that name.
pub const DELETED_AT: &str = "deleted_at";
/// In the history: it was deleted where that counts.
const DELETED: &str = "deleted";
/// In the history: it was deleted there, and stays, because it was changed elsewhere later.
const OUTLIVED: &str = "outlived";
/// In the history: it is back.
const REVIVED: &str = "revived";

/// What deletions mean between a sync's object and its records; nothing, unless the configuration says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deletes {
    /// Whether an object that is deleted there deletes its record.
    pub propagate: bool,
    /// Whether a record that was deleted elsewhere is deleted there.
    pub follow: bool,
}

/// What is to become of an owed record at a system.
pub(crate) enum Fate {
    /// It is written, to this object or as a new one.
    Written(Option<Link>),
    /// Its object is deleted.
    Deleted(Link),
    /// Nothing.
    Left,
}

/// An object that is to be deleted with its record.
pub(crate) struct Deletion {
    push: Push,
    record: Record,
    link: Link,
}

impl Deletion {
    pub(crate) fn new(push: Push, record: Record, link: Link) -> Deletion {
        Deletion { push, record, link }
    }

    fn write(&self) -> Write {
        Write {
            id: Some(self.link.external_id.clone()),
            key: self.record.id.to_string(),
            values: serde_json::Map::new(),
            version: self.link.external_version.clone(),
            tried_at: None,
        }
    }
}

/// Whether somebody else deleted a record, and not a person who made it one with another.
pub(crate) fn is_deleted(record: &Record) -> bool {
    record.deleted_at.is_some() && record.merged_into.is_none()
}

fn follows(sync: &Sync, record: &Record, link: &Link) -> bool {
    sync.deletes.follow && is_deleted(record) && !link.gone && !link.ignored
}

/// Whether an object is gone because we deleted it; one that a person took away, unread as it was, is not.
fn we_deleted(link: &Link) -> bool {
    link.gone && link.base.is_none() && !link.external_id.ends_with(UNLINKED)
}

/// What is to become of a record at a system that is owed it.
pub(crate) fn fate(sync: &Sync, record: &Record, link: Option<Link>) -> Fate {
    match link {
        _ if record.merged_into.is_some() => Fate::Left,
        Some(link) if follows(sync, record, &link) => Fate::Deleted(link),
        // What we deleted ourselves is made again when its record is back.
        Some(link) if we_deleted(&link) && record.deleted_at.is_none() && sync.create => Fate::Written(None),
        Some(link) if !link.gone && !link.ignored => Fate::Written(Some(link)),
        None if sync.create && record.deleted_at.is_none() => Fate::Written(None),
        _ => Fate::Left,
    }
}

/// Whether a record has been changed elsewhere since its object was deleted. A system that does not tell when it was may
/// have done so at any time since the object was last seen: what it does not know yet counts as later then.
fn is_outlived(record: &Record, link: &Link, told: Option<Timestamp>, deleted_at: Timestamp) -> bool {
    let is_later = |(path, value): (&'static str, &model::Value)| {
        let Some(said) = record.provenance.get(path) else {
            return false;
        };
        let held = link.base.as_ref().and_then(|base| base.get(path));
        said.connection != link.connection
            && match held {
                Some(held) if held == value => false,
                Some(_) => told.is_none_or(|told| said.changed_at > told),
                // It does not have such a field.
                None => said.changed_at > deleted_at,
            }
    };
    record.fields.iter().any(is_later)
}

impl Engine {
    fn propagates(&self, place: Place<'_>, kind: Kind) -> bool {
        let sync = self.plan.sync_for(place.connection, place.object, kind);
        sync.is_some_and(|sync| sync.pull && sync.deletes.propagate)
    }

    /// Takes an object as gone; and its record as deleted, where that is what it means.
    pub(crate) fn goes(
        &self,
        place: Place<'_>,
        object: &Object,
        known: Linked,
        waiting: &Waiting,
        commit: &mut SyncCommit,
        report: &mut Report,
    ) {
        let Linked { link, mut record } = known;
        let merged_away = object.merged.iter().any(|merge| merge.from == object.id);
        if self.propagates(place, record.kind()) && record.deleted_at.is_none() && !merged_away {
            let told = self.changed_at(place, object, self.world.now());
            let deleted_at = told.unwrap_or_else(|| self.last_seen(place, &link));
            let before = record.deleted_at;
            let outlived = is_outlived(&record, &link, told, deleted_at)
                || waiting.is_later(record.id, place, deleted_at);
            let read_version = record.version;
            record.version += 1;
            record.updated_at = self.world.now();
            let reason = if outlived { OUTLIVED } else { DELETED };
            if outlived {
                report.counts.outlived += 1;
            } else {
                record.deleted_at = Some(deleted_at);
                report.counts.deleted += 1;
                let cause = Cause::of(place.trace, &object.id);
                commit
                    .events
                    .push(self.announce_end(&record, place.connection, cause, self.world.now()));
                commit.marks.extend(self.followers(place, &record));
            }
            let change = self.end(place, &record, (&object.id, reason), (before, Some(deleted_at)));
            commit.records.push(RecordWrite {
                changes: vec![change],
                match_keys: self.plan.rules.match_keys(record.kind(), &record.fields),
                read_version,
                record,
            });
        }
        commit
            .links
            .push(self.gone(link, self.end_known_at(place, object)));
    }

    /// When an object was there for certain: when it was last seen, or counted, but for how far what showed it may have been
    /// behind; or when it last changed. Where our clock was ahead when it was seen, only the latter tells.
    fn last_seen(&self, place: Place<'_>, link: &Link) -> Timestamp {
        let now = self.world.now();
        let system = self.connections.get(place.connection);
        let lag_ms = system.map_or(0, |system| system.authoritative_lag_ms(place.object));
        let lag = SignedDuration::from_millis(i64::try_from(lag_ms).unwrap_or(i64::MAX));
        let seen_at = Some(link.seen_at).filter(|seen_at| *seen_at <= now);
        let counted_at = place
            .counted
            .filter(|counted| link.seen_at <= *counted && *counted <= now);
        // Our clock may have been ahead then, too, and have been caught up with since.
        let known_at = seen_at.max(counted_at);
        let known_at = known_at.map(|at| at.checked_sub(lag).unwrap_or(at));
        let changed_at = link.modified.map(|modified| modified.min(now));
        known_at.max(changed_at).unwrap_or(now)
    }

    /// The link to an object that is gone, at a moment where that is told.
    pub(crate) fn gone(&self, link: Link, told: Option<Timestamp>) -> Link {
        Link {
            gone: true,
            seen_at: self.world.now(),
            modified: told.or(link.modified),
            ..link
        }
    }

    /// What those are owed that delete a record with its object elsewhere.
    fn followers(&self, place: Place<'_>, record: &Record) -> Vec<PushMark> {
        let due_at = self.world.now();
        let others = self.plan.owed(record.kind());
        let others = others.filter(|sync| sync.deletes.follow && sync.connection != place.connection);
        let mark = |sync: &Sync| PushMark {
            connection: sync.connection.clone(),
            object: sync.object().to_owned(),
            record: record.id,
            due_at,
        };
        others.map(mark).collect()
    }

    /// A row that tells of a record's end, or that it is not the end.
    fn end(
        &self,
        place: Place<'_>,
        record: &Record,
        (external_id, reason): (&str, &str),
        (before, after): (Option<Timestamp>, Option<Timestamp>),
    ) -> Change {
        let json = |at: Option<Timestamp>| at.map_or(Json::Null, |at| json!(at.to_string()));
        let now = self.world.now();
        Change {
            version: record.version,
            path: DELETED_AT.to_owned(),
            before: json(before),
            after: json(after),
            reason: reason.to_owned(),
            connection: place.connection.to_owned(),
            external_id: external_id.to_owned(),
            changed_at: after.unwrap_or(now),
            committed_at: now,
            run: place.run,
            trace: place.trace.of(external_id).to_owned(),
        }
    }

    /// Revives a deleted record when its object is back, or was changed later than the record was deleted where it is to be
    /// deleted, too; gives the row that tells it.
    pub(crate) fn revive(
        &self,
        place: Place<'_>,
        arrival: &Arrival<'_>,
        record: &mut Record,
        merged: &Merged,
        report: &mut Report,
    ) -> Option<Change> {
        let deleted_at = record.deleted_at.filter(|_| is_deleted(record))?;
        let was_gone = arrival.known.as_ref().is_some_and(|known| known.link.gone);
        let now = self.world.now();
        let changed_at = self.changed_at(place, arrival.object, now).unwrap_or(now);
        // What a person is to decide about is no less of a change.
        let is_news =
            !merged.changes.is_empty() || merged.conflicts.iter().any(|conflict| conflict.is_open());
        let changed = is_news && changed_at > deleted_at;
        let is_back = was_gone || (changed && arrival.sync.deletes.follow);
        if !is_back {
            return None;
        }
        record.deleted_at = None;
        if merged.changes.is_empty() {
            record.version += 1;
            record.updated_at = self.world.now();
        }
        report.counts.outlived += 1;
        let told = (arrival.object.id.as_str(), REVIVED);
        Some(self.end(place, record, told, (Some(deleted_at), None)))
    }

    /// Whether an object is to be deleted, so that it is read once more before.
    pub(crate) fn is_to_go(&self, record: &Record, link: &Link) -> bool {
        let sync = self.plan.sync_for(&link.connection, &link.object, record.kind());
        sync.is_some_and(|sync| follows(sync, record, link))
    }

    /// Whether an object that a write did not find is looked for by who reads, so that what this means is decided in one
    /// place, within its limits; the write is tried again after that.
    pub(crate) fn is_looked_for(&self, place: Place<'_>, kind: Kind, external_id: Option<&str>) -> bool {
        let (true, Some(external_id)) = (self.propagates(place, kind), external_id) else {
            return false;
        };
        let hint = Hint {
            object: place.object.to_owned(),
            id: external_id.to_owned(),
            op: "delete".to_owned(),
            tenant: None,
            origin: None,
            occurred: None,
            dedupe: None,
            merged_from: Vec::new(),
        };
        self.hint(place.connection, &hint, place.trace.of(external_id))
    }

    /// Deletes objects with their records, and settles what is owed of them.
    pub(crate) async fn delete_there(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        (mut deletions, lane): (Vec<Deletion>, Lane),
        report: &mut Report,
    ) -> Result<(), SyncError> {
        self.without_revived(&mut deletions).await?;
        if deletions.is_empty() {
            return Ok(());
        }
        self.stop_before(place, What::Deletes, deletions.len() as u64)
            .await?;
        let writes: Vec<Write> = deletions.iter().map(Deletion::write).collect();
        // Written down before it is sent: if nobody hears of it, it will come back like a deletion of theirs.
        let now = self.world.now();
        let all = deletions.iter().zip(&writes);
        let sending = SyncCommit {
            lease: Some(place.lease.clone()),
            sending: all
                .map(|(deletion, write)| sent(&deletion.push, write, now))
                .collect(),
            ..SyncCommit::default()
        };
        self.ledger.commit(sending).await?;
        let outcomes = system.in_lane(lane).delete(place.object, &writes).await;
        let pushes = deletions.iter().map(|deletion| &deletion.push);
        let outcomes = self.or_unsent(place, outcomes, pushes).await?;
        let mut commit = SyncCommit {
            lease: Some(place.lease.clone()),
            ..SyncCommit::default()
        };
        let mut unheard = Vec::new();
        let before = report.counts.deleted_there;
        for ((deletion, write), outcome) in deletions.into_iter().zip(&writes).zip(outcomes) {
            let ends = (&mut commit, &mut unheard);
            self.conclude_deletion(place, (deletion, write), outcome, ends, report);
        }
        report.counts.parked += commit.parked.len() as u64;
        let deleted = report.counts.deleted_there - before;
        commit.cursor = self.counted(place, &[(What::Deletes, deleted)]).await?;
        self.close_with_gone(&mut commit).await?;
        self.ledger.commit(commit).await?;
        self.hear(system, place, unheard, report).await
    }

    /// The link to an object that we have deleted. Nothing is agreed on with what is not there: if the record is revived, it
    /// is made anew.
    fn ended(&self, link: Link) -> Link {
        Link {
            gone: true,
            base: None,
            wire: None,
            external_version: None,
            seen_at: self.world.now(),
            // Whatever was read of it meanwhile.
            replaces: None,
            ..link
        }
    }

    /// Of records whose objects are gone, those for which we had sent that, and heard nothing of it.
    pub(crate) async fn deleted_unheard(
        &self,
        place: Place<'_>,
        over: &[RecordId],
    ) -> Result<BTreeSet<RecordId>, LedgerError> {
        if over.is_empty() {
            return Ok(BTreeSet::new());
        }
        let sent = self.ledger.sent(place.connection, place.object, over).await?;
        let deleted = sent
            .into_iter()
            .filter(|(_, sent)| sent.iter().any(Sent::is_deletion));
        Ok(deleted.map(|(record, _)| record).collect())
    }

    /// Our own deletion comes back: it says nothing about the record, which may have been revived since.
    pub(crate) fn went(&self, place: Place<'_>, known: Linked, commit: &mut SyncCommit) {
        let Linked { link, record } = known;
        if record.deleted_at.is_none() {
            commit.marks.push(PushMark {
                connection: place.connection.to_owned(),
                object: place.object.to_owned(),
                record: record.id,
                due_at: self.world.now(),
            });
        }
        commit.links.push(self.ended(link));
    }

    /// Leaves out what has been revived since it was looked at: it is owed once more.
    async fn without_revived(&self, deletions: &mut Vec<Deletion>) -> Result<(), LedgerError> {
        let ids: Vec<_> = deletions.iter().map(|deletion| deletion.record.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let records = self.ledger.records(&ids).await?;
        let still = |deletion: &Deletion| {
            let now = records.iter().find(|record| record.id == deletion.record.id);
            now.is_some_and(is_deleted)
        };
        deletions.retain(still);
        Ok(())
    }

    fn conclude_deletion(
        &self,
        place: Place<'_>,
        (deletion, write): (Deletion, &Write),
        outcome: Outcome,
        (commit, unheard): (&mut SyncCommit, &mut Vec<Unanswered>),
        report: &mut Report,
    ) {
        let Deletion { push, record, link } = deletion;
        commit
            .pushed
            .extend(self.became_deleted(place, (&record, write), &outcome));
        if is_undone(&outcome) {
            commit.sending.push(push.clone());
        }
        match outcome {
            Outcome::Written { .. } | Outcome::Gone => {
                report.counts.deleted_there += 1;
                self.foresee_deletion(place, &record, &link);
                commit.links.push(self.ended(link));
                self.unpark(place, record.id, commit);
                commit.ended.push((push, PushEnd::Done));
            }
            // Somebody is at it, or has changed it since it was read: it is read once more.
            Outcome::Refused(RecordError {
                class: RecordClass::Conflict | RecordClass::Locked,
                ..
            })
            | Outcome::Unknown
            | Outcome::NotSent(_) => self.later(push, commit, report),
            Outcome::Refused(error) => {
                let reason = format!(
                    "it was deleted elsewhere and cannot be deleted here: {}",
                    error.message
                );
                commit.parked.push(self.refuses(place, record.id, &error, reason));
                end_refused(push, Some(link), commit, unheard);
            }
        }
    }
}
