//! `/v1/actions`, `/v1/reviews` and what is done with records: which object is which record.

use std::sync::Arc;

use axum::extract::Path;
use axum::{Extension, Json};
use bytes::Bytes;
use jiff::Timestamp;
use ledger::{Action, ActionFilter, Parked};
use model::{ActionId, RecordId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sync::{Act, ActionError, Done, ObjectAt, Settle};

use super::to_its_end;
use crate::key::Admin;
use crate::query::{Asked, Page, limit};
use crate::watch::Line;
use crate::{ErrorStatus, Hub, Problem};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionQuery {
    record: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReviewQuery {
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct ActionView {
    id: String,
    at: Timestamp,
    by: String,
    /// `link`, `unlink`, `merge`, `create`, `dismiss`, `census`, `resolve` or `undo`.
    did: String,
    records: Vec<String>,
    /// The object that it is about, if it is about one: `connection/object/id`.
    object: Value,
    /// The conflict that was resolved, the field that it was about, and what was kept.
    conflict: Value,
    field: Value,
    kept: Value,
    undoes: Option<String>,
    undone_by: Option<String>,
}

impl From<Action> for ActionView {
    fn from(action: Action) -> ActionView {
        ActionView {
            id: action.id.to_string(),
            at: action.at,
            by: action.by,
            did: action.verb,
            records: action.records.iter().map(ToString::to_string).collect(),
            object: action.detail["object"].clone(),
            conflict: action.detail["conflict"].clone(),
            field: action.detail["field"].clone(),
            kept: action.detail["kept"].clone(),
            undoes: action.undoes.map(|id| id.to_string()),
            undone_by: action.undone_by.map(|id| id.to_string()),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct DoneView {
    action: ActionView,
    /// What a person should know of it, a sentence each.
    told: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct ReviewView {
    connection: String,
    object: String,
    /// The object's id.
    key: String,
    /// `probable`, `ambiguous`, `duplicate`, `stands`, `merged` or `many_gone`.
    code: String,
    reason: String,
    since: Timestamp,
    /// Between what is decided.
    records: Vec<String>,
}

impl From<Parked> for ReviewView {
    fn from(parked: Parked) -> ReviewView {
        ReviewView {
            connection: parked.connection,
            object: parked.object,
            key: parked.key,
            code: parked.code,
            reason: parked.reason,
            since: parked.since,
            records: parked.records.iter().map(ToString::to_string).collect(),
        }
    }
}

/// `object` is `connection/object/id`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkBody {
    object: String,
    /// Take it from the record that has it.
    #[serde(default)]
    r#move: bool,
    /// Who does it; `admin` when it is left out, here and below.
    by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnlinkBody {
    connection: String,
    object: Option<String>,
    /// Leave the object alone from now on.
    #[serde(default)]
    ignore: bool,
    by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MergeBody {
    /// The record that becomes this one.
    lose: String,
    /// Where both have an object: those that stay, as `connection/object/id`.
    #[serde(default)]
    stay: Vec<String>,
    by: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ByBody {
    by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecideBody {
    /// `record`, `new`, `leave`, `accept` or `again`.
    answer: String,
    /// The record, for the answer `record`.
    record: Option<String>,
    /// Of two records that both have an object: those that stay.
    #[serde(default)]
    stay: Vec<String>,
    by: Option<String>,
}

type Answered = Result<(Extension<Line>, Json<DoneView>), Problem>;

/// Newest first.
pub(crate) async fn list(
    Admin(hub): Admin,
    Asked(query): Asked<ActionQuery>,
) -> Result<Json<Page<ActionView>>, Problem> {
    let limit = limit(query.limit)?;
    let filter = ActionFilter {
        id: None,
        record: query.record.as_deref().map(record_id).transpose()?,
        before: query.cursor.as_deref().map(action_id).transpose()?,
    };
    let found = hub.ledger.actions(&filter, limit + 1).await?;
    Ok(Json(Page::new(
        found,
        limit,
        |action| action.id.to_string(),
        ActionView::from,
    )))
}

/// What waits for a person because a rule cannot tell, oldest first; there is one page.
pub(crate) async fn reviews(
    Admin(hub): Admin,
    Asked(query): Asked<ReviewQuery>,
) -> Result<Json<Page<ReviewView>>, Problem> {
    let limit = limit(query.limit)?;
    let found = hub.ledger.parked(&sync::for_review(), limit).await?;
    Ok(Json(Page::new(found, limit, |_| String::new(), ReviewView::from)))
}

/// Makes an object a record's.
pub(crate) async fn link(Admin(hub): Admin, Path(id): Path<String>, body: Bytes) -> Answered {
    let (record, body): (RecordId, LinkBody) = (record_id(&id)?, read(&body)?);
    let act = Act::Link {
        record,
        at: object_at(&body.object)?,
        moved: body.r#move,
    };
    done(&hub, body.by, act).await
}

/// Takes an object away from its record.
pub(crate) async fn unlink(Admin(hub): Admin, Path(id): Path<String>, body: Bytes) -> Answered {
    let (record, body): (RecordId, UnlinkBody) = (record_id(&id)?, read(&body)?);
    let act = Act::Unlink {
        record,
        connection: body.connection,
        object: body.object,
        ignore: body.ignore,
    };
    done(&hub, body.by, act).await
}

/// Makes another record this one.
pub(crate) async fn merge(Admin(hub): Admin, Path(id): Path<String>, body: Bytes) -> Answered {
    let (keep, body): (RecordId, MergeBody) = (record_id(&id)?, read(&body)?);
    let act = Act::Merge {
        keep,
        lose: record_id(&body.lose)?,
        stay: objects(&body.stay)?,
    };
    done(&hub, body.by, act).await
}

/// Makes a record its own again.
pub(crate) async fn unmerge(Admin(hub): Admin, Path(id): Path<String>, body: Bytes) -> Answered {
    let (record, body) = (record_id(&id)?, read_by(&body)?);
    done(&hub, body.by, Act::Unmerge(record)).await
}

/// Takes an action back.
pub(crate) async fn undo(Admin(hub): Admin, Path(id): Path<String>, body: Bytes) -> Answered {
    let (action, body) = (action_id(&id)?, read_by(&body)?);
    done(&hub, body.by, Act::Undo(action)).await
}

/// Settles a review.
pub(crate) async fn decide(
    Admin(hub): Admin,
    Path((connection, object, external_id)): Path<(String, String, String)>,
    body: Bytes,
) -> Answered {
    let body: DecideBody = read(&body)?;
    let settle = match (body.answer.as_str(), body.record.as_deref()) {
        ("record", Some(record)) => Settle::Record(record_id(record)?, objects(&body.stay)?),
        ("new", None) => Settle::New,
        ("leave", None) => Settle::Leave,
        ("accept", None) => Settle::Accept,
        ("again", None) => Settle::Again,
        _ => {
            return Err(Problem::bad_request(
                "`answer` is one of `record` (with `record`), `new`, `leave`, `accept` and `again`",
            ));
        }
    };
    let at = ObjectAt {
        connection,
        object,
        external_id,
    };
    done(&hub, body.by, Act::Decide(at, settle)).await
}

async fn done(hub: &Hub, by: Option<String>, act: Act) -> Answered {
    let by = by.unwrap_or_else(|| "admin".to_owned());
    let decisions = Arc::clone(&hub.decisions);
    let acted = to_its_end(async move { decisions.act(&by, &act).await }).await;
    let Done { action, told, .. } = acted.map_err(refused)?;
    let line = Line {
        subject: action.id.to_string(),
        event: String::new(),
        decision: "done",
    };
    let view = DoneView {
        action: action.into(),
        told,
    };
    Ok((Extension(line), Json(view)))
}

fn refused(error: ActionError) -> Problem {
    let told = error.to_string();
    match error {
        ActionError::Unknown(_) => Problem::not_found(told),
        ActionError::Refused { code, .. } => Problem::new(ErrorStatus::CONFLICT, code, told),
        ActionError::Sync(sync::SyncError::Ledger(error)) => error.into(),
        ActionError::Sync(_) => Problem::new(ErrorStatus::UNAVAILABLE, "system", told),
    }
}

pub(crate) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|bad| Problem::bad_request(format!("the body cannot be read: {bad}")))
}

/// A body that may be left out.
fn read_by(body: &Bytes) -> Result<ByBody, Problem> {
    match body.is_empty() {
        true => Ok(ByBody::default()),
        false => read(body),
    }
}

fn record_id(text: &str) -> Result<RecordId, Problem> {
    text.parse()
        .map_err(|bad: model::NotARecordId| Problem::bad_request(bad.to_string()))
}

fn action_id(text: &str) -> Result<ActionId, Problem> {
    model::read_id(text)
        .ok_or_else(|| Problem::bad_request(format!("`{text}` is not the id of an action, `act_…`")))
}

fn object_at(text: &str) -> Result<ObjectAt, Problem> {
    text.parse()
        .map_err(|bad: sync::NotAnObject| Problem::bad_request(bad.to_string()))
}

fn objects(texts: &[String]) -> Result<Vec<ObjectAt>, Problem> {
    texts.iter().map(|text| object_at(text)).collect()
}
