//! The libraries of the Standard Webhooks themselves, for Rust, JavaScript and Python: they take what we send, whatever
//! else it is signed with, and we take what they sign.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use outbound::header::{HeaderMap, HeaderName};
use serde_json::{Map, Value as Json, json};
use standardwebhooks::{Webhook, WebhookError};

use crate::certificates::is_whole;
use crate::harness::{Folder, Hub, base64, client, eventually, exchange, expect, post, required};
use crate::partners::{acme_secret, now};

/// A message as it arrived: where, its headers, its body.
type Message = (String, Map<String, Json>, String);

/// Somebody who writes down what is posted, and takes everything.
fn receiver() -> (String, Arc<Mutex<Vec<Message>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let log = Arc::<Mutex<Vec<Message>>>::default();
    let kept = log.clone();
    thread::spawn(move || {
        for mut peer in listener.incoming().map_while(Result::ok) {
            let kept = kept.clone();
            thread::spawn(move || {
                let (mut read, mut bytes) = (Vec::new(), [0; 4096]);
                while let Ok(count @ 1..) = peer.read(&mut bytes) {
                    read.extend_from_slice(&bytes[..count]);
                    let text = String::from_utf8_lossy(&read).into_owned();
                    if is_whole(&text) {
                        kept.lock().expect("nobody panics").push(message(&text));
                        let _left = peer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                        read.clear();
                    }
                }
            });
        }
    });
    (url, log)
}

fn message(text: &str) -> Message {
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let path = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .expect("a path");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), json!(value)));
    (path.to_owned(), headers.collect(), body.to_owned())
}

/// What each library says to this.
fn libraries(what: &Json) -> [(&'static str, Json); 3] {
    let text = what.to_string();
    let python = Path::new(&required("IT_TRYTON_TEMPLATE")).join("venv/bin/python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/standard_webhooks.py");
    let output = Command::new(python)
        .args([script, &text])
        .output()
        .expect("python runs");
    let python = serde_json::from_slice(&output.stdout);
    let python = python.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    [
        ("Rust", rust(what)),
        ("JavaScript", client("standard_webhooks.mjs", &[&text])),
        ("Python", python),
    ]
}

fn rust(what: &Json) -> Json {
    let text = |name: &str| what[name].as_str().expect("a text");
    let webhook = Webhook::new(text("secret")).expect("a secret");
    let Some(headers) = what["headers"].as_object() else {
        let at = what["at"].as_i64().expect("a number");
        return json!(
            webhook
                .sign(text("id"), at, text("body").as_bytes())
                .expect("text")
        );
    };
    let headers = headers.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().expect("a name");
        (name, value.as_str().expect("a text").parse().expect("a value"))
    });
    let headers: HeaderMap = headers.collect();
    match webhook.verify(text("body").as_bytes(), &headers) {
        Ok(()) => json!(true),
        Err(WebhookError::InvalidSignature) => json!(false),
        Err(error) => panic!("{error}"),
    }
}

fn secret(byte: u8) -> String {
    format!("whsec_{}", base64(&[byte; 32]))
}

/// A hub with an endpoint for each way to sign, who posts to it, and what arrived.
fn begin(folder: &Folder) -> (Hub, Arc<Mutex<Vec<Message>>>) {
    let (url, log) = receiver();
    let endpoint = |name: &str, secrets: &str| {
        format!(
            "      - {{ name: {name}, url: \"{url}/{name}\", secret: [{secrets}], events: [custom.note], share: everything }}\n"
        )
    };
    let text = format!(
        "listen: 127.0.0.1:0
ledger: sqlite:hub.db
outbound: {{ allow: [127.0.0.0/8] }}
partners:
  acme: {{ secrets: [\"${{env:ACME}}\"] }}
  globex:
    endpoints:
{}{}{}",
        endpoint("old", "\"${env:OLD}\""),
        endpoint("rotated", "\"${env:NEW}\", \"${env:OLD}\""),
        endpoint("of-both-kinds", "\"${env:PAIR}\", \"${env:OLD}\""),
    );
    let config = folder.write("interconnect.yaml", &text);
    let secrets = [
        ("ACME", acme_secret()),
        ("OLD", secret(1)),
        ("NEW", secret(2)),
        ("PAIR", format!("whsk_{}", base64(&[3; 32]))),
    ];
    (Hub::start(&config, &secrets), log)
}

#[test]
fn they_take_what_we_send_while_secrets_rotate() {
    let folder = Folder::new();
    let (hub, log) = begin(&folder);
    let data = json!({"id": "n-1", "text": "Grüße aus der Straße – 你好 \" \\ \u{7f}"});
    let event = json!({"type": "custom.note", "timestamp": "2026-11-23T10:00:00Z", "data": data});
    post(&format!("{}/v1/events", hub.url), &event);
    let messages = eventually("all three", || {
        let log = log.lock().expect("nobody panics");
        expect(log.len() == 3, log.len()).map(|()| log.clone())
    });
    for (path, headers, body) in &messages {
        let takes = |byte: u8, body: &str| {
            let what = json!({"secret": secret(byte), "headers": headers, "body": body});
            libraries(&what).map(|(library, takes)| (library, takes == true))
        };
        let all = |takes: bool| ["Rust", "JavaScript", "Python"].map(|library| (library, takes));
        assert_eq!(takes(1, body), all(true), "the old secret at {path}");
        assert_eq!(
            takes(2, body),
            all(path == "/rotated"),
            "the new secret at {path}"
        );
        assert_eq!(takes(9, body), all(false), "somebody else's secret at {path}");
        let other = body.replacen("n-1", "n-2", 1);
        assert_eq!(takes(1, &other), all(false), "another body at {path}");
        let signed = headers["webhook-signature"].as_str().expect("a text");
        let kinds: Vec<&str> = signed
            .split(' ')
            .map(|one| one.split(',').next().unwrap_or(""))
            .collect();
        let wanted: &[&str] = match &path[..] {
            "/rotated" => &["v1", "v1"],
            "/of-both-kinds" => &["v1a", "v1"],
            _ => &["v1"],
        };
        assert_eq!(kinds, wanted, "{path}");
    }
}

#[test]
fn we_take_what_they_sign() {
    let folder = Folder::new();
    let (hub, _log) = begin(&folder);
    let body =
        r#"{"type":"custom.note","timestamp":"2026-11-23T10:00:00Z","data":{"id":"n-1","text":"Grüße"}}"#;
    let at = now();
    let signed = |id: &str| libraries(&json!({"secret": acme_secret(), "id": id, "at": at, "body": body}));
    for (number, library) in ["Rust", "JavaScript", "Python"].into_iter().enumerate() {
        let id = format!("msg_{number}");
        let (named, signature) = signed(&id)[number].clone();
        assert_eq!(named, library);
        let sent = |signature: &str| {
            let headers = [
                ("webhook-id", &id[..]),
                ("webhook-timestamp", &at.to_string()),
                ("webhook-signature", signature),
            ];
            exchange("POST", &format!("{}/hooks/acme", hub.url), Some(body), &headers)
        };
        let other = signed("msg_of_another_id")[number].1.clone();
        let (status, answer) = sent(other.as_str().expect("a signature"));
        assert_eq!(status, 401, "{library}: {answer}");
        let (status, answer) = sent(signature.as_str().expect("a signature"));
        assert_eq!(status, 202, "{library}: {answer}");
    }
}
