//! A ledger over another one, which stays as it is.
//!
//! An *overlay* reads through to the ledger below and keeps what is written in a database of its own, in a temporary file
//! that goes with it. So the real engine can be asked what it would do, and memory does not grow with what it would do.
//!
//! Rows are taken over when they are written: a record as soon as it or a link of it is, pushes and parked things of an
//! object, and what is due at an inlet, all at once, when first asked for. Leases, runs, events and deliveries are its own:
//! it takes no work from anybody. Sealed values alone go through: a renewed token that is lost locks an account.
//! Not promised: one moment. What changes below while an overlay is used may be seen or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use model::{ConflictId, EventId, Kind, MatchKey, Record, RecordId};
use tokio::sync::Mutex;

use crate::{
    Action, ActionFilter, Change, Conflict, ConflictFilter, Conflicts, Cursor, Durability, Inlet, Journal,
    Journeys, Ledger, LedgerError, Link, Linked, NewDelivery, NewEvent, OpenError, Parked, ParkedCause,
    ParkedFilter, Push, PushMark, Pushed, RecordWrite, Records, Sent, Settings, SyncCommit,
};

mod passed;

/// Pushes that are taken over at a time.
const PUSHES_AT_A_TIME: usize = 1_000;
/// Conflicts that are counted at a time.
const CONFLICTS_AT_A_TIME: usize = 1_000;
/// Parked things of an object that are taken over at most; as many as sync knows of at a time.
const PARKED_MAX: usize = 10_000;

/// Deliveries to an inlet that are taken over at most.
const INLET_MAX: usize = 10_000;

/// Opens an overlay.
///
/// # Errors
/// When no temporary file can be made.
pub async fn overlay(below: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, OpenError> {
    let failed = |error: std::io::Error| OpenError::Failed {
        at: std::env::temp_dir().display().to_string(),
        reason: format!("{error}; name another folder by TMPDIR"),
    };
    let folder = tempfile::tempdir().map_err(failed)?;
    let settings = Settings {
        durable: Durability::Normal,
        ..Settings::default()
    };
    let address = format!("sqlite:{}", folder.path().join("overlay.db").display());
    let own = crate::open(&address, settings).await?;
    Ok(Arc::new(Overlay {
        below,
        own,
        taken_over: Mutex::default(),
        _folder: Some(folder),
    }))
}

/// What was taken over as a whole.
#[derive(Default)]
struct TakenOver {
    /// Standings and quarantined fields.
    upkeep: bool,
    /// Pushes and parked things, by connection and object.
    objects: BTreeSet<(String, String)>,
    /// What was due at inlets, by their names.
    inlets: BTreeSet<String>,
}

struct Overlay {
    below: Arc<dyn Ledger>,
    own: Arc<dyn Ledger>,
    taken_over: Mutex<TakenOver>,
    /// Last, so that it goes when nothing is open in it any more.
    _folder: Option<tempfile::TempDir>,
}

impl Overlay {
    /// Takes over what is due at an inlet, with its events, if that was not done before. What is due to endpoints is not
    /// this ledger's to send.
    async fn take_over_inlet(&self, endpoint: &str, now: Timestamp) -> Result<(), LedgerError> {
        let mut taken_over = self.taken_over.lock().await;
        if Inlet::parse(endpoint).is_none() || taken_over.inlets.contains(endpoint) {
            return Ok(());
        }
        let due = self.below.due(endpoint, now, INLET_MAX).await?;
        let events = due.into_iter().map(|due| NewEvent {
            id: due.event,
            event_type: due.event_type,
            source: due.source,
            dedupe: due.event.to_string(),
            body: due.body,
            received_at: due.received_at,
            trace: due.trace,
            hops: due.hops,
            arrival: String::new(),
            deliveries: vec![NewDelivery {
                id: due.delivery,
                endpoint: endpoint.to_owned(),
                line: None,
            }],
        });
        self.own.accept(events.collect()).await?;
        taken_over.inlets.insert(endpoint.to_owned());
        Ok(())
    }

    /// Takes over the pushes and parked things of an object, if that was not done before.
    async fn take_over(&self, connection: &str, object: &str) -> Result<(), LedgerError> {
        let place = (connection.to_owned(), object.to_owned());
        let mut taken_over = self.taken_over.lock().await;
        if taken_over.objects.contains(&place) {
            return Ok(());
        }
        let mut after = None;
        loop {
            let owed = self.below.all_pushes(connection, object, after, PUSHES_AT_A_TIME);
            let owed = owed.await?;
            let Some(last) = owed.last() else { break };
            after = Some(last.record);
            let marks = owed.iter().map(|push| PushMark {
                connection: push.connection.clone(),
                object: push.object.clone(),
                record: push.record,
                due_at: push.due_at,
            });
            let marks = SyncCommit {
                marks: marks.collect(),
                ..SyncCommit::default()
            };
            self.own.commit(marks).await?;
            let sending = SyncCommit {
                sending: owed.into_iter().filter(|push| !push.sent.is_empty()).collect(),
                ..SyncCommit::default()
            };
            self.own.commit(sending).await?;
        }
        let filter = ParkedFilter {
            of: Some(place.clone()),
            ..ParkedFilter::default()
        };
        let parked = SyncCommit {
            parked: self.below.parked(&filter, PARKED_MAX).await?,
            ..SyncCommit::default()
        };
        self.own.commit(parked).await?;
        taken_over.objects.insert(place);
        Ok(())
    }

    async fn take_over_upkeep(&self) -> Result<(), LedgerError> {
        let mut taken_over = self.taken_over.lock().await;
        if taken_over.upkeep {
            return Ok(());
        }
        for standing in self.below.standings(None).await? {
            self.own.note_standing(&standing).await?;
        }
        for field in self.below.quarantined(None).await? {
            self.own.quarantine(&field).await?;
        }
        taken_over.upkeep = true;
        Ok(())
    }

    async fn take_over_owed(&self) -> Result<(), LedgerError> {
        let below = self.below.owed().await?;
        for (connection, object, _) in below.pushes.into_iter().chain(below.parked) {
            self.take_over(&connection, &object).await?;
        }
        Ok(())
    }

    /// Takes over the open conflicts of the records that a commit has conflicts of.
    async fn take_over_conflicts(&self, commit: &SyncCommit) -> Result<(), LedgerError> {
        let records: BTreeSet<RecordId> = commit.conflicts.iter().map(|conflict| conflict.record).collect();
        let records: Vec<RecordId> = records.into_iter().collect();
        let conflicts = self
            .only_below_conflicts(self.below.open_conflicts(&records).await?)
            .await?;
        if conflicts.is_empty() {
            return Ok(());
        }
        let commit = SyncCommit {
            conflicts,
            ..SyncCommit::default()
        };
        self.own.commit(commit).await
    }

    /// Takes out of conflicts that are below those that the overlay has, too, however they stand there.
    async fn only_below_conflicts(&self, mut below: Vec<Conflict>) -> Result<Vec<Conflict>, LedgerError> {
        if below.is_empty() {
            return Ok(below);
        }
        let filter = ConflictFilter {
            ids: below.iter().map(|conflict| conflict.id).collect(),
            ..ConflictFilter::default()
        };
        let own = self.own.list_conflicts(&filter, None, below.len()).await?;
        let own: BTreeSet<ConflictId> = own.iter().map(|conflict| conflict.id).collect();
        below.retain(|conflict| !own.contains(&conflict.id));
        Ok(below)
    }

    /// Marks what is linked at an object as owed to it, page by page: what is linked below only is known here then.
    async fn owe_linked(&self, connection: &str, object: &str, due_at: Timestamp) -> Result<(), LedgerError> {
        let mut after = None;
        loop {
            let ids = self
                .linked_ids(connection, object, after.as_deref(), PUSHES_AT_A_TIME)
                .await?;
            let Some(last) = ids.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let linked = self.linked(connection, object, &ids).await?;
            let marks = linked.into_iter().map(|linked| PushMark {
                connection: connection.to_owned(),
                object: object.to_owned(),
                record: linked.record.id,
                due_at,
            });
            let marks = SyncCommit {
                marks: marks.collect(),
                ..SyncCommit::default()
            };
            self.commit(marks).await?;
        }
    }

    /// The records of a commit that are still below only, as they are there. A new record must not be there.
    async fn copies(&self, commit: &SyncCommit) -> Result<Vec<RecordWrite>, LedgerError> {
        let mut read: BTreeMap<RecordId, u64> = BTreeMap::new();
        for write in &commit.records {
            read.entry(write.record.id).or_insert(write.read_version);
        }
        let linked = commit.links.iter().chain(&commit.claims).map(|link| link.record);
        let ids: BTreeSet<RecordId> = read.keys().copied().chain(linked).collect();
        let mut ids: Vec<RecordId> = ids.into_iter().collect();
        let own: BTreeSet<RecordId> = self.own.records(&ids).await?.iter().map(|r| r.id).collect();
        ids.retain(|id| !own.contains(id));
        let below = self.below.records(&ids).await?;
        let stale = below.iter().filter(|record| read.get(&record.id) == Some(&0));
        let stale: Vec<RecordId> = stale.map(|record| record.id).collect();
        if !stale.is_empty() {
            return Err(LedgerError::Stale(stale));
        }
        // Their keys stay below; see [`Overlay::matching`].
        let copies = below.into_iter().map(|record| RecordWrite {
            record,
            read_version: 0,
            changes: Vec::new(),
            match_keys: Vec::new(),
        });
        Ok(copies.collect())
    }

    /// Takes out of records that are below those that the overlay has, too.
    async fn only_below(&self, ids: &[RecordId]) -> Result<(Vec<Record>, Vec<RecordId>), LedgerError> {
        let own = self.own.records(ids).await?;
        let known: BTreeSet<RecordId> = own.iter().map(|record| record.id).collect();
        let rest = ids.iter().copied().filter(|id| !known.contains(id)).collect();
        Ok((own, rest))
    }
}

fn places(commit: &SyncCommit) -> BTreeSet<(String, String)> {
    let marks = commit.marks.iter().map(|mark| (&mark.connection, &mark.object));
    let ended = commit
        .ended
        .iter()
        .map(|(push, _)| (&push.connection, &push.object));
    let sending = commit.sending.iter().map(|push| (&push.connection, &push.object));
    let parked = commit
        .parked
        .iter()
        .map(|parked| (&parked.connection, &parked.object));
    let unparked = commit
        .unparked
        .iter()
        .map(|(connection, object, ..)| (connection, object));
    let places = marks.chain(ended).chain(sending).chain(parked).chain(unparked);
    places
        .map(|(connection, object)| (connection.clone(), object.clone()))
        .collect()
}

#[async_trait]
impl Records for Overlay {
    async fn linked(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<Linked>, LedgerError> {
        let mut linked = self.own.linked(connection, object, external_ids).await?;
        let own: BTreeSet<&str> = linked.iter().map(|l| l.link.external_id.as_str()).collect();
        let rest: Vec<String> = external_ids
            .iter()
            .filter(|id| !own.contains(id.as_str()))
            .cloned()
            .collect();
        let below = self.below.linked(connection, object, &rest).await?;
        let ids: Vec<RecordId> = below.iter().map(|l| l.record.id).collect();
        let moved = self.own.links(&ids).await?;
        let here = |link: &&Link| link.connection == connection && link.object == object;
        let moved: BTreeSet<RecordId> = moved.iter().filter(here).map(|link| link.record).collect();
        let own = self.own.records(&ids).await?;
        let own: BTreeMap<RecordId, Record> = own.into_iter().map(|record| (record.id, record)).collect();
        for mut below in below.into_iter().filter(|l| !moved.contains(&l.record.id)) {
            if let Some(record) = own.get(&below.record.id) {
                below.record = record.clone();
            }
            linked.push(below);
        }
        Ok(linked)
    }

    async fn former(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<(String, RecordId)>, LedgerError> {
        let mut former = self.below.former(connection, object, external_ids).await?;
        former.extend(self.own.former(connection, object, external_ids).await?);
        let newest: BTreeMap<String, RecordId> = former.into_iter().collect();
        Ok(newest.into_iter().collect())
    }

    async fn records(&self, ids: &[RecordId]) -> Result<Vec<Record>, LedgerError> {
        let (mut records, rest) = self.only_below(ids).await?;
        records.extend(self.below.records(&rest).await?);
        Ok(records)
    }

    async fn links(&self, ids: &[RecordId]) -> Result<Vec<Link>, LedgerError> {
        let mut links = self.own.links(ids).await?;
        let replaced: BTreeSet<(RecordId, String, String)> = links
            .iter()
            .map(|link| (link.record, link.connection.clone(), link.object.clone()))
            .collect();
        let mut below = self.below.links(ids).await?;
        below.retain(|link| {
            let slot = (link.record, link.connection.clone(), link.object.clone());
            !replaced.contains(&slot)
        });
        // An object that has another record now.
        let mut by_place: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for link in &below {
            let place = (link.connection.clone(), link.object.clone());
            by_place.entry(place).or_default().push(link.external_id.clone());
        }
        for ((connection, object), external_ids) in by_place {
            let taken = self.own.linked(&connection, &object, &external_ids).await?;
            let taken: BTreeSet<&str> = taken.iter().map(|l| l.link.external_id.as_str()).collect();
            below.retain(|link| {
                let here = link.connection == connection && link.object == object;
                !(here && taken.contains(link.external_id.as_str()))
            });
        }
        links.extend(below);
        Ok(links)
    }

    async fn linked_ids(
        &self,
        connection: &str,
        object: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, LedgerError> {
        let mut found: BTreeSet<String> = BTreeSet::new();
        let mut after = after.map(str::to_owned);
        loop {
            let below = self
                .below
                .linked_ids(connection, object, after.as_deref(), limit)
                .await?;
            let own = self
                .own
                .linked_ids(connection, object, after.as_deref(), limit)
                .await?;
            // Up to where both were looked at.
            let full = [&below, &own].into_iter().filter(|ids| ids.len() == limit);
            let horizon = full.filter_map(|ids| ids.last().cloned()).min();
            let seen = self.linked(connection, object, &below).await?;
            let seen = seen
                .into_iter()
                .filter(|l| !l.link.gone && !l.link.ignored)
                .map(|l| l.link.external_id);
            let within = |id: &String| horizon.as_ref().is_none_or(|horizon| id <= horizon);
            found.extend(seen.chain(own).filter(within));
            if found.len() >= limit || horizon.is_none() {
                return Ok(found.into_iter().take(limit).collect());
            }
            after = horizon;
        }
    }

    async fn matching(
        &self,
        kind: Kind,
        keys: &[MatchKey],
    ) -> Result<Vec<(MatchKey, RecordId)>, LedgerError> {
        let below = self.below.matching(kind, keys).await?;
        let ids: BTreeSet<RecordId> = below.iter().map(|(_, id)| *id).collect();
        let ids: Vec<RecordId> = ids.into_iter().collect();
        // A record that was written over has its keys here; one that was only copied has them below.
        let versions = self.below.records(&ids).await?;
        let versions: BTreeMap<RecordId, u64> = versions.iter().map(|r| (r.id, r.version)).collect();
        let own = self.own.records(&ids).await?.into_iter();
        let written = own.filter(|record| versions.get(&record.id).is_some_and(|v| record.version > *v));
        let written: BTreeSet<RecordId> = written.map(|record| record.id).collect();
        let below = below.into_iter().filter(|(_, id)| !written.contains(id));
        let own = self.own.matching(kind, keys).await?;
        let all: BTreeSet<(MatchKey, RecordId)> = own.into_iter().chain(below).collect();
        Ok(all.into_iter().collect())
    }

    async fn list_records(
        &self,
        kind: Kind,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let below = self.below.list_records(kind, after, limit).await?;
        let own = self.own.list_records(kind, after, limit).await?;
        let all = below.into_iter().chain(own).map(|record| (record.id, record));
        let all: BTreeMap<RecordId, Record> = all.collect();
        Ok(all.into_values().take(limit).collect())
    }

    async fn history(&self, id: RecordId) -> Result<Vec<Change>, LedgerError> {
        let mut history = self.below.history(id).await?;
        history.extend(self.own.history(id).await?);
        Ok(history)
    }

    async fn commit(&self, mut commit: SyncCommit) -> Result<(), LedgerError> {
        for (connection, object) in places(&commit) {
            self.take_over(&connection, &object).await?;
        }
        self.take_over_conflicts(&commit).await?;
        let copies = self.copies(&commit).await?;
        commit.records.splice(0..0, copies);
        let owed = commit.owe_linked.take();
        self.own.commit(commit).await?;
        match owed {
            Some((connection, object, due_at)) => self.owe_linked(&connection, &object, due_at).await,
            None => Ok(()),
        }
    }

    async fn pushes(
        &self,
        connection: &str,
        object: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Push>, LedgerError> {
        self.take_over(connection, object).await?;
        self.own.pushes(connection, object, now, limit).await
    }

    async fn all_pushes(
        &self,
        connection: &str,
        object: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Push>, LedgerError> {
        self.take_over(connection, object).await?;
        self.own.all_pushes(connection, object, after, limit).await
    }

    async fn sent(
        &self,
        connection: &str,
        object: &str,
        records: &[RecordId],
    ) -> Result<Vec<(RecordId, Vec<Sent>)>, LedgerError> {
        self.take_over(connection, object).await?;
        self.own.sent(connection, object, records).await
    }

    async fn cursor(&self, connection: &str, object: &str) -> Result<Option<Cursor>, LedgerError> {
        match self.own.cursor(connection, object).await? {
            Some(cursor) => Ok(Some(cursor)),
            None => self.below.cursor(connection, object).await,
        }
    }

    async fn parked(&self, filter: &ParkedFilter, limit: usize) -> Result<Vec<Parked>, LedgerError> {
        let below = match &filter.of {
            Some(of) => BTreeSet::from([of.clone()]),
            None => {
                let below = self.below.parked(&ParkedFilter::default(), PARKED_MAX).await?;
                below
                    .into_iter()
                    .map(|parked| (parked.connection, parked.object))
                    .collect()
            }
        };
        for (connection, object) in below {
            self.take_over(&connection, &object).await?;
        }
        self.own.parked(filter, limit).await
    }

    async fn parked_causes(&self) -> Result<Vec<ParkedCause>, LedgerError> {
        self.parked(&ParkedFilter::default(), 1).await?;
        self.own.parked_causes().await
    }
}

#[async_trait]
impl Conflicts for Overlay {
    async fn list_conflicts(
        &self,
        filter: &ConflictFilter,
        after: Option<ConflictId>,
        limit: usize,
    ) -> Result<Vec<Conflict>, LedgerError> {
        let mut after = after;
        let mut all: BTreeMap<ConflictId, Conflict> = BTreeMap::new();
        loop {
            let below = self.below.list_conflicts(filter, after, limit).await?;
            let own = self.own.list_conflicts(filter, after, limit).await?;
            // Up to where both were looked at.
            let full = [&below, &own].into_iter().filter(|page| page.len() == limit);
            let horizon = full.filter_map(|page| Some(page.last()?.id)).min();
            let found = self.only_below_conflicts(below).await?.into_iter().chain(own);
            let within = |conflict: &Conflict| horizon.is_none_or(|horizon| conflict.id <= horizon);
            let found = found.filter(within).map(|conflict| (conflict.id, conflict));
            all.extend(found);
            if all.len() >= limit || horizon.is_none() {
                return Ok(all.into_values().take(limit).collect());
            }
            after = horizon;
        }
    }

    async fn count_conflicts(&self, filter: &ConflictFilter) -> Result<u64, LedgerError> {
        let (mut after, mut counted) = (None, 0);
        loop {
            let page = self.list_conflicts(filter, after, CONFLICTS_AT_A_TIME).await?;
            let Some(last) = page.last() else {
                return Ok(counted);
            };
            after = Some(last.id);
            counted += page.len() as u64;
        }
    }

    async fn open_conflicts(&self, records: &[RecordId]) -> Result<Vec<Conflict>, LedgerError> {
        let mut open = self.own.open_conflicts(records).await?;
        let below = self.below.open_conflicts(records).await?;
        open.extend(self.only_below_conflicts(below).await?);
        Ok(open)
    }
}

/// What a person did is written in the overlay only; below nothing is undone by it.
#[async_trait]
impl Journal for Overlay {
    async fn actions(&self, filter: &ActionFilter, limit: usize) -> Result<Vec<Action>, LedgerError> {
        let mut actions = self.own.actions(filter, limit).await?;
        actions.extend(self.below.actions(filter, limit).await?);
        actions.truncate(limit);
        Ok(actions)
    }
}

#[async_trait]
impl Journeys for Overlay {
    async fn pushed(&self, record: RecordId, limit: usize) -> Result<Vec<Pushed>, LedgerError> {
        let mut pushed = self.below.pushed(record, limit).await?;
        pushed.extend(self.own.pushed(record, limit).await?);
        Ok(pushed.split_off(pushed.len().saturating_sub(limit)))
    }

    async fn owed_of(&self, record: RecordId) -> Result<Vec<Push>, LedgerError> {
        self.take_over_owed().await?;
        self.own.owed_of(record).await
    }

    async fn event_named(&self, source: &str, dedupe: &str) -> Result<Option<EventId>, LedgerError> {
        match self.own.event_named(source, dedupe).await? {
            None => self.below.event_named(source, dedupe).await,
            own => Ok(own),
        }
    }
}
