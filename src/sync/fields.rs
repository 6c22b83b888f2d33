//! With which fields an object has been read.
//!
//! A mapping that gains a line names a field of which nobody knows what the objects hold in it that were read before. Until
//! everything was read again with it, it is *unread*: what is linked already is not written in it, unless the object itself
//! was read meanwhile, and everything else flows. Then every linked record is owed to the object, for what others said in
//! that field. The cursor keeps which fields were asked for, so that any process on any node goes on where another stopped.
//!
//! While two processes have different mappings, the one with the shorter one settles nothing that the other one owes: it
//! leaves alone what was read with the longer one, until it has read itself.
//!
//! An object that is only written holds in such a field what nobody asks for: every linked record is owed to it at the first
//! push with the longer mapping.

use std::collections::BTreeSet;

use connector::Connection;
use ledger::{Cursor, LedgerError, SyncCommit};
use serde_json::Value as Json;

use crate::absorb::Place;
use crate::engine::SyncError;
use crate::{Engine, Report};

/// Behind an object's name: the cursor of an object that is only written, with the fields that were mapped at the last push.
const MAPPED: &str = "#mapped";

/// The fields that a reading asks for, and those that everything was read with.
pub(crate) struct Asking {
    fields: BTreeSet<String>,
    read: Option<BTreeSet<String>>,
    /// Those that the reading of everything that is under way asked for from its beginning.
    from_start: Option<BTreeSet<String>>,
    /// Whether everything was read once.
    was_complete: bool,
}

/// The fields that were not left out since.
fn kept(known: Option<&BTreeSet<String>>, fields: &BTreeSet<String>) -> Option<BTreeSet<String>> {
    Some(known? & fields)
}

impl Asking {
    /// Asking for fields where a cursor stands.
    pub(crate) fn new(fields: &[String], stored: Option<&Cursor>) -> Asking {
        let fields: BTreeSet<String> = fields.iter().cloned().collect();
        let was_complete = stored.is_some_and(|cursor| cursor.complete_at.is_some());
        // What an older version of the program read counts as read with what is mapped now.
        let read = match stored.and_then(|cursor| cursor.fields_read.as_ref()) {
            None => was_complete.then(|| fields.clone()),
            known => kept(known, &fields),
        };
        let from_start = match stored.and_then(|cursor| cursor.fields_asked.as_ref()) {
            None => (!was_complete).then(|| fields.clone()),
            known => kept(known, &fields),
        };
        Asking {
            fields,
            read,
            from_start,
            was_complete,
        }
    }

    /// Whether everything is to be read from the start: a field is asked for that was not.
    pub(crate) fn is_new(&self) -> bool {
        let has_all = |known: &Option<BTreeSet<String>>| known.as_ref() == Some(&self.fields);
        !has_all(&self.read) && !has_all(&self.from_start)
    }

    /// Everything is read from the start.
    pub(crate) fn start(&mut self) {
        self.from_start = Some(self.fields.clone());
    }

    /// The fields that what was read before was not read with.
    pub(crate) fn unread(&self) -> BTreeSet<String> {
        self.read
            .as_ref()
            .map_or_else(BTreeSet::new, |read| &self.fields - read)
    }

    /// What a cursor keeps of it while there is more to read.
    pub(crate) fn note(&self, cursor: &mut Cursor) {
        cursor.fields_read.clone_from(&self.read);
        cursor.fields_asked.clone_from(&self.from_start);
    }

    /// Whether a reading that ends has brought fields that were not read before.
    pub(crate) fn has_gained(&self) -> bool {
        self.was_complete
            && self
                .from_start
                .as_ref()
                .is_some_and(|asked| !self.read.as_ref().is_some_and(|read| read.is_superset(asked)))
    }

    /// A reading of everything has ended.
    pub(crate) fn end(&mut self) {
        if let Some(asked) = self.from_start.take() {
            self.read = Some(asked);
        }
    }
}

impl Engine {
    /// The fields that everything at an object has been read with; nothing where that is not kept, or not read at all.
    pub(crate) async fn fields_read(
        &self,
        place: Place<'_>,
    ) -> Result<Option<BTreeSet<String>>, LedgerError> {
        if !self.plan.of(place.connection, place.object).any(|sync| sync.pull) {
            return Ok(None);
        }
        let cursor = self.ledger.cursor(place.connection, place.object).await?;
        Ok(cursor.and_then(|cursor| cursor.fields_read))
    }

    /// Whether everything at an object was read with a field of which this process's mapping knows nothing. Another process
    /// has a longer mapping, and what is owed is owed that field, too; or a line was taken out, and nobody has read since.
    pub(crate) async fn knows_less(
        &self,
        system: &Connection,
        place: Place<'_>,
    ) -> Result<bool, LedgerError> {
        let Some(read) = self.fields_read(place).await? else {
            return Ok(false);
        };
        let key = system.connector().key_field(place.object);
        let mapped = self.plan.object_fields(place.connection, place.object, key);
        Ok(read.iter().any(|field| !mapped.contains(field)))
    }

    /// Owes an object that is only written every linked record, where its mapping has gained a field since the last push.
    pub(crate) async fn owe_gained(&self, system: &Connection, place: Place<'_>) -> Result<(), LedgerError> {
        if self.plan.of(place.connection, place.object).any(|sync| sync.pull) {
            return Ok(());
        }
        let (connection, object) = (place.connection.to_owned(), place.object.to_owned());
        let name = format!("{object}{MAPPED}");
        let before = self.ledger.cursor(&connection, &name).await?;
        let before = before.and_then(|cursor| cursor.fields_read);
        let key = system.connector().key_field(&object);
        let mapped = self.plan.object_fields(&connection, &object, key);
        let mapped: BTreeSet<String> = mapped.into_iter().collect();
        if before.as_ref() == Some(&mapped) {
            return Ok(());
        }
        // What was written before anybody kept this counts as written with what is mapped now.
        let gained = before.is_some_and(|before| !before.is_superset(&mapped));
        let now = self.world.now();
        let cursor = Cursor {
            fields_read: Some(mapped),
            ..Cursor::at(Json::Null, now)
        };
        let commit = SyncCommit {
            lease: Some(place.lease.clone()),
            owe_linked: gained.then(|| (connection.clone(), object, now)),
            cursor: Some((connection, name, cursor)),
            ..SyncCommit::default()
        };
        self.ledger.commit(commit).await
    }

    /// Ends a reading of everything that brought fields nobody had read before: they may be written now, and what was said
    /// of them elsewhere is owed.
    pub(crate) async fn welcome(
        &self,
        place: Place<'_>,
        asking: &mut Asking,
        mut cursor: Cursor,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        asking.end();
        asking.note(&mut cursor);
        let (connection, object) = (place.connection.to_owned(), place.object.to_owned());
        tracing::info!(
            connection,
            object,
            "everything was read again with the fields that are new"
        );
        let commit = SyncCommit {
            lease: Some(place.lease.clone()),
            owe_linked: Some((connection.clone(), object.clone(), self.world.now())),
            cursor: Some((connection.clone(), object.clone(), cursor)),
            ..SyncCommit::default()
        };
        self.ledger.commit(commit).await?;
        report.owed.insert((connection, object));
        Ok(())
    }

    /// Forgets that an object was read with fields: they were missing for a while.
    pub(crate) async fn forget_read(
        &self,
        system: &Connection,
        place: Place<'_>,
        fields: &[String],
    ) -> Result<(), LedgerError> {
        let Some(mut cursor) = self.ledger.cursor(place.connection, place.object).await? else {
            return Ok(());
        };
        let key = system.connector().key_field(place.object);
        let mapped = self.plan.object_fields(place.connection, place.object, key);
        let mut asking = Asking::new(&mapped, Some(&cursor));
        let stays = |known: &String| !fields.iter().any(|field| field.eq_ignore_ascii_case(known));
        for known in [&mut asking.read, &mut asking.from_start].into_iter().flatten() {
            known.retain(stays);
        }
        asking.note(&mut cursor);
        let commit = SyncCommit {
            lease: Some(place.lease.clone()),
            cursor: Some((place.connection.to_owned(), place.object.to_owned(), cursor)),
            ..SyncCommit::default()
        };
        self.ledger.commit(commit).await
    }
}
