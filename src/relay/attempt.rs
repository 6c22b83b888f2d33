//! One try of one delivery: projected, signed, sent, judged.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use ledger::{Attempt, Due, Next};
use model::EventType;
use outbound::Reply;
use outbound::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};

use crate::breaker::Sign;
use crate::deliver::Deliverer;
use crate::folding::FOLDED;
use crate::hops::HOPS;
use crate::schedule::{Outcome, Pacing, Verdict};
use crate::sequence::SEQUENCE;
use crate::standard;
use crate::{Endpoint, RelaySettings, disclosure};

/// Characters of what an endpoint said that are kept with a failed attempt.
const SAID_CHARS_MAX: usize = 200;

/// What a try came to.
pub(crate) struct Tried {
    pub(crate) attempt: Attempt,
    pub(crate) pacing: Pacing,
    /// What it says about the endpoint, if it came that far.
    pub(crate) sign: Option<Sign>,
    /// The delivery's line.
    pub(crate) line: Option<String>,
    /// The endpoint said 410.
    pub(crate) gone: bool,
    /// It waited for what it was to show, and began only then.
    pub(crate) waited: bool,
}

/// What a try shows as `Authorization`, and the number of that, or why there is nothing to show.
type Shown = Result<(u64, HeaderValue), String>;

/// What a try is to show.
pub(crate) enum Showing<'a> {
    /// It is at hand.
    Now(Shown),
    /// It is to be waited for.
    Later(BoxFuture<'a, Shown>),
}

/// Makes one try, which shows something where the endpoint wants that. Its end is always a value: whatever goes wrong is
/// what becomes of the delivery.
pub(crate) async fn try_once(
    on: &Deliverer,
    endpoint: &Endpoint,
    due: Due,
    showing: Option<Showing<'_>>,
) -> Tried {
    let (shown, waited) = match showing {
        None => (None, false),
        Some(Showing::Now(shown)) => (Some(shown), false),
        Some(Showing::Later(showing)) => (Some(showing.await), true),
    };
    let tried = try_showing(on, endpoint, due, shown).await;
    Tried { waited, ..tried }
}

async fn try_showing(on: &Deliverer, endpoint: &Endpoint, due: Due, shown: Option<Shown>) -> Tried {
    let at = (on.clock)();
    let number = due.attempts.saturating_add(1);
    let (ours, body) = match message(&on.settings, endpoint, &due, at) {
        Ok(message) => message,
        Err(reason) => return unsendable(due, number, at, reason),
    };
    let mut headers = endpoint.headers.clone();
    headers.extend(ours);
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("interconnect/", env!("CARGO_PKG_VERSION"))),
    );
    let answer = send(on, endpoint, (headers, shown), body).await;
    // What never left was told to nobody.
    let left = !matches!(&answer, Err(Unanswered { left: false, .. }));
    let told = left
        .then(|| disclosure::about(&due.body, &endpoint.terms))
        .flatten();
    let ended = (on.clock)();
    let outcome = match &answer {
        Ok(reply) => Outcome::Answer {
            status: reply.status,
            retry_after: reply.retry_after.as_deref(),
        },
        Err(Unanswered { ours: true, .. }) => Outcome::NotTried,
        Err(_) => Outcome::NoAnswer,
    };
    let verdict = endpoint
        .schedule
        .judge(number, outcome, on.random_number(), ended);
    let duration_ms = u32::try_from(ended.as_millisecond() - at.as_millisecond()).unwrap_or(u32::MAX);
    let attempt = Attempt {
        delivery: due.delivery,
        number,
        at,
        duration_ms,
        status: answer.as_ref().ok().map(|reply| reply.status),
        error: said(&answer, &verdict),
        next: verdict.next,
        told,
    };
    log(endpoint, &due, &attempt);
    Tried {
        attempt,
        pacing: verdict.pacing,
        sign: verdict.sign,
        line: due.line,
        gone: verdict.gone,
        waited: false,
    }
}

/// What an endpoint is told, by whichever way: what of the event may flow to it, in its shape, signed at a moment, and with
/// which headers beside the endpoint's own.
pub(crate) fn message(
    settings: &RelaySettings,
    endpoint: &Endpoint,
    due: &Due,
    at: Timestamp,
) -> Result<(HeaderMap, Bytes), String> {
    let id = due.event.to_string();
    let event_type = EventType::parse(&due.event_type).map_err(|error| error.to_string())?;
    let body = endpoint.rendered(&event_type, &id, &due.body, at)?;
    let mut headers = standard::sign(&endpoint.secrets, &id, at, &body);
    if let Some(hops) = settings.hops_header(&due.source, &due.hops) {
        headers.insert(HOPS, hops);
    }
    if let Some(sequence) = due.sequence {
        headers.insert(SEQUENCE, HeaderValue::from(sequence));
    }
    if !due.stands_for.is_empty()
        && let Ok(numbers) = HeaderValue::try_from(due.stands_for.to_string())
    {
        headers.insert(FOLDED, numbers);
    }
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(endpoint.shape.media_type()),
    );
    Ok((headers, body))
}

/// Why there is no answer.
struct Unanswered {
    reason: String,
    /// Whether the endpoint may have got it nevertheless.
    left: bool,
    /// Whether it is nothing of the endpoint's: no proxy lets us out.
    ours: bool,
}

impl Unanswered {
    fn unsent(reason: String) -> Unanswered {
        Unanswered {
            reason,
            left: false,
            ours: false,
        }
    }
}

/// Sends it, with what it is to show.
async fn send(
    on: &Deliverer,
    endpoint: &Endpoint,
    (mut headers, shown): (HeaderMap, Option<Shown>),
    body: Bytes,
) -> Result<Reply, Unanswered> {
    let Some(target) = &endpoint.target else {
        return Err(Unanswered::unsent("it has no address".to_owned()));
    };
    let mut believed = None;
    if let Some(shown) = shown {
        let (number, value) = shown.map_err(Unanswered::unsent)?;
        headers.insert(AUTHORIZATION, value);
        believed = Some(number);
    }
    let answer = on
        .sender(endpoint)
        .post(target, headers, body, endpoint.deadline_ms)
        .await;
    if let (Some(authorize), Some(number)) = (&endpoint.authorize, believed)
        && matches!(&answer, Ok(Reply { status: 401, .. }))
    {
        // The next try has another one; if there is none, it says why.
        let _renewed = authorize.authorization(Some(number)).await;
    }
    answer.map_err(|error| Unanswered {
        left: error.sent(),
        ours: matches!(error, outbound::Error::Proxy { .. }),
        reason: error.to_string(),
    })
}

fn unsendable(due: Due, number: u32, at: Timestamp, reason: String) -> Tried {
    tracing::warn!(delivery = %due.delivery, event = %due.event, reason, "an event cannot be sent");
    Tried {
        attempt: Attempt {
            delivery: due.delivery,
            number,
            at,
            duration_ms: 0,
            status: None,
            error: reason,
            next: Next::Dead,
            told: None,
        },
        pacing: Pacing::Same,
        sign: None,
        line: due.line,
        gone: false,
        waited: false,
    }
}

/// What went wrong, for a person; empty when nothing did.
fn said(answer: &Result<Reply, Unanswered>, verdict: &Verdict) -> String {
    match (answer, verdict.next) {
        (_, Next::Delivered) => String::new(),
        (Err(unanswered), _) => unanswered.reason.clone(),
        (Ok(reply), _) if (300..400).contains(&reply.status) => {
            format!("answered {}, a redirect, which is not followed", reply.status)
        }
        (Ok(reply), _) => {
            let said = String::from_utf8_lossy(&reply.head);
            let said: String = said
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .take(SAID_CHARS_MAX)
                .collect();
            match said.trim() {
                "" => format!("answered {}", reply.status),
                said => format!("answered {}: {said}", reply.status),
            }
        }
    }
}

/// The canonical line of an attempt. What an endpoint said stays in the ledger.
fn log(endpoint: &Endpoint, due: &Due, attempt: &Attempt) {
    let tries_max = endpoint.schedule.tries_max();
    macro_rules! line {
        ($level:ident, $decision:expr) => {
            tracing::$level!(
                trace = due.trace,
                event = %due.event,
                delivery = %due.delivery,
                endpoint = endpoint.name,
                attempt = attempt.number,
                tries_max,
                status = attempt.status,
                duration_ms = attempt.duration_ms,
                decision = $decision,
                "attempt"
            )
        };
    }
    match attempt.next {
        Next::Delivered => line!(debug, "delivered"),
        Next::Retry(_) => line!(info, "retry"),
        Next::Dead => line!(warn, "dead"),
    }
}
