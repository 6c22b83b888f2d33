//! Records and everything a pure function needs to know about them.
//!
//! A *record* is our canonical partner, lead or deal ([`Kind`], [`Record`]).
//! What a record can hold is one table per kind ([`Field`], [`Kind::fields`]): the path of each field, its
//! [`FieldType`], and whether a record may lack it. Customers declare fields of their own beside them ([`Kind::declare`]).
//! The values of a record are [`Fields`]; each carries its [`Provenance`]: which connection said so, and when.
//! [`merge()`] brings what a connection says together with what we know, field by field, against the base.
//! Something that happened is an event with a type from the [`EventType`] catalogue.
//!
//! Promised: no clock, no network, no database, no randomness in here; bad data is a value with a reason
//! ([`Invalid`]), never a panic; money is never a float; dates are not datetimes.
//! Not here: how records are stored ([`stored`] is the one exception: the versioned form that the ledger keeps)
//! and how systems spell them (that is `mapping`).

mod custom;
mod event;
mod field;
mod id;
mod identity;
pub mod merge;
mod money;
pub mod normalise;
mod record;
pub mod stored;
pub mod unite;
mod value;

pub use custom::{CUSTOM, CUSTOM_FIELDS_MAX, CUSTOM_NAME_CHARS_MAX, NotDeclared};
pub use event::{EVENT_TYPES, EventType, UnknownEventType};
pub use field::{Field, FieldType, Kind};
pub use id::{
    ActionId, ConflictId, DeliveryId, EventId, NotARecordId, RecordId, ReplayId, RunId, counted, read_id,
    uuid_from,
};
pub use identity::{Confidence, MatchKey, MatchRule, default_match_rules, match_keys, reference_keys};
pub use merge::merge;
pub use money::{Currency, Money};
pub use record::{BY_HAND, Fields, Provenance, Record};
pub use value::{Invalid, Value};
