//! The ledger in a SQLite file inside the process.
//!
//! One thread writes ([`writer`]): it takes whatever waits, runs it in one transaction, commits, and only then answers
//! each, so that many writers share one fsync. A few connections read ([`readers`]);
//! they see everything that was answered before. Another process (the command line) may read and write too.

mod accept;
mod commit;
mod conflicts;
mod connect;
mod deliveries;
mod disclosures;
mod endpoints;
mod feed;
mod folds;
mod journal;
mod journeys;
mod leases;
mod readers;
mod records;
mod replays;
mod retention;
mod rows;
mod turns;
mod upkeep;
mod writer;

use std::path::Path;

use rusqlite::Connection;

use crate::{LedgerError, OpenError, Settings};
use readers::Readers;
use writer::Writer;

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> LedgerError {
        LedgerError::Store(error.to_string())
    }
}

/// A ledger in one SQLite database.
pub(crate) struct SqliteLedger {
    writer: Writer,
    /// None for a database in memory: only its one connection can see it.
    readers: Option<Readers>,
}

impl SqliteLedger {
    /// Opens a file, or makes it. Blocks.
    pub(crate) fn open(path: &Path, settings: &Settings) -> Result<SqliteLedger, OpenError> {
        let connection = connect::writer(path, settings)?;
        let readers = (0..settings.readers_max)
            .map(|_| connect::reader(path, settings))
            .collect::<Result<Vec<_>, OpenError>>()?;
        Ok(SqliteLedger {
            writer: Writer::start(connection, settings.writes_waiting_max)
                .map_err(|error| connect::failed(path, &error))?,
            readers: Some(Readers::new(readers)),
        })
    }

    /// A database that lives as long as the ledger.
    pub(crate) fn open_in_memory(settings: &Settings) -> Result<SqliteLedger, OpenError> {
        let connection = connect::memory()?;
        let writer = Writer::start(connection, settings.writes_waiting_max)
            .map_err(|error| connect::failed(Path::new(":memory:"), &error))?;
        Ok(SqliteLedger {
            writer,
            readers: None,
        })
    }

    /// Runs a write in the next group; `rows` says roughly how much it is. Answers when it is on disk.
    async fn write<T, F>(&self, rows: usize, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, LedgerError> + Send + 'static,
    {
        self.writer.run(rows, work).await
    }

    /// Runs a read on one snapshot.
    async fn read<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, LedgerError> + Send + 'static,
    {
        match &self.readers {
            Some(readers) => readers.run(work).await,
            None => self.writer.run(1, work).await,
        }
    }
}
