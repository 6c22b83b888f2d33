//! `interconnect event` and `interconnect asyncapi`: what there is to hear and to say, and what was said.

mod kept;

use clap::Subcommand;
use event::{Catalogue, TypeInfo};
use jiff::Timestamp;
use ledger::LedgerError;
use serde_json::{Value as Json, json};

use super::names::open_for;
use super::out::table;
use super::schema::at_hand;
use super::{Common, Exit, Out};
use crate::hub;

/// What to ask about events.
#[derive(Subcommand)]
pub(crate) enum EventCommand {
    /// Events that were taken, newest first, and what became of them.
    #[command(
        after_help = "Example:\n  interconnect event list --source northwind --type 'deal.*' --since 2h\n  interconnect event list --trace 01a21c6b74557386aebac4a66039d29b"
    )]
    List(kept::ListArgs),
    /// One event as it arrived: headers with secrets masked, what it was verified by, its body, its deliveries.
    Show {
        /// Its id.
        id: String,
    },
    /// All types of events: the hub's own, and those of the configuration.
    Types,
    /// One type: its schema (of the whole event, JSON Schema 2020-12) and a sample.
    #[command(after_help = "Examples:\n  interconnect event type deal.won\n  \
        interconnect event type custom.acme.quote_sent --version 2 --schema > quote.schema.json")]
    Type {
        /// Its name.
        name: String,
        /// Which version of it; the newest when none is said.
        #[arg(long, value_name = "N")]
        version: Option<u32>,
        /// The schema alone.
        #[arg(long)]
        schema: bool,
    },
}

pub(crate) async fn run(command: &EventCommand, common: &Common, out: &Out) -> Exit {
    let catalogue = || at_hand(common, out).map(|(_, catalogue)| catalogue.events().clone());
    let done = match command {
        EventCommand::Types => catalogue().map(|catalogue| types(&catalogue, out)),
        EventCommand::Type {
            name,
            version,
            schema,
        } => catalogue().map(|catalogue| one(&catalogue, name, *version, *schema, out)),
        EventCommand::List(args) => match open_for(args.named(), common, out).await {
            Ok(ledger) => Ok(told(kept::list(args, &*ledger, Timestamp::now(), out).await, out)),
            Err(exit) => Err(exit),
        },
        EventCommand::Show { id } => match hub::open_ledger(&common.config, out).await {
            Ok(ledger) => Ok(told(kept::show(id, &*ledger, out).await, out)),
            Err(exit) => Err(exit),
        },
    };
    done.unwrap_or_else(|exit| exit)
}

fn told(done: Result<Exit, LedgerError>, out: &Out) -> Exit {
    done.unwrap_or_else(|error| out.fail(&error.to_string()))
}

/// Prints the AsyncAPI document.
pub(crate) fn asyncapi(common: &Common, out: &Out) -> Exit {
    match at_hand(common, out) {
        Ok((_, catalogue)) => {
            let document = catalogue.events().asyncapi(env!("CARGO_PKG_VERSION"));
            out.line(&format!("{document:#}"));
            Exit::Ok
        }
        Err(exit) => exit,
    }
}

fn types(catalogue: &Catalogue, out: &Out) -> Exit {
    let versions = |info: &TypeInfo| {
        info.versions
            .iter()
            .map(|version| version.version)
            .collect::<Vec<u32>>()
    };
    let json = |info: &TypeInfo| json!({"name": info.name, "doc": info.doc, "versions": versions(info)});
    let all: Vec<Json> = catalogue.types().map(json).collect();
    out.data(json!({"data": all}), || {
        let row = |info: &TypeInfo| {
            let versions: Vec<String> = versions(info).iter().map(u32::to_string).collect();
            vec![info.name.clone(), versions.join(", "), info.doc.clone()]
        };
        table(
            &["type", "versions", "said when"],
            &catalogue.types().map(row).collect::<Vec<_>>(),
        )
    });
    Exit::Ok
}

fn one(catalogue: &Catalogue, name: &str, version: Option<u32>, schema_alone: bool, out: &Out) -> Exit {
    let Some(info) = catalogue.get(name) else {
        let hint = diagnostic::suggestion(name, catalogue.types().map(|info| info.name.as_str()));
        out.fails(&format!("`{name}` is not a type of event; {hint}"));
        return Exit::Usage;
    };
    let found = match version {
        Some(wanted) => info.versions.iter().find(|info| info.version == wanted),
        None => info.versions.last(),
    };
    let Some((found, schema)) = found.and_then(|found| Some((found, catalogue.schema(name, found.version)?)))
    else {
        out.fails(&format!(
            "`{name}` has no such version; see `interconnect event types`"
        ));
        return Exit::Usage;
    };
    if schema_alone {
        out.line(&format!("{schema:#}"));
        return Exit::Ok;
    }
    let sample = found.sample.clone();
    let text = || {
        format!(
            "{}, version {}: {}\n\nA sample of its data:\n{:#}\n\nIts schema:\n{schema:#}",
            info.name, found.version, info.doc, found.sample
        )
    };
    let json = json!({"name": info.name, "doc": info.doc, "version": found.version, "data_schema": schema, "sample": sample});
    out.data(json, text);
    Exit::Ok
}
