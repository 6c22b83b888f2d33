//! Definitions of properties: list, read, create one or many.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::batch::{INPUTS_MAX, complete};
use super::kind::Kind;
use super::problem::Problem;
use super::property::{KINDS, Property, PropertyForm};
use super::rows::Portal;
use super::visit::Visit;
use super::{System, answer, kind_named, read as read_body};

/// Properties with unique values that a kind may have, HubSpot's own aside.
const UNIQUE_MAX: usize = 10;
/// Properties a kind may have.
const PROPERTIES_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
struct Inputs {
    inputs: Vec<PropertyForm>,
}

/// `GET /crm/v3/properties/{kind}`
pub(crate) async fn list(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path(kind): Path<String>,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let results: Vec<Value> = system.portal().properties[kind.at()]
        .iter()
        .map(Property::shown)
        .collect();
    Ok(answer(StatusCode::OK, &json!({ "results": results })))
}

/// `GET /crm/v3/properties/{kind}/{name}`
pub(crate) async fn read(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let portal = system.portal();
    let property = portal.property(kind, &name).ok_or_else(|| {
        Problem::new(
            404,
            "OBJECT_NOT_FOUND",
            format!(
                "Property {name} does not exist for object type {}",
                kind.type_id()
            ),
        )
    })?;
    Ok(answer(StatusCode::OK, &property.shown()))
}

/// `POST /crm/v3/properties/{kind}`
pub(crate) async fn create(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path(kind): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let form: PropertyForm = read_body(&body)?;
    let shown = add(&mut system.portal(), kind, form)?;
    Ok(answer(StatusCode::CREATED, &shown))
}

/// `POST /crm/v3/properties/{kind}/batch/create`
pub(crate) async fn batch_create(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path(kind): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let forms = read_body::<Inputs>(&body)?.inputs;
    if forms.is_empty() || forms.len() > INPUTS_MAX {
        return Err(Problem::invalid(format!(
            "A batch may have 1 to {INPUTS_MAX} inputs, but this one has {}",
            forms.len()
        )));
    }
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    {
        let mut portal = system.portal();
        for form in forms {
            match add(&mut portal, kind, form) {
                Ok(shown) => results.push(shown),
                Err(problem) => errors.push(problem.in_batch()),
            }
        }
    }
    Ok(complete(&system, StatusCode::CREATED, results, errors))
}

fn add(portal: &mut Portal, kind: Kind, form: PropertyForm) -> Result<Value, Problem> {
    let name = &form.name;
    let well_named = name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !well_named {
        return Err(Problem::invalid(format!(
            "Property name {name} must be lower case letters, digits and underscores, a letter first"
        )));
    }
    if !KINDS.contains(&form.kind.as_str()) {
        return Err(Problem::invalid(format!(
            "Property type {} is not one of {}",
            form.kind,
            KINDS.join(", ")
        )));
    }
    if portal.property(kind, name).is_some() {
        let message = format!("A property named '{name}' already exists.");
        let problem = Problem::new(409, "OBJECT_ALREADY_EXISTS", message).with("name", &[name]);
        return Err(Problem {
            sub_category: "Properties.PROPERTY_WITH_NAME_EXISTS",
            ..problem
        });
    }
    let known = &mut portal.properties[kind.at()];
    let unique = known
        .iter()
        .filter(|property| property.unique && !property.native)
        .count();
    if known.len() >= PROPERTIES_MAX || (form.has_unique_value && unique >= UNIQUE_MAX) {
        return Err(Problem::invalid(
            "The limit of properties of this object is reached",
        ));
    }
    let property = Property::of(form);
    let shown = property.shown();
    known.push(property);
    Ok(shown)
}
