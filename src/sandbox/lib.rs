//! Emulated systems and partners, with faults: Salesforce, HubSpot, and partners that receive webhooks.
//!
//! A [`Sandbox`] opens one port per system and partner and keeps everything in memory.
//! It is good enough that the systems' own client libraries work against it (`tests/clients/` holds them to that),
//! and bad enough on request: [`faults`](FaultBook) switch on limits, outages, expired tokens, a lagging search index,
//! refused rows, cut connections and slow answers.
//!
//! It speaks HTTP only and shares no code with any other crate of this workspace: it is what the connectors are
//! checked against, so a misreading of a system's protocol must not be shared between the two.
//!
//! Promised: the same seed and clock give the same identifiers and stamps; every store has a named limit.
//! Not promised: to be secure. Its credentials are public constants; it belongs on a loopback address.

mod calls;
mod clock;
mod control;
mod faults;
mod gate;
mod listen;
mod mac;
mod post;
mod random;
mod running;
mod secret;
mod wire;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub mod hubspot;
pub mod partner;
pub mod salesforce;

pub use calls::{CALLS_KEPT_MAX, Call, Calls, Class, RouteCount};
pub use clock::{Clock, ManualClock, SystemClock};
pub use control::RowError;
pub use faults::{DELAY_MS_MAX, FAULTS_MAX, Fault, FaultBook, LimitPolicy, Reach, Switch, TooManyFaults};
pub use listen::ListenError;
pub use running::{PartnerSettings, Running, Sandbox, Settings, StartError};
pub use secret::Secret;

/// The largest body any port takes.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
