//! Objects: how they are read, and written.

use std::collections::BTreeMap;

use diagnostic::{Fields, Node, Report, Source, Value};
use serde_json::{Map, Value as Json};

use super::job::Part;
use super::posted;
use super::reader::Reader;
use super::reading::{ByIds, Census, Changes, read_reads};
use super::request::Call;
use super::writing::{Write, read_write};
use crate::codec::Type;
use crate::template::Template;
use program::Program;

/// Names that programs over replies may use: `headers` are those of the answer, `status` is its status.
pub(super) const REPLY: [&str; 5] = ["config", "object", "vars", "headers", "status"];
/// Names that programs over what a lookup is answered may use besides: what was asked for, and the page.
const LOOKED_UP: [&str; 8] = [
    "config", "object", "vars", "headers", "status", "keys", "ids", "after",
];
/// Fewest and most objects a batch or page may have.
pub(super) const BATCH: std::ops::RangeInclusive<i64> = 1..=10_000;

/// How a system tells which fields an object has.
pub(crate) struct Discovery {
    pub(crate) request: Call,
    pub(crate) items: Program,
}

/// One kind of object.
pub(crate) struct Object {
    pub(crate) vars: Map<String, Json>,
    pub(crate) id: Program,
    pub(crate) modified: Option<Program>,
    pub(crate) version: Option<Program>,
    pub(crate) deleted: Option<Program>,
    /// Where the system's clock hangs, if its times do not say it.
    pub(crate) zone: Option<Template>,
    pub(crate) origin: Option<Program>,
    /// Which objects a row says have become one: pairs of `from` and `to`.
    pub(crate) merged: Option<Program>,
    /// Where a row keeps the fields that mappings read; the row itself when nothing is said.
    pub(crate) values: Option<Program>,
    /// Which of our records a posted object is, by our own id.
    pub(crate) record: Option<Program>,
    /// Fields that are read whether anybody asked for them or not.
    pub(crate) always: Vec<String>,
    /// Types of fields whose values need another form on the wire.
    pub(crate) types: BTreeMap<String, Type>,
    pub(crate) children: BTreeMap<String, Child>,
    pub(crate) flat: BTreeMap<String, Flat>,
    pub(crate) lookups: BTreeMap<String, Lookup>,
    pub(crate) changes: Option<Changes>,
    pub(crate) by_ids: Option<ByIds>,
    pub(crate) census: Option<Census>,
    /// Tells how many objects there are.
    pub(crate) count: Option<Part>,
    pub(crate) associations: BTreeMap<String, Association>,
    pub(crate) write: Option<Write>,
}

impl Object {
    /// An object of which nothing is known but where its id is.
    pub(super) fn of(id: Program) -> Object {
        Object {
            vars: Map::new(),
            id,
            modified: None,
            version: None,
            deleted: None,
            zone: None,
            origin: None,
            merged: None,
            values: None,
            record: None,
            always: Vec::new(),
            types: BTreeMap::new(),
            children: BTreeMap::new(),
            flat: BTreeMap::new(),
            lookups: BTreeMap::new(),
            changes: None,
            by_ids: None,
            census: None,
            count: None,
            associations: BTreeMap::new(),
            write: None,
        }
    }
}

/// A row of a list that belongs to the object, chosen by what it holds.
pub(crate) struct Child {
    pub(crate) list: String,
    pub(crate) choose: Map<String, Json>,
    /// The field of the row that says whether it counts.
    pub(crate) active: Option<String>,
}

/// A field that mappings see as plain, and that stands elsewhere on the wire.
pub(crate) struct Flat {
    pub(crate) child: Option<String>,
    pub(crate) field: String,
    /// Where it is read, when that differs from where it is written.
    pub(crate) read: String,
    pub(crate) lookup: Option<String>,
    /// A row without this value makes no sense: clearing it removes the row. A field of the object itself is not cleared.
    pub(crate) required: bool,
    /// Tells of an object as it is whether what stands there is to stay.
    pub(crate) keep: Option<Program>,
    /// The text that a new object gets where the lookup leaves out the one that is meant; empty for none.
    pub(crate) instead: Option<Template>,
}

/// How a text becomes the id of another object, and an id its text.
pub(crate) struct Lookup {
    pub(crate) what: String,
    pub(crate) request: Call,
    pub(crate) pairs: Program,
    /// Texts, or ids, that are asked for at once.
    pub(crate) batch: usize,
    /// Where a list of everything there is goes on.
    pub(crate) next: Option<Program>,
    /// It also says the texts of ids that are read.
    pub(crate) reads: bool,
    /// A field whose text names nothing is left out; otherwise its record is refused.
    pub(crate) leave_out: bool,
    /// How an object is made for a text that the system does not know.
    pub(crate) create: Option<Creation>,
}

pub(crate) struct Creation {
    /// Whether the connection wants that: `true`.
    pub(crate) when: Option<Template>,
    pub(crate) request: Call,
    /// The id of what was made.
    pub(crate) value: Program,
}

/// References that the system keeps apart from the object.
pub(crate) struct Association {
    pub(crate) batch: usize,
    pub(crate) request: Call,
    pub(crate) pairs: Program,
    pub(crate) more: Option<Program>,
    pub(crate) write: Option<AssociationWrite>,
}

pub(crate) struct AssociationWrite {
    pub(crate) batch: usize,
    pub(crate) set: Call,
    pub(crate) clear: Option<Call>,
    pub(crate) refused: Option<Program>,
}

pub(super) fn read_discovery(
    reader: &mut Reader<'_>,
    root: &mut Fields<'_>,
    report: &mut Report,
) -> Option<Discovery> {
    let node = root.optional("fields")?;
    let mut fields = Fields::open(node, "the discovery of fields", reader.source, report)?;
    let request = reader.call("request", &mut fields, &[], report);
    let items = reader.program("items", &mut fields, &REPLY, report);
    fields.finish(report);
    Some(Discovery {
        request: request?,
        items: items?,
    })
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &mut Fields<'_>,
    report: &mut Report,
) -> BTreeMap<String, Object> {
    let templates = root.map("templates", report);
    let mut objects = BTreeMap::new();
    for (name, place, node) in root.map("objects", report) {
        let Some(merged) = extended(node, templates, reader.source, report) else {
            continue;
        };
        // Objects of one template share its findings; they are shown once.
        let mut own = Report::new();
        let object = match reader.posted {
            true => posted::one(reader, &merged, &mut own),
            false => one(reader, &merged, &mut own),
        };
        if own.findings().iter().any(|f| !report.findings().contains(f)) {
            report.merge(own);
        }
        match object {
            Some(object) => {
                objects.insert(name.clone(), object);
            }
            None if !report.has_errors() => {
                report.error(
                    "IC0209",
                    reader.source,
                    *place,
                    format!("`{name}` cannot be read"),
                    "",
                );
            }
            None => {}
        }
    }
    if root.map("objects", report).is_empty() {
        let message = "the manifest has no objects";
        report.error(
            "IC0209",
            reader.source,
            root.key_place("objects").unwrap_or(root.place()),
            message,
            "add `objects:` with at least one",
        );
    }
    objects
}

/// The node itself, or its template with what the node says instead.
fn extended(
    node: &Node,
    templates: &[(String, diagnostic::Place, Node)],
    source: &Source,
    report: &mut Report,
) -> Option<Node> {
    let Some(extends) = node.get("extends") else {
        return Some(node.clone());
    };
    let name = extends.text().unwrap_or_default();
    match templates.iter().find(|(template, _, _)| template == name) {
        Some((_, _, template)) => Some(merged(template, node)),
        None => {
            let hint = diagnostic::suggestion(name, templates.iter().map(|(n, _, _)| n.as_str()));
            let message = format!("`{name}` is not a template of this manifest");
            report.error("IC0209", source, extends.place, message, hint);
            None
        }
    }
}

/// A map with what another one says instead.
pub(super) fn merged(under: &Node, over: &Node) -> Node {
    let (Value::Map(below), Value::Map(above)) = (&under.value, &over.value) else {
        return over.clone();
    };
    let mut entries = below.clone();
    for (key, place, value) in above.iter().filter(|(key, _, _)| key != "extends") {
        match entries.iter_mut().find(|(k, _, _)| k == key) {
            Some((_, p, v)) => {
                *p = *place;
                *v = merged(v, value);
            }
            None => entries.push((key.clone(), *place, value.clone())),
        }
    }
    Node {
        place: over.place,
        value: Value::Map(entries),
    }
}

fn one(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Object> {
    let source = reader.source;
    let mut fields = Fields::open(node, "an object", source, report)?;
    let vars = json_map(fields.map("vars", report));
    let id = reader.program("id", &mut fields, &REPLY, report);
    let mut optional = |key, report: &mut Report| reader.optional_program(key, &mut fields, &REPLY, report);
    let modified = optional("modified", report);
    let version = optional("version", report);
    let deleted = optional("deleted", report);
    let origin = optional("origin", report);
    let merged = optional("merged", report);
    let values = optional("values", report);
    let zone = match fields.optional("zone") {
        Some(node) => Some(reader.template(node, &["config"], report)?),
        None => None,
    };
    let always = fields
        .texts("always", report)
        .into_iter()
        .map(str::to_owned)
        .collect();
    let types = read_types(&mut fields, report);
    let children = named(&mut fields, "children", report, |node, report| {
        child(node, source, report)
    });
    let flat = named(&mut fields, "flatten", report, |node, report| {
        flat(reader, node, report)
    });
    let lookups = named(&mut fields, "lookups", report, |node, report| {
        lookup(reader, node, report)
    });
    for (_, place, node) in fields.map("flatten", report) {
        refers(node, "child", &children, *place, source, report);
        refers(node, "lookup", &lookups, *place, source, report);
    }
    let reads = read_reads(reader, &mut fields, report);
    let associations = named(&mut fields, "associations", report, |node, report| {
        association(reader, node, report)
    });
    let write = fields.optional("write").map(|n| read_write(reader, n, report));
    if let (Some(place), Some(_), false) = (fields.key_place("write"), &reads.changes, reads.says_by_ids) {
        report.error(
            "IC0213",
            reader.source,
            place,
            "what is read while it is written is read again by its id, and the manifest does not say how",
            "add `by_ids` beside `changes`",
        );
    }
    fields.finish(report);
    Some(Object {
        vars,
        modified,
        version,
        deleted,
        zone,
        origin,
        merged,
        values,
        always,
        types,
        children,
        flat,
        lookups,
        changes: reads.changes,
        by_ids: reads.by_ids,
        census: reads.census,
        count: reads.count,
        associations,
        write: match write {
            Some(write) => Some(write?),
            None => None,
        },
        ..Object::of(id?)
    })
}

fn named<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    report: &mut Report,
    mut one: impl FnMut(&Node, &mut Report) -> Option<T>,
) -> BTreeMap<String, T> {
    fields
        .map(key, report)
        .iter()
        .filter_map(|(name, _, node)| Some((name.clone(), one(node, report)?)))
        .collect()
}

pub(super) fn json_map(entries: &[(String, diagnostic::Place, Node)]) -> Map<String, Json> {
    entries
        .iter()
        .map(|(key, _, node)| (key.clone(), node.to_json()))
        .collect()
}

fn refers<T>(
    node: &Node,
    key: &str,
    known: &BTreeMap<String, T>,
    place: diagnostic::Place,
    source: &Source,
    report: &mut Report,
) {
    if let Some(name) = node.get(key).and_then(Node::text)
        && !known.contains_key(name)
    {
        let hint = diagnostic::suggestion(name, known.keys().map(String::as_str));
        report.error(
            "IC0209",
            source,
            place,
            format!("`{name}` is not a {key} of this object"),
            hint,
        );
    }
}

fn read_types(fields: &mut Fields<'_>, report: &mut Report) -> BTreeMap<String, Type> {
    let mut types = BTreeMap::new();
    for (name, _, node) in fields.map("types", report) {
        match node.text().and_then(Type::named) {
            Some(kind) => {
                types.insert(name.clone(), kind);
            }
            None => {
                fields.wrong::<()>(
                    name,
                    node,
                    "decimal, date, datetime, boolean or reference",
                    report,
                );
            }
        }
    }
    types
}

fn child(node: &Node, source: &Source, report: &mut Report) -> Option<Child> {
    let mut fields = Fields::open(node, "a child", source, report)?;
    let list = fields.text("list", report).map(str::to_owned);
    let choose = json_map(fields.map("where", report));
    let active = fields.optional_text("active", report).map(str::to_owned);
    fields.finish(report);
    Some(Child {
        list: list?,
        choose,
        active,
    })
}

fn flat(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Flat> {
    let mut fields = Fields::open(node, "a flattened field", reader.source, report)?;
    let child = fields.optional_text("child", report).map(str::to_owned);
    let field = fields.text("field", report).map(str::to_owned);
    let read = fields.optional_text("read", report).map(str::to_owned);
    let lookup = fields.optional_text("lookup", report).map(str::to_owned);
    let required = fields.optional_bool("required", report).unwrap_or(false);
    let keep = reader.optional_program("keep", &mut fields, &[], report);
    let instead = fields.optional("instead");
    let instead = instead.and_then(|node| reader.template(node, &["config"], report));
    fields.finish(report);
    let field = field?;
    Some(Flat {
        child,
        read: read.unwrap_or_else(|| field.clone()),
        field,
        lookup,
        required,
        keep,
        instead,
    })
}

fn lookup(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Lookup> {
    let mut fields = Fields::open(node, "a lookup", reader.source, report)?;
    let what = fields.text("what", report).map(str::to_owned);
    let request = reader.call("request", &mut fields, &["keys", "ids", "after"], report);
    let pairs = reader.program("pairs", &mut fields, &LOOKED_UP, report);
    let next = reader.optional_program("next", &mut fields, &LOOKED_UP, report);
    let reads = fields.optional_bool("reads", report).unwrap_or(false);
    let batch = fields.optional_integer("batch", BATCH, report);
    let missing = [("refuse", false), ("leave_out", true)];
    let leave_out = fields.optional_choice("missing", &missing, report);
    let create = fields
        .optional("create")
        .map(|node| creation(reader, node, report));
    fields.finish(report);
    Some(Lookup {
        what: what?,
        request: request?,
        pairs: pairs?,
        batch: batch
            .and_then(|batch| usize::try_from(batch).ok())
            .unwrap_or(usize::MAX),
        next,
        reads,
        leave_out: leave_out.unwrap_or(false),
        create: match create {
            Some(create) => Some(create?),
            None => None,
        },
    })
}

fn creation(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Creation> {
    let mut fields = Fields::open(node, "making what is missing", reader.source, report)?;
    let when = fields
        .optional("when")
        .map(|node| reader.template(node, &["config"], report));
    let request = reader.call("request", &mut fields, &["key"], report);
    let value = reader.program("value", &mut fields, &REPLY, report);
    fields.finish(report);
    Some(Creation {
        when: match when {
            Some(when) => Some(when?),
            None => None,
        },
        request: request?,
        value: value?,
    })
}

fn association(reader: &mut Reader<'_>, node: &Node, report: &mut Report) -> Option<Association> {
    let mut fields = Fields::open(node, "an association", reader.source, report)?;
    let size = batch(&mut fields, report);
    let request = reader.call("request", &mut fields, &["ids", "after"], report);
    let pairs = reader.program("pairs", &mut fields, &REPLY, report);
    let more = reader.optional_program("more", &mut fields, &REPLY, report);
    let write = fields.optional("write").map(|n| {
        let mut fields = Fields::open(n, "writing an association", reader.source, report)?;
        let batch = batch(&mut fields, report);
        let set = reader.call("set", &mut fields, &["pairs"], report);
        let clear = match fields.key_place("clear") {
            Some(_) => reader.call("clear", &mut fields, &["pairs"], report),
            None => fields.optional("clear").and(None),
        };
        let refused = reader.optional_program("refused", &mut fields, &REPLY, report);
        fields.finish(report);
        Some(AssociationWrite {
            batch: batch?,
            set: set?,
            clear,
            refused,
        })
    });
    fields.finish(report);
    Some(Association {
        batch: size?,
        request: request?,
        pairs: pairs?,
        more,
        write: match write {
            Some(write) => Some(write?),
            None => None,
        },
    })
}

pub(super) fn batch(fields: &mut Fields<'_>, report: &mut Report) -> Option<usize> {
    fields.required("batch", report)?;
    fields
        .optional_integer("batch", BATCH, report)
        .and_then(|n| usize::try_from(n).ok())
}
