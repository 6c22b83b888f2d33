//! [`Redirect`]: where a person's browser is sent back to after signing in at a system.
//!
//! It answers on this machine's own loopback address only, takes the first request that brings an answer of the system,
//! and is gone.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What the browser brings back.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Brought {
    /// The state that the sign-in began with.
    #[serde(default)]
    pub state: String,
    /// The code to exchange; empty when the system refused.
    #[serde(default)]
    pub code: String,
    /// Why the system refused, in its own word; empty when it did not.
    #[serde(default)]
    pub error: String,
}

/// A listener for one answer.
pub struct Redirect {
    listener: TcpListener,
    uri: String,
}

type Waiting = Arc<Mutex<Option<oneshot::Sender<Brought>>>>;

impl Redirect {
    /// Listens on a port of the loopback address; 0 takes a free one.
    pub async fn listen(port: u16) -> std::io::Result<Redirect> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let uri = format!("http://{}/", listener.local_addr()?);
        Ok(Redirect { listener, uri })
    }

    /// The address to register at the system, and to send with the sign-in.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Waits for the browser.
    pub async fn wait(self) -> std::io::Result<Brought> {
        let (sender, brought) = oneshot::channel();
        let waiting: Waiting = Arc::new(Mutex::new(Some(sender)));
        let router = Router::new().route("/", get(answer)).with_state(waiting);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(async {
            let _stop = stopped.await;
        });
        let serving = tokio::spawn(async move { serving.await });
        let brought = brought.await;
        // The browser gets its page before the listener is gone.
        let _listener_gone = stop.send(());
        let _ended = serving.await;
        brought.map_err(std::io::Error::other)
    }
}

async fn answer(
    State(waiting): State<Waiting>,
    Query(brought): Query<Brought>,
) -> (StatusCode, &'static str) {
    if brought.code.is_empty() && brought.error.is_empty() {
        return (
            StatusCode::BAD_REQUEST,
            "This address waits for a sign-in that was begun at the command line.\n",
        );
    }
    let sender = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    match sender.map(|sender| sender.send(brought)) {
        Some(Ok(())) => (
            StatusCode::OK,
            "Thank you. Go back to the command line; this page can be closed.\n",
        ),
        _ => (StatusCode::GONE, "This sign-in is over.\n"),
    }
}
