//! The catalogue that ships, one of a customer, and what both say of events that are wrong.

use std::collections::BTreeSet;

use diagnostic::{Report, Source};
use model::{EVENT_TYPES, EventType};
use serde_json::{Value as Json, json};

use crate::Catalogue;

/// A type with two versions, as a customer writes one.
const QUOTE: &str = "
version: 1
events:
  - type: custom.acme.quote_sent
    doc: a quote went out
    versions:
      - version: 1
        schema: { required: [id], properties: { id: { type: string } } }
        sample: { id: Q-1 }
      - version: 2
        schema:
          required: [id, pages]
          properties: { id: { type: string }, pages: { type: integer, minimum: 1 }, deal: { $ref: \"#/$defs/deal\" } }
        sample: { id: Q-1, pages: 2, deal: { name: Solar park } }
";

fn with_quotes() -> Catalogue {
    let mut report = Report::new();
    let catalogue = Catalogue::read(&[Source::new("acme.yaml", QUOTE)], &mut report);
    assert!(report.is_empty(), "{}", report.render(false));
    catalogue
}

fn event_type(name: &str) -> EventType {
    EventType::parse(name).unwrap()
}

#[test]
fn every_type_of_the_hub_has_a_schema_and_a_sample() {
    let mut report = Report::new();
    let catalogue = Catalogue::read(&[], &mut report);
    assert!(report.is_empty(), "{}", report.render(false));
    let described: BTreeSet<&str> = catalogue.types().map(|info| info.name.as_str()).collect();
    assert_eq!(described, BTreeSet::from(EVENT_TYPES));
    for info in catalogue.types() {
        for version in &info.versions {
            let told = catalogue.check(&event_type(&info.name), Some(version.version), &version.sample);
            assert_eq!(told, Ok(()), "the sample of {}", info.name);
        }
    }
}

/// Nothing is forbidden in `data`, so a schema does not tell that a sample names a field that does not exist.
#[test]
fn the_samples_of_the_hub_hold_only_what_exists() {
    let catalogue = Catalogue::own();
    let mut unknown = Vec::new();
    for info in catalogue.types() {
        for version in &info.versions {
            let schema = catalogue.schema(&info.name, version.version).unwrap();
            let data = &schema["properties"]["data"];
            walk(&schema, &[data], &version.sample, &info.name, &mut unknown);
        }
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Notes the names in a value that none of the schemas knows.
fn walk(root: &Json, schemas: &[&Json], value: &Json, at: &str, unknown: &mut Vec<String>) {
    let mut all = Vec::new();
    let mut open: Vec<&Json> = schemas.to_vec();
    while let Some(schema) = open.pop() {
        if let Some(to) = schema["$ref"].as_str() {
            open.push(root.pointer(&to[1..]).unwrap());
        }
        open.extend(schema["allOf"].as_array().into_iter().flatten());
        all.push(schema);
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let known: Vec<&Json> = all
            .iter()
            .filter_map(|schema| schema["properties"].get(name))
            .collect();
        let free = all
            .iter()
            .any(|schema| schema["additionalProperties"].is_object());
        match (known.is_empty(), free) {
            (true, true) => continue,
            (true, false) => unknown.push(format!("{at}.{name}")),
            (false, _) => {}
        }
        walk(root, &known, inner, &format!("{at}.{name}"), unknown);
    }
}

#[test]
fn what_is_wrong_is_told_by_place_and_rule_and_never_by_value() {
    let catalogue = with_quotes();
    let told = |name: &str, version: Option<u32>, data: Json| match catalogue.check(
        &event_type(name),
        version,
        &data,
    ) {
        Ok(()) => "right".to_owned(),
        Err(invalid) => invalid.to_string(),
    };
    let told: Vec<String> = [
        ("deal.won", None, json!({})),
        (
            "deal.won",
            None,
            json!({"id": 7, "name": "hunter2", "deal": {"amount": {"amount": 12.5}}}),
        ),
        (
            "deal.won",
            None,
            json!({"deal": {"amount": "hunter2", "stage": "hunter2", "closed_at": 5}}),
        ),
        ("deal.won", Some(2), json!({})),
        ("deal.merged", None, json!({"id": "D-1", "merged": 5})),
        ("custom.acme.quote_sent", None, json!({"id": "Q-1"})),
        ("custom.acme.quote_sent", Some(2), json!({"id": "Q-1"})),
        (
            "custom.acme.quote_sent",
            Some(2),
            json!({"id": "Q-1", "pages": 1, "deal": {"probability": "hunter2"}}),
        ),
        ("custom.acme.quote_sent", Some(3), json!({})),
        ("custom.acme.unheard_of", Some(3), json!({"anything": true})),
    ]
    .into_iter()
    .map(|(name, version, data)| told(name, version, data))
    .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    right
    right
    `data` is not that of `deal.won`, version 1: `data.deal.amount`: it is not of types "null", "object", `data.deal.closed_at`: it is not of types "null", "string", `data.deal.stage`: it is not one of "prospect", "qualified" or 6 other candidates; see /v1/event-types/deal.won
    `deal.won` has no version 2; there are: 1
    `data` is not that of `deal.merged`, version 1: `data.merged`: it is not of type "string"; see /v1/event-types/deal.merged
    right
    `data` is not that of `custom.acme.quote_sent`, version 2: `data`: "pages" is a required property; see /v1/event-types/custom.acme.quote_sent
    `data` is not that of `custom.acme.quote_sent`, version 2: `data.deal.probability`: it does not match "^-?[0-9]+(\.[0-9]+)?$"; see /v1/event-types/custom.acme.quote_sent
    `custom.acme.quote_sent` has no version 3; there are: 1, 2
    right
    "#);
    assert!(!told.join("").contains("hunter2"));
}

#[test]
fn a_schema_stands_alone_and_takes_its_sample() {
    let catalogue = with_quotes();
    for info in catalogue.types() {
        for version in &info.versions {
            let schema = catalogue.schema(&info.name, version.version).unwrap();
            let validator = jsonschema::draft202012::new(&schema).unwrap();
            let mut event = json!({
                "type": info.name, "version": version.version, "timestamp": "2026-11-26T09:00:00Z", "data": version.sample,
            });
            assert!(validator.is_valid(&event), "{}", info.name);
            event["type"] = json!("other");
            assert!(!validator.is_valid(&event), "{}", info.name);
        }
    }
    let schema = catalogue.schema("custom.acme.quote_sent", 2).unwrap();
    let defined: Vec<&String> = schema["$defs"].as_object().unwrap().keys().collect();
    assert_eq!(defined, ["deal"], "only what is needed");
}

#[test]
fn the_document_names_each_version_once_and_nothing_that_is_not_there() {
    let document = with_quotes().asyncapi("1.2.3");
    assert_eq!(
        (&document["asyncapi"], &document["info"]["version"]),
        (&json!("3.0.0"), &json!("1.2.3"))
    );
    let messages = document["components"]["messages"].as_object().unwrap();
    assert_eq!(messages.len(), EVENT_TYPES.len() + 2);
    let taken = document["channels"]["intake"]["messages"].as_object().unwrap();
    assert!(taken.contains_key("custom.acme.quote_sent.v2") && !taken.contains_key("endpoint.failing.v1"));
    let text = document.to_string();
    for (index, _) in text.match_indices("\"$ref\":\"#") {
        let to = text[index + 9..].split('"').next().unwrap();
        assert!(document.pointer(to).is_some(), "{to}");
    }
    assert!(
        !text.contains("#/$defs/"),
        "all references lead into the document"
    );
}
