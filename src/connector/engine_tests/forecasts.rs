//! What reading everything will take is told before it begins.

use std::sync::Arc;

use serde_json::json;

use crate::Forecast;
use crate::testing::{ManualClock, Say, Server, connect, hubspot, ok, salesforce, shipped};

fn fields(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn pages_and_the_references_beside_them_are_calls() {
    let server = Server::start(|_| ok(json!({"total": 1_204, "results": []}))).await;
    let connection = hubspot(&server, &Arc::default());
    let asked = fields(&["dealname", "associations.companies"]);
    let forecast = connection.forecast("deals", &asked).await.unwrap().unwrap();
    let expected = Forecast {
        objects: 1_204,
        // 200 a page, 1,000 a call for the companies of deals.
        calls: 7 + 2,
        // Two searches a second, half of what may be used.
        at_least_ms: 3_000,
        calls_left: None,
    };
    assert_eq!(forecast, expected);
    assert_eq!(server.lines(), ["POST /crm/v3/objects/deals/search"]);
    // With many fields a page only finds ids.
    let many: Vec<String> = (0..60).map(|number| format!("property_{number}")).collect();
    let forecast = connection.forecast("deals", &many).await.unwrap().unwrap();
    assert_eq!(forecast.calls, 7 + 13);
}

#[tokio::test]
async fn many_are_read_by_a_job_and_the_quota_is_told() {
    let clock: Arc<ManualClock> = Arc::default();
    let server = Server::start(|got| {
        if got.line.contains("/token") {
            return ok(
                json!({"access_token": "t", "instance_url": "http://HOST", "id": "https://login/id/00D/005"})
                    .to_string()
                    .replace("HOST", &got.headers["host"]),
            );
        }
        let objects = if got.line.contains("Account") {
            30_001
        } else {
            4_001
        };
        let body = json!({"totalSize": objects, "done": true, "records": []});
        Say::Header(200, "sforce-limit-info", "api-usage=1000/15000", body.to_string())
    })
    .await;
    let connection = salesforce(&server, &clock);
    let accounts = connection
        .forecast("Account", &fields(&["Name"]))
        .await
        .unwrap()
        .unwrap();
    // Made, asked about, found done, removed, and seven pages of 5,000 rows.
    assert_eq!((accounts.objects, accounts.calls), (30_001, 4 + 7));
    // Half of 80 % of 15,000, less what is used.
    assert_eq!(accounts.calls_left, Some(5_000));
    let deals = connection
        .forecast("Opportunity", &fields(&["Name"]))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((deals.objects, deals.calls), (4_001, 3));
}

#[tokio::test]
async fn what_cannot_be_counted_is_not_forecast() {
    let server = Server::script(Vec::new()).await;
    let config = json!({"base_url": server.url});
    let connection = connect(&shipped("homegrown"), config, &[("token", "t")], &Arc::default());
    assert_eq!(connection.forecast("partners", &[]).await.unwrap(), None);
    assert!(server.lines().is_empty());
}

#[test]
fn a_job_that_reads_begins_with_counting() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors/salesforce/connector.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let without: Vec<&str> = text.split_inclusive('\n').collect();
    let at = without.iter().position(|line| line.trim() == "count:").unwrap();
    let without = [&without[..at], &without[at + 3..]].concat().concat();
    let mut report = diagnostic::Report::new();
    let source = diagnostic::Source::new("connector.yaml", without);
    assert!(crate::Connector::compile(&source, &mut report).is_none());
    let told: Vec<_> = report
        .findings()
        .iter()
        .map(|finding| (finding.code, finding.hint.as_deref()))
        .collect();
    assert_eq!(
        told,
        [("IC0213", Some("add `count: { request, value }` beside `changes`"))]
    );
}
