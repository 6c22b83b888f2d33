//! [`Secret`]: a key that both sides know, ready for use.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit};
use sha2::Sha256;

/// Bytes that a key may have: Standard Webhooks 1.0.0, "Signature scheme".
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// What a secret in text begins with.
pub const SECRET_PREFIX: &str = "whsec_";

/// A symmetric key of Standard Webhooks.
///
/// The key itself is not kept, only the state of HMAC-SHA256 after it: each message starts from a copy of that.
#[derive(Clone)]
pub struct Secret(pub(crate) Hmac<Sha256>);

/// Text that is no secret. It is not repeated, because most of it may be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Without the prefix.
    #[error("a webhook secret begins with `{SECRET_PREFIX}`, this one does not")]
    Prefix,
    /// What is behind the prefix is not Base64.
    #[error(
        "a webhook secret is `{SECRET_PREFIX}` and Base64 with padding; what is behind the prefix is not"
    )]
    Base64,
    /// Too short or too long.
    #[error(
        "a webhook secret has {min} to {max} bytes, this one has {0}; make one with `openssl rand -base64 32`",
        min = SECRET_BYTES.start(),
        max = SECRET_BYTES.end()
    )]
    Length(usize),
}

impl Secret {
    /// A secret from the bytes of its key.
    pub fn from_bytes(key: &[u8]) -> Result<Secret, BadSecret> {
        if !SECRET_BYTES.contains(&key.len()) {
            return Err(BadSecret::Length(key.len()));
        }
        Ok(Secret(
            Hmac::new_from_slice(key).expect("HMAC takes keys of any length"),
        ))
    }
}

impl FromStr for Secret {
    type Err = BadSecret;

    fn from_str(text: &str) -> Result<Secret, BadSecret> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(BadSecret::Prefix)?;
        let key = STANDARD.decode(encoded).map_err(|_| BadSecret::Base64)?;
        Secret::from_bytes(&key)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_a_prefix_and_24_to_64_bytes_and_do_not_show() {
        let text = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for good in [24, 32, 64] {
            assert!(text(good).parse::<Secret>().is_ok());
        }
        for bad in [0, 23, 65] {
            assert_eq!(text(bad).parse::<Secret>().unwrap_err(), BadSecret::Length(bad));
        }
        let unprefixed = STANDARD.encode([7; 32]);
        assert_eq!(unprefixed.parse::<Secret>().unwrap_err(), BadSecret::Prefix);
        let bad = "whsec_not base64!".parse::<Secret>().unwrap_err();
        assert_eq!(bad, BadSecret::Base64);
        assert!(!bad.to_string().contains("not base64!"));
        assert_eq!(format!("{:?}", text(32).parse::<Secret>().unwrap()), "Secret(…)");
    }
}
