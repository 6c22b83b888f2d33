//! [`Job`]: what was asked for, how far it is, and what came of it; [`Jobs`] keeps them.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value, json};

use super::table::{Form, Table};
use crate::salesforce::refusal::Refusal;
use crate::salesforce::value::moment;
use crate::salesforce::visit::Visit;
use crate::salesforce::{System, ids};

/// Jobs that are remembered; the oldest is forgotten first, as if its seven days were over.
pub(crate) const JOBS_MAX: usize = 200;
/// How often a job says that it is under way before it is done.
pub(crate) const POLLS: u32 = 2;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Takes rows.
    Open,
    /// Has all it needs, and waits.
    UploadComplete,
    /// Is at work.
    InProgress,
    /// Is done; single rows may have been refused.
    JobComplete,
    /// Could not be done.
    Failed,
    /// Was given up by its client.
    Aborted,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::UploadComplete => "UploadComplete",
            Self::InProgress => "InProgress",
            Self::JobComplete => "JobComplete",
            Self::Failed => "Failed",
            Self::Aborted => "Aborted",
        }
    }

    /// Whether nothing more will happen.
    pub(crate) fn ended(self) -> bool {
        matches!(self, Self::JobComplete | Self::Failed | Self::Aborted)
    }
}

/// Reading or writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Query,
    Ingest,
}

/// One job.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) operation: String,
    pub(crate) object: &'static str,
    /// The field that an upsert finds rows by.
    pub(crate) key: Option<String>,
    pub(crate) form: Form,
    pub(crate) state: State,
    /// The state it will have when it was asked about often enough, and how often that still is.
    pub(crate) outcome: State,
    pub(crate) polls: u32,
    pub(crate) error: Option<String>,
    /// What was found, or given.
    pub(crate) rows: Table,
    pub(crate) taken: Table,
    pub(crate) refused: Table,
    pub(crate) untouched: Table,
    user: String,
    tenths: u16,
    version: String,
    created_ms: i64,
    changed_ms: i64,
}

impl Job {
    /// A job that begins now.
    pub(crate) fn new(
        kind: Kind,
        request: &Map<String, Value>,
        object: &'static str,
        visit: &Visit,
        now_ms: i64,
    ) -> Result<Self, Refusal> {
        let text = |name: &str| request.get(name).and_then(Value::as_str);
        Ok(Self {
            id: String::new(),
            kind,
            operation: text("operation").unwrap_or_default().to_owned(),
            object,
            key: text("externalIdFieldName").map(str::to_owned),
            form: Form::named(text("columnDelimiter"), text("lineEnding"))?,
            state: State::Open,
            outcome: State::JobComplete,
            polls: POLLS,
            error: None,
            rows: Table::default(),
            taken: Table::default(),
            refused: Table::default(),
            untouched: Table::default(),
            user: visit.user.clone(),
            tenths: visit.tenths,
            version: visit.version.clone(),
            created_ms: now_ms,
            changed_ms: now_ms,
        })
    }

    /// Hands the job over: from here on it only has to be asked about.
    pub(crate) fn hand_over(&mut self, outcome: State, now_ms: i64) {
        self.state = State::UploadComplete;
        self.outcome = outcome;
        self.changed_ms = now_ms;
    }

    /// One question about the job: it goes on a little.
    fn poll(&mut self, now_ms: i64) {
        if !matches!(self.state, State::UploadComplete | State::InProgress) {
            return;
        }
        self.changed_ms = now_ms;
        if self.polls == 0 {
            self.state = self.outcome;
        } else {
            self.polls -= 1;
            self.state = State::InProgress;
        }
    }

    /// The refusal of something that this state does not allow.
    pub(crate) fn not_now(&self, what: &str) -> Refusal {
        let message = format!("Can't {what} while the job is in state {}", self.state.name());
        Refusal::bad("INVALIDJOBSTATE", message)
    }

    /// What is told about a job when it is made or changed; `asked` adds what a question about it is told.
    pub(crate) fn told(&self, asked: bool) -> Value {
        let number = format!("{}.{}", self.tenths / 10, self.tenths % 10);
        let mut told = json!({
            "id": self.id, "operation": self.operation, "object": self.object, "createdById": self.user,
            "createdDate": moment(self.created_ms), "systemModstamp": moment(self.changed_ms),
            "state": self.state.name(), "concurrencyMode": "Parallel", "contentType": "CSV",
            "apiVersion": number.parse::<serde_json::Number>().ok(),
            "lineEnding": self.form.line_ending(), "columnDelimiter": self.form.delimiter_name(),
        });
        if let Some(key) = &self.key {
            told["externalIdFieldName"] = json!(key);
        }
        if self.kind == Kind::Ingest && self.state == State::Open {
            told["contentUrl"] = json!(format!(
                "services/data/{}/jobs/ingest/{}/batches",
                self.version, self.id
            ));
        }
        if asked {
            self.tell_more(&mut told);
        }
        told
    }

    fn tell_more(&self, told: &mut Value) {
        let is_query = self.kind == Kind::Query;
        told["jobType"] = json!(if is_query { "V2Query" } else { "V2Ingest" });
        told["retries"] = json!(0);
        told["totalProcessingTime"] = json!(0);
        let processed = if is_query {
            self.rows.rows.len()
        } else {
            told["numberRecordsFailed"] = json!(self.refused.rows.len());
            told["apiActiveProcessingTime"] = json!(0);
            told["apexProcessingTime"] = json!(0);
            self.taken.rows.len() + self.refused.rows.len()
        };
        told["numberRecordsProcessed"] = json!(processed);
        if let (Some(error), State::Failed) = (&self.error, self.state) {
            told["errorMessage"] = json!(error);
        }
    }
}

/// All of them, by id.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    kept: HashMap<String, Job>,
    order: VecDeque<String>,
    made: u64,
}

impl Jobs {
    /// Keeps a job and gives it its id.
    pub(crate) fn keep(&mut self, mut job: Job) -> &mut Job {
        self.made += 1;
        let id = ids::make("750", self.made);
        job.id.clone_from(&id);
        if self.order.len() >= JOBS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
        self.order.push_back(id.clone());
        self.kept.entry(id).or_insert(job)
    }

    /// A job of this kind.
    pub(crate) fn find(&mut self, kind: Kind, id: &str) -> Result<&mut Job, Refusal> {
        let id = ids::normal(id).ok_or_else(Refusal::not_found)?;
        let job = self.kept.get_mut(&id).filter(|job| job.kind == kind);
        job.ok_or_else(Refusal::not_found)
    }

    /// Forgets a job that is not at work.
    pub(crate) fn forget(&mut self, kind: Kind, id: &str) -> Result<(), Refusal> {
        let job = self.find(kind, id)?;
        if matches!(job.state, State::Open | State::InProgress) {
            return Err(job.not_now("delete the job"));
        }
        let id = job.id.clone();
        self.kept.remove(&id);
        self.order.retain(|kept| *kept != id);
        Ok(())
    }

    /// What is told of all jobs of a kind, the newest first.
    pub(crate) fn listed(&self, kind: Kind) -> Value {
        let jobs = self.order.iter().rev().filter_map(|id| self.kept.get(id));
        let records: Vec<Value> = jobs
            .filter(|job| job.kind == kind)
            .map(|job| job.told(false))
            .collect();
        json!({ "done": true, "records": records, "nextRecordsUrl": null })
    }
}

/// Answers a question about a job.
pub(crate) fn look(system: &System, kind: Kind, id: &str) -> Result<Value, Refusal> {
    let now_ms = system.clock.now_ms();
    let mut jobs = system.jobs();
    let job = jobs.find(kind, id)?;
    job.poll(now_ms);
    Ok(job.told(true))
}

/// Gives a job up, unless it has ended.
pub(crate) fn abort(job: &mut Job) -> Result<(), Refusal> {
    if job.state.ended() {
        return Err(job.not_now("abort the job"));
    }
    job.state = State::Aborted;
    Ok(())
}
