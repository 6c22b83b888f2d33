//! From an object to a record.

use model::{Fields, RecordId};
use serde_json::Value as Json;

use crate::get::{Read, Reading};
use crate::{Context, Issue, Mapping};

/// What an object says about a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// A value, or blank, for each mapped field that the object carries. What the object does not carry, what does not
    /// fit and what refers to nobody we know is not in here: it is not known.
    pub fields: Fields,
    /// Values that do not fit.
    pub issues: Vec<Issue>,
    /// Foreign ids that nobody knows yet.
    pub unresolved: Vec<Unresolved>,
}

/// A foreign id without a record: the object it names has not been linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The field of the record.
    pub path: &'static str,
    /// The wire field of the object that names it.
    pub object_field: String,
    /// The object that the id belongs to, as the mapping names it.
    pub object: String,
    /// The id.
    pub external_id: String,
}

impl Forward {
    /// What names nobody who is known, and named the same `before`, is what was `seen` then: who it was may be gone for
    /// long, and the object says nothing new.
    pub fn as_seen(&mut self, before: &[Unresolved], seen: &Fields) {
        let fields = &mut self.fields;
        self.unresolved.retain(|missing| match seen.get(missing.path) {
            Some(value) if before.contains(missing) => {
                fields.set(missing.path, value.clone());
                false
            }
            _ => true,
        });
    }
}

impl Mapping {
    /// Reads an object.
    ///
    /// `base` is what record and object last agreed on: where the object still holds what the base is written as, the
    /// value is the base's. `resolve` answers which record an object (by the name in the mapping) and id is linked to.
    pub fn forward(
        &self,
        object: &Json,
        base: Option<&Fields>,
        context: Context<'_>,
        resolve: &dyn Fn(&str, &str) -> Option<RecordId>,
    ) -> Forward {
        let reading = Reading {
            lines: &self.lines,
            object,
            base,
            context,
            resolve,
        };
        let mut issues = Vec::new();
        let mut unresolved = Vec::new();
        // Lines are in the order of paths: the fields are built in one go, out of one allocation.
        let mut values = Vec::with_capacity(self.lines.len());
        for line in self.lines.iter().filter(|line| line.reads()) {
            match reading.read(line) {
                Read::Value(value) => values.push((line.path, value)),
                Read::Unknown => {}
                Read::Invalid(invalid) => issues.push(line.issue(invalid)),
                Read::Unresolved(external_id) => {
                    let object = line.lens.refers_to().unwrap_or_default().to_owned();
                    unresolved.push(Unresolved {
                        path: line.path,
                        object_field: line.wire.name.to_string(),
                        object,
                        external_id,
                    });
                }
            }
        }
        Forward {
            fields: values.into_iter().collect(),
            issues,
            unresolved,
        }
    }
}
