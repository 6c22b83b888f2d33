//! Merges: two objects that a person of the system has made one.
//!
//! The link of the one that is no more moves to the one that stands for both: some systems make a new one. Where that one
//! has a record of its own already, there are two records for one object now, and a person decides.
//!
//! A system may tell nothing of it: one of the two is just gone. If the other one waits for a person, as a duplicate, it
//! *stands* for both, and the record goes on with it. Where that one is gone, too, when it is read, so is the record.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use connector::{MergedInto, Object};
use ledger::{LedgerError, Link, Linked, Parked, ParkedFilter, SyncCommit};
use model::RecordId;

use crate::absorb::{Place, inbound, is_over};
use crate::parked::UNREAD;
use crate::review::{DUPLICATE, MERGED, STANDS};
use crate::{Engine, Report};

/// Objects that may wait for a person beside others, at one object of a system.
const DUPLICATES_MAX: usize = 100_000;

/// The ids that objects name beside their own.
pub(crate) fn merged_ids(objects: &[Object]) -> BTreeSet<&str> {
    let merges = objects.iter().flat_map(|object| &object.merged);
    merges
        .flat_map(|merge| [merge.from.as_str(), merge.to.as_str()])
        .collect()
}

impl Engine {
    /// What waits for a person beside the objects of records that are over: people may have made the two one without a
    /// trace, or have deleted one of them, and the other one stands for both.
    pub(crate) async fn beside(
        &self,
        place: Place<'_>,
        objects: &[Object],
        over: &[RecordId],
    ) -> Result<BTreeMap<RecordId, Parked>, LedgerError> {
        if over.is_empty() {
            return Ok(BTreeMap::new());
        }
        let filter = ParkedFilter {
            of: Some((place.connection.to_owned(), place.object.to_owned())),
            inbound: Some(true),
            codes: Some(vec![DUPLICATE.to_owned()]),
            ..ParkedFilter::default()
        };
        let mut waiting = self.ledger.parked(&filter, DUPLICATES_MAX).await?;
        waiting.retain(|parked| {
            !objects
                .iter()
                .any(|object| object.id == parked.key && is_over(object))
        });
        let pairs = waiting.into_iter().filter_map(|parked| {
            let record = parked.records.first().filter(|record| over.contains(record))?;
            Some((*record, parked))
        });
        Ok(pairs.collect())
    }

    /// What objects that are over stood for, by their ids: the record of the one that went before, with its link, as if that
    /// one had gone just now.
    pub(crate) async fn stood_for(
        &self,
        place: Place<'_>,
        objects: &[Object],
        parked: &BTreeMap<String, Parked>,
    ) -> Result<HashMap<String, Linked>, LedgerError> {
        let over = objects.iter().filter(|object| is_over(object));
        let stands = over.filter_map(|object| {
            let parked = parked.get(&object.id).filter(|parked| parked.code == STANDS)?;
            Some((*parked.records.first()?, object.id.clone()))
        });
        let stands: BTreeMap<RecordId, String> = stands.collect();
        if stands.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<RecordId> = stands.keys().copied().collect();
        let records = self.ledger.records(&ids).await?;
        let links = self.ledger.links_to(place.connection, place.object, &ids).await?;
        let went = links.into_iter().filter(|link| link.gone);
        let went = went.filter_map(|link| {
            let record = records.iter().find(|record| record.id == link.record)?.clone();
            let link = Link { gone: false, ..link };
            Some((stands.get(&link.record)?.clone(), Linked { link, record }))
        });
        Ok(went.collect())
    }

    /// An object is gone beside which another one waits for a person. Its record is not: the other one is read for it at once.
    pub(crate) fn give_way(
        &self,
        place: Place<'_>,
        object: &Object,
        (ours, other): (Linked, &Parked),
        commit: &mut SyncCommit,
        report: &mut Report,
    ) {
        let now = self.world.now();
        report.counts.gone += 1;
        report.look_again(now);
        commit.parked.push(Parked {
            code: STANDS.to_owned(),
            reason: format!(
                "stands for {}, beside which it waited and which is gone: it is read as what {} is at {} now",
                object.id, ours.record.id, place.connection
            ),
            retry_at: Some(now),
            ..other.clone()
        });
        // If that one is gone, too, it was last seen when this one was.
        let seen_at = ours.link.seen_at;
        commit.links.push(Link {
            seen_at,
            ..self.gone(ours.link, self.end_known_at(place, object))
        });
    }

    /// The link of an object that another one stands for.
    fn moved_to(&self, to: &str, link: Link) -> Link {
        Link {
            external_id: to.to_owned(),
            seen_at: self.world.now(),
            replaces: None,
            gone: false,
            ..link
        }
    }

    /// Moves links along the merges that objects tell of; gives the records whose links were moved.
    pub(crate) fn follow_merges(
        &self,
        place: Place<'_>,
        objects: &[Object],
        linked: &mut HashMap<String, Linked>,
        commit: &mut SyncCommit,
        report: &mut Report,
    ) -> Vec<RecordId> {
        let mut moved = Vec::new();
        let merges = objects.iter().flat_map(|object| &object.merged);
        for MergedInto { from, to } in merges.filter(|merge| merge.from != merge.to) {
            let Some(lost) = linked.remove(from) else {
                continue;
            };
            if lost.link.ignored {
                // One that was left alone and another one that nobody knows are one now, which is left alone.
                if !linked.contains_key(to) {
                    let link = self.moved_to(to, lost.link);
                    commit.links.push(link.clone());
                    commit.unparked.push(inbound(place, to));
                    let record = lost.record;
                    linked.insert(to.clone(), Linked { link, record });
                }
                continue;
            }
            // One that was left alone stands for both now: it is what the other one was.
            let Some(kept) = linked.get(to).filter(|kept| !kept.link.ignored) else {
                // What was agreed on with the one that is no more is what the other one differs from.
                let link = self.moved_to(to, lost.link);
                commit.links.push(link.clone());
                match objects.iter().any(|object| object.id == *to) {
                    // Whatever it waited for as a stranger.
                    true => commit.unparked.push(inbound(place, to)),
                    // What it says was passed over while it was one.
                    false => {
                        let reason = format!("{from} was merged into it, and it was not read since");
                        let now = self.world.now();
                        report.look_again(now);
                        commit.parked.push(Parked {
                            retry_at: Some(now),
                            ..self.parks(place, to, UNREAD, reason)
                        });
                    }
                }
                let record = lost.record;
                moved.push(record.id);
                linked.insert(to.clone(), Linked { link, record });
                continue;
            };
            if lost.link.gone {
                continue;
            }
            let reason = format!(
                "it was merged into {to}, which is {} here; {} is kept as it is, and is not written to {} any more: \
                 decide with: interconnect review decide {}/{}/{from} --record ID, or --leave",
                kept.record.id, lost.record.id, place.connection, place.connection, place.object
            );
            commit.parked.push(Parked {
                records: vec![kept.record.id, lost.record.id],
                ..self.parks(place, from, MERGED, reason)
            });
            commit.links.push(self.gone(lost.link, None));
        }
        moved
    }
}
