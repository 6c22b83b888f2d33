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
    push.sent.push(Sent { at, values });
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
}
