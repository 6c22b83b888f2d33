//! `/v1/deliveries`: what was sent to whom, and once more by hand.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::{Extension, Json};
use jiff::Timestamp;
use ledger::{Attempt, Delivery, DeliveryFilter, DeliveryState, Next};
use model::DeliveryId;
use relay::sendable;
use serde::{Deserialize, Serialize};

use crate::key::Admin;
use crate::query::{Asked, Page, limit};
use crate::watch::Line;
use crate::{ErrorStatus, Hub, Problem};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    state: Option<String>,
    endpoint: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct DeliveryView {
    id: String,
    event: String,
    event_type: String,
    source: String,
    endpoint: String,
    state: &'static str,
    attempts: u32,
    received_at: Timestamp,
    next_at: Option<Timestamp>,
    last_status: Option<u16>,
    last_error: String,
    /// Its place in all that the endpoint is sent.
    sequence: Option<u64>,
    /// The places of those that were folded into it: `3-7, 12`. Empty for most.
    stands_for: String,
    /// Which one goes instead of it, when it was folded.
    folded_into: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> DeliveryView {
        DeliveryView {
            id: delivery.id.to_string(),
            event: delivery.event.to_string(),
            event_type: delivery.event_type,
            source: delivery.source,
            endpoint: delivery.endpoint,
            state: delivery.state.word(),
            attempts: delivery.attempts,
            received_at: delivery.received_at,
            next_at: delivery.next_at,
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            sequence: delivery.sequence,
            stands_for: delivery.stands_for.to_string(),
            folded_into: delivery.folded_into.map(|id| id.to_string()),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct AttemptView {
    number: u32,
    at: Timestamp,
    duration_ms: u32,
    status: Option<u16>,
    error: String,
    /// `delivered`, `retry` or `dead`.
    decision: &'static str,
    /// When it is tried again, after `retry`.
    next_at: Option<Timestamp>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> AttemptView {
        let (decision, next_at) = match attempt.next {
            Next::Delivered => ("delivered", None),
            Next::Retry(at) => ("retry", Some(at)),
            Next::Dead => ("dead", None),
        };
        AttemptView {
            number: attempt.number,
            at: attempt.at,
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            error: attempt.error,
            decision,
            next_at,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct DeliveryPage {
    delivery: DeliveryView,
    attempts: Vec<AttemptView>,
}

#[derive(Serialize)]
pub(crate) struct Retried {
    id: String,
    endpoint: String,
    state: &'static str,
}

/// Newest first.
pub(crate) async fn list(
    Admin(hub): Admin,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Page<DeliveryView>>, Problem> {
    let limit = limit(query.limit)?;
    let state = query.state.as_deref().map(read_state).transpose()?;
    let after = query
        .cursor
        .as_deref()
        .map(|cursor| read_id(cursor, "`cursor`"))
        .transpose()?;
    let filter = DeliveryFilter {
        endpoint: query.endpoint,
        state,
        ..DeliveryFilter::default()
    };
    let deliveries = hub.ledger.list_deliveries(&filter, after, limit + 1).await?;
    Ok(Json(Page::new(
        deliveries,
        limit,
        |delivery| delivery.id.to_string(),
        DeliveryView::from,
    )))
}

/// One, with its attempts.
pub(crate) async fn show(Admin(hub): Admin, Path(id): Path<String>) -> Result<Json<DeliveryPage>, Problem> {
    let delivery = find(&hub, &id).await?;
    let attempts = hub.ledger.attempts(delivery.id).await?;
    Ok(Json(DeliveryPage {
        delivery: delivery.into(),
        attempts: attempts.into_iter().map(AttemptView::from).collect(),
    }))
}

/// Makes one due again, now; one that arrived stays as it is.
pub(crate) async fn retry(
    Admin(hub): Admin,
    Path(id): Path<String>,
) -> Result<(StatusCode, Extension<Line>, Json<Retried>), Problem> {
    let delivery = find(&hub, &id).await?;
    let filter = DeliveryFilter {
        ids: vec![delivery.id],
        ..DeliveryFilter::default()
    };
    let filter = sendable(&*hub.ledger, &hub.relay.only_pulled(), &filter).await?;
    if hub.ledger.retry(&filter, (hub.clock)()).await? == 0 {
        return Err(match delivery.folded_into {
            Some(newer) => Problem::new(
                ErrorStatus::CONFLICT,
                "folded",
                format!("a newer one goes instead of the delivery: {newer}"),
            ),
            None => Problem::new(
                ErrorStatus::CONFLICT,
                "delivered",
                "the delivery has arrived already, so it is not sent again",
            ),
        });
    }
    (hub.nudge)(&delivery.endpoint);
    let line = Line {
        subject: delivery.id.to_string(),
        event: delivery.event.to_string(),
        decision: "retried",
    };
    let retried = Retried {
        id: delivery.id.to_string(),
        endpoint: delivery.endpoint,
        state: DeliveryState::Due.word(),
    };
    Ok((StatusCode::ACCEPTED, Extension(line), Json(retried)))
}

async fn find(hub: &Hub, id: &str) -> Result<Delivery, Problem> {
    let id = read_id(id, "the id")?;
    let filter = DeliveryFilter {
        ids: vec![id],
        ..DeliveryFilter::default()
    };
    let found = hub.ledger.list_deliveries(&filter, None, 1).await?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| Problem::not_found(format!("there is no delivery {id}")))
}

fn read_id(text: &str, what: &str) -> Result<DeliveryId, Problem> {
    model::read_id(text)
        .ok_or_else(|| Problem::bad_request(format!("{what} is not the id of a delivery, `dlv_…`")))
}

fn read_state(word: &str) -> Result<DeliveryState, Problem> {
    DeliveryState::parse(word).ok_or_else(|| {
        Problem::bad_request("`state` is one of `due`, `held`, `delivered`, `dead` and `folded`")
    })
}
