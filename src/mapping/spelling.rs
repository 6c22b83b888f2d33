//! How a value is spelled on the wire: the options of a step, and what each type of field has without one.

use diagnostic::{Fields, Node, Report, Source};
use model::{Currency, FieldType};
use serde_json::Value as Json;

use crate::lens::{
    Codec, CountryWire, CurrencyFrom, DateWire, InstantWire, MoneyLens, NumberWire, ReferenceWire,
    SubdivisionWire,
};
use crate::relation::{FALSE, Relation, TRUE};

/// What `money: { currency: … }` says for the connection's own currency.
const CONNECTION: &str = "{connection}";
/// Decimals of an amount that a system can keep at most.
const SCALE_MAX: i64 = 12;
/// Digits of a second that a moment has at most.
const DIGITS_MAX: i64 = 9;
/// Digits of a second in milliseconds.
const DIGITS_MS: i64 = 3;

const NUMBERS: &[(&str, NumberWire)] = &[("number", NumberWire::Number), ("string", NumberWire::Text)];
const DATES: &[(&str, DateWire)] = &[
    ("date", DateWire::Date),
    ("datetime_utc_midnight", DateWire::UtcMidnight),
    ("epoch_ms", DateWire::EpochMs),
    ("odata_v2", DateWire::ODataV2),
];
const INSTANTS: &[(&str, InstantWire)] = &[
    ("iso", InstantWire::Iso),
    ("epoch_ms", InstantWire::EpochMs),
    ("odata_v2", InstantWire::ODataV2),
];
const COUNTRIES: &[(&str, CountryWire)] = &[
    ("alpha2", CountryWire::Alpha2),
    ("alpha3", CountryWire::Alpha3),
    ("name", CountryWire::Name),
];
const SUBDIVISIONS: &[(&str, SubdivisionWire)] = &[
    ("iso", SubdivisionWire::Iso),
    ("bare", SubdivisionWire::Bare),
    ("name", SubdivisionWire::Name),
];
const REFERENCES: &[(&str, ReferenceWire)] = &[
    ("string", ReferenceWire::Text),
    ("number", ReferenceWire::Number),
    ("list", ReferenceWire::List),
];

/// Reads the options of a step that says how a value is spelled. The country that phone numbers and subdivisions may
/// name is looked up later, among all lines.
pub(crate) fn codec(name: &str, node: &Node, source: &Source, report: &mut Report) -> Option<Codec> {
    let mut options = Fields::open(node, "the options of a lens", source, report)?;
    let codec = match name {
        "money" => Codec::Money(money(&mut options, node, report)?),
        "decimal" => Codec::Decimal {
            wire: wire(&mut options, NUMBERS, report),
            percent: options.optional_bool("percent", report).unwrap_or(false),
        },
        "integer" => Codec::Integer(wire(&mut options, NUMBERS, report)),
        "bool" => flag(options.optional("yes"), options.optional("no")),
        "date" => Codec::Date(wire(&mut options, DATES, report)),
        "datetime" => instant(&mut options, report),
        "phone" => {
            options.optional_text("country", report);
            Codec::Phone { country: None }
        }
        "country" => Codec::Country(wire(&mut options, COUNTRIES, report)),
        "subdivision" => {
            options.optional_text("country", report);
            Codec::Subdivision {
                wire: wire(&mut options, SUBDIVISIONS, report),
                country: None,
            }
        }
        _ => Codec::Reference {
            wire: wire(&mut options, REFERENCES, report),
            object: options.text("object", report)?.into(),
        },
    };
    options.finish(report);
    Some(codec)
}

/// The option `wire`; the first form when it is left out.
fn wire<T: Copy>(options: &mut Fields, forms: &[(&str, T)], report: &mut Report) -> T {
    options
        .optional_choice("wire", forms, report)
        .unwrap_or(forms[0].1)
}

fn money(options: &mut Fields, node: &Node, report: &mut Report) -> Option<MoneyLens> {
    let wire = wire(options, NUMBERS, report);
    let scale = options.optional_integer("scale", 0..=SCALE_MAX, report);
    let minor = options.optional_bool("minor", report).unwrap_or(false);
    let currency = match options.optional_text("currency", report) {
        None => CurrencyFrom::Field,
        Some(CONNECTION) => CurrencyFrom::Connection,
        Some(code) => match Currency::parse(code) {
            Ok(currency) => CurrencyFrom::Fixed(currency),
            Err(invalid) => {
                let place = node.get("currency").map_or(node.place, |node| node.place);
                let hint = format!("write `currency: \"{CONNECTION}\"` or a code");
                report.error("IC0304", options.source(), place, invalid.to_string(), hint);
                return None;
            }
        },
    };
    if let (true, Some(node)) = (minor && scale.is_some(), node.get("scale")) {
        let message = "an amount in the smallest unit of its currency has as many decimals as that";
        report.error("IC0304", options.source(), node.place, message, "remove `scale`");
        return None;
    }
    let scale = scale.and_then(|scale| u32::try_from(scale).ok());
    Some(MoneyLens {
        wire,
        currency,
        scale,
        minor,
    })
}

fn instant(options: &mut Fields, report: &mut Report) -> Codec {
    let wire = wire(options, INSTANTS, report);
    let most = match wire {
        InstantWire::EpochMs | InstantWire::ODataV2 => DIGITS_MS,
        InstantWire::Iso => DIGITS_MAX,
    };
    let digits = options
        .optional_integer("digits", 0..=most, report)
        .unwrap_or(most);
    Codec::Instant {
        wire,
        digits: u8::try_from(digits).expect("at most nine digits"),
    }
}

/// True and false as two words.
fn flag(yes: Option<&Node>, no: Option<&Node>) -> Codec {
    let value = |given: Option<&Node>, usual| vec![given.map_or(Json::Bool(usual), Node::to_json)];
    Codec::Relation(Relation(vec![
        (TRUE, value(yes, true)),
        (FALSE, value(no, false)),
    ]))
}

/// How a field's type is spelled when the file does not say; nothing where it must.
pub(crate) fn usual(field_type: FieldType) -> Option<Codec> {
    Some(match field_type {
        FieldType::Text { .. } | FieldType::Email | FieldType::Domain | FieldType::Url => Codec::Plain,
        FieldType::Phone => Codec::Phone { country: None },
        FieldType::Country => Codec::Country(CountryWire::Alpha2),
        FieldType::Subdivision => Codec::Subdivision {
            wire: SubdivisionWire::Iso,
            country: None,
        },
        FieldType::Decimal => Codec::Decimal {
            wire: NumberWire::Number,
            percent: false,
        },
        FieldType::Integer => Codec::Integer(NumberWire::Number),
        FieldType::Bool => flag(None, None),
        FieldType::Date => Codec::Date(DateWire::Date),
        FieldType::Instant => Codec::Instant {
            wire: InstantWire::Iso,
            digits: 9,
        },
        FieldType::Choice(words) => Codec::Relation(Relation::identity(words)),
        FieldType::Money | FieldType::Choices(_) | FieldType::Set | FieldType::Reference(_) => return None,
    })
}
