//! Several writes in one request, each with its own outcome.

use std::sync::Arc;

use serde_json::json;

use crate::testing::{ManualClock, Say, Server, connect, connector, write};
use crate::{Outcome, RecordClass};

const MANIFEST: &str = r#"apiVersion: interconnect/v1
kind: Connector
metadata: { name: acme, version: 1.0.0, title: Acme }
connection:
  config: { base_url: { help: the address } }
  secrets: { token: where }
  base_url: "{{ config.base_url }}"
  auth: [{ kind: bearer, header: "Bearer {{ secrets.token }}" }]
  identity: { request: { method: GET, path: /me }, tenant: .id }
record_errors:
  - { codes: ["412"], class: conflict }
objects:
  things:
    id: .id
    write:
      key: ref
      batch: 100
      strategy: upsert
      upsert: &batch
        request:
          method: POST
          path: /$batch
          parts:
            jq: |
              [$batch[] | {method: "PATCH", path: "Things('\(.id)')", headers: {"If-Match": (.version // "*")}, body: .values}]
        results: >-
          to_entries[] | {index: .key, ok: (.value.status < 300), version: .value.headers.etag,
                          code: (.value.status | tostring), message: (.value.body.error.message? // null)}
      update: *batch
"#;

#[tokio::test]
async fn parts_of_a_batch_have_outcomes_of_their_own() {
    let part = |answer: &str| {
        format!(
            "--b\r\ncontent-type: multipart/mixed; boundary=c\r\n\r\n--c\r\ncontent-type: application/http\r\n\r\n{answer}\r\n--c--\r\n"
        )
    };
    let answer = [
        part("HTTP/1.1 204 No Content\r\netag: W/\"2\"\r\n\r\n"),
        part("HTTP/1.1 412 Precondition Failed\r\ncontent-type: application/json\r\n\r\n{\"error\":{\"message\":\"changed meanwhile\"}}"),
        "--b--\r\n".to_owned(),
    ]
    .concat();
    let said = Say::Headers(202, vec![("content-type", "multipart/mixed; boundary=b")], answer);
    let server = Server::script(vec![said]).await;
    let config = json!({"base_url": server.url});
    let clock = Arc::new(ManualClock::default());
    let connection = connect(&connector(MANIFEST), config, &[("token", "t")], &clock);
    let mut first = write(Some("a"), "k1", json!({"name": "one"}));
    first.version = Some("W/\"1\"".to_owned());
    let second = write(Some("b"), "k2", json!({"name": "two"}));
    let outcomes = connection.write("things", &[first, second]).await.unwrap();
    assert!(
        matches!(&outcomes[0], Outcome::Written { id, version: Some(version), .. } if id == "a" && version == "W/\"2\""),
        "{outcomes:?}"
    );
    assert!(
        matches!(&outcomes[1], Outcome::Refused(error) if error.class == RecordClass::Conflict
            && error.message == "changed meanwhile"),
        "{outcomes:?}"
    );
    let got = server.got().remove(0);
    assert_eq!(got.line, "POST /$batch");
    assert_eq!(
        got.headers["content-type"],
        "multipart/mixed; boundary=batch_interconnect"
    );
    assert!(
        got.body.contains("PATCH Things('a') HTTP/1.1\r\n") && got.body.contains("If-Match: W/\"1\"\r\n"),
        "{}",
        got.body
    );
    assert!(
        got.body.contains("PATCH Things('b') HTTP/1.1\r\n") && got.body.contains("If-Match: *\r\n"),
        "{}",
        got.body
    );
}
