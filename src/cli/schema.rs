//! `interconnect schema`: JSON Schemas of the files, so that an editor completes and checks them while they are written.
//!
//! What a schema says is what the reader of the file asked for, see [`Grammar`]; the files in `schema/` lead the readers
//! everywhere. Only what the readers look up elsewhere is added: systems, fields of records, steps of a lens, and with
//! `--live` the fields of the connections' objects.

mod overlay;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use connector::Connector;
use diagnostic::{Grammar, Report, Source};
use mapping::{Mapping, STEPS};
use model::Kind;
use serde_json::{Value as Json, json};

use super::account::Account;
use super::{Common, Exit, Out};
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::hub;

/// The folder that schemas are written into when none is said.
const SCHEMAS: &str = "schemas";

/// Which schema, and where it goes.
#[derive(Args)]
#[command(after_help = "Examples:\n  interconnect schema mapping\n  \
    interconnect schema --write                 all of them, into schemas/ beside the configuration\n  \
    interconnect schema mapping --live          with the fields that the connections have now\n\n\
    An editor uses one by a line at the top of a file:\n  \
    # yaml-language-server: $schema=../../schemas/mapping.schema.json")]
pub(crate) struct SchemaArgs {
    /// Of which file.
    #[arg(required_unless_present = "write")]
    of: Option<File>,
    /// Write it, or all of them, into a folder; into schemas/ beside the configuration when none is said.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1)]
    write: Option<Option<PathBuf>>,
    /// Ask the connections for the fields of the objects that mappings read.
    #[arg(long)]
    live: bool,
}

/// A file that has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum File {
    /// `connectors/<system>/connector.yaml`.
    Connector,
    /// `mappings/<system>/<record>.yaml`.
    Mapping,
    /// `interconnect.yaml`.
    Config,
    /// `events/*.yaml`.
    Events,
    /// `connectors/<system>/connector.yaml` with `kind: Overlay`.
    ConnectorOverlay,
    /// `mappings/<system>/<record>.yaml` with `kind: Overlay`.
    MappingOverlay,
}

impl File {
    fn name(self) -> &'static str {
        match self {
            File::Connector => "connector",
            File::Mapping => "mapping",
            File::Config => "config",
            File::Events => "events",
            File::ConnectorOverlay => "connector-overlay",
            File::MappingOverlay => "mapping-overlay",
        }
    }
}

pub(crate) async fn run(args: &SchemaArgs, common: &Common, out: &Out) -> Exit {
    let (systems, live) = match known(args.live, common, out).await {
        Ok(known) => known,
        Err(exit) => return exit,
    };
    let schema = |file| schema(file, &systems, &live);
    match (&args.write, args.of) {
        (None, Some(file)) => {
            out.line(&format!("{:#}", schema(file)));
            Exit::Ok
        }
        (None, None) => Exit::Usage,
        (Some(folder), one) => {
            let beside = common.config.parent().unwrap_or(Path::new(""));
            let folder = folder.clone().unwrap_or_else(|| beside.join(SCHEMAS));
            let chosen = File::value_variants()
                .iter()
                .copied()
                .filter(|file| one.is_none_or(|one| one == *file));
            let written = chosen.map(|file| write(&folder, file, &schema(file)));
            match written.collect::<Result<Vec<String>, String>>() {
                Ok(written) => {
                    out.data(json!({"written": written}), || written.join("\n"));
                    Exit::Ok
                }
                Err(error) => out.fail(&error),
            }
        }
    }
}

fn write(folder: &Path, file: File, schema: &Json) -> Result<String, String> {
    let path = folder.join(format!("{}.schema.json", file.name()));
    let written =
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, format!("{schema:#}\n")));
    written.map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(path.display().to_string())
}

/// The fields that an object has now.
struct Live {
    system: String,
    object: String,
    fields: Vec<String>,
}

/// The systems at hand, and what the connections say of their objects. Without a configuration there are the shipped
/// systems.
async fn known(live: bool, common: &Common, out: &Out) -> Result<(Vec<String>, Vec<Live>), Exit> {
    let (config, catalogue) = match live {
        true => hub::load(&common.config, out)?,
        false => at_hand(common, out)?,
    };
    let systems = catalogue.systems().into_iter().map(str::to_owned).collect();
    let mut found: Vec<Live> = Vec::new();
    for name in config.connections.keys().filter(|_| live) {
        let account = Account::open(common, name, out).await?;
        for mapping in &account.mappings {
            let (system, object) = (mapping.system(), mapping.object());
            if found
                .iter()
                .any(|live| live.system == system && live.object == object)
            {
                continue;
            }
            let fields = account.fields(object, out).await?;
            found.push(Live {
                system: system.to_owned(),
                object: object.to_owned(),
                fields: fields.into_iter().map(|field| field.name).collect(),
            });
        }
    }
    Ok((systems, found))
}

/// The configuration with what is at hand; what ships, where there is none.
pub(super) fn at_hand(common: &Common, out: &Out) -> Result<(Config, Catalogue), Exit> {
    if common.config.exists() {
        hub::load(&common.config, out)
    } else {
        shipped().ok_or(Exit::Failed)
    }
}

/// What there is without any configuration.
fn shipped() -> Option<(Config, Catalogue)> {
    let (source, mut report) = (Source::new("interconnect.yaml", ""), Report::new());
    let config = Config::read(&source, &mut report)?;
    let catalogue = Catalogue::load(&config, &source, &mut report);
    Some((config, catalogue))
}

fn schema(file: File, systems: &[String], live: &[Live]) -> Json {
    match file {
        File::Connector => connector(),
        File::Mapping => mapping(systems, live),
        File::Config => config(systems),
        File::Events => events(),
        File::ConnectorOverlay => overlay::over(connector(), "overlay over a connector.yaml of Interconnect"),
        File::MappingOverlay => overlay::over(any_mapping(), "overlay over a mapping of Interconnect"),
    }
}

fn connector() -> Json {
    let source = Source::new("connector.yaml", include_str!("schema/connector.yaml"));
    let posted = Source::new("posted.yaml", include_str!("schema/posted.yaml"));
    let grammar = Grammar::of(|| {
        Connector::compile(&source, &mut Report::new());
        Connector::compile(&posted, &mut Report::new());
    });
    let mut schema = grammar.schema("connector.yaml of Interconnect");
    let objects = schema["$defs"]["a-connector-manifest"]["properties"]["objects"].clone();
    // An object takes from a template what it does not say itself; the reader sees both as one.
    schema["$defs"]["a-connector-manifest"]["properties"]["templates"] = objects;
    for object in ["an-object", "a-posted-object"] {
        schema["$defs"][object]["properties"]["extends"] = json!({"type": "string"});
    }
    schema
}

fn config(systems: &[String]) -> Json {
    let source = Source::new("interconnect.yaml", include_str!("schema/config.yaml"));
    let grammar = Grammar::of(|| {
        Config::read(&source, &mut Report::new());
    });
    let mut schema = grammar.schema("interconnect.yaml of Interconnect");
    schema["$defs"]["a-connection"]["properties"]["system"] = json!({"enum": systems});
    schema
}

fn events() -> Json {
    let source = Source::new("events.yaml", include_str!("schema/events.yaml"));
    let grammar = Grammar::of(|| {
        event::Catalogue::read(&[source], &mut Report::new());
    });
    grammar.schema("types of events of Interconnect")
}

fn mapping(systems: &[String], live: &[Live]) -> Json {
    let mut schema = mapping_of_anything();
    schema["$defs"]["a-mapping"]["properties"]["system"] = json!({"enum": systems});
    let by_kind = Kind::ALL.into_iter().map(fields_of_record);
    schema["$defs"]["a-mapping"]["allOf"] = by_kind.chain(live.iter().map(fields_of_object)).collect();
    schema
}

/// A mapping of which nobody knows what kind of record it is about: an overlay does not say it.
fn any_mapping() -> Json {
    let mut schema = mapping_of_anything();
    let mut paths: Vec<&str> = Kind::ALL
        .into_iter()
        .flat_map(|kind| kind.fields().map(|field| field.path))
        .collect();
    paths.sort_unstable();
    paths.dedup();
    schema["$defs"]["a-field"]["properties"]["record"] = one_or_several(&json!({"enum": paths}));
    schema
}

/// A path, or a list of paths.
fn one_or_several(path: &Json) -> Json {
    json!({"anyOf": [path, {"type": "array", "items": path}]})
}

fn mapping_of_anything() -> Json {
    let source = Source::new("mapping.yaml", include_str!("schema/mapping.yaml"));
    let grammar = Grammar::of(|| {
        Mapping::compile(&source, &mut Report::new());
    });
    let mut schema = grammar.schema("mapping of Interconnect");
    schema["$defs"]["a-field"]["properties"]["lens"] = lens();
    schema
}

/// A list of steps, or one; a step is a word, or a word with its options.
fn lens() -> Json {
    let options = json!({"anyOf": [{"$ref": "#/$defs/the-options-of-a-lens"}, {"not": {"type": "object"}}]});
    let with_options: serde_json::Map<String, Json> = STEPS
        .iter()
        // Words and values stand in an `enum`, not options.
        .map(|step| {
            (
                (*step).to_owned(),
                if *step == "enum" {
                    json!({"type": "object"})
                } else {
                    options.clone()
                },
            )
        })
        .collect();
    let step = json!({"anyOf": [
        {"enum": STEPS},
        {"type": "object", "properties": with_options, "additionalProperties": false, "maxProperties": 1},
    ]});
    json!({"anyOf": [step, {"type": "array", "items": step}]})
}

/// In a mapping of this kind, the left side of a line is one of its fields.
fn fields_of_record(kind: Kind) -> Json {
    let paths: Vec<&str> = kind.fields().map(|field| field.path).collect();
    let docs: Vec<&str> = kind.fields().map(|field| field.doc).collect();
    let path = json!({"enum": paths, "enumDescriptions": docs});
    let record = one_or_several(&path);
    json!({
        "if": {"properties": {"record": {"const": kind.name()}}, "required": ["record"]},
        "then": {"properties": {"fields": {"items": {"properties": {"record": record}}}}},
    })
}

/// In a mapping of this object, the right side of a line is one of its fields, or a walk into one.
fn fields_of_object(live: &Live) -> Json {
    let Live {
        system,
        object,
        fields,
    } = live;
    let name = json!({"anyOf": [{"enum": fields}, {"type": "string", "pattern": "\\."}]});
    let value = json!({"anyOf": [name, {"type": "array", "items": name}]});
    json!({
        "if": {
            "properties": {"system": {"const": system}, "object": {"const": object}},
            "required": ["system", "object"],
        },
        "then": {"properties": {"fields": {"items": {"properties": {"object": value}}}}},
    })
}
