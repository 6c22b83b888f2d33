//! An emulated partner: it receives webhooks, verifies them by the Standard Webhooks specification, and keeps them.
//!
//! Any path takes a `POST`. What it received is told at `/_sandbox/received`; faults make it answer with an error,
//! late, or not at all. The way of a webhook is short and holds no lock across a wait, so that the receiver can stand
//! at the end of a benchmark without being what is measured.

mod inbox;
mod standard_webhooks;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Query, State};
use axum::http::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::BODY_BYTES_MAX;
use crate::calls::Class;
use crate::clock::Clock;
use crate::control;
use crate::faults::{Fault, FaultBook};
use crate::gate::Faulty;
use crate::post::{Target, post as send};
use crate::secret::Secret;
use crate::wire::Cut;

pub use inbox::{IDS_MAX, RECEIVED_BYTES_MAX, RECEIVED_MAX, Received, ReceivedCounts};
pub use standard_webhooks::{BadSecret, TOLERANCE_S, secret_of, sign};

use inbox::Inbox;
use standard_webhooks::{Rejection, Verifier};

/// Webhooks told in one answer of `/_sandbox/received`.
const TOLD_DEFAULT: usize = 1_000;

/// The receiver behind its routes.
pub(crate) struct Receiver {
    verifier: Verifier,
    inbox: Mutex<Inbox>,
    faults: FaultBook,
    clock: Arc<dyn Clock>,
}

impl Receiver {
    pub(crate) fn new(secret: &Secret, clock: Arc<dyn Clock>) -> Result<Self, BadSecret> {
        let verifier = Verifier::new(secret)?;
        Ok(Self {
            verifier,
            inbox: Mutex::new(Inbox::default()),
            faults: FaultBook::default(),
            clock,
        })
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Faulty for Receiver {
    fn faults(&self) -> &FaultBook {
        &self.faults
    }
}

/// The receiver's routes.
pub(crate) fn router(receiver: &Arc<Receiver>) -> Router {
    Router::new()
        .route("/", post(receive))
        .route("/{*path}", post(receive))
        .route("/_sandbox/received", get(told).delete(forget))
        .with_state(Arc::clone(receiver))
        .merge(control::faults(Arc::clone(receiver)))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Takes one webhook.
async fn receive(
    State(receiver): State<Arc<Receiver>>,
    cut: Option<Extension<ConnectInfo<Cut>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let due = receiver.faults.due(Class::Write, uri.path());
    let response = match &due.refuse {
        Some(fault) => failed(&receiver, fault),
        None => taken(&receiver, &uri, &headers, &body),
    };
    if due.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(due.delay_ms)).await;
    }
    if due.cut
        && let Some(Extension(ConnectInfo(cut))) = cut
    {
        cut.throw();
    }
    response
}

fn failed(receiver: &Receiver, fault: &Fault) -> Response {
    receiver.inbox().fail();
    let (status, retry_after_s) = match fault {
        Fault::Limit { .. } => (429, Some(1)),
        Fault::Status {
            status,
            retry_after_s,
        } => (*status, *retry_after_s),
        Fault::ExpireToken => (401, None),
        _ => (503, None),
    };
    let mut response = StatusCode::from_u16(status)
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        .into_response();
    if let Some(seconds) = retry_after_s {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn taken(receiver: &Receiver, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
    let now_ms = receiver.clock.now_ms();
    match receiver.verifier.verify(headers, body, now_ms / 1_000) {
        Ok(id) => {
            receiver.inbox().take(id, uri.path(), body, now_ms);
            StatusCode::OK.into_response()
        }
        Err(rejection) => {
            receiver.inbox().reject(rejection);
            let status = if rejection == Rejection::Malformed {
                StatusCode::BAD_REQUEST
            } else {
                StatusCode::UNAUTHORIZED
            };
            control::complaint(status, &rejection.to_string())
        }
    }
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    limit: Option<usize>,
}

/// What a partner tells of what it received.
#[derive(Debug, Serialize)]
struct Told {
    counts: ReceivedCounts,
    received: Vec<Received>,
}

async fn told(State(receiver): State<Arc<Receiver>>, Query(asked): Query<Asked>) -> Response {
    let inbox = receiver.inbox();
    let received = inbox.after(asked.after, asked.limit.unwrap_or(TOLD_DEFAULT));
    Json(Told {
        counts: inbox.counts(),
        received,
    })
    .into_response()
}

async fn forget(State(receiver): State<Arc<Receiver>>) -> StatusCode {
    receiver.inbox().forget();
    StatusCode::NO_CONTENT
}

/// A running partner.
#[derive(Clone)]
pub struct Partner {
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) secret: Secret,
    pub(crate) receiver: Arc<Receiver>,
}

impl std::fmt::Debug for Partner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Partner")
            .field("name", &self.name)
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl Partner {
    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens: `http://127.0.0.1:41234`. Webhooks may go to any path below.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The secret it verifies with, `whsec_…`.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// What became of the webhooks so far.
    #[must_use]
    pub fn counts(&self) -> ReceivedCounts {
        self.receiver.inbox().counts()
    }

    /// The webhooks it took, oldest first, at most [`RECEIVED_MAX`] and [`RECEIVED_BYTES_MAX`].
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.receiver.inbox().after(0, usize::MAX)
    }

    /// Forgets what it received and counted.
    pub fn forget(&self) {
        self.receiver.inbox().forget();
    }

    /// The switches for faults: `Status`, `Limit`, `Unavailable`, `Slow` and `DropConnection` mean something here.
    #[must_use]
    pub fn faults(&self) -> &FaultBook {
        &self.receiver.faults
    }

    /// Sends a webhook of its own, signed with `secret`, and gives the status it was answered with.
    ///
    /// # Errors
    /// When `url` is not an `http://` address, the secret is malformed, or the connection fails.
    pub async fn send(&self, url: &str, secret: &Secret, id: &str, body: &[u8]) -> std::io::Result<u16> {
        let bad = |message: String| std::io::Error::new(std::io::ErrorKind::InvalidInput, message);
        let target = Target::parse(url).map_err(bad)?;
        let timestamp_s = self.receiver.clock.now_ms() / 1_000;
        let signature = sign(secret, id, timestamp_s, body).map_err(|error| bad(error.to_string()))?;
        let headers = [
            ("Content-Type", "application/json".to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp_s.to_string()),
            ("webhook-signature", signature),
        ];
        send(&target, &headers, body).await
    }
}
