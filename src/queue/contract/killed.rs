//! Worker processes that are killed, and jobs that kill them.
//!
//! The child is this test binary, run again with one test's name and the server's URL in its environment.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::redis_server::{Memory, RedisServer};
use super::stage::{Crew, Recorder, Stage, crew, job, jobs, live, until};
use crate::{Queue, Settings, Verdict, WorkerSettings, Workers};

const URL: &str = "INTERCONNECT_QUEUE_TEST_URL";

fn settings() -> Settings {
    Settings {
        lease_ms: 600,
        idle_poll_ms: 50,
        attempts_max: 4,
        backoff_base_ms: 1,
        ..Settings::default()
    }
}

/// A worker process; killed with its test.
struct WorkerProcess(Child);

impl WorkerProcess {
    fn start(server: &RedisServer, concurrency: &str) -> Self {
        let binary = std::env::current_exe().expect("this test binary has a path");
        let child = Command::new(binary)
            .args(["--exact", "contract::killed::child_worker"])
            .env(URL, server.url())
            .env("INTERCONNECT_QUEUE_TEST_CONCURRENCY", concurrency)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test binary runs again");
        Self(child)
    }

    fn is_gone(&mut self) -> bool {
        let ended = self.0.try_wait().expect("our own child can be asked");
        ended.is_some()
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // `kill` sends SIGKILL; an error means that it has ended already.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Not a test of its own: the body of the child, which does nothing unless it is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_worker() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let concurrency = std::env::var("INTERCONNECT_QUEUE_TEST_CONCURRENCY").unwrap();
    let queue = Queue::redis(&url, settings()).await.unwrap();
    let look = Recorder::new(|seen_job, _| async move {
        if seen_job == job("killer") {
            std::process::abort();
        }
        if seen_job.key().starts_with("deliver:innocent") {
            // Long enough to be at work when the killer strikes, if it runs beside it.
            tokio::time::sleep(Duration::from_millis(50)).await;
            return Verdict::Done;
        }
        std::future::pending().await
    });
    let settings = WorkerSettings {
        prefetch: 4,
        ..crew(concurrency.parse().unwrap())
    };
    // Should the test be killed, its end of the pipe closes, and this process has no reason to live on.
    std::thread::spawn(|| {
        let _ended = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    Workers::run(&queue, look, settings, std::future::pending())
        .await
        .unwrap();
}

/// Findings 10 and 11.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_s_jobs_are_recovered_begun_or_not() {
    let server = RedisServer::start(Memory::Forgets).await;
    let stage = Stage::on(server, settings()).await;
    stage.queue.nudge(&live(&jobs(6))).await.unwrap();
    let process = WorkerProcess::start(stage.server.as_ref().unwrap(), "2");
    until("the process holds two running and four prefetched", async || {
        stage.counts().await.running == 6
    })
    .await;
    drop(process);

    let look = Recorder::done();
    let workers = Crew::with(&stage.queue, &look, 2);
    stage.until_empty().await;
    let mut names = look.names();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), look.attempts()), (6, vec![2; 6]));
    workers.stop().await;
}

/// Finding 10: a job that killed its worker came back for ever. And it must not take others with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_process_ends_dead_alone() {
    let server = RedisServer::start(Memory::Forgets).await;
    let stage = Stage::on(server, settings()).await;
    let mut all = vec![job("killer")];
    all.extend((0..12).map(|n| job(&format!("innocent{n}"))));
    stage.queue.nudge(&live(&all)).await.unwrap();

    let mut starts = 1;
    let mut process = WorkerProcess::start(stage.server.as_ref().unwrap(), "4");
    until("only the killer is left, and dead", async || {
        if process.is_gone() {
            // What a supervisor does.
            process = WorkerProcess::start(stage.server.as_ref().unwrap(), "4");
            starts += 1;
        }
        let counts = stage.counts().await;
        (counts.dead, counts.ready, counts.delayed, counts.running) == (1, 0, 0, 0)
    })
    .await;
    let dead = stage.queue.list(crate::State::Dead, 10).await.unwrap();
    assert_eq!(dead[0].job, job("killer"));
    assert_eq!(dead[0].attempts, 4);
    assert_eq!(
        dead[0].reason.as_deref(),
        Some("its worker vanished in attempt 4")
    );
    assert_eq!(starts, 5, "it killed four processes and no more");
}
