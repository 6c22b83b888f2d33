//! [`Settings`]: what one connection says beside the manifest.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::auth::{MemoryTokens, TokenStore};
use crate::secret::Secrets;

/// One authorised account at a system.
#[derive(Clone)]
pub struct Settings {
    /// The name of the connection.
    pub name: String,
    /// Which way to authorise, by its name in the manifest; the first one if it is left out.
    pub auth: Option<String>,
    /// Values for the manifest's `connection.config`.
    pub config: Map<String, Json>,
    /// Values for the manifest's `connection.secrets`.
    pub secrets: Secrets,
    /// Instead of the lag of the best-effort pass.
    pub lag_ms: Option<u64>,
    /// Instead of the lag of the authoritative pass.
    pub authoritative_lag_ms: Option<u64>,
    /// Instead of how often the authoritative pass runs.
    pub authoritative_every_ms: Option<u64>,
    /// Instead of [`crate::CALL_DEADLINE_MS`].
    pub deadline_ms: Option<u64>,
    /// Where refresh tokens are kept.
    pub tokens: Arc<dyn TokenStore>,
}

impl Settings {
    /// Settings with every override left out, and tokens kept in memory.
    pub fn new(name: impl Into<String>, config: Map<String, Json>, secrets: Secrets) -> Settings {
        Settings {
            name: name.into(),
            auth: None,
            config,
            secrets,
            lag_ms: None,
            authoritative_lag_ms: None,
            authoritative_every_ms: None,
            deadline_ms: None,
            tokens: Arc::new(MemoryTokens::default()),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .field("auth", &self.auth)
            .field("config", &self.config)
            .field("secrets", &self.secrets)
            .field("lag_ms", &self.lag_ms)
            .finish_non_exhaustive()
    }
}
