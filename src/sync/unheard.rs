//! [`Unanswered`]: what was written there without an answer, when there is nothing to write any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector::Connection;
use jiff::{SignedDuration, Timestamp};
use ledger::{Link, Push, PushEnd, SyncCommit};

use crate::absorb::Place;
use crate::engine::SyncError;
use crate::{Engine, Report};

/// For how long what was sent may still arrive when its sender is dead.
pub(crate) const UNHEARD_MS: i64 = 120_000;

/// A push with nothing to write, of whose object something was written that nobody heard of.
pub(crate) struct Unanswered {
    pub(crate) push: Push,
    pub(crate) link: Link,
    /// When it is tried again whatever was heard, because it waits for something.
    pub(crate) again: Option<Timestamp>,
}

impl Engine {
    /// Reads objects of which nobody heard what was written, and forgets that only when it cannot arrive any more: who
    /// sent it may be dead, and what they sent on its way.
    pub(crate) async fn hear(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        unheard: Vec<Unanswered>,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        if unheard.is_empty() {
            return Ok(());
        }
        if system.reads_by_id(place.object) {
            let ids: Vec<String> = unheard.iter().map(|one| one.link.external_id.clone()).collect();
            let fields = self.fields_of(system, place);
            self.absorb_ids(system, place, &fields, &ids, &BTreeMap::new(), report)
                .await?;
        }
        let mut commit = SyncCommit {
            lease: Some(place.lease.clone()),
            ..SyncCommit::default()
        };
        for Unanswered { push, again, .. } in unheard {
            let Some(again) = again else {
                self.outlast(push, &mut commit, report);
                continue;
            };
            // Then there is no need to read it each time.
            let over = over(&push).unwrap_or(again);
            if over <= self.world.now() {
                commit.sending.push(Push {
                    sent: Vec::new(),
                    ..push.clone()
                });
            }
            commit.ended.push((push, PushEnd::Later(again.max(over))));
        }
        Ok(self.ledger.commit(commit).await?)
    }

    /// Ends a push whose object was read, or looked for, when what was sent for it and not heard of cannot arrive any more;
    /// until then that is remembered.
    pub(crate) fn outlast(&self, push: Push, commit: &mut SyncCommit, report: &mut Report) {
        let end = match over(&push).filter(|over| *over > self.world.now()) {
            Some(over) => {
                report.look_again(over);
                PushEnd::Later(over)
            }
            None => PushEnd::Done,
        };
        commit.ended.push((push, end));
    }

    /// Ends a push whose object was written. What was sent before and not heard of may be there beside it, so that it is
    /// read when that cannot arrive any more.
    pub(crate) fn read_later(&self, push: Push, commit: &mut SyncCommit, report: &mut Report) {
        let end = match over(&push) {
            Some(over) => {
                let later = over.max(self.world.now());
                report.look_again(later);
                PushEnd::Later(later)
            }
            None => PushEnd::Done,
        };
        commit.ended.push((push, end));
    }
}

/// When what was sent for a push, and not heard of, cannot arrive any more.
fn over(push: &Push) -> Option<Timestamp> {
    let last = push.sent.iter().map(|sent| sent.at).max()?;
    let over = last.checked_add(SignedDuration::from_millis(UNHEARD_MS));
    Some(over.unwrap_or(Timestamp::MAX))
}
