//! What two records that are one leave behind when they are two again, and what names them meanwhile.

use std::sync::Arc;

use ledger::{Action, RecordWrite, SyncCommit};
use model::{BY_HAND, Provenance, RecordId, Value};
use serde_json::{Value as Json, json};

use super::actions::{Table, at};
use super::stage::{Stage, was_sent};
use crate::{Depth, Done};

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

/// Partners that both sides know, with a deal of the first of them, of which two become one.
struct Pair {
    table: Table,
    /// The partners' rows here.
    rows: Vec<String>,
    /// The deal's row here.
    deal: String,
}

impl Pair {
    async fn of(partners: &[&str]) -> Pair {
        let deal = json!({"name": "Rollout", "stage": "prospect"});
        let (stage, [here, there], engine, rows, deal) = Stage::with_a_deal(partners, deal).await;
        let table = Table {
            stage,
            here,
            there,
            engine,
        };
        Pair { table, rows, deal }
    }

    /// The record of a partner.
    async fn partner(&self, nth: usize) -> RecordId {
        let at = format!("here/things/{}", self.rows[nth]);
        self.table.record(&at).await.unwrap()
    }

    /// Its row there.
    async fn there(&self, nth: usize) -> String {
        let links = self.table.stage.ledger.links(&[self.partner(nth).await]).await;
        let mut links = links.unwrap().into_iter();
        links.find(|link| link.connection == "there").unwrap().external_id
    }

    /// Makes the partner `lose` one with `keep`; the rows of these stay, here and there.
    async fn merge(&self, (keep, lose): (usize, usize), (here, there): (usize, usize)) -> Done {
        let stay = [
            at(&format!("here/things/{}", self.rows[here])),
            at(&format!("there/things/{}", self.there(there).await)),
        ];
        let (keep, lose) = (self.partner(keep).await, self.partner(lose).await);
        self.table.engine.merge("ann", keep, lose, &stay).await.unwrap()
    }

    async fn undo(&self, done: &Done) {
        self.table.engine.undo("bob", done.action.id).await.unwrap();
    }

    fn deal_here(&self) -> Json {
        deal_of(&self.table.here.rows())
    }

    fn deal_there(&self) -> Json {
        deal_of(&self.table.there.rows())
    }

    fn edit_there(&self, field: &str, value: Json) {
        let id = self.deal_there()["id"].as_str().unwrap().to_owned();
        self.table.there.edit(&id, field, value);
    }
}

fn deal_of(rows: &[Json]) -> Json {
    let mut deals = rows.iter().filter(|row| row["stage"].is_string());
    deals.next().cloned().unwrap()
}

#[tokio::test]
async fn deals_name_the_object_that_stays_and_their_own_again() {
    let pair = Pair::of(&["Northwind", "Contoso"]).await;
    let lose = pair.partner(1).await;
    let (ours, theirs) = (pair.there(0).await, pair.there(1).await);
    assert_eq!(pair.deal_here()["partner"], json!(pair.rows[0]));
    let done = pair.merge((0, 1), (1, 0)).await;
    pair.table.agree().await;
    let named = pair.deal_here()["partner"].clone();
    assert_eq!(named, json!(pair.rows[1]), "what is left alone has none");
    pair.undo(&done).await;
    pair.table.agree().await;
    assert_eq!(pair.deal_here()["partner"], json!(pair.rows[0]));

    // While it is left alone there, nothing there can name it.
    let unlinked = pair.table.engine.unlink("ann", lose, "there", None, true).await;
    pair.table.here.edit(&pair.deal, "partner", json!(pair.rows[1]));
    pair.table.agree().await;
    assert_eq!(pair.deal_there()["partner"], json!(ours));
    pair.undo(&unlinked.unwrap()).await;
    pair.table.agree().await;
    assert_eq!(pair.deal_there()["partner"], json!(theirs));
}

/// It was read while it named the other one's object, and names the same ever since.
#[tokio::test]
async fn what_a_deal_names_as_before_is_no_change_when_they_are_two_again() {
    let pair = Pair::of(&["Northwind", "Contoso", "Fabrikam"]).await;
    let done = pair.merge((1, 0), (0, 0)).await;
    pair.edit_there("name", json!("Rollout 2"));
    pair.table.agree().await;
    pair.undo(&done).await;
    pair.table.agree().await;

    pair.table.here.edit(&pair.deal, "partner", json!(pair.rows[2]));
    pair.table.pull(Depth::Changed).await;
    pair.edit_there("name", json!("Rollout 3"));
    pair.table.agree().await;
    let deal = pair.deal_there();
    assert_eq!(
        (&deal["partner"], &deal["name"]),
        (&json!(pair.there(2).await), &json!("Rollout 3"))
    );
}

/// It was read while it named the other one's object, which was the same record then as the one that it names next.
#[tokio::test]
async fn a_deal_that_is_moved_from_one_to_the_other_is_moved_when_they_are_two_again() {
    let pair = Pair::of(&["Northwind", "Contoso", "Fabrikam"]).await;
    let keep = pair.there(1).await;
    let done = pair.merge((1, 0), (0, 0)).await;
    pair.edit_there("name", json!("Rollout 2"));
    pair.table.agree().await;
    pair.undo(&done).await;

    pair.table.here.edit(&pair.deal, "partner", json!(pair.rows[2]));
    pair.table.pull(Depth::Changed).await;
    pair.edit_there("partner", json!(keep));
    pair.table.agree().await;
    assert_eq!(pair.deal_there()["partner"], json!(keep));
    assert_eq!(pair.deal_here()["partner"], json!(pair.rows[1]));
}

/// What is decided later is said of the one that stays, and stays there.
#[tokio::test]
async fn what_was_decided_since_does_not_stand_in_the_way() {
    let pair = Pair::of(&["Northwind", "Contoso"]).await;
    let (keep, lose) = (pair.partner(0).await, pair.partner(1).await);
    let done = pair.merge((0, 1), (0, 0)).await;
    let commit = SyncCommit {
        action: Some(Action {
            id: "act_02m8be0b60e008000000000099".parse().unwrap(),
            verb: "resolve".to_owned(),
            ..done.action.clone()
        }),
        ..SyncCommit::default()
    };
    pair.table.stage.ledger.commit(commit).await.unwrap();
    pair.undo(&done).await;
    let merged = pair.table.read(lose).await.merged_into;
    assert_eq!((merged, pair.table.read(keep).await.merged_into), (None, None));
}

/// The same person had decided something about each of them.
#[tokio::test]
async fn what_a_person_said_of_one_is_not_the_others_when_they_are_two_again() {
    let pair = Pair::of(&["Northwind", "Contoso"]).await;
    let (keep, lose) = (pair.partner(0).await, pair.partner(1).await);
    for (id, path, value) in [(keep, "description", "ours"), (lose, "domain", "contoso.example")] {
        let mut record = pair.table.read(id).await;
        let read_version = record.version;
        record.version += 1;
        record.fields.set(path, Value::text(value));
        let by = Provenance {
            connection: BY_HAND.to_owned(),
            external_id: "ann".to_owned(),
            ..(*record.provenance["display_name"]).clone()
        };
        record.provenance.insert(path, Arc::new(by));
        let write = RecordWrite {
            record,
            read_version,
            changes: Vec::new(),
            match_keys: Vec::new(),
        };
        let commit = SyncCommit {
            records: vec![write],
            ..SyncCommit::default()
        };
        pair.table.stage.ledger.commit(commit).await.unwrap();
    }
    let done = pair.merge((0, 1), (0, 0)).await;
    let one = pair.table.read(keep).await.fields;
    assert_eq!(
        (one.text("description"), one.text("domain")),
        (Some("ours"), Some("contoso.example"))
    );
    pair.undo(&done).await;
    let (one, two) = (
        pair.table.read(keep).await.fields,
        pair.table.read(lose).await.fields,
    );
    assert_eq!(
        (one.text("description"), one.text("domain")),
        (Some("ours"), None)
    );
    assert_eq!(
        (two.text("description"), two.text("domain")),
        (None, Some("contoso.example"))
    );
}

/// One of its own objects took back what the other ones had been told, while the two were one.
#[tokio::test]
async fn what_one_took_back_while_it_was_another_is_blank_when_they_are_two_again() {
    let table = two_partners().await;
    let lose = table.record("here/things/T2").await.unwrap();
    let keep = table.record("here/things/T1").await.unwrap();
    let stay = [at("here/things/T2"), at("there/things/T2")];
    let done = table.engine.merge("ann", keep, lose, &stay).await.unwrap();
    table.agree().await;
    table.here.edit("T2", "note", Json::Null);
    table.pull(Depth::Changed).await;
    table.engine.undo("ann", done.action.id).await.unwrap();
    table.agree().await;
    assert_eq!(
        values(&table.here.rows(), "note"),
        [json!("of the first"), Json::Null]
    );
    assert_eq!(
        values(&table.there.rows(), "note"),
        [json!("of the first"), Json::Null]
    );
}

/// People make it one with a row of theirs that nobody had read.
#[tokio::test]
async fn what_was_left_alone_stays_so_in_what_it_is_merged_into() {
    let table = two_partners().await;
    let keep = table.record("here/things/T1").await.unwrap();
    let lose = table.record("here/things/T2").await.unwrap();
    let stay = [at("here/things/T1"), at("there/things/T1")];
    let done = table.engine.merge("ann", keep, lose, &stay).await.unwrap();
    let other = table
        .there
        .put(json!({"name": "Contoso Ltd", "note": "of there"}));
    table.there.edit("T2", "into", json!(other));
    table.stage.pass_hours(1);
    table.agree().await;
    assert_eq!(table.stage.partners().await.len(), 2);
    assert_eq!(table.here.rows().len(), 2);

    table.engine.undo("ann", done.action.id).await.unwrap();
    table.stage.pass_hours(1);
    table.agree().await;
    let links = table.stage.ledger.links(&[lose]).await.unwrap();
    let there = links.iter().find(|link| link.connection == "there").unwrap();
    assert_eq!((there.external_id.as_str(), there.ignored), (&*other, false));
    let names = values(&table.here.rows(), "name");
    assert_eq!(names[1], json!("Contoso Ltd"), "{names:?}");
}

/// It waits beside an object of ours, and that one is left alone now.
#[tokio::test]
async fn what_waits_beside_a_record_is_none_of_its_own_because_the_record_has_another_object() {
    let table = Table::set().await;
    table
        .here
        .put(json!({"name": "Northwind", "domain": "northwind.example"}));
    let theirs = table.there.put(json!({"name": "Contoso"}));
    table.agree().await;
    let like = json!({"name": "Northwind Ltd", "domain": "northwind.example"});
    let waits = table.there.put(like);
    table.agree().await;
    let parked = async || {
        let filter = ledger::ParkedFilter::default();
        let parked = table.stage.ledger.parked(&filter, 9).await.unwrap().into_iter();
        parked.map(|parked| (parked.code, parked.key)).collect::<Vec<_>>()
    };
    let asked = [("duplicate".to_owned(), waits.clone())];
    assert_eq!(parked().await, asked);
    let keep = table.record("here/things/T1").await.unwrap();
    let lose = table.record(&format!("there/things/{theirs}")).await.unwrap();
    let stay = [at("here/things/T1"), at(&format!("there/things/{theirs}"))];
    table.engine.merge("ann", keep, lose, &stay).await.unwrap();
    for _ in 0..2 {
        table.stage.pass_hours(1);
        table.agree().await;
    }
    assert_eq!(parked().await, asked);
    assert_eq!(table.stage.partners().await.len(), 2);
    // What differs is another one.
    table.there.edit(&waits, "domain", json!("northwind-ltd.example"));
    table.stage.pass_hours(1);
    table.agree().await;
    assert_eq!(parked().await, []);
    assert_eq!(table.stage.partners().await.len(), 3);
}
