//! From a record to what must be written.

use model::{Fields, RecordId, Value};
use serde_json::{Map, Value as Json};

use crate::create::{Refused, Writing, written_as};
use crate::get::{Read, Reading, ids};
use crate::lens::Codec;
use crate::line::{Direction, Line};
use crate::whole_name::joined;
use crate::wire::{WireField, blank, scalar};
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
    /// The wire field of the object that is to name it.
    pub object_field: String,
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
            object,
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
            let whole = line
                .family_name
                .map(|family_name| whole(fields, line.path, family_name, object));
            let known = match &whole {
                Some(whole) => whole.as_ref(),
                None => fields.get(line.path),
            };
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

/// The whole name of a person, where it is known: half of one says nothing of what stands there.
fn whole(fields: &Fields, first: &str, last: &str, object: Option<&Json>) -> Option<Value> {
    let known = [first, last].map(|path| fields.get(path));
    let enough = match object {
        Some(_) => known.iter().all(Option::is_some),
        None => known.iter().any(Option::is_some),
    };
    let [first, last] = [first, last].map(|path| fields.text(path).unwrap_or_default());
    enough.then(|| Value::text(joined(first, last)))
}

/// `put(v, s) = s if get(s) = v else create(v)`, for one line.
fn put(line: &Line, value: &Value, reading: Option<&Reading>, writing: &Writing, backward: &mut Backward) {
    // What cannot be read is no value that the record could agree with: it is written over as soon as the record has
    // something new to say. Until then it stays, for whoever wrote it to see and to mend.
    let found = reading.and_then(|reading| line.find(reading.object).ok().flatten());
    let held = found.as_deref();
    let held_blank = held.is_none_or(|held| line.blank(held));
    if value.is_blank() {
        let stands = line.blank.write.as_ref();
        // `[null]` and `;` are not blank, but read as nothing: they stay.
        let clear = match (reading, held.filter(|_| !held_blank)) {
            (Some(reading), Some(held)) => {
                let stays = makes_no_sense(line, held, reading) && writing.agrees(line, value);
                !stays && !reads_as(line, &Value::Null, held, reading)
            }
            (None, _) => stands.is_some(),
            _ => false,
        };
        if clear {
            for wire in cleared(line, reading) {
                backward
                    .values
                    .insert(wire.to_owned(), stands.cloned().unwrap_or(Json::Null));
            }
        }
        return;
    }
    if held_blank && held.is_some() && line.blank.read.as_ref() == Some(value) {
        return;
    }
    if let (Some(reading), Some(held)) = (reading, held.filter(|_| !held_blank))
        && holds(line, value, held, reading, writing)
    {
        return;
    }
    if let (Some(reading), Some(held)) = (reading, held.filter(|_| !held_blank))
        && makes_no_sense(line, held, reading)
        && writing.agrees(line, value)
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
                object_field: line.wire.name.to_string(),
                record,
                object,
            });
        }
    };
    // An amount may differ in its number, its currency or both, a name in either part, and an expression may make what
    // is there already: only what differs is written.
    let parted = created.second.is_some() || line.derived.is_some();
    let stands = |wire: &WireField, json: &Json| {
        let held = reading.and_then(|reading| wire.find(reading.object));
        held.map_or(line.derived.is_some() && blank(json), |held| {
            held == json || blank(held) && blank(json) || same_number(held, json)
        })
    };
    if !(parted && stands(&line.wire, &created.value)) {
        backward.values.insert(line.wire.name.to_string(), created.value);
    }
    if let (Some(second), Some(wire)) = (created.second, &line.second)
        && !stands(wire, &second)
    {
        backward.values.insert(wire.name.to_string(), second);
    }
}

/// The wire fields that clearing a line empties: a whole name stands in two, and a currency alone says nothing.
fn cleared<'l>(line: &'l Line, reading: Option<&Reading>) -> impl Iterator<Item = &'l str> {
    let last = line
        .second
        .as_ref()
        .filter(|_| matches!(line.lens.codec, Codec::WholeName));
    let filled = move |wire: &WireField| {
        let held = reading.and_then(|reading| wire.find(reading.object));
        !held.is_some_and(blank)
    };
    let filled: Vec<&str> = std::iter::once(&line.wire)
        .filter(|wire| last.is_none() || filled(wire))
        .chain(last.filter(|wire| filled(wire)))
        .map(|wire| &*wire.name)
        .collect();
    filled.into_iter()
}

/// Whether a wire value is read as a value. What an expression made is read by nobody.
fn reads_as(line: &Line, value: &Value, held: &Json, reading: &Reading) -> bool {
    line.derived.is_none() && matches!(reading.get(line, held, None), Read::Value(read) if read == *value)
}

/// Whether a wire value is none that a line could read.
fn makes_no_sense(line: &Line, held: &Json, reading: &Reading) -> bool {
    line.derived.is_none() && matches!(reading.get(line, held, None), Read::Invalid(_))
}

/// Whether the wire already holds the value.
fn holds(line: &Line, value: &Value, held: &Json, reading: &Reading, writing: &Writing) -> bool {
    if line.derived.is_none() && written_as(line, value, held) {
        return true;
    }
    // A name with a line break between its words is the same name.
    if let (true, Value::Text(name), Json::String(held)) = (line.family_name.is_some(), value, held)
        && name.split_whitespace().eq(held.split_whitespace())
    {
        return true;
    }
    if let (Codec::Reference { object, .. }, Value::Reference(record)) = (&line.lens.codec, value) {
        let has = |record: RecordId| {
            (writing.refer)(record, object).is_some_and(|id| ids(held).any(|held| held == id))
        };
        let agreed = writing
            .context
            .agreed
            .and_then(|agreed| agreed.get(line.path)?.as_reference());
        // Another one that is there as well may be what it says.
        return has(*record) && agreed.is_none_or(|agreed| agreed == *record || !has(agreed));
    }
    reads_as(line, value, held, reading)
}

fn same_number(a: &Json, b: &Json) -> bool {
    let number =
        |json: &Json| model::normalise::normalise(model::FieldType::Decimal, scalar(json)?, None).ok();
    number(a).is_some_and(|a| Some(a) == number(b))
}
