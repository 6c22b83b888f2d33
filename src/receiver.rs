//! [`Receiver`]: who we are to an endpoint that wants a token of OAuth 2.
//!
//! The token is had, renewed and given up as for a connection, by the connector engine itself: an endpoint is a system of
//! which nothing is known but how to sign in.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use connector::{Connection, Connector, Secret, Secrets, Settings, SystemClock};
use diagnostic::{Report, Source};
use outbound::Guard;
use outbound::header::HeaderValue;
use relay::Authorize;
use serde_json::json;

use crate::config::OAuth2Client;
use crate::hub::{StartError, setting};

/// Signs in at one endpoint.
pub(crate) struct Receiver {
    connection: Connection,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({})", self.connection.name())
    }
}

impl Receiver {
    /// Opens it; nothing is asked yet.
    pub(crate) fn open(endpoint: &str, client: &OAuth2Client, guard: &Guard) -> Result<Receiver, StartError> {
        let mut report = Report::new();
        let connector = Connector::compile(&manifest(&client.scopes), &mut report);
        let connector = connector.ok_or_else(|| setting(report.render(false)))?;
        let mut secrets = Secrets::default();
        secrets.insert("client_id", Secret::new(client.client_id.look_up()?));
        secrets.insert("client_secret", Secret::new(client.client_secret.look_up()?));
        let config = [("token_url".to_owned(), json!(client.token_url))]
            .into_iter()
            .collect();
        let settings = Settings::new(endpoint, config, secrets);
        let http = outbound::Client::new(outbound::Limits::default(), guard.clone()).map_err(setting)?;
        let connection = Connection::open(Arc::new(connector), settings, http, Arc::new(SystemClock));
        let connection = connection.map_err(|error| setting(format!("endpoint `{endpoint}`: {error}")))?;
        Ok(Receiver { connection })
    }
}

#[async_trait]
impl Authorize for Receiver {
    async fn authorization(&self, refused: Option<u64>) -> Result<(u64, HeaderValue), String> {
        let given = self.connection.authorization(refused).await;
        given.map_err(|failure| format!("no token to show: {}", failure.text()))
    }
}

/// An endpoint as a system. Tokens that do not say for how long they hold are taken for five minutes.
fn manifest(scopes: &[String]) -> Source {
    let manifest = json!({
        "apiVersion": "interconnect/v1",
        "kind": "Connector",
        "metadata": {"name": "endpoint", "version": "1.0.0", "title": "an endpoint"},
        "connection": {
            "config": {"token_url": {"help": "where tokens are given"}},
            "secrets": {"client_id": "who we are", "client_secret": "what proves it"},
            "base_url": "{{ config.token_url }}",
            "auth": [{
                "kind": "oauth2_client_credentials", "token_url": "{{ config.token_url }}", "scopes": scopes,
                "assume": "5m", "skew": "30s",
            }],
            "identity": {"request": {"method": "GET", "path": ""}, "tenant": ".id"},
        },
        "objects": {"events": {"id": ".id"}},
    });
    // JSON is YAML.
    Source::new("endpoint.yaml", manifest.to_string())
}
