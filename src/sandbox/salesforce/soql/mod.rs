//! SOQL, as far as the connectors and client libraries use it.
//!
//! ```text
//! SELECT item {, item} FROM Object [alias] [WHERE condition]
//! [ORDER BY path [ASC|DESC] [NULLS FIRST|LAST] {, …}] [LIMIT n] [OFFSET n]
//!
//! item       a field, a parent's field (Account.Name, up to five levels), COUNT() alone, FIELDS(ALL) with LIMIT ≤ 200
//! condition  path = != <> < <= > >= literal · LIKE 'a%' · [NOT] IN (…) · AND · OR · NOT · parentheses
//! literal    'text' · number · true · false · null · 2026-11-23 · 2026-11-23T10:00:00Z, the last two without quotes
//! ```
//!
//! Not there: sub-queries, grouping, aggregates other than `COUNT()`, relative dates. Each is refused by name.
//!
//! [`parse`](parser::parse) makes a tree of the text, [`Plan`](plan::Plan) binds it to the schema,
//! and [`Plan::run`](plan::Plan::run) finds the rows.

pub(crate) mod lexer;
pub(crate) mod parser;
pub(crate) mod plan;

mod evaluate;

#[cfg(test)]
mod tests;
