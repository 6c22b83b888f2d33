//! A hub says that it listens when it can serve: it waits for a ledger and a queue that come up after it, and not for ever.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::harness::{Folder, Hub, Redis, database, exchange, get, post, required, said};

/// An address of this machine at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound").to_string()
}

/// An address of this machine from which it goes on to another one, as long as it is not shut.
struct Door {
    /// The connections that go through; none can as long as it is shut.
    through: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Door {
    /// From now on, whoever connects to `from` is at `to`; for as long as the process lives.
    fn open(from: &str, to: String) -> Door {
        let listener = TcpListener::bind(from).expect("the port is free still");
        let door = Door {
            through: Arc::new(Mutex::new(Some(Vec::new()))),
        };
        let through = Arc::clone(&door.through);
        thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.expect("a connection");
                let mut through = through.lock().expect("nobody panicked");
                let Some(through) = through.as_mut() else { continue };
                let far = TcpStream::connect(&to).expect("there is somebody");
                let pass = |mut from: TcpStream, mut to: TcpStream| {
                    thread::spawn(move || {
                        // Either side may end it at any time.
                        let _ended = io::copy(&mut from, &mut to);
                        let _closed = to.shutdown(Shutdown::Write);
                    })
                };
                let twice = |stream: &TcpStream| stream.try_clone().expect("a second handle");
                through.extend([twice(&near), twice(&far)]);
                pass(twice(&near), twice(&far));
                pass(far, near);
            }
        });
        door
    }

    fn shut(&self) {
        let through = self.through.lock().expect("nobody panicked").take();
        for stream in through.into_iter().flatten() {
            // One that has ended is shut already.
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }

    fn open_again(&self) {
        *self.through.lock().expect("nobody panicked") = Some(Vec::new());
    }
}

/// A database's address that leads through a door, where the door is to be, and what is behind it.
fn behind(name: &str) -> (String, String, String) {
    let there = database(name);
    let server = required("IT_POSTGRES_URL");
    let (_, place) = server.rsplit_once('@').expect("an address with a user");
    let place = place.split('/').next().expect("a host and a port").to_owned();
    let door = nobody();
    (there.replacen(&place, &door, 1), door, place)
}

#[test]
fn a_hub_waits_for_its_stores_and_says_where_it_listens_when_they_are_there() {
    let folder = Folder::new();
    let (ledger, door, place) = behind("starting");
    let config = folder.write(
        "interconnect.yaml",
        &format!(
            "listen: 127.0.0.1:0\nledger: {ledger}\nqueue: unix://{}\n",
            folder.path("redis.sock").display(),
        ),
    );
    let (mut heard, mut redis, mut open) = (Vec::new(), None, false);
    let hub = Hub::begin(&[], &config, &[]).listening_after(|line| {
        heard.push(line.to_owned());
        if line.contains("the ledger at") && !open {
            Door::open(&door, place.clone());
            open = true;
        }
        if line.contains("the queue's Redis at") && redis.is_none() {
            redis = Some(Redis::start(&folder));
        }
    });
    assert!(open && redis.is_some(), "{heard:#?}");
    assert!(
        heard[0].starts_with("waiting, for up to `limits.start_wait_ms` (60000): the ledger at ")
            && heard[0].contains("onnection refused"),
        "{heard:#?}"
    );
    assert!(heard.last().is_some_and(|line| line.starts_with("listening on ")));

    // Who heard that line may rely on it at once.
    assert_eq!(get(&format!("{}/readyz", hub.url))["status"], "ready");
    let event = json!({"type": "custom.ping", "timestamp": "2026-11-23T10:00:00Z", "data": {"id": "p1"}});
    let receipt = post(&format!("{}/v1/events", hub.url), &event);
    assert!(receipt["id"].is_string(), "{receipt:#}");
    assert_eq!(hub.running.stop(), Some(0));
}

#[test]
fn a_hub_whose_ledger_is_away_is_alive_and_not_ready_until_it_is_back() {
    let folder = Folder::new();
    let (ledger, door, place) = behind("away");
    let text = format!("listen: 127.0.0.1:0\nledger: {ledger}\n");
    let config = folder.write("interconnect.yaml", &text);
    let door = Door::open(&door, place);
    let hub = Hub::begin(&[], &config, &[]).listening();
    let told = |path: &str| exchange("GET", &format!("{}{path}", hub.url), None, &[]);
    assert_eq!(told("/readyz").0, 200);
    door.shut();
    let (status, body) = told("/readyz");
    assert!(
        status == 503 && body.contains("\"code\":\"unavailable\""),
        "{status} {body}"
    );
    assert_eq!(told("/livez").0, 200);
    door.open_again();
    assert_eq!(told("/readyz").0, 200);
    assert_eq!(hub.running.stop(), Some(0));
}

#[test]
fn a_hub_does_not_wait_for_ever_nor_for_what_does_not_pass() {
    let folder = Folder::new();
    let serve = |ledger: &str, queue: &str| {
        let text = format!(
            "listen: 127.0.0.1:0\nledger: \"{ledger}\"\nqueue: {queue}\nlimits: {{ start_wait_ms: 2000 }}\n"
        );
        folder.write("interconnect.yaml", &text);
        said(&folder.run(&["serve"], &[]))
    };
    let (nobody, never) = (nobody(), "waiting, for up to `limits.start_wait_ms` (2000): ");
    let (code, _, error) = serve("sqlite::memory:", &format!("redis://{nobody}/0"));
    assert_eq!(code, Some(2), "{error}");
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    let cannot = "the queue cannot be opened: the queue's Redis at ";
    assert!(lines[0].starts_with(&format!("{never}{cannot}")), "{error}");
    assert!(lines[1].starts_with(&format!("error: {cannot}")), "{error}");
    assert!(lines[1].contains("onnection refused"), "{error}");

    // A folder that is not there, or a password that is wrong, is for a person.
    let (code, _, error) = serve("sqlite:nowhere/hub.db", "memory");
    assert_eq!(code, Some(2), "{error}");
    assert!(error.starts_with("error: the ledger's folder "), "{error}");
}
