//! Merges: two objects that a person of the system has made one.
//!
//! The link of the one that is no more moves to the one that stands for both: some systems make a new one. Where that one
//! has a record of its own already, there are two records for one object now, and a person decides.

use std::collections::{BTreeSet, HashMap};

use connector::{MergedInto, Object};
use ledger::{Link, Linked, Parked, SyncCommit};
use model::RecordId;

use crate::absorb::{Place, inbound};
use crate::review::MERGED;
use crate::{Engine, Report};

/// An object has a record, and what it says is to be read.
pub(crate) const UNREAD: &str = "unread";

/// The ids that objects name beside their own.
pub(crate) fn merged_ids(objects: &[Object]) -> BTreeSet<&str> {
    let merges = objects.iter().flat_map(|object| &object.merged);
    merges
        .flat_map(|merge| [merge.from.as_str(), merge.to.as_str()])
        .collect()
}

impl Engine {
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
            let Some(lost) = linked.remove(from).filter(|lost| !lost.link.ignored) else {
                continue;
            };
            // One that was left alone stands for both now: it is what the other one was.
            let Some(kept) = linked.get(to).filter(|kept| !kept.link.ignored) else {
                // What was agreed on with the one that is no more is what the other one differs from.
                let link = Link {
                    external_id: to.clone(),
                    seen_at: self.world.now(),
                    replaces: None,
                    gone: false,
                    ..lost.link
                };
                commit.links.push(link.clone());
                match objects.iter().any(|object| object.id == *to) {
                    // Whatever it waited for as a stranger.
                    true => commit.unparked.push(inbound(place, to)),
                    // What it says was passed over while it was one.
                    false => {
                        let reason = format!("{from} was merged into it, and it was not read since");
                        let now = self.world.now();
                        report.look_again(now);
                        commit
                            .parked
                            .push(self.parks(place, to, UNREAD, reason, Some(now)));
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
                 decide with: interconnect review show {}/{}/{from}",
                kept.record.id, lost.record.id, place.connection, place.connection, place.object
            );
            let parked = self.parks(place, from, MERGED, reason, None);
            commit.parked.push(Parked {
                records: vec![kept.record.id, lost.record.id],
                ..parked
            });
            commit.links.push(Link {
                gone: true,
                seen_at: self.world.now(),
                ..lost.link
            });
        }
        moved
    }
}
