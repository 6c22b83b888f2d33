//! Deliveries and attempts, refusals, stopped endpoints.

use async_trait::async_trait;
use jiff::Timestamp;
use model::{DeliveryId, EventId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::PostgresLedger;
use super::rows::{self, all, text};
use crate::contract::type_or_group;
use crate::stored::{about, count, first_id, limit, micros, moment, next};
use crate::{
    Accepted, Attempt, Deliveries, Delivery, DeliveryFilter, Due, EndpointSequence, EventFilter, EventRow,
    Lease, LedgerError, NewDelivery, NewEvent, Refusal, Turns,
};

/// The first of what is fresh is the earliest accepted; the first of what was tried has the earliest moment. Endpoints
/// are found by skipping from one to the next through the two indexes, so a long backlog costs nothing.
pub(super) const ENDPOINTS_DUE: &str = "\
WITH RECURSIVE
fresh (endpoint) AS (
    (SELECT min(endpoint) FROM deliveries WHERE state = 'due' AND fresh)
    UNION ALL
    SELECT (SELECT min(d.endpoint) FROM deliveries d
            WHERE d.state = 'due' AND d.fresh AND d.endpoint > fresh.endpoint)
    FROM fresh WHERE fresh.endpoint IS NOT NULL),
again (endpoint) AS (
    (SELECT min(endpoint) FROM deliveries WHERE state = 'due' AND NOT fresh)
    UNION ALL
    SELECT (SELECT min(d.endpoint) FROM deliveries d
            WHERE d.state = 'due' AND NOT d.fresh AND d.endpoint > again.endpoint)
    FROM again WHERE again.endpoint IS NOT NULL),
first (endpoint, at) AS (
    SELECT endpoint, (SELECT next_at FROM deliveries d
                      WHERE d.state = 'due' AND d.fresh AND d.endpoint = fresh.endpoint ORDER BY seq LIMIT 1)
    FROM fresh WHERE endpoint IS NOT NULL
    UNION ALL
    SELECT endpoint, (SELECT min(next_at) FROM deliveries d
                      WHERE d.state = 'due' AND NOT d.fresh AND d.endpoint = again.endpoint)
    FROM again WHERE endpoint IS NOT NULL)
SELECT first.endpoint, greatest(min(at), min(rest_until)) AS at
FROM first LEFT JOIN endpoint_states s ON s.endpoint = first.endpoint
WHERE s.stop IS NULL
GROUP BY first.endpoint ORDER BY at, first.endpoint";

/// When each endpoint is due, where it is, behind its place among those that are asked about.
pub(super) const NEXT_DUE: &str = "\
SELECT a.n, greatest(least(
           (SELECT next_at FROM deliveries d WHERE state = 'due' AND fresh AND d.endpoint = a.endpoint ORDER BY seq LIMIT 1),
           (SELECT min(next_at) FROM deliveries d WHERE state = 'due' AND NOT fresh AND d.endpoint = a.endpoint)),
       s.rest_until)
FROM unnest($1::text[]) WITH ORDINALITY AS a (endpoint, n) LEFT JOIN endpoint_states s ON s.endpoint = a.endpoint
WHERE s.stop IS NULL AND EXISTS (SELECT 1 FROM deliveries d WHERE d.state = 'due' AND d.endpoint = a.endpoint)";

/// What a filter asks, by the values of [`Asked`]; those that are null ask nothing.
macro_rules! filtered {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " ($1::uuid[] IS NULL OR d.id = ANY($1)) AND ($2::text IS NULL OR d.endpoint = $2) \
             AND ($3::text IS NULL OR d.state = $3) AND ($4::bigint IS NULL OR e.received_at >= $4) \
             AND ($5::bigint IS NULL OR e.received_at < $5) AND ($6::text IS NULL OR e.event_type = $6) \
             AND ($7::text IS NULL OR starts_with(e.event_type, $7)) AND d.endpoint <> ALL($8::text[])",
            $after
        )
    };
}

pub(super) use filtered;

pub(super) struct Asked<'a> {
    ids: Option<Vec<Uuid>>,
    endpoint: Option<std::borrow::Cow<'a, str>>,
    state: Option<&'static str>,
    since: Option<i64>,
    until: Option<i64>,
    event_type: Option<&'a str>,
    group: Option<&'a str>,
    not_to: Vec<std::borrow::Cow<'a, str>>,
}

impl Asked<'_> {
    pub(super) fn new(filter: &DeliveryFilter) -> Asked<'_> {
        let (event_type, group) = filter.event_types();
        let ids = || filter.ids.iter().map(|id| id.uuid()).collect();
        Asked {
            ids: (!filter.ids.is_empty()).then(ids),
            endpoint: filter.endpoint.as_deref().map(text),
            state: filter.state.map(crate::DeliveryState::word),
            since: filter.since.map(micros),
            until: filter.until.map(micros),
            event_type,
            group,
            not_to: filter.not_to.iter().map(|name| text(name)).collect(),
        }
    }

    /// The values of the places that `filtered!` has, and more behind them.
    pub(super) fn values<'v>(&'v self, more: &[&'v (dyn ToSql + Sync)]) -> Vec<&'v (dyn ToSql + Sync)> {
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![
            &self.ids,
            &self.endpoint,
            &self.state,
            &self.since,
            &self.until,
            &self.event_type,
            &self.group,
            &self.not_to,
        ];
        values.extend(more);
        values
    }
}

#[async_trait]
impl Deliveries for PostgresLedger {
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, LedgerError> {
        self.accepting.ask(events).await
    }

    async fn due(&self, endpoint: &str, now: Timestamp, at_most: usize) -> Result<Vec<Due>, LedgerError> {
        Ok(self.look(endpoint, now, at_most).await?.due)
    }

    async fn settle(&self, lease: Option<&Lease>, attempts: Vec<Attempt>) -> Result<(), LedgerError> {
        self.settling.ask((lease.cloned(), attempts)).await
    }

    async fn endpoints_due(&self) -> Result<Vec<(String, Timestamp)>, LedgerError> {
        let rows = self.database.query(ENDPOINTS_DUE, &[]).await?;
        all(&rows, |row| Ok((row.try_get(0)?, moment(row.try_get(1)?)?)))
    }

    async fn endpoint_due(&self, endpoint: &str) -> Result<Option<Timestamp>, LedgerError> {
        let rows = self
            .database
            .query(NEXT_DUE, &[&[text(endpoint)].as_slice()])
            .await?;
        rows.first().map(|row| moment(row.try_get(1)?)).transpose()
    }

    async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
        after: Option<DeliveryId>,
        at_most: usize,
    ) -> Result<Vec<Delivery>, LedgerError> {
        let sql = filtered!(
            "SELECT d.id, e.id, e.event_type, e.source, d.endpoint, d.state, d.attempts, e.received_at, d.next_at, \
             d.last_status, d.last_error, d.sequence, d.stands_for, d.folded_into FROM deliveries d JOIN events e ON e.seq = d.seq WHERE",
            " AND ($9::uuid IS NULL OR d.id < $9) ORDER BY d.id DESC LIMIT $10"
        );
        let asked = Asked::new(filter);
        let after = after.map(|id| id.uuid());
        let at_most = limit(at_most);
        let values = asked.values(&[&after, &at_most]);
        all(&self.database.query(sql, &values).await?, rows::delivery)
    }

    async fn sequences(&self, endpoint: Option<&str>) -> Result<Vec<EndpointSequence>, LedgerError> {
        let sql = "SELECT endpoint, last, folded FROM endpoint_sequences WHERE $1::text IS NULL OR endpoint = $1 ORDER BY endpoint";
        let endpoint = endpoint.map(text);
        all(&self.database.query(sql, &[&endpoint]).await?, |row| {
            Ok(EndpointSequence {
                endpoint: row.try_get(0)?,
                last: count(row.try_get(1)?)?,
                folded: count(row.try_get(2)?)?,
            })
        })
    }

    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>, LedgerError> {
        let sql = "SELECT number, at, duration_ms, status, error, next, retry_at, record, terms FROM attempts \
                   WHERE delivery = $1 ORDER BY at, number";
        let rows = self.database.query(sql, &[&delivery.uuid()]).await?;
        all(&rows, |row| attempt(delivery, row))
    }

    async fn retry(&self, filter: &DeliveryFilter, at: Timestamp) -> Result<u64, LedgerError> {
        let sql = filtered!(
            "WITH again AS (UPDATE deliveries SET state = 'due', fresh = false, attempts = 0, next_at = $9 \
             WHERE id IN (SELECT d.id FROM deliveries d JOIN events e ON e.seq = d.seq \
             WHERE d.state IN ('due', 'dead') AND",
            " ORDER BY d.id FOR UPDATE OF d) RETURNING 1) SELECT count(*) FROM again"
        );
        let asked = Asked::new(filter);
        let at = micros(at);
        let values = asked.values(&[&at]);
        let rows = self.database.write(sql, &values).await?;
        let counted = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()?;
        count(counted.unwrap_or(0))
    }

    async fn event(&self, id: EventId) -> Result<Option<NewEvent>, LedgerError> {
        let sql = "SELECT e.event_type, e.source, e.dedupe, e.body, e.received_at, e.trace, d.id, d.endpoint, d.line, e.hops, e.arrival \
                   FROM events e LEFT JOIN deliveries d ON d.seq = e.seq WHERE e.id = $1 ORDER BY d.id";
        let rows = self.database.query(sql, &[&id.uuid()]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let mut deliveries = Vec::new();
        for row in &rows {
            if let Some(delivery) = row.try_get::<_, Option<Uuid>>(6)? {
                deliveries.push(NewDelivery {
                    id: delivery.into(),
                    endpoint: row.try_get(7)?,
                    line: row.try_get(8)?,
                });
            }
        }
        Ok(Some(NewEvent {
            id,
            event_type: row.try_get(0)?,
            source: row.try_get(1)?,
            dedupe: row.try_get(2)?,
            body: row.try_get::<_, Vec<u8>>(3)?.into(),
            received_at: moment(row.try_get(4)?)?,
            trace: row.try_get(5)?,
            hops: row.try_get::<_, Option<String>>(9)?.unwrap_or_default(),
            arrival: row.try_get::<_, Option<String>>(10)?.unwrap_or_default(),
            deliveries,
        }))
    }

    async fn list_events(
        &self,
        filter: &EventFilter,
        after: Option<EventId>,
        at_most: usize,
    ) -> Result<Vec<EventRow>, LedgerError> {
        let sql = "SELECT e.id, e.event_type, e.source, e.received_at, e.trace, \
             count(d.id) FILTER (WHERE d.state IN ('due', 'held')), count(d.id) FILTER (WHERE d.state = 'delivered'), \
             count(d.id) FILTER (WHERE d.state = 'dead'), count(d.id) FILTER (WHERE d.state = 'folded') \
             FROM (SELECT * FROM events WHERE ($1::text IS NULL OR source = $1) \
             AND ($2::text IS NULL OR event_type = $2) AND ($3::text IS NULL OR starts_with(event_type, $3)) \
             AND ($4::text IS NULL OR trace = $4) \
             AND ($5::uuid IS NULL OR id >= $5) AND ($6::uuid IS NULL OR id < $6) ORDER BY id DESC LIMIT $7) e \
             LEFT JOIN deliveries d ON d.seq = e.seq \
             GROUP BY e.id, e.event_type, e.source, e.received_at, e.trace ORDER BY e.id DESC";
        let (event_type, group) = type_or_group(filter.event_type.as_deref());
        let source = filter.source.as_deref().map(text);
        let (since, after) = (filter.since.map(first_id), after.map(|id| id.uuid()));
        let at_most = limit(at_most);
        let trace = filter.trace.as_deref().map(text);
        let values: [&(dyn ToSql + Sync); 7] =
            [&source, &event_type, &group, &trace, &since, &after, &at_most];
        all(&self.database.query(sql, &values).await?, rows::event)
    }

    async fn refuse(&self, refusals: Vec<Refusal>) -> Result<(), LedgerError> {
        self.refusing.ask(refusals).await
    }

    async fn refusals(&self, at_most: usize) -> Result<Vec<Refusal>, LedgerError> {
        let sql = "SELECT at, addressed_to, status, code, webhook_id, body_bytes FROM refusals \
                   ORDER BY seq DESC LIMIT $1";
        let rows = self.database.query(sql, &[&limit(at_most)]).await?;
        all(&rows, |row| {
            Ok(Refusal {
                at: moment(row.try_get(0)?)?,
                addressed_to: row.try_get(1)?,
                status: count(row.try_get(2)?)?,
                code: row.try_get(3)?,
                webhook_id: row.try_get(4)?,
                body_bytes: count(row.try_get(5)?)?,
            })
        })
    }
}

fn attempt(delivery: DeliveryId, row: &Row) -> Result<Attempt, LedgerError> {
    let status: Option<i64> = row.try_get(3)?;
    Ok(Attempt {
        delivery,
        number: count(row.try_get(0)?)?,
        at: moment(row.try_get(1)?)?,
        duration_ms: count(row.try_get(2)?)?,
        status: status.map(count).transpose()?,
        error: row.try_get(4)?,
        next: next(row.try_get(5)?, row.try_get(6)?)?,
        told: about(row.try_get(7)?, row.try_get(8)?),
    })
}
