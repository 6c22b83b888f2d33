//! Leases. Giving one back counts as an owner too, so that what was given back is as lost as what was taken away.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::SqliteLedger;
use crate::stored::{big, count, micros};
use crate::{Lease, Leases, LedgerError, turn_key};

/// A lease that is free at any moment.
const FREE: i64 = i64::MIN;

#[async_trait]
impl Leases for SqliteLedger {
    async fn lease(
        &self,
        key: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Lease>, LedgerError> {
        let (key, holder) = (key.to_owned(), holder.to_owned());
        self.write(1, move |connection| take(connection, &key, &holder, now, until))
            .await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<bool, LedgerError> {
        let lease = lease.clone();
        self.write(1, move |connection| extend(connection, &lease, until))
            .await
    }

    async fn is_leased(&self, key: &str, now: Timestamp) -> Result<bool, LedgerError> {
        let key = key.to_owned();
        self.read(move |connection| Ok(is_taken(connection, &key, now)?))
            .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), LedgerError> {
        let lease = lease.clone();
        self.write(1, move |connection| give_back(connection, &lease))
            .await
    }
}

fn is_taken(connection: &Connection, key: &str, now: Timestamp) -> rusqlite::Result<bool> {
    let sql = "SELECT token FROM leases WHERE key = ?1 AND until > ?2";
    connection.prepare_cached(sql)?.exists(params![key, micros(now)])
}

/// Has a lease last until a moment; false when it is lost.
pub(super) fn extend(connection: &Connection, lease: &Lease, until: Timestamp) -> Result<bool, LedgerError> {
    let sql = "UPDATE leases SET until = ?3 WHERE key = ?1 AND token = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.execute(params![lease.key, big(lease.token), micros(until)])? == 1)
}

/// Takes a lease, if nobody has it.
pub(super) fn take(
    connection: &Connection,
    key: &str,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Lease>, LedgerError> {
    if is_taken(connection, key, now)? {
        return Ok(None);
    }
    // Not by RETURNING, which costs a table of its own each time.
    let sql = "INSERT INTO leases (key, token, holder, until) VALUES (?1, 1, ?2, ?3) \
               ON CONFLICT (key) DO UPDATE SET token = token + 1, holder = excluded.holder, until = excluded.until";
    connection
        .prepare_cached(sql)?
        .execute(params![key, holder, micros(until)])?;
    let mut token = connection.prepare_cached("SELECT token FROM leases WHERE key = ?1")?;
    let token = token.query_row([key], |row| row.get(0))?;
    Ok(Some(Lease {
        key: key.to_owned(),
        token: count(token)?,
    }))
}

/// Gives a lease back, unless it is lost.
pub(super) fn give_back(connection: &Connection, lease: &Lease) -> Result<(), LedgerError> {
    let sql = "UPDATE leases SET until = ?3, token = token + 1 WHERE key = ?1 AND token = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute(params![lease.key, big(lease.token), FREE])?;
    Ok(())
}

/// Gives all turns back, whoever has them.
pub(super) fn free_turns(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "UPDATE leases SET until = ?1, token = token + 1 WHERE until > ?1 AND key GLOB ?2";
    connection.execute(sql, params![FREE, turn_key("*")])?;
    Ok(())
}

/// Refuses a write whose lease is somebody else's by now.
pub(super) fn fence(connection: &Connection, lease: Option<&Lease>) -> Result<(), LedgerError> {
    let Some(lease) = lease else { return Ok(()) };
    let sql = "SELECT 1 FROM leases WHERE key = ?1 AND token = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    if statement.exists(params![lease.key, big(lease.token)])? {
        Ok(())
    } else {
        Err(LedgerError::LeaseLost(lease.key.clone()))
    }
}
