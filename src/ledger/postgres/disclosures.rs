//! What partners were told about records.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use model::DeliveryId;
use tokio_postgres::Row;
use uuid::Uuid;

use super::PostgresLedger;
use super::rows::{all, column, text};
use crate::stored::{count, limit, micros, moment};
use crate::{About, Disclosed, Disclosures, LedgerError, Remembered, Terms, Way};

const PULLED: &str = "\
INSERT INTO pulls (delivery, terms, at, record)
SELECT p.delivery, p.terms, $4, p.record FROM unnest($1::uuid[], $2::text[], $3::text[]) AS p (delivery, terms, record)
WHERE EXISTS (SELECT 1 FROM deliveries d WHERE d.id = p.delivery)
ORDER BY p.delivery ON CONFLICT DO NOTHING";

const DISCLOSED: &str = "\
SELECT told.at, told.pulled, told.status, d.endpoint, e.id, e.event_type, e.body, t.digest, t.partner, t.text
FROM (SELECT delivery, at, number, false AS pulled, status, terms FROM attempts WHERE record = $1
      UNION ALL
      SELECT delivery, at, 0, true, NULL, terms FROM pulls WHERE record = $1) AS told
JOIN terms t ON t.digest = told.terms
JOIN deliveries d ON d.id = told.delivery JOIN events e ON e.seq = d.seq
WHERE $2::text IS NULL OR t.partner = $2
ORDER BY told.at DESC, e.seq DESC, told.number DESC, d.id LIMIT $3";

const REMEMBERED: &str = "\
SELECT r.endpoint, r.event_type, t.digest, t.partner, t.text, r.first_at, r.last_at, r.times
FROM remembered r JOIN terms t ON t.digest = r.terms
WHERE r.record = $1 AND ($2::text IS NULL OR t.partner = $2)
ORDER BY r.last_at DESC, r.endpoint, r.event_type, r.terms, r.source LIMIT $3";

/// A subquery that is asked for each pair, so that its indices are used however many attempts there are.
const TOLD: &str = "\
SELECT asked.record, asked.partner FROM unnest($1::text[], $2::text[]) AS asked (record, partner)
WHERE (SELECT true
       FROM (SELECT delivery, terms FROM attempts WHERE record = asked.record
             UNION ALL
             SELECT delivery, terms FROM pulls WHERE record = asked.record) AS told
       JOIN terms t ON t.digest = told.terms
       JOIN deliveries d ON d.id = told.delivery JOIN events e ON e.seq = d.seq
       WHERE t.partner = asked.partner AND e.source = $3 LIMIT 1)
   OR EXISTS (SELECT FROM remembered r JOIN terms t ON t.digest = r.terms
              WHERE r.record = asked.record AND r.source = $3 AND t.partner = asked.partner)";

#[async_trait]
impl Disclosures for PostgresLedger {
    async fn keep_terms(&self, terms: &Terms) -> Result<(), LedgerError> {
        let sql = "INSERT INTO terms (digest, partner, text) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&text(&terms.digest), &text(&terms.partner), &text(&terms.text)];
        self.database.write(sql, &values).await?;
        Ok(())
    }

    async fn note_pulled(&self, pulled: Vec<(DeliveryId, About)>, at: Timestamp) -> Result<(), LedgerError> {
        let deliveries = column(&pulled, |(delivery, _)| delivery.uuid());
        let terms = column(&pulled, |(_, about)| text(&about.terms));
        let records = column(&pulled, |(_, about)| text(&about.record));
        self.database
            .write(PULLED, &[&deliveries, &terms, &records, &micros(at)])
            .await?;
        Ok(())
    }

    async fn disclosed(
        &self,
        record: &str,
        partner: Option<&str>,
        at_most: usize,
    ) -> Result<Vec<Disclosed>, LedgerError> {
        let partner = partner.map(text);
        let rows = self
            .database
            .query(DISCLOSED, &[&text(record), &partner, &limit(at_most)])
            .await?;
        all(&rows, disclosed)
    }

    async fn remembered(
        &self,
        record: &str,
        partner: Option<&str>,
        at_most: usize,
    ) -> Result<Vec<Remembered>, LedgerError> {
        let partner = partner.map(text);
        let rows = self
            .database
            .query(REMEMBERED, &[&text(record), &partner, &limit(at_most)])
            .await?;
        all(&rows, remembered)
    }

    async fn told(
        &self,
        asked: &BTreeSet<(String, String)>,
        source: &str,
    ) -> Result<BTreeSet<(String, String)>, LedgerError> {
        let records = column(asked, |(record, _)| text(record));
        let partners = column(asked, |(_, partner)| text(partner));
        let rows = self
            .database
            .query(TOLD, &[&records, &partners, &text(source)])
            .await?;
        let told = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        told.collect()
    }
}

fn remembered(row: &Row) -> Result<Remembered, LedgerError> {
    Ok(Remembered {
        endpoint: row.try_get(0)?,
        event_type: row.try_get(1)?,
        terms: Terms {
            digest: row.try_get(2)?,
            partner: row.try_get(3)?,
            text: row.try_get(4)?,
        },
        first_at: moment(row.try_get(5)?)?,
        last_at: moment(row.try_get(6)?)?,
        times: count(row.try_get(7)?)?,
    })
}

fn disclosed(row: &Row) -> Result<Disclosed, LedgerError> {
    let status: Option<i64> = row.try_get(2)?;
    Ok(Disclosed {
        at: moment(row.try_get(0)?)?,
        way: match row.try_get(1)? {
            true => Way::Pulled,
            false => Way::Sent(status.map(count).transpose()?),
        },
        endpoint: row.try_get(3)?,
        event: row.try_get::<_, Uuid>(4)?.into(),
        event_type: row.try_get(5)?,
        body: row.try_get::<_, Vec<u8>>(6)?.into(),
        terms: Terms {
            digest: row.try_get(7)?,
            partner: row.try_get(8)?,
            text: row.try_get(9)?,
        },
    })
}
