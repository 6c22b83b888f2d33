//! How endpoints stand.

use async_trait::async_trait;
use deadpool_postgres::Client;
use tokio_postgres::Row;

use super::PostgresLedger;
use super::accept::accept;
use super::database::{Failure, Work, finish};
use super::leases::held;
use super::rows::{all, text};
use crate::stored::{big, count, micros, moment_if, stop};
use crate::{EndpointState, Endpoints, Health, Lease, LedgerError, NewEvent, Stop};

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

const NOTE: &str = "\
INSERT INTO endpoint_states AS s (endpoint, stop, reason, stopped_at, failures, failed, failing_since, opened,
                                  rest_until, sent_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (endpoint) DO UPDATE SET
    reason = CASE WHEN s.stop IS NULL THEN excluded.reason ELSE s.reason END,
    stopped_at = CASE WHEN s.stop IS NULL THEN excluded.stopped_at ELSE s.stopped_at END,
    stop = coalesce(s.stop, excluded.stop), failures = excluded.failures, failed = excluded.failed,
    failing_since = excluded.failing_since, opened = excluded.opened, rest_until = excluded.rest_until,
    sent_at = excluded.sent_at";

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
            None => Ok(EndpointState {
                endpoint: endpoint.to_owned(),
                ..EndpointState::default()
            }),
        }
    }

    async fn note_health(
        &self,
        lease: &Lease,
        endpoint: &str,
        health: &Health,
        stop: Option<&Stop>,
        events: Vec<NewEvent>,
    ) -> Result<(), LedgerError> {
        let _permit = self.database.permit()?;
        let note = Note {
            lease: lease.clone(),
            endpoint: endpoint.to_owned(),
            health: *health,
            stop: stop.cloned(),
            events,
        };
        self.database.run(&note).await.map_err(|ended| ended.error)
    }

    async fn endpoint_states(&self, endpoint: Option<&str>) -> Result<Vec<EndpointState>, LedgerError> {
        let endpoint = endpoint.map(text);
        all(&self.database.query(STATES, &[&endpoint]).await?, state)
    }
}

struct Note {
    lease: Lease,
    endpoint: String,
    health: Health,
    stop: Option<Stop>,
    events: Vec<NewEvent>,
}

#[async_trait]
impl Work for Note {
    /// The events are duplicates of themselves the second time, and the state is the same.
    const REPEATABLE: bool = true;
    type Answer = ();

    async fn run(&self, client: &mut Client) -> Result<(), Failure> {
        let transaction = client.transaction().await?;
        if held(&transaction, &[&self.lease]).await? != [true] {
            return Err(LedgerError::LeaseLost(self.lease.key.clone()).into());
        }
        let events: Vec<&NewEvent> = self.events.iter().collect();
        accept(&transaction, &events).await?;
        let statement = transaction.prepare_cached(NOTE).await?;
        let (stop, health) = (self.stop.as_ref(), &self.health);
        transaction
            .execute(
                &statement,
                &[
                    &text(&self.endpoint),
                    &stop.map(|stop| stop.kind.word()),
                    &text(stop.map_or("", |stop| &stop.reason)),
                    &stop.map(|stop| micros(stop.at)),
                    &i64::from(health.failures),
                    &i64::from(health.failed),
                    &health.failing_since.map(micros),
                    &big(health.opened),
                    &health.rest_until.map(micros),
                    &health.sent_at.map(micros),
                ],
            )
            .await?;
        finish(transaction).await
    }
}

fn state(row: &Row) -> Result<EndpointState, LedgerError> {
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
