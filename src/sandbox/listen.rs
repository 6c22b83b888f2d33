//! Opening a port and closing it again.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::Service as _;

use crate::wire::{Cut, Listener};

/// How long open requests may take to finish once the sandbox is told to stop.
const STOP_MS_MAX: u64 = 2_000;

/// A port that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} for {what}: {source}")]
pub struct ListenError {
    /// What was to be served there.
    pub what: String,
    /// The address asked for.
    pub addr: SocketAddr,
    /// What the machine said.
    #[source]
    pub source: io::Error,
}

/// One open port. Dropping it stops the server without waiting.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) addr: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Port {
    /// Stops accepting, lets open requests finish for at most [`STOP_MS_MAX`], then ends.
    pub(crate) async fn close(self) {
        // Sending fails only when the server has ended already.
        let _ = self.stop.send(true);
        let mut server = self.server;
        if tokio::time::timeout(Duration::from_millis(STOP_MS_MAX), &mut server)
            .await
            .is_err()
        {
            server.abort();
        }
    }
}

/// How a system spells its paths: the path to route by, when it differs from the one that was sent.
pub(crate) type Respell = fn(&str) -> Option<String>;

/// Serves `router` on `addr`. Every path is respelt before it is routed.
pub(crate) async fn open(
    what: &str,
    addr: SocketAddr,
    router: Router,
    respell: Respell,
) -> Result<Port, ListenError> {
    let fail = |source| ListenError {
        what: what.to_owned(),
        addr,
        source,
    };
    let listener = TcpListener::bind(addr).await.map_err(fail)?;
    let addr = listener.local_addr().map_err(fail)?;
    let (stop, mut stopped) = watch::channel(false);
    // Layers of a router run after routing, so respelling needs a router in front of the router.
    let app = Router::new().fallback(move |mut request: Request| {
        let mut router = router.clone();
        if let Some(path) = respell(request.uri().path()) {
            replace_path(request.uri_mut(), &path);
        }
        async move { router.call(request).await }
    });
    let server = tokio::spawn(async move {
        let service = app.into_make_service_with_connect_info::<Cut>();
        // Both a message and a dropped sender mean "stop".
        let until = async move {
            let _ = stopped.changed().await;
        };
        if let Err(error) = axum::serve(Listener(listener), service)
            .with_graceful_shutdown(until)
            .await
        {
            tracing::warn!(%error, %addr, "a sandbox port ended early");
        }
    });
    Ok(Port { addr, stop, server })
}

fn replace_path(uri: &mut Uri, path: &str) {
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // A path that cannot be written as one stays as it is and finds no route.
    if let Ok(path_and_query) = whole.parse::<PathAndQuery>() {
        let mut parts = std::mem::take(uri).into_parts();
        parts.path_and_query = Some(path_and_query);
        if let Ok(replaced) = Uri::from_parts(parts) {
            *uri = replaced;
        }
    }
}

/// The path without the slash some clients put behind it.
pub(crate) fn without_trailing_slash(path: &str) -> Option<String> {
    let shorter = path.trim_end_matches('/');
    (shorter.len() != path.len() && !shorter.is_empty()).then(|| shorter.to_owned())
}
