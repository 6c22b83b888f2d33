//! Life in the demo: people who keep changing things, and a line for each thing that happens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ledger::{DeliveryFilter, Ledger};
use serde_json::{Value as Json, json};

use super::{Demo, PARTNERS};

/// How often somebody changes something.
const EVERY: Duration = Duration::from_secs(4);
/// How often the ledger is looked at for news.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Runs and deliveries that one look shows at most.
const SHOWN_MAX: usize = 50;

/// People at the systems, one change after the other.
pub(crate) struct Life {
    turn: usize,
}

impl Life {
    pub(crate) fn new() -> Life {
        Life { turn: 0 }
    }

    /// Waits for a while, then somebody changes something; says who did what.
    pub(crate) async fn next(&mut self, demo: &Demo) -> Result<String, String> {
        tokio::time::sleep(EVERY).await;
        self.turn += 1;
        match self.turn % 3 {
            1 => self.salesperson(demo),
            2 => self.marketer(demo),
            _ => self.partner(demo).await,
        }
    }

    fn salesperson(&self, demo: &Demo) -> Result<String, String> {
        let rows = demo
            .sandbox
            .salesforce
            .rows("Opportunity")
            .map_err(|error| error.to_string())?;
        let Some(row) = rows.get(self.turn % rows.len().max(1)) else {
            return Ok(String::new());
        };
        let stages = [
            "Qualification",
            "Needs Analysis",
            "Proposal/Price Quote",
            "Closed Won",
        ];
        let now = stages.iter().position(|stage| row["StageName"] == *stage);
        let stage = stages[now.map_or(0, |at| (at + 1) % stages.len())];
        let id = row["Id"].as_str().unwrap_or_default();
        demo.sandbox
            .salesforce
            .update("Opportunity", id, &json!({"StageName": stage}))
            .map_err(|error| error.to_string())?;
        Ok(format!(
            "a salesperson in Salesforce moves {} to {stage}",
            row["Name"]
        ))
    }

    fn marketer(&self, demo: &Demo) -> Result<String, String> {
        let rows = demo
            .sandbox
            .hubspot
            .rows("deals")
            .map_err(|error| error.to_string())?;
        let Some(row) = rows.get((self.turn * 5) % rows.len().max(1)) else {
            return Ok(String::new());
        };
        let amount = format!("{}.{:02}", 10_000 + self.turn * 137, self.turn % 100);
        let id = row["id"].as_str().unwrap_or_default();
        demo.sandbox
            .hubspot
            .update("deals", id, &json!({"amount": amount}))
            .map_err(|error| error.to_string())?;
        Ok(format!(
            "somebody in HubSpot sets the amount of {} to {amount}",
            row["properties"]["dealname"]
        ))
    }

    async fn partner(&self, demo: &Demo) -> Result<String, String> {
        let name = PARTNERS[self.turn % PARTNERS.len()];
        let Some(partner) = demo.sandbox.partner(name) else {
            return Ok(String::new());
        };
        let body = json!({"type": "custom.note", "timestamp": Timestamp::now().to_string(),
            "data": {"from": name, "note": format!("call the customer back ({})", self.turn)}});
        let url = format!("{}/hooks/{name}", demo.url);
        let id = format!("msg_life_{}", self.turn);
        let status = partner
            .send(&url, partner.secret(), &id, body.to_string().as_bytes())
            .await;
        let status = status.map_err(|error| error.to_string())?;
        Ok(format!("{name} posts a webhook, answered {status}"))
    }
}

/// Tells each run and each delivery as it happens, for ever.
pub(crate) async fn narrate(ledger: Arc<dyn Ledger>, say: impl Fn(&str)) {
    let mut told: BTreeSet<String> = BTreeSet::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let mut lines: Vec<(Timestamp, String, String)> = Vec::new();
        if let Ok(runs) = ledger.runs(SHOWN_MAX).await {
            for run in runs {
                let way = if run.direction == "pull" {
                    "reads"
                } else {
                    "writes"
                };
                let what = if run.error.is_empty() {
                    counts(&run.counts)
                } else {
                    run.error
                };
                let line = format!("{way} {} of {}: {what}", run.object, run.connection);
                lines.push((run.started_at, run.id.to_string(), line));
            }
        }
        if let Ok(deliveries) = ledger
            .list_deliveries(&DeliveryFilter::default(), None, SHOWN_MAX)
            .await
        {
            for delivery in deliveries {
                let key = format!("{} {} {}", delivery.id, delivery.state.word(), delivery.attempts);
                let line = format!(
                    "{} → {}: {}",
                    delivery.event_type,
                    delivery.endpoint,
                    delivery.state.word()
                );
                lines.push((delivery.received_at, key, line));
            }
        }
        lines.retain(|(_, key, _)| !told.contains(key));
        lines.sort();
        for (_, key, line) in lines {
            say(&line);
            told.insert(key);
        }
    }
}

fn counts(counts: &Json) -> String {
    let Json::Object(counts) = counts else {
        return String::new();
    };
    let words: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{count} {}", name.replace('_', " ")))
        .collect();
    words.join(", ")
}
