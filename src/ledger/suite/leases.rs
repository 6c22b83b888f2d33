//! Promises about leases.

use futures_util::future::join_all;

use super::make::at;
use super::stand::Stand;

pub(super) async fn a_lease_has_one_owner_at_a_time(stand: &Stand) {
    let ledger = stand.open().await;
    let first = ledger
        .lease("Pull/sf", "a", at(0), at(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ledger.lease("Pull/sf", "b", at(9), at(20)).await.unwrap(), None);
    assert!(
        ledger
            .lease("Pull/hubspot", "b", at(9), at(20))
            .await
            .unwrap()
            .is_some()
    );
    let second = ledger
        .lease("Pull/sf", "b", at(10), at(20))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((first.token, second.token), (1, 2));
    assert_eq!(second.key, "Pull/sf");
}

pub(super) async fn of_many_who_ask_at_once_one_gets_the_lease(stand: &Stand) {
    let ledger = stand.open().await;
    for round in 0..5 {
        let asked = (0..32).map(|n| {
            let ledger = ledger.clone();
            let now = at(round * 10);
            tokio::spawn(async move { ledger.lease("k", &n.to_string(), now, at(round * 10 + 10)).await })
        });
        let answers = join_all(asked).await;
        let owners: Vec<_> = answers
            .into_iter()
            .filter_map(|answer| answer.unwrap().unwrap())
            .collect();
        assert_eq!(owners.len(), 1);
        assert_eq!(owners[0].token, u64::try_from(round).unwrap() + 1);
    }
}

pub(super) async fn a_lease_that_is_kept_stays(stand: &Stand) {
    let ledger = stand.open().await;
    let lease = ledger.lease("k", "a", at(0), at(10)).await.unwrap().unwrap();
    assert!(ledger.renew(&lease, at(30)).await.unwrap());
    assert_eq!(ledger.lease("k", "b", at(20), at(40)).await.unwrap(), None);
    assert!(ledger.lease("k", "b", at(30), at(40)).await.unwrap().is_some());
}

pub(super) async fn a_lease_is_held_until_it_is_over_or_given_back(stand: &Stand) {
    let ledger = stand.open().await;
    assert!(!ledger.is_leased("k", at(0)).await.unwrap());
    let lease = ledger.lease("k", "a", at(0), at(10)).await.unwrap().unwrap();
    assert!(ledger.is_leased("k", at(9)).await.unwrap());
    assert!(!ledger.is_leased("k", at(10)).await.unwrap());
    assert!(!ledger.is_leased("other", at(9)).await.unwrap());
    ledger.release(&lease).await.unwrap();
    assert!(!ledger.is_leased("k", at(9)).await.unwrap());
}

pub(super) async fn a_lost_lease_can_neither_be_kept_nor_given_back(stand: &Stand) {
    let ledger = stand.open().await;
    let lost = ledger.lease("k", "a", at(0), at(10)).await.unwrap().unwrap();
    let owned = ledger.lease("k", "b", at(10), at(20)).await.unwrap().unwrap();
    assert!(!ledger.renew(&lost, at(99)).await.unwrap());
    ledger.release(&lost).await.unwrap();
    assert_eq!(ledger.lease("k", "c", at(19), at(30)).await.unwrap(), None);
    assert!(ledger.renew(&owned, at(25)).await.unwrap());
}

pub(super) async fn a_lease_that_was_given_back_is_free_and_lost(stand: &Stand) {
    let ledger = stand.open().await;
    let lease = ledger.lease("k", "a", at(0), at(10)).await.unwrap().unwrap();
    ledger.release(&lease).await.unwrap();
    assert!(!ledger.renew(&lease, at(20)).await.unwrap());
    let next = ledger.lease("k", "b", at(0), at(10)).await.unwrap().unwrap();
    assert!(next.token > lease.token);
}

pub(super) async fn tokens_survive_a_restart(stand: &Stand) {
    let ledger = stand.open().await;
    let before = ledger.lease("k", "a", at(0), at(10)).await.unwrap().unwrap();
    drop(ledger);
    let ledger = stand.open().await;
    assert_eq!(ledger.lease("k", "b", at(5), at(20)).await.unwrap(), None);
    let after = ledger.lease("k", "b", at(10), at(20)).await.unwrap().unwrap();
    assert!(after.token > before.token);
}
