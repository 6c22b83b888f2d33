//! Connections, and running statements and transactions again when that is safe and helps.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{BuildError, Client, Hook, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls, Row};

use super::others::{self, Others};
use super::{Params, migrate};
use crate::open::shown;
use crate::{Durability, LedgerError, OpenError, Settings};

/// How often a transaction is tried that collides with another or loses its connection.
const TRIES_MAX: u32 = 6;
/// The first pause between tries; each further one is as much longer.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the database may say nothing to what was sent to it before the connection counts as dead.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// What a server does for us where it can (PostgreSQL 14 and later, not on Windows): a query ends that nobody waits for any
/// more, because who asked has left. It looks every two seconds.
const LEAVES: &str = "SET client_connection_check_interval = 2000";
/// How far a machine's clock may be from the database's: two machines are within two seconds of each other then, which is what
/// whoever compares their moments counts on.
const CLOCK_APART_MAX_MS: i64 = 1_000;
/// How statements are planned. Plans that are made once take every array for ten rows, and then compare a page with itself
/// row by row.
const PLANS_ANEW: &str = " -c plan_cache_mode=force_custom_plan";
/// How those of the hot path are. A plan that is made while a table is empty would read all of it, and go on to when it has
/// grown.
const PLANS_KEPT: &str = " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off";
/// Connections that keep plans: those who work by them do one thing at a time.
const HOT_MAX: usize = 2;
/// The present of the database, in milliseconds.
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// Why work did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The contract says no; nothing was written.
    Refused(LedgerError),
    /// The database says no or is gone; nothing was written.
    Database(tokio_postgres::Error),
    /// The connection was lost while committing; nobody knows.
    InDoubt(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        Failure::Database(error)
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Failure {
        Failure::Refused(error)
    }
}

/// Why there is no further try.
pub(super) struct Ended {
    pub(super) error: LedgerError,
    /// Whether the database refused what it was given, so that a part of it may go well alone.
    pub(super) divisible: bool,
}

impl From<Ended> for LedgerError {
    fn from(ended: Ended) -> LedgerError {
        ended.error
    }
}

/// Something to do on one connection.
#[async_trait]
pub(super) trait Work: Sync {
    /// Whether it may be done again although it may have been done: its second time changes nothing.
    const REPEATABLE: bool;
    /// What comes of it.
    type Answer: Send;
    /// Does it.
    async fn run(&self, client: &mut Client) -> Result<Self::Answer, Failure>;
}

/// Commits; a lost connection leaves it open whether it happened.
pub(super) async fn finish(transaction: deadpool_postgres::Transaction<'_>) -> Result<(), Failure> {
    transaction.commit().await.map_err(|error| match error.code() {
        Some(_) => Failure::Database(error),
        None => Failure::InDoubt(error),
    })
}

/// The database, by a pool of connections.
#[derive(Clone)]
pub(super) struct Database {
    pool: Pool,
    /// Those whose plans are kept.
    hot: Pool,
    pub(super) others: Others,
    /// One for each write that may wait or run.
    writes: Arc<Semaphore>,
    writes_waiting_max: usize,
}

/// A connection that was asked something. Whoever lets it go before the answer is there takes it out of the pool: the next
/// one would wait for the answer to that first.
struct Asked(Option<Client>);

impl Asked {
    async fn rows(mut self, sql: &str, params: &Params<'_>) -> Result<Vec<Row>, tokio_postgres::Error> {
        let Some(client) = &self.0 else {
            return Ok(Vec::new());
        };
        let statement = client.prepare_cached(sql).await;
        let rows = match statement {
            Ok(statement) => client.query(&statement, params).await,
            Err(error) => Err(error),
        };
        drop(self.0.take());
        rows
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Client::take(client));
        }
    }
}

impl Database {
    /// Connects, and brings the schema up to date.
    pub(super) async fn open(address: &str, settings: &Settings) -> Result<Database, OpenError> {
        let at = shown(address);
        let fail = |reason: String| OpenError::Failed {
            at: at.clone(),
            reason,
        };
        let timeout = Duration::from_millis(settings.connect_timeout_ms.into());
        let mut config = configure(address, settings, timeout)?;
        let others = Others::than(migrate::migrate(&config, &at, timeout).await?);
        config.application_name(&others.than);
        let pooled = |plans: &str, connections_max: usize| {
            let mut config = config.clone();
            let options = config.get_options().unwrap_or_default();
            let options = format!("{options}{plans}");
            config.options(options);
            pool(config, connections_max, timeout).map_err(|error| fail(error.to_string()))
        };
        let database = Database {
            pool: pooled(PLANS_ANEW, settings.connections_max)?,
            hot: pooled(PLANS_KEPT, HOT_MAX)?,
            others,
            writes: Arc::new(Semaphore::new(settings.writes_waiting_max)),
            writes_waiting_max: settings.writes_waiting_max,
        };
        database
            .compare_clocks()
            .await
            .map_err(|error| fail(error.to_string()))?;
        Ok(database)
    }

    /// Warns when this machine's clock is not the database's: processes of one hub compare moments with each other.
    async fn compare_clocks(&self) -> Result<(), LedgerError> {
        let now = || jiff::Timestamp::now().as_millisecond();
        let before = now();
        let rows = self.query(NOW, &[]).await?;
        let theirs = rows.first().map(|row| row.get(0));
        if let Some(ahead_ms) = theirs.and_then(|theirs| ahead(before, theirs, now())) {
            tracing::warn!(
                ahead_ms,
                "this machine's clock is not the ledger's: let a time service set both, or what two processes of the hub \
                 write down at the same moment may be taken for one after the other"
            );
        }
        Ok(())
    }

    /// Runs one statement that may be run twice.
    pub(super) async fn query(&self, sql: &str, params: &Params<'_>) -> Result<Vec<Row>, LedgerError> {
        let mut tries = 1;
        loop {
            let result = match self.client().await {
                Ok(client) => {
                    let asked = Asked(Some(client));
                    asked.rows(sql, params).await.map_err(Failure::Database)
                }
                Err(failure) => Err(failure),
            };
            match result {
                Ok(rows) => return Ok(rows),
                Err(failure) => pause(failure, &mut tries, true)
                    .await
                    .map_err(|ended| ended.error)?,
            }
        }
    }

    /// Runs one writing statement that may be run twice; answers how many rows it came to.
    pub(super) async fn write(&self, sql: &str, params: &Params<'_>) -> Result<Vec<Row>, LedgerError> {
        let _permit = self.permit()?;
        self.query(sql, params).await
    }

    /// Does some work, again if that is safe and helps.
    pub(super) async fn run<W: Work>(&self, work: &W) -> Result<W::Answer, Ended> {
        let mut tries = 1;
        loop {
            let result = match self.client().await {
                Ok(mut client) => work.run(&mut client).await,
                Err(failure) => Err(failure),
            };
            match result {
                Ok(answer) => return Ok(answer),
                Err(failure) => pause(failure, &mut tries, W::REPEATABLE).await?,
            }
        }
    }

    /// The same by connections of its own, which make the plan of a statement once and keep it: for the few statements of
    /// the hot path, for which making it costs about a third of what they do. Each of them has to be such that only one
    /// plan is good, whatever is in the tables: rows are found by a key of theirs, and arrays of many are not compared
    /// with each other.
    pub(super) fn hot(&self) -> Database {
        Database {
            pool: self.hot.clone(),
            ..self.clone()
        }
    }

    /// The right to wait for a write.
    pub(super) fn permit(&self) -> Result<OwnedSemaphorePermit, LedgerError> {
        let permit = Arc::clone(&self.writes).try_acquire_owned();
        permit.map_err(|_| LedgerError::Busy {
            waiting: self.writes_waiting_max,
        })
    }

    async fn client(&self) -> Result<Client, Failure> {
        use deadpool_postgres::PoolError;
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Failure::Database(error),
            PoolError::Timeout(_) => {
                let reason = "no connection became free in `connect_timeout_ms`; raise `connections_max`";
                Failure::Refused(LedgerError::Store(reason.into()))
            }
            other => Failure::Refused(LedgerError::Store(other.to_string())),
        })
    }
}

fn pool(config: Config, connections_max: usize, timeout: Duration) -> Result<Pool, BuildError> {
    let manager = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    Pool::builder(Manager::from_config(config, NoTls, manager))
        .max_size(connections_max)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(timeout))
        .create_timeout(Some(timeout))
        .post_create(Hook::async_fn(|client, _| {
            Box::pin(async move {
                if let Err(error) = client.batch_execute(LEAVES).await {
                    tracing::debug!(reason = reason(&error), "the database goes on where nobody waits");
                }
                Ok(())
            })
        }))
        .build()
}

fn configure(address: &str, settings: &Settings, timeout: Duration) -> Result<Config, OpenError> {
    let mut config: Config = address
        .parse()
        .map_err(|_| OpenError::PostgresAddress("it is not a connection address".into()))?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err(OpenError::PostgresAddress(
            "`sslmode` asks for TLS, which is not built in; use `sslmode=prefer` over a private network or a local \
             TLS proxy"
                .into(),
        ));
    }
    config.ssl_mode(SslMode::Disable);
    config.connect_timeout(timeout);
    // A database that is gone without a word is noticed soon, unless the address says otherwise.
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENT_MAX);
    }
    if !address.contains("keepalives_idle") {
        config.keepalives_idle(SILENT_MAX);
    }
    config.application_name(others::NAME);
    if settings.durable == Durability::Normal {
        let options = config.get_options().unwrap_or_default();
        config.options(format!("{options} -c synchronous_commit=off"));
    }
    Ok(config)
}

/// Waits before the next try, or gives the error when there is none.
async fn pause(failure: Failure, tries: &mut u32, repeatable: bool) -> Result<(), Ended> {
    let last = |error: LedgerError, divisible| Err(Ended { error, divisible });
    let (error, again) = match failure {
        Failure::Refused(error) => return last(error, false),
        Failure::Database(error) => {
            let again = collided(&error) || gone(&error);
            (error, again)
        }
        Failure::InDoubt(error) if repeatable => (error, true),
        Failure::InDoubt(error) => {
            let text = format!(
                "the connection was lost while committing, so it may be written or not: {}",
                reason(&error)
            );
            return last(LedgerError::Store(text), false);
        }
    };
    if !again || *tries >= TRIES_MAX {
        return last(error.into(), !again);
    }
    tracing::debug!(reason = reason(&error), tries, "the ledger tries again");
    tokio::time::sleep(PAUSE * *tries).await;
    *tries += 1;
    Ok(())
}

/// Whether it met another transaction; the database took all of it back.
fn collided(error: &tokio_postgres::Error) -> bool {
    let met = [
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::T_R_DEADLOCK_DETECTED,
    ];
    // Two commits that link one record to two objects: each saw no link to replace. The later one will.
    let constraint = error.as_db_error().and_then(|said| said.constraint());
    error.code().is_some_and(|code| met.contains(&code)) || constraint == Some("links_of_record")
}

/// Whether the server went away, is not there, or comes just up.
pub(super) fn gone(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => {
            let ended = [
                &SqlState::ADMIN_SHUTDOWN,
                &SqlState::CRASH_SHUTDOWN,
                &SqlState::CANNOT_CONNECT_NOW,
            ];
            ended.contains(&code) || code.code().starts_with("08")
        }
        None => error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()),
    }
}

/// What happened, without the values that the server shows in its details.
pub(super) fn reason(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("{} (SQLSTATE {})", said.message(), said.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

/// How far our clock is ahead, in milliseconds, or behind; nothing when it is near enough. It told `before` and `after` the
/// database was asked, which said `theirs`.
fn ahead(before: i64, theirs: i64, after: i64) -> Option<i64> {
    let ahead = match theirs {
        theirs if theirs < before => before - theirs,
        theirs if theirs > after => after - theirs,
        _ => 0,
    };
    (ahead.abs() > CLOCK_APART_MAX_MS).then_some(ahead)
}

#[cfg(test)]
mod tests {
    use super::super::{accept, commit, leases, settle};
    use super::*;

    /// How long nobody waits for an answer, and how long somebody waits at most.
    const GIVEN_UP: Duration = Duration::from_millis(100);
    const PATIENT: Duration = Duration::from_secs(60);
    const LOOK: Duration = Duration::from_millis(50);
    const HOT: [&str; 6] = [
        accept::INSERT,
        accept::LINE_UP,
        accept::FIRST,
        leases::HELD,
        settle::SETTLE,
        settle::ADVANCE,
    ];

    /// A database of a test's own.
    struct Own {
        name: String,
        admin: tokio_postgres::Client,
        address: String,
    }

    impl Own {
        async fn create(what: &str) -> Own {
            let server =
                std::env::var("IT_POSTGRES_URL").expect("run by `make test`, or set IT_POSTGRES_URL");
            let (place, _) = server.rsplit_once('/').unwrap();
            let name = format!("{what}_{}", std::process::id());
            let (admin, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
            // It ends with the client.
            tokio::spawn(connection);
            admin
                .batch_execute(&format!("CREATE DATABASE {name}"))
                .await
                .unwrap();
            let address = format!("{place}/{name}");
            Own { name, admin, address }
        }

        async fn drop(self) {
            let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
            self.admin.batch_execute(&sql).await.unwrap();
        }
    }

    /// The next one who is given the connection would wait for the answer to what was asked first.
    #[tokio::test]
    async fn what_nobody_waits_for_any_more_holds_nobody_up() {
        let own = Own::create("given_up").await;
        let settings = Settings {
            connections_max: 1,
            ..Settings::default()
        };
        let database = Database::open(&own.address, &settings).await.unwrap();
        let slow = database.query("SELECT pg_sleep(600)", &[]);
        assert!(tokio::time::timeout(GIVEN_UP, slow).await.is_err());
        let next = tokio::time::timeout(PATIENT, database.query("SELECT 1", &[])).await;
        assert_eq!(next.unwrap().unwrap().len(), 1);
        // Nor does the server go on with it.
        let ended = async {
            let asleep =
                "SELECT 1 FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'SELECT pg_sleep%'";
            let mut looks = tokio::time::interval(LOOK);
            while !own.admin.query(asleep, &[&own.name]).await.unwrap().is_empty() {
                looks.tick().await;
            }
        };
        tokio::time::timeout(PATIENT, ended).await.unwrap();
        drop(database);
        own.drop().await;
    }

    /// The tables are empty here, when any plan is cheap; the one that is kept must be good when they are not any more.
    #[tokio::test]
    async fn a_plan_that_is_kept_finds_rows_by_their_keys() {
        let own = Own::create("plans").await;
        let database = Database::open(&own.address, &Settings::default()).await.unwrap();
        let client = database.hot().client().await.unwrap();
        for (n, sql) in HOT.iter().enumerate() {
            let values = (1..)
                .take_while(|value| sql.contains(&format!("${value}")))
                .map(|_| "NULL");
            let values = values.collect::<Vec<_>>().join(", ");
            client
                .batch_execute(&format!("PREPARE hot_{n} AS {sql}"))
                .await
                .unwrap();
            let explain = format!("EXPLAIN EXECUTE hot_{n} ({values})");
            let plan = client.query(&explain, &[]).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
            let shown = plan.join("\n");
            assert!(!shown.contains("Seq Scan"), "{shown}");
            // Two arrays are compared with each other by a hash: only rows of a table are looked up one by one.
            let loops = shown.matches("Nested Loop").count();
            let mut by_key = 0;
            for (scan, next) in plan
                .iter()
                .zip(&plan[1..])
                .filter(|(line, _)| line.contains("Index"))
            {
                let is_scan = ["Index Scan", "Index Only Scan"]
                    .iter()
                    .any(|kind| scan.contains(kind));
                if is_scan {
                    assert!(next.contains("Index Cond"), "{shown}");
                    by_key += 1;
                }
            }
            assert!(loops <= by_key, "{shown}");
        }
        drop(client);
        drop(database);
        own.drop().await;
    }

    /// While a table fills for the first time the planner knows nothing of what is in it.
    #[tokio::test]
    async fn a_push_is_found_by_its_key_among_many_that_nobody_has_counted() {
        let own = Own::create("pushes").await;
        let database = Database::open(&own.address, &Settings::default()).await.unwrap();
        let client = database.client().await.unwrap();
        let fill = "INSERT INTO pushes (connection, object, kind, record, mark, due_at, attempts) \
                    SELECT 'crm', 'deal', 'deal', gen_random_uuid(), 1, 1, 0 FROM generate_series(1, 10000)";
        client.batch_execute(fill).await.unwrap();
        let pushed = format!("PREPARE pushed AS {}", commit::PUSHED);
        client.batch_execute(&pushed).await.unwrap();
        let explain = "EXPLAIN EXECUTE pushed ('{crm,crm}', '{deal,deal}', '{deal,deal}', ARRAY[gen_random_uuid()], '{1,1}')";
        let plan = client.query(explain, &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Scan using pushes_pkey"), "{plan}");
        drop(client);
        drop(database);
        own.drop().await;
    }

    #[test]
    fn what_took_long_is_no_wrong_clock() {
        let told = [
            (10, 5_000, 6_000),
            (10, 9, 20),
            (10, 1_020, 20),
            (2_000, 999, 2_001),
            (0, 9_001, 1),
        ];
        let ahead = told.map(|(before, theirs, after)| ahead(before, theirs, after));
        assert_eq!(ahead, [None, None, None, Some(1_001), Some(-9_000)]);
    }
}
