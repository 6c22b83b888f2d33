//! Writing: one outcome for each input.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::testing::{Got, ManualClock, Say, Server, connector, hubspot, ok, write};
use crate::{Class, LeftOut, Outcome, RecordClass, Write};

fn inputs(got: &Got) -> Vec<Json> {
    got.json()["inputs"].as_array().unwrap().clone()
}

/// Writes everything, ids by key.
fn upserted(got: &Got) -> Json {
    let results: Vec<Json> = inputs(got)
        .iter()
        .map(|i| json!({"id": format!("id-{}", i["id"].as_str().unwrap()), "objectWriteTraceId": i["objectWriteTraceId"], "new": true}))
        .collect();
    json!({"status": "COMPLETE", "results": results})
}

fn kinds(outcomes: &[Outcome]) -> String {
    let kind = |outcome: &Outcome| match outcome {
        Outcome::Written { .. } => 'w',
        Outcome::Refused(_) => 'r',
        Outcome::Gone => 'g',
        Outcome::Unknown => 'u',
        Outcome::NotSent(_) => 'n',
    };
    outcomes.iter().map(kind).collect()
}

fn deals(count: usize) -> Vec<Write> {
    (0..count)
        .map(|n| write(None, &format!("k{n}"), json!({"dealname": format!("d{n}")})))
        .collect()
}

#[tokio::test]
async fn each_input_of_a_mixed_answer_gets_its_own_outcome_in_order() {
    let server = Server::start(|got| {
        let inputs = inputs(got);
        if got.line.contains("batch/update") {
            assert_eq!(inputs.len(), 2);
            return Say::Json(
                207,
                json!({"results": [{"id": "501", "updatedAt": "2026-11-23T09:00:00.5Z"}],
                       "errors": [{"category": "OBJECT_NOT_FOUND", "message": "gone", "context": {"ids": ["777"]}}]})
                .to_string(),
            );
        }
        // Backwards, one refused, one not mentioned at all.
        let results = json!([{"id": "9", "objectWriteTraceId": "2", "new": false}]);
        let errors = json!([{"category": "CONFLICT", "message": "exists", "context": {"objectWriteTraceId": ["0"], "existingId": ["42"]}}]);
        Say::Json(207, json!({"results": results, "errors": errors}).to_string())
    })
    .await;
    let batch = [
        write(None, "a", json!({"dealname": "a"})),
        write(Some("777"), "b", json!({"dealname": "b"})),
        write(None, "c", json!({"dealname": "c"})),
        write(Some("501"), "d", json!({"dealname": "d"})),
        write(None, "e", json!({"dealname": "e"})),
    ];
    let outcomes = hubspot(&server, &Arc::default())
        .write("deals", &batch)
        .await
        .unwrap();
    assert_eq!(kinds(&outcomes), "rguww");
    let Outcome::Refused(error) = &outcomes[0] else {
        panic!()
    };
    assert_eq!(
        (error.class, error.existing_id.as_deref()),
        (RecordClass::Duplicate, Some("42"))
    );
    let Outcome::Written {
        id,
        created,
        modified,
        ..
    } = &outcomes[3]
    else {
        panic!()
    };
    assert_eq!((id.as_str(), *created), ("501", false));
    assert_eq!(modified.unwrap().to_string(), "2026-11-23T09:00:00.5Z");
}

#[tokio::test]
async fn one_bad_value_costs_a_few_calls_and_only_its_own_record() {
    let refusal = json!({"category": "VALIDATION_ERROR", "message": "bogus is not an option", "errors": [{"code": "INVALID_OPTION"}]});
    let server = Server::start(move |got| {
        match inputs(got)
            .iter()
            .any(|i| i["properties"]["dealstage"] == "bogus")
        {
            true => Say::Json(400, refusal.to_string()),
            false => ok(upserted(got)),
        }
    })
    .await;
    let mut batch = deals(100);
    batch[37].values.insert("dealstage".to_owned(), json!("bogus"));
    let outcomes = hubspot(&server, &Arc::default())
        .write("deals", &batch)
        .await
        .unwrap();
    let refused: Vec<usize> = (0..100)
        .filter(|n| matches!(outcomes[*n], Outcome::Refused(_)))
        .collect();
    assert_eq!(refused, [37]);
    assert_eq!(kinds(&outcomes).matches('w').count(), 99);
    let Outcome::Written { id, .. } = &outcomes[99] else {
        panic!()
    };
    assert_eq!(id, "id-k99");
    // Two calls for each halving of 100, and the first.
    assert!(server.got().len() <= 1 + 2 * 7, "{} calls", server.got().len());
}

#[tokio::test]
async fn a_reason_that_concerns_all_is_not_bisected_to_the_end() {
    let refusal = json!({"category": "VALIDATION_ERROR", "message": "the portal is locked"});
    let server = Server::start(move |_| Say::Json(400, refusal.to_string())).await;
    let outcomes = hubspot(&server, &Arc::default())
        .write("deals", &deals(100))
        .await
        .unwrap();
    assert!(kinds(&outcomes).contains('n'), "{}", kinds(&outcomes));
    assert!(server.got().len() < 40, "{} calls", server.got().len());
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_unknown_and_left_to_who_can_look_for_it() {
    for lost in [Say::Drop, Say::Json(503, "{}".to_owned())] {
        let mut calls = 0;
        let server = Server::start(move |got| {
            calls += 1;
            if calls == 1 {
                lost.clone()
            } else {
                ok(upserted(got))
            }
        })
        .await;
        let hubspot = hubspot(&server, &Arc::default());
        let outcomes = hubspot.write("deals", &deals(3)).await.unwrap();
        assert_eq!((kinds(&outcomes).as_str(), server.got().len()), ("uuu", 1));
        let outcomes = hubspot.write("deals", &deals(3)).await.unwrap();
        assert_eq!(kinds(&outcomes), "www");
        let bodies: Vec<Json> = server.got().iter().map(Got::json).collect();
        assert_eq!(bodies[0], bodies[1], "the same keys again");
    }
}

/// That it is too large tells nothing of what was written, and to ask for half of it would write that twice.
#[tokio::test]
async fn a_creation_whose_answer_is_too_large_is_unknown() {
    let body_max_bytes = outbound::Limits::default().body_max_bytes;
    let server = Server::start(move |_| Say::Json(200, " ".repeat(body_max_bytes + 1))).await;
    let hubspot = hubspot(&server, &Arc::default());
    let outcomes = hubspot.write("deals", &deals(3)).await.unwrap();
    assert_eq!((kinds(&outcomes).as_str(), server.got().len()), ("uuu", 1));
}

#[tokio::test]
async fn an_update_whose_answer_was_lost_is_repeated() {
    let mut calls = 0;
    let server = Server::start(move |got| {
        calls += 1;
        match calls {
            1 => Say::Drop,
            _ => ok(json!({"results": [{"id": inputs(got)[0]["id"]}]})),
        }
    })
    .await;
    let update = write(Some("501"), "k", json!({"dealname": "d"}));
    let outcomes = hubspot(&server, &Arc::default())
        .write("deals", &[update])
        .await
        .unwrap();
    assert_eq!((kinds(&outcomes).as_str(), server.got().len()), ("w", 2));
}

#[tokio::test]
async fn what_stays_unclear_is_unknown_and_the_rest_was_not_sent() {
    let mut calls = 0;
    let server = Server::start(move |got| {
        calls += 1;
        if calls == 1 { ok(upserted(got)) } else { Say::Drop }
    })
    .await;
    let outcomes = hubspot(&server, &Arc::default())
        .write("deals", &deals(250))
        .await
        .unwrap();
    let kinds = kinds(&outcomes);
    assert_eq!(
        kinds,
        format!("{}{}{}", "w".repeat(100), "u".repeat(100), "n".repeat(50))
    );
}

#[tokio::test]
async fn a_failure_before_anything_is_decided_is_the_failure_of_the_write() {
    let body = json!({"category": "MISSING_SCOPES", "message": "no", "context": {"requiredGranularScopes": ["crm.objects.deals.write"]}});
    let server = Server::start(move |_| Say::Json(403, body.to_string())).await;
    let failure = hubspot(&server, &Arc::default())
        .write("deals", &deals(3))
        .await
        .unwrap_err();
    assert_eq!(failure.class, Class::Permission);
    assert!(
        failure.text().contains("crm.objects.deals.write"),
        "{}",
        failure.text()
    );
}

#[tokio::test]
async fn inputs_for_one_object_are_one_write_and_share_its_outcome() {
    let server = Server::start(|got| ok(upserted(got))).await;
    let batch = [
        write(None, "a", json!({"dealname": "old", "amount": "1"})),
        write(None, "b", json!({"dealname": "b"})),
        write(None, "a", json!({"dealname": "new"})),
    ];
    let outcomes = hubspot(&server, &Arc::default())
        .write("deals", &batch)
        .await
        .unwrap();
    assert_eq!(outcomes[0], outcomes[2]);
    let sent = inputs(&server.got()[0]);
    assert_eq!(sent.len(), 2);
    assert_eq!(
        sent[0]["properties"],
        json!({"amount": "1", "dealname": "new", "interconnect_id": "a"})
    );
}

#[tokio::test]
async fn numbers_are_written_digit_by_digit() {
    let server = Server::start(|got| ok(upserted(got))).await;
    let amount: Json = serde_json::from_str("1234567890123456.70").unwrap();
    let batch = [write(
        None,
        "a",
        json!({"amount": amount, "closedate": null, "flag": true}),
    )];
    hubspot(&server, &Arc::default())
        .write("deals", &batch)
        .await
        .unwrap();
    let sent = inputs(&server.got()[0]);
    let expected =
        json!({"amount": "1234567890123456.70", "closedate": "", "flag": "true", "interconnect_id": "a"});
    assert_eq!(sent[0]["properties"], expected);
}

#[tokio::test]
async fn references_are_written_after_their_objects_and_a_refused_one_is_told() {
    let server = Server::start(|got| {
        if got.line.contains("batch/upsert") {
            return ok(upserted(got));
        }
        if got.line.contains("batch/read") {
            return ok(json!({"results": [{"from": {"id": "7"}, "to": [{"toObjectId": 70, "associationTypes": [{"typeId": 341}]}]}]}));
        }
        let refused = json!({"category": "VALIDATION_ERROR", "message": "99 does not exist", "context": {"fromObjectId": ["id-b"]}});
        Say::Json(207, json!({"results": [], "errors": [refused]}).to_string())
    })
    .await;
    let batch = [
        write(
            None,
            "a",
            json!({"dealname": "a", "associations.companies": ["70"]}),
        ),
        write(
            None,
            "b",
            json!({"dealname": "b", "associations.companies": ["99"]}),
        ),
        write(Some("7"), "c", json!({"associations.companies": []})),
        write(None, "d", json!({"dealname": "d", "associations.contact": ["1"]})),
    ];
    let outcomes = hubspot(&server, &Arc::default())
        .write("deals", &batch)
        .await
        .unwrap();
    assert_eq!(kinds(&outcomes), "wrwr");
    let Outcome::Refused(error) = &outcomes[1] else {
        panic!()
    };
    assert_eq!(
        error.message,
        "the object itself was written, but 99 does not exist"
    );
    assert_eq!(error.existing_id.as_deref(), Some("id-b"));
    let set = server
        .got()
        .iter()
        .find(|g| g.line.contains("companies/batch/create"))
        .unwrap()
        .json();
    assert_eq!(
        set["inputs"][0],
        json!({"from": {"id": "id-a"}, "to": {"id": "70"},
        "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 5}]})
    );
    let cleared = server
        .got()
        .iter()
        .find(|g| g.line.contains("companies/batch/archive"))
        .unwrap()
        .json();
    assert_eq!(
        cleared,
        json!({"inputs": [{"from": {"id": "7"}, "to": [{"id": "70"}]}]})
    );
}

/// Salesforce, with everything behind the token endpoint by script.
async fn org(mut answer: impl FnMut(&Got) -> Say + Send + 'static) -> (Server, crate::Connection) {
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
    let connection = crate::testing::salesforce(&server, &Arc::new(ManualClock::default()));
    (server, connection)
}

#[tokio::test]
async fn a_locked_record_is_tried_again_alone() {
    let mut calls = 0;
    let (server, connection) = org(move |got| {
        calls += 1;
        let records = got.json()["records"].as_array().unwrap().clone();
        let saved = |(n, _): (usize, &Json)| match calls < 3 && n == records.len() - 1 {
            true => json!({"success": false, "errors": [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": "locked"}]}),
            false => json!({"id": format!("00{calls}{n}"), "success": true, "errors": [], "created": true}),
        };
        ok(Json::Array(records.iter().enumerate().map(saved).collect()))
    })
    .await;
    let batch: Vec<Write> = ["a", "b", "c"]
        .map(|k| write(None, k, json!({"LastName": k})))
        .into();
    let outcomes = connection.write("Lead", &batch).await.unwrap();
    assert_eq!(kinds(&outcomes), "www");
    let sizes: Vec<usize> = server.got()[1..]
        .iter()
        .map(|g| g.json()["records"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [3, 1, 1]);
}

/// The first try told nothing, and the last one that it is wrong, which it may be for what the first one did.
#[tokio::test]
async fn what_is_tried_again_alone_may_have_been_done_before() {
    let mut calls = 0;
    let (_server, connection) = org(move |_| {
        calls += 1;
        let error =
            |code: &str| json!([{"success": false, "errors": [{"statusCode": code, "message": "no"}]}]);
        match calls {
            1 => Say::Json(503, "[]".to_owned()),
            2 => ok(error("UNABLE_TO_LOCK_ROW")),
            _ => ok(error("FIELD_CUSTOM_VALIDATION_EXCEPTION")),
        }
    })
    .await;
    let batch = [write(Some("00Q000000000001AAA"), "a", json!({"LastName": "a"}))];
    let outcomes = connection.write("Lead", &batch).await.unwrap();
    let Outcome::Refused(error) = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        (error.code.as_str(), error.ambiguous),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", true)
    );
}

#[tokio::test]
async fn gone_is_only_believed_after_reading() {
    let (_, connection) = org(|got| {
        if got.line.starts_with("POST") {
            return ok(json!([null, {"attributes": {"type": "Lead"}, "Id": "00QB", "IsDeleted": false}]));
        }
        let refused = json!({"success": false, "errors": [{"statusCode": "INVALID_CROSS_REFERENCE_KEY", "message": "invalid cross reference id"}]});
        ok(json!([refused, refused]))
    })
    .await;
    let batch = [
        write(Some("00QA"), "a", json!({"LastName": "a"})),
        write(Some("00QB"), "b", json!({"OwnerId": "005X"})),
    ];
    let outcomes = connection.write("Lead", &batch).await.unwrap();
    assert_eq!(kinds(&outcomes), "gr");
}

/// A system whose objects are found, created and updated one by one, by plain requests; `instead` changes its manifest.
fn one_by_one(server: &Server, instead: &[(&str, &str)]) -> crate::Connection {
    let manifest = instead.iter().fold(ONE_BY_ONE.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    });
    let config = json!({"base_url": server.url});
    crate::testing::connect(&connector(&manifest), config, &[("token", "t")], &Arc::default())
}

const ONE_BY_ONE: &str = r#"
apiVersion: interconnect/v1
kind: Connector
metadata: { name: acme, version: 1.0.0, title: Acme }
connection:
  config: { base_url: { help: where it is } }
  secrets: { token: where it is found }
  base_url: "{{ config.base_url }}"
  auth: [{ kind: bearer, header: "{{ secrets.token }}" }]
  identity: { request: { method: GET, path: /me }, tenant: .id }
errors:
  - { when: { status: 404 }, class: not_found, message: .message }
  - { when: { status: 500, jq: '.name == "ValueError"' }, class: validation, message: .message }
objects:
  deals:
    id: .id
    read: { by_ids: { batch: 10, request: { method: GET, path: /deals }, records: ".[]" } }
    write:
      key: our_id
      batch: 1
      strategy: find_then_write
      find: { batch: 20, request: { method: POST, path: /find, body: { jq: $keys } }, pairs: ".[]" }
      create: { request: { method: POST, path: /create, body: { jq: $batch } }, results: "{index: 0, ok: true, id}" }
      update: { request: { method: POST, path: /update, body: { jq: $batch } }, results: "{index: 0, ok: true, id}" }
"#;

#[tokio::test]
async fn what_is_only_being_created_cannot_be_gone() {
    let server = Server::start(|got| match got.line.as_str() {
        "POST /find" => ok(json!([{"key": "found", "id": "7"}])),
        _ => Say::Json(404, json!({"message": "no customer 9"}).to_string()),
    })
    .await;
    let batch = [
        write(None, "new", json!({"customer": "9"})),
        write(None, "found", json!({"name": "b"})),
        write(Some("3"), "linked", json!({"name": "c"})),
    ];
    let outcomes = one_by_one(&server, &[]).write("deals", &batch).await.unwrap();
    // The second was there a moment ago: it is written again, and made then.
    assert_eq!(kinds(&outcomes), "rug");
    let Outcome::Refused(error) = &outcomes[0] else {
        panic!()
    };
    assert_eq!(
        (error.class, error.code.as_str(), error.message.as_str()),
        (RecordClass::Validation, "not_found", "no customer 9")
    );
}

#[tokio::test]
async fn where_nothing_can_be_created_that_is_the_failure_of_all() {
    let server = Server::start(|got| match got.line.as_str() {
        "POST /find" => ok("[]"),
        _ => Say::Json(404, json!({"message": "no such path"}).to_string()),
    })
    .await;
    let outcomes = one_by_one(&server, &[]).write("deals", &deals(20)).await.unwrap();
    assert_eq!(kinds(&outcomes), format!("{}{}", "r".repeat(8), "n".repeat(12)));
}

#[tokio::test]
async fn a_500_that_a_rule_knows_is_an_answer_and_any_other_may_have_been_carried_out() {
    let answer = |known: bool| {
        move |got: &Got| match got.line.as_str() {
            "POST /find" => ok("[]"),
            _ if got.body.contains("bad") && known => Say::Json(
                500,
                json!({"name": "ValueError", "message": "not a number"}).to_string(),
            ),
            _ if got.body.contains("bad") => Say::Json(500, json!({"name": "Crash"}).to_string()),
            _ => ok(json!({"id": "1"})),
        }
    };
    let batch = [
        write(None, "a", json!({"name": "bad"})),
        write(None, "b", json!({"name": "b"})),
    ];
    for (known, expected) in [(true, "rw"), (false, "un")] {
        let server = Server::start(answer(known)).await;
        let outcomes = one_by_one(&server, &[]).write("deals", &batch).await.unwrap();
        assert_eq!(kinds(&outcomes), expected);
    }
}

/// What becomes of two updates, one request each, that are answered with these in turn: letters as in [`kinds`], with a
/// question mark where it may have been carried out all the same.
async fn told_apart(answers: &'static [u16]) -> String {
    let mut calls = 0;
    let server = Server::start(move |_| {
        calls += 1;
        match answers.get(calls - 1) {
            Some(200) | None => ok(json!({"id": "1"})),
            Some(status) => Say::Json(*status, json!({"message": "no"}).to_string()),
        }
    })
    .await;
    let rule = "  - { when: { status: 404 }, class: not_found, message: .message }\n";
    let conflict = rule.replace("404", "409").replace("not_found", "conflict");
    let connection = one_by_one(&server, &[(rule, &format!("{rule}{conflict}"))]);
    let batch = [
        write(Some("1"), "a", json!({"name": "a"})),
        write(Some("2"), "b", json!({"name": "b"})),
    ];
    let doubt = |ambiguous: bool| if ambiguous { "?" } else { "" };
    match connection.write("deals", &batch).await {
        Err(failure) => format!("{:?}{}", failure.class, doubt(failure.ambiguous)),
        Ok(outcomes) => {
            let told = outcomes.iter().map(|outcome| {
                let doubt = match outcome {
                    Outcome::Refused(error) => doubt(error.ambiguous),
                    Outcome::NotSent(failure) => doubt(failure.ambiguous),
                    _ => "",
                };
                kinds(std::slice::from_ref(outcome)) + doubt
            });
            told.collect()
        }
    }
}

#[tokio::test]
async fn what_was_not_done_is_told_apart_from_what_may_have_been_done_by_an_earlier_try() {
    for (answers, expected) in [
        (&[409, 200][..], "rw"),
        (&[503, 409, 200], "r?w"),
        (&[401], "AuthRevoked"),
        (&[503, 401], "un"),
        (&[200, 401], "wn"),
        (&[200, 503, 401], "wu"),
    ] {
        assert_eq!(told_apart(answers).await, expected, "{answers:?}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_made_of_a_record_refuses_that_record_alone() {
    let server = Server::start(|got| match got.line.as_str() {
        "POST /find" => ok("[]"),
        _ => {
            let batch = got.json();
            let made = |one: &Json| json!({"index": one["index"], "id": one["key"]});
            ok(batch.as_array().unwrap().iter().map(made).collect::<Json>())
        }
    })
    .await;
    let make = r#"create: { request: { method: POST, path: /create, body: { jq: $batch } }, results: "{index: 0, ok: true, id}" }"#;
    let by_program = r#"create: { request: { method: POST, path: /create, body: { jq: '[$batch[] | .lines = (.values.name | split(","))]' } }, results: ".[] | {index, ok: true, id}" }"#;
    let by_template = r#"create: { request: { method: POST, path: "/create?{% for one in batch %}{{ one['values'].name | lower }}{{ one['values'].name.x.y if one['values'].name == 5 }}{% endfor %}", body: { jq: $batch } }, results: ".[] | {index, ok: true, id}" }"#;
    for create in [by_program, by_template] {
        let mut batch = deals(8);
        for one in &mut batch {
            let name = one.values.remove("dealname").unwrap();
            one.values.insert("name".to_owned(), name);
        }
        batch[5].values.insert("name".to_owned(), json!(5));
        let connection = one_by_one(&server, &[(make, create), ("batch: 1\n", "batch: 8\n")]);
        let before = server.got().len();
        let outcomes = connection.write("deals", &batch).await.unwrap();
        assert_eq!(kinds(&outcomes), "wwwwwrww");
        let Outcome::Refused(error) = &outcomes[5] else {
            panic!()
        };
        assert_eq!(error.class, RecordClass::Validation);
        // One look for keys; then 4, 1 and 2 records.
        assert_eq!(server.got().len() - before, 4);
    }
}

/// A field whose id is looked up.
const REGION: (&str, &str) = (
    "    id: .id\n",
    r#"    id: .id
    flatten: { region: { field: region_id, lookup: regions } }
    lookups: { regions: { what: region, request: { method: POST, path: /regions, body: { jq: $keys } }, pairs: ".[]" } }
"#,
);

/// Knows one region, and writes everything.
fn one_region(got: &Got) -> Say {
    match got.line.as_str() {
        "POST /find" => ok("[]"),
        "POST /regions" => ok(json!([{"key": "GB-BST", "id": 4}])),
        _ => ok(json!({"id": "1"})),
    }
}

#[tokio::test]
async fn what_the_system_does_not_know_refuses_its_record_or_is_left_out_as_the_manifest_says() {
    let left_out = (
        REGION.0,
        &*REGION
            .1
            .replace("what: region,", "what: region, missing: leave_out,"),
    );
    let batch = [
        write(None, "a", json!({"name": "a", "region": "GB-BST"})),
        write(None, "b", json!({"name": "b", "region": "GB-XXX"})),
        write(Some("1"), "c", json!({"region": "GB-XXX"})),
    ];
    for (region, expected) in [(REGION, "wrr"), (left_out, "www")] {
        let server = Server::start(one_region).await;
        let connection = one_by_one(&server, &[region]);
        let outcomes = connection.write("deals", &batch).await.unwrap();
        assert_eq!(kinds(&outcomes), expected);
        if let [
            Outcome::Written { left_out: none, .. },
            Outcome::Written { left_out, .. },
            _,
        ] = outcomes.as_slice()
        {
            assert!(none.is_empty());
            let why = "the system has no region `GB-XXX`, add it there or correct the value";
            assert_eq!(
                left_out,
                &[LeftOut {
                    field: "region".to_owned(),
                    why: why.to_owned(),
                    instead: None
                }]
            );
            let wire = |at: usize| server.got()[at].json()[0]["values"].clone();
            assert_eq!(
                server.lines(),
                ["POST /find", "POST /regions", "POST /create", "POST /create"]
            );
            assert_eq!(wire(2), json!({"name": "a", "region_id": 4, "our_id": "a"}));
            assert_eq!(wire(3), json!({"name": "b", "our_id": "b"}));
        }
    }
}

#[tokio::test]
async fn a_text_that_several_objects_have_names_none_of_them() {
    let server = Server::start(|got| match got.line.as_str() {
        "POST /find" => ok("[]"),
        "POST /regions" => ok(json!([{"key": "North", "id": 4}, {"key": "South", "id": 6}, {"key": "North", "id": 5}, {"key": "South", "id": 6}])),
        _ => ok(json!({"id": "1"})),
    })
    .await;
    let connection = one_by_one(&server, &[REGION]);
    let batch = ["North", "South"].map(|region| write(None, region, json!({"region": region})));
    for _ in 0..2 {
        let outcomes = connection.write("deals", &batch).await.unwrap();
        assert_eq!(kinds(&outcomes), "rw");
        let Outcome::Refused(error) = &outcomes[0] else {
            panic!()
        };
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            (
                "several_found",
                "`region`: the system has 2 of region `North` (4, 5), so that it names none: make the names differ there"
            )
        );
    }
    let asked: Vec<Json> = server
        .got()
        .iter()
        .filter(|got| got.line == "POST /regions")
        .map(Got::json)
        .collect();
    assert_eq!(
        asked,
        [json!(["North", "South"]), json!(["North"])],
        "what was found is remembered, what was not is not"
    );
}

#[tokio::test]
async fn what_is_missing_is_made_once_where_the_connection_wants_it() {
    let made = REGION.1.replace(
        "what: region,",
        "what: region, create: { when: \"{{ config.base_url != '' }}\", request: { method: POST, path: /region, body: { jq: '{name: $key}' } }, value: .id },",
    );
    let never = made.replace("!= ''", "== ''");
    // Answered, refused, and lost on its way.
    for (region, answer, expected, calls) in [
        (&made, ok(json!({"id": 7})), "wwr", 3),
        (
            &made,
            Say::Json(422, r#"{"message": "no more regions"}"#.to_owned()),
            "wrr",
            3,
        ),
        (&never, ok(json!({"id": 7})), "wrr", 0),
    ] {
        let answer = std::sync::Mutex::new(answer);
        let server = Server::start(move |got| match got.line.as_str() {
            "POST /find" => ok("[]"),
            "POST /regions" => ok(json!([{"key": "GB-BST", "id": 4}])),
            "POST /region" if got.json()["name"] == "GB-YYY" => {
                Say::Json(422, r#"{"message": "no"}"#.to_owned())
            }
            "POST /region" => answer.lock().unwrap().clone(),
            _ => ok(json!({"id": "1"})),
        })
        .await;
        let connection = one_by_one(&server, &[(REGION.0, region.as_str())]);
        let batch =
            ["GB-BST", "GB-XXX", "GB-YYY"].map(|region| write(None, region, json!({"region": region})));
        let outcomes = connection.write("deals", &batch).await.unwrap();
        assert_eq!(kinds(&outcomes), expected, "{outcomes:?}");
        let Outcome::Refused(error) = &outcomes[2] else {
            panic!()
        };
        let refused = calls > 0;
        assert_eq!(error.code, if refused { "not_made" } else { "not_found" });
        assert_eq!(
            error.message.contains("refuses a new one: no"),
            refused,
            "{error:?}"
        );
        // A second write makes the one that is there no more.
        connection.write("deals", &batch[..2]).await.unwrap();
        let made = server
            .got()
            .iter()
            .filter(|got| got.line == "POST /region")
            .count();
        assert_eq!(made, calls.min(if expected == "wwr" { 2 } else { 3 }));
    }
}

#[tokio::test]
async fn a_creation_that_is_lost_on_its_way_is_not_repeated() {
    let made = REGION.1.replace(
        "what: region,",
        "what: region, create: { request: { method: POST, path: /region, body: { jq: '{name: $key}' } }, value: .id },",
    );
    let mut there = false;
    let server = Server::start(move |got| match got.line.as_str() {
        "POST /find" => ok("[]"),
        "POST /regions" if there => ok(json!([{"key": "GB-XXX", "id": 7}])),
        "POST /regions" => ok("[]"),
        "POST /region" => {
            there = true;
            Say::Drop
        }
        _ => ok(got.body.clone()),
    })
    .await;
    let connection = one_by_one(&server, &[(REGION.0, made.as_str())]);
    let batch = [write(None, "a", json!({"region": "GB-XXX"}))];
    let failure = connection.write("deals", &batch).await.unwrap_err();
    assert!(failure.ambiguous, "{failure:?}");
    connection.write("deals", &batch).await.unwrap();
    let count = |line: &str| server.lines().iter().filter(|asked| *asked == line).count();
    assert_eq!(
        (
            count("POST /regions"),
            count("POST /region"),
            count("POST /create")
        ),
        (2, 1, 1)
    );
    assert_eq!(server.got().last().unwrap().json()[0]["values"]["region_id"], 7);
}

#[tokio::test]
async fn each_step_of_writing_has_its_own_batch_or_that_of_all() {
    let server = Server::start(|got| match got.line.as_str() {
        "POST /find" => ok("[]"),
        _ => ok(got.body.clone()),
    })
    .await;
    let all = r#""{index: 0, ok: true, id}" }"#;
    let each = r#"".[] | {index, ok: true, id: .key}" }"#;
    let manifest = ONE_BY_ONE.replace(all, each).replace("batch: 1\n", "batch: 3\n");
    let own = manifest.replace("update: { request", "update: { batch: 5, request");
    for (manifest, sizes) in [(manifest, [3, 2, 3, 1].as_slice()), (own, &[5, 3, 1])] {
        let config = json!({"base_url": server.url});
        let connection =
            crate::testing::connect(&connector(&manifest), config, &[("token", "t")], &Arc::default());
        let before = server.got().len();
        let mut batch = deals(9);
        for (number, one) in batch.iter_mut().enumerate().filter(|(number, _)| number % 2 == 0) {
            one.id = Some(number.to_string());
        }
        assert_eq!(
            kinds(&connection.write("deals", &batch).await.unwrap()),
            "w".repeat(9)
        );
        let got = server.got();
        let sent = got[before..].iter().filter(|got| got.line != "POST /find");
        assert_eq!(
            sent.map(|got| got.json().as_array().unwrap().len())
                .collect::<Vec<_>>(),
            sizes
        );
        assert_eq!(connection.batch_max("deals"), sizes[0]);
    }
}

#[tokio::test]
async fn what_can_only_be_created_is_left_out_of_updates_with_what_hangs_on_it() {
    let server = Server::start(|got| match got.line.as_str() {
        "POST /find" => ok("[]"),
        _ => ok(json!({"id": "1"})),
    })
    .await;
    let only = (
        "batch: 1\n",
        "batch: 1\n      create_only: [origin, [currency, amount]]\n",
    );
    let connection = one_by_one(&server, &[only]);
    let all = json!({"name": "a", "origin": "web", "currency": "EUR", "amount": 5});
    let batch = [
        write(None, "new", all.clone()),
        write(Some("2"), "other", all),
        write(Some("3"), "worth", json!({"amount": 6})),
        write(Some("4"), "nothing", json!({"currency": "USD", "amount": 7})),
    ];
    let outcomes = connection.write("deals", &batch).await.unwrap();
    let left_out = |outcome: &Outcome| match outcome {
        Outcome::Written { left_out, .. } => {
            let fields: Vec<&str> = left_out.iter().map(|left| left.field.as_str()).collect();
            fields.join(" ")
        }
        other => panic!("{other:?}"),
    };
    let told: Vec<String> = outcomes.iter().map(left_out).collect();
    assert_eq!(told, ["", "origin currency amount", "", "currency amount"]);
    let got = server.got();
    let sent = got[1..]
        .iter()
        .map(|got| (got.line.as_str(), got.json()[0]["values"].clone()));
    let all = json!({"name": "a", "origin": "web", "currency": "EUR", "amount": 5, "our_id": "new"});
    let expected = [
        ("POST /update", json!({"name": "a"})),
        ("POST /update", json!({"amount": 6})),
        ("POST /create", all),
    ];
    assert_eq!(sent.collect::<Vec<_>>(), expected);
}
