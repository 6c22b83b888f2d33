//! What persons did.

use async_trait::async_trait;
use model::ActionId;
use rusqlite::{Connection, params};

use super::SqliteLedger;
use super::rows::{self, all};
use crate::stored::{json, json_text, limit, micros, moment};
use crate::{Action, ActionFilter, Journal, LedgerError};

/// Writes an action down, and into the one that it undoes.
pub(super) fn write(connection: &Connection, action: &Action) -> Result<(), LedgerError> {
    let id = action.id.uuid();
    let undoes = action.undoes.map(|undone| undone.uuid());
    if let Some(undone) = action.undoes {
        let written = connection
            .prepare_cached("UPDATE actions SET undone_by = ?1 WHERE id = ?2 AND undone_by IS NULL")?
            .execute(params![id.as_bytes(), undone.uuid().as_bytes()])?;
        if written == 0 {
            return Err(LedgerError::Undone(undone));
        }
    }
    connection
        .prepare_cached(
            "INSERT INTO actions (id, at, by, verb, detail, undoes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            id.as_bytes(),
            micros(action.at),
            action.by,
            action.verb,
            json_text(&action.detail),
            undoes.as_ref().map(uuid::Uuid::as_bytes)
        ])?;
    let mut about = connection.prepare_cached(
        "INSERT INTO action_records (kind, record, action) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?;
    for record in &action.records {
        about.execute(params![record.kind.name(), record.uuid.as_bytes(), id.as_bytes()])?;
    }
    Ok(())
}

#[async_trait]
impl Journal for SqliteLedger {
    async fn actions(&self, filter: &ActionFilter, at_most: usize) -> Result<Vec<Action>, LedgerError> {
        let (kind, record) = filter
            .record
            .map(|of| (of.kind.name(), *of.uuid.as_bytes()))
            .unzip();
        let bytes = |id: ActionId| *id.uuid().as_bytes();
        let (id, before) = (filter.id.map(bytes), filter.before.map(bytes));
        let sql = "SELECT id, at, by, verb, detail, undoes, undone_by FROM actions \
                   WHERE (?1 IS NULL OR id = ?1) AND (?2 IS NULL OR id < ?2) AND (?3 IS NULL OR id IN \
                   (SELECT action FROM action_records WHERE kind = ?3 AND record = ?4)) \
                   ORDER BY id DESC LIMIT ?5";
        self.read(move |connection| {
            let asked = params![id, before, kind, record, limit(at_most)];
            let mut found = all(connection, sql, asked, |row| {
                Ok(Action {
                    id: rows::uuid(row, 0)?.into(),
                    at: moment(row.get(1)?)?,
                    by: row.get(2)?,
                    verb: row.get(3)?,
                    records: Vec::new(),
                    detail: json(rows::text(row, 4)?)?,
                    undoes: rows::uuid_if(row, 5)?.map(Into::into),
                    undone_by: rows::uuid_if(row, 6)?.map(Into::into),
                })
            })?;
            for action in &mut found {
                let sql = "SELECT kind, record FROM action_records WHERE action = ?1 ORDER BY kind, record";
                let about = [*action.id.uuid().as_bytes()];
                action.records = all(connection, sql, about, |row| rows::id(row, 0))?;
            }
            Ok(found)
        })
        .await
    }
}
