//! What happens around every request: its trace id, its place among those that are worked on, its deadline, the body
//! of its problem, and its one line in the log.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::body::Place;
use crate::{Hub, Problem};

/// Joins what is logged, kept and answered for one request: 32 hexadecimal digits, as in W3C Trace Context.
#[derive(Clone, Debug)]
pub(crate) struct TraceId(pub(crate) String);

/// What a handler adds to the line in the log: ids only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// The partner, connection, record or delivery.
    pub(crate) subject: String,
    /// The event, if one was accepted.
    pub(crate) event: String,
    /// What was decided.
    pub(crate) decision: &'static str,
}

pub(crate) async fn watch(State(hub): State<Hub>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let trace = trace_id(request.headers(), &hub);
    request.extensions_mut().insert(TraceId(trace.clone()));
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();

    let answer = answer(&hub, request, next).await;
    let response = with_problem(answer, &trace);

    let empty = Line::default();
    let line = response.extensions().get::<Line>().unwrap_or(&empty);
    let problem = response.extensions().get::<Problem>();
    tracing::info!(
        trace,
        %method,
        route = route.as_ref().map_or("", |path| path.as_str()),
        status = response.status().as_u16(),
        subject = line.subject,
        event = line.event,
        decision = problem.map_or(line.decision, |problem| problem.code),
        reason = problem.and_then(|problem| problem.log.as_deref()),
        duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

/// The paths that tell whether the hub is well.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

async fn answer(hub: &Hub, mut request: Request, next: Next) -> Response {
    // Who asks whether the hub is well has a place of its own: a hub with much to do is not to be killed for it.
    let is_probe = PROBES.contains(&request.uri().path());
    let place = Place::take(hub);
    match &place {
        Ok(place) => drop(request.extensions_mut().insert(place.clone())),
        Err(_) if is_probe => {}
        Err(busy) => return busy.clone().into_response(),
    }
    let deadline = Duration::from_millis(hub.settings.request_timeout_ms);
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the request took too long and was given up; try again")
            .log("`request_timeout_ms` passed")
            .into_response(),
    }
}

/// The response, with the body of its problem if it has one.
fn with_problem(mut response: Response, trace: &str) -> Response {
    let known = response.extensions_mut().remove::<Problem>();
    let Some(problem) = known.or_else(|| Problem::of_status(response.status())) else {
        return response;
    };
    let headers: HeaderMap = response
        .headers()
        .iter()
        // `Allow` and its like stay; what described the old body goes.
        .filter(|(name, _)| !name.as_str().starts_with("content-"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let line = response.extensions_mut().remove::<Line>();
    let mut answer = problem.respond(trace, headers);
    answer.extensions_mut().insert(problem);
    if let Some(line) = line {
        answer.extensions_mut().insert(line);
    }
    answer
}

/// The caller's trace id if it sent a valid one, else a new one.
fn trace_id(headers: &HeaderMap, hub: &Hub) -> String {
    let given = headers.get("traceparent").and_then(|value| value.to_str().ok());
    if let Some(trace) = given.and_then(read_traceparent) {
        return trace.to_owned();
    }
    let mut drawn = [0; 16];
    drawn[..10].copy_from_slice(&(hub.random)());
    drawn[10..].copy_from_slice(&(hub.random)()[..6]);
    format!("{:032x}", u128::from_be_bytes(drawn))
}

/// `00-<32 digits>-<16 digits>-<flags>`; all zeros are not valid.
fn read_traceparent(text: &str) -> Option<&str> {
    let mut parts = text.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let lower_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    let valid = version.len() == 2
        && version != "ff"
        && trace.len() == 32
        && trace.bytes().all(lower_hex)
        && trace.bytes().any(|c| c != b'0');
    valid.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_trace_ids_are_taken_over() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(
            read_traceparent(&format!("00-{trace}-b7ad6b7169203331-01")),
            Some(trace)
        );
        for bad in [
            "",
            "00",
            "00-0-0-0",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            &format!("00-{}-b-01", "0".repeat(32)),
            &format!("00-{}-b-01", trace.to_uppercase()),
        ] {
            assert_eq!(read_traceparent(bad), None, "{bad}");
        }
    }
}
