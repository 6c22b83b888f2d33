//! `interconnect sync`: bring systems into agreement now, without a running hub.

use clap::Subcommand;
use serde_json::{Map, Value as Json, json};
use sync::{Counts, GONE_MAX_PERCENT};

use super::names::must_be_connected;
use super::out::table;
use super::progress::{Progress, span};
use super::reconcile;
use super::rounds::{ROUNDS_MAX, Rounds, Tally, asked, explain, not_read_yet};
use super::runs::{self, per_thousand};
use super::serve::stop_signal;
use super::stop::{self, Allow};
use super::{Common, Exit, Out};
use crate::hub::{self, Hub};

/// What to do with syncs.
#[derive(Subcommand)]
pub(crate) enum SyncCommand {
    /// Pull and push until nothing is owed any more.
    #[command(
        after_help = "Examples:\n  interconnect sync run\n  interconnect sync run --connection crm --full --json"
    )]
    Run {
        /// Read only this connection; what it changes is still pushed everywhere.
        #[arg(long, value_name = "NAME")]
        connection: Option<String>,
        /// Read everything again from the beginning, not only what changed.
        ///
        /// An object whose mapping has gained a line is read again by itself.
        #[arg(long)]
        full: bool,
        /// Let what was stopped go on, up to so many from now on: creates=N, updates=N, gone=N or deletes=N.
        #[arg(long, value_name = "WHAT=N")]
        allow: Vec<Allow>,
    },
    /// Let go on what a stop limit or `sync cancel` has stopped.
    ///
    /// What is counted towards its limits begins anew; with --allow, with another limit for as long as their span lasts.
    #[command(after_help = "Examples:\n  interconnect sync resume --connection crm\n  \
                      interconnect sync resume --connection crm --object Account --allow creates=1200")]
    Resume {
        /// The connection.
        #[arg(long, value_name = "NAME")]
        connection: String,
        /// Only this object of its system.
        #[arg(long, value_name = "NAME")]
        object: Option<String>,
        /// Up to so many from now on: creates=N, updates=N, gone=N or deletes=N.
        #[arg(long, value_name = "WHAT=N")]
        allow: Vec<Allow>,
    },
    /// Stop reading and writing at a connection until it is resumed, and tell what was done.
    ///
    /// A hub that is at it ends with the page or batch that is under way; what was read and written stays, and what is owed
    /// stays owed.
    #[command(after_help = "Examples:\n  interconnect sync cancel --connection crm\n  \
                      interconnect sync cancel --connection crm --object Account")]
    Cancel {
        /// The connection.
        #[arg(long, value_name = "NAME")]
        connection: String,
        /// Only this object of its system.
        #[arg(long, value_name = "NAME")]
        object: Option<String>,
    },
    /// How much there is to read, and what reading all of it will take; reads nothing else.
    #[command(
        after_help = "Examples:\n  interconnect sync forecast\n  interconnect sync forecast --connection crm --json"
    )]
    Forecast {
        /// Only this connection.
        #[arg(long, value_name = "NAME")]
        connection: Option<String>,
    },
    /// Ask for everything that is linked at a connection by its id: what is not answered is gone.
    ///
    /// The hub does so by itself where the connector says how often. Values that a system computes without moving the time
    /// of change are seen, too.
    #[command(
        after_help = "Examples:\n  interconnect sync census --connection erp\n  interconnect sync census --connection erp \
                      --object party.party --gone-max-percent 100"
    )]
    Census {
        /// The connection.
        #[arg(long, value_name = "NAME")]
        connection: String,
        /// Only this object of its system.
        #[arg(long, value_name = "NAME")]
        object: Option<String>,
        /// Stop when more than so many percent of a page (and more than ten objects) are not answered.
        #[arg(long, value_name = "PERCENT", default_value_t = GONE_MAX_PERCENT, value_parser = clap::value_parser!(u8).range(0..=100))]
        gone_max_percent: u8,
    },
    /// Compare everything once more, in the hope to find nothing: what differs is told by field, and healed.
    ///
    /// Reads all of an object in the lane of complete readings, so that news comes first, and asks for all that is linked by
    /// its id where the system can be asked so. It goes on where an interrupted one stopped.
    #[command(
        after_help = "Examples:\n  interconnect sync reconcile\n  interconnect sync reconcile --connection crm --json"
    )]
    Reconcile {
        /// Only this connection.
        #[arg(long, value_name = "NAME")]
        connection: Option<String>,
    },
    /// The syncs that are configured, and how far each has read.
    List,
    /// What ran lately: what it changed, what it cost in calls, what stopped it.
    #[command(
        after_help = "Examples:\n  interconnect sync runs\n  interconnect sync runs --limit 200 --json"
    )]
    Runs {
        /// At most so many, newest first.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
}

pub(crate) async fn run(command: &SyncCommand, common: &Common, out: &Out) -> Exit {
    let hub = match hub::open(&common.config, out).await {
        Ok(hub) => hub,
        Err(exit) => return exit,
    };
    let named = match command {
        SyncCommand::Run { connection, .. }
        | SyncCommand::Forecast { connection }
        | SyncCommand::Reconcile { connection } => connection.as_deref(),
        _ => None,
    };
    if let Err(exit) = must_be_connected(named, &hub.engine, out) {
        return exit;
    }
    match command {
        SyncCommand::Run {
            connection,
            full,
            allow,
        } => match stop::allow(&hub.engine, connection.as_deref(), allow).await {
            Ok(()) => all(&hub, connection.as_deref(), *full, out).await,
            Err(error) => out.fail(&error.to_string()),
        },
        SyncCommand::Resume {
            connection,
            object,
            allow,
        } => stop::resume(&hub, connection, object.as_deref(), allow, out).await,
        SyncCommand::Cancel { connection, object } => {
            stop::cancel(&hub, connection, object.as_deref(), out).await
        }
        SyncCommand::Forecast { connection } => forecast(&hub, connection.as_deref(), out).await,
        SyncCommand::Census {
            connection,
            object,
            gone_max_percent,
        } => {
            Box::pin(census(
                &hub,
                connection,
                object.as_deref(),
                *gone_max_percent,
                out,
            ))
            .await
        }
        SyncCommand::Reconcile { connection } => {
            Box::pin(reconcile::run(&hub, connection.as_deref(), out)).await
        }
        SyncCommand::List => match list(&hub, out).await {
            Ok(exit) => exit,
            Err(error) => out.fail(&error.to_string()),
        },
        SyncCommand::Runs { limit } => match hub.ledger.runs(usize::from(*limit)).await {
            Ok(runs) => runs::show(&runs, out),
            Err(error) => out.fail(&error.to_string()),
        },
    }
}

async fn all(hub: &Hub, only: Option<&str>, full: bool, out: &Out) -> Exit {
    let rounds = Rounds::over(&hub.engine, &*hub.ledger, only);
    let (tally, settled) = {
        let mut run = std::pin::pin!(rounds.run(full));
        tokio::select! {
            ended = &mut run => ended,
            () = stop_signal() => {
                out.note("ending when the page or batch that is under way is done; once more ends at once");
                hub.engine.end_soon();
                tokio::select! {
                    ended = &mut run => ended,
                    () = stop_signal() => return Exit::Interrupted,
                }
            }
        }
    };
    if let Some(later) = not_read_yet(&hub.engine, only) {
        out.note(&later);
    }
    report(hub, &tally, settled, out).await
}

async fn forecast(hub: &Hub, only: Option<&str>, out: &Out) -> Exit {
    let (mut json, mut rows, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (connection, object) in asked(&hub.engine, only) {
        let forecast = match hub.engine.forecast(connection, object).await {
            Ok(forecast) => forecast,
            Err(error) => {
                errors.push(explain(connection, object, &error));
                continue;
            }
        };
        json.push(json!({
            "connection": connection, "object": object, "objects": forecast.map(|f| f.objects),
            "calls": forecast.map(|f| f.calls), "at_least_ms": forecast.map(|f| f.at_least_ms),
            "calls_left": forecast.and_then(|f| f.calls_left),
        }));
        let shown = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let time = forecast.map(|f| span(std::time::Duration::from_millis(f.at_least_ms)));
        rows.push(vec![
            connection.to_owned(),
            object.to_owned(),
            shown(forecast.map(|f| f.objects)),
            shown(forecast.map(|f| f.calls)),
            time.unwrap_or_else(|| "?".to_owned()),
            forecast
                .and_then(|f| f.calls_left)
                .map_or_else(String::new, |n| n.to_string()),
        ]);
    }
    let head = [
        "connection",
        "object",
        "objects",
        "calls",
        "at least",
        "calls left",
    ];
    out.data(json!({"data": json, "errors": errors}), || table(&head, &rows));
    errors.iter().for_each(|error| out.fails(error));
    match errors.is_empty() {
        true => Exit::Ok,
        false => Exit::Failed,
    }
}

async fn census(hub: &Hub, connection: &str, object: Option<&str>, gone_max_percent: u8, out: &Out) -> Exit {
    let mut objects = asked(&hub.engine, Some(connection));
    objects.retain(|(_, of)| object.is_none_or(|object| object == *of));
    if objects.is_empty() {
        let what = object.map_or_else(|| "anything".to_owned(), |object| format!("`{object}`"));
        out.fails(&format!(
            "no sync reads {what} of `{connection}`; see: interconnect sync list"
        ));
        return Exit::Usage;
    }
    let mut tally = Tally::default();
    let mut progress = Progress::begin();
    for (_, object) in objects {
        progress.step(
            format!("asking {connection} for what is linked of {object}"),
            None,
        );
        let before = hub.engine.read_so_far();
        let census = Box::pin(hub.engine.census(connection, object, gone_max_percent));
        match progress
            .during(census, || hub.engine.read_so_far() - before)
            .await
        {
            Ok(report) => tally.add(connection, object, &report.counts),
            Err(error) => tally.errors.push(explain(connection, object, &error)),
        }
    }
    progress.end();
    report(hub, &tally, true, out).await
}

async fn report(hub: &Hub, tally: &Tally, settled: bool, out: &Out) -> Exit {
    let places = hub.engine.plan().objects().into_iter();
    let places: Vec<_> = places
        .map(|(connection, object)| (connection.to_owned(), object.to_owned()))
        .collect();
    let backlog = hub.ledger.backlog(&places, &[], usize::MAX).await;
    let parked: u64 = backlog.map_or(0, |backlog| {
        let objects = backlog.objects.iter();
        objects.map(|object| object.parked_in + object.parked_out).sum()
    });
    let objects: Map<String, Json> = tally
        .objects
        .iter()
        .map(|((connection, object), counts)| (format!("{connection}/{object}"), counts.to_json()))
        .collect();
    let json = json!({
        "objects": objects, "total": tally.total().to_json(),
        "calls_per_thousand_changes": per_thousand(tally.total().calls, tally.total().changes()), "parked": parked, "settled": settled,
        "errors": tally.errors,
    });
    out.data(json, || {
        let row = |((connection, object), counts): (&(String, String), &Counts)| {
            let numbers = [
                counts.read,
                counts.created,
                counts.updated,
                counts.met,
                counts.gone,
                counts.deleted,
                counts.outlived,
                counts.written,
                counts.parked,
                counts.calls,
            ];
            let mut row = vec![connection.clone(), object.clone()];
            row.extend(numbers.map(|number| number.to_string()));
            row.push(
                per_thousand(counts.calls, counts.changes()).map_or_else(String::new, |n| n.to_string()),
            );
            row
        };
        let rows: Vec<Vec<String>> = tally.objects.iter().map(row).collect();
        table(
            &[
                "connection",
                "object",
                "read",
                "created",
                "updated",
                "met",
                "gone",
                "deleted",
                "outlived",
                "written",
                "parked",
                "calls",
                "per 1,000 changes",
            ],
            &rows,
        )
    });
    for (connection, object) in &tally.unread {
        out.note(&format!(
            "nothing was written to {object} of {connection}: everything is read there first, with \
             `interconnect sync run --connection {connection}`"
        ));
    }
    for error in &tally.errors {
        out.fails(error);
    }
    if hub.engine.is_ending() {
        out.note("interrupted: what is told above was done and stays; go on with: interconnect sync run");
        return Exit::Interrupted;
    }
    if !tally.errors.is_empty() {
        return Exit::Failed;
    }
    if parked > 0 {
        out.note(&format!(
            "{parked} parked; see them with: interconnect error list"
        ));
    }
    if !settled {
        return out.fail(&format!("the systems do not settle within {ROUNDS_MAX} rounds"));
    }
    if parked > 0 {
        return Exit::Partial;
    }
    Exit::Ok
}

async fn list(hub: &Hub, out: &Out) -> Result<Exit, ledger::LedgerError> {
    let mut json = Vec::new();
    let mut rows = Vec::new();
    let standings = hub.ledger.standings(None).await?;
    for sync in &hub.engine.plan().syncs {
        let cursor = hub.ledger.cursor(&sync.connection, sync.object()).await?;
        let primed = cursor.as_ref().is_some_and(|cursor| cursor.complete_at.is_some());
        let read = cursor.as_ref().map(|cursor| cursor.stored_at.to_string());
        let stands = standings.iter().find(|one| one.connection == sync.connection);
        let stopped = match stands.filter(|standing| standing.is_stopped()) {
            Some(standing) => Some(standing.reason.clone()),
            None => sync::halted(&*hub.ledger, &sync.connection, sync.object()).await?,
        };
        let directions = match (sync.pull, sync.push) {
            (true, true) => "both ways",
            (true, false) => "in",
            (false, true) => "out",
            (false, false) => "off",
        };
        json.push(json!({
            "connection": sync.connection, "object": sync.object(), "record": sync.kind().name(),
            "pull": sync.pull, "push": sync.push, "complete": primed, "read_at": read,
            "cursor": cursor.map(|cursor| cursor.position), "stopped": stopped,
        }));
        rows.push(vec![
            sync.connection.clone(),
            sync.object().to_owned(),
            sync.kind().to_string(),
            directions.to_owned(),
            if primed { "complete" } else { "not yet" }.to_owned(),
            read.unwrap_or_default(),
            stopped.unwrap_or_default(),
        ]);
    }
    let head = [
        "connection",
        "object",
        "record",
        "directions",
        "first read",
        "last moved",
        "stopped because",
    ];
    out.data(json!({"data": json}), || table(&head, &rows));
    Ok(Exit::Ok)
}
