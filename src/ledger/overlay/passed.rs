//! What an overlay passes on: to its own database, to the ledger below, or to both.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use model::{DeliveryId, EventId, ReplayId};

use super::Overlay;
use crate::*;

/// Passes methods on: to the overlay's own database, or to the ledger below, or to both.
macro_rules! pass_on {
    ($contract:ident { $($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty, $to:ident;)* }) => {
        #[async_trait]
        impl $contract for Overlay {
            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer, LedgerError> {
                pass_on!(before self $name $($argument)*);
                pass_on!($to self $name $($argument)*)
            })*
        }
    };
    (before $self:ident note_standing $($argument:ident)*) => { $self.take_over_upkeep().await? };
    (before $self:ident standings $($argument:ident)*) => { $self.take_over_upkeep().await? };
    (before $self:ident quarantine $($argument:ident)*) => { $self.take_over_upkeep().await? };
    (before $self:ident quarantined $($argument:ident)*) => { $self.take_over_upkeep().await? };
    (before $self:ident release_fields $($argument:ident)*) => { $self.take_over_upkeep().await? };
    (before $self:ident owed $($argument:ident)*) => { $self.take_over_owed().await? };
    (before $self:ident due $endpoint:ident $now:ident $limit:ident) => { $self.take_over_inlet($endpoint, $now).await? };
    (before $self:ident $other:ident $($argument:ident)*) => {};
    (both $self:ident $name:ident $($argument:ident)*) => {{
        let mut all = $self.below.$name($($argument),*).await?;
        all.extend($self.own.$name($($argument),*).await?);
        Ok(all)
    }};
    ($to:ident $self:ident $name:ident $($argument:ident)*) => { $self.$to.$name($($argument),*).await };
}

pass_on! { Leases {
    lease(key: &str, holder: &str, now: Timestamp, until: Timestamp) -> Option<Lease>, own;
    renew(lease: &Lease, until: Timestamp) -> bool, own;
    is_leased(key: &str, now: Timestamp) -> bool, own;
    release(lease: &Lease) -> (), own;
} }

pass_on! { Upkeep {
    owed() -> Owed, own;
    note_run(run: &Run) -> (), own;
    runs(limit: usize) -> Vec<Run>, own;
    note_standing(standing: &Standing) -> (), own;
    standings(connection: Option<&str>) -> Vec<Standing>, own;
    backlog(objects: &[(String, String)], endpoints: &[String], most: usize) -> Backlog, own;
    quarantine(field: &Quarantined) -> (), own;
    release_fields(connection: &str, object: &str, fields: &[String]) -> (), own;
    quarantined(of: Option<(&str, &str)>) -> Vec<Quarantined>, own;
    keep_sealed(name: &str, sealed: &[u8]) -> (), below;
    sealed(name: &str) -> Option<Vec<u8>>, below;
    check() -> (), own;
    row_counts() -> Vec<(String, u64)>, own;
} }

pass_on! { Deliveries {
    accept(events: Vec<NewEvent>) -> Vec<Accepted>, own;
    due(endpoint: &str, now: Timestamp, limit: usize) -> Vec<Due>, own;
    settle(lease: Option<&Lease>, attempts: Vec<Attempt>) -> (), own;
    endpoints_due() -> Vec<(String, Timestamp)>, own;
    endpoint_due(endpoint: &str) -> Option<Timestamp>, own;
    list_deliveries(filter: &DeliveryFilter, after: Option<DeliveryId>, limit: usize) -> Vec<Delivery>, own;
    attempts(delivery: DeliveryId) -> Vec<Attempt>, own;
    retry(filter: &DeliveryFilter, at: Timestamp) -> u64, own;
    event(id: EventId) -> Option<NewEvent>, own;
    sequences(endpoint: Option<&str>) -> Vec<EndpointSequence>, own;
    list_events(filter: &EventFilter, after: Option<EventId>, limit: usize) -> Vec<EventRow>, own;
    refuse(refusals: Vec<Refusal>) -> (), own;
    refusals(limit: usize) -> Vec<Refusal>, own;
} }

pass_on! { Disclosures {
    keep_terms(terms: &Terms) -> (), own;
    note_pulled(pulled: Vec<(DeliveryId, About)>, at: Timestamp) -> (), own;
    disclosed(record: &str, partner: Option<&str>, limit: usize) -> Vec<Disclosed>, own;
    remembered(record: &str, partner: Option<&str>, limit: usize) -> Vec<Remembered>, own;
    told(asked: &BTreeSet<(String, String)>, source: &str) -> BTreeSet<(String, String)>, both;
} }

pass_on! { Endpoints {
    stop_endpoint(endpoint: &str, stop: Option<&Stop>) -> EndpointState, own;
    endpoint_states(endpoint: Option<&str>) -> Vec<EndpointState>, own;
} }

pass_on! { Turns {
    begin_turn(endpoint: &str, holder: &str, now: Timestamp, until: Timestamp, limit: usize) -> Option<Turn>, own;
    look(endpoint: &str, now: Timestamp, limit: usize) -> Look, own;
    keep_turn(lease: &Lease, endpoint: &str, until: Timestamp) -> Option<bool>, own;
    end_turn(lease: &Lease, endpoint: &str, note: Option<Note>) -> Option<Timestamp>, own;
    written_elsewhere() -> Option<u64>, own;
} }

pass_on! { Replays {
    count_wanted(wanted: &Wanted) -> u64, own;
    begin_replay(replay: &Replay) -> (), own;
    step_replay(lease: &Lease, id: ReplayId, limit: usize, at: Timestamp) -> ReplayStep, own;
    cancel_replay(id: ReplayId, at: Timestamp) -> bool, own;
    replay(id: ReplayId) -> Option<Replay>, own;
    replays(state: Option<ReplayState>, limit: usize) -> Vec<Replay>, own;
} }

pass_on! { Feeds {
    feed(endpoint: &str, after: EventPlace, limit: usize) -> Feed, own;
    settle_pulled(deliveries: Vec<DeliveryId>) -> (), own;
    feed_end() -> EventPlace, own;
} }

pass_on! { Folds {
    fold(lease: &Lease, first: &[DeliveryId], in_flight: &[DeliveryId]) -> u64, own;
} }

pass_on! { Retention {
    forget_events(lease: &Lease, old: &OldEvents, after: EventPlace, limit: usize) -> Forgotten, own;
} }
