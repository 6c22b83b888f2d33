//! Webhooks accepted and delivered a second, end to end, with what they cost.
//!
//! Three processes on one machine: a load generator (closed loop, one request in flight for each connection, every
//! message with its own id and signature), the hub (real server, SQLite in a file, real sender), and a sink that counts.
//! Only the hub's CPU time is reported. It ends when everything that was accepted has arrived.
//!
//! `cargo run --release -p interconnect-server --example throughput -- [seconds] [connections] [full|normal]`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement at a terminal"
)]

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use ledger::Durability;
use outbound::{Guard, Sender, SenderLimits};
use relay::{
    Deliverer, Endpoint, EndpointSettings, Handover, Intake, Partner, Random, Refusals, RelayLimits,
    RelaySettings, standard,
};
use server::{HookRefusal, Hub, HubParts, IncomingParts, ServerSettings, SystemHooks};
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

struct NoSystems;

#[async_trait]
impl SystemHooks for NoSystems {
    async fn receive(&self, _: &str, _: IncomingParts, _: Bytes) -> Result<(), HookRefusal> {
        Err(HookRefusal::UnknownConnection)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let at = |n: usize| arguments.get(n).map(String::as_str);
    let mut runtime = match at(0) {
        Some("sink" | "load") => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build().unwrap();
    match at(0) {
        Some("sink") => runtime.block_on(sink()),
        Some("load") => runtime.block_on(load(
            at(1).unwrap(),
            at(2).unwrap().parse().unwrap(),
            at(3).unwrap().parse().unwrap(),
        )),
        seconds => {
            let seconds = seconds.map_or(10, |text| text.parse().unwrap());
            let connections = at(1).map_or(64, |text| text.parse().unwrap());
            let durable = if at(2) == Some("normal") {
                Durability::Normal
            } else {
                Durability::Full
            };
            runtime.block_on(hub(seconds, connections, durable));
        }
    }
}

async fn hub(seconds: u64, connections: usize, durable: Durability) {
    let (mut sink_process, mut sink_says) = start(&["sink"]);
    let sink_address = line(&mut sink_says).await;
    let folder = tempfile::tempdir().unwrap();
    let (address, delivered_by_us) = serve(folder.path(), &sink_address, durable).await;

    let cpu_before = cpu_seconds();
    let began = Instant::now();
    let (mut load_process, mut load_says) =
        start(&["load", &address, &seconds.to_string(), &connections.to_string()]);
    let accepted: u64 = line(&mut load_says).await.parse().unwrap();
    let accept_s = began.elapsed().as_secs_f64();
    let (mut arrived, mut distinct) = (0, 0);
    while distinct < accepted {
        tokio::time::sleep(Duration::from_millis(5)).await;
        (arrived, distinct) = count(&sink_address).await;
        assert!(
            began.elapsed().as_secs() < seconds + 120,
            "{distinct} of {accepted} arrived"
        );
    }
    let all_s = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu_before;
    load_process.wait().await.unwrap();
    sink_process.kill().await.unwrap();
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
    println!("resident memory       {} MiB", resident_mib());
    println!(
        "runs of the deliverer {}",
        delivered_by_us.load(Ordering::Relaxed)
    );
}

async fn serve(folder: &std::path::Path, sink: &str, durable: Durability) -> (String, Arc<AtomicU64>) {
    let settings = ledger::Settings {
        durable,
        ..ledger::Settings::default()
    };
    let address = format!("sqlite:{}", folder.join("ledger.db").display());
    let ledger = ledger::open(&address, settings).await.unwrap();
    let guard = Guard::allowing(["127.0.0.0/8".parse().unwrap()]);
    let endpoint = EndpointSettings {
        name: "sink".into(),
        partner: "borealis".into(),
        url: format!("http://{sink}/in"),
        secrets: vec![SECRET.into()],
        in_flight_max: 64,
        ..EndpointSettings::default()
    };
    let partners = ["acme", "borealis"].map(|name| Partner::new(name, &[SECRET.into()]).unwrap());
    let endpoint = Endpoint::new(&endpoint, &guard).unwrap();
    let settings = RelaySettings::new(partners.into(), vec![endpoint], RelayLimits::default());
    let settings = Arc::new(settings.unwrap());
    let handover = Arc::new(Handover::default());
    let clock: relay::Clock = Arc::new(Timestamp::now);
    let sender = Sender::new(SenderLimits::default(), guard).unwrap();
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
            while deliverer
                .deliver("sink", std::future::pending())
                .await
                .unwrap()
                .is_some()
            {}
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let nudge: relay::Nudge = Arc::new(move |_: &str| wanted.notify_one());
    let intake = Intake::new(ledger.clone(), settings, handover, nudge.clone(), random(1));
    let settings = Arc::new(ServerSettings::default());
    let router = server::router(Hub::new(HubParts {
        refusals: Refusals::start(ledger.clone(), 100),
        ledger,
        intake: Arc::new(intake),
        systems: Arc::new(NoSystems),
        nudge,
        clock,
        random: random(3),
        settings: settings.clone(),
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { server::serve(listener, router, &settings, std::future::pending()).await });
    (address, runs)
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
async fn load(address: &str, seconds: u64, connections: usize) {
    let start = r#"{"type":"deal.updated","timestamp":"2026-11-23T06:00:00Z","data":{"id":"dea_1","name":"Solar park","amount":{"amount":"1200.50","currency":"EUR"},"stage":"proposal","owner":"a@acme.example","note":""#;
    let body = format!("{start}{}\"}}}}", "x".repeat(BODY_BYTES - start.len() - 3));
    assert_eq!(body.len(), BODY_BYTES);
    let secrets = Arc::new([SECRET.parse().unwrap()]);
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for connection in 0..connections {
        let (body, secrets, stop, address) =
            (body.clone(), secrets.clone(), stop.clone(), address.to_owned());
        tasks.push(tokio::spawn(async move {
            let mut hub = TcpStream::connect(address).await.unwrap();
            hub.set_nodelay(true).unwrap();
            let (mut accepted, mut buffer) = (0u64, vec![0; 4096]);
            while !stop.load(Ordering::Relaxed) {
                let id = format!("msg_{connection}_{accepted}");
                let headers = standard::sign(&*secrets, &id, Timestamp::now(), body.as_bytes());
                let text = |name: &str| headers[name].to_str().unwrap().to_owned();
                let request = format!(
                    "POST /hooks/acme HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\ncontent-length: {BODY_BYTES}\r\nwebhook-id: {id}\r\nwebhook-timestamp: {}\r\nwebhook-signature: {}\r\n\r\n{body}",
                    text("webhook-timestamp"), text("webhook-signature"),
                );
                hub.write_all(request.as_bytes()).await.unwrap();
                let answer = read_message(&mut hub, &mut buffer).await;
                assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
                accepted += 1;
            }
            accepted
        }));
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let mut accepted = 0;
    for task in tasks {
        accepted += task.await.unwrap();
    }
    println!("{accepted}");
}

/// Reads one whole message with a `content-length`; both sides send one at a time.
async fn read_message(peer: &mut TcpStream, buffer: &mut [u8]) -> String {
    let mut read = 0;
    loop {
        let count = peer.read(&mut buffer[read..]).await.unwrap_or(0);
        if count == 0 {
            return String::new();
        }
        read += count;
        if let Some(end) = buffer[..read].windows(4).position(|four| four == b"\r\n\r\n") {
            let head = std::str::from_utf8(&buffer[..end]).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse::<usize>().unwrap())
            });
            if read >= end + 4 + length.unwrap_or(0) {
                return String::from_utf8_lossy(&buffer[..read]).into_owned();
            }
        }
    }
}

/// Answers every post with 200, and `GET` with how many came and how many different ones.
async fn sink() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new((0u64, HashSet::new())));
    loop {
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.set_nodelay(true).unwrap();
        let seen = seen.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 8192];
            loop {
                let message = read_message(&mut peer, &mut buffer).await;
                let answer = match message.lines().find_map(|line| line.strip_prefix("webhook-id: ")) {
                    Some(id) => {
                        let mut seen = seen.lock().unwrap();
                        seen.0 += 1;
                        seen.1.insert(id.to_owned());
                        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()
                    }
                    None if message.is_empty() => return,
                    None => {
                        let seen = seen.lock().unwrap();
                        let body = format!("{} {}", seen.0, seen.1.len());
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                    }
                };
                if peer.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn count(sink: &str) -> (u64, u64) {
    let mut peer = TcpStream::connect(sink).await.unwrap();
    peer.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let answer = read_message(&mut peer, &mut [0; 1024]).await;
    let (arrived, distinct) = answer.rsplit_once("\r\n").unwrap().1.split_once(' ').unwrap();
    (arrived.parse().unwrap(), distinct.parse().unwrap())
}

type Says = BufReader<tokio::process::ChildStdout>;

fn start(arguments: &[&str]) -> (Child, Says) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut child = command
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let says = BufReader::new(child.stdout.take().unwrap());
    (child, says)
}

async fn line(says: &mut Says) -> String {
    let mut text = String::new();
    says.read_line(&mut text).await.unwrap();
    text.trim().to_owned()
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS_A_SECOND
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
