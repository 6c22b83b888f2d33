//! Who looks after it: an owner changes at one system and becomes the same person at the other, and nobody is made owner
//! by guess.

use serde_json::{Value as Json, json};

use crate::harness::{eventually, expect, json_of};
use crate::plan::{Stage, the_second_is_over};

/// Deals that have an owner, for what they cost.
const DEALS: usize = 400;

fn run(stage: &Stage) -> Json {
    json_of(&stage.folder.run(&["sync", "run", "--json"], &stage.env))
}

/// Brings the systems into agreement until something holds: what was changed in this second is read in the next.
fn until(stage: &Stage, what: &str, holds: impl Fn() -> bool) {
    eventually(what, || {
        let report = run(stage);
        expect(holds(), report)
    });
}

/// The id of a row by the value of a field.
fn id_of(stage: &Stage, system: &str, object: &str, field: &str, value: &str) -> String {
    let rows = stage.sandbox.rows(system, object);
    let row = rows.iter().find(|row| row[field] == value);
    let row = row.unwrap_or_else(|| panic!("{value} is not among {rows:?}"));
    row["Id"]
        .as_str()
        .or(row["id"].as_str())
        .expect("an id")
        .to_owned()
}

/// Somebody's ids at both systems, by their e-mail.
pub(crate) fn person(stage: &Stage, email: &str) -> (String, String) {
    (
        id_of(stage, "salesforce", "User", "Email", email),
        id_of(stage, "hubspot", "owners", "email", email),
    )
}

fn only(stage: &Stage, system: &str, object: &str) -> Json {
    let mut rows = stage.sandbox.rows(system, object);
    assert!(rows.len() <= 1, "{rows:?}");
    rows.pop().unwrap_or_default()
}

#[test]
fn an_owner_follows_both_ways_and_who_left_is_nobodys_owner() {
    let stage = Stage::new("sqlite:hub.db");
    let (ada, rita) = (
        person(&stage, "admin@sandbox.example"),
        person(&stage, "rep@sandbox.example"),
    );
    let deal = json!({"Name": "Robots", "StageName": "Prospecting", "CloseDate": "2027-01-31", "Amount": 1, "OwnerId": rita.0});
    let here = stage.put("salesforce", "Opportunity", &[deal]).remove(0);
    let owner_there = || only(&stage, "hubspot", "deals")["properties"]["hubspot_owner_id"].clone();
    let owner_here = || only(&stage, "salesforce", "Opportunity")["OwnerId"].clone();
    let set_here = |change: Json| stage.edit("salesforce", "Opportunity", &here, &change);
    until(&stage, "Rita's deal in HubSpot", || owner_there() == rita.1);
    let there = only(&stage, "hubspot", "deals")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let set_there = |change: Json| stage.edit("hubspot", "deals", &there, &change);

    set_here(json!({"OwnerId": ada.0}));
    until(&stage, "Ada's deal in HubSpot", || owner_there() == ada.1);
    set_there(json!({"hubspot_owner_id": rita.1}));
    until(&stage, "Rita's deal in Salesforce", || owner_here() == rita.0);

    // Somebody of whom HubSpot has never heard, and somebody who left there: the rest arrives, and the owner stays.
    let user = |email: &str| {
        let user = json!({"LastName": "X", "Email": email, "Username": email});
        stage.put("salesforce", "User", &[user]).remove(0)
    };
    let stranger = user("stranger@sandbox.example");
    let gone = (
        user("gone@sandbox.example"),
        stage
            .put("hubspot", "owners", &[json!({"email": "gone@sandbox.example"})])
            .remove(0),
    );
    let leave = format!("{}/_sandbox/rows/owners/{}", stage.sandbox.url("hubspot"), gone.1);
    crate::harness::send("DELETE", &leave, None, &[]);
    for (amount, owner) in [("2.00", &stranger), ("3.00", &gone.0)] {
        set_here(json!({"OwnerId": owner, "Amount": amount.parse::<f64>().expect("a number")}));
        until(&stage, "the amount in HubSpot", || {
            only(&stage, "hubspot", "deals")["properties"]["amount"] == amount
        });
        assert_eq!(owner_there(), rita.1);
        assert_eq!(owner_here(), **owner);
    }
    let listed = json_of(
        &stage
            .folder
            .run(&["record", "list", "deal", "--json"], &stage.env),
    );
    let record = listed["data"][0]["id"].as_str().expect("a record");
    let told = json_of(
        &stage
            .folder
            .run(&["record", "journey", record, "--json"], &stage.env),
    );
    let why = "`owner_email` was left out: the system has no owner with the e-mail `gone@sandbox.example`";
    assert!(told.to_string().contains(why), "{told:#}");
    the_second_is_over();
    run(&stage);
    the_second_is_over();
    let idle = run(&stage);
    assert_eq!(
        idle["total"]["written"],
        Json::Null,
        "nobody goes on trying: {idle:#}"
    );

    // And somebody who does not work at Salesforce any more.
    let retired = stage
        .put(
            "hubspot",
            "owners",
            &[json!({"email": "retired@sandbox.example"})],
        )
        .remove(0);
    let user = user("retired@sandbox.example");
    stage.edit("salesforce", "User", &user, &json!({"IsActive": false}));
    set_there(json!({"hubspot_owner_id": retired, "amount": "4"}));
    until(&stage, "the amount in Salesforce", || {
        only(&stage, "salesforce", "Opportunity")["Amount"].as_f64() == Some(4.0)
    });
    assert_eq!(owner_here(), gone.0);
    // A new one, whom both know, ends all of it.
    set_there(json!({"hubspot_owner_id": ada.1}));
    until(&stage, "Ada's deal in Salesforce", || owner_here() == ada.0);
}

/// Changes the configuration.
fn configure(stage: &Stage, from: &str, to: &str) {
    let path = stage.folder.path("interconnect.yaml");
    let text = std::fs::read_to_string(path).expect("it was written");
    assert!(text.contains(from), "{text}");
    stage.folder.write("interconnect.yaml", &text.replace(from, to));
}

#[test]
fn what_is_new_and_nobodys_goes_to_whom_the_connection_names() {
    let stage = Stage::new("sqlite:hub.db");
    configure(
        &stage,
        "login_url:",
        "fallback_owner: Admin@Sandbox.example, login_url:",
    );
    let ada = person(&stage, "admin@sandbox.example");
    let stranger = json!({"email": "stranger@sandbox.example"});
    let stranger = stage.put("hubspot", "owners", &[stranger]).remove(0);
    let deal = json!({"dealname": "Robots", "amount": "1", "dealstage": "appointmentscheduled", "hubspot_owner_id": stranger});
    let there = stage.put("hubspot", "deals", &[deal]).remove(0);
    let here = || only(&stage, "salesforce", "Opportunity");
    until(&stage, "the deal in Salesforce", || here()["Id"].is_string());
    assert_eq!(here()["OwnerId"], ada.0);
    let listed = stage
        .folder
        .run(&["record", "list", "deal", "--json"], &stage.env);
    let listed = json_of(&listed);
    let record = listed["data"][0]["id"].as_str().expect("a record");
    let journey = stage
        .folder
        .run(&["record", "journey", record, "--json"], &stage.env);
    let why = "`stranger@sandbox.example`, add it there or correct the value; `admin@sandbox.example` is there instead";
    assert!(json_of(&journey).to_string().contains(why), "{journey:?}");

    // It goes nowhere else, and nobody goes on trying; the next change leaves it where it is.
    let owner_there = || only(&stage, "hubspot", "deals")["properties"]["hubspot_owner_id"].clone();
    for _ in 0..2 {
        the_second_is_over();
        run(&stage);
    }
    the_second_is_over();
    let idle = run(&stage);
    assert_eq!(idle["total"]["written"], Json::Null, "{idle:#}");
    stage.edit("hubspot", "deals", &there, &json!({"amount": "2"}));
    until(&stage, "the amount in Salesforce", || {
        here()["Amount"].as_f64() == Some(2.0)
    });
    assert_eq!(
        (here()["OwnerId"].clone(), owner_there()),
        (json!(ada.0), json!(stranger))
    );

    // Until somebody takes it.
    let rita = person(&stage, "rep@sandbox.example");
    let id = here()["Id"].as_str().expect("an id").to_owned();
    stage.edit("salesforce", "Opportunity", &id, &json!({"OwnerId": rita.0}));
    until(&stage, "Rita's deal in HubSpot", || owner_there() == rita.1);
}

#[test]
fn a_lead_that_a_queue_has_is_nobodys_and_stays_there() {
    let stage = Stage::new("sqlite:hub.db");
    configure(&stage, "record: partner", "record: lead");
    let (ada, rita) = (
        person(&stage, "admin@sandbox.example"),
        person(&stage, "rep@sandbox.example"),
    );
    let queue = json!({"Name": "Inbound", "Type": "Queue", "Email": "inbound@sandbox.example"});
    let queue = stage.put("salesforce", "Group", &[queue]).remove(0);
    let lead = json!({"LastName": "Okafor", "Company": "Lagoon Foods", "Email": "ngozi@lagoon.example", "OwnerId": queue});
    let here = stage.put("salesforce", "Lead", &[lead]).remove(0);
    let contact = || only(&stage, "hubspot", "contacts");
    let owner_there = || contact()["properties"]["hubspot_owner_id"].clone();
    until(&stage, "the contact", || contact()["id"].is_string());
    assert_eq!(owner_there(), Json::Null);

    let there = contact()["id"].as_str().expect("an id").to_owned();
    let change = json!({"hubspot_owner_id": rita.1, "jobtitle": "Buyer"});
    stage.edit("hubspot", "contacts", &there, &change);
    until(&stage, "the title in Salesforce", || {
        only(&stage, "salesforce", "Lead")["Title"] == "Buyer"
    });
    assert_eq!(only(&stage, "salesforce", "Lead")["OwnerId"], queue);
    assert_eq!(owner_there(), rita.1);

    // Somebody takes it out of the queue, and somebody puts it back.
    stage.edit("salesforce", "Lead", &here, &json!({"OwnerId": ada.0}));
    until(&stage, "Ada's contact", || owner_there() == ada.1);
    stage.edit("salesforce", "Lead", &here, &json!({"OwnerId": queue}));
    until(&stage, "nobody's contact", || owner_there().is_null());
    assert_eq!(only(&stage, "salesforce", "Lead")["OwnerId"], queue);
}

#[test]
fn owners_cost_a_call_for_each_page_of_them_and_not_for_each_page_of_records() {
    let stage = Stage::new("sqlite:hub.db");
    let rita = person(&stage, "rep@sandbox.example");
    let deal = |number: usize| json!({"Name": format!("Deal {number}"), "StageName": "Prospecting", "CloseDate": "2027-01-31", "OwnerId": rita.0});
    let deals: Vec<Json> = (0..DEALS).map(deal).collect();
    stage.put("salesforce", "Opportunity", &deals);
    the_second_is_over();
    for system in ["salesforce", "hubspot"] {
        stage.sandbox.reset_calls(system);
    }
    let told = run(&stage);
    assert_eq!(told["objects"]["marketing/deals"]["written"], DEALS, "{told:#}");
    let shown = stage.sandbox.rows("hubspot", "deals");
    assert!(
        shown
            .iter()
            .all(|row| row["properties"]["hubspot_owner_id"] == rita.1),
        "{shown:?}"
    );
    let of = |system: &str, route: &str| -> u64 {
        let calls = crate::harness::get(&format!("{}/_sandbox/calls", stage.sandbox.url(system)));
        let routes = calls["by_route"].as_array().expect("routes").iter();
        let routes = routes.filter(|of| of["route"].as_str().is_some_and(|name| name.contains(route)));
        routes.filter_map(|of| of["count"].as_u64()).sum()
    };
    // Those who are there, and those who left.
    assert_eq!(of("hubspot", "/owners"), 2, "{told:#}");
}
