//! [`PathPattern`]: which places in an event's `data` are meant.
//!
//! The *path* of a place is its keys from the top, joined by dots; an element of an array counts as one segment that
//! only `*` can name, because positions shift when an element is left out.
//! A key that itself holds dots counts as several segments: what a path reads like is what decides.

use std::fmt;
use std::str::FromStr;

/// Characters that a pattern may have at most.
pub const PATTERN_CHARS_MAX: usize = 200;

/// Segments that a pattern may have at most.
pub const PATTERN_SEGMENTS_MAX: usize = 16;

/// The keys under which events tell of people; in records it is `contact`.
pub const PEOPLE: [&str; 4] = ["contact", "contacts", "person", "persons"];

/// What somebody does for a living, which tells of nobody in particular.
const JOB_TITLE: &str = "job_title";

/// A dotted path, relative to `data`, in which `*` stands for any one segment: `amount`, `contacts.*.email`.
///
/// It means the place it names and everything below.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PathPattern(Box<[Segment]>);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Segment {
    Any,
    Key(Box<str>),
}

/// Text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// Empty, or with two dots in a row, or with a dot at an end.
    #[error("`{0}` has an empty segment; write a path such as `amount` or `contacts.*.email`")]
    EmptySegment(String),
    /// A star among other characters.
    #[error(
        "`{pattern}` has the segment `{segment}`; `*` stands for a whole segment, as in `contacts.*.email`"
    )]
    PartialStar {
        /// The pattern.
        pattern: String,
        /// The segment.
        segment: String,
    },
    /// Longer than [`PATTERN_CHARS_MAX`] or [`PATTERN_SEGMENTS_MAX`].
    #[error(
        "a path may have {PATTERN_CHARS_MAX} characters and {PATTERN_SEGMENTS_MAX} segments, this one has {chars} and {segments}"
    )]
    TooLong {
        /// How many characters it has.
        chars: usize,
        /// How many segments it has.
        segments: usize,
    },
}

impl FromStr for PathPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<PathPattern, BadPattern> {
        let (chars, segments) = (text.chars().count(), text.split('.').count());
        if chars > PATTERN_CHARS_MAX || segments > PATTERN_SEGMENTS_MAX {
            return Err(BadPattern::TooLong { chars, segments });
        }
        let segment = |part: &str| match part {
            "" => Err(BadPattern::EmptySegment(text.to_owned())),
            "*" => Ok(Segment::Any),
            star if star.contains('*') => Err(BadPattern::PartialStar {
                pattern: text.to_owned(),
                segment: star.to_owned(),
            }),
            key => Ok(Segment::Key(key.into())),
        };
        Ok(PathPattern(
            text.split('.').map(segment).collect::<Result<_, _>>()?,
        ))
    }
}

impl PathPattern {
    /// How closely it says which place it means: by how many segments, and how many of them name a key.
    pub(crate) fn specificity(&self) -> (usize, usize) {
        let named = self.0.iter().filter(|segment| **segment != Segment::Any);
        (self.0.len(), named.count())
    }

    /// Whether it means a place at this path, one above it, or one below it.
    pub fn touches(&self, path: &str) -> bool {
        let segment = |(segment, key): (&Segment, &str)| match segment {
            Segment::Any => true,
            Segment::Key(wanted) => **wanted == *key,
        };
        self.0.iter().zip(path.split('.')).all(segment)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            let dot = if i == 0 { "" } else { "." };
            match segment {
                Segment::Any => write!(f, "{dot}*")?,
                Segment::Key(key) => write!(f, "{dot}{key}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a walk through `data` stands.
#[derive(Default)]
pub(crate) struct Path<'a>(Vec<Step<'a>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step<'a> {
    Key(&'a str),
    Element,
}

impl<'a> Path<'a> {
    /// Runs `inside` one key deeper.
    pub(crate) fn at_key<T>(&mut self, key: &'a str, inside: impl FnOnce(&mut Path<'a>) -> T) -> T {
        let before = self.0.len();
        self.0.extend(key.split('.').map(Step::Key));
        let answer = inside(self);
        self.0.truncate(before);
        answer
    }

    /// Runs `inside` at an element of an array.
    pub(crate) fn at_element<T>(&mut self, inside: impl FnOnce(&mut Path<'a>) -> T) -> T {
        self.0.push(Step::Element);
        let answer = inside(self);
        self.0.pop();
        answer
    }

    /// Whether one of the patterns means this place, or one above it.
    pub(crate) fn is_within_any(&self, patterns: &[PathPattern]) -> bool {
        patterns.iter().any(|pattern| self.is_within(pattern))
    }

    /// Whether this place is in what is told of a person, other than what they do for a living.
    pub(crate) fn is_of_a_person(&self) -> bool {
        let person = |step: &Step<'_>| matches!(step, Step::Key(key) if PEOPLE.contains(key));
        let Some(at) = self.0.iter().position(person) else {
            return false;
        };
        let mut below = self.0.iter().skip(at + 1).filter(|step| **step != Step::Element);
        below.next() != Some(&Step::Key(JOB_TITLE))
    }

    /// Whether the pattern means this place, or one above it.
    pub(crate) fn is_within(&self, pattern: &PathPattern) -> bool {
        let step = |(segment, step): (&Segment, &Step<'_>)| match (segment, step) {
            (Segment::Any, _) => true,
            (Segment::Key(wanted), Step::Key(key)) => **wanted == **key,
            (Segment::Key(_), Step::Element) => false,
        };
        pattern.0.len() <= self.0.len() && pattern.0.iter().zip(&self.0).all(step)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("data")?;
        self.0.iter().try_for_each(|step| match step {
            Step::Key(key) => write!(f, ".{key}"),
            Step::Element => f.write_str(".*"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_back_and_bad_ones_say_how() {
        for good in ["amount", "contacts.*.email", "*", "a-b.c_d.ü"] {
            assert_eq!(good.parse::<PathPattern>().unwrap().to_string(), good);
        }
        let bad = |text: &str| text.parse::<PathPattern>().unwrap_err().to_string();
        insta::assert_snapshot!(bad("a..b"), @"`a..b` has an empty segment; write a path such as `amount` or `contacts.*.email`");
        insta::assert_snapshot!(bad(""), @"`` has an empty segment; write a path such as `amount` or `contacts.*.email`");
        insta::assert_snapshot!(bad("a.b*"), @"`a.b*` has the segment `b*`; `*` stands for a whole segment, as in `contacts.*.email`");
        insta::assert_snapshot!(bad(&"a.".repeat(16)), @"a path may have 200 characters and 16 segments, this one has 32 and 17");
    }

    #[test]
    fn a_pattern_touches_what_is_above_and_below() {
        let touches = |pattern: &str, path: &str| pattern.parse::<PathPattern>().unwrap().touches(path);
        for pattern in [
            "deal",
            "deal.customer",
            "deal.*.name",
            "deal.customer.name.first",
            "*",
        ] {
            assert!(touches(pattern, "deal.customer.name"), "{pattern}");
        }
        for pattern in ["deals", "deal.name", "deal.customer.nam", "*.name"] {
            assert!(!touches(pattern, "deal.customer.name"), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_means_its_place_and_all_below() {
        let within = |pattern: &str| {
            let pattern: PathPattern = pattern.parse().unwrap();
            let mut path = Path::default();
            path.at_key("a.b", |path| {
                path.at_element(|path| path.at_key("c", |path| path.is_within(&pattern)))
            })
        };
        for yes in ["a", "a.b", "*.b", "a.b.*", "a.b.*.c", "*.*.*.*"] {
            assert!(within(yes), "{yes}");
        }
        for no in ["b", "a.c", "a.b.0", "a.b.0.c", "a.b.*.c.d", "*.*.*.*.*"] {
            assert!(!within(no), "{no}");
        }
    }
}
