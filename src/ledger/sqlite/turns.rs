//! Turns at endpoints.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{SqliteLedger, accept, deliveries, endpoints, leases};
use crate::stored::{big, count, micros};
use crate::{EndpointState, Lease, LedgerError, Look, Note, Turn, Turns, turn_key};

/// The key of a lease that is over when it is taken. Its number grows with each turn that was asked for in vain.
const ASKED: &str = "deliver?";

#[async_trait]
impl Turns for SqliteLedger {
    async fn begin_turn(
        &self,
        endpoint: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Option<Turn>, LedgerError> {
        let (endpoint, holder) = (endpoint.to_owned(), holder.to_owned());
        self.write(1, move |connection| {
            let lease = leases::take(connection, &turn_key(&endpoint), &holder, now, until)?;
            let Some(lease) = lease else {
                // A write that tells whoever has it to look; a row that is written as it was is not written at all.
                leases::take(connection, ASKED, &holder, now, now)?;
                return Ok(None);
            };
            let state = endpoints::states(connection, Some(&endpoint))?.pop();
            let state = state.unwrap_or_else(|| EndpointState::new(&endpoint));
            let due = match state.left_alone_until(now) {
                Some(_) => Vec::new(),
                None => deliveries::due(connection, &endpoint, now, limit)?,
            };
            Ok(Some(Turn { lease, state, due }))
        })
        .await
    }

    async fn look(&self, endpoint: &str, now: Timestamp, limit: usize) -> Result<Look, LedgerError> {
        let endpoint = endpoint.to_owned();
        self.read(move |connection| {
            let stopped = is_stopped(connection, &endpoint)?;
            let due = match stopped {
                true => Vec::new(),
                false => deliveries::due(connection, &endpoint, now, limit)?,
            };
            Ok(Look { due, stopped })
        })
        .await
    }

    async fn keep_turn(
        &self,
        lease: &Lease,
        endpoint: &str,
        until: Timestamp,
    ) -> Result<Option<bool>, LedgerError> {
        let (lease, endpoint) = (lease.clone(), endpoint.to_owned());
        self.write(1, move |connection| {
            let kept = leases::extend(connection, &lease, until)?;
            kept.then(|| is_stopped(connection, &endpoint)).transpose()
        })
        .await
    }

    async fn end_turn(
        &self,
        lease: &Lease,
        endpoint: &str,
        note: Option<Note>,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let (lease, endpoint) = (lease.clone(), endpoint.to_owned());
        let rows = 1 + note.as_ref().map_or(0, |note| 1 + note.events.len());
        self.write(rows, move |connection| {
            leases::fence(connection, Some(&lease))?;
            if let Some(note) = &note {
                accept::accept(connection, &note.events)?;
                keep(connection, &endpoint, note)?;
            }
            leases::give_back(connection, &lease)?;
            deliveries::endpoint_due(connection, &endpoint)
        })
        .await
    }

    async fn written_elsewhere(&self) -> Result<Option<u64>, LedgerError> {
        // On the connection that writes: what it writes itself does not count
        // (<https://sqlite.org/pragma.html#pragma_data_version>).
        self.write(0, |connection| {
            let mut statement = connection.prepare_cached("PRAGMA data_version")?;
            Ok(Some(count(statement.query_row([], |row| row.get(0))?)?))
        })
        .await
    }
}

fn is_stopped(connection: &Connection, endpoint: &str) -> Result<bool, LedgerError> {
    let sql = "SELECT 1 FROM endpoint_states WHERE endpoint = ?1 AND stop IS NOT NULL";
    Ok(connection.prepare_cached(sql)?.exists([endpoint])?)
}

fn keep(connection: &Connection, endpoint: &str, note: &Note) -> Result<(), LedgerError> {
    let Note { health, stop, .. } = note;
    let mut statement = connection.prepare_cached(
        "INSERT INTO endpoint_states (endpoint, stop, reason, stopped_at, failures, failed, failing_since, \
         opened, rest_until, sent_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
         ON CONFLICT (endpoint) DO UPDATE SET \
         reason = iif(stop IS NULL, excluded.reason, reason), \
         stopped_at = iif(stop IS NULL, excluded.stopped_at, stopped_at), \
         stop = ifnull(stop, excluded.stop), failures = excluded.failures, failed = excluded.failed, \
         failing_since = excluded.failing_since, opened = excluded.opened, \
         rest_until = excluded.rest_until, sent_at = excluded.sent_at",
    )?;
    statement.execute(params![
        endpoint,
        stop.as_ref().map(|stop| stop.kind.word()),
        stop.as_ref().map_or("", |stop| &stop.reason),
        stop.as_ref().map(|stop| micros(stop.at)),
        big(health.failures),
        big(health.failed),
        health.failing_since.map(micros),
        big(health.opened),
        health.rest_until.map(micros),
        health.sent_at.map(micros),
    ])?;
    Ok(())
}
