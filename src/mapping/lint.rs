//! Findings about a mapping that compiles: its own examples both ways, the laws, and what is probably not meant.

use std::sync::Arc;

use diagnostic::{Place, Report};
use model::{FieldType, RecordId, Value};
use serde_json::{Map, Value as Json};

use crate::Mapping;
use crate::example::{Example, stand_in};
use crate::get::{Read, Reading};
use crate::laws::{broken, context, shown};
use crate::lens::Codec;
use crate::line::Line;

impl Mapping {
    /// Runs the file's examples both ways, the laws with generated records, and the expressions of one-way lines on
    /// `samples`: objects as the connector's samples hold them, each with the name of its file.
    pub fn lint(&self, samples: &[(Arc<str>, Json)]) -> Report {
        let mut report = Report::new();
        report.source(&self.source);
        self.look(&mut report);
        for example in &self.examples {
            self.run(example, &mut report);
        }
        if self.examples.is_empty() {
            let hint = "add `examples:` with an object and the record it is";
            report.warning(
                "IC0318",
                &self.source,
                self.fields_place,
                "the mapping has no example",
                hint,
            );
        }
        self.expressions(samples, &mut report);
        for found in broken(self) {
            let place = self.place_of(found.path);
            let message = format!(
                "{} does not hold for `{}`: {}",
                found.law, found.path, found.shown
            );
            report.error("IC0317", &self.source, place, message, found.hint);
        }
        report
    }

    /// An expression that compiles may still be wrong for what the system sends; a sample shows it.
    fn expressions(&self, samples: &[(Arc<str>, Json)], report: &mut Report) {
        for line in self.lines.iter().filter(|line| line.derived.is_some()) {
            let mut ran = self.examples.iter().any(|example| self.reaches(line, example));
            let sent = samples
                .iter()
                .filter(|(_, object)| line.reads() && self.admits(object));
            for (file, object) in sent {
                let reading = Reading {
                    lines: &self.lines,
                    object,
                    base: None,
                    context: context(),
                    resolve: &|_, id| line.refers_to_kind().map(|kind| stand_in(kind, id)),
                };
                match reading.read(line) {
                    Read::Unknown => continue,
                    Read::Invalid(invalid) => {
                        let message =
                            format!("`{}` cannot be read from the sample {file}: {invalid}", line.path);
                        let hint = "correct the expression, or the sample";
                        report.error("IC0324", &self.source, line.place, message, hint);
                    }
                    Read::Value(_) | Read::Unresolved(_) => {}
                }
                ran = true;
            }
            if !ran {
                let message = format!("no example and no sample runs the expression of `{}`", line.path);
                let hint = "add an example whose object has the fields that it reads, or whose record has the value that it writes";
                report.warning("IC0325", &self.source, line.place, message, hint);
            }
        }
    }

    /// Whether an example runs the expression of a line.
    fn reaches(&self, line: &Line, example: &Example) -> bool {
        if line.reads() {
            let derived = line.derived.as_ref();
            return derived.is_some_and(|derived| !matches!(derived.read(&example.object), Ok(None)));
        }
        example.record.filled(line.path).is_some()
    }

    fn place_of(&self, path: &str) -> Place {
        self.lines
            .iter()
            .find(|line| line.path == path)
            .map_or(self.fields_place, |line| line.place)
    }

    /// What can be seen without running anything.
    fn look(&self, report: &mut Report) {
        for line in &self.lines {
            if let (Some(cut), FieldType::Text { chars_max }) = (line.lens.truncate, line.field_type)
                && cut > chars_max
            {
                let message = format!(
                    "`truncate: {cut}` never cuts: `{}` holds at most {chars_max} characters",
                    line.path
                );
                report.warning("IC0311", &self.source, line.place, message, "remove it");
            }
            let relation = match &line.lens.codec {
                Codec::Relation(relation) => Some(relation),
                Codec::List { relation, .. } => relation.as_ref(),
                _ => None,
            };
            if let (Some(relation), true) = (relation, line.writes())
                && let FieldType::Choice(words) | FieldType::Choices(words) = line.field_type
            {
                let without: Vec<&str> = words
                    .iter()
                    .copied()
                    .filter(|word| relation.wire(word).is_none())
                    .collect();
                if !without.is_empty() {
                    let message = format!(
                        "`{}` cannot be written when it is {}",
                        line.path,
                        without.join(" or ")
                    );
                    report.warning(
                        "IC0308",
                        &self.source,
                        line.place,
                        message,
                        "name a value for it, or give the line `direction: in`",
                    );
                }
            }
        }
    }

    fn run(&self, example: &Example, report: &mut Report) {
        if !self.admits(&example.object) {
            report.error(
                "IC0316",
                &self.source,
                example.record_place,
                "`when` does not admit this example's object",
                "change the example or the condition",
            );
        }
        let resolve = |object: &str, id: &str| -> Option<RecordId> {
            self.references()
                .find(|(known, _)| *known == object)
                .map(|(_, kind)| stand_in(kind, id))
        };
        let forward = self.forward(&example.object, None, context(), &resolve);
        for issue in &forward.issues {
            report.error(
                "IC0314",
                &self.source,
                example.place_of(issue.path),
                issue.to_string(),
                "correct the object or the lens",
            );
        }
        let paths = self
            .lines
            .iter()
            .filter(|line| line.reads())
            .map(|line| line.path);
        let extra = example
            .record
            .iter()
            .map(|(path, _)| path)
            .filter(|path| !self.lines.iter().any(|line| line.reads() && line.path == *path));
        for path in paths.chain(extra) {
            let (got, expected) = (forward.fields.get(path), example.record.get(path));
            // Blank need not be written down.
            let blank = |value: Option<&Value>| value.is_none_or(Value::is_blank);
            let told = forward.issues.iter().any(|issue| issue.path == path);
            if got != expected && !(blank(got) && blank(expected)) && !told {
                let message = format!(
                    "`{path}` reads as {}, the example says {}",
                    self.name(example, path, got),
                    self.name(example, path, expected)
                );
                report.error(
                    "IC0314",
                    &self.source,
                    example.place_of(path),
                    message,
                    "correct the example or the lens",
                );
            }
        }
        self.run_back(example, report);
    }

    fn run_back(&self, example: &Example, report: &mut Report) {
        let refer = |record: RecordId, _: &str| example.foreign_id(record).map(str::to_owned);
        let backward = self.backward(&example.record, None, context(), &refer);
        for issue in &backward.issues {
            report.error(
                "IC0315",
                &self.source,
                example.place_of(issue.path),
                issue.to_string(),
                "correct the record or the lens",
            );
        }
        let (expected, place) = match &example.back {
            Some((expected, place)) => (expected.clone(), *place),
            None => (self.written_fields(example), example.record_place),
        };
        let told = |name: &String| backward.issues.iter().any(|issue| issue.object_field == *name);
        let names: std::collections::BTreeSet<&String> =
            backward.values.keys().chain(expected.keys()).collect();
        for name in names.into_iter().filter(|name| !told(name)) {
            let (got, expected) = (backward.values.get(name), expected.get(name));
            if !alike(got, expected) {
                let words = |json: Option<&Json>| json.map_or("nothing".to_owned(), Json::to_string);
                let message = format!(
                    "`{name}` is written as {}, expected {}",
                    words(got),
                    words(expected)
                );
                report.error(
                    "IC0315",
                    &self.source,
                    place,
                    message,
                    "correct the lens, or say under `back:` what is written",
                );
            }
        }
    }

    /// What an example's record is expected to be written as when the file does not say: what its object holds in
    /// the fields that are written, and the constants.
    fn written_fields(&self, example: &Example) -> Map<String, Json> {
        let lines = self.lines.iter().filter(|line| line.writes());
        let wires = lines.flat_map(Line::wires);
        let held =
            wires.filter_map(|wire| Some((wire.name.to_string(), wire.find(&example.object)?.clone())));
        let mut held: Map<String, Json> = held.filter(|(_, json)| !crate::wire::blank(json)).collect();
        held.extend(self.constants.clone());
        held
    }

    /// A value in words; a reference as the foreign id that the example names.
    fn name(&self, example: &Example, path: &str, value: Option<&Value>) -> String {
        let named = value.and_then(Value::as_reference).and_then(|record| {
            example
                .references
                .iter()
                .find(|(known, kind, id)| *known == path && stand_in(*kind, id) == record)
        });
        named.map_or_else(|| shown(value), |(_, _, id)| format!("`{id}`"))
    }
}

/// Whether two wire values are the same; numbers are the same however many zeros they were written with.
pub(crate) fn alike(a: Option<&Json>, b: Option<&Json>) -> bool {
    let number = |json: &Json| {
        let text = json.as_number()?.as_str();
        model::normalise::normalise(FieldType::Decimal, text, None).ok()
    };
    match (a, b) {
        (Some(a), Some(b)) => a == b || number(a).is_some_and(|a| Some(a) == number(b)),
        (a, b) => a == b,
    }
}
