//! When jobs run, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::stage::{Crew, Kind, Recorder, in_ms, job, jobs, live, nudge, until};
use crate::{Clock, Counts, JOB_KEY_MAX_BYTES, Job, Nudge, Priority, Settings, State, Verdict};

/// A poll so slow that only a wake-up explains why a job runs within the test's deadline.
const NEVER_MS: u64 = 3_600_000;

/// Finding 1: a worker that slept was not woken, and jobs waited for its next heartbeat.
pub(super) async fn every_nudge_wakes_an_idle_worker(kind: Kind) {
    let stage = kind
        .stage(Settings {
            idle_poll_ms: NEVER_MS,
            ..Settings::default()
        })
        .await;
    let look = Recorder::done();
    let workers = Crew::with(&stage.queue, &look, 2);
    let other_node = stage.node().await;
    for (n, job) in jobs(5).iter().enumerate() {
        // Each time the worker has gone to sleep again; the nudges come now and delayed, from here and from elsewhere.
        let at = (n % 2 == 1).then(|| in_ms(20));
        let nudge = Nudge {
            at,
            ..Nudge::now(job.clone())
        };
        let queue = if n < 3 { &stage.queue } else { &other_node };
        queue.nudge(&[nudge]).await.unwrap();
        look.until_count(n + 1).await;
        stage.until_empty().await;
    }
    assert_eq!(
        look.names(),
        ["ep00000", "ep00001", "ep00002", "ep00003", "ep00004"]
    );
    workers.stop().await;
}

/// Finding 3: idempotency keys were dropped, kept for ever, or failed the whole batch.
pub(super) async fn a_job_is_queued_once(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let twice = [Nudge::now(job("a")), Nudge::now(job("a")), Nudge::now(job("b"))];
    stage.queue.nudge(&twice).await.unwrap();
    stage.queue.nudge(&twice).await.unwrap();
    assert_eq!(stage.counts().await.ready, 2);

    let look = Recorder::done();
    let workers = Crew::with(&stage.queue, &look, 2);
    stage.until_empty().await;
    assert_eq!(look.count(), 2);

    // The key is free again once the job is finished.
    stage.queue.nudge(&twice[2..]).await.unwrap();
    look.until_count(3).await;
    stage.until_empty().await;
    workers.stop().await;
}

pub(super) async fn a_nudge_during_a_run_means_one_more_run(kind: Kind) {
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
    // Room enough for the job to run beside itself, if anything let it.
    let workers = Crew::with(&stage.queue, &look, 4);
    let nudge = [Nudge::now(job("a"))];
    stage.queue.nudge(&nudge).await.unwrap();
    look.until_count(1).await;
    for _ in 0..5 {
        stage.queue.nudge(&nudge).await.unwrap();
    }
    let during = stage.counts().await;
    assert_eq!((during.ready, during.running), (0, 1));

    gate.add_permits(1);
    look.until_count(2).await;
    gate.add_permits(1);
    stage.until_empty().await;
    assert_eq!((look.attempts(), look.overlaps()), (vec![1, 1], 0));
    workers.stop().await;
}

/// Finding 4: priorities were ignored, or lost inside a batch.
pub(super) async fn live_goes_before_retries_before_backfill(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let mut nudges = Vec::new();
    for (priority, names) in [
        (Priority::Backfill, ["b1", "b2", "b3"]),
        (Priority::Retry, ["r1", "r2", "r3"]),
        (Priority::Live, ["l1", "l2", "l3"]),
    ] {
        nudges.extend(names.map(|name| nudge(name, priority, None)));
    }
    stage.queue.nudge(&nudges).await.unwrap();
    let look = Recorder::done();
    let workers = Crew::with(&stage.queue, &look, 1);
    stage.until_empty().await;
    assert_eq!(
        look.names(),
        ["l1", "l2", "l3", "r1", "r2", "r3", "b1", "b2", "b3"]
    );
    workers.stop().await;
}

pub(super) async fn a_nudge_raises_the_priority_and_brings_the_time_forward(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let (sooner, later) = (in_ms(3_600_000), in_ms(7_200_000));
    stage
        .queue
        .nudge(&[
            nudge("a", Priority::Backfill, Some(later)),
            nudge("b", Priority::Live, Some(sooner)),
            nudge("c", Priority::Backfill, Some(later)),
            nudge("d", Priority::Backfill, None),
        ])
        .await
        .unwrap();
    stage
        .queue
        .nudge(&[
            nudge("a", Priority::Retry, Some(sooner)),
            nudge("b", Priority::Backfill, Some(later)),
            nudge("c", Priority::Live, None),
            nudge("d", Priority::Live, Some(later)),
        ])
        .await
        .unwrap();
    let shown = async |state| {
        let listed = stage.queue.list(state, 10).await.unwrap();
        let mut shown: Vec<_> = listed
            .into_iter()
            .map(|listed| (listed.job.key(), listed.priority))
            .collect();
        shown.sort();
        shown
    };
    assert_eq!(
        shown(State::Delayed).await,
        [
            ("deliver:a".to_owned(), Priority::Retry),
            ("deliver:b".to_owned(), Priority::Live),
        ]
    );
    assert_eq!(
        shown(State::Ready).await,
        [
            ("deliver:c".to_owned(), Priority::Live),
            ("deliver:d".to_owned(), Priority::Live),
        ]
    );
    let delayed = stage.queue.list(State::Delayed, 10).await.unwrap();
    for listed in delayed {
        // Not early, and not at the later moment; the way to the server counts.
        assert!(listed.at >= sooner && listed.at < later, "{listed:?}");
    }
    assert_eq!(
        stage.counts().await,
        Counts {
            ready: 2,
            delayed: 2,
            ..Counts::default()
        }
    );
}

/// Finding 15: a delay of three seconds ended after 2.26.
pub(super) async fn a_delayed_job_is_never_early(kind: Kind) {
    let stage = kind
        .stage(Settings {
            idle_poll_ms: NEVER_MS,
            ..Settings::default()
        })
        .await;
    let look = Recorder::done();
    let workers = Crew::with(&stage.queue, &look, 4);
    let mut due = Vec::new();
    for ms in [260, 110, 400, 9, 25, 180, 3, 70] {
        // A part of a millisecond must not be cut off either.
        let at = in_ms(ms) + jiff::SignedDuration::from_nanos(1);
        let name = format!("after {ms}");
        stage
            .queue
            .nudge(&[nudge(&name, Priority::Live, Some(at))])
            .await
            .unwrap();
        due.push((job(&name), at));
    }
    stage.until_empty().await;
    for run in look.runs() {
        let (_, at) = due.iter().find(|(job, _)| *job == run.job).unwrap();
        assert!(run.at >= *at, "{run:?} was due at {at}");
    }
    assert_eq!(look.count(), 8);
    workers.stop().await;
}

pub(super) async fn again_comes_back_at_its_time_with_fresh_attempts(kind: Kind) {
    let stage = kind
        .stage(Settings {
            backoff_base_ms: 1,
            ..Settings::default()
        })
        .await;
    let due = Arc::new(std::sync::Mutex::new(None));
    let look = Recorder::new({
        let due = Arc::clone(&due);
        let turn = std::sync::atomic::AtomicUsize::new(0);
        move |_, _| {
            let turn = turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let due = Arc::clone(&due);
            async move {
                match turn {
                    0 => Verdict::Retry("not yet".into()),
                    1 => {
                        let at = in_ms(120);
                        *due.lock().unwrap() = Some(at);
                        Verdict::Again(at)
                    }
                    _ => Verdict::Done,
                }
            }
        }
    });
    let workers = Crew::with(&stage.queue, &look, 1);
    stage.queue.nudge(&[Nudge::now(Job::Sweep)]).await.unwrap();
    look.until_count(3).await;
    stage.until_empty().await;
    assert_eq!(look.attempts(), [1, 2, 1]);
    let due = due.lock().unwrap().unwrap();
    assert!(look.runs()[2].at >= due);
    workers.stop().await;
}

pub(super) async fn a_nudge_brings_again_forward(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let look = Recorder::new(|_, _| async { Verdict::Again(in_ms(3_600_000)) });
    let workers = Crew::with(&stage.queue, &look, 1);
    let nudge = [Nudge::now(job("a"))];
    for n in 1..=3 {
        stage.queue.nudge(&nudge).await.unwrap();
        look.until_count(n).await;
        until("it waits for its time", async || {
            stage.counts().await.delayed == 1
        })
        .await;
    }
    assert_eq!(look.attempts(), [1, 1, 1]);
    workers.stop().await;
}

pub(super) async fn a_key_that_is_too_long_is_refused(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let fits = job(&"x".repeat(JOB_KEY_MAX_BYTES - "deliver:".len()));
    let long = job(&"x".repeat(JOB_KEY_MAX_BYTES));
    stage
        .queue
        .nudge(&live(std::slice::from_ref(&fits)))
        .await
        .unwrap();
    let error = stage.queue.nudge(&live(&[job("a"), long])).await.unwrap_err();
    assert!(error.to_string().contains("at most 512"), "{error}");
    // Nothing of the refused call was queued.
    let ready = stage.queue.list(State::Ready, 10).await.unwrap();
    assert_eq!(ready.len(), 1);
    assert_eq!(ready[0].job, fits);
}

/// A clock that is off by so many seconds.
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs(self.0)
    }
}

pub(super) async fn a_node_whose_clock_is_wrong_waits_as_long_as_it_says(kind: Kind) {
    for off_s in [-3_600, 3_600] {
        let clock: Arc<dyn Clock> = Arc::new(Off(off_s));
        let stage = kind
            .stage(Settings {
                clock: Arc::clone(&clock),
                ..Settings::default()
            })
            .await;
        let in_ms = |ms: i64| clock.now() + SignedDuration::from_millis(ms);
        let soon = in_ms(20);
        let turn = AtomicUsize::new(0);
        let look = Recorder::new(move |_, _| {
            let again = turn.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if again {
                    Verdict::Again(soon)
                } else {
                    Verdict::Done
                }
            }
        });
        let workers = Crew::with(&stage.queue, &look, 1);
        let later = nudge("later", Priority::Live, Some(in_ms(3_000_000)));
        let now = nudge("now", Priority::Live, Some(in_ms(20)));
        stage.queue.nudge(&[later, now]).await.unwrap();
        look.until_count(2).await;
        assert_eq!(look.names(), ["now", "now"], "off by {off_s} s");
        assert_eq!(stage.counts().await.delayed, 1, "off by {off_s} s");
        workers.stop().await;
    }
}
