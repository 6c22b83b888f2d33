//! Asking systems what they are: connections that work and do not, and the fields of their objects.

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Sandbox, json_of, said};

/// A folder with two connections to a sandbox, and their secrets.
pub(crate) fn accounts(sandbox: &Sandbox) -> (Folder, Vec<(&'static str, String)>) {
    let folder = Folder::new();
    folder.write(
        "interconnect.yaml",
        &format!(
            "outbound: {{ allow: [127.0.0.0/8] }}
connections:
  crm:
    system: salesforce
    auth: oauth2_client_credentials
    config: {{ login_url: \"{}\" }}
    secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}
  marketing:
    system: hubspot
    config: {{ base_url: \"{}\" }}
    secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}
",
            sandbox.url("salesforce"),
            sandbox.url("hubspot"),
        ),
    );
    let credential = |pointer: &str| {
        let found = sandbox.said.pointer(pointer).and_then(Json::as_str);
        found.expect("a credential").to_owned()
    };
    let secrets = vec![
        ("SF_ID", credential("/salesforce/client_id")),
        ("SF_SECRET", credential("/salesforce/client_secret")),
        ("HS_TOKEN", credential("/hubspot/token")),
    ];
    (folder, secrets)
}

#[test]
fn a_connection_is_tested_step_by_step() {
    let sandbox = Sandbox::start(&[]);
    let (folder, mut secrets) = accounts(&sandbox);
    let (code, stdout, stderr) = said(&folder.run(&["connection", "test"], &secrets));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    insta::assert_snapshot!(stdout, @r"
    connection  step          said
    crm         sign in   ok  by oauth2_client_credentials
    crm         identity  ok  account 00DSb0000003S8WMAU
    crm         check     ok  it may read
    marketing   sign in   ok  by bearer
    marketing   identity  ok  account 44237313
    marketing   check     ok  it may read
    ");

    secrets[1].1 = "swordfish".to_owned();
    let (code, stdout, stderr) = said(&folder.run(&["connection", "test", "crm"], &secrets));
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    insta::assert_snapshot!(stdout, @r"
    connection  step             said
    crm         sign in  failed  the system refuses the credentials: authorise the connection again (invalid client credentials)
    ");

    secrets[2].1 = "tuna".to_owned();
    let output = folder.run(&["connection", "test", "--json"], &secrets);
    let (code, stdout, stderr) = said(&output);
    assert_eq!(code, Some(1));
    assert!(
        !format!("{stdout}{stderr}").contains("tuna") && !stdout.contains("swordfish"),
        "{stdout}"
    );
    let tested = json_of(&output);
    assert_eq!(
        tested["data"][0]["steps"].as_array().unwrap().len(),
        1,
        "{tested}"
    );
    let marketing = &tested["data"][1];
    assert_eq!(marketing["works"], false, "{marketing}");
    // A fixed token is only refused when it is used.
    assert_eq!(marketing["steps"][1]["class"], "auth_revoked", "{marketing}");
    assert_eq!(marketing["steps"][1]["status"], 401, "{marketing}");
}

#[test]
fn connections_are_listed_with_what_they_lack() {
    let sandbox = Sandbox::start(&[]);
    let (folder, mut secrets) = accounts(&sandbox);
    secrets.pop();
    let (code, stdout, _) = said(&folder.run(&["connection", "list"], &secrets));
    assert_eq!(code, Some(0));
    let (connections, connectors) = stdout.split_once("\n\n").unwrap();
    insta::assert_snapshot!(connections, @r"
    connection  system      signs in by                state
    crm         salesforce  oauth2_client_credentials  ready
    marketing   hubspot     bearer                     the secret ${env:HS_TOKEN} is not there; set the environment variable HS_TOKEN
    ");
    assert!(connectors.contains("hubspot, "), "{connectors}");

    let shown = json_of(&folder.run(&["connection", "show", "marketing", "--json"], &secrets));
    assert_eq!(
        shown["secrets"],
        json!({"access_token": {"from": "${env:HS_TOKEN}", "there": false}})
    );
    let (_, shown, _) = said(&folder.run(&["connection", "show", "crm"], &secrets));
    insta::assert_snapshot!(shown.replace(&sandbox.url("salesforce"), "URL"), @r"
    crm                    Salesforce
    system                 salesforce
    auth                   oauth2_client_credentials
    state                  ready
    config.login_url       URL
    secrets.client_id      from ${env:SF_ID}
    secrets.client_secret  from ${env:SF_SECRET}
    objects                Account, Contact, Lead, Opportunity, User
    ");

    let (code, _, stderr) = said(&folder.run(&["connection", "show", "cmr"], &secrets));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("known are: crm, marketing"), "{stderr}");
    let (code, _, stderr) = said(&folder.run(&["connection", "test", "marketing"], &secrets));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("HS_TOKEN"), "{stderr}");
}

#[test]
fn the_fields_of_an_object_are_shown_with_what_they_are_mapped_to() {
    let sandbox = Sandbox::start(&[]);
    let (folder, secrets) = accounts(&sandbox);
    let (code, stdout, stderr) = said(&folder.run(&["fields", "marketing.deals"], &secrets));
    assert_eq!(code, Some(0), "{stderr}");
    insta::assert_snapshot!(stdout, @r"
    name                       label                type                 mapped to                 options
    amount                     Amount               decimal              deal.amount
    closed_lost_reason         Closed Lost Reason   text                 deal.lost_reason
    closedate                  Close Date           datetime             deal.expected_close_date
    createdate                 Create Date          datetime  read only
    customer_country           Customer country     text                 deal.customer.country
    customer_domain            Customer domain      text                 deal.customer.domain
    customer_name              Customer name        text                 deal.customer.name
    deal_currency_code         Currency             enum                 deal.amount               USD, EUR, GBP, CHF … 9 more
    dealname                   Deal Name            text                 deal.name
    dealstage                  Deal Stage           enum                 deal.stage                appointmentscheduled, qualifiedtobuy, presentationscheduled, decisionmakerboughtin … 3 more
    dealtype                   Deal Type            enum                 deal.deal_type            newbusiness, existingbusiness
    description                Deal Description     text                 deal.description
    hs_deal_stage_probability  Deal probability     decimal   read only
    hs_is_closed               Is Closed            boolean   read only                            true, false
    hs_is_closed_won           Is Closed Won        boolean   read only                            true, false
    hs_lastmodifieddate        Last Modified Date   datetime  read only
    hs_next_step               Next step            text                 deal.next_steps
    hs_object_id               Record ID            decimal   read only
    hs_object_source           Record source        text      read only
    hs_object_source_id        Record source ID     text      read only
    hs_object_source_label     Record source label  text      read only
    hubspot_owner_id           Owner                enum
    interconnect_id            Interconnect ID      text      unique
    owner_email                owner_email          text                 deal.owner_email
    pipeline                   Pipeline             enum                                           default
    ");
    insta::assert_snapshot!(stderr, @"");

    let json = json_of(&folder.run(&["fields", "crm.Opportunity", "--json"], &secrets));
    let field = |name: &str| {
        let fields = json["data"].as_array().unwrap();
        fields
            .iter()
            .find(|field| field["name"] == name)
            .unwrap_or_else(|| panic!("{name} in {json}"))
    };
    assert_eq!(field("Name")["mapped_to"], json!(["deal.name"]));
    assert_eq!(field("Name")["required"], true);
    assert_eq!(field("StageName")["type"], "enum");
    assert!(field("StageName")["options"].as_array().unwrap().len() > 4);
    assert_eq!(field("Id")["writable"], false);

    let misspelt = "apiVersion: interconnect/v1\nkind: Mapping\nsystem: hubspot\nobject: deals\nrecord: deal\n\
        fields:\n  - { record: name, object: dealname }\n  - { record: stage, object: dealstag }\n";
    folder.write("mappings/hubspot/deal.yaml", misspelt);
    let config = std::fs::read_to_string(folder.path("interconnect.yaml")).unwrap();
    folder.write("interconnect.yaml", &format!("mappings: mappings\n{config}"));
    let output = folder.run(&["fields", "marketing.deals", "--json"], &secrets);
    assert_eq!(
        json_of(&output)["missing"],
        json!([{"name": "dealstag", "mapped_to": "deal.stage"}])
    );
    let (_, _, stderr) = said(&output);
    assert!(stderr.contains("deals has no field `dealstag`"), "{stderr}");
}

#[test]
fn an_object_that_there_is_not_is_a_mistake_of_the_command_line() {
    let sandbox = Sandbox::start(&[]);
    let (folder, mut secrets) = accounts(&sandbox);
    for (of, hint) in [
        ("crm.Oportunity", "did you mean `Opportunity`?"),
        ("cmr.Opportunity", "known are: crm, marketing"),
        ("Opportunity", "for example crm.Opportunity"),
    ] {
        let (code, _, stderr) = said(&folder.run(&["fields", of], &secrets));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(hint), "{stderr}");
    }
    secrets[2].1 = "tuna".to_owned();
    let (code, _, stderr) = said(&folder.run(&["fields", "marketing.deals"], &secrets));
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("refuses the credentials") && !stderr.contains("tuna"),
        "{stderr}"
    );
}
