//! What a person says of records: two are one, and two again, with the references of every system, beside a running hub.

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Hub, Sandbox, eventually, exchange, expect, json_of, post, said, send};

pub(crate) const ADMIN_KEY: &str = "ic_live_of_a_story_that_is_long_enough";

/// Salesforce and HubSpot with partners and deals between them.
pub(crate) struct Stage {
    pub(crate) folder: Folder,
    pub(crate) sandbox: Sandbox,
    pub(crate) env: Vec<(&'static str, String)>,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let (folder, sandbox) = (Folder::new(), Sandbox::start(&[]));
        let text = format!(
            "listen: 127.0.0.1:0
admin_key: \"${{env:ADMIN_KEY}}\"
ledger: sqlite:hub.db
outbound: {{ allow: [127.0.0.0/8] }}
connections:
  crm: {{ system: salesforce, auth: oauth2_client_credentials, config: {{ login_url: \"{salesforce}\" }}, secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}, country: US, currency: EUR, lag: 0ms }}
  marketing: {{ system: hubspot, auth: bearer, config: {{ base_url: \"{hubspot}\" }}, secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}, country: US, currency: EUR, lag: 0ms }}
limits: {{ sweep_every_ms: 200 }}
syncs:
  - {{ connection: crm, record: partner, every: 300ms }}
  - {{ connection: marketing, record: partner, every: 300ms }}
  - {{ connection: crm, record: deal, every: 300ms }}
  - {{ connection: marketing, record: deal, every: 300ms }}
",
            salesforce = sandbox.url("salesforce"),
            hubspot = sandbox.url("hubspot"),
        );
        folder.write("interconnect.yaml", &text);
        let credential = |pointer: &str| {
            let said = sandbox.said.pointer(pointer).and_then(Json::as_str);
            said.expect("a credential").to_owned()
        };
        let env = vec![
            ("SF_ID", credential("/salesforce/client_id")),
            ("SF_SECRET", credential("/salesforce/client_secret")),
            ("HS_TOKEN", credential("/hubspot/token")),
            ("ADMIN_KEY", ADMIN_KEY.to_owned()),
        ];
        Stage { folder, sandbox, env }
    }

    /// Puts a row into Salesforce; its id.
    fn put(&self, object: &str, row: &Json) -> String {
        self.put_into("salesforce", object, row)
    }

    pub(crate) fn put_into(&self, system: &str, object: &str, row: &Json) -> String {
        let url = format!("{}/_sandbox/rows/{object}", self.sandbox.url(system));
        let made = post(&url, row);
        match &made["ids"][0] {
            Json::String(id) => id.clone(),
            Json::Number(id) => id.to_string(),
            _ => panic!("no id in {made}"),
        }
    }

    fn counts(&self) -> (usize, usize) {
        let rows = |system, object| self.sandbox.rows(system, object).len();
        (rows("salesforce", "Account"), rows("hubspot", "companies"))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, Json, String) {
        eventually("a command that nobody is in the way of", || {
            let output = self.folder.run(arguments, &self.env);
            let (code, stdout, stderr) = said(&output);
            not_busy(&stderr)?;
            Ok((code, serde_json::from_str(&stdout).unwrap_or(Json::Null), stderr))
        })
    }

    /// Runs a command that must go well.
    pub(crate) fn done(&self, arguments: &[&str]) -> Json {
        let (code, told, error) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {told} {error}");
        told
    }

    /// The record of an object, with its links.
    fn record(&self, at: &str) -> Result<Json, String> {
        let output = self.folder.run(&["record", "show", at, "--json"], &self.env);
        match output.status.code() {
            Some(0) => Ok(json_of(&output)),
            _ => Err(said(&output).2),
        }
    }

    fn id(&self, at: &str) -> String {
        let record = self.record(at).expect("a record");
        record["id"].as_str().expect("an id").to_owned()
    }

    /// The id of a row of HubSpot by the value of a property.
    fn in_hubspot(&self, object: &str, property: &str, value: &str) -> Result<String, String> {
        let rows = self.sandbox.rows("hubspot", object);
        let found = rows.iter().find(|row| row["properties"][property] == value);
        let id = found.and_then(|row| row["id"].as_str()).map(str::to_owned);
        id.ok_or_else(|| format!("no {value} in {rows:?}"))
    }

    /// The company that a deal in HubSpot is first of all about.
    fn company_of(&self, deal: &str) -> String {
        let hubspot = self.sandbox.url("hubspot");
        let url = format!("{hubspot}/crm/v4/associations/deals/companies/batch/read");
        let bearer = format!("Bearer {}", self.env[2].1);
        let asked = json!({"inputs": [{"id": deal}]});
        let told = send("POST", &url, Some(&asked), &[("authorization", &bearer)]);
        let companies = told["results"][0]["to"].as_array().into_iter().flatten();
        let primary = |company: &&Json| {
            let types = company["associationTypes"].as_array().into_iter().flatten();
            types.into_iter().any(|one| one["typeId"] == 5)
        };
        let company = companies.into_iter().find(primary);
        company.map_or_else(String::new, |company| match &company["toObjectId"] {
            Json::String(id) => id.clone(),
            id => id.to_string(),
        })
    }

    /// The account of an opportunity in Salesforce.
    fn account_of(&self, opportunity: &str) -> String {
        let rows = self.sandbox.rows("salesforce", "Opportunity");
        let row = rows
            .iter()
            .find(|row| row["Id"] == opportunity)
            .expect("the opportunity");
        row["AccountId"].as_str().unwrap_or_default().to_owned()
    }
}

/// Who holds still what the hub is at is told to come again when that takes long, and does.
fn not_busy(told: &str) -> Result<(), String> {
    expect(!told.contains("try again in a moment"), told)
}

/// Asks the hub to do something, until nobody is in the way.
fn ask(url: &str, body: &Json, key: &[(&str, &str)]) -> Json {
    eventually("an action that nobody is in the way of", || {
        let (status, told) = exchange("POST", url, Some(&body.to_string()), key);
        not_busy(&told)?;
        assert!((200..300).contains(&status), "{url}: {status} {told}");
        Ok(serde_json::from_str(&told).expect("JSON"))
    })
}

#[test]
fn two_partners_become_one_with_their_deals_everywhere_and_two_again() {
    let stage = Stage::new();
    let account = |name: &str, site: &str| stage.put("Account", &json!({"Name": name, "Website": site}));
    let (first, second) = (
        account("Northwind", "https://northwind.example"),
        account("Northwind GmbH", "https://northwind-de.example"),
    );
    let rollout = stage.put(
        "Opportunity",
        &json!({"Name": "Rollout", "AccountId": second, "StageName": "Prospecting", "CloseDate": "2027-03-01", "Amount": 1000}),
    );
    let hub = Hub::start(&stage.folder.path("interconnect.yaml"), &stage.env);
    let companies = ["Northwind", "Northwind GmbH"]
        .map(|name| eventually("a company", || stage.in_hubspot("companies", "name", name)));
    let deal = eventually("the deal in HubSpot", || {
        stage.in_hubspot("deals", "dealname", "Rollout")
    });
    eventually("its company", || {
        let now = stage.company_of(&deal);
        expect(now == companies[1], now)
    });

    let (keep, lose) = (
        stage.id(&format!("crm/Account/{first}")),
        stage.id(&format!("crm/Account/{second}")),
    );
    // Both have an object at both systems, so a person chooses.
    let (code, _, error) = stage.run(&["record", "merge", &keep, &lose, "--by", "ann"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("both have an object there") && error.contains("--stay"),
        "{error}"
    );
    let stay = [
        format!("crm/Account/{first}"),
        format!("marketing/companies/{}", companies[0]),
    ];
    let merge = [
        "record", "merge", &keep, &lose, "--stay", &stay[0], "--stay", &stay[1], "--by", "ann", "--json",
    ];
    let merged = stage.done(&merge);
    assert_eq!(merged["action"]["by"], "ann");
    let act = merged["action"]["id"].as_str().expect("an id").to_owned();

    eventually("the deal refers to the other account", || {
        let now = stage.account_of(&rollout);
        expect(now == first, now)
    });
    eventually("the deal refers to the other company", || {
        let now = stage.company_of(&deal);
        expect(now == companies[0], now)
    });
    let gone = stage.record(&lose).expect("it still resolves");
    assert_eq!(gone["merged_into"], json!(keep), "{gone}");
    // Nothing was deleted, and what is left alone stays so, whatever it says.
    let url = format!(
        "{}/_sandbox/rows/Account/{second}",
        stage.sandbox.url("salesforce")
    );
    send("PATCH", &url, Some(&json!({"Phone": "+12125550199"})), &[]);
    stage.put(
        "Account",
        &json!({"Name": "Contoso", "Website": "https://contoso.example"}),
    );
    eventually("what came later", || {
        stage.in_hubspot("companies", "name", "Contoso")
    });
    assert_eq!(stage.sandbox.rows("hubspot", "companies").len(), 3);
    assert_eq!(stage.sandbox.rows("salesforce", "Account").len(), 3);
    assert_eq!(
        stage.record(&keep).expect("it stands")["fields"]["phone"],
        Json::Null
    );

    stage.done(&["record", "unmerge", &lose, "--json"]);
    eventually("the deal refers to the account that it had", || {
        let now = stage.account_of(&rollout);
        expect(now == second, now)
    });
    eventually("the deal refers to the company that it had", || {
        let now = stage.company_of(&deal);
        expect(now == companies[1], now)
    });
    eventually("what was said while it was left alone", || {
        let record = stage.record(&lose)?;
        expect(record["fields"]["phone"]["value"] == "+12125550199", record)
    });
    let companies = stage.sandbox.rows("hubspot", "companies");
    assert_eq!(companies.len(), 3, "{companies:?}");
    let actions = stage.done(&["action", "list", "--json"]);
    let did: Vec<&Json> = actions["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["did"])
        .collect();
    assert_eq!(did, ["undo", "merge"]);
    let (code, _, error) = stage.run(&["action", "undo", &act]);
    assert!(code == Some(1) && error.contains("undone already"), "{error}");
    assert_eq!(hub.running.stop(), Some(0));
}

#[test]
fn what_is_unlinked_holds_over_the_next_full_read() {
    let stage = Stage::new();
    let account = stage.put(
        "Account",
        &json!({"Name": "Northwind", "Website": "https://northwind.example"}),
    );
    let company = eventually("a company", || {
        stage.done(&["sync", "run", "--json"]);
        stage.in_hubspot("companies", "name", "Northwind")
    });
    let record = stage.id(&format!("crm/Account/{account}"));
    let told = stage.done(&["record", "unlink", &record, "marketing", "--ignore", "--json"]);
    let url = format!(
        "{}/_sandbox/rows/companies/{company}",
        stage.sandbox.url("hubspot")
    );
    send("PATCH", &url, Some(&json!({"phone": "+12125550199"})), &[]);
    let full = ["sync", "run", "--full", "--json"];
    stage.done(&full);
    assert_eq!(stage.sandbox.rows("hubspot", "companies").len(), 1);
    assert_eq!(stage.sandbox.rows("salesforce", "Account").len(), 1);
    let now = stage.record(&record).expect("it stands");
    assert_eq!(now["fields"]["phone"], Json::Null, "{now}");

    // Not ignored, it is a record of its own, and Salesforce has two accounts.
    stage.done(&[
        "action",
        "undo",
        told["action"]["id"].as_str().expect("an id"),
        "--json",
    ]);
    stage.done(&["record", "unlink", &record, "marketing/companies", "--json"]);
    stage.done(&full);
    let own = stage.id(&format!("marketing/companies/{company}"));
    assert_ne!(own, record);
    assert_eq!(stage.sandbox.rows("hubspot", "companies").len(), 1);
    assert_eq!(stage.sandbox.rows("salesforce", "Account").len(), 2);
    // And one again: the object goes back to where it was.
    let stay = format!("crm/Account/{account}");
    stage.done(&["record", "merge", &record, &own, "--stay", &stay, "--json"]);
    assert_eq!(stage.id(&format!("marketing/companies/{company}")), record);
}

#[test]
fn what_is_only_probable_waits_for_a_person_with_both_sides_shown() {
    let stage = Stage::new();
    // No domain: a name and a country are not enough to be sure.
    let account = stage.put(
        "Account",
        &json!({"Name": "Northwind", "BillingCountry": "Germany", "Phone": "+493012345"}),
    );
    let company = stage.put_into(
        "hubspot",
        "companies",
        &json!({"name": "NORTHWIND", "country": "Germany"}),
    );
    eventually("a review", || {
        let (code, report, _) = stage.run(&["sync", "run", "--json"]);
        expect(code == Some(5), report)
    });
    assert_eq!(stage.counts(), (1, 1), "neither is made at the other side");
    // Which of the two was read first is chance.
    let objects = [
        format!("crm/Account/{account}"),
        format!("marketing/companies/{company}"),
    ];
    let reviews = stage.done(&["review", "list", "--json"]);
    let waits = &reviews["data"][0];
    let object = waits["object"].as_str().expect("an object").to_owned();
    let other = objects
        .iter()
        .find(|known| **known != object)
        .expect("the other one");
    let record = stage.id(other);
    assert!(objects.contains(&object), "{reviews}");
    assert_eq!(waits["code"], "probable", "{reviews}");
    assert_eq!(waits["records"], json!([record]));

    let shown = stage.done(&["review", "show", &object, "--json"]);
    let candidate = &shown["candidates"][0];
    let rule = json!({"fields": ["display_name", "headquarters.country"], "confidence": "probable"});
    assert_eq!(candidate["rule"], rule, "{shown}");
    let fields = candidate["fields"].as_array().expect("fields side by side");
    let side = |path: &str| {
        fields
            .iter()
            .find(|side| side["field"] == path)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(side("headquarters.country")["alike"], true, "{shown}");
    let phone = side("phone");
    assert_eq!(phone["alike"], false, "{shown}");
    assert!(phone["object"].is_null() != phone["record"].is_null(), "{shown}");
    let (code, _, error) = stage.run(&["review", "decide", &object, "--leave"]);
    assert!(
        code == Some(1) && error.contains("is answered with --record"),
        "{error}"
    );

    stage.done(&[
        "review", "decide", &object, "--record", &record, "--by", "ann", "--json",
    ]);
    eventually("the phone at the other side", || {
        stage.done(&["sync", "run", "--json"]);
        let rows = stage.sandbox.rows("hubspot", "companies");
        expect(
            rows[0]["properties"]["phone"] == "+493012345",
            format!("{rows:?}"),
        )
    });
    assert_eq!(stage.counts(), (1, 1));
    assert_eq!(stage.done(&["review", "list", "--json"])["data"], json!([]));
}

#[test]
fn of_two_that_fit_alike_a_person_chooses_through_the_api() {
    let stage = Stage::new();
    let site = json!({"Name": "Northwind", "Website": "https://northwind.example"});
    let accounts = [stage.put("Account", &site), stage.put("Account", &site)];
    let company = stage.put_into(
        "hubspot",
        "companies",
        &json!({"name": "Northwind", "domain": "northwind.example", "phone": "+12125550100"}),
    );
    let hub = Hub::start(&stage.folder.path("interconnect.yaml"), &stage.env);
    let bearer = format!("Bearer {ADMIN_KEY}");
    let key = [("authorization", bearer.as_str())];
    let reviews = || send("GET", &format!("{}/v1/reviews", hub.url), None, &key);
    let waits = eventually("a review", || {
        let reviews = reviews();
        expect(reviews["data"][0]["code"] == "ambiguous", &reviews)?;
        Ok(reviews["data"][0].clone())
    });
    assert_eq!(waits["key"], json!(company), "{waits}");
    assert_eq!(waits["records"].as_array().map(Vec::len), Some(2), "{waits}");
    assert_eq!(stage.counts(), (2, 1));
    let second = stage.id(&format!("crm/Account/{}", accounts[1]));
    let url = format!("{}/v1/reviews/marketing/companies/{company}/decide", hub.url);
    let decided = ask(
        &url,
        &json!({"answer": "record", "record": second, "by": "ann"}),
        &key,
    );
    assert_eq!(
        (&decided["action"]["did"], &decided["action"]["by"]),
        (&json!("link"), &json!("ann"))
    );
    eventually(
        "the phone where it belongs, and a company of the other one",
        || {
            let rows = stage.sandbox.rows("salesforce", "Account");
            let phone = |id: &str| {
                rows.iter()
                    .find(|row| row["Id"] == id)
                    .map(|row| row["Phone"].clone())
            };
            expect(
                phone(&accounts[1]) == Some(json!("+12125550100")),
                format!("{rows:?}"),
            )?;
            expect(stage.counts() == (2, 2), format!("{:?}", stage.counts()))
        },
    );
    assert_eq!(reviews()["data"], json!([]));
    // Two records, made one through the API and two again.
    let first = stage.id(&format!("crm/Account/{}", accounts[0]));
    let at = |what: &str| format!("{}/v1/{what}", hub.url);
    let body = json!({"lose": first, "stay": [format!("crm/Account/{}", accounts[1]), format!("marketing/companies/{company}")]});
    let merged = ask(&at(&format!("records/{second}/merge")), &body, &key);
    let record = send("GET", &at(&format!("records/{first}")), None, &key);
    assert_eq!(record["record"]["merged_into"], json!(second));
    let act = merged["action"]["id"].as_str().expect("an id");
    ask(&at(&format!("actions/{act}/undo")), &json!({}), &key);
    let record = send("GET", &at(&format!("records/{first}")), None, &key);
    assert_eq!(record["record"]["merged_into"], Json::Null);
    let actions = send("GET", &at("actions"), None, &key);
    let did = actions["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["did"].clone());
    assert_eq!(did.collect::<Vec<_>>(), ["undo", "merge", "link"]);
    assert_eq!(hub.running.stop(), Some(0));
}
