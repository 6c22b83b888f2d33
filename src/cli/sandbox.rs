//! `interconnect sandbox`: emulated systems and partners to try things against.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use clap::Args;
use sandbox::{PartnerSettings, Sandbox, Settings, SystemClock};
use serde_json::{Map, Value as Json, json};

use super::serve::stop_signal;
use super::{Exit, Out};

/// What to emulate.
#[derive(Args)]
#[command(after_help = "Examples:\n  interconnect sandbox\n  \
    interconnect sandbox --salesforce-port 8081 --hubspot-port 8082 --partner northwind --json\n\n\
    Faults, rows and counts of calls are under /_sandbox/ of each address.")]
pub(crate) struct SandboxArgs {
    /// The port of Salesforce; any free one when 0.
    #[arg(long, default_value_t = 0)]
    salesforce_port: u16,
    /// The port of Salesforce's Pub/Sub API; any free one when 0.
    #[arg(long, default_value_t = 0)]
    salesforce_stream_port: u16,
    /// The port of HubSpot; any free one when 0.
    #[arg(long, default_value_t = 0)]
    hubspot_port: u16,
    /// A partner that receives and verifies webhooks; may be given several times.
    #[arg(long = "partner", value_name = "NAME")]
    partners: Vec<String>,
    /// Salesforce replaces a refresh token with every use.
    #[arg(long)]
    rotate_refresh_tokens: bool,
    /// How many seconds the systems' clocks are behind: so old is what is made now, for whoever reads it.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    clock_behind_s: u32,
    /// Draws all ids: the same seed gives the same ids.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) async fn run(args: &SandboxArgs, out: &Out) -> Exit {
    let at = |port: u16| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let partners = args
        .partners
        .iter()
        .map(|name| PartnerSettings::new(name, crate::demo::secret(name)));
    let settings = Settings {
        salesforce: at(args.salesforce_port),
        salesforce_stream: at(args.salesforce_stream_port),
        hubspot: at(args.hubspot_port),
        partners: partners.collect(),
        seed: args.seed,
        clock: Arc::new(SystemClock::behind_ms(i64::from(args.clock_behind_s) * 1_000)),
        salesforce_rotates_tokens: args.rotate_refresh_tokens,
        ..Settings::default()
    };
    let running = match Sandbox::start(settings).await {
        Ok(running) => running,
        Err(error) => return out.fail(&error.to_string()),
    };
    let (client_id, client_secret) = running.salesforce.client();
    let partners: Map<String, Json> = running
        .partners
        .iter()
        .map(|p| {
            (
                p.name().to_owned(),
                json!({"url": p.url(), "secret": p.secret().expose()}),
            )
        })
        .collect();
    // These are not secrets: they are constants of the emulation, and of no use anywhere else.
    let said = json!({
        "salesforce": {"url": running.salesforce.url(), "client_id": client_id, "client_secret": client_secret.expose(),
            "refresh_token": running.salesforce.refresh_token().expose(), "stream_url": running.salesforce.stream_url()},
        "hubspot": {"url": running.hubspot.url(), "token": running.hubspot.private_app_token().expose()},
        "partners": partners,
    });
    if out.json {
        out.line(&said.to_string());
    } else {
        out.line(&serde_json::to_string_pretty(&said).expect("JSON values serialise"));
        out.note("stop it with Ctrl-C");
    }
    stop_signal().await;
    running.shutdown().await;
    Exit::Ok
}
