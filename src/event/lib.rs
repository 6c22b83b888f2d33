//! The catalogue of events: what there is to hear and to say, and what a receiver gets it as.
//!
//! An *event* has a *type* (`deal.won`), and its `data` has the shape of one of the type's *versions*: a JSON Schema with a
//! sample. Types are data: files of `events/*.yaml`, the hub's own put into the binary, a customer's own beside them under
//! `custom.`. [`Catalogue`] reads them, checks what comes in ([`Catalogue::check`]), and tells a partner what there is
//! ([`Catalogue::schema`], [`Catalogue::asyncapi`]).
//!
//! A receiver gets events in a *shape* of its choice ([`Shape`]).
//!
//! Promised: a file whose sample does not fit its schema is a finding, not a catalogue; what is wrong with an event is told
//! by place and rule, never by value.
//! Not here: who may say or hear an event, HTTP, and how an event is kept.

mod asyncapi;
mod catalogue;
pub mod cloudevents;
mod record;
mod shape;
#[cfg(test)]
mod tests;

pub use catalogue::{Catalogue, Invalid, OWN, TypeInfo, VERSIONS_MAX, VersionInfo};
pub use shape::{JSON, NoShape, Shape};
