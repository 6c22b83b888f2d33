//! Writing by a job: outcomes by key, whatever the order; and nothing twice, wherever it was interrupted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use crate::testing::{Got, ManualClock, Say, Server, connect, shipped, write};
use crate::{Class, Connection, Outcome, RecordClass, Write};

const DATA: &str = "/services/data/v67.0";

/// An organisation that takes ingest jobs; what is said of a row depends on its name.
#[derive(Default)]
struct Org {
    /// Questions before a job is done.
    polls: u32,
    /// The call whose answer is lost, once, by the beginning of its line.
    loses: Option<&'static str>,
    /// What jobs fail of.
    fails: Option<&'static str>,
    jobs: Vec<Job>,
}

#[derive(Default)]
struct Job {
    operation: String,
    rows: Vec<BTreeMap<String, String>>,
    columns: Vec<String>,
    state: &'static str,
    asked: u32,
}

impl Org {
    fn answer(&mut self, got: &Got) -> Say {
        let line = got.line.replace(DATA, "");
        let said = self.obey(got, &line);
        match self.loses {
            Some(part) if line.starts_with(part) => {
                self.loses = None;
                Say::Drop
            }
            _ => said,
        }
    }

    fn obey(&mut self, got: &Got, line: &str) -> Say {
        let json = |body: Json| Say::Json(200, body.to_string());
        if line.contains("/oauth2/token") {
            let url = format!("http://{}", got.headers["host"]);
            return json(json!({"access_token": "t", "instance_url": url}));
        }
        let number = line
            .split("/750x")
            .nth(1)
            .and_then(|rest| rest.split('/').next()?.parse::<usize>().ok());
        let (method, path) = line.split_once(' ').unwrap();
        match (method, number) {
            ("PATCH", None) => {
                let rows = got.json()["records"].as_array().unwrap().len();
                json(json!(vec![json!({"success": true, "id": "001plain"}); rows]))
            }
            ("GET", None) => {
                json(json!({"records": self.jobs.iter().enumerate().map(listed).collect::<Vec<_>>()}))
            }
            ("POST", None) => {
                let operation = got.json()["operation"].as_str().unwrap().to_owned();
                self.jobs.push(Job {
                    operation,
                    state: "Open",
                    ..Job::default()
                });
                json(json!({"id": format!("750x{}", self.jobs.len() - 1)}))
            }
            (_, Some(at)) => self.obey_job(method, path, at, got),
            _ => Say::Json(500, "{}".to_owned()),
        }
    }

    fn obey_job(&mut self, method: &str, path: &str, at: usize, got: &Got) -> Say {
        let (polls, fails) = (self.polls, self.fails);
        let job = &mut self.jobs[at];
        match method {
            "PUT" => {
                let mut reader = csv::Reader::from_reader(got.body.as_bytes());
                job.columns = reader.headers().unwrap().iter().map(str::to_owned).collect();
                let columns = &job.columns;
                let row = |row: csv::StringRecord| {
                    columns
                        .iter()
                        .cloned()
                        .zip(row.iter().map(str::to_owned))
                        .collect()
                };
                job.rows = reader.records().map(|record| row(record.unwrap())).collect();
                Say::Json(201, String::new())
            }
            "PATCH" => {
                job.state = "UploadComplete";
                Say::Json(200, json!({"state": job.state}).to_string())
            }
            "DELETE" => {
                job.state = "Deleted";
                Say::Json(204, String::new())
            }
            _ if path.ends_with("Results") || path.ends_with("records") => job.results(path),
            _ => {
                job.asked += u32::from(job.state != "Open");
                if job.asked > polls {
                    job.state = if fails.is_some() { "Failed" } else { "JobComplete" };
                }
                Say::Json(
                    200,
                    json!({"state": job.state, "errorMessage": fails}).to_string(),
                )
            }
        }
    }
}

fn listed((at, job): (usize, &Job)) -> Json {
    json!({"id": format!("750x{at}"), "object": "Account", "operation": job.operation, "state": job.state,
           "externalIdFieldName": "Interconnect_Id__c", "systemModstamp": "2026-11-23T10:00:01.000+0000"})
}

impl Job {
    /// The rows of a table, the last one first.
    fn results(&self, path: &str) -> Say {
        let wanted = if path.contains("successful") {
            ""
        } else if path.contains("failed") {
            "refused"
        } else {
            "untouched"
        };
        let own: &[&str] = match wanted {
            "" => &["sf__Id", "sf__Created"],
            "refused" => &["sf__Id", "sf__Error"],
            _ => &[],
        };
        let mut writer = csv::WriterBuilder::new()
            .quote_style(csv::QuoteStyle::Always)
            .from_writer(Vec::new());
        writer
            .write_record(own.iter().copied().chain(self.columns.iter().map(String::as_str)))
            .unwrap();
        for row in self.rows.iter().rev() {
            let name = row.get("Name").map_or("", String::as_str);
            let kind = if ["refused", "untouched"].contains(&name) {
                name
            } else {
                ""
            };
            if kind != wanted {
                continue;
            }
            let key = row.get("Interconnect_Id__c").or(row.get("Id")).unwrap();
            let first = match wanted {
                "" => vec![format!("001-{key}"), "true".to_owned()],
                "refused" => vec![
                    String::new(),
                    "STRING_TOO_LONG:Name: too large:Name --".to_owned(),
                ],
                _ => vec![],
            };
            writer
                .write_record(first.iter().chain(self.columns.iter().map(|column| &row[column])))
                .unwrap();
        }
        Say::Json(200, String::from_utf8(writer.into_inner().unwrap()).unwrap())
    }
}

struct Stage {
    org: Arc<Mutex<Org>>,
    server: Server,
    clock: Arc<ManualClock>,
}

impl Stage {
    async fn new(org: Org) -> Stage {
        let org = Arc::new(Mutex::new(org));
        let shared = Arc::clone(&org);
        let server = Server::start(move |got| shared.lock().unwrap().answer(got)).await;
        Stage {
            org,
            server,
            clock: Arc::default(),
        }
    }

    fn connection(&self) -> Connection {
        let config = json!({"login_url": self.server.url, "bulk_write_over": 2});
        let secrets = [("client_id", "id"), ("client_secret", "s3cret")];
        connect(&shipped("salesforce"), config, &secrets, &self.clock)
    }

    fn called(&self, part: &str) -> usize {
        self.server
            .lines()
            .iter()
            .filter(|line| line.replace(DATA, "").starts_with(part))
            .count()
    }
}

fn batch(names: &[(&str, &str)]) -> Vec<Write> {
    names
        .iter()
        .map(|(key, name)| write(None, key, json!({"Name": name})))
        .collect()
}

fn three() -> Vec<Write> {
    batch(&[("k1", "a"), ("k2", "b"), ("k3", "c")])
}

/// The same once more, of which nobody heard when it was sent at a moment.
fn again(writes: Vec<Write>, sent: &str) -> Vec<Write> {
    let tried = |write: Write| Write {
        tried_at: Some(sent.parse().unwrap()),
        ..write
    };
    writes.into_iter().map(tried).collect()
}

/// When a stage begins.
const BEGAN: &str = "2026-11-23T10:00:00Z";

fn ids(outcomes: &[Outcome]) -> Vec<&str> {
    let id = |outcome: &Outcome| matches!(outcome, Outcome::Written { .. });
    assert!(outcomes.iter().all(id), "{outcomes:?}");
    let ids = outcomes.iter().map(|outcome| match outcome {
        Outcome::Written { id, .. } => id.as_str(),
        _ => "",
    });
    ids.collect()
}

#[tokio::test]
async fn each_row_has_its_own_outcome_whatever_the_order() {
    let stage = Stage::new(Org {
        polls: 2,
        ..Org::default()
    })
    .await;
    let writes = batch(&[("k1", "a"), ("k2", "refused"), ("k3", "untouched"), ("k4", "d")]);
    let outcomes = stage.connection().write("Account", &writes).await.unwrap();
    assert_eq!(
        (ids(&outcomes[..1]), ids(&outcomes[3..])),
        (vec!["001-k1"], vec!["001-k4"])
    );
    let Outcome::Refused(error) = &outcomes[1] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        (error.class, error.code.as_str()),
        (RecordClass::Validation, "STRING_TOO_LONG")
    );
    assert_eq!(
        (error.message.as_str(), error.fields.as_slice()),
        ("Name: too large", &["Name".to_owned()][..])
    );
    assert!(
        matches!(&outcomes[2], Outcome::NotSent(failure) if failure.class == Class::Transient),
        "{outcomes:?}"
    );
    // Looked for, made, given, handed over, asked three times, three tables, removed.
    assert_eq!(stage.called("") - stage.called("POST /services/oauth2"), 11);
}

#[tokio::test]
async fn values_are_written_exactly_and_what_a_table_cannot_say_goes_otherwise() {
    let stage = Stage::new(Org::default()).await;
    let amount: Json = serde_json::from_str("1234567890123456.10").unwrap();
    let writes = [
        write(
            None,
            "k1",
            json!({"Name": "say \"a\", b\nc", "AnnualRevenue": amount, "Phone": null}),
        ),
        write(None, "k2", json!({"Name": "b", "IsPartner": true})),
        write(
            None,
            "k3",
            json!({"Name": "c", "SLAExpirationDate__c": "2026-11-23"}),
        ),
        write(None, "k4", json!({"Name": "#N/A"})),
        write(None, "k5", json!({"Name": " "})),
    ];
    let outcomes = stage.connection().write("Account", &writes).await.unwrap();
    assert_eq!(
        ids(&outcomes),
        ["001-k1", "001-k2", "001-k3", "001plain", "001plain"]
    );
    let put = stage
        .server
        .got()
        .into_iter()
        .find(|got| got.line.starts_with("PUT"))
        .unwrap();
    assert_eq!(put.headers["content-type"], "text/csv; charset=UTF-8");
    assert_eq!(
        put.body,
        "AnnualRevenue,Interconnect_Id__c,IsPartner,Name,Phone,SLAExpirationDate__c\n\
         1234567890123456.10,k1,,\"say \"\"a\"\", b\nc\",#N/A,\n\
         ,k2,true,b,,\n\
         ,k3,,c,,2026-11-23\n"
    );
}

#[tokio::test]
async fn linked_objects_go_by_their_ids_in_a_job_of_their_own() {
    let stage = Stage::new(Org::default()).await;
    let linked = |id: &str| write(Some(id), id, json!({"Name": id}));
    let writes = [
        linked("a"),
        linked("b"),
        linked("c"),
        write(None, "k1", json!({"Name": "x"})),
    ];
    let outcomes = stage.connection().write("Account", &writes).await.unwrap();
    assert_eq!(ids(&outcomes), ["001-a", "001-b", "001-c", "001plain"]);
    let org = stage.org.lock().unwrap();
    assert_eq!((org.jobs.len(), org.jobs[0].operation.as_str()), (1, "update"));
    assert_eq!(org.jobs[0].columns, ["Id", "Name"]);
}

/// Whatever call's answer is lost, the next try by a new process ends well, and each row was handed over once.
#[tokio::test]
async fn nothing_is_written_twice_whatever_answer_was_lost() {
    for lost in [
        "PUT /jobs",
        "PATCH /jobs",
        "GET /jobs/ingest/750x0/successful",
        "DELETE /jobs",
    ] {
        let stage = Stage::new(Org {
            loses: Some(lost),
            ..Org::default()
        })
        .await;
        let mut outcomes = stage.connection().write("Account", &three()).await;
        if outcomes.as_ref().map_or(true, |all| {
            all.iter().any(|o| !matches!(o, Outcome::Written { .. }))
        }) {
            let again = again(three(), BEGAN);
            outcomes = stage.connection().write("Account", &again).await;
        }
        assert_eq!(ids(&outcomes.unwrap()), ["001-k1", "001-k2", "001-k3"], "{lost}");
        let org = stage.org.lock().unwrap();
        let handed_over: Vec<usize> = org
            .jobs
            .iter()
            .filter(|job| job.state != "Open")
            .map(|job| job.rows.len())
            .collect();
        assert_eq!(handed_over, [3], "{lost}");
    }
}

#[tokio::test]
async fn a_job_that_takes_long_goes_on_alone_and_is_taken_up_by_whoever_looks() {
    let stage = Stage::new(Org {
        polls: 5,
        ..Org::default()
    })
    .await;
    let outcomes = stage.connection().write("Account", &three()).await.unwrap();
    assert!(
        outcomes
            .iter()
            .all(|o| matches!(o, Outcome::NotSent(f) if f.detail.contains("750x0 is still at work"))),
        "{outcomes:?}"
    );
    // Another process, and one of the objects is to be something else by now.
    let mut changed = again(three(), BEGAN);
    changed[1] = batch(&[("k2", "other")]).remove(0);
    let outcomes = stage.connection().write("Account", &changed).await.unwrap();
    assert_eq!(ids(&outcomes), ["001-k1", "001plain", "001-k3"]);
    assert_eq!(stage.org.lock().unwrap().jobs.len(), 1);
}

#[tokio::test]
async fn while_a_job_is_at_work_not_even_one_object_is_written_beside_it() {
    let stage = Stage::new(Org {
        polls: 100,
        ..Org::default()
    })
    .await;
    let connection = stage.connection();
    connection.write("Account", &three()).await.unwrap();
    let one = batch(&[("k1", "newer")]);
    let outcomes = connection.write("Account", &one).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::NotSent(_)), "{outcomes:?}");
    assert_eq!(stage.called("PATCH /composite"), 0);
}

#[tokio::test]
async fn what_a_job_did_long_ago_is_not_taken_as_done() {
    for (ago_ms, taken) in [(0, 1), (crate::JOB_AGE_MAX_MS + 1_001, 0)] {
        let done = Job {
            operation: "upsert".to_owned(),
            state: "JobComplete",
            ..Job::default()
        };
        let stage = Stage::new(Org {
            jobs: vec![done],
            ..Org::default()
        })
        .await;
        stage.clock.advance(ago_ms);
        stage.connection().write("Account", &three()).await.unwrap();
        assert_eq!(
            stage.called("GET /jobs/ingest/750x0/successful"),
            taken,
            "{ago_ms}"
        );
    }
}

/// Somebody may have changed it since: that is what is written over.
#[tokio::test]
async fn what_a_job_did_before_it_was_sent_again_is_not_taken_as_done() {
    for (sent, jobs) in [(BEGAN, 1), ("2026-11-23T10:00:30Z", 2)] {
        let stage = Stage::new(Org::default()).await;
        stage.connection().write("Account", &three()).await.unwrap();
        // It was not removed.
        stage.org.lock().unwrap().jobs[0].state = "JobComplete";
        stage.clock.advance(60_000);
        let writes = again(three(), sent);
        stage.connection().write("Account", &writes).await.unwrap();
        assert_eq!(stage.org.lock().unwrap().jobs.len(), jobs, "{sent}");
    }
    let stage = Stage::new(Org::default()).await;
    for _ in 0..2 {
        stage.connection().write("Account", &three()).await.unwrap();
        stage.org.lock().unwrap().jobs[0].state = "JobComplete";
    }
    assert_eq!(stage.org.lock().unwrap().jobs.len(), 2, "it was not sent before");
}

/// What a job that goes on alone was given may arrive as long as it does.
#[tokio::test]
async fn whether_a_job_is_at_work_can_be_asked() {
    let stage = Stage::new(Org {
        polls: 10,
        ..Org::default()
    })
    .await;
    let connection = stage.connection();
    assert!(!connection.is_at_work("Account").await.unwrap());
    connection.write("Account", &three()).await.unwrap();
    assert!(connection.is_at_work("Account").await.unwrap());
    stage.org.lock().unwrap().jobs[0].state = "JobComplete";
    assert!(!connection.is_at_work("Account").await.unwrap());
}

/// Too few for a job of their own; but what was sent may be in one.
#[tokio::test]
async fn few_that_were_sent_wait_for_the_job_that_they_are_in() {
    let stage = Stage::new(Org {
        polls: 100,
        ..Org::default()
    })
    .await;
    stage.connection().write("Account", &three()).await.unwrap();
    let one = again(batch(&[("k1", "a")]), BEGAN);
    let outcomes = stage.connection().write("Account", &one).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::NotSent(_)), "{outcomes:?}");
    assert_eq!(stage.called("PATCH /composite"), 0);
}

#[tokio::test]
async fn a_job_that_fails_of_a_field_names_it_and_one_that_fails_otherwise_sent_nothing() {
    let fails = Some("InvalidBatch : Field name not found : Regio__c");
    let stage = Stage::new(Org {
        fails,
        ..Org::default()
    })
    .await;
    let failure = stage.connection().write("Account", &three()).await.unwrap_err();
    assert_eq!(
        failure.class,
        Class::SchemaDrift {
            field: Some("Regio__c".to_owned())
        }
    );

    let stage = Stage::new(Org {
        fails: Some("InternalServerError"),
        ..Org::default()
    })
    .await;
    let writes = batch(&[("k1", "a"), ("k2", "untouched"), ("k3", "untouched")]);
    let outcomes = stage.connection().write("Account", &writes).await.unwrap();
    assert_eq!(ids(&outcomes[..1]), ["001-k1"], "what it did is done");
    assert!(
        outcomes[1..].iter().all(|o| matches!(o, Outcome::NotSent(_))),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn a_rehearsed_write_sends_nothing_that_writes_and_counts_it() {
    let stage = Stage::new(Org::default()).await;
    let rehearsing = stage.connection().rehearsing().counted();
    // Enough for a job, and too few.
    for number in [3, 2] {
        let writes: Vec<Write> = (0..number)
            .map(|at| write(None, &format!("k{at}"), json!({"Name": "x"})))
            .collect();
        let outcomes = rehearsing.write("Account", &writes).await.unwrap();
        let mut ids = BTreeMap::new();
        for (at, outcome) in outcomes.iter().enumerate() {
            let Outcome::Written {
                id, created: true, ..
            } = outcome
            else {
                panic!("{outcome:?}")
            };
            assert!(rehearsing.is_made_up(id));
            ids.insert(id.clone(), at);
        }
        assert_eq!(ids.len(), number, "ids are made up once");
    }
    assert!(!rehearsing.is_made_up("001plain") && !rehearsing.is_made_up("9007199254740993"));
    assert_eq!(stage.server.lines(), Vec::<String>::new());
    // Looked for, made, given, handed over, asked about, three tables, removed; one request.
    assert_eq!(rehearsing.calls().all(), 9 + 1);
    assert_eq!(rehearsing.calls().of(crate::Lane::Live), 9 + 1);
}
