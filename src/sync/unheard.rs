//! [`Unanswered`]: what was written there without an answer, when there is nothing to write any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector::{Connection, Failure, Outcome};
use jiff::{SignedDuration, Timestamp};
use ledger::{Link, Push, PushEnd, SyncCommit};

use crate::absorb::Place;
use crate::engine::SyncError;
use crate::{Engine, Report};

/// For how long what was sent may still arrive when its sender is dead.
pub(crate) const UNHEARD_MS: i64 = 120_000;

/// A push with nothing to write, or with what the system refuses, of whose object something was written that nobody heard
/// of.
pub(crate) struct Unanswered {
    pub(crate) push: Push,
    /// The object, unless it was to be made.
    pub(crate) link: Option<Link>,
    /// When it is tried again whatever was heard, because it waits for something.
    pub(crate) again: Option<Timestamp>,
}

impl Engine {
    /// Reads objects of which nobody heard what was written, and forgets that only when it cannot arrive any more: who
    /// sent it may be dead, and what they sent on its way, or in a job that is still at work.
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
        // Asked before they are read: a job may end in between.
        let now = self.world.now();
        let is_over = |one: &Unanswered| over(&one.push).is_some_and(|over| over <= now);
        let at_work = unheard.iter().any(is_over) && self.is_at_work(system, place).await?;
        let links = unheard.iter().filter_map(|one| one.link.as_ref());
        let ids: Vec<String> = links.map(|link| link.external_id.clone()).collect();
        if !ids.is_empty() && system.reads_by_id(place.object) {
            let fields = self.fields_of(system, place);
            self.absorb_ids(system, place, &fields, &ids, &BTreeMap::new(), report)
                .await?;
        }
        let mut commit = SyncCommit {
            lease: Some(place.lease.clone()),
            ..SyncCommit::default()
        };
        for Unanswered { push, again, .. } in unheard {
            let until = match over(&push) {
                Some(over) if over > now => Some(over),
                Some(_) if at_work => Some(self.in_ms(UNHEARD_MS)),
                _ => None,
            };
            let end = match until.max(again) {
                Some(later) => {
                    report.look_again(later);
                    PushEnd::Later(later)
                }
                None => PushEnd::Done,
            };
            // What is owed still is owed without it.
            if until.is_none() && again.is_some() {
                commit.sending.push(Push {
                    sent: Vec::new(),
                    ..push.clone()
                });
            }
            commit.ended.push((push, end));
        }
        Ok(self.ledger.commit(commit).await?)
    }

    /// What became of what was written down as sent. That is crossed out where all of it [is undone](is_undone).
    pub(crate) async fn or_unsent<'p>(
        &self,
        place: Place<'_>,
        written: Result<Vec<Outcome>, Failure>,
        pushes: impl Iterator<Item = &'p Push>,
    ) -> Result<Vec<Outcome>, SyncError> {
        let failure = match written {
            Ok(outcomes) => return Ok(outcomes),
            Err(failure) => failure,
        };
        if !failure.ambiguous {
            let commit = SyncCommit {
                lease: Some(place.lease.clone()),
                sending: pushes.cloned().collect(),
                ..SyncCommit::default()
            };
            self.ledger.commit(commit).await?;
        }
        Err(SyncError::System {
            connection: place.connection.to_owned(),
            failure,
        })
    }

    async fn is_at_work(&self, system: &Connection, place: Place<'_>) -> Result<bool, SyncError> {
        let at_work = system.is_at_work(place.object).await;
        at_work.map_err(|failure| SyncError::System {
            connection: place.connection.to_owned(),
            failure,
        })
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

/// Whether nothing of what was written down as sent can have been carried out. That is crossed out then: somebody who says
/// the same there would be taken for us.
pub(crate) fn is_undone(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Refused(error) => !error.ambiguous,
        Outcome::NotSent(failure) => !failure.ambiguous,
        Outcome::Written { .. } | Outcome::Gone | Outcome::Unknown => false,
    }
}

/// Ends a push that was refused for good. That tells nothing of what was sent before it, which may still arrive.
pub(crate) fn end_refused(
    push: Push,
    link: Option<Link>,
    commit: &mut SyncCommit,
    unheard: &mut Vec<Unanswered>,
) {
    if push.sent.is_empty() {
        return commit.ended.push((push, PushEnd::Done));
    }
    unheard.push(Unanswered {
        push,
        link,
        again: None,
    });
}

/// When what was sent for a push, and not heard of, cannot arrive any more.
fn over(push: &Push) -> Option<Timestamp> {
    let last = push.sent.iter().map(|sent| sent.at).max()?;
    let over = last.checked_add(SignedDuration::from_millis(UNHEARD_MS));
    Some(over.unwrap_or(Timestamp::MAX))
}
