//! A refresh token that the system replaces with every use outlives the hub, and nobody reads it in the ledger.

use std::path::PathBuf;

use serde_json::json;

use crate::harness::{Folder, Hub, Sandbox, base64, eventually, exchange, expect, interconnect, post};

/// How every refresh token of the system begins.
const TOKEN_BEGIN: &[u8] = b"5Aep861";

/// The configuration of a hub that signs in at Salesforce by a refresh token, and its secrets.
fn config(folder: &Folder, sandbox: &Sandbox) -> (PathBuf, Vec<(&'static str, String)>) {
    let text = format!(
        "listen: 127.0.0.1:0
ledger: sqlite:{ledger}
outbound: {{ allow: [127.0.0.0/8] }}
seal_key: \"${{env:SEAL_KEY}}\"
connections:
  crm:
    system: salesforce
    auth: oauth2_refresh
    config: {{ login_url: \"{salesforce}\" }}
    secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\", refresh_token: \"${{env:SF_TOKEN}}\" }}
    country: US
    lag: 0ms
  marketing:
    system: hubspot
    config: {{ base_url: \"{hubspot}\" }}
    secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}
    country: US
    lag: 0ms
syncs:
  - {{ connection: crm, record: partner, every: 500ms }}
  - {{ connection: marketing, record: partner, every: 500ms }}
",
        ledger = folder.path("hub.db").display(),
        salesforce = sandbox.url("salesforce"),
        hubspot = sandbox.url("hubspot"),
    );
    let said = |system: &str, name: &str| {
        sandbox.said[system][name]
            .as_str()
            .expect("a credential")
            .to_owned()
    };
    let env = vec![
        ("SEAL_KEY", base64(&[7; 32])),
        ("SF_ID", said("salesforce", "client_id")),
        ("SF_SECRET", said("salesforce", "client_secret")),
        ("SF_TOKEN", said("salesforce", "refresh_token")),
        ("HS_TOKEN", said("hubspot", "token")),
    ];
    (folder.write("interconnect.yaml", &text), env)
}

/// Makes an account in Salesforce, and waits until HubSpot has so many companies.
fn account_arrives(sandbox: &Sandbox, number: usize) {
    let account =
        json!({"Name": format!("Account {number}"), "Website": format!("https://a-{number}.example")});
    post(
        &format!("{}/_sandbox/rows/Account", sandbox.url("salesforce")),
        &account,
    );
    eventually("the account in HubSpot", || {
        let companies = sandbox.rows("hubspot", "companies").len();
        expect(companies == number, format!("{companies} companies"))
    });
}

/// Asks Salesforce for tokens; status and answer.
fn grant(sandbox: &Sandbox, grant: &str) -> (u16, serde_json::Value) {
    let client = |name: &str| {
        sandbox.said["salesforce"][name]
            .as_str()
            .expect("a credential")
            .to_owned()
    };
    let form = format!(
        "{grant}&client_id={}&client_secret={}",
        client("client_id"),
        client("client_secret")
    );
    let url = format!("{}/services/oauth2/token", sandbox.url("salesforce"));
    let (status, answer) = exchange(
        "POST",
        &url,
        Some(&form),
        &[("content-type", "application/x-www-form-urlencoded")],
    );
    (status, serde_json::from_str(&answer).expect("the answer is JSON"))
}

/// Authorises the app again, as an administrator does in a browser; the new refresh token.
fn authorise_again(sandbox: &Sandbox) -> String {
    let client = sandbox.said["salesforce"]["client_id"].as_str().expect("an id");
    let url = format!(
        "{}/services/oauth2/authorize?response_type=code&client_id={client}&redirect_uri=http://localhost/",
        sandbox.url("salesforce")
    );
    let stay: ureq::Agent = ureq::Agent::config_builder().max_redirects(0).build().into();
    let answer = stay.get(url).call().expect("the consent screen says yes");
    let back = answer.headers()["location"].to_str().expect("an address");
    let (_, code) = back.split_once("code=").expect("a code");
    let code = code.split('&').next().expect("a code");
    let (status, answer) = grant(
        sandbox,
        &format!("grant_type=authorization_code&redirect_uri=http://localhost/&code={code}"),
    );
    assert_eq!(status, 200, "{answer}");
    answer["refresh_token"].as_str().expect("a token").to_owned()
}

#[test]
fn a_rotated_refresh_token_outlives_the_hub_sealed() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--rotate-refresh-tokens"]);
    let (config, mut env) = config(&folder, &sandbox);
    let path = config.to_str().expect("a path of text").to_owned();
    let sync = |env: &[(&str, String)]| {
        let output = interconnect(&["--config", &path, "sync", "run", "--full"], env);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };

    // The configured token is spent when the hub has used it; the next life goes by what was kept.
    let hub = Hub::start(&config, &env);
    account_arrives(&sandbox, 1);
    hub.running.kill();
    let configured = &env[3].1;
    let (status, answer) = grant(
        &sandbox,
        &format!("grant_type=refresh_token&refresh_token={configured}"),
    );
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
    let hub = Hub::start(&config, &env);
    account_arrives(&sandbox, 2);
    assert_eq!(hub.running.stop(), Some(0));

    let mut searched = 0;
    for file in std::fs::read_dir(folder.path("")).expect("the folder can be listed") {
        let bytes = std::fs::read(file.expect("an entry").path()).expect("the ledger can be read");
        assert!(
            !bytes.windows(TOKEN_BEGIN.len()).any(|part| part == TOKEN_BEGIN),
            "a token in plain text"
        );
        searched += bytes.len();
    }
    assert!(searched > 0);

    // Without its key a kept token is an error that says the fix; the spent token is not tried.
    env[0].1 = base64(&[8; 32]);
    let (code, stderr) = sync(&env);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("refresh token of `crm` is sealed with a key that `seal_key` does not name"),
        "{stderr}"
    );
    // Authorised again, the new token counts, and what is kept from now on is sealed with the new key.
    env[3].1 = authorise_again(&sandbox);
    for _ in 0..2 {
        let (code, stderr) = sync(&env);
        assert_eq!(code, Some(0), "{stderr}");
    }
}
