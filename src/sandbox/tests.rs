//! What all systems share: control over HTTP, counting, partners, starting and stopping.

use serde_json::json;

use crate::partner::{secret_of, sign};
use crate::testing::{Asker, NOW_MS, WEBHOOK_KEY, start};
use crate::{Fault, PartnerSettings, Sandbox, Secret, Settings, StartError, Switch};

#[tokio::test]
async fn control_is_not_counted_and_calls_are() {
    let (running, _) = start().await;
    let asker = Asker::at(&running.hubspot.url()).with(crate::hubspot::PRIVATE_APP_TOKEN);
    let seeded = asker
        .post(
            "/_sandbox/rows/deals",
            &json!([{ "dealname": "a" }, { "dealname": "b" }]),
        )
        .await;
    assert_eq!(
        (seeded.status, seeded.json()["ids"].as_array().unwrap().len()),
        (201, 2)
    );
    let id = seeded.json()["ids"][0].as_str().unwrap().to_owned();
    assert_eq!(
        asker
            .put(
                "PATCH",
                &format!("/_sandbox/rows/deals/{id}"),
                &json!({ "amount": "5" })
            )
            .await
            .status,
        204
    );
    let rows = asker.get("/_sandbox/rows/deals").await.json();
    assert_eq!(rows["rows"][0]["properties"]["amount"], "5");
    assert_eq!(asker.get("/_sandbox/calls").await.json()["by_route"], json!([]));

    asker.get(&format!("/crm/objects/2026-09/deals/{id}")).await;
    asker.post("/crm/v3/objects/deals/search", &json!({})).await;
    asker
        .put(
            "PATCH",
            &format!("/crm/v3/objects/deals/{id}"),
            &json!({ "properties": {} }),
        )
        .await;
    asker.get("/no/such/route").await;
    let calls = asker.get("/_sandbox/calls").await.json();
    assert_eq!(
        (&calls["reads"], &calls["writes"], &calls["auth"]),
        (&json!(3), &json!(1), &json!(0))
    );
    assert_eq!(
        calls["last"][2]["route"], "/crm/v3/objects/{kind}/{id}",
        "patterns, not paths"
    );
    assert_eq!(asker.post("/_sandbox/calls/reset", &json!({})).await.status, 204);
    assert_eq!(asker.get("/_sandbox/calls").await.json()["writes"], 0);
}

#[tokio::test]
async fn control_says_what_it_does_not_understand() {
    let (running, _) = start().await;
    let asker = Asker::at(&running.salesforce.url());
    let text = |answer: crate::testing::Answer| answer.json()["error"].as_str().unwrap().to_owned();
    let unknown = text(
        asker
            .post("/_sandbox/faults", &json!({ "kind": "earthquake" }))
            .await,
    );
    assert!(
        unknown.contains("earthquake") && unknown.contains("drop_connection"),
        "{unknown}"
    );
    let object = text(asker.get("/_sandbox/rows/Invoice").await);
    assert!(
        object.contains("`Invoice`") && object.contains("Opportunity"),
        "{object}"
    );
    let row = text(
        asker
            .post(
                "/_sandbox/rows/Lead",
                &json!([{ "LastName": "a", "Company": "b" }, { "LastName": "c" }]),
            )
            .await,
    );
    assert_eq!(
        row,
        "row 1 was refused: REQUIRED_FIELD_MISSING: Required fields are missing: [Company]"
    );
    let fault = json!({ "kind": "slow", "delay_ms": 0, "on": "writes", "times": 2 });
    assert_eq!(asker.post("/_sandbox/faults", &fault).await.json(), fault);
    assert_eq!(
        asker.get("/_sandbox/faults").await.json()["faults"],
        json!([fault])
    );
    assert_eq!(
        asker.send("DELETE", "/_sandbox/faults", &[], "").await.status,
        204
    );
    assert!(running.salesforce.faults().list().is_empty());
}

async fn deliver(asker: &Asker, id: &str, body: &str, key: &[u8]) -> Option<u16> {
    let at_s = NOW_MS / 1_000;
    let signature = sign(&secret_of(key), id, at_s, body.as_bytes()).unwrap();
    let at = at_s.to_string();
    let headers = [
        ("webhook-id", id),
        ("webhook-timestamp", at.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    asker
        .try_send("POST", "/hooks/in", &headers, body)
        .await
        .map(|answer| answer.status)
}

#[tokio::test]
async fn a_partner_keeps_what_is_signed_and_tells_duplicates() {
    let (running, _) = start().await;
    let partner = running.partner("harbour").unwrap();
    let asker = Asker::at(&partner.url());
    assert_eq!(
        deliver(&asker, "msg_1", r#"{"n":1}"#, WEBHOOK_KEY).await,
        Some(200)
    );
    assert_eq!(
        deliver(&asker, "msg_1", r#"{"n":1}"#, WEBHOOK_KEY).await,
        Some(200)
    );
    assert_eq!(
        deliver(&asker, "msg_2", "{}", b"another key of the same size").await,
        Some(401)
    );
    assert_eq!(asker.send("POST", "/", &[], "{}").await.status, 401);
    let counts = partner.counts();
    assert_eq!(
        (counts.accepted, counts.duplicates, counts.forged, counts.unsigned),
        (1, 1, 1, 1)
    );
    let told = asker.get("/_sandbox/received?after=1").await.json();
    assert_eq!(told["received"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&told["received"][0]["body"], &told["received"][0]["duplicate"]),
        (&json!(r#"{"n":1}"#), &json!(true))
    );
    assert_eq!(
        (&told["received"][0]["path"], &told["counts"]["accepted"]),
        (&json!("/hooks/in"), &json!(1))
    );
    assert_eq!(
        asker.send("DELETE", "/_sandbox/received", &[], "").await.status,
        204
    );
    assert_eq!(partner.counts(), crate::partner::ReceivedCounts::default());
}

#[tokio::test]
async fn a_partner_fails_as_told_and_a_retry_after_an_error_is_no_duplicate() {
    let (running, _) = start().await;
    let partner = running.partner("harbour").unwrap();
    let asker = Asker::at(&partner.url());
    partner
        .faults()
        .add(Switch::times(
            Fault::Status {
                status: 410,
                retry_after_s: None,
            },
            1,
        ))
        .unwrap();
    partner
        .faults()
        .add(Switch::times(
            Fault::Status {
                status: 429,
                retry_after_s: Some(7),
            },
            1,
        ))
        .unwrap();
    assert_eq!(deliver(&asker, "msg_1", "{}", WEBHOOK_KEY).await, Some(410));
    let limited = asker.send("POST", "/", &[], "{}").await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("7")));
    assert_eq!(deliver(&asker, "msg_1", "{}", WEBHOOK_KEY).await, Some(200));
    assert_eq!((partner.counts().failed, partner.counts().duplicates), (2, 0));

    partner
        .faults()
        .add(Switch::times(Fault::DropConnection, 1))
        .unwrap();
    assert_eq!(deliver(&asker, "msg_2", "{}", WEBHOOK_KEY).await, None);
    assert_eq!(deliver(&asker, "msg_2", "{}", WEBHOOK_KEY).await, Some(200));
    assert_eq!(
        (partner.counts().accepted, partner.counts().duplicates),
        (2, 1),
        "it was taken before the cut"
    );
}

#[tokio::test]
async fn a_partner_sends_webhooks_of_its_own() {
    let (running, _) = start().await;
    let partner = running.partner("harbour").unwrap();
    let status = partner
        .send(&partner.url(), partner.secret(), "msg_9", b"{}")
        .await
        .unwrap();
    assert_eq!((status, partner.received()[0].id.as_str()), (200, "msg_9"));
    assert!(
        partner
            .send("https://hub/", partner.secret(), "msg_9", b"{}")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids_and_ports_are_free_after_a_shutdown() {
    let (one, _) = start().await;
    let (two, _) = start().await;
    assert_eq!(one.salesforce.org_id(), two.salesforce.org_id());
    let row = json!({ "name": "Acme" });
    assert_eq!(
        one.hubspot.insert("companies", &row),
        two.hubspot.insert("companies", &row)
    );
    let taken = Settings {
        hubspot: one.hubspot.addr,
        ..Settings::default()
    };
    let error = Sandbox::start(taken.clone()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot listen on {} for HubSpot", one.hubspot.addr)),
        "{error}"
    );
    one.shutdown().await;
    Sandbox::start(taken).await.unwrap().shutdown().await;
    let partners = vec![PartnerSettings::new("p", Secret::new("secret"))];
    let error = Sandbox::start(Settings {
        partners,
        ..Settings::default()
    })
    .await
    .unwrap_err();
    assert!(matches!(error, StartError::Secret { .. }));
    assert!(
        !format!("{error:?}{error}").contains("secret\""),
        "the secret is not told"
    );
}
