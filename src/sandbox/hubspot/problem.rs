//! Why HubSpot refuses something.
//!
//! A problem travels from a handler to the middleware [`crate::hubspot::finish`] inside the response,
//! for only there is the correlation id known.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// A refusal, of a whole request or of one input of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    /// Empty when the real system sends none.
    pub(crate) category: &'static str,
    /// Mostly empty.
    pub(crate) sub_category: &'static str,
    pub(crate) message: Box<str>,
    pub(crate) errors: Vec<Value>,
    pub(crate) context: Map<String, Value>,
    /// The limit that was reached, by name, when it was one.
    pub(crate) policy: Option<&'static str>,
}

/// One value that does not fit its property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) code: &'static str,
    pub(crate) property: String,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(status: u16, category: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            category,
            sub_category: "",
            message: message.into().into_boxed_str(),
            errors: Vec::new(),
            context: Map::new(),
            policy: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "VALIDATION_ERROR", message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "OBJECT_NOT_FOUND", "resource not found")
    }

    /// Properties that do not exist or values that do not fit: all of them at once.
    pub(crate) fn misfits(misfits: &[Misfit]) -> Self {
        let told: Vec<Value> = misfits
            .iter()
            .map(|misfit| json!({ "isValid": false, "message": misfit.message, "error": misfit.code, "name": misfit.property }))
            .collect();
        let errors = misfits.iter().map(|misfit| {
            json!({ "message": misfit.message, "code": misfit.code, "context": { "propertyName": [misfit.property] } })
        });
        let message = format!("Property values were not valid: {}", Value::Array(told));
        Self {
            errors: errors.collect(),
            ..Self::invalid(message)
        }
    }

    pub(crate) fn with(mut self, key: &str, values: &[&str]) -> Self {
        self.context.insert(key.to_owned(), json!(values));
        self
    }

    /// The answer when the whole request is refused.
    pub(crate) fn body(&self, correlation_id: &str) -> Value {
        let mut body = json!({ "status": "error", "message": self.message, "correlationId": correlation_id });
        self.decorate(&mut body);
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        if let Some(policy) = self.policy {
            body["errorType"] = json!("RATE_LIMIT");
            body["policyName"] = json!(policy);
        }
        body
    }

    /// The same problem among the errors of a batch.
    pub(crate) fn in_batch(&self) -> Value {
        let mut error = json!({ "status": "error", "message": self.message });
        self.decorate(&mut error);
        error
    }

    fn decorate(&self, body: &mut Value) {
        if !self.context.is_empty() {
            body["context"] = json!(self.context);
        }
        for (key, value) in [("category", self.category), ("subCategory", self.sub_category)] {
            if !value.is_empty() {
                body[key] = json!(value);
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = StatusCode::from_u16(self.status)
            .unwrap_or(StatusCode::BAD_REQUEST)
            .into_response();
        response.extensions_mut().insert(self);
        response
    }
}
