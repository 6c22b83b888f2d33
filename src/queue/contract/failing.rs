//! What becomes of jobs whose looks fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::stage::{Crew, Kind, Recorder, job, jobs, live, nudge, until};
use crate::{Nudge, Priority, Settings, State, Verdict};

fn quick(attempts_max: u32) -> Settings {
    Settings {
        attempts_max,
        backoff_base_ms: 1,
        backoff_max_ms: 4,
        ..Settings::default()
    }
}

/// Finding 5: the bound on attempts was ignored; finding 10: a poison job came back for ever.
pub(super) async fn attempts_end_in_the_dead_set_and_a_release_begins_anew(kind: Kind) {
    let stage = kind.stage(quick(3)).await;
    let healed = Arc::new(AtomicBool::new(false));
    let look = Recorder::new({
        let healed = Arc::clone(&healed);
        move |_, seen| {
            assert_eq!(seen.attempts_max, 3);
            let healed = healed.load(Ordering::SeqCst);
            async move {
                if healed {
                    Verdict::Done
                } else {
                    Verdict::Retry("the system answered 503".into())
                }
            }
        }
    });
    let workers = Crew::with(&stage.queue, &look, 2);
    stage.queue.nudge(&[Nudge::now(job("a"))]).await.unwrap();
    until("it is dead", async || stage.counts().await.dead == 1).await;
    assert_eq!(look.attempts(), [1, 2, 3]);
    let dead = stage.queue.list(State::Dead, 10).await.unwrap();
    assert_eq!(dead[0].job, job("a"));
    assert_eq!(dead[0].attempts, 3);
    assert_eq!(dead[0].reason.as_deref(), Some("the system answered 503"));

    healed.store(true, Ordering::SeqCst);
    assert!(stage.queue.release_dead(&job("a")).await.unwrap());
    assert!(!stage.queue.release_dead(&job("a")).await.unwrap());
    look.until_count(4).await;
    stage.until_empty().await;
    assert_eq!(look.attempts(), [1, 2, 3, 1]);
    workers.stop().await;
}

pub(super) async fn a_nudge_does_not_wake_the_dead(kind: Kind) {
    let stage = kind.stage(quick(1)).await;
    let look = Recorder::new(|seen_job, _| async move {
        if seen_job == job("poison") {
            Verdict::Retry("no".into())
        } else {
            Verdict::Done
        }
    });
    let workers = Crew::with(&stage.queue, &look, 1);
    stage.queue.nudge(&live(&[job("poison")])).await.unwrap();
    until("it is dead", async || stage.counts().await.dead == 1).await;
    stage
        .queue
        .nudge(&live(&[job("poison"), job("good")]))
        .await
        .unwrap();
    until("the good one ran", async || {
        look.names().contains(&"good".to_owned())
    })
    .await;
    assert_eq!(look.names(), ["poison", "good"]);
    assert_eq!(stage.counts().await.dead, 1);
    workers.stop().await;
}

/// Finding 6: a failed job was claimable again at once.
pub(super) async fn a_job_backs_off_and_nudges_do_not_shorten_it(kind: Kind) {
    let base_ms = 100;
    let stage = kind
        .stage(Settings {
            attempts_max: 4,
            backoff_base_ms: base_ms,
            seed: 11,
            ..Settings::default()
        })
        .await;
    let look = Recorder::new(|_, _| async { Verdict::Retry("no".into()) });
    let workers = Crew::with(&stage.queue, &look, 2);
    let nudge = [Nudge::now(job("a"))];
    until("it is dead", async || {
        // A storm of events about it goes on all the time.
        stage.queue.nudge(&nudge).await.unwrap();
        stage.counts().await.dead == 1
    })
    .await;
    let runs = look.runs();
    assert_eq!(look.attempts(), [1, 2, 3, 4]);
    for (n, pair) in runs.windows(2).enumerate() {
        let waited_ms = (pair[1].at - pair[0].at).total(jiff::Unit::Millisecond).unwrap();
        let least_ms = (base_ms << n) as f64 / 2.0;
        assert!(waited_ms >= least_ms, "attempt {n}: {waited_ms} ms");
    }
    workers.stop().await;
}

/// Finding 17: a job that backed off kept its worker's slot, and was lost with the process.
pub(super) async fn a_job_that_backs_off_holds_no_slot(kind: Kind) {
    let stage = kind
        .stage(Settings {
            backoff_base_ms: 3_600_000,
            backoff_max_ms: 3_600_000,
            ..Settings::default()
        })
        .await;
    let look = Recorder::new(|seen_job, _| async move {
        if seen_job == job("bad") {
            Verdict::Retry("no".into())
        } else {
            Verdict::Done
        }
    });
    let workers = Crew::with(&stage.queue, &look, 1);
    stage.queue.nudge(&live(&[job("bad")])).await.unwrap();
    look.until_count(1).await;
    stage.queue.nudge(&live(&jobs(20))).await.unwrap();
    look.until_count(21).await;
    until("only the bad one waits", async || {
        let counts = stage.counts().await;
        (counts.delayed, counts.ready, counts.running) == (1, 0, 0)
    })
    .await;
    workers.crash().await;
    assert_eq!(stage.counts().await.delayed, 1);
}

pub(super) async fn a_dead_verdict_ends_it_at_once(kind: Kind) {
    let stage = kind.stage(quick(9)).await;
    let look = Recorder::new(|_, _| async { Verdict::Dead("é".repeat(1_000)) });
    let workers = Crew::with(&stage.queue, &look, 1);
    stage.queue.nudge(&live(&[job("a")])).await.unwrap();
    until("it is dead", async || stage.counts().await.dead == 1).await;
    let dead = stage.queue.list(State::Dead, 10).await.unwrap();
    let reason = dead[0].reason.clone().unwrap();
    assert_eq!((reason.len(), look.count()), (300, 1));
    workers.stop().await;
}

pub(super) async fn a_panic_leaks_no_slot_and_ends_dead(kind: Kind) {
    let stage = kind.stage(quick(2)).await;
    let look = Recorder::new(|seen_job, _| async move {
        assert_eq!(seen_job, job("good"), "this look panics on purpose");
        Verdict::Done
    });
    let workers = Crew::with(&stage.queue, &look, 1);
    stage.queue.nudge(&live(&jobs(5))).await.unwrap();
    until("five are dead", async || stage.counts().await.dead == 5).await;
    stage.queue.nudge(&live(&[job("good")])).await.unwrap();
    look.until_count(11).await;
    until("the good one is done", async || stage.counts().await.running == 0).await;
    assert_eq!(look.peak(), 1);
    let dead = stage.queue.list(State::Dead, 10).await.unwrap();
    assert_eq!(dead.len(), 5);
    for listed in dead {
        let reason = listed.reason.unwrap();
        assert!(reason.starts_with("panicked: "), "{reason}");
        assert!(reason.contains("this look panics on purpose"), "{reason}");
    }
    workers.stop().await;
}

pub(super) async fn a_failed_job_gives_way_to_live_work(kind: Kind) {
    let stage = kind.stage(quick(5)).await;
    let failing = Recorder::new(|_, _| async { Verdict::Retry("no".into()) });
    let workers = Crew::with(&stage.queue, &failing, 1);
    stage.queue.nudge(&live(&[job("failed")])).await.unwrap();
    failing.until_count(1).await;
    workers.stop().await;
    until("its wait is over", async || stage.counts().await.ready == 1).await;

    // It was nudged first and as live, but it failed before.
    stage
        .queue
        .nudge(&live(&[job("failed"), job("fresh")]))
        .await
        .unwrap();
    stage
        .queue
        .nudge(&[nudge("bulk", Priority::Backfill, None)])
        .await
        .unwrap();
    let look = Recorder::done();
    let workers = Crew::with(&stage.queue, &look, 1);
    stage.until_empty().await;
    assert_eq!(look.names(), ["fresh", "failed", "bulk"]);
    workers.stop().await;
}
