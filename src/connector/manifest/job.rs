//! Jobs: work that a system does by itself after it was asked once.

use diagnostic::{Fields, Node, Report};

use super::object::{BATCH, REPLY, batch};
use super::reader::Reader;
use super::request::Call;
use crate::template::Template;
use program::Program;

/// The first wait between two questions about a job, unless the manifest says otherwise.
const POLL_MS: u64 = 2_000;

/// What every job needs: it is made, asked about, and removed.
pub(crate) struct Job {
    /// Its value is the job's id.
    pub(crate) create: Part,
    /// Its value is `running`, `done` or `failed`.
    pub(crate) state: Part,
    pub(crate) poll_ms: u64,
    pub(crate) delete: Option<Call>,
}

/// A request, and what is to be seen in its answer.
pub(crate) struct Part {
    pub(crate) request: Call,
    pub(crate) value: Program,
}

/// Everything of an object read by one job, page by page.
pub(crate) struct ReadJob {
    /// With more objects than this.
    pub(crate) over: Template,
    pub(crate) job: Job,
    /// Rows of a full page.
    pub(crate) page: u64,
    /// How the system's other answers end a moment that ends with `Z` in a table; nothing when it is the same.
    pub(crate) utc: Option<String>,
    pub(crate) results: Call,
    pub(crate) records: Program,
    /// What leads to the next page; nothing on the last one.
    pub(crate) next: Program,
}

/// Many objects written by one job, as a table.
pub(crate) struct WriteJob {
    /// With more objects than this.
    pub(crate) over: Template,
    pub(crate) batch: usize,
    /// The text that clears a field; an empty one changes nothing.
    pub(crate) clear: String,
    /// The column of the object's id.
    pub(crate) id: String,
    /// Its values are the jobs that may be ours.
    pub(crate) find: Part,
    pub(crate) job: Job,
    pub(crate) upload: Call,
    /// Hands the job over.
    pub(crate) start: Call,
    /// What became of the rows, in one or several tables.
    pub(crate) results: Vec<Part>,
}

impl WriteJob {
    pub(super) fn read(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<WriteJob> {
        let mut fields = Fields::open(node, "writing by a job", reader.source, report)?;
        let over = fields.required("over", report);
        let over = over.and_then(|n| reader.template(n, &["config"], report));
        let size = batch(&mut fields, report);
        let clear = fields.text("clear", report).map(str::to_owned);
        let id = fields.text("id", report).map(str::to_owned);
        let own = ["key", "operation"];
        let find = part(reader, "find", &mut fields, &own, report);
        let job = Job::read(reader, &mut fields, &own, report);
        let upload = reader.call("upload", &mut fields, &["job", "rows"], report);
        let start = reader.call("start", &mut fields, &["job"], report);
        fields.required("results", report);
        let nodes = fields.list("results", report);
        let results: Vec<Part> = nodes
            .iter()
            .filter_map(|n| open_part(reader, n, &["job"], report))
            .collect();
        fields.finish(report);
        Some(WriteJob {
            over: over?,
            batch: size?,
            clear: clear?,
            id: id?,
            find: find?,
            job: job?,
            upload: upload?,
            start: start?,
            results,
        })
    }

    /// All expressions over an answer.
    pub(crate) fn programs(&self) -> Vec<&Program> {
        let parts = [&self.find, &self.job.create, &self.job.state];
        parts
            .into_iter()
            .chain(&self.results)
            .map(|part| &part.value)
            .collect()
    }
}

impl Job {
    fn read(
        reader: &mut Reader<'_>,
        fields: &mut Fields<'_>,
        own: &[&'static str],
        report: &mut Report,
    ) -> Option<Job> {
        let create = part(reader, "create", fields, own, report);
        let state = part(reader, "state", fields, &["job"], report);
        let poll_ms = reader.duration("poll", fields, report).unwrap_or(POLL_MS);
        let delete = match fields.key_place("delete") {
            Some(_) => reader.call("delete", fields, &["job"], report),
            None => fields.optional("delete").and(None),
        };
        Some(Job {
            create: create?,
            state: state?,
            poll_ms,
            delete,
        })
    }
}

impl ReadJob {
    pub(super) fn read(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<ReadJob> {
        let mut fields = Fields::open(node, "reading by a job", reader.source, report)?;
        let over = fields.required("over", report);
        let over = over.and_then(|n| reader.template(n, &["config"], report));
        let job = Job::read(reader, &mut fields, &["fields"], report);
        fields.required("page", report);
        let page = fields.optional_integer("page", BATCH, report);
        let utc = fields.optional_text("utc", report).map(str::to_owned);
        let node = fields.required("results", report);
        let results = node.and_then(|node| results(reader, node, report));
        fields.finish(report);
        let (results, records, next) = results?;
        Some(ReadJob {
            over: over?,
            job: job?,
            page: page?.unsigned_abs(),
            utc,
            results,
            records,
            next,
        })
    }

    /// A step by its name in the manifest, but for the results.
    pub(crate) fn part(&self, name: &str) -> Option<&Part> {
        match name {
            "create" => Some(&self.job.create),
            "state" => Some(&self.job.state),
            _ => None,
        }
    }

    /// All expressions over an answer.
    pub(crate) fn programs(&self) -> [&Program; 4] {
        let job = &self.job;
        [&job.create.value, &job.state.value, &self.records, &self.next]
    }
}

fn results(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<(Call, Program, Program)> {
    let mut fields = Fields::open(node, "the results of a job", reader.source, report)?;
    let request = reader.call("request", &mut fields, &["job", "after", "limit"], report);
    let records = reader.program("records", &mut fields, &REPLY, report);
    let next = reader.program("next", &mut fields, &REPLY, report);
    fields.finish(report);
    Some((request?, records?, next?))
}

fn part(
    reader: &mut Reader<'_>,
    key: &'static str,
    fields: &mut Fields<'_>,
    own: &[&'static str],
    report: &mut Report,
) -> Option<Part> {
    let node = fields.required(key, report)?;
    open_part(reader, node, own, report)
}

fn open_part(
    reader: &mut Reader<'_>,
    node: &Node,
    own: &[&'static str],
    report: &mut Report,
) -> Option<Part> {
    let mut fields = Fields::open(node, "a step of a job", reader.source, report)?;
    let request = reader.call("request", &mut fields, own, report);
    let names = [
        "config",
        "object",
        "vars",
        "headers",
        "status",
        "key",
        "operation",
    ];
    let value = reader.program("value", &mut fields, &names, report);
    fields.finish(report);
    Some(Part {
        request: request?,
        value: value?,
    })
}
