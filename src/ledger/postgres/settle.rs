//! Writing attempts and refusals down, in groups.

use std::collections::BTreeSet;

use async_trait::async_trait;
use deadpool_postgres::{Client, GenericClient};

use super::accept::lock_lines;
use super::batcher::Batch;
use super::database::{Failure, finish};
use super::leases::held;
use super::rows::{column, text};
use crate::stored::{big, delivery_columns, micros, next_columns};
use crate::{Attempt, Lease, LedgerError, REFUSALS_MAX, Refusal};

/// One attempt of each of some deliveries; answers the lines that they stand in.
/// Attempts of deliveries that are not known (any more) are left out: one that was cleared away while it was tried must
/// not hold up the others. A delivery that arrived, or was folded, stays so, whatever is said later.
pub(super) const SETTLE: &str = "\
WITH known AS (
    UPDATE deliveries d SET state = CASE WHEN d.state IN ('delivered', 'folded') THEN d.state ELSE a.state END, fresh = false,
        attempts = a.number, next_at = a.next_at, last_status = a.status, last_error = a.error
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[],
                $9::text[], $10::bigint[], $11::text[], $12::text[])
         AS a (delivery, state, number, next_at, status, error, at, duration_ms, next, retry_at, record, terms)
    WHERE d.id = a.delivery RETURNING d.endpoint, d.line, a.*),
noted AS (
    INSERT INTO attempts (delivery, at, number, duration_ms, status, error, next, retry_at, record, terms)
    SELECT delivery, at, number, duration_ms, status, error, next, retry_at, record, terms FROM known
    ON CONFLICT DO NOTHING)
SELECT DISTINCT endpoint, line FROM known WHERE line IS NOT NULL";

/// Lets the first one that waits in each of these lines be due.
pub(super) const ADVANCE: &str = "\
UPDATE deliveries SET state = 'due' WHERE state = 'held' AND id = ANY(ARRAY(
    SELECT (SELECT d.id FROM deliveries d WHERE d.endpoint = l.endpoint AND d.line = l.line AND d.line IS NOT NULL
            AND d.state IN ('due', 'held') ORDER BY d.seq LIMIT 1)
    FROM unnest($1::text[], $2::text[]) AS l (endpoint, line)))";

const REFUSE: &str = "\
INSERT INTO refusals (at, addressed_to, status, code, webhook_id, body_bytes)
SELECT at, addressed_to, status, code, webhook_id, body_bytes
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
     WITH ORDINALITY AS r (at, addressed_to, status, code, webhook_id, body_bytes, n)
ORDER BY n";

const FORGET: &str =
    "DELETE FROM refusals WHERE seq <= (SELECT seq FROM refusals ORDER BY seq DESC OFFSET $1 LIMIT 1)";

/// The batcher of attempts.
pub(super) struct Settling;

#[async_trait]
impl Batch for Settling {
    type Request = (Option<Lease>, Vec<Attempt>);
    type Answer = ();
    /// An attempt has one row by delivery, moment and number.
    const REPEATABLE: bool = true;

    fn rows((_, attempts): &Self::Request) -> usize {
        2 * attempts.len()
    }

    async fn run(
        client: &mut Client,
        requests: &[Self::Request],
    ) -> Result<Vec<Result<(), LedgerError>>, Failure> {
        let leases: Vec<&Lease> = requests.iter().filter_map(|(lease, _)| lease.as_ref()).collect();
        let transaction = client.transaction().await?;
        let mut still_held = if leases.is_empty() {
            Vec::new()
        } else {
            held(&transaction, &leases).await?
        }
        .into_iter();
        let mut answers = Vec::with_capacity(requests.len());
        let mut attempts: Vec<&Attempt> = Vec::new();
        for (lease, of_request) in requests {
            match lease {
                Some(lease) if still_held.next() != Some(true) => {
                    answers.push(Err(LedgerError::LeaseLost(lease.key.clone())));
                }
                _ => {
                    attempts.extend(of_request);
                    answers.push(Ok(()));
                }
            }
        }
        settle(&transaction, &attempts).await?;
        finish(transaction).await?;
        Ok(answers)
    }
}

async fn settle(client: &impl GenericClient, attempts: &[&Attempt]) -> Result<(), Failure> {
    // By delivery, so that concurrent groups lock alike. A statement takes one attempt of each; mostly there is only one.
    let mut left = attempts.to_vec();
    left.sort_by_key(|attempt| attempt.delivery.uuid());
    let mut lines = BTreeSet::new();
    while !left.is_empty() {
        let mut first: Vec<&Attempt> = Vec::with_capacity(left.len());
        let mut later = Vec::new();
        for attempt in left {
            match first.last() {
                Some(last) if last.delivery == attempt.delivery => later.push(attempt),
                _ => first.push(attempt),
            }
        }
        write(client, &first, &mut lines).await?;
        left = later;
    }
    if lines.is_empty() {
        return Ok(());
    }
    let lines: Vec<(String, String)> = lines.into_iter().collect();
    lock_lines(client, &lines).await?;
    let statement = client.prepare_cached(ADVANCE).await?;
    let (endpoints, lines): (Vec<String>, Vec<String>) = lines.into_iter().unzip();
    client.execute(&statement, &[&endpoints, &lines]).await?;
    Ok(())
}

/// Writes down one attempt of each of some deliveries; adds the lines that they stand in.
async fn write(
    client: &impl GenericClient,
    attempts: &[&Attempt],
    lines: &mut BTreeSet<(String, String)>,
) -> Result<(), Failure> {
    let statement = client.prepare_cached(SETTLE).await?;
    let rows = client
        .query(
            &statement,
            &[
                &column(attempts, |attempt| attempt.delivery.uuid()),
                &column(attempts, |attempt| delivery_columns(attempt).0),
                &column(attempts, |attempt| i64::from(attempt.number)),
                &column(attempts, |attempt| delivery_columns(attempt).1),
                &column(attempts, |attempt| attempt.status.map(i64::from)),
                &column(attempts, |attempt| text(&attempt.error)),
                &column(attempts, |attempt| micros(attempt.at)),
                &column(attempts, |attempt| i64::from(attempt.duration_ms)),
                &column(attempts, |attempt| next_columns(attempt.next).0),
                &column(attempts, |attempt| next_columns(attempt.next).1),
                &column(attempts, |attempt| {
                    attempt.told.as_ref().map(|about| text(&about.record))
                }),
                &column(attempts, |attempt| {
                    attempt.told.as_ref().map(|about| text(&about.terms))
                }),
            ],
        )
        .await?;
    for row in &rows {
        lines.insert((row.try_get(0)?, row.try_get(1)?));
    }
    Ok(())
}

/// The batcher of refusals.
pub(super) struct Refusing;

#[async_trait]
impl Batch for Refusing {
    type Request = Vec<Refusal>;
    type Answer = ();
    const REPEATABLE: bool = false;

    fn rows(refusals: &Vec<Refusal>) -> usize {
        refusals.len()
    }

    async fn run(
        client: &mut Client,
        requests: &[Vec<Refusal>],
    ) -> Result<Vec<Result<(), LedgerError>>, Failure> {
        let refusals: Vec<&Refusal> = requests.iter().flatten().collect();
        let transaction = client.transaction().await?;
        let insert = transaction.prepare_cached(REFUSE).await?;
        transaction
            .execute(
                &insert,
                &[
                    &column(&refusals, |refusal| micros(refusal.at)),
                    &column(&refusals, |refusal| text(&refusal.addressed_to)),
                    &column(&refusals, |refusal| i64::from(refusal.status)),
                    &column(&refusals, |refusal| text(&refusal.code)),
                    &column(&refusals, |refusal| text(&refusal.webhook_id)),
                    &column(&refusals, |refusal| big(refusal.body_bytes)),
                ],
            )
            .await?;
        let forget = transaction.prepare_cached(FORGET).await?;
        transaction.execute(&forget, &[&big(REFUSALS_MAX)]).await?;
        finish(transaction).await?;
        Ok(requests.iter().map(|_| Ok(())).collect())
    }
}
