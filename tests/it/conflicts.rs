//! Two systems changed the same field: a person decides beside a running hub, and makes a rule of it.

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Hub, Sandbox, eventually, expect, json_of, post, said, send};

struct Stage {
    folder: Folder,
    sandbox: Sandbox,
    env: Vec<(&'static str, String)>,
}

impl Stage {
    /// Salesforce and HubSpot, both with one company, whose description a person is to decide about.
    fn new() -> Stage {
        let (folder, sandbox) = (Folder::new(), Sandbox::start(&[]));
        let text = format!(
            "listen: 127.0.0.1:0
ledger: sqlite:hub.db
outbound: {{ allow: [127.0.0.0/8] }}
admin_key: ${{env:ADMIN_KEY}}
connections:
  crm: {{ system: salesforce, auth: oauth2_client_credentials, config: {{ login_url: \"{salesforce}\" }}, secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}, country: US, lag: 0ms }}
  marketing: {{ system: hubspot, auth: bearer, config: {{ base_url: \"{hubspot}\" }}, secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}, country: US, lag: 0ms }}
limits: {{ sweep_every_ms: 200 }}
syncs: [{{ connection: crm, record: partner, every: 300ms }}, {{ connection: marketing, record: partner, every: 300ms }}]
records:
  partner:
    policies:
      # Two departments write it.
      description: manual   # until somebody knows better
",
            salesforce = sandbox.url("salesforce"),
            hubspot = sandbox.url("hubspot"),
        );
        folder.write("interconnect.yaml", &text);
        let told = |pointer: &str| {
            let text = sandbox.said.pointer(pointer).and_then(Json::as_str);
            text.expect("a credential").to_owned()
        };
        let env = vec![
            ("SF_ID", told("/salesforce/client_id")),
            ("SF_SECRET", told("/salesforce/client_secret")),
            ("HS_TOKEN", told("/hubspot/token")),
            ("ADMIN_KEY", format!("ic_live_{}", "k".repeat(40))),
        ];
        let stage = Stage { folder, sandbox, env };
        let url = format!("{}/_sandbox/rows/Account", stage.sandbox.url("salesforce"));
        let row = json!({"Name": "Northwind Traders", "Website": "https://northwind.example", "Description": "Sells tea."});
        post(&url, &json!([row]));
        eventually("the company in HubSpot", || {
            let report = stage.sync();
            expect(!stage.sandbox.rows("hubspot", "companies").is_empty(), report)
        });
        stage
    }

    fn ask(&self, arguments: &[&str]) -> Json {
        let output = self.folder.run(&[arguments, &["--json"]].concat(), &self.env);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {:?}",
            said(&output)
        );
        json_of(&output)
    }

    fn sync(&self) -> Json {
        self.ask(&["sync", "run"])
    }

    /// Reads without writing until there is a conflict: what changed in this second is read in the next, and
    /// what one department wrote must not go out before the other's was read.
    fn read_until_open(&self) -> Json {
        let text = std::fs::read_to_string(self.folder.path("interconnect.yaml")).expect("the configuration");
        self.folder
            .write("reading.yaml", &text.replace("every:", "push: false, every:"));
        eventually("a conflict", || {
            let report = self.ask(&["--config", "reading.yaml", "sync", "run"]);
            let listed = self.ask(&["conflict", "list"]);
            expect(listed["total"] == 1, report)?;
            Ok(listed["data"][0].clone())
        })
    }

    /// Both departments change the description.
    fn dispute(&self, crm: &str, marketing: &str) {
        self.write("salesforce", "Account", &json!({"Description": crm}));
        self.write("hubspot", "companies", &json!({"description": marketing}));
    }

    fn write(&self, system: &str, object: &str, change: &Json) {
        let row = self.row(system, object);
        let id = row["Id"].as_str().or(row["id"].as_str()).expect("an id");
        let url = format!("{}/_sandbox/rows/{object}/{id}", self.sandbox.url(system));
        send("PATCH", &url, Some(change), &[]);
    }

    fn row(&self, system: &str, object: &str) -> Json {
        let named = |row: &&Json| {
            row["Name"] == "Northwind Traders" || row["properties"]["name"] == "Northwind Traders"
        };
        let rows = self.sandbox.rows(system, object);
        rows.iter()
            .find(named)
            .unwrap_or_else(|| panic!("{rows:?}"))
            .clone()
    }

    fn descriptions(&self) -> [Json; 2] {
        [
            self.row("salesforce", "Account")["Description"].clone(),
            self.row("hubspot", "companies")["properties"]["description"].clone(),
        ]
    }
}

#[test]
fn a_person_decides_and_makes_a_rule_of_it() {
    let stage = Stage::new();
    stage.dispute("Sells tea and cakes.", "Sells fine tea.");
    let found = stage.read_until_open();
    stage.sync();
    assert_eq!(stage.descriptions(), ["Sells tea and cakes.", "Sells fine tea."]);
    assert_eq!(
        [&found["field"], &found["base"], &found["rule"]],
        ["description", "Sells tea.", "manual"]
    );
    assert_eq!(stage.ask(&["status"])["open_conflicts"], 1);
    let id = found["id"].as_str().expect("an id").to_owned();
    let shown = said(&stage.folder.run(&["conflict", "show", &id], &stage.env)).1;
    assert!(
        shown.contains("Sells fine tea.") && shown.contains("conflict resolve"),
        "{shown}"
    );

    // Decided beside a hub that is running; it brings the decision to where it is not yet.
    let hub = Hub::start(&stage.folder.path("interconnect.yaml"), &stage.env);
    let counted = stage.ask(&[
        "conflict",
        "resolve",
        "--field",
        "description",
        "--take",
        "marketing",
        "--dry-run",
    ]);
    assert_eq!(counted["data"][0]["state"], "open");
    let resolved = stage.ask(&["conflict", "resolve", &id, "--take", "marketing", "--by", "ada"]);
    assert_eq!(
        [&resolved["data"][0]["state"], &resolved["data"][0]["closed_by"]],
        ["resolved", "ada"]
    );
    eventually("the same description at both", || {
        let both = stage.descriptions();
        expect(
            both == ["Sells fine tea.", "Sells fine tea."],
            format!("{both:?}"),
        )
    });
    // Every value is explained, and the decision is followed to where it went.
    let record = found["record"].as_str().expect("an id");
    let shown = stage.ask(&["record", "show", record]);
    let description = &shown["fields"]["description"];
    assert_eq!(
        [
            &description["said_by"]["external_id"],
            &description["because"]["rule"]
        ],
        ["ada", "by_hand"]
    );
    let journey = eventually("the end of the journey", || {
        let told = stage.ask(&["record", "journey", record])["data"][0].clone();
        let ends: Vec<&Json> = told["systems"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|stop| &stop["state"])
            .collect();
        expect(ends == ["written", "nothing"], &told)?;
        Ok(told)
    });
    let address = format!("{}/v1/records/{record}/journey", hub.url);
    let key = format!("Bearer {}", stage.env[3].1);
    let over_api = send("GET", &address, None, &[("authorization", &key)]);
    assert_eq!(over_api["data"][0]["trace"], journey["trace"]);
    let again = said(&stage.folder.run(
        &["conflict", "resolve", &id, "--take", "crm", "--by", "bob"],
        &stage.env,
    ));
    assert_eq!(again.0, Some(1));
    assert!(again.2.contains("closed already: resolved by ada"), "{}", again.2);
    assert_eq!(hub.running.stop(), Some(0));

    // The rule that would have decided so, as a change of the file as it is.
    let before = std::fs::read_to_string(stage.folder.path("interconnect.yaml")).expect("the configuration");
    let rule = stage.ask(&["conflict", "rule", &id]);
    let diff = rule["diff"].as_str().expect("a diff");
    assert!(
        diff.contains("-      description: manual   # until somebody knows better\n"),
        "{diff}"
    );
    assert!(
        diff.contains("+      description: { owner: marketing }   # until somebody knows better\n"),
        "{diff}"
    );
    stage.ask(&["conflict", "rule", &id, "--write"]);
    let after = std::fs::read_to_string(stage.folder.path("interconnect.yaml")).expect("the configuration");
    assert_eq!(
        after,
        before.replace("description: manual", "description: { owner: marketing }")
    );
    stage.ask(&["check"]);

    // The next one decides itself.
    stage.write("salesforce", "Account", &json!({"Description": "Sells cakes."}));
    let decided = eventually("a decision", || {
        let report = stage.sync();
        let listed = stage.ask(&["conflict", "list", "--state", "decided"]);
        expect(listed["total"] == 1, report)?;
        Ok(listed["data"][0].clone())
    });
    assert_eq!(
        [&decided["rule"], &decided["theirs"], &decided["winner"]],
        ["owner", "Sells cakes.", "ours"]
    );
    assert_eq!(stage.descriptions(), ["Sells fine tea.", "Sells fine tea."]);
    assert_eq!(stage.ask(&["conflict", "list"])["total"], 0);
}
