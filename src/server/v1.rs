//! `/v1`: the admin's API. What is served has types of its own, so that rows and records may change without it.

pub(crate) mod actions;
pub(crate) mod conflicts;
pub(crate) mod deliveries;
pub(crate) mod endpoints;
pub(crate) mod errors;
pub(crate) mod event_types;
pub(crate) mod events;
pub(crate) mod feed;
pub(crate) mod journeys;
pub(crate) mod records;
pub(crate) mod refusals;
pub(crate) mod replays;
pub(crate) mod told;

/// Does what a person asked for to its end, though they go away: half way it would hold still whatever it is about, or leave
/// what it makes owed to whoever sweeps the ledger.
pub(crate) async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let died = match tokio::spawn(work).await {
        Ok(done) => return done,
        Err(died) => died,
    };
    std::panic::resume_unwind(died.into_panic())
}
