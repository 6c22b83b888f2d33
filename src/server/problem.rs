//! [`Problem`]: an error as RFC 9457 wants it.
//!
//! A handler says what is wrong; the outermost layer (`watch.rs`) knows the trace id, writes the body and the line in
//! the log.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ledger::LedgerError;
use serde::Serialize;

/// A status of 400 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorStatus(StatusCode);

impl ErrorStatus {
    /// 400.
    pub const BAD_REQUEST: ErrorStatus = ErrorStatus(StatusCode::BAD_REQUEST);
    /// 401.
    pub const UNAUTHORIZED: ErrorStatus = ErrorStatus(StatusCode::UNAUTHORIZED);
    /// 403.
    pub const FORBIDDEN: ErrorStatus = ErrorStatus(StatusCode::FORBIDDEN);
    /// 404.
    pub const NOT_FOUND: ErrorStatus = ErrorStatus(StatusCode::NOT_FOUND);
    /// 405.
    pub const METHOD_NOT_ALLOWED: ErrorStatus = ErrorStatus(StatusCode::METHOD_NOT_ALLOWED);
    /// 408.
    pub const REQUEST_TIMEOUT: ErrorStatus = ErrorStatus(StatusCode::REQUEST_TIMEOUT);
    /// 409.
    pub const CONFLICT: ErrorStatus = ErrorStatus(StatusCode::CONFLICT);
    /// 413.
    pub const PAYLOAD_TOO_LARGE: ErrorStatus = ErrorStatus(StatusCode::PAYLOAD_TOO_LARGE);
    /// 422.
    pub const UNPROCESSABLE: ErrorStatus = ErrorStatus(StatusCode::UNPROCESSABLE_ENTITY);
    /// 415.
    pub const UNSUPPORTED: ErrorStatus = ErrorStatus(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    /// 429.
    pub const TOO_MANY: ErrorStatus = ErrorStatus(StatusCode::TOO_MANY_REQUESTS);
    /// 500.
    pub const INTERNAL: ErrorStatus = ErrorStatus(StatusCode::INTERNAL_SERVER_ERROR);
    /// 503.
    pub const UNAVAILABLE: ErrorStatus = ErrorStatus(StatusCode::SERVICE_UNAVAILABLE);

    /// The number.
    pub fn as_u16(self) -> u16 {
        self.0.as_u16()
    }

    fn title(self) -> &'static str {
        self.0.canonical_reason().unwrap_or("Error")
    }
}

/// What is wrong, told twice.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(crate) status: ErrorStatus,
    pub(crate) code: &'static str,
    /// For the caller.
    pub(crate) detail: Cow<'static, str>,
    /// For the log, when there is more to say than what the caller may know.
    pub(crate) log: Option<String>,
    pub(crate) retry_after_s: Option<u32>,
}

/// A problem on the wire.
#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    trace_id: &'a str,
}

impl Problem {
    /// A problem with a code, which never changes, and a sentence, which may.
    pub fn new(status: ErrorStatus, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            status,
            code,
            detail: detail.into(),
            log: None,
            retry_after_s: None,
        }
    }

    /// With what only the log may know.
    pub fn log(mut self, log: impl Into<String>) -> Problem {
        self.log = Some(log.into());
        self
    }

    /// With the seconds after which to try again.
    pub fn retry_after_s(mut self, seconds: u32) -> Problem {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(ErrorStatus::NOT_FOUND, "not_found", detail)
    }

    pub(crate) fn method_not_allowed() -> Problem {
        Problem::new(
            ErrorStatus::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this address is there, but not for this method",
        )
    }

    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(ErrorStatus::BAD_REQUEST, "bad_request", detail)
    }

    pub(crate) fn unauthorized(detail: &'static str) -> Problem {
        Problem::new(ErrorStatus::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(crate) fn forbidden(detail: &'static str) -> Problem {
        Problem::new(ErrorStatus::FORBIDDEN, "forbidden", detail)
    }

    pub(crate) fn busy(detail: &'static str) -> Problem {
        Problem::new(ErrorStatus::UNAVAILABLE, "busy", detail).retry_after_s(1)
    }

    pub(crate) fn unavailable(detail: &'static str) -> Problem {
        Problem::new(ErrorStatus::UNAVAILABLE, "unavailable", detail).retry_after_s(5)
    }

    /// The problem of a status that was answered without one, by a library.
    pub(crate) fn of_status(status: StatusCode) -> Option<Problem> {
        let error = status.is_client_error() || status.is_server_error();
        error.then(|| {
            let code = if status.is_client_error() {
                "bad_request"
            } else {
                "internal"
            };
            Problem::new(ErrorStatus(status), code, "the request could not be read")
        })
    }

    /// The answer, once the trace id is known.
    pub(crate) fn respond(&self, trace_id: &str, headers: HeaderMap) -> Response {
        let body = ProblemBody {
            r#type: format!("urn:interconnect:problem:{}", self.code),
            title: self.status.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            trace_id,
        };
        let body = serde_json::to_vec(&body).expect("plain fields serialise");
        let mut response = (self.status.0, headers, body).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Problem {
        let problem = match &error {
            LedgerError::Busy { .. } => Problem::busy("too much waits to be written; try again shortly"),
            _ => Problem::unavailable("the ledger cannot be reached at present; try again"),
        };
        problem.log(error.to_string())
    }
}
