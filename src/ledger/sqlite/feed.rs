//! Feeds. There is one writer, so the order of `seq` is the order of commit.

use async_trait::async_trait;
use model::DeliveryId;
use rusqlite::{Connection, params};

use super::SqliteLedger;
use super::rows::{self, all};
use crate::contract::{look_until, part};
use crate::stored::limit;
use crate::{EventPlace, Feed, Feeds, LedgerError};

const FEED: &str = "\
SELECT d.id, e.id, e.event_type, e.source, e.body, e.received_at, d.attempts, e.trace, d.line, e.hops, d.sequence, d.stands_for, e.seq
FROM events e JOIN deliveries d ON d.seq = e.seq AND d.endpoint = ?1
WHERE e.seq > ?2 AND e.seq <= ?3 ORDER BY e.seq LIMIT ?4";

const ARRIVE: &str = "\
UPDATE deliveries SET state = 'delivered', fresh = 0, last_error = '' WHERE id = ?1 AND state IN ('due', 'held', 'dead')";

#[async_trait]
impl Feeds for SqliteLedger {
    async fn feed(&self, endpoint: &str, after: EventPlace, at_most: usize) -> Result<Feed, LedgerError> {
        let endpoint = endpoint.to_owned();
        self.read(move |connection| {
            let (first, end) = ends(connection)?;
            let (from, until) = look_until(after, first, end);
            let found = all(
                connection,
                FEED,
                params![endpoint, from, until, limit(at_most)],
                |row| Ok((rows::due(row)?, row.get(12)?)),
            )?;
            Ok(part(found, at_most, until, end))
        })
        .await
    }

    async fn settle_pulled(&self, deliveries: Vec<DeliveryId>) -> Result<(), LedgerError> {
        self.write(deliveries.len(), move |connection| {
            let mut arrive = connection.prepare_cached(ARRIVE)?;
            for delivery in &deliveries {
                arrive.execute([delivery.uuid().as_bytes()])?;
            }
            Ok(())
        })
        .await
    }

    async fn feed_end(&self) -> Result<EventPlace, LedgerError> {
        self.read(|connection| Ok(EventPlace(ends(connection)?.1))).await
    }
}

/// The first and the last event that is there. The newest one is never removed, so its number is not given twice.
fn ends(connection: &Connection) -> Result<(i64, i64), LedgerError> {
    let sql = "SELECT ifnull((SELECT min(seq) FROM events), 1), ifnull((SELECT max(seq) FROM events), 0)";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}
