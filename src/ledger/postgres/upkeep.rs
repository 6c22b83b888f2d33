//! What is owed, runs, sealed values, and the ledger's own health.

use async_trait::async_trait;
use jiff::Timestamp;

use super::PostgresLedger;
use super::rows::{all, column, text};
use crate::stored::{count, json, json_text, limit, micros, moment, moment_if};
use crate::{
    Backlog, Deliveries, EndpointBacklog, LedgerError, ObjectBacklog, Owed, Quarantined, Run, Standing,
    TABLES, Upkeep,
};

#[async_trait]
impl Upkeep for PostgresLedger {
    async fn owed(&self) -> Result<Owed, LedgerError> {
        let pushes = "SELECT connection, object, min(due_at) FROM pushes WHERE attempts >= 0 \
                      GROUP BY connection, object ORDER BY connection, object";
        let parked = "SELECT connection, object, min(retry_at) FROM parked \
                      WHERE inbound AND retry_at IS NOT NULL \
                      GROUP BY connection, object ORDER BY connection, object";
        Ok(Owed {
            pushes: self.places(pushes).await?,
            endpoints: self.endpoints_due().await?,
            parked: self.places(parked).await?,
        })
    }

    async fn backlog(
        &self,
        objects: &[(String, String)],
        endpoints: &[String],
        most: usize,
    ) -> Result<Backlog, LedgerError> {
        let most = limit(most);
        let sql = "SELECT (SELECT count(*) FROM (SELECT 1 FROM pushes p \
                   WHERE p.connection = o.connection AND p.object = o.object LIMIT $3) AS counted), i.inbound, i.outbound \
                   FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS o (connection, object, n), \
                   LATERAL (SELECT count(*) FILTER (WHERE counted.inbound) AS inbound, \
                   count(*) FILTER (WHERE NOT counted.inbound) AS outbound FROM (SELECT p.inbound FROM parked p \
                   WHERE p.connection = o.connection AND p.object = o.object LIMIT $3) AS counted) AS i ORDER BY o.n";
        let connections = column(objects, |(connection, _)| text(connection));
        let names = column(objects, |(_, object)| text(object));
        let rows = self.database.query(sql, &[&connections, &names, &most]).await?;
        let objects = all(&rows, |row| {
            Ok(ObjectBacklog {
                owed: count(row.try_get(0)?)?,
                parked_in: count(row.try_get(1)?)?,
                parked_out: count(row.try_get(2)?)?,
            })
        })?;
        let some = |meant: &str| {
            format!(
                "(SELECT count(*) FROM (SELECT 1 FROM deliveries d WHERE d.endpoint = e.endpoint AND {meant} \
                 LIMIT $2) AS counted)"
            )
        };
        let sql = format!(
            "SELECT {} + {} + {}, {} FROM unnest($1::text[]) WITH ORDINALITY AS e (endpoint, n) ORDER BY e.n",
            some("d.state = 'due' AND d.fresh"),
            some("d.state = 'due' AND NOT d.fresh"),
            some("d.line IS NOT NULL AND d.state IN ('due', 'held') AND d.state = 'held'"),
            some("d.state = 'dead'")
        );
        let endpoints = column(endpoints, |endpoint| text(endpoint));
        let rows = self.database.query(&sql, &[&endpoints, &most]).await?;
        let endpoints = all(&rows, |row| {
            Ok(EndpointBacklog {
                waiting: count(row.try_get(0)?)?,
                dead: count(row.try_get(1)?)?,
            })
        })?;
        let sql = "SELECT count(*) FROM (SELECT 1 FROM conflicts WHERE state = 'open' LIMIT $1) AS counted";
        let rows = self.database.query(sql, &[&most]).await?;
        let open: Vec<u64> = all(&rows, |row| count(row.try_get(0)?))?;
        Ok(Backlog {
            objects,
            endpoints,
            open_conflicts: open.into_iter().sum(),
        })
    }

    async fn note_run(&self, run: &Run) -> Result<(), LedgerError> {
        let sql = "INSERT INTO runs (id, connection, object, direction, started_at, ended_at, counts, error) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET \
                   ended_at = excluded.ended_at, counts = excluded.counts, error = excluded.error";
        let ended_at = run.ended_at.map(micros);
        self.database
            .write(
                sql,
                &[
                    &run.id.uuid(),
                    &text(&run.connection),
                    &text(&run.object),
                    &text(&run.direction),
                    &micros(run.started_at),
                    &ended_at,
                    &json_text(&run.counts),
                    &text(&run.error),
                ],
            )
            .await?;
        Ok(())
    }

    async fn runs(&self, at_most: usize) -> Result<Vec<Run>, LedgerError> {
        let sql = "SELECT id, connection, object, direction, started_at, ended_at, counts, error FROM runs \
                   ORDER BY started_at DESC, id DESC LIMIT $1";
        let rows = self.database.query(sql, &[&limit(at_most)]).await?;
        all(&rows, |row| {
            Ok(Run {
                id: row.try_get::<_, uuid::Uuid>(0)?.into(),
                connection: row.try_get(1)?,
                object: row.try_get(2)?,
                direction: row.try_get(3)?,
                started_at: moment(row.try_get(4)?)?,
                ended_at: moment_if(row.try_get(5)?)?,
                counts: json(row.try_get(6)?)?,
                error: row.try_get(7)?,
            })
        })
    }

    async fn note_standing(&self, standing: &Standing) -> Result<(), LedgerError> {
        let sql = "INSERT INTO standings (connection, account, code, reason, since) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (connection) DO UPDATE SET account = excluded.account, code = excluded.code, \
                   reason = excluded.reason, since = excluded.since";
        let account = standing.account.as_deref().map(text);
        self.database
            .write(
                sql,
                &[
                    &text(&standing.connection),
                    &account,
                    &text(&standing.code),
                    &text(&standing.reason),
                    &micros(standing.since),
                ],
            )
            .await?;
        Ok(())
    }

    async fn standings(&self, connection: Option<&str>) -> Result<Vec<Standing>, LedgerError> {
        let sql = "SELECT connection, account, code, reason, since FROM standings \
                   WHERE $1::text IS NULL OR connection = $1 ORDER BY connection";
        let only = connection.map(text);
        let rows = self.database.query(sql, &[&only]).await?;
        all(&rows, |row| {
            Ok(Standing {
                connection: row.try_get(0)?,
                account: row.try_get(1)?,
                code: row.try_get(2)?,
                reason: row.try_get(3)?,
                since: moment(row.try_get(4)?)?,
            })
        })
    }

    async fn quarantine(&self, field: &Quarantined) -> Result<(), LedgerError> {
        let sql = "INSERT INTO quarantine (connection, object, field, reason, since) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT DO NOTHING";
        self.database
            .write(
                sql,
                &[
                    &text(&field.connection),
                    &text(&field.object),
                    &text(&field.field),
                    &text(&field.reason),
                    &micros(field.since),
                ],
            )
            .await?;
        Ok(())
    }

    async fn release_fields(
        &self,
        connection: &str,
        object: &str,
        fields: &[String],
    ) -> Result<(), LedgerError> {
        let sql = "DELETE FROM quarantine WHERE connection = $1 AND object = $2 AND field = ANY($3)";
        self.database
            .write(sql, &[&text(connection), &text(object), &fields])
            .await?;
        Ok(())
    }

    async fn quarantined(&self, of: Option<(&str, &str)>) -> Result<Vec<Quarantined>, LedgerError> {
        let sql = "SELECT connection, object, field, reason, since FROM quarantine \
                   WHERE $1::text IS NULL OR (connection = $1 AND object = $2) ORDER BY connection, object, field";
        let (at, object) = of.map(|(at, object)| (text(at), text(object))).unzip();
        let rows = self.database.query(sql, &[&at, &object]).await?;
        all(&rows, |row| {
            Ok(Quarantined {
                connection: row.try_get(0)?,
                object: row.try_get(1)?,
                field: row.try_get(2)?,
                reason: row.try_get(3)?,
                since: moment(row.try_get(4)?)?,
            })
        })
    }

    async fn keep_sealed(&self, name: &str, sealed: &[u8]) -> Result<(), LedgerError> {
        let sql = "INSERT INTO sealed (name, sealed) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed";
        self.database.write(sql, &[&text(name), &sealed]).await?;
        Ok(())
    }

    async fn sealed(&self, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let sql = "SELECT sealed FROM sealed WHERE name = $1";
        let rows = self.database.query(sql, &[&text(name)]).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }

    async fn check(&self) -> Result<(), LedgerError> {
        let sql = "UPDATE pulse SET beats = beats + 1";
        self.database.write(sql, &[]).await?;
        Ok(())
    }

    async fn row_counts(&self) -> Result<Vec<(String, u64)>, LedgerError> {
        let mut counts = Vec::with_capacity(TABLES.len());
        for table in TABLES {
            let rows = self
                .database
                .query(&format!("SELECT count(*) FROM {table}"), &[])
                .await?;
            let counted = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()?;
            counts.push((table.to_owned(), count(counted.unwrap_or(0))?));
        }
        Ok(counts)
    }
}

impl PostgresLedger {
    async fn places(&self, sql: &str) -> Result<Vec<(String, String, Timestamp)>, LedgerError> {
        let rows = self.database.query(sql, &[]).await?;
        all(&rows, |row| {
            Ok((row.try_get(0)?, row.try_get(1)?, moment(row.try_get(2)?)?))
        })
    }
}
