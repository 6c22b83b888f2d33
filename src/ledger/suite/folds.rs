//! What waits is folded into the newest, and nothing else is.

use model::DeliveryId;

use super::make::{at, attempt, delivery_id, event_id, lined};
use super::stand::Stand;
use crate::{
    Delivery, DeliveryFilter, DeliveryState, EventPlace, FOLDED_MAX, Lease, Ledger, LedgerError, NewEvent,
    Next, OldEvents, Wanted,
};

/// An update of a record, in its line.
fn update(number: u32, record: &str) -> NewEvent {
    NewEvent {
        event_type: "deal.updated".into(),
        ..lined(number, &["bolt"], record)
    }
}

/// Another thing about a record, in the same line.
fn won(number: u32, record: &str) -> NewEvent {
    lined(number, &["bolt"], record)
}

fn ids(numbers: &[u32]) -> Vec<DeliveryId> {
    numbers
        .iter()
        .map(|number| delivery_id(*number, "bolt"))
        .collect()
}

async fn lease(ledger: &dyn Ledger) -> Lease {
    ledger
        .lease("deliver:bolt", "me", at(1), at(900))
        .await
        .unwrap()
        .unwrap()
}

/// The events that are due, each with the numbers that it stands for.
async fn due(ledger: &dyn Ledger) -> Vec<(u64, String)> {
    let due = ledger.due("bolt", at(900), 900).await.unwrap();
    due.iter()
        .map(|due| (due.sequence.unwrap(), due.stands_for.to_string()))
        .collect()
}

async fn shown(ledger: &dyn Ledger, number: u32) -> Delivery {
    let filter = DeliveryFilter {
        ids: ids(&[number]),
        ..DeliveryFilter::default()
    };
    ledger.list_deliveries(&filter, None, 1).await.unwrap().remove(0)
}

async fn state(ledger: &dyn Ledger, number: u32) -> DeliveryState {
    shown(ledger, number).await.state
}

async fn folded(ledger: &dyn Ledger) -> u64 {
    ledger.sequences(Some("bolt")).await.unwrap()[0].folded
}

pub(super) async fn the_newest_goes_for_all_that_wait_before_it(stand: &Stand) {
    let ledger = stand.open().await;
    let lease = lease(&*ledger).await;
    // Beside a record whose updates are folded another one, and in its line another thing, which keeps its place.
    let said = vec![
        update(1, "a"),
        update(2, "b"),
        update(3, "a"),
        won(4, "a"),
        update(5, "a"),
        lined(6, &["acme"], "a"),
    ];
    ledger.accept(said).await.unwrap();
    let tried = attempt(1, "bolt", 1, 10, Next::Retry(at(20)));
    ledger.settle(Some(&lease), vec![tried]).await.unwrap();
    assert_eq!(ledger.fold(&lease, &ids(&[1, 2]), &[]).await.unwrap(), 2);
    assert_eq!(due(&*ledger).await, [(2, String::new()), (4, String::new())]);
    let end = attempt(4, "bolt", 1, 30, Next::Delivered);
    ledger.settle(Some(&lease), vec![end]).await.unwrap();
    assert_eq!(due(&*ledger).await, [(2, String::new()), (5, "1, 3".to_owned())]);

    let (one, newest) = (shown(&*ledger, 1).await, shown(&*ledger, 5).await);
    assert_eq!(
        (one.state, one.folded_into),
        (DeliveryState::Folded, Some(newest.id))
    );
    assert_eq!(
        (one.attempts, one.last_status),
        (1, Some(503)),
        "what was tried is told"
    );
    assert_eq!(newest.stands_for.to_string(), "1, 3");
    assert_eq!(folded(&*ledger).await, 2);
    assert_eq!(ledger.fold(&lease, &ids(&[2, 5]), &[]).await.unwrap(), 0);

    // One that fails is folded in its turn, with what it stands for.
    let tried = attempt(5, "bolt", 1, 40, Next::Retry(at(50)));
    ledger.settle(Some(&lease), vec![tried]).await.unwrap();
    ledger.accept(vec![update(7, "a")]).await.unwrap();
    assert_eq!(ledger.fold(&lease, &ids(&[5]), &[]).await.unwrap(), 1);
    assert_eq!(
        due(&*ledger).await,
        [(2, String::new()), (6, "1, 3, 5".to_owned())]
    );
    assert_eq!(folded(&*ledger).await, 3);
    let row = ledger
        .list_events(&crate::EventFilter::default(), None, 9)
        .await
        .unwrap();
    let row = row.iter().find(|row| row.id == event_id(5)).unwrap();
    assert_eq!((row.waiting, row.delivered, row.dead, row.folded), (0, 0, 0, 1));
}

pub(super) async fn what_is_in_flight_or_was_asked_for_is_not_folded(stand: &Stand) {
    let ledger = stand.open().await;
    let lease = lease(&*ledger).await;
    ledger
        .accept(vec![update(1, "a"), update(2, "a"), update(3, "a")])
        .await
        .unwrap();
    assert_eq!(ledger.fold(&lease, &ids(&[1]), &ids(&[1])).await.unwrap(), 0);
    // One that is held is nobody's first.
    assert_eq!(ledger.fold(&lease, &ids(&[2]), &[]).await.unwrap(), 0);
    assert_eq!(due(&*ledger).await, [(1, String::new())]);
    // The first was given up, and a person wants it all the same.
    let end = attempt(1, "bolt", 1, 10, Next::Dead);
    ledger.settle(Some(&lease), vec![end]).await.unwrap();
    let asked = DeliveryFilter {
        ids: ids(&[1]),
        ..DeliveryFilter::default()
    };
    assert_eq!(ledger.retry(&asked, at(20)).await.unwrap(), 1);
    assert_eq!(ledger.fold(&lease, &ids(&[1]), &[]).await.unwrap(), 0);
    assert_eq!(state(&*ledger, 1).await, DeliveryState::Due);
    assert_eq!(ledger.fold(&lease, &ids(&[2]), &[]).await.unwrap(), 1);
    assert_eq!(state(&*ledger, 2).await, DeliveryState::Folded);
    // It is told when it is pulled, and says all the same that another one goes instead.
    ledger.settle_pulled(ids(&[2])).await.unwrap();
    assert_eq!(state(&*ledger, 2).await, DeliveryState::Folded);
}

pub(super) async fn what_was_folded_stays_so(stand: &Stand) {
    let ledger = stand.open().await;
    let lease = lease(&*ledger).await;
    ledger.accept(vec![update(1, "a"), update(2, "a")]).await.unwrap();
    let lost = Lease {
        token: lease.token + 1,
        ..lease.clone()
    };
    let refused = ledger.fold(&lost, &ids(&[1]), &[]).await.unwrap_err();
    assert!(matches!(refused, LedgerError::LeaseLost(_)), "{refused}");
    assert_eq!(ledger.fold(&lease, &ids(&[1]), &[]).await.unwrap(), 1);
    let late = attempt(1, "bolt", 1, 10, Next::Retry(at(20)));
    ledger.settle(Some(&lease), vec![late]).await.unwrap();
    assert_eq!(state(&*ledger, 1).await, DeliveryState::Folded);
    let all = DeliveryFilter::default();
    assert_eq!(ledger.retry(&all, at(30)).await.unwrap(), 1, "the newest alone");
    let wanted = Wanted {
        filter: all,
        arrived: true,
    };
    let end = attempt(2, "bolt", 1, 40, Next::Delivered);
    ledger.settle(Some(&lease), vec![end]).await.unwrap();
    assert_eq!(ledger.count_wanted(&wanted).await.unwrap(), 1);

    // The feed tells both, the newest with what it stands for.
    let feed = ledger.feed("bolt", EventPlace::default(), 9).await.unwrap();
    let told: Vec<_> = feed
        .told
        .iter()
        .map(|due| (due.event, due.stands_for.to_string()))
        .collect();
    assert_eq!(
        told,
        [(event_id(1), String::new()), (event_id(2), "1".to_owned())]
    );
    // It goes as what arrived does.
    ledger.accept(vec![update(9, "z")]).await.unwrap();
    let forget = ledger.lease("f", "me", at(1), at(30)).await.unwrap().unwrap();
    let old = OldEvents {
        arrived_before: Some(at(99)),
        dead_before: None,
    };
    let gone = ledger
        .forget_events(&forget, &old, EventPlace::default(), 9)
        .await
        .unwrap();
    assert_eq!(gone.removed, 2);
}

pub(super) async fn a_long_line_is_folded_in_pieces(stand: &Stand) {
    let ledger = stand.open().await;
    let lease = lease(&*ledger).await;
    let most = u32::try_from(FOLDED_MAX).unwrap();
    ledger
        .accept((1..=2 * most + 2).map(|number| update(number, "a")).collect())
        .await
        .unwrap();
    let most = u64::from(most);
    assert_eq!(ledger.fold(&lease, &ids(&[1]), &[]).await.unwrap(), most);
    assert_eq!(due(&*ledger).await, [(most + 1, format!("1-{most}"))]);
    let first = u32::try_from(most + 1).unwrap();
    assert_eq!(
        ledger.fold(&lease, &ids(&[first]), &[]).await.unwrap(),
        0,
        "it is full"
    );
    let end = attempt(first, "bolt", 1, 300, Next::Delivered);
    ledger.settle(Some(&lease), vec![end]).await.unwrap();
    assert_eq!(ledger.fold(&lease, &ids(&[first + 1]), &[]).await.unwrap(), most);
    let second = format!("{}-{}", most + 2, 2 * most + 1);
    assert_eq!(due(&*ledger).await, [(2 * most + 2, second)]);
}
