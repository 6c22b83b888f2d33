//! Reads the `lens:` of a line: a list of steps, each a word (`phone`) or a word with options (`truncate: 120`).

use diagnostic::{Node, Place, Report, Source, Value, suggestion};
use model::{Field, FieldType};
use serde_json::Value as Json;

use crate::lens::{Case, Codec, Lens, ListWire, Part};
use crate::relation::Relation;
use crate::spelling;
use crate::vocabulary::{STEPS, fits, holds, words};
use crate::wire::scalar;

/// Characters that `truncate` may leave at most.
const TRUNCATE_CHARS_MAX: i64 = 1_000_000;

/// A lens as read, and the record's path of the country that it names.
pub(crate) struct Steps<'a> {
    pub(crate) lens: Lens,
    pub(crate) country: Option<(&'a str, Place)>,
}

impl Steps<'_> {
    /// A value that stands on the wire as it is.
    pub(crate) fn plain() -> Steps<'static> {
        Steps {
            lens: Lens {
                truncate: None,
                case: None,
                codec: Codec::Plain,
            },
            country: None,
        }
    }
}

struct Reader<'a, 'r> {
    source: &'a Source,
    report: &'r mut Report,
    field: &'static Field,
    truncate: Option<usize>,
    case: Option<Case>,
    /// How several values are written, and the place of the step that says so.
    list: Option<(ListWire, Place)>,
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
        self.known_step(name, place, options);
    }

    fn known_step(&mut self, name: &str, place: Place, options: Option<&'a Node>) {
        match name {
            "truncate" => self.truncate = self.count(options, place),
            "case" => {
                const CASES: &[(&str, Case)] = &[("lower", Case::Lower), ("upper", Case::Upper)];
                self.case = self.word("case", options, place, CASES);
            }
            "part" => {
                const PARTS: &[(&str, Part)] = &[("first", Part::First), ("last", Part::Last)];
                let part = self.word("part", options, place, PARTS);
                self.codec(place, part.map(|part| Codec::Part { part, other: None }));
            }
            "enum" => self.relation = options.and_then(|node| self.relation(node)),
            "split" => match options
                .and_then(Node::text)
                .filter(|text| !text.trim().is_empty())
            {
                Some(separator) => self.list = Some((ListWire::Split(separator.into()), place)),
                None => self.error(
                    "IC0304",
                    place,
                    "`split` lacks its separator".into(),
                    "write `split: \";\"`".into(),
                ),
            },
            "list" => self.list = Some((ListWire::List, place)),
            "single" => self.list = Some((ListWire::Single, place)),
            "email" | "url" | "domain" => self.codec(place, Some(Codec::Plain)),
            "whole_name" => self.codec(place, Some(Codec::WholeName)),
            _ => self.spelling(name, place, options),
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

    /// A step that says how the value is spelled, and may have options.
    fn spelling(&mut self, name: &str, place: Place, own: Option<&'a Node>) {
        let none = Node {
            place,
            value: Value::Map(Vec::new()),
        };
        let node = own.filter(|node| node.value != Value::Null).unwrap_or(&none);
        let codec = spelling::codec(name, node, self.source, self.report);
        self.country = own
            .and_then(|node| node.get("country"))
            .and_then(|node| Some((node.text()?, node.place)));
        self.codec(place, codec);
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
                if item.text().is_some() && crate::wire::blank(&json) {
                    self.error(
                        "IC0307",
                        item.place,
                        format!("`{key}` stands for blank text, which no system tells from nothing"),
                        "write the system's own value; for fields that must not be blank there is `blank: { read: … }`"
                            .into(),
                    );
                } else if !matches!(
                    item.value,
                    Value::Text(_) | Value::Integer(_) | Value::Number(_) | Value::Bool(_)
                ) {
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
        if let Some((ListWire::Split(separator), place)) = &list {
            self.apart(relation.as_ref(), separator, *place)?;
        }
        let codec = match (self.codec.take(), field_type) {
            (Some(codec), _) => codec,
            (None, FieldType::Choice(words)) => {
                Codec::Relation(relation.unwrap_or_else(|| Relation::identity(words)))
            }
            (None, FieldType::Choices(_) | FieldType::Set) => match list {
                Some((wire, _)) => Codec::List { wire, relation },
                None => return self.lacks(place, "split: \";\""),
            },
            (None, FieldType::Money) => return self.lacks(place, "money: {}"),
            (None, FieldType::Reference(kind)) => {
                return self.lacks(place, &format!("reference: {{ object: <the {kind}'s object> }}"));
            }
            (None, other) => spelling::usual(other)?,
        };
        if matches!(codec, Codec::WholeName) && (self.truncate.is_some() || self.case.is_some()) {
            let message =
                "a whole name stands in two fields: it can neither be cut nor be respelled".to_owned();
            self.error("IC0304", place, message, "keep `whole_name` alone".to_owned());
            return None;
        }
        Some(Lens {
            truncate: self.truncate,
            case: self.case,
            codec,
        })
    }

    /// An item that holds the separator is read as two others, so that it could never be written.
    fn apart(&mut self, relation: Option<&Relation>, separator: &str, place: Place) -> Option<()> {
        let own = Relation::identity(words(self.field.field_type));
        let mut wires = relation
            .unwrap_or(&own)
            .0
            .iter()
            .flat_map(|(word, wires)| wires.iter().map(move |wire| (word, wire)));
        let torn = wires.find(|(_, wire)| scalar(wire).is_some_and(|text| text.contains(separator)));
        let Some((word, wire)) = torn else {
            return Some(());
        };
        let message = format!(
            "`{word}` stands for {wire}, which holds `{separator}`, the separator of items: it is read as two"
        );
        let hint = "use a separator that no item holds, or `list` if the system has lists";
        self.error("IC0307", place, message, hint.to_owned());
        None
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
