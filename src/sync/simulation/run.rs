//! [`Run`]: one seed from beginning to end.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector::{Connection, Connector, Hint, Secrets, Settings};
use ledger::Ledger;
use mapping::Mapping;
use outbound::{Client, Error, Response};
use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;

use super::network::{Chance, End, Network};
use super::system::{EDITED, Passes, System, said};
use super::truth::Truth;
use crate::engine_tests::held::Held;
use crate::{Depth, Engine, Plan, Report, Rules, Sync, SyncError};

/// The systems.
const NAMES: [&str; 3] = ["a", "b", "c"];
/// Times that people work and everything comes to rest again.
const EPISODES: usize = 3;
/// Partners that are there before the hub is, and how long before.
const BEFORE: usize = 6;
const BEFORE_MS: i64 = 120_000;
/// Steps of an episode.
const STEPS: usize = 220;
/// Rounds without a write after which everything is at rest; together they are longer than the slowest pass.
const QUIET_ROUNDS: usize = 8;
/// Rounds within which everything must come to rest.
const ROUNDS_MAX: usize = 200;
/// How long a round takes at least.
const ROUND_MS: i64 = 20_000;
/// Times that nothing may happen until nothing will: each lets every task that can run run once.
const IDLE_YIELDS: usize = 12;
/// Lines of a story that are told.
const STORY_MAX: usize = 200;

/// What is wrong with the hub, so that the judgement must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    NoBase,
    OnePass,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    /// Refused before it took effect.
    Refused(u16),
    /// It took effect, and the answer says it did not.
    Denied,
    /// It never arrived.
    Lost,
    /// It took effect, and nobody heard.
    Unheard,
}

type Job = JoinHandle<Result<Report, SyncError>>;

pub(crate) struct Run {
    seed: u64,
    chance: Chance,
    network: Arc<Network>,
    systems: Vec<System>,
    ledger: Arc<Held>,
    flaw: Flaw,
    engine: Arc<Engine>,
    life: u64,
    jobs: BTreeMap<(&'static str, &'static str), Job>,
    hints: Vec<(&'static str, String, &'static str)>,
    truth: Truth,
    story: Vec<String>,
    partners: usize,
    values: usize,
}

impl Run {
    pub(crate) async fn new(seed: u64, flaw: Flaw) -> Run {
        let mut chance = Chance::of(seed);
        let systems = NAMES.map(|name| System::new(name, &mut chance)).into();
        let store = ledger::open("sqlite::memory:", ledger::Settings::default())
            .await
            .unwrap();
        let ledger = Arc::new(match flaw {
            Flaw::NoBase => Held::forgetful(store),
            _ => Held::over(store),
        });
        let network = Arc::new(Network::default());
        let engine = engine(&network, &ledger, flaw, 0);
        Run {
            seed,
            chance,
            network,
            systems,
            ledger,
            flaw,
            engine,
            life: 0,
            jobs: BTreeMap::new(),
            hints: Vec::new(),
            truth: Truth::default(),
            story: Vec::new(),
            partners: 0,
            values: 0,
        }
    }

    /// Runs to the end; the story when something is wrong.
    pub(crate) async fn through(mut self) -> Result<(), String> {
        // What is there before the hub is, at one system or at several that know the same partner.
        for number in 0..BEFORE {
            self.make_partner(1 + number % NAMES.len());
        }
        self.network.pass(BEFORE_MS);
        // Everything is read completely once before people go on.
        self.judge().await?;
        for _ in 0..EPISODES {
            for _ in 0..STEPS {
                self.step().await;
            }
            self.judge().await?;
        }
        Ok(())
    }

    /// Lets everything come to rest, and looks whether it is as it should be.
    async fn judge(&mut self) -> Result<(), String> {
        self.rest().await.map_err(|wrong| self.told(&[wrong]))?;
        let mut wrong = self.truth.judge(&self.systems);
        wrong.extend(self.again().await);
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(self.told(&wrong)),
        }
    }

    fn told(&self, wrong: &[String]) -> String {
        let from = self.story.len().saturating_sub(STORY_MAX);
        let story = self.story[from..].join("\n  ");
        format!("seed {}:\n  {story}\nwrong:\n  {}", self.seed, wrong.join("\n  "))
    }

    fn tell(&mut self, text: &str) {
        let now = self.network.now_ms();
        self.story
            .push(format!("{:>4}.{:03} s  {text}", now / 1_000, now % 1_000));
    }

    async fn step(&mut self) {
        match self.chance.below(100) {
            0..40 => self.answer_one(true).await,
            40..62 => self.start_job().await,
            62..76 => self.edit(),
            76..80 => self.make_partner(1),
            80 => self.delete(),
            81..84 => self.hint(),
            84..96 => {
                let ms = self.chance.ms(15_000);
                self.network.pass(ms);
                self.settle().await;
            }
            96..98 => self.kill().await,
            _ => {
                let at = self.chance.below(NAMES.len());
                self.systems[at].expire_tokens();
                self.tell(&format!("{}'s tokens run out", NAMES[at]));
            }
        }
    }

    /// Lets everybody run until nobody can.
    async fn settle(&mut self) {
        let mut idle = 0;
        while idle < IDLE_YIELDS {
            tokio::task::yield_now().await;
            idle = if self.ledger.is_busy() { 0 } else { idle + 1 };
        }
        let ended: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.is_finished())
            .map(|(key, _)| *key)
            .collect();
        for key in ended {
            let job = self.jobs.remove(&key).unwrap();
            match job.await {
                Ok(Ok(report)) => {
                    let counts = report.counts.to_json();
                    if report.counts == crate::Counts::default() {
                        continue;
                    }
                    self.tell(&format!("{} {}: {counts}", key.0, key.1));
                }
                Ok(Err(error)) => self.tell(&format!("{} {}: {error}", key.0, key.1)),
                Err(dead) if dead.is_cancelled() => {}
                Err(dead) => std::panic::resume_unwind(dead.into_panic()),
            }
        }
    }

    async fn start_job(&mut self) {
        let at = NAMES[self.chance.below(NAMES.len())];
        match self.chance.below(5) {
            0 | 1 => self.start("push", at, Depth::Changed),
            2 => self.start("pull", at, Depth::Named),
            _ => self.start("pull", at, Depth::Changed),
        }
        self.settle().await;
    }

    fn start(&mut self, what: &'static str, at: &'static str, depth: Depth) {
        if self.jobs.contains_key(&(what, at)) {
            return;
        }
        let engine = Arc::clone(&self.engine);
        let job = tokio::spawn(async move {
            match what {
                "push" => engine.push(at, "things").await,
                _ => engine.pull(at, "things", depth).await,
            }
        });
        self.jobs.insert((what, at), job);
    }

    /// Decides what becomes of one request that waits.
    async fn answer_one(&mut self, faulty: bool) {
        let waiting = self.network.waiting();
        if waiting.is_empty() {
            return;
        }
        let number = match faulty {
            true => waiting[self.chance.below(waiting.len())],
            false => waiting[0],
        };
        let fate = match faulty && self.chance.percent(18) {
            false => Fate::Answered,
            true => match self.chance.below(5) {
                0 => Fate::Refused(429),
                1 => Fate::Refused(503),
                2 => Fate::Denied,
                3 => Fate::Lost,
                _ => Fate::Unheard,
            },
        };
        let parked = self.network.take(number).unwrap();
        let host = parked.request.url.host_str().unwrap_or_default().to_owned();
        let broken = || {
            Err(Error::Broken {
                host: host.clone(),
                reason: "the line went dead".to_owned(),
            })
        };
        let name = host.trim_end_matches(".example");
        let at = NAMES.iter().position(|known| *known == name).unwrap();
        let now = self.network.now_ms();
        let written = self.systems[at].written;
        let mut carried_out = || self.systems[at].answer(&parked.request, now, faulty, &mut self.chance);
        let answer: Result<Response, Error> = match fate {
            Fate::Answered => Ok(carried_out()),
            Fate::Refused(status) => Ok(said(status, &json!({"says": "not now"}))),
            Fate::Denied => {
                carried_out();
                Ok(said(503, &json!({"says": "not now"})))
            }
            Fate::Lost => broken(),
            Fate::Unheard => {
                carried_out();
                broken()
            }
        };
        let dead = if parked.life == self.life {
            ""
        } else {
            ", of a hub that is dead"
        };
        let wrote = self.systems[at].written - written;
        if wrote > 0 || !matches!(fate, Fate::Answered) {
            let path = parked.request.url.path().to_owned();
            let body = String::from_utf8_lossy(&parked.request.body).into_owned();
            self.tell(&format!("{name}{path} {fate:?}, {wrote} written{dead}: {body}"));
        }
        parked.answer(answer);
        self.settle().await;
    }

    /// People of so many systems learn of a new partner.
    fn make_partner(&mut self, many: usize) {
        self.partners += 1;
        let domain = format!("d{}.example", self.partners);
        let first = self.chance.below(NAMES.len());
        for offset in 0..many {
            let at = (first + offset) % NAMES.len();
            let name = self.value();
            let values = json!({"domain": domain, "name": name});
            self.truth.edited(NAMES[at], &domain, "name", name.clone());
            let now = self.network.now_ms();
            let id = self.systems[at].make(values, now, &mut self.chance);
            self.tell(&format!("{id} is made: {domain}, {name}"));
            self.hints.push((NAMES[at], id, "create"));
        }
    }

    fn value(&mut self) -> Json {
        self.values += 1;
        json!(format!("v{}", self.values))
    }

    /// A row that is there.
    fn some_row(&mut self) -> Option<(usize, String, String)> {
        let at = self.chance.below(NAMES.len());
        let living: Vec<(String, Vec<String>)> = self.systems[at].living().into_iter().collect();
        if living.is_empty() {
            return None;
        }
        let (domain, ids) = &living[self.chance.below(living.len())];
        Some((at, domain.clone(), ids[0].clone()))
    }

    fn edit(&mut self) {
        let Some((at, domain, id)) = self.some_row() else {
            return;
        };
        let field = EDITED[self.chance.below(EDITED.len())];
        // A name is never blank; others may become so.
        let value = match field != "name" && self.chance.percent(10) {
            true => Json::Null,
            false => self.value(),
        };
        self.truth.edited(NAMES[at], &domain, field, value.clone());
        let now = self.network.now_ms();
        self.systems[at].edit(&id, field, value.clone(), now, &mut self.chance);
        self.tell(&format!("{id} ({domain}) {field} is set to {value}"));
        self.hints.push((NAMES[at], id, "update"));
    }

    fn delete(&mut self) {
        let Some((at, domain, id)) = self.some_row() else {
            return;
        };
        // What the hub has not heard of yet, it may make again.
        if !self.truth.is_agreed(&domain) {
            return;
        }
        self.truth.deleted(NAMES[at], &domain);
        let now = self.network.now_ms();
        self.systems[at].delete(&id, now, &mut self.chance);
        self.tell(&format!("{id} ({domain}) is deleted"));
        self.hints.push((NAMES[at], id, "delete"));
    }

    /// A hint arrives, late perhaps; some arrive twice.
    fn hint(&mut self) {
        if self.hints.is_empty() {
            return;
        }
        let number = self.chance.below(self.hints.len());
        let (at, id, op) = match self.chance.percent(30) {
            true => self.hints[number].clone(),
            false => self.hints.swap_remove(number),
        };
        self.tell(&format!("a hint: {op} of {id}"));
        let hint = Hint {
            object: "things".to_owned(),
            id,
            op: op.to_owned(),
            tenant: None,
            origin: None,
            occurred: None,
            dedupe: None,
            merged_from: Vec::new(),
        };
        self.engine.hint(at, &hint);
    }

    /// The hub dies and begins anew; what it had asked for may still be carried out.
    async fn kill(&mut self) {
        for (_, job) in std::mem::take(&mut self.jobs) {
            job.abort();
            let _ = job.await;
        }
        // A commit that was on its way is written or not; either way the ledger is whole.
        self.settle().await;
        self.life += 1;
        self.engine = engine(&self.network, &self.ledger, self.flaw, self.life);
        // The leases of the dead run out.
        self.network.pass(61_000);
        self.tell("the hub is killed, and begins anew after a minute");
        self.settle().await;
    }

    /// Lets all work that there is be done; no fault from now on.
    async fn work(&mut self) -> Result<(), String> {
        for _ in 0..10_000 {
            self.settle().await;
            if !self.network.waiting().is_empty() {
                self.answer_one(false).await;
            } else if self.jobs.is_empty() {
                return Ok(());
            } else if let Some(ms) = self.network.until_awake() {
                self.network.pass(ms);
            } else {
                let stuck: Vec<_> = self.jobs.keys().collect();
                return Err(format!("nothing lets these go on: {stuck:?}"));
            }
        }
        Err("there is no end to the work".to_owned())
    }

    /// Works until nothing is written for longer than the slowest pass takes.
    async fn rest(&mut self) -> Result<(), String> {
        self.tell("nothing goes wrong any more");
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            let written = self.written();
            self.round(Depth::Changed).await?;
            self.network.pass(ROUND_MS);
            quiet = if self.written() == written { quiet + 1 } else { 0 };
            if quiet == QUIET_ROUNDS {
                return Ok(());
            }
        }
        Err(format!("it does not come to rest within {ROUNDS_MAX} rounds"))
    }

    async fn round(&mut self, depth: Depth) -> Result<(), String> {
        for at in NAMES {
            self.start("pull", at, depth);
            self.work().await?;
        }
        for at in NAMES {
            self.start("push", at, depth);
            self.work().await?;
        }
        Ok(())
    }

    fn written(&self) -> u64 {
        self.systems.iter().map(|system| system.written).sum()
    }

    /// Reading everything once more changes nothing.
    async fn again(&mut self) -> Vec<String> {
        let written = self.written();
        for _ in 0..2 {
            if let Err(wrong) = self.round(Depth::All).await {
                return vec![wrong];
            }
        }
        match self.written() - written {
            0 => Vec::new(),
            more => vec![format!("{more} rows are written again although everybody agrees")],
        }
    }
}

fn engine(network: &Arc<Network>, ledger: &Arc<Held>, flaw: Flaw, life: u64) -> Arc<Engine> {
    let passes = match flaw {
        Flaw::OnePass => Passes::OnlyFast,
        _ => Passes::Both,
    };
    let end = Arc::new(End {
        life,
        network: Arc::clone(network),
    });
    let mut report = diagnostic::Report::new();
    let manifest = diagnostic::Source::new("connector.yaml", System::manifest(passes));
    let connector = Connector::compile(&manifest, &mut report);
    let mapping = diagnostic::Source::new("partner.yaml", System::mapping());
    let mapping = Mapping::compile(&mapping, &mut report);
    assert!(report.is_empty(), "{}", report.render(false));
    let (connector, mapping) = (Arc::new(connector.unwrap()), Arc::new(mapping.unwrap()));
    let mut plan = Plan {
        syncs: Vec::new(),
        rules: Rules::default(),
    };
    let mut connections = BTreeMap::new();
    for name in NAMES {
        plan.syncs.push(Sync {
            connection: name.to_owned(),
            mapping: Arc::clone(&mapping),
            currency: None,
            country: None,
            pull: true,
            push: true,
            create: true,
        });
        let config = json!({"host": name}).as_object().unwrap().clone();
        let secrets: Secrets = [("client_id", "hub"), ("client_secret", "simulated")]
            .into_iter()
            .collect();
        let connection = Connection::open(
            Arc::clone(&connector),
            Settings::new(name, config, secrets),
            Client::within(Arc::clone(&end) as Arc<dyn outbound::Exchange>),
            Arc::clone(&end) as Arc<dyn connector::Clock>,
        );
        connections.insert(name.to_owned(), Arc::new(connection.unwrap()));
    }
    let fan_out = Arc::new(|_: &model::EventType| Vec::new());
    let ledger = Arc::clone(ledger) as Arc<dyn Ledger>;
    Arc::new(Engine::new(
        ledger,
        plan,
        connections,
        end,
        fan_out,
        format!("life {life}"),
    ))
}
