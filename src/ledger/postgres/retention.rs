//! Forgetting.

use async_trait::async_trait;
use deadpool_postgres::Client;
use jiff::Timestamp;

use super::PostgresLedger;
use super::database::{Failure, Work, finish};
use super::leases::held;
use crate::stored::{limit, micros};
use crate::{EventPlace, Forgotten, Lease, LedgerError, OldEvents, Retention};

/// The newest stays, as in SQLite. Events with the worst state among their deliveries: 0 all arrived or there are none, 1 one is dead, 2 one is on its way.
const NEXT: &str = "\
SELECT e.seq, e.received_at, coalesce((SELECT max(CASE d.state WHEN 'delivered' THEN 0 WHEN 'folded' THEN 0 WHEN 'dead' THEN 1 ELSE 2 END)
                                       FROM deliveries d WHERE d.seq = e.seq), 0)::bigint
FROM events e WHERE e.seq > $1 AND e.seq < (SELECT max(seq) FROM events) ORDER BY e.seq LIMIT $2";

/// Those of which something became due since they were looked at are left; the others are locked, so that nothing does.
const LOCK: &str = "\
SELECT d.id, d.seq, d.state IN ('delivered', 'folded', 'dead') FROM deliveries d WHERE d.seq = ANY($1) ORDER BY d.id FOR UPDATE";

const REMEMBER: &str = "\
INSERT INTO remembered AS known (record, terms, endpoint, event_type, source, first_at, last_at, times)
SELECT told.record, told.terms, d.endpoint, e.event_type, e.source, min(told.at), max(told.at), count(*)
FROM events e JOIN deliveries d ON d.seq = e.seq
JOIN LATERAL (SELECT record, terms, at FROM attempts WHERE delivery = d.id AND record IS NOT NULL
              UNION ALL
              SELECT record, terms, at FROM pulls WHERE delivery = d.id) told ON true
WHERE e.seq = ANY($1) GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
ON CONFLICT (record, terms, endpoint, event_type, source) DO UPDATE SET
first_at = least(known.first_at, excluded.first_at), last_at = greatest(known.last_at, excluded.last_at),
times = known.times + excluded.times";

const REMOVE: &str = "\
WITH tries AS (DELETE FROM attempts USING deliveries d WHERE d.seq = ANY($1) AND attempts.delivery = d.id),
reads AS (DELETE FROM pulls USING deliveries d WHERE d.seq = ANY($1) AND pulls.delivery = d.id),
sent AS (DELETE FROM deliveries WHERE seq = ANY($1))
DELETE FROM events WHERE seq = ANY($1)";

#[async_trait]
impl Retention for PostgresLedger {
    async fn forget_events(
        &self,
        lease: &Lease,
        old: &OldEvents,
        after: EventPlace,
        at_most: usize,
    ) -> Result<Forgotten, LedgerError> {
        let rows = self.database.query(NEXT, &[&after.0, &limit(at_most)]).await?;
        let before = |at: i64, bound: Option<Timestamp>| bound.is_some_and(|bound| at < micros(bound));
        let (mut seqs, mut next) = (Vec::new(), None);
        if rows.len() >= at_most {
            next = rows.last().map(|row| row.try_get(0)).transpose()?.map(EventPlace);
        }
        for row in &rows {
            let (seq, received_at, worst): (i64, i64, i64) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            if !before(received_at, old.newest()) {
                next = None;
                break;
            }
            let bound = match worst {
                0 => old.arrived_before,
                1 => old.dead_before,
                _ => None,
            };
            if before(received_at, bound) {
                seqs.push(seq);
            }
        }
        if seqs.is_empty() {
            return Ok(Forgotten { removed: 0, next });
        }
        let _permit = self.database.permit()?;
        let forget = Forget {
            lease: lease.clone(),
            seqs,
        };
        let removed = self.database.run(&forget).await.map_err(|ended| ended.error)?;
        Ok(Forgotten { removed, next })
    }
}

struct Forget {
    lease: Lease,
    seqs: Vec<i64>,
}

#[async_trait]
impl Work for Forget {
    /// What is removed is removed; only the count would be smaller.
    const REPEATABLE: bool = true;
    type Answer = u64;

    async fn run(&self, client: &mut Client) -> Result<u64, Failure> {
        let transaction = client.transaction().await?;
        if held(&transaction, &[&self.lease]).await? != [true] {
            return Err(LedgerError::LeaseLost(self.lease.key.clone()).into());
        }
        let lock = transaction.prepare_cached(LOCK).await?;
        let mut busy = std::collections::HashSet::new();
        for row in transaction.query(&lock, &[&self.seqs]).await? {
            if !row.try_get::<_, bool>(2)? {
                busy.insert(row.try_get::<_, i64>(1)?);
            }
        }
        let idle = self.seqs.iter().filter(|seq| !busy.contains(*seq));
        let seqs: Vec<i64> = idle.copied().collect();
        let remember = transaction.prepare_cached(REMEMBER).await?;
        transaction.execute(&remember, &[&seqs]).await?;
        let remove = transaction.prepare_cached(REMOVE).await?;
        let removed = transaction.execute(&remove, &[&seqs]).await?;
        finish(transaction).await?;
        Ok(removed)
    }
}
