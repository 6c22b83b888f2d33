//! What two records that are one leave behind when they are two again, and what names them meanwhile.

use serde_json::{Value as Json, json};

use super::actions::{Table, at};
use super::stage::{Stage, was_sent};
use crate::Depth;

/// Two partners that both sides know, of which the second one's rows stay when they become one.
async fn two_partners() -> Table {
    let table = Table::set().await;
    table
        .here
        .put(json!({"name": "Northwind", "note": "of the first"}));
    table.here.put(json!({"name": "Contoso"}));
    table.agree().await;
    table
}

fn values(rows: &[Json], field: &str) -> Vec<Json> {
    rows.iter().map(|row| row[field].clone()).collect()
}

#[tokio::test]
async fn what_one_had_of_the_other_is_taken_away_when_they_are_two_again() {
    let table = two_partners().await;
    let keep = table.record("here/things/T1").await.unwrap();
    let lose = table.record("here/things/T2").await.unwrap();
    let stay = [at("here/things/T2"), at("there/things/T2")];
    let done = table.engine.merge("ann", keep, lose, &stay).await.unwrap();
    table.agree().await;
    let both = [json!("of the first"), json!("of the first")];
    assert_eq!(values(&table.here.rows(), "note"), both);
    table.engine.undo("ann", done.action.id).await.unwrap();
    table.agree().await;
    let first = [json!("of the first"), Json::Null];
    assert_eq!(values(&table.here.rows(), "note"), first);
    assert_eq!(values(&table.there.rows(), "note"), first);
}

/// It had been taken back at one side, and the other one had not been told yet.
#[tokio::test]
async fn what_one_has_taken_back_is_taken_away_from_what_is_one() {
    let table = two_partners().await;
    let lose = table.record("here/things/T1").await.unwrap();
    let keep = table.record("here/things/T2").await.unwrap();
    table.here.edit("T1", "note", Json::Null);
    table.pull(Depth::Changed).await;
    let stay = [at("here/things/T2"), at("there/things/T1")];
    table.engine.merge("ann", keep, lose, &stay).await.unwrap();
    table.agree().await;
    assert_eq!(values(&table.there.rows(), "note"), [Json::Null, Json::Null]);
}

/// It is the hub that wrote it, of the record that the object was of then.
#[tokio::test]
async fn what_was_written_unheard_to_what_was_one_is_no_change_of_theirs() {
    let table = two_partners().await;
    let keep = table.record("here/things/T1").await.unwrap();
    let lose = table.record("here/things/T2").await.unwrap();
    let stay = [at("here/things/T1"), at("there/things/T2")];
    let done = table.engine.merge("ann", keep, lose, &stay).await.unwrap();
    table.agree().await;
    table.here.edit("T1", "note", json!("call back"));
    table.pull(Depth::Changed).await;
    was_sent(
        &table.stage,
        "2026-11-26T08:00:00Z",
        json!({"note": "call back"}),
        false,
    )
    .await;
    table.there.edit("T2", "note", json!("call back"));
    table.engine.undo("ann", done.action.id).await.unwrap();
    table.agree().await;
    let first = [json!("call back"), Json::Null];
    assert_eq!(values(&table.here.rows(), "note"), first);
    assert_eq!(values(&table.there.rows(), "note"), first);
}

#[tokio::test]
async fn deals_name_the_object_that_stays_and_their_own_again() {
    let deal = json!({"name": "Rollout", "stage": "prospect"});
    let (stage, [here, there], engine, partners, deal) =
        Stage::with_a_deal(&["Northwind", "Contoso"], deal).await;
    let table = Table {
        stage,
        here,
        there,
        engine,
    };
    let of = |rows: Vec<Json>, id: &str| {
        let row = rows.into_iter().find(|row| row["id"] == *id);
        row.map_or(Json::Null, |row| row["partner"].clone())
    };
    let keep = table
        .record(&format!("here/things/{}", partners[0]))
        .await
        .unwrap();
    let lose = table
        .record(&format!("here/things/{}", partners[1]))
        .await
        .unwrap();
    let theirs = there_id(&table, lose).await;
    let ours = there_id(&table, keep).await;
    let stay = [
        at(&format!("here/things/{}", partners[1])),
        at(&format!("there/things/{ours}")),
    ];
    assert_eq!(of(table.here.rows(), &deal), json!(partners[0]));
    let done = table.engine.merge("ann", keep, lose, &stay).await.unwrap();
    table.agree().await;
    assert_eq!(
        of(table.here.rows(), &deal),
        json!(partners[1]),
        "what is left alone has none"
    );
    table.engine.undo("ann", done.action.id).await.unwrap();
    table.agree().await;
    assert_eq!(of(table.here.rows(), &deal), json!(partners[0]));

    // While it is left alone there, nothing there can name it.
    let done = table
        .engine
        .unlink("ann", lose, "there", None, true)
        .await
        .unwrap();
    table.here.edit(&deal, "partner", json!(partners[1]));
    table.agree().await;
    let named = |rows: Vec<Json>| {
        let deals = rows.into_iter().filter(|row| row["stage"].is_string());
        deals.map(|row| row["partner"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(named(table.there.rows()), [json!(ours)]);
    table.engine.undo("ann", done.action.id).await.unwrap();
    table.agree().await;
    assert_eq!(named(table.there.rows()), [json!(theirs)]);
}

/// It was read while it named the other one's object, and names the same ever since.
#[tokio::test]
async fn what_a_deal_names_as_before_is_no_change_when_they_are_two_again() {
    let deal = json!({"name": "Rollout", "stage": "prospect"});
    let (stage, [here, there], engine, partners, deal) =
        Stage::with_a_deal(&["Northwind", "Contoso", "Fabrikam"], deal).await;
    let table = Table {
        stage,
        here,
        there,
        engine,
    };
    let lose = table
        .record(&format!("here/things/{}", partners[0]))
        .await
        .unwrap();
    let keep = table
        .record(&format!("here/things/{}", partners[1]))
        .await
        .unwrap();
    let stay = [
        at(&format!("here/things/{}", partners[0])),
        at(&format!("there/things/{}", there_id(&table, lose).await)),
    ];
    let done = table.engine.merge("ann", keep, lose, &stay).await.unwrap();
    let deal_there = || {
        let rows = table.there.rows();
        let row = rows.into_iter().find(|row| row["stage"].is_string()).unwrap();
        row["id"].as_str().unwrap().to_owned()
    };
    table.there.edit(&deal_there(), "name", json!("Rollout 2"));
    table.agree().await;
    table.engine.undo("ann", done.action.id).await.unwrap();
    table.agree().await;
    let third = table
        .record(&format!("here/things/{}", partners[2]))
        .await
        .unwrap();
    let third = there_id(&table, third).await;

    table.here.edit(&deal, "partner", json!(partners[2]));
    table.pull(Depth::Changed).await;
    table.there.edit(&deal_there(), "name", json!("Rollout 3"));
    table.agree().await;
    let rows = table.there.rows();
    let row = rows.iter().find(|row| row["stage"].is_string()).unwrap();
    assert_eq!(
        (&row["partner"], &row["name"]),
        (&json!(third), &json!("Rollout 3"))
    );
}

async fn there_id(table: &Table, record: model::RecordId) -> String {
    let links = table.stage.ledger.links(&[record]).await.unwrap();
    let link = links.into_iter().find(|link| link.connection == "there");
    link.unwrap().external_id
}
