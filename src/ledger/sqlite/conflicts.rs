//! Conflicts: written with a commit, listed, counted.

use async_trait::async_trait;
use model::{ConflictId, RecordId};
use rusqlite::{Connection, Row, params};

use super::SqliteLedger;
use super::rows::{self, all, extend};
use crate::stored::{big, conflict_state, count, json, json_text, limit, micros, moment, moment_if};
use crate::{Conflict, ConflictFilter, Conflicts, LedgerError};

/// The columns that [`conflict`] reads.
const COLUMNS: &str = "id, kind, record, path, connection, object, external_id, base, ours, theirs, kept, ours_by, \
                       theirs_at, rule, winner, run, trace, found_at, revision, state, closed_at, closed_by";

/// What a filter means; `?1` are ids in hexadecimal digits, as a JSON list.
const MEANT: &str = "(?1 IS NULL OR id IN (SELECT unhex(value) FROM json_each(?1))) \
                     AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR kind = ?3) \
                     AND (?4 IS NULL OR (kind = ?4 AND record = ?5)) \
                     AND (?6 IS NULL OR connection = ?6) AND (?7 IS NULL OR path = ?7)";

/// The ids of a filter, if it names any.
fn ids(filter: &ConflictFilter) -> Option<String> {
    let hex: Vec<String> = filter
        .ids
        .iter()
        .map(|id| id.uuid().simple().to_string())
        .collect();
    (!hex.is_empty()).then(|| serde_json::Value::from(hex).to_string())
}

fn conflict(row: &Row<'_>) -> Result<Conflict, LedgerError> {
    let run: Option<[u8; 16]> = row.get(15)?;
    Ok(Conflict {
        id: rows::uuid(row, 0)?.into(),
        record: rows::id(row, 1)?,
        path: row.get(3)?,
        connection: row.get(4)?,
        object: row.get(5)?,
        external_id: row.get(6)?,
        base: json(rows::text(row, 7)?)?,
        ours: json(rows::text(row, 8)?)?,
        theirs: json(rows::text(row, 9)?)?,
        kept: json(rows::text(row, 10)?)?,
        ours_by: row.get(11)?,
        theirs_at: moment_if(row.get(12)?)?,
        rule: row.get(13)?,
        winner: row.get(14)?,
        run: run.map(|bytes| uuid::Uuid::from_bytes(bytes).into()),
        trace: row.get(16)?,
        found_at: moment(row.get(17)?)?,
        revision: count(row.get(18)?)?,
        state: conflict_state(rows::text(row, 19)?)?,
        closed_at: moment_if(row.get(20)?)?,
        closed_by: row.get(21)?,
    })
}

/// Writes conflicts; those that cannot be written as they were read make the commit stale.
pub(super) fn write(connection: &Connection, conflicts: &[Conflict]) -> Result<(), LedgerError> {
    if conflicts.is_empty() {
        return Ok(());
    }
    let mut upsert = connection.prepare_cached(&format!(
        "INSERT INTO conflicts ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, \
         ?16, ?17, ?18, ?19, ?20, ?21, ?22) \
         ON CONFLICT (id) DO UPDATE SET external_id = excluded.external_id, base = excluded.base, \
         ours = excluded.ours, theirs = excluded.theirs, kept = excluded.kept, ours_by = excluded.ours_by, \
         theirs_at = excluded.theirs_at, rule = excluded.rule, winner = excluded.winner, run = excluded.run, \
         trace = excluded.trace, revision = excluded.revision, state = excluded.state, \
         closed_at = excluded.closed_at, closed_by = excluded.closed_by WHERE conflicts.state = 'open' \
         ON CONFLICT DO NOTHING"
    ))?;
    let mut stale = Vec::new();
    for found in conflicts {
        let written = upsert.execute(params![
            found.id.uuid().as_bytes(),
            found.record.kind.name(),
            found.record.uuid.as_bytes(),
            found.path,
            found.connection,
            found.object,
            found.external_id,
            json_text(&found.base),
            json_text(&found.ours),
            json_text(&found.theirs),
            json_text(&found.kept),
            found.ours_by,
            found.theirs_at.map(micros),
            found.rule,
            found.winner,
            found.run.map(|run| *run.uuid().as_bytes()),
            found.trace,
            micros(found.found_at),
            big(found.revision),
            found.state.word(),
            found.closed_at.map(micros),
            found.closed_by
        ])?;
        if written == 0 {
            stale.push(found.record);
        }
    }
    match stale.is_empty() {
        true => Ok(()),
        false => Err(LedgerError::Stale(stale)),
    }
}

#[async_trait]
impl Conflicts for SqliteLedger {
    async fn list_conflicts(
        &self,
        filter: &ConflictFilter,
        after: Option<ConflictId>,
        at_most: usize,
    ) -> Result<Vec<Conflict>, LedgerError> {
        let filter = filter.clone();
        let after = after.map(|id| *id.uuid().as_bytes());
        let sql = format!(
            "SELECT {COLUMNS} FROM conflicts WHERE {MEANT} AND (?8 IS NULL OR id > ?8) ORDER BY id LIMIT ?9"
        );
        self.read(move |reader| {
            let (ids, record) = (ids(&filter), filter.record);
            let asked = params![
                ids,
                filter.state.map(crate::ConflictState::word),
                filter.kind.map(model::Kind::name),
                record.map(|id| id.kind.name()),
                record.map(|id| *id.uuid.as_bytes()),
                filter.connection,
                filter.path,
                after,
                limit(at_most)
            ];
            all(reader, &sql, asked, conflict)
        })
        .await
    }

    async fn count_conflicts(&self, filter: &ConflictFilter) -> Result<u64, LedgerError> {
        let filter = filter.clone();
        let sql = format!("SELECT count(*) FROM conflicts WHERE {MEANT}");
        self.read(move |reader| {
            let (ids, record) = (ids(&filter), filter.record);
            let asked = params![
                ids,
                filter.state.map(crate::ConflictState::word),
                filter.kind.map(model::Kind::name),
                record.map(|id| id.kind.name()),
                record.map(|id| *id.uuid.as_bytes()),
                filter.connection,
                filter.path
            ];
            let found = all(reader, &sql, asked, |row| count(row.get(0)?))?;
            Ok(found.into_iter().next().unwrap_or(0))
        })
        .await
    }

    async fn open_conflicts(&self, records: &[RecordId]) -> Result<Vec<Conflict>, LedgerError> {
        let ids = records.to_vec();
        self.read(move |reader| {
            let any = "SELECT 1 FROM conflicts WHERE state = 'open' LIMIT 1";
            if all(reader, any, [], |_| Ok(()))?.is_empty() {
                return Ok(Vec::new());
            }
            let mut statement = reader.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM conflicts WHERE kind = ?1 AND record = ?2 AND state = 'open'"
            ))?;
            let mut found = Vec::new();
            for id in &ids {
                let key = params![id.kind.name(), id.uuid.as_bytes()];
                extend(&mut found, &mut statement, key, conflict)?;
            }
            Ok(found)
        })
        .await
    }
}
