//! Whether a row may be written: fields that exist and may be written, values that fit, references that lead somewhere,
//! nothing required missing, nothing unique taken.
//!
//! The checks run in the order in which Salesforce complains: unknown fields, fields that may not be written, values,
//! references, required fields, uniqueness, and last the validation rules of the organisation (the fault `bad_row`).

use serde_json::{Map, Value};

use super::field::Kind;
use super::refusal::Refusal;
use super::rows::{By, Org, Row};
use super::schema::Object;
use super::value::stored;

/// A new row with its defaults.
pub(crate) fn blank(object: &Object) -> Row {
    let default = |field: &super::field::Field| match (field.kind, field.default) {
        (Kind::Boolean, default) => Value::Bool(default == Some("true")),
        (_, Some(default)) => Value::from(default),
        (_, None) => Value::Null,
    };
    object.fields.iter().map(default).collect()
}

/// The values to be written to a row (`None` for a new one), by position.
pub(crate) fn writes(
    org: &Org,
    table: usize,
    row: Option<usize>,
    fields: &Map<String, Value>,
    by: &By<'_>,
) -> Result<Vec<(usize, Value)>, Refusal> {
    if row.is_none() && org.tables[table].is_full() {
        return Err(Refusal::bad("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded"));
    }
    let object = &org.schema.objects[table];
    known(object, fields)?;
    writable(object, fields)?;
    let mut given = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        if let Some(at) = object.position(name) {
            let value = stored(&object.fields[at], value)?;
            let value = points_somewhere(org, object, at, value)?;
            owner_is_there(org, object, (at, &value), row.is_some())?;
            given.push((at, value));
        } else if let Some((at, to)) = object.relation(name) {
            given.push((at, by_external_id(org, to, name, value)?));
        }
    }
    keeps_required(object, row.is_some(), &given)?;
    keeps_unique(org, table, row, &given)?;
    obeys_rules(object, &given, by)?;
    Ok(given)
}

fn is_data(name: &str) -> bool {
    name != "attributes" && !name.eq_ignore_ascii_case("id")
}

fn known(object: &Object, fields: &Map<String, Value>) -> Result<(), Refusal> {
    for (name, value) in fields {
        let is_relation = value.is_object() && object.relation(name).is_some();
        if is_data(name) && object.position(name).is_none() && !is_relation {
            return Err(Refusal::no_such_field(object.name, name));
        }
    }
    Ok(())
}

fn writable(object: &Object, fields: &Map<String, Value>) -> Result<(), Refusal> {
    let refused: Vec<String> = fields
        .keys()
        .filter(|name| name.as_str() != "attributes")
        .filter_map(|name| object.field(name))
        .filter(|field| !field.writable)
        .map(|field| field.name.clone())
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let message = format!(
        "Unable to create/update fields: {}. Please check the security settings of this field and verify that it is read/write for your profile or permission set.",
        refused.join(", ")
    );
    Err(Refusal {
        fields: refused,
        ..Refusal::bad("INVALID_FIELD_FOR_INSERT_UPDATE", message)
    })
}

fn points_somewhere(org: &Org, object: &Object, at: usize, value: Value) -> Result<Value, Refusal> {
    let field = &object.fields[at];
    let (Some((to, _)), Some(id)) = (field.refers_to, value.as_str()) else {
        return Ok(value);
    };
    let or = field.or_refers_to.map(|to| org.schema.at(to));
    if or.is_some_and(|target| org.find(target, id).is_some()) {
        return Ok(value);
    }
    let target = org.schema.at(to);
    match org.find(target, id) {
        Some(row) if !org.is_deleted(target, row) => Ok(value),
        Some(_) => Err(Refusal::bad("ENTITY_IS_DELETED", "entity is deleted").about(&field.name)),
        None => {
            Err(Refusal::bad("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id").about(&field.name))
        }
    }
}

/// An owner is somebody who works here; a row that exists has always one.
fn owner_is_there(
    org: &Org,
    object: &Object,
    (at, value): (usize, &Value),
    exists: bool,
) -> Result<(), Refusal> {
    let field = &object.fields[at];
    if field.name != "OwnerId" {
        return Ok(());
    }
    let Some(id) = value.as_str() else {
        return match exists {
            true => {
                Err(Refusal::bad("FIELD_INTEGRITY_EXCEPTION", "owner id cannot be blank").about(&field.name))
            }
            false => Ok(()),
        };
    };
    let users = org.schema.at("User");
    let active = org.schema.objects[users].at("IsActive");
    match org.find(users, id) {
        Some(row) if org.tables[users].rows[row][active] != Value::Bool(true) => {
            let object = object.name.to_lowercase();
            let message = format!("operation performed with inactive user [{id}] as owner of {object}");
            Err(Refusal::bad("INACTIVE_OWNER_OR_USER", message))
        }
        _ => Ok(()),
    }
}

fn by_external_id(org: &Org, to: &'static str, relation: &str, value: &Value) -> Result<Value, Refusal> {
    let target = org.schema.at(to);
    let object = &org.schema.objects[target];
    let mut keys = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.as_str() != "attributes");
    let Some((name, key)) = keys.next() else {
        let message = format!("the relationship {relation} names no external ID field of {to}");
        return Err(Refusal::bad("INVALID_FIELD", message));
    };
    let Some(at) = object.position(name).filter(|at| object.fields[*at].external_id) else {
        return Err(Refusal::no_such_field(to, name));
    };
    let text = key.as_str().unwrap_or_default();
    match org.find_unique(target, at, text) {
        Some(row) => Ok(Value::from(org.id_of(target, row))),
        None => {
            let key = text.to_lowercase();
            let message = format!("Foreign key external ID: {key} not found for field {name} in entity {to}");
            Err(Refusal::bad("INVALID_FIELD", message))
        }
    }
}

fn keeps_required(object: &Object, exists: bool, given: &[(usize, Value)]) -> Result<(), Refusal> {
    let lacks = |at: usize| match given.iter().rev().find(|(position, _)| *position == at) {
        Some((_, value)) => value.is_null(),
        None => !exists,
    };
    let missing: Vec<String> = object
        .fields
        .iter()
        .enumerate()
        .filter(|(at, field)| field.required && lacks(*at))
        .map(|(_, field)| field.name.clone())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("Required fields are missing: [{}]", missing.join(", "));
    Err(Refusal {
        fields: missing,
        ..Refusal::bad("REQUIRED_FIELD_MISSING", message)
    })
}

fn keeps_unique(
    org: &Org,
    table: usize,
    row: Option<usize>,
    given: &[(usize, Value)],
) -> Result<(), Refusal> {
    let object = &org.schema.objects[table];
    for (at, value) in given {
        let (field, Some(text)) = (&object.fields[*at], value.as_str()) else {
            continue;
        };
        if !field.unique {
            continue;
        }
        if let Some(other) = org
            .find_unique(table, *at, text)
            .filter(|other| Some(*other) != row)
        {
            let id = &org.id_of(table, other)[..15];
            let message = format!(
                "duplicate value found: {} duplicates value on record with id: {id}",
                field.name
            );
            return Err(Refusal::bad("DUPLICATE_VALUE", message));
        }
    }
    Ok(())
}

fn obeys_rules(object: &Object, given: &[(usize, Value)], by: &By<'_>) -> Result<(), Refusal> {
    let Some(faults) = by.faults else { return Ok(()) };
    let text_of = |name: &str| {
        let at = object.position(name)?;
        let (_, value) = given.iter().find(|(position, _)| *position == at)?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    match faults.bad_row(object.name, text_of) {
        Some(field) => {
            let message = format!("a validation rule of this organisation refuses this value of {field}");
            Err(Refusal::bad("FIELD_CUSTOM_VALIDATION_EXCEPTION", message).about(&field))
        }
        None => Ok(()),
    }
}
