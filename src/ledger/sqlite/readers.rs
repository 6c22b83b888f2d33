//! Reading: a few connections, each used by one read at a time on a thread that may block.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::LedgerError;

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
        let read = tokio::task::spawn_blocking(move || {
            // Declared in this order, the connection is back before the permit is.
            let _permit = permit;
            let lent = Lent::take(&idle);
            lent.snapshot(work)
        });
        read.await
            .unwrap_or_else(|_| Err(LedgerError::Store("a read was broken off".into())))
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
        &self,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let connection = self
            .connection
            .as_ref()
            .expect("there are as many connections as permits");
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
