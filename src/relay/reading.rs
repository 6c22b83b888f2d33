//! What a partner posts as an event: taken as it is, or made of a CloudEvent, of a form, of XML, or of JSON of its own.

use bytes::Bytes;
use event::cloudevents;
use jiff::Timestamp;
use outbound::header::{CONTENT_TYPE, HeaderMap};
use program::{Program, document};
use serde_json::{Value as Json, json};

use crate::Refused;
use crate::arrival::Arrival;

/// What the headers of a CloudEvent in binary mode begin with.
const CLOUD: &str = "ce-";

/// An event, and how it came when it was made of something else.
pub(crate) struct Read {
    pub(crate) body: Bytes,
    pub(crate) arrival: Arrival,
}

/// Makes an event of a body that is verified. `takes` is the partner's own program for what is no event.
pub(crate) fn read(
    headers: &HeaderMap,
    body: Bytes,
    takes: Option<&Program>,
    now: Timestamp,
    arrival: Arrival,
) -> Result<Read, Refused> {
    let now = now.to_string();
    let media_type = media_type(headers);
    let json = |body: &Bytes| {
        serde_json::from_slice::<Json>(body).map_err(|error| Refused::NotJson(error.to_string()))
    };
    let (came_as, event) = if media_type == cloudevents::MEDIA_TYPE {
        ("cloudevent", cloudevents::read(json(&body)?, &now)?)
    } else if headers.contains_key("ce-specversion") {
        (
            "cloudevent",
            cloudevents::read_binary(attributes(headers), json(&body)?, &now)?,
        )
    } else if media_type == "application/x-www-form-urlencoded" {
        ("form", made(takes, "a form", document::form(&body), &now)?)
    } else if media_type.ends_with("/xml") || media_type.ends_with("+xml") {
        ("xml", made(takes, "XML", document::xml(&body), &now)?)
    } else if takes.is_none() {
        return Ok(Read { body, arrival });
    } else {
        let document = json(&body)?;
        if is_event(&document) {
            return Ok(Read { body, arrival });
        }
        ("json", made(takes, "JSON", Ok(document), &now)?)
    };
    Ok(Read {
        arrival: arrival.with_original(came_as, &body),
        body: event.to_string().into(),
    })
}

fn is_event(document: &Json) -> bool {
    ["type", "timestamp", "data"]
        .iter()
        .all(|name| document.get(name).is_some())
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// The attributes of a CloudEvent in binary mode; in headers they are percent-encoded ("HTTP Protocol Binding for
/// CloudEvents" 1.0.2, section 3.1.3.2).
fn attributes(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(CLOUD)?;
        let value = percent_encoding::percent_decode(value.as_bytes()).decode_utf8_lossy();
        Some((name.to_owned(), value.into_owned()))
    })
}

/// What the partner's program makes of a document; it happened now, unless the program says when.
fn made(
    takes: Option<&Program>,
    what: &'static str,
    document: Result<Json, document::Unreadable>,
    now: &str,
) -> Result<Json, Refused> {
    let takes = takes.ok_or(Refused::NoProgram(what))?;
    let document = document.map_err(|error| Refused::Document(what, error.to_string()))?;
    // Why it fails, would show what is in the body; and there may be more than one reason to keep that to oneself.
    let failed = || Refused::NotMade(takes.name());
    let mut made = takes.run(&document, &|_| None).map_err(|_| failed())?;
    match made.pop() {
        Some(mut event @ Json::Object(_)) if made.is_empty() => {
            if event.get("timestamp").is_none() {
                event["timestamp"] = json!(now);
            }
            Ok(event)
        }
        _ => Err(failed()),
    }
}
