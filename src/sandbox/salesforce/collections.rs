//! Collections: up to 200 records in one call, one outcome per record, in order.
//!
//! The answer is 200 even when every record failed. With `allOrNone` one failure undoes the others.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::rest::{fields, key_field};
use super::rows::Org;
use super::soql::plan::{Item, show};
use super::visit::Visit;
use super::{System, answer};

/// Records one call may write.
const RECORDS_MAX: usize = 200;
/// Records one call may read.
const READ_RECORDS_MAX: usize = 2_000;
/// Changes of object from one record to the next that one call may have.
const CHUNKS_MAX: usize = 10;

type Outcome = Result<(String, Option<bool>), (Option<String>, Refusal)>;

/// `POST /composite/sobjects`
pub(crate) async fn create(
    State(system): State<Arc<System>>,
    visit: Visit,
    body: Bytes,
) -> Result<Response, Refusal> {
    let batch = Batch::read(&body)?;
    Ok(batch.write(&system, |org, record| {
        let table = table_of(org, record).map_err(|refusal| (None, refusal))?;
        let id = org
            .create(table, record, &visit.by(&system))
            .map_err(|refusal| (None, refusal))?;
        Ok((id, None))
    }))
}

/// `PATCH /composite/sobjects`
pub(crate) async fn update(
    State(system): State<Arc<System>>,
    visit: Visit,
    body: Bytes,
) -> Result<Response, Refusal> {
    let batch = Batch::read(&body)?;
    Ok(batch.write(&system, |org, record| {
        let mut record = record.clone();
        let name = record
            .keys()
            .find(|name| name.eq_ignore_ascii_case("id"))
            .cloned();
        let id = name
            .and_then(|name| record.remove(&name))
            .and_then(|id| id.as_str().map(str::to_owned));
        let Some(id) = id else {
            return Err((
                None,
                Refusal::bad("MISSING_ARGUMENT", "Id not specified in an update call"),
            ));
        };
        let table = table_of(org, &record).map_err(|refusal| (None, refusal))?;
        let outcome =
            live(org, table, &id).and_then(|row| org.update(table, row, &record, &visit.by(&system)));
        // As recorded: an update that failed does not repeat the id, a delete that failed does.
        match outcome {
            Ok(()) => Ok((id, None)),
            Err(refusal) => Err((None, refusal)),
        }
    }))
}

/// `PATCH /composite/sobjects/{object}/{field}`
pub(crate) async fn upsert(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((_, object, field)): Path<(String, String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let batch = Batch::read(&body)?;
    let (table, key) = {
        let org = system.org();
        let (table, _) = org.object(&object)?;
        (table, key_field(&org, table, &field)?)
    };
    let mut met: HashMap<String, ()> = HashMap::new();
    Ok(batch.write(&system, |org, record| {
        let by = visit.by(&system);
        let (id, created) =
            upsert_one(org, table, key, &field, record, &mut met, &by).map_err(|refusal| (None, refusal))?;
        Ok((id, Some(created)))
    }))
}

pub(crate) fn upsert_one(
    org: &mut Org,
    table: usize,
    key: Option<usize>,
    field: &str,
    record: &Map<String, Value>,
    met: &mut HashMap<String, ()>,
    by: &super::rows::By<'_>,
) -> Result<(String, bool), Refusal> {
    if table_of(org, record)? != table {
        return Err(Refusal::bad(
            "INVALID_TYPE",
            "all records of an upsert must be of the type in the path",
        ));
    }
    let mut record = record.clone();
    let name = record
        .keys()
        .find(|name| name.eq_ignore_ascii_case(field))
        .cloned();
    let value = name
        .as_ref()
        .and_then(|name| record.get(name))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if key.is_none() {
        name.as_ref().and_then(|name| record.remove(name));
    }
    if value.trim().is_empty() {
        // Without an id the record is new; without an external id it cannot be told apart from others.
        return match key {
            None => Ok((org.create(table, &record, by)?, true)),
            Some(_) => Err(Refusal::bad("MISSING_ARGUMENT", format!("{field} not specified"))),
        };
    }
    if met.insert(value.trim().to_lowercase(), ()).is_some() {
        let message = format!("Duplicate external id specified: {value}");
        return Err(Refusal::bad("DUPLICATE_VALUE", message).about(field));
    }
    let found = match key {
        None => Some(live(org, table, &value)?),
        Some(at) => org.find_unique(table, at, &value),
    };
    match found {
        Some(row) => {
            org.update(table, row, &record, by)?;
            Ok((org.id_of(table, row).to_owned(), false))
        }
        None => Ok((org.create(table, &record, by)?, true)),
    }
}

/// `DELETE /composite/sobjects?ids=a,b&allOrNone=false`
pub(crate) async fn delete(
    State(system): State<Arc<System>>,
    visit: Visit,
    Query(parameters): Query<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    let ids = parameters.get("ids").map_or("", String::as_str);
    let records = ids.split(',').filter(|id| !id.is_empty()).map(|id| {
        let record = json!({ "id": id });
        record.as_object().cloned().unwrap_or_default()
    });
    let all_or_none = parameters
        .get("allOrNone")
        .is_some_and(|all| all.eq_ignore_ascii_case("true"));
    let batch = Batch {
        records: records.collect(),
        all_or_none,
    }
    .checked(RECORDS_MAX)?;
    Ok(batch.write(&system, |org, record| {
        let id = record
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let Some(normal) = super::ids::normal(&id) else {
            return Err((
                Some(id.clone()),
                Refusal::bad("MALFORMED_ID", format!("malformed id {id}")),
            ));
        };
        let table = org
            .schema
            .objects
            .iter()
            .position(|object| normal.starts_with(object.prefix));
        let gone = || Refusal::bad("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id");
        let outcome = table.ok_or_else(gone).and_then(|table| {
            let row = live(org, table, &id)?;
            org.delete(table, row, &visit.by(&system))
        });
        match outcome {
            Ok(()) => Ok((normal, None)),
            Err(refusal) => Err((Some(normal), refusal)),
        }
    }))
}

/// `POST /composite/sobjects/{object}` with ids and fields: rows in order, `null` for those that are not there.
pub(crate) async fn read(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((_, object)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request = fields(&body)?;
    let texts = |name: &str| -> Vec<String> {
        let list = request.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    listed(&system, &visit, &object, &texts("ids"), &texts("fields"))
}

/// `GET /composite/sobjects/{object}?ids=a,b&fields=A,B`
pub(crate) async fn read_listed(
    State(system): State<Arc<System>>,
    visit: Visit,
    Path((_, object)): Path<(String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    let texts = |name: &str| -> Vec<String> {
        let list = parameters.get(name).map_or("", String::as_str).split(',');
        list.map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()
    };
    listed(&system, &visit, &object, &texts("ids"), &texts("fields"))
}

fn listed(
    system: &System,
    visit: &Visit,
    object: &str,
    ids: &[String],
    fields: &[String],
) -> Result<Response, Refusal> {
    if ids.is_empty() || fields.is_empty() {
        return Err(Refusal::bad(
            "MISSING_ARGUMENT",
            "The required fields are missing: [ids, fields]",
        ));
    }
    if ids.len() > READ_RECORDS_MAX {
        return Err(too_many(READ_RECORDS_MAX));
    }
    let org = system.org();
    let (table, object) = org.object(object)?;
    let mut items = Vec::new();
    for name in fields {
        items.push(Item::Field(
            object
                .position(name)
                .ok_or_else(|| Refusal::no_such_field(object.name, name))?,
        ));
    }
    let row = |id: &String| match org.find(table, id).filter(|row| !org.is_deleted(table, *row)) {
        Some(row) => show(&org, table, row, &items, &visit.version),
        None => Value::Null,
    };
    Ok(answer(
        StatusCode::OK,
        &Value::Array(ids.iter().map(row).collect()),
    ))
}

fn too_many(limit: usize) -> Refusal {
    Refusal::bad(
        "EXCEEDED_ID_LIMIT",
        format!("record limit reached. cannot submit more than {limit} records into this call"),
    )
}

fn table_of(org: &Org, record: &Map<String, Value>) -> Result<usize, Refusal> {
    let kind = record
        .get("attributes")
        .and_then(|attributes| attributes.get("type"))
        .and_then(Value::as_str);
    let name = kind.ok_or_else(|| {
        Refusal::bad(
            "MISSING_ARGUMENT",
            "Object type not specified: attributes.type is required",
        )
    })?;
    org.schema
        .position(name)
        .ok_or_else(|| Refusal::bad("INVALID_TYPE", format!("sObject type '{name}' is not supported.")))
}

pub(crate) fn live(org: &Org, table: usize, id: &str) -> Result<usize, Refusal> {
    if super::ids::normal(id).is_none() {
        return Err(Refusal::bad("MALFORMED_ID", format!("malformed id {id}")));
    }
    let unknown = || Refusal::bad("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id");
    let row = org.find(table, id).ok_or_else(unknown)?;
    if org.is_deleted(table, row) {
        Err(Refusal::is_deleted())
    } else {
        Ok(row)
    }
}

/// The records of one call.
struct Batch {
    records: Vec<Map<String, Value>>,
    all_or_none: bool,
}

impl Batch {
    fn read(body: &Bytes) -> Result<Self, Refusal> {
        let mut request = fields(body)?;
        let all_or_none = request.get("allOrNone") == Some(&Value::Bool(true));
        let records = match request.remove("records") {
            Some(Value::Array(records)) => records,
            _ => Vec::new(),
        };
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            match record {
                Value::Object(record) => rows.push(record),
                _ => return Err(Refusal::unreadable("every record must be a JSON object")),
            }
        }
        Self {
            records: rows,
            all_or_none,
        }
        .checked(RECORDS_MAX)
    }

    fn checked(self, limit: usize) -> Result<Self, Refusal> {
        if self.records.is_empty() {
            return Err(Refusal::bad(
                "REQUIRED_FIELD_MISSING",
                "At least 1 record is required",
            ));
        }
        if self.records.len() > limit {
            return Err(too_many(limit));
        }
        let kind =
            |record: &Map<String, Value>| record.get("attributes").and_then(|a| a.get("type")).cloned();
        let chunks = 1 + self
            .records
            .windows(2)
            .filter(|pair| kind(&pair[0]) != kind(&pair[1]))
            .count();
        if chunks > CHUNKS_MAX {
            let message = format!(
                "Cannot have more than {CHUNKS_MAX} chunks in a single operation. Please rearrange the data to reduce chunking."
            );
            return Err(Refusal::bad("INVALID_INPUT", message));
        }
        Ok(self)
    }

    fn write(
        self,
        system: &System,
        mut one: impl FnMut(&mut Org, &Map<String, Value>) -> Outcome,
    ) -> Response {
        let mut org = system.org();
        if self.all_or_none {
            org.begin();
        }
        let mut outcomes: Vec<Outcome> = self.records.iter().map(|record| one(&mut org, record)).collect();
        if self.all_or_none && outcomes.iter().any(Result::is_err) {
            org.roll_back();
            for outcome in &mut outcomes {
                if outcome.is_ok() {
                    let message = "Record rolled back because not all records were valid and the request was using AllOrNone header";
                    *outcome = Err((None, Refusal::bad("ALL_OR_NONE_OPERATION_ROLLED_BACK", message)));
                }
            }
        } else {
            org.commit();
        }
        let bodies: Vec<Value> = outcomes.into_iter().map(told).collect();
        answer(StatusCode::OK, &Value::Array(bodies))
    }
}

fn told(outcome: Outcome) -> Value {
    match outcome {
        Ok((id, None)) => json!({ "id": id, "success": true, "errors": [] }),
        Ok((id, Some(created))) => json!({ "id": id, "success": true, "errors": [], "created": created }),
        Err((id, refusal)) => refusal.outcome(id.as_deref()),
    }
}
