//! [`Call`]: one request of a manifest, and [`Rpc`], how remote calls are wrapped at systems that speak in calls.

use diagnostic::{Fields, Node, Report, Value};
use outbound::Method;

use super::reader::{BASE, Reader};
use crate::template::Template;
use program::Program;

/// A request; what is sent depends on the values it is given.
pub(crate) struct Call {
    /// Which limits apply besides those for everything.
    pub(crate) group: Option<String>,
    pub(crate) answer: Answer,
    pub(crate) verb: Verb,
}

/// What a successful answer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Json,
    /// A table, which programs see as a list of rows.
    Csv,
}

pub(crate) enum Verb {
    Http {
        method: Method,
        path: Template,
        /// A parameter without a name is left out.
        query: Vec<(Template, Template)>,
        headers: Vec<(String, Template)>,
        body: Body,
    },
    /// A remote call through [`Rpc`].
    Rpc {
        method: Template,
        params: Expr,
        /// Added to the context of this one call.
        context: Option<Program>,
    },
}

pub(crate) enum Body {
    None,
    Json(Expr),
    /// Requests inside the request, see [`crate::multipart`].
    Parts(Expr),
    Form(Vec<(String, Template)>),
    /// A table that is written already.
    Csv(Template),
}

/// JSON that is made from values: by a program, or as a tree of templates.
pub(crate) enum Expr {
    Program(Program),
    Tree(Tree),
}

pub(crate) enum Tree {
    Fixed(serde_json::Value),
    Text(Template),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// How remote calls are wrapped: JSON-RPC, with what its dialects add.
pub(crate) struct Rpc {
    pub(crate) path: Template,
    /// The context of the session is the last parameter of every call after the login.
    pub(crate) context_last: bool,
    /// Values that JSON lacks are objects with a class name under this key.
    pub(crate) class_key: Option<String>,
    /// A field that is read through a reference comes back under its name and this suffix.
    pub(crate) nested_suffix: String,
}

impl Rpc {
    pub(crate) fn read(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Rpc> {
        let mut fields = Fields::open(node, "rpc", reader.source, report)?;
        let path = fields
            .required("path", report)
            .and_then(|n| reader.template(n, &["config"], report));
        let context_last = fields
            .optional_choice("context", &[("last_param", true), ("none", false)], report)
            .unwrap_or(false);
        let class_key = fields.optional_text("class_key", report).map(str::to_owned);
        let nested_suffix = fields
            .optional_text("nested_suffix", report)
            .unwrap_or_default()
            .to_owned();
        fields.finish(report);
        Some(Rpc {
            path: path?,
            context_last,
            class_key,
            nested_suffix,
        })
    }
}

impl Reader<'_> {
    /// A request under a key that must be there; `own` are the names it may use besides the common ones.
    pub(crate) fn call(
        &mut self,
        key: &'static str,
        fields: &mut Fields<'_>,
        own: &[&'static str],
        report: &mut Report,
    ) -> Option<Call> {
        let node = fields.required(key, report)?;
        let names: Vec<&'static str> = BASE.iter().chain(own).copied().collect();
        self.call_with(node, &names, report)
    }

    pub(crate) fn call_with(
        &mut self,
        node: &Node,
        names: &[&'static str],
        report: &mut Report,
    ) -> Option<Call> {
        let mut fields = Fields::open(node, "a request", self.source, report)?;
        let group = fields.optional("limit").and_then(|n| match n.text() {
            Some(group) => {
                self.want_group(group, n.place);
                Some(group.to_owned())
            }
            None => fields.wrong("limit", n, "the name of a limit's `for`", report),
        });
        let answers = [("json", Answer::Json), ("csv", Answer::Csv)];
        let answer = fields
            .optional_choice("answer", &answers, report)
            .unwrap_or(Answer::Json);
        let verb = if fields.key_place("call").is_some() {
            self.rpc_call(&mut fields, names, report)
        } else {
            self.http_call(&mut fields, names, report)
        };
        fields.finish(report);
        Some(Call {
            group,
            answer,
            verb: verb?,
        })
    }

    fn rpc_call(
        &mut self,
        fields: &mut Fields<'_>,
        names: &[&'static str],
        report: &mut Report,
    ) -> Option<Verb> {
        let node = fields.required("call", report)?;
        if self.rpc.is_none() {
            report.error(
                "IC0204",
                self.source,
                node.place,
                "a remote call, but the connection has no `rpc`",
                "add `rpc: { path: … }` to the connection, or write `method` and `path`",
            );
        }
        let method = self.template(node, names, report);
        let params = fields
            .required("params", report)
            .and_then(|n| self.expr(n, names, report));
        let context = self.optional_program("context", fields, names, report);
        Some(Verb::Rpc {
            method: method?,
            params: params?,
            context,
        })
    }

    fn http_call(
        &mut self,
        fields: &mut Fields<'_>,
        names: &[&'static str],
        report: &mut Report,
    ) -> Option<Verb> {
        let methods = [("GET", 0), ("POST", 1), ("PUT", 2), ("PATCH", 3), ("DELETE", 4)];
        let method = fields.choice("method", &methods, report).map(|m| match m {
            0 => Method::GET,
            1 => Method::POST,
            2 => Method::PUT,
            3 => Method::PATCH,
            _ => Method::DELETE,
        });
        let path = fields
            .required("path", report)
            .and_then(|n| self.template(n, names, report));
        let query = self.named_templates("query", fields, names, report);
        let headers = self.templates_of("headers", fields, names, report);
        let form = self.templates_of("form", fields, names, report);
        let csv = fields.optional("csv").map(|n| self.template(n, names, report));
        let body = match (fields.optional("body"), fields.optional("parts")) {
            (Some(node), None) => Body::Json(self.expr(node, names, report)?),
            (None, Some(node)) => Body::Parts(self.expr(node, names, report)?),
            (Some(_), Some(node)) => {
                return fields.wrong("parts", node, "one of `body` and `parts`, not both", report);
            }
            (None, None) if csv.is_some() => Body::Csv(csv??),
            (None, None) if form.is_empty() => Body::None,
            (None, None) => Body::Form(form),
        };
        Some(Verb::Http {
            method: method?,
            path: path?,
            query,
            headers,
            body,
        })
    }

    /// `{ jq: … }` is a program; anything else is JSON whose texts are templates.
    pub(crate) fn expr(&mut self, node: &Node, names: &[&'static str], report: &mut Report) -> Option<Expr> {
        match &node.value {
            Value::Map(entries) if entries.len() == 1 && entries[0].0 == "jq" => {
                self.compile(node, names, report).map(Expr::Program)
            }
            _ => self.tree(node, names, report).map(Expr::Tree),
        }
    }

    fn tree(&mut self, node: &Node, names: &[&'static str], report: &mut Report) -> Option<Tree> {
        Some(match &node.value {
            Value::Text(_) => Tree::Text(self.template(node, names, report)?),
            Value::List(items) => Tree::List(
                items
                    .iter()
                    .map(|item| self.tree(item, names, report))
                    .collect::<Option<_>>()?,
            ),
            Value::Map(entries) => Tree::Map(
                entries
                    .iter()
                    .map(|(key, _, value)| Some((key.clone(), self.tree(value, names, report)?)))
                    .collect::<Option<_>>()?,
            ),
            _ => Tree::Fixed(node.to_json()),
        })
    }
}
