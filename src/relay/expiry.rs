//! [`SecretWatch`]: tells of secrets that are to be replaced soon, once at each step, to those who subscribe to it.
//!
//! Until when a secret is to be used is what a person wrote down, and for a certificate what stands in it; the hub goes on
//! using it, and only tells.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use ledger::{Accepted, Ledger, LedgerError, NewDelivery, NewEvent};
use model::{DeliveryId, EventId, EventType, uuid_from};
use serde_json::json;

use crate::handed::{Clock, Nudge, Random};
use crate::notice::SOURCE;
use crate::{RelaySettings, Said};

/// How many days before the end it is told; the last one means that the end has come.
pub const TOLD_DAYS_BEFORE: [i64; 4] = [30, 7, 1, 0];
const DAY_S: i64 = 86_400;

/// What sort of secret it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiring {
    /// What is signed with.
    Secret,
    /// A certificate that we show.
    Certificate,
}

impl Expiring {
    fn word(self) -> &'static str {
        match self {
            Expiring::Secret => "secret",
            Expiring::Certificate => "certificate",
        }
    }
}

/// A secret, without itself, and until when it is to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// What sort it is.
    pub what: Expiring,
    /// Whose it is.
    pub partner: String,
    /// The endpoint that is signed for with it; none when the partner signs with it.
    pub endpoint: Option<String>,
    /// Which of the list it is, from 1.
    pub number: usize,
    /// Until when it is to be used.
    pub at: Timestamp,
}

impl Expiry {
    /// Whose it is, as its events are about.
    fn owner(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(&self.partner)
    }

    /// How many days before the end it is to be told now, if it is.
    fn step(&self, now: Timestamp) -> Option<i64> {
        let left_s = self.at.as_second() - now.as_second();
        let mut reached = TOLD_DAYS_BEFORE.into_iter().filter(|days| left_s <= days * DAY_S);
        reached.next_back()
    }
}

/// Looks at all secrets that have an end.
pub struct SecretWatch {
    ledger: Arc<dyn Ledger>,
    settings: Arc<RelaySettings>,
    expiries: Vec<Expiry>,
    nudge: Nudge,
    clock: Clock,
    random: Random,
}

impl fmt::Debug for SecretWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretWatch")
            .field("expiries", &self.expiries)
            .finish_non_exhaustive()
    }
}

impl SecretWatch {
    /// A watch. `nudge` is called for endpoints that hear of it.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        settings: Arc<RelaySettings>,
        expiries: Vec<Expiry>,
        nudge: Nudge,
        clock: Clock,
        random: Random,
    ) -> SecretWatch {
        SecretWatch {
            ledger,
            settings,
            expiries,
            nudge,
            clock,
            random,
        }
    }

    /// Tells of each secret that has come nearer to its end than the last step that was told; answers how many.
    ///
    /// May be called at any time, by any node: what was told is known by the ledger, as long as its event is kept.
    pub async fn round(&self) -> Result<usize, LedgerError> {
        let now = (self.clock)();
        let due = self
            .expiries
            .iter()
            .filter_map(|expiry| Some((expiry, expiry.step(now)?)));
        let events: Vec<NewEvent> = due.map(|(expiry, days)| self.event(expiry, days, now)).collect();
        if events.is_empty() {
            return Ok(0);
        }
        let answers = self.ledger.accept(events.clone()).await?;
        let told = events
            .iter()
            .zip(answers)
            .filter(|(_, answer)| matches!(answer, Accepted::New(_)));
        let mut count = 0;
        for (event, _) in told {
            count += 1;
            tracing::warn!(secret = event.dedupe, "a secret is to be replaced");
            event
                .deliveries
                .iter()
                .for_each(|delivery| (self.nudge)(&delivery.endpoint));
        }
        Ok(count)
    }

    fn event(&self, expiry: &Expiry, days: i64, now: Timestamp) -> NewEvent {
        let event_type = EventType::SECRET_EXPIRING;
        let id = uuid_from(now, (self.random)());
        let owner = expiry.owner();
        let body = json!({
            "type": event_type.name(),
            "timestamp": now.to_string(),
            "data": {
                "id": owner,
                "partner": expiry.partner,
                "endpoint": expiry.endpoint,
                "kind": expiry.what.word(),
                "number": expiry.number,
                "expires_at": expiry.at.to_string(),
                "expired": days == 0,
            },
        });
        let body = Bytes::from(body.to_string());
        let said = Said::new(&event_type, SOURCE, None, &body);
        let deliveries = self.settings.subscribers(&said).map(|endpoint| NewDelivery {
            id: DeliveryId::from_uuid(uuid_from(now, (self.random)())),
            endpoint: endpoint.name.clone(),
            line: endpoint.line(&event_type, SOURCE, Some(owner)),
        });
        let deliveries = deliveries.collect();
        let kind = match (expiry.what, &expiry.endpoint) {
            (Expiring::Certificate, _) => "certificate",
            (Expiring::Secret, Some(_)) => "endpoint",
            (Expiring::Secret, None) => "partner",
        };
        NewEvent {
            id: EventId::from_uuid(id),
            event_type: event_type.name().to_owned(),
            source: SOURCE.to_owned(),
            dedupe: format!(
                "{event_type}/{kind}/{owner}/{}/{}/{days}",
                expiry.number, expiry.at
            ),
            body,
            received_at: now,
            trace: id.simple().to_string(),
            hops: String::new(),
            arrival: String::new(),
            deliveries,
        }
    }
}
