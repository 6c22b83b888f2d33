//! The laws of a mapping, tried with generated records.
//!
//! Values are drawn from the field's type with a fixed seed, so that a file has the same findings each time.
//! A value that the system cannot hold is refused when it is written; the laws speak of the others.

use model::normalise::{normalise, written};
use model::stored::to_json;
use model::{Currency, FieldType, Fields, Money, RecordId, Value};
use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::example::stand_in;
use crate::lens::{Codec, CurrencyFrom};
use crate::line::{Direction, Line};
use crate::{Backward, Context, Mapping};

/// Records that are generated for one mapping.
pub const RECORDS: u64 = 500;
/// Characters of a value that a finding shows.
const SHOWN_CHARS_MAX: usize = 60;
/// Currency and country of the connection that the laws are tried for.
const CURRENCY: &str = "EUR";
const COUNTRY: &str = "DE";

/// What to do about a line that breaks a law.
const CHANGE: &str = "change the lens, or give the line `direction: in`";
/// What to do about a line whose system holds less than the record.
const SAY_SO: &str = "change the lens, or add `coarse: true` if the system may hold less than the record";

/// A law that does not hold, with what shows it.
pub(crate) struct Broken {
    pub(crate) path: &'static str,
    pub(crate) law: &'static str,
    pub(crate) shown: String,
    /// What to do about it.
    pub(crate) hint: &'static str,
}

/// The connection that examples and laws are run for.
pub fn context() -> Context<'static> {
    Context {
        currency: Currency::parse(CURRENCY).ok(),
        country: Some(COUNTRY),
        agreed: None,
    }
}

/// Tries every law; at most one counter-example for each field, as one cause often breaks several laws.
pub(crate) fn broken(mapping: &Mapping) -> Vec<Broken> {
    let mut broken: Vec<Broken> = Vec::new();
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    let mut before = Json::Object(serde_json::Map::new());
    for _ in 0..RECORDS {
        let fields = record(mapping, &mut draw);
        before = try_record(mapping, &fields, &before, &mut |found| {
            if !broken.iter().any(|known| known.path == found.path) {
                broken.push(found);
            }
        });
    }
    broken
}

/// Tries the laws with one record, over an empty object and over one that holds another record; returns what it is
/// written as.
pub(crate) fn try_record(
    mapping: &Mapping,
    fields: &Fields,
    other: &Json,
    note: &mut dyn FnMut(Broken),
) -> Json {
    let created = backward(mapping, fields, None);
    let object = Json::Object(created.values.clone());
    reads_back(
        mapping,
        (fields, Some(fields)),
        &created,
        &object,
        "CreateGet",
        note,
    );
    reads_back(mapping, (fields, None), &created, &object, "Exact", note);

    let got = forward(mapping, &object, None);
    for (name, value) in backward(mapping, &got, Some(&object)).values {
        let shown = format!(
            "`{name}` holds {}, which was read and is written back as {value}",
            at(&object, &name)
        );
        note(Broken {
            path: path_of(mapping, &name),
            law: "GetPut",
            shown,
            hint: CHANGE,
        });
    }

    let put = backward(mapping, fields, Some(other));
    let over = merged(other, &put);
    reads_back(mapping, (fields, Some(fields)), &put, &over, "PutGet", note);
    for (name, value) in backward(mapping, fields, Some(&over)).values {
        let shown = format!(
            "`{name}` holds {} after writing, and is written again as {value}",
            at(&over, &name)
        );
        note(Broken {
            path: path_of(mapping, &name),
            law: "PutPut",
            shown,
            hint: CHANGE,
        });
    }
    object
}

/// What was written reads as what it was, relative to the base; without one only where the line is not coarse.
fn reads_back(
    mapping: &Mapping,
    (fields, base): (&Fields, Option<&Fields>),
    backward: &Backward,
    object: &Json,
    law: &'static str,
    note: &mut dyn FnMut(Broken),
) {
    let got = forward(mapping, object, base);
    let lines = mapping.lines.iter();
    for line in lines.filter(|line| line.direction == Direction::Both && (base.is_some() || !line.coarse)) {
        let Some(value) = fields.get(line.path) else {
            continue;
        };
        let refused = backward.issues.iter().any(|issue| issue.path == line.path);
        // A blank is not written to an empty object: what is not carried is not known.
        let same = got.get(line.path).map_or(value.is_blank(), |got| got == value);
        if !refused && !same {
            let wire: Vec<String> = line
                .wire_names()
                .map(|name| format!("`{name}`: {}", brief(object.get(name))))
                .collect();
            let read = got
                .get(line.path)
                .map_or("nothing".to_owned(), |value| brief(Some(&to_json(value))));
            let value = brief(Some(&to_json(value)));
            note(Broken {
                path: line.path,
                law,
                shown: format!("{value} is written as {} and read as {read}", wire.join(", ")),
                hint: if base.is_some() { CHANGE } else { SAY_SO },
            });
        }
    }
}

/// A value as a finding shows it: of a long text its ends and its length.
fn brief(json: Option<&Json>) -> String {
    let (Some(json), text) = (json, json.and_then(Json::as_str).unwrap_or_default()) else {
        return "nothing".to_owned();
    };
    let chars = text.chars().count();
    if chars <= SHOWN_CHARS_MAX {
        return json.to_string();
    }
    let first: String = text.chars().take(SHOWN_CHARS_MAX / 2).collect();
    let last: String = text.chars().skip(chars - SHOWN_CHARS_MAX / 4).collect();
    format!("{} ({chars} characters)", Json::from(format!("{first}…{last}")))
}

fn forward(mapping: &Mapping, object: &Json, base: Option<&Fields>) -> Fields {
    let kinds: Vec<_> = mapping.references().collect();
    let resolve = |object: &str, id: &str| -> Option<RecordId> {
        kinds
            .iter()
            .find(|(known, _)| *known == object)
            .map(|(_, kind)| stand_in(*kind, id))
    };
    mapping.forward(object, base, context(), &resolve).fields
}

fn backward(mapping: &Mapping, fields: &Fields, object: Option<&Json>) -> Backward {
    let refer = |record: RecordId, _: &str| {
        (1..=REFERENCES)
            .map(|id| id.to_string())
            .find(|id| stand_in(record.kind, id) == record)
    };
    mapping.backward(fields, object, context(), &refer)
}

fn merged(object: &Json, backward: &Backward) -> Json {
    let mut map = object.as_object().cloned().unwrap_or_default();
    map.extend(backward.values.clone());
    Json::Object(map)
}

fn at(object: &Json, name: &str) -> String {
    object.get(name).map_or("nothing".to_owned(), Json::to_string)
}

fn path_of(mapping: &Mapping, wire: &str) -> &'static str {
    let line = mapping
        .lines
        .iter()
        .find(|line| line.writes() && line.wire_names().any(|name| name == wire));
    line.map_or("", |line| line.path)
}

/// How many foreign ids the generated references are drawn from.
const REFERENCES: u64 = 9;

/// Pseudo-random numbers from a fixed seed (xorshift64*).
struct Draw(u64);

impl Draw {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % below.max(1)
    }

    fn one<'t, T: ?Sized>(&mut self, of: &[&'t T]) -> &'t T {
        of[usize::try_from(self.next(of.len() as u64)).expect("an index of a slice fits")]
    }
}

/// A record with a value for each line that is written, some of them blank.
fn record(mapping: &Mapping, draw: &mut Draw) -> Fields {
    let mut fields: Fields = mapping
        .lines
        .iter()
        .filter(|line| line.writes())
        .map(|line| {
            (
                line.path,
                if draw.next(8) == 0 && line.blank.read.is_none() {
                    Value::Null
                } else {
                    value(line, draw)
                },
            )
        })
        .collect();
    for line in mapping.lines.iter().filter(|line| line.writes()) {
        if let Some(family_name) = line.family_name {
            fields.set(family_name, value(line, draw));
        }
    }
    // A subdivision lies in the record's country: anything else is a record that nobody has.
    for line in mapping.lines.iter().filter(|line| line.writes()) {
        if let Codec::Subdivision { country, .. } = &line.lens.codec {
            let country = country
                .and_then(|index| mapping.lines.get(index))
                .and_then(|line| fields.text(line.path));
            let inside = SUBDIVISIONS
                .iter()
                .find(|code| country.is_some_and(|country| code.starts_with(country)));
            fields.set(line.path, inside.map_or(Value::Null, |code| Value::text(*code)));
        }
    }
    fields
}

const COUNTRIES: &[&str] = &["DE", "US", "FR", "GB", "BR", "JP", "KR", "CD"];
const SUBDIVISIONS: &[&str] = &["DE-BE", "US-CA", "FR-IDF", "GB-LND", "BR-SP", "JP-13"];
const WORDS: &[&str] = &[
    "Nordwind",
    "Müller & Söhne",
    "Café;Bar",
    "O'Hara",
    "株式会社",
    "a",
    "Straße 9\nHinterhof",
    "🚀",
    "x,y",
];
const PHONES: &[&str] = &[
    "+4930901820",
    "+14155552671",
    "+442079460958",
    "+33612345678",
    "+390669812345",
    "+819012345678",
];
const DOMAINS: &[&str] = &["nordwind.example", "acme.co.uk", "xn--bcher-kva.example"];
const CURRENCIES: &[&str] = &["EUR", "USD", "JPY", "BHD"];
const AMOUNTS: &[&str] = &[
    "0",
    "0.01",
    "1250.5",
    "99999999999999.99",
    "-7",
    "12500.00",
    "0.1",
    "3",
];
const MOMENTS: &[&str] = &[
    "2026-03-31T08:15:00Z",
    "2026-11-22T23:59:59.999Z",
    "2027-01-01T00:00:00.123456Z",
];
const DAYS: &[&str] = &["2026-03-31", "2028-02-29", "1999-12-31", "2026-10-25"];

fn value(line: &Line, draw: &mut Draw) -> Value {
    let read = |field_type, text: &str| normalise(field_type, text, None).unwrap_or(Value::Null);
    match line.field_type {
        FieldType::Text { chars_max } => {
            // Mostly short, sometimes as long as the record allows.
            let longest = draw.next(16) == 0;
            let (mut text, mut chars) = (String::new(), 0);
            while chars == 0 || chars < chars_max && (longest || draw.next(4) != 0) {
                let word = draw.one(WORDS);
                text.push_str(word);
                text.push(' ');
                chars += word.chars().count() + 1;
            }
            read(line.field_type, &text.chars().take(chars_max).collect::<String>())
        }
        FieldType::Email => read(
            line.field_type,
            &format!("ana.{}@{}", draw.next(99), draw.one(DOMAINS)),
        ),
        FieldType::Phone => read(line.field_type, draw.one(PHONES)),
        FieldType::Domain => read(line.field_type, draw.one(DOMAINS)),
        FieldType::Url => read(
            line.field_type,
            &format!("https://www.{}/{}", draw.one(DOMAINS), draw.next(9)),
        ),
        FieldType::Country => read(line.field_type, draw.one(COUNTRIES)),
        FieldType::Subdivision => read(line.field_type, draw.one(SUBDIVISIONS)),
        FieldType::Money => amount(line, draw),
        FieldType::Decimal => Value::Decimal(Decimal::new(i64::try_from(draw.next(101)).unwrap_or(0), 2)),
        FieldType::Integer => Value::Integer(i64::try_from(draw.next(1_000_000)).unwrap_or(0)),
        FieldType::Bool => Value::Bool(draw.next(2) == 0),
        FieldType::Date => read(line.field_type, draw.one(DAYS)),
        FieldType::Instant => read(line.field_type, draw.one(MOMENTS)),
        FieldType::Choice(words) => Value::text(draw.one(words)),
        FieldType::Choices(words) => several(words, draw),
        FieldType::Set => several(WORDS, draw),
        FieldType::Reference(kind) => {
            Value::Reference(stand_in(kind, &(1 + draw.next(REFERENCES)).to_string()))
        }
    }
}

fn several(words: &[&str], draw: &mut Draw) -> Value {
    let chosen: Vec<&str> = words
        .iter()
        .copied()
        .filter(|_| draw.next(3) == 0)
        .filter(|word| !word.contains(';'))
        .collect();
    if chosen.is_empty() {
        Value::Null
    } else {
        Value::Set(chosen.into_iter().map(|word| word.trim().to_owned()).collect())
    }
}

fn amount(line: &Line, draw: &mut Draw) -> Value {
    let currency = match &line.lens.codec {
        Codec::Money(lens) => match lens.currency {
            CurrencyFrom::Fixed(currency) => Some(currency),
            CurrencyFrom::Connection => Currency::parse(CURRENCY).ok(),
            CurrencyFrom::Field => None,
        },
        _ => None,
    };
    let currency = currency.or_else(|| Currency::parse(draw.one(CURRENCIES)).ok());
    let money = currency.and_then(|currency| Money::parse(draw.one(AMOUNTS), currency).ok());
    money.map_or(Value::Null, Value::Money)
}

/// A value in words, for a finding.
pub(crate) fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::Null) => "blank".to_owned(),
        Some(value) => format!("`{}`", written(value)),
    }
}
