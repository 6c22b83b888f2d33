//! Who calls: the app behind a token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::System;
use super::event::Source;
use super::oauth::Standing;
use super::problem::Problem;
use super::rows::By;
use super::value::moment;

/// An authorised call.
pub(crate) struct Visit {
    app: u64,
}

impl Visit {
    /// The author of what this call writes.
    pub(crate) fn by<'a>(&self, system: &'a System) -> By<'a> {
        By {
            source: Source::App(self.app),
            now_ms: system.clock.now_ms(),
            faults: Some(&system.faults),
        }
    }
}

/// The token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

/// The refusal of an expired token.
pub(crate) fn expired(now_ms: i64) -> Response {
    let message = "The OAuth token used to make this call expired 0 second(s) ago.";
    let mut problem = Problem::new(401, "EXPIRED_AUTHENTICATION", message);
    let at = moment(now_ms);
    problem.context.insert("expire time".into(), json!([at]));
    unauthorised(problem)
}

fn unauthorised(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(
        "x-hubspot-auth-failure",
        HeaderValue::from_static("401 Unauthorized"),
    );
    response
}

impl FromRequestParts<Arc<System>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, system: &Arc<System>) -> Result<Self, Response> {
        let now_ms = system.clock.now_ms();
        let standing = bearer(&parts.headers).map(|token| system.sessions().standing(&token, now_ms));
        match standing {
            Some(Standing::Valid { app, .. }) => Ok(Self { app }),
            Some(Standing::Expired) => Err(expired(now_ms)),
            Some(Standing::Unknown) | None => {
                let message = "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview";
                Err(unauthorised(Problem::new(401, "INVALID_AUTHENTICATION", message)))
            }
        }
    }
}
