//! [`Fields`]: reads a map key by key and notes everything that is wrong with it.

use crate::grammar::{self, Form};
use crate::{Node, Place, Report, Source, Value};

/// Reads the keys of one map.
///
/// Every read marks its key as known; [`Fields::finish`] notes the keys that nobody asked for.
/// Wrong values are noted and read as if they were not there, so that one call shows every finding of a file.
pub struct Fields<'a> {
    source: &'a Source,
    place: Place,
    what: &'a str,
    entries: &'a [(String, Place, Node)],
    known: Vec<&'static str>,
    complete: bool,
}

impl<'a> Fields<'a> {
    /// Opens a map for reading; `what` names it in messages ("a limit").
    /// Notes a finding when the node is no map.
    pub fn open(
        node: &'a Node,
        what: &'a str,
        source: &'a Source,
        report: &mut Report,
    ) -> Option<Fields<'a>> {
        grammar::opened(what, node.place);
        match &node.value {
            Value::Map(entries) => Some(Fields {
                source,
                place: node.place,
                what,
                entries,
                known: Vec::new(),
                complete: true,
            }),
            _ => {
                report.error(
                    "IC0002",
                    source,
                    node.place,
                    format!("{what} is {}, expected a map", node.kind()),
                    "write it as `key: value` lines",
                );
                None
            }
        }
    }

    /// Where the whole map stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The source that is read.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// Whether every read so far found what it needed; a required key that was missing or wrong makes it false.
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// The value of a key, if it is there and not null.
    pub fn optional(&mut self, key: &'static str) -> Option<&'a Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let found = self.entries.iter().find(|(k, _, _)| k == key);
        let found = found.map(|(_, _, node)| node);
        grammar::asked(self.what, key, found);
        found.filter(|node| node.value != Value::Null)
    }

    /// The value of a key that must be there.
    pub fn required(&mut self, key: &'static str, report: &mut Report) -> Option<&'a Node> {
        let found = self.optional(key);
        if found.is_none() {
            self.complete = false;
            report.error(
                "IC0003",
                self.source,
                self.key_place(key).unwrap_or(self.place),
                format!("{} lacks `{key}`", self.what),
                format!("add `{key}: …`"),
            );
        }
        found
    }

    /// Text that must be there and not be empty.
    pub fn text(&mut self, key: &'static str, report: &mut Report) -> Option<&'a str> {
        grammar::taken(self.what, key, || Form::Text);
        let node = self.required(key, report)?;
        self.as_text(key, node, report)
    }

    /// Text that may be left out.
    pub fn optional_text(&mut self, key: &'static str, report: &mut Report) -> Option<&'a str> {
        grammar::taken(self.what, key, || Form::Text);
        let node = self.optional(key)?;
        self.as_text(key, node, report)
    }

    fn as_text(&mut self, key: &str, node: &'a Node, report: &mut Report) -> Option<&'a str> {
        match node.text() {
            Some(text) if !text.trim().is_empty() => Some(text),
            Some(_) => self.wrong(key, node, "text that is not empty", report),
            None => self.wrong(key, node, "text", report),
        }
    }

    /// A number as text, where a unit or more was left out; the caller says what is missing.
    pub fn bare_number(&mut self, key: &'static str) -> Option<i64> {
        match self.optional(key)?.value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// A whole number within bounds, that may be left out.
    pub fn optional_integer(
        &mut self,
        key: &'static str,
        bounds: std::ops::RangeInclusive<i64>,
        report: &mut Report,
    ) -> Option<i64> {
        grammar::taken(self.what, key, || Form::Integer(*bounds.start(), *bounds.end()));
        let node = self.optional(key)?;
        match node.value {
            Value::Integer(number) if bounds.contains(&number) => Some(number),
            Value::Text(ref text) if text.parse().is_ok_and(|number| bounds.contains(&number)) => {
                self.wrong(key, node, &format!("a number: {text}, without quotes"), report)
            }
            _ => {
                let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
                self.wrong(key, node, &expected, report)
            }
        }
    }

    /// True or false, that may be left out.
    pub fn optional_bool(&mut self, key: &'static str, report: &mut Report) -> Option<bool> {
        grammar::taken(self.what, key, || Form::Bool);
        let node = self.optional(key)?;
        match node.value {
            Value::Bool(value) => Some(value),
            _ => self.wrong(key, node, "true or false", report),
        }
    }

    /// A list, that may be left out; left out is empty.
    pub fn list(&mut self, key: &'static str, report: &mut Report) -> &'a [Node] {
        grammar::taken(self.what, key, || Form::List);
        match self.optional(key) {
            None => &[],
            Some(Node {
                value: Value::List(items),
                ..
            }) => items,
            Some(node) => self.wrong(key, node, "a list", report).unwrap_or(&[]),
        }
    }

    /// A map of names that the file chooses, that may be left out; left out is empty.
    pub fn map(&mut self, key: &'static str, report: &mut Report) -> &'a [(String, Place, Node)] {
        grammar::taken(self.what, key, || Form::Map);
        match self.optional(key) {
            None => &[],
            Some(Node {
                value: Value::Map(entries),
                ..
            }) => entries,
            Some(node) => self.wrong(key, node, "a map", report).unwrap_or(&[]),
        }
    }

    /// A list of texts, that may be left out; a single text stands for a list of one.
    pub fn texts(&mut self, key: &'static str, report: &mut Report) -> Vec<&'a str> {
        grammar::taken(self.what, key, || Form::Texts);
        let Some(node) = self.optional(key) else {
            return Vec::new();
        };
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        items
            .iter()
            .filter_map(|item| self.as_text(key, item, report))
            .collect()
    }

    /// One word out of a closed set, that must be there.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        report: &mut Report,
    ) -> Option<T> {
        grammar::taken(self.what, key, || words(choices));
        let node = self.required(key, report)?;
        self.as_choice(key, node, choices, report)
    }

    /// One word out of a closed set, that may be left out.
    pub fn optional_choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        report: &mut Report,
    ) -> Option<T> {
        grammar::taken(self.what, key, || words(choices));
        let node = self.optional(key)?;
        self.as_choice(key, node, choices, report)
    }

    fn as_choice<T: Copy>(
        &mut self,
        key: &str,
        node: &'a Node,
        choices: &[(&str, T)],
        report: &mut Report,
    ) -> Option<T> {
        let text = self.as_text(key, node, report)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*choice);
        }
        self.complete = false;
        let names = choices.iter().map(|(name, _)| *name);
        report.error(
            "IC0004",
            self.source,
            node.place,
            format!("`{text}` is not a known value of `{key}`"),
            suggestion(text, names),
        );
        None
    }

    /// Notes a wrong value and returns nothing.
    pub fn wrong<T>(&mut self, key: &str, node: &Node, expected: &str, report: &mut Report) -> Option<T> {
        self.complete = false;
        let found = match &node.value {
            Value::Text(text) if text.chars().count() <= 40 => format!("`{text}`"),
            Value::Integer(number) => format!("`{number}`"),
            Value::Number(number) => format!("`{number}`"),
            Value::Bool(value) => format!("`{value}`"),
            _ => node.kind().to_owned(),
        };
        report.error(
            "IC0004",
            self.source,
            node.place,
            format!("`{key}` is {found}, expected {expected}"),
            format!("write {expected}"),
        );
        None
    }

    /// Notes every key that nobody asked for.
    pub fn finish(self, report: &mut Report) {
        for (key, place, _) in self.entries {
            if !self.known.contains(&key.as_str()) {
                report.error(
                    "IC0005",
                    self.source,
                    *place,
                    format!("`{key}` is not a key of {}", self.what),
                    suggestion(key, self.known.iter().copied()),
                );
            }
        }
    }

    /// Where a key stands, if it is there.
    pub fn key_place(&self, key: &str) -> Option<Place> {
        self.entries
            .iter()
            .find(|(k, _, _)| k == key)
            .map(|(_, place, _)| *place)
    }
}

fn words<T>(choices: &[(&str, T)]) -> Form {
    Form::Choice(choices.iter().map(|(word, _)| (*word).to_owned()).collect())
}

/// "did you mean …?" when one of the names is close, otherwise the list of names.
pub fn suggestion<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    let close = names
        .iter()
        .map(|name| {
            (
                strsim::jaro_winkler(&word.to_lowercase(), &name.to_lowercase()),
                *name,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match close {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if names.is_empty() => "remove it".to_owned(),
        None => format!("known are: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn read(text: &str) -> String {
        let source = Source::new("limits.yaml", text);
        let mut report = Report::new();
        let node = Node::parse(&source, &mut report).unwrap();
        if let Some(mut fields) = Fields::open(&node, "a limit", &source, &mut report) {
            fields.text("name", &mut report);
            fields.choice("kind", &[("window", 1), ("quota", 2)], &mut report);
            fields.optional_integer("limit", 1..=1000, &mut report);
            fields.optional_bool("on", &mut report);
            fields.texts("match", &mut report);
            fields.finish(&mut report);
        }
        report.render(false)
    }

    #[test]
    fn a_good_map_has_no_findings() {
        assert_eq!(
            read("name: burst\nkind: window\nlimit: 5\non: true\nmatch: search"),
            ""
        );
    }

    #[test]
    fn a_secret_is_never_shown() {
        let source = Source::new("t.yaml", "{ secret: hunter2, other: x }");
        let mut report = Report::new();
        let node = Node::parse(&source, &mut report).unwrap();
        report.hide(&source, node.get("secret").unwrap().place);
        report.error(
            "IC0000",
            &source,
            node.get("other").unwrap().place,
            "another finding",
            "",
        );
        assert!(
            report.render(false).contains("{ secret: *******, other: x }"),
            "{}",
            report.render(false)
        );
    }

    #[test]
    fn keys_that_are_known_are_named_once_however_often_they_were_asked_for() {
        let source = Source::new("t.yaml", "zzz: 1");
        let mut report = Report::new();
        let node = Node::parse(&source, &mut report).unwrap();
        let mut fields = Fields::open(&node, "a limit", &source, &mut report).unwrap();
        for key in ["name", "kind", "name"] {
            fields.optional(key);
        }
        fields.finish(&mut report);
        let told = report.render(false);
        assert!(told.trim_end().ends_with("known are: name, kind"), "{told}");
    }

    #[test]
    fn every_finding_at_once() {
        assert_snapshot!(read("nmae: burst\nkind: windw\nlimit: many\non: 3\n"), @r"
        error[IC0003]: a limit lacks `name`
         --> limits.yaml:1:1
          |
        1 | nmae: burst
          | ^
          |
          = help: add `name: …`

        error[IC0004]: `windw` is not a known value of `kind`
         --> limits.yaml:2:7
          |
        2 | kind: windw
          |       ^^^^^
          |
          = help: did you mean `window`?

        error[IC0004]: `limit` is `many`, expected a whole number from 1 to 1000
         --> limits.yaml:3:8
          |
        3 | limit: many
          |        ^^^^
          |
          = help: write a whole number from 1 to 1000

        error[IC0004]: `on` is `3`, expected true or false
         --> limits.yaml:4:5
          |
        4 | on: 3
          |     ^
          |
          = help: write true or false

        error[IC0005]: `nmae` is not a key of a limit
         --> limits.yaml:1:1
          |
        1 | nmae: burst
          | ^^^^
          |
          = help: did you mean `name`?
        ");
    }
}
