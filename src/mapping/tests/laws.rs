//! The laws, for every step of a lens, with 500 records that the product draws itself and 500 that nobody has thought of.

use model::normalise::normalise;
use model::{FieldType, Fields, Kind, Value};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::laws::{broken, try_record};
use crate::vocabulary::{STEPS, fits};

/// Every step in every form, each where a record has a field for it; what is coarse says so.
const DEALS: &[&str] = &[
    r#"
  - { record: name, object: Name, lens: [ { truncate: 40 } ], coarse: true }
  - { record: stage, object: Stage, lens: [ enum: { prospect: [New, Cold], qualified: 2, technical_validation: 3, business_validation: 4, committed: Won, launched: Won, closed_lost: false } ], coarse: true }
  - { record: amount, object: [Amount, Currency], lens: [ money: { scale: 4 } ] }
  - { record: expected_close_date, object: Close, lens: [ date: { wire: datetime_utc_midnight } ] }
  - { record: closed_at, object: Closed, lens: [ datetime: { digits: 3 } ], coarse: true }
  - { record: probability, object: Probability, lens: [ decimal: { percent: true } ] }
  - { record: product_lines, object: Lines, lens: [ split: ";" ] }
  - { record: partner, object: Account, lens: [ reference: { object: Account } ] }
  - { record: customer.country, object: Country, lens: [ country: { wire: name } ] }
  - { record: customer.subdivision, object: State, lens: [ subdivision: { wire: name } ] }
  - { record: customer.domain, object: Domain, lens: [ domain ] }
  - { record: contact.phone, object: Phone, lens: [ phone: { country: customer.country } ] }
  - { record: contact.email, object: Email, lens: [ email, case: upper ] }
  - { record: contact.first_name, object: Contact, lens: [ part: first ], direction: in }
  - { record: next_steps, object: Next, lens: [ case: lower ], coarse: true }
"#,
    r#"
  - { record: name, object: Name, blank: { read: Unnamed } }
  - { record: stage, object: Stage }
  - { record: amount, object: Amount, lens: [ money: { wire: string, currency: "{connection}" } ] }
  - { record: expected_close_date, object: Close, lens: [ date: { wire: epoch_ms } ] }
  - { record: closed_at, object: Closed, lens: [ datetime: { wire: epoch_ms } ], coarse: true }
  - { record: probability, object: Probability, lens: [ decimal: { wire: string } ] }
  - { record: product_lines, object: Lines, lens: [ list ] }
  - { record: partner, object: Account, lens: [ reference: { object: Account, wire: list } ] }
  - { record: customer.country, object: Country, lens: [ country: { wire: alpha3 } ] }
  - { record: customer.subdivision, object: State, lens: [ subdivision: { wire: bare } ] }
  - { record: next_steps, object: Next, blank: { write: "[none]" } }
"#,
    r#"
  - { record: name, object: Name }
  - { record: stage, object: Stage }
  - { record: amount, object: Amount, lens: [ money: { currency: EUR } ] }
  - { record: expected_close_date, object: Close }
  - { record: closed_at, object: Closed }
  - { record: product_lines, object: Lines, lens: [ single ], coarse: true }
  - { record: partner, object: Account, lens: [ reference: { object: Account, wire: number } ] }
  - { record: customer.country, object: Country, lens: [ country: { wire: alpha2 } ] }
  - { record: customer.subdivision, object: State, lens: [ subdivision: { wire: iso } ] }
"#,
    r#"
  - { record: name, object: Name }
  - { record: stage, object: Stage }
  - { record: amount, object: [Cents, Currency], lens: [ money: { minor: true } ] }
  - { record: expected_close_date, object: Close, lens: [ date: { wire: odata_v2 } ] }
  - { record: closed_at, object: Closed, lens: [ datetime: { wire: odata_v2 } ], coarse: true }
  - { record: description, object: [Given, Family], lens: [ whole_name ] }
  - { record: [contact.first_name, contact.last_name], object: Contact, lens: [ whole_name ], direction: out }
  - { record: contact.first_name, object: Contact, lens: [ part: first ], direction: in }
  - { record: contact.last_name, object: Contact, lens: [ part: last ], direction: in }
  - { record: next_steps, object: Next, jq: "[., 1.50, {}]", direction: out }
  - { record: product_lines, object: Lines, jq: "map(ascii_upcase) | join(\" \")", direction: create }
"#,
];

const PARTNERS: &[&str] = &[
    r#"
  - { record: display_name, object: Name }
  - { record: types, object: Types, lens: [ enum: { sales: S, service: V, technology: T, influence: I, strategic: G }, split: "," ] }
  - { record: website_url, object: Web, lens: [ url ] }
"#,
    r#"
  - { record: display_name, object: Name }
  - { record: types, object: Types, lens: [ single ], coarse: true }
"#,
];

fn texts() -> impl Iterator<Item = (Kind, &'static str)> {
    let deals = DEALS.iter().map(|lines| (Kind::Deal, *lines));
    deals.chain(PARTNERS.iter().map(|lines| (Kind::Partner, *lines)))
}

fn compiled(kind: Kind, lines: &str) -> Mapping {
    let head = HEAD.replace("record: deal", &format!("record: {kind}"));
    let mut report = Report::new();
    let mapping = Mapping::compile(&Source::new("all.yaml", format!("{head}{lines}")), &mut report);
    mapping.unwrap_or_else(|| panic!("{}", report.render(false)))
}

fn told(mapping: &Mapping) -> Vec<String> {
    let told = broken(mapping).into_iter();
    told.map(|found| format!("{} {}: {}", found.law, found.path, found.shown))
        .collect()
}

#[test]
fn the_laws_hold_for_every_step() {
    for (kind, lines) in texts() {
        assert_eq!(told(&compiled(kind, lines)), Vec::<String>::new());
    }
    for step in STEPS {
        let fitting = |field: &&model::Field| fits(step, field.field_type);
        let used = texts().any(|(_, lines)| {
            lines
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .any(|word| word == *step)
        });
        // No record has a flag or a whole number yet; their steps are tried one by one.
        assert!(
            used || !Kind::ALL
                .iter()
                .any(|kind| kind.fields().any(|field| fitting(&field))),
            "{step}"
        );
    }
}

#[test]
fn a_coarse_line_that_does_not_say_so_is_found() {
    let mut found = 0;
    for (kind, lines) in texts() {
        let mapping = compiled(kind, &lines.replace(", coarse: true", ""));
        let stated = lines.matches("coarse: true").count();
        let told = told(&mapping);
        assert!(
            told.iter().all(|finding| finding.starts_with("Exact ")),
            "{told:?}"
        );
        assert_eq!(told.len(), stated, "{told:?}");
        found += stated;
    }
    assert_eq!(found, 8);
}

#[test]
fn what_a_coarse_line_loses_is_remembered() {
    let mapping =
        deal("  - { record: lost_reason, object: Reason, lens: [ { truncate: 4 } ], coarse: true }\n");
    let record: Fields = [("lost_reason", Value::text("abcdefgh"))].into_iter().collect();
    let object = json!({ "Reason": "abcd" });
    let read = |base| mapping.forward(&object, base, CONTEXT, &nobody).fields;
    assert_eq!(read(Some(&record)).text("lost_reason"), Some("abcdefgh"));
    assert_eq!(read(None).text("lost_reason"), Some("abcd"));
}

#[test]
fn an_item_that_holds_the_separator_is_refused() {
    let lens = "lens: [ enum: { sales: \"Sales, EMEA\", service: V, technology: T, influence: I, strategic: G }, split: \", \" ]";
    let text = format!(
        "{}  - {{ record: display_name, object: Name }}\n  - {{ record: types, object: Types, {lens} }}\n",
        HEAD.replace("record: deal", "record: partner")
    );
    insta::assert_snapshot!(report(&text).render(false), @r##"
    error[IC0307]: `sales` stands for "Sales, EMEA", which holds `, `, the separator of items: it is read as two
     --> deal.yaml:8:132
      |
    8 | ...EA", service: V, technology: T, influence: I, strategic: G }, split: ", " ] }
      |                                                                  ^^^^^
      |
      = help: use a separator that no item holds, or `list` if the system has lists
    "##);
    // A set of any texts: the one item is refused when it is written, with its reason.
    let mapping = deal("  - { record: product_lines, object: Lines, lens: [ split: \",\" ] }\n");
    let items = ["robots, small", "software"].map(str::to_owned);
    let record: Fields = [("product_lines", Value::Set(items.into()))]
        .into_iter()
        .collect();
    let back = mapping.backward(&record, None, CONTEXT, &no_id);
    assert!(back.values.is_empty());
    assert_eq!(
        back.issues[0].to_string(),
        "`product_lines` and `Lines`: `robots, small` is not an item without `,`, which separates items in the system"
    );
}

#[test]
fn the_laws_hold_for_every_step_and_any_text() {
    let mappings: Vec<Mapping> = texts().map(|(kind, lines)| compiled(kind, lines)).collect();
    let record = |mapping: &Mapping, texts: &[String]| -> Fields {
        let read = mapping.lines.iter().filter(|line| line.writes()).zip(texts);
        let read = read.filter_map(|(line, text)| Some((line.path, value(line.field_type, text)?)));
        let mut record: Fields = read.filter(|(_, value)| !value.is_blank()).collect();
        // A subdivision lies in the record's country: anything else is a record that nobody has.
        let (country, state) = ("customer.country", "customer.subdivision");
        let inside = |code: &str| {
            record
                .text(country)
                .is_some_and(|country| code.starts_with(country))
        };
        if !record.text(state).is_none_or(inside) {
            record.set(state, Value::Null);
        }
        record
    };
    let config = ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let values = || prop::collection::vec(any_value(), 16);
    proptest!(config, |(texts in values(), other in values())| {
        for mapping in &mappings {
            let held = try_record(mapping, &record(mapping, &other), &json!({}), &mut |_| {});
            let mut broken = Vec::new();
            let mut note = |found: crate::laws::Broken| broken.push(format!("{} {}: {}", found.law, found.path, found.shown));
            try_record(mapping, &record(mapping, &texts), &held, &mut note);
            prop_assert!(broken.is_empty(), "{}", broken.join("\n"));
        }
    });
}

fn value(field_type: FieldType, text: &str) -> Option<Value> {
    match field_type {
        FieldType::Money => model::Money::parse(text, euro().currency?).map(Value::Money).ok(),
        other => normalise(other, text, None).ok(),
    }
}

/// Any text, and texts that fields of some type take.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,300}",
        "-?[0-9]{1,12}(\\.[0-9]{1,14})?",
        "20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])(T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?Z)?",
        "[A-Za-z0-9.]{1,10}@[a-z]{1,10}\\.example",
        "[a-z]{1,10}(;[a-z ,]{1,10}){0,3}",
        "(DE|US|FR|BR)(-(BE|CA|IDF|SP))?",
        "(sales|service|technology|prospect|committed|launched|closed_lost)",
    ]
}
