//! [`Connector`]: a compiled manifest, and what may be asked of it without a connection.

use std::collections::BTreeMap;

use diagnostic::{Report, Source};

use crate::manifest::{AuthKind, Manifest, Object};

/// How to talk to a system.
pub struct Connector {
    pub(crate) manifest: Manifest,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({})", self.manifest.system)
    }
}

/// A way to authorise, and the secrets it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthInfo {
    /// Its name in the settings of a connection.
    pub name: String,
    /// The secrets that must be set.
    pub needs: Vec<String>,
    /// Whether it goes by a refresh token, which the system may replace with every use.
    pub refreshes: bool,
}

impl Connector {
    /// Compiles a manifest; notes every finding, and gives nothing if one is an error.
    pub fn compile(source: &Source, report: &mut Report) -> Option<Connector> {
        // What is wrong with other files of the same report must not hide a finding here.
        let mut own = Report::new();
        let manifest = Manifest::read(source, &mut own);
        report.merge(own);
        manifest.map(|manifest| Connector { manifest })
    }

    /// The system's name: `salesforce`.
    pub fn system(&self) -> &str {
        &self.manifest.system
    }

    /// The system's name for people: `HubSpot CRM`.
    pub fn title(&self) -> &str {
        &self.manifest.title
    }

    /// Whether its objects are cut from what partners post: nobody is called, and nothing is written.
    pub fn is_posted(&self) -> bool {
        self.manifest.posted
    }

    /// The objects that can be read or written.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        self.manifest.objects.keys().map(String::as_str)
    }

    /// The field of an object that holds our record id, if the object can be written.
    pub fn key_field(&self, object: &str) -> Option<&str> {
        let write = self.manifest.objects.get(object)?.write.as_ref()?;
        Some(&write.key)
    }

    /// Whether an object can be deleted, and read by its id before that.
    pub fn deletes(&self, object: &str) -> bool {
        let object = self.manifest.objects.get(object);
        let deletes = |object: &Object| object.write.as_ref().is_some_and(|write| write.delete.is_some());
        object.is_some_and(|object| deletes(object) && object.by_ids.is_some())
    }

    /// The names of references of an object that are read as `associations.<name>`.
    pub fn associations(&self, object: &str) -> Vec<&str> {
        let object = self.manifest.objects.get(object);
        object.map_or_else(Vec::new, |o| o.associations.keys().map(String::as_str).collect())
    }

    /// The configuration keys of a connection, each with its help.
    pub fn config(&self) -> BTreeMap<&str, &str> {
        let config = self.manifest.config.iter();
        config.map(|(name, c)| (name.as_str(), c.help.as_str())).collect()
    }

    /// The values that a configuration key may have; any when there are none.
    pub fn config_options(&self, key: &str) -> &[String] {
        self.manifest
            .config
            .get(key)
            .map_or(&[], |config| &config.options)
    }

    /// The secrets of a connection, each with where to find it.
    pub fn secrets(&self) -> BTreeMap<&str, &str> {
        let secrets = self.manifest.secrets.iter();
        secrets
            .map(|(name, help)| (name.as_str(), help.as_str()))
            .collect()
    }

    /// The ways to authorise, in the order of preference.
    pub fn auth(&self) -> Vec<AuthInfo> {
        let auth = self.manifest.auth.iter();
        auth.map(|a| AuthInfo {
            name: a.name.clone(),
            needs: a.needs.clone(),
            refreshes: matches!(a.kind, AuthKind::Refresh(_) | AuthKind::Code { .. }),
        })
        .collect()
    }

    /// Whether the system sends webhooks that this connector understands.
    pub fn has_webhooks(&self) -> bool {
        self.manifest.webhooks.is_some()
    }
}
