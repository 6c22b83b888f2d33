//! Jobs over HTTP: their states, their CSV, and what is refused.

use serde_json::{Value, json};

use super::job::POLLS;
use crate::salesforce::tests::{code, log_in};
use crate::testing::{Answer, Asker, start};

const JOBS: &str = "/services/data/v68.0/jobs";

async fn make(asker: &Asker, kind: &str, request: &Value) -> Answer {
    asker.put("POST", &format!("{JOBS}/{kind}"), request).await
}

fn id(answer: &Answer) -> String {
    answer.json()["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", answer.text))
        .to_owned()
}

/// Asks until the job has ended, and gives what it told last and how often it was asked.
async fn wait(asker: &Asker, path: &str) -> (Value, u32) {
    for asked in 1..=10 {
        let told = asker.get(path).await.json();
        if !matches!(told["state"].as_str(), Some("UploadComplete" | "InProgress")) {
            return (told, asked);
        }
    }
    panic!("{path} does not end");
}

/// Gives rows to a new job and waits for it.
async fn load(asker: &Asker, request: &Value, rows: &str) -> (String, Value) {
    let job = format!("{JOBS}/ingest/{}", id(&make(asker, "ingest", request).await));
    let csv = [("Content-Type", "text/csv")];
    let put = asker.send("PUT", &format!("{job}/batches"), &csv, rows).await;
    assert_eq!((put.status, put.text.as_str()), (201, ""), "{}", put.text);
    let closed = asker
        .put("PATCH", &job, &json!({ "state": "UploadComplete" }))
        .await;
    assert_eq!(closed.json()["state"], "UploadComplete", "{}", closed.text);
    let (told, _) = wait(asker, &job).await;
    (job, told)
}

fn upsert() -> Value {
    json!({
        "object": "Account", "operation": "upsert", "externalIdFieldName": "Interconnect_Id__c",
        "contentType": "CSV", "lineEnding": "LF",
    })
}

#[tokio::test]
async fn a_query_job_is_under_way_and_then_read_page_by_page() {
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    for name in ["one", "two, three", "say \"four\"", "five\nsix", "seven"] {
        let row = json!({ "Name": name, "AnnualRevenue": 12 });
        running.salesforce.insert("Account", &row).unwrap();
    }
    let query = "SELECT Name, AnnualRevenue, Industry, IsDeleted, Owner.Username, CreatedDate FROM Account";
    let made = make(
        &asker,
        "query",
        &json!({ "operation": "queryAll", "query": query }),
    )
    .await;
    assert_eq!(made.json()["state"], "UploadComplete", "{}", made.text);
    assert!(made.text.contains("\"apiVersion\":68.0"), "{}", made.text);
    let job = format!("{JOBS}/query/{}", id(&made));
    assert_eq!(
        code(&asker.get(&format!("{job}/results")).await),
        "INVALIDJOBSTATE"
    );
    let (told, asked) = wait(&asker, &job).await;
    assert_eq!(
        (
            told["state"].as_str(),
            told["numberRecordsProcessed"].as_u64(),
            asked
        ),
        (Some("JobComplete"), Some(5), POLLS + 1)
    );

    let (mut rows, mut pages, mut at) = (Vec::new(), Vec::new(), String::new());
    while at != "&locator=null" {
        let page = asker.get(&format!("{job}/results?maxRecords=2{at}")).await;
        assert_eq!(page.header("content-type"), Some("text/csv"));
        let mut reader = csv::Reader::from_reader(page.text.as_bytes());
        let columns = reader.headers().unwrap().clone();
        assert_eq!(columns.iter().nth(4), Some("Owner.Username"));
        rows.extend(reader.records().map(Result::unwrap));
        pages.push(page.header("sforce-numberofrecords").unwrap().to_owned());
        at = format!("&locator={}", page.header("sforce-locator").unwrap());
    }
    assert_eq!(pages, ["2", "2", "1"]);
    let names: Vec<&str> = rows.iter().map(|row| &row[0]).collect();
    assert_ne!(
        names,
        ["one", "two, three", "say \"four\"", "five\nsix", "seven"],
        "no order"
    );
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        ["five\nsix", "one", "say \"four\"", "seven", "two, three"]
    );
    let first = rows[0].iter().skip(1).take(3).collect::<Vec<_>>();
    assert_eq!(first, ["12.0", "", "false"]);
    assert!(
        rows[0][5].ends_with('Z') && !rows[0][5].contains('+'),
        "{:?}",
        rows[0]
    );

    assert_eq!(asker.send("DELETE", &job, &[], "").await.status, 204);
    assert_eq!(code(&asker.get(&format!("{job}/results")).await), "NOT_FOUND");
}

#[tokio::test]
async fn rows_that_are_taken_refused_and_changed_are_told_apart() {
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    let row = json!({ "Name": "Old", "Industry": "Mining", "Phone": "1", "Interconnect_Id__c": "k1" });
    let old = running.salesforce.insert("Account", &row).unwrap();
    let rows = "Interconnect_Id__c,Name,Industry,Phone,NumberOfEmployees\n\
                k1,\"New, \"\"quoted\"\"\nand broken\",#N/A,,7\n\
                k2,Two,,,many\n\
                k3,Three,,,\n\
                k4,Four,,,4\n";
    let (job, told) = load(&asker, &upsert(), rows).await;
    assert_eq!(
        (
            told["numberRecordsProcessed"].as_u64(),
            told["numberRecordsFailed"].as_u64()
        ),
        (Some(4), Some(1))
    );
    let taken = asker.get(&format!("{job}/successfulResults")).await.text;
    assert!(
        taken.starts_with("\"sf__Id\",\"sf__Created\",\"Interconnect_Id__c\","),
        "{taken}"
    );
    assert!(taken.contains(&format!("\"{old}\",\"false\",\"k1\"")), "{taken}");
    assert!(
        taken.find("\"k3\"") < taken.find("\"k1\""),
        "another order than given: {taken}"
    );
    let refused = asker.get(&format!("{job}/failedResults")).await.text;
    assert!(refused.contains("\"\",\"JSON_PARSER_ERROR:"), "{refused}");
    assert!(refused.contains(": --\",\"k2\",\"Two\""), "{refused}");
    let untouched = asker.get(&format!("{job}/unprocessedRecords")).await.text;
    assert_eq!(
        untouched.lines().count(),
        1,
        "only the names of columns: {untouched}"
    );

    let found = running.salesforce.rows("Account").unwrap();
    let one = found.iter().find(|row| row["Id"] == old.as_str()).unwrap();
    assert_eq!(one["Name"], "New, \"quoted\"\nand broken");
    assert_eq!((&one["Industry"], &one["Phone"]), (&Value::Null, &json!("1")));
    assert_eq!(found.len(), 3);

    let ids = format!("Id\n{old}\n001Sb0000000zzzAAA\n");
    let delete = json!({ "object": "Account", "operation": "delete", "contentType": "CSV" });
    let (_, told) = load(&asker, &delete, &ids).await;
    assert_eq!(
        (
            told["numberRecordsProcessed"].as_u64(),
            told["numberRecordsFailed"].as_u64()
        ),
        (Some(2), Some(1))
    );
}

#[tokio::test]
async fn a_table_that_makes_no_sense_fails_as_a_whole() {
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    for (rows, reason) in [
        (
            "Interconnect_Id__c,Nmae\nk1,One\n",
            "InvalidBatch : Field name not found : Nmae",
        ),
        (
            "Interconnect_Id__c,Name\r\nk1,One\r\n",
            "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF",
        ),
    ] {
        let (job, told) = load(&asker, &upsert(), rows).await;
        assert_eq!(
            (told["state"].as_str(), told["errorMessage"].as_str()),
            (Some("Failed"), Some(reason))
        );
        let taken = asker.get(&format!("{job}/successfulResults")).await;
        assert_eq!(taken.text.lines().count(), 1, "{}", taken.text);
    }
    assert!(running.salesforce.rows("Account").unwrap().is_empty());
}

#[tokio::test]
async fn what_a_job_does_not_allow_is_refused() {
    let (running, _) = start().await;
    let asker = log_in(&running).await;
    for (kind, request, wanted) in [
        (
            "query",
            json!({ "operation": "query", "query": "SELECT Nmae FROM Account" }),
            "API_ERROR",
        ),
        (
            "query",
            json!({ "operation": "query", "query": "SELECT BillingAddress FROM Account" }),
            "API_ERROR",
        ),
        (
            "query",
            json!({ "operation": "ask", "query": "SELECT Id FROM Account" }),
            "JSON_PARSER_ERROR",
        ),
        (
            "ingest",
            json!({ "operation": "upsert", "object": "Account" }),
            "INVALIDJOB",
        ),
        (
            "ingest",
            json!({ "operation": "insert", "object": "Acount" }),
            "INVALIDJOB",
        ),
        (
            "ingest",
            json!({ "operation": "insert", "object": "Account", "lineEnding": "CR" }),
            "JSON_PARSER_ERROR",
        ),
    ] {
        assert_eq!(code(&make(&asker, kind, &request).await), wanted, "{request}");
    }
    let made = make(&asker, "ingest", &upsert()).await;
    let job = format!("{JOBS}/ingest/{}", id(&made));
    assert_eq!(made.json()["contentUrl"], format!("{job}/batches")[1..]);
    assert_eq!(
        code(&asker.send("DELETE", &job, &[], "").await),
        "INVALIDJOBSTATE"
    );
    let aborted = asker.put("PATCH", &job, &json!({ "state": "Aborted" })).await;
    assert_eq!(aborted.json()["state"], "Aborted", "{}", aborted.text);
    let closed = asker
        .put("PATCH", &job, &json!({ "state": "UploadComplete" }))
        .await;
    assert_eq!(code(&closed), "INVALIDJOBSTATE");
    let listed = asker.get(&format!("{JOBS}/ingest?jobType=V2Ingest")).await.json();
    assert_eq!(listed["records"][0]["id"], made.json()["id"]);
    assert_eq!(asker.send("DELETE", &job, &[], "").await.status, 204);
    assert_eq!(code(&asker.get(&job).await), "NOT_FOUND");
}
