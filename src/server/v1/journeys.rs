//! `/v1/records/{id}/journey`: what brought a change of a record, and where it went.

use axum::Json;
use axum::extract::Path;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sync::{Journey, Stop, Which, journeys};

use crate::Problem;
use crate::key::Admin;
use crate::query::Asked;
use crate::v1::deliveries::DeliveryView;
use crate::v1::records::{ChangeView, read_id};

/// The last change, when neither is said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JourneyQuery {
    version: Option<u64>,
    trace: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct JourneysView {
    /// Oldest first.
    data: Vec<JourneyView>,
}

#[derive(Serialize)]
struct JourneyView {
    record: String,
    version: u64,
    trace: String,
    changes: Vec<ChangeView>,
    /// What subscribers were told, if anything.
    event: Option<EventView>,
    systems: Vec<StopView>,
}

#[derive(Serialize)]
struct EventView {
    id: String,
    deliveries: Vec<DeliveryView>,
}

#[derive(Serialize)]
struct StopView {
    connection: String,
    object: String,
    external_id: String,
    /// `source`, `written`, `refused`, `owed`, `nothing` (to write) or `gone`.
    state: &'static str,
    /// The version that it had been written before.
    from_version: Option<u64>,
    writes: Vec<WriteView>,
}

#[derive(Serialize)]
struct WriteView {
    at: Timestamp,
    version: u64,
    /// `created`, `written`, `gone`, `refused` or `unheard`.
    outcome: &'static str,
    detail: String,
    run: String,
}

impl From<Journey> for JourneyView {
    fn from(journey: Journey) -> JourneyView {
        JourneyView {
            record: journey.record.to_string(),
            version: journey.version,
            trace: journey.trace,
            changes: journey.changes.into_iter().map(ChangeView::from).collect(),
            event: journey.event.map(|(id, deliveries)| EventView {
                id: id.to_string(),
                deliveries: deliveries.into_iter().map(DeliveryView::from).collect(),
            }),
            systems: journey.stops.into_iter().map(StopView::from).collect(),
        }
    }
}

impl From<Stop> for StopView {
    fn from(stop: Stop) -> StopView {
        let writes = stop.writes.into_iter().map(|write| WriteView {
            at: write.at,
            version: write.version,
            outcome: write.outcome.word(),
            detail: write.detail,
            run: write.run.to_string(),
        });
        StopView {
            connection: stop.connection,
            object: stop.object,
            external_id: stop.external_id,
            state: stop.end.word(),
            from_version: stop.before,
            writes: writes.collect(),
        }
    }
}

/// The journeys of one or several changes.
pub(crate) async fn show(
    Admin(hub): Admin,
    Path(id): Path<String>,
    Asked(query): Asked<JourneyQuery>,
) -> Result<Json<JourneysView>, Problem> {
    let id = read_id(&id)?;
    let which = match (query.version, query.trace) {
        (None, None) => Which::Last,
        (Some(version), None) => Which::Version(version),
        (None, Some(trace)) => Which::Trace(trace),
        (Some(_), Some(_)) => return Err(Problem::bad_request("say either `version` or `trace`")),
    };
    let found = journeys(&*hub.ledger, id, &which).await?;
    if found.is_empty() {
        return Err(Problem::not_found(format!("there is no such change of {id}")));
    }
    Ok(Json(JourneysView {
        data: found.into_iter().map(JourneyView::from).collect(),
    }))
}
