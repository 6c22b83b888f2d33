//! How many jobs a second, and at what cost, on this machine.
//!
//! `cargo run --release -p interconnect-queue --example jobs -- [redis URL] [jobs]`
//!
//! Without a URL it measures the queue in memory. Point it at a Redis of its own: it queues keys under `throughput`.
//! It prints, for one set of workers with a look that does nothing: jobs queued and run a second,
//! the processor time of this process and of the server per job, and what an idle node costs the server.
#![expect(clippy::print_stdout, reason = "the numbers are for the person who asked")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use queue::{Job, Look, Nudge, Priority, Queue, Seen, Settings, Verdict, WorkerSettings, Workers};
use tokio::sync::Notify;

/// How long the idle node is watched, in seconds.
const IDLE_S: u32 = 20;

/// Counts down to the last job.
struct Count {
    left: AtomicUsize,
    done: Notify,
}

#[async_trait]
impl Look for Count {
    async fn look(&self, _: Job, _: Seen) -> Verdict {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.done.notify_one();
        }
        Verdict::Done
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().filter(|url| url != "memory");
    let jobs: usize = arguments.next().map_or(Ok(200_000), |jobs| jobs.parse())?;
    let settings = Settings {
        redis_prefix: "throughput".to_owned(),
        ..Settings::default()
    };
    let queue = match &url {
        Some(url) => Queue::redis(url, settings).await?,
        None => Queue::memory(settings)?,
    };
    let server = url.as_deref().map(redis::Client::open).transpose()?;
    for (concurrency, prefetch) in [(16, 0), (64, 0), (64, 192)] {
        drain(&queue, server.as_ref(), jobs, concurrency, prefetch).await?;
    }
    one_by_one(&queue).await?;
    if let Some(server) = &server {
        idle(&queue, server).await?;
    }
    Ok(())
}

/// Queue everything in batches, then run it.
async fn drain(
    queue: &Queue,
    server: Option<&redis::Client>,
    jobs: usize,
    concurrency: usize,
    prefetch: usize,
) -> Result<(), Box<dyn Error>> {
    let nudges: Vec<Nudge> = (0..jobs).map(nudge).collect();
    let meter = Meter::start(server).await?;
    queue.nudge(&nudges).await?;
    meter.stop("queued, in batches", jobs, server).await?;

    let count = Arc::new(Count {
        left: AtomicUsize::new(jobs),
        done: Notify::new(),
    });
    let settings = WorkerSettings {
        concurrency,
        prefetch,
        ..WorkerSettings::default()
    };
    let look = Arc::clone(&count);
    let meter = Meter::start(server).await?;
    Workers::run(queue, look, settings, count.done.notified()).await?;
    let what = format!("run, {concurrency} at a time, {prefetch} ahead");
    meter.stop(&what, jobs, server).await
}

/// From a nudge to its look, with the worker asleep in between.
async fn one_by_one(queue: &Queue) -> Result<(), Box<dyn Error>> {
    const ROUNDS: u32 = 1_000;
    let turn = Arc::new(Count {
        left: AtomicUsize::new(1),
        done: Notify::new(),
    });
    let (look, settings) = (Arc::clone(&turn), WorkerSettings::default());
    let rounds = async {
        let mut waits = Vec::new();
        for n in 0..ROUNDS as usize {
            let begun = Instant::now();
            if queue.nudge(&[nudge(n)]).await.is_err() {
                break;
            }
            turn.done.notified().await;
            waits.push(begun.elapsed());
            turn.left.store(1, Ordering::SeqCst);
        }
        waits.sort_unstable();
        if let (Some(median), Some(worst)) = (waits.get(waits.len() / 2), waits.last()) {
            println!("nudge to look: median {median:?}, worst of {ROUNDS} {worst:?}");
        }
    };
    Workers::run(queue, look, settings, rounds).await?;
    Ok(())
}

/// What an idle node asks of the server.
async fn idle(queue: &Queue, server: &redis::Client) -> Result<(), Box<dyn Error>> {
    let look = Arc::new(Count {
        left: AtomicUsize::new(1),
        done: Notify::new(),
    });
    let mut calls = Vec::new();
    let watch = async {
        for seconds in [3, IDLE_S] {
            tokio::time::sleep(Duration::from_secs(seconds.into())).await;
            calls.push(commands(server).await.unwrap_or_default());
        }
    };
    Workers::run(queue, look, WorkerSettings::default(), watch).await?;
    if let [before, after] = calls[..] {
        let rate = (after - before) / f64::from(IDLE_S);
        println!("idle: {rate:.1} commands a second, those inside scripts counted");
    }
    Ok(())
}

fn nudge(n: usize) -> Nudge {
    Nudge {
        job: Job::Deliver {
            endpoint: format!("ep_{n:012}"),
        },
        priority: Priority::Live,
        at: None,
    }
}

/// Wall and processor time since its start.
struct Meter {
    begun: Instant,
    own_us: f64,
    server_us: f64,
}

impl Meter {
    async fn start(server: Option<&redis::Client>) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            server_us: server_us(server).await?,
            own_us: own_us()?,
            begun: Instant::now(),
        })
    }

    async fn stop(
        self,
        what: &str,
        jobs: usize,
        server: Option<&redis::Client>,
    ) -> Result<(), Box<dyn Error>> {
        let jobs = f64::from(u32::try_from(jobs)?);
        let rate = jobs / self.begun.elapsed().as_secs_f64();
        let own = (own_us()? - self.own_us) / jobs;
        let server = (server_us(server).await? - self.server_us) / jobs;
        println!(
            "{what}: {rate:.0} jobs/s, {own:.1} us of this process and {server:.1} us of the server each"
        );
        Ok(())
    }
}

/// The processor time of this process, from the kernel's hundredths of a second.
fn own_us() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Result<Vec<f64>, _> = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect();
    Ok(ticks?.iter().sum::<f64>() * 10_000.0)
}

async fn server_us(server: Option<&redis::Client>) -> Result<f64, Box<dyn Error>> {
    let Some(server) = server else {
        return Ok(0.0);
    };
    let info = info(server, "cpu").await?;
    let seconds = |name| field(&info, name).next().unwrap_or_default();
    Ok((seconds("used_cpu_user:") + seconds("used_cpu_sys:")) * 1e6)
}

async fn commands(server: &redis::Client) -> Result<f64, Box<dyn Error>> {
    let info = info(server, "commandstats").await?;
    Ok(field(&info, "calls=").sum())
}

async fn info(server: &redis::Client, section: &str) -> Result<String, Box<dyn Error>> {
    let mut connection = server.get_multiplexed_async_connection().await?;
    Ok(redis::cmd("INFO")
        .arg(section)
        .query_async(&mut connection)
        .await?)
}

fn field<'a>(info: &'a str, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    info.split(['\n', ',', ':'])
        .zip(info.split(['\n', ',', ':']).skip(1))
        .filter_map(move |(word, next)| match name.strip_suffix(':') {
            Some(bare) if word == bare => next.trim().parse().ok(),
            None => word.strip_prefix(name)?.trim().parse().ok(),
            Some(_) => None,
        })
}
