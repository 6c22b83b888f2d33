//! What the cases share: a queue of either kind, a look that records, workers to start, stop and crash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::redis_server::{Memory, RedisServer};
use crate::{
    Counts, Job, Look, Nudge, Priority, Queue, QueueError, Seen, Settings, Verdict, WorkerSettings, Workers,
};

/// Only a defect takes longer than this.
pub(super) const DEADLINE: Duration = Duration::from_secs(90);

/// Wait until something is so.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Which backend a case runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Memory,
    Redis,
}

impl Kind {
    pub(super) async fn stage(self, settings: Settings) -> Stage {
        match self {
            Self::Memory => Stage {
                queue: Queue::memory(settings.clone()).expect("good settings"),
                settings,
                server: None,
            },
            Self::Redis => Stage::on(RedisServer::start(Memory::Forgets).await, settings).await,
        }
    }
}

/// A queue, and the server behind it if there is one.
pub(super) struct Stage {
    pub(super) queue: Queue,
    pub(super) settings: Settings,
    pub(super) server: Option<RedisServer>,
}

impl Stage {
    pub(super) async fn on(server: RedisServer, settings: Settings) -> Self {
        let queue = Queue::redis(&server.url(), settings.clone()).await;
        Self {
            queue: queue.expect("a queue on the test's Redis"),
            settings,
            server: Some(server),
        }
    }

    /// The queue as another node has it: over connections of its own.
    pub(super) async fn node(&self) -> Queue {
        match &self.server {
            None => self.queue.clone(),
            Some(server) => Queue::redis(&server.url(), self.settings.clone())
                .await
                .expect("another node's queue"),
        }
    }

    pub(super) fn server(&mut self) -> &mut RedisServer {
        self.server.as_mut().expect("a case for Redis only")
    }

    pub(super) async fn counts(&self) -> Counts {
        self.queue.counts().await.expect("counts")
    }

    /// Wait until no job is left, and see that nothing else is.
    pub(super) async fn until_empty(&self) {
        until("no job is left", async || {
            self.counts().await == Counts::default()
        })
        .await;
        if let Some(server) = &self.server {
            let mut keys = server.keys().await;
            keys.retain(|key| key != "interconnect:fence");
            assert_eq!(keys, Vec::<String>::new(), "finished jobs leave no key");
        }
    }
}

pub(super) fn job(endpoint: &str) -> Job {
    Job::Deliver {
        endpoint: endpoint.to_owned(),
    }
}

pub(super) fn jobs(count: usize) -> Vec<Job> {
    (0..count).map(|n| job(&format!("ep{n:05}"))).collect()
}

pub(super) fn live(jobs: &[Job]) -> Vec<Nudge> {
    jobs.iter().cloned().map(Nudge::now).collect()
}

pub(super) fn nudge(name: &str, priority: Priority, at: Option<Timestamp>) -> Nudge {
    Nudge {
        job: job(name),
        priority,
        at,
    }
}

pub(super) fn in_ms(ms: i64) -> Timestamp {
    Timestamp::now() + jiff::SignedDuration::from_millis(ms)
}

/// One begun look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) job: Job,
    pub(super) attempt: u32,
    pub(super) at: Timestamp,
}

type Act = Box<dyn Fn(Job, Seen) -> BoxFuture<'static, Verdict> + Send + Sync>;

/// A look that records each run, and panics the test if a job ever runs twice at a time.
pub(super) struct Recorder {
    runs: Mutex<Vec<Run>>,
    running: Arc<Mutex<Running>>,
    act: Act,
}

#[derive(Default)]
struct Running {
    jobs: HashMap<Job, usize>,
    overlaps: usize,
    peak: usize,
}

impl Recorder {
    pub(super) fn new<F>(act: impl Fn(Job, Seen) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        Arc::new(Self {
            runs: Mutex::default(),
            running: Arc::default(),
            act: Box::new(move |job, seen| Box::pin(act(job, seen))),
        })
    }

    /// A look that is always done.
    pub(super) fn done() -> Arc<Self> {
        Self::new(|_, _| async { Verdict::Done })
    }

    pub(super) fn runs(&self) -> Vec<Run> {
        self.runs.lock().unwrap().clone()
    }

    pub(super) fn count(&self) -> usize {
        self.runs.lock().unwrap().len()
    }

    /// The names that were run, in the order of their beginning.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |run: &Run| match &run.job {
            Job::Deliver { endpoint } => endpoint.clone(),
            other => other.to_string(),
        };
        self.runs.lock().unwrap().iter().map(name).collect()
    }

    pub(super) fn attempts(&self) -> Vec<u32> {
        self.runs.lock().unwrap().iter().map(|run| run.attempt).collect()
    }

    /// How often a job began while it was running already.
    pub(super) fn overlaps(&self) -> usize {
        self.running.lock().unwrap().overlaps
    }

    /// How many looks ran at a time at most.
    pub(super) fn peak(&self) -> usize {
        self.running.lock().unwrap().peak
    }

    pub(super) async fn until_count(&self, count: usize) {
        until(&format!("{count} runs"), async || self.count() >= count).await;
    }
}

#[async_trait]
impl Look for Recorder {
    async fn look(&self, job: Job, seen: Seen) -> Verdict {
        self.runs.lock().unwrap().push(Run {
            job: job.clone(),
            attempt: seen.attempt,
            at: Timestamp::now(),
        });
        let _present = Present::enter(&self.running, &job);
        (self.act)(job, seen).await
    }
}

/// One look at its work; leaves also by a panic or when it is dropped.
struct Present {
    running: Arc<Mutex<Running>>,
    job: Job,
}

impl Present {
    fn enter(running: &Arc<Mutex<Running>>, job: &Job) -> Self {
        let mut now = running.lock().unwrap();
        let same = now.jobs.entry(job.clone()).or_default();
        *same += 1;
        now.overlaps += usize::from(*same > 1);
        now.peak = now.peak.max(now.jobs.values().sum());
        Self {
            running: Arc::clone(running),
            job: job.clone(),
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut now = self.running.lock().unwrap();
        if let Some(same) = now.jobs.get_mut(&self.job) {
            *same -= 1;
            if *same == 0 {
                now.jobs.remove(&self.job);
            }
        }
    }
}

/// Workers on their way.
pub(super) struct Crew {
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<(), QueueError>>,
}

impl Crew {
    pub(super) fn start(queue: &Queue, look: &Arc<Recorder>, settings: WorkerSettings) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (queue, look) = (queue.clone(), Arc::clone(look));
        let run = tokio::spawn(async move {
            let shutdown = async {
                let _stopped = stopped.await;
            };
            Workers::run(&queue, look, settings, shutdown).await
        });
        Self { stop, run }
    }

    pub(super) fn with(queue: &Queue, look: &Arc<Recorder>, concurrency: usize) -> Self {
        Self::start(queue, look, crew(concurrency))
    }

    /// Ask them to stop, without waiting for it.
    pub(super) fn ask(self) -> JoinHandle<Result<(), QueueError>> {
        self.stop
            .send(())
            .expect("the workers run until they are asked to stop");
        self.run
    }

    /// Stop gracefully.
    pub(super) async fn stop(self) {
        let stopped = tokio::time::timeout(DEADLINE, self.ask()).await;
        let ended = stopped.expect("a stop comes to an end");
        ended.expect("no panic").expect("a clean stop");
    }

    /// Drop the future in mid-flight: all this process knew of its jobs is gone.
    pub(super) async fn crash(self) {
        self.run.abort();
        let gone = self.run.await.expect_err("it was still running");
        assert!(gone.is_cancelled(), "{gone}");
    }
}

pub(super) fn crew(concurrency: usize) -> WorkerSettings {
    WorkerSettings {
        name: "node".to_owned(),
        concurrency,
        ..WorkerSettings::default()
    }
}
