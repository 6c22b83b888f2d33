//! Webhooks: verified before they are understood.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use crate::testing::{HOOK_SECRET, Server, connect, connector, hubspot, shipped};
use crate::{Answer, Connection, Hint, Incoming, Received, Refusal};

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
        Ok(Received::Hints(Vec::new()))
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
        Refusal::Missing("the header `x-hubspot-signature-v3`".to_owned())
    );
    assert_eq!(
        receive(URL, BODY, &good[..1], SENT),
        Refusal::Missing("the header `x-hubspot-request-timestamp`".to_owned())
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
        Refusal::Missing("the header `x-hubspot-signature-v3`".to_owned())
    );
    let malformed = receive(URL, BODY, &signed("not base64", "1693657560000"), SENT);
    assert!(matches!(malformed, Refusal::Malformed { .. }), "{malformed:?}");
    let malformed = receive(URL, BODY, &signed(SIGNATURE, "NaN"), SENT);
    assert!(matches!(malformed, Refusal::Malformed { .. }), "{malformed:?}");
    let stale = Refusal::Stale {
        age_ms: 300_001,
        max_age_ms: 300_000,
    };
    assert_eq!(receive(URL, BODY, &good, SENT + 300_001), stale);
    let early = Refusal::Future { ahead_ms: 60_001 };
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
        Err(Refusal::CannotVerify(
            "the secret `client_secret` is not set".to_owned()
        ))
    );
    let config = json!({"base_url": "https://x.example", "database": "d", "user": "u"});
    let none = connect(&shipped("tryton"), config, &[("password", "p")], &clock);
    assert_eq!(none.receive(&sent, at(SENT)), Err(Refusal::NotExpected));
}

/// A message of two notifications, as "Outbound Messaging" in the SOAP API Developer Guide has it.
const OUTBOUND: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">
  <OrganizationId>00Dxx0000001gPFEAY</OrganizationId><SessionId xsi:nil="true"/>
  <Notification><Id>04l1</Id><sObject xsi:type="sf:Opportunity" xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>0061</sf:Id></sObject></Notification>
  <Notification><Id>04l2</Id><sObject xsi:type="sf:Account" xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>0011</sf:Id></sObject></Notification>
 </notifications></soapenv:Body>
</soapenv:Envelope>"#;

#[test]
fn an_outbound_message_is_hints_and_is_acknowledged() {
    let config = json!({"login_url": "https://acme.my.salesforce.com"});
    let secrets = [
        ("client_id", "c"),
        ("client_secret", "s"),
        ("webhook_token", "long and random"),
    ];
    let connection = connect(&shipped("salesforce"), config, &secrets, &Arc::default());
    let receive =
        |query: &str, body: &str| connection.receive(&request(&format!("{URL}{query}"), body, &[]), at(SENT));
    let Ok(Received::Hints(hints)) = receive("?token=long%20and%20random", OUTBOUND) else {
        panic!("hints")
    };
    let told: Vec<_> = hints
        .iter()
        .map(|hint| {
            (
                hint.object.as_str(),
                hint.id.as_str(),
                hint.dedupe.as_deref(),
                hint.tenant.as_deref(),
            )
        })
        .collect();
    let tenant = Some("00Dxx0000001gPFEAY");
    assert_eq!(
        told,
        [
            ("Opportunity", "0061", Some("04l1"), tenant),
            ("Account", "0011", Some("04l2"), tenant)
        ]
    );
    let answer = connection.acknowledgement().unwrap();
    assert_eq!(answer.content_type, "text/xml; charset=utf-8");
    assert!(answer.body.contains("<Ack>true</Ack>"), "{}", answer.body);
    assert_eq!(receive("?token=guessed", OUTBOUND), Err(Refusal::Bad));
    assert!(matches!(receive("", OUTBOUND), Err(Refusal::Missing(_))));
    let bomb = OUTBOUND.replace("?>", "?><!DOCTYPE x [<!ENTITY y \"z\">]>");
    assert!(matches!(
        receive("?token=long%20and%20random", &bomb),
        Err(Refusal::NotUnderstood(_))
    ));
}

/// A system that asks for its challenge back in every place there is.
const ASKING: &str = r#"
apiVersion: interconnect/v1
kind: Connector
metadata: { name: asking, version: 1.0.0, title: Asking }
connection:
  secrets: { token: x, hook: y }
  base_url: https://api.example.com
  auth: [{ kind: bearer, header: "Bearer {{ secrets.token }}" }]
  identity: { request: { method: GET, path: /me }, tenant: .id }
objects:
  things: { id: .id }
webhooks:
  handshake:
    - { when: { query: validationToken }, answer: text }
    - when: { query: hub.challenge }
      answer: text
      verify: [{ kind: query, query: hub.verify_token, secret: hook }]
    - { when: { header: X-Verification-Challenge }, answer: { json: verification } }
    - { when: { body: .challenge }, answer: { json: challenge } }
  verify: [{ kind: header, header: x-token, secret: hook }]
  events: '{object: "things", id: .id, op: "update"}'
"#;

fn asked(query: &str, body: &str, headers: &[(&str, &str)]) -> Result<Received, Refusal> {
    let secrets = [("token", "t"), ("hook", "s3cret")];
    let connection = connect(&connector(ASKING), json!({}), &secrets, &Arc::default());
    connection.receive(&request(&format!("{URL}{query}"), body, headers), at(SENT))
}

fn text(body: &str) -> Result<Received, Refusal> {
    Ok(Received::Challenge(Answer {
        content_type: "text/plain; charset=utf-8",
        body: body.to_owned(),
    }))
}

fn object(body: &str) -> Result<Received, Refusal> {
    Ok(Received::Challenge(Answer {
        content_type: "application/json",
        body: body.to_owned(),
    }))
}

#[test]
fn a_challenge_is_sent_back_where_the_manifest_says_so() {
    assert_eq!(
        asked("?validationToken=Validation%3A+x", "", &[]),
        text("Validation: x")
    );
    let challenge = [("x-verification-challenge", "a\"b")];
    assert_eq!(asked("", "", &challenge), object(r#"{"verification":"a\"b"}"#));
    assert_eq!(
        asked("?hub.challenge=11&hub.verify_token=s3cret", "", &[]),
        text("11")
    );
    assert_eq!(
        asked("?hub.challenge=11&hub.verify_token=other", "", &[]),
        Err(Refusal::Bad)
    );
    assert!(matches!(
        asked("?hub.challenge=11", "", &[]),
        Err(Refusal::Missing(_))
    ));
    // In a body only after it was verified: nothing is parsed before.
    let body = r#"{"type":"url_verification","challenge":"3eZb"}"#;
    assert_eq!(
        asked("", body, &[("x-token", "s3cret")]),
        object(r#"{"challenge":"3eZb"}"#)
    );
    assert_eq!(asked("", body, &[("x-token", "other")]), Err(Refusal::Bad));
    assert!(matches!(asked("", body, &[]), Err(Refusal::Missing(_))));
}

#[test]
fn a_challenge_is_short_and_one_line() {
    let longest = "x".repeat(crate::CHALLENGE_CHARS_MAX);
    assert_eq!(
        asked(&format!("?validationToken={longest}"), "", &[]),
        text(&longest)
    );
    for bad in [format!("{longest}x"), "a%0Ab".to_owned(), "%00".to_owned()] {
        let found = asked(&format!("?validationToken={bad}"), "", &[]);
        assert!(matches!(found, Err(Refusal::NotUnderstood(_))), "{found:?}");
    }
    // An empty one is none: the request is what any other is.
    assert!(matches!(
        asked("?validationToken=", "", &[]),
        Err(Refusal::Missing(_))
    ));
}

#[test]
fn what_is_no_challenge_is_a_hint() {
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
    let found = asked("", r#"{"id":"x1"}"#, &[("x-token", "s3cret")]);
    assert_eq!(found, Ok(Received::Hints(vec![hint])));
}

#[test]
fn a_tool_of_ones_own_proves_itself_with_the_one_secret_that_is_set() {
    let receive = |secret: Option<(&str, &str)>, headers: &[(&str, &str)]| {
        let secrets: Vec<(&str, &str)> = [("token", "t")].into_iter().chain(secret).collect();
        let config = json!({"base_url": "https://tool.example"});
        let connection = connect(&shipped("homegrown"), config, &secrets, &Arc::default());
        connection.receive(
            &request(URL, r#"{"test": 2432232314}"#, headers),
            at(1_614_265_330_000),
        )
    };
    let signed = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        (
            "webhook-signature",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ];
    let key = |name| Some((name, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    let nothing = Ok(Received::Hints(Vec::new()));
    assert_eq!(receive(key("webhook_key"), &signed), nothing);
    assert_eq!(receive(key("webhook_key_previous"), &signed), nothing);
    let token = [("authorization", "Bearer s3cret")];
    assert_eq!(receive(Some(("webhook_token", "s3cret")), &token), nothing);
    assert_eq!(
        receive(Some(("webhook_token", "other")), &token),
        Err(Refusal::Bad)
    );
    // What is not set proves nothing, whatever else comes with it.
    assert!(matches!(
        receive(key("webhook_key"), &token),
        Err(Refusal::Missing(_))
    ));
    assert!(matches!(receive(None, &signed), Err(Refusal::CannotVerify(_))));
}

#[test]
fn no_bytes_are_accepted_without_the_right_signature() {
    let config = json!({"base_url": "https://api.example.com"});
    let secrets = [("access_token", "t"), ("client_secret", HOOK_SECRET)];
    let connection = connect(&shipped("hubspot"), config, &secrets, &Arc::default());
    let bodies = prop::collection::vec(any::<u8>(), 0..64);
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(body in bodies, signature in "[A-Za-z0-9+/=]{0,64}")| {
        let mut sent = request(URL, "", &signed(&signature, "1693657560000"));
        sent.body = Bytes::from(body);
        let refused = matches!(connection.receive(&sent, at(SENT)), Err(Refusal::Bad | Refusal::Missing(_) | Refusal::Malformed { .. }));
        prop_assert!(refused);
    });
}
