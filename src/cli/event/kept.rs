//! `interconnect event list` and `interconnect event show`: what arrived, how, and what became of it.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use ledger::{Delivery, DeliveryFilter, EventFilter, EventRow, Ledger, LedgerError};
use model::EventId;
use relay::Arrival;
use serde_json::{Value as Json, json};

use crate::cli::names::Named;
use crate::cli::out::table;
use crate::cli::{Exit, Out};
use crate::config::span_ms;

/// Which events.
#[derive(Args)]
pub(crate) struct ListArgs {
    /// Said by this partner, or by `interconnect`.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Of this type, or of a group: deal.won, 'deal.*'.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Received since so long: 30m, 2h, 1d.
    #[arg(long, value_name = "SPAN")]
    since: Option<String>,
    /// Of one journey, as `record show --history` and `record journey` name it; with --since it is found sooner.
    #[arg(long, value_name = "TRACE")]
    trace: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

impl ListArgs {
    /// Whose events they are, where that is said.
    pub(crate) fn named(&self) -> Option<Named<'_>> {
        self.source.as_deref().map(Named::Source)
    }
}

pub(crate) async fn list(
    args: &ListArgs,
    ledger: &dyn Ledger,
    now: Timestamp,
    out: &Out,
) -> Result<Exit, LedgerError> {
    let since = args.since.as_deref().map(|text| {
        let ms = span_ms(text).and_then(|ms| i64::try_from(ms).ok());
        ms.and_then(|ms| now.checked_sub(SignedDuration::from_millis(ms)).ok())
            .ok_or(text)
    });
    let since = match since.transpose() {
        Ok(since) => since,
        Err(text) => {
            out.fails(&format!(
                "`{text}` is not a span of time; write for example 30m, 2h or 1d"
            ));
            return Ok(Exit::Usage);
        }
    };
    let filter = EventFilter {
        source: args.source.clone(),
        event_type: args.event_type.clone(),
        since,
        trace: args.trace.clone(),
    };
    let rows = ledger.list_events(&filter, None, usize::from(args.limit)).await?;
    let json = |row: &EventRow| {
        json!({"id": row.id.to_string(), "event_type": row.event_type, "source": row.source,
            "received_at": row.received_at.to_string(), "trace": row.trace,
            "waiting": row.waiting, "delivered": row.delivered, "dead": row.dead, "folded": row.folded})
    };
    out.data(json!({"data": rows.iter().map(json).collect::<Vec<_>>()}), || {
        let row = |row: &EventRow| {
            let counts = [row.waiting, row.delivered, row.dead, row.folded].map(|count| count.to_string());
            let about = [
                row.id.to_string(),
                row.event_type.clone(),
                row.source.clone(),
                row.received_at.to_string(),
            ];
            about.into_iter().chain(counts).collect()
        };
        let head = [
            "id",
            "type",
            "source",
            "received",
            "waiting",
            "delivered",
            "dead",
            "folded",
        ];
        table(&head, &rows.iter().map(row).collect::<Vec<Vec<String>>>())
    });
    Ok(Exit::Ok)
}

pub(crate) async fn show(id: &str, ledger: &dyn Ledger, out: &Out) -> Result<Exit, LedgerError> {
    let Some(event_id): Option<EventId> = model::read_id(id) else {
        out.fails(&format!("`{id}` is not the id of an event; they look like evt_…"));
        return Ok(Exit::Usage);
    };
    let Some(event) = ledger.event(event_id).await? else {
        return Ok(out.fail(&format!(
            "there is no event {id}, or not any more; see `interconnect event list`"
        )));
    };
    let ids: Vec<_> = event.deliveries.iter().map(|delivery| delivery.id).collect();
    let deliveries = match ids.len() {
        0 => Vec::new(),
        count => {
            let filter = DeliveryFilter {
                ids,
                ..DeliveryFilter::default()
            };
            ledger.list_deliveries(&filter, None, count).await?
        }
    };
    let arrival = Arrival::kept(&event.arrival);
    let body = serde_json::from_slice::<Json>(&event.body).unwrap_or_default();
    let delivery = |one: &Delivery| {
        json!({"id": one.id.to_string(), "endpoint": one.endpoint, "state": one.state.word(), "attempts": one.attempts,
            "last_status": one.last_status, "last_error": one.last_error})
    };
    let document = json!({
        "id": id, "event_type": event.event_type, "source": event.source, "received_at": event.received_at.to_string(),
        "trace": event.trace, "arrival": arrival, "body": body,
        "deliveries": deliveries.iter().map(delivery).collect::<Vec<_>>(),
    });
    out.data(document, || {
        let mut text = format!(
            "{id}  {} from {}, {}\n",
            event.event_type, event.source, event.received_at
        );
        let facts = [
            ("verified by", arrival.verified.clone()),
            ("signed at", arrival.signed_at.map(|at| at.to_string())),
            ("changed at", arrival.connection.clone()),
            ("came as", arrival.came_as.clone()),
        ];
        for (name, value) in facts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            text.push_str(&format!("{name}: {value}\n"));
        }
        for (name, value) in &arrival.headers {
            text.push_str(&format!("  {name}: {value}\n"));
        }
        if let Some(original) = &arrival.original {
            text.push_str(&format!("\nAs it came:\n{original}\n"));
        }
        text.push_str(&format!("\n{body:#}\n\n"));
        let row = |one: &Delivery| {
            let status = one
                .last_status
                .map(|status| status.to_string())
                .unwrap_or_default();
            vec![
                one.id.to_string(),
                one.endpoint.clone(),
                one.state.word().to_owned(),
                one.attempts.to_string(),
                status,
            ]
        };
        let rows: Vec<Vec<String>> = deliveries.iter().map(row).collect();
        text + &table(&["delivery", "endpoint", "state", "attempts", "status"], &rows)
    });
    Ok(Exit::Ok)
}
