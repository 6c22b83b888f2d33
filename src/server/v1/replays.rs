//! `/v1/replays`: many deliveries sent again, counted first, with their progress.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::{Extension, Json};
use bytes::Bytes;
use jiff::Timestamp;
use ledger::{DeliveryFilter, DeliveryState, Replay, Wanted};
use model::{DeliveryId, ReplayId};
use relay::NotAgain;
use serde::{Deserialize, Serialize};

use crate::key::Admin;
use crate::query::{Asked, LIMIT_MAX};
use crate::watch::Line;
use crate::{ErrorStatus, Problem};

/// Deliveries that may be named by id.
const IDS_MAX: usize = 1_000;

/// Which deliveries. At least one of the keys that narrow it down must be there.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayBody {
    #[serde(default)]
    ids: Vec<String>,
    endpoint: Option<String>,
    state: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    event_type: Option<String>,
    /// Those that arrived, too.
    #[serde(default)]
    arrived: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeginQuery {
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize)]
pub(crate) struct ReplayView {
    id: Option<String>,
    /// `running`, `done` or `cancelled`; nothing for a dry run.
    state: Option<&'static str>,
    total: u64,
    begun: u64,
    made_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl From<Replay> for ReplayView {
    fn from(replay: Replay) -> ReplayView {
        ReplayView {
            id: Some(replay.id.to_string()),
            state: Some(replay.state.word()),
            total: replay.total,
            begun: replay.begun,
            made_at: Some(replay.made_at),
            ended_at: replay.ended_at,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ReplayList {
    data: Vec<ReplayView>,
}

/// Begins one, or tells with `?dry_run=true` how many deliveries it would mean.
pub(crate) async fn begin(
    Admin(hub): Admin,
    Asked(query): Asked<BeginQuery>,
    body: Bytes,
) -> Result<(StatusCode, Extension<Line>, Json<ReplayView>), Problem> {
    let asked: ReplayBody = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is no choice of deliveries: {error}")))?;
    let wanted = wanted(asked)?;
    if let Some(name) = &wanted.filter.endpoint
        && hub.relay.endpoint(name).is_none()
    {
        return Err(Problem::not_found(format!("there is no endpoint `{name}`")));
    }
    if query.dry_run {
        let view = ReplayView {
            id: None,
            state: None,
            total: hub.replayer.count(&wanted).await?,
            begun: 0,
            made_at: None,
            ended_at: None,
        };
        return Ok((StatusCode::OK, Extension(Line::default()), Json(view)));
    }
    let replay = hub.replayer.begin(&wanted).await?;
    let line = Line {
        subject: replay.id.to_string(),
        decision: "replay",
        ..Line::default()
    };
    Ok((StatusCode::ACCEPTED, Extension(line), Json(replay.into())))
}

fn wanted(asked: ReplayBody) -> Result<Wanted, Problem> {
    if asked.ids.len() > IDS_MAX {
        return Err(Problem::bad_request(format!("`ids` are at most {IDS_MAX}")));
    }
    let id = |text: &String| {
        model::read_id(text)
            .ok_or_else(|| Problem::bad_request(format!("`{text}` is not the id of a delivery, `dlv_…`")))
    };
    let ids: Vec<DeliveryId> = asked.ids.iter().map(id).collect::<Result<_, _>>()?;
    let state = asked.state.as_deref().map(|word| {
        DeliveryState::parse(word)
            .filter(|state| !matches!(state, DeliveryState::Held | DeliveryState::Folded))
            .ok_or_else(|| Problem::bad_request("`state` is one of `due`, `delivered` and `dead`"))
    });
    let filter = DeliveryFilter {
        ids,
        endpoint: asked.endpoint,
        not_to: Vec::new(),
        state: state.transpose()?,
        since: asked.since,
        until: asked.until,
        event_type: asked.event_type,
    };
    if filter == DeliveryFilter::default() {
        return Err(Problem::bad_request(
            "say which deliveries: `ids`, `endpoint`, `state`, `since`, `until` or `event_type`",
        ));
    }
    // Who asks for those that arrived means them.
    let arrived = asked.arrived || filter.state == Some(DeliveryState::Delivered);
    Ok(Wanted { filter, arrived })
}

impl From<NotAgain> for Problem {
    fn from(refused: NotAgain) -> Problem {
        match refused {
            NotAgain::OnlyPulled(_) => {
                Problem::new(ErrorStatus::CONFLICT, "only_pulled", refused.to_string())
            }
            NotAgain::Ledger(error) => error.into(),
        }
    }
}

/// The newest ones.
pub(crate) async fn list(Admin(hub): Admin) -> Result<Json<ReplayList>, Problem> {
    let replays = hub.ledger.replays(None, LIMIT_MAX).await?;
    let data = replays.into_iter().map(ReplayView::from).collect();
    Ok(Json(ReplayList { data }))
}

/// One.
pub(crate) async fn show(Admin(hub): Admin, Path(id): Path<String>) -> Result<Json<ReplayView>, Problem> {
    let found = hub.ledger.replay(read_id(&id)?).await?;
    let found = found.ok_or_else(|| Problem::not_found(format!("there is no replay {id}")))?;
    Ok(Json(found.into()))
}

/// Ends one.
pub(crate) async fn cancel(Admin(hub): Admin, Path(id): Path<String>) -> Result<Json<ReplayView>, Problem> {
    let replay = read_id(&id)?;
    let cancelled = hub.replayer.cancel(replay).await?;
    let found = hub.ledger.replay(replay).await?;
    let found = found.ok_or_else(|| Problem::not_found(format!("there is no replay {id}")))?;
    if !cancelled {
        return Err(Problem::new(
            ErrorStatus::CONFLICT,
            "not_running",
            format!("the replay is {} already", found.state.word()),
        ));
    }
    Ok(Json(found.into()))
}

fn read_id(text: &str) -> Result<ReplayId, Problem> {
    model::read_id(text).ok_or_else(|| Problem::bad_request("the id is not that of a replay, `rpl_…`"))
}
