//! What `connector.yaml` may say, read into structures the engine obeys.
//!
//! Every part is read by its own file with [`diagnostic::Fields`]; every template and program is compiled here, so that a
//! manifest that loads has no expression that could turn out to be misspelt later.

mod auth;
mod job;
mod limit;
mod object;
mod posted;
mod reader;
mod reading;
mod request;
mod rule;
mod stream;
mod verify;
mod webhook;
mod writing;

use std::collections::BTreeMap;

use diagnostic::{Fields, Node, Report, Source};

pub(crate) use auth::{ApiKey, Assertion, Auth, AuthKind, ClientAuth, Csrf, Login, OAuth};
pub(crate) use job::{Job, ReadJob, WriteJob};
#[cfg(test)]
pub(crate) use limit::Applies;
pub(crate) use limit::{Kind as LimitKind, Limit, Observe};
pub(crate) use object::{Association, AssociationWrite, Child, Discovery, Flat, Lookup, Object};
pub(crate) use reader::{Config, Reader};
pub use reading::Census;
pub(crate) use reading::{Changes, IdOrder, Mode, PageChanges, Pass, Step as PageStep, WindowChanges};
pub(crate) use request::{Answer, Body, Call, Expr, Rpc, Tree, Verb};
pub(crate) use rule::{ClassName, RecordRule, Rule, Wait};
pub(crate) use stream::{Protocol, Stream};
#[cfg(test)]
pub(crate) use verify::presets;
pub(crate) use verify::{
    Encoding, Hash, Part, Proof, Scheme, SecretForm, Sent, Signed, Slot, Told, Unit, Verify,
};
pub(crate) use webhook::{Challenge, Fixed, Form, Handshake, Webhooks, Written};
pub(crate) use writing::{Step, Strategy, Transitions, Write};

use crate::template::{Template, Templates};

/// The only version of the format so far.
const API_VERSION: &str = "interconnect/v1";

/// A manifest, read and compiled.
pub(crate) struct Manifest {
    pub(crate) system: String,
    pub(crate) title: String,
    /// Whether the objects are cut from what partners post, and nobody is called.
    pub(crate) posted: bool,
    pub(crate) templates: Templates,
    pub(crate) config: BTreeMap<String, Config>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) base_url: Template,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) rpc: Option<Rpc>,
    pub(crate) auth: Vec<Auth>,
    /// Nothing where nobody is called.
    pub(crate) identity: Option<Identity>,
    pub(crate) check: Option<Call>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) record_rules: Vec<RecordRule>,
    pub(crate) discovery: Option<Discovery>,
    pub(crate) objects: BTreeMap<String, Object>,
    pub(crate) webhooks: Option<Webhooks>,
    pub(crate) stream: Option<Stream>,
}

/// How the account is named.
pub(crate) struct Identity {
    pub(crate) request: Call,
    pub(crate) tenant: program::Program,
}

impl Manifest {
    /// Reads a manifest; notes everything that is wrong with it.
    pub(crate) fn read(source: &Source, report: &mut Report) -> Option<Manifest> {
        let before = report.errors();
        let root = Node::parse(source, report)?;
        let mut fields = Fields::open(&root, "a connector manifest", source, report)?;
        fields.choice("apiVersion", &[(API_VERSION, ())], report);
        fields.choice("kind", &[("Connector", ())], report);
        let (system, title) = metadata(&mut fields, source, report);
        let mut reader = Reader::new(source);
        reader.posted = fields.optional_bool("posted", report).unwrap_or(false);
        if reader.posted {
            posted::without_calls(&reader, &mut fields, report);
            let objects = object::read(&mut reader, &mut fields, report);
            fields.finish(report);
            return (report.errors() == before).then(|| Manifest::posted(system, title, objects));
        }
        let connection = Connection::read(&mut reader, &mut fields, report);
        let limits = limit::read(&mut fields, source, report);
        reader.groups = limits
            .iter()
            .filter_map(|l| l.applies.group().map(str::to_owned))
            .collect();
        let rules = rule::read_rules(&mut reader, &mut fields, report);
        let record_rules = rule::read_record_rules(&mut reader, &mut fields, report);
        let discovery = object::read_discovery(&mut reader, &mut fields, report);
        let objects = object::read(&mut reader, &mut fields, report);
        let webhooks = webhook::read(&mut reader, &mut fields, report);
        let stream = stream::read(&mut reader, &objects, &mut fields, report);
        fields.finish(report);
        reader.finish(report);
        // Something may be missing although no finding was noted here: an earlier call noted it.
        if report.errors() > before {
            return None;
        }
        let connection = connection?;
        Some(Manifest {
            system,
            title,
            posted: false,
            templates: reader.templates,
            config: reader.config,
            secrets: reader.secrets,
            base_url: connection.base_url,
            headers: connection.headers,
            rpc: reader.rpc,
            auth: connection.auth,
            identity: Some(connection.identity),
            check: connection.check,
            limits,
            rules,
            record_rules,
            discovery,
            objects,
            webhooks,
            stream,
        })
    }

    /// A manifest of objects that nobody asks for.
    fn posted(system: String, title: String, objects: BTreeMap<String, Object>) -> Manifest {
        Manifest {
            system,
            title,
            posted: true,
            templates: Templates::new(),
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
            base_url: Template::Literal("".into()),
            headers: Vec::new(),
            rpc: None,
            auth: Vec::new(),
            identity: None,
            check: None,
            limits: Vec::new(),
            rules: Vec::new(),
            record_rules: Vec::new(),
            discovery: None,
            objects,
            webhooks: None,
            stream: None,
        }
    }
}

fn metadata(fields: &mut Fields<'_>, source: &Source, report: &mut Report) -> (String, String) {
    let mut system = String::new();
    let mut title = String::new();
    if let Some(node) = fields.required("metadata", report)
        && let Some(mut meta) = Fields::open(node, "the metadata", source, report)
    {
        system = meta.text("name", report).unwrap_or_default().to_owned();
        meta.text("version", report);
        title = meta.text("title", report).unwrap_or_default().to_owned();
        meta.optional_text("docs", report);
        meta.finish(report);
    }
    (system, title)
}

struct Connection {
    base_url: Template,
    headers: Vec<(String, Template)>,
    auth: Vec<Auth>,
    identity: Identity,
    check: Option<Call>,
}

impl Connection {
    fn read(reader: &mut Reader<'_>, root: &mut Fields<'_>, report: &mut Report) -> Option<Connection> {
        let node = root.required("connection", report)?;
        let mut fields = Fields::open(node, "the connection", reader.source, report)?;
        reader.read_config(&mut fields, report);
        reader.read_rpc(&mut fields, report);
        let base_url = fields
            .required("base_url", report)
            .and_then(|n| reader.template(n, &["config", "auth"], report));
        let headers = reader.templates_of("headers", &mut fields, &["config"], report);
        let auth = auth::read(reader, &mut fields, report);
        let identity = fields.required("identity", report).and_then(|node| {
            let mut fields = Fields::open(node, "the identity", reader.source, report)?;
            let request = reader.call("request", &mut fields, &[], report);
            let tenant = reader.program("tenant", &mut fields, &["config", "headers", "status"], report);
            fields.finish(report);
            Some(Identity {
                request: request?,
                tenant: tenant?,
            })
        });
        let check = fields.optional("check").and_then(|node| {
            let mut fields = Fields::open(node, "the check", reader.source, report)?;
            let request = reader.call("request", &mut fields, &[], report);
            fields.finish(report);
            request
        });
        fields.finish(report);
        Some(Connection {
            base_url: base_url?,
            headers,
            auth,
            identity: identity?,
            check,
        })
    }
}
