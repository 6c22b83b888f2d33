//! Graceful stops, stops that run out of patience, and restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::stage::{Crew, Kind, Recorder, crew, job, jobs, live, until};
use crate::{Cancelled, Settings, State, Verdict, WorkerSettings};

/// Finding 12, and the jobs that were prefetched but not begun.
pub(super) async fn a_stop_waits_for_the_running_and_hands_back_the_unstarted(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let gate = Arc::new(Semaphore::new(0));
    let told = Arc::new(AtomicUsize::new(0));
    let look = Recorder::new({
        let (gate, told) = (Arc::clone(&gate), Arc::clone(&told));
        move |_, seen: crate::Seen| {
            let (gate, told) = (Arc::clone(&gate), Arc::clone(&told));
            async move {
                tokio::select! {
                    permit = gate.acquire() => permit.unwrap().forget(),
                    _ = seen.until_cancelled() => {
                        told.fetch_add(1, Ordering::SeqCst);
                        gate.acquire().await.unwrap().forget();
                    }
                }
                Verdict::Done
            }
        }
    });
    let workers = Crew::start(
        &stage.queue,
        &look,
        WorkerSettings {
            prefetch: 4,
            stop_timeout_ms: 60_000,
            ..crew(2)
        },
    );
    stage.queue.nudge(&live(&jobs(6))).await.unwrap();
    until("all are held", async || stage.counts().await.running == 6).await;
    look.until_count(2).await;
    let stopping = workers.ask();
    until("both know", async || told.load(Ordering::SeqCst) == 2).await;
    gate.add_permits(2);
    stopping.await.unwrap().unwrap();

    let counts = stage.counts().await;
    assert_eq!((counts.ready, counts.running), (4, 0), "{counts:?}");
    let ready = stage.queue.list(State::Ready, 10).await.unwrap();
    assert!(ready.iter().all(|listed| listed.attempts == 0), "{ready:?}");

    gate.add_permits(4);
    let workers = Crew::with(&stage.queue, &look, 2);
    stage.until_empty().await;
    assert_eq!(look.attempts(), [1; 6]);
    workers.stop().await;
}

pub(super) async fn a_stop_tells_the_running_look(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let look = Recorder::new(|_, seen: crate::Seen| async move {
        assert_eq!(seen.cancelled(), None);
        assert_eq!(seen.until_cancelled().await, Cancelled::Stopping);
        assert_eq!(seen.cancelled(), Some(Cancelled::Stopping));
        // Half of the pages are read; the rest belongs to whoever looks next.
        Verdict::Again(jiff::Timestamp::now())
    });
    let workers = Crew::with(&stage.queue, &look, 2);
    stage.queue.nudge(&live(&jobs(2))).await.unwrap();
    look.until_count(2).await;
    workers.stop().await;
    // A part of a millisecond is rounded up, so "now" may still be ahead.
    until("both can be looked at again", async || {
        stage.counts().await.ready == 2
    })
    .await;
    assert_eq!(look.count(), 2);
}

/// Finding 12: a stop without a timeout of its own waited for a job of ten minutes.
pub(super) async fn a_stop_takes_no_longer_than_its_timeout(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let look = Recorder::new(|_, _| std::future::pending());
    let workers = Crew::start(
        &stage.queue,
        &look,
        WorkerSettings {
            stop_timeout_ms: 400,
            ..crew(2)
        },
    );
    stage.queue.nudge(&live(&[job("endless")])).await.unwrap();
    look.until_count(1).await;
    workers.stop().await;

    // The lease lasts for half a minute, but the look is known to be gone: its job need not wait that long.
    let ready = stage.queue.list(State::Ready, 10).await.unwrap();
    assert_eq!(ready.len(), 1);
    assert_eq!(ready[0].attempts, 1);
    let reason = ready[0].reason.as_deref();
    assert_eq!(reason, Some("cut short by the stop of its worker"));
}

/// Finding 9: the same name was refused for up to five minutes.
pub(super) async fn a_restart_under_the_same_name_is_accepted_at_once(kind: Kind) {
    let stage = kind.stage(Settings::default()).await;
    let look = Recorder::done();
    for n in 1..=4 {
        let workers = Crew::with(&stage.queue, &look, 2);
        stage.queue.nudge(&live(&[job("a")])).await.unwrap();
        look.until_count(n).await;
        stage.until_empty().await;
        if n % 2 == 0 {
            workers.crash().await;
        } else {
            workers.stop().await;
        }
    }
}
