//! `interconnect trigger`: a test event, by the ordinary path.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use relay::{Handover, Intake};
use serde_json::{Map, Value as Json, json};

use super::{Common, Exit, Out};
use crate::catalogue::Catalogue;
use crate::world::RealWorld;
use crate::{hub, partners};

/// Which event, and to whom.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  interconnect trigger deal.won --endpoint northwind-crm --set deal.amount.currency=USD\n  \
    interconnect trigger custom.ping --all"
)]
pub(crate) struct TriggerArgs {
    /// Its type.
    event_type: String,
    #[command(flatten)]
    to: To,
    /// A value in its `data`: a path with dots, `=`, and JSON or text. The rest is the sample of the type, as `event type`
    /// shows it; its `id` is test, and `test` is true in any case.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
}

/// To whom it goes.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct To {
    /// To this endpoint alone, whatever it subscribes to.
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// To all that subscribe to it.
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(args: &TriggerArgs, common: &Common, out: &Out) -> Exit {
    let usage = |error: &str| {
        out.fails(error);
        Exit::Usage
    };
    let (config, catalogue) = match hub::load(&common.config, out) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let data = match data(sample(&catalogue, &args.event_type), &args.sets) {
        Ok(data) => data,
        Err(error) => return usage(&error),
    };
    let settings = match partners::relay_shape(&config, &catalogue) {
        Ok(settings) => Arc::new(settings),
        Err(error) => return usage(&error.to_string()),
    };
    if let Some(name) = &args.to.endpoint
        && settings.endpoint(name).is_none()
    {
        return usage(&format!(
            "there is no endpoint `{name}`; see `interconnect endpoint list`"
        ));
    }
    let ledger = match ledger::open(&config.ledger, ledger::Settings::default()).await {
        Ok(ledger) => ledger,
        Err(error) => return usage(&error.to_string()),
    };
    // A hub that runs on this ledger finds the event by its sweep.
    let intake = Intake::new(
        ledger.clone(),
        settings,
        Arc::new(Handover::default()),
        Arc::new(|_: &str| {}),
        Arc::new(RealWorld::id_bytes),
    );
    let now = Timestamp::now();
    let body = json!({"type": args.event_type, "timestamp": now.to_string(), "data": data});
    let published = intake
        .publish(
            None,
            args.to.endpoint.as_deref(),
            body.to_string().into(),
            now,
            "",
        )
        .await;
    let receipt = match published {
        Ok(receipt) => receipt,
        Err(refused @ (relay::Refused::Busy | relay::Refused::Ledger(_))) => {
            return out.fail(&refused.to_string());
        }
        Err(refused) => return usage(&refused.to_string()),
    };
    let endpoints = match ledger.event(receipt.event).await {
        Ok(event) => event.map(|event| event.deliveries).unwrap_or_default(),
        Err(error) => return out.fail(&error.to_string()),
    };
    let mut names: Vec<&str> = endpoints
        .iter()
        .map(|delivery| delivery.endpoint.as_str())
        .collect();
    names.sort_unstable();
    out.data(
        json!({"id": receipt.event.to_string(), "endpoints": names}),
        || match names[..] {
            [] => format!("{} is kept; nobody subscribes to it", receipt.event),
            _ => format!(
                "{} goes to {}; see `interconnect delivery list`",
                receipt.event,
                names.join(", ")
            ),
        },
    );
    Exit::Ok
}

/// The sample of the newest version of a type; nothing where there is none.
fn sample(catalogue: &Catalogue, event_type: &str) -> Map<String, Json> {
    let newest = catalogue
        .events()
        .get(event_type)
        .and_then(|info| info.versions.last());
    let sample = newest.and_then(|info| info.sample.as_object());
    sample.cloned().unwrap_or_default()
}

/// What the event says: what its sample says, that it is a test, and what was set.
fn data(sample: Map<String, Json>, sets: &[String]) -> Result<Json, String> {
    let mut data = Json::Object(sample);
    data["id"] = json!("test");
    for set in sets {
        let (path, value) = set
            .split_once('=')
            .filter(|(path, _)| !path.is_empty() && path.split('.').all(|name| !name.is_empty()))
            .ok_or_else(|| {
                format!("`--set {set}` is not a path, `=` and a value, such as amount.currency=EUR")
            })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Json::String(value.to_owned()));
        let mut at = &mut data;
        for name in path.split('.') {
            if !at.is_object() {
                *at = Json::Object(Map::new());
            }
            at = &mut at[name];
        }
        *at = value;
    }
    data["test"] = json!(true);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_set_by_paths() {
        let sets = [
            "name=Solar park",
            "amount.amount=12.5",
            "amount.currency=EUR",
            "id=D-1",
            "open=true",
        ];
        let made = data(Map::new(), &sets.map(str::to_owned)).unwrap();
        assert_eq!(
            made,
            json!({"id": "D-1", "test": true, "name": "Solar park", "open": true,
                "amount": {"amount": 12.5, "currency": "EUR"}})
        );
        for bad in ["name", "=x", "a..b=1"] {
            assert!(data(Map::new(), &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
