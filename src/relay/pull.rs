//! Pulling: partners who would rather ask than be told.
//!
//! An endpoint's *feed* is what it was to be told, in the order of acceptance, whether it arrived or not. What is pulled is
//! made as what is sent is: projected by the endpoint's policy as it is now, signed, under the same `webhook-id`; so a
//! receiver of webhooks can take it as it is. Not in it: the headers by which we show an endpoint who we are.
//! Pulling changes nothing but what the partner knows, which is noted ([`note_pulled`]): what is owed is sent all the same,
//! and who pulls keeps the place where they are. Where nothing is sent, because the endpoint has no address, what was pulled
//! has arrived: it may be pulled again as long as it is kept, and what was not is kept until it is.
//! An endpoint that a person paused tells nothing in this way either; one that was disabled because it failed does.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use ledger::{
    About, Attempt, DeliveryFilter, DeliveryState, EventPlace, Ledger, LedgerError, Next, StopKind,
};
use model::{DeliveryId, EventId};

use crate::attempt::message;
use crate::{RelaySettings, disclosure};

/// One event of a feed, as it would be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Its id, which is its `webhook-id`.
    pub event: EventId,
    /// The delivery that it is owed by.
    pub delivery: DeliveryId,
    /// Which record it tells about, and by which terms.
    pub told: Option<About>,
    /// Its type.
    pub event_type: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// Its place in all that the endpoint is sent; none when it is older than these numbers.
    pub sequence: Option<u64>,
    /// What it is sent with, signed at this moment.
    pub headers: BTreeMap<String, String>,
    /// The very bytes that are signed.
    pub body: Bytes,
}

/// A part of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledPart {
    /// In the order of acceptance.
    pub data: Vec<Pulled>,
    /// Where the next part begins.
    pub place: EventPlace,
    /// Whether there is more already.
    pub more: bool,
    /// What cannot be told, each with the reason.
    pub unreadable: Vec<(DeliveryId, String)>,
}

/// Why nothing was pulled.
#[derive(Debug, thiserror::Error)]
pub enum NotPulled {
    /// There is no endpoint of that name.
    #[error("there is no endpoint `{0}`")]
    Unknown(String),
    /// A person paused it.
    #[error("the endpoint `{0}` is paused: {1}")]
    Paused(String, String),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A part of an endpoint's feed after a place. At most `limit` events.
pub async fn pull(
    ledger: &dyn Ledger,
    settings: &RelaySettings,
    endpoint: &str,
    after: EventPlace,
    limit: usize,
    now: Timestamp,
) -> Result<PulledPart, NotPulled> {
    let endpoint = settings
        .endpoint(endpoint)
        .ok_or_else(|| NotPulled::Unknown(endpoint.to_owned()))?;
    let states = ledger.endpoint_states(Some(&endpoint.name)).await?;
    let stop = states.into_iter().next().and_then(|state| state.stop);
    if let Some(stop) = stop.filter(|stop| stop.kind == StopKind::Paused) {
        return Err(NotPulled::Paused(endpoint.name.clone(), stop.reason));
    }
    let feed = ledger.feed(&endpoint.name, after, limit).await?;
    let mut data = Vec::with_capacity(feed.told.len());
    let mut unreadable = Vec::new();
    for due in &feed.told {
        match message(settings, endpoint, due, now) {
            Ok((headers, body)) => data.push(Pulled {
                event: due.event,
                delivery: due.delivery,
                told: disclosure::about(&due.body, &endpoint.terms),
                event_type: due.event_type.clone(),
                received_at: due.received_at,
                sequence: due.sequence,
                headers: headers
                    .iter()
                    .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
                    .collect(),
                body,
            }),
            // Sending it ends in the same way, and its delivery tells so.
            Err(reason) => {
                tracing::warn!(event = %due.event, endpoint = endpoint.name, reason, "an event cannot be pulled");
                unreadable.push((due.delivery, reason));
            }
        }
    }
    Ok(PulledPart {
        data,
        place: feed.place,
        more: feed.more,
        unreadable,
    })
}

/// Notes that the partner itself read a part of its feed, before it gets it; where nothing is sent, it has arrived by that.
pub async fn note_pulled(
    ledger: &dyn Ledger,
    settings: &RelaySettings,
    endpoint: &str,
    part: &PulledPart,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let told = part
        .data
        .iter()
        .filter_map(|one| Some((one.delivery, one.told.clone()?)));
    let told: Vec<(DeliveryId, About)> = told.collect();
    let Some(endpoint) = settings.endpoint(endpoint) else {
        return Ok(());
    };
    if !told.is_empty() {
        ledger.keep_terms(&endpoint.terms).await?;
        ledger.note_pulled(told, now).await?;
    }
    if endpoint.is_only_pulled() {
        let arrived = part.data.iter().map(|one| one.delivery);
        ledger.settle_pulled(arrived.collect()).await?;
        give_up(ledger, &part.unreadable, now).await?;
    }
    Ok(())
}

/// Ends what cannot be told, as sending it would: once, however often it is pulled.
async fn give_up(
    ledger: &dyn Ledger,
    unreadable: &[(DeliveryId, String)],
    now: Timestamp,
) -> Result<(), LedgerError> {
    if unreadable.is_empty() {
        return Ok(());
    }
    let filter = DeliveryFilter {
        ids: unreadable.iter().map(|(delivery, _)| *delivery).collect(),
        ..DeliveryFilter::default()
    };
    let found = ledger.list_deliveries(&filter, None, unreadable.len()).await?;
    let owed = found
        .iter()
        .filter(|delivery| matches!(delivery.state, DeliveryState::Due | DeliveryState::Held));
    let dead = owed.filter_map(|delivery| {
        let (_, reason) = unreadable.iter().find(|(id, _)| *id == delivery.id)?;
        Some(Attempt {
            delivery: delivery.id,
            number: delivery.attempts.saturating_add(1),
            at: now,
            duration_ms: 0,
            status: None,
            error: reason.clone(),
            next: Next::Dead,
            told: None,
        })
    });
    let dead: Vec<Attempt> = dead.collect();
    if dead.is_empty() {
        return Ok(());
    }
    ledger.settle(None, dead).await
}
