//! Associations over HTTP: of one row, and in batches.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::associations::{self, default_type, is_primary, leads, shown};
use super::batch::complete;
use super::event::Change;
use super::kind::Kind;
use super::objects::{AssociationType, Id, page_rows};
use super::problem::Problem;
use super::rows::{By, Portal};
use super::show::Parameters;
use super::visit::Visit;
use super::{System, answer, kind_named, read as read_body};

/// Associations on a page.
const PAGE_LINKS_MAX: usize = 500;
/// Inputs a batch read may have.
const READ_INPUTS_MAX: usize = 1_000;
/// Inputs a batch write may have.
const WRITE_INPUTS_MAX: usize = 2_000;

#[derive(Debug, Deserialize)]
struct Inputs<T> {
    inputs: Vec<T>,
}

#[derive(Debug, Deserialize)]
struct Pair {
    from: Id,
    to: Id,
    #[serde(default)]
    types: Vec<AssociationType>,
}

#[derive(Debug, Deserialize)]
struct Ends {
    from: Id,
    to: Vec<Id>,
}

/// One end of an association.
type End = (Kind, u64);
type Two = Path<(String, String)>;
type Four = Path<(String, String, String, String)>;

/// Associates two rows and tells webhooks, once in each direction.
pub(crate) fn associate(portal: &mut Portal, from: End, to: End, type_id: u32, by: &By<'_>) {
    if portal.links.add(from, to, type_id) == Some(true) {
        tell(portal, from, to, false, is_primary(type_id), by);
    }
}

fn dissociate(portal: &mut Portal, from: End, to: End, by: &By<'_>) {
    if portal.links.remove(from, to) {
        tell(portal, from, to, true, false, by);
    }
}

fn tell(portal: &mut Portal, from: End, to: End, removed: bool, primary: bool, by: &By<'_>) {
    for (from, to) in [(from, to), (to, from)] {
        portal.changes.push(Change::association(
            from, to, removed, primary, by.source, by.now_ms,
        ));
    }
}

fn end(portal: &Portal, kind: Kind, id: &str) -> Result<End, Problem> {
    let there = id
        .parse()
        .ok()
        .filter(|id| portal.row(kind, *id).is_some_and(|row| row.archived_ms.is_none()));
    there.map(|id| (kind, id)).ok_or_else(|| {
        let message = format!("{} {id} is not valid", kind.title());
        Problem {
            sub_category: "crm.associations.INVALID_IDENTIFIER",
            ..Problem::invalid(message)
        }
    })
}

fn ends(portal: &Portal, kinds: (Kind, Kind), from: &str, to: &str) -> Result<(End, End), Problem> {
    let (from, to) = (end(portal, kinds.0, from)?, end(portal, kinds.1, to)?);
    if from == to {
        return Err(Problem::invalid(format!(
            "Object {} cannot be associated to itself",
            from.1
        )));
    }
    Ok((from, to))
}

fn typed(kinds: (Kind, Kind), types: &[AssociationType]) -> Result<Vec<u32>, Problem> {
    let wrong = types.iter().find(|kind| !leads(kinds.0, kinds.1, kind.id));
    match wrong {
        Some(kind) => {
            let message = format!(
                "Association type {} does not exist from {} to {}",
                kind.id,
                kinds.0.singular(),
                kinds.1.singular()
            );
            Err(Problem {
                sub_category: "crm.associations.INVALID_ASSOCIATION_TYPE",
                ..Problem::invalid(message)
            })
        }
        None if types.is_empty() => Ok(vec![default_type(kinds.0, kinds.1)]),
        None => Ok(types.iter().map(|kind| kind.id).collect()),
    }
}

/// `GET /crm/v4/objects/{kind}/{id}/associations/{to}`
pub(crate) async fn list(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path((kind, id, to)): Path<(String, String, String)>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let parameters = Parameters(parameters);
    let (kind, to) = (kind_named(&kind)?, kind_named(&to)?);
    let limit = page_rows(parameters.one("limit"), PAGE_LINKS_MAX, PAGE_LINKS_MAX)?;
    let after: u64 = parameters
        .one("after")
        .and_then(|after| after.parse().ok())
        .unwrap_or(0);
    let portal = system.portal();
    let from = portal.find(kind, &id, None)?.ok_or_else(Problem::not_found)?;
    let mut links = portal
        .links
        .of((kind, from), to)
        .skip_while(|(id, _)| *id < after);
    let results: Vec<Value> = links
        .by_ref()
        .take(limit)
        .map(|(id, types)| told(kind, to, id, types))
        .collect();
    let mut body = json!({ "results": results });
    if let Some((next, _)) = links.next() {
        body["paging"] = json!({ "next": { "after": next.to_string() } });
    }
    Ok(answer(StatusCode::OK, &body))
}

fn told(kind: Kind, to: Kind, id: u64, types: &std::collections::BTreeSet<u32>) -> Value {
    json!({ "toObjectId": id, "associationTypes": shown(kind, to, types) })
}

/// `PUT /crm/v4/objects/{kind}/{id}/associations/{to}/{to_id}`: these labels and no others.
pub(crate) async fn put(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((kind, id, to, to_id)): Four,
    body: Bytes,
) -> Result<Response, Problem> {
    let kinds = (kind_named(&kind)?, kind_named(&to)?);
    let types = typed(kinds, &read_body::<Vec<AssociationType>>(&body)?)?;
    let by = visit.by(&system);
    let (from, to) = system.write(|portal| {
        let (from, to) = ends(portal, kinds, &id, &to_id)?;
        portal.links.remove(from, to);
        for type_id in &types {
            associate(portal, from, to, *type_id, &by);
        }
        Ok::<_, Problem>((from, to))
    })?;
    let labels: Vec<Value> = associations::labels(kinds.0, kinds.1)
        .into_iter()
        .filter(|label| types.iter().any(|id| label["typeId"] == json!(id)) && !label["label"].is_null())
        .map(|label| label["label"].clone())
        .collect();
    Ok(answer(StatusCode::CREATED, &created(from, to, &labels)))
}

fn created(from: End, to: End, labels: &[Value]) -> Value {
    json!({
        "fromObjectTypeId": from.0.type_id(), "fromObjectId": from.1,
        "toObjectTypeId": to.0.type_id(), "toObjectId": to.1, "labels": labels,
    })
}

/// `PUT /crm/v4/objects/{kind}/{id}/associations/default/{to}/{to_id}`
pub(crate) async fn put_default(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((kind, id, to, to_id)): Four,
) -> Result<Response, Problem> {
    let kinds = (kind_named(&kind)?, kind_named(&to)?);
    let by = visit.by(&system);
    let results = system.write(|portal| associate_default(portal, kinds, &id, &to_id, &by))?;
    Ok(complete(&system, StatusCode::OK, results, Vec::new()))
}

fn associate_default(
    portal: &mut Portal,
    kinds: (Kind, Kind),
    id: &str,
    to_id: &str,
    by: &By<'_>,
) -> Result<Vec<Value>, Problem> {
    let (from, to) = ends(portal, kinds, id, to_id)?;
    associate(portal, from, to, default_type(kinds.0, kinds.1), by);
    let way = |from: End, to: End| {
        let spec = json!({ "associationCategory": "HUBSPOT_DEFINED", "associationTypeId": default_type(from.0, to.0) });
        json!({ "from": { "id": from.1.to_string() }, "to": { "id": to.1.to_string() }, "associationSpec": spec })
    };
    Ok(vec![way(from, to), way(to, from)])
}

/// `DELETE /crm/v4/objects/{kind}/{id}/associations/{to}/{to_id}`
pub(crate) async fn remove(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((kind, id, to, to_id)): Four,
) -> Result<Response, Problem> {
    let (kind, to) = (kind_named(&kind)?, kind_named(&to)?);
    if let (Ok(id), Ok(to_id)) = (id.parse(), to_id.parse()) {
        system.write(|portal| dissociate(portal, (kind, id), (to, to_id), &visit.by(&system)));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn inputs<T: serde::de::DeserializeOwned>(body: &Bytes, most: usize) -> Result<Vec<T>, Problem> {
    let inputs = read_body::<Inputs<T>>(body)?.inputs;
    if inputs.is_empty() || inputs.len() > most {
        return Err(Problem::invalid(format!(
            "A batch may have 1 to {most} inputs, but this one has {}",
            inputs.len()
        )));
    }
    Ok(inputs)
}

/// `POST /crm/v4/associations/{from}/{to}/batch/read`: rows without any are errors in a 207, which is normal.
pub(crate) async fn batch_read(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path((from, to)): Two,
    body: Bytes,
) -> Result<Response, Problem> {
    let (from, to) = (kind_named(&from)?, kind_named(&to)?);
    let inputs: Vec<Id> = inputs(&body, READ_INPUTS_MAX)?;
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    {
        let portal = system.portal();
        for input in &inputs {
            let id = input.number().unwrap_or_default();
            let links: Vec<Value> = portal
                .links
                .of((from, id), to)
                .map(|(id, types)| told(from, to, id, types))
                .collect();
            if links.is_empty() {
                errors.push(none_found(from, to, &input.text()).in_batch());
            } else {
                results.push(json!({ "from": { "id": input.text() }, "to": links }));
            }
        }
    }
    Ok(complete(&system, StatusCode::OK, results, errors))
}

fn none_found(from: Kind, to: Kind, id: &str) -> Problem {
    let message = format!(
        "No {} is associated with {} {id}.",
        to.singular(),
        from.singular()
    );
    let problem = Problem::new(404, "OBJECT_NOT_FOUND", message)
        .with("fromObjectId", &[id])
        .with("fromObjectType", &[from.singular()])
        .with("toObjectType", &[to.singular()]);
    Problem {
        sub_category: "crm.associations.NO_ASSOCIATIONS_FOUND",
        ..problem
    }
}

/// `POST /crm/v4/associations/{from}/{to}/batch/create`
pub(crate) async fn batch_create(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((from, to)): Two,
    body: Bytes,
) -> Result<Response, Problem> {
    let kinds = (kind_named(&from)?, kind_named(&to)?);
    let pairs: Vec<Pair> = inputs(&body, WRITE_INPUTS_MAX)?;
    let by = visit.by(&system);
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    system.write(|portal| {
        for pair in &pairs {
            let found = typed(kinds, &pair.types)
                .and_then(|types| Ok((types, ends(portal, kinds, &pair.from.text(), &pair.to.text())?)));
            match found {
                Ok((types, (from, to))) => {
                    for type_id in types {
                        associate(portal, from, to, type_id, &by);
                    }
                    results.push(created(from, to, &[]));
                }
                Err(problem) => errors.push(problem.in_batch()),
            }
        }
    });
    Ok(complete(&system, StatusCode::CREATED, results, errors))
}

/// `POST /crm/v4/associations/{from}/{to}/batch/associate/default`
pub(crate) async fn batch_default(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((from, to)): Two,
    body: Bytes,
) -> Result<Response, Problem> {
    let kinds = (kind_named(&from)?, kind_named(&to)?);
    let pairs: Vec<Pair> = inputs(&body, WRITE_INPUTS_MAX)?;
    let by = visit.by(&system);
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    system.write(|portal| {
        for pair in &pairs {
            match associate_default(portal, kinds, &pair.from.text(), &pair.to.text(), &by) {
                Ok(made) => results.extend(made),
                Err(problem) => errors.push(problem.in_batch()),
            }
        }
    });
    Ok(complete(&system, StatusCode::OK, results, errors))
}

/// `POST /crm/v4/associations/{from}/{to}/batch/archive`
pub(crate) async fn batch_archive(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((from, to)): Two,
    body: Bytes,
) -> Result<Response, Problem> {
    let (from, to) = (kind_named(&from)?, kind_named(&to)?);
    let inputs: Vec<Ends> = inputs(&body, WRITE_INPUTS_MAX)?;
    let by = visit.by(&system);
    system.write(|portal| {
        for input in &inputs {
            for other in input.to.iter().filter_map(Id::number) {
                dissociate(
                    portal,
                    (from, input.from.number().unwrap_or_default()),
                    (to, other),
                    &by,
                );
            }
        }
    });
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /crm/v4/associations/{from}/{to}/labels`
pub(crate) async fn labels(_visit: Visit, Path((from, to)): Two) -> Result<Response, Problem> {
    let (from, to) = (kind_named(&from)?, kind_named(&to)?);
    Ok(answer(
        StatusCode::OK,
        &json!({ "results": associations::labels(from, to) }),
    ))
}
