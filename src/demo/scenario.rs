//! The scenario of `interconnect demo --check`: settle, change things everywhere, settle again, compare everything.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value as Json, json};

use super::{Demo, PARTNERS, Seeded, disagreements};

/// How long the systems may take to settle, all waits together.
const SETTLE: Duration = Duration::from_secs(50);
/// How long nothing may have happened for the systems to be called settled; several pulls of every object.
const QUIET_MS: i64 = 2_000;
/// Webhooks that each partner posts.
const WEBHOOKS_EACH: usize = 10;
/// Of those, how many are posted a second time.
const TWICE: usize = 3;

/// Deliveries that are compared at most.
const DELIVERIES_MAX: usize = 10_000;

/// Parked things that the report shows at most.
const PARKED_SHOWN_MAX: usize = 100;

/// What the scenario came to.
pub(crate) struct Outcome {
    /// The report.
    pub(crate) json: Json,
    /// Whether everything is as it should be.
    pub(crate) agreed: bool,
}

/// A value that was changed in one system, and where it must have arrived.
struct Expected {
    system: &'static str,
    object: &'static str,
    name: (&'static str, String),
    field: &'static str,
    value: String,
}

/// Plays the scenario.
pub(crate) async fn play(demo: &Demo, seeded: Seeded, say: &mut dyn FnMut(&str)) -> Result<Outcome, String> {
    let started = Timestamp::now();
    say("reading both systems for the first time");
    settle(demo).await?;
    let mut found = disagreements(&demo.sandbox)?;
    say("changing deals in both systems, and posting webhooks");
    let expected = change(demo)?;
    let (accepted, answered_twice) = post(demo).await?;
    settle(demo).await?;
    say("comparing every record, field by field");
    found.extend(disagreements(&demo.sandbox)?);
    let lost: Vec<String> = expected
        .iter()
        .filter_map(|expected| missing(demo, expected).transpose())
        .collect::<Result<_, String>>()?;
    say("reading everything once more: nothing may be written");
    let echoed = echoes(demo).await?;
    let webhooks = webhooks(demo, &accepted, answered_twice).await?;
    let parked = demo
        .hub
        .ledger
        .parked(&ledger::ParkedFilter::default(), PARKED_SHOWN_MAX)
        .await;
    let parked = parked.map_err(|error| error.to_string())?;
    let parked: Vec<String> = parked
        .iter()
        .map(|p| format!("{} {} {}: {}", p.connection, p.object, p.key, p.reason))
        .collect();
    let records = records(demo)?;
    let duplicated = duplicates(&records, seeded);
    let number = |key: &str| webhooks[key].as_u64().unwrap_or(u64::MAX);
    let agreed = found.is_empty()
        && lost.is_empty()
        && echoed == 0
        && parked.is_empty()
        && duplicated == 0
        && number("lost") == 0
        && number("received_twice") == 0
        && answered_twice == PARTNERS.len() * TWICE;
    let took = Timestamp::now().duration_since(started);
    let json = json!({
        "agreed": agreed, "records": records, "changes": expected.len(), "lost": lost.len(), "lost_changes": lost,
        "duplicated": duplicated, "parked": parked, "echoed": echoed, "disagreements": found, "webhooks": webhooks,
        "seeded": {"partners": seeded.partners, "leads": seeded.leads, "deals": seeded.deals},
        "took_ms": u64::try_from(took.as_millis()).unwrap_or(0),
    });
    Ok(Outcome { json, agreed })
}

/// Waits until nothing is owed and nothing has happened for a while.
async fn settle(demo: &Demo) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + SETTLE;
    let plan = demo.hub.engine.plan();
    let began = Timestamp::now();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let fails = |error: ledger::LedgerError| error.to_string();
        let owed = demo.hub.ledger.owed().await.map_err(fails)?;
        let last = demo
            .hub
            .ledger
            .runs(1)
            .await
            .map_err(fails)?
            .first()
            .and_then(|run| run.ended_at);
        let mut primed = true;
        for (connection, object) in plan.objects() {
            let cursor = demo.hub.ledger.cursor(connection, object).await.map_err(fails)?;
            primed &= cursor.is_some_and(|cursor| cursor.complete_at.is_some());
        }
        let quiet_since = last.map_or(began, |last| last.max(began));
        let quiet = Timestamp::now().duration_since(quiet_since) > SignedDuration::from_millis(QUIET_MS);
        if primed && quiet && owed.pushes.is_empty() && owed.endpoints.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(format!(
                "the systems do not settle: all read: {primed}, owed: {owed:?}"
            ));
        }
    }
}

/// Changes things at both systems, as their users would; what must arrive, and where.
fn change(demo: &Demo) -> Result<Vec<Expected>, String> {
    let mut expected = Vec::new();
    let systems = &demo.sandbox;
    let opportunities = systems
        .salesforce
        .rows("Opportunity")
        .map_err(|error| error.to_string())?;
    let text = |row: &Json, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    for (number, row) in opportunities.iter().enumerate().take(6) {
        let amount: Json =
            serde_json::from_str(&format!("{}.{:02}", 90_000 + number, number)).map_err(|e| e.to_string())?;
        let (stage, arrives) = if number % 2 == 0 {
            ("Closed Won", "closedwon")
        } else {
            ("Closed Lost", "closedlost")
        };
        let change = json!({"StageName": stage, "Amount": amount});
        systems
            .salesforce
            .update("Opportunity", &text(row, "Id"), &change)
            .map_err(|error| error.to_string())?;
        let name = ("dealname", text(row, "Name"));
        let at = |field, value| Expected {
            system: "hubspot",
            object: "deals",
            name: name.clone(),
            field,
            value,
        };
        expected.push(at("dealstage", arrives.to_owned()));
        expected.push(at("amount", amount.to_string()));
    }
    let deals = systems.hubspot.rows("deals").map_err(|error| error.to_string())?;
    for (number, row) in deals.iter().rev().enumerate().take(4) {
        let date = format!("2028-0{}-29", number + 3);
        let change = json!({"closedate": format!("{date}T00:00:00Z")});
        systems
            .hubspot
            .update("deals", &text(row, "id"), &change)
            .map_err(|error| error.to_string())?;
        let name = (
            "Name",
            row["properties"]["dealname"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
        expected.push(Expected {
            system: "salesforce",
            object: "Opportunity",
            name,
            field: "CloseDate",
            value: date,
        });
    }
    Ok(expected)
}

/// What of a change has not arrived.
fn missing(demo: &Demo, expected: &Expected) -> Result<Option<String>, String> {
    let rows = match expected.system {
        "hubspot" => demo
            .sandbox
            .hubspot
            .rows(expected.object)
            .map_err(|error| error.to_string())?,
        _ => demo
            .sandbox
            .salesforce
            .rows(expected.object)
            .map_err(|error| error.to_string())?,
    };
    let value = |row: &Json, field: &str| match row.get(field).unwrap_or(&row["properties"][field]) {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let row = rows
        .iter()
        .find(|row| value(row, expected.name.0) == expected.name.1);
    let has = row.map(|row| value(row, expected.field));
    Ok((has.as_ref() != Some(&expected.value)).then(|| {
        format!(
            "{} {} of `{}` is {has:?}, not {}",
            expected.system, expected.field, expected.name.1, expected.value
        )
    }))
}

/// Posts webhooks from each partner, some of them twice: who posted which note, and how many second times were
/// answered as such.
async fn post(demo: &Demo) -> Result<(Vec<(&'static str, String)>, usize), String> {
    let mut accepted = Vec::new();
    let mut twice = 0;
    for partner in PARTNERS {
        let Some(sender) = demo.sandbox.partner(partner) else {
            continue;
        };
        for number in 0..WEBHOOKS_EACH {
            let note = format!("note {number} of {partner}");
            let body = json!({"type": "custom.note", "timestamp": Timestamp::now().to_string(), "data": {"note": note}});
            let url = format!("{}/hooks/{partner}", demo.url);
            let id = format!("msg_{partner}_{number}");
            let send = async || {
                let sent = sender
                    .send(&url, sender.secret(), &id, body.to_string().as_bytes())
                    .await;
                sent.map_err(|error| error.to_string())
            };
            let status = send().await?;
            if status != 202 {
                return Err(format!("the hub answered {status} to a good webhook"));
            }
            accepted.push((partner, note));
            if number < TWICE {
                twice += usize::from(send().await? == 200);
            }
        }
    }
    Ok((accepted, twice))
}

/// Reads everything again and counts what is written then; every such write is an echo.
async fn echoes(demo: &Demo) -> Result<u64, String> {
    demo.sandbox.salesforce.reset_calls();
    demo.sandbox.hubspot.reset_calls();
    for (connection, object) in demo.hub.engine.plan().objects() {
        loop {
            match demo.hub.engine.pull(connection, object, sync::Depth::All).await {
                Err(sync::SyncError::Taken) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => return Err(error.to_string()),
                Ok(_) => break,
            }
        }
    }
    settle(demo).await?;
    Ok(demo.sandbox.salesforce.calls().writes + demo.sandbox.hubspot.calls().writes)
}

/// What the partners received, against what was accepted for them.
async fn webhooks(demo: &Demo, accepted: &[(&str, String)], answered_twice: usize) -> Result<Json, String> {
    let deliveries = demo
        .hub
        .ledger
        .list_deliveries(&ledger::DeliveryFilter::default(), None, DELIVERIES_MAX)
        .await;
    let deliveries = deliveries.map_err(|error| error.to_string())?;
    let (mut received, mut lost, mut received_twice) = (0, 0, 0);
    for partner in PARTNERS {
        let Some(receiver) = demo.sandbox.partner(partner) else {
            continue;
        };
        let endpoint = format!("{partner}-hooks");
        let due = deliveries.iter().filter(|delivery| delivery.endpoint == endpoint);
        let due: BTreeSet<String> = due.map(|delivery| delivery.event.to_string()).collect();
        let all = receiver.received();
        let arrived: BTreeSet<String> = all.iter().map(|webhook| webhook.id.clone()).collect();
        let bodies: Vec<String> = all
            .iter()
            .map(|webhook| String::from_utf8_lossy(&webhook.body).into_owned())
            .collect();
        let from_others = accepted.iter().filter(|(from, _)| *from != partner);
        let not_here =
            from_others.filter(|(_, note)| !bodies.iter().any(|body| body.contains(note.as_str())));
        received += all.len();
        received_twice += all.iter().filter(|webhook| webhook.duplicate).count();
        lost += due.difference(&arrived).count() + not_here.count();
    }
    Ok(json!({
        "posted": accepted.len() + PARTNERS.len() * TWICE, "accepted": accepted.len(),
        "answered_as_duplicate": answered_twice,
        "sent": deliveries.iter().map(|delivery| u64::from(delivery.attempts)).sum::<u64>(),
        "received": received, "received_twice": received_twice, "lost": lost,
    }))
}

fn records(demo: &Demo) -> Result<Json, String> {
    let salesforce = |object: &str| {
        demo.sandbox
            .salesforce
            .rows(object)
            .map(|rows| rows.len())
            .map_err(|error| error.to_string())
    };
    let hubspot = |object: &str| {
        demo.sandbox
            .hubspot
            .rows(object)
            .map(|rows| rows.len())
            .map_err(|error| error.to_string())
    };
    let mut records = Map::new();
    records.insert(
        "salesforce".into(),
        json!({"partner": salesforce("Account")?, "lead": salesforce("Lead")?, "deal": salesforce("Opportunity")?}),
    );
    records.insert(
        "hubspot".into(),
        json!({"partner": hubspot("companies")?, "lead": hubspot("contacts")?, "deal": hubspot("deals")?}),
    );
    Ok(records.into())
}

/// Rows beyond those that were seeded.
fn duplicates(records: &Json, seeded: Seeded) -> u64 {
    let over = |kind: &str, seeded: usize| -> u64 {
        ["salesforce", "hubspot"]
            .iter()
            .map(|system| {
                records[system][kind]
                    .as_u64()
                    .unwrap_or(0)
                    .saturating_sub(seeded as u64)
            })
            .sum()
    };
    over("partner", seeded.partners) + over("lead", seeded.leads) + over("deal", seeded.deals)
}
