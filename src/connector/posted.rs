//! Posted objects: nobody asks a system for them, because partners post what happens to them.
//!
//! A connector with `posted: true` says how an object is cut from an event, by the same expressions that read a row of an
//! answer: its id, when it changed, whether it is deleted, and the values that mappings read. They see the whole event, and
//! `$source`, the partner that posted it, so that the ids of several partners can be kept apart.
//! Which events are about which object is no business of the connector: the configuration says it.

use serde_json::{Value as Json, json};

use crate::connection::{Connection, Object};
use crate::failure::Failure;
use crate::lint::{Linter, Made};
use crate::names::scalar;

/// An object as an event tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// The object. What the event does not say of it is not in its body.
    pub object: Object,
    /// Which of our records it is, by our own id, where the event says that.
    pub record: Option<String>,
}

impl Connection {
    /// Cuts an object from an event that `source` posted.
    ///
    /// # Errors
    /// When an expression fails on the event, or it has no id for the object; the text quotes nothing of the event beyond
    /// what [`program::RunError`] does.
    pub fn posted(&self, object: &str, source: &str, event: &Json) -> Result<Posted, Failure> {
        let (kind, names) = self.object(object)?;
        let names = names.with("source", source);
        let cut = self.one(kind, None, &names, event.clone())?;
        let record = match &kind.record {
            Some(program) => scalar(&program.one(event, &|name| names.get(name))?),
            None => None,
        };
        Ok(Posted { object: cut, record })
    }
}

impl Linter {
    /// What is cut from the event of a sample; its `source` says who posted it.
    pub(crate) fn posted(&self, object: &str, source: &str, event: &Json) -> Made {
        let (kind, names) = self.object(object)?;
        let names = names.with("source", source);
        let mut made = json!({});
        for (name, program) in [
            ("id", Some(&kind.id)),
            ("modified", kind.modified.as_ref()),
            ("deleted", kind.deleted.as_ref()),
            ("record", kind.record.as_ref()),
            ("body", kind.values.as_ref()),
        ] {
            if let Some(program) = program {
                made[name] = self.first(program, event, &names)?;
            }
        }
        let cut = self.connection.posted(object, source, event);
        let cut = cut.map_err(|failure| failure.detail)?;
        if cut.object.modified.is_none() && made.get("modified").is_some_and(|at| !at.is_null()) {
            return Err(format!("`{}` is not a moment", made["modified"]));
        }
        made["body"] = cut.object.body;
        Ok(json!({"objects": [made]}))
    }
}
