//! [`ChangeEvent`]: what the header of a change event says: which objects, what happened, which fields.
//!
//! Only the header is looked at. The values that an event carries are not taken from it: what changed is read, so that
//! there is one way in which objects are understood.
//!
//! Fields are told by *bitmaps* over the schema of the event: `0x…` over its own fields, the lowest bit for the first
//! one, and `3-0x…` over those of the record that its field 3 holds (an address, a name of a person).

use jiff::Timestamp;

use crate::avro::{Schema, Unreadable};
use crate::names::scalar;
use crate::webhook::Hint;

/// The field of an event that says what it is about.
const HEADER: &str = "ChangeEventHeader";

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangeEvent {
    /// One for each object that is named; one without an id when they are not named.
    pub(crate) hints: Vec<Hint>,
    /// The fields that changed, parts of compounds as `Name.LastName`; nothing if that is not known, or if it is not
    /// about fields.
    fields: Option<Vec<String>>,
}

impl ChangeEvent {
    /// Reads the header of an event.
    pub(crate) fn read(schema: &Schema, payload: &[u8]) -> Result<ChangeEvent, Unreadable> {
        let header = schema.read(payload, HEADER)?;
        let kind = header["changeType"].as_str().unwrap_or_default();
        // A gap is a change whose values are not told, and they are not wanted anyway.
        let op = match kind.strip_prefix("GAP_").unwrap_or(kind) {
            "CREATE" => "create",
            "DELETE" => "delete",
            "UNDELETE" => "restore",
            "UPDATE" => "update",
            // An overflow names nobody.
            _ => "",
        };
        let texts = |name: &str| -> Vec<String> {
            let list = header[name].as_array().map_or(&[][..], Vec::as_slice);
            list.iter().filter_map(scalar).collect()
        };
        let mut ids = texts("recordIds");
        if op.is_empty() || ids.is_empty() || ids.iter().any(|id| id.contains('*')) {
            ids = vec![String::new()];
        }
        let occurred = header["commitTimestamp"].as_i64();
        let hint = |id: String| Hint {
            object: scalar(&header["entityName"]).unwrap_or_default(),
            id,
            op: if op.is_empty() { "update" } else { op }.to_owned(),
            tenant: None,
            origin: scalar(&header["changeOrigin"]).filter(|origin| !origin.is_empty()),
            occurred: occurred.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            dedupe: None,
            merged_from: Vec::new(),
        };
        let bitmaps = texts("changedFields");
        Ok(ChangeEvent {
            hints: ids.into_iter().map(hint).collect(),
            fields: match kind == "UPDATE" && !bitmaps.is_empty() {
                true => Some(names(schema, &bitmaps)),
                false => None,
            },
        })
    }

    /// Something changed at an object, and that is all that is known.
    pub(crate) fn of_something(object: &str) -> ChangeEvent {
        ChangeEvent {
            hints: vec![Hint::of_something(object)],
            fields: None,
        }
    }

    /// Whether it may change what is read with these fields. A part of a compound is also a field of its own, whose name
    /// ends with the part's (`BillingAddress.City`: `BillingCity`); one too many costs a call, one too few waits for the
    /// next reading of changes.
    pub(crate) fn concerns(&self, read: &[String]) -> bool {
        let Some(changed) = &self.fields else { return true };
        let touches = |changed: &str, read: &str| match changed.split_once('.') {
            Some((_, part)) => read.ends_with(part),
            None => read == changed,
        };
        // A field of another object, read through a reference, is not told of here.
        read.iter()
            .any(|read| read.contains('.') || changed.iter().any(|changed| touches(changed, read)))
    }
}

impl Hint {
    /// What a change event in Avro says; nothing when it cannot be read by its schema.
    pub fn of_change_event(schema: &str, payload: &[u8]) -> Option<Vec<Hint>> {
        let schema = Schema::parse(schema).ok()?;
        Some(ChangeEvent::read(&schema, payload).ok()?.hints)
    }
}

/// The names of the fields that bitmaps stand for; of a compound that changed as a whole all parts, too.
pub(crate) fn names(schema: &Schema, bitmaps: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    let nested = |position: usize| {
        let prefix = format!("{position}-");
        bitmaps.iter().find_map(|bitmap| bitmap.strip_prefix(&prefix))
    };
    let top = bitmaps.iter().filter(|bitmap| !bitmap.contains('-'));
    for position in top.flat_map(|bitmap| positions(bitmap)) {
        let Some(field) = schema.fields().get(position) else {
            continue;
        };
        names.push(field.name.clone());
        let Some(parts) = schema.inner(field) else {
            continue;
        };
        let parts: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        let changed = match nested(position) {
            Some(bitmap) => positions(bitmap),
            None => (0..parts.len()).collect(),
        };
        let changed = changed.into_iter().filter_map(|at| parts.get(at));
        names.extend(changed.map(|part| format!("{}.{part}", field.name)));
    }
    names
}

/// The positions of the bits that are set, from the lowest; what is no bitmap has none.
fn positions(bitmap: &str) -> Vec<usize> {
    let digits = bitmap.strip_prefix("0x").unwrap_or_default();
    let digits = digits.chars().rev().enumerate();
    let bits = digits.flat_map(|(at, digit)| {
        let digit = digit.to_digit(16).unwrap_or(0);
        (0..4)
            .filter(move |bit| digit >> bit & 1 == 1)
            .map(move |bit| at * 4 + bit)
    });
    bits.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The schema of the published vectors, with as much of a header as is read.
    fn schema() -> Schema {
        let texts = json!({"type": "array", "items": "string"});
        let header = json!({"type": "record", "name": "ChangeEventHeader", "fields": [
            {"name": "entityName", "type": "string"},
            {"name": "recordIds", "type": texts},
            {"name": "changeType", "type": {"type": "enum", "name": "ChangeType", "symbols":
                ["CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE",
                 "GAP_OVERFLOW", "SNAPSHOT"]}},
            {"name": "changeOrigin", "type": "string"},
            {"name": "commitTimestamp", "type": "long"},
            {"name": "changedFields", "type": texts},
        ]});
        let address = json!({"type": "record", "name": "Address", "fields": [
            {"name": "Street", "type": ["null", "string"]},
            {"name": "City", "type": ["null", "string"]},
            {"name": "State", "type": ["null", "string"]},
        ]});
        let schema = json!({"type": "record", "name": "AccountChangeEvent", "fields": [
            {"name": "ChangeEventHeader", "type": header},
            {"name": "Name", "type": ["null", "string"]},
            {"name": "Type", "type": ["null", "string"]},
            {"name": "BillingAddress", "type": ["null", address]},
            {"name": "Phone", "type": ["null", "string"]},
        ]});
        Schema::parse(&schema.to_string()).unwrap()
    }

    fn fields(bitmaps: &[&str]) -> Vec<String> {
        let bitmaps: Vec<String> = bitmaps.iter().map(|bitmap| (*bitmap).to_owned()).collect();
        names(&schema(), &bitmaps)
    }

    /// A header of an account's change: ids, position of the kind, bitmaps of changed fields.
    fn event(ids: &[&str], kind: u8, changed: &[&str]) -> ChangeEvent {
        fn text(out: &mut Vec<u8>, text: &str) {
            out.push(u8::try_from(text.len() * 2).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
        fn texts(out: &mut Vec<u8>, items: &[&str]) {
            for item in items {
                out.push(2);
                text(out, item);
            }
            out.push(0);
        }
        let mut datum = Vec::new();
        text(&mut datum, "Account");
        texts(&mut datum, ids);
        datum.push(kind * 2);
        text(&mut datum, "client=x");
        datum.push(2);
        texts(&mut datum, changed);
        ChangeEvent::read(&schema(), &datum).unwrap()
    }

    /// The vectors computed with the vendor's published algorithm (`ChangeEventHeaderUtility.py`, CC0-1.0).
    #[test]
    fn bitmaps_stand_for_the_fields_of_the_published_vectors() {
        assert_eq!(fields(&["0x16"]), ["Name", "Type", "Phone"]);
        assert_eq!(
            fields(&["0x08", "3-0x06"]),
            ["BillingAddress", "BillingAddress.City", "BillingAddress.State"]
        );
        assert_eq!(fields(&["0x08"]).len(), 4, "the whole address: all its parts");
        assert_eq!(fields(&["0xFFFFFFFFFFFFFFFFFF00", "bits", "9-0x01"]), [""; 0]);
    }

    #[test]
    fn an_update_of_fields_that_nobody_reads_concerns_nobody() {
        let concerns = |changed: &[&str], read: &[&str]| {
            let read: Vec<String> = read.iter().map(|name| (*name).to_owned()).collect();
            event(&["1"], 1, changed).concerns(&read)
        };
        assert!(concerns(&["0x16"], &["Phone"]));
        assert!(!concerns(&["0x16"], &["Website", "BillingCity"]));
        assert!(concerns(&["0x08", "3-0x02"], &["BillingCity"]));
        assert!(!concerns(&["0x08", "3-0x02"], &["BillingStreet"]));
        assert!(
            concerns(&["0x10"], &["Owner.Email"]),
            "what stands elsewhere may have changed"
        );
        assert!(
            concerns(&[], &["Website"]),
            "who does not say what changed may mean anything"
        );
        assert!(
            event(&["1"], 0, &["0x10"]).concerns(&[]),
            "what is new concerns all"
        );
    }

    #[test]
    fn gaps_name_their_objects_and_overflows_do_not() {
        let said = |ids: &[&str], kind| {
            let hints = event(ids, kind, &[]).hints.into_iter();
            let said: Vec<String> = hints.map(|hint| format!("{} {}", hint.op, hint.id)).collect();
            said.join(", ")
        };
        assert_eq!(said(&["1", "2"], 1), "update 1, update 2");
        assert_eq!(said(&["1"], 5), "update 1", "GAP_UPDATE");
        assert_eq!(said(&["1"], 7), "restore 1", "GAP_UNDELETE");
        assert_eq!(said(&["1"], 2), "delete 1");
        assert_eq!(said(&["001*"], 4), "create ", "a wildcard");
        assert_eq!(said(&["001*"], 8), "update ", "GAP_OVERFLOW");
        assert_eq!(said(&[], 1), "update ");
    }
}
