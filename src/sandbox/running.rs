//! Starting and stopping a whole sandbox.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::clock::{Clock, SystemClock};
use crate::hubspot::{self, HubSpot};
use crate::listen::{ListenError, Port, open, without_trailing_slash};
use crate::partner::{self, BadSecret, Partner};
use crate::salesforce::{self, Salesforce};
use crate::secret::Secret;

/// How long a Salesforce token is valid by default: two hours, as in a new organisation.
const SALESFORCE_TOKEN_LIFE_MS: i64 = 2 * 60 * 60 * 1_000;
/// How long a HubSpot token is valid by default.
const HUBSPOT_TOKEN_LIFE_MS: i64 = 30 * 60 * 1_000;

/// A partner to be emulated.
#[derive(Debug, Clone)]
pub struct PartnerSettings {
    /// What to call it.
    pub name: String,
    /// The secret it verifies with, `whsec_…`.
    pub secret: Secret,
    /// Where it listens; port 0 takes a free one.
    pub addr: SocketAddr,
}

impl PartnerSettings {
    /// A partner on a free port of the loopback address.
    pub fn new(name: impl Into<String>, secret: Secret) -> Self {
        Self {
            name: name.into(),
            secret,
            addr: loopback(),
        }
    }
}

/// How a sandbox is set up. [`Settings::default`] takes free ports of the loopback address and has no partners.
#[derive(Clone)]
pub struct Settings {
    /// Where Salesforce listens; port 0 takes a free one.
    pub salesforce: SocketAddr,
    /// Where the Pub/Sub API of Salesforce listens; port 0 takes a free one.
    pub salesforce_stream: SocketAddr,
    /// Where HubSpot listens; port 0 takes a free one.
    pub hubspot: SocketAddr,
    /// The partners.
    pub partners: Vec<PartnerSettings>,
    /// Decides every identifier and token.
    pub seed: u64,
    /// The time everything is stamped with.
    pub clock: Arc<dyn Clock>,
    /// How long a Salesforce token is valid, in milliseconds.
    pub salesforce_token_life_ms: i64,
    /// Whether Salesforce replaces a refresh token with every use.
    pub salesforce_rotates_tokens: bool,
    /// How long a HubSpot token is valid, in milliseconds.
    pub hubspot_token_life_ms: i64,
    /// How far HubSpot's search index always lags, in milliseconds; a fault can say otherwise for a while.
    pub search_lag_ms: u64,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Settings")
            .field("salesforce", &self.salesforce)
            .field("salesforce_stream", &self.salesforce_stream)
            .field("hubspot", &self.hubspot)
            .field("partners", &self.partners)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            salesforce: loopback(),
            salesforce_stream: loopback(),
            hubspot: loopback(),
            partners: Vec::new(),
            seed: 1,
            clock: Arc::new(SystemClock::default()),
            salesforce_token_life_ms: SALESFORCE_TOKEN_LIFE_MS,
            salesforce_rotates_tokens: false,
            hubspot_token_life_ms: HUBSPOT_TOKEN_LIFE_MS,
            search_lag_ms: 0,
        }
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A sandbox that could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A partner's secret is not one.
    #[error("the secret of partner `{name}` cannot be used: {source}")]
    Secret {
        /// The partner.
        name: String,
        /// What is wrong with it.
        #[source]
        source: BadSecret,
    },
}

/// Starts sandboxes.
#[derive(Debug, Clone, Copy)]
pub struct Sandbox;

/// A running sandbox. Dropping it stops it without waiting for open requests.
#[derive(Debug)]
pub struct Running {
    /// The Salesforce organisation.
    pub salesforce: Salesforce,
    /// The HubSpot account.
    pub hubspot: HubSpot,
    /// The partners, in the order of the settings.
    pub partners: Vec<Partner>,
    ports: Vec<Port>,
    sender: JoinHandle<()>,
}

impl Sandbox {
    /// Opens every port and serves until [`Running::shutdown`].
    ///
    /// # Errors
    /// When a port cannot be opened or a partner's secret is malformed.
    pub async fn start(settings: Settings) -> Result<Running, StartError> {
        let Settings { clock, seed, .. } = settings;
        let system = Arc::new(salesforce::System::new(
            Arc::clone(&clock),
            seed,
            settings.salesforce_token_life_ms,
            settings.salesforce_rotates_tokens,
        ));
        let port = open(
            "Salesforce",
            settings.salesforce,
            salesforce::router(&system),
            without_trailing_slash,
        )
        .await?;
        let stream = open(
            "the Pub/Sub API of Salesforce",
            settings.salesforce_stream,
            salesforce::pubsub::router(&system),
            |_| None,
        )
        .await?;
        let salesforce = Salesforce {
            addr: port.addr,
            stream_addr: stream.addr,
            system,
        };
        let mut ports = vec![port, stream];

        let system = Arc::new(hubspot::System::new(
            Arc::clone(&clock),
            seed,
            settings.hubspot_token_life_ms,
            settings.search_lag_ms,
        ));
        let port = open(
            "HubSpot",
            settings.hubspot,
            hubspot::router(&system),
            hubspot::respell,
        )
        .await?;
        let hubspot = HubSpot {
            addr: port.addr,
            system: Arc::clone(&system),
        };
        ports.push(port);

        let mut partners = Vec::with_capacity(settings.partners.len());
        for PartnerSettings { name, secret, addr } in settings.partners {
            let receiver =
                partner::Receiver::new(&secret, Arc::clone(&clock)).map_err(|source| StartError::Secret {
                    name: name.clone(),
                    source,
                })?;
            let receiver = Arc::new(receiver);
            let port = open(
                &format!("partner {name}"),
                addr,
                partner::router(&receiver),
                |_| None,
            )
            .await?;
            partners.push(Partner {
                name,
                addr: port.addr,
                secret,
                receiver,
            });
            ports.push(port);
        }
        let sender = tokio::spawn(hubspot::send_for_ever(system));
        Ok(Running {
            salesforce,
            hubspot,
            partners,
            ports,
            sender,
        })
    }
}

impl Running {
    /// The partner with this name.
    #[must_use]
    pub fn partner(&self, name: &str) -> Option<&Partner> {
        self.partners.iter().find(|partner| partner.name == name)
    }

    /// Stops accepting, lets open requests finish for a moment, and ends.
    pub async fn shutdown(mut self) {
        for port in std::mem::take(&mut self.ports) {
            port.close().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.sender.abort();
    }
}
