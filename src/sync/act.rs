//! [`Act`]: what can be asked for, in one word and its arguments.

use model::{ActionId, RecordId};

use crate::action::{ActionError, Done, ObjectAt};
use crate::{Engine, Settle};

/// Something that a person wants done.
#[derive(Clone, Debug)]
pub enum Act {
    /// Make an object a record's; take it from another one if it has it, when `moved`.
    Link {
        /// The record.
        record: RecordId,
        /// The object.
        at: ObjectAt,
        /// Whether the object may be taken from another record.
        moved: bool,
    },
    /// Take an object away from its record.
    Unlink {
        /// The record.
        record: RecordId,
        /// The connection.
        connection: String,
        /// The object's kind; the only one there when it is not said.
        object: Option<String>,
        /// Whether the object is left alone from now on.
        ignore: bool,
    },
    /// Make two records one.
    Merge {
        /// The record that stands for both.
        keep: RecordId,
        /// The record that becomes it.
        lose: RecordId,
        /// Where both have an object: those that stay.
        stay: Vec<ObjectAt>,
    },
    /// Make a record its own again that was merged.
    Unmerge(RecordId),
    /// Take an action back.
    Undo(ActionId),
    /// Settle a review.
    Decide(ObjectAt, Settle),
}

impl Engine {
    /// Does it.
    pub async fn act(&self, by: &str, act: &Act) -> Result<Done, ActionError> {
        match act {
            Act::Link { record, at, moved } => self.link(by, *record, at, *moved).await,
            Act::Unlink {
                record,
                connection,
                object,
                ignore,
            } => {
                self.unlink(by, *record, connection, object.as_deref(), *ignore)
                    .await
            }
            Act::Merge { keep, lose, stay } => self.merge(by, *keep, *lose, stay).await,
            Act::Unmerge(record) => self.unmerge_record(by, *record).await,
            Act::Undo(action) => self.undo(by, *action).await,
            Act::Decide(at, settle) => self.decide(by, at, settle).await,
        }
    }
}
