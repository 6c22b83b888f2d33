//! What a person has linked or taken away, before anybody has read it and after.

use std::sync::Arc;

use jiff::Timestamp;
use ledger::ParkedFilter;
use model::Kind;
use serde_json::{Value as Json, json};

use super::actions::{Table, at};
use super::shelf::{Key, Shelf};
use super::stage::{Stage, was_sent};
use crate::Depth;

/// A partner that is only here, and a row there that nobody links to it, with a note of its own.
async fn apart() -> (Table, model::RecordId) {
    let table = Table::set().await;
    table
        .there
        .put(json!({"name": "Northwind Ltd", "note": "theirs"}));
    table.agree().await;
    table.here.take("T1");
    table.here.put(json!({"name": "Northwind", "note": "ours"}));
    table.pull(Depth::Changed).await;
    let record = table.record("here/things/T2").await.unwrap();
    (table, record)
}

/// It was linked when its system had stopped to answer.
#[tokio::test]
async fn what_was_linked_is_read_before_it_is_written() {
    let (table, record) = apart().await;
    table.there.edit("T1", "domain", json!("northwind.example"));
    table.there.refuse_after(1);
    table
        .engine
        .link("ann", record, &at("there/things/T1"), true)
        .await
        .unwrap();
    table.here.edit("T2", "name", json!("Northwind Traders"));
    table.engine.pull("here", "things", Depth::Changed).await.unwrap();
    table.there.forget_calls();
    table.engine.push("there", "things").await.unwrap();
    let calls = table.there.calls();
    let read = calls.iter().position(|call| call == "GET ids");
    let written = calls.iter().position(|call| call == "PATCH");
    assert!(
        read.is_some() && written.is_none_or(|written| read < Some(written)),
        "{calls:?}"
    );
    assert_eq!(
        table.read(record).await.fields.text("domain"),
        Some("northwind.example")
    );
}

#[tokio::test]
async fn what_was_linked_unread_and_is_taken_away_is_not_made_again() {
    let (table, record) = apart().await;
    table.there.refuse_after(1);
    table
        .engine
        .link("ann", record, &at("there/things/T1"), true)
        .await
        .unwrap();
    table
        .engine
        .unlink("ann", record, "there", None, false)
        .await
        .unwrap();
    table.here.edit("T2", "name", json!("Northwind Traders"));
    table.engine.pull("here", "things", Depth::Changed).await.unwrap();
    table.engine.push("there", "things").await.unwrap();
    assert!(!table.there.calls().contains(&"POST".to_owned()));
}

/// Another deal names it before it is a record of its own.
#[tokio::test]
async fn who_names_what_was_taken_away_does_not_mean_the_record_that_had_it() {
    let deal = json!({"name": "Rollout", "stage": "prospect"});
    let (stage, [here, _there], engine, partners, _) = Stage::with_a_deal(&["Northwind"], deal).await;
    let ids = [partners[0].clone()];
    let linked = stage.ledger.linked("here", "things", &ids).await.unwrap();
    let record = linked[0].record.id;
    engine.unlink("ann", record, "here", None, false).await.unwrap();
    let other = here.put(json!({"name": "Support", "stage": "prospect", "partner": partners[0]}));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    let filter = ParkedFilter {
        keys: Some(vec![other.clone()]),
        ..ParkedFilter::default()
    };
    let parked = stage.ledger.parked(&filter, 9).await.unwrap();
    assert_eq!(parked[0].code, "unresolved_reference");
    here.edit(&partners[0], "note", json!("another one"));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    stage.pass_hours(1);
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    let deals = stage.ledger.linked("here", "things", &[other]).await.unwrap();
    let named = deals[0]
        .record
        .fields
        .get("partner")
        .and_then(model::Value::as_reference);
    assert!(named.is_some() && named != Some(record), "{named:?}");
}

/// A deal named it before it was taken away; another one means the record by what was said elsewhere.
#[tokio::test]
async fn who_named_what_was_taken_away_means_what_that_is_now() {
    let deal = json!({"name": "Rollout", "stage": "prospect"});
    let (stage, [here, there], engine, partners, deal) =
        Stage::with_a_deal(&["Northwind", "Globex"], deal).await;
    let other = here.put(json!({"name": "Support", "stage": "prospect", "partner": partners[1]}));
    let agree = || async {
        for connection in ["here", "there", "here", "there"] {
            engine.pull(connection, "things", Depth::Changed).await.unwrap();
            engine.push(connection, "things").await.unwrap();
            stage.pass_hours(1);
        }
    };
    agree().await;
    let row = |name: &str| {
        let rows = there.rows();
        let row = rows.iter().find(|row| row["name"] == name).unwrap().clone();
        (row["id"].as_str().unwrap().to_owned(), row)
    };
    let (northwind, _) = row("Northwind");
    // Who made the other deal's partner Northwind sits there.
    there.edit(&row("Support").0, "partner", json!(northwind));
    agree().await;
    let partner_of = |id: &str| {
        let rows = here.rows();
        let row = rows.iter().find(|row| row["id"] == *id).unwrap();
        row["partner"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (partner_of(&deal), partner_of(&other)),
        (partners[0].clone(), partners[0].clone())
    );
    let linked = stage
        .ledger
        .linked("here", "things", &partners[..1])
        .await
        .unwrap();
    engine
        .unlink("ann", linked[0].record.id, "here", None, false)
        .await
        .unwrap();
    // As long as that is nothing, its deals go on.
    here.edit(&partners[0], "name", json!(null));
    agree().await;
    here.edit(&deal, "stage", json!("qualified"));
    agree().await;
    assert_eq!(
        (&row("Rollout").1["stage"], &row("Rollout").1["partner"]),
        (&json!("qualified"), &json!(northwind))
    );
    here.edit(&partners[0], "name", json!("Northwind Energy"));
    agree().await;
    let (energy, _) = row("Northwind Energy");
    assert_eq!(row("Rollout").1["partner"], json!(energy));
    assert_eq!(row("Support").1["partner"], json!(northwind));
}

/// A partner's row that is moved takes along who named it, and back when that is undone; what was said of it meanwhile is its
/// partner's then, and what it had of the other one is taken away.
#[tokio::test]
async fn who_named_what_was_moved_means_whose_it_is() {
    let deal = json!({"name": "Rollout", "stage": "prospect"});
    let (stage, [here, there], engine, partners, _) = Stage::with_a_deal(&["Northwind"], deal).await;
    let globex = there.put(json!({"name": "Globex", "domain": "globex.example"}));
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    let linked = stage.ledger.linked("there", "things", &[globex]).await.unwrap();
    let globex = linked[0].record.id;
    let agree = || async {
        for connection in ["here", "there", "here", "there"] {
            engine.pull(connection, "things", Depth::Changed).await.unwrap();
            engine.push(connection, "things").await.unwrap();
            stage.pass_hours(1);
        }
    };
    let named = || {
        let rows = there.rows();
        let row = |key: &str, value: &Json| rows.iter().find(|row| row[key] == *value).unwrap().clone();
        let partner = row("name", &json!("Rollout"))["partner"].clone();
        row("id", &partner)["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(named(), "Northwind");
    let at = at(&format!("here/things/{}", partners[0]));
    let done = engine.link("ann", globex, &at, true).await.unwrap();
    let deals = stage.ledger.list_records(Kind::Deal, None, 9).await.unwrap();
    agree().await;
    here.edit(&partners[0], "note", json!("met them"));
    agree().await;
    let deal = &stage.ledger.records(&[deals[0].id]).await.unwrap()[0];
    let partner = deal.fields.get("partner").and_then(model::Value::as_reference);
    assert_eq!((partner, named().as_str()), (Some(globex), "Globex"));
    engine.undo("ann", done.action.id).await.unwrap();
    agree().await;
    assert_eq!(named(), "Northwind");
    let told = |shelf: &Shelf, name: &str| {
        let rows = shelf.rows();
        let row = rows.iter().find(|row| row["name"] == name);
        row.map(|row| json!([row["domain"], row["note"]]))
    };
    assert_eq!(told(&here, "Northwind"), Some(json!([null, "met them"])));
    assert_eq!(told(&there, "Northwind"), Some(json!([null, "met them"])));
    assert_eq!(told(&there, "Globex"), Some(json!(["globex.example", null])));
}

/// What was written there before it was left alone comes to be there before that is undone.
#[tokio::test]
async fn what_was_written_unheard_to_what_was_left_alone_is_no_change_of_theirs() {
    let (stage, [here, there], [id, made]) = Stage::knowing().await;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    let record = stage.partners().await[0].id;
    here.edit(&id, "note", json!("first"));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    was_sent(&stage, "2026-11-26T08:00:00Z", json!({"note": "first"}), false).await;
    let done = engine.unlink("ann", record, "there", None, true).await.unwrap();
    here.edit(&id, "note", json!("second"));
    for _ in 0..4 {
        there.edit(&made, "note", json!("first"));
    }
    for connection in ["here", "there"] {
        engine.pull(connection, "things", Depth::Changed).await.unwrap();
        engine.push(connection, "things").await.unwrap();
    }
    engine.undo("ann", done.action.id).await.unwrap();
    for connection in ["there", "here", "there", "here"] {
        engine.pull(connection, "things", Depth::Changed).await.unwrap();
        engine.push(connection, "things").await.unwrap();
        stage.pass_ms(3_000);
    }
    let note = |shelf: &Shelf| shelf.rows()[0]["note"].clone();
    assert_eq!((note(&here), note(&there)), (json!("second"), json!("second")));
}

#[tokio::test]
async fn what_becomes_another_kind_of_record_is_that_at_once() {
    let shelf = Shelf::start(Key::Read).await;
    let mut stage = Stage::new(&[("here", &shelf)]).await;
    stage.deals = true;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    let partner = shelf.put(json!({"name": "Northwind"}));
    let other = shelf.put(json!({"name": "Rollout", "stage": "prospect", "partner": partner}));
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    shelf.edit(&other, "partner", Json::Null);
    let report = engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(report.counts.created, 1);
    let linked = stage.ledger.linked("here", "things", &[other]).await.unwrap();
    assert_eq!(linked[0].record.kind(), Kind::Partner);
}

/// What it refers to may be nothing that is ever read here.
#[tokio::test]
async fn what_waits_for_another_one_is_read_again_ever_more_rarely() {
    let shelf = Shelf::start(Key::Read).await;
    let mut stage = Stage::new(&[("here", &shelf)]).await;
    stage.deals = true;
    let engine = stage.node("first", Arc::clone(&stage.ledger));
    shelf.put(json!({"name": "Rollout", "stage": "prospect", "partner": "T99"}));
    let mut waits_s = Vec::new();
    for pass_ms in [0, 2_100, 60_000, 3_600_000, 36_000_000] {
        stage.pass_ms(pass_ms);
        engine.pull("here", "things", Depth::Changed).await.unwrap();
        let parked = stage.ledger.parked(&ParkedFilter::default(), 9).await.unwrap();
        let now: Timestamp = stage.now();
        waits_s.push(parked[0].retry_at.unwrap().duration_since(now).as_secs());
    }
    assert_eq!(Json::from(waits_s), json!([2, 2, 62, 3_600, 3_600]));
}
