//! [`Changes`]: what happened to rows, in order, for as long as streams may ask for it.
//!
//! A change is kept as the difference it made; what an event looks like is decided when it is told (`pubsub`).
//! Its *number* counts all changes of the organisation; the oldest ones are forgotten, as the real system forgets
//! events after three days.

use std::collections::VecDeque;

use serde_json::Value;
use tokio::sync::watch;

use super::rows::By;

/// Changes that are kept; with more, the oldest are forgotten.
const CHANGES_MAX: usize = 20_000;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    Created,
    Updated,
    Deleted,
}

/// One change of one row.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) table: usize,
    pub(crate) id: String,
    pub(crate) happened: Happened,
    pub(crate) at_ms: i64,
    pub(crate) user: String,
    pub(crate) origin: String,
    /// The fields that a new row has, or that an update changed, by position.
    pub(crate) values: Vec<(usize, Value)>,
}

/// All changes that are kept.
#[derive(Debug)]
pub(crate) struct Changes {
    kept: VecDeque<Change>,
    /// The number of the first one that is kept.
    first: u64,
    /// Tells the number that the next change will have.
    news: watch::Sender<u64>,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            kept: VecDeque::new(),
            first: 0,
            news: watch::Sender::new(0),
        }
    }
}

impl Changes {
    /// The number of the first change that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next change will have.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// Changes from a number on, with their numbers.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &Change)> {
        let skip = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        (self.first..).zip(&self.kept).skip(skip)
    }

    /// Hears of every change from now on.
    pub(crate) fn listen(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Notes a change.
    pub(crate) fn note(
        &mut self,
        (table, id, happened): (usize, &str, Happened),
        at_ms: i64,
        by: &By<'_>,
        values: Vec<(usize, Value)>,
    ) {
        self.kept.push_back(Change {
            table,
            id: id.to_owned(),
            happened,
            at_ms,
            user: by.user.to_owned(),
            origin: by.origin.to_owned(),
            values,
        });
        if self.kept.len() > CHANGES_MAX {
            self.kept.pop_front();
            self.first += 1;
        }
        self.news.send_replace(self.next());
    }

    /// Forgets the changes from a number on: they were rolled back.
    pub(crate) fn cut(&mut self, number: u64) {
        let keep = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.kept.truncate(keep);
        self.news.send_replace(self.next());
    }
}
