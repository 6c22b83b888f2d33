//! What the hub says about its own endpoints: operational events, to those who subscribe to them by name.

use bytes::Bytes;
use jiff::Timestamp;
use ledger::{Health, NewDelivery, NewEvent};
use model::{DeliveryId, EventId, EventType, uuid_from};
use serde_json::json;

use crate::handed::Random;
use crate::{Endpoint, RelaySettings, Said};

/// Who says what the hub finds itself.
pub const SOURCE: &str = "interconnect";

/// The event that an endpoint's state changed, for everybody who asked for it but the endpoint itself.
pub(crate) fn notice(
    settings: &RelaySettings,
    random: &Random,
    endpoint: &Endpoint,
    event_type: &EventType,
    (reason, health): (&str, &Health),
    now: Timestamp,
) -> NewEvent {
    let id = uuid_from(now, random());
    let body = json!({
        "type": event_type.name(),
        "timestamp": now.to_string(),
        "data": {
            "id": endpoint.name,
            "partner": endpoint.partner,
            "reason": reason,
            "failures": health.failures,
            "failing_since": health.failing_since.map(|at| at.to_string()),
            "rest_until": health.rest_until.map(|at| at.to_string()),
        },
    });
    let body = Bytes::from(body.to_string());
    let said = Said::new(event_type, SOURCE, None, &body);
    let others = settings.subscribers(&said);
    let others = others.filter(|other| other.name != endpoint.name);
    let deliveries = others.map(|other| NewDelivery {
        id: DeliveryId::from_uuid(uuid_from(now, random())),
        endpoint: other.name.clone(),
        line: other.line(event_type, SOURCE, Some(&endpoint.name)),
    });
    let deliveries = deliveries.collect();
    NewEvent {
        id: EventId::from_uuid(id),
        event_type: event_type.name().to_owned(),
        source: SOURCE.to_owned(),
        dedupe: format!("{event_type}/{}/{}", endpoint.name, id.simple()),
        body: body.clone(),
        received_at: now,
        trace: id.simple().to_string(),
        hops: String::new(),
        arrival: String::new(),
        deliveries,
    }
}
