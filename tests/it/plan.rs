//! What a plan tells is what the next run does, and telling it changes nothing anywhere.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Sandbox, eventually, expect, json_of, post, said, send};

/// Two systems that know some of the same companies, and a hub between them.
pub(crate) struct Stage {
    pub(crate) folder: Folder,
    pub(crate) sandbox: Sandbox,
    pub(crate) env: Vec<(&'static str, String)>,
}

/// What is counted of an object: the pointer in the plan, the name in the run.
const COUNTS: [(&str, &str); 5] = [
    ("/records/created", "created"),
    ("/records/linked", "met"),
    ("/conflicts", "conflicts"),
    ("/gone", "gone"),
    ("/system/created", "created_there"),
];

impl Stage {
    pub(crate) fn new(ledger: &str) -> Stage {
        let (folder, sandbox) = (Folder::new(), Sandbox::start(&[]));
        let text = format!(
            "listen: 127.0.0.1:0
ledger: \"{ledger}\"
outbound: {{ allow: [127.0.0.0/8] }}
connections:
  crm:
    system: salesforce
    auth: oauth2_client_credentials
    config: {{ login_url: \"{salesforce}\" }}
    secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}
    currency: USD
    country: US
    lag: 0ms
  marketing:
    system: hubspot
    auth: bearer
    config: {{ base_url: \"{hubspot}\" }}
    secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}
    currency: USD
    country: US
    lag: 0ms
syncs:
  - {{ connection: crm, record: partner }}
  - {{ connection: crm, record: deal }}
  - {{ connection: marketing, record: partner }}
  - {{ connection: marketing, record: deal }}
",
            salesforce = sandbox.url("salesforce"),
            hubspot = sandbox.url("hubspot"),
        );
        folder.write("interconnect.yaml", &text);
        let said = |pointer: &str| {
            let value = sandbox.said.pointer(pointer).and_then(Json::as_str);
            value.expect("a credential").to_owned()
        };
        let env = vec![
            ("SF_ID", said("/salesforce/client_id")),
            ("SF_SECRET", said("/salesforce/client_secret")),
            ("HS_TOKEN", said("/hubspot/token")),
        ];
        Stage { folder, sandbox, env }
    }

    /// Says more about the syncs of partners.
    pub(crate) fn configure(&self, partners: &str) {
        let path = self.folder.path("interconnect.yaml");
        let text = std::fs::read_to_string(path).expect("it was written");
        let text = text.replace("record: partner", &format!("record: partner, {partners}"));
        self.folder.write("interconnect.yaml", &text);
    }

    pub(crate) fn put(&self, system: &str, object: &str, rows: &[Json]) -> Vec<String> {
        let url = format!("{}/_sandbox/rows/{object}", self.sandbox.url(system));
        let ids = post(&url, &json!(rows))["ids"].clone();
        serde_json::from_value(ids).expect("a list of ids")
    }

    pub(crate) fn edit(&self, system: &str, object: &str, id: &str, change: &Json) {
        let url = format!("{}/_sandbox/rows/{object}/{id}", self.sandbox.url(system));
        send("PATCH", &url, Some(change), &[]);
    }

    /// Some companies here, some there, some in both; one twice; deals of some.
    pub(crate) fn fill(&self) -> (Vec<String>, Vec<String>) {
        let account = |number: usize| json!({"Name": format!("Partner {number}"), "Website": format!("https://p{number}.example")});
        let accounts: Vec<Json> = (0..30).map(account).collect();
        let accounts = self.put("salesforce", "Account", &accounts);
        let deal = |number: usize| {
            json!({"Name": format!("Deal {number}"), "AccountId": accounts[number], "StageName": "Prospecting",
                "CloseDate": "2027-01-31", "Amount": 1_000 + number})
        };
        self.put(
            "salesforce",
            "Opportunity",
            &(0..12).map(deal).collect::<Vec<_>>(),
        );
        let company = |number: usize| json!({"name": format!("Partner {number} Inc"), "domain": format!("p{number}.example")});
        let mut companies: Vec<Json> = (20..40).map(company).collect();
        companies.push(company(39));
        let companies = self.put("hubspot", "companies", &companies);
        past();
        (accounts, companies)
    }

    /// Something of each sort happens.
    fn live(&self, accounts: &[String], companies: &[String]) {
        for account in &accounts[0..4] {
            self.edit(
                "salesforce",
                "Account",
                account,
                &json!({"Phone": "+12125550199"}),
            );
        }
        self.edit(
            "salesforce",
            "Account",
            &accounts[25],
            &json!({"Description": "as here"}),
        );
        self.edit(
            "hubspot",
            "companies",
            &companies[5],
            &json!({"description": "as there"}),
        );
        self.edit(
            "hubspot",
            "companies",
            &companies[12],
            &json!({"name": "Another name"}),
        );
        let url = format!(
            "{}/_sandbox/rows/Account/{}",
            self.sandbox.url("salesforce"),
            accounts[9]
        );
        send("DELETE", &url, None, &[]);
        self.put(
            "salesforce",
            "Account",
            &[json!({"Name": "Late", "Website": "https://late.example"})],
        );
        self.put(
            "hubspot",
            "companies",
            &[json!({"name": "Later", "domain": "later.example"})],
        );
    }

    /// What is in every place: rows of the ledger, rows of the systems, writes that were called.
    fn everything(&self) -> Json {
        let status = json_of(&self.folder.run(&["status", "--json"], &self.env));
        let rows = |system, object| self.sandbox.rows(system, object);
        json!({
            "ledger": status["rows"], "runs": status["runs"], "accounts": rows("salesforce", "Account"),
            "opportunities": rows("salesforce", "Opportunity"), "companies": rows("hubspot", "companies"),
            "deals": rows("hubspot", "deals"),
            "writes": [self.sandbox.calls("salesforce").1, self.sandbox.calls("hubspot").1],
        })
    }

    /// What was just written is read back, until a plan finds nothing left to do.
    fn settle(&self) {
        eventually("a plan without changes", || {
            self.folder.run(&["sync", "run"], &self.env);
            the_second_is_over();
            let plan = self
                .folder
                .run(&["plan", "--json", "--detailed-exitcode"], &self.env);
            expect(plan.status.code() == Some(0), json_of(&plan))
        });
        let plan = self.plan(&[], 0);
        let said = (&plan["errors"], &plan["unknown"]);
        assert_eq!(said, (&json!([]), &json!([])), "{plan:#}");
    }

    /// Plans, and proves that nothing has changed by it.
    fn plan(&self, arguments: &[&str], code: i32) -> Json {
        let before = self.everything();
        let mut all = vec!["plan", "--json", "--detailed-exitcode"];
        all.extend(arguments);
        let output = self.folder.run(&all, &self.env);
        assert_eq!(output.status.code(), Some(code), "{:?}", said(&output));
        assert_eq!(self.everything(), before, "a plan changed something");
        json_of(&output)
    }

    /// Runs, and compares what it did with what was planned.
    fn run_as_planned(&self, plan: &Json) -> Json {
        let output = self.folder.run(&["sync", "run", "--json"], &self.env);
        let run = json_of(&output);
        for planned in plan["data"].as_array().expect("a list of objects") {
            let name = format!("{}/{}", planned["connection"], planned["object"]).replace('"', "");
            let done = &run["objects"][&name];
            for (pointer, count) in COUNTS {
                let planned = planned.pointer(pointer).and_then(Json::as_u64);
                assert_eq!(
                    planned,
                    Some(done[count].as_u64().unwrap_or(0)),
                    "{count} of {name}: {plan:#}\n{run:#}"
                );
            }
            // A system may fill in what it was not told of a new object; a plan says that it cannot know that.
            let number = |name: &str| done[name].as_u64().unwrap_or(0);
            let updated = planned["records"]["updated"].as_u64().expect("a number");
            let filled_in = updated..=updated + number("created_there");
            assert!(
                filled_in.contains(&number("updated")),
                "updated of {name}: {plan:#}\n{run:#}"
            );
            let written = number("written") - number("created_there");
            assert_eq!(
                planned["system"]["updated"], written,
                "written to {name}: {plan:#}\n{run:#}"
            );
            let parked: u64 = planned["parked"]
                .as_object()
                .expect("by code")
                .values()
                .filter_map(Json::as_u64)
                .sum();
            assert!(
                parked == 0 || run["parked"].as_u64() >= Some(parked),
                "{plan:#}\n{run:#}"
            );
        }
        run
    }
}

/// Systems tell times of change to the second: what was changed in this one is read when it is over.
pub(crate) fn the_second_is_over() {
    let began = Instant::now();
    eventually("the next second", || {
        expect(began.elapsed() > Duration::from_secs(1), "still the same second")
    });
}

/// One object's part of a plan.
fn of<'p>(plan: &'p Json, object: &str) -> &'p Json {
    let all = plan["data"].as_array().expect("a list of objects");
    all.iter()
        .find(|of| of["object"] == object)
        .expect("it is planned")
}

fn as_it_comes(ledger: &str) {
    let stage = Stage::new(ledger);
    let (accounts, companies) = stage.fill();
    the_second_is_over();
    let first = stage.plan(&["--sample", "2"], 3);
    let (account, company) = (of(&first, "Account"), of(&first, "companies"));
    assert_eq!(account["records"]["created"], 30);
    assert_eq!(
        (&company["records"]["created"], &company["records"]["linked"]),
        (&json!(11), &json!(10))
    );
    assert_eq!(company["duplicates"], 1, "{company}");
    assert_eq!(company["system"]["created"], 20);
    assert_eq!(
        of(&first, "deals")["system"]["created"],
        12,
        "deals of companies that would be new, too"
    );
    let samples = account["samples"].as_array().expect("a list of samples");
    let new = |sample: &&Json| sample["change"] == "create_record";
    assert_eq!(samples.iter().filter(new).count(), 2, "{samples:?}");
    assert_eq!(samples[0]["fields"]["display_name"]["after"], "Partner 0");
    assert!(account["calls"]["reading"].as_u64() > Some(0) && company["calls"]["writing"].as_u64() > Some(0));
    let run = stage.run_as_planned(&first);
    // Calls of writing were counted as they come; reading has what was written still to read.
    let written: u64 = ["crm", "marketing"]
        .iter()
        .flat_map(|connection| {
            first["connections"]
                .as_array()
                .expect("a list")
                .iter()
                .filter(move |c| c["connection"] == **connection)
        })
        .filter_map(|connection| connection["calls"].as_u64())
        .sum();
    let made = run["total"]["calls"].as_u64().expect("a number of calls");
    assert!(
        written <= made && made <= 2 * written,
        "{written} calls were planned, {made} made"
    );

    stage.settle();
    stage.live(&accounts, &companies);
    the_second_is_over();
    let second = stage.plan(&[], 3);
    // Four telephone numbers, and a description where the other side was not the later one.
    let there = &of(&second, "companies")["system"];
    assert!(
        there["updated"].as_u64() >= Some(4) && there["created"] == 1,
        "{second:#}"
    );
    assert_eq!(of(&second, "Account")["gone"], 1, "{second:#}");
    stage.run_as_planned(&second);
    stage.settle();
}

/// Waits until what was just written is read: Salesforce is read up to the last whole second, and its sandbox gives each
/// row a millisecond of its own, ahead of the clock if need be.
fn past() {
    let second =
        |ahead_ms: u64| (SystemTime::now() + Duration::from_millis(ahead_ms)).duration_since(UNIX_EPOCH);
    let last = second(100).expect("after 1970").as_secs();
    eventually("the second of the last row is over", || {
        expect(second(0).expect("after 1970").as_secs() > last, last)
    });
}

#[test]
fn a_plan_is_what_the_next_run_does() {
    as_it_comes("sqlite:hub.db");
}

#[test]
fn a_plan_over_postgres_is_what_the_next_run_does() {
    as_it_comes(&crate::harness::database("plan"));
}

#[test]
fn a_plan_of_one_connection_tells_what_it_does_not_know() {
    let stage = Stage::new("sqlite:hub.db");
    stage.fill();
    let plan = stage.plan(&["--connection", "crm"], 3);
    let unknown = plan["unknown"].to_string();
    assert!(
        unknown.contains("companies of marketing") && unknown.contains("was not read here"),
        "{unknown}"
    );
    let (code, text, _) = said(&stage.folder.run(&["plan", "--connection", "crm"], &stage.env));
    assert_eq!(code, Some(0));
    assert!(text.contains("Not known before it is done:"), "{text}");
    assert!(text.contains("display_name: Partner"), "{text}");
    let (code, _, error) = said(&stage.folder.run(&["plan", "--connection", "crn"], &stage.env));
    assert_eq!(code, Some(2), "{error}");
}

/// Systems show a change some time after it was made, and what is younger is left for later.
#[test]
fn what_is_too_young_to_be_read_is_told() {
    let stage = Stage::new("sqlite:hub.db");
    let path = stage.folder.path("interconnect.yaml");
    let text = std::fs::read_to_string(path).expect("it was written");
    stage
        .folder
        .write("interconnect.yaml", &text.replacen("lag: 0ms", "lag: 20s", 1));
    let plan = json_of(&stage.folder.run(&["plan", "--json"], &stage.env));
    let told = "what changed in the last 20 s at crm is read later";
    assert!(
        plan["unknown"].as_array().expect("a list").contains(&json!(told)),
        "{plan:#}"
    );
    let (code, _, notes) = said(&stage.folder.run(&["sync", "run"], &stage.env));
    assert_eq!(code, Some(0), "{notes}");
    assert!(notes.contains(told), "{notes}");
}
