//! Stories over real HTTP: a server on a free port, a real ledger, a real client.

mod api;
mod bounds;
mod conflicts;
mod events;
mod feed;
mod hooks;
mod journeys;
mod redirect;
mod replays;
mod stage;
