//! Signatures by the specification's own vector, and what the inbox makes of webhooks.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use proptest::prelude::*;

use super::inbox::{Inbox, RECEIVED_MAX};
use super::standard_webhooks::{BadSecret, Rejection, Verifier, sign};
use crate::secret::Secret;

/// Secret, id, time, body and signature of the specification's reference libraries.
const SECRET: &str = concat!("whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const AT_S: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
    let pairs = [
        ("webhook-id", id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", signature),
    ];
    pairs
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

fn verify(headers: &HeaderMap, now_s: i64) -> Result<String, Rejection> {
    let verifier = Verifier::new(&Secret::new(SECRET)).unwrap();
    verifier
        .verify(headers, &Bytes::from_static(BODY), now_s)
        .map(str::to_owned)
}

#[test]
fn the_vector_of_the_reference_libraries_is_signed_and_verified() {
    assert_eq!(
        sign(&Secret::new(SECRET), ID, AT_S, BODY).as_deref(),
        Ok(SIGNATURE)
    );
    let at = AT_S.to_string();
    assert_eq!(
        verify(&headers(ID, &at, SIGNATURE), AT_S + 300).as_deref(),
        Ok(ID)
    );
    // While a secret is being rotated, the list has two; other versions are passed over.
    assert!(verify(&headers(ID, &at, &format!("v1a,abc v1,AAAA {SIGNATURE}")), AT_S).is_ok());
}

#[test]
fn what_is_not_right_is_told_apart() {
    let at = AT_S.to_string();
    assert_eq!(verify(&HeaderMap::new(), AT_S), Err(Rejection::Unsigned));
    assert_eq!(
        verify(&headers(ID, "yesterday", SIGNATURE), AT_S),
        Err(Rejection::Malformed)
    );
    assert_eq!(
        verify(&headers("a.b", &at, SIGNATURE), AT_S),
        Err(Rejection::Malformed)
    );
    assert_eq!(
        verify(&headers(ID, &at, SIGNATURE), AT_S + 301),
        Err(Rejection::Stale)
    );
    assert_eq!(
        verify(&headers(ID, &at, SIGNATURE), AT_S - 301),
        Err(Rejection::Stale)
    );
    assert_eq!(
        verify(&headers("msg_other", &at, SIGNATURE), AT_S),
        Err(Rejection::Forged)
    );
    for secret in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_short", "whsec_!!"] {
        assert_eq!(
            sign(&Secret::new(secret), ID, AT_S, BODY),
            Err(BadSecret),
            "{secret}"
        );
    }
}

#[test]
fn secrets_do_not_print() {
    assert_eq!(format!("{:?}", Secret::new(SECRET)), "Secret(…)");
}

#[test]
fn the_inbox_counts_all_and_keeps_the_newest() {
    let mut inbox = Inbox::default();
    for number in 0..RECEIVED_MAX + 5 {
        inbox.take(&format!("msg_{}", number / 2), "/", &Bytes::from_static(b"{}"), 0);
    }
    let counts = inbox.counts();
    assert_eq!(counts.accepted + counts.duplicates, RECEIVED_MAX as u64 + 5);
    assert_eq!(counts.duplicates, RECEIVED_MAX as u64 / 2 + 2);
    let kept = inbox.after(0, usize::MAX);
    assert_eq!((kept.len(), kept[0].sequence), (RECEIVED_MAX, 6));
    assert_eq!(inbox.after(RECEIVED_MAX as u64 + 3, 10).len(), 2);
}

proptest! {
    /// No byte of what is signed can be changed.
    #[test]
    fn every_byte_counts(body in prop::collection::vec(any::<u8>(), 1..80), at in any::<prop::sample::Index>(), change in 1u8..) {
        let secret = Secret::new(SECRET);
        let signature = sign(&secret, ID, AT_S, &body).unwrap();
        let headers = headers(ID, &AT_S.to_string(), &signature);
        let verifier = Verifier::new(&secret).unwrap();
        prop_assert!(verifier.verify(&headers, &Bytes::from(body.clone()), AT_S).is_ok());
        let mut changed = body;
        let at = at.index(changed.len());
        changed[at] ^= change;
        prop_assert_eq!(verifier.verify(&headers, &Bytes::from(changed), AT_S), Err(Rejection::Forged));
    }
}
