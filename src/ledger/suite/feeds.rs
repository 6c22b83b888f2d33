//! What an endpoint was to be told is read in its order, and nothing is passed over.

use model::EventId;

use super::make::{at, attempt, delivery_id, event, event_id};
use super::stand::Stand;
use crate::{DeliveryFilter, EventPlace, Feed, Ledger, Next};

async fn accept(ledger: &dyn Ledger, endpoint: &str, numbers: &[u32]) {
    let events = numbers.iter().map(|number| event(*number, &[endpoint])).collect();
    ledger.accept(events).await.unwrap();
}

async fn feed(ledger: &dyn Ledger, after: EventPlace, limit: usize) -> (Vec<EventId>, Feed) {
    let feed = ledger.feed("bolt", after, limit).await.unwrap();
    (feed.told.iter().map(|due| due.event).collect(), feed)
}

fn ids(numbers: &[u32]) -> Vec<EventId> {
    numbers.iter().map(|number| event_id(*number)).collect()
}

pub(super) async fn a_feed_is_read_in_the_order_of_acceptance_whatever_became_of_it(stand: &Stand) {
    let ledger = stand.open().await;
    let (nothing, empty) = feed(&*ledger, EventPlace::default(), 9).await;
    assert_eq!((nothing, empty.more), (vec![], false));
    accept(&*ledger, "bolt", &[7, 3]).await;
    accept(&*ledger, "acme", &[1]).await;
    accept(&*ledger, "bolt", &[5]).await;
    let ends = vec![
        attempt(7, "bolt", 1, 10, Next::Delivered),
        attempt(3, "bolt", 1, 10, Next::Dead),
        attempt(5, "bolt", 1, 10, Next::Retry(at(90))),
    ];
    ledger.settle(None, ends).await.unwrap();

    let (all, told) = feed(&*ledger, empty.place, 9).await;
    assert_eq!((all, told.more), (ids(&[7, 3, 5]), false));
    let sent = event(7, &["bolt"]);
    assert_eq!(
        (&told.told[0].body, &told.told[0].source, told.told[0].received_at),
        (&sent.body, &sent.source, sent.received_at)
    );
    let (first, told) = feed(&*ledger, EventPlace::default(), 2).await;
    assert_eq!((first, told.more), (ids(&[7, 3]), true));
    let (rest, told) = feed(&*ledger, told.place, 2).await;
    assert_eq!((rest, told.more), (ids(&[5]), false));
    assert_eq!(ledger.feed_end().await.unwrap(), told.place);
    assert_eq!(told.place.to_string().parse(), Ok(told.place));

    // What comes later comes after it, and what was read is not told again.
    accept(&*ledger, "bolt", &[2]).await;
    let (news, _) = feed(&*ledger, told.place, 9).await;
    assert_eq!(news, ids(&[2]));
}

pub(super) async fn what_was_pulled_has_arrived_whatever_became_of_it_before(stand: &Stand) {
    let ledger = stand.open().await;
    accept(&*ledger, "bolt", &[1, 2, 3, 4]).await;
    let ends = vec![
        attempt(1, "bolt", 1, 10, Next::Dead),
        attempt(2, "bolt", 1, 10, Next::Retry(at(90))),
    ];
    ledger.settle(None, ends).await.unwrap();
    let pulled = [1, 2, 3, 9].map(|number| delivery_id(number, "bolt"));
    for _ in 0..2 {
        ledger.settle_pulled(pulled.to_vec()).await.unwrap();
        let all = ledger
            .list_deliveries(&DeliveryFilter::default(), None, 9)
            .await
            .unwrap();
        let mut stand: Vec<_> = all.iter().map(|one| (one.event, one.state.word())).collect();
        stand.sort_by_key(|(event, _)| ids(&[1, 2, 3, 4]).iter().position(|id| id == event));
        let words: Vec<&str> = stand.iter().map(|(_, word)| *word).collect();
        assert_eq!(words, ["delivered", "delivered", "delivered", "due"]);
        let due = ledger.due("bolt", at(999), 9).await.unwrap();
        assert_eq!(due.iter().map(|due| due.event).collect::<Vec<_>>(), ids(&[4]));
    }
    ledger.settle_pulled(Vec::new()).await.unwrap();
}

pub(super) async fn what_was_removed_does_not_come_again_under_its_number(stand: &Stand) {
    let ledger = stand.open().await;
    accept(&*ledger, "bolt", &[1, 2]).await;
    let ends = [1, 2].map(|number| attempt(number, "bolt", 1, 10, Next::Delivered));
    ledger.settle(None, ends.to_vec()).await.unwrap();
    let (_, read) = feed(&*ledger, EventPlace::default(), 9).await;
    let lease = ledger
        .lease("forget", "me", at(1), at(30))
        .await
        .unwrap()
        .unwrap();
    let old = crate::OldEvents {
        arrived_before: Some(at(99)),
        dead_before: Some(at(99)),
    };
    ledger
        .forget_events(&lease, &old, EventPlace::default(), 9)
        .await
        .unwrap();
    accept(&*ledger, "bolt", &[3]).await;
    let (news, _) = feed(&*ledger, read.place, 9).await;
    assert_eq!(news, ids(&[3]));
}

/// Two transactions write, and the one that got the smaller number commits last.
#[test]
fn what_commits_late_is_not_passed_over() {
    super::keep(super::Store::Postgres, async |stand: &Stand| {
        let ledger = stand.open().await;
        let other = stand.connect().await;
        let write = "BEGIN; INSERT INTO events (id, event_type, source, dedupe, received_at, trace, body) \
                     SELECT '00000000-0000-4000-8000-000000000001', 'deal.won', 'late', 'late', 1, '', '{}'; \
                     INSERT INTO deliveries (id, seq, endpoint, state, fresh, attempts, next_at, last_status, last_error) \
                     SELECT '00000000-0000-4000-8000-000000000002', seq, 'bolt', 'due', true, 0, 1, NULL, '' \
                     FROM events WHERE source = 'late'";
        other.batch_execute(write).await.unwrap();
        accept(&*ledger, "bolt", &[1]).await;
        // The later number is there, and is not told, because something before it may still come.
        let (nothing, waiting) = feed(&*ledger, EventPlace::default(), 9).await;
        assert_eq!((nothing, waiting.place), (vec![], EventPlace::default()));

        // Who asks while the other one commits gets both, in their order.
        let asking = tokio::spawn({
            let ledger = ledger.clone();
            async move { ledger.feed("bolt", waiting.place, 9).await.unwrap() }
        });
        other.batch_execute("COMMIT").await.unwrap();
        let told = asking.await.unwrap();
        let sources: Vec<&str> = told.told.iter().map(|due| due.source.as_str()).collect();
        assert_eq!(sources.first(), Some(&"late"));
        assert_eq!(told.told.len(), 2);

        // One that is taken back leaves no gap to wait for.
        other
            .batch_execute(&write.replace("late", "never").replace("-80", "-81"))
            .await
            .unwrap();
        accept(&*ledger, "bolt", &[2]).await;
        other.batch_execute("ROLLBACK").await.unwrap();
        let (news, _) = feed(&*ledger, told.place, 9).await;
        assert_eq!(news, ids(&[2]));
    });
}
