//! Fields of a customer's own: declared, mapped by overlays, kept in agreement, told to partners by policy.

use serde_json::{Value as Json, json};

use crate::harness::{Hub, eventually, exchange, expect, json_of, said, send};
use crate::owners::person;
use crate::partners::acme_secret;
use crate::plan::Stage;

/// What Northwind pulls with.
const PULL_KEY: &str = "the-key-by-which-northwind-pulls";

/// What a Salesforce account holds beside what ships.
const SALESFORCE: [&str; 4] = [
    "{ record: custom.owner, object: owner_email }",
    "{ record: custom.heat, object: Rating, lens: [ enum: { hot: Hot, warm: Warm, cold: Cold } ] }",
    "{ record: custom.people, object: NumberOfEmployees }",
    "{ record: custom.revenue, object: AnnualRevenue, lens: [ money: { wire: number, scale: 0, currency: '{connection}' } ] }",
];

/// A mapping of partners with fields of the customer's own beside those that ship.
fn overlay(stage: &Stage, system: &str, lines: &[&str]) {
    let lines: String = lines.iter().map(|line| format!("    - {line}\n")).collect();
    let text = format!("apiVersion: interconnect/v1\nkind: Overlay\nadd:\n  fields:\n{lines}");
    stage
        .folder
        .write(&format!("mappings/{system}/partner.yaml"), &text);
}

fn stage() -> Stage {
    let stage = Stage::new("sqlite:hub.db");
    let path = stage.folder.path("interconnect.yaml");
    let text = std::fs::read_to_string(path).expect("it was written")
        + "mappings: mappings
records:
  partner:
    custom:
      heat: { type: choice, of: [hot, warm, cold], doc: how near the next deal is }
      people: { type: integer, doc: how many work there }
      revenue: { type: money }
      owner: { type: email }
    policies: { custom.heat: { owner: crm } }
sharing: { heat: { allow: [partner.display_name, partner.custom.heat] } }
partners:
  northwind:
    share: heat
    endpoints: [ { name: feed, secret: \"${env:SECRET}\", pull_key: \"${env:PULL_KEY}\", events: [partner.*] } ]
";
    stage.folder.write("interconnect.yaml", &text);
    overlay(&stage, "salesforce", &SALESFORCE);
    overlay(
        &stage,
        "hubspot",
        &[
            "{ record: custom.owner, object: owner_email }",
            "{ record: custom.heat, object: heat }",
            "{ record: custom.people, object: numberofemployees, lens: [ integer: { wire: string } ] }",
            "{ record: custom.revenue, object: annualrevenue, lens: [ money: { wire: string, currency: '{connection}' } ] }",
        ],
    );
    // A property that the portal's people make.
    let option = |word: &str| json!({"label": word, "value": word, "displayOrder": 0, "hidden": false});
    let options = ["hot", "warm", "cold"].map(option);
    let property = json!({"name": "heat", "label": "Heat", "type": "enumeration", "fieldType": "select",
        "groupName": "companyinformation", "options": options});
    let token = format!("Bearer {}", stage.env[2].1);
    let url = format!("{}/crm/v3/properties/companies", stage.sandbox.url("hubspot"));
    send("POST", &url, Some(&property), &[("authorization", &token)]);
    stage
}

#[test]
fn fields_of_a_customers_own_flow_as_any_other() {
    let mut stage = stage();
    stage
        .env
        .extend([("SECRET", acme_secret()), ("PULL_KEY", PULL_KEY.to_owned())]);
    let checked = said(&stage.folder.run(&["check"], &stage.env));
    assert_eq!(checked.0, Some(0), "{checked:?}");
    let (here, there) = person(&stage, "rep@sandbox.example");
    let account = json!({"Name": "Bergquell", "Rating": "Warm", "NumberOfEmployees": 40, "AnnualRevenue": 2_500_000,
        "ShippingCity": "Bremen", "OwnerId": here});
    let account = stage.put("salesforce", "Account", &[account]).remove(0);
    let company = || {
        stage
            .sandbox
            .rows("hubspot", "companies")
            .pop()
            .unwrap_or_default()
    };
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        eventually(what, || {
            let report = json_of(&stage.folder.run(&["sync", "run", "--json"], &stage.env));
            expect(holds(), report)
        });
    };
    until("the company in HubSpot", &|| {
        company()["properties"]["heat"] == "warm"
    });
    assert_eq!(company()["properties"]["numberofemployees"], "40");
    assert_eq!(company()["properties"]["annualrevenue"], "2500000.00");
    assert_eq!(company()["properties"]["hubspot_owner_id"], there);

    // Back again; the heat is Salesforce's to say.
    let there = company()["id"].as_str().expect("an id").to_owned();
    let change = json!({"numberofemployees": "41", "heat": "cold"});
    stage.edit("hubspot", "companies", &there, &change);
    let here = || stage.sandbox.rows("salesforce", "Account").remove(0);
    until("the people in Salesforce", &|| here()["NumberOfEmployees"] == 41);
    until("the heat of Salesforce in HubSpot", &|| {
        company()["properties"]["heat"] == "warm"
    });
    assert_eq!(here()["Rating"], "Warm");
    stage.edit("salesforce", "Account", &account, &json!({"Rating": "Hot"}));
    until("the new heat in HubSpot", &|| {
        company()["properties"]["heat"] == "hot"
    });

    // A field that is declared later comes with the next complete reading.
    let path = stage.folder.path("interconnect.yaml");
    let text = std::fs::read_to_string(path).expect("it was written");
    let text = text.replace(
        "    custom:\n",
        "    custom:\n      town: { type: text, chars_max: 80 }\n",
    );
    stage.folder.write("interconnect.yaml", &text);
    overlay(
        &stage,
        "salesforce",
        &[
            &SALESFORCE[..],
            &["{ record: custom.town, object: ShippingCity }"],
        ]
        .concat(),
    );
    let full = ["sync", "run", "--full", "--json"];
    eventually("the town", || {
        let report = json_of(&stage.folder.run(&full, &stage.env));
        let listed = said(
            &stage
                .folder
                .run(&["record", "list", "partner", "--json"], &stage.env),
        )
        .1;
        expect(listed.contains("Bremen"), report)
    });

    let listed = json_of(
        &stage
            .folder
            .run(&["record", "list", "partner", "--json"], &stage.env),
    );
    let id = listed["data"][0]["id"].as_str().expect("a record");
    let shown = said(&stage.folder.run(&["record", "show", id], &stage.env)).1;
    assert!(
        shown.contains("custom.people") && shown.contains("2500000.00 USD"),
        "{shown}"
    );

    // A partner is told what its policy allows, and editors and partners' programs what there is.
    let hub = Hub::start(&stage.folder.path("interconnect.yaml"), &stage.env);
    let feed = format!("{}/v1/endpoints/feed/events", hub.url);
    let bearer = format!("Bearer {PULL_KEY}");
    let (status, page) = exchange("GET", &feed, None, &[("authorization", &bearer)]);
    assert_eq!(status, 200, "{page}");
    let page: Json = serde_json::from_str(&page).expect("JSON");
    let told = page["data"].as_array().expect("a list").iter().map(|told| {
        let body: Json = serde_json::from_str(told["body"].as_str().expect("a body")).expect("JSON");
        body["data"]["partner"].clone()
    });
    let told: Vec<Json> = told.collect();
    let heat = |heat: &str| json!({"display_name": "Bergquell", "custom": {"heat": heat}});
    assert_eq!(
        (told.first(), told.last()),
        (Some(&heat("warm")), Some(&heat("hot"))),
        "{told:?}"
    );
    let asyncapi = json_of(&stage.folder.run(&["asyncapi"], &stage.env)).to_string();
    assert!(asyncapi.contains("how near the next deal is"), "{asyncapi}");
    let schema = said(&stage.folder.run(&["schema", "mapping"], &stage.env)).1;
    assert!(schema.contains("\"custom.people\""), "{schema}");
}

#[test]
fn a_field_that_nobody_declared_is_no_field() {
    let stage = stage();
    let path = stage.folder.path("interconnect.yaml");
    let text = std::fs::read_to_string(path).expect("it was written");
    let text = text.replace("      people: { type: integer, doc: how many work there }\n", "");
    stage.folder.write("interconnect.yaml", &text);
    let (code, checked, _) = said(&stage.folder.run(&["check", "--format", "github"], &stage.env));
    assert_eq!(code, Some(2), "{checked}");
    assert!(
        checked.contains("title=IC0301::`custom.people` is not a field of a partner"),
        "{checked}"
    );
}
