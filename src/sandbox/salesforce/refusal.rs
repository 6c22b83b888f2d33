//! Why Salesforce refuses something, and the two ways it words that.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer;

/// A refusal, of a whole request or of one row of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) fields: Vec<String>,
}

impl Refusal {
    /// A refusal that answers 400 when it concerns a whole request.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code,
            message: message.into(),
            fields: Vec::new(),
        }
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn about(self, field: &str) -> Self {
        Self {
            fields: vec![field.to_owned()],
            ..self
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::bad("NOT_FOUND", "The requested resource does not exist").with_status(404)
    }

    pub(crate) fn is_deleted() -> Self {
        Self::bad("ENTITY_IS_DELETED", "entity is deleted").with_status(404)
    }

    pub(crate) fn no_such_field(object: &str, field: &str) -> Self {
        Self::bad(
            "INVALID_FIELD",
            format!("No such column '{field}' on sobject of type {object}"),
        )
    }

    pub(crate) fn unreadable(message: impl Into<String>) -> Self {
        Self::bad("JSON_PARSER_ERROR", message)
    }

    /// The answer when the whole request is refused: a list with `errorCode`.
    pub(crate) fn response(&self) -> Response {
        let mut error = json!({ "message": self.message, "errorCode": self.code });
        if !self.fields.is_empty() || self.code == "ENTITY_IS_DELETED" {
            error["fields"] = json!(self.fields);
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        answer(status, &json!([error]))
    }

    /// The outcome of one row of a collection: `statusCode` in place of `errorCode`.
    pub(crate) fn outcome(&self, id: Option<&str>) -> Value {
        let error = json!({ "statusCode": self.code, "message": self.message, "fields": self.fields });
        match id {
            Some(id) => json!({ "id": id, "success": false, "errors": [error] }),
            None => json!({ "success": false, "errors": [error] }),
        }
    }
}
