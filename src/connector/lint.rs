//! [`Connector::lint`]: runs a manifest's expressions on the connector's own samples.
//!
//! A sample is a JSON file: what a system answered (or what a request must look like), which part of the manifest reads
//! it, and what that part must make of it.
//! An expression that compiles may still be wrong for what the system really sends; a sample shows it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use diagnostic::{Node, Place, Report, Source};
use jiff::Timestamp;
use outbound::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value as Json, json};

use crate::call::Caller;
use crate::classify::classify;
use crate::clock::SystemClock;
use crate::connection::{Connection, field_info};
use crate::connector::Connector;
use crate::expressions::over_answers;
use crate::failure::{Class, Failure};
use crate::limiter::Limiter;
use crate::manifest::{Association, Call, Changes, Object, Step, Strategy, Write};
use crate::names::{Names, scalar};
use crate::secret::Secrets;
use crate::settings::Settings;
use crate::webhook::hint;
use crate::zone::Zone;
use program::Program;

/// What a part of a manifest made of a sample, or why it could not.
pub(crate) type Made = Result<Json, String>;

impl Connector {
    /// Runs the samples; every difference is a finding at the sample's `expect`, and an expression that no sample
    /// reaches is a warning.
    pub fn lint(self: &Arc<Connector>, manifest: &Source, samples: &[Source]) -> Report {
        let mut report = Report::new();
        report.source(manifest);
        let Some(linter) = Linter::new(self) else {
            return report;
        };
        for sample in samples {
            linter.run(sample, &mut report);
        }
        linter.unreached(manifest, &mut report);
        report
    }
}

/// Runs samples, one after the other.
pub struct Linter {
    pub(crate) connection: Connection,
    reached: RefCell<BTreeSet<String>>,
    /// The sample at work.
    sample: RefCell<Json>,
}

impl Linter {
    /// Nothing when the HTTP client cannot be built, which says nothing about the manifest.
    pub fn new(connector: &Arc<Connector>) -> Option<Linter> {
        let manifest = &connector.manifest;
        let secrets: Secrets = manifest
            .secrets
            .keys()
            .map(|name| (name.clone(), "sample"))
            .collect();
        let http = outbound::Client::new(outbound::Limits::default(), outbound::Guard::public_only()).ok()?;
        let config = configured(connector, &Map::new());
        let caller = Caller {
            connector: Arc::clone(connector),
            settings: Settings::new("sample", config.clone(), secrets),
            config,
            http,
            clock: Arc::new(SystemClock),
            limiter: Arc::new(Limiter::new(&[])),
            lane: crate::lane::Lane::Live,
            held: Arc::default(),
            auth: 0,
            calls: Arc::default(),
            all_calls: Arc::default(),
            rehearsal: None,
        };
        Some(Linter::of(caller))
    }

    fn of(caller: Caller) -> Linter {
        Linter {
            connection: Connection {
                caller,
                looked_up: Arc::default(),
                kinds: Arc::default(),
                begun: Arc::default(),
            },
            reached: RefCell::default(),
            sample: RefCell::default(),
        }
    }

    /// Runs a sample; every difference is a finding at its `expect`.
    pub fn run(&self, source: &Source, report: &mut Report) {
        let Some(root) = Node::parse(source, report) else {
            return;
        };
        match self.configured(&root) {
            Some(other) => {
                other.one(source, &root, report);
                self.reached.borrow_mut().extend(other.reached.take());
            }
            None => self.one(source, &root, report),
        }
    }

    /// The same with the configuration that a sample says it is for, if it says one.
    pub(crate) fn configured(&self, root: &Node) -> Option<Linter> {
        let set = root.get("config")?.to_json();
        let config = configured(&self.connection.caller.connector, set.as_object()?);
        let mut caller = self.connection.caller.clone();
        caller.settings.config.clone_from(&config);
        caller.config = config;
        Some(Linter::of(caller))
    }

    /// Takes up a sample, and gives what it is about, its object and its body.
    pub(crate) fn take_up(&self, sample: &Json) -> (String, String, Json) {
        self.sample.replace(sample.clone());
        let text = |key: &str| sample[key].as_str().unwrap_or_default().to_owned();
        (text("about"), text("object"), self.unwrapped(&sample["body"]))
    }

    fn one(&self, source: &Source, root: &Node, report: &mut Report) {
        let sample = root.to_json();
        self.sample.replace(sample.clone());
        let expect = root.get("expect");
        let place = expect.map_or(root.place, |n| n.place);
        let place = Place {
            end: place.start + 1,
            ..place
        };
        if let Some((place, message, hint)) = self.astray(root) {
            return report.error("IC0221", source, place, message, hint);
        }
        match (self.made(&sample), expect.map(Node::to_json)) {
            (Err(message), _) => {
                let hint = "correct the manifest's expression, or the sample";
                report.error("IC0221", source, place, message, hint);
            }
            (Ok(_), None) => {
                let hint = "add `expect` with what must come out";
                report.error("IC0220", source, place, "the sample expects nothing", hint);
            }
            (Ok(made), Some(expected)) => {
                for difference in differences(&expected, &made) {
                    let hint = "correct the manifest's expression, or the sample";
                    report.error("IC0222", source, place, difference, hint);
                }
            }
        }
    }

    /// A sample that names no part of the manifest: where, what, and the fix.
    fn astray(&self, root: &Node) -> Option<(Place, String, String)> {
        if root.get("about").is_none() {
            let message = "the sample does not say what it is about".to_owned();
            let hint = "add `about` with one of: changes, by_ids, write, error, request, …; connectors/README.md lists all";
            return Some((root.place, message, hint.to_owned()));
        }
        let node = root.get("object")?;
        let name = node.text().unwrap_or_default();
        let objects = &self.connection.caller.manifest().objects;
        if objects.contains_key(name) {
            return None;
        }
        let hint = diagnostic::suggestion(name, objects.keys().map(String::as_str));
        Some((
            node.place,
            format!("`{name}` is not an object of the manifest"),
            hint,
        ))
    }

    fn made(&self, sample: &Json) -> Made {
        let text = |key: &str| sample[key].as_str().unwrap_or_default();
        let caller = &self.connection.caller;
        let body = &sample["body"];
        let rpc = caller.manifest().rpc.is_some();
        match text("about") {
            "error" => Ok(self.error(sample)),
            "identity" => {
                let identity = caller.manifest().identity.as_ref();
                let identity = identity.ok_or("nobody is called, so nobody says whose account it is")?;
                self.first(&identity.tenant, &self.unwrapped(body), &self.names("")?)
            }
            "fields" => self.fields(&self.unwrapped(body), text("object")),
            "webhook" => self.webhook(body),
            "request" => self.request(sample),
            "changes" => self.changes(text("object"), &self.unwrapped(body)),
            "posted" => self.posted(text("object"), text("source"), body),
            "count" => self.count(text("object"), body),
            "job" => self.job(text("object"), text("step"), body),
            "write_job" => self.write_job(text("object"), text("step"), sample),
            "by_ids" => self.by_ids(text("object"), &self.unwrapped(body)),
            "association" => self.association(text("object"), text("association"), &self.unwrapped(body)),
            "refused_association" => self.refused(text("object"), text("association"), body),
            "write" => self.written(sample, &self.unwrapped(body)),
            "find" => self.found(text("object"), &self.unwrapped(body)),
            "lookup" => self.looked_up(sample, &self.unwrapped(body)),
            "lookup_create" => self.made_for_lookup(text("object"), text("lookup"), &self.unwrapped(body)),
            other => Err(format!(
                "`{other}` is not something a sample can be about{}",
                if rpc { " at a system of remote calls" } else { "" }
            )),
        }
    }

    fn unwrapped(&self, body: &Json) -> Json {
        let remote = self.connection.caller.manifest().rpc.is_some();
        self.connection.caller.unwrapped(body.clone(), remote)
    }

    fn names(&self, object: &str) -> Result<Names, String> {
        if object.is_empty() {
            let config = self.connection.caller.config.clone();
            return Ok(self.answered(Names::default().with("config", config)));
        }
        Ok(self.object(object)?.1)
    }

    pub(crate) fn object(&self, name: &str) -> Result<(&Object, Names), String> {
        let (kind, names) = self.connection.object(name).map_err(|e| e.detail)?;
        Ok((kind, self.answered(names)))
    }

    /// Adds the headers and the status that the sample says the answer had.
    fn answered(&self, names: Names) -> Names {
        let sample = self.sample.borrow();
        let headers = sample["headers"].as_object().into_iter().flatten();
        let headers: Map<String, Json> = headers
            .map(|(name, value)| (name.to_lowercase(), value.clone()))
            .collect();
        names
            .with("headers", headers)
            .with("status", sample["status"].clone())
    }

    /// Runs a program and remembers that a sample reached it.
    fn ran(&self, program: &Program, input: &Json, names: &Names) -> Result<Vec<Json>, String> {
        self.reached.borrow_mut().insert(program.source().to_owned());
        program
            .run(input, &|name| names.get(name))
            .map_err(|e| e.to_string())
    }

    pub(crate) fn first(&self, program: &Program, input: &Json, names: &Names) -> Made {
        Ok(self
            .ran(program, input, names)?
            .into_iter()
            .next()
            .unwrap_or_default())
    }

    fn error(&self, sample: &Json) -> Json {
        let mut headers = HeaderMap::new();
        for (name, value) in sample["headers"].as_object().into_iter().flatten() {
            let name = HeaderName::from_bytes(name.to_lowercase().as_bytes());
            let value = HeaderValue::from_str(&scalar(value).unwrap_or_default());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.insert(name, value);
            }
        }
        let manifest = self.connection.caller.manifest();
        for rule in &manifest.rules {
            for program in [&rule.test, &rule.message, &rule.existing, &rule.field]
                .into_iter()
                .flatten()
            {
                if program.run(&sample["body"], &|_| None).is_ok() {
                    self.reached.borrow_mut().insert(program.source().to_owned());
                }
            }
        }
        let status = sample["status"]
            .as_u64()
            .and_then(|s| u16::try_from(s).ok())
            .unwrap_or(500);
        let now = Timestamp::UNIX_EPOCH;
        let (failure, wait) = classify(manifest, status, &headers, &sample["body"], now);
        shown_failure(&failure, wait)
    }

    fn fields(&self, body: &Json, object: &str) -> Made {
        let discovery = self.connection.caller.manifest().discovery.as_ref();
        let discovery = discovery.ok_or("the manifest does not say how to list fields")?;
        let items = self.ran(&discovery.items, body, &self.names(object)?)?;
        if let Some(bad) = items.iter().find(|item| field_info(item).is_none()) {
            return Err(format!("a field without a name: {bad}"));
        }
        Ok(Json::Array(items))
    }

    fn webhook(&self, body: &Json) -> Made {
        let webhooks = self.connection.caller.manifest().webhooks.as_ref();
        let webhooks = webhooks.ok_or("the manifest has no webhooks")?;
        let events = self.ran(&webhooks.events, body, &self.names("")?)?;
        if let Some(bad) = events.iter().find(|event| hint(event).is_none()) {
            return Err(format!("an event without object or id: {bad}"));
        }
        Ok(Json::Array(events))
    }

    fn rows(&self, kind: &Object, names: &Names, rows: Vec<Json>) -> Made {
        // A sample says nothing of where the system is; any place tells whether it is a local time.
        let zone = kind.zone.as_ref().and_then(|_| Zone::of("UTC").ok());
        let mut shown = Vec::new();
        for mut row in rows {
            crate::flat::project(kind, self.connection.suffix(), &mut row);
            let mut parts = Map::new();
            let programs = [
                ("id", Some(&kind.id)),
                ("modified", kind.modified.as_ref()),
                ("version", kind.version.as_ref()),
                ("deleted", kind.deleted.as_ref()),
                ("origin", kind.origin.as_ref()),
            ];
            for (name, program) in programs {
                if let Some(program) = program {
                    parts.insert(name.to_owned(), self.first(program, &row, names)?);
                }
            }
            if scalar(&parts["id"]).is_none() {
                return Err("an object without an id".to_owned());
            }
            if let Some(modified) = parts.get("modified").filter(|m| !m.is_null())
                && crate::zone::moment(modified, zone.as_ref()).is_none()
            {
                return Err(format!("`{modified}` is not a moment"));
            }
            for keep in kind.flat.values().filter_map(|flat| flat.keep.as_ref()) {
                self.first(keep, &row, &Names::default())?;
            }
            if let Some(merged) = &kind.merged {
                let merges = self.ran(merged, &row, names)?;
                if let Some(bad) = merges
                    .iter()
                    .find(|merge| crate::read::merged_into(merge).is_none())
                {
                    return Err(format!("a merge without `from` and `to`: {bad}"));
                }
                parts.insert("merged".to_owned(), Json::Array(merges));
            }
            parts.insert("body".to_owned(), row);
            shown.push(Json::Object(parts));
        }
        Ok(Json::Array(shown))
    }

    pub(crate) fn changes(&self, object: &str, body: &Json) -> Made {
        let (kind, names) = self.object(object)?;
        let changes = kind.changes.as_ref().ok_or("the object has no `read.changes`")?;
        let rows = self.ran(changes.records(), body, &names)?;
        let mut made = json!({});
        match changes {
            Changes::Windows(changes) => {
                made["done"] = match &changes.done {
                    Some(done) => self.first(done, body, &names)?,
                    None => json!((rows.len() as u64) < changes.page),
                };
            }
            Changes::Pages(changes) => {
                let step = self.connection.way_onward(&changes.next, &names);
                let next = step.map_err(|failure| failure.detail)?.program();
                for (name, program) in [
                    ("next", next),
                    ("done", changes.done.as_ref()),
                    ("delta", changes.delta.as_ref()),
                ] {
                    if let Some(program) = program {
                        made[name] = self.first(program, body, &names)?;
                    }
                }
            }
        }
        made["objects"] = self.rows(kind, &names, rows)?;
        Ok(made)
    }

    fn job(&self, object: &str, step: &str, body: &Json) -> Made {
        let (kind, names) = self.object(object)?;
        let bulk = kind.changes.as_ref().and_then(Changes::bulk);
        let bulk = bulk.ok_or("the object has no `read.changes.bulk`")?;
        if let Some(part) = bulk.part(step) {
            return self.first(&part.value, body, &names);
        }
        if step != "results" {
            return Err(format!(
                "`{step}` is not a step of a job: write create, state or results"
            ));
        }
        let rows = self.ran(&bulk.records, body, &names)?;
        let next = self.first(&bulk.next, body, &names)?;
        Ok(json!({"objects": self.rows(kind, &names, rows)?, "next": next}))
    }

    fn count(&self, object: &str, body: &Json) -> Made {
        let (kind, names) = self.object(object)?;
        let count = kind.count.as_ref().ok_or("the object has no `read.count`")?;
        let found = self.first(&count.value, body, &names)?;
        match found.as_u64().or_else(|| scalar(&found)?.parse().ok()) {
            Some(_) => Ok(found),
            None => Err(format!("`{found}` is not a number of objects")),
        }
    }

    fn write_job(&self, object: &str, step: &str, sample: &Json) -> Made {
        let (write, names) = self.writing(object)?;
        let bulk = write.bulk.as_deref().ok_or("the object has no `write.bulk`")?;
        let names = names.with("operation", sample["operation"].clone());
        let part = match (step, sample["table"].as_u64()) {
            ("find", _) => Some(&bulk.find),
            ("create", _) => Some(&bulk.job.create),
            ("state", _) => Some(&bulk.job.state),
            ("results", table) => bulk
                .results
                .get(table.and_then(|n| usize::try_from(n).ok()).unwrap_or(0)),
            _ => None,
        };
        let part = part.ok_or_else(|| {
            format!("`{step}` is not a step of a job: write find, create, state or results")
        })?;
        Ok(Json::Array(self.ran(&part.value, &sample["body"], &names)?))
    }

    pub(crate) fn by_ids(&self, object: &str, body: &Json) -> Made {
        let (kind, names) = self.object(object)?;
        let by_ids = kind.by_ids.as_ref().ok_or("the object has no `read.by_ids`")?;
        let rows = self.ran(&by_ids.records, body, &names)?;
        Ok(json!({"objects": self.rows(kind, &names, rows)?}))
    }

    fn associated(&self, object: &str, name: &str) -> Result<(&Association, Names), String> {
        let (kind, names) = self.object(object)?;
        let association = kind.associations.get(name);
        Ok((
            association.ok_or(format!("the object has no association `{name}`"))?,
            names,
        ))
    }

    fn association(&self, object: &str, name: &str, body: &Json) -> Made {
        let (association, names) = self.associated(object, name)?;
        let pairs = self.ran(&association.pairs, body, &names)?;
        let more = match &association.more {
            Some(more) => self.first(more, body, &names)?,
            None => json!({}),
        };
        Ok(json!({"pairs": pairs, "more": more}))
    }

    fn refused(&self, object: &str, name: &str, body: &Json) -> Made {
        let (association, names) = self.associated(object, name)?;
        let program = association.write.as_ref().and_then(|w| w.refused.as_ref());
        let program = program.ok_or("the association has no `write.refused`")?;
        Ok(Json::Array(self.ran(program, body, &names)?))
    }

    fn writing(&self, object: &str) -> Result<(&Write, Names), String> {
        let (kind, names) = self.object(object)?;
        let write = kind.write.as_ref().ok_or("the object has no `write`")?;
        Ok((write, names.with("key", write.key.clone())))
    }

    fn written(&self, sample: &Json, body: &Json) -> Made {
        let (write, names) = self.writing(sample["object"].as_str().unwrap_or_default())?;
        let step = step(write, sample["step"].as_str().unwrap_or_default())?;
        let names = names.with("batch", sample["batch"].clone());
        Ok(Json::Array(self.ran(&step.results, body, &names)?))
    }

    fn found(&self, object: &str, body: &Json) -> Made {
        let (write, names) = self.writing(object)?;
        let find = write
            .find
            .as_ref()
            .ok_or("the manifest does not say how to find the object")?;
        Ok(Json::Array(self.ran(&find.pairs, body, &names)?))
    }

    fn looked_up(&self, sample: &Json, body: &Json) -> Made {
        let text = |key: &str| sample[key].as_str().unwrap_or_default();
        let (kind, mut names) = self.object(text("object"))?;
        for asked in ["keys", "ids", "after"] {
            names = names.with(asked, sample["with"][asked].clone());
        }
        let name = text("lookup");
        let lookup = kind
            .lookups
            .get(name)
            .ok_or(format!("the object has no lookup `{name}`"))?;
        let pairs = Json::Array(self.ran(&lookup.pairs, body, &names)?);
        Ok(match &lookup.next {
            Some(next) => json!({"pairs": pairs, "next": self.first(next, body, &names)?}),
            None => pairs,
        })
    }

    fn made_for_lookup(&self, object: &str, name: &str, body: &Json) -> Made {
        let (kind, names) = self.object(object)?;
        let create = kind.lookups.get(name).and_then(|lookup| lookup.create.as_ref());
        let create = create.ok_or(format!("the object has no lookup `{name}` that creates"))?;
        self.first(&create.value, body, &names)
    }

    fn request(&self, sample: &Json) -> Made {
        let object = sample["object"].as_str().unwrap_or_default();
        let of = sample["of"].as_str().unwrap_or_default();
        let (kind, mut names) = self.object(object)?;
        let call = self.call(kind, of, sample)?;
        let auth_reply = &sample["auth_reply"];
        let context = sample["context"].as_object().cloned().unwrap_or_default();
        names = names
            .with("auth", json!({"reply": auth_reply}))
            .with("context", context.clone());
        for name in [
            "fields", "window", "last_id", "since", "limit", "ids", "after", "batch", "key", "keys", "pairs",
            "job",
        ] {
            if let Some(value) = sample["with"].get(name) {
                names = names.with(name, value.clone());
            }
        }
        let outgoing = self
            .connection
            .caller
            .outgoing(call, &names, Some(&context), auth_reply);
        outgoing.map(|o| o.shown()).map_err(|e| e.detail)
    }

    fn call<'k>(&self, kind: &'k Object, of: &str, sample: &Json) -> Result<&'k Call, String> {
        let none = || format!("the object has no request `{of}`");
        let association = || {
            let name = sample["association"].as_str().unwrap_or_default();
            kind.associations.get(name).ok_or_else(none)
        };
        let write = || kind.write.as_ref().ok_or_else(none);
        let lookup = || {
            let name = sample["lookup"].as_str().unwrap_or_default();
            kind.lookups.get(name).ok_or_else(none)
        };
        Ok(match of {
            "changes" => kind.changes.as_ref().ok_or_else(none)?.request(),
            "by_ids" => &kind.by_ids.as_ref().ok_or_else(none)?.request,
            "count" => &kind.count.as_ref().ok_or_else(none)?.request,
            "job" => {
                let bulk = kind.changes.as_ref().and_then(Changes::bulk).ok_or_else(none)?;
                let step = sample["step"].as_str().unwrap_or_default();
                bulk.part(step).map_or(&bulk.results, |part| &part.request)
            }
            "lookup" => &lookup()?.request,
            "lookup_create" => &lookup()?.create.as_ref().ok_or_else(none)?.request,
            "association" => &association()?.request,
            "set" => &association()?.write.as_ref().ok_or_else(none)?.set,
            "clear" => association()?
                .write
                .as_ref()
                .and_then(|w| w.clear.as_ref())
                .ok_or_else(none)?,
            "find" => &write()?.find.as_ref().ok_or_else(none)?.request,
            _ => &step(write()?, of)?.request,
        })
    }

    /// Warns about the expressions over answers that no sample ran.
    fn unreached(&self, manifest: &Source, report: &mut Report) {
        let reached = self.reached.borrow();
        let mut told = BTreeSet::new();
        for program in over_answers(&self.connection.caller.connector) {
            let source = program.source();
            if program.is_path() || reached.contains(source) || !told.insert(source.to_owned()) {
                continue;
            }
            report.warning(
                "IC0223",
                manifest,
                place_of(manifest, source),
                format!("no sample runs `{}`", program.name()),
                "add a file to samples/ with an answer that it reads",
            );
        }
    }
}

/// What a connection is configured with: what is set, else what is usual, else an address of nobody.
fn configured(connector: &Connector, set: &Map<String, Json>) -> Map<String, Json> {
    let keys = connector.manifest.config.iter();
    let value = |name: &String, usual: Option<&Json>| {
        let value = set.get(name).or(usual).cloned();
        value.unwrap_or_else(|| json!("https://sample.example"))
    };
    keys.map(|(name, key)| (name.clone(), value(name, key.default.as_ref())))
        .collect()
}

fn step<'w>(write: &'w Write, name: &str) -> Result<&'w Step, String> {
    let step = match (name, &write.strategy) {
        ("update", _) => Some(&write.update),
        ("delete", _) => write.delete.as_ref(),
        ("upsert", Strategy::Upsert(step)) => Some(step),
        ("create", Strategy::FindThenWrite(create)) => Some(create),
        _ => None,
    };
    step.ok_or_else(|| format!("`{name}` is not a step of writing this object"))
}

/// Where the first line of an expression stands in the file; the start of the file if it is written in another way.
fn place_of(manifest: &Source, source: &str) -> Place {
    let line = source.lines().next().unwrap_or_default();
    let byte = manifest.text.find(line).unwrap_or(0);
    let before = &manifest.text[..byte];
    let start = before.chars().count();
    Place {
        start,
        end: start + line.chars().count().max(1),
        line: before.matches('\n').count() + 1,
        column: before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1,
    }
}

fn shown_failure(failure: &Failure, wait: Option<u64>) -> Json {
    let mut shown = json!({"class": failure.class.name(), "detail": failure.detail, "wait_ms": wait});
    match &failure.class {
        Class::SchemaDrift { field } => shown["field"] = json!(field),
        Class::Duplicate { existing_id } => shown["existing_id"] = json!(existing_id),
        _ => {}
    }
    shown
}

/// Where what was made lacks what is expected; objects may have more, lists may not.
fn differences(expected: &Json, made: &Json) -> Vec<String> {
    let mut found = Vec::new();
    differ("", expected, made, &mut found);
    found
}

fn differ(path: &str, expected: &Json, made: &Json, found: &mut Vec<String>) {
    let here = if path.is_empty() { "the result" } else { path };
    match (expected, made) {
        (Json::Object(wanted), Json::Object(has)) => {
            for (key, value) in wanted {
                differ(
                    &format!("{path}.{key}"),
                    value,
                    has.get(key).unwrap_or(&Json::Null),
                    found,
                );
            }
        }
        (Json::Array(wanted), Json::Array(has)) if wanted.len() == has.len() => {
            for (number, (value, has)) in wanted.iter().zip(has).enumerate() {
                differ(&format!("{path}[{number}]"), value, has, found);
            }
        }
        (Json::Array(wanted), Json::Array(has)) => {
            found.push(format!(
                "{here} has {} entries, expected {}",
                has.len(),
                wanted.len()
            ));
        }
        _ if expected == made => {}
        _ => {
            let made = crate::failure::shortened(made.to_string());
            found.push(format!("{here} is {made}, expected {expected}"));
        }
    }
}
