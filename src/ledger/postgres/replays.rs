//! Replays.

use async_trait::async_trait;
use deadpool_postgres::{Client, GenericClient};
use jiff::Timestamp;
use model::{DeliveryId, ReplayId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::PostgresLedger;
use super::accept::lock_lines;
use super::database::{Failure, Work, finish};
use super::deliveries::{Asked, filtered};
use super::leases::held;
use super::rows::all;
use crate::stored::{
    big, count, damaged, limit, micros, moment, moment_if, names, names_text, wanted, wanted_text,
};
use crate::{Lease, LedgerError, Replay, ReplayState, ReplayStep, Replays, Wanted};

/// Whether something that was made due at a moment waits for its first try at an endpoint that is sent to.
const WAITS: &str = "\
SELECT EXISTS (SELECT 1 FROM unnest($1::text[]) AS n (endpoint) JOIN deliveries d ON d.endpoint = n.endpoint
    WHERE d.state = 'due' AND NOT d.fresh AND d.next_at = $2 AND d.attempts = 0
    AND NOT EXISTS (SELECT 1 FROM endpoint_states s WHERE s.endpoint = n.endpoint
                    AND (s.stop IS NOT NULL OR s.rest_until > $3)))";

/// Locks what is made due, and tells the lines that it stands in.
const LOCK: &str = "\
SELECT d.id, d.endpoint, d.line FROM deliveries d
WHERE d.id = ANY($1) AND (d.state = 'dead' OR (d.state = 'due' AND NOT d.fresh) OR (d.state = 'delivered' AND $2))
ORDER BY d.id FOR UPDATE";

/// Where others of its line wait already it waits behind them, of several here all but the first; what is due stays so.
const AGAIN: &str = "\
UPDATE deliveries d SET fresh = false, attempts = 0, next_at = $2,
    state = CASE WHEN d.state = 'due' OR d.line IS NULL OR (l.place = 1 AND NOT EXISTS (
        SELECT 1 FROM deliveries o WHERE o.endpoint = d.endpoint AND o.line = d.line AND o.line IS NOT NULL
        AND o.state IN ('due', 'held'))) THEN 'due' ELSE 'held' END
FROM (SELECT t.id, row_number() OVER (PARTITION BY t.endpoint, t.line ORDER BY t.id) AS place
      FROM deliveries t WHERE t.id = ANY($1)) AS l
WHERE d.id = l.id";

const NOTE: &str = "\
UPDATE replays SET begun = begun + $2, place = coalesce($3, place), bite_at = $4, bite_endpoints = $5,
    state = CASE WHEN $6 THEN 'done' ELSE state END, ended_at = CASE WHEN $6 THEN $4 ELSE ended_at END
WHERE id = $1 AND state = 'running' RETURNING 1";

#[async_trait]
impl Replays for PostgresLedger {
    async fn count_wanted(&self, wanted: &Wanted) -> Result<u64, LedgerError> {
        let sql = filtered!(
            "SELECT count(*) FROM deliveries d JOIN events e ON e.seq = d.seq WHERE",
            " AND (d.state = 'dead' OR (d.state = 'due' AND NOT d.fresh) OR (d.state = 'delivered' AND $9))"
        );
        let asked = Asked::new(&wanted.filter);
        let values = asked.values(&[&wanted.arrived]);
        let rows = self.database.query(sql, &values).await?;
        let counted = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()?;
        count(counted.unwrap_or(0))
    }

    async fn begin_replay(&self, replay: &Replay) -> Result<(), LedgerError> {
        let sql = "INSERT INTO replays (id, wanted, state, total, begun, place, bite_at, bite_endpoints, made_at, \
                   ended_at) VALUES ($1, $2, $3, $4, $5, $6, NULL, '[]', $7, $8) ON CONFLICT DO NOTHING";
        let place = replay.place.map(|place| place.uuid());
        self.database
            .write(
                sql,
                &[
                    &replay.id.uuid(),
                    &wanted_text(&replay.wanted),
                    &replay.state.word(),
                    &big(replay.total),
                    &big(replay.begun),
                    &place,
                    &micros(replay.made_at),
                    &replay.ended_at.map(micros),
                ],
            )
            .await?;
        Ok(())
    }

    async fn step_replay(
        &self,
        lease: &Lease,
        id: ReplayId,
        at_most: usize,
        at: Timestamp,
    ) -> Result<ReplayStep, LedgerError> {
        let replay = self.replay(id).await?;
        let Some(replay) = replay.filter(|replay| replay.state == ReplayState::Running) else {
            return Ok(ReplayStep::Ended);
        };
        if self.waits(id, at).await? {
            return Ok(ReplayStep::Waits);
        }
        let next = self.next(&replay, at_most).await?;
        let _permit = self.database.permit()?;
        let step = Step {
            lease: lease.clone(),
            replay,
            next,
            at,
        };
        self.database.run(&step).await.map_err(|ended| ended.error)
    }

    async fn cancel_replay(&self, id: ReplayId, at: Timestamp) -> Result<bool, LedgerError> {
        let sql = "UPDATE replays SET state = 'cancelled', ended_at = $2 WHERE id = $1 AND state = 'running' RETURNING 1";
        let rows = self.database.write(sql, &[&id.uuid(), &micros(at)]).await?;
        Ok(!rows.is_empty())
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, LedgerError> {
        let sql =
            "SELECT id, wanted, state, total, begun, place, made_at, ended_at FROM replays WHERE id = $1";
        let rows = self.database.query(sql, &[&id.uuid()]).await?;
        rows.first().map(replay).transpose()
    }

    async fn replays(&self, state: Option<ReplayState>, at_most: usize) -> Result<Vec<Replay>, LedgerError> {
        let sql = "SELECT id, wanted, state, total, begun, place, made_at, ended_at FROM replays \
                   WHERE $1::text IS NULL OR state = $1 ORDER BY id DESC LIMIT $2";
        let state = state.map(ReplayState::word);
        let rows = self.database.query(sql, &[&state, &limit(at_most)]).await?;
        all(&rows, replay)
    }
}

impl PostgresLedger {
    async fn waits(&self, id: ReplayId, now: Timestamp) -> Result<bool, LedgerError> {
        let sql = "SELECT bite_at, bite_endpoints FROM replays WHERE id = $1 AND bite_at IS NOT NULL";
        let rows = self.database.query(sql, &[&id.uuid()]).await?;
        let Some(row) = rows.first() else {
            return Ok(false);
        };
        let (bite_at, endpoints): (i64, Vec<String>) = (row.try_get(0)?, names(row.try_get(1)?)?);
        let rows = self
            .database
            .query(WAITS, &[&endpoints, &bite_at, &micros(now)])
            .await?;
        Ok(rows
            .first()
            .map(|row| row.try_get(0))
            .transpose()?
            .unwrap_or(false))
    }

    async fn next(&self, replay: &Replay, at_most: usize) -> Result<Vec<DeliveryId>, LedgerError> {
        let sql = filtered!(
            "SELECT d.id FROM deliveries d JOIN events e ON e.seq = d.seq WHERE",
            " AND (d.state = 'dead' OR (d.state = 'due' AND NOT d.fresh) OR (d.state = 'delivered' AND $9)) \
             AND ($10::uuid IS NULL OR d.id > $10) ORDER BY d.id LIMIT $11"
        );
        let asked = Asked::new(&replay.wanted.filter);
        let place = replay.place.map(|place| place.uuid());
        let at_most = limit(at_most);
        let values = asked.values(&[&replay.wanted.arrived, &place, &at_most]);
        let rows = self.database.query(sql, &values).await?;
        all(&rows, |row| Ok(row.try_get::<_, Uuid>(0)?.into()))
    }
}

struct Step {
    lease: Lease,
    replay: Replay,
    next: Vec<DeliveryId>,
    at: Timestamp,
}

#[async_trait]
impl Work for Step {
    /// A second time it would count its deliveries once more.
    const REPEATABLE: bool = false;
    type Answer = ReplayStep;

    async fn run(&self, client: &mut Client) -> Result<ReplayStep, Failure> {
        let transaction = client.transaction().await?;
        if held(&transaction, &[&self.lease]).await? != [true] {
            return Err(LedgerError::LeaseLost(self.lease.key.clone()).into());
        }
        let (begun, endpoints) = self.make_due(&transaction).await?;
        let note = transaction.prepare_cached(NOTE).await?;
        let place = self.next.last().map(|place| place.uuid());
        let (ends, endpoints_text) = (self.next.is_empty(), names_text(&endpoints));
        let running = transaction
            .query(
                &note,
                &[
                    &self.replay.id.uuid(),
                    &big(begun),
                    &place,
                    &micros(self.at),
                    &endpoints_text,
                    &ends,
                ],
            )
            .await?;
        if running.is_empty() {
            // Cancelled since it was looked at: nothing of this bite happens.
            return Ok(ReplayStep::Ended);
        }
        finish(transaction).await?;
        Ok(if ends {
            ReplayStep::Ended
        } else {
            ReplayStep::Bite(endpoints)
        })
    }
}

impl Step {
    /// Answers how many became due, and at which endpoints.
    async fn make_due(&self, client: &impl GenericClient) -> Result<(usize, Vec<String>), Failure> {
        let ids: Vec<Uuid> = self.next.iter().map(|id| id.uuid()).collect();
        let lock = client.prepare_cached(LOCK).await?;
        let rows = client.query(&lock, &[&ids, &self.replay.wanted.arrived]).await?;
        let (mut ids, mut endpoints, mut lines) = (Vec::new(), std::collections::BTreeSet::new(), Vec::new());
        for row in &rows {
            let (endpoint, line): (&str, Option<&str>) = (row.try_get(1)?, row.try_get(2)?);
            ids.push(row.try_get::<_, Uuid>(0)?);
            endpoints.insert(endpoint.to_owned());
            lines.extend(line.map(|line| (endpoint, line)));
        }
        if !lines.is_empty() {
            lock_lines(client, &lines).await?;
        }
        if !ids.is_empty() {
            let again = client.prepare_cached(AGAIN).await?;
            client.execute(&again, &[&ids, &micros(self.at)]).await?;
        }
        Ok((ids.len(), endpoints.into_iter().collect()))
    }
}

fn replay(row: &Row) -> Result<Replay, LedgerError> {
    let word: &str = row.try_get(2)?;
    let state = ReplayState::parse(word).ok_or_else(|| damaged("the state of a replay", word))?;
    Ok(Replay {
        id: row.try_get::<_, Uuid>(0)?.into(),
        wanted: wanted(row.try_get(1)?)?,
        state,
        total: count(row.try_get(3)?)?,
        begun: count(row.try_get(4)?)?,
        place: row.try_get::<_, Option<Uuid>>(5)?.map(Into::into),
        made_at: moment(row.try_get(6)?)?,
        ended_at: moment_if(row.try_get(7)?)?,
    })
}
