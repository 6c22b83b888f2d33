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
use crate::manifest::{ApiKey, Assertion, AuthKind, Call, ClientAuth, Csrf, Login, OAuth};
use crate::names::Names;
use crate::oauth1;
use crate::proof::{Browser, Proof, header_name};
use crate::secret::Secret;

/// After the system refused the credentials, it is not asked again for this long: many systems lock accounts.
pub const REFUSED_MS: u64 = 300_000;

/// Where the newest refresh token is kept, for systems that replace it with every use.
///
/// A kept token descends from an *origin*: the refresh token that is configured, or the client that a person signed in
/// to. With another origin the connection was authorised anew, and what was kept before counts no more.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// The newest refresh token of a connection that descends from the origin, if one was kept.
    async fn load(&self, connection: &str, origin: &Secret) -> Result<Option<Secret>, TokenError>;
    /// Keeps a new refresh token; the old one is not valid any more when this is called.
    async fn keep(&self, connection: &str, origin: &Secret, token: &Secret) -> Result<(), TokenError>;
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

/// Keeps refresh tokens, each with its origin, only as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryTokens(std::sync::Mutex<std::collections::BTreeMap<String, (Secret, Secret)>>);

#[async_trait]
impl TokenStore for MemoryTokens {
    async fn load(&self, connection: &str, origin: &Secret) -> Result<Option<Secret>, TokenError> {
        let tokens = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let kept = tokens.get(connection).filter(|(of, _)| of == origin);
        Ok(kept.map(|(_, token)| token.clone()))
    }

    async fn keep(&self, connection: &str, origin: &Secret, token: &Secret) -> Result<(), TokenError> {
        let mut tokens = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.insert(connection.to_owned(), (origin.clone(), token.clone()));
        Ok(())
    }
}

/// A valid proof of identity.
pub(crate) struct Session {
    /// Which renewal this is: a call that fails says which session it used.
    pub(crate) generation: u64,
    pub(crate) proof: Proof,
    pub(crate) browser: Browser,
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

impl Held {
    /// Makes the next call authorise anew.
    pub(crate) fn forget(&mut self) {
        self.session = None;
        self.refused = None;
    }
}

/// What a system said, before it is a session.
pub(crate) struct Granted {
    /// Whether a refresh token came with it.
    pub(crate) refreshes: bool,
    proof: Proof,
    browser: Browser,
    reply: Json,
    context: Map<String, Json>,
    expires: Option<Timestamp>,
}

impl Granted {
    /// A proof that needs no answer of the system.
    fn fixed(proof: Proof) -> Granted {
        Granted {
            refreshes: false,
            proof,
            browser: Browser::default(),
            reply: json!({}),
            context: Map::new(),
            expires: None,
        }
    }
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
                    proof: granted.proof,
                    browser: granted.browser,
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

    /// Whether the proof is a fixed one, so that no renewal makes a refused one good.
    pub(crate) fn is_fixed(&self) -> bool {
        match self.auth().kind {
            AuthKind::Bearer { .. }
            | AuthKind::Basic { .. }
            | AuthKind::ApiKey(_)
            | AuthKind::OAuth1 { .. } => true,
            AuthKind::ClientCredentials(_)
            | AuthKind::Refresh(_)
            | AuthKind::Code { .. }
            | AuthKind::JwtBearer { .. }
            | AuthKind::Session { .. }
            | AuthKind::Cookie { .. } => false,
        }
    }

    async fn authorise(&self, now: Timestamp) -> Result<Granted, Failure> {
        let auth = self.signs_in()?;
        let mut granted = self.granted(&auth.kind, now).await?;
        if let Some(csrf) = &auth.csrf {
            self.fetch_csrf(csrf, &mut granted).await?;
        }
        Ok(granted)
    }

    async fn granted(&self, kind: &AuthKind, now: Timestamp) -> Result<Granted, Failure> {
        match kind {
            AuthKind::Bearer { header } => {
                let value = self.render(header, &self.secret_names())?;
                Ok(Granted::fixed(Proof::authorization(value)))
            }
            AuthKind::Basic { user, password } => {
                let names = self.secret_names();
                let (user, password) = (self.render(user, &names)?, self.render(password, &names)?);
                Ok(Granted::fixed(Proof::authorization(basic(&user, &password))))
            }
            AuthKind::ApiKey(key) => self.api_key(key).map(Granted::fixed),
            AuthKind::OAuth1 { realm } => self.oauth1_keys(realm).map(Granted::fixed),
            AuthKind::ClientCredentials(oauth) => {
                let form = vec![("grant_type", "client_credentials".to_owned())];
                self.token(oauth, form, None, now).await
            }
            AuthKind::Refresh(oauth) => {
                let origin = self.secret("refresh_token")?;
                let kept = self.settings.tokens.load(&self.settings.name, &origin).await?;
                let token = kept.unwrap_or_else(|| origin.clone());
                self.refresh(oauth, &origin, &token, now).await
            }
            AuthKind::Code { oauth, .. } => {
                let origin = self.secret("client_id")?;
                let kept = self.settings.tokens.load(&self.settings.name, &origin).await?;
                let token = kept.ok_or_else(|| {
                    let name = &self.settings.name;
                    let text = format!("nobody has signed in yet: run `interconnect connection auth {name}`");
                    Failure::new(Class::AuthRevoked, text)
                })?;
                self.refresh(oauth, &origin, &token, now).await
            }
            AuthKind::JwtBearer { oauth, assertion } => {
                let signed = self.assertion(assertion, now)?;
                let mut form = vec![
                    (
                        "grant_type",
                        "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned(),
                    ),
                    ("assertion", signed),
                ];
                form.extend(self.scope(oauth)?.map(|scope| ("scope", scope)));
                self.grant(oauth, form, HeaderMap::new(), None, now).await
            }
            AuthKind::Session { login, header } => self.log_in(login, header).await,
            AuthKind::Cookie { request } => self.cookies(request).await,
        }
    }

    fn api_key(&self, key: &ApiKey) -> Result<Proof, Failure> {
        let value = Secret::new(self.render(&key.value, &self.secret_names())?);
        let name = self.render(&key.name, &self.config_names())?;
        if key.in_query {
            return Ok(Proof::Query(name, value));
        }
        Ok(Proof::Header(header_name(&name)?, value))
    }

    fn oauth1_keys(&self, realm: &crate::template::Template) -> Result<Proof, Failure> {
        Ok(Proof::Signed(Box::new(oauth1::Keys {
            realm: self.render(realm, &self.config_names())?,
            consumer_key: self.secret("consumer_key")?,
            consumer_secret: self.secret("consumer_secret")?,
            token: self.secret("token_id")?,
            token_secret: self.secret("token_secret")?,
        })))
    }

    async fn refresh(
        &self,
        oauth: &OAuth,
        origin: &Secret,
        token: &Secret,
        now: Timestamp,
    ) -> Result<Granted, Failure> {
        let form = vec![
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", token.expose().to_owned()),
        ];
        self.token(oauth, form, Some(origin), now).await
    }

    /// Asks the token endpoint, with what shows who the client is.
    pub(crate) async fn token(
        &self,
        oauth: &OAuth,
        mut form: Vec<(&'static str, String)>,
        origin: Option<&Secret>,
        now: Timestamp,
    ) -> Result<Granted, Failure> {
        let mut headers = HeaderMap::new();
        match &oauth.client_auth {
            ClientAuth::Body => {
                form.push(("client_id", self.secret("client_id")?.expose().to_owned()));
                form.push(("client_secret", self.secret("client_secret")?.expose().to_owned()));
            }
            ClientAuth::Basic => {
                let (id, secret) = (self.secret("client_id")?, self.secret("client_secret")?);
                let value = basic(id.expose(), secret.expose());
                headers.insert(AUTHORIZATION, crate::call::header_value(&value, true)?);
            }
            ClientAuth::Assertion(assertion) => {
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_assertion_type", kind.to_owned()));
                form.push(("client_assertion", self.assertion(assertion, now)?));
            }
        }
        form.extend(self.scope(oauth)?.map(|scope| ("scope", scope)));
        self.grant(oauth, form, headers, origin, now).await
    }

    /// The scopes to ask for, as they are sent; nothing when the system's own are meant.
    pub(crate) fn scope(&self, oauth: &OAuth) -> Result<Option<String>, Failure> {
        let names = self.config_names();
        let scopes = oauth.scopes.iter().map(|scope| self.render(scope, &names));
        let scopes: Vec<String> = scopes.collect::<Result<_, _>>()?;
        Ok((!scopes.is_empty()).then(|| scopes.join(" ")))
    }

    /// Sends a form to the token endpoint. A refresh token that comes back is kept as descending from the origin.
    async fn grant(
        &self,
        oauth: &OAuth,
        form: Vec<(&'static str, String)>,
        headers: HeaderMap,
        origin: Option<&Secret>,
        now: Timestamp,
    ) -> Result<Granted, Failure> {
        let url = self.render(&oauth.token_url, &self.config_names())?;
        let outgoing = Outgoing::form(&url, &form, headers)?;
        let mut reply = self.exchange(outgoing, None).await?.body;
        let Some(token) = reply["access_token"].as_str().map(str::to_owned) else {
            return Err(Failure::protocol("the token answer has no `access_token`"));
        };
        let refreshes = reply["refresh_token"].is_string();
        if let (Some(fresh), Some(origin)) = (reply["refresh_token"].as_str(), origin) {
            // Kept before the new access token is used: if we stop now, the next start has it.
            let (tokens, name) = (&self.settings.tokens, &self.settings.name);
            let kept = tokens.keep(name, origin, &Secret::new(fresh)).await;
            kept.map_err(|error| {
                let mut failure = Failure::from(error);
                failure.detail = format!("the new refresh token was not kept: {}", failure.detail);
                failure
            })?;
        }
        let seconds = reply["expires_in"]
            .as_u64()
            .or_else(|| reply["expires_in"].as_str()?.parse().ok());
        let life_ms = seconds.map(|s| s.saturating_mul(1_000)).or(oauth.assume_ms);
        let expires = life_ms.map(|ms| later(now, ms.saturating_sub(oauth.skew_ms).max(1)));
        let header = self.render(&oauth.header, &Names::default().with("token", token))?;
        if let Json::Object(map) = &mut reply {
            map.retain(|key, _| !TOKENS.contains(&key.as_str()));
        }
        Ok(Granted {
            refreshes,
            reply,
            expires,
            ..Granted::fixed(Proof::authorization(header))
        })
    }

    /// The claims of the manifest with their time, signed.
    fn assertion(&self, assertion: &Assertion, now: Timestamp) -> Result<String, Failure> {
        let names = self.secret_names();
        let mut claims = self.expr(&assertion.claims, &names)?;
        let life_s = i64::try_from(assertion.life_ms / 1_000).unwrap_or(i64::MAX);
        claims["iat"] = json!(now.as_second());
        claims["exp"] = json!(now.as_second().saturating_add(life_s));
        claims["jti"] = json!(self.clock.nonce());
        let key_id = assertion
            .key_id
            .as_ref()
            .map(|id| self.render(id, &names))
            .transpose()?;
        let key = self.secret(&assertion.key)?;
        let signed = crate::jwt::sign(assertion.algorithm, key.expose(), key_id.as_deref(), &claims);
        signed.map_err(|reason| {
            let text = format!("the secret `{}` cannot sign: {reason}", assertion.key);
            Failure::new(Class::Settings, text)
        })
    }

    async fn log_in(&self, login: &Login, header: &crate::template::Template) -> Result<Granted, Failure> {
        let names = self.secret_names();
        let method = self.render(&login.method, &names)?;
        let params = self.expr(&login.params, &names)?;
        let reply = self
            .exchange(self.remote(&method, params, None)?, None)
            .await?
            .body;
        let header = self.render(header, &names.with("reply", reply))?;
        let mut granted = Granted::fixed(Proof::authorization(header));
        granted.context = login.extra.clone();
        if let Some(call) = &login.context {
            let names = self.config_names();
            let mut outgoing = self.outgoing(call, &names, Some(&granted.context), &json!({}))?;
            outgoing.prove(&granted.proof, &granted.browser, "", 0)?;
            match self.exchange(outgoing, call.group.as_deref()).await?.body {
                Json::Object(asked) => {
                    let extra = std::mem::replace(&mut granted.context, asked);
                    granted.context.extend(extra);
                }
                _ => return Err(Failure::protocol("the context is not an object")),
            }
        }
        Ok(granted)
    }

    async fn cookies(&self, request: &Call) -> Result<Granted, Failure> {
        let outgoing = self.outgoing(request, &self.secret_names(), None, &json!({}))?;
        let reply = self.exchange(outgoing, request.group.as_deref()).await?;
        let mut granted = Granted::fixed(Proof::Cookies);
        granted.browser.take(&reply.headers)?;
        if granted.browser.is_empty() {
            return Err(Failure::protocol(
                "the system answered the login without a cookie",
            ));
        }
        Ok(granted)
    }

    /// Gets the token against forged requests, and the cookies of the session it belongs to.
    async fn fetch_csrf(&self, csrf: &Csrf, granted: &mut Granted) -> Result<(), Failure> {
        let names = self.config_names();
        let mut outgoing = self.outgoing(&csrf.request, &names, None, &granted.reply)?;
        outgoing.prove(
            &granted.proof,
            &granted.browser,
            &self.clock.nonce(),
            self.clock.now().as_second(),
        )?;
        let reply = self.exchange(outgoing, csrf.request.group.as_deref()).await?;
        let name = header_name(&csrf.header)?;
        let token = reply.headers.get(&name).and_then(|value| value.to_str().ok());
        let Some(token) = token else {
            return Err(Failure::protocol(format!(
                "the system gave no token in its header `{name}`"
            )));
        };
        granted.browser.csrf = Some((name, Secret::new(token)));
        granted.browser.take(&reply.headers)
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
