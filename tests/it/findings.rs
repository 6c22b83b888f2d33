//! Findings for machines, and what their codes mean: every format, through the binary.

use crate::harness::{Folder, json_of, said};

/// A configuration with an error and a warning, in the folder's own place.
fn broken() -> Folder {
    let folder = Folder::new();
    folder.write("acme", &crate::partners::acme_secret());
    folder.write(
        "interconnect.yaml",
        "listen: localhost\npartners:\n  acme:\n    endpoints:\n      - name: a\n        url: https://a.example\n        secret: ${file:acme}\n        share: everything\n",
    );
    folder
}

fn checked(folder: &Folder, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = said(&folder.run(arguments, &[]));
    assert_eq!(code, Some(2), "{stdout}{stderr}");
    assert!(stderr.contains("1 errors, 1 warnings"), "{stderr}");
    stdout
}

#[test]
fn findings_stand_beside_their_lines_in_a_review() {
    insta::assert_snapshot!(checked(&broken(), &["check", "--format", "github"]), @r"
    ::error file=interconnect.yaml,line=1,endLine=1,col=9,endColumn=18,title=IC0101::`localhost` is not an address and a port — write for example 127.0.0.1:8080 or [::]:8080
    ::warning file=interconnect.yaml,line=5,endLine=5,col=9,endColumn=10,title=IC0106::the endpoint hears of no events — add for example `events: [deal.*]`
    ");
}

/// Whoever asks for JSON is told of errors in it, too, whichever command it was.
#[test]
fn errors_are_json_where_that_is_asked_for() {
    let folder = broken();
    let errors = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let (code, stdout, stderr) = said(&folder.run(arguments, &[]));
        assert_eq!((code, &*stdout), (Some(2), ""), "{stderr}");
        let lines = stderr.lines().map(|line| serde_json::from_str(line).expect(line));
        lines.collect()
    };
    let told = errors(&["sync", "run", "--json"]);
    assert_eq!(told[0]["findings"][0]["code"], "IC0101", "{told:#?}");
    assert_eq!(
        told[1]["error"],
        "1 errors in the configuration; nothing was started"
    );
    assert_eq!(told.len(), 2);
    // So is what the command line itself refuses, and what is said beside the data.
    let told = errors(&["sync", "rnu", "--json"]);
    let text = told[0]["error"].as_str().unwrap();
    assert!(
        text.starts_with("unrecognized subcommand 'rnu'") && text.contains("similar"),
        "{text}"
    );
    let (_, _, beside) = said(&folder.run(&["check", "--json"], &[]));
    insta::assert_snapshot!(beside.trim_end(), @r#"{"note":"1 errors, 1 warnings","schema":1}"#);
    let told = errors(&["check", "--config", "nowhere.yaml", "--json"]);
    insta::assert_snapshot!(told[0], @r#"{"error":"nowhere.yaml cannot be read: No such file or directory (os error 2); name another file with --config","schema":1}"#);
}

#[test]
fn findings_are_taken_by_code_scanning() {
    let text = checked(&broken(), &["check", "--format", "sarif"]);
    let sarif: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    for result in run["results"].as_array().unwrap() {
        let rule =
            &run["tool"]["driver"]["rules"][usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(
            rule["help"]["text"].as_str().unwrap().contains("Right:"),
            "{rule}"
        );
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&run["results"]).unwrap(), @r#"
    [
      {
        "level": "error",
        "locations": [
          {
            "physicalLocation": {
              "artifactLocation": {
                "uri": "interconnect.yaml"
              },
              "region": {
                "endColumn": 18,
                "endLine": 1,
                "startColumn": 9,
                "startLine": 1
              }
            }
          }
        ],
        "message": {
          "text": "`localhost` is not an address and a port\nwrite for example 127.0.0.1:8080 or [::]:8080"
        },
        "ruleId": "IC0101",
        "ruleIndex": 0
      },
      {
        "level": "warning",
        "locations": [
          {
            "physicalLocation": {
              "artifactLocation": {
                "uri": "interconnect.yaml"
              },
              "region": {
                "endColumn": 10,
                "endLine": 5,
                "startColumn": 9,
                "startLine": 5
              }
            }
          }
        ],
        "message": {
          "text": "the endpoint hears of no events\nadd for example `events: [deal.*]`"
        },
        "ruleId": "IC0106",
        "ruleIndex": 1
      }
    ]
    "#);
}

#[test]
fn json_is_json_however_it_is_asked_for() {
    let folder = broken();
    let asked = checked(&folder, &["check", "--format", "json"]);
    assert_eq!(asked, checked(&folder, &["check", "--json"]));
    insta::assert_snapshot!(asked, @r#"
    {
      "errors": 1,
      "findings": [
        {
          "code": "IC0101",
          "column": 9,
          "file": "interconnect.yaml",
          "hint": "write for example 127.0.0.1:8080 or [::]:8080",
          "length": 9,
          "line": 1,
          "message": "`localhost` is not an address and a port",
          "offset": 8,
          "severity": "error"
        },
        {
          "code": "IC0106",
          "column": 9,
          "file": "interconnect.yaml",
          "hint": "add for example `events: [deal.*]`",
          "length": 1,
          "line": 5,
          "message": "the endpoint hears of no events",
          "offset": 59,
          "severity": "warning"
        }
      ],
      "schema": 1,
      "warnings": 1
    }
    "#);
}

#[test]
fn carets_are_the_default() {
    let folder = broken();
    let shown = checked(&folder, &["check"]);
    assert!(
        shown.contains("1 | listen: localhost\n  |         ^^^^^^^^^"),
        "{shown}"
    );
    assert_eq!(shown, checked(&folder, &["check", "--format", "text"]));
}

#[test]
fn nothing_found_is_no_output_but_where_a_document_is_asked_for() {
    let folder = Folder::new();
    folder.write("interconnect.yaml", "");
    for (format, empty) in [
        ("text", true),
        ("github", true),
        ("json", false),
        ("sarif", false),
    ] {
        let (code, stdout, _) = said(&folder.run(&["check", "--format", format], &[]));
        assert_eq!((code, stdout.is_empty()), (Some(0), empty), "{format}: {stdout}");
    }
}

#[test]
fn a_code_is_explained() {
    let folder = Folder::new();
    let (code, stdout, _) = said(&folder.run(&["explain", "ic0103"], &[]));
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(stdout, @r"
    IC0103: a secret stands in the file

    Files are copied, committed and shown; a secret in one of them is a secret no more.
    Keep it elsewhere and refer to it, and replace the one that was written down.

    Wrong:

        admin_key: hunter2

    Right:

        admin_key: ${env:INTERCONNECT_ADMIN_KEY}
    ");
    let json = json_of(&folder.run(&["explain", "IC0103", "--json"], &[]));
    assert_eq!(
        (json["code"].as_str(), json["schema"].as_u64()),
        (Some("IC0103"), Some(1))
    );
    let list = json_of(&folder.run(&["explain", "--list", "--json"], &[]));
    assert!(list["data"].as_array().unwrap().contains(&serde_json::json!({
        "code": json["code"], "title": json["title"], "text": json["text"],
    })));
}

#[test]
fn a_code_that_there_is_not_is_a_mistake_of_the_command_line() {
    let folder = Folder::new();
    let (code, stdout, stderr) = said(&folder.run(&["explain", "IC0250"], &[]));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(
        stderr.contains("`IC0250` is not a code; did you mean `IC02"),
        "{stderr}"
    );
    let (code, _, stderr) = said(&folder.run(&["explain", "bogus"], &[]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("interconnect explain --list"), "{stderr}");
}
