//! [`Caller`]: sends the requests of a manifest, within limits, authorised, and tried again where that is safe.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use outbound::header::{ACCEPT, AGE, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, SET_COOKIE};
use outbound::{Method, Request, Url};
use serde_json::{Map, Value as Json, json};

use crate::auth::{Held, Session};
use crate::calls::Calls;
use crate::classify::classify;
use crate::clock::{Clock, between, later};
use crate::codec;
use crate::connector::Connector;
use crate::failure::{Class, Failure};
use crate::lane::Lane;
use crate::limiter::Limiter;
use crate::manifest::{Answer, Auth, Body, Call, Expr, Manifest, Tree, Verb};
use crate::multipart;
use crate::names::Names;
use crate::proof::header_name;
use crate::rehearsal::Rehearsal;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::template::Template;

/// How long the engine works on one call, tries and waits together, unless the settings say otherwise.
pub const CALL_DEADLINE_MS: u64 = 120_000;
/// How often one call is sent at most.
pub const TRIES_MAX: u32 = 6;
/// The first wait between tries; it doubles with each.
pub const BACKOFF_BASE_MS: u64 = 500;
/// The longest wait between tries that the engine chooses.
pub const BACKOFF_MAX_MS: u64 = 30_000;
/// The longest wait the engine sits through when a system asks for it; a longer one is told to the caller.
pub const RETRY_AFTER_MAX_MS: u64 = 60_000;

/// Whether a request that may have been received may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It reads, or writes the same again.
    Safe,
    /// It would create a second object, or write over what was edited in the first one since.
    Unsafe,
}

/// A successful answer, unwrapped and decoded.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Json,
    /// Whether the system may have acted on an earlier try of the same call.
    pub(crate) ambiguous: bool,
}

impl Reply {
    /// Adds what programs over this answer may use besides its body.
    pub(crate) fn names(&self, names: Names) -> Names {
        let mut headers = Map::new();
        for (name, value) in self.headers.iter().filter(|(name, _)| *name != SET_COOKIE) {
            if let Ok(value) = value.to_str() {
                headers.insert(name.as_str().to_owned(), Json::from(value));
            }
        }
        names.with("headers", headers).with("status", self.status)
    }

    /// When the system gave this answer by its own clock, to the second (RFC 9110, section 6.6.1); nothing where it does not
    /// say, or where the answer was kept somewhere on the way.
    pub(crate) fn told_at(&self) -> Option<Timestamp> {
        if self.headers.contains_key(AGE) {
            return None;
        }
        let date = self.headers.get(DATE)?.to_str().ok()?;
        rfc2822::DateTimeParser::new().parse_timestamp(date).ok()
    }
}

/// A request ready to be sent.
pub(crate) struct Outgoing {
    pub(crate) request: Request,
    /// Whether the answer is wrapped as a remote call's.
    remote: bool,
    answer: Answer,
    /// The requests inside the request, before they were written as its body.
    parts: Option<Json>,
}

/// Everything one connection needs to talk. A copy shares the session and the limits, which belong to the account.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) connector: Arc<Connector>,
    pub(crate) settings: Settings,
    pub(crate) config: Map<String, Json>,
    pub(crate) http: outbound::Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limiter: Arc<Limiter>,
    /// Why these calls are made.
    pub(crate) lane: Lane,
    pub(crate) held: Arc<tokio::sync::Mutex<Held>>,
    /// Which way to authorise, by its number in the manifest.
    pub(crate) auth: usize,
    /// What was sent.
    pub(crate) calls: Arc<Calls>,
    /// What was sent since the account was opened, by whatever copy.
    pub(crate) all_calls: Arc<Calls>,
    /// Whether writes are only counted.
    pub(crate) rehearsal: Option<Arc<Rehearsal>>,
}

impl Caller {
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.connector.manifest
    }

    /// The way to sign in. There is one wherever somebody is called: see [`Caller::signs_in`].
    pub(crate) fn auth(&self) -> &Auth {
        &self.manifest().auth[self.auth]
    }

    /// The way to sign in, if anybody does.
    pub(crate) fn signs_in(&self) -> Result<&Auth, Failure> {
        let auth = self.manifest().auth.get(self.auth);
        auth.ok_or_else(|| {
            let name = &self.settings.name;
            let text =
                format!("nobody signs in by `{name}`: its objects are posted, and no system is called");
            Failure::new(Class::Settings, text)
        })
    }

    pub(crate) fn secret(&self, name: &str) -> Result<Secret, Failure> {
        self.settings
            .secrets
            .get(name)
            .cloned()
            .ok_or_else(|| Failure::new(Class::Settings, format!("the secret `{name}` is not set")))
    }

    pub(crate) fn config_names(&self) -> Names {
        Names::default().with("config", self.config.clone())
    }

    pub(crate) fn secret_names(&self) -> Names {
        let secrets: Map<String, Json> = self
            .settings
            .secrets
            .iter()
            .map(|(name, secret)| (name.to_owned(), Json::from(secret.expose())))
            .collect();
        self.config_names().with("secrets", secrets)
    }

    pub(crate) fn render(&self, template: &Template, names: &Names) -> Result<String, Failure> {
        let rendered = self.manifest().templates.render(template, names);
        rendered.map_err(|e| Failure::new(Class::Settings, e))
    }

    pub(crate) fn expr(&self, expr: &Expr, names: &Names) -> Result<Json, Failure> {
        match expr {
            Expr::Program(program) => program
                .one(&Json::Null, &|name| names.get(name))
                .map_err(|e| Failure::protocol(e.to_string())),
            Expr::Tree(tree) => self.tree(tree, names),
        }
    }

    fn tree(&self, tree: &Tree, names: &Names) -> Result<Json, Failure> {
        Ok(match tree {
            Tree::Fixed(value) => value.clone(),
            Tree::Text(template) => Json::String(self.render(template, names)?),
            Tree::List(items) => Json::Array(
                items
                    .iter()
                    .map(|t| self.tree(t, names))
                    .collect::<Result<_, _>>()?,
            ),
            Tree::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(key, t)| Ok((key.clone(), self.tree(t, names)?)))
                    .collect::<Result<_, Failure>>()?,
            ),
        })
    }

    /// Sends a call until it succeeds, is refused, or its deadline passes.
    pub(crate) async fn call(&self, call: &Call, names: Names, repeat: Repeat) -> Result<Reply, Failure> {
        self.call_at(call, names, repeat, None).await
    }

    /// The same, to an address that the system gave, instead of the call's own.
    pub(crate) async fn call_at(
        &self,
        call: &Call,
        names: Names,
        repeat: Repeat,
        to: Option<&str>,
    ) -> Result<Reply, Failure> {
        let mut may_have_acted = false;
        let called = self
            .call_until(call, names, repeat, to, &mut may_have_acted)
            .await;
        match called {
            Ok(mut reply) => {
                reply.ambiguous = may_have_acted;
                Ok(reply)
            }
            Err(mut failure) => {
                failure.ambiguous |= may_have_acted;
                Err(failure)
            }
        }
    }

    async fn call_until(
        &self,
        call: &Call,
        names: Names,
        repeat: Repeat,
        to: Option<&str>,
        may_have_acted: &mut bool,
    ) -> Result<Reply, Failure> {
        let deadline = later(
            self.clock.now(),
            self.settings.deadline_ms.unwrap_or(CALL_DEADLINE_MS),
        );
        let mut stale = None;
        let mut tries = 0;
        loop {
            // Whoever signs in asks for nothing yet.
            let session = self.session(stale).await.map_err(Failure::in_no_doubt)?;
            tries += 1;
            let outgoing = self.prepared(call, &names, &session, to)?;
            let (mut failure, wait) = match self
                .send(outgoing, call.group.as_deref(), self.lane, deadline)
                .await
            {
                Ok(reply) => return Ok(reply),
                Err(failed) => failed,
            };
            *may_have_acted |= failure.ambiguous;
            tracing::debug!(
                system = self.connector.system(),
                connection = %self.settings.name,
                class = failure.class.name(),
                status = failure.status,
                tries,
                "a call failed"
            );
            if failure.class == Class::AuthExpired {
                // A token against forged requests is renewed under a fixed proof too.
                let renewable = !self.is_fixed() || self.auth().csrf.is_some();
                // One renewal a call: a system that refuses the fresh token too means it.
                if renewable && stale.is_none() {
                    stale = Some(session.generation);
                    continue;
                }
                if self.is_fixed() && (!renewable || failure.status == Some(401)) {
                    failure.class = Class::AuthRevoked;
                }
            }
            let now = self.clock.now();
            let Some(wait_ms) = self.next_try(&failure, wait, tries, repeat, now) else {
                return Err(failure);
            };
            if later(now, wait_ms) > deadline {
                return Err(failure);
            }
            self.clock.sleep(wait_ms).await;
        }
    }

    /// After how long a failed call is sent again; nothing when that is not for the engine to do.
    fn next_try(
        &self,
        failure: &Failure,
        wait: Option<u64>,
        tries: u32,
        repeat: Repeat,
        now: Timestamp,
    ) -> Option<u64> {
        if tries >= TRIES_MAX || (failure.ambiguous && repeat == Repeat::Unsafe) {
            return None;
        }
        let backoff = BACKOFF_BASE_MS
            .saturating_mul(1 << tries.min(16))
            .min(BACKOFF_MAX_MS);
        let wait_ms = match failure.class {
            Class::RateLimited { until } => between(now, until),
            Class::Transient | Class::Network => wait.unwrap_or(backoff / 2 + self.jitter(backoff / 2)),
            _ => return None,
        };
        (wait_ms <= RETRY_AFTER_MAX_MS).then_some(wait_ms.max(1))
    }

    /// Spreads the tries of many connections; need not be unpredictable.
    fn jitter(&self, below: u64) -> u64 {
        let seed = u64::from(self.clock.now().subsec_nanosecond().unsigned_abs());
        seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31) % below.max(1)
    }

    fn prepared(
        &self,
        call: &Call,
        names: &Names,
        session: &Session,
        to: Option<&str>,
    ) -> Result<Outgoing, Failure> {
        let names = names
            .clone()
            .with("config", self.config.clone())
            .with("auth", json!({"reply": session.reply}))
            .with("context", session.context.clone());
        let mut outgoing = self.outgoing(call, &names, Some(&session.context), &session.reply)?;
        if let Some(to) = to {
            outgoing.request.url = crate::pages::beside(&outgoing.request.url, to)?;
        }
        let seconds = self.clock.now().as_second();
        outgoing.prove(&session.proof, &session.browser, &self.clock.nonce(), seconds)?;
        Ok(outgoing)
    }

    /// Builds the request of a call; everything but the authorisation.
    pub(crate) fn outgoing(
        &self,
        call: &Call,
        names: &Names,
        context: Option<&Map<String, Json>>,
        auth_reply: &Json,
    ) -> Result<Outgoing, Failure> {
        let render = |template: &Template| self.render(template, names).map_err(|f| unmade(names, f));
        let expr = |expr: &Expr| self.expr(expr, names).map_err(|f| unmade(names, f));
        match &call.verb {
            Verb::Rpc {
                method,
                params,
                context: own,
            } => {
                let method = self.render(method, names)?;
                let params = expr(params)?;
                let mut context = context.cloned();
                if let (Some(program), Some(context)) = (own, &mut context) {
                    let added = program.one(&Json::Null, &|name| names.get(name));
                    if let Json::Object(added) = added.map_err(|e| Failure::protocol(e.to_string()))? {
                        context.extend(added);
                    }
                }
                self.remote(&method, params, context.as_ref())
            }
            Verb::Http {
                method,
                path,
                query,
                headers,
                body,
            } => {
                let path = render(path)?;
                let mut url = self.address(&path, auth_reply)?;
                for (name, value) in query {
                    let name = self.render(name, names)?;
                    if !name.is_empty() {
                        url.query_pairs_mut()
                            .append_pair(&name, &self.render(value, names)?);
                    }
                }
                let mut outgoing = Outgoing::new(method.clone(), url);
                if call.answer == Answer::Csv {
                    outgoing.answer = Answer::Csv;
                    outgoing.header("accept", "text/csv")?;
                }
                for (name, value) in self.manifest().headers.iter().chain(headers) {
                    let value = render(value)?;
                    outgoing.header(name, &value)?;
                }
                match body {
                    Body::None => {}
                    Body::Csv(table) => {
                        outgoing.request.body = Bytes::from(render(table)?);
                        outgoing.header("content-type", "text/csv; charset=UTF-8")?;
                    }
                    Body::Json(body) => outgoing.json(&expr(body)?),
                    Body::Parts(body) => outgoing.parts(&expr(body)?).map_err(|f| unmade(names, f))?,
                    Body::Form(entries) => {
                        let form: Vec<(&str, String)> = entries
                            .iter()
                            .map(|(key, value)| Ok((key.as_str(), render(value)?)))
                            .collect::<Result<_, Failure>>()?;
                        outgoing.form_body(&form);
                    }
                }
                Ok(outgoing)
            }
        }
    }

    /// Wraps a remote call.
    pub(crate) fn remote(
        &self,
        method: &str,
        params: Json,
        context: Option<&Map<String, Json>>,
    ) -> Result<Outgoing, Failure> {
        let rpc = self.manifest().rpc.as_ref();
        let rpc = rpc.ok_or_else(|| Failure::protocol("a remote call without `rpc` in the manifest"))?;
        let Json::Array(mut params) = params else {
            return Err(Failure::protocol(format!(
                "the parameters of `{method}` are not a list"
            )));
        };
        if let (true, Some(context)) = (rpc.context_last, context) {
            params.push(Json::Object(context.clone()));
        }
        let path = self.render(&rpc.path, &self.config_names())?;
        let url = self.address(&path, &json!({}))?;
        let mut outgoing = Outgoing::new(Method::POST, url);
        outgoing.json(&json!({"id": 1, "method": method, "params": params}));
        outgoing.remote = true;
        Ok(outgoing)
    }

    fn address(&self, path: &str, auth_reply: &Json) -> Result<Url, Failure> {
        let names = self.config_names().with("auth", json!({"reply": auth_reply}));
        let text = if path.starts_with('/') {
            let base = self.render(&self.manifest().base_url, &names)?;
            format!("{}{path}", base.trim_end_matches('/'))
        } else {
            path.to_owned()
        };
        parsed(&text)
    }

    /// One request of the authorisation itself, tried once.
    pub(crate) async fn exchange(&self, outgoing: Outgoing, group: Option<&str>) -> Result<Reply, Failure> {
        let deadline = later(
            self.clock.now(),
            self.settings.deadline_ms.unwrap_or(CALL_DEADLINE_MS),
        );
        // Whatever waits for the session waits for this, in whichever lane it is.
        let answer = self.send(outgoing, group, Lane::Live, deadline).await;
        answer.map_err(|(failure, _)| failure)
    }

    async fn send(
        &self,
        mut outgoing: Outgoing,
        group: Option<&str>,
        lane: Lane,
        deadline: Timestamp,
    ) -> Result<Reply, (Failure, Option<u64>)> {
        let permit = self.limiter.acquire(group, lane, &*self.clock).await;
        let _permit = permit.map_err(|failure| (failure, None))?;
        self.calls.count(lane, group);
        self.all_calls.count(lane, group);
        outgoing.request.timeout_ms = Some(between(self.clock.now(), deadline).clamp(1, CALL_DEADLINE_MS));
        let (remote, wanted) = (outgoing.remote, outgoing.answer);
        let answer = self.http.call(outgoing.request).await;
        let answer = answer.map_err(|error| (unanswered(&error), None))?;
        let now = self.clock.now();
        self.limiter.observe(group, &answer.headers, now);
        let success = (200..300).contains(&answer.status);
        let wanted = if success { wanted } else { Answer::Json };
        let body = match read(&answer.headers, &answer.body, wanted) {
            Ok(body) => body,
            Err(_) if !success => Json::Null,
            Err(error) => {
                let mut failure = Failure::protocol(error);
                failure.ambiguous = true;
                return Err((failure, None));
            }
        };
        let refused = remote && body.get("error").is_some_and(|e| !e.is_null());
        if !success || refused {
            let (mut failure, wait) = classify(self.manifest(), answer.status, &answer.headers, &body, now);
            // A remote call's error is final.
            failure.ambiguous = !refused && may_go_on(answer.status, &failure);
            if let Class::RateLimited { until } = failure.class {
                self.limiter.block(group, until);
            }
            return Err((failure, wait));
        }
        let reply = Reply {
            status: answer.status,
            headers: answer.headers,
            body: self.unwrapped(body, remote),
            ambiguous: false,
        };
        if let Some(told_at) = reply.told_at() {
            self.all_calls.note_told(told_at);
        }
        Ok(reply)
    }

    /// The result inside a remote call's answer, decoded; any other body as it is.
    pub(crate) fn unwrapped(&self, mut body: Json, remote: bool) -> Json {
        if !remote {
            return body;
        }
        let result = body.get_mut("result").map(Json::take).unwrap_or_default();
        match self
            .manifest()
            .rpc
            .as_ref()
            .and_then(|rpc| rpc.class_key.as_deref())
        {
            Some(key) => codec::decode(result, key),
            None => result,
        }
    }
}

/// Whether a system may go on with a request that it answered with this status: a gateway may have given up on it. What a
/// rule knows is final; without one, everything from 500 on is transient.
pub(crate) fn may_go_on(status: u16, failure: &Failure) -> bool {
    status >= 500 && !failure.class.is_final()
}

/// What an answer says, as JSON: many parts are a list, and a table is one of rows.
fn read(headers: &HeaderMap, body: &[u8], wanted: Answer) -> Result<Json, String> {
    if wanted == Answer::Csv {
        return crate::table::rows(body).map_err(|error| format!("the answer is not CSV: {error}"));
    }
    if body.is_empty() {
        return Ok(Json::Null);
    }
    if multipart::is_multipart(headers) {
        return multipart::decoded(headers, body);
    }
    serde_json::from_slice(body).map_err(|error| format!("the answer is not JSON: {error}"))
}

/// What a request is made of fails: for the values of a batch that is a matter of one of its records.
fn unmade(names: &Names, failure: Failure) -> Failure {
    match names.has("batch") {
        true => Failure::new(Class::Validation, failure.detail),
        false => failure,
    }
}

pub(crate) fn unanswered(error: &outbound::Error) -> Failure {
    let class = match error {
        outbound::Error::NotAllowed(_) => Class::Settings,
        outbound::Error::TooLarge { .. } => Class::TooLarge,
        _ => Class::Network,
    };
    let mut failure = Failure::new(class, error.to_string());
    failure.ambiguous = error.sent();
    failure
}

pub(crate) fn parsed(text: &str) -> Result<Url, Failure> {
    // The address itself is not shown: it may hold what a template put there.
    Url::parse(text).map_err(|e| Failure::new(Class::Settings, format!("not an address: {e}")))
}

pub(crate) fn header_value(text: &str, sensitive: bool) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::from_str(text);
    let mut value =
        value.map_err(|_| Failure::new(Class::Settings, "a header has a character that cannot be sent"))?;
    value.set_sensitive(sensitive);
    Ok(value)
}

impl Outgoing {
    /// What would be sent, for samples.
    pub(crate) fn shown(&self) -> Json {
        let body = &self.request.body;
        if let Some(parts) = &self.parts {
            let (method, url) = (self.request.method.as_str(), self.request.url.as_str());
            return json!({"method": method, "url": url, "parts": parts});
        }
        let text = || Json::String(String::from_utf8_lossy(body).into_owned());
        json!({
            "method": self.request.method.as_str(),
            "url": self.request.url.as_str(),
            "body": serde_json::from_slice(body).unwrap_or_else(|_| text()),
        })
    }

    fn new(method: Method, url: Url) -> Outgoing {
        let mut request = Request::new(method, url);
        request
            .headers
            .insert(ACCEPT, HeaderValue::from_static("application/json"));
        Outgoing {
            request,
            remote: false,
            answer: Answer::Json,
            parts: None,
        }
    }

    /// A form, as the token endpoints of OAuth want it.
    pub(crate) fn form(url: &str, form: &[(&str, String)], headers: HeaderMap) -> Result<Outgoing, Failure> {
        let mut outgoing = Outgoing::new(Method::POST, parsed(url)?);
        outgoing.request.headers.extend(headers);
        outgoing.form_body(form);
        Ok(outgoing)
    }

    fn form_body(&mut self, form: &[(&str, String)]) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        self.request.body = Bytes::from(body);
        self.request.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
    }

    fn parts(&mut self, parts: &Json) -> Result<(), Failure> {
        self.parts = Some(parts.clone());
        let parts = parts.as_array().map(Vec::as_slice).unwrap_or_default();
        let body = multipart::encoded(parts).map_err(Failure::protocol)?;
        self.request.body = Bytes::from(body);
        let headers = &mut self.request.headers;
        headers.insert(CONTENT_TYPE, header_value(&multipart::content_type(), false)?);
        headers.insert(ACCEPT, HeaderValue::from_static("multipart/mixed"));
        Ok(())
    }

    fn json(&mut self, body: &Json) {
        self.request.body = Bytes::from(body.to_string());
        self.request
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }

    fn header(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        self.request
            .headers
            .insert(header_name(name)?, header_value(value, false)?);
        Ok(())
    }
}
