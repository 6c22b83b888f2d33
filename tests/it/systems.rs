//! Three systems in agreement: a real Tryton, and the sandbox driven by jsforce and @hubspot/api-client.

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Hub, Sandbox, Tryton, client, eventually, expect, interconnect, json_of};

const SECRETS: [&str; 4] = ["SF_ID", "SF_SECRET", "HS_TOKEN", "ERP_PASSWORD"];

/// The configuration of a hub between the three, and its secrets.
pub(crate) fn config(
    folder: &Folder,
    sandbox: &Sandbox,
    tryton: &Tryton,
) -> (String, Vec<(&'static str, String)>) {
    let said = |pointer: &str| {
        sandbox
            .said
            .pointer(pointer)
            .and_then(Json::as_str)
            .unwrap_or_else(|| panic!("{pointer} in {}", sandbox.said))
            .to_owned()
    };
    let mut text = format!(
        "listen: 127.0.0.1:0
ledger: sqlite:{ledger}
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
  erp:
    system: tryton
    auth: session_login
    config: {{ base_url: \"{tryton}\", database: {database}, user: {user} }}
    secrets: {{ password: \"${{env:ERP_PASSWORD}}\" }}
    currency: USD
    country: US
    lag: 0ms
limits: {{ sweep_every_ms: 200 }}
syncs:
",
        ledger = folder.path("hub.db").display(),
        salesforce = sandbox.url("salesforce"),
        hubspot = sandbox.url("hubspot"),
        tryton = tryton.said("url"),
        database = tryton.said("database"),
        user = tryton.said("user"),
    );
    for connection in ["crm", "marketing", "erp"] {
        for record in ["partner", "lead", "deal"] {
            text.push_str(&format!(
                "  - {{ connection: {connection}, record: {record}, every: 300ms }}\n"
            ));
        }
    }
    let values = [
        said("/salesforce/client_id"),
        said("/salesforce/client_secret"),
        said("/hubspot/token"),
        tryton.said("password"),
    ];
    (text, SECRETS.into_iter().zip(values).collect())
}

fn decimal(digits: &str) -> Json {
    json!({"__class__": "Decimal", "decimal": digits})
}

fn date(year: u16, month: u8, day: u8) -> Json {
    json!({"__class__": "date", "year": year, "month": month, "day": day})
}

/// Parties, a lead and two opportunities, as a person at the ERP's screen would make them.
struct Seeded {
    won: i64,
    open: i64,
}

fn seed(tryton: &Tryton) -> Seeded {
    let id = |result: Json| result[0].as_i64().expect("a new id");
    let country = |code: &str| {
        let found = tryton.call(
            "model.country.country.search",
            &json!([[["code", "=", code]], 0, 1, null]),
        );
        found[0].clone()
    };
    let party = |name: &str,
                 street: &str,
                 city: &str,
                 code: &str,
                 phone: &str,
                 website: &str,
                 email: &str| {
        id(tryton.call(
            "model.party.party.create",
            &json!([[{
                "name": name,
                "addresses": [["create", [{
                    "street_unstructured": street, "city": city, "postal_code": "10115", "country": country(code),
                }]]],
                "contact_mechanisms": [["create", [
                    {"type": "phone", "value": phone},
                    {"type": "website", "value": website},
                    {"type": "email", "value": email},
                ]]],
            }]]),
        ))
    };
    let northwind = party(
        "Northwind Traders GmbH",
        "Hauptstraße 1",
        "Berlin",
        "DE",
        "+493012345678",
        "https://northwind.example",
        "office@northwind.example",
    );
    let fabrikam = party(
        "Fabrikam Ltd",
        "1 High Street",
        "London",
        "GB",
        "+442079460958",
        "https://fabrikam.example",
        "hello@fabrikam.example",
    );
    let opportunity = |description: &str, party: i64, amount: &str, day: Json| {
        id(tryton.call(
            "model.sale.opportunity.create",
            &json!([[{"description": description, "party": party, "amount": decimal(amount), "end_date": day}]]),
        ))
    };
    opportunity("Contoso wants to talk", fabrikam, "900.00", date(2027, 1, 31));
    let won = opportunity("Warehouse rollout", northwind, "12500.50", date(2026, 12, 24));
    let open = opportunity(
        "Fleet tracking, phase 2",
        fabrikam,
        "1234567890123.45",
        date(2027, 2, 28),
    );
    tryton.call("model.sale.opportunity.opportunity", &json!([[won, open]]));
    Seeded { won, open }
}

fn opportunity(tryton: &Tryton, id: i64) -> Json {
    let fields = json!(["description", "state", "amount", "end_date", "last_modified_at"]);
    tryton.call("model.sale.opportunity.read", &json!([[id], fields]))[0].clone()
}

#[test]
fn what_is_made_in_one_system_reaches_the_other_two_and_stays_exact() {
    let folder = Folder::new();
    let (sandbox, tryton) = (Sandbox::start(&[]), Tryton::start(&folder));
    let (text, secrets) = config(&folder, &sandbox, &tryton);
    let config = folder.write("interconnect.yaml", &text);
    let seeded = seed(&tryton);
    let hub = Hub::start(&config, &secrets);
    let (salesforce, hubspot) = (sandbox.url("salesforce"), sandbox.url("hubspot"));
    let query = |soql: &str| client("salesforce.mjs", &["query", "--url", &salesforce, soql]);
    let search = |object: &str, property: &str, value: &str| {
        let filter = json!({"propertyName": property, "operator": "EQ", "value": value});
        let wanted = [
            "name",
            "domain",
            "phone",
            "city",
            "country",
            "dealname",
            "amount",
            "deal_currency_code",
            "closedate",
            "dealstage",
        ];
        let body =
            json!({"filterGroups": [{"filters": [filter]}], "properties": wanted, "limit": 10}).to_string();
        client("hubspot.mjs", &["search", "--url", &hubspot, object, &body])["results"].clone()
    };

    // Parties, leads and opportunities made in Tryton appear in both CRMs, exactly.
    eventually("deals of Tryton in both CRMs", || {
        let (there, also) = (
            sandbox.rows("salesforce", "Opportunity"),
            sandbox.rows("hubspot", "deals"),
        );
        let leads = (
            sandbox.rows("salesforce", "Lead").len(),
            sandbox.rows("hubspot", "contacts").len(),
        );
        expect(
            there.len() == 2 && also.len() == 2 && leads.0 == 1,
            format!(
                "{} opportunities, {} deals, {leads:?} leads",
                there.len(),
                also.len()
            ),
        )
    });
    let account = query(
        "SELECT Name, Phone, Website, BillingCity, BillingCountry FROM Account WHERE Phone = '+493012345678'",
    );
    let northwind = json!({"Name": "Northwind Traders GmbH", "Phone": "+493012345678",
        "Website": "https://northwind.example", "BillingCity": "Berlin", "BillingCountry": "Germany"});
    assert_eq!(plain(&account), [northwind]);
    let fields = "Name, Amount, CurrencyIsoCode, CloseDate, Account.Name";
    let deal = query(&format!(
        "SELECT {fields} FROM Opportunity WHERE Name = 'Warehouse rollout'"
    ));
    let rollout = json!({"Name": "Warehouse rollout", "Amount": 12500.5, "CurrencyIsoCode": "USD",
        "CloseDate": "2026-12-24", "Account": {"Name": "Northwind Traders GmbH"}});
    assert_eq!(plain(&deal), [rollout]);
    let rows = sandbox.rows("salesforce", "Opportunity");
    let row = rows
        .into_iter()
        .find(|row| row["Name"] == "Fleet tracking, phase 2");
    assert_eq!(
        row.expect("it is there")["Amount"].to_string(),
        "1234567890123.45",
        "every digit"
    );
    let deal = search("deals", "dealname", "Warehouse rollout");
    let rollout = json!({"dealname": "Warehouse rollout", "amount": "12500.50", "deal_currency_code": "USD"});
    assert_eq!(
        picked(&deal, &["dealname", "amount", "deal_currency_code"]),
        rollout
    );
    let day = deal[0]["properties"]["closedate"].as_str();
    assert!(
        day.is_some_and(|day| day.starts_with("2026-12-24T00:00:00")),
        "{deal}"
    );
    let big = search("deals", "dealname", "Fleet tracking, phase 2");
    assert_eq!(big[0]["properties"]["amount"], json!("1234567890123.45"), "{big}");
    let company = search("companies", "phone", "+442079460958");
    let fabrikam = json!({"name": "Fabrikam Ltd", "phone": "+442079460958", "city": "London", "country": "United Kingdom"});
    assert_eq!(picked(&company, &["name", "phone", "city", "country"]), fabrikam);
    let lead = query("SELECT Company FROM Lead");
    assert_eq!(plain(&lead), [json!({"Company": "Contoso wants to talk"})]);

    // A stage changed by jsforce reaches Tryton and HubSpot.
    let won = query("SELECT Id FROM Opportunity WHERE Name = 'Warehouse rollout'");
    let won_id = won[0]["Id"].as_str().expect("an id").to_owned();
    let change = json!({"Id": won_id, "StageName": "Closed Lost"}).to_string();
    client(
        "salesforce.mjs",
        &["update", "--url", &salesforce, "Opportunity", &change],
    );
    eventually("the lost deal in Tryton and HubSpot", || {
        let state = opportunity(&tryton, seeded.won)["state"].clone();
        let stage = search("deals", "dealname", "Warehouse rollout")[0]["properties"]["dealstage"].clone();
        expect(
            state == "lost" && stage == "closedlost",
            format!("{state} and {stage}"),
        )
    });

    // A deal edited with @hubspot/api-client reaches Salesforce and Tryton.
    let deal_id = big[0]["id"].as_str().expect("an id");
    let change = json!({"amount": "777.70", "closedate": "2027-03-31T00:00:00Z"}).to_string();
    client(
        "hubspot.mjs",
        &["update", "--url", &hubspot, "deals", deal_id, &change],
    );
    eventually("the new amount in Salesforce and Tryton", || {
        let there = query("SELECT Amount, CloseDate FROM Opportunity WHERE Name = 'Fleet tracking, phase 2'");
        let erp = opportunity(&tryton, seeded.open);
        let there = &there[0];
        expect(
            there["Amount"].to_string().parse::<f64>() == Ok(777.7)
                && there["CloseDate"] == "2027-03-31"
                && erp["amount"] == decimal("777.70")
                && erp["end_date"] == date(2027, 3, 31),
            format!("{there} and {erp}"),
        )
    });

    // A second full sync changes nothing anywhere and makes no write call.
    assert_eq!(hub.running.stop(), Some(0));
    let path = config.to_str().expect("a path of text");
    let settle = interconnect(&["--config", path, "sync", "run", "--json"], &secrets);
    assert_eq!(
        settle.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&settle.stdout)
    );
    let before: Vec<Json> = [seeded.won, seeded.open]
        .map(|id| opportunity(&tryton, id))
        .to_vec();
    sandbox.reset_calls("salesforce");
    sandbox.reset_calls("hubspot");
    let again = json_of(&interconnect(
        &["--config", path, "sync", "run", "--full", "--json"],
        &secrets,
    ));
    let total = &again["total"];
    assert!(
        total["read"].as_u64() >= Some(9),
        "a full sync reads everything: {again}"
    );
    for changed in ["created", "updated", "met", "written", "parked", "gone"] {
        assert_eq!(total.get(changed), None, "{again}");
    }
    assert_eq!(
        (sandbox.calls("salesforce").1, sandbox.calls("hubspot").1),
        (0, 0)
    );
    assert!(sandbox.calls("salesforce").0 > 0 && sandbox.calls("hubspot").0 > 0);
    let after: Vec<Json> = [seeded.won, seeded.open]
        .map(|id| opportunity(&tryton, id))
        .to_vec();
    assert_eq!(before, after, "Tryton was not written either");
}

/// Records of a query without what differs from run to run.
fn plain(answer: &Json) -> Vec<Json> {
    let mut records = answer.as_array().cloned().unwrap_or_default();
    for record in &mut records {
        strip(record);
    }
    records
}

fn strip(record: &mut Json) {
    if let Json::Object(map) = record {
        map.remove("attributes");
        map.values_mut().for_each(strip);
    }
}

fn picked(found: &Json, properties: &[&str]) -> Json {
    let first = &found[0]["properties"];
    properties
        .iter()
        .map(|name| ((*name).to_owned(), first[name].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
