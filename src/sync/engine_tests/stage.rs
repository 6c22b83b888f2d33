//! [`Stage`]: a ledger in memory, and engines over it, each like a node of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use connector::{Clock, Connection, Connector, Secrets, Settings};
use jiff::{SignedDuration, Timestamp};
use ledger::{Ledger, Sent, SyncCommit};
use mapping::Mapping;
use model::merge::{Policies, Policy};
use model::{Kind, Record};
use serde_json::{Value as Json, json};

use super::shelf::{Key, Shelf};
use crate::{Deletes, Depth, Engine, Plan, Rules, StopLimits, Sync, World};

/// A system whose things are posted.
const POSTED: &str = r#"
apiVersion: interconnect/v1
kind: Connector
metadata: { name: shelf, version: 1.0.0, title: Posted things }
posted: true
objects:
  things:
    id: '.data.id // empty | "\($source)/\(.)"'
    record: .data.id
    modified: .timestamp
    deleted: .type == "partner.deleted"
    values: .data.thing
"#;

/// Deletions that count, there and elsewhere.
pub(crate) const COUNTS: Deletes = Deletes {
    propagate: true,
    follow: true,
};

/// What is announced: its type, and who posted what it tells of.
type Said = (String, Option<crate::PostedBy>);

/// A clock that moves when it is told to, and by a microsecond when it is looked at; and randomness that counts.
struct Counting {
    ms: AtomicI64,
    looks: AtomicI64,
    number: AtomicU64,
}

impl Counting {
    fn pass(&self, ms: i64) {
        self.ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn at(&self) -> Timestamp {
        let began: Timestamp = "2026-11-26T08:00:00Z".parse().unwrap();
        began + SignedDuration::from_millis(self.ms.load(Ordering::Relaxed))
    }

    async fn wait(&self, ms: u64) {
        self.pass(i64::try_from(ms).unwrap());
        tokio::task::yield_now().await;
    }
}

#[async_trait]
impl Clock for Counting {
    fn now(&self) -> Timestamp {
        self.at()
    }

    async fn sleep(&self, ms: u64) {
        self.wait(ms).await;
    }

    fn nonce(&self) -> String {
        self.number.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

#[async_trait]
impl World for Counting {
    async fn sleep(&self, ms: u64) {
        self.wait(ms).await;
    }

    fn now(&self) -> Timestamp {
        self.at() + SignedDuration::from_micros(self.looks.fetch_add(1, Ordering::Relaxed))
    }

    fn random(&self) -> [u8; 10] {
        let number = self.number.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&number);
        bytes
    }
}

/// Systems by the names of their connections, and the ledger between them.
pub(crate) struct Stage {
    pub(crate) ledger: Arc<dyn Ledger>,
    shelves: Vec<(&'static str, Shelf)>,
    policies: Policies,
    /// The stop limits of every sync.
    pub(crate) stop: StopLimits,
    /// What deletions mean, by connection; nothing at those that are not named.
    pub(crate) deletes: BTreeMap<&'static str, Deletes>,
    /// Whether things may be deals of others.
    pub(crate) deals: bool,
    /// A connection that is written and not read.
    pub(crate) unread: Option<&'static str>,
    /// Whether the mapping of deals has been corrected.
    pub(crate) corrected: bool,
    /// Whether the mapping of partners has got another line.
    pub(crate) longer: bool,
    /// Of the connections with the longer mapping, one that has it not yet.
    pub(crate) shorter_at: Option<&'static str>,
    /// Where a partner has a field that is only read.
    pub(crate) computes_at: Option<&'static str>,
    /// Connections whose things are posted.
    pub(crate) posted: Vec<&'static str>,
    /// What was announced.
    pub(crate) announced: Arc<Mutex<Vec<Said>>>,
    /// How partners meet, where it is not by the built-in rules.
    pub(crate) matching: BTreeMap<Kind, Vec<model::MatchRule>>,
    world: Arc<Counting>,
}

impl Stage {
    pub(crate) async fn new(shelves: &[(&'static str, &Shelf)]) -> Stage {
        let ledger = ledger::open("sqlite::memory:", ledger::Settings::default());
        Stage {
            ledger: ledger.await.unwrap(),
            shelves: shelves
                .iter()
                .map(|(name, shelf)| (*name, (*shelf).clone()))
                .collect(),
            policies: Policies::default(),
            stop: StopLimits::default(),
            deletes: BTreeMap::new(),
            deals: false,
            unread: None,
            corrected: false,
            longer: false,
            shorter_at: None,
            computes_at: None,
            posted: Vec::new(),
            announced: Arc::default(),
            matching: BTreeMap::new(),
            world: Arc::new(Counting {
                ms: AtomicI64::new(0),
                looks: AtomicI64::new(0),
                number: AtomicU64::new(0),
            }),
        }
    }

    /// Two systems, `here` and `there`, with one partner that both know, and its id at each.
    pub(crate) async fn knowing() -> (Stage, [Shelf; 2], [String; 2]) {
        Stage::knowing_as(|_| ()).await
    }

    /// …, with what is set of the stage before.
    pub(crate) async fn knowing_as(set: impl FnOnce(&mut Stage)) -> (Stage, [Shelf; 2], [String; 2]) {
        let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
        let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
        set(&mut stage);
        let engine = stage.node("first", Arc::clone(&stage.ledger));
        let id = here.put(json!({"name": "Northwind"}));
        for connection in ["here", "there"] {
            engine.pull(connection, "things", Depth::Changed).await.unwrap();
        }
        engine.push("there", "things").await.unwrap();
        let made = there.rows()[0]["id"].as_str().unwrap().to_owned();
        engine.pull("there", "things", Depth::Changed).await.unwrap();
        (stage, [here, there], [id, made])
    }

    /// Two systems, `here` and `there`, where deletions count, with partners and a deal of the first of them that were made
    /// here and are there, too: the node that wrote them, the ids of the partners, and that of the deal.
    pub(crate) async fn with_a_deal(
        partners: &[&str],
        mut deal: Json,
    ) -> (Stage, [Shelf; 2], Arc<Engine>, Vec<String>, String) {
        let (here, there) = (Shelf::start(Key::Read).await, Shelf::start(Key::Read).await);
        let mut stage = Stage::new(&[("here", &here), ("there", &there)]).await;
        stage.deals = true;
        stage.deletes = [("here", COUNTS), ("there", COUNTS)].into();
        let engine = stage.node("first", Arc::clone(&stage.ledger));
        let partners: Vec<String> = partners
            .iter()
            .map(|name| here.put(json!({"name": name})))
            .collect();
        deal["partner"] = json!(partners[0]);
        let deal = here.put(deal);
        for connection in ["there", "here"] {
            engine.pull(connection, "things", Depth::Changed).await.unwrap();
        }
        // The deal waits for its partner.
        for _ in 0..3 {
            engine.push("there", "things").await.unwrap();
            stage.pass_hours(1);
            engine.pull("there", "things", Depth::Changed).await.unwrap();
        }
        (stage, [here, there], engine, partners, deal)
    }

    /// From now on, engines follow a policy for a field of partners.
    pub(crate) fn rule(&mut self, path: &'static str, policy: Policy) {
        self.policies.0.insert(path, policy);
    }

    /// An engine over a ledger, which is the stage's own or one that passes its calls on to it.
    pub(crate) fn node(&self, name: &str, ledger: Arc<dyn Ledger>) -> Arc<Engine> {
        let mut plan = Plan {
            syncs: Vec::new(),
            rules: Rules {
                policies: [(Kind::Partner, self.policies.clone())].into(),
                matching: self.matching.clone(),
            },
        };
        let mut connections = BTreeMap::new();
        for (connection, shelf) in &self.shelves {
            let deals = match self.corrected {
                true => Shelf::corrected_mapping_of_deals(),
                false => Shelf::mapping_of_deals().to_owned(),
            };
            let deals = self.deals.then(|| compiled(&deals));
            let mut partners = match self.longer && self.shorter_at != Some(*connection) {
                true => Shelf::longer_mapping(),
                false => Shelf::mapping().to_owned(),
            };
            if self.computes_at == Some(*connection) {
                partners.push_str("  - { record: industry, object: computed, direction: in }\n");
            }
            plan.syncs.extend(
                deals
                    .into_iter()
                    .chain([compiled(&partners)])
                    .map(|mapping| Sync {
                        connection: (*connection).to_owned(),
                        mapping,
                        currency: None,
                        country: None,
                        pull: self.unread != Some(*connection),
                        push: true,
                        create: true,
                        deletes: self.deletes.get(connection).copied().unwrap_or_default(),
                        stop: self.stop,
                    }),
            );
            connections.insert(
                (*connection).to_owned(),
                Arc::new(self.connect(connection, shelf)),
            );
        }
        for connection in &self.posted {
            plan.syncs.push(Sync {
                connection: (*connection).to_owned(),
                mapping: compiled(Shelf::mapping()),
                currency: None,
                country: None,
                pull: true,
                push: false,
                create: false,
                deletes: self.deletes.get(connection).copied().unwrap_or_default(),
                stop: self.stop,
            });
            let open = self.open(connection, POSTED, "http://nobody.example");
            connections.insert((*connection).to_owned(), Arc::new(open));
        }
        let heard = Arc::clone(&self.announced);
        let fan_out = Arc::new(move |said: &crate::Announced<'_>| {
            let said = (said.event_type.name().to_owned(), said.posted.cloned());
            heard.lock().unwrap().push(said);
            crate::Addressed::default()
        });
        let world = Arc::clone(&self.world) as Arc<dyn World>;
        Arc::new(Engine::new(
            ledger,
            plan,
            connections,
            world,
            fan_out,
            name.to_owned(),
        ))
    }

    fn connect(&self, name: &str, shelf: &Shelf) -> Connection {
        self.open(name, &shelf.manifest(), &shelf.url)
    }

    fn open(&self, name: &str, manifest: &str, url: &str) -> Connection {
        let mut report = diagnostic::Report::new();
        let source = diagnostic::Source::new("connector.yaml", manifest);
        let connector = Connector::compile(&source, &mut report);
        assert!(report.is_empty(), "{}", report.render(false));
        let guard = outbound::Guard::allowing(["127.0.0.0/8".parse().unwrap()]);
        let client = outbound::Client::new(outbound::Limits::default(), guard).unwrap();
        let mut config = serde_json::Map::new();
        if connector.as_ref().is_some_and(|connector| !connector.is_posted()) {
            config.insert("base_url".to_owned(), json!(url));
        }
        let secrets: Secrets = [("token", "shelf-test")].into_iter().collect();
        let settings = Settings::new(name, config, secrets);
        Connection::open(
            Arc::new(connector.unwrap()),
            settings,
            client,
            Arc::clone(&self.world) as Arc<dyn Clock>,
        )
        .unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.world.at()
    }

    /// Lets hours pass.
    pub(crate) fn pass_hours(&self, hours: i64) {
        self.pass_ms(hours * 3_600_000);
    }

    /// Lets milliseconds pass; or puts the clock back.
    pub(crate) fn pass_ms(&self, ms: i64) {
        self.world.pass(ms);
    }

    /// Where the partner of a name is: connection, external id, and whether it is gone there.
    pub(crate) async fn links(&self, name: &str) -> Vec<(String, String, bool)> {
        let partners = self.partners().await;
        let named = |record: &&Record| record.fields.text("display_name") == Some(name);
        let record = partners.iter().find(named).unwrap();
        let links = self.ledger.links(&[record.id]).await.unwrap();
        let mut links: Vec<_> = links
            .into_iter()
            .map(|link| (link.connection, link.external_id, link.gone))
            .collect();
        links.sort();
        links
    }

    pub(crate) async fn partners(&self) -> Vec<Record> {
        self.ledger.list_records(Kind::Partner, None, 100).await.unwrap()
    }
}

/// What a node makes there, and dies before it hears of it.
pub(crate) async fn makes_unheard(node: Arc<Engine>, there: &Shelf) {
    let made = there.calls().iter().filter(|call| *call == "POST").count();
    there.hold_answers();
    let push = tokio::spawn(async move { node.push("there", "things").await });
    there.called("POST", made + 1).await;
    push.abort();
    assert!(push.await.unwrap_err().is_cancelled());
    there.answer();
}

/// What somebody had sent there for the one record that is owed there, and that nobody heard of, is written down.
pub(crate) async fn was_sent(stage: &Stage, at: &str, values: serde_json::Value, creates: bool) {
    let mut owed = stage
        .ledger
        .pushes("there", "things", Timestamp::MAX, 10)
        .await
        .unwrap();
    assert_eq!(owed.len(), 1, "{owed:?}");
    owed[0].sent.push(Sent {
        at: at.parse().unwrap(),
        values,
        creates,
    });
    let sending = SyncCommit {
        sending: owed,
        ..SyncCommit::default()
    };
    stage.ledger.commit(sending).await.unwrap();
}

fn compiled(mapping: &str) -> Arc<Mapping> {
    let mut report = diagnostic::Report::new();
    let mapping = Mapping::compile(&diagnostic::Source::new("mapping.yaml", mapping), &mut report);
    assert!(report.is_empty(), "{}", report.render(false));
    Arc::new(mapping.unwrap())
}
