//! Overlays: a file of one's own that changes a file that ships, instead of replacing it.
//!
//! An *overlay* says with `kind: Overlay` what it is, and does four things, each along the keys of the file it lies over:
//! `change` sets values, `add` and `first` put entries behind or before those of a list, `remove` takes entries out of a
//! list (those that have all the values that are named) or keys out of a map.
//! What comes of it is read like any other file, and every finding still points at the file that it is about.

use crate::{Fields, Node, Place, Report, Source, Value};

/// The only version of the format so far.
const API_VERSION: &str = "interconnect/v1";
/// The word under `kind`.
const KIND: &str = "Overlay";

impl Source {
    /// Whether a file is an overlay, as far as can be seen without reading it.
    pub fn is_overlay(&self) -> bool {
        self.text.lines().any(|line| line.trim_end() == "kind: Overlay")
    }

    /// This file with an overlay over it.
    pub fn under(&self, overlay: Source) -> Source {
        Source {
            overlay: Some(std::sync::Arc::new(overlay)),
            ..self.clone()
        }
    }

    /// The file and the place that a place of this source is in.
    pub(crate) fn really(&self, place: Place) -> (&Source, Place) {
        let shift = self.shift();
        match &self.overlay {
            Some(overlay) if place.start >= shift => {
                let place = Place {
                    start: place.start - shift,
                    end: place.end - shift,
                    ..place
                };
                (overlay, place)
            }
            _ => (self, place),
        }
    }

    /// Where the places of the overlay begin.
    fn shift(&self) -> usize {
        self.text.chars().count() + 1
    }

    /// The tree of the overlay, in places of this source.
    pub(crate) fn overlaid(&self, base: Node, report: &mut Report) -> Option<Node> {
        let Some(overlay) = &self.overlay else {
            return Some(base);
        };
        let mut over = Node::parse(overlay, report)?;
        shifted(&mut over, self.shift());
        let mut base = base;
        let mut fields = Fields::open(&over, "an overlay", self, report)?;
        fields.choice("apiVersion", &[(API_VERSION, ())], report);
        fields.choice("kind", &[(KIND, ())], report);
        let steps = [
            ("remove", fields.optional("remove")),
            ("change", fields.optional("change")),
            ("first", fields.optional("first")),
            ("add", fields.optional("add")),
        ];
        fields.finish(report);
        let before = report.errors();
        for (step, node) in steps {
            let Some(node) = node else { continue };
            match step {
                "remove" => self.remove(&mut base, node, report),
                "change" => change(&mut base, node),
                step => self.put(&mut base, node, step == "first", report),
            }
        }
        (report.errors() == before).then_some(base)
    }

    fn put(&self, base: &mut Node, node: &Node, first: bool, report: &mut Report) {
        match (&mut base.value, &node.value) {
            (Value::Map(below), Value::Map(above)) => {
                for (key, place, value) in above {
                    match below.iter_mut().find(|(known, _, _)| known == key) {
                        Some((_, _, known)) => self.put(known, value, first, report),
                        None => below.push((key.clone(), *place, value.clone())),
                    }
                }
            }
            (Value::List(below), Value::List(above)) => {
                let at = if first { 0 } else { below.len() };
                below.splice(at..at, above.iter().cloned());
            }
            _ => self.unfit(
                node,
                &format!("there is {}, which nothing can be added to", base.kind()),
                report,
            ),
        }
    }

    fn remove(&self, base: &mut Node, node: &Node, report: &mut Report) {
        match (&mut base.value, &node.value) {
            (Value::Map(below), Value::Map(above)) => {
                for (key, place, value) in above {
                    match below.iter_mut().find(|(known, _, _)| known == key) {
                        Some((_, _, known)) => self.remove(known, value, report),
                        None => {
                            let at = Node {
                                place: *place,
                                value: Value::Null,
                            };
                            self.unfit(&at, &format!("there is no `{key}`"), report);
                        }
                    }
                }
            }
            (Value::Map(below), Value::List(keys)) => {
                for key in keys {
                    let count = below.len();
                    below.retain(|(known, _, _)| Some(known.as_str()) != key.text());
                    if below.len() == count {
                        self.unfit(key, "there is no such key", report);
                    }
                }
            }
            (Value::List(below), Value::List(entries)) => {
                for entry in entries {
                    let count = below.len();
                    below.retain(|known| !has_all(known, entry));
                    if below.len() == count {
                        self.unfit(entry, "no entry is like this", report);
                    }
                }
            }
            _ => self.unfit(
                node,
                &format!("there is {}, which nothing can be removed from", base.kind()),
                report,
            ),
        }
    }

    fn unfit(&self, node: &Node, why: &str, report: &mut Report) {
        report.error(
            "IC0006",
            self,
            node.place,
            format!("the overlay does not fit {}: {why}", self.file),
            "name what stands there, as it stands there",
        );
    }
}

fn change(base: &mut Node, node: &Node) {
    if let (Value::Map(below), Value::Map(above)) = (&mut base.value, &node.value) {
        for (key, place, value) in above {
            match below.iter_mut().find(|(known, _, _)| known == key) {
                Some((_, _, known)) => change(known, value),
                None => below.push((key.clone(), *place, value.clone())),
            }
        }
        return;
    }
    *base = node.clone();
}

/// Whether an entry has all the values that another one names.
fn has_all(entry: &Node, named: &Node) -> bool {
    match (&entry.value, &named.value) {
        (Value::Map(has), Value::Map(wanted)) => wanted.iter().all(|(key, _, value)| {
            has.iter()
                .any(|(known, _, has)| known == key && has_all(has, value))
        }),
        _ => entry == named,
    }
}

fn shifted(node: &mut Node, by: usize) {
    let shift = |place: &mut Place| {
        place.start += by;
        place.end += by;
    };
    shift(&mut node.place);
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| shifted(item, by)),
        Value::Map(entries) => {
            for (_, place, value) in entries {
                shift(place);
                shifted(value, by);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    const BASE: &str = "\
kind: Mapping
fields:
  - { record: name, object: Name }
  - { record: stage, object: StageName }
constants: { LeadSource: Partner, Type: New }
errors: [one]
";

    fn read(overlay: &str) -> (Option<Node>, Report) {
        let mut report = Report::new();
        let source = Source::new("shipped.yaml", BASE).under(Source::new("own.yaml", overlay));
        let node = Node::parse(&source, &mut report);
        (node, report)
    }

    #[test]
    fn an_overlay_changes_adds_and_removes() {
        let overlay = "\
apiVersion: interconnect/v1
kind: Overlay
remove:
  fields: [{ record: stage }]
  constants: [Type]
change:
  constants: { LeadSource: Web, Region__c: EMEA }
add:
  fields: [{ record: amount, object: Total__c }]
  examples: [{ object: {} }]
first:
  errors: [zero]
";
        assert!(Source::new("own.yaml", overlay).is_overlay());
        let (node, report) = read(overlay);
        assert!(report.is_empty(), "{}", report.render(false));
        let expected = serde_json::json!({
            "kind": "Mapping",
            "fields": [{"record": "name", "object": "Name"}, {"record": "amount", "object": "Total__c"}],
            "constants": {"LeadSource": "Web", "Region__c": "EMEA"},
            "errors": ["zero", "one"],
            "examples": [{"object": {}}],
        });
        assert_eq!(node.unwrap().to_json(), expected);
    }

    #[test]
    fn findings_point_at_the_file_that_they_are_about() {
        let overlay = "apiVersion: interconnect/v1\nkind: Overlay\nadd:\n  fields:\n    - { record: amont, object: Total__c }\n";
        let source = Source::new("shipped.yaml", BASE).under(Source::new("own.yaml", overlay));
        let mut report = Report::new();
        let node = Node::parse(&source, &mut report).unwrap();
        let Value::List(fields) = &node.get("fields").unwrap().value else {
            panic!("a list")
        };
        for (at, field) in fields.iter().enumerate() {
            report.error(
                "IC0301",
                &source,
                field.get("record").unwrap().place,
                format!("number {at}"),
                "",
            );
        }
        assert_snapshot!(report.render(false), @r"
        error[IC0301]: number 0
         --> shipped.yaml:3:15
          |
        3 |   - { record: name, object: Name }
          |               ^^^^

        error[IC0301]: number 1
         --> shipped.yaml:4:15
          |
        4 |   - { record: stage, object: StageName }
          |               ^^^^^

        error[IC0301]: number 2
         --> own.yaml:5:17
          |
        5 |     - { record: amont, object: Total__c }
          |                 ^^^^^
        ");
    }

    #[test]
    fn what_does_not_fit_is_told_all_at_once() {
        let overlay = "\
apiVersion: interconnect/v1
kind: Overlay
remove:
  fields: [{ record: stag }]
  constants: [Typ]
  nothing: [here]
add:
  kind: [x]
chnge: {}
";
        let (node, report) = read(overlay);
        assert_eq!(node, None);
        assert_snapshot!(report.render(false), @r"
        error[IC0005]: `chnge` is not a key of an overlay
         --> own.yaml:9:1
          |
        9 | chnge: {}
          | ^^^^^
          |
          = help: did you mean `change`?

        error[IC0006]: the overlay does not fit shipped.yaml: no entry is like this
         --> own.yaml:4:12
          |
        4 |   fields: [{ record: stag }]
          |            ^^
          |
          = help: name what stands there, as it stands there

        error[IC0006]: the overlay does not fit shipped.yaml: there is no such key
         --> own.yaml:5:15
          |
        5 |   constants: [Typ]
          |               ^^^
          |
          = help: name what stands there, as it stands there

        error[IC0006]: the overlay does not fit shipped.yaml: there is no `nothing`
         --> own.yaml:6:3
          |
        6 |   nothing: [here]
          |   ^^^^^^^
          |
          = help: name what stands there, as it stands there

        error[IC0006]: the overlay does not fit shipped.yaml: there is text, which nothing can be added to
         --> own.yaml:8:9
          |
        8 |   kind: [x]
          |         ^
          |
          = help: name what stands there, as it stands there
        ");
    }
}
