//! Whether a row passes a test, and which of two rows comes first.
//!
//! Texts are compared without case, ids with it, numbers as exact decimals.
//! Dates and moments are stored in one fixed-width form, so that their order is the order of their texts.

use std::cmp::Ordering;

use serde_json::Value;

use super::parser::Comparison;
use super::plan::{SortKey, Way};
use crate::salesforce::field::Kind;
use crate::salesforce::rows::Org;
use crate::salesforce::value::decimal;

/// A condition bound to the schema. Texts in it are in lower case.
#[derive(Debug)]
pub(crate) enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    Compare(Way, Comparison, Value),
    Like(Way, Vec<char>),
    In {
        way: Way,
        values: Vec<Value>,
        negated: bool,
    },
}

static NOTHING: Value = Value::Null;

fn value<'a>(org: &'a Org, table: usize, row: usize, way: &Way) -> &'a Value {
    let (mut table, mut row) = (table, row);
    for (reference, next) in &way.steps {
        let parent = org.tables[table].rows[row][*reference]
            .as_str()
            .and_then(|id| org.find(*next, id));
        let Some(parent) = parent else { return &NOTHING };
        (table, row) = (*next, parent);
    }
    &org.tables[table].rows[row][way.field]
}

/// Whether a row passes.
pub(crate) fn holds(org: &Org, table: usize, row: usize, test: &Test) -> bool {
    match test {
        Test::All(parts) => parts.iter().all(|part| holds(org, table, row, part)),
        Test::Any(parts) => parts.iter().any(|part| holds(org, table, row, part)),
        Test::Not(inner) => !holds(org, table, row, inner),
        Test::Compare(way, comparison, wanted) => {
            compares(value(org, table, row, way), *comparison, wanted, way.kind)
        }
        Test::Like(way, pattern) => match value(org, table, row, way) {
            Value::String(text) => like(&text.to_lowercase().chars().collect::<Vec<_>>(), pattern),
            _ => false,
        },
        Test::In { way, values, negated } => {
            let found = value(org, table, row, way);
            values
                .iter()
                .any(|wanted| compares(found, Comparison::Equal, wanted, way.kind))
                != *negated
        }
    }
}

fn compares(found: &Value, comparison: Comparison, wanted: &Value, kind: Kind) -> bool {
    if found.is_null() || wanted.is_null() {
        let both = found.is_null() && wanted.is_null();
        return match comparison {
            Comparison::Equal => both,
            Comparison::Unequal => !both,
            _ => false,
        };
    }
    let order = compare(found, wanted, kind);
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::Unequal => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::AtMost => order.is_le(),
        Comparison::More => order.is_gt(),
        Comparison::AtLeast => order.is_ge(),
    }
}

fn compare(left: &Value, right: &Value, kind: Kind) -> Ordering {
    match (left, right) {
        (Value::String(left), Value::String(right)) if kind.is_text() => {
            let lower = |text: &'_ str| text.chars().flat_map(char::to_lowercase).collect::<Vec<_>>();
            if left.is_ascii() && right.is_ascii() {
                // The usual case, without a copy of either text.
                return left
                    .bytes()
                    .map(|byte| byte.to_ascii_lowercase())
                    .cmp(right.bytes().map(|byte| byte.to_ascii_lowercase()));
            }
            lower(left).cmp(&lower(right))
        }
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        _ => decimal(&left.to_string()).cmp(&decimal(&right.to_string())),
    }
}

/// Which of two rows comes first.
pub(crate) fn in_order(org: &Org, table: usize, left: usize, right: usize, keys: &[SortKey]) -> Ordering {
    for key in keys {
        let (one, two) = (
            value(org, table, left, &key.way),
            value(org, table, right, &key.way),
        );
        let order = match (one.is_null(), two.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => {
                if key.nulls_last {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (false, true) => {
                if key.nulls_last {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (false, false) => {
                let order = compare(one, two, key.way.kind);
                if key.descending { order.reverse() } else { order }
            }
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// `%` stands for any text, `_` for one character, `\%` and `\_` for themselves. Never takes exponential time.
fn like(text: &[char], pattern: &[char]) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let (wanted, width, literal) = match (pattern.get(p), pattern.get(p + 1)) {
            (Some('\\'), Some(escaped)) => (Some(escaped), 2, true),
            (letter, _) => (letter, 1, false),
        };
        if wanted == Some(&'%') && !literal {
            retry = Some((t, p + 1));
            p += 1;
        } else if wanted.is_some_and(|letter| letter == &text[t] || (letter == &'_' && !literal)) {
            t += 1;
            p += width;
        } else if let Some((from, behind)) = retry {
            retry = Some((from + 1, behind));
            (t, p) = (from + 1, behind);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|letter| *letter == '%')
}
