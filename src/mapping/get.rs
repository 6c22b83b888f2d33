//! `get`: from the wire to the record.

use std::borrow::Cow;

use jiff::tz::Offset;
use jiff::{Timestamp, civil::Date};
use model::normalise::{self, normalise};
use model::{Currency, FieldType, Fields, Invalid, Money, RecordId, Value};
use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::Context;
use crate::create::written_as;
use crate::lens::{Codec, CurrencyFrom, DateWire, InstantWire, ListWire, MoneyLens, Part, SubdivisionWire};
use crate::line::{Blank, Line};
use crate::relation::{Relation, TRUE};
use crate::whole_name;
use crate::wire::{blank, scalar, shown, text};

/// Who a foreign id is, by the object it is an id of.
pub(crate) type Resolve<'a> = &'a dyn Fn(&str, &str) -> Option<RecordId>;

/// An object that is being read.
pub(crate) struct Reading<'a> {
    pub(crate) lines: &'a [Line],
    pub(crate) object: &'a Json,
    /// What both sides last agreed on.
    pub(crate) base: Option<&'a Fields>,
    pub(crate) context: Context<'a>,
    pub(crate) resolve: Resolve<'a>,
}

/// What a line reads.
pub(crate) enum Read {
    /// The object does not carry the wire field.
    Unknown,
    Value(Value),
    Invalid(Invalid),
    /// A foreign id that nobody knows.
    Unresolved(String),
}

impl From<Result<Value, Invalid>> for Read {
    fn from(result: Result<Value, Invalid>) -> Read {
        result.map_or_else(Read::Invalid, Read::Value)
    }
}

impl Reading<'_> {
    /// Reads one line, relative to the base.
    pub(crate) fn read(&self, line: &Line) -> Read {
        let wire = match line.find(self.object) {
            Ok(Some(wire)) => wire,
            Ok(None) => return Read::Unknown,
            Err(invalid) => return Read::Invalid(invalid),
        };
        let wire = &*wire;
        if line.blank(wire) {
            return match &line.blank {
                Blank { ignore: true, .. } => Read::Unknown,
                Blank { read, .. } => Read::Value(read.clone().unwrap_or(Value::Null)),
            };
        }
        match self.base.and_then(|base| base.filled(line.path)) {
            Some(base) if written_as(line, base, wire) => Read::Value(base.clone()),
            base => self.get(line, wire, base),
        }
    }

    /// Reads a wire value that is not blank. The base only chooses among several references.
    pub(crate) fn get(&self, line: &Line, wire: &Json, base: Option<&Value>) -> Read {
        match &line.lens.codec {
            Codec::Reference { object, .. } => self.reference(line, object, wire, base),
            _ => self.value(line, wire).into(),
        }
    }

    fn value(&self, line: &Line, wire: &Json) -> Result<Value, Invalid> {
        match &line.lens.codec {
            Codec::Plain | Codec::WholeName => {
                normalise(line.field_type, &line.lens.shape(text(wire)?.trim()), None)
            }
            Codec::Country(_) => normalise(FieldType::Country, text(wire)?, None),
            Codec::Phone { country } => {
                let raw = text(wire)?.trim();
                // A number with its country code needs no country: finding that is not free.
                let country = if raw.starts_with('+') {
                    None
                } else {
                    self.country(*country)
                };
                normalise(FieldType::Phone, raw, country.as_deref())
            }
            Codec::Subdivision { wire: form, country } => {
                let raw = text(wire)?.trim();
                // A full code says its country itself; only what is bare is looked up in the country beside it.
                let full = *form == SubdivisionWire::Iso && raw.contains('-');
                let country = if full { None } else { self.country(*country) };
                normalise(FieldType::Subdivision, raw, country.as_deref())
            }
            Codec::Money(lens) => self.money(line, lens, wire),
            Codec::Decimal { percent, .. } => match normalise(FieldType::Decimal, text(wire)?, None)? {
                Value::Decimal(value) if *percent => hundredth(value).map(Value::Decimal),
                value => Ok(value),
            },
            Codec::Integer(_) => normalise(FieldType::Integer, text(wire)?, None),
            Codec::Relation(relation) => match (word(relation, wire)?, line.field_type) {
                (word, FieldType::Bool) => Ok(Value::Bool(word == TRUE)),
                (word, _) => Ok(Value::Text(word.to_owned())),
            },
            Codec::Date(DateWire::ODataV2) => odata(text(wire)?).and_then(|ms| day(&ms)).map(Value::Date),
            Codec::Date(DateWire::Date) => normalise(FieldType::Date, text(wire)?, None),
            Codec::Date(_) => day(text(wire)?).map(Value::Date),
            Codec::Instant {
                wire: InstantWire::ODataV2,
                ..
            } => odata(text(wire)?).and_then(|ms| instant(&ms)).map(Value::Instant),
            Codec::Instant { .. } => instant(text(wire)?).map(Value::Instant),
            Codec::List { wire: form, relation } => list(line.field_type, form, relation.as_ref(), wire),
            Codec::Part { part, other } => Ok(self.part(line, *part, *other, text(wire)?)),
            // `get` has taken references.
            Codec::Reference { .. } => Ok(Value::Null),
        }
    }

    /// The country that a line names, the base's when the object does not carry it, the connection's when it is
    /// blank. A country that cannot be read is none: guessing another one would make numbers of nobody.
    fn country(&self, line: Option<usize>) -> Option<Cow<'_, str>> {
        let line = line.and_then(|index| self.lines.get(index));
        let found = match line.map(|line| line.find(self.object)) {
            Some(Err(_)) => return None,
            Some(Ok(found)) => found,
            None => None,
        };
        let named = match found.as_deref() {
            None => line
                .zip(self.base)
                .and_then(|(line, base)| base.text(line.path))
                .map(Cow::Borrowed),
            Some(wire) if blank(wire) => None,
            Some(wire) => match normalise(FieldType::Country, scalar(wire).unwrap_or_default(), None) {
                Ok(Value::Text(code)) => Some(Cow::Owned(code)),
                _ => return None,
            },
        };
        named.or_else(|| self.context.country.map(Cow::Borrowed))
    }

    fn money(&self, line: &Line, lens: &MoneyLens, wire: &Json) -> Result<Value, Invalid> {
        let amount = text(wire)?;
        let found = line
            .second
            .as_ref()
            .and_then(|wire| wire.find(self.object))
            .filter(|wire| !blank(wire));
        let currency = match (lens.currency, found) {
            (CurrencyFrom::Field, Some(code)) => Currency::parse(text(code)?)?,
            (CurrencyFrom::Fixed(currency), _) => currency,
            _ => self.context.currency.ok_or_else(|| {
                Invalid::new(
                    amount,
                    "an amount with a currency; give the connection its `currency`",
                )
            })?,
        };
        let mut money = Money::parse(amount, currency)?;
        if lens.minor {
            money.amount = from_minor(money, amount)?;
        }
        if let Some(expected) = lens.beyond(money.amount) {
            return Err(Invalid::new(amount, expected));
        }
        Ok(Value::Money(money))
    }

    /// A part of a whole name, cut where both sides last agreed to cut it, if that can still be seen.
    fn part(&self, line: &Line, part: Part, other: Option<usize>, name: &str) -> Value {
        let known = |line: Option<&Line>| {
            line.zip(self.base)
                .and_then(|(line, base)| base.text(line.path))
                .unwrap_or_default()
        };
        let (own, other) = (
            known(Some(line)),
            known(other.and_then(|index| self.lines.get(index))),
        );
        let known = match part {
            Part::First => (own, other),
            Part::Last => (other, own),
        };
        let (first, last) = whole_name::parts(name, known);
        Value::text(if part == Part::First { first } else { last })
    }

    fn reference(&self, line: &Line, object: &str, wire: &Json, base: Option<&Value>) -> Read {
        let base = base.and_then(Value::as_reference);
        let mut first_known = None;
        let mut first_id = None;
        for id in ids(wire) {
            first_id = first_id.or(Some(id));
            match (self.resolve)(object, id).filter(|record| Some(record.kind) == line.refers_to_kind()) {
                // Of several, the one that both sides agreed on stays; the order of a system's list says nothing.
                Some(record) if Some(record) == base => return Read::Value(Value::Reference(record)),
                Some(record) => first_known = first_known.or(Some(record)),
                None => {}
            }
        }
        match (first_known, first_id) {
            (Some(record), _) => Read::Value(Value::Reference(record)),
            (None, Some(id)) => Read::Unresolved(id.to_owned()),
            (None, None) => Read::Invalid(Invalid::new(&shown(wire), format!("the id of a {object}"))),
        }
    }
}

/// The ids that a wire value names: an id, an object with an `id`, or a list of these.
pub(crate) fn ids(wire: &Json) -> impl Iterator<Item = &str> {
    let items = match wire {
        Json::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let ids = items
        .iter()
        .filter_map(|item| scalar(item.get("id").unwrap_or(item)));
    ids.map(str::trim).filter(|id| !id.is_empty())
}

fn word(relation: &Relation, wire: &Json) -> Result<&'static str, Invalid> {
    let found = scalar(wire).and_then(|text| relation.word(text.trim()));
    found.ok_or_else(|| Invalid::new(&shown(wire), relation.expected()))
}

/// An amount from the smallest units of its currency.
fn from_minor(money: Money, raw: &str) -> Result<Decimal, Invalid> {
    let units = money.amount.normalize();
    let whole = units.scale() == 0;
    let amount = Decimal::try_from_i128_with_scale(units.mantissa(), money.currency.decimals());
    amount.ok().filter(|_| whole).ok_or_else(|| {
        let code = money.currency.code();
        Invalid::new(raw, format!("a whole number of the smallest unit of {code}"))
    })
}

/// The milliseconds of `/Date(1774915200000)/` and of `/Date(1774915200000+0000)/`.
pub(crate) fn odata(raw: &str) -> Result<String, Invalid> {
    let inside = raw
        .trim()
        .strip_prefix("/Date(")
        .and_then(|rest| rest.strip_suffix(")/"));
    // The milliseconds are UTC already; a system that adds another offset means something that we have not seen.
    let millis = inside.map(|inside| inside.strip_suffix("+0000").unwrap_or(inside));
    millis
        .filter(|millis| millis.parse::<i64>().is_ok())
        .map(str::to_owned)
        .ok_or_else(|| Invalid::new(raw, "a moment in UTC such as /Date(1774915200000+0000)/"))
}

fn hundredth(value: Decimal) -> Result<Decimal, Invalid> {
    let value = value.normalize();
    Decimal::try_from_i128_with_scale(value.mantissa(), value.scale() + 2)
        .map_err(|_| Invalid::new(&value.to_string(), "a percentage with at most 26 decimals"))
}

/// A day in UTC: of a moment, of milliseconds since 1970, or as it stands.
pub(crate) fn day(raw: &str) -> Result<Date, Invalid> {
    let raw = raw.trim();
    if let Ok(Value::Date(date)) = normalise(FieldType::Date, raw, None) {
        return Ok(date);
    }
    let expected = || Invalid::new(raw, "a day or a moment such as 2026-03-31T00:00:00Z");
    // Midnight of another zone is another day in UTC: that is no spelling of a day that could be written back.
    if in_another_zone(raw) {
        return Err(Invalid::new(
            raw,
            "a moment in UTC, which is where its day is meant",
        ));
    }
    instant(raw)
        .map(|at| Offset::UTC.to_datetime(at).date())
        .map_err(|_| expected())
}

/// Whether a moment has an offset from UTC that is not zero.
fn in_another_zone(raw: &str) -> bool {
    let time = raw.split_once(['T', 't', ' ']).map_or("", |(_, time)| time);
    let offset = time.rfind(['+', '-']).map_or("", |at| &time[at..]);
    offset.bytes().any(|digit| (b'1'..=b'9').contains(&digit))
}

/// A moment of RFC 3339 or in milliseconds since 1970.
pub(crate) fn instant(raw: &str) -> Result<Timestamp, Invalid> {
    let raw = raw.trim();
    let expected = || {
        Invalid::new(
            raw,
            "a moment such as 2026-03-31T08:15:00Z or milliseconds since 1970",
        )
    };
    if let Ok(millis) = raw.parse::<i64>() {
        return Timestamp::from_millisecond(millis).map_err(|_| expected());
    }
    match normalise(FieldType::Instant, raw, None) {
        Ok(Value::Instant(at)) => Ok(at),
        _ => Err(expected()),
    }
}

fn list(
    field_type: FieldType,
    form: &ListWire,
    relation: Option<&Relation>,
    wire: &Json,
) -> Result<Value, Invalid> {
    let item = |raw: &str| match (relation, field_type) {
        (Some(relation), _) => relation
            .word(raw)
            .map(str::to_owned)
            .ok_or_else(|| Invalid::new(raw, relation.expected())),
        (None, FieldType::Choices(words)) => {
            normalise(FieldType::Choice(words), raw, None).map(|word| normalise::written(&word))
        }
        (None, _) if raw.contains(';') => Err(Invalid::new(raw, "an item without `;`")),
        (None, _) => Ok(raw.to_owned()),
    };
    let items: Result<std::collections::BTreeSet<String>, Invalid> = match (wire, form) {
        (Json::Array(items), _) => {
            let texts = items.iter().filter(|item| !blank(item));
            texts
                .map(|wire| {
                    scalar(wire)
                        .ok_or_else(|| Invalid::new(&shown(wire), "text"))
                        .and_then(|raw| item(raw.trim()))
                })
                .collect()
        }
        (_, ListWire::Split(separator)) => {
            let items = text(wire)?.split(&**separator).map(str::trim);
            items.filter(|raw| !raw.is_empty()).map(item).collect()
        }
        (_, ListWire::List | ListWire::Single) => std::iter::once(text(wire)?.trim()).map(item).collect(),
    };
    let items = items?;
    Ok(if items.is_empty() {
        Value::Null
    } else {
        Value::Set(items)
    })
}
