//! OAuth 2.0: tokens by refresh token and authorisation code; private app tokens, which never expire.
//!
//! The names and secrets of the sandbox are constants, for they protect nothing: anybody may know them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{APP_ID, OTHER_APP_ID, PORTAL_ID, System, answer};
use crate::mac::same;
use crate::random::Random;

/// The client id of the integration's app.
pub const CLIENT_ID: &str = "sandbox-client-id";
/// Its client secret, which also signs webhooks.
pub const CLIENT_SECRET: &str = "sandbox-client-secret";
/// Its refresh token for this account. It does not expire.
pub const REFRESH_TOKEN: &str = "na1-sandbox-refresh-token";
/// The private token of the integration's app.
pub const PRIVATE_APP_TOKEN: &str = "pat-na1-sandbox-integration";
/// The private token of another app, for changes that are not the integration's.
pub const OTHER_APP_TOKEN: &str = "pat-na1-sandbox-other";
/// The authorisation code that can always be redeemed: nobody sits at the emulated consent screen.
const CODE: &str = "sandbox-code";

/// Access tokens that are remembered; the oldest is forgotten first.
const TOKENS_MAX: usize = 1_000;
const SCOPES: [&str; 9] = [
    "oauth",
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
    "crm.objects.companies.read",
    "crm.objects.companies.write",
    "crm.objects.deals.read",
    "crm.objects.deals.write",
    "crm.objects.owners.read",
    "crm.schemas.deals.read",
];

/// How a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Valid { app: u64, until_ms: Option<i64> },
    Expired,
    Unknown,
}

/// All access tokens.
#[derive(Debug)]
pub(crate) struct Sessions {
    random: Random,
    pub(crate) life_ms: i64,
    tokens: HashMap<String, i64>,
    order: VecDeque<String>,
}

impl Sessions {
    pub(crate) fn new(random: Random, life_ms: i64) -> Self {
        Self {
            random,
            life_ms,
            tokens: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    fn open(&mut self, now_ms: i64) -> String {
        let token = format!("CJ{}", self.random.token(70));
        self.tokens.insert(token.clone(), now_ms + self.life_ms);
        self.order.push_back(token.clone());
        if self.order.len() > TOKENS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.tokens.remove(&oldest);
        }
        token
    }

    pub(crate) fn standing(&self, token: &str, now_ms: i64) -> Standing {
        match (token, self.tokens.get(token)) {
            (PRIVATE_APP_TOKEN, _) => Standing::Valid {
                app: APP_ID,
                until_ms: None,
            },
            (OTHER_APP_TOKEN, _) => Standing::Valid {
                app: OTHER_APP_ID,
                until_ms: None,
            },
            (_, Some(until_ms)) if now_ms < *until_ms => Standing::Valid {
                app: APP_ID,
                until_ms: Some(*until_ms),
            },
            (_, Some(_)) => Standing::Expired,
            (_, None) => Standing::Unknown,
        }
    }

    /// Lets a token expire at once. Private app tokens do not expire.
    pub(crate) fn end(&mut self, token: &str) {
        if let Some(until_ms) = self.tokens.get_mut(token) {
            *until_ms = i64::MIN;
        }
    }
}

fn refused(status: &str, error: &str, message: &str) -> Response {
    let body = json!({ "error": error, "error_description": message, "status": status, "message": message });
    answer(StatusCode::BAD_REQUEST, &body)
}

/// `POST /oauth/v1/token`, `/oauth/v3/token`
pub(crate) async fn token(
    State(system): State<Arc<System>>,
    Form(fields): Form<HashMap<String, String>>,
) -> Response {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    if field("client_id") != CLIENT_ID {
        return refused("BAD_CLIENT_ID", "invalid_client", "missing or unknown client id");
    }
    if !same(field("client_secret").as_bytes(), CLIENT_SECRET.as_bytes()) {
        return refused(
            "BAD_CLIENT_SECRET",
            "invalid_client",
            "missing or invalid client secret",
        );
    }
    match field("grant_type") {
        "refresh_token" if field("refresh_token") != REFRESH_TOKEN => {
            return refused(
                "BAD_REFRESH_TOKEN",
                "invalid_grant",
                "refresh token is invalid, expired or revoked",
            );
        }
        "authorization_code" if field("code") != CODE => {
            return refused("BAD_AUTH_CODE", "invalid_grant", "missing or unknown auth code");
        }
        "refresh_token" | "authorization_code" => {}
        _ => {
            return refused(
                "BAD_GRANT_TYPE",
                "unsupported_grant_type",
                "missing or unknown grant type",
            );
        }
    }
    let mut sessions = system.sessions();
    let access_token = sessions.open(system.clock.now_ms());
    let body = json!({
        "token_type": "bearer", "refresh_token": REFRESH_TOKEN, "access_token": access_token,
        "hub_id": PORTAL_ID, "scopes": SCOPES, "expires_in": sessions.life_ms / 1_000,
    });
    answer(StatusCode::OK, &body)
}

fn told(system: &System, token: &str) -> Option<Value> {
    let now_ms = system.clock.now_ms();
    let Standing::Valid { app, until_ms } = system.sessions().standing(token, now_ms) else {
        return None;
    };
    Some(json!({
        "token": token, "user": "admin@sandbox.example", "hub_domain": "sandbox.example", "scopes": SCOPES,
        "hub_id": PORTAL_ID, "app_id": app, "user_id": 9_586_504, "client_id": CLIENT_ID,
        "expires_in": until_ms.map_or(0, |until_ms| (until_ms - now_ms) / 1_000),
    }))
}

/// `POST /oauth/v3/token/introspect`
pub(crate) async fn introspect(
    State(system): State<Arc<System>>,
    Form(fields): Form<HashMap<String, String>>,
) -> Response {
    let token = fields
        .get("access_token")
        .or_else(|| fields.get("token"))
        .map_or("", String::as_str);
    let mut body = told(&system, token).unwrap_or_else(|| json!({}));
    body["active"] = json!(body.get("hub_id").is_some());
    body["token_use"] = json!("access_token");
    body["token_type"] = json!("Bearer");
    answer(StatusCode::OK, &body)
}

/// `GET /oauth/v1/access-tokens/{token}`
pub(crate) async fn access_token(
    State(system): State<Arc<System>>,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    let mut body = told(&system, &token)
        .ok_or_else(|| Problem::new(404, "OBJECT_NOT_FOUND", "access token not found"))?;
    body["token_type"] = json!("access");
    Ok(answer(StatusCode::OK, &body))
}
