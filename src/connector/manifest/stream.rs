//! How a system tells changes by itself, over a stream that we keep open.

use std::collections::BTreeMap;

use diagnostic::{Fields, Report};

use super::object::Object;
use super::reader::Reader;
use crate::template::Template;

/// A stream of changes.
pub(crate) struct Stream {
    pub(crate) protocol: Protocol,
    /// Where it is; an empty one means that a connection has none.
    pub(crate) address: Template,
    pub(crate) headers: Vec<(String, Template)>,
    /// The topic of each object.
    pub(crate) topics: BTreeMap<String, String>,
}

/// How it is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// gRPC, `eventbus.v1.PubSub`, with change events in Avro.
    PubSub,
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    objects: &BTreeMap<String, Object>,
    root: &mut Fields<'_>,
    report: &mut Report,
) -> Option<Stream> {
    let node = root.optional("stream")?;
    let mut fields = Fields::open(node, "the stream", reader.source, report)?;
    let protocol = fields.choice("protocol", &[("pubsub", Protocol::PubSub)], report);
    let address = fields
        .required("address", report)
        .and_then(|node| reader.template(node, &["config"], report));
    let headers = reader.templates_of(
        "headers",
        &mut fields,
        &["config", "auth", "token", "account"],
        report,
    );
    fields.required("topics", report);
    let mut topics = BTreeMap::new();
    for (object, place, node) in fields.map("topics", report) {
        // Where there are no objects at all, that is what is wrong.
        if !objects.is_empty() && !objects.contains_key(object) {
            let hint = diagnostic::suggestion(object, objects.keys().map(String::as_str));
            let message = format!("there is a topic of `{object}`, which is no object of this manifest");
            report.error("IC0209", reader.source, *place, message, hint);
        }
        match node.text() {
            Some(topic) => drop(topics.insert(object.clone(), topic.to_owned())),
            None => report.error(
                "IC0002",
                reader.source,
                node.place,
                format!("the topic of `{object}` is {}, expected a text", node.kind()),
                "write the topic's name as the system has it",
            ),
        }
    }
    fields.finish(report);
    Some(Stream {
        protocol: protocol?,
        address: address?,
        headers,
        topics,
    })
}
