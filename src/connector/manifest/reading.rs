//! How objects are read: changes by windows or page by page, and objects by their ids.

use diagnostic::{Fields, Node, Report};

use super::job::{Part, ReadJob};
use super::object::{BATCH, REPLY, batch};
use super::reader::Reader;
use super::request::Call;
use crate::template::Template;
use program::Program;

/// How often all that is linked is asked for again by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Milliseconds from the end of one to the beginning of the next.
    pub every_ms: u64,
    /// Whether only values that move no time of change make it worth its calls: the system tells what was deleted.
    pub only_volatile: bool,
}

/// Reading what changed.
pub(crate) enum Changes {
    Windows(WindowChanges),
    Pages(PageChanges),
}

impl Changes {
    pub(crate) fn request(&self) -> &Call {
        match self {
            Changes::Windows(changes) => &changes.request,
            Changes::Pages(changes) => &changes.request,
        }
    }

    pub(crate) fn records(&self) -> &Program {
        match self {
            Changes::Windows(changes) => &changes.records,
            Changes::Pages(changes) => &changes.records,
        }
    }

    /// How everything is read at once, when it is much.
    pub(crate) fn bulk(&self) -> Option<&ReadJob> {
        match self {
            Changes::Windows(changes) => changes.bulk.as_deref(),
            Changes::Pages(_) => None,
        }
    }

    /// All expressions over an answer.
    pub(crate) fn programs(&self) -> Vec<&Program> {
        let mut programs = vec![self.records()];
        match self {
            Changes::Windows(changes) => {
                programs.extend(&changes.done);
                programs.extend(changes.bulk.iter().flat_map(|bulk| bulk.programs()));
            }
            Changes::Pages(changes) => {
                programs.extend(changes.done.iter().chain(&changes.delta));
                programs.extend(changes.next.programs());
            }
        }
        programs
    }
}

/// A listing that leads from page to page.
pub(crate) struct PageChanges {
    /// Rows of a full page.
    pub(crate) page: u64,
    pub(crate) request: Call,
    pub(crate) records: Program,
    pub(crate) next: Step,
    /// Says that there is no further page, where the step alone does not.
    pub(crate) done: Option<Program>,
    /// On the last page: the address where the next round begins.
    pub(crate) delta: Option<Program>,
    /// Whether the request can ask for what changed since a moment.
    pub(crate) since: bool,
    /// How far before the last round's beginning the next one asks.
    pub(crate) overlap_ms: u64,
}

/// What leads to the next page.
pub(crate) enum Step {
    /// A value of the answer that the next request brings as `after`.
    Cursor(Program),
    /// An address in the answer.
    Address(Program),
    /// An address in the `Link` header.
    Link,
    /// `after` counts the rows so far.
    Offset,
    /// `after` counts the pages.
    Number { first: u64 },
    /// One of several ways, which the connection names.
    Chosen {
        choose: Template,
        ways: Vec<(String, Step)>,
    },
}

impl Step {
    /// Whether the next page is at an address of its own.
    pub(crate) fn is_address(&self) -> bool {
        matches!(self, Step::Address(_) | Step::Link)
    }

    pub(crate) fn program(&self) -> Option<&Program> {
        match self {
            Step::Cursor(program) | Step::Address(program) => Some(program),
            Step::Link | Step::Offset | Step::Number { .. } | Step::Chosen { .. } => None,
        }
    }

    /// The programs of every way.
    fn programs(&self) -> Vec<&Program> {
        match self {
            Step::Chosen { ways, .. } => ways.iter().filter_map(|(_, step)| step.program()).collect(),
            step => step.program().into_iter().collect(),
        }
    }
}

/// How far before the last round's beginning the next one asks, unless the manifest says otherwise.
const OVERLAP_MS: u64 = 3_600_000;

/// Closed windows on the time of change, keyset on the id inside them.
pub(crate) struct WindowChanges {
    pub(crate) passes: Vec<Pass>,
    pub(crate) max_window_ms: u64,
    pub(crate) precision_ms: u64,
    pub(crate) page: u64,
    /// With more fields than this, a page brings only ids, and the objects are read by id.
    pub(crate) fields_max: usize,
    pub(crate) id_order: IdOrder,
    pub(crate) request: Call,
    pub(crate) records: Program,
    pub(crate) done: Option<Program>,
    /// How everything is read at once, when it is much.
    pub(crate) bulk: Option<Box<ReadJob>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) mode: Mode,
    pub(crate) lag_ms: u64,
    pub(crate) every_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Close behind the present; may miss what becomes visible late.
    BestEffort,
    /// Far enough behind that everything is visible.
    Authoritative,
}

/// How a page must be ordered; checked, because a keyset over another order loses objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdOrder {
    Number,
    Text,
    /// An order of the system's own, which only the system can compare; not checked.
    System,
}

pub(crate) struct ByIds {
    pub(crate) batch: usize,
    pub(crate) request: Call,
    pub(crate) records: Program,
}

/// How an object is read.
#[derive(Default)]
pub(super) struct Reads {
    pub(super) changes: Option<Changes>,
    pub(super) by_ids: Option<ByIds>,
    /// Whether the manifest says how to read by ids, rightly or not.
    pub(super) says_by_ids: bool,
    pub(super) census: Option<Census>,
    pub(super) count: Option<Part>,
}

pub(super) fn read_reads(reader: &mut Reader<'_>, object: &mut Fields<'_>, report: &mut Report) -> Reads {
    let Some(node) = object.optional("read") else {
        return Reads::default();
    };
    let Some(mut fields) = Fields::open(node, "reading", reader.source, report) else {
        return Reads::default();
    };
    let changes = fields
        .optional("changes")
        .and_then(|n| read_changes(reader, n, report));
    let said_by_ids = fields.optional("by_ids");
    let by_ids = said_by_ids.and_then(|n| {
        let mut fields = Fields::open(n, "reading by id", reader.source, report)?;
        let batch = batch(&mut fields, report);
        let request = reader.call("request", &mut fields, &["fields", "ids"], report);
        let records = reader.program("records", &mut fields, &REPLY, report);
        fields.finish(report);
        Some(ByIds {
            batch: batch?,
            request: request?,
            records: records?,
        })
    });
    let census = fields.optional("census").and_then(|n| {
        let mut fields = Fields::open(n, "the census", reader.source, report)?;
        fields.required("every", report);
        let every_ms = reader.duration("every", &mut fields, report);
        let only = fields.optional_choice("only", &[("volatile", true)], report);
        fields.finish(report);
        Some(Census {
            every_ms: every_ms?,
            only_volatile: only.unwrap_or(false),
        })
    });
    let count = fields.optional("count").and_then(|n| {
        let mut fields = Fields::open(n, "counting", reader.source, report)?;
        let request = reader.call("request", &mut fields, &[], report);
        let value = reader.program("value", &mut fields, &REPLY, report);
        fields.finish(report);
        Some(Part {
            request: request?,
            value: value?,
        })
    });
    if changes.as_ref().is_some_and(|changes| changes.bulk().is_some()) && fields.key_place("count").is_none()
    {
        report.error(
            "IC0213",
            reader.source,
            fields.key_place("changes").unwrap_or(node.place),
            "reading by a job begins with counting, and the manifest does not say how",
            "add `count: { request, value }` beside `changes`",
        );
    }
    if let (Some(_), None) = (&census, said_by_ids) {
        report.error(
            "IC0213",
            reader.source,
            fields.key_place("census").unwrap_or(node.place),
            "a census asks for objects by their ids, and the manifest does not say how",
            "add `by_ids`",
        );
    }
    fields.finish(report);
    Reads {
        changes,
        by_ids,
        says_by_ids: said_by_ids.is_some(),
        census,
        count,
    }
}

fn read_changes(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Changes> {
    let mut fields = Fields::open(node, "reading changes", reader.source, report)?;
    let by_pages = fields.choice("strategy", &[("window_keyset", false), ("pages", true)], report)?;
    let changes = if by_pages {
        read_pages(reader, &mut fields, report).map(Changes::Pages)
    } else {
        read_windows(reader, node, &mut fields, report).map(Changes::Windows)
    };
    fields.finish(report);
    changes
}

fn read_pages(reader: &mut Reader<'_>, fields: &mut Fields<'_>, report: &mut Report) -> Option<PageChanges> {
    fields.required("page", report);
    let page = fields.optional_integer("page", BATCH, report);
    let request = reader.call("request", fields, &["fields", "since", "after", "limit"], report);
    let records = reader.program("records", fields, &REPLY, report);
    let next = fields.required("next", report);
    let next = next.and_then(|node| step(reader, node, report));
    let done = reader.optional_program("done", fields, &REPLY, report);
    let delta = reader.optional_program("delta", fields, &REPLY, report);
    let since = fields.optional_bool("since", report).unwrap_or(false);
    let overlap_ms = reader.duration("overlap", fields, report).unwrap_or(OVERLAP_MS);
    Some(PageChanges {
        page: page?.unsigned_abs(),
        request: request?,
        records: records?,
        next: next?,
        done,
        delta,
        since,
        overlap_ms,
    })
}

fn step(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Step> {
    let mut fields = Fields::open(node, "the way to the next page", reader.source, report)?;
    if let Some(choose) = fields.optional("choose") {
        let choose = reader.template(choose, &["config"], report);
        let named = fields.map("ways", report).iter();
        let ways: Option<Vec<(String, Step)>> = named
            .map(|(name, _, node)| match step(reader, node, report)? {
                Step::Chosen { .. } => {
                    let expected = "a way to the next page, not a choice again";
                    Fields::open(node, "the way to the next page", reader.source, report)?
                        .wrong("choose", node, expected, report)
                }
                step => Some((name.clone(), step)),
            })
            .collect();
        fields.finish(report);
        let (choose, ways) = (choose?, ways?);
        return Some(Step::Chosen { choose, ways });
    }
    let kinds = [
        ("cursor", 0),
        ("address", 1),
        ("link", 2),
        ("offset", 3),
        ("number", 4),
    ];
    let step = match fields.choice("by", &kinds, report)? {
        0 => reader
            .program("value", &mut fields, &REPLY, report)
            .map(Step::Cursor),
        1 => reader
            .program("value", &mut fields, &REPLY, report)
            .map(Step::Address),
        2 => Some(Step::Link),
        3 => Some(Step::Offset),
        _ => {
            let first = fields.optional_integer("first", 0..=1, report).unwrap_or(1);
            Some(Step::Number {
                first: first.unsigned_abs(),
            })
        }
    };
    fields.finish(report);
    step
}

fn read_windows(
    reader: &mut Reader<'_>,
    node: &Node,
    fields: &mut Fields<'_>,
    report: &mut Report,
) -> Option<WindowChanges> {
    fields.required("passes", report);
    let nodes = fields.list("passes", report);
    let passes: Vec<Pass> = nodes.iter().filter_map(|n| pass(reader, n, report)).collect();
    let ordered = passes.iter().map(|p| p.mode).collect::<Vec<_>>();
    let expected: [&[Mode]; 2] = [&[Mode::Authoritative], &[Mode::BestEffort, Mode::Authoritative]];
    let read = !nodes.is_empty() && passes.len() == nodes.len();
    if read && !expected.contains(&ordered.as_slice()) {
        report.error(
            "IC0210",
            reader.source,
            fields.key_place("passes").unwrap_or(node.place),
            "the last pass must be authoritative, and at most one best_effort pass comes before it",
            "write `passes: [{ mode: best_effort, lag: 15s }, { mode: authoritative, lag: 1h, every: 10m }]`",
        );
    }
    let max_window_ms = reader.duration("max_window", fields, report);
    let precision_ms = reader.duration("precision", fields, report).unwrap_or(1).max(1);
    let page = fields.optional_integer("page", BATCH, report);
    fields.required("page", report);
    let fields_max = fields.optional_integer("fields_max", 1..=100_000, report);
    let orders = [
        ("number", IdOrder::Number),
        ("text", IdOrder::Text),
        ("system", IdOrder::System),
    ];
    let id_order = fields.choice("id_order", &orders, report);
    let own = ["fields", "window", "last_id", "limit"];
    let request = reader.call("request", fields, &own, report);
    let records = reader.program("records", fields, &REPLY, report);
    let done = reader.optional_program("done", fields, &REPLY, report);
    let bulk = fields.optional("bulk").map(|n| ReadJob::read(reader, n, report));
    Some(WindowChanges {
        passes,
        max_window_ms: max_window_ms.unwrap_or(u64::MAX),
        precision_ms,
        page: page?.unsigned_abs(),
        fields_max: fields_max
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usize::MAX),
        id_order: id_order?,
        request: request?,
        records: records?,
        done,
        bulk: match bulk {
            Some(bulk) => Some(Box::new(bulk?)),
            None => None,
        },
    })
}

fn pass(reader: &Reader<'_>, node: &Node, report: &mut Report) -> Option<Pass> {
    let mut fields = Fields::open(node, "a pass", reader.source, report)?;
    let modes = [
        ("best_effort", Mode::BestEffort),
        ("authoritative", Mode::Authoritative),
    ];
    let mode = fields.choice("mode", &modes, report);
    fields.required("lag", report);
    let lag_ms = reader.duration("lag", &mut fields, report);
    let every_ms = reader.duration("every", &mut fields, report).unwrap_or(0);
    fields.finish(report);
    Some(Pass {
        mode: mode?,
        lag_ms: lag_ms?,
        every_ms,
    })
}
