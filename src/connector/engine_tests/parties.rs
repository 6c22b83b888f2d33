//! Deals at systems that want something of theirs first: a customer, found by its name or made, or the currency of a company.

use serde_json::{Value as Json, json};

use crate::testing::{Got, Say, Server, connect, ok, shipped, write};
use crate::{Connection, Outcome};

const CUSTOMER: &str = "Tidewater Ceramics";

fn erpnext(server: &Server, unknown: &str) -> Connection {
    let config = json!({"base_url": server.url, "time_zone": "UTC", "unknown_party": unknown});
    let secrets = [("api_key", "k"), ("api_secret", "s")];
    connect(&shipped("erpnext"), config, &secrets, &std::sync::Arc::default())
}

fn netsuite(server: &Server, unknown: &str) -> Connection {
    let config = json!({"base_url": server.url, "account": "123456_SB1", "time_zone": "UTC", "unknown_customer": unknown});
    let secrets = ["consumer_key", "consumer_secret", "token_id", "token_secret"].map(|name| (name, "x"));
    crate::testing::connect_by(&shipped("netsuite"), config, &secrets, "oauth1")
}

/// What was sent, without what was asked.
fn sent(server: &Server) -> Vec<(String, Json)> {
    let writes = server
        .got()
        .into_iter()
        .filter(|got| !got.line.starts_with("GET") && !got.line.contains("suiteql"));
    writes
        .map(|got: Got| (got.line.split('?').next().unwrap().to_owned(), got.json()))
        .collect()
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Written { id, created, .. } => format!("{id} {created}"),
        Outcome::Refused(error) => error.message.clone(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn an_opportunity_gets_the_party_that_has_its_customers_name() {
    let deal = [write(
        None,
        "dea_1",
        json!({"title": "Kilns", "stage": "Prospecting", "party": CUSTOMER}),
    )];
    for (known, unknown, outcome) in [
        (
            json!([{"name": "CUST-7", "customer_name": CUSTOMER}]),
            "refuse",
            "CRM-OPP-1 true",
        ),
        (json!([]), "create", "CRM-OPP-1 true"),
        (
            json!([]),
            "refuse",
            "`party`: the system has no customer or prospect `Tidewater Ceramics`, add it there or correct the value",
        ),
        (
            json!([{"name": "CUST-7", "customer_name": CUSTOMER}, {"name": "CUST-8", "customer_name": CUSTOMER}]),
            "create",
            "`party`: the system has 2 of customer or prospect `Tidewater Ceramics` (CUST-7, CUST-8), so that it names none: make the names differ there",
        ),
    ] {
        let answer = known.clone();
        let server = Server::start(move |got| match got.line.split('?').next().unwrap() {
            "GET /api/resource/Customer" => ok(json!({"data": answer})),
            "POST /api/resource/Customer" => ok(json!({"data": {"name": "CUST-9"}})),
            "POST /api/resource/Opportunity" => {
                ok(json!({"data": {"name": "CRM-OPP-1", "modified": "2026-11-23 10:00:00.000000"}}))
            }
            _ => ok(json!({"data": []})),
        })
        .await;
        let outcomes = erpnext(&server, unknown)
            .write("Opportunity", &deal)
            .await
            .unwrap();
        assert_eq!(told(&outcomes[0]), outcome);
        let opportunity = |party: &str| {
            let body = json!({"title": "Kilns", "sales_stage": "Prospecting", "party_name": party, "opportunity_from": "Customer", "custom_interconnect_id": "dea_1"});
            ("POST /api/resource/Opportunity".to_owned(), body)
        };
        let made = (
            "POST /api/resource/Customer".to_owned(),
            json!({"customer_name": CUSTOMER, "customer_type": "Company"}),
        );
        let expected = match (known.as_array().unwrap().len(), unknown) {
            (1, _) => vec![opportunity("CUST-7")],
            (0, "create") => vec![made, opportunity("CUST-9")],
            _ => Vec::new(),
        };
        assert_eq!(sent(&server), expected);
    }
}

#[tokio::test]
async fn a_netsuite_opportunity_gets_the_customer_that_has_its_customers_name() {
    let deal = [write(
        None,
        "dea_1",
        json!({"title": "Kilns", "entityStatus": "8", "customer": CUSTOMER}),
    )];
    for (known, unknown, entity) in [(Some("647"), "refuse", "647"), (None, "create", "648")] {
        let server = Server::start(move |got| match got.line.split('?').next().unwrap() {
            "POST /services/rest/query/v1/suiteql" if got.body.contains("companyname") => {
                let items: Vec<Json> = known
                    .iter()
                    .map(|id| json!({"id": id, "companyname": CUSTOMER}))
                    .collect();
                ok(json!({"items": items}))
            }
            "POST /services/rest/query/v1/suiteql" => ok(json!({"items": []})),
            "POST /services/rest/record/v1/customer" => Say::Headers(
                204,
                vec![(
                    "location",
                    "https://x.example/services/rest/record/v1/customer/648",
                )],
                String::new(),
            ),
            _ => Say::Headers(
                204,
                vec![(
                    "location",
                    "https://x.example/services/rest/record/v1/opportunity/9001",
                )],
                String::new(),
            ),
        })
        .await;
        let outcomes = netsuite(&server, unknown)
            .write("opportunity", &deal)
            .await
            .unwrap();
        assert_eq!(told(&outcomes[0]), "9001 true");
        let mut expected = vec![(
            "PUT /services/rest/record/v1/opportunity/eid:dea_1".to_owned(),
            json!({"title": "Kilns", "entityStatus": {"id": "8"}, "entity": {"id": entity}}),
        )];
        if known.is_none() {
            let customer = json!({"companyName": CUSTOMER, "isPerson": false, "entityStatus": {"id": "8"}, "subsidiary": {"id": "1"}});
            expected.insert(0, ("POST /services/rest/record/v1/customer".to_owned(), customer));
        }
        assert_eq!(sent(&server), expected);
        let asked = server
            .got()
            .into_iter()
            .find(|got| got.body.contains("companyname"))
            .unwrap();
        assert!(
            asked.body.contains("t.companyname IN ('Tidewater Ceramics')"),
            "{}",
            asked.body
        );
    }
}

#[tokio::test]
async fn odoo_is_written_amounts_in_the_currency_of_its_company_alone() {
    let server = Server::start(|got| match got.line.as_str() {
        "POST /json/2/res.company/web_search_read" if got.json()["domain"][0][2] == json!(["EUR"]) => {
            ok(json!({"records": [{"id": 1, "currency_id": {"id": 125, "name": "EUR"}}]}))
        }
        "POST /json/2/res.company/web_search_read" => ok(json!({"records": []})),
        "POST /json/2/crm.lead/create" => ok("[7]"),
        "POST /json/2/crm.lead/write" => ok("true"),
        _ => ok("[]"),
    })
    .await;
    let config = json!({"base_url": server.url, "database": "odoo"});
    let odoo = connect(
        &shipped("odoo"),
        config,
        &[("api_key", "k")],
        &std::sync::Arc::default(),
    );
    let amount =
        |currency: &str| json!({"name": "Roof", "expected_revenue": 5, "company_currency": currency});
    let outcomes = odoo
        .write("crm.lead", &[write(None, "dea_1", amount("EUR"))])
        .await
        .unwrap();
    assert_eq!(told(&outcomes[0]), "7 true");
    let made = json!({"vals_list": [{"name": "Roof", "expected_revenue": 5, "x_interconnect_id": "dea_1"}]});
    let lines = || -> Vec<String> {
        server
            .lines()
            .into_iter()
            .filter(|line| line.contains("crm.lead/"))
            .collect()
    };
    assert_eq!(server.got().last().unwrap().json(), made);

    // In another currency nothing is written: neither a new one, nor one whose company has its own.
    let before = lines().len();
    let outcomes = odoo
        .write(
            "crm.lead",
            &[
                write(None, "dea_2", amount("USD")),
                write(Some("7"), "dea_1", amount("EUR")),
            ],
        )
        .await
        .unwrap();
    assert_eq!(
        told(&outcomes[0]),
        "`company_currency`: the system has no company whose currency is `USD`, add it there or correct the value"
    );
    assert!(
        told(&outcomes[1]).contains("the only one that Odoo keeps"),
        "{outcomes:?}"
    );
    assert_eq!(lines()[before..], ["POST /json/2/crm.lead/search_read"]);
}
