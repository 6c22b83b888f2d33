//! How requests that a system sends are verified, answered when they are a challenge, and understood.

use diagnostic::{Fields, Node, Report};

use super::reader::Reader;
use super::verify::{self, Verify};
use program::Program;

pub(crate) struct Webhooks {
    pub(crate) body: Written,
    pub(crate) handshakes: Vec<Handshake>,
    /// Any one of these must hold.
    pub(crate) verify: Vec<Verify>,
    pub(crate) events: Program,
    /// What is answered when it was taken; nothing but a status when the system does not ask for more.
    pub(crate) answer: Option<Fixed>,
}

/// What the body of a request is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Written {
    #[default]
    Json,
    Form,
    Xml,
}

/// A text that is always the same.
pub(crate) enum Fixed {
    Text(String),
    Xml(String),
}

const WRITTEN: &[(&str, Written)] = &[
    ("json", Written::Json),
    ("form", Written::Form),
    ("xml", Written::Xml),
];

/// A request that asks for its own challenge back, by which a system finds out whether an address is ours.
pub(crate) struct Handshake {
    pub(crate) challenge: Challenge,
    pub(crate) answer: Form,
    /// Any one of these must hold, if there are some; a challenge in a body is under those of the webhooks.
    pub(crate) verify: Vec<Verify>,
}

/// Where the challenge stands.
pub(crate) enum Challenge {
    Query(String),
    Header(String),
    Body(Program),
}

/// What the challenge is sent back as.
pub(crate) enum Form {
    Text,
    /// An object with the challenge under this key.
    Json(String),
}

pub(super) fn read(reader: &mut Reader<'_>, root: &mut Fields<'_>, report: &mut Report) -> Option<Webhooks> {
    let node = root.optional("webhooks")?;
    let mut fields = Fields::open(node, "the webhooks", reader.source, report)?;
    let handshakes = fields
        .list("handshake", report)
        .iter()
        .filter_map(|node| handshake(reader, node, report))
        .collect();
    let verify = verify::read(reader, &mut fields, report);
    if fields.list("verify", report).is_empty() {
        report.error(
            "IC0208",
            reader.source,
            node.place,
            "webhooks without a way to verify them",
            "add `verify:` with a keyed hash; what cannot be verified cannot be accepted",
        );
    }
    let body = fields
        .optional_choice("body", WRITTEN, report)
        .unwrap_or_default();
    let events = reader.program("events", &mut fields, &["config"], report);
    let answer = fields
        .optional("answer")
        .and_then(|node| fixed(reader, node, report));
    fields.finish(report);
    Some(Webhooks {
        body,
        answer,
        handshakes,
        verify,
        events: events?,
    })
}

fn handshake(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Handshake> {
    let mut fields = Fields::open(node, "a handshake", reader.source, report)?;
    let challenge = fields
        .required("when", report)
        .and_then(|node| challenge(reader, node, report));
    let answer = fields
        .required("answer", report)
        .and_then(|node| form(reader, node, report));
    let verify = match &challenge {
        Some(Challenge::Body(_)) => Vec::new(),
        _ => verify::read(reader, &mut fields, report),
    };
    fields.finish(report);
    Some(Handshake {
        challenge: challenge?,
        answer: answer?,
        verify,
    })
}

fn challenge(reader: &Reader<'_>, node: &Node, report: &mut Report) -> Option<Challenge> {
    let mut fields = Fields::open(node, "the challenge", reader.source, report)?;
    let query = fields.optional_text("query", report);
    let header = fields.optional_text("header", report);
    let body = reader.optional_program("body", &mut fields, &[], report);
    let places = ["query", "header", "body"].map(|key| fields.key_place(key));
    let said = places.iter().flatten().count();
    fields.finish(report);
    match (query, header, body) {
        (Some(name), None, None) => Some(Challenge::Query(name.to_owned())),
        (None, Some(name), None) => Some(Challenge::Header(name.to_lowercase())),
        (None, None, Some(program)) => Some(Challenge::Body(program)),
        _ => {
            if said != 1 {
                report.error(
                    "IC0004",
                    reader.source,
                    node.place,
                    "a challenge stands in one place of the request",
                    "write one of `query: validationToken`, `header: x-challenge` or `body: .challenge`",
                );
            }
            None
        }
    }
}

/// `{ text: … }` or `{ xml: … }`.
fn fixed(reader: &Reader<'_>, node: &Node, report: &mut Report) -> Option<Fixed> {
    let mut fields = Fields::open(node, "the answer", reader.source, report)?;
    let text = fields.optional_text("text", report);
    let xml = fields.optional_text("xml", report);
    fields.finish(report);
    match (text, xml) {
        (Some(text), None) => Some(Fixed::Text(text.to_owned())),
        (None, Some(xml)) => Some(Fixed::Xml(xml.to_owned())),
        _ => {
            report.error(
                "IC0004",
                reader.source,
                node.place,
                "an answer is either `text` or `xml`",
                "write for example `answer: { text: ok }`, or leave it out where the status is enough",
            );
            None
        }
    }
}

/// `text`, or `{ json: key }`.
fn form(reader: &Reader<'_>, node: &Node, report: &mut Report) -> Option<Form> {
    if node.text() == Some("text") {
        return Some(Form::Text);
    }
    if let Some(key) = node.get("json").and_then(Node::text) {
        return Some(Form::Json(key.to_owned()));
    }
    report.error(
        "IC0004",
        reader.source,
        node.place,
        "an answer is neither `text` nor `{ json: key }`",
        "write `answer: text`, or `answer: { json: challenge }` for an object with the challenge under that key",
    );
    None
}
