//! What a sync of posted objects hears of: events of partners.

use diagnostic::{Fields, Node, Report, Source, Value};
use relay::Subscription;

use super::subscriptions::{self, Names};

/// What says how a system is asked or written, and so makes no sense where partners post.
const OF_CALLS: [&str; 5] = ["push", "create", "delete", "reconcile_every", "every"];

/// Reads `events` of a sync, where it has them: as an endpoint's, but each says from whom. `speakers` may be
/// named.
pub(super) fn events(
    fields: &mut Fields<'_>,
    speakers: &[&str],
    report: &mut Report,
) -> Option<Vec<Subscription>> {
    let source = fields.source();
    let node = fields.optional("events")?;
    let names = Names {
        known: speakers,
        what: "not a partner",
    };
    let read = subscriptions::subscriptions(fields, names, report);
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        fits(item, source, report);
    }
    for key in OF_CALLS {
        without(key, fields, report);
    }
    Some(read)
}

/// Notes one that does not say from whom, or says how an endpoint wants its deliveries.
fn fits(item: &Node, source: &Source, report: &mut Report) {
    let says = |key: &str| match item.get(key).map(|node| &node.value) {
        None | Some(Value::Null) => false,
        Some(Value::List(items)) => !items.is_empty(),
        Some(_) => true,
    };
    if !says("from") {
        report.error(
            "IC0152",
            source,
            item.place,
            "it is not said whose events become records",
            "write for example `{ types: [lead.*], from: [acme] }`",
        );
    }
    if says("fold") {
        report.error(
            "IC0153",
            source,
            item.place,
            "`fold` is for endpoints: of what is posted, each event leaves its own version",
            "take `fold` out",
        );
    }
}

/// Notes what a sync with `events` says of calls.
fn without(key: &'static str, fields: &mut Fields<'_>, report: &mut Report) {
    let said = fields
        .optional(key)
        .is_some_and(|node| node.value != Value::Bool(false));
    if let (true, Some(place)) = (said, fields.key_place(key)) {
        report.error(
            "IC0153",
            fields.source(),
            place,
            format!("`{key}` makes no sense in a sync with `events`: nobody is asked or written to"),
            format!("take `{key}` out"),
        );
    }
}
