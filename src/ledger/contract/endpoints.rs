//! How endpoints stand: stopped or not, and how they have answered lately.

use async_trait::async_trait;
use jiff::Timestamp;

use super::LedgerError;

/// Why nothing is sent to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    /// A person said so.
    Paused,
    /// It said that it is gone, or failed for too long.
    Disabled,
}

impl StopKind {
    /// The kind's word in rows, API and command line.
    pub fn word(self) -> &'static str {
        match self {
            StopKind::Paused => "paused",
            StopKind::Disabled => "disabled",
        }
    }

    /// The kind of a word.
    pub fn parse(word: &str) -> Option<StopKind> {
        [StopKind::Paused, StopKind::Disabled]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

/// Nothing is sent to an endpoint until a person lets it go on; what comes for it meanwhile is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Why.
    pub kind: StopKind,
    /// Why, for a person.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// How an endpoint has answered lately. That of one which is well, or was never sent to, is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Tries in a row that failed by the endpoint's own fault.
    pub failures: u32,
    /// Tries in a row that did not arrive, for whatever reason.
    pub failed: u32,
    /// When the first of those ended.
    pub failing_since: Option<Timestamp>,
    /// How often in a row its breaker opened; 0 while it is closed.
    pub opened: u32,
    /// Nothing is sent before.
    pub rest_until: Option<Timestamp>,
    /// When the newest try began, of an endpoint with a rate.
    pub sent_at: Option<Timestamp>,
}

impl Health {
    /// Until when nothing may be sent, if that is still to come.
    pub fn rests_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.rest_until.filter(|until| *until > now)
    }
}

/// How an endpoint stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointState {
    /// Its name.
    pub endpoint: String,
    /// Why nothing is sent to it, if that is so.
    pub stop: Option<Stop>,
    /// How it has answered lately.
    pub health: Health,
}

impl EndpointState {
    /// That of an endpoint of which nothing was ever noted.
    pub fn new(endpoint: &str) -> EndpointState {
        EndpointState {
            endpoint: endpoint.to_owned(),
            ..EndpointState::default()
        }
    }

    /// Until when nothing may be sent to it; for ever while it is stopped.
    pub fn left_alone_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.stop {
            Some(_) => Some(Timestamp::MAX),
            None => self.health.rests_until(now),
        }
    }
}

/// How endpoints stand.
#[async_trait]
pub trait Endpoints: Send + Sync {
    /// Stops an endpoint by hand, or lets it go on, with a health like new; answers how it stood before.
    async fn stop_endpoint(&self, endpoint: &str, stop: Option<&Stop>) -> Result<EndpointState, LedgerError>;
    /// How endpoints stand, by name; one alone when it is named. Those of which nothing was ever noted are left out.
    async fn endpoint_states(&self, endpoint: Option<&str>) -> Result<Vec<EndpointState>, LedgerError>;
}
