//! Any body that is no JSON of ours: forms, XML and CloudEvents, as they are read when somebody posts them.
//!
//! What is read of a form or of XML says no more than was written: its texts are no longer than the input, and it nests no
//! deeper than is allowed. A CloudEvent says the same in both modes.
//!
//! The first line of an input says what the rest is: `form`, `xml` or `cloudevent`.
#![no_main]

use event::cloudevents;
use interconnect_fuzz::headed;
use libfuzzer_sys::fuzz_target;
use program::document;
use serde_json::Value as Json;

const NOW: &str = "2027-01-15T08:00:00Z";

/// The bytes of all texts, and how deeply they lie.
fn extent(document: &Json) -> (usize, usize) {
    let (bytes, depth) = match document {
        Json::String(text) => (text.len(), 0),
        Json::Array(items) => items.iter().map(extent).fold((0, 0), beside),
        Json::Object(inside) => inside.values().map(extent).fold((0, 0), beside),
        _ => (0, 0),
    };
    (bytes, depth + usize::from(document.is_object()))
}

fn beside(a: (usize, usize), b: (usize, usize)) -> (usize, usize) {
    (a.0 + b.0, a.1.max(b.1))
}

fn cloudevent(text: &str) {
    let Ok(cloud) = serde_json::from_str::<Json>(text) else {
        return;
    };
    let read = cloudevents::read(cloud.clone(), NOW);
    if let Ok(event) = &read {
        assert!(
            event["type"].as_str().is_some_and(|name| !name.is_empty()),
            "{event}"
        );
        assert!(
            event.get("timestamp").is_some() && event.get("data").is_some(),
            "{event}"
        );
    }
    // Headers are texts.
    let (Json::Object(mut attributes), Ok(event)) = (cloud, read) else {
        return;
    };
    let data = attributes.remove("data").expect("it was read");
    let mut texts = Vec::new();
    for (name, value) in attributes {
        match value {
            Json::String(value) => texts.push((name, value)),
            _ => return,
        }
    }
    assert_eq!(cloudevents::read_binary(texts.into_iter(), data, NOW), Ok(event));
}

fuzz_target!(|input: &str| {
    let Some((what, body)) = headed(input) else { return };
    let read = match what {
        "form" => document::form(body.as_bytes()),
        "xml" => document::xml(body.as_bytes()),
        _ => return cloudevent(body),
    };
    if let Ok(document) = read {
        let (bytes, depth) = extent(&document);
        assert!(bytes <= body.len(), "{bytes} bytes of {}", body.len());
        assert!(depth <= document::DEPTH_MAX + 1, "{depth} deep");
    }
});
