//! What a person was asked about an object, when another one is given the object, or it is left alone.

use ledger::ConflictState;
use serde_json::json;

use super::actions::at;
use super::dispute::Dispute;
use crate::Depth;

impl Dispute {
    /// The record of an object.
    async fn record(&self, connection: &str, id: &str) -> model::RecordId {
        let ids = [id.to_owned()];
        let linked = self.stage.ledger.linked(connection, "things", &ids).await;
        linked.unwrap()[0].record.id
    }

    /// Another partner here, which is there, too: both ids.
    async fn another(&self) -> (String, String) {
        let here = self.here.put(json!({"name": "Contoso"}));
        self.sync().await;
        let rows = self.there.rows();
        let row = rows.iter().find(|row| row["name"] == "Contoso").unwrap();
        (here, row["id"].as_str().unwrap().to_owned())
    }

    /// The values that persons are asked about: by whom, what was agreed on, and both sides.
    async fn asked(&self) -> Vec<[String; 3]> {
        let mut open = self.conflicts().await;
        open.retain(|conflict| conflict.state == ConflictState::Open);
        let told = open.into_iter().map(|conflict| {
            [&conflict.base, &conflict.ours, &conflict.theirs].map(|value| value.to_string())
        });
        told.collect()
    }

    /// That both sides have kept what they said, and are asked about it.
    async fn is_asked_as_before(&self) {
        assert_eq!(self.asked().await, [[r#""first""#, r#""ours""#, r#""theirs""#]]);
        assert_eq!(self.notes().await, ["ours", "ours", "theirs"]);
    }
}

#[tokio::test]
async fn what_was_left_alone_for_a_while_is_asked_about_again() {
    for ignored in [true, false] {
        let dispute = Dispute::begin().await;
        dispute.is_asked_as_before().await;
        let record = dispute.record("here", &dispute.id_here).await;
        let engine = &dispute.engine;
        let unlinked = engine.unlink("ann", record, "there", None, ignored).await;
        assert!(dispute.asked().await.is_empty());
        engine.undo("ann", unlinked.unwrap().action.id).await.unwrap();
        engine.push("there", "things").await.unwrap();
        dispute.sync().await;
        dispute.is_asked_as_before().await;
    }
}

#[tokio::test]
async fn the_object_that_stays_is_not_held_back_by_what_the_other_one_said() {
    let dispute = Dispute::begin().await;
    let (here, there) = dispute.another().await;
    let (keep, lose) = (
        dispute.record("here", &dispute.id_here).await,
        dispute.record("here", &here).await,
    );
    let stay = [
        at(&format!("here/things/{}", dispute.id_here)),
        at(&format!("there/things/{there}")),
    ];
    let merged = dispute.engine.merge("ann", keep, lose, &stay).await.unwrap();
    assert!(dispute.asked().await.is_empty());
    dispute.sync().await;
    let note = |id: &str| {
        let rows = dispute.there.rows();
        rows.into_iter().find(|row| row["id"] == id).unwrap()["note"].clone()
    };
    assert_eq!(
        (note(&there), note(&dispute.id_there)),
        (json!("ours"), json!("theirs"))
    );

    dispute.engine.undo("ann", merged.action.id).await.unwrap();
    dispute.engine.push("there", "things").await.unwrap();
    dispute.sync().await;
    assert_eq!(
        dispute.asked().await,
        [[r#""first""#, r#""ours""#, r#""theirs""#]]
    );
    assert_eq!(
        (note(&there), note(&dispute.id_there)),
        (json!(null), json!("theirs"))
    );
}

#[tokio::test]
async fn an_object_that_is_moved_takes_nobodys_question_along() {
    let dispute = Dispute::begin().await;
    let lone = dispute.here.put(json!({"name": "Contoso"}));
    dispute
        .engine
        .pull("here", "things", Depth::Changed)
        .await
        .unwrap();
    let other = dispute.record("here", &lone).await;
    let object = at(&format!("there/things/{}", dispute.id_there));
    let moved = dispute.engine.link("ann", other, &object, true).await.unwrap();
    let asked = dispute.conflicts().await;
    let first = dispute.record("here", &dispute.id_here).await;
    let is_open = |conflict: &&ledger::Conflict| conflict.record == first && conflict.is_open();
    assert!(!asked.iter().any(|conflict| is_open(&conflict)), "{asked:?}");
    dispute.engine.undo("ann", moved.action.id).await.unwrap();
    dispute.engine.push("there", "things").await.unwrap();
    dispute
        .engine
        .pull("there", "things", Depth::Changed)
        .await
        .unwrap();
    assert_eq!(
        dispute.asked().await,
        [[r#""first""#, r#""ours""#, r#""theirs""#]]
    );
    assert_eq!(dispute.there.rows()[0]["note"], "theirs");
}
