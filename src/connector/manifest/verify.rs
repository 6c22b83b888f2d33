//! Ways in which a system proves that a request is its own: a closed set.
//!
//! Either the request is *signed*, by a keyed hash or a private key over parts of it, or it *tells* a secret that both
//! sides know. A signature is to be preferred: who sees one request learns nothing for the next one.
//! What well-known senders do is a *preset* (`connectors/signatures.yaml`): the same keys, under a name.

use std::sync::LazyLock;

use diagnostic::{Fields, Node, Place, Report, Source, Value};

use super::object::merged;
use super::reader::Reader;
use crate::template::Template;
use program::Program;

/// One way; the secrets are those of one sender, more than one while they are changed.
pub(crate) struct Verify {
    pub(crate) secrets: Vec<String>,
    pub(crate) proof: Proof,
}

pub(crate) enum Proof {
    Signed(Signed),
    Told(Told),
}

/// A signature over parts of the request.
pub(crate) struct Signed {
    pub(crate) scheme: Scheme,
    pub(crate) encoding: Encoding,
    pub(crate) secret_form: SecretForm,
    pub(crate) parts: Vec<Part>,
    pub(crate) place: Slot,
    pub(crate) timestamp: Option<Sent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// A keyed hash.
    Hmac(Hash),
    /// A plain hash, with the secret among the parts.
    Hash(Hash),
    /// A private key that only the sender has; the secret is its public key.
    Ed25519,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

/// A place inside a header.
pub(crate) struct Slot {
    pub(crate) header: String,
    /// What stands before the value.
    pub(crate) prefix: String,
    /// What stands between several values.
    pub(crate) separator: Option<String>,
}

/// When the request was signed.
pub(crate) struct Sent {
    pub(crate) place: Slot,
    pub(crate) unit: Unit,
    pub(crate) max_age_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Millis,
    Iso,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Base64,
    Base64Url,
    Hex,
}

/// How the secret's text becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretForm {
    /// The bytes of the text.
    Text,
    Hex,
    Base64,
    /// `whsec_` and base64.
    Whsec,
    /// `whpk_` and base64.
    Whpk,
}

/// A part of what is signed.
pub(crate) enum Part {
    /// The body, byte by byte.
    Body,
    Secret,
    Text(Template),
}

/// A secret that the request holds itself.
pub(crate) enum Told {
    Header {
        header: String,
        prefix: String,
    },
    Basic {
        user: Template,
    },
    Query(String),
    /// A value, or each of several, of a body in JSON.
    Body(Program),
    /// What a proxy that ends TLS found out about the client's certificate, in the header that a setting names.
    Proxy {
        setting: String,
    },
}

const HASHES: &[(&str, Hash)] = &[
    ("sha1", Hash::Sha1),
    ("sha256", Hash::Sha256),
    ("sha512", Hash::Sha512),
];
const ENCODINGS: &[(&str, Encoding)] = &[
    ("base64", Encoding::Base64),
    ("base64url", Encoding::Base64Url),
    ("hex", Encoding::Hex),
];
const KEY_FORMS: &[(&str, SecretForm)] = &[
    ("text", SecretForm::Text),
    ("hex", SecretForm::Hex),
    ("base64", SecretForm::Base64),
    ("whsec", SecretForm::Whsec),
];
const PUBLIC_FORMS: &[(&str, SecretForm)] = &[
    ("hex", SecretForm::Hex),
    ("base64", SecretForm::Base64),
    ("whpk", SecretForm::Whpk),
];
const UNITS: &[(&str, Unit)] = &[("s", Unit::Seconds), ("ms", Unit::Millis), ("iso", Unit::Iso)];

#[derive(Clone, Copy)]
enum Kind {
    Hmac,
    Hash,
    Ed25519,
    Basic,
    Bearer,
    Header,
    Query,
    BodyField,
    MtlsHeader,
}

const KINDS: &[(&str, Kind)] = &[
    ("hmac", Kind::Hmac),
    ("hash", Kind::Hash),
    ("ed25519", Kind::Ed25519),
    ("basic", Kind::Basic),
    ("bearer", Kind::Bearer),
    ("header", Kind::Header),
    ("query", Kind::Query),
    ("body_field", Kind::BodyField),
    ("mtls_header", Kind::MtlsHeader),
];

/// What well-known senders do, by name.
static PRESETS: LazyLock<Node> = LazyLock::new(|| {
    let text = include_str!("../../../connectors/signatures.yaml");
    Node::parse(
        &Source::new("connectors/signatures.yaml", text),
        &mut Report::new(),
    )
    .expect("the presets that ship are YAML")
});

/// The ways under `verify`.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Vec<Verify> {
    let ways = fields.list("verify", report).iter();
    let mut each = |node| one(reader, &preset(reader, node, report)?, report);
    ways.filter_map(&mut each).collect()
}

/// The way itself, or its preset with what the way says instead.
fn preset(reader: &Reader<'_>, node: &Node, report: &mut Report) -> Option<Node> {
    let Some(chosen) = node.get("preset") else {
        return Some(node.clone());
    };
    let name = chosen.text().unwrap_or_default();
    if let Some(preset) = PRESETS.get(name) {
        return Some(merged(&placed(preset, chosen.place), node));
    }
    let hint = diagnostic::suggestion(name, presets());
    let message = format!("`{name}` is not a known value of `preset`");
    report.error("IC0004", reader.source, chosen.place, message, hint);
    None
}

/// A node of another file, so that what is found in it is told where this file names it.
fn placed(node: &Node, place: Place) -> Node {
    let value = match &node.value {
        Value::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, _, node)| (key.clone(), place, placed(node, place)))
                .collect(),
        ),
        Value::List(nodes) => Value::List(nodes.iter().map(|node| placed(node, place)).collect()),
        value => value.clone(),
    };
    Node { place, value }
}

/// The names of the presets.
pub(crate) fn presets() -> impl Iterator<Item = &'static str> {
    let entries: &'static [_] = match &PRESETS.value {
        Value::Map(entries) => entries,
        _ => &[],
    };
    entries.iter().map(|(name, _, _)| name.as_str())
}

fn one(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Verify> {
    let mut fields = Fields::open(node, "a verification", reader.source, report)?;
    fields.optional("preset");
    let kind = fields.choice("kind", KINDS, report)?;
    let secrets = secrets(reader, &mut fields, report);
    let proof = match kind {
        Kind::Hmac | Kind::Hash | Kind::Ed25519 => {
            signed(kind, reader, &mut fields, report).map(Proof::Signed)
        }
        _ => told(kind, reader, &mut fields, report).map(Proof::Told),
    };
    fields.finish(report);
    Some(Verify {
        secrets,
        proof: proof?,
    })
}

/// One name, or the present one and the one before it, which may be unset.
fn secrets(reader: &Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Vec<String> {
    let node = fields.required("secret", report);
    let nodes = match node.map(|node| &node.value) {
        Some(Value::List(nodes)) => nodes.as_slice(),
        _ => node.map(std::slice::from_ref).unwrap_or_default(),
    };
    for node in nodes {
        if let Some(name) = node.text().filter(|name| !reader.secrets.contains_key(*name)) {
            let hint = diagnostic::suggestion(name, reader.secrets.keys().map(String::as_str));
            let message = format!("`{name}` is not declared under connection.secrets");
            report.error("IC0202", reader.source, node.place, message, hint);
        }
    }
    let names = fields.texts("secret", report).into_iter();
    names.map(str::to_owned).collect()
}

fn signed(
    kind: Kind,
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    report: &mut Report,
) -> Option<Signed> {
    let scheme = match kind {
        Kind::Hmac => fields.choice("algorithm", HASHES, report).map(Scheme::Hmac),
        Kind::Hash => fields.choice("algorithm", HASHES, report).map(Scheme::Hash),
        _ => Some(Scheme::Ed25519),
    };
    let encoding = fields.choice("encoding", ENCODINGS, report);
    let secret_form = match kind {
        Kind::Ed25519 => fields.choice("secret_form", PUBLIC_FORMS, report),
        _ => Some(
            fields
                .optional_choice("secret_form", KEY_FORMS, report)
                .unwrap_or(SecretForm::Text),
        ),
    };
    let parts = parts(reader, fields, report);
    let place = slot(fields, report);
    let timestamp = fields
        .optional("timestamp")
        .and_then(|node| timestamp(reader, node, report));
    let signed = Signed {
        scheme: scheme?,
        encoding: encoding?,
        secret_form: secret_form?,
        parts,
        place: place?,
        timestamp,
    };
    sound(&signed, reader, fields, report);
    Some(signed)
}

fn parts(reader: &mut Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Vec<Part> {
    fields.required("signed", report);
    let nodes = fields.list("signed", report).iter();
    nodes
        .filter_map(|node| match node.text() {
            Some("body") => Some(Part::Body),
            Some("secret") => Some(Part::Secret),
            _ => reader.template(node, &["request"], report).map(Part::Text),
        })
        .collect()
}

fn slot(fields: &mut Fields<'_>, report: &mut Report) -> Option<Slot> {
    let header = fields.text("header", report).map(str::to_lowercase);
    let mut any = |key: &'static str| {
        let node = fields.optional(key)?;
        // Blanks separate, too.
        node.text()
            .map(str::to_owned)
            .or_else(|| fields.wrong(key, node, "text", report))
    };
    let (prefix, separator) = (any("prefix"), any("separator").filter(|text| !text.is_empty()));
    Some(Slot {
        header: header?,
        prefix: prefix.unwrap_or_default(),
        separator,
    })
}

fn timestamp(reader: &Reader<'_>, node: &Node, report: &mut Report) -> Option<Sent> {
    let mut fields = Fields::open(node, "the timestamp", reader.source, report)?;
    let place = slot(&mut fields, report);
    let unit = fields.choice("unit", UNITS, report);
    let max_age_ms = reader.duration("max_age", &mut fields, report);
    fields.required("max_age", report);
    fields.finish(report);
    Some(Sent {
        place: place?,
        unit: unit?,
        max_age_ms: max_age_ms?,
    })
}

/// A signature that proves nothing is an error, one that proves little a warning.
fn sound(signed: &Signed, reader: &Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) {
    let source = reader.source;
    let has = |wanted: fn(&Part) -> bool| signed.parts.iter().any(wanted);
    let (body, secret) = (
        has(|p| matches!(p, Part::Body)),
        has(|p| matches!(p, Part::Secret)),
    );
    let keyed = !matches!(signed.scheme, Scheme::Hash(_));
    if let Some(node) = fields.optional("signed") {
        let mut error = |message: &str, hint: &str| report.error("IC0232", source, node.place, message, hint);
        if !body {
            error(
                "`signed` lacks the body, so that anybody who sees one request could change it",
                "add `body` where the system puts it",
            );
        }
        if !keyed && !secret {
            error(
                "a plain hash without the secret is one that anybody can compute",
                "add `secret` where the system puts it",
            );
        }
        if keyed && secret {
            error(
                "the secret is the key here, and not a part of what is signed",
                "remove `secret` from `signed`, or write `kind: hash`",
            );
        }
    }
    let weak = match signed.scheme {
        Scheme::Hmac(Hash::Sha1) => Some("algorithm"),
        Scheme::Hash(_) => Some("kind"),
        _ => None,
    };
    if let Some(key) = weak {
        let message = match key {
            "kind" => "a plain hash over secret and body is weaker than a keyed hash: a body can be added to",
            _ => "sha1 is weaker than what is used today",
        };
        let place = fields.optional(key).map_or(fields.place(), |node| node.place);
        let hint = "use the newer signature of this system, if it has one";
        report.warning("IC0231", source, place, message, hint);
    }
}

fn told(kind: Kind, reader: &mut Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Option<Told> {
    Some(match kind {
        Kind::Bearer => Told::Header {
            header: "authorization".to_owned(),
            prefix: "Bearer ".to_owned(),
        },
        Kind::Header => Told::Header {
            header: fields.text("header", report)?.to_lowercase(),
            prefix: fields
                .optional_text("prefix", report)
                .unwrap_or_default()
                .to_owned(),
        },
        Kind::Basic => {
            let node = fields.required("user", report)?;
            let user = reader.template(node, &["config"], report)?;
            Told::Basic { user }
        }
        Kind::Query => Told::Query(fields.text("query", report)?.to_owned()),
        Kind::BodyField => Told::Body(body_field(reader, fields, report)?),
        _ => Told::Proxy {
            setting: setting(reader, fields, report)?,
        },
    })
}

/// Only a plain path: it runs on what nobody has verified yet.
fn body_field(reader: &Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Option<Program> {
    let program = reader.program("field", fields, &[], report)?;
    if program.is_path() {
        return Some(program);
    }
    let place = fields.optional("field").map_or(fields.place(), |node| node.place);
    report.error(
        "IC0233",
        reader.source,
        place,
        "`field` is read before anything is verified, and may only be a plain path",
        "write for example `field: .value[].clientState`",
    );
    None
}

/// The key of the configuration that names the header: without a proxy that sets it, anybody could.
fn setting(reader: &Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Option<String> {
    let name = fields.text("setting", report)?;
    if !reader.config.contains_key(name) {
        let place = fields
            .optional("setting")
            .map_or(fields.place(), |node| node.place);
        let hint = diagnostic::suggestion(name, reader.config.keys().map(String::as_str));
        let message = format!("`{name}` is not declared under connection.config");
        report.error("IC0202", reader.source, place, message, hint);
    }
    Some(name.to_owned())
}
