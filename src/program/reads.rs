//! What a program reads of its input, as far as its text tells.
//!
//! The input of most programs is a page of hundreds of objects, of which they read one field beside the objects: whether
//! there are more. What a program cannot read need not be converted for it.

use std::collections::BTreeSet;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path::Part;

/// What has no input, whatever it is called on.
const CONSTANTS: [&str; 4] = ["empty", "false", "null", "true"];

/// The members of its input that a term may read; nothing when it may read all of it.
pub(crate) fn members(term: &Term<&str>) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    visit(term, &mut found).then_some(found)
}

/// Notes what a term reads of the program's input, which is the term's own; says whether that is all it reads.
fn visit(term: &Term<&str>, found: &mut BTreeSet<String>) -> bool {
    match term {
        Term::Num(_) | Term::Var(_) | Term::Break(_) | Term::Arr(None) => true,
        Term::Str(None, parts) => parts.iter().all(|part| match part {
            StrPart::Term(inner) => visit(inner, found),
            _ => true,
        }),
        Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => visit(inner, found),
        // `{a}` reads what it names.
        Term::Obj(entries) => entries.iter().all(|(key, value)| {
            value
                .as_ref()
                .is_some_and(|value| visit(key, found) && visit(value, found))
        }),
        // What comes behind a pipe has another input, unless the pipe only names a value.
        Term::BinOp(left, BinaryOp::Pipe(None), _) => visit(left, found),
        Term::BinOp(
            _,
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt,
            _,
        ) => false,
        Term::BinOp(_, BinaryOp::Pipe(Some(Pattern::Arr(_) | Pattern::Obj(_))), _) => false,
        Term::BinOp(left, _, right) => visit(left, found) && visit(right, found),
        Term::IfThenElse(branches, Some(otherwise)) => {
            let mut branches = branches.iter();
            branches.all(|(condition, then)| visit(condition, found) && visit(then, found))
                && visit(otherwise, found)
        }
        // The handler's input is the error.
        Term::TryCatch(body, _) => visit(body, found),
        Term::Call(name, arguments) => arguments.is_empty() && CONSTANTS.contains(name),
        Term::Path(from, path) => {
            let mut parts = path.0.iter();
            let begins = match **from {
                Term::Id => match parts.next() {
                    Some((Part::Index(Term::Str(None, name)), _)) => literal(name, found),
                    _ => false,
                },
                _ => visit(from, found),
            };
            // An index is looked up in the input of the whole path.
            begins
                && parts.all(|(part, _)| match part {
                    Part::Index(index) => visit(index, found),
                    Part::Range(from, to) => from.iter().chain(to).all(|end| visit(end, found)),
                })
        }
        Term::Id
        | Term::Recurse
        | Term::Str(Some(_), _)
        | Term::IfThenElse(_, None)
        | Term::Fold(..)
        | Term::Def(..) => false,
    }
}

/// Notes the member of a name that is text alone.
fn literal(name: &[StrPart<&str, Term<&str>>], found: &mut BTreeSet<String>) -> bool {
    let mut member = String::new();
    for part in name {
        match part {
            StrPart::Str(text) => member.push_str(text),
            StrPart::Char(char) => member.push(*char),
            StrPart::Term(_) => return false,
        }
    }
    found.insert(member);
    true
}
