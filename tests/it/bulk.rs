//! Three thousand accounts go from one organisation to another by a handful of calls.

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Sandbox, get, interconnect, json_of, post};

const ACCOUNTS: usize = 3_000;

/// An organisation with accounts, and how a hub is told of it.
struct Stage {
    _folder: Folder,
    source: Sandbox,
    config: String,
    env: Vec<(&'static str, String)>,
}

impl Stage {
    fn new() -> Stage {
        let (folder, source) = (Folder::new(), Sandbox::start(&[]));
        let rows: Vec<Json> = (0..ACCOUNTS).map(account).collect();
        post(
            &format!("{}/_sandbox/rows/Account", source.url("salesforce")),
            &json!(rows),
        );
        let text = format!(
            "ledger: sqlite:{ledger}
outbound: {{ allow: [127.0.0.0/8] }}
connections:
  crm: {{ system: salesforce, auth: oauth2_client_credentials, config: {{ login_url: \"{source}\", bulk_read_over: 2000 }}, secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}, country: US, lag: 0ms }}
syncs: [{{ connection: crm, record: partner }}]
",
            ledger = folder.path("hub.db").display(),
            source = source.url("salesforce"),
        );
        let config = folder.write("interconnect.yaml", &text).display().to_string();
        let said = |name: &str| {
            source.said["salesforce"][name]
                .as_str()
                .expect("a credential")
                .to_owned()
        };
        let env = vec![("SF_ID", said("client_id")), ("SF_SECRET", said("client_secret"))];
        Stage {
            _folder: folder,
            source,
            config,
            env,
        }
    }

    fn run(&self, arguments: &[&str]) -> Json {
        let arguments: Vec<&str> = ["--config", &self.config]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let output = interconnect(&arguments, &self.env);
        let report = json_of(&output);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{report} {said}");
        report
    }
}

fn account(number: usize) -> Json {
    json!({
        "Name": format!("Partner \"{number}\", Ltd"), "Website": format!("https://p{number}.example"),
        "Description": format!("one\ntwo, {number}"), "Phone": "+12125550100",
    })
}

/// How often routes with this in them were called.
fn called(sandbox: &Sandbox, part: &str) -> u64 {
    let calls = get(&format!("{}/_sandbox/calls", sandbox.url("salesforce")));
    let routes = calls["by_route"].as_array().expect("a list of routes");
    let of = routes
        .iter()
        .filter(|route| route["route"].as_str().is_some_and(|name| name.contains(part)));
    of.map(|route| route["count"].as_u64().expect("a count")).sum()
}

#[test]
fn what_is_much_is_read_by_one_job() {
    let stage = Stage::new();
    let report = stage.run(&["sync", "run", "--json"]);
    // What is as young as this is read once more by windows, and found to be the same.
    assert_eq!(
        (&report["total"]["created"], &report["total"]["unchanged"]),
        (&json!(ACCOUNTS), &json!(ACCOUNTS)),
        "{report}"
    );
    assert_eq!(called(&stage.source, "/jobs/query/{id}/results"), 1);
    // Counting, making, three questions, the rows, the kinds of fields, removing; and windows for what came later.
    let (reads, writes) = stage.source.calls("salesforce");
    assert!(
        reads <= 20 && writes == 0,
        "{reads} calls that read, {writes} that write"
    );
}
