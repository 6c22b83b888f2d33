//! Stories over real HTTP: a server on a free port, a real ledger, a real client.

#![expect(clippy::unwrap_used, reason = "what is unexpected ends a test at once")]

mod api;
mod bounds;
mod hooks;
mod stage;
