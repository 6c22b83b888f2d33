//! Three thousand accounts go from one organisation to another by a handful of calls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Hub, Sandbox, eventually, expect, get, interconnect, json_of, post, said};

const ACCOUNTS: usize = 3_000;
/// More records than twenty rounds write, two hundred calls each, where a call takes one.
const ONE_BY_ONE: usize = 4_050;

/// Two organisations, the first with accounts, and how a hub is told of them.
struct Stage {
    _folder: Folder,
    source: Sandbox,
    target: Sandbox,
    config: PathBuf,
    env: Vec<(&'static str, String)>,
}

impl Stage {
    fn new() -> Stage {
        let (folder, source) = (Folder::new(), Sandbox::start(&[]));
        let target = Sandbox::start(&["--seed", "2"]);
        let rows: Vec<Json> = (0..ACCOUNTS).map(account).collect();
        post(
            &format!("{}/_sandbox/rows/Account", source.url("salesforce")),
            &json!(rows),
        );
        let connection = |sandbox: &Sandbox| {
            format!(
                "{{ system: salesforce, auth: oauth2_client_credentials, config: {{ login_url: \"{}\", bulk_read_over: 2000, bulk_write_over: 1000 }}, secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}, country: US, lag: 0ms }}",
                sandbox.url("salesforce")
            )
        };
        let text = format!(
            "listen: 127.0.0.1:0
ledger: sqlite:{ledger}
outbound: {{ allow: [127.0.0.0/8] }}
limits: {{ sweep_every_ms: 200 }}
connections:
  crm: {source}
  copy: {target}
syncs: [{{ connection: crm, record: partner }}, {{ connection: copy, record: partner }}]
",
            ledger = folder.path("hub.db").display(),
            source = connection(&source),
            target = connection(&target),
        );
        let config = folder.write("interconnect.yaml", &text);
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
            target,
            config,
            env,
        }
    }

    fn run(&self, arguments: &[&str]) -> Json {
        let config = self.config.display().to_string();
        let arguments: Vec<&str> = ["--config", &config].iter().chain(arguments).copied().collect();
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

/// How often a route was called, by the end of its name.
fn called(sandbox: &Sandbox, method: &str, end: &str) -> u64 {
    let calls = get(&format!("{}/_sandbox/calls", sandbox.url("salesforce")));
    let routes = calls["by_route"].as_array().expect("a list of routes");
    let of = routes.iter().filter(|route| {
        route["method"] == method && route["route"].as_str().is_some_and(|name| name.ends_with(end))
    });
    of.map(|route| route["count"].as_u64().expect("a count")).sum()
}

#[test]
fn what_is_much_is_read_by_one_job_and_written_by_another() {
    let stage = Stage::new();
    let report = stage.run(&["sync", "run", "--json"]);
    let total = &report["total"];
    assert_eq!(
        (&total["created"], &total["written"]),
        (&json!(ACCOUNTS), &json!(ACCOUNTS)),
        "{report}"
    );
    assert_eq!(names(&stage.target), names(&stage.source));
    assert_eq!(
        called(&stage.source, "GET", "/jobs/query/{id}/results"),
        1,
        "all rows at once"
    );
    // Counting, making, questions, rows, the kinds of fields, removing; and windows for what came later.
    let (reads, writes) = stage.source.calls("salesforce");
    assert!(
        reads <= 30 && writes == 0,
        "{reads} calls that read, {writes} that write"
    );
    // Made, given, handed over, removed.
    let (reads, writes) = stage.target.calls("salesforce");
    assert!(
        reads <= 40 && writes == 4,
        "{reads} calls that read, {writes} that write"
    );
}

/// What is known of all objects, by the moments at which it was written down.
fn known(stage: &Stage) -> BTreeMap<String, Json> {
    let listed = stage.run(&["record", "list", "partner", "--limit", "3", "--json"]);
    let ids = listed["data"].as_array().expect("records").iter();
    let ids: Vec<&str> = ids.map(|record| record["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), 3, "{listed}");
    let links = |id: &str| stage.run(&["record", "show", id, "--json"])["links"].take();
    ids.into_iter().map(|id| (id.to_owned(), links(id))).collect()
}

#[test]
fn what_a_job_reads_looks_as_it_did_in_windows() {
    let stage = Stage::new();
    stage.run(&["sync", "run", "--json"]);
    // Who has written all of it has read back the most of it in windows.
    stage.run(&["sync", "run", "--json"]);
    let before = known(&stage);
    let report = stage.run(&["sync", "run", "--full", "--json"]);
    let total = &report["total"];
    // By a job, and by windows that begin before it: all of it was made just now.
    assert_eq!(total["unchanged"], json!(4 * ACCOUNTS), "{report}");
    assert_eq!(called(&stage.target, "GET", "/jobs/query/{id}/results"), 1);
    assert_eq!(known(&stage), before, "nothing is written down anew");
}

/// The names of accounts; no two may have the same.
fn names(sandbox: &Sandbox) -> BTreeSet<String> {
    let rows = sandbox.rows("salesforce", "Account");
    let names: BTreeSet<String> = rows.iter().map(|row| row["Name"].to_string()).collect();
    assert_eq!(names.len(), rows.len(), "something is there twice");
    names
}

#[test]
fn what_is_much_is_written_by_one_job_that_survives_its_hub() {
    let stage = Stage::new();
    let hub = Hub::start(&stage.config, &stage.env);
    eventually("a job handed over", || {
        let handed_over = called(&stage.target, "PATCH", "/jobs/ingest/{id}");
        expect(handed_over == 1, handed_over)
    });
    hub.running.kill();

    let hub = Hub::start(&stage.config, &stage.env);
    // What the job has written is read and met by our key, and what it has not is written when the dead hub's lease has
    // run out.
    eventually("every account linked on both sides", || {
        let links = stage.run(&["status", "--json"])["rows"]["links"].clone();
        expect(links == json!(2 * ACCOUNTS), links)
    });
    eventually("nothing owed any more", || {
        let status = stage.run(&["status", "--json"]);
        expect(status["pushes"] == json!([]), status)
    });
    assert_eq!(hub.running.stop(), Some(0));

    assert_eq!(names(&stage.target), names(&stage.source));
    let copied = stage.target.rows("salesforce", "Account");
    let first = copied
        .iter()
        .find(|row| row["Website"] == "https://p7.example")
        .expect("the eighth");
    assert_eq!(
        (&first["Name"], &first["Description"]),
        (&json!("Partner \"7\", Ltd"), &json!("one\ntwo, 7"))
    );
    // One job for all, although two hubs had to do with it: made, given, handed over, and perhaps removed.
    let (reads, writes) = stage.target.calls("salesforce");
    assert_eq!(called(&stage.target, "PUT", "/batches"), 1);
    assert!(writes <= 4, "{writes} calls that write");
    assert_eq!(stage.source.calls("salesforce").1, 0, "nothing is written back");
    assert!(reads < 150, "{reads} calls that read");
}

/// HubSpot as a system that takes one record a call, as often as anybody likes.
fn one_by_one(folder: &Folder) {
    let (code, stdout, stderr) = said(&folder.run(&["new", "copy", "hubspot"], &[]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let name = "connectors/hubspot/connector.yaml";
    let text = std::fs::read_to_string(folder.path(name)).expect("the copy");
    let (before, rest) = text.split_once("\nlimits:\n").expect("its limits");
    let (_, behind) = rest.split_once("\nerrors:\n").expect("its errors");
    let limits = "  - { name: search, for: search, kind: concurrency, limit: 20 }";
    let text = format!("{before}\nlimits:\n{limits}\n\nerrors:\n{behind}");
    let one = text.replacen(
        "      batch: 100\n      # One bad",
        "      batch: 1\n      # One bad",
        1,
    );
    assert_ne!(one, text);
    folder.write(name, &one);
}

#[test]
fn however_much_is_written_one_by_one_it_is_written_in_one_run() {
    let (folder, sandbox) = (Folder::new(), Sandbox::start(&["--clock-behind-s", "7200"]));
    one_by_one(&folder);
    let row = |number: usize| json!({"Name": format!("Partner {number}"), "Website": format!("https://p{number}.example")});
    let rows: Vec<Json> = (0..ONE_BY_ONE).map(row).collect();
    let url = format!("{}/_sandbox/rows/Account", sandbox.url("salesforce"));
    rows.chunks(1_000).for_each(|rows| drop(post(&url, &json!(rows))));
    let text = format!(
        "ledger: sqlite:hub.db
connectors: connectors
mappings: mappings
outbound: {{ allow: [127.0.0.0/8] }}
connections:
  crm: {{ system: salesforce, auth: oauth2_client_credentials, config: {{ login_url: \"{}\" }}, secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}, country: US, lag: 0ms }}
  marketing: {{ system: hubspot, auth: bearer, config: {{ base_url: \"{}\" }}, secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}, country: US, lag: 0ms }}
syncs: [{{ connection: crm, record: partner }}, {{ connection: marketing, record: partner }}]
",
        sandbox.url("salesforce"),
        sandbox.url("hubspot"),
    );
    folder.write("interconnect.yaml", &text);
    let secret = |place: &str| {
        sandbox
            .said
            .pointer(place)
            .and_then(Json::as_str)
            .expect("a secret")
            .to_owned()
    };
    let env = [
        ("SF_ID", secret("/salesforce/client_id")),
        ("SF_SECRET", secret("/salesforce/client_secret")),
        ("HS_TOKEN", secret("/hubspot/token")),
    ];
    let output = folder.run(&["sync", "run", "--json"], &env);
    let report = json_of(&output);
    assert_eq!(output.status.code(), Some(0), "{report} {}", said(&output).2);
    assert_eq!(
        (&report["total"]["written"], &report["settled"]),
        (&json!(ONE_BY_ONE), &json!(true)),
        "{report}"
    );
    assert_eq!(sandbox.rows("hubspot", "companies").len(), ONE_BY_ONE);
}
