//! Posted objects: nobody asks a system for them, because partners post what happens to them.
//!
//! Whoever takes a webhook in delivers it to the *inlet* of the object that it is about, in the same transaction
//! ([`ledger::Inlet`]). A pull of the object reads what is due there, cuts the object from each event and absorbs it like
//! one that was read from a system. What comes of it is settled afterwards, as a delivery: it *arrived*, or it is tried
//! again when what it refers to may be known, or it is *dead*, and what it says is parked with the reason.
//! Killed in between, the pull reads the same events again, which say nothing new then.
//!
//! An event is as old as it says; one that is more than [`AHEAD_MAX`] ahead of our clock is as old as its arrival. One that
//! is older than what is known of its object says nothing, in whatever order they came and on whatever node: so no order
//! among deliveries is needed. What an event does not say stays as it was said last; every event leaves its own version,
//! with its own trace.
//!
//! An event may name the record that it is about by our own id. That is believed when its partner was told of the record by
//! us: else whoever got hold of an id could write over what they are not to know. An id that is no record of ours is the
//! sender's own, whatever it looks like: a partner may run a hub like this one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use connector::{Connection, Failure, Object, Posted};
use jiff::{SignedDuration, Timestamp};
use ledger::{Attempt, Cursor, DeliveryFilter, Due, Inlet, Linked, Next, Parked, ParkedFilter, SyncCommit};
use model::{DeliveryId, RecordId};
use serde_json::{Map, Value as Json};

use crate::absorb::{AsOf, Batch, Place, inbound};
use crate::alias::standing_for;
use crate::announce::SOURCE;
use crate::engine::SyncError;
use crate::parked::{FIELD, UNREADABLE, UNTOLD};
use crate::rehearsal::Way;
use crate::trace::PostedBy;
use crate::wire::get;
use crate::{Engine, Report};

/// Events that are read at a time.
const BATCH: usize = 200;
/// Batches that one pull absorbs at most before it lets others work.
const BATCHES_MAX: u32 = 200;
/// The newest events of an inlet among which one about an object is looked for, when a person asks for the object.
const LOOKED_BACK_MAX: usize = 2_000;
/// How far a sender's clock may be ahead of ours: as far as its signature's, by the Standard Webhooks. So the order of what
/// it says holds, whatever is tried again meanwhile, whichever node takes it in, and when our clock is set back.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(5);
/// How often the wait for what an event refers to doubles at most.
const DOUBLED_MAX: u32 = 6;

/// What an event says of an object.
struct Said {
    delivery: DeliveryId,
    attempts: u32,
    trace: String,
    by: PostedBy,
    posted: Posted,
}

/// An event that nothing becomes of, until a person does something about it.
struct Dead {
    delivery: DeliveryId,
    attempts: u32,
    /// What it is parked under.
    key: String,
    /// The class of the reason.
    code: &'static str,
    reason: String,
}

/// What events say by our own ids.
#[derive(Default)]
struct Named {
    /// The records that objects belong to, by the ids of the objects.
    adopt: BTreeMap<String, RecordId>,
    /// What objects name that their partners may not, by the ids of the objects.
    untold: BTreeMap<String, RecordId>,
}

impl Engine {
    /// Whether the objects of a connection are cut from what partners post.
    pub(crate) fn is_posted(&self, connection: &str) -> bool {
        let system = self.connections.get(connection);
        system.is_some_and(|system| system.connector().is_posted())
    }

    /// When an object changed, as far as it is compared with what was changed elsewhere: not later than now, though the clock
    /// of whoever posted it may be ahead.
    pub(crate) fn changed_at(&self, place: Place<'_>, object: &Object, now: Timestamp) -> Option<Timestamp> {
        let at = object.modified?;
        Some(match self.is_posted(place.connection) {
            true => at.min(now),
            false => at,
        })
    }

    /// How old the news of an object's end is, where nobody can be asked again.
    pub(crate) fn end_known_at(&self, place: Place<'_>, object: &Object) -> Option<Timestamp> {
        object.modified.filter(|_| self.is_posted(place.connection))
    }

    /// Absorbs what was posted about an object, until nothing is due.
    pub(crate) async fn pull_posted(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let inlet = Inlet::new(place.connection, place.object).to_string();
        for batches in 1.. {
            self.keep_going(place, Way::In).await?;
            let due = self.ledger.due(&inlet, self.world.now(), BATCH).await?;
            let last = due.len() < BATCH;
            if !due.is_empty() {
                self.absorb_posted(system, place, &due, report).await?;
            }
            if last {
                break;
            }
            let is_wanted = self.is_wanted_still(place.connection, place.object).await?;
            if batches == BATCHES_MAX || is_wanted {
                report.look_again(self.world.now());
                break;
            }
            self.keep(place.lease).await?;
        }
        if let Some(at) = self.ledger.endpoint_due(&inlet).await? {
            report.look_again(at);
        }
        let known = self.ledger.cursor(place.connection, place.object).await?;
        if known.is_none() || report.counts.read > 0 {
            self.note_read(place).await?;
        }
        Ok(())
    }

    /// Everything that was posted is read: there is nothing else that could be.
    async fn note_read(&self, place: Place<'_>) -> Result<(), SyncError> {
        let now = self.world.now();
        let cursor = Cursor {
            complete_at: Some(now),
            ..Cursor::at(Json::Null, now)
        };
        let commit = SyncCommit {
            lease: Some(place.lease.clone()),
            cursor: Some((place.connection.to_owned(), place.object.to_owned(), cursor)),
            ..SyncCommit::default()
        };
        Ok(self.ledger.commit(commit).await?)
    }

    async fn absorb_posted(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        due: &[Due],
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let mut said = self.cut(system, place, due, report).await?;
        // Stable: of those that are equally old, the one that was accepted later is newer.
        said.sort_by_key(|said| said.posted.object.modified);
        while !said.is_empty() {
            // The next event of each object, so that each leaves a version of its own.
            let mut ids = BTreeSet::new();
            let (first, later) = said
                .into_iter()
                .partition(|said| ids.insert(said.posted.object.id.clone()));
            self.absorb_first(system, place, first, report).await?;
            said = later;
        }
        Ok(())
    }

    /// Cuts the objects from events. What nothing can be cut from is parked under the event's id, and dead.
    async fn cut(
        &self,
        system: &Connection,
        place: Place<'_>,
        due: &[Due],
        report: &mut Report,
    ) -> Result<Vec<Said>, SyncError> {
        let events: Vec<String> = due.iter().map(|due| due.event.to_string()).collect();
        let parked = self.parked_of(place, &events).await?;
        let (mut said, mut dead, mut unparked) = (Vec::new(), Vec::new(), Vec::new());
        for (due, event) in due.iter().zip(events) {
            match cut_one(
                system,
                place.object,
                (&due.source, &due.body),
                due.received_at,
                &event,
            ) {
                Ok(posted) => {
                    if parked.contains_key(&event) {
                        unparked.push(inbound(place, &event));
                    }
                    said.push(Said {
                        delivery: due.delivery,
                        attempts: due.attempts,
                        trace: due.trace.clone(),
                        by: PostedBy {
                            partner: due.source.clone(),
                            hops: due.hops.clone(),
                        },
                        posted,
                    });
                }
                Err(failure) => dead.push(Dead {
                    delivery: due.delivery,
                    attempts: due.attempts,
                    key: event,
                    code: UNREADABLE,
                    reason: format!(
                        "nothing can be cut from this event of {}: {}",
                        due.source, failure.detail
                    ),
                }),
            }
        }
        self.bury(place, dead, unparked, report).await?;
        Ok(said)
    }

    /// Parks what nothing becomes of, each under its key, and takes others out; then the deliveries are dead.
    async fn bury(
        &self,
        place: Place<'_>,
        dead: Vec<Dead>,
        unparked: Vec<(String, String, String, bool)>,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let parks = |dead: &Dead| self.parks(place, &dead.key, dead.code, dead.reason.clone());
        let commit = SyncCommit {
            lease: Some(place.lease.clone()),
            parked: dead.iter().map(parks).collect(),
            unparked,
            ..SyncCommit::default()
        };
        report.counts.parked += commit.parked.len() as u64;
        if !commit.parked.is_empty() || !commit.unparked.is_empty() {
            self.ledger.commit(commit).await?;
        }
        if dead.is_empty() {
            return Ok(());
        }
        let now = self.world.now();
        let ends = |dead: Dead| attempt(dead.delivery, dead.attempts, now, dead.reason, Next::Dead);
        let attempts = dead.into_iter().map(ends).collect();
        Ok(self.ledger.settle(Some(place.lease), attempts).await?)
    }

    /// Objects by their ids, as their system holds them now, or as the newest of their events says.
    pub(crate) async fn read_by_ids(
        &self,
        system: &Connection,
        object: &str,
        fields: &[String],
        ids: &[String],
    ) -> Result<Vec<Object>, SyncError> {
        if system.connector().is_posted() {
            return self.posted_last(system, object, ids).await;
        }
        let objects = system.by_ids(object, fields, ids).await;
        objects.map_err(|failure| SyncError::System {
            connection: system.name().to_owned(),
            failure,
        })
    }

    /// What the newest events about objects say, among the last [`LOOKED_BACK_MAX`] of the inlet.
    async fn posted_last(
        &self,
        system: &Connection,
        object: &str,
        ids: &[String],
    ) -> Result<Vec<Object>, SyncError> {
        let filter = DeliveryFilter {
            endpoint: Some(Inlet::new(system.name(), object).to_string()),
            ..DeliveryFilter::default()
        };
        let mut found: BTreeMap<String, Object> = BTreeMap::new();
        let (mut after, mut looked) = (None, 0);
        while looked < LOOKED_BACK_MAX && found.len() < ids.len() {
            let newest = self.ledger.list_deliveries(&filter, after, BATCH).await?;
            let Some(last) = newest.last() else { break };
            after = Some(last.id);
            looked += newest.len();
            for delivery in newest {
                let Some(event) = self.ledger.event(delivery.event).await? else {
                    continue;
                };
                let said = (event.source.as_str(), &event.body[..]);
                let cut = cut_one(system, object, said, event.received_at, &event.id.to_string());
                // From what nothing can be cut nothing is known.
                let Ok(Posted { object, .. }) = cut else { continue };
                let older = |known: &Object| known.modified < object.modified;
                if ids.contains(&object.id) && found.get(&object.id).is_none_or(older) {
                    found.insert(object.id.clone(), object);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Absorbs events of which no two are about the same object, and settles them.
    async fn absorb_first(
        &self,
        system: &Connection,
        place: Place<'_>,
        said: Vec<Said>,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let asked_at = self.world.now();
        let ids: Vec<String> = said.iter().map(|said| said.posted.object.id.clone()).collect();
        let linked = self.ledger.linked(place.connection, place.object, &ids).await?;
        let linked = linked.into_iter();
        let linked: HashMap<String, Linked> = linked.map(|one| (one.link.external_id.clone(), one)).collect();
        let Named { adopt, untold } = self.named_records(place, &said, &linked).await?;
        let (mut absorbed, mut dead) = (Vec::new(), Vec::new());
        for said in said {
            match untold.get(&said.posted.object.id) {
                None => absorbed.push(said),
                Some(record) => dead.push(refused(place, said, *record)),
            }
        }
        self.bury(place, dead, Vec::new(), report).await?;
        let said = absorbed;
        if said.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = said.iter().map(|said| said.posted.object.id.clone()).collect();
        let objects = said.iter().map(|said| {
            let object = &said.posted.object;
            whole(object, linked.get(&object.id))
        });
        let objects: Vec<Object> = objects.collect();
        let traces = said.iter().map(|said| said.trace.clone());
        let posted = said.iter().map(|said| said.by.clone());
        let trace = self
            .trace_of_named(ids.iter().cloned().zip(traces).collect())
            .posted_by(ids.iter().cloned().zip(posted).collect());
        let place = Place {
            trace: &trace,
            ..place
        };
        let batch = Batch {
            objects: &objects,
            adopt: &adopt,
            as_of: AsOf::Listed(asked_at),
            cursor: None,
        };
        self.absorb(system, place, batch, report).await?;
        let filter = ParkedFilter {
            of: Some((place.connection.to_owned(), place.object.to_owned())),
            inbound: Some(true),
            keys: Some(ids.clone()),
            ..ParkedFilter::default()
        };
        let parked = self.ledger.parked(&filter, ids.len()).await?;
        let parked = parked.into_iter().filter(|parked| parked.code != FIELD);
        let mut parked: BTreeMap<String, Parked> =
            parked.map(|parked| (parked.key.clone(), parked)).collect();
        let now = self.world.now();
        let attempts = said.iter().map(|said| {
            let (reason, next) = match parked.remove(&said.posted.object.id) {
                None => (String::new(), Next::Delivered),
                Some(Parked {
                    retry_at: Some(at),
                    reason,
                    ..
                }) => (reason, Next::Retry(later_and_later(now, at, said.attempts))),
                Some(parked) => (parked.reason, Next::Dead),
            };
            attempt(said.delivery, said.attempts, now, reason, next)
        });
        let attempts = attempts.collect();
        Ok(self.ledger.settle(Some(place.lease), attempts).await?)
    }

    /// The records of ours that events name, of objects that are not linked yet. A partner names what it was told of, by its
    /// id of now or by one that it had before it was merged; whoever speaks for us names what is there.
    async fn named_records(
        &self,
        place: Place<'_>,
        said: &[Said],
        linked: &HashMap<String, Linked>,
    ) -> Result<Named, SyncError> {
        let strangers = said
            .iter()
            .filter(|said| !linked.contains_key(&said.posted.object.id));
        let named = strangers.filter_map(|said| {
            let record: RecordId = said.posted.record.as_deref()?.parse().ok()?;
            Some((said, record))
        });
        let named: Vec<(&Said, RecordId)> = named.collect();
        if named.is_empty() {
            return Ok(Named::default());
        }
        let ids: Vec<RecordId> = named.iter().map(|(_, record)| *record).collect();
        let known = self.ledger.records(&ids).await?;
        let standing = standing_for(&*self.ledger, known.iter()).await?;
        let known: BTreeSet<RecordId> = known.iter().map(|record| record.id).collect();
        let named = named.into_iter().filter(|(_, record)| known.contains(record));
        let named: Vec<(&Said, RecordId)> = named.collect();
        let told = |said: &Said, record: RecordId| (record.to_string(), said.by.partner.clone());
        let mut asked = BTreeSet::new();
        for (said, record) in &named {
            asked.insert(told(said, *record));
            asked.extend(standing.get(record).map(|stands| told(said, stands.id)));
        }
        let known_to = self.ledger.told(&asked, SOURCE).await?;
        let mut all = Named::default();
        for (said, record) in named {
            let is_told = |record| known_to.contains(&told(said, record));
            let stands = standing.get(&record);
            let may = said.by.partner == SOURCE
                || is_told(record)
                || stands.is_some_and(|stands| is_told(stands.id));
            let sync = self.plan.sync_for(place.connection, place.object, record.kind);
            let to = match sync.is_some() && may {
                true => &mut all.adopt,
                false => &mut all.untold,
            };
            to.insert(said.posted.object.id.clone(), record);
        }
        Ok(all)
    }
}

/// What a person reads of an event that names a record that its partner may not.
fn refused(place: Place<'_>, said: Said, record: RecordId) -> Dead {
    let Place {
        connection, object, ..
    } = place;
    let (partner, key) = (said.by.partner, said.posted.object.id);
    let reason = format!(
        "names {record}, which is no {object} that {partner} was told of; tell {partner} of it by an \
         endpoint, or say that they are the same with: interconnect record link {record} {connection}/{object}/{key}; then \
         try again with: interconnect delivery retry --endpoint {connection}/{object} --state dead"
    );
    Dead {
        delivery: said.delivery,
        attempts: said.attempts,
        key,
        code: UNTOLD,
        reason,
    }
}

/// The object that an event is about, as old as the event says; one from more than [`AHEAD_MAX`] in the future is as old as
/// its arrival.
fn cut_one(
    system: &Connection,
    object: &str,
    (source, body): (&str, &[u8]),
    received_at: Timestamp,
    event: &str,
) -> Result<Posted, Failure> {
    let body: Json = serde_json::from_slice(body).unwrap_or_default();
    let mut posted = system.posted(object, source, &body)?;
    let at = posted.object.modified.unwrap_or(received_at);
    let is_ahead = at.duration_since(received_at) > AHEAD_MAX;
    posted.object.modified = Some(whole_micros(if is_ahead { received_at } else { at }));
    posted.object.version = Some(event.to_owned());
    Ok(posted)
}

/// The object with what earlier events said of it, where this one says nothing.
fn whole(object: &Object, known: Option<&Linked>) -> Object {
    let mut object = object.clone();
    let mut body = match std::mem::take(&mut object.body) {
        Json::Object(body) => Json::Object(body),
        _ => Json::Object(Map::new()),
    };
    let seen = known.filter(|known| !known.link.gone);
    if let Some(Json::Object(seen)) = seen.and_then(|known| known.link.wire.as_ref()) {
        for (field, value) in seen {
            if get(&body, field).is_none() {
                body[field] = value.clone();
            }
        }
    }
    object.body = body;
    object
}

fn attempt(delivery: DeliveryId, before: u32, at: Timestamp, error: String, next: Next) -> Attempt {
    Attempt {
        delivery,
        number: before + 1,
        at,
        duration_ms: 0,
        status: None,
        error,
        next,
        told: None,
    }
}

/// What waits for something else waits twice as long each time that it is not there.
fn later_and_later(now: Timestamp, at: Timestamp, before: u32) -> Timestamp {
    let wait = at.duration_since(now).max(SignedDuration::ZERO);
    let wait = wait.saturating_mul(1 << before.min(DOUBLED_MAX));
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// A moment as the ledger keeps it.
fn whole_micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
