//! `interconnect connection auth` and `resume`: what a person does when a connection needs one.

use clap::Args;
use connector::Connection;
use jiff::Timestamp;
use ledger::{Ledger, Standing};
use serde_json::json;
use server::{Brought, Redirect};

use super::{Exit, Out};
use crate::catalogue::Catalogue;
use crate::config::{Config, ConnectionConfig};
use crate::hub;

/// How long a person may take to sign in.
const SIGN_IN_S: u64 = 600;

/// How the browser comes back.
#[derive(Args)]
pub(crate) struct AuthArgs {
    /// Which connection.
    name: String,
    /// The port on this machine that the browser is sent back to; http://127.0.0.1:PORT/ must be registered at the system.
    #[arg(long, default_value_t = 8765)]
    port: u16,
}

/// Which connection goes on.
#[derive(Args)]
pub(crate) struct ResumeArgs {
    /// Which connection.
    name: String,
    /// Go on with this account, although the connection's records belong to another one.
    #[arg(long, value_name = "ID")]
    account: Option<String>,
}

impl AuthArgs {
    pub(crate) fn name(&self) -> &String {
        &self.name
    }
}

impl ResumeArgs {
    pub(crate) fn name(&self) -> &String {
        &self.name
    }
}

/// Signs in with a browser.
pub(crate) async fn auth(
    args: &AuthArgs,
    (config, catalogue): (&Config, &Catalogue),
    connection: &ConnectionConfig,
    out: &Out,
) -> Exit {
    let open = match hub::open_connection(config, catalogue, &args.name, connection).await {
        Ok(open) => open,
        Err(error) => return usage(&error, out),
    };
    match sign_in(&open, args.port, out).await {
        Ok(account) => {
            out.data(json!({"connection": args.name, "account": account}), || {
                format!("{} is signed in to account {account}", args.name)
            });
            Exit::Ok
        }
        Err(error) => out.fail(&error),
    }
}

async fn sign_in(open: &Connection, port: u16, out: &Out) -> Result<String, String> {
    let listening = Redirect::listen(port).await;
    let redirect = listening.map_err(|error| {
        format!("port {port} cannot be listened on: {error}; name another one with --port")
    })?;
    let begun = open
        .begin_sign_in(redirect.uri())
        .map_err(|failure| failure.text())?;
    out.aside("open", begun.url.as_str(), |url| {
        format!("open this address in a browser and sign in:\n\n  {url}\n")
    });
    let waited = tokio::time::timeout(std::time::Duration::from_secs(SIGN_IN_S), redirect.wait()).await;
    let brought: Brought = waited
        .map_err(|_| format!("nobody signed in within {SIGN_IN_S} s; begin again"))?
        .map_err(|error| error.to_string())?;
    if !brought.error.is_empty() {
        let said: String = brought
            .error
            .chars()
            .filter(|c| c.is_ascii_graphic())
            .take(100)
            .collect();
        return Err(format!("the system did not let you in: {said}"));
    }
    let ended = open.end_sign_in(&begun, &brought.state, &brought.code).await;
    ended.map_err(|failure| failure.text())?;
    let identity = open.identity().await.map_err(|failure| failure.text())?;
    Ok(identity.tenant)
}

/// Lets a stopped connection go on, when its credentials work and belong to its account.
pub(crate) async fn resume(
    args: &ResumeArgs,
    (config, catalogue): (&Config, &Catalogue),
    connection: &ConnectionConfig,
    out: &Out,
) -> Exit {
    let open = match hub::open_connection(config, catalogue, &args.name, connection).await {
        Ok(open) => open,
        Err(error) => return usage(&error, out),
    };
    let ledger = match ledger::open(&config.ledger, ledger::Settings::default()).await {
        Ok(ledger) => ledger,
        Err(error) => return usage(&error, out),
    };
    match go_on(args, &open, &*ledger).await {
        Ok(account) => {
            out.data(json!({"connection": args.name, "account": account}), || {
                format!("{} goes on with account {account}", args.name)
            });
            Exit::Ok
        }
        Err(error) => out.fail(&error),
    }
}

/// Writes down that a connection may be used; the account that it goes on with.
async fn go_on(args: &ResumeArgs, open: &Connection, ledger: &dyn Ledger) -> Result<String, String> {
    let identity = open.identity().await.map_err(|failure| failure.text())?;
    let account = identity.tenant;
    let standings = ledger.standings(Some(&args.name)).await;
    let standings = standings.map_err(|error| error.to_string())?;
    let pinned = standings.into_iter().find_map(|standing| standing.account);
    if let Some(pinned) = pinned.filter(|pinned| *pinned != account)
        && args.account.as_ref() != Some(&account)
    {
        return Err(format!(
            "the credentials belong to account {account}, the records of `{}` to account {pinned}: correct the \
             credentials, or say `--account {account}` to go on with it; objects of {pinned} are then not found there",
            args.name
        ));
    }
    let standing = Standing {
        connection: args.name.clone(),
        account: Some(account.clone()),
        code: String::new(),
        reason: String::new(),
        since: Timestamp::now(),
    };
    let noted = ledger.note_standing(&standing).await;
    noted.map(|()| account).map_err(|error| error.to_string())
}

fn usage(error: &impl std::fmt::Display, out: &Out) -> Exit {
    out.fails(&error.to_string());
    Exit::Usage
}
