//! Reading: a few connections, each used by one read at a time on a thread that may block. A read that nobody waits for any
//! more, because who asked has left, ends soon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::LedgerError;

/// Steps of SQLite's machine after which a read looks whether anybody waits for it.
const LOOK_EVERY_STEPS: i32 = 10_000;

/// Connections that only read.
pub(crate) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(connections: Vec<Connection>) -> Readers {
        Readers {
            permits: Arc::new(Semaphore::new(connections.len())),
            idle: Arc::new(Mutex::new(connections)),
        }
    }

    /// Runs a read on one snapshot of the database.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let idle = Arc::clone(&self.idle);
        let waiting = Waiting::default();
        let has_left = Arc::clone(&waiting.has_left);
        let read = tokio::task::spawn_blocking(move || {
            // Declared in this order, the connection is back before the permit is.
            let _permit = permit;
            let mut lent = Lent::take(&idle);
            lent.snapshot(has_left, work)
        });
        read.await
            .unwrap_or_else(|_| Err(LedgerError::Store("a read was broken off".into())))
    }
}

/// Who waits for a read, until it is dropped.
#[derive(Default)]
struct Waiting {
    has_left: Arc<AtomicBool>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.has_left.store(true, Ordering::Relaxed);
    }
}

/// A connection that goes back when it is dropped, also by a panic.
struct Lent<'a> {
    connection: Option<Connection>,
    idle: &'a Mutex<Vec<Connection>>,
}

impl Lent<'_> {
    fn take(idle: &Mutex<Vec<Connection>>) -> Lent<'_> {
        let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Lent { connection, idle }
    }

    fn snapshot<T>(
        &mut self,
        has_left: Arc<AtomicBool>,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let connection = self
            .connection
            .as_mut()
            .expect("there are as many connections as permits");
        let has_left = move || has_left.load(Ordering::Relaxed);
        // It takes the place of that of the read before.
        connection.progress_handler(LOOK_EVERY_STEPS, Some(has_left))?;
        // Dropped without a commit, which for a read is the same as one.
        let transaction = connection.unchecked_transaction()?;
        work(&transaction)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDLESS: &str =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    const FEW: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT count(*) FROM n";

    fn counts(sql: &'static str) -> impl Fn(&Connection) -> Result<i64, LedgerError> {
        move |connection| Ok(connection.query_row(sql, [], |row| row.get(0))?)
    }

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_gives_its_connection_back() {
        let readers = Readers::new(vec![Connection::open_in_memory().unwrap()]);
        let (begins, begun) = tokio::sync::oneshot::channel();
        let endless = readers.run(move |connection| {
            begins.send(()).unwrap();
            counts(ENDLESS)(connection)
        });
        tokio::select! {
            _ = endless => panic!("it has no end"),
            begun = begun => begun.unwrap(),
        }
        // The only connection; and what is waited for runs to its end, however long it takes.
        assert_eq!(readers.run(counts(FEW)).await.unwrap(), 100_000);
    }
}
