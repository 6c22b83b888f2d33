//! How much the ledger takes in and writes, and what it costs. Prints a table, asserts nothing.
//!
//! `cargo run --release -p interconnect-ledger --example commits [postgres://…]`: SQLite in a temporary folder, or
//! the PostgreSQL database at the address, which is filled. CPU is this process's, without the server's.
#![expect(clippy::print_stdout, reason = "a table is what this program is for")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use ledger::{
    About, Attempt, Change, Durability, Ledger, Link, NewDelivery, NewEvent, Next, PushEnd, PushMark,
    PushOutcome, Pushed, RecordWrite, Settings, SyncCommit,
};
use model::{FieldType, Fields, Kind, MatchKey, Provenance, Record, RecordId, Value, uuid_from};

/// Writers that wait for their event to be on disk before they hand in the next.
const WRITERS: u64 = 64;
const EVENTS: u64 = 64_000;
const BODY_BYTES: usize = 880;
/// Deliveries that a worker reads and settles at once.
const BATCH: usize = 200;
const PAGE_RECORDS: u64 = 500;
const PAGES: u64 = 20;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1);
    println!("{:<34} {:>12} {:>14}", "", "a second", "CPU µs each");
    for durable in [Durability::Full, Durability::Normal] {
        let folder = tempfile::tempdir()?;
        let file = format!("sqlite:{}", folder.path().join("ledger.db").display());
        let settings = Settings {
            durable,
            ..Settings::default()
        };
        // A round apart from the one before, so that a database that is used twice sees nothing it knows.
        let round = if durable == Durability::Full { 1 } else { 2 };
        let ledger = ledger::open(address.as_deref().unwrap_or(&file), settings).await?;
        measure(&ledger, &format!("{durable:?}"), round).await?;
    }
    Ok(())
}

async fn measure(ledger: &Arc<dyn Ledger>, name: &str, round: u8) -> Result<(), Error> {
    let clock = Clock::start()?;
    accept_all(ledger, round).await?;
    clock.report(&format!("{name}: events accepted"), EVENTS)?;

    let clock = Clock::start()?;
    let settled = settle_all(ledger).await?;
    clock.report(&format!("{name}: deliveries read and settled"), settled)?;

    for (version, what) in [(1, "inserted"), (2, "updated")] {
        let pages: Vec<SyncCommit> = (0..PAGES).map(|page| a_page(round, page, version)).collect();
        let clock = Clock::start()?;
        for page in pages {
            ledger.commit(page).await?;
        }
        clock.report(&format!("{name}: records {what}"), PAGES * PAGE_RECORDS)?;
        // The pushes that are owed now end, as after a batch that was written: with a row of each, and without.
        let what = if version == 1 { "with a row" } else { "without" };
        let clock = Clock::start()?;
        let ended = end_pushes(ledger, round, version).await?;
        clock.report(&format!("{name}: pushes ended {what}"), ended)?;
    }
    Ok(())
}

async fn accept_all(ledger: &Arc<dyn Ledger>, round: u8) -> Result<(), Error> {
    let writers = (0..WRITERS).map(|writer| {
        let ledger = Arc::clone(ledger);
        tokio::spawn(async move {
            for n in 0..EVENTS / WRITERS {
                ledger.accept(vec![an_event(round, writer, n)]).await?;
            }
            Ok::<_, ledger::LedgerError>(())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    Ok(())
}

async fn settle_all(ledger: &Arc<dyn Ledger>) -> Result<u64, Error> {
    let mut settled = 0;
    loop {
        let due = ledger.due("bolt", now(), BATCH).await?;
        if due.is_empty() {
            return Ok(settled);
        }
        settled += due.len() as u64;
        let attempts = due.iter().map(|due| Attempt {
            delivery: due.delivery,
            number: 1,
            at: now(),
            duration_ms: 5,
            status: Some(200),
            error: String::new(),
            next: Next::Delivered,
            told: Some(About {
                record: due.event.to_string(),
                terms: "0123456789abcdef".to_owned(),
            }),
        });
        ledger.settle(None, attempts.collect()).await?;
    }
}

async fn end_pushes(ledger: &Arc<dyn Ledger>, round: u8, version: u64) -> Result<u64, Error> {
    let mut ended = 0;
    loop {
        let owed = ledger.pushes("hs", "deals", now(), BATCH).await?;
        if owed.is_empty() {
            return Ok(ended);
        }
        ended += owed.len() as u64;
        let records: Vec<RecordId> = owed.iter().map(|push| push.record).collect();
        let rows = records.iter().map(|record| Pushed {
            record: *record,
            version,
            connection: "hs".into(),
            object: "deals".into(),
            external_id: record.uuid.simple().to_string(),
            at: now(),
            run: uuid(round, 0, 0).into(),
            outcome: PushOutcome::Written,
            detail: String::new(),
        });
        let links = ledger.links(&records).await?.into_iter().map(|link| Link {
            connection: "hs".into(),
            object: "deals".into(),
            ..link
        });
        let commit = SyncCommit {
            links: links.collect(),
            pushed: if version == 1 { rows.collect() } else { Vec::new() },
            ended: owed.into_iter().map(|push| (push, PushEnd::Done)).collect(),
            ..SyncCommit::default()
        };
        ledger.commit(commit).await?;
    }
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000)
}

fn uuid(round: u8, a: u64, b: u64) -> uuid::Uuid {
    let mut random = [round; 10];
    random[1..5].copy_from_slice(&(a as u32).to_be_bytes());
    random[5..9].copy_from_slice(&(b as u32).to_be_bytes());
    uuid_from(now() + SignedDuration::from_millis(b.cast_signed()), random)
}

fn an_event(round: u8, writer: u64, n: u64) -> NewEvent {
    let id = uuid(round, writer, n);
    NewEvent {
        id: id.into(),
        event_type: "deal.won".into(),
        source: "acme".into(),
        dedupe: format!("msg_{}", id.simple()),
        body: vec![b'x'; BODY_BYTES].into(),
        received_at: now(),
        trace: id.simple().to_string(),
        hops: String::new(),
        arrival: String::new(),
        deliveries: vec![NewDelivery {
            id: id.into(),
            endpoint: "bolt".into(),
            line: None,
        }],
    }
}

/// A page as a pull brings it: each record with its link, its history and a push that is owed.
fn a_page(round: u8, page: u64, version: u64) -> SyncCommit {
    let records: Vec<RecordWrite> = (0..PAGE_RECORDS)
        .map(|n| a_record(RecordId::new(Kind::Deal, uuid(round, page, n)), version))
        .collect();
    let links = records.iter().map(|write| Link {
        connection: "sf".into(),
        object: "Opportunity".into(),
        external_id: write.record.id.uuid.simple().to_string(),
        record: write.record.id,
        base: Some(write.record.fields.clone()),
        wire: Some(model::stored::to_json(&Value::text(
            "what the system holds, in its own terms",
        ))),
        external_version: Some(version.to_string()),
        modified: None,
        seen_at: now(),
        replaces: None,
        gone: false,
        ignored: false,
        made: false,
    });
    let marks = records.iter().map(|write| PushMark {
        connection: "hs".into(),
        object: "deals".into(),
        record: write.record.id,
        due_at: now(),
    });
    SyncCommit {
        links: links.collect(),
        marks: marks.collect(),
        records,
        ..SyncCommit::default()
    }
}

fn a_record(id: RecordId, version: u64) -> RecordWrite {
    let text = |field: &&model::Field| matches!(field.field_type, FieldType::Text { .. });
    let fields: Fields = id
        .kind
        .fields()
        .filter(text)
        .map(|field| (field.path, Value::text(format!("{} of {id}", field.path))))
        .collect();
    let said = std::sync::Arc::new(Provenance {
        connection: "sf".into(),
        external_id: id.uuid.simple().to_string(),
        changed_at: now(),
        observed_at: now(),
    });
    let changed = fields.iter().take(if version == 1 { usize::MAX } else { 3 });
    let changes = changed.map(|(path, value)| Change {
        version,
        path: path.into(),
        before: serde_json::Value::Null,
        after: model::stored::to_json(value),
        reason: "theirs".into(),
        connection: said.connection.clone(),
        external_id: said.external_id.clone(),
        changed_at: now(),
        committed_at: now(),
        run: uuid(0, 0, 0).into(),
        trace: uuid(0, 0, 0).simple().to_string(),
    });
    RecordWrite {
        read_version: version - 1,
        changes: changes.collect(),
        match_keys: vec![
            MatchKey(format!("name={id}")),
            MatchKey(format!("name+domain={id}")),
        ],
        record: Record {
            id,
            version,
            created_at: now(),
            updated_at: now(),
            deleted_at: None,
            merged_into: None,
            provenance: fields.iter().map(|(path, _)| (path, said.clone())).collect(),
            fields,
        },
    }
}

/// Time and this process's CPU since a start.
struct Clock {
    started: Instant,
    cpu: Duration,
}

impl Clock {
    fn start() -> Result<Clock, Error> {
        Ok(Clock {
            started: Instant::now(),
            cpu: cpu()?,
        })
    }

    fn report(&self, what: &str, count: u64) -> Result<(), Error> {
        let cpu = cpu()? - self.cpu;
        let rate = count as f64 / self.started.elapsed().as_secs_f64();
        let each = cpu.as_secs_f64() * 1e6 / count as f64;
        println!("{what:<34} {rate:>12.0} {each:>14.1}");
        Ok(())
    }
}

/// User and system time of this process: fields 14 and 15 of `/proc/self/stat`, in hundredths of a second.
fn cpu() -> Result<Duration, Error> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("the process's state has no name")?;
    let mut ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let user = ticks.next().ok_or("no user time")??;
    let system = ticks.next().ok_or("no system time")??;
    Ok(Duration::from_millis((user + system) * 10))
}
