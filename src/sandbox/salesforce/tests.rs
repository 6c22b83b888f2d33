//! The emulated organisation over HTTP, and the laws of its store.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::cursors::CURSORS_MAX;
use super::rows::{By, Org};
use super::{CLIENT_ID, CLIENT_SECRET, INTEGRATION_REFRESH_TOKEN, seed};
use crate::testing::{Answer, Asker, NOW_MS, encoded, start};
use crate::{Fault, Reach, Running, Sandbox, Settings, Switch};

const DATA: &str = "/services/data/v68.0";

pub(crate) async fn log_in(running: &Running) -> Asker {
    let asker = Asker::at(&running.salesforce.url());
    let form = format!("grant_type=client_credentials&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}");
    let answer = asker.form("/services/oauth2/token", &form).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    asker.with(&token)
}

async fn query(asker: &Asker, text: &str) -> Answer {
    asker.get(&format!("{DATA}/query?q={}", encoded(text))).await
}

fn deal(name: &str) -> Value {
    json!({ "Name": name, "StageName": "Prospecting", "CloseDate": "2026-12-24" })
}

pub(crate) fn code(answer: &Answer) -> String {
    answer.json()[0]["errorCode"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_row_belongs_to_somebody_who_works_here_and_a_lead_to_a_queue_too() {
    let (running, _) = start().await;
    let here = &running.salesforce;
    let user = here.insert("User", &json!({"LastName": "Gone"})).unwrap();
    here.update("User", &user, &json!({"IsActive": false})).unwrap();
    let queue = here
        .insert("Group", &json!({"Name": "Inbound", "Type": "Queue"}))
        .unwrap();
    let lead = |owner: &str| json!({"LastName": "L", "Company": "C", "OwnerId": owner});
    let id = here.insert("Lead", &lead(&queue)).unwrap();
    let refused = |result: Result<(), crate::RowError>| {
        let told = result.unwrap_err().to_string();
        told.split(':').next().unwrap_or_default().to_owned()
    };
    for (change, code) in [
        (json!({"OwnerId": user}), "INACTIVE_OWNER_OR_USER"),
        (json!({"OwnerId": null}), "FIELD_INTEGRITY_EXCEPTION"),
    ] {
        assert_eq!(refused(here.update("Lead", &id, &change)), code, "{change}");
    }
    assert_eq!(
        refused(
            here.insert(
                "Opportunity",
                &json!({"Name": "O", "StageName": "Prospecting", "CloseDate": "2026-12-24", "OwnerId": queue})
            )
            .map(drop)
        ),
        "INVALID_CROSS_REFERENCE_KEY"
    );
    assert_eq!(refused(here.delete("User", &user)), "INVALID_TYPE_FOR_OPERATION");
}

#[tokio::test]
async fn grants_give_tokens_or_reasons() {
    let (running, clock) = start().await;
    let asker = Asker::at(&running.salesforce.url());
    let basic = format!(
        "Basic {}",
        crate::mac::base64(format!("{CLIENT_ID}:{CLIENT_SECRET}").as_bytes())
    );
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Authorization", basic.as_str()),
    ];
    let answer = asker
        .send(
            "POST",
            "/services/oauth2/token",
            &headers,
            "grant_type=client_credentials",
        )
        .await;
    let token = answer.json();
    assert_eq!(token["instance_url"], running.salesforce.url());
    assert_eq!(token["issued_at"], NOW_MS.to_string(), "a text of milliseconds");
    assert!(token.get("expires_in").is_none() && token.get("refresh_token").is_none());
    let access = token["access_token"].as_str().unwrap();
    assert_eq!(
        access.split_once('!').unwrap().0,
        &running.salesforce.org_id()[..15]
    );
    let signed = crate::mac::hmac_sha256(
        CLIENT_SECRET.as_bytes(),
        &[
            token["id"].as_str().unwrap().as_bytes(),
            NOW_MS.to_string().as_bytes(),
        ],
    );
    assert_eq!(token["signature"], crate::mac::base64(&signed));

    let refresh =
        |token: &str| format!("grant_type=refresh_token&client_id={CLIENT_ID}&refresh_token={token}");
    assert_eq!(
        asker
            .form("/services/oauth2/token", &refresh(INTEGRATION_REFRESH_TOKEN))
            .await
            .status,
        200
    );
    for (form, error) in [
        (refresh("stale"), "invalid_grant"),
        (
            format!("grant_type=client_credentials&client_id={CLIENT_ID}&client_secret=wrong"),
            "invalid_client",
        ),
        (
            format!("grant_type=client_credentials&client_id={CLIENT_ID}"),
            "invalid_client",
        ),
        (
            "grant_type=client_credentials&client_id=nobody".to_owned(),
            "invalid_client_id",
        ),
        (
            format!("grant_type=magic&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}"),
            "unsupported_grant_type",
        ),
    ] {
        let answer = asker.form("/services/oauth2/token", &form).await;
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (400, Some(error)),
            "{form}"
        );
    }

    let asker = asker.with(access);
    assert_eq!(asker.get(&format!("{DATA}/limits")).await.status, 200);
    clock.advance_ms(2 * 60 * 60 * 1_000);
    let expired = asker.get(&format!("{DATA}/limits")).await;
    assert_eq!(expired.status, 401);
    assert_eq!(
        expired.json(),
        json!([{ "message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID" }])
    );
}

#[tokio::test]
async fn a_rotated_refresh_token_is_good_once() {
    let settings = Settings {
        salesforce_rotates_tokens: true,
        ..Settings::default()
    };
    let running = Sandbox::start(settings).await.unwrap();
    let asker = Asker::at(&running.salesforce.url());
    let refresh = async |token: &str| {
        let form = format!("grant_type=refresh_token&client_id={CLIENT_ID}&refresh_token={token}");
        asker.form("/services/oauth2/token", &form).await
    };
    let mut token = INTEGRATION_REFRESH_TOKEN.to_owned();
    for _ in 0..2 {
        let answer = refresh(&token).await.json();
        assert_eq!(refresh(&token).await.status, 400, "{token} was used before");
        token = answer["refresh_token"].as_str().unwrap().to_owned();
    }
}

#[tokio::test]
async fn an_amount_crosses_the_wire_digit_by_digit() {
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    let body = r#"{"Name":"Big","StageName":"Prospecting","CloseDate":"2026-12-24","Amount":1234567890123456.78,"CurrencyIsoCode":"JPY"}"#;
    let headers = [("Content-Type", "application/json")];
    let made = asker
        .send("POST", &format!("{DATA}/sobjects/Opportunity/"), &headers, body)
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        made.header("location"),
        Some(format!("{DATA}/sobjects/Opportunity/{id}").as_str())
    );
    assert!(
        made.header("sforce-limit-info")
            .unwrap()
            .starts_with("api-usage=")
    );
    let read = asker
        .get(&format!(
            "{DATA}/sobjects/opportunity/{}?fields=Amount",
            &id[..15]
        ))
        .await;
    assert!(
        read.text.contains(r#""Amount":1234567890123456.78"#),
        "{}",
        read.text
    );
    let found = query(
        &asker,
        "SELECT Amount FROM Opportunity WHERE Amount = 1234567890123456.78",
    )
    .await;
    assert!(found.text.contains("1234567890123456.78"), "{}", found.text);
    assert_eq!(
        query(
            &asker,
            "SELECT Id FROM Opportunity WHERE Amount = 1234567890123456.79"
        )
        .await
        .json()["totalSize"],
        0
    );
}

#[tokio::test]
async fn stamps_strictly_increase_while_the_clock_stands_still() {
    let (running, _) = start().await;
    let mut stamps = Vec::new();
    for at in 0..5 {
        let id = running
            .salesforce
            .insert("Opportunity", &deal(&format!("d{at}")))
            .unwrap();
        running
            .salesforce
            .update("Opportunity", &id, &json!({ "Name": format!("d{at}") }))
            .unwrap();
        let rows = running.salesforce.rows("Opportunity").unwrap();
        stamps.push(
            rows.last().unwrap()["SystemModstamp"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
    assert_eq!(stamps[0].len(), "2026-11-22T10:15:30.000+0000".len());
    assert!(stamps[0].ends_with("+0000"));
}

#[tokio::test]
async fn an_upsert_answers_by_version() {
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    let lead = json!({ "LastName": "Roe", "Company": "Acme" });
    let upsert = async |version: &str, key: &str| {
        asker
            .put(
                "PATCH",
                &format!("/services/data/{version}/sobjects/Lead/Interconnect_Id__c/{key}"),
                &lead,
            )
            .await
    };
    let (made, again) = (upsert("v46.0", "a%2Fb").await, upsert("v46.0", "A%2FB").await);
    assert_eq!((made.status, made.json()["created"].as_bool()), (201, Some(true)));
    assert_eq!(
        (again.status, again.json()["created"].as_bool()),
        (200, Some(false))
    );
    assert_eq!(made.json()["id"], again.json()["id"]);
    let (made, again) = (upsert("v45.0", "c").await, upsert("v45.0", "c").await);
    assert_eq!((made.status, made.json().get("created")), (201, None));
    assert_eq!((again.status, again.text.as_str()), (204, ""));
    let wrong = asker
        .put("PATCH", &format!("{DATA}/sobjects/Lead/Company/x"), &lead)
        .await;
    assert_eq!((wrong.status, code(&wrong)), (404, "NOT_FOUND".into()));
    let only = asker
        .put(
            "PATCH",
            &format!("{DATA}/sobjects/Lead/Interconnect_Id__c/new?updateOnly=true"),
            &lead,
        )
        .await;
    assert_eq!(only.status, 404);
    assert_eq!(upsert("v19.0", "d").await.status, 404);
}

fn contacts(count: usize) -> Vec<Value> {
    (0..count)
        .map(|at| json!({ "attributes": { "type": "Contact" }, "LastName": format!("c{at}") }))
        .collect()
}

#[tokio::test]
async fn collections_have_one_outcome_per_record() {
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    let path = format!("{DATA}/composite/sobjects");
    let empty = asker.post(&path, &json!({ "records": [] })).await;
    assert_eq!(
        empty.json(),
        json!([{ "message": "At least 1 record is required", "errorCode": "REQUIRED_FIELD_MISSING" }])
    );
    let over = asker.post(&path, &json!({ "records": contacts(201) })).await;
    assert_eq!((over.status, code(&over)), (400, "EXCEEDED_ID_LIMIT".into()));

    let mut records = contacts(2);
    records[1].as_object_mut().unwrap().remove("LastName");
    let part = asker
        .post(&path, &json!({ "allOrNone": false, "records": records }))
        .await;
    assert_eq!(part.status, 200);
    assert_eq!(
        part.json()[1],
        json!({ "success": false, "errors": [{ "statusCode": "REQUIRED_FIELD_MISSING", "message": "Required fields are missing: [LastName]", "fields": ["LastName"] }] })
    );
    let none = asker
        .post(&path, &json!({ "allOrNone": true, "records": records }))
        .await;
    assert_eq!(
        none.json()[0]["errors"][0]["statusCode"],
        "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    );
    assert_eq!(
        running.salesforce.rows("Contact").unwrap().len(),
        1,
        "only the one of the first call"
    );

    let no_id = asker
        .put("PATCH", &path, &json!({ "records": contacts(1) }))
        .await;
    assert_eq!(no_id.json()[0]["errors"][0]["statusCode"], "MISSING_ARGUMENT");
    let keyed = |key: &str| json!({ "attributes": { "type": "Contact" }, "LastName": "k", "Interconnect_Id__c": key });
    let body = json!({ "records": [keyed("one"), keyed("ONE"), keyed("two")] });
    let upserted = asker
        .put("PATCH", &format!("{path}/Contact/Interconnect_Id__c"), &body)
        .await
        .json();
    assert_eq!(
        (&upserted[0]["created"], &upserted[2]["created"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(upserted[1]["errors"][0]["statusCode"], "DUPLICATE_VALUE");

    let ids = format!(
        "{},001Sb0000000000IAA,nonsense",
        upserted[0]["id"].as_str().unwrap()
    );
    let gone = asker
        .send("DELETE", &format!("{path}?ids={ids}&allOrNone=false"), &[], "")
        .await
        .json();
    let codes: Vec<_> = (1..3)
        .map(|at| gone[at]["errors"][0]["statusCode"].as_str().unwrap())
        .collect();
    assert_eq!(
        (&gone[0]["success"], codes),
        (&json!(true), vec!["INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID"])
    );
    let read = json!({ "ids": [upserted[0]["id"], upserted[2]["id"]], "fields": ["LastName"] });
    let read = asker.post(&format!("{path}/Contact"), &read).await.json();
    assert_eq!((&read[0], &read[1]["LastName"]), (&Value::Null, &json!("k")));
    let calls = running.salesforce.calls();
    assert_eq!((calls.reads, calls.writes), (1, 7), "reading by POST is a read");
}

#[tokio::test]
async fn one_bad_row_in_a_batch_is_refused_alone() {
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    let fault = Fault::BadRow {
        object: Some("Contact".into()),
        field: "LastName".into(),
        value: "c1".into(),
    };
    running.salesforce.faults().add(Switch::always(fault)).unwrap();
    let made = asker
        .post(
            &format!("{DATA}/composite/sobjects"),
            &json!({ "records": contacts(3) }),
        )
        .await
        .json();
    let successes: Vec<_> = (0..3).map(|at| made[at]["success"].as_bool().unwrap()).collect();
    assert_eq!(successes, [true, false, true]);
    assert_eq!(
        made[1]["errors"][0]["statusCode"],
        "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    );
    running
        .salesforce
        .insert("Contact", &json!({ "LastName": "c1" }))
        .expect("faults do not meet the library's writes");
}

#[tokio::test]
async fn deleted_rows_lie_in_the_recycle_bin_and_free_their_key() {
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    let account = running
        .salesforce
        .insert("Account", &json!({ "Name": "Acme", "Interconnect_Id__c": "p1" }))
        .unwrap();
    let mut child = deal("child");
    child["AccountId"] = json!(account);
    running.salesforce.insert("Opportunity", &child).unwrap();
    let path = format!("{DATA}/sobjects/Account/{account}");
    assert_eq!(asker.send("DELETE", &path, &[], "").await.status, 204);
    let again = asker.send("DELETE", &path, &[], "").await;
    assert_eq!(
        again.json(),
        json!([{ "message": "entity is deleted", "errorCode": "ENTITY_IS_DELETED", "fields": [] }])
    );
    assert_eq!((again.status, asker.get(&path).await.status), (404, 404));
    assert_eq!(
        query(&asker, "SELECT Id FROM Opportunity").await.json()["totalSize"],
        0,
        "children go with their account"
    );
    let all = asker
        .get(&format!(
            "{DATA}/queryAll/?q={}",
            encoded("SELECT Id FROM Opportunity WHERE IsDeleted = true")
        ))
        .await;
    assert_eq!(all.json()["totalSize"], 1);
    running
        .salesforce
        .insert("Account", &json!({ "Name": "New", "Interconnect_Id__c": "P1" }))
        .unwrap();
    let orphan = asker.post(&format!("{DATA}/sobjects/Opportunity"), &child).await;
    assert_eq!(code(&orphan), "ENTITY_IS_DELETED");
}

#[tokio::test]
async fn pages_follow_locators_until_these_are_forgotten() {
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    for at in 0..401 {
        running
            .salesforce
            .insert(
                "Lead",
                &json!({ "LastName": format!("l{at}"), "Company": "Acme" }),
            )
            .unwrap();
    }
    let path = format!("{DATA}/query?q={}", encoded("SELECT Id FROM Lead ORDER BY Id"));
    let small = [("Sforce-Query-Options", "batchSize=7")];
    let first = asker.send("GET", &path, &small, "").await.json();
    assert_eq!(
        (&first["totalSize"], &first["done"]),
        (&json!(401), &json!(false))
    );
    assert_eq!(
        first["records"].as_array().unwrap().len(),
        200,
        "a page has at least 200 rows"
    );
    let next = first["nextRecordsUrl"].as_str().unwrap().to_owned();
    assert!(next.ends_with("-200"), "{next}");
    let second = asker.get(&format!("{next}?q=ignored")).await.json();
    let third = asker
        .get(
            &second["nextRecordsUrl"]
                .as_str()
                .unwrap()
                .replace("/query/", "/queryAll/"),
        )
        .await
        .json();
    assert_eq!(
        (third["records"].as_array().unwrap().len(), &third["done"]),
        (1, &json!(true))
    );
    assert!(third.get("nextRecordsUrl").is_none());
    for _ in 0..CURSORS_MAX {
        asker.send("GET", &path, &small, "").await;
    }
    let late = asker.get(&next).await;
    assert_eq!((late.status, code(&late)), (400, "INVALID_QUERY_LOCATOR".into()));
}

#[tokio::test]
async fn describe_sends_every_key_the_real_system_sends() {
    const KEYS: &str = "aggregatable aiPredictionField autoNumber byteLength calculated calculatedFormula cascadeDelete caseSensitive compoundFieldName controllerName createable custom defaultValue defaultValueFormula defaultedOnCreate dependentPicklist deprecatedAndHidden digits displayLocationInDecimal encrypted externalId extraTypeInfo filterable filteredLookupInfo formulaTreatNullNumberAsZero groupable highScaleNumber htmlFormatted idLookup inlineHelpText label length mask maskType name nameField namePointing nillable permissionable picklistValues polymorphicForeignKey precision queryByDistance referenceTargetField referenceTo relationshipName relationshipOrder restrictedDelete restrictedPicklist scale searchPrefilterable soapType sortable type unique updateable writeRequiresMasterRead";
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    let described = asker
        .get(&format!("{DATA}/sobjects/Account/describe"))
        .await
        .json();
    for field in described["fields"].as_array().unwrap() {
        let keys: Vec<_> = field.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys.join(" "), KEYS, "{}", field["name"]);
    }
    let missing = asker.get(&format!("{DATA}/sobjects/Invoice__c/describe")).await;
    assert_eq!(
        missing.json(),
        json!([{ "message": "The requested resource does not exist", "errorCode": "NOT_FOUND" }])
    );
}

#[tokio::test]
async fn faults_look_like_those_of_the_real_system() {
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    let limits = format!("{DATA}/limits");
    let limit = Fault::Limit {
        policy: crate::LimitPolicy::Daily,
    };
    running.salesforce.faults().add(Switch::times(limit, 1)).unwrap();
    let limited = asker.get(&limits).await;
    assert_eq!(
        limited.json(),
        json!([{ "message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED" }])
    );
    assert_eq!(limited.status, 403);
    running
        .salesforce
        .faults()
        .add(Switch::times(Fault::Unavailable, 1))
        .unwrap();
    assert_eq!(asker.get(&limits).await.status, 503);
    running
        .salesforce
        .faults()
        .add(Switch::times(Fault::ExpireToken, 1))
        .unwrap();
    assert_eq!(asker.get(&limits).await.status, 401);
    assert_eq!(asker.get(&limits).await.status, 401, "the token stays dead");
    assert_eq!(
        log_in(&running).await.get(&limits).await.status,
        200,
        "a new one works"
    );
    running
        .salesforce
        .faults()
        .add(Switch::times(Fault::DropConnection, 1).on(Reach::Writes))
        .unwrap();
    let asker = log_in(&running).await;
    let body = deal("ambiguous").to_string();
    assert!(
        asker
            .try_send("POST", &format!("{DATA}/sobjects/Opportunity"), &[], &body)
            .await
            .is_none()
    );
    assert_eq!(
        running.salesforce.rows("Opportunity").unwrap().len(),
        1,
        "the write was done all the same"
    );
}

fn org() -> (Org, seed::Users) {
    let mut org = Org::new(1);
    let users = seed::furnish(&mut org, NOW_MS);
    (org, users)
}

fn step(org: &mut Org, by: &By<'_>, table: usize, what: u8, row: usize, key: u8) {
    let rows = org.tables[table].rows.len();
    let fields: Map<String, Value> = json!({ "Name": "a", "Interconnect_Id__c": format!("k{key}") })
        .as_object()
        .cloned()
        .unwrap();
    // Refusals are as welcome here as successes.
    let _ = match what {
        0 => org.create(table, &fields, by).map(|_| ()),
        _ if rows == 0 => Ok(()),
        1 => org.update(table, row % rows, &fields, by),
        _ => org.delete(table, row % rows, by),
    };
}

proptest! {
    /// Whatever was written since `begin`, rolling back leaves rows and keys as they were.
    #[test]
    fn rolling_back_undoes_everything(
        before in prop::collection::vec((0u8..3, 0usize..9, 0u8..5), 0..12),
        after in prop::collection::vec((0u8..3, 0usize..9, 0u8..5), 1..12),
    ) {
        let (mut org, users) = org();
        let by = By { user: &users.admin, now_ms: NOW_MS, origin: "", faults: None };
        let table = org.schema.at("Account");
        let key = org.schema.objects[table].at("Interconnect_Id__c");
        for (what, row, key) in before {
            step(&mut org, &by, table, what, row, key);
        }
        let rows = org.tables[table].rows.clone();
        let found = |org: &Org| (0u8..5).map(|k| org.find_unique(table, key, &format!("k{k}"))).collect::<Vec<_>>();
        let keys = found(&org);
        org.begin();
        for (what, row, key) in after {
            step(&mut org, &by, table, what, row, key);
        }
        org.roll_back();
        prop_assert_eq!(&org.tables[table].rows, &rows);
        prop_assert_eq!(found(&org), keys);
    }

    /// A key leads to the one row that is there and has it.
    #[test]
    fn a_key_leads_to_its_row(steps in prop::collection::vec((0u8..3, 0usize..9, 0u8..5), 0..25)) {
        let (mut org, users) = org();
        let by = By { user: &users.admin, now_ms: NOW_MS, origin: "", faults: None };
        let table = org.schema.at("Account");
        let key = org.schema.objects[table].at("Interconnect_Id__c");
        for (what, row, key) in steps {
            step(&mut org, &by, table, what, row, key);
        }
        for k in 0u8..5 {
            let wanted = json!(format!("k{k}"));
            let having: Vec<usize> = (0..org.tables[table].rows.len())
                .filter(|row| !org.is_deleted(table, *row) && org.tables[table].rows[*row][key] == wanted)
                .collect();
            prop_assert!(having.len() <= 1);
            prop_assert_eq!(org.find_unique(table, key, &format!("K{k}")), having.first().copied());
        }
    }
}
