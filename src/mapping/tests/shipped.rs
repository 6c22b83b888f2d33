//! The mapping files that are delivered.

use std::path::PathBuf;

use model::{Fields, Kind};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::laws::try_record;

/// Every mapping that ships, in the order of systems and kinds.
fn all() -> Vec<Mapping> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../mappings");
    let folders = root.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    folders.sort();
    let mut mappings = Vec::new();
    for folder in folders {
        let system = folder.file_name().unwrap().to_str().unwrap();
        for kind in Kind::ALL {
            let Ok(text) = std::fs::read_to_string(folder.join(format!("{kind}.yaml"))) else {
                continue;
            };
            let mut report = Report::new();
            let mapping = Mapping::compile(&Source::new(format!("{system}/{kind}.yaml"), text), &mut report);
            let mapping = mapping.unwrap_or_else(|| panic!("{}", report.render(false)));
            assert_eq!((mapping.system(), mapping.kind()), (system, kind));
            mappings.push(mapping);
        }
    }
    assert!(mappings.len() >= 9);
    mappings
}

#[test]
fn no_file_has_a_finding() {
    let findings: Vec<String> = all()
        .iter()
        .map(|mapping| mapping.lint(&[]).render(false))
        .collect();
    assert_eq!(findings.concat(), "");
}

#[test]
fn a_deal_travels_through_three_systems() {
    let three = ["hubspot", "salesforce", "tryton"];
    let deals: Vec<Mapping> = all()
        .into_iter()
        .filter(|mapping| mapping.kind() == Kind::Deal && three.contains(&mapping.system()))
        .collect();
    let opportunity = json!({
        "Name": "Warehouse robots", "StageName": "Negotiation/Review", "AccountId": "001A", "CloseDate": "2026-03-29",
        "Amount": serde_json::from_str::<Json>("12345678901234.56").unwrap(), "CurrencyIsoCode": "EUR",
        "Customer_Country__c": "DK", "Customer_Name__c": "Værksted & Søn A/S",
    });
    let mut fields = deals[1].forward(&opportunity, None, euro(), &resolve).fields;
    let refer = |_: RecordId, object: &str| Some(format!("7{}", object.len()));
    for mapping in [&deals[0], &deals[2]] {
        let written = mapping.backward(&fields, None, euro(), &refer);
        assert_eq!((written.issues, written.unresolved), (vec![], vec![]));
        let object = Json::Object(written.values);
        let resolve = |object: &str, id: &str| {
            (id == format!("7{}", object.len())).then(|| stand_in(Kind::Partner, "001A"))
        };
        let read = mapping.forward(&object, Some(&fields), euro(), &resolve);
        assert_eq!((&read.issues, &read.unresolved), (&vec![], &vec![]));
        for (path, value) in read.fields.iter() {
            assert_eq!(fields.get(path), Some(value), "{} {path}", mapping.system());
        }
        // Reading without the base shows what the system really holds.
        let held = mapping.forward(&object, None, euro(), &resolve).fields;
        for exact in ["name", "amount", "expected_close_date", "partner"] {
            assert_eq!(held.get(exact), fields.get(exact), "{} {exact}", mapping.system());
        }
        fields = fields.iter().map(|(path, value)| (path, value.clone())).collect();
    }
    assert!(deals[1].agree(&fields, &opportunity, euro(), &|_, _| Some("001A".into())));
}

#[test]
fn leads_and_deals_of_one_object_are_told_apart() {
    let tryton: Vec<Mapping> = all()
        .into_iter()
        .filter(|mapping| mapping.system() == "tryton")
        .collect();
    let admitted = |state: &str| {
        let object = json!({ "state": state });
        tryton[1..]
            .iter()
            .filter(|mapping| mapping.admits(&object))
            .map(|mapping| mapping.kind().name())
            .collect::<Vec<_>>()
    };
    assert_eq!(admitted("lead"), ["lead"]);
    assert_eq!(admitted("opportunity"), ["deal"]);
    assert_eq!(admitted("converted"), ["deal"]);
    assert_eq!(admitted("won"), ["deal"]);
    assert_eq!(admitted("cancelled"), Vec::<&str>::new());
    assert!(tryton[1].object_fields().iter().any(|field| field == "state"));
}

/// Objects and records that are tried with each of the mappings.
const CASES: u32 = 50;

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?"
            .prop_map(|text| serde_json::from_str(&text).unwrap_or(Json::Null)),
        "\\PC{0,20}".prop_map(Json::from),
        "[0-9+T:Z.;-]{0,30}".prop_map(Json::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::Array),
            prop::collection::btree_map("(id|Name|amount|state)", inner, 0..3)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a system sends is answered, and what could be read of it is never written back.
    #[test]
    fn any_object_is_answered(values in prop::collection::vec(any_json(), 24), gaps in any::<u32>()) {
        for mapping in all() {
            let fields = mapping.object_fields().iter().zip(&values).enumerate();
            let carried = fields.filter(|(index, _)| gaps >> index & 1 == 0);
            let object = Json::Object(carried.map(|(_, (name, json))| (name.clone(), json.clone())).collect());
            let resolve = |object: &str, id: &str| {
                mapping.references().find(|(known, _)| *known == object).map(|(_, kind)| stand_in(kind, id))
            };
            mapping.admits(&object);
            mapping.explain(&object, euro());
            let read = mapping.forward(&object, None, euro(), &resolve);
            let known: std::cell::RefCell<Vec<(RecordId, String)>> = Default::default();
            let noted = |name: &str, id: &str| {
                let record = resolve(name, id)?;
                known.borrow_mut().push((record, id.to_owned()));
                Some(record)
            };
            mapping.forward(&object, None, euro(), &noted);
            let refer = |record: RecordId, _: &str| known.borrow().iter().find(|(r, _)| *r == record).map(|(_, id)| id.clone());
            let back = mapping.backward(&read.fields, Some(&object), euro(), &refer);
            // What is read from one field and written to another says nothing about the other one.
            let both = mapping.lines.iter().filter(|line| line.reads() && line.writes());
            let both: Vec<&str> = both.flat_map(|line| line.wire_names()).collect();
            let written = back.values.keys().any(|name| both.contains(&name.as_str()));
            prop_assert!(!written, "{} {object}\n{:?}", mapping.system(), back);
            let again = mapping.forward(&object, Some(&read.fields), euro(), &resolve);
            prop_assert_eq!(again, read);
            for odd in &values {
                mapping.forward(odd, None, CONTEXT, &nobody);
                mapping.backward(&Fields::new(), Some(odd), CONTEXT, &no_id);
            }
        }
    }

    /// The laws, with texts that nobody has thought of.
    #[test]
    fn laws_hold_for_any_text(texts in prop::collection::vec("\\PC{0,300}", 24), other in prop::collection::vec("\\PC{0,30}", 24)) {
        for mapping in all() {
            let record = |texts: &[String]| -> Fields {
                let read = mapping.lines.iter().filter(|line| line.writes()).zip(texts);
                let read = read.filter_map(|(line, text)| {
                    let value = model::normalise::normalise(line.field_type, text, None).ok()?;
                    (!value.is_blank()).then_some((line.path, value))
                });
                read.collect()
            };
            let held = try_record(&mapping, &record(&other), &json!({}), &mut |_| {});
            let mut broken = Vec::new();
            try_record(&mapping, &record(&texts), &held, &mut |found| broken.push(format!("{} {} {}", found.law, found.path, found.shown)));
            prop_assert!(broken.is_empty(), "{} {}: {}", mapping.system(), mapping.object(), broken.join("\n"));
        }
    }
}
