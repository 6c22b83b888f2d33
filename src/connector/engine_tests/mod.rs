//! The engine against a server that answers by script, with the connectors of this repository.

mod auth;
mod batching;
mod calls;
mod findings;
mod paging;
mod proofs;
mod reading;
mod remote;
mod replays;
mod replays_odata;
mod signatures;
mod webhooks;
mod writing;
