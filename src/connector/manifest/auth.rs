//! How a connection proves who it is: a closed set of kinds.

use diagnostic::{Fields, Node, Report};

use super::reader::Reader;
use super::request::{Call, Expr, Tree};
use crate::jwt::Algorithm;
use crate::template::Template;

/// One way to authorise, chosen by the settings of a connection.
pub(crate) struct Auth {
    pub(crate) name: String,
    pub(crate) kind: AuthKind,
    /// Whose existence the engine checks before the first call.
    pub(crate) needs: Vec<String>,
    /// What the system wants against forged requests, besides the proof itself.
    pub(crate) csrf: Option<Csrf>,
}

/// What proves who it is: the value of the `Authorization` header is called the header.
pub(crate) enum AuthKind {
    /// A fixed token.
    Bearer { header: Template },
    /// A user name and a password with every request.
    Basic { user: Template, password: Template },
    /// A fixed value under a name of the system's own.
    ApiKey(ApiKey),
    /// A token for the client itself.
    ClientCredentials(OAuth),
    /// A token from a refresh token, which may be replaced each time.
    Refresh(OAuth),
    /// The same, with the first refresh token from a person who signs in with a browser.
    Code { oauth: OAuth, authorize_url: Template },
    /// A token from an assertion that a private key signs.
    JwtBearer { oauth: OAuth, assertion: Assertion },
    /// Every request is signed.
    OAuth1 { realm: Template },
    /// A session from a user name and a password, by a remote call.
    Session { login: Login, header: Template },
    /// A session that a cookie stands for, from a request.
    Cookie { request: Call },
}

pub(crate) struct ApiKey {
    pub(crate) in_query: bool,
    /// Of the header or of the query's parameter.
    pub(crate) name: Template,
    pub(crate) value: Template,
}

pub(crate) struct OAuth {
    pub(crate) token_url: Template,
    pub(crate) client_auth: ClientAuth,
    pub(crate) scopes: Vec<Template>,
    /// Life of a token when the answer does not say it.
    pub(crate) assume_ms: Option<u64>,
    /// How long before its end a token is renewed.
    pub(crate) skew_ms: u64,
    pub(crate) header: Template,
}

/// How the client shows at the token endpoint who it is.
pub(crate) enum ClientAuth {
    Body,
    Basic,
    /// RFC 7523: an assertion instead of a secret.
    Assertion(Assertion),
}

/// Claims that a private key signs.
pub(crate) struct Assertion {
    pub(crate) algorithm: Algorithm,
    /// The secret that holds the key.
    pub(crate) key: String,
    pub(crate) key_id: Option<Template>,
    pub(crate) claims: Expr,
    pub(crate) life_ms: u64,
}

/// A token that must come with every request that changes something, and the session that it belongs to.
pub(crate) struct Csrf {
    pub(crate) request: Call,
    /// The header of the answer that has the token, and of the requests that bring it.
    pub(crate) header: String,
}

pub(crate) struct Login {
    pub(crate) method: Template,
    pub(crate) params: Expr,
    /// Asked once after the login; its result is the context of every call.
    pub(crate) context: Option<Call>,
    /// Added to the context.
    pub(crate) extra: serde_json::Map<String, serde_json::Value>,
}

/// Renewal starts this long before the end of a token unless the manifest says otherwise.
const SKEW_MS: u64 = 60_000;
/// How long an assertion is good unless the manifest says otherwise; three minutes is what Salesforce allows at most.
const ASSERTION_MS: u64 = 180_000;

const OWN: [&str; 2] = ["config", "secrets"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bearer,
    Basic,
    ApiKey,
    ClientCredentials,
    Refresh,
    Code,
    JwtBearer,
    OAuth1,
    Session,
    Cookie,
}

/// The words of `kind`.
const KINDS: [(&str, Kind); 10] = [
    ("bearer", Kind::Bearer),
    ("basic", Kind::Basic),
    ("api_key", Kind::ApiKey),
    ("oauth2_client_credentials", Kind::ClientCredentials),
    ("oauth2_refresh", Kind::Refresh),
    ("oauth2_code", Kind::Code),
    ("oauth2_jwt_bearer", Kind::JwtBearer),
    ("oauth1", Kind::OAuth1),
    ("session_login", Kind::Session),
    ("cookie_login", Kind::Cookie),
];

pub(super) fn read(reader: &mut Reader<'_>, connection: &mut Fields<'_>, report: &mut Report) -> Vec<Auth> {
    let mut found: Vec<Auth> = Vec::new();
    for node in connection.list("auth", report) {
        let Some(auth) = one(reader, node, report) else {
            continue;
        };
        if found.iter().any(|a| a.name == auth.name) {
            report.error(
                "IC0205",
                reader.source,
                node.place,
                format!("a second way to authorise named `{}`", auth.name),
                "give each a `name` of its own",
            );
        }
        found.push(auth);
    }
    if found.is_empty() && !report.has_errors() {
        report.error(
            "IC0205",
            reader.source,
            connection.place(),
            "the connection has no way to authorise",
            "add `auth:` with at least one kind",
        );
    }
    found
}

fn one(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Auth> {
    let mut fields = Fields::open(node, "a way to authorise", reader.source, report)?;
    let chosen = fields.choice("kind", &KINDS, report)?;
    let kind_name = KINDS
        .iter()
        .find(|(_, kind)| *kind == chosen)
        .map_or("", |(name, _)| name);
    let name = fields
        .optional_text("name", report)
        .unwrap_or(kind_name)
        .to_owned();
    let mut needs: Vec<String> = fields
        .texts("needs", report)
        .into_iter()
        .map(str::to_owned)
        .collect();
    let kind = kind(chosen, reader, &mut fields, &mut needs, report);
    let csrf = fields.optional("csrf").map(|node| csrf(reader, node, report));
    for need in &needs {
        if !reader.secrets.contains_key(need) {
            report.error(
                "IC0205",
                reader.source,
                node.place,
                format!("`{kind_name}` needs the secret `{need}`, which is not declared"),
                format!("add `{need}: …` under connection.secrets, with where to find it"),
            );
        }
    }
    fields.finish(report);
    Some(Auth {
        name,
        kind: kind?,
        needs,
        csrf: match csrf {
            Some(csrf) => Some(csrf?),
            None => None,
        },
    })
}

fn kind(
    chosen: Kind,
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    needs: &mut Vec<String>,
    report: &mut Report,
) -> Option<AuthKind> {
    let mut need = |names: &[&str]| needs.extend(names.iter().map(|name| (*name).to_owned()));
    match chosen {
        Kind::Bearer => {
            let header = template(reader, "header", fields, &OWN, report)?;
            Some(AuthKind::Bearer { header })
        }
        Kind::Basic => {
            let user = template(reader, "user", fields, &OWN, report);
            let password = template(reader, "password", fields, &OWN, report);
            Some(AuthKind::Basic {
                user: user?,
                password: password?,
            })
        }
        Kind::ApiKey => api_key(reader, fields, report).map(AuthKind::ApiKey),
        Kind::ClientCredentials => {
            let oauth = oauth(reader, fields, needs, report)?;
            Some(AuthKind::ClientCredentials(oauth))
        }
        Kind::Refresh => {
            need(&["refresh_token"]);
            oauth(reader, fields, needs, report).map(AuthKind::Refresh)
        }
        Kind::Code => {
            let authorize_url = template(reader, "authorize_url", fields, &["config"], report);
            let oauth = oauth(reader, fields, needs, report);
            Some(AuthKind::Code {
                oauth: oauth?,
                authorize_url: authorize_url?,
            })
        }
        Kind::JwtBearer => {
            let node = fields.required("assertion", report);
            let assertion = node.and_then(|node| assertion(reader, node, needs, report));
            let oauth = oauth_without_client(reader, fields, report);
            Some(AuthKind::JwtBearer {
                oauth: oauth?,
                assertion: assertion?,
            })
        }
        Kind::OAuth1 => {
            need(&["consumer_key", "consumer_secret", "token_id", "token_secret"]);
            let realm = template(reader, "realm", fields, &["config"], report)?;
            Some(AuthKind::OAuth1 { realm })
        }
        Kind::Session => {
            let header = template(reader, "header", fields, &["config", "secrets", "reply"], report);
            let login = login(reader, fields, report);
            Some(AuthKind::Session {
                login: login?,
                header: header?,
            })
        }
        Kind::Cookie => {
            let request = reader.call("request", fields, &["secrets"], report)?;
            Some(AuthKind::Cookie { request })
        }
    }
}

fn template(
    reader: &mut Reader<'_>,
    key: &'static str,
    fields: &mut Fields<'_>,
    names: &[&str],
    report: &mut Report,
) -> Option<Template> {
    let node = fields.required(key, report)?;
    reader.template(node, names, report)
}

fn api_key(reader: &mut Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Option<ApiKey> {
    let in_query = fields.choice("in", &[("header", false), ("query", true)], report);
    let name = template(reader, "key_name", fields, &["config"], report);
    let value = template(reader, "value", fields, &OWN, report);
    Some(ApiKey {
        in_query: in_query?,
        name: name?,
        value: value?,
    })
}

/// OAuth 2 where the client shows at the token endpoint who it is.
fn oauth(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    needs: &mut Vec<String>,
    report: &mut Report,
) -> Option<OAuth> {
    needs.push("client_id".to_owned());
    let ways = [("body", 0), ("basic", 1), ("assertion", 2)];
    let client_auth = match fields.optional_choice("client_auth", &ways, report) {
        Some(2) => {
            let node = fields.required("assertion", report)?;
            ClientAuth::Assertion(assertion(reader, node, needs, report)?)
        }
        way => {
            needs.push("client_secret".to_owned());
            if way == Some(1) {
                ClientAuth::Basic
            } else {
                ClientAuth::Body
            }
        }
    };
    let oauth = oauth_without_client(reader, fields, report)?;
    Some(OAuth { client_auth, ..oauth })
}

fn oauth_without_client(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    report: &mut Report,
) -> Option<OAuth> {
    let token_url = template(reader, "token_url", fields, &["config"], report);
    let header = match fields.optional("header") {
        Some(node) => reader.template(node, &["token"], report),
        None => reader.templates.add("Bearer {{ token }}").ok().map(|(t, _)| t),
    };
    let scopes = reader.template_list("scopes", fields, &["config"], report)?;
    let assume_ms = reader.duration("assume", fields, report);
    let skew_ms = reader.duration("skew", fields, report).unwrap_or(SKEW_MS);
    Some(OAuth {
        token_url: token_url?,
        client_auth: ClientAuth::Body,
        scopes,
        assume_ms,
        skew_ms,
        header: header?,
    })
}

fn assertion(
    reader: &mut Reader<'_>,
    node: &Node,
    needs: &mut Vec<String>,
    report: &mut Report,
) -> Option<Assertion> {
    let mut fields = Fields::open(node, "an assertion", reader.source, report)?;
    let algorithm = fields.choice("algorithm", &Algorithm::NAMES, report);
    let key = fields.text("key", report).map(str::to_owned);
    needs.extend(key.clone());
    let key_id = match fields.optional("key_id") {
        Some(node) => Some(reader.template(node, &OWN, report)?),
        None => None,
    };
    let claims = fields.required("claims", report);
    let claims = claims.and_then(|node| reader.expr(node, &OWN, report));
    if let (Some(Expr::Program(_) | Expr::Tree(Tree::Text(_) | Tree::List(_))), Some(node)) =
        (&claims, fields.optional("claims"))
    {
        return fields.wrong("claims", node, "a map of claims to texts", report);
    }
    let life_ms = reader
        .duration("life", &mut fields, report)
        .unwrap_or(ASSERTION_MS);
    fields.finish(report);
    Some(Assertion {
        algorithm: algorithm?,
        key: key?,
        key_id,
        claims: claims?,
        life_ms,
    })
}

fn csrf(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Csrf> {
    let mut fields = Fields::open(
        node,
        "the protection against forged requests",
        reader.source,
        report,
    )?;
    let request = reader.call("request", &mut fields, &[], report);
    let header = fields.text("header", report).map(str::to_lowercase);
    fields.finish(report);
    Some(Csrf {
        request: request?,
        header: header?,
    })
}

fn login(reader: &mut Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Option<Login> {
    let method = template(reader, "call", fields, &OWN, report);
    let params = fields
        .required("params", report)
        .and_then(|n| reader.expr(n, &OWN, report));
    let context = fields
        .optional("context")
        .and_then(|n| reader.call_with(n, &["config"], report));
    let extra = fields
        .map("extra_context", report)
        .iter()
        .map(|(key, _, node)| (key.clone(), node.to_json()))
        .collect();
    Some(Login {
        method: method?,
        params: params?,
        context,
        extra,
    })
}
