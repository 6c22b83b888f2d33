//! [`Record`], its [`Fields`] and where each came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::{Kind, RecordId, Value};

/// Values by path. A path that is not there is not known; a path that is [`Value::Null`] is known to be blank.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(
    // In the order of the paths: there are few, and they are mostly read and written in that order.
    Vec<(&'static str, Value)>,
);

impl Fields {
    /// No fields.
    pub fn new() -> Fields {
        Fields::default()
    }

    /// No fields yet, with room for so many.
    pub fn with_capacity(fields: usize) -> Fields {
        Fields(Vec::with_capacity(fields))
    }

    /// Where a path stands, or where it would.
    fn place(&self, path: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (*known).cmp(path))
    }

    /// The value at a path, if it is known.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.place(path).ok().map(|at| &self.0[at].1)
    }

    /// The value at a path if it is known and not blank.
    pub fn filled(&self, path: &str) -> Option<&Value> {
        self.get(path).filter(|value| !value.is_blank())
    }

    /// The text at a path, if there is any.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path).and_then(Value::as_text)
    }

    /// Sets a value. The path must be one of the kind's fields, see [`Kind::field`].
    pub fn set(&mut self, path: &'static str, value: Value) {
        if self.0.last().is_none_or(|(last, _)| *last < path) {
            return self.0.push((path, value));
        }
        match self.place(path) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (path, value)),
        }
    }

    /// Forgets a value.
    pub fn remove(&mut self, path: &str) -> Option<Value> {
        let at = self.place(path).ok()?;
        Some(self.0.remove(at).1)
    }

    /// All known values in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(path, value)| (*path, value))
    }

    /// How many values are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(&'static str, Value)> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'static str, Value)>>(values: I) -> Fields {
        let mut fields = Fields::new();
        for (path, value) in values {
            fields.set(path, value);
        }
        fields
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// In place of a connection's name, where a person said a value; the object's id is the person's name then. No connection
/// can be called so: their names have no underscores.
pub const BY_HAND: &str = "by_hand";

/// Which connection said a value, and when; or which person, see [`BY_HAND`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The connection's name.
    pub connection: String,
    /// The object's id there.
    pub external_id: String,
    /// When the object was changed there; the moment we saw it when the system does not say.
    pub changed_at: Timestamp,
    /// When we saw it.
    pub observed_at: Timestamp,
}

/// A canonical partner, lead or deal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its id; says its kind.
    pub id: RecordId,
    /// Counts changes, from 1; a write that was made against an older version is refused.
    pub version: u64,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted; the row stays as a tombstone.
    pub deleted_at: Option<Timestamp>,
    /// The record of the same kind that stands for it since a person made the two one; it is deleted then, too.
    pub merged_into: Option<RecordId>,
    /// Its values; blank ones are kept as [`Value::Null`], so that a cleared field is known to be clear.
    pub fields: Fields,
    /// Who said each value; one entry for each path in `fields`. Values that came together share theirs.
    pub provenance: BTreeMap<&'static str, Arc<Provenance>>,
}

impl Record {
    /// The record's kind.
    pub fn kind(&self) -> Kind {
        self.id.kind
    }

    /// A record that does not exist yet: version 0, no fields.
    pub fn empty(id: RecordId, at: Timestamp) -> Record {
        Record {
            id,
            version: 0,
            created_at: at,
            updated_at: at,
            deleted_at: None,
            merged_into: None,
            fields: Fields::new(),
            provenance: BTreeMap::new(),
        }
    }

    /// Paths of required fields that are missing or blank.
    pub fn missing(&self) -> Vec<&'static str> {
        let required = self.kind().fields().filter(|field| field.required);
        required
            .filter(|field| self.fields.filled(field.path).is_none())
            .map(|field| field.path)
            .collect()
    }
}
