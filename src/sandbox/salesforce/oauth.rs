//! OAuth 2.0: tokens by client credentials, refresh token, authorisation code with PKCE, and password; who a token is.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, HOST, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::sessions::{CLIENT_ID, CLIENT_SECRET, REP_PASSWORD, REP_USERNAME};
use super::visit::Visit;
use super::{System, answer, ids};
use crate::mac::{base64, base64_url, from_base64, hmac_sha256, same, sha256};

type Fields = HashMap<String, String>;

/// Where the client reached us: data calls go to the same place.
fn origin(headers: &HeaderMap) -> String {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    format!("http://{host}")
}

/// Why no token was given, as OAuth words it: an object and not a list.
struct Denial {
    error: &'static str,
    description: &'static str,
}

fn denied<T>(error: &'static str, description: &'static str) -> Result<T, Denial> {
    Err(Denial { error, description })
}

impl IntoResponse for Denial {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        answer(StatusCode::BAD_REQUEST, &body)
    }
}

/// What a grant gives.
struct Grant {
    user: String,
    scope: &'static str,
    refresh_token: Option<String>,
}

/// `POST /services/oauth2/token`
pub(crate) async fn token(
    State(system): State<Arc<System>>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Response {
    match check_client(&headers, &fields).and_then(|()| granted(&system, &fields)) {
        Ok(grant) => answer(StatusCode::OK, &token_body(&system, &origin(&headers), &grant)),
        Err(denial) => denial.into_response(),
    }
}

fn granted(system: &System, fields: &Fields) -> Result<Grant, Denial> {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let users = &system.users;
    let grant = |user: &str, scope, refresh_token| {
        Ok(Grant {
            user: user.to_owned(),
            scope,
            refresh_token,
        })
    };
    match field("grant_type") {
        "client_credentials" => grant(&users.integration, "api", None),
        "refresh_token" => {
            let used = system.sessions().refresh(field("refresh_token"));
            let Some((user, next)) = used else {
                return denied("invalid_grant", "expired access/refresh token");
            };
            grant(&user, "refresh_token api", next)
        }
        "authorization_code" => {
            redeem(
                system,
                field("code"),
                field("redirect_uri"),
                field("code_verifier"),
            )?;
            let refresh_token = system.sessions().refresh_token(&users.integration);
            grant(&users.integration, "refresh_token api", Some(refresh_token))
        }
        "password" => {
            let right = field("username") == REP_USERNAME
                && same(field("password").as_bytes(), REP_PASSWORD.as_bytes());
            if !right {
                return denied("invalid_grant", "authentication failure - Invalid Password");
            }
            grant(&users.representative, "api", None)
        }
        _ => denied("unsupported_grant_type", "grant type not supported"),
    }
}

fn token_body(system: &System, origin: &str, grant: &Grant) -> Value {
    let now_ms = system.clock.now_ms();
    let access_token = system.sessions().open(&system.users.org, &grant.user, now_ms);
    let id = format!("{origin}/id/{}/{}", system.users.org, grant.user);
    let issued_at = now_ms.to_string();
    let signature = hmac_sha256(CLIENT_SECRET.as_bytes(), &[id.as_bytes(), issued_at.as_bytes()]);
    let mut body = json!({
        "access_token": access_token, "instance_url": origin, "id": id, "token_type": "Bearer",
        "issued_at": issued_at, "signature": base64(&signature), "scope": grant.scope,
    });
    if let Some(refresh_token) = &grant.refresh_token {
        body["refresh_token"] = json!(refresh_token);
    }
    body
}

/// The client proves itself in the header or in the form. A refresh may come without the secret, as from a public client.
fn check_client(headers: &HeaderMap, fields: &Fields) -> Result<(), Denial> {
    let header = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let basic = header.and_then(|header| {
        let decoded = from_base64(header.strip_prefix("Basic ")?.trim())?;
        let text = String::from_utf8(decoded).ok()?;
        text.split_once(':')
            .map(|(id, secret)| (id.to_owned(), Some(secret.to_owned())))
    });
    let in_form = || {
        (
            fields.get("client_id").cloned().unwrap_or_default(),
            fields.get("client_secret").cloned(),
        )
    };
    let (id, secret) = basic.unwrap_or_else(in_form);
    if id != CLIENT_ID {
        return denied("invalid_client_id", "client identifier invalid");
    }
    let optional = fields
        .get("grant_type")
        .is_some_and(|grant| grant == "refresh_token");
    match secret {
        Some(secret) if same(secret.as_bytes(), CLIENT_SECRET.as_bytes()) => Ok(()),
        None if optional => Ok(()),
        _ => denied("invalid_client", "invalid client credentials"),
    }
}

fn redeem(system: &System, code: &str, redirect_uri: &str, verifier: &str) -> Result<(), Denial> {
    let Some(code) = system.sessions().redeem_code(code, system.clock.now_ms()) else {
        return denied("invalid_grant", "expired authorization code");
    };
    if code.redirect_uri != redirect_uri {
        return denied("redirect_uri_mismatch", "redirect_uri must match configuration");
    }
    match code.challenge {
        Some(challenge) if base64_url(&sha256(&[verifier.as_bytes()])) != challenge => {
            denied("invalid_grant", "invalid code verifier")
        }
        _ => Ok(()),
    }
}

/// `GET /services/oauth2/authorize`: the person at the screen always says yes.
pub(crate) async fn authorize(State(system): State<Arc<System>>, Query(fields): Query<Fields>) -> Response {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    if field("client_id") != CLIENT_ID {
        return Denial {
            error: "invalid_client_id",
            description: "client identifier invalid",
        }
        .into_response();
    }
    if field("response_type") != "code" {
        return Denial {
            error: "unsupported_response_type",
            description: "response type must be code",
        }
        .into_response();
    }
    let redirect_uri = field("redirect_uri");
    let challenge = fields.get("code_challenge").cloned();
    let code = system
        .sessions()
        .grant_code(redirect_uri.clone(), challenge, system.clock.now_ms());
    let joint = if redirect_uri.contains('?') { '&' } else { '?' };
    // Codes are letters and digits; the state is given back as it came, percent-encoded where a query needs it.
    let state = percent_encoded(&field("state"));
    (
        StatusCode::FOUND,
        [(
            LOCATION,
            format!("{redirect_uri}{joint}code={code}&state={state}"),
        )],
    )
        .into_response()
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&crate::mac::hex(&[byte]).to_uppercase());
        }
        encoded
    })
}

/// `POST /services/oauth2/revoke` with a form, or `GET` with a query.
pub(crate) async fn revoke(State(system): State<Arc<System>>, Form(fields): Form<Fields>) -> Response {
    if fields
        .get("token")
        .is_some_and(|token| system.sessions().end(token))
    {
        return StatusCode::OK.into_response();
    }
    Denial {
        error: "unsupported_token_type",
        description: "this token type is not supported",
    }
    .into_response()
}

/// `GET /id/{org}/{user}`
pub(crate) async fn identity(
    State(system): State<Arc<System>>,
    visit: Visit,
    headers: HeaderMap,
    Path((org, user)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let here = ids::normal(&org).as_deref() == Some(system.users.org.as_str());
    if !here || ids::normal(&user).as_deref() != Some(visit.user.as_str()) {
        return Err(Refusal::bad("INVALID_ID", "the identity is not that of the token").with_status(403));
    }
    Ok(answer(
        StatusCode::OK,
        &who(&system, &visit.user, &origin(&headers)),
    ))
}

/// `GET /services/oauth2/userinfo`
pub(crate) async fn user_info(
    State(system): State<Arc<System>>,
    visit: Visit,
    headers: HeaderMap,
) -> Response {
    let mut body = who(&system, &visit.user, &origin(&headers));
    body["sub"] = body["id"].clone();
    body["name"] = body["display_name"].clone();
    body["preferred_username"] = body["username"].clone();
    answer(StatusCode::OK, &body)
}

fn who(system: &System, user: &str, origin: &str) -> Value {
    let org = system.org();
    let table = org.schema.at("User");
    let object = &org.schema.objects[table];
    let row = org.find(table, user).map(|row| &org.tables[table].rows[row]);
    let value = |field: &str| row.map_or(Value::Null, |row| row[object.at(field)].clone());
    let data = format!("{origin}/services/data/v{{version}}");
    json!({
        "id": format!("{origin}/id/{}/{user}", system.users.org),
        "asserted_user": true,
        "user_id": user,
        "organization_id": system.users.org,
        "username": value("Username"),
        "nick_name": value("Alias"),
        "display_name": value("Name"),
        "email": value("Email"),
        "email_verified": true,
        "first_name": value("FirstName"),
        "last_name": value("LastName"),
        "timezone": value("TimeZoneSidKey"),
        "urls": {
            "rest": format!("{data}/"),
            "sobjects": format!("{data}/sobjects/"),
            "query": format!("{data}/query/"),
            "custom_domain": origin,
        },
        "active": true,
        "user_type": "STANDARD",
        "language": "en_US",
        "locale": value("LocaleSidKey"),
        "utcOffset": 0,
        "last_modified_date": value("LastModifiedDate"),
    })
}
