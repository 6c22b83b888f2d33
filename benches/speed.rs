//! What `make bench` prints: throughput, CPU, start-up and memory of the binary as it ships. Nothing is asserted.
//!
//! Everything runs on this machine at once: the hub, the partner that receives, and the load, which is closed-loop and
//! bounded. So rates are what two shared cores give; the CPU columns are the hub's own and compare better.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement prints its table and its progress"
)]

#[path = "speed/agreement.rs"]
mod agreement;
#[path = "speed/conversion.rs"]
mod conversion;
#[path = "speed/load.rs"]
mod load;
#[path = "speed/relay.rs"]
mod relay;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

const ACCOUNTS: usize = 10_000;
const MAPPED: usize = 200_000;
const STARTS: usize = 10;
const KEY: [u8; 32] = *b"0123456789abcdef0123456789abcdef";
/// Clock ticks a second in /proc, on every Linux there is.
const TICKS: f64 = 100.0;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut table = String::new();
    let folder = folder.path();
    // `make bench ONLY=agreement` measures one part.
    let only = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let wanted = |part: &str| only.as_ref().is_none_or(|only| only == part);
    if wanted("mapping") {
        mapping(&mut table);
        converting(&mut table);
    }
    if wanted("starting") {
        starting(folder, &mut table);
    }
    if wanted("relay") {
        relay::measure(folder, &mut table);
    }
    if wanted("waiting") {
        relay::waiting(folder, &mut table);
    }
    if wanted("syncing") {
        syncing(folder, &mut table);
    }
    if wanted("agreement") {
        agreement::whole_way(folder, &mut table);
        agreement::few_changes(folder, &mut table);
    }
    if wanted("passing") {
        agreement::memory(folder, &mut table);
    }
    println!("\n{table}");
}

/// The hub that is measured: this build's, or the one that `HUB` names, to compare the two.
fn binary() -> String {
    std::env::var("HUB").unwrap_or_else(|_| env!("CARGO_BIN_EXE_interconnect").to_owned())
}

fn row(table: &mut String, what: &str, value: impl std::fmt::Display) {
    eprintln!("{what}: {value}");
    let _ = writeln!(table, "{what:<62} {value}");
}

/// A process of ours that ends with its value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Process {
    /// CPU seconds so far, user and system.
    fn cpu_seconds(&self) -> f64 {
        cpu_of(&format!("/proc/{}/stat", self.0.id()), 13)
    }

    fn resident_mib(&self) -> f64 {
        memory_mib(self.0.id(), "VmRSS:").expect("it runs")
    }
}

/// What a process has of a kind of memory, in MiB; nothing when it has ended.
fn memory_mib(pid: u32, kind: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(kind))?;
    let kib = line.split_whitespace().nth(1)?.parse::<f64>().ok()?;
    Some(kib / 1024.0)
}

/// Two neighbouring fields of a stat file, in seconds; 13 is the process itself, 15 its children that ended.
fn cpu_of(path: &str, field: usize) -> f64 {
    let stat = std::fs::read_to_string(path).expect("proc is there");
    let rest = stat.rsplit(')').next().expect("the name ends with a bracket");
    let numbers: Vec<f64> = rest
        .split_whitespace()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    // `rest` begins behind the name: the state is field 2 of the file, the first number field 3.
    (numbers[field - 3] + numbers[field - 2]) / TICKS
}

fn mapping(table: &mut String) {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/salesforce/deal.yaml"));
    let source = diagnostic::Source::new("deal.yaml", text.expect("the mapping ships"));
    let mut report = diagnostic::Report::new();
    let mapping = mapping::Mapping::compile(&source, &mut report).expect("the mapping is sound");
    let object = json!({
        "Id": "006000000000001AAA", "Name": "Warehouse rollout", "StageName": "Proposal/Price Quote",
        "CloseDate": "2027-03-31", "CurrencyIsoCode": "EUR", "AccountId": "001000000000001AAA",
        "Amount": 12345.67, "Description": "Forty sites", "Probability": 75, "NextStep": "Call", "Type": "New Business",
        "Customer_Name__c": "Contoso", "Customer_Domain__c": "contoso.com", "Customer_Country__c": "DE",
    });
    let nobody = |_: &str, _: &str| None;
    let began = Instant::now();
    let mut fields = 0;
    for _ in 0..MAPPED {
        fields += mapping
            .forward(&object, None, mapping::Context::default(), &nobody)
            .fields
            .len();
    }
    let rate = MAPPED as f64 / began.elapsed().as_secs_f64();
    row(
        table,
        &format!("mapping alone, {} fields, records/s and thread", fields / MAPPED),
        format!("{rate:.0}"),
    );
}

fn converting(table: &mut String) {
    let measured = conversion::measure();
    let (mapped, by_hand) = (measured.mapped_us, measured.by_hand_us);
    row(
        table,
        &format!(
            "a deal with all {} fields, by mapping / by hand / ratio",
            measured.fields
        ),
        format!("{mapped:.1} us / {by_hand:.1} us / {:.2}", mapped / by_hand),
    );
}

fn spawn(arguments: &[&str], secrets: &[(&str, String)]) -> (Process, BufReader<Box<dyn Read + Send>>) {
    let serve = arguments.contains(&"serve");
    let mut child = Command::new(binary())
        .args(["--log", "warn"])
        .args(arguments)
        .envs(secrets.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(Stdio::null())
        .stdout(if serve { Stdio::null() } else { Stdio::piped() })
        .stderr(if serve { Stdio::piped() } else { Stdio::null() })
        .spawn()
        .expect("the binary starts");
    let output: Box<dyn Read + Send> = match child.stderr.take() {
        Some(stderr) => Box::new(stderr),
        None => Box::new(child.stdout.take().expect("it is piped")),
    };
    (Process(child), BufReader::new(output))
}

/// Starts a hub; the address that it says.
fn hub(config: &Path, secrets: &[(&str, String)]) -> (Process, String) {
    let (process, mut output) = spawn(&["--config", config.to_str().expect("text"), "serve"], secrets);
    let mut line = String::new();
    while !line.starts_with("listening on http://") {
        line.clear();
        assert!(
            output.read_line(&mut line).expect("it speaks") > 0,
            "the hub ended"
        );
    }
    let address = line.trim().trim_start_matches("listening on http://").to_owned();
    std::thread::spawn(move || std::io::copy(&mut { output.into_inner() }, &mut std::io::sink()).ok());
    (process, address)
}

fn sandbox(arguments: &[&str]) -> (Process, Json) {
    let mut all = vec!["sandbox", "--json"];
    all.extend(arguments);
    let (process, mut output) = spawn(&all, &[]);
    let mut line = String::new();
    output.read_line(&mut line).expect("it speaks");
    (process, serde_json::from_str(&line).expect("one line of JSON"))
}

fn starting(folder: &Path, table: &mut String) {
    let mut times = Vec::new();
    let mut memory = 0.0;
    for start in 0..STARTS {
        let config = folder.join("start.yaml");
        let text = format!(
            "listen: 127.0.0.1:0\nledger: sqlite:{}/start-{start}.db\n",
            folder.display()
        );
        std::fs::write(&config, text).expect("written");
        let began = Instant::now();
        let (process, _) = hub(&config, &[]);
        times.push(began.elapsed());
        std::thread::sleep(Duration::from_secs(1));
        memory = process.resident_mib();
    }
    times.sort();
    row(
        table,
        "start to listening, with a new ledger, median of 10",
        format!("{:.1} ms", times[STARTS / 2].as_secs_f64() * 1e3),
    );
    row(table, "resident memory, idle", format!("{memory:.1} MiB"));
}

fn syncing(folder: &Path, table: &mut String) {
    let (_sandbox, said) = sandbox(&[]);
    let url = said["salesforce"]["url"].as_str().expect("a url");
    for number in 0..ACCOUNTS {
        let row = json!({
            "Name": format!("Account {number}"), "Website": format!("https://account-{number}.example"),
            "BillingCity": "Berlin", "BillingCountry": "Germany", "Phone": format!("+4930{:07}", 1_000_000 + number),
            "Partner_Type__c": "sales",
        });
        let answer = ureq::post(&format!("{url}/_sandbox/rows/Account")).send(row.to_string());
        answer.expect("the sandbox takes rows");
    }
    // Each row has a millisecond of its own, so rows that are made faster lie in the future, where nobody reads them yet.
    std::thread::sleep(Duration::from_millis(ACCOUNTS as u64));
    let config = folder.join("sync.yaml");
    let text = format!(
        "ledger: sqlite:{}/sync.db
outbound: {{ allow: [127.0.0.0/8] }}
connections:
  crm: {{ system: salesforce, auth: oauth2_client_credentials, config: {{ login_url: \"{url}\" }}, secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}, currency: EUR, country: DE, lag: 0ms }}
syncs: [{{ connection: crm, record: partner }}]
",
        folder.display()
    );
    std::fs::write(&config, text).expect("written");
    let secret = |name: &str| {
        said["salesforce"][name]
            .as_str()
            .expect("a credential")
            .to_owned()
    };
    let secrets = [
        ("SF_ID", secret("client_id")),
        ("SF_SECRET", secret("client_secret")),
    ];
    for (what, full) in [
        ("pulled, mapped, committed (new)", false),
        ("pulled and compared (nothing new)", true),
    ] {
        let (cpu, began) = (cpu_of("/proc/self/stat", 15), Instant::now());
        let mut command = Command::new(binary());
        command.args([
            "--config",
            config.to_str().expect("text"),
            "sync",
            "run",
            "--json",
        ]);
        if full {
            command.arg("--full");
        }
        let output = command
            .envs(secrets.iter().map(|(n, v)| (*n, v.as_str())))
            .output()
            .expect("it runs");
        let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_of("/proc/self/stat", 15) - cpu);
        let json: Json = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        let read = json["total"]["read"].as_f64().unwrap_or(0.0);
        row(
            table,
            &format!("records {what}/s, process start and HTTP included"),
            format!("{:.0}", read / took),
        );
        row(
            table,
            &format!("records {what} a CPU second of the hub"),
            format!("{:.0}", read / cpu),
        );
    }
}
