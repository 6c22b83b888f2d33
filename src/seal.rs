//! Refresh tokens that outlive the process, sealed.
//!
//! A system may replace the refresh token with every use; then only the newest is good, and losing it locks the
//! connection out. [`SealedTokens`] keeps it in the ledger, *sealed* with a [`SealKey`] of the configuration: encrypted
//! and authenticated by XChaCha20-Poly1305, so that who reads the ledger or its backups reads no token.
//!
//! A sealed token is laid out as version (1 byte), key id (8), origin (32), nonce (24), encrypted token; all of it, and
//! the name that it is kept under, is authenticated. The *origin* is a hash of the configured token that it descends
//! from. It lies open, because a token that is configured anew must win even when the key is lost; tokens are too random
//! to be guessed from it.
//!
//! Promised: a kept token that no key opens is an error, never passed over; one that the ledger did not take is held in
//! memory, for the system has forgotten the one before.
//! Not promised: that two processes may renew one connection at the same moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use connector::{Secret, TokenError, TokenStore};
use ledger::{LedgerError, Upkeep};
use sha2::{Digest, Sha256};

use crate::world::RealWorld;

/// The layout of what this program seals.
const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const KEY_ID_BYTES: usize = 8;
const ORIGIN_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// What makes a key.
pub(crate) const MAKE_KEY: &str = "openssl rand -base64 32";

/// A text that is no key. It is not repeated: it may be another secret.
#[derive(Debug, thiserror::Error)]
#[error("not {KEY_BYTES} bytes in Base64")]
pub(crate) struct BadSealKey;

/// A key that seals and opens.
pub(crate) struct SealKey {
    id: [u8; KEY_ID_BYTES],
    cipher: XChaCha20Poly1305,
}

impl SealKey {
    /// Reads a key.
    pub(crate) fn parse(text: &str) -> Result<SealKey, BadSealKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| BadSealKey)?;
        let bytes = <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| BadSealKey)?;
        let hash = hash(&[b"interconnect seal key", &bytes]);
        let (id, _) = hash.split_first_chunk().expect("a hash is longer than an id");
        let cipher = XChaCha20Poly1305::new(&bytes.into());
        Ok(SealKey { id: *id, cipher })
    }
}

/// The parts of a sealed token.
struct Sealed<'a> {
    /// Version, key id and origin.
    head: &'a [u8],
    key_id: &'a [u8; KEY_ID_BYTES],
    origin: &'a [u8; ORIGIN_BYTES],
    nonce: &'a [u8; NONCE_BYTES],
    encrypted: &'a [u8],
}

impl Sealed<'_> {
    fn parse(bytes: &[u8]) -> Option<Sealed<'_>> {
        let (&version, rest) = bytes.split_first()?;
        let (key_id, rest) = rest.split_first_chunk()?;
        let (origin, rest) = rest.split_first_chunk()?;
        let head = &bytes[..bytes.len() - rest.len()];
        let (nonce, encrypted) = rest.split_first_chunk()?;
        (version == VERSION).then_some(Sealed {
            head,
            key_id,
            origin,
            nonce,
            encrypted,
        })
    }
}

/// Keeps refresh tokens in the ledger.
pub(crate) struct SealedTokens {
    ledger: Arc<dyn Upkeep>,
    /// The first seals, all open.
    keys: Vec<SealKey>,
    /// Sealed tokens that the ledger did not take, by name.
    unwritten: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl SealedTokens {
    /// Keeps them in a ledger; without a key nothing is kept, and saying so is an error.
    pub(crate) fn new(ledger: Arc<dyn Upkeep>, keys: Vec<SealKey>) -> SealedTokens {
        SealedTokens {
            ledger,
            keys,
            unwritten: Mutex::default(),
        }
    }

    fn unwritten(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(&self, name: &str, origin: &[u8; ORIGIN_BYTES], token: &Secret) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let nonce = RealWorld::secret_bytes::<NONCE_BYTES>();
        let head = [&[VERSION], &key.id[..], origin].concat();
        let aad = [&head, name.as_bytes()].concat();
        let token = Payload {
            msg: token.expose().as_bytes(),
            aad: &aad,
        };
        let encrypted = key.cipher.encrypt(&nonce.into(), token);
        let encrypted = encrypted.expect("a token has less than the 256 GiB that can be encrypted");
        Some([&head[..], &nonce, &encrypted].concat())
    }

    /// Opens a sealed token; nothing when its key is not at hand.
    fn open(&self, name: &str, sealed: &Sealed<'_>) -> Option<Result<Secret, Changed>> {
        let key = self.keys.iter().find(|key| key.id == *sealed.key_id)?;
        let aad = [sealed.head, name.as_bytes()].concat();
        let encrypted = Payload {
            msg: sealed.encrypted,
            aad: &aad,
        };
        let token = key.cipher.decrypt(sealed.nonce.into(), encrypted);
        let token = token.ok().and_then(|token| String::from_utf8(token).ok());
        Some(token.map(Secret::new).ok_or(Changed))
    }
}

/// A sealed token is not what was sealed, or not where.
struct Changed;

#[async_trait]
impl TokenStore for SealedTokens {
    async fn load(&self, connection: &str, from: &Secret) -> Result<Option<Secret>, TokenError> {
        let name = name_of(connection);
        let unwritten = self.unwritten().get(&name).cloned();
        let kept = match unwritten {
            Some(sealed) => Some(sealed),
            None => self
                .ledger
                .sealed(&name)
                .await
                .map_err(|error| unreachable(&error))?,
        };
        let Some(kept) = kept else {
            return Ok(None);
        };
        let sealed = Sealed::parse(&kept).ok_or_else(|| changed(connection))?;
        let token = self
            .open(&name, &sealed)
            .transpose()
            .map_err(|Changed| changed(connection))?;
        match token {
            // Authorised again since. This is also the way out when the key is lost.
            _ if *sealed.origin != origin(connection, from) => Ok(None),
            Some(token) => Ok(Some(token)),
            None => Err(TokenError::Settings(format!(
                "the newest refresh token of `{connection}` is sealed with a key that `seal_key` does not name: \
                 name that key, too, or authorise the connection again and set its new `secrets.refresh_token`"
            ))),
        }
    }

    async fn keep(&self, connection: &str, from: &Secret, token: &Secret) -> Result<(), TokenError> {
        let name = name_of(connection);
        let Some(sealed) = self.seal(&name, &origin(connection, from), token) else {
            return Err(TokenError::Settings(format!(
                "there is no `seal_key` to keep the refresh token of `{connection}` with; make one with: {MAKE_KEY}"
            )));
        };
        self.unwritten().insert(name.clone(), sealed.clone());
        self.ledger
            .keep_sealed(&name, &sealed)
            .await
            .map_err(|error| unreachable(&error))?;
        self.unwritten().remove(&name);
        Ok(())
    }
}

/// The name that a connection's token is kept under.
fn name_of(connection: &str) -> String {
    format!("refresh_token/{connection}")
}

fn origin(connection: &str, configured: &Secret) -> [u8; ORIGIN_BYTES] {
    hash(&[
        b"interconnect origin",
        connection.as_bytes(),
        &[0],
        configured.expose().as_bytes(),
    ])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}

fn unreachable(error: &LedgerError) -> TokenError {
    TokenError::Unreachable(format!("the refresh token could not be read or kept: {error}"))
}

fn changed(connection: &str) -> TokenError {
    let name = name_of(connection);
    TokenError::Settings(format!(
        "the newest refresh token of `{connection}` is not as this program sealed it: restore the ledger, \
         or delete its row `{name}` in `sealed` and authorise the connection again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{Ledger, Owed, Quarantined, Run, Standing};

    fn key(seed: u8) -> SealKey {
        SealKey::parse(&STANDARD.encode([seed; KEY_BYTES])).unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    async fn ledger() -> Arc<dyn Ledger> {
        ledger::open("sqlite::memory:", ledger::Settings::default())
            .await
            .unwrap()
    }

    /// What a hub with these keys goes on with at a connection whose configured token is `first`.
    async fn loaded(ledger: &Arc<dyn Ledger>, keys: &[u8], connection: &str) -> Result<String, String> {
        let tokens = SealedTokens::new(ledger.clone(), keys.iter().map(|seed| key(*seed)).collect());
        let token = tokens.load(connection, &secret("first")).await;
        token
            .map(|token| token.map_or("first".to_owned(), |token| token.expose().to_owned()))
            .map_err(|error| error.to_string())
    }

    /// A ledger in which a hub with a key kept `newest` for `crm`.
    async fn kept(key_seed: u8) -> Arc<dyn Ledger> {
        let ledger = ledger().await;
        let tokens = SealedTokens::new(ledger.clone(), vec![key(key_seed)]);
        tokens
            .keep("crm", &secret("first"), &secret("newest"))
            .await
            .unwrap();
        ledger
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        for text in [
            "",
            "hunter2",
            &STANDARD.encode([1; 31]),
            &STANDARD.encode([1; 33]),
        ] {
            assert!(SealKey::parse(text).is_err(), "{text}");
        }
        assert!(SealKey::parse(&format!("{}\n", STANDARD.encode([1; 32]))).is_ok());
    }

    #[tokio::test]
    async fn what_is_sealed_is_opened_and_not_to_be_read() {
        let ledger = kept(1).await;
        assert_eq!(loaded(&ledger, &[1], "crm").await.unwrap(), "newest");
        assert_eq!(
            loaded(&ledger, &[1], "erp").await.unwrap(),
            "first",
            "nothing was kept"
        );
        let sealed = ledger.sealed("refresh_token/crm").await.unwrap().unwrap();
        assert!(
            !sealed
                .windows(6)
                .any(|part| part == b"newest" || part == b"first")
        );
        let again = kept(1).await.sealed("refresh_token/crm").await.unwrap();
        assert_ne!(Some(sealed), again, "a nonce is used once");
    }

    #[tokio::test]
    async fn another_key_is_an_error_that_says_the_fix() {
        for keys in [&[2][..], &[]] {
            let error = loaded(&kept(1).await, keys, "crm").await.unwrap_err();
            assert!(error.contains("`crm`") && error.contains("`seal_key`"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_key_is_rotated_by_naming_both() {
        let ledger = kept(1).await;
        assert_eq!(loaded(&ledger, &[2, 1], "crm").await.unwrap(), "newest");
        let tokens = SealedTokens::new(ledger.clone(), vec![key(2), key(1)]);
        tokens
            .keep("crm", &secret("first"), &secret("later"))
            .await
            .unwrap();
        assert_eq!(
            loaded(&ledger, &[2], "crm").await.unwrap(),
            "later",
            "the first one seals"
        );
    }

    #[tokio::test]
    async fn a_token_configured_anew_wins_even_when_the_key_is_lost() {
        let ledger = kept(1).await;
        for seed in [1, 2] {
            let tokens = SealedTokens::new(ledger.clone(), vec![key(seed)]);
            let token = tokens.load("crm", &secret("second")).await.unwrap();
            assert_eq!(token, None, "what is configured counts");
        }
    }

    #[tokio::test]
    async fn what_was_changed_moved_or_cut_is_refused() {
        let ledger = kept(1).await;
        let sealed = ledger.sealed("refresh_token/crm").await.unwrap().unwrap();
        ledger.keep_sealed("refresh_token/erp", &sealed).await.unwrap();
        loaded(&ledger, &[1], "erp").await.unwrap_err();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            ledger.keep_sealed("refresh_token/crm", &changed).await.unwrap();
            loaded(&ledger, &[1], "crm").await.unwrap_err();
            ledger
                .keep_sealed("refresh_token/crm", &sealed[..at])
                .await
                .unwrap();
            loaded(&ledger, &[1], "crm").await.unwrap_err();
        }
    }

    /// A ledger that is away.
    struct Away;

    fn away<T>() -> Result<T, LedgerError> {
        Err(LedgerError::Busy { waiting: 1 })
    }

    #[async_trait]
    impl Upkeep for Away {
        async fn owed(&self) -> Result<Owed, LedgerError> {
            away()
        }
        async fn backlog(
            &self,
            _: &[(String, String)],
            _: &[String],
            _: usize,
        ) -> Result<ledger::Backlog, LedgerError> {
            away()
        }
        async fn note_run(&self, _: &Run) -> Result<(), LedgerError> {
            away()
        }
        async fn runs(&self, _: usize) -> Result<Vec<Run>, LedgerError> {
            away()
        }
        async fn keep_sealed(&self, _: &str, _: &[u8]) -> Result<(), LedgerError> {
            away()
        }
        async fn note_standing(&self, _: &Standing) -> Result<(), LedgerError> {
            away()
        }
        async fn standings(&self, _: Option<&str>) -> Result<Vec<Standing>, LedgerError> {
            away()
        }
        async fn quarantine(&self, _: &Quarantined) -> Result<(), LedgerError> {
            away()
        }
        async fn release_fields(&self, _: &str, _: &str, _: &[String]) -> Result<(), LedgerError> {
            away()
        }
        async fn quarantined(&self, _: Option<(&str, &str)>) -> Result<Vec<Quarantined>, LedgerError> {
            away()
        }
        async fn sealed(&self, _: &str) -> Result<Option<Vec<u8>>, LedgerError> {
            away()
        }
        async fn check(&self) -> Result<(), LedgerError> {
            away()
        }
        async fn row_counts(&self) -> Result<Vec<(String, u64)>, LedgerError> {
            away()
        }
    }

    #[tokio::test]
    async fn a_token_that_the_ledger_does_not_take_is_not_lost() {
        let tokens = SealedTokens::new(Arc::new(Away), vec![key(1)]);
        let first = secret("first");
        assert!(matches!(
            tokens.load("crm", &first).await,
            Err(TokenError::Unreachable(_))
        ));
        let kept = tokens.keep("crm", &first, &secret("newest")).await;
        assert!(matches!(kept, Err(TokenError::Unreachable(_))), "{kept:?}");
        assert_eq!(tokens.load("crm", &first).await.unwrap(), Some(secret("newest")));
    }
}
