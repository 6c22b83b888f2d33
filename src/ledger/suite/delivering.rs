//! Promises about deliveries, attempts and refusals.

use model::DeliveryId;

use super::make::{at, attempt, delivery_id, event, event_id, refusal};
use super::stand::Stand;
use crate::{Attempt, DeliveryFilter, DeliveryState, Ledger, LedgerError, Next, REFUSALS_MAX};

/// Takes in events of these numbers, in this order, each for one endpoint.
async fn accept(ledger: &dyn Ledger, endpoint: &str, numbers: &[u32]) {
    let events = numbers.iter().map(|number| event(*number, &[endpoint])).collect();
    ledger.accept(events).await.unwrap();
}

async fn settle(ledger: &dyn Ledger, attempts: Vec<Attempt>) {
    ledger.settle(None, attempts).await.unwrap();
}

async fn due(ledger: &dyn Ledger, endpoint: &str, second: i64, limit: usize) -> Vec<DeliveryId> {
    let due = ledger.due(endpoint, at(second), limit).await.unwrap();
    due.into_iter().map(|due| due.delivery).collect()
}

fn ids(numbers: &[u32]) -> Vec<DeliveryId> {
    numbers
        .iter()
        .map(|number| delivery_id(*number, "bolt"))
        .collect()
}

pub(super) async fn deliveries_are_due_at_once_in_the_order_of_acceptance(stand: &Stand) {
    let ledger = stand.open().await;
    // The order of acceptance is neither that of ids nor that of moments.
    accept(&*ledger, "bolt", &[7, 3]).await;
    accept(&*ledger, "acme", &[1]).await;
    accept(&*ledger, "bolt", &[5]).await;
    assert_eq!(due(&*ledger, "bolt", 10, 9).await, ids(&[7, 3, 5]));
    assert_eq!(due(&*ledger, "bolt", 10, 2).await, ids(&[7, 3]));
    // Due from the moment at which it was received, not before.
    assert_eq!(due(&*ledger, "bolt", 5, 9).await, ids(&[3, 5]));
    assert_eq!(due(&*ledger, "nobody", 10, 9).await, []);

    let first = ledger.due("bolt", at(10), 1).await.unwrap().remove(0);
    let sent = event(7, &["bolt"]);
    assert_eq!(
        (first.event, first.event_type, first.source),
        (sent.id, sent.event_type, sent.source)
    );
    assert_eq!(
        (first.body, first.received_at, first.trace),
        (sent.body, sent.received_at, sent.trace)
    );
    assert_eq!(first.attempts, 0);
}

pub(super) async fn what_is_tried_again_keeps_its_place(stand: &Stand) {
    let ledger = stand.open().await;
    accept(&*ledger, "bolt", &[1, 2, 3, 4]).await;
    let retries = [(2, 60), (1, 50), (4, 55)];
    let attempts = retries.map(|(n, second)| attempt(n, "bolt", 1, 10, Next::Retry(at(second))));
    settle(&*ledger, attempts.to_vec()).await;
    assert_eq!(due(&*ledger, "bolt", 49, 9).await, ids(&[3]));
    assert_eq!(due(&*ledger, "bolt", 50, 9).await, ids(&[1, 3]));
    assert_eq!(due(&*ledger, "bolt", 55, 9).await, ids(&[1, 3, 4]));
    accept(&*ledger, "bolt", &[5]).await;
    assert_eq!(due(&*ledger, "bolt", 60, 9).await, ids(&[1, 2, 3, 4, 5]));
    assert_eq!(due(&*ledger, "bolt", 60, 3).await, ids(&[1, 2, 3]));
    assert_eq!(ledger.due("bolt", at(60), 1).await.unwrap()[0].attempts, 1);
}

pub(super) async fn what_arrived_or_died_is_not_due(stand: &Stand) {
    let ledger = stand.open().await;
    accept(&*ledger, "bolt", &[1, 2, 3]).await;
    let arrived = attempt(1, "bolt", 1, 10, Next::Delivered);
    let failed = attempt(2, "bolt", 1, 10, Next::Retry(at(20)));
    let died = Attempt {
        status: None,
        error: "connection refused".into(),
        ..attempt(2, "bolt", 2, 20, Next::Dead)
    };
    settle(&*ledger, vec![arrived.clone(), failed.clone(), died.clone()]).await;
    assert_eq!(due(&*ledger, "bolt", 99, 9).await, ids(&[3]));
    assert_eq!(ledger.attempts(arrived.delivery).await.unwrap(), [arrived]);
    assert_eq!(ledger.attempts(died.delivery).await.unwrap(), [failed, died]);

    let listed = ledger
        .list_deliveries(&DeliveryFilter::default(), None, 9)
        .await
        .unwrap();
    let states: Vec<_> = listed
        .iter()
        .map(|one| (one.state, one.attempts, one.last_status))
        .collect();
    let expected = [
        (DeliveryState::Due, 0, None),
        (DeliveryState::Dead, 2, None),
        (DeliveryState::Delivered, 1, Some(200)),
    ];
    assert_eq!(states, expected);
    assert_eq!(listed[1].last_error, "connection refused");
    let moments: Vec<_> = listed.iter().map(|one| one.next_at).collect();
    assert_eq!(moments, [Some(at(3)), None, None]);
}

pub(super) async fn an_attempt_is_written_down_once(stand: &Stand) {
    let ledger = stand.open().await;
    accept(&*ledger, "bolt", &[1]).await;
    let tried = attempt(1, "bolt", 1, 10, Next::Retry(at(20)));
    settle(&*ledger, vec![tried.clone()]).await;
    settle(&*ledger, vec![tried.clone()]).await;
    assert_eq!(ledger.attempts(tried.delivery).await.unwrap(), [tried]);
}

pub(super) async fn what_arrived_stays_so(stand: &Stand) {
    let ledger = stand.open().await;
    accept(&*ledger, "bolt", &[1, 2]).await;
    settle(&*ledger, vec![attempt(1, "bolt", 1, 10, Next::Delivered)]).await;
    let late = attempt(1, "bolt", 2, 11, Next::Retry(at(12)));
    let together = [Next::Delivered, Next::Dead].map(|next| attempt(2, "bolt", 1, 12, next));
    settle(
        &*ledger,
        vec![late.clone(), together[0].clone(), together[1].clone()],
    )
    .await;
    assert_eq!(due(&*ledger, "bolt", 99, 9).await, []);
    assert_eq!(ledger.attempts(late.delivery).await.unwrap().len(), 2);
    let listed = ledger
        .list_deliveries(&DeliveryFilter::default(), None, 9)
        .await
        .unwrap();
    assert!(listed.iter().all(|one| one.state == DeliveryState::Delivered));
}

pub(super) async fn attempts_of_unknown_deliveries_are_left_out(stand: &Stand) {
    let ledger = stand.open().await;
    accept(&*ledger, "bolt", &[1]).await;
    let unknown = attempt(2, "bolt", 1, 10, Next::Delivered);
    settle(
        &*ledger,
        vec![unknown.clone(), attempt(1, "bolt", 1, 10, Next::Delivered)],
    )
    .await;
    settle(&*ledger, vec![]).await;
    assert_eq!(ledger.attempts(unknown.delivery).await.unwrap(), []);
    assert_eq!(due(&*ledger, "bolt", 99, 9).await, []);
}

pub(super) async fn settling_with_a_lost_lease_writes_nothing(stand: &Stand) {
    let ledger = stand.open().await;
    accept(&*ledger, "bolt", &[1, 2]).await;
    let lost = ledger
        .lease("Deliver/bolt", "a", at(0), at(10))
        .await
        .unwrap()
        .unwrap();
    let owned = ledger
        .lease("Deliver/bolt", "b", at(10), at(20))
        .await
        .unwrap()
        .unwrap();
    let (one, other) = (
        attempt(1, "bolt", 1, 10, Next::Delivered),
        attempt(2, "bolt", 1, 10, Next::Delivered),
    );
    // Both at once, so that they may share a group.
    let (late, right) = tokio::join!(
        ledger.settle(Some(&lost), vec![one.clone()]),
        ledger.settle(Some(&owned), vec![other])
    );
    assert!(matches!(late, Err(LedgerError::LeaseLost(key)) if key == "Deliver/bolt"));
    right.unwrap();
    assert_eq!(due(&*ledger, "bolt", 99, 9).await, ids(&[1]));
    assert_eq!(ledger.attempts(one.delivery).await.unwrap(), []);
}

pub(super) async fn endpoints_are_told_with_their_first_moment(stand: &Stand) {
    let ledger = stand.open().await;
    assert_eq!(ledger.endpoints_due().await.unwrap(), []);
    accept(&*ledger, "bolt", &[5, 6]).await;
    accept(&*ledger, "acme", &[9]).await;
    accept(&*ledger, "zeta", &[1]).await;
    let (acme, bolt, zeta) = ("acme".to_owned(), "bolt".to_owned(), "zeta".to_owned());
    let told = [
        (zeta.clone(), at(1)),
        (bolt.clone(), at(5)),
        (acme.clone(), at(9)),
    ];
    assert_eq!(ledger.endpoints_due().await.unwrap(), told);

    let retried = attempt(5, "bolt", 1, 10, Next::Retry(at(50)));
    settle(
        &*ledger,
        vec![retried, attempt(1, "zeta", 1, 10, Next::Retry(at(40)))],
    )
    .await;
    let told = [(bolt.clone(), at(6)), (acme, at(9)), (zeta.clone(), at(40))];
    assert_eq!(ledger.endpoints_due().await.unwrap(), told);

    let ends = [
        attempt(6, "bolt", 1, 11, Next::Delivered),
        attempt(9, "acme", 1, 11, Next::Dead),
    ];
    settle(&*ledger, ends.to_vec()).await;
    assert_eq!(
        ledger.endpoints_due().await.unwrap(),
        [(zeta, at(40)), (bolt, at(50))]
    );
}

pub(super) async fn deliveries_are_retried_by_what_is_asked(stand: &Stand) {
    let ledger = stand.open().await;
    accept(&*ledger, "bolt", &[1, 2, 3, 4]).await;
    accept(&*ledger, "acme", &[5]).await;
    let dead = [1, 2, 4].map(|n| attempt(n, "bolt", 3, 10, Next::Dead));
    settle(&*ledger, dead.to_vec()).await;
    settle(&*ledger, vec![attempt(3, "bolt", 1, 10, Next::Delivered)]).await;
    settle(&*ledger, vec![attempt(5, "acme", 1, 10, Next::Dead)]).await;

    let dead_of_bolt = DeliveryFilter {
        endpoint: Some("bolt".into()),
        state: Some(DeliveryState::Dead),
        ..DeliveryFilter::default()
    };
    let since = DeliveryFilter {
        since: Some(at(2)),
        ..dead_of_bolt.clone()
    };
    assert_eq!(ledger.retry(&since, at(100)).await.unwrap(), 2);
    assert_eq!(due(&*ledger, "bolt", 99, 9).await, []);
    assert_eq!(due(&*ledger, "bolt", 100, 9).await, ids(&[2, 4]));
    assert_eq!(ledger.due("bolt", at(100), 1).await.unwrap()[0].attempts, 0);
    assert_eq!(ledger.retry(&dead_of_bolt, at(50)).await.unwrap(), 1);
    assert_eq!(due(&*ledger, "bolt", 99, 9).await, ids(&[1]));
    // What arrived stays; what waits is moved.
    let by_id = DeliveryFilter {
        ids: vec![
            delivery_id(3, "bolt"),
            delivery_id(4, "bolt"),
            delivery_id(99, "bolt"),
        ],
        ..DeliveryFilter::default()
    };
    assert_eq!(ledger.retry(&by_id, at(60)).await.unwrap(), 1);
    assert_eq!(due(&*ledger, "bolt", 99, 9).await, ids(&[1, 4]));
    // The history stays; what is tried again counts from 1.
    let second = attempt(4, "bolt", 1, 101, Next::Delivered);
    settle(&*ledger, vec![second.clone()]).await;
    assert_eq!(
        ledger.attempts(second.delivery).await.unwrap(),
        [dead[2].clone(), second]
    );
    let not_to_bolt = DeliveryFilter {
        not_to: vec!["bolt".into()],
        ..DeliveryFilter::default()
    };
    assert_eq!(ledger.retry(&not_to_bolt, at(0)).await.unwrap(), 1);
    assert_eq!(ledger.retry(&DeliveryFilter::default(), at(0)).await.unwrap(), 3);
}

pub(super) async fn deliveries_are_listed_newest_first(stand: &Stand) {
    let ledger = stand.open().await;
    accept(&*ledger, "bolt", &[1, 2, 3]).await;
    accept(&*ledger, "acme", &[4]).await;
    settle(&*ledger, vec![attempt(2, "bolt", 1, 10, Next::Dead)]).await;
    let list = |filter: DeliveryFilter, after, limit| {
        let ledger = ledger.clone();
        async move {
            let listed = ledger.list_deliveries(&filter, after, limit).await.unwrap();
            listed.into_iter().map(|one| one.event).collect::<Vec<_>>()
        }
    };
    let any = DeliveryFilter::default();
    let numbers = |numbers: &[u32]| numbers.iter().map(|n| event_id(*n)).collect::<Vec<_>>();
    assert_eq!(list(any.clone(), None, 2).await, numbers(&[4, 3]));
    assert_eq!(
        list(any.clone(), Some(delivery_id(3, "bolt")), 9).await,
        numbers(&[2, 1])
    );
    let of_bolt = DeliveryFilter {
        endpoint: Some("bolt".into()),
        since: Some(at(2)),
        ..any.clone()
    };
    assert_eq!(list(of_bolt.clone(), None, 9).await, numbers(&[3, 2]));
    let due = DeliveryFilter {
        state: Some(DeliveryState::Due),
        ..of_bolt
    };
    assert_eq!(list(due, None, 9).await, numbers(&[3]));
    for (not_to, listed) in [(vec!["bolt"], vec![4]), (vec!["zeta", "acme"], vec![3, 2, 1])] {
        let filter = DeliveryFilter {
            not_to: not_to.into_iter().map(str::to_owned).collect(),
            ..any.clone()
        };
        assert_eq!(list(filter, None, 9).await, numbers(&listed));
    }
    let by_id = DeliveryFilter {
        ids: (0..2_000).map(|n| delivery_id(n, "bolt")).collect(),
        ..any
    };
    assert_eq!(list(by_id, None, 9).await, numbers(&[3, 2, 1]));

    let shown = ledger
        .list_deliveries(&DeliveryFilter::default(), None, 1)
        .await
        .unwrap()
        .remove(0);
    assert_eq!((shown.id, shown.event), (delivery_id(4, "acme"), event_id(4)));
    assert_eq!(
        (shown.event_type.as_str(), shown.source.as_str()),
        ("deal.won", "acme")
    );
    assert_eq!((shown.endpoint.as_str(), shown.received_at), ("acme", at(4)));
    assert_eq!(shown.last_error, "");
}

pub(super) async fn refusals_are_kept_up_to_a_number(stand: &Stand) {
    let ledger = stand.open().await;
    ledger.refuse(vec![refusal(1), refusal(2)]).await.unwrap();
    assert_eq!(ledger.refusals(9).await.unwrap(), [refusal(2), refusal(1)]);
    assert_eq!(ledger.refusals(1).await.unwrap(), [refusal(2)]);
    let most = i64::try_from(REFUSALS_MAX).unwrap();
    let flood: Vec<i64> = (3..=most + 5).collect();
    for part in flood.chunks(4_000) {
        ledger
            .refuse(part.iter().copied().map(refusal).collect())
            .await
            .unwrap();
    }
    let kept = ledger.refusals(usize::MAX).await.unwrap();
    assert_eq!(kept.len(), usize::try_from(REFUSALS_MAX).unwrap());
    assert_eq!(
        (&kept[0], kept.last().unwrap()),
        (&refusal(most + 5), &refusal(6))
    );
}
