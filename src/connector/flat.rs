//! Flattening: fields that mappings see as plain, although the system keeps them in rows of a list or behind a reference.
//!
//! Reading: an e-mail is the `value` of the first row of a list whose `type` is `email`; a country is the code of the
//! object that a reference points to.
//! Writing: the same value becomes a command for the row that exists, or for a new one.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::codec;
use crate::connection::LeftOut;
use crate::failure::{RecordClass, RecordError};
use crate::lookup::Found;
use crate::manifest::{Child, Flat, Object};
use crate::names::scalar;

/// By fields of a new object, the texts that stand there where the lookup leaves out the ones that are meant.
pub(crate) type Instead = BTreeMap<String, String>;

/// The fields to ask for on the wire, so that these fields can be told.
pub(crate) fn expanded(object: &Object, fields: &[String]) -> Vec<String> {
    let mut wire: Vec<String> = Vec::new();
    for field in fields {
        match object.flat.get(field) {
            None => wire.push(field.clone()),
            Some(flat) => match flat.child.as_ref().and_then(|name| object.children.get(name)) {
                None => wire.push(flat.read.clone()),
                Some(child) => {
                    let own = child.choose.keys().chain(&child.active).chain([&flat.read]);
                    wire.extend(own.map(|part| format!("{}.{part}", child.list)));
                }
            },
        }
    }
    wire.sort_unstable();
    wire.dedup();
    wire
}

/// Adds the plain fields to an object as it came, and gives every typed field its plain form.
pub(crate) fn project(object: &Object, suffix: &str, row: &mut Json) {
    let mut plain = Map::new();
    for (name, flat) in &object.flat {
        if reads(object, flat) {
            continue;
        }
        let from = match flat.child.as_ref().and_then(|name| object.children.get(name)) {
            None => Some(&*row),
            Some(child) => match rows(child, suffix, row) {
                // The list was not asked for.
                None => continue,
                Some(rows) => chosen(child, rows),
            },
        };
        let value = from.map_or(Some(&Json::Null), |from| at(from, suffix, &flat.read));
        if let Some(value) = value {
            plain.insert(name.clone(), value.clone());
        }
    }
    if let Json::Object(map) = row {
        map.extend(plain);
        for (name, kind) in &object.types {
            if let Some(value) = map.get_mut(name) {
                *value = codec::plain(value.take(), *kind);
            }
        }
    }
}

/// Whether what is read in a field is told by its lookup.
fn reads(object: &Object, flat: &Flat) -> bool {
    let lookup = flat.lookup.as_ref().and_then(|name| object.lookups.get(name));
    lookup.is_some_and(|lookup| lookup.reads)
}

fn rows<'r>(child: &Child, suffix: &str, row: &'r Json) -> Option<&'r [Json]> {
    let list = row.get(format!("{}{suffix}", child.list))?;
    Some(list.as_array().map_or(&[], Vec::as_slice))
}

/// The first row that counts and holds what the manifest chooses by, in the system's own order.
fn chosen<'r>(child: &Child, rows: &'r [Json]) -> Option<&'r Json> {
    rows.iter().find(|row| {
        let counts = child.active.as_ref().is_none_or(|field| {
            let active = row.get(field).and_then(codec::boolean);
            active != Some(Json::Bool(false))
        });
        let null = Json::Null;
        counts
            && child
                .choose
                .iter()
                .all(|(key, value)| row.get(key).unwrap_or(&null) == value)
    })
}

/// A value behind a dotted path; nothing when the path was not read, null when a reference on it is empty.
fn at<'r>(row: &'r Json, suffix: &str, path: &str) -> Option<&'r Json> {
    match path.split_once('.') {
        None => row.get(path),
        Some((first, rest)) => match row.get(format!("{first}{suffix}"))? {
            Json::Null => Some(&Json::Null),
            nested => at(nested, suffix, rest),
        },
    }
}

/// Whether writing these values needs the rows that exist.
pub(crate) fn needs_rows(object: &Object, values: &Map<String, Json>) -> bool {
    let flat = |name: &String| object.flat.get(name);
    let mut flat = values.keys().filter_map(flat);
    flat.any(|flat| flat.child.is_some() || flat.keep.is_some())
}

/// The texts that must be looked up before these values can be written, by lookup.
pub(crate) fn wanted(
    object: &Object,
    values: &Map<String, Json>,
    instead: &Instead,
) -> Vec<(String, String)> {
    let texts = values.iter().flat_map(|(name, value)| {
        let text = value.as_str().filter(|text| !text.is_empty());
        let texts = text
            .into_iter()
            .chain(text.and(instead.get(name).map(String::as_str)));
        let lookup = object.flat.get(name).and_then(|flat| flat.lookup.as_ref());
        lookup
            .into_iter()
            .flat_map(move |lookup| texts.clone().map(|text| (lookup.clone(), text.to_owned())))
    });
    texts.collect()
}

/// The values as the system wants them, and the fields that are left out; `row` is the object as it is, `found_of` tells what
/// was looked up.
pub(crate) fn wired(
    object: &Object,
    class_key: Option<&str>,
    suffix: &str,
    values: &Map<String, Json>,
    row: Option<&Json>,
    found_of: &dyn Fn(&str, &str) -> Found,
    instead: &Instead,
) -> Result<(Map<String, Json>, Vec<LeftOut>), RecordError> {
    let mut wire = Map::new();
    let mut left_out = Vec::new();
    let mut touched: BTreeMap<&str, Map<String, Json>> = BTreeMap::new();
    let mut cleared: Vec<&str> = Vec::new();
    for (name, value) in values {
        let Some(flat) = object.flat.get(name) else {
            wire.insert(name.clone(), encoded(object, class_key, name, name, value)?);
            continue;
        };
        let mut leave = |why: String, instead: Option<&String>| {
            left_out.push(LeftOut {
                field: name.clone(),
                why,
                instead: instead.cloned(),
            });
        };
        let blank = value.is_null() || value.as_str() == Some("");
        if blank && flat.required && flat.child.is_none() {
            leave(
                "the system has always one: give it another one there".to_owned(),
                None,
            );
            continue;
        }
        if let (Some(keep), Some(row)) = (&flat.keep, row)
            && keep.one(row, &|_| None) == Ok(Json::Bool(true))
        {
            let held = shown(row, &flat.field);
            leave(
                format!("what stands there stays until it is changed there: {held}"),
                None,
            );
            continue;
        }
        let value = match (&flat.lookup, value.as_str()) {
            (Some(_), _) if blank => Json::Null,
            (Some(lookup), Some(text)) => match found_of(lookup, text) {
                Found::Id(id) => id,
                found @ (Found::Nothing | Found::Several(_))
                    if object.lookups.get(lookup).is_some_and(|l| l.leave_out) =>
                {
                    let why = nobody(object, lookup, text, &found).1;
                    match instead.get(name).map(|other| (other, found_of(lookup, other))) {
                        None => {
                            leave(why, None);
                            continue;
                        }
                        Some((other, Found::Id(id))) => {
                            let why = format!("{why}; `{other}` is there instead, as the connection says");
                            leave(why, Some(other));
                            id
                        }
                        Some((other, found)) => {
                            let nor = nobody(object, lookup, other, &found).1;
                            leave(
                                format!("{why}; and who is to be there instead is not: {nor}"),
                                None,
                            );
                            continue;
                        }
                    }
                }
                found => return Err(missing(object, lookup, name, text, &found)),
            },
            _ => encoded(object, class_key, name, &flat.field, value)?,
        };
        match &flat.child {
            None => {
                wire.insert(flat.field.clone(), value);
            }
            Some(child) => {
                if flat.required && blank {
                    cleared.push(child);
                }
                touched
                    .entry(child)
                    .or_default()
                    .insert(flat.field.clone(), value);
            }
        }
    }
    let mut commands: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
    for (name, fields) in touched {
        if let Some(child) = object.children.get(name) {
            let existing = row.and_then(|row| chosen(child, rows(child, suffix, row)?));
            let command = command(child, existing, fields, cleared.contains(&name));
            commands.entry(&child.list).or_default().extend(command);
        }
    }
    for (list, commands) in commands {
        if !commands.is_empty() {
            wire.insert(list.to_owned(), Json::Array(commands));
        }
    }
    Ok((wire, left_out))
}

fn command(child: &Child, existing: Option<&Json>, fields: Map<String, Json>, clear: bool) -> Option<Json> {
    let id = existing.and_then(|row| row.get("id"));
    match (id, clear) {
        (Some(id), true) => Some(json!(["delete", [id]])),
        (None, true) => None,
        (Some(id), false) => Some(json!(["write", [id], fields])),
        (None, false) => {
            if fields.values().all(|v| v.is_null() || v.as_str() == Some("")) {
                return None;
            }
            let mut created = child.choose.clone();
            created.extend(fields);
            Some(json!(["create", [created]]))
        }
    }
}

fn encoded(
    object: &Object,
    class_key: Option<&str>,
    name: &str,
    wire: &str,
    value: &Json,
) -> Result<Json, RecordError> {
    let kind = object.types.get(name).or_else(|| object.types.get(wire));
    match (kind, class_key) {
        (Some(kind), Some(key)) => codec::encode(value, *kind, key).map_err(|e| {
            let mut error = RecordError::new(RecordClass::Validation, "wrong_type", format!("`{name}`: {e}"));
            error.fields.push(name.to_owned());
            error
        }),
        _ => Ok(value.clone()),
    }
}

fn missing(object: &Object, lookup: &str, name: &str, text: &str, found: &Found) -> RecordError {
    let (code, why) = nobody(object, lookup, text, found);
    let mut error = RecordError::new(RecordClass::Validation, code, format!("`{name}`: {why}"));
    error.fields.push(name.to_owned());
    error
}

/// Why a text names nothing: a code, and a sentence that says what would help.
fn nobody(object: &Object, lookup: &str, text: &str, found: &Found) -> (&'static str, String) {
    let what = object.lookups.get(lookup).map_or(lookup, |l| l.what.as_str());
    match found {
        Found::Several(ids) => (
            "several_found",
            format!(
                "the system has {} of {what} `{text}` ({}), so that it names none: make the names differ there",
                ids.len(),
                ids.join(", ")
            ),
        ),
        Found::Refused(why) => (
            "not_made",
            format!("the system has no {what} `{text}`, and refuses a new one: {why}"),
        ),
        Found::Nothing | Found::Id(_) => (
            "not_found",
            format!("the system has no {what} `{text}`, add it there or correct the value"),
        ),
    }
}

fn shown(row: &Json, field: &str) -> String {
    row.get(field).and_then(scalar).unwrap_or_default()
}
