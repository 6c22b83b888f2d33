//! [`Example`]: an object, the record it is, and what the record is written as; a mapping's own test.

use diagnostic::{Fields as Keys, Node, Place, Report, Source, Value as Yaml, suggestion};
use jiff::Timestamp;
use model::normalise::{money, normalise};
use model::stored::to_json;
use model::{FieldType, Fields, Kind, RecordId, Value, uuid_from};
use serde_json::{Map, Value as Json};

/// One example of a mapping file.
pub(crate) struct Example {
    pub(crate) object: Json,
    /// What `object` reads as.
    pub(crate) record: Fields,
    pub(crate) record_place: Place,
    /// Where each value of the record stands.
    pub(crate) places: Vec<(&'static str, Place)>,
    /// References of the record by path: the foreign ids that the file names.
    pub(crate) references: Vec<(&'static str, Kind, String)>,
    /// What the record is written as when there is no object; the mapped fields of `object` when left out.
    pub(crate) back: Option<(Map<String, Json>, Place)>,
}

/// The record that stands for a foreign id in examples, the same one each time.
pub(crate) fn stand_in(kind: Kind, external_id: &str) -> RecordId {
    // FNV-1a: spread over the random part, so that different ids are different records.
    let spread = external_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut random = [0; 10];
    random[..8].copy_from_slice(&spread.to_be_bytes());
    RecordId::new(kind, uuid_from(Timestamp::UNIX_EPOCH, random))
}

impl Example {
    pub(crate) fn read(node: &Node, kind: Kind, source: &Source, report: &mut Report) -> Option<Example> {
        let mut keys = Keys::open(node, "an example", source, report)?;
        let object = keys.required("object", report).map(Node::to_json);
        let record = keys.required("record", report);
        let back = match keys.optional("back").map(|node| (node, node.to_json())) {
            None => None,
            Some((node, Json::Object(map))) => Some((map, node.place)),
            Some((node, _)) => keys.wrong("back", node, "a map of the object's fields", report),
        };
        keys.finish(report);
        let (object, record) = (object?, record?);
        let example = Example::of_record(record, kind, source, report);
        Some(Example {
            object,
            back,
            ..example
        })
    }

    /// A record alone.
    pub(crate) fn of_record(record: &Node, kind: Kind, source: &Source, report: &mut Report) -> Example {
        let mut example = Example {
            object: Json::Null,
            record: Fields::new(),
            record_place: record.place,
            places: Vec::new(),
            references: Vec::new(),
            back: None,
        };
        example.group("", record, kind, source, report);
        example
    }

    /// The foreign id that the file names for a record.
    pub(crate) fn foreign_id(&self, record: RecordId) -> Option<&str> {
        let found = self
            .references
            .iter()
            .find(|(_, kind, id)| stand_in(*kind, id) == record);
        found.map(|(_, _, id)| id.as_str())
    }

    /// A value as the file writes it: a reference as the foreign id that it names.
    pub(crate) fn shown(&self, value: &Value) -> Json {
        let named = value.as_reference().and_then(|record| self.foreign_id(record));
        named.map_or_else(|| to_json(value), Json::from)
    }

    /// Where a value of the record stands; the record, if it is not there.
    pub(crate) fn place_of(&self, path: &str) -> Place {
        let found = self.places.iter().find(|(known, _)| *known == path);
        found.map_or(self.record_place, |(_, place)| *place)
    }

    /// Reads values in nested or dotted form.
    fn group(&mut self, prefix: &str, node: &Node, kind: Kind, source: &Source, report: &mut Report) {
        let Yaml::Map(entries) = &node.value else {
            let message = format!("the record of an example is {}, expected a map", node.kind());
            return report.error(
                "IC0319",
                source,
                node.place,
                message,
                "write it as `field: value` lines",
            );
        };
        for (key, place, value) in entries {
            let path = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            let inside = format!("{path}.");
            match kind.field(&path) {
                Some(field) => match self.value(field.path, field.field_type, value) {
                    Ok(read) => {
                        self.record.set(field.path, read);
                        self.places.push((field.path, value.place));
                    }
                    Err(message) => report.error(
                        "IC0319",
                        source,
                        value.place,
                        message,
                        "write it in the form that records hold",
                    ),
                },
                None if kind.fields().any(|field| field.path.starts_with(&inside)) => {
                    self.group(&path, value, kind, source, report);
                }
                None => {
                    let message = format!("`{path}` is not a field of a {kind}");
                    report.error(
                        "IC0319",
                        source,
                        *place,
                        message,
                        suggestion(&path, kind.fields().map(|field| field.path)),
                    );
                }
            }
        }
    }

    fn value(&mut self, path: &'static str, field_type: FieldType, node: &Node) -> Result<Value, String> {
        let text = |node: &Node| match node.to_json() {
            Json::Array(_) | Json::Object(_) => Err(format!("`{path}` is {}", node.kind())),
            json => Ok(crate::wire::scalar(&json).unwrap_or_default().to_owned()),
        };
        let value = match (field_type, &node.value) {
            (_, Yaml::Null) => Ok(Value::Null),
            (FieldType::Money, Yaml::Map(_)) => {
                let part = |key| {
                    node.get(key)
                        .map_or_else(|| Err(format!("`{path}` lacks `{key}`")), text)
                };
                money(&part("amount")?, &part("currency")?)
            }
            (FieldType::Choices(_) | FieldType::Set, Yaml::List(items)) => {
                let items: Result<Vec<String>, String> = items.iter().map(text).collect();
                normalise(field_type, &items?.join(";"), None)
            }
            (FieldType::Reference(kind), _) => {
                let external_id = text(node)?;
                let record = stand_in(kind, &external_id);
                self.references.push((path, kind, external_id));
                Ok(Value::Reference(record))
            }
            _ => normalise(field_type, &text(node)?, None),
        };
        value.map_err(|invalid| format!("`{path}`: {invalid}"))
    }
}
