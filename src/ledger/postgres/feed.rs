//! Feeds.
//!
//! A row gets its number when it is inserted and is there when its transaction commits, so a smaller number may turn up
//! after a larger one. Whoever reads on from the largest number would never see it.
//! So a feed goes no further than what is *settled*: the numbers given so far, once all have ended who were writing when
//! that was asked. A writer locks the table (`ROW EXCLUSIVE`) before it gets a number and until it has ended, and
//! `pg_locks` tells who does, without being in anybody's way. Transaction ids would be cheaper to compare, but they
//! begin anew in a restored database, and a transaction may have a number before it has an id.

use std::time::Duration;

use async_trait::async_trait;
use model::DeliveryId;
use uuid::Uuid;

use super::PostgresLedger;
use super::rows::{self, text};
use crate::contract::{look_until, part};
use crate::stored::limit;
use crate::{EventPlace, Feed, Feeds, LedgerError};

/// How long writers are waited for; a write of ours takes some milliseconds.
const WRITERS_WAIT: Duration = Duration::from_secs(2);
/// Between two looks at them.
const WRITERS_LOOK: Duration = Duration::from_millis(3);

/// The last number that was given.
const GIVEN: &str = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_seq_seq";

const FIRST: &str = "SELECT coalesce(min(seq), 1) FROM events";

/// Who writes events at this moment; those of `$1` if it is said.
const WRITERS: &str = "\
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = 'events'::regclass AND mode = 'RowExclusiveLock' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND ($1::text[] IS NULL OR virtualtransaction = ANY($1))";

const FEED: &str = "\
SELECT d.id, e.id, e.event_type, e.source, e.body, e.received_at, d.attempts, e.trace, d.line, e.hops, d.sequence, d.stands_for, e.seq
FROM events e JOIN deliveries d ON d.seq = e.seq AND d.endpoint = $1
WHERE e.seq > $2 AND e.seq <= $3 ORDER BY e.seq LIMIT $4";

/// By id, so that whoever settles some of them meanwhile locks alike.
const ARRIVE: &str = "\
UPDATE deliveries SET state = 'delivered', fresh = false, last_error = ''
WHERE id IN (SELECT id FROM deliveries WHERE id = ANY($1) AND state IN ('due', 'held', 'dead') ORDER BY id FOR UPDATE)";

#[async_trait]
impl Feeds for PostgresLedger {
    async fn feed(&self, endpoint: &str, after: EventPlace, at_most: usize) -> Result<Feed, LedgerError> {
        let Some(end) = self.settled().await? else {
            // Somebody writes for long; what is behind `after` comes when they have ended.
            return Ok(part(Vec::new(), 1, after.0, after.0));
        };
        let first = self.number(FIRST).await?;
        let (from, until) = look_until(after, first, end);
        let found = self
            .database
            .query(FEED, &[&text(endpoint), &from, &until, &limit(at_most)])
            .await?;
        let found = found.iter().map(|row| Ok((rows::due(row)?, row.try_get(12)?)));
        let found = found.collect::<Result<Vec<_>, LedgerError>>()?;
        Ok(part(found, at_most, until, end))
    }

    async fn settle_pulled(&self, deliveries: Vec<DeliveryId>) -> Result<(), LedgerError> {
        let ids: Vec<Uuid> = deliveries.iter().map(|delivery| delivery.uuid()).collect();
        self.database.write(ARRIVE, &[&ids]).await?;
        Ok(())
    }

    async fn feed_end(&self) -> Result<EventPlace, LedgerError> {
        // What is being written at this moment counts as said before it.
        self.number(GIVEN).await.map(EventPlace)
    }
}

impl PostgresLedger {
    /// The last number up to which everything that will ever be there is there; none when somebody writes for too long.
    async fn settled(&self) -> Result<Option<i64>, LedgerError> {
        let given = self.number(GIVEN).await?;
        // After that: whoever has one of these numbers and has not ended yet is among them.
        let mut writers = self.writers(None).await?;
        let waited = tokio::time::Instant::now();
        while !writers.is_empty() {
            if waited.elapsed() > WRITERS_WAIT {
                return Ok(None);
            }
            tokio::time::sleep(WRITERS_LOOK).await;
            writers = self.writers(Some(&writers)).await?;
        }
        Ok(Some(given))
    }

    async fn writers(&self, among: Option<&Vec<String>>) -> Result<Vec<String>, LedgerError> {
        let rows = self.database.query(WRITERS, &[&among]).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    async fn number(&self, sql: &str) -> Result<i64, LedgerError> {
        let rows = self.database.query(sql, &[]).await?;
        let row = rows.first();
        let row = row.ok_or_else(|| LedgerError::Store("a count of one row came without it".into()))?;
        Ok(row.try_get(0)?)
    }
}
