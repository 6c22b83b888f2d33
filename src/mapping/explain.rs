//! Both directions of one object, field by field, for people.

use model::stored::to_json;
use serde_json::Value as Json;

use crate::create::{Refused, Writing};
use crate::example::stand_in;
use crate::get::{Read, Reading};
use crate::line::Line;
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
    /// What the value is written as on an empty object, by wire field; empty when it is blank or only read.
    pub back: Vec<(String, Json)>,
    /// Whether the value is read, and whether it is written.
    pub reads: bool,
    /// See `reads`.
    pub writes: bool,
}

impl Mapping {
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
        let carried = std::iter::once(&line.wire)
            .chain(&line.currency)
            .map(|wire| wire.find(object).cloned());
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
        let foreign = line
            .wire
            .find(object)
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
                context,
                refer: &refer,
            };
            match writing.create(line, &value) {
                Ok(created) => {
                    let values = std::iter::once(created.value).chain(created.currency);
                    explained.back = line.wire_names().map(str::to_owned).zip(values).collect();
                }
                Err(Refused::Invalid(invalid)) => explained.issue = Some(invalid.to_string()),
                Err(Refused::Unreferred(_)) => {}
            }
        }
        explained
    }
}
