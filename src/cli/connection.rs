//! `interconnect connection`: the accounts at systems, and whether they work.

use clap::Subcommand;
use connector::{Connection, Failure};
use diagnostic::suggestion;
use serde_json::{Map, Value as Json, json};

use super::out::table;
use super::{Common, Exit, Out, sign_in};
use crate::catalogue::Catalogue;
use crate::config::{Config, ConnectionConfig};
use crate::hub;

/// What to do with connections.
#[derive(Subcommand)]
pub(crate) enum ConnectionCommand {
    /// The connections that are configured, and the connectors at hand.
    #[command(after_help = "Example:\n  interconnect connection list --json")]
    List,
    /// Sign in, ask whose account it is, and make the connector's check call; exit 1 when any of it fails.
    #[command(
        after_help = "Examples:\n  interconnect connection test          all of them\n  \
        interconnect connection test crm --json"
    )]
    Test {
        /// Which; all when none is named.
        names: Vec<String>,
    },
    /// Sign in with a browser, for ways of the kind `oauth2_code`; what comes back is kept sealed in the ledger.
    #[command(after_help = "Example:\n  interconnect connection auth marketing --port 8765")]
    Auth(sign_in::AuthArgs),
    /// Let a stopped connection go on, when its credentials work and belong to its account.
    #[command(after_help = "Examples:\n  interconnect connection resume crm\n  \
        interconnect connection resume crm --account 00D5g00000000ZZEAY     a refreshed sandbox is another account")]
    Resume(sign_in::ResumeArgs),
    /// One connection: its settings, where its secrets are, its objects.
    #[command(after_help = "Example:\n  interconnect connection show crm")]
    Show {
        /// Its name.
        name: String,
    },
}

pub(crate) async fn run(command: &ConnectionCommand, common: &Common, out: &Out) -> Exit {
    let (config, catalogue) = match hub::load(&common.config, out) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match command {
        ConnectionCommand::List => list(&config, &catalogue, out),
        ConnectionCommand::Test { names } => match chosen(&config, names) {
            Ok(chosen) => test(&config, &catalogue, &chosen, out).await,
            Err(error) => usage(&error, out),
        },
        ConnectionCommand::Auth(args) => match chosen(&config, std::slice::from_ref(args.name())) {
            Ok(chosen) => sign_in::auth(args, (&config, &catalogue), chosen[0].1, out).await,
            Err(error) => usage(&error, out),
        },
        ConnectionCommand::Resume(args) => match chosen(&config, std::slice::from_ref(args.name())) {
            Ok(chosen) => sign_in::resume(args, (&config, &catalogue), chosen[0].1, out).await,
            Err(error) => usage(&error, out),
        },
        ConnectionCommand::Show { name } => match chosen(&config, std::slice::from_ref(name)) {
            Ok(chosen) => show(chosen[0].0, chosen[0].1, &catalogue, out),
            Err(error) => usage(&error, out),
        },
    }
}

fn usage(error: &str, out: &Out) -> Exit {
    out.fails(error);
    Exit::Usage
}

/// The connections of these names; all when none is named.
fn chosen<'c>(
    config: &'c Config,
    names: &'c [String],
) -> Result<Vec<(&'c str, &'c ConnectionConfig)>, String> {
    let all = || config.connections.iter().map(|(name, c)| (name.as_str(), c));
    if names.is_empty() {
        return Ok(all().collect());
    }
    let find = |name: &'c String| {
        let found = all().find(|(known, _)| known == name);
        found.ok_or_else(|| {
            let hint = suggestion(name, all().map(|(name, _)| name));
            format!("there is no connection `{name}`; {hint}")
        })
    };
    names.iter().map(find).collect()
}

/// The way to sign in, by its name.
fn way(connection: &ConnectionConfig, catalogue: &Catalogue) -> String {
    catalogue.way(connection).map_or_else(String::new, |way| way.name)
}

/// Whether a connection has all that it needs on this machine, as far as can be seen without a call.
fn state(connection: &ConnectionConfig) -> String {
    let missing = connection
        .secrets
        .values()
        .find_map(|secret| secret.look_up().err());
    missing.map_or_else(|| "ready".to_owned(), |missing| missing.to_string())
}

fn list(config: &Config, catalogue: &Catalogue, out: &Out) -> Exit {
    let json = |(name, connection): (&String, &ConnectionConfig)| json!({"name": name, "system": connection.system, "auth": way(connection, catalogue), "state": state(connection)});
    let data: Vec<Json> = config.connections.iter().map(json).collect();
    let systems = catalogue.systems();
    out.data(json!({"data": data, "systems": systems}), || {
        let row = |(name, connection): (&String, &ConnectionConfig)| {
            let way = way(connection, catalogue);
            vec![name.clone(), connection.system.clone(), way, state(connection)]
        };
        let rows: Vec<Vec<String>> = config.connections.iter().map(row).collect();
        let connections = table(&["connection", "system", "signs in by", "state"], &rows);
        format!("{connections}\n\nconnectors at hand: {}", systems.join(", "))
    });
    Exit::Ok
}

/// What a step of a test came to, in words for a person.
struct Tested {
    step: &'static str,
    result: Result<String, Failure>,
}

async fn test(
    config: &Config,
    catalogue: &Catalogue,
    chosen: &[(&str, &ConnectionConfig)],
    out: &Out,
) -> Exit {
    let mut data = Vec::new();
    let mut rows = Vec::new();
    let mut exit = Exit::Ok;
    for (name, connection) in chosen {
        let open = match hub::open_connection(config, catalogue, name, connection).await {
            Ok(open) => open,
            Err(error) => return usage(&error.to_string(), out),
        };
        let steps = steps(&open, &way(connection, catalogue)).await;
        let works = steps.iter().all(|step| step.result.is_ok());
        if !works {
            exit = Exit::Failed;
        }
        rows.extend(steps.iter().map(|step| step.row(name)));
        let steps: Vec<Json> = steps.iter().map(Tested::json).collect();
        data.push(json!({"connection": name, "system": connection.system, "works": works, "steps": steps}));
    }
    out.data(json!({"data": data}), || {
        table(&["connection", "step", "", "said"], &rows)
    });
    exit
}

/// Each step up to the first that fails: what comes behind it would fail for the same reason.
async fn steps(connection: &Connection, way: &str) -> Vec<Tested> {
    if connection.connector().is_posted() {
        return vec![Tested {
            step: "posted",
            result: Ok("partners post its objects, nobody is called".to_owned()),
        }];
    }
    let mut steps = vec![Tested {
        step: "sign in",
        result: connection.sign_in().await.map(|()| format!("by {way}")),
    }];
    if steps[0].result.is_ok() {
        let identity = connection.identity().await;
        steps.push(Tested {
            step: "identity",
            result: identity.map(|identity| format!("account {}", identity.tenant)),
        });
    }
    if steps.iter().all(|step| step.result.is_ok()) {
        let tried = connection.try_out().await;
        let said = |tried| {
            if tried {
                "it may read"
            } else {
                "the connector has no check call"
            }
        };
        steps.push(Tested {
            step: "check",
            result: tried.map(|tried| said(tried).to_owned()),
        });
    }
    steps
}

impl Tested {
    fn row(&self, connection: &str) -> Vec<String> {
        let (outcome, said) = match &self.result {
            Ok(said) => ("ok", said.clone()),
            Err(failure) => ("failed", failure.text()),
        };
        vec![
            connection.to_owned(),
            self.step.to_owned(),
            outcome.to_owned(),
            said,
        ]
    }

    fn json(&self) -> Json {
        let step = self.step.replace(' ', "_");
        match &self.result {
            Ok(said) => json!({"step": step, "ok": true, "said": said}),
            Err(failure) => json!({
                "step": step, "ok": false, "said": failure.text(), "class": failure.class.name(), "status": failure.status,
            }),
        }
    }
}

fn show(name: &str, connection: &ConnectionConfig, catalogue: &Catalogue, out: &Out) -> Exit {
    let Some(connector) = catalogue.connector(&connection.system) else {
        return out.fail(&format!("`{}` has no connector", connection.system));
    };
    // Where a secret is, and whether it is there; never the secret.
    let secrets = connection.secrets.iter().map(|(key, secret)| {
        let there = secret.look_up().is_ok();
        (key.clone(), json!({"from": secret.to_string(), "there": there}))
    });
    let json = json!({
        "name": name, "system": connection.system, "title": connector.title(), "auth": way(connection, catalogue),
        "config": connection.config, "secrets": secrets.collect::<Map<_, _>>(), "currency": connection.currency,
        "country": connection.country, "state": state(connection), "objects": connector.objects().collect::<Vec<_>>(),
    });
    out.data(json.clone(), || {
        let pairs = |key: &str, shown: &dyn Fn(&Json) -> String| -> Vec<Vec<String>> {
            let entries = json[key].as_object().into_iter().flatten();
            entries
                .map(|(name, value)| vec![format!("{key}.{name}"), shown(value)])
                .collect()
        };
        let plain = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let secret = |value: &Json| {
            let missing = if value["there"] == true {
                ""
            } else {
                ", which is not there"
            };
            format!("from {}{missing}", plain(&value["from"]))
        };
        let mut rows: Vec<Vec<String>> = ["system", "auth", "currency", "country", "state"]
            .into_iter()
            .filter(|key| !json[*key].is_null())
            .map(|key| vec![key.to_owned(), plain(&json[key])])
            .collect();
        rows.extend(pairs("config", &plain));
        rows.extend(pairs("secrets", &secret));
        let objects: Vec<&str> = connector.objects().collect();
        rows.push(vec!["objects".to_owned(), objects.join(", ")]);
        table(&[name, connector.title()], &rows)
    });
    Exit::Ok
}
