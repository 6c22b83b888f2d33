//! [`Rules`]: what of an event's `data` leaves.

use serde_json::{Map, Value as Json, json};

use crate::path::Path;
use crate::{Bucket, PathPattern};

/// What stands in place of a masked value, whatever its type was.
pub const MASKED: &str = "***";

/// Of which places in an event's `data` a partner may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// All of them, whatever comes to be there, and all that stands beside `data`.
    Everything,
    /// Those that one of the patterns means, and nothing else.
    Only(Vec<PathPattern>),
}

/// Which places are shared, and how.
///
/// Nothing is shared that is not allowed, and what forbids beats what allows: of what is allowed, `omit` leaves out, `mask`
/// shows of the rest that it is there, and `bucket` tells of the rest in which range it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What may be known.
    pub allow: Allow,
    /// What is left out all the same.
    pub omit: Vec<PathPattern>,
    /// What is replaced by [`MASKED`].
    pub mask: Vec<PathPattern>,
    /// What is told by its range; of several that mean a place the most specific one holds, and the first of those.
    pub bucket: Vec<(PathPattern, Bucket)>,
}

/// How a place is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// As it is.
    Plainly,
    /// By its range.
    Bucketed,
    /// That it is there.
    Masked,
}

impl Shown {
    /// The word in what is told.
    pub fn word(self) -> &'static str {
        match self {
            Shown::Plainly => "plainly",
            Shown::Bucketed => "bucketed",
            Shown::Masked => "masked",
        }
    }
}

impl Default for Rules {
    /// Nothing.
    fn default() -> Rules {
        Rules::only(Vec::new())
    }
}

impl Rules {
    /// Every field of every event, those that nobody has thought of yet too.
    pub fn everything() -> Rules {
        Rules {
            allow: Allow::Everything,
            omit: Vec::new(),
            mask: Vec::new(),
            bucket: Vec::new(),
        }
    }

    /// These places alone.
    pub fn only(allow: Vec<PathPattern>) -> Rules {
        Rules {
            allow: Allow::Only(allow),
            ..Rules::everything()
        }
    }

    /// Whether all is shared as it is.
    pub fn are_everything(&self) -> bool {
        *self == Rules::everything()
    }

    /// Whether what stands at a path of plain keys may be known, in whatever way.
    pub fn shares(&self, path: &str) -> bool {
        Path::default().at_key(path, |path| self.allows(path))
    }

    /// The rules as people and programs read them, in the words of the configuration; what a preset allows is written out.
    pub fn summary(&self) -> Json {
        let texts = |patterns: &[PathPattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
        let allow = match &self.allow {
            Allow::Everything => Json::from("everything"),
            Allow::Only(patterns) => Json::from(texts(patterns)),
        };
        let bucket = self.bucket.iter().rev();
        let bucket: Map<String, Json> = bucket
            .map(|(path, bucket)| (path.to_string(), bucket.to_string().into()))
            .collect();
        json!({"allow": allow, "omit": texts(&self.omit), "mask": texts(&self.mask), "bucket": bucket})
    }

    fn allows(&self, path: &Path<'_>) -> bool {
        let allowed = match &self.allow {
            Allow::Everything => true,
            Allow::Only(patterns) => path.is_within_any(patterns),
        };
        allowed && !path.is_within_any(&self.omit)
    }

    /// What is shared of a value, and how; nothing when it is not shared.
    pub(crate) fn tell(&self, value: &Json, path: &Path<'_>) -> Option<(Json, Shown)> {
        if !self.allows(path) {
            return None;
        }
        if path.is_within_any(&self.mask) {
            return Some((Json::String(MASKED.to_owned()), Shown::Masked));
        }
        let mean = self.bucket.iter().filter(|(pattern, _)| path.is_within(pattern));
        // The last of the greatest is what `max_by_key` gives.
        match mean.rev().max_by_key(|(pattern, _)| pattern.specificity()) {
            Some((_, bucket)) => Some((bucket.tell(value)?, Shown::Bucketed)),
            None => Some((value.clone(), Shown::Plainly)),
        }
    }
}
