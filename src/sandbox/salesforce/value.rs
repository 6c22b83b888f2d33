//! Turning a JSON value from a client into the value a field stores, or refusing it in Salesforce's words.
//!
//! Numbers are decimals from the first digit to the last: they are never held in a float.

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Number, Value};

use super::field::{Field, Kind};
use super::ids;
use super::refusal::Refusal;
use crate::clock::{civil_ms, parse_day, parse_ms};

/// What a row stores for `given` in `field`. An empty text is the same as nothing, as at Salesforce.
pub(crate) fn stored(field: &Field, given: &Value) -> Result<Value, Refusal> {
    if given.is_null() || matches!(given, Value::String(text) if text.trim().is_empty()) {
        return Ok(if field.kind == Kind::Boolean {
            Value::Bool(false)
        } else {
            Value::Null
        });
    }
    match field.kind {
        Kind::Boolean => boolean(field, given),
        Kind::Int | Kind::Double | Kind::Percent | Kind::Currency => number(field, given),
        Kind::Date => match given.as_str().and_then(parse_day) {
            Some(day) => Ok(Value::from(day.to_string())),
            None => Err(unfit("date", given)),
        },
        Kind::DateTime => match given.as_str().and_then(parse_ms) {
            Some(at_ms) => Ok(Value::from(moment(at_ms))),
            None => Err(unfit("datetime", given)),
        },
        Kind::Id | Kind::Reference => reference(field, given),
        Kind::Text | Kind::TextArea | Kind::Email | Kind::Phone | Kind::Url | Kind::Picklist => {
            text(field, given)
        }
        Kind::Address => Err(unfit("Address", given)),
    }
}

/// A moment as Salesforce writes it: `2026-11-22T10:15:30.000+0000`.
pub(crate) fn moment(at_ms: i64) -> String {
    format!("{}+0000", civil_ms(at_ms))
}

/// Reads a number exactly, with or without an exponent.
pub(crate) fn decimal(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text)
        .or_else(|_| Decimal::from_scientific(text))
        .ok()
}

/// A number as a JSON number with every digit it has.
pub(crate) fn json_number(kind: Kind, number: Decimal) -> Value {
    let number = number.normalize();
    let whole = number.scale() == 0;
    let text = if whole && kind != Kind::Int {
        format!("{number}.0")
    } else {
        number.to_string()
    };
    Value::Number(
        text.parse::<Number>()
            .expect("a decimal is written as a JSON number"),
    )
}

fn unfit(what: &str, given: &Value) -> Refusal {
    let kind = match given {
        Value::Null => "VALUE_NULL",
        Value::Bool(true) => "VALUE_TRUE",
        Value::Bool(false) => "VALUE_FALSE",
        Value::Number(number) if number.to_string().contains('.') => "VALUE_NUMBER_FLOAT",
        Value::Number(_) => "VALUE_NUMBER_INT",
        Value::String(_) => "VALUE_STRING",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    };
    let value = match given {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Refusal::unreadable(format!(
        "Cannot deserialize instance of {what} from {kind} value {value} or request may be missing a required field"
    ))
}

fn boolean(field: &Field, given: &Value) -> Result<Value, Refusal> {
    match given {
        Value::Bool(_) => Ok(given.clone()),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        _ => Err(unfit(field.kind.name(), given)),
    }
}

fn number(field: &Field, given: &Value) -> Result<Value, Refusal> {
    let read = match given {
        Value::Number(number) => decimal(&number.to_string()),
        Value::String(text) => decimal(text.trim()),
        _ => None,
    };
    let number = read.ok_or_else(|| unfit(field.kind.name(), given))?;
    if field.kind == Kind::Int && !number.fract().is_zero() {
        return Err(unfit("int", given));
    }
    let number = number.round_dp_with_strategy(field.scale, RoundingStrategy::MidpointAwayFromZero);
    let whole_digits = field.precision - field.scale;
    let limit = 10u64.checked_pow(whole_digits).map(Decimal::from);
    if limit.is_some_and(|limit| number.abs() >= limit) {
        let message = format!(
            "{}: value outside of valid range on numeric field: {number}",
            field.label
        );
        return Err(Refusal::bad("NUMBER_OUTSIDE_VALID_RANGE", message).about(&field.name));
    }
    Ok(json_number(field.kind, number))
}

fn reference(field: &Field, given: &Value) -> Result<Value, Refusal> {
    let text = given.as_str().ok_or_else(|| unfit("reference", given))?;
    ids::normal(text.trim()).map(Value::from).ok_or_else(|| {
        Refusal::bad(
            "MALFORMED_ID",
            format!("{}: id value of incorrect type: {text}", field.label),
        )
        .about(&field.name)
    })
}

fn text(field: &Field, given: &Value) -> Result<Value, Refusal> {
    let text = match given {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(_) | Value::Bool(_) => given.to_string(),
        _ => return Err(unfit(field.kind.name(), given)),
    };
    if field.kind == Kind::Picklist {
        return picklist(field, text);
    }
    if field.kind == Kind::Email && !looks_like_email(&text) {
        let message = format!("{}: invalid email address: {text}", field.label);
        return Err(Refusal::bad("INVALID_EMAIL_ADDRESS", message).about(&field.name));
    }
    if text.chars().count() > field.length {
        let message = format!(
            "{}: data value too large: {text} (max length={})",
            field.label, field.length
        );
        return Err(Refusal::bad("STRING_TOO_LONG", message).about(&field.name));
    }
    Ok(Value::String(text))
}

fn picklist(field: &Field, text: String) -> Result<Value, Refusal> {
    if !field.restricted || field.values.contains(&text.as_str()) {
        return Ok(Value::String(text));
    }
    let refusal = if field.name == "CurrencyIsoCode" {
        Refusal::bad(
            "INVALID_CURRENCY_ISO",
            format!("Currency ISO Code: invalid currency ISO code: {text}"),
        )
    } else {
        let message = format!("{}: bad value for restricted picklist field: {text}", field.label);
        Refusal::bad("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message)
    };
    Err(refusal.about(&field.name))
}

/// One `@` with something on both sides, a dot behind it, and no blanks: what the field accepts, not what a mail server would.
fn looks_like_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    !local.is_empty()
        && !domain.contains('@')
        && domain.split('.').count() > 1
        && domain.split('.').all(|part| !part.is_empty())
        && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn code(field: &Field, given: &Value) -> &'static str {
        stored(field, given).unwrap_err().code
    }

    #[test]
    fn an_amount_keeps_every_digit() {
        let amount = Field::number("Amount", Kind::Currency, 18, 2);
        let read = |text: &str| {
            stored(&amount, &serde_json::from_str(text).unwrap())
                .unwrap()
                .to_string()
        };
        assert_eq!(read("1234567890123456.78"), "1234567890123456.78");
        assert_eq!(read("\"0.10\""), "0.1");
        assert_eq!(read("99.995"), "100.0");
        assert_eq!(read("1e3"), "1000.0");
        assert_eq!(
            code(&amount, &serde_json::from_str("12345678901234567").unwrap()),
            "NUMBER_OUTSIDE_VALID_RANGE"
        );
        assert_eq!(code(&amount, &json!("ten")), "JSON_PARSER_ERROR");
    }

    #[test]
    fn values_that_do_not_fit_are_refused_with_the_codes_of_salesforce() {
        let last_name = Field::text("LastName", 5);
        let refusal = stored(&last_name, &json!("Müllerin")).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.message.as_str()),
            (
                "STRING_TOO_LONG",
                "Last Name: data value too large: Müllerin (max length=5)"
            )
        );
        let stage = Field::picklist("StageName", &["Open"]).restricted();
        assert_eq!(
            code(&stage, &json!("open")),
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
        );
        assert_eq!(
            stored(&Field::picklist("Industry", &["Open"]), &json!("Mine")),
            Ok(json!("Mine"))
        );
        assert_eq!(
            code(&Field::email("Email"), &json!("nobody@nowhere")),
            "INVALID_EMAIL_ADDRESS"
        );
        assert_eq!(
            code(
                &Field::reference("AccountId", "Account", "Account"),
                &json!("001")
            ),
            "MALFORMED_ID"
        );
        assert_eq!(
            code(&Field::date("CloseDate"), &json!("2026-11-31")),
            "JSON_PARSER_ERROR"
        );
        assert_eq!(
            code(&Field::boolean("IsActive"), &json!("perhaps")),
            "JSON_PARSER_ERROR"
        );
    }

    #[test]
    fn emptiness_has_one_form() {
        assert_eq!(stored(&Field::text("Title", 5), &json!("  ")), Ok(Value::Null));
        assert_eq!(
            stored(&Field::text("Title", 5), &json!(" CEO ")),
            Ok(json!("CEO"))
        );
        assert_eq!(
            stored(&Field::boolean("IsActive"), &Value::Null),
            Ok(json!(false))
        );
    }

    proptest! {
        #[test]
        fn money_written_and_read_again_is_the_same_money(cents in -99_999_999_999_999_999i64..99_999_999_999_999_999) {
            let amount = Decimal::new(cents, 2);
            let field = Field::number("Amount", Kind::Currency, 18, 2);
            let given: Value = serde_json::from_str(&amount.to_string()).unwrap();
            let kept = stored(&field, &given).unwrap().to_string();
            prop_assert_eq!(decimal(&kept), Some(amount));
        }
    }
}
