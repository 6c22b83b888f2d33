//! How endpoints stand.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::PostgresLedger;
use super::rows::{all, text};
use crate::stored::{count, micros, moment_if, stop};
use crate::{EndpointState, Endpoints, Health, LedgerError, Stop};

const STATES: &str = "SELECT endpoint, stop, reason, stopped_at, failures, failed, failing_since, opened, rest_until, \
                      sent_at FROM endpoint_states WHERE $1::text IS NULL OR endpoint = $1 ORDER BY endpoint";

/// Both see the row as it was before: a statement does not see what its own parts write.
const STOP: &str = "\
WITH told AS (
    INSERT INTO endpoint_states (endpoint, stop, reason, stopped_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (endpoint) DO UPDATE SET stop = excluded.stop, reason = excluded.reason, stopped_at = excluded.stopped_at)
SELECT endpoint, stop, reason, stopped_at, failures, failed, failing_since, opened, rest_until, sent_at
FROM endpoint_states WHERE endpoint = $1";
const GO_ON: &str = "\
DELETE FROM endpoint_states WHERE endpoint = $1
RETURNING endpoint, stop, reason, stopped_at, failures, failed, failing_since, opened, rest_until, sent_at";

#[async_trait]
impl Endpoints for PostgresLedger {
    async fn stop_endpoint(&self, endpoint: &str, stop: Option<&Stop>) -> Result<EndpointState, LedgerError> {
        let name = text(endpoint);
        let rows = match stop {
            Some(stop) => {
                let (kind, reason) = (stop.kind.word(), text(&stop.reason));
                self.database
                    .write(STOP, &[&name, &kind, &reason, &micros(stop.at)])
                    .await?
            }
            None => self.database.write(GO_ON, &[&name]).await?,
        };
        match rows.first() {
            Some(row) => state(row),
            None => Ok(EndpointState::new(endpoint)),
        }
    }

    async fn endpoint_states(&self, endpoint: Option<&str>) -> Result<Vec<EndpointState>, LedgerError> {
        let endpoint = endpoint.map(text);
        all(&self.database.query(STATES, &[&endpoint]).await?, state)
    }
}

/// How an endpoint stands, from the columns of [`STATES`].
pub(super) fn state(row: &Row) -> Result<EndpointState, LedgerError> {
    let kind: Option<&str> = row.try_get(1)?;
    Ok(EndpointState {
        endpoint: row.try_get(0)?,
        stop: stop(kind, row.try_get(2)?, row.try_get(3)?)?,
        health: Health {
            failures: count(row.try_get(4)?)?,
            failed: count(row.try_get(5)?)?,
            failing_since: moment_if(row.try_get(6)?)?,
            opened: count(row.try_get(7)?)?,
            rest_until: moment_if(row.try_get(8)?)?,
            sent_at: moment_if(row.try_get(9)?)?,
        },
    })
}
