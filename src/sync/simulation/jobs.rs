//! [`Jobs`]: tables of rows that a *bulky* system works on by itself, a row at a time, whoever still waits for it.
//!
//! A job knows no editions: what it writes over may be what a person has just said. It goes on when its maker is dead, for
//! longer than anybody waits for it, and may give up in the middle. Another kind of job *reads* everything: as it was when
//! the job was made, whenever its pages are asked for.

use std::collections::BTreeMap;

use outbound::{Request, Response};
use serde_json::{Map, Value as Json, json};

use super::network::Chance;
use super::system::{System, said, told_ms};

/// How it is spoken to about them.
pub(crate) const BULK: &str = r##"
      bulk:
        over: "1"
        batch: 10
        clear: "#N/A"
        id: id
        find: { request: { method: GET, path: "/{{ object }}/jobs", query: { operation: "{{ operation }}" } }, value: ".jobs[]" }
        create: { request: { method: POST, path: "/{{ object }}/jobs", body: { jq: "{operation: $operation}" } }, value: .id }
        upload: { method: PUT, path: "/{{ object }}/jobs/{{ job }}", csv: "{{ rows }}" }
        start: { method: PATCH, path: "/{{ object }}/jobs/{{ job }}" }
        state: { request: { method: GET, path: "/{{ object }}/jobs/{{ job }}" }, value: .state }
        poll: 1s
        results: [ { request: { method: GET, path: "/{{ object }}/jobs/{{ job }}/results" }, value: ".rows[]" } ]
        delete: { method: DELETE, path: "/{{ object }}/jobs/{{ job }}" }
      strategy: upsert"##;

/// How it is asked for everything.
pub(crate) const READ: &str = r#"
        bulk:
          over: "2"
          create: { request: { method: POST, path: "/{{ object }}/reads", body: { jq: "{}" } }, value: .id }
          state: { request: { method: GET, path: "/{{ object }}/reads/{{ job }}" }, value: .state }
          poll: 1s
          page: 3
          results:
            request: { method: GET, path: "/{{ object }}/reads/{{ job }}/rows", query: { after: "{{ after | default('', true) }}", limit: "{{ limit }}" } }
            records: .rows[]
            next: .next
          delete: { method: DELETE, path: "/{{ object }}/reads/{{ job }}" }
      count: { request: { method: GET, path: "/{{ object }}/count" }, value: .count }
      by_ids:"#;

/// The text of a cell that clears a field.
const CLEAR: &str = "#N/A";
/// How long after its beginning a job has done its last row at most: one that is quick, and one that is not.
const QUICK_MS: i64 = 15_000;
const SLOW_MS: i64 = 300_000;
/// How long a job that reads takes at most.
const READ_MAX_MS: i64 = 30_000;

type Cells = BTreeMap<String, String>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Running,
    Done,
    Failed,
}

struct Job {
    object: &'static str,
    operation: String,
    rows: Vec<Cells>,
    state: State,
    /// When each row is done, in their order, once it is running.
    due_ms: Vec<i64>,
    /// How many rows it does before it gives up, if it does.
    gives_up_after: Option<usize>,
    /// Whether a row may be locked.
    faulty: bool,
    changed_ms: i64,
    results: Vec<Json>,
}

/// A job that reads.
struct Read {
    rows: Vec<Json>,
    ready_ms: i64,
    fails: bool,
}

/// The jobs of a system.
#[derive(Default)]
pub(crate) struct Jobs {
    all: BTreeMap<String, Job>,
    reads: BTreeMap<String, Read>,
    made: u64,
}

impl System {
    /// Carries out a request about jobs.
    pub(crate) fn about_jobs(
        &mut self,
        object: &'static str,
        (path, operation): (&str, Option<&String>),
        request: &Request,
        (now_ms, faulty): (i64, bool),
        chance: &mut Chance,
    ) -> Response {
        let (Some(id), part) = named(path) else {
            return match request.method.as_str() {
                "GET" => {
                    let listed = self.jobs.all.iter().filter(|(_, job)| {
                        job.object == object && Some(&job.operation) == operation && job.state != State::Open
                    });
                    let listed: Vec<Json> = listed.map(|(id, job)| self.listed(id, job)).collect();
                    said(200, &json!({"jobs": listed}))
                }
                _ => {
                    let asked: Json = serde_json::from_slice(&request.body).unwrap();
                    self.jobs.made += 1;
                    let id = format!("{}-job-{}", self.name, self.jobs.made);
                    let job = Job {
                        object,
                        operation: asked["operation"].as_str().unwrap().to_owned(),
                        rows: Vec::new(),
                        state: State::Open,
                        due_ms: Vec::new(),
                        gives_up_after: None,
                        faulty: false,
                        changed_ms: now_ms,
                        results: Vec::new(),
                    };
                    self.jobs.all.insert(id.clone(), job);
                    said(200, &json!({"id": id}))
                }
            };
        };
        if request.method == "DELETE" {
            self.jobs.all.remove(id);
            return said(204, &Json::Null);
        }
        let Some(job) = self.jobs.all.get_mut(id) else {
            return said(404, &json!({"says": format!("there is no job {id}")}));
        };
        match (request.method.as_str(), part) {
            ("PUT", _) => job.rows = rows(&request.body),
            ("PATCH", _) if job.state == State::Open => {
                job.state = State::Running;
                job.changed_ms = now_ms;
                let most = match chance.percent(30) {
                    true => SLOW_MS,
                    false => QUICK_MS,
                };
                job.due_ms = job.rows.iter().map(|_| now_ms + chance.ms(most)).collect();
                job.due_ms.sort_unstable();
                job.faulty = faulty;
                job.gives_up_after = (faulty && chance.percent(15)).then(|| chance.below(job.rows.len()));
            }
            (_, Some("results")) => return said(200, &json!({"rows": job.results})),
            _ => {}
        }
        let listed = self.listed(id, &self.jobs.all[id]);
        said(200, &listed)
    }

    /// Carries out a request about jobs that read.
    pub(crate) fn about_reads(
        &mut self,
        object: &'static str,
        (path, asked): (&str, &BTreeMap<String, String>),
        request: &Request,
        (now_ms, faulty): (i64, bool),
        chance: &mut Chance,
    ) -> Response {
        let (Some(id), part) = named(path) else {
            self.jobs.made += 1;
            let id = format!("{}-read-{}", self.name, self.jobs.made);
            let read = Read {
                rows: self.all(object),
                ready_ms: now_ms + chance.ms(READ_MAX_MS),
                fails: faulty && chance.percent(15),
            };
            self.jobs.reads.insert(id.clone(), read);
            return said(200, &json!({"id": id}));
        };
        if request.method == "DELETE" {
            self.jobs.reads.remove(id);
            return said(204, &Json::Null);
        }
        let Some(read) = self.jobs.reads.get(id) else {
            return said(404, &json!({"says": format!("there is no job {id}")}));
        };
        if part.is_none() {
            let state = match read.ready_ms <= now_ms {
                false => "running",
                true if read.fails => "failed",
                true => "done",
            };
            return said(200, &json!({"state": state}));
        }
        let number = |name: &str| asked[name].parse::<usize>().unwrap_or(0);
        let (from, limit) = (number("after"), number("limit"));
        let rows: Vec<&Json> = read.rows.iter().skip(from).take(limit).collect();
        let next = (from + limit < read.rows.len()).then(|| (from + limit).to_string());
        said(200, &json!({"rows": rows, "next": next}))
    }

    fn listed(&self, id: &str, job: &Job) -> Json {
        let state = match job.state {
            State::Open | State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
        };
        json!({"id": id, "state": state, "changed": told_ms(self.shifted(job.changed_ms))})
    }

    /// Whether one of its jobs is not done.
    pub(crate) fn is_at_work(&self) -> bool {
        self.jobs.all.values().any(|job| job.state == State::Running)
    }

    /// Does what is due of its jobs, and tells it.
    pub(crate) fn work(&mut self, now_ms: i64, chance: &mut Chance) -> Vec<String> {
        let mut told = Vec::new();
        let mut all = std::mem::take(&mut self.jobs.all);
        for (id, job) in all.iter_mut().filter(|(_, job)| job.state == State::Running) {
            loop {
                let next = job.results.len();
                if job.gives_up_after == Some(next) {
                    (job.state, job.changed_ms) = (State::Failed, now_ms);
                    told.push(format!("{id} gives up"));
                    break;
                }
                let Some(cells) = job.rows.get(next) else {
                    (job.state, job.changed_ms) = (State::Done, now_ms);
                    break;
                };
                if job.due_ms[next] > now_ms {
                    break;
                }
                let mut result = match job.faulty && chance.percent(10) {
                    true => json!({"ok": false, "code": "LOCKED", "message": "somebody else is at it"}),
                    false => self.write(job.object, &one(cells), now_ms, chance),
                };
                told.push(format!("{id} does {cells:?}: {result}"));
                result["key"] = json!(cells.get("key"));
                result["for_id"] = json!(cells.get("id"));
                result["row"] = json!(cells);
                result["own"] = json!([]);
                job.results.push(result);
            }
        }
        self.jobs.all = all;
        told
    }
}

/// The job that a path names, and the part of it.
fn named(path: &str) -> (Option<&str>, Option<&str>) {
    let mut words = path.split('/').skip(1);
    (words.next(), words.next())
}

fn rows(csv: &[u8]) -> Vec<Cells> {
    let mut reader = csv::Reader::from_reader(csv);
    let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let row = |row: csv::StringRecord| {
        columns
            .iter()
            .cloned()
            .zip(row.iter().map(str::to_owned))
            .collect()
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

/// A row as the system's other calls have it. A cell that is empty changes nothing.
fn one(cells: &Cells) -> Json {
    let values = cells
        .iter()
        .filter(|(column, cell)| !["key", "id"].contains(&column.as_str()) && !cell.is_empty());
    let values: Map<String, Json> = values
        .map(|(column, cell)| {
            let value = match cell.as_str() {
                CLEAR => Json::Null,
                text => json!(text),
            };
            (column.clone(), value)
        })
        .collect();
    json!({"key": cells.get("key"), "id": cells.get("id"), "version": null, "values": values})
}
