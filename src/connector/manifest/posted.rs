//! Objects that are cut from what partners post.

use diagnostic::{Fields, Node, Report};

use super::object::{Object, json_map};
use super::reader::Reader;

/// What the expressions of a posted object may use: `source` is the partner that posted the event.
const NAMES: [&str; 3] = ["object", "vars", "source"];
/// What only helps to call a system.
const CALLS: [&str; 7] = [
    "connection",
    "limits",
    "errors",
    "record_errors",
    "fields",
    "webhooks",
    "stream",
];

/// Reads one object of a posted connector.
pub(super) fn one(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Object> {
    let mut fields = Fields::open(node, "a posted object", reader.source, report)?;
    let vars = json_map(fields.map("vars", report));
    let id = reader.program("id", &mut fields, &NAMES, report);
    let mut optional = |key, report: &mut Report| reader.optional_program(key, &mut fields, &NAMES, report);
    let modified = optional("modified", report);
    let deleted = optional("deleted", report);
    let values = optional("values", report);
    let record = optional("record", report);
    fields.finish(report);
    let mut object = Object::of(id?);
    object.vars = vars;
    object.modified = modified;
    object.deleted = deleted;
    object.values = values;
    object.record = record;
    Some(object)
}

/// Notes what a posted connector says of calls.
pub(super) fn without_calls(reader: &Reader<'_>, root: &mut Fields<'_>, report: &mut Report) {
    let said = CALLS.iter().filter(|key| root.optional(key).is_some());
    let said: Vec<String> = said.map(|key| format!("`{key}`")).collect();
    if !said.is_empty() {
        let said = said.join(", ");
        report.error(
            "IC0212",
            reader.source,
            root.key_place("posted").unwrap_or(root.place()),
            format!("nobody is called where objects are posted, and the manifest says {said}"),
            format!("take out {said}, or `posted`"),
        );
    }
}
