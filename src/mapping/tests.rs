//! What a mapping promises, tried on the shipped files and on small ones.

mod findings;
mod laws;
mod live;
mod shipped;
mod values;

use diagnostic::{Report, Source};
use model::{Currency, RecordId};

use crate::example::stand_in;
use crate::{Context, Mapping};

const CONTEXT: Context<'static> = Context {
    currency: None,
    country: None,
    agreed: None,
};

fn euro() -> Context<'static> {
    Context {
        currency: Currency::parse("EUR").ok(),
        country: Some("DE"),
        agreed: None,
    }
}

/// A mapping of a deal with these lines, added to those that a deal needs.
fn deal(lines: &str) -> Mapping {
    let text = format!("{HEAD}{NEEDED}{lines}");
    let mut report = Report::new();
    let mapping = Mapping::compile(&Source::new("deal.yaml", text), &mut report);
    mapping.unwrap_or_else(|| panic!("{}", report.render(false)))
}

/// Everything that is wrong with a file.
fn report(text: &str) -> Report {
    let mut report = Report::new();
    if let Some(mapping) = Mapping::compile(&Source::new("deal.yaml", text), &mut report) {
        report.merge(mapping.lint(&sampled()));
    }
    report
}

/// What the connector's samples hold.
fn sampled() -> [(std::sync::Arc<str>, serde_json::Value); 1] {
    let object = serde_json::json!({ "Name": "Pilot", "Stage": "New", "Notes": "plain" });
    [("samples/deals.json".into(), object)]
}

const HEAD: &str =
    "apiVersion: interconnect/v1\nkind: Mapping\nsystem: acme\nobject: Deal\nrecord: deal\nfields:\n";
const NEEDED: &str = "  - { record: name, object: Name }\n  - { record: stage, object: Stage }\n";

/// Everybody is known, as the record that stands for the id.
fn resolve(object: &str, id: &str) -> Option<RecordId> {
    (object == "Account").then(|| stand_in(model::Kind::Partner, id))
}

fn nobody(_: &str, _: &str) -> Option<RecordId> {
    None
}

fn no_id(_: RecordId, _: &str) -> Option<String> {
    None
}

#[test]
fn a_mapping_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Mapping>();
}
