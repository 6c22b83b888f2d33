//! `interconnect endpoint try`: what a configuration would send of the events that are kept, before anything runs by it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use ledger::{EventFilter, Ledger, LedgerError, NewEvent};
use model::EventType;
use relay::RelaySettings;
use serde_json::{Value as Json, json};

use crate::cli::out::table;
use crate::cli::{Exit, Out};
use crate::config::span_ms;
use crate::{hub, partners};

/// Events that are read at a time.
const PAGE: usize = 200;
/// Places that are named in text of what an endpoint is told otherwise; all are with `--json`.
const PLACES_SHOWN: usize = 12;

/// Which events, and what they are held against.
#[derive(Args)]
pub(crate) struct TryArgs {
    /// This endpoint alone.
    name: Option<String>,
    /// The configuration that it is compared with, event by event and byte by byte; without it, with what was sent.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Events received since so long: 30m, 2h, 1d.
    #[arg(long, value_name = "SPAN", default_value = "2h")]
    since: String,
    /// At most so many events, the newest.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// So many examples of each difference.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=50))]
    sample: u8,
}

/// What each endpoint is sent; nothing where that was not asked, and why nothing can be sent otherwise.
type Sent = BTreeMap<String, Option<Result<Vec<u8>, String>>>;

/// What an endpoint gets otherwise.
#[derive(Default)]
struct Difference {
    same: u64,
    more: Found,
    fewer: Found,
    changed: Found,
    told: Told,
}

/// What an endpoint is told otherwise in events that it gets before and after: places, without the numbers of lists, and in
/// how many events. Values are not among it: who may see a configuration may not know what is hidden from others.
#[derive(Default)]
struct Told {
    more: BTreeMap<String, u64>,
    less: BTreeMap<String, u64>,
    otherwise: BTreeMap<String, u64>,
}

impl Told {
    /// Holds two bodies against each other; what is no JSON has no places.
    fn hold(&mut self, before: &[u8], now: &[u8]) {
        let read = |bytes: &[u8]| {
            let mut places = BTreeMap::new();
            if let Ok(body) = serde_json::from_slice(bytes) {
                places_of(body, String::new(), &mut places);
            }
            places
        };
        let (before, now) = (read(before), read(now));
        for (place, values) in &now {
            match before.get(place) {
                None => *self.more.entry(place.clone()).or_default() += 1,
                Some(others) if others != values => *self.otherwise.entry(place.clone()).or_default() += 1,
                Some(_) => {}
            }
        }
        for place in before.keys().filter(|place| !now.contains_key(*place)) {
            *self.less.entry(place.clone()).or_default() += 1;
        }
    }

    fn kinds(&self) -> [(&'static str, &BTreeMap<String, u64>); 3] {
        [
            ("told_more", &self.more),
            ("told_less", &self.less),
            ("told_otherwise", &self.otherwise),
        ]
    }
}

/// The values of a body by their places.
fn places_of(value: Json, at: String, places: &mut BTreeMap<String, Vec<Json>>) {
    match value {
        Json::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let dot = if at.is_empty() { "" } else { "." };
                places_of(member, format!("{at}{dot}{name}"), places);
            }
        }
        Json::Array(items) => items
            .into_iter()
            .for_each(|item| places_of(item, at.clone(), places)),
        _ => places.entry(at).or_default().push(value),
    }
}

/// Events of one difference: how many, and some of them.
#[derive(Default)]
struct Found {
    count: u64,
    sample: Vec<String>,
}

impl Found {
    fn add(&mut self, event: &NewEvent, at_most: u8) {
        self.count += 1;
        if self.sample.len() < usize::from(at_most) {
            self.sample
                .push(format!("{} {} from {}", event.id, event.event_type, event.source));
        }
    }

    fn json(&self) -> Json {
        json!({"count": self.count, "sample": self.sample})
    }
}

pub(crate) async fn run(
    args: &TryArgs,
    ledger: &dyn Ledger,
    settings: &Arc<RelaySettings>,
    now: Timestamp,
    out: &Out,
) -> Exit {
    let since = span_ms(&args.since).and_then(|ms| i64::try_from(ms).ok());
    let since = since.and_then(|ms| now.checked_sub(SignedDuration::from_millis(ms)).ok());
    let Some(since) = since else {
        out.fails(&format!(
            "`{}` is not a span of time; write for example 30m, 2h or 1d",
            args.since
        ));
        return Exit::Usage;
    };
    let before = match &args.against {
        None => None,
        Some(path) => {
            match hub::load(path, out).map(|(config, catalogue)| partners::relay_shape(&config, &catalogue)) {
                Ok(Ok(before)) => Some(before),
                Ok(Err(error)) => {
                    out.fails(&error.to_string());
                    return Exit::Usage;
                }
                Err(exit) => return exit,
            }
        }
    };
    if let Some(name) = &args.name
        && settings.endpoint(name).is_none()
        && before
            .as_ref()
            .is_none_or(|before| before.endpoint(name).is_none())
    {
        let known = settings.endpoints().map(|endpoint| endpoint.name());
        out.fails(&format!(
            "there is no endpoint `{name}`; {}",
            diagnostic::suggestion(name, known)
        ));
        return Exit::Usage;
    }
    match compare(args, ledger, (settings, before.as_ref()), (since, now)).await {
        Ok((events, differences)) => {
            show(events, &differences, out);
            Exit::Ok
        }
        Err(error) => out.fail(&error.to_string()),
    }
}

async fn compare(
    args: &TryArgs,
    ledger: &dyn Ledger,
    settings: (&RelaySettings, Option<&RelaySettings>),
    (since, now): (Timestamp, Timestamp),
) -> Result<(u64, BTreeMap<String, Difference>), LedgerError> {
    let filter = EventFilter {
        since: Some(since),
        ..EventFilter::default()
    };
    let mut differences: BTreeMap<String, Difference> = BTreeMap::new();
    let (mut events, mut after) = (0, None);
    while events < u64::from(args.limit) {
        let page = ledger.list_events(&filter, after, PAGE).await?;
        after = page.last().map(|row| row.id);
        let last = page.len() < PAGE;
        for row in page {
            if events == u64::from(args.limit) {
                break;
            }
            let Some(event) = ledger.event(row.id).await? else {
                continue;
            };
            events += 1;
            hold(args, &event, settings, now, &mut differences);
        }
        if last {
            break;
        }
    }
    Ok((events, differences))
}

/// Notes how one event would go otherwise.
fn hold(
    args: &TryArgs,
    event: &NewEvent,
    (settings, before): (&RelaySettings, Option<&RelaySettings>),
    at: Timestamp,
    differences: &mut BTreeMap<String, Difference>,
) {
    let asked = |name: &&str| args.name.as_deref().is_none_or(|asked| asked == *name);
    let now = sent_by(settings, event, at);
    let then = match before {
        Some(before) => sent_by(before, event, at),
        None => event
            .deliveries
            .iter()
            .map(|delivery| (delivery.endpoint.clone(), None))
            .collect(),
    };
    for (name, body) in now.iter().filter(|(name, _)| asked(&name.as_str())) {
        let difference = differences.entry(name.clone()).or_default();
        match then.get(name) {
            None => difference.more.add(event, args.sample),
            Some(Some(other)) if Some(other) != body.as_ref() => {
                difference.changed.add(event, args.sample);
                if let (Ok(before), Some(Ok(now))) = (other, body) {
                    difference.told.hold(before, now);
                }
            }
            Some(_) => difference.same += 1,
        }
    }
    for name in then
        .keys()
        .filter(|name| asked(&name.as_str()) && !now.contains_key(*name))
    {
        differences
            .entry(name.clone())
            .or_default()
            .fewer
            .add(event, args.sample);
    }
}

/// What each endpoint would be sent; a reason in its place where nothing can be.
fn sent_by(settings: &RelaySettings, event: &NewEvent, at: Timestamp) -> Sent {
    let Ok(event_type) = EventType::parse(&event.event_type) else {
        return BTreeMap::new();
    };
    let endpoints = settings.addressed(&event_type, event).into_iter();
    endpoints
        .map(|endpoint| {
            let body = endpoint.rendered(&event_type, &event.id.to_string(), &event.body, at);
            (endpoint.name().to_owned(), Some(body.map(|body| body.to_vec())))
        })
        .collect()
}

fn show(events: u64, differences: &BTreeMap<String, Difference>, out: &Out) {
    let endpoints = differences.iter().map(|(name, difference)| {
        let mut document = json!({"endpoint": name, "same": difference.same, "more": difference.more.json(),
            "fewer": difference.fewer.json(), "changed": difference.changed.json()});
        for (kind, places) in difference.told.kinds() {
            document[kind] = json!(places);
        }
        document
    });
    let document = json!({"events": events, "endpoints": endpoints.collect::<Vec<_>>()});
    out.data(document, || {
        let mut text = format!("{events} events were tried\n\n");
        let row = |(name, difference): (&String, &Difference)| {
            let counts = [
                difference.same,
                difference.more.count,
                difference.fewer.count,
                difference.changed.count,
            ];
            std::iter::once(name.clone())
                .chain(counts.map(|count| count.to_string()))
                .collect()
        };
        let rows: Vec<Vec<String>> = differences.iter().map(row).collect();
        text.push_str(&table(&["endpoint", "same", "more", "fewer", "changed"], &rows));
        for (name, difference) in differences {
            for (kind, places) in difference
                .told
                .kinds()
                .into_iter()
                .filter(|(_, places)| !places.is_empty())
            {
                let named = places
                    .iter()
                    .take(PLACES_SHOWN)
                    .map(|(place, count)| format!("{place} ({count})"));
                let named: Vec<String> = named.collect();
                let rest = match places.len().saturating_sub(PLACES_SHOWN) {
                    0 => String::new(),
                    rest => format!(" and {rest} more"),
                };
                let kind = kind.replace('_', " ");
                text.push_str(&format!("\n{name}  {kind}: {}{rest}", named.join(", ")));
            }
            let kinds = [
                ("more", &difference.more),
                ("fewer", &difference.fewer),
                ("changed", &difference.changed),
            ];
            for (kind, found) in kinds {
                for one in &found.sample {
                    text.push_str(&format!("\n{name}  {kind}: {one}"));
                }
            }
        }
        text
    });
}
