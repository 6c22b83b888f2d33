//! The examples of every explanation, run: the wrong one is found under its code, the right one is not.
//!
//! An example of a connector or a mapping shows only what matters, so it is laid over a small file that is right.

use std::sync::Arc;

use connector::Connector;
use diagnostic::{Example, Node, Report, Source, explanations};
use mapping::{LiveField, Mapping};
use serde_json::Value as Json;

use crate::catalogue::Catalogue;
use crate::config::Config;

const CONNECTOR: &str = r#"
apiVersion: interconnect/v1
kind: Connector
metadata: { name: crm, version: 1.0.0, title: A CRM }
connection:
  config: { base_url: { default: "https://crm.example", help: the address of the API } }
  secrets: { api_key: Settings > API }
  base_url: "{{ config.base_url }}"
  auth: [ { kind: bearer, needs: [api_key], header: "Bearer {{ secrets.api_key }}" } ]
  identity: { request: { method: GET, path: /me }, tenant: .account }
objects:
  deals:
    id: .id
    modified: .updated_at
    read:
      changes:
        strategy: window_keyset
        passes: [ { mode: authoritative, lag: 1m } ]
        page: 100
        id_order: text
        request: { method: GET, path: /deals, query: { from: "{{ window.from }}", after: "{{ last_id }}" } }
        records: .data[]
      by_ids:
        batch: 100
        request: { method: GET, path: /deals, query: { ids: "{{ ids | join(',') }}" } }
        records: .data[]
    write:
      key: external_id
      batch: 1
      strategy: upsert
      upsert: { request: { method: PUT, path: "/deals/{{ batch[0].key }}" }, results: ".results[]" }
      update: { request: { method: PUT, path: "/deals/{{ batch[0].key }}" }, results: ".results[]" }
"#;

const MAPPING: &str = "
apiVersion: interconnect/v1
kind: Mapping
system: crm
object: deals
record: deal
fields:
  - { record: name, object: title }
  - { record: stage, object: stage }
examples:
  - object: { title: Rollout, stage: qualified }
    record: { name: Rollout, stage: qualified }
";

#[test]
fn examples_are_found_under_their_code() {
    for (base, report) in [
        (CONNECTOR, connector_findings(CONNECTOR, &[])),
        (MAPPING, mapping_findings(&Source::new("deal.yaml", MAPPING))),
    ] {
        assert!(report.is_empty(), "{base}{}", report.render(false));
    }
    let mut lies = Vec::new();
    for explanation in explanations() {
        let code = explanation.code;
        let (wrong, right) = explanation.examples();
        for (example, expected) in [(wrong.unwrap(), true), (right.unwrap(), false)] {
            if example.language == "sh" {
                assert!(!expected, "{code}: no command can be wrong");
                continue;
            }
            let report = findings(code, &example);
            let found = report.findings().iter().any(|finding| finding.code == code);
            if found != expected {
                lies.push(format!("{code}:\n{}\n{}", example.text, report.render(false)));
            }
        }
    }
    assert!(lies.is_empty(), "{}", lies.join("\n\n"));
}

fn findings(code: &str, example: &Example) -> Report {
    if code == "IC0006" {
        let shipped = Source::new("shipped.yaml", MAPPING);
        return mapping_findings(&shipped.under(Source::new("own.yaml", example.text)));
    }
    if code == "IC0162" {
        return folder_findings(example.text.lines());
    }
    if code.starts_with("IC033") {
        return live_findings(&Source::new("deal.yaml", laid_over(MAPPING, example.text)));
    }
    match (&code[..4], example.language) {
        ("IC02", "json") => connector_findings(CONNECTOR, &[Source::new("sample.json", example.text)]),
        ("IC02", _) => connector_findings(&laid_over(CONNECTOR, example.text), &[]),
        ("IC03", _) => mapping_findings(&Source::new("deal.yaml", laid_over(MAPPING, example.text))),
        ("IC04", _) => event_findings(example.text),
        _ => config_findings(example.text),
    }
}

fn connector_findings(text: &str, samples: &[Source]) -> Report {
    let mut report = Report::new();
    let source = Source::new("connector.yaml", text);
    if let Some(connector) = Connector::compile(&source, &mut report) {
        report.merge(Arc::new(connector).lint(&source, samples));
    }
    report
}

fn mapping_findings(source: &Source) -> Report {
    let mut report = Report::new();
    if let Some(mapping) = Mapping::compile(source, &mut report) {
        let sample = serde_json::json!({ "title": "Rollout", "stage": "qualified" });
        report.merge(mapping.lint(&[("deals.json".into(), sample)]));
    }
    report
}

/// Against an account whose deals have a title, a note, a stage, an owner that cannot be written, and a region that must
/// be there.
fn live_findings(source: &Source) -> Report {
    let field = |name: &str, options: &[&str]| LiveField {
        name: name.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        writable: name != "owner",
        required: name == "region",
    };
    let fields = [
        field("title", &[]),
        field("note", &[]),
        field("stage", &["qualified", "won"]),
        field("owner", &[]),
        field("region", &[]),
    ];
    let mut report = Report::new();
    if let Some(mapping) = Mapping::compile(source, &mut report) {
        report.merge(mapping.against(&fields));
    }
    report
}

fn event_findings(text: &str) -> Report {
    let mut report = Report::new();
    event::Catalogue::read(&[Source::new("acme.yaml", text)], &mut report);
    report
}

/// With the mapping above at each of these places.
fn folder_findings<'p>(paths: impl Iterator<Item = &'p str>) -> Report {
    let folder = tempfile::tempdir().unwrap();
    for path in paths {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, MAPPING).unwrap();
    }
    let mappings = folder.path().join("mappings");
    config_findings(&format!("mappings: {}\n", mappings.display()))
}

/// With the connector and the mapping above as the user's own.
fn config_findings(text: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("connectors/crm/connector.yaml", CONNECTOR),
        ("mappings/crm/deal.yaml", MAPPING),
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut text = text.to_owned();
    for kind in ["connectors", "mappings"] {
        if !text.contains(&format!("{kind}:")) {
            text.push_str(&format!("{kind}: {}\n", folder.path().join(kind).display()));
        }
    }
    let source = Source::new("interconnect.yaml", text);
    let mut report = Report::new();
    if let Some(config) = Config::read(&source, &mut report) {
        let catalogue = Catalogue::load(&config, &source, &mut report);
        if !report.has_errors() {
            crate::hub::would_refuse(&config, &catalogue, &source, &mut report);
        }
    }
    report
}

/// A file with the keys of a piece in it; lists are replaced, maps are not.
fn laid_over(base: &str, piece: &str) -> String {
    let read = |text: &str| {
        let mut report = Report::new();
        let node = Node::parse(&Source::new("piece.yaml", text), &mut report);
        node.unwrap_or_else(|| panic!("{}", report.render(false)))
            .to_json()
    };
    let mut json = read(base);
    lay(&mut json, read(piece));
    // JSON is YAML.
    json.to_string()
}

fn lay(under: &mut Json, over: Json) {
    match (under, over) {
        (Json::Object(under), Json::Object(over)) => {
            for (key, value) in over {
                lay(under.entry(key).or_insert(Json::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}
