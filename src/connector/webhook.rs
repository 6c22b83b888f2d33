//! Requests that a system sends: verified first, understood after.
//!
//! [`Verified`] has one constructor, the check of a keyed hash, so that nothing unverified can reach a parser.
//! A [`Hint`] says that an object changed, not what it is now: the object is read.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::connection::Connection;
use crate::manifest::{Encoding, Part, SecretForm, Verify};
use crate::names::{Names, scalar};
use crate::secret::Secret;

/// How far ahead of ours a sender's clock may be.
pub const AHEAD_MAX_MS: u64 = 60_000;
/// How many signatures one header may have.
pub const SIGNATURES_MAX: usize = 8;

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

/// Bytes that are proven to come from who holds the secret.
#[derive(Clone, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// What was verified.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// Something changed at a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The object's kind.
    pub object: String,
    /// The object's id.
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

/// Why a request is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The system sends no webhooks that this connector understands.
    #[error("this system has no webhooks here")]
    NotExpected,
    /// The connection lacks the secret.
    #[error("the secret `{0}` is not set, so that nothing can be verified")]
    NoSecret(String),
    /// A header is missing.
    #[error("the header `{0}` is missing")]
    Missing(String),
    /// The signature is wrong.
    #[error("the signature does not fit the request")]
    Bad,
    /// The signature is right, but too old or from the future.
    #[error("the request is {age_ms} ms old, at most {max_age_ms} are accepted")]
    Stale {
        /// How old it is; negative if it is from the future.
        age_ms: i64,
        /// How old it may be.
        max_age_ms: u64,
    },
    /// The bytes are verified, but are not what the manifest describes.
    #[error("the body is not what the manifest describes: {0}")]
    NotUnderstood(String),
}

impl Connection {
    /// Verifies a request of the system, then says what it is about.
    pub fn receive(&self, request: &Incoming, now: Timestamp) -> Result<Vec<Hint>, Refusal> {
        let bytes = self.verify(request, now)?;
        self.hints(&bytes)
    }

    fn verify(&self, request: &Incoming, now: Timestamp) -> Result<Verified<Bytes>, Refusal> {
        let webhooks = self
            .caller
            .manifest()
            .webhooks
            .as_ref()
            .ok_or(Refusal::NotExpected)?;
        let mut refusal = Refusal::NotExpected;
        for verify in &webhooks.verify {
            let secret = self.caller.settings.secrets.get(&verify.secret);
            let Some(secret) = secret else {
                refusal = Refusal::NoSecret(verify.secret.clone());
                continue;
            };
            let signed = |request: &Incoming| self.signed(verify, request);
            match Verified::check(verify, secret, request, now, signed) {
                Ok(verified) => return Ok(verified),
                Err(found) => refusal = found,
            }
        }
        Err(refusal)
    }

    /// What the sender put under the keyed hash.
    pub(crate) fn signed(&self, verify: &Verify, request: &Incoming) -> Result<Vec<u8>, Refusal> {
        let headers: Map<String, Json> = request
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), Json::from(value.as_str())))
            .collect();
        let about = json!({"method": request.method, "url": request.url, "headers": headers});
        let names = Names::default().with("request", about);
        let mut bytes = Vec::with_capacity(request.body.len() + request.url.len() + 64);
        for part in &verify.parts {
            match part {
                Part::Body => bytes.extend_from_slice(&request.body),
                Part::Text(template) => {
                    // A header that the signed text needs is missing.
                    let text = self.caller.render(template, &names);
                    let text = text.map_err(|_| Refusal::Missing("a signed header".to_owned()))?;
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
        }
        Ok(bytes)
    }

    fn hints(&self, bytes: &Verified<Bytes>) -> Result<Vec<Hint>, Refusal> {
        let webhooks = self
            .caller
            .manifest()
            .webhooks
            .as_ref()
            .ok_or(Refusal::NotExpected)?;
        let not = |text: String| Refusal::NotUnderstood(crate::failure::shortened(text));
        let body: Json = serde_json::from_slice(bytes.get()).map_err(|e| not(e.to_string()))?;
        let events = webhooks
            .events
            .run(&body, &|_| Json::Null)
            .map_err(|e| not(e.to_string()))?;
        Ok(events.iter().filter_map(hint).collect())
    }
}

/// An event without object and id says nothing that could be looked at.
pub(crate) fn hint(event: &Json) -> Option<Hint> {
    Some(Hint {
        object: scalar(&event["object"])?,
        id: scalar(&event["id"])?,
        op: scalar(&event["op"]).unwrap_or_else(|| "update".to_owned()),
        tenant: scalar(&event["tenant"]),
        origin: scalar(&event["origin"]),
        occurred: crate::read::moment(&event["occurred"]),
        dedupe: scalar(&event["dedupe"]),
        merged_from: event["merged_from"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(scalar)
            .collect(),
    })
}

impl Verified<Bytes> {
    /// The only way to verified bytes: the keyed hash of the request is one that its header names.
    fn check(
        verify: &Verify,
        secret: &Secret,
        request: &Incoming,
        now: Timestamp,
        signed: impl Fn(&Incoming) -> Result<Vec<u8>, Refusal>,
    ) -> Result<Verified<Bytes>, Refusal> {
        let header = |name: &str| {
            let value = request
                .headers
                .get(name)
                .map(|v| v.trim())
                .filter(|v| !v.is_empty());
            value.ok_or_else(|| Refusal::Missing(name.to_owned()))
        };
        let given = header(&verify.header)?;
        let sent = match &verify.timestamp {
            Some(timestamp) => Some((timestamp, header(&timestamp.header)?)),
            None => None,
        };
        let expected = keyed_hash(verify, secret, &signed(request)?)?;
        if !matches(verify, given, &expected) {
            return Err(Refusal::Bad);
        }
        // Only now: the age of a request that is not theirs says nothing.
        if let Some((timestamp, text)) = sent {
            let units: i64 = text.parse().map_err(|_| Refusal::Bad)?;
            let unit_ms = i64::try_from(timestamp.unit_ms).unwrap_or(1);
            let age_ms = now.as_millisecond().saturating_sub(units.saturating_mul(unit_ms));
            let max_age_ms = timestamp.max_age_ms;
            let too_old = u64::try_from(age_ms).is_ok_and(|age| age > max_age_ms);
            if too_old || age_ms.saturating_neg() > i64::try_from(AHEAD_MAX_MS).unwrap_or(i64::MAX) {
                return Err(Refusal::Stale { age_ms, max_age_ms });
            }
        }
        Ok(Verified(request.body.clone()))
    }
}

fn keyed_hash(verify: &Verify, secret: &Secret, signed: &[u8]) -> Result<Vec<u8>, Refusal> {
    let unusable = || Refusal::NoSecret(verify.secret.clone());
    let key = match verify.secret_form {
        SecretForm::Text => secret.expose().as_bytes().to_vec(),
        SecretForm::Whsec => {
            let text = secret.expose();
            let encoded = text.strip_prefix("whsec_").unwrap_or(text);
            STANDARD.decode(encoded).map_err(|_| unusable())?
        }
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| unusable())?;
    mac.update(signed);
    Ok(mac.finalize().into_bytes().to_vec())
}

/// Whether one of the header's signatures is the expected one; takes the same time for every wrong one.
fn matches(verify: &Verify, given: &str, expected: &[u8]) -> bool {
    let all: Vec<&str> = match &verify.separator {
        Some(separator) => given.split(separator.as_str()).take(SIGNATURES_MAX).collect(),
        None => vec![given],
    };
    all.iter()
        .filter_map(|one| one.strip_prefix(verify.prefix.as_str()))
        .filter_map(|one| match verify.encoding {
            Encoding::Base64 => STANDARD.decode(one).ok(),
            Encoding::Hex => unhex(one),
        })
        .fold(false, |found, one| found | bool::from(one.ct_eq(expected)))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}
