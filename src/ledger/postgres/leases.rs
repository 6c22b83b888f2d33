//! Leases. Giving one back counts as an owner too, so that what was given back is as lost as what was taken away.

use async_trait::async_trait;
use deadpool_postgres::GenericClient;
use jiff::Timestamp;

use super::PostgresLedger;
use super::rows::text;
use crate::stored::{big, count, micros};
use crate::{Lease, Leases, LedgerError};

/// A lease that is free at any moment.
pub(super) const FREE: i64 = i64::MIN;

#[async_trait]
impl Leases for PostgresLedger {
    async fn lease(
        &self,
        key: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Lease>, LedgerError> {
        let sql = "INSERT INTO leases (key, token, holder, until) VALUES ($1, 1, $2, $3) \
                   ON CONFLICT (key) DO UPDATE SET token = leases.token + 1, holder = excluded.holder, \
                   until = excluded.until WHERE leases.until <= $4 RETURNING token";
        let values = (text(key), text(holder), micros(until), micros(now));
        let rows = self
            .database
            .write(sql, &[&values.0, &values.1, &values.2, &values.3])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Lease {
            key: key.to_owned(),
            token: count(row.try_get(0)?)?,
        }))
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<bool, LedgerError> {
        let sql = "UPDATE leases SET until = $3 WHERE key = $1 AND token = $2 RETURNING 1";
        let (key, token, until) = (text(&lease.key), big(lease.token), micros(until));
        let rows = self.database.write(sql, &[&key, &token, &until]).await?;
        Ok(!rows.is_empty())
    }

    async fn is_leased(&self, key: &str, now: Timestamp) -> Result<bool, LedgerError> {
        let sql = "SELECT 1 FROM leases WHERE key = $1 AND until > $2";
        let rows = self.database.query(sql, &[&text(key), &micros(now)]).await?;
        Ok(!rows.is_empty())
    }

    async fn release(&self, lease: &Lease) -> Result<(), LedgerError> {
        let sql = "UPDATE leases SET until = $3, token = token + 1 WHERE key = $1 AND token = $2";
        let (key, token) = (text(&lease.key), big(lease.token));
        self.database.write(sql, &[&key, &token, &FREE]).await?;
        Ok(())
    }
}

/// Leases, as they stay until the transaction ends.
pub(super) const HELD: &str =
    "SELECT key, token FROM leases WHERE key = ANY($1::text[]) ORDER BY key FOR SHARE";

/// Which of these leases are still held, in the same order. They stay so until the transaction ends.
pub(super) async fn held(
    client: &impl GenericClient,
    leases: &[&Lease],
) -> Result<Vec<bool>, super::database::Failure> {
    still_held(client, HELD, leases).await
}

/// The same, for whoever is about to give them back.
pub(super) async fn held_for_good(
    client: &impl GenericClient,
    leases: &[&Lease],
) -> Result<Vec<bool>, super::database::Failure> {
    let sql = "SELECT key, token FROM leases WHERE key = ANY($1) ORDER BY key FOR UPDATE";
    still_held(client, sql, leases).await
}

async fn still_held(
    client: &impl GenericClient,
    sql: &str,
    leases: &[&Lease],
) -> Result<Vec<bool>, super::database::Failure> {
    let keys: Vec<_> = leases.iter().map(|lease| text(&lease.key)).collect();
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &[&keys]).await?;
    let mut tokens = std::collections::HashMap::new();
    for row in &rows {
        tokens.insert(row.try_get::<_, &str>(0)?, row.try_get::<_, i64>(1)?);
    }
    let held = leases
        .iter()
        .zip(&keys)
        .map(|(lease, key)| tokens.get(key.as_ref()) == Some(&big(lease.token)));
    Ok(held.collect())
}
