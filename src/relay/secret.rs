//! [`Secret`]: a key that both sides know, or half of a key pair, ready for use.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::Sha256;

/// Bytes that a key may have: Standard Webhooks 1.0.0, "Signature scheme".
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// What a secret in text begins with.
pub const SECRET_PREFIX: &str = "whsec_";

/// What the private half of a key pair begins with in text.
pub const PRIVATE_PREFIX: &str = "whsk_";

/// What the public half of a key pair begins with in text.
pub const PUBLIC_PREFIX: &str = "whpk_";

/// Bytes of each half of a key pair.
const HALF_BYTES: usize = 32;

/// A key of Standard Webhooks: one that both sides know (`v1`), or a half of a key pair (`v1a`).
#[derive(Clone)]
pub struct Secret {
    pub(crate) key: Key,
    /// What marks among hops are made with.
    pub(crate) marker: Hmac<Sha256>,
}

#[derive(Clone)]
pub(crate) enum Key {
    /// Signs and verifies. The key itself is not kept, only the state of HMAC-SHA256 after it: each message starts from a
    /// copy of that.
    Shared(Hmac<Sha256>),
    /// Signs, and verifies what it signed.
    Private(Arc<Ed25519KeyPair>),
    /// Verifies.
    Public([u8; HALF_BYTES]),
}

/// Text that is no secret. It is not repeated, because most of it may be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Without the prefix.
    #[error(
        "a webhook secret begins with `{SECRET_PREFIX}`, or `{PRIVATE_PREFIX}` or `{PUBLIC_PREFIX}` for half of a key pair; \
         this one does not"
    )]
    Prefix,
    /// What is behind the prefix is not Base64.
    #[error(
        "a webhook secret is a prefix such as `{SECRET_PREFIX}` and Base64 with padding; what is behind the prefix is not"
    )]
    Base64,
    /// Too short or too long.
    #[error(
        "a webhook secret has {min} to {max} bytes, this one has {0}; make one with `openssl rand -base64 32`",
        min = SECRET_BYTES.start(),
        max = SECRET_BYTES.end()
    )]
    Length(usize),
    /// No private half: `whsk_` is followed by its 32 bytes, alone or with the public half that fits behind them.
    #[error(
        "`{PRIVATE_PREFIX}` is followed by the Base64 of an ed25519 private key of {HALF_BYTES} bytes, alone or with its \
         public key behind it; this is neither, or the two do not fit"
    )]
    Private,
    /// No public half.
    #[error(
        "`{PUBLIC_PREFIX}` is followed by the Base64 of an ed25519 public key of {HALF_BYTES} bytes; this one is not"
    )]
    Public,
}

impl Secret {
    /// A secret from the bytes of the key that both sides know.
    pub fn from_bytes(key: &[u8]) -> Result<Secret, BadSecret> {
        if !SECRET_BYTES.contains(&key.len()) {
            return Err(BadSecret::Length(key.len()));
        }
        let shared = hmac(key);
        Ok(Secret {
            marker: shared.clone(),
            key: Key::Shared(shared),
        })
    }

    fn private(bytes: &[u8]) -> Option<Secret> {
        let pair = match bytes.len() {
            HALF_BYTES => Ed25519KeyPair::from_seed_unchecked(bytes),
            _ => {
                let (seed, public) = bytes.split_at_checked(HALF_BYTES)?;
                Ed25519KeyPair::from_seed_and_public_key(seed, public)
            }
        };
        let pair = pair.ok()?;
        Some(Secret {
            marker: hmac(pair.public_key().as_ref()),
            key: Key::Private(Arc::new(pair)),
        })
    }

    fn public(bytes: &[u8]) -> Option<Secret> {
        Some(Secret {
            marker: hmac(bytes),
            key: Key::Public(bytes.try_into().ok()?),
        })
    }
}

impl Secret {
    /// The version of the signatures that are made with it.
    pub(crate) fn version(&self) -> &'static str {
        match self.key {
            Key::Shared(_) => "v1",
            Key::Private(_) | Key::Public(_) => "v1a",
        }
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl FromStr for Secret {
    type Err = BadSecret;

    fn from_str(text: &str) -> Result<Secret, BadSecret> {
        let decoded = |encoded: &str| STANDARD.decode(encoded).map_err(|_| BadSecret::Base64);
        if let Some(encoded) = text.strip_prefix(SECRET_PREFIX) {
            Secret::from_bytes(&decoded(encoded)?)
        } else if let Some(encoded) = text.strip_prefix(PRIVATE_PREFIX) {
            Secret::private(&decoded(encoded)?).ok_or(BadSecret::Private)
        } else if let Some(encoded) = text.strip_prefix(PUBLIC_PREFIX) {
            Secret::public(&decoded(encoded)?).ok_or(BadSecret::Public)
        } else {
            Err(BadSecret::Prefix)
        }
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
        for (bad, why) in [
            ("whsk_AAAA".to_owned(), BadSecret::Private),
            (format!("whsk_{}", STANDARD.encode([7; 64])), BadSecret::Private),
            (format!("whpk_{}", STANDARD.encode([7; 31])), BadSecret::Public),
            ("whpk_%".to_owned(), BadSecret::Base64),
        ] {
            assert_eq!(bad.parse::<Secret>().unwrap_err(), why, "{bad}");
        }
        assert_eq!(format!("{:?}", text(32).parse::<Secret>().unwrap()), "Secret(…)");
    }
}
