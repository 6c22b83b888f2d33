//! `interconnect error`: what is parked, by cause, and trying it again.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use ledger::{Ledger, LedgerError, Parked, ParkedCause};
use serde_json::{Value as Json, json};
use sync::{Engine, WhichParked, advice};

use super::names::{Named, must_be_connected, open_for};
use super::out::table;
use super::{Common, Exit, Out};
use crate::hub;

/// What to do with errors.
#[derive(Subcommand)]
pub(crate) enum ErrorCommand {
    /// What could not be mapped or was refused, by cause: how many, since when, and what can be done about it.
    #[command(
        after_help = "Examples:\n  interconnect error list\n  interconnect error list --connection crm --way out --json"
    )]
    List(Which),
    /// What has a cause, one by one with its reason, oldest first.
    #[command(
        after_help = "Examples:\n  interconnect error show --connection crm --object Account\n  \
        interconnect error show --code mapping --field Email --limit 20"
    )]
    Show {
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Try again what has been corrected; a running hub takes it up, or the next `sync run`.
    ///
    /// What was on its way in is read again, what was on its way out is written again. It stays listed until that went well.
    #[command(
        after_help = "Examples:\n  interconnect error retry --connection crm --object Account --way out --dry-run\n  \
        interconnect error retry --code FIELD_CUSTOM_VALIDATION_EXCEPTION\n  interconnect error retry --all"
    )]
    Retry {
        #[command(flatten)]
        which: Which,
        /// Everything.
        #[arg(long)]
        all: bool,
        /// Only count it.
        #[arg(long)]
        dry_run: bool,
    },
}

/// The ways that something can be on.
#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// From the system to its record.
    In,
    /// From the record to the system.
    Out,
}

/// Which of what is parked.
#[derive(Args)]
pub(crate) struct Which {
    /// At this connection.
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Of this object.
    #[arg(long, value_name = "NAME")]
    object: Option<String>,
    /// On this way.
    #[arg(long)]
    way: Option<Way>,
    /// With this code.
    #[arg(long)]
    code: Option<String>,
    /// About this field of the object.
    #[arg(long, value_name = "NAME")]
    field: Option<String>,
    /// Under this key: the id of an object on its way in, of a record on its way out.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
}

impl Which {
    /// Opens the ledger, unless a connection is named that nobody knows.
    async fn open(&self, common: &Common, out: &Out) -> Result<Arc<dyn Ledger>, Exit> {
        let named = self.connection.as_deref().map(Named::Connection);
        open_for(named, common, out).await
    }

    fn parked(&self) -> WhichParked {
        WhichParked {
            connection: self.connection.clone(),
            object: self.object.clone(),
            inbound: self.way.map(|way| matches!(way, Way::In)),
            code: self.code.clone(),
            field: self.field.clone(),
            key: self.key.clone(),
        }
    }
}

pub(crate) async fn run(command: &ErrorCommand, common: &Common, out: &Out) -> Exit {
    let done = match command {
        ErrorCommand::List(which) => match which.open(common, out).await {
            Ok(ledger) => list(&*ledger, &which.parked(), out).await,
            Err(exit) => return exit,
        },
        ErrorCommand::Show { which, limit } => match which.open(common, out).await {
            Ok(ledger) => show(&*ledger, &which.parked(), usize::from(*limit), out).await,
            Err(exit) => return exit,
        },
        ErrorCommand::Retry { which, all, dry_run } => {
            let which = which.parked();
            if !all && which == WhichParked::default() {
                out.fails("say which: --connection, --object, --way, --code, --field, --key, or --all");
                return Exit::Usage;
            }
            let known = which.connection.clone();
            match hub::open(&common.config, out).await {
                Ok(hub) if must_be_connected(known.as_deref(), &hub.engine, out).is_err() => {
                    return Exit::Usage;
                }
                Ok(hub) => retry(&hub.engine, &which, *dry_run, out).await,
                Err(exit) => return exit,
            }
        }
    };
    match done {
        Ok(()) => Exit::Ok,
        Err(error) => out.fail(&error.to_string()),
    }
}

fn way(inbound: bool) -> &'static str {
    if inbound { "in" } else { "out" }
}

/// The causes of what is asked for.
async fn causes(ledger: &dyn Ledger, which: &WhichParked) -> Result<Vec<ParkedCause>, LedgerError> {
    let mut causes = ledger.parked_causes().await?;
    causes.retain(|cause| which.admits(cause));
    Ok(causes)
}

fn document(cause: &ParkedCause) -> Json {
    json!({
        "connection": cause.connection, "object": cause.object, "way": way(cause.inbound), "code": cause.code,
        "fields": cause.fields, "count": cause.count, "first": cause.first.to_string(), "last": cause.last.to_string(),
        "retry_at": cause.retry_at.map(|at| at.to_string()), "reason": cause.reason, "key": cause.key,
        "advice": advice(cause),
    })
}

/// Something parked as JSON.
pub(crate) fn document_of(parked: &Parked) -> Json {
    json!({
        "connection": parked.connection, "object": parked.object, "key": parked.key, "way": way(parked.inbound),
        "code": parked.code, "fields": parked.fields, "reason": parked.reason,
        "records": parked.records.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "since": parked.since.to_string(), "retry_at": parked.retry_at.map(|at| at.to_string()),
    })
}

/// Something parked, in a line.
pub(crate) fn line(parked: &Parked) -> String {
    format!(
        "parked {} at {}/{} since {}: {}: {}",
        way(parked.inbound),
        parked.connection,
        parked.object,
        parked.since,
        parked.code,
        parked.reason
    )
}

/// What a cause is about, in a line.
fn title(cause: &ParkedCause) -> String {
    let ParkedCause {
        connection,
        object,
        inbound,
        code,
        fields,
        ..
    } = cause;
    let fields = match fields.as_slice() {
        [] => String::new(),
        fields => format!(" of {}", fields.join(", ")),
    };
    format!("{connection}/{object} {}: {code}{fields}", way(*inbound))
}

async fn list(ledger: &dyn Ledger, which: &WhichParked, out: &Out) -> Result<(), LedgerError> {
    let mut causes = causes(ledger, which).await?;
    if which.key.is_some() {
        // A cause tells of its newest; whether it has one under a key is asked.
        let mut having = Vec::new();
        for cause in causes {
            if !ledger.parked(&which.of(&cause), 1).await?.is_empty() {
                having.push(cause);
            }
        }
        causes = having;
    }
    let data: Vec<Json> = causes.iter().map(document).collect();
    out.data(json!({"data": data}), || {
        if causes.is_empty() {
            return "nothing is parked, or nothing of what was asked for".to_owned();
        }
        let told = causes.iter().map(|cause| {
            format!(
                "{}\n  {} since {}, the newest since {}: {}\n  {}\n",
                title(cause),
                cause.count,
                cause.first,
                cause.last,
                cause.reason,
                advice(cause)
            )
        });
        told.collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

async fn show(ledger: &dyn Ledger, which: &WhichParked, limit: usize, out: &Out) -> Result<(), LedgerError> {
    let (mut data, mut text) = (Vec::new(), String::new());
    for cause in causes(ledger, which).await? {
        let parked = ledger.parked(&which.of(&cause), limit - data.len()).await?;
        if parked.is_empty() {
            continue;
        }
        let row = |parked: &Parked| {
            vec![
                parked.key.clone(),
                parked.since.to_string(),
                parked.retry_at.map(|at| at.to_string()).unwrap_or_default(),
                parked.reason.clone(),
            ]
        };
        let rows: Vec<Vec<String>> = parked.iter().map(row).collect();
        let _ = write!(
            text,
            "{}\n{}\n\n{}\n",
            title(&cause),
            advice(&cause),
            table(&["key", "since", "next try", "reason"], &rows)
        );
        data.extend(parked.iter().map(document_of));
        if data.len() >= limit {
            break;
        }
    }
    out.data(json!({"data": data}), || text);
    Ok(())
}

async fn retry(engine: &Engine, which: &WhichParked, dry_run: bool, out: &Out) -> Result<(), LedgerError> {
    let retried = engine.retry_parked(which, dry_run).await?;
    let left: Vec<Json> = retried
        .left
        .iter()
        .map(|(cause, why)| {
            let mut left = document(cause);
            left["why"] = Json::from(*why);
            left
        })
        .collect();
    out.data(
        json!({"count": retried.count, "dry_run": dry_run, "left": left}),
        || {
            let mut text = match dry_run {
                true => format!("{} would be tried again", retried.count),
                false => format!("{} are tried again", retried.count),
            };
            for (cause, why) in &retried.left {
                let _ = write!(text, "\n{} left: {}: {why}", cause.count, title(cause));
            }
            text
        },
    );
    Ok(())
}
