//! What senders say is the news of objects, too: what the hub made of it, held against what it was told.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::chaos::sender::{Book, object};
use crate::harness::get;

/// What became of the events as news of objects.
#[derive(Default)]
pub(crate) struct News {
    /// Objects that senders told of.
    objects: usize,
    /// Versions of all their records: each event that told something new left one.
    versions: u64,
    /// Objects whose record is not what the newest accepted event says, or is not there.
    lost: usize,
    /// Records too many.
    twice: usize,
    /// Deliveries to the inlet that are still due, or of which nothing can become.
    left: usize,
}

impl News {
    /// The heads of [`News::line`].
    pub(crate) fn head() -> String {
        format!(
            "{:<18} {:>7} {:>8} | {:>12} {:>5} {:>8}",
            "posted", "objects", "versions", "lost updates", "twice", "left due"
        )
    }

    /// One line of the table.
    pub(crate) fn line(&self, ground: &str) -> String {
        format!(
            "{ground:<18} {:>7} {:>8} | {:>12} {:>5} {:>8}",
            self.objects, self.versions, self.lost, self.twice, self.left
        )
    }
}

/// Holds the hub's records against what was accepted.
pub(crate) fn news(book: &Book, hub: &str, wrong: &mut Vec<String>) -> News {
    // A sender says one thing after the other, so the last that it counted is the newest.
    let newest: BTreeMap<String, usize> = book.accepted.keys().map(|said| (object(*said), said.1)).collect();
    let listed = get(&format!("{hub}/v1/records?kind=lead&limit=200"));
    let records = listed["data"].as_array().expect("a list");
    let mut news = News {
        objects: newest.len(),
        versions: records
            .iter()
            .filter_map(|record| record["version"].as_u64())
            .sum(),
        ..News::default()
    };
    let field = |record: &Json, path: &str| record["fields"][path]["value"].as_str().map(str::to_owned);
    for (object, newest) in &newest {
        let mut of = records
            .iter()
            .filter(|record| field(record, "company.name").as_ref() == Some(object));
        let first = of.next().and_then(|record| field(record, "business_problem"));
        if first != Some(newest.to_string()) {
            news.lost += 1;
            wrong.push(format!("{object} is {first:?}, and {newest} was accepted"));
        }
        for again in of {
            news.twice += 1;
            wrong.push(format!("{object} is another record, too: {again}"));
        }
    }
    for state in ["due", "held", "dead"] {
        let left = get(&format!(
            "{hub}/v1/deliveries?endpoint=portal/leads&state={state}&limit=200"
        ));
        let left = left["data"].as_array().expect("a list");
        news.left += left.len();
        wrong.extend(
            left.iter()
                .map(|one| format!("it is {state} at the inlet: {one}")),
        );
    }
    news
}
