//! The emulated account over HTTP, its lagging index, and the laws of its store.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::event::Source;
use super::kind::Kind;
use super::rows::{By, Portal};
use super::{CLIENT_ID, CLIENT_SECRET, PRIVATE_APP_TOKEN, REFRESH_TOKEN, WebhookTarget, signature};
use crate::testing::{Answer, Asker, NOW_MS, start};
use crate::{Fault, LimitPolicy, Running, Switch};

const OBJECTS: &str = "/crm/v3/objects";

fn asker(running: &Running) -> Asker {
    Asker::at(&running.hubspot.url()).with(PRIVATE_APP_TOKEN)
}

async fn create(asker: &Asker, kind: &str, properties: Value) -> Value {
    let answer = asker
        .post(
            &format!("{OBJECTS}/{kind}"),
            &json!({ "properties": properties, "associations": [] }),
        )
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

async fn search(asker: &Asker, kind: &str, body: Value) -> Answer {
    asker.post(&format!("{OBJECTS}/{kind}/search"), &body).await
}

fn filter(property: &str, operator: &str, value: &str) -> Value {
    json!({ "filterGroups": [{ "filters": [{ "propertyName": property, "operator": operator, "value": value }] }] })
}

#[tokio::test]
async fn a_row_looks_like_a_recorded_one() {
    let (running, _) = start().await;
    let asker = asker(&running);
    let made = create(
        &asker,
        "contacts",
        json!({ "email": "Ann@Example.com", "firstname": "Ann" }),
    )
    .await;
    let id = made["id"].as_str().unwrap();
    let read = asker
        .get(&format!(
            "{OBJECTS}/0-1/{id}?properties=email,phone&properties=nonsense"
        ))
        .await
        .json();
    let shown = serde_json::to_string_pretty(&read).unwrap().replace(id, "<id>");
    insta::assert_snapshot!(shown, @r#"
    {
      "archived": false,
      "createdAt": "2026-11-18T11:06:40.000Z",
      "id": "<id>",
      "properties": {
        "createdate": "2026-11-18T11:06:40.000Z",
        "email": "ann@example.com",
        "hs_object_id": "<id>",
        "lastmodifieddate": "2026-11-18T11:06:40.000Z",
        "phone": null
      },
      "updatedAt": "2026-11-18T11:06:40.000Z",
      "url": "https://app.hubspot.com/contacts/44237313/record/0-1/<id>"
    }
    "#);
    assert_eq!(made["properties"]["lifecyclestage"], "lead");
    assert_eq!(made["properties"]["hs_object_source_id"], "19083857");
}

#[tokio::test]
async fn owners_come_by_pages_and_those_who_left_apart() {
    let (running, _) = start().await;
    let asker = asker(&running);
    let here = &running.hubspot;
    let gone = here
        .insert("owners", &json!({"email": "gone@sandbox.example"}))
        .unwrap();
    here.delete("owners", &gone).unwrap();
    let ask = async |query: &str| asker.get(&format!("/crm/v3/owners?{query}")).await;
    let first = ask("limit=1").await.json();
    let after = first["paging"]["next"]["after"].as_str().unwrap();
    let second = ask(&format!("limit=1&after={after}")).await.json();
    let emails = |page: &Value| page["results"][0]["email"].clone();
    assert_eq!(
        [emails(&first), emails(&second)],
        ["admin@sandbox.example", "rep@sandbox.example"]
    );
    assert!(second.get("paging").is_none(), "{second}");
    let left = ask("archived=true").await.json();
    assert_eq!(left["results"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&left["results"][0]["id"], &left["results"][0]["userId"]),
        (&json!(gone), &Value::Null)
    );
    assert_eq!(ask("limit=501").await.status, 400);
}

#[tokio::test]
async fn every_misfit_is_told_at_once_as_recorded() {
    let (running, _) = start().await;
    let body = json!({ "properties": { "dealstge": "x", "amount": "ten", "dealstage": "Closed Won" } });
    let answer = asker(&running).post(&format!("{OBJECTS}/deals"), &body).await;
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["category"]),
        (400, &json!("VALIDATION_ERROR"))
    );
    let codes: Vec<_> = body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["code"].as_str().unwrap())
        .collect();
    assert_eq!(
        codes,
        ["INVALID_INTEGER", "INVALID_OPTION", "PROPERTY_DOESNT_EXIST"]
    );
    assert_eq!(
        body["errors"][2]["context"],
        json!({ "propertyName": ["dealstge"] })
    );
    let told = body["message"]
        .as_str()
        .unwrap()
        .strip_prefix("Property values were not valid: ")
        .unwrap();
    assert_eq!(serde_json::from_str::<Value>(told).unwrap()[0]["name"], "amount");
    assert_eq!(
        answer.header("x-hubspot-correlation-id"),
        body["correlationId"].as_str()
    );
    let odd = asker(&running)
        .get(&format!("{OBJECTS}/butterflies"))
        .await
        .json();
    assert_eq!(
        (&odd["message"], odd.get("category")),
        (&json!("Unable to infer object type from: butterflies"), None)
    );
}

#[tokio::test]
async fn a_batch_without_trace_ids_is_written_whole_or_not_at_all() {
    let (running, _) = start().await;
    let asker = asker(&running);
    let taken = create(&asker, "contacts", json!({ "email": "a@example.com" })).await;
    let path = format!("{OBJECTS}/contacts/batch/create");
    let input = |email: &str| json!({ "properties": { "email": email } });
    let whole = asker
        .post(
            &path,
            &json!({ "inputs": [input("b@example.com"), input("a@example.com")] }),
        )
        .await;
    assert_eq!(
        (whole.status, &whole.json()["category"]),
        (409, &json!("CONFLICT"))
    );
    assert_eq!(running.hubspot.rows("contacts").unwrap().len(), 1);

    let traced =
        |email: &str, trace: &str| json!({ "properties": { "email": email }, "objectWriteTraceId": trace });
    let body = json!({ "inputs": [traced("b@example.com", "t1"), traced("a@example.com", "t2"), traced("b@example.com", "t3")] });
    let part = asker.post(&path, &body).await;
    let body = part.json();
    assert_eq!(
        (
            part.status,
            &body["numErrors"],
            &body["results"][0]["objectWriteTraceId"]
        ),
        (207, &json!(2), &json!("t1"))
    );
    assert_eq!(
        body["errors"][0]["context"],
        json!({ "existingId": [taken["id"]], "objectWriteTraceId": ["t2"] })
    );

    let same =
        json!({ "inputs": [{ "id": "123456", "properties": {} }, { "id": "123456", "properties": {} }] });
    let duplicate = asker
        .post(&format!("{OBJECTS}/contacts/batch/update"), &same)
        .await
        .json();
    assert_eq!(
        duplicate["message"],
        "Duplicate IDs found in batch input: [123456]. IDs must be unique"
    );
    assert_eq!(duplicate["context"], json!({ "ids": ["123456"] }));
    let missing = json!({ "inputs": [{ "id": taken["id"], "properties": { "firstname": "Ann" } }, { "id": "7", "properties": {} }] });
    let updated = asker
        .post(&format!("{OBJECTS}/contacts/batch/update"), &missing)
        .await;
    assert_eq!(
        (updated.status, &updated.json()["errors"][0]["context"]),
        (207, &json!({ "ids": ["7"] }))
    );
    let twice = asker
        .post(
            &format!("{OBJECTS}/deals/batch/upsert"),
            &json!({ "inputs": [{ "id": "x", "properties": {} }] }),
        )
        .await;
    assert_eq!(twice.status, 400, "an upsert needs idProperty");
}

#[tokio::test]
async fn a_bad_row_fails_alone_when_it_can_be_told_apart() {
    let (running, _) = start().await;
    let fault = Fault::BadRow {
        object: Some("deals".into()),
        field: "dealname".into(),
        value: "bad".into(),
    };
    running.hubspot.faults().add(Switch::always(fault)).unwrap();
    let input = |name: &str| json!({ "id": name, "idProperty": "interconnect_id", "objectWriteTraceId": name, "properties": { "dealname": name } });
    let answer = asker(&running)
        .post(
            &format!("{OBJECTS}/deals/batch/upsert"),
            &json!({ "inputs": [input("good"), input("bad")] }),
        )
        .await;
    let body = answer.json();
    assert_eq!(
        (answer.status, body["results"].as_array().unwrap().len()),
        (207, 1)
    );
    assert_eq!(
        (
            &body["results"][0]["new"],
            &body["errors"][0]["context"]["objectWriteTraceId"]
        ),
        (&json!(true), &json!(["bad"]))
    );
}

#[tokio::test]
async fn the_index_shows_rows_as_they_were_when_it_last_looked() {
    let (running, clock) = start().await;
    let asker = asker(&running);
    let found = async |name: &str| {
        search(&asker, "deals", filter("dealname", "EQ", name))
            .await
            .json()["total"]
            .clone()
    };
    let deal = create(&asker, "deals", json!({ "dealname": "old" })).await;
    assert_eq!(found("old").await, 1, "without a lag it is found at once");
    running
        .hubspot
        .faults()
        .add(Switch::always(Fault::SearchLag { lag_ms: 5_000 }))
        .unwrap();
    running
        .hubspot
        .update(
            "deals",
            deal["id"].as_str().unwrap(),
            &json!({ "dealname": "new" }),
        )
        .unwrap();
    create(&asker, "deals", json!({ "dealname": "second" })).await;
    assert_eq!(
        (found("old").await, found("new").await, found("second").await),
        (json!(1), json!(0), json!(0))
    );
    let read = asker
        .get(&format!("{OBJECTS}/deals/{}", deal["id"].as_str().unwrap()))
        .await
        .json();
    assert_eq!(read["properties"]["dealname"], "new", "a read is not a search");
    clock.advance_ms(5_010);
    assert_eq!(
        (found("old").await, found("new").await, found("second").await),
        (json!(0), json!(1), json!(1))
    );
    running
        .hubspot
        .delete("deals", deal["id"].as_str().unwrap())
        .unwrap();
    assert_eq!(found("new").await, 1, "archived, but the index does not know");
    running.hubspot.faults().clear();
    assert_eq!(found("new").await, 0);
}

#[tokio::test]
async fn filters_find_what_they_say() {
    let (running, _) = start().await;
    let asker = asker(&running);
    for (name, amount, stage, close) in [
        ("Alpha Beta", "9.5", "closedwon", "2026-12-01T00:00:00Z"),
        ("beta-gamma", "10", "contractsent", "2026-12-31T00:00:00Z"),
    ] {
        create(
            &asker,
            "deals",
            json!({ "dealname": name, "amount": amount, "dealstage": stage, "closedate": close }),
        )
        .await;
    }
    create(&asker, "deals", json!({ "dealname": "delta" })).await;
    let day = |text: &str| super::value::read_moment(text).unwrap().to_string();
    for (property, operator, value, total) in [
        ("amount", "GT", "9.5", 1),
        ("amount", "GTE", "9.50", 2),
        ("amount", "LT", "10.0", 1),
        ("amount", "NEQ", "10", 1),
        ("amount", "HAS_PROPERTY", "", 2),
        ("amount", "NOT_HAS_PROPERTY", "", 1),
        ("dealname", "EQ", "ALPHA BETA", 1),
        ("dealname", "CONTAINS_TOKEN", "beta", 2),
        ("dealname", "CONTAINS_TOKEN", "gam*", 1),
        ("dealname", "NOT_CONTAINS_TOKEN", "*eta", 1),
        ("dealstage", "EQ", "CLOSEDWON", 0),
        ("dealstage", "EQ", "closedwon", 1),
        ("closedate", "GTE", "2026-12-02T00:00:00Z", 1),
        ("closedate", "EQ", &day("2026-12-31T00:00:00Z"), 1),
        ("lastmodifieddate", "GTE", "0", 0),
        ("hs_lastmodifieddate", "GTE", "0", 3),
    ] {
        let answer = search(&asker, "deals", filter(property, operator, value)).await;
        assert_eq!(
            answer.json()["total"],
            total,
            "{property} {operator} {value}: {}",
            answer.text
        );
        assert!(answer.header("x-hubspot-ratelimit-daily").is_none());
    }
    let listed = json!({ "filters": [{ "propertyName": "dealname", "operator": "IN", "values": ["delta", "Alpha Beta"] }] });
    assert_eq!(
        search(&asker, "deals", listed).await.json()["total"],
        1,
        "a list must be in lower case"
    );
    let between = json!({ "filters": [{ "propertyName": "amount", "operator": "BETWEEN", "value": "9", "highValue": "9.9" }] });
    assert_eq!(search(&asker, "deals", between).await.json()["total"], 1);
    let sorted = search(
        &asker,
        "deals",
        json!({ "sorts": [{ "propertyName": "amount", "direction": "DESCENDING" }], "limit": 1 }),
    )
    .await
    .json();
    assert_eq!(
        (&sorted["total"], &sorted["paging"]["next"]["after"]),
        (&json!(3), &json!("1"))
    );
}

#[tokio::test]
async fn searches_that_ask_for_too_much_are_refused() {
    let (running, _) = start().await;
    let asker = asker(&running);
    let one = json!({ "propertyName": "amount", "operator": "EQ", "value": "1" });
    for body in [
        json!({ "limit": 201 }),
        json!({ "limit": 200, "after": "9801" }),
        json!({ "filterGroups": [{ "filters": vec![one.clone(); 7] }] }),
        json!({ "filterGroups": vec![json!({ "filters": [one] }); 6] }),
        json!({ "query": "x".repeat(3_000) }),
        json!({ "sorts": ["amount", "dealname"] }),
        json!({ "filters": [{ "propertyName": "amount", "operator": "ABOUT", "value": "1" }] }),
    ] {
        let answer = search(&asker, "deals", body).await;
        assert_eq!(
            (answer.status, &answer.json()["category"]),
            (400, &json!("VALIDATION_ERROR"))
        );
    }
    assert_eq!(
        search(&asker, "deals", json!({ "limit": 200, "after": "9800" }))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn tokens_expire_and_limits_are_worded_by_policy() {
    let (running, clock) = start().await;
    let anonymous = Asker::at(&running.hubspot.url());
    let form = format!(
        "grant_type=refresh_token&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}&refresh_token={REFRESH_TOKEN}"
    );
    let token = anonymous.form("/oauth/2026-09/token", &form).await.json();
    assert_eq!(token["expires_in"], 1_800);
    let asker = anonymous.clone().with(token["access_token"].as_str().unwrap());
    assert_eq!(asker.get("/crm/owners/2026-09").await.status, 200);
    clock.advance_ms(1_800_000);
    let expired = asker.get("/crm/v3/owners/").await;
    assert_eq!(
        (expired.status, &expired.json()["category"]),
        (401, &json!("EXPIRED_AUTHENTICATION"))
    );
    assert_eq!(expired.header("x-hubspot-auth-failure"), Some("401 Unauthorized"));
    let stale = anonymous
        .form("/oauth/v1/token", &form.replace(REFRESH_TOKEN, "stale"))
        .await;
    assert_eq!(
        (stale.status, &stale.json()["status"]),
        (400, &json!("BAD_REFRESH_TOKEN"))
    );
    for (policy, name) in [
        (LimitPolicy::Daily, "DAILY"),
        (LimitPolicy::TenSecondlyRolling, "TEN_SECONDLY_ROLLING"),
    ] {
        running
            .hubspot
            .faults()
            .add(Switch::times(Fault::Limit { policy }, 1))
            .unwrap();
        let limited = super::tests::asker(&running).get("/crm/v3/owners").await;
        let body = limited.json();
        assert_eq!(
            (limited.status, &body["policyName"], &body["errorType"]),
            (429, &json!(name), &json!("RATE_LIMIT"))
        );
    }
}

#[tokio::test]
async fn a_life_stage_never_moves_back() {
    let (running, _) = start().await;
    let id = running
        .hubspot
        .insert(
            "companies",
            &json!({ "name": "Acme", "lifecyclestage": "customer" }),
        )
        .unwrap();
    let stage = || running.hubspot.rows("companies").unwrap()[0]["properties"]["lifecyclestage"].clone();
    running
        .hubspot
        .update("companies", &id, &json!({ "lifecyclestage": "lead" }))
        .unwrap();
    assert_eq!(stage(), "customer");
    running
        .hubspot
        .update("companies", &id, &json!({ "lifecyclestage": "" }))
        .unwrap();
    running
        .hubspot
        .update("companies", &id, &json!({ "lifecyclestage": "lead" }))
        .unwrap();
    assert_eq!(stage(), "lead", "after it was cleared");
}

/// Answers one request after another with the given statuses, and gives what was sent.
async fn hub(listener: TcpListener, statuses: &[u16]) -> Vec<(String, Vec<u8>)> {
    let mut requests = Vec::new();
    for status in statuses {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        let (head, body) = loop {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).await.unwrap();
            bytes.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "))
                    .unwrap();
                if body.len() >= length.parse().unwrap() {
                    break (head.to_owned(), body.as_bytes().to_vec());
                }
            }
        };
        stream
            .write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .await
            .unwrap();
        requests.push((head, body));
    }
    requests
}

#[tokio::test]
async fn webhooks_are_signed_lists_and_come_again_when_refused() {
    let (running, _) = start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target_url = format!("http://{}/hooks/hubspot", listener.local_addr().unwrap());
    let id = running
        .hubspot
        .insert("deals", &json!({ "dealname": "before anybody listened" }))
        .unwrap();
    let target = WebhookTarget {
        target_url: target_url.clone(),
        signed_url: None,
        retry_ms: 0,
    };
    running.hubspot.send_webhooks(Some(target)).unwrap();
    running
        .hubspot
        .update(
            "deals",
            &id,
            &json!({ "dealstage": "closedwon", "dealname": "before anybody listened" }),
        )
        .unwrap();
    let requests = hub(listener, &[500, 204]).await;
    for (attempt, (head, body)) in requests.iter().enumerate() {
        let header = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(&format!("{name}: ")))
                .unwrap()
        };
        assert_eq!(header("X-HubSpot-Signature"), signature::v1(CLIENT_SECRET, body));
        let at = header("X-HubSpot-Request-Timestamp");
        assert_eq!(
            header("X-HubSpot-Signature-v3"),
            signature::v3(CLIENT_SECRET, "POST", &target_url, body, at)
        );
        let events: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(events.as_array().unwrap().len(), 1, "only what changed: {events}");
        let event = &events[0];
        assert_eq!(event["subscriptionType"], "deal.propertyChange");
        assert_eq!(
            (&event["propertyName"], &event["propertyValue"]),
            (&json!("dealstage"), &json!("closedwon"))
        );
        assert_eq!(
            (&event["attemptNumber"], &event["changeSource"]),
            (&json!(attempt), &json!("CRM_UI"))
        );
        assert_eq!(event["objectId"].to_string(), id, "a number, not a text");
    }
    while running.hubspot.webhook_counts().delivered == 0 {
        tokio::task::yield_now().await;
    }
    let counts = running.hubspot.webhook_counts();
    assert_eq!(
        (counts.delivered, counts.failed_attempts, counts.waiting),
        (1, 1, 0)
    );
}

fn by() -> By<'static> {
    By {
        source: Source::Person(1),
        now_ms: NOW_MS,
        faults: None,
    }
}

fn step(portal: &mut Portal, what: u8, row: u64, key: u8) {
    let properties: Map<String, Value> = json!({ "interconnect_id": format!("k{key}"), "name": "a" })
        .as_object()
        .cloned()
        .unwrap();
    // Refusals are as welcome here as successes.
    match what {
        0 => drop(portal.create(Kind::Company, &properties, &by())),
        1 if portal
            .row(Kind::Company, row)
            .is_some_and(|row| row.archived_ms.is_none()) =>
        {
            drop(portal.update(Kind::Company, row, &properties, &by()));
        }
        _ => drop(portal.archive(Kind::Company, row, &by())),
    }
}

fn rows(portal: &Portal) -> Vec<String> {
    portal.all(Kind::Company).map(|row| format!("{row:?}")).collect()
}

proptest! {
    /// Whatever was written since `begin`, rolling back leaves rows and keys as they were, and nothing to tell.
    #[test]
    fn rolling_back_undoes_everything(
        before in prop::collection::vec((0u8..3, 1u64..9, 0u8..5), 0..12),
        after in prop::collection::vec((0u8..3, 1u64..9, 0u8..5), 1..12),
    ) {
        let mut portal = Portal::new(1);
        for (what, row, key) in before {
            step(&mut portal, what, row, key);
        }
        let found = |portal: &Portal| (0u8..5).map(|key| portal.find(Kind::Company, &format!("k{key}"), Some("interconnect_id")).unwrap()).collect::<Vec<_>>();
        let (kept, keys) = (rows(&portal), found(&portal));
        portal.begin();
        for (what, row, key) in after {
            step(&mut portal, what, row, key);
        }
        portal.roll_back();
        prop_assert_eq!(rows(&portal), kept);
        prop_assert_eq!(found(&portal), keys);
        prop_assert!(portal.changes.is_empty());
    }

    /// A key leads to the one row that is there and has it, and without a lag the index is the rows.
    #[test]
    fn keys_and_index_agree_with_the_rows(steps in prop::collection::vec((0u8..3, 1u64..9, 0u8..5), 0..25)) {
        let mut portal = Portal::new(1);
        for (what, row, key) in steps {
            step(&mut portal, what, row, key);
        }
        let there: Vec<(u64, String)> = portal
            .all(Kind::Company)
            .filter(|(_, row)| row.archived_ms.is_none())
            .map(|(id, row)| (id, row.properties["interconnect_id"].clone()))
            .collect();
        for key in 0u8..5 {
            let key = format!("k{key}");
            let having: Vec<u64> = there.iter().filter(|(_, has)| *has == key).map(|(id, _)| *id).collect();
            prop_assert!(having.len() <= 1);
            prop_assert_eq!(portal.find(Kind::Company, &key, Some("interconnect_id")).unwrap(), having.first().copied());
        }
        let indexed: Vec<u64> = portal.indexed(Kind::Company, NOW_MS, 0).map(|(id, _)| id).collect();
        prop_assert_eq!(indexed, there.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    }
}
