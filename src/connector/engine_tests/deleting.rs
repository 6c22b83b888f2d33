//! Deleting: an object that is not there any more counts as deleted, whoever deleted it.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::testing::{Got, Say, Server, connect, hubspot, ok, salesforce, shipped, write};
use crate::{Class, Outcome, RecordClass, Write};

fn ids(ids: &[&str]) -> Vec<Write> {
    let key = |id: &&str| write(Some(id), &format!("key of {id}"), json!({}));
    ids.iter().map(key).collect()
}

fn is_gone(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Written { .. } | Outcome::Gone)
}

#[tokio::test]
async fn a_batch_is_one_call_that_may_be_repeated() {
    let mut answered = 0;
    let server = Server::start(move |_| {
        answered += 1;
        match answered {
            // It took effect, and the answer says that it did not.
            1 => Say::Json(502, "{}".to_owned()),
            _ => Say::Json(204, String::new()),
        }
    })
    .await;
    let outcomes = hubspot(&server, &Arc::default())
        .delete("companies", &ids(&["501", "502"]))
        .await
        .unwrap();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.iter().all(is_gone), "{outcomes:?}");
    let got = server.got();
    assert_eq!(
        server.lines(),
        ["POST /crm/v3/objects/companies/batch/archive"; 2]
    );
    assert_eq!(got[1].json(), json!({"inputs": [{"id": "501"}, {"id": "502"}]}));
}

#[tokio::test]
async fn what_is_gone_already_counts_as_deleted_and_a_refusal_stays_with_its_object() {
    let refused = |code: &str| json!({"success": false, "errors": [{"statusCode": code, "message": "no", "fields": []}]});
    let server = Server::start(move |got: &Got| match got.line.split([' ', '?']).nth(1) {
        Some("/services/oauth2/token") => {
            let host = got.headers.get("host").cloned().unwrap_or_default();
            ok(json!({"access_token": "t", "instance_url": format!("http://{host}"), "token_type": "Bearer"}))
        }
        _ => ok(json!([
            {"id": "001A", "success": true, "errors": []},
            refused("ENTITY_IS_DELETED"), refused("DELETE_FAILED"),
        ])),
    })
    .await;
    let outcomes = salesforce(&server, &Arc::default())
        .delete("Account", &ids(&["001A", "001B", "001C"]))
        .await
        .unwrap();
    assert!(
        is_gone(&outcomes[0]) && outcomes[1] == Outcome::Gone,
        "{outcomes:?}"
    );
    let Outcome::Refused(error) = &outcomes[2] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        (error.class, error.code.as_str()),
        (RecordClass::Other, "DELETE_FAILED")
    );
}

#[tokio::test]
async fn not_found_at_its_address_means_that_it_is_gone() {
    let server = Server::start(|got: &Got| match got.line.as_str() {
        "DELETE /partners/1" => Say::Json(204, String::new()),
        _ => Say::Json(404, json!({"message": "no such partner"}).to_string()),
    })
    .await;
    let rest = connect(
        &shipped("rest"),
        rest_config(&server),
        &[("token", "t")],
        &Arc::default(),
    );
    assert!(rest.deletes("partners"));
    let outcomes = rest.delete("partners", &ids(&["1", "2"])).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Written { id, .. } if id == "1"));
    assert_eq!(outcomes[1], Outcome::Gone);
}

#[tokio::test]
async fn nothing_is_decided_when_nobody_may_delete() {
    let server = Server::start(|_| Say::Json(403, json!({"message": "no"}).to_string())).await;
    let hubspot = hubspot(&server, &Arc::default());
    let failure = hubspot.delete("companies", &ids(&["501"])).await.unwrap_err();
    assert_eq!(failure.class, Class::Permission);
}

#[tokio::test]
async fn a_rehearsal_deletes_nothing() {
    let server = Server::start(|_| Say::Json(500, "{}".to_owned())).await;
    let hubspot = hubspot(&server, &Arc::default()).rehearsing().counted();
    let outcomes = hubspot.delete("companies", &ids(&["501"])).await.unwrap();
    assert!(is_gone(&outcomes[0]));
    assert_eq!((server.lines().len(), hubspot.calls().all()), (0, 1));
}

fn rest_config(server: &Server) -> Json {
    json!({"base_url": server.url})
}
