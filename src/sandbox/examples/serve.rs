//! Runs a sandbox by itself: prints one line of JSON with its addresses, and serves until it is interrupted.
//!
//! `cargo run -p interconnect-sandbox --example serve`, then for instance
//! `node tests/clients/salesforce.mjs check --url http://127.0.0.1:PORT`.

use sandbox::{PartnerSettings, Sandbox, Settings};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the addresses are what this program is for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = sandbox::partner::secret_of(b"the sandbox partner's public key");
    let settings = Settings {
        partners: vec![PartnerSettings::new("harbour", secret)],
        ..Settings::default()
    };
    let running = Sandbox::start(settings).await?;
    let partners: Vec<_> = running
        .partners
        .iter()
        .map(|partner| serde_json::json!({ "name": partner.name(), "url": partner.url() }))
        .collect();
    println!(
        "{}",
        serde_json::json!({ "salesforce": running.salesforce.url(), "hubspot": running.hubspot.url(), "partners": partners })
    );
    tokio::signal::ctrl_c().await?;
    running.shutdown().await;
    Ok(())
}
