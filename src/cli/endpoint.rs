//! `interconnect endpoint`: where webhooks go, how it stands, and stopping it by hand.

mod trial;

use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use ledger::Ledger;
use relay::{Handover, NotSwitched, RelaySettings, Stands, Switch};
use serde_json::{Value as Json, json};

use super::names::is_configured;
use super::out::table;
use super::{Common, Exit, Out, status};
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::{hub, partners};

/// What to do with endpoints.
#[derive(Subcommand)]
pub(crate) enum EndpointCommand {
    /// All endpoints, and how they stand.
    List,
    /// One endpoint.
    Show {
        /// Its name.
        name: String,
    },
    /// Send nothing more to an endpoint; what comes for it is kept.
    #[command(
        after_help = "Example:\n  interconnect endpoint pause northwind-crm --reason \"their migration, until Monday\""
    )]
    Pause(PauseArgs),
    /// What this configuration would send of the events that are kept, and how that differs; nothing is sent.
    ///
    /// From whom, types, filters, sharing and shapes are those of the file that --config names.
    #[command(
        after_help = "Examples:\n  interconnect endpoint try northwind-crm --since 2h\n  \
        interconnect --config changed.yaml endpoint try --against interconnect.yaml --since 1d"
    )]
    Try(trial::TryArgs),
    /// Let an endpoint go on that was paused or disabled; what was kept is sent.
    Resume {
        /// Its name.
        name: String,
    },
}

/// Which endpoint, and why.
#[derive(Args)]
pub(crate) struct PauseArgs {
    /// Its name.
    name: String,
    /// Why, for whoever looks later.
    #[arg(long, default_value = "paused by hand", value_name = "TEXT")]
    reason: String,
}

pub(crate) async fn run(command: &EndpointCommand, common: &Common, out: &Out) -> Exit {
    let (config, catalogue) = match hub::load(&common.config, out) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let (switch, ledger, settings) = match open(&config, &catalogue).await {
        Ok(switch) => switch,
        Err(error) => {
            out.fails(&error.to_string());
            return Exit::Usage;
        }
    };
    let now = Timestamp::now();
    if let EndpointCommand::Try(args) = command {
        return Box::pin(trial::run(args, &*ledger, &settings, now, out)).await;
    }
    let done = match command {
        EndpointCommand::Try(_) => Ok(()),
        EndpointCommand::List => match list(&switch, now, out).await {
            Ok(()) => tell_unknown(&*ledger, &config, out)
                .await
                .map_err(NotSwitched::from),
            Err(error) => Err(error),
        },
        EndpointCommand::Show { name } => show(&switch, name, now, out).await,
        EndpointCommand::Pause(args) => switch.pause(&args.name, &args.reason).await.map(|stop| {
            let told = format!("{} is paused: {}", args.name, stop.reason);
            out.data(
                json!({"name": args.name, "state": "paused", "reason": stop.reason}),
                || told,
            );
        }),
        EndpointCommand::Resume { name } => switch.resume(name).await.map(|stop| {
            let told = format!("{name} goes on; it was {}: {}", stop.kind.word(), stop.reason);
            out.data(
                json!({"name": name, "state": "ok", "reason": stop.reason}),
                || told,
            );
        }),
    };
    match done {
        Ok(()) => Exit::Ok,
        Err(NotSwitched::Unknown(name)) => {
            out.fails(&format!(
                "there is no endpoint `{name}`; see `interconnect endpoint list`"
            ));
            Exit::Usage
        }
        Err(error) => out.fail(&error.to_string()),
    }
}

type Opened = (Switch, Arc<dyn Ledger>, Arc<RelaySettings>);

/// The switch over the ledger alone: a hub that runs finds by its own looks what was switched here.
async fn open(config: &Config, catalogue: &Catalogue) -> Result<Opened, hub::StartError> {
    let settings = Arc::new(partners::relay_shape(config, catalogue)?);
    let ledger = ledger::open(&config.ledger, ledger::Settings::default()).await?;
    let handover = Arc::new(Handover::default());
    let switch = Switch::new(
        ledger.clone(),
        settings.clone(),
        handover,
        Arc::new(|_: &str| {}),
        Arc::new(Timestamp::now),
    );
    Ok((switch, ledger, settings))
}

async fn list(switch: &Switch, now: Timestamp, out: &Out) -> Result<(), NotSwitched> {
    let all = switch.list().await?;
    let json: Vec<Json> = all.iter().map(|stands| json_of(stands, now)).collect();
    out.data(json!({"data": json}), || {
        let row = |Stands {
                       endpoint,
                       state,
                       sequence,
                   }: &Stands| {
            let since = match &state.stop {
                Some(stop) => Some(stop.at),
                None => state.health.failing_since,
            };
            vec![
                endpoint.name().to_owned(),
                endpoint.partner().to_owned(),
                relay::state_word(state, now).to_owned(),
                since.map(|at| at.to_string()).unwrap_or_default(),
                sequence.last.to_string(),
                sequence.folded.to_string(),
                state
                    .stop
                    .as_ref()
                    .map(|stop| stop.reason.clone())
                    .unwrap_or_default(),
            ]
        };
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        table(
            &[
                "name", "partner", "state", "since", "sequence", "folded", "reason",
            ],
            &rows,
        )
    });
    Ok(())
}

/// Tells of those that are owed something and not configured.
async fn tell_unknown(ledger: &dyn Ledger, config: &Config, out: &Out) -> Result<(), ledger::LedgerError> {
    let owed = ledger.owed().await?;
    let endpoints = owed.endpoints.iter().map(|(endpoint, _)| endpoint.as_str());
    let unknown = endpoints.filter(|endpoint| !is_configured(endpoint, config));
    status::tell_unknown(&unknown.collect::<Vec<_>>(), out);
    Ok(())
}

async fn show(switch: &Switch, name: &str, now: Timestamp, out: &Out) -> Result<(), NotSwitched> {
    let stands = switch.show(name).await?;
    let mut json = json_of(&stands, now);
    // What a preset allows is long, so it is not in lists.
    json["share"] = stands.endpoint.policy().summary();
    out.data(json.clone(), || {
        let mut lines = Vec::new();
        for (key, value) in json.as_object().into_iter().flatten() {
            match value {
                Json::Null => {}
                Json::String(text) => lines.push(format!("{key}: {text}")),
                other => lines.push(format!("{key}: {other}")),
            }
        }
        lines.join("\n")
    });
    Ok(())
}

fn json_of(stands: &Stands, now: Timestamp) -> Json {
    let (endpoint, state) = (&stands.endpoint, &stands.state);
    let moment = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let subscriptions = endpoint.subscriptions().iter().map(|one| {
        let filter = one.filter.as_ref().map(|filter| filter.source());
        json!({"types": one.types, "from": one.from, "where": filter, "fold": one.fold})
    });
    json!({
        "name": endpoint.name(), "partner": endpoint.partner(), "host": endpoint.host(),
        "events": endpoint.patterns().collect::<Vec<_>>(), "subscriptions": subscriptions.collect::<Vec<_>>(),
        "shape": endpoint.shape().word(), "state": relay::state_word(state, now),
        "reason": state.stop.as_ref().map(|stop| &stop.reason),
        "stopped_at": moment(state.stop.as_ref().map(|stop| stop.at)),
        "failures": state.health.failures, "failing_since": moment(state.health.failing_since),
        "rest_until": moment(state.health.rest_until), "sequence": stands.sequence.last,
        "folded": stands.sequence.folded,
    })
}
