//! How objects are read: changes by windows, and objects by their ids.

use diagnostic::{Fields, Node, Report};

use super::object::{BATCH, REPLY, batch};
use super::reader::Reader;
use super::request::Call;
use crate::program::Program;

/// Reading what changed: closed windows on the time of change, keyset on the id inside them.
pub(crate) struct Changes {
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

pub(super) fn read_reads(
    reader: &mut Reader<'_>,
    object: &mut Fields<'_>,
    report: &mut Report,
) -> (Option<Changes>, Option<ByIds>) {
    let Some(node) = object.optional("read") else {
        return (None, None);
    };
    let Some(mut fields) = Fields::open(node, "reading", reader.source, report) else {
        return (None, None);
    };
    let changes = fields
        .optional("changes")
        .and_then(|n| read_changes(reader, n, report));
    let by_ids = fields.optional("by_ids").and_then(|n| {
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
    fields.finish(report);
    (changes, by_ids)
}

fn read_changes(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Changes> {
    let mut fields = Fields::open(node, "reading changes", reader.source, report)?;
    fields.choice("strategy", &[("window_keyset", ())], report);
    fields.required("passes", report);
    let passes: Vec<Pass> = fields
        .list("passes", report)
        .iter()
        .filter_map(|n| pass(reader, n, report))
        .collect();
    let ordered = passes.iter().map(|p| p.mode).collect::<Vec<_>>();
    let expected: [&[Mode]; 2] = [&[Mode::Authoritative], &[Mode::BestEffort, Mode::Authoritative]];
    if !expected.contains(&ordered.as_slice()) && !report.has_errors() {
        report.error(
            "IC0210",
            reader.source,
            fields.key_place("passes").unwrap_or(node.place),
            "the last pass must be authoritative, and at most one best_effort pass comes before it",
            "write `passes: [{ mode: best_effort, lag: 15s }, { mode: authoritative, lag: 1h, every: 10m }]`",
        );
    }
    let max_window_ms = reader.duration("max_window", &mut fields, report);
    let precision_ms = reader
        .duration("precision", &mut fields, report)
        .unwrap_or(1)
        .max(1);
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
    let request = reader.call("request", &mut fields, &own, report);
    let records = reader.program("records", &mut fields, &REPLY, report);
    let done = reader.optional_program("done", &mut fields, &REPLY, report);
    fields.finish(report);
    Some(Changes {
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
