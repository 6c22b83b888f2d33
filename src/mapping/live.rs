//! A mapping against the fields that a live system has: what no file alone can tell.

use diagnostic::{Place, Report, suggestion};
use serde_json::Value as Json;

use crate::Mapping;
use crate::lens::Codec;
use crate::line::Line;
use crate::relation::Relation;
use crate::wire::scalar;

/// A field of an object as its system describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveField {
    /// Its name on the wire.
    pub name: String,
    /// The values that it may have; empty when any value is good.
    pub options: Vec<String>,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether an object must have a value in it.
    pub required: bool,
}

impl Mapping {
    /// Holds the mapping against the fields that its object has at a system.
    ///
    /// Dotted wire fields are passed over: systems list what they walk into under other names.
    pub fn against(&self, fields: &[LiveField]) -> Report {
        let mut report = Report::new();
        for line in &self.lines {
            for name in line.wire_names().filter(|name| !name.contains('.')) {
                match fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)) {
                    Some(field) => self.fits(line, name, field, &mut report),
                    None => {
                        let message = format!("`{}` has no field `{name}`, or does not show it", self.object);
                        let hint = suggestion(name, fields.iter().map(|field| field.name.as_str()));
                        report.error("IC0330", &self.source, line.place, message, hint);
                    }
                }
            }
        }
        self.demanded(fields, &mut report);
        report
    }

    fn fits(&self, line: &Line, name: &str, field: &LiveField, report: &mut Report) {
        if line.writes() && !field.writable {
            let message = format!("`{name}` cannot be written");
            report.error("IC0331", &self.source, line.place, message, "add `direction: in`");
        }
        let relation = match &line.lens.codec {
            Codec::Relation(relation)
            | Codec::List {
                relation: Some(relation),
                ..
            } => relation,
            _ => return,
        };
        if field.options.is_empty() || *line.wire.name != *name {
            return;
        }
        for value in values(relation).filter(|value| !field.options.iter().any(|option| option == value)) {
            let message = format!("`{value}` is not an option of `{name}`");
            let hint = suggestion(value, field.options.iter().map(String::as_str));
            report.error("IC0332", &self.source, line.place, message, hint);
        }
        let unread = |option: &&String| !values(relation).any(|value| value == option.as_str());
        let unread: Vec<&str> = field.options.iter().filter(unread).map(String::as_str).collect();
        if line.reads() && !unread.is_empty() {
            let message = format!(
                "options of `{name}` that no word is read from: {}",
                unread.join(", ")
            );
            let hint = "objects that have one are parked: add it to a word's list";
            report.warning("IC0333", &self.source, line.place, message, hint);
        }
    }

    /// What an object must have, and nothing writes.
    fn demanded(&self, fields: &[LiveField], report: &mut Report) {
        let written = |name: &str| {
            let by_line = self
                .lines
                .iter()
                .filter(|line| line.writes())
                .any(|line| line.wire_names().any(|wire| wire.eq_ignore_ascii_case(name)));
            by_line || self.constants.keys().any(|key| key.eq_ignore_ascii_case(name))
        };
        let lacking = fields
            .iter()
            .filter(|field| field.required && field.writable && !written(&field.name));
        let lacking: Vec<&str> = lacking.map(|field| field.name.as_str()).collect();
        if !lacking.is_empty() {
            let message = format!(
                "`{}` demands what nothing writes: {}",
                self.object,
                lacking.join(", ")
            );
            let hint = "map it, give it a value in `constants`, or let the system fill it in";
            report.warning("IC0334", &self.source, self.whole(), message, hint);
        }
    }

    fn whole(&self) -> Place {
        self.fields_place
    }
}

fn values(relation: &Relation) -> impl Iterator<Item = &str> {
    let all = relation.0.iter().flat_map(|(_, values)| values);
    all.filter_map(|value: &Json| scalar(value))
}
