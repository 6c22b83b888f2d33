//! Concluding: what a system answered to what was written there, and what that means.
//!
//! What it took is what both sides agree on, and the object is *claimed* for its record. Somebody else may have written the
//! link meanwhile: then what was written is *displaced*, and no claim of ours replaces that link. Another node may have met
//! another object for the record; or a page told of the object just before it was written, and nobody knows which of the two
//! it holds now. What was sent stays written down then, as if nobody had heard of it, and the object is read by its id.

use std::collections::{BTreeMap, BTreeSet};

use connector::{Outcome, RecordClass, RecordError};
use jiff::{SignedDuration, Timestamp};
use ledger::{LedgerError, Link, Parked, Push, PushEnd, PushMark, SyncCommit};
use model::RecordId;

use crate::absorb::Place;
use crate::engine::STALE_TRIES_MAX;
use crate::push::Owed;
use crate::refs::Refs;
use crate::review::DUPLICATE;
use crate::settle::{DUPLICATE_RETRY_MS, agreed_on};
use crate::unheard::{Unanswered, end_refused, is_undone};
use crate::wire::overlay;
use crate::{Engine, Report};

/// How far a system's clock may be ahead of ours, where it does not tell when it took what we wrote. What a listing tells
/// with an earlier time of change may be older than that, and is read by its id.
const AHEAD_MS: i64 = 10_000;

/// How often a creation that collided with another one is tried again before it is parked.
const COLLISIONS_MAX: u32 = 5;

/// What a batch found to be there.
#[derive(Default)]
pub(crate) struct Found {
    /// Objects to be read, and the records that they are to meet.
    pub(crate) adopt: BTreeMap<String, RecordId>,
    /// Objects that are there already, says their system, in the place of what was to be made.
    instead: Vec<(String, Push)>,
}

impl Engine {
    #[expect(
        clippy::too_many_arguments,
        reason = "one batch's worth of state, used nowhere else"
    )]
    pub(crate) fn conclude(
        &self,
        place: Place<'_>,
        owed: Owed<'_>,
        outcome: Outcome,
        refs: &Refs,
        found: &mut Found,
        (commit, unheard): (&mut SyncCommit, &mut Vec<Unanswered>),
        report: &mut Report,
    ) {
        commit
            .pushed
            .extend(self.became(place, (&owed.record, &owed.write), &outcome));
        if is_undone(&outcome) {
            commit.sending.push(owed.push.clone());
        }
        match outcome {
            Outcome::Written {
                id,
                created,
                version,
                modified,
                left_out,
            } => {
                report.counts.written += 1;
                report.counts.created_there += u64::from(created);
                // What was not written is not agreed on: the system's own value of it is no change of theirs, and neither is
                // what stands there instead.
                let mut owed = owed;
                owed.write.leave_out(&left_out);
                let link = self.agreed(place, &owed, (id, version, modified), created, refs);
                // A system that answers for an object that another one was merged into says so itself.
                let merged = owed
                    .link
                    .as_ref()
                    .is_some_and(|held| held.external_id != link.external_id);
                match merged {
                    true => commit.links.push(link),
                    false => commit.claims.push(link),
                }
                match owed.waits {
                    Some(due_at) => commit.marks.push(PushMark {
                        connection: place.connection.to_owned(),
                        object: place.object.to_owned(),
                        record: owed.record.id,
                        due_at,
                    }),
                    None => self.unpark(place, owed.record.id, commit),
                }
                // What was sent before may be there beside it, or may come yet.
                self.read_later(owed.push, commit, report);
            }
            Outcome::Gone if self.is_looked_for(place, owed.record.kind(), owed.write.id.as_deref()) => {
                self.later(owed.push, commit, report);
            }
            Outcome::Gone => {
                report.counts.gone += 1;
                if let Some(link) = owed.link {
                    commit.links.push(self.gone(link, None));
                }
                commit.ended.push((owed.push, PushEnd::Done));
            }
            Outcome::Refused(RecordError {
                existing_id: Some(existing),
                ..
            }) if owed.link.is_none() => {
                // The system has it already under another id: read it, meet, and push the difference afterwards.
                found.adopt.insert(existing.clone(), owed.record.id);
                found.instead.push((existing, owed.push.clone()));
                self.later(owed.push, commit, report);
            }
            Outcome::Refused(RecordError {
                class: RecordClass::Conflict,
                ..
            }) if owed.link.is_some() => {
                // Somebody changed it since it was read: read that, merge, and push what is left.
                if let Some(link) = owed.link {
                    found.adopt.insert(link.external_id, owed.record.id);
                }
                self.later(owed.push, commit, report);
            }
            // Two made something at once, and what the system itself gives to each was given to the other one.
            Outcome::Refused(RecordError {
                class: RecordClass::Conflict,
                ..
            }) if owed.push.attempts < COLLISIONS_MAX => self.later(owed.push, commit, report),
            // Somebody else is at it for longer than was tried.
            Outcome::Refused(RecordError {
                class: RecordClass::Locked,
                ..
            }) => self.later(owed.push, commit, report),
            Outcome::Refused(error) => {
                let (record, message) = (owed.record.id, error.message.clone());
                commit.parked.push(self.refuses(place, record, &error, message));
                end_refused(owed.push, owed.link, commit, unheard);
            }
            Outcome::Unknown | Outcome::NotSent(_) => self.later(owed.push, commit, report),
        }
    }

    /// The push is still owed, and tried again after a while.
    pub(crate) fn later(&self, push: Push, commit: &mut SyncCommit, report: &mut Report) {
        let wait = self.retry(&push);
        report.look_again(wait);
        commit.ended.push((push, PushEnd::Later(wait)));
    }

    /// The link after a write: what the system holds now is what both sides agree on.
    fn agreed(
        &self,
        place: Place<'_>,
        owed: &Owed<'_>,
        (external_id, version, modified): (String, Option<String>, Option<Timestamp>),
        created: bool,
        refs: &Refs,
    ) -> Link {
        // Of an object that was created only what was written is known: the system may have filled in the rest.
        let wire = overlay(
            owed.link.as_ref().and_then(|link| link.wire.as_ref()),
            &owed.write.values,
        );
        let resolve = |object: &str, id: &str| refs.record(object, id);
        let mut base =
            owed.sync
                .mapping
                .forward(&wire, Some(&owed.record.fields), owed.sync.context(), &resolve);
        let seen = owed.link.as_ref().and_then(|link| link.base.as_ref());
        if let Some(seen) = seen {
            let unresolved = base.unresolved.clone();
            base.as_seen(&unresolved, seen);
        }
        let held = owed.link.as_ref().filter(|link| link.external_id == external_id);
        let replaces = held.and_then(|link| link.replaces);
        Link {
            connection: place.connection.to_owned(),
            object: place.object.to_owned(),
            external_id,
            record: owed.record.id,
            base: Some(agreed_on(base, seen)),
            wire: Some(wire),
            external_version: version,
            // What was new a moment ago was nothing else before that a listing could still tell.
            modified: modified.or_else(|| match created {
                true => None,
                false => held
                    .and_then(|link| link.modified)
                    .max(Some(self.taken_by(place))),
            }),
            seen_at: self.world.now(),
            replaces,
            gone: false,
            ignored: false,
            made: owed.link.as_ref().is_none_or(|link| link.made),
        }
    }

    /// When a system that does not tell it has taken what was just written, at the latest: a little later than now, by our
    /// clock and by its own.
    fn taken_by(&self, place: Place<'_>) -> Timestamp {
        let told = self
            .connections
            .get(place.connection)
            .and_then(|system| system.told_at());
        let told = told.and_then(|told| told.checked_add(SignedDuration::from_millis(AHEAD_MS)).ok());
        told.map_or(self.in_ms(AHEAD_MS), |told| told.max(self.in_ms(AHEAD_MS)))
    }

    /// Commits what was written. An object that was made while its record met another one there is no guess of ours: it
    /// waits for a person, like any duplicate, and the record is written to the object that it has.
    pub(crate) async fn commit_written(
        &self,
        place: Place<'_>,
        mut commit: SyncCommit,
        created: &BTreeSet<RecordId>,
        report: &mut Report,
    ) -> Result<(), LedgerError> {
        for _ in 0..STALE_TRIES_MAX {
            match self.ledger.commit(commit.clone()).await {
                Err(LedgerError::Stale(records)) => {
                    let linked = commit.claims.iter().chain(&commit.links).map(|link| link.record);
                    let linked: BTreeSet<RecordId> = linked.filter(|id| records.contains(id)).collect();
                    if linked.is_empty() {
                        return Err(LedgerError::Stale(records));
                    }
                    self.displace(place, &linked, created, &mut commit, report)
                        .await?;
                }
                ended => return ended,
            }
        }
        Err(LedgerError::Stale(Vec::new()))
    }

    /// Takes back that objects are those of these records.
    async fn displace(
        &self,
        place: Place<'_>,
        records: &BTreeSet<RecordId>,
        created: &BTreeSet<RecordId>,
        commit: &mut SyncCommit,
        report: &mut Report,
    ) -> Result<(), LedgerError> {
        let ours = |link: &mut Link| records.contains(&link.record);
        let mut displaced: Vec<Link> = commit.claims.extract_if(.., ours).collect();
        displaced.extend(commit.links.extract_if(.., ours));
        let ids: Vec<String> = displaced.iter().map(|link| link.external_id.clone()).collect();
        let owners = self.ledger.linked(place.connection, place.object, &ids).await?;
        let owners = owners.into_iter().filter(|linked| !linked.link.gone);
        let owners: BTreeMap<String, RecordId> = owners
            .map(|linked| (linked.link.external_id, linked.record.id))
            .collect();
        let retry = self.in_ms(DUPLICATE_RETRY_MS);
        for Link {
            external_id, record, ..
        } in displaced
        {
            // What was to be unparked was not written; what was written is owed to the object that the record has.
            let key = record.to_string();
            commit
                .unparked
                .retain(|(_, _, parked, inbound)| *inbound || *parked != key);
            match owners.get(&external_id) {
                Some(owner) if *owner != record => {
                    let reason = format!(
                        "was written to {external_id} at {}, which is {owner}: make the two records one, or make them differ",
                        place.connection
                    );
                    commit
                        .parked
                        .push(self.parks_out(place, record, DUPLICATE, reason));
                }
                // It was read while it was written, became another one then, or went; or it was made beside another one.
                owner => {
                    if owner.is_none() && created.contains(&record) {
                        let reason = format!(
                            "was made for {record}, which met another object at {} at the same moment: make the two one \
                             there, or make them differ",
                            place.connection
                        );
                        commit.parked.push(Parked {
                            records: vec![record],
                            retry_at: Some(retry),
                            ..self.parks(place, &external_id, DUPLICATE, reason)
                        });
                    }
                    self.owed_still(record, commit, report);
                }
            }
        }
        Ok(())
    }

    /// Tells of records that could not be made because of an object that did not become theirs. Where that is another
    /// record's, nothing but a person helps; else it is looked for again, since it may be hidden for a while.
    pub(crate) async fn tell_taken(
        &self,
        place: Place<'_>,
        found: Found,
        unheard: &mut Vec<Unanswered>,
        report: &mut Report,
    ) -> Result<(), LedgerError> {
        if found.instead.is_empty() {
            return Ok(());
        }
        let records: Vec<RecordId> = found.instead.iter().map(|(_, push)| push.record).collect();
        let ids: Vec<String> = found.instead.iter().map(|(id, _)| id.clone()).collect();
        let linked = self.ledger.linked(place.connection, place.object, &ids).await?;
        let owners = linked
            .into_iter()
            .map(|linked| (linked.link.external_id, linked.record.id));
        let owners: BTreeMap<String, RecordId> = owners.collect();
        let links = self
            .ledger
            .links_to(place.connection, place.object, &records)
            .await?;
        let living = links.iter().filter(|link| !link.gone);
        let met: BTreeSet<RecordId> = living.map(|link| link.record).collect();
        let mut commit = SyncCommit {
            lease: Some(place.lease.clone()),
            ..SyncCommit::default()
        };
        for (id, push) in found.instead {
            if met.contains(&push.record) {
                continue;
            }
            let (connection, object) = (place.connection, place.object);
            let owner = owners.get(&id);
            let reason = match owner {
                Some(owner) => format!(
                    "{connection} says that it is there already as {id}, which is {owner}: make the two records one, or \
                     make them differ"
                ),
                None => format!(
                    "{connection} says that it is there already as {object} {id}, which is not read as a {}: see that it \
                     is shown to this connection and admitted by its mapping, or make them differ",
                    push.record.kind
                ),
            };
            commit
                .parked
                .push(self.parks_out(place, push.record, DUPLICATE, reason));
            if owner.is_some() {
                end_refused(push, None, &mut commit, unheard);
            }
        }
        report.counts.parked += commit.parked.len() as u64;
        self.ledger.commit(commit).await
    }

    /// A push that was to end is tried again at once.
    fn owed_still(&self, record: RecordId, commit: &mut SyncCommit, report: &mut Report) {
        let now = self.world.now();
        for (push, end) in &mut commit.ended {
            if push.record == record {
                *end = PushEnd::Later(now);
                report.look_again(now);
            }
        }
    }
}
