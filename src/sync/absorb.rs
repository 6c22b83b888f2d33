//! Absorbing: objects that were read become records, links, history and what others are owed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;

use connector::{Connection, Object};
use jiff::{SignedDuration, Timestamp};
use ledger::{Action, Cursor, Lease, LedgerError, Link, Linked, Parked, ParkedFilter, Seen, SyncCommit};
use mapping::Forward;
use model::{RecordId, RunId};

use crate::engine::{STALE_TRIES_MAX, SyncError};
use crate::merges::merged_ids;
use crate::missing::Missing;
use crate::naming::without_named;
use crate::reconcile::{Drift, drifted, tell};
use crate::refs::Refs;
use crate::stop::What;
use crate::trace::Trace;
use crate::waiting::Waiting;
use crate::wire::{is_as_seen, pick};
use crate::{Engine, Report, Sync};

/// How many parked objects are listed at a time.
pub(crate) const PARKED_MAX: usize = 10_000;

/// Where objects were read.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) connection: &'a str,
    pub(crate) object: &'a str,
    pub(crate) run: RunId,
    pub(crate) lease: &'a Lease,
    /// Fields that the system does not know at present.
    pub(crate) missing: &'a Missing,
    /// Fields that were not asked for before, while everything is read again with them.
    pub(crate) unread: Option<&'a BTreeSet<String>>,
    /// What came with it.
    pub(crate) trace: &'a Trace,
    /// What differs that should have been seen, while everything is compared.
    pub(crate) drift: Option<&'a Drift>,
    /// When everything that was linked, and has not gone since, is known to have been there.
    pub(crate) counted: Option<Timestamp>,
    /// The record that a person wants made of an object, and what they did: both are written at once.
    pub(crate) making: Option<(RecordId, &'a Action)>,
}

impl<'a> Place<'a> {
    /// A connection's object, to be read or written in a run, under a lease.
    pub(crate) fn new(
        (connection, object): (&'a str, &'a str),
        run: RunId,
        lease: &'a Lease,
        missing: &'a Missing,
        trace: &'a Trace,
    ) -> Place<'a> {
        Place {
            connection,
            object,
            run,
            lease,
            missing,
            unread: None,
            trace,
            drift: None,
            counted: None,
            making: None,
        }
    }
}

/// Objects to absorb, in one transaction.
pub(crate) struct Batch<'a> {
    /// The objects.
    pub(crate) objects: &'a [Object],
    /// Records that objects are known to belong to, whatever the identity rules say.
    pub(crate) adopt: &'a BTreeMap<String, RecordId>,
    /// As of when they are what they say.
    pub(crate) as_of: AsOf,
    /// The cursor to store with them, and its name.
    pub(crate) cursor: Option<(&'a str, Cursor)>,
}

/// As of when objects are what they say.
pub(crate) enum AsOf {
    /// They were listed, by an index that may be behind, and asked for at this moment.
    Listed(Timestamp),
    /// They were read by their ids. When they were asked for, those that were linked had last been seen at these moments.
    Read(HashMap<String, Timestamp>),
}

impl AsOf {
    /// When what is written down now was seen there: a page may have been asked for long ago, and what it shows may be gone
    /// since.
    fn seen_at(&self, now: Timestamp) -> Timestamp {
        match self {
            AsOf::Listed(asked_at) => now.min(*asked_at),
            AsOf::Read(_) => now,
        }
    }
}

/// How far the clocks of two processes of the hub may be apart, in milliseconds: what one wrote down so short before another
/// one asked may have come after that.
pub(crate) const CLOCKS_APART_MS: i64 = 2_000;

/// What an object is, beside what is known of it.
enum News {
    /// It may tell something new.
    New,
    /// Something newer is known already.
    Old,
    /// Only reading it by its id can tell.
    Doubtful,
}

/// The cursor of a batch under its full name.
fn named(place: Place<'_>, batch: &Batch<'_>) -> Option<(String, String, Cursor)> {
    let (name, cursor) = batch.cursor.as_ref()?;
    Some((place.connection.to_owned(), (*name).to_owned(), cursor.clone()))
}

/// The ids that objects name: their own, and those of merges.
fn named_by<'o>(objects: impl IntoIterator<Item = &'o Object>) -> Vec<String> {
    let mut ids = BTreeSet::new();
    for object in objects {
        ids.insert(object.id.as_str());
        ids.extend(merged_ids(std::slice::from_ref(object)));
    }
    ids.into_iter().map(str::to_owned).collect()
}

/// Whether an object is there no more. Some systems keep what was merged into another one, as an object that nobody sees.
pub(crate) fn is_over(object: &Object) -> bool {
    let gone_into_another = |merge: &connector::MergedInto| merge.from == object.id && merge.to != object.id;
    object.deleted || object.merged.iter().any(gone_into_another)
}

/// What names a parked object of a place.
pub(crate) fn inbound(place: Place<'_>, id: &str) -> (String, String, String, bool) {
    (
        place.connection.to_owned(),
        place.object.to_owned(),
        id.to_owned(),
        true,
    )
}

/// One object on its way into the ledger.
pub(crate) struct Arrival<'a> {
    pub(crate) object: &'a Object,
    pub(crate) sync: &'a Sync,
    pub(crate) wire: serde_json::Value,
    pub(crate) known: Option<Linked>,
    pub(crate) forward: Forward,
    /// When it was seen.
    pub(crate) seen_at: Timestamp,
}

impl Engine {
    /// Absorbs a batch. Objects that may be older than what is known of them are read by their ids before the cursor moves on.
    pub(crate) async fn absorb(
        &self,
        system: &Connection,
        place: Place<'_>,
        batch: Batch<'_>,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let fields = self.fields_of(system, place);
        let mut doubtful = self.absorb_batch(place, &batch, report).await?;
        if doubtful.is_empty() {
            return Ok(());
        }
        for _ in 0..STALE_TRIES_MAX {
            let as_of = self.as_known(place, &doubtful).await?;
            let objects = system.by_ids(place.object, &fields, &doubtful).await;
            let mut objects = objects.map_err(|failure| SyncError::System {
                connection: place.connection.to_owned(),
                failure,
            })?;
            // What is not answered may only be invisible for a moment, unless it was said to be gone.
            let said = batch
                .objects
                .iter()
                .filter(|said| is_over(said) && doubtful.contains(&said.id));
            let gone: Vec<Object> = said
                .filter(|said| objects.iter().all(|object| object.id != said.id))
                .cloned()
                .collect();
            objects.extend(gone);
            self.keep(place.lease).await?;
            let again = Batch {
                objects: &objects,
                adopt: batch.adopt,
                as_of,
                cursor: None,
            };
            doubtful = self.absorb_batch(place, &again, report).await?;
            if doubtful.is_empty() {
                let commit = SyncCommit {
                    lease: Some(place.lease.clone()),
                    cursor: named(place, &batch),
                    ..SyncCommit::default()
                };
                return Ok(self.ledger.commit(commit).await?);
            }
        }
        Err(SyncError::Ledger(LedgerError::Stale(Vec::new())))
    }

    /// What is known of objects that are about to be asked for by their ids.
    pub(crate) async fn as_known(&self, place: Place<'_>, ids: &[String]) -> Result<AsOf, LedgerError> {
        let linked = self.ledger.linked(place.connection, place.object, ids).await?;
        let seen = linked
            .into_iter()
            .map(|one| (one.link.external_id, one.link.seen_at));
        Ok(AsOf::Read(seen.collect()))
    }

    /// Absorbs a batch; merges again from the start when somebody else changed one of its records meanwhile. Gives the ids
    /// of objects that are to be read again, and leaves the cursor where it is when there are any.
    async fn absorb_batch(
        &self,
        place: Place<'_>,
        batch: &Batch<'_>,
        report: &mut Report,
    ) -> Result<Vec<String>, SyncError> {
        let _creating = self.creating(place.connection, place.object).await;
        for _ in 0..STALE_TRIES_MAX {
            let mut tried = Report::default();
            match self.absorb_once(place, batch, &mut tried).await {
                Err(SyncError::Ledger(LedgerError::Stale(_))) => {}
                Err(error) => return Err(error),
                Ok(doubtful) => {
                    self.read.fetch_add(tried.counts.read, Ordering::Relaxed);
                    report.counts.add(&tried.counts);
                    report.owed.extend(tried.owed);
                    report.endpoints.extend(tried.endpoints);
                    if let Some(again) = tried.again {
                        report.look_again(again);
                    }
                    return Ok(doubtful);
                }
            }
        }
        Err(SyncError::Ledger(LedgerError::Stale(Vec::new())))
    }

    async fn absorb_once(
        &self,
        place: Place<'_>,
        batch: &Batch<'_>,
        report: &mut Report,
    ) -> Result<Vec<String>, SyncError> {
        let mut commit = SyncCommit {
            lease: Some(place.lease.clone()),
            ..SyncCommit::default()
        };
        let parked = self.parked_of(place, &named_by(batch.objects)).await?;
        let unchanged = self.unchanged(place, batch.objects, &parked).await?;
        report.counts.read += batch.objects.len() as u64;
        report.counts.unchanged += unchanged.len() as u64;
        let objects = batch.objects.iter().enumerate();
        let objects = objects.filter(|(number, _)| !unchanged.contains(number));
        let objects: Vec<&Object> = objects.map(|(_, object)| object).collect();
        let linked = match named_by(objects.iter().copied()) {
            ids if ids.is_empty() => Vec::new(),
            ids => self.ledger.linked(place.connection, place.object, &ids).await?,
        };
        let mut linked: HashMap<String, Linked> = linked
            .into_iter()
            .map(|l| (l.link.external_id.clone(), l))
            .collect();
        let moved = self.follow_merges(place, batch.objects, &mut linked, &mut commit, report);
        // What was written before this was heard of names the one that is no more.
        self.owe_referring(place, &moved, &mut commit, report).await?;

        let mut stood_for = self.stood_for(place, batch.objects, &parked).await?;
        let over = batch.objects.iter().filter(|object| is_over(object));
        let over = over.filter_map(|object| linked.get(&object.id).or_else(|| stood_for.get(&object.id)));
        let over: Vec<RecordId> = over
            .filter(|known| !known.link.gone)
            .map(|known| known.record.id)
            .collect();
        let by_us = self.deleted_unheard(place, &over).await?;
        let waiting = self.waiting(&over).await?;
        let beside = self.beside(place, batch.objects, &over).await?;
        let seen_at = batch.as_of.seen_at(self.world.now());
        let (mut arrivals, mut doubtful, mut drift) = (Vec::new(), Vec::new(), Vec::new());
        for object in objects {
            let mut known = linked.remove(&object.id);
            if is_over(object)
                && let Some(ours) =
                    known.take_if(|known| !known.link.gone && by_us.contains(&known.record.id))
            {
                report.counts.unchanged += 1;
                self.went(place, ours, &mut commit);
                continue;
            }
            // Nobody need decide about what is no more.
            if is_over(object) && parked.contains_key(&object.id) {
                commit.unparked.push(inbound(place, &object.id));
            }
            let waits = parked.get(&object.id).filter(|_| !is_over(object));
            if known.as_ref().is_some_and(|known| known.link.ignored) {
                commit.unparked.extend(waits.map(|_| inbound(place, &object.id)));
                report.counts.skipped += 1;
                continue;
            }
            match known.as_ref().map(|known| self.news(place, batch, object, known)) {
                Some(News::Old) => {
                    report.counts.unchanged += 1;
                    continue;
                }
                Some(News::Doubtful) => {
                    doubtful.push(object.id.clone());
                    continue;
                }
                Some(News::New) => {}
                None => known = stood_for.remove(&object.id),
            }
            if is_over(object)
                && let Some(ours) =
                    known.take_if(|known| !known.link.gone && beside.contains_key(&known.record.id))
            {
                let other = &beside[&ours.record.id];
                self.give_way(place, object, (ours, other), &mut commit, report);
                continue;
            }
            // What is parked is mapped again though it says the same: the mapping may have been corrected.
            let again = waits.is_some();
            if let Some(known) = &mut known {
                without_named(known, waits);
            }
            if let Some(arrival) = self.arrive(
                place,
                (object, seen_at),
                (known, again),
                &waiting,
                &mut commit,
                report,
            ) {
                let moved_on = self.moved_on(place, &arrival);
                if !again {
                    drift.extend(drifted(
                        place,
                        object,
                        arrival.known.as_ref(),
                        Some(&arrival.wire),
                    ));
                }
                arrivals.push(arrival);
                arrivals.extend(moved_on);
            } else if again {
                commit.unparked.push(inbound(place, &object.id));
            }
        }
        let mut refs = Refs::default();
        self.map_forward(place, &mut arrivals, &mut refs).await?;
        self.settle(
            place,
            arrivals,
            batch.adopt,
            &mut refs,
            &parked,
            &mut commit,
            report,
        )
        .await?;

        report.counts.parked += commit.parked.len() as u64;
        report.counts.conflicts += commit.conflicts.len() as u64;
        report.owed.extend(
            commit
                .marks
                .iter()
                .map(|mark| (mark.connection.clone(), mark.object.clone())),
        );
        let endpoints = commit.events.iter().flat_map(|event| &event.deliveries);
        report
            .endpoints
            .extend(endpoints.map(|delivery| delivery.endpoint.clone()));
        if doubtful.is_empty() {
            commit.cursor = named(place, batch);
        }
        let gone = report.counts.gone;
        self.stop_before(place, What::Gone, gone).await?;
        self.close_with_gone(&mut commit).await?;
        if let Some((made, action)) = place.making
            && commit.records.iter().any(|write| write.record.id == made)
        {
            commit.action = Some(action.clone());
        }
        let written = self.rehearsal.as_ref().map(|_| commit.records.clone());
        self.ledger.commit(commit).await?;
        if let Some(cursor) = self.counted(place, &[(What::Gone, gone)]).await? {
            let counted = SyncCommit {
                lease: Some(place.lease.clone()),
                cursor: Some(cursor),
                ..SyncCommit::default()
            };
            self.ledger.commit(counted).await?;
        }
        tell(place, drift);
        if let Some(written) = written {
            self.foresee_records(place, &written).await?;
        }
        Ok(doubtful)
    }

    /// Which objects say what they said when they were last seen, by their numbers. Most do where everything is read: neither
    /// their records are loaded nor what was agreed on.
    async fn unchanged(
        &self,
        place: Place<'_>,
        objects: &[Object],
        parked: &BTreeMap<String, Parked>,
    ) -> Result<HashSet<usize>, LedgerError> {
        let merged = merged_ids(objects);
        let may_be = |object: &&Object| {
            !is_over(object) && !merged.contains(object.id.as_str()) && !parked.contains_key(&object.id)
        };
        let ids: Vec<String> = objects
            .iter()
            .filter(may_be)
            .map(|object| object.id.clone())
            .collect();
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let seen = self.ledger.seen(place.connection, place.object, &ids).await?;
        let seen: HashMap<&str, &Seen> = seen.iter().map(|one| (one.external_id.as_str(), one)).collect();
        let is_unchanged = |object: &Object| {
            let seen = seen.get(object.id.as_str())?;
            let sync = self
                .plan
                .sync_for(place.connection, place.object, seen.record.kind);
            let sync = sync.filter(|sync| sync.pull && object.version == seen.external_version)?;
            let fields = sync.mapping.object_fields();
            Some(is_as_seen(&object.body, fields, &seen.wire, |field| {
                place.missing.has(field)
            }))
        };
        let unchanged = objects.iter().enumerate().filter(|(_, object)| may_be(object));
        let unchanged = unchanged.filter(|(_, object)| is_unchanged(object) == Some(true));
        Ok(unchanged.map(|(number, _)| number).collect())
    }

    /// Whether an object tells something that its link does not know yet.
    fn news(&self, place: Place<'_>, batch: &Batch<'_>, object: &Object, known: &Linked) -> News {
        let link = &known.link;
        let by_id = self
            .connections
            .get(place.connection)
            .is_some_and(|system| system.reads_by_id(place.object));
        // A listing goes by an index that may be behind what was read by id, or what we wrote.
        let before = match (&batch.as_of, object.modified, link.modified) {
            (AsOf::Listed(_), Some(object), Some(known)) => object.cmp(&known),
            _ => std::cmp::Ordering::Greater,
        };
        let differs = || {
            let current = self
                .plan
                .sync_for(place.connection, place.object, known.record.kind());
            let as_seen = |sync: &Sync| {
                let seen = link.wire.as_ref();
                seen.is_some_and(|seen| {
                    // What nobody has read is not told by a listing that is behind.
                    let is_unknown = |field: &str| {
                        let is_new = place.unread.is_some_and(|unread| unread.contains(field));
                        place.missing.has(field) || is_new && seen.get(field).is_none()
                    };
                    is_as_seen(&object.body, sync.mapping.object_fields(), seen, is_unknown)
                })
            };
            match object.deleted == link.gone {
                true => !link.gone && !current.is_some_and(as_seen),
                false => true,
            }
        };
        // It was asked for before somebody wrote down what is known of it: either may be the newer one.
        let crossed = match &batch.as_of {
            AsOf::Listed(asked_at) => {
                let apart = SignedDuration::from_millis(CLOCKS_APART_MS);
                // A clock that was put back since tells nothing.
                link.seen_at.duration_since(*asked_at) > -apart || self.world.now() < *asked_at
            }
            AsOf::Read(seen) => seen.get(&object.id) != Some(&link.seen_at),
        };
        // A listing that is behind shows what is gone as if it were back.
        let is_back = link.gone && !is_over(object) && matches!(batch.as_of, AsOf::Listed(_));
        let late = is_back || before != std::cmp::Ordering::Greater;
        match (late || crossed) && differs() {
            // A clock may have been put back, too, so that what looks old is new.
            true if by_id => News::Doubtful,
            true if before == std::cmp::Ordering::Less => News::Old,
            _ => News::New,
        }
    }

    /// Those of some objects that are parked.
    pub(crate) async fn parked_of(
        &self,
        place: Place<'_>,
        ids: &[String],
    ) -> Result<BTreeMap<String, Parked>, LedgerError> {
        let filter = ParkedFilter {
            of: Some((place.connection.to_owned(), place.object.to_owned())),
            inbound: Some(true),
            keys: Some(ids.to_vec()),
            ..ParkedFilter::default()
        };
        let parked = self.ledger.parked(&filter, ids.len()).await?;
        Ok(parked
            .into_iter()
            .map(|parked| (parked.key.clone(), parked))
            .collect())
    }

    /// Sorts out what needs no mapping: what is gone, what is unchanged, what no mapping wants.
    fn arrive<'a>(
        &'a self,
        place: Place<'a>,
        (object, seen_at): (&'a Object, Timestamp),
        (known, again): (Option<Linked>, bool),
        waiting: &Waiting,
        commit: &mut SyncCommit,
        report: &mut Report,
    ) -> Option<Arrival<'a>> {
        if is_over(object) {
            match known {
                Some(known) if !known.link.gone => {
                    report.counts.gone += 1;
                    self.goes(place, object, known, waiting, commit, report);
                }
                _ => report.counts.skipped += 1,
            }
            return None;
        }
        let Some(sync) = self.sync_of(place, object, known.as_ref()) else {
            report.counts.skipped += 1;
            return None;
        };
        let fields = sync.mapping.object_fields();
        if let Some(known) = &known
            && let Some(seen) = &known.link.wire
            && known.link.base.is_some()
            && !known.link.gone
            && !again
            && is_as_seen(&object.body, fields, seen, |field| place.missing.has(field))
        {
            report.counts.unchanged += 1;
            // Something was changed that no mapping reads: who writes it next must name this version.
            if object.version != known.link.external_version {
                commit.links.push(Link {
                    external_version: object.version.clone(),
                    modified: object.modified,
                    seen_at,
                    ..known.link.clone()
                });
            }
            return None;
        }
        let mut wire = pick(&object.body, fields.iter());
        place.missing.as_last_seen(
            &mut wire,
            known.as_ref().and_then(|known| known.link.wire.as_ref()),
        );
        Some(Arrival {
            object,
            sync,
            wire,
            known,
            forward: Forward::default(),
            seen_at,
        })
    }

    /// An object that is linked to one kind of record but has become another: a lead that is a deal now.
    /// It arrives a second time, as new, and takes the link with it.
    pub(crate) fn moved_on<'a>(&'a self, place: Place<'a>, arrival: &Arrival<'a>) -> Option<Arrival<'a>> {
        let body = &arrival.object.body;
        arrival.known.as_ref()?;
        if arrival.sync.mapping.admits(body) {
            return None;
        }
        let mut others =
            self.plan.syncs.iter().filter(|sync| {
                sync.connection == place.connection && sync.object() == place.object && sync.pull
            });
        let sync = others.find(|sync| sync.kind() != arrival.sync.kind() && sync.mapping.admits(body))?;
        let wire = pick(body, sync.mapping.object_fields().iter());
        Some(Arrival {
            object: arrival.object,
            sync,
            wire,
            known: None,
            forward: Forward::default(),
            seen_at: arrival.seen_at,
        })
    }

    /// The sync that an object belongs to: that of its record; for one that is not linked yet the first that admits
    /// it.
    fn sync_of(&self, place: Place<'_>, object: &Object, known: Option<&Linked>) -> Option<&Sync> {
        let mut syncs =
            self.plan.syncs.iter().filter(|sync| {
                sync.connection == place.connection && sync.object() == place.object && sync.pull
            });
        let current = known.and_then(|k| {
            self.plan
                .sync_for(place.connection, place.object, k.record.kind())
        });
        match current {
            Some(current) if current.pull => Some(current),
            Some(_) => None,
            None => syncs.find(|sync| sync.mapping.admits(&object.body)),
        }
    }

    pub(crate) fn in_ms(&self, wait_ms: i64) -> Timestamp {
        self.world
            .now()
            .checked_add(SignedDuration::from_millis(wait_ms))
            .unwrap_or(Timestamp::MAX)
    }
}
