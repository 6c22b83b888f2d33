//! Linking by hand: an object becomes a record's, or is no longer.
//!
//! A link is made without a base, so that the object is merged as at any first meeting, by whoever reads it next. An object
//! that is unlinked leaves a mark with its record ([`UNLINKED`]), so that neither finds the other again and the record is
//! not created there a second time; the object is a record of its own at its next change, or is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ledger::{Action, Link, Parked, RecordWrite, Sent, SyncCommit};
use model::{Fields, Provenance, Record, RecordId, Value, unite};
use serde_json::{Value as Json, json};

use crate::absorb::Place;
use crate::action::{
    ActionError, Done, Held, ObjectAt, by_hand, refused, run_of, trace_of, undecided, withdrawn,
};
use crate::parked::parked_at;
use crate::settle::SUPERSEDED;
use crate::trace::Trace;
use crate::{Engine, Report, kept};

/// Behind the external id of a link whose object a person has taken away from its record.
pub(crate) const UNLINKED: &str = "#unlinked";

/// The id of a link's object, and whether that is the record's no more: the link is a mark that an object leaves which was
/// taken away by a person, or went on as another kind of record.
pub fn object_of(link: &Link) -> (&str, bool) {
    let id = link.external_id.as_str();
    let left = [UNLINKED, SUPERSEDED]
        .iter()
        .find_map(|mark| id.strip_suffix(mark));
    left.map_or((id, false), |id| (id, true))
}

/// The mark that an unlinked object leaves with its record.
fn left_behind(link: &Link) -> Link {
    Link {
        external_id: format!("{}{UNLINKED}", link.external_id),
        replaces: None,
        gone: true,
        ignored: false,
        ..link.clone()
    }
}

/// Lets a record be blank where it knows nothing and its object has something of another record, so that it is taken away
/// there.
fn blank_unknown(
    record: &mut Record,
    link: &Link,
    said_there: &BTreeSet<&'static str>,
    by: &Arc<Provenance>,
) {
    for (path, _) in link.base.iter().flat_map(Fields::iter) {
        if !said_there.contains(path) && record.fields.get(path).is_none() {
            record.fields.set(path, Value::Null);
            record.provenance.insert(path, Arc::clone(by));
        }
    }
}

fn unreadable(action: &Action) -> impl Fn(String) -> ActionError {
    let id = action.id;
    move |why| refused("unreadable", format!("the row of {id} cannot be read: {why}"))
}

impl Engine {
    /// Makes an object a record's. It is read by its id and merged like anything that is met for the first time.
    ///
    /// Refused when the object is another record's, unless it is `moved` from there knowingly, and when the record has
    /// another object there.
    pub async fn link(
        &self,
        by: &str,
        id: RecordId,
        at: &ObjectAt,
        moved: bool,
    ) -> Result<Done, ActionError> {
        let system = self.system_of(id, at)?;
        let held = self.hold(&[id.kind]).await?;
        let linked = self.link_held(by, id, at, moved, &held).await;
        let done = match linked {
            Ok(done) => self.read_linked(&system, at, &held, done).await,
            Err(error) => Err(error),
        };
        self.let_go(held).await?;
        done
    }

    /// The connection of an object that may be a record of that kind.
    fn system_of(&self, id: RecordId, at: &ObjectAt) -> Result<Arc<connector::Connection>, ActionError> {
        let (connection, object) = (&at.connection, &at.object);
        let sync = self.plan.sync_for(connection, object, id.kind);
        if sync.is_none_or(|sync| !sync.pull) {
            return Err(refused(
                "no_sync",
                format!(
                    "no sync reads {object} of `{connection}` as a {}; see: interconnect sync list",
                    id.kind
                ),
            ));
        }
        let system = self.known(connection, object)?;
        if !system.reads_by_id(object) && !system.connector().is_posted() {
            return Err(refused(
                "no_sync",
                format!(
                    "{object} of `{connection}` cannot be read by its id, so it cannot be linked by hand"
                ),
            ));
        }
        Ok(Arc::clone(system))
    }

    async fn link_held(
        &self,
        by: &str,
        id: RecordId,
        at: &ObjectAt,
        moved: bool,
        held: &Held,
    ) -> Result<Done, ActionError> {
        let record = self.standing_record(id).await?;
        let mut links = self.ledger.links_to(&at.connection, &at.object, &[id]).await?;
        let here = links.pop();
        if let Some(there) = here.as_ref().filter(|link| !link.gone && !link.ignored) {
            return Err(match there.external_id == at.external_id {
                true => refused("linked", format!("{at} is the object of {id} already")),
                false => refused(
                    "has_another",
                    format!(
                        "{id} has {} there already; take that away first with: interconnect record unlink {id} {}/{}",
                        ObjectAt::of(there),
                        at.connection,
                        at.object
                    ),
                ),
            });
        }
        let other = self.linked_at(at).await?.filter(|other| other.record.id != id);
        if let Some(other) = other.as_ref().filter(|_| !moved) {
            return Err(refused(
                "linked_elsewhere",
                format!(
                    "{at} is the object of {}; say --move to take it away from there, or make the two records one \
                     with: interconnect record merge {id} {}",
                    other.record.id, other.record.id
                ),
            ));
        }
        self.must_be_there(id, at).await?;
        let parked = parked_at(&*self.ledger, at).await?;
        let open = match &other {
            Some(other) => self.conflicts_at(&other.link).await?,
            None => Vec::new(),
        };
        let mut about = vec![id];
        about.extend(other.as_ref().map(|other| other.record.id));
        let detail = json!({
            "object": at.to_string(), "record": kept::record(&record), "here": here.as_ref().map(kept::link),
            "other": other.as_ref().map(|other| kept::link(&undecided(&other.link, &open))), "parked": parked.as_ref().map(kept::parked),
        });
        let action = self.new_action(by, "link", about, detail);
        let mut commit = SyncCommit {
            lease: held.first(),
            records: vec![self.touched(record)],
            parked: vec![self.read_again(at, "it was linked by hand")],
            conflicts: withdrawn(&action, open),
            action: Some(action.clone()),
            ..SyncCommit::default()
        };
        if let Some(alone) = here.filter(|link| link.ignored) {
            self.leave_alone(alone, &mut commit);
        }
        self.owe_referring_to(&action.records, &mut commit).await?;
        let mut told = vec![format!("{at} is the object of {id}")];
        let link = Link {
            connection: at.connection.clone(),
            object: at.object.clone(),
            external_id: at.external_id.clone(),
            record: id,
            base: None,
            wire: None,
            external_version: None,
            modified: None,
            seen_at: self.world.now(),
            replaces: None,
            gone: false,
            ignored: false,
            made: false,
        };
        commit.parked.extend(match &other {
            Some(other) => self.who_named(other.record.id, at).await?,
            None => self.named_as_before(std::slice::from_ref(&link)).await?,
        });
        if let Some(other) = other {
            told.push(format!(
                "{} has no object there any more, and is not created there again",
                other.record.id
            ));
            commit.links.push(left_behind(&other.link));
            commit.records.push(self.touched(other.record));
        }
        commit.links.push(link);
        self.finish(commit, action, told).await
    }

    /// Lets an object stay ignored whose record gets another one there: an alias of the record has it from now on.
    fn leave_alone(&self, link: Link, commit: &mut SyncCommit) {
        let now = self.world.now();
        let id = RecordId::new(link.record.kind, model::uuid_from(now, self.world.random()));
        let alias = Record {
            version: 1,
            deleted_at: Some(now),
            merged_into: Some(link.record),
            ..Record::empty(id, now)
        };
        commit.records.push(RecordWrite {
            record: alias,
            read_version: 0,
            changes: Vec::new(),
            match_keys: Vec::new(),
        });
        commit.links.push(Link { record: id, ..link });
    }

    async fn must_be_there(&self, id: RecordId, at: &ObjectAt) -> Result<(), ActionError> {
        let system = self.ready(&at.connection, &at.object).await?;
        let key = system.connector().key_field(&at.object);
        let fields = self.plan.object_fields(&at.connection, &at.object, key);
        let ids = [at.external_id.clone()];
        let objects = self.read_by_ids(&system, &at.object, &fields, &ids).await?;
        let Some(object) = objects.iter().find(|object| !object.deleted) else {
            return Err(ActionError::Unknown(format!(
                "`{}` has no {} {}",
                at.connection, at.object, at.external_id
            )));
        };
        let sync = self.plan.sync_for(&at.connection, &at.object, id.kind);
        if sync.is_some_and(|sync| !sync.mapping.admits(&object.body)) {
            return Err(refused(
                "other_kind",
                format!("{at} is no {}, says its mapping", id.kind),
            ));
        }
        Ok(())
    }

    /// Reads what was linked. When its system does not let it, the next pull does.
    async fn read_linked(
        &self,
        system: &Arc<connector::Connection>,
        at: &ObjectAt,
        held: &Held,
        mut done: Done,
    ) -> Result<Done, ActionError> {
        let Some(lease) = held.pulls(&at.connection, &at.object) else {
            return Ok(done);
        };
        let missing = self.missing(&at.connection, &at.object).await?;
        let trace = Trace::one(&trace_of(&done.action));
        let place = Place::new(
            (&at.connection, &at.object),
            run_of(&done.action),
            lease,
            &missing,
            &trace,
        );
        let (fields, ids) = (self.fields_of(system, place), [at.external_id.clone()]);
        let read = self
            .absorb_ids(system, place, &fields, &ids, &BTreeMap::new(), &mut done.report)
            .await;
        if let Err(error) = read {
            done.told.push(format!(
                "its values are read with the next pull, for now: {error}"
            ));
        }
        Ok(done)
    }

    /// Takes an object away from its record: of the only one at a connection, or of the one that is named.
    ///
    /// The object stays where it is, and is a record of its own at its next change; or, if it is to be ignored, is neither
    /// read nor written any more.
    pub async fn unlink(
        &self,
        by: &str,
        id: RecordId,
        connection: &str,
        object: Option<&str>,
        ignore: bool,
    ) -> Result<Done, ActionError> {
        if !self.plan.syncs.iter().any(|sync| sync.connection == connection) {
            return Err(refused(
                "no_sync",
                format!("no sync reads or writes a connection `{connection}`"),
            ));
        }
        let held = self.hold(&[id.kind]).await?;
        let done = self
            .unlink_held(by, id, (connection, object), ignore, &held)
            .await;
        self.let_go(held).await?;
        done
    }

    async fn unlink_held(
        &self,
        by: &str,
        id: RecordId,
        (connection, object): (&str, Option<&str>),
        ignore: bool,
        held: &Held,
    ) -> Result<Done, ActionError> {
        let record = self.standing_record(id).await?;
        let mut links = self.ledger.links(&[id]).await?;
        links.retain(|link| {
            link.connection == connection && object.is_none_or(|object| object == link.object) && !link.gone
        });
        links.retain(|link| !link.ignored || !ignore);
        let link = match links.as_slice() {
            [link] => link.clone(),
            [] => {
                let what = object.map_or_else(String::new, |object| format!("/{object}"));
                return Err(refused(
                    "not_linked",
                    format!("{id} has no object at {connection}{what}"),
                ));
            }
            several => {
                let names = several.iter().map(|link| ObjectAt::of(link).to_string());
                let names: Vec<String> = names.collect();
                return Err(refused(
                    "several",
                    format!("{id} has {} there; name connection/object", names.join(" and ")),
                ));
            }
        };
        let at = ObjectAt::of(&link);
        // What was written there, and not heard of, may come to be there until this is undone.
        let sent = self.ledger.sent(&link.connection, &link.object, &[id]).await?;
        let sent: Vec<Sent> = sent.into_iter().flat_map(|(_, sent)| sent).collect();
        let open = self.conflicts_at(&link).await?;
        let link = undecided(&link, &open);
        let detail = json!({
            "object": at.to_string(), "link": kept::link(&link), "ignore": ignore,
            "sent": sent.iter().map(kept::sent).collect::<Vec<_>>(),
        });
        let action = self.new_action(by, "unlink", vec![id], detail);
        let left = match ignore {
            true => Link {
                ignored: true,
                ..link.clone()
            },
            false => left_behind(&link),
        };
        let (at_connection, at_object) = (link.connection.clone(), link.object.clone());
        let commit = SyncCommit {
            lease: held.first(),
            conflicts: withdrawn(&action, open),
            records: vec![self.touched(record)],
            links: vec![left],
            // Who names it from now on does not mean this record.
            forgotten: match ignore {
                true => Vec::new(),
                false => vec![(at_connection.clone(), at_object.clone(), link.external_id.clone())],
            },
            unparked: vec![
                (at_connection.clone(), at_object.clone(), link.external_id, true),
                (at_connection, at_object, id.to_string(), false),
            ],
            action: Some(action.clone()),
            ..SyncCommit::default()
        };
        self.ledger.commit(commit).await?;
        let stays = match ignore {
            true => "it stays where it is, and is neither read nor written any more",
            false => "it stays where it is, and is a record of its own at its next change",
        };
        Ok(Done {
            action,
            told: vec![format!("{at} is not the object of {id} any more; {stays}")],
            report: Report::default(),
        })
    }

    pub(crate) async fn undo_link(&self, by: &str, undone: &Action) -> Result<Done, ActionError> {
        let id = *undone
            .records
            .iter()
            .find(|id| kept::id(&undone.detail["record"], "id").as_ref() == Ok(*id))
            .ok_or_else(|| unreadable(undone)("`record` is missing".to_owned()))?;
        let held = self.hold(&[id.kind]).await?;
        let done = self.undo_link_held(by, id, undone, &held).await;
        self.let_go(held).await?;
        done
    }

    async fn undo_link_held(
        &self,
        by: &str,
        id: RecordId,
        undone: &Action,
        held: &Held,
    ) -> Result<Done, ActionError> {
        let unreadable = unreadable(undone);
        let detail = &undone.detail;
        let at = detail["object"].as_str().unwrap_or_default();
        let at: ObjectAt = at
            .parse()
            .map_err(|error: crate::action::NotAnObject| unreadable(error.to_string()))?;
        let now = self.linked_at(&at).await?.filter(|linked| linked.record.id == id);
        let Some(now) = now.filter(|linked| !linked.link.ignored) else {
            return Err(refused(
                "changed_since",
                format!("{at} is not the object of {id} any more"),
            ));
        };
        let mut record = self.standing_record(id).await?;
        let before = kept::read_record(&detail["record"], &record).map_err(&unreadable)?;
        let action = self.undoing(by, undone);
        let open = self.conflicts_at(&now.link).await?;
        let objects = [(at.connection.clone(), at.external_id.clone())];
        let is_its = |_: &str, said: &Provenance| unite::is_of(said, &objects);
        let said_there = record.provenance.iter().filter(|(path, said)| is_its(path, said));
        let said_there: BTreeSet<&'static str> = said_there.map(|(path, _)| *path).collect();
        let changes = unite::take_back(&mut record, &before, is_its, &by_hand(&action));
        let mut commit = SyncCommit {
            lease: held.first(),
            marks: self.owed_everywhere(id, action.at),
            unparked: vec![(
                at.connection.clone(),
                at.object.clone(),
                at.external_id.clone(),
                true,
            )],
            forgotten: vec![(at.connection.clone(), at.object.clone(), at.external_id.clone())],
            conflicts: withdrawn(&action, open),
            action: Some(action.clone()),
            ..SyncCommit::default()
        };
        let mut told = vec![format!("{at} is not the object of {id} any more")];
        if !changes.is_empty() {
            let paths: Vec<&str> = changes.iter().map(|change| change.path).collect();
            told.push(format!("{} of {id} are what they were before", paths.join(", ")));
            commit.events.push(self.announce(
                &self.next(&record, action.at),
                &changes,
                trace_of(&action).as_str().into(),
                action.at,
            ));
        }
        commit.records.push(self.changed_by(&action, record, &changes));
        if !detail["here"].is_null() {
            commit
                .links
                .push(kept::read_link(&detail["here"]).map_err(&unreadable)?);
        }
        if !detail["other"].is_null() {
            let link = kept::read_link(&detail["other"]).map_err(&unreadable)?;
            let mut other = self.standing_record(link.record).await?;
            self.must_be_free(&link, UNLINKED).await?;
            let link = self.as_given_back(link, &now.link, &said_there);
            blank_unknown(&mut other, &link, &said_there, &by_hand(&action));
            told.push(format!("{at} is the object of {} again", other.id));
            commit.parked.extend(self.who_named(id, &at).await?);
            commit.marks.extend(self.owed_everywhere(other.id, action.at));
            commit.records.push(self.changed_by(&action, other, &[]));
            commit
                .parked
                .push(self.read_again(&at, "its link was restored by hand"));
            commit.links.push(Link {
                gone: now.link.gone,
                ..link
            });
        }
        commit
            .parked
            .extend(kept::read_parked(&detail["parked"]).map_err(&unreadable)?);
        self.owe_referring_to(&undone.records, &mut commit).await?;
        self.finish(commit, action, told).await
    }

    /// The link of an object that is its former record's again. What it has of the other record is what was agreed on with
    /// it, and no word of its own; what was said there meanwhile is news to its record.
    fn as_given_back(&self, then: Link, now: &Link, said_there: &BTreeSet<&'static str>) -> Link {
        let sync = self
            .plan
            .sync_for(&then.connection, &then.object, then.record.kind);
        let (Some(agreed), Some(sync), Some(base), Some(Json::Object(wire))) =
            (&then.base, sync, &now.base, &now.wire)
        else {
            return then;
        };
        let (mut base, mut wire) = (base.clone(), wire.clone());
        for path in said_there {
            match agreed.get(path) {
                Some(value) => base.set(path, value.clone()),
                None => drop(base.remove(path)),
            }
            for field in sync.mapping.wire_fields(path) {
                match then.wire.as_ref().and_then(|then| then.get(field)) {
                    Some(value) => drop(wire.insert(field.to_owned(), value.clone())),
                    None => drop(wire.remove(field)),
                }
            }
        }
        Link {
            base: Some(base),
            wire: Some(Json::Object(wire)),
            external_version: now.external_version.clone(),
            modified: now.modified,
            seen_at: now.seen_at,
            ..then
        }
    }

    pub(crate) async fn undo_unlink(&self, by: &str, undone: &Action) -> Result<Done, ActionError> {
        let link = kept::read_link(&undone.detail["link"]).map_err(unreadable(undone))?;
        let held = self.hold(&[link.record.kind]).await?;
        let done = self.undo_unlink_held(by, link, undone, &held).await;
        self.let_go(held).await?;
        done
    }

    async fn undo_unlink_held(
        &self,
        by: &str,
        link: Link,
        undone: &Action,
        held: &Held,
    ) -> Result<Done, ActionError> {
        let at = ObjectAt::of(&link);
        let record = self.standing_record(link.record).await?;
        let id = record.id;
        let other = self.linked_at(&at).await?;
        if let Some(other) = other.filter(|other| other.record.id != link.record) {
            return Err(refused(
                "changed_since",
                format!(
                    "{at} is the object of {} now; make the two one with: interconnect record merge {} {}",
                    other.record.id, link.record, other.record.id
                ),
            ));
        }
        self.must_be_free(&link, UNLINKED).await?;
        let sent = kept::read_sent(&undone.detail).map_err(unreadable(undone))?;
        let action = self.undoing(by, undone);
        let told = vec![format!("{at} is the object of {} again", record.id)];
        let mut commit = SyncCommit {
            lease: held.first(),
            records: vec![self.touched(record)],
            marks: self.owed_everywhere(link.record, action.at),
            parked: vec![self.read_again(&at, "its link was restored by hand")],
            links: vec![link],
            action: Some(action.clone()),
            ..SyncCommit::default()
        };
        if !sent.is_empty() {
            commit
                .sending
                .push(self.known_as_sent((&at.connection, &at.object), id, sent));
        }
        self.owe_referring_to(&undone.records, &mut commit).await?;
        self.finish(commit, action, told).await
    }

    /// Refuses when the record of a link has got another object there since.
    pub(crate) async fn must_be_free(&self, link: &Link, mark: &str) -> Result<(), ActionError> {
        let at = ObjectAt::of(link);
        let mut links = self
            .ledger
            .links_to(&at.connection, &at.object, &[link.record])
            .await?;
        let now = links.pop();
        let marked = format!("{}{mark}", link.external_id);
        match now {
            Some(now) if now.external_id != link.external_id && now.external_id != marked => Err(refused(
                "changed_since",
                format!("{} has {} there now", link.record, ObjectAt::of(&now)),
            )),
            _ => Ok(()),
        }
    }

    /// A record as its next version will be, for what is told of it.
    pub(crate) fn next(&self, record: &Record, at: jiff::Timestamp) -> Record {
        Record {
            version: record.version + 1,
            updated_at: at,
            ..record.clone()
        }
    }

    /// Commits what an action comes to.
    pub(crate) async fn finish(
        &self,
        commit: SyncCommit,
        action: Action,
        told: Vec<String>,
    ) -> Result<Done, ActionError> {
        let mut report = Report::default();
        let marks = commit.marks.iter();
        report
            .owed
            .extend(marks.map(|mark| (mark.connection.clone(), mark.object.clone())));
        let again = |parked: &&Parked| parked.inbound && parked.retry_at.is_some();
        let parked = commit.parked.iter().filter(again);
        report
            .owed
            .extend(parked.map(|parked| (parked.connection.clone(), parked.object.clone())));
        let endpoints = commit.events.iter().flat_map(|event| &event.deliveries);
        report
            .endpoints
            .extend(endpoints.map(|delivery| delivery.endpoint.clone()));
        self.ledger.commit(commit).await?;
        Ok(Done { action, told, report })
    }
}
