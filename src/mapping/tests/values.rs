//! What becomes of single values, both ways.

use model::normalise::{normalise, written};
use model::{Field, FieldType, Fields, Kind, Value};
use serde_json::{Value as Json, json};

use super::*;
use crate::create::Writing;
use crate::get::{Read, Reading};
use crate::line::Line;

/// A record of a deal, from texts in normal form.
fn record(values: &[(&'static str, &str)]) -> Fields {
    let read = values.iter().map(|(path, text)| {
        let field = Kind::Deal.field(path).unwrap();
        (field.path, normalise(field.field_type, text, None).unwrap())
    });
    read.collect()
}

fn forward(mapping: &Mapping, object: &Json, base: Option<&Fields>) -> Vec<String> {
    let read = mapping.forward(object, base, euro(), &resolve);
    let values = read
        .fields
        .iter()
        .map(|(path, value)| format!("{path} = {}", written(value)));
    let issues = read.issues.iter().map(ToString::to_string);
    let unresolved = read
        .unresolved
        .iter()
        .map(|one| format!("{} -> {} {}", one.path, one.object, one.external_id));
    values.chain(issues).chain(unresolved).collect()
}

fn backward(mapping: &Mapping, fields: &Fields, object: Option<&Json>) -> Json {
    let written = mapping.backward(fields, object, euro(), &|_, _| Some("001A".into()));
    assert_eq!(written.issues, vec![]);
    Json::Object(written.values)
}

#[test]
fn a_coarse_word_keeps_the_base() {
    let mapping = deal(
        "  - { record: deal_type, object: Type, lens: [ enum: { net_new: new, expansion: old, renewal: [old, Renewal] } ] }\n",
    );
    let base = record(&[("deal_type", "renewal")]);
    let read = |wire: &str, base: Option<&Fields>| forward(&mapping, &json!({ "Type": wire }), base);
    assert_eq!(
        read("old", None),
        ["deal_type = expansion"],
        "the first that has the word"
    );
    assert_eq!(
        read("old", Some(&base)),
        ["deal_type = renewal"],
        "the base has that word, too"
    );
    assert_eq!(
        read("new", Some(&base)),
        ["deal_type = net_new"],
        "changed by somebody"
    );
    assert_eq!(read("Renewal", None), ["deal_type = renewal"]);
    assert_eq!(
        read("other", None),
        ["`deal_type` and `Type`: `other` is not one of new, old, old, Renewal"]
    );
    assert_eq!(
        backward(&mapping, &base, Some(&json!({ "Type": "Renewal" }))),
        json!({}),
        "any of its words will do"
    );
    assert_eq!(
        backward(&mapping, &base, Some(&json!({ "Type": "new" }))),
        json!({ "Type": "old" })
    );
}

#[test]
fn what_is_only_for_creating_is_nobodys_later() {
    let mapping = deal(
        "  - { record: customer.name, object: Customer }\n  - { record: customer.name, object: Title, direction: create }\n",
    );
    let record = record(&[("customer.name", "Northwind")]);
    assert_eq!(
        backward(&mapping, &record, None),
        json!({ "Customer": "Northwind", "Title": "Northwind" })
    );
    let held = json!({ "Customer": "Contoso", "Title": "Stand 14" });
    assert_eq!(
        backward(&mapping, &record, Some(&held)),
        json!({ "Customer": "Northwind" })
    );
    assert_eq!(forward(&mapping, &held, None), ["customer.name = Contoso"]);
}

#[test]
fn a_cut_name_keeps_the_base() {
    let mapping = deal("  - { record: lost_reason, object: Reason, lens: [ { truncate: 10 } ] }\n");
    let base = record(&[("lost_reason", "too expensive for them")]);
    assert_eq!(backward(&mapping, &base, None), json!({ "Reason": "too expens" }));
    assert_eq!(
        forward(&mapping, &json!({ "Reason": "too expens" }), Some(&base)),
        ["lost_reason = too expensive for them"]
    );
    assert_eq!(
        forward(&mapping, &json!({ "Reason": "too late" }), Some(&base)),
        ["lost_reason = too late"]
    );
    let blank_at_the_cut = record(&[("lost_reason", "no budget, yet")]);
    assert_eq!(
        backward(&mapping, &blank_at_the_cut, None),
        json!({ "Reason": "no budget," })
    );
}

#[test]
fn amounts_keep_every_digit() {
    let mapping = deal("  - { record: amount, object: [Amount, Code], lens: [ money: { scale: 2 } ] }\n");
    let object: Json =
        serde_json::from_str(r#"{"Amount": 99999999999999999999999999.99, "Code": "EUR"}"#).unwrap();
    let fields = mapping.forward(&object, None, CONTEXT, &nobody).fields;
    assert_eq!(fields, record(&[("amount", "99999999999999999999999999.99 EUR")]));
    let written = mapping.backward(&fields, None, CONTEXT, &no_id).values;
    assert_eq!(Json::Object(written).to_string(), object.to_string());

    // Written differently, the same amount: nothing to do. Only what differs is written.
    let held: Json = serde_json::from_str(r#"{"Amount": 1.250e3, "Code": "EUR"}"#).unwrap();
    let put = |amount: &str| backward(&mapping, &record(&[("amount", amount)]), Some(&held)).to_string();
    assert_eq!(put("1250 EUR"), "{}");
    assert_eq!(put("1250 USD"), r#"{"Code":"USD"}"#);
    assert_eq!(put("1250.5 EUR"), r#"{"Amount":1250.50}"#);
    let finer = mapping.backward(&record(&[("amount", "1.001 BHD")]), Some(&held), CONTEXT, &no_id);
    assert_eq!(
        finer.issues[0].to_string(),
        "`amount` and `Amount`: `1.001` is not an amount with at most 2 decimals, which is what the system keeps"
    );
    assert!(finer.values.is_empty());
}

#[test]
fn amounts_without_currency_are_in_the_connections() {
    let mapping = deal(
        "  - { record: amount, object: Amount, lens: [ money: { wire: string, currency: \"{connection}\" } ] }\n",
    );
    assert_eq!(
        forward(&mapping, &json!({ "Amount": "12.5" }), None),
        ["amount = 12.50 EUR"]
    );
    assert_eq!(
        backward(&mapping, &record(&[("amount", "12.50 EUR")]), None),
        json!({ "Amount": "12.50" })
    );
    let dollars = mapping.backward(&record(&[("amount", "12.50 USD")]), None, euro(), &no_id);
    assert_eq!(
        dollars.issues[0].invalid.to_string(),
        "`12.50 USD` is not an amount in EUR, the only currency here"
    );
    let nowhere = mapping.forward(&json!({ "Amount": "12.5" }), None, CONTEXT, &nobody);
    assert_eq!(
        nowhere.issues[0].invalid.to_string(),
        "`12.5` is not an amount with a currency; give the connection its `currency`"
    );
}

#[test]
fn what_names_nobody_and_says_nothing_new_is_what_was_seen() {
    let mapping = deal(
        "  - { record: next_steps, object: Next }\n  - { record: partner, object: AccountId, lens: [ reference: { object: Account } ] }\n",
    );
    let seen = Fields::from_iter([
        ("next_steps", Value::text("before")),
        ("partner", Value::Reference(stand_in(Kind::Partner, "7"))),
    ]);
    let before = mapping.forward(
        &json!({ "Next": "before", "AccountId": "7" }),
        None,
        CONTEXT,
        &nobody,
    );
    let mut same = mapping.forward(
        &json!({ "Next": "after", "AccountId": "7" }),
        None,
        CONTEXT,
        &nobody,
    );
    same.as_seen(&before.unresolved, &seen);
    assert!(same.unresolved.is_empty());
    assert_eq!(
        same.fields.text("next_steps"),
        Some("after"),
        "what is told anew stays"
    );
    assert_eq!(same.fields.get("partner"), seen.get("partner"));
    let mut other = mapping.forward(&json!({ "AccountId": "8" }), None, CONTEXT, &nobody);
    other.as_seen(&before.unresolved, &seen);
    assert_eq!(other.unresolved.len(), 1, "it names somebody else");
    let mut never = mapping.forward(&json!({ "AccountId": "7" }), None, CONTEXT, &nobody);
    never.as_seen(&before.unresolved, &Fields::new());
    assert_eq!(never.unresolved.len(), 1, "nothing was seen");
}

#[test]
fn references_are_resolved_by_the_caller() {
    let mapping = deal(
        "  - { record: partner, object: links.accounts, lens: [ reference: { object: Account, wire: list } ] }\n",
    );
    let object = json!({ "links": { "accounts": [{ "id": 7 }, "8"] } });
    let unknown = mapping.forward(&object, None, CONTEXT, &nobody);
    assert!(unknown.fields.is_empty() && unknown.issues.is_empty());
    assert_eq!(
        (
            unknown.unresolved[0].path,
            unknown.unresolved[0].external_id.as_str()
        ),
        ("partner", "7")
    );

    let eight = stand_in(Kind::Partner, "8");
    let fields = |record| Fields::from_iter([("partner", Value::Reference(record))]);
    let seven = mapping.forward(&object, None, CONTEXT, &resolve).fields;
    assert_eq!(seven, fields(stand_in(Kind::Partner, "7")), "the first");
    let agreed = mapping
        .forward(&object, Some(&fields(eight)), CONTEXT, &resolve)
        .fields;
    assert_eq!(
        agreed,
        fields(eight),
        "the one that was agreed on, wherever it stands in the list"
    );

    assert!(mapping.agree(&fields(eight), &object, CONTEXT, &|_, _| Some("8".into())));
    // Where another one that is there was agreed on, it is what the object says.
    let agreed = fields(stand_in(Kind::Partner, "7"));
    let context = Context {
        agreed: Some(&agreed),
        ..CONTEXT
    };
    let refer = |record: model::RecordId, _: &str| Some(if record == eight { "8" } else { "7" }.to_owned());
    let moved = mapping.backward(&fields(eight), Some(&object), context, &refer);
    assert_eq!(json!(moved.values), json!({ "links.accounts": ["8"] }));
    assert!(mapping.agree(&agreed, &object, context, &refer));
    let missing = mapping.backward(&fields(eight), Some(&object), CONTEXT, &no_id);
    assert!(missing.values.is_empty());
    assert_eq!(
        (
            missing.unresolved[0].record,
            missing.unresolved[0].object.as_str()
        ),
        (eight, "Account")
    );
    assert_eq!(
        backward(&mapping, &fields(eight), Some(&json!({}))),
        json!({ "links.accounts": ["001A"] })
    );
}

#[test]
fn days_are_not_shifted() {
    let mapping = deal(
        "  - { record: expected_close_date, object: Close, lens: [ date: { wire: datetime_utc_midnight } ] }\n",
    );
    let read = |wire: Json| forward(&mapping, &json!({ "Close": wire }), None).remove(0);
    for wire in [
        json!("2026-03-29T00:00:00Z"),
        json!("2026-03-29T23:59:59.999Z"),
        json!("2026-03-29"),
        json!(1_774_742_400_000_i64),
        json!("1774742400000"),
    ] {
        assert_eq!(read(wire), "expected_close_date = 2026-03-29");
    }
    assert_eq!(
        read(json!("2026-03-29T00:00:00+02:00")),
        "`expected_close_date` and `Close`: `2026-03-29T00:00:00+02:00` is not a moment in UTC, which is where its day is meant",
        "in UTC it is the day before"
    );
    assert_eq!(
        read(json!("2026-03-29T00:00:00.000+0000")),
        "expected_close_date = 2026-03-29"
    );
    let fields = record(&[("expected_close_date", "2026-03-29")]);
    assert_eq!(
        backward(&mapping, &fields, None),
        json!({ "Close": "2026-03-29T00:00:00Z" })
    );
    assert_eq!(
        backward(
            &mapping,
            &fields,
            Some(&json!({ "Close": "2026-03-29T15:00:00.000Z" }))
        ),
        json!({}),
        "the time of day stays"
    );

    let plain = deal("  - { record: expected_close_date, object: Close }\n");
    assert_eq!(
        forward(&plain, &json!({ "Close": "2026-03-29T00:00:00Z" }), None),
        [
            "`expected_close_date` and `Close`: `2026-03-29T00:00:00Z` is not a day as YYYY-MM-DD, without time or zone"
        ]
    );
}

#[test]
fn phones_and_subdivisions_look_at_the_country() {
    let mapping = deal(
        "  - { record: contact.phone, object: Phone }\n  - { record: customer.subdivision, object: State, lens: [ subdivision: { wire: bare } ] }\n  - { record: customer.country, object: Country, lens: [ country: { wire: name } ] }\n",
    );
    let object = json!({ "Phone": "(415) 555-2671", "State": "California", "Country": "USA" });
    assert_eq!(
        forward(&mapping, &object, None),
        [
            "contact.phone = +14155552671",
            "customer.country = US",
            "customer.subdivision = US-CA"
        ]
    );
    let fields = record(&[
        ("contact.phone", "+14155552671"),
        ("customer.country", "US"),
        ("customer.subdivision", "US-CA"),
    ]);
    assert!(
        mapping.agree(&fields, &object, euro(), &no_id),
        "the same, however it is spelled"
    );
    assert_eq!(
        backward(&mapping, &fields, None),
        json!({ "Phone": "+14155552671", "State": "CA", "Country": "United States" })
    );
    assert_eq!(
        forward(&mapping, &json!({ "Phone": "030 901820", "Country": null }), None),
        ["contact.phone = +4930901820", "customer.country = "]
    );
    // What the object does not carry is what both sides agreed on.
    assert_eq!(
        forward(&mapping, &json!({ "Phone": "(415) 555-2671" }), Some(&fields)),
        ["contact.phone = +14155552671"]
    );
    // A country that cannot be read is not replaced by the connection's.
    assert_eq!(
        forward(
            &mapping,
            &json!({ "Phone": "030 901820", "Country": "Atlantis" }),
            None
        )
        .len(),
        2
    );
    let elsewhere = record(&[("customer.country", "DE"), ("customer.subdivision", "US-CA")]);
    let refused = mapping.backward(&elsewhere, None, CONTEXT, &no_id);
    assert_eq!(
        refused.issues[0].invalid.to_string(),
        "`US-CA` is not a subdivision of the record's country, DE"
    );
}

#[test]
fn what_is_not_carried_is_not_known_and_blank_is_blank() {
    let mapping = deal(
        "  - { record: lost_reason, object: Loss.Reason }\n  - { record: product_lines, object: Lines, lens: [ split: \";\" ] }\n",
    );
    assert_eq!(forward(&mapping, &json!({}), None), Vec::<String>::new());
    assert_eq!(
        forward(&mapping, &json!({ "Loss": null, "Lines": "" }), None),
        ["lost_reason = ", "product_lines = "]
    );
    assert_eq!(
        forward(
            &mapping,
            &json!({ "Loss.Reason": "price", "Lines": " b; a;b" }),
            None
        ),
        ["lost_reason = price", "product_lines = a;b"]
    );
    let blank = Fields::from_iter([("lost_reason", Value::Null), ("product_lines", Value::Null)]);
    assert_eq!(backward(&mapping, &blank, None), json!({}));
    assert_eq!(
        backward(
            &mapping,
            &blank,
            Some(&json!({ "Loss": { "Reason": "price" }, "Lines": " " }))
        ),
        json!({ "Loss.Reason": null })
    );
    assert_eq!(
        backward(&mapping, &Fields::new(), Some(&json!({ "Lines": "a" }))),
        json!({}),
        "not known is left alone"
    );
}

#[test]
fn blank_where_a_system_or_a_record_demands_a_value() {
    let text = format!(
        "{HEAD}  - {{ record: name, object: Name, blank: {{ write: \"-\" }} }}\n  - {{ record: stage, object: Stage, blank: {{ read: prospect }} }}\n"
    );
    let mapping = Mapping::compile(&Source::new("deal.yaml", text), &mut Report::new()).unwrap();
    assert_eq!(
        forward(&mapping, &json!({ "Name": "-", "Stage": null }), None),
        ["name = ", "stage = prospect"]
    );
    assert_eq!(
        backward(&mapping, &record(&[("stage", "prospect")]), None),
        json!({ "Name": "-", "Stage": "prospect" })
    );
    assert_eq!(
        backward(
            &mapping,
            &record(&[("stage", "prospect")]),
            Some(&json!({ "Name": "x", "Stage": null }))
        ),
        json!({})
    );
    assert_eq!(
        backward(&mapping, &record(&[("name", "")]), Some(&json!({ "Name": "x" }))),
        json!({ "Name": "-" })
    );
    assert_eq!(
        backward(
            &mapping,
            &record(&[("name", "")]),
            Some(&json!({ "Name": " - " }))
        ),
        json!({})
    );
}

#[test]
fn moments_keep_the_digits_that_the_system_keeps() {
    let mapping = deal("  - { record: closed_at, object: Closed, lens: [ datetime: { digits: 3 } ] }\n");
    let exact = record(&[("closed_at", "2026-11-22T10:15:30.123456Z")]);
    assert_eq!(
        backward(&mapping, &exact, None),
        json!({ "Closed": "2026-11-22T10:15:30.123Z" })
    );
    let held = json!({ "Closed": "2026-11-22T10:15:30.123+0000" });
    assert_eq!(
        forward(&mapping, &held, Some(&exact)),
        ["closed_at = 2026-11-22T10:15:30.123456Z"]
    );
    assert_eq!(
        forward(&mapping, &held, None),
        ["closed_at = 2026-11-22T10:15:30.123Z"]
    );
    assert!(mapping.agree(&exact, &held, CONTEXT, &no_id));
}

#[test]
fn text_boxes_that_change_line_ends_are_no_change() {
    let mapping = deal("  - { record: description, object: Text, lens: [ { truncate: 12 } ] }\n");
    let base = record(&[("description", "first\nsecond and more")]);
    assert_eq!(
        backward(&mapping, &base, None),
        json!({ "Text": "first\nsecond" })
    );
    assert_eq!(
        forward(&mapping, &json!({ "Text": "first\r\nsecond" }), Some(&base)),
        ["description = first\nsecond and more"]
    );
}

#[test]
fn every_step_both_ways() {
    for (line, wire, value) in [
        (
            "probability, object: X, lens: [ decimal: { percent: true } ]",
            json!(12.5),
            "0.125",
        ),
        (
            "probability, object: X, lens: [ decimal: { wire: string } ]",
            json!("0.5"),
            "0.5",
        ),
        (
            "contact.email, object: X, lens: [ { case: upper } ]",
            json!("ANA@EXAMPLE.COM"),
            "ana@example.com",
        ),
        (
            "customer.domain, object: X, lens: [ domain ]",
            json!("acme.co.uk"),
            "acme.co.uk",
        ),
        (
            "customer.country, object: X, lens: [ country: { wire: alpha3 } ]",
            json!("DEU"),
            "DE",
        ),
        (
            "customer.subdivision, object: X, lens: [ subdivision: { wire: name, country: customer.country } ]\n  - record: customer.country\n    object: Y",
            json!("Berlin"),
            "DE-BE",
        ),
        (
            "product_lines, object: X, lens: [ list ]",
            json!(["a", "b"]),
            "a;b",
        ),
        (
            "amount, object: X, lens: [ money: { wire: string, currency: CHF } ]",
            json!("7.00"),
            "7.00 CHF",
        ),
        (
            "closed_at, object: X, lens: [ datetime: { wire: epoch_ms } ]",
            json!(1_774_742_400_123_i64),
            "2026-03-29T00:00:00.123Z",
        ),
        (
            "expected_close_date, object: X, lens: [ date: { wire: epoch_ms } ]",
            json!(1_774_742_400_000_i64),
            "2026-03-29",
        ),
        (
            "customer.street, object: X",
            json!("12\n2nd floor"),
            "12\n2nd floor",
        ),
        ("customer.postal_code, object: X", json!("01067"), "01067"),
    ] {
        let path: &str = line.split(',').next().unwrap();
        let mapping = match line.split_once('\n') {
            None => deal(&format!("  - {{ record: {line} }}\n")),
            Some((first, rest)) => deal(&format!("  - {{ record: {first} }}\n{rest}\n")),
        };
        let object = json!({ "X": wire, "Y": "DE" });
        let read = mapping.forward(&object, None, CONTEXT, &nobody);
        assert_eq!(
            (
                written(read.fields.get(path).unwrap_or(&Value::Null)).as_str(),
                read.issues
            ),
            (value, vec![]),
            "{line}"
        );
        let back = mapping.backward(&read.fields, None, CONTEXT, &no_id);
        assert_eq!(
            back.values.get("X").map(ToString::to_string),
            Some(wire.to_string()),
            "{line}"
        );
    }
}

#[test]
fn names_are_only_taken_apart() {
    let mapping = deal(
        "  - { record: contact.first_name, object: Contact, lens: [ part: first ], direction: in }\n  - { record: contact.last_name, object: Contact, lens: [ part: last ], direction: in }\n",
    );
    assert_eq!(
        forward(&mapping, &json!({ "Contact": " Ana  María Silva " }), None),
        ["contact.first_name = Ana  María", "contact.last_name = Silva"]
    );
    assert_eq!(
        forward(&mapping, &json!({ "Contact": "Cher" }), None),
        ["contact.first_name = ", "contact.last_name = Cher"]
    );
    assert_eq!(
        backward(&mapping, &record(&[("contact.last_name", "Silva")]), None),
        json!({})
    );
}

#[test]
fn a_name_in_one_field_keeps_the_parts_that_were_agreed_on() {
    let mapping = deal(
        "  - { record: [contact.first_name, contact.last_name], object: Contact, lens: [ whole_name ], direction: out }\n  - { record: contact.first_name, object: Contact, lens: [ part: first ], direction: in }\n  - { record: contact.last_name, object: Contact, lens: [ part: last ], direction: in }\n",
    );
    let person =
        |first: &str, last: &str| record(&[("contact.first_name", first), ("contact.last_name", last)]);
    let base = person("Ana", "de Silva");
    let held = json!({ "Contact": "Ana de Silva" });
    assert_eq!(backward(&mapping, &base, None), held);
    assert_eq!(
        forward(&mapping, &held, Some(&base)),
        ["contact.first_name = Ana", "contact.last_name = de Silva"]
    );
    assert_eq!(
        forward(&mapping, &json!({ "Contact": "Anna de Silva" }), Some(&base)),
        ["contact.first_name = Anna", "contact.last_name = de Silva"],
        "the family name is still there"
    );
    assert_eq!(
        backward(
            &mapping,
            &person("Ana", "de Silva"),
            Some(&json!({ "Contact": "Ana\nde  Silva" }))
        ),
        json!({}),
        "the same name"
    );
    assert_eq!(
        backward(&mapping, &person("Ana", "Sousa"), Some(&held)),
        json!({ "Contact": "Ana Sousa" })
    );
    // Half of a name says nothing of what stands there; of a new object it is all that is known.
    let half = record(&[("contact.last_name", "Sousa")]);
    assert_eq!(backward(&mapping, &half, Some(&held)), json!({}));
    assert_eq!(backward(&mapping, &half, None), json!({ "Contact": "Sousa" }));
    let nobody = record(&[("contact.first_name", ""), ("contact.last_name", "")]);
    assert_eq!(
        backward(&mapping, &nobody, Some(&held)),
        json!({ "Contact": null })
    );
}

#[test]
fn a_whole_name_is_never_cut_by_guess() {
    let mapping = deal("  - { record: description, object: [First, Last], lens: [ whole_name ] }\n");
    let named = |name: &str| record(&[("description", name)]);
    let put = |name: &str, first: Json, last: Json| {
        let held = json!({ "First": first, "Last": last });
        let written = mapping.backward(&named(name), Some(&held), euro(), &no_id);
        let issues = written.issues.iter().map(ToString::to_string).collect::<Vec<_>>();
        (Json::Object(written.values), issues)
    };
    let right = |values: Json| (values, Vec::<String>::new());
    assert_eq!(
        forward(&mapping, &json!({ "First": " Ana ", "Last": "de Silva" }), None),
        ["description = Ana de Silva"]
    );
    assert_eq!(
        forward(&mapping, &json!({ "First": null, "Last": "Cher" }), None),
        ["description = Cher"]
    );
    assert_eq!(
        forward(&mapping, &json!({ "First": null, "Last": "" }), None),
        ["description = "]
    );
    assert_eq!(
        forward(&mapping, &json!({ "Last": "Silva" }), None),
        Vec::<String>::new(),
        "not known"
    );
    assert_eq!(
        put("Ana de Silva", json!("Ana de"), json!("Silva")),
        right(json!({})),
        "the same name"
    );
    assert_eq!(
        put("Anna de Silva", json!("Ana"), json!("de Silva")),
        right(json!({ "First": "Anna" }))
    );
    assert_eq!(
        put("Ana Sousa", json!("Ana"), json!("de Silva")),
        right(json!({ "Last": "Sousa" }))
    );
    assert_eq!(
        put("Cher", json!("Ana"), json!("de Silva")),
        right(json!({ "First": null, "Last": "Cher" }))
    );
    assert_eq!(put("", json!("Ana"), json!("")), right(json!({ "First": null })));
    assert_eq!(
        backward(&mapping, &named("Rosa Blake"), None),
        json!({ "First": "Rosa", "Last": "Blake" })
    );
    assert_eq!(
        backward(&mapping, &named("Cher"), None),
        json!({ "First": null, "Last": "Cher" })
    );
    let (values, issues) = put("Rosa de la Cruz", json!("Ana"), json!("de Silva"));
    assert_eq!(values, json!({}));
    insta::assert_snapshot!(issues.join("\n"), @"`description` and `First`: `Rosa de la Cruz` is not a name of two words, or one of which the given name or the family name stands there already: where the family name begins is not known");
}

#[test]
fn the_smallest_units_of_a_currency() {
    let mapping = deal("  - { record: amount, object: [Cents, Code], lens: [ money: { minor: true } ] }\n");
    for (units, code, amount) in [
        ("1050", "EUR", "10.50 EUR"),
        ("1050", "JPY", "1050 JPY"),
        ("1050", "BHD", "1.050 BHD"),
        ("-7", "USD", "-0.07 USD"),
        ("0", "USD", "0.00 USD"),
        (
            "99999999999999999999999999",
            "EUR",
            "999999999999999999999999.99 EUR",
        ),
    ] {
        let object: Json =
            serde_json::from_str(&format!(r#"{{"Cents": {units}, "Code": "{code}"}}"#)).unwrap();
        assert_eq!(forward(&mapping, &object, None), [format!("amount = {amount}")]);
        assert_eq!(
            backward(&mapping, &record(&[("amount", amount)]), None).to_string(),
            object.to_string()
        );
    }
    insta::assert_snapshot!(
        forward(&mapping, &json!({ "Cents": 10.5, "Code": "EUR" }), None).join("\n"),
        @"`amount` and `Cents`: `10.5` is not a whole number of the smallest unit of EUR"
    );
    let too_fine = mapping.backward(&record(&[("amount", "0.125 EUR")]), None, euro(), &no_id);
    assert_eq!(too_fine.values.get("Cents"), None);
    insta::assert_snapshot!(
        too_fine.issues[0].to_string(),
        @"`amount` and `Cents`: `0.125` is not an amount with at most 2 decimals, which is what EUR has"
    );
    // The same count of another currency is another amount.
    let held = json!({ "Cents": 1050, "Code": "JPY" });
    assert_eq!(
        backward(&mapping, &record(&[("amount", "10.50 EUR")]), Some(&held)),
        json!({ "Code": "EUR" })
    );
    let text = deal(
        "  - { record: amount, object: Cents, lens: [ money: { minor: true, wire: string, currency: EUR } ] }\n",
    );
    assert_eq!(
        backward(&text, &record(&[("amount", "10.50 EUR")]), None),
        json!({ "Cents": "1050" })
    );
}

#[test]
fn days_and_moments_of_odata_v2() {
    let mapping = deal(
        "  - { record: expected_close_date, object: Close, lens: [ date: { wire: odata_v2 } ] }\n  - { record: closed_at, object: Closed, lens: [ datetime: { wire: odata_v2 } ], coarse: true }\n",
    );
    let object = json!({ "Close": "/Date(1795392000000)/", "Closed": "/Date(1795405173898+0000)/" });
    let read = forward(&mapping, &object, None);
    assert_eq!(
        read,
        [
            "closed_at = 2026-11-23T03:39:33.898Z",
            "expected_close_date = 2026-11-23"
        ]
    );
    let fields = record(&[
        ("closed_at", "2026-11-23T03:39:33.898Z"),
        ("expected_close_date", "2026-11-23"),
    ]);
    assert_eq!(backward(&mapping, &fields, None), object);
    let odd = json!({ "Close": "2026-11-23", "Closed": "/Date(1795405173898+0060)/" });
    insta::assert_snapshot!(forward(&mapping, &odd, None).join("\n"), @r"
    `closed_at` and `Closed`: `/Date(1795405173898+0060)/` is not a moment in UTC such as /Date(1774915200000+0000)/
    `expected_close_date` and `Close`: `2026-11-23` is not a moment in UTC such as /Date(1774915200000+0000)/
    ");
}

#[test]
fn an_expression_goes_one_way() {
    let mapping = deal(
        r#"  - { record: description, object: [Notes, Account.Memo], jq: "[.Notes[]?.text, .Account.Memo] | map(values) | join(\"\n\")", direction: in }
  - { record: origin, object: Source, jq: ".Source.kind", lens: [ enum: { partner: P, vendor: V } ], direction: in }
  - { record: next_steps, object: Todo, jq: "split(\"; \") | map({task: .})", direction: out }
  - { record: amount, object: Total, jq: '"\(.amount) \(.currency)"', direction: create }
"#,
    );
    assert_eq!(
        mapping.object_fields(),
        [
            "Account.Memo",
            "Name",
            "Notes",
            "Source",
            "Stage",
            "Todo",
            "Total"
        ]
    );
    let object =
        json!({ "Notes": [{ "text": "one" }, {}], "Account": { "Memo": "two" }, "Source": { "kind": "P" } });
    assert_eq!(
        forward(&mapping, &object, None),
        ["description = one\ntwo", "origin = partner"]
    );
    assert_eq!(
        forward(
            &mapping,
            &json!({ "Notes": [], "Account": null, "Source": {} }),
            None
        ),
        ["description = ", "origin = "],
        "what the expression makes is blank"
    );
    assert_eq!(
        forward(&mapping, &json!({ "Notes": [] }), None),
        Vec::<String>::new(),
        "not known"
    );
    let told = forward(
        &mapping,
        &json!({ "Source": "P", "Notes": 7, "Account": {} }),
        None,
    );
    insta::assert_snapshot!(told.join("\n"), @"`origin` and `Source`: `an object` is not what the line's `jq` is for: `.Source.kind` fails on this input: found text, expected an object");

    let fields = record(&[("next_steps", "Call; Visit"), ("amount", "1250.50 EUR")]);
    let todo = json!([{ "task": "Call" }, { "task": "Visit" }]);
    assert_eq!(
        backward(&mapping, &fields, None),
        json!({ "Todo": todo, "Total": "1250.50 EUR" })
    );
    assert_eq!(
        backward(
            &mapping,
            &fields,
            Some(&json!({ "Todo": todo, "Total": "other" }))
        ),
        json!({})
    );
    let none = record(&[("next_steps", "")]);
    assert_eq!(
        backward(&mapping, &none, Some(&json!({ "Todo": todo }))),
        json!({ "Todo": null })
    );
    assert_eq!(backward(&mapping, &none, None), json!({}));
}

#[test]
fn explains_field_by_field() {
    let mapping = deal(
        "  - { record: amount, object: [Amount, Code], lens: [ money: {} ] }\n  - { record: contact.phone, object: Phone }\n",
    );
    let shown = mapping.explain(
        &json!({ "Name": "Pilot", "Stage": "gone", "Amount": 1.5, "Code": "USD" }),
        euro(),
    );
    let lines: Vec<String> = shown
        .iter()
        .map(|line| {
            format!(
                "{} {:?} {:?} {:?} {:?}",
                line.path,
                line.steps,
                line.value.as_ref().map(Json::to_string),
                line.issue,
                line.back
                    .iter()
                    .map(|(name, json)| format!("{name}={json}"))
                    .collect::<Vec<_>>()
            )
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r##"
    name [] Some("\"Pilot\"") None ["Name=\"Pilot\""]
    stage ["enum"] None Some("`gone` is not one of prospect, qualified, technical_validation, business_validation, committed, launched, closed_lost") []
    amount ["money"] Some("{\"amount\":\"1.50\",\"currency\":\"USD\"}") None ["Amount=1.50", "Code=\"USD\""]
    contact.phone ["phone"] None None []
    "##);
}

/// No record holds true/false or whole numbers today; their lenses are tried on a field of no kind.
#[test]
fn flags_and_whole_numbers() {
    static FLAG: Field = Field {
        path: "flag",
        field_type: FieldType::Bool,
        required: false,
        doc: "",
    };
    static COUNT: Field = Field {
        path: "count",
        field_type: FieldType::Integer,
        required: false,
        doc: "",
    };
    for (field, lens, wire, value) in [
        (&FLAG, "", json!(true), Value::Bool(true)),
        (
            &FLAG,
            "bool: { yes: \"Y\", no: \"N\" }",
            json!("N"),
            Value::Bool(false),
        ),
        (&FLAG, "bool: { yes: 1, no: 0 }", json!(1), Value::Bool(true)),
        (&COUNT, "", json!(42), Value::Integer(42)),
        (
            &COUNT,
            "integer: { wire: string }",
            json!("42"),
            Value::Integer(42),
        ),
    ] {
        let (source, mut report) = (Source::new("lens.yaml", format!("[ {lens} ]")), Report::new());
        let node = diagnostic::Node::parse(&source, &mut report).unwrap();
        let steps = crate::steps::read(Some(&node), field, node.place, &source, &mut report);
        let lens = steps.unwrap_or_else(|| panic!("{}", report.render(false))).lens;
        let line = Line {
            path: field.path,
            field_type: field.field_type,
            wire: crate::wire::WireField::new("X"),
            second: None,
            family_name: None,
            derived: None,
            direction: crate::line::Direction::Both,
            lens,
            blank: Default::default(),
            coarse: false,
            place: node.place,
        };
        let object = json!({ "X": wire });
        let reading = Reading {
            lines: &[],
            object: &object,
            base: None,
            context: CONTEXT,
            resolve: &nobody,
        };
        assert!(
            matches!(reading.read(&line), Read::Value(read) if read == value),
            "{wire}"
        );
        let writing = Writing {
            lines: &[],
            fields: &Fields::new(),
            object: None,
            context: CONTEXT,
            refer: &no_id,
        };
        assert_eq!(
            writing.create(&line, &value).map(|created| created.value).ok(),
            Some(wire)
        );
    }
}
