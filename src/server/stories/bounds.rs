//! Everything that comes in has a limit, and a stop waits for what was begun.

use std::time::Duration;

use crate::ServerSettings;
use outbound::Method;
use outbound::header::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stage::{EVENT, Stage};

/// A guard against a story that would hang, not a measure.
const HANG_S: u64 = 60;

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";

/// Reads one whole answer that says that the server is alive.
async fn read_alive(peer: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        answer.push(peer.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
}

/// Sends bytes as they are and reads to the end of the connection.
async fn raw(stage: &Stage, text: &[u8]) -> String {
    let mut peer = TcpStream::connect(stage.address()).await.unwrap();
    peer.write_all(text).await.unwrap();
    read_to_end(&mut peer).await
}

async fn read_to_end(peer: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(HANG_S), peer.read_to_end(&mut answer)).await;
    // A peer that is cut off while it still sends may see a reset after the answer.
    let _ = read.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request of which the server asks for the body, which is two bytes long, as it does when the handler reads it.
async fn announced(stage: &Stage, path: &str) -> TcpStream {
    let mut peer = TcpStream::connect(stage.address()).await.unwrap();
    let headers = "host: 127.0.0.1\r\nconnection: close\r\ncontent-length: 2\r\nexpect: 100-continue";
    let request = format!("POST {path} HTTP/1.1\r\n{headers}\r\n\r\n");
    peer.write_all(request.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    peer.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    peer
}

async fn quick() -> (tempfile::TempDir, Stage) {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings {
        body_bytes_max: 1024,
        headers_max: 16,
        headers_bytes_max: 8192,
        headers_timeout_ms: 200,
        body_timeout_ms: 200,
        ..ServerSettings::default()
    };
    let stage = Stage::open(folder.path(), &[], settings).await;
    (folder, stage)
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_whether_it_tells_its_length_or_not() {
    let (_folder, stage) = quick().await;
    let told = raw(
        &stage,
        b"POST /hooks/acme HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n",
    )
    .await;
    assert!(
        told.starts_with("HTTP/1.1 413") && told.contains("too_large"),
        "{told}"
    );
    let mut endless =
        b"POST /hooks/acme HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    endless.extend_from_slice(b"200\r\n");
    endless.extend_from_slice(&[b'x'; 512]);
    for _ in 0..3 {
        endless.extend_from_slice(b"\r\n200\r\n");
        endless.extend_from_slice(&[b'x'; 512]);
    }
    let cut = raw(&stage, &endless).await;
    assert!(
        cut.starts_with("HTTP/1.1 413") && cut.contains("too_large"),
        "{cut}"
    );
}

#[tokio::test]
async fn a_body_that_drips_is_not_waited_for() {
    let (_folder, stage) = quick().await;
    let told = raw(
        &stage,
        b"POST /hooks/acme HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{",
    )
    .await;
    assert!(
        told.starts_with("HTTP/1.1 408") && told.contains("body_timeout"),
        "{told}"
    );
    stage.refusals.flush().await;
    let refusals = stage.ledger.refusals(10).await.unwrap();
    assert_eq!((refusals.len(), refusals[0].body_bytes), (1, 1));
}

#[tokio::test]
async fn headers_have_a_number_a_size_and_a_time() {
    let (_folder, stage) = quick().await;
    let many = format!(
        "GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "x-a: 1\r\n".repeat(40)
    );
    let long = format!(
        "GET /livez HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n",
        "a".repeat(20_000)
    );
    for request in [many, long] {
        let told = raw(&stage, request.as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 431"), "{told}");
    }
    let slow = raw(&stage, b"GET /livez HTTP/1.1\r\nhost: x\r\n").await;
    assert!(!slow.contains("200 OK"), "{slow}");
}

#[tokio::test]
async fn more_requests_than_are_worked_on_at_once_are_told_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings {
        requests_max: 1,
        ..ServerSettings::default()
    };
    let stage = Stage::open(folder.path(), &[], settings).await;
    // What an admin says is read in its place.
    let mut first = announced(&stage, "/v1/conflicts/x/resolve").await;
    let second = stage.get("/v1/events").await;
    assert_eq!((second.status(), second.header("retry-after")), (503, Some("1")));
    insta::assert_snapshot!(second.problem(), @"503 busy: too many requests are being worked on; try again shortly");
    assert_eq!(stage.get("/livez").await.status(), 200, "it is well, if busy");
    first.write_all(b"{}").await.unwrap();
    assert!(read_to_end(&mut first).await.starts_with("HTTP/1.1 400"));
    assert_eq!(stage.get("/v1/events").await.status(), 200);
}

#[tokio::test]
async fn a_body_on_its_way_takes_no_place_and_the_slowest_gives_way() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings {
        requests_max: 1,
        ..ServerSettings::default()
    };
    let stage = Stage::open(folder.path(), &[], settings).await;
    let mut first = announced(&stage, "/hooks/acme").await;
    assert_eq!(stage.get("/v1/events").await.status(), 200);
    let mut second = announced(&stage, "/hooks/acme").await;
    let told = read_to_end(&mut first).await;
    assert!(
        told.starts_with("HTTP/1.1 503") && told.contains("too many bodies are on their way"),
        "{told}"
    );
    // Whoever has a whole body needs a place again.
    let mut admin = announced(&stage, "/v1/conflicts/x/resolve").await;
    second.write_all(b"{}").await.unwrap();
    let told = read_to_end(&mut second).await;
    assert!(
        told.starts_with("HTTP/1.1 503") && told.contains("too many requests"),
        "{told}"
    );
    admin.write_all(b"{}").await.unwrap();
    read_to_end(&mut admin).await;
    let mut third = announced(&stage, "/hooks/acme").await;
    third.write_all(b"{}").await.unwrap();
    assert!(read_to_end(&mut third).await.contains("signature_missing"));
}

#[tokio::test]
async fn who_reads_no_answer_does_not_keep_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings {
        connections_max: 1,
        write_timeout_ms: 100,
        ..ServerSettings::default()
    };
    let stage = Stage::open(folder.path(), &[], settings).await;
    let mut deaf = TcpStream::connect(stage.address()).await.unwrap();
    // More than the operating system keeps of what nobody reads.
    let asked = b"GET /v1/asyncapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".repeat(1_000);
    deaf.write_all(&asked).await.unwrap();
    let mut second = TcpStream::connect(stage.address()).await.unwrap();
    second.write_all(LIVEZ).await.unwrap();
    let alive = tokio::time::timeout(Duration::from_secs(HANG_S), read_alive(&mut second));
    alive.await.expect("the first is closed");
    drop(deaf);
}

#[tokio::test]
async fn more_connections_than_fit_wait_for_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings {
        connections_max: 1,
        headers_timeout_ms: 60_000,
        ..ServerSettings::default()
    };
    let stage = Stage::open(folder.path(), &[], settings).await;
    let mut first = TcpStream::connect(stage.address()).await.unwrap();
    first.write_all(LIVEZ).await.unwrap();
    let mut second = TcpStream::connect(stage.address()).await.unwrap();
    second.write_all(LIVEZ).await.unwrap();
    // The first is answered again and again; a server that had taken the second would have answered it meanwhile.
    for _ in 0..100 {
        read_alive(&mut first).await;
        first.write_all(LIVEZ).await.unwrap();
    }
    let nothing = second.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    read_alive(&mut second).await;
}

/// Nor does who says nothing, or half of something.
#[tokio::test]
async fn who_asks_nothing_gives_way_to_who_does() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings {
        connections_max: 2,
        headers_timeout_ms: 60_000,
        ..ServerSettings::default()
    };
    let stage = Stage::open(folder.path(), &[], settings).await;
    let mut silent = TcpStream::connect(stage.address()).await.unwrap();
    let mut halting = TcpStream::connect(stage.address()).await.unwrap();
    halting.write_all(LIVEZ).await.unwrap();
    read_alive(&mut halting).await;
    halting.write_all(b"GET /livez HT").await.unwrap();
    let mut stay = Vec::new();
    for _ in 0..2 {
        let mut next = TcpStream::connect(stage.address()).await.unwrap();
        next.write_all(LIVEZ).await.unwrap();
        let alive = tokio::time::timeout(Duration::from_secs(HANG_S), read_alive(&mut next));
        alive.await.expect("one of the others gives way");
        stay.push(next);
    }
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(read_to_end(&mut halting).await, "");
}

#[tokio::test]
async fn stopping_finishes_what_was_begun_and_takes_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], ServerSettings::default()).await;
    let headers = stage.signed("m1", EVENT, 0);
    let mut request = format!(
        "POST /hooks/acme HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n",
        EVENT.len()
    );
    for (name, value) in &headers {
        request.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    request.push_str("\r\n");
    let mut begun = TcpStream::connect(stage.address()).await.unwrap();
    begun.write_all(request.as_bytes()).await.unwrap();
    begun.read_exact(&mut [0; 25]).await.unwrap();
    let mut idle = TcpStream::connect(stage.address()).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    idle.read_exact(&mut [0; 15]).await.unwrap();

    let (address, ledger) = (stage.address().to_owned(), stage.ledger.clone());
    let stopped = stage.stop();
    read_to_end(&mut idle).await;
    assert!(!stopped.is_finished());
    begun.write_all(EVENT.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut begun).await;
    assert!(answer.contains("202 Accepted"), "{answer}");
    tokio::time::timeout(Duration::from_secs(HANG_S), stopped)
        .await
        .expect("it stops")
        .unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    assert!(ledger.row_counts().await.unwrap().contains(&("events".into(), 1)));
}

#[tokio::test]
async fn health_is_told() {
    let (_folder, stage) = quick().await;
    assert_eq!(stage.get("/livez").await.json()["status"], "alive");
    assert_eq!(stage.get("/readyz").await.json()["status"], "ready");
    let wrong = stage
        .call(Method::POST, "/livez", HeaderMap::new(), Default::default())
        .await;
    assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
    insta::assert_snapshot!(wrong.problem(), @"405 method_not_allowed: this address is there, but not for this method");
}

#[tokio::test]
async fn what_a_person_asked_for_is_done_though_they_go_away() {
    for (path, body) in [
        ("actions/act_01h455vb4pex5vsknk084sn02q/undo", ""),
        (
            "conflicts/cfl_01h455vb4pex5vsknk084sn02q/resolve",
            r#"{"take":"ours"}"#,
        ),
        ("errors/retry", r#"{"all":true}"#),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage::open(folder.path(), &[], ServerSettings::default()).await;
        let door = stage.door.clone();
        let held = door.hold().await;
        let mut person = TcpStream::connect(stage.address()).await.unwrap();
        let headers = format!("host: 127.0.0.1\r\ncontent-length: {}", body.len());
        let asks = format!("POST /v1/{path} HTTP/1.1\r\n{headers}\r\n\r\n{body}");
        person.write_all(asks.as_bytes()).await.unwrap();
        let mut came = door.came.subscribe();
        let came = tokio::time::timeout(Duration::from_secs(HANG_S), came.wait_for(|came| *came == 1));
        came.await.expect("it is asked for").unwrap();

        drop(person);
        // Nobody serves them any more when the server has ended.
        let stopped = tokio::time::timeout(Duration::from_secs(HANG_S), stage.stop());
        stopped.await.expect("nothing holds it").unwrap();
        assert_eq!(*door.done.borrow(), 0);
        drop(held);
        let mut done = door.done.subscribe();
        let done = tokio::time::timeout(Duration::from_secs(HANG_S), done.wait_for(|done| *done == 1));
        done.await.expect("it goes on").unwrap();
    }
}
