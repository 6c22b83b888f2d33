//! `interconnect delivery`: webhooks on their way out.

mod give_up;
mod replay;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use ledger::{Delivery, DeliveryFilter, DeliveryState};
use model::DeliveryId;
use relay::{NotAgain, sendable};
use serde_json::{Value as Json, json};

use super::names::{Named, must_be_configured, must_be_known};
use super::out::table;
use super::progress::Progress;
use super::{Common, Exit, Out};
use crate::config::span_ms;
use crate::{hub, partners};

/// What to do with deliveries.
#[derive(Subcommand)]
pub(crate) enum DeliveryCommand {
    /// Deliveries, newest first.
    #[command(after_help = "Example:\n  interconnect delivery list --state dead --since 2h")]
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Make deliveries due again now; those that arrived stay as they are.
    #[command(
        after_help = "Examples:\n  interconnect delivery retry dlv_01h455vb4pex5vsknk084sn02q\n  \
        interconnect delivery retry --endpoint northwind-crm --since 2h --dry-run"
    )]
    Retry {
        /// Their ids.
        ids: Vec<String>,
        #[command(flatten)]
        which: Which,
        /// Only count them.
        #[arg(long)]
        dry_run: bool,
    },
    /// Send deliveries again, each under the webhook-id that it had; the count comes first.
    ///
    /// Those that did not arrive, oldest first, and with --arrived all others, too. It goes on in the background, as fast
    /// as the endpoints take it.
    #[command(
        after_help = "Examples:\n  interconnect delivery replay --endpoint northwind-crm --since 2h --dry-run\n  \
        interconnect delivery replay --endpoint northwind-crm --since 2h --arrived\n  \
        interconnect delivery replay --state dead --event 'deal.*' --wait"
    )]
    Replay(replay::ReplayArgs),
    /// Replays, newest first, and how far they have come.
    Replays,
    /// End a replay; what is due already is still sent.
    Cancel {
        /// Its id.
        id: String,
    },
    /// Give up what is owed to an endpoint that is not configured any more: it is dead, and can be retried.
    #[command(
        name = "give-up",
        after_help = "Example:\n  interconnect delivery give-up --endpoint northwind-old --dry-run"
    )]
    GiveUp(give_up::GiveUpArgs),
    /// The attempts of one delivery.
    Show {
        /// Its id.
        id: String,
    },
}

/// Which deliveries.
#[derive(Args)]
pub(crate) struct Which {
    /// Of this endpoint.
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// In this state: due, held, delivered, dead or folded.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Received since so long: 30m, 2h, 1d.
    #[arg(long, value_name = "SPAN")]
    since: Option<String>,
}

/// Deliveries that are listed, or made due, at a time: a hub that works on the same ledger is not held up for long.
const AT_A_TIME_MAX: usize = 1_000;

impl Which {
    fn filter(&self, now: Timestamp) -> Result<DeliveryFilter, String> {
        let state = self.state.as_deref().map(|word| {
            let state = DeliveryState::parse(word);
            state
                .ok_or_else(|| format!("`{word}` is not a state; write due, held, delivered, dead or folded"))
        });
        let since = self.since.as_deref().map(|text| before(text, now));
        Ok(DeliveryFilter {
            ids: Vec::new(),
            endpoint: self.endpoint.clone(),
            state: state.transpose()?,
            since: since.transpose()?,
            ..DeliveryFilter::default()
        })
    }
}

pub(crate) async fn run(command: &DeliveryCommand, common: &Common, out: &Out) -> Exit {
    let config = match hub::load(&common.config, out) {
        Ok((config, _)) => config,
        Err(exit) => return exit,
    };
    let ledger = match hub::ledger_of(&config, out).await {
        Ok(ledger) => ledger,
        Err(exit) => return exit,
    };
    let named = match command {
        DeliveryCommand::List { which, .. } | DeliveryCommand::Retry { which, .. } => {
            which.endpoint.as_deref()
        }
        DeliveryCommand::Replay(args) => args.endpoint(),
        DeliveryCommand::GiveUp(args) => Some(args.endpoint()),
        _ => None,
    };
    if let Err(exit) = must_be_known(named.map(Named::Endpoint), &config, &*ledger, out).await {
        return exit;
    }
    if matches!(
        command,
        DeliveryCommand::Retry { .. } | DeliveryCommand::Replay(_)
    ) && let Err(exit) = must_be_configured(named, &config, out)
    {
        return exit;
    }
    let only_pulled = partners::only_pulled(&config);
    let now = Timestamp::now();
    let done = match command {
        DeliveryCommand::List { which, limit } => match which.filter(now) {
            Ok(filter) => list(&*ledger, &filter, usize::from(*limit), out).await,
            Err(error) => return usage(out, &error),
        },
        DeliveryCommand::Retry { ids, which, dry_run } => {
            let filter = which.filter(now).and_then(|filter| {
                Ok(DeliveryFilter {
                    ids: parse(ids)?,
                    ..filter
                })
            });
            match filter {
                Ok(filter) if filter == DeliveryFilter::default() => {
                    return usage(out, "say which: ids, or --endpoint, --state, --since");
                }
                Ok(filter) => match sendable(&*ledger, &only_pulled, &filter).await {
                    Ok(filter) => retry(&*ledger, &filter, *dry_run, now, out).await,
                    Err(refused) => not_again(refused, out),
                },
                Err(error) => return usage(out, &error),
            }
        }
        DeliveryCommand::Replay(args) => Box::pin(replay::begin(&ledger, only_pulled, args, now, out)).await,
        DeliveryCommand::GiveUp(args) => give_up::run(&*ledger, &config, args, now, out).await,
        DeliveryCommand::Replays => replay::list(&*ledger, out).await,
        DeliveryCommand::Cancel { id } => replay::cancel(&ledger, id, out).await,
        DeliveryCommand::Show { id } => match parse(std::slice::from_ref(id)) {
            Ok(ids) => show(&*ledger, ids[0], out).await,
            Err(error) => return usage(out, &error),
        },
    };
    done.unwrap_or_else(|error| out.fail(&error.to_string()))
}

/// The moment so long ago.
fn before(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let span = span_ms(text)
        .and_then(|ms| i64::try_from(ms).ok())
        .map(SignedDuration::from_millis);
    let moment = span.and_then(|span| now.checked_sub(span).ok());
    moment.ok_or_else(|| format!("`{text}` is not a span of time; write for example 30m, 2h or 1d"))
}

fn usage(out: &Out, error: &str) -> Exit {
    out.fails(error);
    Exit::Usage
}

fn not_again(refused: NotAgain, out: &Out) -> Result<Exit, ledger::LedgerError> {
    match refused {
        NotAgain::OnlyPulled(_) => Ok(usage(out, &refused.to_string())),
        NotAgain::Ledger(error) => Err(error),
    }
}

fn parse(ids: &[String]) -> Result<Vec<DeliveryId>, String> {
    let parse = |id: &String| {
        model::read_id(id).ok_or_else(|| format!("`{id}` is not a delivery id; they look like dlv_…"))
    };
    ids.iter().map(parse).collect()
}

async fn list(
    ledger: &dyn ledger::Ledger,
    filter: &DeliveryFilter,
    limit: usize,
    out: &Out,
) -> Result<Exit, ledger::LedgerError> {
    let deliveries = ledger.list_deliveries(filter, None, limit).await?;
    let json: Vec<Json> = deliveries.iter().map(json_of).collect();
    out.data(json!({"data": json}), || {
        let row = |delivery: &Delivery| {
            let next = delivery.next_at.map(|at| at.to_string()).unwrap_or_default();
            let status = delivery
                .last_status
                .map(|status| status.to_string())
                .unwrap_or_default();
            vec![
                delivery.id.to_string(),
                delivery.event_type.clone(),
                delivery.endpoint.clone(),
                delivery.state.word().to_owned(),
                delivery.attempts.to_string(),
                status,
                delivery.received_at.to_string(),
                next,
                delivery.last_error.clone(),
            ]
        };
        let rows: Vec<Vec<String>> = deliveries.iter().map(row).collect();
        let head = [
            "id",
            "event",
            "endpoint",
            "state",
            "attempts",
            "status",
            "received",
            "next",
            "last error",
        ];
        table(&head, &rows)
    });
    Ok(Exit::Ok)
}

async fn retry(
    ledger: &dyn ledger::Ledger,
    filter: &DeliveryFilter,
    dry_run: bool,
    now: Timestamp,
    out: &Out,
) -> Result<Exit, ledger::LedgerError> {
    let mut progress = Progress::begin();
    progress.step("counting deliveries", None);
    let mut ids = retriable(ledger, filter, &mut progress).await?;
    // What is to arrive in order is made due in order.
    ids.sort_unstable();
    let mut count = 0;
    if dry_run {
        count = ids.len() as u64;
    } else {
        progress.step("making deliveries due", Some(ids.len() as u64));
        for ids in ids.chunks(AT_A_TIME_MAX) {
            let filter = DeliveryFilter {
                ids: ids.to_vec(),
                ..filter.clone()
            };
            count += ledger.retry(&filter, now).await?;
            progress.at(count);
        }
    }
    progress.end();
    if count == 0 && !filter.ids.is_empty() {
        out.fails(
            "none of these deliveries is there and has not arrived; see: interconnect delivery show ID",
        );
        return Ok(Exit::Usage);
    }
    out.data(json!({"retried": count, "dry_run": dry_run}), || match dry_run {
        true => format!("{count} deliveries would be due again"),
        false => format!("{count} deliveries are due again"),
    });
    Ok(Exit::Ok)
}

/// Deliveries that a filter means and that have not arrived.
async fn retriable(
    ledger: &dyn ledger::Ledger,
    filter: &DeliveryFilter,
    progress: &mut Progress,
) -> Result<Vec<DeliveryId>, ledger::LedgerError> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = ledger.list_deliveries(filter, after, AT_A_TIME_MAX).await?;
        let waiting = page
            .iter()
            .filter(|delivery| matches!(delivery.state, DeliveryState::Due | DeliveryState::Dead));
        ids.extend(waiting.map(|delivery| delivery.id));
        progress.at(ids.len() as u64);
        after = page.last().map(|delivery| delivery.id);
        if page.len() < AT_A_TIME_MAX {
            return Ok(ids);
        }
    }
}

async fn show(ledger: &dyn ledger::Ledger, id: DeliveryId, out: &Out) -> Result<Exit, ledger::LedgerError> {
    let filter = DeliveryFilter {
        ids: vec![id],
        ..DeliveryFilter::default()
    };
    let Some(delivery) = ledger.list_deliveries(&filter, None, 1).await?.into_iter().next() else {
        return Ok(out.fail(&format!(
            "there is no delivery `{id}`; list them with `interconnect delivery list`"
        )));
    };
    let attempts = ledger.attempts(id).await?;
    let json: Vec<Json> = attempts
        .iter()
        .map(|attempt| {
            json!({"number": attempt.number, "at": attempt.at.to_string(), "duration_ms": attempt.duration_ms,
                "status": attempt.status, "error": attempt.error})
        })
        .collect();
    let mut document = json_of(&delivery);
    document["attempts_made"] = json.into();
    out.data(document, || {
        let rows: Vec<Vec<String>> = attempts
            .iter()
            .map(|attempt| {
                let status = attempt
                    .status
                    .map(|status| status.to_string())
                    .unwrap_or_default();
                let took = format!("{} ms", attempt.duration_ms);
                vec![
                    attempt.number.to_string(),
                    attempt.at.to_string(),
                    took,
                    status,
                    attempt.error.clone(),
                ]
            })
            .collect();
        let mut head = format!(
            "{}  {} for {}, {}\n",
            delivery.id,
            delivery.event_type,
            delivery.endpoint,
            delivery.state.word()
        );
        if let Some(newer) = delivery.folded_into {
            head.push_str(&format!("{newer} goes instead of it\n"));
        }
        if !delivery.stands_for.is_empty() {
            head.push_str(&format!(
                "it stands for those with the numbers {}\n",
                delivery.stands_for
            ));
        }
        head.push('\n');
        head + &table(&["attempt", "at", "took", "status", "error"], &rows)
    });
    Ok(Exit::Ok)
}

fn json_of(delivery: &Delivery) -> Json {
    json!({
        "id": delivery.id.to_string(), "event": delivery.event.to_string(), "type": delivery.event_type,
        "source": delivery.source, "endpoint": delivery.endpoint, "state": delivery.state.word(),
        "attempts": delivery.attempts, "received_at": delivery.received_at.to_string(),
        "next_at": delivery.next_at.map(|at| at.to_string()), "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "sequence": delivery.sequence, "stands_for": delivery.stands_for.to_string(),
        "folded_into": delivery.folded_into.map(|id| id.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{Attempt, NewDelivery, NewEvent, Next};

    /// A ledger with one delivery more to each of two endpoints than are made due at a time; the newest of each arrived.
    async fn backlog() -> std::sync::Arc<dyn ledger::Ledger> {
        let ledger = ledger::open("sqlite::memory:", ledger::Settings::default())
            .await
            .unwrap();
        let (mut events, mut arrived) = (Vec::new(), Vec::new());
        for (number, endpoint) in (0..=AT_A_TIME_MAX).flat_map(|n| [(n, "northwind"), (n, "globex")]) {
            let at = Timestamp::from_millisecond(i64::try_from(number).unwrap()).unwrap();
            let id = model::uuid_from(at, [endpoint.as_bytes()[0]; 10]);
            if number == AT_A_TIME_MAX {
                arrived.push(Attempt {
                    delivery: id.into(),
                    number: 1,
                    at,
                    duration_ms: 1,
                    status: Some(200),
                    error: String::new(),
                    next: Next::Delivered,
                    told: None,
                });
            }
            events.push(NewEvent {
                id: id.into(),
                event_type: "custom.ping".to_owned(),
                source: endpoint.to_owned(),
                dedupe: number.to_string(),
                body: "{}".into(),
                received_at: at,
                trace: String::new(),
                hops: String::new(),
                arrival: String::new(),
                deliveries: vec![NewDelivery {
                    id: id.into(),
                    endpoint: endpoint.to_owned(),
                    line: None,
                }],
            });
        }
        ledger.accept(events).await.unwrap();
        ledger.settle(None, arrived).await.unwrap();
        ledger
    }

    #[tokio::test]
    async fn a_retry_reaches_all_that_the_filter_means_and_nothing_else() {
        let ledger = backlog().await;
        let filter = DeliveryFilter {
            endpoint: Some("northwind".to_owned()),
            ..DeliveryFilter::default()
        };
        let now = Timestamp::from_second(1_000_000).unwrap();
        let due_now = async || {
            let all = ledger
                .list_deliveries(&DeliveryFilter::default(), None, 10 * AT_A_TIME_MAX)
                .await
                .unwrap();
            all.iter()
                .filter(|delivery| delivery.next_at == Some(now))
                .map(|d| d.endpoint.clone())
                .collect::<Vec<_>>()
        };
        let out = Out::new(true);
        retry(&*ledger, &filter, true, now, &out).await.unwrap();
        assert!(due_now().await.is_empty(), "a dry run changes nothing");
        retry(&*ledger, &filter, false, now, &out).await.unwrap();
        assert_eq!(
            due_now().await,
            vec!["northwind"; AT_A_TIME_MAX],
            "but for the one that arrived"
        );
    }
}
