//! [`Catalogue`]: the types of events, read from files.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use diagnostic::{Fields, Node, Place, Report, Source};
use jsonschema::Validator;
use model::{EVENT_TYPES, EventType};
use serde_json::{Map, Value as Json, json};

use crate::record::{DEFINITIONS, definitions};

/// The hub's own types, as they ship: path and text of each file.
pub const OWN: [(&str, &str); 5] = [
    ("events/partner.yaml", include_str!("../../events/partner.yaml")),
    ("events/lead.yaml", include_str!("../../events/lead.yaml")),
    ("events/deal.yaml", include_str!("../../events/deal.yaml")),
    ("events/endpoint.yaml", include_str!("../../events/endpoint.yaml")),
    ("events/secret.yaml", include_str!("../../events/secret.yaml")),
];
/// Versions that a type may have.
pub const VERSIONS_MAX: i64 = 99;
/// Findings about one event that are told at most; a wrong event is often wrong everywhere alike.
const FINDINGS_MAX: usize = 5;
/// Characters of a finding's place: the names in it are the sender's.
const PLACE_CHARS_MAX: usize = 100;
/// What the names of types begin with that are not the hub's own.
const CUSTOM: &str = "custom.";

/// A type of event.
#[derive(Debug)]
pub struct TypeInfo {
    /// Its name.
    pub name: String,
    /// When it is said.
    pub doc: String,
    /// Its versions, oldest first; at least one.
    pub versions: Vec<VersionInfo>,
}

/// One version of a type.
pub struct VersionInfo {
    /// From 1.
    pub version: u32,
    /// What its `data` looks like: as the file has it, with references to the catalogue's definitions.
    pub(crate) schema: Json,
    /// The `data` of one.
    pub sample: Json,
    /// Compiled when it is first asked: most processes never see an event of most types.
    validator: OnceLock<Validator>,
}

impl fmt::Debug for VersionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionInfo")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Why an event is not what its type says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The type has no such version.
    #[error("`{event_type}` has no version {version}; there are: {known}")]
    NoVersion {
        /// The type.
        event_type: String,
        /// What was asked for.
        version: u32,
        /// What there is.
        known: String,
    },
    /// Its `data` does not fit the schema.
    #[error(
        "`data` is not that of `{event_type}`, version {version}: {findings}; see /v1/event-types/{event_type}"
    )]
    Data {
        /// The type.
        event_type: String,
        /// Its version.
        version: u32,
        /// By place, what is wrong; no values.
        findings: String,
    },
}

/// All types of events.
#[derive(Debug)]
pub struct Catalogue {
    types: BTreeMap<String, TypeInfo>,
    pub(crate) definitions: Map<String, Json>,
}

impl Catalogue {
    /// The hub's own types, read once.
    pub fn own() -> Arc<Catalogue> {
        static READ: LazyLock<Arc<Catalogue>> =
            LazyLock::new(|| Arc::new(Catalogue::read(&[], &mut Report::new())));
        READ.clone()
    }

    /// The hub's own types and those of a customer's files. Notes every finding; what has errors is left out.
    pub fn read(files: &[Source], report: &mut Report) -> Catalogue {
        let mut catalogue = Catalogue {
            types: BTreeMap::new(),
            definitions: definitions(),
        };
        for (path, text) in OWN {
            // Whether these are right is asked by the tests of this crate, not by each process that starts.
            catalogue.file(&Source::new(path, text), &EVENT_TYPES, report);
        }
        for file in files {
            catalogue.file(file, &[], report);
        }
        catalogue
    }

    /// All types, by name.
    pub fn types(&self) -> impl Iterator<Item = &TypeInfo> {
        self.types.values()
    }

    /// One type.
    pub fn get(&self, name: &str) -> Option<&TypeInfo> {
        self.types.get(name)
    }

    /// Whether `data` is what a version of a type says; the first version when none is said.
    ///
    /// A type under `custom.` that no file describes may carry anything.
    pub fn check(&self, event_type: &EventType, version: Option<u32>, data: &Json) -> Result<(), Invalid> {
        let version = version.unwrap_or(1);
        let Some(known) = self.get(event_type.name()) else {
            return Ok(());
        };
        let Some(info) = known.versions.iter().find(|info| info.version == version) else {
            let versions = known.versions.iter().map(|info| info.version.to_string());
            return Err(Invalid::NoVersion {
                event_type: known.name.clone(),
                version,
                known: versions.collect::<Vec<_>>().join(", "),
            });
        };
        let validator = info.validator.get_or_init(|| {
            let compiled = self.validator(&info.schema);
            compiled.expect("a schema that cannot be compiled is a finding, and its type left out")
        });
        // Most are right, and that is told without collecting anything.
        if validator.is_valid(data) {
            return Ok(());
        }
        Err(Invalid::Data {
            event_type: known.name.clone(),
            version,
            findings: findings(validator, data),
        })
    }

    /// A version of a type as one JSON Schema (2020-12) of the whole event, which stands alone.
    pub fn schema(&self, name: &str, version: u32) -> Option<Json> {
        let info = self.get(name)?;
        let mut schema = message(info, info.versions.iter().find(|info| info.version == version)?);
        let mut needed = Map::new();
        self.needed(&schema, &mut needed);
        schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        if !needed.is_empty() {
            schema["$defs"] = Json::Object(needed);
        }
        Some(schema)
    }

    /// Collects the definitions that a schema refers to, and those that they refer to.
    fn needed(&self, schema: &Json, needed: &mut Map<String, Json>) {
        match schema {
            Json::Object(map) => {
                let named = map.get("$ref").and_then(Json::as_str);
                let named = named.and_then(|to| to.strip_prefix(DEFINITIONS));
                if let Some((name, definition)) =
                    named.and_then(|name| Some((name, self.definitions.get(name)?)))
                    && !needed.contains_key(name)
                {
                    needed.insert(name.to_owned(), definition.clone());
                    self.needed(definition, needed);
                }
                map.values().for_each(|inner| self.needed(inner, needed));
            }
            Json::Array(items) => items.iter().for_each(|inner| self.needed(inner, needed)),
            _ => {}
        }
    }

    /// Reads a file. `own` are the names beside those under `custom.` that it may describe.
    fn file(&mut self, source: &Source, own: &[&str], report: &mut Report) {
        let Some(node) = Node::parse(source, report) else {
            return;
        };
        let Some(mut fields) = Fields::open(&node, "a file of events", source, report) else {
            return;
        };
        let _one = fields.optional_integer("version", 1..=1, report);
        for node in fields.list("events", report) {
            if let Some((place, info)) = self.event(node, own.is_empty(), source, report) {
                self.add(info, own, source, place, report);
            }
        }
        fields.finish(report);
    }

    fn add(&mut self, info: TypeInfo, own: &[&str], source: &Source, place: Place, report: &mut Report) {
        let name = &info.name;
        let allowed =
            own.contains(&name.as_str()) || (name.starts_with(CUSTOM) && EventType::parse(name).is_ok());
        if !allowed {
            report.error(
                "IC0401",
                source,
                place,
                format!("`{name}` is not a name for a type of your own"),
                format!(
                    "write `{CUSTOM}` and words of a-z, 0-9 and `_` with dots between: custom.acme.quote_sent"
                ),
            );
        } else if self.types.contains_key(name) {
            report.error(
                "IC0402",
                source,
                place,
                format!("`{name}` is described twice"),
                "keep one of the two; a new shape of it is a new entry in its `versions`",
            );
        } else {
            self.types.insert(name.clone(), info);
        }
    }

    fn event(
        &self,
        node: &Node,
        checked: bool,
        source: &Source,
        report: &mut Report,
    ) -> Option<(Place, TypeInfo)> {
        let mut fields = Fields::open(node, "a type of event", source, report)?;
        let name = fields.text("type", report);
        let place = fields.optional("type").map_or(fields.place(), |node| node.place);
        let doc = fields.text("doc", report);
        let mut versions: Vec<VersionInfo> = Vec::new();
        let nodes = fields.list("versions", report);
        for node in nodes {
            let Some((place, info)) = self.version(node, checked, source, report) else {
                continue;
            };
            if versions.last().is_some_and(|last| last.version >= info.version) {
                report.error(
                    "IC0402",
                    source,
                    place,
                    format!("version {} comes after a version that is not older", info.version),
                    "write each version once, oldest first",
                );
                continue;
            }
            versions.push(info);
        }
        fields.finish(report);
        let (name, doc) = (name?.to_owned(), doc?.to_owned());
        if nodes.is_empty() {
            report.error(
                "IC0403",
                source,
                place,
                format!("`{name}` has no version, so nobody knows what it looks like"),
                "add `versions: [{ version: 1, schema: {…}, sample: {…} }]`",
            );
        }
        (!versions.is_empty()).then_some((place, TypeInfo { name, doc, versions }))
    }

    fn version(
        &self,
        node: &Node,
        checked: bool,
        source: &Source,
        report: &mut Report,
    ) -> Option<(Place, VersionInfo)> {
        let mut fields = Fields::open(node, "a version of an event", source, report)?;
        let place = fields.place();
        let version = fields.optional_integer("version", 1..=VERSIONS_MAX, report);
        let schema = fields.required("schema", report);
        let sample = fields.required("sample", report);
        fields.finish(report);
        let version = version
            .and_then(|version| u32::try_from(version).ok())
            .unwrap_or(1);
        let (schema_node, sample_node) = (schema?, sample?);
        let (schema, sample) = (schema_node.to_json(), sample_node.to_json());
        let validator = OnceLock::new();
        if checked {
            let compiled = self.compiled(&schema, &sample, (schema_node, sample_node), source, report)?;
            let _first = validator.set(compiled);
        }
        let info = VersionInfo {
            version,
            schema,
            sample,
            validator,
        };
        Some((place, info))
    }

    /// A schema that its sample fits; what is wrong with either is noted.
    fn compiled(
        &self,
        schema: &Json,
        sample: &Json,
        (schema_node, sample_node): (&Node, &Node),
        source: &Source,
        report: &mut Report,
    ) -> Option<Validator> {
        let validator = self.validator(schema).map_err(|bad| {
            report.error(
                "IC0404",
                source,
                schema_node.place,
                format!("the schema cannot be used: {bad}"),
                "write JSON Schema 2020-12; `$ref` leads to the hub's own definitions alone: \"#/$defs/about_deal\"",
            );
        });
        let validator = validator.ok()?;
        if validator.is_valid(sample) {
            return Some(validator);
        }
        report.error(
            "IC0405",
            source,
            sample_node.place,
            format!(
                "the sample does not fit the schema: {}",
                findings(&validator, sample)
            ),
            "correct the one that is wrong: partners write their code by both",
        );
        None
    }

    /// A schema as it is checked by: it stands beside the definitions, and can reach nothing else.
    fn validator(&self, schema: &Json) -> Result<Validator, String> {
        let mut whole = json!({"allOf": [{"type": "object"}, schema]});
        let mut needed = Map::new();
        self.needed(schema, &mut needed);
        whole["$defs"] = Json::Object(needed);
        jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .build(&whole)
            .map_err(|error| error.to_string())
    }
}

/// A version of a type as the schema of the whole event.
pub(crate) fn message(info: &TypeInfo, version: &VersionInfo) -> Json {
    json!({
        "title": info.name,
        "description": info.doc,
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": info.name},
            "version": {"type": "integer", "const": version.version, "default": 1},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": version.schema,
        },
    })
}

/// What is wrong with a value, by place and rule.
fn findings(validator: &Validator, data: &Json) -> String {
    let found: Vec<String> = validator
        .iter_errors(data)
        .take(FINDINGS_MAX)
        .map(|error| {
            let place = error.instance_path().to_string().replace('/', ".");
            let place: String = format!("data{place}").chars().take(PLACE_CHARS_MAX).collect();
            // Values are the sender's, and may be a secret.
            format!("`{place}`: {}", error.masked_with("it"))
        })
        .collect();
    found.join(", ")
}
