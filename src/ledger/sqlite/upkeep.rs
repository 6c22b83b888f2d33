//! What is owed, runs, sealed values, and the ledger's own health.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{self, all};
use super::{SqliteLedger, deliveries};
use crate::stored::{count, json, json_text, limit, micros, moment, moment_if};
use crate::{LedgerError, Owed, Quarantined, Run, Standing, TABLES, Upkeep};

#[async_trait]
impl Upkeep for SqliteLedger {
    async fn owed(&self) -> Result<Owed, LedgerError> {
        self.read(|connection| {
            let pushes = "SELECT connection, object, min(due_at) FROM pushes \
                          GROUP BY connection, object ORDER BY connection, object";
            let parked = "SELECT connection, object, min(retry_at) FROM parked \
                          WHERE inbound = 1 AND retry_at IS NOT NULL \
                          GROUP BY connection, object ORDER BY connection, object";
            Ok(Owed {
                pushes: places(connection, pushes)?,
                endpoints: deliveries::endpoints_due(connection)?,
                parked: places(connection, parked)?,
            })
        })
        .await
    }

    async fn note_run(&self, run: &Run) -> Result<(), LedgerError> {
        let run = run.clone();
        self.write(1, move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO runs (id, connection, object, direction, started_at, ended_at, counts, error) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE SET \
                     ended_at = excluded.ended_at, counts = excluded.counts, error = excluded.error",
                )?
                .execute(params![
                    run.id.uuid().as_bytes(),
                    run.connection,
                    run.object,
                    run.direction,
                    micros(run.started_at),
                    run.ended_at.map(micros),
                    json_text(&run.counts),
                    run.error
                ])?;
            Ok(())
        })
        .await
    }

    async fn runs(&self, at_most: usize) -> Result<Vec<Run>, LedgerError> {
        let sql = "SELECT id, connection, object, direction, started_at, ended_at, counts, error FROM runs \
                   ORDER BY started_at DESC, id DESC LIMIT ?1";
        self.read(move |connection| {
            all(connection, sql, [limit(at_most)], |row| {
                Ok(Run {
                    id: rows::uuid(row, 0)?.into(),
                    connection: row.get(1)?,
                    object: row.get(2)?,
                    direction: row.get(3)?,
                    started_at: moment(row.get(4)?)?,
                    ended_at: moment_if(row.get(5)?)?,
                    counts: json(rows::text(row, 6)?)?,
                    error: row.get(7)?,
                })
            })
        })
        .await
    }

    async fn note_standing(&self, standing: &Standing) -> Result<(), LedgerError> {
        let standing = standing.clone();
        self.write(1, move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO standings (connection, account, code, reason, since) VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT (connection) DO UPDATE SET account = excluded.account, code = excluded.code, \
                     reason = excluded.reason, since = excluded.since",
                )?
                .execute(params![
                    standing.connection,
                    standing.account,
                    standing.code,
                    standing.reason,
                    micros(standing.since)
                ])?;
            Ok(())
        })
        .await
    }

    async fn standings(&self, connection: Option<&str>) -> Result<Vec<Standing>, LedgerError> {
        let sql = "SELECT connection, account, code, reason, since FROM standings \
                   WHERE ?1 IS NULL OR connection = ?1 ORDER BY connection";
        let only = connection.map(str::to_owned);
        self.read(move |connection| {
            all(connection, sql, [&only], |row| {
                Ok(Standing {
                    connection: row.get(0)?,
                    account: row.get(1)?,
                    code: row.get(2)?,
                    reason: row.get(3)?,
                    since: moment(row.get(4)?)?,
                })
            })
        })
        .await
    }

    async fn quarantine(&self, field: &Quarantined) -> Result<(), LedgerError> {
        let field = field.clone();
        self.write(1, move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO quarantine (connection, object, field, reason, since) VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    field.connection,
                    field.object,
                    field.field,
                    field.reason,
                    micros(field.since)
                ])?;
            Ok(())
        })
        .await
    }

    async fn release_fields(
        &self,
        connection: &str,
        object: &str,
        fields: &[String],
    ) -> Result<(), LedgerError> {
        let (at, object, fields) = (connection.to_owned(), object.to_owned(), fields.to_vec());
        self.write(fields.len(), move |connection| {
            let sql = "DELETE FROM quarantine WHERE connection = ?1 AND object = ?2 AND field = ?3";
            let mut release = connection.prepare_cached(sql)?;
            for field in &fields {
                release.execute(params![at, object, field])?;
            }
            Ok(())
        })
        .await
    }

    async fn quarantined(&self, of: Option<(&str, &str)>) -> Result<Vec<Quarantined>, LedgerError> {
        let sql = "SELECT connection, object, field, reason, since FROM quarantine \
                   WHERE ?1 IS NULL OR (connection = ?1 AND object = ?2) ORDER BY connection, object, field";
        let of = of.map(|(at, object)| (at.to_owned(), object.to_owned())).unzip();
        self.read(move |connection| {
            all(connection, sql, params![of.0, of.1], |row| {
                Ok(Quarantined {
                    connection: row.get(0)?,
                    object: row.get(1)?,
                    field: row.get(2)?,
                    reason: row.get(3)?,
                    since: moment(row.get(4)?)?,
                })
            })
        })
        .await
    }

    async fn keep_sealed(&self, name: &str, sealed: &[u8]) -> Result<(), LedgerError> {
        let (name, sealed) = (name.to_owned(), sealed.to_vec());
        self.write(1, move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO sealed (name, sealed) VALUES (?1, ?2) \
                     ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed",
                )?
                .execute(params![name, sealed])?;
            Ok(())
        })
        .await
    }

    async fn sealed(&self, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let name = name.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT sealed FROM sealed WHERE name = ?1")?;
            Ok(statement.query_row([&name], |row| row.get(0)).optional()?)
        })
        .await
    }

    async fn check(&self) -> Result<(), LedgerError> {
        self.write(1, |connection| {
            connection
                .prepare_cached("UPDATE pulse SET beats = beats + 1")?
                .execute([])?;
            Ok(())
        })
        .await
    }

    async fn row_counts(&self) -> Result<Vec<(String, u64)>, LedgerError> {
        self.read(|connection| {
            let count_rows = |table: &&str| {
                let sql = format!("SELECT count(*) FROM {table}");
                let rows: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
                Ok(((*table).to_owned(), count(rows)?))
            };
            TABLES.iter().map(count_rows).collect()
        })
        .await
    }
}

fn places(connection: &Connection, sql: &str) -> Result<Vec<(String, String, Timestamp)>, LedgerError> {
    all(connection, sql, [], |row| {
        Ok((row.get(0)?, row.get(1)?, moment(row.get(2)?)?))
    })
}
