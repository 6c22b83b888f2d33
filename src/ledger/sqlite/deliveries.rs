//! Deliveries and attempts, refusals, stopped endpoints.

use async_trait::async_trait;
use jiff::Timestamp;
use model::{DeliveryId, EventId};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::rows::{self, all, extend};
use super::{SqliteLedger, accept, leases};
use crate::contract::type_or_group;
use crate::stored::{
    about, big, count, delivery_columns, first_id, limit, micros, moment, moment_if, names_text, next,
    next_columns,
};
use crate::{
    Accepted, Attempt, Deliveries, Delivery, DeliveryFilter, Due, EndpointSequence, EventFilter, EventRow,
    Lease, LedgerError, NewDelivery, NewEvent, REFUSALS_MAX, Refusal, Turns,
};

/// The first of what is fresh is the earliest accepted; the first of what was tried has the earliest moment. Endpoints
/// are found by skipping from one to the next through the two indexes, so a long backlog costs nothing.
pub(super) const ENDPOINTS_DUE: &str = "\
WITH RECURSIVE
fresh (endpoint) AS (
    SELECT min(endpoint) FROM deliveries WHERE state = 'due' AND fresh = 1
    UNION ALL
    SELECT (SELECT min(d.endpoint) FROM deliveries d
            WHERE d.state = 'due' AND d.fresh = 1 AND d.endpoint > fresh.endpoint)
    FROM fresh WHERE fresh.endpoint IS NOT NULL),
again (endpoint) AS (
    SELECT min(endpoint) FROM deliveries WHERE state = 'due' AND fresh = 0
    UNION ALL
    SELECT (SELECT min(d.endpoint) FROM deliveries d
            WHERE d.state = 'due' AND d.fresh = 0 AND d.endpoint > again.endpoint)
    FROM again WHERE again.endpoint IS NOT NULL),
first (endpoint, at) AS (
    SELECT endpoint, (SELECT next_at FROM deliveries d
                      WHERE d.state = 'due' AND d.fresh = 1 AND d.endpoint = fresh.endpoint ORDER BY seq LIMIT 1)
    FROM fresh WHERE endpoint IS NOT NULL
    UNION ALL
    SELECT endpoint, (SELECT min(next_at) FROM deliveries d
                      WHERE d.state = 'due' AND d.fresh = 0 AND d.endpoint = again.endpoint)
    FROM again WHERE endpoint IS NOT NULL)
SELECT first.endpoint, max(min(at), ifnull(min(rest_until), 0)) AS at
FROM first LEFT JOIN endpoint_states s ON s.endpoint = first.endpoint
WHERE s.stop IS NULL
GROUP BY first.endpoint ORDER BY at, first.endpoint";

const ENDPOINT_DUE: &str = "\
SELECT max(min(at), ifnull((SELECT rest_until FROM endpoint_states WHERE endpoint = ?1), 0)) FROM (
    SELECT * FROM (SELECT next_at AS at FROM deliveries WHERE state = 'due' AND fresh = 1 AND endpoint = ?1
                   ORDER BY seq LIMIT 1)
    UNION ALL
    SELECT min(next_at) FROM deliveries WHERE state = 'due' AND fresh = 0 AND endpoint = ?1)
WHERE NOT EXISTS (SELECT 1 FROM endpoint_states WHERE endpoint = ?1 AND stop IS NOT NULL)";

/// Reads what is due from some deliveries, with their places behind it.
macro_rules! ready {
    ($from:literal) => {
        concat!(
            "SELECT d.id, e.id, e.event_type, e.source, e.body, e.received_at, d.attempts, e.trace, d.line, e.hops, \
             d.sequence, d.stands_for, d.seq FROM ",
            $from
        )
    };
}

/// What is due and was never tried, in the order of acceptance. Apart from [`DUE_AGAIN`], because SQLite makes a table of
/// its own to bring two lists together, or one into another order, and that costs more than most looks.
const DUE_FRESH: &str = ready!(
    "deliveries d JOIN events e ON e.seq = d.seq \
     WHERE d.state = 'due' AND d.fresh = 1 AND d.endpoint = ?1 AND d.next_at <= ?2 ORDER BY d.seq LIMIT ?3"
);
/// Whether anything is due that was tried.
const IS_DUE_AGAIN: &str = "\
SELECT 1 FROM deliveries WHERE state = 'due' AND fresh = 0 AND endpoint = ?1 AND next_at <= ?2 LIMIT 1";
/// What is due and was tried, in the same order. Bodies are read of those alone that are wanted.
const DUE_AGAIN: &str = ready!(
    "(SELECT id FROM deliveries WHERE state = 'due' AND fresh = 0 AND endpoint = ?1 AND next_at <= ?2 \
      ORDER BY seq LIMIT ?3) AS again \
     CROSS JOIN deliveries d ON d.id = again.id CROSS JOIN events e ON e.seq = d.seq"
);

#[async_trait]
impl Deliveries for SqliteLedger {
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, LedgerError> {
        let rows = events.iter().map(|event| 1 + event.deliveries.len()).sum();
        self.write(rows, move |connection| accept::accept(connection, &events))
            .await
    }

    async fn due(&self, endpoint: &str, now: Timestamp, at_most: usize) -> Result<Vec<Due>, LedgerError> {
        Ok(self.look(endpoint, now, at_most).await?.due)
    }

    async fn settle(&self, lease: Option<&Lease>, attempts: Vec<Attempt>) -> Result<(), LedgerError> {
        let lease = lease.cloned();
        self.write(2 * attempts.len(), move |connection| {
            leases::fence(connection, lease.as_ref())?;
            settle(connection, &attempts)
        })
        .await
    }

    async fn endpoints_due(&self) -> Result<Vec<(String, Timestamp)>, LedgerError> {
        self.read(endpoints_due).await
    }

    async fn endpoint_due(&self, endpoint: &str) -> Result<Option<Timestamp>, LedgerError> {
        let endpoint = endpoint.to_owned();
        self.read(move |connection| endpoint_due(connection, &endpoint))
            .await
    }

    async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
        after: Option<DeliveryId>,
        at_most: usize,
    ) -> Result<Vec<Delivery>, LedgerError> {
        let (mut holds, mut values) = condition(filter);
        if let Some(after) = after {
            values.push(id_value(after));
            holds.push_str(&format!(" AND d.id < ?{}", values.len()));
        }
        values.push(Value::Integer(limit(at_most)));
        let sql = format!(
            "SELECT d.id, e.id, e.event_type, e.source, d.endpoint, d.state, d.attempts, e.received_at, d.next_at, \
             d.last_status, d.last_error, d.sequence, d.stands_for, d.folded_into FROM deliveries d JOIN events e ON e.seq = d.seq \
             WHERE {holds} ORDER BY d.id DESC LIMIT ?{}",
            values.len()
        );
        self.read(move |connection| all(connection, &sql, params_from_iter(&values), rows::delivery))
            .await
    }

    async fn sequences(&self, endpoint: Option<&str>) -> Result<Vec<EndpointSequence>, LedgerError> {
        let sql = "SELECT endpoint, last, folded FROM endpoint_sequences WHERE ?1 IS NULL OR endpoint = ?1 ORDER BY endpoint";
        let endpoint = endpoint.map(str::to_owned);
        self.read(move |connection| {
            all(connection, sql, [&endpoint], |row| {
                Ok(EndpointSequence {
                    endpoint: row.get(0)?,
                    last: count(row.get(1)?)?,
                    folded: count(row.get(2)?)?,
                })
            })
        })
        .await
    }

    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>, LedgerError> {
        let sql = "SELECT number, at, duration_ms, status, error, next, retry_at, record, terms FROM attempts \
                   WHERE delivery = ?1 ORDER BY at, number";
        self.read(move |connection| {
            all(connection, sql, [delivery.uuid().as_bytes()], |row| {
                let status: Option<i64> = row.get(3)?;
                Ok(Attempt {
                    delivery,
                    number: count(row.get(0)?)?,
                    at: moment(row.get(1)?)?,
                    duration_ms: count(row.get(2)?)?,
                    status: status.map(count).transpose()?,
                    error: row.get(4)?,
                    next: next(rows::text(row, 5)?, row.get(6)?)?,
                    told: about(row.get(7)?, row.get(8)?),
                })
            })
        })
        .await
    }

    async fn retry(&self, filter: &DeliveryFilter, at: Timestamp) -> Result<u64, LedgerError> {
        let (holds, mut values) = condition(filter);
        values.push(Value::Integer(micros(at)));
        let sql = format!(
            "UPDATE deliveries SET state = 'due', fresh = 0, attempts = 0, next_at = ?{} \
             WHERE id IN (SELECT d.id FROM deliveries d JOIN events e ON e.seq = d.seq \
             WHERE d.state IN ('due', 'dead') AND {holds})",
            values.len()
        );
        self.write(1, move |connection| {
            let changed = connection
                .prepare_cached(&sql)?
                .execute(params_from_iter(&values))?;
            count(big(changed))
        })
        .await
    }

    async fn event(&self, id: EventId) -> Result<Option<NewEvent>, LedgerError> {
        self.read(move |connection| event(connection, id)).await
    }

    async fn list_events(
        &self,
        filter: &EventFilter,
        after: Option<EventId>,
        at_most: usize,
    ) -> Result<Vec<EventRow>, LedgerError> {
        let (holds, values) = asked(filter, after, at_most);
        let sql = format!(
            "SELECT e.id, e.event_type, e.source, e.received_at, e.trace, \
             count(d.id) FILTER (WHERE d.state IN ('due', 'held')), count(d.id) FILTER (WHERE d.state = 'delivered'), \
             count(d.id) FILTER (WHERE d.state = 'dead'), count(d.id) FILTER (WHERE d.state = 'folded') \
             FROM (SELECT * FROM events e WHERE {holds} ORDER BY e.id DESC LIMIT ?{}) e \
             LEFT JOIN deliveries d ON d.seq = e.seq GROUP BY e.seq ORDER BY e.id DESC",
            values.len()
        );
        self.read(move |connection| all(connection, &sql, params_from_iter(&values), rows::event))
            .await
    }

    async fn refuse(&self, refusals: Vec<Refusal>) -> Result<(), LedgerError> {
        self.write(refusals.len(), move |connection| refuse(connection, &refusals))
            .await
    }

    async fn refusals(&self, at_most: usize) -> Result<Vec<Refusal>, LedgerError> {
        let sql = "SELECT at, addressed_to, status, code, webhook_id, body_bytes FROM refusals \
                   ORDER BY seq DESC LIMIT ?1";
        self.read(move |connection| {
            all(connection, sql, [limit(at_most)], |row| {
                Ok(Refusal {
                    at: moment(row.get(0)?)?,
                    addressed_to: row.get(1)?,
                    status: count(row.get(2)?)?,
                    code: row.get(3)?,
                    webhook_id: row.get(4)?,
                    body_bytes: count(row.get(5)?)?,
                })
            })
        })
        .await
    }
}

/// Endpoints with deliveries to be sent, and when the first of them is due.
pub(super) fn endpoints_due(connection: &Connection) -> Result<Vec<(String, Timestamp)>, LedgerError> {
    all(connection, ENDPOINTS_DUE, [], |row| {
        Ok((row.get(0)?, moment(row.get(1)?)?))
    })
}

/// What is due at an endpoint that is not stopped.
pub(super) fn due(
    connection: &Connection,
    endpoint: &str,
    now: Timestamp,
    at_most: usize,
) -> Result<Vec<Due>, LedgerError> {
    let read = |sql: &str| {
        let row = |row: &Row<'_>| Ok((row.get::<_, i64>(12)?, rows::due(row)?));
        all(
            connection,
            sql,
            params![endpoint, micros(now), limit(at_most)],
            row,
        )
    };
    let mut due = read(DUE_FRESH)?;
    let mut again = connection.prepare_cached(IS_DUE_AGAIN)?;
    if again.exists(params![endpoint, micros(now)])? {
        due.extend(read(DUE_AGAIN)?);
        due.sort_by_key(|(place, _)| *place);
        due.truncate(at_most);
    }
    Ok(due.into_iter().map(|(_, due)| due).collect())
}

/// When an endpoint is due.
pub(super) fn endpoint_due(
    connection: &Connection,
    endpoint: &str,
) -> Result<Option<Timestamp>, LedgerError> {
    let mut statement = connection.prepare_cached(ENDPOINT_DUE)?;
    moment_if(statement.query_row([endpoint], |row| row.get(0))?)
}

/// Attempts of deliveries that are not known (any more) are left out: one that was cleared away while it was tried must
/// not hold up the others. A delivery that arrived, or was folded, stays so, whatever is said later.
fn settle(connection: &Connection, attempts: &[Attempt]) -> Result<(), LedgerError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO attempts (delivery, at, number, duration_ms, status, error, next, retry_at, record, terms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
    )?;
    let mut update = connection.prepare_cached(
        "UPDATE deliveries SET state = iif(state IN ('delivered', 'folded'), state, ?2), fresh = 0, attempts = ?3, next_at = ?4, \
         last_status = ?5, last_error = ?6 WHERE id = ?1",
    )?;
    for attempt in attempts {
        let delivery = attempt.delivery.uuid();
        let (state, next_at) = delivery_columns(attempt);
        let known = update.execute(params![
            delivery.as_bytes(),
            state,
            attempt.number,
            next_at,
            attempt.status,
            attempt.error
        ])?;
        if known == 0 {
            continue;
        }
        let (next, retry_at) = next_columns(attempt.next);
        insert.execute(params![
            delivery.as_bytes(),
            micros(attempt.at),
            attempt.number,
            attempt.duration_ms,
            attempt.status,
            attempt.error,
            next,
            retry_at,
            attempt.told.as_ref().map(|about| &about.record),
            attempt.told.as_ref().map(|about| &about.terms)
        ])?;
    }
    advance(connection, attempts)
}

/// Lets the next one of each line in which these ended be due.
fn advance(connection: &Connection, attempts: &[Attempt]) -> Result<(), LedgerError> {
    // Mostly nothing is held, and then nothing more is asked.
    let mut held = connection.prepare_cached(
        "SELECT 1 FROM deliveries WHERE line IS NOT NULL AND state IN ('due', 'held') LIMIT 1",
    )?;
    if !held.exists([])? {
        return Ok(());
    }
    let mut next = connection.prepare_cached(
        "UPDATE deliveries SET state = 'due' WHERE id = (
             SELECT n.id FROM deliveries d JOIN deliveries n ON n.endpoint = d.endpoint AND n.line = d.line
             WHERE d.id = ?1 AND d.state IN ('delivered', 'dead') AND n.line IS NOT NULL AND n.state IN ('due', 'held')
             ORDER BY n.seq LIMIT 1)",
    )?;
    for attempt in attempts {
        next.execute([attempt.delivery.uuid().as_bytes()])?;
    }
    Ok(())
}

fn refuse(connection: &Connection, refusals: &[Refusal]) -> Result<(), LedgerError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO refusals (at, addressed_to, status, code, webhook_id, body_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for refusal in refusals {
        insert.execute(params![
            micros(refusal.at),
            refusal.addressed_to,
            refusal.status,
            refusal.code,
            refusal.webhook_id,
            big(refusal.body_bytes),
        ])?;
    }
    connection
        .prepare_cached("DELETE FROM refusals WHERE seq <= (SELECT max(seq) FROM refusals) - ?1")?
        .execute([big(REFUSALS_MAX)])?;
    Ok(())
}

fn event(connection: &Connection, id: EventId) -> Result<Option<NewEvent>, LedgerError> {
    let sql = "SELECT seq, event_type, source, dedupe, body, received_at, trace, hops, arrival FROM events WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement
        .query_row([id.uuid().as_bytes()], |row| {
            let event = NewEvent {
                id,
                event_type: row.get(1)?,
                source: row.get(2)?,
                dedupe: row.get(3)?,
                body: row.get::<_, Vec<u8>>(4)?.into(),
                received_at: Timestamp::UNIX_EPOCH,
                trace: row.get(6)?,
                hops: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
                arrival: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
                deliveries: Vec::new(),
            };
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(5)?, event))
        })
        .optional()?;
    let Some((seq, received_at, mut event)) = found else {
        return Ok(None);
    };
    event.received_at = moment(received_at)?;
    let mut statement =
        connection.prepare_cached("SELECT id, endpoint, line FROM deliveries WHERE seq = ?1 ORDER BY id")?;
    extend(&mut event.deliveries, &mut statement, [seq], |row| {
        Ok(NewDelivery {
            id: rows::uuid(row, 0)?.into(),
            endpoint: row.get(1)?,
            line: row.get(2)?,
        })
    })?;
    Ok(Some(event))
}

/// What a filter asks of `events e`, with its values in order; the last is how many at most.
fn asked(filter: &EventFilter, after: Option<EventId>, at_most: usize) -> (String, Vec<Value>) {
    let mut values = Vec::new();
    let mut holds = String::from("TRUE");
    let mut also = |condition: &str, value: Value| {
        values.push(value);
        holds.push_str(&format!(" AND {condition} ?{}", values.len()));
    };
    if let Some(source) = &filter.source {
        also("e.source =", Value::Text(source.clone()));
    }
    let (event_type, group) = type_or_group(filter.event_type.as_deref());
    if let Some(event_type) = event_type {
        also("e.event_type =", Value::Text(event_type.to_owned()));
    }
    if let Some(group) = group {
        let condition = format!("substr(e.event_type, 1, {}) =", group.chars().count());
        also(&condition, Value::Text(group.to_owned()));
    }
    if let Some(trace) = &filter.trace {
        also("e.trace =", Value::Text(trace.clone()));
    }
    let blob = |uuid: uuid::Uuid| Value::Blob(uuid.as_bytes().to_vec());
    if let Some(since) = filter.since {
        also("e.id >=", blob(first_id(since)));
    }
    if let Some(after) = after {
        also("e.id <", blob(after.uuid()));
    }
    values.push(Value::Integer(limit(at_most)));
    (holds, values)
}

fn id_value(id: DeliveryId) -> Value {
    Value::Blob(id.uuid().as_bytes().to_vec())
}

/// What a filter asks of `deliveries d` and `events e`, with its values in order.
pub(super) fn condition(filter: &DeliveryFilter) -> (String, Vec<Value>) {
    let mut values = Vec::new();
    let mut holds = String::from("TRUE");
    if !filter.ids.is_empty() {
        // One value however many ids there are: SQLite counts the places in a statement.
        let ids: Vec<String> = filter
            .ids
            .iter()
            .map(|id| id.uuid().simple().to_string())
            .collect();
        values.push(Value::Text(serde_json::Value::from(ids).to_string()));
        holds.push_str(" AND d.id IN (SELECT unhex(value) FROM json_each(?1))");
    }
    if !filter.not_to.is_empty() {
        values.push(Value::Text(names_text(&filter.not_to)));
        let place = values.len();
        holds.push_str(&format!(
            " AND d.endpoint NOT IN (SELECT value FROM json_each(?{place}))"
        ));
    }
    let mut also = |holds: &mut String, condition: &str, value: Value| {
        values.push(value);
        holds.push_str(&format!(" AND {condition} ?{}", values.len()));
    };
    if let Some(endpoint) = &filter.endpoint {
        also(&mut holds, "d.endpoint =", Value::Text(endpoint.clone()));
    }
    if let Some(state) = filter.state {
        // Written out, for only then SQLite sees that an index of this state serves.
        holds.push_str(&format!(" AND d.state = '{}'", state.word()));
    }
    if let Some(since) = filter.since {
        also(&mut holds, "e.received_at >=", Value::Integer(micros(since)));
    }
    if let Some(until) = filter.until {
        also(&mut holds, "e.received_at <", Value::Integer(micros(until)));
    }
    let (event_type, group) = filter.event_types();
    if let Some(event_type) = event_type {
        also(&mut holds, "e.event_type =", Value::Text(event_type.to_owned()));
    }
    if let Some(group) = group {
        let condition = format!("substr(e.event_type, 1, {}) =", group.chars().count());
        also(&mut holds, &condition, Value::Text(group.to_owned()));
    }
    (holds, values)
}
