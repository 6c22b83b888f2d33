//! Forgetting.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::rows::all;
use super::{SqliteLedger, leases};
use crate::stored::{limit, micros};
use crate::{EventPlace, Forgotten, Lease, LedgerError, OldEvents, Retention};

/// The newest stays, for SQLite would give its number to the next one. Events with the worst state among their deliveries: 0 all arrived or there are none, 1 one is dead, 2 one is on its way.
const NEXT: &str = "\
SELECT e.seq, e.received_at, ifnull((SELECT max(CASE d.state WHEN 'delivered' THEN 0 WHEN 'folded' THEN 0 WHEN 'dead' THEN 1 ELSE 2 END)
                                     FROM deliveries d WHERE d.seq = e.seq), 0)
FROM events e WHERE e.seq > ?1 AND e.seq < (SELECT max(seq) FROM events) ORDER BY e.seq LIMIT ?2";

/// What a table tells that was told by an event, summed to what is remembered.
macro_rules! remember {
    ($table:literal) => {
        concat!(
            "INSERT INTO remembered (record, terms, endpoint, event_type, source, first_at, last_at, times) \
             SELECT told.record, told.terms, d.endpoint, e.event_type, e.source, min(told.at), max(told.at), count(*) \
             FROM events e CROSS JOIN deliveries d ON d.seq = e.seq CROSS JOIN ",
            $table,
            " told ON told.delivery = d.id WHERE e.seq = ?1 AND told.record IS NOT NULL GROUP BY 1, 2, 3, 4, 5 \
             ON CONFLICT DO UPDATE SET first_at = min(first_at, excluded.first_at), \
             last_at = max(last_at, excluded.last_at), times = times + excluded.times"
        )
    };
}

#[async_trait]
impl Retention for SqliteLedger {
    async fn forget_events(
        &self,
        lease: &Lease,
        old: &OldEvents,
        after: EventPlace,
        at_most: usize,
    ) -> Result<Forgotten, LedgerError> {
        let bounds = *old;
        // Looked for beside the writer, which has other things to do.
        let looked = self
            .read(move |connection| look(connection, &bounds, after, at_most))
            .await?;
        if looked.old.is_empty() {
            return Ok(Forgotten {
                removed: 0,
                next: looked.next,
            });
        }
        let lease = lease.clone();
        self.write(3 * looked.old.len(), move |connection| {
            leases::fence(connection, Some(&lease))?;
            Ok(Forgotten {
                removed: remove(connection, &looked.old)?,
                next: looked.next,
            })
        })
        .await
    }
}

struct Looked {
    old: Vec<i64>,
    next: Option<EventPlace>,
}

fn look(
    connection: &Connection,
    old: &OldEvents,
    after: EventPlace,
    at_most: usize,
) -> Result<Looked, LedgerError> {
    let rows = all(connection, NEXT, params![after.0, limit(at_most)], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, i64>(2)?,
        ))
    })?;
    let before = |at: i64, bound: Option<Timestamp>| bound.is_some_and(|bound| at < micros(bound));
    let mut looked = Looked {
        old: Vec::new(),
        next: rows
            .last()
            .filter(|_| rows.len() >= at_most)
            .map(|(seq, _, _)| EventPlace(*seq)),
    };
    for (seq, received_at, worst) in rows {
        if !before(received_at, old.newest()) {
            looked.next = None;
            break;
        }
        let bound = match worst {
            0 => old.arrived_before,
            1 => old.dead_before,
            _ => None,
        };
        if before(received_at, bound) {
            looked.old.push(seq);
        }
    }
    Ok(looked)
}

/// Removes events, but for those of which something became due since they were looked at. What was told by them is
/// remembered.
fn remove(connection: &Connection, old: &[i64]) -> Result<u64, LedgerError> {
    let mut busy = connection.prepare_cached(
        "SELECT 1 FROM deliveries WHERE seq = ?1 AND state NOT IN ('delivered', 'folded', 'dead') LIMIT 1",
    )?;
    let mut sent = connection.prepare_cached(remember!("attempts"))?;
    let mut read = connection.prepare_cached(remember!("pulls"))?;
    let mut attempts = connection.prepare_cached(
        "DELETE FROM attempts WHERE delivery IN (SELECT id FROM deliveries WHERE seq = ?1)",
    )?;
    let mut pulls = connection
        .prepare_cached("DELETE FROM pulls WHERE delivery IN (SELECT id FROM deliveries WHERE seq = ?1)")?;
    let mut deliveries = connection.prepare_cached("DELETE FROM deliveries WHERE seq = ?1")?;
    let mut events = connection.prepare_cached("DELETE FROM events WHERE seq = ?1")?;
    let mut removed = 0;
    for seq in old {
        if busy.exists([seq])? {
            continue;
        }
        sent.execute([seq])?;
        read.execute([seq])?;
        attempts.execute([seq])?;
        pulls.execute([seq])?;
        deliveries.execute([seq])?;
        removed += events.execute([seq])? as u64;
    }
    Ok(removed)
}
