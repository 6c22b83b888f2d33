//! Promises about pushes that are owed.

use super::make::{at, deal, link, mark, owe_linked, write};
use super::stand::Stand;
use crate::{Ledger, Link, Push, PushEnd, PushMark, Sent, SyncCommit};

async fn commit(ledger: &dyn Ledger, ended: Vec<(Push, PushEnd)>, marks: Vec<PushMark>) {
    let commit = SyncCommit {
        ended,
        marks,
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
}

/// The pushes that are due; (record's number, mark, due second, attempts).
async fn due(ledger: &dyn Ledger, second: i64) -> Vec<Push> {
    ledger.pushes("hs", "deals", at(second), 100).await.unwrap()
}

pub(super) async fn marking_counts_and_starts_again(stand: &Stand) {
    let ledger = stand.open().await;
    commit(&*ledger, vec![], vec![mark("hs", deal(1), 10)]).await;
    assert_eq!(due(&*ledger, 9).await, []);
    let first = due(&*ledger, 10).await.remove(0);
    assert_eq!((first.mark, first.attempts, first.due_at), (1, 0, at(10)));

    commit(&*ledger, vec![(first, PushEnd::Later(at(50)))], vec![]).await;
    // Marked for an earlier moment than it waits for: it comes earlier, and counts from the start.
    commit(
        &*ledger,
        vec![],
        vec![mark("hs", deal(1), 20), mark("hs", deal(1), 30)],
    )
    .await;
    let again = due(&*ledger, 20).await.remove(0);
    assert_eq!((again.mark, again.attempts, again.due_at), (2, 0, at(20)));
    // Marked for a later one: it stays.
    commit(&*ledger, vec![], vec![mark("hs", deal(1), 90)]).await;
    assert_eq!(due(&*ledger, 20).await[0].due_at, at(20));
}

pub(super) async fn done_is_done_only_up_to_the_mark_that_was_read(stand: &Stand) {
    let ledger = stand.open().await;
    commit(
        &*ledger,
        vec![],
        vec![mark("hs", deal(1), 1), mark("hs", deal(2), 1)],
    )
    .await;
    let read = due(&*ledger, 1).await;
    commit(&*ledger, vec![], vec![mark("hs", deal(2), 1)]).await;
    let done = read.iter().cloned().map(|push| (push, PushEnd::Done)).collect();
    commit(&*ledger, done, vec![]).await;
    let left = due(&*ledger, 1).await;
    assert_eq!(
        left.iter()
            .map(|push| (push.record, push.mark))
            .collect::<Vec<_>>(),
        [(deal(2), 2)]
    );
    // Done and marked in one commit is still owed.
    commit(
        &*ledger,
        vec![(left[0].clone(), PushEnd::Done)],
        vec![mark("hs", deal(2), 1)],
    )
    .await;
    assert_eq!(due(&*ledger, 1).await.len(), 1);
}

pub(super) async fn later_counts_an_attempt_and_waits(stand: &Stand) {
    let ledger = stand.open().await;
    commit(&*ledger, vec![], vec![mark("hs", deal(1), 1)]).await;
    for (attempts, second) in [(1, 10), (2, 20)] {
        let push = due(&*ledger, second - 1).await.remove(0);
        commit(&*ledger, vec![(push, PushEnd::Later(at(second)))], vec![]).await;
        assert_eq!(due(&*ledger, second - 1).await, []);
        assert_eq!(due(&*ledger, second).await[0].attempts, attempts);
    }
    // Marked meanwhile: the new mark's moment counts, not ours.
    let push = due(&*ledger, 20).await.remove(0);
    commit(&*ledger, vec![], vec![mark("hs", deal(1), 5)]).await;
    commit(&*ledger, vec![(push, PushEnd::Later(at(99)))], vec![]).await;
    assert_eq!(due(&*ledger, 5).await[0].attempts, 0);
}

pub(super) async fn what_was_sent_is_kept_until_it_is_heard_of(stand: &Stand) {
    let ledger = stand.open().await;
    let marks = (1..=3).map(|number| mark("hs", deal(number), 1)).collect();
    commit(&*ledger, vec![], marks).await;
    let values = [
        Sent {
            at: at(1),
            values: serde_json::json!({"name": "a"}),
            creates: true,
        },
        Sent {
            at: at(2),
            values: serde_json::json!({"name": null}),
            creates: false,
        },
    ];
    let mut pushes = due(&*ledger, 1).await;
    for push in &mut pushes {
        push.sent = values.to_vec();
    }
    let sending = SyncCommit {
        sending: pushes,
        ..SyncCommit::default()
    };
    ledger.commit(sending).await.unwrap();
    let all = [deal(1), deal(2), deal(3), deal(4)];
    let sent = async || {
        let mut sent = ledger.sent("hs", "deals", &all).await.unwrap();
        sent.sort_by_key(|(record, _)| *record);
        sent
    };
    let kept = |number| (deal(number), values.to_vec());
    assert_eq!(sent().await, [kept(1), kept(2), kept(3)]);
    let pushes = due(&*ledger, 1).await;
    assert_eq!(pushes[0].sent, values);
    // Marked again since: it is still owed, and what was sent of it was heard of all the same.
    commit(&*ledger, vec![], vec![mark("hs", deal(2), 1)]).await;
    let [first, second, third] = [0, 1, 2].map(|at| pushes[at].clone());
    let ended = vec![
        (first, PushEnd::Later(at(9))),
        (second, PushEnd::Done),
        (third, PushEnd::Done),
    ];
    commit(&*ledger, ended, vec![]).await;
    assert_eq!(sent().await, [kept(1)]);
    let owed: Vec<_> = due(&*ledger, 9)
        .await
        .into_iter()
        .map(|push| push.record)
        .collect();
    assert_eq!(owed, [deal(2), deal(1)]);
    assert!(ledger.sent("sf", "deals", &all).await.unwrap().is_empty());
    // Of what is marked in the same commit it is kept, too.
    let mut fourth = due(&*ledger, 9).await.remove(0);
    fourth.record = deal(4);
    fourth.sent = values.to_vec();
    let both = SyncCommit {
        marks: vec![mark("hs", deal(4), 1)],
        sending: vec![fourth],
        ..SyncCommit::default()
    };
    ledger.commit(both).await.unwrap();
    assert_eq!(sent().await, [kept(1), kept(4)]);
}

pub(super) async fn pushes_come_oldest_due_first(stand: &Stand) {
    let ledger = stand.open().await;
    let marks = [(1, 30), (2, 10), (3, 20), (4, 99)];
    let mut marks: Vec<PushMark> = marks
        .into_iter()
        .map(|(n, second)| mark("hs", deal(n), second))
        .collect();
    marks.push(mark("sf", deal(1), 1));
    commit(&*ledger, vec![], marks).await;
    let order: Vec<_> = due(&*ledger, 50)
        .await
        .into_iter()
        .map(|push| push.record)
        .collect();
    assert_eq!(order, [deal(2), deal(3), deal(1)]);
    assert_eq!(ledger.pushes("hs", "deals", at(50), 2).await.unwrap().len(), 2);
}

pub(super) async fn all_that_is_linked_can_be_marked_at_once(stand: &Stand) {
    let ledger = stand.open().await;
    let records = (1..=4).map(|number| write(deal(number), 1)).collect();
    let gone = Link {
        gone: true,
        ..link("hs", "c", deal(3))
    };
    let linked = SyncCommit {
        records,
        links: vec![
            link("hs", "a", deal(1)),
            link("hs", "b", deal(2)),
            gone,
            link("sf", "d", deal(4)),
        ],
        marks: vec![mark("hs", deal(2), 50)],
        ..SyncCommit::default()
    };
    ledger.commit(linked).await.unwrap();
    owe_linked(&*ledger, "hs", "deals").await;
    let mut owed: Vec<_> = due(&*ledger, 10)
        .await
        .into_iter()
        .map(|push| (push.record, push.mark))
        .collect();
    owed.sort_unstable();
    assert_eq!(owed, [(deal(1), 1), (deal(2), 2)]);
    owe_linked(&*ledger, "hs", "leads").await;
    assert_eq!(due(&*ledger, 10).await.len(), 2);
}

pub(super) async fn all_pushes_are_listed_page_by_page(stand: &Stand) {
    let ledger = stand.open().await;
    let marks = [3, 1, 2].map(|number| mark("hs", deal(number), 10 - i64::from(number)));
    commit(&*ledger, vec![], marks.into()).await;
    commit(&*ledger, vec![], vec![mark("sf", deal(4), 1)]).await;
    let listed = async |after, limit| {
        let pushes = ledger.all_pushes("hs", "deals", after, limit).await.unwrap();
        let pushes = pushes.into_iter().map(|push| (push.record, push.due_at));
        pushes.collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 2).await, [(deal(1), at(9)), (deal(2), at(8))]);
    assert_eq!(listed(Some(deal(2)), 2).await, [(deal(3), at(7))]);
    assert_eq!(listed(Some(deal(3)), 2).await, []);
}
