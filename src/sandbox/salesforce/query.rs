//! `/query`, `/queryAll` and their further pages.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::cursors::Cursor;
use super::refusal::Refusal;
use super::soql::parser::parse;
use super::soql::plan::{Plan, show};
use super::visit::Visit;
use super::{System, answer};

/// Rows on a page unless the client asks otherwise.
const PAGE_ROWS_DEFAULT: usize = 2_000;
/// The fewest rows a client may ask for on a page.
const PAGE_ROWS_MIN: usize = 200;

type Parameters = Query<HashMap<String, String>>;

/// `GET /query?q=…`
pub(crate) async fn query(
    State(system): State<Arc<System>>,
    visit: Visit,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    first(&system, &visit, &headers, &parameters, false)
}

/// `GET /queryAll?q=…`: with rows in the recycle bin.
pub(crate) async fn query_all(
    State(system): State<Arc<System>>,
    visit: Visit,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    first(&system, &visit, &headers, &parameters, true)
}

fn first(
    system: &System,
    visit: &Visit,
    headers: &HeaderMap,
    parameters: &HashMap<String, String>,
    with_deleted: bool,
) -> Result<Response, Refusal> {
    let text = parameters
        .get("q")
        .ok_or_else(|| Refusal::bad("MALFORMED_QUERY", "A query string has to be specified"))?;
    let plan = Plan::new(&parse(text)?, text)?;
    let rows = plan.run(&system.org(), with_deleted);
    if plan.counts {
        return Ok(answer(
            StatusCode::OK,
            &json!({ "totalSize": rows.len(), "done": true, "records": [] }),
        ));
    }
    let cursor = Cursor {
        table: plan.table,
        rows,
        items: plan.items,
        page: page_rows(headers),
    };
    let id = (cursor.rows.len() > cursor.page).then(|| system.cursors().keep(cursor.clone()));
    Ok(page(system, visit, &cursor, id.as_deref(), 0))
}

/// `Sforce-Query-Options: batchSize=200`
fn page_rows(headers: &HeaderMap) -> usize {
    let asked = headers.get("sforce-query-options").and_then(|header| {
        let (name, rows) = header.to_str().ok()?.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("batchSize") {
            rows.trim().parse::<usize>().ok()
        } else {
            None
        }
    });
    asked
        .unwrap_or(PAGE_ROWS_DEFAULT)
        .clamp(PAGE_ROWS_MIN, PAGE_ROWS_DEFAULT)
}

/// `GET /query/{locator}`: the id of a query, a dash and the row to begin with.
pub(crate) async fn more(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((_, locator)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let invalid = || Refusal::bad("INVALID_QUERY_LOCATOR", "invalid query locator");
    let (id, from) = locator.split_once('-').ok_or_else(invalid)?;
    let from: usize = from.parse().map_err(|_| invalid())?;
    let cursor = system
        .cursors()
        .find(id)
        .cloned()
        .filter(|cursor| from <= cursor.rows.len())
        .ok_or_else(invalid)?;
    Ok(page(&system, &visit, &cursor, Some(id), from))
}

fn page(system: &System, visit: &Visit, cursor: &Cursor, id: Option<&str>, from: usize) -> Response {
    let org = system.org();
    let rows = cursor.rows.iter().skip(from).take(cursor.page);
    let records: Vec<Value> = rows
        .map(|row| show(&org, cursor.table, *row, &cursor.items, &visit.version))
        .collect();
    let next = from + records.len();
    let mut body = json!({ "totalSize": cursor.rows.len(), "done": next >= cursor.rows.len() });
    if let (Some(id), false) = (id, next >= cursor.rows.len()) {
        body["nextRecordsUrl"] = json!(format!("/services/data/{}/query/{id}-{next}", visit.version));
    }
    body["records"] = Value::Array(records);
    answer(StatusCode::OK, &body)
}
