//! Who calls, and in which version of the API: what every route of the API needs to know first.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};

use super::refusal::Refusal;
use super::rows::By;
use super::{System, VERSIONS};

/// An authorised call.
pub(crate) struct Visit {
    /// The id of the calling user.
    pub(crate) user: String,
    /// The version as it stands in the path: `v68.0`.
    pub(crate) version: String,
    /// The version in tenths.
    pub(crate) tenths: u16,
    /// How change events name the way that this call's writes came by.
    pub(crate) origin: String,
}

impl Visit {
    /// The author of what this call writes.
    pub(crate) fn by<'a>(&'a self, system: &'a System) -> By<'a> {
        By {
            user: &self.user,
            now_ms: system.clock.now_ms(),
            origin: &self.origin,
            faults: Some(&system.faults),
        }
    }
}

/// The refusal of a missing, unknown or expired token.
pub(crate) fn expired() -> Refusal {
    Refusal::bad("INVALID_SESSION_ID", "Session expired or invalid").with_status(401)
}

/// The token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth"))
        .then(|| token.trim().to_owned())
}

/// `com/salesforce/api/rest/68.0;client=interconnect`, with the name that the caller gave itself.
fn origin(version: &str, headers: &HeaderMap) -> String {
    let options = headers
        .get("sforce-call-options")
        .and_then(|value| value.to_str().ok());
    let client = options.and_then(|options| {
        let mut options = options.split(',').map(str::trim);
        options.find_map(|option| option.strip_prefix("client="))
    });
    let way = format!("com/salesforce/api/rest/{}", version.trim_start_matches('v'));
    match client {
        Some(client) => format!("{way};client={client}"),
        None => way,
    }
}

/// `v68.0` as 680.
pub(crate) fn tenths(version: &str) -> Option<u16> {
    let (whole, part) = version.strip_prefix('v')?.split_once('.')?;
    let tenths = whole
        .parse::<u16>()
        .ok()?
        .checked_mul(10)?
        .checked_add(part.parse().ok()?)?;
    VERSIONS.contains(&tenths).then_some(tenths)
}

impl FromRequestParts<Arc<System>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, system: &Arc<System>) -> Result<Self, Response> {
        let token = bearer(&parts.headers).ok_or_else(|| expired().into_response())?;
        let user = system
            .sessions()
            .user(&token, system.clock.now_ms())
            .ok_or_else(|| expired().into_response())?;
        let path = parts.uri.path().strip_prefix("/services/data/");
        let Some(path) = path else {
            // Identity and user info have no version.
            return Ok(Self {
                user,
                version: String::new(),
                tenths: 0,
                origin: String::new(),
            });
        };
        let version = path.split('/').next().unwrap_or_default().to_owned();
        let tenths = tenths(&version).ok_or_else(|| Refusal::not_found().into_response())?;
        Ok(Self {
            user,
            origin: origin(&version, &parts.headers),
            version,
            tenths,
        })
    }
}
