//! Promises about what persons did.

use model::{ActionId, Kind, RecordId};
use serde_json::json;

use super::make::{as_read, at, deal, link, owe_linked, parked, record_id, write};
use super::stand::Stand;
use crate::{Action, ActionFilter, LedgerError, Link, Parked, ParkedFilter, RecordWrite, SyncCommit};

fn id(number: u32) -> ActionId {
    ActionId::from_uuid(record_id(Kind::Deal, number).uuid)
}

fn action(number: u32, records: &[RecordId]) -> Action {
    Action {
        id: id(number),
        at: at(i64::from(number)),
        by: "ann".into(),
        verb: "merge".into(),
        records: records.to_vec(),
        detail: json!({"kept": "1.50"}),
        undoes: None,
        undone_by: None,
    }
}

fn done(action: Action) -> SyncCommit {
    SyncCommit {
        action: Some(action),
        ..SyncCommit::default()
    }
}

fn about(record: RecordId) -> ActionFilter {
    ActionFilter {
        record: Some(record),
        ..ActionFilter::default()
    }
}

pub(super) async fn what_was_done_is_listed_newest_first(stand: &Stand) {
    let ledger = stand.open().await;
    let (one, two) = (deal(1), deal(2));
    for (number, records) in [(1, vec![one, two]), (2, vec![two]), (3, vec![])] {
        ledger.commit(done(action(number, &records))).await.unwrap();
    }
    let all = ledger.actions(&ActionFilter::default(), 9).await.unwrap();
    assert_eq!(all, [action(3, &[]), action(2, &[two]), action(1, &[one, two])]);
    let of_one = ledger.actions(&about(one), 9).await.unwrap();
    assert_eq!(of_one, [action(1, &[one, two])]);
    let older = ActionFilter {
        before: Some(id(3)),
        ..ActionFilter::default()
    };
    assert_eq!(ledger.actions(&older, 1).await.unwrap(), [action(2, &[two])]);
    let named = ActionFilter {
        id: Some(id(1)),
        ..ActionFilter::default()
    };
    assert_eq!(ledger.actions(&named, 9).await.unwrap(), [action(1, &[one, two])]);
}

pub(super) async fn an_action_is_undone_once(stand: &Stand) {
    let ledger = stand.open().await;
    let undo = |number| Action {
        undoes: Some(id(1)),
        verb: "undo".into(),
        ..action(number, &[deal(1)])
    };
    ledger.commit(done(action(1, &[deal(1)]))).await.unwrap();
    ledger.commit(done(undo(2))).await.unwrap();
    let again = SyncCommit {
        records: vec![write(deal(1), 1)],
        ..done(undo(3))
    };
    let refused = ledger.commit(again).await.unwrap_err();
    assert!(matches!(refused, LedgerError::Undone(undone) if undone == id(1)));
    assert!(ledger.records(&[deal(1)]).await.unwrap().is_empty());
    let undone = Action {
        undone_by: Some(id(2)),
        ..action(1, &[deal(1)])
    };
    let told = ledger.actions(&ActionFilter::default(), 9).await.unwrap();
    assert_eq!(told, [undo(2), undone]);
}

pub(super) async fn what_a_refused_commit_did_is_not_in_the_journal(stand: &Stand) {
    let ledger = stand.open().await;
    let stale = SyncCommit {
        records: vec![write(deal(1), 5)],
        ..done(action(1, &[deal(1)]))
    };
    assert!(matches!(ledger.commit(stale).await, Err(LedgerError::Stale(_))));
    assert!(
        ledger
            .actions(&ActionFilter::default(), 9)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(super) async fn a_record_that_was_merged_away_is_still_found_by_its_keys(stand: &Stand) {
    let ledger = stand.open().await;
    let gone = |number, into: Option<RecordId>| {
        let mut write = write(deal(number), 1);
        write.record.deleted_at = Some(at(3));
        write.record.merged_into = into;
        write
    };
    let commit = SyncCommit {
        records: vec![write(deal(1), 1), gone(2, Some(deal(1))), gone(3, None)],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    let shared = [model::MatchKey("shared".into())];
    let found = ledger.matching(Kind::Deal, &shared).await.unwrap();
    let found: Vec<RecordId> = found.into_iter().map(|(_, record)| record).collect();
    assert_eq!(found, [deal(1), deal(2)]);
    let read = ledger.records(&[deal(2)]).await.unwrap();
    assert_eq!(read, [gone(2, Some(deal(1))).record]);
    // It is its own again.
    let back = RecordWrite {
        read_version: 1,
        ..write(deal(2), 2)
    };
    let commit = SyncCommit {
        records: vec![back.clone()],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    assert_eq!(ledger.records(&[deal(2)]).await.unwrap(), [back.record]);
}

pub(super) async fn a_link_that_is_forgotten_is_nobodys(stand: &Stand) {
    let ledger = stand.open().await;
    let commit = SyncCommit {
        records: vec![write(deal(1), 1), write(deal(2), 1)],
        links: vec![
            link("sf", "1", deal(1)),
            link("hs", "1", deal(1)),
            link("sf", "2", deal(2)),
        ],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    let place = |id: &str| ("sf".to_owned(), "deals".to_owned(), id.to_owned());
    let commit = SyncCommit {
        forgotten: vec![place("1"), place("2"), place("3")],
        // Forgotten and said again in one commit is there.
        links: vec![link("sf", "2", deal(2))],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    assert_eq!(
        ledger.links(&[deal(1)]).await.unwrap(),
        [as_read(&link("hs", "1", deal(1)))]
    );
    assert_eq!(
        ledger.links(&[deal(2)]).await.unwrap(),
        [as_read(&link("sf", "2", deal(2)))]
    );
}

pub(super) async fn what_is_ignored_is_not_asked_for_nor_owed(stand: &Stand) {
    let ledger = stand.open().await;
    let ignored = Link {
        ignored: true,
        ..link("sf", "2", deal(2))
    };
    let undecided = Parked {
        records: vec![deal(1), deal(2)],
        ..parked("3", true, 1, None)
    };
    let commit = SyncCommit {
        records: vec![write(deal(1), 1), write(deal(2), 1)],
        links: vec![link("sf", "1", deal(1)), ignored.clone()],
        parked: vec![undecided.clone()],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    assert_eq!(ledger.linked_ids("sf", "deals", None, 9).await.unwrap(), ["1"]);
    owe_linked(&*ledger, "sf", "deals").await;
    let owed = ledger.all_pushes("sf", "deals", None, 9).await.unwrap();
    assert_eq!(owed.iter().map(|push| push.record).collect::<Vec<_>>(), [deal(1)]);
    assert_eq!(ledger.links(&[deal(2)]).await.unwrap(), [as_read(&ignored)]);
    assert_eq!(
        ledger.parked(&ParkedFilter::default(), 9).await.unwrap(),
        [undecided]
    );
}
