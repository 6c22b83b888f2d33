//! One word per thing: what files, folders, modules and types may be called.

use crate::code::is_word;
use crate::tree::{File, paths, root, rust, verdict};

/// Drawers: names that say nothing about what lies inside.
const DRAWERS: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "shared", "misc", "core",
];

/// Products that have no Rust of their own outside the sandbox, besides every folder in `connectors/`.
const SYSTEMS: &[&str] = &[
    "salesforce",
    "hubspot",
    "tryton",
    "odoo",
    "netsuite",
    "sap",
    "dynamics",
    "dataverse",
    "erpnext",
    "frappe",
    "pipedrive",
    "zoho",
];

/// (forbidden word, the house's word)
const SYNONYMS: &[(&str, &str)] = &[
    ("integration", "connector, connection or sync"),
    ("provider", "system"),
    ("destination", "endpoint"),
    ("consumer", "endpoint, or worker for jobs"),
];

/// Keywords that a name is declared by.
const DECLARATIONS: &[&str] = &["struct", "enum", "trait", "type", "mod", "union"];

/// `HubspotDealPage` and `hubspot_deal_page` in lower-case words.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut after_lower = false;
    for character in name.chars() {
        if (character.is_uppercase() && after_lower) || !character.is_alphanumeric() {
            words.push(std::mem::take(&mut word));
        }
        after_lower = character.is_lowercase() || character.is_numeric();
        word.extend(character.to_lowercase().filter(|c| c.is_alphanumeric()));
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// (line, name) of every type, trait and module that a file declares.
fn declared(file: &File) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text, _) in file.code_lines() {
        let mut tokens = text
            .split(|c: char| !c.is_ascii() || !is_word(c as u8))
            .filter(|token| !token.is_empty());
        while let Some(token) = tokens.next() {
            if DECLARATIONS.contains(&token) {
                found.extend(tokens.next().map(|name| (line, name.to_owned())));
            }
        }
    }
    found
}

/// The systems by name: those known here and every connector that exists.
fn systems() -> Vec<String> {
    let connectors = paths()
        .iter()
        .filter_map(|path| path.strip_prefix("connectors/")?.split_once('/'));
    let folders = connectors
        .filter(|(_, rest)| rest.is_empty())
        .map(|(name, _)| name.to_lowercase());
    SYSTEMS
        .iter()
        .map(|name| (*name).to_owned())
        .chain(folders)
        .collect()
}

/// The last part of a path without its ending.
fn stem(path: &str) -> &str {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    name.split_once('.').map_or(name, |(stem, _)| stem)
}

#[test]
fn there_are_no_drawers() {
    let drawers = paths()
        .iter()
        .filter(|path| DRAWERS.contains(&stem(path).to_lowercase().as_str()));
    let mut findings: Vec<String> = drawers.map(|path| format!("{path}: a drawer")).collect();
    for file in rust() {
        let modules = declared(file)
            .into_iter()
            .filter(|(_, name)| DRAWERS.contains(&name.as_str()));
        findings.extend(modules.map(|(line, name)| format!("{}:{line}: module or type `{name}`", file.path)));
    }
    verdict(
        "Put each piece beside its one user, or find the noun that it is about.",
        &findings,
    );
}

#[test]
fn systems_are_data_and_have_no_rust() {
    let systems = systems();
    let is_system = |name: &str| words(name).into_iter().find(|word| systems.contains(word));
    let may_name = |path: &str| !path.starts_with("src/") || path.starts_with("src/sandbox/");
    let mut findings = Vec::new();
    for path in paths().iter().filter(|path| !may_name(path)) {
        findings
            .extend(is_system(stem(path)).map(|system| format!("{path}: named after the system {system}")));
    }
    for file in rust().filter(|file| !may_name(&file.path)) {
        for (line, name) in declared(file) {
            findings.extend(
                is_system(&name)
                    .map(|system| format!("{}:{line}: `{name}` is named after {system}", file.path)),
            );
        }
    }
    verdict(
        "Say it in connectors/<system>/connector.yaml or mappings/<system>/; \
         what they cannot say becomes a strategy named after the protocol, open to every connector.",
        &findings,
    );
}

#[test]
fn one_word_per_thing() {
    let mut findings = Vec::new();
    for file in rust().filter(|file| file.path.starts_with("src/")) {
        let module = (1, stem(&file.path).to_owned());
        for (line, name) in declared(file).into_iter().chain([module]) {
            for (forbidden, instead) in SYNONYMS {
                if words(&name)
                    .iter()
                    .any(|word| word.trim_end_matches('s') == *forbidden)
                {
                    findings.push(format!(
                        "{}:{line}: `{name}`: the house says {instead}",
                        file.path
                    ));
                }
            }
        }
    }
    findings.sort();
    findings.dedup();
    verdict(
        "Use the word of the glossary in ARCHITECTURE.md, everywhere the same.",
        &findings,
    );
}

#[test]
fn every_connector_folder_is_complete() {
    let mut findings = Vec::new();
    for folder in paths()
        .iter()
        .filter(|path| path.starts_with("connectors/") && path.matches('/').count() == 2)
    {
        if !folder.ends_with('/') {
            continue;
        }
        for needed in ["connector.yaml", "README.md"] {
            if !root().join(folder).join(needed).is_file() {
                findings.push(format!("{folder}{needed}: missing"));
            }
        }
        let samples = format!("{folder}samples/");
        if !paths()
            .iter()
            .any(|path| path.starts_with(&samples) && path.ends_with(".json"))
        {
            findings.push(format!("{samples}: no *.json"));
        }
    }
    verdict(
        "connectors/README.md is the standard: manifest, notes for people, and real samples that the tests replay.",
        &findings,
    );
}

#[test]
fn every_mapping_lies_where_it_is_looked_for() {
    let mut findings = Vec::new();
    let yaml =
        |path: &&String| path.starts_with("mappings/") && (path.ends_with(".yaml") || path.ends_with(".yml"));
    for path in paths().iter().filter(yaml) {
        let parts: Vec<&str> = path.split('/').collect();
        let [_, system, file] = parts[..] else {
            findings.push(format!("{path}: not at mappings/<system>/<record>.yaml"));
            continue;
        };
        if !["partner.yaml", "lead.yaml", "deal.yaml"].contains(&file) {
            findings.push(format!("{path}: `{file}` is no record kind"));
        }
        if !root()
            .join("connectors")
            .join(system)
            .join("connector.yaml")
            .is_file()
        {
            findings.push(format!("{path}: there is no connectors/{system}/connector.yaml"));
        }
    }
    verdict(
        "A mapping is mappings/<system>/partner.yaml, lead.yaml or deal.yaml, beside a connector of that name.",
        &findings,
    );
}

mod laws {
    use super::words;

    #[test]
    fn names_fall_into_words() {
        assert_eq!(words("HubspotDealPage"), ["hubspot", "deal", "page"]);
        assert_eq!(words("odata_v4-reader"), ["odata", "v4", "reader"]);
        assert_eq!(words("HTTPServer"), ["httpserver"]);
        assert_eq!(words("sapling"), ["sapling"]);
    }
}
