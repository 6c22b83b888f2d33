//! A receiver that asks for a certificate, with real TLS: it gets ours, and nobody without one gets through.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value as Json, json};

use crate::harness::{Folder, Hub, Sandbox, eventually, expect, interconnect, json_of, post, said};
use crate::partners::{acme_secret, received};

/// An authority of the story's own.
pub(crate) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(parameters, key).expect("an authority")
}

/// A certificate that an authority signed, for so many days from now, and its key; both as PEM.
pub(crate) fn signed_by(authority: &CertifiedIssuer<'_, KeyPair>, name: &str, days: i64) -> (String, String) {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    parameters.distinguished_name.push(DnType::CommonName, name);
    let end = jiff::Timestamp::now().as_second() + days * 86_400;
    // A date of another library, counted from one that both know.
    parameters.not_after =
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(end.unsigned_abs());
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.signed_by(&key, authority).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// What came through to a receiver: the request, and the certificate that was shown.
pub(crate) type Log = Arc<Mutex<Vec<(String, CertificateDer<'static>)>>>;

/// Somebody who takes webhooks over TLS from those alone who show a certificate of an authority.
pub(crate) fn receiver((certificate, key): &(String, String), of: &str) -> (String, Log) {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(der(of)).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(
            vec![der(certificate)],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key"),
        );
    let config = Arc::new(config.expect("a certificate with its key"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://{}/hook", listener.local_addr().expect("an address"));
    let log: Log = Arc::default();
    let kept = log.clone();
    thread::spawn(move || {
        for peer in listener.incoming().map_while(Result::ok) {
            let (config, kept) = (config.clone(), kept.clone());
            thread::spawn(move || {
                let tls = ServerConnection::new(config).expect("a connection");
                let mut stream = StreamOwned::new(tls, peer);
                let (mut read, mut bytes) = (Vec::new(), [0; 4096]);
                // Who is not let in never comes so far.
                while let Ok(count) = stream.read(&mut bytes) {
                    read.extend_from_slice(&bytes[..count]);
                    let text = String::from_utf8_lossy(&read).into_owned();
                    if count == 0 {
                        return;
                    }
                    if is_whole(&text) {
                        let shown = stream.conn.peer_certificates().expect("it was asked for")[0].clone();
                        kept.lock()
                            .expect("nobody panics")
                            .push((text, shown.into_owned()));
                        let _left = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                        read.clear();
                    }
                }
            });
        }
    });
    (url, log)
}

/// Whether a request has come to its end.
pub(crate) fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    body.len() >= length.unwrap_or(usize::MAX)
}

#[test]
fn an_endpoint_that_asks_for_a_certificate_gets_ours_and_operators_hear_of_its_end() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind"]);
    let (theirs, ours, others) = (authority("theirs"), authority("ours"), authority("others"));
    let (url, log) = receiver(&signed_by(&theirs, "127.0.0.1", 30), &ours.pem());
    let write = |name: &str, text: &str| {
        folder.write(name, text);
    };
    let (certificate, key) = signed_by(&ours, "hub.example", 5);
    write("hub.crt", &certificate);
    write("hub.key", &key);
    let (strange, strange_key) = signed_by(&others, "hub.example", 50);
    write("strange.crt", &strange);
    write("strange.key", &strange_key);
    write("ca.crt", &theirs.pem());
    let endpoint = |name: &str, tls: &str| {
        format!(
            "      - {{ name: {name}, url: \"{url}\", secret: \"${{env:SECRET}}\", events: [custom.ping], share: everything, \
             retry_ms: [100]{tls} }}\n"
        )
    };
    let pair = |name: &str| format!("certificate: \"${{file:{name}.crt}}\", key: \"${{file:{name}.key}}\"");
    let trusting = "authorities: \"${file:ca.crt}\"";
    let text = format!(
        "listen: 127.0.0.1:0
ledger: sqlite:hub.db
outbound: {{ allow: [127.0.0.0/8] }}
limits: {{ sweep_every_ms: 200 }}
partners:
  globex:
    endpoints:
{}{}{}{}  northwind:
    endpoints:
      - {{ name: operators, url: \"{operators}/hook\", secret: \"${{env:OPERATORS}}\", events: [secret.expiring], share: everything }}
",
        endpoint("shows-ours", &format!(", tls: {{ {}, {trusting} }}", pair("hub"))),
        endpoint("shows-nothing", &format!(", tls: {{ {trusting} }}")),
        endpoint("shows-a-strange-one", &format!(", tls: {{ {}, {trusting} }}", pair("strange"))),
        endpoint("does-not-trust", &format!(", tls: {{ {} }}", pair("hub"))),
        operators = sandbox.url("northwind"),
    );
    let config = folder.write("interconnect.yaml", &text);
    let operators = sandbox.said["partners"]["northwind"]["secret"]
        .as_str()
        .expect("a secret");
    let secrets = [("SECRET", acme_secret()), ("OPERATORS", operators.to_owned())];
    let hub = Hub::start(&config, &secrets);
    let event = json!({"type": "custom.ping", "timestamp": "2026-11-23T10:00:00Z", "data": {"id": "p1"}});
    post(&format!("{}/v1/events", hub.url), &event);

    let ask = |endpoint: &str| {
        let path = config.to_str().expect("a path of text");
        let list = [
            "--config",
            path,
            "delivery",
            "list",
            "--endpoint",
            endpoint,
            "--json",
        ];
        json_of(&interconnect(&list, &secrets))["data"][0].clone()
    };
    let ended = |endpoint: &str, state: &str| {
        eventually(&format!("{endpoint} {state}"), || {
            let one = ask(endpoint);
            expect(one["state"] == state, &one).map(|()| one)
        })
    };
    ended("shows-ours", "delivered");
    for endpoint in ["shows-nothing", "shows-a-strange-one", "does-not-trust"] {
        let one = ended(endpoint, "dead");
        assert_eq!(one["last_status"], Json::Null, "{one:#}");
    }
    assert!(
        ask("does-not-trust")["last_error"]
            .as_str()
            .is_some_and(|error| error.contains("certificate")),
        "{:#}",
        ask("does-not-trust")
    );
    let log = log.lock().expect("nobody panics");
    assert_eq!(log.len(), 1, "one was let in");
    let shown = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    assert_eq!(log[0].1, shown);
    assert!(log[0].0.contains("webhook-signature: v1,"), "{}", log[0].0);

    // It ends in five days: that is told, without a word of what it is.
    let told = eventually("what operators hear", || {
        let all = received(&sandbox, "northwind");
        // The same certificate is shown to two.
        expect(all.len() == 2, format!("{all:?}")).map(|()| all)
    });
    for one in &told {
        let text = one.to_string();
        assert!(text.contains("certificate") && !text.contains("BEGIN"), "{text}");
        assert!(
            text.contains("shows-ours") || text.contains("does-not-trust"),
            "{text}"
        );
    }
    assert_eq!(hub.running.stop(), Some(0));
}

#[test]
fn what_is_no_certificate_or_has_no_key_is_found_before_anything_starts() {
    let folder = Folder::new();
    let (certificate, key) = signed_by(&authority("ours"), "hub.example", 5);
    folder.write("hub.crt", &certificate);
    folder.write("hub.key", &key);
    folder.write("acme", &crate::partners::acme_secret());
    let check = |url: &str, tls: &str| {
        let text = format!(
            "partners:\n  globex:\n    endpoints:\n      - {{ name: a, url: \"{url}\", secret: \"${{file:acme}}\", \
             events: [custom.ping], share: everything, tls: {{ {tls} }} }}\n"
        );
        folder.write("interconnect.yaml", &text);
        said(&folder.run(&["check"], &[]))
    };
    let (file, address) = (
        |name: &str| format!("\"${{file:{name}}}\""),
        "https://a.example/hook",
    );
    let pair = format!("certificate: {}, key: {}", file("hub.crt"), file("hub.key"));
    let (code, told, error) = check(address, &pair);
    assert_eq!(code, Some(0), "{told}{error}");
    for (url, tls, wanted) in [
        ("http://a.example/hook", pair.clone(), "without TLS"),
        (
            address,
            format!("certificate: {}", file("hub.crt")),
            "and not both",
        ),
        (
            address,
            format!("certificate: {}, key: {}", file("hub.key"), file("hub.key")),
            "no certificate stands there",
        ),
        (
            address,
            format!("authorities: {}", file("hub.key")),
            "no certificate stands there",
        ),
    ] {
        let (code, told, error) = check(url, &tls);
        let told = told + &error;
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains("IC0151") && told.contains(wanted), "{told}");
        assert!(!told.contains("BEGIN PRIVATE"), "{told}");
    }
}
