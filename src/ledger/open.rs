//! Opening a ledger by its address, and what can be set about it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::Ledger;
use crate::postgres::PostgresLedger;
use crate::sqlite::SqliteLedger;

/// When a write counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the disk has it: it survives a power failure.
    #[default]
    Full,
    /// When the operating system has it: it survives the death of the process, a power failure may take the last
    /// moments. The database stays whole either way.
    Normal,
}

/// What can be set about a ledger.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Writes that may wait for their turn; one more is refused as [`crate::LedgerError::Busy`].
    pub writes_waiting_max: usize,
    /// When a write counts as written.
    pub durable: Durability,
    /// SQLite: reads at the same moment. Each has a connection and a page cache of its own.
    pub readers_max: usize,
    /// PostgreSQL: connections at the same moment, for reads and writes together; beside two of the hot path.
    pub connections_max: usize,
    /// SQLite: how long to wait for another process (the command line) that writes; milliseconds.
    pub busy_timeout_ms: u32,
    /// PostgreSQL: how long to wait for a connection, new or free; milliseconds.
    pub connect_timeout_ms: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            writes_waiting_max: 4096,
            durable: Durability::Full,
            readers_max: 4,
            connections_max: 16,
            busy_timeout_ms: 5_000,
            connect_timeout_ms: 5_000,
        }
    }
}

/// Why a ledger could not be opened. No text names a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address says neither which store nor where.
    #[error(
        "the ledger's address `{0}` is not one; write `sqlite:path/to/file.db`, `sqlite::memory:` or \
         `postgres://user@host/database`"
    )]
    Address(String),
    /// A PostgreSQL address that cannot be read. It is not repeated, because it may hold a password.
    #[error(
        "the ledger's PostgreSQL address cannot be read: {0}; write `postgres://user:password@host:5432/database`, \
         with `@`, `/` and `?` in the password percent-encoded"
    )]
    PostgresAddress(String),
    /// A number that cannot be.
    #[error("the ledger's `{0}` is 0; it must be at least 1")]
    Zero(&'static str),
    /// The folder of the database file is not there.
    #[error("the ledger's folder `{}` does not exist; create it, or name another file", .0.display())]
    Folder(PathBuf),
    /// The database belongs to a later version of this program.
    #[error(
        "the ledger at {at} has schema {found}, this program knows up to {known}; \
         run the newer program, or restore the backup that was made before it"
    )]
    Newer {
        /// Where.
        at: String,
        /// The schema's version there.
        found: i64,
        /// The latest that this program knows.
        known: i64,
    },
    /// The database's server does not answer, or not yet: this may pass by itself.
    #[error("the ledger at {at} does not answer: {reason}")]
    Unreachable {
        /// Where.
        at: String,
        /// Why.
        reason: String,
    },
    /// The database cannot be reached, read or brought up to date.
    #[error("the ledger at {at} cannot be opened: {reason}")]
    Failed {
        /// Where.
        at: String,
        /// Why.
        reason: String,
    },
}

/// Opens the ledger at an address: `sqlite:path/to/file.db` (made when it is not there), `sqlite::memory:` (gone when
/// it is dropped) or `postgres://user@host/database`. Brings its schema up to date; two processes may do so at once.
///
/// Must be called within a tokio runtime; the ledger lives as long as that does.
pub async fn open(address: &str, settings: Settings) -> Result<Arc<dyn Ledger>, OpenError> {
    let positive = [
        ("writes_waiting_max", settings.writes_waiting_max),
        ("readers_max", settings.readers_max),
        ("connections_max", settings.connections_max),
    ];
    if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return Err(OpenError::Zero(name));
    }
    if address.starts_with("postgres://") || address.starts_with("postgresql://") {
        return Ok(Arc::new(PostgresLedger::open(address, &settings).await?));
    }
    match address.strip_prefix("sqlite:") {
        None | Some("") => Err(OpenError::Address(shown(address))),
        Some(":memory:") => Ok(Arc::new(SqliteLedger::open_in_memory(&settings)?)),
        Some(path) => {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            let opened = tokio::task::spawn_blocking(move || SqliteLedger::open(&path, &settings)).await;
            let ledger = opened.map_err(|error| OpenError::Failed {
                at: shown(address),
                reason: error.to_string(),
            })?;
            Ok(Arc::new(ledger?))
        }
    }
}

/// An address as messages may show it: what stands before the last `@` or behind the first `?` may be a secret.
pub(crate) fn shown(address: &str) -> String {
    let (head, tail) = address.split_once('?').unwrap_or((address, ""));
    match head.rsplit_once('@') {
        Some((_, place)) => place.to_owned(),
        // An unencoded `?` inside the password: nothing here can be told apart from it.
        None if tail.contains('@') => "(address not shown)".to_owned(),
        None => head.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let cases = [
            ("postgres://ic:secret@db:5432/hub", "db:5432/hub"),
            ("postgres://ic:se@cret@db/hub", "db/hub"),
            ("postgres://ic:se/cret@db/hub", "db/hub"),
            ("postgres://ic:se?cret@db/hub", "(address not shown)"),
            ("postgres://db/hub?user=ic&password=secret", "postgres://db/hub"),
            ("postgres://ic@db/hub?password=se@cret", "db/hub"),
            ("sqlite:data/hub.db", "sqlite:data/hub.db"),
        ];
        for (address, expected) in cases {
            assert_eq!(shown(address), expected, "{address}");
        }
    }
}
