//! How endpoints stand.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::rows::{self, all};
use super::{SqliteLedger, accept, leases};
use crate::stored::{big, count, micros, moment_if, stop};
use crate::{EndpointState, Endpoints, Health, Lease, LedgerError, NewEvent, Stop};

const STATES: &str = "SELECT endpoint, stop, reason, stopped_at, failures, failed, failing_since, opened, rest_until, \
                      sent_at FROM endpoint_states WHERE ?1 IS NULL OR endpoint = ?1 ORDER BY endpoint";

#[async_trait]
impl Endpoints for SqliteLedger {
    async fn stop_endpoint(&self, endpoint: &str, stop: Option<&Stop>) -> Result<EndpointState, LedgerError> {
        let (endpoint, stop) = (endpoint.to_owned(), stop.cloned());
        self.write(1, move |connection| {
            let before = states(connection, Some(&endpoint))?.pop();
            match &stop {
                Some(stop) => connection
                    .prepare_cached(
                        "INSERT INTO endpoint_states (endpoint, stop, reason, stopped_at) VALUES (?1, ?2, ?3, ?4) \
                         ON CONFLICT (endpoint) DO UPDATE SET stop = excluded.stop, reason = excluded.reason, \
                         stopped_at = excluded.stopped_at",
                    )?
                    .execute(params![
                        endpoint,
                        stop.kind.word(),
                        stop.reason,
                        micros(stop.at)
                    ])?,
                None => connection
                    .prepare_cached("DELETE FROM endpoint_states WHERE endpoint = ?1")?
                    .execute([&endpoint])?,
            };
            Ok(before.unwrap_or_else(|| EndpointState {
                endpoint: endpoint.clone(),
                ..EndpointState::default()
            }))
        })
        .await
    }

    async fn note_health(
        &self,
        lease: &Lease,
        endpoint: &str,
        health: &Health,
        stop: Option<&Stop>,
        events: Vec<NewEvent>,
    ) -> Result<(), LedgerError> {
        let (lease, endpoint, health, stop) = (lease.clone(), endpoint.to_owned(), *health, stop.cloned());
        self.write(1 + events.len(), move |connection| {
            leases::fence(connection, Some(&lease))?;
            accept::accept(connection, &events)?;
            let mut note = connection.prepare_cached(
                "INSERT INTO endpoint_states (endpoint, stop, reason, stopped_at, failures, failed, failing_since, \
                 opened, rest_until, sent_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
                 ON CONFLICT (endpoint) DO UPDATE SET \
                 reason = iif(stop IS NULL, excluded.reason, reason), \
                 stopped_at = iif(stop IS NULL, excluded.stopped_at, stopped_at), \
                 stop = ifnull(stop, excluded.stop), failures = excluded.failures, failed = excluded.failed, \
                 failing_since = excluded.failing_since, opened = excluded.opened, \
                 rest_until = excluded.rest_until, sent_at = excluded.sent_at",
            )?;
            note.execute(params![
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
        })
        .await
    }

    async fn endpoint_states(&self, endpoint: Option<&str>) -> Result<Vec<EndpointState>, LedgerError> {
        let endpoint = endpoint.map(str::to_owned);
        self.read(move |connection| states(connection, endpoint.as_deref()))
            .await
    }
}

fn states(connection: &Connection, endpoint: Option<&str>) -> Result<Vec<EndpointState>, LedgerError> {
    all(connection, STATES, [endpoint], state)
}

fn state(row: &Row<'_>) -> Result<EndpointState, LedgerError> {
    let kind: Option<String> = row.get(1)?;
    Ok(EndpointState {
        endpoint: row.get(0)?,
        stop: stop(kind.as_deref(), rows::text(row, 2)?, row.get(3)?)?,
        health: Health {
            failures: count(row.get(4)?)?,
            failed: count(row.get(5)?)?,
            failing_since: moment_if(row.get(6)?)?,
            opened: count(row.get(7)?)?,
            rest_until: moment_if(row.get(8)?)?,
            sent_at: moment_if(row.get(9)?)?,
        },
    })
}
