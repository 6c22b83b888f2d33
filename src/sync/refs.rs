//! [`Refs`]: which record an object's id stands for at one connection, and the other way round.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use ledger::{Ledger, LedgerError, Link, Linked, PushMark, SyncCommit};
use model::{Fields, Kind, MatchKey, RecordId, Value};

use crate::absorb::Place;
use crate::alias::standing_for;
use crate::{Engine, Report};

impl Engine {
    /// Records that refer to one of these, each once.
    pub(crate) async fn referring(&self, to: &[RecordId]) -> Result<Vec<RecordId>, LedgerError> {
        let keys: Vec<MatchKey> = to.iter().map(|record| MatchKey::refers_to(*record)).collect();
        let mut found = BTreeSet::new();
        for kind in Kind::ALL {
            let matching = self.ledger.matching(kind, &keys).await?;
            found.extend(matching.into_iter().map(|(_, record)| record));
        }
        Ok(found.into_iter().collect())
    }

    /// What refers to records that have another object now is owed there: it may name the one that is gone.
    pub(crate) async fn owe_referring(
        &self,
        place: Place<'_>,
        of: &[RecordId],
        commit: &mut SyncCommit,
        report: &mut Report,
    ) -> Result<(), LedgerError> {
        if of.is_empty() {
            return Ok(());
        }
        for record in self.referring(of).await? {
            let mut syncs = self.plan.syncs.iter().filter(|sync| sync.push);
            let sync = syncs.find(|sync| sync.connection == place.connection && sync.kind() == record.kind);
            let Some(sync) = sync else { continue };
            report
                .owed
                .insert((sync.connection.clone(), sync.object().to_owned()));
            commit.marks.push(PushMark {
                connection: sync.connection.clone(),
                object: sync.object().to_owned(),
                record,
                due_at: self.world.now(),
            });
        }
        Ok(())
    }
}

/// References of one connection, looked up a page at a time.
#[derive(Default)]
pub(crate) struct Refs {
    records: HashMap<(String, String), RecordId>,
    externals: HashMap<(RecordId, String), String>,
    /// What was asked for and is not known; asking is how a page learns what to look up.
    missed: RefCell<BTreeSet<(String, String)>>,
}

impl Refs {
    /// The record that an object stands for.
    pub(crate) fn record(&self, object: &str, external_id: &str) -> Option<RecordId> {
        let key = (object.to_owned(), external_id.to_owned());
        let found = self.records.get(&key).copied();
        if found.is_none() {
            self.missed.borrow_mut().insert(key);
        }
        found
    }

    /// The object's id that a record has.
    pub(crate) fn external(&self, record: RecordId, object: &str) -> Option<String> {
        self.externals.get(&(record, object.to_owned())).cloned()
    }

    /// Looks up everything that was asked for in vain; says whether anything was found.
    pub(crate) async fn learn(&mut self, ledger: &dyn Ledger, connection: &str) -> Result<bool, LedgerError> {
        let mut by_object: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (object, id) in self.missed.take() {
            by_object.entry(object).or_default().push(id);
        }
        let mut found = false;
        for (object, mut ids) in by_object {
            let linked = ledger.linked(connection, &object, &ids).await?;
            let standing = standing_for(ledger, linked.iter().map(|linked| &linked.record)).await?;
            for Linked { link, record } in linked {
                found = true;
                let standing = standing.get(&record.id).map_or(record.id, |standing| standing.id);
                // What is left alone is read as its record, and never written for it.
                match link.ignored || standing != record.id {
                    true => {
                        self.records.insert((link.object, link.external_id), standing);
                    }
                    false => self.note(link.object, link.external_id, standing),
                }
            }
            // What a record had there before it got another object means the same record.
            ids.retain(|id| !self.records.contains_key(&(object.clone(), id.clone())));
            if ids.is_empty() {
                continue;
            }
            let former = ledger.former(connection, &object, &ids).await?;
            let records: Vec<RecordId> = former.iter().map(|(_, record)| *record).collect();
            let records = if records.is_empty() {
                Vec::new()
            } else {
                ledger.records(&records).await?
            };
            let standing = standing_for(ledger, records.iter()).await?;
            for (id, record) in former {
                found = true;
                let record = standing.get(&record).map_or(record, |standing| standing.id);
                self.records.insert((object.clone(), id), record);
            }
        }
        Ok(found)
    }

    /// Looks up the ids, at a connection, of all records that fields refer to.
    pub(crate) async fn learn_records<'f>(
        &mut self,
        ledger: &dyn Ledger,
        connection: &str,
        fields: impl Iterator<Item = &'f Fields>,
    ) -> Result<(), LedgerError> {
        let mut ids: Vec<RecordId> = fields
            .flat_map(|fields| fields.iter())
            .filter_map(|(_, value)| Value::as_reference(value))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !self.externals.keys().any(|(known, _)| known == id));
        if ids.is_empty() {
            return Ok(());
        }
        let here = |link: &Link| link.connection == connection && !link.gone && !link.ignored;
        let mut found = BTreeSet::new();
        for link in ledger.links(&ids).await?.into_iter().filter(here) {
            found.insert(link.record);
            self.note(link.object, link.external_id, link.record);
        }
        ids.retain(|id| !found.contains(id));
        if ids.is_empty() {
            return Ok(());
        }
        // What is not there may have been merged into what is.
        let standing = standing_for(ledger, ledger.records(&ids).await?.iter()).await?;
        let stand: Vec<RecordId> = standing.values().map(|record| record.id).collect();
        let links: Vec<Link> = ledger.links(&stand).await?.into_iter().filter(here).collect();
        for (merged, record) in standing {
            for link in links.iter().filter(|link| link.record == record.id) {
                self.externals
                    .insert((merged, link.object.clone()), link.external_id.clone());
            }
        }
        Ok(())
    }

    fn note(&mut self, object: String, external_id: String, record: RecordId) {
        self.externals
            .insert((record, object.clone()), external_id.clone());
        self.records.insert((object, external_id), record);
    }
}
