//! What an endpoint may be told: `share`.

use diagnostic::{Fields, Node, Place, Report, Source, Value};
use model::Kind;
use policy::{Allow, PathPattern, SharingPolicy};

/// The word for all there is.
const EVERYTHING: &str = "everything";

/// Reads `share` of an endpoint, which nobody may leave out: whoever is told something is told it on purpose.
pub(super) fn share(fields: &mut Fields<'_>, report: &mut Report) -> SharingPolicy {
    let source = fields.source();
    let Some(node) = fields.optional("share") else {
        report.error(
            "IC0136",
            source,
            fields.place(),
            "the endpoint does not say what may be shared with it",
            "add the fields that it may know, `share: { allow: [id, deal.name, deal.stage] }`, or `share: everything`",
        );
        return SharingPolicy::default();
    };
    match &node.value {
        Value::Map(_) => {}
        _ if node.text() == Some(EVERYTHING) => return SharingPolicy::everything(),
        _ => {
            let expected = "`everything`, or a map with the fields that may be known under `allow`";
            return fields.wrong("share", node, expected, report).unwrap_or_default();
        }
    }
    let Some(mut inner) = Fields::open(node, "`share`", source, report) else {
        return SharingPolicy::default();
    };
    let read = SharingPolicy {
        allow: Allow::Only(paths(&mut inner, "allow", report)),
        omit: paths(&mut inner, "omit", report),
        mask: paths(&mut inner, "mask", report),
    };
    inner.finish(report);
    read
}

/// Reads a list of places in an event's `data`.
fn paths(fields: &mut Fields<'_>, key: &'static str, report: &mut Report) -> Vec<PathPattern> {
    let source = fields.source();
    fields.texts(key, report);
    let items = match fields.optional(key) {
        Some(Node {
            value: Value::List(items),
            ..
        }) => items.as_slice(),
        node => node.map(std::slice::from_ref).unwrap_or_default(),
    };
    let texts = items.iter().filter_map(|item| Some((item.text()?, item.place)));
    texts
        .filter_map(|(text, place)| path(text, source, place, report))
        .collect()
}

fn path(text: &str, source: &Source, place: Place, report: &mut Report) -> Option<PathPattern> {
    match text.parse::<PathPattern>() {
        Ok(pattern) => {
            means_something(&pattern, text, source, place, report);
            Some(pattern)
        }
        Err(bad) => {
            let hint = "keys from `data` down with dots between: deal.amount, contacts.*.email";
            report.error("IC0137", source, place, bad.to_string(), hint);
            None
        }
    }
}

/// Notes a path into a record that leads to none of its fields: what was to be left out there would be shared.
fn means_something(pattern: &PathPattern, text: &str, source: &Source, place: Place, report: &mut Report) {
    let (first, rest) = text.split_once('.').unwrap_or((text, ""));
    if first == "changed" {
        report.error(
            "IC0138",
            source,
            place,
            format!("`{text}` names a change; changes are shared as the fields are that changed"),
            "name the field: `deal.amount` is what it is now and what it was",
        );
    }
    let Some(kind) = Kind::parse(first).filter(|_| !rest.is_empty()) else {
        return;
    };
    let fields: Vec<String> = kind
        .fields()
        .map(|field| format!("{kind}.{}", field.path))
        .collect();
    if !fields.iter().any(|field| pattern.touches(field)) {
        report.warning(
            "IC0138",
            source,
            place,
            format!("a {kind} has no field at `{text}`"),
            diagnostic::suggestion(text, fields.iter().map(String::as_str)),
        );
    }
}
