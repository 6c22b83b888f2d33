//! `interconnect delivery give-up`: what is owed to an endpoint that nobody will configure again.

use clap::Args;
use jiff::Timestamp;
use ledger::{Attempt, Delivery, DeliveryFilter, DeliveryState, Ledger, LedgerError, Next};
use serde_json::json;

use super::super::names::is_configured;
use super::super::progress::Progress;
use super::super::{Exit, Out};
use super::AT_A_TIME_MAX;
use crate::config::Config;

/// Of whom, and by whom.
#[derive(Args)]
pub(crate) struct GiveUpArgs {
    /// The endpoint, as it was named.
    #[arg(long, value_name = "NAME")]
    endpoint: String,
    /// Only count them.
    #[arg(long)]
    dry_run: bool,
}

impl GiveUpArgs {
    /// The endpoint.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

pub(super) async fn run(
    ledger: &dyn Ledger,
    config: &Config,
    args: &GiveUpArgs,
    now: Timestamp,
    out: &Out,
) -> Result<Exit, LedgerError> {
    let name = &args.endpoint;
    if is_configured(name, config) {
        out.fails(&format!(
            "`{name}` is configured, so that it is sent what it is owed; take it out of the configuration first, or let it \
             wait with: interconnect endpoint pause {name}"
        ));
        return Ok(Exit::Usage);
    }
    let mut progress = Progress::begin();
    progress.step("counting deliveries", None);
    let total = count(ledger, name, &mut progress).await?;
    let mut given_up = 0;
    if !args.dry_run {
        progress.step("giving up deliveries", Some(total));
        // Where one waits for another, it is due when that has ended: so there may be more of them then.
        loop {
            let due = of(ledger, name, DeliveryState::Due, None).await?;
            if due.is_empty() {
                break;
            }
            given_up += due.len() as u64;
            let ended = due.iter().map(|delivery| ended(delivery, now)).collect();
            ledger.settle(None, ended).await?;
            progress.at(given_up);
        }
    }
    progress.end();
    let count = if args.dry_run { total } else { given_up };
    out.data(
        json!({"given_up": count, "dry_run": args.dry_run}),
        || match args.dry_run {
            true => format!("{count} deliveries would be given up"),
            false => format!(
                "{count} deliveries are given up; retry them when there is an endpoint `{name}` again"
            ),
        },
    );
    Ok(Exit::Ok)
}

/// How many wait.
async fn count(ledger: &dyn Ledger, name: &str, progress: &mut Progress) -> Result<u64, LedgerError> {
    let mut count = 0;
    for state in [DeliveryState::Due, DeliveryState::Held] {
        let mut after = None;
        loop {
            let page = of(ledger, name, state, after).await?;
            count += page.len() as u64;
            progress.at(count);
            after = page.last().map(|delivery| delivery.id);
            if page.len() < AT_A_TIME_MAX {
                break;
            }
        }
    }
    Ok(count)
}

async fn of(
    ledger: &dyn Ledger,
    name: &str,
    state: DeliveryState,
    after: Option<model::DeliveryId>,
) -> Result<Vec<Delivery>, LedgerError> {
    let filter = DeliveryFilter {
        endpoint: Some(name.to_owned()),
        state: Some(state),
        ..DeliveryFilter::default()
    };
    ledger.list_deliveries(&filter, after, AT_A_TIME_MAX).await
}

/// The row that ends a delivery; nothing was sent.
fn ended(delivery: &Delivery, now: Timestamp) -> Attempt {
    Attempt {
        delivery: delivery.id,
        number: delivery.attempts + 1,
        at: now,
        duration_ms: 0,
        status: None,
        error: "given up by hand: its endpoint is not configured".to_owned(),
        next: Next::Dead,
        told: None,
    }
}
