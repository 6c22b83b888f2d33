//! Bad configuration: every finding at once, exit 2, before a port is bound.

use crate::harness::{Folder, interconnect, json_of};

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
    insta::assert_snapshot!(stdout);
    assert!(stderr.contains("3 errors, 0 warnings"), "{stderr}");
}

#[test]
fn serve_refuses_what_check_refuses() {
    let (code, _, stderr) = checked("listen: nowhere\n", &["serve"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("IC0101") && !stderr.contains("listening"),
        "{stderr}"
    );
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
fn everything_that_ships_is_sound() {
    let (code, stdout, stderr) = checked("", &["check", "--all"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

#[test]
fn exit_codes_are_documented() {
    let output = interconnect(&["help", "exit-codes"], &[]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout));
}
