//! Single rows: create, read, update, upsert by external id, delete, and what changed in a window of time.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::rows::Org;
use super::soql::plan::{Item, show};
use super::value::moment;
use super::visit::Visit;
use super::{System, answer};
use crate::clock::parse_ms;

/// The version from which an upsert tells whether it created, in tenths.
const TELLS_CREATED: u16 = 460;

type Parameters = Query<HashMap<String, String>>;

/// The body as a row.
pub(crate) fn fields(body: &Bytes) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Refusal::unreadable(
            "The HTTP entity body is required to be a JSON object",
        )),
        Err(error) => Err(Refusal::unreadable(format!("Unexpected character: {error}"))),
    }
}

/// `POST /sobjects/{object}`
pub(crate) async fn create(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((_, object)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let mut org = system.org();
    let (table, object) = org.object(&object)?;
    let id = org.create(table, &fields(&body)?, &visit.by(&system))?;
    let location = format!("/services/data/{}/sobjects/{}/{id}", visit.version, object.name);
    let body = answer(
        StatusCode::CREATED,
        &json!({ "id": id, "success": true, "errors": [] }),
    );
    Ok(([(LOCATION, location)], body).into_response())
}

/// `GET /sobjects/{object}/{id}?fields=A,B`
pub(crate) async fn read(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((_, object, id)): Path<(String, String, String)>,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let org = system.org();
    let (table, _) = org.object(&object)?;
    let row = org
        .find(table, &id)
        .filter(|row| !org.is_deleted(table, *row))
        .ok_or_else(Refusal::not_found)?;
    shown(&org, table, row, &visit, &parameters)
}

/// `GET /sobjects/{object}/{field}/{value}`
pub(crate) async fn read_by(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((_, object, field, value)): Path<(String, String, String, String)>,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let org = system.org();
    let (table, _) = org.object(&object)?;
    let row = match key_field(&org, table, &field)? {
        None => org.find(table, &value).filter(|row| !org.is_deleted(table, *row)),
        Some(at) => org.find_unique(table, at, &value),
    };
    shown(
        &org,
        table,
        row.ok_or_else(Refusal::not_found)?,
        &visit,
        &parameters,
    )
}

fn shown(
    org: &Org,
    table: usize,
    row: usize,
    visit: &Visit,
    parameters: &HashMap<String, String>,
) -> Result<Response, Refusal> {
    let object = &org.schema.objects[table];
    let items = match parameters.get("fields") {
        None => (0..object.fields.len()).map(Item::Field).collect(),
        Some(names) => {
            let mut items = vec![];
            for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let at = object
                    .position(name)
                    .ok_or_else(|| Refusal::no_such_field(object.name, name))?;
                items.push(Item::Field(at));
            }
            // The id is told whether it was asked for or not.
            if !items.iter().any(|item| matches!(item, Item::Field(0))) {
                items.push(Item::Field(0));
            }
            items
        }
    };
    Ok(answer(
        StatusCode::OK,
        &show(org, table, row, &items, &visit.version),
    ))
}

/// `PATCH /sobjects/{object}/{id}`
pub(crate) async fn update(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((_, object, id)): Path<(String, String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let mut org = system.org();
    let (table, _) = org.object(&object)?;
    let row = live(&org, table, &id)?;
    let fields = fields(&body)?;
    if fields.keys().any(|name| name.eq_ignore_ascii_case("id")) {
        let message = "The Id field should not be specified in the sobject data.";
        return Err(Refusal::bad("INVALID_FIELD", message));
    }
    org.update(table, row, &fields, &visit.by(&system))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /sobjects/{object}/{id}`
pub(crate) async fn delete(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((_, object, id)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let mut org = system.org();
    let (table, _) = org.object(&object)?;
    let row = live(&org, table, &id)?;
    org.delete(table, row, &visit.by(&system))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /sobjects/{object}/{field}/{value}`
pub(crate) async fn delete_by(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((_, object, field, value)): Path<(String, String, String, String)>,
) -> Result<Response, Refusal> {
    let mut org = system.org();
    let (table, _) = org.object(&object)?;
    let row = match key_field(&org, table, &field)? {
        None => live(&org, table, &value)?,
        Some(at) => org
            .find_unique(table, at, &value)
            .ok_or_else(Refusal::not_found)?,
    };
    org.delete(table, row, &visit.by(&system))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `PATCH /sobjects/{object}/{field}/{value}`
pub(crate) async fn upsert(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((_, object, field, value)): Path<(String, String, String, String)>,
    Query(parameters): Parameters,
    body: Bytes,
) -> Result<Response, Refusal> {
    let mut org = system.org();
    let (table, object) = org.object(&object)?;
    let mut fields = fields(&body)?;
    let by = visit.by(&system);
    let found = match key_field(&org, table, &field)? {
        None => Some(live(&org, table, &value)?),
        Some(at) => {
            fields.insert(object.fields[at].name.clone(), Value::from(value.clone()));
            org.find_unique(table, at, &value)
        }
    };
    let only_update = parameters
        .get("updateOnly")
        .is_some_and(|only| only.eq_ignore_ascii_case("true"));
    let (status, id, created) = match found {
        Some(row) => {
            org.update(table, row, &fields, &by)?;
            (StatusCode::OK, org.id_of(table, row).to_owned(), false)
        }
        None if only_update => return Err(Refusal::not_found()),
        None => (StatusCode::CREATED, org.create(table, &fields, &by)?, true),
    };
    let mut body = json!({ "id": id, "success": true, "errors": [] });
    if visit.tenths >= TELLS_CREATED {
        body["created"] = json!(created);
    } else if !created {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(answer(status, &body))
}

/// The row with this id, unless it is gone.
fn live(org: &Org, table: usize, id: &str) -> Result<usize, Refusal> {
    let row = org.find(table, id).ok_or_else(Refusal::not_found)?;
    if org.is_deleted(table, row) {
        Err(Refusal::is_deleted())
    } else {
        Ok(row)
    }
}

/// The position of an external id field; nothing for `Id` itself.
pub(crate) fn key_field(org: &Org, table: usize, field: &str) -> Result<Option<usize>, Refusal> {
    if field.eq_ignore_ascii_case("id") {
        return Ok(None);
    }
    let object = &org.schema.objects[table];
    match object.position(field).filter(|at| object.fields[*at].external_id) {
        Some(at) => Ok(Some(at)),
        None => {
            let message = format!("Provided external ID field does not exist or is not accessible: {field}");
            Err(Refusal::bad("NOT_FOUND", message).with_status(404))
        }
    }
}

/// `GET /sobjects/{object}/updated?start=…&end=…`
pub(crate) async fn updated(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path((_, object)): Path<(String, String)>,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let org = system.org();
    let (table, _) = org.object(&object)?;
    let window = window(&parameters)?;
    let rows = changed(&org, table, &window, false);
    let ids: Vec<&str> = rows.iter().map(|(row, _)| org.id_of(table, *row)).collect();
    Ok(answer(
        StatusCode::OK,
        &json!({ "ids": ids, "latestDateCovered": window.1 }),
    ))
}

/// `GET /sobjects/{object}/deleted?start=…&end=…`
pub(crate) async fn deleted(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path((_, object)): Path<(String, String)>,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let org = system.org();
    let (table, _) = org.object(&object)?;
    let window = window(&parameters)?;
    let rows = changed(&org, table, &window, true);
    let records: Vec<Value> = rows
        .iter()
        .map(|(row, at)| json!({ "id": org.id_of(table, *row), "deletedDate": at }))
        .collect();
    let body = json!({ "deletedRecords": records, "earliestDateAvailable": window.0, "latestDateCovered": window.1 });
    Ok(answer(StatusCode::OK, &body))
}

fn window(parameters: &HashMap<String, String>) -> Result<(String, String), Refusal> {
    let edge = |name: &str| {
        parameters
            .get(name)
            .and_then(|text| parse_ms(&text.replace(' ', "+")))
    };
    match (edge("start"), edge("end")) {
        (Some(start), Some(end)) if start < end => Ok((moment(start), moment(end))),
        _ => Err(Refusal::bad(
            "INVALID_REPLICATION_DATE",
            "startDate must be before endDate",
        )),
    }
}

fn changed<'a>(
    org: &'a Org,
    table: usize,
    window: &(String, String),
    deleted: bool,
) -> Vec<(usize, &'a str)> {
    let stamp = org.schema.objects[table].at("SystemModstamp");
    let rows = org.tables[table].rows.iter().enumerate();
    rows.filter_map(|(row, values)| Some((row, values[stamp].as_str()?)))
        .filter(|(row, at)| {
            org.is_deleted(table, *row) == deleted && *at >= window.0.as_str() && *at < window.1.as_str()
        })
        .collect()
}
