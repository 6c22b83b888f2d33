//! What there is: versions, resources, limits, objects and their fields.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::field::{Field, Kind};
use super::refusal::Refusal;
use super::schema::{Object, Schema};
use super::visit::Visit;
use super::{DAILY_CALLS_MAX, System, answer};

/// The versions told to clients; the last is the current one.
const RELEASES: [(&str, &str); 3] = [
    ("66.0", "Spring '26"),
    ("67.0", "Summer '26"),
    ("68.0", "Winter '27"),
];

/// `GET /services/data`: open to everybody.
pub(crate) async fn versions() -> Response {
    let release = |(version, label): &(&str, &str)| json!({ "label": label, "url": format!("/services/data/v{version}"), "version": version });
    answer(
        StatusCode::OK,
        &Value::Array(RELEASES.iter().map(release).collect()),
    )
}

/// `GET /services/data/{version}`
pub(crate) async fn resources(
    State(system): State<Arc<System>>,
    visit: Visit,
    headers: HeaderMap,
) -> Response {
    let base = format!("/services/data/{}", visit.version);
    let mut map = Map::new();
    for name in ["sobjects", "query", "queryAll", "limits", "composite", "jobs"] {
        map.insert(name.to_owned(), json!(format!("{base}/{name}")));
    }
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    map.insert(
        "identity".into(),
        json!(format!("http://{host}/id/{}/{}", system.users.org, visit.user)),
    );
    answer(StatusCode::OK, &Value::Object(map))
}

/// `GET /limits`
pub(crate) async fn limits(State(system): State<Arc<System>>, _visit: Visit) -> Response {
    let left = DAILY_CALLS_MAX.saturating_sub(system.calls.total() + 1);
    let whole = |max: u64| json!({ "Max": max, "Remaining": max });
    answer(
        StatusCode::OK,
        &json!({
            "DailyApiRequests": { "Max": DAILY_CALLS_MAX, "Remaining": left },
            "DailyBulkApiBatches": whole(15_000),
            "DailyBulkV2QueryJobs": whole(10_000),
            "DailyStreamingApiEvents": whole(10_000),
            "HourlyPublishedPlatformEvents": whole(50_000),
            "DataStorageMB": whole(1_024),
            "FileStorageMB": whole(1_024),
        }),
    )
}

/// `GET /sobjects`
pub(crate) async fn global(visit: Visit) -> Response {
    let objects: Vec<Value> = Schema::get()
        .objects
        .iter()
        .map(|object| Value::Object(summary(object, &visit.version)))
        .collect();
    answer(
        StatusCode::OK,
        &json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects }),
    )
}

/// `GET /sobjects/{object}`
pub(crate) async fn basics(
    visit: Visit,
    Path((_, object)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (_, object) = Schema::get().object(&object).ok_or_else(Refusal::not_found)?;
    let body = json!({ "objectDescribe": summary(object, &visit.version), "recentItems": [] });
    Ok(answer(StatusCode::OK, &body))
}

/// `GET /sobjects/{object}/describe`
pub(crate) async fn object(
    visit: Visit,
    Path((_, object)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let schema = Schema::get();
    let (_, object) = schema.object(&object).ok_or_else(Refusal::not_found)?;
    let mut body = summary(object, &visit.version);
    body.insert("actionOverrides".into(), json!([]));
    body.insert(
        "childRelationships".into(),
        Value::Array(children(schema, object)),
    );
    body.insert("compactLayoutable".into(), json!(true));
    body.insert(
        "fields".into(),
        object
            .fields
            .iter()
            .enumerate()
            .filter(|(at, _)| object.shows(*at))
            .map(|(_, field)| described(object, field))
            .collect(),
    );
    body.insert("listviewable".into(), Value::Null);
    body.insert("lookupLayoutable".into(), Value::Null);
    body.insert("namedLayoutInfos".into(), json!([]));
    body.insert("networkScopeFieldName".into(), Value::Null);
    body.insert(
        "recordTypeInfos".into(),
        json!([master_record_type(object, &visit.version)]),
    );
    body.insert("searchLayoutable".into(), json!(true));
    body.insert(
        "supportedScopes".into(),
        json!([{ "label": format!("All {}", object.plural), "name": "everything" }]),
    );
    Ok(answer(StatusCode::OK, &Value::Object(body)))
}

fn label(object: &Object) -> String {
    let mut label = String::new();
    for (at, letter) in object.name.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            label.push(' ');
        }
        label.push(letter);
    }
    label
}

fn summary(object: &Object, version: &str) -> Map<String, Value> {
    let base = format!("/services/data/{version}/sobjects/{}", object.name);
    let own = object.writable;
    let merges = matches!(object.name, "Account" | "Contact" | "Lead");
    let summary = json!({
        "activateable": false, "associateEntityType": null, "associateParentEntity": null, "createable": own,
        "custom": false, "customSetting": false, "deepCloneable": false, "deletable": own, "deprecatedAndHidden": false,
        "feedEnabled": own, "hasSubtypes": false, "isInterface": false, "isSubtype": false, "keyPrefix": object.prefix,
        "label": label(object), "labelPlural": object.plural, "layoutable": own, "mergeable": merges, "mruEnabled": own,
        "name": object.name, "queryable": true, "replicateable": own, "retrieveable": true, "searchable": own,
        "triggerable": own, "undeletable": own, "updateable": own,
        "urls": { "sobject": base, "describe": format!("{base}/describe"), "rowTemplate": format!("{base}/{{ID}}") },
    });
    summary.as_object().cloned().unwrap_or_default()
}

fn children(schema: &Schema, parent: &Object) -> Vec<Value> {
    let mut children = Vec::new();
    for child in &schema.objects {
        for field in &child.fields {
            if field.refers_to.is_some_and(|(to, _)| to == parent.name) {
                // Only the plain lookups have a name to query by; stamps and owners have none.
                let named = matches!(field.name.as_str(), "AccountId" | "ParentId" | "ReportsToId");
                children.push(json!({
                    "cascadeDelete": parent.name == "Account" && field.name == "AccountId",
                    "childSObject": child.name, "deprecatedAndHidden": false, "field": field.name,
                    "junctionIdListNames": [], "junctionReferenceTo": [],
                    "relationshipName": named.then_some(child.plural), "restrictedDelete": false,
                }));
            }
        }
    }
    children
}

fn master_record_type(object: &Object, version: &str) -> Value {
    let base = format!("/services/data/{version}/sobjects/{}", object.name);
    json!({
        "active": true, "available": true, "defaultRecordTypeMapping": true, "developerName": "Master", "master": true,
        "name": "Master", "recordTypeId": "012000000000000AAA",
        "urls": { "layout": format!("{base}/describe/layouts/012000000000000AAA") },
    })
}

/// A field with every key the real system always sends.
fn described(object: &Object, field: &Field) -> Value {
    let kind = field.kind;
    let creates = field.writable && object.writable;
    let compares = kind != Kind::Address && !(kind == Kind::TextArea && field.length > 255);
    let default = if kind == Kind::Boolean {
        json!(field.default == Some("true"))
    } else {
        Value::Null
    };
    let is_int = kind == Kind::Int;
    let own = json!({
        "aggregatable": compares, "byteLength": field.length * if kind.is_text() { 3 } else { 1 },
        "compoundFieldName": compound_of(object, field), "createable": creates, "custom": field.is_custom(),
        "defaultValue": default, "defaultedOnCreate": is_defaulted(field), "digits": if is_int { field.precision } else { 0 },
        "externalId": field.external_id, "filterable": compares, "groupable": compares && !kind.is_number(),
        "idLookup": kind == Kind::Id || field.external_id || field.name == "Email", "label": field.label,
        "length": field.length, "name": field.name, "nameField": field.name_field, "nillable": field.is_nillable(),
        "permissionable": !field.required && field.writable, "picklistValues": picklist(field),
        "precision": if is_int { 0 } else { field.precision }, "queryByDistance": kind == Kind::Address,
        "referenceTo": field.or_refers_to.into_iter().chain(field.refers_to.map(|(to, _)| to)).collect::<Vec<_>>(),
        "relationshipName": field.refers_to.map(|(_, relation)| relation), "restrictedPicklist": field.restricted,
        "scale": field.scale, "soapType": kind.soap_name(), "sortable": compares, "type": kind.name(),
        "unique": field.unique, "updateable": creates,
    });
    let mut described = own.as_object().cloned().unwrap_or_default();
    let absent = [
        "calculatedFormula",
        "controllerName",
        "defaultValueFormula",
        "extraTypeInfo",
        "filteredLookupInfo",
        "inlineHelpText",
        "mask",
        "maskType",
        "referenceTargetField",
        "relationshipOrder",
    ];
    let never = [
        "aiPredictionField",
        "autoNumber",
        "calculated",
        "cascadeDelete",
        "caseSensitive",
        "dependentPicklist",
        "deprecatedAndHidden",
        "displayLocationInDecimal",
        "encrypted",
        "formulaTreatNullNumberAsZero",
        "highScaleNumber",
        "htmlFormatted",
        "namePointing",
        "restrictedDelete",
        "searchPrefilterable",
        "writeRequiresMasterRead",
    ];
    described.extend(absent.map(|key| (key.to_owned(), Value::Null)));
    described.extend(never.map(|key| (key.to_owned(), Value::Bool(false))));
    let several = Value::Bool(field.or_refers_to.is_some());
    described.insert("polymorphicForeignKey".to_owned(), several);
    Value::Object(described)
}

fn is_defaulted(field: &Field) -> bool {
    field.default.is_some() || field.name == "OwnerId" || (!field.writable && !field.is_nillable())
}

fn picklist(field: &Field) -> Vec<Value> {
    let value = |value: &&str| {
        let is_default = field.default == Some(*value);
        json!({ "active": true, "defaultValue": is_default, "label": value, "validFor": null, "value": value })
    };
    field.values.iter().map(value).collect()
}

fn compound_of(object: &Object, field: &Field) -> Option<String> {
    if matches!(field.name.as_str(), "FirstName" | "LastName" | "Salutation") {
        return Some("Name".to_owned());
    }
    let part = ["Street", "City", "State", "PostalCode", "Country"]
        .iter()
        .find_map(|part| field.name.strip_suffix(part))?;
    let compound = format!("{part}Address");
    object.field(&compound).map(|_| compound)
}
