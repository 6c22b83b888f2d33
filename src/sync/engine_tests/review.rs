//! What a rule cannot tell waits for a person.

use std::sync::Arc;

use ledger::ActionFilter;
use model::{Confidence, MatchRule};
use serde_json::json;

use super::actions::{Table, at, code, told};
use super::held::{Failing, Held};
use crate::{Depth, Settle};

fn by_name(confidence: Confidence) -> [MatchRule; 1] {
    [MatchRule {
        fields: vec!["display_name"],
        confidence,
    }]
}

/// Codes of what waits.
async fn waits(table: &Table) -> Vec<String> {
    let reviews = table.engine.reviews(9).await.unwrap();
    reviews.into_iter().map(|parked| parked.code).collect()
}

#[tokio::test]
async fn what_is_only_probable_is_made_nowhere_until_it_is_decided() {
    let table = Table::ruled(&by_name(Confidence::Probable)).await;
    table.here.put(json!({"name": "Northwind"}));
    table.there.put(json!({"name": "NORTHWIND", "note": "of there"}));
    table.agree().await;
    assert_eq!(told(&table.here), ["T1 Northwind: -"]);
    assert_eq!(told(&table.there), ["T1 NORTHWIND: of there"]);
    assert_eq!(waits(&table).await, ["probable"]);

    let object = at("there/things/T1");
    let review = table.engine.review(&object).await.unwrap();
    let candidate = &review.candidates[0];
    let record = candidate.record.id;
    assert_eq!(Some(record), table.record("here/things/T1").await);
    assert_eq!(candidate.rule.as_ref(), Some(&by_name(Confidence::Probable)[0]));
    let sides: Vec<_> = candidate
        .sides
        .iter()
        .map(|side| (side.path, side.is_alike()))
        .collect();
    assert_eq!(sides, [("display_name", false), ("description", false)]);
    assert_eq!(
        code(table.engine.decide("ann", &object, &Settle::Leave).await),
        "other_question"
    );

    let same = Settle::Record(record, Vec::new());
    let done = table.engine.decide("ann", &object, &same).await.unwrap();
    table.agree().await;
    assert_eq!(told(&table.here)[0][3..], told(&table.there)[0][3..]);
    assert_eq!(table.standing().await, 1);
    assert!(waits(&table).await.is_empty());
    table.engine.undo("ann", done.action.id).await.unwrap();
    assert_eq!(waits(&table).await, ["probable"]);
}

#[tokio::test]
async fn what_is_another_one_is_made_everywhere_once_that_is_decided() {
    let table = Table::ruled(&by_name(Confidence::Probable)).await;
    table.here.put(json!({"name": "Northwind"}));
    table.there.put(json!({"name": "Northwind"}));
    table.agree().await;
    let done = table
        .engine
        .decide("ann", &at("there/things/T1"), &Settle::New)
        .await
        .unwrap();
    assert_eq!(
        code(table.engine.undo("ann", done.action.id).await),
        "cannot_be_undone"
    );
    table.agree().await;
    assert_eq!(table.standing().await, 2);
    assert_eq!((told(&table.here).len(), told(&table.there).len()), (2, 2));
    // A full read asks nothing again.
    table.pull(Depth::All).await;
    assert!(waits(&table).await.is_empty());
    assert_eq!(table.standing().await, 2);
}

/// Nobody hears that it was written: it is all there, or nothing.
#[tokio::test]
async fn what_is_made_another_one_is_written_down_with_who_did_it() {
    for failing in [Failing::Unheard, Failing::Unwritten] {
        let table = Table::ruled(&by_name(Confidence::Probable)).await;
        table.here.put(json!({"name": "Northwind"}));
        table.there.put(json!({"name": "Northwind"}));
        table.agree().await;
        let held = Arc::new(Held::over(Arc::clone(&table.stage.ledger)));
        let engine = table.stage.node("second", held.clone());
        held.fail(Some(failing));
        let object = at("there/things/T1");
        assert!(engine.decide("ann", &object, &Settle::New).await.is_err());
        let actions = table.stage.ledger.actions(&ActionFilter::default(), 9).await;
        let actions: Vec<String> = actions.unwrap().into_iter().map(|action| action.verb).collect();
        let made = match failing {
            Failing::Unheard => vec!["create".to_owned()],
            Failing::Unwritten => Vec::new(),
        };
        assert_eq!(actions, made);
        assert_eq!(table.standing().await, 1 + made.len());
    }
}

#[tokio::test]
async fn of_several_that_fit_a_person_chooses_one() {
    let table = Table::ruled(&by_name(Confidence::Certain)).await;
    table.here.put(json!({"name": "Northwind"}));
    table.here.put(json!({"name": "Northwind"}));
    table.there.put(json!({"name": "Northwind", "note": "of there"}));
    table.agree().await;
    assert_eq!(waits(&table).await, ["ambiguous"]);
    assert_eq!(told(&table.there).len(), 1, "neither is made where it may be");
    let object = at("there/things/T1");
    assert_eq!(table.engine.review(&object).await.unwrap().candidates.len(), 2);
    let second = table.record("here/things/T2").await.unwrap();
    table
        .engine
        .decide("ann", &object, &Settle::Record(second, Vec::new()))
        .await
        .unwrap();
    table.agree().await;
    assert_eq!(table.record("there/things/T1").await, Some(second));
    assert_eq!(told(&table.here), ["T1 Northwind: -", "T2 Northwind: of there"]);
    assert_eq!(told(&table.there), ["T1 Northwind: of there", "T2 Northwind: -"]);
}

#[tokio::test]
async fn two_records_for_one_object_become_one_or_stay_two() {
    let table = Table::ruled(&by_name(Confidence::Certain)).await;
    table.here.put(json!({"name": "Northwind"}));
    table.here.put(json!({"name": "Contoso"}));
    table.pull(Depth::Changed).await;
    let (one, two) = (
        table.record("here/things/T1").await.unwrap(),
        table.record("here/things/T2").await.unwrap(),
    );
    table.here.edit("T1", "deleted", json!(true));
    table.here.edit("T1", "into", json!("T2"));
    table.pull(Depth::Changed).await;
    assert_eq!(waits(&table).await, ["merged"]);
    let object = at("here/things/T1");
    let done = table.engine.decide("ann", &object, &Settle::Leave).await.unwrap();
    assert!(waits(&table).await.is_empty());
    table.engine.undo("ann", done.action.id).await.unwrap();
    assert_eq!(waits(&table).await, ["merged"]);
    table
        .engine
        .decide("ann", &object, &Settle::Record(two, Vec::new()))
        .await
        .unwrap();
    assert!(waits(&table).await.is_empty());
    assert_eq!(table.read(one).await.merged_into, Some(two));
}

#[tokio::test]
async fn much_that_is_gone_is_gone_when_a_person_says_so() {
    let table = Table::ruled(&by_name(Confidence::Certain)).await;
    for number in 0..12 {
        table.here.put(json!({"name": format!("Partner {number}")}));
    }
    table.pull(Depth::Changed).await;
    for number in 1..=12 {
        table.here.take(&format!("T{number}"));
    }
    table
        .engine
        .census("here", "things", crate::GONE_MAX_PERCENT)
        .await
        .unwrap();
    assert_eq!(waits(&table).await, ["many_gone"]);
    let object = at("here/things/#census");
    table.engine.decide("ann", &object, &Settle::Again).await.unwrap();
    assert_eq!(waits(&table).await, ["many_gone"], "they are still not there");
    let done = table
        .engine
        .decide("ann", &object, &Settle::Accept)
        .await
        .unwrap();
    assert_eq!(done.report.counts.gone, 12);
    assert!(waits(&table).await.is_empty());
}

/// A partner of here whom we made there, and another one there who is like it.
async fn with_duplicate() -> Table {
    let table = Table::ruled(&by_name(Confidence::Certain)).await;
    table.here.put(json!({"name": "Northwind"}));
    table.agree().await;
    table.there.put(json!({"name": "Northwind", "note": "of there"}));
    table.agree().await;
    assert_eq!(waits(&table).await, ["duplicate"]);
    assert_eq!(
        told(&table.here),
        ["T1 Northwind: -"],
        "nothing of it is known elsewhere"
    );
    table
}

#[tokio::test]
async fn a_duplicate_that_is_another_one_is_made_everywhere() {
    let table = with_duplicate().await;
    let object = at("there/things/T2");
    let review = table.engine.review(&object).await.unwrap();
    assert_eq!(
        Some(review.candidates[0].record.id),
        table.record("here/things/T1").await
    );
    table.engine.decide("ann", &object, &Settle::New).await.unwrap();
    table.agree().await;
    assert_eq!(told(&table.here), ["T1 Northwind: -", "T2 Northwind: of there"]);
    assert_eq!((table.standing().await, waits(&table).await.len()), (2, 0));
}

#[tokio::test]
async fn a_duplicate_is_not_taken_for_the_same_beside_the_one_that_we_made() {
    let table = with_duplicate().await;
    let object = at("there/things/T2");
    let record = table.record("here/things/T1").await.unwrap();
    let same = Settle::Record(record, Vec::new());
    let refused = table.engine.decide("ann", &object, &same).await;
    // Which of the two objects is to stay is said there, or by taking one away.
    assert_eq!(code(refused), "has_another");
    assert_eq!(
        code(table.engine.decide("ann", &object, &Settle::Leave).await),
        "other_question"
    );
    assert_eq!(waits(&table).await, ["duplicate"]);
    assert_eq!(table.record("there/things/T1").await, Some(record));
}
