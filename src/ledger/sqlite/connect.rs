//! Connections: how they are set, and the schema brought up to date.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::leases;
use crate::{Durability, OpenError, Settings};

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Two processes that open a new file at the same moment: the later one finds the tables there and looks again.
const MIGRATION_TRIES_MAX: u32 = 20;
const MIGRATION_PAUSE: Duration = Duration::from_millis(50);

/// How the file is opened by whoever writes.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
/// Statements kept prepared a connection; every statement of this crate fits.
const STATEMENTS_MAX: usize = 128;
/// No more, for when pages of an index change places SQLite looks through all of this cache when it commits: with 64 MiB a
/// relayed webhook cost a tenth more. What does not fit is in the system's own cache.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
const READER_CACHE_KIB: i64 = 16 * 1024;
/// Pages of the write-ahead log after which it is brought home (4 KiB each). More than SQLite's 1,000: each time costs
/// an fsync of the whole file.
const CHECKPOINT_PAGES: i64 = 8_000;
/// What the log may keep of the disk after it was brought home.
const LOG_BYTES_MAX: i64 = 64 * 1024 * 1024;

/// The connection of the writer; makes the file and brings its schema up to date.
pub(crate) fn writer(path: &Path, settings: &Settings) -> Result<Connection, OpenError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(OpenError::Folder(folder.to_owned()));
    }
    make_private(path).map_err(|error| failed(path, &error))?;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, FLAGS)?;
        set(&connection, settings, WRITER_CACHE_KIB)?;
        retry_locked(|| connection.pragma_update(None, "journal_mode", "wal"))?;
        let synchronous = match settings.durable {
            Durability::Full => "full",
            Durability::Normal => "normal",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
        Ok(connection)
    };
    if let Err(error) = free_turns(path) {
        // Whoever needs them waits until their time is over.
        tracing::debug!(%error, "no turn of the dead is given back");
    }
    let mut connection = open().map_err(|error| failed(path, &error))?;
    migrate(&mut connection, &path.display().to_string())?;
    Ok(connection)
}

/// Gives back the turns of those who died having them, so that nobody waits until their time is over. Each connection holds
/// a lock on the file, in whatever process, and the system takes it away with the process; so who gets the file for itself
/// alone knows that all who had a turn are gone, and what they were sending with them; while anybody has it open, and where
/// there is nothing yet, it fails (<https://sqlite.org/pragma.html#pragma_locking_mode>).
fn free_turns(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(path, FLAGS)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    leases::free_turns(&connection)
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path, settings: &Settings) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        set(&connection, settings, READER_CACHE_KIB)?;
        Ok(connection)
    };
    open().map_err(|error| failed(path, &error))
}

/// The one connection of a database in memory.
pub(crate) fn memory() -> Result<Connection, OpenError> {
    let path = Path::new(":memory:");
    let mut connection = Connection::open_in_memory().map_err(|error| failed(path, &error))?;
    prepare_once(&connection).map_err(|error| failed(path, &error))?;
    migrate(&mut connection, ":memory:")?;
    Ok(connection)
}

/// Why a database could not be opened.
pub(crate) fn failed(path: &Path, error: &dyn std::error::Error) -> OpenError {
    OpenError::Failed {
        at: path.display().to_string(),
        reason: error.to_string(),
    }
}

fn set(connection: &Connection, settings: &Settings, cache_kib: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_millis(settings.busy_timeout_ms.into()))?;
    prepare_once(connection)?;
    // A negative number counts KiB instead of pages.
    connection.pragma_update(None, "cache_size", -cache_kib)
}

/// Keeps statements prepared. Without the stability guarantee SQLite would look at what is bound to see whether a partial
/// index fits, and prepare the statement anew for each value of it: a third of the time of a lookup. What our indices
/// need is written in the statements (<https://sqlite.org/queryplanner-ng.html#qpstab>).
fn prepare_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Makes the file readable by its owner only: it holds sealed tokens and what partners said. SQLite gives the log
/// beside it the same rights. A file that is there keeps its own.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Switching to the write-ahead log needs the file alone and does not wait for it by itself.
fn retry_locked(mut change: impl FnMut() -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    let mut tries = 1;
    loop {
        match change() {
            Err(error) if is_locked(&error) && tries < MIGRATION_TRIES_MAX => {
                tries += 1;
                std::thread::sleep(MIGRATION_PAUSE);
            }
            result => return result,
        }
    }
}

fn is_locked(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn migrate(connection: &mut Connection, at: &str) -> Result<(), OpenError> {
    let fail = |error: &dyn std::error::Error| OpenError::Failed {
        at: at.to_owned(),
        reason: error.to_string(),
    };
    let runner = embedded::migrations::runner();
    let known = runner
        .get_migrations()
        .iter()
        .map(|m| i64::from(m.version()))
        .max();
    let known = known.expect("the crate has migrations");
    let mut tries = 1;
    loop {
        let found = schema_version(connection).map_err(|error| fail(&error))?;
        if found == known {
            return Ok(());
        }
        if found > known {
            let at = at.to_owned();
            return Err(OpenError::Newer { at, found, known });
        }
        // Each migration is a transaction that ends by writing its number, so of two processes one fails as a whole
        // and sees what the other did when it looks again.
        match runner.run(connection) {
            Err(error) if tries >= MIGRATION_TRIES_MAX => return Err(fail(&error)),
            Err(_) => std::thread::sleep(MIGRATION_PAUSE),
            Ok(_) => {}
        }
        tries += 1;
    }
}

fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'refinery_schema_history'";
    if connection.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(0);
    }
    connection.query_row(
        "SELECT coalesce(max(version), 0) FROM refinery_schema_history",
        [],
        |row| row.get(0),
    )
}
