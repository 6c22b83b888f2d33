//! Remote calls: sessions with a context, rows of lists, lookups, transitions, and creations that are never repeated.

use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use crate::testing::{Got, ManualClock, Say, Server, ok, tryton, write};
use crate::{Class, Outcome, RecordClass};

/// A server of remote calls: logs in by itself, leaves the rest to the test.
async fn server(mut answer: impl FnMut(&str, &[Json]) -> Say + Send + 'static) -> Server {
    Server::start(move |got: &Got| {
        let call = got.json();
        let params = call["params"].as_array().unwrap();
        match call["method"].as_str().unwrap() {
            "common.db.login" => ok(json!({"id": 1, "result": [7, "tok", null]})),
            "model.res.user.get_preferences" => ok(json!({"id": 1, "result": {"company": 3, "employee": 4}})),
            method => answer(method, params),
        }
    })
    .await
}

fn result(value: impl Into<Json>) -> Say {
    ok(json!({"id": 1, "result": value.into()}))
}

fn user_error(text: &str) -> Say {
    ok(json!({"id": 1, "error": ["UserError", [text, "", null]]}))
}

#[tokio::test]
async fn the_session_and_its_context_go_with_every_call() {
    let server = server(|_, params| {
        assert_eq!(
            params.last().unwrap(),
            &json!({"company": 3, "employee": 4, "active_test": false})
        );
        result(json!([]))
    })
    .await;
    tryton(&server, &Arc::default())
        .by_ids("party.party", &[], &["1".to_owned()])
        .await
        .unwrap();
    let got = server.got();
    assert_eq!(got[0].json()["params"], json!(["hub", {"password": "pw"}, "en"]));
    // base64 of hub:7:tok
    assert_eq!(got[2].authorization, "Session aHViOjc6dG9r");
}

#[tokio::test]
async fn a_wrong_password_is_not_an_expired_session() {
    let server = Server::start(|_| Say::Json(401, "<html>".to_owned())).await;
    let failure = tryton(&server, &Arc::default()).check().await.unwrap_err();
    assert_eq!(failure.class, Class::AuthRevoked);
    assert_eq!(server.got().len(), 1);
}

#[tokio::test]
async fn values_go_into_the_rows_that_exist_and_into_new_ones() {
    let written = Arc::new(Mutex::new(Json::Null));
    let seen = Arc::clone(&written);
    let server = server(move |method, params| match method {
        "model.country.country.search_read" => result(json!([{"id": 49, "code": "DE"}])),
        "model.party.party.search_read" => result(json!([{
            "id": 3,
            "contact_mechanisms.": [{"id": 1, "type": "email", "value": "a@b.test", "active": 0},
                                    {"id": 2, "type": "email", "value": "b@b.test", "active": 1},
                                    {"id": 5, "type": "phone", "value": "+49301", "active": 1}],
            "addresses.": [{"id": 8, "city": "Bonn", "active": 1, "country.": null}],
        }])),
        _ => {
            *seen.lock().unwrap() = json!(params);
            result(Json::Null)
        }
    })
    .await;
    let values = json!({"name": "Neu", "active": true, "email": "c@b.test", "phone": null, "website": "https://b.test",
                        "city": "Köln", "country_code": "DE"});
    let batch = [write(Some("3"), "ptn_1", values)];
    let outcomes = tryton(&server, &Arc::default())
        .write("party.party", &batch)
        .await
        .unwrap();
    assert!(
        matches!(&outcomes[0], Outcome::Written { id, created: false, .. } if id == "3"),
        "{outcomes:?}"
    );
    let params = written.lock().unwrap().clone();
    assert_eq!(params[0], json!([3]));
    assert_eq!(
        params[1],
        json!({"name": "Neu", "active": true,
            "addresses": [["write", [8], {"city": "Köln", "country": 49}]],
            "contact_mechanisms": [["write", [2], {"value": "c@b.test"}], ["delete", [5]],
                                   ["create", [{"type": "website", "value": "https://b.test"}]]]})
    );
}

#[tokio::test]
async fn what_exists_is_updated_and_what_is_missing_is_created_with_our_key() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let server = server(move |method, params| {
        seen.lock().unwrap().push((method.to_owned(), params[0].clone()));
        match method {
            "model.sale.opportunity.search_read" => result(json!([{"id": 5, "reference": "k2"}])),
            "model.sale.opportunity.create" => result(json!([9])),
            _ => result(Json::Null),
        }
    })
    .await;
    let amount: Json = serde_json::from_str("12500.50").unwrap();
    let batch = [
        write(
            None,
            "k1",
            json!({"description": "new", "amount": amount, "start_date": "2026-11-03", "party": "3"}),
        ),
        write(None, "k2", json!({"description": "old"})),
        write(None, "k3", json!({"start_date": "soon"})),
    ];
    let outcomes = tryton(&server, &Arc::default())
        .write("sale.opportunity", &batch)
        .await
        .unwrap();
    assert!(matches!(&outcomes[0], Outcome::Written { id, created: true, .. } if id == "9"));
    assert!(matches!(&outcomes[1], Outcome::Written { id, created: false, .. } if id == "5"));
    assert!(
        matches!(&outcomes[2], Outcome::Refused(e) if e.fields == ["start_date"]),
        "{:?}",
        outcomes[2]
    );
    let created = calls
        .lock()
        .unwrap()
        .iter()
        .find(|(m, _)| m.ends_with("create"))
        .unwrap()
        .1
        .clone();
    assert_eq!(
        created,
        json!([{"description": "new", "reference": "k1", "party": 3,
                "amount": {"__class__": "Decimal", "decimal": "12500.50"},
                "start_date": {"__class__": "date", "year": 2026, "month": 11, "day": 3}}])
    );
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_unknown_then_found_by_its_key() {
    let created = Arc::new(Mutex::new(Vec::<Json>::new()));
    let store = Arc::clone(&created);
    let server = server(move |method, params| {
        let mut store = store.lock().unwrap();
        match method {
            "model.sale.opportunity.create" => {
                store.extend(params[0].as_array().unwrap().iter().cloned());
                Say::Drop
            }
            "model.sale.opportunity.search_read" => {
                let found = store
                    .iter()
                    .enumerate()
                    .map(|(n, row)| json!({"id": n + 1, "reference": row["reference"]}));
                result(found.collect::<Json>())
            }
            _ => result(Json::Null),
        }
    })
    .await;
    let connection = tryton(&server, &Arc::default());
    let batch = [write(None, "k1", json!({"description": "once"}))];
    let outcomes = connection.write("sale.opportunity", &batch).await.unwrap();
    assert_eq!(outcomes, [Outcome::Unknown]);
    let outcomes = connection.write("sale.opportunity", &batch).await.unwrap();
    assert!(
        matches!(&outcomes[0], Outcome::Written { id, created: false, .. } if id == "1"),
        "{outcomes:?}"
    );
    assert_eq!(created.lock().unwrap().len(), 1);
}

/// A server with one opportunity whose state moves as the real one's does.
async fn opportunity(state: &'static str, calls: Arc<Mutex<Vec<String>>>) -> Server {
    let mut state = state.to_owned();
    let date = json!({"__class__": "date", "year": 2027, "month": 1, "day": 31});
    server(move |method, params| {
        let name = method.rsplit('.').next().unwrap();
        calls.lock().unwrap().push(match name {
            "write" => format!("write {}", params[1]),
            _ => name.to_owned(),
        });
        match name {
            "search_read" => result(json!([{"id": 1, "state": state, "end_date": date}])),
            "write" => result(Json::Null),
            "convert" if state != "opportunity" => user_error("You can not call \"convert\""),
            "opportunity" if params[0] == json!([2]) => user_error("A value is required for field \"Party\""),
            _ => {
                state = name.to_owned();
                result(Json::Null)
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_state_several_moves_away_is_reached_and_what_moves_change_is_put_back() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let server = opportunity("lost", Arc::clone(&calls)).await;
    let connection = tryton(&server, &Arc::default());
    let batch = [write(Some("1"), "k", json!({"state": "converted"}))];
    let outcomes = connection.write("sale.opportunity", &batch).await.unwrap();
    assert!(
        matches!(&outcomes[0], Outcome::Written { created: false, .. }),
        "{outcomes:?}"
    );
    let put_back = r#"write {"end_date":{"__class__":"date","day":31,"month":1,"year":2027}}"#;
    assert_eq!(
        *calls.lock().unwrap(),
        ["search_read", "lead", "opportunity", "convert", put_back]
    );
}

#[tokio::test]
async fn a_state_that_is_already_there_moves_nothing() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let server = opportunity("lead", Arc::clone(&calls)).await;
    let batch = [write(Some("1"), "k", json!({"state": "lead"}))];
    let outcomes = tryton(&server, &Arc::default())
        .write("sale.opportunity", &batch)
        .await
        .unwrap();
    assert!(matches!(&outcomes[0], Outcome::Written { .. }));
    assert_eq!(*calls.lock().unwrap(), ["search_read"]);
}

#[tokio::test]
async fn an_unreachable_state_is_refused_before_anything_is_written() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let server = opportunity("converted", Arc::clone(&calls)).await;
    let connection = tryton(&server, &Arc::default());
    for (wanted, message) in [
        (
            json!("lost"),
            "an object that is `converted` stays so, it cannot become `lost`",
        ),
        (
            json!(5),
            "`state` is 5, expected one of: cancelled, converted, lead, lost, opportunity",
        ),
    ] {
        let batch = [write(
            Some("1"),
            "k",
            json!({"description": "x", "state": wanted}),
        )];
        let outcomes = connection.write("sale.opportunity", &batch).await.unwrap();
        let Outcome::Refused(error) = &outcomes[0] else {
            panic!("{outcomes:?}")
        };
        assert_eq!(
            (error.class, error.message.as_str()),
            (RecordClass::Unreachable, message)
        );
    }
    assert!(calls.lock().unwrap().iter().all(|c| c == "search_read"));
}

#[tokio::test]
async fn moments_of_change_include_those_of_the_rows() {
    let at = |hour: u64| json!({"__class__": "datetime", "year": 2026, "month": 11, "day": 23, "hour": hour, "minute": 0, "second": 0, "microsecond": 5});
    let row = json!({"id": 3, "last_modified_at": at(6), "_timestamp": "1.5", "addresses.": [{"id": 1, "last_modified_at": at(8)}],
                     "contact_mechanisms.": [], "identifiers.": []});
    let server = server(move |_, _| result(json!([row]))).await;
    let clock = Arc::new(ManualClock::default());
    let page = tryton(&server, &clock)
        .changes("party.party", &[], None)
        .await
        .unwrap();
    assert_eq!(
        page.objects[0].modified.unwrap().to_string(),
        "2026-11-23T08:00:00.000005Z"
    );
    assert_eq!(page.objects[0].version.as_deref(), Some("1.5"));
}

#[tokio::test]
async fn a_bad_record_of_an_atomic_batch_is_found_and_the_rest_is_created() {
    let server = server(|method, params| {
        if method.ends_with("search_read") {
            return result(json!([]));
        }
        let rows = params[0].as_array().unwrap();
        match rows.iter().any(|r| r["description"] == "bad") {
            true => user_error("A value is required for field \"Start Date\" in \"Sale Opportunity\"."),
            false => result(
                rows.iter()
                    .map(|r| json!(r["reference"].as_str().unwrap().len()))
                    .collect::<Json>(),
            ),
        }
    })
    .await;
    let batch = ["a", "bb", "bad", "dddd"].map(|k| write(None, k, json!({"description": k})));
    let outcomes = tryton(&server, &Arc::default())
        .write("sale.opportunity", &batch)
        .await
        .unwrap();
    let refused = outcomes
        .iter()
        .filter(|o| matches!(o, Outcome::Refused(_)))
        .count();
    assert_eq!(refused, 1);
    assert!(matches!(&outcomes[2], Outcome::Refused(e) if e.message.contains("Start Date")));
}
