//! [`Mapped`]: which fields of the record and of the object a mapping has a line for.

use crate::Mapping;
use crate::line::Line;

/// One line of a mapping, without its lens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped<'a> {
    /// The field of the record.
    pub path: &'static str,
    /// The wire fields of the object: one, and for an amount that of its currency.
    pub wire: Vec<&'a str>,
    /// Whether the line is read.
    pub reads: bool,
    /// Whether the line is written.
    pub writes: bool,
}

impl Mapping {
    /// The lines, in the order of the record's paths.
    pub fn mapped(&self) -> impl Iterator<Item = Mapped<'_>> {
        self.lines.iter().map(|line: &Line| Mapped {
            path: line.path,
            wire: line.wire_names().collect(),
            reads: line.reads(),
            writes: line.writes(),
        })
    }

    /// The wire fields that a field of the record is read from and written to; none, if the mapping has no line for it.
    pub fn wire_fields(&self, path: &str) -> impl Iterator<Item = &str> {
        let line = self.lines.iter().find(|line| line.path == path);
        line.into_iter().flat_map(Line::wire_names)
    }
}
