//! What the tests of this crate ask with: a plain HTTP client, and a sandbox whose clock stands still.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::partner::secret_of;
use crate::{ManualClock, PartnerSettings, Running, Sandbox, Settings};

/// Where the clock of every test begins.
pub(crate) const NOW_MS: i64 = 1_795_000_000_000;
/// The key of the partner's secret.
pub(crate) const WEBHOOK_KEY: &[u8] = b"twenty-four bytes, at least";

/// A sandbox with one partner, and its clock.
pub(crate) async fn start() -> (Running, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW_MS));
    let settings = Settings {
        clock: Arc::clone(&clock) as Arc<dyn crate::Clock>,
        partners: vec![PartnerSettings::new("harbour", secret_of(WEBHOOK_KEY))],
        ..Settings::default()
    };
    (Sandbox::start(settings).await.unwrap(), clock)
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .into_iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// A client of one address with one token.
#[derive(Clone)]
pub(crate) struct Asker {
    authority: String,
    token: Option<String>,
}

impl Asker {
    pub(crate) fn at(url: &str) -> Self {
        Self {
            authority: url.trim_start_matches("http://").to_owned(),
            token: None,
        }
    }

    pub(crate) fn with(self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self
        }
    }

    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().expect("it has logged in")
    }

    /// Sends a request and reads the whole answer; `None` when the connection ended without one.
    pub(crate) async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let mut stream = TcpStream::connect(&self.authority).await.unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.authority
        );
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // A cut connection may end with an error as well as with silence.
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, text) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer {
            status,
            head: head.to_owned(),
            text: text.to_owned(),
        })
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.try_send(method, path, headers, body)
            .await
            .unwrap_or_else(|| panic!("{method} {path} was not answered"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn put(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(
            method,
            path,
            &[("Content-Type", "application/json")],
            &body.to_string(),
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.put("POST", path, body).await
    }

    pub(crate) async fn form(&self, path: &str, body: &str) -> Answer {
        self.send(
            "POST",
            path,
            &[("Content-Type", "application/x-www-form-urlencoded")],
            body,
        )
        .await
    }
}

/// A text as it stands in a query: everything but letters and digits as percent codes.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |coded, byte| match byte {
        byte if byte.is_ascii_alphanumeric() => coded + &char::from(byte).to_string(),
        byte => coded + &format!("%{byte:02X}"),
    })
}
