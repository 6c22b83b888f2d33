//! Jobs and nudges.
//!
//! A *job* is a key that says what to look at, never a payload: whoever runs it reads the present state from the ledger.
//! A *nudge* asks for a job to be looked at, now or at a time, with a priority.
//! Promised: a job and its key are one to one ([`Job::key`] and [`str::parse`] undo each other for any text in the parts).
//! Not promised: that the connection, object or endpoint a key names exists.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

/// The longest key a queue takes, in bytes, after escaping.
pub const JOB_KEY_MAX_BYTES: usize = 512;

/// A key that says what to look at; never a payload.
///
/// The enum is closed: adding a kind of work is a change here and in the one `match` that runs jobs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Job {
    /// Read what changed in one object of a connection.
    Pull {
        /// The connection's name.
        connection: String,
        /// The object as its system spells it: `Opportunity`, `crm.lead`.
        object: String,
    },
    /// Write what is owed to one object of a connection.
    Push {
        /// The connection's name.
        connection: String,
        /// The object as its system spells it.
        object: String,
    },
    /// Compare everything of one object of a connection with what is known of it, when that is due.
    Reconcile {
        /// The connection's name.
        connection: String,
        /// The object as its system spells it.
        object: String,
    },
    /// Send what is due to one endpoint.
    Deliver {
        /// The endpoint's id.
        endpoint: String,
    },
    /// Look through the ledger for work that no job names.
    Sweep,
}

impl Job {
    /// The unique key: `pull:crm:Opportunity`, `push:crm:deals`, `reconcile:crm:deals`, `deliver:ep_01`, `sweep`.
    ///
    /// A `:` or `%` inside a part is written `%3A` or `%25`, so that two different jobs never share a key.
    pub fn key(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull { connection, object } => {
                write!(f, "pull:{}:{}", Part(connection), Part(object))
            }
            Self::Push { connection, object } => {
                write!(f, "push:{}:{}", Part(connection), Part(object))
            }
            Self::Reconcile { connection, object } => {
                write!(f, "reconcile:{}:{}", Part(connection), Part(object))
            }
            Self::Deliver { endpoint } => write!(f, "deliver:{}", Part(endpoint)),
            Self::Sweep => f.write_str("sweep"),
        }
    }
}

impl FromStr for Job {
    type Err = ParseJobError;

    fn from_str(key: &str) -> Result<Self, ParseJobError> {
        let wrong = || ParseJobError { key: key.to_owned() };
        let mut parts = key.split(':');
        let kind = parts.next().unwrap_or_default();
        let mut part = || unescape(parts.next()?);
        let job = match kind {
            "pull" => part()
                .zip(part())
                .map(|(connection, object)| Self::Pull { connection, object }),
            "push" => part()
                .zip(part())
                .map(|(connection, object)| Self::Push { connection, object }),
            "reconcile" => part()
                .zip(part())
                .map(|(connection, object)| Self::Reconcile { connection, object }),
            "deliver" => part().map(|endpoint| Self::Deliver { endpoint }),
            "sweep" => Some(Self::Sweep),
            _ => None,
        };
        // A key with more parts than its kind has was written by a version that knows more than we do.
        match (job, parts.next()) {
            (Some(job), None) => Ok(job),
            _ => Err(wrong()),
        }
    }
}

/// A text that is not the key of any job this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{key}` is no job: expected `pull:<connection>:<object>`, `push:<connection>:<object>`, \
     `reconcile:<connection>:<object>`, `deliver:<endpoint>` or `sweep`"
)]
pub struct ParseJobError {
    /// The text as it was given.
    pub key: String,
}

/// One part of a key, with the two characters that have a meaning in keys escaped.
struct Part<'a>(&'a str);

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in self.0.split_inclusive([':', '%']) {
            match piece.as_bytes().last() {
                Some(b':') => write!(f, "{}%3A", &piece[..piece.len() - 1])?,
                Some(b'%') => write!(f, "{}%25", &piece[..piece.len() - 1])?,
                _ => f.write_str(piece)?,
            }
        }
        Ok(())
    }
}

fn unescape(part: &str) -> Option<String> {
    let mut pieces = part.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (character, rest) = match (piece.strip_prefix("3A"), piece.strip_prefix("25")) {
            (Some(rest), _) => (':', rest),
            (_, Some(rest)) => ('%', rest),
            (None, None) => return None,
        };
        text.push(character);
        text.push_str(rest);
    }
    Some(text)
}

/// Which of several due jobs goes first: live before retries before backfill, strictly.
///
/// A job that failed or lost its worker counts as at best [`Priority::Retry`] until a look ends well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody waits: a webhook came in, a person pressed a button.
    Live,
    /// It failed before, or nobody waits for it.
    Retry,
    /// Bulk work that may take all night.
    Backfill,
}

impl Priority {
    /// The rank as the backends store it: 0 goes first.
    pub(crate) fn rank(self) -> u8 {
        match self {
            Self::Live => 0,
            Self::Retry => 1,
            Self::Backfill => 2,
        }
    }

    pub(crate) fn from_rank(rank: u8) -> Self {
        match rank {
            0 => Self::Live,
            1 => Self::Retry,
            _ => Self::Backfill,
        }
    }
}

/// A request to look at a job; it only shortens the wait, the ledger holds what is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nudge {
    /// What to look at.
    pub job: Job,
    /// How urgent it is.
    pub priority: Priority,
    /// Not before this time, to the millisecond (a finer time is rounded up); `None` means now.
    pub at: Option<Timestamp>,
}

impl Nudge {
    /// Look now, with live priority.
    pub fn now(job: Job) -> Self {
        Self {
            job,
            priority: Priority::Live,
            at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_job() -> impl Strategy<Value = Job> {
        // Text rich in the characters that the key format itself uses.
        let part = || "[:%A-Za-z0-9é.]{0,12}";
        prop_oneof![
            (part(), part()).prop_map(|(connection, object)| Job::Pull { connection, object }),
            (part(), part()).prop_map(|(connection, object)| Job::Reconcile { connection, object }),
            (part(), part()).prop_map(|(connection, object)| Job::Push { connection, object }),
            part().prop_map(|endpoint| Job::Deliver { endpoint }),
            Just(Job::Sweep),
        ]
    }

    proptest! {
        #[test]
        fn a_key_reads_back_as_its_job(job in any_job()) {
            prop_assert_eq!(job.key().parse::<Job>(), Ok(job));
        }

        #[test]
        fn two_jobs_never_share_a_key(one in any_job(), other in any_job()) {
            prop_assert_eq!(one.key() == other.key(), one == other);
        }
    }

    #[test]
    fn keys_read_as_people_write_them() {
        let pull = Job::Pull {
            connection: "crm".into(),
            object: "Opportunity".into(),
        };
        assert_eq!(pull.key(), "pull:crm:Opportunity");
        assert_eq!(Job::Sweep.to_string(), "sweep");
    }

    #[test]
    fn what_is_no_job_is_refused_with_the_spellings_that_are() {
        for wrong in [
            "",
            "pull",
            "pull:crm",
            "pull:a:b:c",
            "sweep:now",
            "dance:x",
            "deliver:%zz",
        ] {
            let refused = wrong.parse::<Job>().unwrap_err().to_string();
            assert!(refused.starts_with(&format!("`{wrong}` is no job")), "{refused}");
            assert!(refused.contains("deliver:<endpoint>"), "{refused}");
        }
    }
}
