//! Query jobs: SOQL in, pages of CSV out.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::Value;

use super::job::{Job, Kind, State, abort as give_up, look as asked};
use super::table::Table;
use crate::salesforce::field::Kind as FieldKind;
use crate::salesforce::refusal::Refusal;
use crate::salesforce::rest::fields;
use crate::salesforce::rows::Org;
use crate::salesforce::schema::Schema;
use crate::salesforce::soql::parser::parse;
use crate::salesforce::soql::plan::{Item, Plan, show};
use crate::salesforce::visit::Visit;
use crate::salesforce::{System, answer};

/// Rows on a page of results unless the client asks for fewer.
const PAGE_ROWS_MAX: usize = 50_000;

/// `POST /jobs/query`
pub(crate) async fn create(
    Shared(system): Shared<Arc<System>>,
    visit: Visit,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request = fields(&body)?;
    let text = request.get("query").and_then(Value::as_str).unwrap_or_default();
    let with_deleted = match request.get("operation").and_then(Value::as_str) {
        Some("query") => false,
        Some("queryAll") => true,
        other => {
            let message = format!("{} is not a value of operation", other.unwrap_or("nothing"));
            return Err(Refusal::unreadable(message));
        }
    };
    let plan = parse(text)
        .and_then(|query| Plan::new(&query, text))
        .map_err(|refusal| worded(&refusal))?;
    let org = system.org();
    let columns = columns(&org, plan.table, &plan.items)?;
    if plan.counts {
        return Err(api_error("Aggregate Relationships not supported in Bulk Query"));
    }
    let object = Schema::get().objects[plan.table].name;
    let mut job = Job::new(Kind::Query, &request, object, &visit, system.clock.now_ms())?;
    let rows = plan.run(&org, with_deleted);
    let row = |row: &usize| {
        let shown = show(&org, plan.table, *row, &plan.items, &visit.version);
        columns.iter().map(|column| cell(&shown, column)).collect()
    };
    job.rows = Table {
        rows: rows.iter().map(row).collect(),
        columns: columns.clone(),
    };
    // Rows come in no order, unless the query asks for one.
    if !text.to_uppercase().contains("ORDER BY") {
        job.rows.shuffle();
    }
    job.hand_over(State::JobComplete, system.clock.now_ms());
    let told = system.jobs().keep(job).told(false);
    Ok(answer(StatusCode::OK, &told))
}

/// A query that cannot run is refused with one code, whatever is wrong with it.
fn worded(refusal: &Refusal) -> Refusal {
    api_error(format!("{}: {}", refusal.code, refusal.message))
}

fn api_error(message: impl Into<String>) -> Refusal {
    Refusal::bad("API_ERROR", message)
}

/// The names of the columns: a parent's field has a dot.
fn columns(org: &Org, table: usize, items: &[Item]) -> Result<Vec<String>, Refusal> {
    let object = &org.schema.objects[table];
    let mut names = Vec::new();
    for item in items {
        match item {
            Item::Field(at) if object.fields[*at].kind == FieldKind::Address => {
                return Err(api_error("Selecting compound data not supported in Bulk Query"));
            }
            Item::Field(at) => names.push(object.fields[*at].name.clone()),
            Item::Parent {
                name, table, items, ..
            } => {
                let below = columns(org, *table, items)?;
                names.extend(below.iter().map(|column| format!("{name}.{column}")));
            }
        }
    }
    Ok(names)
}

/// A value as CSV has it: nothing is empty, a moment ends with `Z`.
fn cell(shown: &Value, column: &str) -> String {
    let value = column.split('.').fold(shown, |value, name| &value[name]);
    match value {
        Value::Null => String::new(),
        Value::String(text) => match text.strip_suffix("+0000") {
            Some(moment) if crate::clock::parse_ms(text).is_some() => format!("{moment}Z"),
            _ => text.clone(),
        },
        other => other.to_string(),
    }
}

/// `GET /jobs/query`
pub(crate) async fn list(Shared(system): Shared<Arc<System>>, _visit: Visit) -> Response {
    answer(StatusCode::OK, &system.jobs().listed(Kind::Query))
}

/// `GET /jobs/query/{id}`
pub(crate) async fn look(
    Shared(system): Shared<Arc<System>>,
    _visit: Visit,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    Ok(answer(StatusCode::OK, &asked(&system, Kind::Query, &id)?))
}

/// `PATCH /jobs/query/{id}` with `{"state": "Aborted"}`
pub(crate) async fn abort(
    Shared(system): Shared<Arc<System>>,
    _visit: Visit,
    Path((_, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    if fields(&body)?.get("state").and_then(Value::as_str) != Some("Aborted") {
        return Err(Refusal::unreadable("a query job can only become Aborted"));
    }
    let mut jobs = system.jobs();
    let job = jobs.find(Kind::Query, &id)?;
    give_up(job)?;
    Ok(answer(StatusCode::OK, &job.told(false)))
}

/// `DELETE /jobs/query/{id}`
pub(crate) async fn delete(
    Shared(system): Shared<Arc<System>>,
    _visit: Visit,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    system.jobs().forget(Kind::Query, &id)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /jobs/query/{id}/results?maxRecords=…&locator=…`
pub(crate) async fn results(
    Shared(system): Shared<Arc<System>>,
    _visit: Visit,
    Path((_, id)): Path<(String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    let mut jobs = system.jobs();
    let job = jobs.find(Kind::Query, &id)?;
    if job.state != State::JobComplete {
        return Err(job.not_now("get the results"));
    }
    let all = job.rows.rows.len();
    let invalid = || Refusal::bad("INVALID_QUERY_LOCATOR", "invalid query locator");
    let from = match parameters.get("locator") {
        Some(locator) => usize::from_str_radix(locator, 16).map_err(|_| invalid())?,
        None => 0,
    };
    if from > all {
        return Err(invalid());
    }
    let asked = parameters.get("maxRecords").and_then(|rows| rows.parse().ok());
    let to = all.min(from + asked.unwrap_or(PAGE_ROWS_MAX).clamp(1, PAGE_ROWS_MAX));
    let next = if to < all {
        format!("{to:08X}")
    } else {
        "null".to_owned()
    };
    let headers = [
        ("sforce-locator", next),
        ("sforce-numberofrecords", (to - from).to_string()),
    ];
    Ok(job.rows.answer(from..to, job.form, &headers))
}
