//! Ingest jobs: rows in as CSV, one result per row in one of three tables.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::job::{Job, Kind, State, abort, look as asked};
use super::table::Table;
use crate::salesforce::collections::{live, upsert_one};
use crate::salesforce::refusal::Refusal;
use crate::salesforce::rest::{fields, key_field};
use crate::salesforce::rows::{By, Org};
use crate::salesforce::visit::Visit;
use crate::salesforce::{System, answer};

/// What clears a field; an empty field changes nothing.
const NOTHING: &str = "#N/A";
const OPERATIONS: [&str; 5] = ["insert", "update", "upsert", "delete", "hardDelete"];

/// `POST /jobs/ingest`
pub(crate) async fn create(
    Shared(system): Shared<Arc<System>>,
    visit: Visit,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request = fields(&body)?;
    let text = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default();
    let operation = text("operation");
    if !OPERATIONS.contains(&operation) {
        return Err(Refusal::unreadable(format!(
            "{operation} is not a value of operation"
        )));
    }
    if !matches!(text("contentType"), "" | "CSV") {
        return Err(Refusal::unreadable("CSV is the only value of contentType"));
    }
    let org = system.org();
    let object = org.schema.object(text("object"));
    let (table, object) = object.ok_or_else(|| {
        let message = format!("InvalidJob : Unable to find object: {}", text("object"));
        Refusal::bad("INVALIDJOB", message)
    })?;
    if operation == "upsert" {
        if text("externalIdFieldName").is_empty() {
            let message = "InvalidJob : externalIdFieldName is required for upsert";
            return Err(Refusal::bad("INVALIDJOB", message));
        }
        key_field(&org, table, text("externalIdFieldName"))?;
    }
    let job = Job::new(Kind::Ingest, &request, object.name, &visit, system.clock.now_ms())?;
    Ok(answer(StatusCode::OK, &system.jobs().keep(job).told(false)))
}

/// `GET /jobs/ingest`
pub(crate) async fn list(Shared(system): Shared<Arc<System>>, _visit: Visit) -> Response {
    answer(StatusCode::OK, &system.jobs().listed(Kind::Ingest))
}

/// `GET /jobs/ingest/{id}`
pub(crate) async fn look(
    Shared(system): Shared<Arc<System>>,
    _visit: Visit,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    Ok(answer(StatusCode::OK, &asked(&system, Kind::Ingest, &id)?))
}

/// `PUT /jobs/ingest/{id}/batches`: all rows at once, once.
pub(crate) async fn upload(
    Shared(system): Shared<Arc<System>>,
    _visit: Visit,
    Path((_, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let mut jobs = system.jobs();
    let job = jobs.find(Kind::Ingest, &id)?;
    if job.state != State::Open || !job.rows.columns.is_empty() {
        return Err(job.not_now("upload data a second time or"));
    }
    let text = std::str::from_utf8(&body).map_err(|_| Refusal::unreadable("the data is not UTF-8"))?;
    match Table::read(text, job.form) {
        Ok(rows) => job.rows = rows,
        Err(reason) => job.error = Some(reason),
    }
    Ok(StatusCode::CREATED.into_response())
}

/// `PATCH /jobs/ingest/{id}` with `UploadComplete`, which hands the job over, or `Aborted`.
pub(crate) async fn close(
    Shared(system): Shared<Arc<System>>,
    visit: Visit,
    Path((_, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request = fields(&body)?;
    // Rows before jobs, here and wherever both are held.
    let mut org = system.org();
    let mut jobs = system.jobs();
    let job = jobs.find(Kind::Ingest, &id)?;
    match request.get("state").and_then(Value::as_str) {
        Some("UploadComplete") if job.state == State::Open => {
            let outcome = run(job, &mut org, &visit.by(&system));
            job.hand_over(outcome, system.clock.now_ms());
        }
        Some("Aborted") => {
            abort(job)?;
            job.untouched = job.rows.clone();
        }
        Some("UploadComplete") => return Err(job.not_now("close the job")),
        _ => return Err(Refusal::unreadable("a job can become UploadComplete or Aborted")),
    }
    Ok(answer(StatusCode::OK, &job.told(false)))
}

/// `DELETE /jobs/ingest/{id}`
pub(crate) async fn delete(
    Shared(system): Shared<Arc<System>>,
    _visit: Visit,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    system.jobs().forget(Kind::Ingest, &id)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /jobs/ingest/{id}/successfulResults`, `failedResults`, `unprocessedrecords`
pub(crate) async fn results(
    Shared(system): Shared<Arc<System>>,
    _visit: Visit,
    Path((_, id, which)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let mut jobs = system.jobs();
    let job = jobs.find(Kind::Ingest, &id)?;
    // Clients disagree on the case of the last one.
    let table = match which.to_lowercase().as_str() {
        "successfulresults" => &job.taken,
        "failedresults" => &job.refused,
        "unprocessedrecords" => &job.untouched,
        _ => return Err(Refusal::not_found()),
    };
    if !job.state.ended() {
        return Err(job.not_now("get the results"));
    }
    Ok(table.answer(0..table.rows.len(), job.form, &[]))
}

/// Writes the rows, unless the whole table makes no sense.
fn run(job: &mut Job, org: &mut Org, by: &By<'_>) -> State {
    job.taken = job.rows.results(&["sf__Id", "sf__Created"]);
    job.refused = job.rows.results(&["sf__Id", "sf__Error"]);
    job.untouched = job.rows.results(&[]);
    if let Some(unknown) = job.rows.columns.iter().find(|column| !known(job, org, column)) {
        job.error = Some(format!("InvalidBatch : Field name not found : {unknown}"));
    }
    if job.error.is_some() {
        job.untouched.rows.clone_from(&job.rows.rows);
        return State::Failed;
    }
    let mut met = HashMap::new();
    for row in &job.rows.rows {
        let (table, text) = match one(job, row, org, &mut met, by) {
            Ok((id, created)) => (&mut job.taken, [id, created.to_string()]),
            Err(refusal) => {
                let fields = refusal.fields.join(",");
                let error = format!("{}:{}:{fields} --", refusal.code, refusal.message);
                (&mut job.refused, [String::new(), error])
            }
        };
        table
            .rows
            .push(text.into_iter().chain(row.iter().cloned()).collect());
    }
    job.taken.shuffle();
    job.refused.shuffle();
    State::JobComplete
}

fn known(job: &Job, org: &Org, column: &str) -> bool {
    let Some((_, object)) = org.schema.object(job.object) else {
        return false;
    };
    match column.split_once('.') {
        Some((relation, _)) => object.relation(relation).is_some(),
        None => object.position(column).is_some(),
    }
}

/// Writes one row, and says its id and whether it is new.
fn one(
    job: &Job,
    row: &[String],
    org: &mut Org,
    met: &mut HashMap<String, ()>,
    by: &By<'_>,
) -> Result<(String, bool), Refusal> {
    let (table, object) = org.object(job.object)?;
    let mut record = record(&job.rows.columns, row);
    let mut id = || {
        let name = record
            .keys()
            .find(|name| name.eq_ignore_ascii_case("id"))
            .cloned();
        let id = name.and_then(|name| record.remove(&name));
        id.and_then(|id| id.as_str().map(str::to_owned))
    };
    let missing = || Refusal::bad("MISSING_ARGUMENT", "Id not specified in an update call");
    match job.operation.as_str() {
        "upsert" => {
            let field = job.key.clone().unwrap_or_default();
            let key = key_field(org, table, &field)?;
            record.insert("attributes".into(), json!({ "type": object.name }));
            upsert_one(org, table, key, &field, &record, met, by)
        }
        "insert" => Ok((org.create(table, &record, by)?, true)),
        "update" => {
            let id = id().ok_or_else(missing)?;
            let row = live(org, table, &id)?;
            org.update(table, row, &record, by)?;
            Ok((org.id_of(table, row).to_owned(), false))
        }
        _ => {
            let row = live(org, table, &id().ok_or_else(missing)?)?;
            org.delete(table, row, by)?;
            Ok((org.id_of(table, row).to_owned(), false))
        }
    }
}

/// A row by the names of its columns; what is empty is not in it.
fn record(columns: &[String], row: &[String]) -> Map<String, Value> {
    let mut record = Map::new();
    for (column, text) in columns.iter().zip(row).filter(|(_, text)| !text.is_empty()) {
        let value = if text == NOTHING {
            Value::Null
        } else {
            Value::from(text.as_str())
        };
        match column.split_once('.') {
            Some((relation, field)) => record.insert(relation.to_owned(), json!({ field: value })),
            None => record.insert(column.clone(), value),
        };
    }
    record
}
