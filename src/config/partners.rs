//! Partners and their endpoints, as configured.

use std::collections::BTreeMap;
use std::sync::Arc;

use diagnostic::{Fields, Node, Place, Report, Source};
use event::Shape;
use jiff::Timestamp;
use outbound::{BadTarget, Guard, NotAllowed, Target};
use policy::SharingPolicy;
use program::Program;
use relay::breaker::REST_MS_MAX;
use relay::schedule::RETRIES_MAX;
use relay::{
    BreakerSettings, DEADLINE_MS, IN_FLIGHT_MAX, Order, POSTS_PER_S_MAX, RATE_PER_S_MAX, Subscription,
};

use super::secret::{self, Form, SecretRef};
use super::sharing::Policies;
use super::tls::EndpointTls;
use super::{ConnectionConfig, sharing, subscriptions, tls};

/// An organisation that sends and receives webhooks.
#[derive(Clone, Debug)]
pub struct PartnerConfig {
    /// What it signs with; several while one is being rotated.
    pub secrets: Vec<SecretRef>,
    /// Until when each of them is to be used, where that was said.
    pub expires: Vec<Option<Timestamp>>,
    /// What makes an event of what it posts, when that is none.
    pub takes: Option<Arc<Program>>,
    /// Messages that are taken in a second.
    pub posts_per_s: Option<u32>,
    /// Where it receives.
    pub endpoints: Vec<EndpointConfig>,
}

/// How we show an endpoint who we are, beside our signature.
#[derive(Clone, Debug)]
pub enum EndpointAuth {
    /// A token, as a bearer.
    Bearer(SecretRef),
    /// A user and a password.
    Basic(String, SecretRef),
    /// A token of OAuth 2, for a client.
    OAuth2(OAuth2Client),
}

/// A client of OAuth 2.
#[derive(Clone, Debug)]
pub struct OAuth2Client {
    /// Where tokens are given.
    pub token_url: String,
    /// Who it is.
    pub client_id: SecretRef,
    /// What proves it.
    pub client_secret: SecretRef,
    /// What is asked for; nothing means what the endpoint gives by itself.
    pub scopes: Vec<String>,
}

/// A subscriber's URL.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Its name, unique in the file.
    pub name: String,
    /// Where it is; empty when nothing is sent to it, because its partner pulls what it is to be told.
    pub url: String,
    /// What we sign with; several while one is being rotated, and each message carries a signature of every one.
    pub secrets: Vec<SecretRef>,
    /// Until when each of them is to be used, where that was said.
    pub expires: Vec<Option<Timestamp>>,
    /// What is sent with each delivery beside our own headers.
    pub headers: Vec<(String, SecretRef)>,
    /// Who we are to it, in its `Authorization` header.
    pub auth: Option<EndpointAuth>,
    /// How TLS is spoken to it, where that is not the ordinary way.
    pub tls: Option<EndpointTls>,
    /// What whoever pulls its events shows; only the admin may when there is none.
    pub pull_key: Option<SecretRef>,
    /// Which events it hears of.
    pub subscriptions: Vec<Subscription>,
    /// What it gets them as.
    pub shape: Shape,
    /// What of them it may know.
    pub share: SharingPolicy,
    /// Requests at the same time.
    pub in_flight_max: usize,
    /// Requests in any one second.
    pub rate_per_s: Option<usize>,
    /// In which order events arrive.
    pub order: Order,
    /// When it is left alone.
    pub breaker: BreakerSettings,
    /// Milliseconds for a whole exchange.
    pub timeout_ms: u64,
    /// Milliseconds before each further try; the relay's own schedule when nothing is said.
    pub retry_ms: Option<Vec<u64>>,
}

/// What is shared with an endpoint of a partner that says nothing else.
struct Shared<'a> {
    policies: &'a Policies,
    /// What may be called.
    guard: &'a Guard,
    /// What the partner says for all its endpoints.
    with_all: Option<&'a SharingPolicy>,
}

/// Milliseconds after which an endpoint is disabled, at most: a year.
const DISABLE_AFTER_MS_MAX: i64 = 31_536_000_000;

/// What an endpoint says about sending.
const SENDING: [&str; 9] = [
    "headers",
    "auth",
    "tls",
    "in_flight_max",
    "rate_per_s",
    "order",
    "breaker",
    "timeout_ms",
    "retry_ms",
];

pub(super) fn partners(
    fields: &mut Fields<'_>,
    connections: &BTreeMap<String, ConnectionConfig>,
    (policies, guard): (&Policies, &Guard),
    report: &mut Report,
) -> BTreeMap<String, PartnerConfig> {
    let source = fields.source();
    let mut partners = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    let entries = fields.map("partners", report);
    let known: Vec<&str> = entries
        .iter()
        .map(|(name, _, _)| name.as_str())
        .chain(connections.keys().map(String::as_str))
        .chain([relay::SOURCE])
        .collect();
    let known = subscriptions::Names {
        known: &known,
        what: "neither a partner nor a connection",
    };
    for (name, place, node) in entries {
        own_name(name, *place, source, report);
        if !is_name(name) {
            report.error(
                "IC0105",
                source,
                *place,
                format!("`{name}` is not a name for a partner"),
                "use lower-case letters, digits and hyphens, 64 characters at most",
            );
        }
        let Some(mut inner) = Fields::open(node, "a partner", source, report) else {
            continue;
        };
        let secrets = inner.list("secrets", report).iter();
        let (secrets, expires) = secrets
            .filter_map(|node| secret::read_expiring("secrets", Form::Signing, node, source, report))
            .unzip();
        let takes = subscriptions::takes(&mut inner, report);
        let posts_per_s = inner.optional_integer("posts_per_s", 1..=i64::from(POSTS_PER_S_MAX), report);
        let share = sharing::share(&mut inner, name, policies, report);
        let shared = Shared {
            policies,
            guard,
            with_all: share.as_ref(),
        };
        let endpoints = inner.list("endpoints", report).iter();
        let endpoints: Vec<EndpointConfig> = endpoints
            .filter_map(|node| endpoint(node, source, &mut names, (known, &shared), report))
            .collect();
        inner.finish(report);
        let is_own = |one: &relay::Subscription| {
            let all_its = !one.from.is_empty() && one.from.iter().all(|from| from == name);
            // A connection may have its name.
            all_its && !connections.contains_key(name)
        };
        for endpoint in endpoints
            .iter()
            .filter(|one| one.subscriptions.iter().any(is_own))
        {
            report.warning(
                "IC0106",
                source,
                *place,
                format!(
                    "`{}` asks for what its own partner says, and nobody is told what they said themselves",
                    endpoint.name
                ),
                "name others in `from`",
            );
        }
        let read = PartnerConfig {
            secrets,
            expires,
            takes,
            posts_per_s: posts_per_s.and_then(|rate| u32::try_from(rate).ok()),
            endpoints,
        };
        partners.insert(name.clone(), read);
    }
    partners
}

/// Who says events: the partners, and the hub itself for those who speak for it.
pub(super) fn speakers<'a>(fields: &mut Fields<'a>) -> Vec<&'a str> {
    let entries = match fields.optional("partners").map(|node| &node.value) {
        Some(diagnostic::Value::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    let partners = entries.iter().map(|(name, _, _)| name.as_str());
    partners.chain([relay::SOURCE]).collect()
}

/// Whether a name can stand in a path and in a job's key.
/// Notes a partner or a connection that is named like the hub: who it is would be taken for the hub.
pub(super) fn own_name(name: &str, place: Place, source: &Source, report: &mut Report) {
    if name == relay::SOURCE {
        report.error(
            "IC0105",
            source,
            place,
            format!("`{name}` is the name of the hub itself, by which `from` means what it says"),
            "use another name",
        );
    }
}

pub(super) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 64 && name.chars().all(allowed)
}

fn endpoint(
    node: &Node,
    source: &Source,
    names: &mut Vec<String>,
    (known, shared): (subscriptions::Names<'_>, &Shared<'_>),
    report: &mut Report,
) -> Option<EndpointConfig> {
    let mut fields = Fields::open(node, "an endpoint", source, report)?;
    let name = fields.text("name", report);
    if let Some(name) = name {
        let place = fields.optional("name").map_or(fields.place(), |node| node.place);
        if !is_name(name) || names.iter().any(|other| other == name) {
            report.error(
                "IC0105",
                source,
                place,
                format!("`{name}` is not a name for an endpoint, or another endpoint has it"),
                "use lower-case letters, digits and hyphens, 64 characters at most, once in the file",
            );
        }
        names.push(name.to_owned());
    }
    let url = match fields.key_place("pull_key") {
        Some(_) if fields.key_place("url").is_none() => {
            only_pulled(&mut fields, report);
            Some("")
        }
        _ => fields.text("url", report),
    };
    if let Some(url) = url.filter(|url| !url.is_empty())
        && let Err(bad) = Target::parse(url, shared.guard)
    {
        let place = fields.optional("url").map_or(fields.place(), |node| node.place);
        let help = match bad {
            _ if url.contains("${") => {
                "an address is written as it is; what is secret about it belongs into `headers` or `auth`"
            }
            BadTarget::NotAllowed(NotAllowed::Private { .. }) => {
                "add it to `outbound.allow` if it is meant, such as 10.0.0.0/8"
            }
            BadTarget::NotAllowed(NotAllowed::NotListed(_)) => {
                "add its host to `outbound.only` if it is meant"
            }
            _ => "write a whole address, https://hooks.example.com/interconnect",
        };
        report.error(
            "IC0157",
            source,
            place,
            format!("nothing can be sent to this `url`: {bad}"),
            help,
        );
    }
    let secrets = match fields.required("secret", report) {
        Some(Node {
            value: diagnostic::Value::List(nodes),
            ..
        }) => nodes.as_slice(),
        node => node.map(std::slice::from_ref).unwrap_or_default(),
    };
    let (secrets, expires) = secrets
        .iter()
        .filter_map(|node| secret::read_expiring("secret", Form::Signing, node, source, report))
        .unzip();
    let headers = fields.map("headers", report).iter();
    let headers = headers
        .filter_map(|(name, _, node)| {
            Some((name.clone(), secret::read(name, Form::Any, node, source, report)?))
        })
        .collect();
    let auth = auth(&mut fields, report);
    let tls = tls::tls(&mut fields, url.filter(|url| !url.is_empty()), report);
    let pull_key = secret::optional(&mut fields, "pull_key", Form::ApiKey, report);
    let subscriptions = subscriptions::subscriptions(&mut fields, known, report);
    let shape = subscriptions::shape(&mut fields, &subscriptions, report);
    let share = sharing::share(&mut fields, name.unwrap_or_default(), shared.policies, report);
    let share = share.or_else(|| shared.with_all.cloned()).unwrap_or_else(|| {
        sharing::unsaid(source, fields.place(), report);
        SharingPolicy::default()
    });
    let shape_place = fields.optional("shape").map_or(fields.place(), |node| node.place);
    subscriptions::tells_which(&shape, &share, shape_place, source, report);
    let in_flight_max = fields
        .optional_integer("in_flight_max", 1..=IN_FLIGHT_MAX as i64, report)
        .unwrap_or(16);
    let rate_per_s = fields.optional_integer("rate_per_s", 1..=RATE_PER_S_MAX as i64, report);
    let orders = [("none", Order::None), ("record", Order::Record)];
    let order = fields
        .optional_choice("order", &orders, report)
        .unwrap_or_default();
    match url {
        Some("") => folds_nothing(&mut fields, &subscriptions, report),
        _ => subscriptions::folds_in_order(&mut fields, &subscriptions, order, report),
    }
    let breaker = breaker(&mut fields, report);
    let timeout_ms = fields
        .optional_integer("timeout_ms", signed(DEADLINE_MS), report)
        .unwrap_or(15_000);
    let retry_ms = retries(&mut fields, report);
    fields.finish(report);
    Some(EndpointConfig {
        name: name?.to_owned(),
        url: url?.to_owned(),
        secrets,
        expires,
        headers,
        auth,
        tls,
        pull_key,
        subscriptions,
        shape,
        share,
        in_flight_max: usize::try_from(in_flight_max).unwrap_or(1),
        rate_per_s: rate_per_s.and_then(|rate| usize::try_from(rate).ok()),
        order,
        breaker,
        timeout_ms: timeout_ms.unsigned_abs(),
        retry_ms,
    })
}

/// Without an address nothing is said about sending.
fn only_pulled(fields: &mut Fields<'_>, report: &mut Report) {
    for key in SENDING {
        if let Some(place) = fields.key_place(key) {
            about_sending(key, place, fields.source(), report);
        }
    }
}

/// Whoever pulls gets every event, so there is nothing to fold, whatever the order.
fn folds_nothing(fields: &mut Fields<'_>, subscriptions: &[Subscription], report: &mut Report) {
    if subscriptions.iter().any(|one| one.fold)
        && let Some(place) = fields.key_place("events")
    {
        about_sending("fold", place, fields.source(), report);
    }
}

fn about_sending(key: &str, place: Place, source: &Source, report: &mut Report) {
    report.error(
        "IC0155",
        source,
        place,
        format!("`{key}` is about sending, and nothing is sent to an endpoint without `url`"),
        format!("add `url`, or take `{key}` away: what is pulled is in the order of acceptance"),
    );
}

fn auth(fields: &mut Fields<'_>, report: &mut Report) -> Option<EndpointAuth> {
    let node = fields.optional("auth")?;
    let source = fields.source();
    let mut inner = Fields::open(node, "`auth` of an endpoint", source, report)?;
    let bearer = secret::optional(&mut inner, "bearer", Form::Any, report);
    let user = inner.optional_text("user", report).map(str::to_owned);
    let password = secret::optional(&mut inner, "password", Form::Any, report);
    let token_url = inner.optional_text("token_url", report).map(str::to_owned);
    let client_id = secret::optional(&mut inner, "client_id", Form::Any, report);
    let client_secret = secret::optional(&mut inner, "client_secret", Form::Any, report);
    let scopes: Vec<String> = inner
        .texts("scopes", report)
        .into_iter()
        .map(str::to_owned)
        .collect();
    inner.finish(report);
    match (bearer, (user, password), (token_url, client_id, client_secret)) {
        (Some(token), (None, None), (None, None, None)) => Some(EndpointAuth::Bearer(token)),
        (None, (Some(user), Some(password)), (None, None, None)) => Some(EndpointAuth::Basic(user, password)),
        (None, (None, None), (Some(token_url), Some(client_id), Some(client_secret))) => {
            Some(EndpointAuth::OAuth2(OAuth2Client {
                token_url,
                client_id,
                client_secret,
                scopes,
            }))
        }
        _ => {
            report.error(
                "IC0131",
                source,
                node.place,
                "`auth` is not one of a bearer, a user with a password, and a client of OAuth 2",
                "write `auth: { bearer: ${env:TOKEN} }`, `auth: { user: name, password: ${env:PASSWORD} }`, or \
                 `auth: { token_url: …, client_id: ${env:ID}, client_secret: ${env:SECRET} }`",
            );
            None
        }
    }
}

fn breaker(fields: &mut Fields<'_>, report: &mut Report) -> BreakerSettings {
    let mut breaker = BreakerSettings::default();
    let Some(node) = fields.optional("breaker") else {
        return breaker;
    };
    let Some(mut inner) = Fields::open(node, "`breaker`", fields.source(), report) else {
        return breaker;
    };
    if let Some(failures) = inner.optional_integer("failures_max", 1..=1_000_000, report) {
        breaker.failures_max = u32::try_from(failures).unwrap_or(u32::MAX);
    }
    if let Some(ms) = inner.optional_integer("rest_ms", signed(1..=REST_MS_MAX), report) {
        breaker.rest_ms = ms.unsigned_abs();
    }
    if let Some(ms) = inner.optional_integer("disable_after_ms", 0..=DISABLE_AFTER_MS_MAX, report) {
        breaker.disable_after_ms = ms.unsigned_abs();
    }
    inner.finish(report);
    breaker
}

/// Bounds as the reader takes them.
fn signed(bounds: std::ops::RangeInclusive<u64>) -> std::ops::RangeInclusive<i64> {
    let number = |n: &u64| i64::try_from(*n).unwrap_or(i64::MAX);
    number(bounds.start())..=number(bounds.end())
}

fn retries(fields: &mut Fields<'_>, report: &mut Report) -> Option<Vec<u64>> {
    fields.optional("retry_ms")?;
    let list = fields.list("retry_ms", report);
    let times: Option<Vec<u64>> = list
        .iter()
        .map(|node| match node.value {
            diagnostic::Value::Integer(ms) => u64::try_from(ms).ok(),
            _ => None,
        })
        .collect();
    match times.filter(|times| times.len() <= RETRIES_MAX) {
        Some(times) => Some(times),
        None => {
            let place = fields
                .optional("retry_ms")
                .map_or(fields.place(), |node| node.place);
            report.error(
                "IC0108",
                fields.source(),
                place,
                format!("`retry_ms` is not a list of at most {RETRIES_MAX} whole numbers"),
                "write milliseconds, for example [5000, 300000]",
            );
            None
        }
    }
}
