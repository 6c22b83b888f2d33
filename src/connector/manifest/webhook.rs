//! How requests that a system sends are verified and understood.

use diagnostic::{Fields, Node, Report, Value};

use super::reader::Reader;
use crate::program::Program;
use crate::template::Template;

pub(crate) struct Webhooks {
    /// Any one of these must hold.
    pub(crate) verify: Vec<Verify>,
    pub(crate) events: Program,
}

/// A keyed hash over parts of the request.
pub(crate) struct Verify {
    pub(crate) encoding: Encoding,
    pub(crate) secret: String,
    pub(crate) secret_form: SecretForm,
    pub(crate) parts: Vec<Part>,
    pub(crate) header: String,
    /// What stands before the signature in the header.
    pub(crate) prefix: String,
    /// What stands between several signatures in the header.
    pub(crate) separator: Option<String>,
    pub(crate) timestamp: Option<TimestampHeader>,
}

pub(crate) struct TimestampHeader {
    pub(crate) header: String,
    /// Milliseconds in one unit of the header.
    pub(crate) unit_ms: u64,
    pub(crate) max_age_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Base64,
    Hex,
}

/// How the secret's text becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretForm {
    /// The bytes of the text.
    Text,
    /// `whsec_` and base64.
    Whsec,
}

/// A part of what is signed.
pub(crate) enum Part {
    /// The body, byte by byte.
    Body,
    Text(Template),
}

pub(super) fn read(reader: &mut Reader<'_>, root: &mut Fields<'_>, report: &mut Report) -> Option<Webhooks> {
    let node = root.optional("webhooks")?;
    let mut fields = Fields::open(node, "the webhooks", reader.source, report)?;
    let verify: Vec<Verify> = fields
        .list("verify", report)
        .iter()
        .filter_map(|n| one(reader, n, report))
        .collect();
    if verify.is_empty() && !report.has_errors() {
        report.error(
            "IC0208",
            reader.source,
            node.place,
            "webhooks without a way to verify them",
            "add `verify:` with a keyed hash; what cannot be verified cannot be accepted",
        );
    }
    let events = reader.program("events", &mut fields, &[], report);
    fields.finish(report);
    Some(Webhooks {
        verify,
        events: events?,
    })
}

fn one(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Verify> {
    let mut fields = Fields::open(node, "a verification", reader.source, report)?;
    fields.choice("kind", &[("hmac", ())], report);
    fields.choice("algorithm", &[("sha256", ())], report);
    let encodings = [("base64", Encoding::Base64), ("hex", Encoding::Hex)];
    let encoding = fields.choice("encoding", &encodings, report);
    let secret = secret_name(reader, &mut fields, report);
    let forms = [("text", SecretForm::Text), ("whsec", SecretForm::Whsec)];
    let secret_form = fields
        .optional_choice("secret_form", &forms, report)
        .unwrap_or(SecretForm::Text);
    let parts = fields
        .list("signed", report)
        .iter()
        .filter_map(|n| match n.text() {
            Some("body") => Some(Part::Body),
            _ => reader.template(n, &["request"], report).map(Part::Text),
        })
        .collect();
    fields.required("signed", report);
    let header = fields.text("header", report).map(str::to_lowercase);
    let prefix = fields
        .optional_text("prefix", report)
        .unwrap_or_default()
        .to_owned();
    let separator = fields.optional("separator").and_then(|n| match &n.value {
        Value::Text(text) => Some(text.clone()),
        _ => fields.wrong("separator", n, "a text", report),
    });
    let timestamp = fields.optional("timestamp").and_then(|n| {
        let mut fields = Fields::open(n, "the timestamp", reader.source, report)?;
        let header = fields.text("header", report).map(str::to_lowercase);
        let unit_ms = fields.choice("unit", &[("s", 1_000), ("ms", 1)], report);
        let max_age_ms = reader.duration("max_age", &mut fields, report);
        fields.required("max_age", report);
        fields.finish(report);
        Some(TimestampHeader {
            header: header?,
            unit_ms: unit_ms?,
            max_age_ms: max_age_ms?,
        })
    });
    fields.finish(report);
    Some(Verify {
        encoding: encoding?,
        secret: secret?,
        secret_form,
        parts,
        header: header?,
        prefix,
        separator,
        timestamp,
    })
}

fn secret_name(reader: &Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Option<String> {
    let node = fields.required("secret", report)?;
    let name = node.text()?;
    if !reader.secrets.contains_key(name) {
        let hint = diagnostic::suggestion(name, reader.secrets.keys().map(String::as_str));
        let message = format!("`{name}` is not declared under connection.secrets");
        report.error("IC0202", reader.source, node.place, message, hint);
    }
    Some(name.to_owned())
}
