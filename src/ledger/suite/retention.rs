//! What was kept for long enough is removed.

use super::make::{at, attempt, event, event_id, lined};
use super::stand::Stand;
use crate::{EventPlace, Forgotten, Lease, Ledger, LedgerError, Next, OldEvents};

async fn lease(ledger: &dyn Ledger) -> Lease {
    ledger
        .lease("forget", "me", at(1), at(30))
        .await
        .unwrap()
        .unwrap()
}

/// Numbers of the events that are there, of 1 to 8.
async fn left(ledger: &dyn Ledger) -> Vec<u32> {
    let mut left = Vec::new();
    for number in 1..=8 {
        if ledger.event(event_id(number)).await.unwrap().is_some() {
            left.push(number);
        }
    }
    left
}

async fn count(ledger: &dyn Ledger, table: &str) -> u64 {
    let rows = ledger.row_counts().await.unwrap();
    rows.iter().find(|(name, _)| name == table).unwrap().1
}

/// 1 arrived, 2 is dead at one of two, 3 is for nobody, 4 is due, 5 waits for a try, 6 arrived, 7 is held behind 5, 8 arrived.
async fn mixed(ledger: &dyn Ledger) {
    let events = vec![
        event(1, &["bolt"]),
        event(2, &["bolt", "acme"]),
        event(3, &[]),
        event(4, &["bolt"]),
        lined(5, &["bolt"], "x"),
        event(6, &["bolt"]),
        lined(7, &["bolt"], "x"),
        event(8, &["bolt"]),
    ];
    ledger.accept(events).await.unwrap();
    let ends = vec![
        attempt(1, "bolt", 1, 20, Next::Delivered),
        attempt(2, "bolt", 1, 20, Next::Delivered),
        attempt(2, "acme", 1, 20, Next::Retry(at(21))),
        attempt(2, "acme", 2, 21, Next::Dead),
        attempt(5, "bolt", 1, 20, Next::Retry(at(900))),
        attempt(6, "bolt", 1, 20, Next::Delivered),
        attempt(8, "bolt", 1, 20, Next::Delivered),
    ];
    for end in ends {
        ledger.settle(None, vec![end]).await.unwrap();
    }
}

fn old(arrived: Option<i64>, dead: Option<i64>) -> OldEvents {
    OldEvents {
        arrived_before: arrived.map(at),
        dead_before: dead.map(at),
    }
}

async fn forget_all(ledger: &dyn Ledger, lease: &Lease, old: &OldEvents, limit: usize) -> (u64, usize) {
    let (mut place, mut removed, mut bites) = (EventPlace::default(), 0, 0);
    loop {
        let bite = ledger.forget_events(lease, old, place, limit).await.unwrap();
        removed += bite.removed;
        bites += 1;
        match bite.next {
            Some(next) => place = next,
            None => return (removed, bites),
        }
    }
}

pub(super) async fn what_arrived_long_ago_is_removed_and_nothing_that_is_on_its_way(stand: &Stand) {
    let ledger = stand.open().await;
    mixed(&*ledger).await;
    let mine = lease(&*ledger).await;
    assert_eq!(forget_all(&*ledger, &mine, &old(None, None), 9).await.0, 0);
    assert_eq!(forget_all(&*ledger, &mine, &old(Some(8), None), 9).await.0, 3);
    assert_eq!(left(&*ledger).await, [2, 4, 5, 7, 8], "8 is too young");
    assert_eq!(
        (
            count(&*ledger, "deliveries").await,
            count(&*ledger, "attempts").await
        ),
        (6, 5)
    );
    assert_eq!(forget_all(&*ledger, &mine, &old(None, Some(3)), 9).await.0, 1);
    assert_eq!(left(&*ledger).await, [4, 5, 7, 8]);
    assert_eq!(
        (
            count(&*ledger, "deliveries").await,
            count(&*ledger, "attempts").await
        ),
        (4, 2)
    );
    // What was removed may be said anew.
    ledger.accept(vec![event(1, &["bolt"])]).await.unwrap();
    assert_eq!(left(&*ledger).await, [1, 4, 5, 7, 8]);
}

pub(super) async fn it_is_done_in_bites_and_stops_at_what_is_younger(stand: &Stand) {
    let ledger = stand.open().await;
    mixed(&*ledger).await;
    let mine = lease(&*ledger).await;
    let all = old(Some(7), Some(7));
    let first = ledger
        .forget_events(&mine, &all, EventPlace::default(), 2)
        .await
        .unwrap();
    assert_eq!(first.removed, 2);
    let second = ledger
        .forget_events(&mine, &all, first.next.unwrap(), 2)
        .await
        .unwrap();
    assert_eq!((second.removed, second.next.is_some()), (1, true), "4 is due");
    assert_eq!(
        forget_all(&*ledger, &mine, &all, 2).await,
        (1, 2),
        "6; 7 is younger"
    );
    assert_eq!(left(&*ledger).await, [4, 5, 7, 8]);
}

pub(super) async fn who_lost_the_lease_removes_nothing(stand: &Stand) {
    let ledger = stand.open().await;
    mixed(&*ledger).await;
    let lost = lease(&*ledger).await;
    ledger.release(&lost).await.unwrap();
    let told = ledger
        .forget_events(&lost, &old(Some(99), Some(99)), EventPlace::default(), 9)
        .await;
    assert!(matches!(told, Err(LedgerError::LeaseLost(_))), "{told:?}");
    assert_eq!(left(&*ledger).await.len(), 8);
    let nothing = ledger
        .forget_events(&lost, &old(Some(1), None), EventPlace::default(), 9)
        .await;
    assert_eq!(nothing.unwrap(), Forgotten::default());
}
