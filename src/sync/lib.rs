//! Systems kept in agreement: pull, map, merge, commit, push.
//!
//! A *sync* ties one object of one connection to one kind of record ([`Sync`]); all of them together are the
//! [`Plan`]. The [`Engine`] carries it out in two movements:
//!
//! * **Pull** ([`Engine::pull`]) reads what changed at a connection since its cursor, maps it forward, finds the record
//!   each object belongs to, merges it against the base, and commits records, links, history, conflicts, events,
//!   what other connections are now owed, and the cursor in one transaction.
//! * **Push** ([`Engine::push`]) takes what a connection is owed, maps it backward against what the system was last seen
//!   to hold, and writes only the difference, in the largest batch the system takes. Before it creates anything it pulls,
//!   unless that was done since the record came to be: somebody may have made the same there.
//!
//! Promised: every step can be interrupted anywhere and done again; what the system holds already is never written;
//! our own write, when it is pulled again, equals the base and is no change; a record that cannot be mapped or that a
//! system refuses is parked with its reason and holds up nothing else.
//! Not here: when to look (jobs and schedules are the caller's), how systems are spoken to (`connector`), how objects are
//! spelled (`mapping`).

mod absorb;
mod act;
mod action;
mod alias;
mod announce;
mod census;
mod conclude;
mod deletes;
mod engine;
#[cfg(test)]
mod engine_tests;
mod fields;
mod hints;
mod journey;
mod kept;
mod linking;
mod meet;
mod merges;
mod missing;
mod naming;
mod parked;
mod plan;
mod posted;
mod pull;
mod push;
mod reconcile;
mod refs;
mod rehearsal;
mod report;
mod resolve;
mod review;
mod settle;
#[cfg(test)]
mod simulation;
mod standing;
mod stop;
mod trace;
mod unheard;
mod union;
mod waiting;
mod wire;

pub use act::Act;
pub use action::{ActionError, Done, NotAnObject, ObjectAt, can_be_undone};
pub use census::GONE_MAX_PERCENT;
pub use deletes::{DELETED_AT, Deletes};
pub use engine::{Addressed, Announced, Engine, FanOut, SyncError, World};
pub use journey::{Journey, Reached, Stop, Which, explained, journeys};
pub use linking::object_of;
pub use parked::{Retried, WhichParked, advice, parked_at, parked_of_record};
pub use plan::{Plan, Rules, Sync};
pub use pull::Depth;
pub use reconcile::{GONE_OBJECT, Reconciled, UNKNOWN_OBJECT, reconciled};
pub use rehearsal::{Foreseen, Sample, Way};
pub use report::{Counts, Report};
pub use resolve::{BY_CHARS_MAX, Decision, Resolved, Take, Unresolved};
pub use review::{Candidate, Review, Settle, Side, for_review};
pub use standing::{OTHER_ACCOUNT, REVOKED};
pub use stop::{GONE_FREE, GONE_PART, STOP_PER_MS, StopLimits, What, halted};
pub use trace::PostedBy;
pub use union::REFERENCES_MAX;
