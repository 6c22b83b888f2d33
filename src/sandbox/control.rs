//! Control over HTTP, for tests that drive the binary: `/_sandbox/faults`, `/_sandbox/calls`, `/_sandbox/rows/{object}`,
//! `/_sandbox/hidden/{object}/{field}` (`PUT` hides a field from everybody, `DELETE` shows it again).
//!
//! Nothing here is counted as a call and nothing here meets a fault.
//! Rows written here are written as a person at the system's own screen would: checked, stamped, and told to webhooks.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, patch, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::faults::{Fault, LimitPolicy, Reach, Switch};
use crate::gate::{Faulty, Guarded};

/// A row was refused, or there is no such object or row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RowError(pub(crate) String);

/// What the row routes ask of a system.
pub(crate) trait Tabled: Guarded {
    fn rows(&self, object: &str) -> Result<Vec<Value>, RowError>;
    fn insert(&self, object: &str, row: &Value) -> Result<String, RowError>;
    fn edit(&self, object: &str, id: &str, change: &Value) -> Result<(), RowError>;
    fn remove(&self, object: &str, id: &str) -> Result<(), RowError>;
    /// Hides a field from everybody, or shows it again; not every system can.
    fn hide(&self, object: &str, _field: &str, _hide: bool) -> Result<(), RowError> {
        Err(RowError(format!("fields of {object} cannot be hidden here")))
    }
}

/// The routes of everything that can go wrong.
pub(crate) fn faults<S: Faulty>(system: Arc<S>) -> Router {
    Router::new()
        .route(
            "/_sandbox/faults",
            get(list_faults::<S>)
                .post(add_fault::<S>)
                .delete(clear_faults::<S>),
        )
        .with_state(system)
}

/// The routes of systems that count their calls.
pub(crate) fn calls<S: Guarded>(system: Arc<S>) -> Router {
    Router::new()
        .route("/_sandbox/calls", get(read_calls::<S>))
        .route("/_sandbox/calls/reset", post(reset_calls::<S>))
        .with_state(system)
}

/// The routes of systems that hold rows.
pub(crate) fn tables<S: Tabled>(system: Arc<S>) -> Router {
    Router::new()
        .route(
            "/_sandbox/rows/{object}",
            get(read_rows::<S>).post(insert_rows::<S>),
        )
        .route(
            "/_sandbox/rows/{object}/{id}",
            patch(edit_row::<S>).delete(remove_row::<S>),
        )
        .route(
            "/_sandbox/hidden/{object}/{field}",
            put(hide::<S>).delete(show_again::<S>),
        )
        .with_state(system)
}

/// A problem in the words of the control routes.
pub(crate) fn complaint(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

fn bad_request(message: &str) -> Response {
    complaint(StatusCode::BAD_REQUEST, message)
}

fn body<T: serde::de::DeserializeOwned>(bytes: &Bytes) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("the body is not what this route takes: {error}"))
}

/// The kinds of faults, as control names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Limit,
    Unavailable,
    ExpireToken,
    SearchLag,
    BadRow,
    DropConnection,
    Slow,
    Gap,
    Overflow,
    NoTopic,
    ReplayExpired,
    NoSchema,
    Status,
}

/// A [`Switch`] as control writes it: `{"kind": "slow", "delay_ms": 500, "on": "writes", "times": 3}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchForm {
    kind: Kind,
    #[serde(default)]
    on: Reach,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<LimitPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lag_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u32>,
}

impl SwitchForm {
    fn switch(self) -> Result<Switch, String> {
        fn need<T>(value: Option<T>, kind: &str, key: &str) -> Result<T, String> {
            value.ok_or_else(|| format!("a fault of kind `{kind}` needs `{key}`"))
        }
        let fault = match self.kind {
            Kind::Limit => Fault::Limit {
                policy: self.policy.unwrap_or(LimitPolicy::Secondly),
            },
            Kind::Unavailable => Fault::Unavailable,
            Kind::ExpireToken => Fault::ExpireToken,
            Kind::SearchLag => Fault::SearchLag {
                lag_ms: need(self.lag_ms, "search_lag", "lag_ms")?,
            },
            Kind::BadRow => Fault::BadRow {
                object: self.object,
                field: need(self.field, "bad_row", "field")?,
                value: need(self.value, "bad_row", "value")?,
            },
            Kind::DropConnection => Fault::DropConnection,
            Kind::Gap => Fault::Gap { object: self.object },
            Kind::Overflow => Fault::Overflow { object: self.object },
            Kind::NoTopic => Fault::NoTopic { object: self.object },
            Kind::ReplayExpired => Fault::ReplayExpired,
            Kind::NoSchema => Fault::NoSchema,
            Kind::Slow => Fault::Slow {
                delay_ms: need(self.delay_ms, "slow", "delay_ms")?,
            },
            Kind::Status => {
                let status = need(self.status, "status", "status")?;
                if !(200..=599).contains(&status) {
                    return Err(format!("`status` is {status}, but a fault can answer 200 to 599"));
                }
                Fault::Status {
                    status,
                    retry_after_s: self.retry_after_s,
                }
            }
        };
        if self.times == Some(0) {
            return Err("`times` is 0, which would be no fault: leave it out for \"until cleared\"".into());
        }
        Ok(Switch {
            fault,
            reach: self.on,
            route: self.route,
            times: self.times,
        })
    }

    fn of(switch: &Switch) -> Self {
        let mut form = Self {
            kind: Kind::Unavailable,
            on: switch.reach,
            route: switch.route.clone(),
            times: switch.times,
            policy: None,
            lag_ms: None,
            delay_ms: None,
            object: None,
            field: None,
            value: None,
            status: None,
            retry_after_s: None,
        };
        match &switch.fault {
            Fault::Limit { policy } => (form.kind, form.policy) = (Kind::Limit, Some(*policy)),
            Fault::Unavailable => form.kind = Kind::Unavailable,
            Fault::ExpireToken => form.kind = Kind::ExpireToken,
            Fault::SearchLag { lag_ms } => (form.kind, form.lag_ms) = (Kind::SearchLag, Some(*lag_ms)),
            Fault::BadRow { object, field, value } => {
                form.kind = Kind::BadRow;
                form.object.clone_from(object);
                (form.field, form.value) = (Some(field.clone()), Some(value.clone()));
            }
            Fault::DropConnection => form.kind = Kind::DropConnection,
            Fault::Gap { object } => (form.kind, form.object) = (Kind::Gap, object.clone()),
            Fault::Overflow { object } => (form.kind, form.object) = (Kind::Overflow, object.clone()),
            Fault::NoTopic { object } => (form.kind, form.object) = (Kind::NoTopic, object.clone()),
            Fault::ReplayExpired => form.kind = Kind::ReplayExpired,
            Fault::NoSchema => form.kind = Kind::NoSchema,
            Fault::Slow { delay_ms } => (form.kind, form.delay_ms) = (Kind::Slow, Some(*delay_ms)),
            Fault::Status {
                status,
                retry_after_s,
            } => {
                (form.kind, form.status, form.retry_after_s) = (Kind::Status, Some(*status), *retry_after_s);
            }
        }
        form
    }
}

async fn list_faults<S: Faulty>(State(system): State<Arc<S>>) -> Response {
    let forms: Vec<_> = system.faults().list().iter().map(SwitchForm::of).collect();
    Json(json!({ "faults": forms })).into_response()
}

async fn add_fault<S: Faulty>(State(system): State<Arc<S>>, bytes: Bytes) -> Response {
    let switch = match body::<SwitchForm>(&bytes).and_then(SwitchForm::switch) {
        Ok(switch) => switch,
        Err(message) => return bad_request(&message),
    };
    let form = SwitchForm::of(&switch);
    match system.faults().add(switch) {
        Ok(()) => (StatusCode::CREATED, Json(form)).into_response(),
        Err(error) => complaint(StatusCode::CONFLICT, &error.to_string()),
    }
}

async fn clear_faults<S: Faulty>(State(system): State<Arc<S>>) -> StatusCode {
    system.faults().clear();
    StatusCode::NO_CONTENT
}

async fn read_calls<S: Guarded>(State(system): State<Arc<S>>) -> Response {
    Json(system.calls().read()).into_response()
}

async fn reset_calls<S: Guarded>(State(system): State<Arc<S>>) -> StatusCode {
    system.calls().reset();
    StatusCode::NO_CONTENT
}

async fn read_rows<S: Tabled>(State(system): State<Arc<S>>, Path(object): Path<String>) -> Response {
    match system.rows(&object) {
        Ok(rows) => Json(json!({ "rows": rows })).into_response(),
        Err(error) => complaint(StatusCode::NOT_FOUND, &error.to_string()),
    }
}

async fn insert_rows<S: Tabled>(
    State(system): State<Arc<S>>,
    Path(object): Path<String>,
    bytes: Bytes,
) -> Response {
    let rows = match body::<Value>(&bytes) {
        Ok(Value::Array(rows)) => rows,
        Ok(row) => vec![row],
        Err(message) => return bad_request(&message),
    };
    let mut ids = Vec::with_capacity(rows.len());
    for (position, row) in rows.iter().enumerate() {
        match system.insert(&object, row) {
            Ok(id) => ids.push(id),
            Err(error) => {
                let message = format!("row {position} was refused: {error}");
                return (
                    StatusCode::BAD_REQUEST,
                    Json(json!({ "error": message, "ids": ids })),
                )
                    .into_response();
            }
        }
    }
    (StatusCode::CREATED, Json(json!({ "ids": ids }))).into_response()
}

async fn edit_row<S: Tabled>(
    State(system): State<Arc<S>>,
    Path((object, id)): Path<(String, String)>,
    bytes: Bytes,
) -> Response {
    match body::<Value>(&bytes) {
        Ok(change) => done(system.edit(&object, &id, &change)),
        Err(message) => bad_request(&message),
    }
}

async fn remove_row<S: Tabled>(
    State(system): State<Arc<S>>,
    Path((object, id)): Path<(String, String)>,
) -> Response {
    done(system.remove(&object, &id))
}

async fn hide<S: Tabled>(
    State(system): State<Arc<S>>,
    Path((object, field)): Path<(String, String)>,
) -> Response {
    done(system.hide(&object, &field, true))
}

async fn show_again<S: Tabled>(
    State(system): State<Arc<S>>,
    Path((object, field)): Path<(String, String)>,
) -> Response {
    done(system.hide(&object, &field, false))
}

fn done(outcome: Result<(), RowError>) -> Response {
    match outcome {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => bad_request(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_survives_being_written_and_read() {
        let faults = [
            Fault::Limit {
                policy: LimitPolicy::Daily,
            },
            Fault::Unavailable,
            Fault::ExpireToken,
            Fault::SearchLag { lag_ms: 5 },
            Fault::BadRow {
                object: None,
                field: "Name".into(),
                value: "x".into(),
            },
            Fault::DropConnection,
            Fault::Gap {
                object: Some("Lead".into()),
            },
            Fault::Overflow { object: None },
            Fault::NoTopic { object: None },
            Fault::ReplayExpired,
            Fault::NoSchema,
            Fault::Slow { delay_ms: 9 },
            Fault::Status {
                status: 410,
                retry_after_s: Some(3),
            },
        ];
        for fault in faults {
            let switch = Switch::times(fault, 2).on(Reach::Writes);
            let text = serde_json::to_string(&SwitchForm::of(&switch)).unwrap();
            let read: SwitchForm = serde_json::from_str(&text).unwrap();
            assert_eq!(read.switch(), Ok(switch), "{text}");
        }
    }

    #[test]
    fn a_fault_that_lacks_something_says_what() {
        let cases = [
            (r#"{"kind":"slow"}"#, "a fault of kind `slow` needs `delay_ms`"),
            (
                r#"{"kind":"bad_row","field":"Name"}"#,
                "a fault of kind `bad_row` needs `value`",
            ),
            (
                r#"{"kind":"status","status":99}"#,
                "`status` is 99, but a fault can answer 200 to 599",
            ),
        ];
        for (text, complaint) in cases {
            let form: SwitchForm = serde_json::from_str(text).unwrap();
            assert_eq!(form.switch().unwrap_err(), complaint);
        }
        assert!(serde_json::from_str::<SwitchForm>(r#"{"kind":"slow","delay":5}"#).is_err());
    }
}
