//! Stories of events that are accepted and sent, with a real ledger, a real sender and real sockets.

#![expect(clippy::unwrap_used, reason = "what is unexpected ends a test at once")]

mod intake;
mod lease;
mod outcomes;
mod stage;
mod stream;
