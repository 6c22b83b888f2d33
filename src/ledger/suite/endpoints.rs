//! How endpoints stand, and deliveries that arrive in order.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;
use model::DeliveryId;

use super::make::{at, attempt, delivery_id, event, lined, stop};
use super::stand::Stand;
use crate::{
    DeliveryFilter, DeliveryState, EndpointState, Health, Ledger, LedgerError, Next, Note, Stop, StopKind,
    Turn, turn_key,
};

async fn due(ledger: &dyn Ledger, endpoint: &str) -> Vec<DeliveryId> {
    let due = ledger.due(endpoint, at(99), 99).await.unwrap();
    due.iter().map(|due| due.delivery).collect()
}

fn ids(numbers: &[u32]) -> Vec<DeliveryId> {
    numbers
        .iter()
        .map(|number| delivery_id(*number, "bolt"))
        .collect()
}

async fn held(ledger: &dyn Ledger) -> usize {
    let filter = DeliveryFilter {
        state: Some(DeliveryState::Held),
        ..DeliveryFilter::default()
    };
    ledger.list_deliveries(&filter, None, 9_999).await.unwrap().len()
}

async fn end(ledger: &dyn Ledger, number: u32, tries: u32, next: Next) {
    let attempts = vec![attempt(number, "bolt", tries, 20, next)];
    ledger.settle(None, attempts).await.unwrap();
}

async fn turn(ledger: &dyn Ledger) -> Turn {
    let turn = ledger.begin_turn("bolt", "me", at(1), at(30), 3).await.unwrap();
    turn.expect("nobody has it")
}

/// A turn at bolt that finds out this.
async fn note(ledger: &dyn Ledger, note: Note) -> Option<Timestamp> {
    let Turn { lease, .. } = turn(ledger).await;
    ledger.end_turn(&lease, "bolt", Some(note)).await.unwrap()
}

fn well(health: Health) -> Note {
    Note {
        health,
        ..Note::default()
    }
}

fn unwell() -> Health {
    Health {
        failures: 3,
        failed: 4,
        failing_since: Some(at(2)),
        opened: 1,
        rest_until: Some(at(40)),
        sent_at: Some(at(3)),
    }
}

pub(super) async fn a_stopped_endpoint_yields_nothing(stand: &Stand) {
    let ledger = stand.open().await;
    ledger
        .accept(vec![event(1, &["bolt"]), event(2, &["bolt"])])
        .await
        .unwrap();
    end(&*ledger, 2, 1, Next::Retry(at(26))).await;
    for reason in ["410 Gone", "by hand"] {
        ledger
            .stop_endpoint("bolt", Some(&stop(reason, 9)))
            .await
            .unwrap();
    }
    assert_eq!(ledger.endpoints_due().await.unwrap(), []);
    assert_eq!(ledger.endpoint_due("bolt").await.unwrap(), None);
    assert_eq!(due(&*ledger, "bolt").await, []);
    // What comes meanwhile waits with the rest.
    ledger.accept(vec![event(3, &["bolt"])]).await.unwrap();
    ledger.stop_endpoint("bolt", None).await.unwrap();
    assert_eq!(due(&*ledger, "bolt").await, ids(&[1, 2, 3]));
    assert_eq!(ledger.endpoint_due("bolt").await.unwrap(), Some(at(1)));
}

pub(super) async fn how_an_endpoint_stands_is_told_as_noted_last(stand: &Stand) {
    let ledger = stand.open().await;
    assert_eq!(ledger.endpoint_states(None).await.unwrap(), []);
    let before = ledger
        .stop_endpoint("acme", Some(&stop("holiday", 5)))
        .await
        .unwrap();
    assert_eq!((before.endpoint.as_str(), before.stop), ("acme", None));
    note(&*ledger, well(unwell())).await;
    let states = [
        EndpointState {
            endpoint: "acme".into(),
            stop: Some(stop("holiday", 5)),
            health: Health::default(),
        },
        EndpointState {
            endpoint: "bolt".into(),
            stop: None,
            health: unwell(),
        },
    ];
    assert_eq!(ledger.endpoint_states(None).await.unwrap(), states);
    assert_eq!(ledger.endpoint_states(Some("bolt")).await.unwrap(), states[1..]);

    // A stop by hand keeps the health; another stop does not replace it when it comes from sending.
    ledger
        .stop_endpoint("bolt", Some(&stop("enough", 6)))
        .await
        .unwrap();
    let late = Stop {
        kind: StopKind::Disabled,
        reason: "it answered 410 Gone".into(),
        at: at(7),
    };
    let disabled = |health: Health| Note {
        health,
        stop: Some(late.clone()),
        ..Note::default()
    };
    assert_eq!(note(&*ledger, disabled(unwell())).await, None);
    let told = ledger.endpoint_states(Some("bolt")).await.unwrap();
    assert_eq!(
        (told[0].stop.clone(), told[0].health),
        (Some(stop("enough", 6)), unwell())
    );
    let before = ledger.stop_endpoint("bolt", None).await.unwrap();
    assert_eq!(before, told[0]);
    note(&*ledger, disabled(Health::default())).await;
    let told = ledger.endpoint_states(Some("bolt")).await.unwrap();
    assert_eq!(
        (told[0].stop.clone(), told[0].health),
        (Some(late), Health::default())
    );
}

pub(super) async fn a_turn_ends_whole_or_not_at_all(stand: &Stand) {
    let ledger = stand.open().await;
    let told = || Note {
        events: vec![event(1, &["bolt"])],
        ..well(unwell())
    };
    let lost = turn(&*ledger).await.lease;
    ledger.release(&lost).await.unwrap();
    let ended = ledger.end_turn(&lost, "bolt", Some(told())).await;
    assert!(matches!(ended, Err(LedgerError::LeaseLost(_))), "{ended:?}");
    assert_eq!(ledger.endpoint_states(None).await.unwrap(), []);
    assert_eq!(due(&*ledger, "bolt").await, []);

    for _ in 0..2 {
        // The same event twice is one. The endpoint rests.
        assert_eq!(note(&*ledger, told()).await, Some(at(40)));
    }
    assert_eq!(due(&*ledger, "bolt").await, ids(&[1]));
}

pub(super) async fn a_turn_is_one_node_s_at_a_time_and_the_next_sees_what_it_left(stand: &Stand) {
    let (one, other) = (stand.open().await, stand.open().await);
    let first = turn(&*one).await;
    assert_eq!(first.state, EndpointState::new("bolt"));
    assert_eq!(first.lease.key, turn_key("bolt"));
    assert_eq!(
        other
            .begin_turn("bolt", "other", at(29), at(60), 3)
            .await
            .unwrap(),
        None
    );
    other.accept(vec![event(1, &["bolt"])]).await.unwrap();
    // What was accepted before the lease was free is in the answer, whoever accepted it.
    let again = one.end_turn(
        &first.lease,
        "bolt",
        Some(well(Health {
            failures: 1,
            ..Health::default()
        })),
    );
    assert_eq!(again.await.unwrap(), Some(at(1)));
    let second = other
        .begin_turn("bolt", "other", at(2), at(60), 3)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(second.state.health.failures, 1);
    // The first one's time is over for good.
    assert_eq!(one.keep_turn(&first.lease, "bolt", at(90)).await.unwrap(), None);
    assert_eq!(
        other.keep_turn(&second.lease, "bolt", at(90)).await.unwrap(),
        Some(false)
    );
    let late = one.end_turn(&first.lease, "bolt", None).await;
    assert!(matches!(late, Err(LedgerError::LeaseLost(_))), "{late:?}");
    let settled = one.settle(Some(&first.lease), vec![]).await;
    assert!(matches!(settled, Err(LedgerError::LeaseLost(_))), "{settled:?}");
    end(&*other, 1, 1, Next::Delivered).await;
    assert_eq!(other.end_turn(&second.lease, "bolt", None).await.unwrap(), None);
}

/// Turns at many endpoints at once get each their own answers, however they are grouped.
pub(super) async fn turns_at_many_endpoints_do_not_mix(stand: &Stand) {
    const ENDPOINTS: u32 = 40;
    let ledger = stand.open().await;
    let name = |number: u32| format!("e{number}");
    // The endpoint of each number gets so many events modulo five; that of every seventh is stopped.
    for number in 0..ENDPOINTS {
        for of in 0..number % 5 {
            let event = event(1 + number * 10 + of, &[&name(number)]);
            ledger.accept(vec![event]).await.unwrap();
        }
        if number % 7 == 0 {
            ledger
                .stop_endpoint(&name(number), Some(&stop("by hand", 9)))
                .await
                .unwrap();
        }
    }
    let turns = (0..ENDPOINTS).map(|number| {
        let (ledger, name) = (ledger.clone(), name(number));
        tokio::spawn(async move {
            let turn = ledger
                .begin_turn(&name, "me", at(9_999), at(10_030), 3)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(turn.state.endpoint, name);
            let look = ledger.look(&name, at(9_999), 3).await.unwrap();
            assert_eq!(turn.due, look.due, "{name}");
            let until = 10_030 + i64::from(number);
            let kept = ledger.keep_turn(&turn.lease, &name, at(until)).await.unwrap();
            assert_eq!(kept, Some(turn.state.stop.is_some()), "{name}");
            let leased = |at| ledger.is_leased(&turn.lease.key, at);
            assert!(leased(at(until - 1)).await.unwrap(), "{name}");
            assert!(!leased(at(until)).await.unwrap(), "{name}");
            let next = ledger.end_turn(&turn.lease, &name, None).await.unwrap();
            (turn.state.stop.is_some(), look, next)
        })
    });
    for (number, turn) in (0..).zip(join_all(turns).await) {
        let (stopped, look, next) = turn.unwrap();
        assert_eq!(
            (stopped, look.stopped),
            (number % 7 == 0, number % 7 == 0),
            "{number}"
        );
        let owed = if stopped { 0 } else { number % 5 };
        let due: Vec<DeliveryId> = look.due.iter().map(|due| due.delivery).collect();
        let first = (0..owed.min(3)).map(|of| delivery_id(1 + number * 10 + of, &name(number)));
        assert_eq!(due, first.collect::<Vec<_>>(), "{number}");
        assert_eq!(next.is_some(), owed > 0, "{number}: {next:?}");
    }
}

pub(super) async fn an_endpoint_that_rests_is_due_later(stand: &Stand) {
    let ledger = stand.open().await;
    ledger
        .accept(vec![event(1, &["bolt"]), event(2, &["acme"])])
        .await
        .unwrap();
    note(&*ledger, well(unwell())).await;
    let told = [("acme".to_owned(), at(2)), ("bolt".to_owned(), at(40))];
    assert_eq!(ledger.endpoints_due().await.unwrap(), told);
    assert_eq!(ledger.endpoint_due("bolt").await.unwrap(), Some(at(40)));
    assert_eq!(ledger.endpoint_due("acme").await.unwrap(), Some(at(2)));
    assert_eq!(ledger.endpoint_due("zeta").await.unwrap(), None);
    for (second, owed) in [(39, 0), (40, 1)] {
        let turn = ledger
            .begin_turn("bolt", "me", at(second), at(60), 9)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(turn.due.len(), owed, "{second}");
        ledger.release(&turn.lease).await.unwrap();
    }
}

pub(super) async fn what_others_write_is_told(stand: &Stand) {
    let one = stand.open().await;
    // Who left may be seen for a moment longer.
    let alone = async || loop {
        if let Some(told) = one.written_elsewhere().await.unwrap() {
            return told;
        }
        tokio::task::yield_now().await;
    };
    let before = alone().await;
    one.accept(vec![event(1, &["bolt"])]).await.unwrap();
    // As many at a time as there may be connections.
    join_all((0..20).map(|_| one.endpoint_due("bolt"))).await;
    let turn = one
        .begin_turn("bolt", "me", at(2), at(30), 3)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(alone().await, before, "it wrote that itself");

    let other = stand.open().await;
    other.accept(vec![event(2, &["bolt"])]).await.unwrap();
    let mut last = Some(before);
    for what in ["accepted", "asked for a turn", "asked again"] {
        let told = one.written_elsewhere().await.unwrap();
        // Either it is seen what others do, or that they are there.
        assert!(told.is_none() || told != last, "{what}");
        last = told;
        let taken = other.begin_turn("bolt", "other", at(3), at(30), 3).await.unwrap();
        assert!(taken.is_none());
    }
    drop(other);
    let after = alone().await;
    assert_ne!(after, before, "somebody has come and gone");
    assert_eq!(alone().await, after);
    assert_eq!(
        one.end_turn(&turn.lease, "bolt", None).await.unwrap(),
        Some(at(1))
    );
}

pub(super) async fn of_a_line_one_is_due_at_a_time(stand: &Stand) {
    let ledger = stand.open().await;
    // Two of them in one batch, and one line at two endpoints.
    let batch = vec![
        lined(1, &["bolt", "acme"], "x"),
        lined(2, &["bolt"], "x"),
        event(3, &["bolt"]),
    ];
    ledger.accept(batch).await.unwrap();
    ledger
        .accept(vec![lined(4, &["bolt"], "x"), lined(5, &["bolt"], "y")])
        .await
        .unwrap();
    assert_eq!(due(&*ledger, "bolt").await, ids(&[1, 3, 5]));
    assert_eq!(due(&*ledger, "acme").await, [delivery_id(1, "acme")]);
    let lines: Vec<_> = ledger.due("bolt", at(99), 99).await.unwrap();
    let lines: Vec<_> = lines.iter().map(|due| due.line.as_deref()).collect();
    assert_eq!(lines, [Some("x"), None, Some("y")]);
    let read = ledger.event(super::make::event_id(4)).await.unwrap().unwrap();
    assert_eq!(read.deliveries[0].line.as_deref(), Some("x"));

    end(&*ledger, 1, 1, Next::Delivered).await;
    assert_eq!(due(&*ledger, "bolt").await, ids(&[2, 3, 5]));
    // Said twice, it moves nothing on.
    end(&*ledger, 1, 1, Next::Delivered).await;
    assert_eq!(due(&*ledger, "bolt").await, ids(&[2, 3, 5]));
    end(&*ledger, 2, 1, Next::Delivered).await;
    assert_eq!(due(&*ledger, "bolt").await, ids(&[3, 4, 5]));
    end(&*ledger, 4, 1, Next::Delivered).await;
    ledger.accept(vec![lined(6, &["bolt"], "x")]).await.unwrap();
    assert_eq!(due(&*ledger, "bolt").await, ids(&[3, 5, 6]));
    assert_eq!(held(&*ledger).await, 0);
}

pub(super) async fn those_in_lines_and_those_in_none_are_settled_side_by_side(stand: &Stand) {
    let ledger = stand.open().await;
    let batch = vec![
        lined(1, &["bolt"], "x"),
        lined(2, &["bolt"], "x"),
        event(3, &["bolt"]),
        event(4, &["bolt"]),
        event(5, &["bolt"]),
    ];
    ledger.accept(batch).await.unwrap();
    let (lost, owned) = (
        ledger.lease("Deliver/bolt", "a", at(0), at(10)).await.unwrap(),
        ledger.lease("Deliver/bolt", "b", at(10), at(20)).await.unwrap(),
    );
    let tried = |number: u32| vec![attempt(number, "bolt", 1, 10, Next::Delivered)];
    // One that is not known (any more) holds up nobody, and one of several that its request brings stands in a line.
    let mixed = [tried(3), tried(1)].concat();
    let (one, other, unknown, late) = tokio::join!(
        ledger.settle(owned.as_ref(), mixed),
        ledger.settle(None, tried(4)),
        ledger.settle(owned.as_ref(), tried(77)),
        ledger.settle(lost.as_ref(), tried(5))
    );
    for settled in [one, other, unknown] {
        settled.unwrap();
    }
    assert!(matches!(late, Err(LedgerError::LeaseLost(_))), "{late:?}");
    assert_eq!(due(&*ledger, "bolt").await, ids(&[2, 5]));
    for number in [1, 3, 4] {
        let attempts = ledger.attempts(delivery_id(number, "bolt")).await.unwrap();
        assert_eq!(attempts, tried(number));
    }
    assert_eq!(ledger.attempts(delivery_id(5, "bolt")).await.unwrap(), []);
}

pub(super) async fn what_is_tried_again_holds_back_its_line_alone(stand: &Stand) {
    let ledger = stand.open().await;
    let batch = vec![
        lined(1, &["bolt"], "x"),
        lined(2, &["bolt"], "x"),
        lined(3, &["bolt"], "y"),
    ];
    ledger.accept(batch).await.unwrap();
    end(&*ledger, 1, 1, Next::Retry(at(200))).await;
    assert_eq!(due(&*ledger, "bolt").await, ids(&[3]));
    // What is held stays so, whoever asks for it.
    assert_eq!(ledger.retry(&DeliveryFilter::default(), at(50)).await.unwrap(), 2);
    assert_eq!(due(&*ledger, "bolt").await, ids(&[1, 3]));
    assert_eq!(held(&*ledger).await, 1);
}

pub(super) async fn who_died_holds_nobody_back(stand: &Stand) {
    let ledger = stand.open().await;
    let batch = (1..=3).map(|number| lined(number, &["bolt"], "x")).collect();
    ledger.accept(batch).await.unwrap();
    end(&*ledger, 1, 9, Next::Dead).await;
    assert_eq!(due(&*ledger, "bolt").await, ids(&[2]));
    // Retried by hand, it is due beside the one that took its place; the third waits for both.
    let first = DeliveryFilter {
        ids: ids(&[1]),
        ..DeliveryFilter::default()
    };
    ledger.retry(&first, at(50)).await.unwrap();
    assert_eq!(due(&*ledger, "bolt").await, ids(&[1, 2]));
    end(&*ledger, 2, 1, Next::Delivered).await;
    assert_eq!(due(&*ledger, "bolt").await, ids(&[1]));
    end(&*ledger, 1, 1, Next::Delivered).await;
    assert_eq!(due(&*ledger, "bolt").await, ids(&[3]));
}

/// One adds to a line, the other ends what stands first in it, over two nodes, as fast as they can.
pub(super) async fn nothing_stays_held_when_adding_and_ending_meet(stand: &Stand) {
    const EVENTS: u32 = 300;
    let (one, other) = (stand.open().await, stand.open().await);
    let adds = |ledger: Arc<dyn Ledger>, odd: u32| {
        tokio::spawn(async move {
            for number in (1..=EVENTS).filter(|number| number % 2 == odd) {
                ledger.accept(vec![lined(number, &["bolt"], "x")]).await.unwrap();
            }
        })
    };
    let adding = [adds(one.clone(), 0), adds(other.clone(), 1)];
    let mut arrived = 0;
    while arrived < EVENTS {
        let due = one.due("bolt", at(9_999), 9).await.unwrap();
        let attempts = due.iter().map(|due| crate::Attempt {
            delivery: due.delivery,
            ..attempt(1, "bolt", 1, 20, Next::Delivered)
        });
        arrived += u32::try_from(due.len()).unwrap();
        assert!(due.len() <= 1, "one of a line at a time");
        if due.is_empty() {
            let stuck = adding.iter().all(tokio::task::JoinHandle::is_finished);
            let again = one.due("bolt", at(9_999), 9).await.unwrap();
            assert!(
                !stuck || !again.is_empty(),
                "{arrived} arrived and the rest stays held"
            );
            tokio::task::yield_now().await;
        }
        other.settle(None, attempts.collect()).await.unwrap();
    }
    for adding in adding {
        adding.await.unwrap();
    }
    assert_eq!(held(&*one).await, 0);
}
