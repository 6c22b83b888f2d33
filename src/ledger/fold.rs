//! A commit brought into the form that both stores write: every row named once, in one order.
//!
//! A page may say the same thing twice (two objects that became one record, a push that failed and then arrived).
//! What comes later in a [`SyncCommit`] replaces what came before, here and once, so that both stores agree and no
//! statement meets the same row twice. The order is that of the keys, so that concurrent commits lock alike.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use model::{Record, RecordId};

use crate::{
    Action, Change, Conflict, Cursor, Lease, LedgerError, Link, NewEvent, Parked, Push, PushEnd, PushMark,
    Pushed, RecordWrite, Sought, SyncCommit,
};

/// A commit whose rows are each named once.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    pub(crate) lease: Option<Lease>,
    /// By kind and key, each once.
    pub(crate) sought: Vec<Sought>,
    /// By id.
    pub(crate) records: Vec<Written>,
    /// By connection, object and external id; also unique by connection, object and record.
    pub(crate) links: Vec<Linking>,
    pub(crate) forgotten: Vec<(String, String, String)>,
    /// Those that are closed first, so that another may take their place; then by id.
    pub(crate) conflicts: Vec<Conflict>,
    /// By connection, object and record.
    pub(crate) marks: Vec<PushMark>,
    /// By connection, object and record.
    pub(crate) sending: Vec<Push>,
    /// By record, place and moment.
    pub(crate) pushed: Vec<Pushed>,
    pub(crate) ended: Vec<(Push, PushEnd)>,
    /// By key.
    pub(crate) parked: Vec<Parked>,
    /// By key.
    pub(crate) unparked: Vec<(String, String, String, bool)>,
    /// As given.
    pub(crate) events: Vec<NewEvent>,
    pub(crate) cursor: Option<(String, String, Cursor)>,
    pub(crate) owe_linked: Option<(String, String, Timestamp)>,
    pub(crate) action: Option<Action>,
}

/// A link to write.
#[derive(Debug)]
pub(crate) struct Linking {
    pub(crate) link: Link,
    /// Whether it may replace no living link.
    pub(crate) claimed: bool,
}

impl Linking {
    /// Whether something may wait for the object: it had no link before, or one that nothing could be read through.
    pub(crate) fn is_awaited(&self) -> bool {
        (self.claimed || self.link.base.is_none()) && !self.link.gone
    }
}

/// A record as it is after all its writes of the commit.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) record: Record,
    /// The version that must be there; 0 when none may be.
    pub(crate) read_version: u64,
    /// The changes, by the version that has them; versions without changes are left out.
    pub(crate) history: Vec<(u64, Vec<Change>)>,
    /// Each once, in order.
    pub(crate) match_keys: BTreeSet<String>,
}

/// Brings a commit into one form. A record that is written twice must be written in a chain, each write reading what
/// the one before wrote; else it is stale.
pub(crate) fn fold(commit: SyncCommit) -> Result<Folded, LedgerError> {
    Ok(Folded {
        lease: commit.lease,
        sought: fold_sought(commit.sought),
        records: fold_records(commit.records)?,
        links: fold_links(commit.links, commit.claims),
        forgotten: commit.forgotten,
        conflicts: fold_conflicts(commit.conflicts),
        marks: fold_marks(commit.marks),
        sending: commit.sending,
        pushed: fold_pushed(commit.pushed),
        ended: fold_ended(commit.ended),
        parked: fold_parked(commit.parked),
        unparked: commit
            .unparked
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        events: commit.events,
        cursor: commit.cursor,
        owe_linked: commit.owe_linked,
        action: commit.action,
    })
}

/// By kind and key, so that concurrent commits look in one order.
fn fold_sought(mut sought: Vec<Sought>) -> Vec<Sought> {
    sought.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    sought.dedup();
    sought
}

fn fold_records(writes: Vec<RecordWrite>) -> Result<Vec<Written>, LedgerError> {
    let mut by_id: BTreeMap<RecordId, Written> = BTreeMap::new();
    let mut stale = Vec::new();
    for write in writes {
        let id = write.record.id;
        let version = write.record.version;
        let history = (!write.changes.is_empty()).then_some((version, write.changes));
        let match_keys = write.match_keys.into_iter().map(|key| key.0).collect();
        match by_id.get_mut(&id) {
            None => {
                let written = Written {
                    record: write.record,
                    read_version: write.read_version,
                    history: history.into_iter().collect(),
                    match_keys,
                };
                by_id.insert(id, written);
            }
            Some(before) if before.record.version == write.read_version => {
                before.record = write.record;
                before.history.extend(history);
                before.match_keys = match_keys;
            }
            Some(_) => stale.push(id),
        }
    }
    if stale.is_empty() {
        Ok(by_id.into_values().collect())
    } else {
        Err(LedgerError::Stale(stale))
    }
}

/// A link is replaced by any later one that has its object or its record. Claims come last; one that replaces what the
/// commit itself says of its record is no claim any more.
fn fold_links(links: Vec<Link>, claims: Vec<Link>) -> Vec<Linking> {
    let said: HashSet<_> = links.iter().map(|link| (place(link), link.record)).collect();
    let known = links.into_iter().map(|link| Linking { link, claimed: false });
    let claimed = claims.into_iter().map(|link| Linking {
        claimed: !said.contains(&(place(&link), link.record)),
        link,
    });
    let all: Vec<Linking> = known.chain(claimed).collect();
    let mut objects = HashSet::new();
    let mut records = HashSet::new();
    let mut kept = BTreeMap::new();
    for linking in all.into_iter().rev() {
        let at = place(&linking.link);
        let object = (at.clone(), linking.link.external_id.clone());
        // Both are noted even for a link that is left out: it would have replaced what came before it.
        let new_object = objects.insert(object.clone());
        let new_record = records.insert((at, linking.link.record));
        if new_object && new_record {
            kept.insert(object, linking);
        }
    }
    kept.into_values().collect()
}

fn place(link: &Link) -> (String, String) {
    (link.connection.clone(), link.object.clone())
}

fn fold_conflicts(conflicts: Vec<Conflict>) -> Vec<Conflict> {
    let by_id = conflicts.into_iter().map(|conflict| (conflict.id, conflict));
    let mut kept: Vec<Conflict> = by_id.collect::<BTreeMap<_, _>>().into_values().collect();
    kept.sort_by_key(Conflict::is_open);
    kept
}

/// Marked twice in one commit is marked once, from the earlier moment on.
fn fold_marks(marks: Vec<PushMark>) -> Vec<PushMark> {
    let mut by_key: BTreeMap<(String, String, RecordId), PushMark> = BTreeMap::new();
    for mark in marks {
        let key = (mark.connection.clone(), mark.object.clone(), mark.record);
        let due_at = mark.due_at;
        let kept = by_key.entry(key).or_insert(mark);
        kept.due_at = kept.due_at.min(due_at);
    }
    by_key.into_values().collect()
}

fn fold_pushed(pushed: Vec<Pushed>) -> Vec<Pushed> {
    let keyed = pushed.into_iter().map(|one| {
        let place = (one.connection.clone(), one.object.clone());
        ((one.record, place, one.at.as_microsecond()), one)
    });
    keyed.collect::<BTreeMap<_, _>>().into_values().collect()
}

/// Done stays done; of several later moments the last counts.
fn fold_ended(ended: Vec<(Push, PushEnd)>) -> Vec<(Push, PushEnd)> {
    let mut by_key: BTreeMap<(String, String, RecordId, u64), (Push, PushEnd)> = BTreeMap::new();
    for (push, end) in ended {
        let key = (
            push.connection.clone(),
            push.object.clone(),
            push.record,
            push.mark,
        );
        match by_key.get(&key) {
            Some((_, PushEnd::Done)) => {}
            _ => {
                by_key.insert(key, (push, end));
            }
        }
    }
    by_key.into_values().collect()
}

fn fold_parked(parked: Vec<Parked>) -> Vec<Parked> {
    let keyed = parked.into_iter().map(|item| {
        let key = (
            item.connection.clone(),
            item.object.clone(),
            item.key.clone(),
            item.inbound,
        );
        (key, item)
    });
    keyed.collect::<BTreeMap<_, _>>().into_values().collect()
}
