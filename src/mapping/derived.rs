//! [`Derived`]: a one-way line whose value an expression computes (`jq:`).
//!
//! Read, an expression is given the object's fields that the line names, as one object, and makes the value that the
//! lens then reads. Written, it is given the record's value, as records are served, and makes the value of the object's
//! field. It goes one way only: nothing shows that two expressions undo each other.
//! Lines without an expression never come here, so what is not declared costs nothing.

use model::stored::to_json;
use model::{Invalid, Value};
use program::Program;
use serde_json::{Map, Value as Json};

use crate::wire::{WireField, shown};

/// Fields of an object that an expression may be given.
pub(crate) const INPUTS_MAX: usize = 16;

/// An expression and the fields of the object that it reads.
#[derive(Debug)]
pub(crate) struct Derived {
    pub(crate) program: Program,
    /// More than one only where it is read.
    pub(crate) inputs: Vec<WireField>,
}

impl Derived {
    /// What the object holds for the line; nothing when it does not carry one of the fields.
    pub(crate) fn read(&self, object: &Json) -> Result<Option<Json>, Invalid> {
        let mut input = Map::new();
        for wire in &self.inputs {
            let Some(found) = wire.find(object) else {
                return Ok(None);
            };
            wire.put(object, found.clone(), &mut input);
        }
        self.run(&Json::Object(input)).map(Some)
    }

    /// What a value, which is not blank, is written as; null where the expression makes nothing of it.
    pub(crate) fn write(&self, value: &Value) -> Result<Json, Invalid> {
        self.run(&to_json(value))
    }

    fn run(&self, input: &Json) -> Result<Json, Invalid> {
        let invalid = |expected: String| Invalid::new(&shown(input), expected);
        let mut made = self
            .program
            .run(input, &|_| None)
            .map_err(|error| invalid(format!("what the line's `jq` is for: {error}")))?;
        if made.len() > 1 {
            let name = self.program.name();
            return Err(invalid(format!(
                "what the line's `jq` is for: `{name}` makes {} values of it, and a field has one",
                made.len()
            )));
        }
        Ok(made.pop().unwrap_or_default())
    }
}
