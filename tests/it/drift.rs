//! A field disappears at a system: the others flow, somebody is told, and it comes back.

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Sandbox, eventually, expect, interconnect, json_of, post, send};

struct Stage {
    _folder: Folder,
    sandbox: Sandbox,
    config: String,
    env: Vec<(&'static str, String)>,
}

impl Stage {
    fn new() -> Stage {
        let (folder, sandbox) = (Folder::new(), Sandbox::start(&[]));
        let text = format!(
            "ledger: sqlite:{ledger}
outbound: {{ allow: [127.0.0.0/8] }}
connections:
  crm: {{ system: salesforce, auth: oauth2_client_credentials, config: {{ login_url: \"{salesforce}\" }}, secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}, country: US, lag: 0ms }}
  marketing: {{ system: hubspot, auth: bearer, config: {{ base_url: \"{hubspot}\" }}, secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}, country: US, lag: 0ms }}
syncs: [{{ connection: crm, record: partner }}, {{ connection: marketing, record: partner }}]
",
            ledger = folder.path("hub.db").display(),
            salesforce = sandbox.url("salesforce"),
            hubspot = sandbox.url("hubspot"),
        );
        let config = folder.write("interconnect.yaml", &text).display().to_string();
        let said = |pointer: &str| {
            sandbox
                .said
                .pointer(pointer)
                .and_then(Json::as_str)
                .expect("a credential")
                .to_owned()
        };
        let env = vec![
            ("SF_ID", said("/salesforce/client_id")),
            ("SF_SECRET", said("/salesforce/client_secret")),
            ("HS_TOKEN", said("/hubspot/token")),
        ];
        Stage {
            _folder: folder,
            sandbox,
            config,
            env,
        }
    }

    fn sync(&self) -> Json {
        let output = interconnect(&["--config", &self.config, "sync", "run", "--json"], &self.env);
        let report = json_of(&output);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{report} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        report
    }

    /// Brings the systems into agreement until something holds: what was changed in this second is read in the next.
    fn sync_until(&self, what: &str, holds: impl Fn() -> bool) {
        eventually(what, || {
            let report = self.sync();
            expect(holds(), report)
        });
    }

    fn missing(&self) -> Json {
        json_of(&interconnect(
            &["--config", &self.config, "status", "--json"],
            &self.env,
        ))["missing_fields"]
            .clone()
    }

    fn account(&self) -> Json {
        self.sandbox.rows("salesforce", "Account").remove(0)
    }

    fn company(&self) -> Json {
        self.sandbox
            .rows("hubspot", "companies")
            .pop()
            .unwrap_or_default()
    }

    fn edit(&self, system: &str, object: &str, row: &Json, change: &Json) {
        let id = row["Id"].as_str().or(row["id"].as_str()).expect("an id");
        let url = format!("{}/_sandbox/rows/{object}/{id}", self.sandbox.url(system));
        send("PATCH", &url, Some(change), &[]);
    }

    /// Hides a field of Salesforce (`PUT`) or shows it again (`DELETE`).
    fn hide(&self, method: &str, field: &str) {
        let url = format!(
            "{}/_sandbox/hidden/Account/{field}",
            self.sandbox.url("salesforce")
        );
        send(method, &url, None, &[]);
    }
}

#[test]
fn a_missing_field_is_left_out_and_everything_else_flows() {
    let stage = Stage::new();
    let account =
        json!({"Name": "Northwind", "Website": "https://northwind.example", "Phone": "+12125550100"});
    post(
        &format!("{}/_sandbox/rows/Account", stage.sandbox.url("salesforce")),
        &account,
    );
    stage.sync_until("the phone in HubSpot", || {
        stage.company()["properties"]["phone"] == "+12125550100"
    });
    assert_eq!(stage.missing(), json!([]));

    // An administrator hides the field. A change of another field still arrives, and nothing is wiped.
    stage.hide("PUT", "Phone");
    stage.edit(
        "salesforce",
        "Account",
        &stage.account(),
        &json!({"Name": "Northwind Traders"}),
    );
    stage.sync_until("the name in HubSpot", || {
        stage.company()["properties"]["name"] == "Northwind Traders"
    });
    let company = stage.company();
    assert_eq!(company["properties"]["phone"], "+12125550100");
    let missing = stage.missing();
    assert_eq!(
        missing[0]["field"].as_str().map(str::to_lowercase).as_deref(),
        Some("phone"),
        "{missing}"
    );
    assert!(
        missing[0]["reason"]
            .as_str()
            .expect("a text")
            .contains("gone or hidden"),
        "{missing}"
    );

    // What the other side says of it waits; what it says of other fields is written.
    stage.edit(
        "hubspot",
        "companies",
        &company,
        &json!({"phone": "+12125550199", "city": "New York"}),
    );
    stage.sync_until("the city in Salesforce", || {
        stage.account()["BillingCity"] == "New York"
    });
    assert_eq!(stage.account()["Phone"], "+12125550100");

    // It is back: what was said of it meanwhile is written, without anybody touching the account.
    stage.hide("DELETE", "Phone");
    stage.sync();
    assert_eq!(stage.missing(), json!([]));
    stage.sync_until("the phone in Salesforce", || {
        stage.account()["Phone"] == "+12125550199"
    });
    assert_eq!(stage.company()["properties"]["phone"], "+12125550199");
}

#[test]
fn a_check_against_the_live_systems_tells_what_no_file_can() {
    let stage = Stage::new();
    let check = || {
        let output = interconnect(
            &["--config", &stage.config, "check", "--live", "--json"],
            &stage.env,
        );
        (output.status.code(), json_of(&output))
    };
    let (code, told) = check();
    assert_eq!((code, &told["errors"]), (Some(0), &json!(0)), "{told}");
    stage.hide("PUT", "Phone");
    let (code, told) = check();
    let finding = &told["findings"].as_array().expect("findings")[0];
    assert_eq!(
        (code, finding["code"].as_str()),
        (Some(2), Some("IC0330")),
        "{told}"
    );
    assert!(
        finding["message"]
            .as_str()
            .expect("a text")
            .contains("`Account` has no field `Phone`")
            && finding["file"]
                .as_str()
                .expect("a file")
                .ends_with("mappings/salesforce/partner.yaml"),
        "{told}"
    );
}
