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
