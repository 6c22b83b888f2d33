//! Authorising a connection: one session for all that run on it, renewed by one of them while the others wait.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use outbound::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Map, Value as Json, json};

use crate::call::{Caller, Outgoing};
use crate::clock::later;
use crate::failure::{Class, Failure};
use crate::manifest::{Auth, AuthKind, ClientAuth, Login, OAuth};
use crate::names::Names;
use crate::secret::Secret;

/// After the system refused the credentials, it is not asked again for this long: many systems lock accounts.
pub const REFUSED_MS: u64 = 300_000;

/// Where the newest refresh token is kept, for systems that replace it with every use.
///
/// A kept token descends from a configured one. When another one is configured the connection was authorised again, and
/// what was kept before counts no more.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// The newest refresh token of a connection: what was kept since `configured` was configured, or that itself.
    async fn load(&self, connection: &str, configured: &Secret) -> Result<Secret, TokenError>;
    /// Keeps a new refresh token; the old one is not valid any more when this is called.
    async fn keep(&self, connection: &str, configured: &Secret, token: &Secret) -> Result<(), TokenError>;
}

/// Why a refresh token is not at hand, or was not kept.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The store does not answer for the moment.
    #[error("{0}")]
    Unreachable(String),
    /// As things are set it cannot be read or kept; a person must correct them.
    #[error("{0}")]
    Settings(String),
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Failure {
        match error {
            TokenError::Unreachable(text) => Failure::new(Class::Transient, text),
            TokenError::Settings(text) => Failure::new(Class::Settings, text),
        }
    }
}

/// Keeps refresh tokens, each with the configured one, only as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryTokens(std::sync::Mutex<std::collections::BTreeMap<String, (Secret, Secret)>>);

#[async_trait]
impl TokenStore for MemoryTokens {
    async fn load(&self, connection: &str, configured: &Secret) -> Result<Secret, TokenError> {
        let tokens = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let kept = tokens.get(connection).filter(|(origin, _)| origin == configured);
        Ok(kept.map_or(configured, |(_, token)| token).clone())
    }

    async fn keep(&self, connection: &str, configured: &Secret, token: &Secret) -> Result<(), TokenError> {
        let mut tokens = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.insert(connection.to_owned(), (configured.clone(), token.clone()));
        Ok(())
    }
}

/// A valid proof of identity.
pub(crate) struct Session {
    /// Which renewal this is: a call that fails says which session it used.
    pub(crate) generation: u64,
    /// The value of the `Authorization` header.
    pub(crate) header: Secret,
    /// What the system said beside the tokens.
    pub(crate) reply: Json,
    /// Sent with every remote call.
    pub(crate) context: Map<String, Json>,
    expires: Option<Timestamp>,
}

/// The session of a connection, if there is one.
#[derive(Default)]
pub(crate) struct Held {
    generation: u64,
    session: Option<Arc<Session>>,
    refused: Option<(Timestamp, Failure)>,
}

/// What a system said, before it is a session.
struct Granted {
    header: String,
    reply: Json,
    context: Map<String, Json>,
    expires: Option<Timestamp>,
}

/// The parts of a token answer that no template may see.
const TOKENS: [&str; 4] = ["access_token", "refresh_token", "id_token", "signature"];

impl Caller {
    /// A session that is valid as far as we know; `stale` is one that the system just refused.
    pub(crate) async fn session(&self, stale: Option<u64>) -> Result<Arc<Session>, Failure> {
        // Held across the renewal: whoever comes meanwhile waits and takes what the first one got.
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if let Some(session) = &held.session
            && Some(session.generation) != stale
            && session.expires.is_none_or(|at| at > now)
        {
            return Ok(Arc::clone(session));
        }
        if let Some((until, failure)) = &held.refused
            && *until > now
        {
            return Err(failure.clone());
        }
        held.session = None;
        match self.authorise(now).await {
            Ok(granted) => {
                held.generation += 1;
                held.refused = None;
                let session = Arc::new(Session {
                    generation: held.generation,
                    header: Secret::new(granted.header),
                    reply: granted.reply,
                    context: granted.context,
                    expires: granted.expires,
                });
                held.session = Some(Arc::clone(&session));
                tracing::debug!(connection = %self.settings.name, generation = held.generation, "authorised");
                Ok(session)
            }
            Err(mut failure) => {
                // Whatever the rules say of a 401 elsewhere, here it means that the credentials are wrong.
                if matches!(
                    failure.class,
                    Class::AuthExpired | Class::Validation | Class::Permission | Class::NotFound
                ) {
                    failure.class = Class::AuthRevoked;
                }
                if failure.class == Class::AuthRevoked {
                    held.refused = Some((later(now, REFUSED_MS), failure.clone()));
                }
                Err(failure)
            }
        }
    }

    async fn authorise(&self, now: Timestamp) -> Result<Granted, Failure> {
        let auth = self.auth();
        match &auth.kind {
            AuthKind::Bearer => Ok(Granted {
                header: self.render(&auth.header, &self.secret_names())?,
                reply: json!({}),
                context: Map::new(),
                expires: None,
            }),
            AuthKind::ClientCredentials(oauth) => {
                let form = vec![("grant_type", "client_credentials".to_owned())];
                self.token(auth, oauth, form, now).await
            }
            AuthKind::Refresh(oauth) => {
                let configured = self.secret("refresh_token")?;
                let token = self
                    .settings
                    .tokens
                    .load(&self.settings.name, &configured)
                    .await?;
                let form = vec![
                    ("grant_type", "refresh_token".to_owned()),
                    ("refresh_token", token.expose().to_owned()),
                ];
                self.token(auth, oauth, form, now).await
            }
            AuthKind::Session(login) => self.log_in(auth, login).await,
        }
    }

    async fn token(
        &self,
        auth: &Auth,
        oauth: &OAuth,
        mut form: Vec<(&'static str, String)>,
        now: Timestamp,
    ) -> Result<Granted, Failure> {
        let (id, secret) = (self.secret("client_id")?, self.secret("client_secret")?);
        let mut headers = HeaderMap::new();
        match oauth.client_auth {
            ClientAuth::Body => {
                form.push(("client_id", id.expose().to_owned()));
                form.push(("client_secret", secret.expose().to_owned()));
            }
            ClientAuth::Basic => {
                let value = format!(
                    "Basic {}",
                    STANDARD.encode(format!("{}:{}", id.expose(), secret.expose()))
                );
                headers.insert(AUTHORIZATION, crate::call::header_value(&value, true)?);
            }
        }
        if !oauth.scopes.is_empty() {
            form.push(("scope", oauth.scopes.join(" ")));
        }
        let url = self.render(&oauth.token_url, &self.config_names())?;
        let outgoing = Outgoing::form(&url, &form, headers)?;
        let mut reply = self.exchange(outgoing, None).await?.body;
        let Some(token) = reply["access_token"].as_str().map(str::to_owned) else {
            return Err(Failure::protocol("the token answer has no `access_token`"));
        };
        if let (AuthKind::Refresh(_), Some(fresh)) = (&auth.kind, reply["refresh_token"].as_str()) {
            // Kept before the new access token is used: if we stop now, the next start has it.
            let (configured, fresh) = (self.secret("refresh_token")?, Secret::new(fresh));
            let tokens = &self.settings.tokens;
            tokens.keep(&self.settings.name, &configured, &fresh).await?;
        }
        let seconds = reply["expires_in"]
            .as_u64()
            .or_else(|| reply["expires_in"].as_str()?.parse().ok());
        let life_ms = seconds.map(|s| s.saturating_mul(1_000)).or(oauth.assume_ms);
        let expires = life_ms.map(|ms| later(now, ms.saturating_sub(oauth.skew_ms).max(1)));
        let header = self.render(&auth.header, &Names::default().with("token", token))?;
        if let Json::Object(map) = &mut reply {
            map.retain(|key, _| !TOKENS.contains(&key.as_str()));
        }
        Ok(Granted {
            header,
            reply,
            context: Map::new(),
            expires,
        })
    }

    async fn log_in(&self, auth: &Auth, login: &Login) -> Result<Granted, Failure> {
        let names = self.secret_names();
        let method = self.render(&login.method, &names)?;
        let params = self.expr(&login.params, &names)?;
        let reply = self
            .exchange(self.remote(&method, params, None)?, None)
            .await?
            .body;
        let header = self.render(&auth.header, &names.with("reply", reply))?;
        let mut context = login.extra.clone();
        if let Some(call) = &login.context {
            let mut outgoing = self.outgoing(call, &self.config_names(), Some(&context), &json!({}))?;
            outgoing.authorise(&header)?;
            match self.exchange(outgoing, call.group.as_deref()).await?.body {
                Json::Object(asked) => {
                    let extra = std::mem::replace(&mut context, asked);
                    context.extend(extra);
                }
                _ => return Err(Failure::protocol("the context is not an object")),
            }
        }
        Ok(Granted {
            header,
            reply: json!({}),
            context,
            expires: None,
        })
    }
}
