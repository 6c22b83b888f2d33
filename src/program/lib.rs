//! [`Program`]: an expression from JSON to JSON, as `{ jq: … }` or a plain path in a manifest, and as `jq:` in a mapping.
//!
//! It knows neither HTTP nor records: the crates that do hand it a value and take what it makes of that.
//!
//! A plain path (`.records[]`, `.paging.next.after`) is walked by us: no conversion, every digit of every number kept.
//! Everything else is jq, run by jaq, in a *closed vocabulary*: no definitions, no `range`, `repeat`, `until` or other
//! generator from nothing.
//! jaq has no fuel, and a program runs on what a foreign system sends; without recursion every program ends after work
//! that its input bounds, so that no watchdog thread is needed.
//! Numbers pass through unchanged (`1.10` stays `1.10`); a program that computes a fraction is refused at run time,
//! because it would have gone through a float.

use std::fmt;

use bytes::Bytes;
use diagnostic::{Place, Source};
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, ValT as _, Vars, data, unwrap_valr};
use jaq_json::{Num, Val};
use serde_json::{Map, Value as Json};

pub mod document;
mod reads;
mod vocabulary;

use reads::Reads;
use vocabulary::{OWN, VOCABULARY, foreign};

/// How many values one program may give.
pub const OUTPUTS_MAX: usize = 100_000;
/// Characters of what jq says about a failure that are passed on.
const MESSAGE_CHARS_MAX: usize = 500;

type Filter = jaq_core::Filter<data::JustLut<Val>>;

/// A compiled expression. Cheap to run, never changes.
pub struct Program {
    source: String,
    kind: Kind,
}

enum Kind {
    Path(Vec<Step>),
    Jq {
        filter: Box<Filter>,
        /// Each variable, and whether the expression mentions it.
        names: Vec<(&'static str, bool)>,
        /// What it reads of its input.
        reads: Reads,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    Each,
}

/// Why an expression does not compile, and where in its text.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Bytes from the start of the text.
    pub offset: Option<usize>,
    /// How many bytes are wrong; 0 for all up to the end.
    pub length: usize,
}

impl Broken {
    /// The place inside an expression, when the file shows the expression as it was parsed; else that of all of it.
    pub fn place(&self, text: &str, place: Place, source: &Source) -> Place {
        let Some(offset) = self.offset.and_then(|o| text.get(..o)).map(|s| s.chars().count()) else {
            return place;
        };
        let length = place.end.saturating_sub(place.start);
        let shown: String = source.text.chars().skip(place.start).take(length).collect();
        match shown.find(text) {
            Some(byte) if !text.contains('\n') => {
                let skip = shown[..byte].chars().count() + offset;
                let wrong = match self.length {
                    0 => text.chars().count().saturating_sub(offset).max(1),
                    length => length,
                };
                Place {
                    start: place.start + skip,
                    end: place.start + skip + wrong,
                    line: place.line,
                    column: place.column + skip,
                }
            }
            _ => place,
        }
    }
}

/// Why an expression gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The input is not of the shape that the program is for.
    #[error("`{program}` fails on this input: {message}")]
    Failed {
        /// The program, shortened.
        program: String,
        /// What jq says.
        message: String,
    },
    /// A fraction was computed, in binary.
    #[error(
        "`{0}` computed a number with a fraction, which would not be exact: pass numbers through unchanged"
    )]
    Inexact(String),
    /// More than [`OUTPUTS_MAX`] values.
    #[error("`{0}` gave more than {OUTPUTS_MAX} values")]
    TooMany(String),
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({})", self.source)
    }
}

impl Program {
    /// Compiles an expression that may use these variables (without `$`).
    pub fn compile(source: &str, names: &[&'static str]) -> Result<Program, Broken> {
        let kind = match path(source.trim()) {
            Some(steps) => Kind::Path(steps),
            None => Kind::Jq {
                filter: Box::new(compiled(source, names)?),
                names: names.iter().map(|name| (*name, mentions(source, name))).collect(),
                reads: Reads::of(&load::parse(source, |p| p.term()).unwrap_or_default()),
            },
        };
        Ok(Program {
            source: source.trim().to_owned(),
            kind,
        })
    }

    /// All values that the expression gives; `get` supplies the variables, null where it has none.
    pub fn run<'v>(
        &self,
        input: &Json,
        get: &dyn Fn(&str) -> Option<&'v Json>,
    ) -> Result<Vec<Json>, RunError> {
        match &self.kind {
            Kind::Path(steps) => {
                let mut found = Vec::new();
                self.walk(input, steps, &mut found)?;
                Ok(found)
            }
            Kind::Jq { filter, names, reads } => {
                let found = self.run_jq(filter, names, reads.convert(input), get);
                match found {
                    // What it says of its input is to show all of it.
                    Err(RunError::Failed { .. }) if !reads.is_whole() => {
                        self.run_jq(filter, names, to_val(input), get)
                    }
                    found => found,
                }
            }
        }
    }

    fn run_jq<'v>(
        &self,
        filter: &Filter,
        names: &[(&'static str, bool)],
        input: Val,
        get: &dyn Fn(&str) -> Option<&'v Json>,
    ) -> Result<Vec<Json>, RunError> {
        let var = |(name, mentioned): &(&str, bool)| match mentioned {
            true => get(name).map_or(Val::Null, to_val),
            false => Val::Null,
        };
        let ctx = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new(names.iter().map(var)));
        let mut found = Vec::new();
        for output in filter.id.run((ctx, input)).map(unwrap_valr) {
            if found.len() == OUTPUTS_MAX {
                return Err(RunError::TooMany(self.name()));
            }
            let output = output.map_err(|e| RunError::Failed {
                program: self.name(),
                message: shortened(e.to_string()),
            })?;
            found.push(from_val(&output).ok_or_else(|| RunError::Inexact(self.name()))?);
        }
        Ok(found)
    }

    /// All values that the expression gives of an input that nobody needs any more: a path takes them out of it.
    pub fn take<'v>(
        &self,
        mut input: Json,
        get: &dyn Fn(&str) -> Option<&'v Json>,
    ) -> Result<Vec<Json>, RunError> {
        let Kind::Path(steps) = &self.kind else {
            return self.run(&input, get);
        };
        let (each, steps) = match steps.split_last() {
            Some((Step::Each, before)) => (true, before),
            _ => (false, steps.as_slice()),
        };
        let mut at = &mut input;
        for step in steps {
            let inner = match (step, &mut *at) {
                (Step::Key(key), Json::Object(map)) => map.get_mut(key),
                (Step::Index(index), Json::Array(items)) => items.get_mut(*index),
                _ => None,
            };
            match inner {
                Some(inner) => at = inner,
                // What is not there, or not of that kind, is told as it is anywhere else.
                None => return self.run(&input, get),
            }
        }
        match (each, at) {
            (false, found) => Ok(vec![found.take()]),
            (true, Json::Array(items)) if items.len() <= OUTPUTS_MAX => Ok(std::mem::take(items)),
            (true, _) => self.run(&input, get),
        }
    }

    /// The first value that the expression gives; null if it gives none.
    pub fn one<'v>(&self, input: &Json, get: &dyn Fn(&str) -> Option<&'v Json>) -> Result<Json, RunError> {
        Ok(self.run(input, get)?.into_iter().next().unwrap_or(Json::Null))
    }

    /// The whole expression.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is a plain path, which cannot be misspelt in a way that only an input shows.
    pub fn is_path(&self) -> bool {
        matches!(self.kind, Kind::Path(_))
    }

    /// The members of its input that the expression looks at, each with the names that lead to it, as far as its text
    /// tells: what it computes names from, and what it looks at in items of lists, is not among them.
    pub fn members(&self) -> Vec<Vec<&str>> {
        match &self.kind {
            Kind::Path(steps) => {
                let keys = steps.iter().map_while(|step| match step {
                    Step::Key(key) => Some(key.as_str()),
                    Step::Index(_) | Step::Each => None,
                });
                let keys: Vec<&str> = keys.collect();
                if keys.is_empty() { Vec::new() } else { vec![keys] }
            }
            Kind::Jq { reads, .. } => reads.members(),
        }
    }

    /// Those [`Program::members`] that the expression compares with a number that stands in its text.
    pub fn numbered(&self) -> Vec<Vec<&str>> {
        match &self.kind {
            Kind::Path(_) => Vec::new(),
            Kind::Jq { reads, .. } => reads.numbered(),
        }
    }

    /// Those [`Program::members`] that the expression puts in order with a text that is a number.
    pub fn quoted(&self) -> Vec<Vec<&str>> {
        match &self.kind {
            Kind::Path(_) => Vec::new(),
            Kind::Jq { reads, .. } => reads.quoted(),
        }
    }

    /// The expression, shortened, for messages.
    pub fn name(&self) -> String {
        let line = self.source.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(60) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }

    fn walk(&self, value: &Json, steps: &[Step], found: &mut Vec<Json>) -> Result<(), RunError> {
        let failed = |expected: &str| {
            Err(RunError::Failed {
                program: self.name(),
                message: format!("found {}, expected {expected}", kind_of(value)),
            })
        };
        let Some((step, rest)) = steps.split_first() else {
            found.push(value.clone());
            return Ok(());
        };
        match (step, value) {
            (Step::Key(key), Json::Object(map)) => {
                self.walk(map.get(key).unwrap_or(&Json::Null), rest, found)
            }
            (Step::Index(index), Json::Array(items)) => {
                self.walk(items.get(*index).unwrap_or(&Json::Null), rest, found)
            }
            (Step::Key(_) | Step::Index(_), Json::Null) => self.walk(&Json::Null, rest, found),
            (Step::Each, Json::Array(items)) => {
                if items.len() > OUTPUTS_MAX {
                    return Err(RunError::TooMany(self.name()));
                }
                items.iter().try_for_each(|item| self.walk(item, rest, found))
            }
            (Step::Key(_), _) => failed("an object"),
            (Step::Index(_) | Step::Each, _) => failed("a list"),
        }
    }
}

/// Whether an expression may read a variable: a page or a batch is not worth converting for those that do not.
fn mentions(source: &str, name: &str) -> bool {
    source
        .match_indices('$')
        .any(|(at, _)| source[at + 1..].starts_with(name))
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn kind_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "nothing",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// Reads a plain path; anything else is left to jq.
fn path(source: &str) -> Option<Vec<Step>> {
    if source == "." {
        return Some(Vec::new());
    }
    let mut steps = Vec::new();
    let mut rest = source;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[]").or_else(|| rest.strip_prefix(".[]")) {
            steps.push(Step::Each);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[').or_else(|| rest.strip_prefix(".[")) {
            let (inside, after) = after.split_once(']')?;
            steps.push(match inside.strip_prefix('"').and_then(|i| i.strip_suffix('"')) {
                Some(key) if !key.contains(['"', '\\']) => Step::Key(key.to_owned()),
                Some(_) => return None,
                None => Step::Index(inside.parse().ok()?),
            });
            rest = after;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(after.len());
            if end == 0 || after.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            steps.push(Step::Key(after[..end].to_owned()));
            rest = &after[end..];
        }
    }
    // A path starts at the input: `[0]` alone is a list in jq.
    (source.starts_with('.') && !steps.is_empty()).then_some(steps)
}

/// Whether a name that nobody knows stands for itself, like a field whose dot was forgotten.
fn is_bare(source: &str, name: &str) -> bool {
    let after = &source[load::span(source, name).end..];
    let mut of_jq = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let mut native = jaq_core::funs::<data::JustLut<Val>>();
    !after.trim_start().starts_with('(')
        && !of_jq.any(|def| def.name == name)
        && !native.any(|function| function.0 == name)
}

fn compiled(source: &str, names: &[&'static str]) -> Result<Filter, Broken> {
    let offset = |part: &str| Some(load::span(source, part).start);
    if let Some(term) = load::parse(source, |p| p.term()) {
        let mut unknown = Vec::new();
        foreign(&term, &mut unknown);
        if let Some((name, message)) = unknown.into_iter().next() {
            let hint = match diagnostic::suggestion(name, VOCABULARY.iter().copied()) {
                close if close.starts_with("did you mean") => close,
                _ if message.starts_with('`') && is_bare(source, name) => {
                    format!("a field has a dot before its name: `.{name}`")
                }
                _ => "a program must end on every input; connectors/README.md lists what is available"
                    .to_owned(),
            };
            return Err(Broken {
                message,
                hint,
                offset: offset(name),
                length: name.len(),
            });
        }
    }
    let own = load::parse(OWN, |p| p.defs()).unwrap_or_default();
    let defs = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .chain(own);
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let funs = funs.chain([vocabulary::texts()]);
    let arena = Arena::default();
    let modules = Loader::new(defs)
        .load(
            &arena,
            File {
                code: source,
                path: (),
            },
        )
        .map_err(|errors| not_jq(source, errors))?;
    let globals: Vec<String> = names.iter().map(|name| format!("${name}")).collect();
    Compiler::default()
        .with_funs(funs)
        .with_global_vars(globals.iter().map(String::as_str))
        .compile(modules)
        .map_err(|errors| {
            let first = errors
                .into_iter()
                .next()
                .and_then(|(_, list)| list.into_iter().next());
            let (part, what) = first.map_or(("", "name"), |(part, undefined)| (part, undefined.as_str()));
            let here = names.join(", $");
            Broken {
                message: format!("`{part}` is not a known {what} here"),
                hint: match (part.starts_with('$'), here.is_empty()) {
                    (true, true) => "this expression has no variables".to_owned(),
                    (true, false) => format!("variables here are: ${here}"),
                    (false, _) => "check the name and the number of its arguments".to_owned(),
                },
                offset: offset(part),
                length: part.len(),
            }
        })
}

fn not_jq(source: &str, errors: load::Errors<&str, ()>) -> Broken {
    let first = errors.into_iter().next().map(|(_, error)| error);
    let (message, part) = match first {
        Some(load::Error::Lex(list)) => match list.into_iter().next() {
            Some((expect, part)) => (format!("expected {}", expect.as_str()), part),
            None => ("not a jq expression".to_owned(), ""),
        },
        Some(load::Error::Parse(list)) => match list.into_iter().next() {
            Some((expect, part)) => (format!("expected {}", expect.as_str()), part),
            None => ("not a jq expression".to_owned(), ""),
        },
        _ => ("modules cannot be imported".to_owned(), ""),
    };
    let offset = if part.is_empty() {
        source.len()
    } else {
        load::span(source, part).start
    };
    Broken {
        message: format!("not a jq expression: {message}"),
        hint: "check the expression at the caret".to_owned(),
        offset: Some(offset),
        length: 0,
    }
}

fn to_val(value: &Json) -> Val {
    match value {
        Json::Null => Val::Null,
        Json::Bool(b) => Val::Bool(*b),
        // Keeps the digits of a decimal as text until something computes with it.
        Json::Number(number) => Val::from_num(&number.to_string()).unwrap_or(Val::Null),
        Json::String(text) => text_val(text),
        Json::Array(items) => items.iter().map(to_val).collect(),
        Json::Object(map) => Val::obj(
            map.iter()
                .map(|(key, value)| (text_val(key), to_val(value)))
                .collect(),
        ),
    }
}

fn text_val(text: &str) -> Val {
    Val::utf8_str(Bytes::copy_from_slice(text.as_bytes()))
}

/// Nothing when a number went through a float.
fn from_val(value: &Val) -> Option<Json> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    Some(match value {
        Val::Null => Json::Null,
        Val::Bool(b) => Json::Bool(*b),
        Val::Num(Num::Float(_)) => return None,
        Val::Num(Num::Dec(digits)) => Json::Number(digits.parse().ok()?),
        Val::Num(Num::Int(int)) => Json::from(*int),
        Val::Num(Num::BigInt(int)) => Json::Number(int.to_string().parse().ok()?),
        Val::BStr(bytes) | Val::TStr(bytes) => Json::String(text(bytes)),
        Val::Arr(items) => Json::Array(items.iter().map(from_val).collect::<Option<_>>()?),
        Val::Obj(entries) => {
            let mut map = Map::new();
            for (key, value) in entries.iter() {
                let key = match key {
                    Val::BStr(bytes) | Val::TStr(bytes) => text(bytes),
                    other => from_val(other)?.to_string(),
                };
                map.insert(key, from_val(value)?);
            }
            Json::Object(map)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn run(source: &str, input: &Json) -> Vec<Json> {
        let program = Program::compile(source, &["fields"]).unwrap();
        let fields = json!(["Name"]);
        program.run(input, &|_| Some(&fields)).unwrap()
    }

    fn parse(text: &str) -> Json {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn plain_paths_are_walked() {
        let page = json!({"records": [{"id": 1}, {"id": 2}], "paging": {"next": {"after": "9"}}, "a b": 3});
        assert_eq!(run(".records[]", &page), [json!({"id": 1}), json!({"id": 2})]);
        assert_eq!(run(".records[1].id", &page), [json!(2)]);
        assert_eq!(run(".paging.next.after", &page), [json!("9")]);
        assert_eq!(run(".paging.previous.after", &page), [Json::Null]);
        assert_eq!(run(".[\"a b\"]", &page), [json!(3)]);
        assert_eq!(run(".", &json!(1)), [json!(1)]);
        let each = Program::compile(".records[]", &[]).unwrap();
        assert!(each.run(&json!({"records": {}}), &|_| None).is_err());
    }

    #[test]
    fn an_expression_tells_which_members_it_looks_at() {
        for (source, members) in [
            (".", &[] as &[&str]),
            (".a.b", &["a.b"]),
            (".a[].b", &["a"]),
            (".a.b == 1 and (.a.c[] | .d)", &["a.b", "a.c"]),
            (".a as $x | $x.b // .c", &["a.b", "c"]),
            ("[.a.b, .a]", &["a.b", "a"]),
            (".[.a]", &["a"]),
            ("keys", &[]),
        ] {
            let program = Program::compile(source, &[]).unwrap();
            let found: Vec<String> = program.members().iter().map(|names| names.join(".")).collect();
            assert_eq!(found, members, "{source}");
        }
    }

    #[test]
    fn an_expression_tells_what_it_compares_with_a_number() {
        for (source, numbered) in [
            (".a.b > 10 and .c == \"10\"", &["a.b"] as &[&str]),
            ("-1 <= (.a // .b)", &["a", "b"]),
            (".a as $x | $x.b != 1.5", &["a.b"]),
            ("(.a | tonumber) > 10", &[]),
            (".a > .b and (.c | length) > 1", &[]),
            (".a.b", &[]),
        ] {
            let program = Program::compile(source, &[]).unwrap();
            let found: Vec<String> = program.numbered().iter().map(|names| names.join(".")).collect();
            assert_eq!(found, numbered, "{source}");
        }
    }

    #[test]
    fn an_expression_tells_what_it_puts_in_order_with_a_number_that_is_text() {
        for (source, quoted) in [
            (".a.b > \"10\" and .c == \"10\"", &["a.b"] as &[&str]),
            ("\"-1.5\" <= (.a // .b)", &["a", "b"]),
            (".a > \"2026-01-01\" or .b < \"ten\" or .c >= 10", &[]),
            (".a < \"1\\(.b)\"", &[]),
        ] {
            let program = Program::compile(source, &[]).unwrap();
            let found: Vec<String> = program.quoted().iter().map(|names| names.join(".")).collect();
            assert_eq!(found, quoted, "{source}");
        }
    }

    #[test]
    fn the_handbook_lists_what_there_is() {
        let handbook = include_str!("../../connectors/README.md");
        let listed = handbook
            .lines()
            .find_map(|line| line.strip_prefix("Functions: `"));
        let listed = listed.and_then(|line| line.strip_suffix("`.")).unwrap();
        let mut known = VOCABULARY.to_vec();
        known.sort_unstable();
        assert_eq!(listed.split(' ').collect::<Vec<_>>(), known);
    }

    #[test]
    fn decimal_numbers_in_text_can_be_compared() {
        let is_large = r#"(.a // "0" | tonumber) > 10000"#;
        for (amount, large) in [
            (json!("10000.01"), true),
            (json!("9999.99"), false),
            (json!("-20000"), false),
            (Json::Null, false),
        ] {
            assert_eq!(run(is_large, &json!({"a": amount})), [json!(large)], "{amount}");
        }
        let program = Program::compile(is_large, &[]).unwrap();
        let failed = program.run(&json!({"a": "much"}), &|_| None).unwrap_err();
        assert!(failed.to_string().contains("much"), "{failed}");
    }

    #[test]
    fn what_is_taken_is_what_is_found() {
        let page = json!({"r": [{"id": 1, "v": {"a": [1]}}, {"id": null}, 3], "n": null, "o": {"x": 1}});
        for source in [
            ".",
            ".r[]",
            ".r",
            ".r[0].v",
            ".r[0].v.a[]",
            ".r[7].v",
            ".n.x",
            ".n[]",
            ".o[]",
            ".r[].id",
            ".r.id",
            ".[\"o\"].x",
            ".r | length",
            "[.r[] | .id?]",
        ] {
            let program = Program::compile(source, &[]).unwrap();
            let found = program.run(&page, &|_| None);
            assert_eq!(program.take(page.clone(), &|_| None), found, "{source}");
        }
    }

    #[test]
    fn digits_survive_paths_and_jq() {
        let amounts = r#"{"r":[{"a":1234567890123456.78},{"a":1.10},{"a":100},{"a":1e400},{"a":-0.0},{"a":12345678901234567890123}]}"#;
        for source in [".r[]", ".r | map(.) | .[]", "[.r[] | {a}] | .[] | {a: .a}"] {
            let found = Json::Array(run(source, &parse(amounts)));
            assert_eq!(found, parse(amounts)["r"], "{source}");
        }
        assert_eq!(run(".a | tostring", &parse(r#"{"a":1.10}"#)), [json!("1.10")]);
    }

    #[test]
    fn a_program_that_computes_a_fraction_is_refused() {
        let program = Program::compile(".a * 2", &[]).unwrap();
        assert!(matches!(
            program.run(&parse(r#"{"a":1.10}"#), &|_| None),
            Err(RunError::Inexact(_))
        ));
    }

    #[test]
    fn endless_programs_do_not_compile() {
        for source in [
            "def f: f; f",
            "[repeat(1)]",
            "range(1000000000)",
            "until(false; .)",
            "[limit(3; recurse(.))]",
            "input",
            "env",
            "now",
        ] {
            let broken = Program::compile(source, &[]).unwrap_err();
            assert!(
                broken.message.contains("not available"),
                "{source}: {}",
                broken.message
            );
        }
    }

    #[test]
    fn values_are_put_into_their_groups() {
        let nested = |values: &str| run("nested", &parse(values));
        assert_eq!(
            nested(r#"{"a":null,"b.c":1.10,"b.d.e":"x","b.d.f":[],"":0,"g":"y","g.h":true}"#),
            [parse(
                r#"{"a":null,"b":{"c":1.10,"d":{"e":"x","f":[]}},"":0,"g":{"h":true}}"#
            )]
        );
        assert_eq!(nested("{}"), [json!({})]);
        let deep = parse(&format!(r#"{{"{}": 1}}"#, "a.".repeat(100_000)));
        let refused = Program::compile("nested", &[]).unwrap().run(&deep, &|_| None);
        assert!(matches!(refused, Err(RunError::Failed { .. })), "{refused:?}");
    }

    #[test]
    fn values_become_text_as_jq_would_write_them() {
        let values =
            parse(r#"{"a":null,"b":"x \"y\"","c":1.10,"d":true,"e":100,"f":["ä",null],"g":{"h":2}}"#);
        let texts = run("texts", &values);
        let in_jq = run(r#"map_values(if . == null then "" else tostring end)"#, &values);
        assert_eq!(texts, in_jq);
        assert_eq!(texts[0]["c"], "1.10");
        let refused = Program::compile("texts", &[])
            .unwrap()
            .run(&json!([1]), &|_| None);
        assert!(matches!(refused, Err(RunError::Failed { .. })), "{refused:?}");
    }

    #[test]
    fn only_variables_that_are_mentioned_are_asked_for() {
        let names = ["fields", "field", "batch", "key"];
        let asked = |source: &str| {
            let asked = std::cell::RefCell::new(Vec::new());
            let program = Program::compile(source, &names).unwrap();
            let value = json!("x");
            let get = |name: &str| {
                asked.borrow_mut().push(name.to_owned());
                Some(&value)
            };
            program.run(&json!({}), &get).unwrap();
            asked.into_inner()
        };
        assert_eq!(asked("{a: 1}"), [""; 0]);
        assert_eq!(asked("{a: $batch}"), ["batch"]);
        assert_eq!(asked(r#""\($key) and \($field)""#), ["field", "key"]);
    }

    /// What a program reads of its input: `a.b` is all of it, `.a` that it is there, `a[]` each item.
    fn reads(source: &str) -> String {
        fn list(reads: &Reads, at: &str, found: &mut Vec<String>) {
            let (each, members) = reads.parts();
            if reads.is_whole() {
                return found.push(format!("{at}*"));
            }
            if each.is_none() && members.is_empty() {
                found.push(format!("{at}?"));
            }
            if let Some(each) = each {
                list(each, &format!("{at}[]"), found);
            }
            for (name, member) in members {
                list(member, &format!("{at}.{name}"), found);
            }
        }
        let mut found = Vec::new();
        list(
            &Reads::of(&load::parse(source, |p| p.term()).unwrap()),
            "",
            &mut found,
        );
        found.join(" ")
    }

    #[test]
    fn what_a_program_reads_of_its_input_is_told_by_its_text() {
        for (source, expected) in [
            (".", "*"),
            (".paging.next.after == null", ".paging.next.after*"),
            (r#".a."b c" // .["d"]?"#, ".a.b c* .d*"),
            (".a[.b] , .c[.d:.e]", ".a* .b* .c* .d* .e*"),
            (
                r#"{x: .a, (.b): [.c | .z, keys]} + {"\(.d)": 1}"#,
                ".a* .b* .c* .d*",
            ),
            ("{a, $x}", ".a*"),
            ("if .a then .b.c else null end", ".a? .b.c*"),
            ("if .a then .b end", "*"),
            (".a as $x | .b + $x.c", ".a.c* .b*"),
            (". as $all | .a[] | {b, c: $all.d}", ".a[].b* .d*"),
            (".a as $x | .b as $x | $x", ".a? .b*"),
            (".a as [$x] | $x", "*"),
            ("$x.a | .b", "?"),
            ("try .a", ".a*"),
            ("try .a catch .b", "*"),
            ("[]", "?"),
            (".r[]? | {id, t: .u.v, ok: true}", ".r[].id* .r[].u.v*"),
            (
                "[.r[] | select(.a and .b.c? != null) | .d]",
                ".r[].a? .r[].b.c* .r[].d*",
            ),
            (".r | map(.a)", ".r[].a*"),
            (".a | objects | .b", ".a.b*"),
            ("select(.a)", "*"),
            ("..", "*"),
            (".[0]", "*"),
            (".[$x]", "*"),
            (".[]", "[]*"),
            ("keys", "*"),
            (".a | keys", ".a*"),
            (".done and (.rows | length) < 2", ".done? .rows[]?"),
            ("reduce .a[] as $x (0; . + $x)", "*"),
            (".a |= 1", "*"),
            (".a | @json, (.b | .)", ".a*"),
            (r#"@json "\(.a)""#, "*"),
            ("isobject and (.a | isarray | not)", ".a?"),
        ] {
            assert_eq!(reads(source), expected, "{source}");
        }
    }

    #[test]
    fn what_is_not_read_changes_nothing() {
        let input = json!({
            "a": {"b": [1, 2]}, "n": 1, "next": null, "c": "b", "empty": [], "none": {},
            "rows": [{"id": 1, "v": {"x": "1", "y": [3]}}, {"id": null, "v": {}}, {"v": null}]
        });
        for source in [
            ".next == null",
            ".a[.c]",
            ".a.b[.n:]",
            "{x: .a.b[0], (.c): .missing}",
            "[.rows, .a, .a.b, .c, .n, .next, .none, .missing | length]",
            "[.rows[] | length, (.v | length)]",
            ".a as $x | .n + $x.b[1]",
            "if .next then .rows else .a end",
            "if .a then .n else .c end, (.none // 1), (.empty // 1)",
            "try error(.c) catch .",
            "try .a.b.c catch .",
            "[.rows[] | select(.id) | {id, x: .v.x}]",
            ". as $all | .rows[]? | {n: $all.n, y: (.v.y? // [])[0]}",
            ".rows | map(.v | objects | .y)",
            ".rows | map(.v) | length",
            ".a[], (.none | isobject, type), (.rows | isarray, length)",
            "[.rows[].v | values | .x]",
            ".rows as [$first, {id: $i}] | [$first, $i]",
            "reduce .rows[] as {id: $i} (.n; . + ($i // 0))",
            ".missing.deep[]?, .n.m?",
            ".rows == [] or .none == {}",
            "[.rows[] | .id as $i | .v | {i: $i, x}]",
        ] {
            let run = |program: &Program| program.run(&input, &|_| None).unwrap();
            let mut program = Program::compile(source, &[]).unwrap();
            let pruned = run(&program);
            let Kind::Jq { reads, .. } = &mut program.kind else {
                panic!("{source} is a path")
            };
            *reads = Reads::of(&load::parse(".", |p| p.term()).unwrap());
            assert_eq!(pruned, run(&program), "{source}");
        }
    }

    #[test]
    fn a_failure_tells_of_all_its_input() {
        let program = Program::compile(".a | .b + 1", &[]).unwrap();
        let error = program.run(&json!({"a": [1, 2]}), &|_| None).unwrap_err();
        assert!(error.to_string().contains("[1,2]"), "{error}");
    }

    #[test]
    fn findings_have_a_place_and_a_hint() {
        let broken = Program::compile(".a | lenght", &[]).unwrap_err();
        assert_eq!(
            (broken.offset, broken.hint.as_str()),
            (Some(5), "did you mean `length`?")
        );
        let broken = Program::compile("{ids: $ids}", &["fields"]).unwrap_err();
        assert_eq!(broken.message, "`$ids` is not a known variable here");
        assert_eq!(broken.hint, "variables here are: $fields");
        let broken = Program::compile(".a | (", &[]).unwrap_err();
        assert!(
            broken.message.starts_with("not a jq expression"),
            "{}",
            broken.message
        );
        assert!(Program::compile("", &[]).is_err());
    }

    #[test]
    fn many_outputs_end_at_the_limit() {
        let program = Program::compile(".[] as $x | .[] as $y | 1", &[]).unwrap();
        let input = Json::Array(vec![json!(1); 1000]);
        assert_eq!(
            program.run(&input, &|_| None).unwrap_err(),
            RunError::TooMany(program.name())
        );
    }

    proptest! {
        #[test]
        fn what_goes_through_jq_comes_back(text in "\\PC{0,20}", whole in any::<i64>(), scale in 0u32..9, flag in any::<bool>()) {
            let decimal: Json = parse(&format!("{whole}.{:0>1$}", scale, scale as usize + 1));
            let input = json!({"t": text, "n": whole, "d": decimal, "l": [flag, null, {}]});
            prop_assert_eq!(run("[.] | .[0]", &input), [input.clone()]);
        }
    }
}
