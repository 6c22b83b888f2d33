//! [`Client`]: one call, bounded in time and size.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;
use reqwest::{Method, redirect};
use url::Url;

use crate::channel::Channel;
use crate::connect::NoTls;
use crate::guard::{Guard, NotAllowed};
use crate::proxy::Proxy;

/// The bounds of every call; each has a default that suits a business API.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first packet to an open connection.
    pub connect_timeout_ms: u64,
    /// The whole call, the last byte of the body included.
    pub call_timeout_ms: u64,
    /// The body of an answer, after decompression.
    pub body_max_bytes: usize,
    /// How long an unused connection is kept.
    pub idle_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect_timeout_ms: 10_000,
            call_timeout_ms: 60_000,
            body_max_bytes: 32 * 1024 * 1024,
            idle_timeout_ms: 60_000,
        }
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The address; checked by the [`Guard`] before anything is sent.
    pub url: Url,
    /// The headers. `Accept-Encoding` is added by the client.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// A shorter or longer bound than [`Limits::call_timeout_ms`] for this call.
    pub timeout_ms: Option<u64>,
}

impl Request {
    /// A request without headers or body.
    pub fn new(method: Method, url: Url) -> Request {
        Request {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout_ms: None,
        }
    }
}

/// What came back, complete, whatever its status.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, decompressed.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The guard refused the address; nothing was sent.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// No connection; nothing was sent.
    #[error("cannot connect to {host}: {reason}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the operating system or TLS said.
        reason: String,
    },
    /// There is no proxy, or it does not take what it is shown; nothing was sent.
    #[error("{host} was not called: {reason}")]
    Proxy {
        /// Host and port of who was to be called.
        host: String,
        /// What is wrong with the proxy.
        reason: String,
    },
    /// The deadline passed; the other side may have acted.
    #[error("{host} did not answer completely within {timeout_ms} ms")]
    Timeout {
        /// Host and port.
        host: String,
        /// The bound that was passed.
        timeout_ms: u64,
    },
    /// The connection broke after the request began to leave; the other side may have acted.
    #[error("the connection to {host} broke before the answer was complete: {reason}")]
    Broken {
        /// Host and port.
        host: String,
        /// What the connection said.
        reason: String,
    },
    /// The answer is larger than allowed; the other side has acted.
    #[error("the answer of {host} is larger than {body_max_bytes} bytes")]
    TooLarge {
        /// Host and port.
        host: String,
        /// The bound that was passed.
        body_max_bytes: usize,
    },
}

impl Error {
    /// Whether the other side may have received the request, and acted on it.
    pub fn sent(&self) -> bool {
        !matches!(
            self,
            Error::NotAllowed(_) | Error::Connect { .. } | Error::Proxy { .. }
        )
    }
}

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot start: {0}")]
pub struct NotBuilt(String);

/// Takes requests in the place of the network.
pub trait Exchange: Send + Sync {
    /// Answers a request, or says why there is no answer.
    fn exchange(
        &self,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Response, Error>> + Send + '_>>;
}

/// Where requests go.
#[derive(Clone)]
enum Wire {
    Network(reqwest::Client),
    Within(Arc<dyn Exchange>),
}

/// A pool of connections with bounds. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    wire: Wire,
    guard: Guard,
    limits: Arc<Limits>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("limits", &self.limits)
            .field("guard", &self.guard)
            .finish()
    }
}

impl Client {
    /// Builds a client. TLS uses ring and the roots of the operating system.
    pub fn new(limits: Limits, guard: Guard) -> Result<Client, NotBuilt> {
        // An error only says that a provider is installed already, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("interconnect/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .gzip(true)
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_millis(limits.connect_timeout_ms))
            .pool_idle_timeout(Duration::from_millis(limits.idle_timeout_ms))
            .dns_resolver(Resolver(guard.clone()));
        if guard.proxy().is_some() {
            http = http.proxy(by_guard(&guard));
        }
        let http = http.build().map_err(|e| NotBuilt(reason(&e)))?;
        Ok(Client {
            wire: Wire::Network(http),
            guard,
            limits: Arc::new(limits),
        })
    }

    /// A client whose requests never leave the process, for simulations: addresses may be anything, and the only bounds are
    /// those of who answers.
    pub fn within(exchange: Arc<dyn Exchange>) -> Client {
        Client {
            wire: Wire::Within(exchange),
            guard: Guard::public_only(),
            limits: Arc::new(Limits::default()),
        }
    }

    /// A channel behind the same guard, for calls that go on.
    pub fn channel<B>(&self) -> Result<Channel<B>, NoTls>
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Channel::new(self.guard.clone(), self.limits.connect_timeout_ms)
    }

    /// Sends a request and reads the whole answer.
    pub async fn call(&self, request: Request) -> Result<Response, Error> {
        let http = match &self.wire {
            Wire::Network(http) => http,
            Wire::Within(exchange) => return exchange.exchange(request).await,
        };
        self.guard.check(&request.url)?;
        let host = authority(&request.url);
        let timeout_ms = request.timeout_ms.unwrap_or(self.limits.call_timeout_ms);
        let call = self.exchange(http, request, &host);
        match tokio::time::timeout(Duration::from_millis(timeout_ms), call).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout { host, timeout_ms }),
        }
    }

    async fn exchange(
        &self,
        http: &reqwest::Client,
        request: Request,
        host: &str,
    ) -> Result<Response, Error> {
        let by = self.guard.proxy_to(request.url.host_str().unwrap_or_default());
        let answer = http
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body)
            .send()
            .await;
        let mut answer = answer.map_err(|e| failed(&e, host, by))?;
        let body_max_bytes = self.limits.body_max_bytes;
        let too_large = || Error::TooLarge {
            host: host.to_owned(),
            body_max_bytes,
        };
        if answer.content_length().is_some_and(|n| n > body_max_bytes as u64) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| failed(&e, host, by))? {
            if body.len() + chunk.len() > body_max_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response {
            status: answer.status().as_u16(),
            headers: std::mem::take(answer.headers_mut()),
            body: body.freeze(),
        })
    }
}

/// The guard's proxy, where it leads.
fn by_guard(guard: &Guard) -> reqwest::Proxy {
    let by = guard.clone();
    let proxy = reqwest::Proxy::custom(move |to| {
        let proxy = by.proxy_to(to.host_str().unwrap_or_default());
        proxy.map(|proxy| proxy.url().clone())
    });
    match guard.proxy().and_then(Proxy::shows) {
        Some(shows) => proxy.custom_http_auth(shows.clone()),
        None => proxy,
    }
}

fn authority(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => String::new(),
    }
}

/// What an error means, by a proxy or without one.
fn failed(error: &reqwest::Error, host: &str, by: Option<&Proxy>) -> Error {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<NotAllowed>() {
            return Error::NotAllowed(refused.clone());
        }
        source = cause.source();
    }
    let (host, reason) = (host.to_owned(), reason(error));
    if error.is_connect() {
        let reason = match by {
            Some(proxy) => format!("{reason}, through the proxy {}", proxy.host()),
            None => reason,
        };
        Error::Connect { host, reason }
    } else {
        Error::Broken { host, reason }
    }
}

/// The innermost cause: the outer ones only repeat the address, which may hold query parameters.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if std::error::Error::source(error).is_none() {
        return "the request was not understood by the HTTP library".to_owned();
    }
    cause.to_string()
}

/// The second layer of the guard, inside the client's own resolver.
struct Resolver(Guard);

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found = guard.resolve(name.as_str(), 0).await?;
            let addresses: Box<dyn Iterator<Item = SocketAddr> + Send> = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::body::Body;
    use axum::response::IntoResponse;
    use axum::routing::{get, post};
    use futures_util::stream;

    use super::*;

    async fn serve(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn client(limits: Limits) -> Client {
        Client::new(limits, Guard::allowing(["127.0.0.0/8".parse().unwrap()])).unwrap()
    }

    fn request(url: &str) -> Request {
        Request::new(Method::GET, Url::parse(url).unwrap())
    }

    #[tokio::test]
    async fn an_answer_is_an_outcome_whatever_its_status() {
        let router = Router::new().route(
            "/x",
            post(|body: String| async move { (axum::http::StatusCode::IM_A_TEAPOT, format!("got {body}")) }),
        );
        let base = serve(router).await;
        let mut sent = request(&format!("{base}/x"));
        sent.method = Method::POST;
        sent.body = Bytes::from_static(b"hi");
        let answer = client(Limits::default()).call(sent).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (418, &b"got hi"[..]));
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let router = Router::new().route(
            "/x",
            get(|| async {
                (
                    axum::http::StatusCode::FOUND,
                    [("location", "http://127.0.0.1:1/")],
                )
            }),
        );
        let base = serve(router).await;
        let answer = client(Limits::default())
            .call(request(&format!("{base}/x")))
            .await
            .unwrap();
        assert_eq!(answer.status, 302);
    }

    #[tokio::test]
    async fn private_addresses_are_not_reached() {
        let base = serve(Router::new().route("/", get(|| async { "secret" }))).await;
        let port = base.rsplit(':').next().unwrap();
        let guarded = Client::new(Limits::default(), Guard::public_only()).unwrap();
        for host in [
            "127.0.0.1",
            "[::ffff:127.0.0.1]",
            "2130706433",
            "0x7f.1",
            "localhost",
        ] {
            let answer = guarded.call(request(&format!("http://{host}:{port}/"))).await;
            assert!(
                matches!(answer, Err(Error::NotAllowed(NotAllowed::Private { .. }))),
                "{host}: {answer:?}"
            );
        }
    }

    #[tokio::test]
    async fn large_bodies_end_at_the_limit_with_and_without_a_length() {
        async fn endless() -> impl IntoResponse {
            Body::from_stream(stream::repeat(Ok::<_, Infallible>(Bytes::from_static(
                &[b'x'; 1024],
            ))))
        }
        let router = Router::new()
            .route("/endless", get(endless))
            .route("/long", get(|| async { "x".repeat(5000) }));
        let base = serve(router).await;
        let limited = client(Limits {
            body_max_bytes: 4096,
            ..Limits::default()
        });
        for path in ["endless", "long"] {
            let answer = limited.call(request(&format!("{base}/{path}"))).await;
            assert!(
                matches!(answer, Err(Error::TooLarge { .. })),
                "{path}: {answer:?}"
            );
        }
    }

    #[tokio::test]
    async fn the_deadline_covers_the_body_and_counts_as_sent() {
        async fn trickle() -> impl IntoResponse {
            let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"a"))]);
            Body::from_stream(futures_util::StreamExt::chain(first, stream::pending()))
        }
        let base = serve(Router::new().route("/x", get(trickle))).await;
        let mut sent = request(&format!("{base}/x"));
        sent.timeout_ms = Some(200);
        let error = client(Limits::default()).call(sent).await.unwrap_err();
        assert!(
            matches!(error, Error::Timeout { .. }) && error.sent(),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn a_closed_port_was_not_sent_and_a_dropped_connection_was() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            socket.readable().await.unwrap();
            drop((socket, listener));
        });
        let client = client(Limits::default());
        let dropped = client.call(request(&url)).await.unwrap_err();
        assert!(
            matches!(dropped, Error::Broken { .. }) && dropped.sent(),
            "{dropped:?}"
        );
        let closed = client.call(request(&url)).await.unwrap_err();
        assert!(
            matches!(closed, Error::Connect { .. }) && !closed.sent(),
            "{closed:?}"
        );
    }
}
