//! `/v1/records`: the canonical partners, leads and deals, with all that explains them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use jiff::Timestamp;
use ledger::{Change, ConflictFilter, Link};
use model::{Fields, Kind, Record, RecordId, stored};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sync::{explained, parked_of_record};

use crate::Problem;
use crate::key::Admin;
use crate::query::{Asked, LIMIT_MAX, Page, limit};
use crate::v1::conflicts::ConflictView;
use crate::v1::errors::ParkedView;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    kind: String,
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct FieldView {
    value: Value,
    /// Who said so; nothing when it is not known.
    said_by: Option<SaidBy>,
    /// The change that made it so; nothing when its history is not known, and in lists.
    because: Option<Because>,
}

#[derive(Serialize)]
pub(crate) struct Because {
    version: u64,
    rule: String,
    run: String,
    trace: String,
}

#[derive(Serialize)]
pub(crate) struct SaidBy {
    connection: String,
    external_id: String,
    changed_at: Timestamp,
    observed_at: Timestamp,
}

#[derive(Serialize)]
pub(crate) struct RecordView {
    id: String,
    kind: &'static str,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
    /// The record that stands for it since the two were made one.
    merged_into: Option<String>,
    fields: BTreeMap<&'static str, FieldView>,
}

impl From<Record> for RecordView {
    fn from(mut record: Record) -> RecordView {
        let mut fields = BTreeMap::new();
        for (path, value) in record.fields.iter() {
            let said_by = record.provenance.remove(path).map(|said| SaidBy {
                connection: said.connection.clone(),
                external_id: said.external_id.clone(),
                changed_at: said.changed_at,
                observed_at: said.observed_at,
            });
            let value = stored::to_json(value);
            fields.insert(
                path,
                FieldView {
                    value,
                    said_by,
                    because: None,
                },
            );
        }
        RecordView {
            id: record.id.to_string(),
            kind: record.kind().name(),
            version: record.version,
            created_at: record.created_at,
            updated_at: record.updated_at,
            deleted_at: record.deleted_at,
            merged_into: record.merged_into.map(|into| into.to_string()),
            fields,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct LinkView {
    connection: String,
    object: String,
    external_id: String,
    external_version: Option<String>,
    /// What both sides last agreed on.
    base: Option<BTreeMap<&'static str, Value>>,
    seen_at: Timestamp,
    gone: bool,
    /// Whether a person has taken the object away from the record, or it went on as another kind of record.
    unlinked: bool,
    /// Whether the object is left alone: neither read nor written.
    ignored: bool,
}

impl From<Link> for LinkView {
    fn from(link: Link) -> LinkView {
        let values = |fields: Fields| {
            fields
                .iter()
                .map(|(path, value)| (path, stored::to_json(value)))
                .collect()
        };
        let (external_id, unlinked) = sync::object_of(&link);
        LinkView {
            external_id: external_id.to_owned(),
            unlinked,
            gone: link.gone && !unlinked,
            connection: link.connection,
            object: link.object,
            external_version: link.external_version,
            base: link.base.map(values),
            seen_at: link.seen_at,
            ignored: link.ignored,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ChangeView {
    version: u64,
    field: String,
    before: Value,
    after: Value,
    reason: String,
    connection: String,
    external_id: String,
    changed_at: Timestamp,
    committed_at: Timestamp,
    run: String,
    trace: String,
}

impl From<Change> for ChangeView {
    fn from(change: Change) -> ChangeView {
        ChangeView {
            version: change.version,
            field: change.path,
            before: change.before,
            after: change.after,
            reason: change.reason,
            connection: change.connection,
            external_id: change.external_id,
            changed_at: change.changed_at,
            committed_at: change.committed_at,
            run: change.run.to_string(),
            trace: change.trace,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct RecordPage {
    record: RecordView,
    links: Vec<LinkView>,
    /// Oldest first.
    history: Vec<ChangeView>,
    /// Oldest first, the first 200; `/v1/conflicts?record=` gives all.
    conflicts: Vec<ConflictView>,
    /// What could not be mapped or was refused, at its objects or on its way there; oldest first.
    parked: Vec<ParkedView>,
}

/// By id, oldest first.
pub(crate) async fn list(
    Admin(hub): Admin,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Page<RecordView>>, Problem> {
    let limit = limit(query.limit)?;
    let kind = Kind::parse(&query.kind).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::name).join("`, `");
        Problem::bad_request(format!("`kind` is one of `{known}`"))
    })?;
    let after = query.cursor.as_deref().map(read_id).transpose()?;
    let records = hub.ledger.list_records(kind, after, limit + 1).await?;
    Ok(Json(Page::new(
        records,
        limit,
        |record| record.id.to_string(),
        RecordView::from,
    )))
}

/// One, with its copies at the systems, its history, its conflicts and what is parked of it.
pub(crate) async fn show(Admin(hub): Admin, Path(id): Path<String>) -> Result<Json<RecordPage>, Problem> {
    let id = read_id(&id)?;
    let found = hub.ledger.records(&[id]).await?.into_iter().next();
    let record = found.ok_or_else(|| Problem::not_found(format!("there is no record {id}")))?;
    let links = hub.ledger.links(&[id]).await?;
    let history = hub.ledger.history(id).await?;
    let filter = ConflictFilter {
        record: Some(id),
        ..ConflictFilter::default()
    };
    let conflicts = hub.ledger.list_conflicts(&filter, None, LIMIT_MAX).await?;
    let parked = parked_of_record(&*hub.ledger, id, &links).await?;
    let mut record = RecordView::from(record);
    let why = explained(&history);
    for (path, field) in &mut record.fields {
        field.because = why.get(path).map(|change| Because {
            version: change.version,
            rule: change.reason.clone(),
            run: change.run.to_string(),
            trace: change.trace.clone(),
        });
    }
    Ok(Json(RecordPage {
        record,
        links: links.into_iter().map(LinkView::from).collect(),
        history: history.into_iter().map(ChangeView::from).collect(),
        conflicts: conflicts.into_iter().map(ConflictView::from).collect(),
        parked: parked.into_iter().map(ParkedView::from).collect(),
    }))
}

pub(crate) fn read_id(text: &str) -> Result<RecordId, Problem> {
    text.parse().map_err(|bad| Problem::bad_request(format!("{bad}")))
}
