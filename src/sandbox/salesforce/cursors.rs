//! What is left of a query that did not fit on one page.

use std::collections::VecDeque;

use super::soql::plan::Item;

/// Queries that are remembered; the oldest is forgotten first, and its locator becomes invalid.
pub(crate) const CURSORS_MAX: usize = 50;

/// A query's rows, found when it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) table: usize,
    pub(crate) rows: Vec<usize>,
    pub(crate) items: Vec<Item>,
    pub(crate) page: usize,
}

/// All of them, by the id in their locators.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    kept: VecDeque<(String, Cursor)>,
    made: u64,
}

impl Cursors {
    /// Keeps a query and gives the id of its locators.
    pub(crate) fn keep(&mut self, cursor: Cursor) -> String {
        self.made += 1;
        let id = super::ids::make("01g", self.made);
        if self.kept.len() >= CURSORS_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back((id.clone(), cursor));
        id
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Cursor> {
        self.kept
            .iter()
            .find(|(kept, _)| kept == id)
            .map(|(_, cursor)| cursor)
    }
}
