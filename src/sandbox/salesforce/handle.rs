//! The library's way into an emulated Salesforce organisation: its address, its credentials, its rows.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use super::rows::By;
use super::soql::plan::{Item, show};
use super::{
    CLIENT_ID, CLIENT_SECRET, INTEGRATION_REFRESH_TOKEN, REP_PASSWORD, REP_REFRESH_TOKEN, REP_USERNAME,
    System,
};
use crate::calls::Calls;
use crate::control::{RowError, Tabled};
use crate::faults::FaultBook;
use crate::secret::Secret;

/// Rows as the library shows them carry the newest version in their addresses.
const SHOWN_VERSION: &str = "v68.0";

/// A running organisation. Rows read and written through it are not counted as calls.
#[derive(Clone)]
pub struct Salesforce {
    pub(crate) addr: SocketAddr,
    pub(crate) stream_addr: SocketAddr,
    pub(crate) system: Arc<System>,
}

impl std::fmt::Debug for Salesforce {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Salesforce")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl Salesforce {
    /// Where it listens: `http://127.0.0.1:41234`. It is login host and instance in one.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where its Pub/Sub API listens: `http://127.0.0.1:41235`, HTTP/2 without TLS.
    #[must_use]
    pub fn stream_url(&self) -> String {
        format!("http://{}", self.stream_addr)
    }

    /// The consumer key and secret for client credentials.
    #[must_use]
    pub fn client(&self) -> (&'static str, Secret) {
        (CLIENT_ID, Secret::new(CLIENT_SECRET))
    }

    /// The refresh token of the integration's user, until it is rotated.
    #[must_use]
    pub fn refresh_token(&self) -> Secret {
        Secret::new(INTEGRATION_REFRESH_TOKEN)
    }

    /// The refresh token of the sales representative, until it is rotated.
    #[must_use]
    pub fn representative_refresh_token(&self) -> Secret {
        Secret::new(REP_REFRESH_TOKEN)
    }

    /// User name and password of the sales representative.
    #[must_use]
    pub fn representative(&self) -> (&'static str, Secret) {
        (REP_USERNAME, Secret::new(REP_PASSWORD))
    }

    /// The organisation's id, 18 characters.
    #[must_use]
    pub fn org_id(&self) -> &str {
        &self.system.users.org
    }

    /// The id of the integration's user.
    #[must_use]
    pub fn integration_user_id(&self) -> &str {
        &self.system.users.integration
    }

    /// Creates a row as a person at the screen would, and gives its id.
    ///
    /// # Errors
    /// When the object is unknown or Salesforce would refuse the row.
    pub fn insert(&self, object: &str, row: &Value) -> Result<String, RowError> {
        self.system.insert(object, row)
    }

    /// Changes fields of a row as a person at the screen would.
    ///
    /// # Errors
    /// When the row is unknown or Salesforce would refuse the change.
    pub fn update(&self, object: &str, id: &str, change: &Value) -> Result<(), RowError> {
        self.system.edit(object, id, change)
    }

    /// Puts a row into the recycle bin.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn delete(&self, object: &str, id: &str) -> Result<(), RowError> {
        self.system.remove(object, id)
    }

    /// Every row of an object with every field, deleted ones too, in order of creation.
    ///
    /// # Errors
    /// When the object is unknown.
    pub fn rows(&self, object: &str) -> Result<Vec<Value>, RowError> {
        self.system.rows(object)
    }

    /// What was called since the start or the last reset.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.system.calls.read()
    }

    /// Sets the counters back to nothing.
    pub fn reset_calls(&self) {
        self.system.calls.reset();
    }

    /// The switches for faults.
    #[must_use]
    pub fn faults(&self) -> &FaultBook {
        &self.system.faults
    }
}

impl System {
    fn at_the_screen(&self) -> By<'_> {
        By {
            user: &self.users.admin,
            now_ms: self.clock.now_ms(),
            origin: "com/salesforce/api/soap/67.0;client=SfdcInternalAPI/",
            faults: None,
        }
    }

    fn no_such_object(object: &str) -> RowError {
        let names: Vec<_> = super::schema::Schema::get()
            .objects
            .iter()
            .map(|object| object.name)
            .collect();
        RowError(format!(
            "there is no object `{object}` at Salesforce; there are {}",
            names.join(", ")
        ))
    }
}

impl Tabled for System {
    fn rows(&self, object: &str) -> Result<Vec<Value>, RowError> {
        let org = self.org();
        let (table, definition) = org
            .schema
            .object(object)
            .ok_or_else(|| Self::no_such_object(object))?;
        let items: Vec<Item> = (0..definition.fields.len()).map(Item::Field).collect();
        Ok((0..org.tables[table].rows.len())
            .map(|row| show(&org, table, row, &items, SHOWN_VERSION))
            .collect())
    }

    fn insert(&self, object: &str, row: &Value) -> Result<String, RowError> {
        let mut org = self.org();
        let (table, _) = org
            .schema
            .object(object)
            .ok_or_else(|| Self::no_such_object(object))?;
        let fields = row
            .as_object()
            .ok_or_else(|| RowError("a row is a JSON object".into()))?;
        org.create(table, fields, &self.at_the_screen())
            .map_err(|refusal| RowError(format!("{}: {}", refusal.code, refusal.message)))
    }

    fn hide(&self, object: &str, field: &str, hide: bool) -> Result<(), RowError> {
        let schema = super::schema::Schema::get();
        let (_, definition) = schema
            .object(object)
            .ok_or_else(|| Self::no_such_object(object))?;
        if definition.hide(field, hide) {
            return Ok(());
        }
        Err(RowError(format!("{object} has no field `{field}`")))
    }

    fn edit(&self, object: &str, id: &str, change: &Value) -> Result<(), RowError> {
        let mut org = self.org();
        let (table, _) = org
            .schema
            .object(object)
            .ok_or_else(|| Self::no_such_object(object))?;
        let row = org
            .find(table, id)
            .ok_or_else(|| RowError(format!("{object} has no row `{id}`")))?;
        let fields = change
            .as_object()
            .ok_or_else(|| RowError("a change is a JSON object".into()))?;
        org.update(table, row, fields, &self.at_the_screen())
            .map_err(|refusal| RowError(format!("{}: {}", refusal.code, refusal.message)))
    }

    fn remove(&self, object: &str, id: &str) -> Result<(), RowError> {
        let mut org = self.org();
        let (table, _) = org
            .schema
            .object(object)
            .ok_or_else(|| Self::no_such_object(object))?;
        let row = org
            .find(table, id)
            .ok_or_else(|| RowError(format!("{object} has no row `{id}`")))?;
        org.delete(table, row, &self.at_the_screen())
            .map_err(|refusal| RowError(format!("{}: {}", refusal.code, refusal.message)))
    }
}
