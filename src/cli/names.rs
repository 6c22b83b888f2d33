//! Names that a command line mentions. One that stands in no configuration, and of which nothing is kept from before, is a
//! slip of the pen: it is refused, so that nobody takes "nothing found" for an answer.

use std::sync::Arc;

use diagnostic::suggestion;
use ledger::{ConflictFilter, DeliveryFilter, EventFilter, Inlet, Ledger};
use sync::Engine;

use super::{Common, Exit, Out};
use crate::config::Config;
use crate::hub;

/// A name that a command line mentions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Named<'a> {
    /// A connection.
    Connection(&'a str),
    /// An endpoint.
    Endpoint(&'a str),
    /// Who said an event.
    Source(&'a str),
    /// A partner.
    Partner(&'a str),
}

/// Ends a command that names what nobody knows.
///
/// # Errors
/// How the command ends, of which the person has been told.
pub(crate) async fn must_be_known(
    named: impl IntoIterator<Item = Named<'_>>,
    config: &Config,
    ledger: &dyn Ledger,
    out: &Out,
) -> Result<(), Exit> {
    for name in named {
        let Some(unknown) = not_in(name, config) else {
            continue;
        };
        match is_kept(name, ledger).await {
            Ok(true) => {}
            Ok(false) => {
                out.fails(&unknown);
                return Err(Exit::Usage);
            }
            Err(error) => return Err(out.fail(&error.to_string())),
        }
    }
    Ok(())
}

/// Opens the ledger, unless something is named that nobody knows.
///
/// # Errors
/// How the command ends, of which the person has been told.
pub(crate) async fn open_for(
    named: impl IntoIterator<Item = Named<'_>>,
    common: &Common,
    out: &Out,
) -> Result<Arc<dyn Ledger>, Exit> {
    let (config, ledger) = hub::open_config_and_ledger(&common.config, out).await?;
    must_be_known(named, &config, &*ledger, out).await?;
    Ok(ledger)
}

/// Ends a command that names a connection which is not configured: nothing can be read or written there.
///
/// # Errors
/// How the command ends, of which the person has been told.
pub(crate) fn must_be_connected(name: Option<&str>, engine: &Engine, out: &Out) -> Result<(), Exit> {
    let unknown = name.filter(|name| engine.connection(name).is_none());
    let Some(name) = unknown else { return Ok(()) };
    let known = engine.plan().syncs.iter().map(|sync| sync.connection.as_str());
    out.fails(&unknown_name("connection", name, known));
    Err(Exit::Usage)
}

fn unknown_name<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    match known.is_empty() {
        true => format!("there is no {what} `{name}`; none is configured"),
        false => format!(
            "there is no {what} `{name}`; {}",
            suggestion(name, known.into_iter())
        ),
    }
}

/// What to say of a name that does not stand in a configuration.
fn not_in(name: Named<'_>, config: &Config) -> Option<String> {
    let partners = config.partners.keys().map(String::as_str);
    let endpoints = config.partners.values().flat_map(|partner| &partner.endpoints);
    let (what, name, known): (_, _, Vec<&str>) = match name {
        Named::Connection(name) => (
            "connection",
            name,
            config.connections.keys().map(String::as_str).collect(),
        ),
        Named::Endpoint(name) => (
            "endpoint",
            name,
            endpoints.map(|endpoint| endpoint.name.as_str()).collect(),
        ),
        Named::Source(name) => ("source", name, partners.chain([relay::SOURCE]).collect()),
        Named::Partner(name) => ("partner", name, partners.collect()),
    };
    (!known.contains(&name)).then(|| unknown_name(what, name, known.into_iter()))
}

/// Ends a command that would have something sent to an endpoint which is not configured any more: nobody can send there.
///
/// # Errors
/// How the command ends, of which the person has been told.
pub(crate) fn must_be_configured(endpoint: Option<&str>, config: &Config, out: &Out) -> Result<(), Exit> {
    let Some(name) = endpoint.filter(|name| !is_configured(name, config)) else {
        return Ok(());
    };
    out.fails(&format!(
        "`{name}` is not configured any more: what it is owed waits until there is an endpoint of that name again, or is given up \
         with: interconnect delivery give-up --endpoint {name}"
    ));
    Err(Exit::Usage)
}

/// Whether something can be sent to an endpoint, or read from an inlet.
pub(crate) fn is_configured(endpoint: &str, config: &Config) -> bool {
    let mut endpoints = config.partners.values().flat_map(|partner| &partner.endpoints);
    let of_connection = |inlet: Inlet| config.connections.contains_key(&inlet.connection);
    endpoints.any(|known| known.name == endpoint) || Inlet::parse(endpoint).is_some_and(of_connection)
}

/// Whether something is kept under a name, from before it was taken out of the configuration.
async fn is_kept(name: Named<'_>, ledger: &dyn Ledger) -> Result<bool, ledger::LedgerError> {
    Ok(match name {
        Named::Connection(name) => {
            let filter = ConflictFilter {
                connection: Some(name.to_owned()),
                ..ConflictFilter::default()
            };
            let causes = ledger.parked_causes().await?;
            causes.iter().any(|cause| cause.connection == name)
                || !ledger.list_conflicts(&filter, None, 1).await?.is_empty()
        }
        Named::Endpoint(name) => {
            let filter = DeliveryFilter {
                endpoint: Some(name.to_owned()),
                ..DeliveryFilter::default()
            };
            !ledger.list_deliveries(&filter, None, 1).await?.is_empty()
        }
        Named::Source(name) => {
            let filter = EventFilter {
                source: Some(name.to_owned()),
                ..EventFilter::default()
            };
            !ledger.list_events(&filter, None, 1).await?.is_empty()
        }
        Named::Partner(_) => false,
    })
}
