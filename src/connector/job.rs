//! A *job* is work that a system does by itself after it was asked once: it is made, asked about until it has ended, and
//! removed.
//!
//! Here is what jobs that read ([`crate::read_job`]) and others have in common: how far one is, and how long we wait
//! between two questions about it.

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::call::Repeat;
use crate::classify::classify;
use crate::connection::Connection;
use crate::failure::{Class, Failure};
use crate::manifest::Job;
use crate::names::{Names, scalar};

/// The longest wait between two questions about a job; well below the time that a lease is held.
pub const POLL_WAIT_MAX_MS: u64 = 20_000;
/// How often one job is asked about before it is given up.
pub const POLLS_MAX: u64 = 4_000;

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Running,
    Done,
    /// It ended without having done what it should.
    Failed(Failure),
}

/// A job that was made.
pub(crate) struct Made {
    /// The system's id of it.
    pub(crate) id: String,
    /// When, by the system's clock, if it says so.
    pub(crate) told_at: Option<Timestamp>,
}

/// How long to wait before the next question when so many were asked: longer with each.
pub(crate) fn wait_ms(poll_ms: u64, polls: u64) -> u64 {
    let doubled = poll_ms.saturating_mul(1 << polls.min(16));
    doubled.min(POLL_WAIT_MAX_MS)
}

impl Connection {
    /// Makes a job.
    pub(crate) async fn make(&self, job: &Job, names: &Names) -> Result<Made, Failure> {
        // A second job instead of one whose answer was lost costs the system something, and nobody else.
        let call = self.caller.call(&job.create.request, names.clone(), Repeat::Safe);
        let reply = call.await?;
        let names = reply.names(names.clone());
        let id = job.create.value.one(&reply.body, &|name| names.get(name))?;
        let id = scalar(&id).ok_or_else(|| Failure::protocol("the system does not say the id of the job"))?;
        Ok(Made {
            id,
            told_at: reply.told_at(),
        })
    }

    /// Asks how far a job is; `names` has its id.
    pub(crate) async fn stage(&self, job: &Job, names: &Names) -> Result<Stage, Failure> {
        let call = self.caller.call(&job.state.request, names.clone(), Repeat::Safe);
        let reply = call.await?;
        let names = reply.names(names.clone());
        let state = job.state.value.one(&reply.body, &|name| names.get(name))?;
        match state.as_str() {
            Some("running") => Ok(Stage::Running),
            Some("done") => Ok(Stage::Done),
            Some("failed") => {
                // The rules for refusals know the words of a failed job too.
                let now = self.caller.clock.now();
                let (manifest, headers) = (self.caller.manifest(), &reply.headers);
                let (mut failure, _) = classify(manifest, reply.status, headers, &reply.body, now);
                if failure.class == Class::Protocol {
                    failure.class = Class::Validation;
                }
                failure.status = None;
                Ok(Stage::Failed(failure))
            }
            _ => Err(Failure::protocol(format!(
                "the state of a job is {}, expected running, done or failed",
                if state.is_null() {
                    Json::from("not told")
                } else {
                    state
                }
            ))),
        }
    }

    /// Removes a job that has done its work. If that fails, the system removes it in time by itself.
    pub(crate) async fn remove(&self, job: &Job, names: Names) {
        if let Some(delete) = &job.delete
            && let Err(failure) = self.caller.call(delete, names, Repeat::Safe).await
        {
            tracing::debug!(connection = self.name(), %failure, "a job that is done was not removed");
        }
    }
}
