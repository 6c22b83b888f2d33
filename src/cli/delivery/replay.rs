//! `interconnect delivery replay`: many deliveries sent again.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use ledger::{DeliveryState, Ledger, LedgerError, Replay, ReplayState, Wanted};
use model::ReplayId;
use relay::Replayer;
use serde_json::{Value as Json, json};

use super::super::out::table;
use super::super::progress::Progress;
use super::super::{Exit, Out};
use super::{Which, not_again, usage};
use crate::world::RealWorld;

/// Replays that are listed.
const SHOWN: usize = 50;
/// How often a replay is looked at that is waited for, in milliseconds.
const LOOK_EVERY_MS: u64 = 200;

/// Which deliveries, and how.
#[derive(Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    which: Which,
    /// Received before so long: 30m, 2h, 1d.
    #[arg(long, value_name = "SPAN")]
    until: Option<String>,
    /// Of this type, or group: deal.won, deal.*.
    #[arg(long, value_name = "TYPE")]
    event: Option<String>,
    /// Those that arrived, too.
    #[arg(long)]
    arrived: bool,
    /// Only count them.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Stay until all of them were made due; an interruption leaves the replay as it is.
    #[arg(long)]
    wait: bool,
}

impl ReplayArgs {
    /// The endpoint, where one is named.
    pub(super) fn endpoint(&self) -> Option<&str> {
        self.which.endpoint.as_deref()
    }

    fn wanted(&self, now: Timestamp) -> Result<Wanted, String> {
        let mut filter = self.which.filter(now)?;
        filter.until = self
            .until
            .as_deref()
            .map(|text| super::before(text, now))
            .transpose()?;
        filter.event_type.clone_from(&self.event);
        if filter == ledger::DeliveryFilter::default() {
            return Err("say which: --endpoint, --state, --since, --until or --event".to_owned());
        }
        if filter.state == Some(DeliveryState::Held) {
            return Err("those that are held wait for their turn, and are not replayed".to_owned());
        }
        if filter.state == Some(DeliveryState::Folded) {
            return Err("a newer one went instead of each that is folded; replay those".to_owned());
        }
        // Who asks for those that arrived means them.
        let arrived = self.arrived || filter.state == Some(DeliveryState::Delivered);
        Ok(Wanted { filter, arrived })
    }
}

fn replayer(ledger: &Arc<dyn Ledger>, only_pulled: Vec<String>) -> Replayer {
    // The hub does the work; here replays are only noted.
    Replayer::new(
        ledger.clone(),
        only_pulled,
        Arc::new(|_: &str| {}),
        Arc::new(Timestamp::now),
        Arc::new(RealWorld::id_bytes),
        "command",
        1,
    )
}

pub(super) async fn begin(
    ledger: &Arc<dyn Ledger>,
    only_pulled: Vec<String>,
    args: &ReplayArgs,
    now: Timestamp,
    out: &Out,
) -> Result<Exit, LedgerError> {
    let wanted = match args.wanted(now) {
        Ok(wanted) => wanted,
        Err(error) => return Ok(usage(out, &error)),
    };
    let replayer = replayer(ledger, only_pulled);
    if args.dry_run {
        let total = match replayer.count(&wanted).await {
            Ok(total) => total,
            Err(refused) => return not_again(refused, out),
        };
        out.data(json!({"total": total, "dry_run": true}), || {
            format!("{total} deliveries would be sent again")
        });
        return Ok(Exit::Ok);
    }
    let replay = match replayer.begin(&wanted).await {
        Ok(replay) => replay,
        Err(refused) => return not_again(refused, out),
    };
    out.note(&format!(
        "{} deliveries are sent again by {}",
        replay.total, replay.id
    ));
    let replay = match args.wait {
        true => wait(&**ledger, replay).await?,
        false => replay,
    };
    out.data(json_of(&replay), || {
        format!(
            "{}: {} of {} are due; see `interconnect delivery replays`",
            replay.id, replay.begun, replay.total
        )
    });
    Ok(Exit::Ok)
}

/// Waits until a replay has ended, and shows how far it has come.
async fn wait(ledger: &dyn Ledger, mut replay: Replay) -> Result<Replay, LedgerError> {
    let mut progress = Progress::begin();
    progress.step("sending again", Some(replay.total));
    while replay.state == ReplayState::Running {
        tokio::time::sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
        if let Some(now) = ledger.replay(replay.id).await? {
            replay = now;
        }
        progress.at(replay.begun);
    }
    progress.end();
    Ok(replay)
}

pub(super) async fn list(ledger: &dyn Ledger, out: &Out) -> Result<Exit, LedgerError> {
    let replays = ledger.replays(None, SHOWN).await?;
    let json: Vec<Json> = replays.iter().map(json_of).collect();
    out.data(json!({"data": json}), || {
        let row = |replay: &Replay| {
            vec![
                replay.id.to_string(),
                replay.state.word().to_owned(),
                format!("{} of {}", replay.begun, replay.total),
                replay.made_at.to_string(),
                replay.ended_at.map(|at| at.to_string()).unwrap_or_default(),
            ]
        };
        let rows: Vec<Vec<String>> = replays.iter().map(row).collect();
        table(&["id", "state", "due again", "made", "ended"], &rows)
    });
    Ok(Exit::Ok)
}

pub(super) async fn cancel(ledger: &Arc<dyn Ledger>, id: &str, out: &Out) -> Result<Exit, LedgerError> {
    let Some(replay) = model::read_id::<_>(id).map(|id: ReplayId| id) else {
        return Ok(usage(
            out,
            &format!("`{id}` is not the id of a replay; they look like rpl_…"),
        ));
    };
    let cancelled = replayer(ledger, Vec::new()).cancel(replay).await?;
    match ledger.replay(replay).await? {
        None => Ok(out.fail(&format!(
            "there is no replay `{id}`; see `interconnect delivery replays`"
        ))),
        Some(found) if !cancelled => Ok(out.fail(&format!("the replay is {} already", found.state.word()))),
        Some(found) => {
            out.data(json_of(&found), || {
                format!(
                    "{id} is cancelled; {} of {} were made due",
                    found.begun, found.total
                )
            });
            Ok(Exit::Ok)
        }
    }
}

fn json_of(replay: &Replay) -> Json {
    json!({
        "id": replay.id.to_string(), "state": replay.state.word(), "total": replay.total, "begun": replay.begun,
        "made_at": replay.made_at.to_string(), "ended_at": replay.ended_at.map(|at| at.to_string()),
    })
}
