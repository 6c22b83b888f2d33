//! Aliases: a record that was merged into another one still resolves, to the one that stands for it.

use std::collections::HashMap;

use ledger::{Ledger, LedgerError};
use model::{Record, RecordId};

/// How many records in a row may have been merged into the next one.
const STEPS_MAX: usize = 64;

/// The records that stand for those of some records that were merged away, by the id of what was merged.
pub(crate) async fn standing_for<'r>(
    ledger: &dyn Ledger,
    records: impl Iterator<Item = &'r Record>,
) -> Result<HashMap<RecordId, Record>, LedgerError> {
    let merged = records.filter_map(|record| Some((record.id, record.merged_into?)));
    let mut open: Vec<(RecordId, RecordId)> = merged.collect();
    let mut standing = HashMap::new();
    for _ in 0..STEPS_MAX {
        if open.is_empty() {
            break;
        }
        let mut asked: Vec<RecordId> = open.iter().map(|(_, into)| *into).collect();
        asked.sort_unstable();
        asked.dedup();
        let found = ledger.records(&asked).await?;
        let found: HashMap<RecordId, Record> = found.into_iter().map(|record| (record.id, record)).collect();
        for (merged, into) in std::mem::take(&mut open) {
            match found.get(&into) {
                Some(record) if record.merged_into.is_some() => {
                    open.extend(record.merged_into.map(|next| (merged, next)));
                }
                Some(record) => {
                    standing.insert(merged, record.clone());
                }
                None => {}
            }
        }
    }
    Ok(standing)
}
