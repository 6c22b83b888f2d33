//! Reads the `lens:` of a line: a list of steps, each a word (`phone`) or a word with options (`truncate: 120`).

use diagnostic::{Fields, Node, Place, Report, Source, Value, suggestion};
use model::{Currency, Field, FieldType};
use serde_json::Value as Json;

use crate::lens::{
    Case, Codec, CountryWire, CurrencyFrom, DateWire, InstantWire, Lens, ListWire, MoneyLens, NumberWire,
    Part, ReferenceWire, SubdivisionWire,
};
use crate::relation::{FALSE, Relation, TRUE};

/// What `money: { currency: … }` says for the connection's own currency.
const CONNECTION: &str = "{connection}";
/// Characters that `truncate` may leave at most.
const TRUNCATE_CHARS_MAX: i64 = 1_000_000;

const NUMBER_WIRES: &[(&str, NumberWire)] = &[("number", NumberWire::Number), ("string", NumberWire::Text)];
const STEPS: &[&str] = &[
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
];

/// A lens as read, and the record's path of the country that it names.
pub(crate) struct Steps<'a> {
    pub(crate) lens: Lens,
    pub(crate) country: Option<(&'a str, Place)>,
}

struct Reader<'a, 'r> {
    source: &'a Source,
    report: &'r mut Report,
    field: &'static Field,
    truncate: Option<usize>,
    case: Option<Case>,
    list: Option<ListWire>,
    relation: Option<Relation>,
    codec: Option<Codec>,
    country: Option<(&'a str, Place)>,
}

/// Reads a lens for a field; notes what is wrong and returns nothing then. `place` is where the line stands.
pub(crate) fn read<'a>(
    node: Option<&'a Node>,
    field: &'static Field,
    place: Place,
    source: &'a Source,
    report: &mut Report,
) -> Option<Steps<'a>> {
    let before = report.errors();
    let mut reader = Reader {
        source,
        report,
        field,
        truncate: None,
        case: None,
        list: None,
        relation: None,
        codec: None,
        country: None,
    };
    let steps = match node.map(|node| &node.value) {
        None => &[],
        Some(Value::List(steps)) => steps.as_slice(),
        Some(_) => std::slice::from_ref(node.expect("a value has its node")),
    };
    for step in steps {
        reader.step(step);
    }
    // A step that is wrong says enough: what it leaves missing is not a second finding.
    if reader.report.errors() > before {
        return None;
    }
    let country = reader.country;
    reader.finish(place).map(|lens| Steps { lens, country })
}

impl<'a> Reader<'a, '_> {
    fn error(&mut self, code: &'static str, place: Place, message: String, hint: String) {
        self.report.error(code, self.source, place, message, hint);
    }

    fn step(&mut self, step: &'a Node) {
        let (name, place, options) = match &step.value {
            Value::Text(name) => (name, step.place, None),
            Value::Map(entries) if entries.len() == 1 => (&entries[0].0, entries[0].1, Some(&entries[0].2)),
            _ => {
                let message = format!(
                    "a step of a lens is {}, expected one word or one `word: options`",
                    step.kind()
                );
                return self.error("IC0304", step.place, message, "write `- truncate: 120`".into());
            }
        };
        if !STEPS.contains(&name.as_str()) {
            let message = format!("`{name}` is not a step of a lens");
            return self.error("IC0304", place, message, suggestion(name, STEPS.iter().copied()));
        }
        if !fits(name, self.field.field_type) {
            let message = format!(
                "`{name}` does not fit `{}`, which holds {}",
                self.field.path,
                holds(self.field.field_type)
            );
            let fitting: Vec<&str> = STEPS
                .iter()
                .copied()
                .filter(|step| fits(step, self.field.field_type))
                .collect();
            let hint = if fitting.is_empty() {
                "remove it".into()
            } else {
                format!("fitting are: {}", fitting.join(", "))
            };
            return self.error("IC0305", place, message, hint);
        }
        let none = Node {
            place,
            value: Value::Map(Vec::new()),
        };
        self.known_step(name, place, options, &none);
    }

    fn known_step(&mut self, name: &str, place: Place, options: Option<&'a Node>, none: &Node) {
        match name {
            "truncate" => self.truncate = self.count(options, place),
            "case" => {
                const CASES: &[(&str, Case)] = &[("lower", Case::Lower), ("upper", Case::Upper)];
                self.case = self.word("case", options, place, CASES);
            }
            "part" => {
                const PARTS: &[(&str, Part)] = &[("first", Part::First), ("last", Part::Last)];
                let part = self.word("part", options, place, PARTS);
                self.codec(place, part.map(Codec::Part));
            }
            "enum" => self.relation = options.and_then(|node| self.relation(node)),
            "split" => match options
                .and_then(Node::text)
                .filter(|text| !text.trim().is_empty())
            {
                Some(separator) => self.list = Some(ListWire::Split(separator.into())),
                None => self.error(
                    "IC0304",
                    place,
                    "`split` lacks its separator".into(),
                    "write `split: \";\"`".into(),
                ),
            },
            "list" => self.list = Some(ListWire::List),
            "single" => self.list = Some(ListWire::Single),
            "email" | "url" | "domain" => self.codec(place, Some(Codec::Plain)),
            _ => {
                let codec = self.with_options(
                    name,
                    options.filter(|node| node.value != Value::Null).unwrap_or(none),
                    options,
                );
                self.codec(place, codec);
            }
        }
    }

    fn codec(&mut self, place: Place, codec: Option<Codec>) {
        if codec.is_some() && self.codec.is_some() {
            let message = "a second spelling in one lens".to_owned();
            self.error(
                "IC0304",
                place,
                message,
                "keep one step that says how the value is spelled".into(),
            );
        }
        self.codec = codec.or(self.codec.take());
    }

    fn with_options(&mut self, name: &str, node: &Node, own: Option<&'a Node>) -> Option<Codec> {
        let mut options = Fields::open(node, "the options of a lens", self.source, self.report)?;
        let report = &mut *self.report;
        let codec = match name {
            "money" => {
                let currency = match options.optional_text("currency", report) {
                    None => CurrencyFrom::Field,
                    Some(CONNECTION) => CurrencyFrom::Connection,
                    Some(code) => match Currency::parse(code) {
                        Ok(currency) => CurrencyFrom::Fixed(currency),
                        Err(invalid) => {
                            let place = node.get("currency").map_or(node.place, |node| node.place);
                            report.error(
                                "IC0304",
                                self.source,
                                place,
                                invalid.to_string(),
                                format!("write `currency: \"{CONNECTION}\"` or a code"),
                            );
                            return None;
                        }
                    },
                };
                let wire = options
                    .optional_choice("wire", NUMBER_WIRES, report)
                    .unwrap_or(NumberWire::Number);
                let scale = options
                    .optional_integer("scale", 0..=12, report)
                    .and_then(|scale| u32::try_from(scale).ok());
                Codec::Money(MoneyLens {
                    wire,
                    currency,
                    scale,
                })
            }
            "decimal" => Codec::Decimal {
                wire: options
                    .optional_choice("wire", NUMBER_WIRES, report)
                    .unwrap_or(NumberWire::Number),
                percent: options.optional_bool("percent", report).unwrap_or(false),
            },
            "integer" => Codec::Integer(
                options
                    .optional_choice("wire", NUMBER_WIRES, report)
                    .unwrap_or(NumberWire::Number),
            ),
            "bool" => {
                let mut value = |key, word, default| {
                    let given = options.optional(key).map(Node::to_json);
                    (word, vec![given.unwrap_or(Json::Bool(default))])
                };
                Codec::Relation(Relation(vec![
                    value("yes", TRUE, true),
                    value("no", FALSE, false),
                ]))
            }
            "date" => {
                let wires = [
                    ("date", DateWire::Date),
                    ("datetime_utc_midnight", DateWire::UtcMidnight),
                    ("epoch_ms", DateWire::EpochMs),
                ];
                Codec::Date(
                    options
                        .optional_choice("wire", &wires, report)
                        .unwrap_or(DateWire::Date),
                )
            }
            "datetime" => {
                let wires = [("iso", InstantWire::Iso), ("epoch_ms", InstantWire::EpochMs)];
                let wire = options
                    .optional_choice("wire", &wires, report)
                    .unwrap_or(InstantWire::Iso);
                let most = if wire == InstantWire::EpochMs { 3 } else { 9 };
                let digits = options
                    .optional_integer("digits", 0..=most, report)
                    .unwrap_or(most);
                Codec::Instant {
                    wire,
                    digits: u8::try_from(digits).unwrap_or(9),
                }
            }
            "phone" => {
                options.optional_text("country", report);
                Codec::Phone { country: None }
            }
            "country" => {
                let wires = [
                    ("alpha2", CountryWire::Alpha2),
                    ("alpha3", CountryWire::Alpha3),
                    ("name", CountryWire::Name),
                ];
                Codec::Country(
                    options
                        .optional_choice("wire", &wires, report)
                        .unwrap_or(CountryWire::Alpha2),
                )
            }
            "subdivision" => {
                options.optional_text("country", report);
                let wires = [
                    ("iso", SubdivisionWire::Iso),
                    ("bare", SubdivisionWire::Bare),
                    ("name", SubdivisionWire::Name),
                ];
                let wire = options
                    .optional_choice("wire", &wires, report)
                    .unwrap_or(SubdivisionWire::Iso);
                Codec::Subdivision { wire, country: None }
            }
            _ => {
                let wires = [
                    ("string", ReferenceWire::Text),
                    ("number", ReferenceWire::Number),
                    ("list", ReferenceWire::List),
                ];
                let wire = options
                    .optional_choice("wire", &wires, report)
                    .unwrap_or(ReferenceWire::Text);
                Codec::Reference {
                    object: options.text("object", report)?.into(),
                    wire,
                }
            }
        };
        options.finish(report);
        self.country = own
            .and_then(|node| node.get("country"))
            .and_then(|node| Some((node.text()?, node.place)));
        Some(codec)
    }

    fn count(&mut self, options: Option<&Node>, place: Place) -> Option<usize> {
        match options.map(|node| &node.value) {
            Some(Value::Integer(count)) if (1..=TRUNCATE_CHARS_MAX).contains(count) => {
                usize::try_from(*count).ok()
            }
            _ => {
                let message =
                    format!("`truncate` needs a number of characters from 1 to {TRUNCATE_CHARS_MAX}");
                self.error(
                    "IC0304",
                    options.map_or(place, |node| node.place),
                    message,
                    "write `truncate: 120`".into(),
                );
                None
            }
        }
    }

    fn word<T: Copy>(
        &mut self,
        name: &str,
        options: Option<&Node>,
        place: Place,
        words: &[(&str, T)],
    ) -> Option<T> {
        let found = options.and_then(Node::text);
        let known = words
            .iter()
            .find(|(word, _)| Some(*word) == found)
            .map(|(_, value)| *value);
        if known.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("`{name}` needs one of {}", names.join(", "));
            self.error(
                "IC0304",
                options.map_or(place, |node| node.place),
                message,
                format!("write `{name}: {}`", names[0]),
            );
        }
        known
    }

    fn relation(&mut self, node: &Node) -> Option<Relation> {
        let words = words(self.field.field_type);
        let Value::Map(entries) = &node.value else {
            let message = format!("`enum` is {}, expected a map", node.kind());
            self.error(
                "IC0304",
                node.place,
                message,
                format!("write `enum: {{ {}: … }}`", words.first().unwrap_or(&"word")),
            );
            return None;
        };
        let mut relation = Relation(Vec::new());
        for (key, place, value) in entries {
            let Some(word) = words.iter().copied().find(|word| word == key) else {
                let message = format!("`{key}` is not a value of `{}`", self.field.path);
                self.error("IC0306", *place, message, suggestion(key, words.iter().copied()));
                continue;
            };
            let items = match &value.value {
                Value::List(items) => items.as_slice(),
                _ => std::slice::from_ref(value),
            };
            let mut wires: Vec<Json> = Vec::new();
            for item in items {
                let json = item.to_json();
                if !matches!(
                    item.value,
                    Value::Text(_) | Value::Integer(_) | Value::Number(_) | Value::Bool(_)
                ) || crate::wire::blank(&json)
                {
                    self.error(
                        "IC0307",
                        item.place,
                        format!(
                            "`{key}` stands for {}, expected text, a number or true/false",
                            item.kind()
                        ),
                        "write the system's own value; blank is always blank".into(),
                    );
                } else if wires.contains(&json) {
                    self.error(
                        "IC0307",
                        item.place,
                        format!("`{key}` stands for the same value twice"),
                        "remove one".into(),
                    );
                } else {
                    wires.push(json);
                }
            }
            if items.is_empty() {
                self.error(
                    "IC0307",
                    value.place,
                    format!("`{key}` stands for no value"),
                    "name the system's value, or remove the line".into(),
                );
            }
            relation.0.push((word, wires));
        }
        Some(relation)
    }

    /// The lens, with the spelling that the field's type has when the file says none.
    fn finish(&mut self, place: Place) -> Option<Lens> {
        let field_type = self.field.field_type;
        let relation = self.relation.take();
        let list = self.list.take();
        let codec = match (self.codec.take(), field_type) {
            (Some(codec), _) => codec,
            (None, FieldType::Choice(words)) => {
                Codec::Relation(relation.unwrap_or_else(|| Relation::identity(words)))
            }
            (None, FieldType::Choices(_) | FieldType::Set) => match list {
                Some(wire) => Codec::List { wire, relation },
                None => return self.lacks(place, "split: \";\""),
            },
            (None, FieldType::Money) => return self.lacks(place, "money: {}"),
            (None, FieldType::Reference(kind)) => {
                return self.lacks(place, &format!("reference: {{ object: <the {kind}'s object> }}"));
            }
            (None, FieldType::Bool) => Codec::Relation(Relation(vec![
                (TRUE, vec![Json::Bool(true)]),
                (FALSE, vec![Json::Bool(false)]),
            ])),
            (None, FieldType::Phone) => Codec::Phone { country: None },
            (None, FieldType::Country) => Codec::Country(CountryWire::Alpha2),
            (None, FieldType::Subdivision) => Codec::Subdivision {
                wire: SubdivisionWire::Iso,
                country: None,
            },
            (None, FieldType::Decimal) => Codec::Decimal {
                wire: NumberWire::Number,
                percent: false,
            },
            (None, FieldType::Integer) => Codec::Integer(NumberWire::Number),
            (None, FieldType::Date) => Codec::Date(DateWire::Date),
            (None, FieldType::Instant) => Codec::Instant {
                wire: InstantWire::Iso,
                digits: 9,
            },
            (None, FieldType::Text { .. } | FieldType::Email | FieldType::Domain | FieldType::Url) => {
                Codec::Plain
            }
        };
        Some(Lens {
            truncate: self.truncate,
            case: self.case,
            codec,
        })
    }

    fn lacks(&mut self, place: Place, step: &str) -> Option<Lens> {
        let message = format!(
            "`{}` holds {}, and nothing says how the system writes it",
            self.field.path,
            holds(self.field.field_type)
        );
        self.error("IC0304", place, message, format!("add `lens: [ {step} ]`"));
        None
    }
}

/// The words of a choice.
fn words(field_type: FieldType) -> &'static [&'static str] {
    match field_type {
        FieldType::Choice(words) | FieldType::Choices(words) => words,
        _ => &[],
    }
}

/// Which steps a field of a type may have.
fn fits(step: &str, field_type: FieldType) -> bool {
    use FieldType as F;
    match step {
        "truncate" | "part" => matches!(field_type, F::Text { .. }),
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
fn holds(field_type: FieldType) -> &'static str {
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
