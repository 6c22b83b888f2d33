//! Connections that need a person: to sign in, after a refusal, and when the account is another one.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::harness::{BINARY, Folder, Hub, Sandbox, base64, eventually, expect, interconnect, json_of, post};

/// A hub with one connection to the sandbox's Salesforce, signing in this way.
fn config(
    folder: &Folder,
    sandbox: &Sandbox,
    auth: &str,
    name: &str,
) -> (PathBuf, Vec<(&'static str, String)>) {
    let text = format!(
        "listen: 127.0.0.1:0
ledger: sqlite:{ledger}
outbound: {{ allow: [127.0.0.0/8] }}
connections:
  crm:
    system: salesforce
    auth: {auth}
    config: {{ login_url: \"{salesforce}\" }}
    secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}
    country: US
    lag: 0ms
limits: {{ sweep_every_ms: 200 }}
syncs: [{{ connection: crm, record: partner, every: 200ms }}]
",
        ledger = folder.path("hub.db").display(),
        salesforce = sandbox.url("salesforce"),
    );
    let said = |name: &str| {
        sandbox.said["salesforce"][name]
            .as_str()
            .expect("a credential")
            .to_owned()
    };
    let env = vec![
        ("INTERCONNECT_SEAL_KEY", base64(&[7; 32])),
        ("SF_ID", said("client_id")),
        ("SF_SECRET", said("client_secret")),
    ];
    (folder.write(name, &text), env)
}

fn run(config: &std::path::Path, arguments: &[&str], env: &[(&str, String)]) -> (Option<i32>, Json, String) {
    let mut all = vec!["--config", config.to_str().expect("text"), "--json"];
    all.extend(arguments);
    let output = interconnect(&all, env);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = if output.stdout.is_empty() {
        Json::Null
    } else {
        json_of(&output)
    };
    (output.status.code(), json, stderr)
}

/// How the one connection stands.
fn standing(config: &std::path::Path, env: &[(&str, String)]) -> Json {
    run(config, &["status"], env).1["connections"][0].clone()
}

fn account(sandbox: &Sandbox, name: &str) {
    post(
        &format!("{}/_sandbox/rows/Account", sandbox.url("salesforce")),
        &json!({"Name": name}),
    );
}

fn records(config: &std::path::Path, env: &[(&str, String)]) -> usize {
    let (_, listed, stderr) = run(config, &["record", "list", "partner"], env);
    listed["data"]
        .as_array()
        .unwrap_or_else(|| panic!("{listed} {stderr}"))
        .len()
}

/// Reads until there are so many records: a window ends with the last whole second of the system's clock, and an account
/// may be younger.
fn read(config: &std::path::Path, env: &[(&str, String)], wanted: usize) {
    eventually("the accounts to be read", || {
        let (code, _, stderr) = run(config, &["sync", "run"], env);
        assert_eq!(code, Some(0), "{stderr}");
        let records = records(config, env);
        expect(records == wanted, records)
    });
}

#[test]
fn refused_credentials_stop_a_connection_until_somebody_looks_after_it() {
    let (folder, sandbox) = (Folder::new(), Sandbox::start(&[]));
    let (config, good) = config(
        &folder,
        &sandbox,
        "oauth2_client_credentials",
        "interconnect.yaml",
    );
    account(&sandbox, "First");
    read(&config, &good, 1);
    let fine = standing(&config, &good);
    assert_eq!(
        (&fine["code"], fine["account"].as_str().map(str::len)),
        (&json!(""), Some(18)),
        "{fine}"
    );

    let mut bad = good.clone();
    bad[2].1 = "wrong".to_owned();
    let hub = Hub::start(&config, &bad);
    let stopped = eventually("the connection to be stopped", || {
        let standing = standing(&config, &good);
        expect(standing["code"] == "revoked", &standing).map(|()| standing)
    });
    let reason = stopped["reason"].as_str().expect("a text");
    assert!(
        reason.contains("connection resume crm") && !reason.contains("wrong"),
        "{reason}"
    );
    let (code, _, stderr) = run(&config, &["connection", "resume", "crm"], &bad);
    assert_eq!(
        (code, stderr.contains("refuses the credentials")),
        (Some(1), true),
        "{stderr}"
    );
    assert_eq!(standing(&config, &good)["code"], "revoked");
    let (code, said, stderr) = run(&config, &["connection", "resume", "crm"], &good);
    assert_eq!((code, &said["account"]), (Some(0), &fine["account"]), "{stderr}");
    assert_eq!(hub.running.stop(), Some(0));
    account(&sandbox, "Second");
    read(&config, &good, 2);
}

#[test]
fn another_account_stops_a_connection_before_anything_is_read_or_written() {
    let (folder, first, second) = (
        Folder::new(),
        Sandbox::start(&[]),
        Sandbox::start(&["--seed", "2"]),
    );
    let (config_one, env) = config(&folder, &first, "oauth2_client_credentials", "one.yaml");
    account(&first, "First");
    read(&config_one, &env, 1);
    let (config_two, env_two) = config(&folder, &second, "oauth2_client_credentials", "two.yaml");
    account(&second, "Stranger");
    let (code, _, stderr) = run(&config_two, &["sync", "run"], &env_two);
    assert_eq!((code, records(&config_two, &env_two)), (Some(1), 1), "{stderr}");
    assert!(
        stderr.contains("is stopped") && stderr.contains("--account 00D"),
        "{stderr}"
    );
    let (code, _, stderr) = run(&config_two, &["connection", "resume", "crm"], &env_two);
    assert_eq!(code, Some(1), "{stderr}");
    let standing = standing(&config_two, &env_two);
    assert_eq!(standing["code"], "other_account", "{standing}");
    let reason = standing["reason"].as_str().expect("a text");
    let there = reason
        .rsplit("--account ")
        .next()
        .expect("an account")
        .trim_matches('`');
    let (code, said, stderr) = run(
        &config_two,
        &["connection", "resume", "crm", "--account", there],
        &env_two,
    );
    assert_eq!(
        (code, said["account"].as_str()),
        (Some(0), Some(there)),
        "{stderr}"
    );
    read(&config_two, &env_two, 2);
}

#[test]
fn a_person_signs_in_with_a_browser_and_the_hub_goes_on_alone() {
    let (folder, sandbox) = (Folder::new(), Sandbox::start(&["--rotate-refresh-tokens"]));
    let (config, env) = config(&folder, &sandbox, "oauth2_code", "interconnect.yaml");
    account(&sandbox, "First");
    let (code, _, stderr) = run(&config, &["sync", "run"], &env);
    assert_eq!(
        (code, stderr.contains("connection auth crm")),
        (Some(1), true),
        "{stderr}"
    );

    let mut waiting = std::process::Command::new(BINARY)
        .args([
            "--config",
            config.to_str().expect("text"),
            "connection",
            "auth",
            "crm",
            "--port",
            "0",
            "--json",
        ])
        .envs(env.iter().map(|(name, value)| (*name, value.as_str())))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let stderr = waiting.stderr.take().expect("it is piped");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stderr));
    let address = lines.find_map(|line| {
        let said: Json = serde_json::from_str(&line.expect("it speaks")).expect("a line of JSON");
        said["open"].as_str().map(str::to_owned)
    });
    // The person at the emulated screen always says yes; the browser follows to where it is sent back to.
    let page = ureq::get(address.expect("an address"))
        .call()
        .expect("the browser arrives");
    assert_eq!(page.status(), 200);
    let output = waiting.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(json_of(&output)["connection"], "crm");
    // More than one process signs in with what the first one was given.
    for _ in 0..2 {
        read(&config, &env, 1);
    }
}
