//! [`Sender`]: a pool of connections for very many small posts.
//!
//! The relay sends webhooks with it: the same guard and the same bounds as [`crate::Client`], at half its cost a call,
//! because nothing of an answer is kept but its status, its `Retry-After` and its first bytes.
//! A [`Target`] is an address that the guard has passed.
//!
//! Promised: no redirect, no proxy but the guard's, no private address that is not allowed; one deadline from the first packet to the
//! last byte of the answer; headers and body of an answer have limits.
//! An answer that is larger than its limit still counts by its status, but its connection is closed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, PROXY_AUTHORIZATION, RETRY_AFTER};
use hyper::{Method, Response, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_rustls::builderstates::WantsProtocols1;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use crate::client::Error;
use crate::connect::{Connector, Dialer, NoTls, Plain, failed, innermost, secured};
use crate::guard::{Guard, NotAllowed};
use crate::proxy::{self, Proxy};
use crate::tls::Tls;

/// How much of an answer's body is kept, to show a person what an endpoint said.
pub const REPLY_HEAD_BYTES_MAX: usize = 1024;

/// Bytes of a `Retry-After` that are looked at; no valid one is longer.
const RETRY_AFTER_BYTES_MAX: usize = 64;

/// The bounds of every post.
#[derive(Clone, Debug)]
pub struct SenderLimits {
    /// From the first packet to an open connection, TLS not included.
    pub connect_timeout_ms: u64,
    /// How long an unused connection is kept.
    pub idle_timeout_ms: u64,
    /// Unused connections that are kept for a host. Many endpoints may have one: with fewer than are sent to at a time, each
    /// burst opens connections anew.
    pub idle_per_host_max: usize,
    /// The status line and the headers of an answer together; at least 8192.
    pub reply_headers_bytes_max: usize,
    /// Headers of an answer.
    pub reply_headers_max: usize,
    /// The body of an answer; what is behind it is not read.
    pub reply_body_bytes_max: usize,
}

impl Default for SenderLimits {
    fn default() -> SenderLimits {
        SenderLimits {
            connect_timeout_ms: 5_000,
            idle_timeout_ms: 30_000,
            idle_per_host_max: 1_024,
            reply_headers_bytes_max: 16 * 1024,
            reply_headers_max: 100,
            reply_body_bytes_max: 64 * 1024,
        }
    }
}

/// An address that may be posted to.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    uri: Uri,
}

/// An address that may not be posted to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// It cannot be read.
    #[error("the address cannot be read: {0}; write it out, as in https://partner.example/webhooks")]
    Unreadable(String),
    /// The guard does not allow it.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
}

impl Target {
    /// Reads an address and checks what can be checked without resolving its name.
    pub fn parse(url: &str, guard: &Guard) -> Result<Target, BadTarget> {
        let url = Url::parse(url).map_err(|e| BadTarget::Unreadable(e.to_string()))?;
        guard.check(&url)?;
        let uri = url.as_str().parse();
        let uri = uri.map_err(|e: hyper::http::uri::InvalidUri| BadTarget::Unreadable(e.to_string()))?;
        Ok(Target { url, uri })
    }

    /// Host and port, for a person; the rest of an address may hold a token.
    pub fn host(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.host())
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The text of `Retry-After`, as it came.
    pub retry_after: Option<String>,
    /// The first bytes of the body, at most [`REPLY_HEAD_BYTES_MAX`].
    pub head: Bytes,
}

/// A pool of connections with bounds. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    pool: Pool<Connector, Full<Bytes>>,
    guard: Guard,
    limits: Arc<SenderLimits>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Sender");
        shown
            .field("limits", &self.limits)
            .field("guard", &self.guard)
            .finish()
    }
}

impl Sender {
    /// Builds a sender. TLS uses ring and the roots of the operating system.
    pub fn new(limits: SenderLimits, guard: Guard) -> Result<Sender, NoTls> {
        Ok(Sender::built(secured()?, Arc::new(limits), guard))
    }

    /// One with the same bounds and guard that speaks TLS in another way, over connections of its own.
    pub fn speaking(&self, tls: &Tls) -> Sender {
        Sender::built(tls.secured(), self.limits.clone(), self.guard.clone())
    }

    fn built(
        secured: HttpsConnectorBuilder<WantsProtocols1>,
        limits: Arc<SenderLimits>,
        guard: Guard,
    ) -> Sender {
        let connector = secured.enable_http1().wrap_connector(Dialer::new(
            &guard,
            limits.connect_timeout_ms,
            Plain::SentOn,
        ));
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_millis(limits.idle_timeout_ms))
            .pool_max_idle_per_host(limits.idle_per_host_max)
            .http1_max_buf_size(limits.reply_headers_bytes_max)
            .http1_max_headers(limits.reply_headers_max)
            .build(connector);
        Sender { pool, guard, limits }
    }

    /// Posts a body and reads the answer to its end, all of it within `deadline_ms`.
    pub async fn post(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Bytes,
        deadline_ms: u64,
    ) -> Result<Reply, Error> {
        // Once more, because the target may have been checked by another guard than this sender's.
        self.guard.check(&target.url)?;
        let exchange = self.exchange(target, headers, body);
        match tokio::time::timeout(Duration::from_millis(deadline_ms), exchange).await {
            Ok(reply) => reply,
            Err(_) => Err(Error::Timeout {
                host: target.host().to_owned(),
                timeout_ms: deadline_ms,
            }),
        }
    }

    async fn exchange(&self, target: &Target, headers: HeaderMap, body: Bytes) -> Result<Reply, Error> {
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.uri.clone();
        *request.headers_mut() = headers;
        let is_plain = target.uri.scheme_str() == Some("http");
        let by = self.guard.proxy_to(target.uri.host().unwrap_or_default());
        // A proxy that sends it on is shown this with each request, and answers in the endpoint's place.
        let by = by.filter(|_| is_plain);
        if let Some(shows) = by.and_then(Proxy::shows) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, shows.clone());
        }
        let answer = self.pool.request(request).await;
        let answer = answer.map_err(|e| failed(&e, target.host()))?;
        let status = answer.status().as_u16();
        if let Some(proxy) = by.filter(|_| status == proxy::WANTS_CREDENTIALS) {
            let (host, reason) = (target.host().to_owned(), proxy.takes_no_credentials());
            return Err(Error::Proxy { host, reason });
        }
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after
            .filter(|value| value.len() <= RETRY_AFTER_BYTES_MAX)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let head = self.drain(answer).await.map_err(|reason| Error::Broken {
            host: target.host().to_owned(),
            reason,
        })?;
        Ok(Reply {
            status,
            retry_after,
            head,
        })
    }

    /// Reads a body to its end, so that its connection can be used again, or to its limit.
    async fn drain(&self, answer: Response<Incoming>) -> Result<Bytes, String> {
        let mut body = answer.into_body();
        let (mut head, mut read) = (BytesMut::new(), 0usize);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| innermost(&e))?;
            let Some(data) = frame.data_ref() else { continue };
            let room = REPLY_HEAD_BYTES_MAX.saturating_sub(head.len());
            head.extend_from_slice(&data[..data.len().min(room)]);
            read = read.saturating_add(data.len());
            if read > self.limits.reply_body_bytes_max {
                break;
            }
        }
        Ok(head.freeze())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::SocketAddr;

    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::routing::post;
    use futures_util::{StreamExt, stream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const DEADLINE_MS: u64 = 10_000;

    fn local() -> Guard {
        Guard::allowing(["127.0.0.0/8".parse().unwrap()])
    }

    fn sender(limits: SenderLimits) -> Sender {
        Sender::new(limits, local()).unwrap()
    }

    fn target(url: &str) -> Target {
        Target::parse(url, &local()).unwrap()
    }

    async fn serve(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn send(sender: &Sender, url: &str) -> Result<Reply, Error> {
        let body = Bytes::from_static(b"{}");
        sender
            .post(&target(url), HeaderMap::new(), body, DEADLINE_MS)
            .await
    }

    #[tokio::test]
    async fn an_answer_is_an_outcome_whatever_its_status_and_redirects_are_not_followed() {
        let busy = |body: String| async move {
            (
                StatusCode::TOO_MANY_REQUESTS,
                [("retry-after", "7")],
                format!("got {body}"),
            )
        };
        let moved = || async { (StatusCode::FOUND, [("location", "/busy")]) };
        let base = serve(
            Router::new()
                .route("/busy", post(busy))
                .route("/moved", post(moved)),
        )
        .await;
        let sender = sender(SenderLimits::default());
        let reply = send(&sender, &format!("{base}/busy")).await.unwrap();
        assert_eq!(
            (reply.status, reply.retry_after.as_deref(), &reply.head[..]),
            (429, Some("7"), &b"got {}"[..])
        );
        assert_eq!(send(&sender, &format!("{base}/moved")).await.unwrap().status, 302);
    }

    #[tokio::test]
    async fn private_addresses_are_not_reached_by_any_spelling() {
        let base = serve(Router::new().route("/", post(|| async { "secret" }))).await;
        let port = base.rsplit(':').next().unwrap();
        for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"] {
            let url = format!("http://{host}:{port}/");
            let refused = Target::parse(&url, &Guard::public_only());
            assert!(
                matches!(refused, Err(BadTarget::NotAllowed(_))),
                "{host}: {refused:?}"
            );
        }
        let guarded = Sender::new(SenderLimits::default(), Guard::public_only()).unwrap();
        for url in [base.clone(), format!("http://localhost:{port}/")] {
            let answer = send(&guarded, &url).await;
            assert!(
                matches!(answer, Err(Error::NotAllowed(NotAllowed::Private { .. }))),
                "{url}: {answer:?}"
            );
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_and_counts_by_its_status() {
        let endless = || async {
            let chunk = Bytes::from_static(&[b'x'; 4096]);
            Body::from_stream(stream::repeat(Ok::<_, Infallible>(chunk)))
        };
        let base = serve(Router::new().route("/", post(endless))).await;
        let reply = send(&sender(SenderLimits::default()), &base).await.unwrap();
        assert_eq!((reply.status, reply.head.len()), (200, REPLY_HEAD_BYTES_MAX));
    }

    #[tokio::test]
    async fn the_deadline_covers_the_body_too() {
        let drip = || async {
            let first = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"x")) });
            Body::from_stream(first.chain(stream::pending()))
        };
        let base = serve(Router::new().route("/", post(drip))).await;
        let sender = sender(SenderLimits::default());
        let answer = sender
            .post(&target(&base), HeaderMap::new(), Bytes::new(), 50)
            .await;
        assert!(
            matches!(answer, Err(Error::Timeout { timeout_ms: 50, .. })),
            "{answer:?}"
        );
    }

    #[tokio::test]
    async fn headers_without_end_break_the_call() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            peer.read_u8().await.unwrap();
            peer.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
            while peer
                .write_all(b"x-filler: 0123456789012345678901234567890123456789\r\n")
                .await
                .is_ok()
            {}
        });
        let answer = send(&sender(SenderLimits::default()), &base).await;
        assert!(matches!(answer, Err(Error::Broken { .. })), "{answer:?}");
    }

    #[tokio::test]
    async fn nobody_listening_and_no_tls_are_told_apart_from_a_broken_answer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let answer = send(&sender(SenderLimits::default()), &format!("http://{address}/")).await;
        assert!(
            matches!(&answer, Err(e @ Error::Connect { .. }) if !e.sent()),
            "{answer:?}"
        );

        let plain = serve(Router::new()).await.replace("http:", "https:");
        let answer = send(&sender(SenderLimits::default()), &plain).await;
        assert!(
            matches!(&answer, Err(e @ Error::Connect { .. }) if !e.sent()),
            "{answer:?}"
        );
    }

    /// How many connections it takes to post so many at a time, all of which are answered together, several times.
    async fn opened(at_a_time: usize, times: usize) -> usize {
        let peers = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
        let all_there = Arc::new(tokio::sync::Barrier::new(at_a_time));
        let seen = peers.clone();
        let note = move |peer: axum::extract::ConnectInfo<SocketAddr>| {
            let (seen, all_there) = (seen.clone(), all_there.clone());
            async move {
                seen.lock().unwrap().insert(peer.0);
                all_there.wait().await;
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(note));
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let sender = sender(SenderLimits::default());
        for _ in 0..times {
            let posts = (0..at_a_time).map(|_| send(&sender, &base));
            let answers = futures_util::future::join_all(posts).await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        }
        peers.lock().unwrap().len()
    }

    #[tokio::test]
    async fn connections_are_used_again_however_many_there_are() {
        assert_eq!(opened(1, 5).await, 1);
        // One may be opened while another becomes free.
        let opened = opened(120, 10).await;
        assert!(opened < 240, "{opened} for 1,200 posts, 120 at a time");
    }
}
