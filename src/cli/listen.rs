//! `interconnect listen`: an endpoint's events, forwarded to a developer's machine.
//!
//! It asks the hub for the endpoint's feed, over the API, and posts each event on as the hub would: the same bytes, id and
//! signature. Nothing about the endpoint's own deliveries changes by it, and nothing is asked for again: what the program
//! at the other end says is told, and that is all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use outbound::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use outbound::{Client, Guard, Limits, Method, Request, Rule, Url};
use serde::Deserialize;
use serde_json::json;

use super::serve::stop_signal;
use super::{Exit, Out};

/// How long to wait before asking again when there was nothing more.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long to wait after the hub did not answer.
const ASK_AFTER_FAILURE: Duration = Duration::from_secs(3);
/// How long the program may take to answer, in milliseconds.
const FORWARD_TIMEOUT_MS: u64 = 30_000;
/// Bytes of a page of the feed: 200 events of the largest body that a hub takes would be more, and are asked for in parts.
const PAGE_BYTES_MAX: usize = 64 << 20;
/// Events of a page.
const PAGE_MAX: usize = 50;

/// What to forward, and where to.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  interconnect listen http://localhost:3000/webhooks --endpoint northwind-crm\n  \
    interconnect listen http://localhost:3000/webhooks --hub https://hub.example --key-env NORTHWIND_PULL_KEY \\\n    \
    --endpoint northwind-crm --from oldest --events 'deal.*'\n\n\
    The program gets each event as the hub would send it, signed with the endpoint's secret.\n\
    The key is the endpoint's `pull_key`, or the hub's `admin_key`; none is needed on the hub's own machine without one."
)]
pub(crate) struct ListenArgs {
    /// Where the program is that gets them.
    to: Url,
    /// The endpoint whose events they are.
    #[arg(long, value_name = "NAME")]
    endpoint: String,
    /// The hub.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    hub: Url,
    /// The environment variable with the key.
    #[arg(long, value_name = "VARIABLE")]
    key_env: Option<String>,
    /// Where to begin.
    #[arg(long, value_enum, default_value_t = From::Now)]
    from: From,
    /// Which of them, such as deal.won or deal.*; all when it is left out.
    #[arg(long, value_name = "TYPE")]
    events: Vec<String>,
    /// End after so many, whether the program took them or not.
    #[arg(long, value_name = "NUMBER")]
    count: Option<usize>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    /// With what comes from now on.
    Now,
    /// With the oldest that is kept.
    Oldest,
}

impl From {
    fn word(self) -> &'static str {
        match self {
            From::Now => "now",
            From::Oldest => "oldest",
        }
    }
}

/// A page of the feed.
#[derive(Deserialize)]
struct Page {
    data: Vec<Event>,
    next_cursor: String,
    more: bool,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    event_type: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// What a refusal of the hub says.
#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    detail: String,
}

/// Why a page was not got.
enum NoPage {
    /// It may be got later.
    Later(String),
    /// It never will.
    Never(String),
}

struct Listener<'a> {
    args: &'a ListenArgs,
    out: &'a Out,
    client: Client,
    key: Option<HeaderValue>,
    /// How many the program took, and how many it did not.
    forwarded: usize,
    failed: usize,
}

pub(crate) async fn run(args: &ListenArgs, out: &Out) -> Exit {
    let mut listener = match Listener::new(args, out) {
        Ok(listener) => listener,
        Err(error) => {
            out.fails(&error);
            return Exit::Usage;
        }
    };
    out.note(&format!(
        "forwarding events of {} at {} to {}; Ctrl-C ends it",
        args.endpoint, args.hub, args.to
    ));
    let ended = tokio::select! {
        ended = listener.listen() => ended,
        () = stop_signal() => Ok(()),
    };
    match ended {
        Ok(()) => {
            let failed = match listener.failed {
                0 => String::new(),
                failed => format!(", {failed} not taken"),
            };
            out.note(&format!("{} forwarded{failed}", listener.forwarded));
            Exit::Ok
        }
        Err(error) => out.fail(&error),
    }
}

impl<'a> Listener<'a> {
    fn new(args: &'a ListenArgs, out: &'a Out) -> Result<Listener<'a>, String> {
        // A developer's machine is what this is for; only the two that were named are called.
        let mut rules = Vec::new();
        for url in [&args.hub, &args.to] {
            let host = url.host_str().ok_or_else(|| format!("{url} names no host"))?;
            let rule: Rule = host
                .trim_matches(['[', ']'])
                .parse()
                .map_err(|bad| format!("{bad}"))?;
            rules.push(rule);
        }
        let limits = Limits {
            body_max_bytes: PAGE_BYTES_MAX,
            ..Limits::default()
        };
        let client = Client::new(limits, Guard::allowing(rules)).map_err(|error| error.to_string())?;
        let key = args.key_env.as_deref().map(|variable| {
            let key = std::env::var(variable)
                .map_err(|_| format!("there is no `{variable}` in the environment"))?;
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| format!("what is in `{variable}` cannot stand in a header"))?;
            value.set_sensitive(true);
            Ok::<HeaderValue, String>(value)
        });
        Ok(Listener {
            args,
            out,
            client,
            key: key.transpose()?,
            forwarded: 0,
            failed: 0,
        })
    }

    async fn listen(&mut self) -> Result<(), String> {
        let mut cursor = None;
        loop {
            let page = match self.page(cursor.as_deref()).await {
                Ok(page) => page,
                Err(NoPage::Never(reason)) => return Err(reason),
                Err(NoPage::Later(reason)) => {
                    self.out.note(&format!("{reason}; asking again"));
                    tokio::time::sleep(ASK_AFTER_FAILURE).await;
                    continue;
                }
            };
            for event in &page.data {
                if !self.wants(&event.event_type) {
                    continue;
                }
                self.forward(event).await;
                let tried = self.forwarded + self.failed;
                if self.args.count.is_some_and(|count| tried >= count) {
                    return Ok(());
                }
            }
            cursor = Some(page.next_cursor);
            if !page.more {
                tokio::time::sleep(ASK_EVERY).await;
            }
        }
    }

    async fn page(&self, cursor: Option<&str>) -> Result<Page, NoPage> {
        let mut url = self.args.hub.clone();
        url.path_segments_mut()
            .map_err(|()| NoPage::Never(format!("{} is not the address of a hub", self.args.hub)))?
            .pop_if_empty()
            .extend(["v1", "endpoints", &self.args.endpoint, "events"]);
        let place = match cursor {
            Some(cursor) => ("cursor", cursor),
            None => ("from", self.args.from.word()),
        };
        url.query_pairs_mut()
            .append_pair(place.0, place.1)
            .append_pair("limit", &PAGE_MAX.to_string());
        let mut request = Request::new(Method::GET, url);
        if let Some(key) = &self.key {
            request.headers.insert(AUTHORIZATION, key.clone());
        }
        let answer = self.client.call(request).await;
        let answer = answer.map_err(|error| NoPage::Later(format!("the hub does not answer: {error}")))?;
        if answer.status == 200 {
            let page = serde_json::from_slice(&answer.body);
            return page.map_err(|error| NoPage::Never(format!("what the hub answers is no feed: {error}")));
        }
        let problem: Problem = serde_json::from_slice(&answer.body).unwrap_or_default();
        let reason = format!("the hub answers {}: {}", answer.status, problem.detail);
        Err(match answer.status {
            429 | 500.. => NoPage::Later(reason),
            _ => NoPage::Never(reason),
        })
    }

    fn wants(&self, event_type: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(group) => event_type.starts_with(group),
            None => event_type == pattern,
        };
        self.args.events.is_empty() || self.args.events.iter().any(fits)
    }

    /// Posts one event on, and tells what came of it.
    async fn forward(&mut self, event: &Event) {
        let mut request = Request::new(Method::POST, self.args.to.clone());
        request.timeout_ms = Some(FORWARD_TIMEOUT_MS);
        request.headers = headers(&event.headers);
        request.body = event.body.clone().into();
        let began = Instant::now();
        let answer = self.client.call(request).await;
        let took_ms = began.elapsed().as_millis();
        match &answer {
            Ok(answer) if (200..300).contains(&answer.status) => self.forwarded += 1,
            _ => self.failed += 1,
        }
        let (status, error) = match answer {
            Ok(answer) => (Some(answer.status), None),
            Err(error) => (None, Some(error.to_string())),
        };
        if self.out.json {
            let told = json!({"id": event.id, "event_type": event.event_type, "status": status, "error": error,
                "duration_ms": u64::try_from(took_ms).unwrap_or(u64::MAX)});
            self.out.line(&told.to_string());
        } else {
            let came = match (status, error) {
                (Some(status), _) => status.to_string(),
                (None, error) => error.unwrap_or_default(),
            };
            let line = format!("{}  {}  {came}  {took_ms} ms", event.id, event.event_type);
            self.out.line(&line);
        }
    }
}

/// What the hub gave; anything that cannot stand in a header is left out.
fn headers(given: &BTreeMap<String, String>) -> HeaderMap {
    let read = |(name, value): (&String, &String)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value).ok()?))
    };
    given.iter().filter_map(read).collect()
}
