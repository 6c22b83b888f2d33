//! The schema of an overlay, made of the schema of the file that it lies over: the same keys, in four places.
//!
//! No schema demands a key, so what `change`, `add` and `first` take is what the file takes. What `remove` takes is
//! another matter: of a map its keys or a way into it, of a list the entries that have what is named; of a text nothing.

use serde_json::{Map, Value as Json, json};

/// What stands before the name of a definition of what can be removed.
const REMOVED: &str = "removed-from-";
/// Keys that say what a file is: an overlay has its own.
const OWN: [&str; 2] = ["apiVersion", "kind"];

/// The schema of an overlay over files of a schema.
pub(super) fn over(mut schema: Json, title: &str) -> Json {
    let root = schema["$ref"].as_str().unwrap_or_default();
    let root = root.trim_start_matches("#/$defs/").to_owned();
    if let Some(properties) = schema["$defs"][&root]["properties"].as_object_mut() {
        OWN.iter().for_each(|key| {
            properties.remove(*key);
        });
    }
    let definitions = schema["$defs"].as_object().cloned().unwrap_or_default();
    let removed = definitions.iter().map(|(name, shape)| {
        (
            format!("{REMOVED}{name}"),
            removed(shape).unwrap_or(Json::Bool(false)),
        )
    });
    let mut all: Map<String, Json> = removed.collect();
    let file = json!({"$ref": format!("#/$defs/{root}")});
    all.extend(definitions);
    all.insert(
        "an-overlay".to_owned(),
        json!({
            "type": "object",
            "properties": {
                "apiVersion": {"const": "interconnect/v1"},
                "kind": {"const": "Overlay"},
                "remove": {"$ref": format!("#/$defs/{REMOVED}{root}")},
                "change": file,
                "first": file,
                "add": file,
            },
            "required": OWN,
            "additionalProperties": false,
        }),
    );
    json!({
        "$schema": schema["$schema"],
        "title": title,
        "$ref": "#/$defs/an-overlay",
        "$defs": all,
    })
}

/// What can be removed from a value of a schema; nothing when it has no parts.
fn removed(schema: &Json) -> Option<Json> {
    let Some(keys) = schema.as_object().filter(|keys| !keys.is_empty()) else {
        // The reader looks at it itself: what it holds is not known here.
        return Some(json!({"type": ["object", "array"]}));
    };
    if let Some(name) = keys.get("$ref").and_then(Json::as_str) {
        let name = name.trim_start_matches("#/$defs/");
        return Some(json!({"$ref": format!("#/$defs/{REMOVED}{name}")}));
    }
    if let Some(any) = keys.get("anyOf").and_then(Json::as_array) {
        // A value that has a shape may be something else, too; what is named is taken for the shape.
        let shaped = any.iter().filter(|schema| schema.get("not").is_none());
        let mut any: Vec<Json> = shaped.filter_map(removed).collect();
        return match any.len() {
            0 => None,
            1 => any.pop(),
            _ => Some(json!({"anyOf": any})),
        };
    }
    let is = |name: &str| match &schema["type"] {
        Json::Array(names) => names.iter().any(|known| known == name),
        known => known == name,
    };
    if is("array") {
        let items = keys.get("items").cloned().unwrap_or_else(|| json!({}));
        return Some(json!({"type": "array", "items": items}));
    }
    is("object").then(|| removed_from_map(keys))
}

/// Of a map: its keys, or what is removed from their values.
fn removed_from_map(keys: &Map<String, Json>) -> Json {
    let known = keys.get("properties").and_then(Json::as_object);
    let names = known.map(|known| known.keys().collect::<Vec<_>>());
    let inside = known.into_iter().flatten().map(|(key, schema)| {
        let inside = removed(schema).unwrap_or(Json::Bool(false));
        (key.clone(), inside)
    });
    let inside: Map<String, Json> = inside.collect();
    let others = keys
        .get("additionalProperties")
        .map_or(Json::Bool(true), |others| {
            others
                .as_bool()
                .map_or_else(|| removed(others).unwrap_or(Json::Bool(false)), Json::Bool)
        });
    let name = match names.filter(|names| !names.is_empty()) {
        Some(names) => json!({"enum": names}),
        None => json!({"type": "string"}),
    };
    json!({"anyOf": [
        {"type": "array", "items": name},
        {"type": "object", "properties": inside, "additionalProperties": others},
    ]})
}
