//! `interconnect record told`: what partners were told about a record, when, and by which policy.

use ledger::{Ledger, Way};
use policy::{Purpose, Shown};
use relay::Told;
use serde_json::{Value as Json, json};

use super::find;
use crate::cli::out::table;
use crate::cli::{Exit, Out};

pub(super) async fn run(
    ledger: &dyn Ledger,
    id: &str,
    partner: Option<&str>,
    limit: usize,
    out: &Out,
) -> Result<Exit, String> {
    // Only an object at a system has to be looked up; partners have their own names for what they tell of.
    let record = match id.split('/').count() {
        3.. => match find(ledger, id).await? {
            Some(record) => record.id.to_string(),
            None => return Ok(out.fail(&format!("there is no record with the object `{id}`"))),
        },
        _ => id.to_owned(),
    };
    let told = relay::told(ledger, &record, partner, limit)
        .await
        .map_err(|error| error.to_string())?;
    let json: Vec<Json> = told.iter().map(document).collect();
    out.data(json!({"record": record, "data": json}), || text(&told));
    Ok(Exit::Ok)
}

fn document(told: &Told) -> Json {
    let (way, status) = match told.way {
        Way::Sent(status) => ("sent", status),
        Way::Pulled => ("pulled", None),
    };
    let shared = told.fields.shared.iter();
    let shared: Vec<Json> = shared
        .map(|(path, shown)| json!({"path": path, "shown": shown.word()}))
        .collect();
    json!({"at": told.at.to_string(), "partner": told.partner, "endpoint": told.endpoint,
        "event": told.event.to_string(), "event_type": told.event_type, "way": way, "status": status,
        "policy": {"name": told.policy.name, "purpose": told.policy.purpose.map(Purpose::word),
            "agreement": told.policy.agreement, "until": told.policy.until.map(|until| until.to_string())},
        "shape": told.shape, "shared": shared, "held": told.fields.held})
}

fn text(all: &[Told]) -> String {
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    table(
        &[
            "at", "partner", "endpoint", "event", "answered", "policy", "shared",
        ],
        &rows,
    )
}

fn row(told: &Told) -> Vec<String> {
    let answered = match told.way {
        Way::Sent(Some(status)) => status.to_string(),
        Way::Sent(None) => "nothing".to_owned(),
        Way::Pulled => "pulled".to_owned(),
    };
    let shared = told.fields.shared.iter().map(|(path, shown)| match shown {
        Shown::Plainly => path.clone(),
        other => format!("{path} ({})", other.word()),
    });
    let shared: Vec<String> = shared.collect();
    vec![
        told.at.to_string(),
        told.partner.clone(),
        told.endpoint.clone(),
        told.event_type.clone(),
        answered,
        told.policy.name.clone(),
        shared.join(" "),
    ]
}
