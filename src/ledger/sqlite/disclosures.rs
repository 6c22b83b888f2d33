//! What partners were told about records.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use model::DeliveryId;
use rusqlite::{Row, params};

use super::SqliteLedger;
use super::rows::{all, uuid};
use crate::stored::{count, limit, micros, moment};
use crate::{About, Disclosed, Disclosures, LedgerError, Remembered, Terms, Way};

const DISCLOSED: &str = "\
SELECT told.at, told.pulled, told.status, d.endpoint, e.id, e.event_type, e.body, t.digest, t.partner, t.text
FROM (SELECT delivery, at, number, 0 AS pulled, status, terms FROM attempts WHERE record = ?1
      UNION ALL
      SELECT delivery, at, 0, 1, NULL, terms FROM pulls WHERE record = ?1) AS told
JOIN terms t ON t.digest = told.terms
JOIN deliveries d ON d.id = told.delivery JOIN events e ON e.seq = d.seq
WHERE ?2 IS NULL OR t.partner = ?2
ORDER BY told.at DESC, e.seq DESC, told.number DESC, d.id LIMIT ?3";

const REMEMBERED: &str = "\
SELECT r.endpoint, r.event_type, t.digest, t.partner, t.text, r.first_at, r.last_at, r.times
FROM remembered r JOIN terms t ON t.digest = r.terms
WHERE r.record = ?1 AND (?2 IS NULL OR t.partner = ?2)
ORDER BY r.last_at DESC, r.endpoint, r.event_type, r.terms, r.source LIMIT ?3";

/// The order of the joins is meant: from the few attempts and pulls about a record to their events.
const TOLD: &str = "\
SELECT EXISTS (SELECT 1
FROM (SELECT delivery, terms FROM attempts WHERE record = ?1
      UNION ALL
      SELECT delivery, terms FROM pulls WHERE record = ?1) AS told
CROSS JOIN terms t ON t.digest = told.terms
CROSS JOIN deliveries d ON d.id = told.delivery CROSS JOIN events e ON e.seq = d.seq
WHERE t.partner = ?2 AND e.source = ?3)
OR EXISTS (SELECT 1 FROM remembered r CROSS JOIN terms t ON t.digest = r.terms
           WHERE r.record = ?1 AND r.source = ?3 AND t.partner = ?2)";

#[async_trait]
impl Disclosures for SqliteLedger {
    async fn keep_terms(&self, terms: &Terms) -> Result<(), LedgerError> {
        let terms = terms.clone();
        self.write(1, move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO terms (digest, partner, text) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                )?
                .execute(params![terms.digest, terms.partner, terms.text])?;
            Ok(())
        })
        .await
    }

    async fn note_pulled(&self, pulled: Vec<(DeliveryId, About)>, at: Timestamp) -> Result<(), LedgerError> {
        self.write(pulled.len(), move |connection| {
            let mut insert = connection.prepare_cached(
                "INSERT INTO pulls (delivery, terms, at, record) \
                 SELECT id, ?2, ?3, ?4 FROM deliveries WHERE id = ?1 ON CONFLICT DO NOTHING",
            )?;
            for (delivery, about) in &pulled {
                let delivery = delivery.uuid();
                insert.execute(params![
                    delivery.as_bytes(),
                    about.terms,
                    micros(at),
                    about.record
                ])?;
            }
            Ok(())
        })
        .await
    }

    async fn disclosed(
        &self,
        record: &str,
        partner: Option<&str>,
        at_most: usize,
    ) -> Result<Vec<Disclosed>, LedgerError> {
        let (record, partner) = (record.to_owned(), partner.map(str::to_owned));
        self.read(move |connection| {
            all(
                connection,
                DISCLOSED,
                params![record, partner, limit(at_most)],
                disclosed,
            )
        })
        .await
    }

    async fn remembered(
        &self,
        record: &str,
        partner: Option<&str>,
        at_most: usize,
    ) -> Result<Vec<Remembered>, LedgerError> {
        let (record, partner) = (record.to_owned(), partner.map(str::to_owned));
        self.read(move |connection| {
            all(
                connection,
                REMEMBERED,
                params![record, partner, limit(at_most)],
                remembered,
            )
        })
        .await
    }

    async fn told(
        &self,
        asked: &BTreeSet<(String, String)>,
        source: &str,
    ) -> Result<BTreeSet<(String, String)>, LedgerError> {
        let (asked, source) = (asked.clone(), source.to_owned());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(TOLD)?;
            let mut told = BTreeSet::new();
            for (record, partner) in &asked {
                if statement.query_row(params![record, partner, source], |row| row.get(0))? {
                    told.insert((record.clone(), partner.clone()));
                }
            }
            Ok(told)
        })
        .await
    }
}

fn remembered(row: &Row<'_>) -> Result<Remembered, LedgerError> {
    Ok(Remembered {
        endpoint: row.get(0)?,
        event_type: row.get(1)?,
        terms: Terms {
            digest: row.get(2)?,
            partner: row.get(3)?,
            text: row.get(4)?,
        },
        first_at: moment(row.get(5)?)?,
        last_at: moment(row.get(6)?)?,
        times: count(row.get(7)?)?,
    })
}

fn disclosed(row: &Row<'_>) -> Result<Disclosed, LedgerError> {
    let status: Option<i64> = row.get(2)?;
    Ok(Disclosed {
        at: moment(row.get(0)?)?,
        way: match row.get(1)? {
            true => Way::Pulled,
            false => Way::Sent(status.map(count).transpose()?),
        },
        endpoint: row.get(3)?,
        event: uuid(row, 4)?.into(),
        event_type: row.get(5)?,
        body: row.get::<_, Vec<u8>>(6)?.into(),
        terms: Terms {
            digest: row.get(7)?,
            partner: row.get(8)?,
            text: row.get(9)?,
        },
    })
}
