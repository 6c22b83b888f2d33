//! [`WireField`]: a field of an object by name, and what a JSON value says as text.

use model::Invalid;
use serde_json::{Map, Value as Json};

/// A field of an object: a key, or a dotted path of keys.
#[derive(Debug)]
pub(crate) struct WireField {
    pub(crate) name: Box<str>,
    parts: Box<[Box<str>]>,
}

impl WireField {
    pub(crate) fn new(name: &str) -> WireField {
        let parts = if name.contains('.') {
            name.split('.').map(Box::from).collect()
        } else {
            Box::default()
        };
        WireField {
            name: name.into(),
            parts,
        }
    }

    /// What the object carries: nothing when it does not carry the field at all. A blank on the way is blank.
    pub(crate) fn find<'o>(&self, object: &'o Json) -> Option<&'o Json> {
        let map = object.as_object()?;
        map.get(&*self.name).or_else(|| {
            let (first, rest) = self.parts.split_first()?;
            let mut found = map.get(&**first)?;
            for part in rest {
                if found.is_null() {
                    return Some(found);
                }
                found = found.as_object()?.get(&**part)?;
            }
            Some(found)
        })
    }
}

impl WireField {
    /// Puts a value where an object has it: under the whole name, or inside what the name walks into.
    pub(crate) fn put(&self, like: &Json, value: Json, into: &mut Map<String, Json>) {
        let whole = self.parts.is_empty() || like.get(&*self.name).is_some();
        let Some((last, walk)) = self.parts.split_last().filter(|_| !whole) else {
            into.insert(self.name.to_string(), value);
            return;
        };
        let mut at = into;
        for part in walk {
            let inner = at
                .entry(part.to_string())
                .or_insert_with(|| Json::Object(Map::new()));
            let Some(map) = inner.as_object_mut() else { return };
            at = map;
        }
        at.insert(last.to_string(), value);
    }
}

/// Whether a wire value says nothing.
pub(crate) fn blank(wire: &Json) -> bool {
    match wire {
        Json::Null => true,
        Json::String(text) => text.trim().is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(keys) => keys.is_empty(),
        Json::Bool(_) | Json::Number(_) => false,
    }
}

/// The text of a scalar: text as it is, numbers digit by digit as they were sent.
pub(crate) fn scalar(wire: &Json) -> Option<&str> {
    match wire {
        Json::String(text) => Some(text),
        Json::Number(number) => Some(number.as_str()),
        Json::Bool(true) => Some("true"),
        Json::Bool(false) => Some("false"),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// The text of a value that must be text or a number.
pub(crate) fn text(wire: &Json) -> Result<&str, Invalid> {
    match wire {
        Json::String(_) | Json::Number(_) => Ok(scalar(wire).unwrap_or_default()),
        _ => Err(Invalid::new(&shown(wire), "text")),
    }
}

/// A wire value as a message shows it; [`Invalid`] cuts it.
pub(crate) fn shown(wire: &Json) -> String {
    match wire {
        Json::Array(items) => format!("a list of {}", items.len()),
        Json::Object(_) => "an object".to_owned(),
        _ => scalar(wire).unwrap_or("null").to_owned(),
    }
}
