//! The rows of an organisation: created, changed, deleted into the recycle bin, found by id or external id.
//!
//! Every write moves `SystemModstamp`, which strictly increases over the whole organisation.
//! A deleted row stays, marked `IsDeleted`; its external id is free again.
//! Writes can be rolled back together ([`Org::begin`], [`Org::roll_back`]).

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::change::{Changes, Happened};
use super::derive::derive;
use super::refusal::Refusal;
use super::schema::{Object, Schema};
use super::value::moment;
use super::{check, ids};
use crate::faults::FaultBook;

/// Rows one object may hold, deleted ones included.
pub const ROWS_MAX: usize = 1_000_000;

/// A row: one value per field of its object, in the object's order.
pub(crate) type Row = Vec<Value>;

/// The rows of one object, in order of creation.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    by_id: HashMap<String, usize>,
    /// For each unique field, its values without case and the rows that have them.
    unique: HashMap<usize, HashMap<String, usize>>,
}

/// Who writes, when, and which faults lie in wait.
pub(crate) struct By<'a> {
    pub(crate) user: &'a str,
    pub(crate) now_ms: i64,
    /// By which way the write came, as change events name it.
    pub(crate) origin: &'a str,
    /// Absent for writes that no fault shall meet.
    pub(crate) faults: Option<&'a FaultBook>,
}

/// What undoes one write.
#[derive(Debug)]
enum Undo {
    Drop { table: usize },
    Restore { table: usize, row: usize, before: Row },
}

/// All rows.
#[derive(Debug)]
pub(crate) struct Org {
    pub(crate) schema: &'static Schema,
    pub(crate) tables: Vec<Table>,
    next_id: Vec<u64>,
    last_stamp_ms: i64,
    journal: Option<Journal>,
    /// What happened to rows, for those who listen.
    pub(crate) changes: Changes,
}

/// What a transaction has done so far.
#[derive(Debug)]
struct Journal {
    undo: Vec<Undo>,
    /// The number that its first change has.
    first: u64,
}

impl Org {
    /// An organisation without rows; the counters of its ids begin at `first_id`.
    pub(crate) fn new(first_id: u64) -> Self {
        let schema = Schema::get();
        let tables = schema.objects.iter().map(Table::for_object).collect();
        Self {
            schema,
            tables,
            next_id: vec![first_id; schema.objects.len()],
            last_stamp_ms: 0,
            journal: None,
            changes: Changes::default(),
        }
    }

    /// The object with this name and its position.
    pub(crate) fn object(&self, name: &str) -> Result<(usize, &'static Object), Refusal> {
        self.schema.object(name).ok_or_else(Refusal::not_found)
    }

    /// The row with this id in either form, deleted or not.
    pub(crate) fn find(&self, table: usize, id: &str) -> Option<usize> {
        self.tables[table].by_id.get(&ids::normal(id)?).copied()
    }

    /// The row that has this value in a unique field.
    pub(crate) fn find_unique(&self, table: usize, field: usize, value: &str) -> Option<usize> {
        self.tables[table]
            .unique
            .get(&field)?
            .get(&value.trim().to_lowercase())
            .copied()
    }

    /// Whether a row lies in the recycle bin.
    pub(crate) fn is_deleted(&self, table: usize, row: usize) -> bool {
        let object = &self.schema.objects[table];
        object
            .position("IsDeleted")
            .is_some_and(|at| self.tables[table].rows[row][at] == Value::Bool(true))
    }

    /// The id of a row.
    pub(crate) fn id_of(&self, table: usize, row: usize) -> &str {
        self.tables[table].rows[row][0].as_str().unwrap_or_default()
    }

    /// The moment of the next write, in milliseconds: now, or just after the last write.
    fn next_stamp_ms(&mut self, now_ms: i64) -> i64 {
        self.last_stamp_ms = now_ms.max(self.last_stamp_ms + 1);
        self.last_stamp_ms
    }

    /// Creates a row and gives its id.
    pub(crate) fn create(
        &mut self,
        table: usize,
        fields: &Map<String, Value>,
        by: &By<'_>,
    ) -> Result<String, Refusal> {
        let object = &self.schema.objects[table];
        if !object.writable {
            let message = format!("entity type {} does not support create", object.name);
            return Err(Refusal::bad("INVALID_TYPE_FOR_OPERATION", message));
        }
        let given = check::writes(self, table, None, fields, by)?;
        let mut row = check::blank(object);
        for (at, value) in &given {
            row[*at] = value.clone();
        }
        Ok(self.push(table, row, &given, by))
    }

    /// Adds a row that has been checked, or needs no check because the sandbox itself writes it.
    pub(crate) fn push(
        &mut self,
        table: usize,
        mut row: Row,
        given: &[(usize, Value)],
        by: &By<'_>,
    ) -> String {
        let object = &self.schema.objects[table];
        let id = ids::make(object.prefix, self.next_id[table]);
        self.next_id[table] += 1;
        row[0] = Value::from(id.clone());
        let at_ms = self.next_stamp_ms(by.now_ms);
        let at = moment(at_ms);
        for (date, user) in [
            ("CreatedDate", "CreatedById"),
            ("LastModifiedDate", "LastModifiedById"),
        ] {
            row[object.at(date)] = Value::from(at.clone());
            row[object.at(user)] = Value::from(by.user);
        }
        row[object.at("SystemModstamp")] = Value::from(at);
        if let Some(owner) = object.position("OwnerId")
            && row[owner].is_null()
        {
            row[owner] = Value::from(by.user);
        }
        derive(object, &mut row, given);
        let position = self.tables[table].rows.len();
        self.tables[table].by_id.insert(id.clone(), position);
        self.tables[table].index(object, position, &row);
        let values = row.iter().cloned().enumerate();
        let values = values.filter(|(_, value)| !value.is_null()).collect();
        self.changes
            .note((table, &id, Happened::Created), at_ms, by, values);
        self.tables[table].rows.push(row);
        self.note(Undo::Drop { table });
        id
    }

    /// Changes fields of a row.
    pub(crate) fn update(
        &mut self,
        table: usize,
        row: usize,
        fields: &Map<String, Value>,
        by: &By<'_>,
    ) -> Result<(), Refusal> {
        let given = check::writes(self, table, Some(row), fields, by)?;
        let mut changed = self.tables[table].rows[row].clone();
        for (at, value) in &given {
            changed[*at] = value.clone();
        }
        derive(&self.schema.objects[table], &mut changed, &given);
        self.replace(table, row, changed, by);
        Ok(())
    }

    /// Puts a row into the recycle bin, and with an account its contacts and opportunities.
    pub(crate) fn delete(&mut self, table: usize, row: usize, by: &By<'_>) -> Result<(), Refusal> {
        let object = &self.schema.objects[table];
        let deleted = object.position("IsDeleted").filter(|_| object.writable);
        let Some(deleted) = deleted else {
            let message = format!("entity type {} does not support delete", object.name);
            return Err(Refusal::bad("INVALID_TYPE_FOR_OPERATION", message));
        };
        if self.is_deleted(table, row) {
            return Err(Refusal::is_deleted());
        }
        let mut gone = self.tables[table].rows[row].clone();
        gone[deleted] = Value::Bool(true);
        self.replace(table, row, gone, by);
        if object.name == "Account" {
            let account = Value::from(self.id_of(table, row));
            for child in ["Contact", "Opportunity"] {
                let child_table = self.schema.at(child);
                let link = self.schema.objects[child_table].at("AccountId");
                for child_row in 0..self.tables[child_table].rows.len() {
                    if self.tables[child_table].rows[child_row][link] == account
                        && !self.is_deleted(child_table, child_row)
                    {
                        self.delete(child_table, child_row, by)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn replace(&mut self, table: usize, row: usize, mut changed: Row, by: &By<'_>) {
        let object = &self.schema.objects[table];
        let at_ms = self.next_stamp_ms(by.now_ms);
        let at = moment(at_ms);
        changed[object.at("LastModifiedDate")] = Value::from(at.clone());
        changed[object.at("LastModifiedById")] = Value::from(by.user);
        changed[object.at("SystemModstamp")] = Value::from(at);
        let before = self.tables[table].set(object, row, changed);
        let after = &self.tables[table].rows[row];
        let values = after.iter().zip(&before).enumerate();
        let values: Vec<_> = values
            .filter(|(_, (after, before))| after != before)
            .map(|(at, (after, _))| (at, after.clone()))
            .collect();
        let deleted = object.position("IsDeleted");
        let happened = match values.iter().any(|(at, _)| Some(*at) == deleted) {
            true => Happened::Deleted,
            false => Happened::Updated,
        };
        let id = after[0].as_str().unwrap_or_default();
        self.changes.note((table, id, happened), at_ms, by, values);
        self.note(Undo::Restore { table, row, before });
    }

    /// From here on, writes can be rolled back.
    pub(crate) fn begin(&mut self) {
        self.journal = Some(Journal {
            undo: Vec::new(),
            first: self.changes.next(),
        });
    }

    /// Keeps the writes since [`Org::begin`].
    pub(crate) fn commit(&mut self) {
        self.journal = None;
    }

    /// Undoes the writes since [`Org::begin`]. Ids that were given out are not given out again.
    pub(crate) fn roll_back(&mut self) {
        let Some(journal) = self.journal.take() else {
            return;
        };
        self.changes.cut(journal.first);
        for undo in journal.undo.into_iter().rev() {
            match undo {
                Undo::Drop { table } => self.tables[table].pop(&self.schema.objects[table]),
                Undo::Restore { table, row, before } => {
                    self.tables[table].set(&self.schema.objects[table], row, before);
                }
            }
        }
    }

    fn note(&mut self, undo: Undo) {
        if let Some(journal) = &mut self.journal {
            journal.undo.push(undo);
        }
    }
}

impl Table {
    fn for_object(object: &Object) -> Self {
        let unique = object.fields.iter().enumerate().filter(|(_, field)| field.unique);
        Self {
            unique: unique.map(|(at, _)| (at, HashMap::new())).collect(),
            ..Self::default()
        }
    }

    /// Whether another row fits.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= ROWS_MAX
    }

    fn set(&mut self, object: &Object, row: usize, values: Row) -> Row {
        self.unindex(row);
        self.index(object, row, &values);
        std::mem::replace(&mut self.rows[row], values)
    }

    fn pop(&mut self, object: &Object) {
        let Some(row) = self.rows.pop() else { return };
        let position = self.rows.len();
        if let Some(id) = row[0].as_str() {
            self.by_id.remove(id);
        }
        for (at, rows) in &mut self.unique {
            if let Some(value) = key(&row[*at])
                && rows.get(&value) == Some(&position)
            {
                rows.remove(&value);
            }
        }
        debug_assert!(object.fields.len() == row.len(), "a row has one value per field");
    }

    fn index(&mut self, object: &Object, row: usize, values: &[Value]) {
        if object
            .position("IsDeleted")
            .is_some_and(|at| values[at] == Value::Bool(true))
        {
            return;
        }
        for (at, rows) in &mut self.unique {
            if let Some(value) = key(&values[*at]) {
                rows.insert(value, row);
            }
        }
    }

    fn unindex(&mut self, row: usize) {
        for (at, rows) in &mut self.unique {
            if let Some(value) = key(&self.rows[row][*at])
                && rows.get(&value) == Some(&row)
            {
                rows.remove(&value);
            }
        }
    }
}

fn key(value: &Value) -> Option<String> {
    value.as_str().map(str::to_lowercase)
}
