//! Reads a mapping file; every finding at once.

use diagnostic::{Fields, Node, Report, Source, Value};
use model::Kind;
use serde_json::Map;

use crate::Mapping;
use crate::condition::Condition;
use crate::entry::{Entry, entry};
use crate::example::Example;
use crate::line::Line;
use crate::together::{countries, doubles, names, required};

pub(crate) fn compile(source: &Source, report: &mut Report) -> Option<Mapping> {
    let before = report.errors();
    let root = Node::parse(source, report)?;
    let mut file = Fields::open(&root, "a mapping", source, report)?;
    file.choice("apiVersion", &[("interconnect/v1", ())], report);
    file.choice("kind", &[("Mapping", ())], report);
    let system = file.text("system", report);
    let object = file.text("object", report);
    let kind = file.choice("record", &Kind::ALL.map(|kind| (kind.name(), kind)), report);
    let when = condition(&mut file, source, report);
    let fields_place = file.key_place("fields").unwrap_or(root.place);
    let nodes = match file.required("fields", report).map(|node| (node, &node.value)) {
        Some((_, Value::List(nodes))) => nodes.as_slice(),
        Some((node, _)) => file.wrong("fields", node, "a list", report).unwrap_or_default(),
        None => &[],
    };
    let constants: Map<_, _> = file
        .map("constants", report)
        .iter()
        .map(|(name, _, node)| (name.clone(), node.to_json()))
        .collect();
    let examples = file.list("examples", report);
    let constant_places = file.optional("constants");
    // Without the kind no path can be looked up, and every line would only repeat that.
    let mut entries: Vec<Entry> = kind.map_or_else(Vec::new, |kind| {
        nodes
            .iter()
            .filter_map(|node| entry(node, kind, source, report))
            .collect()
    });
    let examples = kind.map_or_else(Vec::new, |kind| {
        examples
            .iter()
            .filter_map(|node| Example::read(node, kind, source, report))
            .collect()
    });
    file.finish(report);

    entries.sort_by(|a, b| {
        a.line
            .path
            .cmp(b.line.path)
            .then(a.line.place.start.cmp(&b.line.place.start))
    });
    countries(&mut entries, source, report);
    let mut lines: Vec<Line> = entries.into_iter().map(|entry| entry.line).collect();
    names(&mut lines);
    doubles(&lines, constant_places, source, report);
    if let Some(kind) = kind.filter(|_| report.errors() == before) {
        required(&lines, kind, fields_place, source, report);
    }
    if report.errors() > before {
        return None;
    }
    let mut object_fields: Vec<String> = lines
        .iter()
        .flat_map(Line::wire_names)
        .map(str::to_owned)
        .collect();
    object_fields.extend(when.iter().flat_map(Condition::names).cloned());
    object_fields.sort();
    object_fields.dedup();
    Some(Mapping {
        source: source.clone(),
        system: system?.to_owned(),
        object: object?.to_owned(),
        kind: kind?,
        when,
        lines,
        constants,
        examples,
        object_fields,
        fields_place,
    })
}

fn condition(file: &mut Fields, source: &Source, report: &mut Report) -> Option<Condition> {
    let node = file.optional("when")?;
    let Some(text) = node.text() else {
        return file.wrong("when", node, "an expression such as `state == 'lead'`", report);
    };
    match Condition::compile(text) {
        Ok(condition) => Some(condition),
        Err(message) => {
            let hint = "write an expression over the object's fields, such as `state == 'lead'`";
            report.error(
                "IC0310",
                source,
                node.place,
                format!("`when` is no expression: {message}"),
                hint,
            );
            None
        }
    }
}
