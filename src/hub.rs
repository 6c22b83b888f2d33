//! [`Hub`]: the parts put together, and what the command line opens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector::{Connection, Secret, Secrets};
use diagnostic::{Place, Report, Source};
use jiff::Timestamp;
use ledger::{Inlet, Ledger};
use outbound::{Guard, Sender, SenderLimits};
use queue::{Job, Nudge, Priority, Queue, WorkerSettings, Workers};
use relay::{
    Arrival, Deliverer, Dispatch, Endpoint, Forgetter, Handover, Intake, RelaySettings, Replayer, Said,
    SecretWatch, Switch,
};
use sync::{Engine, Plan, Rules, Sync};

use crate::catalogue::Catalogue;
use crate::cli::{Exit, Out};
use crate::config::{Config, ConnectionConfig, Limits, SecretRef, SyncConfig};
use crate::guard::guard;
use crate::inlets::{self, Pulls};
use crate::listen::listeners;
use crate::look::Looker;
use crate::partners::{self, Lookup};
use crate::seal::{SealKey, SealedTokens};
use crate::web;
use crate::world::RealWorld;

/// How often replays go on, in milliseconds; a round costs one small read while there is none.
const REPLAY_EVERY_MS: u64 = 500;
/// How often old events are looked for, in milliseconds.
const FORGET_EVERY_MS: u64 = 600_000;
/// How often secrets are looked at that have an end, in milliseconds.
const SECRETS_EVERY_MS: u64 = 3_600_000;
/// How long the first write to the ledger may take before the start says that it waits, in milliseconds.
const FIRST_WRITE_TIMEOUT_MS: u64 = 5_000;
/// Bytes that a configuration file may have.
const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// Why a hub does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A secret is not where it is said to be.
    #[error(transparent)]
    Secret(#[from] crate::config::MissingSecret),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] ledger::OpenError),
    /// The ledger is open and does not take a write.
    #[error("the ledger does not take a write: {0}")]
    LedgerUnready(String),
    /// The queue cannot be opened.
    #[error("the queue cannot be opened: {}", with_source(.0))]
    Queue(#[from] queue::QueueError),
    /// Something in the configuration does not fit.
    #[error("{0}")]
    Setting(String),
}

impl StartError {
    /// Whether it may pass by itself: a store does not answer, or not yet.
    pub(crate) fn may_pass(&self) -> bool {
        use queue::QueueError;
        match self {
            StartError::Ledger(ledger::OpenError::Unreachable { .. })
            | StartError::LedgerUnready(_)
            | StartError::Queue(QueueError::Redis { .. }) => true,
            StartError::Ledger(_) | StartError::Queue(_) | StartError::Secret(_) | StartError::Setting(_) => {
                false
            }
        }
    }
}

/// What a queue says, with what its client said, which never holds credentials.
fn with_source(error: &queue::QueueError) -> String {
    match error {
        queue::QueueError::Redis { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    }
}

pub(crate) fn setting(error: impl std::fmt::Display) -> StartError {
    StartError::Setting(error.to_string())
}

/// All parts of a hub.
pub struct Hub {
    /// Where it is to listen.
    pub listen: SocketAddr,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The queue.
    pub queue: Queue,
    /// Pull and push.
    pub engine: Arc<Engine>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) relay: Arc<RelaySettings>,
    /// Looks at an endpoint, whatever is known of it.
    pub(crate) look: relay::Nudge,
    pub(crate) switch: Arc<Switch>,
    pub(crate) replayer: Arc<Replayer>,
    forgetter: Forgetter,
    secrets: SecretWatch,
    dispatch: Arc<Dispatch>,
    pub(crate) settings: Arc<server::ServerSettings>,
    /// Names of all endpoints.
    pub(crate) endpoints: Vec<String>,
    limits: Limits,
    looker: Arc<Looker>,
    holder: String,
}

impl Hub {
    /// Opens everything that a configuration names. Nothing runs yet.
    pub async fn open(config: &Config, catalogue: &Catalogue) -> Result<Hub, StartError> {
        let holder = format!("hub-{}", hex(&RealWorld::bytes::<8>()));
        let guard = guard(config, Lookup::Real)?;
        let admin_key = config.admin_key.as_ref().map(|key| key.look_up()).transpose()?;
        let settings = web::settings(
            config.listen,
            admin_key,
            partners::pull_keys(config)?,
            &config.limits,
        )?;
        let settings = Arc::new(settings);
        let relay = Arc::new(partners::relay_settings(config, catalogue, &guard, Lookup::Real)?);
        let plan = plan(config, catalogue)?;
        let seal_keys = seal_keys(config)?;
        let ledger = ledger::open(&config.ledger, ledger::Settings::default()).await?;
        let tokens = Arc::new(SealedTokens::new(ledger.clone(), seal_keys));
        let connections = connections(config, catalogue, &guard, &tokens)?;
        let jobs = queue::Settings::default();
        let jobs = queue::Settings {
            seed: u64::from_le_bytes(RealWorld::bytes()),
            // Another node takes over what is free again.
            lease_ms: jobs.lease_ms.min(config.limits.object_lease_ms),
            ..jobs
        };
        let queue = match config.queue.as_str() {
            "memory" => Queue::memory(jobs)?,
            url => Queue::redis(url, jobs).await?,
        };
        let subscribers = relay.clone();
        let fan_out: sync::FanOut = Arc::new(move |told| {
            let said = Said::new(told.event_type, relay::SOURCE, told.connection, told.body);
            let posted = told.posted;
            let hops = posted.map_or_else(String::new, |by| subscribers.hops_behind(&by.partner, &by.hops));
            let endpoints = subscribers.subscribers_beyond(&said, &hops).into_iter();
            let to = |endpoint: &Arc<Endpoint>| {
                let line = endpoint.line(told.event_type, relay::SOURCE, Some(told.record));
                (endpoint.name().to_owned(), line)
            };
            sync::Addressed {
                deliveries: endpoints.map(to).collect(),
                arrival: Arrival::because_of(told.connection).to_kept(),
                hops,
            }
        });
        let world = Arc::new(RealWorld);
        let engine = Engine::new(ledger.clone(), plan, connections, world, fan_out, holder.clone())
            .leasing(config.limits.object_lease_ms);
        let engine = Arc::new(engine);
        let handover = Arc::new(Handover::default());
        let random: relay::Random = Arc::new(RealWorld::id_bytes);
        let sender = Sender::new(SenderLimits::default(), guard).map_err(setting)?;
        let deliverer = Deliverer::new(
            ledger.clone(),
            relay.clone(),
            sender,
            handover.clone(),
            Arc::new(Timestamp::now),
            random.clone(),
            holder.clone(),
        );
        let dispatch = Arc::new(Dispatch::new(Arc::new(deliverer), later(&queue)));
        let nudged = dispatch.clone();
        let pulls = Pulls::new(&queue);
        let nudge: relay::Nudge = Arc::new(move |endpoint: &str| nudged.nudge(endpoint));
        let nudge = inlets::look_at(nudge, &pulls);
        let looked = dispatch.clone();
        let look: relay::Nudge = Arc::new(move |endpoint: &str| looked.look(endpoint));
        let look = inlets::look_at(look, &pulls);
        let clock: relay::Clock = Arc::new(Timestamp::now);
        let replayer = Replayer::new(
            ledger.clone(),
            relay.only_pulled(),
            look.clone(),
            clock.clone(),
            random.clone(),
            holder.clone(),
            config.limits.endpoint_lease_ms,
        );
        let forgetter = Forgetter::new(ledger.clone(), config.retention, clock.clone(), holder.clone());
        let secrets = SecretWatch::new(
            ledger.clone(),
            relay.clone(),
            partners::expiries(config, &relay),
            nudge.clone(),
            clock.clone(),
            random.clone(),
        );
        let intake = Intake::new(ledger.clone(), relay.clone(), handover.clone(), nudge, random);
        let switch = Switch::new(ledger.clone(), relay.clone(), handover, look.clone(), clock);
        let looker = Looker {
            ledger: ledger.clone(),
            queue: queue.clone(),
            engine: engine.clone(),
            dispatch: dispatch.clone(),
            every_ms: every_ms(&engine, config),
            sweep_every_ms: config.limits.sweep_every_ms,
            reconcile_every_ms: reconcile_every_ms(&engine, config),
            next_reconcile: Mutex::default(),
            next_pull: Mutex::default(),
        };
        Ok(Hub {
            listen: config.listen,
            ledger,
            queue,
            engine,
            intake: Arc::new(intake),
            relay,
            look,
            switch: Arc::new(switch),
            replayer: Arc::new(replayer),
            forgetter,
            secrets,
            dispatch,
            settings,
            endpoints: endpoint_names(config, catalogue),
            limits: config.limits.clone(),
            looker: Arc::new(looker),
            holder,
        })
    }

    /// The first write to the ledger and the first job of the queue: from here on the hub can serve, or it says why not.
    pub async fn begin(&self) -> Result<(), StartError> {
        let patience = Duration::from_millis(FIRST_WRITE_TIMEOUT_MS);
        let checked = tokio::time::timeout(patience, self.ledger.check()).await;
        let unready = |error: String| StartError::LedgerUnready(error);
        checked
            .map_err(|_| unready(format!("not within {FIRST_WRITE_TIMEOUT_MS} ms")))?
            .map_err(|error| unready(error.to_string()))?;
        let owed = self.ledger.owed().await;
        for (endpoint, _) in owed.map_err(|error| unready(error.to_string()))?.endpoints {
            if Inlet::parse(&endpoint).is_none() && self.relay.endpoint(&endpoint).is_none() {
                self.dispatch.tell_unknown(&endpoint);
            }
        }
        let heeded = self.engine.heed_corrections().await;
        heeded.map_err(|error| unready(error.to_string()))?;
        Ok(self.looker.start().await?)
    }

    /// Serves and works until it is told to stop; ends when requests and running work have ended. To be called after
    /// [`Hub::begin`].
    pub async fn run(
        &self,
        listener: tokio::net::TcpListener,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), String> {
        let (stopping, stopped) = tokio::sync::watch::channel(false);
        let settings = WorkerSettings {
            name: self.holder.clone(),
            concurrency: self.limits.workers_max,
            stop_timeout_ms: self.limits.stop_timeout_ms,
            ..WorkerSettings::default()
        };
        let workers = Workers::run(&self.queue, self.looker.clone(), settings, until(stopped.clone()));
        let listeners = listeners(&self.engine, &self.queue, &self.ledger, &self.holder);
        let listeners = listeners
            .into_iter()
            .map(|listener| listener.run(stopped.clone()));
        let listen = async {
            // Those that are told to stop end all at once; without any, there is nothing to wait for.
            futures_util::future::join_all(listeners).await;
            Ok(())
        };
        let serve = async {
            web::serve(self, listener, until(stopped.clone())).await;
            Ok(())
        };
        let told = async {
            stop.await;
            stopping.send_replace(true);
            Ok::<(), String>(())
        };
        let replay = async {
            replay(&self.replayer, until(stopped.clone())).await;
            Ok(())
        };
        let forget = async {
            forget(&self.forgetter, stopped.clone()).await;
            Ok(())
        };
        let watch = async {
            watch(&self.secrets, stopped.clone()).await;
            Ok(())
        };
        let send = async {
            until(stopped.clone()).await;
            // What is not over by then ends when its lease does, and is sent again.
            let patience = Duration::from_millis(self.limits.stop_timeout_ms);
            if tokio::time::timeout(patience, self.dispatch.stop())
                .await
                .is_err()
            {
                tracing::warn!("stopped while webhooks were on their way; they are sent again");
            }
            Ok(())
        };
        let workers = async { workers.await.map_err(|error| error.to_string()) };
        let ended = async {
            // Whichever ends first by itself ends the others: a hub that only half works helps nobody.
            let result = tokio::try_join!(workers, serve, listen, send, replay, forget, watch);
            stopping.send_replace(true);
            result.map(|_| ())
        };
        let (told, ended) = (std::pin::pin!(told), std::pin::pin!(ended));
        match futures_util::future::select(told, ended).await {
            futures_util::future::Either::Left((_, ended)) => ended.await,
            futures_util::future::Either::Right((result, _)) => result,
        }
    }
}

/// Works at replays until it is told to stop.
async fn replay(replayer: &Replayer, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let mut rounds = tokio::time::interval(Duration::from_millis(REPLAY_EVERY_MS));
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop => return,
            _ = rounds.tick() => {
                if let Err(error) = replayer.round().await {
                    tracing::warn!(%error, "replays wait for the ledger");
                }
            }
        }
    }
}

/// Removes what is old, now and then, until it is told to stop.
async fn forget(forgetter: &Forgetter, stopped: tokio::sync::watch::Receiver<bool>) {
    let mut passes = tokio::time::interval(Duration::from_millis(FORGET_EVERY_MS));
    passes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = until(stopped.clone()) => return,
            _ = passes.tick() => {
                if let Err(error) = Box::pin(forgetter.pass(until(stopped.clone()))).await {
                    tracing::warn!(%error, "old events were not removed; the next pass does it");
                }
            }
        }
    }
}

/// Looks at secrets that have an end, now and then, until it is told to stop.
async fn watch(secrets: &SecretWatch, stopped: tokio::sync::watch::Receiver<bool>) {
    let mut rounds = tokio::time::interval(Duration::from_millis(SECRETS_EVERY_MS));
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = until(stopped.clone()) => return,
            _ = rounds.tick() => {
                if let Err(error) = secrets.round().await {
                    tracing::warn!(%error, "nobody was told of secrets that expire; the next round does it");
                }
            }
        }
    }
}

async fn until(mut stopped: tokio::sync::watch::Receiver<bool>) {
    // A sender that is gone means stop, too.
    let _gone = stopped.wait_for(|stopped| *stopped).await;
}

/// Queues an endpoint's job for a moment, without waiting for the queue.
fn later(queue: &Queue) -> relay::Later {
    let queue = queue.clone();
    Arc::new(move |endpoint: &str, at: Timestamp| {
        let (queue, endpoint) = (queue.clone(), endpoint.to_owned());
        tokio::spawn(async move {
            let nudge = Nudge {
                job: Job::Deliver { endpoint },
                priority: Priority::Live,
                at: Some(at),
            };
            if let Err(error) = queue.nudge(&[nudge]).await {
                // The ledger knows what is owed; the next sweep nudges again.
                tracing::warn!(%error, "the queue did not take a nudge");
            }
        });
    })
}

fn seal_keys(config: &Config) -> Result<Vec<SealKey>, StartError> {
    let mut keys = Vec::new();
    for reference in &config.seal_keys {
        let key = SealKey::parse(&reference.look_up()?);
        keys.push(key.map_err(|bad| setting(format!("the `seal_key` {reference} is {bad}")))?);
    }
    Ok(keys)
}

fn connections(
    config: &Config,
    catalogue: &Catalogue,
    guard: &Guard,
    tokens: &Arc<SealedTokens>,
) -> Result<BTreeMap<String, Arc<Connection>>, StartError> {
    let client = outbound::Client::new(outbound::Limits::default(), guard.clone()).map_err(setting)?;
    let mut connections = BTreeMap::new();
    for (name, connection) in &config.connections {
        let mut settings = connection_settings(name, connection)?;
        settings.tokens = tokens.clone();
        let open = account(connection, settings, catalogue, client.clone())?;
        connections.insert(name.clone(), Arc::new(open));
    }
    Ok(connections)
}

fn account(
    connection: &ConnectionConfig,
    settings: connector::Settings,
    catalogue: &Catalogue,
    client: outbound::Client,
) -> Result<Connection, StartError> {
    let system = &connection.system;
    let Some(connector) = catalogue.connector(system) else {
        return Err(StartError::Setting(format!("`{system}` has no connector")));
    };
    let name = settings.name.clone();
    let open = Connection::open(
        connector.clone(),
        settings,
        client,
        Arc::new(connector::SystemClock),
    );
    open.map_err(|error| StartError::Setting(format!("connection `{name}`: {error}")))
}

/// Opens one connection, for a command that asks its system something while a hub may be running.
/// The ledger is opened only where a refresh token has to be kept in it.
pub(crate) async fn open_connection(
    config: &Config,
    catalogue: &Catalogue,
    name: &str,
    connection: &ConnectionConfig,
) -> Result<Connection, StartError> {
    let mut settings = connection_settings(name, connection)?;
    if catalogue.way(connection).is_some_and(|way| way.refreshes) {
        let ledger = ledger::open(&config.ledger, ledger::Settings::default()).await?;
        settings.tokens = Arc::new(SealedTokens::new(ledger, seal_keys(config)?));
    }
    let client =
        outbound::Client::new(outbound::Limits::default(), guard(config, Lookup::Real)?).map_err(setting)?;
    account(connection, settings, catalogue, client)
}

fn connection_settings(name: &str, connection: &ConnectionConfig) -> Result<connector::Settings, StartError> {
    let mut secrets = Secrets::default();
    for (key, reference) in &connection.secrets {
        secrets.insert(key, Secret::new(reference.look_up()?));
    }
    let mut settings = connector::Settings::new(name, connection.config.clone(), secrets);
    settings.auth.clone_from(&connection.auth);
    settings.lag_ms = connection.lag_ms;
    Ok(settings)
}

fn plan(config: &Config, catalogue: &Catalogue) -> Result<Plan, StartError> {
    let mut syncs = Vec::new();
    for sync in &config.syncs {
        let connection = config.connections.get(&sync.connection);
        let mapping = connection.and_then(|c| catalogue.mapping(&c.system, sync.record));
        let (Some(connection), Some(mapping)) = (connection, mapping) else {
            return Err(StartError::Setting(format!(
                "the sync of {} with `{}` has no mapping",
                sync.record, sync.connection
            )));
        };
        let currency = connection
            .currency
            .as_deref()
            .map(model::Currency::parse)
            .transpose();
        syncs.push(Sync {
            connection: sync.connection.clone(),
            mapping: mapping.clone(),
            currency: currency.map_err(setting)?,
            country: connection.country.clone(),
            pull: sync.pull,
            push: sync.push,
            create: sync.create,
            deletes: sync.deletes,
            stop: sync.stop,
        });
    }
    let mut rules = Rules::default();
    for (kind, rule) in &config.records {
        rules
            .policies
            .insert(*kind, model::merge::Policies(rule.policies.clone()));
        if let Some(matching) = &rule.matching {
            rules.matching.insert(*kind, matching.clone());
        }
    }
    Ok(Plan { syncs, rules })
}

/// How often each object is pulled: as often as the most eager of its syncs asks.
fn every_ms(engine: &Engine, config: &Config) -> BTreeMap<(String, String), u64> {
    most_eager(engine, config, |configured| Some(configured.every_ms))
}

/// How often each object is reconciled that is to be.
fn reconcile_every_ms(engine: &Engine, config: &Config) -> BTreeMap<(String, String), u64> {
    most_eager(engine, config, |configured| configured.reconcile_every_ms)
}

/// All that deliveries are to: endpoints, and inlets.
fn endpoint_names(config: &Config, catalogue: &Catalogue) -> Vec<String> {
    let endpoints = config.partners.values().flat_map(|partner| &partner.endpoints);
    let inlets = inlets::inlets(config, catalogue).into_iter();
    let inlets = inlets.map(|(inlet, _)| inlet.to_string());
    endpoints
        .map(|endpoint| endpoint.name.clone())
        .chain(inlets)
        .collect()
}

fn most_eager(
    engine: &Engine,
    config: &Config,
    asked_ms: impl Fn(&SyncConfig) -> Option<u64>,
) -> BTreeMap<(String, String), u64> {
    let mut every: BTreeMap<(String, String), u64> = BTreeMap::new();
    let syncs = engine.plan().syncs.iter().zip(&config.syncs);
    for (sync, configured) in syncs.filter(|(sync, _)| sync.pull) {
        let Some(every_ms) = asked_ms(configured) else {
            continue;
        };
        let key = (sync.connection.clone(), sync.object().to_owned());
        let slot = every.entry(key).or_insert(every_ms);
        *slot = every_ms.min(*slot);
    }
    every
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a configuration begins: what is wrong with it as a whole.
const START: Place = Place {
    start: 0,
    end: 0,
    line: 1,
    column: 1,
};

/// Notes what keeps a hub of this configuration from starting, as far as it can be told without its stores and its systems,
/// or from ever sending anything.
pub(crate) fn would_refuse(config: &Config, catalogue: &Catalogue, source: &Source, report: &mut Report) {
    let made_up = "-".repeat(server::API_KEY_CHARS_MIN);
    let here = |key: &SecretRef| key.look_up().unwrap_or_else(|_| made_up.clone());
    let endpoints = config.partners.values().flat_map(|partner| &partner.endpoints);
    let pull_keys =
        endpoints.filter_map(|endpoint| Some((endpoint.name.clone(), here(endpoint.pull_key.as_ref()?))));
    let pull_keys = pull_keys.filter(|(_, key)| *key != made_up).collect();
    let settings = web::settings(
        config.listen,
        config.admin_key.as_ref().map(here),
        pull_keys,
        &config.limits,
    );
    let relay = guard(config, Lookup::Here)
        .and_then(|guard| partners::relay_settings(config, catalogue, &guard, Lookup::Here));
    let mut refusals = Vec::new();
    match settings {
        // It may be set where the hub runs.
        Err(error) if config.admin_key.is_none() => {
            let hint = "INTERCONNECT_ADMIN_KEY may say it where the hub runs, or `admin_key` here";
            report.warning("IC0164", source, START, error.to_string(), hint);
        }
        Err(error) => refusals.push(error.to_string()),
        Ok(_) => {}
    }
    match relay {
        Ok(relay) => refusals.extend(partners::shapeless(&relay, catalogue)),
        Err(error) => refusals.push(error.to_string()),
    }
    for refusal in refusals {
        let hint = "a hub would say so when it starts, or when it sends";
        report.error("IC0164", source, START, refusal, hint);
    }
}

/// Reads the configuration's text.
pub(crate) fn read_config(path: &Path) -> Result<Source, String> {
    let shown = path.display();
    let size = std::fs::metadata(path).map(|file| file.len());
    let size =
        size.map_err(|error| format!("{shown} cannot be read: {error}; name another file with --config"))?;
    if size > CONFIG_BYTES_MAX {
        return Err(format!(
            "{shown} has {size} bytes; a configuration has {CONFIG_BYTES_MAX} at most"
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    Ok(Source::new(shown.to_string(), text))
}

/// Reads the configuration as this process would run it, and all that it names; notes every finding.
/// What has errors must not be used.
pub(crate) fn read(path: &Path, report: &mut Report, out: &Out) -> Result<Option<(Config, Catalogue)>, Exit> {
    let usage = |error: String| {
        out.fails(&error);
        Exit::Usage
    };
    let source = read_config(path).map_err(usage)?;
    let Some(mut config) = Config::read(&source, report) else {
        return Ok(None);
    };
    config
        .override_from(|name| std::env::var(name).ok())
        .map_err(usage)?;
    let catalogue = Catalogue::load(&config, &source, report);
    Ok(Some((config, catalogue)))
}

/// Reads and checks the configuration; shows all findings and says how to exit when it has errors.
pub(crate) fn load(path: &Path, out: &Out) -> Result<(Config, Catalogue), Exit> {
    let mut report = Report::new();
    match read(path, &mut report, out)? {
        Some(read) if !report.has_errors() => Ok(read),
        _ => {
            out.findings(&report);
            out.fails(&format!(
                "{} errors in the configuration; nothing was started",
                report.errors()
            ));
            Err(Exit::Usage)
        }
    }
}

/// Opens the hub of a configuration for a command.
pub(crate) async fn open(path: &Path, out: &Out) -> Result<Hub, Exit> {
    let (config, catalogue) = load(path, out)?;
    Hub::open(&config, &catalogue).await.map_err(|error| {
        out.fails(&error.to_string());
        Exit::Usage
    })
}

/// Opens only the ledger of a configuration, for commands that look.
pub(crate) async fn open_ledger(path: &Path, out: &Out) -> Result<Arc<dyn Ledger>, Exit> {
    let (_, ledger) = open_config_and_ledger(path, out).await?;
    Ok(ledger)
}

/// Reads a configuration and opens its ledger.
pub(crate) async fn open_config_and_ledger(
    path: &Path,
    out: &Out,
) -> Result<(Config, Arc<dyn Ledger>), Exit> {
    let (config, _) = load(path, out)?;
    let ledger = ledger_of(&config, out).await?;
    Ok((config, ledger))
}

/// Opens the ledger of a configuration that was read.
pub(crate) async fn ledger_of(config: &Config, out: &Out) -> Result<Arc<dyn Ledger>, Exit> {
    ledger::open(&config.ledger, ledger::Settings::default())
        .await
        .map_err(|error| {
            out.fails(&error.to_string());
            Exit::Usage
        })
}
