//! [`Reads`]: what a program reads of its input, as far as its text tells.
//!
//! The input of most programs is a page or an answer of hundreds of objects, of which they read little: whether there are
//! more, or the id of each and not what it holds. What a program cannot read need not be converted for it.
//!
//! A program is walked with *places* in the hands: parts of the input that a value may be. What it only looks into
//! (`.a`, `.a[]`), or asks whether it is there (`select(.a)`, `.a // .b`), is read that far; what it gives, compares or
//! hands to a function is read as a whole.

use std::collections::BTreeMap;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops;
use jaq_core::path::Part;
use jaq_json::Val;
use serde_json::Value as Json;

use crate::{text_val, to_val};

/// What gives no part of its input, and reads at most what kind of value it is.
const KIND_ALONE: [&str; 11] = [
    "empty",
    "false",
    "isarray",
    "isboolean",
    "isnumber",
    "isobject",
    "isstring",
    "not",
    "null",
    "true",
    "type",
];
/// What gives its input or nothing, by what kind of value it is.
const BY_KIND: [&str; 8] = [
    "arrays", "booleans", "nulls", "numbers", "objects", "scalars", "strings", "values",
];

/// What is read of a value. Its kind always is, and all of it if it is neither a list nor an object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    whole: bool,
    /// Whether it is compared with a number that the text names.
    numbered: bool,
    /// Whether it is put in order with a text that is a number.
    quoted: bool,
    /// Of each item of a list.
    each: Option<Box<Reads>>,
    /// Of the members of an object.
    members: BTreeMap<String, Reads>,
}

impl Reads {
    /// What a term reads of its input.
    pub(crate) fn of(term: &Term<&str>) -> Reads {
        let mut walk = Walk {
            needs: vec![Need::default()],
            vars: Vec::new(),
        };
        let given = walk.places(term, &[0]);
        walk.whole(&given);
        walk.reads(0)
    }

    /// Whether all of a value is read.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The members that are looked at, from the value down; those of items of lists are not among them.
    pub(crate) fn members(&self) -> Vec<Vec<&str>> {
        self.paths_to(&|reads| reads.whole || reads.members.is_empty())
    }

    /// Those that are compared with a number.
    pub(crate) fn numbered(&self) -> Vec<Vec<&str>> {
        self.paths_to(&|reads| reads.numbered)
    }

    /// Those that are put in order with a text that is a number.
    pub(crate) fn quoted(&self) -> Vec<Vec<&str>> {
        self.paths_to(&|reads| reads.quoted)
    }

    /// The names that lead to members of which something holds.
    fn paths_to(&self, holds: &dyn Fn(&Reads) -> bool) -> Vec<Vec<&str>> {
        let mut all = Vec::new();
        for (name, reads) in &self.members {
            let mut below = reads.paths_to(holds);
            if holds(reads) {
                below.push(Vec::new());
            }
            all.extend(below.into_iter().map(|rest| [vec![name.as_str()], rest].concat()));
        }
        all
    }

    /// What is read of each item, and of the members.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (Option<&Reads>, &BTreeMap<String, Reads>) {
        (self.each.as_deref(), &self.members)
    }

    /// A value, without what is not read of it.
    pub(crate) fn convert(&self, value: &Json) -> Val {
        match value {
            Json::Object(map) if !self.whole && self.each.is_none() => {
                let read = map
                    .iter()
                    .filter_map(|(key, value)| Some((key, value, self.members.get(key)?)));
                Val::obj(
                    read.map(|(key, value, reads)| (text_val(key), reads.convert(value)))
                        .collect(),
                )
            }
            Json::Array(items) if !self.whole => match &self.each {
                Some(reads) => items.iter().map(|item| reads.convert(item)).collect(),
                None => std::iter::empty().collect(),
            },
            _ => to_val(value),
        }
    }
}

/// A place in the input, by which others are reached.
#[derive(Default)]
struct Need {
    whole: bool,
    numbered: bool,
    quoted: bool,
    each: Option<usize>,
    members: BTreeMap<String, usize>,
}

struct Walk<'s> {
    /// The first is the input itself.
    needs: Vec<Need>,
    /// Variables in scope, the last one first to be found, and what they may be.
    vars: Vec<(&'s str, Vec<usize>)>,
}

impl<'s> Walk<'s> {
    fn reads(&self, place: usize) -> Reads {
        let need = &self.needs[place];
        Reads {
            whole: need.whole,
            numbered: need.numbered,
            quoted: need.quoted,
            each: need.each.map(|each| Box::new(self.reads(each))),
            members: need
                .members
                .iter()
                .map(|(name, at)| (name.clone(), self.reads(*at)))
                .collect(),
        }
    }

    fn whole(&mut self, places: &[usize]) {
        places.iter().for_each(|place| self.needs[*place].whole = true);
    }

    fn new_place(&mut self) -> usize {
        self.needs.push(Need::default());
        self.needs.len() - 1
    }

    fn each(&mut self, places: &[usize]) -> Vec<usize> {
        let each = |place: &usize| {
            let each = self.needs[*place].each.unwrap_or_else(|| self.new_place());
            self.needs[*place].each = Some(each);
            each
        };
        places.iter().map(each).collect()
    }

    fn member(&mut self, places: &[usize], name: &str) -> Vec<usize> {
        let member = |place: &usize| {
            let known = self.needs[*place].members.get(name).copied();
            let member = known.unwrap_or_else(|| self.new_place());
            self.needs[*place].members.insert(name.to_owned(), member);
            member
        };
        places.iter().map(member).collect()
    }

    /// Reads all that a term gives: what becomes of it is not followed.
    fn taken(&mut self, term: &Term<&'s str>, input: &[usize]) {
        let given = self.places(term, input);
        self.whole(&given);
    }

    /// The places that what a term gives may be; none where it makes something new.
    fn places(&mut self, term: &Term<&'s str>, input: &[usize]) -> Vec<usize> {
        match term {
            Term::Id => input.to_vec(),
            Term::Num(_) | Term::Break(_) | Term::Arr(None) => Vec::new(),
            Term::Var(name) => {
                let known = self.vars.iter().rev().find(|(known, _)| is_same(known, name));
                known.map(|(_, places)| places.clone()).unwrap_or_default()
            }
            Term::Str(None, parts) => {
                for part in parts {
                    if let StrPart::Term(inner) = part {
                        self.taken(inner, input);
                    }
                }
                Vec::new()
            }
            Term::Arr(Some(inner)) | Term::Neg(inner) => {
                self.taken(inner, input);
                Vec::new()
            }
            Term::Label(_, inner) => self.places(inner, input),
            Term::Obj(entries) => {
                for (key, value) in entries {
                    self.entry(key, value.as_ref(), input);
                }
                Vec::new()
            }
            Term::BinOp(left, op, right) => self.operation(left, op, right, input),
            Term::IfThenElse(branches, otherwise) => {
                let mut given = Vec::new();
                for (condition, then) in branches {
                    self.places(condition, input);
                    given.extend(self.places(then, input));
                }
                match otherwise {
                    Some(otherwise) => given.extend(self.places(otherwise, input)),
                    None => given.extend(input),
                }
                given
            }
            Term::TryCatch(body, None) => self.places(body, input),
            Term::Path(from, path) => {
                let mut at = self.places(from, input);
                for (part, _) in &path.0 {
                    at = match part {
                        Part::Index(Term::Str(None, name)) if let Some(name) = literal(name) => {
                            self.member(&at, &name)
                        }
                        Part::Range(None, None) => self.each(&at),
                        // What is looked up is looked up in the input of the whole path.
                        Part::Index(index) => self.all_of(&at, &[index], input),
                        Part::Range(from, to) => {
                            let ends: Vec<&Term<&str>> = from.iter().chain(to).collect();
                            self.all_of(&at, &ends, input)
                        }
                    };
                }
                at
            }
            Term::Call(name, arguments) => match (*name, arguments.as_slice()) {
                (name, []) if KIND_ALONE.contains(&name) => Vec::new(),
                (name, []) if BY_KIND.contains(&name) => input.to_vec(),
                ("select", [condition]) => {
                    self.places(condition, input);
                    input.to_vec()
                }
                // How many there are, and nothing of them.
                ("length", []) => {
                    self.each(input);
                    Vec::new()
                }
                ("map", [inner]) => {
                    let each = self.each(input);
                    self.taken(inner, &each);
                    Vec::new()
                }
                (_, arguments) => {
                    let arguments: Vec<&Term<&str>> = arguments.iter().collect();
                    self.all_of(input, &arguments, input)
                }
            },
            Term::Fold(_, over, pattern, parts) => {
                let scope = self.bind(pattern, &[]);
                let terms: Vec<&Term<&str>> = parts.iter().chain([&**over]).collect();
                self.all_of(input, &terms, input);
                self.vars.truncate(scope);
                Vec::new()
            }
            // What was caught may show all of it.
            Term::TryCatch(body, Some(handler)) => self.all_of(input, &[body, handler], input),
            Term::Str(Some(_), _) | Term::Recurse | Term::Def(..) => self.all_of(input, &[], input),
        }
    }

    /// Reads all of some places, and all that terms give; nothing of it is followed further.
    fn all_of(&mut self, places: &[usize], terms: &[&Term<&'s str>], input: &[usize]) -> Vec<usize> {
        self.whole(places);
        terms.iter().for_each(|term| self.taken(term, input));
        Vec::new()
    }

    /// An entry of a new object; `{a}` and `{$a}` read what they name.
    fn entry(&mut self, key: &Term<&'s str>, value: Option<&Term<&'s str>>, input: &[usize]) {
        match (key, value) {
            (_, Some(value)) => {
                self.taken(key, input);
                self.taken(value, input);
            }
            (Term::Var(_), None) => self.taken(key, input),
            (Term::Str(None, name), None) if let Some(name) = literal(name) => {
                let member = self.member(input, &name);
                self.whole(&member);
            }
            (_, None) => self.whole(input),
        }
    }

    fn operation(
        &mut self,
        left: &Term<&'s str>,
        op: &BinaryOp<&'s str>,
        right: &Term<&'s str>,
        input: &[usize],
    ) -> Vec<usize> {
        match op {
            BinaryOp::Pipe(None) => {
                let between = self.places(left, input);
                self.places(right, &between)
            }
            BinaryOp::Pipe(Some(pattern)) => {
                let bound = self.places(left, input);
                // Names of members may be computed, of what is there.
                if !matches!(pattern, Pattern::Var(_)) {
                    self.whole(input);
                }
                let scope = self.bind(pattern, &bound);
                let given = self.places(right, input);
                self.vars.truncate(scope);
                given
            }
            BinaryOp::Comma | BinaryOp::Alt => {
                let mut given = self.places(left, input);
                given.extend(self.places(right, input));
                given
            }
            // Whether it is something is all that is asked.
            BinaryOp::Or | BinaryOp::And => {
                self.places(left, input);
                self.places(right, input);
                Vec::new()
            }
            BinaryOp::Cmp(cmp) => {
                let is_order = !matches!(cmp, ops::Cmp::Eq | ops::Cmp::Ne);
                for (term, with) in [(left, right), (right, left)] {
                    let given = self.places(term, input);
                    self.whole(&given);
                    for place in given {
                        self.needs[place].numbered |= is_number(with);
                        self.needs[place].quoted |= is_order && is_quoted(with);
                    }
                }
                Vec::new()
            }
            BinaryOp::Math(_) => self.all_of(&[], &[left, right], input),
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
                self.all_of(input, &[left, right], input)
            }
        }
    }

    /// Brings the variables of a pattern into scope, for places that are bound to it; how many there were before.
    fn bind(&mut self, pattern: &Pattern<&'s str>, places: &[usize]) -> usize {
        let scope = self.vars.len();
        match pattern {
            Pattern::Var(name) => self.vars.push((name, places.to_vec())),
            Pattern::Arr(_) | Pattern::Obj(_) => {
                self.whole(places);
                self.bind_parts(pattern);
            }
        }
        scope
    }

    /// Brings variables into scope that are parts of something which is read as a whole.
    fn bind_parts(&mut self, pattern: &Pattern<&'s str>) {
        match pattern {
            Pattern::Var(name) => self.vars.push((name, Vec::new())),
            Pattern::Arr(items) => items.iter().for_each(|item| self.bind_parts(item)),
            Pattern::Obj(entries) => {
                for (key, value) in entries {
                    // `{$a}` names the member and the variable.
                    if let Term::Var(name) = key {
                        self.vars.push((name, Vec::new()));
                    }
                    self.bind_parts(value);
                }
            }
        }
    }
}

/// Whether a term is a number that its text names.
fn is_number(term: &Term<&str>) -> bool {
    match term {
        Term::Num(_) => true,
        Term::Neg(inner) => is_number(inner),
        _ => false,
    }
}

/// Whether a term is a text that is a number.
fn is_quoted(term: &Term<&str>) -> bool {
    let text = match term {
        Term::Str(None, text) => literal(text),
        _ => None,
    };
    text.is_some_and(|text| text.trim().parse::<f64>().is_ok())
}

/// A variable is written with its dollar wherever it stands.
fn is_same(left: &str, right: &str) -> bool {
    left.trim_start_matches('$') == right.trim_start_matches('$')
}

/// A name that is text alone.
fn literal(name: &[StrPart<&str, Term<&str>>]) -> Option<String> {
    let mut text = String::new();
    for part in name {
        match part {
            StrPart::Str(part) => text.push_str(part),
            StrPart::Char(char) => text.push(*char),
            StrPart::Term(_) => return None,
        }
    }
    Some(text)
}
