//! `/v1/errors`: what is parked, by cause; and trying it again.

use std::sync::Arc;

use axum::extract::Path;
use axum::{Extension, Json};
use bytes::Bytes;
use jiff::Timestamp;
use ledger::{Parked, ParkedAt, ParkedCause, ParkedFilter};
use serde::{Deserialize, Serialize};
use sync::{WhichParked, advice};

use super::actions::read;
use super::to_its_end;
use crate::Problem;
use crate::key::Admin;
use crate::query::{Asked, Page, limit};
use crate::watch::Line;

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    In,
    Out,
}

/// What is left out asks nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CauseQuery {
    connection: Option<String>,
    object: Option<String>,
    way: Option<Way>,
    code: Option<String>,
    field: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemQuery {
    way: Option<Way>,
    code: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryBody {
    connection: Option<String>,
    object: Option<String>,
    way: Option<Way>,
    code: Option<String>,
    /// A field of the object that it is about.
    field: Option<String>,
    /// The id of an object on its way in, of a record on its way out.
    key: Option<String>,
    /// Everything; has to be said.
    #[serde(default)]
    all: bool,
    /// Only count it.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize)]
pub(crate) struct CauseView {
    connection: String,
    object: String,
    /// `in`: from the system to its record; or `out`.
    way: &'static str,
    code: String,
    /// The fields of the object that it is about.
    fields: Vec<String>,
    count: u64,
    /// Since when the oldest of them waits.
    first: Timestamp,
    /// Since when the newest of them waits.
    last: Timestamp,
    /// When the first of them is tried again by itself.
    retry_at: Option<Timestamp>,
    /// Of the newest.
    reason: String,
    /// Of the newest.
    key: String,
    /// What a person can do about it.
    advice: &'static str,
}

impl From<ParkedCause> for CauseView {
    fn from(cause: ParkedCause) -> CauseView {
        CauseView {
            advice: advice(&cause),
            connection: cause.connection,
            object: cause.object,
            way: way(cause.inbound),
            code: cause.code,
            fields: cause.fields,
            count: cause.count,
            first: cause.first,
            last: cause.last,
            retry_at: cause.retry_at,
            reason: cause.reason,
            key: cause.key,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ParkedView {
    connection: String,
    object: String,
    /// The id of an object on its way in, of a record on its way out.
    key: String,
    way: &'static str,
    code: String,
    fields: Vec<String>,
    reason: String,
    /// Between which a person decides.
    records: Vec<String>,
    since: Timestamp,
    retry_at: Option<Timestamp>,
}

impl From<Parked> for ParkedView {
    fn from(parked: Parked) -> ParkedView {
        ParkedView {
            connection: parked.connection,
            object: parked.object,
            key: parked.key,
            way: way(parked.inbound),
            code: parked.code,
            fields: parked.fields,
            reason: parked.reason,
            records: parked.records.iter().map(ToString::to_string).collect(),
            since: parked.since,
            retry_at: parked.retry_at,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct RetriedView {
    /// How many are tried again, or would be.
    count: u64,
    /// Of what nothing is tried again.
    left: Vec<LeftView>,
}

#[derive(Serialize)]
pub(crate) struct LeftView {
    #[serde(flatten)]
    cause: CauseView,
    why: &'static str,
}

fn way(inbound: bool) -> &'static str {
    if inbound { "in" } else { "out" }
}

fn inbound(way: Option<Way>) -> Option<bool> {
    way.map(|way| matches!(way, Way::In))
}

/// All causes, in the order of connection, object, way, code and fields; there is one page.
pub(crate) async fn list(
    Admin(hub): Admin,
    Asked(query): Asked<CauseQuery>,
) -> Result<Json<Page<CauseView>>, Problem> {
    let which = WhichParked {
        connection: query.connection,
        object: query.object,
        inbound: inbound(query.way),
        code: query.code,
        field: query.field,
        key: None,
    };
    let mut causes = hub.ledger.parked_causes().await?;
    causes.retain(|cause| which.admits(cause));
    let all = causes.len();
    Ok(Json(Page::new(causes, all, |_| String::new(), CauseView::from)))
}

/// What is parked of an object, oldest first.
pub(crate) async fn show(
    Admin(hub): Admin,
    Path((connection, object)): Path<(String, String)>,
    Asked(query): Asked<ItemQuery>,
) -> Result<Json<Page<ParkedView>>, Problem> {
    let limit = limit(query.limit)?;
    let of = (connection, object);
    let filter = ParkedFilter {
        inbound: inbound(query.way),
        codes: query.code.map(|code| vec![code]),
        after: query
            .cursor
            .as_deref()
            .map(|cursor| after(&of, cursor))
            .transpose()?,
        of: Some(of),
        ..ParkedFilter::default()
    };
    let found = hub.ledger.parked(&filter, limit + 1).await?;
    Ok(Json(Page::new(found, limit, cursor, ParkedView::from)))
}

/// Where the next page begins: after the moment, the way and the key of the last one.
fn cursor(last: &Parked) -> String {
    format!(
        "{}-{}-{}",
        last.since.as_microsecond(),
        way(last.inbound),
        last.key
    )
}

fn after((connection, object): &(String, String), cursor: &str) -> Result<ParkedAt, Problem> {
    let read = || {
        let mut parts = cursor.splitn(3, '-');
        let since = Timestamp::from_microsecond(parts.next()?.parse().ok()?).ok()?;
        let inbound = match parts.next()? {
            "in" => true,
            "out" => false,
            _ => return None,
        };
        Some(ParkedAt {
            since,
            connection: connection.clone(),
            object: object.clone(),
            key: parts.next()?.to_owned(),
            inbound,
        })
    };
    read().ok_or_else(|| Problem::bad_request(format!("`{cursor}` is not a cursor that was given here")))
}

/// Makes what was corrected due at once.
pub(crate) async fn retry(
    Admin(hub): Admin,
    body: Bytes,
) -> Result<(Extension<Line>, Json<RetriedView>), Problem> {
    let body: RetryBody = read(&body)?;
    let which = WhichParked {
        connection: body.connection,
        object: body.object,
        inbound: inbound(body.way),
        code: body.code,
        field: body.field,
        key: body.key,
    };
    if !body.all && which == WhichParked::default() {
        return Err(Problem::bad_request(
            "say which: `connection`, `object`, `way`, `code`, `field`, `key`; or `all`",
        ));
    }
    let (decisions, asked) = (Arc::clone(&hub.decisions), which.clone());
    let retried = to_its_end(async move { decisions.retry_parked(&asked, body.dry_run).await }).await?;
    let line = Line {
        subject: which.connection.unwrap_or_default(),
        event: String::new(),
        decision: if body.dry_run { "counted" } else { "retried" },
    };
    let left = retried.left.into_iter().map(|(cause, why)| LeftView {
        cause: cause.into(),
        why,
    });
    let view = RetriedView {
        count: retried.count,
        left: left.collect(),
    };
    Ok((Extension(line), Json(view)))
}
