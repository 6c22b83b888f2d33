//! What an endpoint hears of, and as what: its subscriptions and its shape.

use std::sync::Arc;

use diagnostic::{Fields, Node, Place, Report, Source, Value};
use event::Shape;
use model::{Field, FieldType, Kind};
use policy::SharingPolicy;
use program::Program;
use relay::{Order, Subscription};

use super::sharing;

/// Whom a subscription may name.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    /// Their names.
    pub(super) known: &'a [&'a str],
    /// What somebody else is not, in words.
    pub(super) what: &'static str,
}

/// Reads `events`: patterns, and maps where there is more to say than that.
pub(super) fn subscriptions(
    fields: &mut Fields<'_>,
    names: Names<'_>,
    report: &mut Report,
) -> Vec<Subscription> {
    let source = fields.source();
    let endpoint = fields.place();
    let Some(node) = fields.optional("events") else {
        nothing(source, endpoint, report);
        return Vec::new();
    };
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut read: Vec<Subscription> = Vec::new();
    for item in items {
        match &item.value {
            Value::Text(pattern) => {
                known(pattern, source, item.place, report);
                read.push(pattern.as_str().into());
            }
            _ => read.extend(subscription(item, source, names, report)),
        }
    }
    if items.is_empty() {
        nothing(source, node.place, report);
    }
    read
}

fn nothing(source: &Source, place: Place, report: &mut Report) {
    report.warning(
        "IC0106",
        source,
        place,
        "the endpoint hears of no events",
        "add for example `events: [deal.*]`",
    );
}

/// Notes a pattern that means nothing there is.
fn known(pattern: &str, source: &Source, place: Place, report: &mut Report) {
    let means = |name: &str| model::EventType::parse(name).is_ok_and(|known| known.matches(pattern));
    if !model::EVENT_TYPES.into_iter().any(means) && !pattern.starts_with("custom.") {
        report.error(
            "IC0107",
            source,
            place,
            format!("`{pattern}` matches no event of the catalogue"),
            diagnostic::suggestion(pattern, model::EVENT_TYPES.into_iter()),
        );
    }
}

fn subscription(node: &Node, source: &Source, names: Names<'_>, report: &mut Report) -> Option<Subscription> {
    let mut fields = Fields::open(node, "a subscription", source, report)?;
    let types = owned(fields.texts("types", report));
    let types_place = fields.optional("types").map_or(fields.place(), |node| node.place);
    if types.is_empty() {
        nothing(source, types_place, report);
    }
    types
        .iter()
        .for_each(|pattern| known(pattern, source, types_place, report));
    let from = owned(fields.texts("from", report));
    let from_place = fields.optional("from").map_or(fields.place(), |node| node.place);
    for name in from.iter().filter(|name| !names.known.contains(&name.as_str())) {
        report.error(
            "IC0132",
            source,
            from_place,
            format!("`{name}` is {}", names.what),
            diagnostic::suggestion(name, names.known.iter().copied()),
        );
    }
    let _text = fields.optional_text("where", report);
    let filter = fields
        .optional("where")
        .and_then(|node| program(node, &[], source, report));
    if let (Some(filter), Some(node)) = (&filter, fields.optional("where")) {
        chooses(filter, node.place, source, report);
        looks_at_what_is_there(("where", filter), of_records(&types), node.place, source, report);
    }
    let fold = fields.optional_bool("fold", report).unwrap_or(false);
    fields.finish(report);
    Some(Subscription {
        types,
        from,
        filter,
        fold,
    })
}

/// Whether some of these types are events of the catalogue, whose records are the hub's; what others call a deal is theirs.
fn of_records(types: &[String]) -> bool {
    types.iter().any(|pattern| !pattern.starts_with("custom."))
}

/// Notes an expression that looks for a record where an event has none, or, `of_records`, at what is no field of it: it finds
/// nothing there, and says so to nobody. And one that compares a field with a number, which no value of it is.
pub(super) fn looks_at_what_is_there(
    (key, program): (&str, &Program),
    of_records: bool,
    place: Place,
    source: &Source,
    report: &mut Report,
) {
    for members in program.members() {
        let path = members.join(".");
        let (what, hint) = match members.as_slice() {
            [kind, ..] if Kind::parse(kind).is_some() => (
                format!("`{key}` looks at `.{path}`, and what an event tells of is under `data`"),
                format!("did you mean `.data.{path}`?"),
            ),
            ["data", kind, _, ..] if of_records => {
                let Some(kind) = Kind::parse(kind) else {
                    continue;
                };
                // A name that a path cannot have is none of a field; it may be looked up in what is no record.
                let pattern = path["data.".len()..].parse();
                let Some(hint) = pattern.ok().and_then(|path| sharing::leads_to(kind, &path).err()) else {
                    continue;
                };
                (
                    format!("`{key}` looks at `.{path}`, and a {kind} has no such field"),
                    hint,
                )
            }
            _ => continue,
        };
        report.warning("IC0163", source, place, what, hint);
    }
    for members in program.numbered().into_iter().filter(|_| of_records) {
        let Some((what, hint)) = no_number(&members) else {
            continue;
        };
        report.warning("IC0165", source, place, format!("`{key}` {what}"), hint);
    }
    for members in program.quoted().into_iter().filter(|_| of_records) {
        let Some((what, hint)) = no_letters(&members) else {
            continue;
        };
        report.warning("IC0165", source, place, format!("`{key}` {what}"), hint);
    }
}

/// The field that members of an event lead to, or into, and where that is in its record.
fn field_at(members: &[&str]) -> Option<(&'static Field, String)> {
    let ["data", kind, rest @ ..] = members else {
        return None;
    };
    let at = rest.join(".");
    let field = Kind::parse(kind)?.fields().find(|field| {
        let below = at.strip_prefix(field.path);
        below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
    })?;
    Some((field, at))
}

/// How a decimal number is compared, which events have as text.
fn as_number(path: &str) -> String {
    format!("compare `(.{path} // \"0\" | tonumber)` with a number")
}

/// What is said of a number that is put in order with a text, and how to do it.
fn no_letters(members: &[&str]) -> Option<(String, String)> {
    let (field, at) = field_at(members)?;
    let path = members.join(".");
    match field.field_type {
        FieldType::Money if at == field.path => None,
        FieldType::Money | FieldType::Decimal => Some((
            format!("puts `.{path}` in order by its letters, in which \"9.00\" is more than \"10.00\""),
            as_number(&path),
        )),
        FieldType::Integer => Some((
            format!("compares `.{path}` with a text, and it is a number, which is less than any text"),
            "take what it is compared with out of its quotes".to_owned(),
        )),
        _ => None,
    }
}

/// What is said of a field that is compared with a number, and how to do it, where its values are none.
fn no_number(members: &[&str]) -> Option<(String, String)> {
    let (field, at) = field_at(members)?;
    let path = members.join(".");
    let (is, hint) = match field.field_type {
        FieldType::Integer => return None,
        FieldType::Money if at == field.path => (
            "an object of an amount and its currency",
            as_number(&format!("{path}.amount")),
        ),
        FieldType::Money | FieldType::Decimal => ("a decimal number written as text", as_number(&path)),
        FieldType::Choices(_) | FieldType::Set => ("a list", format!("compare `(.{path} | length)`")),
        FieldType::Bool => (
            "true or false",
            format!("write `.{path}` alone, or `(.{path} | not)`"),
        ),
        _ => ("text", "put what it is compared with in quotes".to_owned()),
    };
    Some((
        format!("compares `.{path}` with a number, and it is {is}, so that it holds for all or for none"),
        hint,
    ))
}

/// Notes a filter that lets everything through: it sets a value where it should compare, or makes something even of an event
/// that says nothing.
fn chooses(filter: &Program, place: Place, source: &Source, report: &mut Report) {
    let made = filter.one(&serde_json::json!({}), &|_| None);
    let of_nothing = made
        .ok()
        .filter(|made| !matches!(made, serde_json::Value::Null | serde_json::Value::Bool(_)));
    let why = match of_nothing {
        _ if assigns(filter.source()) => "it sets a value".to_owned(),
        Some(made) => format!("even of an event that says nothing it makes {made}"),
        None => return,
    };
    report.error(
        "IC0161",
        source,
        place,
        format!("`where` chooses nothing: {why}"),
        "compare with `==`: .data.deal.amount.currency == \"EUR\"",
    );
}

/// Whether an expression has a `=` that is no part of a comparison.
fn assigns(text: &str) -> bool {
    let (mut in_text, mut escaped) = (false, false);
    let chars: Vec<char> = text.chars().collect();
    let at = |index: Option<usize>| index.and_then(|index| chars.get(index)).copied();
    for (index, c) in chars.iter().enumerate() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            '=' if !in_text => {
                let (before, after) = (at(index.checked_sub(1)), at(Some(index + 1)));
                let compares = before.is_some_and(|c| "=!<>".contains(c)) || after == Some('=');
                if !compares {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Notes subscriptions that fold where no order says what is about the same record.
pub(super) fn folds_in_order(
    fields: &mut Fields<'_>,
    subscriptions: &[Subscription],
    order: Order,
    report: &mut Report,
) {
    if order == Order::None && subscriptions.iter().any(|one| one.fold) {
        let source = fields.source();
        let place = fields
            .optional("events")
            .map_or(fields.place(), |node| node.place);
        report.error(
            "IC0150",
            source,
            place,
            "`fold` is of no use without an order",
            "add `order: record` to the endpoint, or take `fold` away",
        );
    }
}

/// Reads `shape`: a word, or a program; what it is made of are the events that these mean.
pub(super) fn shape(fields: &mut Fields<'_>, subscriptions: &[Subscription], report: &mut Report) -> Shape {
    let source = fields.source();
    let Some(node) = fields.optional("shape") else {
        return Shape::Full;
    };
    match &node.value {
        Value::Map(_) => {
            let Some(mut inner) = Fields::open(node, "`shape`", source, report) else {
                return Shape::Full;
            };
            let _text = inner.text("program", report);
            let made = inner.optional("program").and_then(|node| {
                let made = program(node, &["id"], source, report)?;
                let types = subscriptions.iter().any(|one| of_records(&one.types));
                looks_at_what_is_there(("program", &made), types, node.place, source, report);
                Some(made)
            });
            inner.finish(report);
            made.map_or(Shape::Full, Shape::Program)
        }
        _ => {
            let words = [Shape::Full, Shape::Thin, Shape::CloudEvent];
            let named = words.into_iter().find(|shape| node.text() == Some(shape.word()));
            named.unwrap_or_else(|| {
                fields
                    .wrong(
                        "shape",
                        node,
                        "`full`, `thin`, `cloudevent` or `{ program: … }`",
                        report,
                    )
                    .unwrap_or_default()
            })
        }
    }
}

/// Reads `takes` of a partner: what makes an event of what it posts.
pub(super) fn takes(fields: &mut Fields<'_>, report: &mut Report) -> Option<Arc<Program>> {
    let node = fields.optional("takes")?;
    let source = fields.source();
    let mut inner = Fields::open(node, "`takes` of a partner", source, report)?;
    let _text = inner.text("program", report);
    let made = inner
        .optional("program")
        .and_then(|node| program(node, &[], source, report));
    inner.finish(report);
    made
}

/// Compiles an expression, and points into it when it is wrong.
pub(super) fn program(
    node: &Node,
    names: &[&'static str],
    source: &Source,
    report: &mut Report,
) -> Option<Arc<Program>> {
    let text = node.text()?;
    match Program::compile(text, names) {
        Ok(program) => Some(Arc::new(program)),
        Err(broken) => {
            let place = broken.place(text, node.place, source);
            report.error("IC0133", source, place, broken.message, broken.hint);
            None
        }
    }
}

/// Notes an endpoint that is told of things and may not know which.
pub(super) fn tells_which(
    shape: &Shape,
    share: &SharingPolicy,
    place: Place,
    source: &Source,
    report: &mut Report,
) {
    if matches!(shape, Shape::Thin) && !share.rules.shares("id") {
        report.warning(
            "IC0134",
            source,
            place,
            "the shape `thin` leaves the id of what an event is about, and `share` takes it away",
            "add `id` to `allow`, or take another shape",
        );
    }
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use diagnostic::{Report, Source};

    use super::assigns;
    use crate::config::{Config, secret};

    #[test]
    fn what_no_event_has_is_found_wherever_an_expression_looks_for_it() {
        let text = r#"
records:
  partner:
    custom:
      engineers: { type: integer }
partners:
  acme:
    endpoints:
      - name: a
        url: https://a.example
        secret: "${env:SIGN}"
        share: everything
        shape: { program: '{id: $id, stage: .data.deal.stagee, whole: .data}' }
        events:
          - { types: [deal.*], where: '.data.deal.amont.currency == "EUR" or .deal.stage' }
          - { types: [deal.*], where: '.data.deal.amount.currency == "EUR" and (.data.changed | has("stage"))' }
          - { types: ["*"], where: '.data | .lead.contact.emial // .deal' }
          - { types: [custom.quote], where: '.data.deal.amont == 5' }
          - { types: [deal.*], where: '.data.deal.amount.amount > 10000 and .data.deal.probability >= 0.5' }
          - { types: [deal.*], where: '.data.deal.amount > 1 or (.data.deal.amount.amount // "0" | tonumber) > 1' }
          - { types: [deal.*], where: '.data.deal.amount.amount > "10000" or .data.deal.name > "10"' }
          - { types: [partner.*], where: '.data.partner.custom.engineers < "10"' }
          - { types: [deal.*], where: '.data.deal.product_lines > 1 or .data.deal.name == 17' }
"#;
        let mut report = Report::new();
        Config::read(&Source::new("interconnect.yaml", text), &mut report);
        let found = secret::but_missing(&report);
        insta::assert_snapshot!(secret::headlines(&found), @r#"
        warning[IC0163]: `where` looks at `.data.deal.amont.currency`, and a deal has no such field
           = help: did you mean `deal.amount`?
        warning[IC0163]: `where` looks at `.deal.stage`, and what an event tells of is under `data`
           = help: did you mean `.data.deal.stage`?
        warning[IC0163]: `where` looks at `.data.lead.contact.emial`, and a lead has no such field
           = help: did you mean `lead.contact.email`?
        warning[IC0165]: `where` compares `.data.deal.amount.amount` with a number, and it is a decimal number written as text, so that it holds for all or for none
           = help: compare `(.data.deal.amount.amount // "0" | tonumber)` with a number
        warning[IC0165]: `where` compares `.data.deal.probability` with a number, and it is a decimal number written as text, so that it holds for all or for none
           = help: compare `(.data.deal.probability // "0" | tonumber)` with a number
        warning[IC0165]: `where` compares `.data.deal.amount` with a number, and it is an object of an amount and its currency, so that it holds for all or for none
           = help: compare `(.data.deal.amount.amount // "0" | tonumber)` with a number
        warning[IC0165]: `where` puts `.data.deal.amount.amount` in order by its letters, in which "9.00" is more than "10.00"
           = help: compare `(.data.deal.amount.amount // "0" | tonumber)` with a number
        warning[IC0165]: `where` compares `.data.partner.custom.engineers` with a text, and it is a number, which is less than any text
           = help: take what it is compared with out of its quotes
        warning[IC0165]: `where` compares `.data.deal.name` with a number, and it is text, so that it holds for all or for none
           = help: put what it is compared with in quotes
        warning[IC0165]: `where` compares `.data.deal.product_lines` with a number, and it is a list, so that it holds for all or for none
           = help: compare `(.data.deal.product_lines | length)`
        warning[IC0163]: `program` looks at `.data.deal.stagee`, and a deal has no such field
           = help: did you mean `deal.stage`?
        "#);
    }

    #[test]
    fn what_sets_a_value_is_told_from_what_compares() {
        for sets in [".a = 1", ".a=\"x\"", ".a |= 2", ".a += 1", ".a == 1 and (.b = 2)"] {
            assert!(assigns(sets), "{sets}");
        }
        for compares in [
            ".a == 1",
            ".a != 1",
            ".a <= 1 or .b >= 2",
            ".a == \"=\"",
            r#".a == "\" = " "#,
        ] {
            assert!(!assigns(compares), "{compares}");
        }
    }
}
