//! [`Catalogue`]: the connectors, mappings and types of events that are at hand, shipped with the binary or the user's own.
//!
//! A connector is `connectors/<system>/connector.yaml`, a mapping `mappings/<system>/<record>.yaml`, wherever the folder
//! lies. The user's file wins over a shipped one of the same place, or lies over it and changes it, when it is an
//! overlay.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use connector::{AuthInfo, Connector};
use diagnostic::{Place, Report, Source};
use mapping::Mapping;
use model::Kind;

use crate::config::{Config, ConnectionConfig, SyncConfig};
use crate::seal::MAKE_KEY;

/// Path and text of every file that ships.
const SHIPPED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shipped.rs"));
/// Where types of events lie; those that ship are the event crate's own.
const EVENTS: &str = "events";
/// The first character of a file, for what is wrong with all of it.
const START: Place = Place {
    start: 0,
    end: 1,
    line: 1,
    column: 1,
};
/// Bytes that a manifest, a mapping or a file of events may have.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The files at hand and what was compiled of them.
pub struct Catalogue {
    files: BTreeMap<String, Source>,
    connectors: BTreeMap<String, Arc<Connector>>,
    mappings: BTreeMap<(String, Kind), Arc<Mapping>>,
    events: Arc<event::Catalogue>,
}

impl Catalogue {
    /// Finds all files, and compiles those that the configuration uses; notes every finding.
    pub fn load(config: &Config, config_source: &Source, report: &mut Report) -> Catalogue {
        let mut files: BTreeMap<String, Source> = SHIPPED
            .iter()
            .map(|(path, text)| ((*path).to_owned(), Source::new(*path, *text)))
            .collect();
        let own = [
            ("connectors", &config.connectors),
            ("mappings", &config.mappings),
            (EVENTS, &config.events),
        ];
        for (kind, folder) in own
            .into_iter()
            .filter_map(|(kind, folder)| Some((kind, folder.as_ref()?)))
        {
            let mut strays = Vec::new();
            let listed = list(Path::new(folder), kind, &mut files, &mut strays);
            strays.sort_by(|one, other| one.file.cmp(&other.file));
            for stray in strays {
                let (what, hint) = match stray.file.ends_with(".yml") {
                    true => ("a file whose name ends with .yml", "call it .yaml".to_owned()),
                    false => ("a file of this name", lies_at(kind)),
                };
                report.warning("IC0162", &stray, START, format!("nobody reads {what}"), hint);
            }
            if let Err(error) = listed {
                let hint = match error.kind() {
                    std::io::ErrorKind::NotFound => format!("create it, or remove `{kind}:`"),
                    _ => "put right what cannot be read, or take it out of the folder".to_owned(),
                };
                report.error(
                    "IC0120",
                    config_source,
                    START,
                    format!("the folder `{folder}` cannot be read: {error}"),
                    hint,
                );
            }
        }
        let own_events: Vec<Source> = files
            .extract_if(EVENTS.to_owned().., |path, _| path.starts_with(EVENTS))
            .map(|(_, source)| source)
            .collect();
        let mut catalogue = Catalogue {
            files,
            connectors: BTreeMap::new(),
            mappings: BTreeMap::new(),
            events: Arc::new(event::Catalogue::read(&own_events, report)),
        };
        catalogue.compile_used(config, config_source, report);
        catalogue
    }

    /// The types of events.
    pub fn events(&self) -> &Arc<event::Catalogue> {
        &self.events
    }

    /// A compiled connector.
    pub fn connector(&self, system: &str) -> Option<&Arc<Connector>> {
        self.connectors.get(system)
    }

    /// A compiled mapping.
    pub fn mapping(&self, system: &str, kind: Kind) -> Option<&Arc<Mapping>> {
        self.mappings.get(&(system.to_owned(), kind))
    }

    /// The way to sign in that a connection goes by, if its connector has it.
    pub fn way(&self, connection: &ConnectionConfig) -> Option<AuthInfo> {
        let connector = self.connectors.get(&connection.system)?;
        way(connection, &connector.auth()).cloned()
    }

    /// The mappings of a system that are at hand, compiled now if need be; those with errors are noted and left out.
    pub fn mappings_of(&mut self, system: &str, report: &mut Report) -> Vec<Arc<Mapping>> {
        for kind in Kind::ALL {
            self.compile_mapping(system, kind, report);
        }
        let mappings = Kind::ALL
            .into_iter()
            .filter_map(|kind| self.mapping(system, kind));
        mappings.cloned().collect()
    }

    /// Names of the systems that have a connector, compiled or not.
    pub fn systems(&self) -> Vec<&str> {
        let connectors = self.files.keys().filter_map(|path| {
            path.strip_prefix("connectors/")?
                .strip_suffix("/connector.yaml")
                .filter(|s| !s.contains('/'))
        });
        connectors.collect()
    }

    /// The file of a connector.
    pub fn manifest(&self, system: &str) -> Option<&Source> {
        self.files.get(&format!("connectors/{system}/connector.yaml"))
    }

    /// The samples of a connector.
    pub fn samples(&self, system: &str) -> Vec<Source> {
        let prefix = format!("connectors/{system}/samples/");
        let samples = self.files.range(prefix.clone()..);
        let samples = samples.take_while(|(path, _)| path.starts_with(&prefix));
        samples.map(|(_, source)| source.clone()).collect()
    }

    /// The objects that the connector's samples hold for a mapping, each with the file of its sample; none for a mapping
    /// without expressions, which has no use for them.
    pub(crate) fn sampled(&self, mapping: &Mapping) -> Vec<(Arc<str>, serde_json::Value)> {
        let system = mapping.system();
        let Some(manifest) = self.manifest(system).filter(|_| mapping.computes()) else {
            return Vec::new();
        };
        let compiled = self.connectors.get(system).cloned();
        let connector = compiled.or_else(|| Connector::compile(manifest, &mut Report::new()).map(Arc::new));
        let sampled = connector.map(|connector| connector.sampled(&self.samples(system)));
        let of_object = sampled
            .into_iter()
            .flatten()
            .filter(|one| one.object == mapping.object());
        of_object.map(|one| (one.file, one.body)).collect()
    }

    /// The file of a mapping.
    pub fn mapping_file(&self, system: &str, kind: Kind) -> Option<&Source> {
        self.files.get(&format!("mappings/{system}/{kind}.yaml"))
    }

    /// Compiles every file at hand, not only those that are used.
    pub fn compile_all(&mut self, report: &mut Report) {
        let systems: Vec<String> = self.systems().into_iter().map(str::to_owned).collect();
        for system in systems {
            self.compile_connector(&system, report);
            for kind in Kind::ALL {
                self.compile_mapping(&system, kind, report);
            }
        }
    }

    /// How many connectors and mappings are compiled.
    pub fn compiled(&self) -> u64 {
        (self.connectors.len() + self.mappings.len()) as u64
    }

    /// A mapping, compiled now if need be; nothing when there is none, or when it has errors, which are noted.
    pub fn compiled_mapping(
        &mut self,
        system: &str,
        kind: Kind,
        report: &mut Report,
    ) -> Option<Arc<Mapping>> {
        self.compile_mapping(system, kind, report);
        self.mapping(system, kind).cloned()
    }

    /// Runs every check that needs no network on what is compiled: samples through the connectors' programs, examples
    /// and laws of the mappings. Says after each how many are done.
    pub fn lint(&self, report: &mut Report, done: &mut dyn FnMut(u64)) {
        let mut count = 0;
        let mut one_more = || {
            count += 1;
            done(count);
        };
        for (system, connector) in &self.connectors {
            let manifest = self.manifest(system).expect("what is compiled has a file");
            report.merge(connector.lint(manifest, &self.samples(system)));
            one_more();
        }
        for mapping in self.mappings.values() {
            report.merge(mapping.lint(&self.sampled(mapping)));
            one_more();
        }
    }

    fn compile_used(&mut self, config: &Config, source: &Source, report: &mut Report) {
        for (name, connection) in &config.connections {
            if self.compile_connector(&connection.system, report) {
                if let Some(connector) = self.connectors.get(&connection.system) {
                    fits(name, connection, connector, source, report);
                    if config.seal_keys.is_empty() {
                        stays_signed_in(name, connection, connector, source, report);
                    }
                }
                continue;
            }
            let what = format!(
                "connection `{name}` names the system `{}`, which has no connector",
                connection.system
            );
            let hint = diagnostic::suggestion(&connection.system, self.systems().into_iter());
            report.error("IC0121", source, connection.place, what, hint);
        }
        for sync in &config.syncs {
            let Some(connection) = config.connections.get(&sync.connection) else {
                continue;
            };
            if !self.compile_mapping(&connection.system, sync.record, report) {
                let path = format!("mappings/{}/{}.yaml", connection.system, sync.record);
                let what = format!(
                    "the sync of {} with `{}` has no mapping",
                    sync.record, sync.connection
                );
                report.error(
                    "IC0122",
                    source,
                    sync.place,
                    what,
                    format!("write {path}, or remove the sync"),
                );
            }
            self.maps_what_there_is(sync, &connection.system, source, report);
            self.posts_fit(sync, &connection.system, source, report);
            self.deletes_fit(config, sync, &connection.system, source, report);
        }
    }

    /// Notes a mapping of another system, or of an object that its connector does not have.
    fn maps_what_there_is(&self, sync: &SyncConfig, system: &str, source: &Source, report: &mut Report) {
        let (Some(mapping), Some(connector)) =
            (self.mapping(system, sync.record), self.connectors.get(system))
        else {
            return;
        };
        let file = format!("mappings/{system}/{}.yaml", sync.record);
        let mut error = |what: String, hint: String| report.error("IC0122", source, sync.place, what, hint);
        if mapping.system() != system {
            let what = format!("{file} says that it is of the system `{}`", mapping.system());
            error(what, format!("write `system: {system}` there"));
        }
        if !connector.objects().any(|object| object == mapping.object()) {
            let what = format!(
                "{file} maps `{}`, and {} has no such object",
                mapping.object(),
                connector.title()
            );
            error(
                what,
                diagnostic::suggestion(mapping.object(), connector.objects()),
            );
        }
    }

    /// Notes events that nothing is cut from, and objects that nobody posts.
    fn posts_fit(&self, sync: &SyncConfig, system: &str, source: &Source, report: &mut Report) {
        let Some(connector) = self.connectors.get(system) else {
            return;
        };
        let (what, hint) = match (connector.is_posted(), &sync.events) {
            (true, None) => (
                format!(
                    "the sync of {} with `{}` hears of no events, and nobody can be asked: its connector is `posted`",
                    sync.record, sync.connection
                ),
                "add for example `events: [ { types: [lead.*], from: [acme] } ]`".to_owned(),
            ),
            (false, Some(_)) => (
                format!(
                    "`events` makes no sense in the sync of {} with `{}`: {} is asked, and posts no events of the hub",
                    sync.record,
                    sync.connection,
                    connector.title()
                ),
                "take `events` out, or name a connection whose connector is `posted`, such as `system: portal`".to_owned(),
            ),
            _ => return,
        };
        report.error("IC0154", source, sync.place, what, hint);
    }

    /// Notes deletions that cannot be carried out, or that nobody carries out or tells of.
    fn deletes_fit(
        &self,
        config: &Config,
        sync: &SyncConfig,
        system: &str,
        source: &Source,
        report: &mut Report,
    ) {
        let (connection, record) = (&sync.connection, sync.record);
        let objects = self.connectors.get(system).zip(self.mapping(system, record));
        if let Some((connector, mapping)) = objects
            && sync.deletes.follow
            && !connector.deletes(mapping.object())
        {
            let what = format!(
                "`delete: true`, and the connector does not say how {} deletes `{}`",
                connector.title(),
                mapping.object()
            );
            let hint = format!(
                "take it out, so that what is there stays; or add `write.delete` (and `read.by_ids`) in an overlay of \
                 connectors/{system}/connector.yaml"
            );
            report.error("IC0126", source, sync.place, what, hint);
        }
        let of_others = |wanted: fn(&SyncConfig) -> bool| {
            let mut others = config.syncs.iter().filter(|other| other.record == record);
            others.any(|other| other.connection != *connection && wanted(other))
        };
        if sync.deletes.propagate && !of_others(|other| other.deletes.follow) {
            let what = format!(
                "a {record} deleted at `{connection}` is deleted nowhere else: no other sync of {record} has `delete: true`"
            );
            let hint =
                "write `delete: true` at the syncs whose objects are to go with it, or take `on_delete` out";
            report.warning("IC0127", source, sync.place, what, hint);
        }
        if sync.deletes.follow && !of_others(|other| other.deletes.propagate) {
            let what = format!(
                "nothing is ever deleted at `{connection}`: no other sync of {record} has `on_delete: propagate`"
            );
            let hint = "write `on_delete: propagate` at the sync whose deletions count, or take `delete` out";
            report.warning("IC0127", source, sync.place, what, hint);
        }
    }

    /// Compiles a connector once; says whether its file exists.
    fn compile_connector(&mut self, system: &str, report: &mut Report) -> bool {
        let Some(source) = self.manifest(system) else {
            return false;
        };
        if !self.connectors.contains_key(system)
            && let Some(connector) = Connector::compile(source, report)
        {
            self.connectors.insert(system.to_owned(), Arc::new(connector));
        }
        true
    }

    fn compile_mapping(&mut self, system: &str, kind: Kind, report: &mut Report) -> bool {
        let Some(source) = self.mapping_file(system, kind) else {
            return false;
        };
        let key = (system.to_owned(), kind);
        if !self.mappings.contains_key(&key)
            && let Some(mapping) = Mapping::compile(source, report)
        {
            self.mappings.insert(key, Arc::new(mapping));
        }
        true
    }
}

/// Whether a connector of this name ships.
pub(crate) fn ships(system: &str) -> bool {
    let path = format!("connectors/{system}/connector.yaml");
    SHIPPED.iter().any(|(shipped, _)| *shipped == path)
}

/// The files that ship for a system: paths and texts.
pub(crate) fn shipped(system: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let folders = ["connectors", "mappings"].map(|kind| format!("{kind}/{system}/"));
    let files = SHIPPED.iter().copied();
    files.filter(move |(path, _)| folders.iter().any(|folder| path.starts_with(folder)))
}

/// The systems of which a connector ships.
pub(crate) fn shipped_systems() -> impl Iterator<Item = &'static str> {
    let files = SHIPPED.iter().map(|(path, _)| *path);
    files.filter_map(|path| path.strip_prefix("connectors/")?.strip_suffix("/connector.yaml"))
}

/// The way to sign in that a connection chose, if its connector has it.
fn way<'w>(connection: &ConnectionConfig, ways: &'w [AuthInfo]) -> Option<&'w AuthInfo> {
    match &connection.auth {
        Some(wanted) => ways.iter().find(|way| way.name == *wanted),
        None => ways.first(),
    }
}

/// Notes a connection that would be locked out by a restart, because nothing seals its next refresh token.
fn stays_signed_in(
    name: &str,
    connection: &ConnectionConfig,
    connector: &Connector,
    source: &Source,
    report: &mut Report,
) {
    if way(connection, &connector.auth()).is_some_and(|way| way.refreshes) {
        let what = format!(
            "connection `{name}` signs in by a refresh token, and there is no `seal_key` to keep the next one with: \
             a restart would lock it out"
        );
        let hint = format!(
            "make one with `{MAKE_KEY}` and put it into INTERCONNECT_SEAL_KEY, or refer to it: \
             `seal_key: ${{file:/run/secrets/seal_key}}`"
        );
        report.error("IC0124", source, connection.place, what, hint);
    }
}

/// Notes what a connection says that its connector does not know, and what it lacks.
fn fits(
    name: &str,
    connection: &ConnectionConfig,
    connector: &Connector,
    source: &Source,
    report: &mut Report,
) {
    let (config, secrets, ways) = (connector.config(), connector.secrets(), connector.auth());
    let mut error = |what: String, hint: String| report.error("IC0123", source, connection.place, what, hint);
    for key in connection
        .config
        .keys()
        .filter(|key| !config.contains_key(key.as_str()))
    {
        let hint = diagnostic::suggestion(key, config.keys().copied());
        error(
            format!(
                "`config.{key}` of connection `{name}` is unknown at {}",
                connector.title()
            ),
            hint,
        );
    }
    for (key, value) in &connection.config {
        let (options, value) = (connector.config_options(key), value.as_str().unwrap_or_default());
        if !options.is_empty() && !options.iter().any(|option| option == value) {
            let hint = diagnostic::suggestion(value, options.iter().map(String::as_str));
            error(
                format!(
                    "`config.{key}` of connection `{name}` is `{value}`, expected one of {}",
                    options.join(", ")
                ),
                hint,
            );
        }
    }
    for key in connection
        .secrets
        .keys()
        .filter(|key| !secrets.contains_key(key.as_str()))
    {
        let hint = diagnostic::suggestion(key, secrets.keys().copied());
        error(
            format!(
                "`secrets.{key}` of connection `{name}` is unknown at {}",
                connector.title()
            ),
            hint,
        );
    }
    match (way(connection, &ways), &connection.auth) {
        (Some(way), _) => {
            for key in way
                .needs
                .iter()
                .filter(|key| !connection.secrets.contains_key(*key))
            {
                let help = secrets.get(key.as_str()).copied().unwrap_or_default();
                error(
                    format!(
                        "connection `{name}` lacks `secrets.{key}`, which `{}` needs",
                        way.name
                    ),
                    help.to_owned(),
                );
            }
        }
        (None, Some(wanted)) => {
            let hint = diagnostic::suggestion(wanted, ways.iter().map(|way| way.name.as_str()));
            error(
                format!(
                    "`auth: {wanted}` of connection `{name}` is no way to sign in at {}",
                    connector.title()
                ),
                hint,
            );
        }
        (None, None) => {}
    }
}

/// Whether a file that would ship under this name is read.
fn is_read(name: &str) -> bool {
    let is_of_records = |file: &str| {
        let record = file.strip_suffix(".yaml");
        record.is_some_and(|record| Kind::ALL.iter().any(|kind| kind.name() == record))
    };
    match name.split('/').collect::<Vec<_>>().as_slice() {
        ["mappings", _, file] => is_of_records(file),
        ["connectors", _, file] => *file == "connector.yaml",
        ["connectors", _, "samples", ..] => true,
        [EVENTS, ..] => true,
        // A folder may be the one that the configuration lies in.
        [_, file] => *file == "interconnect.yaml",
        _ => false,
    }
}

/// Where files of a kind lie.
fn lies_at(kind: &str) -> String {
    let records = Kind::ALL.map(Kind::name).join(", ");
    match kind {
        "mappings" => format!("a mapping is <system>/<record>.yaml, where a record is one of {records}"),
        _ => "a connector is <system>/connector.yaml, with samples in <system>/samples".to_owned(),
    }
}

/// Lists the YAML and JSON files below a folder under the names they would ship with, and those that nobody reads.
fn list(
    folder: &Path,
    name: &str,
    files: &mut BTreeMap<String, Source>,
    strays: &mut Vec<Source>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let below = format!("{name}/{}", file_name.to_string_lossy());
        let path = entry.path();
        if file_name.to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            list(&path, &below, files, strays)?;
        } else if path.extension().is_some_and(|e| e == "yml") {
            strays.push(Source::new(path.display().to_string(), ""));
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "json") {
            if entry.metadata()?.len() > FILE_BYTES_MAX {
                return Err(std::io::Error::other(format!(
                    "{} has more than {FILE_BYTES_MAX} bytes",
                    path.display()
                )));
            }
            let text = std::fs::read_to_string(&path)
                .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            let own = Source::new(path.display().to_string(), text);
            if !is_read(&below) {
                strays.push(own.clone());
            }
            let file = match files.get(&below) {
                Some(shipped) if own.is_overlay() => shipped.under(own),
                _ => own,
            };
            files.insert(below, file);
        }
    }
    Ok(())
}
