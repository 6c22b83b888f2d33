//! Reading changes and objects.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::testing::{Got, ManualClock, Say, Server, hubspot, ok, salesforce};
use crate::{Class, Connection, Page};

fn deal(id: u64) -> Json {
    json!({"id": id.to_string(), "properties": {"dealname": format!("d{id}"), "hs_object_id": id.to_string()},
           "updatedAt": "2026-11-23T09:00:00.000Z", "archived": false})
}

fn fields(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// Rows 1 to `last`, searched as the system does: by id, a page at a time.
fn search(got: &Got, last: u64, page: usize) -> Say {
    let body = got.json();
    let filters = body["filterGroups"][0]["filters"].as_array().unwrap();
    let after: u64 = filters[2]["value"].as_str().unwrap().parse().unwrap();
    let found: Vec<Json> = (after + 1..=last).take(page).map(deal).collect();
    let more = found.len() == page && after + (page as u64) < last;
    ok(
        json!({"total": last, "results": found, "paging": if more { json!({"next": {"after": "x"}}) } else { Json::Null }}),
    )
}

async fn ids_of(connection: &Connection, cursor: &mut Option<Json>) -> (Vec<String>, bool) {
    let Page {
        objects,
        cursor: next,
        more,
    } = connection
        .changes("deals", &fields(&["dealname"]), cursor.as_ref())
        .await
        .unwrap();
    *cursor = Some(next);
    (objects.into_iter().map(|o| o.id).collect(), more)
}

#[tokio::test]
async fn a_window_is_read_page_by_page_and_goes_on_after_a_restart() {
    let server = Server::start(|got| search(got, 5, 2)).await;
    let clock = Arc::new(ManualClock::default());
    let mut cursor = None;
    let mut pages = Vec::new();
    for _ in 0..20 {
        // A new connection for each page: nothing but the cursor is remembered.
        let (ids, more) = ids_of(&hubspot(&server, &clock), &mut cursor).await;
        pages.push(ids);
        if !more {
            break;
        }
    }
    // First the authoritative window, then the fast one up to the present; both see the same rows here.
    let page = |ids: &[&str]| fields(ids);
    let window = [page(&["1", "2"]), page(&["3", "4"]), page(&["5"])];
    assert_eq!(pages, [&window[..], &window[..]].concat());
    let first = server.got()[0].json();
    assert_eq!(first["filterGroups"][0]["filters"][0]["value"], "0");
    assert_eq!(first["sorts"][0]["propertyName"], "hs_object_id");
}

/// What is written while our clock is ahead of the system's is not taken for read.
#[tokio::test]
async fn windows_end_by_the_clock_of_the_system_where_ours_is_ahead() {
    let server = Server::start(|got| match search(got, 2, 200) {
        Say::Json(status, body) => Say::Header(status, "date", "Mon, 23 Nov 2026 09:58:00 GMT", body),
        other => other,
    })
    .await;
    let connection = hubspot(&server, &Arc::new(ManualClock::default()));
    let mut cursor = None;
    let connection = connection.counted();
    while ids_of(&connection, &mut cursor).await.1 {}
    assert_eq!(connection.clock_ahead_ms(), 120_000);
    // By ours it is ten o'clock. The authoritative pass, then again by their clock, then the fast one.
    let ends: Vec<String> = server
        .got()
        .iter()
        .map(|got| got.json()["filterGroups"][0]["filters"][1]["value"].clone())
        .map(|end| Timestamp::from_millisecond(end.as_str().unwrap().parse().unwrap()).unwrap())
        .map(|end| end.to_string())
        .collect();
    assert_eq!(
        ends,
        [
            "2026-11-23T09:00:00Z",
            "2026-11-23T08:58:00Z",
            "2026-11-23T09:57:45Z"
        ]
    );
}

#[tokio::test]
async fn ids_out_of_order_stop_the_reading() {
    let page = json!({"results": [deal(9), deal(10), deal(2)]});
    let server = Server::start(move |_| ok(&page)).await;
    let connection = hubspot(&server, &Arc::default());
    let failure = connection.changes("deals", &[], None).await.unwrap_err();
    assert_eq!(failure.class, Class::Protocol);
    assert_eq!(
        failure.detail,
        "the ids of a page are not in order: `2` comes after `10`"
    );
}

#[tokio::test]
async fn references_are_read_to_their_last_page_and_injected() {
    let server = Server::start(|got| {
        if got.line.contains("/search") {
            return search(got, 2, 200);
        }
        let body = got.json();
        let input = |id: &str| body["inputs"].as_array().unwrap().iter().find(|i| i["id"] == id).cloned();
        let to = |id: u64, kind: u64| json!({"toObjectId": id, "associationTypes": [{"category": "HUBSPOT_DEFINED", "typeId": kind}]});
        match input("1").unwrap()["after"].as_str() {
            None => ok(json!({"results": [{"from": {"id": "1"}, "to": [to(70, 341)], "paging": {"next": {"after": "p2"}}}],
                              "errors": [{"category": "OBJECT_NOT_FOUND", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"}]})),
            Some(after) => {
                assert_eq!((after, input("2")), ("p2", None));
                ok(json!({"results": [{"from": {"id": "1"}, "to": [to(71, 5)]}]}))
            }
        }
    })
    .await;
    let connection = hubspot(&server, &Arc::default());
    let wanted = fields(&["dealname", "associations.companies"]);
    let page = connection.changes("deals", &wanted, None).await.unwrap();
    let bodies: Vec<&Json> = page
        .objects
        .iter()
        .map(|o| &o.body["associations"]["companies"])
        .collect();
    // The primary one comes first, although the system sent it last.
    assert_eq!(bodies, [&json!(["71", "70"]), &json!([])]);
    let asked = server.got()[0].json();
    assert_eq!(
        asked["properties"],
        json!(["dealname", "hs_merged_object_ids", "hs_object_id"])
    );
    let failure = connection
        .changes("deals", &fields(&["associations.contact"]), None)
        .await
        .unwrap_err();
    assert!(
        failure.detail.contains("`deals` has no association `contact`"),
        "{}",
        failure.detail
    );
}

#[tokio::test]
async fn with_many_fields_a_page_finds_ids_and_objects_are_read_by_id() {
    let server = Server::start(|got| {
        if got.line.contains("/search") {
            assert_eq!(
                got.json()["properties"],
                json!(["hs_object_id", "hs_merged_object_ids"])
            );
            return search(got, 3, 200);
        }
        let inputs = got.json()["inputs"].as_array().unwrap().len();
        assert_eq!(inputs, 3);
        ok(json!({"results": [deal(3), deal(1)]}))
    })
    .await;
    let many: Vec<String> = (0..100).map(|n| format!("field_{n}")).collect();
    let page = hubspot(&server, &Arc::default())
        .changes("deals", &many, None)
        .await
        .unwrap();
    let ids: Vec<String> = page.objects.into_iter().map(|o| o.id).collect();
    assert_eq!(ids, ["3", "1"]);
}

#[tokio::test]
async fn what_is_not_answered_is_gone_and_ids_go_in_the_largest_batches() {
    let server = Server::start(|got| {
        let body = got.json();
        let inputs = body["inputs"].as_array().unwrap();
        let even = |i: &&Json| i["id"].as_str().unwrap().parse::<u64>().unwrap() % 2 == 0;
        let found: Vec<Json> = inputs
            .iter()
            .filter(even)
            .map(|i| deal(i["id"].as_str().unwrap().parse().unwrap()))
            .collect();
        Say::Json(
            207,
            json!({"results": found, "errors": [{"category": "OBJECT_NOT_FOUND"}]}).to_string(),
        )
    })
    .await;
    let ids: Vec<String> = (1..=250).map(|n| n.to_string()).collect();
    let found = hubspot(&server, &Arc::default())
        .by_ids("deals", &[], &ids)
        .await
        .unwrap();
    assert_eq!((found.len(), server.got().len()), (125, 3));
}

/// Salesforce with its token endpoint, and a script for the rest.
async fn org(mut answer: impl FnMut(&Got) -> Say + Send + 'static) -> Server {
    let url = Arc::new(std::sync::Mutex::new(String::new()));
    let own = Arc::clone(&url);
    let server = Server::start(move |got| {
        if got.line.contains("/oauth2/token") {
            return ok(json!({"access_token": "t", "instance_url": *own.lock().unwrap()}));
        }
        answer(got)
    })
    .await;
    *url.lock().unwrap() = server.url.clone();
    server
}

#[tokio::test]
async fn amounts_keep_every_digit_and_moments_without_a_colon_are_read() {
    let server = org(|_| {
        ok(r#"{"totalSize":1,"done":true,"records":[{"attributes":{"type":"Opportunity"},"Id":"006A","Amount":1234567890123456.78,
              "Probability":1.10,"IsDeleted":false,"SystemModstamp":"2026-11-22T10:15:30.000+0000","LastModifiedById":"005B"}]}"#)
    })
    .await;
    let page = salesforce(&server, &Arc::default())
        .changes("Opportunity", &fields(&["Amount"]), None)
        .await
        .unwrap();
    let opportunity = &page.objects[0];
    assert_eq!(opportunity.body["Amount"].to_string(), "1234567890123456.78");
    assert_eq!(opportunity.body["Probability"].to_string(), "1.10");
    assert_eq!(opportunity.modified.unwrap().to_string(), "2026-11-22T10:15:30Z");
    assert_eq!(opportunity.origin.as_deref(), Some("005B"));
}

#[tokio::test]
async fn a_window_that_is_too_large_is_halved_until_it_fits() {
    let mut calls = 0;
    let server = org(move |got| {
        calls += u32::from(got.line.contains("/queryAll"));
        if (1..=3).contains(&calls) {
            let body = json!([{"message": "Your query request was running for too long.", "errorCode": "QUERY_TIMEOUT"}]);
            Say::Json(400, body.to_string())
        } else {
            ok(r#"{"totalSize":0,"done":true,"records":[]}"#)
        }
    })
    .await;
    let connection = salesforce(&server, &Arc::default());
    let mut cursor = None;
    for _ in 0..20 {
        let page = connection.changes("Lead", &[], cursor.as_ref()).await.unwrap();
        cursor = Some(page.cursor);
        if !page.more {
            break;
        }
    }
    let ends: Vec<String> = server
        .lines()
        .iter()
        .filter_map(|l| l.split("%3C+").nth(1).map(|rest| rest[..10].to_owned()))
        .collect();
    assert_eq!(
        ends[..4],
        ["2026-11-23", "1998-06-13", "1984-03-23", "1977-02-10"].map(str::to_owned)
    );
    assert_eq!(ends.last().unwrap(), "2026-11-23");
}

#[tokio::test]
async fn a_field_that_is_gone_is_named() {
    let server = org(|_| {
        let message = "No such column 'Regio__c' on entity 'Lead'.";
        Say::Json(
            400,
            json!([{"message": message, "errorCode": "INVALID_FIELD"}]).to_string(),
        )
    })
    .await;
    let clock = Arc::new(ManualClock::default());
    let failure = salesforce(&server, &clock)
        .changes("Lead", &[], None)
        .await
        .unwrap_err();
    assert_eq!(
        failure.class,
        Class::SchemaDrift {
            field: Some("Regio__c".to_owned())
        }
    );
}

#[tokio::test]
async fn a_foreign_cursor_and_an_unknown_object_are_told() {
    let server = Server::script(Vec::new()).await;
    let connection = hubspot(&server, &Arc::default());
    let failure = connection
        .changes("deals", &[], Some(&json!({"offset": 5})))
        .await
        .unwrap_err();
    assert_eq!(failure.class, Class::Settings);
    let failure = connection.changes("deal", &[], None).await.unwrap_err();
    assert_eq!(
        failure.detail,
        "hubspot has no object `deal`: did you mean `deals`?"
    );
    assert!(server.got().is_empty());
}

#[tokio::test]
async fn a_system_that_writes_local_times_is_asked_in_local_times() {
    let manifest = crate::testing::connector(
        r#"apiVersion: interconnect/v1
kind: Connector
metadata: { name: acme, version: 1.0.0, title: Acme }
connection:
  config: { base_url: { help: the address }, time_zone: { help: the zone of the site } }
  secrets: { token: where }
  base_url: "{{ config.base_url }}"
  auth: [{ kind: bearer, header: "Bearer {{ secrets.token }}" }]
  identity: { request: { method: GET, path: /me }, tenant: .id }
objects:
  things:
    id: .name
    modified: .modified
    zone: "{{ config.time_zone }}"
    read:
      changes:
        strategy: window_keyset
        passes: [{ mode: authoritative, lag: 1h }]
        max_window: 30d
        page: 100
        id_order: text
        request: { method: GET, path: /things, query: { from: "{{ window.from_local }}", to: "{{ window.to_local }}" } }
        records: .data[]
"#,
    );
    let row = json!({"data": [{"name": "a", "modified": "2026-11-23 14:00:00.5"}]});
    let server = Server::start(move |_| ok(row.clone())).await;
    let clock = Arc::new(ManualClock::default());
    let connected = |zone: &str| {
        let config = json!({"base_url": server.url, "time_zone": zone});
        crate::testing::connect(&manifest, config, &[("token", "t")], &clock)
    };
    let page = connected("Asia/Kolkata")
        .changes("things", &[], None)
        .await
        .unwrap();
    assert_eq!(
        page.objects[0].modified.unwrap().to_string(),
        "2026-11-23T08:30:00.5Z"
    );
    assert_eq!(
        server.lines(),
        ["GET /things?from=1970-01-01T05%3A30%3A00.000&to=2026-11-23T14%3A30%3A00.000"]
    );
    let failure = connected("Kolkata")
        .changes("things", &[], None)
        .await
        .unwrap_err();
    assert_eq!(failure.class, Class::Settings);
    assert_eq!(server.lines().len(), 1);
}
