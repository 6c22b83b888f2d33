//! Fields that Salesforce fills in by itself: names of people, and what a stage says about a deal.

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::field::Kind;
use super::schema::Object;
use super::standard::STAGES;
use super::value::{decimal, json_number};

/// Brings the derived fields of a row in line with the others; `given` are the fields the client wrote.
pub(crate) fn derive(object: &Object, row: &mut [Value], given: &[(usize, Value)]) {
    if let (Some(first), Some(last)) = (object.position("FirstName"), object.position("LastName")) {
        let parts = [first, last].map(|at| row[at].as_str().unwrap_or_default());
        let name = parts.join(" ").trim().to_owned();
        row[object.at("Name")] = Value::from(name);
    }
    if object.name == "Opportunity" {
        deal(object, row, given);
    }
}

fn deal(object: &Object, row: &mut [Value], given: &[(usize, Value)]) {
    let wrote = |field: &str| {
        given
            .iter()
            .any(|(at, value)| *at == object.at(field) && !value.is_null())
    };
    let name = row[object.at("StageName")].as_str().unwrap_or_default();
    if let Some(stage) = STAGES.iter().find(|stage| stage.name == name) {
        row[object.at("IsClosed")] = Value::Bool(stage.closed);
        row[object.at("IsWon")] = Value::Bool(stage.won);
        row[object.at("ForecastCategory")] = Value::from(stage.forecast);
        row[object.at("ForecastCategoryName")] = Value::from(stage.forecast);
        let probability = object.at("Probability");
        if !wrote("Probability") && (wrote("StageName") || row[probability].is_null()) {
            row[probability] = json_number(Kind::Percent, Decimal::from(stage.percent));
        }
    }
    let number = |field: &str| decimal(&row[object.at(field)].to_string());
    row[object.at("ExpectedRevenue")] = match (number("Amount"), number("Probability")) {
        (Some(amount), Some(percent)) => {
            let expected = amount
                .checked_mul(percent)
                .map(|product| (product / Decimal::ONE_HUNDRED).round_dp(2));
            expected.map_or(Value::Null, |expected| json_number(Kind::Currency, expected))
        }
        _ => Value::Null,
    };
    if let Some(close) = row[object.at("CloseDate")]
        .as_str()
        .and_then(crate::clock::parse_day)
    {
        let quarter = (close.month() + 2) / 3;
        row[object.at("FiscalQuarter")] = Value::from(quarter);
        row[object.at("FiscalYear")] = Value::from(close.year());
        row[object.at("Fiscal")] = Value::from(format!("{} {quarter}", close.year()));
    }
}

/// The compound address of a row, or null when it has no part.
pub(crate) fn address(object: &Object, row: &[Value], compound: &str) -> Value {
    let prefix = compound.trim_end_matches("Address");
    let mut parts = Map::new();
    for (key, part) in [
        ("city", "City"),
        ("country", "Country"),
        ("postalCode", "PostalCode"),
        ("state", "State"),
        ("street", "Street"),
    ] {
        if let Some(at) = object.position(&format!("{prefix}{part}")) {
            parts.insert(key.to_owned(), row[at].clone());
        }
    }
    if parts.values().all(Value::is_null) {
        return Value::Null;
    }
    for unknown in ["geocodeAccuracy", "latitude", "longitude"] {
        parts.insert(unknown.to_owned(), Value::Null);
    }
    Value::Object(parts)
}
