//! Stories: whole journeys through the real binary, against real parts.
//!
//! Each story starts what it needs on free ports and stops it again; none depends on another.
//! What is waited for is a condition with a generous deadline, never a span of time.

mod accounts;
mod actions;
mod bulk;
mod census;
mod certificates;
mod chaos;
mod check;
mod clients;
mod clock;
mod conflicts;
mod custom;
mod deletes;
mod demo;
mod drift;
mod economy;
mod endpoints;
mod errors;
mod events;
mod findings;
mod harness;
mod hooks;
mod invented;
mod kill;
mod libraries;
mod map;
mod metrics;
mod names;
mod owners;
mod partners;
mod plan;
mod posted;
mod proxy;
mod scaffold;
mod schema;
mod sharing;
mod signing;
mod soak;
mod standing;
mod starting;
mod stopping;
mod streams;
mod systems;
mod tokens;
mod trial;
