//! What the hub knows of its own records, as JSON Schema: definitions that every file of events may refer to.

use model::{FieldType, Kind};
use serde_json::{Map, Value as Json, json};

/// How a reference to a definition begins.
pub(crate) const DEFINITIONS: &str = "#/$defs/";
/// How an exact number looks as text. The hub writes texts, which lose no digit; a partner may write numbers.
const DECIMAL: &str = r"^-?[0-9]+(\.[0-9]+)?$";

/// For each kind of record its fields (`deal`), and the `data` of an event about one (`about_deal`).
///
/// Nothing is required: a sharing policy may have taken anything away.
pub(crate) fn definitions() -> Map<String, Json> {
    let mut definitions = Map::new();
    for kind in Kind::ALL {
        definitions.insert(kind.name().to_owned(), fields(kind));
        definitions.insert(format!("about_{kind}"), about(kind));
    }
    definitions
}

/// The fields of a kind of record, as the nested document that an event carries.
fn fields(kind: Kind) -> Json {
    let mut document = json!({"type": "object", "properties": {}});
    for field in kind.fields() {
        let mut schema = values(field.field_type);
        schema["description"] = json!(field.doc);
        let mut at = &mut document;
        let mut names = field.path.split('.').peekable();
        while let Some(name) = names.next() {
            let place = &mut at["properties"][name];
            if names.peek().is_none() {
                *place = schema;
                break;
            }
            if place.is_null() {
                *place = json!({"type": ["object", "null"], "properties": {}});
            }
            at = place;
        }
    }
    document
}

/// The `data` of an event about a record of a kind.
fn about(kind: Kind) -> Json {
    let mut about = json!({
        "type": "object",
        "properties": {
            "id": {"type": ["string", "integer"], "description": "which record it is about, by the sender's own name for it"},
            "version": {"type": "integer", "minimum": 1, "description": "counts the changes of the record"},
            "changed": {
                "type": "object",
                "description": "by path, what changed: what it was, and what it is",
                "additionalProperties": {"type": "object", "properties": {"before": true, "after": true}},
            },
        },
    });
    about["properties"][kind.name()] = json!({"$ref": format!("{DEFINITIONS}{kind}")});
    about
}

/// What a field's values look like in an event.
fn values(field_type: FieldType) -> Json {
    let decimal = json!({"type": ["string", "number"], "pattern": DECIMAL});
    match field_type {
        FieldType::Text { .. }
        | FieldType::Email
        | FieldType::Phone
        | FieldType::Domain
        | FieldType::Url
        | FieldType::Country
        | FieldType::Subdivision => json!({"type": ["string", "null"]}),
        FieldType::Money => json!({
            "type": ["object", "null"],
            "properties": {
                "amount": decimal,
                "currency": {"type": "string", "description": "ISO 4217"},
            },
        }),
        FieldType::Decimal => json!({"type": ["string", "number", "null"], "pattern": DECIMAL}),
        FieldType::Integer => json!({"type": ["integer", "null"]}),
        FieldType::Bool => json!({"type": ["boolean", "null"]}),
        FieldType::Date => json!({"type": ["string", "null"], "format": "date"}),
        FieldType::Instant => json!({"type": ["string", "null"], "format": "date-time"}),
        FieldType::Choice(words) => {
            let words = words.iter().map(|word| json!(word));
            json!({"enum": words.chain([Json::Null]).collect::<Vec<_>>()})
        }
        FieldType::Choices(words) => json!({"type": ["array", "null"], "items": {"enum": words}}),
        FieldType::Set => json!({"type": ["array", "null"], "items": {"type": "string"}}),
        FieldType::Reference(kind) => json!({
            "type": ["string", "null"],
            "description": format!("the id of a {kind}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_a_nested_document_of_its_fields() {
        let definitions = definitions();
        let deal = &definitions["deal"]["properties"];
        assert_eq!(
            deal["customer"]["properties"]["country"]["type"],
            json!(["string", "null"])
        );
        assert_eq!(deal["amount"]["properties"]["currency"]["type"], json!("string"));
        assert_eq!(deal["stage"]["enum"][0], json!("prospect"));
        assert_eq!(
            definitions["about_deal"]["properties"]["deal"],
            json!({"$ref": "#/$defs/deal"})
        );
        for kind in Kind::ALL {
            for field in kind.fields() {
                let place = format!(
                    "/properties/{}/description",
                    field.path.replace('.', "/properties/")
                );
                assert_eq!(
                    definitions[kind.name()].pointer(&place),
                    Some(&json!(field.doc)),
                    "{}",
                    field.path
                );
            }
        }
    }
}
