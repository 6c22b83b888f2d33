//! Many deliveries made due again.

use model::{DeliveryId, ReplayId, uuid_from};

use super::make::{at, attempt, delivery_id, event, lined, stop};
use super::stand::Stand;
use crate::{
    DeliveryFilter, DeliveryState, Lease, Ledger, LedgerError, Next, Replay, ReplayState, ReplayStep, Wanted,
};

fn id(number: u8) -> ReplayId {
    uuid_from(at(i64::from(number)), [number; 10]).into()
}

fn replay(number: u8, wanted: &Wanted) -> Replay {
    Replay {
        id: id(number),
        wanted: wanted.clone(),
        state: ReplayState::Running,
        total: 7,
        begun: 0,
        place: None,
        made_at: at(100),
        ended_at: None,
    }
}

fn at_bolt(arrived: bool) -> Wanted {
    Wanted {
        filter: DeliveryFilter {
            endpoint: Some("bolt".into()),
            since: Some(at(2)),
            until: Some(at(6)),
            event_type: Some("deal.*".into()),
            ..DeliveryFilter::default()
        },
        arrived,
    }
}

async fn lease(ledger: &dyn Ledger) -> Lease {
    ledger
        .lease("replay", "me", at(1), at(30))
        .await
        .unwrap()
        .unwrap()
}

/// Events 1 to 7 at bolt and 8 at acme: 1, 2, 4 and 7 dead, 3 delivered, 5 waits for another try, 6 is fresh.
async fn mixed(ledger: &dyn Ledger) {
    let bolt = (1..=7).map(|number| event(number, &["bolt"]));
    ledger
        .accept(bolt.chain([event(8, &["acme"])]).collect())
        .await
        .unwrap();
    let mut ends: Vec<_> = [1, 2, 4, 7].map(|n| attempt(n, "bolt", 3, 20, Next::Dead)).into();
    ends.push(attempt(3, "bolt", 1, 20, Next::Delivered));
    ends.push(attempt(5, "bolt", 1, 20, Next::Retry(at(900))));
    ends.push(attempt(8, "acme", 1, 20, Next::Dead));
    ledger.settle(None, ends).await.unwrap();
}

/// What is due at a second, and has been tried before it was made due again.
async fn due(ledger: &dyn Ledger, second: i64) -> Vec<DeliveryId> {
    let due = ledger.due("bolt", at(second), 99).await.unwrap();
    due.iter().map(|due| due.delivery).collect()
}

fn ids(numbers: &[u32]) -> Vec<DeliveryId> {
    numbers
        .iter()
        .map(|number| delivery_id(*number, "bolt"))
        .collect()
}

async fn step(ledger: &dyn Ledger, lease: &Lease, number: u8, second: i64) -> ReplayStep {
    ledger
        .step_replay(lease, id(number), 2, at(second))
        .await
        .unwrap()
}

fn bite() -> ReplayStep {
    ReplayStep::Bite(vec!["bolt".into()])
}

/// All that is due at a second arrives.
async fn arrive(ledger: &dyn Ledger, second: i64) {
    let due = ledger.due("bolt", at(second), 99).await.unwrap();
    let attempts = due.iter().map(|due| crate::Attempt {
        delivery: due.delivery,
        ..attempt(1, "bolt", 1, second, Next::Delivered)
    });
    ledger.settle(None, attempts.collect()).await.unwrap();
}

pub(super) async fn a_replay_makes_due_what_it_means_bite_by_bite(stand: &Stand) {
    let ledger = stand.open().await;
    mixed(&*ledger).await;
    let mine = lease(&*ledger).await;
    assert_eq!(ledger.count_wanted(&at_bolt(false)).await.unwrap(), 3);
    assert_eq!(ledger.count_wanted(&at_bolt(true)).await.unwrap(), 4);
    ledger.begin_replay(&replay(1, &at_bolt(true))).await.unwrap();
    assert_eq!(step(&*ledger, &mine, 1, 50).await, bite());
    assert_eq!(due(&*ledger, 60).await, ids(&[2, 3, 6]), "and the fresh one");
    arrive(&*ledger, 60).await;
    assert_eq!(step(&*ledger, &mine, 1, 61).await, bite());
    assert_eq!(due(&*ledger, 70).await, ids(&[4, 5]));
    let told = ledger.replay(id(1)).await.unwrap().unwrap();
    assert_eq!((told.state, told.begun, told.total), (ReplayState::Running, 4, 7));
    arrive(&*ledger, 70).await;
    assert_eq!(step(&*ledger, &mine, 1, 71).await, ReplayStep::Ended);
    let told = ledger.replay(id(1)).await.unwrap().unwrap();
    assert_eq!(
        (told.state, told.begun, told.ended_at),
        (ReplayState::Done, 4, Some(at(71)))
    );
    assert_eq!(told.wanted, at_bolt(true));
    assert_eq!(step(&*ledger, &mine, 1, 72).await, ReplayStep::Ended);
    assert_eq!(
        step(&*ledger, &mine, 9, 72).await,
        ReplayStep::Ended,
        "there is none"
    );

    ledger.begin_replay(&replay(2, &at_bolt(true))).await.unwrap();
    ledger.release(&mine).await.unwrap();
    let late = ledger.step_replay(&mine, id(2), 2, at(80)).await;
    assert!(matches!(late, Err(LedgerError::LeaseLost(_))), "{late:?}");
    assert_eq!(due(&*ledger, 90).await, []);
}

pub(super) async fn a_bite_waits_until_the_one_before_was_tried(stand: &Stand) {
    let ledger = stand.open().await;
    mixed(&*ledger).await;
    let mine = lease(&*ledger).await;
    ledger.begin_replay(&replay(1, &at_bolt(true))).await.unwrap();
    assert_eq!(step(&*ledger, &mine, 1, 50).await, bite());
    assert_eq!(step(&*ledger, &mine, 1, 51).await, ReplayStep::Waits);
    // One of the two was tried, and will be again; the other one waits still.
    let tried = attempt(2, "bolt", 1, 52, Next::Retry(at(200)));
    ledger.settle(None, vec![tried]).await.unwrap();
    assert_eq!(step(&*ledger, &mine, 1, 53).await, ReplayStep::Waits);
    // Nobody waits for an endpoint that is stopped.
    ledger
        .stop_endpoint("bolt", Some(&stop("pause", 54)))
        .await
        .unwrap();
    assert_eq!(step(&*ledger, &mine, 1, 55).await, bite());
}

pub(super) async fn a_replay_that_is_cancelled_is_over(stand: &Stand) {
    let ledger = stand.open().await;
    mixed(&*ledger).await;
    let mine = lease(&*ledger).await;
    ledger.begin_replay(&replay(1, &at_bolt(false))).await.unwrap();
    assert_eq!(step(&*ledger, &mine, 1, 50).await, bite());
    assert!(ledger.cancel_replay(id(1), at(51)).await.unwrap());
    assert!(!ledger.cancel_replay(id(1), at(52)).await.unwrap());
    arrive(&*ledger, 60).await;
    assert_eq!(step(&*ledger, &mine, 1, 61).await, ReplayStep::Ended);
    assert_eq!(due(&*ledger, 99).await, []);
    let told = ledger.replay(id(1)).await.unwrap().unwrap();
    assert_eq!(
        (told.state, told.begun, told.ended_at),
        (ReplayState::Cancelled, 2, Some(at(51)))
    );
}

pub(super) async fn what_is_replayed_stands_in_its_line(stand: &Stand) {
    let ledger = stand.open().await;
    ledger
        .accept((2..=5).map(|number| lined(number, &["bolt"], "x")).collect())
        .await
        .unwrap();
    let mine = lease(&*ledger).await;
    for number in [2, 3] {
        let arrived = vec![attempt(number, "bolt", 1, 20, Next::Delivered)];
        ledger.settle(None, arrived).await.unwrap();
    }
    // The fourth waits for another try, the fifth is held behind it.
    let retried = vec![attempt(4, "bolt", 1, 20, Next::Retry(at(900)))];
    ledger.settle(None, retried).await.unwrap();
    ledger.begin_replay(&replay(1, &at_bolt(true))).await.unwrap();
    assert_eq!(ledger.step_replay(&mine, id(1), 9, at(50)).await.unwrap(), bite());
    let held = DeliveryFilter {
        state: Some(DeliveryState::Held),
        ..DeliveryFilter::default()
    };
    assert_eq!(ledger.list_deliveries(&held, None, 9).await.unwrap().len(), 3);
    let mut order = Vec::new();
    for _ in 0..4 {
        order.extend(due(&*ledger, 60).await);
        arrive(&*ledger, 60).await;
    }
    assert_eq!(
        order,
        ids(&[4, 2, 3, 5]),
        "the one that was under way, then what came first"
    );
}

pub(super) async fn replays_are_counted_and_listed(stand: &Stand) {
    let ledger = stand.open().await;
    assert_eq!(ledger.replays(None, 9).await.unwrap(), []);
    let all = Wanted::default();
    let one = Wanted {
        filter: DeliveryFilter {
            ids: ids(&[3]),
            not_to: vec!["acme".into()],
            state: Some(DeliveryState::Delivered),
            event_type: Some("deal.won".into()),
            ..DeliveryFilter::default()
        },
        arrived: true,
    };
    let two = [replay(1, &all), replay(2, &one)];
    for replay in &two {
        ledger.begin_replay(replay).await.unwrap();
    }
    mixed(&*ledger).await;
    assert_eq!(ledger.count_wanted(&all).await.unwrap(), 6);
    assert_eq!(ledger.count_wanted(&one).await.unwrap(), 1);
    let none = Wanted {
        filter: DeliveryFilter {
            event_type: Some("lead.*".into()),
            ..DeliveryFilter::default()
        },
        arrived: true,
    };
    assert_eq!(ledger.count_wanted(&none).await.unwrap(), 0);
    let not_to_bolt = Wanted {
        filter: DeliveryFilter {
            not_to: vec!["bolt".into()],
            ..DeliveryFilter::default()
        },
        arrived: true,
    };
    assert_eq!(ledger.count_wanted(&not_to_bolt).await.unwrap(), 1);
    assert_eq!(
        ledger.replays(None, 9).await.unwrap(),
        [two[1].clone(), two[0].clone()]
    );
    assert_eq!(ledger.replays(None, 1).await.unwrap(), two[1..]);
    ledger.cancel_replay(id(2), at(50)).await.unwrap();
    assert_eq!(
        ledger.replays(Some(ReplayState::Running), 9).await.unwrap(),
        two[..1]
    );
}
