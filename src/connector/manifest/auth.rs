//! How a connection proves who it is: a closed set of kinds.

use diagnostic::{Fields, Node, Report};

use super::reader::Reader;
use super::request::{Call, Expr};
use crate::template::Template;

/// One way to authorise, chosen by the settings of a connection.
pub(crate) struct Auth {
    pub(crate) name: String,
    pub(crate) kind: AuthKind,
    /// The value of the `Authorization` header.
    pub(crate) header: Template,
    /// Whose existence the engine checks before the first call.
    pub(crate) needs: Vec<String>,
}

pub(crate) enum AuthKind {
    /// A fixed token.
    Bearer,
    /// A token for the client itself.
    ClientCredentials(OAuth),
    /// A token from a refresh token, which may be replaced each time.
    Refresh(OAuth),
    /// A session from a user name and a password.
    Session(Login),
}

pub(crate) struct OAuth {
    pub(crate) token_url: Template,
    pub(crate) client_auth: ClientAuth,
    pub(crate) scopes: Vec<String>,
    /// Life of a token when the answer does not say it.
    pub(crate) assume_ms: Option<u64>,
    /// How long before its end a token is renewed.
    pub(crate) skew_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Body,
    Basic,
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
    let kinds = [
        ("bearer", 0),
        ("oauth2_client_credentials", 1),
        ("oauth2_refresh", 2),
        ("session_login", 3),
    ];
    let number = fields.choice("kind", &kinds, report)?;
    let kind_name = kinds[number].0;
    let name = fields
        .optional_text("name", report)
        .unwrap_or(kind_name)
        .to_owned();
    let mut needs: Vec<String> = fields
        .texts("needs", report)
        .into_iter()
        .map(str::to_owned)
        .collect();
    let names: &[&str] = match number {
        0 => &["config", "secrets"],
        3 => &["config", "secrets", "reply"],
        _ => &["token"],
    };
    let header = match fields.optional("header") {
        Some(node) => reader.template(node, names, report),
        None if number == 1 || number == 2 => reader.templates.add("Bearer {{ token }}").ok().map(|(t, _)| t),
        None => {
            fields.required("header", report);
            None
        }
    };
    let kind = match number {
        0 => Some(AuthKind::Bearer),
        3 => login(reader, &mut fields, report).map(AuthKind::Session),
        _ => {
            needs.extend(["client_id".to_owned(), "client_secret".to_owned()]);
            let oauth = oauth(reader, &mut fields, report);
            if number == 1 {
                oauth.map(AuthKind::ClientCredentials)
            } else {
                needs.push("refresh_token".to_owned());
                oauth.map(AuthKind::Refresh)
            }
        }
    };
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
        header: header?,
        needs,
    })
}

fn oauth(reader: &mut Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Option<OAuth> {
    let token_url = fields
        .required("token_url", report)
        .and_then(|n| reader.template(n, &["config"], report));
    let client_auth = fields
        .optional_choice(
            "client_auth",
            &[("body", ClientAuth::Body), ("basic", ClientAuth::Basic)],
            report,
        )
        .unwrap_or(ClientAuth::Body);
    let scopes = fields
        .texts("scopes", report)
        .into_iter()
        .map(str::to_owned)
        .collect();
    let assume_ms = reader.duration("assume", fields, report);
    let skew_ms = reader.duration("skew", fields, report).unwrap_or(SKEW_MS);
    Some(OAuth {
        token_url: token_url?,
        client_auth,
        scopes,
        assume_ms,
        skew_ms,
    })
}

fn login(reader: &mut Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Option<Login> {
    let names = ["config", "secrets"];
    let method = fields
        .required("call", report)
        .and_then(|n| reader.template(n, &names, report));
    let params = fields
        .required("params", report)
        .and_then(|n| reader.expr(n, &names, report));
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
