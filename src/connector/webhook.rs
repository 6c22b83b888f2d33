//! Requests that a system sends: verified first, understood after.
//!
//! A [`Hint`] says that an object changed, not what it is now: the object is read.
//! A *challenge* is a request that wants its own text back, by which a system finds out whether an address is ours.
//! It means nothing else, so that some may be answered before anything is verified; what is sent back is short, plain
//! and theirs.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use program::document;
use serde_json::{Map, Value as Json, json};

use crate::connection::Connection;
use crate::manifest::{Challenge, Fixed, Form, Handshake, Webhooks, Written};
use crate::names::scalar;

/// Characters of a challenge that is sent back.
pub const CHALLENGE_CHARS_MAX: usize = 2_048;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The method, in capitals.
    pub method: String,
    /// The whole address as the sender called it, by the public name.
    pub url: String,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, byte by byte.
    pub body: Bytes,
}

/// Something changed at a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The object's kind.
    pub object: String,
    /// The object's id; empty when the system does not name it, so that it is found by reading what changed.
    pub id: String,
    /// `create`, `update`, `delete`, `erase`, `merge`, `restore` or `associate`.
    pub op: String,
    /// Whose account it is, if the system says so.
    pub tenant: Option<String>,
    /// Who caused it, if the system says so.
    pub origin: Option<String>,
    /// When it happened, if the system says so.
    pub occurred: Option<Timestamp>,
    /// The same for every delivery of the same event.
    pub dedupe: Option<String>,
    /// The ids that this object replaces.
    pub merged_from: Vec<String>,
}

impl Hint {
    /// Something changed at an object, and nothing else is known of it.
    pub fn of_something(object: &str) -> Hint {
        Hint {
            object: object.to_owned(),
            id: String::new(),
            op: "update".to_owned(),
            tenant: None,
            origin: None,
            occurred: None,
            dedupe: None,
            merged_from: Vec::new(),
        }
    }
}

/// What a request of a system turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Objects to look at.
    Hints(Vec<Hint>),
    /// A challenge, with what to answer.
    Challenge(Answer),
}

/// The answer to a challenge, for status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The media type.
    pub content_type: &'static str,
    /// The text.
    pub body: String,
}

/// Why a request is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The system sends no webhooks that this connector understands.
    #[error("this system has no webhooks here")]
    NotExpected,
    /// The connection lacks what it takes.
    #[error("nothing can be verified: {0}")]
    CannotVerify(String),
    /// Something that proves the sender is missing.
    #[error("{0} is missing")]
    Missing(String),
    /// A header is not of the form that the manifest describes.
    #[error("the header `{header}` cannot be read: {reason}")]
    Malformed {
        /// The header.
        header: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The signature or the secret is wrong.
    #[error("the signature does not fit the request")]
    Bad,
    /// The signature is right, but too old: late, or sent again by somebody who saw it.
    #[error("the request is {age_ms} ms old, at most {max_age_ms} are accepted")]
    Stale {
        /// How old it is.
        age_ms: i64,
        /// How old it may be.
        max_age_ms: u64,
    },
    /// The signature is right, but from the future.
    #[error(
        "the request is {ahead_ms} ms ahead of this clock, at most {} are accepted",
        crate::AHEAD_MAX_MS
    )]
    Future {
        /// How far ahead it is.
        ahead_ms: i64,
    },
    /// The bytes are not what the manifest describes.
    #[error("the body is not what the manifest describes: {0}")]
    NotUnderstood(String),
}

impl Refusal {
    /// How much it says of the request, when several ways to verify it refuse: those that it does not try say least.
    pub(crate) fn says(&self) -> u8 {
        match self {
            Refusal::NotExpected => 0,
            Refusal::CannotVerify(_) => 1,
            Refusal::Missing(_) => 2,
            _ => 3,
        }
    }
}

impl Incoming {
    /// The value of a parameter of the address; the first of several.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let query = self.url.split_once('?')?.1;
        let query = query.split('#').next().unwrap_or_default();
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

impl Connection {
    /// Answers a challenge; verifies any other request of the system, then says what it is about.
    pub fn receive(&self, request: &Incoming, now: Timestamp) -> Result<Received, Refusal> {
        let webhooks = self.caller.manifest().webhooks.as_ref();
        let webhooks = webhooks.ok_or(Refusal::NotExpected)?;
        if let Some(answer) = self.outside(webhooks, request, now)? {
            return Ok(Received::Challenge(answer));
        }
        let bytes = self.verified(&webhooks.verify, request, now)?;
        let body = webhooks.body.read(bytes.get()).map_err(Refusal::NotUnderstood)?;
        if let Some(answer) = within(webhooks, &body)? {
            return Ok(Received::Challenge(answer));
        }
        hints(webhooks, &body, &self.caller.config).map(Received::Hints)
    }

    /// What the system is to be answered when its request was taken, if it asks for more than a status.
    pub fn acknowledgement(&self) -> Option<Answer> {
        let webhooks = self.caller.manifest().webhooks.as_ref()?;
        webhooks.answer.as_ref().map(|answer| match answer {
            Fixed::Text(text) => Answer {
                content_type: "text/plain; charset=utf-8",
                body: text.clone(),
            },
            Fixed::Xml(xml) => Answer {
                content_type: "text/xml; charset=utf-8",
                body: xml.clone(),
            },
        })
    }

    /// Answers a challenge in the address or in a header.
    fn outside(
        &self,
        webhooks: &Webhooks,
        request: &Incoming,
        now: Timestamp,
    ) -> Result<Option<Answer>, Refusal> {
        for handshake in &webhooks.handshakes {
            let challenge = match &handshake.challenge {
                Challenge::Query(name) => request.query(name),
                Challenge::Header(name) => request.headers.get(name).cloned(),
                Challenge::Body(_) => None,
            };
            if let Some(challenge) = challenge.filter(|text| !text.is_empty()) {
                if !handshake.verify.is_empty() {
                    self.verified(&handshake.verify, request, now)?;
                }
                return answer(handshake, challenge).map(Some);
            }
        }
        Ok(None)
    }
}

impl Written {
    /// The body as a document; why it is none, shortened.
    pub(crate) fn read(self, body: &[u8]) -> Result<Json, String> {
        let read = match self {
            Written::Json => serde_json::from_slice(body).map_err(|error| error.to_string()),
            Written::Form => document::form(body).map_err(|error| error.to_string()),
            Written::Xml => document::xml(body).map_err(|error| error.to_string()),
        };
        read.map_err(crate::failure::shortened)
    }
}

/// Answers a challenge in a verified body.
fn within(webhooks: &Webhooks, body: &Json) -> Result<Option<Answer>, Refusal> {
    for handshake in &webhooks.handshakes {
        if let Challenge::Body(program) = &handshake.challenge
            && let Ok(Json::String(challenge)) = program.one(body, &|_| None)
        {
            return answer(handshake, challenge).map(Some);
        }
    }
    Ok(None)
}

fn answer(handshake: &Handshake, challenge: String) -> Result<Answer, Refusal> {
    if challenge.chars().count() > CHALLENGE_CHARS_MAX || challenge.chars().any(char::is_control) {
        let expected = format!("a challenge is one line of at most {CHALLENGE_CHARS_MAX} characters");
        return Err(Refusal::NotUnderstood(expected));
    }
    Ok(match &handshake.answer {
        Form::Text => Answer {
            content_type: "text/plain; charset=utf-8",
            body: challenge,
        },
        Form::Json(key) => Answer {
            content_type: "application/json",
            body: json!({ key: challenge }).to_string(),
        },
    })
}

fn hints(webhooks: &Webhooks, body: &Json, config: &Map<String, Json>) -> Result<Vec<Hint>, Refusal> {
    // `config` is all that it may use.
    let config = Json::Object(config.clone());
    let events = webhooks.events.run(body, &|_| Some(&config));
    let events = events.map_err(|e| not_understood(&e))?;
    Ok(events.iter().filter_map(hint).collect())
}

fn not_understood(error: &dyn std::error::Error) -> Refusal {
    Refusal::NotUnderstood(crate::failure::shortened(error.to_string()))
}

/// An event without object and id says nothing that could be looked at.
pub(crate) fn hint(event: &Json) -> Option<Hint> {
    Some(Hint {
        object: scalar(&event["object"])?,
        id: scalar(&event["id"])?,
        op: scalar(&event["op"]).unwrap_or_else(|| "update".to_owned()),
        tenant: scalar(&event["tenant"]),
        origin: scalar(&event["origin"]),
        occurred: crate::zone::moment(&event["occurred"], None),
        dedupe: scalar(&event["dedupe"]),
        merged_from: event["merged_from"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(scalar)
            .collect(),
    })
}
