//! `GET /v1/refusals`: the webhooks that were refused.

use axum::Json;
use jiff::Timestamp;
use ledger::Refusal;
use serde::{Deserialize, Serialize};

use crate::Problem;
use crate::key::Admin;
use crate::query::{Asked, Page, limit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct RefusalView {
    at: Timestamp,
    addressed_to: String,
    status: u16,
    code: String,
    webhook_id: String,
    body_bytes: u64,
}

impl From<Refusal> for RefusalView {
    fn from(refusal: Refusal) -> RefusalView {
        RefusalView {
            at: refusal.at,
            addressed_to: refusal.addressed_to,
            status: refusal.status,
            code: refusal.code,
            webhook_id: refusal.webhook_id,
            body_bytes: refusal.body_bytes,
        }
    }
}

/// Newest first; the ledger keeps the last ones only, so there is one page.
pub(crate) async fn list(
    Admin(hub): Admin,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Page<RefusalView>>, Problem> {
    let limit = limit(query.limit)?;
    let refusals = hub.ledger.refusals(limit).await?;
    Ok(Json(Page::new(
        refusals,
        limit,
        |_| String::new(),
        RefusalView::from,
    )))
}
