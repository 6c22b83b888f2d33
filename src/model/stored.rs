//! The stored form of records: JSON with a version, read back by the field's type.
//!
//! The canonical types may change with the code; rows that were written by an older version are read by its number.
//! A path that no longer exists is left out when it is read; a value that no longer fits its field is told.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::money::decimal;
use crate::{Currency, FieldType, Fields, Kind, Money, Provenance, Value};

/// The version that is written.
pub const VERSION: u8 = 1;

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or not of the stored form.
    #[error("a stored row is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// A value does not fit its field.
    #[error("the stored value of `{path}` does not fit its field: {value}")]
    Value {
        /// The field.
        path: &'static str,
        /// What is stored.
        value: String,
    },
    /// Written by a later version of this program.
    #[error("a stored row has form {0}, this program reads up to {VERSION}; use the newer program")]
    Newer(u8),
}

#[derive(Serialize, Deserialize)]
struct StoredFields {
    v: u8,
    f: Map<String, Json>,
}

#[derive(Serialize, Deserialize)]
struct StoredProvenance {
    c: String,
    id: String,
    at: Timestamp,
    seen: Timestamp,
}

/// Fields as a row keeps them.
pub fn encode_fields(fields: &Fields) -> String {
    let values = fields
        .iter()
        .map(|(path, value)| (path.to_owned(), to_json(value)))
        .collect();
    serde_json::to_string(&StoredFields {
        v: VERSION,
        f: values,
    })
    .expect("maps of JSON values serialise")
}

/// Fields from a row.
pub fn decode_fields(kind: Kind, text: &str) -> Result<Fields, Unreadable> {
    let stored: StoredFields = serde_json::from_str(text)?;
    if stored.v > VERSION {
        return Err(Unreadable::Newer(stored.v));
    }
    let mut fields = Fields::new();
    for field in kind.fields() {
        if let Some(json) = stored.f.get(field.path) {
            let value = from_json(field.field_type, json);
            let value = value.ok_or_else(|| Unreadable::Value {
                path: field.path,
                value: json.to_string(),
            })?;
            fields.set(field.path, value);
        }
    }
    Ok(fields)
}

/// Provenance as a row keeps it.
pub fn encode_provenance(provenance: &BTreeMap<&'static str, Provenance>) -> String {
    let stored: BTreeMap<&str, StoredProvenance> = provenance
        .iter()
        .map(|(path, said)| {
            let stored = StoredProvenance {
                c: said.connection.clone(),
                id: said.external_id.clone(),
                at: said.changed_at,
                seen: said.observed_at,
            };
            (*path, stored)
        })
        .collect();
    serde_json::to_string(&stored).expect("maps of plain values serialise")
}

/// Provenance from a row.
pub fn decode_provenance(kind: Kind, text: &str) -> Result<BTreeMap<&'static str, Provenance>, Unreadable> {
    let mut stored: BTreeMap<String, StoredProvenance> = serde_json::from_str(text)?;
    let known = kind.fields().filter_map(|field| {
        let said = stored.remove(field.path)?;
        let said = Provenance {
            connection: said.c,
            external_id: said.id,
            changed_at: said.at,
            observed_at: said.seen,
        };
        Some((field.path, said))
    });
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
        | FieldType::Choice(_) => Value::Text(json.as_str()?.to_owned()),
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
