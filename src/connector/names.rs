//! [`Names`]: the values that an expression of a manifest may use.

use std::collections::BTreeMap;

use minijinja::value::Value;
use serde_json::Value as Json;

use crate::template::to_value;

/// Values by name; a name without value is null to programs, and an error to templates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(BTreeMap<&'static str, Json>);

impl Names {
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Json>) -> Names {
        self.0.insert(name, value.into());
        self
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Json {
        self.0.get(name).cloned().unwrap_or(Json::Null)
    }

    pub(crate) fn values(&self) -> BTreeMap<&'static str, Value> {
        self.0
            .iter()
            .map(|(name, value)| (*name, to_value(value)))
            .collect()
    }
}

/// A scalar as text: ids come as text from one system and as a number from another.
pub(crate) fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(value) => Some(value.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}
