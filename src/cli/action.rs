//! What persons did with records: `interconnect action`, and the commands of `interconnect record` that do something.

use clap::{Args, Subcommand};
use ledger::{Action, ActionFilter, Ledger};
use model::{ActionId, RecordId};
use serde_json::{Value as Json, json};
use sync::{ActionError, Done, ObjectAt};

use super::out::table;
use super::{Common, Exit, Out};
use crate::hub;

/// What to do with actions.
#[derive(Subcommand)]
pub(crate) enum ActionCommand {
    /// What persons did with records, newest first.
    #[command(
        after_help = "Examples:\n  interconnect action list\n  interconnect action list --record ptn_01h455vb4pex5vsknk084sn02q"
    )]
    List {
        /// Only what is about this record.
        #[arg(long, value_name = "ID")]
        record: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Those before this one.
        #[arg(long, value_name = "ID")]
        before: Option<String>,
    },
    /// Take an action back, with all that it moved.
    ///
    /// Refused when a later action on the same records stands, or when what it changed has become something else since.
    #[command(after_help = "Example:\n  interconnect action undo act_01h455vb4pex5vsknk084sn02q")]
    Undo {
        /// The action's id.
        id: String,
        #[command(flatten)]
        by: By,
    },
}

/// Who does it.
#[derive(Args)]
pub(crate) struct By {
    /// Who does it, for the journal; the user of the operating system when it is not said.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl By {
    pub(crate) fn name(&self) -> String {
        let user = || {
            ["USER", "LOGNAME", "USERNAME"]
                .iter()
                .find_map(|name| std::env::var(name).ok())
        };
        let name = self.by.clone().or_else(user);
        name.filter(|name| !name.is_empty())
            .unwrap_or_else(|| "unknown".to_owned())
    }
}

/// Ties an object to a record.
#[derive(Args)]
pub(crate) struct LinkArgs {
    /// The record's id.
    record: String,
    /// The object, as connection/object/id.
    object: String,
    /// Take the object away from the record that has it.
    #[arg(long = "move")]
    moved: bool,
    #[command(flatten)]
    by: By,
}

/// Takes an object away from its record.
#[derive(Args)]
pub(crate) struct UnlinkArgs {
    /// The record's id.
    record: String,
    /// The connection, or connection/object.
    connection: String,
    /// Neither read nor write the object any more; else it is a record of its own at its next change.
    #[arg(long)]
    ignore: bool,
    #[command(flatten)]
    by: By,
}

/// Makes two records one.
#[derive(Args)]
pub(crate) struct MergeArgs {
    /// The record that stands for both.
    keep: String,
    /// The record that becomes it.
    lose: String,
    /// Where both have an object: the one that stays, as connection/object/id. The other one is left alone there.
    #[arg(long, value_name = "OBJECT")]
    stay: Vec<String>,
    #[command(flatten)]
    by: By,
}

/// Makes one record two again.
#[derive(Args)]
pub(crate) struct UnmergeArgs {
    /// The record that was merged into another one.
    record: String,
    #[command(flatten)]
    by: By,
}

/// What went wrong before anything was asked for.
pub(crate) enum Wrong {
    /// The command line.
    Usage(String),
    /// The action.
    Action(ActionError),
}

impl From<ActionError> for Wrong {
    fn from(error: ActionError) -> Wrong {
        Wrong::Action(error)
    }
}

impl From<ledger::LedgerError> for Wrong {
    fn from(error: ledger::LedgerError) -> Wrong {
        Wrong::Action(ActionError::from(error))
    }
}

impl From<model::NotARecordId> for Wrong {
    fn from(error: model::NotARecordId) -> Wrong {
        Wrong::Usage(error.to_string())
    }
}

impl From<sync::NotAnObject> for Wrong {
    fn from(error: sync::NotAnObject) -> Wrong {
        Wrong::Usage(error.to_string())
    }
}

pub(crate) async fn run(command: &ActionCommand, common: &Common, out: &Out) -> Exit {
    match command {
        ActionCommand::List {
            record,
            limit,
            before,
        } => {
            let ledger = match hub::open_ledger(&common.config, out).await {
                Ok(ledger) => ledger,
                Err(exit) => return exit,
            };
            let listed = list(
                &*ledger,
                record.as_deref(),
                before.as_deref(),
                usize::from(*limit),
            )
            .await;
            match listed {
                Ok(actions) => show(&actions, out),
                Err(wrong) => tell(Err(wrong), out),
            }
        }
        ActionCommand::Undo { id, by } => {
            let hub = match hub::open(&common.config, out).await {
                Ok(hub) => hub,
                Err(exit) => return exit,
            };
            let undone = match read_id(id) {
                Ok(id) => hub.engine.undo(&by.name(), id).await.map_err(Wrong::from),
                Err(wrong) => Err(wrong),
            };
            tell(undone, out)
        }
    }
}

pub(crate) async fn link(args: &LinkArgs, common: &Common, out: &Out) -> Exit {
    let hub = match hub::open(&common.config, out).await {
        Ok(hub) => hub,
        Err(exit) => return exit,
    };
    let done = async {
        let (record, at): (RecordId, ObjectAt) = (args.record.parse()?, args.object.parse()?);
        Ok(hub.engine.link(&args.by.name(), record, &at, args.moved).await?)
    };
    tell(done.await, out)
}

pub(crate) async fn unlink(args: &UnlinkArgs, common: &Common, out: &Out) -> Exit {
    let hub = match hub::open(&common.config, out).await {
        Ok(hub) => hub,
        Err(exit) => return exit,
    };
    let done = async {
        let record: RecordId = args.record.parse()?;
        let (connection, object) = match args.connection.split_once('/') {
            Some((connection, object)) => (connection, Some(object)),
            None => (args.connection.as_str(), None),
        };
        let by = args.by.name();
        Ok(hub
            .engine
            .unlink(&by, record, connection, object, args.ignore)
            .await?)
    };
    tell(done.await, out)
}

pub(crate) async fn merge(args: &MergeArgs, common: &Common, out: &Out) -> Exit {
    let hub = match hub::open(&common.config, out).await {
        Ok(hub) => hub,
        Err(exit) => return exit,
    };
    let done = async {
        let (keep, lose): (RecordId, RecordId) = (args.keep.parse()?, args.lose.parse()?);
        let stay: Vec<ObjectAt> = args.stay.iter().map(|at| at.parse()).collect::<Result<_, _>>()?;
        Ok(hub.engine.merge(&args.by.name(), keep, lose, &stay).await?)
    };
    tell(done.await, out)
}

pub(crate) async fn unmerge(args: &UnmergeArgs, common: &Common, out: &Out) -> Exit {
    let hub = match hub::open(&common.config, out).await {
        Ok(hub) => hub,
        Err(exit) => return exit,
    };
    let done = async {
        let record: RecordId = args.record.parse()?;
        Ok(hub.engine.unmerge_record(&args.by.name(), record).await?)
    };
    tell(done.await, out)
}

fn read_id(text: &str) -> Result<ActionId, Wrong> {
    model::read_id(text).ok_or_else(|| {
        Wrong::Usage(format!(
            "`{text}` is not the id of an action, `act_…`; list them with: interconnect action list"
        ))
    })
}

async fn list(
    ledger: &dyn Ledger,
    record: Option<&str>,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<Action>, Wrong> {
    let filter = ActionFilter {
        id: None,
        record: record.map(str::parse).transpose()?,
        before: before.map(read_id).transpose()?,
    };
    Ok(ledger.actions(&filter, limit).await?)
}

fn show(actions: &[Action], out: &Out) -> Exit {
    let data: Vec<Json> = actions.iter().map(document).collect();
    out.data(json!({"data": data}), || {
        let row = |action: &Action| {
            let records: Vec<String> = action.records.iter().map(ToString::to_string).collect();
            let state = match (action.undone_by, action.undoes) {
                (Some(by), _) => format!("undone by {by}"),
                (None, Some(undone)) => format!("undoes {undone}"),
                (None, None) => String::new(),
            };
            let object = action.detail["object"].as_str().unwrap_or_default();
            let detail = |key: &str| action.detail[key].as_str().unwrap_or_default();
            let about = format!(
                "{} {object} {} {}",
                records.join(" "),
                detail("field"),
                detail("conflict")
            );
            vec![
                action.id.to_string(),
                action.at.to_string(),
                action.by.clone(),
                action.verb.clone(),
                about.split_whitespace().collect::<Vec<_>>().join(" "),
                state,
            ]
        };
        let rows: Vec<Vec<String>> = actions.iter().map(row).collect();
        table(&["id", "at", "by", "did", "to", "state"], &rows)
    });
    Exit::Ok
}

/// An action, without what only undoing needs.
fn document(action: &Action) -> Json {
    let detail = &action.detail;
    json!({
        "id": action.id.to_string(), "at": action.at.to_string(), "by": action.by, "did": action.verb,
        "records": action.records.iter().map(ToString::to_string).collect::<Vec<_>>(), "object": detail["object"],
        "conflict": detail["conflict"], "field": detail["field"], "kept": detail["kept"], "references": detail["references"], "left_alone": detail["left_alone"],
        "undoes": action.undoes.map(|id| id.to_string()), "undone_by": action.undone_by.map(|id| id.to_string()),
    })
}

/// Says what was done, or why not.
pub(crate) fn tell(done: Result<Done, Wrong>, out: &Out) -> Exit {
    match done {
        Ok(done) => {
            let id = done.action.id;
            out.data(
                json!({"action": document(&done.action), "told": done.told}),
                || {
                    let mut text = done.told.join("\n");
                    if sync::can_be_undone(&done.action) {
                        text.push_str(&format!("\ntake it back with: interconnect action undo {id}"));
                    }
                    text
                },
            );
            Exit::Ok
        }
        Err(Wrong::Usage(error)) => {
            out.fails(&error);
            Exit::Usage
        }
        Err(Wrong::Action(error)) => out.fail(&error.to_string()),
    }
}
