//! What is wrong with a manifest or a sample is told with a caret and a fix: a good one, and what each small mistake in
//! it is told as.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use diagnostic::{Report, Source};
use insta::assert_snapshot;

use crate::Connector;

/// A manifest and two samples without a finding.
const GOOD: [(&str, &str); 3] = [
    (
        "connector.yaml",
        r#"apiVersion: interconnect/v1
kind: Connector
metadata: { name: acme, version: 1.0.0, title: Acme }
connection:
  config:
    base_url: { help: where it is }
    proxy_header: { help: what the proxy sets, default: "" }
  secrets: { token: where it is found, client_id: of the app, client_secret: beside it, hook: of webhooks }
  base_url: "{{ config.base_url }}"
  auth:
    - { kind: bearer, header: "Bearer {{ secrets.token }}" }
    - { kind: oauth2_client_credentials, token_url: /token }
  identity: { request: { method: GET, path: /me }, tenant: '.id | tostring' }
limits:
  - { name: burst, kind: window, limit: 5, per: 10s }
  - { name: searches, for: search, kind: window, limit: 1, per: 1s }
errors:
  - { when: { status: 429 }, class: rate_limited, wait: 10s }
record_errors:
  - { codes: [LOCKED], class: locked, retry: true }
templates:
  thing: { id: .id }
objects:
  things:
    extends: thing
    modified: .updated
    lookups:
      countries: { what: a country, request: { method: GET, path: /countries }, pairs: ".[]" }
    flatten:
      country: { field: country_id, lookup: countries }
    read:
      changes:
        strategy: window_keyset
        passes: [{ mode: best_effort, lag: 1s }, { mode: authoritative, lag: 1h }]
        page: 100
        id_order: number
        request: { limit: search, method: GET, path: "/things?from={{ window.from }}" }
        records: .items[]
      by_ids:
        batch: 50
        request: { method: POST, path: /things, body: { jq: '{ids: $ids}' } }
        records: '.items[] | select(.gone | not)'
    write:
      key: our_id
      batch: 20
      strategy: find_then_write
      find: { batch: 20, request: { method: GET, path: /find }, pairs: ".[]" }
      create: { request: { method: POST, path: /create }, results: ".[]" }
      update: { request: { method: POST, path: /update }, results: ".[]" }
      transitions: { field: state, initial: new, moves: [{ from: new, to: won, request: { method: POST, path: /win } }] }
webhooks:
  handshake:
    - { when: { query: validationToken }, answer: text }
  verify:
    - { kind: hmac, algorithm: sha256, encoding: hex, secret: hook, signed: [body], header: x-signature }
  events: .[]
stream:
  protocol: pubsub
  address: https://stream.example
  headers: { accesstoken: "{{ token }}", tenantid: "{{ account }}" }
  topics: { things: /data/Thing }
"#,
    ),
    (
        "samples/identity.json",
        r#"{ "about": "identity", "body": {"id": 7}, "expect": "7" }
"#,
    ),
    (
        "samples/things.json",
        r#"{
  "about": "by_ids", "object": "things",
  "body": {"items": [{"id": 1, "gone": false}, {"id": 2, "gone": true}]},
  "expect": {"objects": [{"id": 1}]}
}
"#,
    ),
];

/// The good files with one mistake.
fn report(good: &str, bad: &str) -> Report {
    let found = GOOD.iter().map(|(_, text)| text.matches(good).count());
    assert!(
        good.is_empty() || found.sum::<usize>() == 1,
        "`{good}` stands there once"
    );
    let files = GOOD.map(|(name, text)| {
        Source::new(
            name,
            if good.is_empty() {
                text.to_owned()
            } else {
                text.replace(good, bad)
            },
        )
    });
    let mut report = Report::new();
    if let Some(connector) = Connector::compile(&files[0], &mut report) {
        report.merge(Arc::new(connector).lint(&files[0], &files[1..]));
    }
    report
}

#[test]
fn good_files_have_no_finding() {
    assert_eq!(report("", "").render(false), "");
}

/// For each mistake a test: what stands there, what is written instead, and what is told.
macro_rules! mistakes {
    ($($what:ident: $good:literal => $bad:literal, $told:literal;)+) => {
        const MISTAKES: &[(&str, &str)] = &[$(($good, $bad)),+];

        $(#[test]
        fn $what() {
            assert_snapshot!(report($good, $bad).render(false), @$told);
        })+
    };
}

mistakes! {
    a_protocol_that_there_is_not: "protocol: pubsub" => "protocol: pubsup",
    r##"
    error[IC0004]: `pubsup` is not a known value of `protocol`
      --> connector.yaml:58:13
       |
    58 |   protocol: pubsup
       |             ^^^^^^
       |
       = help: did you mean `pubsub`?
    "##;
    a_topic_of_no_object: "things: /data/Thing" => "thing: /data/Thing",
    r##"
    error[IC0209]: there is a topic of `thing`, which is no object of this manifest
      --> connector.yaml:61:13
       |
    61 |   topics: { thing: /data/Thing }
       |             ^^^^^
       |
       = help: did you mean `things`?
    "##;
    a_header_of_a_stream_with_a_secret: "{{ account }}" => "{{ secrets.token }}",
    r##"
    error[IC0202]: `secrets` has no value in this place
      --> connector.yaml:60:52
       |
    60 |   headers: { accesstoken: "{{ token }}", tenantid: "{{ secrets.token }}" }
       |                                                    ^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: known are: config, auth, token, account
    "##;
    a_list_without_its_end: "passes: [{ mode: best_effort, lag: 1s }, { mode: authoritative, lag: 1h }]" => "passes: [{ mode: best_effort, lag: 1s }, { mode: authoritative, lag: 1h }",
    r##"
    error[IC0001]: not valid YAML: invalid indentation in flow construct
      --> connector.yaml:35:9
       |
    35 |         page: 100
       |         ^
       |
       = help: check the indentation and the quotes on this line and the one above it
    "##;
    a_key_that_stands_twice: r#"        page: 100
"# => r#"        page: 100
        page: 200
"#,
    r##"
    error[IC0001]: `page` is written twice in this map, first on line 35
      --> connector.yaml:36:9
       |
    36 |         page: 200
       |         ^^^^
       |
       = help: keep one of the two
    "##;
    a_version_that_there_is_not: "apiVersion: interconnect/v1" => "apiVersion: interconnect/v2",
    r##"
    error[IC0004]: `interconnect/v2` is not a known value of `apiVersion`
     --> connector.yaml:1:13
      |
    1 | apiVersion: interconnect/v2
      |             ^^^^^^^^^^^^^^^
      |
      = help: did you mean `interconnect/v1`?
    "##;
    a_secret_that_is_a_map: "hook: of webhooks" => "hook: { help: of webhooks }",
    r##"
    error[IC0002]: the secret `hook` is a map, expected a text
     --> connector.yaml:8:95
      |
    8 |   secrets: { token: where it is found, client_id: of the app, client_secret: beside it, hook: { help: of webhooks } }
      |                                                                                               ^^
      |
      = help: say where an administrator finds it
    "##;
    a_setting_that_is_only_a_text: "base_url: { help: where it is }" => "base_url: where it is",
    r##"
    error[IC0002]: a configuration key is text, expected a map
     --> connector.yaml:6:15
      |
    6 |     base_url: where it is
      |               ^^^^^^^^^^^
      |
      = help: write it as `key: value` lines
    "##;
    a_name_that_is_missing: ", title: Acme" => "",
    r##"
    error[IC0003]: the metadata lacks `title`
     --> connector.yaml:3:11
      |
    3 | metadata: { name: acme, version: 1.0.0 }
      |           ^^
      |
      = help: add `title: …`
    "##;
    a_key_that_nobody_knows: r#"    flatten:
"# => r#"    flaten:
"#,
    r##"
    error[IC0005]: `flaten` is not a key of an object
      --> connector.yaml:29:5
       |
    29 |     flaten:
       |     ^^^^^^
       |
       = help: did you mean `flatten`?
    "##;
    a_span_of_time_without_a_unit: "per: 10s" => "per: 10",
    r##"
    error[IC0004]: `per` is `10`, expected a span of time such as 10s, 5m or 24h
      --> connector.yaml:15:49
       |
    15 |   - { name: burst, kind: window, limit: 5, per: 10 }
       |                                                 ^^
       |
       = help: write a span of time such as 10s, 5m or 24h
    "##;
    a_status_that_is_none: "status: 429" => "status: 4290",
    r##"
    error[IC0004]: `status` is `4290`, expected a status code from 100 to 599
      --> connector.yaml:18:23
       |
    18 |   - { when: { status: 4290 }, class: rate_limited, wait: 10s }
       |                       ^^^^
       |
       = help: write a status code from 100 to 599
    "##;
    a_class_that_is_misspelt: "class: rate_limited" => "class: ratelimited",
    r##"
    error[IC0004]: `ratelimited` is not a known value of `class`
      --> connector.yaml:18:37
       |
    18 |   - { when: { status: 429 }, class: ratelimited, wait: 10s }
       |                                     ^^^^^^^^^^^
       |
       = help: did you mean `rate_limited`?
    "##;
    a_class_of_another_list: "class: locked" => "class: transient",
    r##"
    error[IC0004]: `transient` is not a known value of `class`
      --> connector.yaml:20:31
       |
    20 |   - { codes: [LOCKED], class: transient, retry: true }
       |                               ^^^^^^^^^
       |
       = help: known are: validation, duplicate, locked, gone, permission, conflict, other
    "##;
    a_batch_without_bounds: "batch: 50" => "batch: 0",
    r##"
    error[IC0004]: `batch` is `0`, expected a whole number from 1 to 10000
      --> connector.yaml:40:16
       |
    40 |         batch: 0
       |                ^
       |
       = help: write a whole number from 1 to 10000
    "##;
    a_template_without_its_end: "Bearer {{ secrets.token }}" => "Bearer {{ secrets.token }",
    r##"
    error[IC0201]: not a template: unexpected `}`, expected end of variable block
      --> connector.yaml:11:31
       |
    11 |     - { kind: bearer, header: "Bearer {{ secrets.token }" }
       |                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: names stand in `{{ … }}`, text in quotes inside them
    "##;
    a_filter_that_there_is_not: "{{ config.base_url }}" => "{{ config.base_url | uper }}",
    r##"
    error[IC0201]: not a template: `uper` is not a known filter, did you mean `upper`?
     --> connector.yaml:9:13
      |
    9 |   base_url: "{{ config.base_url | uper }}"
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: names stand in `{{ … }}`, text in quotes inside them
    "##;
    a_setting_that_is_misspelt: "{{ config.base_url }}" => "{{ config.base_ulr }}",
    r##"
    error[IC0202]: `base_ulr` is not declared under connection.config
     --> connector.yaml:9:13
      |
    9 |   base_url: "{{ config.base_ulr }}"
      |             ^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: did you mean `base_url`?
    "##;
    a_secret_that_is_misspelt: "secrets.token" => "secrets.tokn",
    r##"
    error[IC0202]: `tokn` is not declared under connection.secrets
      --> connector.yaml:11:31
       |
    11 |     - { kind: bearer, header: "Bearer {{ secrets.tokn }}" }
       |                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: did you mean `token`?
    "##;
    a_secret_outside_of_its_places: "path: /me" => r#"path: "/me/{{ secrets.token }}""#,
    r##"
    error[IC0202]: `secrets` has no value in this place
      --> connector.yaml:13:45
       |
    13 |   identity: { request: { method: GET, path: "/me/{{ secrets.token }}" }, tenant: '.id | tostring' }
       |                                             ^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: known are: config, auth, context, object, vars
    "##;
    a_name_of_another_place: "path: /find" => r#"path: "/find?from={{ window.from }}""#,
    r##"
    error[IC0202]: `window` has no value in this place
      --> connector.yaml:47:56
       |
    47 |       find: { batch: 20, request: { method: GET, path: "/find?from={{ window.from }}" }, pairs: ".[]" }
       |                                                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: known are: config, auth, context, object, vars, keys, key
    "##;
    a_function_that_is_misspelt: "tenant: '.id | tostring'" => "tenant: '.id | tostrng'",
    r##"
    error[IC0203]: `tostrng` is not available in an expression
      --> connector.yaml:13:67
       |
    13 |   identity: { request: { method: GET, path: /me }, tenant: '.id | tostrng' }
       |                                                                   ^^^^^^^
       |
       = help: did you mean `tostring`?
    "##;
    a_field_without_its_dot: "records: .items[]\n" => "records: items[]\n",
    r##"
    error[IC0203]: `items` is not available in an expression
      --> connector.yaml:38:18
       |
    38 |         records: items[]
       |                  ^^^^^
       |
       = help: a field has a dot before its name: `.items`
    "##;
    a_program_that_may_not_end: "'.items[] | select(.gone | not)'" => "'[repeat(.items)]'",
    r##"
    error[IC0203]: `repeat` is not available in an expression
      --> connector.yaml:42:20
       |
    42 |         records: '[repeat(.items)]'
       |                    ^^^^^^
       |
       = help: a program must end on every input; connectors/README.md lists what is available
    "##;
    a_definition: "'.items[] | select(.gone | not)'" => "'def f: f; f'",
    r##"
    error[IC0203]: definitions are not available in an expression: they may not end
      --> connector.yaml:42:23
       |
    42 |         records: 'def f: f; f'
       |                       ^
       |
       = help: a program must end on every input; connectors/README.md lists what is available
    "##;
    a_variable_of_another_place: "{ids: $ids}" => "{ids: $id}",
    r##"
    error[IC0203]: `$id` is not a known variable here
      --> connector.yaml:41:68
       |
    41 |         request: { method: POST, path: /things, body: { jq: '{ids: $id}' } }
       |                                                                    ^^^
       |
       = help: variables here are: $config, $auth, $context, $object, $vars, $fields, $ids
    "##;
    a_program_without_its_end: "{ids: $ids}" => "{ids: $ids",
    r##"
    error[IC0203]: not a jq expression: expected closing brace
      --> connector.yaml:41:72
       |
    41 |         request: { method: POST, path: /things, body: { jq: '{ids: $ids' } }
       |                                                                        ^
       |
       = help: check the expression at the caret
    "##;
    a_remote_call_without_rpc: "{ method: GET, path: /me }" => "{ call: common.who, params: [] }",
    r##"
    error[IC0204]: a remote call, but the connection has no `rpc`
      --> connector.yaml:13:32
       |
    13 |   identity: { request: { call: common.who, params: [] }, tenant: '.id | tostring' }
       |                                ^^^^^^^^^^
       |
       = help: add `rpc: { path: … }` to the connection, or write `method` and `path`
    "##;
    no_way_to_authorise: r#"  auth:
    - { kind: bearer, header: "Bearer {{ secrets.token }}" }
    - { kind: oauth2_client_credentials, token_url: /token }
"# => "",
    r##"
    error[IC0205]: the connection has no way to authorise
     --> connector.yaml:5:3
      |
    5 |   config:
      |   ^
      |
      = help: add `auth:` with at least one kind
    "##;
    two_ways_of_one_name: "{ kind: oauth2_client_credentials, token_url: /token }" => "{ kind: oauth2_client_credentials, name: bearer, token_url: /token }",
    r##"
    error[IC0205]: a second way to authorise named `bearer`
      --> connector.yaml:12:7
       |
    12 |     - { kind: oauth2_client_credentials, name: bearer, token_url: /token }
       |       ^^
       |
       = help: give each a `name` of its own
    "##;
    a_secret_that_is_not_declared: ", client_secret: beside it" => "",
    r##"
    error[IC0205]: `oauth2_client_credentials` needs the secret `client_secret`, which is not declared
      --> connector.yaml:12:7
       |
    12 |     - { kind: oauth2_client_credentials, token_url: /token }
       |       ^^
       |
       = help: add `client_secret: …` under connection.secrets, with where to find it
    "##;
    a_limit_for_some_and_for_others: "for: search," => "for: search, not_for: search,",
    r##"
    error[IC0206]: a limit has both `for` and `not_for`
      --> connector.yaml:16:5
       |
    16 |   - { name: searches, for: search, not_for: search, kind: window, limit: 1, per: 1s }
       |     ^^
       |
       = help: keep the one that is meant
    "##;
    a_limit_that_there_is_not: "limit: search, method" => "limit: serach, method",
    r##"
    error[IC0207]: no limit is for `serach`
      --> connector.yaml:37:27
       |
    37 |         request: { limit: serach, method: GET, path: "/things?from={{ window.from }}" }
       |                           ^^^^^^
       |
       = help: did you mean `search`?
    "##;
    webhooks_that_are_not_verified: r#"  verify:
    - { kind: hmac, algorithm: sha256, encoding: hex, secret: hook, signed: [body], header: x-signature }
"# => "",
    r##"
    error[IC0208]: webhooks without a way to verify them
      --> connector.yaml:52:3
       |
    52 |   handshake:
       |   ^
       |
       = help: add `verify:` with a keyed hash; what cannot be verified cannot be accepted
    "##;
    a_template_of_objects_that_there_is_not: "extends: thing" => "extends: thign",
    r##"
    error[IC0209]: `thign` is not a template of this manifest
      --> connector.yaml:25:14
       |
    25 |     extends: thign
       |              ^^^^^
       |
       = help: did you mean `thing`?
    "##;
    a_lookup_that_there_is_not: "lookup: countries" => "lookup: country",
    r##"
    error[IC0209]: `country` is not a lookup of this object
      --> connector.yaml:30:7
       |
    30 |       country: { field: country_id, lookup: country }
       |       ^^^^^^^
       |
       = help: did you mean `countries`?
    "##;
    no_objects: r#"objects:
  things:
    extends: thing
    modified: .updated
    lookups:
      countries: { what: a country, request: { method: GET, path: /countries }, pairs: ".[]" }
    flatten:
      country: { field: country_id, lookup: countries }
    read:
      changes:
        strategy: window_keyset
        passes: [{ mode: best_effort, lag: 1s }, { mode: authoritative, lag: 1h }]
        page: 100
        id_order: number
        request: { limit: search, method: GET, path: "/things?from={{ window.from }}" }
        records: .items[]
      by_ids:
        batch: 50
        request: { method: POST, path: /things, body: { jq: '{ids: $ids}' } }
        records: '.items[] | select(.gone | not)'
    write:
      key: our_id
      batch: 20
      strategy: find_then_write
      find: { batch: 20, request: { method: GET, path: /find }, pairs: ".[]" }
      create: { request: { method: POST, path: /create }, results: ".[]" }
      update: { request: { method: POST, path: /update }, results: ".[]" }
      transitions: { field: state, initial: new, moves: [{ from: new, to: won, request: { method: POST, path: /win } }] }
"# => r#"objects: {}
"#,
    r##"
    error[IC0209]: the manifest has no objects
      --> connector.yaml:23:1
       |
    23 | objects: {}
       | ^^^^^^^
       |
       = help: add `objects:` with at least one
    "##;
    passes_that_lose_changes: ", { mode: authoritative, lag: 1h }" => "",
    r##"
    error[IC0210]: the last pass must be authoritative, and at most one best_effort pass comes before it
      --> connector.yaml:34:9
       |
    34 |         passes: [{ mode: best_effort, lag: 1s }]
       |         ^^^^^^
       |
       = help: write `passes: [{ mode: best_effort, lag: 15s }, { mode: authoritative, lag: 1h, every: 10m }]`
    "##;
    moves_without_knowing_from_where: r#"strategy: find_then_write
      find: { batch: 20, request: { method: GET, path: /find }, pairs: ".[]" }
      create:"# => r#"strategy: upsert
      upsert:"#,
    r##"
    error[IC0211]: transitions need to know where an object stands, an upsert does not tell
      --> connector.yaml:49:7
       |
    49 |       transitions: { field: state, initial: new, moves: [{ from: new, to: won, request: { method: POST, path: /win } }] }
       |       ^^^^^^^^^^^
       |
       = help: use `strategy: find_then_write`
    "##;
    calls_where_objects_are_posted: "templates:\n" => "posted: true\ntemplates:\n",
    r##"
    error[IC0212]: nobody is called where objects are posted, and the manifest says `connection`, `limits`, `errors`, `record_errors`, `webhooks`, `stream`
      --> connector.yaml:21:1
       |
    21 | posted: true
       | ^^^^^^
       |
       = help: take out `connection`, `limits`, `errors`, `record_errors`, `webhooks`, `stream`, or `posted`

    error[IC0005]: `lookups` is not a key of a posted object
      --> connector.yaml:28:5
       |
    28 |     lookups:
       |     ^^^^^^^
       |
       = help: known are: vars, id, modified, deleted, values, record

    error[IC0005]: `flatten` is not a key of a posted object
      --> connector.yaml:30:5
       |
    30 |     flatten:
       |     ^^^^^^^
       |
       = help: known are: vars, id, modified, deleted, values, record

    error[IC0005]: `read` is not a key of a posted object
      --> connector.yaml:32:5
       |
    32 |     read:
       |     ^^^^
       |
       = help: known are: vars, id, modified, deleted, values, record

    error[IC0005]: `write` is not a key of a posted object
      --> connector.yaml:44:5
       |
    44 |     write:
       |     ^^^^^
       |
       = help: known are: vars, id, modified, deleted, values, record
    "##;
    a_hash_of_yesterday: "algorithm: sha256" => "algorithm: sha1",
    r##"
    warning[IC0231]: sha1 is weaker than what is used today
      --> connector.yaml:55:32
       |
    55 |     - { kind: hmac, algorithm: sha1, encoding: hex, secret: hook, signed: [body], header: x-signature }
       |                                ^^^^
       |
       = help: use the newer signature of this system, if it has one
    "##;
    a_hash_without_a_key: "kind: hmac" => "kind: hash",
    r##"
    error[IC0232]: a plain hash without the secret is one that anybody can compute
      --> connector.yaml:55:77
       |
    55 |     - { kind: hash, algorithm: sha256, encoding: hex, secret: hook, signed: [body], header: x-signature }
       |                                                                             ^
       |
       = help: add `secret` where the system puts it

    warning[IC0231]: a plain hash over secret and body is weaker than a keyed hash: a body can be added to
      --> connector.yaml:55:15
       |
    55 |     - { kind: hash, algorithm: sha256, encoding: hex, secret: hook, signed: [body], header: x-signature }
       |               ^^^^
       |
       = help: use the newer signature of this system, if it has one
    "##;
    a_key_that_is_signed: "signed: [body]" => "signed: [secret, body]",
    r##"
    error[IC0232]: the secret is the key here, and not a part of what is signed
      --> connector.yaml:55:77
       |
    55 |     - { kind: hmac, algorithm: sha256, encoding: hex, secret: hook, signed: [secret, body], header: x-signature }
       |                                                                             ^
       |
       = help: remove `secret` from `signed`, or write `kind: hash`
    "##;
    a_census_without_reading_by_id: "      by_ids:\n        batch: 50\n        request: { method: POST, path: /things, body: { jq: '{ids: $ids}' } }\n        records: '.items[] | select(.gone | not)'\n" => "      census: { every: 1d, only: computed }\n",
    r##"
    error[IC0004]: `computed` is not a known value of `only`
      --> connector.yaml:39:34
       |
    39 |       census: { every: 1d, only: computed }
       |                                  ^^^^^^^^
       |
       = help: known are: volatile

    error[IC0213]: a census asks for objects by their ids, and the manifest does not say how
      --> connector.yaml:39:7
       |
    39 |       census: { every: 1d, only: computed }
       |       ^^^^^^
       |
       = help: add `by_ids`

    error[IC0213]: what is read while it is written is read again by its id, and the manifest does not say how
      --> connector.yaml:40:5
       |
    40 |     write:
       |     ^^^^^
       |
       = help: add `by_ids` beside `changes`
    "##;
    a_body_that_is_not_signed: "signed: [body]" => r#"signed: ["{{ request.url }}"]"#,
    r##"
    error[IC0232]: `signed` lacks the body, so that anybody who sees one request could change it
      --> connector.yaml:55:77
       |
    55 |     - { kind: hmac, algorithm: sha256, encoding: hex, secret: hook, signed: ["{{ request.url }}"], header: x-signature }
       |                                                                             ^
       |
       = help: add `body` where the system puts it
    "##;
    a_program_over_what_is_not_verified: "kind: hmac, algorithm: sha256, encoding: hex, secret: hook, signed: [body], header: x-signature" => "kind: body_field, secret: hook, field: '.[] | .token'",
    r##"
    error[IC0233]: `field` is read before anything is verified, and may only be a plain path
      --> connector.yaml:55:48
       |
    55 |     - { kind: body_field, secret: hook, field: '.[] | .token' }
       |                                                ^^^^^^^^^^^^^^^
       |
       = help: write for example `field: .value[].clientState`
    "##;
    a_preset_that_is_misspelt: "kind: hmac, algorithm: sha256, encoding: hex, secret: hook, signed: [body], header: x-signature" => "preset: githbu, secret: hook",
    r##"
    error[IC0004]: `githbu` is not a known value of `preset`
      --> connector.yaml:55:17
       |
    55 |     - { preset: githbu, secret: hook }
       |                 ^^^^^^
       |
       = help: did you mean `github`?
    "##;
    a_header_that_no_setting_names: "kind: hmac, algorithm: sha256, encoding: hex, secret: hook, signed: [body], header: x-signature" => "kind: mtls_header, setting: proxy, secret: hook",
    r##"
    error[IC0202]: `proxy` is not declared under connection.config
      --> connector.yaml:55:37
       |
    55 |     - { kind: mtls_header, setting: proxy, secret: hook }
       |                                     ^^^^^
       |
       = help: did you mean `proxy_header`?
    "##;
    a_public_key_in_text: "kind: hmac, algorithm: sha256, encoding: hex," => "kind: ed25519, encoding: hex, secret_form: text,",
    r##"
    error[IC0004]: `text` is not a known value of `secret_form`
      --> connector.yaml:55:52
       |
    55 |     - { kind: ed25519, encoding: hex, secret_form: text, secret: hook, signed: [body], header: x-signature }
       |                                                    ^^^^
       |
       = help: known are: hex, base64, whpk
    "##;
    a_secret_of_webhooks_that_is_misspelt: "secret: hook," => "secret: [hook, hook_previous],",
    r##"
    error[IC0202]: `hook_previous` is not declared under connection.secrets
      --> connector.yaml:55:70
       |
    55 |     - { kind: hmac, algorithm: sha256, encoding: hex, secret: [hook, hook_previous], signed: [body], header: x-signature }
       |                                                                      ^^^^^^^^^^^^^
       |
       = help: did you mean `hook`?
    "##;
    a_challenge_in_two_places: "{ query: validationToken }" => "{ query: validationToken, header: x-challenge }",
    r##"
    error[IC0004]: a challenge stands in one place of the request
      --> connector.yaml:53:15
       |
    53 |     - { when: { query: validationToken, header: x-challenge }, answer: text }
       |               ^^
       |
       = help: write one of `query: validationToken`, `header: x-challenge` or `body: .challenge`
    "##;
    an_answer_in_no_form: "answer: text" => "answer: xml",
    r##"
    error[IC0004]: an answer is neither `text` nor `{ json: key }`
      --> connector.yaml:53:51
       |
    53 |     - { when: { query: validationToken }, answer: xml }
       |                                                   ^^^
       |
       = help: write `answer: text`, or `answer: { json: challenge }` for an object with the challenge under that key
    "##;
    a_sample_about_nothing: r#""about": "by_ids", "# => "",
    r##"
    error[IC0221]: the sample does not say what it is about
     --> samples/things.json:1:1
      |
    1 | {
      | ^
      |
      = help: add `about` with one of: changes, by_ids, write, error, request, …; connectors/README.md lists all

    warning[IC0223]: no sample runs `.items[] | select(.gone | not)`
      --> connector.yaml:42:19
       |
    42 |         records: '.items[] | select(.gone | not)'
       |                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: add a file to samples/ with an answer that it reads
    "##;
    a_sample_that_expects_nothing: r#", "expect": "7""# => "",
    r##"
    error[IC0220]: the sample expects nothing
     --> samples/identity.json:1:1
      |
    1 | { "about": "identity", "body": {"id": 7} }
      | ^
      |
      = help: add `expect` with what must come out
    "##;
    a_sample_that_cannot_be_read: r#""object": "things""# => r#""object": "thing""#,
    r##"
    error[IC0221]: `thing` is not an object of the manifest
     --> samples/things.json:2:32
      |
    2 |   "about": "by_ids", "object": "thing",
      |                                ^^^^^^^
      |
      = help: did you mean `things`?

    warning[IC0223]: no sample runs `.items[] | select(.gone | not)`
      --> connector.yaml:42:19
       |
    42 |         records: '.items[] | select(.gone | not)'
       |                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: add a file to samples/ with an answer that it reads
    "##;
    a_sample_that_disagrees: r#"[{"id": 1}]"# => r#"[{"id": 2}]"#,
    r##"
    error[IC0222]: .objects[0].id is 1, expected 2
     --> samples/things.json:4:13
      |
    4 |   "expect": {"objects": [{"id": 2}]}
      |             ^
      |
      = help: correct the manifest's expression, or the sample
    "##;
    an_expression_that_no_sample_runs: r#"path: /find }, pairs: ".[]" }"# => r#"path: /find }, pairs: ".[] | {key, id}" }"#,
    r##"
    warning[IC0223]: no sample runs `.[] | {key, id}`
      --> connector.yaml:47:73
       |
    47 |       find: { batch: 20, request: { method: GET, path: /find }, pairs: ".[] | {key, id}" }
       |                                                                         ^^^^^^^^^^^^^^^
       |
       = help: add a file to samples/ with an answer that it reads
    "##;
}

#[test]
fn every_code_of_this_crate_has_a_mistake() {
    let mut told = BTreeSet::new();
    for (good, bad) in MISTAKES {
        told.extend(report(good, bad).findings().iter().map(|finding| finding.code));
    }
    let mut codes = BTreeSet::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in folder
        .read_dir()
        .unwrap()
        .chain(folder.join("manifest").read_dir().unwrap())
    {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            let quoted = text
                .split('"')
                .skip(1)
                .filter(|word| word.len() == 6 && word.starts_with("IC"));
            codes.extend(quoted.map(str::to_owned));
        }
    }
    assert!(codes.len() > 10, "{codes:?}");
    let missing: Vec<&String> = codes
        .iter()
        .filter(|code| !told.contains(code.as_str()))
        .collect();
    assert!(missing.is_empty(), "add a line to `mistakes!` for {missing:?}");
    for code in told {
        assert!(diagnostic::explanation(code).is_some(), "{code}");
    }
}

#[test]
fn no_mistake_hides_another() {
    let mut text = GOOD[0].1.to_owned();
    for (good, bad) in [
        ("per: 10s", "per: 10"),
        (", { mode: authoritative, lag: 1h }", ""),
        ("lookup: countries", "lookup: country"),
        ("limit: search, method", "limit: serach, method"),
        ("{ query: validationToken }", "{}"),
        ("  verify:\n", "  verification:\n"),
    ] {
        text = text.replace(good, bad);
    }
    let mut report = Report::new();
    // What is wrong with another file does not count here.
    Connector::compile(&Source::new("broken.yaml", "a: [1"), &mut report);
    assert!(Connector::compile(&Source::new("connector.yaml", text), &mut report).is_none());
    let codes: Vec<&str> = report.findings().iter().map(|finding| finding.code).collect();
    let expected = [
        "IC0001", "IC0004", "IC0209", "IC0210", "IC0004", "IC0208", "IC0005", "IC0207",
    ];
    assert_eq!(codes, expected);
}
