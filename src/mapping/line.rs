//! [`Line`]: one row of a compiled mapping.

use std::borrow::Cow;

use diagnostic::Place;
use model::{FieldType, Invalid, Kind, Value};
use serde_json::Value as Json;

use crate::Issue;
use crate::derived::Derived;
use crate::lens::{Codec, Lens};
use crate::whole_name::joined;
use crate::wire::{WireField, blank, scalar, text};

/// One field of the record, its wire fields and the lens between them.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) path: &'static str,
    pub(crate) field_type: FieldType,
    /// Where the value stands on the wire.
    pub(crate) wire: WireField,
    /// The second wire field: the currency of an amount, the family name of a whole name.
    pub(crate) second: Option<WireField>,
    /// The family name of a person whose whole name is written; `path` is the given name.
    pub(crate) family_name: Option<&'static str>,
    /// The expression that computes the value, one way.
    pub(crate) derived: Option<Derived>,
    pub(crate) direction: Direction,
    pub(crate) lens: Lens,
    pub(crate) blank: Blank,
    /// The system may hold less than the record does; what it lacks is remembered.
    pub(crate) coarse: bool,
    /// Where the line stands in the file.
    pub(crate) place: Place,
}

/// What blank means for a line, where it is not simply blank on both sides.
#[derive(Debug, Default)]
pub(crate) struct Blank {
    /// What a blank wire is read as; for fields that every record has and some objects leave blank.
    pub(crate) read: Option<Value>,
    /// What stands for blank on the wire, in systems that demand a value.
    pub(crate) write: Option<Json>,
    /// A blank wire says nothing; for values that are derived from a field that means something else.
    pub(crate) ignore: bool,
}

/// Which way a line is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the system only.
    In,
    /// To the system only.
    Out,
    /// To the system only, and only with an object that is being created.
    Create,
    Both,
}

impl Line {
    pub(crate) fn reads(&self) -> bool {
        matches!(self.direction, Direction::In | Direction::Both)
    }

    pub(crate) fn writes(&self) -> bool {
        self.direction != Direction::In
    }

    /// Whether a wire value says nothing, or is what stands for nothing.
    pub(crate) fn blank(&self, wire: &Json) -> bool {
        let stands = |json: &Json| {
            scalar(json).is_some() && scalar(json).map(str::trim) == scalar(wire).map(str::trim)
        };
        blank(wire) || self.blank.write.as_ref().is_some_and(stands)
    }

    /// The names of its wire fields.
    pub(crate) fn wire_names(&self) -> impl Iterator<Item = &str> {
        self.wires().map(|wire| &*wire.name)
    }

    /// Its wire fields.
    pub(crate) fn wires(&self) -> impl Iterator<Item = &WireField> {
        let derived = self.derived.iter().flat_map(|derived| &derived.inputs).skip(1);
        std::iter::once(&self.wire).chain(&self.second).chain(derived)
    }

    /// What the object holds for this line; nothing when it does not carry it.
    pub(crate) fn find<'o>(&self, object: &'o Json) -> Result<Option<Cow<'o, Json>>, Invalid> {
        if let Some(derived) = self.derived.as_ref().filter(|_| self.reads()) {
            return Ok(derived.read(object)?.map(Cow::Owned));
        }
        let first = self.wire.find(object);
        match (&self.lens.codec, &self.second) {
            (Codec::WholeName, Some(last)) => match (first, last.find(object)) {
                (Some(first), Some(last)) => {
                    let whole = joined(part(first)?, part(last)?);
                    Ok(Some(Cow::Owned(Json::String(whole))))
                }
                _ => Ok(None),
            },
            _ => Ok(first.map(Cow::Borrowed)),
        }
    }

    pub(crate) fn refers_to_kind(&self) -> Option<Kind> {
        match self.field_type {
            FieldType::Reference(kind) => Some(kind),
            _ => None,
        }
    }

    pub(crate) fn issue(&self, invalid: Invalid) -> Issue {
        Issue {
            path: self.path,
            object_field: self.wire.name.to_string(),
            invalid,
        }
    }
}

/// A part of a name as text, blank where it is.
pub(crate) fn part(wire: &Json) -> Result<&str, Invalid> {
    if blank(wire) { Ok("") } else { text(wire) }
}
