//! Meeting: which record an object belongs to that nothing links yet.
//!
//! In this order: the record whose id the object carries (we wrote it and did not hear back), even if that was deleted
//! since; the one record that an identity rule finds and that has no other object at this connection; otherwise a new
//! record. Two records that fit alike are not guessed between: the object is parked for a person. So is a *duplicate*: an
//! object that fits a record that has another one there, of which we have made one because the other was not seen in time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ledger::{LedgerError, Link, Sought};
use model::{Confidence, Fields, Kind, MatchKey, Record, RecordId, uuid_from};

use crate::Engine;
use crate::alias::standing_for;
use crate::deletes::is_deleted;
use crate::linking::UNLINKED;
use crate::settle::SUPERSEDED;

/// An object that looks for its record.
pub(crate) struct Seeker<'a> {
    /// The object's id.
    pub(crate) external_id: &'a str,
    /// What it says.
    pub(crate) fields: &'a Fields,
    /// The record id that it carries as our key, or that the caller knows it belongs to.
    pub(crate) own: Option<RecordId>,
    /// The record beside whose object it waits for a person.
    pub(crate) beside: Option<RecordId>,
}

/// What was found.
pub(crate) enum Met {
    /// A record that other systems know.
    Known {
        record: Box<Record>,
        /// Whether somebody has sent that it be made here, and nobody heard of it: this may be what came of that.
        tried: bool,
        /// Whether it had another object here, which is gone.
        had_one: bool,
        /// What was agreed on with the object that this one waited beside, and stands for now that it is gone: where it
        /// says the same, it may have it from there.
        stood_for: Option<Fields>,
    },
    /// A new record, still empty, and what was found under its keys: none that it can be.
    New(Box<Record>, Vec<Sought>),
    /// The record that has another object here, and the id of that; one of the two was made by us.
    Duplicate(RecordId, String),
    /// The record that it waited beside another object of, and that was deleted meanwhile.
    Ended(RecordId),
    /// Several records that fit alike.
    Several(Vec<RecordId>),
    /// Records that it may be, by a rule that is not certain.
    Probable(Vec<RecordId>),
}

/// The object that a record has here.
struct Here {
    external_id: String,
    made: bool,
}

impl Here {
    fn of(link: &Link) -> Here {
        Here {
            external_id: link.external_id.clone(),
            made: link.made,
        }
    }
}

impl Engine {
    /// Finds the record of each seeker. What it comes to holds when it is committed with what was sought, or not at all.
    pub(crate) async fn meet(
        &self,
        connection: &str,
        object: &str,
        kind: Kind,
        seekers: &[Seeker<'_>],
    ) -> Result<BTreeMap<String, Met>, LedgerError> {
        let keys: Vec<Vec<(MatchKey, Confidence)>> = seekers
            .iter()
            .map(|seeker| self.plan.rules.sure_keys(kind, seeker.fields))
            .collect();
        let mut asked: Vec<MatchKey> = keys.iter().flatten().map(|(key, _)| key.clone()).collect();
        asked.sort_unstable();
        asked.dedup();
        let mut found: BTreeMap<MatchKey, Vec<RecordId>> = BTreeMap::new();
        for (key, id) in self.ledger.matching(kind, &asked).await? {
            found.entry(key).or_default().push(id);
        }
        let mut candidates: Vec<RecordId> = found.values().flatten().copied().collect();
        let named = seekers.iter().flat_map(|seeker| [seeker.own, seeker.beside]);
        candidates.extend(named.flatten().filter(|named| named.kind == kind));
        candidates.sort_unstable();
        candidates.dedup();
        let mut records: HashMap<RecordId, Record> = by_id(self.ledger.records(&candidates).await?);
        // What was merged away is met as what stands for it.
        let standing = standing_for(&*self.ledger, records.values()).await?;
        for ids in found.values_mut() {
            let stand: Vec<RecordId> = ids.iter().filter_map(|id| Some(standing.get(id)?.id)).collect();
            ids.extend(stand);
            ids.sort_unstable();
            ids.dedup();
        }
        let stands: HashMap<RecordId, RecordId> = standing
            .iter()
            .map(|(merged, record)| (*merged, record.id))
            .collect();
        candidates.extend(stands.values());
        records.extend(by_id(standing.into_values().collect()));
        let links = self.ledger.links(&candidates).await?;
        let is_here = |link: &&Link| link.connection == connection && link.object == object;
        // A push of another node, or a job's, has linked one of them since it was looked up: it is no stranger any more.
        let meanwhile = |link: &&Link| {
            seekers
                .iter()
                .any(|seeker| seeker.external_id == link.external_id)
        };
        if let Some(link) = links.iter().filter(is_here).find(meanwhile) {
            return Err(LedgerError::Stale(vec![link.record]));
        }
        let mut taken = taken(&links, is_here);
        let living = links.iter().filter(is_here).filter(|link| !link.gone);
        let mut here: HashMap<RecordId, Here> = living.map(|link| (link.record, Here::of(link))).collect();
        let own = seekers.iter().filter_map(|seeker| seeker.own);
        let like = found.values().flatten().copied();
        let tried = self.tried(connection, object, own.chain(like).collect()).await?;
        let mut met = BTreeMap::new();
        // Who carries a record's id is that record's before anybody who is only like it.
        let mut in_turn: Vec<_> = seekers.iter().zip(&keys).collect();
        in_turn.sort_by_key(|(seeker, _)| seeker.own.is_none());
        for (seeker, keys) in in_turn {
            let own = seeker.own.map(|own| stands.get(&own).copied().unwrap_or(own));
            // It was deleted after it was sent to be made here.
            let is_gone = |own: &RecordId| records.get(own).is_some_and(is_deleted);
            let late = own.filter(|own| is_gone(own) && tried.contains(own) && !here.contains_key(own));
            let (fits, confidence) = match late {
                Some(own) => (vec![own], Confidence::Certain),
                None => fitting(own, keys, &found, &taken, &records),
            };
            let new = || {
                let found = |key: &MatchKey| found.get(key).cloned().unwrap_or_default();
                let sought = keys.iter().map(|(key, _)| Sought {
                    kind,
                    key: key.clone(),
                    found: found(key),
                });
                Met::New(Box::new(self.new_record(kind)), sought.collect())
            };
            // The record that it fits has another object here, and one of the two was made by us.
            let its_own = || {
                let own = own?;
                Some((own, here.get(&own)?))
            };
            let like = |(key, _): &(MatchKey, Confidence)| {
                let mut fits = found.get(key)?.iter().filter_map(|id| Some((*id, here.get(id)?)));
                fits.find(|(_, here)| here.made)
            };
            // A person was asked whether it is the record beside whose object it waits, and that it has another one now is no
            // answer.
            let waits = || {
                let beside = seeker.beside?;
                let beside = stands.get(&beside).copied().unwrap_or(beside);
                let is_like = keys
                    .iter()
                    .any(|(key, _)| found.get(key).is_some_and(|ids| ids.contains(&beside)));
                Some((beside, here.get(&beside).filter(|_| is_like)?))
            };
            let outcome = match fits.as_slice() {
                [] => match its_own().or_else(|| keys.iter().find_map(like)).or_else(waits) {
                    Some((record, other)) => Met::Duplicate(record, other.external_id.clone()),
                    None => seeker.beside.filter(is_gone).map_or_else(new, Met::Ended),
                },
                _ if confidence == Confidence::Probable => Met::Probable(fits),
                [id] => {
                    taken.insert(*id);
                    let external_id = seeker.external_id.to_owned();
                    let tried = tried.contains(id);
                    let beside = seeker.beside == Some(*id);
                    let gone = links.iter().filter(|link| link.record == *id && link.gone);
                    let mut gone = gone.filter(is_here).peekable();
                    let had_one = gone.peek().is_some();
                    let stood_for = gone.filter(|_| beside).find_map(|link| link.base.clone());
                    let made = own == Some(*id) || tried;
                    here.insert(*id, Here { external_id, made });
                    records.remove(id).map_or_else(new, |record| Met::Known {
                        record: Box::new(record),
                        tried,
                        had_one,
                        stood_for,
                    })
                }
                _ => Met::Several(fits),
            };
            met.insert(seeker.external_id.to_owned(), outcome);
        }
        Ok(met)
    }

    /// Those of some records that somebody has sent to be made here, and that nobody heard of.
    async fn tried(
        &self,
        connection: &str,
        object: &str,
        records: BTreeSet<RecordId>,
    ) -> Result<BTreeSet<RecordId>, LedgerError> {
        if records.is_empty() {
            return Ok(records);
        }
        let records: Vec<RecordId> = records.into_iter().collect();
        let sent = self.ledger.sent(connection, object, &records).await?.into_iter();
        let tried = sent.filter(|(_, sent)| sent.iter().any(|sent| sent.creates));
        Ok(tried.map(|(record, _)| record).collect())
    }

    fn new_record(&self, kind: Kind) -> Record {
        let now = self.world.now();
        Record::empty(RecordId::new(kind, uuid_from(now, self.world.random())), now)
    }
}

/// Records that an object here cannot be: those that have another one, and those that are nowhere any more.
fn taken(links: &[Link], is_here: impl Fn(&&Link) -> bool) -> BTreeSet<RecordId> {
    // What was deleted here and made again is the same; what went on as another kind of record is not, nor
    // what a person has taken away.
    let left = |link: &&Link| {
        [SUPERSEDED, UNLINKED]
            .iter()
            .any(|mark| link.external_id.ends_with(mark))
    };
    let holds = |link: &&Link| is_here(link) && (!link.gone || left(link));
    let holding = links.iter().filter(holds).map(|link| link.record);
    let living = links.iter().filter(|link| !link.gone).map(|link| link.record);
    let living: BTreeSet<RecordId> = living.collect();
    let nowhere = links
        .iter()
        .map(|link| link.record)
        .filter(|record| !living.contains(record));
    holding.chain(nowhere).collect()
}

fn by_id(records: Vec<Record>) -> HashMap<RecordId, Record> {
    records.into_iter().map(|record| (record.id, record)).collect()
}

/// The records that a seeker can be: the one whose id it carries, or those that the surest rule finds that finds any.
fn fitting(
    own: Option<RecordId>,
    keys: &[(MatchKey, Confidence)],
    found: &BTreeMap<MatchKey, Vec<RecordId>>,
    taken: &BTreeSet<RecordId>,
    records: &HashMap<RecordId, Record>,
) -> (Vec<RecordId>, Confidence) {
    let free = |id: &RecordId| !taken.contains(id) && records.get(id).is_some_and(|r| r.deleted_at.is_none());
    if let Some(own) = own.filter(|own| free(own)) {
        return (vec![own], Confidence::Certain);
    }
    for (key, confidence) in keys {
        let fits: Vec<RecordId> = found
            .get(key)
            .into_iter()
            .flatten()
            .copied()
            .filter(|id| free(id))
            .collect();
        if !fits.is_empty() {
            return (fits, *confidence);
        }
    }
    (Vec::new(), Confidence::Certain)
}
