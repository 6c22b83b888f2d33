//! What a jq program may call: a closed list, every entry of which ends on every input.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::native::{self, Fun};
use jaq_core::path::Part;
use jaq_core::{Error, data};
use jaq_json::Val;

/// What a program may call; all of these end on every input.
pub(crate) const VOCABULARY: &[&str] = &[
    "add",
    "all",
    "any",
    "arrays",
    "ascii_downcase",
    "ascii_upcase",
    "booleans",
    "capture",
    "contains",
    "del",
    "empty",
    "endswith",
    "error",
    "false",
    "first",
    "flatten",
    "from_entries",
    "fromjson",
    "group_by",
    "has",
    "index",
    "isarray",
    "isboolean",
    "isempty",
    "isnumber",
    "isobject",
    "isstring",
    "join",
    "keys",
    "keys_unsorted",
    "last",
    "length",
    "limit",
    "ltrimstr",
    "map",
    "map_values",
    "max",
    "max_by",
    "min",
    "min_by",
    "nested",
    "not",
    "null",
    "nulls",
    "numbers",
    "objects",
    "reverse",
    "rtrimstr",
    "scalars",
    "scan",
    "select",
    "sort",
    "sort_by",
    "split",
    "startswith",
    "strings",
    "sub",
    "gsub",
    "test",
    "texts",
    "to_entries",
    "tojson",
    "tonumber",
    "tostring",
    "true",
    "type",
    "unique",
    "unique_by",
    "values",
    "with_entries",
];

/// What the vocabulary has beside jq's own. Mappings name a value inside a group by its path, and so it comes to be
/// written; `nested` puts it there: `{"worth.sum": "1", "worth.unit": "EUR"}` is `{"worth": {"sum": "1", "unit": "EUR"}}`.
/// The depth is bounded because each part of a name is a call inside a call.
pub(crate) const OWN: &str = r#"
    def nested:
      def put($path; $value):
        if ($path | length) < 2 then . + {($path[0] // ""): $value}
        else . + {($path[0]): (.[$path[0]] | if isobject then . else {} end | put($path[1:]; $value))} end;
      reduce to_entries[] as $entry ({}; ($entry.key | split(".")) as $path
        | if ($path | length) > 16 then error("a name has more than 16 parts") else put($path; $entry.value) end);
"#;

/// `texts`: an object with each of its values as text, where nothing is empty text: what systems take whose values are
/// all text on the wire. In jq it is `map_values(if . == null then "" else tostring end)`, which runs for each value of
/// each object of a batch.
pub(crate) fn texts() -> Fun<data::JustLut<Val>> {
    native::run(("texts", native::v(0), |(_, input)| {
        native::bome(match input {
            Val::Obj(entries) => Ok(Val::obj(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), as_text(value)))
                    .collect(),
            )),
            other => Err(Error::typ(other, "object")),
        })
    }))
}

fn as_text(value: &Val) -> Val {
    match value {
        Val::Null => Val::utf8_str(""),
        Val::TStr(_) | Val::BStr(_) => value.clone(),
        other => Val::utf8_str(other.to_string()),
    }
}

pub(crate) type Unknown<'s> = Vec<(&'s str, String)>;

/// Notes what a term calls that is not in the vocabulary.
pub(crate) fn foreign<'s>(term: &Term<&'s str>, unknown: &mut Unknown<'s>) {
    let mut each = |terms: &[&Term<&'s str>]| terms.iter().for_each(|t| foreign(t, unknown));
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
        Term::Str(_, parts) => {
            for part in parts {
                if let StrPart::Term(inner) = part {
                    foreign(inner, unknown);
                }
            }
        }
        Term::Arr(inner) => {
            if let Some(inner) = inner {
                foreign(inner, unknown);
            }
        }
        Term::Obj(entries) => {
            for (key, value) in entries {
                foreign(key, unknown);
                if let Some(value) = value {
                    foreign(value, unknown);
                }
            }
        }
        Term::Neg(inner) | Term::Label(_, inner) => each(&[inner]),
        Term::BinOp(left, op, right) => {
            each(&[left, right]);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                foreign_pattern(pattern, unknown);
            }
        }
        Term::Fold(_, over, pattern, parts) => {
            foreign(over, unknown);
            foreign_pattern(pattern, unknown);
            parts.iter().for_each(|t| foreign(t, unknown));
        }
        Term::TryCatch(body, handler) => {
            foreign(body, unknown);
            if let Some(handler) = handler {
                foreign(handler, unknown);
            }
        }
        Term::IfThenElse(branches, otherwise) => {
            for (condition, then) in branches {
                foreign(condition, unknown);
                foreign(then, unknown);
            }
            if let Some(otherwise) = otherwise {
                foreign(otherwise, unknown);
            }
        }
        Term::Def(defs, _) => {
            let name = defs.first().map_or("", |def| def.name);
            unknown.push((
                name,
                "definitions are not available in an expression: they may not end".to_owned(),
            ));
        }
        Term::Call(name, arguments) => {
            if !VOCABULARY.contains(name) {
                unknown.push((name, format!("`{name}` is not available in an expression")));
            }
            arguments.iter().for_each(|t| foreign(t, unknown));
        }
        Term::Path(from, path) => {
            foreign(from, unknown);
            for (part, _) in &path.0 {
                match part {
                    Part::Index(index) => foreign(index, unknown),
                    Part::Range(from, to) => {
                        from.iter().chain(to).for_each(|t| foreign(t, unknown));
                    }
                }
            }
        }
    }
}

fn foreign_pattern<'s>(pattern: &Pattern<&'s str>, unknown: &mut Unknown<'s>) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(items) => items.iter().for_each(|p| foreign_pattern(p, unknown)),
        Pattern::Obj(entries) => {
            for (key, value) in entries {
                foreign(key, unknown);
                foreign_pattern(value, unknown);
            }
        }
    }
}
