//! Reading records, links and what sync owes.

use async_trait::async_trait;
use jiff::Timestamp;
use model::{Kind, MatchKey, Record, RecordId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::PostgresLedger;
use super::commit::Commit;
use super::rows::{self, LINK_COLUMNS, LINK_COLUMNS_COUNT, RECORD_COLUMNS, all, column, text};
use crate::fold::fold;
use crate::stored::{
    CAUSES, count, decode_history, field_names, ids, in_order, json, limit, micros, moment, moment_if,
    names_if_any, names_or_none, sent, waits_for,
};
use crate::{
    Change, Cursor, LedgerError, Link, Linked, Parked, ParkedCause, ParkedFilter, Push, Records, Seen, Sent,
    SyncCommit,
};

/// Records that are asked for, as two columns.
fn named(ids: &[RecordId]) -> (Vec<&'static str>, Vec<Uuid>) {
    (column(ids, |id| id.kind.name()), column(ids, |id| id.uuid))
}

/// Who of a kind has one of some keys.
pub(super) const MATCHING: &str = "SELECT m.key, m.record FROM match_keys m \
     JOIN records r ON r.kind = m.kind AND r.id = m.record WHERE m.kind = $1 AND m.key = ANY($2) AND (r.deleted_at IS NULL OR r.merged_into IS NOT NULL) \
     ORDER BY m.key, m.record";

#[async_trait]
impl Records for PostgresLedger {
    async fn linked(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<Linked>, LedgerError> {
        let sql = format!(
            "SELECT {LINK_COLUMNS}, {RECORD_COLUMNS} FROM links l \
             JOIN records r ON r.kind = l.kind AND r.id = l.record \
             WHERE l.connection = $1 AND l.object = $2 AND l.external_id = ANY($3)"
        );
        let external_ids = column(external_ids, |id| text(id));
        let rows = self
            .database
            .query(&sql, &[&text(connection), &text(object), &external_ids])
            .await?;
        all(&rows, |row| {
            Ok(Linked {
                link: rows::link(row)?,
                record: rows::record(row, LINK_COLUMNS_COUNT)?,
            })
        })
    }

    async fn seen(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<Seen>, LedgerError> {
        let sql = "SELECT external_id, kind, record, wire, external_version FROM links \
                   WHERE connection = $1 AND object = $2 AND external_id = ANY($3) \
                   AND base IS NOT NULL AND wire IS NOT NULL AND NOT gone AND NOT ignored";
        let external_ids = column(external_ids, |id| text(id));
        let rows = self
            .database
            .query(sql, &[&text(connection), &text(object), &external_ids])
            .await?;
        all(&rows, |row| {
            Ok(Seen {
                external_id: row.try_get(0)?,
                record: rows::id(row, 1)?,
                wire: json(row.try_get(3)?)?,
                external_version: row.try_get(4)?,
            })
        })
    }

    async fn former(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<(String, RecordId)>, LedgerError> {
        let sql = "SELECT external_id, kind, record FROM former_objects \
                   WHERE connection = $1 AND object = $2 AND external_id = ANY($3)";
        let external_ids = column(external_ids, |id| text(id));
        let rows = self
            .database
            .query(sql, &[&text(connection), &text(object), &external_ids])
            .await?;
        all(&rows, |row| Ok((row.try_get(0)?, rows::id(row, 1)?)))
    }

    async fn records(&self, ids: &[RecordId]) -> Result<Vec<Record>, LedgerError> {
        let sql = format!(
            "SELECT {RECORD_COLUMNS} FROM unnest($1::text[], $2::uuid[]) AS asked (kind, id) \
             JOIN records r ON r.kind = asked.kind AND r.id = asked.id"
        );
        let (kinds, ids) = named(ids);
        let rows = self.database.query(&sql, &[&kinds, &ids]).await?;
        all(&rows, |row| rows::record(row, 0))
    }

    async fn links(&self, ids: &[RecordId]) -> Result<Vec<Link>, LedgerError> {
        let sql = format!(
            "SELECT {LINK_COLUMNS} FROM unnest($1::text[], $2::uuid[]) AS asked (kind, id) \
             JOIN links l ON l.kind = asked.kind AND l.record = asked.id"
        );
        let (kinds, ids) = named(ids);
        let rows = self.database.query(&sql, &[&kinds, &ids]).await?;
        all(&rows, rows::link)
    }

    async fn links_to(
        &self,
        connection: &str,
        object: &str,
        ids: &[RecordId],
    ) -> Result<Vec<Link>, LedgerError> {
        // Each by its key. For a join the planner would rather read all of the object, as long as that is not very much or
        // little is known about the table.
        let sql = format!(
            "SELECT {LINK_COLUMNS} FROM unnest($1::text[], $2::uuid[]) AS asked (kind, id), \
             LATERAL (SELECT * FROM links WHERE kind = asked.kind AND record = asked.id AND connection = $3 AND object = $4 \
             LIMIT 1) AS l"
        );
        let (kinds, ids) = named(ids);
        let rows = self
            .database
            .query(&sql, &[&kinds, &ids, &text(connection), &text(object)])
            .await?;
        all(&rows, rows::link)
    }

    async fn linked_ids(
        &self,
        connection: &str,
        object: &str,
        after: Option<&str>,
        at_most: usize,
    ) -> Result<Vec<String>, LedgerError> {
        let sql = "SELECT external_id FROM links WHERE connection = $1 AND object = $2 AND external_id > $3 \
                   AND NOT gone AND NOT ignored ORDER BY external_id LIMIT $4";
        let after = text(after.unwrap_or_default());
        let rows = self
            .database
            .query(sql, &[&text(connection), &text(object), &after, &limit(at_most)])
            .await?;
        all(&rows, |row| Ok(row.try_get(0)?))
    }

    async fn matching(
        &self,
        kind: Kind,
        keys: &[MatchKey],
    ) -> Result<Vec<(MatchKey, RecordId)>, LedgerError> {
        let keys = column(keys, |key| text(&key.0));
        let rows = self.database.query(MATCHING, &[&kind.name(), &keys]).await?;
        all(&rows, |row| {
            Ok((MatchKey(row.try_get(0)?), RecordId::new(kind, row.try_get(1)?)))
        })
    }

    async fn list_records(
        &self,
        kind: Kind,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let sql = format!(
            "SELECT {RECORD_COLUMNS} FROM records r WHERE r.kind = $1 AND ($2::uuid IS NULL OR r.id > $2) \
             ORDER BY r.id LIMIT $3"
        );
        let after = after.map(|id| id.uuid);
        let rows = self
            .database
            .query(&sql, &[&kind.name(), &after, &limit(at_most)])
            .await?;
        all(&rows, |row| rows::record(row, 0))
    }

    async fn history(&self, id: RecordId) -> Result<Vec<Change>, LedgerError> {
        let sql = "SELECT version, changes FROM history WHERE kind = $1 AND record = $2 ORDER BY version";
        let rows = self.database.query(sql, &[&id.kind.name(), &id.uuid]).await?;
        let versions = all(&rows, |row| {
            decode_history(count(row.try_get(0)?)?, row.try_get(1)?)
        })?;
        Ok(versions.into_iter().flatten().collect())
    }

    async fn commit(&self, commit: SyncCommit) -> Result<(), LedgerError> {
        let _permit = self.database.permit()?;
        let commit = Commit(fold(commit)?);
        Ok(self.database.run(&commit).await?)
    }

    async fn pushes(
        &self,
        connection: &str,
        object: &str,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<Push>, LedgerError> {
        let sql = "SELECT kind, record, mark, due_at, attempts, sent FROM pushes \
                   WHERE connection = $1 AND object = $2 AND due_at <= $3 AND attempts >= 0 \
                   ORDER BY due_at, record, kind LIMIT $4";
        let rows = self
            .database
            .query(
                sql,
                &[&text(connection), &text(object), &micros(now), &limit(at_most)],
            )
            .await?;
        all(&rows, |row| push(row, connection, object))
    }

    async fn all_pushes(
        &self,
        connection: &str,
        object: &str,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Push>, LedgerError> {
        let (kind, after) = after.map_or(("", Uuid::nil()), |id| (id.kind.name(), id.uuid));
        let sql = "SELECT kind, record, mark, due_at, attempts, sent FROM pushes \
                   WHERE connection = $1 AND object = $2 AND (kind, record) > ($3, $4) ORDER BY kind, record LIMIT $5";
        let rows = self
            .database
            .query(
                sql,
                &[&text(connection), &text(object), &kind, &after, &limit(at_most)],
            )
            .await?;
        all(&rows, |row| push(row, connection, object))
    }

    async fn sent(
        &self,
        connection: &str,
        object: &str,
        records: &[RecordId],
    ) -> Result<Vec<(RecordId, Vec<Sent>)>, LedgerError> {
        // Each by its key, as in `links_to`.
        let sql = "SELECT asked.kind, asked.id, p.sent FROM unnest($3::text[], $4::uuid[]) AS asked (kind, id), \
                   LATERAL (SELECT sent FROM pushes WHERE connection = $1 AND object = $2 AND kind = asked.kind \
                   AND record = asked.id LIMIT 1) AS p WHERE p.sent IS NOT NULL";
        let (kinds, ids) = named(records);
        let rows = self
            .database
            .query(sql, &[&text(connection), &text(object), &kinds, &ids])
            .await?;
        all(&rows, |row| Ok((rows::id(row, 0)?, sent(row.try_get(2)?)?)))
    }

    async fn cursor(&self, connection: &str, object: &str) -> Result<Option<Cursor>, LedgerError> {
        let sql = "SELECT position, complete_at, round_at, fields_read, fields_asked, stored_at FROM cursors \
                   WHERE connection = $1 AND object = $2";
        let rows = self
            .database
            .query(sql, &[&text(connection), &text(object)])
            .await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(Cursor {
                position: json(row.try_get(0)?)?,
                complete_at: moment_if(row.try_get(1)?)?,
                round_at: moment_if(row.try_get(2)?)?,
                fields_read: field_names(row.try_get(3)?)?,
                fields_asked: field_names(row.try_get(4)?)?,
                stored_at: moment(row.try_get(5)?)?,
            })
        };
        rows.first().map(read).transpose()
    }

    async fn parked(&self, filter: &ParkedFilter, at_most: usize) -> Result<Vec<Parked>, LedgerError> {
        let (connection, object) = filter.of.as_ref().map(|(c, o)| (text(c), text(o))).unzip();
        let (retry_by, at_most) = (filter.retry_by.map(micros), limit(at_most));
        let texts = |all: &Vec<String>| -> Vec<_> { all.iter().map(|one| text(one).into_owned()).collect() };
        let (keys, codes) = (filter.keys.as_ref().map(texts), filter.codes.as_ref().map(texts));
        // Only what is asked for stands in the statement: a condition on what may be nothing would hide the indices.
        let mut sql = String::from(
            "SELECT connection, object, key, inbound, code, reason, since, retry_at, records, fields, waits_for FROM parked \
             WHERE $1::bigint IS NOT NULL",
        );
        let mut asked: Vec<&(dyn ToSql + Sync)> = vec![&at_most];
        let fields = filter.fields.as_ref().map(|fields| names_if_any(fields));
        let after = filter.after.as_ref().map(|after| {
            let (connection, object, key) = (text(&after.connection), text(&after.object), text(&after.key));
            (micros(after.since), connection, object, key, after.inbound)
        });
        let mut add = |condition: &str, value| {
            asked.push(value);
            sql.push_str(&format!(" AND {condition}${}", asked.len()));
            sql.push_str(if condition.ends_with('(') { ")" } else { "" });
        };
        if let Some(fields) = &fields {
            add("fields IS NOT DISTINCT FROM ", fields);
        }
        if filter.of.is_some() {
            add("connection = ", &connection);
            add("object = ", &object);
        }
        if filter.retry_by.is_some() {
            add("retry_at <= ", &retry_by);
        }
        if filter.keys.is_some() {
            add("key = ANY(", &keys);
        }
        if filter.codes.is_some() {
            add("code = ANY(", &codes);
        }
        if let Some((since, connection, object, key, inbound)) = &after {
            let first = asked.len() + 1;
            let values: Vec<String> = (first..first + 5).map(|place| format!("${place}")).collect();
            sql.push_str(&format!(
                " AND (since, connection, object, key, inbound) > ({})",
                values.join(", ")
            ));
            asked.extend([since as &(dyn ToSql + Sync), connection, object, key, inbound]);
        }
        sql.push_str(match filter.inbound {
            Some(true) => " AND inbound",
            Some(false) => " AND NOT inbound",
            None => "",
        });
        sql.push_str(" ORDER BY since, connection, object, key, inbound LIMIT $1");
        let rows = self.database.query(&sql, &asked).await?;
        all(&rows, |row| {
            Ok(Parked {
                connection: row.try_get(0)?,
                object: row.try_get(1)?,
                key: row.try_get(2)?,
                inbound: row.try_get(3)?,
                code: row.try_get(4)?,
                reason: row.try_get(5)?,
                since: moment(row.try_get(6)?)?,
                retry_at: moment_if(row.try_get(7)?)?,
                records: ids(row.try_get(8)?)?,
                fields: names_or_none(row.try_get(9)?)?,
                waits_for: waits_for(row.try_get(10)?),
            })
        })
    }

    async fn parked_causes(&self) -> Result<Vec<ParkedCause>, LedgerError> {
        let rows = self.database.query(CAUSES, &[]).await?;
        let causes = all(&rows, |row| {
            Ok(ParkedCause {
                connection: row.try_get(0)?,
                object: row.try_get(1)?,
                inbound: row.try_get(2)?,
                code: row.try_get(3)?,
                fields: names_or_none(row.try_get(4)?)?,
                count: count(row.try_get(5)?)?,
                first: moment(row.try_get(6)?)?,
                last: moment(row.try_get(7)?)?,
                retry_at: moment_if(row.try_get(8)?)?,
                reason: row.try_get(9)?,
                key: row.try_get(10)?,
            })
        });
        Ok(in_order(causes?))
    }
}

fn push(row: &Row, connection: &str, object: &str) -> Result<Push, LedgerError> {
    Ok(Push {
        connection: connection.to_owned(),
        object: object.to_owned(),
        record: rows::id(row, 0)?,
        mark: count(row.try_get(2)?)?,
        due_at: moment(row.try_get(3)?)?,
        attempts: count(row.try_get(4)?)?,
        sent: sent(row.try_get(5)?)?,
    })
}
