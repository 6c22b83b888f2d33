//! What is owed, runs, sealed values, and the ledger's own health.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{self, all};
use super::{SqliteLedger, deliveries};
use crate::stored::{count, json, json_text, limit, micros, moment, moment_if};
use crate::{
    Backlog, EndpointBacklog, LedgerError, ObjectBacklog, Owed, Quarantined, Run, Standing, TABLES, Upkeep,
};

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

    async fn backlog(
        &self,
        objects: &[(String, String)],
        endpoints: &[String],
        most: usize,
    ) -> Result<Backlog, LedgerError> {
        let (objects, endpoints, most) = (objects.to_vec(), endpoints.to_vec(), limit(most));
        self.read(move |connection| {
            let mut backlog = Backlog::default();
            for (at, object) in &objects {
                let owed = "SELECT count(*) FROM (SELECT 1 FROM pushes WHERE connection = ?1 AND object = ?2 LIMIT ?3)";
                let parked = "SELECT count(*), coalesce(sum(inbound), 0) FROM \
                              (SELECT inbound FROM parked WHERE connection = ?1 AND object = ?2 LIMIT ?3)";
                let asked = params![at, object, most];
                let owed = connection.prepare_cached(owed)?.query_row(asked, |row| row.get(0))?;
                let mut parked = connection.prepare_cached(parked)?;
                let (all, parked_in): (i64, i64) =
                    parked.query_row(asked, |row| Ok((row.get(0)?, row.get(1)?)))?;
                backlog.objects.push(ObjectBacklog {
                    owed: count(owed)?,
                    parked_in: count(parked_in)?,
                    parked_out: count(all - parked_in)?,
                });
            }
            for endpoint in &endpoints {
                let some = |meant: &str| -> Result<u64, LedgerError> {
                    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE endpoint = ?1 AND {meant} LIMIT ?2)");
                    let rows = connection.prepare_cached(&sql)?.query_row(params![endpoint, most], |row| row.get(0))?;
                    count(rows)
                };
                backlog.endpoints.push(EndpointBacklog {
                    waiting: some("state = 'due' AND fresh = 1")?
                        + some("state = 'due' AND fresh = 0")?
                        + some("line IS NOT NULL AND state IN ('due', 'held') AND state = 'held'")?,
                    dead: some("state = 'dead'")?,
                });
            }
            let open = "SELECT count(*) FROM (SELECT 1 FROM conflicts WHERE state = 'open' LIMIT ?1)";
            let open = connection.prepare_cached(open)?.query_row([most], |row| row.get(0))?;
            backlog.open_conflicts = count(open)?;
            Ok(backlog)
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
