//! What persons did.

use async_trait::async_trait;
use deadpool_postgres::{GenericClient, Transaction};

use super::commit::execute;
use super::database::Failure;
use super::rows::{all, column, text};
use super::{Params, PostgresLedger};
use crate::stored::{json, json_text, limit, micros, moment};
use crate::{Action, ActionFilter, Journal, LedgerError};

/// Writes an action down, and into the one that it undoes.
pub(super) async fn write(transaction: &Transaction<'_>, action: &Action) -> Result<(), Failure> {
    let (id, undoes) = (action.id.uuid(), action.undoes.map(|undone| undone.uuid()));
    if let Some(undone) = action.undoes {
        let sql = "UPDATE actions SET undone_by = $1 WHERE id = $2 AND undone_by IS NULL";
        let statement = transaction.prepare_cached(sql).await?;
        if transaction.execute(&statement, &[&id, &undone.uuid()]).await? == 0 {
            return Err(LedgerError::Undone(undone).into());
        }
    }
    let sql = "INSERT INTO actions (id, at, by, verb, detail, undoes) VALUES ($1, $2, $3, $4, $5, $6)";
    let values: &Params<'_> = &[
        &id,
        &micros(action.at),
        &text(&action.by),
        &text(&action.verb),
        &json_text(&action.detail),
        &undoes,
    ];
    execute(transaction, sql, values).await?;
    let sql = "INSERT INTO action_records (kind, record, action) \
               SELECT n.kind, n.record, $3 FROM unnest($1::text[], $2::uuid[]) AS n (kind, record) \
               ON CONFLICT DO NOTHING";
    let values: &Params<'_> = &[
        &column(&action.records, |record| record.kind.name()),
        &column(&action.records, |record| record.uuid),
        &id,
    ];
    execute(transaction, sql, values).await
}

#[async_trait]
impl Journal for PostgresLedger {
    async fn actions(&self, filter: &ActionFilter, at_most: usize) -> Result<Vec<Action>, LedgerError> {
        let sql = "SELECT id, at, by, verb, detail, undoes, undone_by, \
                   ARRAY(SELECT kind FROM action_records r WHERE r.action = a.id ORDER BY kind, record), \
                   ARRAY(SELECT record FROM action_records r WHERE r.action = a.id ORDER BY kind, record) \
                   FROM actions a WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR id < $2) \
                   AND ($3::text IS NULL OR id IN \
                   (SELECT action FROM action_records WHERE kind = $3 AND record = $4)) \
                   ORDER BY id DESC LIMIT $5";
        let (kind, record) = filter.record.map(|of| (of.kind.name(), of.uuid)).unzip();
        let (id, before) = (filter.id.map(|id| id.uuid()), filter.before.map(|id| id.uuid()));
        let asked: &Params<'_> = &[&id, &before, &kind, &record, &limit(at_most)];
        let rows = self.database.query(sql, asked).await?;
        all(&rows, |row| {
            let kinds: Vec<&str> = row.try_get(7)?;
            let records: Vec<uuid::Uuid> = row.try_get(8)?;
            let about = kinds.into_iter().zip(records);
            let about = about.map(|(kind, record)| crate::stored::record_id(kind, record));
            Ok(Action {
                id: row.try_get::<_, uuid::Uuid>(0)?.into(),
                at: moment(row.try_get(1)?)?,
                by: row.try_get(2)?,
                verb: row.try_get(3)?,
                records: about.collect::<Result<_, _>>()?,
                detail: json(row.try_get(4)?)?,
                undoes: row.try_get::<_, Option<uuid::Uuid>>(5)?.map(Into::into),
                undone_by: row.try_get::<_, Option<uuid::Uuid>>(6)?.map(Into::into),
            })
        })
    }
}
