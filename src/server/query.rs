//! [`Asked`]: the query of a request, read strictly; and [`Page`]: how lists are answered.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Hub, Problem};

/// Elements of a page when it is not said.
const LIMIT: usize = 50;
/// Elements of a page, at most.
pub(crate) const LIMIT_MAX: usize = 200;

/// The query, as a type that knows all its parameters.
pub(crate) struct Asked<T>(pub(crate) T);

/// The query of a request that has none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoQuery {}

impl<T: DeserializeOwned> FromRequestParts<Hub> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Asked<T>, Problem> {
        let query = Query::<T>::from_request_parts(parts, hub).await;
        let query = query.map_err(|bad| {
            let text = bad.body_text();
            let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
            Problem::bad_request(format!("the query cannot be read: {reason}"))
        })?;
        Ok(Asked(query.0))
    }
}

/// How many were asked for, within bounds.
pub(crate) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(LIMIT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        other => Err(Problem::bad_request(format!(
            "`limit` is between 1 and {LIMIT_MAX}, {other} is not"
        ))),
    }
}

/// One page of a list.
#[derive(Serialize)]
pub(crate) struct Page<T> {
    data: Vec<T>,
    /// To be sent as `cursor` for the next page; none on the last.
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page from what was read with a limit one higher than `limit`.
    pub(crate) fn new<R>(
        mut read: Vec<R>,
        limit: usize,
        cursor: impl Fn(&R) -> String,
        view: impl Fn(R) -> T,
    ) -> Page<T> {
        let more = read.len() > limit;
        read.truncate(limit);
        let next_cursor = read.last().filter(|_| more).map(cursor);
        Page {
            data: read.into_iter().map(view).collect(),
            next_cursor,
        }
    }
}
