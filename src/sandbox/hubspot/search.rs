//! `POST /crm/v3/objects/{kind}/search`
//!
//! Groups of filters are joined by "or", filters in a group by "and". One sort, or the oldest first.
//! The index lags when told to; archived rows are never found; nothing is found behind the 10,000th row.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kind::Kind;
use super::problem::Problem;
use super::rows::{Portal, Row};
use super::show::{self, Wanted};
use super::value::{read_day, read_moment, read_number};
use super::visit::Visit;
use super::{System, answer, kind_named, read};

/// Rows on a page.
const PAGE_ROWS_MAX: usize = 200;
/// Rows a search can reach.
const FOUND_MAX: usize = 10_000;
/// Characters the body may have.
const BODY_CHARS_MAX: usize = 3_000;
/// Groups of filters.
const GROUPS_MAX: usize = 5;
/// Filters in a group.
const GROUP_FILTERS_MAX: usize = 6;
/// Filters in all groups together.
const FILTERS_MAX: usize = 18;
const PAGE_ROWS_DEFAULT: usize = 10;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Search {
    #[serde(default)]
    filter_groups: Vec<Group>,
    #[serde(default)]
    filters: Vec<Filter>,
    #[serde(default)]
    sorts: Vec<Value>,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    properties: Option<Vec<String>>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    after: Value,
}

#[derive(Debug, Deserialize)]
struct Group {
    filters: Vec<Filter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    property_name: String,
    operator: Operator,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    high_value: Option<Value>,
    #[serde(default)]
    values: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Operator {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
    Between,
    In,
    NotIn,
    HasProperty,
    NotHasProperty,
    ContainsToken,
    NotContainsToken,
}

pub(crate) async fn search(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path(kind): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let search = checked(&body)?;
    let limit = search.limit.unwrap_or(PAGE_ROWS_DEFAULT);
    let after = after(&search.after)?;
    if after + limit > FOUND_MAX {
        return Err(Problem::invalid(format!(
            "The maximum number of results is {FOUND_MAX}: paging past it is not possible"
        )));
    }
    let sort = sort(&search.sorts)?;
    let lag_ms = system.faults.search_lag_ms().unwrap_or(system.search_lag_ms);
    let mut portal = system.portal();
    let tests = tests(&portal, kind, &search);
    let indexed: Vec<(u64, Row)> = portal
        .indexed(kind, system.clock.now_ms(), lag_ms)
        .map(|(id, row)| (id, row.clone()))
        .collect();
    let portal = &*portal;
    let mut found: Vec<&(u64, Row)> = indexed
        .iter()
        .filter(|(id, row)| tests.pass(portal, kind, *id, row))
        .collect();
    match &sort {
        Some((property, descending)) => {
            let kind_of = type_of(portal, kind, property);
            found.sort_by(|(left, one), (right, two)| {
                let order = in_order(
                    one.properties.get(property),
                    two.properties.get(property),
                    kind_of,
                );
                let order = if *descending { order.reverse() } else { order };
                order.then(left.cmp(right))
            });
        }
        None => found.sort_by_key(|(id, row)| (row.created_ms, *id)),
    }
    let wanted = Wanted::named(search.properties.unwrap_or_default());
    let page = found.iter().skip(after).take(limit);
    let results: Vec<Value> = page
        .map(|(id, row)| show::row(portal, kind, *id, row, &wanted))
        .collect();
    let next = after + results.len();
    let mut body = json!({ "total": found.len(), "results": results });
    if next < found.len() {
        body["paging"] = json!({ "next": { "after": next.to_string() } });
    }
    Ok(answer(StatusCode::OK, &body))
}

fn checked(body: &Bytes) -> Result<Search, Problem> {
    let chars = String::from_utf8_lossy(body).chars().count();
    if chars > BODY_CHARS_MAX {
        return Err(Problem::invalid(format!(
            "The request body has {chars} characters, the maximum is {BODY_CHARS_MAX}"
        )));
    }
    let mut search: Search = read(body)?;
    if !search.filters.is_empty() {
        let filters = std::mem::take(&mut search.filters);
        search.filter_groups.push(Group { filters });
    }
    let all: usize = search.filter_groups.iter().map(|group| group.filters.len()).sum();
    let widest = search
        .filter_groups
        .iter()
        .map(|group| group.filters.len())
        .max()
        .unwrap_or(0);
    for (what, count, most) in [
        ("filterGroups", search.filter_groups.len(), GROUPS_MAX),
        ("filters in a group", widest, GROUP_FILTERS_MAX),
        ("filters", all, FILTERS_MAX),
        ("sorts", search.sorts.len(), 1),
    ] {
        if count > most {
            return Err(Problem::invalid(format!(
                "There can be at most {most} {what}, but there are {count}"
            )));
        }
    }
    if search
        .limit
        .is_some_and(|limit| !(1..=PAGE_ROWS_MAX).contains(&limit))
    {
        return Err(Problem::invalid(format!(
            "The limit must be between 1 and {PAGE_ROWS_MAX}"
        )));
    }
    Ok(search)
}

fn after(given: &Value) -> Result<usize, Problem> {
    let text = text_of(given);
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        Problem::invalid(format!(
            "The paging cursor `after` must be a number, but was {text}"
        ))
    })
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The property to sort by and whether descending: an object, or a text with a dash in front for descending.
fn sort(sorts: &[Value]) -> Result<Option<(String, bool)>, Problem> {
    match sorts.first() {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(match text.strip_prefix('-') {
            Some(name) => (name.to_owned(), true),
            None => (text.clone(), false),
        })),
        Some(sort) => match sort.get("propertyName").and_then(Value::as_str) {
            Some(name) => Ok(Some((
                name.to_owned(),
                sort.get("direction") == Some(&json!("DESCENDING")),
            ))),
            None => Err(Problem::invalid("A sort needs a propertyName")),
        },
    }
}

/// How the values of a property are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TypeOf {
    Text,
    Exact,
    Number,
    Moment,
}

fn type_of(portal: &Portal, kind: Kind, property: &str) -> TypeOf {
    match portal
        .property(kind, property)
        .map(|property| property.kind.as_str())
    {
        Some("number") => TypeOf::Number,
        Some("date" | "datetime") => TypeOf::Moment,
        Some("enumeration" | "bool") => TypeOf::Exact,
        _ => TypeOf::Text,
    }
}

fn moment_of(text: &str) -> Option<i64> {
    read_moment(text).or_else(|| read_moment(&format!("{}T00:00:00Z", read_day(text)?)))
}

fn compare(found: &str, wanted: &str, kind: TypeOf) -> Option<Ordering> {
    match kind {
        TypeOf::Text => Some(found.to_lowercase().cmp(&wanted.to_lowercase())),
        TypeOf::Exact => Some(found.cmp(wanted)),
        TypeOf::Number => Some(read_number(found)?.cmp(&read_number(wanted)?)),
        TypeOf::Moment => Some(moment_of(found)?.cmp(&moment_of(wanted)?)),
    }
}

/// Rows without a value come last, whatever the direction says about the others.
fn in_order(one: Option<&String>, two: Option<&String>, kind: TypeOf) -> Ordering {
    match (one, two) {
        (Some(one), Some(two)) => compare(one, two, kind).unwrap_or(Ordering::Equal),
        (one, two) => two.is_some().cmp(&one.is_some()),
    }
}

/// A filter with its values as texts and its property's type.
struct Test {
    property: String,
    operator: Operator,
    kind: TypeOf,
    value: String,
    high: String,
    values: Vec<String>,
}

struct Tests {
    groups: Vec<Vec<Test>>,
    words: Option<String>,
}

fn tests(portal: &Portal, kind: Kind, search: &Search) -> Tests {
    let test = |filter: &Filter| Test {
        property: filter.property_name.clone(),
        operator: filter.operator,
        kind: type_of(portal, kind, &filter.property_name),
        value: filter.value.as_ref().map(text_of).unwrap_or_default(),
        high: filter.high_value.as_ref().map(text_of).unwrap_or_default(),
        values: filter.values.iter().map(text_of).collect(),
    };
    let groups = search
        .filter_groups
        .iter()
        .filter(|group| !group.filters.is_empty());
    let words = search
        .query
        .as_ref()
        .map(|query| query.trim().to_lowercase())
        .filter(|query| !query.is_empty());
    Tests {
        groups: groups
            .map(|group| group.filters.iter().map(test).collect())
            .collect(),
        words,
    }
}

impl Tests {
    fn pass(&self, portal: &Portal, kind: Kind, id: u64, row: &Row) -> bool {
        let words = self.words.as_ref().is_none_or(|words| {
            kind.searchable().iter().any(|name| {
                row.properties
                    .get(*name)
                    .is_some_and(|value| value.to_lowercase().contains(words))
            })
        });
        words
            && (self.groups.is_empty()
                || self
                    .groups
                    .iter()
                    .any(|group| group.iter().all(|test| test.passes(portal, kind, id, row))))
    }
}

impl Test {
    fn passes(&self, portal: &Portal, kind: Kind, id: u64, row: &Row) -> bool {
        if let Some(to) = self.property.strip_prefix("associations.").and_then(Kind::named) {
            let linked = portal
                .links
                .of((kind, id), to)
                .any(|(other, _)| other.to_string() == self.value);
            return linked == (self.operator == Operator::Eq);
        }
        let value = row.properties.get(&self.property);
        let is = |wanted: &str| {
            value.is_some_and(|value| compare(value, wanted, self.kind) == Some(Ordering::Equal))
        };
        let order = value.and_then(|value| compare(value, &self.value, self.kind));
        match self.operator {
            Operator::Eq => is(&self.value),
            Operator::Neq => value.is_some() && !is(&self.value),
            Operator::Lt => order.is_some_and(Ordering::is_lt),
            Operator::Lte => order.is_some_and(Ordering::is_le),
            Operator::Gt => order.is_some_and(Ordering::is_gt),
            Operator::Gte => order.is_some_and(Ordering::is_ge),
            Operator::Between => {
                let high = value.and_then(|value| compare(value, &self.high, self.kind));
                order.is_some_and(Ordering::is_ge) && high.is_some_and(Ordering::is_le)
            }
            Operator::In => self.listed(value),
            Operator::NotIn => value.is_some() && !self.listed(value),
            Operator::HasProperty => value.is_some(),
            Operator::NotHasProperty => value.is_none(),
            Operator::ContainsToken => self.has_token(value),
            Operator::NotContainsToken => !self.has_token(value),
        }
    }

    /// For texts the list must be in lower case: an upper-case letter in it never matches, as at HubSpot.
    fn listed(&self, value: Option<&String>) -> bool {
        let Some(value) = value else { return false };
        match self.kind {
            TypeOf::Text => self.values.contains(&value.to_lowercase()),
            kind => self
                .values
                .iter()
                .any(|wanted| compare(value, wanted, kind) == Some(Ordering::Equal)),
        }
    }

    /// A token is a run of letters and digits; `*` at an end of the wanted token stands for any letters.
    fn has_token(&self, value: Option<&String>) -> bool {
        let Some(value) = value else { return false };
        let wanted = self.value.to_lowercase();
        let (open_start, open_end) = (wanted.starts_with('*'), wanted.ends_with('*'));
        let core = wanted.trim_matches('*');
        let value = value.to_lowercase();
        value == core
            || value
                .split(|letter: char| !letter.is_alphanumeric())
                .any(|token| match (open_start, open_end) {
                    (true, true) => token.contains(core),
                    (true, false) => token.ends_with(core),
                    (false, true) => token.starts_with(core),
                    (false, false) => token == core,
                })
    }
}
