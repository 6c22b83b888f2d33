//! Many jobs, several workers, and workers that vanish.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::stage::{Crew, DEADLINE, Kind, Recorder, Stage, crew, job, jobs, live, until};
use crate::store::{Ask, Lease, Outcome, Settle};
use crate::{Cancelled, Job, Listed, Nudge, Queue, Settings, State, Verdict, WorkerSettings};

/// Finding 2: a saturated worker did not renew, and its jobs ran twice; finding 16: leases were not per job.
pub(super) async fn saturation_runs_nothing_twice(kind: Kind) {
    let lease_ms = 2_000;
    let stage = kind
        .stage(Settings {
            lease_ms,
            idle_poll_ms: 50,
            ..Settings::default()
        })
        .await;
    let queue = stage.queue.clone();
    let look = Recorder::new(move |job, _| {
        let queue = queue.clone();
        async move {
            outlive_the_lease(queue, job).await;
            Verdict::Done
        }
    });
    let busy = Crew::start(
        &stage.queue,
        &look,
        WorkerSettings {
            prefetch: 8,
            ..crew(2)
        },
    );
    stage.queue.nudge(&live(&jobs(6))).await.unwrap();
    until("the busy worker holds all", async || {
        stage.counts().await.running == 6
    })
    .await;
    let idle = Crew::with(&stage.node().await, &look, 8);
    stage.until_empty().await;
    assert_eq!(look.attempts(), [1; 6]);
    assert_eq!((look.overlaps(), look.peak()), (0, 2));
    busy.stop().await;
    idle.stop().await;
}

/// Wait until the lease under which this look began would have ended, but for its renewal.
async fn outlive_the_lease(queue: Queue, job: Job) {
    let first = listed(&queue, &job).await;
    assert_eq!(first.held_by.as_deref(), Some("node"));
    let begun = std::time::Instant::now();
    while Timestamp::now() <= first.at || listed(&queue, &job).await.at <= first.at {
        assert!(begun.elapsed() < DEADLINE, "the lease was never renewed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn listed(queue: &Queue, job: &Job) -> Listed {
    let running = queue.list(State::Running, 100).await.unwrap();
    let found = running.into_iter().find(|listed| listed.job == *job);
    found.expect("it is running")
}

/// Finding 7: some 8,000 due jobs wedged the queue for good.
pub(super) async fn a_backlog_of_fifty_thousand_drains(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let all = jobs(50_000);
    stage.queue.nudge(&live(&all)).await.unwrap();
    assert_eq!(stage.counts().await.ready, 50_000);
    let look = Recorder::done();
    let workers = Crew::start(
        &stage.queue,
        &look,
        WorkerSettings {
            prefetch: 128,
            ..crew(64)
        },
    );
    stage.until_empty().await;
    let mut ran: Vec<Job> = look.runs().into_iter().map(|run| run.job).collect();
    ran.sort();
    assert_eq!(ran.len(), 50_000);
    assert_eq!(ran, all);
    workers.stop().await;
}

/// A schedule that two replicas keep queues its job once.
pub(super) async fn two_replicas_queue_a_job_once(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let (one, other) = (stage.node().await, stage.node().await);
    let nudge = [Nudge::now(job("hourly"))];
    for _ in 0..20 {
        let (left, right) = tokio::join!(one.nudge(&nudge), other.nudge(&nudge));
        left.unwrap();
        right.unwrap();
    }
    assert_eq!(stage.counts().await.ready, 1);
    let look = Recorder::done();
    let workers = Crew::with(&stage.queue, &look, 4);
    stage.until_empty().await;
    assert_eq!(look.count(), 1);
    workers.stop().await;
}

/// Finding 9: a name that had been used was refused for minutes.
pub(super) async fn workers_of_one_name_share_the_work(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let gate = Arc::new(Semaphore::new(0));
    let look = Recorder::new({
        let gate = Arc::clone(&gate);
        move |_, _| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Verdict::Done
            }
        }
    });
    let one = Crew::with(&stage.node().await, &look, 3);
    let other = Crew::with(&stage.node().await, &look, 3);
    stage.queue.nudge(&live(&jobs(30))).await.unwrap();
    until("both work", async || look.peak() == 6).await;
    gate.add_permits(30);
    stage.until_empty().await;
    assert_eq!((look.count(), look.overlaps()), (30, 0));
    one.stop().await;
    other.stop().await;
}

/// Findings 10 and 11: a lost attempt was not counted, and prefetched jobs were lost as well.
pub(super) async fn a_vanished_worker_s_jobs_go_to_another_with_the_attempt_counted(kind: Kind) {
    let stage = kind
        .stage(Settings {
            lease_ms: 500,
            idle_poll_ms: 50,
            ..Settings::default()
        })
        .await;
    let stuck = Recorder::new(|_, _| std::future::pending());
    let vanishing = Crew::start(
        &stage.node().await,
        &stuck,
        WorkerSettings {
            prefetch: 4,
            ..crew(2)
        },
    );
    stage.queue.nudge(&live(&jobs(6))).await.unwrap();
    stuck.until_count(2).await;
    until("the others are prefetched", async || {
        stage.counts().await.running == 6
    })
    .await;
    vanishing.crash().await;

    let look = Recorder::done();
    let workers = Crew::with(&stage.queue, &look, 2);
    stage.until_empty().await;
    assert_eq!(look.attempts(), [2; 6]);
    assert_eq!(stuck.count(), 2);
    workers.stop().await;
}

/// The promise that callers build on: whatever was written before a nudge is seen by a look, however they interleave.
pub(super) async fn a_storm_of_nudges_loses_nothing_and_overlaps_nothing(kind: Kind) {
    const KEYS: usize = 10;
    const NUDGES: usize = 300;
    let stage = kind.stage(Settings::default()).await;
    // What a ledger holds: a version for each key, written before its nudge and read by its look.
    let ledger = Arc::new([const { AtomicUsize::new(0) }; KEYS]);
    let seen = Arc::new([const { AtomicUsize::new(0) }; KEYS]);
    let keys = jobs(KEYS);
    let look = Recorder::new({
        let (ledger, seen, keys) = (Arc::clone(&ledger), Arc::clone(&seen), keys.clone());
        move |job, _| {
            let key = keys.iter().position(|key| *key == job).unwrap();
            seen[key].store(ledger[key].load(Ordering::SeqCst), Ordering::SeqCst);
            async move {
                // Leave room for a nudge between the reading and the end.
                for _ in 0..key {
                    tokio::task::yield_now().await;
                }
                Verdict::Done
            }
        }
    });
    let (one, other) = (stage.node().await, stage.node().await);
    let crews = [Crew::with(&one, &look, 4), Crew::with(&other, &look, 4)];
    let storm = [one, other].map(|queue| {
        let (ledger, keys) = (Arc::clone(&ledger), keys.clone());
        tokio::spawn(async move {
            for n in 0..NUDGES {
                let key = (n * 7) % KEYS;
                ledger[key].fetch_add(1, Ordering::SeqCst);
                queue.nudge(&live(&keys[key..=key])).await.unwrap();
            }
        })
    });
    for nudging in storm {
        nudging.await.unwrap();
    }
    stage.until_empty().await;
    for (written, seen) in ledger.iter().zip(seen.iter()) {
        assert_eq!(written.load(Ordering::SeqCst), seen.load(Ordering::SeqCst));
    }
    let lost = look.runs().into_iter().filter(|run| run.attempt > 1);
    assert_eq!((lost.collect::<Vec<_>>(), look.overlaps()), (vec![], 0));
    for crew in crews {
        crew.stop().await;
    }
}

/// Finding 10, for killers: a loss is an attempt, and attempts end.
pub(super) async fn a_job_whose_workers_always_vanish_ends_dead(kind: Kind) {
    let stage = kind
        .stage(Settings {
            lease_ms: 200,
            attempts_max: 3,
            ..Settings::default()
        })
        .await;
    stage.queue.nudge(&live(&[job("killer")])).await.unwrap();
    let mut attempts = Vec::new();
    until("it is dead", async || {
        attempts.extend(claim_one(&stage, true).await.map(|lease| lease.attempt));
        stage.counts().await.dead == 1
    })
    .await;
    assert_eq!(attempts, [1, 2, 3]);
    let dead = stage.queue.list(State::Dead, 10).await.unwrap();
    let reason = dead[0].reason.as_deref();
    assert_eq!(reason, Some("its worker vanished in attempt 3"));
}

async fn claim_one(stage: &Stage, solo: bool) -> Option<Lease> {
    let ask = Ask {
        max: 1,
        solo,
        by: "a node".to_owned(),
    };
    let claimed = stage.queue.store.claim(&ask).await.unwrap();
    claimed.claims.into_iter().next().map(|claim| claim.lease)
}

pub(super) async fn a_stale_token_is_refused(kind: Kind) {
    let stage = kind
        .stage(Settings {
            lease_ms: 200,
            ..Settings::default()
        })
        .await;
    let store = &stage.queue.store;
    stage.queue.nudge(&live(&[job("a")])).await.unwrap();
    let stale = claim_one(&stage, true).await.unwrap();
    assert_eq!(store.renew(std::slice::from_ref(&stale)).await.unwrap(), [true]);
    let mut second = None;
    until("the lease ran out", async || {
        second = claim_one(&stage, true).await;
        second.is_some()
    })
    .await;
    let second = second.unwrap();
    assert!(second.token > stale.token);
    assert_eq!((stale.attempt, second.attempt), (1, 2));

    let settle = |lease: &Lease, outcome| {
        [Settle {
            lease: lease.clone(),
            outcome,
        }]
    };
    let late = Outcome::Dead {
        why: "too late".to_owned(),
    };
    assert_eq!(store.renew(std::slice::from_ref(&stale)).await.unwrap(), [false]);
    assert_eq!(store.settle(&settle(&stale, late)).await.unwrap(), [false]);
    assert_eq!(
        store.settle(&settle(&second, Outcome::Done)).await.unwrap(),
        [true]
    );
    // Nor does a stale word bring a finished job back.
    assert_eq!(store.renew(&[stale]).await.unwrap(), [false]);
    assert_eq!(
        store.settle(&settle(&second, Outcome::Done)).await.unwrap(),
        [false]
    );
    stage.until_empty().await;
}

/// A job that lost several workers is suspected of killing them: it must not take the same innocents along each time.
pub(super) async fn suspects_run_one_at_a_time(kind: Kind) {
    let stage = kind
        .stage(Settings {
            lease_ms: 200,
            idle_poll_ms: 20,
            ..Settings::default()
        })
        .await;
    stage.queue.nudge(&live(&jobs(3))).await.unwrap();
    // Twice, all three are held by somebody who vanishes.
    for loss in 1..=2 {
        let mut held = 0;
        until("all are held", async || {
            held += usize::from(claim_one(&stage, true).await.is_some());
            held == 3 * loss || stage.counts().await.running == 3
        })
        .await;
        until("all leases ran out", async || {
            let running = stage.queue.list(State::Running, 10).await.unwrap();
            running.iter().all(|listed| listed.at < Timestamp::now())
        })
        .await;
    }
    let gate = Arc::new(Semaphore::new(0));
    let look = Recorder::new({
        let gate = Arc::clone(&gate);
        move |seen_job, seen: crate::Seen| {
            let gate = Arc::clone(&gate);
            async move {
                assert_ne!(seen.cancelled(), Some(Cancelled::LeaseLost));
                if seen_job != job("fresh") {
                    gate.acquire().await.unwrap().forget();
                }
                Verdict::Done
            }
        }
    });
    let workers = Crew::with(&stage.queue, &look, 8);
    look.until_count(1).await;
    // An ordinary job runs beside a suspect; another suspect does not.
    stage.queue.nudge(&live(&[job("fresh")])).await.unwrap();
    look.until_count(2).await;
    let counts = stage.counts().await;
    assert_eq!(counts.ready, 2, "{counts:?}");
    gate.add_permits(3);
    stage.until_empty().await;
    assert_eq!(look.count(), 4);
    assert!(look.peak() <= 2, "{} at a time", look.peak());
    workers.stop().await;
}
