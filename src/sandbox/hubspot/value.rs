//! Turning what a client wrote into the text a property stores, or saying why it does not fit.

use rust_decimal::Decimal;
use serde_json::Value;

use super::problem::Misfit;
use super::property::Property;
use crate::clock::{civil_ms, parse_day, parse_ms};

/// Characters a text may have.
const TEXT_CHARS_MAX: usize = 65_536;
const DAY_MS: i64 = 86_400_000;

/// A moment as HubSpot writes it.
pub(crate) fn moment(at_ms: i64) -> String {
    format!("{}Z", civil_ms(at_ms))
}

/// A moment given as ISO 8601 or as milliseconds since the epoch.
pub(crate) fn read_moment(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().or_else(|| parse_ms(text))
}

/// A day given as ISO 8601, or as milliseconds at midnight UTC.
pub(crate) fn read_day(text: &str) -> Option<String> {
    if let Some(day) = parse_day(text) {
        return Some(day.to_string());
    }
    let at_ms = text.parse::<i64>().ok().filter(|at_ms| at_ms % DAY_MS == 0)?;
    moment(at_ms).get(..10).map(str::to_owned)
}

/// A number, exactly.
pub(crate) fn read_number(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text)
        .or_else(|_| Decimal::from_scientific(text))
        .ok()
}

/// The text a property stores for `given`; an empty text clears it.
pub(crate) fn stored(property: &Property, given: &Value) -> Result<String, Misfit> {
    let misfit = |code, message: String| Misfit {
        code,
        property: property.name.clone(),
        message,
    };
    if property.read_only {
        let message = format!(
            "Property \"{}\" is a read only property; its value cannot be set.",
            property.name
        );
        return Err(misfit("READ_ONLY_VALUE", message));
    }
    let text = match given {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        Value::Number(_) | Value::Bool(_) => given.to_string(),
        Value::Array(_) | Value::Object(_) => {
            return Err(misfit("INVALID_STRING", format!("{given} was not a text")));
        }
    };
    if text.is_empty() {
        return Ok(text);
    }
    let read = match property.kind.as_str() {
        "number" => read_number(&text)
            .map(|_| text.clone())
            .ok_or(("INVALID_INTEGER", "a valid number")),
        "bool" => matches!(text.as_str(), "true" | "false")
            .then(|| text.clone())
            .ok_or(("INVALID_BOOLEAN", "a valid boolean")),
        "date" => read_day(&text).ok_or(("INVALID_DATE", "a valid date")),
        "datetime" => read_moment(&text)
            .map(moment)
            .ok_or(("INVALID_DATE", "a valid date-time")),
        "enumeration" => return enumeration(property, text),
        _ if text.chars().count() > TEXT_CHARS_MAX => Err(("INVALID_LENGTH", "short enough")),
        _ if property.name == "email" => {
            let valid = text
                .split_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
            if valid {
                Ok(text.to_lowercase())
            } else {
                Err(("INVALID_EMAIL", "a valid email address"))
            }
        }
        _ => Ok(text.clone()),
    };
    read.map_err(|(code, wanted)| misfit(code, format!("{text} was not {wanted}.")))
}

fn enumeration(property: &Property, text: String) -> Result<String, Misfit> {
    if property.external_choices {
        return Ok(text);
    }
    let known = |value: &str| property.choices.iter().any(|choice| choice.value == value);
    if text.split(';').filter(|value| !value.is_empty()).all(known) {
        return Ok(text);
    }
    let allowed: Vec<_> = property
        .choices
        .iter()
        .map(|choice| choice.value.as_str())
        .collect();
    let message = format!(
        "{text} was not one of the allowed options: [{}]",
        allowed.join(", ")
    );
    Err(Misfit {
        code: "INVALID_OPTION",
        property: property.name.clone(),
        message,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hubspot::kind::Kind;
    use crate::hubspot::standard::properties;

    fn store(kind: Kind, name: &str, given: &Value) -> Result<String, &'static str> {
        let properties = properties(kind);
        let property = properties.iter().find(|property| property.name == name).unwrap();
        stored(property, given).map_err(|misfit| misfit.code)
    }

    #[test]
    fn values_become_the_text_hubspot_stores() {
        assert_eq!(
            store(Kind::Deal, "amount", &json!("1234567890123456.78")),
            Ok("1234567890123456.78".into())
        );
        assert_eq!(store(Kind::Deal, "amount", &json!(99)), Ok("99".into()));
        assert_eq!(
            store(Kind::Deal, "closedate", &json!("1795000000000")),
            Ok("2026-11-18T11:06:40.000Z".into())
        );
        assert_eq!(
            store(Kind::Deal, "closedate", &json!("2026-11-18T12:06:40+01:00")),
            Ok("2026-11-18T11:06:40.000Z".into())
        );
        assert_eq!(
            store(Kind::Contact, "email", &json!("A.B@Example.com ")),
            Ok("a.b@example.com".into())
        );
        assert_eq!(store(Kind::Deal, "amount", &Value::Null), Ok(String::new()));
        assert_eq!(read_day("1794960000000").as_deref(), Some("2026-11-18"));
        assert_eq!(read_day("1794960000001"), None, "not midnight");
    }

    #[test]
    fn values_that_do_not_fit_have_the_codes_of_hubspot() {
        assert_eq!(store(Kind::Deal, "amount", &json!("ten")), Err("INVALID_INTEGER"));
        assert_eq!(
            store(Kind::Deal, "dealstage", &json!("Closed Won")),
            Err("INVALID_OPTION"),
            "the label is not the value"
        );
        assert_eq!(
            store(Kind::Deal, "hs_is_closed", &json!("true")),
            Err("READ_ONLY_VALUE")
        );
        assert_eq!(
            store(Kind::Deal, "closedate", &json!("2026-11-18")),
            Err("INVALID_DATE")
        );
        assert_eq!(
            store(Kind::Contact, "email", &json!("nobody")),
            Err("INVALID_EMAIL")
        );
    }
}
