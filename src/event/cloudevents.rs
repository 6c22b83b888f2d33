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

/// A request that is no CloudEvent that can be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCloudEvent {
    /// An attribute that every CloudEvent has is missing or empty.
    #[error("the attribute `{0}` is missing, empty, or no text")]
    Attribute(&'static str),
    /// Another version of CloudEvents.
    #[error("`specversion` is not 1.0")]
    Version,
    /// The data is bytes, or none.
    #[error("`data` is missing; it must be a JSON object, not `data_base64`")]
    Data,
}

/// A CloudEvent in structured mode as an event `{type, timestamp, data}`. Without a `time` it happened at `now`, in
/// RFC 3339.
///
/// `typeversion` says the version of its type. What we have no place for is kept under `cloudevent`.
pub fn read(cloud: Json, now: &str) -> Result<Json, NoCloudEvent> {
    let Json::Object(mut cloud) = cloud else {
        return Err(NoCloudEvent::Attribute("specversion"));
    };
    let data = cloud.remove("data").ok_or(NoCloudEvent::Data)?;
    made(cloud, data, now)
}

/// A CloudEvent in binary mode: its attributes are headers, `ce-` taken off, and its data is the body.
pub fn read_binary(
    attributes: impl Iterator<Item = (String, String)>,
    data: Json,
    now: &str,
) -> Result<Json, NoCloudEvent> {
    let attributes = attributes.map(|(name, value)| (name, Json::String(value)));
    made(attributes.collect(), data, now)
}

fn made(mut cloud: Map<String, Json>, data: Json, now: &str) -> Result<Json, NoCloudEvent> {
    for name in ["specversion", "id", "source", "type"] {
        let filled = cloud
            .get(name)
            .and_then(Json::as_str)
            .is_some_and(|text| !text.is_empty());
        if !filled {
            return Err(NoCloudEvent::Attribute(name));
        }
    }
    if cloud.remove("specversion").as_ref().and_then(Json::as_str) != Some("1.0") {
        return Err(NoCloudEvent::Version);
    }
    let mut event = Map::new();
    event.insert("type".into(), cloud.remove("type").unwrap_or_default());
    event.insert(
        "timestamp".into(),
        cloud.remove("time").unwrap_or_else(|| json!(now)),
    );
    if let Some(version) = cloud.remove("typeversion") {
        // In binary mode it is text.
        let number = version.as_str().and_then(|text| text.parse::<u32>().ok());
        event.insert("version".into(), number.map_or(version, Json::from));
    }
    event.insert("data".into(), data);
    cloud.remove("datacontenttype");
    event.insert("cloudevent".into(), Json::Object(cloud));
    Ok(Json::Object(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-26T09:00:00Z";

    #[test]
    fn what_is_written_is_read_back() {
        let event = json!({"type": "deal.won", "version": 2, "timestamp": NOW, "data": {"id": "D-1"}});
        let cloud = write("evt_1", event.clone());
        let mut read = read(cloud, "later").unwrap();
        let kept = read.as_object_mut().unwrap().remove("cloudevent");
        assert_eq!(read, event);
        assert_eq!(
            kept,
            Some(json!({"id": "evt_1", "source": "/interconnect", "subject": "D-1"}))
        );
    }

    #[test]
    fn both_modes_say_the_same() {
        let attributes = [
            ("specversion", "1.0"),
            ("id", "A-1"),
            ("source", "/acme"),
            ("type", "deal.won"),
            ("typeversion", "1"),
            ("traceparent", "00-x"),
        ];
        let mut cloud: Map<String, Json> = attributes
            .iter()
            .map(|(n, v)| ((*n).to_owned(), json!(v)))
            .collect();
        let owned = attributes.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let binary = read_binary(owned, json!({"id": 1}), NOW).unwrap();
        cloud.insert("data".into(), json!({"id": 1}));
        assert_eq!(read(Json::Object(cloud), NOW).unwrap(), binary);
        assert_eq!(
            binary,
            json!({"type": "deal.won", "version": 1, "timestamp": NOW, "data": {"id": 1},
                "cloudevent": {"id": "A-1", "source": "/acme", "traceparent": "00-x"}})
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let told = |cloud: Json| read(cloud, NOW).unwrap_err().to_string();
        let told = [
            told(json!([])),
            told(json!({"specversion": "1.0", "id": "", "source": "/a", "type": "deal.won", "data": {}})),
            told(json!({"specversion": "0.3", "id": "1", "source": "/a", "type": "deal.won", "data": {}})),
            told(
                json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "deal.won", "data_base64": "e30="}),
            ),
        ];
        insta::assert_snapshot!(told.join("\n"), @r"
        the attribute `specversion` is missing, empty, or no text
        the attribute `id` is missing, empty, or no text
        `specversion` is not 1.0
        `data` is missing; it must be a JSON object, not `data_base64`
        ");
    }
}
