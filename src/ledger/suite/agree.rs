//! Both stores give the same answers to the same questions: random work, done to both, compared step by step.

use jiff::SignedDuration;
use model::{DeliveryId, Kind, MatchKey};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use super::make;
use super::stand::{Stand, Store, keep};
use crate::{
    ConflictFilter, DeliveryFilter, DeliveryState, Lease, Ledger, LedgerError, Next, ParkedFilter, PushEnd,
    RecordWrite, SyncCommit,
};

/// Few cases: each is some dozens of transactions on a server. A failure is made small by proptest.
const CASES: u32 = 16;
/// Steps of one case.
const STEPS_MAX: usize = 40;
const ENDPOINTS: [&str; 3] = ["acme", "Bolt", "élan"];

/// Something to do. Numbers are small, so that steps meet.
#[derive(Clone, Debug)]
enum Step {
    /// (number, id, endpoint) of each event: number and id differ, so a message may come under another id.
    Accept(Vec<(u32, u32, usize)>),
    /// (event, endpoint, attempt, second, what becomes of it); whether under the lease.
    Settle(Vec<(u32, usize, u32, i64, u8)>, bool),
    Retry(Option<usize>, Option<DeliveryState>, Option<i64>),
    Stop(usize, bool),
    Lease(i64),
    Release,
    /// (record, version it was read at) and (record, external id) of links; ended pushes; whether under the lease.
    Commit(Vec<(u32, u64)>, Vec<(u32, u8)>, Vec<(u32, u64, bool)>, bool),
    Park(u8, bool, Option<i64>, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0..6_u32;
    let endpoint = 0..ENDPOINTS.len();
    let second = 0..40_i64;
    let event = (number.clone(), number.clone(), endpoint.clone());
    let attempt = (
        number.clone(),
        endpoint.clone(),
        1..4_u32,
        second.clone(),
        0..3_u8,
    );
    let state = prop_oneof![
        Just(DeliveryState::Due),
        Just(DeliveryState::Held),
        Just(DeliveryState::Dead),
        Just(DeliveryState::Delivered)
    ];
    let write = (number.clone(), 0..4_u64);
    let link = (number.clone(), 0..6_u8);
    let ended = (number, 0..4_u64, any::<bool>());
    prop_oneof![
        3 => prop::collection::vec(event, 1..4).prop_map(Step::Accept),
        2 => (prop::collection::vec(attempt, 1..4), any::<bool>()).prop_map(|(a, l)| Step::Settle(a, l)),
        1 => (prop::option::of(endpoint.clone()), prop::option::of(state), prop::option::of(second.clone()))
            .prop_map(|(e, s, t)| Step::Retry(e, s, t)),
        1 => (endpoint, any::<bool>()).prop_map(|(e, s)| Step::Stop(e, s)),
        1 => second.clone().prop_map(Step::Lease),
        1 => Just(Step::Release),
        4 => (
            prop::collection::vec(write, 0..4),
            prop::collection::vec(link, 0..4),
            prop::collection::vec(ended, 0..3),
            any::<bool>(),
        )
            .prop_map(|(w, l, e, h)| Step::Commit(w, l, e, h)),
        1 => (0..3_u8, any::<bool>(), prop::option::of(second), any::<bool>())
            .prop_map(|(k, i, r, p)| Step::Park(k, i, r, p)),
    ]
}

/// A moment with more digits than rows keep.
fn fine(second: i64) -> jiff::Timestamp {
    make::at(second) + SignedDuration::from_nanos(123_456_789)
}

/// An answer that can be compared; what the database itself says is its own affair.
fn told<T: std::fmt::Debug>(answer: Result<T, LedgerError>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(LedgerError::Store(_)) => "refused by the database".into(),
        Err(LedgerError::Stale(mut ids)) => {
            ids.sort();
            format!("stale {ids:?}")
        }
        Err(error) => error.to_string(),
    }
}

/// Does one step; what was answered.
async fn take(ledger: &dyn Ledger, step: &Step, lease: &mut Option<Lease>) -> String {
    match step {
        Step::Accept(events) => {
            let events = events.iter().map(|(number, id, endpoint)| {
                let mut event = make::event(*number, &[ENDPOINTS[*endpoint]]);
                event.id = make::event_id(*id);
                event.deliveries[0].id = make::delivery_id(*id, ENDPOINTS[*endpoint]);
                // Two lines and some that stand in none, across all numbers.
                event.deliveries[0].line = (number % 3 > 0).then(|| format!("l{}", number % 3));
                event.received_at = fine(i64::from(*number));
                event
            });
            told(ledger.accept(events.collect()).await)
        }
        Step::Settle(attempts, held) => {
            let attempts = attempts.iter().map(|(event, endpoint, number, second, becomes)| {
                let next =
                    [Next::Delivered, Next::Retry(fine(second + 5)), Next::Dead][usize::from(*becomes)];
                make::attempt(*event, ENDPOINTS[*endpoint], *number, *second, next)
            });
            let lease = lease.as_ref().filter(|_| *held);
            told(ledger.settle(lease, attempts.collect()).await)
        }
        Step::Retry(endpoint, state, since) => {
            let filter = DeliveryFilter {
                ids: vec![],
                endpoint: endpoint.map(|n| ENDPOINTS[n].to_owned()),
                state: *state,
                since: since.map(make::at),
                ..DeliveryFilter::default()
            };
            told(ledger.retry(&filter, fine(20)).await)
        }
        Step::Stop(endpoint, stop) => {
            let stop = stop.then(|| make::stop("gone", 1));
            told(ledger.stop_endpoint(ENDPOINTS[*endpoint], stop.as_ref()).await)
        }
        Step::Lease(second) => {
            let given = ledger
                .lease("k", "me", make::at(*second), make::at(second + 10))
                .await;
            if let Ok(Some(given)) = &given {
                // The lease before stays in use now and then, to be refused.
                if second % 3 != 0 || lease.is_none() {
                    *lease = Some(given.clone());
                }
            }
            told(given)
        }
        Step::Release => match lease.as_ref() {
            Some(lease) => told(ledger.release(lease).await),
            None => String::new(),
        },
        Step::Commit(writes, links, ended, held) => told(
            ledger
                .commit(commit(writes, links, ended, lease.clone().filter(|_| *held)))
                .await,
        ),
        Step::Park(key, inbound, retry_at, park) => {
            let parked = make::parked(&key.to_string(), *inbound, i64::from(*key), *retry_at);
            let unparked = vec![("sf".to_owned(), "deals".to_owned(), key.to_string(), *inbound)];
            let commit = if *park {
                SyncCommit {
                    parked: vec![parked],
                    ..SyncCommit::default()
                }
            } else {
                SyncCommit {
                    unparked,
                    ..SyncCommit::default()
                }
            };
            told(ledger.commit(commit).await)
        }
    }
}

fn commit(
    writes: &[(u32, u64)],
    links: &[(u32, u8)],
    ended: &[(u32, u64, bool)],
    lease: Option<Lease>,
) -> SyncCommit {
    let records = writes.iter().map(|(number, read)| RecordWrite {
        match_keys: vec![MatchKey(format!("k{}", read % 2)), MatchKey("both".into())],
        ..make::write(make::deal(*number), read + 1)
    });
    let marked = writes.iter().map(|(number, read)| {
        let second = i64::try_from(*read).unwrap() * 7 % 20;
        make::mark("hs", make::deal(*number), second)
    });
    let ended = ended.iter().map(|(number, mark, done)| {
        let push = crate::Push {
            connection: "hs".into(),
            object: "deals".into(),
            record: make::deal(*number),
            mark: *mark,
            due_at: make::at(0),
            attempts: 0,
            sent: Vec::new(),
        };
        let end = if *done {
            PushEnd::Done
        } else {
            PushEnd::Later(fine(30))
        };
        (push, end)
    });
    SyncCommit {
        lease,
        records: records.collect(),
        links: links
            .iter()
            .map(|(number, external)| make::link("sf", &external.to_string(), make::deal(*number)))
            .collect(),
        // One that was decided cannot be written again, which would make most commits stale.
        conflicts: links
            .iter()
            .filter(|(_, external)| *external < 2)
            .map(|(number, external)| {
                make::conflict(make::deal(*number), u32::from(*external), *external == 0)
            })
            .collect(),
        marks: marked.collect(),
        ended: ended.collect(),
        events: writes
            .iter()
            .map(|(number, _)| make::event(100 + number, &[ENDPOINTS[0]]))
            .collect(),
        ..SyncCommit::default()
    }
}

/// Everything that can be read, as lines; where the contract leaves the order open, sorted.
async fn view(ledger: &dyn Ledger) -> Vec<String> {
    fn sorted<T: std::fmt::Debug>(items: &[T]) -> String {
        let mut lines: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
        lines.sort();
        lines.join("\n")
    }
    let mut lines = vec![
        told(ledger.row_counts().await),
        told(ledger.owed().await),
        told(ledger.endpoints_due().await),
        told(ledger.endpoint_states(None).await),
        told(ledger.list_records(Kind::Deal, None, 100).await),
        told(ledger.pushes("hs", "deals", make::at(15), 100).await),
        told(ledger.list_conflicts(&ConflictFilter::default(), None, 100).await),
        told(ledger.parked(&ParkedFilter::default(), 100).await),
        told(
            ledger
                .list_deliveries(&DeliveryFilter::default(), None, 100)
                .await,
        ),
    ];
    for endpoint in ENDPOINTS {
        for (second, limit) in [(3, 100), (25, 2), (60, 100)] {
            lines.push(told(ledger.due(endpoint, make::at(second), limit).await));
        }
    }
    let deals: Vec<_> = (0..6).map(make::deal).collect();
    let external: Vec<String> = (0..6).map(|n| n.to_string()).collect();
    lines.push(sorted(&ledger.links(&deals).await.unwrap()));
    lines.push(sorted(&ledger.links_to("hs", "deals", &deals).await.unwrap()));
    lines.push(sorted(&ledger.linked("sf", "deals", &external).await.unwrap()));
    let keys = ["both", "k0", "k1"].map(|key| MatchKey(key.into()));
    lines.push(told(ledger.matching(Kind::Deal, &keys).await));
    for number in 0..6 {
        lines.push(told(ledger.history(make::deal(number)).await));
        lines.push(sorted(
            &ledger.open_conflicts(&[make::deal(number)]).await.unwrap(),
        ));
        lines.push(told(ledger.event(make::event_id(number)).await));
        let of_first: DeliveryId = make::delivery_id(number, ENDPOINTS[0]);
        lines.push(told(ledger.attempts(of_first).await));
    }
    lines
}

async fn compare(stands: &[Stand; 2], steps: &[Step]) -> Result<(), TestCaseError> {
    let mut ledgers = Vec::new();
    for stand in stands {
        stand.clear().await;
        ledgers.push(stand.open().await);
    }
    let mut leases = [None, None];
    for (n, step) in steps.iter().enumerate() {
        let ours = take(&*ledgers[0], step, &mut leases[0]).await;
        let theirs = take(&*ledgers[1], step, &mut leases[1]).await;
        prop_assert_eq!(ours, theirs, "step {}: {:?}", n, step);
    }
    let (ours, theirs) = (view(&*ledgers[0]).await, view(&*ledgers[1]).await);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        prop_assert_eq!(ours, theirs);
    }
    Ok(())
}

#[test]
fn both_stores_give_the_same_answers() {
    keep(Store::Postgres, async |postgres| {
        let stands = [Stand::new(Store::Memory).await, postgres.again()];
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            max_shrink_iters: 200,
            ..Config::default()
        };
        let runtime = tokio::runtime::Handle::current();
        let checked = tokio::task::block_in_place(|| {
            let steps = prop::collection::vec(step(), 1..STEPS_MAX);
            TestRunner::new(config).run(&steps, |steps| runtime.block_on(compare(&stands, &steps)))
        });
        match checked {
            Ok(()) => {}
            Err(TestError::Fail(reason, steps)) => panic!("{reason}\nafter {steps:#?}"),
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
    });
}
