//! Standard Webhooks 1.0.0: signing what we send, verifying what we receive.
//!
//! A message has an id, a moment and a body; the *signature* is made over `id.seconds.body`: HMAC-SHA256, written
//! `v1,<Base64>`, or ed25519, written `v1a,<Base64>`; several of them, separated by spaces, while secrets are rotated.
//! Nothing is parsed before it is verified: [`Verified`] has one constructor, and that is [`verify`].
//! Entries of other versions are passed over.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::Mac;
use hmac::digest::CtOutput;
use jiff::Timestamp;
use outbound::header::{HeaderMap, HeaderName, HeaderValue};
use ring::signature::{ED25519, KeyPair as _, UnparsedPublicKey};

use crate::Secret;
use crate::secret::Key;

/// The header of the message's id.
pub const ID: HeaderName = HeaderName::from_static("webhook-id");
/// The header of the moment, in whole seconds since 1970.
pub const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// The header of the signatures.
pub const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Characters that a message's id may have at most.
pub const ID_CHARS_MAX: usize = 128;
/// Bytes of the header of signatures that are looked at.
pub const SIGNATURE_HEADER_BYTES_MAX: usize = 2048;
/// Signatures in a header that are looked at.
pub const SIGNATURES_MAX: usize = 16;
/// How far a moment may be off, unless it is set otherwise: five minutes both ways.
pub const TOLERANCE_MS: u64 = 300_000;

/// Bytes, or what became of them, whose signature was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The value.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// The value, without its mark.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// A message whose signature was right and whose moment is near.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender's id of it: the same each time it is sent again.
    pub id: String,
    /// When it was signed.
    pub at: Timestamp,
    /// The version of the signature that fitted: `v1` or `v1a`.
    pub version: &'static str,
    /// The body as it came.
    pub body: Verified<Bytes>,
}

/// Why a message is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// A header is not there.
    #[error("the header `{0}` is missing; sign as Standard Webhooks 1.0.0 says")]
    Missing(&'static str),
    /// A header cannot be read.
    #[error("the header `{header}` cannot be read: {reason}")]
    Malformed {
        /// The header.
        header: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// None of the signatures was made with a secret we know.
    #[error(
        "no signature fits: sign the bytes that are sent, with this partner's secret, over `id.timestamp.body`"
    )]
    WrongSignature,
    /// Signed too long ago: late, or replayed.
    #[error("signed {age_s} s ago, more than the {tolerance_s} s that are tolerated; sign anew for each try")]
    Stale {
        /// How long ago.
        age_s: i64,
        /// What is tolerated.
        tolerance_s: u64,
    },
    /// Signed in the future.
    #[error(
        "signed {ahead_s} s in the future, more than the {tolerance_s} s that are tolerated; set the sender's clock"
    )]
    Future {
        /// How far.
        ahead_s: i64,
        /// What is tolerated.
        tolerance_s: u64,
    },
}

impl Unverified {
    /// The word for the API and for traces.
    pub fn code(&self) -> &'static str {
        match self {
            Unverified::Missing(_) => "signature_missing",
            Unverified::Malformed { .. } => "signature_malformed",
            Unverified::WrongSignature => "signature_wrong",
            Unverified::Stale { .. } => "stale",
            Unverified::Future { .. } => "from_the_future",
        }
    }
}

/// Verifies a message. The signature comes first, so that "stale" is said of true messages only.
pub fn verify(
    secrets: &[Secret],
    headers: &HeaderMap,
    body: Bytes,
    now: Timestamp,
    tolerance_ms: u64,
) -> Result<Message, Unverified> {
    let id = one(headers, &ID, "webhook-id")?;
    let timestamp = one(headers, &TIMESTAMP, "webhook-timestamp")?;
    let signatures = one(headers, &SIGNATURE, "webhook-signature")?;
    check_id(id)?;
    let at = moment(timestamp)?;
    let given = read_signatures(signatures)?;
    let fits = |secret: &Secret| given.fits(secret, id, timestamp, &body);
    let fitting = secrets.iter().find(|secret| fits(secret));
    let version = fitting.ok_or(Unverified::WrongSignature)?.version();
    let age_s = now.as_second() - at.as_second();
    let tolerance_s = tolerance_ms / 1000;
    let off = now.as_millisecond() - at.as_millisecond();
    match (off.unsigned_abs() > tolerance_ms, off > 0) {
        (true, true) => Err(Unverified::Stale { age_s, tolerance_s }),
        (true, false) => Err(Unverified::Future {
            ahead_s: -age_s,
            tolerance_s,
        }),
        (false, _) => Ok(Message {
            id: id.to_owned(),
            at,
            version,
            body: Verified(body),
        }),
    }
}

/// The three headers of a message, signed with every secret.
///
/// The id must not hold a `.`, which separates what is signed; ours never do.
pub fn sign(secrets: &[Secret], id: &str, at: Timestamp, body: &[u8]) -> HeaderMap {
    let seconds = at.as_second().to_string();
    let mut signatures = String::with_capacity(secrets.len() * 48);
    for secret in secrets {
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        match &secret.key {
            Key::Shared(key) => {
                signatures.push_str("v1,");
                STANDARD.encode_string(mac(key, id, &seconds, body).into_bytes(), &mut signatures);
            }
            Key::Private(pair) => {
                signatures.push_str("v1a,");
                STANDARD.encode_string(pair.sign(&content(id, &seconds, body)), &mut signatures);
            }
            Key::Public(_) => {
                // Nothing can be signed with it; the last space goes.
                signatures.truncate(signatures.trim_end().len());
            }
        }
    }
    let value = |text: &str| HeaderValue::from_str(text).expect("ids, digits and Base64 are visible ASCII");
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(ID, value(id));
    headers.insert(TIMESTAMP, value(&seconds));
    headers.insert(SIGNATURE, value(&signatures));
    headers
}

type Signature = CtOutput<hmac::Hmac<sha2::Sha256>>;

/// Bytes of an ed25519 signature.
const ED25519_BYTES: usize = 64;

/// The signatures that a message came with.
#[derive(Default)]
struct Given {
    shared: Vec<Signature>,
    paired: Vec<[u8; ED25519_BYTES]>,
}

impl Given {
    /// Whether one of them was made with a secret.
    fn fits(&self, secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> bool {
        let public = match &secret.key {
            Key::Shared(key) => return self.shared.contains(&mac(key, id, timestamp, body)),
            Key::Private(pair) => pair.public_key().as_ref(),
            Key::Public(public) => public,
        };
        if self.paired.is_empty() {
            return false;
        }
        let (key, content) = (
            UnparsedPublicKey::new(&ED25519, public),
            content(id, timestamp, body),
        );
        self.paired
            .iter()
            .any(|signature| key.verify(&content, signature).is_ok())
    }
}

/// What is signed with a key pair.
fn content(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

/// Comparing two of the answers takes the same time wherever they differ.
fn mac(key: &hmac::Hmac<sha2::Sha256>, id: &str, timestamp: &str, body: &[u8]) -> Signature {
    let mut mac = key.clone();
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac.finalize()
}

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName, shown: &'static str) -> Result<&'h str, Unverified> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Unverified::Missing(shown))?;
    let malformed = |reason| Unverified::Malformed {
        header: shown,
        reason,
    };
    if values.next().is_some() {
        return Err(malformed("it is there more than once"));
    }
    value.to_str().map_err(|_| malformed("it is not ASCII"))
}

fn check_id(id: &str) -> Result<(), Unverified> {
    let reason = match id.len() {
        0 => "it is empty",
        length if length > ID_CHARS_MAX => "it is longer than 128 characters",
        _ if id.contains('.') => "it has a `.`, which separates what is signed",
        _ if !id.bytes().all(|byte| byte.is_ascii_graphic()) => "it has a space",
        _ => return Ok(()),
    };
    Err(Unverified::Malformed {
        header: "webhook-id",
        reason,
    })
}

fn moment(seconds: &str) -> Result<Timestamp, Unverified> {
    let malformed = Unverified::Malformed {
        header: "webhook-timestamp",
        reason: "it is not a number of seconds since 1970",
    };
    if seconds.is_empty() || !seconds.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed);
    }
    let seconds = seconds.parse().ok().and_then(|s| Timestamp::from_second(s).ok());
    seconds.ok_or(malformed)
}

fn read_signatures(header: &str) -> Result<Given, Unverified> {
    let malformed = |reason| Unverified::Malformed {
        header: "webhook-signature",
        reason,
    };
    if header.len() > SIGNATURE_HEADER_BYTES_MAX {
        return Err(malformed("it is longer than 2048 bytes"));
    }
    let mut given = Given::default();
    for entry in header.split(' ').take(SIGNATURES_MAX) {
        if let Some(mac) = entry.strip_prefix("v1,").and_then(decoded::<32>) {
            given.shared.push(Signature::new(mac.into()));
        } else if let Some(signature) = entry.strip_prefix("v1a,").and_then(decoded) {
            given.paired.push(signature);
        }
    }
    if given.shared.is_empty() && given.paired.is_empty() {
        return Err(malformed(
            "it has neither `v1,` with 32 bytes of Base64 behind it nor `v1a,` with 64",
        ));
    }
    Ok(given)
}

/// So many bytes of Base64.
fn decoded<const BYTES: usize>(encoded: &str) -> Option<[u8; BYTES]> {
    // The decoder asks for room for what it may come to before it knows.
    let mut bytes = [0; ED25519_BYTES + 3];
    let length = STANDARD.decode_slice(encoded, &mut bytes).ok()?;
    bytes[..length].try_into().ok()
}

#[cfg(test)]
mod tests;
