//! Any request to every connection's hook, by every way of proof that ships: none is taken without the secret.
//!
//! An input is a request as it is written on the wire, with the public address in its first line.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use connector::{Connection, Connector, Incoming, Received, Refusal, Secrets, Settings, SystemClock};
use diagnostic::{Report, Source};
use interconnect_fuzz::{headed, shipped};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// A secret that can be read in every form: text, hex and Base64.
const SECRET: &str = "9f2c4e1ab07d5583c6e1fa90247bd8135e6a7c0d92b1f4e8a3d5067c8b9e1f20";
/// The public key of the first test vector of RFC 8032.
const PUBLIC_KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
/// When every request arrives: the seconds in the corpus are near it.
const NOW_S: i64 = 1_800_000_000;

/// A system that proves itself by one preset; the secret's name says whether it is a key that everybody may know.
const PRESET: &str = "apiVersion: interconnect/v1
kind: Connector
metadata: { name: preset, version: 1.0.0, title: Preset }
connection:
  secrets: { SECRET: here }
  base_url: https://preset.example
  auth: [{ kind: bearer, needs: [SECRET], header: x }]
  identity: { request: { method: GET, path: /x }, tenant: .id }
templates: {}
objects:
  x:
    id: .id
    read: { by_ids: { batch: 1, request: { method: GET, path: /x }, records: .items } }
webhooks:
  verify: [{ preset: PRESET, secret: SECRET }]
  events: '{object: \"x\", id: \"1\", op: \"update\"}'
";

static CONNECTIONS: LazyLock<Vec<Connection>> = LazyLock::new(|| {
    let signatures = include_str!("../../connectors/signatures.yaml");
    let presets = signatures.lines().filter_map(|line| line.strip_suffix(':'));
    let presets = presets.filter(|name| !name.starts_with([' ', '#']));
    let presets: Vec<Source> = presets
        .map(|name| {
            let secret = if name.ends_with("_public") {
                "public_key"
            } else {
                "key"
            };
            Source::new(name, PRESET.replace("PRESET", name).replace("SECRET", secret))
        })
        .collect();
    assert!(presets.len() > 3, "the presets were found");
    let sources = shipped("connectors", "connector.yaml").into_iter().chain(presets);
    let connections: Vec<Connection> = sources.filter_map(|source| opened(&source)).collect();
    // A secret that cannot be used would refuse everything, and nothing would be tried.
    let now = Timestamp::from_second(NOW_S).expect("a moment");
    let nothing = request("POST https://hub.example/hook\n\n").expect("a request");
    for connection in &connections {
        let refused = connection.receive(&nothing, now);
        let usable = !matches!(refused, Err(Refusal::CannotVerify(_)));
        assert!(usable, "{}: {refused:?}", connection.connector().system());
    }
    connections
});

/// A connection with every secret set; none for systems that send no webhooks.
fn opened(source: &Source) -> Option<Connection> {
    let mut report = Report::new();
    let compiled = Connector::compile(source, &mut report);
    let connector = Arc::new(compiled.unwrap_or_else(|| panic!("{}", report.render(false))));
    let config = connector.config().into_keys().map(|name| {
        let first = connector.config_options(name).first();
        (
            name.to_owned(),
            Value::from(first.map_or("x-set", String::as_str)),
        )
    });
    let config = config.collect();
    let secrets: Secrets = connector
        .secrets()
        .into_keys()
        .map(|name| {
            (
                name,
                if name.contains("public") {
                    PUBLIC_KEY
                } else {
                    SECRET
                },
            )
        })
        .collect();
    let settings = Settings::new("fuzzed", config, secrets);
    let http = outbound::Client::new(outbound::Limits::default(), outbound::Guard::public_only());
    let http = http.expect("a client that is never used");
    let has_webhooks = connector.has_webhooks();
    let opened = Connection::open(connector, settings, http, Arc::new(SystemClock));
    has_webhooks.then(|| opened.expect("all settings are set"))
}

fn request(input: &str) -> Option<Incoming> {
    let (first, rest) = headed(input)?;
    let (method, url) = first.split_once(' ')?;
    let (head, body) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let headers: BTreeMap<String, String> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Some(Incoming {
        method: method.to_owned(),
        url: url.to_owned(),
        headers,
        body: body.as_bytes().to_vec().into(),
    })
}

fuzz_target!(|input: &str| {
    let Some(request) = request(input) else { return };
    let now = Timestamp::from_second(NOW_S).expect("a moment");
    for connection in CONNECTIONS.iter() {
        if let Ok(Received::Hints(hints)) = connection.receive(&request, now) {
            panic!("{} took it: {hints:?}", connection.connector().system());
        }
    }
});
