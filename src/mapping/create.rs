//! `create`: from the record to the wire.

use std::borrow::Cow;

use jiff::{Timestamp, civil::Date};
use model::{FieldType, Fields, Invalid, Money, RecordId, Value, normalise};
use rust_decimal::Decimal;
use serde_json::{Number, Value as Json};

use crate::Context;
use crate::get::{instant, odata};
use crate::lens::{
    Codec, CountryWire, CurrencyFrom, DateWire, InstantWire, ListWire, MoneyLens, NumberWire, ReferenceWire,
    SubdivisionWire,
};
use crate::line::{Line, part};
use crate::relation::{FALSE, Relation, TRUE};
use crate::whole_name;
use crate::wire::{WireField, scalar};

/// The foreign id of a record at an object.
pub(crate) type Refer<'a> = &'a dyn Fn(RecordId, &str) -> Option<String>;

/// A record that is being written.
pub(crate) struct Writing<'a> {
    pub(crate) lines: &'a [Line],
    pub(crate) fields: &'a Fields,
    /// What the system holds; nothing for an object that is new.
    pub(crate) object: Option<&'a Json>,
    pub(crate) context: Context<'a>,
    pub(crate) refer: Refer<'a>,
}

/// What a line writes: the value of its wire field, and of its second one.
pub(crate) struct Created {
    pub(crate) value: Json,
    pub(crate) second: Option<Json>,
}

/// Why a line cannot be written.
pub(crate) enum Refused {
    Invalid(Invalid),
    /// The record that is referred to is not in the system.
    Unreferred(RecordId),
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Refused {
        Refused::Invalid(invalid)
    }
}

impl Writing<'_> {
    /// Whether both sides agreed on a value of a line when they last did.
    pub(crate) fn agrees(&self, line: &Line, value: &Value) -> bool {
        self.context.agreed.and_then(|agreed| agreed.get(line.path)) == Some(value)
    }

    /// Writes a value that is not blank.
    pub(crate) fn create(&self, line: &Line, value: &Value) -> Result<Created, Refused> {
        if let Some(derived) = &line.derived {
            let (value, second) = (derived.write(value)?, None);
            return Ok(Created { value, second });
        }
        let json = match (&line.lens.codec, value) {
            (Codec::Plain | Codec::Phone { .. }, Value::Text(text)) => Json::from(line.lens.shape(text)),
            (Codec::WholeName, Value::Text(name)) => return Ok(self.name(line, name)?),
            (Codec::Country(wire), Value::Text(code)) => Json::from(country(*wire, code)?),
            (Codec::Subdivision { wire, country }, Value::Text(code)) => {
                Json::from(self.subdivision(*wire, *country, code)?)
            }
            (Codec::Money(lens), Value::Money(money)) => return Ok(self.money(lens, *money)?),
            (Codec::Decimal { wire, percent }, Value::Decimal(value)) => decimal(*wire, *percent, *value)?,
            (Codec::Integer(NumberWire::Number), Value::Integer(value)) => Json::from(*value),
            (Codec::Integer(NumberWire::Text), Value::Integer(value)) => Json::from(value.to_string()),
            (Codec::Relation(relation), Value::Text(word)) => choice(relation, word)?.clone(),
            (Codec::Relation(relation), Value::Bool(value)) => {
                choice(relation, if *value { TRUE } else { FALSE })?.clone()
            }
            (Codec::Date(wire), Value::Date(date)) => day(*wire, *date)?,
            (Codec::Instant { wire, digits }, Value::Instant(at)) => moment(*wire, cut(*at, *digits)),
            (Codec::List { wire, relation }, Value::Set(items)) => {
                list(line, wire, relation.as_ref(), items)?
            }
            (Codec::Reference { object, wire }, Value::Reference(record)) => {
                let id = (self.refer)(*record, object).ok_or(Refused::Unreferred(*record))?;
                reference(*wire, id)
            }
            (_, value) => {
                let found = normalise::written(value);
                return Err(
                    Invalid::new(&found, format!("a value that `{}` can hold", line.wire.name)).into(),
                );
            }
        };
        Ok(Created {
            value: json,
            second: None,
        })
    }

    fn money(&self, lens: &MoneyLens, money: Money) -> Result<Created, Invalid> {
        let text = money.amount_text();
        if let Some(expected) = lens.beyond(money.amount) {
            return Err(Invalid::new(&text, expected));
        }
        let expected = match lens.currency {
            CurrencyFrom::Field => None,
            CurrencyFrom::Fixed(currency) => Some(currency),
            CurrencyFrom::Connection => Some(self.context.currency.ok_or_else(|| {
                Invalid::new(
                    &text,
                    "an amount that can be written; give the connection its `currency`",
                )
            })?),
        };
        if let Some(expected) = expected.filter(|expected| *expected != money.currency) {
            let found = normalise::written(&Value::Money(money));
            return Err(Invalid::new(
                &found,
                format!("an amount in {}, the only currency here", expected.code()),
            ));
        }
        let currency = expected.is_none().then(|| Json::from(money.currency.code()));
        Ok(Created {
            value: number(lens.wire, if lens.minor { to_minor(money)? } else { text }),
            second: currency,
        })
    }

    /// The two parts of a whole name, beside those that stand there.
    fn name(&self, line: &Line, name: &str) -> Result<Created, Invalid> {
        let held = |wire: Option<&WireField>| {
            let held = wire.zip(self.object).and_then(|(wire, object)| wire.find(object));
            held.and_then(|held| part(held).ok()).unwrap_or_default()
        };
        let (first, last) = whole_name::apart(name, (held(Some(&line.wire)), held(line.second.as_ref())))?;
        let json = |part: &str| match part {
            "" => Json::Null,
            part => Json::from(part),
        };
        Ok(Created {
            value: json(first),
            second: Some(json(last)),
        })
    }

    fn subdivision(&self, wire: SubdivisionWire, line: Option<usize>, code: &str) -> Result<String, Invalid> {
        let Some((country, bare)) = code.split_once('-').filter(|_| wire != SubdivisionWire::Iso) else {
            return Ok(code.to_owned());
        };
        let named = line
            .and_then(|index| self.lines.get(index))
            .and_then(|line| self.fields.text(line.path));
        // A bare subdivision is read with the record's country: written beside another one it would be another place.
        if named.or(self.context.country) != Some(country) {
            return Err(Invalid::new(
                code,
                format!(
                    "a subdivision of the record's country, {}",
                    named.unwrap_or("which is blank")
                ),
            ));
        }
        // A few countries have two subdivisions of one name; their names would be read as the first.
        let same = |name: &&str| {
            let read = normalise::normalise(FieldType::Subdivision, name, Some(country));
            matches!(read, Ok(Value::Text(read)) if read == code)
        };
        let name =
            normalise::subdivision_name(code).filter(|name| wire == SubdivisionWire::Name && same(name));
        Ok(name.unwrap_or(bare).to_owned())
    }
}

/// Whether a value is written as what the wire holds, without asking anybody. True for more values than `get` would
/// read from it: the wire may be coarser than the record.
pub(crate) fn written_as(line: &Line, value: &Value, wire: &Json) -> bool {
    match (&line.lens.codec, value, wire) {
        (Codec::Plain | Codec::Phone { .. } | Codec::WholeName, Value::Text(text), Json::String(wire)) => {
            let wire = wire.trim();
            wire == line.lens.shape(text) || wire.contains('\r') && lines(wire) == line.lens.shape(text)
        }
        (Codec::Relation(relation), Value::Text(word), wire) => {
            scalar(wire).is_some_and(|wire| relation.is(word, wire.trim()))
        }
        (
            Codec::List {
                wire: ListWire::Single,
                relation,
            },
            Value::Set(items),
            wire,
        ) => {
            let written = single(line, relation.as_ref(), items);
            written.is_ok_and(|written| scalar(&written) == scalar(wire))
        }
        (Codec::Instant { digits, .. }, Value::Instant(at), wire) => {
            let held = scalar(wire).map(|wire| odata(wire).unwrap_or_else(|_| wire.to_owned()));
            held.and_then(|wire| instant(&wire).ok()) == Some(cut(*at, *digits))
        }
        _ => false,
    }
}

fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn choice<'r>(relation: &'r Relation, word: &str) -> Result<&'r Json, Invalid> {
    relation
        .wire(word)
        .ok_or_else(|| Invalid::new(word, relation.words()))
}

/// A decimal's text as a JSON number, digit by digit, or as text.
fn number(wire: NumberWire, text: String) -> Json {
    match text.parse::<Number>() {
        Ok(number) if wire == NumberWire::Number => Json::Number(number),
        _ => Json::String(text),
    }
}

/// An amount in the smallest units of its currency.
fn to_minor(money: Money) -> Result<String, Invalid> {
    let (amount, decimals) = (money.amount.normalize(), money.currency.decimals());
    let units = 10_i64
        .checked_pow(decimals)
        .and_then(|units| amount.checked_mul(Decimal::from(units)))
        .map(|units| units.normalize())
        .filter(|units| units.scale() == 0);
    units.map(|units| units.to_string()).ok_or_else(|| {
        let code = money.currency.code();
        let expected = format!("an amount with at most {decimals} decimals, which is what {code} has");
        Invalid::new(&money.amount_text(), expected)
    })
}

fn decimal(wire: NumberWire, percent: bool, value: Decimal) -> Result<Json, Invalid> {
    let shifted = if percent {
        value.checked_mul(Decimal::ONE_HUNDRED)
    } else {
        Some(value)
    };
    let shifted = shifted
        .ok_or_else(|| Invalid::new(&value.to_string(), "a number that fits 28 digits as percentage"))?;
    Ok(number(wire, normalise::plain(&shifted)))
}

fn country(wire: CountryWire, code: &str) -> Result<Cow<'_, str>, Invalid> {
    let found = match wire {
        CountryWire::Alpha2 => Some(code),
        CountryWire::Alpha3 => normalise::country_alpha3(code),
        CountryWire::Name => normalise::country_name(code),
    };
    found
        .map(Cow::Borrowed)
        .ok_or_else(|| Invalid::new(code, "a country of ISO 3166-1"))
}

fn day(wire: DateWire, date: Date) -> Result<Json, Invalid> {
    Ok(match wire {
        DateWire::Date => Json::from(date.to_string()),
        DateWire::UtcMidnight => Json::from(format!("{date}T00:00:00Z")),
        DateWire::EpochMs => Json::from(midnight_ms(date)?),
        DateWire::ODataV2 => Json::from(format!("/Date({})/", midnight_ms(date)?)),
    })
}

/// Midnight in UTC, in milliseconds since 1970.
fn midnight_ms(date: Date) -> Result<i64, Invalid> {
    let midnight = jiff::tz::Offset::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight()));
    midnight
        .map(|midnight| midnight.as_millisecond())
        .map_err(|_| Invalid::new(&date.to_string(), "a day from -9999 to 9999"))
}

/// The moment with as many digits of a second as the system keeps.
fn cut(at: Timestamp, digits: u8) -> Timestamp {
    let step = 10_i128.pow(9 - u32::from(digits.min(9)));
    let nanos = at.as_nanosecond();
    Timestamp::from_nanosecond(nanos - nanos.rem_euclid(step)).unwrap_or(at)
}

fn moment(wire: InstantWire, at: Timestamp) -> Json {
    match wire {
        InstantWire::Iso => Json::from(at.to_string()),
        InstantWire::EpochMs => Json::from(at.as_millisecond()),
        InstantWire::ODataV2 => Json::from(format!("/Date({}+0000)/", at.as_millisecond())),
    }
}

fn list(
    line: &Line,
    form: &ListWire,
    relation: Option<&Relation>,
    items: &std::collections::BTreeSet<String>,
) -> Result<Json, Invalid> {
    let wires = || items.iter().map(|item| wire_item(relation, item));
    match form {
        ListWire::Single => single(line, relation, items),
        ListWire::List => wires().collect::<Result<Vec<Json>, _>>().map(Json::Array),
        ListWire::Split(separator) => {
            let mut text = String::new();
            for item in wires() {
                let item = item?;
                let item = scalar(&item).unwrap_or_default();
                if item.contains(&**separator) {
                    return Err(Invalid::new(
                        item,
                        format!("an item without `{separator}`, which separates items in the system"),
                    ));
                }
                if !text.is_empty() {
                    text.push_str(separator);
                }
                text.push_str(item);
            }
            Ok(Json::String(text))
        }
    }
}

fn wire_item(relation: Option<&Relation>, item: &str) -> Result<Json, Invalid> {
    relation.map_or_else(
        || Ok(Json::from(item)),
        |relation| choice(relation, item).cloned(),
    )
}

/// Of several words the first one in the order of the field's words, which is the order of their weight.
fn single(
    line: &Line,
    relation: Option<&Relation>,
    items: &std::collections::BTreeSet<String>,
) -> Result<Json, Invalid> {
    let first = match line.field_type {
        FieldType::Choices(words) => words.iter().copied().find(|word| items.contains(*word)),
        _ => None,
    };
    let first = first
        .or_else(|| items.first().map(String::as_str))
        .unwrap_or_default();
    wire_item(relation, first)
}

fn reference(wire: ReferenceWire, id: String) -> Json {
    match wire {
        ReferenceWire::Text => Json::String(id),
        ReferenceWire::Number => number(NumberWire::Number, id),
        ReferenceWire::List => Json::Array(vec![Json::String(id)]),
    }
}
