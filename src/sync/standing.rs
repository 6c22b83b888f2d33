//! Whether a connection may be used at all.
//!
//! A connection is *pinned* to the account that it was first used with: with credentials of another account it is
//! stopped, because its links name objects of the first one.
//! It is stopped, too, when the system refuses its credentials: asking again and again locks accounts.
//! What stops it stands in the ledger until a person has looked after it; a process that starts asks once more, for
//! starting it is what a person does after correcting its settings.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use connector::{Class, Connection, Failure};
use ledger::Standing;

use crate::Engine;
use crate::engine::SyncError;

/// The code of a standing whose credentials are refused.
pub const REVOKED: &str = "revoked";
/// The code of a standing whose credentials belong to another account.
pub const OTHER_ACCOUNT: &str = "other_account";

/// What this process knows of each connection: whether it may be used.
pub(crate) type Known = std::sync::Mutex<BTreeMap<String, bool>>;

impl Engine {
    /// The connection, when it may be used.
    pub(crate) async fn ready(&self, connection: &str, object: &str) -> Result<Arc<Connection>, SyncError> {
        let system = self.known(connection, object)?.clone();
        let standing = self.ledger.standings(Some(connection)).await?.pop();
        let stopped = standing.as_ref().filter(|standing| standing.is_stopped());
        match (self.known_to_work(connection), stopped) {
            (Some(true), None) => return Ok(system),
            // Another process has stopped it, or this one has, and nobody has looked after it since.
            (Some(_), Some(stopped)) => {
                return Err(SyncError::Stopped {
                    connection: connection.to_owned(),
                    reason: stopped.reason.clone(),
                });
            }
            (None, _) | (Some(false), None) => {}
        }
        let identity = system.identity().await.map_err(|failure| SyncError::System {
            connection: connection.to_owned(),
            failure,
        });
        let account = self.watched(connection, identity).await?.tenant;
        match standing.as_ref().and_then(|standing| standing.account.as_deref()) {
            Some(pinned) if pinned != account => {
                let reason = format!(
                    "the credentials belong to account {account}, its records to account {pinned}: correct the \
                     credentials, or go on with the new account by `interconnect connection resume {connection} \
                     --account {account}`"
                );
                let pinned = Some(pinned.to_owned());
                return Err(self.stop(connection, pinned, OTHER_ACCOUNT, reason).await?);
            }
            pinned => {
                if pinned.is_none() || stopped.is_some() {
                    self.stands(connection, Some(account), "", String::new()).await?;
                }
            }
        }
        self.learn(connection, true);
        Ok(system)
    }

    /// Passes a result on; when it says that the credentials are refused, the connection is stopped.
    pub(crate) async fn watched<T>(
        &self,
        connection: &str,
        result: Result<T, SyncError>,
    ) -> Result<T, SyncError> {
        let refused = |failure: &Failure| failure.class == Class::AuthRevoked;
        if let Err(SyncError::System { failure, .. }) = &result
            && refused(failure)
        {
            let standing = self.ledger.standings(Some(connection)).await?.pop();
            let reason = format!(
                "{failure}; then let it go on by `interconnect connection resume {connection}`, or start the hub anew"
            );
            let account = standing.and_then(|standing| standing.account);
            return Err(self.stop(connection, account, REVOKED, reason).await?);
        }
        result
    }

    async fn stop(
        &self,
        connection: &str,
        account: Option<String>,
        code: &str,
        reason: String,
    ) -> Result<SyncError, SyncError> {
        tracing::error!(connection, code, reason, "a connection is stopped");
        self.learn(connection, false);
        self.stands(connection, account, code, reason.clone()).await?;
        Ok(SyncError::Stopped {
            connection: connection.to_owned(),
            reason,
        })
    }

    async fn stands(
        &self,
        connection: &str,
        account: Option<String>,
        code: &str,
        reason: String,
    ) -> Result<(), SyncError> {
        let standing = Standing {
            connection: connection.to_owned(),
            account,
            code: code.to_owned(),
            reason,
            since: self.world.now(),
        };
        Ok(self.ledger.note_standing(&standing).await?)
    }

    fn known_to_work(&self, connection: &str) -> Option<bool> {
        let known = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(connection).copied()
    }

    fn learn(&self, connection: &str, works: bool) {
        let mut known = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(connection.to_owned(), works);
    }
}
