//! The demo: one process with the hub, emulated systems and two partners, seeded with an ecosystem.
//!
//! Nothing in here is special to the hub: it runs on a configuration text ([`config_text`]) as any other hub does, and
//! meets the emulated systems only over HTTP.
//! The seeding and the changes are made as people at those systems' screens would make them.

mod compare;
mod ecosystem;
mod life;
mod scenario;

use std::path::Path;
use std::sync::Arc;

use diagnostic::{Report, Source};
use sandbox::{Running, Sandbox};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::hub::Hub;
use crate::start::start;

pub(crate) use compare::disagreements;
pub(crate) use ecosystem::{Seeded, secret};
pub(crate) use life::{Life, narrate};
pub(crate) use scenario::play;

/// The partners of the demo.
pub(crate) const PARTNERS: [&str; 2] = ["northwind", "globex"];

/// A running demo.
pub(crate) struct Demo {
    /// The emulated systems and partners.
    pub(crate) sandbox: Running,
    /// The hub's parts, for looking into.
    pub(crate) hub: Arc<Hub>,
    /// Where the hub listens.
    pub(crate) url: String,
    /// How much both systems had before they were connected.
    pub(crate) seeded: Seeded,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), String>>,
}

impl Demo {
    /// Starts systems and partners, fills the systems, and starts the hub; the ledger lies in a folder.
    pub(crate) async fn start(folder: &Path) -> Result<Demo, String> {
        let clock = Arc::new(ecosystem::SinceYesterday::default());
        let started = Sandbox::start(ecosystem::settings(clock.clone())).await;
        let sandbox = started.map_err(|error| error.to_string())?;
        write_secrets(folder, &sandbox).map_err(|error| error.to_string())?;
        let seeded = ecosystem::seed(&sandbox)?;
        clock.today();
        let config = config_text(&sandbox, folder);
        let hub = open(&config).await?;
        let listener = tokio::net::TcpListener::bind(hub.listen)
            .await
            .map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let (stop, stopped) = oneshot::channel::<()>();
        let hub = Arc::new(hub);
        let serving = hub.clone();
        let served = tokio::spawn(async move {
            let stopped = async move {
                // A demo that is dropped stops like one that is told to.
                let _dropped = stopped.await;
            };
            serving.run(listener, stopped).await
        });
        Ok(Demo {
            sandbox,
            hub,
            url: format!("http://{address}"),
            seeded,
            stop,
            served,
        })
    }

    /// Stops the hub and then the systems.
    pub(crate) async fn stop(self) -> Result<(), String> {
        // The receiver is gone only when the hub has ended already.
        let _ended = self.stop.send(());
        let result = self.served.await.map_err(|error| error.to_string())?;
        self.sandbox.shutdown().await;
        result
    }
}

/// The configuration of the demo's hub, as a user would write it.
fn config_text(sandbox: &Running, folder: &Path) -> String {
    let mut text = format!(
        "listen: 127.0.0.1:0
ledger: sqlite:{ledger}
outbound: {{ allow: [127.0.0.0/8] }}
limits: {{ sweep_every_ms: 500 }}
connections:
  crm:
    system: salesforce
    auth: oauth2_client_credentials
    config: {{ login_url: \"{salesforce}\" }}
    secrets: {{ client_id: \"${{file:{folder}/sf_id}}\", client_secret: \"${{file:{folder}/sf_secret}}\" }}
    currency: EUR
    country: DE
    lag: 0ms
  marketing:
    system: hubspot
    auth: bearer
    config: {{ base_url: \"{hubspot}\" }}
    secrets: {{ access_token: \"${{file:{folder}/hs_token}}\" }}
    currency: EUR
    country: DE
    lag: 0ms
syncs:
",
        ledger = folder.join("hub.db").display(),
        folder = folder.display(),
        salesforce = sandbox.salesforce.url(),
        hubspot = sandbox.hubspot.url(),
    );
    for connection in ["crm", "marketing"] {
        for record in ["partner", "lead", "deal"] {
            text.push_str(&format!(
                "  - {{ connection: {connection}, record: {record}, every: 500ms }}\n"
            ));
        }
    }
    text.push_str(
        "sharing:\n  partners: { preset: co_sell, allow: [from, note], purpose: co_sell }\npartners:\n",
    );
    for name in PARTNERS {
        let url = sandbox
            .partner(name)
            .map(|partner| partner.url())
            .unwrap_or_default();
        text.push_str(&format!(
            "  {name}:
    secrets: [\"${{file:{folder}/{name}}}\"]
    endpoints:
      - name: {name}-hooks
        url: \"{url}/hook\"
        secret: \"${{file:{folder}/{name}}}\"
        events: [deal.*, lead.*, custom.note]
        share: partners
",
            folder = folder.display(),
        ));
    }
    text
}

async fn open(text: &str) -> Result<Hub, String> {
    let source = Source::new("demo.yaml", text);
    let mut report = Report::new();
    let config = Config::read(&source, &mut report);
    let catalogue = config
        .as_ref()
        .map(|config| Catalogue::load(config, &source, &mut report));
    match (config, catalogue) {
        (Some(config), Some(catalogue)) if !report.has_errors() => start(&config, &catalogue, |_| ())
            .await
            .map_err(|error| error.to_string()),
        _ => Err(report.render(false)),
    }
}

/// Puts the sandbox's public credentials where the configuration says they are.
fn write_secrets(folder: &Path, sandbox: &Running) -> std::io::Result<()> {
    let (id, secret) = sandbox.salesforce.client();
    std::fs::write(folder.join("sf_id"), id)?;
    std::fs::write(folder.join("sf_secret"), secret.expose())?;
    std::fs::write(
        folder.join("hs_token"),
        sandbox.hubspot.private_app_token().expose(),
    )?;
    for partner in &sandbox.partners {
        std::fs::write(folder.join(partner.name()), partner.secret().expose())?;
    }
    Ok(())
}
