//! [`Refs`]: which record an object's id stands for at one connection, and the other way round.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use ledger::{Ledger, LedgerError};
use model::{Fields, RecordId, Value};

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
        let mut by_object: HashMap<String, Vec<String>> = HashMap::new();
        for (object, id) in self.missed.take() {
            by_object.entry(object).or_default().push(id);
        }
        let mut found = false;
        for (object, ids) in by_object {
            for linked in ledger.linked(connection, &object, &ids).await? {
                found = true;
                self.note(linked.link.object, linked.link.external_id, linked.link.record);
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
        for link in ledger.links(&ids).await? {
            if link.connection == connection && !link.gone {
                self.note(link.object, link.external_id, link.record);
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
