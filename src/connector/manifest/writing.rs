//! How objects are written: the strategy, its steps, and the moves of a field that cannot be written.

use diagnostic::{Fields, Node, Report, Value};

use super::job::WriteJob;
use super::object::{BATCH, REPLY, batch};
use super::reader::Reader;
use super::request::Call;
use program::Program;

pub(crate) struct Write {
    /// The field that holds our record id.
    pub(crate) key: String,
    pub(crate) batch: usize,
    /// A batch that is refused as a whole is halved until the culprit stands alone.
    pub(crate) bisect: bool,
    pub(crate) strategy: Strategy,
    /// How objects are found by our key.
    pub(crate) find: Option<Find>,
    pub(crate) update: Step,
    /// How objects are deleted, or archived where that is what the system's own people do.
    pub(crate) delete: Option<Step>,
    pub(crate) create_only: Vec<CreateOnly>,
    /// An update of one of these fields is given the object as it is.
    pub(crate) row_for: Vec<String>,
    pub(crate) transitions: Option<Transitions>,
    /// How many objects are written at once.
    pub(crate) bulk: Option<Box<WriteJob>>,
}

impl Write {
    /// How many objects one request writes at most, whichever it is.
    pub(crate) fn batch_max(&self) -> usize {
        let (Strategy::Upsert(step) | Strategy::FindThenWrite(step)) = &self.strategy;
        step.batch.max(self.update.batch)
    }
}

pub(crate) enum Strategy {
    /// The system finds or creates by our key, so that a repeated write is harmless.
    Upsert(Step),
    /// The system has no such call: keys are looked up, what is missing is created, the rest is updated.
    FindThenWrite(Step),
}

pub(crate) struct Step {
    /// How many objects one request writes at most.
    pub(crate) batch: usize,
    pub(crate) request: Call,
    pub(crate) results: Program,
}

pub(crate) struct Find {
    pub(crate) batch: usize,
    pub(crate) request: Call,
    pub(crate) pairs: Program,
}

/// A field that can be written only when its object is created.
pub(crate) struct CreateOnly {
    pub(crate) field: String,
    /// Fields that mean something else without it, as an amount without its currency.
    pub(crate) with: Vec<String>,
}

/// A field that cannot be written, only moved by calls along a graph.
pub(crate) struct Transitions {
    pub(crate) field: String,
    pub(crate) initial: String,
    /// Fields that a move changes on its own, and that are put back.
    pub(crate) keep: Vec<String>,
    pub(crate) moves: Vec<Move>,
}

pub(crate) struct Move {
    pub(crate) from: Vec<String>,
    pub(crate) to: String,
    pub(crate) request: Call,
}

pub(super) fn read_write(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Write> {
    let mut fields = Fields::open(node, "writing", reader.source, report)?;
    let key = fields.text("key", report).map(str::to_owned);
    let size = batch(&mut fields, report);
    let bisect = fields.optional_bool("bisect", report).unwrap_or(false);
    let strategies = [("upsert", 0), ("find_then_write", 1)];
    let (strategy, find) = match fields.choice("strategy", &strategies, report) {
        Some(0) => (
            step(reader, "upsert", size, &mut fields, report).map(Strategy::Upsert),
            fields.optional("find"),
        ),
        Some(_) => {
            let find = fields.required("find", report);
            let create = step(reader, "create", size, &mut fields, report);
            // Without it nothing is right.
            (
                create.filter(|_| find.is_some()).map(Strategy::FindThenWrite),
                find,
            )
        }
        None => (None, None),
    };
    let find = find.map(|node| read_find(reader, node, report));
    let update = step(reader, "update", size, &mut fields, report);
    let delete = fields.optional("delete");
    let delete = delete.map(|node| step_at(reader, node, size, report));
    let create_only = read_create_only(&mut fields, report);
    let row_for = fields.texts("row_for", report).into_iter().map(str::to_owned);
    let row_for = row_for.collect();
    let transitions = fields
        .optional("transitions")
        .map(|n| read_transitions(reader, n, report));
    if let (Some(_), Some(Strategy::Upsert(_))) = (&transitions, &strategy) {
        report.error(
            "IC0211",
            reader.source,
            fields.key_place("transitions").unwrap_or(node.place),
            "transitions need to know where an object stands, an upsert does not tell",
            "use `strategy: find_then_write`",
        );
    }
    let bulk = fields.optional("bulk").map(|n| WriteJob::read(reader, n, report));
    if let (Some(_), Some(Strategy::FindThenWrite(_))) = (&bulk, &strategy) {
        report.error(
            "IC0211",
            reader.source,
            fields.key_place("bulk").unwrap_or(node.place),
            "a job may be given twice, which makes two objects unless the system finds them by our key",
            "use `strategy: upsert`",
        );
    }
    fields.finish(report);
    Some(Write {
        key: key?,
        batch: size?,
        bisect,
        strategy: strategy?,
        find: match find {
            Some(find) => Some(find?),
            None => None,
        },
        update: update?,
        delete: match delete {
            Some(delete) => Some(delete?),
            None => None,
        },
        create_only,
        row_for,
        transitions: match transitions {
            Some(transitions) => Some(transitions?),
            None => None,
        },
        bulk: match bulk {
            Some(bulk) => Some(Box::new(bulk?)),
            None => None,
        },
    })
}

fn step(
    reader: &mut Reader<'_>,
    key: &'static str,
    size: Option<usize>,
    fields: &mut Fields<'_>,
    report: &mut Report,
) -> Option<Step> {
    let node = fields.required(key, report)?;
    step_at(reader, node, size, report)
}

fn step_at(reader: &mut Reader<'_>, node: &Node, size: Option<usize>, report: &mut Report) -> Option<Step> {
    let mut fields = Fields::open(node, "a step of writing", reader.source, report)?;
    let own = fields.optional_integer("batch", BATCH, report);
    let own = own.and_then(|size| usize::try_from(size).ok());
    let request = reader.call("request", &mut fields, &["batch", "key"], report);
    let names = ["config", "object", "vars", "headers", "status", "batch"];
    let results = reader.program("results", &mut fields, &names, report);
    fields.finish(report);
    Some(Step {
        batch: own.or(size)?,
        request: request?,
        results: results?,
    })
}

fn read_find(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Find> {
    let mut fields = Fields::open(node, "finding by key", reader.source, report)?;
    let size = batch(&mut fields, report);
    let request = reader.call("request", &mut fields, &["keys", "key"], report);
    let pairs = reader.program("pairs", &mut fields, &REPLY, report);
    fields.finish(report);
    Some(Find {
        batch: size?,
        request: request?,
        pairs: pairs?,
    })
}

fn read_create_only(fields: &mut Fields<'_>, report: &mut Report) -> Vec<CreateOnly> {
    let mut found = Vec::new();
    for node in fields.list("create_only", report) {
        let names = match &node.value {
            Value::List(items) => items.iter().map(Node::text).collect(),
            _ => node.text().map(|field| vec![field]),
        };
        match names.as_deref() {
            Some([field, with @ ..]) => found.push(CreateOnly {
                field: (*field).to_owned(),
                with: with.iter().map(|field| (*field).to_owned()).collect(),
            }),
            _ => {
                let expected = "a field, or a list of a field and those that go with it";
                fields.wrong::<()>("create_only", node, expected, report);
            }
        }
    }
    found
}

fn read_transitions(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Transitions> {
    let mut fields = Fields::open(node, "the transitions", reader.source, report)?;
    let field = fields.text("field", report).map(str::to_owned);
    let initial = fields.text("initial", report).map(str::to_owned);
    let keep = fields
        .texts("keep", report)
        .into_iter()
        .map(str::to_owned)
        .collect();
    fields.required("moves", report);
    let moves: Vec<Move> = fields
        .list("moves", report)
        .iter()
        .filter_map(|n| {
            let mut fields = Fields::open(n, "a move", reader.source, report)?;
            let from: Vec<String> = fields
                .texts("from", report)
                .into_iter()
                .map(str::to_owned)
                .collect();
            fields.required("from", report);
            let to = fields.text("to", report).map(str::to_owned);
            let request = reader.call("request", &mut fields, &["ids"], report);
            fields.finish(report);
            Some(Move {
                from,
                to: to?,
                request: request?,
            })
        })
        .collect();
    fields.finish(report);
    Some(Transitions {
        field: field?,
        initial: initial?,
        keep,
        moves,
    })
}
