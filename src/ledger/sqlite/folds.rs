//! Folding what waits.

use async_trait::async_trait;
use model::DeliveryId;
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{self, all};
use super::{SqliteLedger, leases};
use crate::contract::{FOLDED_MAX, Folded, Waiting, fold};
use crate::stored::{big, count, limit, numbers};
use crate::{Folds, Lease, LedgerError};

/// Those that others of their type wait behind. Mostly there is none, and then nothing is written.
const WITH_OTHERS: &str = "\
SELECT f.id FROM deliveries f JOIN events e ON e.seq = f.seq
WHERE f.id IN (SELECT unhex(value) FROM json_each(?1)) AND f.state = 'due' AND f.line IS NOT NULL
AND EXISTS (SELECT 1 FROM deliveries d JOIN events o ON o.seq = d.seq
            WHERE d.endpoint = f.endpoint AND d.line = f.line AND d.line IS NOT NULL AND d.state IN ('due', 'held')
            AND d.seq > f.seq AND o.event_type = e.event_type)
ORDER BY f.seq";

const WAITING: &str = "\
SELECT d.id, d.sequence, d.stands_for, d.fresh = 0 AND d.attempts = 0
FROM deliveries f JOIN events e ON e.seq = f.seq
JOIN deliveries d ON d.endpoint = f.endpoint AND d.line = f.line JOIN events o ON o.seq = d.seq
WHERE f.id = ?1 AND f.state = 'due' AND d.line IS NOT NULL AND d.state IN ('due', 'held') AND d.seq >= f.seq
AND o.event_type = e.event_type AND d.sequence IS NOT NULL
AND d.id NOT IN (SELECT unhex(value) FROM json_each(?2))
ORDER BY d.seq LIMIT ?3";

/// Lets the first one of a line in which one was folded be due.
const ADVANCE: &str = "\
UPDATE deliveries SET state = 'due' WHERE state = 'held' AND id = (
    SELECT n.id FROM deliveries f JOIN deliveries n ON n.endpoint = f.endpoint AND n.line = f.line
    WHERE f.id = ?1 AND n.line IS NOT NULL AND n.state IN ('due', 'held') ORDER BY n.seq LIMIT 1)";

#[async_trait]
impl Folds for SqliteLedger {
    async fn fold(
        &self,
        lease: &Lease,
        first: &[DeliveryId],
        in_flight: &[DeliveryId],
    ) -> Result<u64, LedgerError> {
        let (first, in_flight) = (texts(first), texts(in_flight));
        let with_others = self
            .read(move |connection| {
                all(connection, WITH_OTHERS, [&first], |row| {
                    Ok(rows::uuid(row, 0)?.into())
                })
            })
            .await?;
        if with_others.is_empty() {
            return Ok(0);
        }
        let lease = lease.clone();
        self.write(1 + with_others.len(), move |connection| {
            leases::fence(connection, Some(&lease))?;
            let mut folded = 0;
            for first in &with_others {
                folded += fold_behind(connection, *first, &in_flight)?;
            }
            Ok(folded)
        })
        .await
    }
}

fn fold_behind(connection: &Connection, first: DeliveryId, in_flight: &str) -> Result<u64, LedgerError> {
    let uuid = first.uuid();
    let values = params![uuid.as_bytes(), in_flight, limit(FOLDED_MAX + 1)];
    let waiting = all(connection, WAITING, values, |row| {
        Ok(Waiting {
            delivery: rows::uuid(row, 0)?.into(),
            number: count(row.get(1)?)?,
            stands_for: numbers(row.get(2)?)?,
            asked: row.get(3)?,
        })
    })?;
    // Another one of the line may have become its first meanwhile.
    let Some(Folded {
        into,
        folded,
        stands_for,
    }) = fold(&waiting).filter(|made| made.folded[0] == first)
    else {
        return Ok(0);
    };
    let into = into.uuid();
    let mut end = connection
        .prepare_cached("UPDATE deliveries SET state = 'folded', folded_into = ?2 WHERE id = ?1")?;
    for one in &folded {
        end.execute(params![one.uuid().as_bytes(), into.as_bytes()])?;
    }
    let mut note = connection
        .prepare_cached("UPDATE deliveries SET stands_for = ?2 WHERE id = ?1 RETURNING endpoint")?;
    let endpoint: Option<String> = note
        .query_row(params![into.as_bytes(), stands_for.to_string()], |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached("UPDATE endpoint_sequences SET folded = folded + ?2 WHERE endpoint = ?1")?
        .execute(params![endpoint, big(folded.len())])?;
    connection
        .prepare_cached(ADVANCE)?
        .execute([first.uuid().as_bytes()])?;
    count(big(folded.len()))
}

/// Ids as one value, however many they are.
fn texts(ids: &[DeliveryId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| id.uuid().simple().to_string()).collect();
    serde_json::Value::from(ids).to_string()
}
