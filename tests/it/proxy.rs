//! What goes out goes through a proxy: a real one, in front of names that it alone can look up.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::certificates::{authority, receiver, signed_by};
use crate::harness::{
    Folder, Hub, Running, Sandbox, eventually, expect, interconnect, json_of, post, said, service,
};
use crate::partners::{acme_secret, received};

/// More failures in a row than open a breaker.
const FAILURES: usize = 15;

/// A proxy, what the hub shows it, and where it writes down what it was asked.
struct Proxy {
    url: String,
    log: PathBuf,
    _running: Running,
}

impl Proxy {
    fn start(folder: &Folder) -> Proxy {
        let log = folder.write("proxy.jsonl", "");
        let path = log.to_str().expect("a path of text");
        let (running, told) = service("proxy.mjs", &[path, "hub", "open sesame"]);
        let url = told["url"].as_str().expect("an address").to_owned();
        Proxy {
            url,
            log,
            _running: running,
        }
    }

    /// Each place that it was asked for, once, and whether by a tunnel.
    fn asked(&self) -> Vec<(String, bool)> {
        let log = std::fs::read_to_string(&self.log).expect("its log");
        let lines = log.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let lines = lines.filter(|line: &Json| line["lets"] == true);
        let asked = lines.map(|line| {
            (
                line["to"].as_str().expect("a place").to_owned(),
                line["tunnel"] == true,
            )
        });
        asked
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect()
    }
}

fn secrets(sandbox: &Sandbox, password: &str) -> Vec<(&'static str, String)> {
    let secret = &sandbox.said["partners"]["northwind"]["secret"];
    let token = &sandbox.said["hubspot"]["token"];
    let text = |json: &Json| json.as_str().expect("a text").to_owned();
    vec![
        ("SECRET", text(secret)),
        ("TLS_SECRET", acme_secret()),
        ("TOKEN", text(token)),
        ("PASSWORD", password.to_owned()),
    ]
}

fn ping(hub: &Hub, id: usize) {
    let event = json!({"type": "custom.ping", "timestamp": "2026-11-23T10:00:00Z", "data": {"id": id}});
    post(&format!("{}/v1/events", hub.url), &event);
}

#[test]
fn webhooks_and_calls_go_out_through_the_proxy_but_for_what_is_called_directly() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind"]);
    let proxy = Proxy::start(&folder);
    let (theirs, ours) = (authority("theirs"), authority("ours"));
    let (encrypted, log) = receiver(&signed_by(&theirs, "tls.partner.test", 30), &ours.pem());
    let (certificate, key) = signed_by(&ours, "hub.example", 50);
    folder.write("hub.crt", &certificate);
    folder.write("hub.key", &key);
    folder.write("ca.crt", &theirs.pem());
    let (northwind, hubspot) = (sandbox.url("northwind"), sandbox.url("hubspot"));
    let named = |url: &str, name: &str| url.replace("127.0.0.1", name);
    let text = format!(
        "listen: 127.0.0.1:0
ledger: sqlite:hub.db
outbound:
  allow: [127.0.0.0/8]
  proxy: {{ url: \"{}\", user: hub, password: \"${{env:PASSWORD}}\", direct: [127.0.0.1] }}
connections:
  marketing: {{ system: hubspot, auth: bearer, config: {{ base_url: \"{}\" }}, secrets: {{ access_token: \"${{env:TOKEN}}\" }} }}
partners:
  northwind:
    endpoints:
      - {{ name: plain, url: \"{}/plain\", secret: \"${{env:SECRET}}\", events: [custom.ping], share: everything }}
      - {{ name: direct, url: \"{northwind}/direct\", secret: \"${{env:SECRET}}\", events: [custom.ping], share: everything }}
  globex:
    endpoints:
      - {{ name: encrypted, url: \"{}\", secret: \"${{env:TLS_SECRET}}\", events: [custom.ping], share: everything,
           tls: {{ certificate: \"${{file:hub.crt}}\", key: \"${{file:hub.key}}\", authorities: \"${{file:ca.crt}}\" }} }}
",
        proxy.url,
        named(&hubspot, "api.hubspot.test"),
        named(&northwind, "hooks.partner.test"),
        named(&encrypted, "tls.partner.test"),
    );
    let config = folder.write("interconnect.yaml", &text);
    let secrets = secrets(&sandbox, "open sesame");
    let hub = Hub::start(&config, &secrets);
    ping(&hub, 1);
    eventually("all three to have it", || {
        let (plain, encrypted) = (
            received(&sandbox, "northwind"),
            log.lock().expect("nobody panics"),
        );
        expect(
            (plain.len(), encrypted.len()) == (2, 1),
            format!("{plain:?} {encrypted:?}"),
        )
    });
    let path = config.to_str().expect("a path of text");
    let tested = interconnect(&["--config", path, "connection", "test", "--json"], &secrets);
    assert_eq!(tested.status.code(), Some(0), "{:?}", said(&tested));

    let at = |url: &str, name: &str| {
        let port = url
            .split(['/', ':'])
            .filter_map(|part| part.parse::<u16>().ok())
            .next();
        format!("{name}:{}", port.expect("a port"))
    };
    let wanted = vec![
        (at(&hubspot, "api.hubspot.test"), false),
        (at(&northwind, "hooks.partner.test"), false),
        (at(&encrypted, "tls.partner.test"), true),
    ];
    assert_eq!(proxy.asked(), wanted);
    // What the proxy is shown is for the proxy alone.
    let all = format!(
        "{:?} {:?}",
        received(&sandbox, "northwind"),
        log.lock().expect("nobody panics")
    );
    assert!(!all.to_ascii_lowercase().contains("proxy-authorization"), "{all}");
}

#[test]
fn a_proxy_that_lets_nothing_out_is_not_held_against_who_was_to_be_called() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind"]);
    let proxy = Proxy::start(&folder);
    let url = |name: &str| sandbox.url("northwind").replace("127.0.0.1", name);
    let text = format!(
        "listen: 127.0.0.1:0
ledger: sqlite:hub.db
outbound: {{ proxy: {{ url: \"{}\", user: hub, password: \"${{env:PASSWORD}}\" }} }}
partners:
  northwind:
    endpoints:
      - {{ name: plain, url: \"{}/plain\", secret: \"${{env:SECRET}}\", events: [custom.ping], share: everything, retry_ms: [10] }}
      - {{ name: encrypted, url: \"{}/encrypted\", secret: \"${{env:SECRET}}\", events: [custom.ping], share: everything, retry_ms: [10] }}
",
        proxy.url,
        url("hooks.partner.test"),
        url("tls.partner.test").replace("http:", "https:"),
    );
    let config = folder.write("interconnect.yaml", &text);
    let secrets = secrets(&sandbox, "open barley");
    let hub = Hub::start(&config, &secrets);
    (0..FAILURES).for_each(|number| ping(&hub, number));
    let path = config.to_str().expect("a path of text");
    let ask = |words: &[&str]| {
        json_of(&interconnect(
            &[&["--config", path, "--json"], words].concat(),
            &secrets,
        ))
    };
    let dead = eventually("the last try of all", || {
        let told = ask(&["delivery", "list", "--state", "dead"]);
        let count = told["data"].as_array().map_or(0, Vec::len);
        expect(count == 2 * FAILURES, &told).map(|()| told.clone())
    });
    for one in dead["data"].as_array().expect("a list") {
        let error = one["last_error"].as_str().expect("a reason");
        assert!(error.contains("does not take what it is shown (407)"), "{error}");
        assert!(!error.contains("barley"), "{error}");
    }
    let endpoints = ask(&["endpoint", "list"]);
    let states = endpoints["data"].as_array().expect("a list").iter();
    let states: Vec<&Json> = states.map(|one| &one["state"]).collect();
    assert_eq!(states, ["ok", "ok"], "{endpoints}");
    assert_eq!(proxy.asked(), vec![]);
}
