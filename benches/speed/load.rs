//! The two ends of the relay: partners who post, and an endpoint that takes everything. Each is one thread of this process,
//! and what is posted is signed before the measure begins, so that the load takes as little of the machine as it can.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::KEY;

/// Connections that post, each with one request at a time; `CONNECTIONS=256 make bench ONLY=relay` shows what more of them
/// get through, and how long each waits then.
fn connections() -> usize {
    let said = std::env::var("CONNECTIONS").ok();
    said.and_then(|said| said.parse().ok()).unwrap_or(64)
}
/// Connections that may wait to be taken by the sink; the system's own limit is this, too.
const BACKLOG: u32 = 4096;
/// Bytes of a note in each event.
const NOTE_BYTES: usize = 500;
/// Bytes that are read at a time.
const READ_BYTES: usize = 4096;

/// When each webhook arrived first, by its id; and how many did in all.
#[derive(Default)]
pub(crate) struct Arrived {
    first: Mutex<HashMap<String, Instant>>,
    count: AtomicUsize,
}

impl Arrived {
    /// How many arrived.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// When one arrived first.
    pub(crate) fn at(&self, id: &str) -> Option<Instant> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get(id).copied()
    }

    fn note(&self, id: String, at: Instant) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.entry(id).or_insert(at);
        drop(first);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Requests of acme's with events of so many types in turn, signed now.
pub(crate) fn signed(address: &str, first: usize, count: usize, kinds: usize) -> Vec<Vec<u8>> {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let at = since_1970.expect("after 1970").as_secs();
    let note = "x".repeat(NOTE_BYTES);
    let one = |number: usize| {
        let (id, kind) = (format!("msg_{number}"), number % kinds);
        let body = format!(
            r#"{{"type":"custom.t{kind}","timestamp":"2026-11-23T10:00:00Z","data":{{"id":"{number}","note":"{note}"}}}}"#
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).expect("any length");
        mac.update(format!("{id}.{at}.{body}").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let text = format!(
            "POST /hooks/acme HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             webhook-id: {id}\r\nwebhook-timestamp: {at}\r\nwebhook-signature: v1,{signature}\r\n\r\n{body}",
            body.len()
        );
        text.into_bytes()
    };
    (first..first + count).map(one).collect()
}

/// Posts all of them; under which id each was accepted, and when its post began.
pub(crate) fn post(address: &str, requests: Vec<Vec<u8>>) -> Vec<(String, Instant)> {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    thread_runtime().block_on(async {
        let connections = (0..connections()).map(|_| {
            let (address, requests, next) = (address.to_owned(), requests.clone(), next.clone());
            tokio::spawn(async move {
                let mut peer = TcpStream::connect(&address).await.expect("it listens");
                peer.set_nodelay(true).expect("it is TCP");
                let (mut read, mut own) = (Vec::with_capacity(READ_BYTES), Vec::new());
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    peer.write_all(request).await.expect("it reads");
                    let answer = loop {
                        if let Some(answer) = Message::first(&read) {
                            break answer;
                        }
                        let got = peer.read_buf(&mut read).await.expect("it answers");
                        assert!(got > 0, "the hub hung up");
                    };
                    let head = answer.head;
                    assert!(
                        head.starts_with("HTTP/1.1 202"),
                        "a good webhook is accepted: {head} {}",
                        answer.body
                    );
                    own.push((
                        answer.body.split('"').nth(3).unwrap_or_default().to_owned(),
                        began,
                    ));
                    let end = answer.end;
                    read.drain(..end);
                }
                own
            })
        });
        let connections: Vec<_> = connections.collect();
        let mut all = Vec::with_capacity(requests.len());
        for connection in connections {
            all.extend(connection.await.expect("a poster ends well"));
        }
        all
    })
}

/// Somebody who answers every post with 200 at once; their address.
pub(crate) fn sink(arrived: &Arc<Arrived>) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    let arrived = Arc::clone(arrived);
    std::thread::spawn(move || {
        thread_runtime().block_on(async move {
            // Ten thousand endpoints open their connections at once, to this one address.
            let socket = TcpSocket::new_v4().expect("a socket");
            let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
            socket.bind(any).expect("a free port");
            let listener = socket.listen(BACKLOG).expect("it listens");
            tell.send(listener.local_addr().expect("an address"))
                .expect("somebody waits");
            while let Ok((peer, _)) = listener.accept().await {
                tokio::spawn(take(peer, Arc::clone(&arrived)));
            }
        });
    });
    format!("http://{}", told.recv().expect("it listens"))
}

async fn take(mut peer: TcpStream, arrived: Arc<Arrived>) {
    let _set = peer.set_nodelay(true);
    let mut read: Vec<u8> = Vec::with_capacity(READ_BYTES);
    loop {
        while let Some(post) = Message::first(&read) {
            let at = Instant::now();
            let (id, end) = (post.header("webhook-id").to_owned(), post.end);
            read.drain(..end);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            if peer.write_all(answer).await.is_err() {
                return;
            }
            arrived.note(id, at);
        }
        match peer.read_buf(&mut read).await {
            Ok(1..) => {}
            _ => return,
        }
    }
}

/// A request or an answer, whole.
struct Message<'m> {
    head: &'m str,
    body: &'m str,
    end: usize,
}

impl<'m> Message<'m> {
    /// The first one, when all of it is there.
    fn first(bytes: &'m [u8]) -> Option<Message<'m>> {
        let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut message = Message {
            head: std::str::from_utf8(&bytes[..head_end]).expect("a head is text"),
            body: "",
            end: head_end + 4,
        };
        let length: usize = message
            .header("content-length")
            .parse()
            .expect("it says its length");
        let body = bytes.get(message.end..message.end + length)?;
        message.body = std::str::from_utf8(body).expect("a body is text");
        message.end += length;
        Some(message)
    }

    fn header(&self, name: &str) -> &'m str {
        let value = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_default()
    }
}

fn thread_runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}
