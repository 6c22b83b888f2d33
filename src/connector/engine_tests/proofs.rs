//! What requests carry to show who they are from, for every kind of `auth`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value as Json, json};

use crate::testing::{Got, ManualClock, Say, Server, connect, connector, ok};
use crate::{Class, Connection};

/// A manifest with one object and this way to authorise.
fn manifest(secrets: &str, auth: &str) -> String {
    let auth = auth.replace('\n', "\n      ");
    format!(
        r#"apiVersion: interconnect/v1
kind: Connector
metadata: {{ name: acme, version: 1.0.0, title: Acme }}
connection:
  config:
    base_url: {{ help: the address }}
    user: {{ default: hub, help: who }}
  secrets: {{ {secrets} }}
  base_url: "{{{{ config.base_url }}}}"
  auth:
    - {auth}
  identity: {{ request: {{ method: GET, path: /me }}, tenant: .id }}
errors:
  - {{ when: {{ status: 403, header: {{ x-csrf-token: required }} }}, class: auth_expired }}
  - {{ when: {{ status: 401 }}, class: auth_expired }}
objects:
  things:
    id: .id
    write:
      key: ref
      batch: 1
      strategy: upsert
      upsert: &put
        request: {{ method: PUT, path: "/things/{{{{ batch[0].key }}}}", body: {{ jq: '$batch[0].values' }} }}
        results: '{{index: 0, ok: true, id: ($headers.location | split("/") | last), created: ($status == 201)}}'
      update: *put
"#
    )
}

fn open(server: &Server, secrets: &str, auth: &str, values: &[(&str, &str)]) -> Connection {
    let clock = Arc::new(ManualClock::default());
    let config = json!({"base_url": server.url});
    connect(&connector(&manifest(secrets, auth)), config, values, &clock)
}

/// The one request that asking for the account made.
async fn asked(secrets: &str, auth: &str, values: &[(&str, &str)]) -> Got {
    let server = Server::script(vec![ok(json!({"id": 7}))]).await;
    let identity = open(&server, secrets, auth, values).check().await.unwrap();
    assert_eq!(identity.tenant, "7");
    server.got().remove(0)
}

#[tokio::test]
async fn fixed_proofs_are_sent_where_the_manifest_says() {
    let auth = r#"kind: basic
user: "{{ config.user }}"
password: "{{ secrets.password }}""#;
    let got = asked("password: where", auth, &[("password", "päss:word")]).await;
    assert_eq!(got.authorization, "Basic aHViOnDDpHNzOndvcmQ=");

    let auth = "kind: api_key\nin: header\nkey_name: X-Api-Key\nvalue: \"{{ secrets.key }}\"";
    let got = asked("key: where", auth, &[("key", "k-1")]).await;
    assert_eq!(
        (got.headers["x-api-key"].as_str(), got.authorization.as_str()),
        ("k-1", "")
    );

    let auth = "kind: api_key\nin: query\nkey_name: api_token\nvalue: \"{{ secrets.key }}\"";
    let got = asked("key: where", auth, &[("key", "a&b c")]).await;
    assert_eq!(got.line, "GET /me?api_token=a%26b+c");

    let auth = "kind: bearer\nheader: \"token {{ secrets.key }}:{{ secrets.secret }}\"";
    let got = asked(
        "key: where, secret: where",
        auth,
        &[("key", "k"), ("secret", "s")],
    )
    .await;
    assert_eq!(got.authorization, "token k:s");
}

#[tokio::test]
async fn every_request_of_oauth1_has_its_own_signature() {
    let names = "consumer_key: w, consumer_secret: w, token_id: w, token_secret: w";
    let values = [
        ("consumer_key", "ck"),
        ("consumer_secret", "ConsumerProof"),
        ("token_id", "ti"),
        ("token_secret", "TokenProof"),
    ];
    let got = asked(names, "kind: oauth1\nrealm: \"123456_SB1\"", &values).await;
    let said = &got.authorization;
    assert!(
        said.starts_with(
            "OAuth realm=\"123456_SB1\", oauth_consumer_key=\"ck\", oauth_nonce=\"fjaLirsIcCGVZWzBX0pg\""
        ) && said.contains("oauth_timestamp=\"1795428000\"")
            && said.contains("oauth_signature=\""),
        "{said}"
    );
    assert!(
        !said.contains("ConsumerProof") && !said.contains("TokenProof"),
        "{said}"
    );
}

/// A form as it was sent, and the claims of the assertion in it.
fn form(got: &Got, assertion: &str) -> (Vec<(String, String)>, Json) {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(got.body.as_bytes())
        .into_owned()
        .collect();
    let token = &pairs.iter().find(|(name, _)| name == assertion).unwrap().1;
    let claims = token.split('.').nth(1).unwrap();
    let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let rest = pairs.into_iter().filter(|(name, _)| name != assertion).collect();
    (rest, claims)
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    expected.iter().map(own).collect()
}

#[tokio::test]
async fn assertions_stand_for_a_user_or_for_the_clients_secret() {
    let key = crate::jwt::tests::p256_key();
    let token = ok(json!({"access_token": "t1", "expires_in": "3600", "token_type": "bearer"}));
    let server = Server::script(vec![token.clone(), ok(json!({"id": 7}))]).await;
    let auth = r#"kind: oauth2_jwt_bearer
token_url: "{{ config.base_url }}/token"
scopes: crm
assertion:
  algorithm: ES256
  key: private_key
  claims: { iss: "{{ secrets.client_id }}", sub: "{{ config.user }}", aud: "https://login.example" }"#;
    let values = [("client_id", "app"), ("private_key", key.as_str())];
    let connection = open(&server, "client_id: w, private_key: w", auth, &values);
    connection.check().await.unwrap();
    let got = server.got();
    assert_eq!(
        (got[0].line.as_str(), got[1].authorization.as_str()),
        ("POST /token", "Bearer t1")
    );
    let (rest, claims) = form(&got[0], "assertion");
    assert_eq!(
        rest,
        pairs(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("scope", "crm")
        ])
    );
    let (now, nonce) = (1_795_428_000, "fjaLirsIcCGVZWzBX0pg");
    let expected = json!({"iss": "app", "sub": "hub", "aud": "https://login.example",
        "iat": now, "exp": now + 180, "jti": nonce});
    assert_eq!(claims, expected);

    let server = Server::script(vec![token, ok(json!({"id": 7}))]).await;
    let auth = r#"kind: oauth2_client_credentials
token_url: "{{ config.base_url }}/token"
client_auth: assertion
scopes: ["{{ config.base_url }}/.default", rest]
assertion:
  algorithm: ES256
  key: private_key
  key_id: cert-1
  life: 1h
  claims: { iss: "{{ secrets.client_id }}", scope: [rest_webservices], aud: "{{ config.base_url }}/token" }"#;
    let connection = open(&server, "client_id: w, private_key: w", auth, &values);
    connection.check().await.unwrap();
    let (rest, claims) = form(&server.got()[0], "client_assertion");
    assert_eq!(
        rest,
        pairs(&[
            ("grant_type", "client_credentials"),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            ),
            ("scope", &format!("{}/.default rest", server.url)),
        ])
    );
    assert_eq!(
        (&claims["scope"], &claims["exp"]),
        (&json!(["rest_webservices"]), &json!(now + 3_600))
    );
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_a_matter_of_the_settings() {
    let server = Server::script(Vec::new()).await;
    let auth = "kind: oauth2_jwt_bearer\ntoken_url: \"{{ config.base_url }}/token\"\n\
                assertion: { algorithm: RS256, key: private_key, claims: { iss: a } }";
    let connection = open(&server, "private_key: w", auth, &[("private_key", "s3cret")]);
    let failure = connection.check().await.unwrap_err();
    assert_eq!(failure.class, Class::Settings);
    assert_eq!(
        failure.detail,
        "the secret `private_key` cannot sign: it is not a private key in PEM"
    );
    assert!(server.got().is_empty());
}

fn thing(key: &str) -> crate::Write {
    crate::testing::write(None, key, json!({"name": "x"}))
}

#[tokio::test]
async fn what_changes_something_brings_the_token_against_forgery_and_a_new_one_when_it_has_ended() {
    let fetched = |token: &'static str, cookie: &'static str| {
        let headers = vec![
            ("x-csrf-token", token),
            ("set-cookie", cookie),
            ("set-cookie", "usercontext=client=100; path=/; secure"),
        ];
        Say::Headers(200, headers, "{}".to_owned())
    };
    let ended = Say::Header(
        403,
        "x-csrf-token",
        "Required",
        "CSRF token validation failed".to_owned(),
    );
    let created = Say::Header(201, "location", "/things/42", String::new());
    let answers = vec![
        fetched("c1", "SESSION=s1; path=/; HttpOnly"),
        ok(json!({"id": 7})),
        ended,
        fetched("c2", "SESSION=s2"),
        created,
    ];
    let server = Server::script(answers).await;
    let auth = r#"kind: basic
user: hub
password: "{{ secrets.password }}"
csrf: { request: { method: GET, path: /, headers: { x-csrf-token: Fetch } }, header: x-csrf-token }"#;
    let connection = open(&server, "password: w", auth, &[("password", "pw")]);
    connection.check().await.unwrap();
    let outcomes = connection.write("things", &[thing("k1")]).await.unwrap();
    assert!(
        matches!(&outcomes[0], crate::Outcome::Written { id, created: true, .. } if id == "42"),
        "{outcomes:?}"
    );
    let shown: Vec<(String, String, String)> = server
        .got()
        .into_iter()
        .map(|got| {
            let header = |name: &str| got.headers.get(name).cloned().unwrap_or_default();
            (got.line, header("x-csrf-token"), header("cookie"))
        })
        .collect();
    let (first, second) = (
        "SESSION=s1; usercontext=client=100",
        "SESSION=s2; usercontext=client=100",
    );
    let expected = [
        ("GET /", "Fetch", ""),
        ("GET /me", "", first),
        ("PUT /things/k1", "c1", first),
        ("GET /", "Fetch", ""),
        ("PUT /things/k1", "c2", second),
    ];
    let expected =
        expected.map(|(line, token, cookie)| (line.to_owned(), token.to_owned(), cookie.to_owned()));
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_login_by_cookie_lasts_until_the_system_ends_it() {
    let login = |cookie: &'static str| Say::Header(200, "set-cookie", cookie, "{}".to_owned());
    let answers = vec![
        login("B1SESSION=one; HttpOnly"),
        ok(json!({"id": 7})),
        Say::Json(401, "{}".to_owned()),
        login("B1SESSION=two"),
        ok(json!({"id": 7})),
    ];
    let server = Server::script(answers).await;
    let auth = r#"kind: cookie_login
needs: [password]
request: { method: POST, path: /Login, body: { UserName: "{{ config.user }}", Password: "{{ secrets.password }}" } }"#;
    let connection = open(&server, "password: w", auth, &[("password", "pw")]);
    connection.check().await.unwrap();
    connection.check().await.unwrap();
    let cookies: Vec<Option<String>> = server
        .got()
        .iter()
        .map(|got| got.headers.get("cookie").cloned())
        .collect();
    let cookie = |text: &str| Some(text.to_owned());
    assert_eq!(
        cookies,
        [
            None,
            cookie("B1SESSION=one"),
            cookie("B1SESSION=one"),
            None,
            cookie("B1SESSION=two")
        ]
    );
    assert_eq!(
        server.got()[0].json(),
        json!({"UserName": "hub", "Password": "pw"})
    );
}

const CODE: &str = r#"kind: oauth2_code
authorize_url: "{{ config.base_url }}/authorize?prompt=consent"
token_url: "{{ config.base_url }}/token"
scopes: [crm, offline_access]"#;
const CODE_SECRETS: [(&str, &str); 2] = [("client_id", "app"), ("client_secret", "s")];

#[tokio::test]
async fn a_person_signs_in_once_and_the_connection_goes_on_by_itself() {
    let answers = vec![
        ok(json!({"access_token": "a1", "refresh_token": "r1", "expires_in": 600})),
        ok(json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 600})),
        ok(json!({"id": 7})),
    ];
    let server = Server::script(answers).await;
    let connection = open(&server, "client_id: w, client_secret: w", CODE, &CODE_SECRETS);
    let failure = connection.check().await.unwrap_err();
    assert_eq!(failure.class, Class::AuthRevoked);
    assert!(
        failure.detail.contains("run `interconnect connection auth test`"),
        "{failure:?}"
    );

    let sign_in = connection.begin_sign_in("http://127.0.0.1:8765/").unwrap();
    let asked: std::collections::BTreeMap<String, String> = sign_in.url.query_pairs().into_owned().collect();
    let nonce = "fjaLirsIcCGVZWzBX0pg";
    let verifier = format!("{nonce}{nonce}");
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    for (name, value) in [
        ("prompt", "consent"),
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", "http://127.0.0.1:8765/"),
        ("state", nonce),
        ("scope", "crm offline_access"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(asked[name], value, "{name}");
    }
    let forged = connection
        .end_sign_in(&sign_in, "another", "c0")
        .await
        .unwrap_err();
    assert!(server.got().is_empty(), "{forged:?}");

    connection.end_sign_in(&sign_in, nonce, "c1").await.unwrap();
    assert_eq!(
        connection.check().await.unwrap().tenant,
        "7",
        "at once, although it was refused before"
    );
    let got = server.got();
    let sent: Vec<(String, String)> = url::form_urlencoded::parse(got[0].body.as_bytes())
        .into_owned()
        .collect();
    let expected = [
        ("grant_type", "authorization_code"),
        ("code", "c1"),
        ("redirect_uri", "http://127.0.0.1:8765/"),
        ("code_verifier", verifier.as_str()),
        ("client_id", "app"),
        ("client_secret", "s"),
        ("scope", "crm offline_access"),
    ];
    assert_eq!(sent, pairs(&expected));
    assert!(
        got[1].body.contains("grant_type=refresh_token&refresh_token=r1&"),
        "{}",
        got[1].body
    );
    assert_eq!(got[2].authorization, "Bearer a2");
}

#[tokio::test]
async fn a_sign_in_that_gives_no_refresh_token_says_what_to_ask_for() {
    let server = Server::script(vec![ok(json!({"access_token": "a1"}))]).await;
    let connection = open(&server, "client_id: w, client_secret: w", CODE, &CODE_SECRETS);
    let sign_in = connection.begin_sign_in("http://127.0.0.1:1/").unwrap();
    let failure = connection
        .end_sign_in(&sign_in, "fjaLirsIcCGVZWzBX0pg", "c")
        .await
        .unwrap_err();
    assert!(failure.detail.contains("`offline_access`"), "{failure:?}");
}

#[tokio::test]
async fn a_fixed_proof_that_is_refused_is_revoked_and_not_renewed() {
    let values = [
        "token",
        "consumer_key",
        "consumer_secret",
        "token_id",
        "token_secret",
    ]
    .map(|name| (name, "x"));
    let secrets = "token: w, consumer_key: w, consumer_secret: w, token_id: w, token_secret: w";
    let basic = "kind: basic\nuser: hub\npassword: \"{{ secrets.token }}\"";
    let csrf = "\ncsrf: { request: { method: GET, path: / }, header: x-csrf-token }";
    let fetched = Say::Header(200, "x-csrf-token", "c", "{}".to_owned());
    let kinds = [
        (
            "kind: bearer\nheader: \"Bearer {{ secrets.token }}\"".to_owned(),
            1,
        ),
        (basic.to_owned(), 1),
        (
            "kind: api_key\nin: header\nkey_name: x-key\nvalue: \"{{ secrets.token }}\"".to_owned(),
            1,
        ),
        ("kind: oauth1\nrealm: a".to_owned(), 1),
        // The token against forgery may have been what ended: it is fetched anew once.
        (format!("{basic}{csrf}"), 4),
    ];
    for (auth, calls) in kinds {
        let said = fetched.clone();
        let server = Server::start(move |got| match got.line.as_str() {
            "GET /" => said.clone(),
            _ => Say::Json(401, "{}".to_owned()),
        })
        .await;
        let failure = open(&server, secrets, &auth, &values)
            .identity()
            .await
            .unwrap_err();
        assert_eq!(failure.class, Class::AuthRevoked, "{auth}");
        assert_eq!(server.got().len(), calls, "{auth}");
    }
}
