//! What is wrong with a manifest is told with a caret, and all of it at once.

use std::sync::Arc;

use diagnostic::{Report, Source};
use insta::assert_snapshot;

use crate::Connector;

fn findings(text: &str) -> String {
    let mut report = Report::new();
    let compiled = Connector::compile(&Source::new("connector.yaml", text), &mut report);
    assert_eq!(compiled.is_none(), report.has_errors());
    report.render(false)
}

#[test]
fn every_finding_of_a_manifest_at_once() {
    let manifest = r#"
apiVersion: interconnect/v1
kind: Connector
metadata: { name: acme, version: 1.0.0, title: Acme }
connection:
  config:
    base_url: { help: where it is }
  secrets: { token: where it is found }
  base_url: "{{ config.base_ulr }}"
  auth:
    - { kind: bearer, header: "Bearer {{ secrets.token }" }
  identity: { request: { method: GET, path: "/me/{{ window.from }}" }, tenant: .id }
limits:
  - { name: burst, kind: window, limit: 5, per: 1second }
errors:
  - { when: { status: 9000 }, class: transient }
  - { when: { status: 429 }, class: ratelimited }
objects:
  things:
    id: .id | lenght
    read:
      by_ids:
        batch: 100
        request: { limit: serach, method: POST, path: /things, body: { jq: '{ids: $id}' } }
        records: '[repeat(.)]'
    wirte: {}
"#;
    assert_snapshot!(findings(manifest), @r##"
    error[IC0202]: `base_ulr` is not declared under connection.config
     --> connector.yaml:9:13
      |
    9 |   base_url: "{{ config.base_ulr }}"
      |             ^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: did you mean `base_url`?

    error[IC0201]: not a template: unexpected `}`, expected end of variable block
      --> connector.yaml:11:31
       |
    11 |     - { kind: bearer, header: "Bearer {{ secrets.token }" }
       |                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: names stand in `{{ … }}`, text in quotes inside them

    error[IC0202]: `window` has no value in this place
      --> connector.yaml:12:45
       |
    12 |   identity: { request: { method: GET, path: "/me/{{ window.from }}" }, tenant: .id }
       |                                             ^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: known are: config, auth, context, object, vars

    error[IC0004]: `per` is `1second`, expected a span of time such as 10s, 5m or 24h
      --> connector.yaml:14:49
       |
    14 |   - { name: burst, kind: window, limit: 5, per: 1second }
       |                                                 ^^^^^^^
       |
       = help: write a span of time such as 10s, 5m or 24h

    error[IC0004]: `status` is `9000`, expected a status code from 100 to 599
      --> connector.yaml:16:23
       |
    16 |   - { when: { status: 9000 }, class: transient }
       |                       ^^^^
       |
       = help: write a status code from 100 to 599

    error[IC0004]: `ratelimited` is not a known value of `class`
      --> connector.yaml:17:37
       |
    17 |   - { when: { status: 429 }, class: ratelimited }
       |                                     ^^^^^^^^^^^
       |
       = help: did you mean `rate_limited`?

    error[IC0203]: `lenght` is not available in a manifest
      --> connector.yaml:20:15
       |
    20 |     id: .id | lenght
       |               ^^^^^^
       |
       = help: did you mean `length`?

    error[IC0203]: `$id` is not a known variable here
      --> connector.yaml:24:83
       |
    24 |         request: { limit: serach, method: POST, path: /things, body: { jq: '{ids: $id}' } }
       |                                                                                   ^^^
       |
       = help: variables here are: $config, $auth, $context, $object, $vars, $fields, $ids

    error[IC0203]: `repeat` is not available in a manifest
      --> connector.yaml:25:20
       |
    25 |         records: '[repeat(.)]'
       |                    ^^^^^^
       |
       = help: a program must end on every input; connectors/README.md lists what is available

    error[IC0005]: `wirte` is not a key of an object
      --> connector.yaml:26:5
       |
    26 |     wirte: {}
       |     ^^^^^
       |
       = help: did you mean `write`?

    error[IC0207]: no limit is for `serach`
      --> connector.yaml:24:27
       |
    24 |         request: { limit: serach, method: POST, path: /things, body: { jq: '{ids: $id}' } }
       |                           ^^^^^^
       |
       = help: remove it
    "##);
}

#[test]
fn strategies_have_rules_of_their_own() {
    let manifest = r#"
apiVersion: interconnect/v1
kind: Connector
metadata: { name: acme, version: 1.0.0, title: Acme }
connection:
  base_url: https://api.example.com
  auth: [{ kind: oauth2_client_credentials, token_url: /token }]
  identity: { request: { call: common.who, params: [] }, tenant: .id }
templates:
  thing: { id: .id }
objects:
  a: { extends: thign }
  b:
    id: .id
    read:
      changes:
        strategy: window_keyset
        passes: [{ mode: best_effort, lag: 1s }]
        page: 100
        id_order: number
        request: { method: GET, path: /b }
        records: .[]
"#;
    assert_snapshot!(findings(manifest), @r##"
    error[IC0205]: `oauth2_client_credentials` needs the secret `client_id`, which is not declared
     --> connector.yaml:7:10
      |
    7 |   auth: [{ kind: oauth2_client_credentials, token_url: /token }]
      |          ^^
      |
      = help: add `client_id: …` under connection.secrets, with where to find it

    error[IC0205]: `oauth2_client_credentials` needs the secret `client_secret`, which is not declared
     --> connector.yaml:7:10
      |
    7 |   auth: [{ kind: oauth2_client_credentials, token_url: /token }]
      |          ^^
      |
      = help: add `client_secret: …` under connection.secrets, with where to find it

    error[IC0204]: a remote call, but the connection has no `rpc`
     --> connector.yaml:8:32
      |
    8 |   identity: { request: { call: common.who, params: [] }, tenant: .id }
      |                                ^^^^^^^^^^
      |
      = help: add `rpc: { path: … }` to the connection, or write `method` and `path`

    error[IC0209]: `thign` is not a template of this manifest
      --> connector.yaml:12:17
       |
    12 |   a: { extends: thign }
       |                 ^^^^^
       |
       = help: did you mean `thing`?

    error[IC0210]: the last pass must be authoritative, and at most one best_effort pass comes before it
      --> connector.yaml:18:9
       |
    18 |         passes: [{ mode: best_effort, lag: 1s }]
       |         ^^^^^^
       |
       = help: write `passes: [{ mode: best_effort, lag: 15s }, { mode: authoritative, lag: 1h, every: 10m }]`
    "##);
}

#[test]
fn another_files_errors_do_not_hide_a_manifests_own() {
    let mut report = Report::new();
    Connector::compile(&Source::new("broken.yaml", "a: [1"), &mut report);
    let without_auth = "apiVersion: interconnect/v1\nkind: Connector\nmetadata: { name: a, version: 1.0.0, title: A }\n\
        connection: { base_url: https://a.example, identity: { request: { method: GET, path: /me }, tenant: .id } }\n\
        objects: { a: { id: .id } }";
    let compiled = Connector::compile(&Source::new("connector.yaml", without_auth), &mut report);
    assert!(compiled.is_none());
    let last = report.findings().last().unwrap();
    assert_eq!(last.message, "the connection has no way to authorise");
}

#[test]
fn a_sample_that_disagrees_is_a_finding_in_the_sample() {
    let manifest = Source::new(
        "connector.yaml",
        r#"
apiVersion: interconnect/v1
kind: Connector
metadata: { name: acme, version: 1.0.0, title: Acme }
connection:
  secrets: { token: where it is found }
  base_url: https://api.example.com
  auth: [{ kind: bearer, header: "Bearer {{ secrets.token }}" }]
  identity: { request: { method: GET, path: /me }, tenant: '.id | tostring' }
objects:
  things:
    id: .id
    read:
      by_ids: { batch: 10, request: { method: GET, path: /things }, records: '.items[] | select(.gone | not)' }
"#,
    );
    let sample = Source::new(
        "samples/things.json",
        r#"{
  "about": "by_ids", "object": "things",
  "body": {"items": [{"id": 1, "gone": false}, {"id": 2, "gone": true}]},
  "expect": {"objects": [{"id": 2}]}
}"#,
    );
    let mut report = Report::new();
    let connector = Arc::new(Connector::compile(&manifest, &mut report).unwrap());
    report.merge(connector.lint(&manifest, &[sample]));
    assert_snapshot!(report.render(false), @r##"
    error[IC0222]: .objects[0].id is 1, expected 2
     --> samples/things.json:4:13
      |
    4 |   "expect": {"objects": [{"id": 2}]}
      |             ^
      |
      = help: correct the manifest's expression, or the sample

    warning[IC0223]: no sample runs `.id | tostring`
     --> connector.yaml:9:61
      |
    9 |   identity: { request: { method: GET, path: /me }, tenant: '.id | tostring' }
      |                                                             ^^^^^^^^^^^^^^
      |
      = help: add a file to samples/ with an answer that it reads
    "##);
}
