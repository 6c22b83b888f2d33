//! Pipelines: deals have one, the others none.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::kind::Kind;
use super::problem::Problem;
use super::standard::{PIPELINE, STAGES};
use super::visit::Visit;
use super::{answer, kind_named};

const MADE_AT: &str = "2024-01-15T09:00:00Z";

fn all_stages() -> Vec<Value> {
    let stage = |(order, stage): (usize, &super::standard::Stage)| {
        json!({
            "id": stage.id, "label": stage.label, "displayOrder": order, "archived": false,
            "metadata": { "isClosed": stage.closed.to_string(), "probability": stage.probability },
            "createdAt": MADE_AT, "updatedAt": MADE_AT, "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
        })
    };
    STAGES.iter().enumerate().map(stage).collect()
}

fn pipelines(kind: Kind) -> Vec<Value> {
    if kind != Kind::Deal {
        return Vec::new();
    }
    vec![json!({
        "id": PIPELINE, "label": "Sales Pipeline", "displayOrder": 0, "archived": false,
        "createdAt": MADE_AT, "updatedAt": MADE_AT, "stages": all_stages(),
    })]
}

fn named(kind: &str, id: &str) -> Result<Value, Problem> {
    pipelines(kind_named(kind)?)
        .into_iter()
        .find(|pipeline| pipeline["id"] == id)
        .ok_or_else(Problem::not_found)
}

/// `GET /crm/v3/pipelines/{kind}`
pub(crate) async fn list(_visit: Visit, Path(kind): Path<String>) -> Result<Response, Problem> {
    Ok(answer(
        StatusCode::OK,
        &json!({ "results": pipelines(kind_named(&kind)?) }),
    ))
}

/// `GET /crm/v3/pipelines/{kind}/{id}`
pub(crate) async fn read(
    _visit: Visit,
    Path((kind, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    Ok(answer(StatusCode::OK, &named(&kind, &id)?))
}

/// `GET /crm/v3/pipelines/{kind}/{id}/stages`
pub(crate) async fn stages(
    _visit: Visit,
    Path((kind, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    Ok(answer(
        StatusCode::OK,
        &json!({ "results": named(&kind, &id)?["stages"] }),
    ))
}
