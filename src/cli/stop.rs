//! Stopping and going on: `sync cancel`, `sync resume`, and `--allow` of `sync run`.

use std::time::Duration;

use ledger::{Ledger, LedgerError};
use serde_json::{Map, Value as Json, json};
use sync::{Engine, SyncError, What};

use super::out::table;
use super::{Exit, Out};
use crate::hub::Hub;

/// How long whoever is at an object is waited for.
const REST_WAIT: Duration = Duration::from_secs(60);
/// How often it is looked whether they have ended.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Runs that are looked through for what was done.
const RUNS_MAX: usize = 10_000;

/// How much a person allows: `creates=1200`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allow(What, u64);

impl std::str::FromStr for Allow {
    type Err = String;

    fn from_str(text: &str) -> Result<Allow, String> {
        let parsed = text
            .split_once('=')
            .and_then(|(what, most)| Some(Allow(What::parse(what)?, most.parse().ok()?)));
        parsed.ok_or_else(|| {
            "write creates=N, updates=N, gone=N or deletes=N, with a number of objects".to_owned()
        })
    }
}

/// The objects of a connection, or the one that is named.
fn chosen<'h>(
    engine: &'h Engine,
    connection: &str,
    object: Option<&str>,
) -> Result<Vec<(&'h str, &'h str)>, String> {
    let mut objects = engine.plan().objects();
    objects.retain(|(of, name)| *of == connection && object.is_none_or(|object| object == *name));
    match objects.is_empty() {
        false => Ok(objects),
        true => {
            let what = object.map_or_else(|| "any object".to_owned(), |object| format!("`{object}`"));
            Err(format!(
                "no sync has {what} of `{connection}`; see: interconnect sync list"
            ))
        }
    }
}

/// Lets objects go on, those of one connection or all.
pub(super) async fn allow(engine: &Engine, only: Option<&str>, allow: &[Allow]) -> Result<(), LedgerError> {
    if allow.is_empty() {
        return Ok(());
    }
    let allow: Vec<(What, u64)> = allow.iter().map(|Allow(what, most)| (*what, *most)).collect();
    let objects = engine.plan().objects().into_iter();
    for (connection, object) in objects.filter(|(of, _)| only.is_none_or(|only| only == *of)) {
        engine.resume(connection, object, &allow).await?;
    }
    Ok(())
}

pub(super) async fn resume(
    hub: &Hub,
    connection: &str,
    object: Option<&str>,
    allow: &[Allow],
    out: &Out,
) -> Exit {
    let objects = match chosen(&hub.engine, connection, object) {
        Ok(objects) => objects,
        Err(error) => {
            out.fails(&error);
            return Exit::Usage;
        }
    };
    let allow: Vec<(What, u64)> = allow.iter().map(|Allow(what, most)| (*what, *most)).collect();
    let mut resumed = Vec::new();
    for (connection, object) in objects {
        match hub.engine.resume(connection, object, &allow).await {
            Ok(true) => resumed.push(object),
            Ok(false) => {}
            Err(error) => return out.fail(&error.to_string()),
        }
    }
    out.data(
        json!({"connection": connection, "resumed": resumed}),
        || match resumed.is_empty() {
            true => format!("nothing of {connection} was stopped; its counts begin anew"),
            false => format!("{} of {connection} goes on", resumed.join(", ")),
        },
    );
    Exit::Ok
}

pub(super) async fn cancel(hub: &Hub, connection: &str, object: Option<&str>, out: &Out) -> Exit {
    let objects = match chosen(&hub.engine, connection, object) {
        Ok(objects) => objects,
        Err(error) => {
            out.fails(&error);
            return Exit::Usage;
        }
    };
    match cancelled(&hub.engine, &*hub.ledger, &objects).await {
        Ok(done) => {
            show(&done, out);
            match done.iter().all(|done| done.at_rest) {
                true => Exit::Ok,
                false => {
                    out.fail("somebody is still at it, and ends with the page or batch that is under way")
                }
            }
        }
        Err(error) => out.fail(&error.to_string()),
    }
}

/// What was done at an object, by the rows of its runs, and what is left.
struct Done {
    connection: String,
    object: String,
    at_rest: bool,
    counts: Map<String, Json>,
    runs: usize,
    since: Option<jiff::Timestamp>,
    owed: u64,
    complete: bool,
}

async fn cancelled(
    engine: &Engine,
    ledger: &dyn Ledger,
    objects: &[(&str, &str)],
) -> Result<Vec<Done>, SyncError> {
    for (connection, object) in objects {
        engine.cancel(connection, object).await?;
    }
    let mut all = Vec::new();
    let deadline = tokio::time::Instant::now() + REST_WAIT;
    for (connection, object) in objects {
        let mut at_rest = engine.is_at_rest(connection, object).await?;
        while !at_rest && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            at_rest = engine.is_at_rest(connection, object).await?;
        }
        let runs = ledger.runs(RUNS_MAX).await?;
        let runs: Vec<_> = runs
            .into_iter()
            .filter(|run| run.connection == *connection && run.object == *object)
            .collect();
        let mut counts: Map<String, Json> = Map::new();
        for (name, number) in runs.iter().flat_map(|run| run.counts.as_object()).flatten() {
            let so_far = counts.get(name).and_then(Json::as_u64).unwrap_or(0);
            counts.insert(name.clone(), json!(so_far + number.as_u64().unwrap_or(0)));
        }
        let place = ((*connection).to_owned(), (*object).to_owned());
        let backlog = ledger.backlog(&[place], &[], usize::MAX).await?;
        let cursor = ledger.cursor(connection, object).await?;
        all.push(Done {
            connection: (*connection).to_owned(),
            object: (*object).to_owned(),
            at_rest,
            counts,
            runs: runs.len(),
            since: runs.last().map(|run| run.started_at),
            owed: backlog.objects.first().map_or(0, |backlog| backlog.owed),
            complete: cursor.is_some_and(|cursor| cursor.complete_at.is_some()),
        });
    }
    Ok(all)
}

fn show(done: &[Done], out: &Out) {
    let json: Vec<Json> = done
        .iter()
        .map(|done| {
            json!({
                "connection": done.connection, "object": done.object, "at_rest": done.at_rest, "done": done.counts,
                "runs": done.runs, "since": done.since.map(|since| since.to_string()), "owed": done.owed,
                "complete": done.complete,
            })
        })
        .collect();
    out.data(json!({"data": json}), || {
        let row = |done: &Done| {
            let number = |name: &str| done.counts.get(name).and_then(Json::as_u64).unwrap_or(0);
            let (written, created) = (number("written"), number("created_there"));
            let mut row = vec![done.connection.clone(), done.object.clone()];
            let numbers = [
                number("read"),
                number("created"),
                number("updated"),
                created,
                written - created,
            ];
            row.extend(numbers.map(|number| number.to_string()));
            row.push(done.owed.to_string());
            row.push(if done.complete { "complete" } else { "not yet" }.to_owned());
            row.push(done.since.map_or_else(String::new, |since| since.to_string()));
            row
        };
        let rows: Vec<Vec<String>> = done.iter().map(row).collect();
        let head = [
            "connection",
            "object",
            "read",
            "new",
            "changed",
            "created there",
            "updated there",
            "still owed",
            "first read",
            "counted since",
        ];
        table(&head, &rows)
    });
}
