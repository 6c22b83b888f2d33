//! Reading everything by a job: step by step, each of which may be the last before a crash.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::jobs::{Org, names, told};
use crate::testing::{ManualClock, Say, Server, connect, shipped};
use crate::{Class, Connection, Failure, POLLS_MAX, Page};

const ALL: &str = "\"Id\",\"Name\",\"AnnualRevenue\",\"IsDeleted\",\"SystemModstamp\",\"LastModifiedById\"\n";

fn row(id: &str, name: &str, revenue: &str) -> String {
    format!("\"{id}\",\"{name}\",\"{revenue}\",\"false\",\"2026-11-22T10:15:30.000Z\",\"005\"\n")
}

/// An organisation whose accounts come in three pages, and of which windows find one more.
fn org() -> Org {
    let mut org = Org::of_accounts(50_000);
    org.polls = 2;
    org.pages = vec![
        format!(
            "{ALL}{}{}",
            row("001a", "say \"\"a\"\",\nb", "12.50"),
            row("001b", "#N/A", "")
        ),
        format!("{ALL}{}", row("001c", "c", "1234567890123456.78")),
        format!("{ALL}{}", row("001d", "d", "0")),
    ];
    org
}

fn at(server: &Server, clock: &Arc<ManualClock>) -> Connection {
    let config = json!({"login_url": server.url});
    let secrets = [("client_id", "id"), ("client_secret", "s3cret")];
    connect(&shipped("salesforce"), config, &secrets, clock)
}

fn wanted() -> Vec<String> {
    names(&["Name", "AnnualRevenue"])
}

/// Reads to the end with a new connection for each step: nothing but the cursor is remembered. With `twice`, every step
/// is lost once after it was made, as by a crash before its cursor was stored.
async fn read_all(server: &Server, clock: &Arc<ManualClock>, twice: bool) -> (Vec<Json>, usize) {
    let (mut cursor, mut bodies) = (None, Vec::new());
    for step in 1..=40 {
        if twice {
            let _lost = at(server, clock)
                .changes("Account", &wanted(), cursor.as_ref())
                .await
                .unwrap();
        }
        let page = at(server, clock)
            .changes("Account", &wanted(), cursor.as_ref())
            .await;
        let Page {
            objects,
            cursor: next,
            more,
        } = page.unwrap();
        bodies.extend(objects.into_iter().map(|object| object.body));
        if !more {
            return (bodies, step);
        }
        cursor = Some(next);
    }
    panic!("reading does not end: {cursor:?}");
}

fn ids(bodies: &[Json]) -> Vec<&str> {
    bodies.iter().map(|body| body["Id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_large_object_is_read_by_one_job_and_windows_go_on_from_its_beginning() {
    let server = org().serve().await;
    let clock = Arc::new(ManualClock::default());
    let (bodies, _) = read_all(&server, &clock, false).await;
    assert_eq!(ids(&bodies), ["001a", "001b", "001c", "001d"]);
    // As the same rows look in windows: digits are kept, nothing is null, text is text.
    assert_eq!(bodies[0]["Name"], "say \"a\",\nb");
    assert_eq!(
        (&bodies[1]["Name"], &bodies[1]["AnnualRevenue"]),
        (&json!("#N/A"), &Json::Null)
    );
    assert_eq!(bodies[2]["AnnualRevenue"].to_string(), "1234567890123456.78");
    assert_eq!(bodies[0]["IsDeleted"], false);
    assert_eq!(bodies[0]["SystemModstamp"], "2026-11-22T10:15:30.000+0000");

    let said = told(&server);
    let calls: Vec<&str> = said
        .iter()
        .map(String::as_str)
        .filter(|line| !line.contains("describe"))
        .collect();
    assert_eq!(
        calls[..8],
        [
            "GET /query?q=SELECT+COUNT%28%29+FROM+Account",
            "POST /jobs/query",
            "GET /jobs/query/750x1",
            "GET /jobs/query/750x1",
            "GET /jobs/query/750x1",
            "GET /jobs/query/750x1/results?maxRecords=5000",
            "GET /jobs/query/750x1/results?maxRecords=5000&locator=1",
            "GET /jobs/query/750x1/results?maxRecords=5000&locator=2",
        ]
    );
    assert_eq!(calls[8], "DELETE /jobs/query/750x1");
    // The job began at 10:00; what was not visible then is read by the windows from ten minutes before on.
    assert!(
        calls[9].contains("SystemModstamp+%3E%3D+2026-11-23T09%3A50%3A00Z"),
        "{}",
        calls[9]
    );
    assert!(
        calls[9..].iter().all(|call| call.starts_with("GET /queryAll")),
        "{calls:?}"
    );
    let query = server
        .got()
        .into_iter()
        .find(|got| got.line.starts_with("POST /services/data/v67.0/jobs"));
    assert_eq!(
        query.unwrap().json()["query"],
        "SELECT AnnualRevenue, Id, IsDeleted, LastModifiedById, MasterRecordId, Name, SystemModstamp FROM Account"
    );
}

/// A job that our clock takes for a later one than it is does not hide what was written since.
#[tokio::test]
async fn windows_go_on_from_when_the_system_says_that_it_made_the_job() {
    let mut org = org();
    org.made_at = Some("Mon, 23 Nov 2026 09:57:00 GMT");
    let server = org.serve().await;
    read_all(&server, &Arc::new(ManualClock::default()), false).await;
    let said = told(&server);
    let first = said.iter().find(|line| line.starts_with("GET /queryAll"));
    assert!(
        first
            .unwrap()
            .contains("SystemModstamp+%3E%3D+2026-11-23T09%3A47%3A00Z"),
        "{first:?}"
    );
}

#[tokio::test]
async fn the_waits_between_questions_grow_to_their_bound() {
    let mut org = org();
    org.polls = 7;
    let server = org.serve().await;
    let clock = Arc::new(ManualClock::default());
    let before = crate::Clock::now(&*clock).as_second();
    read_all(&server, &clock, false).await;
    let waited = crate::Clock::now(&*clock).as_second() - before;
    assert_eq!(waited, 1 + 2 + 4 + 8 + 16 + 20 + 20 + 20);
}

#[tokio::test]
async fn a_crash_after_any_step_loses_nothing() {
    let server = org().serve().await;
    let clock = Arc::new(ManualClock::default());
    let (bodies, _) = read_all(&server, &clock, true).await;
    assert_eq!(ids(&bodies), ["001a", "001b", "001c", "001d"]);
    let made = told(&server)
        .iter()
        .filter(|line| *line == "POST /jobs/query")
        .count();
    assert_eq!(made, 2, "one was made before the crash, and forgotten");
}

#[tokio::test]
async fn a_small_object_is_read_by_windows_alone() {
    let server = Org::of_accounts(20_000).serve().await;
    let clock = Arc::new(ManualClock::default());
    read_all(&server, &clock, false).await;
    assert!(told(&server).iter().all(|line| !line.contains("/jobs/")));
    // What was read once is not counted again.
    let counted = told(&server).iter().filter(|line| line.contains("COUNT")).count();
    assert_eq!(counted, 1);
}

#[tokio::test]
async fn a_job_that_fails_or_is_forgotten_leaves_everything_to_windows() {
    for (failed, forgotten) in [(true, false), (false, true)] {
        let mut org = org();
        (org.failed, org.forgotten) = (failed, forgotten);
        let server = org.serve().await;
        let clock = Arc::new(ManualClock::default());
        let (bodies, _) = read_all(&server, &clock, false).await;
        assert!(bodies.is_empty(), "{bodies:?}");
        let first = told(&server)
            .into_iter()
            .find(|line| line.starts_with("GET /queryAll"))
            .unwrap();
        assert!(
            first.contains("SystemModstamp+%3E%3D+1970-01-01T00%3A00%3A00Z"),
            "{first}"
        );
    }
}

#[tokio::test]
async fn a_field_that_is_gone_is_named_and_no_job_is_given_up_for_it() {
    let mut org = org();
    org.refuses = Some("No such column 'AnnualRevenue' on entity 'Account'.");
    let server = org.serve().await;
    let clock = Arc::new(ManualClock::default());
    let Failure { class, .. } = at(&server, &clock)
        .changes("Account", &wanted(), None)
        .await
        .unwrap_err();
    assert_eq!(
        class,
        Class::SchemaDrift {
            field: Some("AnnualRevenue".to_owned())
        }
    );
}

#[tokio::test]
async fn with_other_fields_another_job_is_made() {
    let server = org().serve().await;
    let clock = Arc::new(ManualClock::default());
    let first = at(&server, &clock)
        .changes("Account", &wanted(), None)
        .await
        .unwrap();
    let fewer = names(&["Name"]);
    let second = at(&server, &clock)
        .changes("Account", &fewer, Some(&first.cursor))
        .await
        .unwrap();
    assert_eq!(
        (&second.cursor["job"]["id"], &second.cursor["job"]["fields"]),
        (&json!("750x2"), &json!(["Name"]))
    );
}

#[tokio::test]
async fn a_job_that_does_not_end_is_given_up() {
    let server = org().serve().await;
    let clock = Arc::new(ManualClock::default());
    let mut cursor = at(&server, &clock)
        .changes("Account", &wanted(), None)
        .await
        .unwrap()
        .cursor;
    cursor["job"]["polls"] = json!(POLLS_MAX);
    let page = at(&server, &clock)
        .changes("Account", &wanted(), Some(&cursor))
        .await
        .unwrap();
    assert!(page.cursor.get("job").is_none(), "{}", page.cursor);
}

#[tokio::test]
async fn a_system_that_is_unwell_is_asked_again_from_the_same_step() {
    let mut org = org();
    org.unwell = true;
    let server = org.serve().await;
    let clock = Arc::new(ManualClock::default());
    let begun = at(&server, &clock)
        .changes("Account", &wanted(), None)
        .await
        .unwrap();
    let failure = at(&server, &clock)
        .changes("Account", &wanted(), Some(&begun.cursor))
        .await
        .unwrap_err();
    assert_eq!(failure.class, Class::Transient);
}

#[tokio::test]
async fn a_broken_number_in_the_settings_is_named() {
    let server = Server::start(|_| Say::Json(200, json!({"access_token": "t"}).to_string())).await;
    let config = json!({"login_url": server.url, "bulk_read_over": "many"});
    let secrets = [("client_id", "id"), ("client_secret", "s3cret")];
    let connection = connect(&shipped("salesforce"), config, &secrets, &Arc::default());
    let failure = connection.changes("Account", &wanted(), None).await.unwrap_err();
    assert_eq!(failure.class, Class::Settings);
    assert_eq!(
        failure.detail,
        "`over` of reading by a job is `many`: write a number of objects"
    );
}
