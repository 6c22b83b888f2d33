//! `/v1/records/{id}/told`: what partners were told about a record, when, and by which policy.
//!
//! `id` is the name that events have for the record in `data.id`: ours, or a partner's own. Newest first, to one partner
//! with `?partner=`. Of events that are kept no more (`retention`) it is remembered, in `earlier`, how often they were told,
//! and by which policy. A value is in none of it, only where it stood.

use axum::Json;
use axum::extract::Path;
use jiff::Timestamp;
use ledger::Way;
use policy::{Purpose, SharingPolicy};
use relay::{Remembered, Told, remembered, told};
use serde::{Deserialize, Serialize};

use crate::Problem;
use crate::key::Admin;
use crate::query::{Asked, limit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToldQuery {
    partner: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct ToldList {
    /// Newest first.
    data: Vec<ToldView>,
    /// By events that are kept no more, the last first.
    earlier: Vec<RememberedView>,
}

#[derive(Serialize)]
pub(crate) struct RememberedView {
    first_at: Timestamp,
    last_at: Timestamp,
    /// Each attempt that left, and each reading.
    times: u64,
    partner: String,
    endpoint: String,
    event_type: String,
    policy: PolicyView,
    shape: String,
    /// No more than these rules share was told.
    at_most: serde_json::Value,
}

#[derive(Serialize)]
pub(crate) struct ToldView {
    at: Timestamp,
    partner: String,
    endpoint: String,
    event: String,
    event_type: String,
    /// `sent` or `pulled`.
    way: &'static str,
    /// What was answered, where it was sent; nothing when no answer came, and it may have arrived all the same.
    status: Option<u16>,
    policy: PolicyView,
    /// What was shared took this shape; one that a `program` made shows at most what is in `shared`.
    shape: String,
    shared: Vec<SharedView>,
    /// The highest places that were left out.
    held: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct PolicyView {
    name: String,
    purpose: Option<&'static str>,
    agreement: Option<String>,
    until: Option<Timestamp>,
}

#[derive(Serialize)]
pub(crate) struct SharedView {
    path: String,
    /// `plainly`, `bucketed` or `masked`.
    shown: &'static str,
}

impl From<SharingPolicy> for PolicyView {
    fn from(policy: SharingPolicy) -> PolicyView {
        PolicyView {
            name: policy.name,
            purpose: policy.purpose.map(Purpose::word),
            agreement: policy.agreement,
            until: policy.until,
        }
    }
}

impl From<Remembered> for RememberedView {
    fn from(remembered: Remembered) -> RememberedView {
        RememberedView {
            first_at: remembered.first_at,
            last_at: remembered.last_at,
            times: remembered.times,
            partner: remembered.partner,
            endpoint: remembered.endpoint,
            event_type: remembered.event_type,
            at_most: remembered.policy.rules.summary(),
            policy: remembered.policy.into(),
            shape: remembered.shape,
        }
    }
}

impl From<Told> for ToldView {
    fn from(told: Told) -> ToldView {
        let (way, status) = match told.way {
            Way::Sent(status) => ("sent", status),
            Way::Pulled => ("pulled", None),
        };
        let shared = told.fields.shared.into_iter().map(|(path, shown)| SharedView {
            path,
            shown: shown.word(),
        });
        ToldView {
            at: told.at,
            partner: told.partner,
            endpoint: told.endpoint,
            event: told.event.to_string(),
            event_type: told.event_type,
            way,
            status,
            policy: told.policy.into(),
            shape: told.shape,
            shared: shared.collect(),
            held: told.fields.held.into_iter().collect(),
        }
    }
}

/// What was told about a record.
pub(crate) async fn list(
    Admin(hub): Admin,
    Path(id): Path<String>,
    Asked(query): Asked<ToldQuery>,
) -> Result<Json<ToldList>, Problem> {
    let (partner, limit) = (query.partner.as_deref(), limit(query.limit)?);
    let all = told(&*hub.ledger, &id, partner, limit).await?;
    let earlier = remembered(&*hub.ledger, &id, partner, limit).await?;
    Ok(Json(ToldList {
        data: all.into_iter().map(ToldView::from).collect(),
        earlier: earlier.into_iter().map(RememberedView::from).collect(),
    }))
}
