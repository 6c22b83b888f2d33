//! Absorbing: objects that were read become records, links, history and what others are owed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use connector::Object;
use jiff::{SignedDuration, Timestamp};
use ledger::{
    Cursor, Lease, LedgerError, Link, Linked, Parked, ParkedFilter, PushMark, RecordWrite, SyncCommit,
};
use mapping::Forward;
use model::merge::{Merged, Policies, Theirs};
use model::{Fields, Kind, Record, RecordId, RunId, stored};

use crate::engine::{STALE_TRIES_MAX, SyncError};
use crate::meet::{Met, Seeker};
use crate::refs::Refs;
use crate::wire::{get, pick};
use crate::{Engine, Report, Sync};

/// How many parked objects of one connection are known at a time, and looked at again in one pull.
pub(crate) const PARKED_MAX: usize = 10_000;
/// After how long an object that waits for another one is read again.
const UNRESOLVED_RETRY_MS: i64 = 2_000;

/// Behind the external id of a link whose object has become another kind of record.
const SUPERSEDED: &str = "#superseded";

/// Where objects were read.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) connection: &'a str,
    pub(crate) object: &'a str,
    pub(crate) run: RunId,
    pub(crate) lease: &'a Lease,
}

/// Objects to absorb, in one transaction.
pub(crate) struct Batch<'a> {
    /// The objects.
    pub(crate) objects: &'a [Object],
    /// Records that objects are known to belong to, whatever the identity rules say.
    pub(crate) adopt: &'a HashMap<String, RecordId>,
    /// The cursor to store with them.
    pub(crate) cursor: Option<Cursor>,
}

/// One object on its way into the ledger.
struct Arrival<'a> {
    object: &'a Object,
    sync: &'a Sync,
    wire: serde_json::Value,
    known: Option<Linked>,
    forward: Forward,
}

impl Engine {
    /// Absorbs a batch; merges again from the start when somebody else changed one of its records meanwhile.
    pub(crate) async fn absorb(
        &self,
        place: Place<'_>,
        batch: Batch<'_>,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let kinds: Vec<Kind> = self
            .plan
            .of(place.connection, place.object)
            .map(Sync::kind)
            .collect();
        for _ in 0..STALE_TRIES_MAX {
            let _meeting = self.meeting(&kinds).await;
            let mut tried = Report::default();
            match self.absorb_once(place, &batch, &mut tried).await {
                Err(SyncError::Ledger(LedgerError::Stale(_))) => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    report.counts.add(&tried.counts);
                    report.owed.extend(tried.owed);
                    report.endpoints.extend(tried.endpoints);
                    if let Some(again) = tried.again {
                        report.look_again(again);
                    }
                    return Ok(());
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
    ) -> Result<(), SyncError> {
        let mut commit = SyncCommit {
            lease: Some(place.lease.clone()),
            ..SyncCommit::default()
        };
        if let Some(cursor) = &batch.cursor {
            commit.cursor = Some((
                place.connection.to_owned(),
                place.object.to_owned(),
                cursor.clone(),
            ));
        }
        let ids: Vec<String> = batch.objects.iter().map(|object| object.id.clone()).collect();
        let linked = self.ledger.linked(place.connection, place.object, &ids).await?;
        let mut linked: HashMap<String, Linked> = linked
            .into_iter()
            .map(|l| (l.link.external_id.clone(), l))
            .collect();
        let parked = self.parked_keys(place).await?;
        report.counts.read += batch.objects.len() as u64;

        let mut arrivals = Vec::new();
        for object in batch.objects {
            let known = linked.remove(&object.id);
            if let Some(arrival) = self.arrive(place, object, known, &mut commit, report) {
                let moved_on = self.moved_on(place, &arrival);
                arrivals.push(arrival);
                arrivals.extend(moved_on);
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
        Ok(self.ledger.commit(commit).await?)
    }

    async fn parked_keys(&self, place: Place<'_>) -> Result<BTreeSet<String>, LedgerError> {
        let filter = ParkedFilter {
            of: Some((place.connection.to_owned(), place.object.to_owned())),
            inbound: Some(true),
            retry_by: None,
        };
        Ok(self
            .ledger
            .parked(&filter, PARKED_MAX)
            .await?
            .into_iter()
            .map(|parked| parked.key)
            .collect())
    }

    /// Sorts out what needs no mapping: what is gone, what is unchanged, what no mapping wants.
    fn arrive<'a>(
        &'a self,
        place: Place<'a>,
        object: &'a Object,
        known: Option<Linked>,
        commit: &mut SyncCommit,
        report: &mut Report,
    ) -> Option<Arrival<'a>> {
        if object.deleted {
            match known {
                Some(known) if !known.link.gone => {
                    report.counts.gone += 1;
                    commit.links.push(Link {
                        gone: true,
                        seen_at: self.world.now(),
                        ..known.link
                    });
                }
                _ => report.counts.skipped += 1,
            }
            return None;
        }
        let Some(sync) = self.sync_of(place, object, known.as_ref()) else {
            report.counts.skipped += 1;
            return None;
        };
        let wire = pick(&object.body, sync.mapping.object_fields().iter());
        if let Some(known) = &known
            && known.link.wire.as_ref() == Some(&wire)
            && known.link.base.is_some()
            && !known.link.gone
        {
            report.counts.unchanged += 1;
            return None;
        }
        Some(Arrival {
            object,
            sync,
            wire,
            known,
            forward: Forward::default(),
        })
    }

    /// An object that is linked to one kind of record but has become another: a lead that is a deal now.
    /// It arrives a second time, as new, and takes the link with it.
    fn moved_on<'a>(&'a self, place: Place<'a>, arrival: &Arrival<'a>) -> Option<Arrival<'a>> {
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

    /// Maps every arrival; those that refer to something not looked up yet are mapped again once it is.
    async fn map_forward(
        &self,
        place: Place<'_>,
        arrivals: &mut [Arrival<'_>],
        refs: &mut Refs,
    ) -> Result<(), SyncError> {
        for arrival in arrivals.iter_mut() {
            arrival.forward = forward(arrival, base_of(arrival), refs);
        }
        if refs.learn(&*self.ledger, place.connection).await? {
            for arrival in arrivals
                .iter_mut()
                .filter(|arrival| !arrival.forward.unresolved.is_empty())
            {
                arrival.forward = forward(arrival, base_of(arrival), refs);
            }
        }
        Ok(())
    }

    /// Finds the record of every arrival and merges it.
    #[expect(
        clippy::too_many_arguments,
        reason = "one page's worth of state, used nowhere else"
    )]
    async fn settle(
        &self,
        place: Place<'_>,
        arrivals: Vec<Arrival<'_>>,
        adopt: &HashMap<String, RecordId>,
        refs: &mut Refs,
        parked: &BTreeSet<String>,
        commit: &mut SyncCommit,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let (ready, waiting): (Vec<_>, Vec<_>) = arrivals
            .into_iter()
            .partition(|arrival| arrival.forward.unresolved.is_empty());
        for arrival in waiting {
            let retry = self.in_ms(UNRESOLVED_RETRY_MS);
            report.look_again(retry);
            commit.parked.push(self.waits(place, &arrival, retry));
        }
        let mut met = self.meet_all(place, &ready, adopt).await?;
        let known = ready
            .iter()
            .filter_map(|arrival| arrival.known.as_ref())
            .map(|known| &known.record.fields);
        let all = known.chain(ready.iter().map(|arrival| &arrival.forward.fields));
        refs.learn_records(&*self.ledger, place.connection, all).await?;
        // An object that moved on stands behind itself: the link of its later arrival replaces the earlier one, and the
        // record that it leaves keeps a link that is gone, so that it is not created there again.
        for mut arrival in ready {
            let record = match (&arrival.known, met.remove(&arrival.object.id)) {
                (Some(known), _) => known.record.clone(),
                (None, Some(Met::Known(record))) => {
                    report.counts.met += 1;
                    // A coarse value (one stage for two of ours) is read as what the record says, where it can be.
                    arrival.forward = forward(&arrival, Some(&record.fields), refs);
                    *record
                }
                (None, Some(Met::New(record))) => *record,
                (None, Some(Met::Several(ids))) => {
                    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
                    let reason = format!(
                        "fits {} records alike: {}; link it by hand or make them differ",
                        names.len(),
                        names.join(", ")
                    );
                    commit
                        .parked
                        .push(self.parks(place, &arrival.object.id, "ambiguous", reason, None));
                    continue;
                }
                (None, None) => continue,
            };
            self.merge_one(place, arrival, record, refs, parked, commit, report);
        }
        Ok(())
    }

    async fn meet_all(
        &self,
        place: Place<'_>,
        arrivals: &[Arrival<'_>],
        adopt: &HashMap<String, RecordId>,
    ) -> Result<HashMap<String, Met>, SyncError> {
        let system = self.connections.get(place.connection);
        let key_field = system.and_then(|system| system.connector().key_field(place.object));
        let mut by_kind: BTreeMap<Kind, Vec<Seeker<'_>>> = BTreeMap::new();
        for arrival in arrivals.iter().filter(|arrival| arrival.known.is_none()) {
            let own = adopt.get(&arrival.object.id).copied();
            let carried =
                || key_field.and_then(|field| get(&arrival.object.body, field)?.as_str()?.parse().ok());
            by_kind.entry(arrival.sync.kind()).or_default().push(Seeker {
                external_id: &arrival.object.id,
                fields: &arrival.forward.fields,
                own: own.or_else(carried),
            });
        }
        let mut met = HashMap::new();
        for (kind, seekers) in by_kind {
            met.extend(self.meet(place.connection, place.object, kind, &seekers).await?);
        }
        Ok(met)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one page's worth of state, used nowhere else"
    )]
    fn merge_one(
        &self,
        place: Place<'_>,
        arrival: Arrival<'_>,
        mut record: Record,
        refs: &Refs,
        parked: &BTreeSet<String>,
        commit: &mut SyncCommit,
        report: &mut Report,
    ) {
        let now = self.world.now();
        let (read_version, kind) = (record.version, record.kind());
        let theirs = Theirs {
            connection: place.connection,
            external_id: &arrival.object.id,
            fields: &arrival.forward.fields,
            base: arrival.known.as_ref().and_then(|known| known.link.base.as_ref()),
            changed_at: arrival.object.modified.unwrap_or(now),
            observed_at: now,
        };
        let policies = self.plan.rules.policies.get(&kind);
        let merged = model::merge(&mut record, &theirs, policies.unwrap_or(&Policies::default()));
        let missing = record.missing();
        if read_version == 0 && !missing.is_empty() {
            let mut reason = format!("a {kind} needs {}", missing.join(", "));
            reason.push_str(&issues(&arrival.forward));
            commit
                .parked
                .push(self.parks(place, &arrival.object.id, "mapping", reason, None));
            return;
        }
        if !arrival.forward.issues.is_empty() {
            let reason = format!("some fields were left out{}", issues(&arrival.forward));
            commit
                .parked
                .push(self.parks(place, &arrival.object.id, "field", reason, None));
        } else if parked.contains(&arrival.object.id) {
            let key = (
                place.connection.to_owned(),
                place.object.to_owned(),
                arrival.object.id.clone(),
                true,
            );
            commit.unparked.push(key);
        }
        match (read_version, merged.changes.is_empty()) {
            (0, _) => report.counts.created += 1,
            (_, false) => report.counts.updated += 1,
            (_, true) => report.counts.unchanged += 1,
        }
        let left = self.moved_on(place, &arrival).is_some();
        let superseded = if left { SUPERSEDED } else { "" };
        commit.links.push(Link {
            connection: place.connection.to_owned(),
            object: place.object.to_owned(),
            external_id: format!("{}{superseded}", arrival.object.id),
            record: record.id,
            base: Some(arrival.forward.fields),
            wire: Some(arrival.wire.clone()),
            external_version: arrival.object.version.clone(),
            seen_at: now,
            gone: left,
        });
        self.owe(
            place,
            arrival.sync,
            &record,
            &arrival.wire,
            arrival.known.is_none(),
            &merged,
            refs,
            commit,
        );
        self.write_down(
            place,
            record,
            read_version,
            &merged,
            &arrival.object.id,
            now,
            commit,
        );
    }

    /// Marks what others, and this connection itself, are owed now.
    #[expect(
        clippy::too_many_arguments,
        reason = "one page's worth of state, used nowhere else"
    )]
    fn owe(
        &self,
        place: Place<'_>,
        here: &Sync,
        record: &Record,
        wire: &serde_json::Value,
        first: bool,
        merged: &Merged,
        refs: &Refs,
        commit: &mut SyncCommit,
    ) {
        let now = self.world.now();
        for sync in self.plan.owed(record.kind()) {
            let is_here = sync.connection == place.connection && sync.object() == place.object;
            let owed = if is_here {
                let refer = |id: RecordId, object: &str| refs.external(id, object);
                let back = here
                    .mapping
                    .backward(&record.fields, Some(wire), here.context(), &refer);
                !back.values.is_empty()
            } else {
                first || !merged.changes.is_empty()
            };
            if owed {
                commit.marks.push(PushMark {
                    connection: sync.connection.clone(),
                    object: sync.object().to_owned(),
                    record: record.id,
                    due_at: now,
                });
            }
        }
    }

    /// Writes down the record with its history, conflicts and event, if it changed.
    #[expect(
        clippy::too_many_arguments,
        reason = "one page's worth of state, used nowhere else"
    )]
    fn write_down(
        &self,
        place: Place<'_>,
        record: Record,
        read_version: u64,
        merged: &Merged,
        external_id: &str,
        now: Timestamp,
        commit: &mut SyncCommit,
    ) {
        let json = |value: Option<&model::Value>| value.map_or(serde_json::Value::Null, stored::to_json);
        for conflict in &merged.conflicts {
            commit.conflicts.push(ledger::Conflict {
                record: record.id,
                path: conflict.path.to_owned(),
                connection: place.connection.to_owned(),
                base: json(conflict.base.as_ref()),
                ours: json(Some(&conflict.ours)),
                theirs: json(Some(&conflict.theirs)),
                kept: json(Some(&conflict.kept)),
                open: conflict.open,
                found_at: now,
            });
        }
        if merged.changes.is_empty() {
            return;
        }
        commit.events.push(self.announce(&record, &merged.changes, now));
        let changes = merged.changes.iter().map(|change| ledger::Change {
            version: record.version,
            path: change.path.to_owned(),
            before: json(change.before.as_ref()),
            after: json(Some(&change.after)),
            reason: change.reason.word().to_owned(),
            connection: place.connection.to_owned(),
            external_id: external_id.to_owned(),
            changed_at: record
                .provenance
                .get(change.path)
                .map_or(now, |said| said.changed_at),
            committed_at: now,
            run: place.run,
        });
        commit.records.push(RecordWrite {
            changes: changes.collect(),
            match_keys: self.plan.rules.match_keys(record.kind(), &record.fields),
            read_version,
            record,
        });
    }

    fn waits(&self, place: Place<'_>, arrival: &Arrival<'_>, retry: Timestamp) -> Parked {
        let names: Vec<String> = arrival
            .forward
            .unresolved
            .iter()
            .map(|missing| {
                format!(
                    "`{}` refers to {} {}",
                    missing.path, missing.object, missing.external_id
                )
            })
            .collect();
        let reason = format!(
            "{}, which is not known here yet; it is read again until it is",
            names.join(" and ")
        );
        self.parks(
            place,
            &arrival.object.id,
            "unresolved_reference",
            reason,
            Some(retry),
        )
    }

    fn parks(
        &self,
        place: Place<'_>,
        key: &str,
        code: &str,
        reason: String,
        retry_at: Option<Timestamp>,
    ) -> Parked {
        Parked {
            connection: place.connection.to_owned(),
            object: place.object.to_owned(),
            key: key.to_owned(),
            inbound: true,
            code: code.to_owned(),
            reason,
            since: self.world.now(),
            retry_at,
        }
    }

    pub(crate) fn in_ms(&self, wait_ms: i64) -> Timestamp {
        self.world
            .now()
            .checked_add(SignedDuration::from_millis(wait_ms))
            .unwrap_or(Timestamp::MAX)
    }
}

fn base_of<'a>(arrival: &'a Arrival<'_>) -> Option<&'a Fields> {
    arrival.known.as_ref().and_then(|known| known.link.base.as_ref())
}

fn forward(arrival: &Arrival<'_>, base: Option<&Fields>, refs: &Refs) -> Forward {
    let resolve = |object: &str, external_id: &str| refs.record(object, external_id);
    arrival
        .sync
        .mapping
        .forward(&arrival.wire, base, arrival.sync.context(), &resolve)
}

fn issues(forward: &Forward) -> String {
    forward.issues.iter().map(|issue| format!("; {issue}")).collect()
}
