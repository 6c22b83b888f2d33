//! What a partner received: the newest webhooks in full, and counts of all.
//!
//! A webhook is a duplicate when one with its id was taken before; one that was refused or failed does not count as
//! taken. Ids are remembered as 64-bit hashes: among a million, the chance of a false duplicate is one in 40 million.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::standard_webhooks::Rejection;

/// Webhooks kept in full, the newest ones.
pub const RECEIVED_MAX: usize = 10_000;
/// Bytes of bodies kept in full.
pub const RECEIVED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Ids remembered to tell duplicates, the newest ones.
pub const IDS_MAX: usize = 1_000_000;

/// What became of the webhooks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ReceivedCounts {
    /// Taken for the first time.
    pub accepted: u64,
    /// Taken again.
    pub duplicates: u64,
    /// Refused: the signature headers are missing.
    pub unsigned: u64,
    /// Refused: the signature is wrong.
    pub forged: u64,
    /// Refused: the timestamp is too far away.
    pub stale: u64,
    /// Refused: the headers cannot be read.
    pub malformed: u64,
    /// Answered with an error because a fault said so.
    pub failed: u64,
}

/// One webhook that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Its place in the order of arrival, from 1.
    pub sequence: u64,
    /// When it arrived, milliseconds since the epoch.
    pub at_ms: i64,
    /// Its `webhook-id`.
    pub id: String,
    /// The path it was sent to.
    pub path: String,
    /// Whether one with its id was taken before.
    pub duplicate: bool,
    /// Its body: JSON as text.
    #[serde(serialize_with = "as_text")]
    pub body: Bytes,
}

fn as_text<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    kept: VecDeque<Received>,
    kept_bytes: usize,
    ids: HashSet<u64>,
    id_order: VecDeque<u64>,
    sequence: u64,
    counts: ReceivedCounts,
}

impl Inbox {
    /// Takes a webhook.
    pub(crate) fn take(&mut self, id: &str, path: &str, body: &Bytes, at_ms: i64) {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let hash = hasher.finish();
        let duplicate = !self.ids.insert(hash);
        if duplicate {
            self.counts.duplicates += 1;
        } else {
            self.counts.accepted += 1;
            self.id_order.push_back(hash);
            if self.id_order.len() > IDS_MAX
                && let Some(oldest) = self.id_order.pop_front()
            {
                self.ids.remove(&oldest);
            }
        }
        self.sequence += 1;
        self.kept_bytes += body.len();
        // Copied, so that a small body does not keep the whole read buffer of its connection alive.
        let body = Bytes::copy_from_slice(body);
        self.kept.push_back(Received {
            sequence: self.sequence,
            at_ms,
            id: id.into(),
            path: path.into(),
            duplicate,
            body,
        });
        while self.kept.len() > RECEIVED_MAX || (self.kept_bytes > RECEIVED_BYTES_MAX && self.kept.len() > 1)
        {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= oldest.body.len();
        }
    }

    pub(crate) fn reject(&mut self, rejection: Rejection) {
        match rejection {
            Rejection::Unsigned => self.counts.unsigned += 1,
            Rejection::Malformed => self.counts.malformed += 1,
            Rejection::Stale => self.counts.stale += 1,
            Rejection::Forged => self.counts.forged += 1,
        }
    }

    pub(crate) fn fail(&mut self) {
        self.counts.failed += 1;
    }

    pub(crate) fn counts(&self) -> ReceivedCounts {
        self.counts
    }

    /// What arrived after a place in the order.
    pub(crate) fn after(&self, sequence: u64, limit: usize) -> Vec<Received> {
        self.kept
            .iter()
            .filter(|received| received.sequence > sequence)
            .take(limit)
            .cloned()
            .collect()
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}
