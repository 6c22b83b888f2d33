//! A query bound to the schema: every path is a way through tables, every literal a value of its field's type.

use serde_json::{Map, Value};

use super::evaluate::{Test, holds, in_order};
use super::parser::{Comparison, Condition, Literal, Query, Selection};
use crate::salesforce::derive::address;
use crate::salesforce::field::{Field, Kind};
use crate::salesforce::ids;
use crate::salesforce::refusal::Refusal;
use crate::salesforce::rows::Org;
use crate::salesforce::schema::{Object, Schema};
use crate::salesforce::value::{decimal, moment};

/// Parents a path may climb.
const PARENTS_MAX: usize = 5;
/// Rows that may be skipped with `OFFSET`.
const OFFSET_MAX: usize = 2_000;
/// The highest `LIMIT` of a query that selects every field.
const ALL_FIELDS_LIMIT_MAX: usize = 200;

/// A way from a row to a value: references to follow, each with the table it leads to, then a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) steps: Vec<(usize, usize)>,
    pub(crate) field: usize,
    pub(crate) kind: Kind,
}

/// What the answer shows of a row, in order.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Field(usize),
    Parent {
        name: String,
        reference: usize,
        table: usize,
        items: Vec<Item>,
    },
}

/// A key of the order.
#[derive(Debug)]
pub(crate) struct SortKey {
    pub(crate) way: Way,
    pub(crate) descending: bool,
    pub(crate) nulls_last: bool,
}

/// A query that can run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) table: usize,
    pub(crate) items: Vec<Item>,
    /// Whether only the number of rows is wanted.
    pub(crate) counts: bool,
    test: Option<Test>,
    order: Vec<SortKey>,
    limit: Option<usize>,
    offset: usize,
}

impl Plan {
    /// Binds a query; `text` is the query's text, for the complaint about an unknown object.
    pub(crate) fn new(query: &Query, text: &str) -> Result<Self, Refusal> {
        let schema = Schema::get();
        let Some((table, object)) = schema.object(&query.object) else {
            return Err(no_such_object(query, text));
        };
        let binder = Binder {
            schema,
            object,
            alias: query.alias.as_deref(),
        };
        if query.offset > OFFSET_MAX {
            return Err(Refusal::bad(
                "NUMBER_OUTSIDE_VALID_RANGE",
                format!("Maximum SOQL offset allowed is {OFFSET_MAX}"),
            ));
        }
        let items = match &query.selection {
            Selection::Count => Vec::new(),
            Selection::All if query.limit.is_none_or(|limit| limit > ALL_FIELDS_LIMIT_MAX) => {
                let message =
                    format!("The SOQL FIELDS function must have a LIMIT of at most {ALL_FIELDS_LIMIT_MAX}");
                return Err(Refusal::bad("MALFORMED_QUERY", message));
            }
            Selection::All => (0..object.fields.len()).map(Item::Field).collect(),
            Selection::Paths(paths) => binder.items(paths)?,
        };
        let test = query
            .condition
            .as_ref()
            .map(|condition| binder.test(condition))
            .transpose()?;
        let mut order = Vec::new();
        for key in &query.order {
            let way = binder.way(&key.path)?;
            order.push(SortKey {
                way,
                descending: key.descending,
                nulls_last: key.nulls_last,
            });
        }
        let counts = query.selection == Selection::Count;
        Ok(Self {
            table,
            items,
            counts,
            test,
            order,
            limit: query.limit,
            offset: query.offset,
        })
    }

    /// The rows the query finds, in its order. Deleted ones only when asked for.
    pub(crate) fn run(&self, org: &Org, with_deleted: bool) -> Vec<usize> {
        let rows = 0..org.tables[self.table].rows.len();
        let mut found: Vec<usize> = rows
            .filter(|row| with_deleted || !org.is_deleted(self.table, *row))
            .filter(|row| {
                self.test
                    .as_ref()
                    .is_none_or(|test| holds(org, self.table, *row, test))
            })
            .collect();
        if !self.order.is_empty() {
            found.sort_by(|left, right| in_order(org, self.table, *left, *right, &self.order));
        }
        found
            .into_iter()
            .skip(self.offset)
            .take(self.limit.unwrap_or(usize::MAX))
            .collect()
    }
}

/// A row as the answer shows it.
pub(crate) fn show(org: &Org, table: usize, row: usize, items: &[Item], version: &str) -> Value {
    let object = &org.schema.objects[table];
    let values = &org.tables[table].rows[row];
    let mut shown = Map::new();
    let url = format!(
        "/services/data/{version}/sobjects/{}/{}",
        object.name,
        org.id_of(table, row)
    );
    shown.insert(
        "attributes".into(),
        serde_json::json!({ "type": object.name, "url": url }),
    );
    for item in items {
        match item {
            Item::Field(at) => {
                let field = &object.fields[*at];
                let value = match field.kind {
                    Kind::Address => address(object, values, &field.name),
                    _ => values[*at].clone(),
                };
                shown.insert(field.name.clone(), value);
            }
            Item::Parent {
                name,
                reference,
                table,
                items,
            } => {
                let parent = values[*reference].as_str().and_then(|id| org.find(*table, id));
                let value = parent.map_or(Value::Null, |parent| show(org, *table, parent, items, version));
                shown.insert(name.clone(), value);
            }
        }
    }
    Value::Object(shown)
}

fn no_such_object(query: &Query, text: &str) -> Refusal {
    // The complaint shows the end of the query up to the object, with a caret under it.
    let before: String = text.chars().take(query.object_column - 1).collect();
    let shown: String = before
        .chars()
        .rev()
        .take(32)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    let caret = " ".repeat(shown.chars().count());
    let name = &query.object;
    let column = query.object_column;
    Refusal::bad(
        "INVALID_TYPE",
        format!(
            "\n{shown}{name}\n{caret}^\nERROR at Row:1:Column:{column}\nsObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names."
        ),
    )
}

struct Binder<'a> {
    schema: &'static Schema,
    object: &'static Object,
    alias: Option<&'a str>,
}

impl Binder<'_> {
    fn own<'p>(&self, path: &'p str) -> &'p str {
        let named = |name: &str| {
            path.split_once('.')
                .filter(|(first, _)| first.eq_ignore_ascii_case(name))
        };
        let rest = self.alias.and_then(named).or_else(|| named(self.object.name));
        // `Account.Name` on Account itself names the object, unless Account also is one of its parents.
        rest.filter(|(first, _)| self.object.relation(first).is_none())
            .map_or(path, |(_, rest)| rest)
    }

    fn items(&self, paths: &[String]) -> Result<Vec<Item>, Refusal> {
        let mut items = Vec::new();
        for path in paths {
            self.place(&mut items, self.object, self.own(path), 0)?;
        }
        Ok(items)
    }

    fn place(
        &self,
        items: &mut Vec<Item>,
        object: &'static Object,
        path: &str,
        depth: usize,
    ) -> Result<(), Refusal> {
        let Some((first, rest)) = path.split_once('.') else {
            let at = object
                .position(path)
                .ok_or_else(|| Refusal::no_such_field(object.name, path))?;
            let again = items
                .iter()
                .any(|item| matches!(item, Item::Field(other) if *other == at));
            if again {
                return Err(Refusal::bad(
                    "MALFORMED_QUERY",
                    format!("duplicate field selected: {path}"),
                ));
            }
            items.push(Item::Field(at));
            return Ok(());
        };
        let (reference, to) = self.step(object, first, depth)?;
        let table = self.schema.at(to);
        let found = items.iter_mut().find_map(|item| match item {
            Item::Parent {
                reference: other,
                items,
                ..
            } if *other == reference => Some(items),
            _ => None,
        });
        if let Some(inner) = found {
            return self.place(inner, &self.schema.objects[table], rest, depth + 1);
        }
        let mut inner = Vec::new();
        self.place(&mut inner, &self.schema.objects[table], rest, depth + 1)?;
        let name = object.fields[reference]
            .refers_to
            .map_or(first, |(_, relation)| relation)
            .to_owned();
        items.push(Item::Parent {
            name,
            reference,
            table,
            items: inner,
        });
        Ok(())
    }

    fn step(&self, object: &Object, relation: &str, depth: usize) -> Result<(usize, &'static str), Refusal> {
        if depth >= PARENTS_MAX {
            return Err(Refusal::bad(
                "MALFORMED_QUERY",
                format!("a path may climb {PARENTS_MAX} parents"),
            ));
        }
        object.relation(relation).ok_or_else(|| {
            let message = format!(
                "Didn't understand relationship '{relation}' in field path. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names."
            );
            Refusal::bad("INVALID_FIELD", message)
        })
    }

    fn way(&self, path: &str) -> Result<Way, Refusal> {
        let mut object = self.object;
        let mut steps = Vec::new();
        let mut rest = self.own(path);
        while let Some((first, behind)) = rest.split_once('.') {
            let (reference, to) = self.step(object, first, steps.len())?;
            let table = self.schema.at(to);
            steps.push((reference, table));
            object = &self.schema.objects[table];
            rest = behind;
        }
        let field = object
            .position(rest)
            .ok_or_else(|| Refusal::no_such_field(object.name, rest))?;
        let kind = object.fields[field].kind;
        let too_long = object.fields[field].length > 255;
        if kind == Kind::Address || (kind == Kind::TextArea && too_long) {
            let message = format!("field '{rest}' can not be filtered in a query call");
            return Err(Refusal::bad("INVALID_FIELD", message));
        }
        Ok(Way { steps, field, kind })
    }

    fn field(&self, way: &Way) -> &'static Field {
        let object = way
            .steps
            .last()
            .map_or(self.object, |(_, table)| &self.schema.objects[*table]);
        &object.fields[way.field]
    }

    fn test(&self, condition: &Condition) -> Result<Test, Refusal> {
        let all = |parts: &[Condition]| {
            parts
                .iter()
                .map(|part| self.test(part))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(match condition {
            Condition::And(parts) => Test::All(all(parts)?),
            Condition::Or(parts) => Test::Any(all(parts)?),
            Condition::Not(inner) => Test::Not(Box::new(self.test(inner)?)),
            Condition::Compare(path, comparison, literal) => {
                let way = self.way(path)?;
                let value = bound(self.field(&way), literal)?;
                let ordered = !matches!(comparison, Comparison::Equal | Comparison::Unequal);
                if ordered && (way.kind == Kind::Boolean || value.is_null()) {
                    let message = format!("invalid operator on field '{path}'");
                    return Err(Refusal::bad("INVALID_QUERY_FILTER_OPERATOR", message));
                }
                Test::Compare(way, *comparison, value)
            }
            Condition::Like(path, pattern) => {
                let way = self.way(path)?;
                if !way.kind.is_text() {
                    let message = format!("invalid operator on {} field '{path}'", way.kind.name());
                    return Err(Refusal::bad("INVALID_QUERY_FILTER_OPERATOR", message));
                }
                Test::Like(way, pattern.to_lowercase().chars().collect())
            }
            Condition::In {
                path,
                literals,
                negated,
            } => {
                let way = self.way(path)?;
                let field = self.field(&way);
                let values = literals
                    .iter()
                    .map(|literal| bound(field, literal))
                    .collect::<Result<Vec<_>, _>>()?;
                Test::In {
                    way,
                    values,
                    negated: *negated,
                }
            }
        })
    }
}

/// The value of a literal in terms of a field, or Salesforce's complaint about its quotes.
fn bound(field: &Field, literal: &Literal) -> Result<Value, Refusal> {
    let unfit = |quoted: &str| {
        let kind = match field.kind {
            Kind::DateTime => "dateTime",
            kind => kind.name(),
        };
        let message = format!(
            "value of filter criterion for field '{}' must be of type {kind} and should {quoted}be enclosed in quotes",
            field.name
        );
        Refusal::bad("INVALID_FIELD", message)
    };
    match (field.kind, literal) {
        (_, Literal::Null) => Ok(Value::Null),
        (Kind::Boolean, Literal::Boolean(value)) => Ok(Value::Bool(*value)),
        (kind, Literal::Text(text)) if kind.is_text() => Ok(match text.as_str() {
            "" => Value::Null,
            text => Value::from(text.to_lowercase()),
        }),
        (kind, Literal::Text(text)) if kind.is_id() => match ids::normal(text) {
            Some(id) => Ok(Value::from(id)),
            None if text.is_empty() => Ok(Value::Null),
            None => Err(Refusal::bad(
                "INVALID_QUERY_FILTER_OPERATOR",
                format!("invalid ID field: {text}"),
            )),
        },
        (Kind::Date, Literal::Plain(text)) => match crate::clock::parse_day(text) {
            Some(day) => Ok(Value::from(day.to_string())),
            None => Err(unfit("not ")),
        },
        (Kind::DateTime, Literal::Plain(text)) => match crate::clock::parse_ms(text) {
            Some(at_ms) => Ok(Value::from(moment(at_ms))),
            None => Err(unfit("not ")),
        },
        (kind, Literal::Plain(text)) if kind.is_number() => match decimal(text) {
            Some(number) => Ok(crate::salesforce::value::json_number(kind, number)),
            None => Err(unfit("not ")),
        },
        (kind, _) if kind.is_text() || kind.is_id() => Err(unfit("")),
        _ => Err(unfit("not ")),
    }
}
