//! Connecting behind the guard, by the way that it knows: what every pool of connections of this crate is built on.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::builderstates::WantsProtocols1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Error as PoolError;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use crate::client::Error;
use crate::guard::{Guard, NotAllowed};
use crate::proxy::{NoWay, Proxy};

/// TLS cannot be set up on this machine.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct NoTls(String);

/// Opens a connection to an address that the guard allows, with TLS where the address says so.
pub(crate) type Connector = HttpsConnector<Dialer>;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// TLS by ring and the roots of the operating system.
pub(crate) fn secured() -> Result<HttpsConnectorBuilder<WantsProtocols1>, NoTls> {
    let builder = HttpsConnectorBuilder::new()
        .with_provider_and_platform_verifier(rustls::crypto::ring::default_provider())
        .map_err(|e| NoTls(e.to_string()))?;
    Ok(builder.https_or_http())
}

/// Whether a proxy can send on what is not encrypted. One of HTTP/1 can; what else there is needs a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    SentOn,
    Tunnelled,
}

/// TCP to addresses that the guard allows, or to its proxy, and through that. The time-out is that of each TCP connection,
/// and of the proxy's answer; it covers no TLS.
#[derive(Clone)]
pub(crate) struct Dialer {
    tcp: HttpConnector<Resolver>,
    guard: Guard,
    plain: Plain,
    timeout: Duration,
}

impl Dialer {
    pub(crate) fn new(guard: &Guard, connect_timeout_ms: u64, plain: Plain) -> Dialer {
        let timeout = Duration::from_millis(connect_timeout_ms);
        let mut tcp = HttpConnector::new_with_resolver(Resolver(guard.clone()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        Dialer {
            tcp,
            guard: guard.clone(),
            plain,
            timeout,
        }
    }

    async fn through(mut self, proxy: Proxy, to: Uri) -> Result<Line, NoWay> {
        let tcp = self.tcp.call(proxy.uri().clone()).await.map_err(|error| {
            NoWay::Ours(format!(
                "the proxy {} is not there: {}",
                proxy.host(),
                innermost(&error)
            ))
        })?;
        if self.plain == Plain::SentOn && to.scheme_str() == Some("http") {
            return Ok(Line {
                tcp,
                is_sent_on: true,
            });
        }
        let tunnel = tokio::time::timeout(self.timeout, proxy.tunnel(tcp, &to)).await;
        let tcp = tunnel.unwrap_or_else(|_| {
            let waited_ms = self.timeout.as_millis();
            Err(NoWay::Theirs(format!(
                "the proxy {} did not reach it within {waited_ms} ms",
                proxy.host()
            )))
        })?;
        Ok(Line {
            tcp,
            is_sent_on: false,
        })
    }
}

impl Service<Uri> for Dialer {
    type Response = Line;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Line, Failed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.tcp.poll_ready(cx).map_err(Failed::from)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        if let Some(proxy) = self.guard.proxy_to(to.host().unwrap_or_default()) {
            let (dialer, proxy) = (self.clone(), proxy.clone());
            return Box::pin(async move { Ok(dialer.through(proxy, to).await?) });
        }
        let tcp = self.tcp.call(to);
        Box::pin(async move {
            Ok(Line {
                tcp: tcp.await?,
                is_sent_on: false,
            })
        })
    }
}

/// A connection, to who is called or to a proxy.
pub(crate) struct Line {
    tcp: TokioIo<TcpStream>,
    /// A proxy sends on what is said here, so each request names whom it is for.
    is_sent_on: bool,
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        self.tcp.connected().proxy(self.is_sent_on)
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }
}

/// What a pool's error means; `host` is host and port.
pub(crate) fn failed(error: &PoolError, host: &str) -> Error {
    let host = host.to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<NotAllowed>() {
            return Error::NotAllowed(refused.clone());
        }
        match cause.downcast_ref::<NoWay>() {
            Some(NoWay::Ours(reason)) => {
                let reason = reason.clone();
                return Error::Proxy { host, reason };
            }
            Some(NoWay::Theirs(reason)) => {
                let reason = reason.clone();
                return Error::Connect { host, reason };
            }
            None => {}
        }
        source = cause.source();
    }
    let reason = innermost(error);
    if error.is_connect() {
        Error::Connect { host, reason }
    } else {
        Error::Broken { host, reason }
    }
}

/// The innermost cause: the outer ones only say again that something failed.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The second layer of the guard, inside the pool's own resolver.
#[derive(Clone)]
pub(crate) struct Resolver(Guard);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NotAllowed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NotAllowed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotAllowed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.0.clone();
        Box::pin(async move { Ok(guard.resolve(name.as_str(), 0).await?.into_iter()) })
    }
}
