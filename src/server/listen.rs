//! [`serve()`]: connections, from the socket to the router, and an end that waits for what was begun.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use tower::Service;

use crate::ServerSettings;
use crate::places::{Answer, Place, Places};

/// The wait after the operating system could not give us a connection, usually because files are used up.
const ACCEPT_RETRY_MS: u64 = 100;

/// Serves until `stop` is ready; then accepts nothing new and waits for what was begun, up to `stop_timeout_ms`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: &ServerSettings,
    stop: impl Future<Output = ()> + Send,
) {
    let places = Places::new(settings.connections_max);
    let (stopping, stopped) = watch::channel(());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.headers_timeout_ms))
        .max_headers(settings.headers_max)
        .max_buf_size(settings.headers_bytes_max);
    let mut stop = pin!(stop);
    loop {
        // Whoever comes after one that finds no place waits in the operating system's own line.
        let next = async {
            let stream = accept(&listener).await;
            (places.take().await, stream)
        };
        let (place, stream) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        let (http, router, stopped) = (http.clone(), router.clone(), stopped.clone());
        let write_timeout = Duration::from_millis(settings.write_timeout_ms);
        tokio::spawn(async move {
            tokio::select! {
                () = connection(&http, stream, write_timeout, (router, &place), stopped) => {}
                () = place.gives_way() => tracing::debug!("an idle connection gave way to another one"),
            }
        });
    }
    drop(listener);
    drop(stopping);
    let closed = places.empty(settings.connections_max);
    let wait = Duration::from_millis(settings.stop_timeout_ms);
    if tokio::time::timeout(wait, closed).await.is_err() {
        tracing::warn!(
            stop_timeout_ms = settings.stop_timeout_ms,
            "requests were still open when the server stopped"
        );
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // These are about one connection, which is gone; the next may be fine.
            Err(error) if is_about_the_peer(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn connection(
    http: &http1::Builder,
    stream: TcpStream,
    write_timeout: Duration,
    (router, place): (Router, &Arc<Place>),
    mut stopped: watch::Receiver<()>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection has no TCP_NODELAY");
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut router = router.clone();
        let asked = place.asked();
        async move {
            // A router is always ready.
            let response: Result<_, Infallible> = router.call(request).await;
            response.map(|response| response.map(|body| Answer::new(body, asked)))
        }
    });
    // Who asks and reads no answer would keep the connection for ever.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(write_timeout));
    let stream = TokioIo::new(Box::pin(stream));
    let mut connection = pin!(http.serve_connection(stream, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The peer broke off, or sent what is no HTTP, or nothing at all for too long.
        tracing::debug!(%error, "a connection ended early");
    }
}
