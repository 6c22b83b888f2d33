//! Bulk API 2.0: rows by the thousand in a few calls, as CSV, by jobs that one asks about until they are done.
//!
//! A *query job* runs SOQL and keeps its rows, which are fetched page by page by a *locator*.
//! An *ingest job* is created, given its rows, and told that they are complete; its results are three tables: rows that
//! were taken, rows that were refused with their codes, and rows that nobody looked at.
//!
//! Promised: the states and their order, the words of refusals, a job that is under way for [`job::POLLS`] questions,
//! results in another order than the rows were given in (clients must not count), an empty field that changes nothing
//! and `#N/A` that clears.
//! Not promised: rows that are locked, batches of 10,000, processing in parallel. The rows are read or written when the
//! job is handed over, not while it is asked about.

pub(crate) mod ingest;
pub(crate) mod job;
pub(crate) mod query;
pub(crate) mod table;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, put};

use super::System;

/// The routes of both kinds of jobs, below the address of a version.
pub(crate) fn routes(data: &str) -> Router<Arc<System>> {
    let at = |path: &str| format!("{data}/jobs{path}");
    Router::new()
        .route(&at("/query"), get(query::list).post(query::create))
        .route(
            &at("/query/{id}"),
            get(query::look).patch(query::abort).delete(query::delete),
        )
        .route(&at("/query/{id}/results"), get(query::results))
        .route(&at("/ingest"), get(ingest::list).post(ingest::create))
        .route(
            &at("/ingest/{id}"),
            get(ingest::look).patch(ingest::close).delete(ingest::delete),
        )
        .route(&at("/ingest/{id}/batches"), put(ingest::upload))
        .route(&at("/ingest/{id}/{results}"), get(ingest::results))
}
