//! Schemas for editors: they take what the readers take, and know every key that the readers know.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use diagnostic::{Node, Report, Source};
use serde_json::Value as Json;

use crate::accounts::accounts;
use crate::harness::{Folder, Sandbox, json_of, said};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn schema(of: &str) -> Json {
    json_of(&Folder::new().run(&["schema", of], &[]))
}

/// What a schema says is wrong with a text.
fn wrong(schema: &Json, text: &str) -> Vec<String> {
    let mut report = Report::new();
    let node = Node::parse(&Source::new("file.yaml", text), &mut report).expect("it is YAML");
    let validator = jsonschema::draft202012::new(schema).expect("it is a schema");
    validator
        .iter_errors(&node.to_json())
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// Files of this name below a folder.
fn files(folder: &Path, wanted: &dyn Fn(&str) -> bool, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            files(&path, wanted, found);
        } else if wanted(&name) {
            found.push(path);
        }
    }
}

/// The shipped configuration with the comment signs of its examples taken off.
fn configuration() -> String {
    let text = std::fs::read_to_string(root().join("interconnect.yaml")).expect("it ships");
    let lines = text.lines().map(|line| match line.strip_prefix("#  ") {
        Some(example) => format!("  {example}"),
        None => line
            .strip_suffix(": {}")
            .or(line.strip_suffix(": []"))
            .map_or(line.to_owned(), |key| format!("{key}:")),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_file_that_ships_or_is_made_is_taken() {
    let folder = Folder::new();
    let (code, _, stderr) = said(&folder.run(&["new", "connector", "acme", "--like", "webhook"], &[]));
    assert_eq!(code, Some(0), "{stderr}");
    for (of, kind, wanted) in [
        (
            "connector",
            "connectors",
            &(|name: &str| name == "connector.yaml") as &dyn Fn(&str) -> bool,
        ),
        ("mapping", "mappings", &|name: &str| name.ends_with(".yaml")),
        ("events", "events", &|name: &str| name.ends_with(".yaml")),
    ] {
        let mut found = Vec::new();
        files(&root().join(kind), wanted, &mut found);
        if kind != "events" {
            files(&folder.path(kind), wanted, &mut found);
        }
        assert!(found.len() > 3, "{found:?}");
        let schema = json_of(&folder.run(&["schema", of], &[]));
        for path in found {
            let text = std::fs::read_to_string(&path).expect("it can be read");
            assert_eq!(wrong(&schema, &text), Vec::<String>::new(), "{}", path.display());
        }
    }
    let text = configuration();
    assert!(
        text.contains("\n  crm:\n") || text.contains("\n    crm:\n"),
        "{text}"
    );
    assert_eq!(wrong(&schema("config"), &text), Vec::<String>::new(), "{text}");
}

#[test]
fn what_the_readers_refuse_is_refused() {
    let connector =
        std::fs::read_to_string(root().join("connectors/hubspot/connector.yaml")).expect("it ships");
    let mapping = std::fs::read_to_string(root().join("mappings/hubspot/deal.yaml")).expect("it ships");
    let config = "connections: { crm: { system: hubspot } }\nlimits: { workers_max: 4 }\n";
    for (of, text, from, to) in [
        (
            "connector",
            connector.as_str(),
            "extends: crm_object",
            "extend: crm_object",
        ),
        (
            "connector",
            connector.as_str(),
            "mode: authoritative",
            "mode: authoritativ",
        ),
        (
            "connector",
            connector.as_str(),
            "share_percent: 80",
            "share_percent: 800",
        ),
        ("connector", connector.as_str(), "kind: bearer", "kind: barer"),
        ("mapping", mapping.as_str(), "record: name", "record: nam"),
        (
            "mapping",
            mapping.as_str(),
            "object: dealname",
            "objekt: dealname",
        ),
        ("mapping", mapping.as_str(), "money:", "monei:"),
        ("config", config, "system: hubspot", "system: hubspott"),
        ("config", config, "workers_max: 4", "workers_max: 0"),
        ("config", config, "limits", "limit"),
    ] {
        let schema = schema(of);
        assert!(text.contains(from), "{from}");
        assert_eq!(wrong(&schema, text), Vec::<String>::new(), "{of}");
        assert!(
            !wrong(&schema, &text.replacen(from, to, 1)).is_empty(),
            "{of}: {to}"
        );
    }
}

#[test]
fn an_overlay_is_taken_as_the_reader_of_overlays_takes_it() {
    let mapping = "\
apiVersion: interconnect/v1
kind: Overlay
remove:
  fields: [{ record: next_steps }]
  constants: [LeadSource]
change:
  constants: { Region__c: EMEA }
  when: \"StageName != 'Draft'\"
add:
  fields: [{ record: lost_reason, object: Reason__c, lens: [ truncate: 40 ], coarse: true }]
  examples: [{ object: {}, record: {} }]
";
    let connector = "\
apiVersion: interconnect/v1
kind: Overlay
remove:
  objects: { Lead: { write: [bulk] } }
  limits: [{ name: daily }]
  templates: [row]
change:
  objects: { Account: { read: { changes: { page: 500 } } } }
first:
  errors: [{ when: { status: 418 }, class: transient, wait: 5s }]
add:
  objects: { Team__c: { extends: sobject } }
";
    for (of, text, mistakes) in [
        (
            "mapping-overlay",
            mapping,
            &[
                ("kind: Overlay", "kind: Mapping"),
                ("apiVersion: interconnect/v1\n", ""),
                ("record: next_steps", "record: next_step"),
                ("record: lost_reason", "record: lost_raeson"),
                ("fields: [{ record: next", "feilds: [{ record: next"),
                ("coarse: true", "coarse: maybe"),
                ("[LeadSource]", "LeadSource"),
                ("add:", "append:"),
            ][..],
        ),
        (
            "connector-overlay",
            connector,
            &[
                ("write: [bulk]", "write: [bulc]"),
                ("write: [bulk]", "write: { batch: 5 }"),
                ("page: 500", "pages: 500"),
                ("class: transient", "class: transitory"),
                ("extends: sobject", "extend: sobject"),
                ("templates: [row]", "templates: row"),
            ][..],
        ),
    ] {
        let schema = schema(of);
        assert_eq!(wrong(&schema, text), Vec::<String>::new(), "{of}");
        for (good, bad) in mistakes {
            assert_eq!(text.matches(good).count(), 1, "{good}");
            assert!(
                !wrong(&schema, &text.replacen(good, bad, 1)).is_empty(),
                "{of}: {bad}"
            );
        }
    }
}

/// Keys that a reader's source asks for: the first text behind `(` of a call with `report` or `fields` in it.
fn asked_in(text: &str) -> BTreeSet<String> {
    const READS: [&str; 24] = [
        ".text(",
        ".optional_text(",
        ".required(",
        ".optional(",
        ".optional_integer(",
        ".optional_bool(",
        ".list(",
        ".map(",
        ".texts(",
        ".choice(",
        ".optional_choice(",
        ".program(",
        ".optional_program(",
        ".call(",
        ".templates_of(",
        ".duration(",
        "named(",
        "one_of(",
        "secret::optional(",
        "span(",
        " read(",
        "number(",
        "template(",
        "any(",
    ];
    // The tests of a module do not read.
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut keys = BTreeSet::new();
    for read in READS {
        for (at, _) in text.match_indices(read) {
            let rest = text[at + read.len()..]
                .trim_start()
                .trim_start_matches("reader,")
                .trim_start_matches("&mut fields,")
                .trim_start_matches("fields,")
                .trim_start();
            let key = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
            keys.extend(key.map(|(key, _)| key.to_owned()));
        }
    }
    keys
}

fn keys_in(schema: &Json, keys: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        keys.extend(properties.keys().cloned());
    }
    match schema {
        Json::Object(map) => map.values().for_each(|value| keys_in(value, keys)),
        Json::Array(items) => items.iter().for_each(|value| keys_in(value, keys)),
        _ => {}
    }
}

/// Keys that no file can lead a reader to yet: no kind of record has a field that is true or false.
const NOWHERE: [&str; 2] = ["yes", "no"];

#[test]
fn every_key_that_the_readers_ask_for_is_in_the_schema() {
    for (of, readers, least) in [
        ("connector", &["src/connector/manifest"][..], 100),
        (
            "mapping",
            &[
                "src/mapping/compile.rs",
                "src/mapping/entry.rs",
                "src/mapping/spelling.rs",
                "src/mapping/example.rs",
            ],
            20,
        ),
        ("config", &["src/config.rs", "src/config"], 40),
    ] {
        let mut asked = BTreeSet::new();
        for reader in readers {
            let path = root().join(reader);
            let mut sources = Vec::new();
            if path.is_dir() {
                files(&path, &|name| name.ends_with(".rs"), &mut sources);
            } else {
                sources.push(path);
            }
            for source in sources {
                asked.extend(asked_in(
                    &std::fs::read_to_string(source).expect("it can be read"),
                ));
            }
        }
        let mut known = BTreeSet::new();
        keys_in(&schema(of), &mut known);
        let missing: Vec<&String> = asked
            .difference(&known)
            .filter(|key| !NOWHERE.contains(&key.as_str()))
            .collect();
        assert!(asked.len() >= least, "{of}: {asked:?}");
        assert!(
            missing.is_empty(),
            "{of}: lead the reader there in src/cli/schema/{of}.yaml: {missing:?}"
        );
    }
}

#[test]
fn schemas_are_written_for_an_editor() {
    let folder = Folder::new();
    let (code, stdout, stderr) = said(&folder.run(&["schema", "--write"], &[]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        stdout,
        "schemas/connector.schema.json\nschemas/mapping.schema.json\nschemas/config.schema.json\nschemas/events.schema.json\n\
         schemas/connector-overlay.schema.json\nschemas/mapping-overlay.schema.json\n"
    );
    let text = std::fs::read_to_string(folder.path("schemas/mapping.schema.json")).expect("it is written");
    assert_eq!(
        serde_json::from_str::<Json>(&text).expect("it is JSON"),
        schema("mapping")
    );
    let (code, _, _) = said(&folder.run(&["schema"], &[]));
    assert_eq!(code, Some(2));
}

#[test]
fn live_fields_are_what_may_stand_on_the_right() {
    let sandbox = Sandbox::start(&[]);
    let (folder, secrets) = accounts(&sandbox);
    let live = json_of(&folder.run(&["schema", "mapping", "--live"], &secrets));
    let text = |object: &str| {
        format!(
            "apiVersion: interconnect/v1\nkind: Mapping\nsystem: hubspot\nobject: deals\nrecord: deal\n\
             fields:\n  - {{ record: name, object: {object} }}\n"
        )
    };
    assert_eq!(wrong(&live, &text("dealname")), Vec::<String>::new());
    assert_eq!(
        wrong(&live, &text("associations.companies")),
        Vec::<String>::new()
    );
    assert!(!wrong(&live, &text("dealnam")).is_empty());
    // Without asking, nobody knows.
    assert_eq!(wrong(&schema("mapping"), &text("dealnam")), Vec::<String>::new());
}
