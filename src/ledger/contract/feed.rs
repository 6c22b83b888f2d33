//! What an endpoint was to be told, for those who read it by themselves.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use model::DeliveryId;

use super::{Due, EventPlace, LedgerError};

/// Events that are looked through for a page of a feed, at most: those of other endpoints count.
pub const FEED_LOOK_MAX: i64 = 5_000;

/// A part of an endpoint's feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// What it was to be told, in the order of acceptance, whatever became of it.
    pub told: Vec<Due>,
    /// Where the next part begins: everything before it is in this part or in those before.
    pub place: EventPlace,
    /// Whether there is more already; this part may be empty all the same.
    pub more: bool,
}

/// Feeds of endpoints.
#[async_trait]
pub trait Feeds: Send + Sync {
    /// What an endpoint was to be told after a place, as far as it is kept. At most `limit`, of at most
    /// [`FEED_LOOK_MAX`] events.
    ///
    /// Nothing ever turns up before the place that is answered: an event that is being written at this moment, by this
    /// node or by another one, comes after it or in it.
    async fn feed(&self, endpoint: &str, after: EventPlace, limit: usize) -> Result<Feed, LedgerError>;
    /// Whom these deliveries are for has read them, so they have arrived, those too that were given up before; those that
    /// were folded stay so.
    async fn settle_pulled(&self, deliveries: Vec<DeliveryId>) -> Result<(), LedgerError>;
    /// The place after all that is there now.
    async fn feed_end(&self) -> Result<EventPlace, LedgerError>;
}

/// Text that is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a place in a feed")]
pub struct NoPlace;

impl fmt::Display for EventPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at_{}", self.0)
    }
}

impl FromStr for EventPlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<EventPlace, NoPlace> {
        let number = text.strip_prefix("at_").and_then(|number| number.parse().ok());
        number
            .filter(|number| *number >= 0)
            .map(EventPlace)
            .ok_or(NoPlace)
    }
}

/// How far a look goes that begins after a place, where `first` and `end` are the first and the last event that is there.
pub(crate) fn look_until(after: EventPlace, first: i64, end: i64) -> (i64, i64) {
    let from = after.0.max(first.saturating_sub(1));
    (from, end.min(from.saturating_add(FEED_LOOK_MAX)).max(from))
}

/// A part of a feed from what a look found.
pub(crate) fn part(found: Vec<(Due, i64)>, limit: usize, until: i64, end: i64) -> Feed {
    let full = found.len() >= limit;
    let place = found.last().filter(|_| full).map_or(until, |(_, seq)| *seq);
    Feed {
        told: found.into_iter().map(|(due, _)| due).collect(),
        place: EventPlace(place),
        more: place < end,
    }
}
