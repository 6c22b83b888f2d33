//! `interconnect new`: a connector and its mappings to start from, which pass every check as they stand; and what ships, as
//! files of one's own.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{Common, Exit, Out};
use crate::catalogue;
use crate::config::DEFAULT;

/// What to make.
#[derive(Subcommand)]
pub(crate) enum NewCommand {
    /// A connector and its mappings, with comments that teach; they pass `check` and `test` as they stand.
    #[command(after_help = "Examples:\n  interconnect new connector pipeline\n  \
        interconnect new connector pipeline --like webhook --folder partners\n\n\
        Exits 2 and writes nothing when something is there already.")]
    Connector(ConnectorArgs),
    /// The configuration that ships, in which every key is documented, as the file that --config names.
    #[command(
        after_help = "Example:\n  interconnect new configuration\n\nExits 2 and writes nothing when the file is there already."
    )]
    Configuration,
    /// The connector and the mappings of a system as they ship, as files of your own, which go before them.
    ///
    /// What is only to be set or added is better said in a file with `kind: Overlay`, which keeps changing with the releases.
    #[command(
        after_help = "Example:\n  interconnect new copy hubspot --folder partners\n\n\
        Exits 2 and writes nothing when something is there already."
    )]
    Copy(CopyArgs),
}

/// What is copied, and where to.
#[derive(Args)]
pub(crate) struct CopyArgs {
    /// The system.
    system: String,
    /// Where connectors/ and mappings/ lie; beside the configuration file when nothing is said.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Which connector.
#[derive(Args)]
pub(crate) struct ConnectorArgs {
    /// The system's name in lower case; its folders are named after it.
    name: String,
    /// Where connectors/ and mappings/ lie; beside the configuration file when nothing is said.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// What it starts from.
    #[arg(long, value_name = "KIND", default_value = "rest")]
    like: Like,
}

/// What a connector starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Like {
    /// A JSON API that is asked for changes.
    Rest,
    /// The same, and it sends webhooks.
    Webhook,
}

/// Where a file goes, and what stands in it.
const FILES: [(&str, &str); 10] = [
    ("connectors/__NAME__/README.md", include_str!("new/README.md")),
    (
        "connectors/__NAME__/samples/changes.json",
        include_str!("new/samples/changes.json"),
    ),
    (
        "connectors/__NAME__/samples/changes-request.json",
        include_str!("new/samples/changes-request.json"),
    ),
    (
        "connectors/__NAME__/samples/error-validation.json",
        include_str!("new/samples/error-validation.json"),
    ),
    (
        "connectors/__NAME__/samples/fields.json",
        include_str!("new/samples/fields.json"),
    ),
    (
        "connectors/__NAME__/samples/update.json",
        include_str!("new/samples/update.json"),
    ),
    (
        "connectors/__NAME__/samples/upsert.json",
        include_str!("new/samples/upsert.json"),
    ),
    (
        "mappings/__NAME__/partner.yaml",
        include_str!("new/mappings/partner.yaml"),
    ),
    (
        "mappings/__NAME__/lead.yaml",
        include_str!("new/mappings/lead.yaml"),
    ),
    (
        "mappings/__NAME__/deal.yaml",
        include_str!("new/mappings/deal.yaml"),
    ),
];
const MANIFEST: (&str, &str) = (
    "connectors/__NAME__/connector.yaml",
    include_str!("new/connector.yaml"),
);
const WEBHOOKS: &str = include_str!("new/webhooks.yaml");
const WEBHOOK_SAMPLE: (&str, &str) = (
    "connectors/__NAME__/samples/webhook.json",
    include_str!("new/samples/webhook.json"),
);
const WEBHOOK_SECRET: &str = "    webhook_secret: Settings > Webhooks > Secret";
/// The line of the manifest where the secret of webhooks is declared.
const SECRET_LINE: &str = "__WEBHOOK_SECRET__\n";
/// The name of a configuration when none is said.
const CONFIGURATION: &str = "interconnect.yaml";
/// Written only where there is no configuration yet.
const NEW_CONFIGURATION: &str = "# Every key is documented in the one that ships: interconnect --config other.yaml new configuration\n\
                                 connectors: ./connectors\nmappings: ./mappings\n";
/// Characters that a system's name may have.
const NAME_CHARS_MAX: usize = 64;

pub(crate) fn run(command: &NewCommand, common: &Common, out: &Out) -> Exit {
    let beside = |folder: &Option<PathBuf>| match folder {
        Some(folder) => folder.join(CONFIGURATION),
        None => common.config.clone(),
    };
    let (config, made, tried) = match command {
        NewCommand::Connector(args) => {
            let config = beside(&args.folder);
            let made = connector(args, &config);
            (config, made, Some(&args.name))
        }
        NewCommand::Configuration => {
            let config = common.config.clone();
            let made = configuration(&config);
            (config, made, None)
        }
        NewCommand::Copy(args) => {
            let config = beside(&args.folder);
            let made = copy(&args.system, &config);
            (config, made, Some(&args.system))
        }
    };
    match made {
        Ok((written, hint)) => {
            let shown: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
            out.data(json!({"written": shown}), || shown.join("\n"));
            hint.iter().for_each(|hint| out.note(hint));
            let with = if config == Path::new(CONFIGURATION) {
                String::new()
            } else {
                format!(" --config {}", config.display())
            };
            let tried = tried.map_or_else(String::new, |name| {
                format!("; interconnect test {name}{with}; interconnect try {name} deal{with}")
            });
            out.note(&format!("next: interconnect check --all{with}{tried}"));
            Exit::Ok
        }
        Err((exit, error)) => {
            out.fails(&error);
            exit
        }
    }
}

/// What was written, and what is left to do in the configuration.
type Made = (Vec<PathBuf>, Option<String>);

/// Writes the folders beside a configuration, and the configuration when it is not there.
fn connector(args: &ConnectorArgs, config: &Path) -> Result<Made, (Exit, String)> {
    let usage = |error: String| (Exit::Usage, error);
    is_name(&args.name).map_err(usage)?;
    must_be_new(&args.name, config).map_err(usage)?;
    write_all(files(&args.name, args.like), config)
}

/// Writes the configuration that ships.
fn configuration(config: &Path) -> Result<Made, (Exit, String)> {
    if config.exists() {
        let error = format!(
            "{} is there already; name another file with --config",
            config.display()
        );
        return Err((Exit::Usage, error));
    }
    write_new(config, DEFAULT).map_err(|error| {
        let error = format!("{} cannot be written: {error}", config.display());
        (Exit::Failed, error)
    })?;
    Ok((vec![config.to_owned()], None))
}

/// Writes the files that ship for a system.
fn copy(system: &str, config: &Path) -> Result<Made, (Exit, String)> {
    let usage = |error: String| (Exit::Usage, error);
    let files: Vec<(String, String)> = catalogue::shipped(system)
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .collect();
    if files.is_empty() {
        let hint = diagnostic::suggestion(system, catalogue::shipped_systems());
        return Err(usage(format!("no connector ships for `{system}`; {hint}")));
    }
    must_be_new(system, config).map_err(usage)?;
    write_all(files, config)
}

/// The folder beside a configuration in which those of a kind are.
fn folder_of(kind: &str, config: &Path) -> PathBuf {
    config.parent().unwrap_or(Path::new("")).join(kind)
}

fn must_be_new(system: &str, config: &Path) -> Result<(), String> {
    for kind in ["connectors", "mappings"] {
        let folder = folder_of(kind, config).join(system);
        if folder.exists() {
            return Err(format!(
                "{} is there already; choose another name, or move it",
                folder.display()
            ));
        }
    }
    Ok(())
}

/// Writes files beside a configuration, and the configuration when it is not there.
fn write_all(files: Vec<(String, String)>, config: &Path) -> Result<Made, (Exit, String)> {
    let files = files.into_iter();
    let mut made: Vec<(PathBuf, String)> = files
        .map(|(path, text)| (folder_of(&path, config), text))
        .collect();
    let configured = std::fs::read_to_string(config).ok();
    if configured.is_none() {
        made.push((config.to_owned(), NEW_CONFIGURATION.to_owned()));
    }
    let mut written = Vec::new();
    for (path, text) in made {
        write_new(&path, &text).map_err(|error| {
            (
                Exit::Failed,
                format!("{} cannot be written: {error}", path.display()),
            )
        })?;
        written.push(path);
    }
    let names_folders = |text: &String| {
        ["connectors:", "mappings:"]
            .iter()
            .all(|key| text.lines().any(|l| l.starts_with(key)))
    };
    let hint = configured.filter(|text| !names_folders(text)).map(|_| {
        format!(
            "add `connectors: ./connectors` and `mappings: ./mappings` to {}",
            config.display()
        )
    });
    Ok((written, hint))
}

fn is_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || name.len() > NAME_CHARS_MAX || !name.chars().all(fits) {
        return Err(format!(
            "`{name}` is not a name for a system; use lower-case letters, digits, `-` and `_`, {NAME_CHARS_MAX} at most"
        ));
    }
    if catalogue::ships(name) {
        return Err(format!(
            "a connector `{name}` ships already; name yours otherwise, or change a copy of it: interconnect new copy {name}"
        ));
    }
    Ok(())
}

/// Every file by its path, with the name put in.
fn files(name: &str, like: Like) -> Vec<(String, String)> {
    let (secret, end) = match like {
        Like::Rest => (String::new(), ""),
        Like::Webhook => (format!("{WEBHOOK_SECRET}\n"), WEBHOOKS),
    };
    let manifest = format!("{}{end}", MANIFEST.1.replace(SECRET_LINE, &secret));
    let title = title(name);
    let named = |text: &str| text.replace("__NAME__", name).replace("__TITLE__", &title);
    let samples = (like == Like::Webhook).then_some(WEBHOOK_SAMPLE);
    let others = FILES
        .into_iter()
        .chain(samples)
        .map(|(path, text)| (named(path), named(text)));
    std::iter::once((named(MANIFEST.0), named(&manifest)))
        .chain(others)
        .collect()
}

/// The name for people: `my-crm` is My Crm.
fn title(name: &str) -> String {
    let words = name
        .split(['-', '_'])
        .filter(|word| !word.is_empty())
        .map(|word| {
            let (first, rest) = word.split_at(1);
            format!("{}{rest}", first.to_uppercase())
        });
    words.collect::<Vec<_>>().join(" ")
}

/// Writes a file that must not be there yet.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = std::fs::File::create_new(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}
