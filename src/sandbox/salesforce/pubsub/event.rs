//! What a change event looks like: its schema, and a change written by it.

use serde_json::{Value, json};

use super::super::change::{Change, Happened};
use super::super::field::Kind;
use super::super::schema::Object;
use super::avro::Datum;
use crate::clock::{parse_day, parse_ms};
use crate::mac::{base64_url, sha256};

/// Objects whose changes are told, as an administrator selects them.
pub(super) const SELECTED: [&str; 5] = ["Account", "Contact", "Lead", "Opportunity", "User"];

/// The kinds of change, in the order of the enum in the schema.
const CHANGE_TYPES: [&str; 10] = [
    "CREATE",
    "UPDATE",
    "DELETE",
    "UNDELETE",
    "GAP_CREATE",
    "GAP_UPDATE",
    "GAP_DELETE",
    "GAP_UNDELETE",
    "GAP_OVERFLOW",
    "SNAPSHOT",
];

/// Fields that rows have and events have not.
const NOT_TOLD: [&str; 3] = ["Id", "IsDeleted", "SystemModstamp"];

/// How an event tells a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// With its values.
    Whole,
    /// By its header alone.
    Gap,
    /// As one of too many: not even the row is named.
    Overflow,
}

/// One field of an event.
enum Part {
    /// A field of the row, by position.
    Plain(usize),
    /// A compound: its name, the name of its record type, and its parts with their positions.
    Compound(String, String, Vec<(&'static str, usize)>),
}

/// The schema of the change events of an object.
pub(super) struct Schema {
    object: &'static Object,
    parts: Vec<Part>,
    pub(super) json: String,
    /// A fingerprint of the JSON.
    pub(super) id: String,
}

impl Schema {
    pub(super) fn of(object: &'static Object) -> Self {
        let parts = parts(object);
        let mut fields = vec![json!({"name": "ChangeEventHeader", "type": header()})];
        fields.extend(parts.iter().map(|part| match part {
            Part::Plain(at) => {
                let field = &object.fields[*at];
                json!({"name": field.name, "type": ["null", kind(field.kind)], "default": null})
            }
            Part::Compound(name, record, parts) => {
                let parts: Vec<Value> = parts
                    .iter()
                    .map(|(part, at)| json!({"name": part, "type": ["null", kind(object.fields[*at].kind)], "default": null}))
                    .collect();
                json!({"name": name, "default": null,
                    "type": ["null", {"type": "record", "name": record, "fields": parts}]})
            }
        }));
        let json = json!({
            "name": format!("{}ChangeEvent", object.name), "namespace": "com.sforce.eventbus", "type": "record",
            "fields": fields,
        })
        .to_string();
        let id = base64_url(&sha256(&[json.as_bytes()])[..16]);
        Self {
            object,
            parts,
            json,
            id,
        }
    }

    /// A change as an event tells it.
    pub(super) fn write(&self, change: &Change, number: u64, form: Form) -> Vec<u8> {
        let mut datum = Datum::default();
        self.write_header(&mut datum, change, number, form);
        let value = |at: usize| {
            let told = form == Form::Whole && change.happened != Happened::Deleted;
            let found = change.values.iter().find(|(changed, _)| told && *changed == at);
            found.map_or(&Value::Null, |(_, value)| value)
        };
        for part in &self.parts {
            match part {
                Part::Plain(at) => write_value(&mut datum, self.object.fields[*at].kind, value(*at)),
                Part::Compound(_, _, parts) if parts.iter().all(|(_, at)| value(*at).is_null()) => {
                    datum.long(0);
                }
                Part::Compound(_, _, parts) => {
                    datum.long(1);
                    for (_, at) in parts {
                        write_value(&mut datum, self.object.fields[*at].kind, value(*at));
                    }
                }
            }
        }
        datum.bytes()
    }

    fn write_header(&self, datum: &mut Datum, change: &Change, number: u64, form: Form) {
        let happened = match change.happened {
            Happened::Created => "CREATE",
            Happened::Updated => "UPDATE",
            Happened::Deleted => "DELETE",
        };
        let told = match form {
            Form::Whole => happened.to_owned(),
            Form::Gap => format!("GAP_{happened}"),
            Form::Overflow => "GAP_OVERFLOW".to_owned(),
        };
        let id = match form {
            Form::Overflow => format!("{}*", self.object.prefix),
            Form::Whole | Form::Gap => change.id.clone(),
        };
        let is_update = form == Form::Whole && change.happened == Happened::Updated;
        let nulled = |at: usize| {
            let mut values = change.values.iter();
            values.any(|(changed, value)| *changed == at && value.is_null())
        };
        let changed = |at: usize| change.values.iter().any(|(changed, _)| *changed == at);
        let bits = |of: &dyn Fn(usize) -> bool| if is_update { self.bits(of) } else { Vec::new() };
        let position = CHANGE_TYPES.iter().position(|name| *name == told);
        let number = i64::try_from(number).unwrap_or(i64::MAX);

        datum.text(self.object.name);
        datum.texts(&[id]);
        datum.long(position.map_or(0, |at| i64::try_from(at).unwrap_or(0)));
        datum.text(&change.origin);
        datum.text(&format!("{number:08x}-0000-4000-8000-{:012x}", change.at_ms));
        datum.long(1);
        datum.long(change.at_ms);
        // A system change number: far beyond what a double holds exactly.
        datum.long(
            change
                .at_ms
                .saturating_mul(1_000_000)
                .saturating_add(number % 1_000_000),
        );
        datum.text(&change.user);
        datum.texts(&bits(&nulled));
        datum.texts(&[]);
        datum.texts(&bits(&changed));
    }

    /// Which fields of the schema hold: a bitmap of the fields, field 0 in the lowest bit, and one more for each compound.
    fn bits(&self, holds: &dyn Fn(usize) -> bool) -> Vec<String> {
        let (mut top, mut nested) = (Vec::new(), Vec::new());
        // Field 0 is the header, which has no bit of its own that is ever set.
        for (position, part) in (1..).zip(&self.parts) {
            match part {
                Part::Plain(at) if holds(*at) => top.push(position),
                Part::Plain(_) => {}
                Part::Compound(_, _, parts) => {
                    let inner: Vec<usize> = (0..)
                        .zip(parts)
                        .filter(|(_, (_, at))| holds(*at))
                        .map(|(i, _)| i)
                        .collect();
                    if !inner.is_empty() {
                        top.push(position);
                        nested.push(format!("{position}-{}", bitmap(&inner)));
                    }
                }
            }
        }
        if top.is_empty() {
            return Vec::new();
        }
        std::iter::once(bitmap(&top)).chain(nested).collect()
    }
}

/// `0x…`, the highest digit first.
fn bitmap(positions: &[usize]) -> String {
    let digits = positions
        .iter()
        .max()
        .map_or(0, |last| last / 4 + 1)
        .next_multiple_of(2);
    let digit = |at: usize| {
        let bits = positions.iter().filter(|position| **position / 4 == at);
        bits.fold(0u32, |digit, position| digit | 1 << (position % 4))
    };
    let digits = (0..digits)
        .rev()
        .map(|at| char::from_digit(digit(at), 16).unwrap_or('0'));
    format!("0x{}", digits.collect::<String>().to_uppercase())
}

/// The fields of an event in order: addresses and the names of people are compounds.
fn parts(object: &'static Object) -> Vec<Part> {
    let compounds: Vec<Part> = compounds(object);
    let inside = |at: usize| {
        compounds.iter().any(
            |part| matches!(part, Part::Compound(_, _, parts) if parts.iter().any(|(_, part)| *part == at)),
        )
    };
    let named = |name: &str| {
        compounds
            .iter()
            .any(|part| matches!(part, Part::Compound(compound, ..) if compound == name))
    };
    let plain = object.fields.iter().enumerate().filter(|(at, field)| {
        let told = !NOT_TOLD.contains(&field.name.as_str()) && field.kind != Kind::Address;
        told && !inside(*at) && !named(&field.name)
    });
    let plain: Vec<Part> = plain.map(|(at, _)| Part::Plain(at)).collect();
    compounds.into_iter().chain(plain).collect()
}

fn compounds(object: &'static Object) -> Vec<Part> {
    let at = |name: String| object.fields.iter().position(|field| field.name == name);
    let of = |name: &str, record: &str, prefix: &str, parts: &[&'static str]| {
        let parts = parts
            .iter()
            .filter_map(|part| Some((*part, at(format!("{prefix}{part}"))?)));
        Part::Compound(name.to_owned(), record.to_owned(), parts.collect())
    };
    let mut found = Vec::new();
    if at("LastName".to_owned()).is_some() {
        let person = ["Salutation", "FirstName", "LastName"];
        found.push(of("Name", "Switchable_PersonName", "", &person));
    }
    for field in object.fields.iter().filter(|field| field.kind == Kind::Address) {
        let prefix = field.name.trim_end_matches("Address");
        let address = ["Street", "City", "State", "PostalCode", "Country"];
        // A record type may be named once in a schema.
        found.push(of(
            &field.name,
            &format!("{}Address", field.name),
            prefix,
            &address,
        ));
    }
    found
}

fn header() -> Value {
    let text = json!("string");
    let texts = json!({"type": "array", "items": "string"});
    let long = json!("long");
    let kinds = json!({"type": "enum", "name": "ChangeType", "symbols": CHANGE_TYPES});
    let fields: Vec<Value> = [
        ("entityName", &text),
        ("recordIds", &texts),
        ("changeType", &kinds),
        ("changeOrigin", &text),
        ("transactionKey", &text),
        ("sequenceNumber", &json!("int")),
        ("commitTimestamp", &long),
        ("commitNumber", &long),
        ("commitUser", &text),
        ("nulledFields", &texts),
        ("diffFields", &texts),
        ("changedFields", &texts),
    ]
    .into_iter()
    .map(|(name, kind)| json!({"name": name, "type": kind}))
    .collect();
    json!({"type": "record", "name": "ChangeEventHeader", "fields": fields})
}

fn kind(kind: Kind) -> Value {
    match kind {
        Kind::Boolean => json!("boolean"),
        Kind::Int => json!("int"),
        Kind::Double | Kind::Percent | Kind::Currency => json!("double"),
        Kind::Date => json!({"type": "int", "logicalType": "date"}),
        Kind::DateTime => json!({"type": "long", "logicalType": "timestamp-millis"}),
        _ => json!({"type": "string", "avro.java.string": "String"}),
    }
}

fn write_value(datum: &mut Datum, kind: Kind, value: &Value) {
    if value.is_null() {
        return datum.long(0);
    }
    datum.long(1);
    let text = value.as_str().unwrap_or_default();
    match kind {
        Kind::Boolean => datum.boolean(value == &Value::Bool(true)),
        Kind::Int => datum.long(value.as_i64().unwrap_or_default()),
        Kind::Double | Kind::Percent | Kind::Currency => datum.double(value.as_f64().unwrap_or_default()),
        Kind::Date => datum.long(parse_day(text).map_or(0, days)),
        Kind::DateTime => datum.long(parse_ms(text).unwrap_or_default()),
        _ => datum.text(text),
    }
}

/// Days since 1970-01-01.
fn days(day: jiff::civil::Date) -> i64 {
    let since = jiff::civil::date(1970, 1, 1).until(day);
    since.map_or(0, |span| i64::from(span.get_days()))
}

#[cfg(test)]
mod tests {
    use super::super::super::schema::Schema as Objects;
    use super::*;

    #[test]
    fn bitmaps_begin_at_the_lowest_bit() {
        assert_eq!(bitmap(&[1, 2, 4]), "0x16");
        assert_eq!(bitmap(&[3]), "0x08");
        assert_eq!(bitmap(&[0, 9]), "0x0201");
    }

    #[test]
    fn a_changed_part_of_an_address_is_told_under_the_address() {
        let (_, lead) = Objects::get().object("Lead").unwrap();
        let schema = Schema::of(lead);
        let read: Value = serde_json::from_str(&schema.json).unwrap();
        let names: Vec<&str> = read["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["name"].as_str().unwrap())
            .collect();
        assert_eq!(names[..3], ["ChangeEventHeader", "Name", "Address"], "{names:?}");
        assert!(!names.contains(&"City") && !names.contains(&"Id") && names.contains(&"Company"));
        let city = lead.at("City");
        assert_eq!(schema.bits(&|at| at == city), ["0x04", "2-0x02"]);
    }
}
