//! [`Lens`]: how one field of a record is written on the wire.

use std::borrow::Cow;

use rust_decimal::Decimal;

use crate::relation::Relation;

/// How a field is written: text is shaped first, then spelled as the codec says.
#[derive(Debug)]
pub(crate) struct Lens {
    /// Characters after which text is cut, in both directions.
    pub(crate) truncate: Option<usize>,
    pub(crate) case: Option<Case>,
    pub(crate) codec: Codec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
}

/// The spelling of a value on the wire.
#[derive(Debug)]
pub(crate) enum Codec {
    /// Text, normalised by the field's type.
    Plain,
    Phone {
        /// The line that holds the country of numbers without country code.
        country: Option<usize>,
    },
    Country(CountryWire),
    Subdivision {
        wire: SubdivisionWire,
        /// The line that holds the country of bare subdivisions.
        country: Option<usize>,
    },
    Money(MoneyLens),
    Decimal {
        wire: NumberWire,
        /// The wire has hundredths: 25 is 0.25.
        percent: bool,
    },
    Integer(NumberWire),
    Relation(Relation),
    Date(DateWire),
    Instant {
        wire: InstantWire,
        /// Digits of a second that the system keeps.
        digits: u8,
    },
    List {
        wire: ListWire,
        relation: Option<Relation>,
    },
    Reference {
        object: Box<str>,
        wire: ReferenceWire,
    },
    /// A part of a person's name; cannot be written.
    Part {
        part: Part,
        /// The line that reads the other part of the same name.
        other: Option<usize>,
    },
    /// A person's name in two fields of the object, given name and family name.
    WholeName,
}

#[derive(Debug)]
pub(crate) struct MoneyLens {
    pub(crate) wire: NumberWire,
    pub(crate) currency: CurrencyFrom,
    /// Digits behind the point that the system keeps; an amount with more is refused, never rounded.
    pub(crate) scale: Option<u32>,
    /// The wire counts the smallest unit of the currency: cents, and yen themselves.
    pub(crate) minor: bool,
}

/// Decimals that an amount has at most when the file says no `scale`: one with more went through a binary float.
const DECIMALS_MAX: u32 = 12;

impl MoneyLens {
    /// What is expected instead of an amount that has more decimals than the system keeps.
    pub(crate) fn beyond(&self, amount: Decimal) -> Option<String> {
        let most = self.scale.unwrap_or(DECIMALS_MAX);
        let beyond = amount.normalize().scale() > most;
        beyond.then(|| format!("an amount with at most {most} decimals, which is what the system keeps"))
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum CurrencyFrom {
    /// The line's second wire field; the connection's currency where that is blank.
    Field,
    /// The connection's.
    Connection,
    /// One that the file names.
    Fixed(model::Currency),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberWire {
    Number,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountryWire {
    Alpha2,
    Alpha3,
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubdivisionWire {
    Iso,
    Bare,
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DateWire {
    /// `2026-03-31`.
    Date,
    /// `2026-03-31T00:00:00Z`; any other time of day is read as its day in UTC.
    UtcMidnight,
    /// Milliseconds since 1970 at midnight UTC, as a number.
    EpochMs,
    /// The same as OData V2 writes it: `/Date(1774915200000)/`.
    ODataV2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstantWire {
    Iso,
    EpochMs,
    /// As OData V2 writes it: `/Date(1774915200000+0000)/`.
    ODataV2,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ListWire {
    /// One text, items between separators.
    Split(Box<str>),
    /// A JSON list.
    List,
    /// The system holds one item: the first in the order of the record's words.
    Single,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReferenceWire {
    Text,
    Number,
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    First,
    Last,
}

impl Lens {
    /// Text as it stands on the wire: case changed, cut, and nothing blank left at the cut.
    pub(crate) fn shape<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut shaped = match self.case {
            None => Cow::Borrowed(text),
            Some(Case::Lower) => Cow::Owned(text.to_lowercase()),
            Some(Case::Upper) => Cow::Owned(text.to_uppercase()),
        };
        let Some(chars_max) = self.truncate else {
            return shaped;
        };
        // Characters are never more than bytes: text that is short in bytes needs no walk.
        if shaped.len() > chars_max
            && let Some((end, _)) = shaped.char_indices().nth(chars_max)
        {
            let end = shaped[..end].trim_end().len();
            match &mut shaped {
                Cow::Borrowed(text) => *text = &text[..end],
                Cow::Owned(text) => text.truncate(end),
            }
        }
        shaped
    }

    /// The object whose ids this field holds.
    pub(crate) fn refers_to(&self) -> Option<&str> {
        match &self.codec {
            Codec::Reference { object, .. } => Some(object),
            _ => None,
        }
    }

    /// The lens in words, step by step, for people.
    pub(crate) fn steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        steps.extend(
            self.case
                .map(|case| format!("case {}", if case == Case::Upper { "upper" } else { "lower" })),
        );
        steps.extend(self.truncate.map(|chars_max| format!("truncate {chars_max}")));
        steps.extend(self.codec.steps());
        steps
    }
}

impl Codec {
    fn steps(&self) -> Vec<String> {
        let step = match self {
            Codec::Plain => return Vec::new(),
            Codec::Phone { .. } => "phone".to_owned(),
            Codec::Country(wire) => format!("country {}", format!("{wire:?}").to_lowercase()),
            Codec::Subdivision { wire, .. } => format!("subdivision {}", format!("{wire:?}").to_lowercase()),
            Codec::Money(MoneyLens { minor: true, .. }) => "money minor".to_owned(),
            Codec::Money(_) => "money".to_owned(),
            Codec::Decimal { percent: true, .. } => "decimal percent".to_owned(),
            Codec::Decimal { .. } => "decimal".to_owned(),
            Codec::Integer(_) => "integer".to_owned(),
            Codec::Relation(_) => "enum".to_owned(),
            Codec::Date(DateWire::Date) => "date".to_owned(),
            Codec::Date(DateWire::UtcMidnight) => "date datetime_utc_midnight".to_owned(),
            Codec::Date(DateWire::EpochMs) => "date epoch_ms".to_owned(),
            Codec::Date(DateWire::ODataV2) => "date odata_v2".to_owned(),
            Codec::Instant { wire, .. } => match wire {
                InstantWire::ODataV2 => "datetime odata_v2".to_owned(),
                InstantWire::Iso | InstantWire::EpochMs => "datetime".to_owned(),
            },
            Codec::List { wire, relation } => {
                let mut steps = vec![match wire {
                    ListWire::Split(separator) => format!("split `{separator}`"),
                    ListWire::List => "list".to_owned(),
                    ListWire::Single => "single".to_owned(),
                }];
                steps.extend(relation.as_ref().map(|_| "enum".to_owned()));
                return steps;
            }
            Codec::Reference { object, .. } => format!("reference {object}"),
            Codec::Part {
                part: Part::First, ..
            } => "part first".to_owned(),
            Codec::Part { part: Part::Last, .. } => "part last".to_owned(),
            Codec::WholeName => "whole_name".to_owned(),
        };
        vec![step]
    }
}
