//! What a connector manifest may say, and the engine that obeys it.
//!
//! A [`Connector`] is a compiled `connector.yaml`; with [`Settings`] it becomes a [`Connection`], an authorised account
//! that reads what changed ([`Connection::changes`]), reads by id, writes in batches, understands webhooks and listens to streams.
//!
//! Promised: adding a system needs no Rust; every expression of a manifest is compiled when it is loaded; every write has
//! one outcome; nothing is repeated that could make a second object; every wait, page, batch and body has a bound; no
//! secret reaches a log, an error or debug output; webhooks are verified before they are parsed.
//! Not here: what a lead or a deal is. Objects go in and out as the system's own JSON; `mapping` gives them meaning.

mod associate;
mod auth;
mod avro;
mod call;
mod calls;
mod change_event;
mod classify;
mod clock;
mod codec;
mod connection;
mod connector;
mod delete;
#[cfg(test)]
mod engine_tests;
mod expressions;
mod failure;
mod flat;
mod forecast;
mod job;
mod jwt;
mod lane;
mod limiter;
mod lint;
mod lookup;
mod manifest;
mod multipart;
mod names;
mod oauth1;
mod outcome;
mod pages;
mod posted;
mod proof;
mod pubsub;
mod read;
mod read_job;
mod rehearsal;
mod sampled;
mod secret;
mod settings;
#[cfg(test)]
mod shipped_tests;
mod sign_in;
mod stream;
mod table;
mod template;
#[cfg(test)]
mod testing;
mod transition;
mod verify;
mod webhook;
mod window;
mod write;
mod write_job;
mod zone;

pub use auth::{MemoryTokens, REFUSED_MS, TokenError, TokenStore};
pub use call::{BACKOFF_BASE_MS, BACKOFF_MAX_MS, CALL_DEADLINE_MS, RETRY_AFTER_MAX_MS, TRIES_MAX};
pub use calls::CallCount;
pub use clock::{Clock, SystemClock};
pub use connection::{Connection, FieldInfo, Identity, LeftOut, MergedInto, Object, Outcome, Page, Write};
pub use connector::{AuthInfo, Connector};
pub use failure::{Action, Class, Failure, MESSAGE_MAX, RecordClass, RecordError};
pub use forecast::Forecast;
pub use job::{POLL_WAIT_MAX_MS, POLLS_MAX};
pub use lane::{BACKFILL_PERCENT, Lane, RETRY_PERCENT};
pub use limiter::LIMIT_WAIT_MAX_MS;
pub use lint::Linter;
pub use manifest::Census;
pub use multipart::PARTS_MAX;
pub use pages::PAGES_MAX;
pub use posted::Posted;
pub use program::OUTPUTS_MAX;
pub use read::{ASSOCIATION_PAGES_MAX, WINDOWS_MAX};
pub use sampled::Sampled;
pub use secret::{Secret, Secrets};
pub use settings::Settings;
pub use sign_in::SignIn;
pub use stream::{Heard, Listening};
pub use verify::{AHEAD_MAX_MS, SIGNATURES_MAX, TOLD_MAX, UNVERIFIED_BYTES_MAX, Verified};
pub use webhook::{Answer, CHALLENGE_CHARS_MAX, Hint, Incoming, Received, Refusal};
pub use write::{LOCKED_TRIES_MAX, SINGLED_OUT_MAX};
pub use write_job::{JOB_AGE_MAX_MS, JOB_BYTES_MAX, JOB_WAIT_MS};
