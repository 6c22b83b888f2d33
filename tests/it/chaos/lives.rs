//! A hub that lives many short lives, while what it stands on fails.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::chaos::judge::{FOLDING, Known, Verdict, judge};
use crate::chaos::receiver::{Manner, Receiver};
use crate::chaos::sender::{Book, Senders};
use crate::clock::Clock;
use crate::harness::{Chance, Folder, Hub, Redis, Running, Starting, eventually, expect, get, service};
use crate::partners::acme_secret;

/// A life lasts up to three times as long; leases of the dead run out after a second, so most lives send something.
const THIRD_OF_LIFE_MS: usize = 900;
/// One life in so many ends while it begins.
const STILLBORN_EVERY: usize = 8;
/// How long a hub that is killed while it begins has lived at most.
const BIRTH_MS: usize = 250;
/// How far a clock is stepped forward at most, and back; the senders' clocks stay as they are, and what is signed is good
/// for five minutes.
const STEP_S: std::ops::RangeInclusive<i64> = -20..=60;
/// How far it may be off in all.
const OFF_S_MAX: i64 = 200;
/// When nothing has arrived for so long, nothing will.
const STALLED: Duration = Duration::from_secs(90);
/// Ignores the signal that comes with a write behind the limit, so that the write fails as on a full disk.
const DISK: [&str; 4] = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "hub"];

/// What a hub stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ground {
    pub(crate) postgres: bool,
    pub(crate) redis: bool,
}

impl Ground {
    pub(crate) fn name(self) -> &'static str {
        match (self.postgres, self.redis) {
            (false, false) => "SQLite",
            (false, true) => "SQLite, Redis",
            (true, false) => "PostgreSQL",
            (true, true) => "PostgreSQL, Redis",
        }
    }
}

/// What fails while the hub lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Nothing but the hub itself.
    None,
    /// Redis forgets everything.
    RedisFlushed,
    /// Redis dies, and comes back empty.
    RedisRestarted,
    /// Redis does not answer for a while.
    RedisStopped,
    /// PostgreSQL crashes, and recovers.
    PostgresCrashed,
    /// The ledger's files cannot grow for a while.
    DiskFull,
    /// The hub's wall clock is set to another time.
    ClockStepped,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::None => "nothing else",
            Fault::RedisFlushed => "Redis flushed",
            Fault::RedisRestarted => "Redis killed, back empty",
            Fault::RedisStopped => "Redis silent",
            Fault::PostgresCrashed => "PostgreSQL crashed",
            Fault::DiskFull => "disk full",
            Fault::ClockStepped => "clock stepped",
        }
    }

    /// What can fail on a ground.
    fn on(ground: Ground) -> Vec<Fault> {
        let mut faults = vec![Fault::None, Fault::None, Fault::ClockStepped];
        if ground.redis {
            faults.extend([Fault::RedisFlushed, Fault::RedisRestarted, Fault::RedisStopped]);
        }
        faults.push(if ground.postgres {
            Fault::PostgresCrashed
        } else {
            Fault::DiskFull
        });
        faults
    }
}

/// A PostgreSQL of the story's own, which may crash.
pub(crate) struct Postgres {
    pub(crate) url: String,
    running: Running,
}

impl Postgres {
    pub(crate) fn start() -> Postgres {
        let (running, said) = service("postgres.py", &["serve"]);
        let url = said["url"].as_str().expect("an address").to_owned();
        Postgres { url, running }
    }

    /// When it was started; nothing while it does not answer.
    fn started(&self) -> Option<String> {
        let ask = async {
            let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            client
                .query_one("SELECT pg_postmaster_start_time()::text", &[])
                .await
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        Some(runtime.block_on(ask).ok()?.get(0))
    }

    /// Crashes, and is back when this returns.
    pub(crate) fn crash(&self) {
        let before = self.started();
        self.running.signal("USR1");
        eventually("PostgreSQL back", || {
            let now = self.started();
            expect(now.is_some() && now != before, format!("{now:?}"))
        });
    }
}

/// Redis forgets everything.
pub(crate) fn flush(redis: &Redis) {
    let socket = redis.url.strip_prefix("unix://").expect("it listens on a socket");
    let mut peer = UnixStream::connect(socket).expect("Redis answers");
    peer.write_all(b"FLUSHALL\r\n").expect("Redis reads");
    let mut answer = [0; 5];
    peer.read_exact(&mut answer).expect("Redis answers");
    assert_eq!(&answer, b"+OK\r\n");
}

/// A hub's surroundings.
pub(crate) struct World {
    folder: Folder,
    ground: Ground,
    redis: Option<Redis>,
    postgres: Option<Postgres>,
    clock: Clock,
    /// How far it is ahead, in seconds.
    off_s: i64,
    config: PathBuf,
    secrets: Vec<(&'static str, String)>,
    pub(crate) known: Known,
    faults: std::collections::BTreeMap<Fault, usize>,
}

impl World {
    pub(crate) fn new(ground: Ground, seed: u64) -> World {
        let folder = Folder::new();
        let redis = ground.redis.then(|| Redis::start(&folder));
        let postgres = ground.postgres.then(Postgres::start);
        let ledger = match &postgres {
            Some(postgres) => postgres.url.clone(),
            None => format!("sqlite:{}", folder.path("hub.db").display()),
        };
        let queue = redis.as_ref().map_or("memory", |redis| &redis.url);
        let known = Known {
            steady: Receiver::start(&[Manner::Answers(200)], seed),
            ordered: Receiver::start(
                &[Manner::Answers(200), Manner::Answers(200), Manner::Answers(503)],
                seed,
            ),
            folding: Receiver::start(&[Manner::Answers(200), Manner::Answers(503)], seed),
            moody: Receiver::start(
                &[
                    Manner::Answers(200),
                    Manner::Answers(200),
                    Manner::Answers(200),
                    Manner::Answers(500),
                    Manner::Hangs,
                    Manner::Begins,
                    Manner::Drips,
                    Manner::Babbles,
                    Manner::BreaksOff,
                    Manner::Leaves,
                ],
                seed,
            ),
            outages: Vec::new(),
        };
        let often = "retry_ms: [50, 100, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, \
                     200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]";
        let endpoint = |name: &str, receiver: &Receiver, fold: bool, more: &str| {
            format!(
                "      - {{ name: {name}, url: \"{}\", secret: \"${{env:SECRET}}\", share: everything, {often}, \
                 events: [ {{ types: [custom.chaos], fold: {fold} }} ], \
                 breaker: {{ rest_ms: 200, failures_max: 20 }}, headers: {{ x-life: \"${{env:LIFE}}\" }}{more} }}\n",
                receiver.url
            )
        };
        let text = format!(
            "listen: 127.0.0.1:0
ledger: {ledger}
queue: {queue}
outbound: {{ allow: [127.0.0.0/8] }}
limits: {{ sweep_every_ms: 200, endpoint_lease_ms: 1000, object_lease_ms: 1000 }}
connections:
  portal: {{ system: portal }}
syncs:
  - {{ connection: portal, record: lead, events: [ {{ types: [custom.chaos], from: [acme] }} ] }}
partners:
  acme: {{ secrets: [\"${{env:SECRET}}\"] }}
  globex:
    endpoints:
{}{}{}{}",
            endpoint("steady", &known.steady, false, ""),
            endpoint("ordered", &known.ordered, false, ", order: record"),
            endpoint("folding", &known.folding, true, ", order: record"),
            endpoint("moody", &known.moody, false, ", timeout_ms: 1000"),
        );
        let config = folder.write("interconnect.yaml", &text);
        let clock = Clock::new(&folder);
        let mut secrets = vec![("SECRET", acme_secret())];
        secrets.extend(clock.environment());
        World {
            folder,
            ground,
            redis,
            postgres,
            clock,
            off_s: 0,
            config,
            secrets,
            known,
            faults: std::collections::BTreeMap::new(),
        }
    }

    /// Lives and dies so often, and then lives until everything has arrived; what came of it.
    pub(crate) fn run(mut self, kills: u64, seed: u64) -> Verdict {
        let mut chance = Chance(seed);
        let faults = Fault::on(self.ground);
        let senders = Senders::start();
        for life in 1..=kills {
            let starting = self.begin(life);
            if chance.below(STILLBORN_EVERY) == 0 {
                pause(&mut chance, BIRTH_MS);
                starting.0.kill();
                continue;
            }
            let hub = starting.listening();
            senders.hub_is_at(Some(&hub.url));
            let fault = faults[chance.below(faults.len())];
            pause(&mut chance, THIRD_OF_LIFE_MS);
            self.fail(fault, &hub, &mut chance);
            pause(&mut chance, THIRD_OF_LIFE_MS);
            *self.faults.entry(fault).or_default() += 1;
            hub.running.kill();
            senders.hub_is_at(None);
        }
        let hub = self.begin(kills + 1).listening();
        senders.hub_is_at(Some(&hub.url));
        for (_, receiver) in self.known.receivers() {
            receiver.is_well();
        }
        let book = senders.finish();
        self.until_all_is_there(&hub, &book);
        let mut verdict = judge(&self.known, &book, &hub.url);
        verdict.ground = self.ground.name();
        verdict.kills = kills;
        verdict.faults = std::mem::take(&mut self.faults);
        assert_eq!(hub.running.stop(), Some(0));
        verdict
    }

    /// Begins a life.
    fn begin(&self, life: u64) -> Starting {
        let mut environment = self.secrets.clone();
        environment.push(("LIFE", life.to_string()));
        Hub::begin(&DISK, &self.config, &environment)
    }

    fn fail(&mut self, fault: Fault, hub: &Hub, chance: &mut Chance) {
        match fault {
            Fault::None => {}
            Fault::RedisFlushed => flush(self.redis()),
            Fault::RedisRestarted => {
                let redis = self.redis.take().expect("it is there");
                redis.running.kill();
                pause(chance, THIRD_OF_LIFE_MS);
                std::fs::remove_file(self.folder.path("redis.sock")).expect("the dead leave their socket");
                self.redis = Some(Redis::start(&self.folder));
            }
            Fault::RedisStopped => {
                self.redis().running.signal("STOP");
                pause(chance, THIRD_OF_LIFE_MS);
                self.redis().running.signal("CONT");
            }
            Fault::PostgresCrashed => {
                let postgres = self.postgres.take().expect("it is there");
                let began = Instant::now();
                postgres.crash();
                self.known.outages.push((began, Instant::now()));
                self.postgres = Some(postgres);
            }
            Fault::DiskFull => {
                let began = Instant::now();
                let size = std::fs::metadata(self.folder.path("hub.db")).map_or(0, |file| file.len());
                let may_grow_to = |size: &str| {
                    let set = Command::new("prlimit")
                        .args([
                            "--pid",
                            &hub.running.pid().to_string(),
                            &format!("--fsize={size}:unlimited"),
                        ])
                        .status();
                    assert!(set.expect("prlimit runs").success());
                };
                may_grow_to(&size.to_string());
                pause(chance, THIRD_OF_LIFE_MS);
                may_grow_to("unlimited");
                self.known.outages.push((began, Instant::now()));
            }
            Fault::ClockStepped => {
                let span = usize::try_from(STEP_S.end() - STEP_S.start() + 1).expect("a small number");
                let drawn = i64::try_from(chance.below(span)).expect("a small number");
                let off_s = self.off_s + STEP_S.start() + drawn;
                self.off_s = off_s.clamp(-OFF_S_MAX, OFF_S_MAX);
                self.clock.set(self.off_s);
            }
        }
    }

    fn redis(&self) -> &Redis {
        self.redis.as_ref().expect("it is there")
    }

    /// Waits until everything that was accepted has arrived and nothing is owed, or nothing moves any more.
    fn until_all_is_there(&self, hub: &Hub, book: &Book) {
        let seen = || self.known.receivers().map(|(_, receiver)| receiver.counts());
        let (mut last, mut moved) = (seen(), Instant::now());
        // What was folded into a newer one arrives with it.
        let whole = self.known.receivers().map(|(name, _)| name != FOLDING);
        let all = |counts: &[(usize, usize); 4]| {
            let mut counts = counts.iter().zip(whole);
            counts.all(|((_, taken), whole)| !whole || *taken >= book.accepted.len())
        };
        let owed = |state: &str| {
            let page = get(&format!("{}/v1/deliveries?state={state}&limit=1", hub.url));
            !page["data"].as_array().expect("a list").is_empty()
        };
        while !all(&last) || owed("due") || owed("held") {
            thread::sleep(Duration::from_millis(200));
            let now = seen();
            if now != last {
                (last, moved) = (now, Instant::now());
            } else if moved.elapsed() > STALLED {
                return;
            }
        }
    }
}

fn pause(chance: &mut Chance, most_ms: usize) {
    thread::sleep(Duration::from_millis(chance.below(most_ms) as u64));
}
