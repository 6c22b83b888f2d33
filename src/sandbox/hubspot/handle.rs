//! The library's way into an emulated HubSpot account: its address, its credentials, its rows, its webhooks.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::account::{Owner, SCREEN_USER, all_owners, leave, owner_id};
use super::event::Source;
use super::kind::Kind;
use super::problem::Problem;
use super::rows::By;
use super::show::{self, Wanted};
use super::webhooks::{WebhookCounts, WebhookTarget};
use super::{CLIENT_ID, CLIENT_SECRET, OTHER_APP_TOKEN, PRIVATE_APP_TOKEN, REFRESH_TOKEN, System};
use crate::calls::Calls;
use crate::control::{RowError, Tabled};
use crate::faults::FaultBook;
use crate::secret::Secret;

/// What stands for the people who may own rows, where an object is named: they can be added, and leave.
const OWNERS: &str = "owners";

/// A running account. Rows read and written through it are not counted as calls.
#[derive(Clone)]
pub struct HubSpot {
    pub(crate) addr: SocketAddr,
    pub(crate) system: Arc<System>,
}

impl std::fmt::Debug for HubSpot {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("HubSpot")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl HubSpot {
    /// Where it listens: `http://127.0.0.1:41234`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The private token of the integration's app.
    #[must_use]
    pub fn private_app_token(&self) -> Secret {
        Secret::new(PRIVATE_APP_TOKEN)
    }

    /// The private token of another app, for changes that are not the integration's.
    #[must_use]
    pub fn other_app_token(&self) -> Secret {
        Secret::new(OTHER_APP_TOKEN)
    }

    /// The client id and secret of the integration's app; the secret also signs webhooks.
    #[must_use]
    pub fn client(&self) -> (&'static str, Secret) {
        (CLIENT_ID, Secret::new(CLIENT_SECRET))
    }

    /// The refresh token of the integration's app.
    #[must_use]
    pub fn refresh_token(&self) -> Secret {
        Secret::new(REFRESH_TOKEN)
    }

    /// Creates a row as a person at the screen would, and gives its id. `row` is an object of properties; of `owners`, it
    /// has an `email`.
    ///
    /// # Errors
    /// When the kind is unknown or HubSpot would refuse the row.
    pub fn insert(&self, object: &str, row: &Value) -> Result<String, RowError> {
        self.system.insert(object, row)
    }

    /// Changes properties of a row as a person at the screen would.
    ///
    /// # Errors
    /// When the row is unknown or HubSpot would refuse the change.
    pub fn update(&self, object: &str, id: &str, change: &Value) -> Result<(), RowError> {
        self.system.edit(object, id, change)
    }

    /// Archives a row; an owner leaves.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn delete(&self, object: &str, id: &str) -> Result<(), RowError> {
        self.system.remove(object, id)
    }

    /// Associates two rows by the plain type, as a person at the screen would.
    ///
    /// # Errors
    /// When a kind or a row is unknown.
    pub fn associate(&self, from: (&str, &str), to: (&str, &str)) -> Result<(), RowError> {
        let ends =
            [from, to].map(|(object, id)| Ok::<_, RowError>((kind_of(object)?, id.parse::<u64>().ok())));
        let [from, to] = ends;
        let ((from, Some(from_id)), (to, Some(to_id))) = (from?, to?) else {
            return Err(RowError("an id of a row is a number".into()));
        };
        self.system.write(|portal| {
            if portal.row(from, from_id).is_none() || portal.row(to, to_id).is_none() {
                return Err(RowError("one of the two rows does not exist".into()));
            }
            let type_id = super::associations::default_type(from, to);
            super::links::associate(
                portal,
                (from, from_id),
                (to, to_id),
                type_id,
                &self.system.at_the_screen(),
            );
            Ok(())
        })
    }

    /// The ids of the rows of a kind that a row is associated with, in order.
    ///
    /// # Errors
    /// When a kind is unknown.
    pub fn associated(&self, from: (&str, &str), to: &str) -> Result<Vec<String>, RowError> {
        let (kind, to) = (kind_of(from.0)?, kind_of(to)?);
        let id = from
            .1
            .parse::<u64>()
            .map_err(|_| RowError("an id of a row is a number".into()))?;
        self.system.write(|portal| {
            Ok(portal
                .links
                .of((kind, id), to)
                .map(|(other, _)| other.to_string())
                .collect())
        })
    }

    /// Every row of a kind with every property that has a value, archived ones too, in order of id.
    ///
    /// # Errors
    /// When the kind is unknown.
    pub fn rows(&self, object: &str) -> Result<Vec<Value>, RowError> {
        self.system.rows(object)
    }

    /// Sends webhooks to this target from now on, or to nobody.
    ///
    /// # Errors
    /// When the target is not an `http://` address.
    pub fn send_webhooks(&self, target: Option<WebhookTarget>) -> Result<(), RowError> {
        self.system.webhooks.aim(target).map_err(RowError)
    }

    /// What became of the webhooks so far.
    #[must_use]
    pub fn webhook_counts(&self) -> WebhookCounts {
        self.system.webhooks.counts()
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

fn kind_of(object: &str) -> Result<Kind, RowError> {
    Kind::named(object).ok_or_else(|| {
        RowError(format!(
            "there is no object `{object}` at HubSpot; there are contacts, companies and deals"
        ))
    })
}

fn told(problem: &Problem) -> RowError {
    RowError(format!("{}: {}", problem.category, problem.message))
}

impl System {
    fn at_the_screen(&self) -> By<'_> {
        By {
            source: Source::Person(SCREEN_USER),
            now_ms: self.clock.now_ms(),
            faults: None,
        }
    }

    fn id_of(&self, kind: Kind, id: &str) -> Result<u64, RowError> {
        let found = self.portal().find(kind, id, None).ok().flatten();
        found.ok_or_else(|| RowError(format!("{} has no row `{id}`", kind.plural())))
    }
}

impl Tabled for System {
    fn rows(&self, object: &str) -> Result<Vec<Value>, RowError> {
        if object == OWNERS {
            return Ok(all_owners(&self.portal().owners));
        }
        let kind = kind_of(object)?;
        let portal = self.portal();
        let all = portal.all(kind).map(|(id, row)| {
            let mut shown = show::row(&portal, kind, id, row, &Wanted::Everything);
            if let Some(associations) = show::associations(&portal, kind, id, &Kind::ALL) {
                shown["associations"] = associations;
            }
            shown
        });
        Ok(all.collect())
    }

    fn insert(&self, object: &str, row: &Value) -> Result<String, RowError> {
        if object == OWNERS {
            let owner = Owner::of(row).ok_or_else(|| RowError("an owner has an `email`".into()))?;
            let mut portal = self.portal();
            portal.owners.push(owner);
            return Ok(owner_id(portal.owners.len() - 1));
        }
        let kind = kind_of(object)?;
        let given = row
            .as_object()
            .ok_or_else(|| RowError("a row is a JSON object of properties".into()))?;
        let id = self
            .write(|portal| portal.create(kind, given, &self.at_the_screen()))
            .map_err(|problem| told(&problem))?;
        Ok(id.to_string())
    }

    fn edit(&self, object: &str, id: &str, change: &Value) -> Result<(), RowError> {
        let kind = kind_of(object)?;
        let id = self.id_of(kind, id)?;
        let given = change
            .as_object()
            .cloned()
            .unwrap_or_else(|| json!({}).as_object().cloned().unwrap_or_default());
        self.write(|portal| portal.update(kind, id, &given, &self.at_the_screen()))
            .map_err(|problem| told(&problem))
    }

    fn remove(&self, object: &str, id: &str) -> Result<(), RowError> {
        if object == OWNERS {
            return match leave(&mut self.portal().owners, id) {
                true => Ok(()),
                false => Err(RowError(format!("there is no owner `{id}`"))),
            };
        }
        let kind = kind_of(object)?;
        let id = self.id_of(kind, id)?;
        self.write(|portal| portal.archive(kind, id, &self.at_the_screen()));
        Ok(())
    }
}
