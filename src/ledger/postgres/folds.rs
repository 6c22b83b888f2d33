//! Folding what waits.

use async_trait::async_trait;
use deadpool_postgres::{Client, GenericClient};
use model::DeliveryId;
use uuid::Uuid;

use super::PostgresLedger;
use super::accept::lock_lines;
use super::database::{Failure, Work, finish};
use super::leases::held;
use super::rows::{all, column};
use crate::contract::{FOLDED_MAX, Folded, Waiting, fold};
use crate::stored::{big, count, limit, numbers};
use crate::{Folds, Lease, LedgerError};

/// Those that others of their type wait behind. Mostly there is none, and then nothing is written.
const WITH_OTHERS: &str = "\
SELECT f.id, f.endpoint, f.line FROM deliveries f JOIN events e ON e.seq = f.seq
WHERE f.id = ANY($1) AND f.state = 'due' AND f.line IS NOT NULL
AND EXISTS (SELECT 1 FROM deliveries d JOIN events o ON o.seq = d.seq
            WHERE d.endpoint = f.endpoint AND d.line = f.line AND d.line IS NOT NULL AND d.state IN ('due', 'held')
            AND d.seq > f.seq AND o.event_type = e.event_type)
ORDER BY f.seq";

const WAITING: &str = "\
SELECT d.id, d.sequence, d.stands_for, NOT d.fresh AND d.attempts = 0
FROM deliveries f JOIN events e ON e.seq = f.seq
JOIN deliveries d ON d.endpoint = f.endpoint AND d.line = f.line JOIN events o ON o.seq = d.seq
WHERE f.id = $1 AND f.state = 'due' AND d.line IS NOT NULL AND d.state IN ('due', 'held') AND d.seq >= f.seq
AND o.event_type = e.event_type AND d.sequence IS NOT NULL AND d.id <> ALL($2)
ORDER BY d.seq LIMIT $3 FOR UPDATE OF d";

const FOLD: &str = "\
WITH ended AS (
    UPDATE deliveries SET state = 'folded', folded_into = $2 WHERE id = ANY($1)),
newest AS (
    UPDATE deliveries SET stands_for = $3 WHERE id = $2 RETURNING endpoint)
UPDATE endpoint_sequences s SET folded = s.folded + $4 FROM newest WHERE s.endpoint = newest.endpoint";

/// Lets the first one of a line in which one was folded be due.
const ADVANCE: &str = "\
UPDATE deliveries SET state = 'due' WHERE state = 'held' AND id = (
    SELECT n.id FROM deliveries f JOIN deliveries n ON n.endpoint = f.endpoint AND n.line = f.line
    WHERE f.id = $1 AND n.line IS NOT NULL AND n.state IN ('due', 'held') ORDER BY n.seq LIMIT 1)";

#[async_trait]
impl Folds for PostgresLedger {
    async fn fold(
        &self,
        lease: &Lease,
        first: &[DeliveryId],
        in_flight: &[DeliveryId],
    ) -> Result<u64, LedgerError> {
        let ids = column(first, |id| id.uuid());
        let rows = self.database.query(WITH_OTHERS, &[&ids]).await?;
        let with_others = all(&rows, |row| {
            Ok((row.try_get::<_, Uuid>(0)?, (row.try_get(1)?, row.try_get(2)?)))
        })?;
        if with_others.is_empty() {
            return Ok(0);
        }
        let (first, lines) = with_others.into_iter().unzip();
        let _permit = self.database.permit()?;
        let fold = Fold {
            lease: lease.clone(),
            first,
            lines,
            in_flight: column(in_flight, |id| id.uuid()),
        };
        self.database.run(&fold).await.map_err(|ended| ended.error)
    }
}

struct Fold {
    lease: Lease,
    first: Vec<Uuid>,
    /// The lines that they stand in, by endpoint.
    lines: Vec<(String, String)>,
    in_flight: Vec<Uuid>,
}

#[async_trait]
impl Work for Fold {
    /// A second time it would answer that nothing was folded.
    const REPEATABLE: bool = false;
    type Answer = u64;

    async fn run(&self, client: &mut Client) -> Result<u64, Failure> {
        let transaction = client.transaction().await?;
        if held(&transaction, &[&self.lease]).await? != [true] {
            return Err(LedgerError::LeaseLost(self.lease.key.clone()).into());
        }
        lock_lines(&transaction, &self.lines).await?;
        let mut folded = 0;
        for first in &self.first {
            folded += self.fold_behind(&transaction, *first).await?;
        }
        finish(transaction).await?;
        Ok(folded)
    }
}

impl Fold {
    async fn fold_behind(&self, client: &impl GenericClient, first: Uuid) -> Result<u64, Failure> {
        let waiting = client.prepare_cached(WAITING).await?;
        let rows = client
            .query(&waiting, &[&first, &self.in_flight, &limit(FOLDED_MAX + 1)])
            .await?;
        let waiting = all(&rows, |row| {
            Ok(Waiting {
                delivery: row.try_get::<_, Uuid>(0)?.into(),
                number: count(row.try_get(1)?)?,
                stands_for: numbers(row.try_get(2)?)?,
                asked: row.try_get(3)?,
            })
        })?;
        // Another one of the line may have become its first meanwhile.
        let made = fold(&waiting).filter(|made| made.folded[0].uuid() == first);
        let Some(Folded {
            into,
            folded,
            stands_for,
        }) = made
        else {
            return Ok(0);
        };
        let ids = column(&folded, |id| id.uuid());
        let fold = client.prepare_cached(FOLD).await?;
        let (numbers, many) = (stands_for.to_string(), big(folded.len()));
        client
            .execute(&fold, &[&ids, &into.uuid(), &numbers, &many])
            .await?;
        let advance = client.prepare_cached(ADVANCE).await?;
        client.execute(&advance, &[&first]).await?;
        Ok(count(many)?)
    }
}
