//! Webhooks accepted and delivered a second, end to end, with what they cost.
//!
//! Three processes on one machine: a load generator (closed loop, one request in flight for each connection, every
//! message with its own id and signature), the hub (real server, SQLite in a file, real sender), and a sink that counts.
//! Only the hub's CPU time is reported. It ends when everything that was accepted has arrived.
//!
//! `cargo run --release -p interconnect-server --example intake -- [seconds] [connections] [full|normal]`

#![expect(clippy::print_stdout, reason = "the numbers are for the person who asked")]

use std::collections::HashSet;
use std::fmt::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use jiff::Timestamp;
use ledger::Durability;
use outbound::{Guard, Sender, SenderLimits};
use relay::{
    Deliverer, Endpoint, EndpointSettings, Handover, Intake, Partner, Random, Refusals, RelayLimits,
    RelaySettings, Replayer, Switch, standard,
};
use server::{HookAnswer, HookRefusal, Hub, HubParts, IncomingParts, ServerSettings, SystemHooks};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECRET: &str = concat!("whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
const BODY_BYTES: usize = 605;
/// Clock ticks a second in `/proc`; Linux has had this value on every architecture that matters here.
const TICKS_A_SECOND: f64 = 100.0;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

struct NoSystems;

#[async_trait]
impl SystemHooks for NoSystems {
    async fn receive(&self, _: &str, _: IncomingParts, _: Bytes) -> Result<Option<HookAnswer>, HookRefusal> {
        Err(HookRefusal::UnknownConnection)
    }
}

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let at = |n: usize| arguments.get(n).map(String::as_str);
    let mut runtime = match at(0) {
        Some("sink" | "load") => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    match at(0) {
        Some("sink") => runtime.block_on(sink()),
        Some("load") => {
            let seconds = at(2).unwrap_or_default().parse()?;
            let connections = at(3).unwrap_or_default().parse()?;
            runtime.block_on(load(at(1).unwrap_or_default(), seconds, connections))
        }
        seconds => {
            let seconds = seconds.unwrap_or("10").parse()?;
            let connections = at(1).unwrap_or("64").parse()?;
            let durable = if at(2) == Some("normal") {
                Durability::Normal
            } else {
                Durability::Full
            };
            runtime.block_on(hub(seconds, connections, durable))
        }
    }
}

async fn hub(seconds: u64, connections: usize, durable: Durability) -> Fallible<()> {
    let (mut sink_process, mut sink_says) = start(&["sink"])?;
    let sink_address = line(&mut sink_says).await?;
    let folder = tempfile::tempdir()?;
    let (address, runs) = serve(folder.path(), &sink_address, durable).await?;

    let cpu_before = cpu_seconds()?;
    let began = Instant::now();
    let (mut load_process, mut load_says) =
        start(&["load", &address, &seconds.to_string(), &connections.to_string()])?;
    let accepted: u64 = line(&mut load_says).await?.parse()?;
    let accept_s = began.elapsed().as_secs_f64();
    let (mut arrived, mut distinct) = (0, 0);
    while distinct < accepted {
        tokio::time::sleep(Duration::from_millis(5)).await;
        (arrived, distinct) = count(&sink_address).await?;
        if began.elapsed().as_secs() > seconds + 120 {
            return Err(format!("only {distinct} of {accepted} arrived").into());
        }
    }
    let all_s = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds()? - cpu_before;
    load_process.wait().await?;
    sink_process.kill().await?;
    println!("durability            {durable:?}, {connections} connections, {BODY_BYTES} bytes");
    println!(
        "accepted              {accepted} in {accept_s:.1} s: {:.0}/s",
        accepted as f64 / accept_s
    );
    println!(
        "delivered             {distinct} in {all_s:.1} s: {:.0}/s, {} of them twice",
        distinct as f64 / all_s,
        arrived - distinct
    );
    println!(
        "CPU of the hub        {:.1} us an event ({:.2} cores)",
        cpu * 1e6 / accepted as f64,
        cpu / all_s
    );
    println!("resident memory       {} MiB", resident_mib()?);
    println!("runs of the deliverer {}", runs.load(Ordering::Relaxed));
    Ok(())
}

async fn serve(
    folder: &std::path::Path,
    sink: &str,
    durable: Durability,
) -> Fallible<(String, Arc<AtomicU64>)> {
    let settings = ledger::Settings {
        durable,
        ..ledger::Settings::default()
    };
    let address = format!("sqlite:{}", folder.join("ledger.db").display());
    let ledger = ledger::open(&address, settings).await?;
    let guard = Guard::allowing(["127.0.0.0/8".parse()?]);
    let endpoint = EndpointSettings {
        name: "sink".into(),
        partner: "borealis".into(),
        url: format!("http://{sink}/in"),
        secrets: vec![SECRET.into()],
        policy: policy::SharingPolicy::everything(),
        in_flight_max: 64,
        ..EndpointSettings::default()
    };
    let told = |bad: Vec<relay::BadSetting>| format!("{bad:?}");
    let partner = |name| Partner::new(name, &[SECRET.into()]).map_err(told);
    let partners = vec![partner("acme")?, partner("borealis")?];
    let endpoint = Endpoint::new(&endpoint, &guard).map_err(told)?;
    let settings = RelaySettings::new(partners, vec![endpoint], RelayLimits::default()).map_err(told)?;
    let settings = Arc::new(settings);
    let handover = Arc::new(Handover::default());
    let clock: relay::Clock = Arc::new(Timestamp::now);
    let sender = Sender::new(SenderLimits::default(), guard)?;
    let deliverer = Deliverer::new(
        ledger.clone(),
        settings.clone(),
        sender,
        handover.clone(),
        clock.clone(),
        random(2),
        "here",
    );
    let wanted = Arc::new(Notify::new());
    let runs = Arc::new(AtomicU64::new(0));
    let (look, counted) = (wanted.clone(), runs.clone());
    tokio::spawn(async move {
        loop {
            look.notified().await;
            while let Ok(Some(_)) = deliverer.deliver("sink", std::future::pending()).await {}
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let nudge: relay::Nudge = Arc::new(move |_: &str| wanted.notify_one());
    let intake = Intake::new(
        ledger.clone(),
        settings.clone(),
        handover.clone(),
        nudge.clone(),
        random(1),
    );
    let partners_and_endpoints = settings.clone();
    let switch = Switch::new(ledger.clone(), settings, handover, nudge.clone(), clock.clone());
    let replayer = Replayer::new(
        ledger.clone(),
        Vec::new(),
        nudge.clone(),
        clock.clone(),
        random(4),
        "here",
        30_000,
    );
    let settings = Arc::new(ServerSettings::default());
    let router = server::router(Hub::new(HubParts {
        refusals: Refusals::start(ledger.clone(), 100),
        ledger,
        intake: Arc::new(intake),
        relay: partners_and_endpoints,
        systems: Arc::new(NoSystems),
        decisions: Arc::new(NoSystems),
        metrics: Arc::new(NoSystems),
        nudge,
        switch: Arc::new(switch),
        replayer: Arc::new(replayer),
        clock,
        random: random(3),
        settings: settings.clone(),
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move { server::serve(listener, router, &settings, std::future::pending()).await });
    Ok((address, runs))
}

#[async_trait]
impl server::Metrics for NoSystems {
    async fn measure(&self) -> Result<Vec<server::Metric>, ledger::LedgerError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl server::Decisions for NoSystems {
    async fn decide(&self, decision: &sync::Decision) -> Result<ledger::Conflict, sync::Unresolved> {
        Err(sync::Unresolved::Unknown(decision.conflict))
    }

    async fn act(&self, _: &str, _: &sync::Act) -> Result<sync::Done, sync::ActionError> {
        Err(sync::ActionError::Unknown("nothing is kept here".to_owned()))
    }

    async fn retry_parked(
        &self,
        _: &sync::WhichParked,
        _: bool,
    ) -> Result<sync::Retried, ledger::LedgerError> {
        Ok(sync::Retried::default())
    }
}

/// Fast, and different each time; nobody attacks a measurement.
fn random(seed: u64) -> Random {
    let next = AtomicU64::new(seed << 32);
    Arc::new(move || {
        let number = next
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    })
}

/// Posts for some seconds over so many connections, and prints how many were accepted.
async fn load(address: &str, seconds: u64, connections: usize) -> Fallible<()> {
    let start = r#"{"type":"deal.updated","timestamp":"2026-11-23T06:00:00Z","data":{"id":"dea_1","name":"Solar park","amount":{"amount":"1200.50","currency":"EUR"},"stage":"proposal","owner":"a@acme.example","note":""#;
    let body = format!("{start}{}\"}}}}", "x".repeat(BODY_BYTES - start.len() - 3));
    assert_eq!(body.len(), BODY_BYTES);
    let secrets: Arc<[relay::Secret]> = Arc::new([SECRET.parse()?]);
    let stop = Arc::new(AtomicBool::new(false));
    let post = async |connection: usize| -> Fallible<u64> {
        let mut hub = TcpStream::connect(address).await?;
        hub.set_nodelay(true)?;
        let (mut accepted, mut buffer) = (0u64, vec![0; 4096]);
        while !stop.load(Ordering::Relaxed) {
            let id = format!("msg_{connection}_{accepted}");
            let request = request(&secrets, &id, &body)?;
            hub.write_all(request.as_bytes()).await?;
            let answer = read_message(&mut hub, &mut buffer).await?;
            if !answer.starts_with("HTTP/1.1 202") {
                return Err(answer.into());
            }
            accepted += 1;
        }
        Ok(accepted)
    };
    let time = async {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (counts, ()) = tokio::join!(join_all((0..connections).map(post)), time);
    println!("{}", counts.into_iter().sum::<Fallible<u64>>()?);
    Ok(())
}

fn request(secrets: &[relay::Secret], id: &str, body: &str) -> Fallible<String> {
    let mut request = format!(
        "POST /hooks/acme HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in &standard::sign(secrets, id, Timestamp::now(), body.as_bytes()) {
        write!(request, "{name}: {}\r\n", value.to_str()?)?;
    }
    Ok(format!("{request}\r\n{body}"))
}

/// Reads one whole message with a `content-length`; both sides send one at a time.
async fn read_message(peer: &mut TcpStream, buffer: &mut [u8]) -> Fallible<String> {
    let mut read = 0;
    loop {
        let count = peer.read(&mut buffer[read..]).await.unwrap_or(0);
        if count == 0 {
            return Ok(String::new());
        }
        read += count;
        let Some(end) = buffer[..read].windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end])?;
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.map_or(Ok(0), |(_, value)| value.parse::<usize>())?;
        if read >= end + 4 + length {
            return Ok(String::from_utf8_lossy(&buffer[..read]).into_owned());
        }
    }
}

/// Messages that came, and the ids of the different ones.
type Seen = Arc<Mutex<(u64, HashSet<String>)>>;

/// Answers every post with 200, and `GET` with how many came and how many different ones.
async fn sink() -> Fallible<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let seen = Seen::default();
    loop {
        let (peer, _) = listener.accept().await?;
        peer.set_nodelay(true)?;
        tokio::spawn(sink_connection(peer, seen.clone()));
    }
}

async fn sink_connection(mut peer: TcpStream, seen: Seen) -> Fallible<()> {
    let mut buffer = vec![0; 8192];
    loop {
        let message = read_message(&mut peer, &mut buffer).await?;
        if message.is_empty() {
            return Ok(());
        }
        let answer = {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match message.lines().find_map(|line| line.strip_prefix("webhook-id: ")) {
                Some(id) => {
                    seen.0 += 1;
                    seen.1.insert(id.to_owned());
                    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()
                }
                None => {
                    let body = format!("{} {}", seen.0, seen.1.len());
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                }
            }
        };
        peer.write_all(answer.as_bytes()).await?;
    }
}

async fn count(sink: &str) -> Fallible<(u64, u64)> {
    let mut peer = TcpStream::connect(sink).await?;
    peer.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
    let answer = read_message(&mut peer, &mut [0; 1024]).await?;
    let counts = answer.lines().last().and_then(|body| body.split_once(' '));
    let (arrived, distinct) = counts.ok_or("the sink told no counts")?;
    Ok((arrived.parse()?, distinct.parse()?))
}

type Says = BufReader<tokio::process::ChildStdout>;

fn start(arguments: &[&str]) -> Fallible<(Child, Says)> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let says = BufReader::new(child.stdout.take().ok_or("the child has no output")?);
    Ok((child, says))
}

async fn line(says: &mut Says) -> Fallible<String> {
    let mut text = String::new();
    says.read_line(&mut text).await?;
    Ok(text.trim().to_owned())
}

/// User and system time of this process.
fn cpu_seconds() -> Fallible<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    // Fields 14 and 15 of proc(5); these begin with the third.
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = times.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS_A_SECOND)
}

fn resident_mib() -> Fallible<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no VmRSS")?;
    Ok(kib.parse::<u64>()? / 1024)
}
