//! Conflicts: written with a commit, listed, counted.

use std::collections::HashSet;

use async_trait::async_trait;
use deadpool_postgres::{GenericClient, Transaction};
use model::{ConflictId, RecordId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::PostgresLedger;
use super::database::Failure;
use super::rows::{self, all, column, text};
use crate::stored::{big, conflict_state, count, json, json_text, limit, micros, moment, moment_if};
use crate::{Conflict, ConflictFilter, Conflicts, LedgerError};

/// The columns that [`conflict`] reads.
const COLUMNS: &str = "id, kind, record, path, connection, object, external_id, base, ours, theirs, kept, ours_by, \
                       theirs_at, rule, winner, run, trace, found_at, revision, state, closed_at, closed_by";

/// The same as arrays of a batch.
const BATCH: &str = "unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], \
                     $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::text[], \
                     $15::text[], $16::uuid[], $17::text[], $18::bigint[], $19::bigint[], $20::text[], \
                     $21::bigint[], $22::text[])";

/// What a filter means.
const MEANT: &str = "($1::uuid[] IS NULL OR id = ANY($1)) AND ($2::text IS NULL OR state = $2) \
                     AND ($3::text IS NULL OR kind = $3) AND ($4::text IS NULL OR (kind = $4 AND record = $5::uuid)) \
                     AND ($6::text IS NULL OR connection = $6) AND ($7::text IS NULL OR path = $7)";

fn conflict(row: &Row) -> Result<Conflict, LedgerError> {
    let run: Option<Uuid> = row.try_get(15)?;
    Ok(Conflict {
        id: row.try_get::<_, Uuid>(0)?.into(),
        record: rows::id(row, 1)?,
        path: row.try_get(3)?,
        connection: row.try_get(4)?,
        object: row.try_get(5)?,
        external_id: row.try_get(6)?,
        base: json(row.try_get(7)?)?,
        ours: json(row.try_get(8)?)?,
        theirs: json(row.try_get(9)?)?,
        kept: json(row.try_get(10)?)?,
        ours_by: row.try_get(11)?,
        theirs_at: moment_if(row.try_get(12)?)?,
        rule: row.try_get(13)?,
        winner: row.try_get(14)?,
        run: run.map(Into::into),
        trace: row.try_get(16)?,
        found_at: moment(row.try_get(17)?)?,
        revision: count(row.try_get(18)?)?,
        state: conflict_state(row.try_get(19)?)?,
        closed_at: moment_if(row.try_get(20)?)?,
        closed_by: row.try_get(21)?,
    })
}

/// Writes conflicts; those that cannot be written as they were read make the commit stale.
pub(super) async fn write(transaction: &Transaction<'_>, conflicts: &[Conflict]) -> Result<(), Failure> {
    if conflicts.is_empty() {
        return Ok(());
    }
    let replace = format!(
        "UPDATE conflicts c SET external_id = n.external_id, base = n.base, ours = n.ours, theirs = n.theirs, \
         kept = n.kept, ours_by = n.ours_by, theirs_at = n.theirs_at, rule = n.rule, winner = n.winner, run = n.run, \
         trace = n.trace, revision = n.revision, state = n.state, closed_at = n.closed_at, closed_by = n.closed_by \
         FROM {BATCH} AS n ({COLUMNS}) WHERE c.id = n.id AND c.state = 'open' RETURNING c.id"
    );
    let mut written = run(transaction, &replace, conflicts.iter()).await?;
    let new: Vec<&Conflict> = conflicts
        .iter()
        .filter(|found| !written.contains(&found.id.uuid()))
        .collect();
    if !new.is_empty() {
        let insert = format!(
            "INSERT INTO conflicts ({COLUMNS}) SELECT * FROM {BATCH} AS n ({COLUMNS}) ORDER BY n.id \
             ON CONFLICT DO NOTHING RETURNING id"
        );
        written.extend(run(transaction, &insert, new.into_iter()).await?);
    }
    let stale = conflicts
        .iter()
        .filter(|found| !written.contains(&found.id.uuid()));
    let stale: Vec<RecordId> = stale.map(|found| found.record).collect();
    match stale.is_empty() {
        true => Ok(()),
        false => Err(LedgerError::Stale(stale).into()),
    }
}

/// Runs a statement over a batch; gives the ids of the rows that it wrote.
async fn run<'c>(
    transaction: &Transaction<'_>,
    sql: &str,
    conflicts: impl Iterator<Item = &'c Conflict> + Clone,
) -> Result<HashSet<Uuid>, Failure> {
    let all = || conflicts.clone();
    let statement = transaction.prepare_cached(sql).await?;
    let rows = transaction
        .query(
            &statement,
            &[
                &column(all(), |found| found.id.uuid()),
                &column(all(), |found| found.record.kind.name()),
                &column(all(), |found| found.record.uuid),
                &column(all(), |found| text(&found.path)),
                &column(all(), |found| text(&found.connection)),
                &column(all(), |found| text(&found.object)),
                &column(all(), |found| text(&found.external_id)),
                &column(all(), |found| json_text(&found.base)),
                &column(all(), |found| json_text(&found.ours)),
                &column(all(), |found| json_text(&found.theirs)),
                &column(all(), |found| json_text(&found.kept)),
                &column(all(), |found| text(&found.ours_by)),
                &column(all(), |found| found.theirs_at.map(micros)),
                &column(all(), |found| text(&found.rule)),
                &column(all(), |found| text(&found.winner)),
                &column(all(), |found| found.run.map(|run| run.uuid())),
                &column(all(), |found| text(&found.trace)),
                &column(all(), |found| micros(found.found_at)),
                &column(all(), |found| big(found.revision)),
                &column(all(), |found| found.state.word()),
                &column(all(), |found| found.closed_at.map(micros)),
                &column(all(), |found| text(&found.closed_by)),
            ],
        )
        .await?;
    let mut ids = HashSet::new();
    for row in &rows {
        ids.insert(row.try_get(0)?);
    }
    Ok(ids)
}

/// The ids of a filter, if it names any.
fn ids(filter: &ConflictFilter) -> Option<Vec<Uuid>> {
    (!filter.ids.is_empty()).then(|| column(&filter.ids, |id| id.uuid()))
}

#[async_trait]
impl Conflicts for PostgresLedger {
    async fn list_conflicts(
        &self,
        filter: &ConflictFilter,
        after: Option<ConflictId>,
        at_most: usize,
    ) -> Result<Vec<Conflict>, LedgerError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM conflicts WHERE {MEANT} AND ($8::uuid IS NULL OR id > $8) ORDER BY id LIMIT $9"
        );
        let rows = self
            .database
            .query(
                &sql,
                &[
                    &ids(filter),
                    &filter.state.map(crate::ConflictState::word),
                    &filter.kind.map(model::Kind::name),
                    &filter.record.map(|id| id.kind.name()),
                    &filter.record.map(|id| id.uuid),
                    &filter.connection.as_deref().map(text),
                    &filter.path.as_deref().map(text),
                    &after.map(|id| id.uuid()),
                    &limit(at_most),
                ],
            )
            .await?;
        all(&rows, conflict)
    }

    async fn count_conflicts(&self, filter: &ConflictFilter) -> Result<u64, LedgerError> {
        let sql = format!("SELECT count(*) FROM conflicts WHERE {MEANT}");
        let rows = self
            .database
            .query(
                &sql,
                &[
                    &ids(filter),
                    &filter.state.map(crate::ConflictState::word),
                    &filter.kind.map(model::Kind::name),
                    &filter.record.map(|id| id.kind.name()),
                    &filter.record.map(|id| id.uuid),
                    &filter.connection.as_deref().map(text),
                    &filter.path.as_deref().map(text),
                ],
            )
            .await?;
        rows.first().map_or(Ok(0), |row| count(row.try_get(0)?))
    }

    async fn open_conflicts(&self, records: &[RecordId]) -> Result<Vec<Conflict>, LedgerError> {
        let sql = format!(
            "SELECT {} FROM unnest($1::text[], $2::uuid[]) AS r (kind, record) \
             JOIN conflicts c ON c.kind = r.kind AND c.record = r.record AND c.state = 'open'",
            COLUMNS
                .split(", ")
                .map(|name| format!("c.{name}"))
                .collect::<Vec<_>>()
                .join(", ")
        );
        let (kinds, uuids) = (
            column(records, |id| id.kind.name()),
            column(records, |id| id.uuid),
        );
        let rows = self.database.query(&sql, &[&kinds, &uuids]).await?;
        all(&rows, conflict)
    }
}
