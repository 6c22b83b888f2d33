//! How endpoints stand.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::SqliteLedger;
use super::rows::{self, all};
use crate::stored::{count, micros, moment_if, stop};
use crate::{EndpointState, Endpoints, Health, LedgerError, Stop};

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
            Ok(before.unwrap_or_else(|| EndpointState::new(&endpoint)))
        })
        .await
    }

    async fn endpoint_states(&self, endpoint: Option<&str>) -> Result<Vec<EndpointState>, LedgerError> {
        let endpoint = endpoint.map(str::to_owned);
        self.read(move |connection| states(connection, endpoint.as_deref()))
            .await
    }
}

pub(super) fn states(
    connection: &Connection,
    endpoint: Option<&str>,
) -> Result<Vec<EndpointState>, LedgerError> {
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
