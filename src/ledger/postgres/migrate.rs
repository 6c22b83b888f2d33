//! The schema brought up to date, by one node at a time.

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use super::database::{gone, reason};
use super::others;
use crate::OpenError;

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// The advisory lock that a node holds while it migrates: the first eight bytes of `intercon`.
const LOCK: i64 = i64::from_be_bytes(*b"intercon");

/// Connects once, within `timeout`, waits for other nodes that migrate, and migrates. Answers a number that nobody else has.
pub(super) async fn migrate(config: &Config, at: &str, timeout: Duration) -> Result<i64, OpenError> {
    let unreachable = |reason: String| OpenError::Unreachable {
        at: at.to_owned(),
        reason,
    };
    // The driver's own timeout ends with the handshake of TCP, which a server that hangs still makes.
    let connected = tokio::time::timeout(timeout, config.connect(NoTls)).await;
    let connected =
        connected.map_err(|_| unreachable("it took longer than `connect_timeout_ms`".to_owned()))?;
    let (mut client, connection) = connected.map_err(|error| {
        let (at, why) = (at.to_owned(), reason(&error));
        if gone(&error) {
            unreachable(why)
        } else {
            OpenError::Failed { at, reason: why }
        }
    })?;
    let task = tokio::spawn(connection);
    let result = locked(&mut client, at).await;
    // The lock goes with the connection.
    drop(client);
    let _ = task.await;
    result
}

async fn locked(client: &mut Client, at: &str) -> Result<i64, OpenError> {
    let fail = |reason: String| OpenError::Failed {
        at: at.to_owned(),
        reason,
    };
    let lock = client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await;
    lock.map_err(|error| fail(reason(&error)))?;
    let runner = embedded::migrations::runner();
    let known = runner
        .get_migrations()
        .iter()
        .map(|m| i64::from(m.version()))
        .max();
    let known = known.expect("the crate has migrations");
    let found = schema_version(client)
        .await
        .map_err(|error| fail(reason(&error)))?;
    if found > known {
        let at = at.to_owned();
        return Err(OpenError::Newer { at, found, known });
    }
    runner
        .run_async(client)
        .await
        .map_err(|error| fail(error.to_string()))?;
    let number = client.query_one(others::DRAW, &[]).await;
    Ok(number.map_err(|error| fail(reason(&error)))?.get(0))
}

async fn schema_version(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let table = client
        .query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[])
        .await?;
    if !table.get::<_, bool>(0) {
        return Ok(0);
    }
    let sql = "SELECT coalesce(max(version), 0)::bigint FROM refinery_schema_history";
    Ok(client.query_one(sql, &[]).await?.get(0))
}
