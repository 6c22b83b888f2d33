//! Turns at endpoints, for all who ask at the same moment together.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use deadpool_postgres::Client;
use jiff::Timestamp;

use super::PostgresLedger;
use super::accept::accept;
use super::batcher::Batch;
use super::database::{Failure, finish};
use super::deliveries::NEXT_DUE;
use super::endpoints::state;
use super::leases::{FREE, held_for_good};
use super::rows::{self, column, place, text};
use crate::stored::{big, count, limit, micros, moment};
use crate::{EndpointState, Lease, LedgerError, Look, NewEvent, Note, Turn, Turns, turn_key};

/// Of those who ask together the earliest moment counts. In one order, so that nodes do not wait in a circle.
const TAKE: &str = "\
INSERT INTO leases (key, token, holder, until)
SELECT key, 1, holder, until FROM unnest($1::text[], $2::text[], $3::bigint[]) AS a (key, holder, until) ORDER BY key
ON CONFLICT (key) DO UPDATE SET token = leases.token + 1, holder = excluded.holder, until = excluded.until
WHERE leases.until <= $4 RETURNING key, token";

/// A statement of its own, so that it sees what whoever had the lease before noted at the end.
const STATES: &str = "SELECT endpoint, stop, reason, stopped_at, failures, failed, failing_since, opened, rest_until, \
                      sent_at FROM endpoint_states WHERE endpoint = ANY($1)";

/// At least one row for each who asks: whether the endpoint is stopped, and what is due, if anything.
const LOOK: &str = "\
SELECT due.*, a.n, s.stop IS NOT NULL
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS a (endpoint, now, at_most, n)
LEFT JOIN endpoint_states s ON s.endpoint = a.endpoint
LEFT JOIN LATERAL (
    WITH ready AS (
        (SELECT id, seq FROM deliveries
         WHERE state = 'due' AND fresh AND endpoint = a.endpoint AND next_at <= a.now ORDER BY seq LIMIT a.at_most)
        UNION ALL
        (SELECT id, seq FROM deliveries
         WHERE state = 'due' AND NOT fresh AND endpoint = a.endpoint AND next_at <= a.now ORDER BY seq LIMIT a.at_most))
    SELECT d.id AS delivery, e.id, e.event_type, e.source, e.body, e.received_at, d.attempts, e.trace, d.line, e.hops,
           d.sequence, d.stands_for, ready.seq
    FROM ready JOIN deliveries d ON d.id = ready.id JOIN events e ON e.seq = ready.seq
    ORDER BY ready.seq, ready.id LIMIT a.at_most) AS due ON s.stop IS NULL
ORDER BY a.n, due.seq, due.delivery";
/// Where [`LOOK`] has who asked, behind the columns of a delivery and its place.
const ASKED: usize = 13;

/// In one order, so that nobody waits in a circle.
const KEEP: &str = "\
WITH ours AS MATERIALIZED (
    SELECT a.n, a.until, l.key, s.stop IS NOT NULL AS stopped
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) WITH ORDINALITY AS a (key, token, endpoint, until, n)
    JOIN leases l ON l.key = a.key AND l.token = a.token LEFT JOIN endpoint_states s ON s.endpoint = a.endpoint
    ORDER BY l.key FOR UPDATE OF l),
kept AS (
    UPDATE leases l SET until = ours.until FROM ours WHERE l.key = ours.key)
SELECT n, stopped FROM ours";

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

const GIVE_BACK: &str = "UPDATE leases SET until = $2, token = token + 1 WHERE key = ANY($1)";

#[async_trait]
impl Turns for PostgresLedger {
    async fn begin_turn(
        &self,
        endpoint: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Option<Turn>, LedgerError> {
        let asked = Begin {
            endpoint: endpoint.to_owned(),
            holder: holder.to_owned(),
            now,
            until,
            limit,
        };
        self.beginning.ask(asked).await
    }

    async fn look(&self, endpoint: &str, now: Timestamp, limit: usize) -> Result<Look, LedgerError> {
        self.looking.ask((endpoint.to_owned(), now, limit)).await
    }

    async fn keep_turn(
        &self,
        lease: &Lease,
        endpoint: &str,
        until: Timestamp,
    ) -> Result<Option<bool>, LedgerError> {
        let asked = (lease.clone(), endpoint.to_owned(), until);
        self.keeping.ask(asked).await
    }

    async fn end_turn(
        &self,
        lease: &Lease,
        endpoint: &str,
        note: Option<Note>,
    ) -> Result<Option<Timestamp>, LedgerError> {
        self.ending.ask((lease.clone(), endpoint.to_owned(), note)).await
    }

    async fn written_elsewhere(&self) -> Result<Option<u64>, LedgerError> {
        self.database.others.look(&self.database).await
    }
}

/// Who begins a turn.
pub(super) struct Begin {
    endpoint: String,
    holder: String,
    now: Timestamp,
    until: Timestamp,
    limit: usize,
}

/// The batcher of turns that begin.
pub(super) struct Beginning;

#[async_trait]
impl Batch for Beginning {
    type Request = Begin;
    type Answer = Option<Turn>;
    /// Whoever took it and does not know finds it taken, until its time is over.
    const REPEATABLE: bool = true;

    fn rows(asked: &Begin) -> usize {
        1 + asked.limit
    }

    async fn run(
        client: &mut Client,
        requests: &[Begin],
    ) -> Result<Vec<Result<Option<Turn>, LedgerError>>, Failure> {
        let mut seen = HashSet::new();
        let first = requests.iter().filter(|asked| seen.insert(&asked.endpoint));
        let first: Vec<(String, &Begin)> = first.map(|asked| (turn_key(&asked.endpoint), asked)).collect();
        let statement = client.prepare_cached(TAKE).await?;
        let taken = client
            .query(
                &statement,
                &[
                    &column(&first, |(key, _)| text(key)),
                    &column(&first, |(_, asked)| text(&asked.holder)),
                    &column(&first, |(_, asked)| micros(asked.until)),
                    &requests.iter().map(|asked| micros(asked.now)).min(),
                ],
            )
            .await?;
        let mut turns = HashMap::new();
        for row in &taken {
            let lease = Lease {
                key: row.try_get(0)?,
                token: count(row.try_get(1)?)?,
            };
            turns.insert(lease.key.clone(), lease);
        }
        let statement = client.prepare_cached(STATES).await?;
        let endpoints = column(&first, |(_, asked)| text(&asked.endpoint));
        let mut states = HashMap::new();
        for row in &client.query(&statement, &[&endpoints]).await? {
            let state = state(row)?;
            states.insert(state.endpoint.clone(), state);
        }
        let (mut looking, mut looks_of) = (Vec::new(), Vec::new());
        let mut answers: Vec<Result<Option<Turn>, LedgerError>> = Vec::with_capacity(requests.len());
        for (n, asked) in requests.iter().enumerate() {
            let lease = turns.remove(&turn_key(&asked.endpoint));
            let turn = lease.map(|lease| Turn {
                lease,
                state: states
                    .remove(&asked.endpoint)
                    .unwrap_or_else(|| EndpointState::new(&asked.endpoint)),
                due: Vec::new(),
            });
            if let Some(turn) = &turn
                && turn.state.left_alone_until(asked.now).is_none()
            {
                looking.push((asked.endpoint.clone(), asked.now, asked.limit));
                looks_of.push(n);
            }
            answers.push(Ok(turn));
        }
        for (n, look) in looks_of.into_iter().zip(looks(client, &looking).await?) {
            if let Ok(Some(turn)) = &mut answers[n] {
                turn.due = look.due;
            }
        }
        Ok(answers)
    }
}

/// The batcher of looks.
pub(super) struct Looking;

#[async_trait]
impl Batch for Looking {
    type Request = (String, Timestamp, usize);
    type Answer = Look;
    const REPEATABLE: bool = true;

    fn rows((_, _, limit): &Self::Request) -> usize {
        *limit
    }

    async fn run(
        client: &mut Client,
        requests: &[Self::Request],
    ) -> Result<Vec<Result<Look, LedgerError>>, Failure> {
        let looks = looks(client, requests).await?;
        Ok(looks.into_iter().map(Ok).collect())
    }
}

/// What each who asks finds, in the same order.
async fn looks(client: &Client, asked: &[(String, Timestamp, usize)]) -> Result<Vec<Look>, Failure> {
    let mut looks: Vec<Look> = asked.iter().map(|_| Look::default()).collect();
    if asked.is_empty() {
        return Ok(looks);
    }
    let statement = client.prepare_cached(LOOK).await?;
    let found = client
        .query(
            &statement,
            &[
                &column(asked, |(endpoint, ..)| text(endpoint)),
                &column(asked, |(_, now, _)| micros(*now)),
                &column(asked, |(.., at_most)| limit(*at_most)),
            ],
        )
        .await?;
    for row in &found {
        let look = &mut looks[place(row, ASKED, asked.len())?];
        look.stopped = row.try_get(ASKED + 1)?;
        if row.try_get::<_, Option<uuid::Uuid>>(0)?.is_some() {
            look.due.push(rows::due(row)?);
        }
    }
    Ok(looks)
}

/// The batcher of turns that are kept.
pub(super) struct Keeping;

#[async_trait]
impl Batch for Keeping {
    type Request = (Lease, String, Timestamp);
    type Answer = Option<bool>;
    const REPEATABLE: bool = true;

    fn rows(_: &Self::Request) -> usize {
        1
    }

    async fn run(
        client: &mut Client,
        requests: &[Self::Request],
    ) -> Result<Vec<Result<Option<bool>, LedgerError>>, Failure> {
        let statement = client.prepare_cached(KEEP).await?;
        let kept = client
            .query(
                &statement,
                &[
                    &column(requests, |(lease, ..)| text(&lease.key)),
                    &column(requests, |(lease, ..)| big(lease.token)),
                    &column(requests, |(_, endpoint, _)| text(endpoint)),
                    &column(requests, |(.., until)| micros(*until)),
                ],
            )
            .await?;
        let mut answers = vec![None; requests.len()];
        for row in &kept {
            answers[place(row, 0, requests.len())?] = Some(row.try_get(1)?);
        }
        Ok(answers.into_iter().map(Ok).collect())
    }
}

/// The batcher of turns that end.
pub(super) struct Ending;

#[async_trait]
impl Batch for Ending {
    type Request = (Lease, String, Option<Note>);
    type Answer = Option<Timestamp>;
    /// The second time the lease is lost.
    const REPEATABLE: bool = false;

    fn rows((.., note): &Self::Request) -> usize {
        1 + note.as_ref().map_or(0, |note| 1 + note.events.len())
    }

    async fn run(
        client: &mut Client,
        requests: &[Self::Request],
    ) -> Result<Vec<Result<Option<Timestamp>, LedgerError>>, Failure> {
        let transaction = client.transaction().await?;
        let leases: Vec<&Lease> = requests.iter().map(|(lease, ..)| lease).collect();
        let held = held_for_good(&transaction, &leases).await?;
        let mut answers: Vec<Result<Option<Timestamp>, LedgerError>> = Vec::with_capacity(requests.len());
        let mut ours: Vec<(usize, &Self::Request)> = Vec::with_capacity(requests.len());
        for (n, (request, held)) in requests.iter().zip(held).enumerate() {
            if held {
                ours.push((n, request));
                answers.push(Ok(None));
            } else {
                answers.push(Err(LedgerError::LeaseLost(request.0.key.clone())));
            }
        }
        let notes = ours
            .iter()
            .filter_map(|(_, (_, endpoint, note))| Some((endpoint, note.as_ref()?)));
        let notes: Vec<(&String, &Note)> = notes.collect();
        let events: Vec<&NewEvent> = notes.iter().flat_map(|(_, note)| &note.events).collect();
        accept(&transaction, &events).await?;
        for (endpoint, note) in notes {
            keep(&transaction, endpoint, note).await?;
        }
        let statement = transaction.prepare_cached(GIVE_BACK).await?;
        let keys = column(&ours, |(_, (lease, ..))| text(&lease.key));
        transaction.execute(&statement, &[&keys, &FREE]).await?;
        // Behind it: whoever accepts something from now on, elsewhere, finds the lease free when this is committed.
        let statement = transaction.prepare_cached(NEXT_DUE).await?;
        let endpoints = column(&ours, |(_, (_, endpoint, _))| text(endpoint));
        for row in &transaction.query(&statement, &[&endpoints]).await? {
            let (n, _) = ours[place(row, 0, ours.len())?];
            answers[n] = Ok(Some(moment(row.try_get(1)?)?));
        }
        finish(transaction).await?;
        Ok(answers)
    }
}

async fn keep(
    transaction: &deadpool_postgres::Transaction<'_>,
    endpoint: &str,
    note: &Note,
) -> Result<(), Failure> {
    let Note { health, stop, .. } = note;
    let statement = transaction.prepare_cached(NOTE).await?;
    transaction
        .execute(
            &statement,
            &[
                &text(endpoint),
                &stop.as_ref().map(|stop| stop.kind.word()),
                &text(stop.as_ref().map_or("", |stop| &stop.reason)),
                &stop.as_ref().map(|stop| micros(stop.at)),
                &i64::from(health.failures),
                &i64::from(health.failed),
                &health.failing_since.map(micros),
                &big(health.opened),
                &health.rest_until.map(micros),
                &health.sent_at.map(micros),
            ],
        )
        .await?;
    Ok(())
}
