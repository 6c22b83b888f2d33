//! `interconnect record told`: what partners were told about a record, when, and by which policy.

use ledger::{Ledger, Way};
use policy::{Purpose, SharingPolicy, Shown};
use relay::{Remembered, Told};
use serde_json::{Value as Json, json};

use super::find;
use crate::cli::names::{Named, must_be_known};
use crate::cli::out::table;
use crate::cli::{Exit, Out};
use crate::config::Config;

pub(super) async fn run(
    (config, ledger): (&Config, &dyn Ledger),
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
    let told = relay::told(ledger, &record, partner, limit);
    let told = told.await.map_err(|error| error.to_string())?;
    let earlier = relay::remembered(ledger, &record, partner, limit);
    let earlier = earlier.await.map_err(|error| error.to_string())?;
    if told.is_empty() && earlier.is_empty() {
        let named = partner.map(Named::Partner);
        if let Err(exit) = must_be_known(named, config, ledger, out).await {
            return Ok(exit);
        }
    }
    let json: Vec<Json> = told.iter().map(document).collect();
    let before: Vec<Json> = earlier.iter().map(remembered).collect();
    out.data(json!({"record": record, "data": json, "earlier": before}), || {
        text(&told, &earlier)
    });
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
        "policy": by(&told.policy), "shape": told.shape, "shared": shared, "held": told.fields.held})
}

fn by(policy: &SharingPolicy) -> Json {
    json!({"name": policy.name, "purpose": policy.purpose.map(Purpose::word), "agreement": policy.agreement,
        "until": policy.until.map(|until| until.to_string())})
}

fn remembered(told: &Remembered) -> Json {
    json!({"first_at": told.first_at.to_string(), "last_at": told.last_at.to_string(), "times": told.times,
        "partner": told.partner, "endpoint": told.endpoint, "event_type": told.event_type,
        "policy": by(&told.policy), "shape": told.shape, "at_most": told.policy.rules.summary()})
}

fn text(all: &[Told], earlier: &[Remembered]) -> String {
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let mut text = table(
        &[
            "at", "partner", "endpoint", "event", "answered", "policy", "shared",
        ],
        &rows,
    );
    if !earlier.is_empty() {
        let rows = earlier.iter().map(|told| {
            vec![
                told.first_at.to_string(),
                told.last_at.to_string(),
                told.times.to_string(),
                told.partner.clone(),
                told.endpoint.clone(),
                told.event_type.clone(),
                told.policy.name.clone(),
            ]
        });
        text.push_str("\n\nby events that are kept no more:\n");
        text.push_str(&table(
            &["first", "last", "times", "partner", "endpoint", "event", "policy"],
            &rows.collect::<Vec<_>>(),
        ));
    }
    text
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
