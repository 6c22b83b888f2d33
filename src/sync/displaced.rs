//! Displaced: what was written to an object that is not its record's, because another node linked the record meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{LedgerError, Link, Parked, PushEnd, SyncCommit};
use model::RecordId;

use crate::absorb::Place;
use crate::engine::STALE_TRIES_MAX;
use crate::review::DUPLICATE;
use crate::settle::DUPLICATE_RETRY_MS;
use crate::{Engine, Report};

impl Engine {
    /// Commits what was written. An object that was made while its record met another one there is no guess of ours: it
    /// waits for a person, like any duplicate, and the record is written to the object that it has.
    pub(crate) async fn commit_written(
        &self,
        place: Place<'_>,
        mut commit: SyncCommit,
        created: &BTreeSet<RecordId>,
        report: &mut Report,
    ) -> Result<(), LedgerError> {
        for _ in 0..STALE_TRIES_MAX {
            match self.ledger.commit(commit.clone()).await {
                Err(LedgerError::Stale(records)) => {
                    let claimed = commit.claims.iter().map(|claim| claim.record);
                    let claimed: BTreeSet<RecordId> = claimed.filter(|id| records.contains(id)).collect();
                    if claimed.is_empty() {
                        return Err(LedgerError::Stale(records));
                    }
                    self.displace(place, &claimed, created, &mut commit, report)
                        .await?;
                }
                ended => return ended,
            }
        }
        Err(LedgerError::Stale(Vec::new()))
    }

    /// Takes back that objects are those of these records.
    async fn displace(
        &self,
        place: Place<'_>,
        records: &BTreeSet<RecordId>,
        created: &BTreeSet<RecordId>,
        commit: &mut SyncCommit,
        report: &mut Report,
    ) -> Result<(), LedgerError> {
        let (displaced, claims): (Vec<Link>, Vec<Link>) = std::mem::take(&mut commit.claims)
            .into_iter()
            .partition(|claim| records.contains(&claim.record));
        commit.claims = claims;
        let ids: Vec<String> = displaced.iter().map(|link| link.external_id.clone()).collect();
        let owners = self.ledger.linked(place.connection, place.object, &ids).await?;
        let owners = owners.into_iter().filter(|linked| !linked.link.gone);
        let owners: BTreeMap<String, RecordId> = owners
            .map(|linked| (linked.link.external_id, linked.record.id))
            .collect();
        let retry = self.in_ms(DUPLICATE_RETRY_MS);
        for Link {
            external_id, record, ..
        } in displaced
        {
            // What was to be unparked was not written; what was written is owed to the object that the record has.
            let key = record.to_string();
            commit
                .unparked
                .retain(|(_, _, parked, inbound)| *inbound || *parked != key);
            let reason = match owners.get(&external_id) {
                Some(owner) if *owner != record => format!(
                    "was written to {external_id} at {}, which is {owner}: make the two records one, or make them differ",
                    place.connection
                ),
                _ if created.contains(&record) => {
                    let reason = format!(
                        "was made for {record}, which met another object at {} at the same moment: make the two one there, \
                         or make them differ",
                        place.connection
                    );
                    let parked = self.parks(place, &external_id, DUPLICATE, reason, Some(retry));
                    commit.parked.push(Parked {
                        records: vec![record],
                        ..parked
                    });
                    self.owed_still(record, commit, report);
                    continue;
                }
                // Its object became another one while it was written.
                _ => {
                    self.owed_still(record, commit, report);
                    continue;
                }
            };
            let parked = self.parks(place, &key, DUPLICATE, reason, None);
            commit.parked.push(Parked {
                inbound: false,
                ..parked
            });
        }
        Ok(())
    }

    /// A push that was to end is tried again at once.
    fn owed_still(&self, record: RecordId, commit: &mut SyncCommit, report: &mut Report) {
        let now = self.world.now();
        for (push, end) in &mut commit.ended {
            if push.record == record {
                *end = PushEnd::Later(now);
                report.look_again(now);
            }
        }
    }
}
