//! [`SharingPolicy`]: the agreement about what a partner may be told.

use crate::PathPattern;
use crate::path::Path;

/// Of which places in an event's `data` a partner may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// All of them, whatever comes to be there, and all that stands beside `data`.
    Everything,
    /// Those that one of the patterns means, and nothing else.
    Only(Vec<PathPattern>),
}

/// The field-level sharing agreement with a partner.
///
/// Nothing is shared that is not allowed, and what forbids beats what allows: of what is allowed, `omit` leaves out, and
/// `mask` shows of the rest that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharingPolicy {
    /// What may be known.
    pub allow: Allow,
    /// What is left out all the same.
    pub omit: Vec<PathPattern>,
    /// What is replaced by [`crate::MASKED`].
    pub mask: Vec<PathPattern>,
}

impl Default for SharingPolicy {
    /// Nothing.
    fn default() -> SharingPolicy {
        SharingPolicy::only(Vec::new())
    }
}

impl SharingPolicy {
    /// Every field of every event, those that nobody has thought of yet too.
    pub fn everything() -> SharingPolicy {
        SharingPolicy {
            allow: Allow::Everything,
            omit: Vec::new(),
            mask: Vec::new(),
        }
    }

    /// These places alone.
    pub fn only(allow: Vec<PathPattern>) -> SharingPolicy {
        SharingPolicy {
            allow: Allow::Only(allow),
            omit: Vec::new(),
            mask: Vec::new(),
        }
    }

    /// Whether what stands at a path of plain keys may be known, be it masked.
    pub fn shares(&self, path: &str) -> bool {
        let any = |patterns: &[PathPattern]| {
            Path::default().at_key(path, |path| {
                patterns.iter().any(|pattern| path.is_within(pattern))
            })
        };
        let allowed = match &self.allow {
            Allow::Everything => true,
            Allow::Only(patterns) => any(patterns),
        };
        allowed && !any(&self.omit)
    }

    /// Whether events may be passed on as they are, without being read.
    pub fn shares_everything(&self) -> bool {
        self.allow == Allow::Everything && self.omit.is_empty() && self.mask.is_empty()
    }
}
