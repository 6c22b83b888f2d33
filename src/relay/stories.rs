//! Stories of events that are accepted and sent, with a real ledger, a real sender and real sockets.

mod endpoints;
mod folding;
mod forgetting;
mod hops;
mod intake;
mod lease;
mod outcomes;
mod pulling;
mod replays;
mod stage;
mod staying;
mod stream;
