//! Where a test has its ledger: made before it, taken away after it, also when it fails.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, NoTls};

use crate::{Ledger, Settings, open, overlay};

/// The stores.
#[derive(Clone, Copy, Debug)]
pub(super) enum Store {
    Memory,
    /// Over an empty ledger.
    Overlay,
    Sqlite,
    Postgres,
}

/// A place for one ledger.
pub(super) struct Stand {
    address: String,
    over: bool,
    folder: Option<tempfile::TempDir>,
    /// The server's address and the database's name.
    database: Option<(String, String)>,
}

impl Stand {
    pub(super) async fn new(store: Store) -> Stand {
        match store {
            Store::Memory | Store::Overlay => Stand {
                address: "sqlite::memory:".into(),
                over: matches!(store, Store::Overlay),
                folder: None,
                database: None,
            },
            Store::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                Stand {
                    address: format!("sqlite:{}", folder.path().join("ledger.db").display()),
                    over: false,
                    folder: Some(folder),
                    database: None,
                }
            }
            Store::Postgres => {
                static COUNT: AtomicU32 = AtomicU32::new(0);
                let server =
                    std::env::var("IT_POSTGRES_URL").expect("run by `make test`, or set IT_POSTGRES_URL");
                let number = COUNT.fetch_add(1, Ordering::Relaxed);
                let name = format!("ledger_{}_{number}", std::process::id());
                let admin = connect(&server).await;
                admin
                    .batch_execute(&format!("CREATE DATABASE {name}"))
                    .await
                    .unwrap();
                let (place, _) = server.rsplit_once('/').unwrap();
                Stand {
                    address: format!("{place}/{name}"),
                    over: false,
                    folder: None,
                    database: Some((server, name)),
                }
            }
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Opens the ledger; again for a second node or after a restart.
    pub(super) async fn open(&self) -> Arc<dyn Ledger> {
        self.open_with(Settings::default()).await
    }

    pub(super) async fn open_with(&self, settings: Settings) -> Arc<dyn Ledger> {
        let settings = Settings {
            connections_max: 6,
            ..settings
        };
        let ledger = open(&self.address, settings).await.unwrap();
        match self.over {
            true => overlay(ledger).await.unwrap(),
            false => ledger,
        }
    }

    /// The same place once more; who made it first takes it away.
    pub(super) fn again(&self) -> Stand {
        Stand {
            address: self.address.clone(),
            over: self.over,
            folder: None,
            database: None,
        }
    }

    /// Empties a database that is used again. One in memory is new whenever it is opened.
    pub(super) async fn clear(&self) {
        if self.address != "sqlite::memory:" {
            drop(self.open().await);
            let tables = crate::TABLES.join(", ");
            let sql =
                format!("TRUNCATE {tables}, endpoint_states, endpoint_sequences, replays RESTART IDENTITY");
            self.meddle(&sql).await;
        }
    }

    /// A connection past the ledger, to PostgreSQL only.
    pub(super) async fn connect(&self) -> Client {
        connect(&self.address).await
    }

    /// Runs SQL past the ledger.
    pub(super) async fn meddle(&self, sql: &str) {
        match self.address.strip_prefix("sqlite:") {
            Some(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.execute_batch(sql).unwrap();
            }
            None => connect(&self.address).await.batch_execute(sql).await.unwrap(),
        }
    }

    async fn end(self) {
        if let Some((server, name)) = &self.database {
            let admin = connect(server).await;
            let dropped = admin
                .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
                .await;
            dropped.unwrap();
        }
        drop(self.folder);
    }
}

async fn connect(address: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(address, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Runs one test on a store of its own.
pub(super) fn keep(store: Store, test: impl AsyncFnOnce(&Stand)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let stand = runtime.block_on(Stand::new(store));
    let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test(&stand))));
    runtime.block_on(stand.end());
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}
