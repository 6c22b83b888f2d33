//! Batches of up to 100 rows.
//!
//! Create and upsert answer 207 with an error per bad input when every input carries its own `objectWriteTraceId`;
//! without, one bad input fails the whole batch and nothing is written.
//! The order of results is not promised by HubSpot, and reversed here so that nobody relies on it.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::objects::{Association, Id, create_with_links, shown_after_write};
use super::problem::Problem;
use super::rows::{By, Portal};
use super::show::{self, Wanted};
use super::value::moment;
use super::visit::Visit;
use super::{System, answer, kind_named, read as read_body};

/// Inputs a batch may have.
pub(crate) const INPUTS_MAX: usize = 100;

/// One row to be written.
#[derive(Debug, Deserialize)]
struct Input {
    #[serde(default)]
    id: Value,
    #[serde(default, rename = "idProperty")]
    id_property: Option<String>,
    #[serde(default)]
    properties: Map<String, Value>,
    #[serde(default)]
    associations: Option<Vec<Association>>,
    #[serde(default, rename = "objectWriteTraceId")]
    trace: Option<String>,
}

impl Input {
    fn id(&self) -> String {
        self.id
            .as_str()
            .map_or_else(|| self.id.to_string(), str::to_owned)
    }

    fn by(&self) -> Option<&str> {
        self.id_property.as_deref().filter(|name| !name.is_empty())
    }
}

#[derive(Debug, Deserialize)]
struct Inputs<T> {
    inputs: Vec<T>,
}

/// The rows to read.
#[derive(Debug, Deserialize)]
struct Reading {
    inputs: Vec<Id>,
    #[serde(default)]
    properties: Vec<String>,
    #[serde(default, rename = "idProperty")]
    id_property: Option<String>,
}

fn sized<T>(inputs: Vec<T>) -> Result<Vec<T>, Problem> {
    match inputs.len() {
        1..=INPUTS_MAX => Ok(inputs),
        0 => Err(Problem::invalid("The batch must have at least one input")),
        size => Err(Problem::invalid(format!(
            "The maximum batch size is {INPUTS_MAX}, but the batch has {size} inputs"
        ))),
    }
}

fn without_duplicates<'a>(ids: impl Iterator<Item = &'a String>) -> Result<(), Problem> {
    let mut met = HashSet::new();
    for id in ids {
        if !met.insert(id) {
            let message = format!("Duplicate IDs found in batch input: [{id}]. IDs must be unique");
            return Err(Problem::invalid(message).with("ids", &[id]));
        }
    }
    Ok(())
}

/// `POST …/batch/create`
pub(crate) async fn create(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path(kind): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let inputs = sized(read_body::<Inputs<Input>>(&body)?.inputs)?;
    let by = visit.by(&system);
    write(&system, StatusCode::CREATED, &inputs, |portal, input| {
        let associations = input.associations.as_deref().unwrap_or_default();
        let id = create_with_links(portal, kind, &input.properties, associations, &by)?;
        Ok(shown_after_write(portal, kind, id))
    })
}

/// `POST …/batch/upsert`
pub(crate) async fn upsert(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path(kind): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let inputs = sized(read_body::<Inputs<Input>>(&body)?.inputs)?;
    let ids: Vec<String> = inputs
        .iter()
        .map(|input| input.id().trim().to_lowercase())
        .collect();
    without_duplicates(ids.iter())?;
    let by = visit.by(&system);
    write(&system, StatusCode::OK, &inputs, |portal, input| {
        let (id, new) = upsert_one(portal, kind, input, &by)?;
        let mut shown = shown_after_write(portal, kind, id);
        shown["new"] = json!(new);
        Ok(shown)
    })
}

fn upsert_one(portal: &mut Portal, kind: Kind, input: &Input, by: &By<'_>) -> Result<(u64, bool), Problem> {
    let property = input
        .by()
        .ok_or_else(|| Problem::invalid("idProperty is required to upsert"))?;
    match portal.find(kind, &input.id(), Some(property))? {
        Some(id) => {
            portal.update(kind, id, &input.properties, by)?;
            Ok((id, false))
        }
        None => {
            let mut properties = input.properties.clone();
            properties
                .entry(property.to_owned())
                .or_insert_with(|| json!(input.id()));
            Ok((portal.create(kind, &properties, by)?, true))
        }
    }
}

/// `POST …/batch/update`: rows that are not there are errors among the results; anything else fails the batch.
pub(crate) async fn update(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path(kind): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let inputs = sized(read_body::<Inputs<Input>>(&body)?.inputs)?;
    let ids: Vec<String> = inputs.iter().map(Input::id).collect();
    without_duplicates(ids.iter())?;
    let by = visit.by(&system);
    let mut missing = Vec::new();
    let outcome = system.write(|portal| {
        portal.begin();
        let mut results = Vec::new();
        for (input, id) in inputs.iter().zip(&ids) {
            let outcome = match portal.find(kind, id, input.by()) {
                Ok(Some(found)) => portal
                    .update(kind, found, &input.properties, &by)
                    .map(|()| Some(found)),
                Ok(None) => Ok(None),
                Err(problem) => Err(problem),
            };
            match outcome {
                Ok(Some(found)) => results.push(shown_after_write(portal, kind, found)),
                Ok(None) => missing.push(id.as_str()),
                Err(problem) => {
                    portal.roll_back();
                    return Err(problem);
                }
            }
        }
        portal.commit();
        Ok(results)
    });
    let errors = not_found(kind, &missing);
    Ok(complete(&system, StatusCode::OK, outcome?, errors))
}

fn not_found(kind: Kind, missing: &[&str]) -> Vec<Value> {
    if missing.is_empty() {
        return Vec::new();
    }
    let name = kind.singular().to_uppercase();
    let message = format!(
        "Could not get some {name} objects, they may be deleted or not exist. Check that ids are valid."
    );
    vec![
        Problem::new(404, "OBJECT_NOT_FOUND", message)
            .with("ids", missing)
            .in_batch(),
    ]
}

/// `POST …/batch/read`
pub(crate) async fn read(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path(kind): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let reading: Reading = read_body(&body)?;
    let inputs = sized(reading.inputs)?;
    let wanted = Wanted::named(reading.properties);
    let by = reading.id_property.as_deref().filter(|name| !name.is_empty());
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    {
        let portal = system.portal();
        for input in &inputs {
            let found = portal.find(kind, &input.text(), by)?;
            match found.and_then(|id| Some((id, portal.row(kind, id)?))) {
                Some((id, row)) => results.push(show::row(&portal, kind, id, row, &wanted)),
                None => missing.push(input.text()),
            }
        }
    }
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    Ok(complete(
        &system,
        StatusCode::OK,
        results,
        not_found(kind, &missing),
    ))
}

/// `POST …/batch/archive`
pub(crate) async fn archive(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path(kind): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let inputs = sized(read_body::<Inputs<Id>>(&body)?.inputs)?;
    system.write(|portal| {
        for id in inputs.iter().filter_map(Id::number) {
            portal.archive(kind, id, &visit.by(&system));
        }
    });
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Writes every input, or all but the bad ones when each input can be told apart by its trace id.
fn write(
    system: &System,
    status: StatusCode,
    inputs: &[Input],
    mut one: impl FnMut(&mut Portal, &Input) -> Result<Value, Problem>,
) -> Result<Response, Problem> {
    let traces: HashSet<&str> = inputs.iter().filter_map(|input| input.trace.as_deref()).collect();
    let each_alone = traces.len() == inputs.len();
    let mut errors = Vec::new();
    let outcome = system.write(|portal| {
        if !each_alone {
            portal.begin();
        }
        let mut results = Vec::new();
        for input in inputs {
            match one(portal, input) {
                Ok(mut shown) => {
                    if let Some(trace) = &input.trace {
                        shown["objectWriteTraceId"] = json!(trace);
                    }
                    results.push(shown);
                }
                Err(problem) if each_alone => {
                    let trace = input.trace.as_deref().unwrap_or_default();
                    errors.push(problem.with("objectWriteTraceId", &[trace]).in_batch());
                }
                Err(problem) => {
                    portal.roll_back();
                    return Err(problem);
                }
            }
        }
        portal.commit();
        Ok(results)
    });
    let mut results = outcome?;
    results.reverse();
    Ok(complete(system, status, results, errors))
}

/// The answer of a batch: 207 when something in it failed.
pub(crate) fn complete(
    system: &System,
    status: StatusCode,
    results: Vec<Value>,
    errors: Vec<Value>,
) -> Response {
    let now = moment(system.clock.now_ms());
    let mut body = json!({ "status": "COMPLETE", "startedAt": now, "completedAt": now });
    body["results"] = Value::Array(results);
    if errors.is_empty() {
        return answer(status, &body);
    }
    body["numErrors"] = json!(errors.len());
    body["errors"] = Value::Array(errors);
    answer(StatusCode::MULTI_STATUS, &body)
}
