//! Push: what a connection is owed, written as the difference to what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use connector::{Class, Connection, Lane, Outcome, Write};
use jiff::Timestamp;
use ledger::{LedgerError, Link, Parked, Push, PushEnd, SyncCommit};
use model::{Record, RecordId, RunId, Value};

use crate::absorb::Place;
use crate::conclude::Found;
use crate::deletes::{Deletion, Fate, fate};
use crate::engine::SyncError;
use crate::parked::{MAPPING, UNRESOLVED, about};
use crate::refs::Refs;
use crate::rehearsal::Way;
use crate::stop::What;
use crate::unheard::Unanswered;
use crate::wire::sent;
use crate::{Depth, Engine, Report, Sync};

/// Batches that one push writes at most before it lets others work.
const BATCHES_MAX: u32 = 200;
/// Batches after which a push has so much to write that it lets those pass who have little.
const LIVE_BATCHES_MAX: u32 = 5;
/// The shortest and the longest wait before something that could not be written is tried again.
const RETRY_MS: (u64, u64) = (1_000, 600_000);
/// How long a connection that has not been read completely yet waits before it is looked at again.
const UNPRIMED_MS: u64 = 1_000;
/// How long it waits for somebody else who is reading it.
const UNREAD_MS: u64 = 250;

/// One record that is to be written.
pub(crate) struct Owed<'a> {
    pub(crate) push: Push,
    pub(crate) record: Record,
    pub(crate) link: Option<Link>,
    pub(crate) sync: &'a Sync,
    pub(crate) write: Write,
    /// When the rest of it is looked at again: it refers to what is not there yet.
    pub(crate) waits: Option<Timestamp>,
    /// Whether it had an object there that is gone.
    pub(crate) again: bool,
}

/// Pushes with all that they are about.
struct Loaded {
    pushes: Vec<Push>,
    records: BTreeMap<RecordId, Record>,
    /// The links to the object that is written.
    links: BTreeMap<RecordId, Link>,
    fields: FieldsRead,
}

/// The fields that everything at an object has been read with, where that is known.
struct FieldsRead(Option<BTreeSet<String>>);

impl FieldsRead {
    /// Whether nobody knows what an object holds in a field.
    fn is_unread(&self, field: &str, held: &serde_json::Value) -> bool {
        self.0.as_ref().is_some_and(|read| !read.contains(field)) && held.get(field).is_none()
    }
}

/// What became of looking whether something is there already.
enum Look {
    /// Everything that can be there is known.
    Enough,
    /// It was read just now: what is owed may have changed.
    Again,
    /// Somebody is reading it, or there is more to read.
    Later(Timestamp),
}

/// A batch on its way out: what is to be written, and what is settled without writing.
#[derive(Default)]
struct Out<'a> {
    writes: Vec<Owed<'a>>,
    /// Nothing is to be written, as far as is known or as the system lets us; but something was, and nobody heard what
    /// became of it.
    unheard: Vec<Unanswered>,
    deletions: Vec<Deletion>,
    commit: SyncCommit,
    /// What the objects' ids were that went into what is written: by the time the system has answered one may be gone, and
    /// what was written still means what it meant.
    refs: Refs,
}

/// The first record that a record refers to.
fn parent(record: &Record) -> Option<RecordId> {
    record.fields.iter().find_map(|(_, value)| match value {
        Value::Reference(id) => Some(*id),
        _ => None,
    })
}

/// When something was last sent to be written that nobody heard of.
fn last_sent(push: &Push) -> Option<Timestamp> {
    let sent = push.sent.iter().filter(|sent| !sent.is_deletion());
    sent.map(|sent| sent.at).max()
}

/// When just these values were sent last, if nobody heard what became of that and nothing else was sent since.
fn tried_at(push: &Push, values: &serde_json::Map<String, serde_json::Value>) -> Option<Timestamp> {
    let last = push.sent.last()?;
    (last.values.as_object() == Some(values)).then_some(last.at)
}

impl Engine {
    /// Writes what an object of a connection is owed, batch by batch, each committed when the system has answered.
    pub async fn push(&self, connection: &str, object: &str) -> Result<Report, SyncError> {
        let (run, started) = (self.new_run(), self.world.now());
        let mut report = Report::default();
        let result = self.push_counted(connection, object, run, &mut report).await;
        let result = Self::ended_early(result, &mut report);
        let result = self.watched(connection, result).await;
        self.note(run, (connection, object, "push"), started, &report, &result)
            .await?;
        result?;
        report.counts.add(&std::mem::take(&mut report.beside));
        Ok(report)
    }

    async fn push_counted(
        &self,
        connection: &str,
        object: &str,
        run: RunId,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        self.known(connection, object)?;
        self.may_go_on(connection, object, Way::Out).await?;
        if self.complete_at(connection, object).await?.is_none() {
            report.look_again(self.after(Duration::from_millis(UNPRIMED_MS)));
            return Ok(());
        }
        let system = Arc::new(self.ready(connection, object).await?.counted());
        let result = self.push_leased(&system, object, run, report).await;
        self.called(&system, object, Way::Out, report);
        result
    }

    async fn push_leased(
        &self,
        system: &Arc<Connection>,
        object: &str,
        run: RunId,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let connection = system.name();
        let lease = self.turn("push", connection, object).await?;
        let mut missing = self.missing(connection, object).await?;
        loop {
            let trace = self.trace();
            let place = Place::new((connection, object), run, &lease, &missing, &trace);
            let result = self.push_batches(system, place, report).await;
            let learned = self.learn_missing(connection, object, &mut missing, result).await;
            if !matches!(learned, Ok(false)) {
                self.ledger.release(&lease).await?;
                return learned.map(drop);
            }
        }
    }

    /// Until when everything that came to be at an object is known; nothing before it was read completely once: what
    /// looks new there may be there already.
    async fn complete_at(&self, connection: &str, object: &str) -> Result<Option<Timestamp>, SyncError> {
        if !self.plan.of(connection, object).any(|sync| sync.pull) {
            return Ok(Some(Timestamp::MAX));
        }
        let cursor = self.ledger.cursor(connection, object).await?;
        Ok(cursor.and_then(|cursor| cursor.complete_at))
    }

    async fn push_batches(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        self.owe_gained(system, place).await?;
        let limit = self.batch(system, place).await?;
        let (mut looked, mut looked_for) = (BTreeSet::new(), BTreeSet::new());
        for number in 1..=BATCHES_MAX {
            if number > 1 && self.is_wanted_still(place.connection, place.object).await? {
                break;
            }
            let now = self.world.now();
            let pushes = self
                .ledger
                .pushes(place.connection, place.object, now, limit)
                .await?;
            if pushes.is_empty() {
                return Ok(());
            }
            // Whoever comes after what was loaded owes it anew.
            if self.knows_less(system, place).await? {
                report.look_again(self.after(Duration::from_millis(UNPRIMED_MS)));
                return Ok(());
            }
            let tried = pushes.len();
            self.keep_going(place, Way::Out).await?;
            self.keep(place.lease).await?;
            let owed = self.load(place, pushes).await?;
            match self.look_before_creating(place, &owed, report).await? {
                Look::Enough => {}
                Look::Again => continue,
                Look::Later(when) => {
                    report.look_again(when);
                    return Ok(());
                }
            }
            if self
                .meet_tried(system, place, &owed, &mut looked_for, report)
                .await?
            {
                continue;
            }
            let unread = self.unread(&owed.records, &owed.links, &mut looked);
            let reads = self.plan.of(place.connection, place.object).any(|sync| sync.pull);
            if reads && !unread.is_empty() && system.reads_by_id(place.object) {
                let fields = self.fields_of(system, place);
                self.absorb_ids(system, place, &fields, &unread, &BTreeMap::new(), report)
                    .await?;
                continue;
            }
            // One that is new takes those along that were tried before.
            let lane = match owed.pushes.iter().all(|push| push.attempts > 0) {
                _ if number > LIVE_BATCHES_MAX => Lane::Backfill,
                true => Lane::Retry,
                false => Lane::Live,
            };
            self.push_batch(system, place, (owed, lane), report).await?;
            self.pushed.fetch_add(tried as u64, Ordering::Relaxed);
            if tried < limit {
                return Ok(());
            }
        }
        report.look_again(self.world.now());
        Ok(())
    }

    /// How many records are written at once: what fits one request, or one job when enough are owed.
    async fn batch(&self, system: &Connection, place: Place<'_>) -> Result<usize, SyncError> {
        let few = system.batch_max(place.object).max(1);
        let bulk = system.bulk(place.object).map_err(|failure| SyncError::System {
            connection: place.connection.to_owned(),
            failure,
        })?;
        let Some((over, many)) = bulk else {
            return Ok(few);
        };
        let now = self.world.now();
        let owed = self
            .ledger
            .pushes(place.connection, place.object, now, over.saturating_add(1));
        Ok(if owed.await?.len() > over { many } else { few })
    }

    async fn push_batch(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        (owed, lane): (Loaded, Lane),
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let mut out = self.prepare(place, owed, report).await?;
        out.commit.lease = Some(place.lease.clone());
        let writes: Vec<Write> = out.writes.iter().map(|owed| owed.write.clone()).collect();
        let creating = out.writes.iter().filter(|owed| owed.link.is_none());
        let created_here: BTreeSet<RecordId> = creating.map(|owed| owed.record.id).collect();
        let creates = created_here.len() as u64;
        self.stop_before(place, What::Creates, creates).await?;
        self.stop_before(place, What::Updates, writes.len() as u64 - creates)
            .await?;
        // A job may take minutes, and finds objects by the key that they carry; so does a pull that reads them meanwhile.
        let in_one_request = writes.len() <= system.batch_max(place.object);
        let creating = match in_one_request && creates > 0 {
            true => self.creating(place.connection, place.object).await,
            false => None,
        };
        // Written down before it is sent: if nobody hears of it, it will come back like a change of theirs.
        let now = self.world.now();
        let sending = out.writes.iter().map(|owed| sent(&owed.push, &owed.write, now));
        let sending: Vec<Push> = sending.collect();
        if !sending.is_empty() {
            let commit = SyncCommit {
                lease: Some(place.lease.clone()),
                sending,
                ..SyncCommit::default()
            };
            self.ledger.commit(commit).await?;
        }
        let outcomes = if writes.is_empty() {
            Vec::new()
        } else {
            let written = system.in_lane(lane).write(place.object, &writes).await;
            let pushes = out.writes.iter().map(|owed| &owed.push);
            self.or_unsent(place, written, pushes).await?
        };
        let drifted = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::NotSent(failure) if matches!(failure.class, Class::SchemaDrift { .. }) => {
                Some(failure.clone())
            }
            _ => None,
        });
        let mut found = Found::default();
        self.foresee_writes(place, &out.writes, &outcomes);
        let before = (report.counts.created_there, report.counts.written);
        let made = out.writes.iter().zip(&outcomes);
        let made = made.filter(|(owed, outcome)| owed.again && matches!(outcome, Outcome::Written { .. }));
        let made_again: Vec<RecordId> = made.map(|(owed, _)| owed.record.id).collect();
        for (owed, outcome) in std::mem::take(&mut out.writes).into_iter().zip(outcomes) {
            let ends = (&mut out.commit, &mut out.unheard);
            self.conclude(place, owed, outcome, &out.refs, &mut found, ends, report);
        }
        report.counts.parked += out.commit.parked.len() as u64;
        let (created, written) = (
            report.counts.created_there - before.0,
            report.counts.written - before.1,
        );
        let counted = [(What::Creates, created), (What::Updates, written - created)];
        out.commit.cursor = self.counted(place, &counted).await?;
        self.close_with_gone(&mut out.commit).await?;
        self.owe_referring(place, &made_again, &mut out.commit, report)
            .await?;
        self.commit_written(place, out.commit, &created_here, report)
            .await?;
        drop(creating);
        self.adopt(system, place, std::mem::take(&mut found.adopt), report)
            .await?;
        self.tell_taken(place, found, &mut out.unheard, report).await?;
        self.hear(system, place, out.unheard, report).await?;
        self.delete_there(system, place, (out.deletions, lane), report)
            .await?;
        match drifted {
            Some(failure) => Err(SyncError::System {
                connection: place.connection.to_owned(),
                failure,
            }),
            None => Ok(()),
        }
    }

    /// Pushes with all that they are about. Which fields are read is asked after them: a reading that ends in between owes
    /// them anew. A record is not older than its link: what a page told between the two would
    /// else be written over, under the version that the page told.
    async fn load(&self, place: Place<'_>, pushes: Vec<Push>) -> Result<Loaded, LedgerError> {
        let ids: Vec<RecordId> = pushes.iter().map(|push| push.record).collect();
        let links = self.ledger.links_to(place.connection, place.object, &ids).await?;
        let records = self.ledger.records(&ids).await?.into_iter();
        Ok(Loaded {
            pushes,
            fields: FieldsRead(self.fields_read(place).await?),
            records: records.map(|record| (record.id, record)).collect(),
            links: links.into_iter().map(|link| (link.record, link)).collect(),
        })
    }

    /// Reads what came to be at an object, if it was not read since the records were made that are about to be created
    /// there: the same may have been made there by hand.
    async fn look_before_creating(
        &self,
        place: Place<'_>,
        owed: &Loaded,
        report: &mut Report,
    ) -> Result<Look, SyncError> {
        let rules = &self.plan.rules;
        let is_new = |record: &&Record| !owed.links.contains_key(&record.id);
        // What no rule could meet cannot be there already as far as anybody can tell.
        let can_be_met = |record: &&Record| !rules.sure_keys(record.id.kind, &record.fields).is_empty();
        let created = owed.records.values().filter(is_new).filter(can_be_met);
        let Some(newest) = created.map(|record| record.created_at).max() else {
            return Ok(Look::Enough);
        };
        if self.complete_at(place.connection, place.object).await? > Some(newest) {
            return Ok(Look::Enough);
        }
        let pulled = Box::pin(self.pull(place.connection, place.object, Depth::Changed));
        match pulled.await {
            Ok(pulled) => report.add_beside(pulled),
            Err(SyncError::Taken) => return Ok(Look::Later(self.after(Duration::from_millis(UNREAD_MS)))),
            Err(error) => return Err(error),
        }
        let is_read = self.complete_at(place.connection, place.object).await? > Some(newest);
        Ok(if is_read {
            Look::Again
        } else {
            Look::Later(self.world.now())
        })
    }

    /// Looks for objects that were to be created without anybody hearing what became of it, and lets their records meet them:
    /// whoever wrote all of it again would undo what was edited there since. Gives whether there are any.
    async fn meet_tried(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        owed: &Loaded,
        looked_for: &mut BTreeSet<(RecordId, Timestamp)>,
        report: &mut Report,
    ) -> Result<bool, SyncError> {
        let is_there = |push: &&Push| owed.links.get(&push.record).is_some_and(|link| !link.gone);
        let tried = owed.pushes.iter().filter(|push| !is_there(push));
        let tried = tried.filter_map(|push| Some((push.record, last_sent(push)?)));
        let new: Vec<RecordId> = tried
            .filter(|one| looked_for.insert(*one))
            .map(|one| one.0)
            .collect();
        if new.is_empty() || !system.reads_by_id(place.object) {
            return Ok(false);
        }
        let keys: Vec<String> = new.iter().map(ToString::to_string).collect();
        let found = system.ids_of(place.object, &keys).await;
        let mut found = found.map_err(|failure| SyncError::System {
            connection: place.connection.to_owned(),
            failure,
        })?;
        let records = new.into_iter().zip(&keys);
        let adopt = records.filter_map(|(record, key)| Some((found.remove(key)?, record)));
        let adopt: BTreeMap<String, RecordId> = adopt.collect();
        let are_there = !adopt.is_empty();
        self.adopt(system, place, adopt, report).await?;
        Ok(are_there)
    }

    /// Maps every owed record backward and sorts out what needs no writing.
    async fn prepare(
        &self,
        place: Place<'_>,
        owed: Loaded,
        report: &mut Report,
    ) -> Result<Out<'_>, SyncError> {
        let Loaded {
            pushes,
            mut records,
            mut links,
            fields,
        } = owed;
        let agreed = links.values().filter_map(|link| link.base.as_ref());
        let naming = records.values().map(|record| &record.fields).chain(agreed);
        let mut refs = Refs::default();
        refs.learn_records(&*self.ledger, place.connection, naming)
            .await?;
        // What a person is to decide first is written as it is there, which is not at all.
        let ids: Vec<RecordId> = pushes.iter().map(|push| push.record).collect();
        let waiting = self.waiting(&ids).await?;
        for (id, link) in &links {
            if let Some(record) = records.get_mut(id)
                && let Some(seen) = &link.base
                && let Some(fields) = waiting.held_back(record, place, seen)
            {
                record.fields = fields;
            }
        }
        let mut out = Out::default();
        let pushes = self.without_undecided(place, pushes, &links, &mut out.commit);
        for push in pushes.await? {
            let record = records.remove(&push.record);
            let link = links.remove(&push.record);
            self.prepare_one(place, push, (record, link), (&refs, &fields), &mut out, report);
        }
        // Side by side, those of one parent lock it once.
        out.writes.sort_by_key(|owed| parent(&owed.record));
        out.refs = refs;
        Ok(out)
    }

    fn prepare_one<'a>(
        &'a self,
        place: Place<'_>,
        push: Push,
        (record, link): (Option<Record>, Option<Link>),
        (refs, fields): (&Refs, &FieldsRead),
        out: &mut Out<'a>,
        report: &mut Report,
    ) {
        let sync = self
            .plan
            .sync_for(place.connection, place.object, push.record.kind)
            .filter(|s| s.push);
        let (Some(record), Some(sync)) = (record, sync) else {
            self.unpark(place, push.record, &mut out.commit);
            return out.commit.ended.push((push, PushEnd::Done));
        };
        let had_one = link.is_some();
        let link = match fate(sync, &record, link) {
            Fate::Written(link) => link,
            Fate::Deleted(link) => return out.deletions.push(Deletion::new(push, record, link)),
            Fate::Left => {
                report.counts.skipped += 1;
                self.unpark(place, push.record, &mut out.commit);
                // What it was to be may have been made, and is looked for as long as it may arrive.
                return match push.sent.iter().any(|sent| sent.creates) {
                    true => out.unheard.push(Unanswered {
                        push,
                        link: None,
                        again: None,
                    }),
                    false => out.commit.ended.push((push, PushEnd::Done)),
                };
            }
        };
        // A person has linked it, and it could not be read yet: what it holds would be written over.
        if link
            .as_ref()
            .is_some_and(|link| link.base.is_none() && link.wire.is_none())
        {
            let wait = self.retry(&push);
            report.look_again(wait);
            return out.commit.ended.push((push, PushEnd::Later(wait)));
        }
        let refer = |id: RecordId, object: &str| refs.external(id, object);
        let held = link.as_ref().and_then(|link| link.wire.as_ref());
        let context = mapping::Context {
            agreed: link.as_ref().and_then(|link| link.base.as_ref()),
            ..sync.context()
        };
        let mut back = sync.mapping.backward(&record.fields, held, context, &refer);
        back.values.retain(|field, _| {
            !place.missing.has(field) && !held.is_some_and(|held| fields.is_unread(field, held))
        });
        let mut waits = None;
        if !back.unresolved.is_empty() {
            let missing = back.unresolved.iter();
            let missing: Vec<String> = missing
                .map(|missing| format!("`{}` {}", missing.path, missing.record))
                .collect();
            let reason = format!("{} is not at {} yet", missing.join(", "), place.connection);
            let wait = self.retry(&push);
            report.look_again(wait);
            out.commit.parked.push(Parked {
                fields: about(
                    back.unresolved
                        .iter()
                        .map(|missing| missing.object_field.as_str()),
                ),
                ..self.parks_out(place, record.id, UNRESOLVED, reason)
            });
            // What is new waits for what it refers to; what is there already gets the rest meanwhile.
            match link {
                Some(_) if back.values.is_empty() && !push.sent.is_empty() => {
                    let again = Some(wait);
                    return out.unheard.push(Unanswered { push, link, again });
                }
                Some(_) if !back.values.is_empty() => waits = Some(wait),
                _ => return out.commit.ended.push((push, PushEnd::Later(wait))),
            }
        }
        if !back.issues.is_empty() {
            let issues: Vec<String> = back.issues.iter().map(ToString::to_string).collect();
            let reason = format!("cannot be written as it is: {}", issues.join("; "));
            out.commit.parked.push(Parked {
                fields: about(back.issues.iter().map(|issue| issue.object_field.as_str())),
                ..self.parks_out(place, record.id, MAPPING, reason)
            });
            return match link.is_some() && !push.sent.is_empty() {
                true => out.unheard.push(Unanswered {
                    push,
                    link,
                    again: None,
                }),
                false => out.commit.ended.push((push, PushEnd::Done)),
            };
        }
        if back.values.is_empty()
            && let Some(link) = &link
        {
            report.counts.agreed += 1;
            self.unpark(place, record.id, &mut out.commit);
            let heard = match push.sent.as_slice() {
                [] => true,
                // The one creation that nobody heard of has arrived: this is what came of it.
                [only] => only.creates && link.made,
                _ => false,
            };
            return match heard {
                true => out.commit.ended.push((push, PushEnd::Done)),
                false => out.unheard.push(Unanswered {
                    push,
                    link: Some(link.clone()),
                    again: None,
                }),
            };
        }
        let write = Write {
            id: link.as_ref().map(|link| link.external_id.clone()),
            key: record.id.to_string(),
            tried_at: tried_at(&push, &back.values),
            values: back.values,
            version: link.as_ref().and_then(|link| link.external_version.clone()),
        };
        out.writes.push(Owed {
            again: had_one && link.is_none(),
            push,
            record,
            link,
            sync,
            write,
            waits,
        });
    }

    /// Reads objects that a system said it has already, and lets their records meet them.
    async fn adopt(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        adopt: BTreeMap<String, RecordId>,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        if adopt.is_empty() {
            return Ok(());
        }
        let fields = self.fields_of(system, place);
        let ids: Vec<String> = adopt.keys().cloned().collect();
        self.absorb_ids(system, place, &fields, &ids, &adopt, report)
            .await?;
        Ok(())
    }

    pub(crate) fn retry(&self, push: &Push) -> Timestamp {
        let wait = RETRY_MS
            .0
            .saturating_mul(1 << push.attempts.min(20))
            .min(RETRY_MS.1);
        self.after(Duration::from_millis(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Kind, uuid_from};

    fn id(kind: Kind, number: u8) -> RecordId {
        RecordId::new(kind, uuid_from(jiff::Timestamp::UNIX_EPOCH, [number; 10]))
    }

    #[test]
    fn a_deal_has_its_partner_for_a_parent_and_a_partner_has_none() {
        let mut deal = Record::empty(id(Kind::Deal, 1), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(parent(&deal), None);
        deal.fields.set("name", Value::text("Rollout"));
        deal.fields.set("partner", Value::Reference(id(Kind::Partner, 2)));
        assert_eq!(parent(&deal), Some(id(Kind::Partner, 2)));
    }
}
