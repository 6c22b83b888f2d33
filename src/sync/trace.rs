//! Traces: what a change came with, kept with all that it causes.
//!
//! A trace begins where something arrives: with the webhook or the stream that named an object, with a page that was read, or
//! with a person's decision. It stands in the history, in conflicts and in events; where a version of a record went is found
//! by the version (`src/sync/journey.rs`).

use std::collections::BTreeMap;

use model::uuid_from;

use crate::Engine;

/// The trace of a page, and those of objects that came with traces of their own.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    page: String,
    named: BTreeMap<String, String>,
    /// Who posted objects, by their ids.
    posted: BTreeMap<String, PostedBy>,
}

/// Who posted an object, and through whom it came before, as whoever took it in writes that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedBy {
    /// The partner.
    pub partner: String,
    /// Through whom it came; empty for most.
    pub hops: String,
}

impl Trace {
    /// One trace for all of it.
    pub(crate) fn one(trace: &str) -> Trace {
        Trace {
            page: trace.to_owned(),
            ..Trace::default()
        }
    }

    /// With who posted the objects.
    pub(crate) fn posted_by(mut self, posted: BTreeMap<String, PostedBy>) -> Trace {
        self.posted = posted;
        self
    }

    /// Who posted an object.
    pub(crate) fn poster(&self, object_id: &str) -> Option<&PostedBy> {
        self.posted.get(object_id)
    }

    pub(crate) fn of(&self, object_id: &str) -> &str {
        self.named.get(object_id).unwrap_or(&self.page)
    }
}

impl Engine {
    /// A new trace: 32 hexadecimal digits, as in a `traceparent` (W3C Trace Context §3.2.2.3).
    pub fn new_trace(&self) -> String {
        uuid_from(self.world.now(), self.world.random())
            .simple()
            .to_string()
    }

    /// The trace of something that was read.
    pub(crate) fn trace(&self) -> Trace {
        self.trace_of_named(BTreeMap::new())
    }

    /// The traces of objects that were named.
    pub(crate) fn trace_of_named(&self, named: BTreeMap<String, String>) -> Trace {
        Trace {
            page: self.new_trace(),
            named,
            posted: BTreeMap::new(),
        }
    }
}
