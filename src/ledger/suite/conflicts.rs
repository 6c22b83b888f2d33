//! Promises about conflicts.

use model::{ConflictId, Kind};
use serde_json::json;

use super::make::{at, conflict, deal, record_id};
use super::stand::Stand;
use crate::{Conflict, ConflictFilter, ConflictState, Ledger, LedgerError, SyncCommit};

async fn commit(ledger: &dyn Ledger, conflicts: Vec<Conflict>) -> Result<(), LedgerError> {
    let commit = SyncCommit {
        conflicts,
        ..SyncCommit::default()
    };
    ledger.commit(commit).await
}

async fn listed(ledger: &dyn Ledger, filter: &ConflictFilter) -> Vec<Conflict> {
    let listed = ledger.list_conflicts(filter, None, 100).await.unwrap();
    let counted = ledger.count_conflicts(filter).await.unwrap();
    assert_eq!(u64::try_from(listed.len()).unwrap(), counted, "{filter:?}");
    listed
}

/// A person's decision.
fn resolved(open: &Conflict) -> Conflict {
    Conflict {
        kept: json!({"n": 7}),
        winner: "theirs".into(),
        state: ConflictState::Resolved,
        closed_at: Some(at(99)),
        closed_by: "Åsa".into(),
        ..open.clone()
    }
}

pub(super) async fn conflicts_read_back_as_written(stand: &Stand) {
    let ledger = stand.open().await;
    let bare = Conflict {
        theirs_at: None,
        run: None,
        trace: String::new(),
        ..conflict(deal(1), 1, false)
    };
    let written = vec![
        bare,
        conflict(deal(1), 2, true),
        resolved(&conflict(deal(2), 3, true)),
    ];
    commit(&*ledger, written.clone()).await.unwrap();
    assert_eq!(listed(&*ledger, &ConflictFilter::default()).await, written);
}

pub(super) async fn an_open_conflict_is_replaced_and_a_closed_one_is_not(stand: &Stand) {
    let ledger = stand.open().await;
    let open = conflict(deal(1), 1, true);
    commit(&*ledger, vec![open.clone()]).await.unwrap();
    let moved_on = Conflict {
        theirs: json!("newer"),
        revision: 2,
        ..open.clone()
    };
    commit(&*ledger, vec![moved_on.clone()]).await.unwrap();
    let all = ConflictFilter::default();
    assert_eq!(listed(&*ledger, &all).await, [moved_on]);
    // Decided by one, found once more by another that had read it while it was open.
    commit(&*ledger, vec![resolved(&open)]).await.unwrap();
    let late = commit(&*ledger, vec![open.clone()]).await;
    assert!(
        matches!(&late, Err(LedgerError::Stale(ids)) if *ids == [deal(1)]),
        "{late:?}"
    );
    assert_eq!(listed(&*ledger, &all).await, [resolved(&open)]);
    // Once it is closed, the same two sides may disagree again.
    commit(&*ledger, vec![conflict(deal(1), 2, true)]).await.unwrap();
}

pub(super) async fn of_two_open_conflicts_about_the_same_one_stays(stand: &Stand) {
    let ledger = stand.open().await;
    let first = conflict(deal(1), 2, true);
    let elsewhere = Conflict {
        connection: "hs".into(),
        ..conflict(deal(1), 3, true)
    };
    let another_object = Conflict {
        object: "orders".into(),
        ..conflict(deal(1), 4, true)
    };
    let all = vec![first.clone(), elsewhere, another_object];
    commit(&*ledger, all.clone()).await.unwrap();
    // Whatever else the commit has is not written either.
    let second = conflict(deal(1), 1, true);
    let refused = commit(&*ledger, vec![conflict(deal(2), 9, true), second.clone()]).await;
    assert!(
        matches!(&refused, Err(LedgerError::Stale(ids)) if *ids == [deal(1)]),
        "{refused:?}"
    );
    assert_eq!(listed(&*ledger, &ConflictFilter::default()).await, all);
    // One may take the other's place, whichever id is the older.
    commit(&*ledger, vec![second, resolved(&first)]).await.unwrap();
}

pub(super) async fn conflicts_are_listed_oldest_first_page_by_page(stand: &Stand) {
    let ledger = stand.open().await;
    let lead = record_id(Kind::Lead, 1);
    let stage = Conflict {
        path: "stage".into(),
        ..conflict(deal(1), 4, true)
    };
    let hs = Conflict {
        connection: "hs".into(),
        ..conflict(deal(2), 1, true)
    };
    let all = [
        hs.clone(),
        conflict(deal(1), 2, false),
        conflict(lead, 3, true),
        stage.clone(),
        conflict(deal(1), 5, true),
    ];
    commit(&*ledger, all.iter().rev().cloned().collect())
        .await
        .unwrap();
    let mut pages: Vec<Vec<ConflictId>> = Vec::new();
    loop {
        let after = pages.last().and_then(|page| page.last()).copied();
        let page = ledger
            .list_conflicts(&ConflictFilter::default(), after, 2)
            .await
            .unwrap();
        if page.is_empty() {
            break;
        }
        pages.push(page.into_iter().map(|found| found.id).collect());
    }
    let ids: Vec<ConflictId> = all.iter().map(|found| found.id).collect();
    assert_eq!(pages, [&ids[..2], &ids[2..4], &ids[4..]]);

    let none = ConflictFilter::default();
    for (filter, expected) in [
        (
            ConflictFilter {
                state: Some(ConflictState::Open),
                ..none.clone()
            },
            vec![0, 2, 3, 4],
        ),
        (
            ConflictFilter {
                kind: Some(Kind::Lead),
                ..none.clone()
            },
            vec![2],
        ),
        (
            ConflictFilter {
                record: Some(deal(1)),
                ..none.clone()
            },
            vec![1, 3, 4],
        ),
        (
            ConflictFilter {
                connection: Some("hs".into()),
                ..none.clone()
            },
            vec![0],
        ),
        (
            ConflictFilter {
                path: Some("stage".into()),
                ..none.clone()
            },
            vec![3],
        ),
        (
            ConflictFilter {
                ids: vec![ids[4], ids[1]],
                ..none.clone()
            },
            vec![1, 4],
        ),
        (
            ConflictFilter {
                record: Some(deal(1)),
                state: Some(ConflictState::Open),
                path: Some("name".into()),
                ..none
            },
            vec![4],
        ),
    ] {
        let found: Vec<ConflictId> = listed(&*ledger, &filter)
            .await
            .iter()
            .map(|found| found.id)
            .collect();
        let expected: Vec<ConflictId> = expected.into_iter().map(|n: usize| ids[n]).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

pub(super) async fn the_open_conflicts_of_records_are_told(stand: &Stand) {
    let ledger = stand.open().await;
    assert!(ledger.open_conflicts(&[deal(1)]).await.unwrap().is_empty());
    let (mine, closed, other) = (
        conflict(deal(1), 1, true),
        conflict(deal(1), 2, false),
        conflict(deal(2), 3, true),
    );
    commit(&*ledger, vec![mine.clone(), closed, other]).await.unwrap();
    let asked = [deal(3), deal(1), record_id(Kind::Lead, 2)];
    assert_eq!(ledger.open_conflicts(&asked).await.unwrap(), [mine]);
    assert!(ledger.open_conflicts(&[]).await.unwrap().is_empty());
}
