//! [`Verified`]: what a system proved to be its own, by a signature or by a secret that it tells.
//!
//! It has one constructor, so that nothing unverified can reach a parser; the one value that must be looked up in a body
//! before that, a secret inside it, is only compared.
//! Promised: secrets and signatures are compared in a time that says nothing about them; of several secrets, which a
//! sender has while they are changed, any one will do; why a request is refused is told apart.
//! Not here: that a request is new. The same one may come again within its age, and means the same then.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use jiff::Timestamp;
use ring::{digest, hmac, signature};
use serde_json::{Map, Value as Json, json};
use subtle::ConstantTimeEq;

use crate::connection::Connection;
use crate::manifest::{
    Encoding, Hash, Part, Proof, Scheme, SecretForm, Sent, Signed, Slot, Told, Unit, Verify, Written,
};
use crate::names::Names;
use crate::secret::Secret;
use crate::webhook::{Incoming, Refusal};
use program::Program;

/// How far ahead of ours a sender's clock may be.
pub const AHEAD_MAX_MS: u64 = 60_000;
/// How many signatures one header may have.
pub const SIGNATURES_MAX: usize = 8;
/// Bytes of a body that is parsed for the secret inside it.
pub const UNVERIFIED_BYTES_MAX: usize = 1 << 20;
/// How many times a body may hold its secret.
pub const TOLD_MAX: usize = 10_000;

/// Bytes that are proven to come from who holds the secret.
#[derive(Clone, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// What was verified.
    pub fn get(&self) -> &T {
        &self.0
    }
}

impl Connection {
    /// The only way to verified bytes: one of these ways holds. Otherwise the refusal that says most.
    pub(crate) fn verified(
        &self,
        ways: &[Verify],
        request: &Incoming,
        now: Timestamp,
    ) -> Result<Verified<Bytes>, Refusal> {
        let mut refusal = Refusal::NotExpected;
        for way in ways {
            match self.holds(way, request, now) {
                Ok(()) => return Ok(Verified(request.body.clone())),
                Err(found) if found.says() > refusal.says() => refusal = found,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    fn holds(&self, way: &Verify, request: &Incoming, now: Timestamp) -> Result<(), Refusal> {
        let set = way
            .secrets
            .iter()
            .filter_map(|name| self.caller.settings.secrets.get(name));
        let secrets: Vec<&Secret> = set.filter(|secret| !secret.expose().is_empty()).collect();
        if secrets.is_empty() {
            let name = way.secrets.first().map_or("", String::as_str);
            return Err(Refusal::CannotVerify(format!("the secret `{name}` is not set")));
        }
        match &way.proof {
            Proof::Signed(signed) => self.signed(signed, &secrets, request, now),
            Proof::Told(told) => self.told(told, &secrets, request),
        }
    }

    fn signed(
        &self,
        signed: &Signed,
        secrets: &[&Secret],
        request: &Incoming,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let given = signatures(signed, request)?;
        let sent = match &signed.timestamp {
            Some(sent) => Some((sent, moment(sent, request)?)),
            None => None,
        };
        let keys: Vec<Vec<u8>> = secrets
            .iter()
            .filter_map(|secret| key(signed.secret_form, secret))
            .collect();
        if keys.is_empty() {
            let form = format!("the secret is not {}", signed.secret_form.name());
            return Err(Refusal::CannotVerify(form));
        }
        let stamp = sent.map_or("", |(_, (text, _))| text);
        let mut fits = false;
        for key in &keys {
            let bytes = self.signed_bytes(&signed.parts, request, stamp, key)?;
            fits |= fit(signed.scheme, key, &bytes, &given);
        }
        if !fits {
            return Err(Refusal::Bad);
        }
        // Only now: the age of a request that is not theirs says nothing.
        sent.map_or(Ok(()), |(sent, (_, at_ms))| {
            timely(at_ms, now.as_millisecond(), sent.max_age_ms)
        })
    }

    /// What the sender put under the signature.
    fn signed_bytes(
        &self,
        parts: &[Part],
        request: &Incoming,
        stamp: &str,
        key: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let headers: Map<String, Json> = request
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), Json::from(value.as_str())))
            .collect();
        let about = json!({
            "method": request.method, "url": request.url, "headers": headers, "timestamp": stamp
        });
        let names = Names::default().with("request", about);
        let mut bytes = Vec::with_capacity(request.body.len() + request.url.len() + 64);
        for part in parts {
            match part {
                Part::Body => bytes.extend_from_slice(&request.body),
                Part::Secret => bytes.extend_from_slice(key),
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

    fn told(&self, told: &Told, secrets: &[&Secret], request: &Incoming) -> Result<(), Refusal> {
        let given: Vec<Vec<u8>> = match told {
            Told::Header { header, prefix } => vec![after(header, prefix, request)?.as_bytes().to_vec()],
            Told::Basic { .. } => vec![credentials(request)?],
            Told::Query(name) => {
                let value = request.query(name).filter(|value| !value.is_empty());
                let missing = || Refusal::Missing(format!("the parameter `{name}` of the address"));
                vec![value.ok_or_else(missing)?.into_bytes()]
            }
            Told::Body(field) => {
                let webhooks = self.caller.manifest().webhooks.as_ref();
                inside(
                    field,
                    webhooks.map(|webhooks| webhooks.body).unwrap_or_default(),
                    &request.body,
                )?
            }
            Told::Proxy { setting } => {
                let header = self.caller.config.get(setting).and_then(Json::as_str);
                let header = header.map(str::to_lowercase).filter(|header| !header.is_empty());
                let unset = || Refusal::CannotVerify(format!("the setting `{setting}` names no header"));
                let header = header.ok_or_else(unset)?;
                vec![after(&header, "", request)?.as_bytes().to_vec()]
            }
        };
        let mut fits = false;
        for secret in secrets {
            let expected = match told {
                Told::Basic { user } => {
                    let user = self.caller.render(user, &self.settings_names());
                    let user = user.map_err(|failure| Refusal::CannotVerify(failure.detail))?;
                    format!("{user}:{}", secret.expose())
                }
                _ => secret.expose().to_owned(),
            };
            fits |= given
                .iter()
                .fold(true, |all, one| all & same(one, expected.as_bytes()));
        }
        if fits { Ok(()) } else { Err(Refusal::Bad) }
    }

    fn settings_names(&self) -> Names {
        Names::default().with("config", self.caller.config.clone())
    }
}

/// The values of a place in a header, those with its prefix.
fn values<'r>(slot: &Slot, request: &'r Incoming) -> Result<Vec<&'r str>, Refusal> {
    let text = header(&slot.header, request)?;
    let all: Vec<&str> = match &slot.separator {
        Some(separator) => text.split(separator.as_str()).collect(),
        None => vec![text],
    };
    let found: Vec<&str> = all
        .into_iter()
        .filter_map(|one| one.trim().strip_prefix(slot.prefix.as_str()))
        .filter(|one| !one.is_empty())
        .take(SIGNATURES_MAX)
        .collect();
    if found.is_empty() {
        let reason = format!("nothing in it begins with `{}`", slot.prefix);
        return Err(malformed(&slot.header, reason));
    }
    Ok(found)
}

fn header<'r>(name: &str, request: &'r Incoming) -> Result<&'r str, Refusal> {
    let value = request.headers.get(name).map(|value| value.trim());
    let missing = || Refusal::Missing(format!("the header `{name}`"));
    value.filter(|value| !value.is_empty()).ok_or_else(missing)
}

/// What a header says behind a word such as `Bearer`, whose case is the sender's.
fn after<'r>(name: &str, prefix: &str, request: &'r Incoming) -> Result<&'r str, Refusal> {
    let value = header(name, request)?;
    let split = value.split_at_checked(prefix.len());
    let split = split.filter(|(word, _)| word.eq_ignore_ascii_case(prefix));
    let reason = || malformed(name, format!("it does not begin with `{}`", prefix.trim()));
    split.map(|(_, rest)| rest.trim()).ok_or_else(reason)
}

fn malformed(header: &str, reason: String) -> Refusal {
    Refusal::Malformed {
        header: header.to_owned(),
        reason,
    }
}

fn credentials(request: &Incoming) -> Result<Vec<u8>, Refusal> {
    let encoded = after("authorization", "Basic ", request)?;
    let reason = |_| malformed("authorization", "it is not base64".to_owned());
    STANDARD.decode(encoded).map_err(reason)
}

/// The secret inside a body, as often as it is there. The body is parsed only to compare it.
fn inside(field: &Program, written: Written, body: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let not = |reason: String| Refusal::NotUnderstood(crate::failure::shortened(reason));
    if body.len() > UNVERIFIED_BYTES_MAX {
        return Err(not(format!("it has more than {UNVERIFIED_BYTES_MAX} bytes")));
    }
    let body = written.read(body).map_err(Refusal::NotUnderstood)?;
    let found = field.run(&body, &|_| None).map_err(|e| not(e.to_string()))?;
    if found.len() > TOLD_MAX {
        return Err(not(format!("it has more than {TOLD_MAX} entries")));
    }
    if found.iter().all(Json::is_null) {
        return Err(Refusal::Missing(format!("`{}` of the body", field.source())));
    }
    // What is no text is not the secret: it is compared as nothing.
    let texts = found.iter().map(|one| one.as_str().unwrap_or_default());
    Ok(texts.map(|text| text.as_bytes().to_vec()).collect())
}

fn signatures(signed: &Signed, request: &Incoming) -> Result<Vec<Vec<u8>>, Refusal> {
    let values = values(&signed.place, request)?;
    let decoded: Vec<Vec<u8>> = values
        .into_iter()
        .filter_map(|one| match signed.encoding {
            Encoding::Base64 => STANDARD.decode(one).ok(),
            Encoding::Base64Url => URL_SAFE_NO_PAD.decode(one.trim_end_matches('=')).ok(),
            Encoding::Hex => unhex(one),
        })
        .collect();
    if decoded.is_empty() {
        let reason = format!("it is not {}", signed.encoding.name());
        return Err(malformed(&signed.place.header, reason));
    }
    Ok(decoded)
}

/// When the request says that it was signed: as it says it, and in milliseconds.
fn moment<'r>(sent: &Sent, request: &'r Incoming) -> Result<(&'r str, i64), Refusal> {
    let text = values(&sent.place, request)?.first().copied().unwrap_or_default();
    let whole = |unit_ms: i64| {
        text.parse::<i64>()
            .ok()
            .map(|units| units.saturating_mul(unit_ms))
    };
    let at_ms = match sent.unit {
        Unit::Seconds => whole(1_000),
        Unit::Millis => whole(1),
        Unit::Iso => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
    };
    let reason = || {
        malformed(
            &sent.place.header,
            format!("it is no time in {}", sent.unit.name()),
        )
    };
    at_ms.map(|at_ms| (text, at_ms)).ok_or_else(reason)
}

fn timely(at_ms: i64, now_ms: i64, max_age_ms: u64) -> Result<(), Refusal> {
    let age_ms = now_ms.saturating_sub(at_ms);
    let beyond = |ms: i64, max_ms: u64| u64::try_from(ms).is_ok_and(|ms| ms > max_ms);
    if beyond(age_ms, max_age_ms) {
        return Err(Refusal::Stale { age_ms, max_age_ms });
    }
    let ahead_ms = age_ms.saturating_neg();
    if beyond(ahead_ms, AHEAD_MAX_MS) {
        return Err(Refusal::Future { ahead_ms });
    }
    Ok(())
}

/// The key that a secret's text stands for; an empty one is none.
fn key(form: SecretForm, secret: &Secret) -> Option<Vec<u8>> {
    let text = secret.expose();
    let bare = |prefix: &str| STANDARD.decode(text.strip_prefix(prefix).unwrap_or(text)).ok();
    let key = match form {
        SecretForm::Text => Some(text.as_bytes().to_vec()),
        SecretForm::Hex => unhex(text),
        SecretForm::Base64 => bare(""),
        SecretForm::Whsec => bare("whsec_"),
        SecretForm::Whpk => bare("whpk_"),
    };
    key.filter(|key| !key.is_empty())
}

/// Whether one of the signatures is right; takes the same time for every wrong one.
fn fit(scheme: Scheme, key: &[u8], bytes: &[u8], given: &[Vec<u8>]) -> bool {
    let expected = match scheme {
        Scheme::Hmac(hash) => {
            let key = hmac::Key::new(hash.keyed(), key);
            hmac::sign(&key, bytes).as_ref().to_vec()
        }
        Scheme::Hash(hash) => digest::digest(hash.plain(), bytes).as_ref().to_vec(),
        Scheme::Ed25519 => {
            let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
            return given.iter().any(|one| key.verify(bytes, one).is_ok());
        }
    };
    given
        .iter()
        .fold(false, |found, one| found | bool::from(one.ct_eq(&expected)))
}

/// Whether two texts are the same, in a time that says nothing about either, its length included.
fn same(a: &[u8], b: &[u8]) -> bool {
    let [a, b] = [a, b].map(|text| digest::digest(&digest::SHA256, text));
    a.as_ref().ct_eq(b.as_ref()).into()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

impl Hash {
    fn keyed(self) -> hmac::Algorithm {
        match self {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn plain(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha512 => &digest::SHA512,
        }
    }
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Encoding::Base64 => "base64",
            Encoding::Base64Url => "base64url",
            Encoding::Hex => "hexadecimal",
        }
    }
}

impl SecretForm {
    fn name(self) -> &'static str {
        match self {
            SecretForm::Text => "a text",
            SecretForm::Hex => "hexadecimal",
            SecretForm::Base64 => "base64",
            SecretForm::Whsec => "`whsec_` and base64",
            SecretForm::Whpk => "`whpk_` and base64",
        }
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "whole seconds",
            Unit::Millis => "whole milliseconds",
            Unit::Iso => "ISO 8601",
        }
    }
}
