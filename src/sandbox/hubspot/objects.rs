//! Single rows and lists of them.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::associations::leads;
use super::kind::Kind;
use super::problem::Problem;
use super::rows::{By, Portal};
use super::show::{self, Parameters, Wanted};
use super::visit::Visit;
use super::{System, answer, kind_named, read as read_body};

/// Rows on a page of a list.
const PAGE_ROWS_MAX: usize = 100;
const PAGE_ROWS_DEFAULT: usize = 10;

/// An id and nothing else.
#[derive(Debug, Deserialize)]
pub(crate) struct Id {
    pub(crate) id: Value,
}

impl Id {
    /// The id; clients send it as text, some as a number.
    pub(crate) fn number(&self) -> Option<u64> {
        match &self.id {
            Value::String(text) => text.parse().ok(),
            other => other.to_string().parse().ok(),
        }
    }

    pub(crate) fn text(&self) -> String {
        self.id
            .as_str()
            .map_or_else(|| self.id.to_string(), str::to_owned)
    }
}

/// An association to make together with a row.
#[derive(Debug, Deserialize)]
pub(crate) struct Association {
    to: Id,
    types: Vec<AssociationType>,
}

/// The type of an association as clients write it.
#[derive(Debug, Deserialize)]
pub(crate) struct AssociationType {
    #[serde(rename = "associationTypeId")]
    pub(crate) id: u32,
}

/// A row to be written.
#[derive(Debug, Deserialize)]
struct Written {
    #[serde(default)]
    properties: Map<String, Value>,
    #[serde(default)]
    associations: Option<Vec<Association>>,
}

/// `GET /crm/v3/objects/{kind}`
pub(crate) async fn list(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path(kind): Path<String>,
    headers: HeaderMap,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let parameters = Parameters(parameters);
    let kind_name = kind;
    let kind = kind_named(&kind_name)?;
    let limit = page_rows(parameters.one("limit"), PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX)?;
    let invalid = || Problem::invalid("The paging cursor `after` is invalid");
    let after: u64 = parameters
        .one("after")
        .map_or(Ok(0), str::parse)
        .map_err(|_| invalid())?;
    let archived = parameters.flag("archived");
    let wanted = Wanted::named(parameters.many("properties"));
    let to = kinds(&parameters.many("associations"))?;

    let portal = system.portal();
    let mut rows = portal
        .from(kind, after)
        .filter(|(_, row)| row.archived_ms.is_some() == archived);
    let results: Vec<Value> = rows
        .by_ref()
        .take(limit)
        .map(|(id, row)| with_links(&portal, kind, id, row, &wanted, &to))
        .collect();
    let mut body = json!({ "results": results });
    if let Some((next, _)) = rows.next() {
        let host = headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("localhost");
        let link = format!("http://{host}/crm/v3/objects/{kind_name}?after={next}&limit={limit}");
        body["paging"] = json!({ "next": { "after": next.to_string(), "link": link } });
    }
    Ok(answer(StatusCode::OK, &body))
}

/// A page size a client asked for.
pub(crate) fn page_rows(asked: Option<&str>, default: usize, most: usize) -> Result<usize, Problem> {
    let Some(asked) = asked else { return Ok(default) };
    match asked.parse::<usize>() {
        Ok(rows) if (1..=most).contains(&rows) => Ok(rows),
        _ => Err(Problem::invalid(format!(
            "The limit must be between 1 and {most}, but was {asked}"
        ))),
    }
}

fn kinds(names: &[String]) -> Result<Vec<Kind>, Problem> {
    names.iter().map(|name| kind_named(name)).collect()
}

fn with_links(
    portal: &Portal,
    kind: Kind,
    id: u64,
    row: &super::rows::Row,
    wanted: &Wanted,
    to: &[Kind],
) -> Value {
    let mut shown = show::row(portal, kind, id, row, wanted);
    if let Some(associations) = show::associations(portal, kind, id, to) {
        shown["associations"] = associations;
    }
    shown
}

/// `GET /crm/v3/objects/{kind}/{id}`
pub(crate) async fn read(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path((kind, id)): Path<(String, String)>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let parameters = Parameters(parameters);
    let kind = kind_named(&kind)?;
    let to = kinds(&parameters.many("associations"))?;
    let portal = system.portal();
    let found = match parameters.flag("archived") {
        true => id
            .parse()
            .ok()
            .filter(|id| portal.row(kind, *id).is_some_and(|row| row.archived_ms.is_some())),
        false => portal.find(kind, &id, parameters.one("idProperty"))?,
    };
    let (id, row) = found
        .and_then(|id| Some((id, portal.row(kind, id)?)))
        .ok_or_else(Problem::not_found)?;
    let wanted = Wanted::named(parameters.many("properties"));
    Ok(answer(
        StatusCode::OK,
        &with_links(&portal, kind, id, row, &wanted, &to),
    ))
}

/// `POST /crm/v3/objects/{kind}`
pub(crate) async fn create(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path(kind): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let written: Written = read_body(&body)?;
    let by = visit.by(&system);
    let body = system.write(|portal| {
        let associations = written.associations.unwrap_or_default();
        let id = create_with_links(portal, kind, &written.properties, &associations, &by)?;
        Ok::<_, Problem>(shown_after_write(portal, kind, id))
    })?;
    Ok(answer(StatusCode::CREATED, &body))
}

/// Creates a row and its associations, or neither.
pub(crate) fn create_with_links(
    portal: &mut Portal,
    kind: Kind,
    properties: &Map<String, Value>,
    associations: &[Association],
    by: &By<'_>,
) -> Result<u64, Problem> {
    let mut wanted = Vec::new();
    for association in associations {
        for kind_of in &association.types {
            let to = Kind::ALL.into_iter().find(|to| leads(kind, *to, kind_of.id));
            let target = to
                .zip(association.to.number())
                .filter(|(to, id)| portal.row(*to, *id).is_some_and(|row| row.archived_ms.is_none()));
            match target {
                Some(target) => wanted.push((target, kind_of.id)),
                None => {
                    let message = format!(
                        "No {} can be associated by type {} with id {}",
                        kind.singular(),
                        kind_of.id,
                        association.to.text()
                    );
                    return Err(Problem {
                        sub_category: "crm.associations.INVALID_IDENTIFIER",
                        ..Problem::invalid(message)
                    });
                }
            }
        }
    }
    let id = portal.create(kind, properties, by)?;
    for (to, type_id) in wanted {
        super::links::associate(portal, (kind, id), to, type_id, by);
    }
    Ok(id)
}

/// A row as answers to writes show it.
pub(crate) fn shown_after_write(portal: &Portal, kind: Kind, id: u64) -> Value {
    portal.row(kind, id).map_or(Value::Null, |row| {
        show::row(portal, kind, id, row, &Wanted::Everything)
    })
}

/// `PATCH /crm/v3/objects/{kind}/{id}`
pub(crate) async fn update(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((kind, id)): Path<(String, String)>,
    Query(parameters): Query<Vec<(String, String)>>,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let written: Written = read_body(&body)?;
    let by = visit.by(&system);
    let body = system.write(|portal| {
        let id = portal
            .find(kind, &id, Parameters(parameters).one("idProperty"))?
            .ok_or_else(Problem::not_found)?;
        portal.update(kind, id, &written.properties, &by)?;
        Ok::<_, Problem>(shown_after_write(portal, kind, id))
    })?;
    Ok(answer(StatusCode::OK, &body))
}

/// `DELETE /crm/v3/objects/{kind}/{id}`: the same answer when it was archived before.
pub(crate) async fn archive(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((kind, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    if let Ok(id) = id.parse() {
        system.write(|portal| portal.archive(kind, id, &visit.by(&system)));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
