//! The engine against a server that answers by script, with the connectors of this repository.

mod auth;
mod batching;
mod calls;
mod chosen;
mod deleting;
mod findings;
mod forecasts;
mod jobs;
mod lookups;
mod paging;
mod parties;
mod proofs;
mod read_jobs;
mod reading;
mod remote;
mod replays;
mod replays_odata;
mod signatures;
mod streams;
mod webhooks;
mod write_jobs;
mod writing;
