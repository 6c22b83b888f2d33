//! While a person is to decide about a field, each side keeps its value of it, and everything else flows.

use std::sync::Arc;

use ledger::ConflictState;
use model::merge::Policy;
use serde_json::json;

use super::dispute::Dispute;
use super::stage::was_sent;
use crate::Depth;

#[tokio::test]
async fn each_side_keeps_its_value_and_everything_else_flows() {
    let dispute = Dispute::begin().await;
    let found = dispute.conflict().await;
    assert_eq!(
        (&found.base, &found.ours, &found.theirs, &found.kept),
        (&json!("first"), &json!("ours"), &json!("theirs"), &json!("ours"))
    );
    assert_eq!(
        (
            found.connection.as_str(),
            found.ours_by.as_str(),
            found.rule.as_str(),
            found.winner.as_str()
        ),
        ("there", "here", "manual", "nobody")
    );
    assert!(found.is_open() && found.run.is_some());
    assert_eq!(dispute.notes().await, ["ours", "ours", "theirs"]);

    // A name from either side arrives at the other.
    dispute
        .here
        .edit(&dispute.id_here, "name", json!("Northwind Traders"));
    dispute.sync().await;
    assert_eq!(dispute.there.rows()[0]["name"], "Northwind Traders");
    dispute
        .there
        .edit(&dispute.id_there, "name", json!("Northwind Inc"));
    dispute.sync().await;
    assert_eq!(dispute.here.rows()[0]["name"], "Northwind Inc");
    assert_eq!(dispute.notes().await, ["ours", "ours", "theirs"]);
    assert_eq!(dispute.conflict().await, found, "nobody has moved");

    // And when nothing moves, nothing is written.
    dispute.there.forget_calls();
    dispute.sync().await;
    assert!(!dispute.there.calls().contains(&"PATCH".to_owned()));
}

#[tokio::test]
async fn a_newer_value_of_either_side_replaces_the_older_one() {
    let dispute = Dispute::begin().await;
    let found = dispute.conflict().await;
    dispute
        .there
        .edit(&dispute.id_there, "note", json!("theirs, again"));
    dispute.sync().await;
    dispute.here.edit(&dispute.id_here, "note", json!("ours, again"));
    dispute.sync().await;
    let moved = dispute.conflict().await;
    assert_eq!(
        (&moved.base, &moved.ours, &moved.theirs, &moved.kept),
        (
            &json!("first"),
            &json!("ours, again"),
            &json!("theirs, again"),
            &json!("ours, again")
        )
    );
    assert_eq!(
        (moved.id, moved.found_at, moved.revision),
        (found.id, found.found_at, 3)
    );
    assert_ne!(moved.run, found.run, "another run brought it");
    assert_eq!(
        dispute.notes().await,
        ["ours, again", "ours, again", "theirs, again"]
    );
}

#[tokio::test]
async fn it_closes_when_both_come_to_the_same_value() {
    for (at_their_side, note) in [(true, "ours"), (false, "theirs")] {
        let dispute = Dispute::begin().await;
        match at_their_side {
            true => dispute.there.edit(&dispute.id_there, "note", json!(note)),
            false => dispute.here.edit(&dispute.id_here, "note", json!(note)),
        }
        dispute.there.forget_calls();
        dispute.sync().await;
        let closed = dispute.conflict().await;
        assert_eq!((closed.state, closed.kept), (ConflictState::Agreed, json!(note)));
        assert!(closed.closed_at.is_some() && closed.closed_by.is_empty());
        assert_eq!(dispute.notes().await, [note, note, note]);
        assert!(!dispute.there.calls().contains(&"PATCH".to_owned()));
    }
}

#[tokio::test]
async fn it_closes_when_they_take_their_change_back() {
    let dispute = Dispute::begin().await;
    dispute.there.edit(&dispute.id_there, "note", json!("first"));
    dispute.sync().await;
    let closed = dispute.conflict().await;
    assert_eq!(
        (closed.state, closed.winner.as_str()),
        (ConflictState::Withdrawn, "ours")
    );
    assert_eq!(dispute.notes().await, ["ours", "ours", "ours"]);
}

#[tokio::test]
async fn it_closes_with_that_cause_when_its_object_is_gone() {
    for is_told in [true, false] {
        let dispute = Dispute::begin().await;
        match is_told {
            true => dispute.there.edit(&dispute.id_there, "deleted", json!(true)),
            false => dispute.there.take(&dispute.id_there),
        }
        if !is_told {
            // Found by a write of something else.
            dispute.here.edit(&dispute.id_here, "name", json!("Another name"));
        }
        dispute.sync().await;
        let closed = dispute.conflict().await;
        assert_eq!(
            (closed.state, closed.winner.as_str(), closed.kept),
            (ConflictState::Gone, "ours", json!("ours")),
            "{is_told}"
        );
        assert!(closed.closed_at.is_some() && closed.closed_by.is_empty());
        dispute.sync().await;
        assert_eq!(dispute.conflict().await.revision, closed.revision, "and stays so");
    }
}

#[tokio::test]
async fn a_rule_that_is_made_meanwhile_decides_when_the_object_is_next_heard_of() {
    let mut dispute = Dispute::begin().await;
    dispute.stage.rule(
        "description",
        Policy::Owner {
            connection: "there".into(),
            unless_blank: false,
        },
    );
    dispute.engine = dispute.stage.node("second", Arc::clone(&dispute.stage.ledger));
    dispute
        .there
        .edit(&dispute.id_there, "name", json!("Northwind Inc"));
    dispute.sync().await;
    let closed = dispute.conflict().await;
    assert_eq!(
        (closed.state, closed.rule.as_str(), closed.winner.as_str()),
        (ConflictState::Decided, "owner", "theirs")
    );
    assert_eq!(dispute.notes().await, ["theirs", "theirs", "theirs"]);
}

#[tokio::test]
async fn what_nobody_has_read_yet_is_read_before_it_would_be_written_over() {
    let dispute = Dispute::begin().await;
    dispute.there.edit(&dispute.id_there, "note", json!("ours"));
    dispute.sync().await;
    // Both change it once more, and only one of them is heard of.
    dispute.here.edit(&dispute.id_here, "note", json!("new here"));
    dispute.there.edit(&dispute.id_there, "note", json!("new there"));
    dispute.engine.pull("here", "things", Depth::All).await.unwrap();
    dispute.there.forget_calls();
    dispute.engine.push("there", "things").await.unwrap();
    assert_eq!(dispute.there.calls(), ["GET ids"]);
    assert_eq!(dispute.notes().await, ["new here", "new here", "new there"]);
    let found = dispute.conflicts().await.pop().unwrap();
    assert!(found.is_open());
    assert_eq!([&found.base, &found.theirs], ["ours", "new there"]);
    // Where they have not changed it, it is read and then written.
    dispute.there.edit(&dispute.id_there, "note", json!("new here"));
    dispute.sync().await;
    dispute.here.edit(&dispute.id_here, "note", json!("newer here"));
    dispute.engine.pull("here", "things", Depth::All).await.unwrap();
    dispute.there.forget_calls();
    dispute.engine.push("there", "things").await.unwrap();
    assert_eq!(dispute.there.calls(), ["GET ids", "PATCH"]);
    assert_eq!(dispute.notes().await, ["newer here", "newer here", "newer here"]);
}

/// A job, or somebody who is dead, had sent it before the person there said anything: nobody says it, and no one can decide
/// about what is there no more.
#[tokio::test]
async fn it_closes_when_what_we_wrote_before_has_come_to_be_there() {
    let dispute = Dispute::begin().await;
    dispute
        .here
        .edit(&dispute.id_here, "name", json!("Northwind Ltd"));
    dispute.engine.pull("here", "things", Depth::All).await.unwrap();
    was_sent(
        &dispute.stage,
        "2026-11-26T08:00:00Z",
        json!({"note": "older"}),
        false,
    )
    .await;
    dispute.there.edit(&dispute.id_there, "note", json!("older"));
    dispute.sync().await;
    assert_eq!(dispute.conflict().await.state, ConflictState::Withdrawn);
    assert_eq!(
        dispute.notes().await,
        [json!("ours"), json!("ours"), json!("ours")]
    );
}
