//! What several tests of this crate need: a clock that only moves when told, and a server that answers by script.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::{Clock, Connection, Connector, Secrets, Settings};

/// Stands still until somebody sleeps on it or advances it.
pub(crate) struct ManualClock(AtomicI64);

impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock::at("2026-11-23T10:00:00Z")
    }
}

impl ManualClock {
    pub(crate) fn at(moment: &str) -> ManualClock {
        let moment: Timestamp = moment.parse().unwrap();
        ManualClock(AtomicI64::new(moment.as_millisecond()))
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(i64::try_from(ms).unwrap(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }

    async fn sleep(&self, ms: u64) {
        self.advance(ms);
        tokio::task::yield_now().await;
    }

    fn nonce(&self) -> String {
        "fjaLirsIcCGVZWzBX0pg".to_owned()
    }
}

/// A request as the server got it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) line: String,
    pub(crate) authorization: String,
    /// All headers, by their names in lower case.
    pub(crate) headers: std::collections::BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The requests inside a request.
    pub(crate) fn parts(&self) -> Vec<Got> {
        let inner = self.body.split("Content-Transfer-Encoding: binary\r\n").skip(1);
        let read = |part: &str| {
            let (_, request) = part.split_once("\r\n").unwrap();
            let request = request.trim_start_matches("\r\n");
            let (head, rest) = request.split_once("\r\n\r\n").unwrap();
            let mut lines = head.lines();
            let line = lines.next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
            let headers: std::collections::BTreeMap<String, String> = lines
                .map(|header| header.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            Got {
                line,
                authorization: String::new(),
                headers,
                body: rest.split("\r\n").next().unwrap().to_owned(),
            }
        };
        inner.map(read).collect()
    }
}

/// What the server answers.
#[derive(Clone)]
pub(crate) enum Say {
    Json(u16, String),
    Header(u16, &'static str, &'static str, String),
    /// Several headers, and no other.
    Headers(u16, Vec<(&'static str, &'static str)>, String),
    /// The connection breaks in the middle of the answer: the request arrived, the outcome is unknown.
    Drop,
}

pub(crate) fn ok(body: impl std::fmt::Display) -> Say {
    Say::Json(200, format!("{body}"))
}

type Answer = Box<dyn FnMut(&Got) -> Say + Send>;

/// One answer of many: status, headers, body.
pub(crate) type Part<'p> = (u16, &'p [(&'p str, &'p str)], String);

/// An answer of many parts, each a change set of its own: status, headers, body.
pub(crate) fn parts(answers: &[Part<'_>]) -> Say {
    let mut text = String::new();
    for (status, headers, body) in answers {
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        text.push_str(&format!(
            "--b\r\ncontent-type: multipart/mixed; boundary=c\r\n\r\n--c\r\ncontent-type: application/http\r\n\r\n\
             HTTP/1.1 {status} Said\r\n{headers}\r\n{body}\r\n--c--\r\n"
        ));
    }
    text.push_str("--b--\r\n");
    Say::Headers(202, vec![("content-type", "multipart/mixed; boundary=b")], text)
}

/// By this clock, which tells a server's time, no test's is ahead: the machine's own is nobody's business.
const LATE: &str = "Fri, 31 Dec 9999 23:59:59 GMT";

struct Shared {
    got: Mutex<Vec<Got>>,
    answer: Mutex<Answer>,
}

/// A server on loopback that answers as it is told.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Server {
    /// Answers in this order, then with 500.
    pub(crate) async fn script(answers: Vec<Say>) -> Server {
        let mut answers = VecDeque::from(answers);
        Server::start(move |_| answers.pop_front().unwrap_or(Say::Json(500, "{}".to_owned()))).await
    }

    pub(crate) async fn start(answer: impl FnMut(&Got) -> Say + Send + 'static) -> Server {
        let shared = Arc::new(Shared {
            got: Mutex::new(Vec::new()),
            answer: Mutex::new(Box::new(answer)),
        });
        let router = Router::new().fallback(reply).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Server { url, shared }
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.shared.got.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.got().into_iter().map(|g| g.line).collect()
    }
}

async fn reply(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let headers: std::collections::BTreeMap<String, String> = request.headers().iter().map(header).collect();
    let authorization = headers.get("authorization").cloned().unwrap_or_default();
    let body = axum::body::to_bytes(request.into_body(), 1 << 24).await.unwrap();
    let got = Got {
        line,
        authorization,
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let said = (shared.answer.lock().unwrap())(&got);
    shared.got.lock().unwrap().push(got);
    let builder = Response::builder().header("content-type", "application/json");
    let answer = match said {
        Say::Json(status, body) => builder.status(status).body(Body::from(body)),
        Say::Header(status, name, value, body) => {
            builder.status(status).header(name, value).body(Body::from(body))
        }
        Say::Headers(status, headers, body) => {
            let builder = headers
                .into_iter()
                .fold(Response::builder(), |builder, (name, value)| {
                    builder.header(name, value)
                });
            builder.status(status).body(Body::from(body))
        }
        Say::Drop => {
            let broken = futures_util::stream::iter([
                Ok(Bytes::from_static(b"{")),
                Err(std::io::Error::other("dropped by the test")),
            ]);
            builder.status(200).body(Body::from_stream(broken))
        }
    };
    let mut answer = answer.unwrap();
    let date = answer.headers_mut().entry("date");
    date.or_insert_with(|| LATE.parse().unwrap());
    answer
}

/// Compiles a manifest that must be good.
pub(crate) fn connector(text: &str) -> Arc<Connector> {
    let mut report = diagnostic::Report::new();
    let source = diagnostic::Source::new("connector.yaml", text);
    let connector = Connector::compile(&source, &mut report);
    assert!(report.is_empty(), "{}", report.render(false));
    Arc::new(connector.unwrap())
}

/// A connection to a server of a test.
pub(crate) fn connect(
    connector: &Arc<Connector>,
    config: Json,
    secrets: &[(&str, &str)],
    clock: &Arc<ManualClock>,
) -> Connection {
    let guard = outbound::Guard::allowing(["127.0.0.0/8".parse().unwrap()]);
    let client = outbound::Client::new(outbound::Limits::default(), guard).unwrap();
    let Json::Object(config) = config else {
        panic!("config is an object")
    };
    let secrets: Secrets = secrets.iter().map(|(k, v)| (*k, *v)).collect();
    let settings = Settings::new("test", config, secrets);
    Connection::open(
        Arc::clone(connector),
        settings,
        client,
        Arc::clone(clock) as Arc<dyn Clock>,
    )
    .unwrap()
}

/// A connection that signs in by a way of this name.
pub(crate) fn connect_by(
    connector: &Arc<Connector>,
    config: Json,
    secrets: &[(&str, &str)],
    auth: &str,
) -> Connection {
    let guard = outbound::Guard::allowing(["127.0.0.0/8".parse().unwrap()]);
    let client = outbound::Client::new(outbound::Limits::default(), guard).unwrap();
    let Json::Object(config) = config else {
        panic!("config is an object")
    };
    let mut settings = Settings::new("test", config, secrets.iter().copied().collect());
    settings.auth = Some(auth.to_owned());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    Connection::open(Arc::clone(connector), settings, client, clock).unwrap()
}

/// One of the connectors of this repository.
pub(crate) fn shipped(system: &str) -> Arc<Connector> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../connectors/{system}/connector.yaml"));
    connector(&std::fs::read_to_string(path).unwrap())
}

/// HubSpot at a server of a test.
pub(crate) fn hubspot(server: &Server, clock: &Arc<ManualClock>) -> Connection {
    let config = serde_json::json!({"base_url": server.url});
    connect(
        &shipped("hubspot"),
        config,
        &[("access_token", "pat-test"), ("client_secret", HOOK_SECRET)],
        clock,
    )
}

/// The secret of the published vectors of request signatures.
pub(crate) const HOOK_SECRET: &str = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy";

/// Salesforce at a server of a test; its token endpoint is there too.
pub(crate) fn salesforce(server: &Server, clock: &Arc<ManualClock>) -> Connection {
    let config = serde_json::json!({"login_url": server.url});
    connect(
        &shipped("salesforce"),
        config,
        &[("client_id", "id"), ("client_secret", "s3cret")],
        clock,
    )
}

/// Tryton at a server of a test.
pub(crate) fn tryton(server: &Server, clock: &Arc<ManualClock>) -> Connection {
    let config = serde_json::json!({"base_url": server.url, "database": "db", "user": "hub"});
    connect(&shipped("tryton"), config, &[("password", "pw")], clock)
}

/// A write of an object by its values.
pub(crate) fn write(id: Option<&str>, key: &str, values: Json) -> crate::Write {
    let Json::Object(values) = values else {
        panic!("values are an object")
    };
    crate::Write {
        id: id.map(str::to_owned),
        key: key.to_owned(),
        values,
        version: None,
        tried_at: None,
    }
}
