//! `GET /livez` and `GET /readyz`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::{Hub, Problem};

/// How long the ledger may take to say that it is there.
const READY_TIMEOUT_MS: u64 = 2_000;

#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
}

/// The process answers.
pub(crate) async fn livez() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// The process can do its work: the ledger can be reached and written.
pub(crate) async fn readyz(State(hub): State<Hub>) -> Result<Json<Health>, Problem> {
    let check = tokio::time::timeout(Duration::from_millis(READY_TIMEOUT_MS), hub.ledger.check());
    match check.await {
        Ok(result) => result?,
        Err(_) => {
            return Err(Problem::unavailable("the ledger does not answer")
                .log(format!("the ledger did not answer within {READY_TIMEOUT_MS} ms")));
        }
    }
    Ok(Json(Health { status: "ready" }))
}
