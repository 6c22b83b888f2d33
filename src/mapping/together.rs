//! What only shows in all lines of a mapping together.

use diagnostic::{Node, Place, Report, Source, Value, suggestion};
use model::{FieldType, Kind};

use crate::entry::Entry;
use crate::lens::Codec;
use crate::line::Line;

/// Finds the line that holds the country of each phone number and each subdivision: the one that the lens names, else
/// the one of the same group, for phone numbers else the first country there is.
pub(crate) fn countries(entries: &mut [Entry], source: &Source, report: &mut Report) {
    let known: Vec<(usize, &'static str)> = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.line.field_type == FieldType::Country && entry.line.reads())
        .map(|(index, entry)| (index, entry.line.path))
        .collect();
    for Entry { line, country: named } in entries.iter_mut() {
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

/// Two lines that read the parts of one name know of each other.
pub(crate) fn names(lines: &mut [Line]) {
    let parts: Vec<(usize, String)> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| matches!(line.lens.codec, Codec::Part { .. }) && line.derived.is_none())
        .map(|(index, line)| (index, line.wire.name.to_string()))
        .collect();
    for (index, line) in lines.iter_mut().enumerate() {
        let name = line.wire.name.to_string();
        if let Codec::Part { other, .. } = &mut line.lens.codec {
            let same = parts.iter().find(|(at, known)| *at != index && *known == name);
            *other = same.map(|(at, _)| *at);
        }
    }
}

/// One value of a record has one reader, one field of an object one writer.
pub(crate) fn doubles(lines: &[Line], constants: Option<&Node>, source: &Source, report: &mut Report) {
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
pub(crate) fn required(lines: &[Line], kind: Kind, place: Place, source: &Source, report: &mut Report) {
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
