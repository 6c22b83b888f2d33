//! Webhooks from partner to partner: intake, fan-out, delivery.
//!
//! A *partner* posts an *event*, signed as Standard Webhooks 1.0.0 say; [`Intake`] makes it durable together with one
//! *delivery* for each *endpoint* with a [`Subscription`] that it fits. [`Deliverer`] sends them: projected by the endpoint's policy,
//! signed, one *attempt* after the other as [`Schedule`] says, until it arrived or is dead.
//!
//! Promised: a receipt means on disk; what is accepted is delivered at least once, under the same `webhook-id` each
//! time, or ends as dead, which a person can retry; endpoints do not wait for each other; one node at a time sends to
//! an endpoint, by a fenced lease; nothing is parsed before it is verified; time and randomness are handed in.
//! To each endpoint: no more at once and in a second than it may get, across nodes and restarts; in order for each
//! record where it asks for that ([`Order`]), retries included; left alone while it fails ([`breaker`]).
//! Not promised: exactly once (a receiver that counts must know the ids); order without [`Order::Record`], beyond that
//! first tries begin in the order of acceptance where `in_flight_max` is 1.

mod again;
mod alone;
mod arrival;
mod attempt;
pub mod breaker;
mod deliver;
mod disclosure;
mod dispatch;
mod endpoint;
mod expiry;
mod finding;
mod folding;
mod forget;
mod handed;
mod handover;
pub mod hops;
mod inlet;
mod intake;
mod notice;
mod pace;
mod pull;
mod quota;
mod reading;
mod refusals;
mod replay;
mod run;
pub mod schedule;
mod secret;
mod sequence;
mod settings;
pub mod standard;
#[cfg(test)]
mod stories;
mod subscription;
mod switch;
mod waiting;
mod whom;

pub use again::{NotAgain, sendable};
pub use arrival::Arrival;
pub use breaker::BreakerSettings;
pub use deliver::Deliverer;
pub use disclosure::{Remembered, Told, remembered, told};
pub use dispatch::{Dispatch, Later};
pub use endpoint::{
    Authorize, DEADLINE_MS, Endpoint, EndpointSettings, IN_FLIGHT_MAX, Order, RATE_PER_S_MAX,
};
pub use expiry::{Expiring, Expiry, SecretWatch, TOLD_DAYS_BEFORE};
pub use finding::{BadSetting, HEADERS_MAX, NAME_CHARS_MAX, SECRETS_MAX, SUBSCRIPTIONS_MAX};
pub use folding::FOLDED;
pub use forget::{FORGET_BITE, Forgetter, RETENTION_MS_MIN, RetentionSettings};
pub use handed::{Clock, Nudge, Random};
pub use handover::Handover;
pub use intake::{Intake, Receipt, Refused};
pub use notice::SOURCE;
pub use pull::{NotPulled, Pulled, PulledPart, note_pulled, pull};
pub use quota::POSTS_PER_S_MAX;
pub use refusals::Refusals;
pub use replay::{BITE_MAX, RUNNING_MAX, Replayer};
pub use schedule::Schedule;
pub use secret::{BadSecret, PRIVATE_PREFIX, PUBLIC_PREFIX, SECRET_BYTES, SECRET_PREFIX, Secret};
pub use sequence::SEQUENCE;
pub use settings::{Partner, RelayLimits, RelaySettings};
pub use subscription::{Said, Subscription};
pub use switch::{NotSwitched, REASON_CHARS_MAX, Stands, Switch, state_word};
