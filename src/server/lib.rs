//! The HTTP surface.
//!
//! [`router()`] is the table of contents: webhooks in under `/hooks`, the admin's API under `/v1`, health and metrics at the root.
//! [`serve()`] runs it on a socket, within the bounds of [`ServerSettings`]. A handler file mirrors its address.
//! An error is a [`Problem`] (RFC 9457) with two messages, one for the caller and one for the log, joined by the trace
//! id; its status is a type that cannot be a success.
//!
//! Promised: a 202 means on disk; every body, header, connection, request and wait has a limit; every refused webhook
//! leaves a trace; one line in the log for each request, without bodies and secrets; the API is closed without a key
//! unless nobody but this machine can reach it.
//! Not here: what a webhook of a system looks like ([`SystemHooks`] is handed in), TLS (a proxy in front has it), the
//! console.

mod bodies;
mod body;
mod health;
mod hooks;
mod hub;
mod key;
mod listen;
mod metrics;
mod places;
mod problem;
mod query;
mod redirect;
mod router;
mod settings;
#[cfg(test)]
mod stories;
mod v1;
mod watch;

pub use hooks::{HookAnswer, HookRefusal, IncomingParts, SystemHooks};
pub use hub::{Hub, HubParts};
pub use key::{API_KEY_CHARS_MIN, ApiKey, BadApiKey};
pub use listen::serve;
pub use metrics::{Metric, MetricKind, Metrics};
pub use problem::{ErrorStatus, Problem};
pub use redirect::{Brought, Redirect};
pub use router::router;
pub use settings::{BadServerSetting, ServerSettings};
pub use v1::conflicts::Decisions;
