//! [`Channel`]: calls over HTTP/2 whose request and answer both go on for as long as both sides like, as gRPC's do.
//!
//! The bodies are the caller's own: what a message is, how large it may be and how long to wait for one is decided
//! where it is understood.
//!
//! Promised: no redirect, no proxy but the guard's, no address that the guard does not allow; one connection, opened when it is needed
//! and again after it broke. Not promised: that a call ends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use crate::client::Error;
use crate::connect::{Connector, Dialer, NoTls, Plain, failed, secured};
use crate::guard::Guard;

/// HTTP/2 behind the guard, for requests with bodies of type `B`. Cheap to clone.
#[derive(Clone)]
pub struct Channel<B> {
    pool: Pool<Connector, B>,
    guard: Guard,
}

impl<B> fmt::Debug for Channel<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("guard", &self.guard).finish()
    }
}

impl<B> Channel<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Builds a channel; nothing is opened yet. An address with `http:` is spoken to in HTTP/2 without asking first.
    pub(crate) fn new(guard: Guard, connect_timeout_ms: u64) -> Result<Channel<B>, NoTls> {
        let connector = secured()?.enable_http2().wrap_connector(Dialer::new(
            &guard,
            connect_timeout_ms,
            Plain::Tunnelled,
        ));
        let pool = Pool::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .http2_only(true)
            .build(connector);
        Ok(Channel { pool, guard })
    }
}

impl<B> tower::Service<Request<B>> for Channel<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let host = request
            .uri()
            .authority()
            .map_or("", |authority| authority.as_str());
        let host = host.to_owned();
        let allowed = match Url::parse(&request.uri().to_string()) {
            Ok(url) => self.guard.check(&url).map_err(Error::from),
            Err(error) => Err(Error::Connect {
                host: host.clone(),
                reason: error.to_string(),
            }),
        };
        let pool = self.pool.clone();
        Box::pin(async move {
            allowed?;
            pool.request(request).await.map_err(|error| failed(&error, &host))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::routing::post;
    use futures_util::StreamExt;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Frame;
    use tower::Service;

    use super::*;
    use crate::guard::NotAllowed;
    use crate::{Client, Limits};

    type Words = StreamBody<futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

    /// Answers each word of the request while the request still goes on.
    async fn echo() -> String {
        let answer = |body: axum::body::Body| async move {
            // A request may end with a word of no letters.
            let words = body.into_data_stream();
            let words = words.filter(|word| std::future::ready(!matches!(word, Ok(word) if word.is_empty())));
            axum::body::Body::from_stream(words.map(|word| word.map(|word| [&word[..], b"!"].concat())))
        };
        let router = Router::new().route("/echo", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/echo")
    }

    fn asked(url: &str) -> (tokio::sync::mpsc::Sender<&'static str>, Request<Words>) {
        let (say, heard) = tokio::sync::mpsc::channel(1);
        let words = futures_util::stream::unfold(heard, async |mut heard| {
            let word: &str = heard.recv().await?;
            Some((Ok(Frame::data(Bytes::from(word))), heard))
        });
        let request = Request::post(url).body(StreamBody::new(words.boxed())).unwrap();
        (say, request)
    }

    fn channel(guard: Guard) -> Channel<Words> {
        Client::new(Limits::default(), guard).unwrap().channel().unwrap()
    }

    #[tokio::test]
    async fn an_answer_begins_while_the_request_goes_on() {
        let url = echo().await;
        let (say, request) = asked(&url);
        let mut channel = channel(Guard::allowing(["127.0.0.0/8".parse().unwrap()]));
        let mut answer = channel.call(request).await.unwrap().into_body();
        for word in ["one", "two"] {
            say.send(word).await.unwrap();
            let frame = answer.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), format!("{word}!"));
        }
        drop(say);
        let rest = answer.collect().await.unwrap().to_bytes();
        assert!(rest.is_empty(), "the answer ends with the request");
    }

    #[tokio::test]
    async fn private_addresses_are_not_reached_by_number_or_by_name() {
        let url = echo().await;
        for url in [url.clone(), url.replace("127.0.0.1", "localhost")] {
            let (_say, request) = asked(&url);
            let refused = channel(Guard::public_only()).call(request).await;
            assert!(
                matches!(refused, Err(Error::NotAllowed(NotAllowed::Private { .. }))),
                "{url}: {refused:?}"
            );
        }
    }
}
