//! The catalogue as an AsyncAPI 3.0.0 document: what partners post to the hub, and what it sends to them.

use model::EventType;
use serde_json::{Map, Value as Json, json};

use crate::Catalogue;
use crate::catalogue::message;
use crate::record::DEFINITIONS;

/// How a reference to a definition begins in the document.
const SCHEMAS: &str = "#/components/schemas/";

impl Catalogue {
    /// The document. `version` is that of the hub.
    pub fn asyncapi(&self, version: &str) -> Json {
        let (mut messages, mut taken, mut sent) = (Map::new(), Map::new(), Map::new());
        for info in self.types() {
            for each in &info.versions {
                let name = format!("{}.v{}", info.name, each.version);
                let reference = json!({"$ref": format!("#/components/messages/{name}")});
                sent.insert(name.clone(), reference.clone());
                if !EventType::parse(&info.name).is_ok_and(|known| known.is_ours_alone()) {
                    taken.insert(name.clone(), reference);
                }
                let mut payload = message(info, each);
                refer(&mut payload);
                let mut sample = json!({
                    "type": info.name,
                    "timestamp": "2026-11-26T09:00:00Z",
                    "data": each.sample,
                });
                if each.version > 1 {
                    sample["version"] = json!(each.version);
                }
                let message = json!({
                    "name": info.name,
                    "title": format!("{}, version {}", info.name, each.version),
                    "summary": info.doc,
                    "contentType": "application/json",
                    "headers": {"$ref": format!("{SCHEMAS}headers")},
                    "payload": payload,
                    "examples": [{"name": "sample", "payload": sample}],
                });
                messages.insert(name, message);
            }
        }
        let mut schemas: Map<String, Json> = self.definitions.clone();
        schemas.values_mut().for_each(refer);
        schemas.insert("headers".into(), headers());
        let post = json!({"http": {"method": "POST", "bindingVersion": "0.3.0"}});
        json!({
            "asyncapi": "3.0.0",
            "info": {
                "title": "Interconnect",
                "version": version,
                "description": "What partners post to the hub and what it sends to them, as Standard Webhooks 1.0.0. \
                    A sharing policy may take anything out of what is sent, so nothing in `data` is required; \
                    a masked value reads `***`, and one that is told by its range `10000..50000` or `2026-Q4`, \
                    whatever its type.",
            },
            "defaultContentType": "application/json",
            "channels": {
                "intake": {
                    "title": "Where a partner posts",
                    "address": "/hooks/{partner}",
                    "parameters": {"partner": {"description": "the partner's name in the hub's configuration"}},
                    "messages": taken,
                },
                "endpoint": {
                    "title": "Where a partner receives: the URL of an endpoint",
                    "address": Json::Null,
                    "messages": sent,
                },
            },
            "operations": {
                "take": {
                    "action": "receive",
                    "channel": {"$ref": "#/channels/intake"},
                    "summary": "Answered 202 when the event is on disk with its deliveries.",
                    "bindings": post,
                },
                "deliver": {
                    "action": "send",
                    "channel": {"$ref": "#/channels/endpoint"},
                    "summary": "Tried again until it is answered 2xx, under the same `webhook-id`.",
                    "bindings": post,
                },
            },
            "components": {"messages": messages, "schemas": schemas},
        })
    }
}

/// The headers of Standard Webhooks, and our number.
fn headers() -> Json {
    json!({
        "type": "object",
        "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
        "properties": {
            "webhook-id": {"type": "string", "description": "the same each time that the event is sent"},
            "webhook-timestamp": {"type": "string", "description": "when this try was signed, in seconds since 1970"},
            "webhook-signature": {
                "type": "string",
                "description": "one or several signatures of `id.timestamp.body`, separated by spaces: `v1,…`",
            },
            "webhook-sequence": {
                "type": "integer",
                "description": "which of all that this endpoint is sent it is: from 1, without gaps, the same for each try; \
                                a number that does not come was given up or is on its way",
            },
            "webhook-folded": {
                "type": "string",
                "description": "numbers of older updates of the same record that this one goes for, where that is wanted: `3-7, 12`",
            },
        },
    })
}

/// Lets what refers to a definition refer to it where the document has it.
fn refer(schema: &mut Json) {
    match schema {
        Json::Object(map) => {
            for (key, inner) in map.iter_mut() {
                match inner {
                    Json::String(to) if key == "$ref" => {
                        if let Some(name) = to.strip_prefix(DEFINITIONS) {
                            *to = format!("{SCHEMAS}{name}");
                        }
                    }
                    inner => refer(inner),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(refer),
        _ => {}
    }
}
