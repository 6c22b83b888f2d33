//! An emulated HubSpot account: OAuth, objects, batches, search, properties, associations, webhooks.
//!
//! Promised: answers shaped like recorded ones, the error categories of the real system for what a connector can get
//! wrong, values as the texts HubSpot stores, modified dates that strictly increase, a search index that can lag.
//! Not promised: leads, custom objects, merges, property history, rate limits other than by the fault `limit`.
//!
//! The same handlers serve the paths of v3 and v4 and the dated ones (`2026-03`, `2026-09`): [`paths`] respells the
//! latter. Two apps write: the integration's, by OAuth or its private token, and another one by a second private
//! token, so that a test can tell their changes apart.

mod account;
mod associations;
mod batch;
mod event;
mod handle;
mod kind;
mod links;
mod oauth;
mod objects;
mod paths;
mod pipelines;
mod problem;
mod properties;
mod property;
mod rows;
mod search;
mod show;
mod signature;
mod standard;
mod value;
mod visit;
mod webhooks;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use serde_json::Value;

use crate::calls::{CallBook, Class};
use crate::clock::Clock;
use crate::faults::{Fault, FaultBook, LimitPolicy};
use crate::gate::{self, Faulty, Guarded};
use crate::random::Random;
use crate::{BODY_BYTES_MAX, control};

pub use associations::LINKS_MAX;
pub use handle::HubSpot;
pub use oauth::{CLIENT_ID, CLIENT_SECRET, OTHER_APP_TOKEN, PRIVATE_APP_TOKEN, REFRESH_TOKEN};
pub use rows::ROWS_MAX;
pub use webhooks::{ATTEMPTS_MAX, QUEUE_EVENTS_MAX, WebhookCounts, WebhookTarget};

pub(crate) use paths::respell;
pub(crate) use webhooks::send_for_ever;

use oauth::Sessions;
use problem::Problem;
use rows::Portal;
use webhooks::Webhooks;

/// The account's id.
pub const PORTAL_ID: u64 = 44_237_313;
/// The id of the integration's app.
pub const APP_ID: u64 = 19_083_857;
/// The id of the other app.
pub const OTHER_APP_ID: u64 = 20_110_042;
/// Calls the account may make in a day, as headers tell. Never enforced; the fault `limit` does.
const DAILY_CALLS_MAX: u64 = 650_000;

/// The whole system behind its routes.
pub(crate) struct System {
    portal: Mutex<Portal>,
    sessions: Mutex<Sessions>,
    random: Mutex<Random>,
    pub(crate) webhooks: Webhooks,
    faults: FaultBook,
    calls: CallBook,
    clock: Arc<dyn Clock>,
    /// How far the search index lags when no fault says otherwise.
    search_lag_ms: u64,
}

impl System {
    pub(crate) fn new(clock: Arc<dyn Clock>, seed: u64, token_life_ms: i64, search_lag_ms: u64) -> Self {
        let mut random = Random::seeded(seed ^ 0x8B5);
        let first_id = 171_500_000_000 + random.next() % 90_000_000;
        let sessions = Sessions::new(Random::seeded(random.next()), token_life_ms);
        Self {
            portal: Mutex::new(Portal::new(first_id)),
            sessions: Mutex::new(sessions),
            webhooks: Webhooks::new(random.next() % 1_000_000_000),
            random: Mutex::new(random),
            faults: FaultBook::default(),
            calls: CallBook::default(),
            clock,
            search_lag_ms,
        }
    }

    fn portal(&self) -> MutexGuard<'_, Portal> {
        self.portal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to the portal and hands what happened to the webhooks.
    fn write<T>(&self, work: impl FnOnce(&mut Portal) -> T) -> T {
        let mut portal = self.portal();
        let result = work(&mut portal);
        let changes = std::mem::take(&mut portal.changes);
        // Still under the portal's lock, so that events keep the order of writes.
        self.webhooks.queue(changes);
        result
    }

    fn correlation_id(&self) -> String {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).uuid()
    }
}

/// Every route of the system, in the spelling of v3 and v4.
pub(crate) fn router(system: &Arc<System>) -> Router {
    let api = Router::new()
        .route("/crm/v3/objects/{kind}", get(objects::list).post(objects::create))
        .route(
            "/crm/v3/objects/{kind}/{id}",
            get(objects::read).patch(objects::update).delete(objects::archive),
        )
        .route("/crm/v3/objects/{kind}/search", post(search::search))
        .route("/crm/v3/objects/{kind}/batch/create", post(batch::create))
        .route("/crm/v3/objects/{kind}/batch/read", post(batch::read))
        .route("/crm/v3/objects/{kind}/batch/update", post(batch::update))
        .route("/crm/v3/objects/{kind}/batch/upsert", post(batch::upsert))
        .route("/crm/v3/objects/{kind}/batch/archive", post(batch::archive))
        .route("/crm/v4/objects/{kind}/{id}/associations/{to}", get(links::list))
        .route(
            "/crm/v4/objects/{kind}/{id}/associations/{to}/{to_id}",
            put(links::put).delete(links::remove),
        )
        .route(
            "/crm/v4/objects/{kind}/{id}/associations/default/{to}/{to_id}",
            put(links::put_default),
        )
        .route(
            "/crm/v4/associations/{from}/{to}/batch/read",
            post(links::batch_read),
        )
        .route(
            "/crm/v4/associations/{from}/{to}/batch/create",
            post(links::batch_create),
        )
        .route(
            "/crm/v4/associations/{from}/{to}/batch/associate/default",
            post(links::batch_default),
        )
        .route(
            "/crm/v4/associations/{from}/{to}/batch/archive",
            post(links::batch_archive),
        )
        .route("/crm/v4/associations/{from}/{to}/labels", get(links::labels))
        .route(
            "/crm/v3/properties/{kind}",
            get(properties::list).post(properties::create),
        )
        .route("/crm/v3/properties/{kind}/{name}", get(properties::read))
        .route(
            "/crm/v3/properties/{kind}/batch/create",
            post(properties::batch_create),
        )
        .route("/crm/v3/pipelines/{kind}", get(pipelines::list))
        .route("/crm/v3/pipelines/{kind}/{id}", get(pipelines::read))
        .route("/crm/v3/pipelines/{kind}/{id}/stages", get(pipelines::stages))
        .route("/crm/v3/owners", get(account::owners))
        .route("/crm/v3/owners/{id}", get(account::owner))
        .route("/crm-object-schemas/v3/schemas", get(account::schemas))
        .route("/account-info/v3/details", get(account::details))
        .route("/oauth/v1/token", post(oauth::token))
        .route("/oauth/v3/token", post(oauth::token))
        .route("/oauth/v3/token/introspect", post(oauth::introspect))
        .route("/oauth/v1/access-tokens/{token}", get(oauth::access_token))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::new(405, "METHOD_NOT_ALLOWED", "method not allowed"))
        .layer(from_fn_with_state(Arc::clone(system), gate::pass::<System>))
        .layer(from_fn_with_state(Arc::clone(system), finish))
        .with_state(Arc::clone(system));
    api.merge(control::faults(Arc::clone(system)))
        .merge(control::calls(Arc::clone(system)))
        .merge(control::tables(Arc::clone(system)))
        .merge(webhooks::router(Arc::clone(system)))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Gives every answer its headers, and a problem its body.
async fn finish(State(system): State<Arc<System>>, request: Request, next: Next) -> Response {
    let is_search = request.uri().path().ends_with("/search");
    let mut response = next.run(request).await;
    let correlation_id = system.correlation_id();
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let headers = std::mem::take(response.headers_mut());
        response = answer(response.status(), &problem.body(&correlation_id));
        for name in ["retry-after", "x-hubspot-auth-failure"] {
            if let Some(value) = headers.get(name) {
                response
                    .headers_mut()
                    .insert(HeaderName::from_static(name), value.clone());
            }
        }
    }
    let mut tell = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    };
    tell("x-hubspot-correlation-id", &correlation_id);
    if !is_search {
        let left = DAILY_CALLS_MAX.saturating_sub(system.calls.total());
        tell("x-hubspot-ratelimit-daily", &DAILY_CALLS_MAX.to_string());
        tell("x-hubspot-ratelimit-daily-remaining", &left.to_string());
        tell("x-hubspot-ratelimit-interval-milliseconds", "10000");
        tell("x-hubspot-ratelimit-max", "190");
        tell("x-hubspot-ratelimit-remaining", "189");
    }
    response
}

impl Faulty for System {
    fn faults(&self) -> &FaultBook {
        &self.faults
    }
}

impl Guarded for System {
    fn classify(&self, method: &Method, route: &str) -> Class {
        if route.starts_with("/oauth") {
            Class::Auth
        } else if method == Method::GET || route.ends_with("/search") || route.ends_with("/batch/read") {
            Class::Read
        } else {
            Class::Write
        }
    }

    fn refuse(&self, fault: &Fault, request: &HeaderMap) -> Response {
        match fault {
            Fault::ExpireToken => {
                if let Some(token) = visit::bearer(request) {
                    self.sessions().end(&token);
                }
                visit::expired(self.clock.now_ms())
            }
            Fault::Limit { policy } => limited(*policy).into_response(),
            Fault::Status {
                status,
                retry_after_s,
            } => {
                let mut response = Problem::new(*status, "INTERNAL_ERROR", "internal error").into_response();
                if let Some(seconds) = retry_after_s {
                    response
                        .headers_mut()
                        .insert("retry-after", HeaderValue::from(*seconds));
                }
                response
            }
            _ => Problem::new(503, "SERVICE_UNAVAILABLE", "service unavailable").into_response(),
        }
    }

    fn calls(&self) -> &CallBook {
        &self.calls
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

fn limited(policy: LimitPolicy) -> Problem {
    let (name, message) = match policy {
        LimitPolicy::Secondly => ("SECONDLY", "You have reached your secondly limit."),
        LimitPolicy::TenSecondlyRolling => (
            "TEN_SECONDLY_ROLLING",
            "You have reached your ten_secondly_rolling limit.",
        ),
        LimitPolicy::Daily => ("DAILY", "You have reached your daily limit."),
    };
    Problem {
        policy: Some(name),
        ..Problem::new(429, "", message)
    }
}

/// A JSON answer with the content type HubSpot gives it.
fn answer(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(CONTENT_TYPE, "application/json;charset=utf-8")],
        body.to_string(),
    )
        .into_response()
}

/// A request's body as JSON of one shape.
fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        Problem::invalid(format!(
            "Invalid input JSON on line {}, column {}: {error}",
            error.line(),
            error.column()
        ))
    })
}

/// The kind a path names.
fn kind_named(name: &str) -> Result<kind::Kind, Problem> {
    kind::Kind::named(name).ok_or_else(|| Problem {
        category: "",
        ..Problem::invalid(format!("Unable to infer object type from: {name}"))
    })
}
