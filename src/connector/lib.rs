//! What a connector manifest may say, and the engine that obeys it.

mod clock;
mod codec;
mod failure;
mod manifest;
mod program;
mod secret;
mod template;

pub use clock::{Clock, SystemClock};
pub use failure::{Action, Class, Failure, RecordClass, RecordError};
pub use secret::{Secret, Secrets};
