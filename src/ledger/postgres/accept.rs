//! Taking events in: the hot path.

use std::collections::HashMap;

use async_trait::async_trait;
use deadpool_postgres::GenericClient;
use model::EventId;
use uuid::Uuid;

use super::batcher::Batch;
use super::database::{Failure, finish};
use super::rows::{column, place, text};
use crate::stored::{count, micros, unless_empty};
use crate::{Accepted, LedgerError, NewDelivery, NewEvent};

/// One statement, so that it needs no transaction around it and one round trip only. The order of the rows is the
/// order of `seq`: PostgreSQL numbers the rows of an `INSERT … SELECT … ORDER BY` after it sorted them.
/// The sequences of all endpoints are locked before the first event gets its `seq`, in one order, so that both count in the
/// same order on all nodes; their rows are the only ones that nodes wait for here.
/// Answers the events that are new, each with what makes it the same, and their deliveries with their numbers.
pub(super) const INSERT: &str = "\
WITH locked AS MATERIALIZED (
    SELECT 1 FROM endpoint_sequences WHERE endpoint = ANY($9::text[]) ORDER BY endpoint FOR UPDATE),
said AS (
    INSERT INTO events (id, event_type, source, dedupe, received_at, trace, body, hops, arrival)
    SELECT id, event_type, source, dedupe, received_at, trace, body, hops, arrival
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bytea[], $11::text[], $12::text[])
         WITH ORDINALITY AS e (id, event_type, source, dedupe, received_at, trace, body, hops, arrival, n)
    WHERE (SELECT count(*) FROM locked) >= 0
    ORDER BY n
    ON CONFLICT (source, dedupe) DO NOTHING
    RETURNING id, dedupe, seq, received_at),
told AS (
    SELECT d.id, d.endpoint, said.seq, said.received_at,
           row_number() OVER (PARTITION BY d.endpoint ORDER BY said.seq DESC, d.n DESC) - 1 AS from_last
    FROM unnest($8::uuid[], $9::text[], $10::uuid[], $13::text[]) WITH ORDINALITY AS d (id, endpoint, event, dedupe, n)
         JOIN said ON said.id = d.event AND said.dedupe = d.dedupe),
counted AS (
    INSERT INTO endpoint_sequences AS s (endpoint, last)
    SELECT endpoint, count(*) FROM told GROUP BY endpoint ORDER BY endpoint
    ON CONFLICT (endpoint) DO UPDATE SET last = s.last + excluded.last
    RETURNING endpoint, last),
sent AS (
    INSERT INTO deliveries (id, seq, endpoint, state, fresh, attempts, next_at, last_status, last_error, sequence)
    SELECT id, seq, endpoint, 'due', true, 0, received_at, NULL, '', last - from_last FROM told JOIN counted USING (endpoint)
    RETURNING id, sequence)
SELECT id, dedupe, NULL FROM said UNION ALL SELECT id, NULL, sequence FROM sent";

/// Puts these deliveries into their lines: what others wait in front of is held. By the order of acceptance, so that of
/// several in this batch the first is due.
pub(super) const LINE_UP: &str = "\
UPDATE deliveries d SET line = l.line, state = CASE WHEN l.place > 1 OR (
        SELECT true FROM deliveries o WHERE o.endpoint = d.endpoint AND o.line = l.line AND o.line IS NOT NULL
        AND o.state IN ('due', 'held') LIMIT 1) THEN 'held' ELSE 'due' END
FROM (SELECT t.id, u.line, row_number() OVER (PARTITION BY t.endpoint, u.line ORDER BY t.seq, t.id) AS place
      FROM unnest($1::uuid[], $2::text[]) AS u (id, line) JOIN deliveries t ON t.id = u.id) AS l
WHERE d.id = l.id";

/// A statement of its own, so that it sees what another node committed while ours waited for it.
pub(super) const FIRST: &str = "\
SELECT k.n, (SELECT e.id FROM events e WHERE e.source = k.source AND e.dedupe = k.dedupe)
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (source, dedupe, n)";

/// The batcher of [`accept`].
pub(super) struct Accepting;

#[async_trait]
impl Batch for Accepting {
    type Request = Vec<NewEvent>;
    type Answer = Vec<Accepted>;
    /// What was taken in is a duplicate of itself the second time, under the same id.
    const REPEATABLE: bool = true;

    fn rows(events: &Vec<NewEvent>) -> usize {
        events.iter().map(|event| 1 + event.deliveries.len()).sum()
    }

    async fn run(
        client: &mut deadpool_postgres::Client,
        requests: &[Vec<NewEvent>],
    ) -> Result<Vec<Result<Vec<Accepted>, LedgerError>>, Failure> {
        let events: Vec<&NewEvent> = requests.iter().flatten().collect();
        let mut lines = events.iter().flat_map(|event| &event.deliveries);
        let answers = if lines.any(|delivery| delivery.line.is_some()) {
            let transaction = client.transaction().await?;
            let answers = accept(&transaction, &events).await?;
            finish(transaction).await?;
            answers
        } else {
            accept(client, &events).await?
        };
        let mut answers = answers.into_iter();
        let each = requests
            .iter()
            .map(|request| Ok(answers.by_ref().take(request.len()).collect()));
        Ok(each.collect())
    }
}

/// Writes events with their deliveries; those that their source said before, here or earlier, are left out.
/// In a transaction where deliveries have a line.
pub(super) async fn accept(
    client: &impl GenericClient,
    events: &[&NewEvent],
) -> Result<Vec<Accepted>, Failure> {
    // What is said several times here is told to the database once; each event knows which of the told it is.
    let mut told: Vec<&NewEvent> = Vec::with_capacity(events.len());
    let mut places = HashMap::with_capacity(events.len());
    let mut said = Vec::with_capacity(events.len());
    for event in events {
        let place = *places
            .entry((text(&event.source), text(&event.dedupe)))
            .or_insert(told.len());
        let first = place == told.len();
        if first {
            told.push(event);
        }
        said.push((place, first));
    }
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let mut new = insert(client, &told).await?;
    let lined = new.keys().map(|place| told[*place]);
    line_up(client, lined.flat_map(|event| &event.deliveries)).await?;
    let mut ids: Vec<EventId> = told.iter().map(|event| event.id).collect();
    let known: Vec<usize> = (0..told.len()).filter(|place| !new.contains_key(place)).collect();
    if !known.is_empty() {
        first_ids(client, &told, &known, &mut ids).await?;
    }
    let answers = said.into_iter().map(|(place, first)| {
        let sequences = if first { new.remove(&place) } else { None };
        sequences.map_or_else(|| Accepted::Duplicate(ids[place]), Accepted::New)
    });
    Ok(answers.collect())
}

/// Answers the places of those that are new, each with the numbers of its deliveries.
async fn insert(
    client: &impl GenericClient,
    events: &[&NewEvent],
) -> Result<HashMap<usize, Vec<u64>>, Failure> {
    let deliveries: Vec<(&NewEvent, &NewDelivery)> = events
        .iter()
        .flat_map(|event| event.deliveries.iter().map(|delivery| (*event, delivery)))
        .collect();
    let statement = client.prepare_cached(INSERT).await?;
    let rows = client
        .query(
            &statement,
            &[
                &column(events, |event| event.id.uuid()),
                &column(events, |event| text(&event.event_type)),
                &column(events, |event| text(&event.source)),
                &column(events, |event| text(&event.dedupe)),
                &column(events, |event| micros(event.received_at)),
                &column(events, |event| text(&event.trace)),
                &column(events, |event| &event.body[..]),
                &column(&deliveries, |(_, delivery)| delivery.id.uuid()),
                &column(&deliveries, |(_, delivery)| text(&delivery.endpoint)),
                &column(&deliveries, |(event, _)| event.id.uuid()),
                &column(events, |event| unless_empty(&event.hops).map(text)),
                &column(events, |event| unless_empty(&event.arrival).map(text)),
                &column(&deliveries, |(event, _)| text(&event.dedupe)),
            ],
        )
        .await?;
    let mut said: HashMap<Uuid, &str> = HashMap::with_capacity(events.len());
    let mut numbers: HashMap<Uuid, u64> = HashMap::with_capacity(deliveries.len());
    for row in &rows {
        match row.try_get(1)? {
            Some(dedupe) => drop(said.insert(row.try_get(0)?, dedupe)),
            None => drop(numbers.insert(row.try_get(0)?, count(row.try_get(2)?)?)),
        }
    }
    let is_new = |event: &NewEvent| said.get(&event.id.uuid()) == Some(&text(&event.dedupe).as_ref());
    let numbers_of = |event: &NewEvent| {
        let numbers = event
            .deliveries
            .iter()
            .map(|delivery| numbers.get(&delivery.id.uuid()));
        numbers.flatten().copied().collect()
    };
    let new = events.iter().enumerate().filter(|(_, event)| is_new(event));
    Ok(new.map(|(place, event)| (place, numbers_of(event))).collect())
}

/// Puts deliveries into their lines, after whoever stands there.
async fn line_up<'d>(
    client: &impl GenericClient,
    deliveries: impl Iterator<Item = &'d NewDelivery>,
) -> Result<(), Failure> {
    let lined: Vec<(Uuid, &NewDelivery, &str)> = deliveries
        .filter_map(|delivery| Some((delivery.id.uuid(), delivery, delivery.line.as_deref()?)))
        .collect();
    if lined.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = lined
        .iter()
        .map(|(_, delivery, line)| (text(&delivery.endpoint), text(line)))
        .collect();
    lock_lines(client, &names).await?;
    let statement = client.prepare_cached(LINE_UP).await?;
    let ids = column(&lined, |(id, _, _)| *id);
    let lines = column(&names, |(_, line)| line.as_ref());
    client.execute(&statement, &[&ids, &lines]).await?;
    Ok(())
}

/// Names our locks on lines among the database's advisory locks.
const LINE_LOCKS: i32 = 0x1C_0002;

/// Who adds to a line and who ends what stands first in it must not pass each other by: each waits until the other one
/// has committed. In one order, so that nobody waits in a circle.
pub(super) async fn lock_lines<T: AsRef<str>>(
    client: &impl GenericClient,
    lines: &[(T, T)],
) -> Result<(), Failure> {
    let sql = "SELECT pg_advisory_xact_lock($1, place) FROM ( \
               SELECT DISTINCT hashtext(endpoint || ' ' || line) AS place \
               FROM unnest($2::text[], $3::text[]) AS l (endpoint, line) ORDER BY place) AS places";
    let endpoints = column(lines, |(endpoint, _)| endpoint.as_ref());
    let names = column(lines, |(_, line)| line.as_ref());
    let statement = client.prepare_cached(sql).await?;
    client
        .query(&statement, &[&LINE_LOCKS, &endpoints, &names])
        .await?;
    Ok(())
}

/// Finds the ids that known events got when they were said first.
async fn first_ids(
    client: &impl GenericClient,
    events: &[&NewEvent],
    known: &[usize],
    ids: &mut [EventId],
) -> Result<(), Failure> {
    let statement = client.prepare_cached(FIRST).await?;
    let sources = column(known, |place| text(&events[*place].source));
    let dedupes = column(known, |place| text(&events[*place].dedupe));
    let rows = client.query(&statement, &[&sources, &dedupes]).await?;
    for row in &rows {
        let found = known[place(row, 0, known.len())?];
        let Some(first) = row.try_get::<_, Option<Uuid>>(1)? else {
            return Err(LedgerError::Store("an event was removed while it was said again".into()).into());
        };
        ids[found] = first.into();
    }
    Ok(())
}
