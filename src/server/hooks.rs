//! `POST /hooks/{partner}` and `POST /hooks/connections/{connection}`: webhooks come in; by `GET`, challenges.

use async_trait::async_trait;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;
use ledger::Refusal;
use relay::{Receipt, Refused};

use crate::watch::{Line, TraceId};
use crate::{ErrorStatus, Hub, Problem, body};

/// Characters of a name or an id that are kept with a refusal.
const REFUSAL_CHARS_MAX: usize = 100;
/// The code of a refusal that lasts until somebody configures what a connection lacks.
const CANNOT_VERIFY: &str = "cannot_verify";

/// A system's webhook without its body.
#[derive(Clone, Debug)]
pub struct IncomingParts {
    /// The method.
    pub method: Method,
    /// The path and the query, as they came.
    pub uri: Uri,
    /// The headers, as they came.
    pub headers: HeaderMap,
    /// When it came.
    pub received_at: Timestamp,
    /// Ties together what belongs to one journey.
    pub trace: String,
}

/// Why a system's webhook was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookRefusal {
    /// No connection of that name takes webhooks.
    UnknownConnection,
    /// It is not signed; what is missing.
    Unsigned(String),
    /// Its signature cannot be read; why.
    Malformed(String),
    /// Its signature is wrong.
    WrongSignature,
    /// It was signed too long ago; how long.
    Stale(String),
    /// It was signed in the future; how far.
    Future(String),
    /// It is signed, but cannot be read; why.
    Unreadable(String),
    /// The connection is not configured to verify any; what it lacks, for the log only.
    CannotVerify(String),
    /// Too much waits to be written.
    Busy,
    /// Something of ours failed; for the log only.
    Failed(String),
}

/// What a system that asks for something back gets, with status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookAnswer {
    /// The media type.
    pub content_type: &'static str,
    /// The text.
    pub body: String,
}

/// Takes webhooks of systems: verifies them as the connection's connector says, and keeps what they mean.
#[async_trait]
pub trait SystemHooks: Send + Sync {
    /// Takes one; answered when it is on disk, or at once with what it asks for.
    async fn receive(
        &self,
        connection: &str,
        request: IncomingParts,
        body: Bytes,
    ) -> Result<Option<HookAnswer>, HookRefusal>;
}

/// A partner says something.
pub(crate) async fn partner(
    State(hub): State<Hub>,
    Path(partner): Path<String>,
    Extension(TraceId(trace)): Extension<TraceId>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let taken = match read(&hub, &parts, body).await {
        Ok(body) => {
            let (now, bytes) = ((hub.clock)(), body.len() as u64);
            let receipt = hub
                .intake
                .receive(&partner, &parts.headers, body, now, &trace)
                .await;
            receipt.map_err(|refused| (Problem::from(refused), bytes))
        }
        Err(unread) => Err(unread),
    };
    match taken {
        Ok(receipt) => accepted(partner, &receipt),
        Err((problem, bytes)) => refused(&hub, &partner, &parts.headers, problem, bytes),
    }
}

/// A system says something.
pub(crate) async fn connection(
    State(hub): State<Hub>,
    Path(connection): Path<String>,
    Extension(TraceId(trace)): Extension<TraceId>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    let taken = match read(&hub, &parts, body).await {
        Ok(body) => {
            let bytes = body.len() as u64;
            let incoming = IncomingParts {
                method: parts.method,
                uri: parts.uri,
                headers: parts.headers,
                received_at: (hub.clock)(),
                trace,
            };
            let taken = hub.systems.receive(&connection, incoming, body).await;
            taken.map_err(|refusal| (Problem::from(refusal), bytes))
        }
        Err(unread) => Err(unread),
    };
    match taken {
        Ok(answer) => taken_from(connection, answer),
        Err((problem, bytes)) => refused(&hub, &connection, &headers, problem, bytes),
    }
}

fn taken_from(connection: String, answer: Option<HookAnswer>) -> Response {
    let line = Line {
        subject: connection,
        decision: if answer.is_some() { "answered" } else { "accepted" },
        ..Line::default()
    };
    let Some(answer) = answer else {
        return (Extension(line), StatusCode::NO_CONTENT).into_response();
    };
    // What is sent back came from outside: no browser may take it for more than it says it is.
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(answer.content_type)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (Extension(line), headers, answer.body).into_response()
}

async fn read(hub: &Hub, parts: &Parts, body: Body) -> Result<Bytes, (Problem, u64)> {
    let read = body::read(hub, parts, body).await;
    read.map_err(|unread| (unread.problem, unread.read_bytes))
}

fn accepted(partner: String, receipt: &Receipt) -> Response {
    let event = receipt.event.to_string();
    let body = format!(r#"{{"id":"{event}","duplicate":{}}}"#, receipt.duplicate);
    let status = if receipt.duplicate {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let line = Line {
        subject: partner,
        event,
        decision: if receipt.duplicate {
            "duplicate"
        } else {
            "accepted"
        },
    };
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, json, Extension(line), body).into_response()
}

/// Answers a refusal and leaves its trace; what failed on our side is in the log instead, and what somebody must configure
/// is in both.
fn refused(hub: &Hub, subject: &str, headers: &HeaderMap, problem: Problem, body_bytes: u64) -> Response {
    let cut = |text: &str| text.chars().take(REFUSAL_CHARS_MAX).collect::<String>();
    if problem.status.as_u16() < 500 || problem.code == CANNOT_VERIFY {
        let id = headers.get("webhook-id").and_then(|value| value.to_str().ok());
        hub.refusals.note(Refusal {
            at: (hub.clock)(),
            addressed_to: cut(subject),
            status: problem.status.as_u16(),
            code: problem.code.to_owned(),
            webhook_id: cut(id.unwrap_or("")),
            body_bytes,
        });
    }
    let line = Line {
        subject: cut(subject),
        ..Line::default()
    };
    (Extension(line), problem).into_response()
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let code = refused.code();
        let status = match &refused {
            Refused::UnknownPartner => return Problem::not_found("there is nothing at this address"),
            Refused::Unverified(relay::standard::Unverified::Malformed { .. })
            | Refused::NotJson(_)
            | Refused::Document(..)
            | Refused::Hops(relay::hops::BadHops::Malformed) => ErrorStatus::BAD_REQUEST,
            Refused::Unverified(_) => ErrorStatus::UNAUTHORIZED,
            Refused::Shape(_)
            | Refused::UnknownType(_)
            | Refused::Invalid(_)
            | Refused::NotMade(_)
            | Refused::CloudEvent(_)
            | Refused::Reserved(_)
            | Refused::KeyReused
            | Refused::IdReused(_)
            | Refused::Hops(_) => ErrorStatus::UNPROCESSABLE,
            Refused::NoProgram(_) => ErrorStatus::UNSUPPORTED,
            Refused::TooFast { retry_after_s } => {
                return Problem::new(ErrorStatus::TOO_MANY, code, refused.to_string())
                    .retry_after_s(*retry_after_s);
            }
            Refused::Busy => {
                return Problem::busy("too many events wait to be written; send it again shortly");
            }
            Refused::Ledger(error) => {
                return Problem::unavailable("the event could not be kept; send it again")
                    .log(error.to_string());
            }
        };
        Problem::new(status, code, refused.to_string())
    }
}

impl From<HookRefusal> for Problem {
    fn from(refusal: HookRefusal) -> Problem {
        match refusal {
            HookRefusal::UnknownConnection => Problem::not_found("there is nothing at this address"),
            HookRefusal::Unsigned(missing) => {
                Problem::new(ErrorStatus::UNAUTHORIZED, "signature_missing", missing)
            }
            HookRefusal::Malformed(detail) => {
                Problem::new(ErrorStatus::BAD_REQUEST, "signature_malformed", detail)
            }
            HookRefusal::WrongSignature => Problem::new(
                ErrorStatus::UNAUTHORIZED,
                "signature_wrong",
                "the signature does not fit the bytes that were sent",
            ),
            HookRefusal::Stale(detail) => Problem::new(ErrorStatus::UNAUTHORIZED, "stale", detail),
            HookRefusal::Future(detail) => Problem::new(ErrorStatus::UNAUTHORIZED, "from_the_future", detail),
            HookRefusal::Unreadable(detail) => Problem::new(ErrorStatus::UNPROCESSABLE, "unreadable", detail),
            HookRefusal::CannotVerify(log) => Problem::new(
                ErrorStatus::UNAVAILABLE,
                CANNOT_VERIFY,
                "the connection is not configured to verify webhooks; who runs the hub sees in its log what is missing",
            )
            .log(log)
            .retry_after_s(60),
            HookRefusal::Busy => Problem::busy("too much waits to be written; send it again shortly"),
            HookRefusal::Failed(log) => {
                Problem::unavailable("the webhook could not be kept; send it again").log(log)
            }
        }
    }
}
