//! Redis stops, restarts, forgets, or is flushed, while work goes on.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::redis_server::{Memory, RedisServer};
use super::stage::{Crew, Recorder, Stage, job, jobs, live, until};
use crate::{Nudge, Queue, QueueError, Settings, State, Verdict};

/// A look that waits for a permit each time.
fn gated() -> (Arc<Recorder>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let look = Recorder::new({
        let gate = Arc::clone(&gate);
        move |_, seen: crate::Seen| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                match seen.cancelled() {
                    Some(cause) => Verdict::Dead(format!("cancelled: {cause:?}")),
                    None => Verdict::Done,
                }
            }
        }
    });
    (look, gate)
}

fn settings() -> Settings {
    Settings {
        idle_poll_ms: 100,
        ..Settings::default()
    }
}

/// Finding 9: a restart of the server ended the worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_redis_with_its_file_goes_on_where_it_was() {
    let server = RedisServer::start(Memory::AppendsToFile).await;
    let mut stage = Stage::on(server, settings()).await;
    let (look, gate) = gated();
    let workers = Crew::with(&stage.queue, &look, 2);
    stage.queue.nudge(&live(&jobs(6))).await.unwrap();
    look.until_count(2).await;

    stage.server().kill();
    // They end while nobody can be told.
    gate.add_permits(6);
    stage.server().restart().await;

    stage.until_empty().await;
    let mut names = look.names();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), look.count(), look.overlaps()), (6, 6, 0));
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_redis_that_forgot_everything_is_filled_by_the_sweep() {
    let server = RedisServer::start(Memory::Forgets).await;
    let mut stage = Stage::on(server, settings()).await;
    let (look, gate) = gated();
    let workers = Crew::with(&stage.queue, &look, 2);
    stage.queue.nudge(&live(&jobs(6))).await.unwrap();
    look.until_count(2).await;
    stage.server().kill();
    let unreachable = stage.queue.nudge(&live(&jobs(1))).await.unwrap_err();
    assert!(matches!(unreachable, QueueError::Redis { .. }), "{unreachable}");
    stage.server().restart().await;

    gate.add_permits(100);
    // The sweep finds that all six are owed, the two running ones included.
    until("a nudge is taken again", async || {
        stage.queue.nudge(&live(&jobs(6))).await.is_ok()
    })
    .await;
    stage.until_empty().await;
    let mut names = look.names();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), look.overlaps()), (6, 0));
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_flush_running_looks_go_on_under_their_leases() {
    let server = RedisServer::start(Memory::Forgets).await;
    // Renewals come every 200 ms: soon enough after the flush, and the sweep comes later.
    let lease_ms = 600;
    let stage = Stage::on(
        server,
        Settings {
            lease_ms,
            ..settings()
        },
    )
    .await;
    let (look, gate) = gated();
    let workers = Crew::with(&stage.queue, &look, 4);
    stage.queue.nudge(&live(&jobs(2))).await.unwrap();
    look.until_count(2).await;
    stage.server.as_ref().unwrap().flush_all().await;
    assert_eq!(stage.counts().await.running, 0);
    until("both leases stand again", async || {
        stage.counts().await.running == 2
    })
    .await;

    // The sweep nudges what runs, and something new: only that begins.
    stage.queue.nudge(&live(&jobs(3))).await.unwrap();
    look.until_count(3).await;
    assert_eq!(look.overlaps(), 0);
    assert_eq!(stage.counts().await.running, 3);
    // The nudges during the runs mean one more run for two of them.
    gate.add_permits(5);
    stage.until_empty().await;
    assert_eq!((look.count(), look.overlaps()), (5, 0));
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_and_a_sweep_before_any_renewal_still_make_no_second_run_here() {
    let server = RedisServer::start(Memory::Forgets).await;
    // The lease is so long that no renewal comes in between.
    let stage = Stage::on(
        server,
        Settings {
            lease_ms: 3_600_000,
            ..settings()
        },
    )
    .await;
    let (look, gate) = gated();
    let workers = Crew::with(&stage.queue, &look, 4);
    stage.queue.nudge(&live(&[job("a")])).await.unwrap();
    look.until_count(1).await;
    stage.server.as_ref().unwrap().flush_all().await;
    stage.queue.nudge(&live(&[job("a"), job("b")])).await.unwrap();
    look.until_count(2).await;
    until("both are held", async || stage.counts().await.running == 2).await;
    assert_eq!((look.names(), look.overlaps()), (vec!["a".into(), "b".into()], 0));
    // The nudge after the flush may be about something that the run had not seen: `a` runs once more.
    gate.add_permits(3);
    stage.until_empty().await;
    assert_eq!((look.count(), look.overlaps()), (3, 0));
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushed_again_and_again_the_queue_still_works() {
    let server = RedisServer::start(Memory::Forgets).await;
    let stage = Stage::on(server, settings()).await;
    let look = Recorder::done();
    let workers = Crew::with(&stage.queue, &look, 4);
    for round in 0..20 {
        stage.queue.nudge(&live(&jobs(50))).await.unwrap();
        stage.server.as_ref().unwrap().flush_all().await;
        let last = job(&format!("round {round}"));
        stage
            .queue
            .nudge(&live(std::slice::from_ref(&last)))
            .await
            .unwrap();
        until("a job after the flush runs", async || {
            look.runs().iter().any(|run| run.job == last)
        })
        .await;
    }
    stage.until_empty().await;
    assert_eq!(look.overlaps(), 0);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_during_an_outage_ends_in_time() {
    let server = RedisServer::start(Memory::Forgets).await;
    let mut stage = Stage::on(server, settings()).await;
    let look = Recorder::new(|_, seen: crate::Seen| async move {
        seen.until_cancelled().await;
        Verdict::Done
    });
    let mut worker_settings = super::stage::crew(2);
    worker_settings.stop_timeout_ms = 500;
    let workers = Crew::start(&stage.queue, &look, worker_settings);
    stage.queue.nudge(&live(&jobs(2))).await.unwrap();
    look.until_count(2).await;
    stage.server().kill();
    workers.stop().await;
}

/// An eviction policy can take a set and leave the job: a nudge puts it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_set_is_repaired_by_a_nudge() {
    let server = RedisServer::start(Memory::Forgets).await;
    let stage = Stage::on(server, settings()).await;
    stage.queue.nudge(&live(&jobs(3))).await.unwrap();
    let mut raw = stage.server.as_ref().unwrap().raw().await;
    redis::cmd("DEL")
        .arg("interconnect:ready")
        .exec_async(&mut raw)
        .await
        .unwrap();
    assert_eq!(stage.counts().await.ready, 0);
    stage.queue.nudge(&live(&jobs(3))).await.unwrap();
    assert_eq!(stage.counts().await.ready, 3);
    let look = Recorder::done();
    let workers = Crew::with(&stage.queue, &look, 1);
    stage.until_empty().await;
    workers.stop().await;
}

/// During a rolling upgrade, an older node meets jobs it does not know: it leaves them to the newer ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_a_newer_version_is_put_off_and_blocks_nothing() {
    let server = RedisServer::start(Memory::Forgets).await;
    let stage = Stage::on(
        server,
        Settings {
            backoff_base_ms: 3_600_000,
            backoff_max_ms: 3_600_000,
            ..settings()
        },
    )
    .await;
    let mut raw = stage.server.as_ref().unwrap().raw().await;
    redis::pipe()
        .cmd("HSET")
        .arg("interconnect:job:dream:x")
        .arg(&["s", "q", "p", "0", "d", "0", "a", "0", "v", "0", "f", "0"])
        .cmd("ZADD")
        .arg(&["interconnect:ready", "0", "dream:x"])
        .exec_async(&mut raw)
        .await
        .unwrap();
    let look = Recorder::done();
    let workers = Crew::with(&stage.queue, &look, 1);
    stage.queue.nudge(&live(&[job("a")])).await.unwrap();
    look.until_count(1).await;
    until("the unknown job waits for a node that knows it", async || {
        let counts = stage.counts().await;
        (counts.delayed, counts.ready, counts.running) == (1, 0, 0)
    })
    .await;
    assert_eq!(look.names(), ["a"]);
    // A list leaves out what it cannot name.
    assert_eq!(stage.queue.list(State::Delayed, 10).await.unwrap(), []);
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hubs_with_different_prefixes_share_a_redis() {
    let server = RedisServer::start(Memory::Forgets).await;
    let other = Settings {
        redis_prefix: "other".to_owned(),
        ..settings()
    };
    let other = Queue::redis(&server.url(), other).await.unwrap();
    let stage = Stage::on(server, settings()).await;
    stage.queue.nudge(&[Nudge::now(job("a"))]).await.unwrap();
    assert_eq!(stage.counts().await.ready, 1);
    assert_eq!(other.counts().await.unwrap().ready, 0);
}

#[tokio::test]
async fn an_unreachable_redis_is_told_at_once_and_without_the_password() {
    let settings = Settings::default();
    let refused = Queue::redis("redis://hub:s3cret@127.0.0.1:1/0", settings.clone()).await;
    let shown = format!("{:?}", refused.as_ref().err());
    let error = refused.err().unwrap();
    assert_eq!(
        error.to_string(),
        "the queue's Redis at 127.0.0.1:1 failed to count jobs"
    );
    assert!(!shown.contains("s3cret"), "{shown}");

    let wrong = Queue::redis("http://hub:s3cret@host/", settings).await;
    let shown = format!("{:?}", wrong.as_ref().err());
    assert!(matches!(wrong.err(), Some(QueueError::Url { .. })));
    assert!(!shown.contains("s3cret"), "{shown}");
}
