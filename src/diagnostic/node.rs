//! [`Node`]: a YAML document as a tree in which everything knows its place.
//!
//! YAML 1.2 core schema: only `true`/`false`, `null`/`~` and plain numbers are not text; `no`, `on` and `012` are text.
//! Refused, because each hides something from a reader: two documents in a file, tags, a key twice in a map,
//! keys that are not text. Anchors are followed, within [`NODES_MAX`].

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use crate::{Place, Report, Source};

/// How deeply lists and maps may nest.
pub const DEPTH_MAX: usize = 64;
/// How many values a file may have, aliases counted each time they are followed: a configuration of ten thousand endpoints
/// has some hundred thousand.
pub const NODES_MAX: usize = 500_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the value stands.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// What a YAML value can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that fits 64 bits.
    Integer(i64),
    /// Any other number, as written, so that no digit is lost.
    Number(String),
    /// Text, quoted or not.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file; each key has its own place.
    Map(Vec<(String, Place, Node)>),
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.value == other.value
    }
}

impl Node {
    /// Reads a source; notes what is wrong with its syntax and returns nothing then.
    /// An empty file is an empty map.
    pub fn parse(source: &Source, report: &mut Report) -> Option<Node> {
        report.source(source);
        match Builder::new(&source.text).document() {
            Ok(node) => source.overlaid(node, report),
            Err(Broken { place, message, hint }) => {
                report.error("IC0001", source, place, message, hint);
                None
            }
        }
    }

    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _, _)| k == key).map(|(_, _, n)| n),
            _ => None,
        }
    }

    /// The text, if this is text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What kind of value this is, as a reader would say it.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true/false",
            Value::Integer(_) | Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The same value as JSON; numbers keep the digits they were written with.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Integer(i) => Json::from(*i),
            Value::Number(n) => n
                .parse::<serde_json::Number>()
                .map_or_else(|_| Json::String(n.clone()), Json::Number),
            Value::Text(t) => Json::String(t.clone()),
            Value::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|(k, _, n)| (k.clone(), n.to_json())).collect())
            }
        }
    }
}

struct Broken {
    place: Place,
    message: String,
    hint: String,
}

fn broken<T>(place: Place, message: impl Into<String>, hint: impl Into<String>) -> Result<T, Broken> {
    Err(Broken {
        place,
        message: message.into(),
        hint: hint.into(),
    })
}

fn place_of(span: &Span) -> Place {
    Place {
        start: span.start.index(),
        end: span.end.index().max(span.start.index()),
        line: span.start.line().max(1),
        column: span.start.col() + 1,
    }
}

fn at(mark: &Marker) -> Place {
    Place {
        start: mark.index(),
        end: mark.index() + 1,
        line: mark.line().max(1),
        column: mark.col() + 1,
    }
}

struct Builder<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: Vec<(usize, Node)>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str) -> Builder<'a> {
        Builder {
            events: Parser::new_from_str(text),
            anchors: Vec::new(),
            nodes: 0,
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Place), Broken> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, place_of(&span))),
            Some(Err(error)) => broken(
                at(error.marker()),
                format!("not valid YAML: {}", error.info()),
                "check the indentation and the quotes on this line and the one above it",
            ),
            None => broken(
                Place {
                    start: 0,
                    end: 1,
                    line: 1,
                    column: 1,
                },
                "the file ends in the middle of a value",
                "complete the last line",
            ),
        }
    }

    fn document(mut self) -> Result<Node, Broken> {
        let mut root = None;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) if root.is_some() => {
                    return broken(
                        place,
                        "a second document in one file",
                        "keep one document a file: remove the `---` or move what follows to a file of its own",
                    );
                }
                Event::DocumentStart(_) => {
                    let (event, place) = self.next()?;
                    root = Some(self.node(event, place, 0)?);
                }
                Event::StreamEnd => break,
                _ => return broken(place, "unexpected content", "start a map with `key: value`"),
            }
        }
        let start = Place {
            start: 0,
            end: 0,
            line: 1,
            column: 1,
        };
        Ok(match root {
            None => Node {
                place: start,
                value: Value::Map(Vec::new()),
            },
            Some(Node {
                value: Value::Null,
                place,
            }) => Node {
                place,
                value: Value::Map(Vec::new()),
            },
            Some(node) => node,
        })
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Node, Broken> {
        self.count(place, 1)?;
        if depth > DEPTH_MAX {
            return broken(
                place,
                format!("lists and maps nest more than {DEPTH_MAX} deep"),
                "flatten this part of the file",
            );
        }
        let (anchor, node) = match event {
            Event::Alias(id) => {
                let found = self
                    .anchors
                    .iter()
                    .find(|(a, _)| *a == id)
                    .map(|(_, n)| n.clone());
                let Some(mut node) = found else {
                    return broken(place, "an alias to itself", "write the value out here");
                };
                self.count(place, size(&node))?;
                node.place = place;
                (0, node)
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return broken(
                    place,
                    "a YAML tag (`!…`)",
                    "remove the tag: values are typed by where they stand",
                );
            }
            Event::Scalar(text, style, anchor, None) => {
                let value = if style == ScalarStyle::Plain {
                    plain(&text)
                } else {
                    Value::Text(text.into_owned())
                };
                (anchor, Node { place, value })
            }
            Event::SequenceStart(anchor, None) => (anchor, self.list(place, depth)?),
            Event::MappingStart(anchor, None) => (anchor, self.map(place, depth)?),
            _ => return broken(place, "a value is missing here", "write a value, or `null`"),
        };
        if anchor > 0 {
            self.anchors.push((anchor, node.clone()));
        }
        Ok(node)
    }

    fn list(&mut self, place: Place, depth: usize) -> Result<Node, Broken> {
        let mut items = Vec::new();
        loop {
            let (event, item) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node {
                    place,
                    value: Value::List(items),
                });
            }
            items.push(self.node(event, item, depth + 1)?);
        }
    }

    fn map(&mut self, place: Place, depth: usize) -> Result<Node, Broken> {
        let mut entries: Vec<(String, Place, Node)> = Vec::new();
        loop {
            let (event, key_place) = self.next()?;
            let key = match event {
                Event::MappingEnd => {
                    return Ok(Node {
                        place,
                        value: Value::Map(entries),
                    });
                }
                Event::Scalar(text, _, _, None) => text.into_owned(),
                _ => return broken(key_place, "a key that is not text", "use a plain word as the key"),
            };
            if let Some((_, first, _)) = entries.iter().find(|(k, _, _)| *k == key) {
                return broken(
                    key_place,
                    format!(
                        "`{key}` is written twice in this map, first on line {}",
                        first.line
                    ),
                    "keep one of the two",
                );
            }
            let (event, value_place) = self.next()?;
            let node = self.node(event, value_place, depth + 1)?;
            entries.push((key, key_place, node));
        }
    }

    fn count(&mut self, place: Place, more: usize) -> Result<(), Broken> {
        self.nodes += more;
        if self.nodes > NODES_MAX {
            return broken(
                place,
                format!("more than {NODES_MAX} values in one file"),
                "split the file, or follow fewer aliases",
            );
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, _, n)| size(n)).sum::<usize>(),
        _ => 1,
    }
}

/// Types a scalar without quotes by the core schema.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if !leading_zero && digits.starts_with(|c: char| c.is_ascii_digit()) {
        if let Ok(number) = text.parse::<i64>() {
            return Value::Integer(number);
        }
        if text.parse::<serde_json::Number>().is_ok() {
            return Value::Number(text.to_owned());
        }
    }
    Value::Text(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Node, String> {
        let mut report = Report::new();
        Node::parse(&Source::new("t.yaml", text), &mut report)
            .ok_or_else(|| report.findings()[0].message.clone())
    }

    #[test]
    fn types_scalars_by_the_core_schema() {
        let node = parse("[1, 1.50, 012, yes, 'true', true, ~, 1.2.3, -4, 99999999999999999999]").unwrap();
        let Value::List(items) = node.value else {
            panic!("not a list")
        };
        let values: Vec<Value> = items.into_iter().map(|n| n.value).collect();
        let text = |t: &str| Value::Text(t.into());
        assert_eq!(
            values,
            [
                Value::Integer(1),
                Value::Number("1.50".into()),
                text("012"),
                text("yes"),
                text("true"),
                Value::Bool(true),
                Value::Null,
                text("1.2.3"),
                Value::Integer(-4),
                Value::Number("99999999999999999999".into()),
            ]
        );
    }

    #[test]
    fn knows_where_values_and_keys_stand() {
        let node = parse("a:\n  bc: déjà\n").unwrap();
        let inner = node.get("a").unwrap();
        let Value::Map(entries) = &inner.value else {
            panic!("not a map")
        };
        let (_, key, value) = &entries[0];
        assert_eq!((key.line, key.column, key.end - key.start), (2, 3, 2));
        assert_eq!(
            (
                value.place.line,
                value.place.column,
                value.place.end - value.place.start
            ),
            (2, 7, 4)
        );
    }

    #[test]
    fn refuses_what_hides_things() {
        assert_eq!(
            parse("a: 1\nb: 2\na: 3").unwrap_err(),
            "`a` is written twice in this map, first on line 1"
        );
        assert_eq!(
            parse("a: 1\n---\nb: 1").unwrap_err(),
            "a second document in one file"
        );
        assert_eq!(parse("a: !!int '1'").unwrap_err(), "a YAML tag (`!…`)");
        assert!(parse("a: [1").unwrap_err().starts_with("not valid YAML"));
        assert!(parse("? [a]\n: 1").unwrap_err().contains("not text"));
        assert!(parse(&"[".repeat(200)).is_err());
    }

    #[test]
    fn alias_bombs_end_at_the_limit() {
        let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
        for (name, of) in ["b", "c", "d", "e", "f", "g"]
            .iter()
            .zip(["a", "b", "c", "d", "e", "f"])
        {
            bomb.push_str(&format!(
                "{name}: &{name} [{}]\n",
                vec![format!("*{of}"); 9].join(",")
            ));
        }
        let told = format!("more than {NODES_MAX} values");
        assert!(parse(&bomb).unwrap_err().contains(&told));
        assert_eq!(
            parse("a: &x 1\nb: *x").unwrap().get("b").unwrap().value,
            Value::Integer(1)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn json_is_yaml(number in any::<i64>(), text in "[a-zA-Z0-9 éñ\\\\\"]{0,20}") {
            let json = serde_json::json!({"n": number, "t": text, "l": [true, null]});
            prop_assert_eq!(parse(&json.to_string()).unwrap().to_json(), json);
        }
    }
}
