//! Webhooks: changes become events, events are sent in lists of up to 100, signed, and sent again when refused.
//!
//! There is one target at a time and every kind of change is subscribed to.
//! One list is under way at a time; a list that was refused waits and does not hold up the next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::event::Change;
use super::{CLIENT_SECRET, System, signature};
use crate::control::complaint;
use crate::post::{Target, post};

/// Events in one list.
const LIST_EVENTS_MAX: usize = 100;
/// Events that may wait; more are dropped and counted.
pub const QUEUE_EVENTS_MAX: usize = 100_000;
/// How often a list is sent before it is given up: once, and ten times again.
pub const ATTEMPTS_MAX: u32 = 11;
/// How long the target may take to answer.
const ANSWER_MS_MAX: u64 = 5_000;

/// Where webhooks go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookTarget {
    /// Where to send: an `http://` address.
    pub target_url: String,
    /// The address to sign, when the target is known by another one to the outside.
    #[serde(default)]
    pub signed_url: Option<String>,
    /// Milliseconds before a refused list is sent again.
    #[serde(default = "retry_ms_default")]
    pub retry_ms: u64,
}

fn retry_ms_default() -> u64 {
    500
}

/// What became of the events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WebhookCounts {
    /// Events whose list was answered with 2xx.
    pub delivered: u64,
    /// Events given up after the last attempt.
    pub given_up: u64,
    /// Events dropped because too many waited.
    pub dropped: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Events that wait.
    pub waiting: u64,
}

/// Events that travel together.
struct List {
    events: Vec<(u64, Change)>,
    attempt: u32,
    due_ms: i64,
}

#[derive(Default)]
struct Waiting {
    target: Option<(WebhookTarget, Target)>,
    fresh: VecDeque<(u64, Change)>,
    refused: VecDeque<List>,
    next_event: u64,
    counts: WebhookCounts,
}

/// The sender's half that writers see.
pub(crate) struct Webhooks {
    state: Mutex<Waiting>,
    wake: Notify,
}

impl Webhooks {
    pub(crate) fn new(first_event: u64) -> Self {
        Self {
            state: Mutex::new(Waiting {
                next_event: first_event,
                ..Waiting::default()
            }),
            wake: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over what happened. Without a target it is forgotten.
    pub(crate) fn queue(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut state = self.state();
        if state.target.is_none() {
            return;
        }
        for change in changes {
            if state.fresh.len() >= QUEUE_EVENTS_MAX {
                state.counts.dropped += 1;
                continue;
            }
            let id = state.next_event;
            state.next_event += 1;
            state.fresh.push_back((id, change));
        }
        drop(state);
        self.wake.notify_one();
    }

    pub(crate) fn aim(&self, target: Option<WebhookTarget>) -> Result<(), String> {
        let target = match target {
            Some(target) => {
                let parsed = Target::parse(&target.target_url)?;
                Some((target, parsed))
            }
            None => None,
        };
        self.state().target = target;
        self.wake.notify_one();
        Ok(())
    }

    pub(crate) fn counts(&self) -> WebhookCounts {
        let state = self.state();
        let refused: usize = state.refused.iter().map(|list| list.events.len()).sum();
        WebhookCounts {
            waiting: (state.fresh.len() + refused) as u64,
            ..state.counts
        }
    }

    /// The next list that may be sent, or how long to wait for it.
    fn next(&self, now_ms: i64) -> Result<(List, WebhookTarget, Target), Option<u64>> {
        let mut state = self.state();
        let Some((target, parsed)) = state.target.clone() else {
            return Err(None);
        };
        if let Some(at) = state.refused.iter().position(|list| list.due_ms <= now_ms)
            && let Some(list) = state.refused.remove(at)
        {
            return Ok((list, target, parsed));
        }
        if state.fresh.is_empty() {
            let due = state.refused.iter().map(|list| list.due_ms).min();
            return Err(due.map(|due| u64::try_from(due - now_ms).unwrap_or(0)));
        }
        let count = state.fresh.len().min(LIST_EVENTS_MAX);
        let events = state.fresh.drain(..count).collect();
        Ok((
            List {
                events,
                attempt: 0,
                due_ms: now_ms,
            },
            target,
            parsed,
        ))
    }

    fn settle(&self, mut list: List, accepted: bool, retry_at_ms: i64) {
        let mut state = self.state();
        let events = list.events.len() as u64;
        if accepted {
            state.counts.delivered += events;
            return;
        }
        state.counts.failed_attempts += 1;
        list.attempt += 1;
        list.due_ms = retry_at_ms;
        if list.attempt >= ATTEMPTS_MAX {
            state.counts.given_up += events;
        } else {
            state.refused.push_back(list);
        }
    }
}

/// Sends webhooks until it is dropped.
pub(crate) async fn send_for_ever(system: Arc<System>) {
    loop {
        match system.webhooks.next(system.clock.now_ms()) {
            Ok((list, target, parsed)) => {
                let accepted = send(&system, &list, &target, &parsed).await;
                let retry_ms = i64::try_from(target.retry_ms).unwrap_or(i64::MAX);
                system
                    .webhooks
                    .settle(list, accepted, system.clock.now_ms().saturating_add(retry_ms));
            }
            Err(None) => system.webhooks.wake.notified().await,
            Err(Some(wait_ms)) => {
                // At least a moment, so that a clock that stands still does not spin.
                let wait = Duration::from_millis(wait_ms.clamp(5, 1_000));
                let _ = tokio::time::timeout(wait, system.webhooks.wake.notified()).await;
            }
        }
    }
}

async fn send(system: &System, list: &List, target: &WebhookTarget, parsed: &Target) -> bool {
    let events: Vec<Value> = list
        .events
        .iter()
        .map(|(id, change)| change.event(*id, list.attempt))
        .collect();
    let body = Value::Array(events).to_string();
    let timestamp = system.clock.now_ms().to_string();
    let signed_url = target.signed_url.as_deref().unwrap_or(&target.target_url);
    let headers = [
        ("Content-Type", "application/json".to_owned()),
        (
            "X-HubSpot-Signature",
            signature::v1(CLIENT_SECRET, body.as_bytes()),
        ),
        ("X-HubSpot-Signature-Version", "v1".to_owned()),
        (
            "X-HubSpot-Signature-v3",
            signature::v3(CLIENT_SECRET, "POST", signed_url, body.as_bytes(), &timestamp),
        ),
        ("X-HubSpot-Request-Timestamp", timestamp),
    ];
    let sending = post(parsed, &headers, body.as_bytes());
    match tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), sending).await {
        Ok(Ok(status)) => (200..300).contains(&status),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// `/_sandbox/webhooks`: where webhooks go, and what became of them.
pub(crate) fn router(system: Arc<System>) -> Router {
    Router::new()
        .route("/_sandbox/webhooks", get(told).post(aim).delete(stop))
        .with_state(system)
}

async fn told(State(system): State<Arc<System>>) -> Response {
    Json(json!(system.webhooks.counts())).into_response()
}

async fn aim(State(system): State<Arc<System>>, body: Bytes) -> Response {
    let target = serde_json::from_slice::<WebhookTarget>(&body).map_err(|error| error.to_string());
    match target.and_then(|target| system.webhooks.aim(Some(target))) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(message) => complaint(StatusCode::BAD_REQUEST, &message),
    }
}

async fn stop(State(system): State<Arc<System>>) -> Response {
    match system.webhooks.aim(None) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(message) => complaint(StatusCode::BAD_REQUEST, &message),
    }
}
