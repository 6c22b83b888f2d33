//! The ledger in PostgreSQL, for several nodes at once.
//!
//! Taking in, settling, refusing, and what a turn at an endpoint asks go through a batcher each ([`batcher`]): whatever waits shares one transaction, one
//! at a time, so that the order of acceptance is the order of commit on a node. Everything else is one statement or one
//! transaction of its own ([`database`]), which is run again when it collides with another or the server goes away.
//! PostgreSQL's text cannot hold U+0000; it is kept as U+FFFD.

mod accept;
mod batcher;
mod commit;
mod conflicts;
mod database;
mod deliveries;
mod disclosures;
mod endpoints;
mod feed;
mod folds;
mod journal;
mod journeys;
mod leases;
mod links;
mod migrate;
mod others;
mod records;
mod replays;
mod retention;
mod rows;
mod settle;
mod turns;
mod upkeep;

use tokio_postgres::types::ToSql;

use crate::{LedgerError, OpenError, Settings};
use accept::Accepting;
use batcher::Batcher;
use database::Database;
use settle::{Refusing, Settling};
use turns::{Beginning, Ending, Keeping, Looking};

impl From<tokio_postgres::Error> for LedgerError {
    fn from(error: tokio_postgres::Error) -> LedgerError {
        LedgerError::Store(database::reason(&error))
    }
}

/// A ledger in one PostgreSQL database.
pub(crate) struct PostgresLedger {
    database: Database,
    accepting: Batcher<Accepting>,
    settling: Batcher<Settling>,
    refusing: Batcher<Refusing>,
    beginning: Batcher<Beginning>,
    looking: Batcher<Looking>,
    keeping: Batcher<Keeping>,
    ending: Batcher<Ending>,
}

/// Values of a statement.
type Params<'a> = [&'a (dyn ToSql + Sync)];

impl PostgresLedger {
    /// Opens a database and brings its schema up to date.
    pub(crate) async fn open(address: &str, settings: &Settings) -> Result<PostgresLedger, OpenError> {
        let database = Database::open(address, settings).await?;
        let waiting_max = settings.writes_waiting_max;
        Ok(PostgresLedger {
            accepting: Batcher::start(database.hot(), waiting_max),
            settling: Batcher::start(database.hot(), waiting_max),
            refusing: Batcher::start(database.clone(), waiting_max),
            beginning: Batcher::start(database.clone(), waiting_max),
            looking: Batcher::start(database.clone(), waiting_max),
            keeping: Batcher::start(database.clone(), waiting_max),
            ending: Batcher::start(database.clone(), waiting_max),
            database,
        })
    }
}
