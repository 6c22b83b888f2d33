//! Promises about taking events in.

use std::collections::HashSet;

use futures_util::future::join_all;
use model::{EventId, uuid_from};

use super::make::{at, attempt, delivery_id, event, event_id};
use super::stand::Stand;
use crate::{Accepted, EventFilter, Ledger, LedgerError, NewEvent, Next, Settings};

/// The same message under another id.
fn again(number: u32, id: u32) -> NewEvent {
    let mut again = event(number, &["bolt"]);
    again.id = event_id(id);
    again.deliveries[0].id = delivery_id(id, "bolt");
    again
}

/// What is answered for a new event with these numbers.
fn new(sequences: &[u64]) -> Accepted {
    Accepted::New(sequences.to_vec())
}

/// Whether one event was handed in, and is new.
fn is_new(answers: &[Accepted]) -> bool {
    matches!(answers, [Accepted::New(_)])
}

/// The events that are due to an endpoint, in order.
async fn due(ledger: &dyn Ledger, endpoint: &str) -> Vec<EventId> {
    let due = ledger.due(endpoint, at(1_000_000), 1_000_000).await.unwrap();
    due.into_iter().map(|due| due.event).collect()
}

pub(super) async fn what_a_source_says_twice_is_a_duplicate(stand: &Stand) {
    let ledger = stand.open().await;
    assert_eq!(ledger.accept(vec![]).await.unwrap(), []);
    assert_eq!(
        ledger.accept(vec![event(1, &["bolt"])]).await.unwrap(),
        [new(&[1])]
    );
    let first = Accepted::Duplicate(event_id(1));
    let told_again = ledger.accept(vec![again(1, 50)]).await.unwrap();
    assert_eq!(told_again, std::slice::from_ref(&first));
    // The very same event, as after an answer that was lost.
    assert_eq!(ledger.accept(vec![event(1, &["bolt"])]).await.unwrap(), [first]);
    // Another source may use the same words.
    let mut elsewhere = again(1, 51);
    elsewhere.source = "bolt".into();
    assert_eq!(
        ledger.accept(vec![elsewhere, event(2, &[])]).await.unwrap(),
        [new(&[2]), new(&[])]
    );
    assert_eq!(due(&*ledger, "bolt").await, [event_id(1), event_id(51)]);
}

pub(super) async fn the_same_thing_twice_in_one_batch_is_a_duplicate(stand: &Stand) {
    let ledger = stand.open().await;
    let batch = vec![
        event(1, &["bolt"]),
        again(1, 50),
        event(2, &["bolt"]),
        event(1, &["bolt"]),
    ];
    let first = Accepted::Duplicate(event_id(1));
    assert_eq!(
        ledger.accept(batch).await.unwrap(),
        [new(&[1]), first.clone(), new(&[2]), first.clone()]
    );
    // Known from before, under an id that is new to the ledger in this very batch.
    let batch = vec![event(3, &["bolt"]), again(1, 3)];
    assert_eq!(ledger.accept(batch).await.unwrap(), [new(&[3]), first]);
    let expected = [event_id(1), event_id(2), event_id(3)];
    assert_eq!(due(&*ledger, "bolt").await, expected);
}

/// Many hand in the same messages under ids of their own; answers whether each message has one id.
async fn race(ledgers: &[std::sync::Arc<dyn Ledger>]) {
    const MESSAGES: u32 = 20;
    let asked = (0..12_u32).map(|task| {
        let ledger = ledgers[task as usize % ledgers.len()].clone();
        tokio::spawn(async move {
            let mut batch: Vec<_> = (1..=MESSAGES).map(|n| again(n, 1_000 * (task + 1) + n)).collect();
            if task % 3 == 0 {
                batch.reverse();
            }
            let ids: Vec<_> = batch
                .iter()
                .map(|event| (event.dedupe.clone(), event.id))
                .collect();
            let answers = ledger.accept(batch).await.unwrap();
            ids.into_iter().zip(answers).collect::<Vec<_>>()
        })
    });
    let answers = join_all(asked).await.into_iter().flat_map(Result::unwrap);
    let answers: Vec<((String, EventId), Accepted)> = answers.collect();
    for number in 1..=MESSAGES {
        let dedupe = format!("msg-{number}");
        let of_message = || answers.iter().filter(|((said, _), _)| *said == dedupe);
        let new: Vec<EventId> = of_message()
            .filter(|(_, answer)| matches!(answer, Accepted::New(_)))
            .map(|((_, id), _)| *id)
            .collect();
        assert_eq!(new.len(), 1, "{dedupe}");
        let others = of_message().filter(|(_, answer)| *answer == Accepted::Duplicate(new[0]));
        assert_eq!(others.count(), 11, "{dedupe}");
    }
    assert_eq!(due(&*ledgers[0], "bolt").await.len(), MESSAGES as usize);
}

pub(super) async fn racing_duplicates_get_one_id(stand: &Stand) {
    race(&[stand.open().await]).await;
}

pub(super) async fn two_nodes_give_a_racing_duplicate_one_id(stand: &Stand) {
    race(&[stand.open().await, stand.open().await]).await;
}

pub(super) async fn who_was_answered_first_comes_first(stand: &Stand) {
    let ledger = stand.open().await;
    let tasks = (0..8_u32).map(|task| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            for n in 0..20 {
                let taken = event(task * 100 + n, &["bolt"]);
                assert!(is_new(&ledger.accept(vec![taken]).await.unwrap()));
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let order = due(&*ledger, "bolt").await;
    let place = |number| order.iter().position(|id| *id == event_id(number)).unwrap();
    for task in 0..8 {
        for n in 1..20 {
            assert!(place(task * 100 + n - 1) < place(task * 100 + n));
        }
    }
}

pub(super) async fn a_bad_event_fails_alone(stand: &Stand) {
    let ledger = stand.open().await;
    ledger.accept(vec![event(1, &[])]).await.unwrap();
    // Another message under an id that is taken.
    let mut bad = event(2, &["bolt"]);
    bad.id = event_id(1);
    let asked = (0..40_u32).map(|n| {
        let ledger = ledger.clone();
        let batch = if n % 10 == 3 {
            vec![event(1_000 + n, &["bolt"]), bad.clone()]
        } else {
            vec![event(1_000 + n, &["bolt"])]
        };
        tokio::spawn(async move { ledger.accept(batch).await })
    });
    let answers: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    for (n, answer) in answers.iter().enumerate() {
        match answer {
            Ok(answer) => assert!(n % 10 != 3 && is_new(answer)),
            Err(error) => assert!(n % 10 == 3 && matches!(error, LedgerError::Store(_)), "{error}"),
        }
    }
    assert_eq!(due(&*ledger, "bolt").await.len(), 36);
}

pub(super) async fn through_whom_an_event_came_is_kept(stand: &Stand) {
    let ledger = stand.open().await;
    let through = NewEvent {
        hops: "0123456789abcdef fedcba9876543210".into(),
        ..event(1, &["bolt"])
    };
    ledger
        .accept(vec![through.clone(), event(2, &["bolt"])])
        .await
        .unwrap();
    assert_eq!(
        ledger.event(through.id).await.unwrap().unwrap().hops,
        through.hops
    );
    let due = ledger.due("bolt", at(9), 9).await.unwrap();
    assert_eq!(
        (due[0].hops.as_str(), due[1].hops.as_str()),
        (through.hops.as_str(), "")
    );
}

pub(super) async fn how_an_event_arrived_is_kept_and_events_are_listed(stand: &Stand) {
    let ledger = stand.open().await;
    // Ids that begin with their moment, as those of the relay do.
    let made = |number: u32, endpoints: &[&str]| NewEvent {
        id: EventId::from_uuid(uuid_from(at(i64::from(number)), [0; 10])),
        ..event(number, endpoints)
    };
    let arrived = NewEvent {
        arrival: "{\"headers\":[]}".into(),
        event_type: "custom.x".into(),
        ..made(1, &["bolt", "acme"])
    };
    let other = NewEvent {
        source: "northwind".into(),
        ..made(3, &[])
    };
    ledger
        .accept(vec![arrived.clone(), made(2, &["bolt"]), other.clone()])
        .await
        .unwrap();
    assert_eq!(
        ledger.event(arrived.id).await.unwrap().unwrap().arrival,
        arrived.arrival
    );
    assert_eq!(ledger.event(other.id).await.unwrap().unwrap().arrival, "");
    let attempts = vec![
        attempt(1, "bolt", 1, 10, Next::Delivered),
        attempt(1, "acme", 1, 10, Next::Dead),
    ];
    ledger.settle(None, attempts).await.unwrap();

    let list = async |filter: &EventFilter, after: Option<EventId>, limit: usize| {
        let rows = ledger.list_events(filter, after, limit).await.unwrap();
        rows.iter()
            .map(|row| row.received_at.as_second())
            .collect::<Vec<_>>()
    };
    let all = EventFilter::default();
    let rows = ledger.list_events(&all, None, 9).await.unwrap();
    let became: Vec<_> = rows
        .iter()
        .map(|row| (row.waiting, row.delivered, row.dead))
        .collect();
    assert_eq!(
        became,
        [(0, 0, 0), (1, 0, 0), (0, 1, 1)],
        "newest first: {rows:?}"
    );
    assert_eq!(
        (rows[0].id, rows[0].source.as_str(), rows[2].event_type.as_str()),
        (other.id, "northwind", "custom.x")
    );
    assert_eq!(list(&all, None, 2).await, list(&all, None, 9).await[..2]);
    assert_eq!(
        list(&all, Some(rows[1].id), 9).await,
        [rows[2].received_at.as_second()]
    );
    let filter = |source: Option<&str>, event_type: Option<&str>, since: Option<i64>| EventFilter {
        source: source.map(str::to_owned),
        event_type: event_type.map(str::to_owned),
        since: since.map(at),
        trace: None,
    };
    for (filter, expected) in [
        (filter(Some("northwind"), None, None), 1),
        (filter(None, Some("deal.won"), None), 2),
        (filter(None, Some("custom.*"), None), 1),
        (filter(None, Some("custom.*"), Some(2)), 0),
        (filter(None, None, Some(2)), 2),
        (filter(None, None, Some(4)), 0),
    ] {
        assert_eq!(list(&filter, None, 9).await.len(), expected, "{filter:?}");
    }
    let traced = |trace: &str| EventFilter {
        trace: Some(trace.to_owned()),
        ..EventFilter::default()
    };
    assert_eq!(
        list(&traced(&other.trace), None, 9).await,
        [other.received_at.as_second()]
    );
    assert_eq!(list(&traced("another"), None, 9).await, [0; 0]);
}

pub(super) async fn an_event_reads_back_with_its_deliveries(stand: &Stand) {
    let ledger = stand.open().await;
    let mut written = event(1, &["bolt", "acme"]);
    written.body = vec![0, 159, 146, 150].into();
    written.deliveries.sort_by_key(|delivery| delivery.id.uuid());
    ledger
        .accept(vec![written.clone(), event(2, &["bolt"])])
        .await
        .unwrap();
    assert_eq!(ledger.event(event_id(1)).await.unwrap(), Some(written));
    assert_eq!(ledger.event(event_id(3)).await.unwrap(), None);
}

pub(super) async fn what_was_answered_is_there_after_a_restart(stand: &Stand) {
    let ledger = stand.open().await;
    let tasks = (0..64_u32).map(|n| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.accept(vec![event(n, &["bolt"])]).await.unwrap() })
    });
    for task in join_all(tasks).await {
        assert!(is_new(&task.unwrap()));
    }
    let before = due(&*ledger, "bolt").await;
    drop(ledger);
    let ledger = stand.open().await;
    let after = due(&*ledger, "bolt").await;
    assert_eq!(before, after);
    assert_eq!(
        after.into_iter().collect::<HashSet<_>>(),
        (0..64).map(event_id).collect()
    );
}

pub(super) async fn more_than_may_wait_is_refused_and_nothing_else(stand: &Stand) {
    let settings = Settings {
        writes_waiting_max: 4,
        ..Settings::default()
    };
    let ledger = stand.open_with(settings).await;
    // All are asked before the first is answered: a future that is joined is polled before any other is woken.
    let asked = (0..64_u32).map(|n| ledger.accept(vec![event(n, &["bolt"])]));
    let answers = join_all(asked).await;
    let mut kept = Vec::new();
    for (n, answer) in (0..).zip(answers) {
        match answer {
            Ok(answer) => {
                assert!(is_new(&answer));
                kept.push(event_id(n));
            }
            Err(error) => assert!(matches!(error, LedgerError::Busy { waiting: 4 }), "{error}"),
        }
    }
    assert!(kept.len() >= 4);
    assert_eq!(due(&*ledger, "bolt").await, kept);
    // Who comes back later is served.
    assert_eq!(ledger.accept(vec![event(99, &[])]).await.unwrap(), [new(&[])]);
}
