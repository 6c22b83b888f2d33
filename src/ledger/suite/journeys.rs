//! Promises about where records went.

use super::make::{at, deal, event, event_id, mark, run_id};
use super::stand::Stand;
use crate::{Ledger, PushOutcome, Pushed, SyncCommit};

fn pushed(record: u32, connection: &str, version: u64, second: i64, outcome: PushOutcome) -> Pushed {
    Pushed {
        record: deal(record),
        version,
        connection: connection.into(),
        object: "deals".into(),
        external_id: "006".into(),
        at: at(second),
        run: run_id(1),
        outcome,
        detail: if outcome == PushOutcome::Refused {
            "é".into()
        } else {
            String::new()
        },
    }
}

async fn commit(ledger: &dyn Ledger, pushed: Vec<Pushed>) {
    let commit = SyncCommit {
        pushed,
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
}

pub(super) async fn what_became_of_writes_is_told_oldest_first(stand: &Stand) {
    let ledger = stand.open().await;
    let all = [
        pushed(1, "sf", 1, 1, PushOutcome::Created),
        pushed(1, "hs", 2, 2, PushOutcome::Refused),
        pushed(1, "sf", 2, 2, PushOutcome::Unheard),
        pushed(1, "sf", 3, 3, PushOutcome::Written),
    ];
    commit(&*ledger, all[2..].to_vec()).await;
    commit(
        &*ledger,
        vec![
            all[1].clone(),
            all[0].clone(),
            pushed(2, "sf", 1, 1, PushOutcome::Gone),
            pushed(2, "hs", 2, 2, PushOutcome::Deleted),
        ],
    )
    .await;
    assert_eq!(ledger.pushed(deal(1), 9).await.unwrap(), all);
    assert_eq!(ledger.pushed(deal(1), 2).await.unwrap(), all[2..]);
    let outcomes = ledger.pushed(deal(2), 9).await.unwrap().into_iter();
    let outcomes: Vec<PushOutcome> = outcomes.map(|pushed| pushed.outcome).collect();
    assert_eq!(outcomes, [PushOutcome::Gone, PushOutcome::Deleted]);
    assert!(ledger.pushed(deal(3), 9).await.unwrap().is_empty());
    // Told again at the same moment, it is the same write.
    commit(&*ledger, vec![pushed(1, "sf", 4, 3, PushOutcome::Written)]).await;
    let last = ledger.pushed(deal(1), 1).await.unwrap();
    assert_eq!((last.len(), last[0].version), (1, 4));
    assert_eq!(ledger.pushed(deal(1), 9).await.unwrap().len(), 4);
}

pub(super) async fn what_a_record_is_owed_to_is_told(stand: &Stand) {
    let ledger = stand.open().await;
    let marks = vec![
        mark("sf", deal(1), 5),
        mark("hs", deal(1), 90),
        mark("hs", deal(2), 1),
    ];
    let commit = SyncCommit {
        marks,
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    let owed = ledger.owed_of(deal(1)).await.unwrap();
    let owed: Vec<_> = owed
        .iter()
        .map(|push| (push.connection.as_str(), push.due_at))
        .collect();
    assert_eq!(owed, [("hs", at(90)), ("sf", at(5))]);
    assert!(ledger.owed_of(deal(3)).await.unwrap().is_empty());
}

pub(super) async fn an_event_is_found_by_what_its_source_calls_it(stand: &Stand) {
    let ledger = stand.open().await;
    ledger
        .accept(vec![event(1, &["bolt"]), event(2, &[])])
        .await
        .unwrap();
    assert_eq!(
        ledger.event_named("acme", "msg-2").await.unwrap(),
        Some(event_id(2))
    );
    assert_eq!(ledger.event_named("acme", "msg-3").await.unwrap(), None);
    assert_eq!(ledger.event_named("other", "msg-2").await.unwrap(), None);
}
