//! Normalisation: what people and systems write, as the one form that records hold.
//!
//! [`normalise`] turns a text into the [`Value`] of a [`FieldType`], or says what would have been right.
//! [`written`] is its inverse: the one text of a value. An amount comes as two texts, see [`money`].
//!
//! Promised: blank is [`Value::Null`] for every type; `normalise(written(v)) == v` for every value it returns; text
//! of any length and content is answered, never a panic; nothing is guessed: a phone number without a country
//! code is only read with a country, a bare subdivision likewise.
//! Not here: how a system spells its enumerations and dates. That is what a mapping's lenses say.

mod phone;
mod place;
mod web;

use std::collections::BTreeSet;

use jiff::{Timestamp, civil::Date};
use rust_decimal::Decimal;

use crate::{Currency, FieldType, Invalid, Kind, Money, RecordId, Value, money::decimal};

pub use place::{country_alpha3, country_name, subdivision_name};

/// Bytes of a text that are looked at; longer text is refused whatever its type.
pub const RAW_BYTES_MAX: usize = 128 * 1024;

/// The value of a text for a type of field.
///
/// `country` (ISO 3166-1 alpha-2) is where a phone number without country code rings and which country a bare
/// subdivision (`CA`, `California`) belongs to.
pub fn normalise(field_type: FieldType, raw: &str, country: Option<&str>) -> Result<Value, Invalid> {
    let raw = raw.trim();
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    if raw.len() > RAW_BYTES_MAX {
        return Err(Invalid::new(
            raw,
            format!("text of at most {RAW_BYTES_MAX} bytes"),
        ));
    }
    match field_type {
        FieldType::Text { chars_max } => text(raw, chars_max),
        FieldType::Email => web::email(raw).map(Value::Text),
        FieldType::Phone => phone::phone(raw, country).map(Value::Text),
        FieldType::Domain => web::domain(raw).map(Value::Text),
        FieldType::Url => web::url(raw).map(Value::Text),
        FieldType::Country => place::country(raw).map(|code| Value::Text(code.to_owned())),
        FieldType::Subdivision => place::subdivision(raw, country).map(|code| Value::Text(code.to_owned())),
        FieldType::Money => amount_and_code(raw),
        FieldType::Decimal => decimal(raw).map(Value::Decimal),
        FieldType::Integer => integer(raw),
        FieldType::Bool => boolean(raw),
        FieldType::Date => date(raw).map(Value::Date),
        FieldType::Instant => instant(raw).map(Value::Instant),
        FieldType::Choice(words) => choice(raw, words).map(|word| Value::Text(word.to_owned())),
        FieldType::Choices(words) => items(raw)
            .map(|word| choice(word, words).map(str::to_owned))
            .collect::<Result<_, _>>()
            .map(set),
        FieldType::Set => Ok(set(items(raw).map(str::to_owned).collect())),
        FieldType::Reference(kind) => reference(raw, kind),
    }
}

/// An amount and the code of its currency; blank without an amount, refused without a currency.
pub fn money(amount: &str, currency: &str) -> Result<Value, Invalid> {
    if amount.trim().is_empty() {
        return Ok(Value::Null);
    }
    Money::parse(amount, Currency::parse(currency)?).map(Value::Money)
}

/// The one text of a value, which [`normalise`] reads back; empty for blank.
pub fn written(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Decimal(value) => plain(value),
        Value::Text(text) => text.clone(),
        Value::Date(date) => date.to_string(),
        Value::Instant(at) => at.to_string(),
        Value::Money(money) => format!("{} {}", money.amount_text(), money.currency.code()),
        Value::Reference(id) => id.to_string(),
        Value::Set(items) => items.iter().map(String::as_str).collect::<Vec<_>>().join(";"),
    }
}

/// A decimal without zeros at its end.
pub fn plain(value: &Decimal) -> String {
    value.normalize().to_string()
}

fn text(raw: &str, chars_max: usize) -> Result<Value, Invalid> {
    if raw.contains('\0') {
        return Err(Invalid::new(raw, "text without NUL characters"));
    }
    // Bytes are counted first because characters are never more than bytes: the usual text is not walked twice.
    if raw.len() > chars_max && raw.chars().count() > chars_max {
        return Err(Invalid::new(
            raw,
            format!("text of at most {chars_max} characters"),
        ));
    }
    // One line ending, whatever the system's text boxes send: otherwise two copies of an address never agree.
    if raw.contains('\r') {
        return Ok(Value::Text(raw.replace("\r\n", "\n").replace('\r', "\n")));
    }
    Ok(Value::Text(raw.to_owned()))
}

fn amount_and_code(raw: &str) -> Result<Value, Invalid> {
    let expected = || Invalid::new(raw, "an amount and a currency such as `1250.50 EUR`");
    let (amount, code) = raw.rsplit_once(' ').ok_or_else(expected)?;
    money(amount, code)
}

fn integer(raw: &str) -> Result<Value, Invalid> {
    raw.parse()
        .map(Value::Integer)
        .map_err(|_| Invalid::new(raw, "a whole number that fits 64 bits"))
}

fn boolean(raw: &str) -> Result<Value, Invalid> {
    match raw {
        "true" | "True" | "TRUE" | "1" => Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" | "0" => Ok(Value::Bool(false)),
        _ => Err(Invalid::new(raw, "true or false")),
    }
}

/// A day as `YYYY-MM-DD`. A moment is refused: which day it is depends on a zone that nobody named.
fn date(raw: &str) -> Result<Date, Invalid> {
    let expected = "a day as YYYY-MM-DD, without time or zone";
    let digits = |range: std::ops::Range<usize>| -> Option<i16> {
        let part = raw.get(range)?;
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse().ok())
            .flatten()
    };
    let bytes = raw.as_bytes();
    let parts = (bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-')
        .then(|| Some((digits(0..4)?, digits(5..7)?, digits(8..10)?)))
        .flatten();
    let (year, month, day) = parts.ok_or_else(|| Invalid::new(raw, expected))?;
    let small = |number: i16| i8::try_from(number).expect("two digits fit");
    Date::new(year, small(month), small(day))
        .map_err(|_| Invalid::new(raw, "a day that exists, as YYYY-MM-DD"))
}

/// A moment of RFC 3339, also with an offset without colon (`+0000`), as Salesforce writes it.
/// The source's precision is kept, down to nanoseconds.
fn instant(raw: &str) -> Result<Timestamp, Invalid> {
    let expected = || Invalid::new(raw, "a moment with its offset, such as 2026-03-31T08:15:00Z");
    let bytes = raw.as_bytes();
    // RFC 3339 only: jiff would also read week dates, zone names and a space for the `T`.
    let shaped = bytes.len() >= 20
        && bytes.len() <= 40
        && bytes[10].eq_ignore_ascii_case(&b'T')
        && bytes
            .iter()
            .all(|b| b.is_ascii_digit() || b"-+:.TtZz".contains(b));
    if !shaped {
        return Err(expected());
    }
    raw.parse().map_err(|_| expected())
}

fn choice(raw: &str, words: &'static [&'static str]) -> Result<&'static str, Invalid> {
    words
        .iter()
        .find(|word| **word == raw)
        .copied()
        .ok_or_else(|| Invalid::new(raw, format!("one of {}", words.join(", "))))
}

fn items(raw: &str) -> impl Iterator<Item = &str> {
    raw.split(';').map(str::trim).filter(|item| !item.is_empty())
}

fn set(items: BTreeSet<String>) -> Value {
    if items.is_empty() {
        Value::Null
    } else {
        Value::Set(items)
    }
}

fn reference(raw: &str, kind: Kind) -> Result<Value, Invalid> {
    // The crate behind ids cuts its text at a byte: characters of several bytes must not reach it.
    match raw
        .chars()
        .all(|c| c.is_ascii_graphic())
        .then(|| raw.parse::<RecordId>())
    {
        Some(Ok(id)) if id.kind == kind => Ok(Value::Reference(id)),
        _ => Err(Invalid::new(
            raw,
            format!("the id of a {kind}, {}_…", kind.prefix()),
        )),
    }
}

#[cfg(test)]
mod tests;
