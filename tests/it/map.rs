//! `interconnect map`: suggestions that can be pasted as they are, and what mappings leave out.

use crate::accounts::accounts;
use crate::harness::{Folder, Sandbox, json_of, said};

/// A mapping to start from: the required fields only.
const BEGUN: &str = "apiVersion: interconnect/v1
kind: Mapping
system: salesforce
object: Opportunity
record: deal
fields:
  - { record: name, object: Name }
  - { record: stage, object: StageName, lens: [ enum: { qualified: Qualification } ] }
examples:
  - object: { Name: Rollout, StageName: Qualification }
    record: { name: Rollout, stage: qualified }
";

fn begun(sandbox: &Sandbox) -> (Folder, Vec<(&'static str, String)>) {
    let (folder, secrets) = accounts(sandbox);
    folder.write("mappings/salesforce/deal.yaml", BEGUN);
    let config = std::fs::read_to_string(folder.path("interconnect.yaml")).expect("it was written");
    folder.write("interconnect.yaml", &format!("mappings: mappings\n{config}"));
    (folder, secrets)
}

#[test]
fn suggestions_are_ranked_and_their_lines_hold_as_they_are() {
    let sandbox = Sandbox::start(&[]);
    let (folder, secrets) = begun(&sandbox);
    let arguments = ["map", "suggest", "crm.Opportunity", "deal"];
    let (code, stdout, stderr) = said(&folder.run(&arguments, &secrets));
    assert_eq!(code, Some(0), "{stderr}");
    insta::assert_snapshot!(stdout, @r#"
    record                 object               label             type       alike
    amount                 Amount               Amount            decimal    100 %
    customer.country       Customer_Country__c  Customer Country  text       100 %
    customer.domain        Customer_Domain__c   Customer Domain   text       100 %
    customer.name          Customer_Name__c     Customer Name     text       100 %
    description            Description          Description       text       100 %
    next_steps             NextStep             Next Step         text       100 %
    owner_email            owner_email          owner_email       text       100 %
    partner                AccountId            Account ID        reference  100 %
    probability            Probability          Probability (%)   decimal    100 %
    amount                 ExpectedRevenue      Expected Amount   decimal    83 %
    expected_close_date    CloseDate            Close Date        date       73 %
    contact.email          owner_email          owner_email       text       71 %
    closed_at              CloseDate            Close Date        date       67 %
    deal_type              Type                 Opportunity Type  enum       58 %

    fields:
      - { record: amount, object: Amount, lens: [ money: { currency: "{connection}" } ] }
      - { record: customer.country, object: Customer_Country__c }
      - { record: customer.domain, object: Customer_Domain__c }
      - { record: customer.name, object: Customer_Name__c }
      - { record: description, object: Description }
      - { record: next_steps, object: NextStep }
      - { record: owner_email, object: owner_email }
      - { record: partner, object: AccountId, lens: [ reference: { object: … } ] }
      - { record: probability, object: Probability }
      - { record: expected_close_date, object: CloseDate }
      - { record: deal_type, object: Type, lens: [ enum: { net_new: … } ] }
    "#);

    let json = json_of(&folder.run(&[&arguments[..], &["--json"]].concat(), &secrets));
    let ranked: Vec<u64> = json["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|suggestion| suggestion["percent"].as_u64().unwrap())
        .collect();
    assert!(
        ranked.len() > 3 && ranked.is_sorted_by(|a, b| a >= b),
        "{ranked:?}"
    );

    // What a person has to fill in stands as `…`; the other lines go in as they are.
    let (_, lines) = stdout.split_once("\nfields:\n").unwrap();
    let lines: Vec<&str> = lines.lines().filter(|line| !line.contains('…')).collect();
    assert!(lines.len() > 2, "{lines:?}");
    let pasted = BEGUN.replace("examples:", &format!("{}\nexamples:", lines.join("\n")));
    folder.write("mappings/salesforce/deal.yaml", &pasted);
    let tested = json_of(&folder.run(&["test", "salesforce", "--json"], &secrets));
    assert_eq!(tested["errors"], 0, "{pasted}{tested}");
    // What is mapped now is not suggested again.
    let again = json_of(&folder.run(&[&arguments[..], &["--json"]].concat(), &secrets));
    assert!(again["data"].as_array().unwrap().len() < ranked.len(), "{again}");
}

#[test]
fn coverage_shows_what_is_left_out() {
    let folder = Folder::new();
    folder.write("interconnect.yaml", "mappings: mappings\n");
    folder.write("mappings/salesforce/deal.yaml", BEGUN);
    let (code, stdout, stderr) = said(&folder.run(&["map", "coverage", "salesforce"], &[]));
    assert_eq!(code, Some(0), "{stderr}");
    let deal = stdout
        .split("\n\n")
        .skip_while(|part| !part.starts_with("Opportunity is deal"));
    let deal: Vec<&str> = deal.collect();
    assert!(deal[0].starts_with("Opportunity is deal: 2 of "), "{stdout}");
    let first: Vec<&str> = deal[1].lines().take(4).collect();
    insta::assert_snapshot!(first.join("\n"), @r"
    record                          object     way
    name                  required  Name       both ways
    stage                 required  StageName  both ways
    amount
    ");

    let json = json_of(&folder.run(&["map", "coverage", "salesforce", "--json"], &[]));
    let deal = json["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["kind"] == "deal")
        .unwrap();
    assert_eq!(deal["required_and_unmapped"], serde_json::json!([]));
    let amount = deal["fields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["record"] == "amount")
        .unwrap();
    assert!(amount["object"].is_null(), "{amount}");

    let (code, _, stderr) = said(&folder.run(&["map", "coverage", "salesfarce"], &[]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("did you mean `salesforce`?"), "{stderr}");
}
