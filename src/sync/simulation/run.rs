//! [`Run`]: one seed from beginning to end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use connector::{Connection, Connector, Hint, Secrets, Settings};
use ledger::{Ledger, Link, ParkedFilter, Records};
use mapping::Mapping;
use model::merge::{Policies, Policy};
use model::{ActionId, Confidence, Kind, MatchRule, RecordId};
use outbound::{Client, Error, Response};
use serde_json::json;
use tokio::task::JoinHandle;

use super::hands::{Acting, Deed};
use super::network::{Chance, End, Network};
use super::reviews::Question;
use super::system::{MAIL, Manners, OBJECTS, Passes, System, Writers, said};
use super::truth::{OWNED, Truth};
use crate::absorb::CLOCKS_APART_MS;
use crate::engine_tests::held::{Failing, Held};
use crate::unheard::UNHEARD_MS;
use crate::{Depth, Engine, Plan, Report, Rules, Sync, SyncError, WhichParked};

/// Processes of the hub.
pub(super) const NODES: usize = 2;
/// The systems.
pub(super) const NAMES: [&str; 3] = ["a", "b", "c"];
/// Times that people work and everything comes to rest again.
const EPISODES: usize = 3;
/// Partners that are there before the hub is, and how long before.
const BEFORE: usize = 6;
const BEFORE_MS: i64 = 120_000;
/// Steps of an episode.
const STEPS: usize = 220;
/// In which step of which episode mappings gain a line, or lose one, and one of the hub's processes begins anew with them.
const MOVES_AT: (usize, usize) = (1, 70);
/// Rounds without a write after which everything is at rest; together they are longer than the slowest pass.
const QUIET_ROUNDS: usize = 8;
/// How long the hub waits at most before it tries once more what failed.
const LONGEST_WAIT_MS: i64 = 600_000;
/// Rounds within which everything must come to rest.
const ROUNDS_MAX: usize = 200;
/// How long a round takes at least.
const ROUND_MS: i64 = 20_000;
/// Times that nothing may happen until nothing will: each lets every task that can run run once.
const IDLE_YIELDS: usize = 12;
/// Decisions after which nothing may be left to a person.
const DECISIONS_MAX: usize = 60;
/// How far the clock of a hub's machine is from those of others at most, and how far all of them are wrong together.
const APART_MS: i64 = CLOCKS_APART_MS / 2;
const WRONG_MS: i64 = 120_000;
/// Lines of a story that are told; all when a single seed is run.
const STORY_MAX: usize = 200;

/// What is wrong with the hub, so that the judgement must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    NoBase,
    OnePass,
    Careless,
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

/// A process of the hub, in one of its lives.
pub(super) struct Node {
    life: u64,
    /// How far the clock of its machine is ahead, in milliseconds; whichever life it lives.
    ahead_ms: Arc<AtomicI64>,
    /// Whether its mappings are the later ones.
    is_moved: bool,
    pub(super) engine: Arc<Engine>,
}

pub(crate) struct Run {
    pub(super) seed: u64,
    pub(super) chance: Chance,
    pub(super) network: Arc<Network>,
    pub(super) systems: Vec<System>,
    pub(super) ledger: Arc<Held>,
    flaw: Flaw,
    pub(super) nodes: Vec<Node>,
    lives: u64,
    /// Whether the mappings are the later ones, which whoever begins reads.
    is_moved: bool,
    /// By node, what it does, system and object.
    jobs: BTreeMap<(usize, &'static str, &'static str, &'static str), Job>,
    /// System, object, id, and what became of it.
    pub(super) hints: Vec<(&'static str, &'static str, String, &'static str)>,
    pub(super) truth: Truth,
    story: Vec<String>,
    pub(super) partners: usize,
    pub(super) deals: usize,
    pub(super) values: usize,
    /// How often people asked for something by hand, what is under way of it, and what was done and may be undone.
    pub(super) actions: usize,
    pub(super) acting: Option<Acting>,
    pub(super) done: Vec<(ActionId, Deed)>,
    /// Of which partners it is open whether they are one.
    pub(super) questions: Vec<Question>,
}

impl Run {
    pub(crate) async fn new(seed: u64, flaw: Flaw) -> Run {
        let mut chance = Chance::of(seed);
        let systems = NAMES.map(|name| System::new(name, manners(seed, name), &mut chance));
        let store = ledger::open("sqlite::memory:", ledger::Settings::default())
            .await
            .unwrap();
        let ledger = Arc::new(match flaw {
            Flaw::NoBase => Held::forgetful(store),
            Flaw::Careless => Held::careless(store),
            _ => Held::over(store),
        });
        let network = Arc::new(Network::default());
        let mut truth = Truth::new(spreads(seed), owner(seed));
        for name in NAMES {
            if let Some(field) = lacks(seed, name, false) {
                truth.unmap(name, field);
            }
        }
        let mut nodes = Vec::new();
        for life in 0..NODES as u64 {
            let ahead_ms = Arc::new(AtomicI64::new(chance.ms(2 * APART_MS) - APART_MS));
            nodes.push(Node {
                life,
                engine: engine(&network, &ledger, (flaw, seed), (life, false), &ahead_ms),
                ahead_ms,
                is_moved: false,
            });
        }
        Run {
            seed,
            chance,
            nodes,
            lives: NODES as u64,
            is_moved: false,
            network,
            systems: systems.into(),
            ledger,
            flaw,
            jobs: BTreeMap::new(),
            hints: Vec::new(),
            truth,
            story: Vec::new(),
            partners: 0,
            deals: 0,
            values: 0,
            actions: 0,
            acting: None,
            done: Vec::new(),
            questions: Vec::new(),
        }
    }

    /// Runs to the end; gives the story, as an error when something is wrong.
    pub(crate) async fn through(mut self) -> Result<String, String> {
        // What is there before the hub is, at one system or at several that know the same partner.
        for number in 0..BEFORE {
            self.make_partner(1 + number % NAMES.len());
            self.make_deal();
        }
        self.pass(BEFORE_MS);
        // Everything is read completely once before people go on.
        self.judge().await?;
        for episode in 0..EPISODES {
            self.clean_up().await;
            self.let_rules(true);
            for step in 0..STEPS {
                if (episode, step) == MOVES_AT {
                    self.move_lines().await;
                }
                self.step().await;
            }
            // Whoever has not died since begins anew as well.
            for number in 0..NODES {
                if self.nodes[number].is_moved != self.is_moved {
                    self.begin_anew(number).await;
                }
            }
            self.judge().await?;
        }
        Ok(self.told(&[]))
    }

    /// Lets everything come to rest, and looks whether it is as it should be.
    async fn judge(&mut self) -> Result<(), String> {
        self.rest().await.map_err(|wrong| self.told(&[wrong]))?;
        let mut wrong = self.undecided().await;
        for _ in 0..DECISIONS_MAX {
            if self.conflicts().await.is_empty() {
                break;
            }
            self.decide().await;
            self.rest().await.map_err(|wrong| self.told(&[wrong]))?;
        }
        for _ in 0..DECISIONS_MAX {
            if self.questions.is_empty() {
                break;
            }
            self.review().await;
            self.rest().await.map_err(|wrong| self.told(&[wrong]))?;
        }
        let open = std::mem::take(&mut self.questions);
        wrong.extend(
            open.iter()
                .map(|question| format!("nobody is asked about {question:?}")),
        );
        let waiting = self.duplicates().await;
        wrong.extend(self.truth.judge(&self.systems, &waiting));
        wrong.extend(self.again().await);
        if wrong.is_empty() {
            return Ok(());
        }
        let parked = self.ledger.parked(&ParkedFilter::default(), 1_000).await.unwrap();
        wrong.extend(parked.iter().map(|parked| {
            let way = if parked.inbound {
                "on its way in"
            } else {
                "on its way out"
            };
            format!(
                "(parked {way} at {} {}: {}, {})",
                parked.connection, parked.object, parked.key, parked.reason
            )
        }));
        wrong.extend(self.histories(&wrong).await);
        Err(self.told(&wrong))
    }

    /// What became of the partners and deals that something is wrong with.
    async fn histories(&self, wrong: &[String]) -> Vec<String> {
        let mut told = Vec::new();
        for (kind, named_by) in [(Kind::Partner, "domain"), (Kind::Deal, "description")] {
            for record in self.ledger.list_records(kind, None, 1_000).await.unwrap() {
                let name = record.fields.text(named_by).unwrap_or_default();
                let is_it = |wrong: &String| {
                    wrong
                        .strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with([' ', ',']))
                };
                if name.is_empty() || !wrong.iter().any(is_it) {
                    continue;
                }
                let history = self.ledger.history(record.id).await.unwrap();
                told.extend(history.iter().map(|change| {
                    format!(
                        "({name}, version {}: {} is {} by {} {}, {}, changed {}, committed {})",
                        change.version,
                        change.path,
                        change.after,
                        change.connection,
                        change.external_id,
                        change.reason,
                        change.changed_at,
                        change.committed_at
                    )
                }));
            }
        }
        told
    }

    fn told(&self, wrong: &[String]) -> String {
        let all = wrong.is_empty() || super::number("SEED").is_some();
        let most = if all { usize::MAX } else { STORY_MAX };
        let from = self.story.len().saturating_sub(most);
        let story = self.story[from..].join("\n  ");
        let wrong: Vec<String> = wrong.iter().map(|one| format!("\nwrong: {one}")).collect();
        format!("seed {}:\n  {story}{}", self.seed, wrong.concat())
    }

    pub(super) fn tell(&mut self, text: &str) {
        let now = self.network.now_ms();
        self.story
            .push(format!("{:>4}.{:03} s  {text}", now / 1_000, now % 1_000));
    }

    async fn step(&mut self) {
        match self.chance.below(100) {
            0..40 => {
                // Several answers may be worked on at once.
                for _ in 0..=self.chance.below(3) {
                    self.answer_one(true);
                }
                self.settle().await;
            }
            40..62 => self.start_job().await,
            62..71 => self.edit(),
            71..74 => self.edit_deal(),
            74 => self.edit_lines(),
            75 if is_asking(self.seed) => self.make_namesakes(),
            75..77 => self.make_partner(1),
            77 => self.make_deal(),
            79 if is_asking(self.seed) => self.review().await,
            78..80 => self.make_twin(),
            80 => self.delete(),
            83 if by_hand(self.seed) => self.decide().await,
            82 if is_strict(self.seed) => self.change_rules().await,
            81 if is_by_hands(self.seed) => self.act().await,
            81..84 => self.hint(),
            84 => self.step_clocks(),
            85..96 => {
                let ms = self.chance.ms(15_000);
                self.pass(ms);
                self.settle().await;
            }
            96..98 => self.kill().await,
            98 => {
                let how = match self.chance.percent(50) {
                    true => Failing::Unwritten,
                    false => Failing::Unheard,
                };
                self.ledger.fail(Some(how));
                self.tell(&format!("the ledger's next commit is {how:?}"));
            }
            _ => {
                let at = self.chance.below(NAMES.len());
                self.systems[at].expire_tokens();
                self.tell(&format!("{}'s tokens run out", NAMES[at]));
            }
        }
    }

    /// Lets time pass, in which systems do what they were asked for.
    fn pass(&mut self, ms: i64) {
        self.network.pass(ms);
        let now = self.network.now_ms();
        for at in 0..NAMES.len() {
            for told in self.systems[at].work(now, &mut self.chance) {
                self.tell(&told);
            }
            for (id, field) in std::mem::take(&mut self.systems[at].overwritten) {
                self.overwritten(at, &id, &field);
            }
        }
    }

    fn let_rules(&mut self, hold: bool) {
        for system in &mut self.systems {
            system.rules_hold = hold;
        }
    }

    /// The rules of systems hold no more, and what they refused is tried again; or they hold again.
    async fn change_rules(&mut self) {
        let hold = self.systems.iter().any(|system| system.rules_hold);
        self.let_rules(!hold);
        self.tell(&format!("rules hold: {}", !hold));
        if hold {
            self.retry().await;
        }
    }

    /// A person tries again what is parked.
    async fn retry(&mut self) {
        let engine = &self.nodes[0].engine;
        match engine.retry_parked(&WhichParked::default(), false).await {
            Ok(retried) => self.tell(&format!("{} parked are tried again", retried.count)),
            Err(error) => self.tell(&format!("nothing parked is tried again: {error}")),
        }
    }

    /// The clocks of the hub's machines are put forward or back: by a little, each for itself, or all of them by more.
    fn step_clocks(&mut self) {
        let wrong = match self.chance.percent(50) {
            true => self.chance.ms(2 * WRONG_MS) - WRONG_MS,
            false => 0,
        };
        for number in 0..NODES {
            let ahead = wrong + self.chance.ms(2 * APART_MS) - APART_MS;
            self.nodes[number].ahead_ms.store(ahead, Ordering::Relaxed);
            self.tell(&format!("the clock of node {number} is {ahead} ms ahead now"));
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
                    self.tell(&format!("{} {} {} by {}: {counts}", key.1, key.2, key.3, key.0));
                }
                Ok(Err(error)) => {
                    self.tell(&format!("{} {} {} by {}: {error}", key.1, key.2, key.3, key.0));
                }
                Err(dead) if dead.is_cancelled() => {}
                Err(dead) => std::panic::resume_unwind(dead.into_panic()),
            }
        }
        self.conclude_acting().await;
    }

    async fn start_job(&mut self) {
        let at = NAMES[self.chance.below(NAMES.len())];
        let object = OBJECTS[self.chance.below(OBJECTS.len())];
        match self.chance.below(5) {
            0 | 1 => self.start("push", (at, object), Depth::Changed),
            2 => self.start("pull", (at, object), Depth::Named),
            _ => self.start("pull", (at, object), Depth::Changed),
        }
        self.settle().await;
    }

    fn start(&mut self, what: &'static str, (at, object): (&'static str, &'static str), depth: Depth) {
        let node = self.chance.below(NODES);
        if self.jobs.contains_key(&(node, what, at, object)) {
            return;
        }
        let engine = Arc::clone(&self.nodes[node].engine);
        let job = tokio::spawn(async move {
            match what {
                "push" => engine.push(at, object).await,
                _ => engine.pull(at, object, depth).await,
            }
        });
        self.jobs.insert((node, what, at, object), job);
    }

    /// Decides what becomes of one request that waits; whoever sent it goes on when everybody may.
    fn answer_one(&mut self, faulty: bool) {
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
        let alive = self.nodes.iter().any(|node| node.life == parked.life);
        // What the dead sent does not stay on its way for ever.
        let fate = match !alive && self.network.now_ms() - parked.sent_ms > UNHEARD_MS {
            true => Fate::Lost,
            false => fate,
        };
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
        let dead = if alive { "" } else { ", of a hub that is dead" };
        let wrote = self.systems[at].written - written;
        if wrote > 0 || !matches!(fate, Fate::Answered) {
            let path = parked.request.url.path().to_owned();
            let body = String::from_utf8_lossy(&parked.request.body).into_owned();
            self.tell(&format!("{name}{path} {fate:?}, {wrote} written{dead}: {body}"));
        }
        for (id, field) in std::mem::take(&mut self.systems[at].overwritten) {
            self.overwritten(at, &id, &field);
        }
        parked.answer(answer);
    }

    /// A hint arrives, late perhaps; some arrive twice.
    fn hint(&mut self) {
        if self.hints.is_empty() {
            return;
        }
        let number = self.chance.below(self.hints.len());
        let (at, object, id, op) = match self.chance.percent(30) {
            true => self.hints[number].clone(),
            false => self.hints.swap_remove(number),
        };
        self.tell(&format!("a hint: {op} of {id}"));
        let hint = Hint {
            object: object.to_owned(),
            id,
            op: op.to_owned(),
            tenant: None,
            origin: None,
            occurred: None,
            dedupe: None,
            merged_from: Vec::new(),
        };
        let node = self.chance.below(NODES);
        self.nodes[node].engine.hint(at, &hint, "");
    }

    /// Mappings gain a line or lose one, and one process begins anew with them; the other one goes on without.
    async fn move_lines(&mut self) {
        let moving = NAMES.map(|name| Some((name, moving(self.seed, name)?)));
        if moving == [None; NAMES.len()] {
            return;
        }
        for (name, (field, comes)) in moving.into_iter().flatten() {
            self.truth.remap(name, field);
            let what = if comes {
                "has a line"
            } else {
                "has no line any more"
            };
            self.tell(&format!("the mapping of partners at {name} {what} for {field}"));
        }
        self.is_moved = true;
        let number = self.chance.below(NODES);
        self.begin_anew(number).await;
    }

    /// A process of the hub dies and begins anew; what it had asked for may still be carried out.
    async fn kill(&mut self) {
        let number = self.chance.below(NODES);
        self.begin_anew(number).await;
    }

    async fn begin_anew(&mut self, number: usize) {
        let (its, others) = std::mem::take(&mut self.jobs)
            .into_iter()
            .partition(|((node, ..), _)| *node == number);
        self.jobs = others;
        let its: BTreeMap<_, Job> = its;
        for (_, job) in its {
            job.abort();
            let _ = job.await;
        }
        if let Some(acting) = self.acting.as_ref().filter(|acting| acting.node == number) {
            acting.job.abort();
        }
        // A commit that was on its way is written or not; either way the ledger is whole.
        self.settle().await;
        let life = self.lives;
        self.lives += 1;
        let ahead_ms = Arc::clone(&self.nodes[number].ahead_ms);
        self.nodes[number] = Node {
            life,
            engine: engine(
                &self.network,
                &self.ledger,
                (self.flaw, self.seed),
                (life, self.is_moved),
                &ahead_ms,
            ),
            ahead_ms,
            is_moved: self.is_moved,
        };
        // The leases of the dead run out.
        self.pass(61_000);
        self.tell(&format!(
            "node {number} is killed, and begins anew after a minute"
        ));
        self.settle().await;
    }

    /// Lets all work that there is be done; no fault from now on.
    async fn work(&mut self) -> Result<(), String> {
        for _ in 0..10_000 {
            self.settle().await;
            if !self.network.waiting().is_empty() {
                self.answer_one(false);
            } else if self.jobs.is_empty() && self.acting.is_none() {
                return Ok(());
            } else if let Some(ms) = self.network.until_awake() {
                self.pass(ms);
            } else {
                let stuck: Vec<_> = self.jobs.keys().collect();
                return Err(format!("nothing lets these go on: {stuck:?}"));
            }
        }
        Err("there is no end to the work".to_owned())
    }

    /// Works until nothing is written for longer than the slowest pass takes.
    async fn rest(&mut self) -> Result<(), String> {
        self.ledger.fail(None);
        for node in &self.nodes {
            node.ahead_ms.store(0, Ordering::Relaxed);
        }
        self.tell("nothing goes wrong any more");
        self.let_rules(false);
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            let written = self.written();
            // What failed over and over is due by then.
            if quiet == QUIET_ROUNDS / 2 {
                self.pass(LONGEST_WAIT_MS);
            }
            // What was refused before may be heard of only now.
            if is_strict(self.seed) && quiet == QUIET_ROUNDS / 2 {
                self.retry().await;
            }
            self.round(Depth::Changed).await?;
            self.pass(ROUND_MS);
            let works = self.systems.iter().any(System::is_at_work);
            quiet = if self.written() == written && !works {
                quiet + 1
            } else {
                0
            };
            if quiet == QUIET_ROUNDS {
                return Ok(());
            }
        }
        Err(format!("it does not come to rest within {ROUNDS_MAX} rounds"))
    }

    async fn round(&mut self, depth: Depth) -> Result<(), String> {
        for what in ["pull", "push"] {
            for (at, object) in NAMES
                .into_iter()
                .flat_map(|at| OBJECTS.map(|object| (at, object)))
            {
                self.start(what, (at, object), depth);
                self.work().await?;
            }
        }
        Ok(())
    }

    fn written(&self) -> u64 {
        self.systems.iter().map(|system| system.written).sum()
    }

    /// Reading everything once more changes nothing; and when it was read twice, there is nothing new to write down of it.
    async fn again(&mut self) -> Vec<String> {
        let written = self.written();
        let mut known = BTreeMap::new();
        for _ in 0..2 {
            known = self.known().await;
            if let Err(wrong) = self.round(Depth::All).await {
                return vec![wrong];
            }
        }
        let now = self.known().await;
        let anew = now
            .iter()
            .filter(|(object, link)| known.get(*object) != Some(*link));
        let anew = anew.map(|(object, _)| format!("{object} is written down anew although nothing changed"));
        let mut wrong: Vec<String> = anew.collect();
        let more = self.written() - written;
        if more > 0 {
            wrong.push(format!("{more} rows are written again although everybody agrees"));
        }
        wrong
    }

    /// What is known of every object, by its name; what is parked is looked at anew each time.
    async fn known(&self) -> BTreeMap<String, Link> {
        let parked = self.ledger.parked(&ParkedFilter::default(), 1_000).await.unwrap();
        let is_parked = |link: &Link| {
            let mut parked = parked.iter();
            parked.any(|one| one.inbound && one.connection == link.connection && one.key == link.external_id)
        };
        let mut known = BTreeMap::new();
        for kind in [Kind::Partner, Kind::Deal] {
            let records = self.ledger.list_records(kind, None, 1_000).await.unwrap();
            let ids: Vec<RecordId> = records.iter().map(|record| record.id).collect();
            let links = self.ledger.links(&ids).await.unwrap().into_iter();
            let links = links.filter(|link| !is_parked(link));
            known.extend(links.map(|link| (format!("{}/{}", link.object, link.external_id), link)));
        }
        known
    }
}

/// Whether a partner that is deleted at one system is to be deleted at all, in the run of a seed.
fn spreads(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// How a system treats who writes there, in the run of a seed.
fn manners(seed: u64, name: &'static str) -> Manners {
    let writers = match (seed % 5, seed % 7) {
        (0 | 1, _) if name == NAMES[0] => Writers::Unheeded,
        (_, 0 | 1) if name == NAMES[1] => Writers::Untold,
        _ => Writers::Heeded,
    };
    Manners {
        writers,
        silent: seed % 11 < 3 && name == NAMES[2],
        secretive: seed % 13 < 3 && name == NAMES[0],
        bulky: seed % 17 < 6 && name == NAMES[2],
        strict: is_strict(seed) && name != NAMES[0],
    }
}

/// Whether some systems have rules that refuse, in the run of a seed.
fn is_strict(seed: u64) -> bool {
    seed % 19 < 6
}

/// Whether people make partners one by hand and leave rows alone, in the run of a seed.
fn is_by_hands(seed: u64) -> bool {
    seed % 23 < 8
}

/// Whether there are partners that may be one, in the run of a seed.
fn is_asking(seed: u64) -> bool {
    seed % 31 < 10
}

/// Whether they also find that a row is none of the partner whose it was taken for.
pub(super) fn is_parting(seed: u64) -> bool {
    seed % 3 == 1
}

/// Whether they also make a row that is left alone its partner's again.
pub(super) fn is_joining(seed: u64) -> bool {
    seed % 3 == 2
}

/// Whether they also make one partner's row another one's.
pub(super) fn is_moving(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

/// The field of partners for which a system's mapping has no line at first, or none after a while, in the run of a seed; and
/// whether it is there in the end.
fn moving(seed: u64, name: &str) -> Option<(&'static str, bool)> {
    let field = ["note", OWNED, MAIL][(seed % 3) as usize];
    match seed % 29 {
        0..4 if name == NAMES[2] => Some((field, true)),
        4..7 if name == NAMES[0] => Some((field, true)),
        7..9 => Some((field, true)),
        9..11 if name == NAMES[2] => Some((field, false)),
        11..13 if name == NAMES[0] => Some((field, false)),
        _ => None,
    }
}

/// The field for which a system's mapping has no line.
fn lacks(seed: u64, name: &str, is_moved: bool) -> Option<&'static str> {
    moving(seed, name)
        .filter(|(_, comes)| *comes != is_moved)
        .map(|(field, _)| field)
}

/// Which connection has the last word about a partner's industry, in the run of a seed.
pub(super) fn owner(seed: u64) -> Option<&'static str> {
    (seed % 4 == 1).then_some(NAMES[1])
}

/// Whether people decide about notes that two sides changed, in the run of a seed.
pub(super) fn by_hand(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

fn engine(
    network: &Arc<Network>,
    ledger: &Arc<Held>,
    (flaw, seed): (Flaw, u64),
    (life, is_moved): (u64, bool),
    ahead_ms: &Arc<AtomicI64>,
) -> Arc<Engine> {
    let passes = match flaw {
        Flaw::OnePass => Passes::OnlyFast,
        _ => Passes::Both,
    };
    let end = Arc::new(End {
        life,
        network: Arc::clone(network),
        ahead_ms: Arc::clone(ahead_ms),
    });
    let mut report = diagnostic::Report::new();
    let connectors = NAMES.map(|name| {
        let text = System::manifest(passes, manners(seed, name));
        let manifest = diagnostic::Source::new("connector.yaml", text);
        Connector::compile(&manifest, &mut report).map(Arc::new)
    });
    let mappings = NAMES.map(|name| {
        System::mappings(lacks(seed, name, is_moved)).map(|text| {
            let source = diagnostic::Source::new("mapping.yaml", text);
            Mapping::compile(&source, &mut report).map(Arc::new)
        })
    });
    assert!(report.is_empty(), "{}", report.render(false));
    let mut plan = Plan {
        syncs: Vec::new(),
        rules: Rules::default(),
    };
    if by_hand(seed) {
        for (kind, note) in [(Kind::Partner, "description"), (Kind::Deal, "next_steps")] {
            let policies = Policies([(note, Policy::Manual)].into());
            plan.rules.policies.insert(kind, policies);
        }
    }
    if is_asking(seed) {
        let rule = |field, confidence| MatchRule {
            fields: vec![field],
            confidence,
        };
        let rules = [
            rule("domain", Confidence::Certain),
            rule("legal_name", Confidence::Probable),
        ];
        plan.rules.matching.insert(Kind::Partner, rules.into());
    }
    if let Some(owner) = owner(seed) {
        let policies = plan.rules.policies.entry(Kind::Partner).or_default();
        let owner = Policy::Owner {
            connection: owner.to_owned(),
            unless_blank: false,
        };
        policies.0.insert(OWNED, owner);
    }
    let mut connections = BTreeMap::new();
    for ((name, connector), mappings) in NAMES.into_iter().zip(connectors).zip(mappings) {
        plan.syncs.extend(mappings.iter().flatten().map(|mapping| Sync {
            connection: name.to_owned(),
            mapping: Arc::clone(mapping),
            currency: None,
            country: None,
            pull: true,
            push: true,
            create: true,
            deletes: crate::Deletes {
                propagate: spreads(seed),
                follow: spreads(seed),
            },
            stop: crate::StopLimits::default(),
        }));
        let config = json!({"host": name}).as_object().unwrap().clone();
        let secrets: Secrets = [("client_id", "hub"), ("client_secret", "simulated")]
            .into_iter()
            .collect();
        let connection = Connection::open(
            connector.unwrap(),
            Settings::new(name, config, secrets),
            Client::within(Arc::clone(&end) as Arc<dyn outbound::Exchange>),
            Arc::clone(&end) as Arc<dyn connector::Clock>,
        );
        connections.insert(name.to_owned(), Arc::new(connection.unwrap()));
    }
    let fan_out = Arc::new(|_: &crate::Announced<'_>| crate::Addressed::default());
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
