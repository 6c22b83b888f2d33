//! Reading records, links and what sync owes.

use async_trait::async_trait;
use jiff::Timestamp;
use model::{Kind, MatchKey, Record, RecordId};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::rows::{self, LINK_COLUMNS, LINK_COLUMNS_COUNT, all, extend, record_columns};
use super::{SqliteLedger, commit};
use crate::fold::fold;
use crate::stored::{
    CAUSES, count, decode_history, field_names, ids, in_order, json, json_text, limit, micros, moment,
    moment_if, names_if_any, names_or_none, sent, waits_for,
};
use crate::{
    Change, Cursor, LedgerError, Link, Linked, Parked, ParkedCause, ParkedFilter, Push, Records, Seen, Sent,
    SyncCommit,
};

/// Who of a kind has a key, in order.
pub(super) fn matching_one(
    connection: &Connection,
    kind: Kind,
    key: &MatchKey,
) -> Result<Vec<RecordId>, LedgerError> {
    let sql = "SELECT m.record FROM match_keys m JOIN records r ON r.kind = m.kind AND r.id = m.record \
               WHERE m.kind = ?1 AND m.key = ?2 AND (r.deleted_at IS NULL OR r.merged_into IS NOT NULL) \
               ORDER BY m.record";
    all(connection, sql, params![kind.name(), key.0], |row| {
        Ok(RecordId::new(kind, rows::uuid(row, 0)?))
    })
}

#[async_trait]
impl Records for SqliteLedger {
    async fn linked(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<Linked>, LedgerError> {
        let (at, object, ids) = (connection.to_owned(), object.to_owned(), external_ids.to_vec());
        self.read(move |connection| {
            let columns = record_columns!("records");
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {LINK_COLUMNS}, {columns} FROM links \
                 JOIN records ON records.kind = links.kind AND records.id = links.record \
                 WHERE links.connection = ?1 AND links.object = ?2 AND links.external_id = ?3"
            ))?;
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                extend(&mut found, &mut statement, params![at, object, id], |row| {
                    Ok(Linked {
                        link: rows::link(row)?,
                        record: rows::record(row, LINK_COLUMNS_COUNT)?,
                    })
                })?;
            }
            Ok(found)
        })
        .await
    }

    async fn seen(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<Seen>, LedgerError> {
        let (at, object, ids) = (connection.to_owned(), object.to_owned(), external_ids.to_vec());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT external_id, kind, record, wire, external_version FROM links \
                 WHERE connection = ?1 AND object = ?2 AND external_id = ?3 \
                 AND base IS NOT NULL AND wire IS NOT NULL AND gone = 0 AND ignored = 0",
            )?;
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                extend(&mut found, &mut statement, params![at, object, id], |row| {
                    Ok(Seen {
                        external_id: row.get(0)?,
                        record: rows::id(row, 1)?,
                        wire: json(rows::text(row, 3)?)?,
                        external_version: row.get(4)?,
                    })
                })?;
            }
            Ok(found)
        })
        .await
    }

    async fn former(
        &self,
        connection: &str,
        object: &str,
        external_ids: &[String],
    ) -> Result<Vec<(String, RecordId)>, LedgerError> {
        let (at, object, ids) = (connection.to_owned(), object.to_owned(), external_ids.to_vec());
        self.read(move |reader| {
            let mut statement = reader.prepare_cached(
                "SELECT external_id, kind, record FROM former_objects \
                 WHERE connection = ?1 AND object = ?2 AND external_id = ?3",
            )?;
            let mut found = Vec::new();
            for id in &ids {
                extend(&mut found, &mut statement, params![at, object, id], |row| {
                    Ok((row.get(0)?, rows::id(row, 1)?))
                })?;
            }
            Ok(found)
        })
        .await
    }

    async fn records(&self, ids: &[RecordId]) -> Result<Vec<Record>, LedgerError> {
        let ids = ids.to_vec();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(concat!(
                "SELECT ",
                record_columns!("records"),
                " FROM records WHERE kind = ?1 AND id = ?2"
            ))?;
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                let key = params![id.kind.name(), id.uuid.as_bytes()];
                extend(&mut found, &mut statement, key, |row| rows::record(row, 0))?;
            }
            Ok(found)
        })
        .await
    }

    async fn links(&self, ids: &[RecordId]) -> Result<Vec<Link>, LedgerError> {
        let ids = ids.to_vec();
        self.read(move |connection| {
            let sql = format!("SELECT {LINK_COLUMNS} FROM links WHERE kind = ?1 AND record = ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                let key = params![id.kind.name(), id.uuid.as_bytes()];
                extend(&mut found, &mut statement, key, rows::link)?;
            }
            Ok(found)
        })
        .await
    }

    async fn links_to(
        &self,
        connection: &str,
        object: &str,
        ids: &[RecordId],
    ) -> Result<Vec<Link>, LedgerError> {
        let (at, object, ids) = (connection.to_owned(), object.to_owned(), ids.to_vec());
        self.read(move |connection| {
            let sql = format!(
                "SELECT {LINK_COLUMNS} FROM links WHERE kind = ?1 AND record = ?2 AND connection = ?3 AND object = ?4"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                let key = params![id.kind.name(), id.uuid.as_bytes(), at, object];
                extend(&mut found, &mut statement, key, rows::link)?;
            }
            Ok(found)
        })
        .await
    }

    async fn linked_ids(
        &self,
        connection: &str,
        object: &str,
        after: Option<&str>,
        at_most: usize,
    ) -> Result<Vec<String>, LedgerError> {
        let (at, object) = (connection.to_owned(), object.to_owned());
        let after = after.unwrap_or_default().to_owned();
        self.read(move |connection| {
            let sql = "SELECT external_id FROM links WHERE connection = ?1 AND object = ?2 AND external_id > ?3 \
                       AND gone = 0 AND ignored = 0 ORDER BY external_id LIMIT ?4";
            all(connection, sql, params![at, object, after, limit(at_most)], |row| Ok(row.get(0)?))
        })
        .await
    }

    async fn matching(
        &self,
        kind: Kind,
        keys: &[MatchKey],
    ) -> Result<Vec<(MatchKey, RecordId)>, LedgerError> {
        let keys: std::collections::BTreeSet<MatchKey> = keys.iter().cloned().collect();
        self.read(move |connection| {
            let mut found = Vec::new();
            for key in &keys {
                let records = matching_one(connection, kind, key)?;
                found.extend(records.into_iter().map(|record| (key.clone(), record)));
            }
            Ok(found)
        })
        .await
    }

    async fn list_records(
        &self,
        kind: Kind,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        self.read(move |connection| {
            let sql = concat!(
                "SELECT ",
                record_columns!("records"),
                " FROM records WHERE kind = ?1 AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3"
            );
            let after = after.map(|id| *id.uuid.as_bytes());
            let page = params![kind.name(), after, limit(at_most)];
            all(connection, sql, page, |row| rows::record(row, 0))
        })
        .await
    }

    async fn history(&self, id: RecordId) -> Result<Vec<Change>, LedgerError> {
        let sql = "SELECT version, changes FROM history WHERE kind = ?1 AND record = ?2 ORDER BY version";
        self.read(move |connection| {
            let key = params![id.kind.name(), id.uuid.as_bytes()];
            let versions = all(connection, sql, key, |row| {
                decode_history(count(row.get(0)?)?, rows::text(row, 1)?)
            })?;
            Ok(versions.into_iter().flatten().collect())
        })
        .await
    }

    async fn commit(&self, commit: SyncCommit) -> Result<(), LedgerError> {
        let commit = fold(commit)?;
        let rows = commit.records.len() * 4 + commit.links.len() + commit.marks.len() + commit.events.len();
        self.write(rows, move |connection| commit::write(connection, &commit))
            .await
    }

    async fn pushes(
        &self,
        connection: &str,
        object: &str,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<Push>, LedgerError> {
        let (at, object) = (connection.to_owned(), object.to_owned());
        let sql = "SELECT kind, record, mark, due_at, attempts, sent FROM pushes \
                   WHERE connection = ?1 AND object = ?2 AND due_at <= ?3 ORDER BY due_at, record, kind LIMIT ?4";
        self.read(move |connection| {
            let due = params![at, object, micros(now), limit(at_most)];
            all(connection, sql, due, |row| push(row, &at, &object))
        })
        .await
    }

    async fn all_pushes(
        &self,
        connection: &str,
        object: &str,
        after: Option<RecordId>,
        at_most: usize,
    ) -> Result<Vec<Push>, LedgerError> {
        let (at, object) = (connection.to_owned(), object.to_owned());
        let (kind, after) = after.map_or(("", Vec::new()), |id| {
            (id.kind.name(), id.uuid.as_bytes().to_vec())
        });
        let sql = "SELECT kind, record, mark, due_at, attempts, sent FROM pushes \
                   WHERE connection = ?1 AND object = ?2 AND (kind, record) > (?3, ?4) ORDER BY kind, record LIMIT ?5";
        self.read(move |connection| {
            let owed = params![at, object, kind, after, limit(at_most)];
            all(connection, sql, owed, |row| push(row, &at, &object))
        })
        .await
    }

    async fn sent(
        &self,
        connection: &str,
        object: &str,
        records: &[RecordId],
    ) -> Result<Vec<(RecordId, Vec<Sent>)>, LedgerError> {
        let (at, object, ids) = (connection.to_owned(), object.to_owned(), records.to_vec());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT sent FROM pushes WHERE connection = ?1 AND object = ?2 AND kind = ?3 AND record = ?4 \
                 AND sent IS NOT NULL",
            )?;
            let mut found = Vec::new();
            for id in &ids {
                let key = params![at, object, id.kind.name(), id.uuid.as_bytes()];
                extend(&mut found, &mut statement, key, |row| {
                    Ok((*id, sent(row.get::<_, Option<String>>(0)?.as_deref())?))
                })?;
            }
            Ok(found)
        })
        .await
    }

    async fn cursor(&self, connection: &str, object: &str) -> Result<Option<Cursor>, LedgerError> {
        let (at, object) = (connection.to_owned(), object.to_owned());
        let sql = "SELECT position, complete_at, round_at, fields_read, fields_asked, stored_at FROM cursors \
                   WHERE connection = ?1 AND object = ?2";
        self.read(move |connection| {
            let found = all(connection, sql, params![at, object], |row| {
                Ok(Cursor {
                    position: json(rows::text(row, 0)?)?,
                    complete_at: moment_if(row.get(1)?)?,
                    round_at: moment_if(row.get(2)?)?,
                    fields_read: field_names(row.get::<_, Option<String>>(3)?.as_deref())?,
                    fields_asked: field_names(row.get::<_, Option<String>>(4)?.as_deref())?,
                    stored_at: moment(row.get(5)?)?,
                })
            })?;
            Ok(found.into_iter().next())
        })
        .await
    }

    async fn parked(&self, filter: &ParkedFilter, at_most: usize) -> Result<Vec<Parked>, LedgerError> {
        // Only what is asked for stands in the statement: a condition on what may be nothing would hide the indices.
        let mut sql = String::from(
            "SELECT connection, object, key, inbound, code, reason, since, retry_at, records, fields, waits_for FROM parked WHERE TRUE",
        );
        let mut asked: Vec<SqlValue> = Vec::new();
        if let Some((connection, object)) = filter.of.clone() {
            sql.push_str(" AND connection = ? AND object = ?");
            asked.extend([connection.into(), object.into()]);
        }
        sql.push_str(match filter.inbound {
            Some(true) => " AND inbound = 1",
            Some(false) => " AND inbound = 0",
            None => "",
        });
        if let Some(retry_by) = filter.retry_by {
            sql.push_str(" AND retry_at <= ?");
            asked.push(micros(retry_by).into());
        }
        for (column, among) in [("key", &filter.keys), ("code", &filter.codes)] {
            if let Some(among) = among {
                sql.push_str(&format!(" AND {column} IN (SELECT value FROM json_each(?))"));
                asked.push(json_text(&among.as_slice().into()).into());
            }
        }
        if let Some(fields) = &filter.fields {
            sql.push_str(" AND fields IS ?");
            asked.push(names_if_any(fields).into());
        }
        if let Some(after) = &filter.after {
            sql.push_str(" AND (since, connection, object, key, inbound) > (?, ?, ?, ?, ?)");
            asked.extend([
                micros(after.since).into(),
                after.connection.clone().into(),
                after.object.clone().into(),
                after.key.clone().into(),
                after.inbound.into(),
            ]);
        }
        sql.push_str(" ORDER BY since, connection, object, key, inbound LIMIT ?");
        asked.push(limit(at_most).into());
        self.read(move |reader| {
            all(reader, &sql, params_from_iter(&asked), |row| {
                Ok(Parked {
                    connection: row.get(0)?,
                    object: row.get(1)?,
                    key: row.get(2)?,
                    inbound: row.get(3)?,
                    code: row.get(4)?,
                    reason: row.get(5)?,
                    since: moment(row.get(6)?)?,
                    retry_at: moment_if(row.get(7)?)?,
                    records: ids(row.get::<_, Option<String>>(8)?.as_deref())?,
                    fields: names_or_none(row.get::<_, Option<String>>(9)?.as_deref())?,
                    waits_for: waits_for(row.get::<_, Option<String>>(10)?.as_deref()),
                })
            })
        })
        .await
    }

    async fn parked_causes(&self) -> Result<Vec<ParkedCause>, LedgerError> {
        let causes = self.read(move |reader| {
            all(reader, CAUSES, [], |row| {
                Ok(ParkedCause {
                    connection: row.get(0)?,
                    object: row.get(1)?,
                    inbound: row.get(2)?,
                    code: row.get(3)?,
                    fields: names_or_none(row.get::<_, Option<String>>(4)?.as_deref())?,
                    count: count(row.get(5)?)?,
                    first: moment(row.get(6)?)?,
                    last: moment(row.get(7)?)?,
                    retry_at: moment_if(row.get(8)?)?,
                    reason: row.get(9)?,
                    key: row.get(10)?,
                })
            })
        });
        Ok(in_order(causes.await?))
    }
}

fn push(row: &Row<'_>, connection: &str, object: &str) -> Result<Push, LedgerError> {
    Ok(Push {
        connection: connection.to_owned(),
        object: object.to_owned(),
        record: rows::id(row, 0)?,
        mark: count(row.get(2)?)?,
        due_at: moment(row.get(3)?)?,
        attempts: count(row.get(4)?)?,
        sent: sent(row.get::<_, Option<String>>(5)?.as_deref())?,
    })
}
