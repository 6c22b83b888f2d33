//! Where records went.

use async_trait::async_trait;
use deadpool_postgres::{GenericClient, Transaction};
use model::{EventId, RecordId};
use uuid::Uuid;

use super::PostgresLedger;
use super::database::Failure;
use super::rows::{all, column, text};
use crate::stored::{big, count, limit, micros, moment, push_outcome, sent};
use crate::{Journeys, LedgerError, Push, Pushed};

/// Writes what became of pushes.
pub(super) async fn write(transaction: &Transaction<'_>, pushed: &[Pushed]) -> Result<(), Failure> {
    if pushed.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO pushed (kind, record, connection, object, at, version, external_id, outcome, detail, run) \
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], \
               $7::text[], $8::text[], $9::text[], $10::uuid[]) \
               ON CONFLICT (kind, record, connection, object, at) DO UPDATE SET version = excluded.version, \
               external_id = excluded.external_id, outcome = excluded.outcome, detail = excluded.detail, \
               run = excluded.run";
    let statement = transaction.prepare_cached(sql).await?;
    transaction
        .execute(
            &statement,
            &[
                &column(pushed, |one| one.record.kind.name()),
                &column(pushed, |one| one.record.uuid),
                &column(pushed, |one| text(&one.connection)),
                &column(pushed, |one| text(&one.object)),
                &column(pushed, |one| micros(one.at)),
                &column(pushed, |one| big(one.version)),
                &column(pushed, |one| text(&one.external_id)),
                &column(pushed, |one| one.outcome.word()),
                &column(pushed, |one| text(&one.detail)),
                &column(pushed, |one| one.run.uuid()),
            ],
        )
        .await?;
    Ok(())
}

#[async_trait]
impl Journeys for PostgresLedger {
    async fn pushed(&self, record: RecordId, at_most: usize) -> Result<Vec<Pushed>, LedgerError> {
        let sql = "SELECT connection, object, at, version, external_id, outcome, detail, run FROM pushed \
                   WHERE kind = $1 AND record = $2 ORDER BY at DESC, connection DESC, object DESC LIMIT $3";
        let (kind, at_most) = (record.kind.name(), limit(at_most));
        let rows = self.database.query(sql, &[&kind, &record.uuid, &at_most]).await?;
        let mut found = all(&rows, |row| {
            Ok(Pushed {
                record,
                connection: row.try_get(0)?,
                object: row.try_get(1)?,
                at: moment(row.try_get(2)?)?,
                version: count(row.try_get(3)?)?,
                external_id: row.try_get(4)?,
                outcome: push_outcome(row.try_get(5)?)?,
                detail: row.try_get(6)?,
                run: row.try_get::<_, Uuid>(7)?.into(),
            })
        })?;
        found.reverse();
        Ok(found)
    }

    async fn owed_of(&self, record: RecordId) -> Result<Vec<Push>, LedgerError> {
        let sql = "SELECT connection, object, mark, due_at, attempts, sent FROM pushes \
                   WHERE kind = $1 AND record = $2 ORDER BY connection, object";
        let rows = self
            .database
            .query(sql, &[&record.kind.name(), &record.uuid])
            .await?;
        all(&rows, |row| {
            Ok(Push {
                connection: row.try_get(0)?,
                object: row.try_get(1)?,
                record,
                mark: count(row.try_get(2)?)?,
                due_at: moment(row.try_get(3)?)?,
                attempts: count(row.try_get(4)?)?,
                sent: sent(row.try_get(5)?)?,
            })
        })
    }

    async fn event_named(&self, source: &str, dedupe: &str) -> Result<Option<EventId>, LedgerError> {
        let sql = "SELECT id FROM events WHERE source = $1 AND dedupe = $2";
        let rows = self.database.query(sql, &[&text(source), &text(dedupe)]).await?;
        rows.first()
            .map(|row| Ok(row.try_get::<_, Uuid>(0)?.into()))
            .transpose()
    }
}
