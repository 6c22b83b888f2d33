//! [`Grammar`]: what readers ask of the files they read, written down while they read.
//!
//! There is one grammar of every file: the calls of its reader. [`Grammar::of`] runs a reader and notes each *shape*
//! that it opens (by the name that its findings use), each key that it asks for, and what it takes the value for.
//! [`Grammar::schema`] makes a JSON Schema of it, so that an editor completes and checks what the reader reads.
//!
//! A reader only asks for what its file leads it to. So it is run on files that lead it everywhere, and the shapes are
//! the union of all that was asked.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::{Node, Place, Value};

thread_local! {
    /// The grammar that is being noted on this thread. Here rather than in every reader's arguments, which would be
    /// there for this alone.
    static NOTED: RefCell<Option<Grammar>> = const { RefCell::new(None) };
}

/// The shapes of a kind of file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grammar {
    root: String,
    shapes: BTreeMap<String, Shape>,
    /// Where a value stands that a key was asked for, and how it hangs on that key; the latest that was asked for.
    asked: BTreeMap<usize, (String, &'static str, Hangs)>,
}

/// The keys of one map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shape {
    keys: BTreeMap<&'static str, Key>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Key {
    /// What readers take the value for; empty when they only look.
    forms: BTreeSet<Form>,
    /// The shapes that were opened in the value.
    shapes: BTreeSet<(Hangs, String)>,
}

/// How an opened map hangs on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hangs {
    /// It is the value.
    Itself,
    /// It is an item of the value.
    Item,
    /// It is a value under a name that the file chooses.
    Named,
}

/// What a value is taken for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    Text,
    Texts,
    Bool,
    Integer(i64, i64),
    Choice(Vec<String>),
    List,
    Map,
}

impl Grammar {
    /// Runs a reader, on files that lead it everywhere, and notes what it asks for.
    pub fn of(read: impl FnOnce()) -> Grammar {
        NOTED.with_borrow_mut(|noted| *noted = Some(Grammar::default()));
        read();
        NOTED.take().unwrap_or_default()
    }

    /// The names of all keys, of all shapes.
    pub fn keys(&self) -> BTreeSet<&'static str> {
        let shapes = self.shapes.values();
        shapes.flat_map(|shape| shape.keys.keys().copied()).collect()
    }

    /// As a JSON Schema (2020-12). Unknown keys and wrong words are refused; what is missing is left to `check`, because
    /// a file may take it from a template.
    pub fn schema(&self, title: &str) -> Json {
        let shapes = self.shapes.iter();
        let definitions: Map<String, Json> = shapes
            .map(|(name, shape)| (definition(name), shape.schema()))
            .collect();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": title,
            "$ref": format!("#/$defs/{}", definition(&self.root)),
            "$defs": definitions,
        })
    }
}

/// A shape's name as the name of a definition: `a way to authorise` is `a-way-to-authorise`.
fn definition(name: &str) -> String {
    name.replace('`', "").replace(' ', "-")
}

impl Shape {
    fn schema(&self) -> Json {
        let properties = self
            .keys
            .iter()
            .map(|(name, key)| ((*name).to_owned(), key.schema()));
        json!({
            "type": "object",
            "properties": properties.collect::<Map<_, _>>(),
            "additionalProperties": false,
        })
    }
}

impl Key {
    fn schema(&self) -> Json {
        // A key that is null is left out.
        let mut any: Vec<Json> = self.forms.iter().map(|form| self.form(form)).collect();
        if any.is_empty() {
            any = self.looked_at();
        } else {
            any.push(json!({"type": "null"}));
        }
        match any.len() {
            0 => json!({}),
            1 => any.remove(0),
            _ => json!({"anyOf": any}),
        }
    }

    fn form(&self, form: &Form) -> Json {
        match form {
            Form::Text => json!({"type": "string"}),
            Form::Texts => json!({"type": ["string", "array"], "items": {"type": "string"}}),
            Form::Bool => json!({"type": "boolean"}),
            Form::Integer(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Form::Choice(words) => json!({"enum": words}),
            Form::List => self.list().unwrap_or_else(|| json!({"type": "array"})),
            Form::Map => self.map().unwrap_or_else(|| json!({"type": "object"})),
        }
    }

    /// For a value that a reader looks at itself: what was opened in a map or a list of it; anything else is left to it.
    fn looked_at(&self) -> Vec<Json> {
        let shaped = [("object", self.map()), ("array", self.list())];
        let (types, mut any): (Vec<&str>, Vec<Json>) = shaped
            .into_iter()
            .filter_map(|(name, schema)| Some((name, schema?)))
            .unzip();
        if !any.is_empty() {
            any.push(json!({"not": {"type": types}}));
        }
        any
    }

    fn map(&self) -> Option<Json> {
        let named =
            || Some(json!({"type": "object", "additionalProperties": or_no_map(&self.shape(Hangs::Named)?)}));
        self.shape(Hangs::Itself).or_else(named)
    }

    fn list(&self) -> Option<Json> {
        Some(json!({"type": "array", "items": or_no_map(&self.shape(Hangs::Item)?)}))
    }

    fn shape(&self, hangs: Hangs) -> Option<Json> {
        let shapes = self.shapes.iter().filter(|(how, _)| *how == hangs);
        let mut any: Vec<Json> = shapes
            .map(|(_, name)| json!({"$ref": format!("#/$defs/{}", definition(name))}))
            .collect();
        match any.len() {
            0 => None,
            1 => Some(any.remove(0)),
            _ => Some(json!({"anyOf": any})),
        }
    }
}

/// A reader may take something else than a map first: a policy is a word or a map.
fn or_no_map(shape: &Json) -> Json {
    json!({"anyOf": [shape, {"not": {"type": "object"}}]})
}

/// Notes that a map is opened.
pub(crate) fn opened(what: &str, place: Place) {
    note(|grammar| {
        if grammar.root.is_empty() {
            what.clone_into(&mut grammar.root);
        }
        grammar.shapes.entry(what.to_owned()).or_default();
        if let Some((shape, key, hangs)) = grammar.asked.get(&place.start).cloned() {
            let key = grammar
                .shapes
                .entry(shape)
                .or_default()
                .keys
                .entry(key)
                .or_default();
            key.shapes.insert((hangs, what.to_owned()));
        }
    });
}

/// Notes that a key is asked for, and where its value stands.
pub(crate) fn asked(what: &str, key: &'static str, value: Option<&Node>) {
    note(|grammar| {
        grammar
            .shapes
            .entry(what.to_owned())
            .or_default()
            .keys
            .entry(key)
            .or_default();
        let mut hangs = |node: &Node, hangs| {
            grammar
                .asked
                .insert(node.place.start, (what.to_owned(), key, hangs));
        };
        let Some(node) = value else { return };
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| hangs(item, Hangs::Item)),
            Value::Map(entries) => entries
                .iter()
                .for_each(|(_, _, value)| hangs(value, Hangs::Named)),
            _ => {}
        }
        hangs(node, Hangs::Itself);
    });
}

/// Notes what a value is taken for.
pub(crate) fn taken(what: &str, key: &'static str, form: impl FnOnce() -> Form) {
    note(|grammar| {
        let shape = grammar.shapes.entry(what.to_owned()).or_default();
        shape.keys.entry(key).or_default().forms.insert(form());
    });
}

fn note(with: impl FnOnce(&mut Grammar)) {
    NOTED.with_borrow_mut(|noted| noted.as_mut().map(with));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fields, Report, Source};

    /// A reader as there are many: typed keys, a choice, a list of maps, a map of maps, something that it looks at itself.
    fn read(text: &str) {
        let (source, mut report) = (Source::new("t.yaml", text), Report::new());
        let node = Node::parse(&source, &mut report).unwrap();
        let mut fields = Fields::open(&node, "a thing", &source, &mut report).unwrap();
        fields.text("name", &mut report);
        fields.choice("kind", &[("big", 1), ("small", 2)], &mut report);
        fields.optional_integer("count", 1..=9, &mut report);
        for item in fields.list("parts", &mut report) {
            if let Some(mut part) = Fields::open(item, "a part", &source, &mut report) {
                part.optional_bool("spare", &mut report);
                part.finish(&mut report);
            }
        }
        for (_, _, node) in fields.map("named", &mut report) {
            Fields::open(node, "a part", &source, &mut report);
        }
        if let Some(node) = fields.optional("shape") {
            Fields::open(node, "`shape`", &source, &mut report);
        }
        fields.finish(&mut report);
    }

    #[test]
    fn what_a_reader_asks_for_is_its_schema() {
        let grammar = Grammar::of(|| read("{ parts: [ {} ], named: { x: {} }, shape: {} }"));
        insta::assert_snapshot!(serde_json::to_string_pretty(&grammar.schema("things")["$defs"]).unwrap(), @r##"
        {
          "a-part": {
            "additionalProperties": false,
            "properties": {
              "spare": {
                "anyOf": [
                  {
                    "type": "boolean"
                  },
                  {
                    "type": "null"
                  }
                ]
              }
            },
            "type": "object"
          },
          "a-thing": {
            "additionalProperties": false,
            "properties": {
              "count": {
                "anyOf": [
                  {
                    "maximum": 9,
                    "minimum": 1,
                    "type": "integer"
                  },
                  {
                    "type": "null"
                  }
                ]
              },
              "kind": {
                "anyOf": [
                  {
                    "enum": [
                      "big",
                      "small"
                    ]
                  },
                  {
                    "type": "null"
                  }
                ]
              },
              "name": {
                "anyOf": [
                  {
                    "type": "string"
                  },
                  {
                    "type": "null"
                  }
                ]
              },
              "named": {
                "anyOf": [
                  {
                    "additionalProperties": {
                      "anyOf": [
                        {
                          "$ref": "#/$defs/a-part"
                        },
                        {
                          "not": {
                            "type": "object"
                          }
                        }
                      ]
                    },
                    "type": "object"
                  },
                  {
                    "type": "null"
                  }
                ]
              },
              "parts": {
                "anyOf": [
                  {
                    "items": {
                      "anyOf": [
                        {
                          "$ref": "#/$defs/a-part"
                        },
                        {
                          "not": {
                            "type": "object"
                          }
                        }
                      ]
                    },
                    "type": "array"
                  },
                  {
                    "type": "null"
                  }
                ]
              },
              "shape": {
                "anyOf": [
                  {
                    "$ref": "#/$defs/shape"
                  },
                  {
                    "not": {
                      "type": [
                        "object"
                      ]
                    }
                  }
                ]
              }
            },
            "type": "object"
          },
          "shape": {
            "additionalProperties": false,
            "properties": {},
            "type": "object"
          }
        }
        "##);
    }

    #[test]
    fn a_reader_is_noted_only_while_it_is_asked_to_be() {
        read("{ parts: [ {} ] }");
        let nothing = Grammar::of(|| {});
        assert_eq!(nothing, Grammar::default());
        read("{ parts: [ {} ] }");
        assert!(Grammar::of(|| read("{}")).keys().contains("parts"));
    }
}
