//! What it costs to keep two systems in agreement: the whole way of many records, and of few changes among many.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use ledger::{Durability, Link, RecordWrite, SyncCommit};
use model::{Fields, Kind, Record, RecordId, Value, uuid_from};
use serde_json::{Value as Json, json};

use super::{Process, binary, cpu_of, memory_mib, row, sandbox};

/// Records that go the whole way.
const RECORDS: usize = 50_000;
/// Rows that the sandbox takes at a time.
const ROWS: usize = 1_000;
/// Changes among them.
const CHANGES: usize = 50;
/// How many records the ledger has when few change.
const LEDGERS: [usize; 3] = [10_000, 100_000, 1_000_000];
/// Records of a commit that fills a ledger.
const PAGE: usize = 1_000;
/// How many records pass through a hub whose memory is looked at.
const PASSING: [usize; 3] = [10_000, 100_000, 1_000_000];
/// Records that go the whole way with no more fields than ship.
const SHIPPED: usize = 10_000;
/// How often its memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What of which systems is kept in agreement.
const BOTH: &str = "[{ connection: crm, record: partner }, { connection: marketing, record: partner }]";
const SOURCE: &str = "[{ connection: crm, record: partner }]";

/// An object, what its rows hold, and how many there are.
type Rows<'a> = (&'a str, fn(usize) -> Json, usize);

/// Two emulated systems, and a hub's configuration for them.
struct Stage {
    _sandbox: Process,
    said: Json,
    config: PathBuf,
    ledger: PathBuf,
    ids: Vec<String>,
}

/// What a run of the hub came to.
struct Ran {
    seconds: f64,
    cpu: f64,
    peak_mib: f64,
    total: Json,
}

impl Stage {
    /// Both systems, and so many rows of an object of the source.
    fn new(folder: &Path, name: &str, syncs: &str, (object, row, records): Rows) -> Stage {
        let mut stage = Stage::start(folder, name, syncs, &[]);
        stage.fill(object, row, records);
        // Each row has a millisecond of its own, so rows that are made faster lie in the future.
        std::thread::sleep(Duration::from_millis(records as u64));
        stage
    }

    fn start(folder: &Path, name: &str, syncs: &str, sandbox_arguments: &[&str]) -> Stage {
        let (process, said) = sandbox(sandbox_arguments);
        let url = |system: &str| said[system]["url"].as_str().expect("a url").to_owned();
        let ledger = folder.join(format!("{name}.db"));
        let config = folder.join(format!("{name}.yaml"));
        let text = format!(
            "ledger: sqlite:{}
outbound: {{ allow: [127.0.0.0/8] }}
connections:
  crm: {{ system: salesforce, auth: oauth2_client_credentials, config: {{ login_url: \"{}\" }}, secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}, currency: EUR, country: DE, lag: 0ms }}
  marketing: {{ system: hubspot, auth: bearer, config: {{ base_url: \"{}\" }}, secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}, currency: EUR, country: DE, lag: 0ms }}
syncs: {syncs}
",
            ledger.display(),
            url("salesforce"),
            url("hubspot"),
        );
        std::fs::write(&config, text).expect("written");
        Stage {
            _sandbox: process,
            said,
            config,
            ledger,
            ids: Vec::new(),
        }
    }

    /// Eighteen fields of the customer's own beside the twelve that ship, at both systems.
    fn widen(&self) {
        let (mut custom, mut lines, mut properties) =
            (String::new(), [String::new(), String::new()], Vec::new());
        for (name, field_type, here, there) in OWN {
            custom += &format!("      {name}: {{ type: {field_type} }}\n");
            for (lines, object) in lines.iter_mut().zip([here, there]) {
                *lines += &format!("    - {{ record: custom.{name}, object: {object} }}\n");
            }
            if there.starts_with("own_") {
                properties.push(
                    json!({"name": there, "label": name, "type": "string", "fieldType": "text",
                    "groupName": "companyinformation"}),
                );
            }
        }
        lines[1] += "    - { record: industry, object: own_industry }\n";
        properties.push(
            json!({"name": "own_industry", "label": "Sector", "type": "string", "fieldType": "text",
            "groupName": "companyinformation"}),
        );
        let folder = self.config.with_extension("mappings");
        for (system, lines) in ["salesforce", "hubspot"].into_iter().zip(&lines) {
            let text = format!("apiVersion: interconnect/v1\nkind: Overlay\nadd:\n  fields:\n{lines}");
            std::fs::create_dir_all(folder.join(system)).expect("a folder");
            std::fs::write(folder.join(system).join("partner.yaml"), text).expect("written");
        }
        let config = std::fs::read_to_string(&self.config).expect("it was written");
        let config = format!(
            "{config}mappings: {}\nrecords:\n  partner:\n    custom:\n{custom}",
            folder.display()
        );
        std::fs::write(&self.config, config).expect("written");
        let url = format!("{}/crm/v3/properties/companies/batch/create", self.url("hubspot"));
        let token = self.said["hubspot"]["token"].as_str().expect("a token");
        ureq::post(&url)
            .header("authorization", &format!("Bearer {token}"))
            .send(json!({"inputs": properties}).to_string())
            .expect("it takes properties");
    }

    fn fill(&mut self, object: &str, row: fn(usize) -> Json, records: usize) {
        for from in (0..records).step_by(ROWS) {
            let rows: Vec<Json> = (from..records.min(from + ROWS)).map(row).collect();
            let url = format!("{}/_sandbox/rows/{object}", self.url("salesforce"));
            let mut answer = ureq::post(&url)
                .send(Json::Array(rows).to_string())
                .expect("it takes rows");
            let text = answer.body_mut().read_to_string().expect("text");
            let made: Json = serde_json::from_str(&text).expect("JSON");
            let ids = made["ids"].as_array().expect("ids").iter();
            self.ids
                .extend(ids.map(|id| id.as_str().expect("an id").to_owned()));
        }
    }

    fn url(&self, system: &str) -> &str {
        self.said[system]["url"].as_str().expect("a url")
    }

    /// Calls since they were last counted.
    fn calls(&self, system: &str) -> u64 {
        let get = |path: &str| {
            let mut answer = ureq::get(&format!("{}/_sandbox/{path}", self.url(system)))
                .call()
                .expect("counts");
            let text = answer.body_mut().read_to_string().expect("text");
            serde_json::from_str::<Json>(&text).expect("JSON")
        };
        let calls = get("calls");
        let reset = format!("{}/_sandbox/calls/reset", self.url(system));
        ureq::post(&reset).send("{}").expect("counted anew");
        calls["reads"].as_u64().unwrap_or(0) + calls["writes"].as_u64().unwrap_or(0)
    }

    fn change(&self, round: usize) {
        let step = self.ids.len() / CHANGES;
        for id in self.ids.iter().step_by(step).take(CHANGES) {
            let url = format!("{}/_sandbox/rows/Account/{id}", self.url("salesforce"));
            let change = json!({"Phone": format!("+4930{:07}", 9_000_000 + round)});
            ureq::patch(&url).send(change.to_string()).expect("changed");
        }
    }

    fn run(&self, more: &[&str]) -> Ran {
        let secret = |pointer: &str| {
            self.said
                .pointer(pointer)
                .and_then(Json::as_str)
                .expect("a credential")
                .to_owned()
        };
        let (cpu, began) = (cpu_of("/proc/self/stat", 15), Instant::now());
        let child = Command::new(binary())
            .arg("--config")
            .arg(&self.config)
            .args(["sync", "run", "--json"])
            .args(more)
            .env("SF_ID", secret("/salesforce/client_id"))
            .env("SF_SECRET", secret("/salesforce/client_secret"))
            .env("HS_TOKEN", secret("/hubspot/token"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let pid = child.id();
        let watcher = std::thread::spawn(move || {
            let mut peak = 0.0;
            while let Some(now) = memory_mib(pid, "VmHWM:") {
                peak = now;
                std::thread::sleep(LOOK);
            }
            peak
        });
        let output = child.wait_with_output().expect("it ends");
        let seconds = began.elapsed().as_secs_f64();
        let json: Json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        Ran {
            seconds,
            cpu: cpu_of("/proc/self/stat", 15) - cpu,
            peak_mib: watcher.join().expect("it looked"),
            total: json["total"].clone(),
        }
    }
}

/// A row with every field that the mapping of accounts reads.
fn account(number: usize) -> Json {
    json!({
        "Name": format!("Account {number}"), "Website": format!("https://account-{number}.example"),
        "Partner_Type__c": "sales", "Phone": format!("+4930{:07}", 1_000_000 + number),
        "Description": format!("Sells number {number} in all of the north, and services it for years."),
        "Industry": "Consulting", "BillingStreet": format!("Hauptstraße {number}"), "BillingCity": "Berlin",
        "BillingState": "BE", "BillingPostalCode": format!("{:05}", 10_000 + number % 80_000), "BillingCountry": "Germany",
    })
}

/// A row with every field that the mapping of accounts reads, and the customer's own.
fn wide_account(number: usize) -> Json {
    let mut row = account(number);
    let own = json!({
        "Rating": "Warm", "NumberOfEmployees": number % 10_000, "AnnualRevenue": 1_000 * number, "Fax": format!("+4940{:07}", 1_000_000 + number),
        "AccountNumber": format!("A-{number}"), "Site": "Headquarters", "AccountSource": "Web", "Type": "Channel Partner / Reseller",
        "ShippingStreet": format!("Speicher {number}"), "ShippingCity": "Hamburg", "ShippingState": "HH",
        "ShippingPostalCode": format!("{:05}", 20_000 + number % 70_000), "ShippingCountry": "Germany", "Sic": "7372",
        "SicDesc": "Prepackaged software", "NaicsCode": "541512", "TickerSymbol": format!("T{number}"), "Ownership": "Private",
    });
    row.as_object_mut()
        .expect("an object")
        .extend(own.as_object().expect("an object").clone());
    row
}

/// The customer's own fields: the type and what else is said of it, and how each system has it.
const OWN: [(&str, &str, &str, &str); 18] = [
    (
        "heat",
        "choice, of: [hot, warm, cold]",
        "Rating, lens: [ enum: { hot: Hot, warm: Warm, cold: Cold } ]",
        "own_heat",
    ),
    (
        "people",
        "integer",
        "NumberOfEmployees",
        "numberofemployees, lens: [ integer: { wire: string } ]",
    ),
    (
        "revenue",
        "money",
        "AnnualRevenue, lens: [ money: { wire: number, scale: 0, currency: '{connection}' } ]",
        "annualrevenue, lens: [ money: { wire: string, currency: '{connection}' } ]",
    ),
    ("fax", "phone", "Fax", "own_fax"),
    ("number", "text", "AccountNumber", "own_number"),
    ("site", "text", "Site", "own_site"),
    ("source", "text", "AccountSource", "own_source"),
    ("sort", "text", "Type", "own_sort"),
    ("ship_street", "text", "ShippingStreet", "own_ship_street"),
    ("ship_city", "text", "ShippingCity", "own_ship_city"),
    ("ship_state", "text", "ShippingState", "own_ship_state"),
    ("ship_code", "text", "ShippingPostalCode", "own_ship_code"),
    (
        "ship_country",
        "country",
        "ShippingCountry, lens: [ country: { wire: name } ]",
        "own_ship_country",
    ),
    ("sic", "text", "Sic", "own_sic"),
    ("sic_means", "text", "SicDesc", "own_sic_means"),
    ("naics", "text", "NaicsCode", "own_naics"),
    ("ticker", "text", "TickerSymbol", "own_ticker"),
    ("ownership", "text", "Ownership", "own_ownership"),
];

/// Fills a ledger with linked records that no system of the stage has.
fn fill(path: &Path, records: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let settings = ledger::Settings {
            durable: Durability::Normal,
            ..ledger::Settings::default()
        };
        let store = ledger::open(&format!("sqlite:{}", path.display()), settings)
            .await
            .expect("it opens");
        for page in 0..records / PAGE {
            store.commit(a_page(page)).await.expect("written");
        }
    });
}

fn a_page(page: usize) -> SyncCommit {
    let at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(400_000);
    let mut commit = SyncCommit::default();
    for number in 0..PAGE {
        let mut random = [3; 10];
        random[2..].copy_from_slice(&((page * PAGE + number) as u64).to_be_bytes());
        let mut record = Record::empty(RecordId::new(Kind::Partner, uuid_from(at, random)), at);
        let fields: Fields = record
            .id
            .kind
            .fields()
            .filter(|field| matches!(field.field_type, model::FieldType::Text { .. }))
            .map(|field| {
                (
                    field.path,
                    Value::text(format!("{} of {}", field.path, record.id)),
                )
            })
            .collect();
        record.fields = fields.clone();
        record.version = 1;
        for (connection, object) in [("crm", "Account"), ("marketing", "companies")] {
            commit.links.push(Link {
                connection: connection.to_owned(),
                object: object.to_owned(),
                external_id: format!("filled-{page}-{number}"),
                record: record.id,
                base: Some(fields.clone()),
                wire: Some(json!({"Name": record.id.to_string()})),
                external_version: None,
                modified: None,
                seen_at: at,
                replaces: None,
                gone: false,
                ignored: false,
                made: false,
            });
        }
        commit.records.push(RecordWrite {
            record,
            read_version: 0,
            changes: Vec::new(),
            match_keys: Vec::new(),
        });
    }
    commit
}

/// The whole way of many records, and of few changes among them.
pub(crate) fn whole_way(folder: &Path, table: &mut String) {
    let stage = Stage::new(folder, "agree", BOTH, ("Account", wide_account, RECORDS));
    stage.widen();
    stage.calls("salesforce");
    stage.calls("hubspot");
    let mut measure = |what: &str, ran: &Ran, records: usize| {
        row(
            table,
            &format!("{what}: records a second, all included"),
            format!("{:.0}", records as f64 / ran.seconds),
        );
        row(
            table,
            &format!("{what}: records a CPU second of the hub"),
            format!("{:.0}", records as f64 / ran.cpu),
        );
        let calls = (stage.calls("salesforce"), stage.calls("hubspot"));
        row(
            table,
            &format!("{what}: calls at the source and at the target"),
            format!("{} and {}", calls.0, calls.1),
        );
    };
    let first = stage.run(&[]);
    assert_eq!(
        first.total["written"].as_u64(),
        Some(RECORDS as u64),
        "{}",
        first.total
    );
    measure("50,000 new of 30 fields, pulled to pushed", &first, RECORDS);
    stage.change(1);
    // The end of what was just written is still to be read back.
    let few = stage.run(&[]);
    measure("50 changes right after", &few, CHANGES);
    stage.change(2);
    measure("50 changes among 50,000", &stage.run(&[]), CHANGES);
    measure(
        "50,000 compared at both systems, nothing new",
        &stage.run(&["--full"]),
        2 * RECORDS,
    );
    let stage = Stage::new(folder, "shipped", BOTH, ("Account", account, SHIPPED));
    let ran = stage.run(&[]);
    assert_eq!(
        ran.total["written"].as_u64(),
        Some(SHIPPED as u64),
        "{}",
        ran.total
    );
    row(
        table,
        "10,000 new of the 12 fields that ship: records a CPU second of the hub",
        format!("{:.0}", SHIPPED as f64 / ran.cpu),
    );
}

/// Few changes, whatever the size of the ledger.
pub(crate) fn few_changes(folder: &Path, table: &mut String) {
    for records in LEDGERS {
        let stage = Stage::new(
            folder,
            &format!("ledger-{records}"),
            BOTH,
            ("Account", account, 1_000),
        );
        stage.run(&[]);
        fill(&stage.ledger, records);
        let mut rounds: Vec<(f64, f64)> = Vec::new();
        for round in 0..5 {
            stage.change(round);
            let ran = stage.run(&[]);
            rounds.push((ran.seconds, ran.cpu));
        }
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (seconds, cpu) = rounds[rounds.len() / 2];
        row(
            table,
            &format!("50 changes, {records} records in the ledger (median of 5)"),
            format!("{:.0} ms, {:.0} ms of CPU", seconds * 1_000.0, cpu * 1_000.0),
        );
    }
}

/// The memory of a hub while records pass.
pub(crate) fn memory(folder: &Path, table: &mut String) {
    for records in PASSING {
        // They are old, for else the last of a million would lie a quarter of an hour in the future.
        let mut stage = Stage::start(
            folder,
            &format!("passing-{records}"),
            SOURCE,
            &["--clock-behind-s", "7200"],
        );
        stage.fill("Account", account, records);
        let ran = stage.run(&[]);
        assert_eq!(
            ran.total["created"].as_u64(),
            Some(records as u64),
            "{}",
            ran.total
        );
        row(
            table,
            &format!("{records} records pulled: most memory at any time, MiB"),
            format!("{:.0}", ran.peak_mib),
        );
        row(
            table,
            &format!("{records} records pulled: records a CPU second of the hub"),
            format!("{:.0}", records as f64 / ran.cpu),
        );
    }
}
