//! [`Sampled`]: the objects that a connector's samples hold, for whoever reads objects of this system.

use std::sync::Arc;

use diagnostic::{Node, Report, Source};
use serde_json::Value as Json;

use crate::connector::Connector;
use crate::lint::Linter;

/// An object as a sample's answer holds it.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// The object, as the manifest names it.
    pub object: String,
    /// The file of the sample.
    pub file: Arc<str>,
    /// What a mapping is given of it.
    pub body: Json,
}

impl Connector {
    /// The objects in the samples of answers; samples that do not hold are passed over, [`Connector::lint`] tells them.
    pub fn sampled(self: &Arc<Connector>, samples: &[Source]) -> Vec<Sampled> {
        let Some(linter) = Linter::new(self) else {
            return Vec::new();
        };
        let mut sampled = Vec::new();
        for source in samples {
            let Some(root) = Node::parse(source, &mut Report::new()) else {
                continue;
            };
            let other = linter.configured(&root);
            let linter = other.as_ref().unwrap_or(&linter);
            let (about, object, body) = linter.take_up(&root.to_json());
            let made = match about.as_str() {
                "changes" => linter.changes(&object, &body),
                "by_ids" => linter.by_ids(&object, &body),
                "posted" => linter.posted(
                    &object,
                    root.get("source").and_then(Node::text).unwrap_or_default(),
                    &body,
                ),
                _ => continue,
            };
            let Ok(mut made) = made else { continue };
            let objects = made["objects"].as_array_mut().into_iter().flatten();
            sampled.extend(objects.map(|made| Sampled {
                object: object.clone(),
                file: source.file.clone(),
                body: made["body"].take(),
            }));
        }
        sampled
    }
}
