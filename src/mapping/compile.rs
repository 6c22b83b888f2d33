//! Reads a mapping file; every finding at once.

use diagnostic::{Fields, Node, Place, Report, Source, Value, suggestion};
use model::normalise::normalise;
use model::{Field, FieldType, Kind};
use serde_json::Map;

use crate::Mapping;
use crate::condition::Condition;
use crate::example::Example;
use crate::lens::{Codec, CurrencyFrom};
use crate::line::{Blank, Direction, Line};
use crate::steps;
use crate::wire::{WireField, scalar};

const DIRECTIONS: &[(&str, Direction)] = &[
    ("both", Direction::Both),
    ("in", Direction::In),
    ("out", Direction::Out),
];

/// A line and the record's path of the country that its lens names.
struct Read<'a> {
    line: Line,
    country: Option<(&'a str, Place)>,
}

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
    let mut read: Vec<Read> = kind.map_or_else(Vec::new, |kind| {
        nodes
            .iter()
            .filter_map(|node| line(node, kind, source, report))
            .collect()
    });
    let examples = kind.map_or_else(Vec::new, |kind| {
        examples
            .iter()
            .filter_map(|node| Example::read(node, kind, source, report))
            .collect()
    });
    file.finish(report);

    read.sort_by(|a, b| {
        a.line
            .path
            .cmp(b.line.path)
            .then(a.line.place.start.cmp(&b.line.place.start))
    });
    countries(&mut read, source, report);
    let lines: Vec<Line> = read.into_iter().map(|read| read.line).collect();
    doubles(&lines, constant_places, source, report);
    if let Some(kind) = kind.filter(|_| report.errors() == before) {
        required(&lines, kind, fields_place, source, report);
    }
    if report.errors() > before {
        return None;
    }
    let mut names: Vec<String> = lines
        .iter()
        .flat_map(Line::wire_names)
        .map(str::to_owned)
        .collect();
    names.extend(when.iter().flat_map(Condition::names).cloned());
    names.sort();
    names.dedup();
    Some(Mapping {
        source: source.clone(),
        system: system?.to_owned(),
        object: object?.to_owned(),
        kind: kind?,
        when,
        lines,
        constants,
        examples,
        object_fields: names,
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

fn line<'a>(node: &'a Node, kind: Kind, source: &'a Source, report: &mut Report) -> Option<Read<'a>> {
    let mut fields = Fields::open(node, "a field", source, report)?;
    let path = fields.required("record", report);
    let wires: Vec<&str> = fields
        .required("object", report)
        .map_or_else(Vec::new, |_| fields.texts("object", report));
    let direction = fields
        .optional_choice("direction", DIRECTIONS, report)
        .unwrap_or(Direction::Both);
    let lens = fields.optional("lens");
    let blank = fields.optional("blank");
    let object_place = fields.optional("object").map_or(node.place, |node| node.place);
    let place = fields.place();
    let complete = fields.complete();
    fields.finish(report);
    let path = path?;
    let Some(field) = path.text().and_then(|text| kind.field(text)) else {
        let found = path.text().unwrap_or_default();
        let message = format!("`{found}` is not a field of a {kind}");
        report.error(
            "IC0301",
            source,
            path.place,
            message,
            suggestion(found, kind.fields().map(|field| field.path)),
        );
        return None;
    };
    let blank = blank.map_or_else(Blank::default, |node| {
        blank_options(node, field, direction, source, report)
    });
    if wires.len() > 1 && field.field_type != FieldType::Money {
        let message = format!(
            "`{}` stands in one field of the object, found {}",
            field.path,
            wires.len()
        );
        report.error("IC0320", source, object_place, message, "name one field");
    }
    let steps = steps::read(lens, field, place, source, report)?;
    let pair =
        matches!(&steps.lens.codec, Codec::Money(money) if matches!(money.currency, CurrencyFrom::Field));
    let (wire, currency) = match (wires.as_slice(), pair) {
        ([wire], false) => (wire, None),
        ([wire, currency], true) => (wire, Some(WireField::new(currency))),
        ([], _) => return None,
        (_, true) => {
            let hint = "write `object: [Amount, Currency]`, or `money: { currency: \"{connection}\" }`";
            report.error(
                "IC0320",
                source,
                object_place,
                format!("`{}` needs the object's amount and its currency", field.path),
                hint,
            );
            return None;
        }
        (_, false) if field.field_type == FieldType::Money => {
            let message = format!(
                "`{}` has its currency twice: in the lens and in the object",
                field.path
            );
            report.error(
                "IC0320",
                source,
                object_place,
                message,
                "name only the amount's field, or leave `currency` out of the lens",
            );
            return None;
        }
        (_, false) => return None,
    };
    if matches!(steps.lens.codec, Codec::Part(_)) && direction != Direction::In {
        let message = format!("`part` can only be read: half a name cannot be written to `{wire}`");
        report.error("IC0312", source, place, message, "add `direction: in`");
        return None;
    }
    let line = Line {
        path: field.path,
        field_type: field.field_type,
        wire: WireField::new(wire),
        currency,
        direction,
        lens: steps.lens,
        blank,
        place: path.place,
    };
    complete.then_some(Read {
        line,
        country: steps.country,
    })
}

/// Reads what blank means for a line.
fn blank_options(
    node: &Node,
    field: &'static Field,
    direction: Direction,
    source: &Source,
    report: &mut Report,
) -> Blank {
    let mut blank = Blank::default();
    let Some(mut options) = Fields::open(node, "`blank`", source, report) else {
        return blank;
    };
    let read = options.optional("read");
    let write = options.optional("write");
    blank.ignore = options.optional_bool("ignore", report).unwrap_or(false);
    options.finish(report);
    if let Some(node) = read {
        let json = node.to_json();
        match normalise(field.field_type, scalar(&json).unwrap_or_default(), None) {
            Ok(value) if !value.is_blank() && field.required => blank.read = Some(value),
            Ok(_) => {
                let message = format!(
                    "`{}` may be blank, so a blank cannot stand for a value of it",
                    field.path
                );
                report.error(
                    "IC0321",
                    source,
                    node.place,
                    message,
                    "use `read` for required fields only",
                );
            }
            Err(invalid) => report.error(
                "IC0321",
                source,
                node.place,
                format!("`read`: {invalid}"),
                "name a value of the record's field",
            ),
        }
    }
    if let Some(node) = write {
        let json = node.to_json();
        if scalar(&json).is_none() || crate::wire::blank(&json) {
            let message = format!(
                "`write` is {}, expected text, a number or true/false",
                node.kind()
            );
            report.error(
                "IC0321",
                source,
                node.place,
                message,
                "write `write: \"[not provided]\"`",
            );
        }
        blank.write = Some(json);
    }
    if blank.ignore && direction != Direction::In {
        let message = "a blank that says nothing cannot be written";
        report.error(
            "IC0321",
            source,
            node.place,
            message,
            "add `direction: in`, or remove `ignore`",
        );
    }
    blank
}

/// Finds the line that holds the country of each phone number and each subdivision: the one that the lens names, else
/// the one of the same group, for phone numbers else the first country there is.
fn countries(read: &mut [Read], source: &Source, report: &mut Report) {
    let known: Vec<(usize, &'static str)> = read
        .iter()
        .enumerate()
        .filter(|(_, read)| read.line.field_type == FieldType::Country && read.line.reads())
        .map(|(index, read)| (index, read.line.path))
        .collect();
    for Read { line, country: named } in read.iter_mut() {
        let (slot, any) = match &mut line.lens.codec {
            Codec::Phone { country } => (country, true),
            Codec::Subdivision { country, .. } => (country, false),
            _ => continue,
        };
        let at = |path: &str| {
            known
                .iter()
                .find(|(_, known)| *known == path)
                .map(|(index, _)| *index)
        };
        if let Some((path, place)) = named {
            *slot = at(path);
            if slot.is_none() {
                let message = format!("`{path}` is not a country that this mapping reads");
                report.error(
                    "IC0313",
                    source,
                    *place,
                    message,
                    suggestion(path, known.iter().map(|(_, path)| *path)),
                );
            }
            continue;
        }
        let group = line
            .path
            .rsplit_once('.')
            .map(|(group, _)| format!("{group}.country"));
        *slot = group
            .and_then(|path| at(&path))
            .or_else(|| known.first().filter(|_| any).map(|(index, _)| *index));
    }
}

/// One value of a record has one reader, one field of an object one writer.
fn doubles(lines: &[Line], constants: Option<&Node>, source: &Source, report: &mut Report) {
    let mut in_file: Vec<&Line> = lines.iter().collect();
    in_file.sort_by_key(|line| line.place.start);
    for (index, line) in in_file.iter().enumerate() {
        let earlier = &in_file[..index];
        if line.reads()
            && earlier
                .iter()
                .any(|other| other.reads() && other.path == line.path)
        {
            let message = format!("`{}` is read from two fields of the object", line.path);
            report.error(
                "IC0302",
                source,
                line.place,
                message,
                "remove one, or give one of them `direction: out`",
            );
        }
        for name in line.wire_names().filter(|_| line.writes()) {
            if earlier
                .iter()
                .any(|other| other.writes() && other.wire_names().any(|other| other == name))
            {
                let message = format!("`{name}` is written by two lines");
                report.error(
                    "IC0303",
                    source,
                    line.place,
                    message,
                    "give one of them `direction: in`",
                );
            }
        }
    }
    let Some(Node {
        value: Value::Map(entries),
        ..
    }) = constants
    else {
        return;
    };
    for (name, place, _) in entries {
        if lines
            .iter()
            .any(|line| line.writes() && line.wire_names().any(|wire| wire == name))
        {
            let message = format!("the constant `{name}` is also written by a line");
            report.error(
                "IC0303",
                source,
                *place,
                message,
                "remove the constant, or give the line `direction: in`",
            );
        }
    }
}

/// A record that lacks a required field is parked: a mapping that can never fill one maps nothing.
fn required(lines: &[Line], kind: Kind, place: Place, source: &Source, report: &mut Report) {
    for field in kind.fields().filter(|field| field.required) {
        if !lines.iter().any(|line| line.reads() && line.path == field.path) {
            let message = format!("no line reads `{}`, without which there is no {kind}", field.path);
            report.error(
                "IC0309",
                source,
                place,
                message,
                format!("add `- {{ record: {}, object: … }}`", field.path),
            );
        }
    }
}
