//! What a system refuses is told by cause, corrected there, and tried again.

use serde_json::{Value as Json, json};

use crate::actions::{ADMIN_KEY, Stage};
use crate::harness::{Hub, eventually, exchange, expect, send};

/// Companies at HubSpot in a city that a rule of Salesforce refuses.
fn refused(stage: &Stage) {
    let rule = json!({"kind": "bad_row", "object": "Account", "field": "BillingCity", "value": "Atlantis"});
    stage.sandbox.fault("salesforce", &rule);
    for (name, city) in [
        ("Northwind", "Atlantis"),
        ("Contoso", "Atlantis"),
        ("Fabrikam", "Chicago"),
    ] {
        let company = json!({"name": name, "city": city, "country": "United States"});
        stage.put_into("hubspot", "companies", &company);
    }
}

fn correct(stage: &Stage) {
    let faults = format!("{}/_sandbox/faults", stage.sandbox.url("salesforce"));
    send("DELETE", &faults, None, &[]);
}

fn accounts(stage: &Stage) -> usize {
    stage.sandbox.rows("salesforce", "Account").len()
}

const CODE: &str = "FIELD_CUSTOM_VALIDATION_EXCEPTION";

#[test]
fn what_a_rule_of_a_system_refused_is_written_when_the_rule_is_gone() {
    let stage = Stage::new();
    refused(&stage);
    let (code, _, told) = stage.run(&["sync", "run", "--json"]);
    assert_eq!(code, Some(5), "{told}");
    assert_eq!(accounts(&stage), 1);

    let listed = stage.done(&["error", "list", "--json"]);
    let [cause] = listed["data"].as_array().expect("a list").as_slice() else {
        panic!("{listed}")
    };
    let told = ["connection", "object", "way", "code", "fields", "count"].map(|key| cause[key].clone());
    let expected: [Json; 6] = [
        json!("crm"),
        json!("Account"),
        json!("out"),
        json!(CODE),
        json!(["BillingCity"]),
        json!(2),
    ];
    assert_eq!(told, expected, "{cause}");
    assert!(
        cause["advice"]
            .as_str()
            .is_some_and(|advice| advice.contains("retry")),
        "{cause}"
    );
    let shown = stage.done(&["error", "show", "--field", "BillingCity", "--json"]);
    assert_eq!(shown["data"].as_array().map(Vec::len), Some(2), "{shown}");
    let none = stage.done(&["error", "show", "--way", "in", "--json"]);
    assert_eq!(none["data"], json!([]));

    // Counted first; then the rule is gone, and one of them is written, and the other one.
    let all_of_it = ["error", "retry", "--connection", "crm", "--code", CODE, "--json"];
    let mut counted = all_of_it.to_vec();
    counted.push("--dry-run");
    assert_eq!(stage.done(&counted)["count"], 2);
    correct(&stage);
    let (code, ..) = stage.run(&["sync", "run", "--json"]);
    assert_eq!((code, accounts(&stage)), (Some(5), 1));
    let key = shown["data"][0]["key"].as_str().expect("a key");
    let record = stage.done(&["record", "show", key, "--json"]);
    assert_eq!(record["parked"], json!([shown["data"][0]]), "{record}");
    for (arguments, count, rows, exit) in [
        (vec!["error", "retry", "--key", key, "--json"], 1, 2, 5),
        (all_of_it.to_vec(), 1, 3, 0),
    ] {
        assert_eq!(stage.done(&arguments)["count"], count);
        let (code, _, told) = stage.run(&["sync", "run", "--json"]);
        assert_eq!((code, accounts(&stage)), (Some(exit), rows), "{told}");
    }
    assert_eq!(stage.done(&["error", "list", "--json"])["data"], json!([]));
    // Nothing is tried again by mistake.
    let (code, _, told) = stage.run(&["error", "retry"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("--all"), "{told}");
}

/// A phone number without its country means nothing; that of the connection is meant, once it is told.
#[test]
fn what_the_configuration_did_not_let_understand_goes_on_when_it_is_corrected() {
    let stage = Stage::new();
    let path = stage.folder.path("interconnect.yaml");
    let config = std::fs::read_to_string(&path).expect("the configuration");
    let (crm, marketing) = config.split_once("  marketing:").expect("two connections");
    let without = format!("{crm}  marketing:{}", marketing.replacen("country: US, ", "", 1));
    assert_ne!(without, config);
    std::fs::write(&path, without).expect("the configuration can be written");
    let company = json!({"name": "Northwind", "phone": "(212) 555-0100"});
    stage.put_into("hubspot", "companies", &company);
    stage.run(&["sync", "run", "--json"]);
    let listed = stage.done(&["error", "list", "--json"]);
    let cause = &listed["data"][0];
    let told = ["connection", "way", "code", "fields", "count"].map(|key| cause[key].clone());
    let expected = [
        json!("marketing"),
        json!("in"),
        json!("field"),
        json!(["phone"]),
        json!(1),
    ];
    assert_eq!(told, expected, "{listed}");
    let phone = || stage.sandbox.rows("salesforce", "Account")[0]["Phone"].clone();
    assert_eq!(phone(), Json::Null);

    std::fs::write(&path, &config).expect("the configuration can be written");
    let (code, told, error) = stage.run(&["sync", "run", "--json"]);
    assert_eq!(code, Some(0), "{told} {error}");
    assert_eq!(phone(), "+12125550100");
    assert_eq!(stage.done(&["error", "list", "--json"])["data"], json!([]));
}

#[test]
fn errors_are_listed_and_tried_again_through_the_api() {
    let stage = Stage::new();
    refused(&stage);
    let hub = Hub::start(&stage.folder.path("interconnect.yaml"), &stage.env);
    let bearer = format!("Bearer {ADMIN_KEY}");
    let key = [("authorization", bearer.as_str())];
    let get = |path: &str| send("GET", &format!("{}/v1/errors{path}", hub.url), None, &key);
    eventually("both are refused", || {
        let listed = get("?connection=crm&way=out");
        expect(listed["data"][0]["count"] == 2, &listed)
    });
    assert_eq!(get("?way=in")["data"], json!([]));
    assert_eq!(get("?field=BillingCity")["data"][0]["code"], CODE);

    // A page at a time.
    let first = get("/crm/Account?limit=1");
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let second = get(&format!("/crm/Account?limit=1&cursor={cursor}"));
    assert_eq!(
        (&second["next_cursor"], second["data"].as_array().map(Vec::len)),
        (&Json::Null, Some(1))
    );
    assert_ne!(first["data"][0]["key"], second["data"][0]["key"]);
    assert_eq!(second["data"][0]["fields"], json!(["BillingCity"]));

    let key_of = first["data"][0]["key"].as_str().expect("a key");
    let record = send("GET", &format!("{}/v1/records/{key_of}", hub.url), None, &key);
    assert_eq!(record["parked"], first["data"], "{record}");

    let url = format!("{}/v1/errors/retry", hub.url);
    let retry = |body: &Json| send("POST", &url, Some(body), &key);
    assert_eq!(
        retry(&json!({"all": true, "dry_run": true})),
        json!({"count": 2, "left": []})
    );
    correct(&stage);
    assert_eq!(retry(&json!({"connection": "crm", "code": CODE}))["count"], 2);
    eventually("all are written", || {
        expect(accounts(&stage) == 3, accounts(&stage))
    });
    eventually("no error is left", || {
        let listed = get("");
        expect(listed["data"] == json!([]), &listed)
    });

    let (status, told) = exchange("POST", &url, Some("{}"), &key);
    assert_eq!(status, 400, "{told}");
    assert!(told.contains("say which"), "{told}");
    let (status, _) = exchange("GET", &format!("{}/v1/errors", hub.url), None, &[]);
    assert_eq!(status, 401);
}

#[test]
fn an_object_that_has_no_record_yet_says_why() {
    let stage = Stage::new();
    let deal = stage.put_into("hubspot", "deals", &json!({"dealstage": "appointmentscheduled"}));
    let (code, ..) = stage.run(&["sync", "run", "--json"]);
    assert_eq!(code, Some(5));
    let (code, _, told) = stage.run(&["record", "show", &format!("marketing/deals/{deal}")]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains("has no record yet") && told.contains("a deal needs name"),
        "{told}"
    );
    let cause = stage.done(&["error", "list", "--json"])["data"][0].clone();
    assert_eq!(
        (&cause["code"], &cause["key"], &cause["fields"]),
        (&json!("mapping"), &json!(deal), &json!(["dealname"])),
        "{cause}"
    );
}
