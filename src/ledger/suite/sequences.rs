//! Each endpoint's deliveries are numbered without gaps, whoever accepts them, whatever is refused, and for good.

use std::sync::Arc;

use futures_util::future::join_all;

use super::make::{at, attempt, deal, delivery_id, event, event_id, lined, write};
use super::stand::Stand;
use crate::{Accepted, DeliveryFilter, EventPlace, Ledger, Next, OldEvents, Settings, SyncCommit, Wanted};

/// The numbers of what an endpoint was to be told, in the order of acceptance.
async fn numbers(ledger: &dyn Ledger, endpoint: &str) -> Vec<u64> {
    let feed = ledger
        .feed(endpoint, EventPlace::default(), 10_000)
        .await
        .unwrap();
    assert!(!feed.more);
    feed.told.iter().map(|due| due.sequence.unwrap()).collect()
}

async fn last(ledger: &dyn Ledger, endpoint: &str) -> Option<u64> {
    let found = ledger.sequences(Some(endpoint)).await.unwrap();
    found.first().map(|sequence| sequence.last)
}

pub(super) async fn an_endpoint_counts_what_it_is_told_and_nothing_else(stand: &Stand) {
    let ledger = stand.open().await;
    assert_eq!(ledger.sequences(None).await.unwrap(), []);
    let batch = vec![
        event(1, &["bolt", "acme"]),
        event(2, &["acme"]),
        event(1, &["bolt"]),
        lined(3, &["bolt", "acme"], "l"),
    ];
    let duplicate = Accepted::Duplicate(event_id(1));
    assert_eq!(
        ledger.accept(batch).await.unwrap(),
        [
            Accepted::New(vec![1, 1]),
            Accepted::New(vec![2]),
            duplicate,
            Accepted::New(vec![2, 3])
        ]
    );
    // What is refused, and what a commit that is refused brings, leaves no hole.
    let mut bad = event(4, &["bolt"]);
    bad.id = event_id(1);
    ledger.accept(vec![event(5, &["bolt"]), bad]).await.unwrap_err();
    let commit = |version, number| SyncCommit {
        records: vec![write(deal(1), version)],
        events: vec![event(number, &["bolt"])],
        ..SyncCommit::default()
    };
    ledger.commit(commit(1, 6)).await.unwrap();
    ledger.commit(commit(1, 7)).await.unwrap_err();
    ledger.accept(vec![event(8, &["bolt"])]).await.unwrap();
    assert_eq!(numbers(&*ledger, "bolt").await, [1, 2, 3, 4]);
    assert_eq!(numbers(&*ledger, "acme").await, [1, 2, 3]);
    let all = ledger.sequences(None).await.unwrap();
    let all: Vec<(&str, u64)> = all.iter().map(|one| (one.endpoint.as_str(), one.last)).collect();
    assert_eq!(all, [("acme", 3), ("bolt", 4)]);
    assert_eq!(last(&*ledger, "nobody").await, None);
}

pub(super) async fn a_number_stays_whatever_becomes_of_its_delivery(stand: &Stand) {
    let ledger = stand.open().await;
    ledger
        .accept(vec![
            event(1, &["bolt"]),
            event(2, &["bolt"]),
            event(3, &["bolt"]),
        ])
        .await
        .unwrap();
    let ends = vec![
        attempt(1, "bolt", 1, 10, Next::Delivered),
        attempt(2, "bolt", 1, 10, Next::Dead),
        attempt(3, "bolt", 1, 10, Next::Retry(at(20))),
    ];
    ledger.settle(None, ends).await.unwrap();
    let due = ledger.due("bolt", at(30), 9).await.unwrap();
    assert_eq!((due[0].event, due[0].sequence), (event_id(3), Some(3)));
    // By hand, and by a replay.
    let dead = DeliveryFilter {
        ids: vec![delivery_id(2, "bolt")],
        ..DeliveryFilter::default()
    };
    ledger.retry(&dead, at(30)).await.unwrap();
    let lease = ledger.lease("r", "me", at(1), at(99)).await.unwrap().unwrap();
    let replay = crate::Replay {
        id: delivery_id(9, "r").uuid().into(),
        wanted: Wanted {
            arrived: true,
            ..Wanted::default()
        },
        state: crate::ReplayState::Running,
        total: 3,
        begun: 0,
        place: None,
        made_at: at(30),
        ended_at: None,
    };
    ledger.begin_replay(&replay).await.unwrap();
    ledger.step_replay(&lease, replay.id, 9, at(30)).await.unwrap();
    let due = ledger.due("bolt", at(30), 9).await.unwrap();
    let due: Vec<_> = due.iter().map(|due| (due.event, due.sequence)).collect();
    assert_eq!(
        due,
        [1, 2, 3].map(|number| (event_id(number), Some(u64::from(number))))
    );
    let listed = ledger.list_deliveries(&dead, None, 9).await.unwrap();
    assert_eq!(listed[0].sequence, Some(2));
}

pub(super) async fn what_was_removed_gives_no_number_back(stand: &Stand) {
    let ledger = stand.open().await;
    ledger
        .accept(vec![event(1, &["bolt"]), event(2, &["acme"])])
        .await
        .unwrap();
    ledger
        .settle(None, vec![attempt(1, "bolt", 1, 10, Next::Delivered)])
        .await
        .unwrap();
    let lease = ledger.lease("f", "me", at(1), at(30)).await.unwrap().unwrap();
    let old = OldEvents {
        arrived_before: Some(at(99)),
        dead_before: Some(at(99)),
    };
    ledger
        .forget_events(&lease, &old, EventPlace::default(), 9)
        .await
        .unwrap();
    assert!(numbers(&*ledger, "bolt").await.is_empty());
    let answers = ledger.accept(vec![event(3, &["bolt"])]).await.unwrap();
    assert_eq!(answers, [Accepted::New(vec![2])]);
}

/// Several nodes take in webhooks, the same ones now and then, and commit what the systems said.
pub(super) async fn nodes_count_together(stand: &Stand) {
    const EACH: u32 = 40;
    let first = stand.open().await;
    first.accept(vec![event(1, &["bolt", "acme"])]).await.unwrap();
    let settings = Settings {
        connections_max: 4,
        ..Settings::default()
    };
    let mut ledgers: Vec<Arc<dyn Ledger>> = vec![first.clone()];
    ledgers.push(stand.open_with(settings).await);
    let tasks = (0..6_u32).map(|task| {
        let ledger = ledgers[task as usize % ledgers.len()].clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                // Every third is said by two of them, under the same name.
                let number = if n % 3 == 0 {
                    10_000 + n
                } else {
                    1_000 * (task + 1) + n
                };
                let mut said = match n % 2 {
                    0 => event(number, &["bolt", "acme"]),
                    _ => lined(number, &["acme", "bolt"], "l"),
                };
                said.id = event_id(100_000 * (task + 1) + number);
                for delivery in &mut said.deliveries {
                    delivery.id = delivery_id(100_000 * (task + 1) + number, &delivery.endpoint);
                }
                if task % 3 == 2 {
                    let commit = SyncCommit {
                        events: vec![said],
                        ..SyncCommit::default()
                    };
                    ledger.commit(commit).await.unwrap();
                } else {
                    ledger.accept(vec![said]).await.unwrap();
                }
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    for endpoint in ["bolt", "acme"] {
        let numbers = numbers(&*first, endpoint).await;
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "without gaps, and in the order of acceptance");
        assert_eq!(last(&*first, endpoint).await, expected.last().copied());
    }
}
