//! The Pub/Sub API: change events of selected objects by gRPC, in Avro.
//!
//! Served are `Subscribe`, `GetSchema` and `GetTopic` of `eventbus.v1.PubSub`, without TLS, on a port of their own.
//! Promised: credit is kept to; replay ids are opaque, and one that is too old or of another organisation is refused;
//! errors carry the code in the trailer `error-code`. Not promised: publishing, managed subscriptions, enriched
//! channels, events that merge several rows.
//!
//! `GET /_sandbox/stream` on the organisation's own port tells who has subscribed from where; `PUT` with
//! `{"keep_alive_ms": 200}` changes how often an idle stream is told so; `DELETE` breaks every open stream.
//! Gaps, overflows, expired replay ids and topics that are not there are faults (`crate::faults`).

mod avro;
mod event;
mod message;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::System;
use super::schema::Schema as Objects;
use crate::control::complaint;
use crate::faults::Fault;
use event::{SELECTED, Schema};
use message::{SchemaInfo, SchemaRequest, TopicInfo, TopicRequest};

/// How long a stream may be idle before it is told the newest replay id, in milliseconds: that of the real system.
const KEEP_ALIVE_MS: u64 = 270_000;
/// Subscriptions that are remembered; the oldest is forgotten first.
const SUBSCRIPTIONS_MAX: usize = 1_000;
/// What every error code begins with.
const ERROR_PREFIX: &str = "sfdc.platform.eventbus.grpc.";

/// A stream that was asked for.
#[derive(Debug, Clone, Serialize)]
struct Subscription {
    topic: String,
    /// `latest`, `earliest` or `custom`.
    from: &'static str,
    /// Whether it still goes on.
    open: bool,
}

/// What the streams of an organisation share.
#[derive(Debug)]
pub(crate) struct Streams {
    subscriptions: Mutex<Vec<Subscription>>,
    keep_alive_ms: AtomicU64,
    /// Counts how often all streams were broken.
    breaks: watch::Sender<u64>,
    rpcs: AtomicI64,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            subscriptions: Mutex::default(),
            keep_alive_ms: AtomicU64::new(KEEP_ALIVE_MS),
            breaks: watch::Sender::new(0),
            rpcs: AtomicI64::new(0),
        }
    }
}

impl Streams {
    fn subscriptions(&self) -> MutexGuard<'_, Vec<Subscription>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rpc_id(&self) -> String {
        format!("rpc-{:08}", self.rpcs.fetch_add(1, Ordering::Relaxed))
    }
}

/// The service, on a port of its own.
pub(crate) fn router(system: &Arc<System>) -> Router {
    let at = |method: &str| format!("/eventbus.v1.PubSub/{method}");
    Router::new()
        .route(&at("Subscribe"), post(stream::subscribe))
        .route(&at("GetSchema"), post(get_schema))
        .route(&at("GetTopic"), post(get_topic))
        .fallback(async || grpc(Status::unimplemented("no such method").into_http()))
        .with_state(Arc::clone(system))
}

/// What tests drive it with, on the organisation's port.
pub(crate) fn control(system: &Arc<System>) -> Router {
    Router::new()
        .route("/_sandbox/stream", get(show).put(set).delete(break_all))
        .with_state(Arc::clone(system))
}

fn grpc(answer: axum::http::Response<tonic::body::Body>) -> Response {
    answer.map(axum::body::Body::new).into_response()
}

/// A refusal with its code in the trailers.
fn refusal(streams: &Streams, code: Code, error: &str, message: &str) -> Status {
    let mut trailers = MetadataMap::new();
    for (name, value) in [
        ("error-code", format!("{ERROR_PREFIX}{error}")),
        ("rpc-id", streams.rpc_id()),
    ] {
        if let Ok(value) = value.parse() {
            trailers.insert(name, value);
        }
    }
    Status::with_metadata(code, message, trailers)
}

/// Checks who calls: a valid token, the address of the instance, the organisation's id. The token.
fn authorised(system: &System, headers: &MetadataMap) -> Result<String, Status> {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    if !header("instanceurl").starts_with("http") || header("tenantid") != system.users.org {
        let message = "The instanceurl or tenantid header is missing or not valid.";
        let code = "service.auth.headers.invalid";
        return Err(refusal(&system.streams, Code::InvalidArgument, code, message));
    }
    let token = header("accesstoken").to_owned();
    valid(system, &token)?;
    Ok(token)
}

fn valid(system: &System, token: &str) -> Result<(), Status> {
    match system.sessions().user(token, system.clock.now_ms()) {
        Some(_) => Ok(()),
        None => Err(refusal(
            &system.streams,
            Code::Unauthenticated,
            "service.auth.error",
            "An authentication exception occurred. rpcId: 0",
        )),
    }
}

/// `/data/LeadChangeEvent`: the position of its object and the schema of its events.
fn topic(system: &System, name: &str) -> Result<(usize, Arc<Schema>), Status> {
    let object = name
        .strip_prefix("/data/")
        .and_then(|event| event.strip_suffix("ChangeEvent"));
    let object = object.filter(|object| SELECTED.contains(object));
    let missing = |object: &str| {
        let fault =
            |fault: &Fault| matches!(fault, Fault::NoTopic { object: only } if of(only.as_deref(), object));
        system.faults.meets(fault)
    };
    match object.filter(|object| !missing(object)) {
        Some(object) => {
            let table = Objects::get().at(object);
            Ok((table, schema(table)))
        }
        None => Err(refusal(
            &system.streams,
            Code::NotFound,
            "topic.not.found",
            &format!("The topic {name} does not exist. rpcId: 0"),
        )),
    }
}

/// Whether a fault of one object, or of any, is about this one.
fn of(only: Option<&str>, object: &str) -> bool {
    only.is_none_or(|only| only.eq_ignore_ascii_case(object))
}

/// The schema of an object's events; the objects do not change while the process runs.
fn schema(table: usize) -> Arc<Schema> {
    static SCHEMAS: Mutex<Option<HashMap<usize, Arc<Schema>>>> = Mutex::new(None);
    let mut schemas = SCHEMAS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = schemas.get_or_insert_default().entry(table);
    Arc::clone(known.or_insert_with(|| Arc::new(Schema::of(&Objects::get().objects[table]))))
}

/// The future of a call that is answered once.
type Once<T> = Pin<Box<dyn Future<Output = Result<tonic::Response<T>, Status>> + Send>>;

struct Unary<F>(F);

impl<F, M, T> tonic::server::UnaryService<M> for Unary<F>
where
    F: FnMut(&tonic::Request<M>) -> Result<T, Status>,
    T: Send + 'static,
{
    type Response = T;
    type Future = Once<T>;

    fn call(&mut self, request: tonic::Request<M>) -> Once<T> {
        let answer = (self.0)(&request).map(tonic::Response::new);
        Box::pin(async { answer })
    }
}

async fn get_schema(State(system): State<Arc<System>>, request: Request) -> Response {
    let answer = |request: &tonic::Request<SchemaRequest>| {
        authorised(&system, request.metadata())?;
        let wanted = &request.get_ref().schema_id;
        let mut schemas = SELECTED.iter().map(|object| schema(Objects::get().at(object)));
        let missing = system.faults.meets(|fault| *fault == Fault::NoSchema);
        match schemas.find(|schema| schema.id == *wanted && !missing) {
            Some(schema) => Ok(SchemaInfo {
                schema_json: schema.json.clone(),
                schema_id: schema.id.clone(),
                rpc_id: system.streams.rpc_id(),
            }),
            None => Err(refusal(
                &system.streams,
                Code::NotFound,
                "schema.not.found",
                "There is no schema with this id.",
            )),
        }
    };
    let mut server = tonic::server::Grpc::new(ProstCodec::default());
    grpc(server.unary(Unary(answer), request).await)
}

async fn get_topic(State(system): State<Arc<System>>, request: Request) -> Response {
    let answer = |request: &tonic::Request<TopicRequest>| {
        authorised(&system, request.metadata())?;
        let name = &request.get_ref().topic_name;
        let (_, schema) = topic(&system, name)?;
        Ok(TopicInfo {
            topic_name: name.clone(),
            tenant_guid: system.users.org.clone(),
            can_publish: false,
            can_subscribe: true,
            schema_id: schema.id.clone(),
            rpc_id: system.streams.rpc_id(),
        })
    };
    let mut server = tonic::server::Grpc::new(ProstCodec::default());
    grpc(server.unary(Unary(answer), request).await)
}

async fn show(State(system): State<Arc<System>>) -> Response {
    let subscriptions = system.streams.subscriptions().clone();
    let keep_alive_ms = system.streams.keep_alive_ms.load(Ordering::Relaxed);
    Json(json!({ "subscriptions": subscriptions, "keep_alive_ms": keep_alive_ms })).into_response()
}

/// What can be set of the streams.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    keep_alive_ms: u64,
}

async fn set(State(system): State<Arc<System>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Set>(&body) {
        Ok(Set { keep_alive_ms }) if keep_alive_ms > 0 => {
            system
                .streams
                .keep_alive_ms
                .store(keep_alive_ms, Ordering::Relaxed);
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(_) => complaint(StatusCode::BAD_REQUEST, "`keep_alive_ms` is at least 1"),
        Err(error) => complaint(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn break_all(State(system): State<Arc<System>>) -> StatusCode {
    system.streams.breaks.send_modify(|breaks| *breaks += 1);
    StatusCode::NO_CONTENT
}
