//! The engine against a system that answers as a test lets it, and a ledger that can be held between two calls.

mod actions;
mod census;
mod crossing;
mod deleting;
mod dispute;
mod duplicates;
mod fields;
pub(crate) mod held;
mod hints;
mod journeys;
mod lanes;
mod left_out;
mod meeting;
mod merges;
mod parked;
mod posted;
mod reconciling;
mod resolving;
mod review;
mod runs;
mod shelf;
mod stage;
mod stopping;
mod unheard;
mod united;
mod unlinked;
mod waiting;
