//! [`SecretRef`]: where a secret is kept, never the secret itself.

use std::fmt;

use diagnostic::{Fields, Node, Report, Source, Value};
use jiff::Timestamp;

use super::paths;
use crate::seal::{MAKE_KEY, SealKey};

/// How a secret of a certain kind is written, where the hub knows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Any way: it is another's.
    Any,
    /// A key that callers of the API show, or partners that pull.
    ApiKey,
    /// What signs webhooks, or verifies them.
    Signing,
    /// A key that seals what is kept.
    Seal,
}

impl Form {
    /// What is wrong with a secret, which is not repeated.
    pub(super) fn fault(self, secret: &str) -> Option<String> {
        match self {
            Form::Any => None,
            Form::ApiKey => secret.parse::<server::ApiKey>().err().map(|bad| bad.to_string()),
            Form::Signing => secret.parse::<relay::Secret>().err().map(|bad| bad.to_string()),
            Form::Seal => {
                let bad = SealKey::parse(secret).err()?;
                Some(format!("it is {bad}; make one with: {MAKE_KEY}"))
            }
        }
    }
}

/// A reference to a secret: `${env:NAME}` or `${file:/path}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file, as it is found from here; a line feed at its end is cut.
    File(String),
}

/// A secret that is not where it is said to be.
#[derive(Debug, thiserror::Error)]
#[error("the secret {reference} is not there{detail}")]
pub struct MissingSecret {
    reference: SecretRef,
    detail: String,
}

impl SecretRef {
    /// Reads a reference.
    pub fn parse(text: &str) -> Option<SecretRef> {
        let inner = text.trim().strip_prefix("${")?.strip_suffix('}')?;
        match inner.split_once(':')? {
            ("env", name) if !name.is_empty() => Some(SecretRef::Env(name.to_owned())),
            ("file", path) if !path.is_empty() => Some(SecretRef::File(path.to_owned())),
            _ => None,
        }
    }

    /// Looks the secret up.
    pub fn look_up(&self) -> Result<String, MissingSecret> {
        let missing = |detail: String| MissingSecret {
            reference: self.clone(),
            detail,
        };
        let secret = match self {
            SecretRef::Env(name) => {
                std::env::var(name).map_err(|_| missing(format!("; set the environment variable {name}")))?
            }
            SecretRef::File(path) => std::fs::read_to_string(path)
                .map_err(|error| missing(format!("; {path} cannot be read: {error}")))?,
        };
        let secret = secret.trim_end_matches(['\r', '\n']).to_owned();
        if secret.is_empty() {
            return Err(missing("; it is empty".to_owned()));
        }
        Ok(secret)
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "${{env:{name}}}"),
            SecretRef::File(path) => write!(f, "${{file:{path}}}"),
        }
    }
}

/// Reads a reference; a secret that stands in the file itself is a finding, and is not repeated in it.
/// One that is not there on this machine is a warning: the file may be checked elsewhere than it is used. One that is there
/// must have its form.
pub(super) fn read(
    key: &str,
    form: Form,
    node: &Node,
    source: &Source,
    report: &mut Report,
) -> Option<SecretRef> {
    let Some(secret) = node.text().and_then(SecretRef::parse) else {
        report.hide(source, node.place);
        report.error(
            "IC0103",
            source,
            node.place,
            format!("`{key}` holds a secret itself, or something that is no reference to one"),
            "keep the secret elsewhere and refer to it: ${env:NAME} or ${file:/run/secrets/name}",
        );
        return None;
    };
    let secret = match secret {
        SecretRef::File(path) => SecretRef::File(paths::beside(source, &path)),
        env @ SecretRef::Env(_) => env,
    };
    match secret.look_up() {
        Ok(found) => {
            if let Some(fault) = form.fault(&found) {
                let what = format!("what {secret} holds cannot be the `{key}`: {fault}");
                report.error(
                    "IC0115",
                    source,
                    node.place,
                    what,
                    "the hub will not start with it",
                );
            }
        }
        Err(missing) => report.warning(
            "IC0104",
            source,
            node.place,
            missing.to_string(),
            "the hub will not start without it",
        ),
    }
    Some(secret)
}

/// A reference with, if it was said, until when the secret is to be used: `{ value: …, expires: 2027-01-01T00:00:00Z }`.
pub(super) fn read_expiring(
    key: &str,
    form: Form,
    node: &Node,
    source: &Source,
    report: &mut Report,
) -> Option<(SecretRef, Option<Timestamp>)> {
    if !matches!(node.value, Value::Map(_)) {
        return Some((read(key, form, node, source, report)?, None));
    }
    let mut fields = Fields::open(node, "a secret", source, report)?;
    let value = fields
        .required("value", report)
        .and_then(|node| read(key, form, node, source, report));
    let text = fields.text("expires", report);
    let place = fields
        .optional("expires")
        .map_or(fields.place(), |node| node.place);
    fields.finish(report);
    let at = text.map(str::parse::<Timestamp>);
    if let Some(Err(error)) = &at {
        report.error(
            "IC0135",
            source,
            place,
            format!("`expires` is no moment with an offset: {error}"),
            "write for example 2027-01-01T00:00:00Z",
        );
    }
    Some((value?, at.and_then(Result::ok)))
}

/// Reads a reference that may be left out.
pub(super) fn optional(
    fields: &mut Fields<'_>,
    key: &'static str,
    form: Form,
    report: &mut Report,
) -> Option<SecretRef> {
    let node = fields.optional(key)?;
    read(key, form, node, fields.source(), report)
}

/// Reads the keys that seal, one or a list of them.
pub(super) fn seal_keys(fields: &mut Fields<'_>, report: &mut Report) -> Vec<SecretRef> {
    let source = fields.source();
    let nodes = match fields.optional("seal_key") {
        Some(Node {
            value: Value::List(nodes),
            ..
        }) => nodes.as_slice(),
        node => node.map(std::slice::from_ref).unwrap_or_default(),
    };
    let keys = nodes.iter();
    keys.filter_map(|node| read("seal_key", Form::Seal, node, source, report))
        .collect()
}

/// What was found but for secrets that are not on this machine.
#[cfg(test)]
pub(super) fn but_missing(report: &Report) -> String {
    let found = report.render(false);
    let others = found
        .split("\n\n")
        .filter(|one| !one.starts_with("warning[IC0104]"));
    others.collect::<Vec<_>>().join("\n\n")
}

/// What is said of each finding, and how it is mended.
#[cfg(test)]
pub(super) fn headlines(found: &str) -> String {
    let lines = found
        .lines()
        .filter(|line| line.contains("[IC") || line.contains("help"));
    lines.collect::<Vec<_>>().join("\n")
}
