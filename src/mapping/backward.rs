//! From a record to what must be written.

use model::{Fields, RecordId, Value};
use serde_json::{Map, Value as Json};

use crate::create::{Refer, Refused, Writing, written_as};
use crate::get::{Read, Reading, ids};
use crate::lens::Codec;
use crate::line::{Direction, Line};
use crate::wire::scalar;
use crate::{Context, Issue, Mapping};

/// What must be written so that an object agrees with a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backward {
    /// Values by wire field, only those that must change; null clears. For an object that does not exist yet: every
    /// value there is, and the mapping's constants.
    pub values: Map<String, Json>,
    /// Values that the system cannot hold.
    pub issues: Vec<Issue>,
    /// References to records that are not in the system yet.
    pub unresolved: Vec<Unreferred>,
}

/// A reference that cannot be written: the record has no object in the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreferred {
    /// The field of the record.
    pub path: &'static str,
    /// The record it refers to.
    pub record: RecordId,
    /// The object it should be, as the mapping names it.
    pub object: String,
}

impl Mapping {
    /// Says what to write.
    ///
    /// `object` is what the system holds, as last seen; without one everything is written that is known and not
    /// blank. A field that the record does not know is left alone. `refer` answers the id of a record at an object
    /// (by the name in the mapping).
    pub fn backward(
        &self,
        fields: &Fields,
        object: Option<&Json>,
        context: Context<'_>,
        refer: &dyn Fn(RecordId, &str) -> Option<String>,
    ) -> Backward {
        let writing = Writing {
            lines: &self.lines,
            fields,
            context,
            refer,
        };
        let reading = object.map(|object| Reading {
            lines: &self.lines,
            object,
            base: None,
            context,
            resolve: &|_, _| None,
        });
        let mut backward = Backward::default();
        for line in self.lines.iter().filter(|line| line.writes()) {
            if line.direction == Direction::Create && object.is_some() {
                continue;
            }
            // A new object needs what stands for blank even where the record knows nothing.
            let known = fields.get(line.path);
            let unknown = line
                .blank
                .write
                .as_ref()
                .filter(|_| object.is_none())
                .map(|_| &Value::Null);
            if let Some(value) = known.or(unknown) {
                put(line, value, reading.as_ref(), &writing, &mut backward);
            }
        }
        if object.is_none() {
            backward.values.extend(
                self.constants
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        }
        backward
    }

    /// Whether there is nothing to write.
    pub fn agree(
        &self,
        fields: &Fields,
        object: &Json,
        context: Context<'_>,
        refer: &dyn Fn(RecordId, &str) -> Option<String>,
    ) -> bool {
        self.backward(fields, Some(object), context, refer)
            .values
            .is_empty()
    }
}

/// `put(v, s) = s if get(s) = v else create(v)`, for one line.
fn put(line: &Line, value: &Value, reading: Option<&Reading>, writing: &Writing, backward: &mut Backward) {
    let held = reading.and_then(|reading| line.wire.find(reading.object));
    let held_blank = held.is_none_or(|held| line.blank(held));
    if value.is_blank() {
        let stands = line.blank.write.as_ref();
        // `[null]` and `;` are not blank, but read as nothing: they stay.
        let clear = match (reading, held.filter(|_| !held_blank)) {
            (Some(reading), Some(held)) => !matches!(reading.get(line, held, None), Read::Value(Value::Null)),
            (None, _) => stands.is_some(),
            _ => false,
        };
        if clear {
            backward
                .values
                .insert(line.wire.name.to_string(), stands.cloned().unwrap_or(Json::Null));
        }
        return;
    }
    if held_blank && held.is_some() && line.blank.read.as_ref() == Some(value) {
        return;
    }
    if let (Some(reading), Some(held)) = (reading, held.filter(|_| !held_blank))
        && holds(line, value, held, reading, writing.refer)
    {
        return;
    }
    let created = match writing.create(line, value) {
        Ok(created) => created,
        Err(Refused::Invalid(invalid)) => return backward.issues.push(line.issue(invalid)),
        Err(Refused::Unreferred(record)) => {
            let object = line.lens.refers_to().unwrap_or_default().to_owned();
            return backward.unresolved.push(Unreferred {
                path: line.path,
                record,
                object,
            });
        }
    };
    // An amount may differ in its number, its currency or both; only what differs is written.
    let same_amount =
        created.currency.is_some() && held.is_some_and(|held| same_number(held, &created.value));
    if !same_amount {
        backward.values.insert(line.wire.name.to_string(), created.value);
    }
    if let (Some(code), Some(wire)) = (created.currency, &line.currency) {
        let held = reading.and_then(|reading| wire.find(reading.object));
        if held != Some(&code) {
            backward.values.insert(wire.name.to_string(), code);
        }
    }
}

/// Whether the wire already holds the value.
fn holds(line: &Line, value: &Value, held: &Json, reading: &Reading, refer: Refer) -> bool {
    if written_as(line, value, held) {
        return true;
    }
    if let (Codec::Reference { object, .. }, Value::Reference(record)) = (&line.lens.codec, value) {
        return refer(*record, object).is_some_and(|id| ids(held).any(|held| held == id));
    }
    matches!(reading.get(line, held, None), Read::Value(read) if read == *value)
}

fn same_number(a: &Json, b: &Json) -> bool {
    let number =
        |json: &Json| model::normalise::normalise(model::FieldType::Decimal, scalar(json)?, None).ok();
    number(a).is_some_and(|a| Some(a) == number(b))
}
