//! Meeting: which record an object belongs to that nothing links yet.
//!
//! In this order: the record whose id the object carries (we wrote it and did not hear back); the one record that an
//! identity rule finds and that has no other object at this connection; otherwise a new record. Two records that fit
//! alike are not guessed between: the object is parked for a person.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ledger::{LedgerError, Link};
use model::{Fields, Kind, MatchKey, Record, RecordId, uuid_from};

use crate::Engine;

/// An object that looks for its record.
pub(crate) struct Seeker<'a> {
    /// The object's id.
    pub(crate) external_id: &'a str,
    /// What it says.
    pub(crate) fields: &'a Fields,
    /// The record id that it carries as our key, or that the caller knows it belongs to.
    pub(crate) own: Option<RecordId>,
}

/// What was found.
pub(crate) enum Met {
    /// A record that other systems know.
    Known(Box<Record>),
    /// A new record, still empty.
    New(Box<Record>),
    /// Several records that fit alike.
    Several(Vec<RecordId>),
}

impl Engine {
    /// Finds the record of each seeker. The caller holds [`Engine::meeting`] of the kind until it has committed.
    pub(crate) async fn meet(
        &self,
        connection: &str,
        object: &str,
        kind: Kind,
        seekers: &[Seeker<'_>],
    ) -> Result<HashMap<String, Met>, LedgerError> {
        let keys: Vec<Vec<MatchKey>> = seekers
            .iter()
            .map(|seeker| self.plan.rules.match_keys(kind, seeker.fields))
            .collect();
        let mut asked: Vec<MatchKey> = keys.iter().flatten().cloned().collect();
        asked.sort_unstable();
        asked.dedup();
        let mut found: BTreeMap<MatchKey, Vec<RecordId>> = BTreeMap::new();
        for (key, id) in self.ledger.matching(kind, &asked).await? {
            found.entry(key).or_default().push(id);
        }
        let mut candidates: Vec<RecordId> = found.values().flatten().copied().collect();
        candidates.extend(
            seekers
                .iter()
                .filter_map(|seeker| seeker.own)
                .filter(|own| own.kind == kind),
        );
        candidates.sort_unstable();
        candidates.dedup();
        let here = self.linked_here(connection, object, &candidates).await?;
        // A push of another node, or a job's, has linked one of them since it was looked up: it is no stranger any more.
        let meanwhile = |link: &&Link| {
            seekers
                .iter()
                .any(|seeker| seeker.external_id == link.external_id)
        };
        if let Some(link) = here.iter().find(meanwhile) {
            return Err(LedgerError::Stale(vec![link.record]));
        }
        let mut taken: BTreeSet<RecordId> = here.into_iter().map(|link| link.record).collect();
        let mut records: HashMap<RecordId, Record> = self
            .ledger
            .records(&candidates)
            .await?
            .into_iter()
            .map(|r| (r.id, r))
            .collect();

        let mut met = HashMap::new();
        for (seeker, keys) in seekers.iter().zip(&keys) {
            let fits = fitting(seeker, keys, &found, &taken, &records);
            let outcome = match fits.as_slice() {
                [] => Met::New(Box::new(self.new_record(kind))),
                [id] => {
                    taken.insert(*id);
                    match records.remove(id) {
                        Some(record) => Met::Known(Box::new(record)),
                        None => Met::New(Box::new(self.new_record(kind))),
                    }
                }
                _ => Met::Several(fits),
            };
            met.insert(seeker.external_id.to_owned(), outcome);
        }
        Ok(met)
    }

    fn new_record(&self, kind: Kind) -> Record {
        let now = self.world.now();
        Record::empty(RecordId::new(kind, uuid_from(now, self.world.random())), now)
    }

    async fn linked_here(
        &self,
        connection: &str,
        object: &str,
        ids: &[RecordId],
    ) -> Result<Vec<Link>, LedgerError> {
        let mut links = self.ledger.links(ids).await?;
        links.retain(|link| link.connection == connection && link.object == object);
        Ok(links)
    }
}

/// The records that a seeker can be, by the surest rule that finds any.
fn fitting(
    seeker: &Seeker<'_>,
    keys: &[MatchKey],
    found: &BTreeMap<MatchKey, Vec<RecordId>>,
    taken: &BTreeSet<RecordId>,
    records: &HashMap<RecordId, Record>,
) -> Vec<RecordId> {
    let free = |id: &RecordId| !taken.contains(id) && records.get(id).is_some_and(|r| r.deleted_at.is_none());
    if let Some(own) = seeker.own.filter(|own| free(own)) {
        return vec![own];
    }
    for key in keys {
        let fits: Vec<RecordId> = found
            .get(key)
            .into_iter()
            .flatten()
            .copied()
            .filter(|id| free(id))
            .collect();
        if !fits.is_empty() {
            return fits;
        }
    }
    Vec::new()
}
