//! An emulated Salesforce organisation: OAuth, describe, SOQL, rows and collections over REST, jobs of Bulk API 2.0, and
//! change events by the Pub/Sub API.
//!
//! Promised: answers shaped like recorded ones, the error codes of the real system for what a connector can get wrong,
//! amounts that keep every digit, `SystemModstamp` that strictly increases, collections with one outcome per record.
//! Not promised: SOAP, Bulk API 1.0, composite requests, duplicate rules, sharing.
//!
//! Any API version from 20.0 to 68.0 is served. Two users write: the integration's, by client credentials or refresh
//! token, and a sales representative, by password or refresh token, so that a test can tell their changes apart.

mod bulk;
mod change;
mod check;
mod collections;
mod cursors;
mod derive;
mod describe;
mod field;
mod handle;
mod ids;
mod oauth;
pub(crate) mod pubsub;
mod query;
mod refusal;
mod rest;
mod rows;
mod schema;
mod seed;
mod sessions;
mod soql;
mod standard;
mod value;
mod visit;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::Value;

use crate::calls::{CallBook, Class};
use crate::clock::Clock;
use crate::faults::{Fault, FaultBook};
use crate::gate::{self, Faulty, Guarded};
use crate::random::Random;
use crate::{BODY_BYTES_MAX, control};

pub use handle::Salesforce;
pub use rows::ROWS_MAX;
pub use sessions::{
    CLIENT_ID, CLIENT_SECRET, INTEGRATION_REFRESH_TOKEN, REP_PASSWORD, REP_REFRESH_TOKEN, REP_USERNAME,
};

use cursors::Cursors;
use refusal::Refusal;
use rows::Org;
use sessions::Sessions;

/// Calls the organisation may make in a day, as its limits tell. The sandbox never enforces it; the fault `limit` does.
const DAILY_CALLS_MAX: u64 = 5_000_000;
/// API versions served, in tenths.
const VERSIONS: std::ops::RangeInclusive<u16> = 200..=680;

/// Reads a text as SOQL, without looking at what objects and fields there are; says what is wrong with it.
pub fn read_soql(text: &str) -> Result<(), String> {
    soql::parser::parse(text)
        .map(drop)
        .map_err(|refusal| refusal.message)
}

/// Reads a text as a job of Bulk API 2.0 reads its CSV: the columns, then the rows; or says what is wrong with it.
pub fn read_csv(text: &str) -> Result<Vec<Vec<String>>, String> {
    let form = bulk::table::Form::named(None, None).map_err(|refusal| refusal.message)?;
    let table = bulk::table::Table::read(text, form)?;
    Ok(std::iter::once(table.columns).chain(table.rows).collect())
}

/// The whole system behind its routes.
pub(crate) struct System {
    org: Mutex<Org>,
    sessions: Mutex<Sessions>,
    cursors: Mutex<Cursors>,
    jobs: Mutex<bulk::job::Jobs>,
    streams: pubsub::Streams,
    faults: FaultBook,
    calls: CallBook,
    clock: Arc<dyn Clock>,
    pub(crate) users: seed::Users,
}

impl System {
    pub(crate) fn new(clock: Arc<dyn Clock>, seed: u64, token_life_ms: i64, rotates: bool) -> Self {
        let mut random = Random::seeded(seed ^ 0x5F);
        let mut org = Org::new(1 + random.next() % 1_000_000);
        let users = seed::furnish(&mut org, clock.now_ms());
        Self {
            org: Mutex::new(org),
            sessions: Mutex::new(Sessions::new(random, token_life_ms, &users, rotates)),
            cursors: Mutex::new(Cursors::default()),
            jobs: Mutex::default(),
            streams: pubsub::Streams::default(),
            faults: FaultBook::default(),
            calls: CallBook::default(),
            clock,
            users,
        }
    }

    fn org(&self) -> MutexGuard<'_, Org> {
        self.org.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cursors(&self) -> MutexGuard<'_, Cursors> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jobs(&self) -> MutexGuard<'_, bulk::job::Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every route of the system.
pub(crate) fn router(system: &Arc<System>) -> Router {
    let data = "/services/data/{version}";
    let at = |path: &str| format!("{data}{path}");
    let api = Router::new()
        .route("/services/data", get(describe::versions))
        .route(data, get(describe::resources))
        .route(&at("/limits"), get(describe::limits))
        .route(&at("/sobjects"), get(describe::global))
        .route(
            &at("/sobjects/{object}"),
            get(describe::basics).post(rest::create),
        )
        .route(&at("/sobjects/{object}/describe"), get(describe::object))
        .route(&at("/sobjects/{object}/updated"), get(rest::updated))
        .route(&at("/sobjects/{object}/deleted"), get(rest::deleted))
        .route(
            &at("/sobjects/{object}/{id}"),
            get(rest::read).patch(rest::update).delete(rest::delete),
        )
        .route(
            &at("/sobjects/{object}/{field}/{value}"),
            get(rest::read_by).patch(rest::upsert).delete(rest::delete_by),
        )
        .route(&at("/query"), get(query::query))
        .route(&at("/queryAll"), get(query::query_all))
        .route(&at("/query/{locator}"), get(query::more))
        .route(&at("/queryAll/{locator}"), get(query::more))
        .route(
            &at("/composite/sobjects"),
            post(collections::create)
                .patch(collections::update)
                .delete(collections::delete),
        )
        .route(
            &at("/composite/sobjects/{object}"),
            get(collections::read_listed).post(collections::read),
        )
        .route(
            &at("/composite/sobjects/{object}/{field}"),
            axum::routing::patch(collections::upsert),
        )
        .merge(bulk::routes(data))
        .route("/services/oauth2/authorize", get(oauth::authorize))
        .route("/services/oauth2/token", post(oauth::token))
        .route("/services/oauth2/revoke", post(oauth::revoke).get(oauth::revoke))
        .route("/services/oauth2/userinfo", get(oauth::user_info))
        .route("/id/{org}/{user}", get(oauth::identity))
        .fallback(async || Refusal::not_found())
        .method_not_allowed_fallback(async || {
            Refusal::bad("METHOD_NOT_ALLOWED", "HTTP Method not allowed for this resource").with_status(405)
        })
        .layer(from_fn_with_state(Arc::clone(system), with_usage))
        .layer(from_fn_with_state(Arc::clone(system), gate::pass::<System>))
        .with_state(Arc::clone(system));
    api.merge(control::faults(Arc::clone(system)))
        .merge(control::calls(Arc::clone(system)))
        .merge(control::tables(Arc::clone(system)))
        .merge(pubsub::control(system))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Tells how many calls were made, on every answer of the API.
async fn with_usage(State(system): State<Arc<System>>, request: Request, next: Next) -> Response {
    let is_data = request.uri().path().starts_with("/services/data");
    let mut response = next.run(request).await;
    if is_data {
        let used = system.calls.total() + 1;
        if let Ok(value) = HeaderValue::from_str(&format!("api-usage={used}/{DAILY_CALLS_MAX}")) {
            response
                .headers_mut()
                .insert(HeaderName::from_static("sforce-limit-info"), value);
        }
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
        if route.starts_with("/services/oauth2") {
            Class::Auth
        } else if method == Method::GET
            || (method == Method::POST && route.ends_with("/composite/sobjects/{object}"))
            || route.contains("/jobs/query")
        {
            Class::Read
        } else {
            Class::Write
        }
    }

    fn refuse(&self, fault: &Fault, request: &HeaderMap) -> Response {
        let refusal = match fault {
            Fault::ExpireToken => {
                if let Some(token) = visit::bearer(request) {
                    self.sessions().end(&token);
                }
                visit::expired()
            }
            Fault::Limit { .. } => Refusal::bad("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.").with_status(403),
            Fault::Status { status, .. } => {
                Refusal::bad("UNKNOWN_EXCEPTION", "An unexpected error occurred. Please include this ErrorId if you contact support: 1812443-4 (-1)")
                    .with_status(*status)
            }
            _ => Refusal::bad("SERVER_UNAVAILABLE", "Server unavailable, try again later").with_status(503),
        };
        refusal.response()
    }

    fn calls(&self) -> &CallBook {
        &self.calls
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.response()
    }
}

/// A JSON answer with the content type Salesforce gives it.
fn answer(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(CONTENT_TYPE, "application/json;charset=UTF-8")],
        body.to_string(),
    )
        .into_response()
}
