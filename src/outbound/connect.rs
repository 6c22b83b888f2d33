//! Connecting behind the guard: what every pool of connections of this crate is built on.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_rustls::builderstates::WantsProtocols1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Error as PoolError;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;

use crate::client::Error;
use crate::guard::{Guard, NotAllowed};

/// TLS cannot be set up on this machine.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct NoTls(String);

/// Opens a connection to an address that the guard allows, with TLS where the address says so.
pub(crate) type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// TLS by ring and the roots of the operating system.
pub(crate) fn secured() -> Result<HttpsConnectorBuilder<WantsProtocols1>, NoTls> {
    let builder = HttpsConnectorBuilder::new()
        .with_provider_and_platform_verifier(rustls::crypto::ring::default_provider())
        .map_err(|e| NoTls(e.to_string()))?;
    Ok(builder.https_or_http())
}

/// TCP to addresses that the guard allows. The time-out covers the TCP connection, not TLS.
pub(crate) fn guarded(guard: &Guard, connect_timeout_ms: u64) -> HttpConnector<Resolver> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver(guard.clone()));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(Duration::from_millis(connect_timeout_ms)));
    tcp
}

/// What a pool's error means; `host` is host and port.
pub(crate) fn failed(error: &PoolError, host: &str) -> Error {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<NotAllowed>() {
            return Error::NotAllowed(refused.clone());
        }
        source = cause.source();
    }
    let (host, reason) = (host.to_owned(), innermost(error));
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

impl tower::Service<Name> for Resolver {
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
