//! A person decides, and every system comes to have it.

use ledger::{Action, ActionFilter, Change, ConflictState};
use model::BY_HAND;
use serde_json::json;

use super::dispute::Dispute;
use crate::{Decision, Depth, Resolved, Take, Unresolved};

impl Dispute {
    async fn decide(&self, take: Take, revision: Option<u64>) -> Result<Resolved, Unresolved> {
        let decision = Decision {
            conflict: self.conflicts().await[0].id,
            take,
            by: "Ada".to_owned(),
            revision,
        };
        let run = self.engine.begin_resolving();
        let resolved = self.engine.resolve(&decision, run).await?;
        self.engine.note_resolved(run, 1).await.unwrap();
        Ok(resolved)
    }

    fn patches(&self) -> [usize; 2] {
        let patches = |calls: Vec<String>| calls.iter().filter(|call| *call == "PATCH").count();
        [patches(self.here.calls()), patches(self.there.calls())]
    }

    fn forget_calls(&self) {
        self.here.forget_calls();
        self.there.forget_calls();
    }

    async fn last_change(&self) -> Change {
        let record = self.stage.partners().await.remove(0);
        self.stage.ledger.history(record.id).await.unwrap().pop().unwrap()
    }
}

#[tokio::test]
async fn what_was_decided_comes_to_every_system_that_differs_and_to_no_other() {
    let value = || Take::Value(json!("both"));
    for (take, winner, note, written) in [
        (Take::Ours, "ours", "ours", [0, 1]),
        (Take::Theirs, "theirs", "theirs", [1, 0]),
        (Take::Of("here".into()), "ours", "ours", [0, 1]),
        (Take::Of("there".into()), "theirs", "theirs", [1, 0]),
        (value(), "neither", "both", [1, 1]),
    ] {
        let dispute = Dispute::begin().await;
        dispute.forget_calls();
        let resolved = dispute.decide(take.clone(), Some(1)).await.unwrap();
        dispute.sync().await;
        assert_eq!(dispute.notes().await, [note, note, note], "{take:?}");
        assert_eq!(dispute.patches(), written, "{take:?}");
        let conflict = dispute.conflict().await;
        assert_eq!(conflict, resolved.conflict);
        assert_eq!(
            (
                conflict.state,
                conflict.winner.as_str(),
                conflict.kept,
                conflict.closed_by.as_str()
            ),
            (ConflictState::Resolved, winner, json!(note), "Ada")
        );
        // What comes back is no news, and nothing goes on.
        dispute.forget_calls();
        dispute.sync().await;
        assert_eq!(dispute.patches(), [0, 0], "{take:?}");
        assert_eq!(dispute.stage.partners().await[0].version, resolved.version);
    }
}

#[tokio::test]
async fn who_said_so_is_written_down() {
    let dispute = Dispute::begin().await;
    dispute.decide(Take::Ours, None).await.unwrap();
    let record = dispute.stage.partners().await.remove(0);
    let said = &record.provenance["description"];
    assert_eq!(
        (said.connection.as_str(), said.external_id.as_str()),
        (BY_HAND, "Ada")
    );
    let change = dispute.last_change().await;
    assert_eq!(
        (
            change.path.as_str(),
            change.reason.as_str(),
            change.external_id.as_str(),
            change.version
        ),
        ("description", "by_hand", "Ada", record.version)
    );
    let runs = dispute.stage.ledger.runs(1).await.unwrap();
    assert_eq!((runs[0].id, runs[0].direction.as_str()), (change.run, "resolve"));
    let actions: Vec<Action> = dispute
        .stage
        .ledger
        .actions(&ActionFilter::default(), 9)
        .await
        .unwrap();
    assert_eq!(
        (actions.len(), actions[0].verb.as_str(), actions[0].by.as_str()),
        (1, "resolve", "Ada")
    );
}

#[tokio::test]
async fn a_pull_between_the_decision_and_its_push_does_not_undo_it() {
    let dispute = Dispute::begin().await;
    dispute.decide(Take::Ours, None).await.unwrap();
    dispute
        .there
        .edit(&dispute.id_there, "name", json!("Northwind Inc"));
    dispute.engine.pull("there", "things", Depth::All).await.unwrap();
    dispute.sync().await;
    assert_eq!(dispute.notes().await, ["ours", "ours", "ours"]);
    assert_eq!(dispute.here.rows()[0]["name"], "Northwind Inc");
    // And what they change after it is their change alone.
    dispute.there.edit(&dispute.id_there, "note", json!("later"));
    dispute.sync().await;
    assert_eq!(dispute.notes().await, ["later", "later", "later"]);
}

#[tokio::test]
async fn a_decision_about_what_has_moved_on_is_refused() {
    let dispute = Dispute::begin().await;
    dispute
        .there
        .edit(&dispute.id_there, "note", json!("theirs, again"));
    dispute.sync().await;
    let version = dispute.stage.partners().await[0].version;
    let refused = dispute.decide(Take::Theirs, Some(1)).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("it is at revision 2, ours is \"ours\" and theirs \"theirs, again\" now"),
        "{refused}"
    );
    assert_eq!(
        dispute.stage.partners().await[0].version,
        version,
        "nothing was written"
    );
    dispute.decide(Take::Theirs, Some(2)).await.unwrap();
    let late = dispute.decide(Take::Ours, None).await.unwrap_err();
    let id = dispute.conflict().await.id;
    assert_eq!(
        late.to_string(),
        format!("{id} is closed already: resolved by Ada, \"theirs, again\" was kept")
    );
}

#[tokio::test]
async fn what_cannot_be_taken_is_told_with_what_could_be() {
    let dispute = Dispute::begin().await;
    let told = async |take: Take| match dispute.decide(take, None).await {
        Err(Unresolved::Unfit { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        told(Take::Of("elsewhere".into())).await,
        "`elsewhere` has no value of `description` here; take ours, theirs or one of: here, there"
    );
    assert_eq!(
        told(Take::Value(json!(7))).await,
        "7 is no value of `description`; a value like \"theirs\" would be"
    );
    assert_eq!(
        told(Take::Value(json!("\u{0}"))).await,
        "\"\\u0000\" is no value of `description`: it expects text without NUL characters"
    );
    assert!(dispute.conflict().await.is_open());
}

/// Else no system would ever agree with it, and it would be written without end.
#[tokio::test]
async fn what_a_person_writes_is_read_like_what_systems_write() {
    for (written, kept) in [("  both\r\n", json!("both")), ("", json!(null))] {
        let dispute = Dispute::begin().await;
        let resolved = dispute.decide(Take::Value(json!(written)), None).await.unwrap();
        assert_eq!(resolved.conflict.kept, kept);
    }
}
