//! Where records went.

use async_trait::async_trait;
use model::{EventId, RecordId};
use rusqlite::{Connection, params};

use super::SqliteLedger;
use super::rows::{self, all};
use crate::stored::{big, count, limit, micros, moment, push_outcome, sent};
use crate::{Journeys, LedgerError, Push, Pushed};

/// Writes what became of pushes.
pub(super) fn write(connection: &Connection, pushed: &[Pushed]) -> Result<(), LedgerError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO pushed (kind, record, connection, object, at, version, external_id, outcome, detail, run) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (kind, record, connection, object, at) \
         DO UPDATE SET version = excluded.version, external_id = excluded.external_id, outcome = excluded.outcome, \
         detail = excluded.detail, run = excluded.run",
    )?;
    for one in pushed {
        insert.execute(params![
            one.record.kind.name(),
            one.record.uuid.as_bytes(),
            one.connection,
            one.object,
            micros(one.at),
            big(one.version),
            one.external_id,
            one.outcome.word(),
            one.detail,
            one.run.uuid().as_bytes()
        ])?;
    }
    Ok(())
}

#[async_trait]
impl Journeys for SqliteLedger {
    async fn pushed(&self, record: RecordId, at_most: usize) -> Result<Vec<Pushed>, LedgerError> {
        let sql = "SELECT connection, object, at, version, external_id, outcome, detail, run FROM pushed \
                   WHERE kind = ?1 AND record = ?2 ORDER BY at DESC, connection DESC, object DESC LIMIT ?3";
        self.read(move |reader| {
            let asked = params![record.kind.name(), record.uuid.as_bytes(), limit(at_most)];
            let mut found = all(reader, sql, asked, |row| {
                Ok(Pushed {
                    record,
                    connection: row.get(0)?,
                    object: row.get(1)?,
                    at: moment(row.get(2)?)?,
                    version: count(row.get(3)?)?,
                    external_id: row.get(4)?,
                    outcome: push_outcome(rows::text(row, 5)?)?,
                    detail: row.get(6)?,
                    run: rows::uuid(row, 7)?.into(),
                })
            })?;
            found.reverse();
            Ok(found)
        })
        .await
    }

    async fn owed_of(&self, record: RecordId) -> Result<Vec<Push>, LedgerError> {
        let sql = "SELECT connection, object, mark, due_at, attempts, sent FROM pushes \
                   WHERE kind = ?1 AND record = ?2 ORDER BY connection, object";
        self.read(move |reader| {
            all(
                reader,
                sql,
                params![record.kind.name(), record.uuid.as_bytes()],
                |row| {
                    Ok(Push {
                        connection: row.get(0)?,
                        object: row.get(1)?,
                        record,
                        mark: count(row.get(2)?)?,
                        due_at: moment(row.get(3)?)?,
                        attempts: count(row.get(4)?)?,
                        sent: sent(row.get::<_, Option<String>>(5)?.as_deref())?,
                    })
                },
            )
        })
        .await
    }

    async fn event_named(&self, source: &str, dedupe: &str) -> Result<Option<EventId>, LedgerError> {
        let (source, dedupe) = (source.to_owned(), dedupe.to_owned());
        let sql = "SELECT id FROM events WHERE source = ?1 AND dedupe = ?2";
        self.read(move |reader| {
            let found = all(reader, sql, params![source, dedupe], |row| {
                Ok(rows::uuid(row, 0)?.into())
            })?;
            Ok(found.into_iter().next())
        })
        .await
    }
}
