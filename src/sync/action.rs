//! Actions: what a person does with records, each one transaction and one row that can be undone.
//!
//! While an action is under way nothing of its kind of record is pulled or pushed: it says that it wants every object of it
//! to be *still*, so that nobody begins and who is at it ends with the page or batch at hand, and then holds the leases that
//! pulls and pushes need. Everything that it changed is in its row (`ledger::Action`), and
//! so [`Engine::undo`] can take it back, as long as no later action on the same records stands in the way.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use ledger::{
    Action, ActionFilter, Conflict, ConflictState, Lease, LedgerError, Link, Linked, Parked, PushMark,
    RecordWrite,
};
use model::{ActionId, BY_HAND, Kind, Provenance, Record, RecordId, RunId, stored, uuid_from};
use serde_json::Value as Json;

use crate::engine::{SyncError, still_key};
use crate::parked::READ_AGAIN;
use crate::{Engine, Report};

/// How long, in milliseconds, an action waits for the pages and batches that are under way.
const WAIT_MS_MAX: i64 = 20_000;
/// How long it waits, in milliseconds, before it asks again.
const WAIT_STEP_MS: u64 = 20;
/// Whether what a person did can be taken back.
pub fn can_be_undone(action: &Action) -> bool {
    action.undoes.is_none() && UNDOABLE.contains(&&*action.verb)
}

/// What can be undone.
const UNDOABLE: [&str; 4] = ["link", "unlink", "merge", "dismiss"];
/// Actions on a record that are looked through for one that stands in the way of undoing an older one.
const LATER_MAX: usize = 1_000;

/// One object at one connection, written `connection/object/id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectAt {
    /// The connection.
    pub connection: String,
    /// The system's own kind of record.
    pub object: String,
    /// The object's id.
    pub external_id: String,
}

impl ObjectAt {
    pub(crate) fn of(link: &Link) -> ObjectAt {
        ObjectAt {
            connection: link.connection.clone(),
            object: link.object.clone(),
            external_id: link.external_id.clone(),
        }
    }

    pub(crate) fn is_at(&self, link: &Link) -> bool {
        (link.connection.as_str(), link.object.as_str()) == (self.connection.as_str(), self.object.as_str())
    }
}

impl fmt::Display for ObjectAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.connection, self.object, self.external_id)
    }
}

/// Text that names no object.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no object of a system; write connection/object/id, as in crm/Account/0015g00000XyZ")]
pub struct NotAnObject(pub String);

impl FromStr for ObjectAt {
    type Err = NotAnObject;

    fn from_str(text: &str) -> Result<ObjectAt, NotAnObject> {
        match text.splitn(3, '/').collect::<Vec<_>>().as_slice() {
            [connection, object, id] if !connection.is_empty() && !object.is_empty() && !id.is_empty() => {
                Ok(ObjectAt {
                    connection: (*connection).to_owned(),
                    object: (*object).to_owned(),
                    external_id: (*id).to_owned(),
                })
            }
            _ => Err(NotAnObject(text.to_owned())),
        }
    }
}

/// Why an action was not done; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// What was asked for is not known.
    #[error("{0}")]
    Unknown(String),
    /// It cannot be done as things stand.
    #[error("{reason}")]
    Refused {
        /// The class of the reason: `linked_elsewhere`, `both_linked`, `changed_since`, …
        code: &'static str,
        /// The reason for a person, with what to do about it.
        reason: String,
    },
    /// A system or the ledger did not take it.
    #[error(transparent)]
    Sync(#[from] SyncError),
}

impl From<LedgerError> for ActionError {
    fn from(error: LedgerError) -> ActionError {
        match error {
            LedgerError::Undone(_) => refused("undone", error.to_string()),
            other => ActionError::Sync(other.into()),
        }
    }
}

pub(crate) fn refused(code: &'static str, reason: String) -> ActionError {
    ActionError::Refused { code, reason }
}

/// What an action came to.
#[derive(Debug)]
pub struct Done {
    /// Its row.
    pub action: Action,
    /// What a person should know of it, a sentence each.
    pub told: Vec<String>,
    /// What it makes worth looking at next.
    pub report: Report,
}

/// What is refused because somebody else holds the lease on `way:connection:object`.
fn busy(key: &str) -> ActionError {
    let mut parts = key.splitn(3, ':');
    let [way, connection, object] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let reason = match way {
        "pull" => format!("one page of {object} of {connection} is being read"),
        "push" => format!("one batch of {object} is being written to {connection}"),
        _ => format!("another action on {object} of {connection} is under way"),
    };
    let waited_s = WAIT_MS_MAX / 1_000;
    refused(
        "busy",
        format!("{reason} for more than {waited_s} s; try again in a moment"),
    )
}

/// The right to change records of some kinds, for a moment.
pub(crate) struct Held(Vec<Lease>);

impl Held {
    /// The lease under which an object is read.
    pub(crate) fn pulls(&self, connection: &str, object: &str) -> Option<&Lease> {
        let key = format!("pull:{connection}:{object}");
        self.0.iter().find(|lease| lease.key == key)
    }

    /// The one that fences a commit.
    pub(crate) fn first(&self) -> Option<Lease> {
        self.0.first().cloned()
    }
}

impl Engine {
    /// Takes an action back. Refused when it was undone before, when a later action on its records stands, or when what
    /// it changed has become something else since.
    pub async fn undo(&self, by: &str, id: ActionId) -> Result<Done, ActionError> {
        let filter = ActionFilter {
            id: Some(id),
            ..ActionFilter::default()
        };
        let found = self.ledger.actions(&filter, 1).await?.into_iter().next();
        let action = found.ok_or_else(|| ActionError::Unknown(format!("there is no action {id}")))?;
        if let Some(undone_by) = action.undone_by {
            return Err(refused(
                "undone",
                format!("{id} was undone already, by {undone_by}"),
            ));
        }
        if let Some(later) = self.standing_in_the_way(&action).await? {
            let reason = format!(
                "{} ({}, {}) came after it, on the same records; undo that first",
                later.id, later.verb, later.at
            );
            return Err(refused("later_action", reason));
        }
        match action.verb.as_str() {
            "link" => self.undo_link(by, &action).await,
            "unlink" => self.undo_unlink(by, &action).await,
            "dismiss" => self.undo_dismiss(by, &action).await,
            "merge" => self.unmerge(by, &action).await,
            "create" => Err(refused(
                "cannot_be_undone",
                "a new record may be at other systems by now; merge it into the one that it is instead, with \
                 `interconnect record merge`"
                    .to_owned(),
            )),
            "census" => Err(refused(
                "cannot_be_undone",
                "what was gone is read again when it is back".to_owned(),
            )),
            "resolve" => Err(refused(
                "cannot_be_undone",
                "what was decided is written; if it was wrong, change the value at one of the systems".to_owned(),
            )),
            _ => Err(refused(
                "cannot_be_undone",
                "undoing is not undone; do it again instead".to_owned(),
            )),
        }
    }

    /// The oldest later action on one of its records that stands, and that can be undone: of what cannot, such as deciding a
    /// conflict, what was said is kept.
    async fn standing_in_the_way(&self, action: &Action) -> Result<Option<Action>, LedgerError> {
        let mut later = Vec::new();
        for record in &action.records {
            let filter = ActionFilter {
                record: Some(*record),
                ..ActionFilter::default()
            };
            later.extend(self.ledger.actions(&filter, LATER_MAX).await?);
        }
        let stands = |other: &Action| other.undone_by.is_none() && UNDOABLE.contains(&&*other.verb);
        later.retain(|other| other.id > action.id && stands(other));
        Ok(later.into_iter().min_by_key(|other| other.id))
    }

    /// Holds everything of some kinds of records still. Waits for the pages and batches that are under way.
    pub(crate) async fn hold(&self, kinds: &[Kind]) -> Result<Held, ActionError> {
        let syncs = self.plan.syncs.iter().filter(|sync| kinds.contains(&sync.kind()));
        let places: BTreeSet<(&str, &str)> = syncs.map(|sync| (&*sync.connection, sync.object())).collect();
        let still = places
            .iter()
            .map(|(connection, object)| still_key(connection, object));
        let ways = places.iter().flat_map(|(connection, object)| {
            ["pull", "push"].map(|way| format!("{way}:{connection}:{object}"))
        });
        let keys: Vec<String> = still.chain(ways).collect();
        let mut held = Held(Vec::new());
        let until = self.in_ms(WAIT_MS_MAX);
        for key in keys {
            loop {
                match self.take(&key).await {
                    Ok(lease) => {
                        held.0.push(lease);
                        break;
                    }
                    Err(SyncError::Taken) if self.world.now() < until => {
                        self.world.sleep(WAIT_STEP_MS).await;
                    }
                    Err(error) => {
                        self.let_go(held).await?;
                        return Err(match error {
                            SyncError::Taken => busy(&key),
                            other => other.into(),
                        });
                    }
                }
            }
        }
        // Those taken first may be about to be over.
        for lease in &held.0 {
            if let Err(lost) = self.keep(lease).await {
                self.let_go(held).await?;
                return Err(lost.into());
            }
        }
        Ok(held)
    }

    pub(crate) async fn let_go(&self, held: Held) -> Result<(), LedgerError> {
        for lease in held.0 {
            self.ledger.release(&lease).await?;
        }
        Ok(())
    }

    /// A record that stands.
    pub(crate) async fn standing_record(&self, id: RecordId) -> Result<Record, ActionError> {
        let found = self.ledger.records(&[id]).await?.into_iter().next();
        let record = found.ok_or_else(|| ActionError::Unknown(format!("there is no record {id}")))?;
        if let Some(into) = record.merged_into {
            return Err(refused(
                "merged_away",
                format!("{id} was merged into {into}; name that one"),
            ));
        }
        if let Some(at) = record.deleted_at {
            return Err(refused("deleted", format!("{id} was deleted at {at}")));
        }
        Ok(record)
    }

    pub(crate) async fn linked_at(&self, at: &ObjectAt) -> Result<Option<Linked>, LedgerError> {
        let ids = [at.external_id.clone()];
        let linked = self.ledger.linked(&at.connection, &at.object, &ids).await?;
        Ok(linked.into_iter().next())
    }

    /// A note that an object is to be read again, at once, whoever reads next.
    pub(crate) fn read_again(&self, at: &ObjectAt, reason: &str) -> Parked {
        let now = self.world.now();
        Parked {
            connection: at.connection.clone(),
            object: at.object.clone(),
            key: at.external_id.clone(),
            inbound: true,
            code: READ_AGAIN.to_owned(),
            fields: Vec::new(),
            reason: reason.to_owned(),
            records: Vec::new(),
            since: now,
            retry_at: Some(now),
            waits_for: None,
        }
    }

    pub(crate) fn new_action(&self, by: &str, verb: &str, records: Vec<RecordId>, detail: Json) -> Action {
        let at = self.world.now();
        Action {
            id: ActionId::from_uuid(uuid_from(at, self.world.random())),
            at,
            by: by.to_owned(),
            verb: verb.to_owned(),
            records,
            detail,
            undoes: None,
            undone_by: None,
        }
    }

    /// The action that undoes one.
    pub(crate) fn undoing(&self, by: &str, undone: &Action) -> Action {
        let detail = serde_json::json!({"verb": undone.verb});
        Action {
            undoes: Some(undone.id),
            ..self.new_action(by, "undo", undone.records.clone(), detail)
        }
    }

    /// A record as it is, but for its version: whoever read it before reads it again.
    pub(crate) fn touched(&self, mut record: Record) -> RecordWrite {
        let read_version = record.version;
        record.version += 1;
        RecordWrite {
            match_keys: self.plan.rules.match_keys(record.kind(), &record.fields),
            changes: Vec::new(),
            read_version,
            record,
        }
    }

    /// A record that an action changed: its next version with its history. The record still has the version it was read
    /// at.
    pub(crate) fn changed_by(
        &self,
        action: &Action,
        mut record: Record,
        changes: &[model::merge::Change],
    ) -> RecordWrite {
        let read_version = record.version;
        record.version += 1;
        record.updated_at = action.at;
        let by = by_hand(action);
        let json = |value: Option<&model::Value>| value.map_or(Json::Null, model::stored::to_json);
        let changes = changes.iter().map(|change| {
            let said = record.provenance.get(change.path).unwrap_or(&by);
            ledger::Change {
                version: record.version,
                path: change.path.to_owned(),
                before: json(change.before.as_ref()),
                after: json(Some(&change.after)),
                reason: change.reason.word().to_owned(),
                connection: said.connection.clone(),
                external_id: said.external_id.clone(),
                changed_at: said.changed_at,
                committed_at: action.at,
                run: run_of(action),
                trace: trace_of(action),
            }
        });
        RecordWrite {
            changes: changes.collect(),
            match_keys: self.plan.rules.match_keys(record.kind(), &record.fields),
            read_version,
            record,
        }
    }

    /// The open conflicts of a record with the object of a link.
    pub(crate) async fn conflicts_at(&self, link: &Link) -> Result<Vec<Conflict>, LedgerError> {
        let mut open = self.ledger.open_conflicts(&[link.record]).await?;
        open.retain(|conflict| conflict.connection == link.connection && conflict.object == link.object);
        Ok(open)
    }

    /// What every system is owed of a record.
    pub(crate) fn owed_everywhere(&self, record: RecordId, due_at: Timestamp) -> Vec<PushMark> {
        let syncs = self.plan.owed(record.kind);
        let marks = syncs.map(|sync| PushMark {
            connection: sync.connection.clone(),
            object: sync.object().to_owned(),
            record,
            due_at,
        });
        marks.collect()
    }
}

/// Conflicts that end with an action: what they were about is something else from now on.
pub(crate) fn withdrawn(action: &Action, open: Vec<Conflict>) -> Vec<Conflict> {
    let closed = open.into_iter().map(|conflict| Conflict {
        revision: conflict.revision + 1,
        state: ConflictState::Withdrawn,
        closed_at: Some(action.at),
        closed_by: action.by.clone(),
        ..conflict
    });
    closed.collect()
}

/// A link of which nobody is asked about conflicts any more: in their fields, what was agreed on is what it was before they
/// were found. Who reads the object next finds them again, where they are still there.
pub(crate) fn undecided(link: &Link, open: &[Conflict]) -> Link {
    let mut link = link.clone();
    for conflict in open {
        let field = conflict.record.kind.field(&conflict.path);
        let agreed = field.and_then(|field| {
            let value = stored::from_json(field.field_type, &conflict.base)?;
            Some((field.path, value))
        });
        if let (Some(base), Some((path, value))) = (&mut link.base, agreed) {
            base.set(path, value);
        }
    }
    link
}

/// The run under which the history of an action stands: it has the action's own number.
pub(crate) fn run_of(action: &Action) -> RunId {
    RunId::from_uuid(action.id.uuid())
}

/// The trace under which everything stands that an action causes.
pub(crate) fn trace_of(action: &Action) -> String {
    action.id.uuid().simple().to_string()
}

/// Who said what nobody but a person said.
pub(crate) fn by_hand(action: &Action) -> Arc<Provenance> {
    Arc::new(Provenance {
        connection: BY_HAND.to_owned(),
        external_id: action.by.clone(),
        changed_at: action.at,
        observed_at: action.at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objects_id_may_have_slashes() {
        let at: ObjectAt = "erp/sale.order/Orders/7".parse().unwrap();
        assert_eq!(
            (at.object.as_str(), at.external_id.as_str()),
            ("sale.order", "Orders/7")
        );
        assert_eq!(at.to_string(), "erp/sale.order/Orders/7");
        for bad in ["erp", "erp/sale.order", "erp//7", "erp/sale.order/", ""] {
            assert_eq!(bad.parse::<ObjectAt>(), Err(NotAnObject(bad.to_owned())));
        }
    }
}
