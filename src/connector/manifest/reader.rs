//! [`Reader`]: what every part of a manifest needs while it is read: the templates so far, the names that exist.

use std::collections::{BTreeMap, BTreeSet};

use diagnostic::{Fields, Node, Place, Report, Source, Value};
use serde_json::Value as Json;

use super::request::Rpc;
use crate::template::{Template, Templates};
use program::Program;

/// One key of a connection's configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) default: Option<Json>,
    pub(crate) help: String,
    /// The values that it may have; any when there are none.
    pub(crate) options: Vec<String>,
}

/// Names that every request may use besides its own.
pub(crate) const BASE: [&str; 5] = ["config", "auth", "context", "object", "vars"];

pub(crate) struct Reader<'a> {
    pub(crate) source: &'a Source,
    /// Whether the objects are cut from what partners post, and nobody is called.
    pub(crate) posted: bool,
    pub(crate) templates: Templates,
    pub(crate) config: BTreeMap<String, Config>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) rpc: Option<Rpc>,
    pub(crate) groups: BTreeSet<String>,
    wanted_groups: Vec<(String, Place)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a Source) -> Reader<'a> {
        Reader {
            source,
            posted: false,
            templates: Templates::new(),
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
            rpc: None,
            groups: BTreeSet::new(),
            wanted_groups: Vec::new(),
        }
    }

    /// Notes what can only be known when everything is read.
    pub(crate) fn finish(&mut self, report: &mut Report) {
        for (group, place) in std::mem::take(&mut self.wanted_groups) {
            if !self.groups.contains(&group) {
                let hint = diagnostic::suggestion(&group, self.groups.iter().map(String::as_str));
                report.error(
                    "IC0207",
                    self.source,
                    place,
                    format!("no limit is for `{group}`"),
                    hint,
                );
            }
        }
    }

    pub(crate) fn want_group(&mut self, group: &str, place: Place) {
        self.wanted_groups.push((group.to_owned(), place));
    }

    pub(crate) fn read_config(&mut self, connection: &mut Fields<'_>, report: &mut Report) {
        for (name, _, node) in connection.map("config", report) {
            // It is declared, even if it is declared wrongly: what uses it is not wrong as well.
            let config = self.config.entry(name.clone()).or_default();
            let Some(mut fields) = Fields::open(node, "a configuration key", self.source, report) else {
                continue;
            };
            config.default = fields.optional("default").map(Node::to_json);
            config.help = fields.text("help", report).unwrap_or_default().to_owned();
            let options = fields.texts("options", report).into_iter().map(str::to_owned);
            config.options = options.collect();
            let usual = config.default.as_ref().and_then(Json::as_str);
            if let (Some(usual), false) = (usual, config.options.is_empty())
                && !config.options.iter().any(|option| option == usual)
            {
                let place = fields.optional("default").map_or(node.place, |node| node.place);
                let hint = diagnostic::suggestion(usual, config.options.iter().map(String::as_str));
                let message = format!("`{usual}` is not one of the `options` of `{name}`");
                report.error("IC0004", self.source, place, message, hint);
            }
            fields.finish(report);
        }
        for (name, _, node) in connection.map("secrets", report) {
            let help = node.text().unwrap_or_default();
            self.secrets.insert(name.clone(), help.to_owned());
            if node.text().is_none() {
                report.error(
                    "IC0002",
                    self.source,
                    node.place,
                    format!("the secret `{name}` is {}, expected a text", node.kind()),
                    "say where an administrator finds it",
                );
            }
        }
    }

    pub(crate) fn read_rpc(&mut self, connection: &mut Fields<'_>, report: &mut Report) {
        if let Some(node) = connection.optional("rpc") {
            self.rpc = Rpc::read(self, node, report);
        }
    }

    /// Compiles one template and checks the names it uses.
    pub(crate) fn template(&mut self, node: &Node, names: &[&str], report: &mut Report) -> Option<Template> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => {
                report.error(
                    "IC0002",
                    self.source,
                    node.place,
                    format!("found {}, expected a text", node.kind()),
                    "write a text; `{{ name }}` inserts a value",
                );
                return None;
            }
        };
        match self.templates.add(&text) {
            Ok((template, used)) => {
                let known = used
                    .iter()
                    .all(|name| self.known(name, node.place, names, report));
                known.then_some(template)
            }
            Err(message) => {
                let hint = "names stand in `{{ … }}`, text in quotes inside them";
                report.error(
                    "IC0201",
                    self.source,
                    node.place,
                    format!("not a template: {message}"),
                    hint,
                );
                None
            }
        }
    }

    fn known(&self, name: &str, place: Place, names: &[&str], report: &mut Report) -> bool {
        let (root, rest) = name.split_once('.').unwrap_or((name, ""));
        let mut unknown = |message: String, hint: String| {
            report.error("IC0202", self.source, place, message, hint);
            false
        };
        if !names.contains(&root) {
            return unknown(
                format!("`{root}` has no value in this place"),
                diagnostic::suggestion(root, names.iter().copied()),
            );
        }
        let declared: Vec<&str> = match root {
            "config" => self.config.keys().map(String::as_str).collect(),
            "secrets" => self.secrets.keys().map(String::as_str).collect(),
            _ => return true,
        };
        let key = rest.split('.').next().unwrap_or_default();
        if key.is_empty() || declared.contains(&key) {
            return true;
        }
        let list = if root == "config" {
            "connection.config"
        } else {
            "connection.secrets"
        };
        unknown(
            format!("`{key}` is not declared under {list}"),
            diagnostic::suggestion(key, declared.into_iter()),
        )
    }

    /// A map of names to templates.
    pub(crate) fn templates_of(
        &mut self,
        key: &'static str,
        fields: &mut Fields<'_>,
        names: &[&str],
        report: &mut Report,
    ) -> Vec<(String, Template)> {
        let entries = fields.map(key, report);
        entries
            .iter()
            .filter_map(|(name, _, node)| Some((name.clone(), self.template(node, names, report)?)))
            .collect()
    }

    /// A map of templates whose names are templates, too, that may be left out.
    pub(crate) fn named_templates(
        &mut self,
        key: &'static str,
        fields: &mut Fields<'_>,
        names: &[&str],
        report: &mut Report,
    ) -> Vec<(Template, Template)> {
        let entries = fields.map(key, report);
        entries
            .iter()
            .filter_map(|(name, place, node)| {
                let name = Node {
                    place: *place,
                    value: Value::Text(name.clone()),
                };
                let name = self.template(&name, names, report);
                let value = self.template(node, names, report);
                Some((name?, value?))
            })
            .collect()
    }

    /// A list of templates, that may be left out; a single text stands for a list of one.
    pub(crate) fn template_list(
        &mut self,
        key: &'static str,
        fields: &mut Fields<'_>,
        names: &[&str],
        report: &mut Report,
    ) -> Option<Vec<Template>> {
        fields.texts(key, report);
        let nodes = match fields.optional(key) {
            Some(Node {
                value: Value::List(items),
                ..
            }) => items.as_slice(),
            node => node.map_or(&[][..], std::slice::from_ref),
        };
        // What is no text is noted already.
        let texts = nodes.iter().filter(|node| node.text().is_some());
        texts.map(|node| self.template(node, names, report)).collect()
    }

    /// A program that must be there.
    pub(crate) fn program(
        &self,
        key: &'static str,
        fields: &mut Fields<'_>,
        names: &[&'static str],
        report: &mut Report,
    ) -> Option<Program> {
        let node = fields.required(key, report)?;
        self.compile(node, names, report)
    }

    /// A program that may be left out.
    pub(crate) fn optional_program(
        &self,
        key: &'static str,
        fields: &mut Fields<'_>,
        names: &[&'static str],
        report: &mut Report,
    ) -> Option<Program> {
        let node = fields.optional(key)?;
        self.compile(node, names, report)
    }

    /// A program is written as its text, or as `{ jq: text }`.
    pub(crate) fn compile(
        &self,
        node: &Node,
        names: &[&'static str],
        report: &mut Report,
    ) -> Option<Program> {
        let text = node.get("jq").unwrap_or(node);
        let Some(source) = text.text() else {
            report.error(
                "IC0002",
                self.source,
                text.place,
                format!("found {}, expected a jq expression", text.kind()),
                "write a path such as `.records[]`, or a jq expression in quotes",
            );
            return None;
        };
        match Program::compile(source, names) {
            Ok(program) => Some(program),
            Err(broken) => {
                report.error(
                    "IC0203",
                    self.source,
                    broken.place(source, text.place, self.source),
                    broken.message,
                    broken.hint,
                );
                None
            }
        }
    }

    /// A span of time, written `500ms`, `10s`, `5m`, `1h` or `30d`, in milliseconds.
    pub(crate) fn duration(
        &self,
        key: &'static str,
        fields: &mut Fields<'_>,
        report: &mut Report,
    ) -> Option<u64> {
        let node = fields.optional(key)?;
        let parsed = node.text().and_then(milliseconds);
        if parsed.is_none() {
            return fields.wrong(
                key,
                node,
                "a span of time such as 500ms, 10s, 5m, 1h or 30d",
                report,
            );
        }
        parsed
    }
}

pub(crate) fn milliseconds(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..unit].parse().ok()?;
    let factor = match &text[unit..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn spans_of_time_have_a_unit() {
        assert_eq!(milliseconds("500ms"), Some(500));
        assert_eq!(milliseconds("30d"), Some(2_592_000_000));
        for bad in ["5", "s", "5 s", "1.5h", "-1s", "99999999999999999999d"] {
            assert_eq!(milliseconds(bad), None, "{bad}");
        }
    }
}
