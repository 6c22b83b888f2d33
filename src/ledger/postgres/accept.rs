//! Taking events in: the hot path.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use deadpool_postgres::GenericClient;
use model::EventId;
use uuid::Uuid;

use super::batcher::Batch;
use super::database::Failure;
use super::rows::{column, text};
use crate::stored::micros;
use crate::{Accepted, LedgerError, NewDelivery, NewEvent};

/// One statement, so that it needs no transaction around it and one round trip only. The order of the rows is the
/// order of `seq`: PostgreSQL numbers the rows of an `INSERT … SELECT … ORDER BY` after it sorted them.
const INSERT: &str = "\
WITH said AS (
    INSERT INTO events (id, event_type, source, dedupe, received_at, trace, body)
    SELECT id, event_type, source, dedupe, received_at, trace, body
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bytea[])
         WITH ORDINALITY AS e (id, event_type, source, dedupe, received_at, trace, body, n)
    ORDER BY n
    ON CONFLICT (source, dedupe) DO NOTHING
    RETURNING seq, id, received_at),
sent AS (
    INSERT INTO deliveries (id, seq, endpoint, state, fresh, attempts, next_at, last_status, last_error)
    SELECT d.id, said.seq, d.endpoint, 'due', true, 0, said.received_at, NULL, ''
    FROM unnest($8::uuid[], $9::text[], $10::uuid[]) AS d (id, endpoint, event) JOIN said ON said.id = d.event)
SELECT id FROM said";

const FIRST: &str = "\
SELECT e.source, e.dedupe, e.id FROM unnest($1::text[], $2::text[]) AS k (source, dedupe)
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
        let mut answers = accept(client, &events).await?.into_iter();
        let each = requests
            .iter()
            .map(|request| Ok(answers.by_ref().take(request.len()).collect()));
        Ok(each.collect())
    }
}

/// Writes events with their deliveries; those that their source said before, here or earlier, are left out.
pub(super) async fn accept(
    client: &impl GenericClient,
    events: &[&NewEvent],
) -> Result<Vec<Accepted>, Failure> {
    let mut keys = HashSet::new();
    let firsts: Vec<&NewEvent> = events
        .iter()
        .copied()
        .filter(|event| keys.insert(key(event)))
        .collect();
    if firsts.is_empty() {
        return Ok(Vec::new());
    }
    let mut new = insert(client, &firsts).await?;
    let known: Vec<&NewEvent> = events
        .iter()
        .copied()
        .filter(|event| !new.contains(&event.id.uuid()))
        .collect();
    let ids = if known.is_empty() {
        HashMap::new()
    } else {
        first_ids(client, &known).await?
    };
    let answer = |event: &&NewEvent| {
        // Taken out, so that an event that is handed in twice is new once.
        if new.remove(&event.id.uuid()) {
            return Ok(Accepted::New);
        }
        let key = (text(&event.source).into_owned(), text(&event.dedupe).into_owned());
        match ids.get(&key) {
            Some(id) => Ok(Accepted::Duplicate(*id)),
            None => Ok(Accepted::Duplicate(event.id)),
        }
    };
    events.iter().map(answer).collect()
}

fn key(event: &NewEvent) -> (&str, &str) {
    (&event.source, &event.dedupe)
}

async fn insert(client: &impl GenericClient, events: &[&NewEvent]) -> Result<HashSet<Uuid>, Failure> {
    let deliveries: Vec<(Uuid, &NewDelivery)> = events
        .iter()
        .flat_map(|event| {
            event
                .deliveries
                .iter()
                .map(|delivery| (event.id.uuid(), delivery))
        })
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
                &column(&deliveries, |(event, _)| *event),
            ],
        )
        .await?;
    let ids = rows.iter().map(|row| row.try_get(0));
    Ok(ids.collect::<Result<_, _>>()?)
}

/// The ids that events got when they were said first. A statement of its own, so that it sees what another node
/// committed while ours waited for it.
async fn first_ids(
    client: &impl GenericClient,
    events: &[&NewEvent],
) -> Result<HashMap<(String, String), EventId>, Failure> {
    let statement = client.prepare_cached(FIRST).await?;
    let sources = column(events, |event| text(&event.source));
    let dedupes = column(events, |event| text(&event.dedupe));
    let rows = client.query(&statement, &[&sources, &dedupes]).await?;
    let mut ids = HashMap::new();
    for row in &rows {
        let key = (row.try_get(0)?, row.try_get(1)?);
        ids.insert(key, row.try_get::<_, Uuid>(2)?.into());
    }
    Ok(ids)
}
