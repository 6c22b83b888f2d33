//! [`Value`]: what one field of a record can hold, always in normalised form.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{Timestamp, civil::Date};
use rust_decimal::Decimal;

use crate::{Money, RecordId};

/// The value of a field.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Known to be blank, which is not the same as not known.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// An exact decimal.
    Decimal(Decimal),
    /// Text, normalised as its field's type asks.
    Text(String),
    /// A day, without a time and without a zone.
    Date(Date),
    /// A moment, in UTC.
    Instant(Timestamp),
    /// An amount and its currency.
    Money(Money),
    /// Another record.
    Reference(RecordId),
    /// Texts without order.
    Set(BTreeSet<String>),
}

impl Value {
    /// Text, or blank when it is empty.
    pub fn text(text: impl Into<String>) -> Value {
        let text = text.into();
        if text.is_empty() {
            Value::Null
        } else {
            Value::Text(text)
        }
    }

    /// Whether the field is known to be blank.
    pub fn is_blank(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Set(items) => items.is_empty(),
            _ => false,
        }
    }

    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The record it refers to, if it is a reference.
    pub fn as_reference(&self) -> Option<RecordId> {
        match self {
            Value::Reference(id) => Some(*id),
            _ => None,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("blank"),
            Value::Bool(value) => value.fmt(f),
            Value::Integer(value) => value.fmt(f),
            Value::Decimal(value) => write!(f, "{value}"),
            Value::Text(value) => value.fmt(f),
            Value::Date(value) => write!(f, "{value}"),
            Value::Instant(value) => write!(f, "{value}"),
            Value::Money(value) => value.fmt(f),
            Value::Reference(value) => value.fmt(f),
            Value::Set(value) => value.fmt(f),
        }
    }
}

/// Text that cannot be a value of its field: what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {expected}")]
pub struct Invalid {
    /// What was found, cut to [`Invalid::FOUND_CHARS_MAX`].
    pub found: String,
    /// What would have been right.
    pub expected: String,
}

impl Invalid {
    /// How many characters of a bad value a message repeats.
    pub const FOUND_CHARS_MAX: usize = 60;

    /// Notes what was found and what was expected.
    pub fn new(found: &str, expected: impl Into<String>) -> Invalid {
        let mut shown: String = found.chars().take(Invalid::FOUND_CHARS_MAX).collect();
        if shown.len() < found.len() {
            shown.push('…');
        }
        Invalid {
            found: shown,
            expected: expected.into(),
        }
    }
}
