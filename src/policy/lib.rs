//! Pure rules: what may flow to whom.
//!
//! A *sharing policy* is the agreement with one partner ([`SharingPolicy`]): [`Rules`] that say field by field what may be
//! known and how, from a [`Preset`] or one by one, and the conditions under which they hold.
//! [`project`] applies it to an event at a moment and answers what may be sent, or why nothing may ([`Withheld`]);
//! [`disclose`] tells which places that shows, and none of what stands there.
//!
//! Promised: nothing leaves that the policy does not allow, what is new and unknown not either; a rule that forbids never
//! shows more; what was projected by rules stays as it is when they are applied again; and sharing everything is the
//! identity, so that a caller may pass the bytes on without reading them ([`SharingPolicy::shares_everything`]).
//! Not here: clock, network, database, randomness; who the partners are; how an event is signed and sent.

mod bucket;
mod path;
mod preset;
mod project;
mod rules;
mod sharing;
mod stored;

pub use bucket::{BOUNDS_MAX, Bucket};
pub use path::{BadPattern, PATTERN_CHARS_MAX, PATTERN_SEGMENTS_MAX, PEOPLE, PathPattern};
pub use preset::Preset;
pub use project::{Disclosure, disclose, project};
pub use rules::{Allow, MASKED, Rules, Shown};
pub use sharing::{Acceptance, Consent, Purpose, SharingPolicy, Withheld};
pub use stored::Unreadable;
