//! Webhooks of systems: a challenge is sent back, what is proven is taken, and every refusal is its own.

use ::hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::harness::{Folder, Hub, base64, exchange};

const KEY: &[u8] = b"a key of twenty-four b..";

fn hub(folder: &Folder) -> Hub {
    let config = folder.write(
        "interconnect.yaml",
        &format!(
            "listen: 127.0.0.1:0
ledger: sqlite:{}
connections:
  tool:
    system: homegrown
    config: {{ base_url: \"https://tool.example\" }}
    secrets: {{ token: \"${{env:TOKEN}}\", webhook_key: \"${{env:KEY}}\" }}
  erp:
    system: businesscentral
    config: {{ base_url: \"https://erp.example\", company_id: c1 }}
    secrets: {{ client_id: \"${{env:TOKEN}}\", client_secret: \"${{env:TOKEN}}\", client_state: \"${{env:TOKEN}}\" }}
",
            folder.path("ledger.db").display()
        ),
    );
    let env = [("TOKEN", "s3cret".to_owned()), ("KEY", base64(KEY))];
    Hub::start(&config, &env)
}

/// `webhook-signature` of a body that is sent at a moment.
fn signature(at_s: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("any key will do");
    mac.update(format!("m1.{at_s}.{body}").as_bytes());
    format!("v1,{}", base64(&mac.finalize().into_bytes()))
}

/// The status and, of a refusal, its code.
fn told((status, body): (u16, String)) -> (u16, String) {
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let code = problem["code"].as_str().map(str::to_owned);
    (status, code.unwrap_or(body))
}

#[test]
fn a_tool_that_signs_is_taken_and_every_refusal_is_its_own() {
    let folder = Folder::new();
    let hub = hub(&folder);
    let url = format!("{}/hooks/connections/tool", hub.url);
    let body = r#"{"object":"deals","id":"D-7"}"#;
    let now = jiff::Timestamp::now().as_second();
    let sent = |at_s: i64, signature: &str, body: &str| {
        let at = at_s.to_string();
        let headers = [
            ("webhook-id", "m1"),
            ("webhook-timestamp", at.as_str()),
            ("webhook-signature", signature),
        ];
        told(exchange("POST", &url, Some(body), &headers))
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(sent(now, &signature(now, body), body), refused(204, ""));
    assert_eq!(
        sent(now, &signature(now, body), "[]"),
        refused(401, "signature_wrong")
    );
    assert_eq!(sent(now, "v1,?", body), refused(400, "signature_malformed"));
    let (late, early) = (now - 3_600, now + 3_600);
    assert_eq!(sent(late, &signature(late, body), body), refused(401, "stale"));
    assert_eq!(
        sent(early, &signature(early, body), body),
        refused(401, "from_the_future")
    );
    assert_eq!(sent(now, &signature(now, "3"), "3"), refused(422, "unreadable"));
    assert_eq!(
        told(exchange("POST", &url, Some(body), &[])),
        refused(401, "signature_missing")
    );
}

#[test]
fn a_challenge_is_sent_back_and_a_shared_secret_is_compared() {
    let folder = Folder::new();
    let hub = hub(&folder);
    let url = format!("{}/hooks/connections/erp", hub.url);
    for method in ["GET", "POST"] {
        let asked = exchange(method, &format!("{url}?validationToken=a%20b"), None, &[]);
        assert_eq!(asked, (200, "a b".to_owned()));
    }
    let event = |state: &str| {
        format!(
            r#"{{"value":[{{"clientState":"{state}","resource":"api/v2.0/companies(c1)/customers(7)","changeType":"updated"}}]}}"#
        )
    };
    let sent = |body: &str| told(exchange("POST", &url, Some(body), &[]));
    assert_eq!(sent(&event("s3cret")), (204, String::new()));
    assert_eq!(sent(&event("other")), (401, "signature_wrong".to_owned()));
    assert_eq!(sent(r#"{"value":[]}"#), (401, "signature_missing".to_owned()));
}
