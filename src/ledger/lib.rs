//! The one source of truth, in SQLite or PostgreSQL.
//!
//! The contract ([`Ledger`]) is batch-shaped and named by purpose: events with their *deliveries* and *attempts*
//! ([`Deliveries`]), *records* with links, history, and what sync owes ([`Records`]), their *conflicts* ([`Conflicts`]),
//! where they went ([`Journeys`]), what persons did with them ([`Journal`]), who may work on what ([`Leases`]) and who sends to
//! which endpoint ([`Turns`]), and the rest ([`Upkeep`]). [`open()`] gives
//! a store that keeps it.
//!
//! Promised: every answer to a write means on disk; writes that wait at the same moment share a transaction and one
//! bad one takes back only itself; a write with a lost lease or against an old version writes nothing at all; two
//! nodes may use one PostgreSQL, two processes one SQLite file. The ledger reads no clock: time is handed in.
//! Not promised: order among writes that wait at the same moment, but for events: who was answered before another
//! began comes first.

mod conflict;
mod contract;
mod fold;
mod journal;
mod journey;
mod open;
mod overlay;
mod postgres;
mod seen;
mod sqlite;
mod stored;

#[cfg(test)]
mod suite;

pub use conflict::*;
pub use contract::*;
pub use journal::{Action, ActionFilter, Journal};
pub use journey::*;
pub use open::{Durability, OpenError, Settings, open};
pub use overlay::overlay;
pub use seen::Seen;

/// The tables that [`Upkeep::row_counts`] counts, in its order.
const TABLES: [&str; 19] = [
    "records",
    "history",
    "match_keys",
    "links",
    "conflicts",
    "pushes",
    "pushed",
    "parked",
    "cursors",
    "events",
    "deliveries",
    "attempts",
    "terms",
    "pulls",
    "remembered",
    "refusals",
    "runs",
    "leases",
    "actions",
];
