//! Webhooks: verified before they are understood.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use crate::testing::{HOOK_SECRET, Server, connect, connector, hubspot, shipped};
use crate::{Connection, Hint, Incoming, Refusal};

fn request(url: &str, body: &str, headers: &[(&str, &str)]) -> Incoming {
    Incoming {
        method: "POST".to_owned(),
        url: url.to_owned(),
        headers: headers
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

async fn portal() -> Connection {
    hubspot(&Server::script(Vec::new()).await, &Arc::default())
}

const URL: &str = "https://www.example.com/webhook_uri";
const BODY: &str = "{'example_field':'example_value'}";
const SIGNATURE: &str = "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=";
const SENT: i64 = 1_693_657_560_000;

fn signed<'h>(signature: &'h str, sent: &'h str) -> [(&'h str, &'h str); 2] {
    [
        ("x-hubspot-signature-v3", signature),
        ("x-hubspot-request-timestamp", sent),
    ]
}

#[tokio::test]
async fn the_published_vector_is_verified_and_only_then_parsed() {
    let connection = portal().await;
    // The vector's body is no JSON: that is found out only after the signature was.
    let found = connection.receive(&request(URL, BODY, &signed(SIGNATURE, "1693657560000")), at(SENT));
    assert!(matches!(found, Err(Refusal::NotUnderstood(_))), "{found:?}");
}

#[tokio::test]
async fn percent_codes_are_decoded_as_the_vector_says() {
    let url = "https://hub.example.com/hooks%2Fhubspot?tenant=a%20b&x=1";
    let signature = "GZ7IQDKkzsyR5tNLBTrIfTQ/WEg4bnr2JXIc3sOpnTc=";
    let body = r#"[{"eventId":1}]"#;
    let request = request(url, body, &signed(signature, "1732320000000"));
    // One event without object and id: nothing to look at, but accepted.
    assert_eq!(
        portal().await.receive(&request, at(1_732_320_000_000)),
        Ok(Vec::new())
    );
}

#[tokio::test]
async fn missing_bad_and_stale_are_told_apart() {
    let connection = portal().await;
    let receive = |url: &str, body: &str, headers: &[(&str, &str)], now: i64| {
        connection
            .receive(&request(url, body, headers), at(now))
            .unwrap_err()
    };
    let good = signed(SIGNATURE, "1693657560000");
    assert_eq!(
        receive(URL, BODY, &[], SENT),
        Refusal::Missing("x-hubspot-signature-v3".to_owned())
    );
    assert_eq!(
        receive(URL, BODY, &good[..1], SENT),
        Refusal::Missing("x-hubspot-request-timestamp".to_owned())
    );
    assert_eq!(receive(URL, "{}", &good, SENT), Refusal::Bad);
    assert_eq!(
        receive("https://evil.example.com/webhook_uri", BODY, &good, SENT),
        Refusal::Bad
    );
    assert_eq!(
        receive(URL, BODY, &signed(SIGNATURE, "1693657560001"), SENT),
        Refusal::Bad
    );
    assert_eq!(
        receive(URL, BODY, &signed("", "1693657560000"), SENT),
        Refusal::Missing("x-hubspot-signature-v3".to_owned())
    );
    assert_eq!(
        receive(URL, BODY, &signed("not base64", "1693657560000"), SENT),
        Refusal::Bad
    );
    assert_eq!(receive(URL, BODY, &signed(SIGNATURE, "NaN"), SENT), Refusal::Bad);
    let stale = Refusal::Stale {
        age_ms: 300_001,
        max_age_ms: 300_000,
    };
    assert_eq!(receive(URL, BODY, &good, SENT + 300_001), stale);
    let early = Refusal::Stale {
        age_ms: -60_001,
        max_age_ms: 300_000,
    };
    assert_eq!(receive(URL, BODY, &good, SENT - 60_001), early);
}

#[tokio::test]
async fn without_secret_or_webhooks_nothing_is_accepted() {
    let clock = Arc::default();
    let config = json!({"base_url": "https://api.example.com"});
    let unset = connect(&shipped("hubspot"), config, &[("access_token", "t")], &clock);
    let sent = request(URL, BODY, &signed(SIGNATURE, "1693657560000"));
    assert_eq!(
        unset.receive(&sent, at(SENT)),
        Err(Refusal::NoSecret("client_secret".to_owned()))
    );
    let config = json!({"base_url": "https://x.example", "database": "d", "user": "u"});
    let none = connect(&shipped("tryton"), config, &[("password", "p")], &clock);
    assert_eq!(none.receive(&sent, at(SENT)), Err(Refusal::NotExpected));
}

/// Standard Webhooks, as a system that follows it would say it in its manifest.
const STANDARD: &str = r#"
apiVersion: interconnect/v1
kind: Connector
metadata: { name: standard, version: 1.0.0, title: Standard }
connection:
  secrets: { token: x, hook: y }
  base_url: https://api.example.com
  auth: [{ kind: bearer, header: "Bearer {{ secrets.token }}" }]
  identity: { request: { method: GET, path: /me }, tenant: .id }
objects:
  things: { id: .id }
webhooks:
  verify:
    - kind: hmac
      algorithm: sha256
      encoding: base64
      secret: hook
      secret_form: whsec
      signed: ["{{ request.headers['webhook-id'] }}.{{ request.headers['webhook-timestamp'] }}.", body]
      header: webhook-signature
      prefix: "v1,"
      separator: " "
      timestamp: { header: webhook-timestamp, unit: s, max_age: 5m }
  events: '{object: "things", id: .data.id, op: "update"}'
"#;

#[test]
fn standard_webhooks_are_a_matter_of_data() {
    let secrets = [("token", "t"), ("hook", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")];
    let connection = connect(&connector(STANDARD), json!({}), &secrets, &Arc::default());
    let body = r#"{"data":{"id":"x1"}}"#;
    let mac = {
        use base64::Engine as _;
        use hmac::{KeyInit as _, Mac as _};
        let key = base64::engine::general_purpose::STANDARD
            .decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .unwrap();
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("msg_1.1763805600.{body}").as_bytes());
        base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
    };
    let both = format!("v1,AAAA v1,{mac} v1a,{mac}");
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", "1763805600"),
        ("webhook-signature", both.as_str()),
    ];
    let found = connection.receive(
        &request("https://hub.example.com/x", body, &headers),
        at(1_763_805_600_000),
    );
    let hint = Hint {
        object: "things".to_owned(),
        id: "x1".to_owned(),
        op: "update".to_owned(),
        tenant: None,
        origin: None,
        occurred: None,
        dedupe: None,
        merged_from: Vec::new(),
    };
    assert_eq!(found, Ok(vec![hint]));
    let without = connection.receive(
        &request("https://hub.example.com/x", body, &headers[1..]),
        at(1_763_805_600_000),
    );
    assert!(matches!(without, Err(Refusal::Missing(_))), "{without:?}");
}

#[test]
fn no_bytes_are_accepted_without_the_right_signature() {
    let config = json!({"base_url": "https://api.example.com"});
    let secrets = [("access_token", "t"), ("client_secret", HOOK_SECRET)];
    let connection = connect(&shipped("hubspot"), config, &secrets, &Arc::default());
    let bodies = prop::collection::vec(any::<u8>(), 0..64);
    proptest!(|(body in bodies, signature in "[A-Za-z0-9+/=]{0,64}")| {
        let mut sent = request(URL, "", &signed(&signature, "1693657560000"));
        sent.body = Bytes::from(body);
        let refused = matches!(connection.receive(&sent, at(SENT)), Err(Refusal::Bad | Refusal::Missing(_)));
        prop_assert!(refused);
    });
}
