//! Rules that sort errors into classes: the first that fits decides.

use diagnostic::{Fields, Node, Report, Value};

use super::reader::Reader;
use crate::failure::RecordClass;
use program::Program;

/// One rule for a whole answer.
pub(crate) struct Rule {
    pub(crate) statuses: Vec<u16>,
    /// Headers that the answer must have, with their values; case does not count.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) test: Option<Program>,
    pub(crate) class: ClassName,
    pub(crate) wait: Wait,
    /// Gives the text to show.
    pub(crate) message: Option<Program>,
    /// Gives the object that exists, for `duplicate`.
    pub(crate) existing: Option<Program>,
    /// Gives the field that is gone, for `schema_drift`.
    pub(crate) field: Option<Program>,
}

/// How long to wait before the next try.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wait {
    /// A header with seconds, if the answer has it.
    pub(crate) header: Option<String>,
    pub(crate) ms: Option<u64>,
}

/// One rule for one record inside an answer.
pub(crate) struct RecordRule {
    pub(crate) codes: Vec<String>,
    pub(crate) class: RecordClass,
    /// Tried again inside the engine.
    pub(crate) retry: bool,
    /// The object is read before it is believed that it is gone.
    pub(crate) verify: bool,
}

/// The class a rule leads to; what belongs to it is filled in from the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassName {
    AuthExpired,
    AuthRevoked,
    Permission,
    RateLimited,
    QuotaExhausted,
    Transient,
    TooLarge,
    CursorExpired,
    SchemaDrift,
    NotFound,
    Validation,
    Duplicate,
    Conflict,
    Protocol,
}

pub(crate) const CLASSES: [(&str, ClassName); 14] = [
    ("auth_expired", ClassName::AuthExpired),
    ("auth_revoked", ClassName::AuthRevoked),
    ("permission", ClassName::Permission),
    ("rate_limited", ClassName::RateLimited),
    ("quota_exhausted", ClassName::QuotaExhausted),
    ("transient", ClassName::Transient),
    ("too_large", ClassName::TooLarge),
    ("cursor_expired", ClassName::CursorExpired),
    ("schema_drift", ClassName::SchemaDrift),
    ("not_found", ClassName::NotFound),
    ("validation", ClassName::Validation),
    ("duplicate", ClassName::Duplicate),
    ("conflict", ClassName::Conflict),
    ("protocol", ClassName::Protocol),
];

pub(super) fn read_rules(reader: &mut Reader<'_>, root: &mut Fields<'_>, report: &mut Report) -> Vec<Rule> {
    let nodes = root.list("errors", report);
    nodes
        .iter()
        .filter_map(|node| rule(reader, node, report))
        .collect()
}

fn rule(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Rule> {
    let mut fields = Fields::open(node, "an error rule", reader.source, report)?;
    let (mut statuses, mut headers) = (Vec::new(), Vec::new());
    let mut test = None;
    if let Some(node) = fields.required("when", report)
        && let Some(mut when) = Fields::open(node, "when", reader.source, report)
    {
        statuses = read_statuses(&mut when, report);
        headers = read_headers(reader, &mut when, report);
        test = reader.optional_program("jq", &mut when, &[], report);
        when.finish(report);
    }
    let class = fields.choice("class", &CLASSES, report);
    let wait = Wait {
        header: fields.optional_text("wait_header", report).map(str::to_lowercase),
        ms: reader.duration("wait", &mut fields, report),
    };
    let message = reader.optional_program("message", &mut fields, &[], report);
    let existing = reader.optional_program("existing", &mut fields, &[], report);
    let field = reader.optional_program("field", &mut fields, &[], report);
    fields.finish(report);
    Some(Rule {
        statuses,
        headers,
        test,
        class: class?,
        wait,
        message,
        existing,
        field,
    })
}

fn read_headers(reader: &Reader<'_>, when: &mut Fields<'_>, report: &mut Report) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, _, node) in when.map("header", report) {
        match node.text() {
            Some(value) => headers.push((name.to_lowercase(), value.to_owned())),
            None => report.error(
                "IC0002",
                reader.source,
                node.place,
                format!("the header `{name}` is {}, expected a text", node.kind()),
                "write the value that the answer has",
            ),
        }
    }
    headers
}

fn read_statuses(when: &mut Fields<'_>, report: &mut Report) -> Vec<u16> {
    let Some(node) = when.optional("status") else {
        return Vec::new();
    };
    let nodes = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    nodes
        .iter()
        .filter_map(|n| match n.value {
            Value::Integer(status) if (100..=599).contains(&status) => u16::try_from(status).ok(),
            _ => when.wrong("status", n, "a status code from 100 to 599", report),
        })
        .collect()
}

pub(super) fn read_record_rules(
    reader: &mut Reader<'_>,
    root: &mut Fields<'_>,
    report: &mut Report,
) -> Vec<RecordRule> {
    let classes = [
        ("validation", RecordClass::Validation),
        ("duplicate", RecordClass::Duplicate),
        ("locked", RecordClass::Locked),
        ("gone", RecordClass::Gone),
        ("permission", RecordClass::Permission),
        ("conflict", RecordClass::Conflict),
        ("other", RecordClass::Other),
    ];
    let mut rules = Vec::new();
    for node in root.list("record_errors", report) {
        let Some(mut fields) = Fields::open(node, "a record error rule", reader.source, report) else {
            continue;
        };
        let codes: Vec<String> = fields
            .texts("codes", report)
            .into_iter()
            .map(str::to_owned)
            .collect();
        if codes.is_empty() {
            fields.required("codes", report);
        }
        let class = fields.choice("class", &classes, report);
        let retry = fields.optional_bool("retry", report).unwrap_or(false);
        let verify = fields.optional_bool("verify", report).unwrap_or(false);
        fields.finish(report);
        if let Some(class) = class {
            rules.push(RecordRule {
                codes,
                class,
                retry,
                verify,
            });
        }
    }
    rules
}
