//! `interconnect try`: what a mapping makes of an object, of a record, of what a system holds now.

use serde_json::json;

use crate::accounts::accounts;
use crate::harness::{Folder, Sandbox, json_of, said};

/// A coarse mapping: two stages are one word, names are cut.
fn mapped() -> Folder {
    let folder = Folder::new();
    folder.write("interconnect.yaml", "mappings: mappings\n");
    folder.write(
        "mappings/hubspot/deal.yaml",
        "apiVersion: interconnect/v1
kind: Mapping
system: hubspot
object: deals
record: deal
when: \"dealname != 'Draft'\"
fields:
  - { record: name, object: dealname, lens: [ truncate: 10 ] }
  - record: stage
    object: dealstage
    lens: [ enum: { prospect: [open, fresh], qualified: open, committed: won } ]
  - { record: amount, object: [amount, currency], lens: [ money: { wire: string } ] }
  - { record: customer.country, object: country, lens: [ country: { wire: name } ] }
  - { record: closed_at, object: closed, direction: in }
examples:
  - object: { dealname: Rollout, dealstage: fresh, amount: \"10.50\", currency: EUR, country: DE }
    record: { name: Rollout, stage: prospect, amount: { amount: \"10.50\", currency: EUR }, customer.country: DE }
    back: { dealname: Rollout, dealstage: open, amount: \"10.50\", currency: EUR, country: Germany }
",
    );
    folder
}

#[test]
fn examples_are_tried_when_nothing_is_given() {
    let (code, stdout, stderr) = said(&mapped().run(&["try", "hubspot", "deal"], &[]));
    assert_eq!(code, Some(0), "{stderr}");
    insta::assert_snapshot!(stdout, @r"
    example 1

    object             holds        record            value      written as
    dealname           Rollout      name              Rollout    Rollout
    dealstage          fresh        stage             prospect   open         spelled differently
    amount + currency  10.50 + EUR  amount            10.50 EUR  10.50 + EUR
    country            DE           customer.country  DE         Germany      spelled differently
    closed                          closed_at                                 only read
    ");
}

#[test]
fn an_object_that_does_not_fit_is_told_field_by_field() {
    let folder = mapped();
    folder.write(
        "deal.json",
        r#"{"dealname": "Draft", "dealstage": "lost", "amount": "ten", "currency": "EUR", "closed": "2026-03-31T08:15:00Z"}"#,
    );
    let (code, stdout, _) = said(&folder.run(&["try", "hubspot", "deal", "--object", "deal.json"], &[]));
    assert_eq!(code, Some(1), "{stdout}");
    insta::assert_snapshot!(stdout, @r"
    deal.json: `when` does not admit it

    object             holds                 record            value                 written as
    dealname           Draft                 name              Draft                 Draft
    dealstage          lost                  stage                                               `lost` is not one of open, fresh, open, won
    amount + currency  ten + EUR             amount                                              `ten` is not a decimal number with at most 28 digits
    country                                  customer.country
    closed             2026-03-31T08:15:00Z  closed_at         2026-03-31T08:15:00Z              only read
    ");
}

#[test]
fn a_record_shows_what_the_system_cannot_hold() {
    let folder = mapped();
    folder.write(
        "deal.yaml",
        "name: Rollout of line 3\nstage: qualified\namount: { amount: 7, currency: EUR }\n",
    );
    let arguments = ["try", "hubspot", "deal", "--record", "deal.yaml"];
    let (code, stdout, stderr) = said(&folder.run(&arguments, &[]));
    assert_eq!(code, Some(0), "{stderr}");
    insta::assert_snapshot!(stdout, @r"
    deal.yaml

    record            value              object             written as  reads as
    name              Rollout of line 3  dealname           Rollout of  Rollout of  reads as something else
    stage             qualified          dealstage          open        prospect    reads as something else
    amount            7.00 EUR           amount + currency  7.00 + EUR  7.00 EUR
    customer.country
    closed_at                                                                       only read
    ");
    let json = json_of(&folder.run(&[&arguments[..], &["--json"]].concat(), &[]));
    let stage = &json["data"][0]["fields"][1];
    assert_eq!(
        (
            &stage["value"],
            &stage["written"],
            &stage["read"],
            &stage["coarser"]
        ),
        (
            &json!("qualified"),
            &json!({"dealstage": "open"}),
            &json!("prospect"),
            &json!(true)
        )
    );

    folder.write("deal.yaml", "title: Rollout\n");
    let (code, _, stderr) = said(&folder.run(&arguments, &[]));
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("--> deal.yaml:1:1") && stderr.contains("`title` is not a field of a deal"),
        "{stderr}"
    );
}

#[test]
fn what_a_system_holds_is_tried_live() {
    let sandbox = Sandbox::start(&[]);
    let (folder, secrets) = accounts(&sandbox);
    let made = crate::harness::post(
        &format!("{}/_sandbox/rows/Account", sandbox.url("salesforce")),
        &json!({"Name": "Northwind", "Website": "https://www.northwind.example"}),
    );
    let id = sandbox.rows("salesforce", "Account")[0]["Id"]
        .as_str()
        .unwrap_or_else(|| panic!("{made}"))
        .to_owned();
    let arguments = [
        "try",
        "salesforce",
        "partner",
        "--connection",
        "crm",
        "--json",
        "--id",
    ];
    let json = json_of(&folder.run(&[&arguments[..], &[id.as_str()]].concat(), &secrets));
    let fields = json["data"][0]["fields"].as_array().unwrap();
    let name = fields
        .iter()
        .find(|field| field["record"] == "display_name")
        .unwrap();
    assert_eq!(
        (&name["holds"], &name["value"]),
        (&json!({"Name": "Northwind"}), &json!("Northwind"))
    );

    let (code, _, stderr) = said(&folder.run(&[&arguments[..], &["001Sb0000009999AAA"]].concat(), &secrets));
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("crm has no Account `001Sb0000009999AAA`"),
        "{stderr}"
    );
    let (code, _, stderr) = said(&folder.run(
        &["try", "hubspot", "deal", "--id", "1", "--connection", "crm"],
        &secrets,
    ));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("one to salesforce, not to hubspot"), "{stderr}");
}

#[test]
fn a_mapping_that_there_is_not_is_a_mistake_of_the_command_line() {
    let folder = mapped();
    for (system, record, hint) in [
        ("hubspott", "deal", "did you mean `hubspot`?"),
        ("hubspot", "deel", "did you mean `deal`?"),
    ] {
        let (code, _, stderr) = said(&folder.run(&["try", system, record], &[]));
        assert_eq!(code, Some(2));
        assert!(stderr.contains(hint), "{stderr}");
    }
}
