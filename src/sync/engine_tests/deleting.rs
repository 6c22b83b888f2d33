//! What is deleted at one system: nothing to the others unless both say so, never a change that nobody knew of, and never
//! much at once without a person.

use std::sync::Arc;

use jiff::Timestamp;
use ledger::{Change, ConflictState, Ledger, ParkedFilter, PushOutcome, Sent, SyncCommit};
use model::Record;
use model::merge::Policy;
use serde_json::json;

use super::held::{Call, Held};
use super::shelf::{Key, Shelf};
use super::stage::{COUNTS, Stage};
use crate::{DELETED_AT, Decision, Deletes, Depth, Engine, Report, StopLimits, Take, What};

const PROPAGATES: Deletes = Deletes {
    propagate: true,
    follow: false,
};
const FOLLOWS: Deletes = Deletes {
    propagate: false,
    follow: true,
};
/// After everything that a shelf says by itself.
const LATER: &str = "2026-11-26T09:00:00Z";
const LATER_STILL: &str = "2026-11-26T10:00:00Z";

/// Three systems that know the same partners; what deletions mean at the first two is said.
struct Three {
    stage: Stage,
    here: Shelf,
    there: Shelf,
    beyond: Shelf,
    /// Ids here.
    ids: Vec<String>,
}

impl Three {
    async fn knowing(partners: usize, deletes: &[(&'static str, Deletes)]) -> Three {
        let shelf = || Shelf::start(Key::Read);
        let (here, there, beyond) = (shelf().await, shelf().await, shelf().await);
        let shelves = [("here", &here), ("there", &there), ("beyond", &beyond)];
        let mut stage = Stage::new(&shelves).await;
        stage.deletes = deletes.iter().copied().collect();
        let ids = (0..partners).map(|number| here.put(json!({"name": format!("Partner {number}")})));
        let three = Three {
            ids: ids.collect(),
            stage,
            here,
            there,
            beyond,
        };
        three.agree().await;
        assert_eq!(three.there.rows().len() + three.beyond.rows().len(), 2 * partners);
        three
    }

    fn engine(&self) -> Arc<Engine> {
        self.stage.node("node", Arc::clone(&self.stage.ledger))
    }

    async fn pull(&self, at: &str) -> Report {
        self.engine().pull(at, "things", Depth::Changed).await.unwrap()
    }

    async fn push(&self, at: &str) -> Report {
        self.engine().push(at, "things").await.unwrap()
    }

    /// Everybody reads and is written until nothing is owed.
    async fn agree(&self) {
        for _ in 0..3 {
            for at in ["here", "there", "beyond"] {
                self.pull(at).await;
            }
            for at in ["here", "there", "beyond"] {
                self.push(at).await;
            }
        }
    }

    fn delete_here(&self, number: usize) {
        self.set_here(number, json!(true), LATER);
    }

    fn set_here(&self, number: usize, deleted: serde_json::Value, at: &str) {
        self.here.meddle(&self.ids[number], "deleted", deleted);
        self.here.meddle(&self.ids[number], "changed", json!(at));
    }

    /// A person edits the first partner elsewhere.
    fn edit(&self, shelf: &Shelf, note: &str, at: &str) {
        let id = shelf.rows()[0]["id"].as_str().unwrap().to_owned();
        shelf.meddle(&id, "note", json!(note));
        shelf.meddle(&id, "changed", json!(at));
    }

    async fn record(&self) -> Record {
        let partners = self.stage.partners().await;
        let first = |record: &&Record| record.fields.text("display_name") == Some("Partner 0");
        partners.iter().find(first).unwrap().clone()
    }

    /// Rows of the first partner's history that tell of its end.
    async fn ends(&self) -> Vec<(String, String)> {
        let history = self.stage.ledger.history(self.record().await.id).await.unwrap();
        let ends = history
            .into_iter()
            .filter(|change: &Change| change.path == DELETED_AT);
        ends.map(|change| (change.reason, change.connection)).collect()
    }
}

fn living(shelf: &Shelf) -> usize {
    shelf.rows().iter().filter(|row| row["deleted"] != true).count()
}

fn deletions(shelf: &Shelf) -> usize {
    shelf.calls().iter().filter(|call| *call == "DELETE").count()
}

#[tokio::test]
async fn unless_both_say_so_a_deletion_only_unlinks() {
    for deletes in [
        &[][..],
        &[("there", FOLLOWS)],
        &[("here", FOLLOWS), ("there", PROPAGATES)],
    ] {
        let three = Three::knowing(1, deletes).await;
        three.delete_here(0);
        let report = three.pull("here").await;
        assert_eq!((report.counts.gone, report.counts.deleted), (1, 0));
        three.agree().await;
        assert_eq!(
            (living(&three.here), living(&three.there), living(&three.beyond)),
            (0, 1, 1)
        );
        assert_eq!(
            (three.record().await.deleted_at, three.ends().await),
            (None, vec![])
        );
    }
}

#[tokio::test]
async fn where_both_say_so_it_is_deleted_there_once_and_told_and_comes_back_as_no_change() {
    let three = Three::knowing(2, &[("here", PROPAGATES), ("there", FOLLOWS)]).await;
    three.delete_here(0);
    let report = three.pull("here").await;
    assert_eq!((report.counts.gone, report.counts.deleted), (1, 1));
    assert!(
        report.owed.contains(&("there".to_owned(), "things".to_owned())),
        "{report:?}"
    );
    let record = three.record().await;
    assert_eq!(record.deleted_at, Some(LATER.parse().unwrap()));
    assert_eq!(three.ends().await, [("deleted".to_owned(), "here".to_owned())]);

    // It takes effect, and nobody hears; so it is asked for again.
    three.there.deny_one_deletion();
    let report = three.push("there").await;
    assert_eq!((report.counts.deleted_there, report.counts.parked), (1, 0));
    assert_eq!(
        (living(&three.here), living(&three.there), living(&three.beyond)),
        (1, 1, 2)
    );
    let pushed = three.stage.ledger.pushed(record.id, 9).await.unwrap();
    let last = pushed.last().unwrap();
    assert_eq!(
        (last.connection.as_str(), last.version),
        ("there", record.version)
    );
    assert!(
        matches!(last.outcome, PushOutcome::Deleted | PushOutcome::Gone),
        "{last:?}"
    );
    let name = format!("{}/{}", record.id, record.version);
    let ledger = &three.stage.ledger;
    let event = ledger.event_named("interconnect", &name).await.unwrap().unwrap();
    let event = ledger.event(event).await.unwrap().unwrap();
    assert_eq!(event.event_type, "partner.deleted");
    let runs = three.stage.ledger.runs(9).await.unwrap();
    assert!(
        runs.iter().any(|run| run.counts["deleted_there"] == 1),
        "{runs:?}"
    );

    // Our own deletion comes back, and everything is read once more.
    for at in ["here", "there", "beyond"] {
        let report = three.engine().pull(at, "things", Depth::All).await.unwrap();
        assert_eq!(
            (report.counts.deleted, report.counts.outlived, report.owed.len()),
            (0, 0, 0),
            "{at}"
        );
    }
    three.there.forget_calls();
    three.agree().await;
    assert_eq!(
        (deletions(&three.there), three.record().await.version),
        (0, record.version)
    );
}

#[tokio::test]
async fn who_does_not_follow_keeps_it_and_goes_on_agreeing_with_the_others() {
    let three = Three::knowing(1, &[("here", PROPAGATES)]).await;
    three.delete_here(0);
    three.agree().await;
    assert!(three.record().await.deleted_at.is_some());
    three.edit(&three.there, "still a customer", LATER_STILL);
    three.agree().await;
    assert_eq!(three.beyond.rows()[0]["note"], "still a customer");
    assert_eq!(
        (living(&three.here), living(&three.there), living(&three.beyond)),
        (0, 1, 1)
    );
    assert!(
        three.record().await.deleted_at.is_some(),
        "nobody is to delete it, so nothing is to be saved"
    );
}

#[tokio::test]
async fn a_conflict_about_what_is_deleted_here_is_decided_for_those_who_keep_it() {
    let mut three = Three::knowing(1, &[("here", PROPAGATES)]).await;
    three.stage.rule("description", Policy::Manual);
    three.edit(&three.beyond, "beyond", "2026-11-26T08:30:00Z");
    three.pull("beyond").await;
    three.edit(&three.there, "there", "2026-11-26T08:40:00Z");
    assert_eq!(three.pull("there").await.counts.conflicts, 1);
    three.delete_here(0);
    three.agree().await;
    let record = three.record().await;
    assert!(record.deleted_at.is_some());
    let open = three.stage.ledger.open_conflicts(&[record.id]).await.unwrap();
    let decision = Decision {
        conflict: open[0].id,
        take: Take::Theirs,
        by: "Ada".to_owned(),
        revision: Some(open[0].revision),
    };
    let engine = three.engine();
    let run = engine.begin_resolving();
    let resolved = engine.resolve(&decision, run).await.unwrap();
    assert_eq!(resolved.conflict.state, ConflictState::Resolved);
    assert_eq!(resolved.owed, [("beyond".to_owned(), "things".to_owned())]);
    three.agree().await;
    let notes = [&three.there, &three.beyond].map(|shelf| shelf.rows()[0]["note"].clone());
    assert_eq!(notes, [json!("there"), json!("there")]);
    assert_eq!((living(&three.here), living(&three.beyond)), (0, 1));
    assert_eq!(three.record().await.deleted_at, record.deleted_at);
}

#[tokio::test]
async fn what_was_changed_elsewhere_later_outlives_its_deletion() {
    let three = Three::knowing(1, &[("here", PROPAGATES), ("there", FOLLOWS)]).await;
    three.edit(&three.there, "do not lose this", LATER_STILL);
    three.pull("there").await;
    three.delete_here(0);
    let report = three.pull("here").await;
    assert_eq!((report.counts.deleted, report.counts.outlived), (0, 1));
    three.agree().await;
    assert_eq!(
        (living(&three.here), living(&three.there), living(&three.beyond)),
        (0, 1, 1)
    );
    assert_eq!(three.beyond.rows()[0]["note"], "do not lose this");
    assert_eq!(three.ends().await, [("outlived".to_owned(), "here".to_owned())]);
}

#[tokio::test]
async fn what_was_changed_before_is_deleted_and_its_last_values_stay_in_the_history() {
    let three = Three::knowing(1, &[("here", PROPAGATES), ("there", FOLLOWS)]).await;
    three.edit(&three.there, "a last word", LATER);
    three.set_here(0, json!(true), LATER_STILL);
    three.pull("here").await;
    // Nobody has read it yet: it is read before it is deleted.
    three.push("there").await;
    assert_eq!((living(&three.there), living(&three.beyond)), (0, 1));
    assert_eq!(
        three.record().await.fields.text("description"),
        Some("a last word")
    );
}

#[tokio::test]
async fn a_change_that_nobody_has_read_yet_revives_what_is_about_to_be_deleted() {
    let deletes = [("here", PROPAGATES), ("there", FOLLOWS), ("beyond", FOLLOWS)];
    let three = Three::knowing(1, &deletes).await;
    three.delete_here(0);
    three.pull("here").await;
    // It is deleted at one of them already when the other one's change is read.
    three.push("beyond").await;
    assert_eq!(living(&three.beyond), 0);
    three.edit(&three.there, "do not lose this", LATER_STILL);
    let report = three.push("there").await;
    assert_eq!(report.counts.deleted_there, 0);
    assert_eq!((living(&three.there), deletions(&three.there)), (1, 0));
    three.agree().await;
    let ends = three.ends().await;
    assert_eq!(ends[1..], [("revived".to_owned(), "there".to_owned())]);
    // It is made again where we had deleted it, and not where people had.
    assert_eq!(
        (living(&three.here), living(&three.there), living(&three.beyond)),
        (0, 1, 1)
    );
    let rows = three.beyond.rows();
    assert_eq!(rows.last().unwrap()["note"], "do not lose this");
    assert_eq!(three.record().await.deleted_at, None);
}

#[tokio::test]
async fn our_own_deletion_that_nobody_heard_of_is_no_deletion_of_theirs() {
    let both = Deletes {
        propagate: true,
        follow: true,
    };
    let three = Three::knowing(1, &[("here", PROPAGATES), ("there", FOLLOWS), ("beyond", both)]).await;
    three.delete_here(0);
    three.pull("here").await;
    // Somebody deletes it beyond, too, and dies before they hear of it.
    let ledger = &three.stage.ledger;
    let mut sending = ledger
        .pushes("beyond", "things", Timestamp::MAX, 10)
        .await
        .unwrap();
    sending[0].sent.push(Sent {
        at: LATER.parse().unwrap(),
        values: json!({}),
        creates: false,
    });
    let sending = SyncCommit {
        sending,
        ..SyncCommit::default()
    };
    ledger.commit(sending).await.unwrap();
    let id = three.beyond.rows()[0]["id"].as_str().unwrap().to_owned();
    three.beyond.meddle(&id, "deleted", json!(true));
    three.beyond.meddle(&id, "changed", json!("2026-11-26T11:00:00Z"));
    // A change from before that, that nobody had read yet, revives the record.
    three.edit(&three.there, "do not lose this", LATER_STILL);
    three.push("there").await;
    assert_eq!(three.record().await.deleted_at, None);
    let read = three.pull("beyond").await;
    assert_eq!((read.counts.deleted, read.counts.gone), (0, 0));
    assert_eq!(three.record().await.deleted_at, None);
    three.agree().await;
    assert_eq!((living(&three.there), living(&three.beyond)), (1, 1));
    let rows = three.beyond.rows();
    assert_eq!(rows.last().unwrap()["note"], "do not lose this");
}

#[tokio::test]
async fn what_is_restored_is_made_again_where_it_was_deleted_for_it() {
    let three = Three::knowing(1, &[("here", PROPAGATES), ("there", FOLLOWS)]).await;
    three.delete_here(0);
    three.agree().await;
    assert_eq!(living(&three.there), 0);
    three.set_here(0, json!(false), LATER_STILL);
    let report = three.pull("here").await;
    assert_eq!(report.counts.outlived, 1);
    three.agree().await;
    assert_eq!(
        (living(&three.here), living(&three.there), living(&three.beyond)),
        (1, 1, 1)
    );
    assert_eq!(three.record().await.deleted_at, None);
}

#[tokio::test]
async fn much_that_is_gone_at_once_waits_for_a_person_wherever_it_is_told() {
    let three = Three::knowing(12, &[("here", PROPAGATES), ("there", FOLLOWS)]).await;
    for number in 0..11 {
        three.delete_here(number);
    }
    let report = three.pull("here").await;
    let reason = report.halted.unwrap();
    assert!(
        reason.contains("would come to 11 gone") && reason.contains("limit of 10"),
        "{reason}"
    );
    assert_eq!((report.counts.gone, report.counts.deleted), (0, 0));
    assert_eq!(three.record().await.deleted_at, None);
    // A hint is no way around it.
    let engine = three.engine();
    assert!(engine.pull("here", "things", Depth::Changed).await.is_err());

    engine
        .resume("here", "things", &[(What::Gone, 11)])
        .await
        .unwrap();
    let report = three.pull("here").await;
    assert_eq!(
        (report.counts.gone, report.counts.deleted, report.halted),
        (11, 11, None)
    );
    // Whoever carries it out has a brake of its own, for what several systems tell.
    let report = three.push("there").await;
    let reason = report.halted.unwrap();
    assert!(
        reason.contains("would come to 11 deletes") || reason.contains("limit of 10"),
        "{reason}"
    );
    assert!(living(&three.there) >= 1, "{reason}");
    engine
        .resume("there", "things", &[(What::Deletes, 11)])
        .await
        .unwrap();
    three.push("there").await;
    assert_eq!((living(&three.there), living(&three.beyond)), (1, 12));
}

#[tokio::test]
async fn a_stop_limit_stands_for_the_brake_on_both_sides() {
    let mut three = Three::knowing(4, &[("here", PROPAGATES), ("there", FOLLOWS)]).await;
    three.stage.stop = StopLimits {
        gone_max: Some(2),
        ..StopLimits::default()
    };
    for number in 0..2 {
        three.delete_here(number);
    }
    assert_eq!(three.pull("here").await.halted, None);
    assert_eq!(three.push("there").await.halted, None);
    assert_eq!(living(&three.there), 2);
    three.delete_here(2);
    let reason = three.pull("here").await.halted.unwrap();
    assert!(reason.contains("would come to 3 gone"), "{reason}");
}

#[tokio::test]
async fn an_object_that_a_write_does_not_find_is_decided_about_where_it_is_read() {
    let three = Three::knowing(1, &[("here", PROPAGATES), ("there", FOLLOWS)]).await;
    // Deleted without a trace, and found by a write of what was changed elsewhere meanwhile.
    three.edit(&three.there, "a later word", LATER_STILL);
    three.pull("there").await;
    three.here.take(&three.ids[0]);
    let engine = three.engine();
    let report = engine.push("here", "things").await.unwrap();
    assert_eq!((report.counts.gone, report.counts.deleted), (0, 0));
    let report = engine.pull("here", "things", Depth::Named).await.unwrap();
    assert_eq!((report.counts.gone, report.counts.outlived), (1, 1));
    three.agree().await;
    assert_eq!((living(&three.there), living(&three.beyond)), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_deleted_is_parked_with_the_reason() {
    let three = Three::knowing(1, &[("here", PROPAGATES), ("there", FOLLOWS)]).await;
    let id = three.there.rows()[0]["id"].as_str().unwrap().to_owned();
    three.there.meddle(&id, "needed", json!(true));
    three.delete_here(0);
    three.agree().await;
    let parked = three
        .stage
        .ledger
        .parked(&ParkedFilter::default(), 9)
        .await
        .unwrap();
    let [parked] = parked.as_slice() else {
        panic!("{parked:?}")
    };
    assert!(
        !parked.inbound && parked.reason.ends_with("it is needed"),
        "{parked:?}"
    );
    assert_eq!(living(&three.there), 1);
}

#[tokio::test]
async fn a_rehearsal_tells_what_would_be_deleted_and_deletes_nothing() {
    let three = Three::knowing(12, &[("here", PROPAGATES), ("there", FOLLOWS)]).await;
    for number in 0..11 {
        three.delete_here(number);
    }
    let over = ledger::overlay(Arc::clone(&three.stage.ledger)).await.unwrap();
    let engine = three.engine().rehearse(over, 2);
    let pulled = engine.pull("here", "things", Depth::Changed).await.unwrap();
    let pushed = engine.push("there", "things").await.unwrap();
    assert_eq!((pulled.counts.deleted, pushed.counts.deleted_there), (11, 11));
    let foreseen = engine.foreseen();
    let samples = &foreseen[&("there".to_owned(), "things".to_owned())].samples;
    assert_eq!(samples.iter().filter(|sample| sample.deleted).count(), 2);
    let halts = engine
        .would_halt("here", "things", &[(What::Gone, 11)])
        .await
        .unwrap();
    assert!(halts[0].contains("--allow gone=11"), "{halts:?}");
    assert_eq!((living(&three.there), deletions(&three.there)), (12, 0));
    assert_eq!(three.record().await.deleted_at, None);
}

#[tokio::test]
async fn what_a_person_is_to_decide_about_outlives_an_earlier_deletion() {
    for known_before in [true, false] {
        let deletes = [("here", PROPAGATES), ("there", FOLLOWS)];
        let mut three = Three::knowing(1, &deletes).await;
        three.stage.rule("description", Policy::Manual);
        three.edit(&three.beyond, "beyond", "2026-11-26T08:30:00Z");
        three.pull("beyond").await;
        three.delete_here(0);
        three.edit(&three.there, "there", LATER_STILL);
        if known_before {
            assert_eq!(three.pull("there").await.counts.conflicts, 1);
        }
        three.pull("here").await;
        let report = three.push("there").await;
        assert_eq!(report.counts.deleted_there, 0, "{known_before}");
        three.agree().await;
        assert_eq!(
            (living(&three.there), living(&three.beyond)),
            (1, 1),
            "{known_before}"
        );
        assert_eq!(three.there.rows()[0]["note"], "there");
        assert_eq!(three.beyond.rows()[0]["note"], "beyond");
        assert_eq!(three.record().await.deleted_at, None);
        let end = if known_before {
            ("outlived", "here")
        } else {
            ("revived", "there")
        };
        let ends = three.ends().await;
        let (reason, connection) = ends.last().unwrap();
        assert_eq!((reason.as_str(), connection.as_str()), end);
    }
}

/// One node reads the change and another one the deletion, and neither knows of the other when it looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_is_to_decide_about_outlives_a_deletion_of_the_same_moment() {
    for (slow, quick) in [("there", "here"), ("here", "there")] {
        let mut three = Three::knowing(1, &[("here", PROPAGATES), ("there", FOLLOWS)]).await;
        three.stage.rule("description", Policy::Manual);
        three.edit(&three.beyond, "beyond", "2026-11-26T08:30:00Z");
        three.pull("beyond").await;
        three.delete_here(0);
        three.edit(&three.there, "there", LATER_STILL);
        three.stage.pass_hours(1);
        let held = Arc::new(Held::over(Arc::clone(&three.stage.ledger)));
        let node = three.stage.node("slow", Arc::clone(&held) as Arc<dyn Ledger>);
        held.hold(Call::Commit);
        let pulling = tokio::spawn(async move { node.pull(slow, "things", Depth::Changed).await });
        held.called().await;
        three.pull(quick).await;
        held.go_on();
        pulling.await.unwrap().unwrap();
        three.agree().await;
        assert_eq!(three.there.rows()[0]["note"], "there", "{slow}");
        assert_eq!((living(&three.there), living(&three.beyond)), (1, 1), "{slow}");
        assert_eq!(three.record().await.deleted_at, None, "{slow}");
    }
}

/// People change it and delete it, and so does somebody elsewhere; a listing that is behind still shows the change.
#[tokio::test]
async fn what_a_listing_still_shows_is_not_back() {
    let three = Three::knowing(1, &[("here", COUNTS), ("there", COUNTS)]).await;
    let there = three.there.rows()[0]["id"].as_str().unwrap().to_owned();
    three.there.edit(&there, "note", json!("late"));
    three.there.fall_behind();
    three.there.take(&there);
    three.here.edit(&three.ids[0], "deleted", json!(true));
    three.pull("here").await;
    three.push("there").await;
    three.stage.pass_hours(1);
    assert_eq!(three.pull("there").await.counts.outlived, 0);
    assert!(three.stage.partners().await[0].deleted_at.is_some());
}

/// It was last seen by a clock that was ahead; whether it was gone before somebody else changed the partner nobody knows.
#[tokio::test]
async fn what_went_when_a_clock_was_ahead_is_outlived_by_what_was_said_since_its_last_change() {
    let (mut stage, [here, there], [id, made]) = Stage::knowing().await;
    stage.deletes = [("here", COUNTS), ("there", COUNTS)].into();
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    stage.pass_ms(7_200_000);
    there.edit(&made, "note", json!("call back"));
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    stage.pass_ms(-3_600_000);
    there.take(&made);
    engine.census("there", "things", 100).await.unwrap();
    assert!(stage.partners().await[0].deleted_at.is_some());
    // Changed before the moment at which it was found to be gone.
    for _ in 0..3 {
        here.edit(&id, "domain", json!("northwind.example"));
    }
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(stage.partners().await[0].deleted_at, None);
}

/// A page was long on its way; what it shows was seen when it was asked for, and went before it was written down.
#[tokio::test]
async fn what_went_while_a_page_was_on_its_way_is_outlived_by_what_was_said_since_that_was_asked_for() {
    let (mut stage, [here, there], [id, made]) = Stage::knowing().await;
    stage.deletes = [("here", COUNTS), ("there", COUNTS)].into();
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    there.edit(&made, "note", json!("call back"));
    stage.pass_ms(3_000);
    there.forget_calls();
    there.hold_listings();
    let slow = Arc::clone(&engine);
    let pulling = tokio::spawn(async move { slow.pull("there", "things", Depth::Changed).await });
    there.called("GET changes", 1).await;
    there.take(&made);
    stage.pass_ms(600_000);
    there.let_listings();
    pulling.await.unwrap().unwrap();
    engine.census("there", "things", 100).await.unwrap();
    assert!(stage.partners().await[0].deleted_at.is_some());
    for _ in 0..3 {
        here.edit(&id, "domain", json!("northwind.example"));
    }
    engine.pull("here", "things", Depth::Changed).await.unwrap();
    assert_eq!(stage.partners().await[0].deleted_at, None);
}

/// A partner of `here`, which tells no deletion, that was made there, where something is computed of it; deletions count.
async fn computed() -> (Stage, [Shelf; 2], Arc<Engine>, [String; 2]) {
    let (stage, [here, there], [id, made]) = Stage::knowing_as(|stage| {
        stage.deletes = [("here", COUNTS), ("there", COUNTS)].into();
        stage.computes_at = Some("there");
    })
    .await;
    let engine = stage.node("second", Arc::clone(&stage.ledger));
    there.edit(&made, "computed", json!("energy"));
    stage.pass_hours(2);
    engine.pull("there", "things", Depth::Changed).await.unwrap();
    let industry = stage.partners().await[0]
        .fields
        .text("industry")
        .map(str::to_owned);
    assert_eq!(industry.as_deref(), Some("energy"));
    (stage, [here, there], engine, [id, made])
}

#[tokio::test]
async fn what_a_system_makes_of_our_words_is_said_when_they_were() {
    let (stage, [here, there], engine, [id, _]) = computed().await;
    here.take(&id);
    engine.census("here", "things", 100).await.unwrap();
    assert!(stage.partners().await[0].deleted_at.is_some());
    engine.push("there", "things").await.unwrap();
    assert_eq!(living(&there), 0);
}

/// What is said there later is a person's word. Who deletes it after it was counted may have known that, and before may not.
#[tokio::test]
async fn what_was_counted_was_there_when_that_began() {
    for counted in [false, true] {
        let (stage, [here, there], engine, [id, made]) = computed().await;
        for _ in 0..60 {
            there.edit(&made, "computed", json!("water"));
        }
        engine.pull("there", "things", Depth::Changed).await.unwrap();
        if counted {
            let report = engine.census("here", "things", 100).await.unwrap();
            assert_eq!(report.counts.unchanged, 1);
        }
        stage.pass_hours(1);
        here.take(&id);
        let report = engine.census("here", "things", 100).await.unwrap();
        assert_eq!(
            (report.counts.deleted, report.counts.outlived),
            match counted {
                true => (1, 0),
                false => (0, 1),
            }
        );
    }
}
