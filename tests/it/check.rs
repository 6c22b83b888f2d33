//! Bad configuration: every finding at once, exit 2, before a port is bound.

use crate::harness::{BINARY, Folder, interconnect, json_of, said};

fn checked(text: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = Folder::new();
    let config = folder.write("interconnect.yaml", text);
    let path = config.to_str().expect("a path of text").to_owned();
    let mut all = vec!["--config", &path];
    all.extend(arguments);
    let output = interconnect(&all, &[]);
    let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&path, "interconnect.yaml");
    (output.status.code(), plain(&output.stdout), plain(&output.stderr))
}

#[test]
fn every_finding_is_shown_with_its_place_and_its_fix() {
    let text = "listen: 127.0.0.1\nqueue: rabbit\nconnections:\n  crm: { system: salesfarce }\nlimits: { workers_max: 0 }\n";
    let (code, stdout, stderr) = checked(text, &["check"]);
    assert_eq!(code, Some(2));
    insta::assert_snapshot!(stdout, @r"
    error[IC0101]: `127.0.0.1` is not an address and a port
     --> interconnect.yaml:1:9
      |
    1 | listen: 127.0.0.1
      |         ^^^^^^^^^
      |
      = help: write for example 127.0.0.1:8080 or [::]:8080

    error[IC0102]: `queue` starts with none of memory, redis://, unix://
     --> interconnect.yaml:2:8
      |
    2 | queue: rabbit
      |        ^^^^^^
      |
      = help: write for example `queue: memory`

    error[IC0004]: `workers_max` is `0`, expected a whole number from 1 to 1024
     --> interconnect.yaml:5:24
      |
    5 | limits: { workers_max: 0 }
      |                        ^
      |
      = help: write a whole number from 1 to 1024

    error[IC0121]: connection `crm` names the system `salesfarce`, which has no connector
     --> interconnect.yaml:4:8
      |
    4 |   crm: { system: salesfarce }
      |        ^^
      |
      = help: did you mean `salesforce`?
    ");
    assert!(stderr.contains("4 errors, 0 warnings"), "{stderr}");
}

#[test]
fn a_connection_is_checked_against_its_connector() {
    let text = "connections:\n  crm: { system: salesforce, config: { login_ur: x }, secrets: { client_id: '${env:HOME}' } }\n";
    let (code, stdout, _) = checked(text, &["check"]);
    assert_eq!(code, Some(2));
    for finding in [
        "`config.login_ur`",
        "did you mean `login_url`?",
        "lacks `secrets.client_secret`",
    ] {
        assert!(stdout.contains(finding), "{finding} in {stdout}");
    }
    let text = "connections:\n  tool: { system: rest, config: { base_url: x, paging: curser }, secrets: { token: '${env:HOME}' } }\n";
    let (code, stdout, _) = checked(text, &["check"]);
    assert_eq!(code, Some(2));
    for finding in [
        "`config.paging` of connection `tool` is `curser`",
        "did you mean `cursor`?",
    ] {
        assert!(stdout.contains(finding), "{finding} in {stdout}");
    }
}

#[test]
fn serve_refuses_what_check_refuses() {
    let no_seal_key = "connections:\n  crm: { system: salesforce, auth: oauth2_refresh }\n";
    for (text, finding) in [("listen: nowhere\n", "IC0101"), (no_seal_key, "IC0124")] {
        let (code, _, stderr) = checked(text, &["serve"]);
        assert_eq!(code, Some(2));
        assert!(
            stderr.contains(finding) && !stderr.contains("listening"),
            "{stderr}"
        );
    }
}

#[test]
fn a_refresh_token_needs_a_key_that_seals() {
    let crm = "connections:
  crm:
    system: salesforce
    auth: oauth2_refresh
    config: { login_url: x }
    secrets: { client_id: '${env:HOME}', client_secret: '${env:HOME}', refresh_token: '${env:HOME}' }
";
    let (_, stdout, _) = checked(crm, &["check"]);
    insta::assert_snapshot!(stdout, @r"
    error[IC0124]: connection `crm` signs in by a refresh token, and there is no `seal_key` to keep the next one with: a restart would lock it out
     --> interconnect.yaml:3:5
      |
    3 |     system: salesforce
      |     ^
      |
      = help: make one with `openssl rand -base64 32` and put it into INTERCONNECT_SEAL_KEY, or refer to it: `seal_key: ${file:/run/secrets/seal_key}`
    ");
    let (_, stdout, _) = checked(&format!("seal_key: ['${{env:HOME}}']\n{crm}"), &["check"]);
    insta::assert_snapshot!(stdout, @r"
    error[IC0115]: what ${env:HOME} holds cannot be the `seal_key`: it is not 32 bytes in Base64; make one with: openssl rand -base64 32
     --> interconnect.yaml:1:12
      |
    1 | seal_key: ['${env:HOME}']
      |            ^^^^^^^^^^^^^
      |
      = help: the hub will not start with it
    ");
}

/// Keys and signing secrets have a form, and one that is here without it would be told by nobody before the start.
#[test]
fn what_is_kept_as_a_key_or_a_signing_secret_must_be_one() {
    let folder = Folder::new();
    folder.write("short", "hunter2");
    let text = "admin_key: ${file:short}
partners:
  acme:
    secrets: ['${file:short}']
    endpoints:
      - { name: own, secret: '${file:short}', pull_key: '${file:short}', events: [deal.*], share: everything }
      - { name: fine, url: 'https://a.example', secret: '${file:acme}', auth: { bearer: '${file:short}' }, events: [deal.*], share: everything }
";
    folder.write("interconnect.yaml", text);
    folder.write("acme", &crate::partners::acme_secret());
    let (code, stdout, stderr) = said(&folder.run(&["check"], &[]));
    assert_eq!(code, Some(2), "{stderr}");
    let told: Vec<&str> = stdout.lines().filter(|line| line.contains("[IC")).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    error[IC0115]: what ${file:short} holds cannot be the `admin_key`: an API key has at least 24 characters, this one has 7; make one with `openssl rand -hex 24`
    error[IC0115]: what ${file:short} holds cannot be the `secrets`: a webhook secret begins with `whsec_`, or `whsk_` or `whpk_` for half of a key pair; this one does not
    error[IC0115]: what ${file:short} holds cannot be the `secret`: a webhook secret begins with `whsec_`, or `whsk_` or `whpk_` for half of a key pair; this one does not
    error[IC0115]: what ${file:short} holds cannot be the `pull_key`: an API key has at least 24 characters, this one has 7; make one with `openssl rand -hex 24`
    ");
    assert!(!stdout.contains("hunter2"), "{stdout}");
}

/// Each part is right by itself: what a hub refuses as a whole is told before it is started.
#[test]
fn what_a_hub_would_refuse_at_its_start_is_found() {
    let folder = Folder::new();
    folder.write("acme", &crate::partners::acme_secret());
    folder.write("key", "a-key-of-the-story-that-is-long-enough");
    folder.write("lines", "one\ntwo");
    let endpoint = |more: &str| {
        format!(
            "partners: {{ acme: {{ endpoints: [ {{ name: a, url: 'https://a.example', secret: '${{file:acme}}', \
             events: [deal.won], share: everything, {more} }} ] }} }}\n"
        )
    };
    let mut told = Vec::new();
    for text in [
        "listen: 0.0.0.0:8400\n".to_owned(),
        endpoint("headers: { webhook-id: '${file:key}' }"),
        endpoint("headers: { x-key: '${file:lines}' }"),
        format!(
            "admin_key: '${{file:key}}'\n{}",
            endpoint("pull_key: '${file:key}'")
        ),
        endpoint("shape: { program: '.data, .type' }"),
        endpoint("shape: { program: '{id: $id, what: .type}' }, headers: { x-key: '${env:NOT_HERE}' }"),
    ] {
        folder.write("interconnect.yaml", &text);
        let (code, stdout, stderr) = said(&folder.run(&["check"], &[]));
        let found = stdout.lines().find(|line| line.contains("[IC0164]"));
        let is_error = found.is_some_and(|found| found.starts_with("error"));
        assert_eq!(code, Some(if is_error { 2 } else { 0 }), "{stdout}{stderr}");
        told.push(found.unwrap_or("nothing").to_owned());
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    warning[IC0164]: `admin_key`: it is not set, and 0.0.0.0:8400 can be reached from other machines; set a key, or listen at 127.0.0.1
    error[IC0164]: endpoint `a`: `headers`: `webhook-id` is set by the hub itself
    error[IC0164]: endpoint `a`: `headers`: the value of `x-key` has characters that a header cannot
    error[IC0164]: `pull_key` of `a` is the `admin_key`, by which its partner would have every right: give it one of its own
    error[IC0164]: `shape` of the endpoint `a` makes nothing of any event that it hears of; of a `deal.won`: the shape `.data, .type` gives 2 values on this event, or one that is no object; it must give one object
    nothing
    ");
}

#[test]
fn findings_are_data_too() {
    let folder = Folder::new();
    let config = folder.write("interconnect.yaml", "lisden: 127.0.0.1:0\n");
    let output = interconnect(&["--config", config.to_str().unwrap(), "check", "--json"], &[]);
    let json = json_of(&output);
    let finding = &json["findings"][0];
    assert_eq!(
        (finding["code"].as_str(), finding["line"].as_u64()),
        (Some("IC0005"), Some(1)),
        "{json}"
    );
    assert_eq!(finding["hint"].as_str(), Some("did you mean `listen`?"));
}

#[test]
fn a_file_that_nobody_reads_is_told() {
    let folder = Folder::new();
    let mapping = "apiVersion: interconnect/v1\nkind: Mapping\n";
    for name in ["crm/contact.yaml", "crm/deal.yml", "lead.yaml", "crm/README.md"] {
        folder.write(&format!("mappings/{name}"), mapping);
    }
    folder.write("interconnect.yaml", "mappings: mappings\n");
    let (code, stdout, _) = said(&folder.run(&["check"], &[]));
    let stdout = stdout.replace(&folder.path("mappings").display().to_string(), "mappings");
    assert_eq!(code, Some(0), "{stdout}");
    insta::assert_snapshot!(stdout, @r"
    warning[IC0162]: nobody reads a file of this name
     --> mappings/crm/contact.yaml:1:1
      |
    1 | apiVersion: interconnect/v1
      | ^
      |
      = help: a mapping is <system>/<record>.yaml, where a record is one of partner, lead, deal

    warning[IC0162]: nobody reads a file whose name ends with .yml
     --> mappings/crm/deal.yml:1:1
      |
    1 |
      | ^
      |
      = help: call it .yaml

    warning[IC0162]: nobody reads a file of this name
     --> mappings/lead.yaml:1:1
      |
    1 | apiVersion: interconnect/v1
      | ^
      |
      = help: a mapping is <system>/<record>.yaml, where a record is one of partner, lead, deal
    ");
}

#[test]
fn everything_that_ships_is_sound() {
    let (code, stdout, stderr) = checked("", &["check", "--all"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

#[test]
fn exit_codes_are_documented() {
    let output = interconnect(&["help", "exit-codes"], &[]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout), @r"
    Exit codes:
        0  it went well
        1  it failed: a call, a test of a connector or a mapping, or the demo's systems disagree
        2  the command line, the configuration or a file that it names is wrong; nothing was started
        3  there is something to do; `plan --detailed-exitcode` alone says so
        5  it went well in part: some records are parked, see `interconnect error list`
      130  it was interrupted
    ");
}

#[test]
fn a_customers_own_field_needs_no_copy_of_the_shipped_mapping() {
    let folder = Folder::new();
    let own = |fields: &str| {
        let overlay = format!(
            "apiVersion: interconnect/v1\nkind: Overlay\nremove:\n  fields: [{{ record: next_steps }}]\nadd:\n  fields:\n    - {fields}\n"
        );
        std::fs::create_dir_all(folder.path("mappings/salesforce")).expect("a folder");
        folder.write("mappings/salesforce/deal.yaml", &overlay);
    };
    let config = folder.write(
        "interconnect.yaml",
        &format!("mappings: {}\n", folder.path("mappings").display()),
    );
    let run = |arguments: &[&str]| {
        let config = config.to_str().expect("text");
        let output = interconnect(&[&["--config", config], arguments].concat(), &[]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    own("{ record: next_steps, object: Next_Action__c }");
    let object = folder.write(
        "deal.json",
        r#"{"Name": "Rollout", "StageName": "Prospecting", "CloseDate": "2027-01-31", "Next_Action__c": "Call"}"#,
    );
    let object = object.to_str().expect("text");
    let (code, stdout, stderr) = run(&["try", "salesforce", "deal", "--object", object, "--json"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(
        stdout.contains("Next_Action__c") && stdout.contains("Call") && !stdout.contains("\"NextStep\""),
        "{stdout}"
    );

    own("{ record: next_step, object: Next_Action__c }");
    let (code, stdout, stderr) = run(&["check", "--all"]);
    assert_eq!(code, Some(2), "{stdout}{stderr}");
    assert!(
        stdout.contains("`next_step` is not a field of a deal")
            && stdout.contains("mappings/salesforce/deal.yaml:7:17")
            && stdout.contains("did you mean `next_steps`?"),
        "{stdout}"
    );
}

/// A disk that is full: whoever reads the output later must not take a part of it for all.
#[test]
fn output_that_is_lost_is_a_failure() {
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("it is there")
    };
    let output = std::process::Command::new(BINARY)
        .args(["explain", "IC0101"])
        .stdout(full())
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the output could not be written"), "{told}");
    // A reader that has had enough is no failure.
    let mut child = std::process::Command::new(BINARY)
        .args(["event", "types", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let ended = child.wait().expect("it ends");
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn a_mapping_of_what_its_connector_does_not_have_is_told_and_a_file_that_is_no_text_is_named() {
    let folder = Folder::new();
    let config = folder.write(
        "interconnect.yaml",
        "mappings: ./mappings\nconnections: { hub: { system: hubspot, secrets: { access_token: \"${env:PATH}\" } } }\n\
         syncs: [{ connection: hub, record: deal }]\n",
    );
    let check = || {
        let config = config.to_str().expect("text");
        let output = interconnect(&["--config", config, "check"], &[]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    folder.write(
        "mappings/hubspot/deal.yaml",
        "apiVersion: interconnect/v1\nkind: Mapping\nsystem: hubspod\nobject: dealz\nrecord: deal\nfields:\n\
         - { record: name, object: dealname }\n- { record: stage, object: dealstage }\n",
    );
    let told = check();
    assert!(told.contains("says that it is of the system `hubspod`"), "{told}");
    assert!(
        told.contains("maps `dealz`, and HubSpot CRM has no such object"),
        "{told}"
    );
    assert!(told.contains("did you mean `deals`?"), "{told}");
    std::fs::write(folder.path("mappings/hubspot/deal.yaml"), b"fields: \xff").expect("it is written");
    let told = check();
    assert!(
        told.contains("mappings/hubspot/deal.yaml: stream did not contain valid UTF-8"),
        "{told}"
    );
    assert!(!told.contains("create it"), "{told}");
}
