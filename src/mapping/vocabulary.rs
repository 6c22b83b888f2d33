//! The steps that a lens may have, and which types of fields each is for.

use model::FieldType;

/// Every step there is.
pub const STEPS: &[&str] = &[
    "truncate",
    "case",
    "enum",
    "split",
    "list",
    "single",
    "bool",
    "money",
    "decimal",
    "integer",
    "date",
    "datetime",
    "phone",
    "email",
    "url",
    "domain",
    "country",
    "subdivision",
    "reference",
    "part",
    "whole_name",
];

/// The words of a choice.
pub(crate) fn words(field_type: FieldType) -> &'static [&'static str] {
    match field_type {
        FieldType::Choice(words) | FieldType::Choices(words) => words,
        _ => &[],
    }
}

/// Which steps a field of a type may have.
pub(crate) fn fits(step: &str, field_type: FieldType) -> bool {
    use FieldType as F;
    match step {
        "truncate" | "part" | "whole_name" => matches!(field_type, F::Text { .. }),
        "case" => matches!(field_type, F::Text { .. } | F::Email),
        "enum" => matches!(field_type, F::Choice(_) | F::Choices(_)),
        "split" | "list" | "single" => matches!(field_type, F::Choices(_) | F::Set),
        "bool" => field_type == F::Bool,
        "money" => field_type == F::Money,
        "decimal" => field_type == F::Decimal,
        "integer" => field_type == F::Integer,
        "date" => field_type == F::Date,
        "datetime" => field_type == F::Instant,
        "phone" => field_type == F::Phone,
        "email" => field_type == F::Email,
        "url" => field_type == F::Url,
        "domain" => field_type == F::Domain,
        "country" => field_type == F::Country,
        "subdivision" => field_type == F::Subdivision,
        "reference" => matches!(field_type, F::Reference(_)),
        _ => false,
    }
}

/// A type in words.
pub(crate) fn holds(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Text { .. } => "text",
        FieldType::Email => "an e-mail address",
        FieldType::Phone => "a phone number",
        FieldType::Domain => "a domain",
        FieldType::Url => "a web address",
        FieldType::Country => "a country",
        FieldType::Subdivision => "a subdivision",
        FieldType::Money => "an amount with its currency",
        FieldType::Decimal => "a decimal number",
        FieldType::Integer => "a whole number",
        FieldType::Bool => "true or false",
        FieldType::Date => "a day",
        FieldType::Instant => "a moment",
        FieldType::Choice(_) => "one of a set of words",
        FieldType::Choices(_) => "several of a set of words",
        FieldType::Set => "a set of texts",
        FieldType::Reference(_) => "a reference to another record",
    }
}
