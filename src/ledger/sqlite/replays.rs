//! Replays.

use async_trait::async_trait;
use jiff::Timestamp;
use model::{DeliveryId, ReplayId};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::deliveries::condition;
use super::rows::{self, all};
use super::{SqliteLedger, leases};
use crate::stored::{big, count, limit, micros, moment, moment_if, names, names_text, wanted, wanted_text};
use crate::{Lease, LedgerError, Replay, ReplayState, ReplayStep, Replays, Wanted};

const REPLAYS: &str = "SELECT id, wanted, state, total, begun, place, made_at, ended_at FROM replays";

/// Whether something that was made due at a moment waits for its first try at an endpoint that is sent to.
const WAITS: &str = "\
SELECT EXISTS (SELECT 1 FROM deliveries d WHERE d.state = 'due' AND d.fresh = 0 AND d.endpoint = ?1 AND d.next_at = ?2
    AND d.attempts = 0
    AND NOT EXISTS (SELECT 1 FROM endpoint_states s WHERE s.endpoint = ?1 AND (s.stop IS NOT NULL OR s.rest_until > ?3)))";

/// Where others of its line wait already it waits behind them; what is due stays so.
const AGAIN: &str = "\
UPDATE deliveries SET fresh = 0, attempts = 0, next_at = ?2, state = iif(state = 'due' OR line IS NULL OR NOT EXISTS (
        SELECT 1 FROM deliveries o WHERE o.endpoint = deliveries.endpoint AND o.line = deliveries.line
        AND o.line IS NOT NULL AND o.state IN ('due', 'held')), 'due', 'held')
WHERE id = ?1 AND (state = 'dead' OR (state = 'due' AND fresh = 0) OR (state = 'delivered' AND ?3))
RETURNING endpoint";

#[async_trait]
impl Replays for SqliteLedger {
    async fn count_wanted(&self, wanted: &Wanted) -> Result<u64, LedgerError> {
        let (holds, values) = condition_of(wanted);
        let sql = format!("SELECT count(*) FROM deliveries d JOIN events e ON e.seq = d.seq WHERE {holds}");
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            count(statement.query_row(params_from_iter(&values), |row| row.get(0))?)
        })
        .await
    }

    async fn begin_replay(&self, replay: &Replay) -> Result<(), LedgerError> {
        let replay = replay.clone();
        self.write(1, move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO replays (id, wanted, state, total, begun, place, bite_at, bite_endpoints, made_at, \
                     ended_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, '[]', ?7, ?8)",
                )?
                .execute(params![
                    replay.id.uuid().as_bytes(),
                    wanted_text(&replay.wanted),
                    replay.state.word(),
                    big(replay.total),
                    big(replay.begun),
                    replay.place.map(|place| place.uuid().into_bytes()),
                    micros(replay.made_at),
                    replay.ended_at.map(micros),
                ])?;
            Ok(())
        })
        .await
    }

    async fn step_replay(
        &self,
        lease: &Lease,
        id: ReplayId,
        at_most: usize,
        at: Timestamp,
    ) -> Result<ReplayStep, LedgerError> {
        // What is next is looked for beside the writer: between two that are meant may lie very many that are not.
        let found = self
            .read(move |connection| look(connection, id, at_most, at))
            .await?;
        let (replay, next) = match found {
            Found::Ended => return Ok(ReplayStep::Ended),
            Found::Waits => return Ok(ReplayStep::Waits),
            Found::Next(replay, next) => (replay, next),
        };
        let lease = lease.clone();
        self.write(1 + next.len(), move |connection| {
            leases::fence(connection, Some(&lease))?;
            step(connection, &replay, &next, at)
        })
        .await
    }

    async fn cancel_replay(&self, id: ReplayId, at: Timestamp) -> Result<bool, LedgerError> {
        let sql = "UPDATE replays SET state = 'cancelled', ended_at = ?2 WHERE id = ?1 AND state = 'running'";
        self.write(1, move |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.execute(params![id.uuid().as_bytes(), micros(at)])? > 0)
        })
        .await
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, LedgerError> {
        self.read(move |connection| one(connection, id)).await
    }

    async fn replays(&self, state: Option<ReplayState>, at_most: usize) -> Result<Vec<Replay>, LedgerError> {
        // Written out, for only then SQLite sees that the index of those that run serves.
        let state = state.map(|state| format!(" WHERE state = '{}'", state.word()));
        let sql = format!("{REPLAYS}{} ORDER BY id DESC LIMIT ?1", state.unwrap_or_default());
        self.read(move |connection| all(connection, &sql, [limit(at_most)], replay))
            .await
    }
}

/// What a step finds.
enum Found {
    Ended,
    Waits,
    Next(Box<Replay>, Vec<DeliveryId>),
}

fn look(connection: &Connection, id: ReplayId, at_most: usize, now: Timestamp) -> Result<Found, LedgerError> {
    let Some(replay) = one(connection, id)?.filter(|replay| replay.state == ReplayState::Running) else {
        return Ok(Found::Ended);
    };
    let sql = "SELECT bite_at, bite_endpoints FROM replays WHERE id = ?1";
    let (bite_at, endpoints): (Option<i64>, String) = connection
        .prepare_cached(sql)?
        .query_row([id.uuid().as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if let Some(bite_at) = bite_at {
        let mut waits = connection.prepare_cached(WAITS)?;
        for endpoint in names(&endpoints)? {
            if waits.query_row(params![endpoint, bite_at, micros(now)], |row| row.get(0))? {
                return Ok(Found::Waits);
            }
        }
    }
    let (mut holds, mut values) = condition_of(&replay.wanted);
    if let Some(place) = replay.place {
        values.push(Value::Blob(place.uuid().as_bytes().to_vec()));
        holds.push_str(&format!(" AND d.id > ?{}", values.len()));
    }
    values.push(Value::Integer(limit(at_most)));
    let sql = format!(
        "SELECT d.id FROM deliveries d JOIN events e ON e.seq = d.seq WHERE {holds} ORDER BY d.id LIMIT ?{}",
        values.len()
    );
    let next = all(connection, &sql, params_from_iter(&values), |row| {
        Ok(rows::uuid(row, 0)?.into())
    })?;
    Ok(Found::Next(Box::new(replay), next))
}

fn step(
    connection: &Connection,
    replay: &Replay,
    next: &[DeliveryId],
    at: Timestamp,
) -> Result<ReplayStep, LedgerError> {
    if one(connection, replay.id)?.is_none_or(|replay| replay.state != ReplayState::Running) {
        // It was cancelled since it was looked at.
        return Ok(ReplayStep::Ended);
    }
    let mut again = connection.prepare_cached(AGAIN)?;
    let (mut endpoints, mut begun) = (std::collections::BTreeSet::new(), 0_u64);
    for id in next {
        let uuid = id.uuid();
        let values = params![uuid.as_bytes(), micros(at), replay.wanted.arrived];
        let endpoint: Option<String> = again.query_row(values, |row| row.get(0)).optional()?;
        if let Some(endpoint) = endpoint {
            endpoints.insert(endpoint);
            begun += 1;
        }
    }
    let endpoints: Vec<String> = endpoints.into_iter().collect();
    let place = next.last().copied().or(replay.place);
    let mut note = connection.prepare_cached(
        "UPDATE replays SET begun = begun + ?2, place = ?3, bite_at = ?4, bite_endpoints = ?5, \
         state = iif(?6, 'done', state), ended_at = iif(?6, ?4, ended_at) WHERE id = ?1",
    )?;
    note.execute(params![
        replay.id.uuid().as_bytes(),
        big(begun),
        place.map(|place| place.uuid().into_bytes()),
        micros(at),
        names_text(&endpoints),
        next.is_empty(),
    ])?;
    Ok(match next.is_empty() {
        true => ReplayStep::Ended,
        false => ReplayStep::Bite(endpoints),
    })
}

/// What is wanted of `deliveries d` and `events e`.
fn condition_of(wanted: &Wanted) -> (String, Vec<Value>) {
    let (mut holds, values) = condition(&wanted.filter);
    holds.push_str(match wanted.arrived {
        true => " AND (d.state IN ('dead', 'delivered') OR (d.state = 'due' AND d.fresh = 0))",
        false => " AND (d.state = 'dead' OR (d.state = 'due' AND d.fresh = 0))",
    });
    (holds, values)
}

fn one(connection: &Connection, id: ReplayId) -> Result<Option<Replay>, LedgerError> {
    let sql = format!("{REPLAYS} WHERE id = ?1");
    Ok(all(connection, &sql, [id.uuid().as_bytes()], replay)?.pop())
}

fn replay(row: &Row<'_>) -> Result<Replay, LedgerError> {
    let word = rows::text(row, 2)?;
    let state =
        ReplayState::parse(word).ok_or_else(|| crate::stored::damaged("the state of a replay", word))?;
    Ok(Replay {
        id: rows::uuid(row, 0)?.into(),
        wanted: wanted(rows::text(row, 1)?)?,
        state,
        total: count(row.get(3)?)?,
        begun: count(row.get(4)?)?,
        place: rows::uuid_if(row, 5)?.map(Into::into),
        made_at: moment(row.get(6)?)?,
        ended_at: moment_if(row.get(7)?)?,
    })
}
