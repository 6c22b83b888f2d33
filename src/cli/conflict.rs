//! `interconnect conflict`: what two sides changed alike, and what a person decides about it.

mod rule;

use clap::{Args, Subcommand};
use ledger::{Conflict, ConflictFilter, ConflictState, Ledger};
use model::{BY_HAND, ConflictId, Kind, RecordId};
use serde_json::{Value as Json, json};
use sync::{Decision, Take};

use super::action::By;
use super::names::{Named, must_be_connected, open_for};
use super::out::table;
use super::{Common, Exit, Out};
use crate::hub::{self, Hub};

/// What to do with conflicts.
#[derive(Subcommand)]
pub(crate) enum ConflictCommand {
    /// Conflicts, oldest first: those that wait for a person.
    #[command(
        after_help = "Examples:\n  interconnect conflict list\n  interconnect conflict list --connection crm --field stage\n  \
                      interconnect conflict list --all --record dea_01h455vb4pex5vsknk084sn02q --json"
    )]
    List {
        #[command(flatten)]
        which: Which,
        /// Closed ones, too.
        #[arg(long, conflicts_with = "state")]
        all: bool,
        /// In this state: open, decided (by a rule), resolved (by a person), agreed, withdrawn or gone (by themselves).
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Those behind this id.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// One conflict: what both last agreed on, what each side has, what decided, and what brought it.
    #[command(after_help = "Example:\n  interconnect conflict show cfl_01h455vb4pex5vsknk084sn02q")]
    Show {
        /// Its id.
        id: String,
    },
    /// Decide: which value the record and every system are to have.
    ///
    /// It works beside a running hub. A decision about what has moved on meanwhile is refused.
    #[command(
        after_help = "Examples:\n  interconnect conflict resolve cfl_01h455vb4pex5vsknk084sn02q --take theirs\n  \
                      interconnect conflict resolve cfl_01h455vb4pex5vsknk084sn02q --value '\"qualified\"' --by ada\n  \
                      interconnect conflict resolve --connection crm --field stage --take crm --dry-run\n  \
                      interconnect conflict resolve cfl_01h455vb4pex5vsknk084sn02q --take crm --write"
    )]
    Resolve(ResolveArgs),
    /// The rule that would have decided as a person did, as a change of the configuration.
    #[command(
        after_help = "Examples:\n  interconnect conflict rule cfl_01h455vb4pex5vsknk084sn02q\n  \
                      interconnect conflict rule cfl_01h455vb4pex5vsknk084sn02q --policy max --write"
    )]
    Rule {
        /// The conflict, which a person has decided.
        id: String,
        #[command(flatten)]
        change: rule::Change,
    },
}

/// Which conflicts.
#[derive(Args)]
pub(crate) struct Which {
    /// With this connection.
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// About this field.
    #[arg(long, value_name = "PATH")]
    field: Option<String>,
    /// Of this kind of record: partner, lead or deal.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Of this record.
    #[arg(long, value_name = "ID")]
    record: Option<String>,
}

/// What is decided.
#[derive(Args)]
pub(crate) struct ResolveArgs {
    /// The ids of conflicts.
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Whose value to take: ours, theirs, or that of a connection.
    #[arg(long, value_name = "SIDE", required_unless_present = "value")]
    take: Option<String>,
    /// Another value, as JSON: '"qualified"', 12, null, '{"amount": "10.00", "currency": "EUR"}'.
    #[arg(long, value_name = "JSON", conflicts_with = "take")]
    value: Option<String>,
    #[command(flatten)]
    by: By,
    /// Only if the conflict is still at this revision, as it was shown; for one conflict.
    #[arg(long, value_name = "NUMBER")]
    revision: Option<u64>,
    /// Only tell how many and which, and what would be refused.
    #[arg(long)]
    dry_run: bool,
    /// Show the rule that would have decided so, as a change of the configuration.
    #[arg(long)]
    propose: bool,
    #[command(flatten)]
    change: rule::Change,
}

/// Conflicts that are read at a time; so many are decided at once at most.
const AT_A_TIME_MAX: usize = 1_000;

impl Which {
    fn filter(&self, ids: &[String], state: Option<ConflictState>) -> Result<ConflictFilter, String> {
        let kind = self.kind.as_deref().map(|word| {
            Kind::parse(word)
                .ok_or_else(|| format!("`{word}` is not a kind of record; write partner, lead or deal"))
        });
        let record = self.record.as_deref().map(str::parse::<RecordId>);
        Ok(ConflictFilter {
            ids: ids.iter().map(|id| read_id(id)).collect::<Result<_, _>>()?,
            state,
            kind: kind.transpose()?,
            record: record.transpose().map_err(|bad| bad.to_string())?,
            connection: self.connection.clone(),
            path: self.field.clone(),
        })
    }
}

fn read_id(text: &str) -> Result<ConflictId, String> {
    model::read_id(text).ok_or_else(|| format!("`{text}` is not the id of a conflict; they look like cfl_…"))
}

fn usage(out: &Out, error: &str) -> Exit {
    out.fails(error);
    Exit::Usage
}

pub(crate) async fn run(command: &ConflictCommand, common: &Common, out: &Out) -> Exit {
    let done = match command {
        ConflictCommand::Resolve(args) => return resolve(args, common, out).await,
        ConflictCommand::List {
            which,
            all,
            state,
            limit,
            after,
        } => {
            let filter = match state.as_deref().map(ConflictState::parse) {
                Some(None) => Err("a state is open, decided, resolved, agreed, withdrawn or gone".to_owned()),
                Some(state) => which.filter(&[], state),
                None => which.filter(&[], (!all).then_some(ConflictState::Open)),
            };
            let after = after.as_deref().map(read_id).transpose();
            let (filter, after) = match (filter, after) {
                (Ok(filter), Ok(after)) => (filter, after),
                (Err(error), _) | (_, Err(error)) => return usage(out, &error),
            };
            let named = which.connection.as_deref().map(Named::Connection);
            match open_for(named, common, out).await {
                Ok(ledger) => list(&*ledger, &filter, after, usize::from(*limit), out).await,
                Err(exit) => return exit,
            }
        }
        ConflictCommand::Show { id } | ConflictCommand::Rule { id, .. } => {
            let id = match read_id(id) {
                Ok(id) => id,
                Err(error) => return usage(out, &error),
            };
            let ledger = match hub::open_ledger(&common.config, out).await {
                Ok(ledger) => ledger,
                Err(exit) => return exit,
            };
            match (one(&*ledger, id).await, command) {
                (Ok(conflict), ConflictCommand::Rule { change, .. }) => {
                    return rule::propose(&[conflict], change, common, out);
                }
                (Ok(conflict), _) => {
                    out.data(document(&conflict), || text(&conflict));
                    Ok(Exit::Ok)
                }
                (Err(error), _) => Err(error),
            }
        }
    };
    done.unwrap_or_else(|error| out.fail(&error))
}

async fn list(
    ledger: &dyn Ledger,
    filter: &ConflictFilter,
    after: Option<ConflictId>,
    limit: usize,
    out: &Out,
) -> Result<Exit, String> {
    let fails = |error: ledger::LedgerError| error.to_string();
    let mut conflicts = ledger
        .list_conflicts(filter, after, limit + 1)
        .await
        .map_err(fails)?;
    let total = ledger.count_conflicts(filter).await.map_err(fails)?;
    let more = conflicts.len() > limit;
    conflicts.truncate(limit);
    let next = conflicts.last().filter(|_| more).map(|last| last.id.to_string());
    let json: Vec<Json> = conflicts.iter().map(document).collect();
    out.data(json!({"data": json, "total": total, "next": next}), || {
        let rows: Vec<Vec<String>> = conflicts.iter().map(row).collect();
        table(
            &[
                "id", "record", "field", "with", "ours", "theirs", "found", "state",
            ],
            &rows,
        )
    });
    if !out.json {
        match &next {
            Some(next) => out.note(&format!(
                "{} of {total}; go on with --after {next}",
                conflicts.len()
            )),
            None => out.note(&format!("{total} in all")),
        }
    }
    Ok(Exit::Ok)
}

fn row(conflict: &Conflict) -> Vec<String> {
    vec![
        conflict.id.to_string(),
        conflict.record.to_string(),
        conflict.path.clone(),
        conflict.connection.clone(),
        cut(&conflict.ours),
        cut(&conflict.theirs),
        conflict.found_at.strftime("%F %T").to_string(),
        conflict.state.word().to_owned(),
    ]
}

/// Characters of a value that a row shows.
const SHOWN_CHARS_MAX: usize = 40;

fn cut(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

async fn one(ledger: &dyn Ledger, id: ConflictId) -> Result<Conflict, String> {
    let filter = ConflictFilter {
        ids: vec![id],
        ..ConflictFilter::default()
    };
    let found = ledger
        .list_conflicts(&filter, None, 1)
        .await
        .map_err(|error| error.to_string())?;
    let found = found.into_iter().next();
    found.ok_or_else(|| {
        format!("there is no conflict `{id}`; list them with `interconnect conflict list --all`")
    })
}

fn text(conflict: &Conflict) -> String {
    let at = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let place = format!(
        "{}/{}/{}",
        conflict.connection, conflict.object, conflict.external_id
    );
    let run = conflict.run.map(|run| run.to_string()).unwrap_or_default();
    let rows = [
        ["agreed on", &conflict.base.to_string(), "", ""],
        ["ours", &conflict.ours.to_string(), &conflict.ours_by, ""],
        [
            "theirs",
            &conflict.theirs.to_string(),
            &place,
            &at(conflict.theirs_at),
        ],
        [
            "kept",
            &conflict.kept.to_string(),
            &conflict.closed_by,
            &at(conflict.closed_at),
        ],
    ];
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
    let mut text = format!(
        "{}  {} of {}, {}\n\n{}\n\nrevision {}, found {} by {run}; rule: {}",
        conflict.id,
        conflict.path,
        conflict.record,
        conflict.state.word(),
        table(&["", "value", "said by", "when"], &rows),
        conflict.revision,
        conflict.found_at,
        match conflict.rule.as_str() {
            "" => "not kept",
            rule => rule,
        }
    );
    if conflict.is_open() {
        let id = conflict.id;
        text.push_str(&format!(
            "\n\ndecide with: interconnect conflict resolve {id} --take ours|theirs"
        ));
    }
    text
}

async fn resolve(args: &ResolveArgs, common: &Common, out: &Out) -> Exit {
    // What is named must be told if it is closed already; what a filter means is what waits.
    let state = args.ids.is_empty().then_some(ConflictState::Open);
    let filter = match args.which.filter(&args.ids, state) {
        Ok(filter) => filter,
        Err(error) => return usage(out, &error),
    };
    let all = ConflictFilter {
        state,
        ..ConflictFilter::default()
    };
    if filter == all {
        return usage(out, "say which: ids, or --connection, --field, --kind, --record");
    }
    if args.revision.is_some() && args.ids.len() != 1 {
        return usage(out, "--revision is that of one conflict; name one");
    }
    let take = match (&args.take, &args.value) {
        (_, Some(value)) => match serde_json::from_str(value) {
            Ok(value) => Take::Value(value),
            Err(error) => {
                return usage(
                    out,
                    &format!("--value is not JSON: {error}; text needs quotes: '\"text\"'"),
                );
            }
        },
        (Some(side), _) if side == "ours" => Take::Ours,
        (Some(side), _) if side == "theirs" => Take::Theirs,
        (Some(side), _) => Take::Of(side.clone()),
        (None, None) => return usage(out, "say --take or --value"),
    };
    let hub = match hub::open(&common.config, out).await {
        Ok(hub) => hub,
        Err(exit) => return exit,
    };
    if let Err(exit) = must_be_connected(args.which.connection.as_deref(), &hub.engine, out) {
        return exit;
    }
    let found = match hub.ledger.list_conflicts(&filter, None, AT_A_TIME_MAX).await {
        Ok(found) => found,
        Err(error) => return out.fail(&error.to_string()),
    };
    if let Some(missing) = filter
        .ids
        .iter()
        .find(|id| found.iter().all(|conflict| conflict.id != **id))
    {
        return out.fail(&format!(
            "there is no conflict {missing}; list them with `interconnect conflict list`"
        ));
    }
    out.note(&format!("{} conflicts are meant", found.len()));
    let (resolved, errors) = decide(&hub, &found, &take, args).await;
    let json: Vec<Json> = resolved.iter().map(document).collect();
    out.data(json!({"data": json, "errors": errors}), || {
        resolved.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    errors.iter().for_each(|error| out.fails(error));
    let exit = match (resolved.is_empty(), errors.is_empty()) {
        (_, true) => Exit::Ok,
        (true, false) => Exit::Failed,
        (false, false) => Exit::Partial,
    };
    if (args.propose || args.change.write) && !resolved.is_empty() && !args.dry_run {
        let proposed = rule::propose(&resolved, &args.change, common, out);
        return if exit == Exit::Ok { proposed } else { exit };
    }
    exit
}

/// Takes a decision about each, or asks whether it could be; gives those that were taken, and why others were not.
async fn decide(
    hub: &Hub,
    found: &[Conflict],
    take: &Take,
    args: &ResolveArgs,
) -> (Vec<Conflict>, Vec<String>) {
    let run = hub.engine.begin_resolving();
    let (mut resolved, mut errors, mut nudges) = (Vec::new(), Vec::new(), Vec::new());
    for conflict in found {
        let decision = Decision {
            conflict: conflict.id,
            take: take.clone(),
            by: args.by.name(),
            // What is decided is what was just read.
            revision: Some(args.revision.unwrap_or(conflict.revision)),
        };
        if args.dry_run {
            match hub.engine.may_resolve(&decision, run).await {
                Ok(()) => resolved.push(conflict.clone()),
                Err(error) => errors.push(error.to_string()),
            }
            continue;
        }
        match hub.engine.resolve(&decision, run).await {
            Ok(done) => {
                nudges.extend(crate::hints::nudges_of(&done));
                resolved.push(done.conflict);
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    if args.dry_run {
        return (resolved, errors);
    }
    let count = u64::try_from(resolved.len()).unwrap_or(u64::MAX);
    if let Err(error) = hub.engine.note_resolved(run, count).await {
        errors.push(error.to_string());
    }
    // A hub with the same queue writes at once; another one finds what is owed with its next sweep.
    if let Err(error) = hub.queue.nudge(&nudges).await {
        tracing::warn!(%error, "the queue did not take a nudge");
    }
    (resolved, errors)
}

/// A conflict as JSON.
pub(crate) fn document(conflict: &Conflict) -> Json {
    json!({
        "id": conflict.id.to_string(), "record": conflict.record.to_string(), "field": conflict.path,
        "connection": conflict.connection, "object": conflict.object, "external_id": conflict.external_id,
        "base": conflict.base, "ours": conflict.ours, "ours_by": conflict.ours_by, "theirs": conflict.theirs,
        "theirs_at": conflict.theirs_at.map(|at| at.to_string()), "kept": conflict.kept, "rule": conflict.rule,
        "winner": conflict.winner, "state": conflict.state.word(), "revision": conflict.revision,
        "run": conflict.run.map(|run| run.to_string()), "trace": conflict.trace,
        "found_at": conflict.found_at.to_string(), "closed_at": conflict.closed_at.map(|at| at.to_string()),
        "closed_by": conflict.closed_by,
    })
}

/// A conflict in one line.
pub(crate) fn line(conflict: &Conflict) -> String {
    let end = match conflict.state {
        ConflictState::Open => "waits for a decision".to_owned(),
        ConflictState::Decided => format!("decided by {}, kept {}", conflict.rule, conflict.kept),
        ConflictState::Resolved => format!("decided by {}, kept {}", conflict.closed_by, conflict.kept),
        ConflictState::Agreed => format!("both came to {}", conflict.kept),
        ConflictState::Gone => format!("the object is not there any more, kept {}", conflict.kept),
        ConflictState::Withdrawn => format!("they went back to {}, kept {}", conflict.base, conflict.kept),
    };
    format!(
        "{}  {} with {}: ours {}, theirs {}; {end}",
        conflict.id, conflict.path, conflict.connection, conflict.ours, conflict.theirs
    )
}

/// Who said ours, if it is a connection.
fn ours_by(conflict: &Conflict) -> Option<&str> {
    Some(conflict.ours_by.as_str()).filter(|by| !by.is_empty() && *by != BY_HAND)
}
