//! [`Names`]: the values that an expression of a manifest may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Object, Value};
use serde_json::Value as Json;

use crate::template::to_value;

/// Values by name; a name without value is null to programs, and an error to templates. Cheap to clone: one of them may be
/// a batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(BTreeMap<&'static str, Arc<Json>>);

impl Names {
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Json>) -> Names {
        self.0.insert(name, Arc::new(value.into()));
        self
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name).map(AsRef::as_ref)
    }
}

/// As a template sees it: what it does not mention is not converted for it.
impl Object for Names {
    fn get_value(self: &Arc<Self>, name: &Value) -> Option<Value> {
        self.get(name.as_str()?).map(to_value)
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
