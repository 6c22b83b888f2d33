//! Any headers and body as a message of Standard Webhooks: refused without the secret; what is signed is taken, and
//! refused again when a byte of it is another.
//!
//! The headers stand in the first three lines of an input: id, timestamp, signature.
#![no_main]

use bytes::Bytes;
use interconnect_fuzz::headed;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use relay::Secret;
use relay::standard::{sign, verify};

const KEY: [u8; 32] = *b"9f2c4e1ab07d5583c6e1fa90247bd813";
/// When every message arrives: the seconds in the corpus are near it.
const NOW_S: i64 = 1_800_000_000;
const TOLERANCE_MS: u64 = 300_000;

fuzz_target!(|input: &str| {
    let parts = headed(input).and_then(|(id, rest)| {
        let (timestamp, rest) = headed(rest)?;
        let (signature, body) = headed(rest)?;
        Some((id, timestamp, signature, body))
    });
    let Some((id, timestamp, signature, body)) = parts else {
        return;
    };
    let secrets = [Secret::from_bytes(&KEY).expect("a key")];
    let now = Timestamp::from_second(NOW_S).expect("a moment");
    let body = Bytes::copy_from_slice(body.as_bytes());
    let mut signed = sign(&secrets, "msg_1", now, &body);
    verify(&secrets, &signed, body.clone(), now, TOLERANCE_MS).expect("what is signed is taken");
    let mut other = body.to_vec();
    match other.last_mut() {
        Some(last) => *last ^= 1,
        None => other.push(0),
    }
    verify(&secrets, &signed, other.into(), now, TOLERANCE_MS).expect_err("another body is refused");
    let lines = [
        ("webhook-id", id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", signature),
    ];
    for (name, value) in lines {
        signed.remove(name);
        if let Ok(value) = value.parse() {
            signed.insert(name, value);
        }
    }
    verify(&secrets, &signed, body, now, TOLERANCE_MS).expect_err("nobody signed it");
});
