//! `/v1/endpoints`: how endpoints stand, and stopping them by hand.

use axum::extract::Path;
use axum::{Extension, Json};
use bytes::Bytes;
use jiff::Timestamp;
use ledger::Stop;
use relay::{NotSwitched, REASON_CHARS_MAX, Stands, Subscription};
use serde::{Deserialize, Serialize};

use crate::key::Admin;
use crate::query::Page;
use crate::watch::Line;
use crate::{ErrorStatus, Problem};

/// How an endpoint stands. Its address is shown without what may hold a token.
#[derive(Serialize)]
pub(crate) struct EndpointView {
    name: String,
    partner: String,
    /// Host and port; empty where nothing is sent, because the partner pulls.
    host: String,
    /// The patterns of all its subscriptions.
    events: Vec<String>,
    subscriptions: Vec<SubscriptionView>,
    /// `full`, `thin`, `cloudevent` or `program`.
    shape: &'static str,
    /// What it may know: its sharing policy, with what presets allow written out; nothing in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<serde_json::Value>,
    /// `ok`, `failing`, `resting`, `paused` or `disabled`.
    state: &'static str,
    /// Why it is paused or disabled.
    reason: Option<String>,
    stopped_at: Option<Timestamp>,
    failures: u32,
    failing_since: Option<Timestamp>,
    rest_until: Option<Timestamp>,
    /// The last number of its sequence: how many it was to be told so far.
    sequence: u64,
    /// How many of them were folded into a newer one.
    folded: u64,
}

/// Which events an endpoint gets.
#[derive(Serialize)]
struct SubscriptionView {
    types: Vec<String>,
    /// Partners and connections; anybody when empty.
    from: Vec<String>,
    #[serde(rename = "where")]
    filter: Option<String>,
    /// Whether what waits is folded into the newest.
    fold: bool,
}

impl SubscriptionView {
    fn new(subscription: &Subscription) -> SubscriptionView {
        SubscriptionView {
            types: subscription.types.clone(),
            from: subscription.from.clone(),
            filter: subscription
                .filter
                .as_ref()
                .map(|filter| filter.source().to_owned()),
            fold: subscription.fold,
        }
    }
}

impl EndpointView {
    fn new(stands: Stands, now: Timestamp) -> EndpointView {
        let (endpoint, state) = (stands.endpoint, stands.state);
        EndpointView {
            name: endpoint.name().to_owned(),
            partner: endpoint.partner().to_owned(),
            host: endpoint.host().to_owned(),
            events: endpoint.patterns().map(str::to_owned).collect(),
            subscriptions: endpoint
                .subscriptions()
                .iter()
                .map(SubscriptionView::new)
                .collect(),
            shape: endpoint.shape().word(),
            share: None,
            state: relay::state_word(&state, now),
            stopped_at: state.stop.as_ref().map(|stop| stop.at),
            reason: state.stop.map(|stop| stop.reason),
            failures: state.health.failures,
            failing_since: state.health.failing_since,
            rest_until: state.health.rest_until,
            sequence: stands.sequence.last,
            folded: stands.sequence.folded,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PauseBody {
    #[serde(default)]
    reason: String,
}

#[derive(Serialize)]
pub(crate) struct Switched {
    name: String,
    /// `paused`, or `ok` when it goes on.
    state: &'static str,
    /// Why it is paused, or was stopped until now.
    reason: String,
}

/// All that are configured, by name.
pub(crate) async fn list(Admin(hub): Admin) -> Result<Json<Page<EndpointView>>, Problem> {
    let now = (hub.clock)();
    let all = hub.switch.list().await?;
    let count = all.len();
    let view = |stands: Stands| EndpointView::new(stands, now);
    Ok(Json(Page::new(all, count, |_| String::new(), view)))
}

/// One.
pub(crate) async fn show(Admin(hub): Admin, Path(name): Path<String>) -> Result<Json<EndpointView>, Problem> {
    let stands = hub.switch.show(&name).await?;
    let share = stands.endpoint.policy().summary();
    Ok(Json(EndpointView {
        share: Some(share),
        ..EndpointView::new(stands, (hub.clock)())
    }))
}

/// Sends nothing more to one, until it goes on; what comes for it is kept.
pub(crate) async fn pause(
    Admin(hub): Admin,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<(Extension<Line>, Json<Switched>), Problem> {
    let asked: PauseBody = match body.is_empty() {
        true => PauseBody::default(),
        false => serde_json::from_slice(&body)
            .map_err(|error| Problem::bad_request(format!("the body is not `{{\"reason\"}}`: {error}")))?,
    };
    if asked.reason.chars().count() > REASON_CHARS_MAX {
        return Err(Problem::bad_request(format!(
            "`reason` has more than {REASON_CHARS_MAX} characters"
        )));
    }
    let stop = hub.switch.pause(&name, &asked.reason).await?;
    Ok(switched(name, "paused", stop))
}

/// Lets one go on that was paused or disabled.
pub(crate) async fn resume(
    Admin(hub): Admin,
    Path(name): Path<String>,
) -> Result<(Extension<Line>, Json<Switched>), Problem> {
    let stop = hub.switch.resume(&name).await?;
    Ok(switched(name, "ok", stop))
}

fn switched(name: String, state: &'static str, stop: Stop) -> (Extension<Line>, Json<Switched>) {
    let line = Line {
        subject: name.clone(),
        decision: if state == "ok" { "resumed" } else { "paused" },
        ..Line::default()
    };
    let switched = Switched {
        name,
        state,
        reason: stop.reason,
    };
    (Extension(line), Json(switched))
}

impl From<NotSwitched> for Problem {
    fn from(error: NotSwitched) -> Problem {
        match error {
            NotSwitched::Unknown(_) => Problem::not_found(error.to_string()),
            NotSwitched::NotStopped(_) => {
                Problem::new(ErrorStatus::CONFLICT, "not_stopped", error.to_string())
            }
            NotSwitched::Ledger(error) => error.into(),
        }
    }
}
