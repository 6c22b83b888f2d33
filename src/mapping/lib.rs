//! Two-way mappings between a system's object and a record.
//!
//! A [`Mapping`] is a file (`mappings/<system>/<record>.yaml`) compiled to a flat table: one *line* for each field
//! of the record, with the *wire fields* of the object that hold it and a *lens* that says how they are written there.
//! [`Mapping::forward`] reads an object, [`Mapping::backward`] says what must be written so that an object agrees
//! with a record, [`Mapping::explain`] shows both field by field, [`Mapping::lint`] runs the file's own examples and
//! the laws.
//!
//! Each line is a lens: `get` from the wire to the record, `create` from the record to the wire. The engine never
//! writes more than it must: `put(v, s) = s if get(s) = v else create(v)`. A system may be coarser than a record (two
//! stages share one word, a name is cut at 120 characters), so `get` looks at the *base*, which both sides last
//! agreed on: while the wire still holds what the base is written as, the value stays the base.
//! From this follow the laws that `lint` checks with generated values:
//! GetPut (what was just read is never written back), CreateGet (what was written reads as what it was, relative to
//! the base), PutGet (the same over an object that held something else), and that writing again writes nothing.
//!
//! A line may go one way only, by an expression (`jq`), of which nobody can say what undoes it; the laws speak of the
//! others.
//!
//! Promised: any JSON is answered, never a panic; numbers keep every digit; a value that does not fit is an
//! [`Issue`] beside the other values, not an error; text is always trimmed and blank text is blank.
//! A wire field that the object does not carry is *not known*: it is left out, which is not the same as blank.
//! Not here: HTTP, where ids come from, and who wins when two sides changed. No clock, no randomness.

mod backward;
mod compile;
mod condition;
mod coverage;
mod create;
mod derived;
mod entry;
mod example;
mod explain;
mod forward;
mod get;
mod laws;
mod lens;
mod line;
mod lint;
mod live;
mod relation;
mod spelling;
mod steps;
mod suggest;
#[cfg(test)]
mod tests;
mod together;
mod vocabulary;
mod whole_name;
mod wire;

use diagnostic::{Place, Report, Source};
use model::{Currency, Fields, Invalid, Kind};
use serde_json::{Map, Value as Json};

pub use backward::{Backward, Unreferred};
pub use coverage::Mapped;
pub use explain::{Explained, Written};
pub use forward::{Forward, Unresolved};
pub use laws::{RECORDS as LAW_RECORDS, context as example_context};
pub use live::LiveField;
pub use suggest::{Candidate, Suggestion, suggestions};
pub use vocabulary::STEPS;

/// A mapping file, compiled. Cheap to share between threads.
pub struct Mapping {
    source: Source,
    system: String,
    object: String,
    kind: Kind,
    when: Option<condition::Condition>,
    /// In the order of their paths, which is the order in which [`model::Fields`] keep them.
    lines: Vec<line::Line>,
    constants: Map<String, Json>,
    examples: Vec<example::Example>,
    object_fields: Vec<String>,
    /// Where `fields:` stands, for findings about all lines together.
    fields_place: Place,
}

/// What the connection knows that the object does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// The currency of amounts whose object has no currency.
    pub currency: Option<Currency>,
    /// The country (ISO 3166-1 alpha-2) of phone numbers without country code, when the object names none.
    pub country: Option<&'a str>,
    /// What both sides last agreed on. Of several references that an object has, the agreed one is what it says; what it
    /// holds that makes no sense stays while the record has what was agreed on.
    pub agreed: Option<&'a Fields>,
}

/// A value that does not fit: which field of the record, from or to which wire field, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` and `{object_field}`: {invalid}")]
pub struct Issue {
    /// The field of the record.
    pub path: &'static str,
    /// The wire field of the object.
    pub object_field: String,
    /// What was found and what would have been right.
    pub invalid: Invalid,
}

impl Mapping {
    /// Reads a mapping file; notes everything that is wrong with it and returns nothing when that is an error.
    pub fn compile(source: &Source, report: &mut Report) -> Option<Mapping> {
        compile::compile(source, report)
    }

    /// A number that is another one when the mapping was changed ([`Source::fingerprint`]).
    pub fn fingerprint(&self) -> u64 {
        self.source.fingerprint()
    }

    /// The system, as its connector is named.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The system's object, as its connector names it.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The kind of record.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The wire fields that must be read for this mapping, each once, in alphabetical order. A dotted name walks into
    /// the object (`Account.Name`), unless the object has a key of the whole name.
    pub fn object_fields(&self) -> &[String] {
        &self.object_fields
    }

    /// The other objects that this mapping refers to, and the kind of record each is linked to.
    pub fn references(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.lines
            .iter()
            .filter_map(|line| line.lens.refers_to().zip(line.refers_to_kind()))
    }

    /// Whether a line has an expression of its own (`jq`).
    pub fn computes(&self) -> bool {
        self.lines.iter().any(|line| line.derived.is_some())
    }

    /// Whether an object that is not linked yet belongs to this mapping (`when`). A condition that cannot be
    /// answered, for example because it asks too much, is not fulfilled.
    pub fn admits(&self, object: &Json) -> bool {
        self.when.as_ref().is_none_or(|when| when.holds(object))
    }
}
