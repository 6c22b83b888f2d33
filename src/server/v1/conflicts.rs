//! `/v1/conflicts`: what two sides changed alike, what decided, and what waits for a person.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Extension;
use axum::Json;
use axum::extract::Path;
use bytes::Bytes;
use jiff::Timestamp;
use ledger::{Conflict, ConflictFilter, ConflictState, LedgerError};
use model::{ConflictId, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sync::{Act, ActionError, Decision, Done, Retried, Take, Unresolved, WhichParked};

use super::to_its_end;
use crate::key::Admin;
use crate::query::{Asked, Page, limit};
use crate::watch::Line;
use crate::{ErrorStatus, Problem};

/// Takes what a person decided.
#[async_trait]
pub trait Decisions: Send + Sync {
    /// Writes a decision down; gives the conflict as it is then. What it makes owed is looked at soon.
    async fn decide(&self, decision: &Decision) -> Result<Conflict, Unresolved>;
    /// Does what a person wants done with records. What it makes owed is looked at soon.
    async fn act(&self, by: &str, act: &Act) -> Result<Done, ActionError>;
    /// Makes what is parked due at once, or only counts it. What it makes owed is looked at soon.
    async fn retry_parked(&self, which: &WhichParked, dry_run: bool) -> Result<Retried, LedgerError>;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// `open` when it is left out; `all` for every state.
    state: Option<String>,
    kind: Option<String>,
    record: Option<String>,
    connection: Option<String>,
    field: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct ConflictView {
    id: String,
    record: String,
    field: String,
    /// Where they differ: connection, object, and the object's id.
    connection: String,
    object: String,
    external_id: String,
    /// What both last agreed on.
    base: Value,
    ours: Value,
    /// Who had said ours; empty when it is not known.
    ours_by: String,
    theirs: Value,
    theirs_at: Option<Timestamp>,
    kept: Value,
    rule: String,
    winner: String,
    /// `open`, `decided`, `resolved`, `agreed`, `withdrawn` or `gone`.
    state: &'static str,
    revision: u64,
    run: Option<String>,
    trace: String,
    found_at: Timestamp,
    closed_at: Option<Timestamp>,
    closed_by: String,
}

impl From<Conflict> for ConflictView {
    fn from(conflict: Conflict) -> ConflictView {
        ConflictView {
            id: conflict.id.to_string(),
            record: conflict.record.to_string(),
            field: conflict.path,
            connection: conflict.connection,
            object: conflict.object,
            external_id: conflict.external_id,
            base: conflict.base,
            ours: conflict.ours,
            ours_by: conflict.ours_by,
            theirs: conflict.theirs,
            theirs_at: conflict.theirs_at,
            kept: conflict.kept,
            rule: conflict.rule,
            winner: conflict.winner,
            state: conflict.state.word(),
            revision: conflict.revision,
            run: conflict.run.map(|run| run.to_string()),
            trace: conflict.trace,
            found_at: conflict.found_at,
            closed_at: conflict.closed_at,
            closed_by: conflict.closed_by,
        }
    }
}

/// What is decided: `take` or `value`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResolveBody {
    /// `ours`, `theirs`, or a connection whose value is taken.
    take: Option<String>,
    /// Another value, in the form that values have here. An absent key is not the same as `null`, which is blank.
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
    /// Who decides; `admin` when it is left out.
    by: Option<String>,
    /// Only if the conflict is still at this revision.
    revision: Option<u64>,
}

fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

/// Oldest first; those that wait for a person, unless another state is asked for.
pub(crate) async fn list(
    Admin(hub): Admin,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Page<ConflictView>>, Problem> {
    let limit = limit(query.limit)?;
    let state = match query.state.as_deref() {
        None => Some(ConflictState::Open),
        Some("all") => None,
        Some(word) => Some(ConflictState::parse(word).ok_or_else(|| {
            let known = ConflictState::ALL.map(ConflictState::word).join("`, `");
            Problem::bad_request(format!("`state` is one of `all`, `{known}`"))
        })?),
    };
    let kind = query.kind.as_deref().map(|word| {
        Kind::parse(word).ok_or_else(|| {
            let known = Kind::ALL.map(Kind::name).join("`, `");
            Problem::bad_request(format!("`kind` is one of `{known}`"))
        })
    });
    let record = query.record.as_deref().map(str::parse);
    let record = record
        .transpose()
        .map_err(|bad: model::NotARecordId| Problem::bad_request(bad.to_string()))?;
    let after = query.cursor.as_deref().map(|cursor| read_id(cursor, "`cursor`"));
    let filter = ConflictFilter {
        ids: Vec::new(),
        state,
        kind: kind.transpose()?,
        record,
        connection: query.connection,
        path: query.field,
    };
    let found = hub
        .ledger
        .list_conflicts(&filter, after.transpose()?, limit + 1)
        .await?;
    Ok(Json(Page::new(
        found,
        limit,
        |conflict| conflict.id.to_string(),
        ConflictView::from,
    )))
}

/// One.
pub(crate) async fn show(Admin(hub): Admin, Path(id): Path<String>) -> Result<Json<ConflictView>, Problem> {
    let id = read_id(&id, "the id")?;
    let filter = ConflictFilter {
        ids: vec![id],
        ..ConflictFilter::default()
    };
    let found = hub
        .ledger
        .list_conflicts(&filter, None, 1)
        .await?
        .into_iter()
        .next();
    let found = found.ok_or_else(|| Problem::not_found(format!("there is no conflict {id}")))?;
    Ok(Json(found.into()))
}

/// A person's decision; the record has it, and every system that differs is owed it.
pub(crate) async fn resolve(
    Admin(hub): Admin,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<(Extension<Line>, Json<ConflictView>), Problem> {
    let conflict = read_id(&id, "the id")?;
    let body: ResolveBody = serde_json::from_slice(&body)
        .map_err(|bad| Problem::bad_request(format!("the body cannot be read: {bad}")))?;
    let take = match (body.take, body.value) {
        (Some(side), None) => match side.as_str() {
            "ours" => Take::Ours,
            "theirs" => Take::Theirs,
            _ => Take::Of(side),
        },
        (None, Some(value)) => Take::Value(value),
        _ => return Err(Problem::bad_request("say either `take` or `value`")),
    };
    let decision = Decision {
        conflict,
        take,
        by: body.by.unwrap_or_else(|| "admin".to_owned()),
        revision: body.revision,
    };
    let decisions = Arc::clone(&hub.decisions);
    let decided = to_its_end(async move { decisions.decide(&decision).await }).await;
    let resolved = decided.map_err(refused)?;
    let line = Line {
        subject: resolved.id.to_string(),
        event: String::new(),
        decision: "resolved",
    };
    Ok((Extension(line), Json(resolved.into())))
}

fn refused(refused: Unresolved) -> Problem {
    let told = refused.to_string();
    match refused {
        Unresolved::Unknown(_) => Problem::not_found(told),
        Unresolved::Closed { .. } => Problem::new(ErrorStatus::CONFLICT, "closed", told),
        Unresolved::MovedOn { .. } => Problem::new(ErrorStatus::CONFLICT, "moved_on", told),
        Unresolved::Unfit { .. } => Problem::new(ErrorStatus::UNPROCESSABLE, "unfit", told),
        Unresolved::Ledger(error) => error.into(),
    }
}

fn read_id(text: &str, what: &str) -> Result<ConflictId, Problem> {
    model::read_id(text)
        .ok_or_else(|| Problem::bad_request(format!("{what} is not the id of a conflict, `cfl_…`")))
}
