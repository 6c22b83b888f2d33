//! [`Seen`]: what is known of an object that says the same as before.

use model::RecordId;
use serde_json::Value as Json;

use crate::Link;

/// What an object said when it was last seen, and both sides had agreed on what it says: when it says the same, there is
/// nothing to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The object's id.
    pub external_id: String,
    /// The record that it belongs to.
    pub record: RecordId,
    /// The mapped fields as they were last seen there; see [`Link::wire`].
    pub wire: Json,
    /// The version that the next write names; see [`Link::external_version`].
    pub external_version: Option<String>,
}

impl Seen {
    /// What a link tells of it; nothing where the object is gone or left alone, or nothing was agreed on yet.
    pub(crate) fn of(link: Link) -> Option<Seen> {
        if link.base.is_none() || link.gone || link.ignored {
            return None;
        }
        Some(Seen {
            external_id: link.external_id,
            record: link.record,
            wire: link.wire?,
            external_version: link.external_version,
        })
    }
}
