//! CloudEvents 1.0.2: how one is written, in structured mode, and read, in both modes.

use serde_json::{Map, Value as Json, json};

/// The media type of a CloudEvent in structured mode ("JSON Event Format for CloudEvents" 1.0.2, section 3).
pub const MEDIA_TYPE: &str = "application/cloudevents+json";
/// What the attribute `source` says of all that the hub sends: who said it before is not told.
const SOURCE: &str = "/interconnect";

/// An event as a CloudEvent.
pub(crate) fn write(id: &str, event: Json) -> Json {
    let Json::Object(mut event) = event else {
        return event;
    };
    let mut cloud = Map::new();
    cloud.insert("specversion".into(), json!("1.0"));
    cloud.insert("id".into(), json!(id));
    cloud.insert("source".into(), json!(SOURCE));
    for (theirs, ours) in [("type", "type"), ("time", "timestamp")] {
        if let Some(value) = event.remove(ours) {
            cloud.insert(theirs.into(), value);
        }
    }
    // Extension attributes are lower-case words, and integers may be values.
    if let Some(version) = event.remove("version") {
        cloud.insert("typeversion".into(), version);
    }
    let subject = event
        .get("data")
        .and_then(|data| data.get("id"))
        .and_then(Json::as_str);
    if let Some(subject) = subject.filter(|subject| !subject.is_empty()) {
        cloud.insert("subject".into(), json!(subject));
    }
    cloud.insert("datacontenttype".into(), json!("application/json"));
    cloud.insert("data".into(), event.remove("data").unwrap_or(Json::Null));
    Json::Object(cloud)
}
