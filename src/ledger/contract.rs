//! The contract: what the ledger is asked and told, in batches, by purpose.
//!
//! Two stores keep it, `sqlite` and `postgres`; one suite (`suite.rs`) runs against both.
//! Every answer to a write means: on disk. A write that carries a [`Lease`] is refused as a whole when the lease has
//! meanwhile been given to somebody else, so that a worker that was thought dead cannot write late.
//!
//! Moments are kept to the microsecond, the rest is cut off; only those inside a record's fields and provenance keep all
//! their digits. PostgreSQL refuses keys (a source with its `dedupe`, an external id, a match key) that are longer than
//! about 2,600 bytes together: bound them where they come in.

mod backlog;
mod deliveries;
mod disclosures;
mod endpoints;
mod feed;
mod folds;
mod inlets;
mod replays;
mod retention;
mod turns;

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use model::{ActionId, Fields, Kind, MatchKey, Record, RecordId, RunId};
use serde_json::Value as Json;

pub use backlog::*;
pub use deliveries::*;
pub use disclosures::*;
pub use endpoints::*;
pub use feed::*;
pub use folds::*;
pub use inlets::*;
pub use replays::*;
pub use retention::*;
pub use turns::*;

use crate::{Action, Conflict, Conflicts, Journal, Journeys, Pushed, Seen};

/// Why the ledger did not do it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A record was changed by somebody else since it was read; read again, merge again.
    #[error("{} records changed since they were read", .0.len())]
    Stale(Vec<RecordId>),
    /// The lease was given to somebody else; stop, they go on.
    #[error("the lease on `{0}` was lost to another worker")]
    LeaseLost(String),
    /// What was to be undone is undone already.
    #[error("{0} was undone already")]
    Undone(ActionId),
    /// The store takes no more work just now; answer 503 and let the caller come back.
    #[error("the ledger has {waiting} writes waiting, its limit `writes_waiting_max`; try again shortly")]
    Busy {
        /// Writes that wait.
        waiting: usize,
    },
    /// A stored row cannot be read.
    #[error(transparent)]
    Unreadable(#[from] model::stored::Unreadable),
    /// The database failed. The text names no credentials.
    #[error("the ledger's database failed: {0}")]
    Store(String),
}

/// The right to work on a key, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What may be worked on: a job's key.
    pub key: String,
    /// Counts owners of the key; the fence. Never used twice for a key.
    pub token: u64,
}

/// Who may work on what.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the lease on a key until `until`, if it is free or its time is over.
    async fn lease(
        &self,
        key: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Lease>, LedgerError>;
    /// Keeps a lease; false when it is lost.
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<bool, LedgerError>;
    /// Whether anybody holds the lease on a key.
    async fn is_leased(&self, key: &str, now: Timestamp) -> Result<bool, LedgerError>;
    /// Gives a lease back: it is free at once, and a write that still carries it is refused. Nothing happens when it is
    /// lost already.
    async fn release(&self, lease: &Lease) -> Result<(), LedgerError>;
}

/// A record ↔ one object's id at one connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The connection.
    pub connection: String,
    /// The system's own kind of record.
    pub object: String,
    /// The object's id there.
    pub external_id: String,
    /// The record.
    pub record: RecordId,
    /// What both sides last agreed on, in our terms; nothing before the first agreement.
    pub base: Option<Fields>,
    /// What the system was last seen to hold in the mapped fields, in its own terms.
    pub wire: Option<Json>,
    /// The system's own version of the object, if it has one.
    pub external_version: Option<String>,
    /// When the object had last changed, as its system told with what was last seen; nothing while it did not. No earlier
    /// than that, when it did not tell it with what we wrote.
    pub modified: Option<Timestamp>,
    /// When the object was last seen.
    pub seen_at: Timestamp,
    /// [`Link::seen_at`] of the link that was read, and that this one is to replace: it must be that one still. Nothing, for
    /// one that replaces whatever is there. A link that is read names itself; it is not stored.
    pub replaces: Option<Timestamp>,
    /// Whether the object is deleted or archived there.
    pub gone: bool,
    /// Whether a person said that the object is to be left alone: it is neither read nor written, and what refers to it
    /// means the record.
    pub ignored: bool,
    /// Whether we made the object, or may have; else it was there when the record met it.
    pub made: bool,
}

/// One field of one record that changed: a row of its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The record's version that has it. When it is written, the version of the record it comes with counts.
    pub version: u64,
    /// The field.
    pub path: String,
    /// Before, in its stored JSON form; `null` when it was blank or not known.
    pub before: Json,
    /// After, in its stored JSON form.
    pub after: Json,
    /// Why: a word of `model::merge::Reason`, or what a person did ([`Action::verb`]).
    pub reason: String,
    /// The connection that said so.
    pub connection: String,
    /// The object's id there.
    pub external_id: String,
    /// When it changed there.
    pub changed_at: Timestamp,
    /// When it was committed here.
    pub committed_at: Timestamp,
    /// The run that brought it.
    pub run: RunId,
    /// The journey that it came with; empty in rows of before it was kept.
    pub trace: String,
}

/// A record to write, with all that explains it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordWrite {
    /// The record as it is to be.
    pub record: Record,
    /// The version it was read at; 0 for a new one.
    pub read_version: u64,
    /// What changed.
    pub changes: Vec<Change>,
    /// The keys under which it can be met from now on; they replace the old ones.
    pub match_keys: Vec<MatchKey>,
}

/// A record that a connection is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The connection.
    pub connection: String,
    /// The object to write.
    pub object: String,
    /// The record.
    pub record: RecordId,
    /// Counts how often it was marked; done is done only up to the mark that was read.
    pub mark: u64,
    /// When it may be tried.
    pub due_at: Timestamp,
    /// How often it was tried without success since it was last marked.
    pub attempts: u32,
    /// What was written, each time that nobody heard what became of it.
    pub sent: Vec<Sent>,
}

/// What was written of a record without being heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When it was about to be written.
    pub at: Timestamp,
    /// The fields in the system's own terms; none when the object was to be deleted.
    pub values: Json,
    /// Whether it was to create the object: then one that carries our key is what came of it.
    pub creates: bool,
}

impl Sent {
    /// Whether it was a deletion.
    pub fn is_deletion(&self) -> bool {
        self.values.as_object().is_some_and(serde_json::Map::is_empty)
    }
}

/// A push that is marked as owed, from a moment on. Marking resets the attempts; one that waits for a later moment comes
/// forward to this one, one that is due earlier stays so. Marked twice in one commit is marked once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushMark {
    /// The connection.
    pub connection: String,
    /// The object to write.
    pub object: String,
    /// The record.
    pub record: RecordId,
    /// From when on.
    pub due_at: Timestamp,
}

/// How a push ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEnd {
    /// Nothing is owed any more; unless it was marked again since it was read.
    Done,
    /// Try again then. What was sent stays: a refusal tells nothing of what was sent before.
    Later(Timestamp),
}

/// Something that does not map or that a system refuses: kept with its reason, and blocking nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Parked {
    /// The connection.
    pub connection: String,
    /// The object.
    pub object: String,
    /// The object's id when it was pulled; the record's id when it was pushed.
    pub key: String,
    /// Whether it was on its way in (pulled) or out (pushed).
    pub inbound: bool,
    /// The class of the reason, for grouping: `mapping`, `unresolved_reference`, `validation`, …
    pub code: String,
    /// The fields that it is about, as the system names them, in bytewise order; empty where nobody named any.
    pub fields: Vec<String>,
    /// The reason, for a person.
    pub reason: String,
    /// Records between which a person is to decide.
    pub records: Vec<RecordId>,
    /// Since when it has this code: what is parked again under the same code is as old as it was.
    pub since: Timestamp,
    /// When to look again without being asked.
    pub retry_at: Option<Timestamp>,
    /// The object that it waits for, on its way in: at once when that gets a link, it is to be looked at again.
    pub waits_for: Option<WaitsFor>,
}

/// An object at the connection of something parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitsFor {
    /// The object.
    pub object: String,
    /// Its id.
    pub external_id: String,
}

/// Parked things that have what they are about and their code in common, counted.
#[derive(Clone, Debug, PartialEq)]
pub struct ParkedCause {
    /// The connection.
    pub connection: String,
    /// The object.
    pub object: String,
    /// Whether they were on their way in.
    pub inbound: bool,
    /// The code.
    pub code: String,
    /// The fields.
    pub fields: Vec<String>,
    /// How many there are.
    pub count: u64,
    /// Since when the oldest of them waits.
    pub first: Timestamp,
    /// Since when the newest of them waits.
    pub last: Timestamp,
    /// When the first of them is looked at again without being asked.
    pub retry_at: Option<Timestamp>,
    /// The reason of the newest.
    pub reason: String,
    /// The key of the newest.
    pub key: String,
}

/// Where the reading of an object stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// The connector's own cursor.
    pub position: Json,
    /// Everything that was there at this moment has been read; nothing before the first complete read, and while it is
    /// nothing, nothing is created at this connection.
    pub complete_at: Option<Timestamp>,
    /// When the reading that is under way began.
    pub round_at: Option<Timestamp>,
    /// The fields that everything that was there has been read with. Of any other nobody knows what an object holds in it,
    /// unless the object was read since it is mapped. Nothing when that was not written down.
    pub fields_read: Option<BTreeSet<String>>,
    /// The fields that the reading of everything that is under way asks for.
    pub fields_asked: Option<BTreeSet<String>>,
    /// When it was stored.
    pub stored_at: Timestamp,
}

impl Cursor {
    /// A position of its own, of what is not read by fields.
    pub fn at(position: Json, stored_at: Timestamp) -> Cursor {
        Cursor {
            position,
            complete_at: None,
            round_at: None,
            fields_read: None,
            fields_asked: None,
            stored_at,
        }
    }
}

/// What was found under a key when it was decided that there is no record for an object yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The kind.
    pub kind: Kind,
    /// The key.
    pub key: MatchKey,
    /// The records that had it, in order.
    pub found: Vec<RecordId>,
}

/// All that a pulled page or a pushed batch comes to; one transaction.
///
/// What it says twice counts as said last. Pushes end before others are marked, and things are unparked before others
/// are parked, so that what a commit both ends and marks is owed.
#[derive(Clone, Debug, Default)]
pub struct SyncCommit {
    /// The right to do it.
    pub lease: Option<Lease>,
    /// Keys under which new records were looked for. Refused as [`LedgerError::Stale`] when another record has one of
    /// them by now: two systems may tell the same news at the same moment, to two nodes.
    pub sought: Vec<Sought>,
    /// Records that are new or changed. One may be written several times, each time reading what was written before.
    pub records: Vec<RecordWrite>,
    /// Links to insert or replace, by connection, object and external id. A record has at most one link per
    /// connection and object: a link that would be a second one replaces the first. Refused as [`LedgerError::Stale`] when
    /// the link that is there is not the one that it replaces: an object may be read while it is written, and who
    /// wrote down last what is known of it would not know what the other one learned.
    pub links: Vec<Link>,
    /// Links that are claimed, for records that had none here or that were written through them; else like `links`.
    /// Refused as [`LedgerError::Stale`] when by now the record has another living object there, or the object is
    /// another record's, or has a living link that was not read: one node may meet an object while another creates one for
    /// the same record. What the commit itself says of the record before, it knows of.
    pub claims: Vec<Link>,
    /// Links to delete, by connection, object and external id, before others are written.
    pub forgotten: Vec<(String, String, String)>,
    /// Conflicts that are new, or that replace what is known under their id while that is open. One that was closed
    /// meanwhile, and a second open one of the same record, field, connection and object, make the whole commit stale.
    pub conflicts: Vec<Conflict>,
    /// Pushes that are owed.
    pub marks: Vec<PushMark>,
    /// Pushes that are about to be written, with what that will be in [`Push::sent`]: kept until one is done. They are owed
    /// already, or marked in the same commit.
    pub sending: Vec<Push>,
    /// What became of writes.
    pub pushed: Vec<Pushed>,
    /// Pushes that ended.
    pub ended: Vec<(Push, PushEnd)>,
    /// What is parked; replaces what was parked under the same connection, object, key and direction.
    pub parked: Vec<Parked>,
    /// What is parked no longer: connection, object, key, inbound.
    pub unparked: Vec<(String, String, String, bool)>,
    /// Events that it causes, with their deliveries; those that their source has said before are left out.
    pub events: Vec<NewEvent>,
    /// The new position of a connection's object.
    pub cursor: Option<(String, String, Cursor)>,
    /// A connection's object of which every linked record is owed to it, but for what is gone or ignored, and when that is
    /// due. Counts after `ended`, and for what the commit links, too.
    pub owe_linked: Option<(String, String, Timestamp)>,
    /// What a person did that all this comes from. Refused as [`LedgerError::Undone`] when it undoes what is undone
    /// already.
    pub action: Option<Action>,
}

/// A record together with one of its links.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The link.
    pub link: Link,
    /// The record.
    pub record: Record,
}

/// What to list of parked things.
#[derive(Clone, Debug, Default)]
pub struct ParkedFilter {
    /// Only of this connection and object.
    pub of: Option<(String, String)>,
    /// Only inbound (true) or outbound (false).
    pub inbound: Option<bool>,
    /// Only what is to be looked at again by then.
    pub retry_by: Option<Timestamp>,
    /// Only what has one of these keys.
    pub keys: Option<Vec<String>>,
    /// Only what has one of these codes.
    pub codes: Option<Vec<String>>,
    /// Only what is about exactly these fields.
    pub fields: Option<Vec<String>>,
    /// Only what comes after this place.
    pub after: Option<ParkedAt>,
}

/// The place of something parked in the list, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedAt {
    /// Since when.
    pub since: Timestamp,
    /// The connection.
    pub connection: String,
    /// The object.
    pub object: String,
    /// The key.
    pub key: String,
    /// Whether it was on its way in.
    pub inbound: bool,
}

impl Parked {
    /// Its place.
    pub fn at(&self) -> ParkedAt {
        ParkedAt {
            since: self.since,
            connection: self.connection.clone(),
            object: self.object.clone(),
            key: self.key.clone(),
            inbound: self.inbound,
        }
    }
}

/// Records, links and what sync owes. Lists answer in no fixed order unless said.
#[async_trait]
pub trait Records: Send + Sync {
    /// The links of objects, with their records; objects without a link are left out.
    async fn linked(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<Linked>, LedgerError>;

    /// What objects said when they were last seen. Left out are those without a link, those that are gone or left alone, and
    /// those of which nothing was agreed on yet.
    async fn seen(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<Seen>, LedgerError> {
        let linked = self.linked(connection, object, external_ids).await?;
        Ok(linked.into_iter().filter_map(|one| Seen::of(one.link)).collect())
    }

    /// The records that objects belonged to until these got other objects there, each with the object's id. An object
    /// that is forgotten is not among them.
    async fn former(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<(String, RecordId)>, LedgerError>;
    /// Records by id; unknown ids are left out.
    async fn records(&self, ids: &[RecordId]) -> Result<Vec<Record>, LedgerError>;
    /// All links of records, at every connection.
    async fn links(&self, ids: &[RecordId]) -> Result<Vec<Link>, LedgerError>;
    /// The links of records to an object of a connection.
    async fn links_to(
        &self,
        connection: &str,
        object: &str,
        ids: &[RecordId],
    ) -> Result<Vec<Link>, LedgerError> {
        let mut links = self.links(ids).await?;
        links.retain(|link| link.connection == connection && link.object == object);
        Ok(links)
    }
    /// The external ids of an object's links that are neither gone nor ignored, in bytewise order, after an id. At most `limit`.
    async fn linked_ids(
        &self,
        connection: &str,
        object: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, LedgerError>;
    /// Records of a kind that have one of the keys and are not deleted, but for those that were merged into another one:
    /// (key, record), ordered by key then record.
    async fn matching(&self, kind: Kind, keys: &[MatchKey])
    -> Result<Vec<(MatchKey, RecordId)>, LedgerError>;
    /// One page of records of a kind, by id, after an id; newest last. At most `limit`.
    async fn list_records(
        &self,
        kind: Kind,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError>;
    /// The history of a record, oldest version first, within a version as it was written.
    async fn history(&self, id: RecordId) -> Result<Vec<Change>, LedgerError>;
    /// Writes a page or a batch: all of it or nothing. Refused as [`LedgerError::Stale`] with the ids of all records that
    /// are not at the version they were read at (or exist, when they were read at 0), whose conflicts were closed or
    /// opened meanwhile, or that came under a key that was [`SyncCommit::sought`], and as [`LedgerError::LeaseLost`].
    async fn commit(&self, commit: SyncCommit) -> Result<(), LedgerError>;
    /// Pushes owed to an object of a connection that are due, oldest due first. At most `limit`.
    async fn pushes(
        &self,
        connection: &str,
        object: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Push>, LedgerError>;
    /// Pushes owed to an object of a connection, due or not, in the order of their records, after a record. At most
    /// `limit`.
    async fn all_pushes(
        &self,
        connection: &str,
        object: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Push>, LedgerError>;
    /// What was written of records to an object of a connection without being heard of; records of which there is nothing
    /// are left out.
    async fn sent(
        &self,
        connection: &str,
        object: &str,
        records: &[RecordId],
    ) -> Result<Vec<(RecordId, Vec<Sent>)>, LedgerError>;
    /// Where the reading of an object stands.
    async fn cursor(&self, connection: &str, object: &str) -> Result<Option<Cursor>, LedgerError>;
    /// What is parked, oldest first. At most `limit`.
    async fn parked(&self, filter: &ParkedFilter, limit: usize) -> Result<Vec<Parked>, LedgerError>;
    /// Everything that is parked, by what it is about and by code, in the order of connection, object, way (inbound first),
    /// code and fields. Reads all that is parked.
    async fn parked_causes(&self) -> Result<Vec<ParkedCause>, LedgerError>;
}

/// One execution of a sync.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The connection.
    pub connection: String,
    /// The object.
    pub object: String,
    /// `pull` or `push`.
    pub direction: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; nothing while it goes on.
    pub ended_at: Option<Timestamp>,
    /// Counts by name: read, created, updated, unchanged, skipped, parked, written, …
    pub counts: Json,
    /// What stopped it, for a person; empty when nothing did.
    pub error: String,
}

/// How a connection stands with its system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The connection.
    pub connection: String,
    /// The account that its records belong to: the one that it was first used with. Nothing while it is not known.
    pub account: Option<String>,
    /// What stops it until a person has looked after it: `revoked`, `other_account`; empty when it may be used.
    pub code: String,
    /// The same for a person, with the fix; empty when it may be used.
    pub reason: String,
    /// Since when it stands so.
    pub since: Timestamp,
}

impl Standing {
    /// Whether it must not be used.
    pub fn is_stopped(&self) -> bool {
        !self.code.is_empty()
    }
}

/// A field that its system does not know any more: it is left out, so that the other fields flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The connection.
    pub connection: String,
    /// The object.
    pub object: String,
    /// The field, as the system named it.
    pub field: String,
    /// What the system said, for a person.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Work that the ledger knows of, whatever the queue remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Owed {
    /// Connection and object with pushes owed, and when the first of them is due.
    pub pushes: Vec<(String, String, Timestamp)>,
    /// Endpoints with deliveries to be sent, and when the first of them is due.
    pub endpoints: Vec<(String, Timestamp)>,
    /// Connection and object with inbound parked things to look at again, and when the first is.
    pub parked: Vec<(String, String, Timestamp)>,
}

/// Everything else.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// All work that is owed; its size is the number of endpoints and objects, not of rows.
    async fn owed(&self) -> Result<Owed, LedgerError>;
    /// How much waits at objects (connection, object), for endpoints, and for a person. Counts no more than `most` of each.
    async fn backlog(
        &self,
        objects: &[(String, String)],
        endpoints: &[String],
        most: usize,
    ) -> Result<Backlog, LedgerError>;
    /// Writes a run down; again with the same id to end it.
    async fn note_run(&self, run: &Run) -> Result<(), LedgerError>;
    /// Runs, newest first. At most `limit`.
    async fn runs(&self, limit: usize) -> Result<Vec<Run>, LedgerError>;
    /// Writes down how a connection stands; replaces what was written before.
    async fn note_standing(&self, standing: &Standing) -> Result<(), LedgerError>;
    /// How connections stand that were ever used, by name; of one only, if it is named.
    async fn standings(&self, connection: Option<&str>) -> Result<Vec<Standing>, LedgerError>;
    /// Puts a field into quarantine; one that is there already keeps its reason and its moment.
    async fn quarantine(&self, field: &Quarantined) -> Result<(), LedgerError>;
    /// Lets fields of an object out of quarantine.
    async fn release_fields(
        &self,
        connection: &str,
        object: &str,
        fields: &[String],
    ) -> Result<(), LedgerError>;
    /// Fields in quarantine, by connection, object and name; of one object only, if it is named.
    async fn quarantined(&self, of: Option<(&str, &str)>) -> Result<Vec<Quarantined>, LedgerError>;
    /// Keeps a small sealed value under a name (a connection's refresh token); it is opaque to the ledger.
    async fn keep_sealed(&self, name: &str, sealed: &[u8]) -> Result<(), LedgerError>;
    /// The sealed value of a name.
    async fn sealed(&self, name: &str) -> Result<Option<Vec<u8>>, LedgerError>;
    /// Answers when the database can be reached and written; it writes a row.
    async fn check(&self) -> Result<(), LedgerError>;
    /// Rows per table, for tests and for `status`.
    async fn row_counts(&self) -> Result<Vec<(String, u64)>, LedgerError>;
}

/// The whole contract.
pub trait Ledger:
    Leases
    + Records
    + Conflicts
    + Journeys
    + Journal
    + Deliveries
    + Disclosures
    + Endpoints
    + Feeds
    + Folds
    + Replays
    + Retention
    + Turns
    + Upkeep
{
}

impl<
    T: Leases
        + Records
        + Conflicts
        + Journeys
        + Journal
        + Deliveries
        + Disclosures
        + Endpoints
        + Feeds
        + Folds
        + Replays
        + Retention
        + Turns
        + Upkeep,
> Ledger for T
{
}
