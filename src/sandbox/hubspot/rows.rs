//! The rows of a portal: created, changed, archived, found by id or by a unique property.
//!
//! Every write moves the row's modified date, which strictly increases over the whole portal.
//! Writes can be rolled back together ([`Portal::begin`], [`Portal::roll_back`]); events of rolled-back writes are never told.
//! The search index is a copy of the rows that may lag behind ([`Portal::indexed`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::account::Owner;
use super::associations::Links;
use super::event::{Change, Source};
use super::kind::Kind;
use super::problem::{Misfit, Problem};
use super::property::Property;
use super::standard::{CURRENCIES, LIFE_STAGES, PIPELINE, STAGES, properties};
use super::value::{moment, stored};
use crate::faults::FaultBook;

/// Rows one kind may hold, archived ones included.
pub const ROWS_MAX: usize = 200_000;

/// The properties of a row, by name. A property without a value is absent.
pub(crate) type Properties = BTreeMap<String, String>;

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) properties: Arc<Properties>,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
    pub(crate) archived_ms: Option<i64>,
}

/// Who writes, when, and which faults lie in wait.
pub(crate) struct By<'a> {
    pub(crate) source: Source,
    pub(crate) now_ms: i64,
    /// Absent for writes that no fault shall meet.
    pub(crate) faults: Option<&'a FaultBook>,
}

#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<u64, Row>,
    /// For each unique property, its values in lower case and the rows that have them.
    unique: HashMap<String, HashMap<String, u64>>,
    /// What search sees.
    index: BTreeMap<u64, Row>,
    /// Rows that changed since they were indexed.
    stale: BTreeSet<u64>,
}

/// Everything in an account.
#[derive(Debug)]
pub(crate) struct Portal {
    pub(crate) properties: [Vec<Property>; 3],
    pub(crate) links: Links,
    /// Who may own rows, those who left too.
    pub(crate) owners: Vec<Owner>,
    tables: [Table; 3],
    next_id: u64,
    last_stamp_ms: i64,
    journal: Option<Vec<(Kind, u64, Option<Row>)>>,
    /// What happened and is not yet told to webhooks.
    pub(crate) changes: Vec<Change>,
}

impl Portal {
    /// An account without rows; ids begin at `first_id`.
    pub(crate) fn new(first_id: u64) -> Self {
        Self {
            properties: Kind::ALL.map(properties),
            links: Links::default(),
            owners: Owner::first(),
            tables: Default::default(),
            next_id: first_id,
            last_stamp_ms: 0,
            journal: None,
            changes: Vec::new(),
        }
    }

    /// The definition of a property.
    pub(crate) fn property(&self, kind: Kind, name: &str) -> Option<&Property> {
        self.properties[kind.at()]
            .iter()
            .find(|property| property.name == name)
    }

    /// Every row of a kind in order of id, archived ones too.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = (u64, &Row)> {
        self.tables[kind.at()].rows.iter().map(|(id, row)| (*id, row))
    }

    /// Every row of a kind from an id on.
    pub(crate) fn from(&self, kind: Kind, id: u64) -> impl Iterator<Item = (u64, &Row)> {
        self.tables[kind.at()]
            .rows
            .range(id..)
            .map(|(id, row)| (*id, row))
    }

    /// A row by id, archived or not.
    pub(crate) fn row(&self, kind: Kind, id: u64) -> Option<&Row> {
        self.tables[kind.at()].rows.get(&id)
    }

    /// The id of a row that is there, by its id or by the value of a unique property.
    pub(crate) fn find(&self, kind: Kind, id: &str, by: Option<&str>) -> Result<Option<u64>, Problem> {
        let table = &self.tables[kind.at()];
        match by {
            None | Some("hs_object_id") => {
                let id = id
                    .parse()
                    .ok()
                    .filter(|id| table.rows.get(id).is_some_and(|row| row.archived_ms.is_none()));
                Ok(id)
            }
            Some(name) if self.property(kind, name).is_some_and(|property| property.unique) => Ok(table
                .unique
                .get(name)
                .and_then(|rows| rows.get(&id.trim().to_lowercase()))
                .copied()),
            Some(name) => {
                let message = format!(
                    "Unable to perform update/upsert by non-unique {} property {name}",
                    kind.type_id()
                );
                Err(Problem::invalid(message))
            }
        }
    }

    /// Creates a row.
    pub(crate) fn create(
        &mut self,
        kind: Kind,
        given: &Map<String, Value>,
        by: &By<'_>,
    ) -> Result<u64, Problem> {
        if self.tables[kind.at()].rows.len() >= ROWS_MAX {
            return Err(Problem::invalid(format!(
                "the sandbox holds {ROWS_MAX} {} and takes no more",
                kind.plural()
            )));
        }
        let mut written = self.checked(kind, None, given, by)?;
        for &(name, value) in defaults(kind) {
            written.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        let id = self.next_id;
        self.next_id += 1;
        let at_ms = self.next_stamp_ms(by.now_ms);
        for (name, value) in by.source.properties() {
            written.insert(name.to_owned(), value);
        }
        written.insert("createdate".into(), moment(at_ms));
        written.insert("hs_object_id".into(), id.to_string());
        let told: Vec<_> = written
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        self.put(kind, id, None, written, at_ms);
        self.changes.push(Change::created(kind, id, by.source, at_ms));
        self.tell_changes(kind, id, told, by.source, at_ms);
        Ok(id)
    }

    /// Changes properties of a row that is there.
    pub(crate) fn update(
        &mut self,
        kind: Kind,
        id: u64,
        given: &Map<String, Value>,
        by: &By<'_>,
    ) -> Result<(), Problem> {
        let before = self.row(kind, id).cloned().ok_or_else(Problem::not_found)?;
        let mut written = self.checked(kind, Some(id), given, by)?;
        keep_life_stage(&before.properties, &mut written);
        let at_ms = self.next_stamp_ms(by.now_ms);
        let is_new = |(name, value): &(&String, &String)| {
            before.properties.get(*name).map_or("", String::as_str) != value.as_str()
        };
        let told: Vec<_> = written
            .iter()
            .filter(is_new)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        self.put(kind, id, Some(before), written, at_ms);
        self.tell_changes(kind, id, told, by.source, at_ms);
        Ok(())
    }

    /// Archives a row. Whether it was there.
    pub(crate) fn archive(&mut self, kind: Kind, id: u64, by: &By<'_>) -> bool {
        let Some(before) = self
            .row(kind, id)
            .filter(|row| row.archived_ms.is_none())
            .cloned()
        else {
            return false;
        };
        let at_ms = self.next_stamp_ms(by.now_ms);
        let gone = Row {
            archived_ms: Some(at_ms),
            updated_ms: at_ms,
            ..before.clone()
        };
        self.store(kind, id, Some(before), gone);
        self.links.forget(kind, id);
        self.changes.push(Change::deleted(kind, id, by.source, at_ms));
        true
    }

    /// Checks what is to be written and gives it as texts; an empty text clears.
    fn checked(
        &self,
        kind: Kind,
        id: Option<u64>,
        given: &Map<String, Value>,
        by: &By<'_>,
    ) -> Result<Properties, Problem> {
        let mut written = Properties::new();
        let mut misfits = Vec::new();
        for (name, value) in given {
            let Some(property) = self.property(kind, name) else {
                let message = format!("Property \"{name}\" does not exist");
                misfits.push(Misfit {
                    code: "PROPERTY_DOESNT_EXIST",
                    property: name.clone(),
                    message,
                });
                continue;
            };
            match stored(property, value) {
                Ok(text) => {
                    written.insert(name.clone(), text);
                }
                Err(misfit) => misfits.push(misfit),
            }
        }
        let refused = by
            .faults
            .and_then(|faults| faults.bad_row(kind.plural(), |name| written.get(name).cloned()));
        if let Some(property) = refused {
            let message = format!("A validation rule of this account refuses this value of \"{property}\"");
            misfits.push(Misfit {
                code: "PROPERTY_VALIDATION_RULE",
                property,
                message,
            });
        }
        if !misfits.is_empty() {
            return Err(Problem::misfits(&misfits));
        }
        for (name, value) in &written {
            let taken = self.tables[kind.at()]
                .unique
                .get(name)
                .and_then(|rows| rows.get(&value.to_lowercase()));
            if let Some(other) = taken.filter(|other| Some(**other) != id) {
                return Err(already_exists(kind, *other));
            }
        }
        Ok(written)
    }

    /// The moment of the next write, in milliseconds: now, or just after the last write.
    fn next_stamp_ms(&mut self, now_ms: i64) -> i64 {
        self.last_stamp_ms = now_ms.max(self.last_stamp_ms + 1);
        self.last_stamp_ms
    }

    fn put(&mut self, kind: Kind, id: u64, before: Option<Row>, written: Properties, at_ms: i64) {
        let mut properties = before
            .as_ref()
            .map(|row| Properties::clone(&row.properties))
            .unwrap_or_default();
        for (name, value) in written {
            if value.is_empty() {
                properties.remove(&name);
            } else {
                properties.insert(name, value);
            }
        }
        properties.insert(kind.modified().to_owned(), moment(at_ms));
        derive(kind, &mut properties);
        let created_ms = before.as_ref().map_or(at_ms, |row| row.created_ms);
        let row = Row {
            properties: Arc::new(properties),
            created_ms,
            updated_ms: at_ms,
            archived_ms: None,
        };
        self.store(kind, id, before, row);
    }

    fn store(&mut self, kind: Kind, id: u64, before: Option<Row>, row: Row) {
        self.swap(kind, id, before.as_ref(), Some(row));
        if let Some(journal) = &mut self.journal {
            journal.push((kind, id, before));
        }
    }

    fn swap(&mut self, kind: Kind, id: u64, before: Option<&Row>, after: Option<Row>) {
        let names: Vec<String> = self.properties[kind.at()]
            .iter()
            .filter(|property| property.unique)
            .map(|property| property.name.clone())
            .collect();
        let table = &mut self.tables[kind.at()];
        for name in names {
            let value = |row: &Row| row.properties.get(&name).map(|value| value.to_lowercase());
            let unique = table.unique.entry(name.clone()).or_default();
            if let Some(old) = before.and_then(value)
                && unique.get(&old) == Some(&id)
            {
                unique.remove(&old);
            }
            if let Some(new) = after
                .as_ref()
                .filter(|row| row.archived_ms.is_none())
                .and_then(value)
            {
                unique.insert(new, id);
            }
        }
        match after {
            Some(row) => table.rows.insert(id, row),
            None => table.rows.remove(&id),
        };
        table.stale.insert(id);
    }

    fn tell_changes(&mut self, kind: Kind, id: u64, told: Vec<(String, String)>, source: Source, at_ms: i64) {
        let told = told.into_iter().filter(|(name, _)| name != kind.modified());
        self.changes
            .extend(told.map(|(name, value)| Change::property(kind, id, name, value, source, at_ms)));
    }

    /// The rows search sees when the index lags `lag_ms` behind `now_ms`.
    pub(crate) fn indexed(
        &mut self,
        kind: Kind,
        now_ms: i64,
        lag_ms: u64,
    ) -> impl Iterator<Item = (u64, &Row)> {
        let table = &mut self.tables[kind.at()];
        let until_ms = now_ms.saturating_sub(i64::try_from(lag_ms).unwrap_or(i64::MAX));
        // Without a lag everything is seen, even stamps that ran ahead of the clock.
        let is_due = |row: &Row| lag_ms == 0 || row.updated_ms <= until_ms;
        let Table {
            rows, index, stale, ..
        } = table;
        stale.retain(|id| {
            match rows.get(id) {
                Some(row) if !is_due(row) => return true,
                Some(row) if row.archived_ms.is_none() => {
                    index.insert(*id, row.clone());
                }
                _ => {
                    index.remove(id);
                }
            }
            false
        });
        index.iter().map(|(id, row)| (*id, row))
    }

    /// From here on, writes can be rolled back.
    pub(crate) fn begin(&mut self) {
        self.journal = Some(Vec::new());
    }

    /// Keeps the writes since [`Portal::begin`].
    pub(crate) fn commit(&mut self) {
        self.journal = None;
    }

    /// Undoes the writes since [`Portal::begin`], and forgets what would have been told of them.
    pub(crate) fn roll_back(&mut self) {
        for (kind, id, before) in self.journal.take().unwrap_or_default().into_iter().rev() {
            let now = self.tables[kind.at()].rows.get(&id).cloned();
            if before.is_none() {
                self.links.forget(kind, id);
            }
            self.swap(kind, id, now.as_ref(), before);
        }
        self.changes.clear();
    }
}

/// The complaint about a unique value that another row has.
fn already_exists(kind: Kind, other: u64) -> Problem {
    let message = format!("{} already exists. Existing ID: {other}", kind.title());
    Problem::new(409, "CONFLICT", message).with("existingId", &[&other.to_string()])
}

fn defaults(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Contact => &[
            ("lifecyclestage", "lead"),
            ("hs_pipeline", "contacts-lifecycle-pipeline"),
        ],
        Kind::Company => &[("lifecyclestage", "lead")],
        Kind::Deal => &[
            ("pipeline", PIPELINE),
            ("dealstage", STAGES[0].id),
            ("deal_currency_code", CURRENCIES[0]),
        ],
    }
}

/// A life stage moves forward or is cleared; a step back is ignored without a word.
fn keep_life_stage(before: &Properties, written: &mut Properties) {
    let step = |value: Option<&String>| {
        LIFE_STAGES
            .iter()
            .position(|(_, stage)| Some(*stage) == value.map(String::as_str))
    };
    if let (Some(old), Some(new)) = (
        step(before.get("lifecyclestage")),
        step(written.get("lifecyclestage")),
    ) && new < old
    {
        written.remove("lifecyclestage");
    }
}

fn derive(kind: Kind, properties: &mut Properties) {
    if kind != Kind::Deal {
        return;
    }
    let Some(stage) = properties
        .get("dealstage")
        .and_then(|id| STAGES.iter().find(|stage| stage.id == id))
    else {
        return;
    };
    let won = stage.closed && stage.probability == "1.0";
    properties.insert("hs_is_closed".into(), stage.closed.to_string());
    properties.insert("hs_is_closed_won".into(), won.to_string());
    properties.insert("hs_deal_stage_probability".into(), stage.probability.to_owned());
}
