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
/// Answers the places, from 1, of the events that are new, each with the numbers of its deliveries in their order.
const INSERT: &str = "\
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
    RETURNING seq, source, dedupe, received_at),
new AS (
    SELECT k.n, said.seq, said.received_at
    FROM said JOIN unnest($3::text[], $4::text[]) WITH ORDINALITY AS k (source, dedupe, n)
         ON k.source = said.source AND k.dedupe = said.dedupe),
told AS (
    SELECT d.id, d.endpoint, d.m, new.n, new.seq, new.received_at, count(*) OVER (PARTITION BY d.endpoint) AS count,
           row_number() OVER (PARTITION BY d.endpoint ORDER BY new.seq, d.m) AS place
    FROM unnest($8::uuid[], $9::text[], $10::bigint[]) WITH ORDINALITY AS d (id, endpoint, event, m)
         JOIN new ON new.n = d.event),
counted AS (
    INSERT INTO endpoint_sequences AS s (endpoint, last)
    SELECT endpoint, count(*) FROM told GROUP BY endpoint ORDER BY endpoint
    ON CONFLICT (endpoint) DO UPDATE SET last = s.last + excluded.last
    RETURNING endpoint, last),
numbered AS (
    SELECT told.*, counted.last - told.count + told.place AS sequence FROM told JOIN counted USING (endpoint)),
sent AS (
    INSERT INTO deliveries (id, seq, endpoint, state, fresh, attempts, next_at, last_status, last_error, sequence)
    SELECT id, seq, endpoint, 'due', true, 0, received_at, NULL, '', sequence FROM numbered)
SELECT new.n, numbered.sequence FROM new LEFT JOIN numbered ON numbered.n = new.n ORDER BY new.n, numbered.m";

/// Puts these deliveries into their lines: what others wait in front of is held. By the order of acceptance, so that of
/// several in this batch the first is due.
const LINE_UP: &str = "\
UPDATE deliveries d SET line = l.line, state = CASE WHEN l.place > 1 OR EXISTS (
        SELECT 1 FROM deliveries o WHERE o.endpoint = d.endpoint AND o.line = l.line AND o.line IS NOT NULL
        AND o.state IN ('due', 'held')) THEN 'held' ELSE 'due' END
FROM (SELECT t.id, u.line, row_number() OVER (PARTITION BY t.endpoint, u.line ORDER BY t.seq, t.id) AS place
      FROM unnest($1::uuid[], $2::text[]) AS u (id, line) JOIN deliveries t ON t.id = u.id) AS l
WHERE d.id = l.id";

/// A statement of its own, so that it sees what another node committed while ours waited for it.
const FIRST: &str = "\
SELECT k.n, e.id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (source, dedupe, n)
JOIN events e ON e.source = k.source AND e.dedupe = k.dedupe";

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
    let of_event = |(n, event): (i64, &&'_ NewEvent)| (n, event.deliveries.len());
    let counts: Vec<(i64, usize)> = (1..).zip(events).map(of_event).collect();
    let deliveries: Vec<&NewDelivery> = events.iter().flat_map(|event| &event.deliveries).collect();
    let event_of: Vec<i64> = counts
        .into_iter()
        .flat_map(|(n, count)| std::iter::repeat_n(n, count))
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
                &column(&deliveries, |delivery| delivery.id.uuid()),
                &column(&deliveries, |delivery| text(&delivery.endpoint)),
                &event_of,
                &column(events, |event| unless_empty(&event.hops).map(text)),
                &column(events, |event| unless_empty(&event.arrival).map(text)),
            ],
        )
        .await?;
    let mut new: HashMap<usize, Vec<u64>> = HashMap::with_capacity(events.len());
    for row in &rows {
        let sequence: Option<i64> = row.try_get(1)?;
        let of_event = new.entry(place(row, 0, events.len())?).or_default();
        if let Some(sequence) = sequence {
            of_event.push(count(sequence)?);
        }
    }
    Ok(new)
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
    if rows.len() < known.len() {
        return Err(LedgerError::Store("an event was removed while it was said again".into()).into());
    }
    for row in &rows {
        let found = known[place(row, 0, known.len())?];
        ids[found] = row.try_get::<_, Uuid>(1)?.into();
    }
    Ok(())
}
