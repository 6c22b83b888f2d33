//! The wire: the mapped fields of an object as its system holds them, flat, under their dotted names.

use connector::Write;
use jiff::Timestamp;
use ledger::{Push, Sent};
use serde_json::{Map, Value as Json};

/// Picks the named fields out of an object. A field that the object does not carry is left out: it is not known, which is
/// not the same as blank.
pub(crate) fn pick<'f>(object: &Json, fields: impl Iterator<Item = &'f String>) -> Json {
    let carried = fields.filter_map(|field| Some((field.clone(), get(object, field)?.clone())));
    Json::Object(carried.collect())
}

/// Whether an object holds in the named fields what was picked out of it before, but for those of which nothing is known.
pub(crate) fn is_as_seen(
    object: &Json,
    fields: &[String],
    seen: &Json,
    is_unknown: impl Fn(&str) -> bool,
) -> bool {
    let Json::Object(seen) = seen else { return false };
    let mut carried = 0;
    for field in fields.iter().filter(|field| !is_unknown(field)) {
        let Some(value) = get(object, field) else { continue };
        if seen.get(field) != Some(value) {
            return false;
        }
        carried += 1;
    }
    carried == seen.keys().filter(|field| !is_unknown(field)).count()
}

/// Lays written values over what was held.
pub(crate) fn overlay(held: Option<&Json>, written: &Map<String, Json>) -> Json {
    let mut wire = match held {
        Some(Json::Object(held)) => held.clone(),
        _ => Map::new(),
    };
    for (field, value) in written {
        wire.insert(field.clone(), value.clone());
    }
    Json::Object(wire)
}

/// A field of an object, by its literal name or by walking its dots.
pub(crate) fn get<'o>(object: &'o Json, field: &str) -> Option<&'o Json> {
    if let Some(value) = object.get(field) {
        return Some(value);
    }
    field.split('.').try_fold(object, |at, part| at.get(part))
}

/// How much of what was sent of a record, and not heard of, is remembered; the newest is.
const SENT_MAX: usize = 8;

/// A push with what is about to be sent of it, beside what was sent before.
pub(crate) fn sent(push: &Push, write: &Write, at: Timestamp) -> Push {
    let mut push = push.clone();
    let values = serde_json::Value::Object(write.values.clone());
    push.sent.retain(|sent| sent.values != values);
    push.sent.push(Sent {
        at,
        values,
        creates: write.id.is_none(),
    });
    let over = push.sent.len().saturating_sub(SENT_MAX);
    push.sent.drain(..over);
    push
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn picks_nested_and_literal_names_and_leaves_out_what_is_not_there() {
        let object = json!({"Id": "1", "Account": {"Name": "Acme"}, "associations.companies": ["5"]});
        let fields = ["Account.Name", "associations.companies", "Amount"].map(String::from);
        let picked = json!({"Account.Name": "Acme", "associations.companies": ["5"]});
        assert_eq!(pick(&object, fields.iter()), picked);
        assert_eq!(pick(&picked, fields.iter()), picked);
    }

    #[test]
    fn an_object_is_as_it_was_seen_when_nothing_else_would_be_picked() {
        let object = json!({"Id": "1", "Account": {"Name": "Acme"}, "Note": null});
        let fields = ["Account.Name", "Note", "Amount"].map(String::from);
        let seen = pick(&object, fields.iter());
        let none = |_: &str| false;
        assert!(is_as_seen(&object, &fields, &seen, none));
        let with = |field: &str, value: Json| {
            let mut other = seen.clone();
            other[field] = value;
            other
        };
        for other in [
            json!({}),
            json!({"Note": null}),
            with("Note", json!("new")),
            with("Amount", Json::Null),
            Json::Null,
        ] {
            assert!(!is_as_seen(&object, &fields, &other, none), "{other}");
        }
        let missing = |field: &str| field == "Note";
        assert!(is_as_seen(&object, &fields, &with("Note", json!("old")), missing));
        assert!(!is_as_seen(&object, &fields, &with("Amount", json!(1)), missing));
    }
}
