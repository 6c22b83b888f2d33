//! `/v1/events`: an operator says something; what arrived, how, and what became of it.
//!
//! `Idempotency-Key` follows the IETF draft of that name (-07): a key is remembered for as long as its event is kept, a day
//! at least; the same body under it gets the first answer once more, marked by `Idempotency-Replayed`; another body is
//! refused with 422. There is no 409 for a request that is still in flight: the second one waits and gets the same answer.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use ledger::{DeliveryFilter, EventFilter, EventRow};
use model::EventId;
use relay::Arrival;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::key::Admin;
use crate::query::{self, Asked, NoQuery, Page};
use crate::v1::deliveries::DeliveryView;
use crate::watch::{Line, TraceId};
use crate::{Hub, Problem, body};

/// The header of the key.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that the answer is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters that a key may have.
const KEY_CHARS_MAX: usize = 128;

#[derive(Serialize)]
struct Published {
    id: String,
}

#[derive(Serialize)]
pub(crate) struct EventView {
    id: String,
    event_type: String,
    source: String,
    received_at: Timestamp,
    trace: String,
    /// How it arrived, or why the hub says it.
    arrival: Arrival,
    /// As it came, or as it was made of what came, before it is projected for anybody.
    body: Box<RawValue>,
    deliveries: Vec<DeliveryView>,
}

/// An event in a list, with what became of it.
#[derive(Serialize)]
pub(crate) struct EventLine {
    id: String,
    event_type: String,
    source: String,
    received_at: Timestamp,
    trace: String,
    /// Deliveries that are due or held.
    waiting: u64,
    /// Deliveries that arrived.
    delivered: u64,
    /// Deliveries that were given up.
    dead: u64,
    /// Deliveries instead of which a newer one went.
    folded: u64,
}

impl From<EventRow> for EventLine {
    fn from(row: EventRow) -> EventLine {
        EventLine {
            id: row.id.to_string(),
            event_type: row.event_type,
            source: row.source,
            received_at: row.received_at,
            trace: row.trace,
            waiting: row.waiting,
            delivered: row.delivered,
            dead: row.dead,
            folded: row.folded,
        }
    }
}

/// Which events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventQuery {
    source: Option<String>,
    /// A type, or a group, `deal.*`.
    event_type: Option<String>,
    since: Option<Timestamp>,
    /// What came with one trace, as histories and journeys name it.
    trace: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Newest first.
pub(crate) async fn list(
    Admin(hub): Admin,
    Asked(asked): Asked<EventQuery>,
) -> Result<Json<Page<EventLine>>, Problem> {
    let limit = query::limit(asked.limit)?;
    let after = asked.cursor.as_deref().map(|cursor| {
        model::read_id(cursor)
            .ok_or_else(|| Problem::bad_request("the `cursor` is not one that was given out here"))
    });
    let filter = EventFilter {
        source: asked.source,
        event_type: asked.event_type,
        since: asked.since,
        trace: asked.trace,
    };
    let rows = hub
        .ledger
        .list_events(&filter, after.transpose()?, limit + 1)
        .await?;
    Ok(Json(Page::new(
        rows,
        limit,
        |row| row.id.to_string(),
        EventLine::from,
    )))
}

/// Takes an event; answered when it is on disk with its deliveries.
pub(crate) async fn publish(
    _: Admin,
    Asked(NoQuery {}): Asked<NoQuery>,
    State(hub): State<Hub>,
    Extension(TraceId(trace)): Extension<TraceId>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    let key = read_key(&parts.headers)?;
    let content = body::read(&hub, &parts, content).await;
    let content = content.map_err(|unread| unread.problem)?;
    let receipt = hub
        .intake
        .publish(key, None, content, (hub.clock)(), &trace)
        .await?;
    let event = receipt.event.to_string();
    let line = Line {
        subject: relay::SOURCE.to_owned(),
        event: event.clone(),
        decision: if receipt.duplicate {
            "duplicate"
        } else {
            "accepted"
        },
    };
    let answer = (
        StatusCode::ACCEPTED,
        Extension(line),
        Json(Published { id: event }),
    );
    Ok(match receipt.duplicate {
        true => ([(REPLAYED, HeaderValue::from_static("true"))], answer).into_response(),
        false => answer.into_response(),
    })
}

/// The key, with or without the quotes that the draft wants.
fn read_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(KEY) else {
        return Ok(None);
    };
    let key = value.to_str().ok().map(str::trim);
    let key = key.map(|key| {
        key.strip_prefix('"')
            .and_then(|key| key.strip_suffix('"'))
            .unwrap_or(key)
    });
    let fits = |key: &&str| {
        !key.is_empty() && key.len() <= KEY_CHARS_MAX && key.bytes().all(|c| c.is_ascii_graphic())
    };
    key.filter(fits).map(Some).ok_or_else(|| {
        Problem::bad_request(format!(
            "`Idempotency-Key` is 1 to {KEY_CHARS_MAX} visible ASCII characters, best a new UUID for each event"
        ))
    })
}

/// One, as it came, with what became of it.
pub(crate) async fn show(Admin(hub): Admin, Path(id): Path<String>) -> Result<Json<EventView>, Problem> {
    let event: EventId =
        model::read_id(&id).ok_or_else(|| Problem::bad_request("the id is not that of an event, `evt_…`"))?;
    let event = hub.ledger.event(event).await?;
    let event =
        event.ok_or_else(|| Problem::not_found(format!("there is no event {id}, or not any more")))?;
    let ids: Vec<_> = event.deliveries.iter().map(|delivery| delivery.id).collect();
    let deliveries = if ids.is_empty() {
        Vec::new()
    } else {
        let count = ids.len();
        let filter = DeliveryFilter {
            ids,
            ..DeliveryFilter::default()
        };
        hub.ledger.list_deliveries(&filter, None, count).await?
    };
    let body = serde_json::from_slice(&event.body)
        .map_err(|error| Problem::unavailable("the event cannot be read").log(error.to_string()))?;
    Ok(Json(EventView {
        id: event.id.to_string(),
        event_type: event.event_type,
        source: event.source,
        received_at: event.received_at,
        trace: event.trace,
        arrival: Arrival::kept(&event.arrival),
        body,
        deliveries: deliveries.into_iter().map(DeliveryView::from).collect(),
    }))
}
