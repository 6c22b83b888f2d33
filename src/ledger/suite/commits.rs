//! Promises about commits: all or nothing, against what was read, by who may.

use futures_util::future::join_all;
use model::{Kind, MatchKey, RecordId};
use serde_json::json;

use super::make::{as_read, at, conflict, deal, event, link, mark, parked, record, write};
use super::records::commit_records;
use super::stand::Stand;
use crate::{Cursor, Ledger, LedgerError, Link, RecordWrite, Sought, SyncCommit};

/// A commit that writes to every table.
fn everything(number: u32) -> SyncCommit {
    SyncCommit {
        records: vec![write(deal(number), 1)],
        links: vec![link("sf", &number.to_string(), deal(number))],
        conflicts: vec![conflict(deal(number), 1, true)],
        marks: vec![mark("hs", deal(number), 1)],
        parked: vec![parked(&number.to_string(), true, 1, None)],
        events: vec![event(number, &["bolt"])],
        cursor: Some((
            "sf".into(),
            "deals".into(),
            Cursor {
                complete_at: Some(at(1)),
                ..Cursor::at(json!(number), at(1))
            },
        )),
        ..SyncCommit::default()
    }
}

pub(super) async fn a_stale_commit_writes_nothing_and_names_all_that_is_stale(stand: &Stand) {
    let ledger = stand.open().await;
    commit_records(
        &*ledger,
        vec![write(deal(1), 1), write(deal(2), 1), write(deal(3), 1)],
    )
    .await;
    commit_records(&*ledger, vec![write(deal(2), 2)]).await;
    let before = ledger.row_counts().await.unwrap();

    let mut stale = everything(9);
    stale.records.extend([
        // New, and yet it exists; read before it was changed; as it should be; changed although it never was.
        write(deal(1), 1),
        write(deal(2), 2),
        write(deal(3), 2),
        write(deal(4), 7),
    ]);
    let Err(LedgerError::Stale(mut ids)) = ledger.commit(stale).await else {
        panic!("must be stale");
    };
    ids.sort();
    assert_eq!(ids, [deal(1), deal(2), deal(4)]);
    assert_eq!(ledger.row_counts().await.unwrap(), before);
    assert_eq!(ledger.records(&[deal(3)]).await.unwrap()[0].version, 1);
    assert_eq!(ledger.cursor("sf", "deals").await.unwrap(), None);
}

/// A new record, for which everybody was found whom its shared key had then.
fn new_beside(number: u32, found: &[RecordId]) -> SyncCommit {
    SyncCommit {
        sought: vec![Sought {
            kind: Kind::Deal,
            key: MatchKey("shared".to_owned()),
            found: found.to_vec(),
        }],
        records: vec![write(deal(number), 1)],
        ..SyncCommit::default()
    }
}

pub(super) async fn nobody_may_come_under_a_key_meanwhile(stand: &Stand) {
    let ledger = stand.open().await;
    ledger.commit(new_beside(1, &[])).await.unwrap();
    // Who knows of it may be new beside it; who looked before it came may not.
    ledger.commit(new_beside(2, &[deal(1)])).await.unwrap();
    let before = ledger.row_counts().await.unwrap();
    let late = ledger.commit(new_beside(3, &[deal(1)])).await.unwrap_err();
    assert!(matches!(late, LedgerError::Stale(ids) if ids == [deal(2)]));
    assert_eq!(ledger.row_counts().await.unwrap(), before);
    // Who was found and went since is nobody to wait for.
    ledger
        .commit(new_beside(3, &[deal(1), deal(2), deal(9)]))
        .await
        .unwrap();
}

/// Links that are claimed, beside others.
fn claiming(links: Vec<Link>, claims: Vec<Link>) -> SyncCommit {
    SyncCommit {
        links,
        claims,
        ..SyncCommit::default()
    }
}

async fn refused(ledger: &dyn Ledger, claim: Link) -> Vec<RecordId> {
    let before = ledger.links(&[deal(1), deal(2), deal(3)]).await.unwrap();
    let rows = ledger.row_counts().await.unwrap();
    let beside = vec![link("hs", "beside", claim.record)];
    let Err(LedgerError::Stale(ids)) = ledger.commit(claiming(beside, vec![claim])).await else {
        panic!("must be stale");
    };
    assert_eq!(ledger.row_counts().await.unwrap(), rows);
    assert_eq!(ledger.links(&[deal(1), deal(2), deal(3)]).await.unwrap(), before);
    ids
}

pub(super) async fn a_claimed_link_replaces_no_living_one(stand: &Stand) {
    let ledger = stand.open().await;
    commit_records(&*ledger, (1..=3).map(|number| write(deal(number), 1)).collect()).await;
    let claim = async |claim: Link| ledger.commit(claiming(Vec::new(), vec![claim])).await;
    claim(link("sf", "a", deal(1))).await.unwrap();
    // The same again when it was read, and elsewhere.
    claim(as_read(&link("sf", "a", deal(1)))).await.unwrap();
    claim(link("hs", "a", deal(1))).await.unwrap();
    // The same when it was not read, a second object of the record, and the object of another record.
    assert_eq!(refused(&*ledger, link("sf", "a", deal(1))).await, [deal(1)]);
    assert_eq!(refused(&*ledger, link("sf", "b", deal(1))).await, [deal(1)]);
    assert_eq!(refused(&*ledger, link("sf", "a", deal(2))).await, [deal(2)]);
    let as_another = as_read(&link("sf", "a", deal(2)));
    assert_eq!(refused(&*ledger, as_another).await, [deal(2)]);
    // What is gone may be replaced, by record and by object.
    let gone = |id: &str, number| Link {
        gone: true,
        ..link("sf", id, deal(number))
    };
    ledger
        .commit(claiming(vec![gone("a", 1), gone("x", 3)], Vec::new()))
        .await
        .unwrap();
    claim(link("sf", "b", deal(1))).await.unwrap();
    claim(link("sf", "x", deal(2))).await.unwrap();
    // What the commit itself says of the record, it knows of; so does it when objects are traded.
    ledger
        .commit(claiming(vec![gone("b", 1)], vec![link("sf", "c", deal(1))]))
        .await
        .unwrap();
    ledger
        .commit(claiming(
            vec![link("sf", "c#moved", deal(1))],
            vec![link("sf", "c", deal(3))],
        ))
        .await
        .unwrap();
    let links = ledger
        .links_to("sf", "deals", &[deal(1), deal(2), deal(3)])
        .await
        .unwrap();
    let mut at_sf: Vec<_> = links
        .iter()
        .map(|link| (link.record, link.external_id.as_str()))
        .collect();
    at_sf.sort();
    assert_eq!(at_sf, [(deal(1), "c#moved"), (deal(2), "x"), (deal(3), "c")]);
    let others = ledger.links_to("sf", "others", &[deal(1)]).await.unwrap();
    assert_eq!(others, []);
}

pub(super) async fn a_link_replaces_only_the_one_that_was_read(stand: &Stand) {
    let ledger = stand.open().await;
    commit_records(&*ledger, (1..=2).map(|number| write(deal(number), 1)).collect()).await;
    let read = async |record: u32| ledger.links(&[deal(record)]).await.unwrap().remove(0);
    let links = async |links: Vec<Link>| ledger.commit(claiming(links, Vec::new())).await;
    links(vec![link("sf", "a", deal(1)), link("sf", "b", deal(2))])
        .await
        .unwrap();
    let (before, other) = (read(1).await, read(2).await);
    let seen = |second: i64, link: &Link| Link {
        seen_at: at(second),
        ..link.clone()
    };
    // Two have read it: the second one to write does not know what the first one wrote, whether it claims it or not.
    links(vec![seen(6, &before)]).await.unwrap();
    for claims in [false, true] {
        let both = vec![seen(7, &before), seen(7, &other)];
        let commit = match claims {
            true => claiming(Vec::new(), both),
            false => claiming(both, Vec::new()),
        };
        let refused = ledger.commit(commit).await;
        assert!(matches!(refused, Err(LedgerError::Stale(ids)) if ids == [deal(1)]));
        assert_eq!((read(1).await.seen_at, read(2).await.seen_at), (at(6), at(5)));
    }
    // Who reads it again may; so may who says what it is, whatever it was.
    links(vec![seen(7, &read(1).await)]).await.unwrap();
    links(vec![link("sf", "a", deal(1))]).await.unwrap();
    // One that went meanwhile is another one, for who claims it.
    let before = read(1).await;
    let gone = Link {
        gone: true,
        ..seen(8, &before)
    };
    links(vec![gone]).await.unwrap();
    assert_eq!(refused(&*ledger, before).await, [deal(1)]);
    // Objects may be traded.
    let trade = |id: &str, link: &Link| Link {
        external_id: id.to_owned(),
        ..link.clone()
    };
    let (one, other) = (read(1).await, read(2).await);
    links(vec![trade("b", &one), trade("a", &other)]).await.unwrap();
    assert_eq!(read(1).await.external_id, "b");
    assert_eq!(read(2).await.external_id, "a");
}

async fn one_is_claimed(ledgers: &[std::sync::Arc<dyn Ledger>]) {
    commit_records(&*ledgers[0], vec![write(deal(1), 1)]).await;
    let commits = (1..=8).map(|number| {
        let claim = link("sf", &number.to_string(), deal(1));
        ledgers[number % ledgers.len()].commit(claiming(Vec::new(), vec![claim]))
    });
    let answers = join_all(commits).await;
    let stale = |answer: &&Result<(), LedgerError>| matches!(answer, Err(LedgerError::Stale(_)));
    assert_eq!(answers.iter().filter(stale).count(), 7, "{answers:?}");
    assert_eq!(ledgers[0].links(&[deal(1)]).await.unwrap().len(), 1);
}

pub(super) async fn of_links_that_are_claimed_at_once_one_is_made(stand: &Stand) {
    one_is_claimed(&[stand.open().await]).await;
}

pub(super) async fn two_nodes_claim_one_object_of_a_record(stand: &Stand) {
    one_is_claimed(&[stand.open().await, stand.open().await]).await;
}

async fn one_is_made(ledgers: &[std::sync::Arc<dyn Ledger>]) {
    let commits = (1..=8).map(|number| {
        let ledger = &ledgers[number as usize % ledgers.len()];
        ledger.commit(new_beside(number, &[]))
    });
    let made = join_all(commits).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(made, 1);
}

pub(super) async fn of_new_records_that_fit_alike_one_is_made(stand: &Stand) {
    one_is_made(&[stand.open().await]).await;
}

pub(super) async fn two_nodes_make_one_of_new_records_that_fit_alike(stand: &Stand) {
    one_is_made(&[stand.open().await, stand.open().await]).await;
}

pub(super) async fn a_record_may_be_written_twice_in_a_chain(stand: &Stand) {
    let ledger = stand.open().await;
    commit_records(&*ledger, vec![write(deal(1), 1), write(deal(1), 2)]).await;
    assert_eq!(ledger.records(&[deal(1)]).await.unwrap(), [record(deal(1), 2)]);
    assert_eq!(ledger.history(deal(1)).await.unwrap().len(), 4);
    let unchained = SyncCommit {
        records: vec![write(deal(1), 3), write(deal(1), 3)],
        ..SyncCommit::default()
    };
    assert!(matches!(ledger.commit(unchained).await, Err(LedgerError::Stale(ids)) if ids == [deal(1)]));
    assert_eq!(ledger.records(&[deal(1)]).await.unwrap()[0].version, 2);
}

pub(super) async fn of_many_who_change_a_record_at_once_one_wins(stand: &Stand) {
    let ledger = stand.open().await;
    for version in 1..=4 {
        let asked = (0..16).map(|_| {
            let ledger = ledger.clone();
            let commit = SyncCommit {
                records: vec![write(deal(1), version)],
                ..SyncCommit::default()
            };
            tokio::spawn(async move { ledger.commit(commit).await })
        });
        let answers: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        let stale = |answer: &&Result<(), LedgerError>| matches!(answer, Err(LedgerError::Stale(_)));
        assert_eq!(answers.iter().filter(stale).count(), 15);
    }
}

/// Pages that share records, links, pushes and events, in opposite orders: nobody waits for ever, nobody fails for
/// another reason than being stale, and who succeeded succeeded whole.
pub(super) async fn commits_that_meet_end_one_way_or_the_other(stand: &Stand) {
    let ledger = stand.open().await;
    let numbers: Vec<u32> = (1..=30).collect();
    commit_records(&*ledger, numbers.iter().map(|n| write(deal(*n), 1)).collect()).await;
    let asked = (0..12_u64).map(|task| {
        let ledger = ledger.clone();
        let mut numbers = numbers.clone();
        if task % 2 == 1 {
            numbers.reverse();
        }
        tokio::spawn(async move {
            let pushes = ledger.pushes("hs", "deals", at(9), 100).await.unwrap();
            // Half of them change the records as well; the others only what belongs to them.
            let records = if task < 6 {
                numbers.iter().map(|n| write(deal(*n), 2)).collect()
            } else {
                vec![]
            };
            let commit = SyncCommit {
                records,
                links: numbers
                    .iter()
                    .map(|n| link("sf", &n.to_string(), deal(*n)))
                    .collect(),
                conflicts: numbers.iter().map(|n| conflict(deal(*n), 1, true)).collect(),
                marks: numbers.iter().map(|n| mark("hs", deal(*n), 1)).collect(),
                ended: pushes
                    .into_iter()
                    .rev()
                    .map(|push| (push, crate::PushEnd::Later(at(2))))
                    .collect(),
                events: numbers.iter().map(|n| event(*n, &["bolt"])).collect(),
                ..SyncCommit::default()
            };
            ledger.commit(commit).await
        })
    });
    let answers: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers[..6].iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in &answers {
        assert!(
            matches!(answer, Ok(()) | Err(LedgerError::Stale(_))),
            "{answer:?}"
        );
    }
    assert!(answers[6..].iter().all(Result::is_ok));
    assert_eq!(ledger.due("bolt", at(99), 100).await.unwrap().len(), 30);
    let marks: Vec<u64> = ledger
        .pushes("hs", "deals", at(9), 100)
        .await
        .unwrap()
        .iter()
        .map(|p| p.mark)
        .collect();
    assert_eq!(marks, [7; 30]);
}

pub(super) async fn a_commit_with_a_lost_lease_writes_nothing(stand: &Stand) {
    let ledger = stand.open().await;
    let lost = ledger
        .lease("Pull/sf", "a", at(0), at(10))
        .await
        .unwrap()
        .unwrap();
    let held = |lease: &crate::Lease, number| SyncCommit {
        lease: Some(lease.clone()),
        ..everything(number)
    };
    ledger.commit(held(&lost, 1)).await.unwrap();
    let owned = ledger
        .lease("Pull/sf", "b", at(10), at(20))
        .await
        .unwrap()
        .unwrap();
    let before = ledger.row_counts().await.unwrap();
    let refused = ledger.commit(held(&lost, 2)).await;
    assert!(matches!(refused, Err(LedgerError::LeaseLost(key)) if key == "Pull/sf"));
    assert_eq!(ledger.row_counts().await.unwrap(), before);
    assert_eq!(
        ledger.cursor("sf", "deals").await.unwrap().unwrap().position,
        json!(1)
    );

    ledger.commit(held(&owned, 2)).await.unwrap();
    ledger.release(&owned).await.unwrap();
    assert!(matches!(
        ledger.commit(held(&owned, 3)).await,
        Err(LedgerError::LeaseLost(_))
    ));
}

pub(super) async fn after_a_lease_was_given_on_no_late_commit_succeeds(stand: &Stand) {
    let ledger = stand.open().await;
    let other_node = stand.open().await;
    // Far more than fit between two answers: a fence that never closes fails instead of going on for ever.
    const COMMITS_MAX: u64 = 5_000;
    for round in 0..5 {
        let key = format!("Pull/{round}");
        let lease = ledger.lease(&key, "a", at(0), at(10)).await.unwrap().unwrap();
        let late = {
            let (ledger, lease) = (ledger.clone(), lease.clone());
            tokio::spawn(async move {
                for number in 0..COMMITS_MAX {
                    let cursor = Cursor {
                        round_at: Some(at(1)),
                        ..Cursor::at(json!(number), at(0))
                    };
                    let commit = SyncCommit {
                        lease: Some(lease.clone()),
                        cursor: Some((lease.key.clone(), "deals".into(), cursor)),
                        ..SyncCommit::default()
                    };
                    if let Err(error) = ledger.commit(commit).await {
                        assert!(matches!(error, LedgerError::LeaseLost(_)), "{error}");
                        return;
                    }
                }
                panic!("the lease was never lost");
            })
        };
        while other_node.cursor(&key, "deals").await.unwrap().is_none() {
            assert!(!late.is_finished(), "what was committed cannot be read");
            tokio::task::yield_now().await;
        }
        assert!(
            other_node
                .lease(&key, "b", at(10), at(20))
                .await
                .unwrap()
                .is_some()
        );
        let when_given_on = other_node.cursor(&key, "deals").await.unwrap();
        late.await.unwrap();
        assert_eq!(other_node.cursor(&key, "deals").await.unwrap(), when_given_on);
    }
}

pub(super) async fn a_commit_leaves_out_events_that_are_known(stand: &Stand) {
    let ledger = stand.open().await;
    ledger.accept(vec![event(1, &["bolt"])]).await.unwrap();
    let mut again = event(1, &["bolt"]);
    again.id = super::make::event_id(77);
    again.deliveries[0].id = super::make::delivery_id(77, "bolt");
    let commit = SyncCommit {
        events: vec![again, event(2, &["bolt"]), event(2, &["bolt"])],
        records: vec![RecordWrite {
            match_keys: vec![],
            ..write(deal(1), 1)
        }],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    let due = ledger.due("bolt", at(99), 10).await.unwrap();
    let events: Vec<_> = due.iter().map(|due| due.event).collect();
    assert_eq!(events, [super::make::event_id(1), super::make::event_id(2)]);
}

/// Somebody else holds the second record and asks for the first, which the commit holds: the database ends the commit's
/// transaction, and it is run again.
#[test]
fn a_commit_that_is_deadlocked_is_run_again() {
    super::keep(super::Store::Postgres, async |stand: &Stand| {
        let ledger = stand.open().await;
        commit_records(&*ledger, vec![write(deal(1), 1), write(deal(2), 1)]).await;
        let (other, watcher) = (stand.connect().await, stand.connect().await);
        // Only the commit's side looks for deadlocks, so it is the one that is ended.
        other
            .batch_execute("SET deadlock_timeout = '60s'; BEGIN")
            .await
            .unwrap();
        let lock = "SELECT 1 FROM records WHERE id = $1 FOR UPDATE";
        other.query(lock, &[&deal(2).uuid]).await.unwrap();
        let commit = SyncCommit {
            records: vec![write(deal(1), 2), write(deal(2), 2)],
            ..SyncCommit::default()
        };
        let committing = tokio::spawn({
            let ledger = ledger.clone();
            async move { ledger.commit(commit).await }
        });
        let free = "SELECT 1 FROM records WHERE id = $1 FOR UPDATE SKIP LOCKED";
        while !watcher.query(free, &[&deal(1).uuid]).await.unwrap().is_empty() {
            assert!(!committing.is_finished());
        }
        other.query(lock, &[&deal(1).uuid]).await.unwrap();
        other.batch_execute("ROLLBACK").await.unwrap();
        committing.await.unwrap().unwrap();
        assert_eq!(ledger.records(&[deal(2)]).await.unwrap()[0].version, 2);
    });
}
