//! Taking events in: the hot path.

use rusqlite::{Connection, OptionalExtension, params};

use crate::stored::{count, micros, unless_empty};
use crate::{Accepted, LedgerError, NewEvent};

/// Writes events with their deliveries; those that their source said before are left as they were.
pub(super) fn accept(connection: &Connection, events: &[NewEvent]) -> Result<Vec<Accepted>, LedgerError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO events (id, event_type, source, dedupe, received_at, trace, body, hops, arrival) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (source, dedupe) DO NOTHING",
    )?;
    // Not `RETURNING`, here or in any other statement of a hot path: SQLite makes a table of its own for what it returns,
    // with a page cache that is allocated and given back each time, which costs more than asking and writing do.
    let mut last = connection.prepare_cached("SELECT last FROM endpoint_sequences WHERE endpoint = ?1")?;
    let mut count_on = connection.prepare_cached(
        "INSERT INTO endpoint_sequences (endpoint, last) VALUES (?1, ?2) \
         ON CONFLICT (endpoint) DO UPDATE SET last = excluded.last",
    )?;
    let mut deliver = connection.prepare_cached(
        "INSERT INTO deliveries (id, seq, endpoint, state, fresh, attempts, next_at, last_status, last_error, sequence) \
         VALUES (?1, ?2, ?3, 'due', 1, 0, ?4, NULL, '', ?5)",
    )?;
    let mut in_line = connection.prepare_cached(
        "INSERT INTO deliveries (id, seq, endpoint, state, fresh, attempts, next_at, last_status, last_error, sequence, line) \
         VALUES (?1, ?2, ?3, iif(EXISTS (SELECT 1 FROM deliveries WHERE endpoint = ?3 AND line = ?6 AND line IS NOT NULL \
         AND state IN ('due', 'held')), 'held', 'due'), 1, 0, ?4, NULL, '', ?5, ?6)",
    )?;
    let mut answers = Vec::with_capacity(events.len());
    for event in events {
        let received_at = micros(event.received_at);
        let inserted = insert.execute(params![
            event.id.uuid().as_bytes(),
            event.event_type,
            event.source,
            event.dedupe,
            received_at,
            event.trace,
            &event.body[..],
            unless_empty(&event.hops),
            unless_empty(&event.arrival),
        ])?;
        if inserted == 0 {
            answers.push(Accepted::Duplicate(first(connection, event)?));
            continue;
        }
        let seq = connection.last_insert_rowid();
        let mut sequences = Vec::with_capacity(event.deliveries.len());
        for delivery in &event.deliveries {
            let (id, endpoint) = (delivery.id.uuid(), &delivery.endpoint);
            let before: Option<i64> = last.query_row([endpoint], |row| row.get(0)).optional()?;
            let sequence = before.unwrap_or(0) + 1;
            count_on.execute(params![endpoint, sequence])?;
            let id = id.as_bytes();
            match &delivery.line {
                None => deliver.execute(params![id, seq, endpoint, received_at, sequence])?,
                Some(line) => in_line.execute(params![id, seq, endpoint, received_at, sequence, line])?,
            };
            sequences.push(count(sequence)?);
        }
        answers.push(Accepted::New(sequences));
    }
    Ok(answers)
}

/// The id that an event got when it was said first.
fn first(connection: &Connection, event: &NewEvent) -> Result<model::EventId, LedgerError> {
    let sql = "SELECT id FROM events WHERE source = ?1 AND dedupe = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let id = statement.query_row(params![event.source, event.dedupe], |row| row.get(0))?;
    Ok(uuid::Uuid::from_bytes(id).into())
}
