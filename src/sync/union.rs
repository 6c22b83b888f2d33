//! Union: a person says that two records are one, or that they are two after all.
//!
//! The one that is kept takes the values, the objects and the references of the other one, which stays as an alias: whoever
//! names it finds the one that stands for it. Where both have an object at the same place the person chooses the one that
//! stays; the other one is left alone there, never deleted. Nothing that is needed to take it all apart again is thrown
//! away.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{
    Action, ActionFilter, Conflict, ConflictState, LedgerError, Link, ParkedFilter, Push, RecordWrite, Sent,
    SyncCommit,
};
use model::merge::{Merged, Policies, Reason, Winner};
use model::unite::ObjectId;
use model::{BY_HAND, ConflictId, Provenance, Record, RecordId, Value, unite};
use serde_json::{Value as Json, json};

use crate::absorb::PARKED_MAX;
use crate::action::{
    ActionError, Done, Held, ObjectAt, by_hand, refused, run_of, trace_of, undecided, withdrawn,
};
use crate::engine::{STALE_TRIES_MAX, SyncError};
use crate::linking::UNLINKED;
use crate::review::MERGED;
use crate::{Engine, kept};

/// References that one union moves at most.
pub const REFERENCES_MAX: usize = 20_000;

/// Actions on a record that are looked through for its union.
const ACTIONS_MAX: usize = 1_000;

/// The paths of a record's fields that refer to another one.
fn paths_to(record: &Record, to: RecordId) -> Vec<&'static str> {
    let fields = record.fields.iter();
    let paths = fields.filter(|(_, value)| value.as_reference() == Some(to));
    paths.map(|(path, _)| path).collect()
}

/// The objects of links, as they are named in a record's provenance.
fn objects(links: &[Link], of: RecordId) -> Vec<ObjectId> {
    let of_record = links
        .iter()
        .filter(|link| link.record == of && !link.external_id.ends_with(UNLINKED));
    of_record
        .map(|link| (link.connection.clone(), link.external_id.clone()))
        .collect()
}

impl Engine {
    /// Makes two records one. `stay` names the objects that remain where both have one at the same place.
    ///
    /// Refused when one of them does not stand, when they are of two kinds, when a choice is missing or names nothing, or
    /// when more than [`REFERENCES_MAX`] records refer to the one that goes.
    pub async fn merge(
        &self,
        by: &str,
        keep: RecordId,
        lose: RecordId,
        stay: &[ObjectAt],
    ) -> Result<Done, ActionError> {
        if keep == lose {
            return Err(refused("same", format!("{keep} cannot be merged into itself")));
        }
        if keep.kind != lose.kind {
            let reason = format!(
                "{keep} is a {} and {lose} a {}; only records of one kind can be one",
                keep.kind, lose.kind
            );
            return Err(refused("other_kind", reason));
        }
        let held = self.hold(&[keep.kind]).await?;
        let mut done = Err(SyncError::Ledger(LedgerError::Stale(Vec::new())).into());
        for _ in 0..STALE_TRIES_MAX {
            done = self.merge_held(by, (keep, lose), stay, &held).await;
            if !is_stale(&done) {
                break;
            }
        }
        self.let_go(held).await?;
        done
    }

    async fn merge_held(
        &self,
        by: &str,
        (keep, lose): (RecordId, RecordId),
        stay: &[ObjectAt],
        held: &Held,
    ) -> Result<Done, ActionError> {
        let mut kept_record = self.standing_record(keep).await?;
        let mut lost = self.standing_record(lose).await?;
        let links = self.ledger.links(&[keep, lose]).await?;
        let (moves, left) = share_out(&links, keep, lose, stay)?;
        let before = kept_record.clone();
        let now = self.world.now();
        let policies = self.plan.rules.policies.get(&keep.kind);
        let united = unite::unite(
            &mut kept_record,
            &lost,
            policies.unwrap_or(&Policies::default()),
            now,
        );
        // The version is counted where it is written.
        kept_record.version = before.version;
        let references = self.references(keep, lose).await?;

        let detail = json!({
            "kept": keep.to_string(), "lost": lose.to_string(), "record": kept::record(&before),
            "links": links.iter().map(kept::link).collect::<Vec<_>>(),
            "references": references.iter().flat_map(|(record, paths)| {
                paths.iter().map(|path| json!({"record": record.id.to_string(), "field": path}))
            }).collect::<Vec<_>>(),
            "left_alone": left.iter().map(|link| ObjectAt::of(link).to_string()).collect::<Vec<_>>(),
        });
        let action = self.new_action(by, "merge", vec![keep, lose], detail);
        let event = self.announce_union(
            &self.next(&kept_record, now),
            ("merged", lose),
            &united.changes,
            &trace_of(&action),
            now,
        );
        let mut told = vec![format!("{lose} is {keep} now")];
        told.extend(
            moves
                .iter()
                .map(|link| format!("{} is the object of {keep}", ObjectAt::of(link))),
        );
        told.extend(
            left.iter()
                .map(|link| format!("{} is left alone from now on", ObjectAt::of(link))),
        );
        let conflicts = self.conflicts_of(&action, keep, &lost, (&united, &links));
        let mut commit = SyncCommit {
            lease: held.first(),
            links: moves.into_iter().chain(left).collect(),
            conflicts,
            marks: self.owed_everywhere(keep, now),
            unparked: self.settled_by(keep, lose).await?,
            events: vec![event],
            action: Some(action.clone()),
            ..SyncCommit::default()
        };
        self.ask_anew(&action, &links, (keep, &united.changes), &mut commit)
            .await?;
        commit
            .records
            .push(self.changed_by(&action, kept_record, &united.changes));
        lost.deleted_at = Some(now);
        lost.merged_into = Some(keep);
        commit.records.push(self.changed_by(&action, lost, &[]));
        if !references.is_empty() {
            told.push(format!(
                "{} records that referred to {lose} refer to {keep}",
                references.len()
            ));
        }
        for (record, paths) in references {
            let write = self.redirected(&action, record, (&paths, keep, Reason::Moved), &mut commit);
            commit.records.push(write);
        }
        self.owe_referring_to(&[keep], &mut commit).await?;
        self.tell_what_was_sent((keep, lose), &[keep], &mut commit)
            .await?;
        self.finish(commit, action, told).await
    }

    /// Withdraws what a person was asked about objects that are another record's or left alone from now on, and about values
    /// of a record that changed with that. Those that are still read are read again, and asked about again where there is
    /// need.
    async fn ask_anew(
        &self,
        action: &Action,
        links: &[Link],
        (record, changes): (RecordId, &[model::merge::Change]),
        commit: &mut SyncCommit,
    ) -> Result<(), LedgerError> {
        let of: BTreeSet<RecordId> = links.iter().map(|link| link.record).collect();
        let open = self.ledger.open_conflicts(&Vec::from_iter(of)).await?;
        for conflict in open {
            let is_its = |link: &&Link| {
                link.record == conflict.record
                    && link.connection == conflict.connection
                    && link.object == conflict.object
            };
            let link = links.iter().find(is_its);
            let place = link.map(ObjectAt::of);
            let written = commit
                .links
                .iter()
                .position(|link| Some(ObjectAt::of(link)) == place);
            let is_its_still = |at: usize| {
                let link = &commit.links[at];
                link.record == conflict.record && !link.ignored
            };
            let stays = conflict.record == record
                && written.is_none_or(is_its_still)
                && changes.iter().all(|change| change.path != conflict.path);
            if stays {
                continue;
            }
            if let (Some(link), Some(place)) = (link, place) {
                let written = written.map(|at| &mut commit.links[at]);
                let link = undecided(
                    written.as_deref().unwrap_or(link),
                    std::slice::from_ref(&conflict),
                );
                if !link.ignored && !link.gone {
                    let why = "what a person was asked about it is asked anew";
                    commit.parked.push(self.read_again(&place, why));
                }
                match written {
                    Some(written) => *written = link,
                    None => commit.links.push(link),
                }
            }
            commit.conflicts.extend(withdrawn(action, vec![conflict]));
        }
        Ok(())
    }

    /// What refers to records whose objects are others now is owed everywhere: it may name those that were theirs, or none
    /// yet.
    pub(crate) async fn owe_referring_to(
        &self,
        records: &[RecordId],
        commit: &mut SyncCommit,
    ) -> Result<(), LedgerError> {
        let now = self.world.now();
        for referring in self.referring(records).await? {
            commit.marks.extend(self.owed_everywhere(referring, now));
        }
        Ok(())
    }

    /// What was written of two records, and not heard of, may come to be at objects that either of them has from now on: it
    /// is known of those that are `owed`.
    async fn tell_what_was_sent(
        &self,
        (keep, lose): (RecordId, RecordId),
        owed: &[RecordId],
        commit: &mut SyncCommit,
    ) -> Result<(), LedgerError> {
        for sync in self.plan.owed(keep.kind) {
            let (connection, object) = (&sync.connection, sync.object());
            let all = self.ledger.sent(connection, object, &[keep, lose]).await?;
            for record in owed {
                let may_be_its =
                    |of: &RecordId, sent: &Sent| of == record || !(sent.creates || sent.is_deletion());
                let each = all
                    .iter()
                    .flat_map(|(of, sent)| sent.iter().map(move |sent| (of, sent)));
                let its = each.filter(|(of, sent)| may_be_its(of, sent));
                let mut sent: Vec<Sent> = its.map(|(_, sent)| sent.clone()).collect();
                sent.sort_by_key(|sent| sent.at);
                if !sent.is_empty() {
                    commit
                        .sending
                        .push(self.known_as_sent((connection, object), *record, sent));
                }
            }
        }
        Ok(())
    }

    /// A push by which it is known what was written of a record, and not heard of.
    pub(crate) fn known_as_sent(
        &self,
        (connection, object): (&str, &str),
        record: RecordId,
        sent: Vec<Sent>,
    ) -> Push {
        Push {
            connection: connection.to_owned(),
            object: object.to_owned(),
            record,
            mark: 0,
            due_at: self.world.now(),
            attempts: 0,
            sent,
        }
    }

    /// Records that refer to the one that goes, and in which fields.
    async fn references(
        &self,
        keep: RecordId,
        lose: RecordId,
    ) -> Result<Vec<(Record, Vec<&'static str>)>, ActionError> {
        let referring = self.referring(&[lose]).await?;
        if referring.len() > REFERENCES_MAX {
            return Err(refused(
                "too_many_references",
                format!(
                    "more than {REFERENCES_MAX} records refer to {lose}; keep that one and merge {keep} into it"
                ),
            ));
        }
        let mut referring = self.ledger.records(&referring).await?;
        referring.retain(|record| record.deleted_at.is_none() && record.id != keep && record.id != lose);
        let with_paths = referring.into_iter().map(|record| {
            let paths = paths_to(&record, lose);
            (record, paths)
        });
        Ok(with_paths.filter(|(_, paths)| !paths.is_empty()).collect())
    }

    /// A record that refers to another one from now on; what that makes others owed and told is put into the commit.
    fn redirected(
        &self,
        action: &Action,
        mut record: Record,
        (paths, to, reason): (&[&'static str], RecordId, Reason),
        commit: &mut SyncCommit,
    ) -> RecordWrite {
        let changes = unite::refer(&mut record, paths, to, reason);
        commit.marks.extend(self.owed_everywhere(record.id, action.at));
        let event = self.announce(
            &self.next(&record, action.at),
            &changes,
            trace_of(action).as_str().into(),
            action.at,
        );
        commit.events.push(event);
        self.changed_by(action, record, &changes)
    }

    /// What two records said against each other: a rule decided, or the person who made them one.
    fn conflicts_of(
        &self,
        action: &Action,
        keep: RecordId,
        lost: &Record,
        (united, links): (&Merged, &[Link]),
    ) -> Vec<Conflict> {
        let json = |value: &Value| model::stored::to_json(value);
        let conflicts = united.conflicts.iter().filter_map(|conflict| {
            let said = lost.provenance.get(conflict.path)?;
            let spoke = |link: &&Link| {
                (link.connection.as_str(), link.external_id.as_str())
                    == (said.connection.as_str(), said.external_id.as_str())
            };
            let open = conflict.is_open();
            let winner = if open { Winner::Ours } else { conflict.winner };
            Some(Conflict {
                id: ConflictId::from_uuid(model::uuid_from(action.at, self.world.random())),
                record: keep,
                path: conflict.path.to_owned(),
                connection: said.connection.clone(),
                object: links
                    .iter()
                    .find(spoke)
                    .map_or_else(String::new, |link| link.object.clone()),
                external_id: said.external_id.clone(),
                base: Json::Null,
                ours: json(&conflict.ours),
                theirs: json(&conflict.theirs),
                kept: json(&conflict.kept),
                ours_by: conflict.ours_by.clone().unwrap_or_default(),
                theirs_at: Some(said.changed_at),
                rule: conflict.rule.word().to_owned(),
                winner: winner.word().to_owned(),
                run: Some(run_of(action)),
                trace: trace_of(action),
                found_at: action.at,
                revision: 1,
                state: if open {
                    ConflictState::Resolved
                } else {
                    ConflictState::Decided
                },
                closed_at: Some(action.at),
                closed_by: if open { action.by.clone() } else { String::new() },
            })
        });
        conflicts.collect()
    }

    /// What is parked no longer when two records are one: what waited for that, and what the one that goes is owed.
    async fn settled_by(
        &self,
        keep: RecordId,
        lose: RecordId,
    ) -> Result<Vec<(String, String, String, bool)>, LedgerError> {
        let merged = ParkedFilter {
            inbound: Some(true),
            codes: Some(vec![MERGED.to_owned()]),
            ..ParkedFilter::default()
        };
        let owed = ParkedFilter {
            inbound: Some(false),
            keys: Some(vec![lose.to_string()]),
            ..ParkedFilter::default()
        };
        let mut settled = self.ledger.parked(&merged, PARKED_MAX).await?;
        settled.retain(|parked| parked.records.contains(&keep) && parked.records.contains(&lose));
        settled.extend(self.ledger.parked(&owed, PARKED_MAX).await?);
        let keys = settled
            .into_iter()
            .map(|parked| (parked.connection, parked.object, parked.key, parked.inbound));
        Ok(keys.collect())
    }

    /// Makes a record its own again that was merged into another one: the union is undone.
    pub async fn unmerge_record(&self, by: &str, id: RecordId) -> Result<Done, ActionError> {
        let found = self.ledger.records(&[id]).await?.into_iter().next();
        let record = found.ok_or_else(|| ActionError::Unknown(format!("there is no record {id}")))?;
        if record.merged_into.is_none() {
            return Err(refused(
                "not_merged",
                format!("{id} is not merged into another record"),
            ));
        }
        let filter = ActionFilter {
            record: Some(id),
            ..ActionFilter::default()
        };
        let actions = self.ledger.actions(&filter, ACTIONS_MAX).await?;
        let union = actions.into_iter().find(|action| {
            let lost = kept::id(&action.detail, "lost");
            action.verb == "merge" && action.undone_by.is_none() && lost == Ok(id)
        });
        match union {
            Some(union) => self.undo(by, union.id).await,
            None => Err(refused("not_merged", format!("nobody has merged {id} by hand"))),
        }
    }

    /// Takes two records apart that were made one.
    pub(crate) async fn unmerge(&self, by: &str, undone: &Action) -> Result<Done, ActionError> {
        let ids =
            kept::id(&undone.detail, "kept").and_then(|keep| Ok((keep, kept::id(&undone.detail, "lost")?)));
        let (keep, lose) = ids.map_err(|why| unreadable(undone, &why))?;
        let held = self.hold(&[keep.kind]).await?;
        let mut done = Err(SyncError::Ledger(LedgerError::Stale(Vec::new())).into());
        for _ in 0..STALE_TRIES_MAX {
            done = self.unmerge_held(by, (keep, lose), undone, &held).await;
            if !is_stale(&done) {
                break;
            }
        }
        self.let_go(held).await?;
        done
    }

    async fn unmerge_held(
        &self,
        by: &str,
        (keep, lose): (RecordId, RecordId),
        undone: &Action,
        held: &Held,
    ) -> Result<Done, ActionError> {
        let mut kept_record = self.standing_record(keep).await?;
        let lost = self.ledger.records(&[lose]).await?.into_iter().next();
        let Some(mut lost) = lost.filter(|lost| lost.merged_into == Some(keep)) else {
            return Err(refused(
                "changed_since",
                format!("{lose} does not stand for {keep} any more"),
            ));
        };
        let unreadable = |why: String| unreadable(undone, &why);
        let before = kept::read_record(&undone.detail["record"], &kept_record).map_err(unreadable)?;
        let links = kept::read_links(&undone.detail, "links").map_err(unreadable)?;
        let action = self.undoing(by, undone);
        let mut commit = SyncCommit {
            lease: held.first(),
            action: Some(action.clone()),
            ..SyncCommit::default()
        };
        let present = self.ledger.links(&[keep, lose]).await?;
        for link in &links {
            let left = undone.detail["left_alone"].as_array().into_iter().flatten();
            let at = ObjectAt::of(link).to_string();
            let is_left = left.filter_map(Json::as_str).any(|left| left == at);
            let heir = heir(link, if is_left { lose } else { keep }, (&links, &present));
            self.restore_link(link, heir, (keep, lose), &mut commit).await?;
        }
        let theirs = objects_of(&lost, &links);
        let by = by_hand(&action);
        let given = unite::give_back(&mut lost, &kept_record, &theirs, &by);
        let is_theirs = |path: &str, said: &Provenance| match said.connection.as_str() {
            BY_HAND => lost.provenance.get(path).is_some_and(|theirs| **theirs == *said),
            _ => unite::is_of(said, &theirs),
        };
        let taken = unite::take_back(&mut kept_record, &before, is_theirs, &by);
        let links = self.ledger.links(&[keep]).await?;
        self.ask_anew(&action, &links, (keep, &taken), &mut commit)
            .await?;
        (lost.deleted_at, lost.merged_into) = (None, None);
        let next = self.next(&kept_record, action.at);
        commit.events.push(self.announce_union(
            &next,
            ("unmerged", lose),
            &taken,
            &trace_of(&action),
            action.at,
        ));
        commit.marks.extend(self.owed_everywhere(keep, action.at));
        commit.marks.extend(self.owed_everywhere(lose, action.at));
        commit.records.push(self.changed_by(&action, kept_record, &taken));
        commit.records.push(self.changed_by(&action, lost, &given));
        let mut told = vec![format!("{keep} and {lose} are two again")];
        let (back, stayed) = self.send_back(undone, &action, (keep, lose), &mut commit).await?;
        if back > 0 {
            told.push(format!("{back} records refer to {lose} again"));
        }
        self.owe_referring_to(&[keep], &mut commit).await?;
        self.tell_what_was_sent((keep, lose), &[keep, lose], &mut commit)
            .await?;
        if stayed > 0 {
            told.push(format!(
                "{stayed} that did before refer to something else by now, and stay so"
            ));
        }
        self.finish(commit, action, told).await
    }

    /// Puts a link back to where it was before the union, as its object, or the one that it was merged into since, is now.
    async fn restore_link(
        &self,
        link: &Link,
        heir: Option<&Link>,
        (keep, lose): (RecordId, RecordId),
        commit: &mut SyncCommit,
    ) -> Result<(), ActionError> {
        let at = ObjectAt::of(heir.unwrap_or(link));
        let now = self.linked_at(&at).await?;
        let now = match now {
            Some(now) if now.record.id == keep || now.record.id == lose => now.link,
            // Nobody has missed an object that was gone already.
            _ if link.gone => link.clone(),
            Some(now) => {
                let reason = format!(
                    "{at} is the object of {} now; unlink it there first",
                    now.record.id
                );
                return Err(refused("changed_since", reason));
            }
            None => {
                let reason = format!("{at}, which was an object of {}, is known no more", link.record);
                return Err(refused("changed_since", reason));
            }
        };
        if now.ignored && !link.ignored {
            commit
                .parked
                .push(self.read_again(&at, "its record is its own again"));
        }
        commit.links.push(Link {
            record: link.record,
            ignored: link.ignored,
            ..now
        });
        Ok(())
    }

    /// Lets those refer to the one that went that did before; says how many do, and how many have changed since.
    async fn send_back(
        &self,
        undone: &Action,
        action: &Action,
        (keep, lose): (RecordId, RecordId),
        commit: &mut SyncCommit,
    ) -> Result<(usize, usize), ActionError> {
        let moved = undone.detail["references"].as_array().into_iter().flatten();
        let mut moved_by_record: BTreeMap<RecordId, BTreeSet<&str>> = BTreeMap::new();
        for reference in moved {
            let id = kept::id(reference, "record").map_err(|why| unreadable(undone, &why))?;
            let path = reference["field"].as_str().unwrap_or_default();
            moved_by_record.entry(id).or_default().insert(path);
        }
        let ids: Vec<RecordId> = moved_by_record.keys().copied().collect();
        let (mut back, asked) = (0, ids.len());
        for record in self.ledger.records(&ids).await? {
            let moved = &moved_by_record[&record.id];
            let mut paths = paths_to(&record, keep);
            paths.retain(|path| moved.contains(path));
            if paths.is_empty() || record.deleted_at.is_some() {
                continue;
            }
            back += 1;
            let write = self.redirected(action, record, (&paths, lose, Reason::Undone), commit);
            commit.records.push(write);
        }
        Ok((back, asked - back))
    }
}

/// The object that the one of a link was merged into since the union: whoever has had it since has another one there, of
/// which nobody knew.
fn heir<'l>(link: &Link, holder: RecordId, (before, present): (&[Link], &'l [Link])) -> Option<&'l Link> {
    let is_at = |other: &&Link| other.connection == link.connection && other.object == link.object;
    let is_one_of =
        |links: &[Link], id: &str| links.iter().filter(is_at).any(|known| known.external_id == id);
    if is_one_of(present, &link.external_id) {
        return None;
    }
    let mut heirs = present
        .iter()
        .filter(is_at)
        .filter(|other| other.record == holder && !other.gone);
    heirs.find(|other| !is_one_of(before, &other.external_id))
}

/// Who has which object after a union: the links that the kept record takes, and those that are left alone.
fn share_out(
    links: &[Link],
    keep: RecordId,
    lose: RecordId,
    stay: &[ObjectAt],
) -> Result<(Vec<Link>, Vec<Link>), ActionError> {
    let (mut moves, mut left, mut open) = (Vec::new(), Vec::new(), Vec::new());
    let mut chosen: BTreeSet<&ObjectAt> = stay.iter().collect();
    let live = |link: &&Link| !link.gone && !link.ignored;
    for theirs in links.iter().filter(|link| link.record == lose).filter(live) {
        let at = ObjectAt::of(theirs);
        let ours = links.iter().find(|ours| ours.record == keep && at.is_at(ours));
        let Some(ours) = ours.filter(|ours| live(ours)) else {
            moves.push(taken(theirs, keep, false));
            left.extend(
                ours.filter(|ours| ours.ignored)
                    .map(|ours| taken(ours, lose, true)),
            );
            continue;
        };
        let here = ObjectAt::of(ours);
        match (chosen.remove(&here), chosen.remove(&at)) {
            (true, false) => left.push(taken(theirs, lose, true)),
            (false, true) => {
                moves.push(taken(theirs, keep, false));
                left.push(taken(ours, lose, true));
            }
            _ => open.push(format!("{here} ({keep}) and {at} ({lose})")),
        }
    }
    let known: BTreeSet<ObjectAt> = links.iter().filter(live).map(ObjectAt::of).collect();
    if let Some(none) = chosen.iter().find(|at| !known.contains(at)) {
        let reason = format!(
            "{none} is an object of neither; what they have is told by: interconnect record show {keep}, and {lose}"
        );
        return Err(refused("nothing_to_choose", reason));
    }
    if !open.is_empty() {
        let reason = format!(
            "both have an object there: {}; say which one stays with --stay connection/object/id, once for each; the other \
             one is left alone at its system, and never deleted",
            open.join("; ")
        );
        return Err(refused("both_linked", reason));
    }
    match chosen.into_iter().next() {
        Some(only) => {
            let reason =
                format!("only one of the two has an object where {only} is, and it stays; leave it out");
            Err(refused("nothing_to_choose", reason))
        }
        None => Ok((moves, left)),
    }
}

fn taken(link: &Link, record: RecordId, ignored: bool) -> Link {
    Link {
        record,
        ignored,
        ..link.clone()
    }
}

/// All objects that have spoken for the record that went; a person is none.
fn objects_of(lost: &Record, links: &[Link]) -> Vec<ObjectId> {
    let theirs = objects(links, lost.id);
    let kept: BTreeSet<ObjectId> = links
        .iter()
        .filter(|link| link.record != lost.id)
        .map(|link| (link.connection.clone(), link.external_id.clone()))
        .collect();
    let said = lost.provenance.values().filter(|said| said.connection != BY_HAND);
    let said = said.map(|said| (said.connection.clone(), said.external_id.clone()));
    let all: BTreeSet<ObjectId> = theirs.into_iter().chain(said).collect();
    all.difference(&kept).cloned().collect()
}

fn unreadable(action: &Action, why: &str) -> ActionError {
    refused(
        "unreadable",
        format!("the row of {} cannot be read: {why}", action.id),
    )
}

fn is_stale(done: &Result<Done, ActionError>) -> bool {
    matches!(
        done,
        Err(ActionError::Sync(SyncError::Ledger(LedgerError::Stale(_))))
    )
}
