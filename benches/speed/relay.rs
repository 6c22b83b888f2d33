//! The relay: webhooks accepted and delivered, by how many endpoints there are, how many get each event, and what it
//! stands on.
//!
//! The load is closed-loop: 64 connections (or `CONNECTIONS`), each with one request at a time. The sink answers at once.
//! Both are threads of this process, whose CPU stands beside the hub's; the hub, PostgreSQL and Redis are processes of their
//! own, and all share the machine. Latency is from the beginning of the post to the arrival at the sink, under full load,
//! where waiting in line is most of it.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::load::{Arrived, post, signed, sink};
use super::{KEY, Process, cpu_of, hub, row};

/// (endpoints, how many of them get each event, events).
const RUNS: [(usize, usize, usize); 6] = [
    (1, 1, 150_000),
    (100, 1, 150_000),
    (10_000, 1, 150_000),
    (10, 10, 15_000),
    (100, 10, 15_000),
    (10_000, 10, 15_000),
];
/// Events before the measure begins.
const WARM_UP: usize = 1_000;
/// Events that wait for an endpoint that is dead, between two looks at the memory.
const WAITING: [usize; 3] = [10_000, 100_000, 1_000_000];
/// How many of them are signed at a time.
const AT_ONCE: usize = 10_000;
/// The place of a process's own CPU in its stat file.
const OWN: usize = 13;
/// How long all deliveries of a run may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a hub stands on.
struct Stores {
    name: &'static str,
    /// Their lines in the configuration.
    text: String,
    /// Processes beside the hub whose children count, too.
    pids: Vec<u32>,
    _running: Vec<Process>,
}

/// All of it.
pub(crate) fn measure(folder: &Path, table: &mut String) {
    let _ = writeln!(
        table,
        "{:<18} {:>9} {:>7} | {:>10} {:>11} {:>9} {:>9} | {:>12} {:>12} {:>10} {:>9}",
        "relay on",
        "endpoints",
        "fan-out",
        "accepted/s",
        "delivered/s",
        "p50 ms",
        "p99 ms",
        "hub us/event",
        "stores us/ev",
        "load us/ev",
        "hub MiB"
    );
    // `RUNS=SQLite/1/1/` takes only those rows that begin so.
    let wanted = std::env::var("RUNS").unwrap_or_default();
    let wanted = |name: &str, (endpoints, fan_out, _): (usize, usize, usize)| {
        format!("{name}/{endpoints}/{fan_out}/").starts_with(&wanted)
    };
    let on_sqlite = RUNS.into_iter().filter(|run| wanted("SQLite", *run));
    for (number, run_of) in on_sqlite.enumerate() {
        let text = format!("ledger: sqlite:{}/relay-{number}.db\n", folder.display());
        let sqlite = Stores {
            name: "SQLite",
            text,
            pids: Vec::new(),
            _running: Vec::new(),
        };
        run(folder, &sqlite, run_of, table);
    }
    for run_of in RUNS.into_iter().filter(|run| wanted("PostgreSQL", *run)) {
        match servers(folder) {
            Ok(stores) => run(folder, &stores, run_of, table),
            Err(reason) => {
                row(
                    table,
                    "relay on PostgreSQL, Redis",
                    format!("not measured: {reason}"),
                );
                break;
            }
        }
    }
}

/// A PostgreSQL and a Redis of a run's own.
fn servers(folder: &Path) -> Result<Stores, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/postgres.py");
    let mut postgres = Command::new("python3")
        .arg(script)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("python3: {error}"))?;
    let mut line = String::new();
    let said = postgres.stdout.take().map(BufReader::new);
    let read = said.map(|mut said| said.read_line(&mut line));
    let postgres = Process(postgres);
    let said: Json = match read {
        Some(Ok(1..)) => serde_json::from_str(&line).map_err(|error| error.to_string())?,
        _ => return Err("PostgreSQL does not start; run `python3 tests/services/setup.py`".to_owned()),
    };
    let socket = folder.join("bench-redis.sock");
    let _gone = std::fs::remove_file(&socket);
    let redis = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("redis-server: {error}"))?;
    let redis = Process(redis);
    let began = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        if began.elapsed() > Duration::from_secs(10) {
            return Err("redis-server does not listen".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let url = said["url"].as_str().unwrap_or_default();
    let pid = said["pid"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok())
        .unwrap_or(0);
    Ok(Stores {
        name: "PostgreSQL, Redis",
        text: format!("ledger: {url}\nqueue: unix://{}\n", socket.display()),
        pids: vec![pid, redis.0.id()],
        _running: vec![postgres, redis],
    })
}

/// A configuration in which each type of event is for `fan_out` endpoints.
fn config(folder: &Path, stores: &str, endpoints: usize, fan_out: usize, url: &str) -> PathBuf {
    let mut text = format!(
        "listen: 127.0.0.1:0\n{stores}outbound: {{ allow: [127.0.0.0/8] }}\npartners:\n  acme: {{ secrets: [\"${{env:S}}\"] }}\n  \
         northwind:\n    endpoints:\n"
    );
    // A configuration may have so many bytes, and ten thousand endpoints have little each to do.
    let bounds = if endpoints < 1_000 {
        ", in_flight_max: 64"
    } else {
        ""
    };
    for number in 0..endpoints {
        let kind = number / fan_out;
        let _ = writeln!(
            text,
            "      - {{ name: e{number}, url: \"{url}/{number}\", secret: \"${{env:S}}\", events: [custom.t{kind}], share: everything{bounds} }}"
        );
    }
    let config = folder.join("relay-bench.yaml");
    std::fs::write(&config, text).expect("written");
    config
}

fn secrets() -> [(&'static str, String); 1] {
    [("S", format!("whsec_{}", STANDARD.encode(KEY)))]
}

fn run(
    folder: &Path,
    stores: &Stores,
    (endpoints, fan_out, events): (usize, usize, usize),
    table: &mut String,
) {
    let arrived = Arc::new(Arrived::default());
    let url = sink(&arrived);
    let config = config(folder, &stores.text, endpoints, fan_out, &url);
    let (process, address) = hub(&config, &secrets());
    let kinds = endpoints / fan_out;
    post(&address, signed(&address, 0, WARM_UP, kinds));
    arrive(&arrived, WARM_UP * fan_out);
    let requests = signed(&address, WARM_UP, events, kinds);
    let all_cpu = || stores.pids.iter().map(|pid| cpu_with_children(*pid)).sum::<f64>();
    let load_cpu = cpu_of("/proc/self/stat", OWN);
    let (hub_cpu, stores_cpu, began) = (process.cpu_seconds(), all_cpu(), Instant::now());
    let posted = post(&address, requests);
    let accepted = began.elapsed();
    arrive(&arrived, (WARM_UP + events) * fan_out);
    let delivered = began.elapsed();
    let (hub_cpu, stores_cpu) = (process.cpu_seconds() - hub_cpu, all_cpu() - stores_cpu);
    let load_cpu = cpu_of("/proc/self/stat", OWN) - load_cpu;
    let took = posted
        .iter()
        .filter_map(|(id, at)| Some(arrived.at(id)?.duration_since(*at)));
    let mut took: Vec<Duration> = took.collect();
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1e3;
    let each = |seconds: f64| seconds / events as f64 * 1e6;
    let line = format!(
        "{:<18} {endpoints:>9} {fan_out:>7} | {:>10.0} {:>11.0} {:>9.1} {:>9.1} | {:>12.1} {:>12.1} {:>10.1} {:>9.1}",
        stores.name,
        events as f64 / accepted.as_secs_f64(),
        (events * fan_out) as f64 / delivered.as_secs_f64(),
        at(50),
        at(99),
        each(hub_cpu),
        each(stores_cpu),
        each(load_cpu),
        process.resident_mib()
    );
    eprintln!("{line}");
    let _ = writeln!(table, "{line}");
}

/// Memory while many wait for an endpoint at which nobody listens.
pub(crate) fn waiting(folder: &Path, table: &mut String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let ledger = format!("ledger: sqlite:{}/relay-waiting.db\n", folder.display());
    let (process, address) = hub(&config(folder, &ledger, 1, 1, &url), &secrets());
    let mut there = 0;
    for waiting in WAITING {
        while there < waiting {
            let requests = signed(&address, there, AT_ONCE.min(waiting - there), 1);
            there += post(&address, requests).len();
        }
        row(
            table,
            &format!("resident memory while {waiting} wait for a dead endpoint"),
            format!("{:.1} MiB", process.resident_mib()),
        );
    }
}

/// CPU seconds of a process, of its children, and of those that have ended.
fn cpu_with_children(pid: u32) -> f64 {
    let own = |pid: u32| cpu_of(&format!("/proc/{pid}/stat"), 13);
    let ended = cpu_of(&format!("/proc/{pid}/stat"), 15);
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    own(pid) + ended + children.map(own).sum::<f64>()
}

/// Waits until so many have arrived.
fn arrive(arrived: &Arrived, count: usize) {
    let began = Instant::now();
    while arrived.count() < count {
        let there = arrived.count();
        assert!(began.elapsed() < PATIENCE, "only {there} of {count} arrived");
        std::thread::sleep(Duration::from_millis(1));
    }
}
