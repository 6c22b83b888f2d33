//! The symmetric signatures of the Standard Webhooks specification 1.0.0.
//!
//! `webhook-signature` is a list, separated by blanks, of `v1,` and the base64 of HMAC-SHA256 over
//! `id.timestamp.body`, where the key is what stands in base64 behind `whsec_`.
//! Signatures of other versions in the list are passed over.

use axum::http::HeaderMap;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::mac::{base64, from_base64};
use crate::secret::Secret;

/// How far a timestamp may be from the clock, in seconds, before or after.
pub const TOLERANCE_S: i64 = 300;
/// Bytes a key may have, by the specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is `whsec_` and the base64 of 24 to 64 bytes")]
pub struct BadSecret;

/// Why a webhook was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("the headers webhook-id, webhook-timestamp and webhook-signature are required")]
    Unsigned,
    #[error("webhook-timestamp must be seconds since 1970 and webhook-id must not contain a dot")]
    Malformed,
    #[error("webhook-timestamp is more than {TOLERANCE_S} seconds away from now")]
    Stale,
    #[error("no signature in webhook-signature matches the body")]
    Forged,
}

fn keyed(secret: &Secret) -> Result<Hmac<Sha256>, BadSecret> {
    let text = secret.expose();
    let key = text
        .strip_prefix("whsec_")
        .and_then(from_base64)
        .filter(|key| KEY_BYTES.contains(&key.len()));
    Hmac::new_from_slice(&key.ok_or(BadSecret)?).map_err(|_| BadSecret)
}

fn code(mut mac: Hmac<Sha256>, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
    for piece in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(piece);
    }
    mac.finalize().into_bytes().into()
}

/// The secret that stands for a key, `whsec_…`. A key of 24 to 64 bytes makes one that can be used.
#[must_use]
pub fn secret_of(key: &[u8]) -> Secret {
    Secret::new(format!("whsec_{}", base64(key)))
}

/// The `webhook-signature` of a body.
///
/// # Errors
/// When the secret is malformed.
pub fn sign(secret: &Secret, id: &str, timestamp_s: i64, body: &[u8]) -> Result<String, BadSecret> {
    Ok(format!(
        "v1,{}",
        base64(&code(keyed(secret)?, id, &timestamp_s.to_string(), body))
    ))
}

/// Verifies what was signed with one secret.
pub(crate) struct Verifier(Hmac<Sha256>);

impl Verifier {
    pub(crate) fn new(secret: &Secret) -> Result<Self, BadSecret> {
        keyed(secret).map(Self)
    }

    /// The webhook's id, when its signature is right and it is not older or newer than it may be.
    pub(crate) fn verify<'h>(
        &self,
        headers: &'h HeaderMap,
        body: &Bytes,
        now_s: i64,
    ) -> Result<&'h str, Rejection> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(id), Some(timestamp), Some(signatures)) = (
            header("webhook-id"),
            header("webhook-timestamp"),
            header("webhook-signature"),
        ) else {
            return Err(Rejection::Unsigned);
        };
        let seconds: i64 = timestamp.parse().map_err(|_| Rejection::Malformed)?;
        if id.is_empty() || id.contains('.') {
            return Err(Rejection::Malformed);
        }
        let expected = code(self.0.clone(), id, timestamp, body);
        let matches = |signature: &str| {
            let given = signature.strip_prefix("v1,").and_then(from_base64);
            given.is_some_and(|given| crate::mac::same(&given, &expected))
        };
        if !signatures.split(' ').any(matches) {
            return Err(Rejection::Forged);
        }
        if now_s.abs_diff(seconds) > TOLERANCE_S.unsigned_abs() {
            return Err(Rejection::Stale);
        }
        Ok(id)
    }
}
