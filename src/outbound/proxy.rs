//! [`Proxy`]: the way out, where a network has only one.
//!
//! What goes to an `https` address goes through a *tunnel* (`CONNECT`, RFC 9110 §9.3.6), so the proxy sees neither what is
//! said nor what is answered. A request to an `http` address is handed to the proxy, which sends it on (RFC 9112 §3.2.2).
//!
//! It is the proxy that looks names up, in its own network, so it is the proxy that must refuse names that lead to private
//! addresses. Hosts that are written as an address are refused by the guard all the same.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use crate::connect::innermost;
use crate::guard::Rule;

/// The port of an `https` address that names none.
const HTTPS_PORT: u16 = 443;
/// A proxy's answer to credentials that it does not take (RFC 9110 §15.5.8).
pub(crate) const WANTS_CREDENTIALS: u16 = 407;

/// A proxy that calls go through. Cheap to clone; what is shown to it is shown to nobody else.
#[derive(Clone)]
pub struct Proxy {
    url: Url,
    uri: Uri,
    shows: Option<HeaderValue>,
    direct: Arc<[Rule]>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("at", &self.host())
            .field("direct", &self.direct)
            .finish_non_exhaustive()
    }
}

/// A proxy that cannot be one. No text repeats what was handed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProxy {
    /// The address is none of a proxy.
    #[error(
        "it is not the address of a proxy: `http://`, its name and its port, as in http://proxy.internal:3128"
    )]
    Address,
    /// The address carries a user or password, which would end up in logs.
    #[error("it carries a user name or password; they stand beside it, as `user` and `password`")]
    Credentials,
    /// A user with a colon, behind which the password begins (RFC 7617 §2).
    #[error("the user name has a colon, behind which its password would begin")]
    User,
}

/// Why there is no way through a proxy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWay {
    /// There is no proxy, or it does not take what it is shown.
    #[error("{0}")]
    Ours(String),
    /// It does not come through to there, as far as can be told.
    #[error("{0}")]
    Theirs(String),
}

impl Proxy {
    /// A proxy at an address such as `http://proxy.internal:3128`.
    pub fn at(url: &str) -> Result<Proxy, BadProxy> {
        let url = Url::parse(url).map_err(|_| BadProxy::Address)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadProxy::Credentials);
        }
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "http" || url.host_str().is_none() || !bare {
            return Err(BadProxy::Address);
        }
        let uri = url.as_str().parse().map_err(|_| BadProxy::Address)?;
        Ok(Proxy {
            url,
            uri,
            shows: None,
            direct: Arc::default(),
        })
    }

    /// The same, shown a user and a password (RFC 7617).
    pub fn showing(self, user: &str, password: &str) -> Result<Proxy, BadProxy> {
        if user.contains(':') {
            return Err(BadProxy::User);
        }
        let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let mut shows = HeaderValue::try_from(text).map_err(|_| BadProxy::User)?;
        shows.set_sensitive(true);
        Ok(Proxy {
            shows: Some(shows),
            ..self
        })
    }

    /// The same, but what these rules name is called directly: names of hosts, and hosts that are written as an address.
    pub fn but_for(self, rules: impl IntoIterator<Item = Rule>) -> Proxy {
        Proxy {
            direct: rules.into_iter().collect(),
            ..self
        }
    }

    /// Its host and port, for a person.
    pub fn host(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// Its address, as it is connected to.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Its address, for who connects by himself.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// What it is shown with each request.
    pub(crate) fn shows(&self) -> Option<&HeaderValue> {
        self.shows.as_ref()
    }

    /// Whether this is the proxy's own name.
    pub(crate) fn is_at(&self, host: &str) -> bool {
        self.uri.host().is_some_and(|own| own.eq_ignore_ascii_case(host))
    }

    /// Whether a host is called through it.
    pub(crate) fn leads_to(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = bare.parse().ok();
        let names = |rule: &Rule| match address {
            Some(address) => rule.names_address(address),
            None => rule.names_host(host),
        };
        !self.direct.iter().any(names)
    }

    /// That it does not take what it is shown, for a person.
    pub(crate) fn takes_no_credentials(&self) -> String {
        format!("the proxy {} does not take what it is shown (407)", self.host())
    }

    /// Opens a tunnel to there, over a connection to the proxy.
    pub(crate) async fn tunnel(
        &self,
        tcp: TokioIo<TcpStream>,
        to: &Uri,
    ) -> Result<TokioIo<TcpStream>, NoWay> {
        let theirs = |what: String| NoWay::Theirs(format!("the proxy {} {what}", self.host()));
        let broken = |error: hyper::Error| theirs(format!("broke off: {}", innermost(&error)));
        let host = to.host().unwrap_or_default();
        let authority = format!("{host}:{}", to.port_u16().unwrap_or(HTTPS_PORT));
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = Uri::try_from(&authority).map_err(|e| NoWay::Theirs(e.to_string()))?;
        let named = HeaderValue::try_from(&authority).map_err(|e| NoWay::Theirs(e.to_string()))?;
        request.headers_mut().insert(HOST, named);
        if let Some(shows) = &self.shows {
            request.headers_mut().insert(PROXY_AUTHORIZATION, shows.clone());
        }
        let (mut sender, connection) = http1::handshake(tcp).await.map_err(broken)?;
        // It ends when the tunnel is handed over, or when the sender is gone.
        tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(request).await.map_err(broken)?;
        match answer.status().as_u16() {
            200..=299 => {}
            WANTS_CREDENTIALS => return Err(NoWay::Ours(self.takes_no_credentials())),
            status => return Err(theirs(format!("answered {status}"))),
        }
        let opened = hyper::upgrade::on(answer).await.map_err(broken)?;
        match opened.downcast::<TokioIo<TcpStream>>() {
            // Whoever is called waits for us to begin.
            Ok(parts) if parts.read_buf.is_empty() => Ok(parts.io),
            _ => Err(theirs("spoke into a tunnel that nobody had used".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::routing::post;
    use hyper::header::HeaderMap;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{Client, Error, Guard, Limits, Request as Call, Sender, SenderLimits, Target};

    /// What a proxy was asked, by the first line and what it was shown.
    type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

    /// Somebody who reads the head of a request, answers it, and then, if told so, joins the caller with an address.
    async fn proxy(answer: &'static str, joins: Option<String>) -> (Proxy, Asked) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Asked::default();
        let noted = asked.clone();
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut peer, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(peer.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let shown = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    (name.eq_ignore_ascii_case("proxy-authorization")).then(|| value.to_owned())
                });
                let first = head.lines().next().unwrap().to_owned();
                noted.lock().unwrap().push((first, shown));
                peer.write_all(answer.as_bytes()).await.unwrap();
                if let Some(address) = &joins {
                    let mut there = TcpStream::connect(address).await.unwrap();
                    tokio::spawn(async move { tokio::io::copy_bidirectional(&mut peer, &mut there).await });
                } else {
                    open.push(peer);
                }
            }
        });
        (Proxy::at(&url).unwrap(), asked)
    }

    async fn post_by(proxy: Proxy, url: &str) -> Result<u16, Error> {
        let guard = Guard::public_only().through(proxy);
        let sender = Sender::new(SenderLimits::default(), guard.clone()).unwrap();
        let target = Target::parse(url, &guard).unwrap();
        let body = Bytes::from_static(b"{}");
        let reply = sender.post(&target, HeaderMap::new(), body, 10_000).await;
        reply.map(|reply| reply.status)
    }

    const OPEN: &str = "HTTP/1.1 200 Connection established\r\n\r\n";
    const FINE: &str = "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn what_is_no_proxy_is_told_and_nothing_of_it_is_repeated() {
        for (url, bad) in [
            ("https://proxy.internal:3128", BadProxy::Address),
            ("socks5://proxy.internal", BadProxy::Address),
            ("proxy.internal:3128", BadProxy::Address),
            ("http://proxy.internal:3128/way", BadProxy::Address),
            ("http://hub:geheim@proxy.internal:3128", BadProxy::Credentials),
        ] {
            assert_eq!(Proxy::at(url).unwrap_err(), bad, "{url}");
            assert!(!bad.to_string().contains("geheim"));
        }
        let proxy = Proxy::at("http://proxy.internal:3128").unwrap();
        assert_eq!(proxy.clone().showing("a:b", "c").unwrap_err(), BadProxy::User);
        let shown = format!(
            "{:?}",
            Guard::public_only().through(proxy.showing("hub", "geheim").unwrap())
        );
        assert!(shown.contains("proxy.internal:3128"), "{shown}");
        assert!(
            !shown.contains("geheim") && !shown.contains("aHViOmdlaGVpbQ"),
            "{shown}"
        );
    }

    #[test]
    fn some_hosts_are_called_without_it() {
        let rules =
            ["erp.internal", "*.corp.example", "10.0.0.0/8", "fd00::/8"].map(|rule| rule.parse().unwrap());
        let proxy = Proxy::at("http://proxy.internal:3128").unwrap().but_for(rules);
        for direct in [
            "erp.internal",
            "ERP.internal.",
            "a.corp.example",
            "a.b.corp.example",
            "10.1.2.3",
            "[fd00::1]",
        ] {
            assert!(!proxy.leads_to(direct), "{direct}");
        }
        for through in [
            "corp.example",
            "xcorp.example",
            "a.erp.internal",
            "11.1.2.3",
            "[fe00::1]",
            "partner.example",
        ] {
            assert!(proxy.leads_to(through), "{through}");
        }
    }

    #[tokio::test]
    async fn what_is_not_encrypted_is_handed_over_with_its_whole_address() {
        let (proxy, asked) = proxy(FINE, None).await;
        let proxy = proxy.showing("hub", "geheim").unwrap();
        // A name that nobody here knows.
        let status = post_by(proxy, "http://hooks.partner.test/in?a=b").await.unwrap();
        let shown = Some("Basic aHViOmdlaGVpbQ==".to_owned());
        let first = "POST http://hooks.partner.test/in?a=b HTTP/1.1".to_owned();
        assert_eq!(
            (status, asked.lock().unwrap().clone()),
            (204, vec![(first, shown)])
        );
    }

    #[tokio::test]
    async fn an_encrypted_address_is_asked_a_tunnel_for_and_sees_nothing_of_the_proxys() {
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = plain.local_addr().unwrap().to_string();
        let hello = tokio::spawn(async move { plain.accept().await.unwrap().0.read_u8().await.unwrap() });
        let (proxy, asked) = proxy(OPEN, Some(there)).await;
        let answer = post_by(
            proxy.showing("hub", "geheim").unwrap(),
            "https://hooks.partner.test/in",
        )
        .await;
        // TLS begins with a handshake (RFC 8446 §5.1), and who is there does not go on with it.
        assert_eq!(hello.await.unwrap(), 22);
        assert!(matches!(answer, Err(Error::Connect { .. })), "{answer:?}");
        let shown = Some("Basic aHViOmdlaGVpbQ==".to_owned());
        let first = "CONNECT hooks.partner.test:443 HTTP/1.1".to_owned();
        assert_eq!(*asked.lock().unwrap(), vec![(first, shown)]);
    }

    #[tokio::test]
    async fn whose_fault_it_is_is_told() {
        let to = "https://hooks.partner.test/in";
        let (refusing, _) = proxy("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", None).await;
        let host = refusing.host().to_owned();
        let answer = post_by(refusing, to).await.unwrap_err();
        assert!(matches!(answer, Error::Connect { .. }) && !answer.sent());
        assert_eq!(
            answer.to_string(),
            format!("cannot connect to hooks.partner.test: the proxy {host} answered 403")
        );

        let (silent, _) = proxy("", None).await;
        let limits = SenderLimits {
            connect_timeout_ms: 50,
            ..SenderLimits::default()
        };
        let told = format!(
            "cannot connect to hooks.partner.test: the proxy {} did not reach it within 50 ms",
            silent.host()
        );
        let guard = Guard::public_only().through(silent);
        let sender = Sender::new(limits, guard.clone()).unwrap();
        let target = Target::parse(to, &guard).unwrap();
        let answer = sender.post(&target, HeaderMap::new(), Bytes::new(), 10_000).await;
        assert_eq!(answer.unwrap_err().to_string(), told);

        let (asking, _) = proxy("HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n", None).await;
        let host = asking.host().to_owned();
        let answer = post_by(asking, to).await.unwrap_err();
        assert!(matches!(answer, Error::Proxy { .. }) && !answer.sent());
        assert_eq!(
            answer.to_string(),
            format!(
                "hooks.partner.test was not called: the proxy {host} does not take what it is shown (407)"
            )
        );

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = Proxy::at(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        for to in [to, "http://hooks.partner.test/in"] {
            let answer = post_by(gone.clone(), to).await.unwrap_err();
            assert!(
                matches!(answer, Error::Proxy { .. }) && !answer.sent(),
                "{answer:?}"
            );
        }
    }

    #[tokio::test]
    async fn addresses_that_are_private_are_refused_whatever_the_proxy_would_do() {
        let (proxy, asked) = proxy(FINE, None).await;
        let guard = Guard::public_only().through(proxy);
        assert!(Target::parse("http://10.1.2.3/", &guard).is_err());
        let client = Client::new(Limits::default(), guard).unwrap();
        let call = |url: &str| client.call(Call::new(Method::GET, url.parse().unwrap()));
        assert!(matches!(
            call("http://127.0.0.1:1/").await,
            Err(Error::NotAllowed(_))
        ));
        assert_eq!(call("http://crm.test/").await.unwrap().status, 204);
        let asked: Vec<String> = asked
            .lock()
            .unwrap()
            .iter()
            .map(|(first, _)| first.clone())
            .collect();
        assert_eq!(asked, ["GET http://crm.test/ HTTP/1.1"]);
    }

    #[tokio::test]
    async fn a_call_that_goes_on_goes_through_a_tunnel() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap().to_string();
        let router = Router::new().route("/echo", post(|body: String| async { body }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (proxy, asked) = proxy(OPEN, Some(there)).await;
        let client = Client::new(Limits::default(), Guard::public_only().through(proxy)).unwrap();
        let mut channel = client.channel::<http_body_util::Full<Bytes>>().unwrap();
        let request =
            hyper::Request::post("http://stream.test:7443/echo").body(Bytes::from_static(b"word").into());
        let answer = tower::Service::call(&mut channel, request.unwrap())
            .await
            .unwrap();
        let said = http_body_util::BodyExt::collect(answer.into_body())
            .await
            .unwrap();
        assert_eq!(said.to_bytes(), "word");
        assert_eq!(asked.lock().unwrap()[0].0, "CONNECT stream.test:7443 HTTP/1.1");
    }
}
