//! A new connector passes every check as it stands; what an engineer then breaks gets its caret.

use crate::harness::{Folder, json_of, said};

fn scaffolded(arguments: &[&str]) -> Folder {
    let folder = Folder::new();
    let (code, stdout, stderr) =
        said(&folder.run(&[&["new", "connector", "acme-crm"], arguments].concat(), &[]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    folder
}

/// What `check` says of our own two folders alone.
fn check(folder: &Folder) -> (Option<i32>, String) {
    let (code, stdout, _) = said(&folder.run(&["check", "--all", "--strict"], &[]));
    (code, stdout)
}

#[test]
fn a_new_connector_passes_as_it_stands() {
    for (arguments, samples) in [(&[][..], 6), (&["--like", "webhook"][..], 7)] {
        let folder = scaffolded(arguments);
        let (code, stdout) = check(&folder);
        assert_eq!(code, Some(0), "{stdout}");
        let (code, stdout, stderr) = said(&folder.run(&["test", "acme-crm"], &[]));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
        let stdout = stdout.replace(&format!("{samples} samples"), "N samples");
        insta::allow_duplicates! {
            insta::assert_snapshot!(stdout, @r"
            file                                  ran                                outcome
            ./connectors/acme-crm/connector.yaml  N samples                          ok
            ./mappings/acme-crm/partner.yaml      1 examples, 500 generated records  ok
            ./mappings/acme-crm/lead.yaml         2 examples, 500 generated records  ok
            ./mappings/acme-crm/deal.yaml         1 examples, 500 generated records  ok
            ");
        }
    }
}

#[test]
fn the_other_way_that_a_new_connector_shows_is_sound() {
    let folder = scaffolded(&[]);
    let manifest = std::fs::read_to_string(folder.path("connectors/acme-crm/connector.yaml")).unwrap();
    let (before, shown) = manifest.split_once("  # single:\n").expect("it is shown");
    let (shown, after) = shown.split_once("\n\n").expect("it ends");
    let taken: Vec<&str> = shown
        .lines()
        .map(|line| line.strip_prefix("  # ").expect("it is marked"))
        .collect();
    let taken = taken.join("\n  ");
    let after = after.replace("extends: record", "extends: single");
    folder.write(
        "connectors/acme-crm/connector.yaml",
        &format!("{before}  single:\n  {taken}\n\n{after}"),
    );
    for of_the_first in [
        "changes.json",
        "changes-request.json",
        "update.json",
        "upsert.json",
    ] {
        std::fs::remove_file(folder.path("connectors/acme-crm/samples").join(of_the_first)).unwrap();
    }
    let (code, stdout, _) = said(&folder.run(&["check", "--all"], &[]));
    assert_eq!(code, Some(0), "{stdout}");
}

#[test]
fn a_broken_edit_gets_its_caret() {
    let folder = scaffolded(&[]);
    let edit = |path: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(folder.path(path)).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        folder.write(path, &text.replacen(from, to, 1));
    };
    edit(
        "mappings/acme-crm/deal.yaml",
        "record: expected_close_date",
        "record: expected_close",
    );
    let (code, stdout) = check(&folder);
    assert_eq!(code, Some(2));
    insta::assert_snapshot!(stdout, @r"
    error[IC0301]: `expected_close` is not a field of a deal
      --> ./mappings/acme-crm/deal.yaml:26:15
       |
    26 |   - { record: expected_close, object: close_date }
       |               ^^^^^^^^^^^^^^
       |
       = help: did you mean `expected_close_date`?
    ");
    let (code, stdout, stderr) = said(&folder.run(&["test", "acme-crm"], &[]));
    assert_eq!(code, Some(1), "{stdout}");
    assert!(
        stdout.contains("deal.yaml") && stdout.contains("1 errors"),
        "{stdout}"
    );
    assert!(
        stderr.contains("^^^^^^^^^^^^^^") && stderr.contains("expected_close_date"),
        "{stderr}"
    );

    edit(
        "mappings/acme-crm/deal.yaml",
        "record: expected_close,",
        "record: expected_close_date,",
    );
    edit(
        "connectors/acme-crm/samples/upsert.json",
        "\"invalid\"",
        "\"unknown\"",
    );
    let json = json_of(&folder.run(&["test", "acme-crm", "--json"], &[]));
    assert_eq!(json["errors"], 1, "{json}");
    let finding = &json["data"][0]["findings"][0];
    assert_eq!(finding["code"], "IC0222", "{json}");
    assert_eq!(
        finding["file"], "./connectors/acme-crm/samples/upsert.json",
        "{json}"
    );
}

#[test]
fn an_expression_is_run_on_the_connectors_samples() {
    let folder = scaffolded(&[]);
    let text = std::fs::read_to_string(folder.path("mappings/acme-crm/deal.yaml")).unwrap();
    let with = |expression: &str| {
        let line = format!(
            "  - {{ record: description, object: [title, stage], jq: '{expression}', direction: in }}\n"
        );
        let text = text.replacen("fields:\n", &format!("fields:\n{line}"), 1);
        let text = text.replace(
            "      partner: c-1",
            "      partner: c-1\n      description: Rollout (offered)",
        );
        folder.write("mappings/acme-crm/deal.yaml", &text);
    };
    with(r#""\(.title) (\(.stage))""#);
    assert_eq!(check(&folder), (Some(0), String::new()));
    // Right for the mapping's own example, and not for what the connector's sample says the system sends.
    with(
        r#"if .stage == "offered" then "\(.title) (\(.stage))" else error("a stage that nobody knows") end"#,
    );
    let (code, stdout) = check(&folder);
    assert_eq!(code, Some(2), "{stdout}");
    assert!(
        stdout.contains("IC0324")
            && stdout.contains("./connectors/acme-crm/samples/changes.json")
            && stdout.contains("a stage that nobody knows"),
        "{stdout}"
    );
}

#[test]
fn nothing_is_overwritten() {
    let folder = scaffolded(&[]);
    folder.write("mappings/acme-crm/deal.yaml", "mine");
    let (code, _, stderr) = said(&folder.run(&["new", "connector", "acme-crm"], &[]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("is there already"), "{stderr}");
    assert_eq!(
        std::fs::read_to_string(folder.path("mappings/acme-crm/deal.yaml")).unwrap(),
        "mine"
    );
    for (name, reason) in [
        ("Acme", "not a name"),
        ("../acme", "not a name"),
        ("hubspot", "ships already"),
    ] {
        let (code, _, stderr) = said(&folder.run(&["new", "connector", name], &[]));
        assert_eq!(code, Some(2), "{name}");
        assert!(stderr.contains(reason), "{stderr}");
    }
}

#[test]
fn a_configuration_that_is_there_stays_and_is_named() {
    let folder = Folder::new();
    folder.write("here/interconnect.yaml", "listen: 127.0.0.1:0\n");
    let (code, stdout, stderr) = said(&folder.run(&["new", "connector", "acme", "--folder", "here"], &[]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        !stdout.contains("interconnect.yaml") && stderr.contains("add `connectors: ./connectors`"),
        "{stdout}{stderr}"
    );
    let config = std::fs::read_to_string(folder.path("here/interconnect.yaml")).unwrap();
    assert_eq!(config, "listen: 127.0.0.1:0\n");
}

#[test]
fn everything_that_ships_passes_its_own_tests() {
    let folder = Folder::new();
    folder.write("interconnect.yaml", "");
    let (code, stdout, stderr) = said(&folder.run(&["test"], &[]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    for line in [
        "connectors/salesforce/connector.yaml",
        "mappings/tryton/lead.yaml",
    ] {
        assert!(stdout.contains(line), "{stdout}");
    }
    let (code, _, stderr) = said(&folder.run(&["test", "hubspott"], &[]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("did you mean `hubspot`?"), "{stderr}");
}

/// Everything that a configuration names lies beside it, wherever the command runs.
#[test]
fn paths_lead_from_the_folder_of_the_configuration() {
    let folder = Folder::new();
    let config = ["--config", "here/interconnect.yaml"];
    let with = |arguments: &[&str]| folder.run(&[arguments, &config].concat(), &[]);
    let (code, stdout, stderr) = said(&with(&["new", "connector", "acme"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("here/connectors/acme/connector.yaml"), "{stdout}");
    assert!(
        stderr.contains("interconnect check --all --config here/interconnect.yaml"),
        "{stderr}"
    );
    let (code, stdout, stderr) = said(&with(&["check", "--all", "--strict"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (code, stdout, stderr) = said(&with(&["test", "acme"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("here/mappings/acme/deal.yaml"), "{stdout}");
    let (code, stdout, _) = said(&with(&["schema", "--write"]));
    assert_eq!(code, Some(0));
    assert!(stdout.contains("here/schemas/mapping.schema.json"), "{stdout}");
    // What is named on the command line lies where the command runs.
    let (code, stdout, _) = said(&with(&["schema", "config", "--write", "own"]));
    assert_eq!((code, stdout.as_str()), (Some(0), "own/config.schema.json\n"));

    // From another place, by its whole path: the same connector, the ledger and a secret beside the configuration.
    folder.write("here/keys/admin", "a-key-of-the-story-that-is-long-enough\n");
    let text = "connectors: ./connectors\nmappings: mappings\nledger: sqlite:data.db\nadmin_key: ${file:keys/admin}\n";
    let path = folder.write("here/interconnect.yaml", text);
    let path = path.to_str().expect("a path of text");
    let elsewhere = Folder::new();
    let (code, stdout, stderr) = said(&elsewhere.run(&["check", "--all", "--strict", "--config", path], &[]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (code, _, stderr) = said(&elsewhere.run(&["status", "--config", path], &[]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(folder.path("here/data.db").exists() && !elsewhere.path("data.db").exists());
}

#[test]
fn what_ships_can_be_had_as_files_of_ones_own() {
    let folder = Folder::new();
    let run = |arguments: &[&str]| said(&folder.run(arguments, &[]));
    let (code, stdout, stderr) = run(&["new", "configuration"]);
    assert_eq!((code, stdout.trim()), (Some(0), "interconnect.yaml"), "{stderr}");
    let written = std::fs::read_to_string(folder.path("interconnect.yaml")).unwrap();
    assert!(written.contains("partners: {}"), "{written}");
    let (code, _, stderr) = run(&["new", "configuration"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("is there already"), "{stderr}");

    let (code, _, stderr) = run(&["new", "copy", "hubspod"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("did you mean `hubspot`?"), "{stderr}");
    let (code, stdout, stderr) = run(&["new", "copy", "hubspot"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("mappings/hubspot/deal.yaml"), "{stdout}");
    assert!(stderr.contains("connectors: ./connectors"), "{stderr}");
    let used = format!("connectors: ./connectors\nmappings: ./mappings\n{written}");
    folder.write("interconnect.yaml", &used);
    let (code, stdout, stderr) = run(&["test", "hubspot"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("./mappings/hubspot/deal.yaml"), "{stdout}");
}
