//! What a person does with records, and takes back.

use std::sync::Arc;

use ledger::Ledger;
use model::{Kind, MatchRule, Record, RecordId};
use serde_json::json;

use super::held::{Call, Held};
use super::shelf::{Key, Shelf};
use super::stage::Stage;
use crate::{ActionError, Depth, Done, Engine, ObjectAt, SyncError};

pub(crate) struct Table {
    pub(crate) stage: Stage,
    pub(crate) here: Shelf,
    pub(crate) there: Shelf,
    pub(crate) engine: Arc<Engine>,
}

impl Table {
    pub(crate) async fn set() -> Table {
        Table::ruled(&[]).await
    }

    /// With rules by which partners meet.
    pub(crate) async fn ruled(rules: &[MatchRule]) -> Table {
        let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
        let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
        if !rules.is_empty() {
            stage.matching.insert(Kind::Partner, rules.to_vec());
        }
        let engine = stage.node("first", Arc::clone(&stage.ledger));
        Table {
            stage,
            here,
            there,
            engine,
        }
    }

    pub(crate) async fn pull(&self, depth: Depth) -> u64 {
        let mut created = 0;
        for connection in ["here", "there"] {
            let report = self.engine.pull(connection, "things", depth).await.unwrap();
            created += report.counts.created;
        }
        created
    }

    /// Until nothing is owed.
    pub(crate) async fn agree(&self) {
        for _ in 0..4 {
            self.pull(Depth::Changed).await;
            for connection in ["here", "there"] {
                self.engine.push(connection, "things").await.unwrap();
            }
        }
    }

    /// The record of an object.
    pub(crate) async fn record(&self, at: &str) -> Option<RecordId> {
        let at: ObjectAt = at.parse().unwrap();
        let ids = [at.external_id];
        let linked = self
            .stage
            .ledger
            .linked(&at.connection, &at.object, &ids)
            .await
            .unwrap();
        Some(linked.into_iter().next()?.record.id)
    }

    pub(crate) async fn read(&self, id: RecordId) -> Record {
        self.stage.ledger.records(&[id]).await.unwrap().remove(0)
    }

    pub(crate) async fn standing(&self) -> usize {
        let partners = self.stage.partners().await;
        partners
            .iter()
            .filter(|record| record.deleted_at.is_none())
            .count()
    }
}

/// Names and notes of a shelf.
pub(crate) fn told(shelf: &Shelf) -> Vec<String> {
    let text = |row: &serde_json::Value, field: &str| row[field].as_str().unwrap_or("-").to_owned();
    let rows = shelf.rows();
    let rows = rows
        .iter()
        .map(|row| format!("{} {}: {}", text(row, "id"), text(row, "name"), text(row, "note")));
    rows.collect()
}

pub(crate) fn code(done: Result<Done, ActionError>) -> &'static str {
    match done {
        Err(ActionError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn at(text: &str) -> ObjectAt {
    text.parse().unwrap()
}

#[tokio::test]
async fn two_records_become_one_and_two_again() {
    let table = Table::set().await;
    table.here.put(json!({"name": "Northwind"}));
    table
        .there
        .put(json!({"name": "Northwind Ltd", "note": "of there"}));
    table.pull(Depth::Changed).await;
    let (keep, lose) = (
        table.record("here/things/T1").await.unwrap(),
        table.record("there/things/T1").await.unwrap(),
    );
    let done = table.engine.merge("ann", keep, lose, &[]).await.unwrap();
    assert_eq!(
        (done.action.by.as_str(), done.action.verb.as_str()),
        ("ann", "merge")
    );
    assert_eq!(table.record("there/things/T1").await, Some(keep));
    assert_eq!(table.read(lose).await.merged_into, Some(keep));
    table.agree().await;
    // Of two words of one moment the first connection's stands, the blank is filled, and nothing is created.
    assert_eq!(told(&table.here), ["T1 Northwind: of there"]);
    assert_eq!(told(&table.there), ["T1 Northwind: of there"]);
    assert_eq!(
        code(table.engine.merge("ann", keep, lose, &[]).await),
        "merged_away"
    );

    // What each side says from now on is said of one record; after that it is its own object's word again.
    table.there.edit("T1", "note", json!("later"));
    table.agree().await;
    assert_eq!(told(&table.here), ["T1 Northwind: later"]);
    table.engine.undo("bob", done.action.id).await.unwrap();
    assert_eq!(code(table.engine.undo("bob", done.action.id).await), "undone");
    assert_eq!(
        table.read(keep).await.fields.text("display_name"),
        Some("Northwind")
    );
    assert_eq!(table.read(keep).await.fields.text("description"), None);
    let lost = table.read(lose).await;
    assert_eq!(
        (lost.fields.text("description"), lost.merged_into),
        (Some("later"), None)
    );
    table.agree().await;
    assert_eq!(told(&table.here), ["T1 Northwind: -", "T2 Northwind Ltd: later"]);
    assert_eq!(told(&table.there), ["T1 Northwind Ltd: later", "T2 Northwind: -"]);
}

#[tokio::test]
async fn where_both_have_an_object_a_person_chooses_and_the_other_is_left_alone() {
    let table = Table::set().await;
    table.here.put(json!({"name": "Northwind"}));
    table.here.put(json!({"name": "Northwind Ltd"}));
    table.agree().await;
    let (keep, lose) = (
        table.record("here/things/T1").await.unwrap(),
        table.record("here/things/T2").await.unwrap(),
    );
    assert_eq!(
        code(table.engine.merge("ann", keep, lose, &[]).await),
        "both_linked"
    );
    let only_one = [at("here/things/T2")];
    assert_eq!(
        code(table.engine.merge("ann", keep, lose, &only_one).await),
        "both_linked"
    );
    // A slip is told before what is not chosen because of it.
    let wrong = [at("here/things/T2"), at("there/things/T9")];
    assert_eq!(
        code(table.engine.merge("ann", keep, lose, &wrong).await),
        "nothing_to_choose"
    );
    assert_eq!(table.standing().await, 2);

    let stay = [at("here/things/T2"), at("there/things/T1")];
    let done = table.engine.merge("ann", keep, lose, &stay).await.unwrap();
    table.agree().await;
    let merged = table
        .read(keep)
        .await
        .fields
        .text("display_name")
        .unwrap()
        .to_owned();
    assert_eq!(
        told(&table.here),
        ["T1 Northwind: -".to_owned(), format!("T2 {merged}: -")]
    );
    assert_eq!(
        told(&table.there),
        [format!("T1 {merged}: -"), "T2 Northwind Ltd: -".to_owned()]
    );
    // Neither news nor a full read brings them back, and nothing is deleted.
    table.here.edit("T1", "note", json!("news"));
    table.there.edit("T2", "note", json!("news"));
    assert_eq!(table.pull(Depth::All).await, 0);
    table.agree().await;
    assert_eq!(table.read(keep).await.fields.text("description"), None);
    assert_eq!(table.standing().await, 1);

    table.engine.undo("ann", done.action.id).await.unwrap();
    table.agree().await;
    assert_eq!(table.record("here/things/T1").await, Some(keep));
    assert_eq!(table.record("there/things/T2").await, Some(lose));
    assert_eq!(
        told(&table.here),
        ["T1 Northwind: news", "T2 Northwind Ltd: news"]
    );
    assert_eq!(
        told(&table.there),
        ["T1 Northwind: news", "T2 Northwind Ltd: news"]
    );
}

#[tokio::test]
async fn what_is_unlinked_stays_so_and_becomes_its_own() {
    let table = Table::set().await;
    table.here.put(json!({"name": "Northwind"}));
    table.agree().await;
    let record = table.record("here/things/T1").await.unwrap();
    let done = table
        .engine
        .unlink("ann", record, "there", None, false)
        .await
        .unwrap();
    assert_eq!(table.record("there/things/T1").await, None);
    assert_eq!(
        code(table.engine.unlink("ann", record, "there", None, false).await),
        "not_linked"
    );
    // It carries the key of the record that it was, and is not taken for it.
    assert_eq!(table.pull(Depth::All).await, 1);
    let own = table.record("there/things/T1").await.unwrap();
    assert_ne!(own, record);
    table.agree().await;
    assert_eq!(told(&table.there), ["T1 Northwind: -"], "not created there again");
    assert_eq!(
        code(table.engine.undo("ann", done.action.id).await),
        "changed_since"
    );
    // What was one is one again by a merge.
    let stay = [at("here/things/T1")];
    table.engine.merge("ann", record, own, &stay).await.unwrap();
    assert_eq!(table.record("there/things/T1").await, Some(record));
}

#[tokio::test]
async fn what_is_unlinked_and_ignored_is_neither_read_nor_written() {
    let table = Table::set().await;
    table.here.put(json!({"name": "Northwind"}));
    table.agree().await;
    let record = table.record("here/things/T1").await.unwrap();
    let done = table
        .engine
        .unlink("ann", record, "there", Some("things"), true)
        .await
        .unwrap();
    table.there.edit("T1", "note", json!("of there"));
    table.here.edit("T1", "note", json!("of here"));
    assert_eq!(table.pull(Depth::All).await, 0);
    table.agree().await;
    assert_eq!(told(&table.there), ["T1 Northwind: of there"]);
    assert_eq!(told(&table.here), ["T1 Northwind: of here"]);
    // Both have changed it: the later word stands, as if it had never been away.
    table.engine.undo("ann", done.action.id).await.unwrap();
    table.agree().await;
    assert_eq!(told(&table.there)[0][3..], told(&table.here)[0][3..]);
    assert_eq!(table.standing().await, 1);
}

#[tokio::test]
async fn an_object_is_linked_by_hand_and_its_values_flow() {
    let table = Table::set().await;
    table.here.put(json!({"name": "Northwind"}));
    table.engine.pull("here", "things", Depth::Changed).await.unwrap();
    let record = table.record("here/things/T1").await.unwrap();
    let object = table
        .there
        .put(json!({"name": "Northwind Ltd", "note": "of there"}));
    let place = at(&format!("there/things/{object}"));
    assert!(matches!(
        table
            .engine
            .link("ann", record, &at("there/things/T9"), false)
            .await,
        Err(ActionError::Unknown(_))
    ));
    assert_eq!(
        code(
            table
                .engine
                .link("ann", record, &at("there/others/T1"), false)
                .await
        ),
        "no_sync"
    );
    let done = table.engine.link("ann", record, &place, false).await.unwrap();
    assert_eq!(done.report.counts.read, 1);
    assert_eq!(
        table.read(record).await.fields.text("description"),
        Some("of there")
    );
    assert_eq!(
        code(table.engine.link("ann", record, &place, false).await),
        "linked"
    );
    table.agree().await;
    assert_eq!(told(&table.here)[0][3..], told(&table.there)[0][3..]);
    assert_eq!(table.standing().await, 1);
    assert!(
        table
            .stage
            .ledger
            .parked(&ledger::ParkedFilter::default(), 9)
            .await
            .unwrap()
            .is_empty()
    );

    table.engine.undo("ann", done.action.id).await.unwrap();
    assert_eq!(table.record(&place.to_string()).await, None);
    let before = table.read(record).await;
    assert_eq!(
        (
            before.fields.text("display_name"),
            before.fields.text("description")
        ),
        (Some("Northwind"), None)
    );
}

#[tokio::test]
async fn an_object_is_moved_only_knowingly_and_goes_back() {
    let table = Table::set().await;
    table.here.put(json!({"name": "Northwind"}));
    table.here.put(json!({"name": "Contoso"}));
    table.agree().await;
    let (one, two) = (
        table.record("here/things/T1").await.unwrap(),
        table.record("here/things/T2").await.unwrap(),
    );
    let place = at("there/things/T2");
    assert_eq!(
        code(table.engine.link("ann", one, &place, true).await),
        "has_another"
    );
    let unlinked = table
        .engine
        .unlink("ann", one, "there", None, true)
        .await
        .unwrap();
    assert_eq!(
        code(table.engine.link("ann", one, &place, false).await),
        "linked_elsewhere"
    );
    let moved = table.engine.link("ann", one, &place, true).await.unwrap();
    assert_eq!(table.record("there/things/T2").await, Some(one));
    table.agree().await;
    assert_eq!(told(&table.there).len(), 2, "two is not created there again");
    assert_eq!(
        code(table.engine.undo("ann", unlinked.action.id).await),
        "later_action"
    );
    table.engine.undo("ann", moved.action.id).await.unwrap();
    table.engine.undo("ann", unlinked.action.id).await.unwrap();
    table.agree().await;
    assert_eq!(table.record("there/things/T1").await, Some(one));
    assert_eq!(table.record("there/things/T2").await, Some(two));
    assert_eq!(told(&table.here), ["T1 Northwind: -", "T2 Contoso: -"]);
    assert_eq!(told(&table.there), ["T1 Northwind: -", "T2 Contoso: -"]);
}

#[tokio::test]
async fn what_is_under_way_is_waited_for_and_then_told() {
    let table = Table::set().await;
    table.here.put(json!({"name": "Northwind"}));
    table.agree().await;
    let record = table.record("here/things/T1").await.unwrap();
    let until = "2030-01-01T00:00:00Z".parse().unwrap();
    let now = "2026-11-26T08:00:00Z".parse().unwrap();
    let lease = table
        .stage
        .ledger
        .lease("pull:there:things", "other", now, until)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        code(table.engine.unlink("ann", record, "there", None, true).await),
        "busy"
    );
    table.stage.ledger.release(&lease).await.unwrap();
    table
        .engine
        .unlink("ann", record, "there", None, true)
        .await
        .unwrap();
}

/// The page at hand is waited for; those behind it wait for the person.
#[tokio::test]
async fn who_reads_much_gives_way_to_a_person() {
    let table = Table::set().await;
    table.here.put(json!({"name": "Northwind"}));
    table.agree().await;
    let record = table.record("here/things/T1").await.unwrap();
    for nth in 0..250 {
        table.here.put(json!({"name": format!("Partner {nth}")}));
    }
    let held = Arc::new(Held::over(Arc::clone(&table.stage.ledger)));
    let reader = table.stage.node("reader", Arc::clone(&held) as Arc<dyn Ledger>);
    let pull =
        |reader: Arc<Engine>| async move { reader.pull("here", "things", Depth::Changed).await.unwrap() };
    held.hold(Call::Commit);
    let reading = tokio::spawn(pull(Arc::clone(&reader)));
    held.called().await;
    let engine = Arc::clone(&table.engine);
    let asked = tokio::spawn(async move { engine.unlink("ann", record, "there", None, true).await });
    let now = "2026-11-26T08:00:00Z".parse().unwrap();
    while !table
        .stage
        .ledger
        .is_leased("still:here:things", now)
        .await
        .unwrap()
    {
        tokio::task::yield_now().await;
    }
    let begun = reader.push("there", "things").await;
    assert!(matches!(begun, Err(SyncError::Taken)), "{begun:?}");
    held.go_on();
    let first = reading.await.unwrap();
    assert_eq!((first.counts.read, first.again.is_some()), (100, true));
    asked.await.unwrap().unwrap();
    // Nobody wants it to be still any more.
    let rest = pull(reader).await;
    assert_eq!((rest.counts.created, rest.again), (151, None));
}
