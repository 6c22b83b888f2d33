//! The stored form of records: JSON with a version, read back by the field's type.
//!
//! The canonical types may change with the code; rows that were written by an older version are read by its number.
//! A path that no longer exists is left out when it is read; a value that no longer fits its field is told.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use crate::custom::CUSTOM;
use crate::money::decimal;
use crate::{Currency, FieldType, Fields, Kind, Money, Provenance, Value};

/// The version of the stored form of fields that is written.
pub const FIELDS_VERSION: u8 = 1;
/// How many fields a record mostly has at least: for so many there is room at once.
const FIELDS_USUAL: usize = 16;
/// The version of the stored form of provenance that is written.
pub const PROVENANCE_VERSION: u8 = 3;
/// The version that names every path, also of the first who said some.
const PROVENANCE_NAMED: u8 = 2;

/// What to do about a value of a custom field that is declared as something else now.
const RETYPED: &str = "; declare the field as what it was, and what it is to be under another name";

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or not of the stored form.
    #[error("a stored row is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// A value does not fit its field.
    #[error("the stored value of `{path}` does not fit its field: {value}{}", if path.starts_with(CUSTOM) { RETYPED } else { "" })]
    Value {
        /// The field.
        path: &'static str,
        /// What is stored.
        value: String,
    },
    /// Written by a later version of this program.
    #[error("a stored row has form {0}, which is newer than this program; use the newer program")]
    Newer(u8),
}

/// Fields on their way into a row.
#[derive(Serialize)]
struct FieldsOut<'a> {
    v: u8,
    f: Values<'a>,
}

struct Values<'a>(&'a Fields);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(path, value)| (path, Plain(value))))
    }
}

/// A value as [`to_json`] has it, written without being built first.
pub struct Plain<'a>(pub &'a Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Text(value) => serializer.serialize_str(value),
            Value::Null => serializer.serialize_unit(),
            Value::Set(items) => serializer.collect_seq(items),
            other => to_json(other).serialize(serializer),
        }
    }
}

#[derive(Deserialize)]
struct FieldsIn<'a> {
    v: u8,
    #[serde(borrow)]
    f: Pairs<'a, Json>,
}

/// A JSON object as it stands in a row: by path, in the order of the row.
struct Pairs<'a, T>(Vec<(Cow<'a, str>, T)>);

/// A key without a copy where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Pairs<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<'a, T>(PhantomData<(&'a str, T)>);
        impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for Each<'a, T> {
            type Value = Pairs<'a, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object by path")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut pairs = Vec::with_capacity(FIELDS_USUAL);
                while let Some((Key(path), value)) = map.next_entry()? {
                    pairs.push((path, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Each(PhantomData))
    }
}

/// Who said values, and when: once for all values that came together.
#[derive(Serialize, Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    c: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    at: Timestamp,
    seen: Timestamp,
}

#[derive(Serialize)]
struct ProvenanceOut<'a> {
    v: u8,
    said: Vec<Said<'a>>,
    /// By path: which of `said`; those of the first are left out, unless there are fields that nobody said.
    by: BTreeMap<&'static str, usize>,
}

#[derive(Deserialize)]
struct ProvenanceIn<'a> {
    v: u8,
    #[serde(borrow)]
    said: Vec<Said<'a>>,
    #[serde(borrow)]
    by: Pairs<'a, usize>,
}

/// How provenance begins that says once what several values have in common; what begins otherwise is version 1, in which
/// each path has its own. Version 2 names every path.
const SAID_ONCE: &str = "{\"v\":";

/// Fields as a row keeps them.
pub fn encode_fields(fields: &Fields) -> String {
    serde_json::to_string(&FieldsOut {
        v: FIELDS_VERSION,
        f: Values(fields),
    })
    .expect("maps of JSON values serialise")
}

/// Fields from a row.
pub fn decode_fields(kind: Kind, text: &str) -> Result<Fields, Unreadable> {
    let stored: FieldsIn<'_> = serde_json::from_str(text)?;
    if stored.v > FIELDS_VERSION {
        return Err(Unreadable::Newer(stored.v));
    }
    let mut fields = Fields::with_capacity(stored.f.0.len());
    for (path, mut json) in stored.f.0 {
        let Some(field) = kind.field(&path) else {
            continue;
        };
        let value = take(field.field_type, &mut json).ok_or_else(|| Unreadable::Value {
            path: field.path,
            value: json.to_string(),
        })?;
        fields.set(field.path, value);
    }
    Ok(fields)
}

/// The provenance of some fields as a row keeps it.
pub fn encode_provenance(fields: &Fields, provenance: &BTreeMap<&'static str, Arc<Provenance>>) -> String {
    let mut known: Vec<(&Arc<Provenance>, usize)> = Vec::new();
    let mut by: Vec<(&'static str, usize)> = Vec::with_capacity(provenance.len());
    for (path, said) in provenance {
        let same = |(known, _): &(&Arc<Provenance>, usize)| Arc::ptr_eq(known, said) || **known == *said;
        let at = known.iter().position(same).unwrap_or_else(|| {
            known.push((said, 0));
            known.len() - 1
        });
        known[at].1 += 1;
        by.push((path, at));
    }
    // Who said most of it need not be named.
    let most = (0..known.len()).rev().max_by_key(|at| known[*at].1);
    let each_is_said = fields.iter().map(|(path, _)| path).eq(provenance.keys().copied());
    let unnamed = most.filter(|_| each_is_said);
    let first = unnamed.unwrap_or(0);
    let place = |at: usize| match at {
        _ if at == first => 0,
        _ if at < first => at + 1,
        _ => at,
    };
    let named = by.into_iter().filter(|(_, at)| Some(*at) != unnamed);
    let by = named.map(|(path, at)| (path, place(at))).collect();
    let mut said: Vec<Said<'_>> = known
        .into_iter()
        .map(|(said, _)| Said {
            c: Cow::Borrowed(&said.connection),
            id: Cow::Borrowed(&said.external_id),
            at: said.changed_at,
            seen: said.observed_at,
        })
        .collect();
    if let Some(lead) = said.get_mut(..=first) {
        lead.rotate_right(1);
    }
    let v = match unnamed {
        Some(_) => PROVENANCE_VERSION,
        None => PROVENANCE_NAMED,
    };
    serde_json::to_string(&ProvenanceOut { v, said, by }).expect("maps of plain values serialise")
}

/// The provenance of some fields from a row.
pub fn decode_provenance(
    kind: Kind,
    fields: &Fields,
    text: &str,
) -> Result<BTreeMap<&'static str, Arc<Provenance>>, Unreadable> {
    let read = |said: Said<'_>| {
        Arc::new(Provenance {
            connection: said.c.into_owned(),
            external_id: said.id.into_owned(),
            changed_at: said.at,
            observed_at: said.seen,
        })
    };
    if !text.starts_with(SAID_ONCE) {
        let mut each: BTreeMap<Cow<'_, str>, Said<'_>> = serde_json::from_str(text)?;
        let known = kind
            .fields()
            .filter_map(|field| Some((field.path, read(each.remove(field.path)?))));
        return Ok(known.collect());
    }
    let stored: ProvenanceIn<'_> = serde_json::from_str(text)?;
    if stored.v > PROVENANCE_VERSION {
        return Err(Unreadable::Newer(stored.v));
    }
    let said: Vec<Arc<Provenance>> = stored.said.into_iter().map(read).collect();
    let unnamed = said.first().filter(|_| stored.v > PROVENANCE_NAMED);
    let unnamed = unnamed
        .into_iter()
        .flat_map(|said| fields.iter().map(move |(path, _)| (path, said)));
    let named = stored
        .by
        .0
        .iter()
        .filter_map(|(path, at)| Some((kind.field(path)?.path, said.get(*at)?)));
    let known = unnamed.chain(named).map(|(path, said)| (path, Arc::clone(said)));
    Ok(known.collect())
}

/// A value as JSON: what rows keep, what events and the command line show. Money is `{amount, currency}`, all
/// decimals are strings.
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Integer(value) => Json::from(*value),
        Value::Decimal(value) => Json::String(value.to_string()),
        Value::Text(value) => Json::String(value.clone()),
        Value::Date(value) => Json::String(value.to_string()),
        Value::Instant(value) => Json::String(value.to_string()),
        Value::Money(value) => {
            serde_json::json!({"amount": value.amount_text(), "currency": value.currency.code()})
        }
        Value::Reference(value) => Json::String(value.to_string()),
        Value::Set(items) => Json::Array(items.iter().map(|item| Json::String(item.clone())).collect()),
    }
}

/// A value from its JSON form, by the type of its field; nothing when it does not fit.
pub fn from_json(field_type: FieldType, json: &Json) -> Option<Value> {
    take(field_type, &mut json.clone())
}

/// Takes a value out of its JSON form; leaves there what does not fit.
fn take(field_type: FieldType, json: &mut Json) -> Option<Value> {
    if json.is_null() {
        return Some(Value::Null);
    }
    Some(match field_type {
        FieldType::Text { .. }
        | FieldType::Email
        | FieldType::Phone
        | FieldType::Domain
        | FieldType::Url
        | FieldType::Country
        | FieldType::Subdivision
        | FieldType::Choice(_) => match json {
            Json::String(text) => Value::Text(std::mem::take(text)),
            _ => return None,
        },
        FieldType::Money => {
            let currency = Currency::parse(json.get("currency")?.as_str()?).ok()?;
            Value::Money(Money::parse(json.get("amount")?.as_str()?, currency).ok()?)
        }
        FieldType::Decimal => Value::Decimal(decimal(json.as_str()?).ok()?),
        FieldType::Integer => Value::Integer(json.as_i64()?),
        FieldType::Bool => Value::Bool(json.as_bool()?),
        FieldType::Date => Value::Date(json.as_str()?.parse().ok()?),
        FieldType::Instant => Value::Instant(json.as_str()?.parse().ok()?),
        FieldType::Choices(_) | FieldType::Set => {
            let items = json
                .as_array()?
                .iter()
                .map(|item| item.as_str().map(str::to_owned));
            Value::Set(items.collect::<Option<_>>()?)
        }
        FieldType::Reference(_) => Value::Reference(json.as_str()?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordId;
    use proptest::prelude::*;

    fn sample(field_type: FieldType, seed: i64) -> Value {
        match field_type {
            FieldType::Money => {
                let amount = rust_decimal::Decimal::new(seed, 4);
                Value::Money(Money {
                    amount,
                    currency: Currency::parse("JPY").unwrap(),
                })
            }
            FieldType::Decimal => Value::Decimal(rust_decimal::Decimal::new(seed, 7)),
            FieldType::Integer => Value::Integer(seed),
            FieldType::Bool => Value::Bool(seed % 2 == 0),
            FieldType::Date => Value::Date(jiff::civil::date(
                2000 + (seed.rem_euclid(50)) as i16,
                2,
                29.min(1 + (seed.rem_euclid(28)) as i8),
            )),
            FieldType::Instant => {
                Value::Instant(Timestamp::from_microsecond(seed.rem_euclid(4_000_000_000_000_000)).unwrap())
            }
            FieldType::Choices(_) | FieldType::Set => Value::Set([seed.to_string(), "b".into()].into()),
            FieldType::Reference(kind) => Value::Reference(RecordId::new(
                kind,
                crate::uuid_from(Timestamp::UNIX_EPOCH, [seed as u8; 10]),
            )),
            _ => Value::text(format!("text {seed}")),
        }
    }

    proptest! {
        #[test]
        fn rows_read_back(seed in any::<i64>(), skip in 0usize..5) {
            for kind in Kind::ALL {
                let all = kind.fields().enumerate().filter(|(i, _)| i % 5 != skip);
                let fields: Fields = all.map(|(i, f)| (f.path, if i % 7 == 0 { Value::Null } else { sample(f.field_type, seed) })).collect();
                prop_assert_eq!(decode_fields(kind, &encode_fields(&fields)).unwrap(), fields);
            }
        }
    }

    fn said(id: &str) -> Arc<Provenance> {
        Arc::new(Provenance {
            connection: "crm".into(),
            external_id: id.into(),
            changed_at: "2026-03-01T09:30:00.123456789Z".parse().unwrap(),
            observed_at: "2026-03-01T09:31:00Z".parse().unwrap(),
        })
    }

    fn at(paths: &[&'static str]) -> Fields {
        paths.iter().map(|path| (*path, Value::text("x"))).collect()
    }

    proptest! {
        #[test]
        fn who_said_what_reads_back(by in proptest::collection::vec(proptest::option::weighted(0.9, 0..4u8), 1..20)) {
            let paths: Vec<&'static str> = Kind::Deal.fields().map(|field| field.path).take(by.len()).collect();
            let provenance: BTreeMap<_, _> = paths
                .iter()
                .zip(&by)
                .filter_map(|(path, by)| Some((*path, said(&(*by)?.to_string()))))
                .collect();
            let row = encode_provenance(&at(&paths), &provenance);
            prop_assert_eq!(decode_provenance(Kind::Deal, &at(&paths), &row).unwrap(), provenance);
        }
    }

    #[test]
    fn who_said_several_values_is_written_once() {
        let fields = at(&["amount", "name", "stage"]);
        let provenance = BTreeMap::from([("amount", said("1")), ("name", said("2")), ("stage", said("2"))]);
        let row = encode_provenance(&fields, &provenance);
        insta::assert_snapshot!(row, @r#"{"v":3,"said":[{"c":"crm","id":"2","at":"2026-03-01T09:30:00.123456789Z","seen":"2026-03-01T09:31:00Z"},{"c":"crm","id":"1","at":"2026-03-01T09:30:00.123456789Z","seen":"2026-03-01T09:31:00Z"}],"by":{"amount":1}}"#);
        assert_eq!(decode_provenance(Kind::Deal, &fields, &row).unwrap(), provenance);
        let newer = row.replace("\"v\":3", "\"v\":4");
        assert!(matches!(
            decode_provenance(Kind::Deal, &fields, &newer),
            Err(Unreadable::Newer(4))
        ));
        // What nobody said is not said by those who said most.
        let fields = at(&["amount", "name", "next_steps", "stage"]);
        let row = encode_provenance(&fields, &provenance);
        insta::assert_snapshot!(row, @r#"{"v":2,"said":[{"c":"crm","id":"1","at":"2026-03-01T09:30:00.123456789Z","seen":"2026-03-01T09:31:00Z"},{"c":"crm","id":"2","at":"2026-03-01T09:30:00.123456789Z","seen":"2026-03-01T09:31:00Z"}],"by":{"amount":0,"name":1,"stage":1}}"#);
        assert_eq!(decode_provenance(Kind::Deal, &fields, &row).unwrap(), provenance);
    }

    #[test]
    fn provenance_of_version_1_reads_as_it_was() {
        let row = r#"{"gone_since":{"c":"crm","id":"1","at":"2026-03-01T09:30:00Z","seen":"2026-03-01T09:31:00Z"},"name":{"c":"crm","id":"1","at":"2026-03-01T09:30:00Z","seen":"2026-03-01T09:31:00Z"}}"#;
        let read = decode_provenance(Kind::Deal, &at(&["name"]), row).unwrap();
        assert_eq!(read.keys().copied().collect::<Vec<_>>(), ["name"]);
        assert_eq!(
            (
                read["name"].connection.as_str(),
                read["name"].external_id.as_str()
            ),
            ("crm", "1")
        );
        assert_eq!(
            decode_provenance(Kind::Deal, &Fields::new(), "{}").unwrap(),
            BTreeMap::new()
        );
    }

    #[test]
    fn provenance_of_version_2_reads_as_it_was() {
        let row = r#"{"v":2,"said":[{"c":"crm","id":"1","at":"2026-03-01T09:30:00.123456789Z","seen":"2026-03-01T09:31:00Z"},{"c":"crm","id":"2","at":"2026-03-01T09:30:00.123456789Z","seen":"2026-03-01T09:31:00Z"}],"by":{"name":0,"phone":0,"stage":1}}"#;
        // A deal has no phone.
        assert_eq!(
            decode_provenance(Kind::Deal, &at(&["name", "stage"]), row).unwrap(),
            BTreeMap::from([("name", said("1")), ("stage", said("2"))])
        );
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        assert!(matches!(
            decode_fields(Kind::Deal, r#"{"v":9,"f":{}}"#),
            Err(Unreadable::Newer(9))
        ));
        let bad = decode_fields(Kind::Deal, r#"{"v":1,"f":{"amount":12.5,"gone_since":1}}"#).unwrap_err();
        assert_eq!(
            bad.to_string(),
            "the stored value of `amount` does not fit its field: 12.5"
        );
    }
}
