//! Requests that senders sign: known answers byte by byte, and what becomes of them when anything is changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use diagnostic::{Report, Source};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use crate::manifest::presets;
use crate::testing::{HOOK_SECRET, connect};
use crate::{Connection, Connector, Incoming, Refusal};

/// A request that a sender signed.
struct Vector {
    /// What the manifest says, without the secret.
    way: &'static str,
    secret: &'static str,
    method: &'static str,
    url: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    at_ms: i64,
}

const URL: &str = "https://www.example.com/webhook_uri";
const POST: Vector = Vector {
    way: "",
    secret: "",
    method: "POST",
    url: URL,
    headers: &[],
    body: "",
    at_ms: 1_732_320_000_000,
};

/// Published, or computed with another program where it says so.
const VECTORS: &[Vector] = &[
    // GitHub's documentation.
    Vector {
        way: "preset: github",
        secret: "It's a Secret to Everybody",
        headers: &[(
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )],
        body: "Hello, World!",
        ..POST
    },
    // Computed, in the form that Stripe's documentation describes: one signature of another version, one of another secret.
    Vector {
        way: "preset: stripe",
        secret: "stripe-test-secret",
        headers: &[(
            "stripe-signature",
            "t=1732320000,v1=00ff,v1=ff77f0ce6a8dbe680ccbd93b64d3dedce1cedd9e67ccb9d843e570d190cd15ca,v0=6ffbb59b",
        )],
        body: r#"{"id":"evt_1","type":"customer.created"}"#,
        ..POST
    },
    // Slack's documentation.
    Vector {
        way: "preset: slack",
        secret: "8f742231b10e8888abcd99yyyzzz85a5",
        headers: &[
            (
                "x-slack-signature",
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            ),
            ("x-slack-request-timestamp", "1531420618"),
        ],
        body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
               &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
               &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
               &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        at_ms: 1_531_420_618_000,
        ..POST
    },
    // Computed.
    Vector {
        way: "preset: shopify",
        secret: "shop-secret",
        headers: &[("x-shopify-hmac-sha256", "plW8VGqq0nDMIEhDqaNNW99asdUCy7EIqLZVcQwtAZ0=")],
        body: r#"{"id":1}"#,
        ..POST
    },
    // The specification's own example.
    Vector {
        way: "preset: standard_webhooks",
        secret: concat!("whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        headers: &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1a,AAAA v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ],
        body: r#"{"test": 2432232314}"#,
        at_ms: 1_614_265_330_000,
        ..POST
    },
    // Computed with the private key 000102…1f.
    Vector {
        way: "preset: standard_webhooks_public",
        secret: concat!("whpk_", "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="),
        headers: &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,AAAA v1a,yoUrgEkc12aGqm0n4Sydmdz55xJfTz4AsAgieHFjmkR7LJtqVCZOQYzvvHjI5kAey+r4iaBGxTFRrl2iBQxtDQ==",
            ),
        ],
        body: r#"{"test": 2432232314}"#,
        at_ms: 1_614_265_330_000,
        ..POST
    },
    // HubSpot's documentation, all three versions.
    Vector {
        way: "preset: hubspot_v1",
        secret: HOOK_SECRET,
        headers: &[(
            "x-hubspot-signature",
            "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de",
        )],
        body: r#"[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]"#,
        ..POST
    },
    Vector {
        way: "preset: hubspot_v2",
        secret: HOOK_SECRET,
        method: "GET",
        headers: &[(
            "x-hubspot-signature",
            "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e",
        )],
        ..POST
    },
    Vector {
        way: "preset: hubspot_v2",
        secret: HOOK_SECRET,
        headers: &[(
            "x-hubspot-signature",
            "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900",
        )],
        body: r#"{"example_field":"example_value"}"#,
        ..POST
    },
    Vector {
        way: "preset: hubspot_v3",
        secret: HOOK_SECRET,
        headers: &[
            ("x-hubspot-signature-v3", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
            ("x-hubspot-request-timestamp", "1693657560000"),
        ],
        body: "{'example_field':'example_value'}",
        at_ms: 1_693_657_560_000,
        ..POST
    },
    // Computed: the address with the percent-codes that are decoded, and with those that are not.
    Vector {
        way: "preset: hubspot_v3",
        secret: HOOK_SECRET,
        url: "https://hub.example.com/hooks%2Fhubspot?tenant=a%20b&x=1",
        headers: &[
            ("x-hubspot-signature-v3", "GZ7IQDKkzsyR5tNLBTrIfTQ/WEg4bnr2JXIc3sOpnTc="),
            ("x-hubspot-request-timestamp", "1732320000000"),
        ],
        body: r#"[{"eventId":1}]"#,
        ..POST
    },
    Vector {
        way: "preset: hubspot_v3",
        secret: HOOK_SECRET,
        url: "https://hub.example.com/hooks/hubspot?u=https%3A%2f%2Fa.example%2F%3Fq=%281%29",
        headers: &[
            ("x-hubspot-signature-v3", "iri4TmbZvQ1lPpQb9v91n1V2GS/lBeA2ItHh4iw96n4="),
            ("x-hubspot-request-timestamp", "1732320000001"),
        ],
        body: "[]",
        ..POST
    },
    // Recorded from a server of ours.
    Vector {
        way: "preset: frappe",
        secret: "s3cret",
        headers: &[("x-frappe-webhook-signature", "UO2dJlZf356nQV2R/yNGXq3AV+px+wWcOeQ7veLE2w0=")],
        body: r#"{"name": "OPP-00002", "title": "Hook deal", "modified": "2026-11-23 09:10:20.586497"}"#,
        ..POST
    },
    // Computed.
    Vector {
        way: "preset: quickbooks",
        secret: "verifier-token",
        headers: &[("intuit-signature", "HTeZK3UBrxUvBRIjg3nPgJ4PDmQgjYt2oTOOO/XmEBA=")],
        body: r#"{"id":1}"#,
        ..POST
    },
    // What no preset uses: the other hashes, encodings, forms of a secret, and a time in words. Computed.
    Vector {
        way: "kind: hmac, algorithm: sha1, encoding: hex, signed: [body], header: x-hub-signature, prefix: sha1=",
        secret: "It's a Secret to Everybody",
        headers: &[("x-hub-signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59")],
        body: "Hello, World!",
        ..POST
    },
    Vector {
        way: "kind: hmac, algorithm: sha512, encoding: base64url, secret_form: hex, signed: [body], header: x-s,
              timestamp: { header: x-t, unit: iso, max_age: 1m }",
        secret: "6b00ff",
        headers: &[
            ("x-s", "-4OlfLe_QrFauoJDPvq_-YVEGSO46sixG5JZyLDb27r-gjnPrS0hcehdvbym7ro1LOyJMmfOcMqrCGHcSRxqig=="),
            ("x-t", "2024-11-23T01:00:00+01:00"),
        ],
        body: r#"{"id":1}"#,
        ..POST
    },
    Vector {
        way: "kind: hmac, algorithm: sha512, encoding: base64url, secret_form: base64, signed: [body], header: x-s",
        secret: "awD/",
        headers: &[("x-s", "-4OlfLe_QrFauoJDPvq_-YVEGSO46sixG5JZyLDb27r-gjnPrS0hcehdvbym7ro1LOyJMmfOcMqrCGHcSRxqig")],
        body: r#"{"id":1}"#,
        ..POST
    },
];

impl Vector {
    fn request(&self) -> Incoming {
        let headers = self.headers.iter();
        Incoming {
            method: self.method.to_owned(),
            url: self.url.to_owned(),
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: Bytes::from_static(self.body.as_bytes()),
        }
    }

    fn connection(&self, secret: &str) -> Connection {
        hooked(&format!("{{ {}, secret: hook }}", self.way), &[("hook", secret)])
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.at_ms).unwrap()
    }
}

/// A connection to a system whose webhooks are verified in these ways.
fn hooked(ways: &str, secrets: &[(&str, &str)]) -> Connection {
    let manifest = format!(
        r#"
apiVersion: interconnect/v1
kind: Connector
metadata: {{ name: acme, version: 1.0.0, title: Acme }}
connection:
  config:
    user: {{ help: x, default: hub }}
    certificate_header: {{ help: x, default: "" }}
  secrets: {{ token: x, hook: y, hook_previous: z }}
  base_url: https://api.example.com
  auth: [{{ kind: bearer, header: "Bearer {{{{ secrets.token }}}}" }}]
  identity: {{ request: {{ method: GET, path: /me }}, tenant: .id }}
objects:
  things: {{ id: .id }}
webhooks:
  verify: [{ways}]
  events: .
"#
    );
    let mut all = vec![("token", "t")];
    all.extend(secrets);
    let mut report = Report::new();
    let connector = Connector::compile(&Source::new("connector.yaml", manifest), &mut report);
    let connector = connector.unwrap_or_else(|| panic!("{}", report.render(false)));
    connect(&Arc::new(connector), json!({}), &all, &Arc::default())
}

/// Whether, or why not, a request is verified; what it means is another matter.
fn verify(connection: &Connection, request: &Incoming, now: Timestamp) -> Result<(), Refusal> {
    let webhooks = connection.caller.manifest().webhooks.as_ref().unwrap();
    let verified = connection.verified(&webhooks.verify, request, now)?;
    assert_eq!(verified.get(), &request.body);
    Ok(())
}

#[test]
fn known_answers_are_verified_byte_by_byte() {
    for vector in VECTORS {
        let connection = vector.connection(vector.secret);
        let found = verify(&connection, &vector.request(), vector.at());
        assert_eq!(found, Ok(()), "{}", vector.way);
        // Not even a second time differs: the same request may come again.
        assert_eq!(verify(&connection, &vector.request(), vector.at()), Ok(()));
    }
    for preset in presets() {
        let way = format!("preset: {preset}");
        assert!(
            VECTORS.iter().any(|vector| vector.way == way),
            "{preset} has no known answer"
        );
    }
}

#[test]
fn a_request_with_one_changed_bit_is_refused() {
    for vector in VECTORS {
        let connection = vector.connection(vector.secret);
        let refused = |request: &Incoming| match verify(&connection, request, vector.at()) {
            Err(Refusal::Bad | Refusal::Malformed { .. } | Refusal::Missing(_)) => {}
            found => panic!("{}: {found:?} for {request:?}", vector.way),
        };
        for at in 0..vector.body.len() {
            let mut request = vector.request();
            let mut body = vector.body.as_bytes().to_vec();
            body[at] ^= 1;
            request.body = body.into();
            refused(&request);
        }
        let longer = Bytes::from(format!("{} ", vector.body));
        refused(&Incoming {
            body: longer,
            ..vector.request()
        });
        // Its last signature is the right one, or the one before it.
        let (name, value) = vector
            .headers
            .iter()
            .find(|(name, _)| name.contains("-s"))
            .unwrap();
        let right = value
            .rfind(|c: char| ",= ".contains(c) && !value.ends_with(c))
            .map_or(0, |at| at + 1);
        let right = if vector.way.contains("stripe") {
            value.find("ff77").unwrap()
        } else {
            right
        };
        let mut changed = value.as_bytes().to_vec();
        changed[right] = if changed[right] == b'0' { b'1' } else { b'0' };
        let mut request = vector.request();
        request
            .headers
            .insert((*name).to_owned(), String::from_utf8(changed).unwrap());
        refused(&request);
    }
}

#[test]
fn a_request_is_refused_without_its_secret() {
    for vector in VECTORS {
        let other = match vector.way.contains("hex") && !vector.way.contains("encoding: hex") {
            true => "00".to_owned(),
            false if vector.secret.starts_with("wh") => "AAAA".repeat(8),
            false => format!("{}A", &vector.secret[..vector.secret.len() - 1]),
        };
        let found = verify(&vector.connection(&other), &vector.request(), vector.at());
        assert_eq!(found, Err(Refusal::Bad), "{}", vector.way);
        for (name, _) in vector.headers {
            let mut request = vector.request();
            request.headers.remove(*name);
            let found = verify(&vector.connection(vector.secret), &request, vector.at());
            assert!(
                matches!(found, Err(Refusal::Missing(_))),
                "{} without {name}: {found:?}",
                vector.way
            );
        }
    }
}

#[test]
fn late_and_early_requests_are_told_apart() {
    let mut timed = 0;
    for vector in VECTORS {
        let connection = vector.connection(vector.secret);
        let found = |ms: i64| {
            let now = Timestamp::from_millisecond(vector.at_ms + ms).unwrap();
            verify(&connection, &vector.request(), now)
        };
        match found(3_600_000) {
            Ok(()) => continue,
            found => assert!(
                matches!(found, Err(Refusal::Stale { .. })),
                "{}: {found:?}",
                vector.way
            ),
        }
        timed += 1;
        assert!(
            matches!(found(-3_600_000), Err(Refusal::Future { .. })),
            "{}",
            vector.way
        );
        assert_eq!(
            (found(59_000), found(-59_000)),
            (Ok(()), Ok(())),
            "{}",
            vector.way
        );
    }
    assert_eq!(timed, 8, "each preset with a timestamp looks at it");
}

#[test]
fn a_secret_is_replaced_without_a_gap() {
    let vector = &VECTORS[0];
    let way = "{ preset: github, secret: [hook, hook_previous] }";
    let found = |secrets: &[(&str, &str)]| verify(&hooked(way, secrets), &vector.request(), vector.at());
    assert_eq!(
        found(&[("hook", "new"), ("hook_previous", vector.secret)]),
        Ok(())
    );
    assert_eq!(found(&[("hook", vector.secret)]), Ok(()));
    assert_eq!(found(&[("hook_previous", vector.secret)]), Ok(()));
    assert_eq!(
        found(&[("hook", "new"), ("hook_previous", "old")]),
        Err(Refusal::Bad)
    );
    assert_eq!(
        found(&[]).unwrap_err().to_string(),
        "nothing can be verified: the secret `hook` is not set"
    );
    // A secret that is empty is one that anybody has.
    assert_eq!(found(&[("hook", "")]).unwrap_err(), found(&[]).unwrap_err());
    let bare = hooked(
        "{ preset: standard_webhooks, secret: hook }",
        &[("hook", concat!("whsec", "_"))],
    );
    let found = verify(&bare, &VECTORS[4].request(), VECTORS[4].at());
    assert_eq!(
        found.unwrap_err().to_string(),
        "nothing can be verified: the secret is not `whsec_` and base64"
    );
}

#[test]
fn of_several_ways_the_most_telling_refusal_is_given() {
    let ways = "{ preset: github, secret: hook }, { preset: shopify, secret: hook_previous }";
    let connection = hooked(ways, &[("hook", VECTORS[0].secret)]);
    let mut request = VECTORS[0].request();
    assert_eq!(verify(&connection, &request, VECTORS[0].at()), Ok(()));
    request.body = Bytes::from_static(b"x");
    assert_eq!(verify(&connection, &request, VECTORS[0].at()), Err(Refusal::Bad));
    request.headers.clear();
    let missing = Refusal::Missing("the header `x-hub-signature-256`".to_owned());
    assert_eq!(verify(&connection, &request, VECTORS[0].at()), Err(missing));
    let both = hooked(ways, &[("hook", "a"), ("hook_previous", "b")]);
    let first = verify(&both, &request, VECTORS[0].at()).unwrap_err();
    assert_eq!(first.to_string(), "the header `x-hub-signature-256` is missing");
}

#[test]
fn headers_of_another_form_are_malformed() {
    let told = |way: &str, header: &str, value: &str, stamp: &str| {
        let mut request = VECTORS[0].request();
        request.headers.insert(header.to_owned(), value.to_owned());
        request
            .headers
            .insert("x-slack-request-timestamp".to_owned(), stamp.to_owned());
        let connection = hooked(&format!("{{ preset: {way}, secret: hook }}"), &[("hook", "s")]);
        verify(&connection, &request, VECTORS[0].at())
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(
        [
            told("github", "x-hub-signature-256", "757107ea", ""),
            told("github", "x-hub-signature-256", "sha256=+f", ""),
            told("github", "x-hub-signature-256", "sha256=abc", ""),
            told("shopify", "x-shopify-hmac-sha256", "not base64", ""),
            told("stripe", "stripe-signature", "v1=00", ""),
            told("stripe", "stripe-signature", "t=soon,v1=00", ""),
            told("slack", "x-slack-signature", "v0=00", "1732320000.5"),
            told("slack", "x-slack-signature", "v0=00", "99999999999999999999"),
        ]
        .join("\n"),
        @r"
    the header `x-hub-signature-256` cannot be read: nothing in it begins with `sha256=`
    the header `x-hub-signature-256` cannot be read: it is not hexadecimal
    the header `x-hub-signature-256` cannot be read: it is not hexadecimal
    the header `x-shopify-hmac-sha256` cannot be read: it is not base64
    the header `stripe-signature` cannot be read: nothing in it begins with `t=`
    the header `stripe-signature` cannot be read: it is no time in whole seconds
    the header `x-slack-request-timestamp` cannot be read: it is no time in whole seconds
    the header `x-slack-request-timestamp` cannot be read: it is no time in whole seconds
    "
    );
}

/// A request that tells its secret: the header, the parameter or the body that holds it.
fn telling(headers: &[(&str, &str)], query: &str, body: &str) -> Incoming {
    Incoming {
        method: "POST".to_owned(),
        url: format!("{URL}{query}"),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

#[test]
fn secrets_that_a_request_tells_are_compared() {
    let check = |way: &str, right: Incoming, wrong: Incoming, lacking: Incoming| {
        let connection = hooked(&format!("{{ {way}, secret: hook }}"), &[("hook", "s3cret")]);
        let verify = |request: &Incoming| verify(&connection, request, Timestamp::UNIX_EPOCH);
        assert_eq!(verify(&right), Ok(()), "{way}");
        assert_eq!(verify(&wrong), Err(Refusal::Bad), "{way}");
        assert!(matches!(verify(&lacking), Err(Refusal::Missing(_))), "{way}");
    };
    let header = |name: &'static str, value: &str| telling(&[(name, value)], "", "{}");
    let none = || telling(&[], "", "{}");
    // `hub:s3cret` and `hub:s3creT`.
    let basic = |text: &str| header("authorization", &format!("basic {text}"));
    check(
        "kind: basic, user: '{{ config.user }}'",
        basic("aHViOnMzY3JldA=="),
        basic("aHViOnMzY3JlVA=="),
        none(),
    );
    let bearer = |text: &str| header("authorization", &format!("Bearer {text}"));
    check("kind: bearer", bearer("s3cret"), bearer("s3cret2"), none());
    check(
        "kind: header, header: X-Token",
        header("x-token", "s3cret"),
        header("x-token", "s3cre"),
        none(),
    );
    let query = |query: &str| telling(&[], query, "{}");
    check(
        "kind: query, query: token",
        query("?a=1&token=s3cre%74"),
        query("?token=S3cret"),
        query("?tok=s3cret"),
    );
    let body = |body: &str| telling(&[], "", body);
    let entries = "kind: body_field, field: '.value[].clientState'";
    check(
        entries,
        body(r#"{"value":[{"clientState":"s3cret"},{"clientState":"s3cret"}]}"#),
        body(r#"{"value":[{"clientState":"s3cret"},{"clientState":"other"}]}"#),
        body(r#"{"value":[]}"#),
    );
    // Every entry, or nothing: one without the secret is not theirs.
    check(
        entries,
        body(r#"{"value":[{"clientState":"s3cret"}]}"#),
        body(r#"{"value":[{"clientState":"s3cret"},{"id":1}]}"#),
        body(r#"{"value":[{"id":1}]}"#),
    );
    check(
        "kind: body_field, field: .token",
        body(r#"{"token":"s3cret"}"#),
        body(r#"{"token":["s3cret"]}"#),
        body("{}"),
    );
}

#[test]
fn a_body_is_parsed_for_its_secret_within_bounds() {
    let connection = hooked(
        "{ kind: body_field, field: '.[].s', secret: hook }",
        &[("hook", "s")],
    );
    let told = |body: &str| verify(&connection, &telling(&[], "", body), Timestamp::UNIX_EPOCH);
    let many = |count: usize| format!("[{}]", vec![r#"{"s":"s"}"#; count].join(","));
    assert_eq!(told(&many(crate::TOLD_MAX)), Ok(()));
    assert!(matches!(
        told(&many(crate::TOLD_MAX + 1)),
        Err(Refusal::NotUnderstood(_))
    ));
    let long = format!("[{}]", " ".repeat(crate::UNVERIFIED_BYTES_MAX));
    assert!(matches!(told(&long), Err(Refusal::NotUnderstood(_))));
    for body in ["", "{", "3", "{}", &"[".repeat(100_000)] {
        assert!(
            matches!(told(body), Err(Refusal::NotUnderstood(_))),
            "{}",
            &body[..body.len().min(9)]
        );
    }
}

#[test]
fn a_certificate_counts_only_where_the_configuration_names_its_header() {
    let connector = {
        let hooked = hooked(
            "{ kind: mtls_header, setting: certificate_header, secret: hook }",
            &[],
        );
        Arc::clone(&hooked.caller.connector)
    };
    let secrets = [("token", "t"), ("hook", "5E:AF")];
    let request = telling(&[("x-client-cert", "5E:AF")], "", "{}");
    let unset = connect(&connector, json!({}), &secrets, &Arc::default());
    let found = verify(&unset, &request, Timestamp::UNIX_EPOCH).unwrap_err();
    assert_eq!(
        found.to_string(),
        "nothing can be verified: the setting `certificate_header` names no header"
    );
    let config = json!({"certificate_header": "X-Client-Cert"});
    let set = connect(&connector, config, &secrets, &Arc::default());
    assert_eq!(verify(&set, &request, Timestamp::UNIX_EPOCH), Ok(()));
    let other = telling(&[("x-client-cert", "5E:AE")], "", "{}");
    assert_eq!(verify(&set, &other, Timestamp::UNIX_EPOCH), Err(Refusal::Bad));
}

/// Whatever comes, nothing is accepted that was not made with the secret, and nothing panics.
#[test]
fn nothing_is_accepted_without_the_secret() {
    let told = [
        "kind: basic, user: hub",
        "kind: bearer",
        "kind: header, header: x-token",
        "kind: query, query: token",
        "kind: body_field, field: .token",
    ];
    // 32 bytes in each of the forms that a secret may have.
    let secret = "ab12".repeat(16);
    let ways = VECTORS.iter().map(|vector| vector.way).chain(told);
    let hooked = ways.map(|way| {
        (
            way,
            hooked(&format!("{{ {way}, secret: hook }}"), &[("hook", &secret)]),
        )
    });
    let connections: Vec<(&str, Connection)> = hooked.collect();
    let signed = VECTORS
        .iter()
        .flat_map(|vector| vector.headers)
        .map(|(name, _)| *name);
    let headers: BTreeSet<&str> = signed.chain(["authorization", "x-token"]).collect();
    let bodies = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        "\\{\"token\":\".{0,9}\"\\}".prop_map(String::into_bytes)
    ];
    let text = "(v1,|v1a,|v1=|t=|t=0,v1=|v0=|sha256=|Bearer |Basic )?([0-9a-f]{64}|[A-Za-z0-9+/]{43}=|0|[ -~]{0,40}|\\PC{0,20})";
    let texts = prop::collection::vec(text, headers.len());
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(body in bodies, texts in texts, query in "(token=)?\\PC{0,40}")| {
        let request = Incoming {
            method: "POST".to_owned(),
            url: format!("{URL}?{query}"),
            headers: headers.iter().map(|name| (*name).to_owned()).zip(texts).collect(),
            body: Bytes::from(body),
        };
        for (way, connection) in &connections {
            prop_assert!(verify(connection, &request, Timestamp::UNIX_EPOCH).is_err(), "{}", way);
        }
    });
}
