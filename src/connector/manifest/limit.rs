//! Limits a system sets, as data for the limiter.

use diagnostic::{Fields, Node, Report, Source};

use super::reader::milliseconds;

/// One limit.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) applies: Applies,
    pub(crate) kind: Kind,
}

/// Which requests count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Applies {
    All,
    Only(String),
    Except(String),
}

impl Applies {
    pub(crate) fn group(&self) -> Option<&str> {
        match self {
            Applies::All => None,
            Applies::Only(group) | Applies::Except(group) => Some(group),
        }
    }

    pub(crate) fn to(&self, group: Option<&str>) -> bool {
        match self {
            Applies::All => true,
            Applies::Only(only) => group == Some(only),
            Applies::Except(except) => group != Some(except),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// So many calls in any span of this length.
    Window {
        limit: u64,
        per_ms: u64,
        observe: Option<Observe>,
    },
    /// So many calls at a time.
    Concurrency { limit: u64 },
    /// A share of what the system allows in a long span; learned from answers, and asked about again after a while.
    Quota {
        share_percent: u64,
        probe_ms: u64,
        observe: Observe,
    },
}

/// Where an answer tells how much is left.
#[derive(Clone, Debug)]
pub(crate) enum Observe {
    /// Two headers with numbers.
    Headers { limit: String, remaining: String },
    /// One header with `used/limit` behind this text.
    UsedOf { header: String, after: String },
}

pub(super) fn read(root: &mut Fields<'_>, source: &Source, report: &mut Report) -> Vec<Limit> {
    let nodes = root.list("limits", report);
    nodes
        .iter()
        .filter_map(|node| one(node, source, report))
        .collect()
}

fn one(node: &Node, source: &Source, report: &mut Report) -> Option<Limit> {
    let mut fields = Fields::open(node, "a limit", source, report)?;
    let name = fields.text("name", report).unwrap_or_default().to_owned();
    let only = fields.optional_text("for", report).map(str::to_owned);
    let except = fields.optional_text("not_for", report).map(str::to_owned);
    let applies = match (only, except) {
        (Some(only), None) => Applies::Only(only),
        (None, Some(except)) => Applies::Except(except),
        (None, None) => Applies::All,
        (Some(only), Some(_)) => {
            let hint = "keep the one that is meant";
            report.error(
                "IC0206",
                source,
                node.place,
                "a limit has both `for` and `not_for`",
                hint,
            );
            Applies::Only(only)
        }
    };
    let kinds = [("window", 0), ("concurrency", 1), ("quota", 2)];
    let kind = match fields.choice("kind", &kinds, report)? {
        0 => {
            let limit = number("limit", &mut fields, report);
            let per_ms = span("per", &mut fields, report);
            let observe = observe(&mut fields, source, report);
            Some(Kind::Window {
                limit: limit?,
                per_ms: per_ms?,
                observe,
            })
        }
        1 => number("limit", &mut fields, report).map(|limit| Kind::Concurrency { limit }),
        _ => {
            let share = fields
                .optional_integer("share_percent", 1..=100, report)
                .unwrap_or(80);
            let probe_ms = span("probe_after", &mut fields, report);
            let observe = match observe(&mut fields, source, report) {
                Some(observe) => Some(observe),
                None => fields.required("observe", report).and(None),
            };
            Some(Kind::Quota {
                share_percent: share.unsigned_abs(),
                probe_ms: probe_ms?,
                observe: observe?,
            })
        }
    };
    fields.finish(report);
    Some(Limit {
        name,
        applies,
        kind: kind?,
    })
}

fn number(key: &'static str, fields: &mut Fields<'_>, report: &mut Report) -> Option<u64> {
    fields.required(key, report)?;
    fields
        .optional_integer(key, 1..=1_000_000, report)
        .map(i64::unsigned_abs)
}

fn span(key: &'static str, fields: &mut Fields<'_>, report: &mut Report) -> Option<u64> {
    let node = fields.required(key, report)?;
    match node.text().and_then(milliseconds) {
        Some(ms) => Some(ms),
        None => fields.wrong(key, node, "a span of time such as 10s, 5m or 24h", report),
    }
}

fn observe(fields: &mut Fields<'_>, source: &Source, report: &mut Report) -> Option<Observe> {
    let node = fields.optional("observe")?;
    let mut fields = Fields::open(node, "observe", source, report)?;
    let found = if fields.key_place("header").is_some() {
        let header = fields.text("header", report).map(str::to_lowercase);
        let after = fields.text("used_of_after", report).map(str::to_owned);
        header
            .zip(after)
            .map(|(header, after)| Observe::UsedOf { header, after })
    } else {
        let limit = fields.text("limit", report).map(str::to_lowercase);
        let remaining = fields.text("remaining", report).map(str::to_lowercase);
        limit
            .zip(remaining)
            .map(|(limit, remaining)| Observe::Headers { limit, remaining })
    };
    fields.finish(report);
    found
}
