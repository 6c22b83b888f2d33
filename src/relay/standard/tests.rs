//! Signatures: the vector of the specification's libraries, round trips, and every refusal.

use super::*;
use proptest::prelude::*;

/// The example that the libraries of the specification share.
const SECRET: &str = concat!("whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
const MESSAGE_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SECONDS: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn secret(text: &str) -> Secret {
    text.parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
    let pairs = [(ID, id), (TIMESTAMP, timestamp), (SIGNATURE, signature)];
    pairs
        .into_iter()
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

fn verified(headers: &HeaderMap) -> Result<Message, Unverified> {
    verify(
        &[secret(SECRET)],
        headers,
        Bytes::from_static(BODY),
        at(SECONDS),
        TOLERANCE_MS,
    )
}

#[test]
fn signs_and_verifies_the_example_of_the_specification() {
    let signed = sign(&[secret(SECRET)], MESSAGE_ID, at(SECONDS), BODY);
    assert_eq!(signed, headers(MESSAGE_ID, "1614265330", SIGNED));
    let message = verified(&signed).unwrap();
    assert_eq!((message.id.as_str(), &message.body.get()[..]), (MESSAGE_ID, BODY));
}

#[test]
fn one_of_several_signatures_and_secrets_is_enough() {
    let old = secret(SECRET);
    let new = Secret::from_bytes(&[7; 32]).unwrap();
    let other = Secret::from_bytes(&[8; 24]).unwrap();
    let body = Bytes::from_static(BODY);
    let both = sign(&[new.clone(), old.clone()], MESSAGE_ID, at(SECONDS), BODY);
    for known in [vec![old.clone()], vec![new], vec![other.clone(), old.clone()]] {
        assert!(verify(&known, &both, body.clone(), at(SECONDS), TOLERANCE_MS).is_ok());
    }
    let wrong = verify(&[other], &both, body, at(SECONDS), TOLERANCE_MS);
    assert_eq!(wrong, Err(Unverified::WrongSignature));
    let beside_others = format!("v1a,c2lnbmVk {SIGNED} v2,x");
    assert!(verified(&headers(MESSAGE_ID, "1614265330", &beside_others)).is_ok());
}

/// The example of the server that `v1a` comes from, over the same message.
const PRIVATE: &str = concat!(
    "whsk_",
    "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
);
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const SIGNED_WITH_IT: &str =
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

#[test]
fn a_key_pair_signs_beside_a_shared_secret() {
    let pair = sign(&[secret(PRIVATE)], MESSAGE_ID, at(SECONDS), BODY);
    assert_eq!(pair[SIGNATURE], SIGNED_WITH_IT);
    let both = sign(&[secret(SECRET), secret(PRIVATE)], MESSAGE_ID, at(SECONDS), BODY);
    assert_eq!(both[SIGNATURE], format!("{SIGNED} {SIGNED_WITH_IT}").as_str());
    let judge = |secrets: &[Secret], headers: &HeaderMap, body: &'static [u8]| {
        verify(secrets, headers, Bytes::from_static(body), at(SECONDS), 0).is_ok()
    };
    for known in [SECRET, PRIVATE, PUBLIC] {
        assert!(judge(&[secret(known)], &both, BODY), "{known}");
        assert!(!judge(&[secret(known)], &both, b"{}"), "{known}");
    }
    assert!(judge(&[secret(PUBLIC)], &pair, BODY) && !judge(&[secret(SECRET)], &pair, BODY));
    let seed_alone = secret(concat!("whsk_", "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="));
    assert_eq!(
        sign(&[seed_alone], MESSAGE_ID, at(SECONDS), BODY)[SIGNATURE],
        SIGNED_WITH_IT
    );
    let other = format!("whpk_{}", STANDARD.encode([9; 32]));
    assert!(!judge(&[secret(&other)], &both, BODY), "another pair's");
}

#[test]
fn every_refusal_says_what_is_wrong() {
    let good = || headers(MESSAGE_ID, "1614265330", SIGNED);
    let refusal = |headers: &HeaderMap| {
        let refused = verified(headers).unwrap_err();
        format!("{}: {refused}", refused.code())
    };
    let mut found = Vec::new();
    for name in [ID, TIMESTAMP, SIGNATURE] {
        let mut without = good();
        without.remove(&name);
        found.push(refusal(&without));
    }
    let mut twice = good();
    twice.append(ID, "other".parse().unwrap());
    found.push(refusal(&twice));
    for (id, timestamp, signature) in [
        ("", "1614265330", SIGNED),
        ("a.b", "1614265330", SIGNED),
        ("a b", "1614265330", SIGNED),
        (&*"a".repeat(129), "1614265330", SIGNED),
        (MESSAGE_ID, "-5", SIGNED),
        (MESSAGE_ID, "99999999999999", SIGNED),
        (MESSAGE_ID, "1614265330", "v1,short="),
        (MESSAGE_ID, "1614265330", &*"v1,a ".repeat(500)),
        ("msg_other", "1614265330", SIGNED),
        (MESSAGE_ID, "1614265331", SIGNED),
    ] {
        found.push(refusal(&headers(id, timestamp, signature)));
    }
    insta::assert_snapshot!(found.join("\n"), @r"
    signature_missing: the header `webhook-id` is missing; sign as Standard Webhooks 1.0.0 says
    signature_missing: the header `webhook-timestamp` is missing; sign as Standard Webhooks 1.0.0 says
    signature_missing: the header `webhook-signature` is missing; sign as Standard Webhooks 1.0.0 says
    signature_malformed: the header `webhook-id` cannot be read: it is there more than once
    signature_malformed: the header `webhook-id` cannot be read: it is empty
    signature_malformed: the header `webhook-id` cannot be read: it has a `.`, which separates what is signed
    signature_malformed: the header `webhook-id` cannot be read: it has a space
    signature_malformed: the header `webhook-id` cannot be read: it is longer than 128 characters
    signature_malformed: the header `webhook-timestamp` cannot be read: it is not a number of seconds since 1970
    signature_malformed: the header `webhook-timestamp` cannot be read: it is not a number of seconds since 1970
    signature_malformed: the header `webhook-signature` cannot be read: it has neither `v1,` with 32 bytes of Base64 behind it nor `v1a,` with 64
    signature_malformed: the header `webhook-signature` cannot be read: it is longer than 2048 bytes
    signature_wrong: no signature fits: sign the bytes that are sent, with this partner's secret, over `id.timestamp.body`
    signature_wrong: no signature fits: sign the bytes that are sent, with this partner's secret, over `id.timestamp.body`
    ");
}

#[test]
fn moments_off_by_more_than_the_tolerance_are_refused_both_ways() {
    let judge = |now: i64| {
        verify(
            &[secret(SECRET)],
            &headers(MESSAGE_ID, "1614265330", SIGNED),
            Bytes::from_static(BODY),
            at(now),
            TOLERANCE_MS,
        )
        .map(|_| "fine")
        .map_err(|refused| refused.to_string())
    };
    assert_eq!(judge(SECONDS + 300), Ok("fine"));
    assert_eq!(judge(SECONDS - 300), Ok("fine"));
    insta::assert_snapshot!(judge(SECONDS + 301).unwrap_err(), @"signed 301 s ago, more than the 300 s that are tolerated; sign anew for each try");
    insta::assert_snapshot!(judge(SECONDS - 301).unwrap_err(), @"signed 301 s in the future, more than the 300 s that are tolerated; set the sender's clock");
}

#[test]
fn what_is_unsigned_is_never_called_stale() {
    let forged = headers(MESSAGE_ID, "1000000000", SIGNED);
    assert_eq!(verified(&forged), Err(Unverified::WrongSignature));
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_what_is_changed_does_not(
        key in prop::collection::vec(any::<u8>(), 24..=64),
        id in "[!-\\-/-~]{1,128}",
        seconds in 0i64..4_000_000_000,
        body in prop::collection::vec(any::<u8>(), 0..200),
        flip in any::<(usize, u8)>(),
    ) {
        let secrets = [Secret::from_bytes(&key).unwrap()];
        let signed = sign(&secrets, &id, at(seconds), &body);
        let judge = |body: Vec<u8>| verify(&secrets, &signed, body.into(), at(seconds), 0);
        prop_assert!(judge(body.clone()).is_ok());
        let mut changed = body;
        changed.push(0);
        let place = flip.0 % changed.len();
        changed[place] ^= flip.1 | 1;
        prop_assert_eq!(judge(changed), Err(Unverified::WrongSignature));
    }
}
