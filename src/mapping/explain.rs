//! Both directions of one object, or of one record, field by field, for people.

use diagnostic::{Node, Report, Source};
use model::RecordId;
use model::stored::to_json;
use serde_json::Value as Json;

use crate::create::{Refused, Writing};
use crate::example::{Example, stand_in};
use crate::get::{Read, Reading};
use crate::line::Line;
use crate::lint::alike;
use crate::{Context, Mapping};

/// One line of a mapping, run on one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// The field of the record.
    pub path: &'static str,
    /// Each wire field and what the object carries there; nothing when it does not carry it.
    pub wire: Vec<(String, Option<Json>)>,
    /// The steps of the lens in words.
    pub steps: Vec<String>,
    /// The value of the record; nothing when it is not known or does not fit.
    pub value: Option<Json>,
    /// Why there is no value, or why it cannot be written back.
    pub issue: Option<String>,
    /// What the value is written as, by wire field, as if nothing were there but the parts of a name; empty when it is blank
    /// or only read.
    pub back: Vec<(String, Json)>,
    /// Whether the value is read, and whether it is written.
    pub reads: bool,
    /// See `reads`.
    pub writes: bool,
}

impl Explained {
    /// Whether the object holds the value in other words than we would write it. That alone is never written back.
    pub fn respelled(&self) -> bool {
        let carried = |name: &String| self.wire.iter().find(|(wire, _)| wire == name);
        self.back.iter().any(|(name, back)| {
            let carried = carried(name).and_then(|(_, json)| json.as_ref());
            !alike(carried, Some(back))
        })
    }
}

/// One line of a mapping, run on one record.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The field of the record.
    pub path: &'static str,
    /// The record's value; nothing when the record does not say.
    pub value: Option<Json>,
    /// What it is written as when the object is new, by wire field.
    pub wire: Vec<(String, Json)>,
    /// What that reads as.
    pub read: Option<Json>,
    /// Why it cannot be written, or not be read again.
    pub issue: Option<String>,
    /// Whether the value is read, and whether it is written.
    pub reads: bool,
    /// See `reads`.
    pub writes: bool,
}

impl Written {
    /// Whether what is written reads as something else. The base makes up for it in a sync, as long as the system holds
    /// what was written.
    pub fn coarser(&self) -> bool {
        self.reads && self.writes && self.issue.is_none() && self.value.is_some() && self.value != self.read
    }
}

impl Mapping {
    /// The objects of the file's own examples.
    pub fn examples(&self) -> impl Iterator<Item = &Json> {
        self.examples.iter().map(|example| &example.object)
    }

    /// Reads a record, written as examples write it, and says what happens to each of its fields, in the order of the
    /// file. What is wrong with the record is noted, and nothing is returned then.
    pub fn explain_record(
        &self,
        record: &Source,
        context: Context<'_>,
        report: &mut Report,
    ) -> Option<Vec<Written>> {
        let before = report.errors();
        let node = Node::parse(record, report)?;
        let example = Example::of_record(&node, self.kind, record, report);
        if report.errors() > before {
            return None;
        }
        let refer = |record: RecordId, _: &str| example.foreign_id(record).map(str::to_owned);
        let backward = self.backward(&example.record, None, context, &refer);
        let object = Json::Object(backward.values.clone());
        let read = self.explain(&object, context);
        let written = read.into_iter().map(|read| {
            let value = example.record.get(read.path).filter(|value| !value.is_blank());
            let refused = backward.issues.iter().find(|issue| issue.path == read.path);
            Written {
                path: read.path,
                value: value.map(|value| example.shown(value)),
                wire: read
                    .wire
                    .into_iter()
                    .filter_map(|(name, json)| Some((name, json?)))
                    .collect(),
                read: read.value,
                issue: refused.map(|issue| issue.invalid.to_string()).or(read.issue),
                reads: read.reads,
                writes: read.writes,
            }
        });
        Some(written.collect())
    }

    /// Runs the mapping on an object and says what happens to each field, in the order of the file. References are
    /// not looked up: they are shown as the foreign ids that they are.
    pub fn explain(&self, object: &Json, context: Context<'_>) -> Vec<Explained> {
        let mut lines: Vec<&Line> = self.lines.iter().collect();
        lines.sort_by_key(|line| line.place.start);
        lines
            .into_iter()
            .map(|line| self.explain_line(line, object, context))
            .collect()
    }

    fn explain_line(&self, line: &Line, object: &Json, context: Context<'_>) -> Explained {
        let names = line.wire_names().map(str::to_owned);
        let carried = line.wires().map(|wire| wire.find(object).cloned());
        let mut explained = Explained {
            path: line.path,
            wire: names.zip(carried).collect(),
            steps: line.lens.steps(),
            value: None,
            issue: None,
            back: Vec::new(),
            reads: line.reads(),
            writes: line.writes(),
        };
        let resolve = |_: &str, id: &str| line.refers_to_kind().map(|kind| stand_in(kind, id));
        let reading = Reading {
            lines: &self.lines,
            object,
            base: None,
            context,
            resolve: &resolve,
        };
        let value = match reading.read(line) {
            Read::Value(value) => value,
            Read::Unknown => return explained,
            Read::Invalid(invalid) => {
                explained.issue = Some(invalid.to_string());
                return explained;
            }
            Read::Unresolved(id) => {
                explained.issue = Some(format!("`{id}` is not the id of anything known"));
                return explained;
            }
        };
        let found = line.find(object).ok().flatten();
        let foreign = found
            .as_deref()
            .and_then(|wire| crate::get::ids(wire).next())
            .unwrap_or_default();
        explained.value = Some(match value.as_reference() {
            Some(_) => Json::from(foreign),
            None => to_json(&value),
        });
        if line.writes() && !value.is_blank() {
            let fields = self.forward(object, None, context, &resolve).fields;
            let refer = |_, _: &str| Some(foreign.to_owned());
            let writing = Writing {
                lines: &self.lines,
                fields: &fields,
                object: Some(object),
                context,
                refer: &refer,
            };
            match writing.create(line, &value) {
                Ok(created) => {
                    let values = std::iter::once(created.value).chain(created.second);
                    explained.back = line.wire_names().map(str::to_owned).zip(values).collect();
                }
                Err(Refused::Invalid(invalid)) => explained.issue = Some(invalid.to_string()),
                Err(Refused::Unreferred(_)) => {}
            }
        }
        explained
    }
}
