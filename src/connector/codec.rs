//! The class-tagged codec: values that JSON lacks, as objects that name their class.
//!
//! `{"__class__": "Decimal", "decimal": "12500.50"}` is read as the number 12500.50 with every digit, a `date` as
//! `2026-11-23`, a `datetime` (always UTC) as `2026-11-23T06:53:15.297760Z` with its microseconds.
//! Back the other way only fields whose [`Type`] the manifest declares are tagged, because `2026-11-23` in a note is text.

use serde_json::{Map, Value as Json, json};

/// The type of a field on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Decimal,
    Date,
    Datetime,
    Boolean,
    /// The id of another object: a number on the wire, text everywhere else.
    Reference,
}

impl Type {
    pub(crate) fn named(name: &str) -> Option<Type> {
        Some(match name {
            "decimal" => Type::Decimal,
            "date" => Type::Date,
            "datetime" => Type::Datetime,
            "boolean" => Type::Boolean,
            "reference" => Type::Reference,
            _ => return None,
        })
    }
}

/// A value that is not of its declared type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} is not a {expected}")]
pub(crate) struct WrongType {
    value: String,
    expected: &'static str,
}

/// Replaces every tagged object by the plain value it stands for.
pub(crate) fn decode(value: Json, class_key: &str) -> Json {
    match value {
        Json::Array(items) => items.into_iter().map(|item| decode(item, class_key)).collect(),
        Json::Object(map) => match map.get(class_key).and_then(Json::as_str) {
            Some(class) => untagged(class, &map).unwrap_or(Json::Object(map)),
            None => map
                .into_iter()
                .map(|(key, value)| (key, decode(value, class_key)))
                .collect(),
        },
        plain => plain,
    }
}

/// Nothing when the class is not one of ours or its parts are not there; the object is left as it came then.
fn untagged(class: &str, map: &Map<String, Json>) -> Option<Json> {
    let part = |name: &str| map.get(name).and_then(Json::as_u64);
    let date = || {
        Some(format!(
            "{:04}-{:02}-{:02}",
            part("year")?,
            part("month")?,
            part("day")?
        ))
    };
    let time = || {
        let micro = part("microsecond").unwrap_or(0);
        let whole = format!(
            "{:02}:{:02}:{:02}",
            part("hour")?,
            part("minute")?,
            part("second")?
        );
        // Always six digits, so that moments sort as texts.
        Some(format!("{whole}.{micro:06}"))
    };
    match class {
        "Decimal" => map.get("decimal")?.as_str()?.parse().ok().map(Json::Number),
        "date" => date().map(Json::String),
        "time" => time().map(Json::String),
        "datetime" => Some(Json::String(format!("{}T{}Z", date()?, time()?))),
        "timedelta" => map.get("seconds").cloned(),
        "bytes" => map.get("base64").cloned(),
        _ => None,
    }
}

/// Writes a plain value in the form its type has on the wire.
pub(crate) fn encode(value: &Json, kind: Type, class_key: &str) -> Result<Json, WrongType> {
    let wrong = |expected| WrongType {
        value: value.to_string(),
        expected,
    };
    if value.is_null() {
        return Ok(Json::Null);
    }
    match kind {
        Type::Boolean => boolean(value).ok_or_else(|| wrong("true or false value")),
        Type::Reference => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.parse::<i64>()
                .map(Json::from)
                .map_err(|_| wrong("number of an object"))
        }
        Type::Decimal => {
            let digits = match value {
                Json::Number(number) => number.to_string(),
                Json::String(text) => text.clone(),
                _ => return Err(wrong("decimal number")),
            };
            let number = digits
                .parse::<serde_json::Number>()
                .map_err(|_| wrong("decimal number"))?;
            Ok(json!({class_key: "Decimal", "decimal": number.to_string()}))
        }
        Type::Date => {
            let date: jiff::civil::Date = value
                .as_str()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| wrong("date such as 2026-11-23"))?;
            Ok(json!({class_key: "date", "year": date.year(), "month": date.month(), "day": date.day()}))
        }
        Type::Datetime => {
            let moment: jiff::Timestamp = value
                .as_str()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| wrong("moment such as 2026-11-23T10:00:00Z"))?;
            Ok(datetime(moment, class_key))
        }
    }
}

fn datetime(moment: jiff::Timestamp, class_key: &str) -> Json {
    let civil = jiff::tz::Offset::UTC.to_datetime(moment);
    json!({
        class_key: "datetime",
        "year": civil.year(), "month": civil.month(), "day": civil.day(),
        "hour": civil.hour(), "minute": civil.minute(), "second": civil.second(),
        "microsecond": civil.subsec_nanosecond() / 1_000,
    })
}

/// What a decoded value of this type is for mappings.
pub(crate) fn plain(value: Json, kind: Type) -> Json {
    match kind {
        Type::Boolean => boolean(&value).unwrap_or(value),
        Type::Reference if value.is_number() => Json::String(value.to_string()),
        _ => value,
    }
}

/// Some databases answer 1 and 0 for true and false.
pub(crate) fn boolean(value: &Json) -> Option<Json> {
    match value {
        Json::Bool(_) => Some(value.clone()),
        Json::Number(n) if n.as_i64() == Some(1) => Some(Json::Bool(true)),
        Json::Number(n) if n.as_i64() == Some(0) => Some(Json::Bool(false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "__class__";

    fn parse(text: &str) -> Json {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn recorded_values_are_read() {
        let row = parse(
            r#"{"amount": {"__class__": "Decimal", "decimal": "1234567890123456.78"},
                "start_date": {"__class__": "date", "year": 2026, "month": 11, "day": 3},
                "at": {"__class__": "datetime", "year": 2026, "month": 11, "day": 23, "hour": 6, "minute": 53, "second": 15, "microsecond": 297760},
                "rows": [{"x": {"__class__": "timedelta", "seconds": 5}}], "odd": {"__class__": "In", "k": 1}}"#,
        );
        let plain = parse(
            r#"{"amount": 1234567890123456.78, "start_date": "2026-11-03", "at": "2026-11-23T06:53:15.297760Z",
                "rows": [{"x": 5}], "odd": {"__class__": "In", "k": 1}}"#,
        );
        assert_eq!(decode(row, KEY), plain);
    }

    #[test]
    fn wrong_values_say_what_was_expected() {
        let error = encode(&json!("tomorrow"), Type::Date, KEY).unwrap_err();
        assert_eq!(error.to_string(), "\"tomorrow\" is not a date such as 2026-11-23");
        assert!(encode(&json!([1]), Type::Decimal, KEY).is_err());
        assert!(encode(&json!("1,5"), Type::Decimal, KEY).is_err());
        assert_eq!(encode(&Json::Null, Type::Date, KEY), Ok(Json::Null));
        assert_eq!(encode(&json!(1), Type::Boolean, KEY), Ok(json!(true)));
    }

    proptest! {
        #[test]
        fn decimals_come_back_digit_by_digit(whole in -999_999_999_999i64..999_999_999_999, cents in 0u32..100) {
            let value = parse(&format!("{whole}.{cents:02}"));
            let wire = encode(&value, Type::Decimal, KEY).unwrap();
            prop_assert_eq!(decode(wire, KEY), value);
        }

        #[test]
        fn moments_and_dates_come_back(micros in -1_000_000_000_000_000i64..4_000_000_000_000_000) {
            let moment = jiff::Timestamp::from_microsecond(micros).unwrap();
            let wire = encode(&json!(moment.to_string()), Type::Datetime, KEY).unwrap();
            let back: jiff::Timestamp = decode(wire, KEY).as_str().unwrap().parse().unwrap();
            prop_assert_eq!(back, moment);
            let date = jiff::tz::Offset::UTC.to_datetime(moment).date().to_string();
            let wire = encode(&json!(date), Type::Date, KEY).unwrap();
            prop_assert_eq!(decode(wire, KEY), json!(date));
        }
    }
}
